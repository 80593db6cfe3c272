// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * log.c - what dlogd says of itself: one line, one write(2), nothing in it
 * that could steer a terminal or look like another line.
 */
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>
#include <unistd.h>

#include "monitor.h"
#include "text.h"

int log_max = LOG_INFO;

uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * SECOND + (uint64_t)ts.tv_nsec;
}

/* Does systemd take our lines, so that each may begin with its priority? */
static bool under_systemd(void)
{
	return getenv("JOURNAL_STREAM") || getenv("NOTIFY_SOCKET");
}

void log_(int level, const char *fmt, ...)
{
	struct sink s = { .fd = -1 };
	char text[4096], *line = text, *end;
	va_list ap;

	if (level > log_max)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (under_systemd())
		sink_printf(&s, "<%d>", level);
	else
		sink_puts(&s, PROGRAM ": ");
	while ((end = strchr(line, '\n'))) {
		text_put(&s, line, (size_t)(end - line), 0);
		sink_puts(&s, "\\n");
		line = end + 1;
	}
	text_put(&s, line, strlen(line), 0);
	sink_putc(&s, '\n');
	/* Nobody is left to be told of an error here. */
	if (!s.error && write(STDERR_FILENO, s.buf, s.len) < 0)
		s.error = -1;
	sink_free(&s);
}
