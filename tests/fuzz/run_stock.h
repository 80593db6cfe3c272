/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * run_stock.h - everything libdlog does with a file of any format, once, in
 * process, and what must hold whatever the bytes are.
 */
#ifndef TESTS_FUZZ_RUN_STOCK_H
#define TESTS_FUZZ_RUN_STOCK_H

#include "run.h"

/* More would not be linear in the bytes that fuzzers have. */
#define STOCK_MOST (1u << 22)

/* All records that @flags give; *@nr of them. */
static inline void stock_read(struct dlog *d, uint32_t streams, uint32_t flags,
			      uint64_t *nr)
{
	struct dlog_place place[64];
	struct dlog_reader *r;
	struct dlog_entry e;
	char text[512];
	int n;

	MUST(!dlog_reader_new(&r, &d, 1, flags, NULL));
	if (flags & DLOG_READER_LAST)
		MUST(dlog_reader_set_last(r, 3) >= 0);
	for (*nr = 0; (n = dlog_reader_next(r, &e, 0)) > 0; ++*nr) {
		size_t len = dlog_entry_text(&e, text, sizeof(text));

		MUST(strnlen(text, sizeof(text)) < sizeof(text));
		MUST(len >= sizeof(text) || strnlen(text, len + 1) <= len);
		MUST(e.level < 8 && e.ring < streams && e.boot);
		MUST(!e.doubt || *dlog_doubt_name(e.doubt));
		MUST(*nr < STOCK_MOST);
	}
	MUST(!n);
	if (flags & DLOG_READER_FOLLOW)
		MUST(dlog_reader_tell(r, 0, place, 64) >= streams);
	dlog_reader_free(r);
}

static inline void stock_tables(struct dlog *d, uint32_t streams,
				uint64_t *records)
{
	struct dlog_boot_entry *boots = NULL;
	struct dlog_loss *loss = NULL;
	struct dlog_event_desc desc;
	struct dlog_symbol sym;
	struct dlog_fact fact;
	int n;

	for (uint32_t i = 0; dlog_get_fact(d, i, &fact); i++) {
		MUST(i < STOCK_MOST);
		MUST(*fact.name && strnlen(fact.name, 32) < 32);
		MUST(strnlen(fact.text, 512) < 512);
	}
	for (uint32_t id = 0; id < 8; id++)
		if (dlog_get_event(d, id, &desc))
			MUST(*desc.name);
	n = dlog_get_boots(d, &boots);
	MUST(n >= 0);
	for (int i = 0; i < n; i++) {
		MUST(!i || boots[i].boot > boots[i - 1].boot);
		MUST(strnlen(boots[i].release, 65) < 65);
		dlog_real_time(d, boots[i].boot, boots[i].last_time);
		dlog_get_symbol(d, boots[i].boot, UINT64_MAX / 2, &sym);
	}
	free(boots);
	n = dlog_get_loss(d, &loss);
	MUST(n >= 0);
	for (int i = 0; i < n; i++) {
		MUST(loss[i].ring < streams);
		MUST(loss[i].reserved == loss[i].records + loss[i].overwritten +
						 loss[i].torn +
						 loss[i].corrupt);
		*records += loss[i].records;
	}
	free(loss);
}

/* @format NULL: whichever it looks like.  True if it could be opened. */
static inline bool run_stock(const void *mem, size_t size, const char *format)
{
	const struct dlog_open_args args = { .flags = DLOG_OPEN_ANY,
					     .format = format };
	uint64_t told = 0, all, some;
	struct dlog_error err;
	struct dlog_info info;
	struct dlog *d;

	memset(&err, 0, sizeof(err));
	if (dlog_open_memory_as(&d, mem, size, "fuzz", &args, &err)) {
		MUST(err.text[0] && !d);
		return false;
	}
	dlog_get_info(d, &info);
	MUST(info.format && *info.format);
	stock_tables(d, info.nr_rings, &told);
	stock_read(d, info.nr_rings, 0, &all);
	/* Joined pieces are fewer; nothing is given that is not counted. */
	MUST(all <= told);
	stock_read(d, info.nr_rings, DLOG_READER_LAST, &some);
	MUST(some <= told);
	stock_read(d, info.nr_rings, DLOG_READER_FOLLOW, &some);
	dlog_close(d);
	return true;
}

#endif
