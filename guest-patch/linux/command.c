// SPDX-License-Identifier: GPL-2.0-only
/*
 * command.c - the words of dlog.run, of writes to /dev/dlog and of its ioctls.
 *
 *	start | stop
 *	level N
 *	event on|off GLOB [set=NAME]
 *	function on|off GLOB
 *	set arm|disarm NAME... [arm|disarm NAME...]
 *	consumer add EVENT CONSUMER [PRIORITY]
 *	consumer remove EVENT CONSUMER
 *
 * One command a line, or parted by ';'; '#' begins a comment.  docs/events.md
 * tells what they do.  One task at a time is in here; who fails leaves one
 * sentence that says which command, what is wrong and what to do.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ctype.h>
#include <linux/glob.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <uapi/linux/dlog.h>

#include "driver.h"

#define WORDS_MAX (2 * DLOG_SETS + 4)

static DEFINE_MUTEX(dlog_command_lock);

/* The command that is run; the lock protects it. */
static struct {
	char *word[WORDS_MAX];
	int nr;
	char text[80]; /* its beginning, for the error */
	char *error;
	size_t size;
} cmd;

__printf(2, 3) static int fail(int ret, const char *fmt, ...)
{
	va_list args;
	size_t n;

	if (!cmd.size)
		return ret;
	n = scnprintf(cmd.error, cmd.size, "'%s': ", cmd.text);
	va_start(args, fmt);
	vscnprintf(cmd.error + n, cmd.size - n, fmt, args);
	va_end(args);
	return ret;
}

static int fail_usage(const char *usage)
{
	return fail(-EINVAL, "say: %s", usage);
}

/* What a result of the parts below means to who gave the command. */
static int fail_code(int ret, const char *what)
{
	switch (ret) {
	case -ENOSPC:
		return fail(
			ret,
			"the catalog is full: %.80s needs a region with a larger one (dlog-create --catalog)",
			what);
	case -ENOMEM:
		return fail(ret, "no memory");
	case -EOPNOTSUPP:
		return fail(ret, "this kernel has no ftrace for %.80s", what);
	}
	return fail(ret, "%.80s: error %d", what, ret);
}

/* "on" or "off" in word 1. */
static int switch_word(bool *on)
{
	if (cmd.nr > 1 && !strcmp(cmd.word[1], "on"))
		*on = true;
	else if (cmd.nr > 1 && !strcmp(cmd.word[1], "off"))
		*on = false;
	else
		return -EINVAL;
	return 0;
}

/* ---- start, stop, level ---- */

static int run_start(void)
{
	if (cmd.nr != 1)
		return fail_usage("start");
	WRITE_ONCE(dlog.user_stop, false);
	dlog_update_recording();
	return 0;
}

static int run_stop(void)
{
	if (cmd.nr != 1)
		return fail_usage("stop");
	WRITE_ONCE(dlog.user_stop, true);
	dlog_update_recording();
	return 0;
}

static int run_level(void)
{
	unsigned int level;

	if (cmd.nr != 2 || kstrtouint(cmd.word[1], 10, &level) || level > 8)
		return fail_usage(
			"level N, 0 (emerg) to 7 (debug) or 8: printk's lines above it are not recorded");
	dlog_kmsg_level(level);
	return 0;
}

/* ---- events ---- */

struct pick {
	const char *glob;
	bool on;
	int set; /* to put them into, or -1: into none */
	unsigned int found;
};

/* "system:event" against all of the name, else against the event. */
static bool picked(const struct pick *p, const char *name)
{
	const char *event = strchr(name, ':');

	if (!strchr(p->glob, ':') && event)
		name = event + 1;
	return glob_match(p->glob, name);
}

static int pick_event(void *arg, int id, const char *name, bool ftrace)
{
	struct pick *p = arg;
	int ret = 0;

	if (!picked(p, name))
		return 0;
	/* Of trace events the catalog may have one that ftrace has no more. */
	if (p->on && ftrace && !dlog_trace_has(id) &&
	    strcmp(name, "ftrace:function"))
		return 0;
	p->found++;
	/* In this order, so that it is not recorded for a moment. */
	if (!p->on)
		dlog_event_switch(id, false);
	if (p->set >= 0)
		ret = dlog_set_put(id, p->set);
	else
		dlog_set_clear(id);
	if (p->on && !ret)
		dlog_event_switch(id, true);
	return ret;
}

static int pick_set(struct pick *p, const char *word)
{
	const char *name = word + 4;
	size_t n = 0;

	if (strncmp(word, "set=", 4) || !p->on)
		return fail_usage("event on|off GLOB, event on GLOB set=NAME");
	while (isalnum(name[n]) || name[n] == '_' || name[n] == '-')
		n++;
	if (!n || name[n] || n >= DLOG_SET_NAME || !strcmp(name, "arm") ||
	    !strcmp(name, "disarm"))
		return fail(
			-EINVAL,
			"'%.40s' is no name of a set: 1 to %d letters, digits, '_', '-'",
			name, DLOG_SET_NAME - 1);
	p->set = dlog_set_make(name);
	if (p->set < 0)
		return fail(p->set,
			    "there are %d sets already, use one of them",
			    DLOG_SETS);
	return 0;
}

static int run_event(void)
{
	struct pick p = { .set = -1 };
	int ret, traced;

	if (switch_word(&p.on) || cmd.nr < 3 || cmd.nr > 4)
		return fail_usage("event on|off GLOB, event on GLOB set=NAME");
	p.glob = cmd.word[2];
	if (cmd.nr == 4) {
		ret = pick_set(&p, cmd.word[3]);
		if (ret)
			return ret;
	}
	traced = dlog_trace_events(p.glob, p.on);
	/* Those that could be had before an error are switched all the same. */
	ret = dlog_catalog_each(pick_event, &p);
	if (!ret && traced < 0 && traced != -ENOENT && traced != -EOPNOTSUPP)
		ret = traced;
	if (ret)
		return fail_code(ret, p.glob);
	if (!p.found)
		return fail(
			-ENOENT,
			"no event matches %.80s: SYSTEM:EVENT with * and ?, of those in /sys/kernel/tracing/events or declared",
			p.glob);
	return 0;
}

static int run_function(void)
{
	bool on;
	int ret;

	if (switch_word(&on) || cmd.nr != 3)
		return fail_usage("function on|off GLOB");
	ret = dlog_trace_functions(cmd.word[2], on);
	if (ret == -ENOENT)
		return fail(
			ret,
			on ? "no function matches %.80s: see /sys/kernel/tracing/available_filter_functions"
			   : "%.80s is not on",
			cmd.word[2]);
	if (ret < 0)
		return fail_code(ret, cmd.word[2]);
	return 0;
}

/* ---- sets ---- */

static int run_set(void)
{
	u64 want[2] = {}; /* disarm, arm */
	int arm = -1;

	for (int i = 1; i < cmd.nr; i++) {
		int set;

		if (!strcmp(cmd.word[i], "arm") ||
		    !strcmp(cmd.word[i], "disarm")) {
			arm = cmd.word[i][0] == 'a';
			continue;
		}
		if (arm < 0)
			break;
		set = dlog_set_find(cmd.word[i]);
		if (set < 0)
			return fail(
				set,
				"no set is called %.40s: 'event on GLOB set=%.40s' makes one",
				cmd.word[i], cmd.word[i]);
		want[arm] |= BIT_ULL(set);
	}
	if (!(want[0] | want[1]))
		return fail_usage("set arm|disarm NAME...");
	if (want[0] & want[1])
		return fail(-EINVAL, "a set cannot be armed and disarmed");
	dlog_set_switch(want[1], want[0]);
	return 0;
}

/* ---- consumers ---- */

static int consumer_add(int id, const char *event, const char *name)
{
	int priority, ret;

	if (cmd.nr == 5 && kstrtoint(cmd.word[4], 10, &priority))
		return fail(
			-EINVAL,
			"'%.40s' is no priority: a number, above 0 runs before the record",
			cmd.word[4]);
	ret = dlog_consumer_own_add(id, name, cmd.nr == 5 ? &priority : NULL);
	if (ret == -ENOENT)
		return fail(ret, "no consumer is called %.40s: there are %s",
			    name, dlog_consumer_own_names());
	if (ret == -EEXIST)
		return fail(ret,
			    "%.64s has that consumer already: remove it first",
			    event);
	return ret ? fail_code(ret, event) : 0;
}

static int consumer_remove(int id, const char *event, const char *name)
{
	int ret = dlog_consumer_own_remove(id, name);

	if (ret)
		return fail(
			ret,
			"%.64s has no consumer %.40s that can be removed here",
			event, name);
	return 0;
}

static int run_consumer(void)
{
	bool add = cmd.nr > 1 && !strcmp(cmd.word[1], "add");
	const char *event;
	int id;

	if (add ? cmd.nr != 4 && cmd.nr != 5
		: cmd.nr != 4 || strcmp(cmd.word[1], "remove"))
		return fail_usage(
			"consumer add EVENT CONSUMER [PRIORITY], consumer remove EVENT CONSUMER");
	event = cmd.word[2];
	id = dlog_catalog_find(event);
	if (id < 0)
		return fail(
			id,
			"no event is called %.64s: a trace event has to be switched on first",
			event);
	return add ? consumer_add(id, event, cmd.word[3])
		   : consumer_remove(id, event, cmd.word[3]);
}

/* ---- the language ---- */

static const struct {
	const char *word;
	int (*run)(void);
} verbs[] = {
	{ "start", run_start },	      { "stop", run_stop },
	{ "level", run_level },	      { "event", run_event },
	{ "function", run_function }, { "set", run_set },
	{ "consumer", run_consumer },
};

/* One command, taken apart in place. */
static int run_one(char *text)
{
	char *word;

	strscpy(cmd.text, strim(text), sizeof(cmd.text));
	cmd.nr = 0;
	while ((word = strsep(&text, " \t\r"))) {
		if (!*word)
			continue;
		if (cmd.nr == WORDS_MAX)
			return fail(-EINVAL, "too many words");
		cmd.word[cmd.nr++] = word;
	}
	if (!cmd.nr)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (!strcmp(cmd.word[0], verbs[i].word))
			return verbs[i].run();
	return fail(
		-EINVAL,
		"no such command: start, stop, level, event, function, set, consumer");
}

/* Calls @failed after each that fails; without it, ends at the first. */
static int run_all(char *text, char *error, size_t size, void (*failed)(void))
{
	char *line, *one;
	int ret = 0;

	mutex_lock(&dlog_command_lock);
	cmd.error = error;
	cmd.size = size;
	while (!ret && (line = strsep(&text, "\n"))) {
		/* A comment hides what would part commands. */
		line[strcspn(line, "#")] = 0;
		while (!ret && (one = strsep(&line, ";"))) {
			ret = run_one(one);
			if (ret && failed) {
				failed();
				ret = 0;
			}
		}
	}
	mutex_unlock(&dlog_command_lock);
	return ret;
}

int dlog_command(char *text, char *error, size_t size)
{
	if (size)
		*error = 0;
	return run_all(text, error, size, NULL);
}

static void boot_failed(void)
{
	pr_err("dlog.run: %s\n", cmd.error);
}

void dlog_command_boot(const char *text)
{
	static char error[256];
	char *copy = kstrdup(text, GFP_KERNEL);

	/* Parameters can be read again, so leave this one whole. */
	if (!copy) {
		pr_err("dlog.run: no memory\n");
		return;
	}
	run_all(copy, error, sizeof(error), boot_failed);
	kfree(copy);
}

/* ---- showing ---- */

void dlog_text_add(struct dlog_text *t, const char *fmt, ...)
{
	va_list args;
	int need;

	va_start(args, fmt);
	need = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	if (t->len + need >= t->size) {
		size_t size = max(2 * t->size, t->len + need + 4096);
		char *text = kvmalloc(size, GFP_KERNEL);

		if (!text) {
			t->error = -ENOMEM;
			return;
		}
		if (t->len)
			memcpy(text, t->text, t->len);
		kvfree(t->text);
		t->text = text;
		t->size = size;
	}
	va_start(args, fmt);
	t->len += vscnprintf(t->text + t->len, t->size - t->len, fmt, args);
	va_end(args);
}

static int show_event(void *arg, int id, const char *name, bool ftrace)
{
	struct dlog_text *t = arg;

	dlog_text_add(t, "%d\t%s\t%s\t%s\t", id, name,
		      ftrace ? "trace" : "declared",
		      dlog_event_is_on(id) ? "on" : "off");
	dlog_hook_show_event(t, id);
	dlog_text_add(t, "\n");
	return t->error;
}

static int count_event(void *arg, int id, const char *name, bool ftrace)
{
	++*(unsigned int *)arg;
	return 0;
}

static void show_status(struct dlog_text *t)
{
	const struct dlog_superblock *sb = &dlog.region.sb;
	unsigned int events = 0;

	dlog_catalog_each(count_event, &events);
	dlog_text_add(t, "name\tvalue\n");
	dlog_text_add(t, "recording\t%s\n", dlog_recording() ? "yes" : "no");
	dlog_text_add(t, "stopped_by_guest\t%s\n",
		      dlog.user_stop ? "yes" : "no");
	dlog_text_add(t, "stopped_by_host\t%s\n",
		      dlog.host_stop ? "yes" : "no");
	dlog_text_add(t, "level\t%u\n", dlog.level);
	dlog_text_add(t, "boot\t%u\n", dlog.region.boot);
	dlog_text_add(t, "printk_source\t%s\n", dlog_kmsg_source());
	dlog_text_add(t, "events\t%u\n", events);
	dlog_text_add(t, "catalog_used\t%llu\n", dlog_catalog_used());
	dlog_text_add(t, "catalog_size\t%llu\n", sb->catalog_size);
	dlog_text_add(t, "trace_lost\t%llu\n", dlog_trace_lost());
	dlog_text_add(t, "symbols_lost\t%ld\n", dlog_symbols_lost());
	dlog_text_add(t, "region\t%pUb\n", sb->uuid);
	dlog_text_add(t, "region_size\t%llu\n", sb->region_size);
	dlog_text_add(t, "placement\t%s\n", dlog.place.how);
}

char *dlog_command_show(u32 what, size_t *len)
{
	struct dlog_text t = {};

	mutex_lock(&dlog_command_lock);
	switch (what) {
	case DLOG_SHOW_EVENTS:
		dlog_text_add(&t, "id\tname\tkind\ton\tset\n");
		dlog_catalog_each(show_event, &t);
		break;
	case DLOG_SHOW_FUNCTIONS:
		dlog_text_add(&t, "filter\n");
		dlog_trace_show_functions(&t);
		break;
	case DLOG_SHOW_SETS:
		dlog_hook_show_sets(&t);
		break;
	case DLOG_SHOW_CONSUMERS:
		dlog_hook_show_consumers(&t);
		break;
	case DLOG_SHOW_STATUS:
		show_status(&t);
		break;
	default:
		t.error = -EINVAL;
	}
	mutex_unlock(&dlog_command_lock);
	if (t.error) {
		kvfree(t.text);
		return ERR_PTR(t.error);
	}
	*len = t.len;
	return t.text;
}
