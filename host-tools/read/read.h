/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * read.h - what the parts of dlog-read share.
 *
 * options.c reads the command line, main.c opens the files, show.c runs through
 * the records; filter.c, filter_event.c and when.c decide which are shown,
 * output/ how, target.c and pager.c where; tables.c, events.c and blocks.c
 * answer questions about whole files.
 * Relies on libdlog, what host-tools/common has.
 */
#ifndef DLOG_READ_H
#define DLOG_READ_H

#include <regex.h>
#include <stdbool.h>
#include <stdint.h>

#include "cli.h"
#include "dlog.h"
#include "dlog_abi.h"
#include "entry.h"
#include "json.h"
#include "sink.h"
#include "text.h"

#define PROGRAM "dlog-read"

/* Exit codes, in dlog-read(1) too. */
enum {
	EXIT_OK = 0,
	EXIT_DAMAGE = 1, /* --check found damage or loss */
	EXIT_ERROR = 2, /* wrong usage, or a file that cannot be read */
};

/* One file. */
struct source {
	struct dlog *d;
	struct dlog_info info;
	const char *path;
	const char *name; /* label or path, for people; guest-made bytes */
	struct dlog_boot_entry *boots;
	int nr_boots;
	uint32_t shown_boot; /* of the record shown last */
};

/* ---- time (when.c) ---- */

enum when_kind {
	WHEN_NONE,
	WHEN_GUEST, /* ns on each boot's own clock */
	WHEN_REAL, /* ns since 1970 */
	WHEN_END, /* ns before the last record */
};

struct when {
	enum when_kind kind;
	uint64_t ns;
};

/* 0 or -EINVAL.  Wall clock is local time, or UTC with @utc. */
int when_parse(struct when *w, const char *text, bool utc);
/* Wall clock for people: "2026-11-21 11:00:00 UTC". */
void when_date(struct sink *s, uint64_t real, bool utc);

/* ---- what is shown (filter.c) ---- */

struct filter {
	uint32_t kinds; /* bit for each enum dlog_kind */
	bool blocks; /* asked for by name; they are not in @kinds else */
	uint32_t levels; /* bit for each level */
	uint32_t facilities; /* bit for each, 0: all, of any kind */
	bool some_cpus;
	uint8_t cpus[DLOG_CPUS_MAX / 8];
	bool one_boot; /* boot_arg counts: N > 0 is boot N, 0 the latest */
	long boot_arg;
	struct when since, until;
	bool grep, plain;
	const char *pattern;
	regex_t regex;
	struct sink text; /* scratch for the text of a record */
	struct event_filter *events; /* filter_event.c, NULL: all */
	bool follow; /* events may come that nobody knows yet */
	/* for each source */
	struct limits {
		uint32_t boot; /* 0: all */
		uint32_t end_boot; /* what WHEN_END counts from */
		uint64_t end_time;
		uint8_t rings[DLOG_RINGS_MAX / 8];
	} * limits;
	uint64_t no_clock; /* left out, because their wall clock is unknown */
};

void filter_init(struct filter *f);
void filter_free(struct filter *f);
/* Options' arguments: 0, or -EINVAL after a message. */
int filter_levels(struct filter *f, const char *list);
int filter_facilities(struct filter *f, const char *list);
int filter_kinds(struct filter *f, const char *list);
int filter_cpus(struct filter *f, const char *list);
int filter_boot(struct filter *f, const char *text);
int filter_pattern(struct filter *f, const char *pattern, bool fold_case);
/* filter_event.c: the same, and freeing, settling, asking of its part. */
int filter_event(struct filter *f, const char *text);
int filter_function(struct filter *f, const char *glob);
int filter_pid(struct filter *f, const char *list);
void filter_events_free(struct filter *f);
int filter_events_bind(struct filter *f, struct source *src, size_t n);
bool filter_event_match(struct filter *f, const struct dlog_entry *e);
/* With the files open: settle -b, -c, "before the end".  0 or after a message
 * negative. */
int filter_bind(struct filter *f, struct source *src, size_t n);
bool filter_match(struct filter *f, size_t source, const struct dlog_entry *e);

/* ---- how (output/) ---- */

enum stamp { STAMP_GUEST, STAMP_WALL, STAMP_CTIME, STAMP_NONE };

struct format {
	enum stamp stamp;
	bool json, decode, colour, utc;
	bool names; /* several files: begin lines with the file's name */
	bool headers; /* a line before each boot */
};

#define LINES_ALL (-1L)

struct view {
	struct sink *out; /* standard output, or the file of -w */
	int dir; /* of an output that makes a directory, empty; else -1 */
	struct second date, stamp; /* wall clock, guest's clock */
	struct sink text; /* scratch for the text of a record */
	const struct format *fmt;
	struct source *src;
	size_t nr_src;
	uint32_t boot; /* the only one shown, 0: all */
	long lines; /* only the last so many are shown, LINES_ALL */
	bool quiet; /* no hints */
	void *state; /* the output's own */
	struct dlog_error err; /* what an output's negative result means */
};

/*
 * A format.  Its functions return 0 or a negative errno: with a message in
 * v->err, or with none when v->out has failed.  begin() comes first, end()
 * last and always when begin() was called, whatever failed: with @ok false it
 * only frees.  Any but entry() may be NULL.
 */
struct output {
	const char *name, *help; /* help is one line */
	enum output_target {
		OUTPUT_TEXT, /* lines: may go through a pager */
		OUTPUT_BYTES, /* one stream, not for a terminal */
		OUTPUT_DIR, /* a directory of files: needs -w */
	} target;
	bool follow; /* may go on for ever, as the guest writes */
	bool tables; /* --stats and the like have it too */
	bool headers; /* lines between boots */
	/* One file, and one boot of it: without -b the latest. */
	bool one_boot;
	/* Without -n, -S and -U: so many ns before the last record, and so
	 * many records at the most; 0: all. */
	uint64_t last_ns;
	long last_lines;
	/* Patterns of the names in the directory and in those in it, NULL at
	 * the end: --force removes nothing else. */
	const char *const *files;
	/* how lines begin, as far as the format says */
	enum stamp stamp;
	bool raw, json;

	int (*begin)(struct view *v);
	/* a boot's first record follows: a line for people */
	void (*boot)(struct view *v, struct source *src, uint32_t boot);
	int (*entry)(struct view *v, struct source *src,
		     const struct dlog_entry *e);
	int (*end)(struct view *v, bool ok);
};

extern const struct output output_text, output_wall, output_cat, output_raw,
	output_json, output_export, output_ctf, output_pstore, output_html,
	output_perfetto;

/* All there are, NULL at the end (output/table.c). */
extern const struct output *const outputs[];
/* By name, or NULL. */
const struct output *output_find(const char *name);

/* ---- -w: a file or directory, whole or not at all (target.c) ---- */

struct target {
	const char *path;
	const struct output *out;
	bool force;
	char *temp; /* what is written, beside path */
	int parent, fd;
};

/*
 * Begin to write to @path.  t->fd is then a file or a directory, of a name
 * of its own.  0, or negative after a message.
 */
int target_open(struct target *t, const char *path, const struct output *out,
		bool force);
/*
 * Give it its name (if @ok), or remove it.  0, or negative after a message.
 * Does not come back if newfile_signal(): then the signal takes effect.
 */
int target_close(struct target *t, bool ok);

/* How a boot ended, or what it does: words for people. */
const char *boot_end(const struct dlog_boot_entry *b, bool latest);

/* ---- running through the records (show.c) ---- */

struct show {
	struct source *src;
	size_t n;
	struct filter *filter;
	struct view *view;
	const struct output *out;
	long lines; /* only the last so many, LINES_ALL */
	bool follow;
	bool quiet;
	/* the last records, in turn; copies */
	struct kept *kept;
	size_t nr_kept, next_kept;
	uint64_t hidden; /* records of kind BLOCKS that were left out */
};

/* 0 or negative, after a message unless the output has one. */
int show_records(struct show *sh);

/* ---- $DLOG_PAGER, $PAGER, less (pager.c) ---- */

/* Send the sink through a pager if there is one; its process, or 0. */
int pager_start(struct sink *s);
void pager_wait(struct sink *s, int pid);

/* ---- questions about a file (tables.c) ---- */

int show_boots(struct view *v, struct source *src);
int show_stats(struct view *v, struct source *src);
int show_check(struct view *v, struct source *src);
/* events.c */
int show_events(struct view *v, struct source *src);
uint32_t count_events(struct dlog *d);
int show_regs(struct view *v, struct source *src, uint32_t boot);
/* blocks.c: of each CPU chosen by @f the last @lines blocks; @boot 0: of the
 * latest boot. */
int show_blocks(struct view *v, struct source *src, const struct filter *f,
		uint32_t boot, size_t lines);
/* Heartbeats that are behind, on stderr: the guest may hang. */
bool tell_stale(struct source *src);

#endif
