/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dlog_check.h - the 32-bit check with which each record proves itself.
 *
 * A polynomial over 64-bit words modulo 2^64, started from a seed (region
 * and ring) and a position, and finished by a multiplication that brings
 * every bit into the 32 that are kept.  docs/abi.md, "Why this check", has
 * the measurements that chose it.  Two properties matter to callers:
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
 * without the fold changes of their highest bits.  Reversible.
 */
DLOG_INLINE uint64_t dlog_hash_mix(uint64_t w)
{
	w *= DLOG_HASH_C;
	return w ^ (w >> 32);
}

/* @seed is well mixed (dlog_hash_seed), since the position is added to it. */
DLOG_INLINE uint64_t dlog_hash_init(uint64_t seed, uint64_t position)
{
	return dlog_hash_mix(seed + position);
}

DLOG_INLINE uint64_t dlog_hash_word(uint64_t h, uint64_t w)
{
	return h * DLOG_HASH_K + dlog_hash_mix(w);
}

/* Never 0, so that zeroed memory holds no valid record. */
DLOG_INLINE uint32_t dlog_hash_final(uint64_t h)
{
	uint32_t check;

	h = (h ^ (h >> 32)) * DLOG_HASH_C;
	h = (h ^ (h >> 29)) * DLOG_HASH_C;
	check = (uint32_t)(h >> 32);
	return check ? check : 1;
}

/* Seed of one ring of one region; @uuid points to 16 bytes. */
DLOG_INLINE uint64_t dlog_hash_seed(const void *uuid, uint32_t ring)
{
	uint64_t h = dlog_hash_mix(dlog_load64(uuid));

	h = dlog_hash_word(h, dlog_load64((const uint8_t *)uuid + 8));
	h = dlog_hash_word(h, ring);
	h = (h ^ (h >> 32)) * DLOG_HASH_C;
	h = (h ^ (h >> 29)) * DLOG_HASH_C;
	return h ^ (h >> 32);
}

#endif
