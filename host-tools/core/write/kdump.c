// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * kdump.c - the kdump-compressed format: each page of RAM for itself, so that
 * a debugger reads any of them without the rest.
 *
 *	block 0		header
 *	block 1		sub header, notes, VMCOREINFO's text once more
 *	bitmap 1	a bit for each page frame that is RAM
 *	bitmap 2	a bit for each that is in the file
 *	descriptors	of those, in order: offset, size, how compressed
 *	pages		all pages of zeros are one
 *
 * Follows IMPLEMENTATION of makedumpfile 1.7.2, version 6 of the header; crash
 * and libkdumpfile (drgn) read it.  A page that is in bitmap 1 alone is left
 * out, and they say so, where in an ELF core it would read as zeros.
 * makedumpfile itself needs a core to work on, as large as the guest, and
 * libkdumpfile only reads: hence this.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>
#include <zstd.h>

#include "../core.h"

#define VERSION 6
#define DUMP_LEVEL_ALL 0
#define DUMP_LEVEL_KERNEL 31
#define DESCS 1024u /* written at once */
#define STAGE (1u << 20)

/* What the status of a header and the flags of a page say. */
enum { BY_ZLIB = 1, BY_ZSTD = 0x20 };

struct header {
	char signature[8];
	uint32_t version;
	char utsname[6][65];
	uint8_t pad[6];
	uint64_t seconds, microseconds;
	uint32_t status, block_size, sub_header_blocks, bitmap_blocks;
	uint32_t max_mapnr, total_ram_blocks, device_blocks, written_blocks;
	uint32_t current_cpu, nr_cpus;
};

struct sub_header {
	uint64_t phys_base;
	uint32_t dump_level, split;
	uint64_t start_pfn, end_pfn;
	uint64_t offset_vmcoreinfo, size_vmcoreinfo;
	uint64_t offset_note, size_note;
	uint64_t offset_eraseinfo, size_eraseinfo;
	uint64_t start_pfn_64, end_pfn_64, max_mapnr_64;
};

struct desc {
	uint64_t offset;
	uint32_t size, flags;
	uint64_t page_flags;
};

_Static_assert(sizeof(struct header) == 464, "as struct disk_dump_header");
_Static_assert(sizeof(struct sub_header) == 104, "as struct kdump_sub_header");
_Static_assert(sizeof(struct desc) == 24, "as struct page_desc");

struct kdump {
	struct job *job;
	enum kdump_compression by;
	ZSTD_CCtx *zstd;
	uint64_t max_pfn, pages;
	uint64_t desc_at, data_at; /* where the next ones go */
	struct desc desc[DESCS];
	uint32_t nr_desc;
	uint8_t *stage; /* STAGE bytes, then room for a page */
	size_t staged;
	struct desc zero; /* the page of zeros; size 0: not written yet */
};

/* ---- headers ---- */

static uint32_t status_of(enum kdump_compression by)
{
	return by == KDUMP_ZSTD ? BY_ZSTD : by == KDUMP_ZLIB ? BY_ZLIB : 0;
}

/*
 * What uname(2) says in the guest (struct new_utsname of init_uts_ns).
 * libkdumpfile wants each of them, crash compares them.
 */
static void put_names(struct header *h, struct dlog_ram *ram)
{
	uint64_t at, name = 0;

	dlog_ram_vmcoreinfo_get(ram, "OFFSET(uts_namespace.name)", &name);
	if (!dlog_ram_vmcoreinfo_get(ram, "SYMBOL(init_uts_ns)", &at) ||
	    dlog_ram_read(ram, at + name, h->utsname, sizeof(h->utsname)))
		memset(h->utsname, 0, sizeof(h->utsname));
	for (size_t i = 0; i < 6; i++) {
		if (!h->utsname[i][0])
			strcpy(h->utsname[i], "?");
		h->utsname[i][sizeof(h->utsname[i]) - 1] = 0;
	}
	strcpy(h->utsname[4], "x86_64");
}

static uint64_t blocks(uint64_t bytes)
{
	return (bytes + PAGE - 1) / PAGE;
}

/*
 * libkdumpfile knows of no CPU without a note, and then drgn unwinds no stack
 * at all.  One of a thread that cannot be is used by nobody.
 */
static uint8_t *make_notes(const struct job *job, size_t *size)
{
	struct core_cpu nobody = { .cpu = 0 };
	struct core_regs one = { .cpu = &nobody, .nr = 1 };
	uint32_t pid = CORE_NO_PID;

	memcpy(nobody.prstatus + PRSTATUS_PID, &pid, sizeof(pid));
	return elf_notes(job->ram, job->regs->nr ? job->regs : &one, false,
			 size);
}

static int put_headers(struct kdump *kd, struct dlog_error *err)
{
	struct job *job = kd->job;
	struct dlog_ram_kernel k;
	struct sub_header s = { .split = 0 };
	struct header h = { .signature = "KDUMP   ", .version = VERSION };
	uint64_t phys;
	size_t info_len, notes_len;
	const char *info = dlog_ram_vmcoreinfo(job->ram, &info_len, &phys);
	uint8_t *notes = make_notes(job, &notes_len);
	uint64_t bitmap = blocks((kd->max_pfn + 7) / 8);
	int ret;

	if (!notes)
		return fail(err, -ENOMEM, "No memory for the core's headers.");
	dlog_ram_get_kernel(job->ram, &k);
	put_names(&h, job->ram);
	h.seconds = (uint64_t)time(NULL);
	h.status = status_of(kd->by);
	h.block_size = PAGE;
	s.offset_note = PAGE + sizeof(s);
	s.size_note = notes_len;
	if (info) {
		s.offset_vmcoreinfo = s.offset_note + notes_len;
		s.size_vmcoreinfo = info_len;
	}
	h.sub_header_blocks =
		(uint32_t)blocks(sizeof(s) + notes_len + s.size_vmcoreinfo);
	h.bitmap_blocks = (uint32_t)(2 * bitmap);
	h.max_mapnr = kd->max_pfn > UINT32_MAX ? UINT32_MAX
					       : (uint32_t)kd->max_pfn;
	h.nr_cpus = job->regs->nr ? job->regs->nr : 1;
	s.phys_base = k.phys_base;
	s.dump_level = job->filter->keep ? DUMP_LEVEL_KERNEL : DUMP_LEVEL_ALL;
	s.max_mapnr_64 = kd->max_pfn;
	kd->desc_at = ((uint64_t)1 + h.sub_header_blocks + h.bitmap_blocks) *
		      PAGE;
	ret = out_write(job->out, 0, &h, sizeof(h), err);
	if (!ret)
		ret = out_write(job->out, PAGE, &s, sizeof(s), err);
	if (!ret)
		ret = out_write(job->out, s.offset_note, notes, notes_len, err);
	if (!ret && info)
		ret = out_write(job->out, s.offset_vmcoreinfo, info, info_len,
				err);
	free(notes);
	return ret;
}

/* Bits of one bitmap: all RAM, or what is wanted of it. */
static void fill_bitmap(struct kdump *kd, uint8_t *bits, bool wanted)
{
	const struct plan *p = kd->job->plan;

	for (size_t i = 0; i < p->nr_ram; i++) {
		uint64_t pfn = p->ram[i].phys / PAGE;

		for (uint64_t n = 0; n < p->ram[i].size / PAGE; n++) {
			if (wanted && !filter_keeps(kd->job->filter, i, n))
				continue;
			bits[(pfn + n) / 8] |= (uint8_t)(1 << (pfn + n) % 8);
			kd->pages += wanted;
		}
	}
}

static int put_bitmaps(struct kdump *kd, struct dlog_error *err)
{
	size_t size = blocks((kd->max_pfn + 7) / 8) * PAGE;
	uint8_t *bits = calloc(2, size);
	int ret;

	if (!bits)
		return fail(err, -ENOMEM, "No memory for a map of the pages.");
	fill_bitmap(kd, bits, false);
	fill_bitmap(kd, bits + size, true);
	ret = out_write(kd->job->out, kd->desc_at - 2 * size, bits, 2 * size,
			err);
	kd->data_at = kd->desc_at + kd->pages * sizeof(struct desc);
	free(bits);
	return ret;
}

/* ---- pages ---- */

static int flush_stage(struct kdump *kd, struct dlog_error *err)
{
	int ret = out_write(kd->job->out, kd->data_at, kd->stage, kd->staged,
			    err);

	kd->data_at += kd->staged;
	kd->staged = 0;
	return ret;
}

static int flush_descs(struct kdump *kd, struct dlog_error *err)
{
	size_t len = kd->nr_desc * sizeof(struct desc);
	int ret = out_write(kd->job->out, kd->desc_at, kd->desc, len, err);

	kd->desc_at += len;
	kd->nr_desc = 0;
	return ret;
}

/* Bytes at @to, or 0 when it gets no smaller. */
static size_t compress_page(struct kdump *kd, uint8_t *to, const uint8_t *page)
{
	uLongf len = PAGE - 1;
	size_t n;

	switch (kd->by) {
	case KDUMP_ZSTD:
		n = ZSTD_compressCCtx(kd->zstd, to, PAGE - 1, page, PAGE, 1);
		return ZSTD_isError(n) ? 0 : n;
	case KDUMP_ZLIB:
		return compress2(to, &len, page, PAGE, 1) == Z_OK ? len : 0;
	default:
		return 0;
	}
}

static struct desc stage_page(struct kdump *kd, const uint8_t *page)
{
	struct desc d = { .offset = kd->data_at + kd->staged };
	uint8_t *to = kd->stage + kd->staged;

	d.size = (uint32_t)compress_page(kd, to, page);
	d.flags = d.size ? status_of(kd->by) : 0;
	if (!d.size) {
		memcpy(to, page, PAGE);
		d.size = PAGE;
	}
	kd->staged += d.size;
	return d;
}

/* @page: NULL for one in a hole. */
static int put_page(struct kdump *kd, const uint8_t *page,
		    struct dlog_error *err)
{
	static const uint8_t zeros[PAGE] __attribute__((aligned(8)));
	int ret = 0;

	if (page && !copy_is_zero(page)) {
		kd->desc[kd->nr_desc++] = stage_page(kd, page);
	} else {
		if (!kd->zero.size)
			kd->zero = stage_page(kd, zeros);
		kd->desc[kd->nr_desc++] = kd->zero;
	}
	if (kd->staged >= STAGE)
		ret = flush_stage(kd, err);
	if (!ret && kd->nr_desc == DESCS)
		ret = flush_descs(kd, err);
	return ret;
}

static int put_range(struct kdump *kd, size_t i, struct dlog_error *err)
{
	struct job *job = kd->job;
	uint64_t at = 0;
	bool hole;
	int64_t n;
	int ret;

	while ((n = copy_read(job, i, at, &hole, err)) > 0) {
		for (uint64_t o = 0; o < (uint64_t)n; o += PAGE) {
			if (!filter_keeps(job->filter, i, (at + o) / PAGE))
				continue;
			ret = put_page(kd, hole ? NULL : job->buf + o, err);
			if (ret)
				return ret;
		}
		at += (uint64_t)n;
	}
	return (int)n;
}

static int put_all(struct kdump *kd, struct dlog_error *err)
{
	const struct plan *p = kd->job->plan;
	int ret = put_headers(kd, err);

	if (!ret)
		ret = put_bitmaps(kd, err);
	for (size_t i = 0; !ret && i < p->nr_ram; i++)
		ret = put_range(kd, i, err);
	copy_progress(kd->job, true);
	if (!ret)
		ret = flush_descs(kd, err);
	return ret ? ret : flush_stage(kd, err);
}

int kdump_write(struct job *job, enum kdump_compression by, uint64_t *size,
		struct dlog_error *err)
{
	const struct plan *p = job->plan;
	struct kdump *kd = calloc(1, sizeof(*kd));
	int ret;

	if (!kd)
		return fail(err, -ENOMEM, "No memory to write the core.");
	kd->job = job;
	kd->by = by;
	if (p->nr_ram)
		kd->max_pfn = (p->ram[p->nr_ram - 1].phys +
			       p->ram[p->nr_ram - 1].size) /
			      PAGE;
	kd->stage = malloc(STAGE + PAGE);
	kd->zstd = ZSTD_createCCtx();
	if (kd->stage && kd->zstd)
		ret = put_all(kd, err);
	else
		ret = fail(err, -ENOMEM, "No memory to write the core.");
	*size = kd->data_at;
	ZSTD_freeCCtx(kd->zstd);
	free(kd->stage);
	free(kd);
	return ret;
}
