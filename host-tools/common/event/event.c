// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * event.c - see event.h: types, fields, threads' names.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "event_int.h"

/* Names of threads: sets of a hash table, the oldest of a full set goes. */
#define COMM_SETS 2048u
#define COMM_WAYS 8u
#define COMM_LEN 16u

struct comm {
	int64_t pid;
	uint32_t boot; /* 0: free */
	uint32_t turn;
	char name[COMM_LEN];
};

static void class_free(struct event_class *c)
{
	if (!c)
		return;
	free(c->field);
	free(c->place);
	free(c->declared);
	free(c->names);
	free(c->check);
	free(c);
}

static void decoder_free(void *data)
{
	struct event_decoder *dec = data;

	if (!dec)
		return;
	event_ftrace_free(dec);
	for (uint32_t i = 0; dec->class && i <= DLOG_EVENT_MAX; i++)
		class_free(dec->class[i]);
	symbol_file_free(dec->symbols);
	sink_free(&dec->scratch);
	free(dec->class);
	free(dec->comm);
	free(dec);
}

struct event_decoder *event_decoder(struct dlog *d)
{
	struct event_decoder *dec = dlog_get_private(d);

	if (dec)
		return dec;
	dec = calloc(1, sizeof(*dec));
	if (!dec)
		return NULL;
	dec->d = d;
	dec->scratch.fd = -1;
	dec->class = calloc(DLOG_EVENT_MAX + 1, sizeof(struct event_class *));
	if (!dec->class) {
		decoder_free(dec);
		return NULL;
	}
	dlog_set_private(d, dec, decoder_free);
	return dec;
}

/* @len bytes of @from as a name, at *@to, which is then behind it. */
static const char *name_put(char **to, const char *from, size_t len)
{
	char *name = *to;

	len = len < EVENT_NAME ? len : EVENT_NAME;
	for (size_t i = 0; i < len; i++)
		name[i] = isalnum((unsigned char)from[i]) ? from[i] : '_';
	name[len] = 0;
	*to += len + 1;
	return name;
}

/* "SYSTEM:EVENT"; without a colon there is no system. */
static bool class_name(struct event_class *c, const char *name)
{
	const char *colon = strchr(name, ':');
	char *to = c->names = malloc(2 * (EVENT_NAME + 1));

	if (!to)
		return false;
	c->type.system = name_put(&to, name,
				  colon ? (size_t)(colon - name) : 0);
	name = colon ? colon + 1 : name;
	c->type.name = name_put(&to, name, strlen(name));
	return true;
}

static enum event_value declared_value(enum dlog_field_type type)
{
	switch (type) {
	case DLOG_FIELD_INT:
		return EVENT_INT;
	case DLOG_FIELD_HEX:
		return EVENT_HEX;
	case DLOG_FIELD_CHARS:
	case DLOG_FIELD_STR:
		return EVENT_STRING;
	case DLOG_FIELD_BYTES:
		return EVENT_BYTES;
	default:
		return EVENT_UINT;
	}
}

static bool class_declared(struct event_class *c, const char *fields)
{
	const char *s = fields;
	struct dlog_field f;
	char *to, *names;
	uint32_t n = 0;

	while (n < EVENT_FIELDS && dlog_field_next(&s, &f) > 0)
		n++;
	c->field = calloc(n + 1, sizeof(*c->field));
	c->declared = calloc(n + 1, sizeof(*c->declared));
	/* The names of the type come first. */
	names = realloc(c->names, 2 * (EVENT_NAME + 1) + n * 66);
	if (!c->field || !c->declared || !names)
		return false;
	c->type.name = names + (c->type.name - c->type.system);
	c->type.system = c->names = names;
	to = names + 2 * (EVENT_NAME + 1);
	s = fields;
	for (uint32_t i = 0; i < n && dlog_field_next(&s, &f) > 0; i++) {
		struct event_field *to_field = &c->field[i];

		c->declared[i] = f;
		to_field->name = name_put(&to, f.name, f.name_len);
		to_field->type = declared_value(f.type);
		if (f.type <= DLOG_FIELD_HEX)
			to_field->size = f.size;
	}
	c->type.nr_fields = n;
	c->type.field = c->field;
	return true;
}

/* Which fields tell a thread's name, in the events that do. */
static void class_learn(struct event_class *c)
{
	static const struct {
		const char *event, *field[2][2];
	} table[] = {
		{ "sched_switch",
		  { { "prev_pid", "prev_comm" },
		    { "next_pid", "next_comm" } } },
		{ "sched_wakeup", { { "pid", "comm" } } },
		{ "sched_wakeup_new", { { "pid", "comm" } } },
		{ "sched_waking", { { "pid", "comm" } } },
		{ "task_rename", { { "pid", "newcomm" } } },
		{ "task_newtask", { { "pid", "comm" } } },
	};

	memset(c->learn, 0xff, sizeof(c->learn));
	c->pid = c->type.ftrace ? event_field_find(&c->type, "common_pid") : -1;
	if (strcmp(c->type.system, "sched") && strcmp(c->type.system, "task"))
		return;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (strcmp(c->type.name, table[i].event))
			continue;
		for (int k = 0; k < 4; k++)
			if (table[i].field[k / 2][k % 2])
				c->learn[k / 2][k % 2] = event_field_find(
					&c->type, table[i].field[k / 2][k % 2]);
	}
}

static struct event_class *class_make(struct event_decoder *dec,
				      const struct dlog_event_desc *desc)
{
	struct event_class *c = calloc(1, sizeof(*c));
	bool ok;

	if (!c)
		return NULL;
	c->type.id = desc->id;
	c->type.ftrace = desc->format;
	ok = class_name(c, desc->name);
	if (ok && !desc->format)
		ok = class_declared(c, desc->fields);
	else if (ok)
		event_ftrace_add(dec, c, desc->format);
	if (!ok) {
		class_free(c);
		return NULL;
	}
	class_learn(c);
	return c;
}

static struct event_class *class_of(struct event_decoder *dec, uint32_t id)
{
	struct dlog_event_desc desc;

	if (!id || id > DLOG_EVENT_MAX)
		return NULL;
	if (!dec->class[id] && dlog_get_event(dec->d, id, &desc))
		dec->class[id] = class_make(dec, &desc);
	return dec->class[id];
}

const struct event_type *event_type(struct event_decoder *dec, uint32_t id)
{
	struct event_class *c = class_of(dec, id);

	return c && c->type.field ? &c->type : NULL;
}

int event_field_find(const struct event_type *t, const char *name)
{
	for (uint32_t i = 0; i < t->nr_fields; i++)
		if (!strcmp(t->field[i].name, name))
			return (int)i;
	return -1;
}

static void get_declared(const struct event_class *c,
			 const struct dlog_entry *e, uint32_t i,
			 struct event_data *out)
{
	const uint8_t *p = e->data;
	size_t left = e->len;
	struct dlog_value v;

	for (uint32_t k = 0; k <= i; k++)
		if (!dlog_field_value(&c->declared[k], &p, &left, &v))
			return;
	out->there = true;
	out->number = v.number;
	out->data = v.data;
	out->len = v.len;
}

static void get_ftrace(const struct event_class *c, const struct dlog_entry *e,
		       uint32_t i, struct event_data *out)
{
	const struct event_field *f = &c->field[i];
	size_t at, n;

	if (!event_place_find(c, i, e->data, e->len, &at, &n))
		return;
	out->there = true;
	switch (f->type) {
	case EVENT_STRING:
		n = strnlen((const char *)e->data + at, n);
		/* fall through */
	case EVENT_BYTES:
		out->data = e->data + at;
		out->len = n;
		return;
	default:
		memcpy(&out->number, e->data + at, f->size);
		if (f->type == EVENT_INT) {
			uint32_t shift = 64 - 8 * f->size;

			out->number =
				(uint64_t)((int64_t)(out->number << shift) >>
					   shift);
		}
	}
}

void event_get(const struct event_type *t, const struct dlog_entry *e,
	       uint32_t i, struct event_data *out)
{
	const struct event_class *c = (const struct event_class *)t;

	memset(out, 0, sizeof(*out));
	if (i >= t->nr_fields)
		return;
	if (t->ftrace)
		get_ftrace(c, e, i, out);
	else
		get_declared(c, e, i, out);
}

/* ---- text ---- */

static void put_value(struct sink *s, const struct event_field *f,
		      const struct event_data *v)
{
	switch (f->type) {
	case EVENT_UINT:
		sink_u64(s, v->number);
		break;
	case EVENT_INT:
		if ((int64_t)v->number < 0)
			sink_putc(s, '-');
		sink_u64(s, (int64_t)v->number < 0 ? -v->number : v->number);
		break;
	case EVENT_HEX:
		sink_printf(s, "0x%" PRIx64, v->number);
		break;
	case EVENT_STRING:
		sink_put(s, v->data, v->len);
		break;
	case EVENT_BYTES:
		sink_hex(s, v->data, v->len);
		break;
	}
}

/* "field=value ..." of what the event has of its own. */
static void put_fields(struct sink *s, const struct event_class *c,
		       const struct dlog_entry *e)
{
	bool any = false;

	for (uint32_t i = 0; i < c->type.nr_fields; i++) {
		struct event_data v;

		if (c->field[i].common)
			continue;
		if (any)
			sink_putc(s, ' ');
		any = true;
		event_get(&c->type, e, i, &v);
		sink_puts(s, c->field[i].name);
		sink_putc(s, '=');
		if (v.there)
			put_value(s, &c->field[i], &v);
		else
			sink_puts(s, "<cut short>");
	}
	if (!c->type.nr_fields)
		sink_hex(s, e->data, e->len);
}

/* What dlog_entry_text() gives behind "name: ". */
static size_t text_declared(const struct dlog_entry *e, struct sink *scratch,
			    const char *name, const char **text)
{
	size_t skip = strlen(name) + 1, n = dlog_entry_text(e, NULL, 0);

	scratch->len = 0;
	if (!sink_room(scratch, n + 1))
		return 0;
	dlog_entry_text(e, scratch->buf, n + 1);
	skip += n > skip && scratch->buf[skip] == ' ';
	skip = skip < n ? skip : n;
	*text = scratch->buf + skip;
	return n - skip;
}

const char *event_text(struct event_decoder *dec, const struct dlog_entry *e,
		       size_t *len)
{
	struct event_class *c = class_of(dec, e->arg);
	struct dlog_event_desc desc;
	const char *text = "";

	if (c && c->type.ftrace && event_ftrace_text(dec, c, e, &text, len))
		return text;
	if (c && !c->type.ftrace && dlog_get_event(dec->d, e->arg, &desc)) {
		*len = text_declared(e, &dec->scratch, desc.name, &text);
		return text;
	}
	dec->scratch.len = 0;
	if (c)
		put_fields(&dec->scratch, c, e);
	else
		sink_hex(&dec->scratch, e->data, e->len);
	*len = dec->scratch.len;
	return *len ? dec->scratch.buf : "";
}

/* ---- threads ---- */

int64_t event_pid(struct event_decoder *dec, const struct dlog_entry *e)
{
	struct event_class *c = class_of(dec, e->arg);
	struct event_data v;

	if (!c || c->pid < 0)
		return -1;
	event_get(&c->type, e, (uint32_t)c->pid, &v);
	return v.there && (int64_t)v.number >= 0 ? (int64_t)v.number : -1;
}

static struct comm *comm_set(struct event_decoder *dec, uint32_t boot,
			     int64_t pid)
{
	uint64_t h = ((uint64_t)pid + boot) * UINT64_C(0x9e3779b97f4a7c15);

	return dec->comm + (h >> 32) % COMM_SETS * COMM_WAYS;
}

static void comm_put(struct event_decoder *dec, uint32_t boot, int64_t pid,
		     const struct event_data *name)
{
	struct comm *set, *to;
	size_t n = name->len < COMM_LEN - 1 ? name->len : COMM_LEN - 1;

	if (!dec->comm)
		dec->comm = calloc(COMM_SETS * COMM_WAYS, sizeof(*dec->comm));
	if (!dec->comm || !n || pid <= 0)
		return;
	to = set = comm_set(dec, boot, pid);
	for (struct comm *c = set; c < set + COMM_WAYS; c++) {
		if (c->boot == boot && c->pid == pid) {
			to = c;
			break;
		}
		if (c->turn < to->turn)
			to = c;
	}
	to->boot = boot;
	to->pid = pid;
	to->turn = ++dec->comm_turn;
	memcpy(to->name, name->data, n);
	to->name[n] = 0;
}

void event_learn(struct event_decoder *dec, const struct dlog_entry *e)
{
	struct event_class *c = class_of(dec, e->arg);

	if (!c || c->learn[0][0] < 0)
		return;
	for (int i = 0; i < 2; i++) {
		struct event_data pid, name;

		if (c->learn[i][0] < 0 || c->learn[i][1] < 0)
			continue;
		event_get(&c->type, e, (uint32_t)c->learn[i][0], &pid);
		event_get(&c->type, e, (uint32_t)c->learn[i][1], &name);
		if (pid.there && name.there &&
		    c->field[c->learn[i][1]].type == EVENT_STRING)
			comm_put(dec, e->boot, (int64_t)pid.number, &name);
	}
}

const char *event_comm(struct event_decoder *dec, uint32_t boot, int64_t pid)
{
	struct comm *set;

	if (!pid)
		return "<idle>";
	if (!dec->comm || pid < 0)
		return NULL;
	set = comm_set(dec, boot, pid);
	for (struct comm *c = set; c < set + COMM_WAYS; c++)
		if (c->boot == boot && c->pid == pid)
			return c->name;
	return NULL;
}
