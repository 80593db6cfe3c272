/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * survey.h - read a region at rest and hold all of it against the books.
 *
 * The oracle is arithmetic on positions: records of a boot follow each other
 * without gaps, 40 bytes into each sub-buffer, and a sub-buffer is left only
 * when the next record does not fit.  So within the live window each gap (a
 * *hole*) is a record that is missing, and there may be as many as contexts
 * of that boot died in an append.  Then the numbers of each context must run
 * on without one missing, up to the last that was committed, and libdlog's
 * loss numbers must say the same.
 *
 * Relies on stress.h.
 */
#ifndef TESTS_STRESS_SURVEY_H
#define TESTS_STRESS_SURVEY_H

#include "stress.h"

struct s_item {
	uint64_t position, seq;
	uint32_t ring, boot, ctx, size;
};

/* The items of one ring and boot. */
struct s_run {
	struct s_item *item;
	size_t n;
	uint32_t holes;
};

struct s_survey {
	struct s_item *item;
	size_t n, room;
	uint64_t holes; /* records missing in all live windows */
	uint64_t lost; /* committed, not overwritten, not there: none may be */
	uint64_t in_flight; /* begun, not known to be committed, not there */
	uint64_t entered[S_RINGS]; /* dead contexts behind all records */
	/*
	 * A writer of a shared ring was stopped for a lap, and wrote over
	 * what others had committed: holes are allowed, nothing else.
	 */
	bool lapped_writer;
};

static inline void s_survey_free(struct s_survey *s)
{
	free(s->item);
	memset(s, 0, sizeof(*s));
}

static inline int s_note(struct s_survey *s, const struct dlog_entry *e)
{
	if (s->n == s->room) {
		size_t room = s->room ? s->room * 2 : 4096;
		void *p = realloc(s->item, room * sizeof(*s->item));

		if (!p)
			return -ENOMEM;
		s->item = p;
		s->room = room;
	}
	s->item[s->n++] = (struct s_item){ .position = e->position,
					   .seq = s_entry_seq(e),
					   .ring = e->ring,
					   .boot = e->boot,
					   .ctx = s_entry_ctx(e),
					   .size = s_bytes(e) };
	return 0;
}

static int s_item_order(const void *a, const void *b)
{
	const struct s_item *x = a, *y = b;

	if (x->ring != y->ring)
		return x->ring < y->ring ? -1 : 1;
	return x->position < y->position ? -1 : x->position > y->position;
}

/* Read all records: each must be right.  0 or a negative errno. */
static inline int s_read(struct s_world *w, struct dlog *d, struct s_survey *s)
{
	struct dlog_reader *r;
	struct dlog_entry e;
	int ret = dlog_reader_new(&r, &d, 1, 0, NULL);

	s->n = 0;
	if (ret)
		return ret;
	while ((ret = dlog_reader_next(r, &e, 0)) > 0) {
		if (s_verify(w, &e))
			ret = s_note(s, &e);
		if (ret < 0)
			break;
	}
	if (dlog_reader_missed(r))
		s_wrong("a reader at rest missed %" PRIu64,
			dlog_reader_missed(r));
	dlog_reader_free(r);
	qsort(s->item, s->n, sizeof(*s->item), s_item_order);
	return ret;
}

/* Records of all contexts of @ring in @boot. */
static inline struct s_ctx s_sum(const struct s_world *w, uint32_t boot,
				 uint32_t ring)
{
	struct s_ctx sum = { 0 };

	for (uint32_t i = 0; i < S_CTX; i++) {
		const struct s_ctx *c = &w->truth[boot][i];

		if (w->ring_of[i] != ring)
			continue;
		sum.begun += __atomic_load_n(&c->begun, __ATOMIC_RELAXED);
		sum.done += __atomic_load_n(&c->done, __ATOMIC_RELAXED);
		sum.dropped += __atomic_load_n(&c->dropped, __ATOMIC_RELAXED);
	}
	return sum;
}

static inline size_t s_lower(const struct s_survey *s, uint32_t ring,
			     uint32_t boot)
{
	size_t lo = 0, hi = s->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct s_item *i = &s->item[mid];

		if (i->ring < ring || (i->ring == ring && i->boot < boot))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static inline struct s_run s_run(const struct s_survey *s, uint32_t ring,
				 uint32_t boot)
{
	size_t i = s_lower(s, ring, boot);

	return (struct s_run){ .item = s->item + i,
			       .n = s_lower(s, ring, boot + 1) - i };
}

/* Records missing between @a and @b of one boot, which follow each other. */
static inline uint32_t s_gap(const struct s_item *a, const struct s_item *b,
			     uint32_t sub)
{
	uint64_t end = a->position + a->size;
	uint64_t subs = b->position / sub - a->position / sub;
	uint32_t room = sub - (uint32_t)(a->position % sub) - a->size;

	if (!subs)
		return b->position != end;
	if (subs > 1 || b->position % sub != DLOG_START_SIZE)
		return (uint32_t)subs;
	return b->size <= room; /* it would have been put there */
}

/* What is within a boot's run: no gap, no number left out. */
static inline void s_check_order(const struct s_world *w, struct s_run *run,
				 bool any_gap)
{
	uint64_t last[S_CTX];
	uint32_t sub = w->rg.sb.subbuf_size;

	memset(last, 0xff, sizeof(last));
	for (size_t i = 0; i < run->n; i++) {
		const struct s_item *t = &run->item[i];

		if (i && t->position < t[-1].position + t[-1].size)
			s_wrong("ring %u position %" PRIu64 " shown twice",
				t->ring, t->position);
		else if (i)
			run->holes += s_gap(t - 1, t, sub);
		if (last[t->ctx] != UINT64_MAX &&
		    (any_gap ? t->seq <= last[t->ctx]
			     : t->seq != last[t->ctx] + 1))
			s_wrong("ring %u boot %u context %u: number %" PRIu64
				" after %" PRIu64,
				t->ring, t->boot, t->ctx, t->seq, last[t->ctx]);
		last[t->ctx] = t->seq;
	}
}

/*
 * Both ends of each context's numbers: the last that was committed is there
 * if any is, and with @whole (no lap has reached this boot) the first.
 */
static inline void s_check_ends(const struct s_world *w, struct s_survey *s,
				const struct s_run *run, uint32_t boot,
				uint32_t ring, bool whole)
{
	uint64_t first[S_CTX], last[S_CTX];
	bool any[S_CTX] = { false };

	for (size_t i = 0; i < run->n; i++) {
		const struct s_item *t = &run->item[i];

		if (!any[t->ctx])
			first[t->ctx] = t->seq;
		any[t->ctx] = true;
		last[t->ctx] = t->seq;
	}
	for (uint32_t i = 0; i < S_CTX; i++) {
		const struct s_ctx *c = &w->truth[boot][i];

		if (w->ring_of[i] != ring || !c->begun)
			continue;
		s->in_flight += c->begun - c->done;
		if (any[i] && last[i] >= c->done)
			s->in_flight--; /* committed, and then killed */
		if (!any[i] ? whole && c->done : last[i] + 1 < c->done) {
			s->lost++;
			s_wrong("ring %u boot %u context %u: lost, the last of "
				"%" PRIu64 " that is there is %" PRIu64,
				ring, boot, i, c->done, any[i] ? last[i] : 0);
		}
		if (whole && any[i] && first[i]) {
			s->lost++;
			s_wrong("ring %u boot %u context %u: lost, the first "
				"that is there is %" PRIu64,
				ring, boot, i, first[i]);
		}
	}
}

/* Where the live window begins: surely live from @sure on, none below @low. */
struct s_window {
	uint64_t low, sure;
	uint32_t boot; /* the newest that is there */
};

/*
 * From the newest record.  Contexts that died may have entered sub-buffers
 * behind it and left nothing there, each of them one.
 */
static inline bool s_window(const struct s_world *w, struct s_survey *s,
			    uint32_t ring, struct s_window *win)
{
	uint64_t sub = w->rg.sb.subbuf_size, nr = w->rg.sb.ring_size / sub;
	uint64_t next, died = 0;

	for (uint32_t boot = w->rg.boot; boot; boot--) {
		struct s_run run = s_run(s, ring, boot);
		struct s_ctx sum = s_sum(w, boot, ring);

		died += sum.begun - sum.done;
		if (run.n) {
			next = run.item[run.n - 1].position / sub + 1;
			win->low = next > nr ? (next - nr) * sub : 0;
			next += died;
			win->sure = next > nr ? (next - nr) * sub : 0;
			win->boot = boot;
			s->entered[ring] = died;
			return true;
		}
		if (!sum.done)
			continue;
		s->lost += sum.done;
		s_wrong("ring %u boot %u: all %" PRIu64 " are lost", ring, boot,
			sum.done);
	}
	return false;
}

/* The first record of @run, and the place that the next boot took. */
static inline void s_check_place(const struct s_world *w,
				 const struct s_window *win, struct s_run *run,
				 uint32_t boot, uint32_t ring, uint64_t died)
{
	uint64_t sub = w->rg.sb.subbuf_size, begin = w->start[boot][ring];
	uint64_t first = run->item->position, end;

	begin = begin > win->low ? begin : win->low;
	if (first < begin)
		s_wrong("ring %u boot %u position %" PRIu64
			": before its window at %" PRIu64,
			ring, boot, first, begin);
	if (begin < win->sure && first / sub * sub > begin)
		begin = first < win->sure ? first / sub * sub : win->sure;
	if (first > begin + DLOG_START_SIZE)
		run->holes += (first - begin - DLOG_START_SIZE - 1) / sub + 1;
	if (boot == w->rg.boot)
		return;
	end = (run->item[run->n - 1].position / sub + 1) * sub;
	if (w->start[boot + 1][ring] < end ||
	    w->start[boot + 1][ring] > end + died * sub)
		s_wrong("ring %u: boot %u began at %" PRIu64
			", the one before ended at %" PRIu64,
			ring, boot + 1, w->start[boot + 1][ring], end);
}

/* The runs of one ring, newest boot first, down to the oldest that is live. */
static inline void s_check_ring(const struct s_world *w, struct s_survey *s,
				uint32_t ring)
{
	struct s_window win;

	if (!s_window(w, s, ring, &win))
		return;
	for (uint32_t boot = win.boot; boot; boot--) {
		bool whole = w->start[boot][ring] >= win.sure;
		struct s_run run = s_run(s, ring, boot);
		struct s_ctx sum = s_sum(w, boot, ring);
		uint64_t died = sum.begun - sum.done;

		s_check_order(w, &run, s->lapped_writer);
		if (run.n)
			s_check_place(w, &win, &run, boot, ring, died);
		s->holes += run.holes;
		if (run.holes > died && !s->lapped_writer) {
			s->lost += run.holes - died;
			s_wrong("ring %u boot %u: %u records are missing, "
				"%" PRIu64 " were in flight",
				ring, boot, run.holes, died);
		}
		if (!s->lapped_writer)
			s_check_ends(w, s, &run, boot, ring, whole);
		if (w->start[boot][ring] < win.low)
			return;
	}
}

/*
 * Loss numbers.  @final: heartbeats have told what was dropped.  Whoever dies
 * entering a sub-buffer takes the START that was there: its only bad bytes
 * in a boot where nobody died.
 */
static inline int s_check_loss(const struct s_world *w, struct dlog *d,
			       struct s_survey *s, bool final)
{
	struct dlog_loss *l;
	int n = dlog_get_loss(d, &l);

	for (int i = 0; i < n; i++) {
		struct dlog_loss *k = &l[i];
		struct s_run run = s_run(s, k->ring, k->boot);
		struct s_ctx sum = s_sum(w, k->boot, k->ring);
		uint64_t died = sum.begun - sum.done, lost, sure;

		lost = k->torn + k->corrupt;
		sure = s->lapped_writer ? lost : 0;
		if (k->records != run.n || k->reserved < sum.done ||
		    k->reserved > sum.begun || lost > died + sure ||
		    k->records + k->overwritten + lost != k->reserved ||
		    k->dropped > sum.dropped ||
		    (final && k->dropped != sum.dropped) ||
		    (!died && !sure &&
		     k->bad_bytes > s->entered[k->ring] * DLOG_START_SIZE))
			s_wrong("ring %u boot %u: %zu seen of %" PRIu64
				" committed, %" PRIu64 " begun, %" PRIu64
				" dropped; loss says: records %" PRIu64
				" reserved %" PRIu64 " overwritten %" PRIu64
				" torn %" PRIu64 " corrupt %" PRIu64
				" dropped %" PRIu64 " bad bytes %" PRIu64,
				k->ring, k->boot, run.n, sum.done, sum.begun,
				sum.dropped, k->records, k->reserved,
				k->overwritten, k->torn, k->corrupt, k->dropped,
				k->bad_bytes);
	}
	if (n >= 0)
		free(l);
	return n < 0 ? n : 0;
}

/* Survey the region at rest.  0 or a negative errno; wrong reads are told. */
static inline int s_survey(struct s_world *w, struct s_survey *s, bool final)
{
	struct dlog_error err = { "" };
	struct dlog *d;
	int ret = dlog_open(&d, w->path, 0, &err);

	if (ret) {
		printf("%s\n", err.text);
		return ret;
	}
	s->holes = s->in_flight = s->lost = 0;
	memset(s->entered, 0, sizeof(s->entered));
	ret = s_read(w, d, s);
	for (uint32_t i = 0; !ret && i < w->rg.sb.nr_rings; i++)
		s_check_ring(w, s, i);
	if (!ret)
		ret = s_check_loss(w, d, s, final);
	dlog_close(d);
	return ret;
}

#endif
