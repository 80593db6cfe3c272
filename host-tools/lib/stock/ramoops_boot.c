// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * ramoops_boot.c - which boot the zones' text is of, and each line once.
 *
 * Nothing in the zones numbers boots.  What there is:
 *
 * - A dump's first line has the wall clock, its lines have the time since
 *   boot, and the newest is as old as the dump, or older if the kernel was
 *   silent: so its boot began at the difference of both, or before.  In the
 *   order of the wall clock, a dump whose boot so began before the previous
 *   dump was made is of the same boot; so is one that has the same lines, at
 *   least half of those of the time that both cover.
 * - A dump without a wall clock is of the boot that has the same lines, or of
 *   one before all others.
 * - The console is emptied at boot, so it is of the last boot that used it.
 *   If half or more of its lines from the time that a dump covers are in the
 *   dump, with the same time, they are of one boot.  If not, or if it is not
 *   full and so goes back to its boot's begin, or ends before the dump: of
 *   one after all dumps; so if all its lines are newer than a dump that was
 *   a kernel's last act, which all are but those of an oops.  Where nothing
 *   contradicts, of the newest dump's.
 * - What lies behind the console's write pointer is of the boot whose dump
 *   has the same lines, else of one before the console's.
 * - pmsg and ftrace are of the console's boot, or without a console of the
 *   newest dump's; what they have of older ones is of the boot before.
 *
 * Boots then get numbers from 1 on, oldest first.
 *
 * A dump repeats what the console has, and dumps of one boot each other: such
 * a line is given once, by the console if it is there, with the level and the
 * caller that only dumps know.  That both have it says that it is sound.
 */
#include <stdlib.h>
#include <string.h>

#include "stock/ramoops.h"

#define SECOND UINT64_C(1000000000)
#define PROBES 16u
#define CANDIDATES 8u

/* ---- lines by time and text ---- */

struct table {
	struct line **slot;
	size_t mask;
};

static int table_new(struct table *t, size_t lines)
{
	size_t size = 64;

	while (size < 2 * lines)
		size *= 2;
	t->mask = size - 1;
	t->slot = calloc(size, sizeof(*t->slot));
	return t->slot ? 0 : -ENOMEM;
}

static size_t line_hash(const struct line *l)
{
	uint64_t h = l->time * UINT64_C(0x9e3779b97f4a7c15) + l->len;

	for (uint32_t i = 0; i < l->len && i < 64; i++)
		h = (h ^ l->text[i]) * UINT64_C(0x100000001b3);
	return (size_t)(h ^ h >> 29);
}

static bool line_same(const struct line *a, const struct line *b)
{
	return a->time == b->time && a->len == b->len &&
	       !memcmp(a->text, b->text, a->len);
}

/* A table with too many of one kind forgets some; no harm is done. */
static void table_put(struct table *t, struct line *l)
{
	size_t h = line_hash(l);

	for (size_t i = 0; i < PROBES; i++) {
		struct line **s = &t->slot[(h + i) & t->mask];

		if (!*s) {
			*s = l;
			return;
		}
	}
}

/* Of @boot unless 0, and not used by @user. */
static struct line *table_get(const struct table *t, const struct line *l,
			      uint32_t boot, uint32_t user)
{
	size_t h = line_hash(l);

	for (size_t i = 0; i < PROBES; i++) {
		struct line *s = t->slot[(h + i) & t->mask];

		if (!s)
			return NULL;
		if ((!boot || s->boot == boot) && (!user || s->used != user) &&
		    line_same(s, l))
			return s;
	}
	return NULL;
}

/* ---- boots; before the end dumps have even numbers ---- */

static int dump_order(const void *a, const void *b)
{
	const struct dump *x = a, *y = b;

	if (x->wall != y->wall)
		return x->wall < y->wall ? -1 : 1;
	return x->zone < y->zone ? -1 : x->zone > y->zone;
}

/* Had the boot of @b begun when @a was made?  @b is the later one. */
static bool dumps_fit(const struct dump *a, const struct dump *b)
{
	return b->last >= a->last && b->wall > b->last &&
	       b->wall - b->last < a->wall;
}

static void dump_set_boot(struct ramoops *r, struct dump *dump, uint32_t boot)
{
	dump->boot = boot;
	for (size_t i = 0; i < dump->nr; i++)
		r->lines[ZONE_DMESG].v[dump->first + i].boot = boot;
}

static void dump_put(struct ramoops *r, struct table *t, struct dump *dump)
{
	for (size_t i = 0; i < dump->nr; i++) {
		struct line *l = &r->lines[ZONE_DMESG].v[dump->first + i];

		if (l->has_time && l->time)
			table_put(t, l);
	}
}

/* The boot that most lines of @v are of, 0: none. */
static uint32_t most_lines(const struct table *t, const struct line *v,
			   size_t nr, size_t *hits)
{
	struct {
		uint32_t boot;
		size_t n;
	} c[CANDIDATES] = { { 0, 0 } };
	size_t best = 0;

	for (size_t i = 0; i < nr; i++) {
		const struct line *s = v[i].has_time && v[i].time
					       ? table_get(t, &v[i], 0, 0)
					       : NULL;

		for (size_t k = 0; s && k < CANDIDATES; k++) {
			if (c[k].n && c[k].boot != s->boot)
				continue;
			c[k].boot = s->boot;
			c[k].n++;
			break;
		}
	}
	for (size_t k = 1; k < CANDIDATES; k++)
		if (c[k].n > c[best].n)
			best = k;
	*hits = c[best].n;
	return c[best].n ? c[best].boot : 0;
}

/* Times that dumps of @boot cover. */
static void boot_span(const struct ramoops *r, uint32_t boot, uint64_t *from,
		      uint64_t *to)
{
	*from = UINT64_MAX;
	*to = 0;
	for (size_t i = 0; i < r->dumps; i++) {
		const struct dump *d = &r->dump[i];
		const struct line *v = r->lines[ZONE_DMESG].v + d->first;

		if (d->boot != boot)
			continue;
		if (v->time < *from)
			*from = v->time;
		if (d->last > *to)
			*to = d->last;
	}
}

static size_t lines_within(const struct line *v, size_t nr, uint64_t from,
			   uint64_t to)
{
	size_t n = 0;

	for (size_t i = 0; i < nr; i++)
		n += v[i].has_time && v[i].time && v[i].time >= from &&
		     v[i].time <= to;
	return n;
}

static uint32_t console_boot(struct ramoops *r, const struct table *t,
			     const struct line *v, size_t nr, uint32_t newest)
{
	uint64_t from, to, last = 0;
	size_t hits;
	uint32_t boot = most_lines(t, v, nr, &hits);

	if (!newest)
		return 2;
	if (boot) {
		boot_span(r, boot, &from, &to);
		if (2 * hits >= lines_within(v, nr, from, to))
			return boot;
		return newest + 2;
	}
	boot_span(r, newest, &from, &to);
	for (size_t i = 0; i < nr; i++)
		if (v[i].has_time && v[i].time > last)
			last = v[i].time;
	if (!r->wrapped || last < from || lines_within(v, nr, from, to))
		return newest + 2;
	return strcmp(r->dump[r->dumps - 1].reason, "Oops") ? newest + 2
							    : newest;
}

/* Has @d the lines that dumps of @boot have, from @from to @to? */
static bool dump_repeats(const struct ramoops *r, const struct table *t,
			 const struct dump *d, uint32_t boot, uint64_t from,
			 uint64_t to)
{
	const struct line *v = r->lines[ZONE_DMESG].v + d->first;
	size_t hits;

	if (most_lines(t, v, d->nr, &hits) != boot)
		return false;
	return 2 * hits >= lines_within(v, d->nr, from, to);
}

/* Dumps from @first on, that have a wall clock.  The newest one's boot. */
static uint32_t number_known(struct ramoops *r, struct table *t, size_t first)
{
	uint32_t boot = 2 * (uint32_t)first;
	uint64_t from = 0, to = 0;

	for (size_t i = first; i < r->dumps; i++) {
		struct dump *d = &r->dump[i];
		uint64_t begin = r->lines[ZONE_DMESG].v[d->first].time;
		bool same = i > first &&
			    (dumps_fit(d - 1, d) ||
			     dump_repeats(r, t, d, boot, from, to));

		if (!same) {
			boot += 2;
			from = begin;
			to = 0;
		}
		from = begin < from ? begin : from;
		to = d->last > to ? d->last : to;
		dump_set_boot(r, d, boot);
		dump_put(r, t, d);
	}
	return boot;
}

/* The newest dump's boot, or 0. */
static uint32_t number_dumps(struct ramoops *r, struct table *t)
{
	uint32_t boot, unknown = 0;
	size_t hits;

	if (r->dumps)
		qsort(r->dump, r->dumps, sizeof(*r->dump), dump_order);
	while (unknown < r->dumps && !r->dump[unknown].wall)
		unknown++;
	boot = number_known(r, t, unknown);
	for (uint32_t i = 0; i < unknown; i++) {
		struct dump *d = &r->dump[i];
		const struct line *v = r->lines[ZONE_DMESG].v + d->first;
		uint32_t known = most_lines(t, v, d->nr, &hits);

		dump_set_boot(r, d, known ? known : 2 * i + 2);
		dump_put(r, t, d);
	}
	return boot;
}

static void set_boots(struct lines *l, uint32_t older, uint32_t now)
{
	for (size_t i = 0; i < l->nr; i++)
		l->v[i].boot = l->v[i].older ? older : now;
}

/* Numbers without gaps, the console's not below what it was. */
static int pack_numbers(struct ramoops *r, uint32_t now, uint32_t most)
{
	uint32_t *map = calloc(most + 1, sizeof(*map)), n = 0;

	if (!map)
		return -ENOMEM;
	for (int t = 0; t < ZONE_TYPES; t++)
		for (size_t i = 0; i < r->lines[t].nr; i++)
			map[r->lines[t].v[i].boot] = 1;
	for (uint32_t i = 0; i <= most; i++)
		if (map[i])
			map[i] = ++n;
	if (r->reboots != r->boot_reboots)
		r->boot++;
	r->boot_reboots = r->reboots;
	if (map[now] && map[now] < r->boot)
		map[now] = r->boot;
	else if (map[now])
		r->boot = map[now];
	for (int t = 0; t < ZONE_TYPES; t++)
		for (size_t i = 0; i < r->lines[t].nr; i++)
			r->lines[t].v[i].boot = map[r->lines[t].v[i].boot];
	for (size_t i = 0; i < r->dumps; i++)
		r->dump[i].boot = map[r->dump[i].boot];
	free(map);
	return 0;
}

/* Of all the dumps of a boot the one that was silent least tells its start. */
static int tell_boots(struct ramoops *r)
{
	uint32_t most = 0;

	for (size_t i = 0; i < r->dumps; i++)
		if (r->dump[i].boot > most)
			most = r->dump[i].boot;
	r->told_boots = most + 1;
	r->boot_told = calloc(r->told_boots, sizeof(*r->boot_told));
	if (!r->boot_told)
		return -ENOMEM;
	for (size_t i = 0; i < r->dumps; i++) {
		const struct dump *d = &r->dump[i];
		struct boot_told *told = &r->boot_told[d->boot];
		uint64_t start = d->wall > d->last ? d->wall - d->last : 0;

		told->last = d;
		if (start && (!told->start || start < told->start))
			told->start = start;
	}
	return 0;
}

static int number_all(struct ramoops *r, struct table *t)
{
	struct lines *c = &r->lines[ZONE_CONSOLE];
	uint32_t newest = number_dumps(r, t), now = newest ? newest : 2, older;
	size_t old = 0, hits;

	while (old < c->nr && c->v[old].older)
		old++;
	if (c->nr > old)
		now = console_boot(r, t, c->v + old, c->nr - old, newest);
	else if (old)
		now = newest + 2;
	older = most_lines(t, c->v, old, &hits);
	if (!older || older >= now || 2 * hits < old / 2)
		older = now - 1;
	set_boots(c, older, now);
	set_boots(&r->lines[ZONE_PMSG], older, now);
	set_boots(&r->lines[ZONE_FTRACE], older, now);
	return pack_numbers(r, now, newest + 2);
}

/* ---- each line once ---- */

static void line_join(struct line *to, const struct line *from)
{
	if (from->caller != DLOG_CALLER_UNKNOWN)
		to->caller = from->caller;
	if (from->level != 6 || from->facility) {
		to->level = from->level;
		to->facility = from->facility;
	}
	if (from->doubt < to->doubt)
		to->doubt = from->doubt;
}

/* Dumps' lines in the dumps' order, without those that are there. */
static int join_dumps(struct ramoops *r, struct table *t)
{
	struct lines from = r->lines[ZONE_DMESG], *to = &r->lines[ZONE_DMESG];
	uint64_t position = 0;

	*to = (struct lines){ .v = malloc((from.nr + 1) * sizeof(*to->v)),
			      .room = from.nr };
	if (!to->v) {
		*to = from;
		return -ENOMEM;
	}
	for (size_t i = 0; i < r->dumps; i++) {
		const struct dump *d = &r->dump[i];
		uint64_t at = d->wall / SECOND << 24;
		uint32_t user = (uint32_t)i + 1;

		if (at < position)
			at = position;
		for (size_t k = 0; k < d->nr; k++) {
			struct line *l = &from.v[d->first + k], *have;

			l->position += at;
			if (l->position < position)
				l->position = position;
			position = l->position + 1;
			have = l->has_time ? table_get(t, l, l->boot, user)
					   : NULL;
			if (have) {
				have->used = user;
				line_join(have, l);
				continue;
			}
			l->used = user;
			to->v[to->nr] = *l;
			if (l->has_time)
				table_put(t, &to->v[to->nr]);
			to->nr++;
		}
	}
	free(from.v);
	return 0;
}

int ramoops_number(struct ramoops *r)
{
	struct lines *c = &r->lines[ZONE_CONSOLE];
	struct table t;
	int ret = table_new(&t, r->lines[ZONE_DMESG].nr);

	if (!ret)
		ret = number_all(r, &t);
	if (!ret) {
		free(t.slot);
		ret = table_new(&t, r->lines[ZONE_DMESG].nr + c->nr);
	}
	for (size_t i = 0; !ret && i < c->nr; i++)
		if (c->v[i].has_time)
			table_put(&t, &c->v[i]);
	if (!ret)
		ret = join_dumps(r, &t);
	free(t.slot);
	return ret ? ret : tell_boots(r);
}
