/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ramoops.h - what the files that read ramoops' memory share.
 *
 * ramoops_zone.c finds the zones in the file, ramoops_ecc.c corrects them,
 * ramoops_text.c makes lines of what they hold, ramoops_boot.c says which
 * boot they are of, ramoops.c brings it all to libdlog.
 */
#ifndef LIBDLOG_STOCK_RAMOOPS_H
#define LIBDLOG_STOCK_RAMOOPS_H

#include "internal.h"
#include "stock/pstore.h"

/* struct persistent_ram_buffer: sig, start, size, each le32. */
#define ZONE_HEADER 12u
#define ZONE_SIG 0x43474244u
/* The most that is looked at: no guest has a larger area. */
#define RAMOOPS_MAX (UINT64_C(256) << 20)
#define ZONES_MAX 65536u

/* Streams have these numbers, too. */
enum zone_type {
	ZONE_DMESG,
	ZONE_CONSOLE,
	ZONE_PMSG,
	ZONE_FTRACE,
	ZONE_TYPES,
};

struct zone {
	enum zone_type type;
	uint64_t off;
	uint32_t size; /* all of it */
	uint32_t room; /* bytes of data: less header and parity */
	bool lost; /* there is no header, or not one to believe */
	bool whole; /* its parity says that no write was under way */
	uint32_t sig, start, fill; /* as read, corrected if ECC could */
	uint32_t passed; /* bytes at start that may be newer than the rest */
	uint32_t corrected, bad; /* bytes, blocks; of header and data */
	uint8_t *data; /* a copy, corrected */
	uint8_t *bad_block; /* one byte each, NULL: none is bad */
	uint32_t seen[3]; /* header words when it was loaded */
};

/* A line of text, or a call. */
struct line {
	uint64_t time, position;
	const uint8_t *text; /* in a zone's data or another buffer of ours */
	uint32_t len, caller, boot;
	uint8_t level, facility, doubt;
	bool has_time;
	bool older; /* of a boot before the zone's newest one */
	uint32_t used; /* ramoops_boot.c */
};

struct lines {
	struct line *v;
	size_t nr, room;
};

struct dump {
	uint32_t zone, boot;
	uint64_t wall; /* ns since 1970, 0: not known */
	uint64_t last; /* time of its newest line */
	size_t first, nr; /* of its lines */
	char reason[16];
};

/* What dumps tell of a boot. */
struct boot_told {
	const struct dump *last; /* its last one, NULL: none */
	uint64_t start; /* wall clock, 0: not known */
};

struct buffer {
	struct buffer *next;
	uint8_t *data;
};

struct ecc;

struct ramoops {
	struct dlog *d;
	uint64_t size;
	struct zone *zone;
	uint32_t nr;
	size_t zone_room;
	bool typed; /* the options say what they are for */
	uint32_t parity; /* bytes of ECC, 0: none */
	struct ecc *ecc;
	/* What load() makes of them. */
	struct lines lines[ZONE_TYPES];
	struct dump *dump;
	size_t dumps, dump_room;
	struct boot_told *boot_told; /* by boot */
	uint32_t told_boots;
	struct buffer *buffers;
	uint64_t unpack_left; /* bytes that may still be unpacked */
	bool loaded;
	uint32_t generation, told[ZONE_TYPES]; /* for list_changed() */
	uint64_t checked; /* CLOCK_MONOTONIC */
	uint32_t poll;
	bool wrapped; /* the console's zone has been full */
	/* While a guest runs: where the console's bytes stand in its stream. */
	uint64_t end; /* position of its write pointer, 0: not known */
	uint32_t old_start, old_fill;
	uint32_t reboots; /* seen since the file was opened */
	uint32_t boot, boot_reboots; /* of the console, and when it was told */
};

/* ---- ramoops_zone.c ---- */

/* Fills zone[] and parity: 0, -EBADMSG, or negative with @err. */
int ramoops_find_zones(struct ramoops *r, bool forced, struct dlog_error *err);
/* A fresh copy of a zone's bytes. */
int ramoops_load_zone(struct ramoops *r, struct zone *z);
void ramoops_type_zones(struct ramoops *r);
bool ramoops_dump_head(const uint8_t *p, size_t len, size_t *skip,
		       uint64_t *wall, bool *packed);

static inline bool zone_sig_ftrace(uint32_t sig)
{
	uint32_t version = sig ^ ZONE_SIG;

	/* LINUX_VERSION_CODE of a kernel that has pstore */
	return version >= 0x030000 && version < 0x200000;
}

/* ---- ramoops_ecc.c ---- */

/* Data bytes of a zone of @size bytes with @parity bytes a block; 0: none. */
uint32_t ecc_room(uint32_t size, uint32_t parity);
int ecc_new(struct ecc **out, uint32_t parity);
void ecc_free(struct ecc *e);
/* The header, with its parity: bytes corrected, or negative. */
int ecc_header(struct ecc *e, uint8_t header[ZONE_HEADER], const uint8_t *par);
/* A whole zone as it lies in the file; fills corrected, bad, bad_block. */
int ecc_zone(struct ecc *e, struct zone *z, uint8_t *raw);
bool zone_is_bad(const struct zone *z, uint32_t from, uint32_t len);

/* ---- ramoops_text.c ---- */

/*
 * Bytes of a zone in their order: @p is a copy or the data itself, and p[0]
 * lies at @raw of the data, which goes on at 0 behind @zone's room.
 */
struct span {
	const struct zone *zone;
	const uint8_t *p;
	uint32_t len, raw;
	uint64_t position; /* of p[0] */
	uint8_t doubt; /* of each line */
	bool older, only_text; /* leave out what does not read as text */
};

int ramoops_add(struct lines *l, const struct line *line);
bool span_is_bad(const struct span *s, uint32_t at, uint32_t len);
int ramoops_lines(struct lines *l, const struct span *s);
/* Where the newest of lines with times ends: their time steps back there. */
uint32_t ramoops_seam(const uint8_t *p, uint32_t len);
uint8_t *ramoops_buffer(struct ramoops *r, size_t size);
/* Bytes of @z from @begin to @end, those from @from on first. */
int ramoops_turn(struct ramoops *r, const struct zone *z, uint32_t begin,
		 uint32_t from, uint32_t end, struct span *out);
/* What a zone's header says it holds, less what is being written over. */
int ramoops_ring(struct ramoops *r, const struct zone *z, uint32_t fill,
		 struct span *out);
int ramoops_read_dump(struct ramoops *r, uint32_t zone);
int ramoops_read_pmsg(struct ramoops *r, struct zone *z);

/* ---- ramoops_console.c, ramoops_ftrace.c, ramoops_boot.c ---- */

/* -EAGAIN: what is newest may be being written this moment. */
int ramoops_read_console(struct ramoops *r, struct zone *z, bool again);
int ramoops_read_ftrace(struct ramoops *r);
int ramoops_number(struct ramoops *r);

#endif
