// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ctf_record.c - records as CTF events: their payloads and the TSDL of those.
 *
 * Each kind has an event of its own, each type of the catalog too, with its
 * fields.  A record that does not hold what its kind or type says is of event
 * "record" or "event", with its bytes.
 *
 * CTF strings end at NUL and are UTF-8: what is neither in the guest's text
 * becomes U+FFFD, and all its bytes then follow in a sequence that is empty
 * otherwise.  An empty string is written as a blank: babeltrace2 up to 2.0.4
 * shows some earlier event's string instead of an empty one.
 *
 * Names of fields are made safe as LTTng does it, by '_' before each, which
 * readers take away again: no name is then a TSDL keyword or begins with a
 * digit.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "ctf.h"
#include "event.h"

/* More fields than that, and an event is shown as bytes. */
#define FIELDS_MAX 256u

enum type { U8, U16, U32, U64, X64, STRING, BYTES, LIST64 };

struct field {
	const char *name;
	enum type type;
};

/* What the payload of each kind holds, in order; text_payload() and the others
 * below write it. */
static const struct field record_fields[] = {
	{ "kind", U8 }, { "arg", U16 }, { "data", BYTES }, { 0 }
};
static const struct field text_fields[] = { { "facility", U16 },
					    { "doubt", STRING },
					    { "text", STRING },
					    { "raw", BYTES },
					    { 0 } };
static const struct field printk_fields[] = {
	{ "facility", U16 }, { "caller", STRING }, { "doubt", STRING },
	{ "text", STRING },  { "raw", BYTES },	   { 0 }
};
static const struct field event_fields[] = {
	{ "number", U16 }, { "name", STRING }, { "data", BYTES }, { 0 }
};
static const struct field boot_fields[] = { { "boot", U32 },
					    { "start_real", U64 },
					    { "boot_id", STRING },
					    { "release", STRING },
					    { 0 } };
static const struct field state_fields[] = { { "status", U16 },
					     { "name", STRING },
					     { "text", STRING },
					     { "raw", BYTES },
					     { 0 } };
static const struct field regs_fields[] = { { "cpu", U32 },
					    { "reason", STRING },
					    { "text", STRING },
					    { "prstatus", BYTES },
					    { 0 } };
static const struct field stack_fields[] = { { "cpu", U32 },
					     { "reason", STRING },
					     { "text", STRING },
					     { "raw", BYTES },
					     { 0 } };
static const struct field call_fields[] = {
	{ "site", X64 },    { "flags", U32 },
	{ "args", LIST64 }, { "function", STRING },
	{ "rule", STRING }, { "caller", STRING },
	{ "text", STRING }, { 0 }
};

static const struct field *const kind_fields[CTF_CATALOG] = {
	[CTF_RECORD] = record_fields,	    [DLOG_KIND_TEXT] = text_fields,
	[DLOG_KIND_PRINTK] = printk_fields, [DLOG_KIND_EVENT] = event_fields,
	[DLOG_KIND_BOOT] = boot_fields,	    [DLOG_KIND_STATE] = state_fields,
	[DLOG_KIND_REGS] = regs_fields,	    [DLOG_KIND_STACK] = stack_fields,
	[DLOG_KIND_CALL] = call_fields,
};

/* ---- payloads ---- */

void ctf_put(struct sink *s, uint64_t v, unsigned int n)
{
	uint8_t bytes[8];

	for (unsigned int i = 0; i < n; i++)
		bytes[i] = (uint8_t)(v >> 8 * i);
	sink_put(s, bytes, n);
}

/* With its NUL; false if it could not be put as it is. */
static bool put_string(struct sink *s, const void *text, size_t len)
{
	const uint8_t *p = text, *end = p + len;
	bool exact = true;

	if (!len)
		sink_putc(s, ' ');
	if (!memchr(p, 0, len) && json_is_utf8(p, len)) {
		sink_put(s, p, len);
		p = end;
	}
	while (p < end) {
		size_t n = *p ? json_utf8(p, (size_t)(end - p)) : 0;

		sink_put(s, n ? (const void *)p : "\xef\xbf\xbd", n ? n : 3);
		exact &= n > 0;
		p += n ? n : 1;
	}
	sink_putc(s, '\0');
	return exact;
}

static void put_bytes(struct sink *s, const void *data, size_t len)
{
	ctf_put(s, len, 4);
	sink_put(s, data, len);
}

static void put_text(struct sink *s, const void *text, size_t len)
{
	bool exact = put_string(s, text, len);

	put_bytes(s, text, exact ? 0 : len);
}

static void text_payload(struct sink *s, const struct dlog_entry *e)
{
	char caller[ENTRY_CALLER];

	ctf_put(s, e->facility, 2);
	if (e->kind == DLOG_KIND_PRINTK)
		put_string(s, caller, entry_caller(caller, e->caller));
	put_string(s, dlog_doubt_name(e->doubt),
		   strlen(dlog_doubt_name(e->doubt)));
	put_text(s, e->data, e->len);
}

static bool boot_payload(struct sink *s, const struct dlog_entry *e)
{
	const char *release = (const char *)e->data +
			      sizeof(struct dlog_boot_note);
	struct dlog_boot_note n;

	if (e->len < sizeof(n))
		return false;
	memcpy(&n, e->data, sizeof(n));
	ctf_put(s, n.boot, 4);
	ctf_put(s, n.start_real, 8);
	sink_hex(s, n.boot_id, sizeof(n.boot_id));
	sink_putc(s, '\0');
	put_string(s, release, strnlen(release, e->len - sizeof(n)));
	return true;
}

static void state_payload(struct sink *s, const struct dlog_entry *e)
{
	const char *name = dlog_status_name(e->arg);

	ctf_put(s, e->arg, 2);
	put_string(s, name, strlen(name));
	put_text(s, e->data, e->len);
}

/* Registers and stacks: CPU, reason, libdlog's text, the rest. */
static bool cpu_payload(struct sink *s, struct sink *scratch,
			const struct dlog_entry *e)
{
	const uint8_t *text;
	const char *reason;
	size_t len;

	if (e->len < 8)
		return false;
	reason = dlog_load32(e->data + 4)
			 ? dlog_status_name(dlog_load32(e->data + 4))
			 : "none";
	ctf_put(s, dlog_load32(e->data), 4);
	put_string(s, reason, strlen(reason));
	if (e->kind == DLOG_KIND_STACK) {
		put_text(s, e->data + 8, e->len - 8);
		return true;
	}
	text = entry_text(e, scratch, &len);
	put_string(s, text, len);
	put_bytes(s, e->data + 8, e->len - 8);
	return true;
}

static bool call_payload(struct sink *s, struct sink *scratch,
			 const struct dlog_entry *e)
{
	const uint8_t *p = e->data + sizeof(struct dlog_call),
		      *end = e->data + e->len;
	const uint8_t *text;
	struct dlog_call c;
	size_t len;

	if (e->len < sizeof(c))
		return false;
	memcpy(&c, e->data, sizeof(c));
	if (c.nr_args > (size_t)(end - p) / 8)
		return false;
	ctf_put(s, c.site, 8);
	ctf_put(s, c.flags, 4);
	ctf_put(s, c.nr_args, 4);
	sink_put(s, p, 8 * (size_t)c.nr_args);
	p += 8 * (size_t)c.nr_args;
	for (int i = 0; i < 3; i++) {
		len = strnlen((const char *)p, (size_t)(end - p));
		put_string(s, p, len);
		p += len < (size_t)(end - p) ? len + 1 : len;
	}
	text = entry_text(e, scratch, &len);
	put_string(s, text, len);
	return true;
}

/* The type of catalog event @number, if its fields can be given. */
static const struct event_type *catalog_type(struct dlog *d, uint32_t number)
{
	struct event_decoder *dec = event_decoder(d);
	const struct event_type *t;

	if (!dec || number > DLOG_EVENT_MAX)
		return NULL;
	t = event_type(dec, number);
	return t && t->nr_fields <= FIELDS_MAX ? t : NULL;
}

static unsigned int number_size(const struct event_field *f)
{
	return f->size == 1 || f->size == 2 || f->size == 4 ? f->size : 8;
}

static bool catalog_payload(struct sink *s, const struct event_type *t,
			    const struct dlog_entry *e)
{
	struct event_data v;

	if (!t->nr_fields && e->len)
		return false;
	for (uint32_t i = 0; i < t->nr_fields; i++) {
		event_get(t, e, i, &v);
		if (!v.there)
			return false;
		if (t->field[i].type == EVENT_STRING)
			put_string(s, v.data, v.len);
		else if (t->field[i].type == EVENT_BYTES)
			put_bytes(s, v.data, v.len);
		else
			ctf_put(s, v.number, number_size(&t->field[i]));
	}
	return true;
}

static void event_payload(struct sink *s, const struct dlog_entry *e)
{
	struct dlog_event_desc desc;
	const char *name = "";

	if (dlog_get_event(e->source, e->arg, &desc))
		name = desc.name;
	ctf_put(s, e->arg, 2);
	put_string(s, name, strlen(name));
	put_bytes(s, e->data, e->len);
}

static bool kind_payload(struct sink *s, struct sink *scratch,
			 const struct dlog_entry *e)
{
	switch (e->kind) {
	case DLOG_KIND_TEXT:
	case DLOG_KIND_PRINTK:
		text_payload(s, e);
		return true;
	case DLOG_KIND_BOOT:
		return boot_payload(s, e);
	case DLOG_KIND_STATE:
		state_payload(s, e);
		return true;
	case DLOG_KIND_REGS:
	case DLOG_KIND_STACK:
		return cpu_payload(s, scratch, e);
	case DLOG_KIND_CALL:
		return call_payload(s, scratch, e);
	case DLOG_KIND_EVENT:
		event_payload(s, e);
		return true;
	default:
		return false;
	}
}

uint32_t ctf_record(struct sink *s, struct sink *scratch,
		    const struct dlog_entry *e)
{
	size_t begin = s->len;

	if (e->kind == DLOG_KIND_EVENT) {
		const struct event_type *t = catalog_type(e->source, e->arg);

		if (t && catalog_payload(s, t, e))
			return CTF_CATALOG + e->arg;
		s->len = begin;
	}
	if (kind_payload(s, scratch, e))
		return e->kind;
	s->len = begin;
	ctf_put(s, e->kind, 1);
	ctf_put(s, e->arg, 2);
	put_bytes(s, e->data, e->len);
	return CTF_RECORD;
}

/* ---- their TSDL ---- */

static void field_tsdl(struct sink *s, enum type type, const char *name)
{
	static const char *const word[] = {
		[U8] = "u8",   [U16] = "u16", [U32] = "u32",
		[U64] = "u64", [X64] = "x64", [STRING] = "string",
	};

	if (type == BYTES || type == LIST64)
		sink_printf(s,
			    "\t\tu32 _%s_length;\n"
			    "\t\t%s _%s[_%s_length];\n",
			    name, type == BYTES ? "x8" : "x64", name, name);
	else
		sink_printf(s, "\t\t%s _%s;\n", word[type], name);
}

static const char *word_of(const struct event_field *f)
{
	static const char *const word[][4] = {
		[EVENT_UINT] = { "u8", "u16", "u32", "u64" },
		[EVENT_INT] = { "s8", "s16", "s32", "s64" },
		[EVENT_HEX] = { "x8", "x16", "x32", "x64" },
	};
	unsigned int size = number_size(f);

	return word[f->type][size == 8 ? 3 : size / 2];
}

/* Does it end as what unique_name() makes does, alone or as a length? */
static bool looks_made(const char *name)
{
	size_t len = strlen(name), digits;

	if (len > 7 && !strcmp(name + len - 7, "_length"))
		len -= 7;
	for (digits = len; digits && isdigit((unsigned char)name[digits - 1]);)
		digits--;
	return digits < len && digits >= 2 &&
	       !memcmp(name + digits - 2, "__", 2);
}

/*
 * Names of the catalog's fields, each once: the guest chose them, and a
 * sequence has two.
 */
static void unique_name(char to[300], const struct event_type *t, uint32_t n)
{
	const char *name = t->field[n].name;
	bool twice = looks_made(name);

	for (uint32_t i = 0; i < t->nr_fields && !twice; i++) {
		const char *other = t->field[i].name;
		size_t len = strlen(other);

		twice = i < n && !strcmp(name, other);
		if (t->field[i].type == EVENT_BYTES)
			twice |= !strncmp(name, other, len) &&
				 !strcmp(name + len, "_length");
	}
	if (twice || !*name)
		snprintf(to, 300, "%.255s__%" PRIu32, name, n);
	else
		snprintf(to, 300, "%.255s", name);
}

void ctf_record_fields(struct sink *s, struct dlog *d, uint32_t id)
{
	const struct event_type *t;
	char name[300];

	if (id < CTF_CATALOG) {
		for (const struct field *f = kind_fields[id]; f && f->name; f++)
			field_tsdl(s, f->type, f->name);
		return;
	}
	t = catalog_type(d, id - CTF_CATALOG);
	for (uint32_t i = 0; t && i < t->nr_fields; i++) {
		const struct event_field *f = &t->field[i];

		unique_name(name, t, i);
		if (f->type == EVENT_STRING)
			field_tsdl(s, STRING, name);
		else if (f->type == EVENT_BYTES)
			field_tsdl(s, BYTES, name);
		else
			sink_printf(s, "\t\t%s _%s;\n", word_of(f), name);
	}
}

void ctf_record_name(struct sink *s, struct dlog *d, uint32_t id)
{
	const struct event_type *t;

	if (id == CTF_RECORD) {
		sink_puts(s, "\"record\"");
		return;
	}
	if (id < CTF_CATALOG) {
		sink_printf(s, "\"%s\"", dlog_kind_name(id));
		return;
	}
	t = catalog_type(d, id - CTF_CATALOG);
	if (t && *t->system)
		sink_printf(s, "\"%s:%s\"", t->system, t->name);
	else
		sink_printf(s, "\"%s\"", t ? t->name : "");
}
