/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * prb.h - the kernel's log buffer in guest memory, record by record.
 */
#ifndef LIBDLOG_RAM_PRB_H
#define LIBDLOG_RAM_PRB_H

#include "ram.h"

/* Where VMCOREINFO says that things are, as offsets in their structure. */
struct prb_layout {
	uint64_t ring; /* address of "prb", the pointer to the buffer */
	uint32_t ring_size, fail;
	uint32_t count_bits, descs, infos, head_id, tail_id;
	uint32_t size_bits, data;
	uint32_t desc_size, state, begin, next;
	uint32_t info_size, seq, ts_nsec, text_len, caller_id;
};

/* Its head, as it was when it was read. */
struct prb {
	uint64_t count, size; /* descriptors; bytes of text; powers of two */
	uint64_t descs, infos, data; /* addresses */
	uint64_t zero; /* id of the record with sequence number 0 */
	uint64_t first, end; /* sequence numbers: oldest, behind the newest */
	uint64_t fail;
};

enum prb_state {
	PRB_NONE, /* not there any more, or not yet */
	PRB_LOST, /* there, but the kernel had no room for its text */
	PRB_BAD, /* damaged */
	PRB_BEGUN, /* being written */
	PRB_OPEN, /* may be continued */
	PRB_DONE,
};

struct prb_record {
	enum prb_state state;
	uint8_t doubt; /* enum dlog_doubt */
	uint8_t facility, level;
	uint32_t caller; /* caller_id */
	uint64_t seq, time;
	uint64_t begin, next; /* positions of its text */
	uint32_t len; /* of its text */
	bool to_nul; /* its length is not known */
};

/* Bytes that grow; all 0 at first, free(p) at last. */
struct prb_buf {
	uint8_t *p;
	size_t size;
	uint32_t read; /* bytes of text that prb_text() read last */
};
/* Text lies so far behind their start, where 4 bytes are free for others. */
#define PRB_TEXT 8u

#define PRB_TEXT_MAX 65531u /* 4 bytes go with it in a record */
#define PRB_BATCH 64u

/* 0, or -ENXIO: the kernel's log is of a kind that is not known. */
int prb_layout_load(struct dlog_ram *ram, struct prb_layout *l);
/* 0 or negative; the reason as in dlog_ram_why(). */
int prb_load(struct dlog_ram *ram, const struct prb_layout *l, struct prb *p);

/* Some records that follow each other, as they were at one instant. */
struct prb_raw {
	uint64_t seq;
	uint32_t n;
	uint8_t *desc, *info;
};

int prb_raw_init(struct prb_raw *raw, const struct prb_layout *l);
void prb_raw_free(struct prb_raw *raw);
/* Up to @n (PRB_BATCH) from @seq on: raw->n at least 1, or negative. */
int prb_raw_read(struct dlog_ram *ram, const struct prb_layout *l,
		 const struct prb *p, struct prb_raw *raw, uint64_t seq,
		 uint32_t n);
/* Number @i of @raw.  Its text is another thing: prb_text(). */
void prb_decode(const struct prb_layout *l, const struct prb *p,
		const struct prb_raw *raw, uint32_t i, struct prb_record *r);
/* Is number @i the same in both? */
bool prb_same(const struct prb_layout *l, const struct prb_raw *a,
	      const struct prb_raw *b, uint32_t i);
/* Its text, at buf->p + PRB_TEXT; r->len and doubt say what it is.  -ENOMEM. */
int prb_text(struct dlog_ram *ram, const struct prb *p, struct prb_record *r,
	     struct prb_buf *buf);

#endif
