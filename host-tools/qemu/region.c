// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * region.c - the region file before QEMU gets it: which file it is, that it
 * is a region of the right size, creating it, the lock, the socket beside it.
 *
 * Relies on libdlog for everything inside the file.  The lock lies on a file
 * descriptor that QEMU inherits, and ends with QEMU, however QEMU ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "qemu.h"
#include "region.h"

/* One ring for each CPU, but none so small that it forgets at once. */
#define RING_MIN (128 * KIB)
#define RINGS_MAX 1024
/* CPU slots that dlog_create() makes in any case. */
#define USUAL_CPUS 64

/* The absolute path of a file that need not exist. */
static char *future_path(const char *path, struct dlog_error *err)
{
	char *copy = strdup(path), *dir = NULL, *out = NULL;
	const char *base = strrchr(path, '/');

	base = base ? base + 1 : path;
	if (!copy)
		goto out;
	dir = realpath(dirname(copy), NULL);
	if (!dir) {
		fail(err, -errno, "%s: its folder: %s", path, strerror(errno));
		goto out;
	}
	if (!*base) {
		fail(err, -EISDIR, "%s: this is a folder, not a region file",
		     path);
		goto out;
	}
	if (asprintf(&out, "%s/%s", strcmp(dir, "/") ? dir : "", base) < 0)
		out = NULL;
out:
	free(copy);
	free(dir);
	return out;
}

static int check_kind(const char *path, const struct stat *st,
		      struct dlog_error *err)
{
	if (S_ISDIR(st->st_mode))
		return fail(
			err, -EISDIR,
			"%s: this is a folder, not a region file; QEMU would take it and keep nothing",
			path);
	if (!S_ISREG(st->st_mode))
		return fail(
			err, -EINVAL,
			"%s: this is not a regular file; a region is one, make it with dlog-create",
			path);
	return 0;
}

int region_find(struct region *r, const char *name, struct dlog_error *err)
{
	struct stat st;

	snprintf(err->text, sizeof(err->text), "out of memory");
	if (lstat(name, &st)) {
		if (errno != ENOENT)
			return fail(err, -errno, "%s: %s", name,
				    strerror(errno));
		r->path = future_path(name, err);
		return r->path ? 0 : -EINVAL;
	}
	/* A link may lead to a region, but nothing is created through one. */
	r->path = realpath(name, NULL);
	if (!r->path)
		return fail(
			err, -errno,
			"%s: a symbolic link that leads nowhere (%s); remove it, or create what it points to",
			name, strerror(errno));
	if (stat(r->path, &st))
		return fail(err, -errno, "%s: %s", r->path, strerror(errno));
	r->exists = true;
	return check_kind(r->path, &st, err);
}

int region_check(struct region *r, uint64_t size, struct dlog_error *err)
{
	struct dlog_info info;
	struct dlog *d;
	int ret;

	ret = dlog_open(&d, r->path, 0, err);
	if (ret < 0)
		return ret;
	dlog_get_info(d, &info);
	r->size = info.region_size;
	r->backup = info.backup;
	if (info.file_size != info.region_size)
		ret = fail(
			err, -EINVAL,
			"%s: the file has %llu bytes, its region %llu; restore that size: truncate -s %llu",
			r->path, (unsigned long long)info.file_size,
			(unsigned long long)info.region_size,
			(unsigned long long)info.region_size);
	else if (size && size != info.region_size)
		ret = fail(
			err, -EINVAL,
			"%s: its region has %s, but --size=%s is asked for; leave --size out, or make another file",
			r->path, size_text(info.region_size).s,
			size_text(size).s);
	dlog_close(d);
	return ret;
}

uint32_t region_rings(uint64_t size, uint32_t cpus)
{
	uint64_t rings = size / RING_MIN;

	if (rings > cpus)
		rings = cpus;
	if (rings > RINGS_MAX)
		rings = RINGS_MAX;
	return rings ? (uint32_t)rings : 1;
}

int region_create(struct region *r, uint32_t cpus, uint32_t maxcpus,
		  struct dlog_error *err)
{
	struct dlog_create_args args = {
		.size = r->size,
		.rings = region_rings(r->size, cpus),
	};
	int ret;

	/* CPUs plugged in later have heartbeats, too. */
	if (maxcpus > USUAL_CPUS && maxcpus * (8 * KIB) <= r->size)
		args.cpus = maxcpus;
	ret = dlog_create(r->path, &args, err);
	r->exists = !ret;
	return ret;
}

/*
 * Opens the file a second time: a lock is lost with the descriptor that
 * carries it, and this one is left open across exec.
 */
int region_lock(const struct region *r, struct dlog_error *err)
{
	int fd = open(r->path, O_RDWR | O_NOFOLLOW | O_NONBLOCK);
	int ret;

	if (fd < 0)
		return fail(err, -errno,
			    "%s: %s; the guest has to write into it", r->path,
			    strerror(errno));
	ret = dlog_lock(fd);
	if (ret == -EBUSY)
		ret = fail(
			err, ret,
			"%s: another virtual machine has this region (fuser shows which); each guest needs a file of its own",
			r->path);
	else if (ret < 0)
		ret = fail(err, ret, "%s: cannot be locked: %s", r->path,
			   strerror(-ret));
	if (ret < 0)
		close(fd);
	return ret;
}

int socket_path(char **out, const char *path, struct dlog_error *err)
{
	struct sockaddr_un sa;

	*out = future_path(path, err);
	if (!*out)
		return -EINVAL;
	if (strlen(*out) >= sizeof(sa.sun_path))
		return fail(
			err, -ENAMETOOLONG,
			"%s: too long for a socket's name, %zu bytes is the limit; choose another place with --qmp=PATH, or --qmp=none",
			*out, sizeof(sa.sun_path) - 1);
	return 0;
}

/* QEMU removes whatever is in the way of its socket. */
int socket_check(const char *path, struct dlog_error *err)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct stat st;
	int fd, ret;

	if (lstat(path, &st))
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return fail(
			err, -EEXIST,
			"%s: in the way of the QMP socket; move it, or choose another place with --qmp=PATH",
			path);
	memcpy(sa.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return fail(err, -errno, "socket: %s", strerror(errno));
	ret = connect(fd, (struct sockaddr *)&sa, sizeof(sa));
	if (!ret || errno == EAGAIN)
		ret = fail(
			err, -EADDRINUSE,
			"%s: another program listens there; choose another place with --qmp=PATH",
			path);
	else
		ret = 0; /* left behind by a QEMU that is gone */
	close(fd);
	return ret;
}

/* ---- files that a stock kernel writes ---- */

static int all_zero(const char *path, uint64_t size, struct dlog_error *err)
{
	static const char zero[65536];
	char buf[sizeof(zero)];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), ret = 1;

	if (fd < 0)
		return fail(err, -errno, "%s: %s", path, strerror(errno));
	for (uint64_t at = 0; ret == 1 && at < size;) {
		ssize_t n = pread(fd, buf, sizeof(buf), (off_t)at);

		if (n <= 0)
			ret = fail(err, n ? -errno : -EIO, "%s: %s", path,
				   n ? strerror(errno) : "cut short");
		else if (memcmp(buf, zero, (size_t)n))
			ret = 0;
		else
			at += (uint64_t)n;
	}
	close(fd);
	return ret;
}

/* What it is, as libdlog tells it, or nothing yet. */
static int plain_content(const struct region *r, const char *format,
			 struct dlog_error *err)
{
	const struct dlog_open_args args = { .flags = DLOG_OPEN_ANY };
	struct dlog_info info;
	struct dlog *d;
	int ret = dlog_open_as(&d, r->path, &args, err);

	if (ret == -EBADMSG) {
		ret = all_zero(r->path, r->size, err);
		if (ret < 0)
			return ret;
		return ret ? 0
			   : fail(err, -EEXIST,
				  "%s: holds something else than %s; name another file",
				  r->path, format);
	}
	if (ret)
		return ret;
	dlog_get_info(d, &info);
	if (strcmp(info.format, format))
		ret = fail(
			err, -EEXIST,
			"%s: this is of format %s, and --stock=%s would write over it; name another file",
			r->path, info.format, format);
	dlog_close(d);
	return ret;
}

int plain_check(struct region *r, uint64_t size, const char *format,
		struct dlog_error *err)
{
	struct stat st;

	if (stat(r->path, &st))
		return fail(err, -errno, "%s: %s", r->path, strerror(errno));
	r->size = (uint64_t)st.st_size;
	if (r->size < 64 * KIB || r->size % (4 * KIB))
		return fail(
			err, -EINVAL,
			"%s: has %llu bytes; it needs 64K at least, in steps of 4K",
			r->path, (unsigned long long)r->size);
	if (size && size != r->size)
		return fail(
			err, -EINVAL,
			"%s: has %s, but --size=%s is asked for; leave --size out, or make another file",
			r->path, size_text(r->size).s, size_text(size).s);
	return plain_content(r, format, err);
}

int plain_create(struct region *r, struct dlog_error *err)
{
	int fd = open(r->path,
		      O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int ret;

	if (fd < 0)
		return fail(err, -errno, "%s: %s", r->path, strerror(errno));
	ret = posix_fallocate(fd, 0, (off_t)r->size);
	if (ret) {
		unlink(r->path);
		fail(err, -ret, "%s: %s", r->path, strerror(ret));
	}
	close(fd);
	r->exists = !ret;
	return -ret;
}
