// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * firmware.c - what boot loader and firmware tell the demo kernel.
 *
 * Follows the Multiboot2 Specification 2.0, section 3.4 (tags 1, 3, 14, 15),
 * and ACPI 6.5, 5.2.9 (FADT), 4.8.3.6 (reset register).  The table DLOG is
 * dlog-hv's: docs/hypervisor.md.
 */
#include "dlog_client.h"
#include "x86/dlog_x86.h"
#include "machine.h"

#define MULTIBOOT2 0x36d76289u
#define TAGS_MAX 65536u

enum {
	TAG_END = 0,
	TAG_LINE = 1,
	TAG_MODULE = 3,
	TAG_RSDP_OLD = 14,
	TAG_RSDP_NEW = 15,
};

bool boot_read(uint32_t magic, const uint8_t *info, struct boot_facts *facts)
{
	uint32_t total, type, size;

	memset(facts, 0, sizeof(*facts));
	if (magic != MULTIBOOT2)
		return false;
	total = dlog_load32(info);
	for (uint32_t at = 8; total <= TAGS_MAX && at + 8 <= total;
	     at += DLOG_ALIGN_UP(size, 8u)) {
		const uint8_t *tag = info + at;

		type = dlog_load32(tag);
		size = dlog_load32(tag + 4);
		if (type == TAG_END || size < 8 || size > total - at)
			break;
		if (type == TAG_LINE)
			memcpy(facts->line, tag + 8,
			       size - 8 < sizeof(facts->line) - 1
				       ? size - 8
				       : sizeof(facts->line) - 1);
		else if (type == TAG_MODULE && size >= 17)
			say("demo: module of %u bytes: %.*s",
			    dlog_load32(tag + 12) - dlog_load32(tag + 8),
			    (int)size - 16, (const char *)tag + 16);
		else if (type == TAG_RSDP_NEW ||
			 (type == TAG_RSDP_OLD && !facts->rsdp))
			facts->rsdp = tag + 8;
	}
	return true;
}

/* The table of that name, or NULL. */
static const uint8_t *acpi_table(const uint8_t *rsdp, const char *name)
{
	uint64_t at;

	for (uint32_t i = 0; dlog_x86_acpi_entry(rsdp, i, &at); i++) {
		const uint8_t *t = dlog_x86_acpi_table(at);

		if (t && !memcmp(t, name, 4))
			return t;
	}
	return NULL;
}

bool acpi_region(const uint8_t *rsdp, uint64_t *at, uint64_t *size)
{
	const uint8_t *t = acpi_table(rsdp, "DLOG");

	if (!t || dlog_load32(t + 4) < 52)
		return false;
	*at = dlog_load64(t + 36);
	*size = dlog_load64(t + 44);
	return true;
}

bool acpi_reset(const uint8_t *rsdp)
{
	const uint8_t *fadt = acpi_table(rsdp, "FACP");

	if (!fadt || dlog_load32(fadt + 4) < 129 ||
	    !(dlog_load32(fadt + 112) & 0x400) || fadt[116] != 1)
		return false; /* too short, not supported, not an I/O port */
	outb((uint16_t)dlog_load64(fadt + 120), fadt[128]);
	return true;
}
