// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sink.c - buffered output.  Relies on libc alone.
 *
 * stdio is not used because a log of a million lines is mostly small pieces:
 * what is needed here is a copy and two compares for each.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "sink.h"

#define SINK_SIZE 65536

int sink_init(struct sink *s, int fd)
{
	*s = (struct sink){ .fd = fd, .size = SINK_SIZE };
	s->buf = malloc(s->size);
	if (!s->buf) {
		s->size = 0;
		return s->error = -ENOMEM;
	}
	return 0;
}

void sink_free(struct sink *s)
{
	free(s->buf);
	*s = (struct sink){ .fd = -1 };
}

static void sink_write(struct sink *s, const char *p, size_t n)
{
	while (n && !s->error) {
		ssize_t done = write(s->fd, p, n);

		if (done >= 0) {
			p += done;
			n -= (size_t)done;
		} else if (errno != EINTR) {
			s->error = -errno;
		}
	}
}

int sink_flush(struct sink *s)
{
	if (s->fd >= 0) {
		sink_write(s, s->buf, s->len);
		s->len = 0;
	}
	return s->error;
}

static bool sink_grow(struct sink *s, size_t n)
{
	size_t size = s->size ? s->size : SINK_SIZE;
	char *buf;

	while (size - s->len < n)
		size *= 2;
	if (size == s->size)
		return true;
	buf = realloc(s->buf, size);
	if (!buf) {
		s->error = -ENOMEM;
		return false;
	}
	s->buf = buf;
	s->size = size;
	return true;
}

char *sink_make_room(struct sink *s, size_t n)
{
	if (s->error)
		return NULL;
	if (s->fd >= 0)
		sink_flush(s);
	if (s->error || !sink_grow(s, n))
		return NULL;
	return s->buf + s->len;
}

void sink_pad(struct sink *s, uint64_t v, unsigned int width, char pad)
{
	char digits[20];
	unsigned int n = sizeof(digits);

	do {
		digits[--n] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	while (sizeof(digits) - n < width && n)
		digits[--n] = pad;
	sink_put(s, digits + n, sizeof(digits) - n);
}

void sink_u64(struct sink *s, uint64_t v)
{
	sink_pad(s, v, 1, '0');
}

void sink_hex(struct sink *s, const void *data, size_t n)
{
	static const char digit[] = "0123456789abcdef";
	const uint8_t *p = data;
	char *to = sink_room(s, 2 * n);

	if (!to)
		return;
	for (size_t i = 0; i < n; i++) {
		*to++ = digit[p[i] >> 4];
		*to++ = digit[p[i] & 15];
	}
	s->len += 2 * n;
}

void sink_printf(struct sink *s, const char *fmt, ...)
{
	size_t room = 256;
	va_list ap;
	char *to;
	int n;

	for (;;) {
		to = sink_room(s, room);
		if (!to)
			return;
		va_start(ap, fmt);
		n = vsnprintf(to, room, fmt, ap);
		va_end(ap);
		if (n < 0)
			return;
		if ((size_t)n < room)
			break;
		room = (size_t)n + 1;
	}
	s->len += (size_t)n;
}
