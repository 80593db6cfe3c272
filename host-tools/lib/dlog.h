/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dlog.h - libdlog: read what a guest kernel wrote into a region.
 *
 * A source (struct dlog) is one opened file: a region, or with DLOG_OPEN_ANY
 * what stock kernels leave in memory that the host can see.  A reader (struct dlog_reader)
 * merges the records of one or more sources by time.  Everything in a file
 * is hostile input: no function here crashes, reads outside the file, loops
 * for ever or uses memory beyond a constant for each ring, whatever the
 * bytes are and however they change meanwhile.
 *
 * Errors: functions return 0 or a positive result, or a negative errno;
 * where they take a struct dlog_error *, it then holds one complete sentence
 * that names the file, the reason and what to do, fit to be printed.  It may
 * be NULL.
 *
 * Times: "time" is the guest's clock (local_clock(), printk's clock) in ns
 * since that boot; "real" is wall clock in ns since 1970, 0 when unknown.
 *
 * Threads: an object is used by one thread at a time.
 */
#ifndef LIBDLOG_DLOG_H
#define LIBDLOG_DLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DLOG_API __attribute__((visibility("default")))

struct dlog;
struct dlog_reader;

struct dlog_error {
	char text[512];
};

/* ---- one file ---- */

enum dlog_open_flags {
	DLOG_OPEN_WRITE = 1, /* also for dlog_set_control() */
	DLOG_OPEN_ANY = 2, /* any format that is known, not only a region */
};

/*
 * Open a region file.  -ENOENT, -EACCES: as open(2).  -EISDIR, -ENODATA
 * (empty), -EBADMSG (no or damaged superblock, both copies), -EPROTO (newer
 * incompatible format), -ERANGE (file shorter than the region), -EINVAL
 * (contradicts itself, or is no file).  The file is never mapped: it may be
 * cut short at any time, which gives errors, not signals.  It is not written
 * but by dlog_set_control().
 */
DLOG_API int dlog_open(struct dlog **out, const char *path, unsigned int flags,
		       struct dlog_error *err);
/* The same on memory that the caller keeps until dlog_close(); @name for
 * messages. */
DLOG_API int dlog_open_memory(struct dlog **out, const void *mem, size_t size,
			      const char *name, struct dlog_error *err);
DLOG_API void dlog_close(struct dlog *d);

struct dlog_open_args {
	unsigned int flags;
	const char *format; /* its name; NULL: told by the content */
	/* Part of the file that is meant; size 0: up to its end. */
	uint64_t offset, size;
	/* "KEY=VALUE,..." for what the content does not tell, or NULL: keys
	 * are those of dlog_format_options(). */
	const char *options;
};

/*
 * Open a file of any format, as dlog_open() does.  -EBADMSG: of no format
 * that is known, or not of args->format; -EINVAL also for arguments that make
 * no sense.
 */
DLOG_API int dlog_open_as(struct dlog **out, const char *path,
			  const struct dlog_open_args *args,
			  struct dlog_error *err);
/* The same on memory, as dlog_open_memory(). */
DLOG_API int dlog_open_memory_as(struct dlog **out, const void *mem,
				 size_t size, const char *name,
				 const struct dlog_open_args *args,
				 struct dlog_error *err);

/* Formats by number: NULL behind the last.  Number 0 is the region. */
DLOG_API const char *dlog_format_name(uint32_t n);
/* What it is, one line for people. */
DLOG_API const char *dlog_format_help(uint32_t n);
/* Its options for people, a line each: "KEY=VALUE\tmeaning\n", or "". */
DLOG_API const char *dlog_format_options(uint32_t n);

/*
 * Something that a source of another format says of itself, for people:
 * number @n: 1, or 0 behind the last.  A region has none.
 */
struct dlog_fact {
	char name[32], text[512]; /* text: raw bytes of the guest */
};
DLOG_API int dlog_get_fact(struct dlog *d, uint32_t n, struct dlog_fact *fact);

/*
 * Of formats that are no region only path, format, file_size, region_size
 * (what is meant of the file) and nr_rings (streams of records) are known, the
 * rest is 0.
 */
struct dlog_info {
	const char *path; /* as given; valid until dlog_close() */
	const char *format; /* dlog_format_name() */
	uint8_t uuid[16];
	char label[65];
	uint64_t created; /* wall clock, ns */
	uint64_t region_size, file_size, ring_size, catalog_size;
	uint32_t nr_rings, subbuf_size, nr_cpus, boot_slots;
	uint32_t compat, ro_compat, incompat;
	bool backup; /* first superblock was damaged, the second is used */
};

DLOG_API void dlog_get_info(struct dlog *d, struct dlog_info *info);

/* The state page, within bounds. */
struct dlog_live {
	uint32_t status; /* enum dlog_status of dlog_abi.h */
	uint32_t boot; /* 0: no guest yet */
	uint64_t status_time;
	uint32_t memtype; /* enum dlog_memtype */
	uint32_t period_ms; /* heartbeat period */
	bool recording; /* as the guest sees it */
	bool stop_asked; /* the control word */
	uint32_t online;
};

struct dlog_beat {
	uint32_t cpu, ring, boot;
	bool online;
	uint64_t time; /* guest clock of the last heartbeat */
	uint64_t beats, position, records, dropped;
	uint64_t behind; /* ns behind the newest heartbeat of this boot */
	uint64_t age; /* ns of wall clock since, UINT64_MAX: not known */
	/* Online, and by its age or behind the newest
	 * heartbeat, older than 3 periods. */
	bool stale;
};

DLOG_API void dlog_get_live(struct dlog *d, struct dlog_live *live);
/* Heartbeat of @cpu: 1, or 0 when that CPU has none in the current boot. */
DLOG_API int dlog_get_beat(struct dlog *d, uint32_t cpu,
			   struct dlog_beat *beat);
/*
 * Of CPUs 0 to @n - 1 at once, in the boot that *@live names: how many slots
 * there are, or a negative errno.  Where a CPU has none in that boot, its boot
 * is 0, online and stale are false, and the rest is left as it was.
 */
DLOG_API int dlog_get_beats(struct dlog *d, const struct dlog_live *live,
			    struct dlog_beat *beats, uint32_t n);
/* Ask the guest to stop or go on recording.  Needs DLOG_OPEN_WRITE. */
DLOG_API int dlog_set_control(struct dlog *d, bool stop);

struct dlog_boot_entry {
	uint32_t boot;
	bool known; /* its table entry is there; else only records are */
	bool has_records; /* some of its records are still in the rings */
	char release[65], machine[17];
	uint8_t boot_id[16];
	uint64_t start_time, start_real;
	uint64_t kernel_text;
	/*
	 * How it ended: the status word it left (from the next boot's entry,
	 * for the latest boot from the state page), its time on this boot's
	 * clock, and its last heartbeat.
	 */
	uint32_t end_status;
	uint64_t end_time, last_beat;
	uint64_t first_time, last_time; /* of records; 0 without */
};

/*
 * Boots known from the table or from records, oldest first.  Returns their
 * number, or a negative errno; *out is to be free()d.
 */
DLOG_API int dlog_get_boots(struct dlog *d, struct dlog_boot_entry **out);

/*
 * Loss, for one ring and one boot (DESIGN P5).  A record counts when its
 * place was reserved; the START records that open each sub-buffer do not.
 *
 * reserved == records + overwritten + torn + corrupt, always.  How many were
 * reserved is known exactly up to the boot's last START, since each START
 * carries the count; behind it from what is found there, and from whichever
 * says more: the next boot's table entry, or for the latest boot a heartbeat
 * that lies in the last sub-buffer and is possible there.  What nobody
 * counted and nothing valid follows is not known of and in no number.
 *
 * overwritten  reserved before the oldest sub-buffer that is still live.
 *              While the region is written also what a writer took during
 *              this very scan.
 * torn         an open record (begun, not committed), or a missing one where
 *              all bytes are zero.  While the guest runs, what it is writing
 *              at this instant is torn; so is what a heartbeat counted and
 *              the ring has not got yet.
 * corrupt      missing, and other bytes lie in its place.  A writer that was
 *              stopped before its first store leaves the bytes of the lap
 *              before, so that such a record counts here: from the bytes
 *              alone the two cannot be told apart.
 * dropped      the most that a START, the next boot's table entry or a
 *              heartbeat says.
 *
 * A hole, bytes that verify as nothing with a valid record behind them in
 * the same sub-buffer, is at least one missing record even if no count says
 * so.  START and table prove themselves; a heartbeat is a plain word.
 */
struct dlog_loss {
	uint32_t ring, boot;
	uint64_t records; /* still there and valid */
	uint64_t reserved; /* that this boot ever wrote into this ring */
	uint64_t overwritten; /* by a later lap */
	uint64_t torn; /* begun, never finished */
	uint64_t corrupt; /* finished once, no longer valid */
	uint64_t dropped; /* could not be taken */
	uint64_t bytes; /* of valid records, START records included */
	/*
	 * Skipped: open records, holes, missing STARTs, and the rest of a
	 * sub-buffer where the counts say that more was there.
	 */
	uint64_t bad_bytes;
};

/* Scan everything: one entry for each ring and boot, by boot then ring. */
DLOG_API int dlog_get_loss(struct dlog *d, struct dlog_loss **out);

/* Last registers of @cpu in @boot (0: any): 1 found, 0 not there. */
struct dlog_reg_entry {
	uint32_t boot, cpu, reason, machine;
	uint64_t time;
	uint64_t control[8];
	uint32_t prstatus_size;
	uint8_t prstatus[1024];
};
DLOG_API int dlog_get_regs(struct dlog *d, uint32_t cpu, uint32_t boot,
			   struct dlog_reg_entry *regs);

/* Wall clock of @time in @boot by the clock table, 0 when not known. */
DLOG_API uint64_t dlog_real_time(struct dlog *d, uint32_t boot, uint64_t time);

/* Event type @id: 1 found (strings valid until dlog_close()), 0 not. */
struct dlog_event_desc {
	uint32_t id;
	const char *name, *fields, *format;
};
DLOG_API int dlog_get_event(struct dlog *d, uint32_t id,
			    struct dlog_event_desc *desc);
/* Bytes of the catalog (dlog_info says of how many) that hold something. */
DLOG_API uint64_t dlog_get_catalog_used(struct dlog *d);

/* A field that an event type without a format declares. */
enum dlog_field_type {
	DLOG_FIELD_UINT, /* "u32 NAME" */
	DLOG_FIELD_INT, /* "s32 NAME" */
	DLOG_FIELD_HEX, /* "x32 NAME" */
	DLOG_FIELD_CHARS, /* "char NAME[16]" */
	DLOG_FIELD_STR, /* "str NAME" */
	DLOG_FIELD_BYTES, /* "bytes NAME" */
};

struct dlog_field {
	enum dlog_field_type type;
	uint32_t size; /* bytes of a number or of CHARS, else 0 */
	const char *name; /* in the declaration: no NUL behind it */
	uint32_t name_len; /* at most 64 */
};

struct dlog_value {
	uint64_t number; /* INT: sign-extended */
	const uint8_t *data; /* CHARS up to their first NUL, STR, BYTES */
	size_t len;
};

/*
 * The field that *@fields begins with; *@fields is then behind it.  1, 0 at
 * the end, -EINVAL for what this library does not know.
 */
DLOG_API int dlog_field_next(const char **fields, struct dlog_field *f);
/*
 * Its value at *@data, of which *@len bytes are left; both are then behind
 * it.  False, and nothing is changed, when the data ends before its end.
 */
DLOG_API bool dlog_field_value(const struct dlog_field *f, const uint8_t **data,
			       size_t *len, struct dlog_value *v);

/*
 * The symbol that @address lay in during @boot, by what the guest stored for
 * the functions that it traced: 1 found (strings valid until dlog_close()),
 * 0 not.
 */
struct dlog_symbol {
	const char *name;
	const char *object; /* "vmlinux ...", "ext4 ..." */
	uint64_t address; /* where the symbol begins */
	uint32_t size; /* bytes, 0: not known */
};
DLOG_API int dlog_get_symbol(struct dlog *d, uint32_t boot, uint64_t address,
			     struct dlog_symbol *sym);
/*
 * The same at @time, in ns of the boot's clock: modules come and go, and a
 * region of the QEMU plugin has seen several kernels at different places.
 * dlog_get_symbol() means what lay there last.
 */
DLOG_API int dlog_get_symbol_at(struct dlog *d, uint32_t boot, uint64_t time,
				uint64_t address, struct dlog_symbol *sym);

/* A pointer of the caller's that goes with a source; @release (or NULL) is
 * called with it by dlog_close(). */
DLOG_API void dlog_set_private(struct dlog *d, void *data,
			       void (*release)(void *data));
DLOG_API void *dlog_get_private(struct dlog *d);

/* ---- records ---- */

/* Why a record may not be what it seems; formats without checks have these. */
enum dlog_doubt {
	DLOG_DOUBT_NONE,
	DLOG_DOUBT_STALE, /* may be of an earlier lap of its buffer */
	DLOG_DOUBT_SALVAGED, /* what framed it is damaged */
	DLOG_DOUBT_TORN, /* bytes of it are missing or damaged */
};
/* "stale", "salvaged", "torn"; "" for none. */
DLOG_API const char *dlog_doubt_name(uint32_t doubt);

struct dlog_entry {
	struct dlog *source;
	uint32_t ring, boot;
	uint64_t position;
	uint64_t time, real;
	uint32_t kind; /* enum dlog_kind */
	uint32_t arg;
	uint8_t level; /* 0..7, see dlog_kind_level() for non-text kinds */
	uint16_t facility;
	uint32_t caller; /* caller word, DLOG_CALLER_UNKNOWN when none */
	uint32_t doubt; /* enum dlog_doubt */
	/*
	 * For text kinds the text, as the guest wrote it, pieces of one
	 * printk line joined; else the raw data.  Not NUL-terminated; valid
	 * until the next call on the reader.
	 */
	const uint8_t *data;
	size_t len;
};

enum dlog_reader_flags {
	DLOG_READER_FOLLOW = 1, /* next() waits for more records */
	DLOG_READER_NEW = 2, /* begin at what is written from now on */
	DLOG_READER_LAST = 4, /* for dlog_reader_set_last() */
	DLOG_READER_BLOCKS = 8, /* records of kind BLOCKS too */
};

/*
 * Merge @n sources.  Within a source: by boot, time, ring, position, but at
 * the same time what continues a line last; a record that lies more than 64
 * records of its ring from where its time belongs is given where it lies.
 * Between sources: the wall clock of the two next records decides, guest time
 * where either is not known; each source's own order is kept.  See
 * dlog_learn_clock() for how well wall clocks agree.
 *
 * Pieces of one printk line (DLOG_CALLER_OPEN, then DLOG_CALLER_CONT with
 * the same time, thread and boot) come as one entry of at most 64 KiB, where
 * the first piece belongs; another record of the same nanosecond may come
 * behind it that lay between them, if it is of another ring.  An open piece
 * that nothing continues is an entry of its own, when following after 100 ms
 * at the latest.
 *
 * Following: the files are looked at every 10 ms, every 20 ms after a second
 * without a record.  Where the QEMU plugin watches all of them (FILE.watch,
 * dlog_watch.h) it tells when there is something new, and they are looked at
 * once a second.  A record in flight keeps nobody waiting: what lies
 * behind it is given, and it comes late if it is committed after all.  A
 * writer that laps the reader costs records (dlog_reader_missed()), not
 * correctness.  The reader begins, and counts, with the first call of
 * dlog_reader_next().  Without DLOG_READER_FOLLOW the reader ends where the rings
 * ended when it was made.
 *
 * Records of kind BLOCKS, of which an emulator writes thousands for each other
 * record, are left out unless they are asked for.  One that is open, since its
 * writer died or has not filled it yet, is given with DLOG_DOUBT_TORN and the
 * words before its first 0; when following only if a later boot has begun,
 * else when it is committed.  A follower that came to an open one while its
 * boot was the newest has passed it: if it is never committed, that reader
 * does not give it later either; a new reader does.
 */
DLOG_API int dlog_reader_new(struct dlog_reader **out, struct dlog **sources,
			     size_t n, unsigned int flags,
			     struct dlog_error *err);
DLOG_API void dlog_reader_free(struct dlog_reader *r);
/* Only boot @boot (of each source); 0: all.  Before the first next(). */
DLOG_API void dlog_reader_set_boot(struct dlog_reader *r, uint32_t boot);
/*
 * Give only the end of each source: @n of its records or more; fewer if they
 * are damaged, joined to lines, or of the same time: ask for more then.  It
 * begins at a record behind which nothing is left out, as far as the times
 * of each ring are in order (see dlog_reader_new()).  Costs what reading some
 * @n records of each ring costs.  1: something is left out, 0: nothing, or a
 * negative errno.  After dlog_reader_set_boot(), before the first next(), of
 * a reader made with DLOG_READER_LAST.
 */
DLOG_API int dlog_reader_set_last(struct dlog_reader *r, uint64_t n);
/*
 * The next record: 1, and *e is filled; 0 at the end (when following: none
 * within @timeout_ms, -1: wait for ever, 0: do not wait); or a negative
 * errno.  START records are not shown.
 */
DLOG_API int dlog_reader_next(struct dlog_reader *r, struct dlog_entry *e,
			      int timeout_ms);
/*
 * For who waits for other things too, and calls next() with timeout 0: when
 * that has returned 0, a descriptor that can be read when it is worth another
 * call, sooner than in a second; for poll(2) only, it is the reader's, ask
 * anew each time.  -1: nobody tells: look now and then.  Of one source.
 */
DLOG_API int dlog_reader_wake_fd(struct dlog_reader *r);
/*
 * Records that writers overwrote after this reader was made and before it
 * came to them (a lower bound: a lap within one boot is counted, one that
 * ends in another boot is not).  Records of kind BLOCKS are among them where
 * they share a ring with others, although they are not asked for.
 */
DLOG_API uint64_t dlog_reader_missed(struct dlog_reader *r);
/* Records of kind BLOCKS that were left out so far. */
DLOG_API uint64_t dlog_reader_hidden(struct dlog_reader *r);

/*
 * What a reader has still to give, so that another one, in another process,
 * can go on from there.  A *place* is a part of one ring's stream: from
 * @position on, up to @end, or with @end UINT64_MAX for ever.  Each ring has
 * one of those; the others are places that were passed while nothing valid
 * was there.
 */
struct dlog_place {
	uint32_t ring;
	uint32_t boot; /* whose records lie there, 0: not known */
	uint64_t position, end;
	uint64_t records; /* that @boot reserved before @position */
};

/*
 * The places of source number @source after the record that next() returned
 * last: writes up to @n, returns how many there are (DLOG_PLACES_MAX for each
 * ring at most).  Records are given by time, places are by position: what was
 * given out of the order of positions may lie in a place too, and is then
 * given again.
 */
#define DLOG_PLACES_MAX 18u
DLOG_API size_t dlog_reader_tell(struct dlog_reader *r, size_t source,
				 struct dlog_place *out, size_t n);
/*
 * Begin at these places, of a region with the same UUID.  What was
 * overwritten since is counted in dlog_reader_missed(), exactly while the boot
 * table knows the boots in between.  A ring for which no place, or none that
 * can be (@position behind the ring's end), is given begins at its oldest
 * record.  Before the first next(), of a reader that follows.  -EINVAL.
 */
DLOG_API int dlog_reader_seek(struct dlog_reader *r, size_t source,
			      const struct dlog_place *places, size_t n);

/* ---- clocks of several sources ---- */

/*
 * A witness is a source that watched another one from outside and recorded
 * how its clock went: the QEMU plugin's region, by events `dlog:clock` that
 * name the other one's UUID.  After this call dlog_real_time() of @guest, and
 * so the order in which a reader merges both, is by the witness' clock, in
 * each boot of which the witness has seen anything.  Reads all of @witness,
 * if it is one.
 *
 * The number of pairs of the two clocks that are used, 0: it is no witness of
 * @guest (or another one is used already); or a negative errno.  @witness has
 * to stay open as long as @guest is used.
 */
DLOG_API int dlog_learn_clock(struct dlog *guest, struct dlog *witness);
/* One more record of the witness, when following: 1 if it is a pair. */
DLOG_API int dlog_learn_entry(struct dlog *guest, const struct dlog_entry *e);

/* What is known of one boot's clock. */
struct dlog_clock_relation {
	struct dlog *witness;
	uint32_t boot;
	uint32_t pairs;
	/* Guest's clock at the first and last pair.  Before and behind them
	 * nothing says how far the clocks went apart. */
	uint64_t from, to;
	/* Seen on more than one CPU: a record is placed no better than the
	 * guest's CPUs agree on the time, which the bound does not say. */
	bool cpus;
	uint64_t bound; /* ns: between them a time is placed no worse, */
	/* but where between two pairs one clock went much further (10 ms and
	 * more) than the other: the guest was stopped, or its clock set. */
	uint32_t jumps;
	uint64_t jumped; /* ns in all of these */
};
/* Number @n: 1, or 0 behind the last. */
DLOG_API int dlog_get_clock(struct dlog *guest, uint32_t n,
			    struct dlog_clock_relation *rel);

/* ---- rendering ---- */

/* Names: "panic", "write-back", "printk"; "?" for an unknown value. */
DLOG_API const char *dlog_status_name(uint32_t status);
/* Does a kernel that says so run?  From booting on, also after an oops. */
DLOG_API bool dlog_status_lives(uint32_t status);
DLOG_API const char *dlog_memtype_name(uint32_t memtype);
DLOG_API const char *dlog_kind_name(uint32_t kind);
DLOG_API const char *dlog_level_name(uint32_t level); /* emerg .. debug */
DLOG_API const char *dlog_facility_name(uint32_t facility);

/*
 * One line (or several) of plain text for a record of any kind, raw guest
 * text included: the caller escapes it for its sink.  Returns the length
 * that it has or would have, as snprintf().
 */
DLOG_API size_t dlog_entry_text(const struct dlog_entry *e, char *buf,
				size_t size);

/* ---- formatting a file ---- */

struct dlog_create_args {
	uint64_t size; /* bytes; 0: 16 MiB */
	uint32_t rings; /* 0: 4 */
	uint32_t subbuf_size; /* 0: chosen from the ring size */
	uint32_t cpus; /* 0: chosen */
	uint32_t boots; /* 0: chosen */
	uint64_t catalog; /* bytes, 0: chosen */
	bool has_uuid;
	uint8_t uuid[16]; /* else random */
	char label[65];
	bool force; /* replace what exists */
};

/*
 * Create @path and format it: 0600, never through a symbolic link, whole or
 * not at all (temporary file, fsync, rename).  Blocks are allocated.
 * -EEXIST without force, -EINVAL, -ENOSPC ...
 */
DLOG_API int dlog_create(const char *path, const struct dlog_create_args *args,
			 struct dlog_error *err);

/*
 * Lock @fd (of a region file) against a second VMM: 0, or -EBUSY while
 * another open file holds it.  Held until every copy of @fd is closed.
 */
DLOG_API int dlog_lock(int fd);

#ifdef __cplusplus
}
#endif

#endif
