// SPDX-License-Identifier: GPL-2.0-only
/*
 * restart.c - the guest again, in place, without the firmware.
 *
 * Copies of GRUB's modules are kept and come back to where they were.  Each
 * CPU gives up what it does and comes to cpu_again() on an empty stack.  All
 * but the first then wait as after INIT.  The first quiets what may still
 * write memory or interrupt, and begins as at the first start.
 */
#include "x86.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA 0xcfc
#define WAIT_NS 5000000000ull

void cpu_again(struct vcpu *v) __attribute__((noreturn));

bool restarted;
u32 restarting;
struct mem_range kept;

static struct mem_map first_map; /* free_map before a guest was loaded */
static u32 parked; /* CPUs that have come to cpu_again() */
static u32 *held;

/* The modules, one behind the other, to where they are kept or back. */
static void copy_modules(bool back)
{
	u64 at = kept.start;

	for (u32 i = 0; i < boot.modules; i++) {
		void *there = (void *)boot.module[i].start;
		u64 size = boot.module[i].end - boot.module[i].start;

		memcpy(back ? there : (void *)at, back ? (void *)at : there,
		       size);
		at += size;
	}
}

int restart_keep(void)
{
	u64 size = 0;

	for (u32 i = 0; i < boot.modules && opt.restart; i++)
		size += boot.module[i].end - boot.module[i].start;
	kept.start = size ? mem_find(size, PAGE, 128 * MIB, 4 * GIB) : 0;
	kept.end = ALIGN_UP(kept.start + size, PAGE);
	if ((size && !kept.start) ||
	    mem_set(&guest_map, kept.start, kept.end, MEM_RESERVED) ||
	    mem_set(&free_map, kept.start, kept.end, MEM_RESERVED))
		return hv_fail(ENOMEM,
			       "No room to keep the guest for a restart.");
	if (size)
		copy_modules(false);
	first_map = free_map;
	return 0;
}

/*
 * PCI Local Bus Specification 3.0, 6.2.2: no bus master, which also stops
 * message signalled interrupts, and no interrupt line.  Not the host bridge.
 */
static void quiet_pci(void)
{
	for (u32 at = 1u << 31; at < (1u << 31 | 1u << 24); at += 0x100) {
		u32 class, header;

		out32(CONFIG_ADDRESS, at | 0x08);
		class = in32(CONFIG_DATA) >> 16;
		out32(CONFIG_ADDRESS, at | 0x0c);
		header = in32(CONFIG_DATA);
		out32(CONFIG_ADDRESS, at | 0x04);
		if (class != 0x0600 && class != 0xffff)
			out16(CONFIG_DATA, (in16(CONFIG_DATA) & ~4) | 0x400);
		/* Nothing here, or one function only. */
		if (!(at & 0x700) && (class == 0xffff || !(header & 1u << 23)))
			at += 0x700;
	}
}

static void quiet(void)
{
	volatile u32 *ioapic = (volatile u32 *)(u64)acpi.ioapic;

	quiet_pci();
	out8(0x21, 0xff); /* both PICs */
	out8(0xa1, 0xff);
	if (ioapic) {
		ioapic[0] = 1;
		for (u32 pins = (ioapic[4] >> 16 & 0xff) + 1; pins--;) {
			ioapic[0] = 0x10 + 2 * pins;
			ioapic[4] = 0x10000;
		}
	}
	if (acpi.hpet && acpi.hpet < 4 * GIB)
		*(volatile u32 *)(acpi.hpet + 0x10) = 0;
	ports_reset();
	console_start();
}

static void wait_for_all(void)
{
	u64 end = arch_ns() + WAIT_NS;
	u32 expected = 1;

	for (u32 i = 1; i < nr_cpus; i++) {
		if (!cpus[i].vmcb)
			continue;
		expected++;
		cpu_ask(&cpus[i], REQ_STOP);
	}
	while (__atomic_load_n(&parked, __ATOMIC_ACQUIRE) < expected) {
		if (arch_ns() < end)
			continue;
		hv_log(HV_ERR,
		       "Not all CPUs stand still: the machine is reset.");
		arch_reset();
	}
}

static void begin_again(struct vcpu *v)
{
	struct guest_entry e = { 0 };

	wait_for_all();
	quiet();
	restarted = true;
	free_map = first_map;
	copy_modules(true);
	if (load_guest(&e))
		arch_reset();
	arch_go_on();
	unlock(held);
	/* All must have seen it before there can be a next time. */
	__atomic_store_n(&restarting, 0, __ATOMIC_RELEASE);
	while (__atomic_load_n(&parked, __ATOMIC_ACQUIRE) > 1)
		pause();
	parked = 0;
	/* The guest has no handler yet for an NMI that is on its way. */
	svm_take_nmi();
	cpu_asked(v);
	watch_start();
	svm_begin(v, &e);
}

void cpu_again(struct vcpu *v)
{
	apic_reset(!v->id);
	svm_reset_cpu(v);
	__atomic_store_n(&v->state, CPU_WAITING, __ATOMIC_RELEASE);
	memset(&v->stopped, 0, sizeof(*v) - offsetof(struct vcpu, stopped));
	__atomic_add_fetch(&parked, 1, __ATOMIC_RELEASE);
	if (v->id) {
		while (__atomic_load_n(&restarting, __ATOMIC_ACQUIRE))
			pause();
		__atomic_sub_fetch(&parked, 1, __ATOMIC_RELEASE);
		cpu_wait_sipi(v);
	} else {
		begin_again(v);
	}
	svm_loop(v);
}

void arch_restart(struct vcpu *v, u32 *lock_held)
{
	held = lock_held;
	__atomic_store_n(&restarting, 1, __ATOMIC_RELEASE);
	cpu_fresh(v);
}
