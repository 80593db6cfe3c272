// SPDX-License-Identifier: GPL-2.0-only
/*
 * evidence.c - status, registers and stacks when something goes wrong.
 *
 * A status change is one 8-byte store into the state page and a STATE record.
 * Registers go to the CPU's slot (ELF NT_PRSTATUS, the last ones win) and,
 * as REGS and STACK records, into the ring, where they stay in the order of
 * events.
 *
 * Panic is caught at the entry of panic() by an ftrace hook: a hypervisor's
 * pvpanic device may stop the machine in the first panic notifier, before
 * any other notifier or kmsg_dump runs.  So is crash_kexec(), by which an
 * oops leaves for a crash kernel.  The other CPUs are asked by NMI,
 * which also reaches those that hang with interrupts off.
 *
 * An NMI nobody claims (QEMU: inject-nmi) is taken as the host's question
 * "where is everybody?".  The kernel's own handling of it is left as it is.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/elfcore.h>
#include <linux/ftrace.h>
#include <linux/kdebug.h>
#include <linux/kexec.h>
#include <linux/kmsg_dump.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/panic_notifier.h>
#include <linux/reboot.h>
#include <linux/sched.h>
#include <linux/stacktrace.h>
#include <linux/suspend.h>
#include <linux/tracepoint.h>
#include <linux/version.h>

#ifdef CONFIG_X86
#include <asm/apic.h>
#include <asm/kexec.h>
#include <asm/nmi.h>
#endif

#include "driver.h"

#define STACK_FRAMES 48
#define STACK_TEXT 3072

/* Work space of one CPU's snapshot; NMI and panic have no stack to spare. */
struct dlog_scratch {
	atomic_t busy;
	struct {
		u32 cpu, reason;
		struct elf_prstatus status;
	} regs;
	struct {
		u32 cpu, reason;
		char text[STACK_TEXT];
	} stack;
	unsigned long frames[STACK_FRAMES];
};

static struct dlog_scratch __percpu *scratch;

/* CPUs that an NMI of ours is on its way to, and why. */
static cpumask_t asked;
static enum dlog_status asked_reason;
static u64 asked_at;

/* Task whose registers at an oops must not be replaced by those at panic(). */
static struct task_struct *oops_task;

void dlog_set_status(enum dlog_status status, const char *detail)
{
	enum dlog_status old = READ_ONCE(dlog.status);
	u64 now = dlog_clock();

	if (!READ_ONCE(dlog.ready))
		return;
	do {
		if (old == DLOG_ST_PANIC)
			return;
	} while (!try_cmpxchg(&dlog.status, &old, status));
	dlog_region_status(&dlog.region, status, now);
	/* Another CPU's panic may have been between the two. */
	if (READ_ONCE(dlog.status) == DLOG_ST_PANIC)
		dlog_region_status(&dlog.region, DLOG_ST_PANIC, now);
	dlog_append(DLOG_TYPE(DLOG_KIND_STATE, status), now, detail,
		    detail ? strlen(detail) : 0);
}

static void dlog_control_regs(u64 *c)
{
#ifdef CONFIG_X86_64
	unsigned long long v;

	c[0] = native_read_cr0();
	c[1] = native_read_cr2();
	c[2] = __native_read_cr3();
	c[3] = native_read_cr4();
	rdmsrl_safe(MSR_EFER, &v);
	c[4] = v;
	rdmsrl_safe(MSR_FS_BASE, &v);
	c[5] = v;
	rdmsrl_safe(MSR_GS_BASE, &v);
	c[6] = v;
	rdmsrl_safe(MSR_KERNEL_GS_BASE, &v);
	c[7] = v;
#endif
}

/* ELF's register set is pt_regs and, on x86-64, six words more. */
static void dlog_elf_regs(elf_gregset_t *to, struct pt_regs *regs,
			  const u64 *control)
{
#ifdef CONFIG_X86_64
	unsigned long *r = (unsigned long *)to;

	memcpy(r, regs, sizeof(*regs));
	r[21] = control[5];
	r[22] = control[6];
#else
	elf_core_copy_regs(to, regs);
#endif
}

/* The frames from @first on as a STACK record, one a line. */
static void dlog_stack_put(struct dlog_scratch *s, unsigned int first,
			   unsigned int n, enum dlog_status reason)
{
	unsigned int len = 0;

	for (unsigned int i = first; i < n; i++)
		len += scnprintf(s->stack.text + len, STACK_TEXT - len, "%s%pS",
				 len ? "\n" : "", (void *)s->frames[i]);
	s->stack.cpu = raw_smp_processor_id();
	s->stack.reason = reason;
	dlog_append(DLOG_TYPE(DLOG_KIND_STACK, 0), dlog_clock(), &s->stack,
		    offsetof(typeof(s->stack), text) + len);
}

/*
 * This CPU's stack from @regs' instruction on: what lies above it is our own
 * handler.
 */
static void dlog_stack(struct dlog_scratch *s, struct pt_regs *regs,
		       enum dlog_status reason)
{
	unsigned int n, first = 0;

	n = stack_trace_save(s->frames, STACK_FRAMES, 0);
	for (unsigned int i = 0; i < n; i++) {
		if (s->frames[i] == instruction_pointer(regs)) {
			first = i;
			break;
		}
	}
	dlog_stack_put(s, first, n, reason);
}

void dlog_stack_here(void)
{
	struct dlog_scratch *s = this_cpu_ptr(scratch);
	unsigned int n, first = 0;

	if (!READ_ONCE(dlog.ready) || atomic_xchg(&s->busy, 1))
		return;
	n = stack_trace_save(s->frames, STACK_FRAMES, 0);
	while (first < n && within_module(s->frames[first], THIS_MODULE))
		first++;
	dlog_stack_put(s, first, n, DLOG_ST_NONE);
	atomic_set(&s->busy, 0);
}

/* Registers and stack of this CPU.  Any context. */
static void dlog_snapshot(struct pt_regs *regs, enum dlog_status reason)
{
	struct dlog_scratch *s = this_cpu_ptr(scratch);
	struct elf_prstatus *p = &s->regs.status;
	u64 now = dlog_clock();
	struct dlog_regs head = {
		.cpu = raw_smp_processor_id(),
		.time = now,
		.reason = reason,
		.machine = ELF_ARCH,
	};

	if (!READ_ONCE(dlog.ready) || atomic_xchg(&s->busy, 1))
		return;
	memset(&s->regs, 0, sizeof(s->regs));
	p->common.pr_pid = current->pid;
	dlog_control_regs(head.control);
	dlog_elf_regs(&p->pr_reg, regs, head.control);
	dlog_region_regs(&dlog.region, &head, p, round_down(sizeof(*p), 8));
	s->regs.cpu = head.cpu;
	s->regs.reason = reason;
	dlog_append(DLOG_TYPE(DLOG_KIND_REGS, 0), now, &s->regs,
		    sizeof(s->regs));
	dlog_stack(s, regs, reason);
	atomic_set(&s->busy, 0);
}

#ifdef CONFIG_X86_LOCAL_APIC
static void dlog_send_nmi(int cpu)
{
	apic->send_IPI(cpu, NMI_VECTOR);
}

static int dlog_nmi_asked(unsigned int type, struct pt_regs *regs)
{
	int cpu = raw_smp_processor_id();

	if (!cpumask_test_cpu(cpu, &asked))
		return NMI_DONE;
	dlog_snapshot(regs, READ_ONCE(asked_reason));
	cpumask_clear_cpu(cpu, &asked);
	return NMI_HANDLED;
}

static int dlog_nmi_unknown(unsigned int type, struct pt_regs *regs)
{
	static atomic_t asking;

	dlog_snapshot(regs, DLOG_ST_NONE);
	/* Where all CPUs get the host's NMI, one asks for those that did not. */
	if (!atomic_xchg(&asking, 1)) {
		dlog_snapshot_others(DLOG_ST_NONE);
		atomic_set(&asking, 0);
	}
	return NMI_DONE;
}
#else
static void dlog_send_nmi(int cpu)
{
	cpumask_clear_cpu(cpu, &asked);
}
#endif

void dlog_snapshot_cpu(int cpu, enum dlog_status reason)
{
	u64 now = dlog_clock();

	WRITE_ONCE(asked_reason, reason);
	/* One on its way is enough, unless it never arrived. */
	if (cpumask_test_and_set_cpu(cpu, &asked) &&
	    now - READ_ONCE(asked_at) < NSEC_PER_SEC)
		return;
	WRITE_ONCE(asked_at, now);
	dlog_send_nmi(cpu);
}

void dlog_snapshot_others(enum dlog_status reason)
{
	int me = raw_smp_processor_id();
	int cpu;

	for_each_online_cpu(cpu)
		if (cpu != me)
			dlog_snapshot_cpu(cpu, reason);
	for (int us = 0; us < 10000; us += 10) {
		bool left = false;

		for_each_online_cpu(cpu)
			left |= cpu != me && cpumask_test_cpu(cpu, &asked);
		if (!left)
			break;
		udelay(10);
	}
}

/* ---- panic ---- */

static void notrace dlog_panic_hook(unsigned long ip, unsigned long parent,
				    struct ftrace_ops *ops,
				    struct ftrace_regs *fregs)
{
	static atomic_t once;
	struct pt_regs *regs;
	unsigned long flags;

	if (atomic_xchg(&once, 1))
		return;
	local_irq_save(flags);
	dlog_set_status(DLOG_ST_PANIC, NULL);
	regs = ftrace_get_regs(fregs);
	if (regs && READ_ONCE(oops_task) != current)
		dlog_snapshot(regs, DLOG_ST_PANIC);
	dlog_snapshot_others(DLOG_ST_PANIC);
	local_irq_restore(flags);
}

static struct ftrace_ops panic_ops = {
	.func = dlog_panic_hook,
	.flags = FTRACE_OPS_FL_SAVE_REGS | FTRACE_OPS_FL_PERMANENT,
};

static bool panic_hooked;

static int dlog_panic_notify(struct notifier_block *nb, unsigned long action,
			     void *data)
{
	/* Where panic() cannot be hooked; otherwise it is noted already. */
	dlog_set_status(DLOG_ST_PANIC, data);
	return NOTIFY_DONE;
}

static struct notifier_block panic_nb = {
	.notifier_call = dlog_panic_notify,
	.priority = INT_MAX,
};

/* ---- oops ---- */

static int dlog_die_notify(struct notifier_block *nb, unsigned long action,
			   void *data)
{
	struct die_args *args = data;

	if (action != DIE_OOPS)
		return NOTIFY_DONE;
	WRITE_ONCE(oops_task, current);
	dlog_set_status(DLOG_ST_OOPS, args->str);
	if (args->regs)
		dlog_snapshot(args->regs, DLOG_ST_OOPS);
	return NOTIFY_DONE;
}

static struct notifier_block die_nb = {
	.notifier_call = dlog_die_notify,
	.priority = INT_MAX,
};

/* ---- the end of a boot ---- */

static int dlog_reboot_notify(struct notifier_block *nb, unsigned long action,
			      void *cmd)
{
	switch (action) {
	case SYS_RESTART:
		if (cmd && !strcmp(cmd, "kexec reboot"))
			dlog_set_status(DLOG_ST_KEXEC, NULL);
		else
			dlog_set_status(DLOG_ST_REBOOT, cmd);
		break;
	case SYS_HALT:
		dlog_set_status(DLOG_ST_HALT, NULL);
		break;
	case SYS_POWER_OFF:
		dlog_set_status(DLOG_ST_POWEROFF, NULL);
		break;
	}
	return NOTIFY_DONE;
}

static struct notifier_block reboot_nb = {
	.notifier_call = dlog_reboot_notify,
	.priority = INT_MAX,
};

/* sysrq-b and the like restart without asking the reboot notifiers. */
static void dlog_dump(struct kmsg_dumper *dumper,
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)
		      struct kmsg_dump_detail *detail)
{
	enum kmsg_dump_reason reason = detail->reason;
#else
		      enum kmsg_dump_reason reason)
{
#endif
	if (reason == KMSG_DUMP_EMERG)
		dlog_set_status(DLOG_ST_EMERGENCY, NULL);
}

static struct kmsg_dumper dumper = {
	.dump = dlog_dump,
	.max_reason = KMSG_DUMP_SHUTDOWN,
};

/* ---- suspend ---- */

static int dlog_pm_notify(struct notifier_block *nb, unsigned long action,
			  void *data)
{
	switch (action) {
	case PM_SUSPEND_PREPARE:
	case PM_HIBERNATION_PREPARE:
		dlog_set_status(DLOG_ST_SUSPEND, NULL);
		break;
	case PM_POST_HIBERNATION:
		dlog_rejoin();
		fallthrough;
	case PM_POST_SUSPEND:
		dlog_set_status(DLOG_ST_RUNNING, "resumed");
		break;
	}
	return NOTIFY_DONE;
}

static struct notifier_block pm_nb = {
	.notifier_call = dlog_pm_notify,
};

/* ---- hung tasks ---- */

static struct tracepoint *hang_tp;

static void dlog_hang(void *data, struct task_struct *task)
{
	char text[64];

	snprintf(text, sizeof(text), "task %s:%d", task->comm, task->pid);
	dlog_set_status(DLOG_ST_HUNG_TASK, text);
}

static void dlog_hang_find(struct tracepoint *tp, void *data)
{
	if (!strcmp(tp->name, "sched_process_hang"))
		hang_tp = tp;
}

int dlog_evidence_start(void)
{
	scratch = alloc_percpu(struct dlog_scratch);
	if (!scratch)
		return -ENOMEM;
	register_die_notifier(&die_nb);
	register_reboot_notifier(&reboot_nb);
	register_pm_notifier(&pm_nb);
	kmsg_dump_register(&dumper);
	atomic_notifier_chain_register(&panic_notifier_list, &panic_nb);
	/* An oops with a crash kernel loaded goes to crash_kexec() directly. */
	panic_hooked = !ftrace_set_filter(&panic_ops, "panic", 5, 1) &&
		       !ftrace_set_filter(&panic_ops, "crash_kexec", 11, 0) &&
		       !register_ftrace_function(&panic_ops);
	if (!panic_hooked)
		pr_warn("panic() cannot be hooked: registers at panic are not recorded\n");
	for_each_kernel_tracepoint(dlog_hang_find, NULL);
	if (hang_tp && tracepoint_probe_register(hang_tp, dlog_hang, NULL))
		hang_tp = NULL;
#ifdef CONFIG_X86_LOCAL_APIC
	register_nmi_handler(NMI_LOCAL, dlog_nmi_asked, 0, "dlog");
	register_nmi_handler(NMI_UNKNOWN, dlog_nmi_unknown, 0, "dlog");
#endif
	return 0;
}

void dlog_evidence_stop(void)
{
#ifdef CONFIG_X86_LOCAL_APIC
	unregister_nmi_handler(NMI_UNKNOWN, "dlog");
	unregister_nmi_handler(NMI_LOCAL, "dlog");
#endif
	if (hang_tp) {
		tracepoint_probe_unregister(hang_tp, dlog_hang, NULL);
		tracepoint_synchronize_unregister();
	}
	if (panic_hooked)
		unregister_ftrace_function(&panic_ops);
	ftrace_free_filter(&panic_ops);
	atomic_notifier_chain_unregister(&panic_notifier_list, &panic_nb);
	kmsg_dump_unregister(&dumper);
	unregister_pm_notifier(&pm_nb);
	unregister_reboot_notifier(&reboot_nb);
	unregister_die_notifier(&die_nb);
	free_percpu(scratch);
}
