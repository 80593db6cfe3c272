// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * target.c - what -w names: a file or a directory that appears whole or not
 * at all.
 *
 * All is written under a name of its own beside it, PATH.part-XXXXXX, that
 * then becomes PATH.  A signal that ends us waits until it is removed; what is
 * left of a run that was killed by SIGKILL keeps that name.
 * Nothing that is there is replaced without --force, and a directory then
 * only if it holds nothing but what the same output makes.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "newfile.h"
#include "read.h"

#define LEVELS 3 /* of directories, see output->files */

/* What to do with a directory's entries; 0 or a negative errno. */
typedef int each_fn(const struct output *out, int dir, const char *name,
		    bool is_dir, int levels);

static int for_each(const struct output *out, int dir, const char *name,
		    int levels, each_fn *each)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;
	struct stat st;
	int ret = 0;

	if (!d) {
		ret = -errno;
		if (fd >= 0)
			close(fd);
		return ret;
	}
	while (!ret && (de = readdir(d))) {
		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		if (fstatat(fd, de->d_name, &st, AT_SYMLINK_NOFOLLOW))
			ret = -errno;
		else
			ret = each(out, fd, de->d_name, S_ISDIR(st.st_mode),
				   levels - 1);
	}
	closedir(d);
	return ret;
}

static bool makes(const struct output *out, const char *name)
{
	const char *const *f = out->files;

	while (f && *f && fnmatch(*f, name, FNM_PERIOD))
		f++;
	return f && *f;
}

/* -ENOTEMPTY for a name that @out does not make. */
static int check_one(const struct output *out, int dir, const char *name,
		     bool is_dir, int levels)
{
	if (!makes(out, name) || (is_dir && !levels))
		return -ENOTEMPTY;
	return is_dir ? for_each(out, dir, name, levels, check_one) : 0;
}

/* Names that came since they were checked stay, and their directories. */
static int remove_one(const struct output *out, int dir, const char *name,
		      bool is_dir, int levels)
{
	int ret = 0;

	if (levels < LEVELS && !makes(out, name))
		return -ENOTEMPTY;
	if (is_dir && levels)
		ret = for_each(out, dir, name, levels, remove_one);
	if (!ret && unlinkat(dir, name, is_dir ? AT_REMOVEDIR : 0))
		ret = -errno;
	return ret;
}

static int nothing_there(const struct output *out, int dir, const char *name,
			 bool is_dir, int levels)
{
	(void)out;
	(void)dir;
	(void)name;
	(void)is_dir;
	(void)levels;
	return -ENOTEMPTY;
}

static int say(const struct target *t, int ret, const char *why)
{
	fprintf(stderr, PROGRAM ": %s %s\n", t->path, why);
	return ret;
}

static int check_dir(const struct target *t)
{
	int ret = for_each(t->out, AT_FDCWD, t->path, LEVELS,
			   t->force ? check_one : nothing_there);

	if (ret == -ENOTEMPTY && t->force)
		return say(t, ret,
			   "holds other things than this output makes, and is "
			   "left alone: name another");
	if (ret == -ENOTEMPTY)
		return say(t, ret,
			   "is not empty and is left alone: name another, or "
			   "replace it with --force");
	return ret ? say(t, ret, "cannot be read") : 0;
}

static int check_file(const struct target *t)
{
	int ret;

	if (!t->force)
		return say(t, -EEXIST,
			   "exists and is left alone: name another, or replace "
			   "it with --force");
	ret = newfile_is_region(t->path);
	if (ret < 0)
		return say(t, ret, "cannot be looked at");
	return ret ? say(t, -EINVAL,
			 "is a region, which is never replaced: name another")
		   : 0;
}

/* May what is there, if anything, be replaced? */
static int check_there(const struct target *t)
{
	bool dir = t->out->target == OUTPUT_DIR;
	struct stat st;

	if (lstat(t->path, &st)) {
		if (errno == ENOENT)
			return 0;
		return say(t, -errno, "cannot be looked at");
	}
	if (S_ISLNK(st.st_mode))
		return say(t, -ELOOP,
			   "is a symbolic link, which is never followed: name "
			   "what it points to");
	if (dir && !S_ISDIR(st.st_mode))
		return say(t, -ENOTDIR,
			   "is no directory, which this output makes: name "
			   "another");
	if (!dir && !S_ISREG(st.st_mode))
		return say(t, -EINVAL, "is no file: name another");
	return dir ? check_dir(t) : check_file(t);
}

int target_open(struct target *t, const char *path, const struct output *out,
		bool force)
{
	size_t len = strlen(path);
	int ret;

	*t = (struct target){
		.path = path, .out = out, .force = force, .fd = -1
	};
	ret = len ? check_there(t) : say(t, -EINVAL, "is no name");
	if (ret)
		return ret;
	while (len > 1 && path[len - 1] == '/')
		len--;
	if (asprintf(&t->temp, "%.*s.part-XXXXXX", (int)len, path) < 0) {
		t->temp = NULL;
		return -ENOMEM;
	}
	newfile_catch_signals();
	if (out->target != OUTPUT_DIR)
		t->fd = mkostemp(t->temp, O_CLOEXEC);
	else if (mkdtemp(t->temp))
		t->fd = open(t->temp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t->fd >= 0)
		return 0;
	ret = -errno;
	fprintf(stderr, PROGRAM ": cannot create %s: %s\n", path,
		strerror(-ret));
	free(t->temp);
	t->temp = NULL;
	newfile_release_signals();
	return ret;
}

static int take_name(const struct target *t)
{
	if (t->out->target != OUTPUT_DIR && !t->force)
		return newfile_take_free(t->temp, t->path);
	/* It may have taken long: a region may have come there. */
	if (t->out->target != OUTPUT_DIR && check_there(t))
		return -EEXIST;
	/* An empty directory gives way to one that is renamed. */
	if (!rename(t->temp, t->path))
		return 0;
	if (errno != ENOTEMPTY && errno != EEXIST)
		return -errno;
	if (!t->force || check_there(t))
		return -ENOTEMPTY;
	if (renameat2(AT_FDCWD, t->temp, AT_FDCWD, t->path, RENAME_EXCHANGE))
		return -errno;
	return remove_one(t->out, AT_FDCWD, t->temp, true, LEVELS);
}

int target_close(struct target *t, bool ok)
{
	int ret = 0;

	if (!t->temp)
		return 0;
	if (close(t->fd))
		ret = -errno;
	ok = ok && !newfile_signal();
	if (ok && !ret)
		ret = take_name(t);
	if (ret)
		fprintf(stderr, PROGRAM ": cannot make %s: %s\n", t->path,
			strerror(-ret));
	if (!ok || ret)
		remove_one(t->out, AT_FDCWD, t->temp,
			   t->out->target == OUTPUT_DIR, LEVELS);
	free(t->temp);
	t->temp = NULL;
	newfile_release_signals();
	return ret;
}
