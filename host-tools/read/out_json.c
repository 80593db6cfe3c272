// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * out_json.c - records as JSON, one object a line (dlog-read(1) lists the
 * fields).
 *
 * "text" is always valid UTF-8; where the guest's bytes are not, "hex" holds
 * them all.  Records that are not text have both: what libdlog makes of
 * them, and their data.
 */
#include <time.h>

#include "read.h"

#define NS UINT64_C(1000000000)

/* RFC 3339 in UTC with nanoseconds: jq's numbers cannot hold them. */
static void json_date(struct json *j, struct view *v, uint64_t real)
{
	time_t t = (time_t)(real / NS);
	char text[sizeof(v->date.text)];
	struct tm tm;
	size_t n;

	if (!real) {
		json_null(j);
		return;
	}
	if (!v->date.len || v->date.second != real / NS) {
		gmtime_r(&t, &tm);
		v->date.len = strftime(v->date.text, sizeof(v->date.text),
				       "%Y-%m-%dT%H:%M:%S.000000000Z", &tm);
		v->date.second = real / NS;
	}
	n = v->date.len;
	memcpy(text, v->date.text, n);
	for (uint64_t ns = real % NS, i = 2; ns; ns /= 10, i++)
		text[n - i] = (char)('0' + ns % 10);
	json_string(j, text, n);
}

/* "T1234" a thread, "C0" a CPU: as the kernel's PRINTK_CALLER prints it. */
static void json_caller(struct json *j, uint32_t caller)
{
	char text[16], *p = text + sizeof(text);
	uint32_t id = caller & DLOG_CALLER_ID;

	if (caller & DLOG_CALLER_UNKNOWN) {
		json_null(j);
		return;
	}
	do {
		*--p = (char)('0' + id % 10);
	} while (id /= 10);
	*--p = caller & DLOG_CALLER_CPU ? 'C' : 'T';
	json_string(j, p, (size_t)(text + sizeof(text) - p));
}

static void json_where(struct json *j, struct view *v, const struct source *src,
		       const struct dlog_entry *e)
{
	json_key(j, "file");
	json_text(j, src->path);
	if (src->info.label[0]) {
		json_key(j, "label");
		json_text(j, src->info.label);
	}
	json_key(j, "boot");
	json_u64(j, e->boot);
	json_key(j, "ring");
	json_u64(j, e->ring);
	json_key(j, "position");
	json_u64(j, e->position);
	json_key(j, "time");
	json_seconds(j, e->time);
	json_key(j, "real");
	json_date(j, v, e->real);
}

static void json_entry(struct view *v, struct source *src,
		       const struct dlog_entry *e)
{
	struct json j = { .s = v->out };
	size_t len;
	const uint8_t *text = entry_text(e, &v->text, &len);

	json_open(&j, '{');
	json_where(&j, v, src, e);
	json_key(&j, "kind");
	json_text(&j, dlog_kind_name(e->kind));
	json_key(&j, "level");
	json_u64(&j, e->level);
	if (entry_is_text(e)) {
		json_key(&j, "facility");
		json_u64(&j, e->facility);
		json_key(&j, "caller");
		json_caller(&j, e->caller);
	} else {
		json_key(&j, "arg");
		json_u64(&j, e->arg);
	}
	json_key(&j, "text");
	json_string(&j, text, len);
	if (!entry_is_text(e) || !json_is_utf8(text, len)) {
		json_key(&j, "hex");
		json_hex(&j, e->data, e->len);
	}
	json_close(&j, '}');
	json_line(&j);
}

const struct output output_json = {
	.entry = json_entry,
};
