// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * region.c - the file of a domain's region.
 *
 * libvirt gives the file of an nvdimm to QEMU's user when the domain starts
 * and takes it back when it stops (dynamic ownership); nobody does that for
 * what <qemu:commandline> names, so main.c does once.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "virt.h"

#define RING_MIN (UINT64_C(128) << 10)

char *region_default(const char *guest)
{
	char *path;

	return asprintf(&path, REGIONS "/%s.img", guest) < 0 ? NULL : path;
}

int region_check(struct attachment *a, bool *exists, struct dlog_error *err)
{
	struct dlog_info info;
	struct dlog *d;
	struct stat st;
	int ret;

	*exists = !lstat(a->path, &st);
	if (!*exists)
		return errno == ENOENT ? 0
				       : fail(err, -errno, "%s: %s", a->path,
					      strerror(errno));
	if (!S_ISREG(st.st_mode))
		return fail(
			err, -EINVAL,
			"%s: this is not a regular file; name another with --file",
			a->path);
	ret = dlog_open(&d, a->path, 0, err);
	if (ret)
		return ret;
	dlog_get_info(d, &info);
	dlog_close(d);
	if (info.file_size != info.region_size)
		return fail(
			err, -EINVAL,
			"%s: the file has %llu bytes, its region %llu; restore that size: truncate -s %llu",
			a->path, (unsigned long long)info.file_size,
			(unsigned long long)info.region_size,
			(unsigned long long)info.region_size);
	if (a->size && a->size != info.region_size)
		return fail(
			err, -EEXIST,
			"%s: exists with %llu bytes, not %llu; leave --size out, or name another file",
			a->path, (unsigned long long)info.region_size,
			(unsigned long long)a->size);
	a->size = info.region_size;
	return 0;
}

/* The default place, where QEMU's user has to get through. */
static int make_folders(const char *path, struct dlog_error *err)
{
	static const char *const folders[] = { "/var/lib/dlog", REGIONS };

	if (strncmp(path, REGIONS "/", sizeof(REGIONS)))
		return 0;
	for (size_t i = 0; i < 2; i++)
		if (mkdir(folders[i], 0711) && errno != EEXIST)
			return fail(err, -errno, "%s: %s", folders[i],
				    strerror(errno));
	return 0;
}

int region_create(const struct attachment *a, uint32_t cpus, const char *label,
		  struct dlog_error *err)
{
	struct dlog_create_args args = { .size = a->size, .rings = a->rings };
	int ret = make_folders(a->path, err);

	if (ret)
		return ret;
	if (!args.rings) {
		/* One for each CPU, but none so small that it forgets. */
		args.rings = cpus < a->size / RING_MIN
				     ? cpus
				     : (uint32_t)(a->size / RING_MIN);
		if (!args.rings)
			args.rings = 1;
		if (args.rings > 1024)
			args.rings = 1024;
	}
	snprintf(args.label, sizeof(args.label), "%.64s", label);
	return dlog_create(a->path, &args, err);
}

int region_reachable(const char *path, uid_t uid, gid_t gid,
		     struct dlog_error *err)
{
	char *folder = strdup(path);
	struct stat st;
	int ret = 0;

	for (char *p = folder; p && (p = strchr(p + 1, '/')) && !ret;) {
		*p = '\0';
		if (stat(folder, &st))
			ret = fail(err, -errno, "%s: %s", folder,
				   strerror(errno));
		else if (uid && !(st.st_mode & (st.st_uid == uid   ? S_IXUSR
						: st.st_gid == gid ? S_IXGRP
								   : S_IXOTH)))
			ret = fail(
				err, -EACCES,
				"%s: QEMU runs as user %u, who may not enter %s; name a file elsewhere, or: chmod o+x %s",
				path, uid, folder, folder);
		*p = '/';
	}
	free(folder);
	return ret;
}
