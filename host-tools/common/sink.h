/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sink.h - where output goes: a buffer in front of a file descriptor, or in
 * memory.  Errors stick: the first one is kept, and later output dropped.
 *
 * Relies on libc alone, so that any program of the project can use it.
 */
#ifndef DLOG_SINK_H
#define DLOG_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct sink {
	char *buf;
	size_t len, size;
	int fd; /* -1: memory, the buffer grows */
	int error; /* negative errno of the first failure, or 0 */
};

int sink_init(struct sink *s, int fd);
void sink_free(struct sink *s);
/* Hand everything to the file descriptor; 0 or the sticky error. */
int sink_flush(struct sink *s);
/* What sink_room() does when the buffer is too small. */
char *sink_make_room(struct sink *s, size_t n);
void sink_u64(struct sink *s, uint64_t v);
/* @v in decimal, with leading @pad up to @width (at most 20). */
void sink_pad(struct sink *s, uint64_t v, unsigned int width, char pad);
void sink_hex(struct sink *s, const void *data, size_t n);
void sink_printf(struct sink *s, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Make room for @n bytes at s->buf + s->len; NULL on error. */
static inline char *sink_room(struct sink *s, size_t n)
{
	return s->size - s->len >= n ? s->buf + s->len : sink_make_room(s, n);
}

static inline void sink_put(struct sink *s, const void *data, size_t n)
{
	char *to = sink_room(s, n);

	if (!to)
		return;
	memcpy(to, data, n);
	s->len += n;
}

static inline void sink_putc(struct sink *s, char c)
{
	if (s->len < s->size)
		s->buf[s->len++] = c;
	else
		sink_put(s, &c, 1);
}

static inline void sink_puts(struct sink *s, const char *text)
{
	sink_put(s, text, strlen(text));
}

#endif
