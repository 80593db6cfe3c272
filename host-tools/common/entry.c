// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * entry.c - see entry.h.
 */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "dlog_abi.h"
#include "entry.h"
#include "event.h"

#define NS UINT64_C(1000000000)

bool entry_is_text(const struct dlog_entry *e)
{
	return e->kind == DLOG_KIND_PRINTK || e->kind == DLOG_KIND_TEXT;
}

/* An event of ftrace; else NULL: libdlog knows all there is to say. */
static const struct event_type *ftrace_type(const struct dlog_entry *e,
					    struct event_decoder **dec)
{
	const struct event_type *t;

	*dec = NULL;
	if (e->kind != DLOG_KIND_EVENT)
		return NULL;
	*dec = event_decoder(e->source);
	t = *dec ? event_type(*dec, e->arg) : NULL;
	return t && t->ftrace ? t : NULL;
}

/* "bash-12 ", as far as the events so far told the name. */
static void put_thread(struct sink *s, struct event_decoder *dec,
		       const struct dlog_entry *e)
{
	int64_t pid = event_pid(dec, e);
	const char *comm;

	if (pid < 0)
		return;
	comm = event_comm(dec, e->boot, pid);
	sink_puts(s, comm ? comm : "<...>");
	sink_putc(s, '-');
	sink_u64(s, (uint64_t)pid);
	sink_putc(s, ' ');
}

/* "sched:sched_switch: text" onto @s. */
static void put_event(struct sink *s, struct event_decoder *dec,
		      const struct event_type *t, const struct dlog_entry *e)
{
	const char *text;
	size_t n;

	if (*t->system) {
		sink_puts(s, t->system);
		sink_putc(s, ':');
	}
	sink_puts(s, t->name);
	sink_put(s, ": ", 2);
	text = event_text(dec, e, &n);
	sink_put(s, text, n);
}

static const uint8_t *event_entry_text(const struct dlog_entry *e,
				       struct sink *scratch, size_t *len,
				       bool thread)
{
	struct event_decoder *dec;
	const struct event_type *t = ftrace_type(e, &dec);

	if (!t)
		return NULL;
	event_learn(dec, e);
	scratch->len = 0;
	if (thread)
		put_thread(scratch, dec, e);
	put_event(scratch, dec, t, e);
	*len = scratch->len;
	return (const uint8_t *)scratch->buf;
}

const uint8_t *entry_text(const struct dlog_entry *e, struct sink *scratch,
			  size_t *len)
{
	const uint8_t *text;
	size_t n;

	*len = e->len;
	if (entry_is_text(e))
		return e->data;
	text = event_entry_text(e, scratch, len, true);
	if (text)
		return text;
	scratch->len = 0;
	n = dlog_entry_text(e, scratch->buf, scratch->size);
	if (n >= scratch->size && sink_room(scratch, n + 1))
		n = dlog_entry_text(e, scratch->buf, scratch->size);
	*len = n < scratch->size ? n : 0;
	return (const uint8_t *)scratch->buf;
}

const uint8_t *entry_text_alone(const struct dlog_entry *e,
				struct sink *scratch, size_t *len)
{
	const uint8_t *text = event_entry_text(e, scratch, len, false);

	return text ? text : entry_text(e, scratch, len);
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

void uuid_text(char text[UUID_TEXT], const uint8_t uuid[16])
{
	static const char digit[] = "0123456789abcdef";

	for (unsigned int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*text++ = '-';
		*text++ = digit[uuid[i] >> 4];
		*text++ = digit[uuid[i] & 15];
	}
	*text = '\0';
}

/* @v in decimal, at @to; the end. */
static char *put_u64(char *to, uint64_t v)
{
	char digits[20];
	size_t n = sizeof(digits);

	do {
		digits[--n] = (char)('0' + v % 10);
	} while (v /= 10);
	memcpy(to, digits + n, sizeof(digits) - n);
	return to + sizeof(digits) - n;
}

/*
 * A line that is given before its last piece has come may be read again, whole:
 * another message then, which no one may take for a repetition.
 */
void entry_id(char id[ID_TEXT], const char *uuid, const struct dlog_entry *e)
{
	size_t n = strnlen(uuid, UUID_TEXT - 1);

	memcpy(id, uuid, n);
	id += n;
	*id++ = '-';
	id = put_u64(id, e->boot);
	*id++ = '-';
	id = put_u64(id, e->ring);
	*id++ = '-';
	id = put_u64(id, e->position);
	if (e->kind == DLOG_KIND_PRINTK && e->caller & DLOG_CALLER_OPEN) {
		*id++ = '+';
		id = put_u64(id, e->len);
	}
	*id = '\0';
}

size_t entry_caller(char text[ENTRY_CALLER], uint32_t caller)
{
	if (caller & DLOG_CALLER_UNKNOWN)
		return 0;
	*text = caller & DLOG_CALLER_CPU ? 'C' : 'T';
	return (size_t)(put_u64(text + 1, caller & DLOG_CALLER_ID) - text);
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

void json_event_name(struct json *j, const struct event_type *t)
{
	char name[2 * 256 + 1];
	int n = snprintf(name, sizeof(name), "%s%s%s", t->system,
			 *t->system ? ":" : "", t->name);

	json_string(j, name, (size_t)n);
}

static void json_value(struct json *j, const struct event_field *f,
		       const struct event_data *v)
{
	char hex[20];
	int n;

	if (!v->there) {
		json_null(j);
		return;
	}
	switch (f->type) {
	case EVENT_UINT:
		json_u64(j, v->number);
		break;
	case EVENT_INT:
		json_i64(j, (int64_t)v->number);
		break;
	case EVENT_HEX:
		n = snprintf(hex, sizeof(hex), "0x%" PRIx64, v->number);
		json_string(j, hex, (size_t)n);
		break;
	case EVENT_STRING:
		json_string(j, v->data, v->len);
		break;
	case EVENT_BYTES:
		json_hex(j, v->data, v->len);
		break;
	}
}

/* "name", "pid", "comm", "fields" of a record of kind EVENT. */
static void entry_event(struct json *j, const struct dlog_entry *e)
{
	struct event_decoder *dec = event_decoder(e->source);
	const struct event_type *t = dec ? event_type(dec, e->arg) : NULL;
	struct event_data v;
	int64_t pid;

	if (!t)
		return;
	json_key(j, "name");
	json_event_name(j, t);
	pid = event_pid(dec, e);
	if (pid >= 0) {
		json_key(j, "pid");
		json_u64(j, (uint64_t)pid);
		json_member(j, "comm", event_comm(dec, e->boot, pid));
	}
	json_key(j, "fields");
	json_open(j, '{');
	for (uint32_t i = 0; i < t->nr_fields; i++) {
		if (t->field[i].common)
			continue;
		event_get(t, e, i, &v);
		json_key(j, t->field[i].name);
		json_value(j, &t->field[i], &v);
	}
	json_close(j, '}');
}

void entry_json(struct json *j, struct second *date, struct sink *scratch,
		const struct dlog_entry *e)
{
	size_t len;
	const uint8_t *text = entry_text_alone(e, scratch, &len);

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
	if (e->kind == DLOG_KIND_EVENT)
		entry_event(j, e);
	if (e->doubt)
		json_member(j, "doubt", dlog_doubt_name(e->doubt));
	json_key(j, "text");
	json_string(j, text, len);
	if (!entry_is_text(e) || !json_is_utf8(text, len)) {
		json_key(j, "hex");
		json_hex(j, e->data, e->len);
	}
}

static void put_number(entry_put_field *put, void *arg, const char *name,
		       uint64_t v)
{
	char value[24];

	*put_u64(value, v) = '\0';
	put(arg, name, value);
}

void entry_fields(const struct dlog_entry *e, entry_put_field *put, void *arg)
{
	char caller[ENTRY_CALLER + 1], time[40], *p;

	put_number(put, arg, "DLOG_BOOT", e->boot);
	put_number(put, arg, "DLOG_RING", e->ring);
	put_number(put, arg, "DLOG_POSITION", e->position);
	/* Ten digits, of which the first is the point's place. */
	p = put_u64(time, e->time / NS);
	*put_u64(p, NS + e->time % NS) = '\0';
	*p = '.';
	put(arg, "DLOG_TIME", time);
	put(arg, "DLOG_KIND", dlog_kind_name(e->kind));
	if (e->doubt)
		put(arg, "DLOG_DOUBT", dlog_doubt_name(e->doubt));
	if (!entry_is_text(e))
		return;
	put_number(put, arg, "SYSLOG_FACILITY", e->facility);
	caller[entry_caller(caller, e->caller)] = '\0';
	if (*caller)
		put(arg, "DLOG_CALLER", caller);
}
