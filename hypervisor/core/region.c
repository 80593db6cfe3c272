// SPDX-License-Identifier: GPL-2.0-only
/*
 * region.c - the region: finding, adopting or formatting it, dlog-hv's own
 * ring in it, and what the guest may store into its protected pages.
 *
 * One region serves both producers.  The rings are dealt out so that the
 * last one is never a guest's: the driver uses ring CPU % nr_rings, and there
 * is one ring more than the machine can have CPUs.
 *
 * dlog-hv begins no boot of its own while the guest may: what it says is kept
 * until the guest's driver has written its boot table entry, which comes
 * through region_store(); from then on dlog-hv writes for that boot too, on
 * that boot's clock.  A guest that dies without a driver gets an entry of
 * dlog-hv's.
 *
 * Protected are the superblocks, the state page and the boot table.  The
 * driver has to store into the last two; such a store is played when it is
 * what a producer may do: its line of the state page with a status that
 * exists and its own boot's number, and the one slot of the boot table that
 * comes next.  All else is refused.
 */
#include "hv.h"

#define LABEL "dlog-hv"
#define STEP (2 * MIB) /* regions of ours lie on multiples of it */
#define EACCES 13
#define TEXT_MAX 1024 /* bytes shown of a line */

struct dlog_client client;
u32 client_lock;
u64 region_ago;

static char memory[DLOG_CLIENT_MEMORY(1)] __attribute__((aligned(128)));
static struct dlog_ring_end ends[DLOG_RINGS_MAX];
static u32 own; /* our ring */
static bool has_boot;
static u32 store_lock; /* for the boot table and the state page */
static u32 newest; /* number of the latest boot there is */
static u64 clock_offset; /* boot's clock less arch_ns() */

static u64 beat_time_newest(u64 about)
{
	u64 newest_time = about;

	for (u32 i = 0; i < region.sb.nr_cpus; i++) {
		const volatile struct dlog_cpu *c = dlog_region_cpu(&region, i);
		u64 t = c->beat_time;

		/* The guest writes it: believe what is near. */
		if (c->boot == region.boot && t > newest_time &&
		    t - about < 60000000000ull)
			newest_time = t;
	}
	return newest_time;
}

u64 region_clock(void *unused)
{
	u64 now = arch_ns() + clock_offset;

	(void)unused;
	now = now >> 63 ? 0 : now;
	if (has_boot)
		now = beat_time_newest(now);
	return now > region_ago ? now - region_ago : 0;
}

bool region_has_boot(void)
{
	return has_boot;
}

u64 region_beats(u32 cpu)
{
	const volatile struct dlog_cpu *c;

	if (!region.base)
		return 0;
	c = dlog_region_cpu(&region, cpu);
	return c && has_boot && c->boot == region.boot ? c->beats : 0;
}

bool region_leaving(void)
{
	const volatile struct dlog_state *st = dlog_region_state(&region);

	return has_boot && st->boot == region.boot &&
	       st->status == DLOG_ST_KEXEC;
}

/* ---- finding ---- */

/* Is all of it RAM that GRUB has not used? */
static bool usable(u64 addr, u64 size)
{
	return mem_is(&free_map, addr, addr + size, MEM_RAM);
}

/*
 * The middle of the largest piece of RAM below 4 GiB: as far as can be from
 * what firmware and GRUB use at both ends.
 */
static u64 choose(u64 size)
{
	u64 best = 0, addr = 0;

	for (u32 i = 0; i < guest_map.n; i++) {
		const struct mem_range *r = &guest_map.r[i];
		u64 end = r->end < 4 * GIB ? r->end : 4 * GIB;

		if (r->type != MEM_RAM || r->start >= end ||
		    end - r->start <= best)
			continue;
		best = end - r->start;
		addr = ALIGN_DOWN(r->start + best / 2, STEP);
	}
	while (addr && !usable(addr, size) && addr + size < 4 * GIB)
		addr += STEP;
	return usable(addr, size) ? addr : 0;
}

static bool adopt(u64 addr, u64 bytes, bool labelled)
{
	static const char label[sizeof(region.sb.label)] = LABEL;

	if (dlog_client_open(&client, (void *)addr, bytes) != DLOG_SUPER_OK ||
	    (labelled && memcmp(region.sb.label, label, sizeof(label)))) {
		region.base = NULL;
		return false;
	}
	if (usable(addr, region.sb.region_size))
		return true;
	hv_log(HV_WARN,
	       "The region at %lx is under what GRUB has loaded: it is lost.",
	       addr);
	region.base = NULL;
	return false;
}

static bool scan(void)
{
	for (u32 i = 0; i < free_map.n; i++) {
		const struct mem_range *r = &free_map.r[i];
		u64 end = r->end < 4 * GIB ? r->end : 4 * GIB;

		if (r->type != MEM_RAM)
			continue;
		for (u64 a = ALIGN_UP(r->start | 1, STEP);
		     a < end && end - a >= DLOG_REGION_MIN; a += STEP)
			if (!memcmp((void *)a, DLOG_MAGIC, 8) &&
			    adopt(a, end - a, true))
				return true;
	}
	return false;
}

static int format(u64 addr, u64 size, u32 possible)
{
	struct dlog_superblock sb = {
		.region_size = size,
		.label = LABEL,
		.created = arch_wall(),
		.nr_rings = possible + 1,
		/* So that the boot table begins and ends with a page. */
		.nr_cpus = (u32)ALIGN_UP(possible, 64),
		.boot_slots = 64,
		.catalog_size = size / 16 < MIB ? size / 16 : MIB,
		.subbuf_size = size / (possible + 1) < MIB / 2 ? 4096 : 16384,
	};

	arch_random(sb.uuid, sizeof(sb.uuid));
	sb.uuid[6] = (sb.uuid[6] & 0x0f) | 0x40;
	sb.uuid[8] = (sb.uuid[8] & 0x3f) | 0x80;
	if (dlog_super_layout(&sb))
		return hv_fail(
			EINVAL,
			"A region of %lu KiB is too small for %u CPUs: give region= a larger size.",
			size >> 10, possible);
	dlog_super_seal(&sb);
	memset((void *)addr, 0, size);
	memcpy((void *)(addr + sb.backup_off), &sb, sizeof(sb));
	memcpy((void *)addr, &sb, sizeof(sb));
	if (!adopt(addr, size, false))
		return hv_fail(EINVAL,
			       "The memory at %lx does not hold a region.",
			       addr);
	hv_log(HV_INFO, "New region of %lu KiB at %lx.", size >> 10, addr);
	return 0;
}

static void find_newest(void)
{
	struct dlog_boot last;

	region.boot = newest = dlog_region_newest(&region, ends, &last);
	if (!newest)
		return;
	last.release[sizeof(last.release) - 1] = 0;
	hv_log(HV_INFO, "Boot %u (%s) is the latest in it.", newest,
	       last.boot == newest ? (char *)last.release : "?");
}

static void show(void *unused, u64 time, const void *text, size_t len)
{
	char head[40];

	(void)unused;
	console_write(head, dlog_client_print(
				    head, sizeof(head), "| [%5lu.%06lu] ",
				    time / 1000000000, time / 1000 % 1000000));
	console_write(text, len < TEXT_MAX ? len : TEXT_MAX);
	console_write("\n", 1);
}

void region_show(void)
{
	static char room[DLOG_CLIENT_HISTORY(128)] __attribute__((aligned(8)));

	if (!newest)
		return;
	hv_log(HV_INFO, "Boot %u said:", newest);
	if (dlog_client_history(&client, newest, room, sizeof(room), show,
				NULL))
		hv_log(HV_WARN, "The region has too many rings to show it.");
	hv_log(HV_INFO, "End of boot %u.", newest);
}

int region_start(u32 possible)
{
	u64 addr = opt.region_addr ? opt.region_addr : choose(opt.region_size);
	int ret;

	if (!opt.region_new) {
		if (addr && usable(addr, opt.region_size))
			adopt(addr, opt.region_size, false);
		if (!region.base && !opt.region_addr)
			scan();
	}
	if (region.base) {
		hv_log(HV_INFO, "Region of %lu KiB at %lx, kept.",
		       region.sb.region_size >> 10, (u64)region.base);
	} else if (!addr || !usable(addr, opt.region_size)) {
		return hv_fail(
			ENOENT,
			"No free RAM for a region of %lu KiB%s: give region= another size or address.",
			opt.region_size >> 10,
			opt.region_addr ? " at that address" : "");
	} else {
		ret = format(addr, opt.region_size, possible);
		if (ret)
			return ret;
	}
	find_newest();
	own = region.sb.nr_rings - 1;
	if (own < possible) {
		own = DLOG_CLIENT_NO_RING;
		hv_log(HV_WARN,
		       "The region has %u rings for %u CPUs, none for dlog-hv: it keeps registers only; region-new makes another.",
		       region.sb.nr_rings, possible);
	}
	ret = mem_set(&guest_map, (u64)region.base,
		      (u64)region.base + region.sb.region_size, MEM_RESERVED);
	return ret ? ret
		   : mem_set(&free_map, (u64)region.base,
			     (u64)region.base + region.sb.region_size,
			     MEM_RESERVED);
}

/* ---- boots ---- */

/* Boot @boot is recorded from now on, its clock shows @time now. */
static void join(u32 boot, u64 time, u64 next)
{
	struct dlog_client_setup setup = {
		.clock = region_clock,
		.memory = memory,
		.bytes = sizeof(memory),
		.cpus = MAX_CPUS,
		.facility = 3, /* daemon */
	};

	lock(&client_lock);
	newest = boot;
	clock_offset = time - arch_ns();
	has_boot = !dlog_client_join(&client, &setup, boot, own, next);
	unlock(&client_lock);
	log_flush();
}

/* Where our ring goes on in the next boot. */
static u64 next_position(void)
{
	u64 next = 0, records;

	if (own == DLOG_CLIENT_NO_RING)
		return 0;
	if (!has_boot)
		return ends[own].next;
	dlog_ring_tell(client.rings, &next, &records);
	return ALIGN_UP(next, region.sb.subbuf_size);
}

void region_own_boot(void)
{
	struct dlog_boot_info info = {
		.time = region_clock(NULL),
		.real = arch_wall(),
		.release = "without driver (dlog-hv)",
		.machine = "x86_64",
	};

	if (!region.base)
		return;
	arch_random(info.boot_id, sizeof(info.boot_id));
	lock(&store_lock);
	if (!has_boot) {
		dlog_region_begin(&region, &info, ends);
		join(region.boot, info.time, next_position());
	}
	unlock(&store_lock);
}

void region_end_boot(void)
{
	lock(&client_lock);
	if (own != DLOG_CLIENT_NO_RING)
		ends[own].next = next_position();
	has_boot = false;
	clock_offset = -arch_ns();
	unlock(&client_lock);
}

/* The guest's driver has written a whole boot table entry. */
static void follow(const struct dlog_boot *b)
{
	u64 next = next_position(), start = 0, size = region.sb.subbuf_size;

	if (own != DLOG_CLIENT_NO_RING)
		start = dlog_boot_start(&region, b->boot, own);
	if (start % size == 0 && start > next &&
	    start - next < region.sb.ring_size)
		next = start;
	join(b->boot, b->start_time, next);
	hv_log(HV_INFO, "The guest's boot is number %u.", newest);
}

/* ---- protection ---- */

static bool within(u64 off, u64 start, u64 size)
{
	return off >= start && off - start < size;
}

bool region_protects(u64 gpa)
{
	const struct dlog_superblock *sb = &region.sb;
	u64 off = gpa - (u64)region.base;
	u64 boots = sb->boot_slots * sb->boot_stride;

	if (!region.base || off >= sb->region_size)
		return false;
	off = ALIGN_DOWN(off, PAGE);
	return !off || off == sb->backup_off ||
	       within(off, ALIGN_DOWN(sb->state_off, PAGE),
		      PAGE + sb->state_off % PAGE) ||
	       within(off, ALIGN_DOWN(sb->boot_off, PAGE),
		      boots + sb->boot_off % PAGE);
}

void region_protected(void (*fn)(u64 start, u64 end))
{
	u64 at = (u64)region.base, end = at + region.sb.region_size;

	if (!region.base)
		return;
	for (; at < end; at += PAGE)
		if (region_protects(at))
			fn(at, at + PAGE);
}

static bool state_allows(u64 at, u64 v, u32 size)
{
	u64 status = offsetof(struct dlog_state, status);
	u64 boot = offsetof(struct dlog_state, boot);

	if (at < status || at >= sizeof(struct dlog_state))
		return false;
	if (at == status)
		return size == 8
			       ? (u32)v < DLOG_ST_MAX && v >> 32 == region.boot
			       : size == 4 && v < DLOG_ST_MAX;
	if (at == boot)
		return size == 4 && v == region.boot;
	return true;
}

static void put(u8 *p, u64 v, u32 size)
{
	if (size == 8)
		*(volatile u64 *)p = v;
	else
		*(volatile u32 *)p = (u32)v;
}

static int store(u64 gpa, u64 v, u32 size)
{
	const struct dlog_superblock *sb = &region.sb;
	u64 off = gpa - (u64)region.base;
	u32 next = newest + 1 ? newest + 1 : 1;
	u32 slot = (next - 1) % sb->boot_slots;
	struct dlog_boot b;

	if (off % size || off < DLOG_PAGE || off >= sb->backup_off)
		return -EACCES;
	if (within(off, sb->boot_off, sb->boot_slots * sb->boot_stride)) {
		if (!within(off, sb->boot_off + slot * sb->boot_stride,
			    sb->boot_stride))
			return -EACCES;
		put(region.base + off, v, size);
		if (dlog_boot_probe(&region, slot, &b) && b.boot == next)
			follow(&b);
		return 0;
	}
	if (within(off, sb->state_off, DLOG_PAGE)) {
		if (!state_allows(off - sb->state_off, v, size))
			return -EACCES;
		if (size == 8 &&
		    off - sb->state_off ==
			    offsetof(struct dlog_state, status_time))
			clock_offset = v - arch_ns();
	}
	put(region.base + off, v, size);
	return 0;
}

int region_store(u64 gpa, u64 v, u32 size)
{
	int ret;

	lock(&store_lock);
	ret = store(gpa, v, size);
	unlock(&store_lock);
	return ret;
}
