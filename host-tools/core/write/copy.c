// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * copy.c - the bytes of RAM, from one file to another.
 *
 * Holes of the RAM file are not read, pages of zeros not written.  Where the
 * holes are is asked of the file itself; all else about its layout comes from
 * libdlog (dlog_ram_ranges()).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../core.h"
#include "newfile.h"

#define SHOW_NS 200000000u

bool copy_is_zero(const void *page)
{
	const uint64_t *w = page;
	uint64_t any;

	/* Most pages that hold something do so soon. */
	if (w[0] | w[1] | w[2] | w[3])
		return false;
	for (size_t i = 0; i < PAGE / 8; i += 64) {
		any = 0;
		for (size_t j = 0; j < 64; j++)
			any |= w[i + j];
		if (any)
			return false;
	}
	return true;
}

/* ---- progress ---- */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void copy_progress(struct job *job, bool end)
{
	uint64_t now, all = job->plan->bytes;

	if (!job->progress)
		return;
	now = now_ns();
	if (!job->begun)
		job->begun = job->shown_at = now;
	if (end) {
		fprintf(stderr, "\r\033[K");
		return;
	}
	if (now - job->shown_at < SHOW_NS)
		return;
	job->shown_at = now;
	fprintf(stderr, "\r%3" PRIu64 " %% of %s, %s/s\033[K",
		all ? job->done * 100 / all : 100, cli_size(all).s,
		cli_size((uint64_t)((double)job->done * 1e9 /
				    (double)(now - job->begun)))
			.s);
}

/* ---- reading ---- */

/*
 * Bytes from @off of the RAM file on that are a hole, at most @len; 0 where
 * there is data.  *@data: then how many bytes are.
 */
static uint64_t find_hole(struct job *job, uint64_t off, uint64_t len,
			  uint64_t *data)
{
	off_t at = lseek(job->fd, (off_t)off, SEEK_DATA);

	*data = len;
	if (at < 0) {
		/* A hole up to the end, or cut short: then reading says so. */
		if (errno == ENXIO &&
		    lseek(job->fd, 0, SEEK_END) >= (off_t)(off + len))
			return len;
		return 0;
	}
	if ((uint64_t)at > off) {
		uint64_t hole = (uint64_t)at - off;

		hole &= ~(uint64_t)(PAGE - 1);
		if (hole)
			return hole < len ? hole : len;
	}
	at = lseek(job->fd, at, SEEK_HOLE);
	if (at > (off_t)off && (uint64_t)at - off < len)
		*data = ((uint64_t)at - off + PAGE - 1) & ~(uint64_t)(PAGE - 1);
	return 0;
}

static int read_all(struct job *job, uint64_t off, size_t len,
		    struct dlog_error *err)
{
	uint8_t *to = job->buf;

	while (len) {
		ssize_t n = pread(job->fd, to, len, (off_t)off);

		if (n < 0 && errno == EINTR && !newfile_signal())
			continue;
		if (n < 0)
			return fail(err, -errno, "Cannot read %s: %s.",
				    job->ram_path, strerror(errno));
		if (!n)
			return fail(err, -ERANGE,
				    "%s has been cut short meanwhile: there is "
				    "no byte %" PRIu64 " any more.",
				    job->ram_path, off);
		to += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int64_t copy_read(struct job *job, size_t i, uint64_t at, bool *hole,
		  struct dlog_error *err)
{
	const struct plan_part *r = &job->plan->ram[i];
	uint64_t left = r->size - at, n, data;
	int ret;

	*hole = false;
	if (newfile_signal())
		return fail(err, -EINTR, "Interrupted; nothing is left.");
	if (!left)
		return 0;
	n = find_hole(job, r->offset + at, left, &data);
	if (n) {
		*hole = true;
	} else {
		n = data < COPY_CHUNK ? data : COPY_CHUNK;
		ret = read_all(job, r->offset + at, (size_t)n, err);
		if (ret)
			return ret;
	}
	job->done += n;
	copy_progress(job, false);
	return (int64_t)n;
}

/* ---- writing ---- */

static bool page_wanted(const struct job *job, size_t range, uint64_t at,
			const uint8_t *p)
{
	return filter_keeps(job->filter, range, at / PAGE) && !copy_is_zero(p);
}

/* What is wanted of @len bytes in job->buf, in runs. */
static int write_runs(struct job *job, size_t range, uint64_t at, size_t len,
		      uint64_t to, struct dlog_error *err)
{
	size_t from = 0, end;
	int ret;

	while (from < len) {
		if (!page_wanted(job, range, at + from, job->buf + from)) {
			from += PAGE;
			continue;
		}
		end = from + PAGE;
		while (end < len &&
		       page_wanted(job, range, at + end, job->buf + end))
			end += PAGE;
		ret = out_write(job->out, to + from, job->buf + from,
				end - from, err);
		if (ret)
			return ret;
		from = end + PAGE; /* that one is not wanted */
	}
	return 0;
}

static int copy_range(struct job *job, size_t i, uint64_t to,
		      struct dlog_error *err)
{
	uint64_t at = 0;
	bool hole;
	int64_t n;
	int ret;

	while ((n = copy_read(job, i, at, &hole, err)) > 0) {
		ret = hole ? 0
			   : write_runs(job, i, at, (size_t)n, to + at, err);
		if (ret)
			return ret;
		at += (uint64_t)n;
	}
	return (int)n;
}

int copy_all(struct job *job, uint64_t to, struct dlog_error *err)
{
	int ret = 0;

	for (size_t i = 0; !ret && i < job->plan->nr_ram; i++) {
		ret = copy_range(job, i, to, err);
		to += job->plan->ram[i].size;
	}
	copy_progress(job, true);
	return ret;
}
