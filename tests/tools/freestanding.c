// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * freestanding.c - shared-abi compiled as a small kernel would: no libc, no
 * errno.h.  It only has to compile; the unit tests run the same code.
 */
#include "dlog_region.h"
#include "dlog_stream.h"

int client_write(struct dlog_ring *r, uint64_t now, const char *s, uint32_t n);
int client_stream(struct dlog_stream *s, struct dlog_ring *r, uint64_t now,
		  uint64_t word);
int client_start(struct dlog_region *rg, struct dlog_ring *r, void *base,
		 uint64_t size, const struct dlog_boot_info *info);

int client_write(struct dlog_ring *r, uint64_t now, const char *s, uint32_t n)
{
	return dlog_ring_append(r, DLOG_TYPE(DLOG_KIND_TEXT, 6), now, s, n);
}

int client_stream(struct dlog_stream *s, struct dlog_ring *r, uint64_t now,
		  uint64_t word)
{
	int ret = dlog_stream_begin(s, r, DLOG_TYPE(DLOG_KIND_BLOCKS, 0), now,
				    2);

	if (ret)
		return ret;
	dlog_stream_put(s, word);
	dlog_stream_draft(s, DLOG_REPEAT(1, 1));
	dlog_stream_end(s);
	return 0;
}

int client_start(struct dlog_region *rg, struct dlog_ring *r, void *base,
		 uint64_t size, const struct dlog_boot_info *info)
{
	static struct dlog_ring_end ends[DLOG_RINGS_MAX];

	if (dlog_region_open(rg, base, size) != DLOG_SUPER_OK)
		return -EINVAL;
	dlog_region_begin(rg, info, ends);
	dlog_ring_init(r, rg, 0, &ends[0], true, false);
	return 0;
}
