// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * pages.c - the kernel's page tables: what lies where in its address space.
 *
 * Four or five levels, pages of 4 KiB, 2 MiB and 1 GiB: Intel SDM volume 3,
 * chapter 4.5; AMD APM volume 2, chapter 5.3.  The address space is that of
 * Documentation/arch/x86/x86_64/mm.rst of Linux.
 *
 * Tables may be damaged: an entry that leads out of RAM is as if absent.  A
 * walk over all of them enters each page of RAM once, so that tables which
 * contain themselves take no more time than there is RAM.
 */
#include <stdlib.h>
#include <string.h>

#include "ram.h"

#define PRESENT 1u
#define LARGE 0x80u
#define ENTRY_PHYS 0x000ffffffffff000u
#define ENTRIES 512u

/* Where the direct mapping lies at the lowest: __PAGE_OFFSET_BASE_L4, L5. */
#define DIRECT_L4 0xffff888000000000u
#define DIRECT_L5 0xff11000000000000u
#define DIRECT_ALIGN (1u << 30) /* KASLR moves it by so much */

static unsigned int level_shift(unsigned int level)
{
	return 12 + 9 * (level - 1);
}

/* Is the entry of a table of @level a page, and how large is it? */
static uint64_t entry_page(uint64_t entry, unsigned int level)
{
	if (level == 1)
		return RAM_PAGE;
	return level <= 3 && entry & LARGE ? 1ull << level_shift(level) : 0;
}

static bool canonical(const struct dlog_ram *ram, uint64_t addr)
{
	unsigned int bits = level_shift(ram->kernel.levels) + 9;
	uint64_t high = addr >> (bits - 1);

	return !high || high == UINT64_MAX >> (bits - 1);
}

static int walk(struct dlog_ram *ram, uint64_t addr, uint64_t *phys,
		uint64_t *size)
{
	uint64_t table = ram->kernel.page_table, entry;

	for (unsigned int level = ram->kernel.levels; level; level--) {
		uint64_t n = (addr >> level_shift(level)) % ENTRIES;
		int ret = dlog_ram_read_phys(ram, table + n * 8, &entry, 8);

		if (ret)
			return ret;
		if (!(entry & PRESENT))
			return -EFAULT;
		table = entry & ENTRY_PHYS;
		*size = entry_page(entry, level);
		if (!*size)
			continue;
		*phys = (table & ~(*size - 1)) | (addr & (*size - 1));
		return 0;
	}
	return -EFAULT;
}

void ram_forget(struct dlog_ram *ram)
{
	memset(ram->small, 0, sizeof(ram->small));
	memset(ram->large, 0, sizeof(ram->large));
}

static struct ram_tlb *tlb(struct dlog_ram *ram, uint64_t addr, bool large)
{
	return large ? &ram->large[(addr >> 21) % RAM_TLB]
		     : &ram->small[(addr >> 12) % RAM_TLB];
}

/* From the cache, or into it: @size is 4 KiB or 2 MiB. */
static int lookup(struct dlog_ram *ram, uint64_t addr, uint64_t *phys,
		  uint64_t *size)
{
	struct ram_tlb *t;
	int ret;

	for (int large = 0; large < 2; large++) {
		*size = large ? 1u << 21 : RAM_PAGE;
		t = tlb(ram, addr, large);
		if (t->valid && t->addr == (addr & ~(*size - 1))) {
			*phys = t->phys + (addr - t->addr);
			return 0;
		}
	}
	ret = walk(ram, addr, phys, size);
	if (ret)
		return ret;
	*size = *size > RAM_PAGE ? 1u << 21 : RAM_PAGE;
	t = tlb(ram, addr, *size > RAM_PAGE);
	t->valid = true;
	t->addr = addr & ~(*size - 1);
	t->phys = *phys & ~(*size - 1);
	return 0;
}

/* Kernel text and data, where the tables do not say. */
static bool linear(const struct dlog_ram *ram, uint64_t addr, uint64_t *phys,
		   uint64_t *size)
{
	if (!ram->linear || addr < RAM_KERNEL_MAP ||
	    addr - RAM_KERNEL_MAP >= 1u << 30)
		return false;
	*phys = addr - RAM_KERNEL_MAP + ram->kernel.phys_base;
	*size = RAM_PAGE;
	return true;
}

int dlog_ram_translate(struct dlog_ram *ram, uint64_t addr, uint64_t *phys,
		       uint64_t *size)
{
	uint64_t together, off;

	if (!linear(ram, addr, phys, size) &&
	    (!canonical(ram, addr) || lookup(ram, addr, phys, size)))
		return ram_fail(ram, -EFAULT, "Nothing is mapped at %#llx.",
				(unsigned long long)addr);
	*size -= addr & (*size - 1);
	together = ram_together(ram, *phys, &off);
	if (!together)
		return ram_fail(ram, -EFAULT, "%#llx is mapped, but no RAM.",
				(unsigned long long)addr);
	if (*size > together)
		*size = together;
	return 0;
}

int dlog_ram_read(struct dlog_ram *ram, uint64_t addr, void *buf, size_t len)
{
	uint8_t *to = buf;

	while (len) {
		uint64_t phys, n;
		int ret = dlog_ram_translate(ram, addr, &phys, &n);

		if (ret)
			return ret;
		if (n > len)
			n = len;
		ret = dlog_ram_read_phys(ram, phys, to, n);
		if (ret)
			return ret;
		addr += n;
		to += n;
		len -= n;
	}
	return 0;
}

int dlog_ram_read_string(struct dlog_ram *ram, uint64_t addr, char *buf,
			 size_t size)
{
	size_t len = 0;

	while (len < size) {
		uint64_t phys, n;
		int ret = dlog_ram_translate(ram, addr + len, &phys, &n);
		char *end;

		if (ret)
			return ret;
		/* Most strings are short. */
		if (n > 64)
			n = 64;
		if (n > size - len)
			n = size - len;
		ret = dlog_ram_read_phys(ram, phys, buf + len, n);
		if (ret)
			return ret;
		end = memchr(buf + len, 0, n);
		if (end)
			return (int)(end - buf);
		len += n;
	}
	return ram_fail(ram, -ENAMETOOLONG,
			"The string at %#llx does not end within %zu bytes.",
			(unsigned long long)addr, size);
}

/* ---- all of them ---- */

struct all {
	struct dlog_ram *ram;
	uint64_t from, to;
	int (*each)(void *arg, const struct dlog_ram_mapping *m);
	void *arg;
	struct dlog_ram_mapping last; /* size 0: none yet */
	uint8_t *seen; /* a bit for each page of the file */
};

static int all_flush(struct all *a)
{
	int ret = a->last.size ? a->each(a->arg, &a->last) : 0;

	a->last.size = 0;
	return ret;
}

static int all_piece(struct all *a, uint64_t addr, uint64_t phys, uint64_t size)
{
	int ret;

	if (a->last.size && a->last.addr + a->last.size == addr &&
	    a->last.phys + a->last.size == phys) {
		a->last.size += size;
		return 0;
	}
	ret = all_flush(a);
	a->last = (struct dlog_ram_mapping){ addr, phys, size };
	return ret;
}

/* A page: the parts of it that are RAM and asked for. */
static int all_page(struct all *a, uint64_t addr, uint64_t phys, uint64_t size)
{
	uint64_t last = addr + (size - 1);

	if (addr < a->from) {
		phys += a->from - addr;
		addr = a->from;
	}
	if (last > a->to)
		last = a->to;
	for (size_t i = 0; i < a->ram->ranges; i++) {
		const struct dlog_ram_range *r = &a->ram->range[i];
		uint64_t low = phys, high = phys + (last - addr);
		int ret;

		if (low < r->phys)
			low = r->phys;
		if (!r->size || high < low || low - r->phys >= r->size)
			continue;
		if (high - r->phys >= r->size)
			high = r->phys + (r->size - 1);
		ret = all_piece(a, addr + (low - phys), low, high - low + 1);
		if (ret)
			return ret;
	}
	return 0;
}

/* Is this table in RAM, and entered for the first time? */
static bool all_enter(struct all *a, uint64_t phys, uint64_t *table)
{
	uint64_t off, page;

	if (!ram_together(a->ram, phys, &off))
		return false;
	page = off / RAM_PAGE;
	if (a->seen[page / 8] & 1u << page % 8)
		return false;
	a->seen[page / 8] |= (uint8_t)(1u << page % 8);
	return !dlog_ram_read_phys(a->ram, phys, table, RAM_PAGE);
}

/* What the table of @level at @phys maps, @base being its first address. */
static int all_table(struct all *a, uint64_t phys, unsigned int level,
		     uint64_t base)
{
	unsigned int shift = level_shift(level);
	uint64_t table[ENTRIES];

	if (!all_enter(a, phys, table))
		return 0;
	for (uint64_t i = 0; i < ENTRIES; i++) {
		uint64_t addr = base + (i << shift);
		uint64_t page, to = table[i] & ENTRY_PHYS;
		int ret;

		/* The upper half of the address space. */
		if (level == a->ram->kernel.levels && i >= ENTRIES / 2)
			addr |= ~0ull << (shift + 8);
		if (!(table[i] & PRESENT) || addr > a->to ||
		    addr + ((1ull << shift) - 1) < a->from)
			continue;
		page = entry_page(table[i], level);
		ret = page	  ? all_page(a, addr, to & ~(page - 1), page)
		      : level > 1 ? all_table(a, to, level - 1, addr)
				  : 0;
		if (ret)
			return ret;
	}
	return 0;
}

int dlog_ram_mappings(struct dlog_ram *ram, uint64_t from, uint64_t to,
		      int (*each)(void *arg, const struct dlog_ram_mapping *m),
		      void *arg)
{
	struct all a = {
		.ram = ram,
		.from = from,
		.to = to,
		.each = each,
		.arg = arg,
		.seen = calloc(1, ram->d->size / RAM_PAGE / 8 + 1),
	};
	int ret;

	if (!a.seen)
		return ram_fail(ram, -ENOMEM, "No memory to walk the tables.");
	ret = all_table(&a, ram->kernel.page_table, ram->kernel.levels, 0);
	if (!ret)
		ret = all_flush(&a);
	free(a.seen);
	return ret;
}

/* ---- what the kernel's regions are ---- */

static int first_of(void *arg, const struct dlog_ram_mapping *m)
{
	*(struct dlog_ram_mapping *)arg = *m;
	return 1;
}

/*
 * The direct mapping is the lowest region of the kernel's own half (below it
 * are only hypervisors and, for user space's tables, an LDT); its first page
 * is that of physical 0 or near it.
 */
static uint64_t find_page_offset(struct dlog_ram *ram)
{
	uint64_t from = ram->kernel.levels == 5 ? DIRECT_L5 : DIRECT_L4;
	struct dlog_ram_mapping m = { 0 };

	if (dlog_ram_mappings(ram, from, RAM_KERNEL_MAP - 1, first_of, &m) < 1)
		return 0;
	return (m.addr - m.phys) % DIRECT_ALIGN ? 0 : m.addr - m.phys;
}

/*
 * The first section's section_mem_map is the address of the struct pages,
 * with flags in its lowest bits (include/linux/mmzone.h, SPARSEMEM_EXTREME).
 */
static uint64_t find_vmemmap(struct dlog_ram *ram)
{
	uint64_t off, root, section, map;

	if (!dlog_ram_vmcoreinfo_get(ram, "SYMBOL(mem_section)", &root) ||
	    !dlog_ram_vmcoreinfo_get(ram, "OFFSET(mem_section.section_mem_map)",
				     &off) ||
	    ram_read_u64(ram, root, &section) ||
	    ram_read_u64(ram, section + off, &map))
		return 0;
	map &= ~0x3full;
	return map % DIRECT_ALIGN || map < DIRECT_L5 ? 0 : map;
}

void ram_find_maps(struct dlog_ram *ram)
{
	ram->kernel.page_offset = find_page_offset(ram);
	ram->kernel.vmemmap = find_vmemmap(ram);
}
