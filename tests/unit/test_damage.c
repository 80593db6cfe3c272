// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_damage.c - writers stopped at every store, and bytes that were
 * damaged later: what is still there is read, what is not is counted as
 * exactly what it was.
 */
#include "world.h"

static void fresh(struct world *w)
{
	w_format(w, 1 << 17, 1, 4096, 4);
	w_boot(w, 1);
}

/* Room left in the sub-buffer that is written now. */
static uint32_t left(const struct world *w)
{
	return (4096 - (uint32_t)(w->next[0] % 4096)) % 4096;
}

/*
 * A writer is stopped after @steps of its stores, @nested others go on
 * behind it.  @lap: in a sub-buffer that held records before, not zeroes.
 * @enter: the stopped one had entered a new sub-buffer.
 */
static uint32_t stop_at(uint32_t steps, uint32_t nested, bool lap, bool enter)
{
	uint32_t total, first;
	struct truth *t;
	struct world w;

	fresh(&w);
	do
		w_line(&w, 0);
	while (lap && (w.next[0] < w.rg.sb.ring_size * 5 / 2));
	while (!enter && left(&w) < 1500)
		w_line(&w, 0);
	while (enter && left(&w) >= 120)
		w_line(&w, 0);
	total = w_partial(&w, 0, 100, steps, &t);
	first = enter ? 6 : 0; /* stores of its START */
	if (steps < total)
		t->fate = FATE_TORN;
	if (steps <= first) {
		/*
		 * Nothing of it is in memory: only a record behind proves
		 * it, and if old bytes lie there they count as corrupt.
		 */
		if (!nested)
			t->fate = FATE_UNSEEN;
		else if (lap)
			t->fate = FATE_CORRUPT;
	}
	for (uint32_t i = 0; i < nested; i++)
		w_line(&w, 0);
	/*
	 * If it entered a sub-buffer and left no trace, and nothing lies
	 * behind, the sub-buffer before is still the newest.
	 */
	t->nowhere = enter && steps < 6 && !nested;
	w_check(&w);
	w_free(&w);
	return total;
}

static void stopped_writer(void **state)
{
	(void)state;
	for (uint32_t lap = 0; lap < 2; lap++)
		for (uint32_t nested = 0; nested < 4; nested++)
			for (uint32_t steps = 0;
			     steps < stop_at(steps, nested, lap, false);)
				steps++;
}

static void stopped_entering(void **state)
{
	(void)state;
	for (uint32_t lap = 0; lap < 2; lap++)
		for (uint32_t nested = 0; nested < 4; nested++)
			for (uint32_t steps = 0;
			     steps < stop_at(steps, nested, lap, true);)
				steps++;
}

/* It stays stopped while others fill this sub-buffer and some more. */
static void stopped_and_passed(void **state)
{
	(void)state;
	for (uint32_t nested = 60; nested < 400; nested += 85)
		for (uint32_t steps = 0;
		     steps < stop_at(steps, nested, false, nested % 2);)
			steps++;
}

/*
 * Each stopped as it enters a sub-buffer, before anything of it is in memory,
 * with a record so long that the next enters one more; the last after its
 * START's open check.  Others go on there: only their records prove it.
 */
static void entered_and_stopped(void **state)
{
	(void)state;
	for (uint32_t lap = 0; lap < 2; lap++) {
		for (uint32_t empty = 0; empty < 7; empty++) {
			struct truth *t;
			struct world w;

			fresh(&w);
			do
				w_line(&w, 0);
			while (left(&w) >= 120 ||
			       w.next[0] < lap * w.rg.sb.ring_size * 3 / 2);
			for (uint32_t i = 0; i <= empty; i++) {
				w_partial(&w, 0, i < empty ? 4000 : 100,
					  i < empty ? 0 : 2, &t);
				t->fate = FATE_TORN;
			}
			for (uint32_t i = 0; i < 5; i++)
				w_line(&w, 0);
			w_check_records(&w);
			w_free(&w);
		}
	}
}

/* Writers stopped within writers, four deep. */
static void nested_stops(void **state)
{
	(void)state;
	for (uint32_t seed = 0; seed < 300; seed++) {
		struct world w;
		struct truth *t;
		uint32_t x = seed;

		fresh(&w);
		for (uint32_t i = 0; i < 30; i++)
			w_line(&w, 0);
		for (uint32_t depth = 0; depth < 4; depth++) {
			x = x * 1664525u + 1013904223u;
			/* Not entering, at least A: counted as torn. */
			while (left(&w) < 200)
				w_line(&w, 0);
			w_partial(&w, 0, 60, 1 + (x >> 20) % 9, &t);
			t->fate = FATE_TORN;
		}
		for (uint32_t i = 0; i < seed % 90; i++)
			w_line(&w, 0);
		w_check(&w);
		w_free(&w);
	}
}

/* The n-th live record of the ring. */
static struct truth *nth(struct world *w, uint32_t n)
{
	w_settle(w);
	for (uint32_t i = 0; i < w->n; i++)
		if (w->t[i].live && !n--)
			return &w->t[i];
	return NULL;
}

/* One byte of one record, for each byte. */
static void one_byte(void **state)
{
	struct world w;
	struct truth *t;
	uint8_t *p;

	(void)state;
	fresh(&w);
	for (uint32_t i = 0; i < 3000; i++)
		w_line(&w, 0);
	t = nth(&w, 100);
	t->fate = FATE_CORRUPT;
	p = w_at(&w, 0, t->position);
	for (uint32_t i = 0; i < DLOG_REC_SIZE(t->len); i++) {
		p[i] ^= (uint8_t)(1 << i % 8);
		w_check(&w);
		p[i] ^= (uint8_t)(1 << i % 8);
	}
	t->fate = FATE_FULL;
	w_check(&w);
	w_free(&w);
}

/* Any stretch of garbage in closed sub-buffers: all in it are corrupt. */
static void stretches(void **state)
{
	(void)state;
	for (uint32_t seed = 1; seed < 400; seed++) {
		struct world w;
		uint64_t from, to;
		uint32_t x = seed * 2654435761u;

		fresh(&w);
		for (uint32_t i = 0; i < 2000 + seed; i++)
			w_line(&w, 0);
		w_settle(&w);
		/* Not the oldest nor the newest three sub-buffers. */
		from = (w.next[0] / 4096 - 15) * 4096 + (x >> 8) % 30000;
		to = from + 8 + (x >> 4) % 9000;
		from -= from % 8;
		for (uint64_t p = from; p < to; p++) {
			x = x * 1664525u + 1013904223u;
			*w_at(&w, 0, p) = (uint8_t)(x >> 24 | 1);
		}
		for (uint32_t i = 0; i < w.n; i++) {
			struct truth *t = &w.t[i];

			if (t->position < to &&
			    t->position + DLOG_REC_SIZE(t->len) > from)
				t->fate = FATE_CORRUPT;
			/* Only its padding, or bytes behind the last one. */
		}
		w_check(&w);
		w_free(&w);
	}
}

/* Each START of the ring gone, one at a time and all together. */
static void missing_starts(void **state)
{
	struct world w;
	uint8_t save[40];

	(void)state;
	fresh(&w);
	for (uint32_t i = 0; i < 2500; i++)
		w_line(&w, 0);
	for (uint32_t i = 0; i < w_nr(&w); i++) {
		uint8_t *p = w_at(&w, 0, (uint64_t)i * 4096);

		memcpy(save, p, 40);
		memset(p, 0x5a, 40);
		w_check_records(&w);
		memcpy(p, save, 40);
	}
	/* Without any, a heartbeat says where the ring is. */
	dlog_region_beat(&w.rg, 0, 0, &w.ring[0], w.now, true);
	for (uint32_t i = 0; i < w_nr(&w); i++)
		memset(w_at(&w, 0, (uint64_t)i * 4096), 0xa5, 40);
	w_check_records(&w);
	w_free(&w);
}

/* All STARTs of the first lap gone, and no heartbeat. */
static void missing_starts_first_lap(void **state)
{
	struct world w;

	(void)state;
	fresh(&w);
	for (uint32_t i = 0; i < 500; i++)
		w_line(&w, 0);
	for (uint32_t i = 0; i < w_nr(&w); i++)
		memset(w_at(&w, 0, (uint64_t)i * 4096), 0xa5, 40);
	w_check_records(&w);
	w_free(&w);
}

/* A missing START loses no count: what lies between its neighbours is known. */
static void missing_start_loss(void **state)
{
	struct world w;
	struct truth *t;

	(void)state;
	fresh(&w);
	for (uint32_t i = 0; i < 2500; i++)
		w_line(&w, 0);
	t = nth(&w, 300);
	memset(w_at(&w, 0, t->position / 4096 * 4096), 0x5a, 40);
	w_check(&w);
	t->fate = FATE_CORRUPT;
	w_at(&w, 0, t->position)[3] ^= 4;
	w_check(&w);
	w_free(&w);
}

/* A heartbeat counted more than can be found at the end. */
static void heartbeat_tail(void **state)
{
	struct world w;
	struct truth *t;

	(void)state;
	fresh(&w);
	for (uint32_t i = 0; i < 100; i++)
		w_line(&w, 0);
	while (left(&w) < 500)
		w_line(&w, 0);
	w_partial(&w, 0, 50, 0, &t);
	t->fate = FATE_TORN;
	dlog_region_beat(&w.rg, 0, 0, &w.ring[0], w.now, true);
	w_check(&w);
	/* One that lies, or belongs to another place, changes nothing. */
	t->fate = FATE_UNSEEN;
	dlog_region_cpu(&w.rg, 0)->records = UINT64_MAX / 2;
	w_check(&w);
	dlog_region_cpu(&w.rg, 0)->records = 110;
	dlog_region_cpu(&w.rg, 0)->position = 1 << 30;
	w_check(&w);
	w_free(&w);
}

/* Whole sub-buffers of zeroes, as a punched hole in the file leaves them. */
static void zeroed_subbuffer(void **state)
{
	struct world w;
	uint64_t p;

	(void)state;
	fresh(&w);
	for (uint32_t i = 0; i < 2500; i++)
		w_line(&w, 0);
	p = (w.next[0] / 4096 - 5) * 4096;
	memset(w_at(&w, 0, p), 0, 4096);
	for (uint32_t i = 0; i < w.n; i++)
		if (w.t[i].position / 4096 == p / 4096)
			w.t[i].fate = FATE_CORRUPT;
	w_check(&w);
	w_free(&w);
}

/*
 * A sub-buffer full of headers that claim the longest record, checks
 * included for the open state of the wrong position: linear time, nothing
 * found.
 */
static void quadratic_bait(void **state)
{
	struct world w;
	struct dlog_loss *l;
	struct dlog *d;
	uint8_t *p;

	(void)state;
	w_format(&w, 16 << 20, 1, 65536, 4);
	w_boot(&w, 1);
	w_line(&w, 0);
	for (uint64_t pos = 0; pos < w.rg.sb.ring_size; pos += 8) {
		p = w_at(&w, 0, pos);
		if (pos >= 65536 || pos > w.next[0])
			dlog_put64(p, (uint64_t)(DLOG_TYPE(2, 6) << 16 |
						 (65000 - pos % 65536 / 8))
						      << 32 |
					      0x12345678);
	}
	d = w_open(&w);
	assert_int_equal(dlog_get_loss(d, &l), 1);
	assert_int_equal(l[0].records, 1);
	free(l);
	dlog_close(d);
	w_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stopped_writer),
		cmocka_unit_test(stopped_entering),
		cmocka_unit_test(stopped_and_passed),
		cmocka_unit_test(entered_and_stopped),
		cmocka_unit_test(nested_stops),
		cmocka_unit_test(one_byte),
		cmocka_unit_test(stretches),
		cmocka_unit_test(missing_starts),
		cmocka_unit_test(missing_starts_first_lap),
		cmocka_unit_test(missing_start_loss),
		cmocka_unit_test(heartbeat_tail),
		cmocka_unit_test(zeroed_subbuffer),
		cmocka_unit_test(quadratic_bait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
