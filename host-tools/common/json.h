/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * json.h - the project's JSON writer: values go to a sink as they come,
 * nothing is kept.  Relies on sink.h alone.
 *
 *	struct json j = { .s = sink };
 *
 *	json_open(&j, '{');
 *	json_key(&j, "boot");
 *	json_u64(&j, 3);
 *	json_close(&j, '}');
 *	json_line(&j);
 *
 * Strings may hold any bytes.  What is not valid UTF-8 (RFC 3629) becomes
 * U+FFFD, one for each byte; a caller that must not lose it writes the bytes
 * in hex beside it when json_is_utf8() says no.
 */
#ifndef DLOG_JSON_H
#define DLOG_JSON_H

#include "sink.h"

struct json {
	struct sink *s;
	bool comma; /* the next value or key needs one before it */
};

void json_open(struct json *j, char bracket);
void json_close(struct json *j, char bracket);
void json_key(struct json *j, const char *key); /* plain ASCII */
void json_string(struct json *j, const void *text, size_t len);
void json_text(struct json *j, const char *text);
/* A key and its text; null for NULL. */
void json_member(struct json *j, const char *key, const char *text);
void json_hex(struct json *j, const void *data, size_t len);
void json_u64(struct json *j, uint64_t v);
void json_i64(struct json *j, int64_t v);
void json_bool(struct json *j, bool v);
void json_null(struct json *j);
/* @ns as a decimal number of seconds with nine places. */
void json_seconds(struct json *j, uint64_t ns);
/* After the outermost value: end the line. */
void json_line(struct json *j);

/* Bytes of the UTF-8 sequence at @p (of @len, at least 1), 0: not one. */
size_t json_utf8(const uint8_t *p, size_t len);
bool json_is_utf8(const void *text, size_t len);

#endif
