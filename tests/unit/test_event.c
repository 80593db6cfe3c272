// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_event.c - events of ftrace and declared ones: fields, text, threads,
 * symbols; formats and records that are made to do harm.
 *
 * Records are laid out by hand from the format files; expected text is written
 * as trace-cmd report prints it.
 */
#include <malloc.h>

#include "world.h"

#include "event.h"
#include "event_formats.h"

#define MEMORY (4u << 20)

static uint8_t *mem;
static struct dlog_region rg;
static struct dlog *d;
static struct event_decoder *dec;

static int setup(void **state)
{
	struct dlog_superblock sb = {
		.region_size = MEMORY,
		.nr_rings = 1,
		.nr_cpus = 1,
		.subbuf_size = 4096,
		.boot_slots = 4,
		.catalog_size = 2u << 20,
	};

	(void)state;
	mem = aligned_alloc(4096, MEMORY);
	assert_non_null(mem);
	memset(mem, 0, MEMORY);
	assert_int_equal(dlog_super_layout(&sb), 0);
	dlog_super_seal(&sb);
	memcpy(mem, &sb, sizeof(sb));
	assert_int_equal(dlog_region_open(&rg, mem, MEMORY), DLOG_SUPER_OK);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	dlog_close(d);
	d = NULL;
	free(mem);
	return 0;
}

static uint32_t add(const char *name, const char *fields, const char *format)
{
	static uint8_t buf[70000];
	int id = dlog_catalog_add(&rg, 0, name, fields, format, buf,
				  sizeof(buf));

	assert_true(id > 0);
	return (uint32_t)id;
}

static void append_at(uint64_t time, uint32_t kind, uint32_t arg,
		      const void *data, uint32_t len)
{
	struct dlog_catalog_item it = { 0 };

	while (dlog_catalog_next(&rg, &it))
		;
	assert_int_equal(dlog_catalog_append(&rg, &it, time,
					     DLOG_TYPE(kind, arg), data, len),
			 0);
}

static void append(uint32_t kind, uint32_t arg, const void *data, uint32_t len)
{
	append_at(0, kind, arg, data, len);
}

static void open_it(void)
{
	if (!d)
		assert_int_equal(dlog_open_memory(&d, mem, MEMORY, "m", NULL),
				 0);
	dec = event_decoder(d);
	assert_non_null(dec);
}

static struct dlog_entry entry(uint32_t id, const void *data, size_t len)
{
	return (struct dlog_entry){ .source = d,
				    .boot = 1,
				    .kind = DLOG_KIND_EVENT,
				    .arg = id,
				    .data = data,
				    .len = len };
}

static const char *text_of(uint32_t id, const void *data, size_t len)
{
	static char copy[65536];
	struct dlog_entry e = entry(id, data, len);
	size_t n;
	const char *text = event_text(dec, &e, &n);

	assert_true(n < sizeof(copy));
	memcpy(copy, text, n);
	copy[n] = 0;
	assert_int_equal(strlen(copy), n);
	return copy;
}

struct sched_switch {
	uint16_t type;
	uint8_t flags, preempt;
	int32_t pid;
	char prev_comm[16];
	int32_t prev_pid, prev_prio;
	int64_t prev_state;
	char next_comm[16];
	int32_t next_pid, next_prio;
};

static const struct sched_switch a_switch = {
	.pid = 1234,
	.prev_comm = "bash",
	.prev_pid = 1234,
	.prev_prio = 120,
	.prev_state = 1,
	.next_comm = "swapper/0",
	.next_prio = 120,
};

static void ftrace_text(void **state)
{
	struct {
		uint16_t type;
		uint8_t flags, preempt;
		int32_t pid, irq;
		uint32_t name;
		char text[16];
	} irq = { .irq = 24, .name = 14 << 16 | 16, .text = "virtio0-req.0" };
	struct {
		uint64_t common;
		uint32_t vec;
	} raise = { .vec = 1 };
	struct {
		uint64_t common, nr, dfd, name, flags, mode;
	} openat = { .nr = 257,
		     .dfd = (uint64_t)-100,
		     .name = 0x7ffe1000,
		     .flags = 0x80000 };
	uint32_t id;

	(void)state;
	id = add("sched:sched_switch", "", format_sched_switch);
	add("irq:irq_handler_entry", "", format_irq_handler_entry);
	add("irq:softirq_raise", "", format_softirq_raise);
	add("syscalls:sys_enter_openat", "", format_sys_enter_openat);
	open_it();
	assert_string_equal(text_of(id, &a_switch, sizeof(a_switch)),
			    "bash:1234 [120] S ==> swapper/0:0 [120]");
	assert_string_equal(text_of(id + 1, &irq, sizeof(irq)),
			    "irq=24 name=virtio0-req.0");
	assert_string_equal(text_of(id + 2, &raise, 12),
			    "vec=1 [action=TIMER]");
	assert_string_equal(text_of(id + 3, &openat, sizeof(openat)),
			    "dfd: 0xffffffffffffff9c, filename: 0x7ffe1000, "
			    "flags: 0x00080000, mode: 0x00000000");
}

static void ftrace_fields(void **state)
{
	uint32_t id = add("sched:sched_switch", "", format_sched_switch);
	const struct event_type *t;
	struct dlog_entry e;
	struct event_data v;
	int i;

	(void)state;
	open_it();
	e = entry(id, &a_switch, sizeof(a_switch));
	t = event_type(dec, id);
	assert_non_null(t);
	assert_string_equal(t->system, "sched");
	assert_string_equal(t->name, "sched_switch");
	assert_int_equal(t->nr_fields, 4 + 7);
	assert_int_equal(event_field_find(t, "no_such"), -1);
	i = event_field_find(t, "next_comm");
	event_get(t, &e, (uint32_t)i, &v);
	assert_true(v.there && v.len == 9 && !memcmp(v.data, "swapper/0", 9));
	assert_int_equal(t->field[i].type, EVENT_STRING);
	assert_true(!t->field[i].common && t->field[0].common);
	assert_int_equal(event_pid(dec, &e), 1234);
	assert_null(event_comm(dec, 1, 1234));
	event_learn(dec, &e);
	assert_string_equal(event_comm(dec, 1, 1234), "bash");
	assert_null(event_comm(dec, 2, 1234));
	assert_string_equal(event_comm(dec, 1, 0), "<idle>");
}

static void declared(void **state)
{
	static const uint8_t data[] = { 0xff, 2,    0, 'h', 'i', 2,
					0,    0xab, 1, 'a', 0,	 'x' };
	uint32_t id = add("my:event", "s8 n; str s; bytes b; char c[3]", NULL);
	const struct event_type *t;
	struct dlog_entry e;
	struct event_data v;

	(void)state;
	open_it();
	assert_string_equal(text_of(id, data, sizeof(data)),
			    "n=-1 s=hi b=ab01 c=a");
	t = event_type(dec, id);
	assert_int_equal(t->nr_fields, 4);
	e = entry(id, data, sizeof(data));
	event_get(t, &e, 0, &v);
	assert_true(v.there && (int64_t)v.number == -1);
	event_get(t, &e, 2, &v);
	assert_true(v.there && v.len == 2 && v.data[0] == 0xab);
	assert_int_equal(event_pid(dec, &e), -1);
	e.len = 4;
	event_get(t, &e, 1, &v);
	assert_false(v.there);
}

/* What is not known is always looked for, however often that was done. */
static void growing(void **state)
{
	static const uint8_t data[] = { 5, 0, 0, 0 };

	(void)state;
	open_it();
	for (uint32_t i = 1; i <= 100; i++) {
		char name[16];

		assert_string_equal(text_of(i, data, 4), "05000000");
		snprintf(name, sizeof(name), "my:own%u", i);
		assert_int_equal(add(name, "u32 n", NULL), i);
		assert_string_equal(text_of(i, data, 4), "n=5");
	}
}

/* Names of any length; more of them than are looked at. */
static void long_names(void **state)
{
	static const uint8_t data[300] = { 7 };
	char type[8192], want[300 * 8], *to = type + 8, *w = want;
	struct dlog_event_type lens = { .name_len = 2001 };
	struct dlog_entry e;
	struct event_data v;

	(void)state;
	memset(to, 'n', 2000);
	to += 2000;
	*to++ = 0;
	for (int i = 0; i < 300; i++) {
		to += sprintf(to, "u8 f%d;", i);
		w += sprintf(w, "%sf%d=%d", i ? " " : "", i, i ? 0 : 7);
	}
	lens.fields_len = (uint16_t)(++to - (type + 8 + 2001));
	memcpy(type, &lens, sizeof(lens));
	append(DLOG_KIND_EVENT_TYPE, 1, type, (uint32_t)(to - type));
	open_it();
	assert_string_equal(text_of(1, data, sizeof(data)), want);
	assert_int_equal(strlen(event_type(dec, 1)->name), 255);
	assert_int_equal(event_type(dec, 1)->nr_fields, 256);
	e = entry(1, data, sizeof(data));
	event_get(event_type(dec, 1), &e, 0, &v);
	assert_true(v.there && v.number == 7);
	event_get(event_type(dec, 1), &e, 256, &v);
	assert_false(v.there);
}

/* Of many that begin at one place the first by name, and soon. */
static void symbols_at_one_place(void **state)
{
	struct dlog_base base = { .boot = 1,
				  .size = 0x10000,
				  .base = 0x100000 };
	char block[60000], text[64];
	size_t n = 0;

	(void)state;
	for (int i = 0; n < sizeof(block) - 20; i++) {
		memcpy(block + n, "\x10\0\0\0\x8\0\0\0", 8);
		n += 8 + (size_t)sprintf(block + n + 8, "%05d", 99999 - i) + 1;
	}
	for (int i = 0; i < 10; i++)
		append(DLOG_KIND_SYMBOLS, 1, block, (uint32_t)n);
	append(DLOG_KIND_BASE, 1, &base, sizeof(base));
	open_it();
	for (int i = 0; i < 100000; i++)
		assert_true(
			event_symbol(dec, 1, UINT64_MAX, 0x100014, text, 64));
	snprintf(block, 16, "%05d+0x4", (int)(100000 - n / 14));
	assert_string_equal(text, block);
	assert_false(event_symbol(dec, 1, UINT64_MAX, 0x100018, text, 64));
}

static void at(uint64_t time, uint64_t base)
{
	struct dlog_base b = { .boot = 1, .size = 0x1000, .base = base };

	append_at(time, DLOG_KIND_BASE, 1, &b, sizeof(b));
}

static void expect_at(uint64_t time, uint64_t address, const char *name)
{
	struct dlog_symbol sym;

	assert_int_equal(dlog_get_symbol_at(d, 1, time, address, &sym), !!name);
	if (name)
		assert_string_equal(sym.name, name);
	if (name)
		assert_int_equal(sym.address, address - 0x10);
}

/* An object that moves, also onto itself, and goes. */
static void symbols_that_move(void **state)
{
	static const char notes[] = "\0\0\0\0\0\x8\0\0low\0"
				    "\0\x8\0\0\0\x8\0\0high";

	(void)state;
	append(DLOG_KIND_SYMBOLS, 1, notes, sizeof(notes));
	at(100, 0x10000);
	at(200, 0x10800);
	at(300, 0);
	at(400, 0x20000);
	open_it();
	/* Whoever says where it is has seen it before. */
	expect_at(50, 0x10010, "low");
	expect_at(50, 0x10810, "high");
	expect_at(50, 0x11010, "high");
	expect_at(150, 0x10810, "high");
	expect_at(250, 0x10810, "low");
	expect_at(250, 0x10010, NULL);
	expect_at(350, 0x10810, NULL);
	expect_at(350, 0x20010, "low");
	expect_at(UINT64_MAX, 0x20010, "low");
	expect_at(UINT64_MAX, 0x10810, NULL);
	/* While it is read. */
	at(500, 0x30000);
	expect_at(600, 0x30810, "high");
	expect_at(600, 0x20010, NULL);
	expect_at(450, 0x20010, "low");
	expect_at(350, 0x10810, NULL);
	expect_at(250, 0x10810, "low");
}

static void symbols(void **state)
{
	struct {
		uint32_t offset, size;
		char name[9];
	} read = { 0x1000, 0x100, "vfs_read" }, close = { 0x2000, 0, "close" };
	struct dlog_base base = { .boot = 1, .size = 0x10000 };
	uint64_t record[3] = { 0 };
	struct dlog_symbol sym;
	char text[64];
	uint32_t id = add("ftrace:function", "", format_function);

	(void)state;
	append(DLOG_KIND_OBJECT, 7, "vmlinux 6.1", 12);
	append(DLOG_KIND_SYMBOLS, 7, &close, 8 + 6);
	base.base = 0xffffffff81000000;
	append(DLOG_KIND_BASE, 7, &base, sizeof(base));
	open_it();
	assert_false(
		event_symbol(dec, 1, UINT64_MAX, base.base + 0x1010, text, 64));
	/* Appended while it is read. */
	append(DLOG_KIND_SYMBOLS, 7, &read, 8 + 9);
	assert_true(
		event_symbol(dec, 1, UINT64_MAX, base.base + 0x1010, text, 64));
	assert_string_equal(text, "vfs_read+0x10");
	assert_int_equal(dlog_get_symbol(d, 1, base.base + 0x10ff, &sym), 1);
	assert_string_equal(sym.object, "vmlinux 6.1");
	/* Behind its end, before the first, behind the object, other boots. */
	assert_false(
		event_symbol(dec, 1, UINT64_MAX, base.base + 0x1100, text, 64));
	assert_false(
		event_symbol(dec, 1, UINT64_MAX, base.base + 0xfff, text, 64));
	assert_false(event_symbol(dec, 1, UINT64_MAX, base.base + 0x10000, text,
				  64));
	assert_false(
		event_symbol(dec, 2, UINT64_MAX, base.base + 0x1010, text, 64));
	record[1] = base.base + 0x1000;
	record[2] = base.base + 0x2044;
	assert_string_equal(text_of(id, record, sizeof(record)),
			    " vfs_read <-- close");
}

#define HEAD                                                                   \
	"name: x\nformat:\n"                                                   \
	"\tfield:unsigned short common_type;\toffset:0;\tsize:2;"              \
	"\tsigned:0;\n\tfield:int common_pid;\toffset:4;\tsize:4;"             \
	"\tsigned:1;\n\n"
#define COMMON                                                                 \
	HEAD "\tfield:int a;\toffset:8;\tsize:4;\tsigned:1;\n"                 \
	     "\tfield:int b[2];\toffset:12;\tsize:8;\tsigned:1;\n"             \
	     "\tfield:__data_loc u8[] d;\toffset:20;\tsize:4;\tsigned:0;\n"    \
	     "\tfield:__rel_loc u8[] r;\toffset:24;\tsize:4;\tsigned:0;\n"     \
	     "\nprint fmt: "

static const uint8_t fields_of_x[32] = {
	[8] = 5,  [12] = 1,    [16] = 2,    [20] = 28,	 [22] = 4,    [24] = 0,
	[26] = 4, [28] = 0xde, [29] = 0xad, [30] = 0xbe, [31] = 0xef,
};

/* What libtraceevent 1.7 must not be given: it would crash on most of these. */
static void hostile_formats(void **state)
{
	static const char *const print[] = {
		"\"%s\", __print_flags(REC->none, \"|\", { 1, \"a\" })",
		"\"%d\", sizeof(int)",
		"\"%d\", sizeof(REC->a)",
		"\"%d\", 1 / 0",
		"\"%d\", 1 / 5 * 0",
		"\"%d\", REC->b[0][0]",
		"\"%d\", REC->a ? 1 : REC->b[0]",
		"\"%ls\", REC->b",
		"\"%999999999d\", REC->a",
		"\"%d\", __get_dynamic_array_len(r)",
		"\"%s\", scsi_trace_parse_cdb(1, REC->a, 2)",
		"\"%d\", REC->",
		"\"%d\", (REC->a",
		"\"%d",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(print) / sizeof(print[0]); i++) {
		char text[2048], name[16];

		snprintf(text, sizeof(text), COMMON "%s\n", print[i]);
		snprintf(name, sizeof(name), "x:x%zu", i);
		add(name, "", text);
	}
	open_it();
	for (uint32_t id = 1; id <= sizeof(print) / sizeof(print[0]); id++)
		assert_string_equal(
			text_of(id, fields_of_x, sizeof(fields_of_x)),
			"[FAILED TO PARSE] a=5 b=ARRAY[01, 00, 00, 00, 02, 00, "
			"00, 00] d=ARRAY[de, ad, be, ef] "
			"r=ARRAY[de, ad, be, ef]");
}

static void deep_format(void **state)
{
	char *text = malloc(60000);
	size_t n = (size_t)sprintf(text, COMMON "\"%%d\", ");

	(void)state;
	memset(text + n, '(', 50000);
	strcpy(text + n + 50000, "1\n");
	add("x:deep", "", text);
	memset(text + n, '-', 50000);
	add("x:minus", "", text);
	open_it();
	text_of(1, fields_of_x, sizeof(fields_of_x));
	text_of(2, fields_of_x, sizeof(fields_of_x));
	free(text);
}

/*
 * libtraceevent makes up to 86 bytes of each byte of a format, and keeps them:
 * a guest's whole catalog of those must not take the reader's memory.
 */
static void many_formats(void **state)
{
	char *text = malloc(65536), name[32];
	size_t n = (size_t)sprintf(text, COMMON "\"%%d\"");
	struct mallinfo2 before, after;

	(void)state;
	while (n < 64000)
		n += (size_t)sprintf(text + n, ",-1");
	strcpy(text + n, "\n");
	for (int i = 0; i < 30; i++) {
		snprintf(name, sizeof(name), "x:%d", i);
		add(name, "", text);
	}
	free(text);
	open_it();
	before = mallinfo2();
	assert_string_equal(text_of(1, fields_of_x, 32), "-1");
	for (uint32_t id = 1; id <= 30; id++)
		assert_int_equal(event_type(dec, id)->nr_fields, 2 + 4);
	after = mallinfo2();
	assert_true(after.uordblks < before.uordblks + (64u << 20));
	/* What comes later has fields. */
	assert_string_equal(text_of(30, fields_of_x, 32),
			    "a=5 b=0100000002000000 d=deadbeef r=deadbeef");
}

/* A record must not be given out many times over. */
static void overlapping_fields(void **state)
{
	static uint8_t record[60000];
	struct dlog_entry e;
	char text[65536];
	size_t n;

	(void)state;
	n = (size_t)sprintf(text, HEAD);
	for (int i = 0; i < 100; i++)
		n += (size_t)sprintf(text + n,
				     "\tfield:u8 a%d[50000];\toffset:8;"
				     "\tsize:50000;\tsigned:0;\n",
				     i);
	strcpy(text + n, "\nprint fmt: \"x\"\n");
	add("x:same", "", text);
	n = (size_t)sprintf(text, HEAD);
	for (int i = 0; i < 100; i++)
		n += (size_t)sprintf(text + n,
				     "\tfield:u8 a%d[];\toffset:8;\tsize:0;"
				     "\tsigned:0;\n",
				     i);
	strcpy(text + n, "\nprint fmt: \"x\"\n");
	add("x:open", "", text);
	n = (size_t)sprintf(text, HEAD);
	for (int i = 0; i < 100; i++) {
		n += (size_t)sprintf(text + n,
				     "\tfield:__data_loc u8[] a%d;"
				     "\toffset:%d;\tsize:4;\tsigned:0;\n",
				     i, 8 + 4 * i);
		dlog_put32(record + 8 + 4 * i, 50000u << 16 | 500);
	}
	n += (size_t)sprintf(text + n, "\nprint fmt: \"%%s\"");
	for (int i = 0; i < 100; i++)
		n += (size_t)sprintf(text + n,
				     ", __print_hex(__get_dynamic_array(a%d), "
				     "__get_dynamic_array_len(a%d))",
				     i, i);
	strcpy(text + n, "\n");
	add("x:dynamic", "", text);
	open_it();
	assert_null(event_type(dec, 1));
	assert_null(event_type(dec, 2));
	assert_int_equal(event_type(dec, 3)->nr_fields, 102);
	assert_true(strlen(text_of(3, record, sizeof(record))) < 3000);
	/* One alone may have it all: "a0=0000...", " a1=" ... " a99=" */
	memset(record + 12, 0, 400 - 4);
	e = entry(3, record, sizeof(record));
	event_text(dec, &e, &n);
	assert_int_equal(n, 3 + 2 * 50000 + 9 * 4 + 90 * 5);
}

static void hostile_records(void **state)
{
	uint8_t r[sizeof(fields_of_x)];
	uint32_t id, hex, index, width, divide;

	(void)state;
	id = add("x:x", "",
		 COMMON "\"d=%*phN\", __get_dynamic_array_len(d), "
			"__get_dynamic_array(d)\n");
	hex = add("x:h", "",
		  COMMON "\"%s\", __print_hex_str("
			 "__get_dynamic_array(d), REC->a)\n");
	index = add("x:i", "", COMMON "\"%d\", REC->b[REC->a]\n");
	width = add("x:w", "", COMMON "\"%*d\", REC->a, 7\n");
	divide = add("x:q", "", COMMON "\"%d\", 10 / REC->a\n");
	open_it();
	assert_string_equal(text_of(id, fields_of_x, 32), "d=deadbeef");
	assert_string_equal(text_of(width, fields_of_x, 32), "    7");
	assert_string_equal(text_of(divide, fields_of_x, 32), "2");
	/* Lengths and indices too large: the fields, as they are. */
	assert_string_equal(text_of(hex, fields_of_x, 32),
			    "a=5 b=0100000002000000 d=deadbeef r=deadbeef");
	memcpy(r, fields_of_x, sizeof(r));
	r[8] = 4;
	assert_string_equal(text_of(hex, r, 32), "deadbeef");
	r[8] = 1;
	assert_string_equal(text_of(index, r, 32), "2");
	memset(r + 8, 0xff, 4);
	assert_string_equal(text_of(index, r, 32),
			    "a=-1 b=0100000002000000 d=deadbeef r=deadbeef");
	text_of(width, r, 32);
	memset(r + 8, 0, 4);
	assert_string_equal(text_of(divide, r, 32),
			    "a=0 b=0100000002000000 d=deadbeef r=deadbeef");
	/* Data that would lie outside; every length. */
	r[20] = 29;
	assert_string_equal(text_of(id, r, 32),
			    "a=0 b=0100000002000000 d=<cut short> r=deadbeef");
	for (size_t n = 0; n <= 32; n++) {
		uint8_t *copy = malloc(n);

		memcpy(copy, fields_of_x, n);
		for (uint32_t k = id; k <= divide; k++)
			text_of(k, copy, n);
		free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(ftrace_text, setup, teardown),
		cmocka_unit_test_setup_teardown(ftrace_fields, setup, teardown),
		cmocka_unit_test_setup_teardown(declared, setup, teardown),
		cmocka_unit_test_setup_teardown(growing, setup, teardown),
		cmocka_unit_test_setup_teardown(long_names, setup, teardown),
		cmocka_unit_test_setup_teardown(symbols, setup, teardown),
		cmocka_unit_test_setup_teardown(symbols_that_move, setup,
						teardown),
		cmocka_unit_test_setup_teardown(symbols_at_one_place, setup,
						teardown),
		cmocka_unit_test_setup_teardown(hostile_formats, setup,
						teardown),
		cmocka_unit_test_setup_teardown(deep_format, setup, teardown),
		cmocka_unit_test_setup_teardown(many_formats, setup, teardown),
		cmocka_unit_test_setup_teardown(overlapping_fields, setup,
						teardown),
		cmocka_unit_test_setup_teardown(hostile_records, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
