// SPDX-License-Identifier: GPL-2.0-only
/*
 * dlogevents.c - events and consumers of them, for tests/scenarios/events.py.
 *
 * Relies on dlog.ko alone.  Events: dlogevents:ping and dlogevents:pong, each
 * with a number; and dlogevents:NAME for each consumer NAME, which repeats the
 * number that it was called with.  Parameters, each an action when written:
 *
 *	fire=N		N pings
 *	chain=1|0	adds or removes four consumers of ping: low (-5),
 *			first (10), high (30), second (10), in this order
 *	odd=1|0		the same for one of priority 5 that stops odd numbers
 *	again=1|0	the same for one that appends a ping itself
 *	alternate=MS	for so long, but at most 400000 times, pings and pongs
 *			in turn, the pings on CPU 0, the pongs on CPU 1, each
 *			after the other has returned
 *	call=1		three broken rules, the second too long
 *	churn=N		adds and removes a consumer N times while all CPUs
 *			append in tasks, interrupts and NMIs
 *
 * and results: changes, how often recording began or ended within alternate;
 * hits and late, how often churn's consumer ran, and ran after its removal.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpu.h>
#include <linux/delay.h>
#include <linux/dlog.h>
#include <linux/hrtimer.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/smp.h>
#include <asm/apic.h>
#include <asm/nmi.h>

static int ping, pong;

static uint changes;
module_param(changes, uint, 0444);

static int fire(int id, u64 n)
{
	return dlog_event(id, &n, sizeof(n));
}

static int set_fire(const char *val, const struct kernel_param *kp)
{
	unsigned int n;
	int ret = kstrtouint(val, 0, &n);

	for (u64 i = 1; !ret && i <= n; i++)
		fire(ping, i);
	return ret;
}

static const struct kernel_param_ops fire_ops = { .set = set_fire };
module_param_cb(fire, &fire_ops, NULL, 0200);

static int set_call(const char *val, const struct kernel_param *kp)
{
	static const u64 args[] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	char rule[600];

	memset(rule, 'r', sizeof(rule));
	rule[sizeof(rule) - 1] = 0;
	return dlog_call(4, 5, 0, args, 1, "strlen", "s must not be NULL",
			 "probe+0x12/0x40 [demo]") ||
			       dlog_call(4, _THIS_IP_, 2, args, 8, "kmalloc",
					 rule, NULL) ||
			       dlog_call(4, 5, 0, args, 0, "f", "", "")
		       ? -EIO
		       : 0;
}

static const struct kernel_param_ops call_ops = { .set = set_call };
module_param_cb(call, &call_ops, NULL, 0200);

/* ---- consumers ---- */

struct teller {
	struct dlog_consumer consumer;
	int id; /* its event */
};

static int tell(struct dlog_consumer *c, int id, const void *data, size_t len)
{
	struct teller *t = container_of(c, struct teller, consumer);

	if (id != ping || len != 8)
		return DLOG_CONSUMER_STOP;
	dlog_event(t->id, data, len);
	return DLOG_CONSUMER_GO;
}

static struct teller tellers[] = {
	{ .consumer = { .name = "low", .priority = -5, .fn = tell } },
	{ .consumer = { .name = "first", .priority = 10, .fn = tell } },
	{ .consumer = { .name = "high", .priority = 30, .fn = tell } },
	{ .consumer = { .name = "second", .priority = 10, .fn = tell } },
};

static int set_chain(const char *val, const struct kernel_param *kp)
{
	bool on;
	int ret = kstrtobool(val, &on);

	for (int i = 0; !ret && i < ARRAY_SIZE(tellers); i++) {
		struct dlog_consumer *c = &tellers[i].consumer;

		if (on)
			ret = dlog_consumer_add("dlogevents:ping", c);
		else
			dlog_consumer_remove(c);
	}
	return ret;
}

static const struct kernel_param_ops chain_ops = { .set = set_chain };
module_param_cb(chain, &chain_ops, NULL, 0200);

static int stop_odd(struct dlog_consumer *c, int id, const void *data,
		    size_t len)
{
	return *(const u64 *)data & 1 ? DLOG_CONSUMER_STOP : DLOG_CONSUMER_GO;
}

static int append_again(struct dlog_consumer *c, int id, const void *data,
			size_t len)
{
	fire(ping, *(const u64 *)data + 1000);
	return DLOG_CONSUMER_GO;
}

static struct dlog_consumer odd = {
	.name = "odd",
	.priority = 5,
	.fn = stop_odd,
};

static struct dlog_consumer again = {
	.name = "again",
	.priority = 1,
	.fn = append_again,
};

static int set_one(const char *val, const struct kernel_param *kp)
{
	bool on;
	int ret = kstrtobool(val, &on);

	if (!ret && on)
		return dlog_consumer_add("dlogevents:ping", kp->arg);
	if (!ret)
		dlog_consumer_remove(kp->arg);
	return ret;
}

static const struct kernel_param_ops one_ops = { .set = set_one };
module_param_cb(odd, &one_ops, &odd, 0200);
module_param_cb(again, &one_ops, &again, 0200);

/* ---- two CPUs in turn ---- */

static struct {
	u64 turn; /* number of the next event; even ones are CPU 0's */
	u64 end; /* and which is not to come any more */
	bool taken; /* was the one before recorded? */
} alt;

static int alternate(void *data)
{
	unsigned int me = (unsigned long)data;
	u64 n;

	while ((n = smp_load_acquire(&alt.turn)) < READ_ONCE(alt.end)) {
		bool taken;

		if ((n & 1) != me) {
			cond_resched();
			cpu_relax();
			continue;
		}
		taken = !fire(me ? pong : ping, n);
		changes += taken != alt.taken;
		alt.taken = taken;
		smp_store_release(&alt.turn, n + 1);
	}
	while (!kthread_should_stop())
		msleep(1);
	return 0;
}

static int set_alternate(const char *val, const struct kernel_param *kp)
{
	struct task_struct *t[2];
	unsigned int ms;
	int ret = kstrtouint(val, 0, &ms);

	if (ret)
		return ret;
	alt.turn = 0;
	alt.end = 400000;
	alt.taken = false;
	changes = 0;
	for (long i = 0; i < 2; i++) {
		t[i] = kthread_create_on_cpu(alternate, (void *)i, i,
					     "dlogevents/%u");
		if (IS_ERR(t[i]))
			return PTR_ERR(t[i]);
	}
	for (int i = 0; i < 2; i++)
		wake_up_process(t[i]);
	msleep(ms);
	WRITE_ONCE(alt.end, 0);
	for (int i = 0; i < 2; i++)
		kthread_stop(t[i]);
	return 0;
}

static const struct kernel_param_ops alternate_ops = { .set = set_alternate };
module_param_cb(alternate, &alternate_ops, NULL, 0200);

/* ---- a consumer that comes and goes under load ---- */

static struct {
	struct dlog_consumer consumer;
	bool there;
	atomic_t hits, late;
} guest;

static struct {
	bool on;
	struct task_struct *task[NR_CPUS];
} load;

static DEFINE_PER_CPU(bool, nmi_wanted);
static DEFINE_PER_CPU(struct hrtimer, timers);

static int visit(struct dlog_consumer *c, int id, const void *data, size_t len)
{
	if (!READ_ONCE(guest.there))
		atomic_inc(&guest.late);
	udelay(2);
	if (!READ_ONCE(guest.there))
		atomic_inc(&guest.late);
	atomic_inc(&guest.hits);
	return DLOG_CONSUMER_GO;
}

static int nmi(unsigned int type, struct pt_regs *regs)
{
	if (!__this_cpu_read(nmi_wanted))
		return NMI_DONE;
	__this_cpu_write(nmi_wanted, false);
	fire(ping, 3);
	return NMI_HANDLED;
}

static enum hrtimer_restart tick(struct hrtimer *t)
{
	if (!READ_ONCE(load.on))
		return HRTIMER_NORESTART;
	fire(ping, 2);
	__this_cpu_write(nmi_wanted, true);
	apic->send_IPI_mask(cpumask_of(smp_processor_id()), NMI_VECTOR);
	hrtimer_forward_now(t, ns_to_ktime(500 * 1000));
	return HRTIMER_RESTART;
}

static int append(void *data)
{
	struct hrtimer *t = this_cpu_ptr(&timers);

	hrtimer_init(t, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
	t->function = tick;
	hrtimer_start(t, ns_to_ktime(500 * 1000), HRTIMER_MODE_REL_PINNED_HARD);
	while (!kthread_should_stop()) {
		fire(ping, 1);
		cond_resched();
	}
	hrtimer_cancel(t);
	return 0;
}

static int churn(unsigned int n)
{
	int ret = 0;

	while (n-- && !ret) {
		WRITE_ONCE(guest.there, true);
		ret = dlog_consumer_add("dlogevents:ping", &guest.consumer);
		usleep_range(200, 400);
		dlog_consumer_remove(&guest.consumer);
		WRITE_ONCE(guest.there, false);
	}
	return ret;
}

static int set_churn(const char *val, const struct kernel_param *kp)
{
	unsigned int n;
	int cpu, ret = kstrtouint(val, 0, &n);

	if (ret)
		return ret;
	guest.consumer.name = "guest";
	guest.consumer.priority = 1;
	guest.consumer.fn = visit;
	WRITE_ONCE(load.on, true);
	for_each_online_cpu(cpu) {
		load.task[cpu] = kthread_create_on_cpu(append, NULL, cpu,
						       "dlogevents/%u");
		if (IS_ERR(load.task[cpu]))
			return PTR_ERR(load.task[cpu]);
		wake_up_process(load.task[cpu]);
	}
	ret = churn(n);
	WRITE_ONCE(load.on, false);
	for_each_online_cpu(cpu)
		kthread_stop(load.task[cpu]);
	return ret;
}

static const struct kernel_param_ops churn_ops = { .set = set_churn };
module_param_cb(churn, &churn_ops, NULL, 0200);

static int get_atomic(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%d\n", atomic_read(kp->arg));
}

static const struct kernel_param_ops atomic_ops = { .get = get_atomic };
module_param_cb(hits, &atomic_ops, &guest.hits, 0444);
module_param_cb(late, &atomic_ops, &guest.late, 0444);

static int __init events_init(void)
{
	ping = dlog_event_register("dlogevents:ping", "u64 n");
	pong = dlog_event_register("dlogevents:pong", "u64 n");
	if (ping < 0 || pong < 0)
		return -EIO;
	for (int i = 0; i < ARRAY_SIZE(tellers); i++) {
		char name[32];

		snprintf(name, sizeof(name), "dlogevents:%s",
			 tellers[i].consumer.name);
		tellers[i].id = dlog_event_register(name, "u64 n");
		if (tellers[i].id < 0)
			return -EIO;
	}
	return register_nmi_handler(NMI_LOCAL, nmi, 0, "dlogevents");
}

static void __exit events_exit(void)
{
	unregister_nmi_handler(NMI_LOCAL, "dlogevents");
	set_chain("0", NULL);
	dlog_consumer_remove(&odd);
	dlog_consumer_remove(&again);
}

module_init(events_init);
module_exit(events_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Events and consumers for dlog's tests");
