// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * create.c - format a region file, and lock one.
 *
 * The file appears whole or not at all: everything is done to a temporary
 * file beside it, which then takes its name.  A symbolic link is never
 * followed, neither for the temporary file nor for the name.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

#define MIB (UINT64_C(1) << 20)

int dlog_lock(int fd)
{
	if (!flock(fd, LOCK_EX | LOCK_NB))
		return 0;
	return errno == EWOULDBLOCK ? -EBUSY : -errno;
}

/* Small regions: metadata stays near a quarter of the smallest. */
static uint64_t default_catalog(uint64_t size)
{
	if (size < MIB)
		return size / 64;
	return size / 16 < MIB ? size / 16 : MIB;
}

/* Four rings, where each can have a fair number of sub-buffers. */
static uint32_t default_rings(uint64_t size)
{
	uint32_t n = 4;

	while (n > 1 && size / n < 96 * 1024)
		n /= 2;
	return n;
}

/* Largest sub-buffers up to 16 KiB of which a ring still has 16. */
static uint32_t default_subbuf(uint64_t size, uint32_t rings)
{
	uint64_t ring = size / rings * 3 / 4;
	uint32_t n = 16384;

	while (n > DLOG_SUBBUF_MIN && ring / n < 16)
		n /= 2;
	return n;
}

/* Fewer boots than 64 where the table would take over 1/32 of the region. */
static uint32_t default_boots(uint64_t size, uint32_t rings)
{
	uint64_t entry = sizeof(struct dlog_boot) +
			 rings * sizeof(struct dlog_boot_ring) +
			 2 * sizeof(struct dlog_clock);
	uint64_t n = size / 32 / entry;

	return n > 64 ? 64 : n < DLOG_BOOTS_MIN ? DLOG_BOOTS_MIN : (uint32_t)n;
}

/* Say which limit the arguments break: 0 or -EINVAL. */
static int check_args(const char *path, const struct dlog_superblock *sb,
		      struct dlog_error *err)
{
	if (sb->region_size < DLOG_REGION_MIN ||
	    sb->region_size > DLOG_REGION_MAX || sb->region_size % DLOG_PAGE)
		return dlog_fail(err, -EINVAL,
				 "Cannot create %s: a region has %u bytes to "
				 "1 TiB, in multiples of %u; %llu is not one.",
				 path, DLOG_REGION_MIN, DLOG_PAGE,
				 (unsigned long long)sb->region_size);
	if (!sb->nr_rings || sb->nr_rings > DLOG_RINGS_MAX)
		return dlog_fail(err, -EINVAL,
				 "Cannot create %s: a region has 1 to %u "
				 "rings, not %u.",
				 path, DLOG_RINGS_MAX, sb->nr_rings);
	if (sb->subbuf_size < DLOG_SUBBUF_MIN ||
	    sb->subbuf_size > DLOG_SUBBUF_MAX ||
	    sb->subbuf_size & (sb->subbuf_size - 1))
		return dlog_fail(err, -EINVAL,
				 "Cannot create %s: a sub-buffer has %u to %u "
				 "bytes, a power of two; %u is not one.",
				 path, DLOG_SUBBUF_MIN, DLOG_SUBBUF_MAX,
				 sb->subbuf_size);
	if (sb->nr_cpus > DLOG_CPUS_MAX)
		return dlog_fail(err, -EINVAL,
				 "Cannot create %s: a region has slots for 1 "
				 "to %u CPUs, not %u.",
				 path, DLOG_CPUS_MAX, sb->nr_cpus);
	if (sb->boot_slots < DLOG_BOOTS_MIN || sb->boot_slots > DLOG_BOOTS_MAX)
		return dlog_fail(err, -EINVAL,
				 "Cannot create %s: a boot table has %u to %u "
				 "entries, not %u.",
				 path, DLOG_BOOTS_MIN, DLOG_BOOTS_MAX,
				 sb->boot_slots);
	if (sb->catalog_size > DLOG_CATALOG_MAX)
		return dlog_fail(err, -EINVAL,
				 "Cannot create %s: a catalog has at most %u "
				 "bytes, not %llu.",
				 path, DLOG_CATALOG_MAX,
				 (unsigned long long)sb->catalog_size);
	return 0;
}

/* Superblock for *@a: 0 or a negative errno with a message. */
static int make_super(const char *path, const struct dlog_create_args *a,
		      struct dlog_superblock *sb, struct dlog_error *err)
{
	uint64_t size = a->size ? a->size : 16 * MIB;
	uint32_t rings = a->rings ? a->rings : default_rings(size);
	int ret;

	memset(sb, 0, sizeof(*sb));
	sb->region_size = size;
	sb->nr_rings = rings;
	sb->subbuf_size = a->subbuf_size ? a->subbuf_size
					 : default_subbuf(size, rings);
	sb->nr_cpus = a->cpus			  ? a->cpus
		      : size >= MIB && rings < 64 ? 64
						  : rings;
	sb->boot_slots = a->boots ? a->boots : default_boots(size, rings);
	sb->catalog_size = a->catalog ? a->catalog : default_catalog(size);
	ret = check_args(path, sb, err);
	if (ret)
		return ret;
	memcpy(sb->label, a->label, strnlen(a->label, sizeof(sb->label)));
	sb->created = dlog_now(CLOCK_REALTIME);
	if (a->has_uuid) {
		memcpy(sb->uuid, a->uuid, sizeof(sb->uuid));
	} else {
		if (getrandom(sb->uuid, sizeof(sb->uuid), 0) !=
		    (ssize_t)sizeof(sb->uuid))
			return dlog_fail(err, -EIO,
					 "Cannot create %s: the kernel gives "
					 "no random numbers for its UUID; name "
					 "one.",
					 path);
		sb->uuid[6] = (sb->uuid[6] & 0x0f) | 0x40;
		sb->uuid[8] = (sb->uuid[8] & 0x3f) | 0x80;
	}
	ret = dlog_super_layout(sb);
	dlog_super_seal(sb);
	if (!ret && dlog_super_check(sb, size) != DLOG_SUPER_OK)
		ret = -EINVAL;
	if (ret)
		return dlog_fail(err, ret,
				 "Cannot create %s: %u rings of at least %u "
				 "sub-buffers of %u bytes do not fit into %llu "
				 "bytes beside %u CPUs, %u boots and a catalog "
				 "of %llu bytes; make the region larger or "
				 "name less.",
				 path, rings, DLOG_SUBBUFS_MIN, sb->subbuf_size,
				 (unsigned long long)size, sb->nr_cpus,
				 sb->boot_slots,
				 (unsigned long long)sb->catalog_size);
	return 0;
}

/* May @name in @dir be taken?  0 or a negative errno with a message. */
static int check_target(int dir, const char *name, const char *path, bool force,
			struct dlog_error *err)
{
	struct stat st;
	int fd, ret;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0
				       : dlog_fail(err, -errno,
						   "Cannot look at %s: %s.",
						   path, strerror(errno));
	if (S_ISDIR(st.st_mode))
		return dlog_fail(err, -EISDIR,
				 "%s is a directory: name a file in it.", path);
	if (S_ISLNK(st.st_mode))
		return dlog_fail(err, -ELOOP,
				 "%s is a symbolic link, which is never "
				 "followed: name the file itself.",
				 path);
	if (!S_ISREG(st.st_mode))
		return dlog_fail(err, -EINVAL,
				 "%s exists and is not a file: name another.",
				 path);
	if (!force)
		return dlog_fail(err, -EEXIST,
				 "%s exists and is left alone: name another, "
				 "or force it to be replaced.",
				 path);
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return dlog_fail(err, -errno,
				 "Cannot see whether %s is in use: %s.", path,
				 strerror(errno));
	ret = dlog_lock(fd);
	close(fd);
	if (ret == -EBUSY)
		return dlog_fail(err, ret,
				 "%s is in use by a virtual machine: stop that "
				 "first.",
				 path);
	if (ret)
		return dlog_fail(err, ret, "Cannot lock %s: %s.", path,
				 strerror(-ret));
	return 0;
}

static int write_all(int fd, uint64_t off, const void *buf, size_t len)
{
	const uint8_t *p = buf;

	while (len) {
		ssize_t n = pwrite(fd, p, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* Fill the new file and bring it to the disk. */
static int write_file(int fd, const struct dlog_superblock *sb)
{
	uint8_t page[DLOG_PAGE] = { 0 };
	int ret;

	if (fchmod(fd, 0600))
		return -errno;
	/*
	 * Blocks now: a guest that touches a page of a hole on a full disk
	 * takes its VMM down with SIGBUS.
	 */
	ret = -posix_fallocate(fd, 0, (off_t)sb->region_size);
	if (ret)
		return ret;
	memcpy(page, sb, sizeof(*sb));
	ret = write_all(fd, 0, page, sizeof(page));
	if (!ret)
		ret = write_all(fd, sb->backup_off, page, sizeof(page));
	if (!ret && fsync(fd))
		ret = -errno;
	return ret;
}

/* Give the temporary file its name. */
static int take_name(int dir, const char *temp, const char *name, bool force)
{
	if (force)
		return renameat(dir, temp, dir, name) ? -errno : 0;
	if (!renameat2(dir, temp, dir, name, RENAME_NOREPLACE))
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	/* File systems that cannot: a hard link never replaces either. */
	if (linkat(dir, temp, dir, name, 0))
		return -errno;
	unlinkat(dir, temp, 0);
	return 0;
}

static int create_in(int dir, const char *name, const char *path,
		     const struct dlog_superblock *sb, bool force,
		     struct dlog_error *err)
{
	char temp[64];
	uint64_t salt;
	int fd, ret;

	if (getrandom(&salt, sizeof(salt), 0) != (ssize_t)sizeof(salt))
		salt = dlog_now(CLOCK_MONOTONIC) ^ (uint64_t)getpid() << 32;
	snprintf(temp, sizeof(temp), ".dlog-%016llx.tmp",
		 (unsigned long long)salt);
	fd = openat(dir, temp,
		    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return dlog_fail(err, -errno,
				 "Cannot create a file beside %s: %s.", path,
				 strerror(errno));
	ret = write_file(fd, sb);
	close(fd);
	if (!ret)
		ret = take_name(dir, temp, name, force);
	if (ret) {
		unlinkat(dir, temp, 0);
		if (ret == -EEXIST)
			return dlog_fail(
				err, ret,
				"%s has appeared meanwhile and is left "
				"alone: name another file.",
				path);
		return dlog_fail(err, ret, "Cannot write %s (%llu bytes): %s.",
				 path, (unsigned long long)sb->region_size,
				 strerror(-ret));
	}
	if (fsync(dir))
		return dlog_fail(err, -errno,
				 "%s is written, but its directory could not "
				 "be synced: %s.",
				 path, strerror(errno));
	return 0;
}

int dlog_create(const char *path, const struct dlog_create_args *args,
		struct dlog_error *err)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	struct dlog_superblock sb;
	char *parent;
	int dir, ret;

	if (!*name)
		return dlog_fail(err, *path ? -EISDIR : -EINVAL,
				 "'%s' does not name a file.", path);
	ret = make_super(path, args, &sb, err);
	if (ret)
		return ret;
	parent = slash ? strndup(path, (size_t)(slash - path) + 1)
		       : strdup(".");
	if (!parent)
		return dlog_fail(err, -ENOMEM, "No memory to create %s.", path);
	dir = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ret = dir < 0 ? dlog_fail(err, -errno,
				  "Cannot open the directory of %s: %s.", path,
				  strerror(errno))
		      : check_target(dir, name, path, args->force, err);
	if (!ret)
		ret = create_in(dir, name, path, &sb, args->force, err);
	if (dir >= 0)
		close(dir);
	free(parent);
	return ret;
}
