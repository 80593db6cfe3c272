// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_blocks.c - the plugin's black box, without QEMU: what put() is given
 * comes out of libdlog again, block by block, with its loops unrolled.
 */
#include <pthread.h>

#include "../../qemu-plugin/blocks.c"
#include "world.h"

#define BLOCKS 400000u

static struct world w;

struct plugin plugin = { .nr_vcpus = 1, .opt.blocks = true };
struct api api;

void tell(const char *format, ...)
{
	(void)format;
}

uint64_t record_now(void)
{
	return w.now++;
}

void record_guard_thread(void)
{
}

static bool stopped;

bool record_stopped(void)
{
	return stopped;
}

struct dlog_ring *record_block_ring(unsigned int vcpu)
{
	return &w.ring[vcpu];
}

static uint32_t rnd(void)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (uint32_t)(x >> 20);
}

static uint64_t some_block(uint32_t of)
{
	uint32_t n = rnd() % of;

	return DLOG_BLOCK(n % 3 ? 0xffffffff81000000 + n * 64 : n * 64,
			  n % DLOG_BLOCK_MAX + 1);
}

/* What a CPU does: stretches of anything, and loops of all lengths. */
static void make(uint64_t *block, uint32_t n)
{
	uint64_t body[40];

	for (uint32_t i = 0; i < n;) {
		uint32_t period = rnd() % 40 + 1;
		uint32_t length = rnd() % 3 ? rnd() % 100 : rnd() % 20000;

		/* Few blocks, so that bodies have the same ones twice. */
		for (uint32_t k = 0; k < period; k++)
			body[k] = some_block(period / 2 + 2);
		for (uint32_t k = 0; k < length && i < n; k++)
			block[i++] = body[k % period];
		for (uint32_t k = rnd() % 50; k && i < n; k--)
			block[i++] = some_block(1000);
	}
}

/* Read all, and compare with the last blocks of @truth; how many there are. */
static uint32_t check(const uint64_t *truth, uint32_t n)
{
	static uint64_t got[BLOCKS];
	struct dlog *d = w_open(&w);
	uint64_t executed = 0, before = 0;
	struct dlog_reader *r;
	struct dlog_entry e;
	uint32_t nr = 0;

	assert_int_equal(dlog_reader_new(&r, &d, 1, DLOG_READER_BLOCKS, NULL),
			 0);
	while (dlog_reader_next(r, &e, 0) > 0) {
		uint64_t count = dlog_load64(e.data);

		assert_int_equal(e.kind, DLOG_KIND_BLOCKS);
		assert_true(!nr || count == executed);
		if (!nr)
			before = executed = count;
		for (size_t i = 8; i + 8 <= e.len; i += 8) {
			uint64_t word = dlog_load64(e.data + i), times = 1;
			uint32_t period = 0;

			if (!word)
				break;
			if (!DLOG_BLOCK_INSNS(word)) {
				period = DLOG_REPEAT_PERIOD(word);
				times = DLOG_REPEAT_BLOCKS(word);
				assert_in_range(period, 1, DLOG_REPEAT_MAX);
				assert_true(times > 0);
				/* Of what is overwritten nothing is known. */
				assert_true(period <= nr);
			}
			for (; times; times--) {
				assert_true(nr < BLOCKS);
				got[nr] = period ? got[nr - period] : word;
				executed += DLOG_BLOCK_INSNS(got[nr++]);
			}
		}
	}
	dlog_reader_free(r);
	dlog_close(d);
	assert_true(nr <= n);
	assert_memory_equal(got, truth + (n - nr), nr * sizeof(*got));
	for (uint32_t i = 0; i < n - nr; i++)
		before -= DLOG_BLOCK_INSNS(truth[i]);
	assert_int_equal(before, 0);
	return nr;
}

static void start(uint64_t size)
{
	w_format(&w, size, 1, 4096, 4);
	w_boot(&w, 1);
	assert_int_equal(blocks_start(), 0);
}

static void stop(void)
{
	free(vcpus);
	w_free(&w);
}

static void put_all(const uint64_t *block, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		put(0, (void *)(uintptr_t)block[i]);
}

static void all_of_it(void **state)
{
	static uint64_t block[BLOCKS];
	uint64_t sum = 0;

	(void)state;
	make(block, BLOCKS);
	for (uint32_t i = 0; i < BLOCKS; i++)
		sum += DLOG_BLOCK_INSNS(block[i]);
	start(8 << 20);
	put_all(block, BLOCKS);
	assert_int_equal(blocks_executed(0), sum);
	/* Before the end and behind it. */
	assert_int_equal(check(block, BLOCKS), BLOCKS);
	blocks_stop();
	assert_int_equal(check(block, BLOCKS), BLOCKS);
	stop();
}

/* At every length: the open record has all that was put. */
static void at_any_time(void **state)
{
	static uint64_t block[3000];

	(void)state;
	make(block, 3000);
	start(1 << 20);
	for (uint32_t i = 0; i < 3000; i++) {
		put(0, (void *)(uintptr_t)block[i]);
		assert_int_equal(check(block, i + 1), i + 1);
	}
	stop();
}

/* A loop takes next to nothing of the ring, and what led there stays. */
static void a_hang(void **state)
{
	static uint64_t block[BLOCKS];
	uint64_t position, records;

	(void)state;
	for (uint32_t period = 1; period <= DLOG_REPEAT_MAX; period++) {
		for (uint32_t i = 0; i < BLOCKS; i++)
			block[i] = i < 100 ? DLOG_BLOCK(i * 8, 3)
				   : i == 100 + period - 1
					   ? DLOG_BLOCK(0xfff0, 2)
					   /* the same block twice, and more */
					   : DLOG_BLOCK(0x1000 + i % 2, 1);
		for (uint32_t i = 100 + period; i < BLOCKS; i++)
			block[i] = block[i - period];
		start(128 << 10);
		put_all(block, BLOCKS);
		dlog_ring_tell(&w.ring[0], &position, &records);
		/* One round for each lag, and the blocks that show it. */
		assert_true(records * 62 <
			    100 + (DLOG_REPEAT_MAX + 1) * (period + 1) + 200);
		assert_int_equal(check(block, BLOCKS), BLOCKS);
		stop();
	}
}

/* A ring that is full of it: the oldest goes first. */
static void overwritten(void **state)
{
	static uint64_t block[BLOCKS];

	(void)state;
	for (uint32_t i = 0; i < BLOCKS; i++)
		block[i] = some_block(100000);
	start(256 << 10);
	put_all(block, BLOCKS);
	assert_in_range(check(block, BLOCKS), 20000, 40000);
	stop();
}

/* Stopped and started again in a loop: nothing of the time in between. */
static void stopped_in_a_loop(void **state)
{
	const uint64_t body[2] = { DLOG_BLOCK(0x1000, 3),
				   DLOG_BLOCK(0x2000, 2) };
	static uint64_t block[1000], got[1000];
	uint64_t position, records, later;
	struct dlog_reader *r;
	struct dlog_entry e;
	uint64_t gap = 0, executed = 0;
	uint32_t nr = 0;
	struct dlog *d;

	(void)state;
	for (uint32_t i = 0; i < 1000; i++)
		block[i] = body[i % 2];
	start(1 << 20);
	put_all(block, 1000);
	stopped = true;
	put_all(block, 1000);
	/* Committed, and no more of it. */
	assert_int_equal(check(block, 1000), 1000);
	dlog_ring_tell(&w.ring[0], &position, &records);
	put_all(block, 1000);
	dlog_ring_tell(&w.ring[0], &position, &later);
	assert_int_equal(records, later);
	stopped = false;
	put_all(block, 1000);
	assert_int_equal(blocks_executed(0), 10000);

	d = w_open(&w);
	assert_int_equal(dlog_reader_new(&r, &d, 1, DLOG_READER_BLOCKS, NULL),
			 0);
	while (dlog_reader_next(r, &e, 0) > 0) {
		gap += dlog_load64(e.data) - executed;
		executed = dlog_load64(e.data);
		for (size_t i = 8; i + 8 <= e.len; i += 8) {
			uint64_t word = dlog_load64(e.data + i), n = 1;

			if (!DLOG_BLOCK_INSNS(word) && word) {
				n = DLOG_REPEAT_BLOCKS(word);
				word = 0;
			} else if (!word) {
				break;
			}
			for (; n; n--) {
				got[nr % 1000] =
					word ? word
					     : got[(nr + 1000 - 2) % 1000];
				executed += DLOG_BLOCK_INSNS(got[nr++ % 1000]);
			}
		}
	}
	dlog_reader_free(r);
	dlog_close(d);
	assert_int_equal(nr, 2000);
	assert_int_equal(gap, 5000);
	assert_memory_equal(got, block, sizeof(got));
	stop();
}

static bool enough;

static void *a_vcpu(void *arg)
{
	(void)arg;
	for (uint64_t i = 1; !__atomic_load_n(&enough, __ATOMIC_RELAXED); i++)
		put(0, (void *)(uintptr_t)DLOG_BLOCK(i * 8 & 0xffff, 1));
	return NULL;
}

/* QEMU may end in another vCPU's thread: nothing is stored elsewhere. */
static void ended_while_it_runs(void **state)
{
	pthread_t thread;

	(void)state;
	start(1 << 20);
	enough = false;
	assert_int_equal(pthread_create(&thread, NULL, a_vcpu, NULL), 0);
	for (uint32_t i = 0; i < 300000; i++)
		blocks_stop();
	__atomic_store_n(&enough, true, __ATOMIC_RELAXED);
	assert_int_equal(pthread_join(thread, NULL), 0);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_of_it),
		cmocka_unit_test(at_any_time),
		cmocka_unit_test(a_hang),
		cmocka_unit_test(overwritten),
		cmocka_unit_test(stopped_in_a_loop),
		cmocka_unit_test(ended_while_it_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
