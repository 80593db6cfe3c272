/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dlog_ring.h - the ring writer.
 *
 * One source for the Linux driver, bare-metal clients, the hypervisor, the
 * QEMU plugin and user-space tests.  Relies on dlog_record.h alone.
 *
 * Data structure
 * --------------
 * A ring is a circle of nr_subbufs sub-buffers of subbuf_size bytes (a power
 * of two).  Its stream of records is endless: a record's *position* is its
 * byte offset in that stream and never wraps; sub-buffer number
 * position / subbuf_size lies in slot number % nr_subbufs.  Each sub-buffer
 * begins with a START record that names its position, the boot, and how many
 * records this boot reserved before it.  A record never crosses a
 * sub-buffer; what it does not fit into is left as it was.
 *
 * The *head* is one 64-bit word in the producer's own memory:
 *
 *      63             48 47                                     0
 *     +-----------------+----------------------------------------+
 *     | records & 65535 | next free position / 8                 |
 *     +-----------------+----------------------------------------+
 *
 * Position and count change in one compare-exchange of one sum: a count that
 * overflows falls off the top.  So the count stored in a START is exact, and
 * the reader can tell exactly how many records an overwritten or damaged
 * stretch held.
 *
 * Beside it *lap* spares each append a division: the position at which a
 * recent lap began.  position - lap is the offset in the ring if it is less
 * than the ring's size.  Contexts store it without a care for each other: an
 * old value, or a newer one, is out of range and costs the division.
 *
 * How writers use it
 * ------------------
 *	reserve   read head; compute where the record goes: here, or behind
 *	          the START of the next sub-buffer; compare-exchange (R).
 *	          A failure means that another context has appended meanwhile:
 *	          start again.  What nearly every append meets (a private ring,
 *	          room, nobody meanwhile) is inlined; the rest is a function.
 *	switch    whoever's reservation entered a new sub-buffer owns its
 *	          START and writes it, with the same stores as any record.
 *	write     word 0 with the open check (A); word 1 and data (B).
 *	commit    the full check (D), the store that makes it valid.
 *
 * Between R and D a writer may be interrupted by any context of its CPU, or
 * stop for ever.  Nobody waits for it: later writers reserve behind it, a
 * lap later its sub-buffer is entered and reused like any other.  A writer
 * stopped between R and A leaves bytes that prove nothing; between A and D
 * it leaves an *open* record, which proves where it is and how long, and the
 * reader counts it as torn.  If it stopped before its START was complete,
 * the records of other contexts behind it still prove themselves: their
 * check is seeded with their position, and the position of a sub-buffer
 * without START follows from its neighbours.
 *
 * A writer that is stopped for a whole lap and then goes on writes into a
 * sub-buffer that others reuse meanwhile.  It may destroy records there; it
 * can not forge any, since its stores belong to another position.  On a
 * private ring (one CPU and its own interrupts) this cannot destroy anything
 * committed later: what interrupted it has to end before it goes on, so a
 * whole lap within one interrupt is needed.
 *
 * A context stopped while it enters a sub-buffer leaves that one without a
 * valid START.  As long as the ring has more sub-buffers than contexts that
 * can stop so at once, some START is valid, and from it reader and adoption
 * find the newest records: they look eight sub-buffers beyond.  A private
 * ring meets that always (task, softirq, hardirq, NMI, machine check; at
 * least 8 sub-buffers).  On a ring that many CPUs share, nine of them would
 * have to stop within the few instructions between R and the START's D.
 * docs/model.md shows the bounds.
 *
 * How readers use it
 * ------------------
 * A reader copies a sub-buffer and believes what proves itself in the copy.
 * A record that was overwritten while it was copied does not verify.  So
 * there is no reader side to synchronise with and no ABA problem: the
 * position takes part in the check and never comes again.
 *
 * Barriers
 * --------
 *	label  where                     pairs with       what it orders
 *	R      cas of head               other R          relaxed: one word of
 *	                                                  one CPU (or of those
 *	                                                  that share the ring)
 *	A      put64, word 0             -                after R by data
 *	                                                  dependency
 *	B      put64, word 1, data       -                volatile, program order
 *	D      put32_release, check      reader's copy    B before D: a reader
 *	                                                  that sees D sees B;
 *	                                                  without it the check
 *	                                                  would fail, so order
 *	                                                  spares retries, the
 *	                                                  check gives safety
 *	F      dlog_ring_fence, after D  -                write-combining only:
 *	                                                  empties the CPU's
 *	                                                  buffers, so that D is
 *	                                                  in memory when append
 *	                                                  returns
 *
 * Bounds: no loop but R's, whose every retry is paid for by an append of
 * another context that has succeeded, and the copy.  No allocation, no lock,
 * no load from the region.
 *
 * Usage
 * -----
 *	struct dlog_ring ring;
 *
 *	dlog_region_open(&rg, base, size);           (dlog_region.h)
 *	dlog_region_begin(&rg, &info, ...);
 *	dlog_ring_init(&ring, &rg, 0, &ends[0], true, false);
 *	dlog_ring_append(&ring, DLOG_TYPE(DLOG_KIND_TEXT, DLOG_PRI(0, 6)),
 *			 now, text, len);
 */
#ifndef DLOG_RING_H
#define DLOG_RING_H

#include "dlog_record.h"

/*
 * The producer's side of one ring.  head, records, lap and dropped change
 * while it is used; the rest is constant.  Private to one CPU (@local) or
 * shared by several: then head is changed with a locked instruction.
 */
struct dlog_ring {
	dlog_word head; /* see above */
	dlog_word records; /* full count at a recent switch */
	dlog_word lap; /* position at which a recent lap began */
	dlog_word dropped; /* records that could not be taken */
	uint8_t *base; /* of the ring in the region */
	uint64_t seed;
	uint64_t size; /* of the ring, bytes */
	uint64_t quick; /* units of a sub-buffer, less 1; 0: no quick path */
	uint32_t subbuf; /* size of a sub-buffer, bytes */
	uint32_t nr_subbufs;
	uint32_t boot;
	bool local;
	bool fence; /* write-combining mapping */
} __attribute__((aligned(128))); /* shares no pair of cache lines */

DLOG_ASSERT(sizeof(struct dlog_ring) == 128);

#define DLOG_RING_COUNT(head) ((head) >> 48)
#define DLOG_RING_POSITION(head) ((head) << 16 >> 13)
#define DLOG_RING_HEAD(count, position)                                        \
	((uint64_t)(count) << 48 | (position) >> 3)

DLOG_ASSERT(DLOG_POSITION_END == UINT64_C(8) << 48);

/* Longest data of a record in sub-buffers of @subbuf_size bytes. */
DLOG_INLINE uint32_t dlog_ring_max_len(uint32_t subbuf_size)
{
	return subbuf_size - DLOG_START_SIZE - DLOG_HDR;
}

/* n % m for m below 2^31, bit by bit. */
DLOG_INLINE uint32_t dlog_mod_bits(uint64_t n, uint32_t m)
{
	uint32_t rest = 0;

	for (int i = 63; i >= 0; i--) {
		rest = rest << 1 | (uint32_t)(n >> i & 1);
		if (rest >= m)
			rest -= m;
	}
	return rest;
}

/* n % m for m below 2^31; 32-bit code has no 64-bit division. */
DLOG_INLINE uint32_t dlog_mod(uint64_t n, uint32_t m)
{
#if __SIZEOF_POINTER__ >= 8
	return (uint32_t)(n % m);
#else
	return dlog_mod_bits(n, m);
#endif
}

/* The division that dlog_ring_at() spares itself within a lap. */
DLOG_COLD uint64_t dlog_ring_new_lap(struct dlog_ring *r, uint64_t position)
{
	uint32_t shift = (uint32_t)__builtin_ctz(r->subbuf);
	uint64_t slot = dlog_mod(position >> shift, r->nr_subbufs);
	uint64_t off = slot << shift | (position & (r->subbuf - 1));

	dlog_write64(&r->lap, position - off);
	return off;
}

/*
 * Region address of a position.  Whatever lap some context has stored last,
 * the answer is right: a position of another lap is out of its range.
 */
DLOG_INLINE uint8_t *dlog_ring_at(struct dlog_ring *r, uint64_t position)
{
	uint64_t off = position - dlog_read64(&r->lap);

	if (dlog_unlikely(off >= r->size))
		off = dlog_ring_new_lap(r, position);
	return r->base + (size_t)off;
}

/* Full record count that @low are the low 16 bits of. */
DLOG_INLINE uint64_t dlog_ring_extend(uint64_t near, uint64_t low)
{
	return near + (uint64_t)(int64_t)(int16_t)(uint16_t)(low - near);
}

DLOG_INLINE void dlog_ring_fence(const struct dlog_ring *r)
{
	if (dlog_unlikely(r->fence)) {
#if defined(__x86_64__) || defined(__SSE__)
		__asm__ volatile("sfence" ::: "memory"); /* F */
#else
		__atomic_thread_fence(__ATOMIC_SEQ_CST); /* F */
#endif
	}
}

DLOG_INLINE void dlog_ring_drop(struct dlog_ring *r)
{
	uint64_t old = dlog_read64(&r->dropped);

	while (!dlog_cas64(&r->dropped, &old, old + 1, r->local))
		;
}

/*
 * Write the START of the sub-buffer that begins at @position, in which @old
 * is the head that the reservation replaced.  @near is the counter
 * r->records as it was before R; it lags behind the head by at most the
 * records of one sub-buffer for each context that is between its R and the
 * loop below: far from the 32768 that dlog_ring_extend() can bridge.
 */
DLOG_FN void dlog_ring_switch(struct dlog_ring *r, uint64_t position,
			      uint64_t old, uint64_t near, uint64_t time)
{
	uint64_t full = dlog_ring_extend(near, DLOG_RING_COUNT(old));
	struct dlog_start start = {
		.position = position,
		.records = full,
		.boot = r->boot,
		.dropped = (uint32_t)dlog_read64(&r->dropped),
	};

	while (near < full && !dlog_cas64(&r->records, &near, full, r->local))
		;
	dlog_record_write(dlog_ring_at(r, position), r->seed, position,
			  DLOG_TYPE(DLOG_KIND_START, 0), time, false, 0, &start,
			  sizeof(start));
}

/*
 * Take room for a record of @len bytes of data, against other contexts, and
 * in the next sub-buffer when this one has none, whose START is then written.
 * Its position in *@position; it is the caller's to write.
 */
DLOG_FN int dlog_ring_reserve(struct dlog_ring *r, uint64_t time, size_t len,
			      uint64_t *position)
{
	uint64_t need = ((uint64_t)len + DLOG_HDR + 7) & ~UINT64_C(7);
	uint64_t old = dlog_read64(&r->head), at, room, near = 0;

	if (need > r->subbuf - DLOG_START_SIZE) {
		dlog_ring_drop(r);
		return -EMSGSIZE;
	}
	do {
		at = DLOG_RING_POSITION(old);
		room = -at & (r->subbuf - 1);
		if (need > room) {
			at += room;
			near = dlog_read64(&r->records);
			if (at + r->subbuf >= DLOG_POSITION_END) {
				dlog_ring_drop(r);
				return -ENOSPC;
			}
			at += DLOG_START_SIZE;
		}
	} while (
		!dlog_cas64(&r->head, &old,
			    DLOG_RING_HEAD(DLOG_RING_COUNT(old) + 1, at + need),
			    r->local)); /* R */
	if (need > room)
		dlog_ring_switch(r, at - DLOG_START_SIZE, old, near, time);
	*position = at;
	return 0;
}

/* Any append. */
DLOG_FN int dlog_ring_put_any(struct dlog_ring *r, uint32_t type, uint64_t time,
			      bool tagged, uint32_t tag, const void *data,
			      size_t len)
{
	uint64_t at;
	int ret = dlog_ring_reserve(r, time, len, &at);

	if (ret)
		return ret;
	dlog_record_write(dlog_ring_at(r, at), r->seed, at, type, time, tagged,
			  tag, data, len);
	dlog_ring_fence(r);
	return 0;
}

/*
 * What nearly every append comes to: a private ring, room in the sub-buffer
 * and no other context meanwhile.  False: nothing was done.
 */
DLOG_INLINE bool dlog_ring_put_quick(struct dlog_ring *r, uint32_t type,
				     uint64_t time, bool tagged, uint32_t tag,
				     const void *data, size_t len)
{
	uint64_t units = ((uint64_t)len + DLOG_HDR + 7) / 8;
	uint64_t old = dlog_read64(&r->head);
	uint64_t at = DLOG_RING_POSITION(old);
	uint64_t off = at - dlog_read64(&r->lap);

	if (dlog_unlikely(units > (-old & r->quick)) ||
	    dlog_unlikely(off >= r->size) ||
	    dlog_unlikely(!dlog_cas64(&r->head, &old,
				      old + units + DLOG_RING_HEAD(1, 0),
				      true))) /* R */
		return false;
	dlog_record_write(r->base + (size_t)off, r->seed, at, type, time,
			  tagged, tag, data, len);
	return true;
}

/* dlog_ring_append() with both forms of data; see there. */
DLOG_INLINE int dlog_ring_put(struct dlog_ring *r, uint32_t type, uint64_t time,
			      bool tagged, uint32_t tag, const void *data,
			      size_t len)
{
	if (dlog_likely(
		    dlog_ring_put_quick(r, type, time, tagged, tag, data, len)))
		return 0;
	return dlog_ring_put_any(r, type, time, tagged, tag, data, len);
}

/*
 * Append a record of @len bytes.  @type is DLOG_TYPE(kind, arg), @time the
 * producer's clock in ns.  Returns 0, -EMSGSIZE when no sub-buffer can hold
 * it or -ENOSPC at the end of the stream (both counted as dropped).  Any
 * context, NMI included; on a private ring the caller stays on its CPU.
 */
DLOG_INLINE int dlog_ring_append(struct dlog_ring *r, uint32_t type,
				 uint64_t time, const void *data, size_t len)
{
	return dlog_ring_put(r, type, time, false, 0, data, len);
}

/* The same with four bytes before @data; @len counts @data alone. */
DLOG_INLINE int dlog_ring_append_tagged(struct dlog_ring *r, uint32_t type,
					uint64_t time, uint32_t tag,
					const void *data, size_t len)
{
	return dlog_ring_put(r, type, time, true, tag, data, len + 4);
}

/* End of what is reserved, and records reserved in this boot. */
DLOG_INLINE void dlog_ring_tell(const struct dlog_ring *r, uint64_t *position,
				uint64_t *records)
{
	uint64_t near = dlog_read64(&r->records);
	uint64_t head = dlog_read64(&r->head);

	*position = DLOG_RING_POSITION(head);
	*records = dlog_ring_extend(near, DLOG_RING_COUNT(head));
}

#endif
