/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dlog_check.h - the 32-bit check with which each record proves itself.
 *
 * A polynomial over 64-bit words modulo 2^64 that begins with seed (region
 * and ring), position, type and length, finished by one multiplication that
 * brings every bit into the 32 that are kept.  docs/abi.md, "Why this check",
 * has the measurements that chose it.  Two properties matter to callers:
 *
 * - The same words at another position, in another ring or in another region
 *   have another check: a record of an earlier lap cannot pass for a live
 *   one.
 * - The hash of any run of words follows from the prefix hashes of the whole
 *   (docs/abi.md, appendix), so a reader tests every offset of a damaged
 *   sub-buffer in time linear in its size, whatever an attacker wrote there.
 *
 * Plain integer arithmetic: the same on every CPU and compiler.
 */
#ifndef DLOG_CHECK_H
#define DLOG_CHECK_H

#include "dlog_types.h"

#ifndef UINT64_C
#define UINT64_C(x) x##ULL
#endif

#define DLOG_HASH_K UINT64_C(0x9e3779b97f4a7c15)
#define DLOG_HASH_C UINT64_C(0xd6e8feb86659fd93)

/*
 * Spread a word's bits before they enter the polynomial: without the
 * multiplication equal changes in both halves of two words would cancel,
 * without the exchange of halves changes of their highest bits.  Reversible.
 */
DLOG_INLINE uint64_t dlog_hash_mix(uint64_t w)
{
	w *= DLOG_HASH_C;
	return w << 32 | w >> 32;
}

/*
 * State before the first word.  @seed is well mixed (dlog_hash_seed), since
 * the rest is only added.  @top is never 0, so that zeroed memory is nothing.
 */
DLOG_INLINE uint64_t dlog_hash_start(uint64_t seed, uint64_t position,
				     uint32_t top)
{
	return seed + position + ((uint64_t)top << 32);
}

DLOG_INLINE uint64_t dlog_hash_word(uint64_t h, uint64_t w)
{
	return h * DLOG_HASH_K + dlog_hash_mix(w);
}

/*
 * Check of a record whose data is not there yet.  Its multiplication is the
 * one that the first word needs too.
 */
DLOG_INLINE uint32_t dlog_hash_open(uint64_t start)
{
	return (uint32_t)(start * DLOG_HASH_K >> 32);
}

/* Low and high half of the 128-bit product, one folded on the other. */
DLOG_INLINE uint64_t dlog_mul_fold(uint64_t a, uint64_t b)
{
#if defined(__x86_64__)
	/* gcc keeps all that a 128-bit type touches in memory. */
	__asm__("mulq %2" : "+a"(a), "=d"(b) : "r"(b) : "cc");
	return a ^ b;
#elif defined(__SIZEOF_INT128__)
	unsigned __int128 p = (unsigned __int128)a * b;

	return (uint64_t)p ^ (uint64_t)(p >> 64);
#else
	uint64_t al = (uint32_t)a, ah = a >> 32;
	uint64_t bl = (uint32_t)b, bh = b >> 32;
	uint64_t mid = ah * bl + (al * bl >> 32);
	uint64_t mid2 = al * bh + (uint32_t)mid;

	return a * b ^ (ah * bh + (mid >> 32) + (mid2 >> 32));
#endif
}

DLOG_INLINE uint32_t dlog_hash_final(uint64_t h)
{
	return (uint32_t)(dlog_mul_fold(h, DLOG_HASH_C) >> 32);
}

/* Seed of one ring of one region; @uuid points to 16 bytes. */
DLOG_INLINE uint64_t dlog_hash_seed(const void *uuid, uint32_t ring)
{
	uint64_t h = dlog_hash_start(dlog_load64(uuid), 0, ring);

	h = dlog_hash_word(h, dlog_load64((const uint8_t *)uuid + 8));
	h = dlog_mul_fold(h, DLOG_HASH_C);
	return dlog_mul_fold(h, DLOG_HASH_K);
}

#endif
