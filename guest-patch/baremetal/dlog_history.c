// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * dlog_history.c - what a boot before has said; see dlog_client_history().
 *
 * The region's bytes are not trusted, and others may write them meanwhile: a
 * length is read once and never leads out of its sub-buffer.
 */
#include "dlog_client.h"

/* Where one ring stands. */
struct cursor {
	uint64_t position, end; /* of the sub-buffer that is read */
	uint64_t seed, time;
	uint32_t off, size; /* of the record in it */
	uint32_t head; /* its type and length */
	uint32_t found;
};

DLOG_ASSERT(sizeof(struct cursor) == DLOG_CLIENT_HISTORY(1));

static uint8_t *at(const struct dlog_region *rg, uint32_t n, uint64_t position)
{
	const struct dlog_superblock *sb = &rg->sb;
	uint32_t shift = (uint32_t)__builtin_ctz(sb->subbuf_size);
	uint32_t nr = (uint32_t)(sb->ring_size >> shift);

	return rg->base + sb->ring_off + n * sb->ring_size +
	       ((uint64_t)dlog_mod(position >> shift, nr) << shift);
}

/* To the next committed record behind the one the cursor is on. */
static void advance(const struct dlog_region *rg, uint32_t n, uint32_t boot,
		    struct cursor *c, uint32_t *budget)
{
	uint32_t size = rg->sb.subbuf_size;

	struct dlog_start st;

	c->off += c->size;
	c->found = false;
	for (; c->position < c->end; c->position += size, c->off = 0) {
		uint8_t *p = at(rg, n, c->position);
		enum dlog_record_state s;

		/* Another boot's: this one has no table entry. */
		if (!c->off && dlog_start_probe(p, c->seed, &st) &&
		    st.position == c->position && st.boot != boot)
			continue;
		do {
			s = dlog_subbuf_next(p, size, c->seed, c->position,
					     &c->off, &c->size, budget);
			if (s == DLOG_RECORD_FULL) {
				c->head = dlog_load32(p + c->off + 4);
				c->time = dlog_load64(p + c->off + 8);
				c->found = true;
				return;
			}
			c->off += c->size;
		} while (s == DLOG_RECORD_OPEN);
	}
}

static void start(const struct dlog_region *rg, uint32_t n, uint32_t boot,
		  struct cursor *c, uint32_t *budget)
{
	uint64_t live = rg->sb.ring_size;
	struct dlog_ring_end end;
	struct dlog_boot b;
	bool in_table = dlog_boot_probe(rg, (boot - 1) % rg->sb.boot_slots,
					&b) &&
			b.boot == boot;

	dlog_ring_find_end(rg, n, in_table ? boot : 0, &end);
	memset(c, 0, sizeof(*c));
	c->seed = dlog_region_seed(rg, n);
	c->end = end.next;
	if (in_table)
		c->position = dlog_boot_start(rg, boot, n);
	/* The next boot's entry says where this one ended. */
	if (dlog_boot_probe(rg, boot % rg->sb.boot_slots, &b) &&
	    b.boot == boot + 1 && dlog_boot_start(rg, boot + 1, n) < c->end)
		c->end = dlog_boot_start(rg, boot + 1, n);
	if (c->position & (rg->sb.subbuf_size - 1) || c->position > c->end)
		c->position = c->end;
	/* Older ones have been overwritten. */
	if (end.next > live && c->position < end.next - live)
		c->position = end.next - live;
	advance(rg, n, boot, c, budget);
}

static void
tell(const struct dlog_region *rg, uint32_t n, const struct cursor *c,
     void (*line)(void *arg, uint64_t time, const void *text, size_t len),
     void *arg)
{
	const uint8_t *p = at(rg, n, c->position) + c->off;
	uint32_t kind = DLOG_TYPE_KIND(c->head >> 16), len = c->head & 0xffff;
	uint32_t skip = kind == DLOG_KIND_PRINTK ? 4 : 0;

	if (kind != DLOG_KIND_PRINTK && kind != DLOG_KIND_TEXT &&
	    kind != DLOG_KIND_STATE)
		return;
	if (len > skip && len <= c->size - DLOG_HDR)
		line(arg, c->time, p + DLOG_HDR + skip, len - skip);
}

int dlog_client_history(const struct dlog_client *c, uint32_t boot,
			void *memory, size_t bytes,
			void (*line)(void *arg, uint64_t time, const void *text,
				     size_t len),
			void *arg)
{
	const struct dlog_region *rg = &c->region;
	uint32_t n = rg->sb.nr_rings, budget = 64u << 20;
	struct cursor *cursor = memory;

	if (!n || !boot)
		return -EINVAL;
	if (bytes / sizeof(*cursor) < n)
		return -ENOSPC;
	for (uint32_t i = 0; i < n; i++)
		start(rg, i, boot, &cursor[i], &budget);
	for (;;) {
		uint32_t best = n;

		for (uint32_t i = 0; i < n; i++)
			if (cursor[i].found &&
			    (best == n || cursor[i].time < cursor[best].time))
				best = i;
		if (best == n)
			return 0;
		tell(rg, best, &cursor[best], line, arg);
		advance(rg, best, boot, &cursor[best], &budget);
	}
}
