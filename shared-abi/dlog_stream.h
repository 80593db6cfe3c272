/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dlog_stream.h - a record that is filled word by word.
 *
 * For what comes so often, and so little at a time, that a record for each
 * would cost more than it tells: the blocks that an emulated CPU executes.
 * One store and one step of the hash for each word; when the producer dies,
 * the words that it has stored can be read though the record is open.
 *
 * Order of stores (labels of dlog_ring.h)
 *	Z  0 into all data, then the time: before A, so that behind an open
 *	   check there is nothing of an earlier lap
 *	A  word 0 with the open check, release
 *	B  each word of data, in order; a word that may be 0 cannot be told
 *	   from one that is missing while the record is open
 *	D  the full check, release
 *
 * A stream belongs to one context: nothing else of that CPU may use it, other
 * records may go into the same ring meanwhile.  Relies on dlog_ring.h.
 */
#ifndef DLOG_STREAM_H
#define DLOG_STREAM_H

#include "dlog_ring.h"

struct dlog_stream {
	uint8_t *at; /* where the next word goes */
	uint8_t *end; /* behind the last one; NULL: no record is open */
	uint8_t *record;
	uint64_t hash;
};

/*
 * Open a record of @words words.  0, or as dlog_ring_append(); then the
 * stream has no room.
 */
DLOG_FN int dlog_stream_begin(struct dlog_stream *s, struct dlog_ring *r,
			      uint32_t type, uint64_t time, uint32_t words)
{
	uint32_t top = type << 16 | words * 8;
	uint64_t at;
	int ret;

	memset(s, 0, sizeof(*s));
	ret = dlog_ring_reserve(r, time, (size_t)words * 8, &at);
	if (ret)
		return ret;
	s->record = dlog_ring_at(r, at);
	s->at = s->record + DLOG_HDR;
	s->end = s->at + (size_t)words * 8;
	for (uint8_t *p = s->at; p != s->end; p += 8)
		dlog_put64(p, 0); /* Z */
	s->hash = dlog_hash_start(r->seed, at, top);
	dlog_put64(s->record, (uint64_t)top << 32);
	dlog_put64(s->record + 8, time); /* Z */
	dlog_put32_release(s->record, dlog_hash_open(s->hash)); /* A */
	s->hash = dlog_hash_word(s->hash, time);
	return 0;
}

/* The next word.  There is room: s->at != s->end. */
DLOG_INLINE void dlog_stream_put(struct dlog_stream *s, uint64_t word)
{
	s->hash = dlog_record_word(s->at, s->hash, word); /* B */
	s->at += 8;
}

/*
 * What the next word is so far, for who reads the open record; it may be
 * stored again and again until dlog_stream_put() settles it.  There is room.
 */
DLOG_INLINE void dlog_stream_draft(struct dlog_stream *s, uint64_t word)
{
	dlog_put64(s->at, word); /* B */
}

/* Commit; words that were not put are 0, a draft too. */
DLOG_FN void dlog_stream_end(struct dlog_stream *s)
{
	if (!s->end)
		return;
	while (s->at != s->end)
		dlog_stream_put(s, 0);
	dlog_put32_release(s->record, dlog_hash_final(s->hash)); /* D */
	s->end = s->at = NULL;
}

#endif
