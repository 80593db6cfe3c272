// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * boots.c - the boot table, and the list of boots that table and records
 * give together.
 *
 * An entry of the table that is damaged or was reused loses a boot's name,
 * not its records: each START names its boot.
 */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

void dlog_table_free(struct dlog *d)
{
	free(d->table.entry);
	free(d->table.ring);
	memset(&d->table, 0, sizeof(d->table));
}

struct slot {
	uint32_t boot, slot;
};

static int slot_order(const void *a, const void *b)
{
	const struct slot *x = a, *y = b;

	return x->boot < y->boot ? -1 : x->boot > y->boot;
}

/* What each slot claims to hold, by boot.  Returns how many. */
static uint32_t table_claims(struct dlog *d, struct slot *s)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < d->sb.boot_slots; i++) {
		uint64_t off = d->sb.boot_off + (uint64_t)i * d->sb.boot_stride;
		uint32_t boot;

		if (!dlog_fetch(d, off + offsetof(struct dlog_boot, boot),
				&boot, sizeof(boot)) &&
		    boot && (boot - 1) % d->sb.boot_slots == i)
			s[n++] = (struct slot){ boot, i };
	}
	if (n)
		qsort(s, n, sizeof(*s), slot_order);
	return n;
}

/* Append the entry that @s claims, if it proves itself; @buf is scratch. */
static void table_add(struct dlog *d, const struct slot *s, uint8_t *buf)
{
	struct dlog_table *t = &d->table;
	size_t rings = d->sb.nr_rings * sizeof(*t->ring);
	uint32_t size = (uint32_t)(sizeof(struct dlog_boot) + rings);
	uint64_t off = d->sb.boot_off + (uint64_t)s->slot * d->sb.boot_stride;
	struct dlog_boot b;

	if (dlog_fetch(d, off, buf, size))
		return;
	memcpy(&b, buf, sizeof(b));
	if (b.size != size || b.boot != s->boot ||
	    b.check != dlog_object_check(buf, size,
					 dlog_seed(d, DLOG_SEED_BOOT), off))
		return;
	t->entry[t->nr] = b;
	memcpy(t->ring + (size_t)t->nr * d->sb.nr_rings, buf + sizeof(b),
	       rings);
	t->nr++;
}

/* Read the whole table anew. */
int dlog_table_load(struct dlog *d)
{
	struct dlog_table *t = &d->table;
	struct slot *s = malloc(d->sb.boot_slots * sizeof(*s));
	uint8_t *buf = malloc(d->sb.boot_stride);
	uint32_t n = 0;
	int ret = -ENOMEM;

	dlog_table_free(d);
	if (!buf || !s)
		goto out;
	n = table_claims(d, s);
	t->entry = malloc((n + 1) * sizeof(*t->entry));
	t->ring = malloc((size_t)(n + 1) * d->sb.nr_rings * sizeof(*t->ring));
	if (!t->entry || !t->ring)
		goto out;
	for (uint32_t i = 0; i < n; i++)
		table_add(d, &s[i], buf);
	ret = 0;
out:
	free(buf);
	free(s);
	return ret;
}

/* Index of the first entry whose boot is not below @boot. */
static uint32_t table_lower(const struct dlog_table *t, uint32_t boot)
{
	uint32_t lo = 0, hi = t->nr;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (t->entry[mid].boot < boot)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

int dlog_table_find(const struct dlog *d, uint32_t boot)
{
	uint32_t i = table_lower(&d->table, boot);

	return i < d->table.nr && d->table.entry[i].boot == boot ? (int)i : -1;
}

int dlog_table_after(const struct dlog *d, uint32_t boot)
{
	uint32_t i = table_lower(&d->table, boot);

	if (i < d->table.nr && d->table.entry[i].boot == boot)
		i++;
	return i < d->table.nr && d->table.entry[i].prev_boot == boot ? (int)i
								      : -1;
}

/* ---- the list ---- */

struct seen { /* records of one boot in one ring */
	uint32_t boot;
	uint64_t first, last;
};

struct list {
	struct seen *seen;
	size_t nr, room;
};

static int list_add(struct list *l, uint32_t boot, uint64_t first,
		    uint64_t last)
{
	if (l->nr && l->seen[l->nr - 1].boot == boot) {
		struct seen *s = &l->seen[l->nr - 1];

		if (first < s->first)
			s->first = first;
		if (last > s->last)
			s->last = last;
		return 0;
	}
	if (l->nr == l->room) {
		size_t room = l->room ? l->room * 2 : 64;
		void *p = realloc(l->seen, room * sizeof(*l->seen));

		if (!p)
			return -ENOMEM;
		l->seen = p;
		l->room = room;
	}
	l->seen[l->nr++] = (struct seen){ boot, first, last };
	return 0;
}

/* Add what the records of a sub-buffer, read into @s, say. */
static int list_scan(struct list *l, uint32_t boot, const struct dlog_sub *s)
{
	for (uint32_t i = 0; i < s->nr; i++) {
		uint64_t time;
		int ret;

		if (s->rec[i] & DLOG_SUB_OPEN)
			continue;
		time = dlog_load64(s->copy + s->rec[i] + 8);
		ret = list_add(l, boot, time, time);
		if (ret)
			return ret;
	}
	return 0;
}

/* Load the sub-buffer at @p, add it; *@before becomes its boot. */
static int list_load(struct list *l, struct dlog_view *v, uint64_t p,
		     uint32_t *before)
{
	struct dlog_sub *s = &v->sub[0];
	int ret = dlog_sub_load(v, p, s);

	if (ret)
		return ret;
	*before = dlog_sub_boot(v, s, *before);
	return *before ? list_scan(l, *before, s) : 0;
}

/* Boot that the START at @p names, 0: it is not there. */
static uint32_t boot_at(const struct dlog_view *v, uint64_t p)
{
	struct dlog_start start;

	return dlog_view_start(v, p, &start) == p ? start.boot : 0;
}

/*
 * From @lo to @hi, one by one.  Only STARTs are read, and the whole
 * sub-buffer where it matters: without START, the first and the last of a
 * boot.
 */
static int list_each(struct list *l, struct dlog_view *v, uint64_t lo,
		     uint64_t hi, uint32_t before)
{
	uint32_t size = v->d->sb.subbuf_size;
	int ret = 0;

	for (uint64_t p = lo; !ret && p <= hi; p += size)
		if (!before || boot_at(v, p) != before ||
		    boot_at(v, p + size) != before)
			ret = list_load(l, v, p, &before);
	return ret;
}

/*
 * What lies between @lo and @hi, whose STARTs name these boots.  Boots go
 * forward, so between two of the same boot there is no other.
 */
static int list_between(struct list *l, struct dlog_view *v, uint64_t lo,
			uint32_t lo_boot, uint64_t hi, uint32_t hi_boot)
{
	uint32_t size = v->d->sb.subbuf_size, boot;
	uint64_t mid = lo + (hi - lo) / size / 2 * size;
	int ret;

	if (lo_boot == hi_boot)
		return 0;
	if (mid == lo)
		return list_each(l, v, lo, hi, 0);
	boot = boot_at(v, mid);
	if (boot < lo_boot || boot > hi_boot)
		return list_each(l, v, lo, hi, 0);
	ret = list_between(l, v, lo, lo_boot, mid, boot);
	return ret ? ret : list_between(l, v, mid, boot, hi, hi_boot);
}

/* The boots in one ring. */
static int list_ring(struct list *l, struct dlog *d, uint32_t ring)
{
	uint32_t first, last;
	struct dlog_view v;
	int ret = dlog_view_init(&v, d, ring);

	if (ret)
		return ret;
	ret = dlog_view_find(&v, true);
	if (ret || !v.any)
		goto out;
	first = boot_at(&v, v.low);
	last = boot_at(&v, v.high);
	if (!first || !last) {
		ret = list_each(l, &v, v.low, v.high, 0);
		goto out;
	}
	ret = list_load(l, &v, v.low, &first);
	if (!ret)
		ret = list_load(l, &v, v.high, &last);
	if (!ret)
		ret = list_between(l, &v, v.low, first, v.high, last);
out:
	dlog_view_no_buffers(&v);
	return ret;
}

static int seen_order(const void *a, const void *b)
{
	const struct seen *x = a, *y = b;

	return x->boot < y->boot ? -1 : x->boot > y->boot;
}

static void entry_from_table(struct dlog_boot_entry *e,
			     const struct dlog_boot *b)
{
	e->boot = b->boot;
	e->known = true;
	memcpy(e->release, b->release, sizeof(b->release));
	memcpy(e->machine, b->machine, sizeof(b->machine));
	memcpy(e->boot_id, b->boot_id, sizeof(e->boot_id));
	e->start_time = b->start_time;
	e->start_real = b->start_real;
	e->kernel_text = b->kernel_text;
}

/* How boot @e ended. */
static void entry_end(struct dlog *d, struct dlog_boot_entry *e, bool latest)
{
	int i = dlog_table_after(d, e->boot);
	struct dlog_live live;
	struct dlog_beat beat;

	if (i >= 0) {
		const struct dlog_boot *next = &d->table.entry[i];

		e->end_status = next->prev_status < DLOG_ST_MAX
					? next->prev_status
					: DLOG_ST_NONE;
		e->end_time = next->prev_status_time;
		e->last_beat = next->prev_beat_time;
		return;
	}
	dlog_get_live(d, &live);
	if (!latest || live.boot != e->boot)
		return;
	e->end_status = live.status;
	e->end_time = live.status_time;
	/* behind the newest: any CPU that has one leads to it */
	for (uint32_t cpu = 0; cpu < d->sb.nr_cpus; cpu++) {
		if (dlog_get_beat(d, cpu, &beat)) {
			e->last_beat = beat.time + beat.behind;
			break;
		}
	}
}

/* Join the table and @l, both by boot, into *@out. */
static int list_join(struct dlog *d, struct list *l,
		     struct dlog_boot_entry **out)
{
	const struct dlog_table *t = &d->table;
	struct dlog_boot_entry *e = calloc(t->nr + l->nr + 1, sizeof(*e));
	size_t i = 0, k = 0;
	int n = 0;

	if (!e)
		return -ENOMEM;
	while (i < t->nr || k < l->nr) {
		struct dlog_boot_entry *to = &e[n++];

		if (k == l->nr ||
		    (i < t->nr && t->entry[i].boot <= l->seen[k].boot))
			entry_from_table(to, &t->entry[i++]);
		else
			to->boot = l->seen[k].boot;
		for (; k < l->nr && l->seen[k].boot == to->boot; k++) {
			struct seen *s = &l->seen[k];

			if (!to->has_records || s->first < to->first_time)
				to->first_time = s->first;
			if (s->last > to->last_time)
				to->last_time = s->last;
			to->has_records = true;
		}
	}
	for (int j = 0; j < n; j++)
		entry_end(d, &e[j], j + 1 == n);
	*out = e;
	return n;
}

int dlog_region_boots(struct dlog *d, struct dlog_boot_entry **out)
{
	struct list l = { 0 };
	int ret = dlog_table_load(d);

	*out = NULL;
	for (uint32_t i = 0; !ret && i < d->sb.nr_rings; i++)
		ret = list_ring(&l, d, i);
	if (!ret) {
		if (l.nr)
			qsort(l.seen, l.nr, sizeof(*l.seen), seen_order);
		ret = list_join(d, &l, out);
	}
	free(l.seen);
	return ret;
}
