/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * clock.h - the time of a record: local_clock()'s value, cheaper.
 *
 * local_clock() is a line over the time stamp counter, but its slope and
 * offset are not a module's to read.  So each CPU keeps one point of the
 * line: time is cut into epochs of 2^20 counts (0.3 to 1 ms), the first
 * append of an epoch on a CPU calls local_clock() between two readings of
 * the counter, the others of that epoch go on from there with the kernel's
 * own frequency (tsc_khz).
 *
 * Error: half the distance of the two readings, plus what the frequency is
 * off within one epoch (1 ns for each ppm at 1 GHz).  It does not add up,
 * since every epoch begins anew.  Each beginning is also compared with what
 * the epoch before would have said; the largest difference is
 * /sys/class/misc/dlog/clock_error_ns.  Where the kernel calls the counter
 * unstable it sets its clock right at each tick, and the clock is no line:
 * then, and from a difference of 20 us on, local_clock() alone is used.
 *
 * Any context.  An NMI between the two stores of a new epoch reads the old
 * number or does not care: the number is stored last and read last, and the
 * counter of one CPU only grows.  A beginning that is itself interrupted is
 * not begun a second time: the interrupting context asks local_clock().
 */
#ifndef DLOG_CLOCK_H
#define DLOG_CLOCK_H

#include <linux/percpu.h>
#include <linux/sched/clock.h>

static inline u64 dlog_clock(void)
{
	return local_clock();
}

/* Read anew what the kernel thinks of the counter.  Any context. */
void dlog_clock_tune(void);
/* This CPU has no epoch, as when its counter may have been set back. */
void dlog_clock_forget(void);
/* Largest error seen on any CPU, ns; -1 when local_clock() alone is used. */
int dlog_clock_error(void);

#ifdef CONFIG_X86_64
#include <asm/msr.h>

#define DLOG_EPOCH_BITS 20
#define DLOG_EPOCH_MASK ((1ULL << DLOG_EPOCH_BITS) - 1)

struct dlog_epoch {
	u64 base; /* ns at its beginning */
	u32 number; /* see dlog_epoch_number() */
	u32 error; /* ns */
	bool busy; /* a beginning is under way */
};

DECLARE_PER_CPU(struct dlog_epoch, dlog_epoch);
extern u64 dlog_clock_mult; /* ns for each count, times 2^32 */

/* The time by local_clock(), and begin an epoch.  Preemption off. */
u64 dlog_epoch_begin(void);

/* Bits 20 to 51 of the counter; each heartbeat begins an epoch, so 32 do. */
static __always_inline u32 dlog_epoch_number(u32 low, u32 high)
{
	asm("shrdl %2, %1, %0" : "+r"(low) : "r"(high), "i"(DLOG_EPOCH_BITS));
	return low;
}

/* The time, if this epoch has begun.  Preemption off. */
static __always_inline bool dlog_clock_quick(u64 *now)
{
	u64 base = this_cpu_read(dlog_epoch.base);
	u32 low, high;

	asm volatile("rdtsc" : "=a"(low), "=d"(high));
	*now = base + ((low & DLOG_EPOCH_MASK) * dlog_clock_mult >> 32);
	return this_cpu_read(dlog_epoch.number) == dlog_epoch_number(low, high);
}
#else
static __always_inline bool dlog_clock_quick(u64 *now)
{
	*now = local_clock();
	return true;
}

static inline u64 dlog_epoch_begin(void)
{
	return local_clock();
}
#endif

#endif
