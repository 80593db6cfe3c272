// SPDX-License-Identifier: GPL-2.0-only
/*
 * time.c - dlog-hv's clock (TSC), the wall clock and its registers (RTC),
 * random numbers.
 */
#include "x86.h"

#include "x86/dlog_x86.h"

static u64 tsc_start, tsc_khz;
static u32 cmos_lock;

void time_start(void)
{
	u64 khz = dlog_x86_tsc_khz();

	tsc_start = rdtsc();
	/* No PIT: any number that is not absurd. */
	tsc_khz = khz ? khz : 1000000;
}

u64 arch_ns(void)
{
	u64 t = rdtsc() - tsc_start;

	return t / tsc_khz * 1000000 + t % tsc_khz * 1000000 / tsc_khz;
}

void delay_us(u32 us)
{
	u64 end = arch_ns() + us * 1000ull;

	while (arch_ns() < end)
		pause();
}

/* Index and data are two ports: one CPU at a time. */
u8 cmos_read(u8 index)
{
	u8 v;

	lock(&cmos_lock);
	out8(0x70, index);
	v = in8(0x71);
	unlock(&cmos_lock);
	return v;
}

void cmos_write(u8 index, u8 value)
{
	lock(&cmos_lock);
	out8(0x70, index);
	out8(0x71, value);
	unlock(&cmos_lock);
}

u64 arch_wall(void)
{
	return dlog_x86_wall(cmos_read);
}

void arch_random(u8 *to, size_t n)
{
	dlog_x86_random(to, n, arch_wall());
}
