// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Corruption trials: a valid record is damaged in one of the ways below and
 * shown to the check. A damaged record whose check still holds is a miss;
 * a perfect 32-bit check misses one trial in 2^32. Because that is rare, near
 * misses are counted too: the lower or the upper 24 bits of the check hold,
 * which a perfect check does once in 2^24 trials. A flaw shows there first.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "hash.h"

#define WORDS 40 /* longest record, in words, and what lies behind it */
#define BATCH 64 /* trials made of one base record */

struct trials {
	const struct hash *hash;
	u64 rng[4];
	u64 seed, pos, ring;
	u64 rec[WORDS]; /* the record, and then its neighbour's bytes */
	u64 old[WORDS]; /* what lay there a lap ago, valid then */
	u64 mem[WORDS]; /* what the reader finds */
	u32 words; /* length of rec, header included */
	u64 old_pos;
	u32 serial;
	u64 done, skipped, near, miss, low24, high24;
};

static u64 rnd(struct trials *t)
{
	u64 *s = t->rng, r = rotl64(s[0] + s[3], 23) + s[0], x = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= x;
	s[3] = rotl64(s[3], 45);
	return r;
}

static u32 below(struct trials *t, u32 n)
{
	return (u32)((rnd(t) >> 32) * n >> 32);
}

static u64 splitmix(u64 *x)
{
	u64 z = *x += PHI;

	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
	z = (z ^ z >> 27) * 0x94D049BB133111EBull;
	return z ^ z >> 31;
}

/* Shows mem to the reader, as a record of ring seed at pos. */
static void present(struct trials *t, u64 seed, u64 pos)
{
	u64 w = t->mem[0];
	u32 len = (u32)(w >> 32 & 0xffff), words = (len + 7) / 8, diff;

	if (words + 2 > WORDS) {
		t->done++;
		return;
	}
	diff = t->hash->check(t->mem, seed, pos, words) ^ (u32)w;
	t->done++;
	/* Where the check itself is damaged, a near miss means nothing. */
	if ((u32)w != (u32)t->rec[0] && (u32)w != (u32)t->old[0] && diff)
		return;
	t->near++;
	if (diff & 0xffffff && diff >> 8)
		return;
	/* Nothing that the check covers has changed: not a corruption. */
	if (seed == t->seed && pos == t->pos &&
	    !memcmp(t->mem, t->rec, (words + 2) * 8)) {
		t->done--;
		t->near--;
		t->skipped++;
		return;
	}
	if (pos == t->old_pos && seed == t->seed &&
	    !memcmp(t->mem, t->old, (words + 2) * 8)) {
		t->done--;
		t->near--;
		t->skipped++;
		return;
	}
	t->miss += !diff;
	t->low24 += !(diff & 0xffffff);
	t->high24 += !(diff >> 8);
}

static void seal(struct trials *t, u64 *rec, u64 pos, u32 len, u32 meta,
		 u64 time)
{
	meta |= len;
	rec[1] = time;
	rec[0] = (u64)meta << 32;
	rec[0] |= t->hash->check(rec, t->seed, pos, (len + 7) / 8);
}

static u32 line(char *out, size_t size, int shape, u32 n, u64 ns)
{
	switch (shape) {
	case 0:
		return (u32)snprintf(out, size, "eth0: link up, packet %u", n);
	case 1:
		return (u32)snprintf(
			out, size,
			"usb 1-%u: new high-speed USB device number %u using xhci_hcd",
			n % 8, n);
	case 2:
		return (u32)snprintf(
			out, size,
			"EXT4-fs (vda%u): mounted filesystem %08x with ordered data mode. Opts: (null) #%u",
			n % 4, n * 2654435761u, n);
	case 3:
		return (u32)snprintf(
			out, size,
			"audit: type=1400 audit(%u.%03u:%u): apparmor=\"STATUS\" operation=\"profile_load\" pid=%u comm=\"apparmor_parser\" name=\"/usr/bin/man%u\"",
			(u32)(ns >> 30), n % 1000, n, n % 32768, n % 10);
	default:
		return (u32)snprintf(
			out, size,
			"test line %010u abcdefghijklmnopqrstuvwxyzabcdefghijklm",
			n);
	}
}

/* One record's payload: numbered text, or a small binary event. */
static u32 payload(u64 *out, int shape, u32 n, u64 ns)
{
	char buf[WORDS * 8];
	u32 len, v = n;

	memset(out, 0, (WORDS - 2) * 8);
	if (shape == 5) { /* an event: two counters, flags, an address */
		out[0] = n | (u64)(n / 7) << 32;
		out[1] = 0xffff888000000000ull + (u64)n * 64;
		return 16;
	}
	if (shape == 6) { /* an array of u32 samples */
		for (len = 0; len < 8; len++)
			out[len] = (n + len) | (u64)(n - len) << 32;
		return 64;
	}
	len = line(buf + 4, sizeof(buf) - 4, shape, n, ns);
	if (len > 200)
		len = 200;
	memcpy(buf, &v, 4);
	memcpy(out, buf, len + 4);
	return len + 4;
}

static void base(struct trials *t)
{
	int shape = (int)below(t, 7), old_shape = shape;
	u32 len, order = 12 + below(t, 11), laps = 1 + below(t, 4), i, olen;
	u64 ns = rnd(t) >> 20, meta = below(t, 256) << 16 | below(t, 256) << 24;

	t->serial += 1 + below(t, 3);
	t->seed = rnd(t);
	t->ring = 1ull << order;
	t->pos = (rnd(t) >> (16 + below(t, 40)) & ~7ull) + laps * t->ring;
	t->old_pos = t->pos - laps * t->ring;
	if (below(t, 8) == 0)
		old_shape = (int)below(t, 7);
	/* Behind it: the beginning of its successor, here only plausible. */
	len = payload(t->rec + 2, shape, t->serial + 1, ns);
	memcpy(t->old, t->rec, sizeof(t->old));
	len = payload(t->rec + 2, shape, t->serial, ns);
	t->words = 2 + (len + 7) / 8;
	seal(t, t->rec, t->pos, len, (u32)meta, ns);
	olen = payload(t->old + 2, old_shape,
		       t->serial - laps * (u32)(t->ring / 96), ns);
	for (i = t->words; i < WORDS; i++)
		t->rec[i] = t->old[i] ? t->old[i] : rnd(t);
	seal(t, t->old, t->old_pos, olen, (u32)meta,
	     ns - laps * (t->ring / 96) * (1000 + below(t, 1000000)));
}

static void fresh(struct trials *t)
{
	memcpy(t->mem, t->rec, sizeof(t->mem));
}

/* What else may lie under a half-written record. */
static void underlay(struct trials *t)
{
	u32 kind = below(t, 4), i;

	if (kind > 1)
		return;
	for (i = 0; i < WORDS; i++)
		t->old[i] = kind ? rnd(t) : 0;
	t->old_pos = ~0ull;
}

/* A record written up to some byte, older content from there on or before. */
static void torn(struct trials *t, u32 unit)
{
	u32 cut = unit, i, end = t->words * 8;
	u64 old_pos = t->old_pos;

	underlay(t);
	for (i = 0; i < BATCH; i++, cut += unit) {
		if (cut >= end)
			cut = unit;
		if (i & 1) { /* new first */
			memcpy(t->mem, t->rec, cut);
			memcpy((u8 *)t->mem + cut, (u8 *)t->old + cut,
			       sizeof(t->mem) - cut);
			present(t, t->seed, t->pos);
		} else { /* old header, new body; read as either lap */
			memcpy(t->mem, t->old, cut);
			memcpy((u8 *)t->mem + cut, (u8 *)t->rec + cut,
			       sizeof(t->mem) - cut);
			present(t, t->seed, i & 2 ? t->pos : old_pos);
		}
		if (cut + unit >= end)
			base(t), underlay(t), old_pos = t->old_pos,
					      end = t->words * 8, cut = 0;
	}
}

static void m_torn8(struct trials *t)
{
	torn(t, 8);
}

static void m_torn1(struct trials *t)
{
	torn(t, 1);
}

/* Some words new, some old, in any order: what caches may leave. */
static void m_mosaic(struct trials *t)
{
	u32 i, j;

	underlay(t);
	for (j = 0; j < BATCH; j++) {
		u64 mask = rnd(t) & ((1ull << t->words) - 1);

		for (i = 0; i < t->words; i++)
			t->mem[i] = mask >> i & 1 ? t->old[i] : t->rec[i];
		memcpy(t->mem + i, t->rec + i, sizeof(t->mem) - i * 8);
		present(t, t->seed, t->pos);
	}
}

/* A whole record of an earlier lap, rings of common size. */
static void m_stale(struct trials *t)
{
	u32 i;

	memcpy(t->mem, t->old, sizeof(t->mem));
	for (i = 1; i <= BATCH; i++)
		present(t, t->seed, t->old_pos + i * t->ring);
}

/* The same with rings from 2^12 to 2^40, also no power of two. */
static void m_laps(struct trials *t)
{
	u32 i;

	fresh(t);
	for (i = 0; i < BATCH; i++) {
		u64 size = (u64)(1 + 2 * below(t, 2) * below(t, 8))
			   << (12 + below(t, 29));

		present(t, t->seed, t->pos + (1 + below(t, 1000)) * size);
	}
}

/* Found at the wrong place near by. */
static void m_place(struct trials *t)
{
	u32 i;

	fresh(t);
	for (i = 1; i <= BATCH / 2; i++) {
		present(t, t->seed, t->pos + 8 * i);
		present(t, t->seed, t->pos - 8 * i);
	}
}

/* Found in another ring or region, whose seed is close by. */
static void m_seed(struct trials *t)
{
	u32 i;

	fresh(t);
	for (i = 0; i < BATCH; i++) {
		u64 seed = t->seed ^ 1ull << i;

		if (below(t, 2))
			seed ^= 1ull << below(t, 64);
		if (seed != t->seed)
			present(t, seed, t->pos);
	}
}

static void flips(struct trials *t, u32 n)
{
	u32 i, j, bits = t->words * 64;

	for (i = 0; i < BATCH; i++) {
		fresh(t);
		for (j = 0; j < n; j++) {
			u32 bit = below(t, bits);

			t->mem[bit / 64] ^= 1ull << bit % 64;
		}
		present(t, t->seed, t->pos);
	}
}

static void m_flip1(struct trials *t)
{
	flips(t, 1);
}

static void m_flip2(struct trials *t)
{
	flips(t, 2);
}

static void m_flip3(struct trials *t)
{
	flips(t, 3);
}

static void m_flip4(struct trials *t)
{
	flips(t, 4);
}

/* Random damage within 2 to 96 neighbouring bits. */
static void m_burst(struct trials *t)
{
	u32 i, bits = t->words * 64;

	for (i = 0; i < BATCH; i++) {
		u32 width = 2 + below(t, 95), at = below(t, bits - width);
		u64 noise = rnd(t) | 1;

		fresh(t);
		if (width < 64)
			noise &= (1ull << width) - 1;
		t->mem[at / 64] ^= noise << at % 64;
		if (at % 64 && at / 64 + 1 < t->words)
			t->mem[at / 64 + 1] ^= noise >> (64 - at % 64);
		if (width > 64 && at / 64 + 1 < t->words)
			t->mem[at / 64 + 1] ^= rnd(t) << at % 64;
		present(t, t->seed, t->pos);
	}
}

/* Several payload words differ, each in one byte, always the same one. */
static void same_byte(struct trials *t, u32 shift, u64 bits)
{
	u32 i, j;

	for (i = 0; i < BATCH; i++) {
		u64 r = rnd(t), which = rnd(t);

		fresh(t);
		for (j = 2; j < t->words; j++, r = rotl64(r, 11))
			if (which >> j & 1)
				t->mem[j] ^= (r & bits) << shift;
		present(t, t->seed, t->pos);
	}
}

static void m_byte7(struct trials *t)
{
	same_byte(t, 56, 0xff);
}

static void m_byte0(struct trials *t)
{
	same_byte(t, 0, 0xff);
}

/* Signs of 64-bit values. */
static void m_sign64(struct trials *t)
{
	same_byte(t, 63, 1);
}

/* Signs of 32-bit values. */
static void m_sign32(struct trials *t)
{
	same_byte(t, 31, 0x100000001ull);
}

/* Both halves of several words change alike, as arrays of u32 may. */
static void halves(struct trials *t, u64 one)
{
	u32 i, j;

	for (i = 0; i < BATCH; i++) {
		u64 which = rnd(t),
		    d = one ? one << below(t, 32) : rnd(t) & 0xffffffff;

		fresh(t);
		d = (d & 0xffffffff) * 0x100000001ull;
		for (j = 2; j < t->words; j++)
			if (which >> j & 1)
				t->mem[j] ^= d;
		present(t, t->seed, t->pos);
	}
}

static void m_halves(struct trials *t)
{
	halves(t, 0);
}

static void m_halfbit(struct trials *t)
{
	halves(t, 1);
}

/* Several words get the same xor, a single bit or a random one. */
static void m_alike(struct trials *t)
{
	u32 i, j;

	for (i = 0; i < BATCH; i++) {
		u64 which = rnd(t), d = i & 1 ? rnd(t) : 1ull << below(t, 64);

		fresh(t);
		for (j = 2; j < t->words; j++)
			if (which >> j & 1)
				t->mem[j] ^= d;
		present(t, t->seed, t->pos);
	}
}

/* What one word gains another loses, a power of two words away. */
static void m_opposed(struct trials *t)
{
	u32 i;

	for (i = 0; i < BATCH; i++) {
		u32 gap = 1u << below(t, 4), j;
		u64 d = 1ull << below(t, 64);

		if (2 + gap >= t->words)
			continue;
		fresh(t);
		j = 2 + below(t, t->words - 2 - gap);
		t->mem[j] += d;
		t->mem[j + gap] -= i & 1 ? d : d * PHI;
		present(t, t->seed, t->pos);
	}
}

static void m_swap(struct trials *t)
{
	u32 i, a, b;

	for (i = 0; i < BATCH; i++) {
		fresh(t);
		a = 1 + below(t, t->words - 1);
		b = 1 + below(t, t->words - 1);
		t->mem[a] = t->rec[b];
		t->mem[b] = t->rec[a];
		if (t->mem[a] != t->rec[a])
			present(t, t->seed, t->pos);
	}
}

static void m_repeat(struct trials *t)
{
	u32 i, j, a;

	for (i = 0; i < BATCH; i++) {
		u64 w;

		fresh(t);
		a = 1 + below(t, t->words - 1);
		w = t->rec[1 + below(t, t->words - 1)];
		for (j = a; j < t->words && j < a + 1 + i % 4; j++)
			t->mem[j] = w;
		if (memcmp(t->mem, t->rec, t->words * 8))
			present(t, t->seed, t->pos);
	}
}

/* Everything from some word on lies 8 bytes late or early. */
static void m_shift(struct trials *t)
{
	u32 a;

	for (a = 1; a < t->words; a++) {
		u32 n = t->words - a - 1;

		fresh(t);
		memcpy(t->mem + a + 1, t->rec + a, n * 8);
		if (memcmp(t->mem, t->rec, t->words * 8))
			present(t, t->seed, t->pos);
		fresh(t);
		memcpy(t->mem + a, t->rec + a + 1, (WORDS - a - 1) * 8);
		present(t, t->seed, t->pos);
	}
}

/* A cache line never arrived; lines begin anywhere in the record. */
static void m_zeroline(struct trials *t)
{
	int at, j;

	for (at = -7; at < (int)t->words; at++) {
		fresh(t);
		for (j = at < 1 ? 1 : at; j < at + 8 && j < (int)t->words; j++)
			t->mem[j] = 0;
		if (memcmp(t->mem, t->rec, t->words * 8))
			present(t, t->seed, t->pos);
	}
}

/* The same text with another number in it. */
static void m_digits(struct trials *t)
{
	u32 i, j, n = t->words * 8 - 20;
	u8 *p = (u8 *)t->mem + 20;

	for (i = 0; i < BATCH; i++) {
		u32 at = below(t, n), v = (u32)rnd(t);

		fresh(t);
		for (j = at; j < n && j < at + 1 + i % 8; j++, v /= 10)
			p[j] = (u8)('0' + v % 10);
		if (memcmp(t->mem, t->rec, t->words * 8))
			present(t, t->seed, t->pos);
	}
}

/* The length says more or less than there is. */
static void m_len(struct trials *t)
{
	u32 i, len = (u32)(t->rec[0] >> 32 & 0xffff);

	for (i = 0; i < (WORDS - 2) * 8; i++) {
		fresh(t);
		t->mem[0] ^= (u64)(i ^ len) << 32;
		if (i != len)
			present(t, t->seed, t->pos);
	}
}

/* No record at all: random words, or zeros behind a random header. */
static void m_noise(struct trials *t)
{
	u32 i, j;

	for (i = 0; i < BATCH; i++) {
		for (j = 0; j < WORDS; j++)
			t->mem[j] = i & 1 || j < 2 ? rnd(t) : 0;
		t->mem[0] &= ~(0xff00ull << 32);
		present(t, t->seed, t->pos);
	}
}

static const struct {
	const char *name;
	void (*run)(struct trials *t);
} models[] = {
	{ "torn8", m_torn8 },	{ "torn1", m_torn1 },
	{ "mosaic", m_mosaic }, { "stale", m_stale },
	{ "laps", m_laps },	{ "place", m_place },
	{ "seed", m_seed },	{ "flip1", m_flip1 },
	{ "flip2", m_flip2 },	{ "flip3", m_flip3 },
	{ "flip4", m_flip4 },	{ "burst", m_burst },
	{ "byte7", m_byte7 },	{ "byte0", m_byte0 },
	{ "sign64", m_sign64 }, { "sign32", m_sign32 },
	{ "halves", m_halves }, { "halfbit", m_halfbit },
	{ "alike", m_alike },	{ "opposed", m_opposed },
	{ "swap", m_swap },	{ "repeat", m_repeat },
	{ "shift", m_shift },	{ "zeroline", m_zeroline },
	{ "digits", m_digits }, { "len", m_len },
	{ "noise", m_noise },
};

#define MODELS (sizeof(models) / sizeof(models[0]))

/* Chance of seeing at least n events where mean are expected. */
static double poisson_tail(double mean, u64 n)
{
	double term = 1, sum = 1, e = 1;
	u64 i;

	if (!n)
		return 1;
	if (mean > 600 || n > 2000)
		return n > mean + 6 * (mean / 2 + 20) ? 0 : -1;
	for (i = 1; i < n; i++) {
		term *= mean / (double)i;
		sum += term;
	}
	/* e^-mean by squaring: no libm. */
	{
		double x = mean / 1024, y = 1 - x + x * x / 2 - x * x * x / 6;

		for (i = 0; i < 10; i++)
			y *= y;
		e = y;
	}
	sum = 1 - sum * e;
	return sum < 0 ? 0 : sum;
}

static void report(const char *hash, const char *name, const struct trials *t)
{
	double n = (double)t->done;

	printf("%-8s %-9s %14" PRIu64 " %10" PRIu64 " %8.3f %7.4f %10" PRIu64
	       " %10" PRIu64 " %9.1f\n",
	       hash, name, t->done, t->miss, n / 4294967296.0,
	       poisson_tail(n / 4294967296.0, t->miss), t->low24, t->high24,
	       (double)t->near / 16777216.0);
	fflush(stdout);
}

int trials_main(const struct hash *h, const char *model, u64 trials, u64 seed)
{
	struct trials all = { 0 };
	u32 i, j, ran = 0;

	printf("%-8s %-9s %14s %10s %8s %7s %10s %10s %9s\n", "hash", "model",
	       "trials", "missed", "expected", "P(>=)", "low 24", "high 24",
	       "expected");
	for (i = 0; i < MODELS; i++) {
		struct trials t = { .hash = h };
		u64 x = seed * 1000003 + i, n = trials;

		if (!strcmp(model, "all"))
			n /= MODELS;
		else if (strcmp(model, models[i].name))
			continue;
		for (j = 0; j < 4; j++)
			t.rng[j] = splitmix(&x);
		t.serial = (u32)t.rng[0];
		while (t.done < n && t.skipped <= t.done + 100000) {
			base(&t);
			models[i].run(&t);
		}
		report(h->name, models[i].name, &t);
		all.done += t.done;
		all.near += t.near;
		all.miss += t.miss;
		all.low24 += t.low24;
		all.high24 += t.high24;
		ran++;
	}
	if (!ran) {
		fprintf(stderr, "checksum: no model named %s\n", model);
		return 2;
	}
	if (ran > 1)
		report(h->name, "all", &all);
	return 0;
}
