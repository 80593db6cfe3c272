// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * meta.c - what lies outside the rings: status, heartbeats, clock,
 * registers.  The catalog: catalog.c.
 *
 * State page and CPU slots are plain words that carry no check: they are
 * believed within bounds and never used to find one's way.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

static int state_read(struct dlog *d, struct dlog_state *st)
{
	int ret = dlog_fetch(d, d->sb.state_off, st, sizeof(*st));

	if (ret)
		memset(st, 0, sizeof(*st));
	return ret;
}

void dlog_get_live(struct dlog *d, struct dlog_live *live)
{
	struct dlog_state st;

	memset(live, 0, sizeof(*live));
	if (!dlog_is_region(d))
		return;
	state_read(d, &st);
	live->status = st.status < DLOG_ST_MAX ? st.status : DLOG_ST_NONE;
	live->boot = st.boot;
	live->status_time = st.status_time;
	live->memtype = st.memtype <= DLOG_MT_WT ? st.memtype : DLOG_MT_UNKNOWN;
	live->period_ms = st.period_ms < 3600000 ? st.period_ms : 0;
	live->recording = st.recording == 1;
	live->stop_asked = st.control & DLOG_CONTROL_STOP;
	live->online = st.online <= DLOG_CPUS_MAX ? st.online : 0;
}

#define BEATS 64u /* CPU slots read at a time */

/* Call @fn for each CPU slot; 0 or a negative errno. */
static int each_beat(struct dlog *d,
		     void (*fn)(void *arg, const struct dlog_cpu *c), void *arg)
{
	struct dlog_cpu c[BEATS];

	for (uint32_t i = 0; i < d->sb.nr_cpus; i += BEATS) {
		uint32_t n = d->sb.nr_cpus - i < BEATS ? d->sb.nr_cpus - i
						       : BEATS;
		uint64_t off = d->sb.state_off + DLOG_PAGE +
			       (uint64_t)i * sizeof(c[0]);
		int ret = dlog_fetch(d, off, c, n * sizeof(c[0]));

		if (ret)
			return ret;
		for (uint32_t k = 0; k < n; k++)
			fn(arg, &c[k]);
	}
	return 0;
}

struct hint {
	uint32_t ring;
	struct dlog_cpu *max;
};

static void hint_add(void *arg, const struct dlog_cpu *c)
{
	struct hint *h = arg;

	if (c->ring != h->ring || c->boot < h->max->boot)
		return;
	if (c->boot > h->max->boot)
		*h->max = (struct dlog_cpu){ .boot = c->boot };
	if (c->position > h->max->position) {
		h->max->position = c->position;
		h->max->records = c->records;
	}
	if (c->dropped > h->max->dropped)
		h->max->dropped = c->dropped;
}

void dlog_ring_hint(struct dlog *d, uint32_t ring, struct dlog_cpu *hint)
{
	struct hint h = { .ring = ring, .max = hint };

	memset(hint, 0, sizeof(*hint));
	if (each_beat(d, hint_add, &h) || !hint->boot)
		memset(hint, 0, sizeof(*hint));
}

struct newest {
	uint32_t boot;
	uint64_t time;
};

static void newest_add(void *arg, const struct dlog_cpu *c)
{
	struct newest *n = arg;

	if (c->boot == n->boot && c->beat_time > n->time)
		n->time = c->beat_time;
}

static void beat_fill(struct dlog *d, const struct dlog_live *live,
		      uint64_t newest, uint32_t cpu, const struct dlog_cpu *c,
		      struct dlog_beat *beat)
{
	uint64_t period = (uint64_t)live->period_ms * 1000000;
	uint64_t real = dlog_real_time(d, c->boot, c->beat_time);
	uint64_t now = dlog_now(CLOCK_REALTIME);

	*beat = (struct dlog_beat){
		.cpu = cpu,
		.ring = c->ring,
		.boot = c->boot,
		.online = c->online == 1,
		.time = c->beat_time,
		.beats = c->beats,
		.position = c->position,
		.records = c->records,
		.dropped = c->dropped,
		.behind = newest - c->beat_time,
		.age = UINT64_MAX,
	};
	if (real)
		beat->age = now > real ? now - real : 0;
	beat->stale = beat->online && period &&
		      (beat->behind > 3 * period ||
		       (real && beat->age > 3 * period));
}

int dlog_get_beat(struct dlog *d, uint32_t cpu, struct dlog_beat *beat)
{
	struct newest newest = { 0 };
	struct dlog_live live;
	struct dlog_cpu c;

	memset(beat, 0, sizeof(*beat));
	dlog_get_live(d, &live);
	if (cpu >= d->sb.nr_cpus || !live.boot ||
	    dlog_fetch(d,
		       d->sb.state_off + DLOG_PAGE + (uint64_t)cpu * sizeof(c),
		       &c, sizeof(c)) ||
	    c.boot != live.boot || c.ring >= d->sb.nr_rings)
		return 0;
	newest.boot = c.boot;
	newest.time = c.beat_time;
	each_beat(d, newest_add, &newest);
	beat_fill(d, &live, newest.time, cpu, &c, beat);
	return 1;
}

struct all_beats {
	struct dlog *d;
	const struct dlog_live *live;
	struct newest newest;
	struct dlog_beat *beat;
	uint32_t n, cpu;
};

static void all_beats_add(void *arg, const struct dlog_cpu *c)
{
	struct all_beats *all = arg;
	uint32_t cpu = all->cpu++;

	if (cpu >= all->n)
		return;
	all->beat[cpu].boot = 0;
	all->beat[cpu].online = all->beat[cpu].stale = false;
	if (!all->live->boot || c->boot != all->live->boot ||
	    c->ring >= all->d->sb.nr_rings)
		return;
	newest_add(&all->newest, c);
	beat_fill(all->d, all->live, c->beat_time, cpu, c, &all->beat[cpu]);
}

int dlog_get_beats(struct dlog *d, const struct dlog_live *live,
		   struct dlog_beat *beats, uint32_t n)
{
	struct all_beats all = { .d = d, .live = live, .beat = beats, .n = n };
	uint64_t period = (uint64_t)live->period_ms * 1000000;
	int ret;

	all.newest.boot = live->boot;
	ret = each_beat(d, all_beats_add, &all);
	for (uint32_t i = 0; !ret && i < n && i < all.cpu; i++) {
		struct dlog_beat *b = &beats[i];

		b->behind = b->boot ? all.newest.time - b->time : 0;
		b->stale |= b->online && period && b->behind > 3 * period;
	}
	return ret ? ret : (int)d->sb.nr_cpus;
}

int dlog_set_control(struct dlog *d, bool stop)
{
	uint32_t word = stop ? DLOG_CONTROL_STOP : 0;

	if (d->fd < 0 || !d->writable || !dlog_is_region(d))
		return -EROFS;
	if (pwrite(d->fd, &word, sizeof(word),
		   (off_t)(d->base + d->sb.state_off)) != (ssize_t)sizeof(word))
		return errno ? -errno : -EIO;
	return 0;
}

/* Newer valid clock pair of @boot: true and *@c. */
static bool clock_read(struct dlog *d, uint32_t boot, struct dlog_clock *c)
{
	uint64_t slot = (boot - 1) % d->sb.boot_slots;
	bool any = false;

	for (uint32_t i = 0; i < 2; i++) {
		uint64_t off = d->sb.clock_off + (slot * 2 + i) * sizeof(*c);
		struct dlog_clock try;

		if (dlog_fetch(d, off, &try, sizeof(try)) || try.boot != boot ||
		    !try.real ||
		    try.check != dlog_object_check(
					 &try, sizeof(try),
					 dlog_seed(d, DLOG_SEED_CLOCK), off))
			continue;
		if (!any || try.guest > c->guest)
			*c = try;
		any = true;
	}
	return any;
}

/*
 * The pair is read again when the boot changes, and once a second.  Asking
 * the time costs as much as the rest, so few calls do: more of them while
 * there is no pair.
 */
uint64_t dlog_region_real_time(struct dlog *d, uint32_t boot, uint64_t time)
{
	uint64_t now, real;

	if (!boot)
		return 0;
	now = d->clock.read_at;
	if (d->clock.boot != boot ||
	    !(++d->clock.calls & (d->clock.valid ? 63 : 7)))
		now = dlog_now(CLOCK_MONOTONIC_COARSE);
	if (d->clock.boot != boot || now - d->clock.read_at > 1000000000u) {
		struct dlog_clock c;
		int i;

		d->clock.valid = clock_read(d, boot, &c);
		if (d->clock.valid) {
			d->clock.guest = c.guest;
			d->clock.real = c.real;
		} else {
			i = dlog_table_find(d, boot);
			if (i < 0 && d->clock.boot != boot &&
			    !dlog_table_load(d))
				i = dlog_table_find(d, boot);
			if (i >= 0 && d->table.entry[i].start_real) {
				d->clock.valid = true;
				d->clock.guest = d->table.entry[i].start_time;
				d->clock.real = d->table.entry[i].start_real;
			}
		}
		d->clock.boot = boot;
		d->clock.read_at = now;
	}
	if (!d->clock.valid)
		return 0;
	/* Modulo 2^64 on purpose: @time may lie before the pair. */
	real = d->clock.real + (time - d->clock.guest);
	/* Nonsense of the guest, further than a century from the pair. */
	if (real - d->clock.real + (UINT64_C(1) << 61) > UINT64_C(1) << 62)
		return 0;
	return real;
}

int dlog_get_regs(struct dlog *d, uint32_t cpu, uint32_t boot,
		  struct dlog_reg_entry *regs)
{
	uint64_t off;
	uint32_t size;
	struct dlog_regs *r;
	uint8_t *copy;
	int ret = 0;

	memset(regs, 0, sizeof(*regs));
	if (cpu >= d->sb.nr_cpus)
		return 0;
	off = d->sb.regs_off + (uint64_t)cpu * d->sb.regs_stride;
	copy = malloc(d->sb.regs_stride);
	if (!copy)
		return 0;
	if (dlog_fetch(d, off, copy, d->sb.regs_stride))
		goto out;
	r = (struct dlog_regs *)copy;
	size = r->size;
	if (size < sizeof(*r) || size % 8 || size > d->sb.regs_stride ||
	    size - sizeof(*r) != r->prstatus_size || r->cpu != cpu ||
	    r->prstatus_size > sizeof(regs->prstatus) ||
	    (boot && r->boot != boot) ||
	    r->check != dlog_object_check(copy, size,
					  dlog_seed(d, DLOG_SEED_REGS), off))
		goto out;
	regs->boot = r->boot;
	regs->cpu = r->cpu;
	regs->reason = r->reason;
	regs->machine = r->machine;
	regs->time = r->time;
	memcpy(regs->control, r->control, sizeof(regs->control));
	regs->prstatus_size = r->prstatus_size;
	memcpy(regs->prstatus, r->prstatus, r->prstatus_size);
	ret = 1;
out:
	free(copy);
	return ret;
}
