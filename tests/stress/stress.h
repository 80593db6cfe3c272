/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stress.h - what the stress programs share: a region in memory that is a
 * file, records whose every byte follows from who wrote them, and the books.
 *
 * A *context* is one writer at one level (task, irq, NMI); it numbers its
 * records from 0 in each boot.  A record's time says context and number, and
 * its kind, length and data follow from them, from ring and boot; so a reader
 * knows what it must find without asking the writer.  Before and after each
 * append the context notes its number (struct s_ctx): what is between both is
 * in flight, all below was committed.
 *
 * The survey (survey.h) reads a region at rest and holds it against that.
 *
 * Relies on the ring writer of shared-abi and on libdlog's public interface.
 */
#ifndef TESTS_STRESS_STRESS_H
#define TESTS_STRESS_STRESS_H

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "dlog.h"
#include "dlog_region.h"

#define S_RINGS 8
#define S_LEVELS 3 /* task, irq, NMI */
#define S_CTX 64 /* writer * 4 + level */
#define S_PASS 0
#define S_FAIL 1
#define S_SKIP 77

/* Numbers below @done are committed, those below @begun at least begun. */
struct s_ctx {
	uint64_t begun, done, dropped;
	uint64_t pad; /* of the first: see s_latest() */
};

struct s_world {
	int fd;
	char path[32];
	uint8_t *map;
	uint64_t size;
	struct dlog_region rg;
	struct dlog_ring_end ends[S_RINGS];
	uint32_t boots; /* room of the two below, which processes share */
	struct s_ctx (*truth)[S_CTX]; /* by boot */
	uint64_t (*start)[S_RINGS]; /* by boot: first position */
	uint8_t ring_of[S_CTX]; /* which ring a context writes to */
};

/* ---- saying what is wrong ---- */

static uint64_t s_wrongs;

/* One wrong read; the first twenty are told. */
__attribute__((format(printf, 1, 2), unused)) static bool
s_wrong(const char *fmt, ...)
{
	va_list ap;

	if (__atomic_fetch_add(&s_wrongs, 1, __ATOMIC_RELAXED) < 20) {
		va_start(ap, fmt);
		flockfile(stdout);
		printf("wrong: ");
		vprintf(fmt, ap);
		printf("\n");
		fflush(stdout);
		funlockfile(stdout);
		va_end(ap);
	}
	return false;
}

static inline uint64_t s_count_wrong(void)
{
	return __atomic_load_n(&s_wrongs, __ATOMIC_RELAXED);
}

static inline double s_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* Which reader this thread is, for messages. */
static __thread const char *s_reader = "survey";

/* ---- a record as its writer must make it ---- */

struct s_rec {
	uint64_t x; /* what all follows from */
	uint32_t kind, arg, len; /* data bytes, the caller word not counted */
	uint32_t caller; /* kind PRINTK */
	bool fits; /* length follows from the room that was left, not from x */
	bool too_long; /* an append that must be refused goes before */
};

static inline uint64_t s_mix(uint64_t x)
{
	x ^= x >> 32;
	x *= UINT64_C(0xd6e8feb86659fd93);
	x ^= x >> 32;
	x *= UINT64_C(0xd6e8feb86659fd93);
	return x ^ x >> 32;
}

/* Longest data of any record here, whatever its kind. */
static inline uint32_t s_max(const struct dlog_superblock *sb)
{
	return dlog_ring_max_len(sb->subbuf_size) - 4;
}

/* Mostly short: half below 32 bytes, one in 1000 up to the longest. */
static inline uint32_t s_length(uint64_t x, uint32_t max)
{
	uint32_t r = (uint32_t)(x >> 8) & 0xffff;

	switch (x & 15) {
	case 14:
		return r & 511;
	case 15:
		return (x >> 26 & 63) ? r & 63 : r % (max + 1);
	default:
		return (x & 15) < 8 ? r & 31 : r & 127;
	}
}

static inline struct s_rec s_rec(uint32_t ring, uint32_t boot, uint32_t ctx,
				 uint64_t seq, uint32_t max)
{
	struct s_rec r;

	r.x = s_mix(((uint64_t)boot << 40 | (uint64_t)ring << 32 | ctx) +
		    seq * UINT64_C(0x9e3779b97f4a7c15));
	r.len = s_length(r.x, max);
	r.fits = (r.x >> 32 & 255) == 0;
	r.too_long = (r.x >> 40 & 1023) == 0;
	r.arg = r.x >> 50 & 0xfff;
	r.caller = (uint32_t)(r.x >> 13) & (DLOG_CALLER_CPU | DLOG_CALLER_ID);
	switch (r.x >> 62) {
	case 0:
		r.kind = DLOG_KIND_EVENT;
		break;
	case 1:
		r.kind = DLOG_KIND_PRINTK;
		break;
	default:
		r.kind = DLOG_KIND_TEXT;
	}
	return r;
}

/* Word @i of its data; the length takes part, so that a wrong one shows. */
static inline uint64_t s_word(const struct s_rec *r, uint32_t i)
{
	uint64_t v = (r->x ^ r->len) + (i + 1) * UINT64_C(0x9e3779b97f4a7c15);

	return v ^ v >> 29;
}

/* @buf has room for the length rounded up to 8. */
static inline void s_fill(const struct s_rec *r, uint8_t *buf)
{
	for (uint32_t i = 0; i * 8 < r->len; i++) {
		uint64_t w = s_word(r, i);

		memcpy(buf + i * 8, &w, 8);
	}
}

static inline bool s_same(const struct s_rec *r, const uint8_t *data)
{
	uint32_t i = 0;

	for (; i * 8 + 8 <= r->len; i++)
		if (dlog_load64(data + i * 8) != s_word(r, i))
			return false;
	for (uint32_t k = i * 8; k < r->len; k++)
		if (data[k] != (uint8_t)(s_word(r, i) >> (k % 8 * 8)))
			return false;
	return true;
}

/* Bytes that it takes in the ring. */
static inline uint32_t s_bytes(const struct dlog_entry *e)
{
	return DLOG_REC_SIZE(e->len + (e->kind == DLOG_KIND_PRINTK ? 4 : 0));
}

static inline uint32_t s_entry_ctx(const struct dlog_entry *e)
{
	return e->time & 255;
}

static inline uint64_t s_entry_seq(const struct dlog_entry *e)
{
	return e->time >> 8;
}

/* Is @e what context @ctx wrote as number @seq in @boot? */
static inline bool s_equal(const struct s_world *w, const struct dlog_entry *e,
			   uint32_t boot, uint32_t ctx, uint64_t seq)
{
	uint32_t max = s_max(&w->rg.sb);
	struct s_rec r = s_rec(e->ring, boot, ctx, seq, max);

	if (r.kind != e->kind || r.arg != e->arg ||
	    (r.kind == DLOG_KIND_PRINTK && r.caller != e->caller) ||
	    (r.fits ? e->len > max : e->len != r.len))
		return false;
	r.len = (uint32_t)e->len;
	return s_same(&r, e->data);
}

/* Is @e, byte for byte, a record that was at least begun by now? */
static inline bool s_verify(const struct s_world *w, const struct dlog_entry *e)
{
	uint32_t ctx = s_entry_ctx(e), other = 0;
	uint64_t seq = s_entry_seq(e);
	bool begun = ctx < S_CTX && e->boot && e->boot < w->boots &&
		     e->ring == w->ring_of[ctx] &&
		     seq < __atomic_load_n(&w->truth[e->boot][ctx].begun,
					   __ATOMIC_ACQUIRE);

	if (begun && s_equal(w, e, e->boot, ctx, seq))
		return true;
	for (uint32_t boot = 1; ctx < S_CTX && boot < w->boots; boot++)
		if (s_equal(w, e, boot, ctx, seq))
			other = boot;
	return s_wrong("%s: ring %u boot %u position %" PRIu64
		       ": not what context %u wrote as number %" PRIu64
		       "%s (right for boot %u)",
		       s_reader, e->ring, e->boot, e->position, ctx, seq,
		       begun ? "" : ", which was not begun", other);
}

/* ---- the region ---- */

/*
 * A region of @rings rings of @ring_size bytes, in a file that lives
 * as long as this process and its children.  @boots: how many boots the
 * books have room for.
 */
static inline int s_create(struct s_world *w, uint32_t rings,
			   uint64_t ring_size, uint32_t subbuf, uint32_t boots)
{
	struct dlog_superblock *sb;

	memset(w, 0, sizeof(*w));
	w->boots = boots + 1;
	w->size = DLOG_ALIGN_UP(rings * ring_size, DLOG_PAGE) + 131072;
	w->truth = mmap(NULL, w->boots * sizeof(*w->truth),
			PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
			0);
	w->start = mmap(NULL, w->boots * sizeof(*w->start),
			PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
			0);
	w->fd = memfd_create("dlog-stress", MFD_CLOEXEC);
	if (w->truth == MAP_FAILED || w->start == MAP_FAILED || w->fd < 0 ||
	    ftruncate(w->fd, (off_t)w->size))
		return -errno;
	w->map = mmap(NULL, w->size, PROT_READ | PROT_WRITE, MAP_SHARED, w->fd,
		      0);
	if (w->map == MAP_FAILED)
		return -errno;
	snprintf(w->path, sizeof(w->path), "/proc/self/fd/%d", w->fd);
	sb = (struct dlog_superblock *)w->map;
	sb->region_size = w->size;
	sb->nr_rings = rings;
	sb->subbuf_size = subbuf;
	sb->nr_cpus = rings;
	sb->boot_slots = 16;
	sb->catalog_size = 4096;
	for (uint32_t i = 0; i < 16; i++)
		sb->uuid[i] = (uint8_t)(i * 37 + subbuf / 4096 + rings);
	if (dlog_super_layout(sb) || sb->ring_size < ring_size)
		return -EINVAL;
	sb->ring_size = ring_size; /* not all that the slack above allows */
	dlog_super_seal(sb);
	memcpy(w->map + sb->backup_off, sb, sizeof(*sb));
	return dlog_region_open(&w->rg, w->map, w->size) == DLOG_SUPER_OK
		       ? 0
		       : -EINVAL;
}

static inline void s_destroy(struct s_world *w)
{
	munmap(w->map, w->size);
	munmap(w->truth, w->boots * sizeof(*w->truth));
	munmap(w->start, w->boots * sizeof(*w->start));
	close(w->fd);
}

/* Number of the latest boot, also when another process began it. */
static inline uint64_t *s_latest(const struct s_world *w)
{
	return &w->truth[0][0].pad;
}

/* Take the region over as a driver does when its kernel boots. */
static inline int s_begin(struct s_world *w)
{
	struct dlog_boot_info info = { .time = 1, .machine = "stress" };

	dlog_region_begin(&w->rg, &info, w->ends);
	if (w->rg.boot >= w->boots)
		return -ENOSPC;
	/* One that was killed while it began has a number, but no records. */
	for (uint64_t b = *s_latest(w) + 1; b <= w->rg.boot; b++)
		for (uint32_t i = 0; i < w->rg.sb.nr_rings; i++)
			w->start[b][i] = w->ends[i].next;
	__atomic_store_n(s_latest(w), w->rg.boot, __ATOMIC_RELEASE);
	dlog_region_status(&w->rg, DLOG_ST_RUNNING, 1);
	return 0;
}

/* The region and the books as they were when it was made. */
static inline void s_reset(struct s_world *w)
{
	struct dlog_superblock sb = w->rg.sb;

	memset(w->map, 0, w->size);
	memcpy(w->map, &sb, sizeof(sb));
	memcpy(w->map + sb.backup_off, &sb, sizeof(sb));
	for (uint64_t b = 0, n = *s_latest(w); b <= n; b++) {
		memset(w->truth[b], 0, sizeof(*w->truth));
		memset(w->start[b], 0, sizeof(*w->start));
	}
	w->rg.boot = 0;
}

/* ---- a writer: one ring, three contexts ---- */

struct s_writer {
	struct dlog_ring *ring;
	struct s_ctx *ctx; /* S_LEVELS of them */
	uint32_t nr, id, boot, max, subbuf; /* @nr: of the ring */
	uint8_t *buf; /* for each level, of subbuf bytes */
	uint64_t appended; /* by the task; others add theirs behind it */
	volatile bool inside[S_LEVELS]; /* in dlog_ring_append() */
};

static inline int s_writer_init(struct s_writer *wr, struct s_world *w,
				struct dlog_ring *ring, uint32_t id)
{
	memset(wr, 0, sizeof(*wr));
	wr->ring = ring;
	wr->id = id * 4;
	wr->nr = w->ring_of[wr->id];
	wr->boot = w->rg.boot;
	wr->ctx = &w->truth[wr->boot][wr->id];
	wr->max = s_max(&w->rg.sb);
	wr->subbuf = w->rg.sb.subbuf_size;
	wr->buf = malloc((size_t)wr->subbuf * S_LEVELS);
	return wr->buf ? 0 : -ENOMEM;
}

/* Data that ends where the sub-buffer does, or 8 bytes before. */
static inline void s_exact(const struct s_writer *wr, struct s_rec *r)
{
	uint32_t tag = r->kind == DLOG_KIND_PRINTK ? 4 : 0;
	uint64_t position, records;
	uint32_t room;

	dlog_ring_tell(wr->ring, &position, &records);
	room = -(uint32_t)position & (wr->subbuf - 1);
	if (room < DLOG_HDR + 16 + tag)
		return;
	r->len = room - DLOG_HDR - tag - ((uint32_t)r->x >> 4 & 15);
	if (r->len > wr->max)
		r->len = wr->max;
}

/* The next record of context @level, ready to be appended. */
struct s_job {
	struct s_ctx *c;
	uint32_t level, type, tag, len;
	uint64_t seq, time;
	const uint8_t *data;
	bool tagged;
};

static inline struct s_job s_prepare(struct s_writer *wr, uint32_t level)
{
	struct s_ctx *c = &wr->ctx[level];
	uint8_t *buf = wr->buf + (size_t)level * wr->subbuf;
	struct s_rec r = s_rec(wr->nr, wr->boot, wr->id + level, c->begun,
			       wr->max);
	uint64_t time = c->begun << 8 | (wr->id + level);

	if (dlog_unlikely(r.too_long)) {
		uint32_t len = dlog_ring_max_len(wr->subbuf) + 1 + (r.x & 15);

		__atomic_store_n(&c->dropped, c->dropped + 1, __ATOMIC_RELAXED);
		if (dlog_ring_append(wr->ring, DLOG_TYPE(DLOG_KIND_TEXT, 6),
				     time, buf, len) != -EMSGSIZE)
			s_wrong("a record too long was taken");
	}
	if (dlog_unlikely(r.fits))
		s_exact(wr, &r);
	s_fill(&r, buf);
	return (struct s_job){ .c = c,
			       .level = level,
			       .type = DLOG_TYPE(r.kind, r.arg),
			       .tag = r.caller,
			       .tagged = r.kind == DLOG_KIND_PRINTK,
			       .len = r.len,
			       .seq = c->begun,
			       .time = time,
			       .data = buf };
}

static inline bool s_put(struct s_writer *wr, const struct s_job *j)
{
	int ret;

	__atomic_store_n(&j->c->begun, j->seq + 1, __ATOMIC_RELEASE);
	wr->inside[j->level] = true;
	if (j->tagged)
		ret = dlog_ring_append_tagged(wr->ring, j->type, j->time,
					      j->tag, j->data, j->len);
	else
		ret = dlog_ring_append(wr->ring, j->type, j->time, j->data,
				       j->len);
	wr->inside[j->level] = false;
	__atomic_store_n(&j->c->done, j->seq + 1, __ATOMIC_RELEASE);
	return !ret || s_wrong("append: %d", ret);
}

/* Append the next record of context @level. */
static inline bool s_append(struct s_writer *wr, uint32_t level)
{
	struct s_job j = s_prepare(wr, level);

	return s_put(wr, &j);
}

#endif
