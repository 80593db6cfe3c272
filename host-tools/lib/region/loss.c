// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * loss.c - what was lost, for each ring and boot.
 *
 * A boot's sub-buffers in a ring are a run.  Each START says how many
 * records the boot had reserved before it, so the records of a *span*, from
 * one valid START to the next, are known exactly; what is not found there is
 * lost.  Behind the last START only a hole, the next boot's table entry, or
 * a heartbeat proves that there was more.  dlog.h (struct dlog_loss) has the
 * definitions; this file is their arithmetic.
 */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* From a START (or the run's beginning) to the next. */
struct span {
	uint64_t before; /* records reserved before it */
	uint64_t full, open, holes, zero_holes;
	uint64_t zero_tails; /* sub-buffers whose rest is all zero */
	uint64_t tail_bytes;
	bool lapped; /* a writer came round while it was read */
};

struct run {
	struct dlog_loss l;
	bool started; /* a START was seen */
	bool whole; /* the boot's first sub-buffer is still live */
	uint64_t last; /* position of the newest START */
	struct span span;
};

struct losses {
	struct dlog_loss *l;
	size_t nr, room;
};

static int losses_add(struct losses *t, const struct dlog_loss *l)
{
	if (t->nr == t->room) {
		size_t room = t->room ? t->room * 2 : 64;
		void *p = realloc(t->l, room * sizeof(*t->l));

		if (!p)
			return -ENOMEM;
		t->l = p;
		t->room = room;
	}
	t->l[t->nr++] = *l;
	return 0;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/*
 * Put @missing records of the span into torn and corrupt.  A hole of zero
 * bytes was reserved and never written; one of other bytes had been written,
 * by this lap or the one before.  A zero rest behind the last record is
 * ordinary unless nothing else can hold what is missing.
 */
static void span_missing(struct run *r, uint64_t missing)
{
	struct span *s = &r->span;
	uint64_t torn, tails;

	if (s->lapped) {
		r->l.overwritten += missing;
		return;
	}
	torn = least(s->zero_holes, missing);
	if (missing > s->holes) {
		r->l.bad_bytes += s->tail_bytes;
		tails = missing - s->holes;
		if (s->holes == s->zero_holes)
			torn += least(s->zero_tails, tails);
	}
	r->l.torn += torn;
	r->l.corrupt += missing - torn;
}

/* The span ends where @reserved records of this boot had been reserved. */
static void span_close(struct run *r, uint64_t reserved)
{
	struct span *s = &r->span;
	uint64_t found = s->full + s->open, missing = 0;

	if (reserved > s->before)
		missing = reserved - s->before;
	missing = missing > found ? missing - found : 0;
	r->l.records += s->full;
	r->l.torn += s->open;
	/* What lies before the first START, if the run's beginning is gone. */
	if (!r->started && !r->whole && missing > s->holes) {
		r->l.overwritten += missing - s->holes;
		missing = s->holes;
	}
	/* A hole proves a record whatever the counts say. */
	span_missing(r, most(missing, s->holes));
	memset(s, 0, sizeof(*s));
	s->before = reserved;
}

/* Position of the first sub-buffer of @boot: true when known. */
static bool boot_start(const struct dlog_view *v, uint32_t boot,
		       uint64_t *start)
{
	int i = dlog_table_find(v->d, boot);

	if (i < 0)
		return false;
	*start =
		v->d->table.ring[(size_t)i * v->d->sb.nr_rings + v->ring].start;
	return true;
}

/* What the boot after @boot knows of it in this ring, or NULL. */
static const struct dlog_boot_ring *boot_after(const struct dlog_view *v,
					       uint32_t boot)
{
	int i = dlog_table_after(v->d, boot);

	return i < 0 ? NULL
		     : &v->d->table
				.ring[(size_t)i * v->d->sb.nr_rings + v->ring];
}

static void run_begin(struct run *r, const struct dlog_view *v, uint32_t boot)
{
	uint64_t start;

	memset(r, 0, sizeof(*r));
	r->l.ring = v->ring;
	r->l.boot = boot;
	r->whole = boot_start(v, boot, &start) && start >= v->low;
}

/* Add the sub-buffer in @s. */
static void run_add(struct run *r, const struct dlog_view *v,
		    const struct dlog_sub *s)
{
	uint32_t size = v->d->sb.subbuf_size;
	struct span *sp = &r->span;

	if (s->started) {
		/* A writer that came round took what was before, too. */
		if (!r->started && !sp->full && !sp->open && !sp->holes &&
		    !r->whole)
			r->l.overwritten += s->start.records;
		else
			span_close(r, s->start.records);
		sp->before = s->start.records;
		r->started = true;
		r->last = s->position;
		r->l.dropped = most(r->l.dropped, s->start.dropped);
		r->l.bytes += DLOG_START_SIZE;
	} else if (!s->lapped) {
		r->l.bad_bytes += DLOG_START_SIZE;
	}
	sp->full += s->full;
	sp->open += s->open;
	sp->holes += s->holes;
	sp->zero_holes += s->zero_holes;
	sp->lapped |= s->lapped;
	r->l.bytes += s->full_bytes;
	r->l.bad_bytes += s->open_bytes + s->hole_bytes;
	if (!s->lapped && s->tail < size) {
		const uint8_t *p = s->copy + s->tail;
		uint32_t n = size - s->tail;

		sp->tail_bytes += n;
		sp->zero_tails += s->started && n >= DLOG_HDR && !*p &&
				  !memcmp(p, p + 1, n - 1);
	}
}

/*
 * Records that a heartbeat saw reserved, if it was in the boot's last
 * sub-buffer and its count is possible there.  It was read before the ring,
 * so what it counts and the ring does not hold was never finished, or is
 * damaged.
 */
static uint64_t run_beat(const struct run *r, const struct dlog_view *v,
			 const struct dlog_cpu *hint)
{
	uint64_t size = v->d->sb.subbuf_size;

	if (!r->started || hint->position <= r->last ||
	    hint->position > r->last + size || hint->records < r->span.before ||
	    hint->records - r->span.before >
		    (hint->position - r->last - DLOG_START_SIZE) / DLOG_HDR)
		return 0;
	return hint->records;
}

static int run_end(struct run *r, const struct dlog_view *v,
		   const struct dlog_cpu *hint, struct losses *t)
{
	const struct dlog_boot_ring *after = boot_after(v, r->l.boot);
	uint64_t reserved = r->span.before + r->span.full + r->span.open;

	if (after) {
		reserved = most(reserved, after->prev_records);
		r->l.dropped = most(r->l.dropped, after->prev_dropped);
	} else if (hint->boot == r->l.boot) {
		reserved = most(reserved, run_beat(r, v, hint));
	}
	if (hint->boot == r->l.boot)
		r->l.dropped = most(r->l.dropped, hint->dropped);
	span_close(r, reserved);
	r->l.reserved = r->l.records + r->l.overwritten + r->l.torn +
			r->l.corrupt;
	return losses_add(t, &r->l);
}

/* Boots of the table that have no sub-buffer left in this ring. */
static int ring_absent(struct dlog_view *v, const struct dlog_cpu *hint,
		       struct losses *t, size_t first)
{
	const struct dlog_table *tab = &v->d->table;
	size_t runs = t->nr;

	for (uint32_t i = 0; i < tab->nr; i++) {
		struct dlog_loss l = { .ring = v->ring,
				       .boot = tab->entry[i].boot };
		const struct dlog_boot_ring *after = boot_after(v, l.boot);
		size_t lo = first, hi = runs;
		int ret;

		while (lo < hi) {
			size_t mid = lo + (hi - lo) / 2;

			if (t->l[mid].boot < l.boot)
				lo = mid + 1;
			else
				hi = mid;
		}
		if (lo < runs && t->l[lo].boot == l.boot)
			continue;
		if (after) {
			l.reserved = l.overwritten = after->prev_records;
			l.dropped = after->prev_dropped;
		} else if (i + 1 == tab->nr) {
			l.dropped = hint->boot == l.boot ? hint->dropped : 0;
		}
		ret = losses_add(t, &l);
		if (ret)
			return ret;
	}
	return 0;
}

static int loss_order(const void *a, const void *b)
{
	const struct dlog_loss *x = a, *y = b;

	if (x->boot != y->boot)
		return x->boot < y->boot ? -1 : 1;
	return x->ring < y->ring ? -1 : x->ring > y->ring;
}

/* One entry for each boot: @first.. are those of one ring. */
static void merge(struct losses *t, size_t first)
{
	size_t n = first;

	if (t->nr == first)
		return;
	qsort(t->l + first, t->nr - first, sizeof(*t->l), loss_order);
	for (size_t i = first + 1; i < t->nr; i++) {
		struct dlog_loss *to = &t->l[n], *l = &t->l[i];

		if (l->boot != to->boot) {
			t->l[++n] = *l;
			continue;
		}
		/* Only a region that contradicts itself comes here. */
		to->records += l->records;
		to->overwritten += l->overwritten;
		to->torn += l->torn;
		to->corrupt += l->corrupt;
		to->reserved += l->reserved;
		to->dropped = most(to->dropped, l->dropped);
		to->bytes += l->bytes;
		to->bad_bytes += l->bad_bytes;
	}
	t->nr = n + 1;
}

static int loss_ring(struct dlog *d, uint32_t ring, struct losses *t)
{
	struct dlog_cpu hint;
	struct dlog_view v;
	struct run run = { 0 };
	size_t first = t->nr;
	int ret = dlog_view_init(&v, d, ring);

	if (ret)
		return ret;
	dlog_ring_hint(d, ring, &hint);
	ret = dlog_view_find(&v, false);
	for (uint64_t p = v.low; !ret && v.any && p <= v.high;
	     p += d->sb.subbuf_size) {
		struct dlog_sub *s = &v.sub[0];
		uint32_t boot;

		ret = dlog_sub_load(&v, p, s);
		if (ret)
			break;
		boot = dlog_sub_boot(&v, s, run.l.boot);
		if (boot != run.l.boot || p == v.low) {
			if (p != v.low)
				ret = run_end(&run, &v, &hint, t);
			run_begin(&run, &v, boot);
		}
		run_add(&run, &v, s);
	}
	if (!ret && v.any)
		ret = run_end(&run, &v, &hint, t);
	if (!ret) {
		merge(t, first);
		ret = ring_absent(&v, &hint, t, first);
	}
	dlog_view_no_buffers(&v);
	return ret;
}

int dlog_region_loss(struct dlog *d, struct dlog_loss **out)
{
	struct losses t = { 0 };
	int ret = dlog_table_load(d);

	*out = NULL;
	for (uint32_t i = 0; !ret && i < d->sb.nr_rings; i++)
		ret = loss_ring(d, i, &t);
	if (ret) {
		free(t.l);
		return ret;
	}
	if (t.nr)
		qsort(t.l, t.nr, sizeof(*t.l), loss_order);
	/* Never NULL, so that the caller need not care. */
	*out = t.l ? t.l : calloc(1, sizeof(*t.l));
	return *out ? (int)t.nr : -ENOMEM;
}
