// SPDX-License-Identifier: GPL-2.0-only
/*
 * dlogtest.c - loads dlog.ko from every context and dies on request.
 *
 * A stream is one CPU and one context (task, softirq, hardirq, NMI).  Each
 * stream appends numbered records, 1, 2, 3 ..., and after each append has
 * returned stores the number into the oracle: memory of a second file that
 * only the test knows.  So the oracle says what was committed at the instant
 * of death.  The text of a record is a function of stream and number; the
 * test recomputes it (tests/scenarios/lib/streams.py).
 *
 *	oracle  + 0    "dlogtest"
 *	        + 4096 + 64 * (cpu * 4 + context)   le64 last number committed
 *
 * Parameters: oracle=ADDR (64 KiB there), contexts=MASK, load=0|1, die=HOW.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpu.h>
#include <linux/delay.h>
#include <linux/dlog.h>
#include <linux/hrtimer.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched/clock.h>
#include <linux/smp.h>
#include <asm/apic.h>
#include <asm/desc.h>
#include <asm/nmi.h>

enum { TASK, SOFTIRQ, HARDIRQ, NMI, CONTEXTS };

struct stream {
	u64 number;
	u64 failed;
};

struct load {
	struct stream stream[CONTEXTS];
	struct task_struct *task;
	struct hrtimer timer;
	struct tasklet_struct tasklet;
	bool nmi;
};

static DEFINE_PER_CPU(struct load, loads);
static u8 *oracle_base;
static unsigned int running;

static ulong oracle;
module_param(oracle, ulong, 0444);
static uint contexts = 15;
module_param(contexts, uint, 0644);
static uint interval_us = 500;
module_param(interval_us, uint, 0644);
/* Pause of the task streams after each record, 0: full speed. */
static uint pause_us;
module_param(pause_us, uint, 0644);

/* Length of the text of record @n, 24 to 215: all alignments occur. */
static unsigned int text_len(unsigned int cpu, unsigned int ctx, u64 n)
{
	return 24 + (unsigned int)((n * 37 + cpu * 11 + ctx * 5) % 192);
}

static void append(unsigned int ctx)
{
	unsigned int cpu = smp_processor_id();
	struct stream *s = &this_cpu_ptr(&loads)->stream[ctx];
	u64 n = s->number + 1;
	unsigned int len = text_len(cpu, ctx, n), at;
	char text[216];

	at = scnprintf(text, sizeof(text), "#%x.%x.%llx:", cpu, ctx, n);
	for (; at < len; at++)
		text[at] = 'a' + (n + at) % 26;
	if (dlog_write(6, text, len)) {
		s->failed++;
		return;
	}
	s->number = n;
	if (oracle_base)
		smp_store_release((u64 *)(oracle_base + 4096 +
					  64 * (cpu * CONTEXTS + ctx)),
				  n);
}

static int nmi(unsigned int type, struct pt_regs *regs)
{
	struct load *l = this_cpu_ptr(&loads);

	if (!l->nmi)
		return NMI_DONE;
	l->nmi = false;
	append(NMI);
	return NMI_HANDLED;
}

static void soft(struct tasklet_struct *t)
{
	for (int i = 0; i < 4; i++)
		append(SOFTIRQ);
}

static enum hrtimer_restart hard(struct hrtimer *t)
{
	struct load *l = this_cpu_ptr(&loads);

	if (!READ_ONCE(running))
		return HRTIMER_NORESTART;
	if (contexts & 1 << HARDIRQ)
		for (int i = 0; i < 3; i++)
			append(HARDIRQ);
	if (contexts & 1 << SOFTIRQ)
		tasklet_hi_schedule(&l->tasklet);
	if (contexts & 1 << NMI) {
		l->nmi = true;
		apic->send_IPI_mask(cpumask_of(smp_processor_id()), NMI_VECTOR);
	}
	hrtimer_forward_now(t, ns_to_ktime(1000ULL * interval_us));
	return HRTIMER_RESTART;
}

static int task(void *data)
{
	struct load *l = this_cpu_ptr(&loads);

	hrtimer_start(&l->timer, ns_to_ktime(1000ULL * interval_us),
		      HRTIMER_MODE_REL_PINNED_HARD);
	while (!kthread_should_stop()) {
		if (contexts & 1 << TASK) {
			preempt_disable();
			append(TASK);
			preempt_enable();
		}
		if (pause_us || !(contexts & 1 << TASK))
			usleep_range(pause_us + 10, pause_us + 20);
		else if (!(l->stream[TASK].number & 255))
			cond_resched();
	}
	hrtimer_cancel(&l->timer);
	tasklet_kill(&l->tasklet);
	return 0;
}

static int set_load(const char *val, const struct kernel_param *kp)
{
	unsigned int on;
	int cpu, ret = kstrtouint(val, 0, &on);

	if (ret || !!on == running)
		return ret;
	WRITE_ONCE(running, !!on);
	for_each_online_cpu(cpu) {
		struct load *l = per_cpu_ptr(&loads, cpu);

		if (on) {
			struct task_struct *t;

			hrtimer_init(&l->timer, CLOCK_MONOTONIC,
				     HRTIMER_MODE_REL_PINNED_HARD);
			l->timer.function = hard;
			tasklet_setup(&l->tasklet, soft);
			t = kthread_create_on_cpu(task, NULL, cpu,
						  "dlogtest/%u");
			if (IS_ERR(t))
				return PTR_ERR(t);
			l->task = t;
			wake_up_process(t);
		} else if (l->task) {
			kthread_stop(l->task);
			l->task = NULL;
		}
	}
	return 0;
}

static const struct kernel_param_ops load_ops = {
	.set = set_load,
	.get = param_get_uint,
};
module_param_cb(load, &load_ops, &running, 0644);

static void hang(void *unused)
{
	local_irq_disable();
	for (;;)
		cpu_relax();
}

static enum hrtimer_restart oops(struct hrtimer *t)
{
	*(volatile int *)8 = 1;
	return HRTIMER_NORESTART;
}

static void die_oops_irq(void)
{
	static struct hrtimer t;

	hrtimer_init(&t, CLOCK_MONOTONIC, HRTIMER_MODE_REL_HARD);
	t.function = oops;
	hrtimer_start(&t, ns_to_ktime(1000ULL * 1000), HRTIMER_MODE_REL_HARD);
}

static void die_triple(void)
{
	struct desc_ptr none = {};

	local_irq_disable();
	load_idt(&none);
	asm volatile("int3");
}

static int never(void *unused)
{
	set_current_state(TASK_UNINTERRUPTIBLE);
	schedule();
	return 0;
}

static int set_die(const char *val, const struct kernel_param *kp)
{
	static call_single_data_t csd;
	int me = raw_smp_processor_id();

	if (sysfs_streq(val, "panic"))
		panic("dlogtest: panic asked for");
	else if (sysfs_streq(val, "oops-irq"))
		die_oops_irq();
	else if (sysfs_streq(val, "oops"))
		*(volatile int *)16 = 1;
	else if (sysfs_streq(val, "triple"))
		die_triple();
	else if (sysfs_streq(val, "hang-all")) {
		on_each_cpu(hang, NULL, 0);
	} else if (sysfs_streq(val, "hang-one")) {
		INIT_CSD(&csd, hang, NULL);
		smp_call_function_single_async(
			cpumask_any_but(cpu_online_mask, me), &csd);
	} else if (sysfs_streq(val, "soft-lockup")) {
		preempt_disable();
		for (;;)
			cpu_relax();
	} else if (sysfs_streq(val, "hung-task")) {
		kthread_run(never, NULL, "dlogtest/hung");
	} else {
		return -EINVAL;
	}
	return 0;
}

static const struct kernel_param_ops die_ops = { .set = set_die };
module_param_cb(die, &die_ops, NULL, 0200);

/* One line by printk from each context, and one in pieces, for the tests. */
static int set_say(const char *val, const struct kernel_param *kp)
{
	printk(KERN_WARNING "dlogtest: in ");
	printk(KERN_CONT "three ");
	printk(KERN_CONT "pieces %s", val);
	printk(KERN_ERR "dlogtest: two\nlines\n");
	for (int i = 0; i < 8; i++)
		printk("%c%cdlogtest: level %d\n", KERN_SOH_ASCII,
		       (char)(48 + i), i);
	return 0;
}

static const struct kernel_param_ops say_ops = { .set = set_say };
module_param_cb(say, &say_ops, NULL, 0200);

/*
 * On each CPU @val events whose fields say between which two readings of
 * local_clock() the append before them took its time.
 */
static int times_id;

static void append_times(void *arg)
{
	unsigned int n = *(unsigned int *)arg;
	u64 data[3] = {};

	for (unsigned int i = 0; i < n; i++) {
		data[2] = local_clock();
		if (dlog_event(times_id, data, sizeof(data)))
			return;
		data[1] = local_clock();
		data[0] = data[2];
		/* Some epochs of the clock must pass. */
		if (i % 64 == 0)
			udelay(100);
	}
}

static int set_times(const char *val, const struct kernel_param *kp)
{
	unsigned int n;
	int ret = kstrtouint(val, 0, &n);

	if (ret)
		return ret;
	times_id = dlog_event_register("dlogtest:times",
				       "u64 before; u64 after; u64 now");
	if (times_id < 0)
		return times_id;
	on_each_cpu(append_times, &n, 1);
	return 0;
}

static const struct kernel_param_ops times_ops = { .set = set_times };
module_param_cb(times, &times_ops, NULL, 0200);

/* An event that is switched off, one that is on again. */
static int set_gates(const char *val, const struct kernel_param *kp)
{
	int id = dlog_event_register("dlogtest:gates", "u64 n");
	u64 n = 1;

	if (id < 0)
		return id;
	if (dlog_event(id, &n, 8) || dlog_event_switch(id, false))
		return -EIO;
	n++;
	if (dlog_event(id, &n, 8) != -EAGAIN || dlog_event_switch(id, true))
		return -EIO;
	n++;
	if (dlog_event(id, &n, 8) || dlog_event_switch(0, true) != -EINVAL ||
	    dlog_event(0, &n, 8) != -EINVAL ||
	    dlog_event(4096 + id, &n, 8) != -EINVAL ||
	    dlog_write(8, "", 0) != -EINVAL)
		return -EIO;
	return 0;
}

static const struct kernel_param_ops gates_ops = { .set = set_gates };
module_param_cb(gates, &gates_ops, NULL, 0200);

static int __init test_init(void)
{
	if (oracle) {
		oracle_base = memremap(oracle, 65536, MEMREMAP_WB);
		if (!oracle_base)
			return -ENOMEM;
		memset(oracle_base, 0, 65536);
		memcpy(oracle_base, "dlogtest", 8);
	}
	register_nmi_handler(NMI_LOCAL, nmi, 0, "dlogtest");
	return 0;
}

static void __exit test_exit(void)
{
	set_load("0", NULL);
	unregister_nmi_handler(NMI_LOCAL, "dlogtest");
	if (oracle_base)
		memunmap(oracle_base);
}

module_init(test_init);
module_exit(test_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("dlog's test load");
