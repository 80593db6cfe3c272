/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dlog_record.h - what a record and a checked object look like in memory:
 * writing one and telling whether one is there.
 *
 * Used by the writer (dlog_ring.h, dlog_region.h) and by libdlog, so that
 * both agree by construction.  Relies on dlog_abi.h and dlog_check.h.
 */
#ifndef DLOG_RECORD_H
#define DLOG_RECORD_H

#include "dlog_abi.h"
#include "dlog_check.h"

enum dlog_record_state {
	DLOG_RECORD_NONE, /* nothing that proves itself */
	DLOG_RECORD_OPEN, /* reserved, never committed */
	DLOG_RECORD_FULL, /* committed */
};

/* Store one word of data; returns the hash with it. */
DLOG_INLINE uint64_t dlog_record_word(uint8_t *to, uint64_t h, uint64_t w)
{
	dlog_put64(to, w);
	h = dlog_hash_word(h, w);
	dlog_hide(h);
	return h;
}

/*
 * The last @n bytes (0 to 7) of a source of @len bytes that end at @end, as
 * a word.  Reads no byte outside the source.
 */
DLOG_INLINE uint64_t dlog_record_tail(const uint8_t *end, size_t n, size_t len)
{
	uint64_t w = 0;

	if (dlog_likely(len >= 8))
		return dlog_load64(end - 8) >> (-8 * n & 63);
	for (end -= n; n; n--)
		w = w << 8 | end[n - 1];
	return w;
}

/*
 * Write a record whose data is @data, or with @tagged the four bytes of @tag
 * and then @data; @len counts both.  @dst is 8-byte aligned region memory of
 * DLOG_REC_SIZE(@len) bytes.  Only stores go there, the commit last.  What is
 * stored is what is hashed, so a source that changes meanwhile cannot make
 * the check wrong.  Any context.
 *
 * Order of stores (A to D are the labels of dlog_ring.h):
 *   A  word 0 with the open check
 *   B  word 1, data
 *   D  full check, release
 */
DLOG_INLINE void dlog_record_write(uint8_t *dst, uint64_t seed,
				   uint64_t position, uint32_t type,
				   uint64_t time, bool tagged, uint32_t tag,
				   const void *data, size_t len)
{
	uint32_t top = type << 16 | (uint32_t)len;
	uint64_t h = dlog_hash_start(seed, position, top);
	size_t left = tagged ? len - 4 : len, whole = left;
	const uint8_t *src = data;
	uint8_t *to = dst + DLOG_HDR;

	dlog_put64(dst, (uint64_t)top << 32 | dlog_hash_open(h)); /* A */
	h = dlog_record_word(dst + 8, h, time); /* B */
	if (tagged) {
		uint64_t w;

		if (dlog_likely(left >= 4)) {
			w = dlog_load32(src);
			src += 4;
			left -= 4;
		} else {
			w = dlog_record_tail(src + left, left, left);
			left = 0;
		}
		h = dlog_record_word(to, h, w << 32 | tag);
		to += 8;
	}
	for (const uint8_t *end = src + (left & ~(size_t)31); src != end;
	     src += 32, to += 32) {
		h = dlog_record_word(to, h, dlog_load64(src));
		h = dlog_record_word(to + 8, h, dlog_load64(src + 8));
		h = dlog_record_word(to + 16, h, dlog_load64(src + 16));
		h = dlog_record_word(to + 24, h, dlog_load64(src + 24));
	}
	if (left & 16) {
		h = dlog_record_word(to, h, dlog_load64(src));
		h = dlog_record_word(to + 8, h, dlog_load64(src + 8));
		src += 16;
		to += 16;
	}
	if (left & 8) {
		h = dlog_record_word(to, h, dlog_load64(src));
		src += 8;
		to += 8;
	}
	left &= 7;
	if (left)
		h = dlog_record_word(to, h,
				     dlog_record_tail(src + left, left, whole));
	dlog_put32_release(dst, dlog_hash_final(h)); /* D */
}

/*
 * What lies at @p, of which @room bytes may be read, if it is taken to be at
 * @position?  @p is 8-byte aligned.  On OPEN and FULL *@size is the number
 * of bytes it takes.  Reads at most @room bytes; the caller sees to it that
 * they do not change meanwhile (libdlog reads from its own copy).
 */
DLOG_INLINE enum dlog_record_state
dlog_record_probe(const uint8_t *p, uint32_t room, uint64_t seed,
		  uint64_t position, uint32_t *size)
{
	uint64_t w0, h;
	uint32_t check, top, need;

	if (room < DLOG_HDR)
		return DLOG_RECORD_NONE;
	w0 = dlog_load64(p);
	check = (uint32_t)w0;
	top = (uint32_t)(w0 >> 32);
	need = DLOG_REC_SIZE(top & 0xffff);
	if (!(top >> 16) || need > room)
		return DLOG_RECORD_NONE;
	*size = need;
	h = dlog_hash_start(seed, position, top);
	if (check == dlog_hash_open(h))
		return DLOG_RECORD_OPEN;
	for (uint32_t i = 8; i < need; i += 8)
		h = dlog_hash_word(h, dlog_load64(p + i));
	return check == dlog_hash_final(h) ? DLOG_RECORD_FULL
					   : DLOG_RECORD_NONE;
}

/*
 * Checked objects: everything outside the rings but plain words.  The first
 * 32 bits are the check; it covers the next 32, which are never 0, and the
 * rest up to @size, a multiple of 8.
 */
DLOG_INLINE uint32_t dlog_object_check(const void *p, uint32_t size,
				       uint64_t seed, uint64_t position)
{
	const uint8_t *b = p;
	uint64_t h = dlog_hash_start(seed, position, dlog_load32(b + 4));

	for (uint32_t i = 8; i < size; i += 8)
		h = dlog_hash_word(h, dlog_load64(b + i));
	return dlog_hash_final(h);
}

#endif
