// SPDX-License-Identifier: GPL-2.0-only
/*
 * watch.c - dlog-hv's own timer, and when a CPU hangs.
 *
 * The RTC's periodic interrupt (MC146818A: register A rate, B bit 6, C) goes
 * through pin 8 of the I/O APIC (82093AA data sheet) to the first CPU as an
 * NMI, twice a second: NMIs are intercepted, so it arrives whatever the
 * guest does to its interrupt flag.  The guest's view of that pin and of the
 * RTC is played (watch_ioapic(), ports.c), and so is the HPET's: its legacy
 * routing, which would cut off the RTC's interrupt, is not offered.
 *
 * A CPU hangs when interrupts were off in each sample for the time that the
 * option watchdog= gives, it has had them on once, and the driver's
 * heartbeat for it, if there is one, has not moved.  The first CPU samples
 * itself and asks the others, by NMI, to do the same.
 */
#include "x86.h"

#define PIN 8
#define INDEX 0x00
#define WINDOW 0x10
#define ENTRY(pin) (0x10 + 2 * (pin))
#define DELIVER_NMI 0x400
#define SILENT_NS 10000000000ull

static volatile u32 *ioapic;
static bool runs;
static u64 last_tick;
static u32 index_seen;
static u32 guest_lo, guest_hi; /* what it thinks pin 8 is */

bool watch_runs(void)
{
	return runs;
}

static void ioapic_write(u32 reg, u32 v)
{
	ioapic[INDEX] = reg;
	ioapic[WINDOW / 4] = v;
}

void watch_check(void)
{
	if (!opt.watchdog_ms || !acpi.ioapic)
		return;
	ioapic = (volatile u32 *)(u64)acpi.ioapic;
	ioapic[INDEX] = 1;
	/* Version register: number of the last pin. */
	if ((ioapic[WINDOW / 4] >> 16 & 0xff) < PIN || cpus[0].apic_id > 254) {
		hv_log(HV_WARN, "No watchdog: the I/O APIC has no pin 8.");
		return;
	}
	runs = true;
}

void watch_start(void)
{
	guest_lo = 0x10000;
	guest_hi = index_seen = 0;
	if (!runs)
		return;
	cmos_write(0x0a, 0x2f); /* oscillator on, 2 Hz */
	/* Now: an NMI whose flag was read away would be taken for the guest's. */
	cmos_read(0x0c);
	ioapic_write(ENTRY(PIN) + 1, cpus[0].apic_id << 24);
	ioapic_write(ENTRY(PIN), DELIVER_NMI);
	cmos_write(0x0b, (cmos_read(0x0b) & ~0x30) | 0x40);
	last_tick = arch_ns();
}

bool watch_tick(struct vcpu *v)
{
	if (!runs || v->id || !(cmos_read(0x0c) & 0x40))
		return false;
	last_tick = arch_ns();
	watch_sample(v);
	for (u32 i = 1; i < nr_cpus; i++)
		if (cpus[i].state == CPU_RUNNING)
			cpu_ask(&cpus[i], REQ_SAMPLE);
	return true;
}

/* An IOMMU that remaps interrupts may let no NMI of the I/O APIC pass. */
void watch_miss(u64 now)
{
	static bool told;

	if (!runs || told || now - last_tick < SILENT_NS)
		return;
	told = true;
	hv_log(HV_WARN,
	       "The watchdog's NMI comes no more, hangs are not seen: does an IOMMU remap interrupts?");
}

/*
 * Behind a HLT, while that was not intercepted, in two samples: the byte
 * alone may be the end of another instruction.
 */
static bool halted(struct vcpu *v, const struct cpu_mode *m)
{
	bool again = v->halt_ip == m->ip - 1;
	u8 byte = 0;

	if (!arch_read(v, m->cs_base + m->ip - 1, &byte, 1) || byte != 0xf4)
		return false;
	v->halt_ip = m->ip - 1;
	return again;
}

void watch_sample(struct vcpu *v)
{
	u64 now = arch_ns(), beats = region_beats(v->id);
	u64 limit = opt.watchdog_ms * 1000000ull;
	struct cpu_mode m;
	char text[80];

	svm_arm_hlt(v, v->state != CPU_HALTED);
	svm_mode(v, &m);
	if (m.flags & RFLAGS_IF)
		v->was_on = true;
	else if (v->state == CPU_RUNNING && halted(v, &m))
		svm_halted(v, m.ip - 1);
	if (m.flags & RFLAGS_IF || !v->was_on || beats != v->beats)
		v->off_since = 0;
	else if (!v->off_since)
		v->off_since = now;
	v->beats = beats;
	/* The next kernel unpacks itself with interrupts off. */
	if (!v->off_since || v->state != CPU_RUNNING ||
	    now - v->off_since < (region_leaving() ? 6 : 1) * limit)
		return;
	dlog_client_print(text, sizeof(text), "hang, interrupts off for %lu s",
			  (now - v->off_since) / 1000000000);
	v->off_since = 0;
	v->was_on = false; /* once is enough if it shall go on */
	death(v, CAUSE_HANG, text);
}

u32 watch_ioapic(bool store, u32 offset, u32 value)
{
	u32 index = *(volatile u32 *)&index_seen; /* others store it */
	bool ours = index == ENTRY(PIN) || index == ENTRY(PIN) + 1;
	u32 *seen = index == ENTRY(PIN) ? &guest_lo : &guest_hi;

	if (offset == INDEX) {
		if (store)
			index_seen = value & 0xff;
		return index;
	}
	if (offset == WINDOW && ours) {
		if (store)
			*seen = value;
		return *seen;
	}
	ioapic[INDEX] = index;
	if (!store)
		return ioapic[offset / 4];
	ioapic[offset / 4] = value;
	return 0;
}

/* IA-PC HPET specification 1.0a, 2.3: capabilities at 0, configuration 0x10. */
u64 watch_hpet(bool store, u64 at, u32 size, u64 value)
{
	u32 off = at % PAGE;

	if (size < 4 || at % size)
		return 0;
	if (store && off == 0x10)
		value &= ~2ull; /* legacy routing */
	if (store && size == 8)
		*(volatile u64 *)at = value;
	else if (store)
		*(volatile u32 *)at = (u32)value;
	else
		value = size == 8 ? *(volatile u64 *)at : *(volatile u32 *)at;
	return !store && off == 0 ? value & ~(1ull << 15) : value;
}
