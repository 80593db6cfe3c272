// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * scan.c - from bytes to records: one sub-buffer, and where a ring's live
 * sub-buffers are.
 *
 * Work is linear in the bytes looked at, whatever they are: each copy's
 * prefix hashes are computed once, and from then on every offset costs a few
 * multiplications however long a record it claims to hold.  This is the fast
 * way for undamaged bytes too: one loop without surprises over all words,
 * where hashing record by record would begin a chain of dependent
 * multiplications, and mispredict its length, with each record.
 *
 * Relies on the check being a polynomial: with P[0] = 0 and
 * P[i + 1] = P[i] * K + mix(w[i]), the hash over n words from word i that
 * starts from h is h * K^n + P[i + n] - P[i] * K^n.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define POWERS (65536 / 8 + 2)

static uint64_t powers[POWERS];

static void powers_init(void)
{
	powers[0] = 1;
	for (uint32_t i = 1; i < POWERS; i++)
		powers[i] = powers[i - 1] * DLOG_HASH_K;
}

const uint64_t *dlog_scan_powers(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, powers_init);
	return powers;
}

/*
 * Prefix hashes of each half of the copy on its own, in step: two chains of
 * multiplications run at twice the speed of one.  P[0] to P[half] are those
 * of the first half, the rest, from P[half + 1] = 0 on, of the second.
 */
void dlog_scan_begin(struct dlog_scan *s)
{
	uint32_t words = s->size / 8, i;
	const uint8_t *second;
	uint64_t *lo = s->prefix, *hi, a = 0, b = 0;

	s->half = words / 2;
	second = s->p + s->half * 8;
	hi = lo + s->half + 1;
	*lo++ = 0;
	*hi++ = 0;
	for (i = 0; i < s->half; i++) {
		a = dlog_hash_word(a, dlog_load64(s->p + i * 8));
		b = dlog_hash_word(b, dlog_load64(second + i * 8));
		*lo++ = a;
		*hi++ = b;
	}
	if (words & 1)
		*hi = dlog_hash_word(b, dlog_load64(second + i * 8));
}

/* Hash over @n words from word @i on, started from @h; within one half. */
static inline uint64_t range(const uint64_t *prefix, const uint64_t *power,
			     uint64_t h, size_t i, size_t n)
{
	return (h - prefix[i]) * power[n] + prefix[i + n];
}

static inline uint64_t scan_range(const struct dlog_scan *s, uint64_t h,
				  size_t i, size_t n)
{
	const uint64_t *prefix = s->prefix, *power = s->power;
	size_t half = s->half;

	if (i < half && i + n > half) {
		h = range(prefix, power, h, i, half - i);
		n -= half - i;
		i = half;
	}
	return range(prefix + (i >= half), power, h, i, n);
}

/* As dlog_record_probe() at word @i; *@n: the words it takes. */
static inline enum dlog_record_state scan_probe(const struct dlog_scan *s,
						size_t i, size_t *n)
{
	uint64_t w0 = dlog_load64(s->p + i * 8), h;
	size_t need = ((w0 >> 32 & 0xffff) + DLOG_HDR + 7) / 8;
	uint32_t top = (uint32_t)(w0 >> 32), check = (uint32_t)w0;

	if (!(top >> 16) || need > s->size / 8 - i)
		return DLOG_RECORD_NONE;
	*n = need;
	h = dlog_hash_start(s->seed, s->base + i * 8, top);
	if (check == dlog_hash_open(h))
		return DLOG_RECORD_OPEN;
	h = scan_range(s, h, i + 1, need - 1);
	return check == dlog_hash_final(h) ? DLOG_RECORD_FULL
					   : DLOG_RECORD_NONE;
}

enum dlog_record_state dlog_scan_probe(const struct dlog_scan *s, uint32_t off,
				       uint32_t *size)
{
	size_t n = 0;
	enum dlog_record_state st = scan_probe(s, off / 8, &n);

	if (st != DLOG_RECORD_NONE)
		*size = (uint32_t)n * 8;
	return st;
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
	return dlog_view_buffers(v);
}

int dlog_view_buffers(struct dlog_view *v)
{
	uint32_t size = v->d->sb.subbuf_size;

	v->buffers = true;
	if (!v->d->views++)
		v->d->prefix = malloc(DLOG_PREFIX(size) * sizeof(uint64_t));
	if (v->d->prefix && !sub_init(&v->sub[0], size) &&
	    !sub_init(&v->sub[1], size))
		return 0;
	dlog_view_no_buffers(v);
	return -ENOMEM;
}

void dlog_view_no_buffers(struct dlog_view *v)
{
	if (!v->buffers)
		return;
	v->buffers = false;
	sub_exit(&v->sub[0]);
	sub_exit(&v->sub[1]);
	memset(v->sub, 0, sizeof(v->sub));
	if (--v->d->views)
		return;
	free(v->d->prefix);
	v->d->prefix = NULL;
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

/* Bytes that verify as nothing, before a record that does. */
static void sub_hole(struct dlog_sub *s, uint32_t from, uint32_t to)
{
	s->holes++;
	s->last_hole = from;
	s->zero_holes += all_zero(s->copy + from, to - from);
	s->hole_bytes += to - from;
}

/* Find the records in s->copy; s->start and s->next are known. */
static void sub_walk(const struct dlog_view *v, struct dlog_sub *s)
{
	uint32_t size = v->d->sb.subbuf_size, expect = UINT32_MAX, nr = 0;
	uint32_t *rec = s->rec;
	/* In words: the place looked at, behind the last record, its words. */
	size_t i, end, n = 0;
	struct dlog_scan scan = {
		.p = s->copy,
		.size = size,
		.seed = v->seed,
		.base = s->position,
		.power = dlog_scan_powers(),
		.prefix = v->d->prefix,
	};

	dlog_scan_begin(&scan);
	/* A START takes its room also when it is not there. */
	i = end = DLOG_START_SIZE / 8;
	if (s->closed && s->next.records - s->start.records <= size / DLOG_HDR)
		expect = (uint32_t)(s->next.records - s->start.records);
	while (i + DLOG_HDR / 8 <= size / 8 && nr < expect) {
		enum dlog_record_state st = scan_probe(&scan, i, &n);
		uint32_t off = (uint32_t)i * 8;

		if (dlog_unlikely(st == DLOG_RECORD_NONE)) {
			i++;
			continue;
		}
		if (dlog_unlikely(i > end))
			sub_hole(s, (uint32_t)end * 8, off);
		i += n;
		end = i;
		if (dlog_unlikely(st == DLOG_RECORD_OPEN)) {
			rec[nr++] = off | DLOG_SUB_OPEN;
			s->open++;
			s->open_bytes += (uint32_t)n * 8;
		} else if (DLOG_TYPE_KIND(dlog_load32(s->copy + off + 4) >>
					  16) != DLOG_KIND_START) {
			/* Nobody but an attacker writes a START here. */
			rec[nr++] = off;
		}
	}
	s->nr = nr;
	s->full = nr - s->open;
	s->tail = (uint32_t)end * 8;
	s->full_bytes = s->tail - DLOG_START_SIZE - s->open_bytes -
			s->hole_bytes;
}

/* Read this sub-buffer's START again: has a writer come round? */
static int sub_again(const struct dlog_view *v, struct dlog_sub *s)
{
	uint8_t again[DLOG_START_SIZE];
	struct dlog_start other;
	uint64_t slot, q;
	int ret;

	ret = dlog_fetch(v->d, dlog_view_offset(v, s->position), again,
			 sizeof(again));
	if (ret)
		return ret;
	slot = s->position / v->d->sb.subbuf_size % v->d->nr_subbufs;
	q = start_position(v, again, slot, &other);
	if (s->started && memcmp(again, s->copy, sizeof(again)))
		s->lapped = true;
	if (q != UINT64_MAX && q > s->position) {
		s->lapped = true;
		s->newer = q;
	}
	return 0;
}

/*
 * Is something written by now where the last hole begins?  A writer that
 * goes on while its sub-buffer is copied may leave a hole in the copy: where
 * it was when the copy passed it.
 */
static bool sub_filled(const struct dlog_view *v, const struct dlog_sub *s)
{
	uint64_t off = dlog_view_offset(v, s->position) + s->last_hole, word;

	return !dlog_fetch(v->d, off, &word, sizeof(word)) &&
	       word != dlog_load64(s->copy + s->last_hole);
}

/*
 * dlog_sub_load(), once.
 *
 * The copy is in ascending order, the next START last: whoever wrote that
 * START had reserved everything in this sub-buffer before.  If anything that
 * the two STARTs count is not there, this START is read again after the
 * copy: if it has changed, a writer has come round and what is missing was
 * overwritten, not damaged.
 */
static int sub_read(const struct dlog_view *v, uint64_t position,
		    struct dlog_sub *s)
{
	uint32_t size = v->d->sb.subbuf_size;
	uint64_t slot = position / size % v->d->nr_subbufs;
	uint64_t next_slot = (slot + 1) % v->d->nr_subbufs;
	uint32_t whole = next_slot ? size + DLOG_START_SIZE : size;
	int ret;

	*s = (struct dlog_sub){ .position = position,
				.copy = s->copy,
				.rec = s->rec,
				.tail = DLOG_START_SIZE };
	ret = dlog_fetch(v->d, dlog_view_offset(v, position), s->copy, whole);
	if (!ret && !next_slot)
		ret = dlog_fetch(v->d, v->off, s->copy + size, DLOG_START_SIZE);
	if (ret)
		return ret;

	s->started = start_position(v, s->copy, slot, &s->start) == position;
	if (s->started)
		s->start_time = dlog_load64(s->copy + 8);
	s->next_started = start_position(v, s->copy + size, next_slot,
					 &s->next) == position + size;
	s->closed = s->started && s->next_started &&
		    s->next.boot == s->start.boot &&
		    s->next.records >= s->start.records;
	if (s->started) {
		sub_walk(v, s);
		if (s->closed && !s->holes &&
		    s->nr == s->next.records - s->start.records)
			return 0;
	}
	ret = sub_again(v, s);
	if (!ret && !s->started && !s->newer)
		sub_walk(v, s);
	return ret;
}

#define READ_AGAIN 3u /* times at most, a sub-buffer that changes */

/*
 * Read the sub-buffer at @position into @s and find its records.  0 or a
 * negative errno; a sub-buffer that holds nothing is not an error.
 */
int dlog_sub_load(const struct dlog_view *v, uint64_t position,
		  struct dlog_sub *s)
{
	int ret = sub_read(v, position, s);

	for (uint32_t i = 0; i < READ_AGAIN && !ret && s->holes && !s->lapped &&
			     sub_filled(v, s);
	     i++)
		ret = sub_read(v, position, s);
	return ret;
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
	return dlog_sub_holds(s);
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

/* The newest START of all. */
static void find_all(struct dlog_view *v)
{
	uint32_t size = v->d->sb.subbuf_size;
	struct dlog_start start;

	v->any = false;
	for (uint32_t i = 0; i < v->d->nr_subbufs; i++) {
		uint64_t p = dlog_view_start(v, (uint64_t)i * size, &start);

		if (p != UINT64_MAX && (!v->any || p > v->high)) {
			v->any = true;
			v->high = p;
		}
	}
}

#define SAMPLE 16u /* sub-buffers */

/*
 * The newest START, from a sample of them; false when these do not lie as a
 * writer that goes round leaves them, one lap up to some place and the lap
 * before behind it (where damage hit, nothing).  Behind the newest of the
 * sample it goes on to where two samples' width holds nothing newer.
 */
static bool find_sampled(struct dlog_view *v)
{
	uint64_t size = v->d->sb.subbuf_size, ring = v->d->sb.ring_size;
	uint64_t first = 0, p, end;
	struct dlog_start start;
	bool behind = false;

	v->any = false;
	for (uint32_t i = 0; i < v->d->nr_subbufs; i += SAMPLE) {
		p = dlog_view_start(v, i * size, &start);
		if (p == UINT64_MAX)
			continue;
		if (!v->any)
			first = p / ring;
		behind |= p / ring != first;
		if (p / ring + behind != first)
			return false;
		if (!behind)
			v->high = p;
		v->any = true;
	}
	if (!v->any)
		return false;
	end = v->high + 2 * SAMPLE * size;
	for (p = v->high + size; p < end; p += size) {
		if (dlog_view_start(v, p, &start) != p)
			continue;
		v->high = p;
		end = p + 2 * SAMPLE * size;
	}
	return true;
}

/*
 * Find the live sub-buffers: the newest START that proves itself, or what a
 * heartbeat or the boot table names, if something there proves it.  Behind
 * it may lie sub-buffers whose START was never finished, because its writer
 * was stopped and others went on: one for each context that can nest, some
 * of them with nothing that proves itself.
 *
 * @quick does not look at every START.  The answer is the same unless the
 * ring holds a short stretch of newer sub-buffers where no writer leaves
 * one: as a file of which not all pages have reached the disk may.
 */
int dlog_view_find(struct dlog_view *v, bool quick)
{
	const struct dlog_superblock *sb = &v->d->sb;
	const struct dlog_table *t = &v->d->table;
	struct dlog_cpu hint;
	uint64_t p;

	v->low = v->high = 0;
	if (!quick || !find_sampled(v))
		find_all(v);
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
	p = v->high;
	for (uint32_t i = 0; i < v->d->nr_subbufs; i++) {
		p += sb->subbuf_size;
		if (view_holds(v, p))
			v->high = p;
		else if (p - v->high >= DLOG_BEYOND * sb->subbuf_size)
			break;
	}
	if (v->high >= sb->ring_size)
		v->low = v->high - sb->ring_size + sb->subbuf_size;
	return 0;
}
