/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Candidates for the 32-bit check of a dlog record.
 *
 * Each candidate NAME is a state type NAME_t and four functions: init(seed,
 * pos), head(state, meta, time) for the header, word(state, w), and final(),
 * which yields the check. word4() takes four words at once, so that a
 * candidate whose algebra lets it break the dependency chain can do so.
 * All arithmetic is on 64-bit values loaded as little-endian.
 */
#ifndef CHECKSUM_HASH_H
#define CHECKSUM_HASH_H

#include <stdint.h>
#include <string.h>

#include "dlog_check.h"

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define ALWAYS_INLINE inline __attribute__((always_inline))
#define NO_ATTR

static ALWAYS_INLINE u64 le64(u64 v)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	return __builtin_bswap64(v);
#else
	return v;
#endif
}

static ALWAYS_INLINE u64 load64(const void *p)
{
	u64 v;

	memcpy(&v, p, sizeof(v));
	return le64(v);
}

static ALWAYS_INLINE u64 rotl64(u64 v, int n)
{
	return v << n | v >> (64 - n);
}

#define PHI 0x9E3779B97F4A7C15ull /* 2^64 / golden ratio, = 5 mod 8 */
#define MUL1 0xD6E8FEB86659FD93ull /* the multiplier of degski64 */
#define MUL2 0xBF58476D1CE4E5B9ull /* splitmix64's first multiplier */
#define K2 (PHI * PHI)
#define K3 (K2 * PHI)
#define K4 (K2 * K2)

/* Candidates without a shortcut get these. */
#define DEFAULT_HEAD(name, attr)                                               \
	static ALWAYS_INLINE attr name##_t name##_head(name##_t h, u32 meta,   \
						       u64 time)               \
	{                                                                      \
		return name##_word(name##_word(h, meta), time);                \
	}

#define DEFAULT_WORD4(name, attr)                                              \
	static ALWAYS_INLINE attr name##_t name##_word4(name##_t h, u64 a,     \
							u64 b, u64 c, u64 d)   \
	{                                                                      \
		h = name##_word(name##_word(h, a), b);                         \
		return name##_word(name##_word(h, c), d);                      \
	}

static ALWAYS_INLINE u32 nonzero(u32 check)
{
	return check ? check : 1;
}

/* -- none: the floor, a copy and no check ------------------------------- */
typedef u64 none_t;
static ALWAYS_INLINE u64 none_init(u64 seed, u64 pos)
{
	(void)seed;
	(void)pos;
	return 0;
}
static ALWAYS_INLINE u64 none_word(u64 h, u64 w)
{
	(void)w;
	return h;
}
static ALWAYS_INLINE u32 none_final(u64 h)
{
	(void)h;
	return 1;
}
DEFAULT_HEAD(none, NO_ATTR)
DEFAULT_WORD4(none, NO_ATTR)

/*
 * -- poly family -----------------------------------------------------------
 * h = h * K + mix(w) mod 2^64. One definition, several mix and final.
 *   poly0  the first proposal: fold; init not folded; one multiply at the end
 *   polys  poly0, plain loop (no word4 shortcut): what unrolling is worth
 *   polya  poly0 with folded init, two multiplies at the end
 *   polyb  mix is fold, multiply, fold
 *   poly   mix is multiply, fold; the seed is taken to be well mixed
 *   poly4  poly, four words at a time
 *   polyl  poly4 with a linear start: seed + position + (type, length) << 32,
 *	    one multiplication for all three; one multiplication at the end
 *   polyl2 the same with two multiplications at the end
 *   polyw  the same with one of 64 by 64 to 128 bits at the end
 *   polyr  the format's: polyw whose mix is multiply, exchange the halves;
 *	    by the code of shared-abi itself
 *   polyh  words of 32 bits instead of a mix
 */
static ALWAYS_INLINE u64 fold(u64 w)
{
	return w ^ w >> 32;
}

static ALWAYS_INLINE u64 mixc(u64 w)
{
	return fold(w * MUL1);
}

static ALWAYS_INLINE u64 mixb(u64 w)
{
	return fold(fold(w) * MUL1);
}

static ALWAYS_INLINE u32 final1(u64 h)
{
	return nonzero((u32)(fold(h) * MUL1 >> 32));
}

static ALWAYS_INLINE u32 final2(u64 h)
{
	h = fold(h) * MUL1;
	h = (h ^ h >> 29) * MUL2;
	return nonzero((u32)(h >> 32));
}

/* As final2, with one constant. */
static ALWAYS_INLINE u32 final3(u64 h)
{
	h = fold(h) * MUL1;
	h = (h ^ h >> 29) * MUL1;
	return nonzero((u32)(h >> 32));
}

#define POLY_BODY(name, mix, start, first, finalfn)                            \
	typedef u64 name##_t;                                                  \
	static ALWAYS_INLINE u64 name##_init(u64 seed, u64 pos)                \
	{                                                                      \
		return start;                                                  \
	}                                                                      \
	static ALWAYS_INLINE u64 name##_word(u64 h, u64 w)                     \
	{                                                                      \
		return h * PHI + mix(w);                                       \
	}                                                                      \
	static ALWAYS_INLINE u64 name##_head(u64 h, u32 meta, u64 time)        \
	{                                                                      \
		return first + mix(time);                                      \
	}                                                                      \
	static ALWAYS_INLINE u32 name##_final(u64 h)                           \
	{                                                                      \
		return finalfn(h);                                             \
	}

/* Type and length as a word of their own. */
#define META_WORD(mix) (h * K2 + mix((u64)meta) * PHI)

#define POLY(name, mix, initmix, finalfn)                                      \
	POLY_BODY(name, mix, initmix(seed + pos * MUL2), META_WORD(mix),       \
		  finalfn)

#define POLY_WORD4(name, mix)                                                  \
	static ALWAYS_INLINE u64 name##_word4(u64 h, u64 a, u64 b, u64 c,      \
					      u64 d)                           \
	{                                                                      \
		return h * K4 + mix(a) * K3 + mix(b) * K2 + mix(c) * PHI +     \
		       mix(d);                                                 \
	}

#define same(x) (x)

POLY(poly0, fold, same, final1)
POLY_WORD4(poly0, fold)
POLY(polys, fold, same, final1)
DEFAULT_WORD4(polys, NO_ATTR)
POLY(polya, fold, fold, final2)
POLY_WORD4(polya, fold)
POLY(polyb, mixb, mixb, final1)
POLY_WORD4(polyb, mixb)
POLY_BODY(poly, mixc, mixc(seed + pos), META_WORD(mixc), final3)
DEFAULT_WORD4(poly, NO_ATTR)
POLY_BODY(poly4, mixc, mixc(seed + pos), META_WORD(mixc), final3)
POLY_WORD4(poly4, mixc)

/* Type and length join the start; whether it is 0 the reader sees by them. */
static ALWAYS_INLINE u32 final1z(u64 h)
{
	return (u32)(fold(h) * MUL1 >> 32);
}

/* All 128 bits of one product, folded. */
static ALWAYS_INLINE u32 finalw(u64 h)
{
	unsigned __int128 p = (unsigned __int128)h * MUL1;

	return (u32)(((u64)p ^ (u64)(p >> 64)) >> 32);
}

#define POLYL(name, mix, finalfn)                                              \
	POLY_BODY(name, mix, seed + pos, (h + ((u64)meta << 32)) * PHI, finalfn)

POLYL(polyl, mixc, final1z)
POLY_WORD4(polyl, mixc)
POLYL(polyl2, mixc, final3)
POLY_WORD4(polyl2, mixc)
POLYL(polyw, mixc, finalw)
POLY_WORD4(polyw, mixc)
POLYL(polyr, dlog_hash_mix, dlog_hash_final)
POLY_WORD4(polyr, dlog_hash_mix)

typedef u64 polyh_t;
static ALWAYS_INLINE u64 polyh_init(u64 seed, u64 pos)
{
	return fold(seed + pos * MUL2);
}
static ALWAYS_INLINE u64 polyh_word(u64 h, u64 w)
{
	return h * K2 + (u32)w * PHI + (w >> 32);
}
static ALWAYS_INLINE u32 polyh_final(u64 h)
{
	return final2(h);
}
DEFAULT_HEAD(polyh, NO_ATTR)
DEFAULT_WORD4(polyh, NO_ATTR)

/* -- fx: rotate, xor, multiply ----------------------------------------- */
typedef u64 fx_t;
static ALWAYS_INLINE u64 fx_init(u64 seed, u64 pos)
{
	return fold(seed + pos * MUL2);
}
static ALWAYS_INLINE u64 fx_word(u64 h, u64 w)
{
	return (rotl64(h, 29) ^ w) * PHI;
}
static ALWAYS_INLINE u32 fx_final(u64 h)
{
	return final1(h);
}
DEFAULT_HEAD(fx, NO_ATTR)
DEFAULT_WORD4(fx, NO_ATTR)

/* -- fx2: two lanes of fx, words alternate within a group of four ------- */
typedef struct {
	u64 a, b;
} fx2_t;
static ALWAYS_INLINE fx2_t fx2_init(u64 seed, u64 pos)
{
	u64 h = fold(seed + pos * MUL2);

	return (fx2_t){ h, h ^ MUL1 };
}
/* A word goes to lane a, and the lanes change places. */
static ALWAYS_INLINE fx2_t fx2_word(fx2_t h, u64 w)
{
	return (fx2_t){ h.b, (rotl64(h.a, 29) ^ w) * PHI };
}
static ALWAYS_INLINE u32 fx2_final(fx2_t h)
{
	return final1(h.a * MUL2 + rotl64(h.b, 32));
}
DEFAULT_HEAD(fx2, NO_ATTR)
DEFAULT_WORD4(fx2, NO_ATTR)

/* -- xxh: XXH64's short-input round ------------------------------------ */
#define XP1 0x9E3779B185EBCA87ull
#define XP2 0xC2B2AE3D27D4EB4Full
#define XP3 0x165667B19E3779F9ull
#define XP4 0x85EBCA77C2B2AE63ull
typedef u64 xxh_t;
static ALWAYS_INLINE u64 xxh_word(u64 h, u64 w)
{
	h ^= rotl64(w * XP2, 31) * XP1;
	return rotl64(h, 27) * XP1 + XP4;
}
static ALWAYS_INLINE u64 xxh_init(u64 seed, u64 pos)
{
	return xxh_word(seed, pos);
}
static ALWAYS_INLINE u32 xxh_final(u64 h)
{
	h = (h ^ h >> 33) * XP2;
	h = (h ^ h >> 29) * XP3;
	return nonzero((u32)(h ^ h >> 32));
}
DEFAULT_HEAD(xxh, NO_ATTR)
DEFAULT_WORD4(xxh, NO_ATTR)

/* -- fnv: FNV-1a's step on 64-bit words -------------------------------- */
typedef u64 fnv_t;
static ALWAYS_INLINE u64 fnv_word(u64 h, u64 w)
{
	return (h ^ w) * 0x100000001B3ull;
}
static ALWAYS_INLINE u64 fnv_init(u64 seed, u64 pos)
{
	return fnv_word(0xCBF29CE484222325ull ^ seed, pos);
}
static ALWAYS_INLINE u32 fnv_final(u64 h)
{
	return nonzero((u32)fold(h));
}
DEFAULT_HEAD(fnv, NO_ATTR)
DEFAULT_WORD4(fnv, NO_ATTR)

/* -- fletcher: two running sums over 32-bit halves, mod 2^64 ------------ */
typedef struct {
	u64 a, b;
} fletcher_t;
static ALWAYS_INLINE fletcher_t fletcher_word(fletcher_t h, u64 w)
{
	h.a += (u32)w;
	h.b += h.a;
	h.a += w >> 32;
	h.b += h.a;
	return h;
}
static ALWAYS_INLINE fletcher_t fletcher_init(u64 seed, u64 pos)
{
	return fletcher_word((fletcher_t){ seed, 0 }, pos);
}
static ALWAYS_INLINE u32 fletcher_final(fletcher_t h)
{
	return nonzero((u32)(fold(h.a) * 31 + fold(h.b)));
}
DEFAULT_HEAD(fletcher, NO_ATTR)
DEFAULT_WORD4(fletcher, NO_ATTR)

/* -- crcsw: CRC-32C, slice by 8 ----------------------------------------- */
extern u32 crc_table[8][256];
typedef u32 crcsw_t;
static ALWAYS_INLINE u32 crcsw_word(u32 crc, u64 w)
{
	w ^= crc;
	return crc_table[7][w & 255] ^ crc_table[6][w >> 8 & 255] ^
	       crc_table[5][w >> 16 & 255] ^ crc_table[4][w >> 24 & 255] ^
	       crc_table[3][w >> 32 & 255] ^ crc_table[2][w >> 40 & 255] ^
	       crc_table[1][w >> 48 & 255] ^ crc_table[0][w >> 56];
}
/* The seed's low half is the ring's CRC of UUID and ring number. */
static ALWAYS_INLINE u32 crcsw_init(u64 seed, u64 pos)
{
	return crcsw_word((u32)seed, pos);
}
static ALWAYS_INLINE u32 crcsw_final(u32 crc)
{
	return nonzero(~crc);
}
DEFAULT_HEAD(crcsw, NO_ATTR)
DEFAULT_WORD4(crcsw, NO_ATTR)

/* -- crchw: the same value by SSE4.2 ------------------------------------ */
#ifdef __x86_64__
#define CRCHW_ATTR __attribute__((target("sse4.2")))
typedef u64 crchw_t;
static ALWAYS_INLINE CRCHW_ATTR u64 crchw_word(u64 crc, u64 w)
{
	return __builtin_ia32_crc32di(crc, w);
}
static ALWAYS_INLINE CRCHW_ATTR u64 crchw_init(u64 seed, u64 pos)
{
	return crchw_word((u32)seed, pos);
}
static ALWAYS_INLINE CRCHW_ATTR u32 crchw_final(u64 crc)
{
	return nonzero(~(u32)crc);
}
DEFAULT_HEAD(crchw, CRCHW_ATTR)
DEFAULT_WORD4(crchw, CRCHW_ATTR)
#define FOR_EACH_X86(X) X(crchw, CRCHW_ATTR)
#else
#define FOR_EACH_X86(X)
#endif

/* clang-format off */
#define FOR_EACH_HASH(X) \
	X(none, NO_ATTR) \
	FOR_EACH_X86(X) \
	X(crcsw, NO_ATTR) \
	X(poly0, NO_ATTR) \
	X(polys, NO_ATTR) \
	X(polya, NO_ATTR) \
	X(polyb, NO_ATTR) \
	X(poly, NO_ATTR) \
	X(poly4, NO_ATTR) \
	X(polyl, NO_ATTR) \
	X(polyl2, NO_ATTR) \
	X(polyw, NO_ATTR) \
	X(polyr, NO_ATTR) \
	X(polyh, NO_ATTR) \
	X(fx, NO_ATTR) \
	X(fx2, NO_ATTR) \
	X(xxh, NO_ATTR) \
	X(fnv, NO_ATTR) \
	X(fletcher, NO_ATTR)
/* clang-format on */

/*
 * What a producer and a reader do with it. text() and event() copy while they
 * hash and never read the destination; check() hashes a record in place.
 */
struct hash {
	const char *name;
	void (*text)(u64 *dst, u64 seed, u64 pos, u64 time, u32 prefix,
		     const u8 *text, u32 len);
	void (*event)(u64 *dst, u64 seed, u64 pos, u64 time, const void *data,
		      u32 len);
	u32 (*check)(const u64 *rec, u64 seed, u64 pos, u32 words);
};

extern const struct hash hashes[];
const struct hash *hash_find(const char *name);
void crc_setup(void);

int trials_main(const struct hash *h, const char *model, u64 trials, u64 seed);

#endif
