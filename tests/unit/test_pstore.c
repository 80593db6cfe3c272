// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_pstore.c - what pstore's back ends share: parts that deflate and zstd
 * made come back, damaged ones as far as they go, lines are split as
 * print_prefix() of the kernel made them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <zlib.h>
#include <zstd.h>

#include "dlog_abi.h"
#include "stock/pstore.h"

/* Text that compresses as a log does. */
static size_t log_text(char *buf, size_t size)
{
	size_t n = (size_t)sprintf(buf, "Panic#3 Part12\n");

	for (unsigned int i = 0; n + 100 < size; i++)
		n += (size_t)sprintf(
			buf + n, "<%u>[%5u.%06u] line %u of a log, %x\n", i % 8,
			i / 9, i * 7919 % 1000000, i, i * 2654435761u);
	return n;
}

static size_t deflated(int bits, const char *text, size_t len, uint8_t *out,
		       size_t size)
{
	z_stream z = { .next_in = (void *)(uintptr_t)text,
		       .avail_in = (uInt)len,
		       .next_out = out,
		       .avail_out = (uInt)size };

	assert_int_equal(deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED,
				      bits, 8, Z_DEFAULT_STRATEGY),
			 Z_OK);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return z.total_out;
}

static char text[20000];
static uint8_t packed[20000];

static void unpacks(size_t len, size_t n)
{
	uint8_t *out;
	size_t got;

	assert_int_equal(pstore_unpack(packed, n, &out, &got), 0);
	assert_int_equal(got, len);
	assert_memory_equal(out, text, len);
	free(out);
	/* Cut short anywhere: a part from the start, and it is said. */
	for (size_t cut = 0; cut < n;
	     cut += cut < 40 || n - cut < 40 ? 1 : 97) {
		assert_int_equal(pstore_unpack(packed, cut, &out, &got),
				 -EBADMSG);
		assert_true(got <= len);
		assert_memory_equal(out, text, got);
		if (cut > n - 40)
			assert_true(got > len / 2);
		free(out);
	}
	/* An end before the end: of bytes that are damaged. */
	packed[n] = 0xff;
	assert_int_equal(pstore_unpack(packed, n + 1, &out, &got), -EBADMSG);
	assert_int_equal(got, len);
	assert_memory_equal(out, text, len);
	free(out);
	/* No more than asked for. */
	assert_int_equal(pstore_unpack_to(packed, n, 1000, &out, &got),
			 -EBADMSG);
	assert_int_equal(got, 1000);
	assert_memory_equal(out, text, 1000);
	free(out);
}

static void test_deflate(void **state)
{
	size_t len = log_text(text, sizeof(text));

	(void)state;
	/* Linux up to 6.5, from 6.6 on. */
	unpacks(len, deflated(-11, text, len, packed, sizeof(packed) - 1));
	unpacks(len, deflated(-15, text, len, packed, sizeof(packed) - 1));
}

static void test_zstd(void **state)
{
	size_t len = log_text(text, sizeof(text)), n, got;
	uint8_t *out;

	(void)state;
	n = ZSTD_compress(packed, sizeof(packed), text, len, 3);
	assert_false(ZSTD_isError(n));
	assert_int_equal(pstore_unpack(packed, n, &out, &got), 0);
	assert_int_equal(got, len);
	assert_memory_equal(out, text, len);
	free(out);
	for (size_t cut = 0; cut < n; cut += 7) {
		assert_int_equal(pstore_unpack(packed, cut, &out, &got),
				 -EBADMSG);
		free(out);
	}
}

/* Made to become large: an end is there. */
static void test_bomb(void **state)
{
	const size_t len = 8u << 20;
	uint8_t *small = malloc(len), *out;
	char *zeros = calloc(1, len);
	size_t got, n;

	(void)state;
	n = deflated(-15, zeros, len, small, len);
	assert_int_equal(pstore_unpack(small, n, &out, &got), -EBADMSG);
	assert_int_equal(got, PSTORE_PART_MAX);
	free(out);
	n = ZSTD_compress(small, len, zeros, len, 19);
	assert_int_equal(pstore_unpack(small, n, &out, &got), -EBADMSG);
	assert_true(got <= PSTORE_PART_MAX);
	free(out);
	free(small);
	free(zeros);
}

/* Each bit of a part flipped: nothing but an answer. */
static void test_flips(void **state)
{
	size_t len = log_text(text, 3000), n;

	(void)state;
	for (int k = 0; k < 2; k++) {
		n = k ? ZSTD_compress(packed, sizeof(packed), text, len, 3)
		      : deflated(-11, text, len, packed, sizeof(packed));
		for (size_t bit = 0; bit < n * 8; bit++) {
			uint8_t *out;
			size_t got;
			int ret;

			packed[bit / 8] ^= (uint8_t)(1u << bit % 8);
			ret = pstore_unpack(packed, n, &out, &got);
			assert_true(!ret || ret == -EBADMSG);
			assert_true(got <= PSTORE_PART_MAX);
			free(out);
			packed[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
	}
}

static void test_heading(void **state)
{
	static const struct {
		const char *text;
		const char *reason;
		uint32_t count, part;
		size_t skip;
	} good[] = {
		{ "Oops#1 Part1\n<4>[", "Oops", 1, 1, 13 },
		{ "Panic#12 Part345\n", "Panic", 12, 345, 17 },
		{ "Emergency#0 Part0\nx", "Emergency", 0, 0, 18 },
	};
	static const char *const bad[] = {
		"",
		"Oops#1 Part1",
		"Oops#1Part1\n",
		"Oops# Part1\n",
		"#1 Part1\n",
		"Oops#1 Part\n",
		"Oops#1 Part1 \n",
		"An oops#1 Part1\n",
		"Oops#-1 Part1\n",
		"<4>[    0.0] x\n",
		"AReasonThatIsTooLong#1 Part1\n",
		"Oops#1234567890 Part1\n",
	};
	uint32_t count, part;
	char reason[16];
	size_t skip;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		size_t len = strlen(good[i].text);

		assert_int_equal(pstore_heading(good[i].text, len, reason,
						&count, &part, &skip),
				 1);
		assert_string_equal(reason, good[i].reason);
		assert_int_equal(count, good[i].count);
		assert_int_equal(part, good[i].part);
		assert_int_equal(skip, good[i].skip);
		for (len = 0; len < good[i].skip; len++)
			assert_int_equal(pstore_heading(good[i].text, len,
							reason, &count, &part,
							&skip),
					 0);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(pstore_heading(bad[i], strlen(bad[i]), reason,
						&count, &part, &skip),
				 0);
}

#define NONE DLOG_CALLER_UNKNOWN

static void test_line(void **state)
{
	static const struct {
		const char *line, *text;
		int level, facility; /* level -1: none */
		int64_t time; /* -1: none */
		uint32_t caller;
	} t[] = {
		{ "<4>[   12.345678] some text\n", "some text", 4, 0,
		  12345678000, NONE },
		{ "<4>[   12.345678][  T123] some text\n", "some text", 4, 0,
		  12345678000, 123 },
		{ "<4>[   12.345678][    T1] x\n", "x", 4, 0, 12345678000, 1 },
		{ "<30>[123456.000001][ C1] x", "x", 6, 3, 123456000001000,
		  DLOG_CALLER_CPU | 1 },
		{ "<191>[    0.000000][    C0]  x \n", " x ", 7, 23, 0,
		  DLOG_CALLER_CPU | 0 },
		{ "[    0.500000] console\n", "console", -1, 0, 500000000,
		  NONE },
		{ "<6>[   T77] no time\n", "no time", 6, 0, -1, 77 },
		{ "<6>no time\n", "no time", 6, 0, -1, NONE },
		{ "<6>[    1.000000] \n", "", 6, 0, 1000000000, NONE },
		{ "<6>[    1.000000]\n", "", 6, 0, 1000000000, NONE },
		{ "no prefix\n", "no prefix", -1, 0, -1, NONE },
		{ "\n", "", -1, 0, -1, NONE },
		{ "<>x\n", "<>x", -1, 0, -1, NONE },
		{ "<4x\n", "<4x", -1, 0, -1, NONE },
		{ "<4>[    1.00000] x\n", "[    1.00000] x", 4, 0, -1, NONE },
		{ "<4>[    1.0000000] x\n", "[    1.0000000] x", 4, 0, -1,
		  NONE },
		{ "[T12]x\n", "[T12]x", -1, 0, -1, NONE },
		{ "[    1.000000][T] x\n", "[T] x", -1, 0, 1000000000, NONE },
		{ "<4>[    1.000000][ T999999999] x\n", "[ T999999999] x", 4, 0,
		  1000000000, NONE },
		{ "<4>[    1.000000] \x01\xff[    2.000000] y\n",
		  "\x01\xff[    2.000000] y", 4, 0, 1000000000, NONE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct pstore_line l;
		size_t len = strlen(t[i].line);

		assert_int_equal(pstore_line(t[i].line, len, &l), 1);
		assert_int_equal(l.size, len);
		assert_int_equal(l.len, strlen(t[i].text));
		assert_memory_equal(l.text, t[i].text, l.len);
		assert_int_equal(l.has_level, t[i].level >= 0);
		assert_int_equal(l.level, t[i].level >= 0 ? t[i].level : 6);
		assert_int_equal(l.facility, t[i].facility);
		assert_int_equal(l.has_time, t[i].time >= 0);
		if (l.has_time)
			assert_int_equal(l.time, t[i].time);
		assert_int_equal(l.caller, t[i].caller);
		/* Cut anywhere: all of it, and nothing behind it. */
		for (size_t cut = 1; cut < len; cut++) {
			char *copy = malloc(cut);

			memcpy(copy, t[i].line, cut);
			assert_int_equal(pstore_line(copy, cut, &l), 1);
			assert_int_equal(l.size, cut);
			assert_true((const char *)l.text >= copy &&
				    (const char *)l.text + l.len <= copy + cut);
			free(copy);
		}
	}
	assert_int_equal(pstore_line("", 0, &(struct pstore_line){ 0 }), 0);
}

static void check_item(const struct dlog_item *i, uint64_t time,
		       uint64_t position, uint32_t pri, uint32_t caller,
		       const char *want)
{
	uint32_t word;

	memcpy(&word, i->data, 4);
	assert_int_equal(i->boot, 7);
	assert_int_equal(i->time, time);
	assert_int_equal(i->position, position);
	assert_int_equal(i->type, DLOG_TYPE(DLOG_KIND_PRINTK, pri));
	assert_int_equal(i->doubt, DLOG_DOUBT_SALVAGED);
	assert_int_equal(word & ~DLOG_CALLER_TAKEN, caller);
	assert_int_equal(i->len, 4 + strlen(want));
	assert_memory_equal(i->data + 4, want, strlen(want));
}

/* A record of several lines has its prefix on each of them. */
static void test_add(void **state)
{
	static const char lines[] = "<3>[    2.000001] first\n"
				    "<3>[    2.000001] of two\n"
				    "without\n"
				    "<30>[    1.500000][  T12] earlier";
	uint64_t position = 100, time = 5;
	struct dlog_list l = { 0 };

	(void)state;
	assert_int_equal(pstore_add_lines(&l, 7, &position, &time,
					  DLOG_DOUBT_SALVAGED, "a\n", 2),
			 0);
	assert_int_equal(pstore_add_lines(&l, 7, &position, &time,
					  DLOG_DOUBT_SALVAGED, lines,
					  strlen(lines)),
			 0);
	assert_int_equal(l.nr, 5);
	check_item(&l.item[0], 5, 100, 6, NONE, "a");
	check_item(&l.item[1], 2000001000, 102, 3, NONE, "first");
	check_item(&l.item[2], 2000001000, 126, 3, NONE, "of two");
	check_item(&l.item[3], 2000001000, 151, 6, NONE, "without");
	check_item(&l.item[4], 1500000000, 159, 30, 12, "earlier");
	assert_int_equal(position, 100 + 2 + strlen(lines));
	assert_int_equal(time, 1500000000);
	dlog_list_free(&l);
}

/* A line that no record can hold: all of it, in pieces. */
static void test_long(void **state)
{
	const size_t len = 200000;
	uint8_t *bytes = malloc(len);
	uint64_t position = 0, time = 0;
	struct dlog_list l = { 0 };
	size_t at = 0;

	(void)state;
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)(i * 31 % 251 == '\n' ? 0 : i * 31 % 251);
	assert_int_equal(pstore_add_lines(&l, 1, &position, &time,
					  DLOG_DOUBT_NONE, bytes, len),
			 0);
	assert_int_equal(position, len);
	for (size_t i = 0; i < l.nr; i++) {
		assert_memory_equal(l.item[i].data + 4, bytes + at,
				    l.item[i].len - 4u);
		at += l.item[i].len - 4u;
	}
	assert_int_equal(at, len);
	dlog_list_free(&l);
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_deflate), cmocka_unit_test(test_zstd),
		cmocka_unit_test(test_bomb),	cmocka_unit_test(test_flips),
		cmocka_unit_test(test_heading), cmocka_unit_test(test_line),
		cmocka_unit_test(test_add),	cmocka_unit_test(test_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
