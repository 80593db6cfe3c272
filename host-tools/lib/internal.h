/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * internal.h - what the files of libdlog share.
 *
 * source.c opens a source of any format and reads bytes, reader.c merges the
 * streams of records that sources bring, list.c makes streams of lists,
 * watch.c waits for a region to be written, clock.c puts a guest's clock on
 * that of a source which watched it.
 * region/	super.c the superblock, scan.c finds records in bytes, stream.c
 *		walks one ring; loss.c and boots.c are passes over all rings,
 *		meta.c and catalog.c read what lies outside them
 * stock/	what stock kernels write: ramoops, ftrace's ring, acpi-erst
 * ram/		the memory of a whole guest (dlog_ram.h)
 *
 * One rule for every file: bytes of a region are copied once into private
 * memory (dlog_fetch) and decided upon there, never looked at in place.  So
 * they cannot change between a test and its use, and a file that is cut
 * short while it is open gives an error, not SIGBUS.
 */
#ifndef LIBDLOG_INTERNAL_H
#define LIBDLOG_INTERNAL_H

#include <errno.h>

#include "dlog.h"
#include "dlog_region.h"

/* Bytes of a catalog; DLOG_EVENT_MAX types of the kernel have 6 MiB. */
#define DLOG_CATALOG_MAX (16u << 20)

struct dlog_list;

/* ---- sources ---- */

/* One record on its way out; @data points into a buffer of its stream. */
struct dlog_item {
	uint64_t time, position;
	uint64_t key; /* time by which it is sorted (reader.c) */
	uint32_t boot;
	uint32_t type; /* DLOG_TYPE(); the argument may have 28 bits */
	uint16_t len;
	uint8_t doubt; /* enum dlog_doubt */
	const uint8_t *data;
	uint32_t buffer; /* for stream_put() */
	bool late; /* out of the stream's order of positions */
	uint64_t number; /* records of its boot before it; not if late */
};

/*
 * What a format has to bring.
 *
 * open() looks at d->size bytes (dlog_fetch()).  0: they are of this format;
 * what it wants to keep is in d->state.  -EBADMSG: they are not; with @forced,
 * when somebody asked for this format by name, the reason is in @err, and much
 * should be believed then.  Else negative with a sentence in @err: they are,
 * but cannot be read.  It takes its options with dlog_option_*().  close()
 * also comes after an open() that failed.
 *
 * A stream is a run of records that is
 * nearly sorted by boot and time (a ring).  stream_next() returns 1 and an
 * item; 0 when there is none now, or when items given out before have to be
 * put back first; -EAGAIN, only when it follows, when it has passed much
 * that it does not give and has not come to the end; or another negative
 * errno.  So no writer can keep the caller in it.  stream_poll(), for streams
 * opened to follow and only while none of its items is out, returns true when
 * stream_next() is worth a call again; it is cheap.  @rare: the next call may
 * be a second away, so this one looks at all places where a record begins.
 */
struct dlog_source_ops {
	const char *name, *help;
	/* See dlog_format_options(); NULL: none. */
	const char *options;
	int (*open)(struct dlog *d, bool forced, struct dlog_error *err);
	void (*close)(struct dlog *d);

	/* One sentence on the error that a function gave last; may be NULL. */
	const char *(*why)(struct dlog *d);

	/* Each of these may be NULL: nothing is known. */
	int (*fact)(struct dlog *d, uint32_t n, struct dlog_fact *fact);
	uint64_t (*real_time)(struct dlog *d, uint32_t boot, uint64_t time);
	int (*event)(struct dlog *d, uint32_t id, struct dlog_event_desc *desc);
	int (*symbol)(struct dlog *d, uint32_t boot, uint64_t time,
		      uint64_t address, struct dlog_symbol *sym);

	/* For DLOG_LIST_EACH; see there. */
	int (*list)(struct dlog *d, uint32_t n, struct dlog_list *l);
	bool (*list_changed)(struct dlog *d, uint32_t n);
	uint64_t (*list_version)(struct dlog *d);

	uint32_t (*streams)(struct dlog *d);
	int (*stream_new)(struct dlog *d, uint32_t n, unsigned int flags,
			  void **out);
	void (*stream_free)(void *stream);
	void (*stream_set_boot)(void *stream, uint32_t boot);
	/* Before the first next(): leave out all but some @n records at the
	 * end, if nothing is damaged.  1: something is left out, 0: nothing. */
	int (*stream_last)(void *stream, uint64_t n);
	/*
	 * Where the stream is: places as in dlog_reader_tell(), the one that
	 * has no end first.  What was given out counts as passed.
	 */
	size_t (*stream_tell)(void *stream, struct dlog_place *out, size_t n);
	/* Before the first next(), when following. */
	void (*stream_seek)(void *stream, const struct dlog_place *p, size_t n);
	int (*stream_next)(void *stream, struct dlog_item *item);
	void (*stream_put)(void *stream, const struct dlog_item *item);
	bool (*stream_poll)(void *stream, bool rare);
	uint64_t (*stream_missed)(void *stream);
	/* Records left out because nobody asked for their kind; may be NULL. */
	uint64_t (*stream_hidden)(void *stream);
	int (*boots)(struct dlog *d, struct dlog_boot_entry **out);
	int (*loss)(struct dlog *d, struct dlog_loss **out);
};

extern const struct dlog_source_ops dlog_region_ops, dlog_ramoops_ops,
	dlog_ftrace_ops, dlog_erst_ops, dlog_ram_ops;

static inline bool dlog_is_region(const struct dlog *d);

/* Records of a stream of a format that is read at once; see list.c. */
struct dlog_list {
	struct dlog_item *item;
	size_t nr, room;
	struct dlog_list_block *block; /* what data points into */
	size_t bytes; /* of them */
	uint64_t version;
};

#define DLOG_LISTS 4u /* streams of such a format */

/* The boot table as it was read last: valid entries, by boot. */
struct dlog_table {
	uint32_t nr;
	struct dlog_boot *entry; /* without ring[] */
	struct dlog_boot_ring *ring; /* nr_rings for each entry */
};

struct dlog {
	const struct dlog_source_ops *ops;
	char *name;
	int fd; /* -1: memory */
	const uint8_t *mem;
	uint64_t base,
		size; /* of the part of the file or memory that is meant */
	char *options; /* dlog_open_args, or NULL */
	void *state; /* of a format that is no region */
	struct dlog_list kept[DLOG_LISTS]; /* list.c */
	/* From here on regions only. */
	bool writable, backup;
	struct dlog_superblock sb;
	uint32_t nr_subbufs; /* in each ring */
	uint64_t *prefix; /* scratch of scan.c while a view has its buffers */
	uint32_t views; /* that have them */
	struct dlog_table table;
	/* meta.c */
	struct {
		uint32_t boot;
		bool valid;
		uint64_t guest, real;
		uint64_t read_at; /* CLOCK_MONOTONIC, ns */
		uint32_t calls;
	} clock;
	struct dlog_catalog *catalog; /* catalog.c; NULL: not asked for yet */
	struct dlog_learned *learned; /* clock.c; NULL: nothing */
	void *private; /* dlog_set_private() */
	void (*release)(void *data);
};

/* source.c */
__attribute__((format(printf, 3, 4))) int
dlog_fail(struct dlog_error *err, int code, const char *fmt, ...);
uint64_t dlog_now(int clock);
/*
 * The array @v with room for one item of @each bytes behind its @nr: it may
 * have moved.  NULL without memory, and @v is as it was.
 */
void *dlog_grow(void *v, size_t nr, size_t *room, size_t each);
/* Copy @len bytes at @off: 0, -ERANGE when not all are there, -errno. */
int dlog_fetch(const struct dlog *d, uint64_t off, void *buf, size_t len);

static inline bool dlog_is_region(const struct dlog *d)
{
	return d->ops == &dlog_region_ops;
}

/*
 * The value of option @key: 1 and it is in @value, 0 not given, -EINVAL after
 * a sentence in @err.  A size may end in K, M or G.
 */
int dlog_option_size(const struct dlog *d, const char *key, uint64_t *value,
		     struct dlog_error *err);
int dlog_option_text(const struct dlog *d, const char *key, char *value,
		     size_t size, struct dlog_error *err);

/*
 * ---- list.c: streams of formats that can be read at once ----
 *
 * ops.list() fills the list of stream @n, 0 or negative: all its records, in
 * the order in which they are to be given, their positions ascending.  A
 * record keeps its position when the list is made again.  When following,
 * list_changed() (NULL: nothing ever comes) is asked now and then whether the
 * list should be made again; records behind the last one given are new.
 * list_version() gives a number that is another one when list() would give
 * other records than before.  Only while it is the same a list that was made
 * for a question about all records serves for a stream, too.
 */

/*
 * Add a record: @type as DLOG_TYPE(), @len up to 65535 bytes of @data; for
 * DLOG_KIND_PRINTK the caller word @caller goes before them (of text with its
 * newlines cut off; DLOG_CALLER_TAKEN keeps the order of the list whatever
 * the times are).  0 or -ENOMEM.
 */
int dlog_list_add(struct dlog_list *l, uint32_t boot, uint64_t time,
		  uint64_t position, uint32_t type, uint32_t caller,
		  enum dlog_doubt doubt, const void *data, size_t len);
void dlog_list_free(struct dlog_list *l);

uint32_t dlog_list_streams(struct dlog *d); /* one */
int dlog_list_stream_new(struct dlog *d, uint32_t n, unsigned int flags,
			 void **out);
void dlog_list_stream_free(void *stream);
void dlog_list_stream_set_boot(void *stream, uint32_t boot);
int dlog_list_stream_last(void *stream, uint64_t n);
size_t dlog_list_stream_tell(void *stream, struct dlog_place *out, size_t n);
void dlog_list_stream_seek(void *stream, const struct dlog_place *p, size_t n);
int dlog_list_stream_next(void *stream, struct dlog_item *item);
void dlog_list_stream_put(void *stream, const struct dlog_item *item);
bool dlog_list_stream_poll(void *stream, bool rare);
uint64_t dlog_list_stream_missed(void *stream);
/* Boots that the lists' records name, and how many of each. */
int dlog_list_boots(struct dlog *d, struct dlog_boot_entry **out);
int dlog_list_loss(struct dlog *d, struct dlog_loss **out);

/* In the ops of such a format; the first for one that has several streams. */
#define DLOG_LIST_EACH                                                         \
	.stream_new = dlog_list_stream_new,                                    \
	.stream_free = dlog_list_stream_free,                                  \
	.stream_set_boot = dlog_list_stream_set_boot,                          \
	.stream_last = dlog_list_stream_last,                                  \
	.stream_tell = dlog_list_stream_tell,                                  \
	.stream_seek = dlog_list_stream_seek,                                  \
	.stream_next = dlog_list_stream_next,                                  \
	.stream_put = dlog_list_stream_put,                                    \
	.stream_poll = dlog_list_stream_poll,                                  \
	.stream_missed = dlog_list_stream_missed
#define DLOG_LIST_RECORDS DLOG_LIST_EACH, .streams = dlog_list_streams

static inline uint64_t dlog_seed(const struct dlog *d, uint32_t n)
{
	return dlog_hash_seed(d->sb.uuid, n);
}

/* ---- watch.c: somebody who tells when a region is written ---- */

/* Of one source of a reader that follows; fd -1: nobody does. */
struct dlog_watch {
	int fd;
	enum dlog_watch_state {
		DLOG_WATCH_IDLE,
		DLOG_WATCH_ASKED,
		DLOG_WATCH_TOLD, /* shall be told */
		DLOG_WATCH_STORED, /* have been: the record may not be whole */
	} state;
	/* Of the question; not connected: when that is tried again. */
	uint64_t since;
	uint64_t second; /* stores told since then: in_second */
	uint32_t in_second;
};

/*
 * @now: CLOCK_MONOTONIC.  Is there somebody?  Tries to connect now and then.
 */
bool dlog_watch_open(struct dlog_watch *w, const struct dlog *d, uint64_t now);
/*
 * Ask to be told of the next store.  True: we shall be, and the file has been
 * looked at since that is so.
 */
bool dlog_watch_ask(struct dlog_watch *w, uint64_t now);
/* Is there an answer?  Then the file has to be looked at. */
bool dlog_watch_hear(struct dlog_watch *w);
void dlog_watch_close(struct dlog_watch *w);
/* Close it if it is open, and do not try again for a while. */
void dlog_watch_leave(struct dlog_watch *w, uint64_t now);

/* ---- clock.c ---- */

/* As dlog_real_time(), by what was learned; 0: nothing about @boot. */
uint64_t dlog_learned_time(const struct dlog *d, uint32_t boot, uint64_t time);
void dlog_learned_free(struct dlog *d);

/* ---- region/super.c ---- */

/* 0, or negative with a sentence in @err: -EBADMSG when there is none. */
int dlog_super_load(struct dlog *d, struct dlog_error *err);

/* ---- region/scan.c ---- */

/*
 * A copy of some bytes of the region, in which records are looked for.
 * dlog_scan_begin() when they are there, then dlog_scan_probe() at any
 * offset, as often as needed.
 */
struct dlog_scan {
	const uint8_t *p;
	uint32_t size; /* multiple of 8 */
	uint64_t seed, base; /* @base: position of p[0] */
	const uint64_t *power;
	uint64_t *prefix; /* DLOG_PREFIX(size) words of scratch */
	uint32_t half; /* see dlog_scan_begin() */
};

#define DLOG_PREFIX(size) ((size) / 8 + 2)

void dlog_scan_begin(struct dlog_scan *s);
/* As dlog_record_probe(), at p + off, in constant time. */
enum dlog_record_state dlog_scan_probe(const struct dlog_scan *s, uint32_t off,
				       uint32_t *size);
/* Powers of K from 0 to the words of the longest record and its header. */
const uint64_t *dlog_scan_powers(void);

/*
 * What a copy of one sub-buffer holds, taken to lie at @position.
 *
 * A hole is a run of bytes that verify as nothing, followed by a valid
 * record: records follow each other without gaps, so it proves that at least
 * one was reserved there.
 */
struct dlog_sub {
	uint64_t position;
	uint8_t *copy; /* subbuf_size + DLOG_START_SIZE bytes */
	uint32_t *rec; /* offset, DLOG_SUB_OPEN; ascending, no START */
	uint32_t nr;
	bool started; /* has its START */
	bool next_started; /* so has position + subbuf_size */
	bool lapped; /* (being) overwritten by a later lap */
	bool closed; /* next is of the same boot */
	struct dlog_start start, next;
	uint64_t start_time;
	uint64_t newer; /* position of the lap that overwrote it, 0: none */
	uint32_t full, open; /* records, START not counted */
	uint32_t holes, zero_holes; /* zero_holes: all their bytes are 0 */
	uint32_t last_hole; /* offset */
	uint32_t tail; /* offset behind the last record */
	uint32_t full_bytes, open_bytes, hole_bytes;
};

/* Does anything there prove itself? */
static inline bool dlog_sub_holds(const struct dlog_sub *s)
{
	return s->started || s->full || s->open;
}

#define DLOG_SUB_OPEN 1u

/* One ring as it was when dlog_view_find() looked. */
struct dlog_view {
	struct dlog *d;
	uint32_t ring;
	uint64_t seed, off; /* @off: of the ring in the region */
	bool buffers;
	bool any; /* false: nothing in it proves itself */
	uint64_t low, high; /* positions of oldest and newest sub-buffer */
	struct dlog_sub sub[2];
};

/* With buffers.  0 or -ENOMEM; dlog_view_no_buffers() ends it. */
int dlog_view_init(struct dlog_view *v, struct dlog *d, uint32_t ring);
/* The buffers of sub[] alone; what they held is gone. */
int dlog_view_buffers(struct dlog_view *v);
void dlog_view_no_buffers(struct dlog_view *v);
int dlog_view_find(struct dlog_view *v, bool quick);
uint64_t dlog_view_offset(const struct dlog_view *v, uint64_t position);
/* START of whatever lap in the slot of @position: its position, or -1. */
uint64_t dlog_view_start(const struct dlog_view *v, uint64_t position,
			 struct dlog_start *start);
int dlog_sub_load(const struct dlog_view *v, uint64_t position,
		  struct dlog_sub *s);
/* Boot that a sub-buffer belongs to; @before: that of the one before it. */
uint32_t dlog_sub_boot(const struct dlog_view *v, const struct dlog_sub *s,
		       uint32_t before);

/* ---- region/boots.c, meta.c, catalog.c, loss.c; render.c ---- */

int dlog_table_load(struct dlog *d);
void dlog_table_free(struct dlog *d);
/* Index in d->table of @boot, or -1. */
int dlog_table_find(const struct dlog *d, uint32_t boot);
/* The entry of the boot that followed @boot, or -1 when that is not known. */
int dlog_table_after(const struct dlog *d, uint32_t boot);
int dlog_region_boots(struct dlog *d, struct dlog_boot_entry **out);
int dlog_region_loss(struct dlog *d, struct dlog_loss **out);
uint64_t dlog_region_real_time(struct dlog *d, uint32_t boot, uint64_t time);
int dlog_region_event(struct dlog *d, uint32_t id,
		      struct dlog_event_desc *desc);
int dlog_region_symbol(struct dlog *d, uint32_t boot, uint64_t time,
		       uint64_t address, struct dlog_symbol *sym);

/*
 * The largest position, its records, and the largest dropped that the CPU
 * slots name for @ring in the newest boot they know there (hint->boot, 0:
 * none).  Plain words of the guest: hints, not facts.
 */
void dlog_ring_hint(struct dlog *d, uint32_t ring, struct dlog_cpu *hint);
void dlog_catalog_free(struct dlog *d);
uint8_t dlog_kind_level(uint32_t kind, uint32_t arg);

#endif
