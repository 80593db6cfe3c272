/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ram.h - what the files of this folder share: one RAM file, one kernel in it.
 *
 * image.c	ranges of guest-physical memory, and bytes at them
 * pages.c	page tables, and bytes by virtual address
 * vmcoreinfo.c	the kernel's description of itself
 * find.c	looks for kernels in a file, makes them prove themselves, opens
 * printk.c	its log, as a stream; the facts
 * Each relies on those above it.  See ../dlog_ram.h for the whole.
 */
#ifndef LIBDLOG_RAM_H
#define LIBDLOG_RAM_H

#include "../internal.h"
#include "../dlog_ram.h"

/* Kernel text and data (arch/x86/include/asm/page_64_types.h). */
#define RAM_KERNEL_MAP 0xffffffff80000000u
#define RAM_PAGE 4096u
#define RAM_4G (1ull << 32)

/* VMCOREINFO_BYTES of include/linux/crash_core.h (vmcore_info.h in 6.12). */
#define RAM_INFO_MAX RAM_PAGE

#define RAM_TLB 512u /* power of two */
#define RAM_KERNELS_MAX 16u

/* @addr, a multiple of its size, is at @phys.  valid: 0 is an address too. */
struct ram_tlb {
	uint64_t addr, phys;
	bool valid;
};

struct ram_info {
	char text[RAM_INFO_MAX + 1];
	size_t len;
	uint64_t offset; /* in the file */
};

/* How much of a kernel has proved itself: the sum says who is believed. */
enum ram_proof {
	RAM_PRB = 1, /* its log has a head that can be */
	RAM_UTS = 2, /* the release in memory is that of VMCOREINFO */
	RAM_LATEST = 4, /* was the last to boot */
	RAM_LAYOUT = 8, /* its direct mapping is that of this file */
	RAM_TABLES = 16, /* its page tables map themselves */
	RAM_ALL = 31,
};

/* A kernel that was found; several after a reboot or kexec. */
struct ram_found {
	char release[65];
	uint64_t offset, page_table;
	uint32_t proof, tries;
};

struct ram_kernel; /* kernel.h */

struct dlog_ram {
	struct dlog *d;
	char why[256];

	struct dlog_ram_range range[2];
	size_t ranges;

	/* The tables do not prove themselves: kernel text and data are taken
	 * to lie together from phys_base on. */
	bool linear;
	struct ram_tlb small[RAM_TLB], large[RAM_TLB]; /* 4 KiB, 2 MiB */

	struct ram_info info;
	struct dlog_ram_kernel kernel;
	uint32_t proof;
	bool banner_sought;
	struct ram_found found[RAM_KERNELS_MAX];
	uint32_t nr_found;
	bool all_found; /* or only until one was beyond doubt */

	struct ram_kernel *known; /* NULL: not asked for yet */
};

/* What dlog_ram_why() says from now on; returns @code. */
__attribute__((format(printf, 3, 4))) int
ram_fail(struct dlog_ram *ram, int code, const char *fmt, ...);

/* ---- image.c ---- */

/* RAM below 4 GiB ends at @below; what the file has more lies above 4 GiB. */
void ram_layout(struct dlog_ram *ram, uint64_t below);
/* How many bytes of RAM lie together from @phys on; 0: none. */
uint64_t ram_together(const struct dlog_ram *ram, uint64_t phys,
		      uint64_t *offset);
/* Where the file's offset @off is in guest-physical memory. */
uint64_t ram_phys(const struct dlog_ram *ram, uint64_t off);
int ram_read_u64(struct dlog_ram *ram, uint64_t addr, uint64_t *value);

/* ---- pages.c ---- */

/* Forget translations: the guest may have changed its tables. */
void ram_forget(struct dlog_ram *ram);
/* Set kernel.page_offset and vmemmap, where they can be found. */
void ram_find_maps(struct dlog_ram *ram);

/* ---- vmcoreinfo.c ---- */

/* The text that begins at file offset @off, if it looks like one. */
bool ram_info_load(struct dlog *d, uint64_t off, struct ram_info *info);
bool ram_info_text(const struct dlog_ram *ram, const char *name, char *value,
		   size_t size);
/* Fill kernel from info, for the file's present layout: 0 or -ENXIO. */
int ram_kernel_load(struct dlog_ram *ram);
/* A string of init_uts_ns by its number (struct new_utsname), or "". */
void ram_uts(struct dlog_ram *ram, uint32_t n, char out[65]);

/* ---- find.c ---- */

int ram_open(struct dlog *d, bool forced, struct dlog_error *err);
void ram_close(struct dlog *d);
/* Look for kernels in all of the file: found[], for people. */
void ram_find_others(struct dlog_ram *ram);

/* ---- kernel.c ---- */

/* /proc/sys/kernel/random/boot_id, or zeros. */
void ram_boot_id(struct dlog_ram *ram, uint8_t id[16]);
/* What its symbols tell of this boot; what they do not stays as it is. */
void ram_kernel_fill(struct dlog_ram *ram, struct dlog_ram_kernel *k);
/* Real time, ns, when printk's clock began, as dmesg -T has it: 0 or less. */
int ram_real_offset(struct dlog_ram *ram, uint64_t *boot_real);
/* The same as an operation of a source, and symbols. */
uint64_t ram_real_time(struct dlog *d, uint32_t boot, uint64_t time);
int ram_symbol(struct dlog *d, uint32_t boot, uint64_t time, uint64_t address,
	       struct dlog_symbol *sym);
void ram_kernel_free(struct dlog_ram *ram);

/* ---- printk.c ---- */

/* Can what "prb" points to be a log? */
bool ram_prb_sane(struct dlog_ram *ram);

#endif
