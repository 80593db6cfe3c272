// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * source.c - open and close a source, its superblock, reading its bytes.
 *
 * Files are read with pread() alone: there is no mapping that could be cut
 * short under us.  The superblock is copied and checked once; everything
 * later computes from the checked copy.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

int dlog_fail(struct dlog_error *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (err) {
		va_start(ap, fmt);
		vsnprintf(err->text, sizeof(err->text), fmt, ap);
		va_end(ap);
	}
	return code;
}

/* CLOCK_REALTIME or CLOCK_MONOTONIC in ns. */
uint64_t dlog_now(int clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

int dlog_fetch(const struct dlog *d, uint64_t off, void *buf, size_t len)
{
	uint8_t *to = buf;

	if (off > d->size || len > d->size - off)
		return -ERANGE;
	if (d->fd < 0) {
		memcpy(to, d->mem + off, len);
		return 0;
	}
	while (len) {
		ssize_t n = pread(d->fd, to, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			return -ERANGE; /* cut short since it was opened */
		to += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static enum dlog_super_error super_at(struct dlog *d, uint64_t off,
				      struct dlog_superblock *sb)
{
	if (dlog_fetch(d, off, sb, sizeof(*sb)))
		return DLOG_SUPER_MAGIC;
	return dlog_super_check(sb, d->size);
}

/*
 * The second copy: at the end of the file, or where the damaged first one
 * says.  Only believed where it says that it is.
 */
static bool super_backup(struct dlog *d)
{
	uint64_t at[] = { d->size - DLOG_PAGE, d->sb.backup_off };
	struct dlog_superblock sb;

	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		if (super_at(d, at[i], &sb) == DLOG_SUPER_OK &&
		    sb.backup_off == at[i]) {
			d->sb = sb;
			return true;
		}
	}
	return false;
}

static int source_super(struct dlog *d, struct dlog_error *err)
{
	enum dlog_super_error e;

	if (!d->size)
		return dlog_fail(err, -ENODATA,
				 "%s is empty: format it with dlog-create.",
				 d->name);
	if (d->size < DLOG_REGION_MIN)
		return dlog_fail(
			err, -EBADMSG,
			"%s is not a dlog region: it has %llu bytes, "
			"the smallest region has %u; was it cut short?",
			d->name, (unsigned long long)d->size, DLOG_REGION_MIN);
	e = super_at(d, 0, &d->sb);
	if (e == DLOG_SUPER_MAGIC || e == DLOG_SUPER_CHECK) {
		d->backup = super_backup(d);
		if (d->backup)
			e = DLOG_SUPER_OK;
	}
	switch (e) {
	case DLOG_SUPER_OK:
		break;
	case DLOG_SUPER_MAGIC:
		return dlog_fail(err, -EBADMSG,
				 "%s is not a dlog region: it has no "
				 "superblock at its start nor at its end; "
				 "check the path, or format a new file with "
				 "dlog-create.",
				 d->name);
	case DLOG_SUPER_CHECK:
		return dlog_fail(err, -EBADMSG,
				 "%s: both copies of the superblock are "
				 "damaged; without one nothing in the file "
				 "can be told apart; restore a copy of it.",
				 d->name);
	case DLOG_SUPER_INCOMPAT:
		return dlog_fail(err, -EPROTO,
				 "%s has a newer format (incompatible feature "
				 "bits 0x%x): use a newer dlog to read it.",
				 d->name, d->sb.incompat);
	case DLOG_SUPER_SIZE:
		return dlog_fail(err, -ERANGE,
				 "%s has %llu bytes, its superblock says %llu: "
				 "the file was cut short; restore the whole "
				 "file.",
				 d->name, (unsigned long long)d->size,
				 (unsigned long long)d->sb.region_size);
	case DLOG_SUPER_GEOMETRY:
		return dlog_fail(err, -EINVAL,
				 "%s: the superblock contradicts itself; the "
				 "file was not written by dlog-create.",
				 d->name);
	}
	if (d->writable && d->sb.ro_compat & ~DLOG_RO_COMPAT_KNOWN)
		return dlog_fail(err, -EPROTO,
				 "%s has a newer format (feature bits 0x%x) "
				 "that this program may only read: open it "
				 "without writing.",
				 d->name, d->sb.ro_compat);
	return 0;
}

static struct dlog *source_new(const char *name)
{
	struct dlog *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->fd = -1;
	d->ops = &dlog_region_ops;
	d->name = strdup(name);
	if (!d->name) {
		dlog_close(d);
		return NULL;
	}
	return d;
}

static int source_begin(struct dlog *d, struct dlog_error *err)
{
	int ret = source_super(d, err);

	if (ret)
		return ret;
	d->nr_subbufs = (uint32_t)(d->sb.ring_size / d->sb.subbuf_size);
	ret = dlog_table_load(d);
	if (ret)
		dlog_fail(err, ret, "Cannot read the boot table of %s: %s.",
			  d->name, strerror(-ret));
	return ret;
}

static int source_file(struct dlog *d, unsigned int flags,
		       struct dlog_error *err)
{
	int mode = flags & DLOG_OPEN_WRITE ? O_RDWR : O_RDONLY;
	struct stat st;
	off_t end;
	int ret;

	/* Not to wait for the other end of a pipe. */
	d->fd = open(d->name, mode | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (d->fd < 0 || fstat(d->fd, &st)) {
		ret = -errno;
		if (ret == -EISDIR)
			goto is_dir;
		return dlog_fail(err, ret, "Cannot open %s: %s.", d->name,
				 strerror(-ret));
	}
	if (S_ISDIR(st.st_mode))
		goto is_dir;
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return dlog_fail(err, -EINVAL,
				 "%s is neither a file nor a block device: "
				 "name a region file.",
				 d->name);
	end = lseek(d->fd, 0, SEEK_END);
	if (end < 0) {
		ret = -errno;
		return dlog_fail(err, ret, "Cannot find the size of %s: %s.",
				 d->name, strerror(-ret));
	}
	d->size = (uint64_t)end;
	d->writable = flags & DLOG_OPEN_WRITE;
	return 0;

is_dir:
	return dlog_fail(err, -EISDIR,
			 "%s is a directory: name the region file in it.",
			 d->name);
}

int dlog_open(struct dlog **out, const char *path, unsigned int flags,
	      struct dlog_error *err)
{
	struct dlog *d = source_new(path);
	int ret;

	*out = NULL;
	if (!d)
		return dlog_fail(err, -ENOMEM, "No memory to open %s.", path);
	ret = source_file(d, flags, err);
	if (!ret)
		ret = source_begin(d, err);
	if (ret)
		dlog_close(d);
	else
		*out = d;
	return ret;
}

int dlog_open_memory(struct dlog **out, const void *mem, size_t size,
		     const char *name, struct dlog_error *err)
{
	struct dlog *d = source_new(name);
	int ret;

	*out = NULL;
	if (!d)
		return dlog_fail(err, -ENOMEM, "No memory to open %s.", name);
	d->mem = mem;
	d->size = size;
	ret = source_begin(d, err);
	if (ret)
		dlog_close(d);
	else
		*out = d;
	return ret;
}

void dlog_close(struct dlog *d)
{
	if (!d)
		return;
	if (d->release)
		d->release(d->private);
	dlog_table_free(d);
	dlog_catalog_free(d);
	if (d->fd >= 0)
		close(d->fd);
	free(d->name);
	free(d);
}

void dlog_set_private(struct dlog *d, void *data, void (*release)(void *data))
{
	d->private = data;
	d->release = release;
}

void *dlog_get_private(struct dlog *d)
{
	return d->private;
}

void dlog_get_info(struct dlog *d, struct dlog_info *info)
{
	memset(info, 0, sizeof(*info));
	info->path = d->name;
	memcpy(info->uuid, d->sb.uuid, sizeof(info->uuid));
	memcpy(info->label, d->sb.label, sizeof(d->sb.label));
	info->created = d->sb.created;
	info->region_size = d->sb.region_size;
	info->file_size = d->size;
	info->ring_size = d->sb.ring_size;
	info->catalog_size = d->sb.catalog_size;
	info->nr_rings = d->sb.nr_rings;
	info->subbuf_size = d->sb.subbuf_size;
	info->nr_cpus = d->sb.nr_cpus;
	info->boot_slots = d->sb.boot_slots;
	info->compat = d->sb.compat;
	info->ro_compat = d->sb.ro_compat;
	info->incompat = d->sb.incompat;
	info->backup = d->backup;
}

int dlog_get_boots(struct dlog *d, struct dlog_boot_entry **out)
{
	return d->ops->boots(d, out);
}

int dlog_get_loss(struct dlog *d, struct dlog_loss **out)
{
	return d->ops->loss(d, out);
}
