/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pstore.h - text as the kernel's pstore keeps it, whatever the back end.
 *
 * Follows fs/pstore/platform.c and kernel/printk/printk.c (print_prefix) of
 * Linux 5.10 to 6.12: a dump is the end of the log, cut into parts; part 1 is
 * the newest text.  Each part begins with a line "Oops#1 Part1" and holds
 * whole lines "<4>[   12.345678][  T123] text"; it may be compressed.
 */
#ifndef LIBDLOG_STOCK_PSTORE_H
#define LIBDLOG_STOCK_PSTORE_H

#include "internal.h"

/* Bytes that one compressed part may become. */
#define PSTORE_PART_MAX (1u << 20)

/*
 * Uncompress @len bytes of whatever algorithm pstore used (deflate or zstd, told by
 * trying).  What could be had of damaged data counts: 0 whole and all of
 * @data, -EBADMSG damaged (*@out holds what came out before, *@out_len may be 0), or negative.
 * *@out is to be free()d.
 */
int pstore_unpack(const void *data, size_t len, uint8_t **out, size_t *out_len);
/* The same, of which no more than @max bytes may come out. */
int pstore_unpack_to(const void *data, size_t len, size_t max, uint8_t **out,
		     size_t *out_len);

/* "Oops#1 Part1\n" at the start: 1, and *@skip bytes of it; 0: not there. */
int pstore_heading(const void *data, size_t len, char reason[16],
		   uint32_t *count, uint32_t *part, size_t *skip);

/* enum dlog_status of the reason in a heading; DLOG_ST_NONE: it names none. */
uint32_t pstore_status(const char *reason);
/* "Linux version 6.1.0 (...": 1, and @release is there; 0: not this. */
int pstore_release(const uint8_t *text, size_t len, char release[65]);

/* A line, split as far as its prefix is there. */
struct pstore_line {
	bool has_level, has_time;
	uint8_t level; /* 6 without */
	uint8_t facility;
	uint64_t time; /* ns */
	uint32_t caller; /* DLOG_CALLER_*, DLOG_CALLER_UNKNOWN without */
	const uint8_t *text; /* behind the prefix, without the newline */
	size_t len;
	size_t size; /* of all of it, newline included */
};
/* The line at @data: 1, or 0 at the end. */
int pstore_line(const void *data, size_t len, struct pstore_line *line);

/*
 * Add the lines of @data as DLOG_KIND_PRINTK to @l, as of @boot, the first at
 * *@position, which grows by each line's bytes.  *@time is the time of lines
 * without one (of the line before).  0 or -ENOMEM.
 */
int pstore_add_lines(struct dlog_list *l, uint32_t boot, uint64_t *position,
		     uint64_t *time, enum dlog_doubt doubt, const void *data,
		     size_t len);

#endif
