// SPDX-License-Identifier: GPL-2.0-only
/*
 * traced.c - what a trace event and a traced function cost, whoever has them
 * on.
 *
 * Relies on a stock kernel alone.  Stays loaded, so that its event and its
 * function can be switched on; then
 *
 *	echo 1 > /sys/module/dlogtraced/parameters/measure
 *
 * prints "dlogtraced: NAME HUNDREDTHS" for event64 (an event of 64 bytes) and
 * function (a call of one that does nothing).
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/printk.h>

#include "measure.h"

#define CREATE_TRACE_POINTS
#include "text_trace.h"

static noinline void dlogtraced_function(void)
{
	barrier();
}

BENCH(run_event, trace_dlogbench_text(bench_text))
BENCH(run_function, dlogtraced_function())

static const struct bench list[] = {
	{ "event64", run_event, 1000 },
	{ "function", run_function, 1000 },
};

static int set_measure(const char *val, const struct kernel_param *kp)
{
	u64 results[ARRAY_SIZE(list)];

	for (int i = 0; i < ARRAY_SIZE(list); i++)
		results[i] = bench_irqs_off(&list[i]);
	for (int i = 0; i < ARRAY_SIZE(list); i++)
		pr_info("%s %llu\n", list[i].name, results[i]);
	return 0;
}

static const struct kernel_param_ops measure_ops = { .set = set_measure };
module_param_cb(measure, &measure_ops, NULL, 0200);
MODULE_PARM_DESC(measure, "measure now");

static int __init traced_init(void)
{
	return 0;
}

static void __exit traced_exit(void)
{
}

module_init(traced_init);
module_exit(traced_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("What a trace event and a traced function cost");
