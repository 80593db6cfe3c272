// SPDX-License-Identifier: GPL-2.0-only
/*
 * linux.c - load a Linux bzImage by the 64-bit boot protocol.
 *
 * Linux 6.1: Documentation/x86/boot.rst ("64-bit BOOT PROTOCOL") and
 * arch/x86/include/uapi/asm/bootparam.h for struct boot_params, whose
 * offsets are given here as numbers; screen_info.h for its beginning.
 * The kernel comes to its preferred address or to the first one where it
 * overwrites nothing; the initrd stays where GRUB put it.
 */
#include "x86.h"

/* In boot_params, and in the file from 0x1f1 on. */
enum {
	BP_RSDP = 0x070,
	BP_EFI = 0x1c0,
	BP_E820_ENTRIES = 0x1e8,
	BP_HEADER = 0x1f1,
	BP_MAGIC = 0x202,
	BP_VERSION = 0x206,
	BP_LOADER = 0x210,
	BP_RAMDISK = 0x218,
	BP_RAMDISK_SIZE = 0x21c,
	BP_CMDLINE = 0x228,
	BP_ALIGNMENT = 0x230,
	BP_RELOCATABLE = 0x234,
	BP_XLOADFLAGS = 0x236,
	BP_PREFERRED = 0x258,
	BP_INIT_SIZE = 0x260,
	BP_E820 = 0x2d0,
	BP_SIZE = 4096,
};

#define E820_MAX 128
#define XLF_KERNEL_64 1u

/* A block of guest memory: tables of six pages, boot_params, text, maps. */
#define BLOCK_PARAMS 0x6000
#define BLOCK_CMDLINE 0x7000
#define CMDLINE_SIZE 0x1000
#define BLOCK_EFI 0x8000
#define BLOCK_EFI_SIZE 0x10000
#define BLOCK_SIZE (BLOCK_EFI + BLOCK_EFI_SIZE + 0x4000)

static void put32(u8 *p, u32 v)
{
	memcpy(p, &v, 4);
}

static void put64(u8 *p, u64 v)
{
	memcpy(p, &v, 8);
}

bool linux_is(const struct module *m)
{
	const u8 *k = (const u8 *)m->start;

	return m->end - m->start > 0x300 && !memcmp(k + BP_MAGIC, "HdrS", 4) &&
	       k[0x1fe] == 0x55;
}

static void make_tables(u64 at)
{
	u64 *top = (u64 *)at, *ptrs = top + 512, *dir = ptrs + 512;

	memset(top, 0, 2 * PAGE);
	top[0] = (u64)ptrs | 3;
	for (u64 i = 0; i < 4; i++)
		ptrs[i] = (u64)(dir + i * 512) | 3;
	for (u64 i = 0; i < 2048; i++)
		dir[i] = i * 2 * MIB | 0x83;
}

static int put_e820(u8 *bp)
{
	u8 *p = bp + BP_E820;

	if (guest_map.n > E820_MAX)
		return hv_fail(ENOSPC,
			       "The memory map has %u ranges, Linux takes %u.",
			       guest_map.n, E820_MAX);
	for (u32 i = 0; i < guest_map.n; i++, p += 20) {
		put64(p, guest_map.r[i].start);
		put64(p + 8, guest_map.r[i].end - guest_map.r[i].start);
		put32(p + 16, guest_map.r[i].type);
	}
	bp[BP_E820_ENTRIES] = (u8)guest_map.n;
	return 0;
}

/* One UEFI memory descriptor (UEFI 2.10, 7.2.3) for part of @from. */
static u8 *put_desc(u8 *to, const u8 *end, const u8 *from, u64 start, u64 stop,
		    bool ours)
{
	if (!to || to + boot.efi_desc_size > end)
		return NULL;
	memcpy(to, from, boot.efi_desc_size);
	if (ours)
		put32(to, 0); /* EfiReservedMemoryType */
	put64(to + 8, start);
	put64(to + 24, (stop - start) / PAGE);
	return to + boot.efi_desc_size;
}

/* The UEFI memory map, with our own memory in descriptors of its own. */
static u8 *put_efi_map(u8 *to, const u8 *end)
{
	for (u32 i = 0; i < boot.efi_map_size; i += boot.efi_desc_size) {
		const u8 *d = boot.efi_map + i;
		u64 at = dlog_load64(d + 8), from, stop;
		u64 last = at + dlog_load64(d + 24) * PAGE, next;

		for (; to && at < last; at = next) {
			bool ours = hv_owns(at, &from, &stop);

			if (ours) {
				next = stop < last ? stop : last;
			} else {
				/* To where ours begins, if it does here. */
				next = last;
				for (u32 k = 0; k < guest_map.n; k++) {
					u64 s = guest_map.r[k].start;

					if (s > at && s < next &&
					    hv_owns(s, &from, &stop))
						next = from;
				}
			}
			to = put_desc(to, end, d, at, next, ours);
		}
	}
	return to;
}

static int put_efi(u8 *bp, u8 *block)
{
	u8 *map = block + BLOCK_EFI, *efi = bp + BP_EFI, *end;

	/* Its runtime services can be moved once only. */
	if (!boot.efi_systab || !boot.efi_map || restarted)
		return 0;
	end = put_efi_map(map, map + BLOCK_EFI_SIZE);
	if (!end)
		return hv_fail(ENOSPC, "The UEFI memory map is too long.");
	memcpy(efi, "EL64", 4);
	put32(efi + 4, (u32)boot.efi_systab);
	put32(efi + 8, boot.efi_desc_size);
	put32(efi + 12, boot.efi_desc_version);
	put32(efi + 16, (u32)(u64)map);
	put32(efi + 20, (u32)(end - map));
	put32(efi + 24, (u32)(boot.efi_systab >> 32));
	put32(efi + 28, (u32)((u64)map >> 32));
	return 0;
}

/* Text as VGA has it; with UEFI there is none. */
static void put_screen(u8 *bp)
{
	if (boot.efi_systab)
		return;
	bp[0x06] = 3; /* mode */
	bp[0x07] = 80;
	bp[0x0e] = 25;
	bp[0x0f] = 1; /* VGA */
	bp[0x10] = 16; /* lines of a character */
}

static u64 place(const u8 *kernel, u64 need)
{
	u64 at = dlog_load64(kernel + BP_PREFERRED);
	u64 align = dlog_load32(kernel + BP_ALIGNMENT);

	if (at < 4 * GIB - need && mem_is(&free_map, at, at + need, MEM_RAM))
		return at;
	if (!kernel[BP_RELOCATABLE] || !align || align & (align - 1))
		return 0;
	return mem_find(need, align > 2 * MIB ? align : 2 * MIB, at, 4 * GIB);
}

/* The kernel's own part of the file to where it shall lie. */
static u64 load_kernel(const struct module *m)
{
	const u8 *k = (const u8 *)m->start;
	u64 skip = (k[BP_HEADER] ? k[BP_HEADER] + 1ull : 5) * 512;
	u64 size = m->end - m->start, need, at;

	if ((u16)dlog_load32(k + BP_VERSION) < 0x20c ||
	    !(k[BP_XLOADFLAGS] & XLF_KERNEL_64) || skip >= size) {
		hv_log(HV_ERR,
		       "The kernel has no 64-bit entry: it must be a bzImage of x86-64, 3.8 or later.");
		return 0;
	}
	size -= skip;
	need = dlog_load32(k + BP_INIT_SIZE);
	need = ALIGN_UP(need > size ? need : size, PAGE);
	at = place(k, need);
	if (!at || mem_set(&free_map, at, at + need, MEM_BUSY)) {
		hv_log(HV_ERR,
		       "No room for the kernel, which needs %lu MiB in one piece.",
		       need >> 20);
		return 0;
	}
	memcpy((void *)at, k + skip, size);
	return at;
}

int linux_load(struct guest_entry *e)
{
	const u8 *k = (const u8 *)boot.module[0].start;
	u64 kernel, block = mem_find(BLOCK_SIZE, PAGE, MIB, 4 * GIB), rsdp;
	u8 *bp = (u8 *)block + BLOCK_PARAMS;
	u32 header = 0x202u + k[0x201] - BP_HEADER;
	int ret;

	if (!block || mem_set(&free_map, block, block + BLOCK_SIZE, MEM_BUSY))
		return hv_fail(ENOMEM, "No room for the kernel's parameters.");
	kernel = load_kernel(&boot.module[0]);
	if (!kernel)
		return -EINVAL;
	make_tables(block);
	memset(bp, 0, BP_SIZE);
	memcpy(bp + BP_HEADER, k + BP_HEADER, header < 0x100 ? header : 0x100);
	bp[BP_LOADER] = 0xff;
	dlog_client_print((char *)block + BLOCK_CMDLINE, CMDLINE_SIZE, "%s",
			  boot.module[0].cmdline);
	put32(bp + BP_CMDLINE, (u32)block + BLOCK_CMDLINE);
	if (boot.modules > 1) {
		u64 size = boot.module[1].end - boot.module[1].start;

		put32(bp + BP_RAMDISK, (u32)boot.module[1].start);
		put32(bp + BP_RAMDISK_SIZE, (u32)size);
	}
	rsdp = acpi_make();
	put64(bp + BP_RSDP, rsdp);
	put_screen(bp);
	ret = put_e820(bp);
	if (!ret)
		ret = put_efi(bp, (u8 *)block);
	e->is_linux = true;
	e->ip = kernel + 0x200;
	e->arg = (u64)bp;
	e->cr3 = block;
	e->sp = block + BLOCK_SIZE;
	hv_log(HV_INFO, "Linux at %lx, %s", kernel, boot.module[0].cmdline);
	return ret;
}
