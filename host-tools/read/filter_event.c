// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * filter_event.c - which events are shown: -e, --function, --pid.
 *
 * -e takes terms joined by && and ||: "GLOB", "GLOB:FIELD OP VALUE", or "FIELD
 * OP VALUE" of the event of the term before.  Each -e is one more
 * alternative.  Relies on host-tools/common/event/event.h.
 */
#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>

#include "event.h"
#include "read.h"

enum operator{
	OP_NONE,
	OP_EQ,
	OP_NE,
	OP_LE,
	OP_GE,
	OP_LT,
	OP_GT,
	OP_GLOB,
	OP_BITS
};

/* In the order in which they are looked for at one place. */
static const struct {
	const char *text;
	enum operator op;
} operators[] = {
	{ "==", OP_EQ }, { "!=", OP_NE }, { "<=", OP_LE },  { ">=", OP_GE },
	{ "<", OP_LT },	 { ">", OP_GT },  { "~", OP_GLOB }, { "&", OP_BITS },
};

struct event_term {
	char *glob; /* of "system:event", or of the event's name alone */
	char *field; /* NULL: any record of the event */
	enum operator op;
	char *value;
	bool is_number;
	uint64_t number;
	bool first; /* of an alternative */
	/* what was found last */
	const struct event_type *type;
	bool match;
	int index;
};

struct event_filter {
	struct event_term *term;
	size_t nr;
	const char *function;
	uint32_t pids[64];
	size_t nr_pids;
};

static struct event_filter *events_of(struct filter *f)
{
	if (!f->events)
		f->events = calloc(1, sizeof(*f->events));
	return f->events;
}

void filter_events_free(struct filter *f)
{
	for (size_t i = 0; f->events && i < f->events->nr; i++) {
		free(f->events->term[i].glob);
		free(f->events->term[i].field);
		free(f->events->term[i].value);
	}
	if (f->events)
		free(f->events->term);
	free(f->events);
	f->events = NULL;
}

/* @len bytes without the blanks and quotes around them. */
static char *trimmed(const char *p, size_t len)
{
	while (len && isspace((unsigned char)*p)) {
		p++;
		len--;
	}
	while (len && isspace((unsigned char)p[len - 1]))
		len--;
	if (len >= 2 && *p == '"' && p[len - 1] == '"') {
		p++;
		len -= 2;
	}
	return strndup(p, len);
}

/* Where the term at @p ends: at && or ||, but not within quotes. */
static size_t term_len(const char *p)
{
	bool quoted = false;
	size_t n = 0;

	for (; p[n]; n++) {
		quoted ^= p[n] == '"';
		if (!quoted && (p[n] == '&' || p[n] == '|') && p[n + 1] == p[n])
			break;
	}
	return n;
}

/* The operator in a term; its place, or NULL. */
static const char *operator_find(const char *p, size_t len, enum operator* op,
				 size_t *op_len)
{
	for (const char *s = p; s < p + len; s++) {
		for (size_t i = 0; i < sizeof(operators) / sizeof(*operators);
		     i++) {
			*op_len = strlen(operators[i].text);
			*op = operators[i].op;
			if ((size_t)(p + len - s) >= *op_len &&
			    !memcmp(s, operators[i].text, *op_len))
				return s;
		}
	}
	*op = OP_NONE;
	return NULL;
}

/* "sched:sched_switch:prev_pid": the field is behind the last colon. */
static int term_left(struct event_term *t, const char *p, size_t len,
		     const struct event_term *before)
{
	const char *colon = memrchr(p, ':', len);
	size_t event = colon ? (size_t)(colon - p) : 0;

	t->field = trimmed(colon ? colon + 1 : p, len - event - !!colon);
	if (colon)
		t->glob = trimmed(p, event);
	else if (before && before->glob)
		t->glob = strdup(before->glob);
	else
		return -EINVAL;
	return !t->glob || !t->field   ? -ENOMEM
	       : *t->glob && *t->field ? 0
				       : -EINVAL;
}

static void term_value(struct event_term *t)
{
	char *end;

	errno = 0;
	t->number = *t->value == '-' ? (uint64_t)strtoll(t->value, &end, 0)
				     : strtoull(t->value, &end, 0);
	t->is_number = *t->value && !*end && !errno;
}

static int term_parse(struct event_term *t, const char *p, size_t len,
		      const struct event_term *before)
{
	size_t op_len;
	const char *op = operator_find(p, len, &t->op, &op_len);
	int ret;

	if (!op) {
		t->glob = trimmed(p, len);
		return !t->glob ? -ENOMEM : *t->glob ? 0 : -EINVAL;
	}
	ret = term_left(t, p, (size_t)(op - p), before);
	if (ret)
		return ret;
	op += op_len;
	t->value = trimmed(op, len - (size_t)(op - p));
	if (!t->value)
		return -ENOMEM;
	term_value(t);
	if (t->op != OP_EQ && t->op != OP_NE && t->op != OP_GLOB &&
	    !t->is_number)
		return -EINVAL;
	return 0;
}

int filter_event(struct filter *f, const char *text)
{
	struct event_filter *ev = events_of(f);
	const char *p = text;
	bool first = true;

	for (; ev; p += 2) {
		struct event_term *t;
		size_t len = term_len(p);

		t = realloc(ev->term, (ev->nr + 1) * sizeof(*t));
		if (!t)
			return -ENOMEM;
		ev->term = t;
		t += ev->nr++;
		memset(t, 0, sizeof(*t));
		t->first = first;
		if (term_parse(t, p, len, first ? NULL : t - 1)) {
			fprintf(stderr,
				PROGRAM ": '%.*s' is no choice of events: "
					"GLOB, or EVENT:FIELD, one of == != < "
					"<= > >= (numbers), ~ (glob), & "
					"(bits), and a value; join with && "
					"and ||\n",
				(int)len, p);
			return -EINVAL;
		}
		p += len;
		if (!*p)
			return 0;
		first = *p == '|';
	}
	return -ENOMEM;
}

int filter_function(struct filter *f, const char *glob)
{
	struct event_filter *ev = events_of(f);

	if (!ev)
		return -ENOMEM;
	ev->function = glob;
	return 0;
}

int filter_pid(struct filter *f, const char *list)
{
	struct event_filter *ev = events_of(f);
	const char *p = list;
	char *end;

	if (!ev)
		return -ENOMEM;
	do {
		unsigned long pid = strtoul(p, &end, 10);

		if (!isdigit((unsigned char)*p) || (*end && *end != ',') ||
		    pid > INT32_MAX ||
		    ev->nr_pids == sizeof(ev->pids) / sizeof(*ev->pids)) {
			fprintf(stderr,
				PROGRAM ": '%s' is no list of threads: up to "
					"64 numbers, as in 1,234\n",
				list);
			return -EINVAL;
		}
		ev->pids[ev->nr_pids++] = (uint32_t)pid;
		p = end;
	} while (*p++);
	return 0;
}

static bool glob_match(const char *glob, const struct event_type *t)
{
	char name[2 * 256 + 1];

	if (!strchr(glob, ':'))
		return !fnmatch(glob, t->name, 0);
	snprintf(name, sizeof(name), "%s:%s", t->system, t->name);
	return !fnmatch(glob, name, 0);
}

/* ---- before the first record ---- */

static void tell_fields(const char *path, const struct event_term *t,
			const struct event_type *type)
{
	fprintf(stderr, PROGRAM ": %s: %s%s%s has no field '%s'; it has:", path,
		type->system, *type->system ? ":" : "", type->name, t->field);
	for (uint32_t i = 0; i < type->nr_fields; i++)
		fprintf(stderr, " %s", type->field[i].name);
	fputc('\n', stderr);
}

/* Does an event have what @t asks for?  Else *@seen: one that has not. */
static bool term_known(struct source *src, const struct event_term *t,
		       const struct event_type **seen)
{
	struct event_decoder *dec = event_decoder(src->d);
	struct dlog_event_desc desc;

	for (uint32_t id = 1; dec && id <= DLOG_EVENT_MAX; id++) {
		const struct event_type *type;

		if (!dlog_get_event(src->d, id, &desc))
			continue;
		type = event_type(dec, id);
		if (!type || !glob_match(t->glob, type))
			continue;
		if (!t->field || event_field_find(type, t->field) >= 0)
			return true;
		*seen = type;
	}
	return false;
}

int filter_events_bind(struct filter *f, struct source *src, size_t n)
{
	for (size_t k = 0; f->events && k < f->events->nr; k++) {
		const struct event_term *t = &f->events->term[k];
		const struct event_type *seen = NULL, *first = NULL;
		const char *path = NULL;
		bool known = false;

		/* Of several files one may be of a kernel that has it. */
		for (size_t i = 0; i < n && !known; i++) {
			known = term_known(&src[i], t, &seen);
			if (!first && seen) {
				first = seen;
				path = src[i].path;
			}
		}
		if (known)
			continue;
		if (first) {
			tell_fields(path, t, first);
			return -ENOENT;
		}
		/* When following, it may come yet. */
		if (f->follow)
			continue;
		fprintf(stderr,
			PROGRAM ": %s: no event '%s' was ever recorded there; "
				"--events lists those that were\n",
			src[0].path, t->glob);
		return -ENOENT;
	}
	return 0;
}

/* ---- each record ---- */

static bool compare(enum operator op, bool is_signed, uint64_t a, uint64_t b)
{
	bool less = is_signed ? (int64_t)a < (int64_t)b : a < b;

	switch (op) {
	case OP_EQ:
		return a == b;
	case OP_NE:
		return a != b;
	case OP_LT:
		return less;
	case OP_LE:
		return less || a == b;
	case OP_GT:
		return !less && a != b;
	case OP_GE:
		return !less;
	case OP_BITS:
		return a & b;
	default:
		return false;
	}
}

static bool string_match(const struct event_term *t, const struct event_data *v)
{
	char text[512];
	size_t n = v->len < sizeof(text) - 1 ? v->len : sizeof(text) - 1;
	bool equal = v->len == strlen(t->value) &&
		     !memcmp(v->data, t->value, v->len);

	switch (t->op) {
	case OP_EQ:
		return equal;
	case OP_NE:
		return !equal;
	case OP_GLOB:
		memcpy(text, v->data, n);
		text[n] = 0;
		return !fnmatch(t->value, text, 0);
	default:
		return false;
	}
}

static bool term_match(struct event_term *t, const struct event_type *type,
		       const struct dlog_entry *e)
{
	const struct event_field *field;
	struct event_data v;

	if (t->type != type) {
		t->type = type;
		t->match = glob_match(t->glob, type);
		t->index = t->field ? event_field_find(type, t->field) : -1;
	}
	if (!t->match || !t->field)
		return t->match;
	if (t->index < 0)
		return false;
	event_get(type, e, (uint32_t)t->index, &v);
	field = &type->field[t->index];
	if (!v.there || field->type == EVENT_BYTES)
		return false;
	if (field->type == EVENT_STRING)
		return string_match(t, &v);
	return t->is_number &&
	       compare(t->op, field->type == EVENT_INT, v.number, t->number);
}

static bool function_match(struct event_decoder *dec, const char *glob,
			   const struct event_type *type,
			   const struct dlog_entry *e)
{
	struct event_data v;
	char name[256], *plus;
	int ip;

	if (!type->ftrace || strcmp(type->system, "ftrace") ||
	    strncmp(type->name, "func", 4))
		return false;
	ip = event_field_find(type, "ip");
	if (ip < 0)
		return false;
	event_get(type, e, (uint32_t)ip, &v);
	if (!v.there ||
	    !event_symbol(dec, e->boot, e->time, v.number, name, sizeof(name)))
		return false;
	plus = strchr(name, '+');
	if (plus)
		*plus = 0;
	return !fnmatch(glob, name, 0);
}

static bool pid_match(const struct event_filter *ev, struct event_decoder *dec,
		      const struct dlog_entry *e)
{
	int64_t pid = -1;

	if (e->kind == DLOG_KIND_EVENT)
		pid = dec ? event_pid(dec, e) : -1;
	else if (!(e->caller & (DLOG_CALLER_CPU | DLOG_CALLER_UNKNOWN)))
		pid = e->caller & DLOG_CALLER_ID;
	for (size_t i = 0; i < ev->nr_pids; i++)
		if (pid == (int64_t)ev->pids[i])
			return true;
	return false;
}

bool filter_event_match(struct filter *f, const struct dlog_entry *e)
{
	struct event_filter *ev = f->events;
	struct event_decoder *dec = NULL;
	const struct event_type *type;
	bool all = false;

	if (e->kind == DLOG_KIND_EVENT)
		dec = event_decoder(e->source);
	if (ev->nr_pids && !pid_match(ev, dec, e))
		return false;
	if (!ev->nr && !ev->function)
		return true;
	type = dec ? event_type(dec, e->arg) : NULL;
	if (!type)
		return false;
	if (ev->function && function_match(dec, ev->function, type, e))
		return true;
	for (size_t i = 0; i < ev->nr; i++) {
		struct event_term *t = &ev->term[i];

		/* An alternative is over where the next one begins. */
		if (t->first && all)
			return true;
		all = (t->first || all) && term_match(t, type, e);
	}
	return all;
}
