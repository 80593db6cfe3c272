/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * run.h - everything libdlog does with a region, once, in process: for the
 * two fuzzers.  And how to repair checks after a change, as a guest that is
 * owned by an attacker would.
 */
#ifndef TESTS_FUZZ_RUN_H
#define TESTS_FUZZ_RUN_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dlog.h"
#include "dlog_region.h"
#include "must.h"

/* A follower that begins at @place reads at most @most entries. */
static inline size_t run_places(struct dlog *d, struct dlog_place *place,
				size_t n, uint64_t most, uint64_t most_records)
{
	struct dlog_reader *r;
	struct dlog_entry e;
	uint64_t got = 0;

	MUST(!dlog_reader_new(&r, &d, 1, DLOG_READER_FOLLOW, NULL));
	MUST(!dlog_reader_seek(r, 0, place, n));
	while (got < most && dlog_reader_next(r, &e, 0) > 0)
		got++;
	/*
	 * A record proves itself at one position, and comes at most once by
	 * the main place and once by each late one.  (A follower finds more
	 * than loss counts where later STARTs contradict the ring's end.)
	 */
	MUST(got <= most_records * DLOG_PLACES_MAX);
	n = dlog_reader_tell(r, 0, place, 64);
	dlog_reader_free(r);
	return n < 64 ? n : 64;
}

/* Read the whole region; @see is called for each entry, may be NULL. */
static inline void
run_region(const void *mem, size_t size,
	   void (*see)(void *arg, const struct dlog_entry *e), void *arg)
{
	struct dlog_boot_entry *boots = NULL;
	struct dlog_loss *loss = NULL;
	struct dlog_reader *r;
	struct dlog_error err;
	struct dlog_entry e;
	struct dlog_info info;
	struct dlog_live live;
	struct dlog_beat beat;
	struct dlog_reg_entry regs;
	struct dlog_event_desc desc;
	uint64_t told = 0, got = 0;
	struct dlog_place place[64];
	char text[512];
	struct dlog *d;
	size_t places;
	int n;

	memset(&err, 0, sizeof(err));
	if (dlog_open_memory(&d, mem, size, "fuzz", &err)) {
		MUST(err.text[0] && !d);
		return;
	}
	dlog_get_info(d, &info);
	dlog_get_live(d, &live);
	for (uint32_t cpu = 0; cpu < info.nr_cpus && cpu < 8; cpu++) {
		dlog_get_beat(d, cpu, &beat);
		dlog_get_regs(d, cpu, 0, &regs);
	}
	for (uint32_t id = 0; id < 8; id++)
		if (dlog_get_event(d, id, &desc))
			MUST(strlen(desc.name) && strlen(desc.fields) < 65536);
	n = dlog_get_boots(d, &boots);
	MUST(n >= 0);
	for (int i = 1; i < n; i++)
		MUST(boots[i].boot > boots[i - 1].boot);
	n = dlog_get_loss(d, &loss);
	MUST(n >= 0);
	for (int i = 0; i < n; i++) {
		const struct dlog_loss *l = &loss[i];

		MUST(l->ring < info.nr_rings);
		MUST(l->reserved ==
		     l->records + l->overwritten + l->torn + l->corrupt);
		MUST(l->bytes + l->bad_bytes <= info.ring_size);
		told += l->records;
	}
	MUST(!dlog_reader_new(&r, &d, 1, DLOG_READER_BLOCKS, &err));
	while ((n = dlog_reader_next(r, &e, 0)) > 0) {
		size_t len = dlog_entry_text(&e, text, sizeof(text));

		MUST(strnlen(text, sizeof(text)) < sizeof(text));
		MUST(len >= sizeof(text) || strnlen(text, len + 1) <= len);
		MUST(e.level < 8 && e.ring < info.nr_rings);
		/* An open one counts as torn. */
		if (e.doubt)
			MUST(e.kind == DLOG_KIND_BLOCKS &&
			     e.doubt == DLOG_DOUBT_TORN);
		else
			got++;
		if (see)
			see(arg, &e);
	}
	MUST(!n && !dlog_reader_hidden(r));
	/* Joined pieces are fewer; nothing is given that is not counted. */
	MUST(got <= told);
	dlog_reader_free(r);
	MUST(!dlog_reader_new(&r, &d, 1, DLOG_READER_LAST, &err));
	dlog_reader_set_last(r, 3);
	for (got = 0; (n = dlog_reader_next(r, &e, 0)) > 0; got++)
		MUST(e.kind != DLOG_KIND_BLOCKS && !e.doubt);
	MUST(!n && got <= told);
	dlog_reader_free(r);
	places = run_places(d, place, 0, 5, size / DLOG_HDR);
	run_places(d, place, places, UINT64_MAX, size / DLOG_HDR);
	/* Places that somebody made up. */
	memcpy(place, (const uint8_t *)mem + info.ring_size % 4096,
	       sizeof(place));
	run_places(d, place, 64, UINT64_MAX, size / DLOG_HDR);
	free(boots);
	free(loss);
	dlog_close(d);
}

/* Make the check of the record at @p right for @position, or open. */
static inline void repair_record(uint8_t *p, size_t room, uint64_t seed,
				 uint64_t position, bool open)
{
	uint32_t top, need, check;
	uint64_t h;

	if (room < DLOG_HDR)
		return;
	top = dlog_load32(p + 4);
	need = DLOG_REC_SIZE(top & 0xffff);
	h = dlog_hash_start(seed, position, top);
	if (!open && need > room)
		return;
	for (uint32_t i = 8; !open && i < need; i += 8)
		h = dlog_hash_word(h, dlog_load64(p + i));
	check = open ? dlog_hash_open(h) : dlog_hash_final(h);
	memcpy(p, &check, 4);
}

static inline void repair_super(uint8_t *p)
{
	struct dlog_superblock sb;

	memcpy(&sb, p, sizeof(sb));
	dlog_super_seal(&sb);
	memcpy(p, &sb, sizeof(sb));
}

#endif
