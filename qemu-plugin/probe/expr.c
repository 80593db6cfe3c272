// SPDX-License-Identifier: GPL-2.0-only
/*
 * expr.c - expressions of probe files: parsing and computing.
 *
 * As in C, all numbers being 64-bit and signed (but >> brings in zeros), so
 * that an error in a register is below 0 and kernel addresses, which are
 * negative, compare among each other as they should.  Sums wrap.
 *
 * A tree of nodes; how deep and how large it can be is bounded when it is
 * parsed, so computing needs no bound of its own.  What cannot be read makes
 * the whole expression unreadable, unless && || ?: leave it out.
 */
#include <errno.h>
#include <string.h>

#include "probe.h"

#define DEPTH_MAX 64u
#define NODES_MAX 1024u /* of a line */
#define STRING_MAX 256u /* of str() without a length */

enum op {
	OP_NUMBER,
	OP_SYMBOL, /* number, moves with the kernel */
	OP_REGISTER, /* index */
	OP_FIELD, /* index */
	OP_ADDRESS,
	OP_VALUE,
	OP_PHYSICAL,
	OP_SIZE,
	OP_STORE,
	OP_PC,
	OP_VCPU,
	OP_LOAD, /* size, sign: memory at a */
	OP_STR, /* at a, b bytes at the most */
	OP_BYTES,
	OP_NEGATE,
	OP_INVERT,
	OP_NOT,
	OP_CHOOSE,
	OP_OR,
	OP_AND,
	OP_BIT_OR,
	OP_BIT_XOR,
	OP_BIT_AND,
	OP_EQUAL,
	OP_DIFFERENT,
	OP_LESS,
	OP_NOT_MORE,
	OP_MORE,
	OP_NOT_LESS,
	OP_SHIFT_LEFT,
	OP_SHIFT_RIGHT,
	OP_ADD,
	OP_SUBTRACT,
	OP_MULTIPLY,
	OP_DIVIDE,
	OP_REMAINDER,
};

struct expr {
	enum op op;
	unsigned int index;
	uint8_t size;
	bool sign;
	uint64_t number;
	struct expr *a, *b, *c;
};

/* ---- parsing ---- */

static const struct binary {
	const char *text;
	unsigned int level; /* binds tighter when higher */
	enum op op;
} binaries[] = {
	/* What begins another one comes behind it. */
	{ "||", 1, OP_OR },	     { "&&", 2, OP_AND },
	{ "|", 3, OP_BIT_OR },	     { "^", 4, OP_BIT_XOR },
	{ "&", 5, OP_BIT_AND },	     { "==", 6, OP_EQUAL },
	{ "!=", 6, OP_DIFFERENT },   { "<<", 8, OP_SHIFT_LEFT },
	{ ">>", 8, OP_SHIFT_RIGHT }, { "<=", 7, OP_NOT_MORE },
	{ ">=", 7, OP_NOT_LESS },    { "<", 7, OP_LESS },
	{ ">", 7, OP_MORE },	     { "+", 9, OP_ADD },
	{ "-", 9, OP_SUBTRACT },     { "*", 10, OP_MULTIPLY },
	{ "/", 10, OP_DIVIDE },	     { "%", 10, OP_REMAINDER },
};

#define TIGHTEST 10u

static const struct word {
	const char *name;
	enum op op;
	bool access; /* there is none where an instruction is executed */
} words[] = {
	{ "address", OP_ADDRESS, true },   { "value", OP_VALUE, true },
	{ "physical", OP_PHYSICAL, true }, { "size", OP_SIZE, true },
	{ "store", OP_STORE, true },	   { "pc", OP_PC, false },
	{ "vcpu", OP_VCPU, false },
};

static const struct load {
	const char *name;
	uint8_t size;
	bool sign;
} loads[] = {
	{ "u8", 1, false },  { "u16", 2, false }, { "u32", 4, false },
	{ "u64", 8, false }, { "s8", 1, true },	  { "s16", 2, true },
	{ "s32", 4, true },  { "s64", 8, true },
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct expr *choice(struct line *l);

static struct expr *node(struct line *l, enum op op, struct expr *a,
			 struct expr *b)
{
	struct expr *e;

	if (++l->nodes > NODES_MAX) {
		line_error(
			l,
			"this is too long: a line has %u operands and operators at the most",
			NODES_MAX);
		return NULL;
	}
	e = probes_keep(sizeof(*e));
	e->op = op;
	e->a = a;
	e->b = b;
	return e;
}

const char *expr_text_type(const struct expr *e)
{
	return e->op == OP_STR ? "str" : e->op == OP_BYTES ? "bytes" : NULL;
}

const char *expr_type(const struct expr *e)
{
	for (size_t i = 0; e->op == OP_LOAD && i < COUNT(loads); i++)
		if (e->size == loads[i].size && e->sign == loads[i].sign)
			return loads[i].name;
	return e->op == OP_SIZE ? "u8" : e->op == OP_VCPU ? "u32" : "x64";
}

/* A number: text is a field's whole value, never part of one. */
static bool is_number(struct line *l, const struct expr *e)
{
	if (!expr_text_type(e))
		return true;
	line_error(
		l,
		"%s() is a field's whole value: nothing can be computed from it",
		expr_text_type(e));
	return false;
}

static struct expr *parse_register(struct line *l)
{
	const char *name = line_name(l, "");
	struct expr *e;
	int reg;

	if (!name) {
		line_error(l, "a register's name has to be behind %%");
		return NULL;
	}
	reg = guest_find_register(name);
	if (reg == -ENOENT)
		line_error(
			l,
			"there is no register %%%s that can be read: they have gdb's names (%s, eflags, cs, gs_base, cr3 ...), and are %s bits wide",
			name, plugin.x86_64 ? "rax to r15" : "eax to edi",
			plugin.x86_64 ? "64" : "32");
	else if (reg < 0)
		line_error(l, "%%%s: too many registers", name);
	if (reg < 0)
		return NULL;
	l->probe->needs_registers = name;
	e = node(l, OP_REGISTER, NULL, NULL);
	if (e)
		e->index = (unsigned int)reg;
	return e;
}

static struct expr *parse_field(struct line *l)
{
	const char *name = line_name(l, "");
	const struct probe *p = l->probe;
	struct expr *e;

	for (unsigned int i = 0; name && i < p->nr_fields; i++) {
		if (p->fields[i].use == FIELD_CONDITION ||
		    strcmp(p->fields[i].name, name))
			continue;
		if (!is_number(l, p->fields[i].value))
			return NULL;
		e = node(l, OP_FIELD, NULL, NULL);
		if (e)
			e->index = i;
		return e;
	}
	line_error(l, "no field $%s is before this", name ? name : "");
	return NULL;
}

static struct expr *parse_symbol(struct line *l)
{
	struct expr *e = node(l, OP_NUMBER, NULL, NULL);

	if (!e || line_symbol(l, &e->number))
		return NULL;
	if (symbols_moved(e->number)) {
		e->op = OP_SYMBOL;
		l->probe->may_fail = true;
	}
	return e;
}

static bool expect(struct line *l, const char *text)
{
	line_blanks(l);
	if (line_take(l, text))
		return true;
	line_error(l, "a %s is missing before \"%.20s\"", text, l->at);
	return false;
}

/* Behind "str" and the like: "(ADDRESS)" or "(ADDRESS,LENGTH)". */
static struct expr *parse_text(struct line *l, const char *name)
{
	bool str = !strcmp(name, "str");
	struct expr *e, *a, *b = NULL;

	a = expect(l, "(") ? choice(l) : NULL;
	if (!a)
		return NULL;
	line_blanks(l);
	if (line_take(l, ",")) {
		b = choice(l);
		if (!b)
			return NULL;
	} else if (!str) {
		line_error(l, "bytes() needs a length: bytes(ADDRESS,LENGTH)");
		return NULL;
	}
	if (!expect(l, ")"))
		return NULL;
	e = node(l, str ? OP_STR : OP_BYTES, a, b);
	l->probe->needs_memory = str ? "str()" : "bytes()";
	return e;
}

static struct expr *parse_load(struct line *l, const struct load *load)
{
	struct expr *e, *a = expect(l, "(") ? choice(l) : NULL;

	if (!a || !expect(l, ")"))
		return NULL;
	e = node(l, OP_LOAD, a, NULL);
	if (!e)
		return NULL;
	e->size = load->size;
	e->sign = load->sign;
	l->probe->needs_memory = "u64() and the like";
	return e;
}

static struct expr *parse_word(struct line *l)
{
	const char *name = line_name(l, "");
	struct probe *p = l->probe;

	if (!strcmp(name, "str") || !strcmp(name, "bytes"))
		return parse_text(l, name);
	for (size_t i = 0; i < COUNT(loads); i++)
		if (!strcmp(name, loads[i].name))
			return parse_load(l, &loads[i]);
	for (size_t i = 0; i < COUNT(words); i++) {
		if (strcmp(name, words[i].name))
			continue;
		if (words[i].access && p->kind == PROBE_EXEC) {
			line_error(
				l,
				"%s is for read, write and access: where an instruction is executed nothing is accessed yet",
				name);
			return NULL;
		}
		if (words[i].op == OP_VALUE)
			p->needs_value = name;
		if (words[i].op == OP_PHYSICAL)
			p->needs_physical = name;
		return node(l, words[i].op, NULL, NULL);
	}
	line_error(
		l,
		"%s is no part of an expression: registers are %%NAME, symbols &NAME, earlier fields $NAME",
		name);
	return NULL;
}

static struct expr *parse_number(struct line *l)
{
	struct expr *e = node(l, OP_NUMBER, NULL, NULL);

	return e && !line_number(l, &e->number) ? e : NULL;
}

static struct expr *parse_operand(struct line *l)
{
	static const struct {
		char sign;
		enum op op;
	} unary[] = { { '-', OP_NEGATE }, { '~', OP_INVERT }, { '!', OP_NOT } };
	struct expr *e;

	line_blanks(l);
	for (size_t i = 0; i < COUNT(unary); i++) {
		if (*l->at != unary[i].sign)
			continue;
		l->at++;
		if (++l->depth > DEPTH_MAX)
			goto deep;
		e = parse_operand(l);
		l->depth--;
		if (!e || !is_number(l, e))
			return NULL;
		return node(l, unary[i].op, e, NULL);
	}
	if (line_take(l, "(")) {
		e = choice(l);
		return e && expect(l, ")") ? e : NULL;
	}
	if (line_take(l, "%"))
		return parse_register(l);
	if (line_take(l, "$"))
		return parse_field(l);
	if (line_take(l, "&"))
		return parse_symbol(l);
	if (*l->at >= '0' && *l->at <= '9')
		return parse_number(l);
	if ((*l->at | 32) >= 'a' && (*l->at | 32) <= 'z')
		return parse_word(l);
	line_error(
		l,
		*l->at ? "a number, %%REGISTER, &SYMBOL, $FIELD or ( has to be at \"%.20s\""
		       : "the expression ends too early%s",
		l->at);
	return NULL;
deep:
	line_error(l, "the expression is nested more than %u deep", DEPTH_MAX);
	return NULL;
}

static const struct binary *next_binary(struct line *l, unsigned int level)
{
	line_blanks(l);
	for (size_t i = 0; i < COUNT(binaries); i++)
		if (!strncmp(l->at, binaries[i].text, strlen(binaries[i].text)))
			return binaries[i].level == level ? &binaries[i] : NULL;
	return NULL;
}

static struct expr *parse_binary(struct line *l, unsigned int level)
{
	const struct binary *op;
	struct expr *a, *b;

	if (level > TIGHTEST)
		return parse_operand(l);
	a = parse_binary(l, level + 1);
	while (a && (op = next_binary(l, level))) {
		l->at += strlen(op->text);
		b = parse_binary(l, level + 1);
		if (!b || !is_number(l, a) || !is_number(l, b))
			return NULL;
		a = node(l, op->op, a, b);
		if (op->op == OP_DIVIDE || op->op == OP_REMAINDER)
			l->probe->may_fail = true;
	}
	return a;
}

/* A ? B : C, and what binds tighter. */
static struct expr *choice(struct line *l)
{
	struct expr *e, *a, *b, *c;

	if (++l->depth > DEPTH_MAX) {
		line_error(l, "the expression is nested more than %u deep",
			   DEPTH_MAX);
		return NULL;
	}
	a = parse_binary(l, 1);
	if (!a)
		return NULL;
	line_blanks(l);
	if (line_take(l, "?")) {
		b = choice(l);
		c = b && expect(l, ":") ? choice(l) : NULL;
		if (!c || !is_number(l, a) || !is_number(l, b) ||
		    !is_number(l, c))
			return NULL;
		e = node(l, OP_CHOOSE, a, b);
		if (!e)
			return NULL;
		e->c = c;
		a = e;
	}
	l->depth--;
	return a;
}

struct expr *expr_parse(struct line *l)
{
	l->depth = 0;
	return choice(l);
}

/* ---- computing ---- */

static bool load(const struct expr *e, const struct scene *s, uint64_t address,
		 uint64_t *value)
{
	uint8_t raw[8];
	unsigned int unused = 64u - 8u * e->size;
	uint64_t v = 0;

	if (!guest_read(s->hit->vcpu, address, raw, e->size))
		return false;
	for (unsigned int i = 0; i < e->size; i++)
		v |= (uint64_t)raw[i] << 8 * i;
	if (e->sign)
		v = (uint64_t)((int64_t)(v << unused) >> unused);
	*value = v;
	return true;
}

static bool leaf(const struct expr *e, const struct scene *s, uint64_t *value)
{
	const struct hit *h = s->hit;
	uint64_t slide;

	switch (e->op) {
	case OP_NUMBER:
		*value = e->number;
		return true;
	case OP_SYMBOL:
		if (!symbols_slide(&slide))
			return false;
		*value = e->number + slide;
		return true;
	case OP_REGISTER:
		return guest_register(h, e->index, value);
	case OP_FIELD:
		*value = s->values[e->index];
		return !(s->unread >> e->index & 1);
	case OP_ADDRESS:
		*value = h->address;
		return true;
	case OP_VALUE:
		*value = h->value;
		return h->has_value;
	case OP_PHYSICAL:
		*value = h->physical;
		return h->has_physical;
	case OP_SIZE:
		*value = h->size;
		return true;
	case OP_STORE:
		*value = h->store;
		return true;
	case OP_PC:
		*value = h->pc;
		return true;
	case OP_VCPU:
		*value = h->vcpu;
		return true;
	default:
		return false;
	}
}

static bool divide(enum op op, int64_t a, int64_t b, uint64_t *value)
{
	if (!b)
		return false;
	if (b == -1) /* the one quotient that may not fit */
		*value = op == OP_DIVIDE ? 0 - (uint64_t)a : 0;
	else
		*value = (uint64_t)(op == OP_DIVIDE ? a / b : a % b);
	return true;
}

/* Both sides are known. */
static bool combine(enum op op, uint64_t a, uint64_t b, uint64_t *value)
{
	int64_t sa = (int64_t)a, sb = (int64_t)b;

	switch (op) {
	case OP_BIT_OR:
		*value = a | b;
		return true;
	case OP_BIT_XOR:
		*value = a ^ b;
		return true;
	case OP_BIT_AND:
		*value = a & b;
		return true;
	case OP_EQUAL:
		*value = a == b;
		return true;
	case OP_DIFFERENT:
		*value = a != b;
		return true;
	case OP_LESS:
		*value = sa < sb;
		return true;
	case OP_NOT_MORE:
		*value = sa <= sb;
		return true;
	case OP_MORE:
		*value = sa > sb;
		return true;
	case OP_NOT_LESS:
		*value = sa >= sb;
		return true;
	case OP_SHIFT_LEFT:
		*value = b < 64 ? a << b : 0;
		return true;
	case OP_SHIFT_RIGHT:
		*value = b < 64 ? a >> b : 0;
		return true;
	case OP_ADD:
		*value = a + b;
		return true;
	case OP_SUBTRACT:
		*value = a - b;
		return true;
	case OP_MULTIPLY:
		*value = a * b;
		return true;
	default:
		return divide(op, sa, sb, value);
	}
}

bool expr_value(const struct expr *e, const struct scene *s, uint64_t *value)
{
	uint64_t a, b;

	if (!e->a)
		return leaf(e, s, value);
	if (!expr_value(e->a, s, &a))
		return false;
	switch (e->op) {
	case OP_LOAD:
		return load(e, s, a, value);
	case OP_NEGATE:
		*value = 0 - a;
		return true;
	case OP_INVERT:
		*value = ~a;
		return true;
	case OP_NOT:
		*value = !a;
		return true;
	case OP_CHOOSE:
		return expr_value(a ? e->b : e->c, s, value);
	case OP_OR:
	case OP_AND:
		*value = a != 0;
		if (*value == (e->op == OP_OR))
			return true;
		if (!expr_value(e->b, s, &b))
			return false;
		*value = b != 0;
		return true;
	default:
		return expr_value(e->b, s, &b) && combine(e->op, a, b, value);
	}
}

int expr_text(const struct expr *e, const struct scene *s, void *buf,
	      size_t room)
{
	uint64_t address, len = STRING_MAX;

	if (!expr_value(e->a, s, &address) ||
	    (e->b && !expr_value(e->b, s, &len)))
		return -EFAULT;
	/* A length below 0 is one that went wrong. */
	if ((int64_t)len < 0)
		return -EFAULT;
	if (room > TEXT_MAX)
		room = TEXT_MAX;
	if (len < room)
		room = (size_t)len;
	if (e->op == OP_STR)
		return guest_read_string(s->hit->vcpu, address, buf, room);
	return guest_read(s->hit->vcpu, address, buf, room) ? (int)room
							    : -EFAULT;
}
