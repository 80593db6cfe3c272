// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * out.c - the file that is written: PATH.part-XXXXXX until it is whole, then
 * PATH, as dlog-read -w does it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "../core.h"
#include "newfile.h"

static int out_why(const struct out *o, int ret, struct dlog_error *err)
{
	struct statvfs vfs;
	uint64_t room = o->written;

	if (ret != -ENOSPC && ret != -EDQUOT)
		return fail(err, ret, "Cannot write %s: %s.", o->path,
			    strerror(-ret));
	if (o->fd >= 0 && !fstatvfs(o->fd, &vfs))
		room += (uint64_t)vfs.f_bavail * vfs.f_frsize;
	return fail(err, ret,
		    "%s: there is no space for more than %s, and that is free "
		    "again. Choose another place, --kernel-only or "
		    "--format=kdump.",
		    o->path, cli_size(room).s);
}

/* May what is there, if anything, be replaced? */
static int check_there(const struct out *o, bool force, struct dlog_error *err)
{
	struct stat st;
	int ret;

	if (lstat(o->path, &st))
		return errno == ENOENT ? 0 : out_why(o, -errno, err);
	if (!S_ISREG(st.st_mode))
		return fail(err, -EEXIST,
			    "%s exists and is no file: name another.", o->path);
	if (!force)
		return fail(err, -EEXIST,
			    "%s exists and is left alone: name another, or "
			    "replace it with --force.",
			    o->path);
	if (st.st_dev == o->dev && st.st_ino == o->ino)
		return fail(err, -EINVAL,
			    "%s is the guest's memory itself: name another.",
			    o->path);
	ret = newfile_is_region(o->path);
	if (ret < 0)
		return out_why(o, ret, err);
	return ret ? fail(err, -EINVAL,
			  "%s is a region, which is never replaced: name "
			  "another.",
			  o->path)
		   : 0;
}

int out_open(struct out *o, const char *path, int ram, bool force, uint64_t max,
	     struct dlog_error *err)
{
	struct stat st = { .st_dev = 0 };
	int ret;

	fstat(ram, &st);
	*o = (struct out){ .path = path,
			   .fd = -1,
			   .force = force,
			   .max = max,
			   .dev = st.st_dev,
			   .ino = st.st_ino };
	ret = check_there(o, force, err);
	if (ret)
		return ret;
	if (asprintf(&o->temp, "%s.part-XXXXXX", path) < 0) {
		o->temp = NULL;
		return out_why(o, -ENOMEM, err);
	}
	o->fd = mkostemp(o->temp, O_CLOEXEC); /* 0600 */
	if (o->fd >= 0)
		return 0;
	ret = out_why(o, -errno, err);
	free(o->temp);
	o->temp = NULL;
	return ret;
}

int out_write(struct out *o, uint64_t off, const void *data, size_t len,
	      struct dlog_error *err)
{
	const uint8_t *p = data;

	if (o->max && len > o->max - o->written)
		return fail(err, -EFBIG,
			    "%s would need more than --max-size, %s: try "
			    "--kernel-only or --format=kdump.",
			    o->path, cli_size(o->max).s);
	while (len) {
		ssize_t n = pwrite(o->fd, p, len, (off_t)off);

		if (n < 0 && errno == EINTR && !newfile_signal())
			continue;
		if (n < 0)
			return out_why(o, -errno, err);
		p += n;
		off += (uint64_t)n;
		o->written += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* What has come there since we looked is not taken away. */
static int take_name(struct out *o, struct dlog_error *err)
{
	int ret;

	if (o->force) {
		ret = check_there(o, true, err);
		if (ret)
			return ret;
		return rename(o->temp, o->path) ? out_why(o, -errno, err) : 0;
	}
	ret = newfile_take_free(o->temp, o->path);
	return ret ? out_why(o, ret, err) : 0;
}

int out_commit(struct out *o, uint64_t size, struct dlog_error *err)
{
	int ret = ftruncate(o->fd, (off_t)size) ? out_why(o, -errno, err)
						: take_name(o, err);

	if (ret)
		return ret;
	free(o->temp);
	o->temp = NULL;
	return 0;
}

void out_close(struct out *o)
{
	if (o->fd >= 0)
		close(o->fd);
	o->fd = -1;
	if (o->temp)
		unlink(o->temp);
	free(o->temp);
	o->temp = NULL;
}
