// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_places.c - a reader ends anywhere, another one goes on from its places:
 * dlog_reader_tell() and dlog_reader_seek().
 */
#include "world.h"

struct run {
	struct world w;
	struct dlog *d;
	struct dlog_reader *r;
	struct dlog_place place[2 * DLOG_PLACES_MAX];
	size_t nr_places;
	uint64_t missed;
};

/* A new process opens the file and goes on. */
static void run_open(struct run *u)
{
	u->d = w_open(&u->w);
	assert_int_equal(
		dlog_reader_new(&u->r, &u->d, 1, DLOG_READER_FOLLOW, NULL), 0);
	if (u->nr_places)
		assert_int_equal(
			dlog_reader_seek(u->r, 0, u->place, u->nr_places), 0);
}

static void run_close(struct run *u)
{
	u->nr_places = dlog_reader_tell(u->r, 0, u->place, 2 * DLOG_PLACES_MAX);
	assert_true(u->nr_places <= 2 * DLOG_PLACES_MAX);
	u->missed += dlog_reader_missed(u->r);
	dlog_reader_free(u->r);
	dlog_close(u->d);
}

/* Read up to @most; each is right, and was not given before. */
static uint32_t run_read(struct run *u, uint32_t most, int timeout)
{
	struct dlog_entry e;
	uint32_t n = 0;

	while (n < most && dlog_reader_next(u->r, &e, timeout) > 0) {
		w_match(&u->w, &e);
		n++;
	}
	return n;
}

static uint32_t rnd(uint32_t below)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (uint32_t)(x % below);
}

/* Ends anywhere, also before it has read anything: each record comes once. */
static void each_once(void **state)
{
	struct run u = { 0 };

	(void)state;
	w_format(&u.w, 1 << 19, 2, 4096, 16);
	w_boot(&u.w, 1);
	for (uint32_t round = 0; round < 300; round++) {
		run_open(&u);
		for (uint32_t i = rnd(40); i--;)
			w_line(&u.w, i % 2);
		if (round % 37 == 36)
			w_boot(&u.w, (uint8_t)(1 + round / 37));
		run_read(&u, rnd(60), 0);
		run_close(&u);
	}
	run_open(&u);
	run_read(&u, UINT32_MAX, 60);
	for (uint32_t i = 0; i < u.w.n; i++)
		assert_true(u.w.t[i].seen);
	run_close(&u);
	assert_int_equal(u.missed, 0);
	w_free(&u.w);
}

/* What was in flight when the first ended, and is then finished, comes. */
static void in_flight(void **state)
{
	struct run u = { 0 };
	uint8_t done[120], *p;
	struct truth *t;

	(void)state;
	for (uint32_t others = 0; others < 300; others += 99) {
		uint32_t torn;

		memset(&u, 0, sizeof(u));
		w_format(&u.w, 1 << 17, 1, 4096, 4);
		w_boot(&u.w, 1);
		for (uint32_t i = 0; i < 20; i++)
			w_line(&u.w, 0);
		torn = u.w.n;
		w_partial(&u.w, 0, 100, UINT32_MAX, &t);
		p = w_at(&u.w, 0, t->position);
		memcpy(done, p, sizeof(done));
		memset(p, 0, sizeof(done));
		for (uint32_t i = 0; i < others; i++)
			w_line(&u.w, 0);
		run_open(&u);
		run_read(&u, UINT32_MAX, 60);
		run_close(&u);
		assert_int_equal(u.nr_places, others ? 2 : 1);
		memcpy(p, done, sizeof(done));
		run_open(&u);
		assert_int_equal(run_read(&u, UINT32_MAX, 60), 1);
		assert_true(u.w.t[torn].seen);
		run_close(&u);
		w_free(&u.w);
	}
}

/* Overwritten while nobody read, over boots too: counted to the last one. */
static void missed(void **state)
{
	struct run u = { 0 };
	uint64_t seen = 0;

	(void)state;
	w_format(&u.w, 1 << 17, 2, 4096, 64);
	w_boot(&u.w, 1);
	for (uint32_t round = 0; round < 40; round++) {
		run_open(&u);
		seen += run_read(&u, rnd(2) ? UINT32_MAX : rnd(200), 0);
		run_close(&u);
		for (uint32_t b = rnd(3); b--;) {
			for (uint32_t i = rnd(1500); i--;)
				w_line(&u.w, i % 2);
			w_boot(&u.w, (uint8_t)(2 + round));
			w_line(&u.w, 0);
			w_line(&u.w, 1);
		}
		for (uint32_t i = rnd(1500); i--;)
			w_line(&u.w, i % 2);
		w_settle(&u.w);
	}
	run_open(&u);
	seen += run_read(&u, UINT32_MAX, 60);
	run_close(&u);
	assert_true(u.missed > 1000);
	assert_int_equal(seen + u.missed, u.w.n);
	w_free(&u.w);
}

/* A reader that has been dry for long still tells where it is, and goes on. */
static void parked(void **state)
{
	struct run u = { 0 };

	(void)state;
	w_format(&u.w, 1 << 17, 2, 4096, 4);
	w_boot(&u.w, 1);
	for (uint32_t round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < 50; i++)
			w_line(&u.w, i % 2);
		run_open(&u);
		assert_int_equal(run_read(&u, UINT32_MAX, 0), 50);
		/* 32 polls of 10 ms */
		assert_int_equal(run_read(&u, UINT32_MAX, 500), 0);
		w_line(&u.w, 0);
		assert_int_equal(run_read(&u, UINT32_MAX, 60), 1);
		assert_int_equal(run_read(&u, UINT32_MAX, 500), 0);
		run_close(&u);
	}
	assert_int_equal(u.missed, 0);
	w_free(&u.w);
}

/*
 * A hole is passed, the ring is quiet for @wait ms, and what was in flight is
 * committed: it comes, what is written later comes, and the places told in
 * between lose neither.
 */
static void late_one(int wait)
{
	struct run u = { 0 };
	uint8_t done[120], *p;
	struct truth *t;

	w_format(&u.w, 1 << 17, 1, 4096, 4);
	w_boot(&u.w, 1);
	for (uint32_t i = 0; i < 10; i++)
		w_line(&u.w, 0);
	w_partial(&u.w, 0, 100, UINT32_MAX, &t);
	p = w_at(&u.w, 0, t->position);
	memcpy(done, p, sizeof(done));
	memset(p, 0, sizeof(done));
	w_line(&u.w, 0);
	run_open(&u);
	assert_int_equal(run_read(&u, UINT32_MAX, 60), 11);
	assert_int_equal(run_read(&u, UINT32_MAX, wait), 0);
	memcpy(p, done, sizeof(done));
	if (wait % 2) {
		run_close(&u);
		run_open(&u);
	}
	assert_int_equal(run_read(&u, UINT32_MAX, 100), 1);
	for (uint32_t i = 0; i < 50; i++)
		w_line(&u.w, 0);
	assert_int_equal(run_read(&u, UINT32_MAX, 100), 50);
	run_close(&u);
	assert_int_equal(u.missed, 0);
	w_free(&u.w);
}

static void late_while_parked(void **state)
{
	(void)state;
	for (int wait = 0; wait < 1600; wait += 205)
		late_one(wait);
}

/* Places that cannot be give the whole ring, or nothing twice; no crash. */
static void hostile(void **state)
{
	struct run u = { 0 };

	(void)state;
	w_format(&u.w, 1 << 17, 2, 4096, 4);
	w_boot(&u.w, 1);
	for (uint32_t i = 0; i < 1000; i++)
		w_line(&u.w, i % 2);
	w_settle(&u.w);
	for (uint32_t round = 0; round < 2000; round++) {
		struct dlog_entry e;
		uint32_t n = 0;

		u.nr_places = rnd(10);
		for (uint32_t i = 0; i < u.nr_places; i++) {
			struct dlog_place *p = &u.place[i];

			p->ring = rnd(3);
			p->boot = rnd(3);
			p->position = rnd(2) ? rnd(1 << 18)
					     : UINT64_MAX - rnd(5000);
			p->end = rnd(2) ? UINT64_MAX : p->position + rnd(9000);
			p->records = rnd(2) ? rnd(1000) : UINT64_MAX;
		}
		run_open(&u);
		while (n < 2000 && dlog_reader_next(u.r, &e, 0) > 0)
			n++;
		assert_true(n < 2000);
		run_close(&u);
	}
	u.nr_places = 1;
	u.place[0] = (struct dlog_place){ .position = 1 << 20,
					  .end = UINT64_MAX };
	run_open(&u);
	assert_true(run_read(&u, UINT32_MAX, 0) > 500);
	run_close(&u);
	w_free(&u.w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_once),
		cmocka_unit_test(in_flight),
		cmocka_unit_test(missed),
		cmocka_unit_test(parked),
		cmocka_unit_test(hostile),
		cmocka_unit_test(late_while_parked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
