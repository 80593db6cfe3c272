// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * probe.c - probes on a running kernel and in its programs: events of the
 * kernel's group "dlog", which the driver then takes into the ring.
 *
 * One that was placed and cannot be switched on is taken away again.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "linux/dlog.h"

/* ---- add, remove ---- */

/* A set that nobody arms: what is in no other one is not recorded. */
#define UNARMED "unarmed"

/*
 * The commands that switch the probe on, one a line.  The driver knows an
 * event from when it is on, and only then has consumers for it: meanwhile it
 * is in a set that is not armed, so that nothing is recorded without them.
 */
static int commands_of(const char *name, const struct options *o, char *to,
		       size_t size, struct dlog_error *err)
{
	const char *set = o->set ? o->set : "";
	const char *consumer = o->consumer ? o->consumer : "";
	size_t n = strcspn(consumer, ":");
	int len = 0;

	*to = '\0';
	if (o->consumer)
		len = snprintf(to, size,
			       "event on dlog:%s set=" UNARMED "\n"
			       "consumer add dlog:%s %.*s %s\n"
			       "event off dlog:%s\n",
			       name, name, (int)n, consumer,
			       consumer[n] ? consumer + n + 1 : "", name);
	if (!o->off && (size_t)len < size)
		len += snprintf(to + len, size - (size_t)len,
				"event on dlog:%s%s%s\n", name,
				o->set ? " set=" : "", set);
	if ((size_t)len >= size || strpbrk(set, " \t\n;#") ||
	    strpbrk(consumer, " \t\n;#"))
		return fail(err, -EINVAL,
			    "probe %s: '%s' is no name for --set or "
			    "--consumer",
			    name, o->set ? set : consumer);
	return 0;
}

static int check_options(const struct options *o, struct dlog_error *err)
{
	if (o->off && (o->set || o->consumer))
		return fail(err, -EINVAL,
			    "--off does not go with --set and --consumer: a "
			    "probe that is off is in no set");
	return 0;
}

/* Takes away the consumers of event @name, so that none waits for another. */
static void drop_consumers(const char *name)
{
	char event[128], consumer[64], command[256], *rows, *line;
	struct dlog_error ignored;

	if (device_show(DLOG_SHOW_CONSUMERS, &rows, &ignored))
		return;
	for (line = rows; (line = strchr(line, '\n'));) {
		if (sscanf(++line, "%127s %*s %63s", event, consumer) != 2 ||
		    strncmp(event, "dlog:", 5) || strcmp(event + 5, name) ||
		    !strcmp(consumer, "record"))
			continue;
		snprintf(command, sizeof(command), "consumer remove %s %s\n",
			 event, consumer);
		device_run(command, &ignored);
	}
	free(rows);
}

/* Takes the event from the driver, then the probe from the kernel. */
static int take_away(int dir, const char *name, struct dlog_error *err)
{
	char command[32 + PROBE_NAME];
	struct dlog_error ignored;

	/* Without a driver, or if it never knew the event, nothing is on. */
	drop_consumers(name);
	snprintf(command, sizeof(command), "event off dlog:%s\n", name);
	device_run(command, &ignored);
	return tracefs_remove(dir, name, err);
}

static int place(int dir, const struct spec *s, const char *commands,
		 struct dlog_error *err)
{
	struct dlog_error ignored;
	int ret = tracefs_place(dir, s, err);

	if (ret || !*commands)
		return ret;
	ret = device_run(commands, err);
	if (ret)
		take_away(dir, s->name, &ignored);
	return ret;
}

int probe_add(const struct words *w, const struct options *o, bool replace,
	      struct dlog_error *err)
{
	char text[PROBE_LINE], commands[1024];
	struct spec s;
	int dir, ret;

	ret = words_join(w, text, sizeof(text), err);
	ret = ret ?: spec_parse(text, &s, err);
	ret = ret ?: check_options(o, err);
	ret = ret ?: commands_of(s.name, o, commands, sizeof(commands), err);
	if (ret)
		return ret;
	if (o->print) {
		printf("%s\n", s.line);
		return 0;
	}
	if (*commands) {
		ret = device_check(err);
		if (ret)
			return ret;
	}
	dir = tracefs_lock(err);
	if (dir < 0)
		return dir;
	if (tracefs_has_event(dir, s.name)) {
		if (replace)
			ret = take_away(dir, s.name, err);
		else
			ret = fail(err, -EEXIST,
				   "there is a probe '%s': remove it first, "
				   "dlogctl probe remove %s",
				   s.name, s.name);
	}
	ret = ret ?: place(dir, &s, commands, err);
	close(dir);
	return ret;
}

/* ---- list ---- */

/* A line of kprobe_events or uprobe_events, taken apart. */
struct placed {
	const char *name, *where, *args;
	bool at_return;
};

/* "p:dlog/NAME WHERE ARGS"; false for other groups. */
static bool placed_parse(char *line, struct placed *p)
{
	char *at = strchr(line, ':');

	if (!at || strncmp(at, ":dlog/", 6))
		return false;
	p->at_return = *line == 'r';
	p->name = at + 6;
	at = strchr(at, ' ');
	if (!at)
		return false;
	*at++ = '\0';
	p->where = at;
	at = strchr(at, ' ');
	p->args = at ? at + 1 : "";
	if (at)
		*at = '\0';
	return true;
}

/*
 * Counts in a line of kprobe_profile ("name hits missed") or uprobe_profile
 * ("path name hits"): the last two, or one, of its words.
 */
static void put_counts(struct sink *rows, const char *profile, bool user)
{
	uint64_t hits, missed = 0;
	int n;

	if (user)
		n = sscanf(profile, "%*s %*s %" SCNu64, &hits) - 1;
	else
		n = sscanf(profile, "%*s %" SCNu64 " %" SCNu64, &hits,
			   &missed) -
		    2;
	if (n)
		sink_puts(rows, "\t\t");
	else
		sink_printf(rows, "%" PRIu64 "\t%" PRIu64 "\t", hits, missed);
}

/*
 * Is the event on, and in which set?  @events is the driver's list; "" there
 * is none, so nothing is on.  Its columns are "id name kind on set".  A name
 * that had other fields before has more than one line: the one that is on
 * counts.
 */
static void put_state(struct sink *rows, const char *events, const char *probe)
{
	char name[PROBE_NAME + 8], here[PROBE_NAME + 8], on[8], set[64];
	const char *line = events;
	int n;

	snprintf(name, sizeof(name), "dlog:%s", probe);
	while ((line = strchr(line, '\n'))) {
		*set = '\0';
		n = sscanf(++line, "%*s %71s %*s %7s %63[^\t\n]", here, on,
			   set);
		if (n < 2 || strcmp(here, name) || strcmp(on, "on"))
			continue;
		sink_printf(rows, "on\t%s\t", set);
		return;
	}
	sink_puts(rows, "off\t-\t");
}

/*
 * The kernel lists probes and their counts in the same order, in two files;
 * in the second without their groups.
 */
static int list_kind(int dir, bool user, const char *known, struct sink *rows)
{
	const char *kind = user ? "uprobe" : "kprobe";
	char name[32], *events, *profile, *line, *count, *next, *next_count;
	struct placed p;
	int ret;

	snprintf(name, sizeof(name), "%s_events", kind);
	ret = read_file(dir, name, &events);
	if (ret)
		return ret == -ENOENT ? 0 : ret;
	snprintf(name, sizeof(name), "%s_profile", kind);
	if (read_file(dir, name, &profile))
		profile = strdup("");
	line = strtok_r(events, "\n", &next);
	count = profile ? strtok_r(profile, "\n", &next_count) : NULL;
	for (; line; line = strtok_r(NULL, "\n", &next)) {
		if (placed_parse(line, &p)) {
			sink_printf(rows, "%s\t", p.name);
			put_state(rows, known, p.name);
			put_counts(rows, count ? count : "", user);
			sink_printf(rows, "%s%s\t%s\n", p.where,
				    p.at_return && !strchr(p.where, '%')
					    ? "%return"
					    : "",
				    p.args);
		}
		count = count ? strtok_r(NULL, "\n", &next_count) : NULL;
	}
	free(profile);
	free(events);
	return 0;
}

/* The list as table_show() takes it. */
static int list_rows(int dir, struct sink *rows, struct dlog_error *err)
{
	struct dlog_error ignored;
	char *events;
	int ret;

	if (device_show(DLOG_SHOW_EVENTS, &events, &ignored))
		events = NULL;
	sink_puts(rows, "name\ton\tset\thits\tmissed\twhere\targs\n");
	ret = list_kind(dir, false, events ? events : "", rows);
	ret = ret ?: list_kind(dir, true, events ? events : "", rows);
	free(events);
	sink_putc(rows, '\0');
	ret = ret ?: rows->error;
	return ret ? fail(err, ret, "cannot list probes: %s", strerror(-ret))
		   : 0;
}

int probe_list(struct sink *out, const struct options *o, const char *glob,
	       struct dlog_error *err)
{
	struct sink rows = { .fd = -1 };
	int dir = tracefs_open(err), ret;

	if (dir < 0)
		return dir;
	ret = list_rows(dir, &rows, err);
	close(dir);
	if (!ret && table_show(out, rows.buf, o, "name", glob))
		ret = fail(err, -ENOMEM, "no memory for a list");
	sink_free(&rows);
	return ret;
}

/* The next name in a list of rows, which begins with its names. */
static char *row_name(char **rows)
{
	char *line = strchr(*rows, '\n');

	if (!line || !line[1])
		return NULL;
	*rows = ++line;
	return strndup(line, strcspn(line, "\t"));
}

static int remove_all(int dir, struct dlog_error *err)
{
	struct sink rows = { .fd = -1 };
	int ret = list_rows(dir, &rows, err);
	char *at = rows.buf, *name;

	while (!ret && (name = row_name(&at))) {
		ret = take_away(dir, name, err);
		free(name);
	}
	sink_free(&rows);
	return ret;
}

int probe_remove(const struct words *w, const struct options *o,
		 struct dlog_error *err)
{
	const char *name;
	int dir, ret = 0;

	if (!!o->all == !!w->n)
		return fail(err, -EINVAL,
			    "probe remove: NAME..., or --all alone");
	dir = tracefs_lock(err);
	if (dir < 0)
		return dir;
	if (o->all)
		ret = remove_all(dir, err);
	for (int i = 0; i < w->n && !ret; i++) {
		name = spec_name(w->word[i]);
		if (name)
			ret = take_away(dir, name, err);
		else
			ret = fail(err, -EINVAL, "'%s' is no name of a probe",
				   w->word[i]);
	}
	close(dir);
	return ret;
}
