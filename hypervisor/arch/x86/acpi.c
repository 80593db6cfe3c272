// SPDX-License-Identifier: GPL-2.0-only
/*
 * acpi.c - the few things dlog-hv needs from ACPI's tables, and the tables
 * that tell the guest of the region.
 *
 * ACPI 6.5: RSDP 5.2.5, RSDT and XSDT 5.2.7 and 5.2.8, FADT 5.2.9, MADT
 * 5.2.12.  The guest gets an RSDP and an XSDT of dlog-hv's, with the
 * machine's own tables and one more:
 *
 *	"DLOG"  header, u64 address, u64 size of the region
 */
#include "x86.h"

#include "x86/dlog_x86.h"

struct __attribute__((packed)) rsdp {
	u8 signature[8];
	u8 checksum;
	u8 oem[6];
	u8 revision;
	u32 rsdt;
	u32 length;
	u64 xsdt;
	u8 sum_all;
	u8 reserved[3];
};

struct __attribute__((packed)) table {
	u8 signature[4];
	u32 length;
	u8 revision;
	u8 checksum;
	u8 oem[6];
	u8 oem_table[8];
	u32 oem_revision;
	u8 creator[4];
	u32 creator_revision;
};

struct __attribute__((packed)) dlog_table {
	struct table h;
	u64 address, size;
};

/* In the two pages that the linker script keeps for the guest's eyes. */
struct made {
	struct rsdp rsdp;
	u8 pad[64 - sizeof(struct rsdp)];
	struct dlog_table dlog;
	u8 pad2[64 - sizeof(struct dlog_table)];
	struct table xsdt;
	u8 entry[];
} __attribute__((packed));

#define MADE_ENTRIES ((2 * PAGE - sizeof(struct made)) / 8 - 1)

struct acpi_facts acpi;

extern u8 guest_tables[];

static u8 checksum(const void *p, size_t n)
{
	const u8 *b = p;
	u8 sum = 0;

	while (n--)
		sum += *b++;
	return (u8)-sum;
}

static void add_cpu(u32 id, u32 flags)
{
	if (!(flags & 3))
		return;
	acpi.possible++;
	if (!(flags & 1) || id == apic_id())
		return;
	if (acpi.cpus < MAX_CPUS)
		acpi.apic_id[acpi.cpus++] = id;
}

static void read_madt(const u8 *t)
{
	const u8 *p = t + 44, *end = t + dlog_load32(t + 4);

	acpi.possible = 0;
	for (; p + 2 <= end && p[1] >= 2 && p[1] <= end - p; p += p[1]) {
		if (p[0] == 0 && p[1] >= 8)
			add_cpu(p[3], dlog_load32(p + 4));
		else if (p[0] == 9 && p[1] >= 16)
			add_cpu(dlog_load32(p + 4), dlog_load32(p + 8));
		else if (p[0] == 1 && p[1] >= 12 && !dlog_load32(p + 8))
			acpi.ioapic = dlog_load32(p + 4);
	}
}

static void read_fadt(const u8 *p)
{
	u32 length = dlog_load32(p + 4);

	if (length < 116)
		return;
	acpi.pm1a_control = (u16)dlog_load32(p + 64);
	acpi.pm1b_control = (u16)dlog_load32(p + 68);
	/* RESET_REG_SUP, and the register in I/O space. */
	if (length >= 129 && dlog_load32(p + 112) & 1u << 10 && p[116] == 1) {
		acpi.has_reset = true;
		acpi.reset_port = (u16)dlog_load64(p + 120);
		acpi.reset_value = p[128];
	}
}

void acpi_read(void)
{
	u64 at;

	acpi.apic_id[0] = apic_id();
	acpi.cpus = acpi.possible = 1;
	for (u32 i = 0; dlog_x86_acpi_entry(boot.rsdp, i, &at); i++) {
		const u8 *t = dlog_x86_acpi_table(at);

		if (t && !memcmp(t, "APIC", 4))
			read_madt(t);
		else if (t && !memcmp(t, "FACP", 4))
			read_fadt(t);
		else if (t && !memcmp(t, "HPET", 4) && dlog_load32(t + 4) >= 52)
			acpi.hpet = dlog_load64(t + 44);
	}
	if (acpi.possible < acpi.cpus)
		acpi.possible = acpi.cpus;
}

static void make_header(struct table *t, const char *signature, u32 length)
{
	memcpy(t->signature, signature, 4);
	t->length = length;
	t->revision = 1;
	memcpy(t->oem, "DLOG  ", 6);
	memcpy(t->oem_table, "DLOG-HV ", 8);
	memcpy(t->creator, "DLOG", 4);
	t->checksum = 0;
	t->checksum = checksum(t, length);
}

u64 acpi_make(void)
{
	struct made *m = (void *)guest_tables;
	u32 n = 0;
	u64 at;

	/* Once: the guest may have written over the machine's own. */
	if (!boot.rsdp || m->rsdp.length)
		return boot.rsdp ? (u64)&m->rsdp : 0;
	for (u32 i = 0;
	     n < MADE_ENTRIES && dlog_x86_acpi_entry(boot.rsdp, i, &at); i++)
		memcpy(m->entry + 8 * n++, &at, 8);
	if (region.base) {
		at = (u64)&m->dlog;
		memcpy(m->entry + 8 * n++, &at, 8);
		m->dlog.address = (u64)region.base;
		m->dlog.size = region.sb.region_size;
		make_header(&m->dlog.h, "DLOG", sizeof(m->dlog));
	}
	make_header(&m->xsdt, "XSDT", sizeof(m->xsdt) + 8 * n);
	memcpy(&m->rsdp, boot.rsdp, 20);
	m->rsdp.revision = 2;
	m->rsdp.length = sizeof(m->rsdp);
	m->rsdp.xsdt = (u64)&m->xsdt;
	m->rsdp.checksum = m->rsdp.sum_all = 0;
	m->rsdp.checksum = checksum(&m->rsdp, 20);
	m->rsdp.sum_all = checksum(&m->rsdp, sizeof(m->rsdp));
	return (u64)&m->rsdp;
}
