// SPDX-License-Identifier: GPL-2.0-only
/*
 * ours.c - what an append costs: instructions, host time, device accesses.
 *
 * Relies on dlog.ko.  The parameter says what is measured:
 *
 *	mode=insns	under -icount: text64, event16 and, with interrupts on,
 *			text64_irqs_on, event16_irqs_on; and switched_off, an
 *			event that is
 *	mode=wall	without -icount: ns of host time, the best of several
 *			rounds that take turns with __trace_puts() and with the
 *			floor with CRC32C
 *	mode=quiet	appends between writes to I/O port 0x80, for a trace of
 *			memory-region operations to count what lies between
 *
 * Prints "dlogbench: NAME HUNDREDTHS" and stays unloaded; "taken" says
 * whether records are taken at all.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/dlog.h>
#include <linux/io.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/printk.h>

#include "measure.h"

static char *mode = "insns";
module_param(mode, charp, 0444);
MODULE_PARM_DESC(mode, "insns, wall or quiet");

static u64 event[2] = { 1, 2 };
static int id;

BENCH(run_text64, dlog_write(6, bench_text, sizeof(bench_text)))
BENCH(run_event16, dlog_event(id, event, sizeof(event)))
BENCH(run_printk,
      printk(KERN_DEBUG "a line of sixty-four bytes, as a kernel says it all "
			"day long...\n"))

/* Appends so far apart that each begins an epoch of the driver's clock. */
static u64 __init lone(void)
{
	u64 start, total = 0;
	unsigned long flags;

	for (int i = 0; i < 50; i++) {
		udelay(1100);
		local_irq_save(flags);
		start = rdtsc();
		dlog_write(6, bench_text, sizeof(bench_text));
		total += rdtsc() - start;
		local_irq_restore(flags);
	}
	return total * 100 / 50;
}

static void __init insns(void)
{
	static const struct bench list[] = {
		{ "text64", run_text64, 1000 },
		{ "event16", run_event16, 1000 },
	};
	u64 off[ARRAY_SIZE(list)], on[ARRAY_SIZE(list)], switched;

	for (int i = 0; i < ARRAY_SIZE(list); i++) {
		off[i] = bench_irqs_off(&list[i]);
		on[i] = bench_irqs_on(&list[i]);
	}
	dlog_event_switch(id, false);
	switched = bench_irqs_off(&list[1]);
	dlog_event_switch(id, true);
	pr_info("switched_off %llu\n", switched);
	pr_info("lone %llu\n", lone());
	for (int i = 0; i < ARRAY_SIZE(list); i++) {
		pr_info("%s %llu\n", list[i].name, off[i]);
		pr_info("%s_irqs_on %llu\n", list[i].name, on[i]);
	}
}

#define WALL_ROUNDS 60
#define WALL_N 2000

static void __init wall(void)
{
	static const struct bench list[] = {
		{ "floor_crc32q", run_floor_crc, WALL_N },
		{ "text64", run_text64, WALL_N },
		{ "trace_puts", run_trace_puts, WALL_N },
	};
	u64 best[ARRAY_SIZE(list)], ticks, first = rdtsc();
	ktime_t start = ktime_get();
	unsigned long flags;
	u64 ns;

	memset(best, 0xff, sizeof(best));
	for (int i = 0; i < WALL_ROUNDS * ARRAY_SIZE(list); i++) {
		const struct bench *b = &list[i % ARRAY_SIZE(list)];
		u64 *to = &best[i % ARRAY_SIZE(list)];

		local_irq_save(flags);
		ticks = b->run(b->n);
		local_irq_restore(flags);
		*to = min(*to, ticks);
		cond_resched();
	}
	ns = ktime_to_ns(ktime_sub(ktime_get(), start));
	ticks = rdtsc() - first;
	for (int i = 0; i < ARRAY_SIZE(list); i++)
		pr_info("%s %llu\n", list[i].name,
			mul_u64_u64_div_u64(best[i] * 100, ns, ticks) / WALL_N);
}

/* Marks: 1 copies without dlog, 2 appends, 3 console lines, 4 the end. */
static void __init quiet(void)
{
	int level = console_loglevel;
	unsigned long flags;

	local_irq_save(flags);
	outb(1, 0x80);
	run_floor_crc(10000);
	outb(2, 0x80);
	run_text64(10000);
	outb(3, 0x80);
	console_loglevel = CONSOLE_LOGLEVEL_DEBUG + 1;
	run_printk(100);
	console_loglevel = level;
	outb(4, 0x80);
	local_irq_restore(flags);
}

static bool __init taken(void)
{
	return !dlog_write(6, bench_text, sizeof(bench_text)) &&
	       !dlog_event(id, event, sizeof(event));
}

static int __init bench_init(void)
{
	id = dlog_event_register("bench:event", "u64 a; u64 b");
	pr_info("taken %d\n", taken() * 100);
	if (!strcmp(mode, "insns"))
		insns();
	else if (!strcmp(mode, "wall"))
		wall();
	else if (!strcmp(mode, "quiet"))
		quiet();
	else
		return -EINVAL;
	return -ECANCELED;
}

module_init(bench_init);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("What an append costs");
