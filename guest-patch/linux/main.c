// SPDX-License-Identifier: GPL-2.0-only
/*
 * main.c - rings and the exported appends; load and unload.
 *
 * Relies on shared-abi for every byte it writes.  Order at load: find and
 * map the region, adopt it (dlog_region_begin), give each CPU its ring, then
 * let the others write: status, printk, heartbeats, devices.  Unload is the
 * reverse; the region stays readable.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitmap.h>
#include <linux/dlog.h>
#include <linux/fs.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/timekeeping.h>
#include <linux/utsname.h>
#include <linux/uuid.h>
#include <linux/version.h>
#include <linux/vmalloc.h>

#include "driver.h"

static unsigned int heartbeat_ms = 1000;
module_param(heartbeat_ms, uint, 0444);
MODULE_PARM_DESC(heartbeat_ms, "Heartbeat period in ms, 100 to 60000 (1000)");

static char *run;
module_param(run, charp, 0444);
MODULE_PARM_DESC(run, "Commands for the end of loading, parted by ';'");

static bool stopped;
module_param(stopped, bool, 0444);
MODULE_PARM_DESC(stopped, "Do not record until told to (N)");

struct dlog_driver dlog __read_mostly;
DEFINE_PER_CPU(struct dlog_ring *, dlog_cpu_ring);

u8 dlog_gate[DLOG_GATES] __read_mostly = { [0 ... DLOG_GATES - 1] =
						   DLOG_GATE_SHUT };
EXPORT_SYMBOL_GPL(dlog_gate);
static DECLARE_BITMAP(dlog_off, DLOG_GATES);
static DECLARE_BITMAP(dlog_hooked, DLOG_GATES);

static_assert(DLOG_GATES == DLOG_EVENT_MAX + 1);

notrace int dlog_put(u32 type, u64 time, bool tagged, u32 tag, const void *data,
		     size_t len)
{
	int ret;

	preempt_disable_notrace();
	ret = dlog_ring_put(raw_cpu_read(dlog_cpu_ring), type, time, tagged,
			    tag, data, len);
	preempt_enable_notrace();
	return ret;
}

notrace int dlog_put_slow(u32 type, bool tagged, u32 tag, const void *data,
			  size_t len)
{
	int ret = dlog_ring_put(raw_cpu_read(dlog_cpu_ring), type,
				dlog_epoch_begin(), tagged, tag, data, len);

	preempt_enable_notrace();
	return ret;
}

notrace int __dlog_write(unsigned int level, const char *text, size_t len)
{
	if (unlikely(level > 7))
		return -EINVAL;
	return dlog_put_now(DLOG_TYPE(DLOG_KIND_TEXT, level), false, 0, text,
			    len);
}
EXPORT_SYMBOL_GPL(__dlog_write);

int dlog_printf(unsigned int level, const char *fmt, ...)
{
	char text[1024];
	va_list args;
	int len;

	if (!dlog_recording())
		return -EAGAIN;
	va_start(args, fmt);
	len = vscnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	return __dlog_write(level, text, len);
}
EXPORT_SYMBOL_GPL(dlog_printf);

notrace int __dlog_event(int id, const void *data, size_t len)
{
	if (unlikely(id - 1U >= DLOG_EVENT_MAX))
		return -EINVAL;
	if (unlikely(data_race(dlog_gate[id]) == DLOG_GATE_HOOKED))
		return dlog_hook(id, false, 0, data, len);
	return dlog_put_now(DLOG_TYPE(DLOG_KIND_EVENT, id), false, 0, data,
			    len);
}
EXPORT_SYMBOL_GPL(__dlog_event);

int dlog_event_register(const char *name, const char *fields)
{
	char error[256];
	int ret;

	if (!READ_ONCE(dlog.ready))
		return -ENODEV;
	ret = dlog_fields_check(name, fields, error, sizeof(error));
	if (ret) {
		pr_warn_ratelimited("%s\n", error);
		return ret;
	}
	ret = dlog_catalog_event(name, fields, NULL);
	if (ret > 0) {
		int err = dlog_fields_learn(ret, fields);

		if (err)
			return err;
	}
	return ret;
}
EXPORT_SYMBOL_GPL(dlog_event_register);

int dlog_append(u32 type, u64 time, const void *data, size_t len)
{
	if (!READ_ONCE(dlog.ready))
		return -ENODEV;
	return dlog_put(type, time, false, 0, data, len);
}

static bool dlog_stopped(void)
{
	return !READ_ONCE(dlog.ready) || READ_ONCE(dlog.user_stop) ||
	       READ_ONCE(dlog.host_stop);
}

/*
 * No lock guards the gates: a consumer that stops recording may run within
 * whatever a lock would call.  Who has changed what gates depend on stores
 * them, and after that looks again; so the last one to store a gate has seen
 * the last change.
 */
static notrace u8 dlog_gate_of(int id)
{
	if (dlog_stopped() || test_bit(id, dlog_off))
		return DLOG_GATE_SHUT;
	return test_bit(id, dlog_hooked) ? DLOG_GATE_HOOKED : DLOG_GATE_OPEN;
}

static notrace void dlog_gates_store(int from, int to)
{
	bool right;

	do {
		for (int id = from; id < to; id++)
			WRITE_ONCE(dlog_gate[id], dlog_gate_of(id));
		smp_mb(); /* the gates before what they depend on */
		right = true;
		for (int id = from; id < to; id++)
			right &= READ_ONCE(dlog_gate[id]) == dlog_gate_of(id);
	} while (!right);
}

notrace void dlog_update_recording(void)
{
	bool stopped;

	smp_mb(); /* what was changed before the gates */
	do {
		stopped = dlog_stopped();
		dlog_gates_store(0, DLOG_GATES);
		dlog_put32(&dlog_region_state(&dlog.region)->recording,
			   !stopped);
		smp_mb(); /* the word before what it depends on */
	} while (stopped != dlog_stopped());
}

/* Set or clear a bit of event @id that its gate depends on. */
static void dlog_gate_change(unsigned long *bits, int id, bool set)
{
	if (set)
		set_bit(id, bits);
	else
		clear_bit(id, bits);
	smp_mb__after_atomic(); /* the bit before the gate */
	dlog_gates_store(id, id + 1);
}

void dlog_event_hooked(int id, bool hooked)
{
	dlog_gate_change(dlog_hooked, id, hooked);
}

bool dlog_event_is_on(int id)
{
	return !test_bit(id, dlog_off);
}

int dlog_event_switch(int id, bool on)
{
	if (id - 1U >= DLOG_EVENT_MAX)
		return -EINVAL;
	dlog_gate_change(dlog_off, id, !on);
	return 0;
}
EXPORT_SYMBOL_GPL(dlog_event_switch);

/*
 * The kernel's own random name of this boot, by which a driver that is
 * loaded again finds that the boot is the same.  It is not exported, so
 * read it where user space does; without /proc each load is a boot.
 */
static void dlog_get_boot_id(u8 *id)
{
	char text[UUID_STRING_LEN + 2] = "";
	struct file *f;
	loff_t pos = 0;
	uuid_t uuid;

	f = filp_open("/proc/sys/kernel/random/boot_id", O_RDONLY, 0);
	if (!IS_ERR(f)) {
		kernel_read(f, text, UUID_STRING_LEN, &pos);
		filp_close(f, NULL);
	}
	if (uuid_parse(text, &uuid))
		uuid_gen(&uuid);
	export_uuid(id, &uuid);
}

/*
 * Not exported to modules, but a probe that is never armed finds it.  Also
 * where no probe may be: a registration that fails has looked the symbol up.
 */
unsigned long dlog_kernel_symbol(const char *name)
{
	struct kprobe probe = {
		.symbol_name = name,
		.flags = KPROBE_FLAG_DISABLED,
	};

	if (!register_kprobe(&probe))
		unregister_kprobe(&probe);
	return (unsigned long)probe.addr;
}

static void dlog_rejoin_cpu(void *unused)
{
	struct dlog_ring *r = raw_cpu_read(dlog_cpu_ring);
	u64 old = dlog_read64(&r->head);
	struct dlog_ring_end end;

	dlog_ring_find_end(&dlog.region, r - dlog.rings, dlog.region.boot,
			   &end);
	dlog_clock_forget();
	while (end.next > DLOG_RING_POSITION(old) &&
	       !dlog_cas64(&r->head, &old,
			   DLOG_RING_HEAD(DLOG_RING_COUNT(old), end.next),
			   r->local))
		;
}

/*
 * The heads are part of the image, the region is not: who wrote the image
 * and who read it back may have appended behind them.
 */
void dlog_rejoin(void)
{
	on_each_cpu(dlog_rejoin_cpu, NULL, 1);
}

/* How many possible CPUs use ring @n, when they are dealt out in turn? */
static unsigned int dlog_ring_users(u32 n)
{
	unsigned int users = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		users += cpu % dlog.region.sb.nr_rings == n;
	return users;
}

static int dlog_adopt(void)
{
	struct dlog_region *rg = &dlog.region;
	struct dlog_boot_info info = {};
	struct dlog_ring_end *ends;
	u32 n = rg->sb.nr_rings;
	int cpu;

	ends = kvcalloc(n, sizeof(*ends), GFP_KERNEL);
	dlog.rings = kvcalloc(n, sizeof(*dlog.rings), GFP_KERNEL);
	if (!ends || !dlog.rings) {
		kvfree(ends);
		kvfree(dlog.rings);
		return -ENOMEM;
	}
	info.time = dlog_clock();
	info.real = ktime_get_real_ns();
	/* A probe may lie behind the instruction that marks an entry. */
	dlog.kernel_text = dlog_kernel_symbol("_stext") & PAGE_MASK;
	info.kernel_text = dlog.kernel_text;
	dlog_get_boot_id(info.boot_id);
	strscpy(info.release, init_utsname()->release, sizeof(info.release));
	strscpy(info.machine, init_utsname()->machine, sizeof(info.machine));
	dlog.resumed = dlog_region_begin(rg, &info, ends);
	if (dlog.resumed && dlog_region_state(rg)->boot == rg->boot)
		dlog.kmsg_next = dlog_region_state(rg)->kmsg_next;
	for (u32 i = 0; i < n; i++)
		dlog_ring_init(&dlog.rings[i], rg, i, &ends[i],
			       dlog_ring_users(i) <= 1,
			       dlog.place.memtype != DLOG_MT_WB);
	for_each_possible_cpu(cpu)
		per_cpu(dlog_cpu_ring, cpu) = &dlog.rings[cpu % n];
	kvfree(ends);
	return 0;
}

/* Say in the ring too what the boot table says, in case that gets lost. */
static void dlog_note_boot(void)
{
	struct {
		struct dlog_boot_note note;
		char release[64];
	} b = {};
	struct dlog_boot entry;

	if (!dlog_boot_probe(&dlog.region,
			     (dlog.region.boot - 1) % dlog.region.sb.boot_slots,
			     &entry))
		return;
	b.note.boot = dlog.region.boot;
	b.note.start_real = entry.start_real;
	memcpy(b.note.boot_id, entry.boot_id, sizeof(b.note.boot_id));
	strscpy(b.release, init_utsname()->release, sizeof(b.release));
	dlog_append(DLOG_TYPE(DLOG_KIND_BOOT, 0), dlog_clock(), &b,
		    sizeof(b.note) + strlen(b.release));
}

static void dlog_open_state(void)
{
	struct dlog_state *st = dlog_region_state(&dlog.region);

	dlog_put32(&st->memtype, dlog.place.memtype);
	dlog_put32(&st->period_ms, dlog.period_ms);
	dlog_put32(&st->online, num_online_cpus());
	dlog_put64(&st->kmsg_next, dlog.kmsg_next);
	dlog.host_stop = READ_ONCE(st->control) & DLOG_CONTROL_STOP;
	dlog.user_stop = stopped;
	WRITE_ONCE(dlog.ready, true);
	dlog_update_recording();
	dlog_set_status(system_state < SYSTEM_RUNNING ? DLOG_ST_BOOTING
						      : DLOG_ST_RUNNING,
			dlog.resumed ? "driver loaded again" : NULL);
	if (!dlog.resumed)
		dlog_note_boot();
}

static int __init dlog_init(void)
{
	int ret;

	dlog_clock_tune();
	dlog.level = 8;
	dlog.period_ms = clamp(heartbeat_ms, 100U, 60000U);
	ret = dlog_find(&dlog.place);
	if (ret)
		return ret;
	ret = dlog_adopt();
	if (ret)
		goto unfind;
	dlog_open_state();
	ret = dlog_catalog_start();
	if (ret)
		goto close;
	ret = dlog_evidence_start();
	if (ret)
		goto catalog;
	ret = dlog_beat_start();
	if (ret)
		goto evidence;
	ret = dlog_kmsg_start();
	if (ret)
		goto beat;
	ret = dlog_trace_start();
	if (ret)
		goto kmsg;
	/* Last: what user space has opened must not go away again. */
	ret = dlog_chardev_start();
	if (ret)
		goto trace;
	pr_info("boot %u in region %pUb, %llu KiB at %pa (%s), %u rings, printk by %s\n",
		dlog.region.boot, dlog.region.sb.uuid,
		dlog.region.sb.region_size >> 10, &dlog.place.start,
		dlog.place.how, dlog.region.sb.nr_rings, dlog_kmsg_source());
	if (run)
		dlog_command_boot(run);
	return 0;

trace:
	dlog_trace_stop();
kmsg:
	dlog_kmsg_stop();
beat:
	dlog_beat_stop();
evidence:
	dlog_evidence_stop();
catalog:
	dlog_catalog_stop();
close:
	dlog_set_status(DLOG_ST_UNLOADED, "driver failed to start");
	WRITE_ONCE(dlog.ready, false);
	dlog_update_recording();
	synchronize_rcu();
	kvfree(dlog.rings);
unfind:
	dlog_unfind(&dlog.place);
	return ret;
}

static void __exit dlog_exit(void)
{
	dlog_chardev_stop();
	dlog_trace_stop();
	dlog_hook_stop();
	dlog_fields_stop();
	dlog_kmsg_stop();
	dlog_beat_stop();
	dlog_evidence_stop();
	dlog_set_status(DLOG_ST_UNLOADED, NULL);
	WRITE_ONCE(dlog.ready, false);
	dlog_update_recording();
	dlog_catalog_stop();
	/* Whoever was in an append has preemption off. */
	synchronize_rcu();
	kvfree(dlog.rings);
	dlog_unfind(&dlog.place);
}

module_init(dlog_init);
module_exit(dlog_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION(
	"Flight recorder: kernel log in memory that a host file backs");
