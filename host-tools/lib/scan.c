// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * scan.c - from bytes to records: one sub-buffer, and where a ring's live
 * sub-buffers are.
 *
 * Work is linear in the bytes looked at, whatever they are.  The undamaged
 * path hashes each record once.  The first offset at which nothing verifies
 * computes the prefix hashes of the whole copy; from then on every offset
 * costs a few multiplications however long a record it claims to hold.
 *
 * Relies on the check being a polynomial: with P[0] = 0 and
 * P[i + 1] = P[i] * K + mix(w[i]), the hash over n words from word i that
 * starts from h is h * K^n + P[i + n] - P[i] * K^n.
 */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* Powers of K from 0 to the words of the longest record and its header. */
void dlog_scan_powers(uint64_t *power)
{
	power[0] = 1;
	for (uint32_t i = 1; i < DLOG_POWERS; i++)
		power[i] = power[i - 1] * DLOG_HASH_K;
}

static void scan_prefix(struct dlog_scan *s)
{
	uint64_t h = 0;

	s->prefix[0] = 0;
	for (uint32_t i = 0; i < s->size / 8; i++) {
		h = dlog_hash_word(h, dlog_load64(s->p + i * 8));
		s->prefix[i + 1] = h;
	}
	s->ready = true;
}

/* Hash over @n words from word @i on, started from @h. */
static uint64_t scan_range(const struct dlog_scan *s, uint64_t h, uint32_t i,
			   uint32_t n)
{
	return (h - s->prefix[i]) * s->power[n] + s->prefix[i + n];
}

enum dlog_record_state dlog_scan_probe(struct dlog_scan *s, uint32_t off,
				       uint32_t *size)
{
	uint32_t check, top, need;
	uint64_t w0, h;

	if (!s->ready) {
		enum dlog_record_state state;

		state = dlog_record_probe(s->p + off, s->size - off, s->seed,
					  s->base + off, size);
		if (state == DLOG_RECORD_NONE)
			scan_prefix(s);
		return state;
	}
	w0 = dlog_load64(s->p + off);
	check = (uint32_t)w0;
	top = (uint32_t)(w0 >> 32);
	need = DLOG_REC_SIZE(top & 0xffff);
	if (!(top >> 16) || need > s->size - off)
		return DLOG_RECORD_NONE;
	*size = need;
	h = dlog_hash_start(s->seed, s->base + off, top);
	if (check == dlog_hash_open(h))
		return DLOG_RECORD_OPEN;
	h = scan_range(s, h, off / 8 + 1, need / 8 - 1);
	return check == dlog_hash_final(h) ? DLOG_RECORD_FULL
					   : DLOG_RECORD_NONE;
}

/* ---- a ring ---- */

static void sub_exit(struct dlog_sub *s)
{
	free(s->copy);
	free(s->rec);
}

static int sub_init(struct dlog_sub *s, uint32_t subbuf_size)
{
	s->copy = malloc(subbuf_size + DLOG_START_SIZE);
	s->rec = malloc(subbuf_size / DLOG_HDR * sizeof(*s->rec));
	return s->copy && s->rec ? 0 : -ENOMEM;
}

int dlog_view_init(struct dlog_view *v, struct dlog *d, uint32_t ring)
{
	memset(v, 0, sizeof(*v));
	v->d = d;
	v->ring = ring;
	v->seed = dlog_seed(d, ring);
	v->off = d->sb.ring_off + ring * d->sb.ring_size;
	if (sub_init(&v->sub[0], d->sb.subbuf_size) ||
	    sub_init(&v->sub[1], d->sb.subbuf_size)) {
		dlog_view_exit(v);
		return -ENOMEM;
	}
	return 0;
}

void dlog_view_exit(struct dlog_view *v)
{
	sub_exit(&v->sub[0]);
	sub_exit(&v->sub[1]);
	memset(v->sub, 0, sizeof(v->sub));
}

uint64_t dlog_view_offset(const struct dlog_view *v, uint64_t position)
{
	return v->off + position % v->d->sb.ring_size;
}

/* Position that the START in @p proves for slot number @slot, or -1. */
static uint64_t start_position(const struct dlog_view *v, const uint8_t *p,
			       uint64_t slot, struct dlog_start *start)
{
	uint32_t size = v->d->sb.subbuf_size;

	if (!dlog_start_probe(p, v->seed, start) || start->position % size ||
	    start->position >= DLOG_POSITION_END ||
	    start->position / size % v->d->nr_subbufs != slot)
		return UINT64_MAX;
	return start->position;
}

uint64_t dlog_view_start(const struct dlog_view *v, uint64_t position,
			 struct dlog_start *start)
{
	uint32_t size = v->d->sb.subbuf_size;
	uint8_t p[DLOG_START_SIZE];

	if (dlog_fetch(v->d, dlog_view_offset(v, position), p, sizeof(p)))
		return UINT64_MAX;
	return start_position(v, p, position / size % v->d->nr_subbufs, start);
}

static bool all_zero(const uint8_t *p, uint32_t n)
{
	return !n || (!*p && !memcmp(p, p + 1, n - 1));
}

/* Find the records in s->copy; s->start and s->next are known. */
static void sub_walk(const struct dlog_view *v, struct dlog_sub *s)
{
	uint32_t size = v->d->sb.subbuf_size;
	uint32_t expect = UINT32_MAX, off, end, n = 0;
	struct dlog_scan scan = {
		.p = s->copy,
		.size = size,
		.seed = v->seed,
		.base = s->position,
		.power = v->d->power,
		.prefix = v->d->prefix,
	};

	/* A START takes its room also when it is not there. */
	off = end = DLOG_START_SIZE;
	if (s->closed && s->next.records - s->start.records <= size / DLOG_HDR)
		expect = (uint32_t)(s->next.records - s->start.records);
	while (off + DLOG_HDR <= size && s->full + s->open < expect) {
		enum dlog_record_state st = dlog_scan_probe(&scan, off, &n);

		if (st == DLOG_RECORD_NONE) {
			off += 8;
			continue;
		}
		if (off > end) {
			s->holes++;
			s->zero_holes += all_zero(s->copy + end, off - end);
			s->hole_bytes += off - end;
		}
		if (st == DLOG_RECORD_OPEN) {
			s->rec[s->nr++] = off | DLOG_SUB_OPEN;
			s->open++;
			s->open_bytes += n;
		} else {
			uint32_t type = dlog_load32(s->copy + off + 4) >> 16;

			s->full_bytes += n;
			/* Nobody but an attacker writes a START here. */
			if (DLOG_TYPE_KIND(type) != DLOG_KIND_START) {
				s->rec[s->nr++] = off;
				s->full++;
			}
		}
		off += n;
		end = off;
	}
	s->tail = end;
}

/*
 * Read the sub-buffer at @position into @s and find its records.  0 or a
 * negative errno; a sub-buffer that holds nothing is not an error.
 *
 * The copy is in ascending order, the next START last: whoever wrote that
 * START had reserved everything in this sub-buffer before.  This START is
 * read again after the copy: if it has changed, a writer has come round and
 * what is missing was overwritten, not damaged.
 */
int dlog_sub_load(const struct dlog_view *v, uint64_t position,
		  struct dlog_sub *s)
{
	uint32_t size = v->d->sb.subbuf_size;
	uint64_t slot = position / size % v->d->nr_subbufs;
	uint64_t next_slot = (slot + 1) % v->d->nr_subbufs;
	uint64_t off = dlog_view_offset(v, position), q;
	uint32_t whole = next_slot ? size + DLOG_START_SIZE : size;
	struct dlog_start other;
	uint8_t again[DLOG_START_SIZE];
	int ret;

	*s = (struct dlog_sub){ .position = position,
				.copy = s->copy,
				.rec = s->rec,
				.tail = DLOG_START_SIZE };
	ret = dlog_fetch(v->d, off, s->copy, whole);
	if (!ret && !next_slot)
		ret = dlog_fetch(v->d, v->off, s->copy + size, DLOG_START_SIZE);
	if (!ret)
		ret = dlog_fetch(v->d, off, again, sizeof(again));
	if (ret)
		return ret;

	q = start_position(v, s->copy, slot, &s->start);
	s->started = q == position;
	if (s->started)
		s->start_time = dlog_load64(s->copy + 8);
	s->next_started = start_position(v, s->copy + size, next_slot,
					 &s->next) == position + size;
	s->closed = s->started && s->next_started &&
		    s->next.boot == s->start.boot &&
		    s->next.records >= s->start.records;
	if (memcmp(again, s->copy, sizeof(again))) {
		if (s->started)
			s->lapped = true;
		q = start_position(v, again, slot, &other);
	}
	if (q != UINT64_MAX && q > position) {
		s->lapped = true;
		s->newer = q;
		if (!s->started)
			return 0;
	}
	sub_walk(v, s);
	return 0;
}

uint32_t dlog_sub_boot(const struct dlog_view *v, const struct dlog_sub *s,
		       uint32_t before)
{
	const struct dlog_table *t = &v->d->table;
	uint32_t boot = before;

	if (s->started && s->start.boot)
		return s->start.boot;
	/* Boots go forward: the latest that had begun at this position. */
	for (uint32_t i = t->nr; i--;) {
		uint64_t start =
			t->ring[(size_t)i * v->d->sb.nr_rings + v->ring].start;

		if (t->entry[i].boot <= boot)
			break;
		if (start <= s->position) {
			boot = t->entry[i].boot;
			break;
		}
	}
	return boot;
}

/* Does the sub-buffer at @position hold a record that verifies there? */
static bool view_holds(struct dlog_view *v, uint64_t position)
{
	struct dlog_sub *s = &v->sub[0];

	if (position >= DLOG_POSITION_END || dlog_sub_load(v, position, s))
		return false;
	return s->started || s->full || s->open;
}

/* A position past the newest START that the guest named elsewhere. */
static void view_try(struct dlog_view *v, uint64_t position)
{
	position -= position % v->d->sb.subbuf_size;
	if ((!v->any || position > v->high) && view_holds(v, position)) {
		v->any = true;
		v->high = position;
	}
}

/*
 * Find the live sub-buffers: the newest START that proves itself, or what a
 * heartbeat or the boot table names, if something there proves it.  Behind
 * it may lie sub-buffers whose START was never finished, because its writer
 * was stopped and others went on: each holds at least one record.
 */
int dlog_view_find(struct dlog_view *v)
{
	const struct dlog_superblock *sb = &v->d->sb;
	const struct dlog_table *t = &v->d->table;
	struct dlog_start start;
	struct dlog_cpu hint;

	v->any = false;
	v->low = v->high = 0;
	for (uint32_t i = 0; i < v->d->nr_subbufs; i++) {
		uint64_t p = dlog_view_start(v, (uint64_t)i * sb->subbuf_size,
					     &start);

		if (p != UINT64_MAX && (!v->any || p > v->high)) {
			v->any = true;
			v->high = p;
		}
	}
	dlog_ring_hint(v->d, v->ring, &hint);
	if (hint.position)
		view_try(v, hint.position - 1);
	if (t->nr)
		view_try(v,
			 t->ring[(size_t)(t->nr - 1) * sb->nr_rings + v->ring]
				 .start);
	if (!v->any)
		view_try(v, 0);
	if (!v->any)
		return 0;
	for (uint32_t i = 0; i < v->d->nr_subbufs; i++) {
		if (!view_holds(v, v->high + sb->subbuf_size))
			break;
		v->high += sb->subbuf_size;
	}
	if (v->high >= sb->ring_size)
		v->low = v->high - sb->ring_size + sb->subbuf_size;
	return 0;
}
