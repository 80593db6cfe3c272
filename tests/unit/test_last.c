// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_last.c - reading only the end of a region: what is given is the end
 * of what a reader of all of it gives, whatever the region is like, and
 * where nothing is damaged it is not much more than what was asked for.
 *
 * Relies on other tests for a reader of everything to be right.
 */
#include "world.h"

struct place {
	uint32_t ring, boot;
	uint64_t position, len;
};

struct places {
	struct place *p;
	size_t n, room;
};

static void places_add(struct places *l, const struct dlog_entry *e)
{
	if (l->n == l->room) {
		l->room = l->room ? l->room * 2 : 1024;
		l->p = realloc(l->p, l->room * sizeof(*l->p));
		assert_non_null(l->p);
	}
	l->p[l->n++] = (struct place){ e->ring, e->boot, e->position, e->len };
}

#define ALL UINT64_MAX

/* The last @n records, or ALL: true if some were left out. */
static bool collect(struct dlog *d, struct places *l, uint32_t boot, uint64_t n)
{
	struct dlog_reader *r;
	struct dlog_entry e;
	int ret = 0;

	l->n = 0;
	assert_int_equal(dlog_reader_new(&r, &d, 1,
					 n == ALL ? 0 : DLOG_READER_LAST, NULL),
			 0);
	dlog_reader_set_boot(r, boot);
	if (n != ALL)
		ret = dlog_reader_set_last(r, n);
	assert_true(ret == 0 || ret == 1);
	while (dlog_reader_next(r, &e, 0) > 0)
		places_add(l, &e);
	dlog_reader_free(r);
	return ret;
}

static bool is_end(const struct places *all, const struct places *end)
{
	for (size_t i = 1; i <= end->n; i++) {
		struct place *a = &all->p[all->n - i], *b = &end->p[end->n - i];

		if (a->ring != b->ring || a->boot != b->boot ||
		    a->position != b->position || a->len != b->len)
			return false;
	}
	return true;
}

/* The largest number of records a sub-buffer holds by w_line(), and more. */
#define IN_SUBBUF 120u
#define WINDOW 128u /* what each ring may read beyond, for the order */

/*
 * For some @n and each boot; @whole: nothing is damaged.  Returns how often
 * something was left out.
 */
static uint32_t check_last(struct world *w, uint32_t boots, bool whole)
{
	static const uint64_t ns[] = { 0,    1,	     10,
				       63,   150,    1000,
				       5000, 100000, UINT64_MAX - 1 };
	struct places all = { 0 }, end = { 0 };
	struct dlog *d = w_open(w);
	uint32_t left_out = 0;

	for (uint32_t boot = 0; boot <= boots; boot++) {
		assert_false(collect(d, &all, boot, ALL));
		for (size_t i = 0; i < sizeof(ns) / sizeof(ns[0]); i++) {
			uint64_t n = ns[i];
			bool more = collect(d, &end, boot, n);

			assert_true(end.n <= all.n);
			if (!is_end(&all, &end))
				fail_msg("boot %u n %llu: not the end", boot,
					 (unsigned long long)n);
			if (!more)
				assert_int_equal(end.n, all.n);
			left_out += more;
			if (!whole)
				continue;
			assert_true(end.n >= (n < all.n ? n : all.n));
			if (n < 1000)
				assert_true(end.n <= w->rg.sb.nr_rings *
							     (n + WINDOW +
							      2 * IN_SUBBUF));
		}
	}
	free(all.p);
	free(end.p);
	dlog_close(d);
	return left_out;
}

/* At any moment of two and a half laps, on rings that are used unevenly. */
static void laps(void **state)
{
	uint32_t left_out = 0;
	struct world w;

	(void)state;
	w_format(&w, 2 << 20, 3, 4096, 4);
	w_boot(&w, 1);
	for (uint32_t i = 0; i < 40000; i++) {
		w_line(&w, i % 31 ? i / 8 % 2 : 2);
		if (i % 397 == 0)
			left_out += check_last(&w, 0, true);
	}
	assert_true(left_out > 300);
	/* It is the newest that it ends with. */
	w_check_records(&w);
	w_free(&w);
}

/* A ring that has been silent for long, and one that never spoke. */
static void silent(void **state)
{
	struct world w;

	(void)state;
	w_format(&w, 2 << 20, 3, 4096, 4);
	w_boot(&w, 1);
	for (uint32_t i = 0; i < 4000; i++)
		w_line(&w, 1);
	for (uint32_t i = 0; i < 9000; i++)
		w_line(&w, 0);
	assert_true(check_last(&w, 0, true) > 3);
	w_free(&w);
}

/* Records of nested contexts: times that are not in order. */
static void order(void **state)
{
	struct world w;

	(void)state;
	w_format(&w, 1 << 20, 4, 4096, 4);
	w_boot(&w, 1);
	for (uint32_t i = 0; i < 9000; i++) {
		uint64_t now = w.now;

		if (i % 50 < 20)
			w.now -= 300; /* some 15 records of its ring */
		w_line(&w, (i * 7) % 4);
		w.now = now + 20;
		if (i % 1777 == 0)
			check_last(&w, 0, true);
	}
	assert_true(check_last(&w, 0, true) > 3);
	w_free(&w);
}

/*
 * A clock that once was far ahead.  Who reads all gives that record where it
 * lies, and whatever its ring says later behind all other rings; who reads
 * only what is behind it is not misled.
 */
static void wild_clock(void **state)
{
	uint32_t n_truth = 0;

	(void)state;
	for (uint32_t at = 3000; at < 9000; at += 71) {
		struct places all = { 0 }, end = { 0 };
		bool truth = true;
		struct world w;
		struct dlog *d;

		w_format(&w, 1 << 20, 2, 4096, 4);
		w_boot(&w, 1);
		for (uint32_t i = 0; i < 9000; i++) {
			uint64_t now = w.now;

			if (i == at)
				w.now += 1000000;
			w_line(&w, i % 2);
			w.now = now + 1;
		}
		d = w_open(&w);
		collect(d, &all, 0, ALL);
		assert_true(collect(d, &end, 0, 20));
		for (size_t i = 1; truth && i <= end.n; i++)
			truth = end.p[end.n - i].position ==
				w.t[w.n - i].position;
		n_truth += truth && end.n >= 20;
		assert_true(truth || is_end(&all, &end));
		free(all.p);
		free(end.p);
		dlog_close(d);
		w_free(&w);
	}
	assert_true(n_truth > 60);
}

/* The end of each boot, the last one and those before. */
static void boots(void **state)
{
	struct world w;

	(void)state;
	w_format(&w, 2 << 20, 2, 4096, 16);
	for (uint32_t b = 1; b <= 12; b++) {
		w_boot(&w, (uint8_t)b);
		for (uint32_t i = 0; i < (b % 4 ? b * 300 : 3); i++)
			w_line(&w, b % 5 ? i % 2 : 0);
		check_last(&w, b, true);
	}
	assert_true(check_last(&w, 12, true) > 10);
	w_check(&w);
	w_free(&w);
}

/* The list of boots, of which most STARTs are not looked at. */
static void list_of_boots(void **state)
{
	(void)state;
	for (uint32_t lines = 1; lines < 3000; lines = lines * 3 / 2 + 1) {
		uint64_t first[9] = { 0 }, last[9] = { 0 };
		struct dlog_boot_entry *e;
		struct world w;
		struct dlog *d;
		int n;

		w_format(&w, 2 << 20, 2, 4096, 16);
		for (uint32_t b = 1; b < 9; b++) {
			w_boot(&w, (uint8_t)b);
			for (uint32_t i = 0; i < lines; i++)
				w_line(&w, i % 2);
		}
		/* In some of the middle the START is gone. */
		for (uint32_t i = 0; lines > 200 && i < w_nr(&w); i += 17)
			if (w_at(&w, 0, i * 4096)[4])
				w_at(&w, 0, i * 4096)[8] ^= 1;
		w_settle(&w);
		for (uint32_t i = 0; i < w.n; i++) {
			struct truth *t = &w.t[i];

			if (!t->live)
				continue;
			if (!first[t->boot])
				first[t->boot] = t->time;
			last[t->boot] = t->time;
		}
		d = w_open(&w);
		n = dlog_get_boots(d, &e);
		assert_int_equal(n, 8);
		for (int i = 0; i < n; i++) {
			assert_int_equal(e[i].boot, i + 1);
			assert_int_equal(e[i].has_records, first[i + 1] > 0);
			assert_int_equal(e[i].first_time, first[i + 1]);
			assert_int_equal(e[i].last_time, last[i + 1]);
		}
		free(e);
		dlog_close(d);
		w_free(&w);
	}
}

/* STARTs and stretches damaged anywhere, wherever the ring's end lies. */
static void damage(void **state)
{
	uint32_t x = 1;

	(void)state;
	for (uint32_t lines = 200; lines < 24000; lines += 211) {
		struct world w;

		w_format(&w, 1 << 20, 1, 4096, 4);
		w_boot(&w, 1);
		for (uint32_t i = 0; i < lines; i++) {
			if (i == lines / 2)
				w_boot(&w, 2);
			w_line(&w, 0);
		}
		for (uint32_t i = 0; i < 60; i++) {
			uint64_t p;

			x = x * 1664525u + 1013904223u;
			p = (uint64_t)(x >> 8) % w_nr(&w) * 4096;
			if (i % 3)
				w_at(&w, 0, p)[x >> 28] ^= 1; /* START */
			else
				memset(w_at(&w, 0, p) + (x >> 24) * 8, 0x5a,
				       x >> 20 & 2047);
		}
		/* The first of each lap, and the newest but one. */
		if (lines % 2)
			w_at(&w, 0, 0)[9] ^= 1;
		if (lines % 3 && w.next[0] > 8192)
			w_at(&w, 0, w.next[0] / 4096 * 4096 - 4096)[9] ^= 1;
		check_last(&w, 2, false);
		w_free(&w);
	}
}

/*
 * Sub-buffers of the lap before where newer ones should be, as in a file of
 * which not all pages had reached the disk when the host lost its power.
 */
static void stale_stretch(void **state)
{
	uint32_t sub = 4096;

	(void)state;
	for (uint32_t from = 0; from < 200; from += 13) {
		struct places all = { 0 }, end = { 0 };
		struct world w;
		struct dlog *d;
		uint8_t *old;

		w_format(&w, 1 << 20, 1, sub, 4);
		w_boot(&w, 1);
		while (w.next[0] < w.rg.sb.ring_size * 5 / 2)
			w_line(&w, 0);
		old = malloc(w.size);
		memcpy(old, w.mem, w.size);
		while (w.next[0] < w.rg.sb.ring_size * 17 / 5)
			w_line(&w, 0);
		dlog_region_beat(&w.rg, 0, 0, &w.ring[0], w.now, true);
		memcpy(w_at(&w, 0, from * sub),
		       old + (w_at(&w, 0, from * sub) - w.mem), 32 * sub);
		d = w_open(&w);
		collect(d, &all, 0, ALL);
		collect(d, &end, 0, 100);
		assert_true(end.n >= 100 || end.n == all.n);
		assert_true(is_end(&all, &end));
		free(all.p);
		free(end.p);
		free(old);
		dlog_close(d);
		w_free(&w);
	}
}

/* Lines in pieces: none begins with a piece whose beginning was left out. */
static void pieces(void **state)
{
	static const char text[] = "piece of a line";
	struct places all = { 0 }, end = { 0 };
	struct world w;
	struct dlog *d;

	(void)state;
	w_format(&w, 1 << 20, 2, 4096, 4);
	w_boot(&w, 1);
	for (uint32_t i = 0; i < 9000; i++) {
		uint32_t flags = (i % 9 ? DLOG_CALLER_CONT : 0) |
				 (i % 9 < 8 ? DLOG_CALLER_OPEN : 0);

		dlog_ring_append_tagged(&w.ring[(i / 9 + (i % 9 > 4)) % 2],
					DLOG_TYPE(DLOG_KIND_PRINTK, 6), i / 9,
					7 | flags, text, sizeof(text) - 1);
	}
	d = w_open(&w);
	collect(d, &all, 0, ALL);
	assert_int_equal(all.n, 1000);
	for (uint64_t n = 0; n < 3000; n += 7) {
		collect(d, &end, 0, n);
		assert_true(is_end(&all, &end));
		assert_true(end.n >= n / 9);
	}
	free(all.p);
	free(end.p);
	dlog_close(d);
	w_free(&w);
}

/* From the end on, and then what is written meanwhile. */
static void follow(void **state)
{
	struct dlog_reader *r;
	struct dlog_entry e;
	struct world w;
	struct dlog *d;
	uint32_t old, n = 0;

	(void)state;
	w_format(&w, 1 << 20, 2, 4096, 4);
	w_boot(&w, 1);
	for (uint32_t i = 0; i < 7000; i++)
		w_line(&w, i % 2);
	d = w_open(&w);
	assert_int_equal(dlog_reader_new(&r, &d, 1,
					 DLOG_READER_FOLLOW | DLOG_READER_LAST,
					 NULL),
			 0);
	assert_int_equal(dlog_reader_set_last(r, 20), 1);
	while (dlog_reader_next(r, &e, 0) > 0)
		w_match(&w, &e);
	for (old = w.n; old && w.t[old - 1].seen; old--)
		n++;
	assert_true(n >= 20 && n < 1000);
	while (old--)
		assert_false(w.t[old].seen);
	for (uint32_t i = 0; i < 3000; i++) {
		w_line(&w, i % 2);
		if (i % 50 == 0)
			while (dlog_reader_next(r, &e, 0) > 0)
				w_match(&w, &e);
	}
	while (dlog_reader_next(r, &e, 60) > 0)
		w_match(&w, &e);
	for (uint32_t i = 7000; i < w.n; i++)
		assert_true(w.t[i].seen);
	assert_int_equal(dlog_reader_missed(r), 0);
	dlog_reader_free(r);
	dlog_close(d);
	w_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(laps),	  cmocka_unit_test(silent),
		cmocka_unit_test(order),  cmocka_unit_test(wild_clock),
		cmocka_unit_test(boots),  cmocka_unit_test(list_of_boots),
		cmocka_unit_test(damage), cmocka_unit_test(stale_stretch),
		cmocka_unit_test(pieces), cmocka_unit_test(follow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
