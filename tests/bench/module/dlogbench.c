// SPDX-License-Identifier: GPL-2.0-only
/*
 * dlogbench.c - what an append costs, in guest instructions.
 *
 * Meant for QEMU with -icount shift=0,sleep=off, where the time stamp counter
 * advances by one for each instruction: figures are then the same in every
 * run.  Each figure is the average of N calls with interrupts off, less an
 * empty loop.  Prints "dlogbench: NAME INSTRUCTIONS" and stays unloaded.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/dlog.h>
#include <linux/module.h>
#include <linux/sched/clock.h>
#include <linux/timex.h>

#define N 1000

static char text[64] =
	"a line of sixty-four bytes, as a kernel says them all day long.";
static u64 event[2] = { 1, 2 };
static u64 copy[16] __aligned(64);
static int id;

static noinline u64 loop(void (*what)(void))
{
	unsigned long flags;
	u64 start, empty, end;

	local_irq_save(flags);
	what();
	start = rdtsc();
	for (int i = 0; i < N; i++)
		barrier();
	empty = rdtsc();
	for (int i = 0; i < N; i++) {
		barrier();
		what();
	}
	end = rdtsc();
	local_irq_restore(flags);
	return ((end - empty) - (empty - start)) / N;
}

static void nothing(void)
{
}

/* What any recorder that survives must do: copy, clock, publish. */
static void lowest(void)
{
	copy[1] = rdtsc();
	memcpy(copy + 2, text, sizeof(text));
	smp_store_release(&copy[0], 1);
	asm volatile("" : : "r"(copy) : "memory");
}

static void clock(void)
{
	copy[1] = local_clock();
}

static void write_text(void)
{
	dlog_write(6, text, sizeof(text));
}

static void write_event(void)
{
	dlog_event(id, event, sizeof(event));
}

static void write_printk(void)
{
	printk(KERN_DEBUG
	       "a line of sixty-four bytes, as a kernel says it all day long...\n");
}

static void write_puts(void)
{
	__trace_puts(_THIS_IP_, text, sizeof(text));
}

static int __init bench_init(void)
{
	static const struct {
		const char *name;
		void (*what)(void);
	} list[] = {
		{ "floor", lowest },	    { "clock", clock },
		{ "text64", write_text },   { "event16", write_event },
		{ "printk", write_printk }, { "trace_puts", write_puts },
	};
	u64 call = loop(nothing);

	id = dlog_event_register("bench:event", "u64 a; u64 b");
	for (int i = 0; i < ARRAY_SIZE(list); i++)
		pr_info("%s %llu\n", list[i].name, loop(list[i].what) - call);
	return -ECANCELED;
}

module_init(bench_init);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("dlog's costs in instructions");
