/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dlog_region.h - everything about a region but its records: is it one, what
 * is where, taking it over at boot, and the producer's words in it.
 *
 * The host formats (dlog_super_layout, dlog_super_seal), both sides validate
 * (dlog_super_check), the producer takes over (dlog_region_open, _begin,
 * dlog_ring_init).  Taking over reads the region once; nothing here is
 * called from an append.  Relies on dlog_ring.h.
 *
 * Contexts: begin and catalog functions from one task at a time; status,
 * heartbeat and register functions from any context of the CPU whose slot
 * they name, status from anywhere.
 */
#ifndef DLOG_REGION_H
#define DLOG_REGION_H

#include "dlog_ring.h"

enum dlog_super_error {
	DLOG_SUPER_OK = 0,
	DLOG_SUPER_MAGIC, /* no superblock here */
	DLOG_SUPER_CHECK, /* there was one, but it is damaged */
	DLOG_SUPER_INCOMPAT, /* a newer format */
	DLOG_SUPER_SIZE, /* region_size and the memory given differ */
	DLOG_SUPER_GEOMETRY, /* contradicts itself */
};

DLOG_INLINE const char *dlog_super_strerror(enum dlog_super_error e)
{
	switch (e) {
	case DLOG_SUPER_OK:
		return "valid";
	case DLOG_SUPER_MAGIC:
		return "no dlog superblock";
	case DLOG_SUPER_CHECK:
		return "superblock damaged";
	case DLOG_SUPER_INCOMPAT:
		return "format is newer than this program";
	case DLOG_SUPER_SIZE:
		return "shorter than its superblock says";
	case DLOG_SUPER_GEOMETRY:
		return "superblock contradicts itself";
	}
	return "?";
}

DLOG_INLINE uint64_t dlog_super_seed(void)
{
	static const uint8_t none[16];

	return dlog_hash_seed(none, DLOG_SEED_SUPER);
}

DLOG_INLINE uint32_t dlog_super_hash(const struct dlog_superblock *sb)
{
	return dlog_object_check((const uint8_t *)sb + 8, sizeof(*sb) - 8,
				 dlog_super_seed(), 0);
}

/* Compute the check, after all other fields are set. */
DLOG_INLINE void dlog_super_seal(struct dlog_superblock *sb)
{
	memcpy(sb->magic, DLOG_MAGIC, sizeof(sb->magic));
	sb->size = sizeof(*sb);
	sb->check = dlog_super_hash(sb);
}

DLOG_INLINE bool dlog_super_fits(uint64_t off, uint64_t size, uint64_t end)
{
	return off % 8 == 0 && off <= end && size <= end - off;
}

/*
 * Is *@sb, the caller's own copy, a superblock that format 1 can use on
 * @bytes bytes of memory?  All later arithmetic on its fields is safe once
 * this returns DLOG_SUPER_OK.  @bytes may exceed region_size.
 */
DLOG_FN enum dlog_super_error dlog_super_check(const struct dlog_superblock *sb,
					       uint64_t bytes)
{
	uint64_t boots;

	if (memcmp(sb->magic, DLOG_MAGIC, sizeof(sb->magic)))
		return DLOG_SUPER_MAGIC;
	if (sb->size != sizeof(*sb) || sb->check != dlog_super_hash(sb))
		return DLOG_SUPER_CHECK;
	if (sb->incompat & ~DLOG_INCOMPAT_KNOWN)
		return DLOG_SUPER_INCOMPAT;
	if (sb->region_size > bytes)
		return DLOG_SUPER_SIZE;
	if (sb->region_size < DLOG_REGION_MIN ||
	    sb->region_size > DLOG_REGION_MAX || sb->region_size % DLOG_PAGE ||
	    sb->subbuf_size < DLOG_SUBBUF_MIN ||
	    sb->subbuf_size > DLOG_SUBBUF_MAX ||
	    sb->subbuf_size & (sb->subbuf_size - 1) || !sb->nr_rings ||
	    sb->nr_rings > DLOG_RINGS_MAX || !sb->nr_cpus ||
	    sb->nr_cpus > DLOG_CPUS_MAX || sb->boot_slots < DLOG_BOOTS_MIN ||
	    sb->boot_slots > DLOG_BOOTS_MAX ||
	    sb->ring_size & (sb->subbuf_size - 1) ||
	    sb->ring_size < (uint64_t)DLOG_SUBBUFS_MIN * sb->subbuf_size ||
	    sb->ring_size > (uint64_t)DLOG_SUBBUFS_MAX * sb->subbuf_size)
		return DLOG_SUPER_GEOMETRY;
	boots = sb->boot_slots;
	if (sb->boot_stride % 8 || sb->boot_stride > DLOG_RINGS_MAX * 32 ||
	    sb->boot_stride <
		    sizeof(struct dlog_boot) +
			    sb->nr_rings * sizeof(struct dlog_boot_ring) ||
	    sb->regs_stride % 8 || sb->regs_stride < DLOG_REGS_STRIDE ||
	    sb->regs_stride > DLOG_PAGE * 16)
		return DLOG_SUPER_GEOMETRY;
	if (sb->ring_off % DLOG_PAGE || sb->state_off < DLOG_PAGE ||
	    sb->backup_off != sb->region_size - DLOG_PAGE ||
	    !dlog_super_fits(sb->state_off,
			     DLOG_PAGE + sb->nr_cpus * sizeof(struct dlog_cpu),
			     sb->boot_off) ||
	    !dlog_super_fits(sb->boot_off, boots * sb->boot_stride,
			     sb->clock_off) ||
	    !dlog_super_fits(sb->clock_off,
			     boots * 2 * sizeof(struct dlog_clock),
			     sb->regs_off) ||
	    !dlog_super_fits(sb->regs_off,
			     (uint64_t)sb->nr_cpus * sb->regs_stride,
			     sb->catalog_off) ||
	    !dlog_super_fits(sb->catalog_off, sb->catalog_size, sb->ring_off) ||
	    sb->nr_rings * sb->ring_size > sb->region_size ||
	    !dlog_super_fits(sb->ring_off, sb->nr_rings * sb->ring_size,
			     sb->backup_off))
		return DLOG_SUPER_GEOMETRY;
	return DLOG_SUPER_OK;
}

/*
 * Place everything in a region of sb->region_size bytes.  Takes region_size,
 * nr_rings, subbuf_size, nr_cpus, boot_slots and catalog_size from *@sb and
 * sets the rest of the geometry.  Returns 0, or -EINVAL when it does not
 * fit or a value is out of bounds; dlog_super_check() after
 * dlog_super_seal() says more.
 */
DLOG_FN int dlog_super_layout(struct dlog_superblock *sb)
{
	uint64_t off;

	if (sb->region_size < DLOG_REGION_MIN ||
	    sb->region_size > DLOG_REGION_MAX || sb->region_size % DLOG_PAGE ||
	    !sb->nr_rings || sb->nr_rings > DLOG_RINGS_MAX || !sb->nr_cpus ||
	    sb->nr_cpus > DLOG_CPUS_MAX || sb->subbuf_size < DLOG_SUBBUF_MIN ||
	    sb->subbuf_size > DLOG_SUBBUF_MAX ||
	    sb->subbuf_size & (sb->subbuf_size - 1) ||
	    sb->boot_slots > DLOG_BOOTS_MAX ||
	    sb->catalog_size > sb->region_size)
		return -EINVAL;
	sb->boot_stride = DLOG_ALIGN_UP(
		(uint32_t)sizeof(struct dlog_boot) +
			sb->nr_rings * (uint32_t)sizeof(struct dlog_boot_ring),
		64u);
	sb->regs_stride = DLOG_REGS_STRIDE;
	off = DLOG_PAGE;
	sb->state_off = off;
	off += DLOG_PAGE + sb->nr_cpus * sizeof(struct dlog_cpu);
	sb->boot_off = off;
	off += (uint64_t)sb->boot_slots * sb->boot_stride;
	sb->clock_off = off;
	off += (uint64_t)sb->boot_slots * 2 * sizeof(struct dlog_clock);
	sb->regs_off = off;
	off += (uint64_t)sb->nr_cpus * sb->regs_stride;
	sb->catalog_off = off;
	sb->catalog_size = DLOG_ALIGN_UP(sb->catalog_size, (uint64_t)8);
	off += sb->catalog_size;
	off = DLOG_ALIGN_UP(off, (uint64_t)DLOG_PAGE);
	sb->ring_off = off;
	sb->backup_off = sb->region_size - DLOG_PAGE;
	if (off >= sb->backup_off)
		return -EINVAL;
	sb->ring_size = (sb->backup_off - off) / sb->nr_rings /
			sb->subbuf_size * sb->subbuf_size;
	if (sb->ring_size / sb->subbuf_size < DLOG_SUBBUFS_MIN)
		return -EINVAL;
	return 0;
}

/* A producer's hold on a region.  @sb is a copy: the region is not trusted. */
struct dlog_region {
	uint8_t *base;
	struct dlog_superblock sb;
	uint32_t boot; /* number of this boot, 0 before dlog_region_begin() */
};

DLOG_INLINE uint64_t dlog_region_seed(const struct dlog_region *rg, uint32_t n)
{
	return dlog_hash_seed(rg->sb.uuid, n);
}

DLOG_INLINE struct dlog_state *dlog_region_state(const struct dlog_region *rg)
{
	return (struct dlog_state *)(rg->base + rg->sb.state_off);
}

/* CPU slot, or NULL when the region has none for this CPU. */
DLOG_INLINE struct dlog_cpu *dlog_region_cpu(const struct dlog_region *rg,
					     uint32_t cpu)
{
	if (cpu >= rg->sb.nr_cpus)
		return NULL;
	return (struct dlog_cpu *)(rg->base + rg->sb.state_off + DLOG_PAGE) +
	       cpu;
}

/*
 * Take hold of the region in @bytes bytes at @base.  Falls back on the
 * second superblock when the first is damaged, at the end of @bytes.
 * Writes nothing.
 */
DLOG_FN enum dlog_super_error dlog_region_open(struct dlog_region *rg,
					       void *base, uint64_t bytes)
{
	struct dlog_superblock *sb = &rg->sb;
	enum dlog_super_error err;

	rg->base = base;
	rg->boot = 0;
	if (bytes < DLOG_REGION_MIN)
		return DLOG_SUPER_MAGIC;
	memcpy(sb, base, sizeof(*sb));
	err = dlog_super_check(sb, bytes);
	if (err == DLOG_SUPER_MAGIC || err == DLOG_SUPER_CHECK) {
		memcpy(sb, rg->base + bytes - DLOG_PAGE, sizeof(*sb));
		if (dlog_super_check(sb, bytes) == DLOG_SUPER_OK &&
		    sb->region_size == bytes)
			err = DLOG_SUPER_OK;
	}
	if (err == DLOG_SUPER_OK && sb->ro_compat & ~DLOG_RO_COMPAT_KNOWN)
		err = DLOG_SUPER_INCOMPAT;
	return err;
}

/*
 * Store a checked object at @dst: make it invalid and begin its hash; then
 * its words from byte 8 on, each by dlog_record_word(); then the check.
 */
DLOG_INLINE uint64_t dlog_object_begin(uint8_t *dst, uint32_t x, uint64_t seed,
				       uint64_t position)
{
	dlog_put32_release(dst, 0);
	dlog_put32(dst + 4, x);
	return dlog_hash_start(seed, position, x);
}

/* Words of @from to @dst; the hash with them. */
DLOG_INLINE uint64_t dlog_object_words(uint8_t *dst, uint64_t h,
				       const void *from, uint32_t size)
{
	for (uint32_t i = 0; i < size; i += 8)
		h = dlog_record_word(dst + i, h,
				     dlog_load64((const uint8_t *)from + i));
	return h;
}

DLOG_INLINE void dlog_object_end(uint8_t *dst, uint64_t h)
{
	dlog_put32_release(dst, dlog_hash_final(h));
}

/* All three, for an object that lies in one piece at @from. */
DLOG_FN void dlog_object_put(void *to, const void *from, uint32_t size,
			     uint64_t seed, uint64_t position)
{
	const uint8_t *src = from;
	uint8_t *dst = to;
	uint64_t h = dlog_object_begin(dst, dlog_load32(src + 4), seed,
				       position);

	h = dlog_object_words(dst + 8, h, src + 8, size - 8);
	dlog_object_end(dst, h);
}

/* Where a ring's stream ended. */
struct dlog_ring_end {
	uint64_t next; /* position of the first sub-buffer never entered */
	uint64_t records; /* reserved by the boot that wrote last */
	uint64_t dropped;
	uint32_t boot; /* that boot, 0: the ring is empty */
};

/* Is a START of the sub-buffer of some lap at @p?  Fills *@start. */
DLOG_INLINE bool dlog_start_probe(const uint8_t *p, uint64_t seed,
				  struct dlog_start *start)
{
	uint32_t size;

	if (dlog_load32(p + 4) !=
	    (DLOG_TYPE(DLOG_KIND_START, 0) << 16 | sizeof(*start)))
		return false;
	memcpy(start, p + DLOG_HDR, sizeof(*start));
	return dlog_record_probe(p, DLOG_START_SIZE, seed, start->position,
				 &size) == DLOG_RECORD_FULL;
}

/*
 * The next record, open or full, at or behind *@off in the sub-buffer at @p
 * taken to lie at @position: its state, with its offset in *@off and its
 * bytes in *@size; DLOG_RECORD_NONE at the end.  Work is bounded: *@budget
 * bytes may be hashed in vain; on bytes made to look like very many long
 * records it gives up, which a producer can afford and a reader (which has
 * its own, linear way) could not.
 */
DLOG_FN enum dlog_record_state
dlog_subbuf_next(const uint8_t *p, uint32_t subbuf_size, uint64_t seed,
		 uint64_t position, uint32_t *off, uint32_t *size,
		 uint32_t *budget)
{
	for (; *off + DLOG_HDR <= subbuf_size && *budget; *off += 8) {
		uint32_t room = subbuf_size - *off;
		uint32_t cost = DLOG_REC_SIZE(dlog_load32(p + *off + 4) &
					      0xffff);
		enum dlog_record_state s;

		if (cost > room)
			continue;
		s = dlog_record_probe(p + *off, room, seed, position + *off,
				      size);
		if (s != DLOG_RECORD_NONE)
			return s;
		*budget -= cost < *budget ? cost : *budget;
	}
	return DLOG_RECORD_NONE;
}

/* Records of such a sub-buffer, open ones included, START not. */
DLOG_FN uint32_t dlog_subbuf_count(const uint8_t *p, uint32_t subbuf_size,
				   uint64_t seed, uint64_t position,
				   uint32_t *budget)
{
	uint32_t off = 0, n = 0, size = 0;

	for (; dlog_subbuf_next(p, subbuf_size, seed, position, &off, &size,
				budget) != DLOG_RECORD_NONE;
	     off += size)
		n += DLOG_TYPE_KIND(dlog_load32(p + off + 4) >> 16) !=
		     DLOG_KIND_START;
	return n;
}

DLOG_INLINE struct dlog_boot *dlog_boot_slot(const struct dlog_region *rg,
					     uint32_t boot)
{
	return (struct dlog_boot *)(rg->base + rg->sb.boot_off +
				    (uint64_t)((boot - 1) % rg->sb.boot_slots) *
					    rg->sb.boot_stride);
}

/* Where @boot began in ring @n, by its entry, which the caller has probed. */
DLOG_INLINE uint64_t dlog_boot_start(const struct dlog_region *rg,
				     uint32_t boot, uint32_t n)
{
	const struct dlog_boot *b = dlog_boot_slot(rg, boot);

	return dlog_load64((const uint8_t *)(b + 1) +
			   n * sizeof(struct dlog_boot_ring));
}

/*
 * Find the end of ring @n; reads each START and nine sub-buffers.  @boot:
 * the newest that has a table entry, 0: none.
 */
DLOG_FN void dlog_ring_find_end(const struct dlog_region *rg, uint32_t n,
				uint32_t boot, struct dlog_ring_end *end)
{
	uint32_t size = rg->sb.subbuf_size;
	uint32_t shift = (uint32_t)__builtin_ctz(size);
	uint32_t nr = (uint32_t)(rg->sb.ring_size >> shift);
	uint8_t *ring = rg->base + rg->sb.ring_off + n * rg->sb.ring_size;
	uint64_t seed = dlog_region_seed(rg, n);
	struct dlog_start start;
	uint32_t budget = 512 * size;
	uint64_t last = 0;
	bool any = false;

	memset(end, 0, sizeof(*end));
	for (uint32_t i = 0; i < nr; i++) {
		if (!dlog_start_probe(ring + (size_t)i * size, seed, &start) ||
		    start.position & (size - 1) ||
		    start.position >= DLOG_POSITION_END - rg->sb.ring_size -
					      (DLOG_BEYOND + 1) * size ||
		    dlog_mod(start.position >> shift, nr) != i)
			continue;
		if (any && start.position < last)
			continue;
		any = true;
		last = start.position;
		end->boot = start.boot;
		end->records = start.records;
		end->dropped = start.dropped;
	}
	if (any) {
		end->records += dlog_subbuf_count(
			ring + (size_t)dlog_mod(last >> shift, nr) * size, size,
			seed, last, &budget);
		end->next = last + size;
	}
	/*
	 * Writers that were stopped before their STARTs were complete, and
	 * others behind them: those sub-buffers are used too.  One for each
	 * context that can nest; one may hold nothing and the next something.
	 * A boot may have no START at all here: then the table tells it from
	 * the one before.
	 */
	last = end->next;
	for (uint32_t i = 0; i < DLOG_BEYOND; i++, last += size) {
		uint32_t count = dlog_subbuf_count(
			ring + (size_t)dlog_mod(last >> shift, nr) * size, size,
			seed, last, &budget);

		if (!count)
			continue;
		if (boot > end->boot && last >= dlog_boot_start(rg, boot, n)) {
			end->boot = boot;
			end->records = end->dropped = 0;
		}
		end->records += count;
		end->next = last + size;
	}
}

/* Heartbeats of @boot know of drops after the last START. */
DLOG_FN void dlog_ends_dropped(const struct dlog_region *rg, uint32_t boot,
			       struct dlog_ring_end *ends)
{
	for (uint32_t i = 0; i < rg->sb.nr_cpus; i++) {
		const struct dlog_cpu *c = dlog_region_cpu(rg, i);
		uint32_t ring = c->ring;

		if (boot && c->boot == boot && ring < rg->sb.nr_rings &&
		    ends[ring].boot == boot && c->dropped > ends[ring].dropped)
			ends[ring].dropped = c->dropped;
	}
}

/* What the producer knows of its own boot. */
struct dlog_boot_info {
	uint64_t time; /* guest clock now */
	uint64_t real; /* wall clock now, 0: not known */
	uint64_t kernel_text;
	uint8_t boot_id[16]; /* all zero: none */
	char release[64];
	char machine[16];
};

/* Is the entry of @boot in its slot, or with @boot 0 any entry at @slot? */
DLOG_INLINE bool dlog_boot_probe(const struct dlog_region *rg, uint32_t slot,
				 struct dlog_boot *copy)
{
	uint64_t off = rg->sb.boot_off + (uint64_t)slot * rg->sb.boot_stride;
	const uint8_t *p = rg->base + off;

	memcpy(copy, p, sizeof(*copy));
	return copy->size ==
		       sizeof(*copy) + rg->sb.nr_rings *
					       sizeof(struct dlog_boot_ring) &&
	       copy->boot && (copy->boot - 1) % rg->sb.boot_slots == slot &&
	       copy->check ==
		       dlog_object_check(p, copy->size,
					 dlog_region_seed(rg, DLOG_SEED_BOOT),
					 off);
}

/*
 * Number of the latest boot, 0: none.  Where each ring ended into @ends
 * (nr_rings of them), the latest entry of the boot table into *@last.  Reads
 * only, time linear in the number of sub-buffers.
 */
DLOG_FN uint32_t dlog_region_newest(const struct dlog_region *rg,
				    struct dlog_ring_end *ends,
				    struct dlog_boot *last)
{
	struct dlog_boot b;
	uint32_t newest;

	memset(last, 0, sizeof(*last));
	for (uint32_t i = 0; i < rg->sb.boot_slots; i++)
		if (dlog_boot_probe(rg, i, &b) && b.boot > last->boot)
			*last = b;
	newest = last->boot;
	for (uint32_t i = 0; i < rg->sb.nr_rings; i++) {
		dlog_ring_find_end(rg, i, last->boot, &ends[i]);
		/* A number far beyond the table's is nobody's. */
		if (ends[i].boot > newest &&
		    (!last->boot ||
		     ends[i].boot - last->boot <= rg->sb.boot_slots))
			newest = ends[i].boot;
	}
	return newest;
}

/*
 * Begin a boot: find where each ring ended (into @ends, nr_rings of them)
 * and write the boot table entry.  When info->boot_id names the boot that is
 * the latest in the table, that boot goes on (a driver loaded again) and
 * the entry stays.  Sets rg->boot.  Changes the boot table alone; the caller
 * then sets the status.  Task context, time linear in the number of
 * sub-buffers.  Returns true when the boot goes on.
 */
DLOG_FN bool dlog_region_begin(struct dlog_region *rg,
			       const struct dlog_boot_info *info,
			       struct dlog_ring_end *ends)
{
	static const uint8_t no_id[16];
	uint64_t seed = dlog_region_seed(rg, DLOG_SEED_BOOT);
	struct dlog_state *st = dlog_region_state(rg);
	struct dlog_boot b, last;
	uint64_t h, off;
	uint32_t newest = dlog_region_newest(rg, ends, &last);
	uint8_t *dst;

	dlog_ends_dropped(rg, newest, ends);
	if (last.boot == newest && newest &&
	    memcmp(info->boot_id, no_id, sizeof(no_id)) &&
	    !memcmp(info->boot_id, last.boot_id, sizeof(no_id))) {
		rg->boot = newest;
		for (uint32_t i = 0; i < rg->sb.nr_rings; i++)
			if (ends[i].boot != newest)
				ends[i].records = ends[i].dropped = 0;
		return true;
	}

	/* 2^32 boots: begin again rather than write a boot 0. */
	rg->boot = newest + 1 ? newest + 1 : 1;
	memset(&b, 0, sizeof(b));
	b.size = sizeof(b) + rg->sb.nr_rings * sizeof(struct dlog_boot_ring);
	b.boot = rg->boot;
	b.start_time = info->time;
	b.start_real = info->real;
	b.kernel_text = info->kernel_text;
	memcpy(b.boot_id, info->boot_id, sizeof(b.boot_id));
	memcpy(b.release, info->release, sizeof(b.release));
	memcpy(b.machine, info->machine, sizeof(b.machine));
	b.prev_boot = newest;
	if (newest && st->boot == newest) {
		b.prev_status = st->status;
		b.prev_status_time = st->status_time;
	}
	for (uint32_t i = 0; i < rg->sb.nr_cpus; i++) {
		struct dlog_cpu *c = dlog_region_cpu(rg, i);

		if (newest && c->boot == newest &&
		    c->beat_time > b.prev_beat_time)
			b.prev_beat_time = c->beat_time;
	}

	/* As dlog_object_put(), but the ring words come from @ends. */
	dst = (uint8_t *)dlog_boot_slot(rg, rg->boot);
	off = (uint64_t)(dst - rg->base);
	h = dlog_object_begin(dst, b.size, seed, off);
	h = dlog_object_words(dst + 8, h, (uint8_t *)&b + 8, sizeof(b) - 8);
	dst += sizeof(b);
	for (uint32_t i = 0; i < rg->sb.nr_rings; i++, dst += 24) {
		bool prev = ends[i].boot && ends[i].boot == newest;
		uint64_t records = prev ? ends[i].records : 0;
		uint64_t dropped = prev ? ends[i].dropped : 0;

		h = dlog_record_word(dst, h, ends[i].next);
		h = dlog_record_word(dst + 8, h, records);
		h = dlog_record_word(dst + 16, h, dropped);
		ends[i].records = ends[i].dropped = 0;
	}
	dlog_object_end(rg->base + off, h);
	return false;
}

/*
 * Prepare the writer of ring @n, which goes on where *@end says.  @local:
 * one CPU only; @fence: the mapping is write-combining.
 */
DLOG_FN void dlog_ring_init(struct dlog_ring *r, const struct dlog_region *rg,
			    uint32_t n, const struct dlog_ring_end *end,
			    bool local, bool fence)
{
	memset(r, 0, sizeof(*r));
	r->head = DLOG_RING_HEAD(end->records, end->next);
	r->records = end->records;
	r->dropped = end->dropped;
	r->base = rg->base + rg->sb.ring_off + n * rg->sb.ring_size;
	r->seed = dlog_region_seed(rg, n);
	r->size = rg->sb.ring_size;
	r->quick = local && !fence ? rg->sb.subbuf_size / 8 - 1 : 0;
	r->subbuf = rg->sb.subbuf_size;
	r->nr_subbufs = (uint32_t)(rg->sb.ring_size >>
				   __builtin_ctz(rg->sb.subbuf_size));
	dlog_ring_new_lap(r, end->next);
	r->boot = rg->boot;
	r->local = local;
	r->fence = fence;
}

/* Status and boot change in one store; the time goes before. */
DLOG_INLINE void dlog_region_status(const struct dlog_region *rg,
				    enum dlog_status status, uint64_t time)
{
	struct dlog_state *st = dlog_region_state(rg);

	dlog_put64(&st->status_time, time);
	dlog_put64(&st->status, (uint64_t)rg->boot << 32 | status);
}

/*
 * Before the clock is read for a heartbeat.  Who sees this store, and then
 * that of beat_time, knows that the clock showed beat_time in between.
 */
DLOG_FN void dlog_region_beat_begin(const struct dlog_region *rg, uint32_t cpu)
{
	struct dlog_cpu *c = dlog_region_cpu(rg, cpu);

	if (c)
		dlog_put32(&c->begun,
			   c->boot != rg->boot ? 1 : (uint32_t)c->beats + 1);
}

/* Heartbeat of @cpu, whose records go to ring number @ring, writer *@r. */
DLOG_FN void dlog_region_beat(const struct dlog_region *rg, uint32_t cpu,
			      uint32_t ring, const struct dlog_ring *r,
			      uint64_t time, bool online)
{
	struct dlog_cpu *c = dlog_region_cpu(rg, cpu);
	uint64_t position, records;
	bool first;

	if (!c)
		return;
	first = c->boot != rg->boot;
	dlog_ring_tell(r, &position, &records);
	dlog_put64(&c->beats, first ? 1 : c->beats + 1);
	dlog_put64(&c->position, position);
	dlog_put64(&c->records, records);
	dlog_put64(&c->dropped, dlog_read64(&r->dropped));
	dlog_put32(&c->boot, rg->boot);
	dlog_put32(&c->ring, ring);
	dlog_put32(&c->online, online);
	dlog_put64(&c->beat_time, time);
}

/* Clock pair of this boot; @n counts calls, even and odd slots in turn. */
DLOG_FN void dlog_region_clock(const struct dlog_region *rg, uint32_t n,
			       uint64_t guest, uint64_t real, uint64_t error)
{
	uint64_t off =
		rg->sb.clock_off +
		((uint64_t)((rg->boot - 1) % rg->sb.boot_slots) * 2 + (n & 1)) *
			sizeof(struct dlog_clock);
	struct dlog_clock c = {
		.boot = rg->boot,
		.guest = guest,
		.real = real,
		.error = error,
	};

	dlog_object_put(rg->base + off, &c, sizeof(c),
			dlog_region_seed(rg, DLOG_SEED_CLOCK), off);
}

/*
 * Registers of head->cpu: *@head with size, boot, check filled in here, then
 * @prstatus.  Returns -ENOENT when the region has no slot for this CPU,
 * -EMSGSIZE when it is too small.
 */
DLOG_FN int dlog_region_regs(const struct dlog_region *rg,
			     const struct dlog_regs *head, const void *prstatus,
			     uint32_t prstatus_size)
{
	uint64_t seed = dlog_region_seed(rg, DLOG_SEED_REGS);
	struct dlog_regs r = *head;
	uint64_t off, h;
	uint8_t *dst;

	if (r.cpu >= rg->sb.nr_cpus)
		return -ENOENT;
	r.size = sizeof(r) + prstatus_size;
	if (prstatus_size % 8 || r.size > rg->sb.regs_stride)
		return -EMSGSIZE;
	r.boot = rg->boot;
	r.prstatus_size = prstatus_size;
	off = rg->sb.regs_off + (uint64_t)r.cpu * rg->sb.regs_stride;
	dst = rg->base + off;
	h = dlog_object_begin(dst, r.size, seed, off);
	h = dlog_object_words(dst + 8, h, (uint8_t *)&r + 8, sizeof(r) - 8);
	h = dlog_object_words(dst + sizeof(r), h, prstatus, prstatus_size);
	dlog_object_end(dst, h);
	return 0;
}

/*
 * The catalog is one stream of records that never wraps.  Its position is
 * the offset in the region.  One task at a time.
 */

/* One of its records.  Zeroed, it stands before the first. */
struct dlog_catalog_item {
	uint64_t next; /* offset in the catalog of what is behind it */
	const uint8_t *data; /* in the region */
	uint32_t type, len;
};

/*
 * Step to the next record, past open ones.  At the end false, and it->next is
 * where the next record is to be appended.
 */
DLOG_FN bool dlog_catalog_next(const struct dlog_region *rg,
			       struct dlog_catalog_item *it)
{
	const uint8_t *cat = rg->base + rg->sb.catalog_off;
	uint64_t seed = dlog_region_seed(rg, DLOG_SEED_CATALOG);

	while (it->next + DLOG_HDR <= rg->sb.catalog_size) {
		uint64_t off = it->next, room = rg->sb.catalog_size - off;
		uint32_t top = dlog_load32(cat + off + 4), size;
		enum dlog_record_state s;

		s = dlog_record_probe(cat + off,
				      room < 65536 + DLOG_HDR
					      ? (uint32_t)room
					      : 65536 + DLOG_HDR,
				      seed, rg->sb.catalog_off + off, &size);
		if (s == DLOG_RECORD_NONE)
			break;
		it->next += size;
		if (s == DLOG_RECORD_OPEN)
			continue;
		it->data = cat + off + DLOG_HDR;
		it->type = top >> 16;
		it->len = top & 0xffff;
		return true;
	}
	return false;
}

/*
 * Append a record at it->next, where dlog_catalog_next() ended, and step
 * behind it.  Returns 0, -EMSGSIZE, or -ENOSPC when the catalog is full.
 */
DLOG_FN int dlog_catalog_append(const struct dlog_region *rg,
				struct dlog_catalog_item *it, uint64_t time,
				uint32_t type, const void *data, uint32_t len)
{
	if (len > 65528)
		return -EMSGSIZE;
	if (it->next + DLOG_REC_SIZE(len) > rg->sb.catalog_size)
		return -ENOSPC;
	dlog_record_write(rg->base + rg->sb.catalog_off + it->next,
			  dlog_region_seed(rg, DLOG_SEED_CATALOG),
			  rg->sb.catalog_off + it->next, type, time, false, 0,
			  data, len);
	it->next += DLOG_REC_SIZE(len);
	return 0;
}

/*
 * Data of an event type: @name, @fields ("u32 pid; char comm[16]"), and
 * @format or NULL, into @buf.  Returns its length, -EINVAL for the name,
 * -EMSGSIZE.
 */
DLOG_FN int dlog_event_type_pack(const char *name, const char *fields,
				 const char *format, void *buf,
				 uint32_t buf_size)
{
	const char *s[3] = { name, fields, format };
	struct dlog_event_type *e = buf;
	uint32_t len[3] = { 0 }, at = sizeof(*e);

	for (uint32_t i = 0; i < 3 && s[i]; i++) {
		while (s[i][len[i]])
			if (++len[i] > 65528)
				return -EMSGSIZE;
		len[i]++;
		if (i == 0 && (len[i] < 2 || len[i] > 256))
			return -EINVAL;
		if (len[i] > buf_size - at || len[i] > 65528 - at)
			return -EMSGSIZE;
		memcpy((uint8_t *)buf + at, s[i], len[i]);
		at += len[i];
	}
	e->name_len = (uint16_t)len[0];
	e->fields_len = (uint16_t)len[1];
	e->format_len = len[2];
	return (int)at;
}

/*
 * Add an event type unless the same is there already; @buf is scratch of at
 * least sizeof(dlog_event_type) + all strings.  Returns the id, -ENOSPC when
 * the catalog is full, or what dlog_event_type_pack() returns.
 */
DLOG_FN int dlog_catalog_add(const struct dlog_region *rg, uint64_t time,
			     const char *name, const char *fields,
			     const char *format, void *buf, uint32_t buf_size)
{
	int len = dlog_event_type_pack(name, fields, format, buf, buf_size);
	struct dlog_catalog_item it = { 0 };
	uint32_t id = 0;

	if (len < 0)
		return len;
	while (dlog_catalog_next(rg, &it)) {
		if (DLOG_TYPE_KIND(it.type) != DLOG_KIND_EVENT_TYPE)
			continue;
		if (it.len == (uint32_t)len && !memcmp(it.data, buf, it.len))
			return (int)DLOG_TYPE_ARG(it.type);
		if (DLOG_TYPE_ARG(it.type) > id)
			id = DLOG_TYPE_ARG(it.type);
	}
	if (id >= DLOG_EVENT_MAX)
		return -ENOSPC;
	id++;
	len = dlog_catalog_append(rg, &it, time,
				  DLOG_TYPE(DLOG_KIND_EVENT_TYPE, id), buf,
				  (uint32_t)len);
	return len ? len : (int)id;
}

#endif
