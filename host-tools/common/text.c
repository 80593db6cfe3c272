// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * text.c - guest text and times for people.
 *
 * dmesg of util-linux 2.38 is the model: safe_fwrite() of sys-utils/dmesg.c.
 * One difference: dmesg lets carriage return, vertical tab and form feed
 * through, with which a guest could overwrite what stands on the terminal, and
 * ends a line at NUL.  Here they become \xNN.
 */
#include <inttypes.h>
#include <stdio.h>
#include <wchar.h>
#include <wctype.h>

#include "text.h"

#define NS UINT64_C(1000000000)

static bool plain_ascii(uint8_t c)
{
	return (c >= 0x20 && c < 0x7f) || c == '\t';
}

/* May any of the eight bytes at @p be other than 0x20 to 0x7e? */
static bool not_plain(const uint8_t *p)
{
	const uint64_t each = UINT64_C(0x0101010101010101);
	uint64_t w;

	memcpy(&w, p, sizeof(w));
	return (w | (w - 0x20 * each) | (w + each)) & 0x80 * each;
}

/* Bytes at the beginning of @p that need no escape. */
static size_t plain_run(const uint8_t *p, size_t len)
{
	size_t n = 0;

	for (;;) {
		while (len - n >= 8 && !not_plain(p + n))
			n += 8;
		/* What is left of a longer run lies in its last eight. */
		if (len - n < 8 && len >= 8 && !not_plain(p + len - 8))
			return len;
		if (n == len || !plain_ascii(p[n]))
			return n;
		n++;
	}
}

static void put_hex(struct sink *s, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		sink_put(s, "\\x", 2);
		sink_hex(s, p + i, 1);
	}
}

/* What is not plain ASCII, at @p: returns the bytes it took. */
static size_t put_other(struct sink *s, const uint8_t *p, size_t len)
{
	mbstate_t state = { 0 };
	wchar_t wc;
	size_t n = 1;

	if (*p >= 0x80) {
		n = mbrtowc(&wc, (const char *)p, len, &state);
		if (n && n <= len && iswprint((wint_t)wc)) {
			sink_put(s, p, n);
			return n;
		}
		if (!n || n > len)
			n = 1;
	}
	put_hex(s, p, n);
	return n;
}

void text_put(struct sink *s, const void *text, size_t len, unsigned int indent)
{
	const uint8_t *p = text, *end = p + len;

	while (p < end) {
		size_t n = plain_run(p, (size_t)(end - p));

		sink_put(s, p, n);
		p += n;
		if (p == end)
			break;
		if (*p == '\n') {
			sink_putc(s, '\n');
			for (unsigned int i = 0; i < indent; i++)
				sink_putc(s, ' ');
			p++;
		} else {
			p += put_other(s, p, (size_t)(end - p));
		}
	}
}

/* Six digits of @v, two at a time. */
static void put_micro(char *to, uint32_t v)
{
	static const char two[] = "00010203040506070809"
				  "10111213141516171819"
				  "20212223242526272829"
				  "30313233343536373839"
				  "40414243444546474849"
				  "50515253545556575859"
				  "60616263646566676869"
				  "70717273747576777879"
				  "80818283848586878889"
				  "90919293949596979899";

	memcpy(to, two + v / 10000 * 2, 2);
	memcpy(to + 2, two + v / 100 % 100 * 2, 2);
	memcpy(to + 4, two + v % 100 * 2, 2);
}

/*
 * "[    5.123456]"; returns its width.  What stands before the point is kept
 * in @last: most records share their second with the one before.
 */
unsigned int text_stamp_last(struct sink *s, struct second *last, uint64_t time)
{
	uint64_t second = time / NS;
	char *to;

	if (!last->len || last->second != second) {
		last->second = second;
		last->len = (size_t)snprintf(last->text, sizeof(last->text),
					     "[%5" PRIu64 ".", second);
	}
	to = sink_room(s, last->len + 7);
	if (!to)
		return 0;
	memcpy(to, last->text, last->len);
	to += last->len;
	put_micro(to, (uint32_t)(time % NS / 1000));
	to[6] = ']';
	s->len += last->len + 7;
	return (unsigned int)last->len + 7;
}

void text_stamp(struct sink *s, uint64_t time)
{
	struct second none = { 0 };

	text_stamp_last(s, &none, time);
}

void text_fact(struct sink *s, unsigned int indent, const char *name,
	       const char *text)
{
	sink_printf(s, "%*s%-10s ", (int)indent, "", name);
	text_put(s, text, strlen(text), indent + 11);
	sink_putc(s, '\n');
}
