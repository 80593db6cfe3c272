// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * proto.c - see proto.h.
 */
#include "json.h"
#include "proto.h"

#define VARINT_MAX 10u

enum wire { WIRE_VARINT = 0, WIRE_LEN = 2 };

static size_t put_varint(uint8_t *to, uint64_t v)
{
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		to[n++] = (uint8_t)(v | 0x80);
	to[n++] = (uint8_t)v;
	return n;
}

static void varint(struct sink *s, uint64_t v)
{
	uint8_t text[VARINT_MAX];

	sink_put(s, text, put_varint(text, v));
}

static void tag(struct sink *s, uint32_t field, enum wire wire)
{
	varint(s, (uint64_t)field << 3 | wire);
}

void proto_uint(struct sink *s, uint32_t field, uint64_t v)
{
	tag(s, field, WIRE_VARINT);
	varint(s, v);
}

static void proto_bytes(struct sink *s, uint32_t field, const void *data,
			size_t len)
{
	tag(s, field, WIRE_LEN);
	varint(s, len);
	sink_put(s, data, len);
}

void proto_string(struct sink *s, uint32_t field, const void *text, size_t len)
{
	const uint8_t *p = text, *end = p + len;
	size_t at, n;

	if (json_is_utf8(text, len)) {
		proto_bytes(s, field, text, len);
		return;
	}
	at = proto_begin(s, field);
	for (; p < end; p += n ? n : 1) {
		n = json_utf8(p, (size_t)(end - p));
		sink_put(s, n ? (const char *)p : "\xef\xbf\xbd", n ? n : 3);
	}
	proto_end(s, at);
}

size_t proto_begin(struct sink *s, uint32_t field)
{
	tag(s, field, WIRE_LEN);
	sink_putc(s, 0);
	return s->len;
}

void proto_end(struct sink *s, size_t at)
{
	size_t len = s->len - at, n;
	uint8_t text[VARINT_MAX];

	if (s->error)
		return;
	n = put_varint(text, len);
	if (n > 1) {
		if (!sink_room(s, n - 1))
			return;
		memmove(s->buf + at + n - 1, s->buf + at, len);
		s->len += n - 1;
	}
	memcpy(s->buf + at - 1, text, n);
}
