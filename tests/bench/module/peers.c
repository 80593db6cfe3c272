// SPDX-License-Identifier: GPL-2.0-only
/*
 * peers.c - what the kernel's own ways to leave a line behind cost.
 *
 * Relies on a stock kernel alone: loaded before dlog.ko it says what printk
 * costs without it, loaded behind it what it costs captured.
 *
 *	mode=printk	printk alone, with its buffer full, as it is in any
 *			kernel that has been up for long
 *	mode=others	the others, and printk with the consoles there are
 *
 * Prints "dlogpeers: NAME HUNDREDTHS" and stays unloaded.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/printk.h>
#include <linux/sched/clock.h>

#include "measure.h"

#define CREATE_TRACE_POINTS
#include "text_trace.h"

static char *mode = "printk";
module_param(mode, charp, 0444);
MODULE_PARM_DESC(mode, "printk or others");

BENCH(run_floor, bench_floor())
BENCH(run_clock, bench_copy.time = local_clock())
BENCH(run_tracepoint, trace_dlogbench_text(bench_text))
BENCH(run_trace_printk, trace_printk("%s", bench_text))
BENCH(run_printk,
      printk(KERN_DEBUG "a line of sixty-four bytes, as a kernel says it all "
			"day long...\n"))

static const struct bench full[] = {
	{ "printk", run_printk, 1000 },
};
static const struct bench other[] = {
	{ "floor", run_floor, 1000 },
	{ "floor_crc32q", run_floor_crc, 1000 },
	{ "clock", run_clock, 1000 },
	{ "trace_puts", run_trace_puts, 1000 },
	{ "tracepoint", run_tracepoint, 1000 },
	{ "trace_printk", run_trace_printk, 1000 },
};
static const struct bench console[] = {
	{ "printk_ttyS0", run_printk, 100 },
};

/* Results are printed last: printk's buffer may wrap meanwhile. */
static u64 results[ARRAY_SIZE(other) + ARRAY_SIZE(console)];
static const char *names[ARRAY_SIZE(results)];
static unsigned int nr_results;

static void __init measure(const struct bench *list, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		names[nr_results] = list[i].name;
		results[nr_results++] = bench_irqs_off(&list[i]);
	}
}

static void __init others(void)
{
	int level = console_loglevel;

	trace_set_clr_event("dlogbench", NULL, 1);
	measure(other, ARRAY_SIZE(other));
	trace_set_clr_event("dlogbench", NULL, 0);
	console_loglevel = CONSOLE_LOGLEVEL_DEBUG + 1;
	measure(console, ARRAY_SIZE(console));
	console_loglevel = level;
}

static int __init peers_init(void)
{
	if (!strcmp(mode, "printk")) {
		/* Debian's buffer holds some 1,800 of these. */
		run_printk(4000);
		measure(full, ARRAY_SIZE(full));
	} else if (!strcmp(mode, "others")) {
		others();
	} else {
		return -EINVAL;
	}
	for (unsigned int i = 0; i < nr_results; i++)
		pr_info("%s %llu\n", names[i], results[i]);
	return -ECANCELED;
}

module_init(peers_init);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("What the kernel's own recorders cost");
