// SPDX-License-Identifier: GPL-2.0-only
/*
 * dlogtruth.c - what happened, told by somebody else than the driver.
 *
 * Takes the same events from ftrace's export and the same functions from an
 * ftrace_ops of its own, and keeps the last of each CPU in memory that only
 * the test knows.  Relies on nothing of dlog.  Loaded last it is called
 * first, so that what the driver has, it has.
 *
 * Memory, for each CPU AREA bytes:
 *	+ 0    u64 begun
 *	+ 64   SLOTS times 128 bytes: u64 number from 1 (stored last), u64 time,
 *	       u32 kind (1 event, 2 function), u32 size, 104 bytes
 *
 * Parameters: memory=ADDR, functions=FILTER
 */
#include <linux/ftrace.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/sched/clock.h>
#include <linux/smp.h>
#include <linux/trace.h>
#include <linux/trace_recursion.h>

#define AREA (192 * 1024)
#define SLOTS 1024
#define CPUS 4

struct slot {
	u64 number, time;
	u32 kind, size;
	u8 data[104];
};

static_assert(sizeof(struct slot) == 128);
static_assert(64 + SLOTS * sizeof(struct slot) <= AREA);

static ulong memory;
module_param(memory, ulong, 0444);
static char *functions;
module_param(functions, charp, 0444);

static u8 *base;
static DEFINE_PER_CPU(unsigned long, count);

static notrace void note(u32 kind, const void *data, u32 size)
{
	unsigned long number = this_cpu_inc_return(count);
	u8 *area = base + raw_smp_processor_id() * AREA;
	struct slot *s = (struct slot *)(area + 64) + (number - 1) % SLOTS;

	if (raw_smp_processor_id() >= CPUS)
		return;
	WRITE_ONCE(*(u64 *)area, number);
	smp_store_release(&s->number, 0);
	s->time = local_clock();
	s->kind = kind;
	s->size = size;
	memcpy(s->data, data, min_t(u32, size, sizeof(s->data)));
	smp_store_release(&s->number, number);
}

/* Called with preemption off. */
static notrace void take_event(struct trace_export *export, const void *entry,
			       unsigned int size)
{
	/* But its type, which the driver changes. */
	if (size >= 4)
		note(1, entry + 4, size - 4);
}

static struct trace_export export = {
	.write = take_event,
	.flags = TRACE_EXPORT_EVENT,
};

static notrace void take_function(unsigned long ip, unsigned long parent_ip,
				  struct ftrace_ops *ops,
				  struct ftrace_regs *regs)
{
	unsigned long data[2] = { ip, parent_ip };
	int bit = ftrace_test_recursion_trylock(ip, parent_ip);

	if (bit < 0)
		return;
	preempt_disable_notrace();
	note(2, data, sizeof(data));
	preempt_enable_notrace();
	ftrace_test_recursion_unlock(bit);
}

static struct ftrace_ops ops = {
	.func = take_function,
};

static int __init truth_init(void)
{
	int ret;

	base = memremap(memory, CPUS * AREA, MEMREMAP_WB);
	if (!base)
		return -ENOMEM;
	memset(base, 0, CPUS * AREA);
	ret = register_ftrace_export(&export);
	if (ret || !functions)
		goto out;
	ret = ftrace_set_filter(&ops, functions, strlen(functions), 1);
	ret = ret ?: register_ftrace_function(&ops);
	if (ret)
		unregister_ftrace_export(&export);
out:
	if (ret)
		memunmap(base);
	return ret;
}

static void __exit truth_exit(void)
{
	if (functions)
		unregister_ftrace_function(&ops);
	unregister_ftrace_export(&export);
	memunmap(base);
}

module_init(truth_init);
module_exit(truth_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("The last events of each CPU, for tests");
