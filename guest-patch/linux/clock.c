// SPDX-License-Identifier: GPL-2.0-only
/*
 * clock.c - the points that clock.h goes on from.
 */
#include "clock.h"

#ifdef CONFIG_X86_64
#include <linux/cpumask.h>
#include <linux/math64.h>
#include <linux/time64.h>
#include <asm/tsc.h>

/* Readings further apart than this are not worth keeping. */
#define DLOG_EPOCH_APART (1 << 13)
/* A difference that no frequency explains, ns. */
#define DLOG_EPOCH_WRONG 20000

DEFINE_PER_CPU(struct dlog_epoch, dlog_epoch) = { .number = ~0U };
u64 dlog_clock_mult __read_mostly;
static bool dlog_clock_plain __read_mostly;

/* Does the epoch that begins with @base follow from the one before? */
static notrace void dlog_epoch_compare(struct dlog_epoch *e, u32 number,
				       u64 base, u64 mult, u64 apart)
{
	u64 error = apart * mult >> 33;
	u64 told;

	if (number == e->number + 1) {
		told = e->base + (mult >> (32 - DLOG_EPOCH_BITS));
		error += told > base ? told - base : base - told;
	}
	if (error > DLOG_EPOCH_WRONG)
		WRITE_ONCE(dlog_clock_plain, true);
	if (error > e->error)
		e->error = min_t(u64, error, U32_MAX);
}

/* No epoch: a number far from any that comes before the next heartbeat. */
notrace void dlog_clock_forget(void)
{
	u64 tsc = rdtsc();

	this_cpu_write(dlog_epoch.number,
		       dlog_epoch_number(tsc, tsc >> 32) ^ 1U << 31);
}

notrace u64 dlog_epoch_begin(void)
{
	struct dlog_epoch *e = this_cpu_ptr(&dlog_epoch);
	u64 mult = READ_ONCE(dlog_clock_mult);
	u64 before, after, ns, base;
	u32 number;

	if (READ_ONCE(e->busy))
		return local_clock();
	if (READ_ONCE(dlog_clock_plain) || !mult) {
		dlog_clock_forget();
		return local_clock();
	}
	WRITE_ONCE(e->busy, true);
	barrier();
	before = rdtsc_ordered();
	ns = local_clock();
	after = rdtsc_ordered();
	if (after - before < DLOG_EPOCH_APART &&
	    before >> DLOG_EPOCH_BITS == after >> DLOG_EPOCH_BITS) {
		u64 middle = before + (after - before) / 2;

		number = dlog_epoch_number(middle, middle >> 32);
		base = ns - ((middle & DLOG_EPOCH_MASK) * mult >> 32);
		dlog_epoch_compare(e, number, base, mult, after - before);
		WRITE_ONCE(e->base, base);
		barrier();
		WRITE_ONCE(e->number, number);
	}
	barrier();
	WRITE_ONCE(e->busy, false);
	return ns;
}

void dlog_clock_tune(void)
{
	u64 mult = tsc_khz ? div_u64((u64)NSEC_PER_MSEC << 32, tsc_khz) : 0;

	if (check_tsc_unstable())
		WRITE_ONCE(dlog_clock_plain, true);
	if (mult != dlog_clock_mult)
		WRITE_ONCE(dlog_clock_mult, mult);
}

int dlog_clock_error(void)
{
	u32 error = 0;
	int cpu;

	if (dlog_clock_plain || !dlog_clock_mult)
		return -1;
	for_each_possible_cpu(cpu)
		error = max(error, per_cpu(dlog_epoch, cpu).error);
	return error;
}
#else
void dlog_clock_tune(void)
{
}

void dlog_clock_forget(void)
{
}

int dlog_clock_error(void)
{
	return -1;
}
#endif
