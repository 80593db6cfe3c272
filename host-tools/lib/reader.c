// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * reader.c - merge the streams of one or more sources into one.
 *
 * Order within a source: boot, time, ring, position.  A stream is only
 * nearly sorted (a nested context has a later time at an earlier position),
 * so each has a window of WINDOW records and more, or of two sub-buffers if
 * those hold less, that is kept in order.  Order between sources: wall clock
 * of the two next records; where either is not known, guest time.  Memory is
 * a constant for each stream.
 *
 * Relies on dlog_source_ops; knows nothing of regions.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "internal.h"

#define WINDOW 64u /* power of two */
#define QUEUE (2 * WINDOW) /* so that a lane is filled by the window */
#define JOIN_MAX 65536u /* bytes of one line joined from pieces */
#define JOIN_WAIT 100000000u /* ns to wait for the next piece */
#define POLL_NS 10000000u
#define POLL_IDLE_NS 20000000u /* after a second without a record */
#define IDLE_POLLS 100u
#define SOON_NS 200000u
#define TAKE_MAX 65536u /* records taken in a row, when none is given */
#define WATCH_NS 1000000000u /* look so often even if told (watch.c) */

struct lane {
	uint32_t ring;
	void *stream;
	bool dead;
	bool cut; /* begins behind its oldest record */
	/* of a line that is being joined, taken and not yet given */
	struct dlog_item held; /* the one with the lowest position */
	uint32_t nr_held;
	uint32_t head, n;
	uint32_t taken_boot; /* of the last taken-over line, and its key */
	uint64_t taken_key;
	/* Sorted; q[head] is next.  Before it, what was taken last. */
	struct dlog_item q[QUEUE];
};

/*
 * One source: its lanes, and a heap of those that have records.  Records come
 * in runs of one ring: @second, the lane after the heap's first (or NULL),
 * says without the heap whether that one is still the first.
 */
struct group {
	struct dlog *d;
	struct lane *lane, *second;
	uint32_t lanes, heap_n;
	uint32_t *heap;
	/* Until one comes behind these: left out, with what else was. */
	bool skip;
	uint32_t skip_boot;
	uint64_t skip_key;
	struct dlog_watch watch;
};

struct dlog_reader {
	struct group *group;
	size_t n;
	bool follow, begun;
	bool busy; /* the last poll found something */
	bool behind; /* a stream was left in the middle: go on at once */
	uint32_t idle; /* polls since then */
	int error; /* of the first stream that failed */
	uint64_t polled; /* CLOCK_MONOTONIC */
	struct pollfd *wait; /* for each source */
	/* the item that the caller looks at */
	struct group *out_group;
	struct lane *out_lane;
	const struct dlog_item *out;
	/* the line that is being joined, and where its last piece was */
	bool joining;
	struct group *join_group;
	struct lane *join_lane;
	uint64_t join_until;
	struct dlog_entry join;
	uint8_t *join_buf;
};

static struct dlog_item *lane_at(struct lane *l, uint32_t i)
{
	return &l->q[(l->head + i) % QUEUE];
}

static bool item_before(const struct dlog_item *a, const struct dlog_item *b)
{
	if (a->boot != b->boot)
		return a->boot < b->boot;
	if (a->key != b->key)
		return a->key < b->key;
	return a->position < b->position;
}

/* The caller word of a line of printk, 0: it is none. */
static uint32_t item_caller(const struct dlog_item *i)
{
	return DLOG_TYPE_KIND(i->type) == DLOG_KIND_PRINTK && i->len >= 4
		       ? dlog_load32(i->data)
		       : 0;
}

/* At the same time, what continues a line comes behind what begins one. */
static bool lane_before(struct lane *a, struct lane *b)
{
	const struct dlog_item *i = lane_at(a, 0), *k = lane_at(b, 0);
	uint32_t cont;

	if (i->boot != k->boot)
		return i->boot < k->boot;
	if (i->key != k->key)
		return i->key < k->key;
	cont = item_caller(k) & DLOG_CALLER_CONT;
	if ((item_caller(i) & DLOG_CALLER_CONT) != cont)
		return cont;
	return a->ring < b->ring;
}

/*
 * Lines taken over from the kernel's buffer stay in its order, although its
 * clock may have stepped back in early boot.
 */
static uint64_t lane_key(struct lane *l, const struct dlog_item *i)
{
	if (!(item_caller(i) & DLOG_CALLER_TAKEN))
		return i->time;
	if (l->taken_boot != i->boot || l->taken_key < i->time)
		l->taken_key = i->time;
	l->taken_boot = i->boot;
	return l->taken_key;
}

static void lane_fill(struct dlog_reader *r, struct group *g, struct lane *l)
{
	/* One place stays free: r->out lies there. */
	while (!l->dead && l->n < QUEUE - 1) {
		struct dlog_item *to = lane_at(l, l->n), item;
		int ret = g->d->ops->stream_next(l->stream, to);
		uint32_t i = l->n;

		if (ret == -EAGAIN) {
			r->behind = true;
		} else if (ret < 0) {
			l->dead = true;
			if (!r->error)
				r->error = ret;
		}
		if (ret <= 0)
			return;
		to->key = lane_key(l, to);
		l->n++;
		if (!i || !item_before(to, lane_at(l, i - 1)))
			continue;
		item = *to;
		for (; i && item_before(&item, lane_at(l, i - 1)); i--)
			*lane_at(l, i) = *lane_at(l, i - 1);
		*lane_at(l, i) = item;
	}
}

static bool heap_before(struct group *g, uint32_t i, uint32_t k)
{
	return lane_before(&g->lane[g->heap[i]], &g->lane[g->heap[k]]);
}

static void heap_down(struct group *g, uint32_t i)
{
	uint32_t *h = g->heap;

	for (;;) {
		uint32_t k = 2 * i + 1, t;

		if (k >= g->heap_n)
			return;
		if (k + 1 < g->heap_n && heap_before(g, k + 1, k))
			k++;
		if (!heap_before(g, k, i))
			return;
		t = h[i];
		h[i] = h[k];
		h[k] = t;
		i = k;
	}
}

static void heap_second(struct group *g)
{
	uint32_t k = 1;

	if (g->heap_n > 2 && heap_before(g, 2, 1))
		k = 2;
	g->second = g->heap_n > 1 ? &g->lane[g->heap[k]] : NULL;
}

static void heap_build(struct group *g)
{
	g->heap_n = 0;
	for (uint32_t i = 0; i < g->lanes; i++)
		if (g->lane[i].n)
			g->heap[g->heap_n++] = i;
	for (uint32_t i = g->heap_n / 2; i--;)
		heap_down(g, i);
	heap_second(g);
}

static struct lane *group_head(struct group *g)
{
	return g->heap_n ? &g->lane[g->heap[0]] : NULL;
}

/* The source whose next record comes first. */
static struct group *reader_head(struct dlog_reader *r)
{
	struct group *best = NULL;
	uint64_t best_real = 0;

	if (r->n == 1)
		return r->group[0].heap_n ? &r->group[0] : NULL;
	for (size_t i = 0; i < r->n; i++) {
		struct group *g = &r->group[i];
		const struct dlog_item *a, *b;
		uint64_t real;

		if (!g->heap_n)
			continue;
		a = lane_at(group_head(g), 0);
		real = dlog_real_time(g->d, a->boot, a->time);
		if (best) {
			b = lane_at(group_head(best), 0);
			if (real && best_real ? real >= best_real
					      : a->time >= b->time)
				continue;
		}
		best = g;
		best_real = real;
	}
	return best;
}

/* Take the next record of lane @l of @g: r->out. */
static void reader_pop(struct dlog_reader *r, struct group *g, struct lane *l)
{
	bool head = l == group_head(g);

	r->out = lane_at(l, 0);
	r->out_group = g;
	r->out_lane = l;
	l->head = (l->head + 1) % QUEUE;
	l->n--;
	if (l->n < WINDOW)
		lane_fill(r, g, l);
	if (!head) {
		heap_build(g);
		return;
	}
	if (l->n && (!g->second || lane_before(l, g->second)))
		return;
	if (!l->n)
		g->heap[0] = g->heap[--g->heap_n];
	heap_down(g, 0);
	heap_second(g);
}

/* The caller has seen r->out: its stream may have waited for the room. */
static void reader_put(struct dlog_reader *r)
{
	struct group *g = r->out_group;
	struct lane *l = r->out_lane;

	if (!l)
		return;
	r->out_lane = NULL;
	g->d->ops->stream_put(l->stream, r->out);
	if (!l->n) {
		lane_fill(r, g, l);
		if (l->n)
			heap_build(g);
	}
}

/* Ask every stream that has run dry; true when there is more. */
static bool poll_once(struct dlog_reader *r)
{
	bool more = false;

	for (size_t i = 0; i < r->n; i++) {
		struct group *g = &r->group[i];
		/* Who is told does not look every few ms. */
		bool rare = g->watch.fd >= 0;

		for (uint32_t k = 0; k < g->lanes; k++) {
			struct lane *l = &g->lane[k];

			if (l->n || l->dead || l == r->out_lane ||
			    !g->d->ops->stream_poll(l->stream, rare))
				continue;
			lane_fill(r, g, l);
			more |= l->n > 0;
		}
		if (more)
			heap_build(g);
	}
	return more;
}

/*
 * A record that was committed while we went from ring to ring may be older
 * than what we have found: go round once more before giving any out.
 */
static void reader_poll(struct dlog_reader *r)
{
	r->polled = dlog_now(CLOCK_MONOTONIC);
	r->behind = false;
	r->busy = poll_once(r);
	r->idle = r->busy ? 0 : r->idle + 1;
	if (r->busy)
		poll_once(r);
}

/* Behind where the group's skipping ends? */
static bool skip_passed(const struct group *g, uint32_t boot, uint64_t key)
{
	return boot != g->skip_boot ? boot > g->skip_boot : key > g->skip_key;
}

/*
 * What a cut lane does not give lies before the last record of its window,
 * as far as its records can be put in order at all.  So behind the latest of
 * these nothing is missing.
 */
static void group_skip(struct group *g)
{
	for (uint32_t k = 0; k < g->lanes; k++) {
		struct lane *l = &g->lane[k];
		uint32_t boot = UINT32_MAX;
		uint64_t key = UINT64_MAX;

		if (!l->cut)
			continue;
		if (l->n) {
			boot = lane_at(l, l->n - 1)->boot;
			key = lane_at(l, l->n - 1)->key;
		}
		if (!g->skip || skip_passed(g, boot, key)) {
			g->skip_boot = boot;
			g->skip_key = key;
		}
		g->skip = true;
	}
}

static void reader_begin(struct dlog_reader *r)
{
	for (size_t i = 0; i < r->n; i++) {
		struct group *g = &r->group[i];

		for (uint32_t k = 0; k < g->lanes; k++)
			lane_fill(r, g, &g->lane[k]);
		heap_build(g);
		group_skip(g);
	}
	r->begun = true;
}

static void entry_fill(struct dlog_entry *e, struct dlog *d, uint32_t ring,
		       const struct dlog_item *item)
{
	*e = (struct dlog_entry){
		.source = d,
		.ring = ring,
		.boot = item->boot,
		.position = item->position,
		.time = item->time,
		.real = dlog_real_time(d, item->boot, item->time),
		.kind = DLOG_TYPE_KIND(item->type),
		.arg = DLOG_TYPE_ARG(item->type),
		.caller = DLOG_CALLER_UNKNOWN,
		.doubt = item->doubt,
		.data = item->data,
		.len = item->len,
	};
	switch (e->kind) {
	case DLOG_KIND_PRINTK:
		if (e->len >= 4) {
			e->caller = dlog_load32(e->data);
			e->data += 4;
			e->len -= 4;
		} else {
			e->len = 0;
		}
		/* fall through */
	case DLOG_KIND_TEXT:
		e->level = DLOG_PRI_LEVEL(e->arg);
		e->facility = (uint16_t)DLOG_PRI_FACILITY(e->arg);
		break;
	default:
		e->level = dlog_kind_level(e->kind, e->arg);
	}
}

#define CALLER_WHO (DLOG_CALLER_CPU | DLOG_CALLER_UNKNOWN | DLOG_CALLER_ID)

/* Is @item the next piece of the line that is being joined? */
static bool join_fits(const struct dlog_entry *j, const struct dlog_item *item)
{
	uint32_t caller = item_caller(item);

	return item->boot == j->boot && item->time == j->time &&
	       caller & DLOG_CALLER_CONT &&
	       (caller & CALLER_WHO) == (j->caller & CALLER_WHO);
}

/*
 * The lane that has the next piece: the one that had the last, or another if
 * the task has changed its CPU.  A piece has the time of its line, so in every
 * ring it comes before what was said later; but not before what others said
 * in the same nanosecond.
 */
static struct lane *join_find(struct dlog_reader *r, struct group **in)
{
	struct group *g = r->join_group;
	struct lane *l = r->join_lane;

	*in = g;
	if (l->n && join_fits(&r->join, lane_at(l, 0)))
		return l;
	for (uint32_t k = 0; k < g->lanes; k++) {
		l = &g->lane[k];
		if (l->n && join_fits(&r->join, lane_at(l, 0)))
			return l;
	}
	return NULL;
}

/* Add @e to the joined line; true when the line is complete. */
static bool join_add(struct dlog_reader *r, const struct dlog_entry *e)
{
	size_t room = JOIN_MAX - r->join.len;
	size_t n = e->len < room ? e->len : room;

	memcpy(r->join_buf + r->join.len, e->data, n);
	r->join.len += n;
	if (!(e->caller & DLOG_CALLER_OPEN))
		r->join.caller &= ~DLOG_CALLER_OPEN;
	return !(e->caller & DLOG_CALLER_OPEN) || r->join.len == JOIN_MAX;
}

/* r->out is a piece of a line that next() has not returned yet. */
static void join_hold(struct lane *l, const struct dlog_item *item)
{
	if (!l->nr_held++ || item->position < l->held.position)
		l->held = *item;
}

static void join_begin(struct dlog_reader *r, const struct dlog_entry *e)
{
	r->joining = true;
	r->join = *e;
	r->join.data = r->join_buf;
	r->join.len = 0;
	r->join_until = r->follow ? dlog_now(CLOCK_MONOTONIC) + JOIN_WAIT : 0;
	join_add(r, e);
}

static int join_end(struct dlog_reader *r, struct dlog_entry *e)
{
	struct group *g = r->join_group;

	r->joining = false;
	for (uint32_t k = 0; k < g->lanes; k++)
		g->lane[k].nr_held = 0;
	*e = r->join;
	return 1;
}

/*
 * The next entry of what has been read: 1, or 0 when there is none, or none
 * but a line whose next piece may still come.  A guest may write pieces, or
 * what is skipped, for ever: so 0, too, to a follower that took many.
 */
static int reader_take(struct dlog_reader *r, struct dlog_entry *e)
{
	struct group *g;

	for (uint32_t n = 0; (g = reader_head(r)); n++) {
		struct lane *l = r->joining ? join_find(r, &g) : group_head(g);
		bool whole;

		if (!l)
			return join_end(r, e);
		if (r->follow && n == TAKE_MAX) {
			r->behind = true;
			return 0;
		}
		reader_pop(r, g, l);
		if (g->skip && !skip_passed(g, r->out->boot, r->out->key)) {
			reader_put(r);
			continue;
		}
		g->skip = false;
		entry_fill(e, g->d, l->ring, r->out);
		r->join_group = g;
		r->join_lane = l;
		if (r->joining) {
			whole = join_add(r, e);
			join_hold(l, r->out);
			reader_put(r);
			if (whole)
				return join_end(r, e);
			continue;
		}
		if (e->kind != DLOG_KIND_PRINTK ||
		    !(e->caller & DLOG_CALLER_OPEN))
			return 1;
		join_begin(r, e);
		join_hold(l, r->out);
		reader_put(r);
	}
	return 0;
}

/* Has somebody told us that there may be something new? */
static bool reader_hear(struct dlog_reader *r)
{
	bool any = false;

	for (size_t i = 0; i < r->n; i++)
		any |= dlog_watch_hear(&r->group[i].watch);
	return any;
}

/*
 * Until something may have come.  If all sources have somebody who tells us
 * (watch.c), that; else a short time.  Whatever it was that woke us, the
 * caller has to look.
 */
static void reader_sleep(struct dlog_reader *r, uint64_t until)
{
	uint64_t now = dlog_now(CLOCK_MONOTONIC);
	uint64_t most = r->idle < IDLE_POLLS ? POLL_NS : POLL_IDLE_NS, ns;
	bool watched = true, armed = true;
	struct timespec ts;

	for (size_t i = 0; i < r->n && watched; i++)
		watched = dlog_watch_open(&r->group[i].watch, r->group[i].d,
					  now);
	/* To be told of some is no use, and there are few who may wait. */
	for (size_t i = 0; i < r->n && !watched; i++)
		dlog_watch_leave(&r->group[i].watch, now);
	for (size_t i = 0; i < r->n; i++) {
		struct dlog_watch *w = &r->group[i].watch;

		if (w->state == DLOG_WATCH_STORED) {
			/* Not whole yet, but soon. */
			w->state = DLOG_WATCH_IDLE;
			most = SOON_NS;
			armed = false;
		}
		armed &= watched && most != SOON_NS && dlog_watch_ask(w, now);
		r->wait[i] = (struct pollfd){ w->fd, POLLIN, 0 };
	}
	if (armed)
		most = WATCH_NS;
	if (r->joining && r->join_until < until)
		until = r->join_until;
	ns = until > now ? until - now : 0;
	ns = ns < most ? ns : most;
	ts.tv_sec = (time_t)(ns / 1000000000u);
	ts.tv_nsec = (long)(ns % 1000000000u);
	ppoll(r->wait, r->n, &ts, NULL);
	reader_hear(r);
}

int dlog_reader_wake_fd(struct dlog_reader *r)
{
	uint64_t now = dlog_now(CLOCK_MONOTONIC);
	struct group *g = r->group;

	if (r->n != 1 || !r->follow || !dlog_watch_open(&g->watch, g->d, now))
		return -1;
	/* Nobody tells of what is there already. */
	if (r->behind)
		return -1;
	dlog_watch_ask(&g->watch, now);
	return g->watch.fd;
}

int dlog_reader_next(struct dlog_reader *r, struct dlog_entry *e,
		     int timeout_ms)
{
	uint64_t until = UINT64_MAX, now;
	int error;

	if (!r->begun)
		reader_begin(r);
	reader_put(r);
	if (r->follow) {
		now = dlog_now(CLOCK_MONOTONIC);
		if (timeout_ms >= 0)
			until = now + (uint64_t)timeout_ms * 1000000;
		if (r->behind || now - r->polled >= POLL_NS)
			reader_poll(r);
	}
	for (;;) {
		if (reader_take(r, e))
			return 1;
		/* What comes from now on is new. */
		for (size_t i = 0; i < r->n && !reader_head(r); i++)
			r->group[i].skip = false;
		now = r->follow ? dlog_now(CLOCK_MONOTONIC) : 0;
		if (r->joining &&
		    (!r->follow || r->error || now >= r->join_until))
			return join_end(r, e);
		error = r->error;
		r->error = 0;
		if (error)
			return error;
		if (!r->follow)
			return 0;
		if (now >= until &&
		    (r->behind || (!r->busy && !reader_hear(r))))
			return 0;
		if (!r->busy && !r->behind && now < until)
			reader_sleep(r, until);
		reader_poll(r);
	}
}

void dlog_reader_set_boot(struct dlog_reader *r, uint32_t boot)
{
	for (size_t i = 0; i < r->n; i++) {
		struct group *g = &r->group[i];

		for (uint32_t k = 0; k < g->lanes; k++)
			g->d->ops->stream_set_boot(g->lane[k].stream, boot);
	}
}

int dlog_reader_set_last(struct dlog_reader *r, uint64_t n)
{
	int any = 0;

	/* The window that each may lose at its beginning. */
	n = n < UINT64_MAX - QUEUE ? n + QUEUE : n;
	for (size_t i = 0; i < r->n; i++) {
		struct group *g = &r->group[i];

		for (uint32_t k = 0; k < g->lanes; k++) {
			struct lane *l = &g->lane[k];
			int ret = g->d->ops->stream_last(l->stream, n);

			if (ret < 0)
				return ret;
			l->cut = ret;
			any |= ret;
		}
	}
	return any;
}

uint64_t dlog_reader_missed(struct dlog_reader *r)
{
	uint64_t missed = 0;

	for (size_t i = 0; i < r->n; i++) {
		struct group *g = &r->group[i];

		for (uint32_t k = 0; k < g->lanes; k++)
			missed += g->d->ops->stream_missed(g->lane[k].stream);
	}
	return missed;
}

uint64_t dlog_reader_hidden(struct dlog_reader *r)
{
	uint64_t n = 0;

	for (size_t i = 0; i < r->n; i++) {
		struct group *g = &r->group[i];

		for (uint32_t k = 0; g->d->ops->stream_hidden && k < g->lanes;
		     k++)
			n += g->d->ops->stream_hidden(g->lane[k].stream);
	}
	return n;
}

/*
 * The stream's places, less what it has given to the lane alone: the main
 * one begins at the first of that, and of late records each is a place.
 */
static size_t lane_tell(struct group *g, struct lane *l, struct dlog_place *out,
			size_t n)
{
	size_t k = g->d->ops->stream_tell(l->stream, out, n);
	const struct dlog_item *first = l->nr_held ? &l->held : NULL;
	uint64_t waiting = l->nr_held;

	for (uint32_t i = 0; i < l->n; i++) {
		const struct dlog_item *item = lane_at(l, i);

		if (!item->late) {
			waiting++;
			if (!first || item->position < first->position)
				first = item;
			continue;
		}
		if (k < n)
			out[k] = (struct dlog_place){
				.ring = l->ring,
				.boot = item->boot,
				.position = item->position,
				.end = item->position +
				       DLOG_REC_SIZE(item->len),
			};
		k++;
	}
	if (!n || !first)
		return k;
	out->position = first->position;
	out->records = out->boot == first->boot ? out->records - waiting
						: first->number;
	out->boot = first->boot;
	return k;
}

size_t dlog_reader_tell(struct dlog_reader *r, size_t source,
			struct dlog_place *out, size_t n)
{
	struct group *g = &r->group[source];
	size_t k = 0;

	for (uint32_t i = 0; i < g->lanes; i++)
		k += lane_tell(g, &g->lane[i], k < n ? out + k : NULL,
			       k < n ? n - k : 0);
	return k;
}

int dlog_reader_seek(struct dlog_reader *r, size_t source,
		     const struct dlog_place *places, size_t n)
{
	struct group *g = &r->group[source];

	if (source >= r->n || r->begun || !r->follow)
		return -EINVAL;
	for (uint32_t i = 0; i < g->lanes; i++)
		g->d->ops->stream_seek(g->lane[i].stream, places, n);
	return 0;
}

static void group_free(struct group *g)
{
	for (uint32_t i = 0; g->lane && i < g->lanes; i++)
		if (g->lane[i].stream)
			g->d->ops->stream_free(g->lane[i].stream);
	free(g->lane);
	free(g->heap);
	dlog_watch_close(&g->watch);
}

void dlog_reader_free(struct dlog_reader *r)
{
	if (!r)
		return;
	for (size_t i = 0; r->group && i < r->n; i++)
		group_free(&r->group[i]);
	free(r->group);
	free(r->join_buf);
	free(r->wait);
	free(r);
}

static int group_new(struct group *g, struct dlog *d, unsigned int flags)
{
	int ret = 0;

	g->d = d;
	g->lanes = d->ops->streams(d);
	g->lane = calloc(g->lanes, sizeof(*g->lane));
	g->heap = calloc(g->lanes, sizeof(*g->heap));
	if (!g->lane || !g->heap)
		return -ENOMEM;
	for (uint32_t i = 0; !ret && i < g->lanes; i++) {
		g->lane[i].ring = i;
		ret = d->ops->stream_new(d, i, flags, &g->lane[i].stream);
	}
	return ret;
}

int dlog_reader_new(struct dlog_reader **out, struct dlog **sources, size_t n,
		    unsigned int flags, struct dlog_error *err)
{
	struct dlog_reader *r = calloc(1, sizeof(*r));
	const char *name = n ? sources[0]->name : "?", *why = NULL;
	int ret = n ? -ENOMEM : -EINVAL;

	*out = NULL;
	if (!r || !n)
		goto fail;
	r->n = n;
	r->follow = flags & DLOG_READER_FOLLOW;
	r->group = calloc(n, sizeof(*r->group));
	r->join_buf = malloc(JOIN_MAX);
	r->wait = calloc(n, sizeof(*r->wait));
	if (!r->group || !r->join_buf || !r->wait)
		goto fail;
	for (size_t i = 0; i < n; i++)
		r->group[i].watch.fd = -1;
	for (size_t i = 0; i < n; i++) {
		name = sources[i]->name;
		ret = group_new(&r->group[i], sources[i], flags);
		if (ret && sources[i]->ops->why)
			why = sources[i]->ops->why(sources[i]);
		if (ret)
			goto fail;
	}
	*out = r;
	return 0;
fail:
	dlog_reader_free(r);
	if (why && *why)
		return dlog_fail(err, ret, "Cannot read %s: %s", name, why);
	return dlog_fail(err, ret, "Cannot read %s: %s.", name, strerror(-ret));
}
