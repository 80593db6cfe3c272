/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * proto.h - protocol buffers' wire format, written: the part of
 * https://protobuf.dev/programming-guides/encoding/ that a trace needs.
 * Relies on sink.h alone.
 *
 *	size_t at = proto_begin(s, 11);
 *
 *	proto_uint(s, 9, 3);
 *	proto_end(s, at);
 *
 * A message within one that has a length in front is moved when it is longer
 * than 127 bytes: the sink must be memory (fd -1).
 */
#ifndef DLOG_PROTO_H
#define DLOG_PROTO_H

#include "sink.h"

void proto_uint(struct sink *s, uint32_t field, uint64_t v);
/* int32, int64, bool, enum: negative ones take ten bytes. */
static inline void proto_int(struct sink *s, uint32_t field, int64_t v)
{
	proto_uint(s, field, (uint64_t)v);
}
/* A string: any bytes, what is not UTF-8 becomes U+FFFD, one for each. */
void proto_string(struct sink *s, uint32_t field, const void *text, size_t len);
static inline void proto_text(struct sink *s, uint32_t field, const char *text)
{
	proto_string(s, field, text, strlen(text));
}
/* A message in @field: what is written until proto_end(), given the number
 * that proto_begin() returned, is in it. */
size_t proto_begin(struct sink *s, uint32_t field);
void proto_end(struct sink *s, size_t at);

#endif
