/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ftrace.h - the persistent ring buffer of Linux' ftrace, for its files.
 *
 * ftrace.c         the source: opening, facts, boots, loss
 * ftrace_ring.c    where the rings lie, in which order their sub-buffers are
 * ftrace_page.c    one sub-buffer: a safe copy, the events in it
 * ftrace_stream.c  the records of one CPU
 * ftrace_formats.c format files of events
 *
 * Follows kernel/trace/ring_buffer.c of Linux 6.12 (struct ring_buffer_meta
 * for each CPU) and of 6.15 and later (one struct ring_buffer_meta, scratch
 * space, then struct ring_buffer_cpu_meta for each CPU), 64-bit and
 * little-endian.  For each CPU there is meta data, an array that says in which
 * order the sub-buffers are, and the sub-buffers themselves.
 *
 * The kernel drops a CPU's whole ring when anything in it is wrong.  Here each
 * sub-buffer stands for itself.  Its header has the time of its first event
 * and how many bytes are committed, and all that holds data is of interest:
 * what has been overwritten or reset has nothing committed.
 */
#ifndef LIBDLOG_STOCK_FTRACE_H
#define LIBDLOG_STOCK_FTRACE_H

#include "internal.h"

#define FTRACE_NONE UINT64_MAX
#define FTRACE_CPUS 8192u /* CONFIG_NR_CPUS at most */
#define FTRACE_BOOTS 64u /* that are told apart */
#define FTRACE_HEADER 16u /* of a sub-buffer */

struct ftrace_formats;

struct ftrace {
	uint64_t base; /* of everything, in the source */
	uint64_t meta0; /* of CPU 0's meta data, or FTRACE_NONE */
	uint64_t pages0; /* its sub-buffers */
	uint64_t stride; /* from one CPU's sub-buffers to the next one's */
	uint64_t scratch, scratch_size; /* 6.15 and later, or 0 */
	uint32_t fields; /* offset of first_buffer in a CPU's meta data */
	uint32_t meta_size; /* of it, before the array */
	bool global; /* 6.15 and later */
	uint32_t size, nr; /* of sub-buffers, for each CPU */
	uint32_t cpus;
	uint32_t boots; /* runs of rising time in the CPU that has most */
	uint32_t bad_meta, bad_pages, dropped; /* when it was opened */
	struct ftrace_formats *formats; /* NULL: none given */
};

/* ---- ftrace_ring.c ---- */

/* Find it: 0 or -EBADMSG; @search also elsewhere than at the beginning. */
int ftrace_find(const struct dlog *d, struct ftrace *f, bool search);

static inline uint64_t ftrace_page(const struct ftrace *f, uint32_t cpu,
				   uint32_t page)
{
	return f->pages0 + cpu * f->stride + (uint64_t)page * f->size;
}

static inline uint64_t ftrace_meta(const struct ftrace *f, uint32_t cpu)
{
	return cpu ? f->pages0 + (cpu - 1) * f->stride +
			       (uint64_t)f->nr * f->size
		   : f->meta0;
}

/* What holds data, oldest first. */
struct ftrace_entry {
	uint64_t time; /* of the header */
	uint32_t page;
	uint32_t slot; /* its place in the array, 0: the kernel's reader has it */
	uint32_t back; /* boots behind it in this ring */
	bool bad; /* the header's commit cannot be */
	bool lost_time; /* nor can its time */
};

struct ftrace_order {
	struct ftrace_entry *entry;
	uint32_t nr;
	uint32_t runs; /* of rising time: boots; 1 to FTRACE_BOOTS */
	uint32_t bad; /* headers that cannot be */
	uint32_t dropped; /* left out, or emptied by a kernel as damaged */
	bool listed; /* the array is whole: slots are known */
	uint32_t reader; /* the page in slot 0 then */
};

/* 0 or negative; entry is to be free()d. */
int ftrace_order(const struct dlog *d, const struct ftrace *f, uint32_t cpu,
		 struct ftrace_order *o);
/* The page in @slot now; false: not known. */
bool ftrace_slot(const struct dlog *d, const struct ftrace *f, uint32_t cpu,
		 uint32_t slot, uint32_t *page);
/* The slot that the oldest data is in now, by the meta data; 0: not known. */
uint32_t ftrace_head(const struct dlog *d, const struct ftrace *f,
		     uint32_t cpu);

/* ---- ftrace_page.c ---- */

struct ftrace_header {
	uint64_t time;
	uint32_t commit; /* bytes */
	bool bad; /* that many cannot be; commit is all there is */
	bool missed, stored; /* flags that events are missing before it */
};

int ftrace_header(const struct dlog *d, const struct ftrace *f, uint32_t cpu,
		  uint32_t page, struct ftrace_header *h);
/*
 * A copy of what is committed, as of one instant: 1, 0 when it changes all
 * the time, or negative.  @buf has f->size bytes.
 */
int ftrace_load(const struct dlog *d, const struct ftrace *f, uint32_t cpu,
		uint32_t page, uint8_t *buf, struct ftrace_header *h);

struct ftrace_walk {
	const uint8_t *page;
	uint32_t end; /* of what is committed, in the page */
	uint32_t off;
	uint64_t time;
	uint64_t position; /* of the next event at least */
	bool guess; /* what is committed is not known */
	bool lost_time; /* positions do not follow times */
	bool doubt; /* time went back */
	bool broken; /* stopped at something that is no event */
};

struct ftrace_event {
	uint64_t time, position;
	const uint8_t *data;
	uint32_t len;
};

void ftrace_walk_begin(struct ftrace_walk *w, const uint8_t *page,
		       const struct ftrace_header *h);
/* The next event with data: true, or false at the end. */
bool ftrace_walk_next(struct ftrace_walk *w, struct ftrace_event *e);

/* ---- ftrace_stream.c ---- */

int ftrace_stream_new(struct dlog *d, uint32_t n, unsigned int flags,
		      void **out);
void ftrace_stream_free(void *stream);
void ftrace_stream_set_boot(void *stream, uint32_t boot);
int ftrace_stream_last(void *stream, uint64_t n);
size_t ftrace_stream_tell(void *stream, struct dlog_place *out, size_t n);
void ftrace_stream_seek(void *stream, const struct dlog_place *p, size_t n);
int ftrace_stream_next(void *stream, struct dlog_item *item);
void ftrace_stream_put(void *stream, const struct dlog_item *item);
bool ftrace_stream_poll(void *stream, bool rare);
uint64_t ftrace_stream_missed(void *stream);

/* ---- ftrace_formats.c ---- */

/* A folder or a tar archive; 0 or negative with a sentence in @err. */
int ftrace_formats_open(struct ftrace_formats **out, const char *path,
			struct dlog_error *err);
void ftrace_formats_free(struct ftrace_formats *fs);
uint32_t ftrace_formats_count(const struct ftrace_formats *fs);
const char *ftrace_formats_path(const struct ftrace_formats *fs);
/* As dlog_source_ops.event; @fs may be NULL. */
int ftrace_formats_event(struct ftrace_formats *fs, uint32_t id,
			 struct dlog_event_desc *desc);

#endif
