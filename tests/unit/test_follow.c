// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_follow.c - reading a region that is being written: following,
 * records in flight, boots that begin meanwhile, writers that lap us.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "world.h"

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

struct follow {
	struct world w;
	struct dlog *d;
	struct dlog_reader *r;
};

static void follow_begin(struct follow *f, uint32_t rings, unsigned int flags)
{
	f->d = w_open(&f->w);
	(void)rings;
	assert_int_equal(dlog_reader_new(&f->r, &f->d, 1,
					 DLOG_READER_FOLLOW | flags, NULL),
			 0);
}

static void follow_end(struct follow *f)
{
	dlog_reader_free(f->r);
	dlog_close(f->d);
	w_free(&f->w);
}

/* Read all there is; each is right and new.  Returns how many. */
static uint32_t drain(struct follow *f, int timeout)
{
	struct dlog_entry e;
	uint32_t n = 0;

	while (dlog_reader_next(f->r, &e, timeout) > 0) {
		w_match(&f->w, &e);
		n++;
	}
	return n;
}

#define PATIENCE 60 /* ms: more than the slowest ordinary poll takes */

/*
 * @n records behind one that nobody finishes, which the reader waits for: a
 * busy machine may take its time.
 */
static void drain_behind(struct follow *f, uint32_t n)
{
	uint32_t got = 0;

	for (uint32_t tries = 0; got < n && tries < 30; tries++)
		got += drain(f, 700);
	drain(f, PATIENCE);
}

static void lines(void **state)
{
	struct follow f;

	(void)state;
	w_format(&f.w, 1 << 17, 2, 4096, 8);
	follow_begin(&f, 2, 0);
	assert_int_equal(drain(&f, 0), 0);
	w_boot(&f.w, 1);
	for (uint32_t i = 0; i < 500; i++) {
		for (uint32_t k = 0; k < i % 7; k++)
			w_line(&f.w, k % 2);
		if (i % 5 == 0)
			drain(&f, i % 50 ? 0 : PATIENCE);
		if (i % 100 == 99)
			w_boot(&f.w, (uint8_t)(2 + i / 100));
	}
	drain(&f, PATIENCE);
	for (uint32_t i = 0; i < f.w.n; i++)
		assert_true(f.w.t[i].seen);
	assert_int_equal(dlog_reader_missed(f.r), 0);
	follow_end(&f);
}

static void only_new(void **state)
{
	struct follow f;
	uint32_t old;

	(void)state;
	w_format(&f.w, 1 << 17, 2, 4096, 8);
	w_boot(&f.w, 1);
	for (uint32_t i = 0; i < 333; i++)
		w_line(&f.w, i % 2);
	old = f.w.n;
	follow_begin(&f, 2, DLOG_READER_NEW);
	assert_int_equal(drain(&f, 0), 0);
	for (uint32_t i = 0; i < 100; i++) {
		w_line(&f.w, i % 2);
		drain(&f, 0);
	}
	drain(&f, PATIENCE);
	for (uint32_t i = 0; i < f.w.n; i++)
		assert_int_equal(f.w.t[i].seen, i >= old);
	follow_end(&f);
}

/* Records behind sub-buffers in which nothing was ever stored. */
static void entered_and_stopped(void **state)
{
	(void)state;
	for (uint32_t empty = 0; empty < 7; empty++) {
		struct follow f;
		struct truth *t;
		uint32_t old;

		w_format(&f.w, 1 << 18, 1, 4096, 8);
		w_boot(&f.w, 1);
		follow_begin(&f, 1, 0);
		w_line(&f.w, 0);
		drain(&f, PATIENCE);
		for (uint32_t i = 0; i <= empty; i++) {
			w_partial(&f.w, 0, 4000, 0, &t);
			t->fate = FATE_TORN;
		}
		old = f.w.n;
		/* Behind the last of them, in a sub-buffer without START. */
		w_partial(&f.w, 0, 100, 2, &t);
		t->fate = FATE_TORN;
		w_line(&f.w, 0);
		/* It is found sooner where a heartbeat tells of it. */
		if (empty)
			dlog_region_beat(&f.w.rg, 0, 0, &f.w.ring[0], f.w.now,
					 true);
		for (uint32_t i = 0; i < 400 && !f.w.t[f.w.n - 1].seen; i++)
			drain(&f, PATIENCE);
		assert_int_equal(f.w.t[f.w.n - 1].seen, 1);
		assert_true(old < f.w.n);
		follow_end(&f);
	}
}

/*
 * A record stays in flight (after @steps stores) while others are appended;
 * then it is finished, and given late or in its place, once.
 */
static void in_flight_one(uint32_t steps, uint32_t others, uint32_t before)
{
	struct truth *t, copy;
	struct follow f;
	uint8_t done[256], *p;
	uint32_t n;

	w_format(&f.w, 1 << 17, 1, 4096, 8);
	w_boot(&f.w, 1);
	for (uint32_t i = 0; i < before; i++)
		w_line(&f.w, 0);
	follow_begin(&f, 1, 0);
	assert_int_equal(drain(&f, 0), before);
	n = w_partial(&f.w, 0, 100, UINT32_MAX, &t);
	copy = *t;
	p = w_at(&f.w, 0, copy.position);
	memcpy(done, p, 120);
	/* The same once more, but stopped. */
	memset(p, 0, 120);
	for (uint32_t i = 0; i < 15 && i < steps; i++)
		memcpy(p + i * 8, done + i * 8, 8);
	if (steps) {
		uint32_t open = dlog_hash_open(
			dlog_hash_start(dlog_region_seed(&f.w.rg, 0),
					copy.position, dlog_load32(done + 4)));
		memcpy(p, &open, 4);
	}
	(void)n;
	assert_int_equal(drain(&f, PATIENCE), 0);
	for (uint32_t i = 0; i < others; i++) {
		w_line(&f.w, 0);
		if (i % 3 == 0)
			drain(&f, 0);
	}
	drain(&f, PATIENCE);
	/* The others are not kept back. */
	for (uint32_t i = before + 1; i < f.w.n; i++)
		assert_true(f.w.t[i].seen);
	assert_false(f.w.t[before].seen);
	memcpy(p + 8, done + 8, 112);
	memcpy(p + 4, done + 4, 4);
	__atomic_store_n((uint32_t *)p, dlog_load32(done), __ATOMIC_RELEASE);
	assert_int_equal(drain(&f, PATIENCE), 1);
	assert_true(f.w.t[before].seen);
	follow_end(&f);
}

static void in_flight(void **state)
{
	static const uint32_t others[] = { 0, 1, 5, 100, 300 };

	(void)state;
	for (uint32_t o = 0; o < 5; o++)
		for (uint32_t steps = 0; steps <= 15; steps += 5)
			in_flight_one(steps, others[o], 20 + o * 7);
}

/* A START that is never finished: what others write behind it is shown. */
static void start_in_flight(void **state)
{
	struct truth *t;
	struct follow f;

	(void)state;
	/* Nothing of it; its open check; all but its last store. */
	for (uint32_t steps = 0; steps < 7; steps += 3) {
		w_format(&f.w, 1 << 17, 1, 4096, 8);
		w_boot(&f.w, 1);
		while ((4096 - f.w.next[0] % 4096) % 4096 >= 120 || f.w.n < 30)
			w_line(&f.w, 0);
		follow_begin(&f, 1, 0);
		drain(&f, 0);
		w_partial(&f.w, 0, 100, steps, &t);
		for (uint32_t i = 0; i < 5; i++)
			w_line(&f.w, 0);
		drain_behind(&f, 5);
		for (uint32_t i = 0; i < f.w.n; i++)
			assert_int_equal(f.w.t[i].seen,
					 &f.w.t[i] != &f.w.t[f.w.n - 6]);
		for (uint32_t i = 0; i < 200; i++)
			w_line(&f.w, 0);
		drain(&f, 700);
		assert_true(f.w.t[f.w.n - 1].seen);
		follow_end(&f);
	}
}

/* The same in the first sub-buffer of a boot that begins while we follow. */
static void first_start_in_flight(void **state)
{
	struct truth *t;
	struct follow f;

	(void)state;
	for (uint32_t old = 0; old < 2; old++) {
		w_format(&f.w, 1 << 17, 1, 4096, 8);
		if (old) {
			w_boot(&f.w, 1);
			w_line(&f.w, 0);
		}
		follow_begin(&f, 1, 0);
		drain(&f, PATIENCE);
		w_boot(&f.w, 2);
		w_partial(&f.w, 0, 100, 3, &t);
		for (uint32_t i = 0; i < 5; i++)
			w_line(&f.w, 0);
		drain_behind(&f, 5);
		for (uint32_t i = 0; i < f.w.n; i++)
			assert_int_equal(f.w.t[i].seen,
					 &f.w.t[i] != &f.w.t[f.w.n - 6]);
		follow_end(&f);
	}
}

/* Lapped: go on with the oldest that is left, and say how many are gone. */
static void lapped(void **state)
{
	uint64_t seen = 0, gone = 0;
	struct follow f;

	(void)state;
	w_format(&f.w, 1 << 17, 2, 4096, 8);
	w_boot(&f.w, 1);
	follow_begin(&f, 2, 0);
	for (uint32_t round = 0; round < 20; round++) {
		for (uint32_t i = 0; i < 600 * (round % 10); i++)
			w_line(&f.w, i % 2);
		seen += drain(&f, PATIENCE);
		w_settle(&f.w);
	}
	for (uint32_t i = 0; i < 10; i++)
		w_line(&f.w, i % 2);
	for (uint32_t i = 0; i < f.w.n; i++)
		f.w.t[i].seen = false;
	seen += drain(&f, PATIENCE);
	gone = dlog_reader_missed(f.r);
	assert_true(gone > 1000);
	assert_int_equal(seen + gone, f.w.n);
	follow_end(&f);
}

/* An open piece is held for its continuation, but not for long. */
static void open_piece(void **state)
{
	static const char text[] = "no newline";
	struct dlog_entry e;
	struct follow f;
	uint64_t t0;

	(void)state;
	w_format(&f.w, 1 << 17, 1, 4096, 8);
	w_boot(&f.w, 1);
	follow_begin(&f, 1, 0);
	assert_int_equal(dlog_reader_next(f.r, &e, 0), 0);
	dlog_ring_append_tagged(&f.w.ring[0], DLOG_TYPE(DLOG_KIND_PRINTK, 6),
				50, 7 | DLOG_CALLER_OPEN, text, 10);
	t0 = clock_ns(CLOCK_MONOTONIC);
	assert_int_equal(dlog_reader_next(f.r, &e, 20), 0);
	dlog_ring_append_tagged(&f.w.ring[0], DLOG_TYPE(DLOG_KIND_PRINTK, 6),
				50, 7 | DLOG_CALLER_CONT | DLOG_CALLER_OPEN,
				text, 10);
	assert_int_equal(dlog_reader_next(f.r, &e, 1000), 1);
	assert_int_equal(e.len, 20);
	assert_memory_equal(e.data, "no newlineno newline", 20);
	assert_true(clock_ns(CLOCK_MONOTONIC) - t0 < 400000000u);
	follow_end(&f);
}

/* Two guests in one view: by wall clock, not by each guest's own. */
static void two_sources(void **state)
{
	uint64_t last = 0;
	struct dlog_reader *r;
	struct dlog *d[2];
	struct dlog_entry e;
	struct world w[2];
	uint32_t n = 0;

	(void)state;
	for (int i = 0; i < 2; i++) {
		w_format(&w[i], 1 << 17, 2, 4096, 8);
		w_boot(&w[i], 1);
		/* Guest 1 booted 500 ns later. */
		dlog_region_clock(&w[i].rg, 0, 0, 1600000000000000000u, 0);
		if (i)
			dlog_region_clock(&w[i].rg, 1, 500,
					  1600000000000001000u, 0);
		for (uint32_t k = 0; k < 300; k++) {
			w_line(&w[i], k % 2);
			w[i].now += k % 5;
		}
		d[i] = w_open(&w[i]);
	}
	assert_int_equal(dlog_reader_new(&r, d, 2, 0, NULL), 0);
	while (dlog_reader_next(r, &e, 0) > 0) {
		uint32_t i = e.source == d[1];

		w_match(&w[i], &e);
		assert_int_equal(e.real,
				 1600000000000000000u + e.time + i * 500);
		assert_true(e.real >= last);
		last = e.real;
		n++;
	}
	assert_int_equal(n, 600);
	dlog_reader_free(r);
	for (int i = 0; i < 2; i++) {
		dlog_close(d[i]);
		w_free(&w[i]);
	}
}

/* ---- threads: a writer at full speed ---- */

struct writer {
	struct world *w;
	uint32_t ring;
	uint64_t wait_ns; /* between two records, 0: none */
	uint64_t count; /* to write, 0: until stop */
	atomic_bool stop;
	atomic_ullong written;
};

/* Text that any reader can check without having been told. */
static uint32_t number_text(uint32_t ring, uint64_t n, uint64_t stamp,
			    uint8_t *buf)
{
	uint64_t x = n * 0x9e3779b97f4a7c15u + ring;
	uint32_t len = 24 + (uint32_t)(x >> 58);

	memcpy(buf, &n, 8);
	memcpy(buf + 8, &stamp, 8);
	for (uint32_t i = 16; i < len; i++)
		buf[i] = (uint8_t)((x >> i % 8 * 8) + i + stamp);
	return len;
}

static void *writer_run(void *arg)
{
	struct writer *wr = arg;
	uint8_t buf[128];

	for (uint64_t n = 0; !atomic_load(&wr->stop); n++) {
		uint64_t stamp;
		uint32_t len;

		if (wr->count && n == wr->count)
			break;
		if (wr->wait_ns) {
			struct timespec ts = { 0, (long)wr->wait_ns };

			nanosleep(&ts, NULL);
		}
		stamp = clock_ns(CLOCK_MONOTONIC);
		len = number_text(wr->ring, n, stamp, buf);
		dlog_ring_append(&wr->w->ring[wr->ring], W_TEXT, stamp, buf,
				 len);
		atomic_store(&wr->written, n + 1);
	}
	return NULL;
}

/* The number in a record that must be right to the last byte. */
static uint64_t check_number(const struct dlog_entry *e)
{
	uint64_t n = dlog_load64(e->data), stamp = dlog_load64(e->data + 8);
	uint8_t buf[128];

	assert_int_equal(e->time, stamp);
	assert_int_equal(e->len, number_text(e->ring, n, stamp, buf));
	assert_memory_equal(e->data, buf, e->len);
	return n;
}

/* The region as a file, as a VMM has it: mapped and shared. */
static int as_file(struct world *w, char *path)
{
	int fd;

	strcpy(path, "/tmp/dlog-test-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, w->mem, w->size), (ssize_t)w->size);
	return fd;
}

#define LINES 200u
#define WINDOWS 20u

/* Of a reader with nothing to do, ns in each second: 1 % of a core. */
#ifdef __SANITIZE_ADDRESS__
#define IDLE_MAX 30000000u /* its checks double the cost */
#else
#define IDLE_MAX 10000000u
#endif

static int u64_order(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/*
 * CPU time of a reader with nothing to do, ns in each second: the median of
 * many short times.  What else runs on the machine makes some of them dearer
 * (caches, a hypervisor that takes the CPU away); a reader that does too much,
 * if only at every few polls, makes most of them so.
 */
static uint64_t idle_cost(struct dlog_reader *r)
{
	uint64_t cost[WINDOWS];
	struct dlog_entry e;

	for (uint32_t i = 0; i < WINDOWS; i++) {
		uint64_t cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
		uint64_t wall = clock_ns(CLOCK_MONOTONIC);

		assert_int_equal(dlog_reader_next(r, &e, 100), 0);
		cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
		wall = clock_ns(CLOCK_MONOTONIC) - wall;
		cost[i] = cpu * 1000000000u / wall;
	}
	qsort(cost, WINDOWS, sizeof(*cost), u64_order);
	return cost[WINDOWS / 2];
}

static void latency_and_idle(void **state)
{
	struct writer wr = { .ring = 1, .wait_ns = 7000000, .count = LINES };
	uint64_t age[LINES], next = 0, idle;
	struct dlog_reader *r;
	struct dlog_entry e;
	struct world w;
	struct dlog *d;
	pthread_t thread;
	char path[64];
	void *heap;
	int fd;

	(void)state;
	w_format(&w, 1 << 20, 4, 16384, 4);
	fd = as_file(&w, path);
	heap = w.mem;
	w.mem = mmap(NULL, w.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(w.mem != MAP_FAILED);
	dlog_region_open(&w.rg, w.mem, w.size);
	w_boot(&w, 1);
	wr.w = &w;
	assert_int_equal(dlog_open(&d, path, 0, NULL), 0);
	unlink(path);
	assert_int_equal(dlog_reader_new(&r, &d, 1, DLOG_READER_FOLLOW, NULL),
			 0);
	assert_int_equal(pthread_create(&thread, NULL, writer_run, &wr), 0);
	while (next < LINES && dlog_reader_next(r, &e, 2000) == 1) {
		age[next] = clock_ns(CLOCK_MONOTONIC) - e.time;
		assert_int_equal(check_number(&e), next++);
	}
	pthread_join(thread, NULL);
	assert_int_equal(next, LINES);
	qsort(age, LINES, sizeof(*age), u64_order);
	idle = idle_cost(r);
	print_message("lines after %.1f ms, 1 in 10 after %.1f ms or more, "
		      "idle %.3f %% of a core\n",
		      (double)age[LINES / 2] / 1e6,
		      (double)age[LINES * 9 / 10] / 1e6, (double)idle / 1e7);
	/* A loaded machine may not run us for a while, now and then. */
	assert_true(age[LINES / 2] < 50000000u);
	assert_true(age[LINES * 9 / 10] < 250000000u);
	assert_true(idle < IDLE_MAX);
	dlog_reader_free(r);
	dlog_close(d);
	munmap(w.mem, w.size);
	w.mem = heap;
	close(fd);
	w_free(&w);
}

/* Full speed on two rings, followed, and read whole again and again. */
static void full_speed(void **state)
{
	struct writer wr[2] = { { .ring = 0 }, { .ring = 1 } };
	uint64_t next[2] = { 0 }, until, seen = 0, whole = 0, gone, total;
	struct dlog_reader *r, *once;
	struct dlog_loss *l;
	struct dlog_entry e;
	struct world w;
	struct dlog *d, *d2;
	pthread_t thread[2];

	(void)state;
	w_format(&w, 1 << 20, 2, 4096, 4);
	w_boot(&w, 1);
	d = w_open(&w);
	d2 = w_open(&w);
	assert_int_equal(dlog_reader_new(&r, &d, 1, DLOG_READER_FOLLOW, NULL),
			 0);
	/* A reader begins, and counts, with its first call. */
	assert_int_equal(dlog_reader_next(r, &e, 0), 0);
	for (int i = 0; i < 2; i++) {
		wr[i].w = &w;
		assert_int_equal(
			pthread_create(&thread[i], NULL, writer_run, &wr[i]),
			0);
	}
	until = clock_ns(CLOCK_MONOTONIC) + 2000000000u;
	while (clock_ns(CLOCK_MONOTONIC) < until) {
		uint64_t last[2] = { 0 };
		int n;

		for (int i = 0; i < 20000; i++) {
			uint64_t number;

			if (dlog_reader_next(r, &e, 0) != 1)
				break;
			number = check_number(&e);
			/* Ours comes once, in order: nothing is nested. */
			assert_true(number >= next[e.ring]);
			next[e.ring] = number + 1;
			seen++;
		}
		assert_int_equal(dlog_reader_new(&once, &d2, 1, 0, NULL), 0);
		while (dlog_reader_next(once, &e, 0) == 1) {
			uint64_t number = check_number(&e) + 1;

			assert_true(number > last[e.ring]);
			last[e.ring] = number;
			whole++;
		}
		dlog_reader_free(once);
		n = dlog_get_loss(d2, &l);
		assert_int_equal(n, 2);
		for (int i = 0; i < n; i++) {
			/* Nothing is damaged here; one may be in flight. */
			assert_true(l[i].torn <= 1);
			assert_int_equal(l[i].corrupt, 0);
		}
		free(l);
	}
	for (int i = 0; i < 2; i++) {
		atomic_store(&wr[i].stop, true);
		pthread_join(thread[i], NULL);
	}
	while (dlog_reader_next(r, &e, 100) == 1) {
		assert_true(check_number(&e) >= next[e.ring]);
		next[e.ring] = check_number(&e) + 1;
		seen++;
	}
	gone = dlog_reader_missed(r);
	for (int i = 0; i < 2; i++)
		assert_int_equal(next[i], atomic_load(&wr[i].written));
	print_message("%llu followed, %llu missed, %llu read whole\n",
		      (unsigned long long)seen, (unsigned long long)gone,
		      (unsigned long long)whole);
	/*
	 * missed is a lower bound: a record in flight when it was seen, and
	 * overwritten before it was looked at again, is in neither.
	 */
	total = atomic_load(&wr[0].written) + atomic_load(&wr[1].written);
	assert_true(seen + gone <= total);
	assert_true(total - seen - gone < total / 1000 + 10);
	dlog_reader_free(r);
	dlog_close(d);
	dlog_close(d2);
	w_free(&w);
}

/* ---- a writer that has nothing for us, and does not end ---- */

enum nothing {
	NO_RECORDS, /* sub-buffers with a START and no more */
	HIDDEN, /* records of kind BLOCKS */
	PIECES, /* of a line, empty, without end */
};

struct nothing_writer {
	struct world w;
	enum nothing what;
	uint64_t position, records;
	uint32_t written, most; /* sub-buffers */
};

/* It writes a sub-buffer as often as the reader reads one. */
static struct nothing_writer *writes_on;

static void write_nothing(struct nothing_writer *wr)
{
	uint64_t seed = dlog_region_seed(&wr->w.rg, 0);
	uint8_t *p = w_at(&wr->w, 0, wr->position), block[16] = { 0 };
	struct dlog_start s = { .position = wr->position,
				.records = wr->records,
				.boot = 1 };

	if (wr->written++ >= wr->most)
		return;
	for (uint32_t i = 0; wr->what == PIECES && i < 169; i++)
		dlog_ring_append_tagged(
			&wr->w.ring[0], DLOG_TYPE(DLOG_KIND_PRINTK, 6), 50,
			7 | DLOG_CALLER_CONT | DLOG_CALLER_OPEN, "", 0);
	if (wr->what == PIECES)
		return;
	dlog_record_write(p, seed, wr->position, DLOG_TYPE(DLOG_KIND_START, 0),
			  wr->records, false, 0, &s, sizeof(s));
	if (wr->what == HIDDEN)
		dlog_record_write(p + DLOG_START_SIZE, seed,
				  wr->position + DLOG_START_SIZE,
				  DLOG_TYPE(DLOG_KIND_BLOCKS, 0), wr->records++,
				  false, 0, block, sizeof(block));
	wr->position += w_subbuf(&wr->w);
}

/* In place of the C library's, for libdlog too. */
ssize_t pread(int fd, void *buf, size_t len, off_t off)
{
	struct iovec v = { buf, len };

	if (writes_on && len >= w_subbuf(&writes_on->w))
		write_nothing(writes_on);
	return preadv(fd, &v, 1, off);
}

/* Each call comes back, whatever is written meanwhile. */
static void nothing_for_us(enum nothing what)
{
	struct nothing_writer wr = { .what = what, .most = 20000 };
	uint32_t worst = 0;
	struct dlog_reader *r;
	struct dlog_entry e;
	struct dlog *d;
	char path[64];
	void *heap;
	int fd;

	w_format(&wr.w, 1 << 18, 1, 4096, 8);
	fd = as_file(&wr.w, path);
	heap = wr.w.mem;
	wr.w.mem = mmap(NULL, wr.w.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			0);
	assert_true(wr.w.mem != MAP_FAILED);
	dlog_region_open(&wr.w.rg, wr.w.mem, wr.w.size);
	w_boot(&wr.w, 1);
	for (uint32_t i = 0; i < 8; i++)
		write_nothing(&wr);
	assert_int_equal(dlog_open(&d, path, 0, NULL), 0);
	unlink(path);
	assert_int_equal(dlog_reader_new(&r, &d, 1, DLOG_READER_FOLLOW, NULL),
			 0);
	writes_on = &wr;
	for (uint32_t i = 0; i < 20; i++) {
		uint32_t before = wr.written;

		dlog_reader_next(r, &e, 0);
		if (wr.written - before > worst)
			worst = wr.written - before;
	}
	/* One that may wait does, and no longer than it shall. */
	wr.most = UINT32_MAX;
	if (what != PIECES)
		assert_int_equal(dlog_reader_next(r, &e, 50), 0);
	writes_on = NULL;
	print_message("%u sub-buffers in a call\n", worst);
	assert_true(worst < 1000);
	dlog_reader_free(r);
	dlog_close(d);
	munmap(wr.w.mem, wr.w.size);
	wr.w.mem = heap;
	close(fd);
	w_free(&wr.w);
}

static void no_records(void **state)
{
	(void)state;
	nothing_for_us(NO_RECORDS);
}

static void hidden(void **state)
{
	(void)state;
	nothing_for_us(HIDDEN);
}

static void pieces(void **state)
{
	(void)state;
	nothing_for_us(PIECES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines),
		cmocka_unit_test(only_new),
		cmocka_unit_test(entered_and_stopped),
		cmocka_unit_test(in_flight),
		cmocka_unit_test(start_in_flight),
		cmocka_unit_test(first_start_in_flight),
		cmocka_unit_test(lapped),
		cmocka_unit_test(open_piece),
		cmocka_unit_test(two_sources),
		cmocka_unit_test(no_records),
		cmocka_unit_test(hidden),
		cmocka_unit_test(pieces),
		cmocka_unit_test(latency_and_idle),
		cmocka_unit_test(full_speed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
