// SPDX-License-Identifier: GPL-2.0-only
/*
 * death.c - what is written down when the guest dies, and what then.
 *
 * Order: all CPUs stand still; the status and a STATE record say what
 * happened; then, for each CPU, registers (slot and REGS record) and lines
 * with state, stack, page walk and latest exits.  What the guest's driver has
 * written at its panic, status and register slots, is left as it is.
 */
#include "hv.h"

#define STACK_BYTES 256
#define EXITS_SHOWN 12

static u32 dying;

/* What a cause leaves as status, and what is done then; NULL: nothing. */
static const struct {
	enum dlog_status status;
	enum hv_action *action;
} causes[] = {
	[CAUSE_FAULT] = { DLOG_ST_EMERGENCY, &opt.on_fault },
	[CAUSE_CHECK] = { DLOG_ST_PANIC, &opt.on_fault },
	[CAUSE_RESET] = { DLOG_ST_EMERGENCY, &opt.on_reset },
	[CAUSE_POWER] = { DLOG_ST_POWEROFF, NULL },
	[CAUSE_HALT] = { DLOG_ST_HALT, &opt.on_halt },
	[CAUSE_HANG] = { DLOG_ST_HARD_LOCKUP, &opt.on_hang },
	[CAUSE_VIOLATION] = { DLOG_ST_RUNNING, NULL },
	[CAUSE_LOST] = { DLOG_ST_EMERGENCY, &opt.on_fault },
};

/* What the guest has said of itself is better than what we see from below. */
static enum dlog_status status_of(enum hv_cause cause)
{
	const volatile struct dlog_state *st = dlog_region_state(&region);
	enum dlog_status said = st->status;
	/* What we said ourselves of a guest that then went on. */
	static enum dlog_status ours;
	static u32 our_boot;

	if (st->boot == region.boot && said < DLOG_ST_MAX &&
	    !(our_boot == region.boot && ours == said) &&
	    (cause == CAUSE_VIOLATION ||
	     (said != DLOG_ST_RUNNING && said != DLOG_ST_BOOTING &&
	      said != DLOG_ST_NONE)))
		return said;
	if (cause == CAUSE_VIOLATION)
		return DLOG_ST_RUNNING;
	our_boot = region.boot;
	return ours = causes[cause].status;
}

static void put_registers(struct vcpu *v, enum dlog_status status)
{
	struct dlog_regs head = {
		.cpu = arch_cpu_id(v),
		.reason = status,
		.machine = 62, /* EM_X86_64 */
	};
	u8 prstatus[PRSTATUS_SIZE];

	arch_registers(v, head.control, prstatus);
	lock(&client_lock);
	dlog_client_regs(&client, &head, prstatus, sizeof(prstatus));
	unlock(&client_lock);
}

static void say_stack(struct vcpu *v)
{
	u64 stack[STACK_BYTES / 8], sp = arch_sp(v);
	size_t n = arch_read(v, sp, stack, sizeof(stack)) / 8;

	for (size_t i = 0; i + 4 <= n; i += 4)
		hv_log(HV_ALERT, " stack %016lx: %016lx %016lx %016lx %016lx",
		       sp + i * 8, stack[i], stack[i + 1], stack[i + 2],
		       stack[i + 3]);
}

static void say_walk(const char *line)
{
	hv_log(HV_ALERT, " walk of ip: %s", line);
}

static void say_exits(struct vcpu *v)
{
	struct hv_exit e;
	u64 now = arch_ns();

	for (u32 i = 0; i < EXITS_SHOWN && arch_exit(v, i, &e); i++)
		hv_log(HV_ALERT, " exit %lu us ago: %s at %lx, %lx %lx",
		       (now - e.time) / 1000, arch_exit_name(e.code), e.rip,
		       e.info1, e.info2);
}

static void say_cpu(struct vcpu *self, struct vcpu *v, bool whole)
{
	if (!arch_cpu_known(self, v)) {
		hv_log(HV_ALERT, "CPU %u %s", arch_cpu_id(v),
		       arch_cpu_state(v));
		return;
	}
	hv_log(HV_ALERT, "CPU %u %s, ip %lx sp %lx", arch_cpu_id(v),
	       arch_cpu_state(v), arch_ip(v), arch_sp(v));
	say_stack(v);
	if (!whole)
		return;
	arch_walk(v, arch_ip(v), say_walk);
	say_exits(v);
}

/* A line for each kind of exit there was, all CPUs together. */
static void say_counts(void)
{
	for (u64 code = 0; code <= 0x400; code++) {
		u64 n = 0;

		for (u32 i = 0; i < nr_cpus; i++)
			n += arch_exits(arch_cpu(i), code);
		if (n)
			hv_log(HV_INFO, "%lu exits by %s", n,
			       arch_exit_name(code));
	}
}

static void record(struct vcpu *v, enum hv_cause cause, const char *text)
{
	enum dlog_status status = DLOG_ST_NONE;
	char line[192];

	region_own_boot();
	hv_log(HV_ALERT, "%s on CPU %u at %lx", text, arch_cpu_id(v),
	       arch_ip(v));
	if (region_has_boot()) {
		status = status_of(cause);
		dlog_client_print(line, sizeof(line),
				  "dlog-hv: %s on CPU %u at %lx", text,
				  arch_cpu_id(v), arch_ip(v));
		lock(&client_lock);
		dlog_client_status(&client, 0, status, line);
		unlock(&client_lock);
	}
	for (u32 i = 0; i < nr_cpus; i++) {
		struct vcpu *o = arch_cpu(i);

		if (cause == CAUSE_VIOLATION && o != v)
			continue;
		if (region_has_boot() && arch_cpu_known(v, o))
			put_registers(o, status);
		say_cpu(v, o, o == v || cause == CAUSE_HANG);
	}
	if (cause != CAUSE_VIOLATION)
		say_counts();
}

void death(struct vcpu *v, enum hv_cause cause, const char *text)
{
	/* First: another one that dies now will record this CPU's too. */
	arch_save(v);
	while (!try_lock(&dying))
		arch_check_stop(v);
	if (cause != CAUSE_VIOLATION)
		arch_stop_others(v);
	record(v, cause, text);
	switch (causes[cause].action ? *causes[cause].action : HV_RECORD) {
	case HV_RESET:
		hv_log(HV_ALERT, "The machine is reset.");
		arch_reset();
	case HV_HALT:
		hv_log(HV_ALERT,
		       "The machine stands still: its memory can be read.");
		arch_halt();
	case HV_RESTART:
		hv_log(HV_ALERT, "The guest is started again.");
		region_end_boot();
		arch_restart(v, &dying);
	case HV_RECORD:
		break;
	}
	if (cause != CAUSE_VIOLATION)
		arch_go_on();
	unlock(&dying);
}
