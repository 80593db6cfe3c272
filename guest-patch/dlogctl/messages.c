// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * messages.c - the text in /dev/dlog, and marks in it.
 *
 * The driver writes "-- boot N --" where a boot begins, "[    5.123456] text"
 * for a message, and blanks before its further lines; what could steer a
 * terminal it has escaped.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"

#define MESSAGE_MAX 1024 /* what /dev/dlog-msg takes */

/* A message: its first line and those that go on with it, in the text. */
struct message {
	const char *text;
	size_t len;
	unsigned long boot;
};

struct messages {
	struct message *of;
	size_t n, room;
	unsigned long last_boot;
};

static struct message *messages_add(struct messages *m)
{
	struct message *more;

	if (m->n == m->room) {
		m->room = m->room ? 2 * m->room : 4096;
		more = realloc(m->of, m->room * sizeof(*more));
		if (!more)
			return NULL;
		m->of = more;
	}
	return &m->of[m->n++];
}

static int messages_split(struct messages *m, const char *text)
{
	struct message *at = NULL;
	unsigned long boot = 0;
	const char *end;

	for (; *text; text = end) {
		end = strchr(text, '\n');
		end = end ? end + 1 : strchr(text, '\0');
		if (*text == '-') {
			if (sscanf(text, "-- boot %lu --", &boot) == 1)
				at = NULL;
			continue;
		}
		if (*text == ' ' && at) {
			at->len = (size_t)(end - at->text);
			continue;
		}
		at = messages_add(m);
		if (!at)
			return -ENOMEM;
		*at = (struct message){ text, (size_t)(end - text), boot };
	}
	m->last_boot = boot;
	return 0;
}

static void message_json(struct sink *out, const struct message *m)
{
	struct json j = { .s = out };
	const char *text = m->text, *end = text + m->len;
	unsigned long long second, micro;
	int skip = 0;

	while (end > text && end[-1] == '\n')
		end--;
	json_open(&j, '{');
	json_key(&j, "boot");
	json_u64(&j, m->boot);
	if (sscanf(text, "[%llu.%llu]%n", &second, &micro, &skip) == 2 &&
	    skip && skip <= end - text) {
		json_key(&j, "time");
		json_seconds(&j, second * 1000000000 + micro * 1000);
		text += skip;
		text += text < end && *text == ' ';
	}
	json_key(&j, "text");
	json_string(&j, text, (size_t)(end - text));
	json_close(&j, '}');
	json_line(&j);
}

/* "N", a boot; 0 or "" the last one, "-1" the one before it. */
static int boot_wanted(const char *text, unsigned long last,
		       unsigned long *boot, struct dlog_error *err)
{
	char *end;
	long n = strtol(*text ? text : "0", &end, 10);

	if (*end || n > (long)last || (n < 0 && n <= -(long)last))
		return fail(err, -EINVAL,
			    "'%s' is no boot: a number from 1 to %lu, 0 for "
			    "the last one, -1 for the one before it",
			    text, last);
	*boot = n > 0 ? (unsigned long)n : last - (unsigned long)-n;
	return 0;
}

static int messages_put(struct sink *out, const struct messages *m,
			const struct options *o, struct dlog_error *err)
{
	unsigned long boot = 0, shown = 0, last = m->n;
	size_t n = 0, skip = 0;
	char *end;

	if (o->boot) {
		int ret = boot_wanted(o->boot, m->last_boot, &boot, err);

		if (ret)
			return ret;
	}
	if (o->lines) {
		last = strtoul(o->lines, &end, 10);
		if (*end || *o->lines < '0' || *o->lines > '9')
			return fail(err, -EINVAL,
				    "'%s' is no number of messages", o->lines);
	}
	for (size_t i = 0; i < m->n; i++)
		n += !boot || m->of[i].boot == boot;
	skip = n > last ? n - last : 0;
	for (size_t i = 0; i < m->n; i++) {
		if ((boot && m->of[i].boot != boot) || (skip && skip--))
			continue;
		if (o->json) {
			message_json(out, &m->of[i]);
			continue;
		}
		if (m->of[i].boot != shown && !o->boot)
			sink_printf(out, "-- boot %lu --\n", m->of[i].boot);
		shown = m->of[i].boot;
		sink_put(out, m->of[i].text, m->of[i].len);
	}
	return 0;
}

int messages_show(struct sink *out, const struct options *o,
		  struct dlog_error *err)
{
	struct messages m = { 0 };
	char *text;
	int ret = read_file(AT_FDCWD, "/dev/dlog", &text);

	if (ret)
		return device_failed("/dev/dlog", -ret, err);
	ret = messages_split(&m, text);
	if (ret)
		fail(err, ret, "no memory for %zu messages", m.n);
	else
		ret = messages_put(out, &m, o, err);
	free(m.of);
	free(text);
	return ret;
}

int mark(const struct words *w, const struct options *o, struct dlog_error *err)
{
	static const char device[] = "/dev/dlog-msg";
	char text[MESSAGE_MAX + 8] = "", *end;
	int fd, ret, at = 0;
	unsigned long level;
	ssize_t n;

	if (o->level) {
		level = strtoul(o->level, &end, 10);
		if (*end || *o->level < '0' || level > 7)
			return fail(err, -EINVAL,
				    "'%s' is no level: 0 (emergency) to 7 "
				    "(debug)",
				    o->level);
		at = snprintf(text, sizeof(text), "<%lu>", 8 + level);
	}
	ret = words_join(w, text + at, sizeof(text) - (size_t)at, err);
	if (!ret && strlen(text) > MESSAGE_MAX)
		ret = fail(err, -E2BIG, "a mark has at most %d bytes",
			   MESSAGE_MAX);
	if (ret)
		return ret;
	fd = open(device, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return device_failed(device, errno, err);
	n = write(fd, text, strlen(text));
	ret = n < 0 ? -errno : 0;
	close(fd);
	if (ret == -EAGAIN)
		return fail(err, ret,
			    "recording is stopped: dlogctl start, or "
			    "dlog-read --start on the host");
	return ret ? device_failed(device, -ret, err) : 0;
}
