// SPDX-License-Identifier: GPL-2.0-only
/*
 * clock.c - pairs of the guest's clock and ours, from its heartbeats.
 *
 * A heartbeat stores `begun` into its CPU slot, reads the clock, and stores
 * what it has read into `beat_time` last (dlog_region_beat_begin()).  The
 * slots are guarded: at the store of `begun` we note our time, early; then we
 * look until beat_time has changed, and note it again, late.  In between the
 * guest's clock showed beat_time, whatever else happened.
 *
 * beat_time is looked at after the slots were guarded, so what changes it
 * was stored behind the fault.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "watch.h"

#define SECOND UINT64_C(1000000000)
#define FIRST_PAIRS 30u /* each heartbeat's; afterwards each PAUSE */
#define PAUSE (10 * SECOND)
#define AGAIN (SECOND / 50) /* after a store that begins no heartbeat */
#define VAIN_MAX 100u /* of these one after another: then each PAUSE */
#define SPIN (SECOND / 2000) /* look all the time for so long, */
#define LOOK (SECOND / 50) /* then now and then */
#define JUMP (SECOND / 100) /* unlike the pair before: pairs often again */

/* As the catalog has it. */
struct clock_pair {
	uint64_t uuid[2];
	uint32_t boot, cpu;
	uint64_t guest, early, late;
} __attribute__((packed));

static struct {
	int id;
	uint64_t due;
	bool armed;
	unsigned int pairs, vain;
	struct dlog_cpu *before; /* slots, when they were guarded */
	uint64_t guest, ours; /* of the last pair */
	uint32_t boot;
} clk;

int clock_start(void)
{
	clk.before = calloc(guard_sb.nr_cpus, sizeof(*clk.before));
	if (!clk.before) {
		tell("no memory for %u CPU slots", guard_sb.nr_cpus);
		return -ENOMEM;
	}
	return 0;
}

int clock_begin(void)
{
	clk.id = record_event_type(
		"dlog:clock",
		"x64 uuid_low; x64 uuid_high; u32 boot; u32 cpu; u64 guest; u64 early; u64 late");
	return clk.id < 0 ? clk.id : 0;
}

static int read_slots(uint32_t first, struct dlog_cpu *slot, uint32_t n)
{
	return guard_read(guard_sb.state_off + DLOG_PAGE +
				  (uint64_t)first * sizeof(*slot),
			  slot, n * sizeof(*slot));
}

static void arm(uint64_t now)
{
	uint64_t slots = guard_sb.state_off + DLOG_PAGE;
	struct span all = { slots,
			    slots + guard_sb.nr_cpus * sizeof(*clk.before) };

	clk.armed = guard_arm(ZONE_SLOTS, &all, 1) &&
		    !read_slots(0, clk.before, guard_sb.nr_cpus);
	clk.due = clk.armed ? UINT64_MAX : now + SECOND;
}

/* The CPU whose heartbeat a store at @offset begins, or -1. */
static int beginning(uint64_t offset)
{
	uint64_t at = offset - (guard_sb.state_off + DLOG_PAGE);

	if (at % sizeof(struct dlog_cpu) != offsetof(struct dlog_cpu, begun) ||
	    at / sizeof(struct dlog_cpu) >= guard_sb.nr_cpus)
		return -1;
	return (int)(at / sizeof(struct dlog_cpu));
}

/* Wait for the end of the heartbeat of @cpu: our time then, or 0. */
static uint64_t wait_end(uint32_t cpu, struct dlog_cpu *slot)
{
	uint64_t begin = record_now(), now = begin;
	struct timespec pause = { .tv_nsec = 50000 };

	while (now - begin < LOOK) {
		if (read_slots(cpu, slot, 1))
			return 0;
		now = record_now();
		if (slot->beat_time != clk.before[cpu].beat_time)
			return now;
		if (now - begin > SPIN)
			nanosleep(&pause, NULL);
	}
	return 0;
}

/* Is @slot that heartbeat whole, and no mixture? */
static bool whole(const struct dlog_cpu *slot, const struct dlog_cpu *before)
{
	uint64_t beats = before->boot == slot->boot ? before->beats + 1 : 1;

	return slot->boot && slot->beats == beats &&
	       slot->begun == (uint32_t)beats;
}

/* Did the two clocks go the same way since the last pair? */
static bool jumped(const struct clock_pair *p)
{
	uint64_t guest = p->guest - clk.guest, ours = p->early - clk.ours;
	uint64_t apart = guest > ours ? guest - ours : ours - guest;

	return p->boot != clk.boot || apart > JUMP;
}

static void tell_pair(uint32_t cpu, const struct dlog_cpu *slot, uint64_t early,
		      uint64_t late)
{
	struct clock_pair p = {
		.boot = slot->boot,
		.cpu = cpu,
		.guest = slot->beat_time,
		.early = early,
		.late = late,
	};

	memcpy(p.uuid, guard_sb.uuid, sizeof(p.uuid));
	record_own_event(clk.id, &p, sizeof(p));
	if (jumped(&p))
		clk.pairs = 0;
	clk.pairs++;
	clk.vain = 0;
	clk.boot = p.boot;
	clk.guest = p.guest;
	clk.ours = early;
}

static void on_hit(const struct hit *hit)
{
	int cpu = beginning(hit->offset);
	struct dlog_cpu slot;
	uint64_t late = cpu >= 0 ? wait_end((uint32_t)cpu, &slot) : 0;

	clk.armed = false;
	if (late && whole(&slot, &clk.before[cpu])) {
		tell_pair((uint32_t)cpu, &slot, hit->time, late);
		clk.due = record_now() +
			  (clk.pairs < FIRST_PAIRS ? AGAIN : PAUSE);
		return;
	}
	clk.vain++;
	clk.due = record_now() + (clk.vain < VAIN_MAX ? AGAIN : PAUSE);
}

uint64_t clock_due(void)
{
	return clk.due;
}

void clock_turn(uint64_t now)
{
	struct hit hit;

	if (guard_hit(ZONE_SLOTS, &hit) && clk.armed)
		on_hit(&hit);
	else if (now >= clk.due)
		arm(now);
}
