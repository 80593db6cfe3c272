// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * clock.c - a source's clock on the clock of another one that watched it.
 *
 * The QEMU plugin records events `dlog:clock`: at some instant between `early`
 * and `late` of its own clock, the clock of a guest's boot showed `guest`.
 * Between two such pairs a guest's time is placed linearly, outside of them
 * as if both clocks went alike.
 *
 * How far that may be off, between two pairs: half of the longer interval,
 * and as much as the one clock went further than the other, as if all of that
 * had happened at once at either end.  Where that is much, the guest was
 * stopped, or its clock set, and nothing says when: what lies where it stood
 * goes by the nearer of the two pairs.
 *
 * Pairs come in order, and what is out of order is left out, so that nothing
 * is ever sorted.  But the guest's numbers are what it has in its own memory:
 * of two that contradict each other the one goes that its neighbours do not
 * confirm, and of a boot that the guest's table has not come to none is taken.
 * Numbers beyond TIME_MAX are nonsense: sums of two fit.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "internal.h"

#define EVENT "dlog:clock"
#define FIELDS                                                                 \
	"x64 uuid_low; x64 uuid_high; u32 boot; u32 cpu; u64 guest; "          \
	"u64 early; u64 late"
#define DATA 48u /* bytes of such a record */
#define PAIRS_MAX 65536u /* then every second one is forgotten */
#define TIME_MAX (UINT64_C(1) << 61)
#define WIDE_NS 60000000000u /* longer intervals say nothing */
/*
 * A pair whose interval is so many times that of its neighbour, and longer
 * than what two clocks may differ (1/DRIFT) over the time between them, tells
 * less than the neighbour does.
 */
#define WORSE 4u
#define DRIFT 2000u
#define JUMP_NS 10000000u
#define TABLE_NS                                                               \
	100000000u /* at least, from one look at the table to the next */

struct pair {
	uint32_t boot, witness_boot, cpu;
	uint64_t guest;
	uint64_t middle, half; /* of the interval */
};

struct dlog_learned {
	struct dlog *witness;
	uint32_t event; /* its id there */
	uint32_t nr, room, at; /* @at: the one used last */
	struct pair *pair; /* by boot and guest */
	/* The last pair of all, if it was out of order; boot 0: it was not. */
	struct pair rejected;
	uint32_t newest; /* boot of the guest's table, */
	uint64_t table_read; /* as it was then (CLOCK_MONOTONIC) */
	/* That boot number told_n begins at pair told_at; dlog_get_clock(). */
	uint32_t told_n, told_at;
};

static bool pair_before(const struct pair *p, uint32_t boot, uint64_t guest)
{
	return p->boot != boot ? p->boot < boot : p->guest < guest;
}

/* Both of one boot, here and there: between them it can be interpolated. */
static bool pair_joins(const struct pair *a, const struct pair *b)
{
	return a->boot == b->boot && a->witness_boot == b->witness_boot;
}

static uint64_t apart(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

/* How much further one clock went than the other. */
static uint64_t pair_drift(const struct pair *a, const struct pair *b)
{
	return apart(b->middle - a->middle, b->guest - a->guest);
}

/* Did one clock stand still, or jump, somewhere between them? */
static bool pair_jumped(const struct pair *a, const struct pair *b)
{
	uint64_t half = a->half > b->half ? a->half : b->half;

	return pair_drift(a, b) > half + JUMP_NS;
}

/* Can @b come behind @a? */
static bool pair_follows(const struct pair *a, const struct pair *b)
{
	return pair_before(a, b->boot, b->guest) &&
	       !(pair_joins(a, b) && b->middle < a->middle);
}

static bool worse(const struct pair *a, const struct pair *b)
{
	return pair_joins(a, b) && a->half / WORSE > b->half &&
	       a->half > apart(a->guest, b->guest) / DRIFT;
}

static bool pair_read(const struct dlog *d, const struct dlog_entry *e,
		      struct pair *p)
{
	uint64_t early, late;

	if (e->len != DATA || memcmp(e->data, d->sb.uuid, 16))
		return false;
	early = dlog_load64(e->data + 32);
	late = dlog_load64(e->data + 40);
	*p = (struct pair){
		.boot = dlog_load32(e->data + 16),
		.witness_boot = e->boot,
		.cpu = dlog_load32(e->data + 20),
		.guest = dlog_load64(e->data + 24),
		.middle = early + (late - early) / 2,
		.half = (late - early + 1) / 2,
	};
	return p->boot && early <= late && late - early <= WIDE_NS &&
	       late < TIME_MAX && p->guest < TIME_MAX;
}

static int pair_room(struct dlog_learned *l)
{
	uint32_t room = l->room ? 2 * l->room : 64;
	struct pair *p;

	if (l->nr < l->room)
		return 0;
	if (l->nr == PAIRS_MAX) {
		for (uint32_t i = 0; i < PAIRS_MAX / 2; i++)
			l->pair[i] = l->pair[2 * i + 1];
		l->nr = PAIRS_MAX / 2;
		return 0;
	}
	p = realloc(l->pair, room * sizeof(*p));
	if (!p)
		return -ENOMEM;
	l->pair = p;
	l->room = room;
	return 0;
}

static int pair_append(struct dlog_learned *l, const struct pair *p)
{
	int ret;

	while (l->nr && worse(&l->pair[l->nr - 1], p))
		l->nr--;
	ret = pair_room(l);
	if (ret)
		return ret;
	l->pair[l->nr++] = *p;
	l->told_n = l->told_at = 0;
	return 1;
}

/* Does @p, and not the last pair, go on as the last but one says? */
static bool last_is_stray(const struct dlog_learned *l, const struct pair *p)
{
	const struct pair *last = &l->pair[l->nr - 1], *a = last - 1;

	return l->nr > 1 && pair_joins(a, p) && pair_follows(a, p) &&
	       !pair_jumped(a, p) &&
	       (!pair_joins(a, last) || pair_drift(a, p) < pair_drift(a, last));
}

/* 1: taken, 0: it is of no use. */
static int pair_add(struct dlog_learned *l, const struct pair *p)
{
	struct pair rejected = l->rejected;
	int ret;

	l->rejected.boot = 0;
	if (!l->nr || pair_follows(&l->pair[l->nr - 1], p)) {
		if (l->nr && worse(p, &l->pair[l->nr - 1]))
			return 0;
		return pair_append(l, p);
	}
	if (last_is_stray(l, p)) {
		l->nr--;
		return pair_append(l, p);
	}
	if (rejected.boot && pair_joins(&rejected, p) &&
	    pair_follows(&rejected, p) && !pair_jumped(&rejected, p)) {
		/* Two that agree contradict what came before them. */
		while (l->nr && !pair_follows(&l->pair[l->nr - 1], &rejected))
			l->nr--;
		ret = pair_append(l, &rejected);
		return ret < 0 || worse(p, &rejected) ? ret : pair_append(l, p);
	}
	l->rejected = *p;
	return 0;
}

/*
 * Has there been such a boot?  It may have begun since the table was read;
 * those whose slots others have taken were before the newest.
 */
static bool boot_known(struct dlog *guest, uint32_t boot)
{
	struct dlog_learned *l = guest->learned;
	uint64_t now;

	if (boot <= l->newest)
		return true;
	now = dlog_now(CLOCK_MONOTONIC);
	if (l->table_read && now - l->table_read < TABLE_NS)
		return false;
	l->table_read = now;
	if (!dlog_table_load(guest) && guest->table.nr)
		l->newest = guest->table.entry[guest->table.nr - 1].boot;
	return boot <= l->newest;
}

/* ---- learning ---- */

static uint32_t find_event(struct dlog *witness)
{
	struct dlog_event_desc desc;

	for (uint32_t id = 1; id <= DLOG_EVENT_MAX; id++)
		if (dlog_get_event(witness, id, &desc) &&
		    !strcmp(desc.name, EVENT) && !strcmp(desc.fields, FIELDS))
			return id;
	return 0;
}

void dlog_learned_free(struct dlog *d)
{
	if (d->learned)
		free(d->learned->pair);
	free(d->learned);
	d->learned = NULL;
}

int dlog_learn_entry(struct dlog *guest, const struct dlog_entry *e)
{
	struct dlog_learned *l = guest->learned;
	struct pair p;

	if (!l || e->source != l->witness || e->kind != DLOG_KIND_EVENT ||
	    e->arg != l->event || !pair_read(guest, e, &p) ||
	    !boot_known(guest, p.boot))
		return 0;
	return pair_add(l, &p);
}

static int learn_all(struct dlog *guest, struct dlog *witness)
{
	struct dlog_reader *r;
	struct dlog_entry e;
	int ret = dlog_reader_new(&r, &witness, 1, 0, NULL);

	if (ret)
		return ret;
	do {
		ret = dlog_reader_next(r, &e, 0);
		if (ret > 0 && dlog_learn_entry(guest, &e) < 0)
			ret = -ENOMEM;
	} while (ret > 0);
	dlog_reader_free(r);
	return ret;
}

int dlog_learn_clock(struct dlog *guest, struct dlog *witness)
{
	struct dlog_learned *l;
	uint32_t event = 0;
	int ret;

	if (guest == witness || !dlog_is_region(guest) ||
	    !dlog_is_region(witness))
		return 0;
	event = find_event(witness);
	if (!event || (guest->learned && guest->learned->nr))
		return 0;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->witness = witness;
	l->event = event;
	dlog_learned_free(guest);
	guest->learned = l;
	ret = learn_all(guest, witness);
	return ret < 0 ? ret : (int)l->nr;
}

/* ---- using ---- */

/* The last pair of @boot that is not behind @time, else the first behind. */
static const struct pair *find(struct dlog_learned *l, uint32_t boot,
			       uint64_t time)
{
	uint32_t low = 0, high = l->nr;

	/* Records come by time: mostly it is the one used last. */
	if (l->at < l->nr && pair_before(&l->pair[l->at], boot, time) &&
	    (l->at + 1 == l->nr ||
	     !pair_before(&l->pair[l->at + 1], boot, time)))
		low = high = l->at + 1;
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (pair_before(&l->pair[mid], boot, time))
			low = mid + 1;
		else
			high = mid;
	}
	if (low && l->pair[low - 1].boot == boot)
		low--;
	if (low == l->nr || l->pair[low].boot != boot)
		return NULL;
	l->at = low;
	return &l->pair[low];
}

/* @time, which lies between @a and @b, on the witness' clock. */
static uint64_t between(const struct pair *a, const struct pair *b,
			uint64_t time)
{
	uint64_t on = time - a->guest, all = b->guest - a->guest;
	uint64_t there = b->middle - a->middle, half = there / 2;
	double more = (double)there - (double)all;

	/* It stood, or was set: where is not known, nothing is better than the
	 * nearer; as far as that leaves the times in order. */
	if (pair_jumped(a, b) && on < all / 2)
		return a->middle + (on < half ? on : half);
	if (pair_jumped(a, b))
		return b->middle -
		       (all - on < there - half ? all - on : there - half);
	return a->middle + on +
	       (uint64_t)(int64_t)((double)on / (double)all * more);
}

uint64_t dlog_learned_time(const struct dlog *d, uint32_t boot, uint64_t time)
{
	struct dlog_learned *l = d->learned;
	struct dlog *w = l->witness;
	const struct pair *p = find(l, boot, time), *next;
	uint64_t there;

	if (!p)
		return 0;
	next = p + 1 < l->pair + l->nr ? p + 1 : NULL;
	if (next && time > p->guest && pair_joins(p, next))
		there = between(p, next, time);
	else
		/* Modulo 2^64 on purpose: @time may be anything. */
		there = p->middle + (time - p->guest);
	return w->ops->real_time(w, p->witness_boot, there);
}

static void relation_add(struct dlog_clock_relation *rel, const struct pair *a,
			 const struct pair *b)
{
	uint64_t drift, half = a->half > b->half ? a->half : b->half;

	if (!pair_joins(a, b))
		return;
	drift = pair_drift(a, b);
	if (pair_jumped(a, b)) {
		rel->jumps++;
		rel->jumped += drift;
	} else if (half + drift > rel->bound) {
		rel->bound = half + drift;
	}
}

int dlog_get_clock(struct dlog *guest, uint32_t n,
		   struct dlog_clock_relation *rel)
{
	struct dlog_learned *l = guest->learned;
	uint32_t i = 0, first, left = n;

	memset(rel, 0, sizeof(*rel));
	if (!l)
		return 0;
	if (n >= l->told_n) {
		i = l->told_at;
		left -= l->told_n;
	}
	for (; i < l->nr && left; i++)
		left -= i + 1 < l->nr && l->pair[i + 1].boot != l->pair[i].boot;
	if (i >= l->nr || left)
		return 0;
	first = l->told_at = i;
	l->told_n = n;
	rel->witness = l->witness;
	rel->boot = l->pair[i].boot;
	rel->from = l->pair[i].guest;
	rel->bound = l->pair[i].half;
	for (; i < l->nr && l->pair[i].boot == rel->boot; i++) {
		rel->pairs++;
		rel->cpus |= l->pair[i].cpu != l->pair[first].cpu;
		rel->to = l->pair[i].guest;
		if (i > first)
			relation_add(rel, &l->pair[i - 1], &l->pair[i]);
	}
	return 1;
}
