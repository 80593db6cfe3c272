// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * format.c - reads the format text of an ftrace event.
 *
 * Its form is that of /sys/kernel/tracing/events/SYSTEM/EVENT/format, written
 * by f_show() of the kernel's kernel/trace/trace_events.c.  The text is the
 * guest's and may be anything.  What is understood is written again for
 * libtraceevent, with the line "ID:" that the catalog leaves out; what is not
 * understood does not get there (event_int.h says why).
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "event_print.h"

#define DECLARATION_MAX 200u
#define FIELD_TOKENS 4u /* what a field takes of libtraceevent's memory */

/* Copy digits at *@p, a number of at most @max, and what ends it. */
static bool take_number(const char **p, const char *label, uint32_t max,
			uint32_t *v)
{
	size_t n = strlen(label);
	uint64_t number = 0;
	const char *s = *p;

	if (strncmp(s, label, n) || !isdigit((unsigned char)s[n]))
		return false;
	for (s += n; isdigit((unsigned char)*s) && number <= max; s++)
		number = number * 10 + (uint64_t)(*s - '0');
	if (*s != ';' || number > max)
		return false;
	*v = (uint32_t)number;
	*p = s + 1;
	return true;
}

/* A declaration taken apart: "__data_loc char[] name", "u8 addr[6]". */
struct declaration {
	char text[DECLARATION_MAX + 1]; /* written again */
	size_t name, name_len; /* in it */
	bool array, pointer, chars, is_long, is_signed;
	enum event_where where;
};

/* "__attribute__((...))", which compilers put in: skipped. */
static const char *skip_attribute(const char *p, const char *end)
{
	static const char word[] = "__attribute__";
	size_t n = sizeof(word) - 1;
	int depth = 0;

	if ((size_t)(end - p) < n || memcmp(p, word, n))
		return p;
	for (p += n; p < end; p++) {
		depth += *p == '(';
		depth -= *p == ')';
		if (!depth && *p == ')')
			return p + 1;
	}
	return p;
}

static bool is_word(const char *p, size_t len, const char *word)
{
	return strlen(word) == len && !memcmp(p, word, len);
}

/* What a word of the type says. */
static void declare_word(struct declaration *d, const char *p, size_t len)
{
	if (is_word(p, len, "__data_loc"))
		d->where = EVENT_DATA_LOC;
	else if (is_word(p, len, "__rel_loc"))
		d->where = EVENT_REL_LOC;
	else if (is_word(p, len, "char"))
		d->chars = true;
	else if (is_word(p, len, "long"))
		d->is_long = true;
}

static const char *declare_array(struct declaration *d, size_t *n,
				 const char *p, const char *end)
{
	const char *from = p++;

	while (p < end && isdigit((unsigned char)*p))
		p++;
	if (p == end || *p != ']' || p - from > 9 || d->array)
		return NULL;
	d->array = true;
	memcpy(d->text + *n, from, (size_t)(p + 1 - from));
	*n += (size_t)(p + 1 - from);
	return p + 1;
}

static bool declare(struct declaration *d, const char *p, const char *end)
{
	uint32_t words = 0;
	size_t n = 0;

	memset(d, 0, sizeof(*d));
	if ((size_t)(end - p) > DECLARATION_MAX / 2)
		return false;
	while (p < end) {
		const char *from = p = skip_attribute(p, end);

		while (p < end && (isalnum((unsigned char)*p) || *p == '_'))
			p++;
		if (p > from) {
			if (n)
				d->text[n++] = ' ';
			if (words++)
				declare_word(d, d->text + d->name, d->name_len);
			d->name = n;
			d->name_len = (size_t)(p - from);
			memcpy(d->text + n, from, d->name_len);
			n += d->name_len;
		} else if (p < end && *p == '*' && words && !d->array) {
			declare_word(d, d->text + d->name, d->name_len);
			d->name_len = 0;
			d->pointer = true;
			d->text[n++] = ' ';
			d->text[n++] = '*';
			p++;
		} else if (p < end && *p == '[' && words) {
			p = declare_array(d, &n, p, end);
			if (!p)
				return false;
		} else if (p < end && *p == ' ') {
			p++;
		} else if (p < end) {
			return false;
		}
	}
	d->text[n] = 0;
	return words >= 2 && d->name_len &&
	       !isdigit((unsigned char)d->text[d->name]);
}

static enum event_value field_value(const struct declaration *d, uint32_t size)
{
	if (d->array || d->where != EVENT_HERE)
		return d->chars && !d->pointer ? EVENT_STRING : EVENT_BYTES;
	if (size != 1 && size != 2 && size != 4 && size != 8)
		return EVENT_BYTES;
	if (d->pointer || (d->is_long && !d->is_signed && size == 8 &&
			   !strncmp(d->text, "unsigned long ", 14) &&
			   strncmp(d->text + 14, "long ", 5)))
		return EVENT_HEX;
	return d->is_signed ? EVENT_INT : EVENT_UINT;
}

static bool field_add(struct event_class *c, char **names,
		      const struct declaration *d, uint32_t offset,
		      uint32_t size)
{
	uint32_t i = c->type.nr_fields;
	struct event_field *f = &c->field[i];
	char *name = *names;

	bool open_ended = !size && d->where == EVENT_HERE;

	/*
	 * A guest that lets fields overlap would make much of a short record:
	 * the kernel's never do.
	 */
	c->bytes += size;
	if (i >= EVENT_FIELDS || offset + size > EVENT_BYTES_MAX ||
	    c->bytes > EVENT_BYTES_MAX ||
	    (d->where != EVENT_HERE && size != 4) ||
	    (open_ended && (!d->array || c->open_ended)))
		return false;
	c->open_ended |= open_ended;
	memcpy(name, d->text + d->name, d->name_len);
	name[d->name_len] = 0;
	*names += d->name_len + 1;
	f->name = name;
	f->type = field_value(d, size);
	f->common = !strncmp(name, "common_", 7);
	if (f->type < EVENT_STRING)
		f->size = size;
	c->place[i] = (struct event_place){ offset, size, d->where };
	if (offset + size > c->size)
		c->size = offset + size;
	c->type.nr_fields++;
	return true;
}

/* "\tfield:DECLARATION;\toffset:N;\tsize:N;\tsigned:N;" */
static bool field_line(struct event_class *c, char **names, const char *p,
		       const char *end, struct sink *out)
{
	static const char label[] = "\tfield:";
	const char *decl = p + sizeof(label) - 1, *semi;
	uint32_t offset, size, is_signed = 0;
	struct declaration d;

	if (end - p < (long)sizeof(label) ||
	    memcmp(p, label, sizeof(label) - 1))
		return false;
	semi = memchr(decl, ';', (size_t)(end - decl));
	if (!semi || !declare(&d, decl, semi))
		return false;
	p = semi + 1;
	if (!take_number(&p, "\toffset:", EVENT_BYTES_MAX, &offset) ||
	    !take_number(&p, "\tsize:", EVENT_BYTES_MAX, &size) ||
	    (p < end && !take_number(&p, "\tsigned:", 1, &is_signed)) ||
	    p != end)
		return false;
	d.is_signed = is_signed;
	if (!field_add(c, names, &d, offset, size))
		return false;
	sink_printf(out, "\tfield:%s;\toffset:%u;\tsize:%u;\tsigned:%u;\n",
		    d.text, offset, size, is_signed);
	return true;
}

/*
 * The lines of fields: those common to all events, an empty line, those of its
 * own, an empty line.  Returns what is behind them.
 */
static const char *field_lines(struct event_class *c, const char *p,
			       struct sink *out)
{
	char *names = c->names + 2 * (EVENT_NAME + 1);
	const char *end;
	bool own = false;

	for (; (end = strchr(p, '\n')); p = end + 1) {
		if (!strncmp(p, "print fmt: ", 11))
			break;
		if (p == end) {
			if (!own)
				sink_putc(out, '\n');
			own = true;
			continue;
		}
		if (!field_line(c, &names, p, end, out) ||
		    c->field[c->type.nr_fields - 1].common == own)
			return NULL;
	}
	sink_putc(out, '\n');
	return own && !strncmp(p, "print fmt: ", 11) ? p : NULL;
}

/* libtraceevent finds the type of every record where the first event has it. */
static bool common_type_ok(const struct event_class *c)
{
	int i = event_field_find(&c->type, "common_type");

	return !i && !c->place[0].offset && c->place[0].size == 2 &&
	       c->field[0].type == EVENT_UINT;
}

static bool fields_room(struct event_class *c, size_t len)
{
	char *names;

	c->field = calloc(EVENT_FIELDS, sizeof(*c->field));
	c->place = calloc(EVENT_FIELDS, sizeof(*c->place));
	/* Names are no longer than the text that they come from. */
	names = realloc(c->names, 2 * (EVENT_NAME + 1) + len + EVENT_FIELDS);
	if (!names)
		return false;
	c->type.name = names + (c->type.name - c->type.system);
	c->type.system = c->names = names;
	return c->field && c->place;
}

/* Give back the room for fields that are not there. */
static void fields_trim(struct event_class *c)
{
	size_t n = c->type.nr_fields;
	void *field = realloc(c->field, n * sizeof(*c->field));
	void *place = realloc(c->place, n * sizeof(*c->place));

	c->field = field ? field : c->field;
	c->place = place ? place : c->place;
	c->type.field = c->field;
}

bool event_format_read(struct event_class *c, const char *text,
		       struct sink *out, uint32_t *tokens)
{
	size_t len = strnlen(text, EVENT_BYTES_MAX + 1);
	const char *p = strstr(text, "format:\n");
	size_t kept;

	*tokens = 0;
	if (len > EVENT_BYTES_MAX || !p || !fields_room(c, len))
		return false;
	sink_printf(out, "name: %s\nID: %u\nformat:\n", c->type.name,
		    c->type.id);
	c->type.field = c->field;
	p = field_lines(c, p + 8, out);
	if (p && c->type.nr_fields && common_type_ok(c)) {
		fields_trim(c);
		kept = out->len;
		if (!event_print_read(c, p + 11, out, tokens)) {
			out->len = kept;
			/* No argument: libtraceevent shows the fields. */
			sink_puts(out, "print fmt: \"%d\"\n");
			*tokens = 0;
		}
		*tokens += FIELD_TOKENS * c->type.nr_fields;
		return !out->error;
	}
	c->type.nr_fields = 0;
	c->type.field = NULL;
	return false;
}

/* All data that the fields say they have behind the fixed part. */
static size_t dynamic_bytes(const struct event_class *c, const uint8_t *data,
			    size_t len)
{
	size_t all = 0;

	for (uint32_t i = 0; i < c->type.nr_fields; i++) {
		const struct event_place *p = &c->place[i];

		if (p->where != EVENT_HERE && p->offset + p->size <= len)
			all += dlog_load32(data + p->offset) >> 16;
	}
	return all;
}

bool event_place_find(const struct event_class *c, uint32_t i,
		      const uint8_t *data, size_t len, size_t *at, size_t *n)
{
	const struct event_place *p = &c->place[i];
	uint32_t word;

	*at = p->offset;
	*n = p->size;
	if (p->offset > len || p->size > len - p->offset)
		return false;
	if (p->where == EVENT_HERE) {
		/* An array of no size goes up to the record's end. */
		if (!p->size)
			*n = len - p->offset;
		return true;
	}
	memcpy(&word, data + p->offset, sizeof(word));
	*at = word & 0xffff;
	*n = word >> 16;
	if (p->where == EVENT_REL_LOC)
		*at += p->offset + p->size;
	return *at <= len && *n <= len - *at &&
	       dynamic_bytes(c, data, len) <= len;
}
