// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * ramoops_ecc.c - the Reed-Solomon parity of ramoops' zones.
 *
 * Follows fs/pstore/ram_core.c of Linux 5.10 to 6.12 (init_ecc, update_ecc):
 * behind a zone's data lie @parity bytes for each block of 128 bytes, then
 * @parity bytes for the header.  The number of blocks is counted before their
 * parity is taken off the data, so the last of them may guard nothing.
 * Symbols of 8 bits, polynomial 0x11d, first root 0, primitive element 1:
 * lib/reed_solomon of the kernel comes from the same code as libfec.
 *
 * libfec takes an error in the padding of a shortened code for corrected;
 * so a correction counts only if the parity of what came out is right.
 */
#include <stdlib.h>
#include <string.h>

#include <fec.h>

#include "stock/ramoops.h"

#define BLOCK 128u
#define SYMBOLS 255u

struct ecc {
	uint32_t parity;
	void *header, *block;
	void *rest; /* for the short block at a zone's end */
	uint32_t rest_len;
};

uint32_t ecc_room(uint32_t size, uint32_t parity)
{
	uint64_t room = size - ZONE_HEADER, blocks, total;

	if (size <= ZONE_HEADER || (parity && room <= parity))
		return 0;
	if (!parity)
		return (uint32_t)room;
	blocks = (room - parity + BLOCK + parity - 1) / (BLOCK + parity);
	total = (blocks + 1) * parity;
	return total >= room ? 0 : (uint32_t)(room - total);
}

static void *code(uint32_t len, uint32_t parity)
{
	return init_rs_char(8, 0x11d, 0, 1, (int)parity,
			    (int)(SYMBOLS - parity - len));
}

int ecc_new(struct ecc **out, uint32_t parity)
{
	struct ecc *e;

	*out = NULL;
	if (!parity || parity > SYMBOLS - BLOCK)
		return -EINVAL;
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->parity = parity;
	e->header = code(ZONE_HEADER, parity);
	e->block = code(BLOCK, parity);
	*out = e;
	if (e->header && e->block)
		return 0;
	ecc_free(e);
	*out = NULL;
	return -ENOMEM;
}

void ecc_free(struct ecc *e)
{
	if (!e)
		return;
	if (e->header)
		free_rs_char(e->header);
	if (e->block)
		free_rs_char(e->block);
	if (e->rest)
		free_rs_char(e->rest);
	free(e);
}

/* Corrected bytes of @data and its parity, or -EBADMSG: @data as it was. */
static int correct(const struct ecc *e, void *rs, uint8_t *data, uint32_t len,
		   const uint8_t *par)
{
	uint8_t word[SYMBOLS], check[SYMBOLS];
	int n = 0;

	memcpy(word, data, len);
	memcpy(word + len, par, e->parity);
	encode_rs_char(rs, word, check);
	if (!memcmp(check, par, e->parity))
		return 0;
	n = decode_rs_char(rs, word, NULL, 0);
	if (n <= 0)
		return -EBADMSG;
	encode_rs_char(rs, word, check);
	if (memcmp(check, word + len, e->parity))
		return -EBADMSG;
	memcpy(data, word, len);
	return n;
}

int ecc_header(struct ecc *e, uint8_t header[ZONE_HEADER], const uint8_t *par)
{
	return correct(e, e->header, header, ZONE_HEADER, par);
}

/* The code for @len bytes. */
static void *code_of(struct ecc *e, uint32_t len)
{
	if (len == BLOCK)
		return e->block;
	if (e->rest && e->rest_len != len) {
		free_rs_char(e->rest);
		e->rest = NULL;
	}
	if (!e->rest)
		e->rest = code(len, e->parity);
	e->rest_len = len;
	return e->rest;
}

/*
 * A block that was never written since the zone was made has no parity: all
 * of it is zero, which happens to be right, or it is what lay there before
 * ramoops did.  The kernel looks only at blocks below size, and so do we.
 */
int ecc_zone(struct ecc *e, struct zone *z, uint8_t *raw)
{
	uint32_t blocks = (z->room + BLOCK - 1) / BLOCK;
	uint32_t fill = z->lost || z->fill > z->room ? z->room : z->fill;
	uint8_t *data = raw + ZONE_HEADER, *par = data + z->room;

	for (uint32_t i = 0; i < blocks && i * BLOCK < fill; i++) {
		uint32_t len = z->room - i * BLOCK;
		void *rs;
		int n;

		if (len > BLOCK)
			len = BLOCK;
		rs = code_of(e, len);
		if (!rs)
			return -ENOMEM;
		n = correct(e, rs, data + i * BLOCK, len, par + i * e->parity);
		if (n > 0)
			z->corrected += (uint32_t)n;
		if (n >= 0)
			continue;
		z->bad++;
		if (!z->bad_block)
			z->bad_block = calloc(1, blocks);
		if (!z->bad_block)
			return -ENOMEM;
		z->bad_block[i] = 1;
	}
	return 0;
}

bool zone_is_bad(const struct zone *z, uint32_t from, uint32_t len)
{
	if (!z->bad_block || !len)
		return false;
	for (uint32_t i = from / BLOCK; i <= (from + len - 1) / BLOCK; i++)
		if (z->bad_block[i])
			return true;
	return false;
}
