// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_stream.c - records that are filled word by word (dlog_stream.h), and
 * how libdlog gives records of kind BLOCKS, open ones too.
 */
#include <errno.h>
#include <sys/mman.h>

#include "../stress/step.h"
#include "dlog_stream.h"
#include "world.h"

#define WORDS 9u /* of a record: a count and 8 blocks */
#define CPU 3u
#define TYPE DLOG_TYPE(DLOG_KIND_BLOCKS, CPU)

/* Word number @i of the stream whose records are told apart by @n. */
static uint64_t word_of(uint32_t n, uint32_t i)
{
	return i ? DLOG_BLOCK(0xffffffff81000000 + n * 4096 + i * 16, i % 9 + 1)
		 : (uint64_t)n * 1000;
}

static void begin(struct world *w, struct dlog_stream *s, uint32_t n)
{
	assert_int_equal(
		dlog_stream_begin(s, &w->ring[0], TYPE, w->now++, WORDS), 0);
	dlog_stream_put(s, word_of(n, 0));
}

static void fill(struct dlog_stream *s, uint32_t n, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		dlog_stream_put(s, word_of(n, i));
}

/* Is @e record @n of the stream, of which @words are there? */
static void is_record(const struct dlog_entry *e, uint32_t n, uint32_t words)
{
	assert_int_equal(e->kind, DLOG_KIND_BLOCKS);
	assert_int_equal(e->arg, CPU);
	assert_int_equal(e->len, words * 8);
	for (uint32_t i = 0; i < words; i++)
		assert_int_equal(dlog_load64(e->data + 8 * i), word_of(n, i));
}

static struct dlog_reader *reader(struct dlog *d, unsigned int flags)
{
	struct dlog_reader *r;

	assert_int_equal(dlog_reader_new(&r, &d, 1, flags, NULL), 0);
	return r;
}

static uint64_t torn(struct dlog *d)
{
	struct dlog_loss *l;
	int n = dlog_get_loss(d, &l);
	uint64_t sum = 0;

	assert_true(n >= 0);
	for (int i = 0; i < n; i++) {
		sum += l[i].torn;
		assert_int_equal(l[i].corrupt, 0);
	}
	free(l);
	return sum;
}

static void full_and_open(void **state)
{
	struct dlog_stream s = { 0 };
	struct dlog_reader *r;
	struct dlog_entry e;
	struct world w;
	struct dlog *d;

	(void)state;
	w_format(&w, 1 << 20, 1, 4096, 4);
	w_boot(&w, 1);
	dlog_stream_end(&s); /* of nothing */
	for (uint32_t n = 0; n < 3; n++) {
		begin(&w, &s, n);
		fill(&s, n, 1, n == 2 ? 5 : WORDS);
		if (n != 2)
			dlog_stream_end(&s);
	}
	assert_int_equal(dlog_ring_append(&w.ring[0], W_TEXT, w.now++, "x", 1),
			 0);
	d = w_open(&w);
	r = reader(d, DLOG_READER_BLOCKS);
	for (uint32_t n = 0; n < 3; n++) {
		assert_int_equal(dlog_reader_next(r, &e, 0), 1);
		is_record(&e, n, n == 2 ? 5 : WORDS);
		assert_int_equal(e.doubt,
				 n == 2 ? DLOG_DOUBT_TORN : DLOG_DOUBT_NONE);
	}
	/* What lies behind an open one is there as well. */
	assert_int_equal(dlog_reader_next(r, &e, 0), 1);
	assert_int_equal(e.kind, DLOG_KIND_TEXT);
	assert_int_equal(e.doubt, DLOG_DOUBT_NONE);
	assert_int_equal(dlog_reader_next(r, &e, 0), 0);
	assert_int_equal(dlog_reader_hidden(r), 0);
	dlog_reader_free(r);
	assert_int_equal(torn(d), 1);

	/* Nobody asked for them. */
	r = reader(d, 0);
	assert_int_equal(dlog_reader_next(r, &e, 0), 1);
	assert_int_equal(e.kind, DLOG_KIND_TEXT);
	assert_int_equal(dlog_reader_next(r, &e, 0), 0);
	assert_int_equal(dlog_reader_hidden(r), 3);
	dlog_reader_free(r);

	/* Words that were not put are 0. */
	dlog_stream_end(&s);
	assert_int_equal(torn(d), 0);
	r = reader(d, DLOG_READER_BLOCKS);
	for (uint32_t n = 0; n < 3; n++)
		assert_int_equal(dlog_reader_next(r, &e, 0), 1);
	assert_int_equal(e.doubt, DLOG_DOUBT_NONE);
	assert_int_equal(e.len, WORDS * 8);
	for (uint32_t i = 0; i < WORDS; i++)
		assert_int_equal(dlog_load64(e.data + 8 * i),
				 i < 5 ? word_of(2, i) : 0);
	dlog_reader_free(r);
	dlog_close(d);
	w_free(&w);
}

/* Open ones of other kinds are torn as ever; short ones of this kind too. */
static void strange(void **state)
{
	static const uint16_t len[] = { 0, 1, 7, 8, 12, 16, 20 };
	struct dlog_reader *r;
	struct dlog_entry e;
	struct world w;
	struct dlog *d;

	(void)state;
	w_format(&w, 1 << 20, 1, 4096, 4);
	w_boot(&w, 1);
	for (uint32_t i = 0; i < 2 * 7; i++) {
		uint32_t type = i < 7 ? TYPE : W_TEXT;
		uint32_t top = type << 16 | len[i % 7];
		uint64_t at;
		uint8_t *p;

		assert_int_equal(
			dlog_ring_reserve(&w.ring[0], w.now, len[i % 7], &at),
			0);
		p = w_at(&w, 0, at);
		memset(p + 8, 0x55, DLOG_REC_SIZE(len[i % 7]) - 8);
		dlog_put64(p, (uint64_t)top << 32 |
				      dlog_hash_open(dlog_hash_start(
					      w.ring[0].seed, at, top)));
	}
	d = w_open(&w);
	r = reader(d, DLOG_READER_BLOCKS);
	for (uint32_t i = 0; i < 7; i++) {
		assert_int_equal(dlog_reader_next(r, &e, 0), 1);
		assert_int_equal(e.kind, DLOG_KIND_BLOCKS);
		assert_int_equal(e.doubt, DLOG_DOUBT_TORN);
		assert_int_equal(e.len, len[i] < 8 ? len[i] : len[i] & ~7u);
	}
	assert_int_equal(dlog_reader_next(r, &e, 0), 0);
	dlog_reader_free(r);
	assert_int_equal(torn(d), 14);
	dlog_close(d);
	w_free(&w);
}

/* A follower waits until a record is whole, or nobody will make it so. */
static void followed(void **state)
{
	struct dlog_stream s = { 0 };
	struct dlog_reader *r;
	struct dlog_entry e;
	struct world w;
	struct dlog *d;

	(void)state;
	w_format(&w, 1 << 20, 1, 4096, 4);
	w_boot(&w, 1);
	d = w_open(&w);
	r = reader(d, DLOG_READER_FOLLOW | DLOG_READER_BLOCKS);
	begin(&w, &s, 1);
	fill(&s, 1, 1, 4);
	assert_int_equal(dlog_reader_next(r, &e, 30), 0);
	/* Another record does not make it whole. */
	dlog_ring_append(&w.ring[0], W_TEXT, w.now++, "x", 1);
	assert_int_equal(dlog_reader_next(r, &e, 1000), 1);
	assert_int_equal(e.kind, DLOG_KIND_TEXT);
	fill(&s, 1, 4, WORDS);
	dlog_stream_end(&s);
	assert_int_equal(dlog_reader_next(r, &e, 1000), 1);
	is_record(&e, 1, WORDS);
	assert_int_equal(e.doubt, DLOG_DOUBT_NONE);
	dlog_reader_free(r);

	begin(&w, &s, 2);
	fill(&s, 2, 1, 3);
	w_boot(&w, 2);
	dlog_ring_append(&w.ring[0], W_TEXT, w.now++, "y", 1);
	r = reader(d, DLOG_READER_FOLLOW | DLOG_READER_BLOCKS);
	for (int i = 0; i < 3; i++)
		assert_int_equal(dlog_reader_next(r, &e, 1000), 1);
	is_record(&e, 2, 3);
	assert_int_equal(e.doubt, DLOG_DOUBT_TORN);
	assert_int_equal(dlog_reader_next(r, &e, 1000), 1);
	assert_int_equal(e.boot, 2);
	dlog_reader_free(r);
	dlog_close(d);
	w_free(&w);
}

/* A ring of blocks that laps its reader has cost nobody a record. */
static void lapped(void **state)
{
	struct dlog_stream s = { 0 };
	struct dlog_reader *r[2];
	struct dlog_entry e;
	struct world w;
	struct dlog *d;
	uint32_t laps = 5;

	(void)state;
	w_format(&w, 256 << 10, 2, 4096, 4);
	w_boot(&w, 1);
	begin(&w, &s, 0);
	dlog_stream_end(&s);
	dlog_ring_append(&w.ring[1], W_TEXT, w.now++, "x", 1);
	d = w_open(&w);
	r[0] = reader(d, DLOG_READER_FOLLOW);
	r[1] = reader(d, DLOG_READER_FOLLOW | DLOG_READER_BLOCKS);
	assert_int_equal(dlog_reader_next(r[0], &e, 100), 1);
	assert_int_equal(e.kind, DLOG_KIND_TEXT);
	assert_int_equal(dlog_reader_next(r[1], &e, 100), 1);
	assert_int_equal(dlog_reader_next(r[1], &e, 100), 1);
	for (uint32_t n = 1; n < laps * w.rg.sb.ring_size / (8 * WORDS); n++) {
		begin(&w, &s, n);
		fill(&s, n, 1, WORDS);
		dlog_stream_end(&s);
	}
	dlog_ring_append(&w.ring[1], W_TEXT, w.now++, "y", 1);
	assert_int_equal(dlog_reader_next(r[0], &e, 1000), 1);
	assert_int_equal(e.kind, DLOG_KIND_TEXT);
	assert_memory_equal(e.data, "y", 1);
	assert_int_equal(dlog_reader_next(r[0], &e, 50), 0);
	assert_int_equal(dlog_reader_missed(r[0]), 0);
	while (dlog_reader_next(r[1], &e, 50) > 0)
		;
	assert_true(dlog_reader_missed(r[1]) > 0);
	dlog_reader_free(r[0]);
	dlog_reader_free(r[1]);

	/* And the last lines are found without looking at all of them. */
	r[0] = reader(d, DLOG_READER_LAST);
	assert_true(dlog_reader_set_last(r[0], 1) >= 0);
	assert_int_equal(dlog_reader_next(r[0], &e, 0), 1);
	dlog_reader_free(r[0]);
	dlog_close(d);
	w_free(&w);
}

static void too_long(void **state)
{
	struct dlog_stream s;
	struct world w;

	(void)state;
	w_format(&w, 1 << 20, 1, 4096, 4);
	w_boot(&w, 1);
	assert_int_equal(dlog_stream_begin(&s, &w.ring[0], TYPE, 1, 512),
			 -EMSGSIZE);
	assert_ptr_equal(s.at, s.end);
	assert_int_equal(w.ring[0].dropped, 1);
	dlog_stream_end(&s);
	assert_int_equal(dlog_stream_begin(&s, &w.ring[0], TYPE, 1,
					   (4096 - 40 - 16) / 8),
			 0);
	dlog_stream_end(&s);
	w_free(&w);
}

/* ---- a producer that dies between any two instructions ---- */

#define DRAFT 6u /* word that is a draft three times before it is put */
#define LAPS 2u

/* What the child has done, in memory of both. */
struct progress {
	volatile uint32_t words; /* put */
	volatile uint32_t draft; /* stored for word DRAFT */
	volatile bool begun, ended;
};

static void write_one(struct world *w, struct progress *p)
{
	struct dlog_stream s = { 0 };

	dlog_stream_begin(&s, &w->ring[0], TYPE, 777, WORDS);
	p->begun = true;
	for (uint32_t i = 0; i < WORDS - 1; i++) {
		for (uint32_t k = 1; i == DRAFT && k < 4; k++) {
			dlog_stream_draft(&s, DLOG_REPEAT(2, k));
			p->draft = k;
		}
		dlog_stream_put(&s, word_of(1, i));
		p->words = i + 1;
	}
	dlog_stream_end(&s);
	p->ended = true;
}

/* Whatever was stored last is seen, or not yet: no other difference. */
static void look(struct world *w, const struct progress *p, uint32_t before)
{
	struct dlog *d = w_open(w);
	struct dlog_reader *r = reader(d, DLOG_READER_BLOCKS);
	uint32_t others = 0, words;
	struct dlog_entry e;
	bool there = false;

	while (dlog_reader_next(r, &e, 0) > 0) {
		if (e.time != 777) {
			assert_int_equal(e.doubt, DLOG_DOUBT_NONE);
			others++;
			continue;
		}
		assert_false(there);
		there = true;
		words = (uint32_t)e.len / 8;
		if (e.doubt == DLOG_DOUBT_NONE) {
			assert_int_equal(p->words, WORDS - 1);
			assert_int_equal(words, WORDS);
			assert_int_equal(dlog_load64(e.data + 8 * (WORDS - 1)),
					 0);
			words--;
		} else {
			/* Its first word is a count, and may be 0. */
			assert_false(p->ended);
			assert_true(words >= p->words || words == 1);
			assert_true(words <= p->words + 1);
		}
		for (uint32_t i = 0; i < words && (i || p->words); i++) {
			uint64_t got = dlog_load64(e.data + 8 * i);

			if (i == DRAFT && got >> 57 == 0)
				assert_true(DLOG_REPEAT_BLOCKS(got) ==
						    p->draft ||
					    DLOG_REPEAT_BLOCKS(got) ==
						    p->draft + 1);
			else
				assert_int_equal(got, word_of(1, i));
		}
		if (words == DRAFT)
			assert_int_equal(p->draft, 0);
	}
	assert_true(there || !p->begun);
	/* What was there before is, unless its sub-buffer was entered. */
	assert_int_equal(others, before);
	dlog_reader_free(r);
	dlog_close(d);
}

static void *shared(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	return p;
}

static void *to_shared(void *from, size_t size)
{
	void *p = shared(size);

	memcpy(p, from, size);
	free(from);
	return p;
}

static void killed_anywhere(void **state)
{
	struct progress *p = shared(sizeof(*p));
	struct dlog_stream s = { 0 };
	uint32_t changes = 0, before = 0;
	struct dlog_reader *r;
	struct dlog_entry e;
	struct world w;
	struct dlog *d;
	uint8_t *last;
	pid_t pid;

	(void)state;
	w_format(&w, 128 << 10, 1, 4096, 4);
	w.mem = to_shared(w.mem, w.size);
	assert_int_equal(dlog_region_open(&w.rg, w.mem, w.size), DLOG_SUPER_OK);
	w_boot(&w, 1);
	/* Behind an open check there must be nothing of the laps before. */
	while (w.ring[0].lap < LAPS * w.rg.sb.ring_size) {
		begin(&w, &s, 1);
		fill(&s, 1, 1, WORDS);
		dlog_stream_end(&s);
	}
	for (int i = 0; i < 3; i++) {
		begin(&w, &s, 1);
		dlog_stream_end(&s);
	}
	d = w_open(&w);
	r = reader(d, DLOG_READER_BLOCKS);
	while (dlog_reader_next(r, &e, 0) > 0)
		before++;
	dlog_reader_free(r);
	dlog_close(d);

	step_one_cpu();
	pid = fork();
	if (!pid) {
		step_ready();
		write_one(&w, p);
		for (;;)
			pause();
	}
	if (step_begin(pid)) {
		step_kill(pid);
		print_message("ptrace is not allowed here\n");
		skip();
	}
	last = malloc(w.size);
	memcpy(last, w.mem, w.size);
	while (!p->ended) {
		assert_true(step(pid, 0));
		if (!memcmp(last, w.mem, w.size))
			continue;
		memcpy(last, w.mem, w.size);
		changes++;
		look(&w, p, before);
	}
	step_kill(pid);
	look(&w, p, before);
	/* Zeroes over a lap before, header, words, drafts, the check. */
	assert_true(changes >= 2 * WORDS + 2);
	free(last);
	munmap(w.mem, w.size);
	munmap(p, sizeof(*p));
	w.mem = NULL;
	w_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(full_and_open),
		cmocka_unit_test(strange),
		cmocka_unit_test(followed),
		cmocka_unit_test(lapped),
		cmocka_unit_test(too_long),
		cmocka_unit_test(killed_anywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
