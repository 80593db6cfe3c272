// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * apply.c - a file of commands, as at boot: a line is what stands behind
 * "dlogctl" on a command line, without quotes; '#' begins a comment.
 *
 * The whole file is looked through before anything is done.  What then fails
 * ends it; an error names the line.  A probe that is there is placed anew, so
 * that a file can be applied again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

#define WORDS 160 /* more than the kernel takes arguments of a probe */

struct line {
	char *text; /* without blanks at its ends */
	struct words words; /* of a copy */
	char *word[WORDS];
	char copy[PROBE_LINE];
};

/* What the driver runs by itself; their words are its matter. */
static const char *const driver_commands[] = { "start", "stop", "level",
					       "consumer", "set" };

static bool is_drivers(const char *verb)
{
	for (size_t i = 0;
	     i < sizeof(driver_commands) / sizeof(*driver_commands); i++)
		if (!strcmp(verb, driver_commands[i]))
			return true;
	return false;
}

static int line_split(struct line *l, struct dlog_error *err)
{
	char *word, *next;

	l->words = (struct words){ 0, l->word };
	if (strlen(l->text) >= sizeof(l->copy))
		return fail(err, -E2BIG, "the line is too long");
	strcpy(l->copy, l->text);
	for (word = strtok_r(l->copy, " \t", &next); word;
	     word = strtok_r(NULL, " \t", &next)) {
		if (l->words.n == WORDS)
			return fail(err, -E2BIG, "too many words");
		l->word[l->words.n++] = word;
	}
	return 0;
}

/* "event on|off GLOB...", "function on|off GLOB...", done or checked. */
static int line_switch(struct line *l, bool check, struct dlog_error *err)
{
	struct words w = l->words;
	struct options o = { 0 };
	bool event = !strcmp(l->word[0], "event");
	int ret = options_take(&w, event ? "s" : "", &o, err);

	if (ret)
		return ret;
	if (!switch_is(&w))
		return fail(err, -EINVAL,
			    "'%s': after %s comes on or off, "
			    "and a name",
			    l->text, l->word[0]);
	return check ? 0 : switch_run(&w, o.set, err);
}

/* The line's probe, "probe add ..." or "probe remove ...", done or checked. */
static int line_probe(struct line *l, bool check, struct dlog_error *err)
{
	struct words w = { l->words.n - 2, l->word + 2 };
	struct options o = { 0 };
	char text[PROBE_LINE];
	struct spec s;
	int ret;

	if (w.n < 1)
		return fail(err, -EINVAL,
			    "'%s': after probe comes add or remove", l->text);
	if (!strcmp(l->word[1], "remove")) {
		ret = options_take(&w, "a", &o, err);
		return ret || check ? ret : probe_remove(&w, &o, err);
	}
	if (strcmp(l->word[1], "add"))
		return fail(err, -EINVAL,
			    "'%s': after probe comes add or remove", l->text);
	ret = options_take(&w, PROBE_OPTIONS, &o, err);
	if (ret || !check)
		return ret ?: probe_add(&w, &o, true, err);
	ret = words_join(&w, text, sizeof(text), err);
	return ret ?: spec_parse(text, &s, err);
}

static int line_run(struct line *l, bool check, struct dlog_error *err)
{
	struct options o = { 0 };
	struct words w;
	int ret = line_split(l, err);

	if (ret)
		return ret;
	w = (struct words){ l->words.n - 1, l->word + 1 };
	if (is_drivers(*l->word))
		return check ? 0 : device_run(l->text, err);
	if (!strcmp(*l->word, "event") || !strcmp(*l->word, "function"))
		return line_switch(l, check, err);
	if (!strcmp(*l->word, "probe"))
		return line_probe(l, check, err);
	if (!strcmp(*l->word, "mark")) {
		ret = options_take(&w, "l", &o, err);
		return ret || check ? ret : mark(&w, &o, err);
	}
	return fail(err, -EINVAL, "'%s' is no command of such a file",
		    *l->word);
}

static char *trim(char *text)
{
	char *end;

	text += strspn(text, " \t\r");
	for (end = strchr(text, '\0'); end > text && strchr(" \t\r", end[-1]);)
		*--end = '\0';
	return text;
}

static int apply_lines(const char *path, const char *text, bool check,
		       struct dlog_error *err)
{
	struct dlog_error why;
	unsigned int number = 0;
	struct line l;
	char *copy = strdup(text), *next = copy;
	int ret = copy ? 0 : fail(err, -ENOMEM, "no memory for %s", path);

	while (next && !ret) {
		l.text = next;
		next = strchr(next, '\n');
		if (next)
			*next++ = '\0';
		number++;
		l.text[strcspn(l.text, "#")] = '\0';
		l.text = trim(l.text);
		if (!*l.text)
			continue;
		ret = line_run(&l, check, &why);
		if (ret)
			fail(err, ret, "%s:%u: %.400s", path, number, why.text);
	}
	free(copy);
	return ret;
}

int apply_file(const char *path, struct dlog_error *err)
{
	char *text;
	int ret = read_file(AT_FDCWD, path, &text);

	if (ret)
		return fail(err, ret, "%s: %s", path, strerror(-ret));
	ret = apply_lines(path, text, true, err);
	ret = ret ?: device_check(err);
	ret = ret ?: apply_lines(path, text, false, err);
	free(text);
	return ret;
}
