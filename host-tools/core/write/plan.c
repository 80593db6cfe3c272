// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * plan.c - what goes into a core: RAM, and where the kernel sees it.
 *
 * crash and drgn walk page tables themselves; gdb does not.  So that it sees
 * more than the direct mapping (stacks lie in vmalloc space, code in a mapping
 * of its own), each further mapping becomes a segment that points to the same
 * bytes of the core.  Their number has a bound, as debuggers search segments
 * one by one; the kernel's own image and modules come first, and a guest with
 * very many mappings loses the last ones in vmalloc space.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../core.h"

/* The kernel's image, modules and fixed addresses (Linux v6.1
 * Documentation/x86/x86_64/mm.rst). */
#define IMAGE_BEGIN UINT64_C(0xffffffff80000000)
/* The kernel's half, with five levels of page tables. */
#define KERNEL_BEGIN UINT64_C(0xff00000000000000)

void plan_free(struct plan *p)
{
	free(p->ram);
	free(p->map);
	memset(p, 0, sizeof(*p));
}

static int plan_ram(struct plan *p, struct dlog_ram *ram, uint64_t page_offset)
{
	const struct dlog_ram_range *r;
	size_t n = dlog_ram_ranges(ram, &r);

	p->ram = calloc(n ? n : 1, sizeof(*p->ram));
	if (!p->ram)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct plan_part *to = &p->ram[p->nr_ram];

		to->phys = r[i].phys;
		to->size = r[i].size & ~(uint64_t)(PAGE - 1);
		to->offset = r[i].offset;
		to->addr = page_offset + to->phys;
		p->bytes += to->size;
		p->nr_ram += to->size != 0;
	}
	return 0;
}

/* One part of a mapping, all in one range of RAM. */
static int put_part(struct plan *p, uint64_t addr, uint64_t phys, uint64_t size,
		    uint64_t offset)
{
	struct plan_part *more;

	if (p->nr_map == PLAN_MAPPINGS_MAX) {
		p->full = true;
		return 1;
	}
	if (p->nr_map == p->room) {
		p->room = p->room ? 2 * p->room : 256;
		more = realloc(p->map, p->room * sizeof(*more));
		if (!more)
			return -ENOMEM;
		p->map = more;
	}
	p->map[p->nr_map++] = (struct plan_part){
		.addr = addr, .phys = phys, .size = size, .offset = offset
	};
	return 0;
}

static int put_mapping(void *arg, const struct dlog_ram_mapping *m)
{
	struct plan *p = arg;

	for (size_t i = 0; i < p->nr_ram; i++) {
		const struct plan_part *r = &p->ram[i];
		uint64_t from = m->phys > r->phys ? m->phys : r->phys;
		uint64_t to = m->phys + m->size;
		int ret;

		if (to > r->phys + r->size)
			to = r->phys + r->size;
		if (from >= to)
			continue;
		ret = put_part(p, m->addr + (from - m->phys), from, to - from,
			       r->offset + (from - r->phys));
		if (ret)
			return ret;
	}
	return 0;
}

/* All but the direct mapping, which the ranges of RAM have already. */
static int plan_mappings(struct plan *p, struct dlog_ram *ram,
			 uint64_t page_offset)
{
	const struct plan_part *last = &p->ram[p->nr_ram - 1];
	uint64_t behind = page_offset + last->phys + last->size;
	int ret = dlog_ram_mappings(ram, IMAGE_BEGIN, UINT64_MAX, put_mapping,
				    p);

	if (!ret)
		ret = dlog_ram_mappings(ram, behind, IMAGE_BEGIN - 1,
					put_mapping, p);
	if (!ret)
		ret = dlog_ram_mappings(ram, KERNEL_BEGIN, page_offset - 1,
					put_mapping, p);
	return ret == 1 ? 0 : ret;
}

int plan_make(struct plan *p, struct dlog_ram *ram, bool mappings,
	      struct dlog_error *err)
{
	struct dlog_ram_kernel k;
	int ret;

	dlog_ram_get_kernel(ram, &k);
	memset(p, 0, sizeof(*p));
	ret = plan_ram(p, ram, k.page_offset);
	if (!ret && mappings && p->nr_ram && k.page_offset > KERNEL_BEGIN &&
	    k.page_offset < IMAGE_BEGIN - p->bytes)
		ret = plan_mappings(p, ram, k.page_offset);
	if (ret == -ENOMEM)
		return fail(err, ret, "No memory to plan the core.");
	/* Page tables that cannot be read: the core goes without. */
	return 0;
}
