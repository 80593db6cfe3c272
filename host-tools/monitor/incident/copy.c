// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * copy.c - the region's file, and a copy of it.
 *
 * The path comes from a directory that others may write to, the bytes from
 * the guest, the size from the VMM: nothing but a regular file is opened, and
 * nothing but this descriptor is used afterwards.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "incident.h"

#define CHUNK 262144u
#define BLOCK 4096u

void region_open(struct job *job)
{
	struct dlog_error err;
	struct stat st;
	char path[32];
	size_t n;

	job->region_fd = -1;
	if (!job->region) {
		job_missing(job, "region.img: no region is known");
		return;
	}
	/* O_NONBLOCK: a FIFO must not keep us. */
	job->region_fd = open(job->region, O_RDONLY | O_CLOEXEC | O_NOFOLLOW |
						   O_NONBLOCK | O_NOCTTY);
	if (job->region_fd < 0 || fstat(job->region_fd, &st)) {
		job_missing(job, "region.img: %s: %s", job->region,
			    errno == ELOOP ? "it is a symbolic link"
					   : strerror(errno));
		region_close(job);
		return;
	}
	if (!S_ISREG(st.st_mode)) {
		job_missing(job, "region.img: %s is no regular file",
			    job->region);
		region_close(job);
		return;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", job->region_fd);
	if (dlog_open(&job->d, path, 0, &err)) {
		n = strlen(path);
		job->d = NULL;
		job_missing(job, "registers: %s%s", job->region,
			    strncmp(err.text, path, n) ? " is no region"
						       : err.text + n);
	}
}

void region_close(struct job *job)
{
	if (job->d)
		dlog_close(job->d);
	job->d = NULL;
	if (job->region_fd >= 0)
		close(job->region_fd);
	job->region_fd = -1;
}

uint64_t region_blocks(const struct job *job)
{
	struct stat st;

	if (job->region_fd < 0 || fstat(job->region_fd, &st))
		return 0;
	return (uint64_t)st.st_blocks * 512;
}

struct copy {
	struct job *job;
	int to;
	uint8_t *buf;
	uint64_t left; /* bytes that may be written */
};

static int copy_put(struct copy *c, const uint8_t *buf, size_t len, off_t at)
{
	ssize_t done;

	if (len > c->left)
		return -EFBIG;
	c->left -= len;
	for (; len; buf += done, at += done, len -= (size_t)done) {
		done = pwrite(c->to, buf, len, at);
		if (done < 0)
			return -errno;
	}
	return 0;
}

/* Write what is not zero of c->buf, in whole blocks where it can be. */
static int copy_write(struct copy *c, size_t len, off_t at)
{
	static const uint8_t zero[BLOCK];
	const uint8_t *buf = c->buf;
	size_t from = 0, n, end;
	int ret;

	while (from < len) {
		n = len - from < BLOCK ? len - from : BLOCK;
		if (!memcmp(buf + from, zero, n)) {
			from += n;
			continue;
		}
		for (end = from + n; end < len; end += n) {
			n = len - end < BLOCK ? len - end : BLOCK;
			if (!memcmp(buf + end, zero, n))
				break;
		}
		ret = copy_put(c, buf + from, end - from, at + (off_t)from);
		if (ret)
			return ret;
		from = end;
	}
	return 0;
}

static int copy_extent(struct copy *c, off_t at, off_t end)
{
	ssize_t n;
	int ret;

	while (at < end) {
		size_t want = end - at < CHUNK ? (size_t)(end - at) : CHUNK;

		if (atomic_load(&c->job->all->stopping))
			return -ECANCELED;
		n = pread(c->job->region_fd, c->buf, want, at);
		if (n < 0)
			return -errno;
		if (!n)
			return 0; /* it was cut short */
		ret = copy_write(c, (size_t)n, at);
		if (ret)
			return ret;
		at += n;
	}
	return 0;
}

static int copy_bytes(struct copy *c, off_t size)
{
	int from = c->job->region_fd, ret = 0;
	off_t at = 0, end;

	if (ftruncate(c->to, size))
		return -errno;
	while (!ret && at < size) {
		at = lseek(from, at, SEEK_DATA);
		if (at < 0 || at >= size)
			break; /* the rest is a hole */
		end = lseek(from, at, SEEK_HOLE);
		if (end < 0 || end > size)
			end = size;
		ret = copy_extent(c, at, end);
		at = end;
	}
	return ret;
}

/* Shared blocks where the file system can, else a copy of what is no hole. */
static int copy_file(struct job *job, int to, uint64_t most)
{
	struct copy c = { .job = job, .to = to, .left = most };
	struct stat st;
	int ret;

	if (!ioctl(to, FICLONE, job->region_fd))
		return 0;
	if (fstat(job->region_fd, &st))
		return -errno;
	c.buf = malloc(CHUNK);
	if (!c.buf)
		return -ENOMEM;
	ret = copy_bytes(&c, st.st_size);
	free(c.buf);
	return ret;
}

int region_copy(struct job *job)
{
	uint64_t need = region_blocks(job), room = bundle_free(job);
	int to, ret;

	if (job->region_fd < 0)
		return -ENOENT; /* told already */
	if (need > job->bundles_bytes) {
		job_missing(job,
			    "region.img: takes %llu bytes, more than "
			    "max-bytes allows in all",
			    (unsigned long long)need);
		return -EFBIG;
	}
	if (need > room) {
		job_missing(job,
			    "region.img: takes %llu bytes, the disk has room "
			    "for %llu beside keep-free",
			    (unsigned long long)need, (unsigned long long)room);
		return -ENOSPC;
	}
	to = bundle_create(job, "region.img");
	if (to < 0)
		return to;
	ret = copy_file(job, to,
			room < job->bundles_bytes ? room : job->bundles_bytes);
	ret = bundle_done(job, "region.img", to, ret);
	job->copied = !ret;
	return ret;
}
