// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_render.c - names, levels, and the text of each kind of record, cut
 * short at every length.
 */
#include <time.h>

#include "world.h"

static struct world w;
static struct dlog *d;

/* Append @data as a record of @type, read it back, give its text. */
static const char *text_of(uint32_t type, const void *data, uint32_t len,
			   uint8_t *level)
{
	static char text[4096];
	struct dlog_reader *r;
	struct dlog_entry e, last = { 0 };

	assert_int_equal(dlog_ring_append(&w.ring[0], type, w.now++, data, len),
			 0);
	assert_int_equal(dlog_reader_new(&r, &d, 1, 0, NULL), 0);
	while (dlog_reader_next(r, &e, 0) > 0) {
		size_t n = dlog_entry_text(&e, text, sizeof(text));

		assert_int_equal(strlen(text), n);
		/* As snprintf(): the same length, and a NUL within. */
		for (size_t k = 0; k < n + 2 && k < 100; k++) {
			char small[100];

			memset(small, '#', sizeof(small));
			assert_int_equal(dlog_entry_text(&e, small, k), n);
			assert_true(!k ||
				    strlen(small) == (k - 1 < n ? k - 1 : n));
			assert_true(!k || !strncmp(small, text,
						   k - 1 < n ? k - 1 : n));
		}
		last = e;
	}
	if (level)
		*level = last.level;
	dlog_reader_free(r);
	return text;
}

static int setup(void **state)
{
	(void)state;
	w_format(&w, 1 << 20, 1, 4096, 4);
	w_boot(&w, 3);
	d = w_open(&w);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	dlog_close(d);
	w_free(&w);
	return 0;
}

static void text(void **state)
{
	uint8_t level;

	(void)state;
	assert_string_equal(text_of(DLOG_TYPE(DLOG_KIND_TEXT, DLOG_PRI(3, 2)),
				    "a\x1b[31m", 6, &level),
			    "a\x1b[31m");
	assert_int_equal(level, 2);
	assert_string_equal(text_of(DLOG_TYPE(DLOG_KIND_STATE, DLOG_ST_PANIC),
				    "Fatal exception", 15, &level),
			    "state: panic: Fatal exception");
	assert_int_equal(level, 0);
	assert_string_equal(text_of(DLOG_TYPE(DLOG_KIND_STATE, DLOG_ST_RUNNING),
				    "", 0, &level),
			    "state: running");
	assert_int_equal(level, 6);
	assert_string_equal(text_of(DLOG_TYPE(15, 0), "\x01\xff", 2, NULL),
			    "?: 01ff");
}

static void boot(void **state)
{
	uint8_t data[64] = { 0 };
	struct dlog_boot_note n = { .boot = 4 };

	(void)state;
	for (uint8_t i = 0; i < 16; i++)
		n.boot_id[i] = (uint8_t)(i * 17);
	memcpy(data, &n, sizeof(n));
	memcpy(data + sizeof(n), "6.1.0-56", 8);
	assert_string_equal(text_of(DLOG_TYPE(DLOG_KIND_BOOT, 0), data,
				    sizeof(n) + 8, NULL),
			    "boot 4: release 6.1.0-56, boot id "
			    "00112233-4455-6677-8899-aabbccddeeff");
	assert_string_equal(
		text_of(DLOG_TYPE(DLOG_KIND_BOOT, 0), data, 31, NULL),
		"boot: <cut short>");
}

static void events(void **state)
{
	static const char all[] = "u8 a; u16 b; u32 c; u64 d; s8 e; s16 f; "
				  "s32 g; s64 h; x8 i; x64 j; char k[6]; str l";
	static const uint8_t data[] = {
		200,  0x39, 0x30, 1,   0,   0,	  0x80, 255,  255,  255,
		255,  255,  255,  255, 255, 0x80, 0xfe, 0xff, 0,    0,
		0,    0x80, 1,	  2,   3,   4,	  5,	6,    7,    0x88,
		0xab, 0,    0,	  0,   0,   0,	  0,	0,    0x10, 's',
		'h',  0,    'x',  'y', 'z', 3,	  0,	'a',  'b',  'c',
	};
	struct dlog_event_desc desc;
	char buf[512];
	uint32_t type;
	int id;

	(void)state;
	assert_int_equal(dlog_get_event(d, 1, &desc), 0);
	id = dlog_catalog_add(&w.rg, 1, "all", all, NULL, buf, sizeof(buf));
	assert_int_equal(id, 1);
	/* Added while the file is open: seen within 100 ms. */
	for (int i = 0; i < 100 && !dlog_get_event(d, 1, &desc); i++)
		nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
	assert_int_equal(dlog_get_event(d, 1, &desc), 1);
	assert_string_equal(desc.name, "all");
	assert_string_equal(desc.fields, all);
	assert_null(desc.format);
	type = DLOG_TYPE(DLOG_KIND_EVENT, 1);
	assert_string_equal(
		text_of(type, data, sizeof(data), NULL),
		"all: a=200 b=12345 c=2147483649 d=18446744073709551615 "
		"e=-128 f=-2 g=-2147483648 h=-8644934341102468607 i=0xab "
		"j=0x1000000000000000 k=sh l=abc");
	for (uint32_t len = 0; len < sizeof(data); len++)
		assert_non_null(
			strstr(text_of(type, data, len, NULL), "<cut short>"));
	/* Not in the catalog: the bytes. */
	assert_string_equal(
		text_of(DLOG_TYPE(DLOG_KIND_EVENT, 17), "\x12\xab", 2, NULL),
		"event 17: 12ab");
}

/* Field strings that nobody should write. */
static void odd_fields(void **state)
{
	static const char *const odd[][2] = {
		{ "", "odd: 4142434445464748" },
		{ ";;; ", "odd: 4142434445464748" },
		{ "u7 a", "odd: 4142434445464748" },
		{ "u8", "odd: =65 42434445464748" },
		{ "char a[0]", "odd: 4142434445464748" },
		{ "char a[99999999999999999999]", "odd: 4142434445464748" },
		{ "char a[9]", "odd: a=<cut short>" },
		{ "char a[3", "odd: 4142434445464748" },
		{ "char a[8];u8 b", "odd: a=ABCDEFGH b=<cut short>" },
		{ "u128 a", "odd: 4142434445464748" },
		{ "float x", "odd: 4142434445464748" },
		{ "u8 a; what b; u8 c", "odd: a=65 42434445464748" },
	};
	char buf[512];

	(void)state;
	for (uint32_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		int id = dlog_catalog_add(&w.rg, 1, "odd", odd[i][0], NULL, buf,
					  sizeof(buf));
		const char *got;

		assert_int_equal(id, i + 1);
		dlog_close(d);
		d = w_open(&w);
		got = text_of(DLOG_TYPE(DLOG_KIND_EVENT, id), "ABCDEFGH", 8,
			      NULL);
		assert_string_equal(got, odd[i][1]);
	}
}

static void evidence(void **state)
{
	uint8_t data[8 + 336] = { 1, 0, 0, 0, DLOG_ST_PANIC, 0, 0, 0 };
	const char *got;
	uint8_t level;

	(void)state;
	/* struct user_regs_struct at 112: value of a register = its number */
	for (uint32_t i = 0; i < 27; i++)
		data[8 + 112 + i * 8] = (uint8_t)i;
	got = text_of(DLOG_TYPE(DLOG_KIND_REGS, 0), data, sizeof(data), &level);
	assert_int_equal(level, 3);
	assert_non_null(strstr(got, "registers of cpu 1 (panic)"));
	assert_non_null(strstr(got, "rip 0011:0000000000000010"));
	assert_non_null(strstr(got, "rsp 0014:0000000000000013"));
	assert_non_null(strstr(got, "rflags 00000012"));
	assert_non_null(strstr(got, "rax 000000000000000a"));
	assert_non_null(strstr(got, "rdi 000000000000000e"));
	assert_non_null(strstr(got, "r15 0000000000000000"));
	for (uint32_t len = 0; len < sizeof(data); len += 7)
		text_of(DLOG_TYPE(DLOG_KIND_REGS, 0), data, len, NULL);
	assert_string_equal(text_of(DLOG_TYPE(DLOG_KIND_STACK, 0),
				    "\2\0\0\0\0\0\0\0panic+0x1\nmain+0x2\n", 27,
				    NULL),
			    "stack of cpu 2:\npanic+0x1\nmain+0x2");
	assert_string_equal(
		text_of(DLOG_TYPE(DLOG_KIND_STACK, 0), "\2\0\0", 3, NULL),
		"stack: <cut short>");
}

/* A broken rule: docs/abi.md section 7, CALL. */
static void call(void **state)
{
	static const char strings[] = "strlen\0s must not be NULL\0"
				      "probe+0x12/0x40 [demo]";
	struct {
		uint64_t site;
		uint32_t flags, nr_args;
		uint64_t args[2];
		char text[sizeof(strings)];
	} c = { .site = 0xffffffffc0001012,
		.flags = DLOG_CALL_FATAL,
		.nr_args = 2,
		.args = { 0, 0x2a } };
	uint8_t *raw = (uint8_t *)&c, level;
	uint32_t type = DLOG_TYPE(DLOG_KIND_CALL, 2), len;

	(void)state;
	len = offsetof(typeof(c), text) + sizeof(strings);
	memcpy(c.text, strings, sizeof(strings));
	assert_string_equal(text_of(type, &c, len, &level),
			    "call: strlen(0x0, 0x2a): s must not be NULL, "
			    "called from probe+0x12/0x40 [demo]");
	assert_int_equal(level, 2);
	c.flags = DLOG_CALL_RESULT;
	assert_string_equal(text_of(type + (2 << 4), &c, len, &level),
			    "call: strlen(0x0) = 0x2a: s must not be NULL, "
			    "called from probe+0x12/0x40 [demo]");
	assert_int_equal(level, 4);
	/* Only a facility differs. */
	text_of(DLOG_TYPE(DLOG_KIND_CALL, DLOG_PRI(16, 3)), &c, len, &level);
	assert_int_equal(level, 3);
	/* No caller: the address. */
	assert_string_equal(text_of(type, &c, len - 23, NULL),
			    "call: strlen(0x0) = 0x2a: s must not be NULL, "
			    "called from 0xffffffffc0001012");
	/* Cut anywhere, inside of strings too: nothing is read beyond. */
	for (uint32_t n = 0; n < len; n++)
		assert_int_equal(
			strncmp(text_of(type, raw, n, NULL), "call: ", 6), 0);
	assert_string_equal(text_of(type, raw, 31, NULL), "call: <cut short>");
	c.nr_args = 0xffffffff;
	assert_string_equal(text_of(type, &c, len, NULL), "call: <cut short>");
	c.nr_args = 0;
	assert_string_equal(text_of(type, &c, 17, NULL),
			    "call: (): , called from 0xffffffffc0001012");
}

static void names(void **state)
{
	(void)state;
	assert_string_equal(dlog_status_name(DLOG_ST_PANIC), "panic");
	assert_string_equal(dlog_status_name(DLOG_ST_MAX), "?");
	assert_string_equal(dlog_status_name(UINT32_MAX), "?");
	assert_string_equal(dlog_memtype_name(DLOG_MT_WB), "write-back");
	assert_string_equal(dlog_memtype_name(99), "?");
	assert_string_equal(dlog_kind_name(DLOG_KIND_PRINTK), "printk");
	assert_string_equal(dlog_kind_name(0), "?");
	assert_string_equal(dlog_kind_name(15), "?");
	assert_string_equal(dlog_level_name(3), "err");
	assert_string_equal(dlog_level_name(8), "?");
	assert_string_equal(dlog_facility_name(0), "kern");
	assert_string_equal(dlog_facility_name(10), "authpriv");
	assert_string_equal(dlog_facility_name(23), "local7");
	assert_string_equal(dlog_facility_name(24), "?");
	for (uint32_t i = 0; i < DLOG_ST_MAX; i++)
		assert_string_not_equal(dlog_status_name(i), "?");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(text),
		T(boot),
		T(events),
		T(odd_fields),
		T(evidence),
		T(call),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
