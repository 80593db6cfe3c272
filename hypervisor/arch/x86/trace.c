// SPDX-License-Identifier: GPL-2.0-only
/*
 * trace.c - what core/death.c asks of the CPUs.
 */
#include "x86.h"

struct vcpu *arch_cpu(u32 i)
{
	return &cpus[i];
}

u32 arch_cpu_id(const struct vcpu *v)
{
	return v->id;
}

bool arch_cpu_known(const struct vcpu *self, const struct vcpu *v)
{
	return v->state >= CPU_RUNNING && (v == self || v->stopped);
}

const char *arch_cpu_state(const struct vcpu *v)
{
	struct cpu_mode m;

	switch (v->state) {
	case CPU_ABSENT:
		return "never started";
	case CPU_WAITING:
		return "waits for SIPI";
	case CPU_HALTED:
		return "halted with interrupts off";
	}
	svm_mode(v, &m);
	return m.flags & RFLAGS_IF ? "ran with interrupts on"
				   : "ran with interrupts off";
}

u64 arch_ip(struct vcpu *v)
{
	struct cpu_mode m;

	svm_mode(v, &m);
	return m.code64 || m.cs_base == 0 ? m.ip : m.cs_base + m.ip;
}

u64 arch_sp(struct vcpu *v)
{
	struct cpu_mode m;

	svm_mode(v, &m);
	return m.sp;
}

bool arch_exit(const struct vcpu *v, u32 i, struct hv_exit *e)
{
	if (i >= EXIT_RING || i >= v->exits)
		return false;
	*e = v->ring[(v->exits - 1 - i) % EXIT_RING];
	return true;
}

u64 arch_exits(const struct vcpu *v, u64 code)
{
	return v->count[code < EXIT_CODES ? code : EXIT_CODES - 1];
}

/* ---- standing still ---- */

static u32 stop_all;

void arch_check_stop(struct vcpu *v)
{
	if (!__atomic_load_n(&stop_all, __ATOMIC_SEQ_CST))
		return;
	arch_save(v);
	__atomic_store_n(&v->stopped, 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(&stop_all, __ATOMIC_ACQUIRE)) {
		if (__atomic_load_n(&restarting, __ATOMIC_ACQUIRE))
			cpu_fresh(v);
		pause();
	}
	__atomic_store_n(&v->stopped, 0, __ATOMIC_RELEASE);
}

void arch_stop_others(struct vcpu *v)
{
	u64 end = arch_ns() + 2000000000;

	__atomic_store_n(&stop_all, 1, __ATOMIC_SEQ_CST);
	for (u32 i = 0; i < nr_cpus; i++)
		if (&cpus[i] != v && cpus[i].state >= CPU_RUNNING)
			cpu_ask(&cpus[i], REQ_STOP);
	for (u32 i = 0; i < nr_cpus; i++) {
		struct vcpu *o = &cpus[i];

		while (o != v && o->state >= CPU_RUNNING &&
		       !__atomic_load_n(&o->stopped, __ATOMIC_ACQUIRE) &&
		       arch_ns() < end)
			pause();
	}
}

void arch_go_on(void)
{
	__atomic_store_n(&stop_all, 0, __ATOMIC_RELEASE);
}
