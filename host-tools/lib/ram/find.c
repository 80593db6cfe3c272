// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * find.c - find the kernels in a RAM file and choose one.
 *
 * VMCOREINFO is at the start of a page, as text or as a note.  A page that
 * looks like it may be anybody's: a file that the guest has in memory, what
 * an earlier boot left, a copy for kdump.  So the kernel that it describes
 * has to prove itself, at the addresses that it names (enum ram_proof), and
 * the one with the best proof is taken.  Which part of the file is where in
 * guest-physical memory is found in the same way, by trying.
 *
 * Of several kernels that are whole, all but one are from earlier boots,
 * since neither reset nor kexec clears memory.  Each of them at boot puts its
 * topmost page table into a page below 1 MiB, always about the same, for
 * starting CPUs (arch/x86/realmode/init.c: trampoline_pgd).  Which kernel is
 * found there was the last.  But if that is the kernel that kdump booted
 * after a crash, the one that crashed is of more interest.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ram.h"

#define SMALLEST (8u << 20) /* less holds no kernel */
#define TRIES 12u /* for one kernel: its copies, with each layout */
#define STRANGERS 256u /* to be proven that are not known */

/* ---- proof ---- */

/* The upper entry of the kernel's table, in a page below 640 KiB. */
static bool is_latest(struct dlog_ram *ram)
{
	const uint64_t entry_phys = 0x000ffffffffff000u;
	uint64_t top, entry;

	if (dlog_ram_read_phys(ram, ram->kernel.page_table + 511 * 8, &top, 8))
		return false;
	for (uint64_t page = 0; page < 0xa0000; page += RAM_PAGE)
		if (!dlog_ram_read_phys(ram, page + 511 * 8, &entry, 8) &&
		    entry & 1 && top & 1 && !((entry ^ top) & entry_phys) &&
		    page != ram->kernel.page_table)
			return true;
	return false;
}

struct extent {
	uint64_t page_offset;
	uint64_t low, high; /* ends of RAM below and above 4 GiB */
	uint64_t size;
};

static int extent_add(void *arg, const struct dlog_ram_mapping *m)
{
	struct extent *e = arg;
	uint64_t end = m->phys + m->size;

	/* Of the direct mapping, and nothing else that may lie there. */
	if (m->addr - e->page_offset != m->phys)
		return 0;
	e->size += m->size;
	if (m->phys < RAM_4G && end > e->low)
		e->low = end;
	if (end > RAM_4G && end > e->high)
		e->high = end;
	return 0;
}

/* RAM below 4 GiB that firmware keeps at its end, at most. */
#define FIRMWARE (256u << 20)

/*
 * Does the kernel believe that RAM is where the layout has it?  One that was
 * booted to save another's memory knows only the part that is kept for it.
 */
static bool is_layout(struct dlog_ram *ram)
{
	const struct dlog_ram_range *low = &ram->range[0];
	const struct dlog_ram_range *high = &ram->range[ram->ranges - 1];
	struct extent e = { .page_offset = ram->kernel.page_offset };

	if (!e.page_offset ||
	    dlog_ram_mappings(ram, e.page_offset,
			      e.page_offset + high->phys + high->size - 1,
			      extent_add, &e) < 0)
		return false;
	if (e.low > low->size || low->size - e.low > FIRMWARE ||
	    e.size < (high->offset + high->size) / 2)
		return false;
	return high == low ? !e.high : e.high == high->phys + high->size;
}

static bool is_uts(struct dlog_ram *ram)
{
	char release[65];

	ram_uts(ram, 2, release);
	return *release && !strcmp(release, ram->kernel.release);
}

/* What of the kernel that ram->info names can be believed. */
static uint32_t prove(struct dlog_ram *ram)
{
	uint64_t top = ram->kernel.page_table - ram->kernel.phys_base +
		       RAM_KERNEL_MAP;
	uint64_t phys, size;
	uint32_t proof = 0;

	if (!dlog_ram_translate(ram, top, &phys, &size) &&
	    phys == ram->kernel.page_table)
		proof = RAM_TABLES;
	ram->linear = !proof;
	proof |= is_uts(ram) ? RAM_UTS : 0;
	proof |= ram_prb_sane(ram) ? RAM_PRB : 0;
	if (!(proof & (RAM_UTS | RAM_PRB)))
		return 0;
	proof |= is_latest(ram) ? RAM_LATEST : 0;
	ram_find_maps(ram);
	proof |= is_layout(ram) ? RAM_LAYOUT : 0;
	return proof;
}

/* ---- choice ---- */

/* Where RAM below 4 GiB may end (see image.c); 0 ends the list. */
struct layouts {
	uint64_t below[4];
};

struct find {
	struct dlog_ram *ram;
	bool all; /* not to end with the first that is beyond doubt */
	struct layouts layouts;
	struct ram_info info;
	/* the best so far */
	uint32_t proof, strangers;
	uint64_t offset, below;
};

static struct ram_found *found_find(struct dlog_ram *ram)
{
	for (uint32_t i = 0; i < ram->nr_found; i++) {
		struct ram_found *f = &ram->found[i];

		if (f->page_table == ram->kernel.page_table &&
		    !strcmp(f->release, ram->kernel.release))
			return f;
	}
	return NULL;
}

/* For a new one: if need be the place of one that proves less, or NULL. */
static struct ram_found *found_room(struct dlog_ram *ram, uint32_t proof)
{
	struct ram_found *least = &ram->found[0];

	if (ram->nr_found < RAM_KERNELS_MAX)
		return &ram->found[ram->nr_found++];
	for (uint32_t i = 1; i < RAM_KERNELS_MAX; i++)
		if (ram->found[i].proof < least->proof)
			least = &ram->found[i];
	return least->proof < proof ? least : NULL;
}

/*
 * A copy of what is known already brings nothing new, unless what named that
 * kernel first was damaged.
 */
static void find_try(struct find *f, uint64_t off, uint64_t below)
{
	struct dlog_ram *ram = f->ram;
	struct ram_found *known;
	uint32_t proof;

	ram_layout(ram, below);
	if (ram_kernel_load(ram))
		return;
	known = found_find(ram);
	if (known ? known->tries++ >= TRIES : f->strangers++ >= STRANGERS)
		return;
	proof = prove(ram);
	if (!proof)
		return;
	if (!known) {
		known = found_room(ram, proof);
		if (!known)
			return;
		memset(known, 0, sizeof(*known));
		known->page_table = ram->kernel.page_table;
		memcpy(known->release, ram->kernel.release,
		       sizeof(known->release));
	}
	if (proof > known->proof) {
		known->proof = proof;
		known->offset = off;
	}
	if (proof > f->proof) {
		f->proof = proof;
		f->offset = off;
		f->below = below;
	}
}

static void find_hit(struct find *f, uint64_t off)
{
	if (!ram_info_load(f->ram->d, off, &f->ram->info))
		return;
	for (size_t i = 0; f->layouts.below[i]; i++)
		find_try(f, off, f->layouts.below[i]);
}

/* ---- the search ---- */

/* The start of a page: the text, or the note around it. */
static bool looks_right(const char *p)
{
	static const char text[] = "OSRELEASE=";

	return !memcmp(p, text, sizeof(text) - 1) ||
	       !memcmp(p + 24, text, sizeof(text) - 1);
}

/*
 * Only some bytes of each page are read: on a machine with nothing else to
 * do that takes as long as reading all of it does, on others less.
 */
static bool search(struct find *f, uint64_t from, uint64_t to)
{
	char head[40];

	for (uint64_t off = from; off < to; off += RAM_PAGE) {
		if (dlog_fetch(f->ram->d, off, head, sizeof(head)))
			return false;
		if (!looks_right(head))
			continue;
		find_hit(f, off);
		if (f->proof == RAM_ALL && !f->all)
			return true;
	}
	return false;
}

/* The same without what the file has no blocks for. */
static bool search_data(struct find *f, uint64_t from, uint64_t to)
{
	const struct dlog *d = f->ram->d;
	const off_t base = (off_t)d->base;

	if (d->fd < 0)
		return search(f, from, to);
	while (from < to) {
		off_t data = lseek(d->fd, base + (off_t)from, SEEK_DATA);
		off_t hole = data < 0 ? -1 : lseek(d->fd, data, SEEK_HOLE);
		uint64_t end = to;

		if (data < 0 && errno == ENXIO)
			return false; /* nothing but a hole */
		/* A file system that knows no holes has none. */
		if (data > base && (uint64_t)(data - base) > from)
			from = (uint64_t)(data - base) &
			       ~(uint64_t)(RAM_PAGE - 1);
		if (hole > base && (uint64_t)(hole - base) < to)
			end = (uint64_t)(hole - base);
		if (from >= end)
			end = from + RAM_PAGE;
		if (end > to)
			end = to;
		if (search(f, from, end))
			return true;
		from = (end + RAM_PAGE - 1) & ~(uint64_t)(RAM_PAGE - 1);
	}
	return false;
}

/*
 * Kernels make VMCOREINFO early, from the first free pages of the highest
 * memory that they then have: mostly just above 4 GiB (where that is in the
 * file depends on the layout) or, where RAM ends below, behind the kernel.
 */
static void search_all(struct find *f, uint64_t size)
{
	const uint64_t likely[] = { 0xc0000000, 0x80000000, 0 };

	for (size_t i = 0; i < 3; i++) {
		uint64_t to = likely[i] + (128u << 20);

		if (search_data(f, likely[i], to < size ? to : size))
			return;
	}
	search_data(f, 0, size);
}

/* ---- opening ---- */

/* The limits of pc, microvm and q35, as far as they fit the file's size. */
static void layouts_set(struct layouts *l, uint64_t size, uint64_t forced)
{
	size_t n = 0;

	memset(l, 0, sizeof(*l));
	if (forced) {
		l->below[0] = forced;
		return;
	}
	if (size < 0xe0000000)
		l->below[n++] = size;
	if (size > 0xc0000000)
		l->below[n++] = 0xc0000000;
	if (size >= 0xb0000000)
		l->below[n++] = 0x80000000;
}

/* The kernel that is believed: load it again. */
static int find_use(struct find *f)
{
	struct dlog_ram *ram = f->ram;

	ram_info_load(ram->d, f->offset, &ram->info);
	ram_layout(ram, f->below);
	if (ram_kernel_load(ram))
		return -EBADMSG; /* it changed meanwhile */
	ram->proof = prove(ram);
	ram->why[0] = 0;
	return ram->proof ? 0 : -EBADMSG;
}

static int none(struct dlog *d, struct dlog_error *err)
{
	return dlog_fail(
		err, -EBADMSG,
		"%s: no kernel's VMCOREINFO that proves itself is in it: it "
		"is no guest's RAM, or its kernel has no CONFIG_CRASH_CORE, or "
		"RAM below 4 GiB ends where no machine type of QEMU ends it "
		"(option below-4g).",
		d->name);
}

int ram_open(struct dlog *d, bool forced, struct dlog_error *err)
{
	struct find f = { 0 };
	uint64_t below = 0, at = 0, size = d->size & ~(uint64_t)(RAM_PAGE - 1);
	int ret = dlog_option_size(d, "below-4g", &below, err);
	int given;

	if (ret < 0)
		return ret;
	given = dlog_option_size(d, "vmcoreinfo", &at, err);
	if (given < 0)
		return given;
	if (size < SMALLEST && !forced)
		return -EBADMSG;
	f.ram = calloc(1, sizeof(*f.ram));
	if (!f.ram)
		return dlog_fail(err, -ENOMEM, "No memory to open %s.",
				 d->name);
	d->state = f.ram;
	f.ram->d = d;
	layouts_set(&f.layouts, size, below);
	if (given) {
		for (size_t i = 0; f.layouts.below[i]; i++) {
			uint64_t off;

			ram_layout(f.ram, f.layouts.below[i]);
			if (ram_together(f.ram, at & ~(RAM_PAGE - 1ull), &off))
				find_hit(&f, off);
		}
	} else {
		search_all(&f, size);
	}
	if (!f.proof || find_use(&f))
		return none(d, err);
	return 0;
}

void ram_find_others(struct dlog_ram *ram)
{
	struct find f = { .all = true };

	if (ram->all_found)
		return;
	ram->all_found = true;
	f.ram = calloc(1, sizeof(*f.ram));
	if (!f.ram)
		return;
	f.ram->d = ram->d;
	f.layouts.below[0] = ram->range[0].size;
	search_data(&f, 0, ram->d->size & ~(uint64_t)(RAM_PAGE - 1));
	memcpy(ram->found, f.ram->found, sizeof(ram->found));
	ram->nr_found = f.ram->nr_found;
	free(f.ram);
}

void ram_close(struct dlog *d)
{
	if (d->state)
		ram_kernel_free(d->state);
	free(d->state);
	d->state = NULL;
}

struct dlog_ram *dlog_get_ram(struct dlog *d)
{
	return d->ops == &dlog_ram_ops ? d->state : NULL;
}
