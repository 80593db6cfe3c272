/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * world.h - a region in memory, written by the shared writer, and an oracle
 * that keeps by arithmetic of its own what was appended and where it lies.
 *
 * The oracle knows three numbers (header 16, START 40, records padded to 8)
 * and nothing of dlog_ring.h or libdlog.  Each record's text is a function
 * of its ring and number, so a wrong one cannot pass for a right one.
 */
#ifndef TESTS_UNIT_WORLD_H
#define TESTS_UNIT_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dlog.h"
#include "dlog_region.h"

#define W_RINGS 8

/* What became of a record, for loss numbers. */
enum fate { FATE_FULL, FATE_TORN, FATE_CORRUPT, FATE_UNSEEN };

struct truth {
	uint32_t ring, boot, number, type, len;
	uint64_t position, time;
	enum fate fate;
	bool live, seen;
	bool nowhere; /* left no trace: does not move the window */
};

struct world {
	uint8_t *mem;
	uint64_t size;
	struct dlog_region rg;
	struct dlog_ring_end ends[W_RINGS];
	struct dlog_ring ring[W_RINGS];
	uint64_t next[W_RINGS]; /* oracle: end of what is reserved */
	uint64_t now;
	struct truth *t;
	uint32_t n, room, numbers;
};

static inline void w_format(struct world *w, uint64_t size, uint32_t rings,
			    uint32_t subbuf, uint32_t boots)
{
	struct dlog_superblock *sb;

	memset(w, 0, sizeof(*w));
	w->size = size;
	w->now = 1000;
	w->mem = aligned_alloc(4096, size);
	assert_non_null(w->mem);
	memset(w->mem, 0, size);
	sb = (struct dlog_superblock *)w->mem;
	sb->region_size = size;
	sb->nr_rings = rings;
	sb->subbuf_size = subbuf;
	sb->nr_cpus = rings;
	sb->boot_slots = boots;
	sb->catalog_size = 4096;
	for (uint32_t i = 0; i < 16; i++)
		sb->uuid[i] = (uint8_t)(i * 37 + 11);
	assert_int_equal(dlog_super_layout(sb), 0);
	dlog_super_seal(sb);
	memcpy(w->mem + sb->backup_off, sb, sizeof(*sb));
	assert_int_equal(dlog_region_open(&w->rg, w->mem, size), DLOG_SUPER_OK);
}

static inline void w_free(struct world *w)
{
	free(w->mem);
	free(w->t);
}

static inline uint32_t w_subbuf(const struct world *w)
{
	return w->rg.sb.subbuf_size;
}

static inline uint32_t w_nr(const struct world *w)
{
	return (uint32_t)(w->rg.sb.ring_size / w_subbuf(w));
}

/* Where @position of @ring lies in memory. */
static inline uint8_t *w_at(const struct world *w, uint32_t ring,
			    uint64_t position)
{
	return w->mem + w->rg.sb.ring_off + ring * w->rg.sb.ring_size +
	       position % w->rg.sb.ring_size;
}

/* A kernel boots; @id 0: no boot id.  Returns true when the boot goes on. */
static inline bool w_boot(struct world *w, uint8_t id)
{
	struct dlog_boot_info info = { .time = w->now, .machine = "x86_64" };
	bool on;

	info.real = 1700000000000000000u + w->now;
	info.kernel_text = 0xffffffff81000000u + id;
	memset(info.boot_id, id, sizeof(info.boot_id));
	snprintf(info.release, sizeof(info.release), "6.1.%u-test", id);
	on = dlog_region_begin(&w->rg, &info, w->ends);
	for (uint32_t i = 0; i < w->rg.sb.nr_rings; i++) {
		uint32_t sub = w_subbuf(w);

		dlog_ring_init(&w->ring[i], &w->rg, i, &w->ends[i], i % 2 == 0,
			       false);
		w->next[i] = (w->next[i] + sub - 1) / sub * sub;
	}
	return on;
}

/* Deterministic text of a record. */
static inline void w_text(uint32_t ring, uint32_t number, uint8_t *buf,
			  uint32_t len)
{
	char head[32];
	uint32_t n = (uint32_t)snprintf(head, sizeof(head), "r%u n%u ", ring,
					number);
	uint32_t x = number * 2654435761u + ring;

	for (uint32_t i = 0; i < len; i++) {
		x = x * 1664525u + 1013904223u;
		buf[i] = i < n ? (uint8_t)head[i] : (uint8_t)('a' + (x >> 27));
	}
}

static inline struct truth *w_note(struct world *w, uint32_t ring,
				   uint32_t type, uint32_t len)
{
	uint32_t need = 16 + (len + 7) / 8 * 8, sub = w_subbuf(w);
	uint64_t left = (sub - w->next[ring] % sub) % sub;
	struct truth *t;

	if (need > left)
		w->next[ring] += left + 40;
	if (w->n == w->room) {
		w->room = w->room ? w->room * 2 : 1024;
		w->t = realloc(w->t, w->room * sizeof(*w->t));
		assert_non_null(w->t);
	}
	t = &w->t[w->n++];
	*t = (struct truth){ .ring = ring,
			     .boot = w->rg.boot,
			     .number = w->numbers++,
			     .type = type,
			     .len = len,
			     .position = w->next[ring],
			     .time = w->now++ };
	w->next[ring] += need;
	return t;
}

/* Append a record of @len bytes of text and note it. */
static inline struct truth *w_append(struct world *w, uint32_t ring,
				     uint32_t type, uint32_t len)
{
	static uint8_t buf[65536];
	struct truth *t = w_note(w, ring, type, len);

	w_text(ring, t->number, buf, len);
	assert_int_equal(
		dlog_ring_append(&w->ring[ring], type, t->time, buf, len), 0);
	return t;
}

#define W_TEXT DLOG_TYPE(DLOG_KIND_TEXT, DLOG_PRI(0, 6))

static inline struct truth *w_line(struct world *w, uint32_t ring)
{
	return w_append(w, ring, W_TEXT, 20 + (w->numbers * 7) % 60);
}

/* Which records are not overwritten yet. */
static inline void w_settle(struct world *w)
{
	uint64_t sub = w_subbuf(w), last[W_RINGS] = { 0 };

	for (uint32_t i = 0; i < w->n; i++)
		if (!w->t[i].nowhere &&
		    w->t[i].position / sub > last[w->t[i].ring])
			last[w->t[i].ring] = w->t[i].position / sub;
	for (uint32_t i = 0; i < w->n; i++) {
		struct truth *t = &w->t[i];

		t->live = t->position / sub + w_nr(w) > last[t->ring];
		t->seen = false;
	}
}

static inline struct dlog *w_open(struct world *w)
{
	struct dlog_error err = { "" };
	struct dlog *d;
	int ret = dlog_open_memory(&d, w->mem, w->size, "memory", &err);

	if (ret)
		fail_msg("open: %d %s", ret, err.text);
	return d;
}

static inline struct truth *w_find(struct world *w, uint32_t ring,
				   uint64_t position)
{
	for (uint32_t i = w->n; i--;)
		if (w->t[i].ring == ring && w->t[i].position == position)
			return &w->t[i];
	return NULL;
}

/* Is @e what was written there, and for the first time? */
static inline void w_match(struct world *w, const struct dlog_entry *e)
{
	static uint8_t buf[65536];
	struct truth *t = w_find(w, e->ring, e->position);

	if (!t)
		fail_msg("ring %u position %llu was never written", e->ring,
			 (unsigned long long)e->position);
	assert_false(t->seen);
	t->seen = true;
	assert_int_equal(e->boot, t->boot);
	assert_int_equal(e->time, t->time);
	assert_int_equal(e->kind, DLOG_TYPE_KIND(t->type));
	assert_int_equal(e->arg, DLOG_TYPE_ARG(t->type));
	assert_int_equal(e->len, t->len);
	w_text(t->ring, t->number, buf, t->len);
	assert_memory_equal(e->data, buf, t->len);
}

/*
 * Read everything: each live and full record once, in order of boot, time,
 * ring and position, and nothing else.
 */
static inline void w_check_records(struct world *w)
{
	struct dlog *d = w_open(w);
	struct dlog_entry e, last = { 0 };
	struct dlog_reader *r;
	int ret;

	w_settle(w);
	assert_int_equal(dlog_reader_new(&r, &d, 1, 0, NULL), 0);
	while ((ret = dlog_reader_next(r, &e, 0)) > 0) {
		w_match(w, &e);
		assert_true(e.boot > last.boot ||
			    (e.boot == last.boot && e.time >= last.time));
		last = e;
	}
	assert_int_equal(ret, 0);
	assert_int_equal(dlog_reader_missed(r), 0);
	for (uint32_t i = 0; i < w->n; i++) {
		struct truth *t = &w->t[i];

		if (t->seen != (t->live && t->fate == FATE_FULL))
			fail_msg("ring %u number %u position %llu: seen %d, "
				 "live %d, fate %d",
				 t->ring, t->number,
				 (unsigned long long)t->position, t->seen,
				 t->live, t->fate);
	}
	dlog_reader_free(r);
	dlog_close(d);
}

/* Loss by the oracle for one ring and boot. */
static inline struct dlog_loss w_loss(struct world *w, uint32_t ring,
				      uint32_t boot)
{
	struct dlog_loss l = { .ring = ring, .boot = boot };

	for (uint32_t i = 0; i < w->n; i++) {
		struct truth *t = &w->t[i];

		if (t->ring != ring || t->boot != boot ||
		    t->fate == FATE_UNSEEN)
			continue;
		l.reserved++;
		l.overwritten += !t->live;
		l.records += t->live && t->fate == FATE_FULL;
		l.torn += t->live && t->fate == FATE_TORN;
		l.corrupt += t->live && t->fate == FATE_CORRUPT;
	}
	return l;
}

/* Every entry of dlog_get_loss() is exact, and every boot has its own. */
static inline void w_check_loss(struct world *w)
{
	struct dlog *d = w_open(w);
	struct dlog_loss *l;
	uint64_t total = 0, told = 0;
	int n = dlog_get_loss(d, &l);

	w_settle(w);
	assert_true(n >= 0);
	for (int i = 0; i < n; i++) {
		struct dlog_loss want = w_loss(w, l[i].ring, l[i].boot);

		if (l[i].records != want.records ||
		    l[i].reserved != want.reserved ||
		    l[i].overwritten != want.overwritten ||
		    l[i].torn != want.torn || l[i].corrupt != want.corrupt)
			fail_msg("ring %u boot %u: records %d/%d reserved "
				 "%d/%d overwritten %d/%d torn %d/%d corrupt "
				 "%d/%d (got/want)",
				 l[i].ring, l[i].boot, (int)l[i].records,
				 (int)want.records, (int)l[i].reserved,
				 (int)want.reserved, (int)l[i].overwritten,
				 (int)want.overwritten, (int)l[i].torn,
				 (int)want.torn, (int)l[i].corrupt,
				 (int)want.corrupt);
		assert_true(l[i].records == 0 || l[i].bytes > 0);
		told += l[i].reserved;
	}
	for (uint32_t i = 0; i < w->n; i++)
		total += w->t[i].fate != FATE_UNSEEN;
	assert_int_equal(told, total);
	free(l);
	dlog_close(d);
}

static inline void w_check(struct world *w)
{
	w_check_records(w);
	w_check_loss(w);
}

/*
 * Append a record, but only the first @steps of its stores reach memory:
 * those of the START if it entered a sub-buffer (6), then its own (2, one
 * for each word of data, and the check).  Returns how many there are.
 */
static inline uint32_t w_partial(struct world *w, uint32_t ring, uint32_t len,
				 uint32_t steps, struct truth **out)
{
	uint64_t before = w->next[ring];
	struct truth *t = w_note(w, ring, W_TEXT, len);
	bool entered = before % w_subbuf(w) == 0 ||
		       t->position / w_subbuf(w) != before / w_subbuf(w);
	uint32_t rec = 16 + (len + 7) / 8 * 8, total = 0;
	uint8_t *p = w_at(w, ring, t->position) - (entered ? 40 : 0);
	uint32_t span = rec + (entered ? 40 : 0);
	uint8_t *old = malloc(span), *new = malloc(span), *buf = malloc(len);

	memcpy(old, p, span);
	w_text(ring, t->number, buf, len);
	dlog_ring_append(&w->ring[ring], W_TEXT, t->time, buf, len);
	memcpy(new, p, span);
	memcpy(p, old, span);
	for (uint32_t off = 0; off < span;) {
		uint32_t size = entered && !off ? 40 : rec;
		uint64_t pos = t->position - (off ? 0 : entered ? 40 : 0);
		uint32_t top = dlog_load32(new + off + 4);
		uint32_t open = dlog_hash_open(dlog_hash_start(
			dlog_region_seed(&w->rg, ring), pos, top));

		for (uint32_t i = 0; i < size; i += 8)
			if (total++ < steps)
				memcpy(p + off + i, new + off + i, 8);
		/* Until the last store word 0 has the open check. */
		if (total - size / 8 < steps)
			memcpy(p + off, &open, 4);
		if (total++ < steps)
			memcpy(p + off, new + off, 4);
		off += size;
	}
	free(old);
	free(new);
	free(buf);
	*out = t;
	return total;
}

#endif
