/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * erst.h - one record of an acpi-erst store (erst_record.c), for erst.c.
 */
#ifndef LIBDLOG_STOCK_ERST_H
#define LIBDLOG_STOCK_ERST_H

#include "cper.h"

#define ERST_PAGE 4096u

struct erst_rec {
	uint64_t id, at;
	uint64_t real; /* wall clock, 0: not known */
	uint64_t newest; /* time of its last line that has one, 0: none */
	uint32_t room; /* bytes from @at on that can be its own */
	uint32_t data, len; /* its text */
	uint32_t bytes; /* of it, unpacked */
	uint32_t boot, window; /* 0: not given yet */
	uint32_t count, part; /* if it is known which dump it is of */
	char reason[16];
	char release[65]; /* of the kernel, if its banner is in the text */
	uint8_t type; /* enum cper_type */
	uint8_t doubt;
	bool known; /* the dump */
};

/* The worse of two doubts. */
static inline uint8_t erst_worse(uint8_t a, uint8_t b)
{
	return a > b ? a : b;
}

/*
 * The record at r->at, with r->room and r->doubt as its place gives them, of
 * which the directory says @id (0: nothing).  1, 0: there is none, -EBADMSG:
 * there was one, or negative.
 */
int erst_rec_load(struct dlog *d, struct erst_rec *r, uint64_t id);

/*
 * The text of @r: 0, -EBADMSG when it has none that can be read, or negative.
 * *@out is to be free()d.
 */
int erst_rec_text(struct dlog *d, const struct erst_rec *r, uint8_t **out,
		  size_t *len, uint8_t *doubt);

#endif
