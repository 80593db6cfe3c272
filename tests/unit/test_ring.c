// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_ring.c - what the shared writer appends, libdlog reads: kinds,
 * lengths, laps, order, joined pieces, and loss numbers without damage.
 */
#include "world.h"

static void every_length(void **state)
{
	struct world w;
	uint32_t max;

	(void)state;
	w_format(&w, 1 << 20, 1, 4096, 4);
	w_boot(&w, 1);
	max = dlog_ring_max_len(4096);
	assert_int_equal(max, 4096 - 40 - 16);
	for (uint32_t len = 0; len < 200; len++)
		w_append(&w, 0, W_TEXT, len);
	for (uint32_t len = max - 20; len <= max; len++)
		w_append(&w, 0, W_TEXT, len);
	w_check(&w);
	w_free(&w);
}

static void longest_record(void **state)
{
	struct world w;

	(void)state;
	w_format(&w, 2 << 20, 2, 65536, 4);
	w_boot(&w, 1);
	for (uint32_t i = 0; i < 30; i++)
		w_append(&w, i % 2, W_TEXT, dlog_ring_max_len(65536) - i % 9);
	w_check(&w);
	w_free(&w);
}

static void every_kind(void **state)
{
	struct world w;

	(void)state;
	w_format(&w, 1 << 20, 2, 8192, 4);
	w_boot(&w, 1);
	for (uint32_t i = 0; i < 400; i++) {
		uint32_t kind = 4 + i % 6; /* EVENT .. CALL */

		if (i % 7 == 6)
			kind = DLOG_KIND_TEXT;
		w_append(&w, i % 2, DLOG_TYPE(kind, i % 4096), 40 + i % 50);
	}
	w_check(&w);
	w_free(&w);
}

/* Empty regions have no records, no loss, no boots. */
static void nothing(void **state)
{
	struct dlog_boot_entry *boots;
	struct dlog_loss *l;
	struct dlog_info info;
	struct world w;
	struct dlog *d;

	(void)state;
	w_format(&w, 1 << 20, 3, 4096, 4);
	w_check(&w);
	d = w_open(&w);
	assert_int_equal(dlog_get_boots(d, &boots), 0);
	assert_int_equal(dlog_get_loss(d, &l), 0);
	dlog_get_info(d, &info);
	assert_int_equal(info.nr_rings, 3);
	assert_int_equal(info.region_size, 1 << 20);
	assert_false(info.backup);
	free(boots);
	free(l);
	dlog_close(d);
	w_boot(&w, 1);
	w_check(&w);
	w_free(&w);
}

/* Many laps; checked at many moments of the lap. */
static void laps(void **state)
{
	struct world w;

	(void)state;
	w_format(&w, 1 << 17, 2, 4096, 4);
	w_boot(&w, 1);
	for (uint32_t i = 0; i < 20000; i++) {
		w_line(&w, i % 3 ? 0 : 1);
		if (i % 1009 == 0)
			w_check(&w);
	}
	w_check(&w);
	/* The oracle itself must have seen overwriting. */
	assert_true(w_loss(&w, 0, 1).overwritten > 10000);
	w_free(&w);
}

/* A take-over of old lines and nested contexts: times not in order. */
static void order(void **state)
{
	struct world w;

	(void)state;
	w_format(&w, 1 << 20, 4, 4096, 4);
	w_boot(&w, 1);
	for (uint32_t i = 0; i < 3000; i++) {
		uint64_t now = w.now;

		if (i % 50 < 20)
			w.now -= 15; /* earlier, at a later position */
		w_line(&w, (i * 7) % 4);
		w.now = now + 20;
	}
	w_check(&w);
	w_free(&w);
}

/* The same instant on two CPUs: by ring, wherever the records lie. */
static void same_time(void **state)
{
	uint32_t ring = 0, n = 0;
	struct dlog_reader *r;
	struct dlog_entry e;
	struct world w;
	struct dlog *d;

	(void)state;
	w_format(&w, 1 << 20, 2, 4096, 4);
	w_boot(&w, 1);
	for (uint32_t i = 0; i < 10; i++)
		w_line(&w, 0);
	for (uint32_t i = 0; i < 100; i++) {
		w.now = 5000 + i;
		w_line(&w, 1);
		w.now = 5000 + i;
		w_line(&w, 0);
	}
	d = w_open(&w);
	assert_int_equal(dlog_reader_new(&r, &d, 1, 0, NULL), 0);
	while (dlog_reader_next(r, &e, 0) > 0) {
		w_match(&w, &e);
		if (e.time < 5000)
			continue;
		assert_int_equal(e.ring, ring);
		ring = !ring;
		n++;
	}
	assert_int_equal(n, 200);
	dlog_reader_free(r);
	dlog_close(d);
	w_free(&w);
}

struct piece {
	uint32_t ring, caller;
	uint64_t time;
	const char *text;
};

static void put_piece(struct world *w, const struct piece *p)
{
	assert_int_equal(dlog_ring_append_tagged(
				 &w->ring[p->ring],
				 DLOG_TYPE(DLOG_KIND_PRINTK, DLOG_PRI(1, 4)),
				 p->time, p->caller, p->text,
				 (uint32_t)strlen(p->text)),
			 0);
}

/* A region with these pieces, and its reader. */
struct told {
	struct world w;
	struct dlog *d;
	struct dlog_reader *r;
};

static void told_begin(struct told *t, const struct piece *in, size_t n)
{
	w_format(&t->w, 1 << 20, 2, 4096, 4);
	w_boot(&t->w, 1);
	for (size_t i = 0; i < n; i++)
		put_piece(&t->w, &in[i]);
	t->d = w_open(&t->w);
	assert_int_equal(dlog_reader_new(&t->r, &t->d, 1, 0, NULL), 0);
}

/* There is the next record, and this is what it says. */
static void told_next(struct told *t, struct dlog_entry *e, const char *text)
{
	assert_int_equal(dlog_reader_next(t->r, e, 0), 1);
	assert_int_equal(e->len, strlen(text));
	assert_memory_equal(e->data, text, e->len);
}

/* There is no more. */
static void told_end(struct told *t)
{
	struct dlog_entry e;

	assert_int_equal(dlog_reader_next(t->r, &e, 0), 0);
	dlog_reader_free(t->r);
	dlog_close(t->d);
	w_free(&t->w);
}

static void pieces(void **state)
{
	static const struct piece in[] = {
		{ 0, 5 | DLOG_CALLER_OPEN, 100, "one, " },
		{ 1, 6 | DLOG_CALLER_OPEN, 101, "other; " },
		{ 0, 5 | DLOG_CALLER_CONT | DLOG_CALLER_OPEN, 100, "two, " },
		{ 0, 5 | DLOG_CALLER_CONT, 100, "three" },
		{ 1, 6 | DLOG_CALLER_CONT, 102, "not the same time" },
		{ 0, 4 | DLOG_CALLER_OPEN, 105, "moved " },
		{ 1, 9, 104, "before" },
		{ 1, 4 | DLOG_CALLER_CONT, 105, "to another CPU" },
		{ 0, 9, 105, "behind" },
		{ 0, 7 | DLOG_CALLER_OPEN, 110, "never continued" },
		{ 0, 8 | DLOG_CALLER_CONT, 110, "not the same task" },
		{ 1, 9, 120, "" },
		{ 0, 4 | DLOG_CALLER_OPEN, 200, "at the end " },
		{ 1, 4 | DLOG_CALLER_CONT, 200, "of a ring" },
		{ 0, 9, 200, "last" },
	};
	static const struct {
		const char *text;
		uint32_t caller;
	} out[] = {
		{ "one, two, three", 5 },
		{ "other; ", 6 | DLOG_CALLER_OPEN },
		{ "not the same time", 6 | DLOG_CALLER_CONT },
		{ "before", 9 },
		{ "moved to another CPU", 4 },
		{ "behind", 9 },
		{ "never continued", 7 | DLOG_CALLER_OPEN },
		{ "not the same task", 8 | DLOG_CALLER_CONT },
		{ "", 9 },
		{ "at the end of a ring", 4 },
		{ "last", 9 },
	};
	struct dlog_entry e;
	struct told t;

	(void)state;
	told_begin(&t, in, sizeof(in) / sizeof(in[0]));
	for (size_t i = 0; i < sizeof(out) / sizeof(out[0]); i++) {
		told_next(&t, &e, out[i].text);
		assert_int_equal(e.caller, out[i].caller);
		assert_int_equal(e.level, 4);
		assert_int_equal(e.facility, 1);
	}
	told_end(&t);
}

/* Lines taken over keep the kernel's order; others go where they belong. */
static void taken_over(void **state)
{
	static const struct piece in[] = {
		{ 0, 5 | DLOG_CALLER_TAKEN, 300, "first" },
		{ 0, 5 | DLOG_CALLER_TAKEN, 200, "second" },
		{ 0, 5 | DLOG_CALLER_TAKEN, 310, "third" },
		{ 0, 5, 250, "own" },
		{ 1, 5, 305, "other" },
	};
	static const char *const out[] = { "own", "first", "second", "other",
					   "third" };
	struct dlog_entry e;
	struct told t;

	(void)state;
	told_begin(&t, in, sizeof(in) / sizeof(in[0]));
	for (size_t i = 0; i < sizeof(out) / sizeof(out[0]); i++)
		told_next(&t, &e, out[i]);
	told_end(&t);
}

/* Pieces without end: the line is cut, memory is not exceeded. */
static void endless_line(void **state)
{
	struct piece p = { 0, 5 | DLOG_CALLER_OPEN, 100, NULL };
	char text[1001];
	struct dlog_reader *r;
	struct dlog_entry e;
	struct world w;
	struct dlog *d;
	uint64_t total = 0;

	(void)state;
	memset(text, 'x', 1000);
	text[1000] = 0;
	p.text = text;
	w_format(&w, 1 << 20, 1, 4096, 4);
	w_boot(&w, 1);
	for (int i = 0; i < 200; i++) {
		put_piece(&w, &p);
		p.caller |= DLOG_CALLER_CONT;
	}
	d = w_open(&w);
	assert_int_equal(dlog_reader_new(&r, &d, 1, 0, NULL), 0);
	while (dlog_reader_next(r, &e, 0) == 1) {
		assert_true(e.len <= 65536);
		for (size_t i = 0; i < e.len; i++)
			assert_int_equal(e.data[i], 'x');
		total += e.len;
	}
	/* 65536 is no multiple of 1000: some may be cut, at each limit. */
	assert_true(total > 195000 && total <= 200000);
	dlog_reader_free(r);
	dlog_close(d);
	w_free(&w);
}

/* What a ring cannot take is counted as dropped, by START and heartbeat. */
static void dropped(void **state)
{
	static uint8_t big[5000];
	struct dlog_loss *l;
	struct world w;
	struct dlog *d;

	(void)state;
	w_format(&w, 1 << 20, 1, 4096, 4);
	w_boot(&w, 1);
	for (int i = 0; i < 3; i++)
		assert_int_equal(dlog_ring_append(&w.ring[0], W_TEXT, 1, big,
						  sizeof(big)),
				 -EMSGSIZE);
	for (int i = 0; i < 100; i++)
		w_line(&w, 0);
	d = w_open(&w);
	assert_int_equal(dlog_get_loss(d, &l), 1);
	assert_int_equal(l[0].dropped, 3);
	free(l);
	assert_true(dlog_ring_append(&w.ring[0], W_TEXT, 1, big, 4090) < 0);
	dlog_region_beat(&w.rg, 0, 0, &w.ring[0], w.now, true);
	assert_int_equal(dlog_get_loss(d, &l), 1);
	assert_int_equal(l[0].dropped, 4);
	free(l);
	/* The next boot's entry keeps it. */
	w_boot(&w, 2);
	dlog_region_beat(&w.rg, 0, 0, &w.ring[0], w.now, true);
	assert_int_equal(dlog_get_loss(d, &l), 2);
	assert_int_equal(l[0].boot, 1);
	assert_int_equal(l[0].dropped, 4);
	assert_int_equal(l[1].dropped, 0);
	free(l);
	dlog_close(d);
	w_check(&w);
	w_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing),
		cmocka_unit_test(every_length),
		cmocka_unit_test(longest_record),
		cmocka_unit_test(every_kind),
		cmocka_unit_test(laps),
		cmocka_unit_test(order),
		cmocka_unit_test(pieces),
		cmocka_unit_test(same_time),
		cmocka_unit_test(taken_over),
		cmocka_unit_test(endless_line),
		cmocka_unit_test(dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
