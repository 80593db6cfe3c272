// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_btf.c - layouts out of BTF: members by path, bit fields of both kinds,
 * and types that are made to lead a reader astray.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "ram/btf.h"

/* Kinds, as Linux 6.12, include/uapi/linux/btf.h numbers them. */
enum { INT = 1, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, CONST = 10 };

#define HEADER 24u

/* BTF in the making. */
struct make {
	uint8_t types[1 << 20];
	char names[4096];
	uint32_t len, names_len, ids;
};

static struct make *make_new(void)
{
	struct make *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	m->names_len = 1;
	return m;
}

static void word(struct make *m, uint32_t v)
{
	assert_true(m->len + 4 <= sizeof(m->types));
	memcpy(m->types + m->len, &v, 4);
	m->len += 4;
}

static uint32_t name(struct make *m, const char *text)
{
	uint32_t at = m->names_len;

	if (!*text)
		return 0;
	strcpy(m->names + at, text);
	m->names_len += (uint32_t)strlen(text) + 1;
	return at;
}

/* A type; @size or what it refers to.  Its id. */
static uint32_t type(struct make *m, const char *text, uint32_t kind,
		     uint32_t vlen, bool kflag, uint32_t size)
{
	word(m, name(m, text));
	word(m, (uint32_t)kflag << 31 | kind << 24 | vlen);
	word(m, size);
	return ++m->ids;
}

static void member(struct make *m, const char *text, uint32_t id, uint32_t off)
{
	word(m, name(m, text));
	word(m, id);
	word(m, off);
}

static uint32_t integer(struct make *m, const char *text, uint32_t size,
			uint32_t bit, uint32_t bits)
{
	uint32_t id = type(m, text, INT, 0, false, size);

	word(m, bit << 16 | bits);
	return id;
}

static uint8_t *bytes(const struct make *m, size_t *len)
{
	uint32_t head[HEADER / 4] = {
		0x0001eb9f, HEADER, 0, m->len, m->len, m->names_len,
	};
	uint8_t *p;

	*len = HEADER + m->len + m->names_len;
	p = malloc(*len);
	assert_non_null(p);
	memcpy(p, head, HEADER);
	memcpy(p + HEADER, m->types, m->len);
	memcpy(p + HEADER + m->len, m->names, m->names_len);
	return p;
}

static void load(struct make *m, struct btf *b)
{
	size_t len;
	uint8_t *p = bytes(m, &len);

	assert_int_equal(btf_init(b, p, len), 0);
}

static void expect(const struct btf *b, const char *of, const char *path,
		   uint32_t offset, uint32_t size, uint32_t bit, uint32_t bits)
{
	struct dlog_ram_member m;

	assert_int_equal(btf_member(b, of, path, &m), 0);
	assert_int_equal(m.offset, offset);
	assert_int_equal(m.size, size);
	assert_int_equal(m.bit, bit);
	assert_int_equal(m.bits, bits);
}

/*
 *	struct inner { long a; union { int b; char c[12]; }; };
 *	struct outer { struct inner in; const inner_t *p; unsigned x:4, y:9;
 *		inner_t last[3]; };
 */
static void make_nested(struct make *m)
{
	uint32_t i32 = integer(m, "int", 4, 0, 32);
	uint32_t i64 = integer(m, "long", 8, 0, 64);
	uint32_t i8 = integer(m, "char", 1, 0, 8);
	uint32_t chars = type(m, "", ARRAY, 0, false, 0), both, in, in_t;

	word(m, i8);
	word(m, i32);
	word(m, 12);
	both = type(m, "", UNION, 2, false, 12);
	member(m, "b", i32, 0);
	member(m, "c", chars, 0);
	in = type(m, "inner", STRUCT, 2, false, 24);
	member(m, "a", i64, 0);
	member(m, "", both, 64);
	in_t = type(m, "inner_t", TYPEDEF, 0, false, in);
	/* [8], [9], [10] */
	type(m, "", CONST, 0, false, in_t);
	type(m, "", PTR, 0, false, 8);
	type(m, "", ARRAY, 0, false, 0);
	word(m, in_t);
	word(m, i32);
	word(m, 3);
	type(m, "outer", STRUCT, 5, true, 112);
	member(m, "in", in, 0);
	member(m, "p", 9, 24 * 8);
	member(m, "x", i32, 4u << 24 | 32 * 8);
	member(m, "y", i32, 9u << 24 | (32 * 8 + 4));
	member(m, "last", 10, 40 * 8);
}

static void nested(void **state)
{
	struct make *m = make_new();
	struct dlog_ram_member out;
	struct btf b;

	(void)state;
	make_nested(m);
	load(m, &b);
	expect(&b, "outer", "in", 0, 24, 0, 0);
	expect(&b, "outer", "in.a", 0, 8, 0, 0);
	expect(&b, "outer", "in.b", 8, 4, 0, 0);
	expect(&b, "outer", "in.c", 8, 12, 0, 0);
	expect(&b, "outer", "p", 24, 8, 0, 0);
	expect(&b, "outer", "x", 32, 1, 0, 4);
	expect(&b, "outer", "y", 32, 2, 4, 9);
	expect(&b, "outer", "last", 40, 72, 0, 0);
	expect(&b, "inner_t", "c", 8, 12, 0, 0);
	assert_int_equal(btf_sizeof(&b, "outer"), 112);
	assert_int_equal(btf_sizeof(&b, "inner_t"), 24);
	assert_int_equal(btf_sizeof(&b, "inne"), -ENOENT);
	assert_int_equal(btf_sizeof(&b, "zzz"), -ENOENT);
	assert_int_equal(btf_sizeof(&b, ""), -ENOENT);
	assert_int_equal(btf_member(&b, "outer", "q", &out), -ENOENT);
	assert_int_equal(btf_member(&b, "outer", "", &out), -ENOENT);
	assert_int_equal(btf_member(&b, "outer", "in.", &out), -ENOENT);
	assert_int_equal(btf_member(&b, "outer", "p.a", &out), -ENOENT);
	assert_int_equal(btf_member(&b, "outer", "in.a.a", &out), -ENOENT);
	assert_int_equal(btf_member(&b, "outer", "last.a", &out), -ENOENT);
	btf_free(&b);
	free(m);
	assert_int_equal(btf_member(&b, "outer", "in", &out), -ENXIO);
	assert_int_equal(btf_sizeof(&b, "outer"), -ENXIO);
}

/* Before kind_flag a bit field was an integer of few bits. */
static void old_bit_fields(void **state)
{
	struct make *m = make_new();
	uint32_t three = integer(m, "unsigned int", 4, 5, 3);
	struct btf b;

	(void)state;
	type(m, "s", STRUCT, 1, false, 8);
	member(m, "f", three, 32);
	load(m, &b);
	expect(&b, "s", "f", 4, 1, 5, 3);
	btf_free(&b);
	free(m);
}

/* Two of one name in different sources: the one that has the member. */
static void same_name(void **state)
{
	struct make *m = make_new();
	uint32_t i32 = integer(m, "int", 4, 0, 32);
	struct btf b;

	(void)state;
	type(m, "s", STRUCT, 1, false, 4);
	member(m, "a", i32, 0);
	type(m, "s", TYPEDEF, 0, false, 2);
	type(m, "s", STRUCT, 1, false, 12);
	member(m, "b", i32, 64);
	load(m, &b);
	expect(&b, "s", "a", 0, 4, 0, 0);
	expect(&b, "s", "b", 8, 4, 0, 0);
	assert_int_equal(btf_sizeof(&b, "s"), 4);
	btf_free(&b);
	free(m);
}

/* What refers to itself, to nothing, or nests for ever is no answer. */
static void astray(void **state)
{
	struct make *m = make_new();
	struct dlog_ram_member out;
	struct btf b;

	(void)state;
	type(m, "self", TYPEDEF, 0, false, 1);
	type(m, "loop_a", TYPEDEF, 0, false, 3);
	type(m, "loop_b", TYPEDEF, 0, false, 2);
	type(m, "nowhere", TYPEDEF, 0, false, 0xfffffff0);
	type(m, "void_t", TYPEDEF, 0, false, 0);
	type(m, "inside", STRUCT, 1, false, 8); /* [6] */
	member(m, "", 6, 0);
	type(m, "big", STRUCT, 1, false, 8); /* [7] */
	member(m, "a", 8, 0);
	type(m, "", ARRAY, 0, false, 0); /* [8] */
	word(m, 8);
	word(m, 0);
	word(m, 0xffffffff);
	type(m, "far", STRUCT, 1, false, 8);
	member(m, "a", 1, 0xffffffff);
	load(m, &b);
	assert_int_equal(btf_sizeof(&b, "self"), -ENOENT);
	assert_int_equal(btf_sizeof(&b, "loop_a"), -ENOENT);
	assert_int_equal(btf_sizeof(&b, "nowhere"), -ENOENT);
	assert_int_equal(btf_sizeof(&b, "void_t"), -ENOENT);
	assert_int_equal(btf_member(&b, "self", "a", &out), -ENOENT);
	assert_int_equal(btf_member(&b, "inside", "a", &out), -ENOENT);
	expect(&b, "big", "a", 0, 0, 0, 0);
	assert_int_equal(btf_member(&b, "far", "a", &out), -ENOENT);
	btf_free(&b);
	free(m);
}

/*
 * Each of 15 levels has the next one 2000 times without a name: 2000^15 ways
 * lead to the bottom.
 */
static void explosion(void **state)
{
	struct make *m = make_new();
	struct dlog_ram_member out;
	struct timespec from, to;
	struct btf b;

	(void)state;
	for (uint32_t level = 1; level <= 15; level++) {
		type(m, level == 1 ? "top" : "", STRUCT, 2000, false, 8);
		for (uint32_t i = 0; i < 2000; i++)
			member(m, "", level + 1, 0);
	}
	type(m, "", STRUCT, 0, false, 8);
	load(m, &b);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
	assert_int_equal(btf_member(&b, "top", "a", &out), -ENOENT);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
	assert_in_range(to.tv_sec - from.tv_sec, 0, 2);
	btf_free(&b);
	free(m);
}

/* Cut off anywhere, any byte changed: an answer or none, nothing else. */
static void damaged(void **state)
{
	struct make *m = make_new();
	struct dlog_ram_member out;
	uint8_t *whole, *p;
	struct btf b;
	size_t len;

	(void)state;
	make_nested(m);
	whole = bytes(m, &len);
	for (size_t n = 0; n < len; n++) {
		p = malloc(n ? n : 1);
		memcpy(p, whole, n);
		/* Names are last, so that each cut is seen. */
		assert_int_equal(btf_init(&b, p, n), -EBADMSG);
	}
	for (size_t n = 0; n < len * 8; n++) {
		p = malloc(len);
		memcpy(p, whole, len);
		p[n / 8] ^= (uint8_t)(1 << n % 8);
		if (btf_init(&b, p, len))
			continue;
		btf_sizeof(&b, "outer");
		btf_member(&b, "outer", "in.c", &out);
		btf_member(&b, "outer", "last", &out);
		btf_member(&b, "outer", "y", &out);
		btf_free(&b);
	}
	free(whole);
	free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nested),    cmocka_unit_test(old_bit_fields),
		cmocka_unit_test(same_name), cmocka_unit_test(astray),
		cmocka_unit_test(explosion), cmocka_unit_test(damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
