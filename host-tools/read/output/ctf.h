/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ctf.h - what the parts of the CTF output share: ctf.c writes the packets,
 * ctf_record.c the events in them, ctf_meta.c describes both in TSDL.
 *
 * CTF 1.8.3 (diamon.org/ctf) is the format.  All is little-endian and aligned
 * to bytes.
 */
#ifndef DLOG_CTF_H
#define DLOG_CTF_H

#include "../read.h"

/* Event ids: the number of a kind, 0 for what is none; types of the catalog
 * follow. */
#define CTF_RECORD 0u
#define CTF_CATALOG 16u
#define CTF_IDS (CTF_CATALOG + DLOG_EVENT_MAX + 1)

/*
 * Latest time stamp, 73 years: with an offset below 2^62 what a reader makes
 * of it stays a signed 64-bit number of nanoseconds.
 */
#define CTF_TIME_MAX (UINT64_C(1) << 61)
#define CTF_OFFSET_MAX (UINT64_C(1) << 62)

/* One directory: what one boot of one region said. */
struct ctf_trace {
	uint32_t boot;
	uint8_t uuid[16]; /* differs in each trace that is written at once */
	bool clock; /* wall clock is known, by: */
	uint64_t offset; /* ns from 1970 to 0 of the guest's clock */
	uint8_t used[CTF_IDS / 8]; /* ids that occur */
};

/* Integers of @n bytes. */
void ctf_put(struct sink *s, uint64_t v, unsigned int n);

/* ---- ctf_record.c ---- */

/*
 * Append the payload of @e to @s; @scratch is for text.  Returns its id.
 * Behind integers and strings stand u32 length and bytes.
 */
uint32_t ctf_record(struct sink *s, struct sink *scratch,
		    const struct dlog_entry *e);
/* TSDL of the struct that ctf_record() writes for @id. */
void ctf_record_fields(struct sink *s, struct dlog *d, uint32_t id);
/* TSDL string with the name of event @id. */
void ctf_record_name(struct sink *s, struct dlog *d, uint32_t id);

/* ---- ctf_meta.c ---- */

/* TSDL of @trace, of @src, into @s. */
void ctf_meta(struct sink *s, const struct source *src,
	      const struct ctf_trace *trace);

#endif
