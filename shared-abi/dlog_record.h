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

/* Hash of what the open check covers: seed, position, type and length. */
DLOG_INLINE uint64_t dlog_record_hash_head(uint64_t seed, uint64_t position,
					   uint32_t top)
{
	return dlog_hash_word(dlog_hash_init(seed, position), top);
}

/*
 * Write a record whose data is @data, or with @tagged the four bytes of @tag
 * and then @data; @len counts both.  @dst is 8-byte aligned region memory of
 * DLOG_REC_SIZE(@len) bytes.  Only stores go there, the commit last.  Source
 * bytes are loaded once, so a source that changes meanwhile cannot make the
 * check wrong.  Any context.
 *
 * Order of stores (A to D are the labels of dlog_ring.h):
 *   A  word 0 with the open check
 *   B  word 1, data
 *   D  full check, release
 */
DLOG_INLINE void dlog_record_write(uint8_t *dst, uint64_t seed,
				   uint64_t position, uint32_t type,
				   uint64_t time, bool tagged, uint32_t tag,
				   const void *data, uint32_t len)
{
	uint32_t top = type << 16 | len;
	uint64_t h = dlog_record_hash_head(seed, position, top);
	const uint8_t *src = data;
	uint8_t *to = dst + DLOG_HDR;
	uint32_t left = len;
	uint64_t w;

	dlog_put64(dst, (uint64_t)top << 32 | dlog_hash_final(h));
	dlog_put64(dst + 8, time);
	h = dlog_hash_word(h, time);

	if (tagged) {
		uint32_t n = left - 4 < 4 ? left - 4 : 4;

		w = 0;
		if (dlog_likely(n == 4))
			w = (uint64_t)dlog_load32(src) << 32;
		else
			for (uint32_t i = 0; i < n; i++)
				w |= (uint64_t)src[i] << (32 + 8 * i);
		w |= tag;
		dlog_put64(to, w);
		h = dlog_hash_word(h, w);
		to += 8;
		src += n;
		left -= 4 + n;
	}
	for (; left >= 8; left -= 8, src += 8, to += 8) {
		w = dlog_load64(src);
		dlog_put64(to, w);
		h = dlog_hash_word(h, w);
	}
	if (left) {
		w = 0;
		for (uint32_t i = 0; i < left; i++)
			w |= (uint64_t)src[i] << (8 * i);
		dlog_put64(to, w);
		h = dlog_hash_word(h, w);
	}
	dlog_put32_release(dst, dlog_hash_final(h));
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
	if (!check || need > room)
		return DLOG_RECORD_NONE;
	*size = need;
	h = dlog_record_hash_head(seed, position, top);
	if (check == dlog_hash_final(h))
		return DLOG_RECORD_OPEN;
	for (uint32_t i = 8; i < need; i += 8)
		h = dlog_hash_word(h, dlog_load64(p + i));
	return check == dlog_hash_final(h) ? DLOG_RECORD_FULL
					   : DLOG_RECORD_NONE;
}

/*
 * Checked objects: everything outside the rings but plain words.  The first
 * 32 bits are the check; it covers the next 32 and the rest up to @size, a
 * multiple of 8.
 */
DLOG_INLINE uint32_t dlog_object_check(const void *p, uint32_t size,
				       uint64_t seed, uint64_t position)
{
	const uint8_t *b = p;
	uint64_t h = dlog_record_hash_head(seed, position, dlog_load32(b + 4));

	for (uint32_t i = 8; i < size; i += 8)
		h = dlog_hash_word(h, dlog_load64(b + i));
	return dlog_hash_final(h);
}

#endif
