// SPDX-License-Identifier: GPL-2.0-only
/*
 * beat.c - heartbeat of each CPU, clock pairs, the host's control word.
 *
 * A pinned high-resolution timer on each CPU writes that CPU's slot once a
 * period.  It runs in hard interrupt context, so it stops when the CPU does
 * or keeps interrupts off.  Each CPU also looks at the next one's heartbeat:
 * a CPU that has missed ten periods (10 s at least) is taken for locked up;
 * it is sent an NMI, which makes it write down its registers and stack.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/hrtimer.h>
#include <linux/module.h>
#include <linux/timekeeping.h>

#include "driver.h"

#define LOCKUP_MIN_NS (10ULL * NSEC_PER_SEC)

struct dlog_pulse {
	struct hrtimer timer;
	u64 last; /* guest clock; 0: not beating */
	bool reported; /* as locked up */
};

static DEFINE_PER_CPU(struct dlog_pulse, pulse);
static enum cpuhp_state beat_state;
static unsigned int clock_count;

/* One CPU, the first online, keeps the clock pair fresh. */
static void dlog_beat_clock(void)
{
	u64 before = dlog_clock();
	u64 real = ktime_get_real_fast_ns();
	u64 after = dlog_clock();

	dlog_region_clock(&dlog.region, clock_count++,
			  before + (after - before) / 2, real, after - before);
}

static void dlog_beat_control(void)
{
	struct dlog_state *st = dlog_region_state(&dlog.region);
	bool stop = READ_ONCE(st->control) & DLOG_CONTROL_STOP;

	/* Whoever was first with a change sees to the gates. */
	if (stop == READ_ONCE(dlog.host_stop))
		return;
	WRITE_ONCE(dlog.host_stop, stop);
	dlog_update_recording();
}

/*
 * @before: this CPU's own beat before.  After a pause of the whole guest the
 * neighbour is late only because everybody is.
 */
static void dlog_beat_neighbour(int cpu, u64 before, u64 now)
{
	int next = cpumask_next(cpu, cpu_online_mask);
	struct dlog_pulse *p;
	u64 last, limit;

	if (next >= nr_cpu_ids)
		next = cpumask_first(cpu_online_mask);
	if (next == cpu || now - before > 2ULL * dlog.period_ms * NSEC_PER_MSEC)
		return;
	p = per_cpu_ptr(&pulse, next);
	last = READ_ONCE(p->last);
	limit = max(10ULL * dlog.period_ms * NSEC_PER_MSEC, LOCKUP_MIN_NS);
	if (!last || now < last || now - last < limit) {
		if (p->reported && dlog.status == DLOG_ST_HARD_LOCKUP)
			dlog_set_status(DLOG_ST_RUNNING, "it beats again");
		p->reported = false;
		return;
	}
	if (p->reported)
		return;
	p->reported = true;
	dlog_set_status(DLOG_ST_HARD_LOCKUP, "heartbeat of a CPU has stopped");
	dlog_snapshot_cpu(next, DLOG_ST_HARD_LOCKUP);
}

static void dlog_beat(int cpu, u64 now, bool online)
{
	struct dlog_ring *r = per_cpu(dlog_cpu_ring, cpu);

	dlog_region_beat(&dlog.region, cpu, r - dlog.rings, r, now, online);
}

static enum hrtimer_restart dlog_beat_timer(struct hrtimer *t)
{
	int cpu = smp_processor_id();
	struct dlog_pulse *p = this_cpu_ptr(&pulse);
	u64 before = p->last, now;

	dlog_region_beat_begin(&dlog.region, cpu);
	now = dlog_clock();
	WRITE_ONCE(p->last, now);
	dlog_epoch_begin();
	dlog_beat(cpu, now, true);
	if (cpu == cpumask_first(cpu_online_mask)) {
		dlog_clock_tune();
		dlog_beat_clock();
		dlog_beat_control();
		if (dlog.status == DLOG_ST_BOOTING &&
		    system_state >= SYSTEM_RUNNING)
			dlog_set_status(DLOG_ST_RUNNING, NULL);
	}
	dlog_beat_neighbour(cpu, before, now);
	hrtimer_forward_now(t, ms_to_ktime(dlog.period_ms));
	return HRTIMER_RESTART;
}

static int dlog_cpu_up(unsigned int cpu)
{
	struct dlog_pulse *p = this_cpu_ptr(&pulse);

	hrtimer_init(&p->timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
	p->timer.function = dlog_beat_timer;
	p->reported = false;
	WRITE_ONCE(p->last, dlog_clock());
	dlog_beat(cpu, p->last, true);
	dlog_put32(&dlog_region_state(&dlog.region)->online, num_online_cpus());
	hrtimer_start(&p->timer, 0, HRTIMER_MODE_REL_PINNED_HARD);
	return 0;
}

static int dlog_cpu_down(unsigned int cpu)
{
	struct dlog_pulse *p = this_cpu_ptr(&pulse);

	hrtimer_cancel(&p->timer);
	WRITE_ONCE(p->last, 0);
	dlog_beat(cpu, dlog_clock(), false);
	dlog_put32(&dlog_region_state(&dlog.region)->online,
		   num_online_cpus() - 1);
	return 0;
}

int dlog_beat_start(void)
{
	int ret = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "dlog:online",
				    dlog_cpu_up, dlog_cpu_down);

	if (ret < 0)
		return ret;
	beat_state = ret;
	return 0;
}

void dlog_beat_stop(void)
{
	cpuhp_remove_state(beat_state);
}
