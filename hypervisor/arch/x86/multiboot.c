// SPDX-License-Identifier: GPL-2.0-only
/*
 * multiboot.c - what GRUB tells.
 *
 * Multiboot2 specification version 2.0, 3.6: tags of type and size, each on
 * a multiple of 8.  All is copied before anything is written to memory.
 */
#include "x86.h"

#define INFO_MAX 65536u

enum tag {
	TAG_END = 0,
	TAG_CMDLINE = 1,
	TAG_MODULE = 3,
	TAG_MMAP = 6,
	TAG_EFI64 = 12,
	TAG_ACPI_OLD = 14,
	TAG_ACPI_NEW = 15,
	TAG_EFI_MMAP = 17,
};

struct boot_info boot;

extern u8 hv_begin[], hv_end[], guest_tables[];

static u8 info[INFO_MAX] __attribute__((aligned(8)));
static u64 info_at;

static const u8 *tag_next(const u8 *t)
{
	return t + ALIGN_UP(dlog_load32(t + 4), 8);
}

static bool tag_whole(const u8 *t)
{
	u32 size = dlog_load32(t + 4);

	return t + 8 <= info + INFO_MAX && size >= 8 &&
	       size <= (size_t)(info + INFO_MAX - t);
}

/* Text in a tag; GRUB ends it with NUL, we see to it. */
static const char *tag_text(const u8 *t, u32 at)
{
	u32 size = dlog_load32(t + 4);

	if (size <= at)
		return "";
	((u8 *)t)[size - 1] = 0;
	return (const char *)t + at;
}

static void read_module(const u8 *t)
{
	struct module *m = &boot.module[boot.modules];

	if (boot.modules == MAX_MODULES || dlog_load32(t + 4) < 16)
		return;
	m->start = dlog_load32(t + 8);
	m->end = dlog_load32(t + 12);
	m->cmdline = tag_text(t, 16);
	if (m->start < m->end)
		boot.modules++;
}

static void read_tag(const u8 *t)
{
	u32 size = dlog_load32(t + 4);

	switch (dlog_load32(t)) {
	case TAG_CMDLINE:
		boot.cmdline = tag_text(t, 8);
		break;
	case TAG_MODULE:
		read_module(t);
		break;
	case TAG_EFI64:
		if (size >= 16)
			boot.efi_systab = dlog_load64(t + 8);
		break;
	case TAG_ACPI_OLD:
		if (!boot.rsdp && size >= 8 + 20)
			boot.rsdp = t + 8;
		break;
	case TAG_ACPI_NEW:
		if (size >= 8 + 36)
			boot.rsdp = t + 8;
		break;
	case TAG_EFI_MMAP:
		if (size < 16 || dlog_load32(t + 8) < 40)
			break;
		boot.efi_desc_size = dlog_load32(t + 8);
		boot.efi_desc_version = dlog_load32(t + 12);
		boot.efi_map = t + 16;
		boot.efi_map_size = (size - 16) / boot.efi_desc_size *
				    boot.efi_desc_size;
		break;
	}
}

int multiboot_read(u32 magic, u32 at)
{
	u32 size;

	boot.cmdline = "";
	if (magic != MB2_MAGIC)
		return hv_fail(
			EINVAL,
			"Not started by multiboot2: use GRUB's multiboot2 command.");
	size = dlog_load32((void *)(u64)at);
	if (size > INFO_MAX)
		return hv_fail(EINVAL, "GRUB's information is too large: %u.",
			       size);
	memcpy(info, (void *)(u64)at, size);
	info_at = at;
	for (const u8 *t = info + 8; tag_whole(t) && dlog_load32(t) != TAG_END;
	     t = tag_next(t))
		read_tag(t);
	return 0;
}

static int read_mmap(const u8 *t)
{
	u32 step = dlog_load32(t + 8), size = dlog_load32(t + 4);
	int ret = 0;

	/* Where entries overlap, what is not RAM counts. */
	for (u32 pass = 0; pass < 2; pass++) {
		for (u64 at = 16; step >= 24 && at + step <= size && !ret;
		     at += step) {
			u64 start = dlog_load64(t + at);
			u64 end = start + dlog_load64(t + at + 8);
			u32 type = dlog_load32(t + at + 16);

			if (end < start || (type == MEM_RAM) != !pass)
				continue;
			if (type == MEM_RAM) {
				start = ALIGN_UP(start, PAGE);
				end = ALIGN_DOWN(end, PAGE);
			}
			ret = mem_set(&guest_map, start, end, type);
		}
	}
	return ret;
}

int multiboot_memory(void)
{
	u64 first = (u64)hv_begin, tables = (u64)guest_tables;
	u64 end = (u64)hv_end;
	int ret = -ENOENT;

	for (const u8 *t = info + 8; tag_whole(t) && dlog_load32(t) != TAG_END;
	     t = tag_next(t))
		if (dlog_load32(t) == TAG_MMAP)
			ret = read_mmap(t);
	if (ret)
		return hv_fail(ENOENT, "GRUB gives no usable memory map.");
	ret = mem_set(&guest_map, first, end, MEM_RESERVED);
	if (!ret)
		ret = mem_set(&guest_map, tables, tables + 2 * PAGE, MEM_ACPI);
	free_map = guest_map;
	/* The first MiB is full of surprises, and of ports to real mode. */
	if (!ret)
		ret = mem_set(&free_map, 0, MIB, MEM_BUSY);
	if (!ret)
		ret = mem_set(&free_map, ALIGN_DOWN(info_at, PAGE),
			      ALIGN_UP(info_at + INFO_MAX, PAGE), MEM_BUSY);
	for (u32 i = 0; i < boot.modules && !ret; i++)
		ret = mem_set(&free_map, ALIGN_DOWN(boot.module[i].start, PAGE),
			      ALIGN_UP(boot.module[i].end, PAGE), MEM_BUSY);
	return ret;
}

bool hv_owns(u64 addr, u64 *start, u64 *end)
{
	const u64 base = (u64)region.base;
	const u64 ours[][2] = {
		{ (u64)hv_begin, (u64)hv_end },
		{ kept.start, kept.end },
		{ base, base ? base + region.sb.region_size : 0 },
	};

	for (u32 i = 0; i < ARRAY_SIZE(ours); i++) {
		*start = ours[i][0];
		*end = ours[i][1];
		if (addr >= *start && addr < *end)
			return true;
	}
	return false;
}
