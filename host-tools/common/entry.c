// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * entry.c - see entry.h.
 */
#include <time.h>

#include "dlog_abi.h"
#include "entry.h"

#define NS UINT64_C(1000000000)

bool entry_is_text(const struct dlog_entry *e)
{
	return e->kind == DLOG_KIND_PRINTK || e->kind == DLOG_KIND_TEXT;
}

const uint8_t *entry_text(const struct dlog_entry *e, struct sink *scratch,
			  size_t *len)
{
	size_t n;

	*len = e->len;
	if (entry_is_text(e))
		return e->data;
	scratch->len = 0;
	n = dlog_entry_text(e, scratch->buf, scratch->size);
	if (n >= scratch->size && sink_room(scratch, n + 1))
		n = dlog_entry_text(e, scratch->buf, scratch->size);
	*len = n < scratch->size ? n : 0;
	return (const uint8_t *)scratch->buf;
}

size_t entry_date_text(char *text, struct second *date, uint64_t real)
{
	time_t t = (time_t)(real / NS);
	struct tm tm;
	size_t n;

	if (!date->len || date->second != real / NS) {
		gmtime_r(&t, &tm);
		date->len = strftime(date->text, sizeof(date->text),
				     "%Y-%m-%dT%H:%M:%S.000000000Z", &tm);
		date->second = real / NS;
	}
	n = date->len;
	memcpy(text, date->text, n);
	for (uint64_t ns = real % NS, i = 2; ns; ns /= 10, i++)
		text[n - i] = (char)('0' + ns % 10);
	return n;
}

/* RFC 3339 in UTC with nanoseconds: jq's numbers cannot hold them. */
void entry_date(struct json *j, struct second *date, uint64_t real)
{
	char text[sizeof(date->text)];

	if (real)
		json_string(j, text, entry_date_text(text, date, real));
	else
		json_null(j);
}

size_t entry_caller(char text[ENTRY_CALLER], uint32_t caller)
{
	char digits[ENTRY_CALLER], *p = digits + sizeof(digits);
	uint32_t id = caller & DLOG_CALLER_ID;
	size_t n;

	if (caller & DLOG_CALLER_UNKNOWN)
		return 0;
	do {
		*--p = (char)('0' + id % 10);
	} while (id /= 10);
	*--p = caller & DLOG_CALLER_CPU ? 'C' : 'T';
	n = (size_t)(digits + sizeof(digits) - p);
	memcpy(text, p, n);
	return n;
}

static void json_caller(struct json *j, uint32_t caller)
{
	char text[ENTRY_CALLER];
	size_t n = entry_caller(text, caller);

	if (n)
		json_string(j, text, n);
	else
		json_null(j);
}

static void entry_where(struct json *j, struct second *date,
			const struct dlog_entry *e)
{
	json_key(j, "boot");
	json_u64(j, e->boot);
	json_key(j, "ring");
	json_u64(j, e->ring);
	json_key(j, "position");
	json_u64(j, e->position);
	json_key(j, "time");
	json_seconds(j, e->time);
	json_key(j, "real");
	entry_date(j, date, e->real);
}

void entry_json(struct json *j, struct second *date, struct sink *scratch,
		const struct dlog_entry *e)
{
	size_t len;
	const uint8_t *text = entry_text(e, scratch, &len);

	entry_where(j, date, e);
	json_key(j, "kind");
	json_text(j, dlog_kind_name(e->kind));
	json_key(j, "level");
	json_u64(j, e->level);
	if (entry_is_text(e)) {
		json_key(j, "facility");
		json_u64(j, e->facility);
		json_key(j, "caller");
		json_caller(j, e->caller);
	} else {
		json_key(j, "arg");
		json_u64(j, e->arg);
	}
	json_key(j, "text");
	json_string(j, text, len);
	if (!entry_is_text(e) || !json_is_utf8(text, len)) {
		json_key(j, "hex");
		json_hex(j, e->data, e->len);
	}
}
