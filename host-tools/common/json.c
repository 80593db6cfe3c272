// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * json.c - the JSON writer (RFC 8259).  Relies on sink.h alone.
 */
#include "json.h"

static void json_separate(struct json *j)
{
	if (j->comma)
		sink_putc(j->s, ',');
	j->comma = true;
}

void json_open(struct json *j, char bracket)
{
	json_separate(j);
	sink_putc(j->s, bracket);
	j->comma = false;
}

void json_close(struct json *j, char bracket)
{
	sink_putc(j->s, bracket);
	j->comma = true;
}

void json_key(struct json *j, const char *key)
{
	json_separate(j);
	sink_putc(j->s, '"');
	sink_puts(j->s, key);
	sink_put(j->s, "\":", 2);
	j->comma = false;
}

size_t json_utf8(const uint8_t *p, size_t len)
{
	uint8_t low = 0x80, high = 0xbf;
	size_t n;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		n = 2;
	else if ((p[0] & 0xf0) == 0xe0)
		n = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		n = 4;
	else
		return 0;
	if (p[0] == 0xe0)
		low = 0xa0; /* shorter forms exist */
	else if (p[0] == 0xed)
		high = 0x9f; /* surrogates */
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f; /* beyond U+10FFFF */
	if (n > len || p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

bool json_is_utf8(const void *text, size_t len)
{
	const uint8_t *p = text;
	uint64_t word;
	size_t n;

	for (; len; p += n, len -= n) {
		n = 8;
		if (len >= n) {
			memcpy(&word, p, n);
			if (!(word & 0x8080808080808080u))
				continue;
		}
		n = json_utf8(p, len);
		if (!n)
			return false;
	}
	return true;
}

static bool json_plain(uint8_t c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* One byte that does not stand for itself. */
static void json_escape(struct sink *s, uint8_t c)
{
	switch (c) {
	case '"':
		sink_put(s, "\\\"", 2);
		break;
	case '\\':
		sink_put(s, "\\\\", 2);
		break;
	case '\n':
		sink_put(s, "\\n", 2);
		break;
	case '\r':
		sink_put(s, "\\r", 2);
		break;
	case '\t':
		sink_put(s, "\\t", 2);
		break;
	default:
		sink_put(s, "\\u00", 4);
		sink_hex(s, &c, 1);
	}
}

void json_string(struct json *j, const void *text, size_t len)
{
	const uint8_t *p = text, *end = p + len, *from;
	size_t n;

	json_separate(j);
	sink_putc(j->s, '"');
	while (p < end) {
		for (from = p; p < end && json_plain(*p); p++)
			;
		sink_put(j->s, from, (size_t)(p - from));
		if (p == end)
			break;
		if (*p < 0x80) {
			json_escape(j->s, *p++);
			continue;
		}
		n = json_utf8(p, (size_t)(end - p));
		/* C1 controls are as dangerous on a terminal as ESC. */
		if (n == 2 && p[0] == 0xc2 && p[1] < 0xa0)
			json_escape(j->s, p[1]);
		else if (n)
			sink_put(j->s, p, n);
		else
			sink_put(j->s, "\\ufffd", 6);
		p += n ? n : 1;
	}
	sink_putc(j->s, '"');
}

void json_text(struct json *j, const char *text)
{
	json_string(j, text, strlen(text));
}

void json_member(struct json *j, const char *key, const char *text)
{
	json_key(j, key);
	if (text)
		json_text(j, text);
	else
		json_null(j);
}

void json_hex(struct json *j, const void *data, size_t len)
{
	json_separate(j);
	sink_putc(j->s, '"');
	sink_hex(j->s, data, len);
	sink_putc(j->s, '"');
}

void json_u64(struct json *j, uint64_t v)
{
	json_separate(j);
	sink_u64(j->s, v);
}

void json_i64(struct json *j, int64_t v)
{
	json_separate(j);
	if (v < 0)
		sink_putc(j->s, '-');
	sink_u64(j->s, v < 0 ? -(uint64_t)v : (uint64_t)v);
}

void json_bool(struct json *j, bool v)
{
	json_separate(j);
	sink_puts(j->s, v ? "true" : "false");
}

void json_null(struct json *j)
{
	json_separate(j);
	sink_puts(j->s, "null");
}

void json_seconds(struct json *j, uint64_t ns)
{
	json_separate(j);
	sink_u64(j->s, ns / 1000000000);
	sink_putc(j->s, '.');
	sink_pad(j->s, ns % 1000000000, 9, '0');
}

void json_line(struct json *j)
{
	sink_putc(j->s, '\n');
	j->comma = false;
}
