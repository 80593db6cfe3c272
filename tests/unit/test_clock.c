// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_clock.c - a guest's clock on a witness' clock: pairs as the QEMU plugin
 * records them, right, wide, missing, and made to deceive.
 */
#include <time.h>

#include "world.h"

#define FIELDS                                                                 \
	"x64 uuid_low; x64 uuid_high; u32 boot; u32 cpu; u64 guest; "          \
	"u64 early; u64 late"
#define MS UINT64_C(1000000)
#define S (1000 * MS)
#define WALL (UINT64_C(1700000000) * S) /* of the witness' time 0 */

struct pair {
	uint64_t uuid[2];
	uint32_t boot, cpu;
	uint64_t guest, early, late;
} __attribute__((packed));

struct two {
	struct world guest, witness;
	struct dlog *g, *w;
	int id;
};

static void begin(struct two *t)
{
	uint8_t buf[256];

	w_format(&t->guest, 262144, 1, 4096, 4);
	w_format(&t->witness, 1 << 20, 1, 65536, 4);
	w_boot(&t->guest, 1);
	w_boot(&t->witness, 2);
	dlog_region_clock(&t->witness.rg, 0, 0, WALL, 0);
	t->id = dlog_catalog_add(&t->witness.rg, 1, "dlog:clock", FIELDS, "",
				 buf, sizeof(buf));
	assert_true(t->id > 0);
}

static void put(struct two *t, const struct pair *p, size_t len)
{
	assert_int_equal(dlog_ring_append(&t->witness.ring[0],
					  DLOG_TYPE(DLOG_KIND_EVENT, t->id),
					  ++t->witness.now, p, len),
			 0);
}

static void pair(struct two *t, uint32_t boot, uint64_t guest, uint64_t early,
		 uint64_t late)
{
	struct pair p = {
		.boot = boot,
		.guest = guest,
		.early = early,
		.late = late,
	};

	memcpy(p.uuid, t->guest.rg.sb.uuid, 16);
	put(t, &p, sizeof(p));
}

static int learn(struct two *t)
{
	t->g = w_open(&t->guest);
	t->w = w_open(&t->witness);
	return dlog_learn_clock(t->g, t->w);
}

static void end(struct two *t)
{
	dlog_close(t->g);
	dlog_close(t->w);
	w_free(&t->guest);
	w_free(&t->witness);
}

/* Where @time of the guest's boot lies on the witness' clock. */
static uint64_t at(struct two *t, uint32_t boot, uint64_t time)
{
	return dlog_real_time(t->g, boot, time) - WALL;
}

static void alike(void **state)
{
	struct dlog_clock_relation rel;
	struct two t;

	(void)state;
	begin(&t);
	for (uint64_t i = 1; i <= 10; i++)
		pair(&t, 1, i * S, i * S + 7 * S - MS, i * S + 7 * S + MS);
	assert_int_equal(learn(&t), 10);
	assert_int_equal(at(&t, 1, 0), 7 * S);
	assert_int_equal(at(&t, 1, S), 8 * S);
	assert_int_equal(at(&t, 1, 5 * S + 123456789), 12 * S + 123456789);
	assert_int_equal(at(&t, 1, 100 * S), 107 * S);
	assert_int_equal(dlog_get_clock(t.g, 0, &rel), 1);
	assert_ptr_equal(rel.witness, t.w);
	assert_int_equal(rel.boot, 1);
	assert_int_equal(rel.pairs, 10);
	assert_int_equal(rel.from, S);
	assert_int_equal(rel.to, 10 * S);
	assert_int_equal(rel.bound, MS);
	assert_int_equal(rel.jumps, 0);
	assert_int_equal(dlog_get_clock(t.g, 1, &rel), 0);
	/* Of another boot nothing was seen: its own table, which has none. */
	assert_int_equal(dlog_real_time(t.g, 3, S), 0);
	/* Once is enough. */
	assert_int_equal(dlog_learn_clock(t.g, t.w), 0);
	assert_int_equal(dlog_learn_clock(t.g, t.g), 0);
	assert_int_equal(dlog_learn_clock(t.w, t.g), 0);
	end(&t);
}

/* One clock is 1/1000 faster: linear between, and the bound says as much. */
static void drifting(void **state)
{
	struct dlog_clock_relation rel;
	struct two t;

	(void)state;
	begin(&t);
	pair(&t, 1, S, S, S);
	pair(&t, 1, 2 * S, 2 * S + MS, 2 * S + MS);
	pair(&t, 1, 4 * S, 4 * S + 3 * MS, 4 * S + 3 * MS);
	assert_int_equal(learn(&t), 3);
	assert_int_equal(at(&t, 1, S + 500 * MS), S + 500 * MS + MS / 2);
	assert_int_equal(at(&t, 1, 3 * S), 3 * S + 2 * MS);
	assert_int_equal(dlog_get_clock(t.g, 0, &rel), 1);
	assert_int_equal(rel.bound, 2 * MS);
	end(&t);
}

static void stopped(void **state)
{
	struct dlog_clock_relation rel;
	struct two t;

	(void)state;
	begin(&t);
	pair(&t, 1, 1 * S, 1 * S, 1 * S);
	pair(&t, 1, 2 * S, 2 * S, 2 * S);
	pair(&t, 1, 4 * S, 9 * S, 9 * S); /* stood for 5 s */
	pair(&t, 1, 5 * S, 10 * S, 10 * S);
	assert_int_equal(learn(&t), 4);
	assert_int_equal(at(&t, 1, 2 * S + 900 * MS), 2 * S + 900 * MS);
	assert_int_equal(at(&t, 1, 3 * S + 100 * MS), 8 * S + 100 * MS);
	assert_int_equal(dlog_get_clock(t.g, 0, &rel), 1);
	assert_int_equal(rel.jumps, 1);
	assert_int_equal(rel.jumped, 5 * S);
	assert_int_equal(rel.bound, 0);
	end(&t);
}

/* A pair that tells little gives way to its neighbour. */
static void wide(void **state)
{
	struct dlog_clock_relation rel;
	struct two t;

	(void)state;
	begin(&t);
	pair(&t, 1, 1 * S, 1 * S, 1 * S + 30 * MS);
	pair(&t, 1, 2 * S, 2 * S - MS, 2 * S + MS);
	pair(&t, 1, 3 * S, 3 * S, 3 * S + 40 * MS);
	pair(&t, 1, 4 * S, 4 * S - MS, 4 * S + MS);
	/* Far from the others it is all there is. */
	pair(&t, 1, 100 * S, 100 * S - 20 * MS, 100 * S + 20 * MS);
	assert_int_equal(learn(&t), 3);
	assert_int_equal(at(&t, 1, 3 * S), 3 * S);
	assert_int_equal(dlog_get_clock(t.g, 0, &rel), 1);
	assert_int_equal(rel.from, 2 * S);
	assert_int_equal(rel.bound, 20 * MS);
	end(&t);
}

static void boots(void **state)
{
	struct dlog_clock_relation rel;
	struct two t;

	(void)state;
	begin(&t);
	for (uint8_t id = 2; id <= 4; id++)
		w_boot(&t.guest, id);
	pair(&t, 1, 1 * S, 1 * S, 1 * S);
	pair(&t, 1, 2 * S, 2 * S, 2 * S);
	pair(&t, 2, 1 * S, 5 * S, 5 * S);
	/* QEMU has been started anew: its clock too. */
	w_boot(&t.witness, 3);
	dlog_region_clock(&t.witness.rg, 0, 0, WALL + 1000 * S, 0);
	pair(&t, 2, 3 * S, 1 * S, 1 * S);
	pair(&t, 4, 1 * S, 9 * S, 9 * S);
	assert_int_equal(learn(&t), 5);
	assert_int_equal(at(&t, 1, 3 * S), 3 * S);
	assert_int_equal(at(&t, 2, 0), 4 * S);
	assert_int_equal(at(&t, 2, 2 * S), 6 * S);
	assert_int_equal(at(&t, 2, 4 * S), 1002 * S);
	assert_int_equal(at(&t, 4, 2 * S), 1010 * S);
	assert_int_equal(dlog_real_time(t.g, 5, S), 0);
	assert_int_equal(dlog_get_clock(t.g, 1, &rel), 1);
	assert_int_equal(rel.boot, 2);
	assert_int_equal(rel.jumps, 0);
	assert_int_equal(dlog_get_clock(t.g, 2, &rel), 1);
	assert_int_equal(rel.boot, 4);
	assert_int_equal(dlog_get_clock(t.g, 3, &rel), 0);
	end(&t);
}

/* What is no pair of this guest, or cannot be. */
static void nonsense(void **state)
{
	struct pair p = { .boot = 1, .guest = S, .early = S, .late = S };
	struct two t;

	(void)state;
	begin(&t);
	put(&t, &p, sizeof(p)); /* another uuid */
	memcpy(p.uuid, t.guest.rg.sb.uuid, 16);
	put(&t, &p, sizeof(p) - 1);
	put(&t, &p, 0);
	pair(&t, 0, S, S, S);
	pair(&t, 1, S, S + 1, S);
	pair(&t, 1, S, 0, UINT64_MAX);
	pair(&t, 1, UINT64_MAX, S, S);
	pair(&t, 1, S, UINT64_MAX, UINT64_MAX);
	pair(&t, 1, 10 * S, 10 * S, 10 * S);
	pair(&t, 1, 10 * S, 11 * S, 11 * S); /* the same time twice */
	pair(&t, 1, 9 * S, 12 * S, 12 * S); /* back */
	pair(&t, 1, 12 * S, 9 * S, 9 * S);
	assert_int_equal(learn(&t), 1);
	assert_int_equal(at(&t, 1, 0), 0);
	/* Any time at all. */
	dlog_real_time(t.g, 1, UINT64_MAX);
	dlog_real_time(t.g, UINT32_MAX, UINT64_MAX / 2);
	end(&t);
}

#define FAR (UINT64_C(1) << 60)

/* One pair that is not true, wherever it is, does no harm to the others. */
static void stray(void **state)
{
	static const struct {
		uint32_t boot;
		uint64_t guest;
	} lie[] = {
		{ 1, FAR },
		{ UINT32_MAX, 5 * S },
		{ UINT32_MAX, FAR },
		{ 2, FAR },
		{ 2, 1 },
		{ 1, 1 },
		{ 3, 5 * S },
	};

	(void)state;
	for (uint64_t i = 0; i < sizeof(lie) / sizeof(lie[0]) * 5; i++) {
		struct dlog_clock_relation rel;
		uint64_t after = i % 5;
		struct two t;

		begin(&t);
		w_boot(&t.guest, 2);
		for (uint64_t k = 0; k <= 8; k++) {
			uint64_t at = 7 * S + k * S;

			if (k)
				pair(&t, 1, k * S, at, at);
			if (k == after)
				pair(&t, lie[i / 5].boot, lie[i / 5].guest,
				     at + S / 2, at + S / 2);
		}
		assert_in_range(learn(&t), 8, 9);
		for (uint64_t k = 1; k <= 8; k++)
			assert_int_equal(at(&t, 1, k * S), 7 * S + k * S);
		assert_int_equal(at(&t, 1, 7 * S + 5), 14 * S + 5);
		/* Before all it may be the first; that is a jump then. */
		assert_int_equal(dlog_get_clock(t.g, 0, &rel), 1);
		assert_int_equal(rel.boot, 1);
		assert_in_range(rel.pairs, 8, 9);
		assert_int_equal(rel.to, 8 * S);
		assert_int_equal(rel.bound, 0);
		assert_int_equal(dlog_get_clock(t.g, 1, &rel), 0);
		end(&t);
	}
}

/* The last of all: nothing contradicts it, but it moves no other. */
static void stray_at_the_end(void **state)
{
	struct dlog_clock_relation rel;
	struct two t;

	(void)state;
	begin(&t);
	for (uint64_t i = 1; i <= 5; i++)
		pair(&t, 1, i * S, i * S, i * S);
	pair(&t, 1, FAR, 6 * S, 6 * S);
	assert_int_equal(learn(&t), 6);
	assert_int_equal(at(&t, 1, 5 * S + 300 * MS), 5 * S + 300 * MS);
	assert_int_equal(at(&t, 1, 5 * S + 700 * MS), 5 * S + 500 * MS);
	assert_int_equal(at(&t, 1, FAR), 6 * S);
	assert_int_equal(dlog_get_clock(t.g, 0, &rel), 1);
	assert_int_equal(rel.jumps, 1);
	assert_int_equal(rel.bound, 0);
	end(&t);
}

/*
 * A pair for each of so many boots, as many as there may be: all are told of,
 * in a time that grows as they do; in any order.
 */
static void many_boots(void **state)
{
	struct dlog_entry e = { .kind = DLOG_KIND_EVENT, .boot = 1 };
	struct pair p = { .early = S, .late = S };
	const uint32_t boots = 60000;
	struct dlog_clock_relation rel;
	struct timespec begun, ended;
	struct two t;

	(void)state;
	begin(&t);
	while (t.guest.rg.boot < boots)
		w_boot(&t.guest, (uint8_t)(t.guest.rg.boot + 1));
	assert_int_equal(learn(&t), 0);
	memcpy(p.uuid, t.guest.rg.sb.uuid, 16);
	e.source = t.w;
	e.arg = (uint32_t)t.id;
	e.data = (const uint8_t *)&p;
	e.len = sizeof(p);
	for (p.boot = 1; p.boot <= boots; p.boot++) {
		p.guest = p.boot;
		assert_int_equal(dlog_learn_entry(t.g, &e), 1);
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begun);
	for (uint32_t i = 0; i < boots; i++) {
		assert_int_equal(dlog_get_clock(t.g, i, &rel), 1);
		assert_int_equal(rel.boot, i + 1);
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ended);
	assert_true(ended.tv_sec - begun.tv_sec < 2);
	assert_int_equal(dlog_get_clock(t.g, boots, &rel), 0);
	for (uint32_t i = boots - 1; i > 10000; i -= 5000) {
		assert_int_equal(dlog_get_clock(t.g, i, &rel), 1);
		assert_int_equal(rel.boot, i + 1);
	}
	assert_int_equal(dlog_get_clock(t.g, 0, &rel), 1);
	assert_int_equal(rel.boot, 1);
	end(&t);
}

/*
 * Anything (less than a century, beyond which times are not believed): the
 * order of a boot's times is kept.
 */
static void random_pairs(void **state)
{
	uint64_t seed = 1;

	(void)state;
	for (int round = 0; round < 300; round++) {
		struct dlog_clock_relation rel;
		uint64_t last = 0;
		struct two t;
		int n;

		begin(&t);
		w_boot(&t.guest, 2);
		for (int i = 0; i < 40; i++) {
			uint64_t v[4];

			for (int k = 0; k < 4; k++) {
				seed = seed * UINT64_C(6364136223846793005) +
				       UINT64_C(1442695040888963407);
				v[k] = seed >> (5 + (seed >> 58) % 50);
			}
			pair(&t, 1 + (uint32_t)(v[3] % 2), v[0], v[1],
			     v[1] + v[2] % (S << (v[3] % 8)));
		}
		n = learn(&t);
		assert_true(n >= 0 && n <= 40);
		for (uint64_t i = 0; i < 1000; i++) {
			uint64_t time = i << 49, real;

			real = dlog_real_time(t.g, 1, time);
			if (!real)
				continue; /* nothing of this boot */
			/* Within the rounding of a double. */
			assert_true(real + 4096 >= last);
			last = real;
		}
		for (uint32_t i = 0; dlog_get_clock(t.g, i, &rel); i++)
			assert_true(rel.pairs && rel.from <= rel.to);
		end(&t);
	}
}

/* More than are kept: every second one is forgotten, none is wrong. */
static void many(void **state)
{
	struct dlog_entry e = { .kind = DLOG_KIND_EVENT };
	struct pair p = { .boot = 1 };
	struct two t;

	(void)state;
	begin(&t);
	pair(&t, 1, 1, 1, 1);
	assert_int_equal(learn(&t), 1);
	memcpy(p.uuid, t.guest.rg.sb.uuid, 16);
	e.source = t.w;
	e.arg = (uint32_t)t.id;
	e.boot = 1;
	e.data = (const uint8_t *)&p;
	e.len = sizeof(p);
	for (uint64_t i = 1; i <= 200000; i++) {
		p.guest = i * MS;
		p.early = p.late = i * MS + S;
		assert_int_equal(dlog_learn_entry(t.g, &e), 1);
	}
	assert_int_equal(at(&t, 1, 100 * S + 1), 101 * S + 1);
	assert_int_equal(at(&t, 1, 199 * S + 1), 200 * S + 1);
	e.source = t.g;
	assert_int_equal(dlog_learn_entry(t.g, &e), 0);
	end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(alike),
		cmocka_unit_test(drifting),
		cmocka_unit_test(stopped),
		cmocka_unit_test(wide),
		cmocka_unit_test(boots),
		cmocka_unit_test(nonsense),
		cmocka_unit_test(many),
		cmocka_unit_test(random_pairs),
		cmocka_unit_test(stray),
		cmocka_unit_test(stray_at_the_end),
		cmocka_unit_test(many_boots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
