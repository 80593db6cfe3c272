// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * check.c - may libtraceevent print this record?
 *
 * Walks what libtraceevent made of a print fmt, together with the conversions
 * of its format, and notes what must hold of each record: divisors that are
 * not 0, indices and lengths that stay inside.  Relies on event-parse.h for
 * the tree, and on src/event-parse.c of 1.7 for what happens with it.
 */
#include <stdlib.h>
#include <string.h>

#include <event-parse.h>

#include "event_print.h"

#define CHECKS_MAX 256u
#define DEPTH_MAX 512u
/* Bytes that may be looked at for one record: each argument may print all. */
#define WORK_MAX (1u << 20)

struct record {
	const struct event_class *c;
	const uint8_t *data;
	size_t len;
};

static bool check_add(struct event_class *c, enum event_check_kind kind,
		      const struct tep_print_arg *arg)
{
	struct event_check *k = c->check;

	if (c->nr_checks == CHECKS_MAX)
		return false;
	if (!(c->nr_checks & (c->nr_checks - 1))) {
		uint32_t room = c->nr_checks ? 2 * c->nr_checks : 1;

		k = realloc(k, room * sizeof(*k));
		if (!k)
			return false;
		c->check = k;
	}
	k[c->nr_checks++] = (struct event_check){ kind, arg };
	return true;
}

static const struct tep_print_arg *without_casts(const struct tep_print_arg *a)
{
	while (a && a->type == TEP_PRINT_TYPE)
		a = a->typecast.item;
	return a;
}

/* ---- values, as eval_num_arg() finds them ---- */

/* Our field that libtraceevent calls @f: by place, since names may repeat. */
static int field_number(const struct event_class *c,
			const struct tep_format_field *f)
{
	for (uint32_t i = 0; f && i < c->type.nr_fields; i++)
		if ((int)c->place[i].offset == f->offset &&
		    !strcmp(c->field[i].name, f->name))
			return (int)i;
	return -1;
}

static uint64_t number_at(const uint8_t *p, size_t size)
{
	uint64_t v = 0;

	if (size == 1 || size == 2 || size == 4 || size == 8)
		memcpy(&v, p, size);
	return v;
}

static uint64_t cast_value(uint64_t v, const char *type)
{
	if (!strncmp(type, "unsigned ", 9))
		type += 9;
	if (!strcmp(type, "u8") || !strcmp(type, "s8") || !strcmp(type, "char"))
		return v & 0xff;
	if (!strcmp(type, "u16") || !strcmp(type, "s16") ||
	    !strcmp(type, "short"))
		return v & 0xffff;
	if (!strcmp(type, "u32") || !strcmp(type, "s32") ||
	    !strcmp(type, "int"))
		return v & 0xffffffff;
	return v;
}

static bool value(const struct record *r, const struct tep_print_arg *a,
		  uint64_t *v);

static bool binary_value(const char *op, uint64_t a, uint64_t b, uint64_t *v)
{
	switch (op[0]) {
	case '+':
		*v = a + b;
		return true;
	case '-':
		*v = a - b;
		return true;
	case '*':
		*v = a * b;
		return true;
	case '/':
	case '%':
		if (b)
			*v = op[0] == '/' ? a / b : a % b;
		return b;
	case '&':
		*v = op[1] ? a && b : a & b;
		return true;
	case '|':
		*v = op[1] ? a || b : a | b;
		return true;
	case '>':
	case '<':
		/* A comparison is no length. */
		if (op[1] != op[0] || b > 63)
			return false;
		*v = op[0] == '>' ? a >> b : a << b;
		return true;
	default:
		return false;
	}
}

static bool field_of(const struct record *r, const struct tep_format_field *f,
		     size_t *at, size_t *n)
{
	int i = field_number(r->c, f);

	return i >= 0 &&
	       event_place_find(r->c, (uint32_t)i, r->data, r->len, at, n);
}

static bool value(const struct record *r, const struct tep_print_arg *a,
		  uint64_t *v)
{
	uint64_t x, y;
	size_t at, n;

	*v = 0;
	switch (a->type) {
	case TEP_PRINT_ATOM:
		*v = strtoull(a->atom.atom, NULL, 0);
		return true;
	case TEP_PRINT_FIELD:
		if (a->field.field->flags &
		    (TEP_FIELD_IS_ARRAY | TEP_FIELD_IS_DYNAMIC))
			return false;
		if (!field_of(r, a->field.field, &at, &n))
			return false;
		*v = number_at(r->data + at, n);
		return true;
	case TEP_PRINT_TYPE:
		if (!value(r, a->typecast.item, &x))
			return false;
		*v = cast_value(x, a->typecast.type);
		return true;
	case TEP_PRINT_DYNAMIC_ARRAY_LEN:
		if (!field_of(r, a->dynarray.field, &at, &n))
			return false;
		*v = n;
		return true;
	case TEP_PRINT_OP:
		return value(r, a->op.left, &x) && value(r, a->op.right, &y) &&
		       binary_value(a->op.op, x, y, v);
	default:
		return false;
	}
}

/* ---- one record ---- */

/* Elements of an array and their size. */
static bool array_of(const struct record *r, const struct tep_print_arg *a,
		     size_t *at, size_t *n, size_t *element)
{
	const struct tep_format_field *f = a->type == TEP_PRINT_DYNAMIC_ARRAY
						   ? a->dynarray.field
						   : a->field.field;

	*element = f->elementsize;
	return field_of(r, f, at, n);
}

static bool index_ok(const struct record *r, const struct tep_print_arg *op)
{
	const struct tep_print_arg *a = without_casts(op->op.left);
	size_t at, n, element;
	uint64_t i;

	if (!array_of(r, a, &at, &n, &element) || !value(r, op->op.right, &i) ||
	    i >= 65536)
		return false;
	/*
	 * Of a dynamic array libtraceevent takes the index for bytes, and for
	 * the size of one 8 if it does not know it.
	 */
	if (a->type == TEP_PRINT_DYNAMIC_ARRAY)
		return i + (element ? element : 8) <= n + EVENT_PAD && i <= n &&
		       element <= 8;
	return element <= 8 && (i + 1) * element <= n;
}

static bool array_ok(const struct record *r, const struct tep_print_arg *a)
{
	bool ints = a->type == TEP_PRINT_INT_ARRAY;
	const struct tep_print_arg *of = ints ? a->int_array.field
					      : a->hex.field;
	uint64_t count, size = 1;
	size_t at, n, element;

	if (!array_of(r, of, &at, &n, &element) ||
	    !value(r, ints ? a->int_array.count : a->hex.size, &count) ||
	    (ints && !value(r, a->int_array.el_size, &size)))
		return false;
	if (size != 1 && size != 2 && size != 4 && size != 8)
		return false;
	return count <= n / size;
}

static bool check_ok(const struct record *r, const struct event_check *k)
{
	size_t at, n;
	uint64_t v;

	switch (k->kind) {
	case EVENT_CHECK_DIVISOR:
		return value(r, k->arg, &v) && v;
	case EVENT_CHECK_WIDTH:
		return value(r, k->arg, &v) && v <= EVENT_WIDTH;
	case EVENT_CHECK_INDEX:
		return index_ok(r, k->arg);
	case EVENT_CHECK_ARRAY:
		return array_ok(r, k->arg);
	case EVENT_CHECK_MASK:
		return field_of(r, k->arg->bitmask.field, &at, &n) && n;
	}
	return false;
}

bool event_check_record(const struct event_class *c, const uint8_t *data,
			size_t len)
{
	const struct record r = { c, data, len };
	size_t at, n;

	if (len < c->size || c->nr_args * len > WORK_MAX)
		return false;
	for (uint32_t i = 0; i < c->type.nr_fields; i++)
		if (c->place[i].where != EVENT_HERE &&
		    !event_place_find(c, i, data, len, &at, &n))
			return false;
	for (uint32_t i = 0; i < c->nr_checks; i++)
		if (!check_ok(&r, &c->check[i]))
			return false;
	return true;
}

/* ---- the tree ---- */

static bool walk(struct event_class *c, struct tep_print_arg *a,
		 uint32_t depth);

static bool is_dynamic(const struct event_class *c,
		       const struct tep_format_field *f)
{
	int i = field_number(c, f);

	return i >= 0 && c->place[i].where != EVENT_HERE &&
	       f->flags & TEP_FIELD_IS_DYNAMIC;
}

/* What __print_hex() and the like are given: nothing but an array. */
static bool is_array(const struct event_class *c, const struct tep_print_arg *a)
{
	if (a && a->type == TEP_PRINT_DYNAMIC_ARRAY)
		return is_dynamic(c, a->dynarray.field);
	return a && a->type == TEP_PRINT_FIELD &&
	       field_number(c, a->field.field) >= 0 &&
	       a->field.field->flags & TEP_FIELD_IS_ARRAY &&
	       !(a->field.field->flags & TEP_FIELD_IS_DYNAMIC);
}

/* Fields that libtraceevent looks up by name only when it prints. */
static bool named_dynamic(struct event_class *c, const char *name)
{
	return name && is_dynamic(c, tep_find_any_field(c->tep, name));
}

static bool walk_choices(const struct tep_print_flag_sym *s)
{
	for (; s; s = s->next)
		if (!s->value || !s->str)
			return false;
	return true;
}

static bool walk_op(struct event_class *c, struct tep_print_arg *a,
		    uint32_t depth)
{
	const char *op = a->op.op;
	struct tep_print_arg *right = a->op.right;

	if (!op || !a->op.left || !right || !walk(c, a->op.left, depth))
		return false;
	if (!strcmp(op, "?"))
		return right->type == TEP_PRINT_OP && right->op.op &&
		       !strcmp(right->op.op, ":") && right->op.left &&
		       right->op.right && walk(c, right->op.left, depth) &&
		       walk(c, right->op.right, depth);
	if (!strcmp(op, ":") || !walk(c, right, depth))
		return false;
	if (!strcmp(op, "["))
		return is_array(c, without_casts(a->op.left)) &&
		       check_add(c, EVENT_CHECK_INDEX, a);
	if (!strcmp(op, "/") || !strcmp(op, "%"))
		return check_add(c, EVENT_CHECK_DIVISOR, right);
	return true;
}

/* Arguments of plugins' functions: one that is a pointer must be an array. */
static bool walk_call(struct event_class *c, struct tep_print_arg *a,
		      uint32_t depth)
{
	uint32_t n = 0;

	for (struct tep_print_arg *arg = a->func.args; arg; arg = arg->next) {
		if (arg->type == TEP_PRINT_DYNAMIC_ARRAY) {
			if (n != 1 || !is_dynamic(c, arg->dynarray.field))
				return false;
		} else if (!walk(c, arg, depth)) {
			return false;
		}
		n++;
	}
	return a->func.func && (n == 1 || n == 3);
}

static bool walk(struct event_class *c, struct tep_print_arg *a, uint32_t depth)
{
	if (!a || !depth--)
		return false;
	switch (a->type) {
	case TEP_PRINT_NULL:
		return true;
	case TEP_PRINT_ATOM:
		return a->atom.atom;
	case TEP_PRINT_FIELD:
		return field_number(c, a->field.field) >= 0;
	case TEP_PRINT_FLAGS:
		return walk_choices(a->flags.flags) &&
		       walk(c, a->flags.field, depth);
	case TEP_PRINT_SYMBOL:
		return walk_choices(a->symbol.symbols) &&
		       walk(c, a->symbol.field, depth);
	case TEP_PRINT_HEX:
	case TEP_PRINT_HEX_STR:
		return is_array(c, a->hex.field) &&
		       walk(c, a->hex.size, depth) &&
		       check_add(c, EVENT_CHECK_ARRAY, a);
	case TEP_PRINT_INT_ARRAY:
		return is_array(c, a->int_array.field) &&
		       walk(c, a->int_array.count, depth) &&
		       walk(c, a->int_array.el_size, depth) &&
		       check_add(c, EVENT_CHECK_ARRAY, a);
	case TEP_PRINT_TYPE:
		return a->typecast.type && strlen(a->typecast.type) > 1 &&
		       walk(c, a->typecast.item, depth);
	case TEP_PRINT_STRING:
		return named_dynamic(c, a->string.string);
	case TEP_PRINT_BITMASK:
		return named_dynamic(c, a->bitmask.bitmask);
	case TEP_PRINT_CPUMASK:
		if (!named_dynamic(c, a->bitmask.bitmask))
			return false;
		a->bitmask.field = tep_find_any_field(c->tep,
						      a->bitmask.bitmask);
		a->bitmask.offset = a->bitmask.field->offset;
		return check_add(c, EVENT_CHECK_MASK, a);
	case TEP_PRINT_DYNAMIC_ARRAY:
	case TEP_PRINT_DYNAMIC_ARRAY_LEN:
		return is_dynamic(c, a->dynarray.field);
	case TEP_PRINT_OP:
		return walk_op(c, a, depth);
	case TEP_PRINT_FUNC:
		return walk_call(c, a, depth);
	default:
		return false;
	}
}

/* %pM and the like look at what their argument points to. */
static bool pointer_ok(const struct event_class *c,
		       const struct event_conversion *v,
		       const struct tep_print_arg *a)
{
	a = without_casts(a);
	switch (*v->more) {
	case 'M':
	case 'm':
	case 'U':
		return a->type == TEP_PRINT_FIELD &&
		       !(a->field.field->flags & TEP_FIELD_IS_DYNAMIC);
	case 'I':
	case 'i':
		if (a->type == TEP_PRINT_FIELD)
			return !(a->field.field->flags & TEP_FIELD_IS_DYNAMIC);
		return a->type == TEP_PRINT_DYNAMIC_ARRAY &&
		       is_dynamic(c, a->dynarray.field);
	default:
		return true;
	}
}

bool event_check_make(struct event_class *c)
{
	struct tep_print_arg *arg = c->tep->print_fmt.args;
	const char *format = c->tep->print_fmt.format;
	struct event_conversion v;
	int ret;

	for (struct tep_print_arg *a = arg; a; a = a->next) {
		if (!walk(c, a, DEPTH_MAX))
			return false;
		c->nr_args++;
	}
	while ((ret = event_conversion_next(&format, &v)) > 0) {
		if (!v.letter)
			continue;
		if (v.star) {
			if (!arg || !check_add(c, EVENT_CHECK_WIDTH, arg))
				return false;
			arg = arg->next;
		}
		if (!arg || (v.letter == 'p' && !pointer_ok(c, &v, arg)))
			return false;
		arg = arg->next;
	}
	return !ret;
}
