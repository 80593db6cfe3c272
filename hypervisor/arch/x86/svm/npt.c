// SPDX-License-Identifier: GPL-2.0-only
/*
 * npt.c - nested page tables: guest-physical is physical, but for what the
 * guest must not write, see, or have to itself.
 *
 * APM volume 2, 15.25.  Up to 4 GiB pages of 2 MiB, of 4 KiB where something
 * is protected; above, a directory of 2 MiB pages for each GiB as the guest
 * comes there (npt_touch()), or pages of 1 GiB where the CPU has them.  All
 * entries are write-back: the guest's PAT and the MTRRs say the rest.
 */
#include "x86.h"

#define PRESENT 1ull
#define WRITE 2ull
#define USER 4ull /* nested walks are user accesses */
#define LARGE (1ull << 7)
#define RWU (PRESENT | WRITE | USER)
#define ADDRESS 0xffffffffff000ull

static u64 *root;
static bool huge;
static u32 npt_lock;

extern u8 hv_begin[], hv_end[], guest_tables[];

u64 npt_root(void)
{
	return (u64)root;
}

/* Entry for @gpa at @level (3: of 1 GiB), tables made on the way. */
static u64 *entry_of(u64 gpa, u32 level)
{
	u64 *table = root;

	for (u32 l = 4; l > level; l--) {
		u64 *e = &table[gpa >> (12 + 9 * (l - 1)) & 511];
		u64 old = *e, step = 1ull << (12 + 9 * (l - 2));

		if (!(old & PRESENT) || old & LARGE) {
			u64 *t = page_alloc(1);

			if (!t)
				return NULL;
			/* A large page becomes smaller ones of its kind. */
			for (u64 i = 0; old & LARGE && i < 512; i++)
				t[i] = (old & ~(LARGE | ADDRESS)) |
				       ((old & ADDRESS) + i * step) |
				       (l > 2 ? LARGE : 0);
			*e = (u64)t | RWU;
		}
		table = (u64 *)(*e & ADDRESS);
	}
	return &table[gpa >> (12 + 9 * (level - 1)) & 511];
}

static int npt_set(u64 start, u64 end, u64 flags)
{
	for (u64 at = ALIGN_DOWN(start, PAGE); at < end; at += PAGE) {
		u64 *e = entry_of(at, 1);

		if (!e)
			return hv_fail(ENOMEM,
				       "No memory for nested page tables.");
		*e = flags ? at | flags : 0;
	}
	return 0;
}

static int map_gib(u64 gpa)
{
	u64 at = ALIGN_DOWN(gpa, GIB), *e;

	if (huge && at >= 4 * GIB) {
		e = entry_of(at, 3);
		if (!e)
			return -ENOMEM;
		*e = at | LARGE | RWU;
		return 0;
	}
	for (u64 i = 0; i < 512; i++, at += 2 * MIB) {
		e = entry_of(at, 2);
		if (!e)
			return -ENOMEM;
		*e = at | LARGE | RWU;
	}
	return 0;
}

bool npt_touch(u64 gpa)
{
	u64 *e;
	int ret = 0;

	if (gpa < 4 * GIB || gpa >> 48)
		return false;
	lock(&npt_lock);
	e = entry_of(gpa, 3);
	if (!e)
		ret = -ENOMEM;
	else if (!(*e & PRESENT))
		ret = map_gib(gpa);
	unlock(&npt_lock);
	return !ret;
}

static int protect_result;

static void protect(u64 start, u64 end)
{
	int ret = npt_set(start, end, PRESENT | USER);

	if (ret)
		protect_result = ret;
}

int npt_start(void)
{
	u64 tables = (u64)guest_tables, apic = rdmsr(MSR_APIC_BASE);
	u32 a, b, c, d;
	int ret = 0;

	cpuid(0x80000001, &a, &b, &c, &d);
	huge = d & 1u << 26;
	root = page_alloc(1);
	if (!root)
		return -ENOMEM;
	for (u64 at = 0; at < 4 * GIB && !ret; at += GIB)
		ret = map_gib(at);
	if (!ret)
		ret = npt_set((u64)hv_begin, (u64)hv_end, 0);
	if (!ret)
		ret = npt_set(kept.start, kept.end, 0);
	if (!ret)
		ret = npt_set(tables, tables + 2 * PAGE, PRESENT | USER);
	apic &= 0xffffff000ull;
	if (!ret && apic < 4 * GIB)
		ret = npt_set(apic, apic + PAGE, PRESENT | USER);
	if (!ret && watch_runs())
		ret = npt_set(acpi.ioapic, acpi.ioapic + PAGE, 0);
	if (!ret && watch_runs() && acpi.hpet && acpi.hpet < 4 * GIB)
		ret = npt_set(acpi.hpet, acpi.hpet + PAGE, 0);
	region_protected(protect);
	return ret ? ret : protect_result;
}
