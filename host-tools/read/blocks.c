// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * blocks.c - the black box: what each CPU executed last, block by block, from
 * the records of kind BLOCKS that an emulator wrote.
 *
 * A CPU that hangs runs round a loop, so a loop is shown once with how often
 * it was run.  Where the writer has counted a loop (DLOG_REPEAT()) this is
 * known; where it wrote each block, three times the same up to PERIODS blocks
 * are taken for one.  Work and memory are linear in what is read and shown,
 * whatever the records say.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "event.h"
#include "read.h"

#define PERIODS DLOG_REPEAT_MAX /* blocks of a loop, at the most */
#define HISTORY 64u /* a power of two, more than that */
#define ROUNDS 3u /* that make a loop */
#define SYMBOL_MAX 600u

/*
 * One line.  word is a block; or DLOG_REPEAT(period, rounds): so often the
 * @period blocks before it; or 0: some instructions before this are not known.
 */
struct step {
	uint64_t word;
	uint64_t executed; /* before it */
	uint64_t time; /* of the record that it was in */
};

/* One CPU. */
struct track {
	struct step *step; /* the last ones */
	size_t nr, room;
	uint64_t executed, time;
	uint32_t ring;
	bool begun; /* @executed must be what the next record begins with */
	/* The last blocks, of which @known are right; each run[p] of the last
	 * ones, which are no part of a loop, were as p blocks before. */
	uint64_t history[HISTORY], count, known, single;
	uint64_t when[HISTORY]; /* the time of each */
	uint64_t run[PERIODS + 1];
	/* The loop that goes on, whose last step tells how often; 0: none. */
	uint32_t period, at;
};

struct black_box {
	struct view *v;
	struct source *src;
	struct event_decoder *dec;
	uint32_t boot;
	size_t lines; /* blocks to be shown of each CPU */
	struct track *track[DLOG_CPUS_MAX];
};

/* ---- from records to steps ---- */

/* Number of the first of the last steps that have up to @lines blocks. */
static size_t first_of_last(const struct track *t, size_t lines)
{
	size_t i = t->nr, blocks = 0;

	while (i) {
		uint64_t word = t->step[i - 1].word;
		size_t group = 1;

		if (DLOG_BLOCK_INSNS(word)) {
			blocks++;
		} else if (word) {
			blocks += DLOG_REPEAT_PERIOD(word);
			group += DLOG_REPEAT_PERIOD(word);
		}
		if ((blocks > lines && i < t->nr) || group > i)
			break;
		i -= group;
	}
	return i;
}

/* Room for one more step: what is not shown any more goes, else more. */
static int make_room(struct track *t, size_t lines)
{
	size_t keep = lines > ROUNDS * PERIODS ? lines : ROUNDS * PERIODS;
	size_t first = first_of_last(t, keep), room;
	struct step *p;

	if (first >= t->room / 2 && first) {
		t->nr -= first;
		memmove(t->step, t->step + first, t->nr * sizeof(*t->step));
		return 0;
	}
	room = t->room ? 2 * t->room : 512;
	p = realloc(t->step, room * sizeof(*p));
	if (!p)
		return -ENOMEM;
	t->step = p;
	t->room = room;
	return 0;
}

static int add_step(struct track *t, size_t lines, uint64_t word)
{
	int ret = t->nr == t->room ? make_room(t, lines) : 0;

	if (!ret)
		t->step[t->nr++] = (struct step){ word, t->executed, t->time };
	return ret;
}

static uint64_t *past(struct track *t, uint64_t blocks)
{
	return &t->history[(t->count - blocks) % HISTORY];
}

static void count_block(struct track *t, uint64_t word)
{
	*past(t, 0) = word;
	t->when[t->count % HISTORY] = t->time;
	t->count++;
	t->known++;
	t->executed += DLOG_BLOCK_INSNS(word);
}

/* The last steps are the first of @rounds rounds of a loop. */
static int begin_loop(struct track *t, size_t lines, uint32_t period,
		      uint64_t rounds)
{
	t->period = period;
	t->at = 0;
	t->single = 0;
	memset(t->run, 0, sizeof(t->run));
	return add_step(t, lines, DLOG_REPEAT(period, rounds));
}

static int add_single(struct track *t, size_t lines, uint64_t word)
{
	uint32_t loop = 0;
	int ret = add_step(t, lines, word);

	for (uint32_t p = PERIODS; p; p--) {
		t->run[p] = p <= t->single && *past(t, p) == word
				    ? t->run[p] + 1
				    : 0;
		if (t->run[p] >= (ROUNDS - 1) * p)
			loop = p;
	}
	t->single++;
	count_block(t, word);
	if (ret || !loop)
		return ret;
	t->nr -= (ROUNDS - 1) * loop;
	return begin_loop(t, lines, loop, ROUNDS);
}

static void add_rounds(struct track *t, uint64_t n)
{
	struct step *s = &t->step[t->nr - 1];

	s->word = DLOG_REPEAT(t->period, DLOG_REPEAT_BLOCKS(s->word) + n);
}

static int add_block(struct track *t, size_t lines, uint64_t word);

/*
 * It was left: the blocks of the round that was begun stand by themselves, or
 * hold a loop of a third of their number at the most.
 */
static int end_loop(struct track *t, size_t lines)
{
	uint64_t word[PERIODS], when[PERIODS], now = t->time;
	uint32_t n = t->at;
	int ret = 0;

	for (uint32_t i = 0; i < n; i++) {
		word[i] = *past(t, n - i);
		when[i] = t->when[(t->count - n + i) % HISTORY];
		t->executed -= DLOG_BLOCK_INSNS(word[i]);
	}
	t->count -= n;
	t->known -= n;
	t->period = t->at = 0;
	for (uint32_t i = 0; i < n && !ret; i++) {
		t->time = when[i];
		ret = add_block(t, lines, word[i]);
	}
	t->time = now;
	return ret;
}

static int add_block(struct track *t, size_t lines, uint64_t word)
{
	while (t->period) {
		int ret;

		if (word == *past(t, t->period)) {
			count_block(t, word);
			if (++t->at == t->period) {
				t->at = 0;
				add_rounds(t, 1);
			}
			return 0;
		}
		ret = end_loop(t, lines);
		if (ret)
			return ret;
	}
	return add_single(t, lines, word);
}

static int end_all_loops(struct track *t, size_t lines)
{
	int ret = 0;

	while (t->period && !ret)
		ret = end_loop(t, lines);
	return ret;
}

/* What was executed before @executed is not known. */
static int add_gap(struct track *t, size_t lines, uint64_t executed)
{
	int ret = end_all_loops(t, lines);

	t->known = t->single = 0;
	t->executed = executed;
	memset(t->run, 0, sizeof(t->run));
	/* Several are one. */
	if (!ret && t->nr && !t->step[t->nr - 1].word)
		t->nr--;
	return ret ? ret : add_step(t, lines, 0);
}

/* Is what goes on for @period blocks and more the loop that is shown? */
static bool loop_covers(const struct track *t, uint32_t period)
{
	uint64_t rounds;

	if (!t->period || period % t->period)
		return false;
	rounds = DLOG_REPEAT_BLOCKS(t->step[t->nr - 1].word);
	return rounds >= PERIODS || rounds * t->period + t->at >= period;
}

/* One more round, and it is a loop whatever it holds. */
static int force_loop(struct track *t, size_t lines, uint32_t period)
{
	int ret = end_all_loops(t, lines);

	for (uint32_t i = 0; i < period && !ret; i++) {
		uint64_t word = *past(t, period);

		ret = add_step(t, lines, word);
		count_block(t, word);
	}
	return ret ? ret : begin_loop(t, lines, period, 1);
}

/* The last @period blocks again, @n blocks in all. */
static int add_repeat(struct track *t, size_t lines, uint32_t period,
		      uint64_t n)
{
	uint64_t insns = 0, rounds;
	uint32_t most = ROUNDS * period;
	int ret = 0;

	if (!period || period > PERIODS || period > t->known) {
		/* The next record says how many instructions that were. */
		t->begun = false;
		return add_gap(t, lines, t->executed);
	}
	for (; n && !ret && !loop_covers(t, period) && most; n--, most--)
		ret = add_block(t, lines, *past(t, period));
	if (!ret && !loop_covers(t, period) && n >= period) {
		ret = force_loop(t, lines, period);
		n -= period;
	}
	if (!ret && loop_covers(t, period)) {
		/* The last blocks one by one: they are history then. */
		period = t->period;
		rounds = n > HISTORY ? (n - HISTORY) / period : 0;
		for (uint32_t i = 1; i <= period; i++)
			insns += DLOG_BLOCK_INSNS(*past(t, i));
		add_rounds(t, rounds);
		t->executed += rounds * insns;
		n -= rounds * period;
	}
	for (; n && !ret; n--)
		ret = add_block(t, lines, *past(t, period));
	return ret;
}

static int add_record(struct black_box *bb, const struct dlog_entry *e)
{
	struct track *t = bb->track[e->arg];
	size_t words = e->len / 8;
	uint64_t executed;
	int ret = 0;

	if (!words)
		return 0;
	executed = dlog_load64(e->data);
	if (!t)
		t = bb->track[e->arg] = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->time = e->time;
	if (!t->begun)
		t->executed = executed;
	else if (t->executed != executed)
		ret = add_gap(t, bb->lines, executed);
	t->begun = true;
	t->ring = e->ring;
	for (size_t i = 1; i < words && !ret; i++) {
		uint64_t word = dlog_load64(e->data + 8 * i);

		if (!word)
			break;
		if (DLOG_BLOCK_INSNS(word))
			ret = add_block(t, bb->lines, word);
		else
			ret = add_repeat(t, bb->lines, DLOG_REPEAT_PERIOD(word),
					 DLOG_REPEAT_BLOCKS(word));
	}
	return ret;
}

/* ---- from steps to lines ---- */

/* Steps that belong together from step @i on: a loop, or one. */
static size_t group_at(const struct track *t, size_t i)
{
	for (size_t k = i; k < t->nr && k <= i + PERIODS; k++) {
		uint64_t word = t->step[k].word;

		if (DLOG_BLOCK_INSNS(word))
			continue;
		if (word && DLOG_REPEAT_PERIOD(word) == k - i)
			return k - i + 1;
		break;
	}
	return 1;
}

/*
 * By what lay there then: the guest may have been reset since.  Escaped where
 * it is printed: names are the guest's.
 */
static bool name_block(const struct black_box *bb, const struct step *s,
		       char name[SYMBOL_MAX])
{
	return bb->dec &&
	       event_symbol(bb->dec, bb->boot, s->time, DLOG_BLOCK_PC(s->word),
			    name, SYMBOL_MAX);
}

static void put_step(const struct black_box *bb, const struct step *s)
{
	struct sink *out = bb->v->out;
	char name[SYMBOL_MAX];

	if (!s->word) {
		sink_puts(out, "  -- not known --\n");
		return;
	}
	if (!DLOG_BLOCK_INSNS(s->word)) {
		sink_printf(out, "%16s ... %u block%s, %" PRIu64 " times\n", "",
			    DLOG_REPEAT_PERIOD(s->word),
			    DLOG_REPEAT_PERIOD(s->word) == 1 ? "" : "s",
			    DLOG_REPEAT_BLOCKS(s->word));
		return;
	}
	sink_printf(out, "%16" PRIu64 " %3u  0x%016" PRIx64, s->executed,
		    DLOG_BLOCK_INSNS(s->word), DLOG_BLOCK_PC(s->word));
	if (name_block(bb, s, name)) {
		sink_puts(out, "  ");
		text_put(out, name, strlen(name), 0);
	}
	sink_putc(out, '\n');
}

static void put_track(const struct black_box *bb, const struct track *t,
		      uint32_t cpu)
{
	size_t first = first_of_last(t, bb->lines);

	sink_printf(bb->v->out, "boot %u, cpu %u, %" PRIu64 " instructions:\n",
		    bb->boot, cpu, t->executed);
	for (size_t i = first; i < t->nr; i++)
		put_step(bb, &t->step[i]);
}

static void json_block(struct json *j, const struct black_box *bb,
		       const struct step *s)
{
	char text[SYMBOL_MAX];

	snprintf(text, sizeof(text), "0x%" PRIx64, DLOG_BLOCK_PC(s->word));
	json_member(j, "address", text);
	json_key(j, "instructions");
	json_u64(j, DLOG_BLOCK_INSNS(s->word));
	json_member(j, "symbol", name_block(bb, s, text) ? text : NULL);
}

static void json_group(const struct black_box *bb, const struct track *t,
		       uint32_t cpu, const struct step *s, size_t n)
{
	struct json j = { .s = bb->v->out };

	json_open(&j, '{');
	json_member(&j, "file", bb->src->path);
	json_key(&j, "boot");
	json_u64(&j, bb->boot);
	json_key(&j, "ring");
	json_u64(&j, t->ring);
	json_key(&j, "cpu");
	json_u64(&j, cpu);
	json_key(&j, "executed");
	json_u64(&j, s->executed);
	if (n > 1) {
		json_key(&j, "times");
		json_u64(&j, DLOG_REPEAT_BLOCKS(s[n - 1].word));
		json_key(&j, "loop");
		json_open(&j, '[');
		for (size_t i = 0; i + 1 < n; i++) {
			json_open(&j, '{');
			json_block(&j, bb, &s[i]);
			json_close(&j, '}');
		}
		json_close(&j, ']');
	} else if (s->word) {
		json_block(&j, bb, s);
	} else {
		json_member(&j, "gap", "not known");
	}
	json_close(&j, '}');
	json_line(&j);
}

static void json_track(const struct black_box *bb, const struct track *t,
		       uint32_t cpu)
{
	size_t i = first_of_last(t, bb->lines), n;

	for (; i < t->nr; i += n) {
		n = group_at(t, i);
		json_group(bb, t, cpu, &t->step[i], n);
	}
}

/* ---- a file ---- */

static uint32_t latest_boot(const struct source *src)
{
	for (int i = src->nr_boots - 1; i >= 0; i--)
		if (src->boots[i].has_records)
			return src->boots[i].boot;
	return 0;
}

static int read_blocks(struct black_box *bb, const struct filter *f)
{
	struct dlog_reader *r;
	struct dlog_error err;
	struct dlog_entry e;
	int ret = dlog_reader_new(&r, &bb->src->d, 1, DLOG_READER_BLOCKS, &err);

	if (ret) {
		fprintf(stderr, PROGRAM ": %s\n", err.text);
		return ret;
	}
	dlog_reader_set_boot(r, bb->boot);
	while (!ret && (ret = dlog_reader_next(r, &e, 0)) > 0) {
		bool wanted = e.kind == DLOG_KIND_BLOCKS &&
			      (!f->some_cpus ||
			       f->cpus[e.arg / 8] & 1u << e.arg % 8);

		ret = wanted ? add_record(bb, &e) : 0;
	}
	dlog_reader_free(r);
	for (uint32_t cpu = 0; cpu < DLOG_CPUS_MAX && !ret; cpu++)
		if (bb->track[cpu])
			ret = end_all_loops(bb->track[cpu], bb->lines);
	if (ret)
		fprintf(stderr, PROGRAM ": %s: reading stopped: %s\n",
			bb->src->path, strerror(-ret));
	return ret;
}

static void tell_none(const struct black_box *bb, bool some_cpus)
{
	char boot[32] = "";

	if (bb->v->quiet)
		return;
	if (bb->boot)
		snprintf(boot, sizeof(boot), " in boot %u", bb->boot);
	fprintf(stderr,
		PROGRAM ": %s: no blocks%s were recorded%s: QEMU's plugin "
			"does with blocks=on\n",
		bb->src->path, some_cpus ? " of these CPUs" : "", boot);
}

int show_blocks(struct view *v, struct source *src, const struct filter *f,
		uint32_t boot, size_t lines)
{
	struct black_box *bb = calloc(1, sizeof(*bb));
	bool any = false;
	int ret = -ENOMEM;

	if (!bb)
		return EXIT_ERROR;
	bb->v = v;
	bb->src = src;
	bb->dec = event_decoder(src->d);
	bb->boot = boot ? boot : latest_boot(src);
	bb->lines = lines;
	ret = bb->boot ? read_blocks(bb, f) : 0;
	for (uint32_t cpu = 0; cpu < DLOG_CPUS_MAX; cpu++) {
		struct track *t = bb->track[cpu];

		if (!t)
			continue;
		if (!ret && v->fmt->json)
			json_track(bb, t, cpu);
		else if (!ret)
			put_track(bb, t, cpu);
		any = true;
		free(t->step);
		free(t);
	}
	if (!ret && !any)
		tell_none(bb, f->some_cpus);
	free(bb);
	return ret ? EXIT_ERROR : EXIT_OK;
}
