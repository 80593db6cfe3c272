// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * ftrace_page.c - one sub-buffer of ftrace's ring: a copy of it, its events.
 *
 * Follows struct buffer_data_page, struct ring_buffer_event and
 * rb_read_data_buffer() in Linux 6.12: kernel/trace/ring_buffer.c and
 * include/linux/ring_buffer.h.
 */
#include <string.h>

#include "stock/ftrace.h"

#define MISSED_EVENTS (1u << 31)
#define MISSED_STORED (1u << 30)

/* type_len, the low 5 bits of an event's first word */
#define TYPE_DATA_MAX 28u
#define TYPE_PADDING 29u
#define TYPE_TIME_EXTEND 30u
#define TYPE_TIME_STAMP 31u

#define ENTRY_SIZE 8u /* struct trace_entry, that each record begins with */
#define TIME_BITS 59u /* of an absolute time stamp */
#define LOAD_TRIES 4

static void header_read(const struct ftrace *f, const uint8_t *p,
			struct ftrace_header *h)
{
	uint64_t commit = dlog_load64(p + 8);

	h->time = dlog_load64(p);
	h->missed = commit & MISSED_EVENTS;
	h->stored = commit & MISSED_STORED;
	commit &= ~(uint64_t)(MISSED_EVENTS | MISSED_STORED);
	h->bad = commit > f->size - FTRACE_HEADER;
	h->commit = h->bad ? f->size - FTRACE_HEADER : (uint32_t)commit;
}

int ftrace_header(const struct dlog *d, const struct ftrace *f, uint32_t cpu,
		  uint32_t page, struct ftrace_header *h)
{
	uint8_t raw[FTRACE_HEADER];
	int ret = dlog_fetch(d, ftrace_page(f, cpu, page), raw, sizeof(raw));

	if (!ret)
		header_read(f, raw, h);
	return ret;
}

/*
 * A guest that runs only appends to a sub-buffer, until it takes it anew: then
 * it first makes the commit 0, and sets another time with the first event.
 * So what was committed before the copy is in it, if time and commit have not
 * gone elsewhere behind it.
 */
int ftrace_load(const struct dlog *d, const struct ftrace *f, uint32_t cpu,
		uint32_t page, uint8_t *buf, struct ftrace_header *h)
{
	struct ftrace_header after;
	int ret;

	for (int i = 0; i < LOAD_TRIES; i++) {
		ret = ftrace_header(d, f, cpu, page, h);
		if (!ret)
			ret = dlog_fetch(d, ftrace_page(f, cpu, page), buf,
					 f->size);
		if (!ret)
			ret = ftrace_header(d, f, cpu, page, &after);
		if (ret)
			return ret;
		if (after.time == h->time && after.commit >= h->commit)
			return 1;
	}
	return 0;
}

void ftrace_walk_begin(struct ftrace_walk *w, const uint8_t *page,
		       const struct ftrace_header *h)
{
	*w = (struct ftrace_walk){
		.page = page,
		.off = FTRACE_HEADER,
		.end = FTRACE_HEADER + h->commit,
		.time = h->time,
		.position = h->time,
		.guess = h->bad,
	};
}

/* An absolute time has 59 bits: those above are of the time before. */
static void time_stamp(struct ftrace_walk *w, uint64_t stamp)
{
	uint64_t high = w->time >> TIME_BITS << TIME_BITS;

	stamp |= high;
	if (high && stamp < w->time)
		stamp += UINT64_C(1) << TIME_BITS;
	w->doubt |= stamp < w->time;
	w->time = stamp;
}

/* Does something that has @len bytes at @p look like a record? */
static bool plausible(const uint8_t *p, uint32_t len)
{
	return len >= ENTRY_SIZE && (p[0] || p[1]);
}

/*
 * Take what is at the walk's place: 1 an event, 0 something else, -1 the end,
 * -EBADMSG nothing that can be.
 */
static int walk_one(struct ftrace_walk *w, struct ftrace_event *e)
{
	const uint8_t *p = w->page + w->off;
	uint32_t left = w->end - w->off, word = dlog_load32(p);
	uint32_t type = word & 31, delta = word >> 5, head = 4, len;

	/* Without a delta it goes up to the end. */
	if (type == TYPE_PADDING && !delta)
		return -1;
	if (type && type <= TYPE_DATA_MAX) {
		len = 4 * type;
	} else {
		if (left < 8)
			return -EBADMSG;
		len = dlog_load32(p + 4);
		head = 8;
	}
	if (type >= TYPE_TIME_EXTEND) {
		uint64_t time = ((uint64_t)len << 27) + delta;

		if (type == TYPE_TIME_EXTEND)
			w->time += time;
		else
			time_stamp(w, time);
		w->off += head;
		return 0;
	}
	if (head == 8) {
		/* The word counts itself. */
		if (len % 4 || len < 4)
			return -EBADMSG;
		len -= 4;
	}
	if (len > left - head)
		return -EBADMSG;
	if (type == TYPE_PADDING) {
		/* A discarded event; a delta of 1 stands for none. */
		w->time += delta == 1 ? 0 : delta;
		w->off += head + len;
		return 0;
	}
	if (w->guess && !plausible(p + head, len))
		return -EBADMSG;
	w->time += delta;
	w->off += head + len;
	e->data = p + head;
	e->len = len;
	return 1;
}

bool ftrace_walk_next(struct ftrace_walk *w, struct ftrace_event *e)
{
	int ret = 0;

	while (!ret && w->off + 4 <= w->end)
		ret = walk_one(w, e);
	if (ret == 1) {
		if (w->position < w->time && !w->lost_time)
			w->position = w->time;
		e->time = w->time;
		e->position = w->position;
		w->position += w->position < UINT64_MAX;
		return true;
	}
	w->broken |= ret == -EBADMSG;
	if (!w->broken)
		w->off = w->end;
	return false;
}
