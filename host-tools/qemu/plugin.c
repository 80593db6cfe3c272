// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * plugin.c - the TCG plugin that records from outside (--plugin): where it
 * is, what it is told, and the region that it writes.
 *
 * Its arguments are its own business (dlog-plugin(7)); only blocks= is looked
 * at, because the blocks of each vCPU want a ring of their own.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qemu.h"
#include "region.h"

#define PLUGIN "libdlog-plugin.so"
#define REGION_SIZE (16 * MIB)
/* A boot of Debian names 400 KiB of functions; the next kernel others. */
#define CATALOG_SIZE (4 * MIB)
/* Rings below this are forgotten at once. */
#define RING_WANTED (1 * MIB)

/* Beside this program: PREFIX/bin and PREFIX/lib, or a build's. */
static char *find_plugin(void)
{
	static const char *const places[] = { "lib/dlog", "lib" };
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n <= 0)
		return NULL;
	self[n] = 0;
	for (int i = 0; i < 2; i++) {
		char *slash = strrchr(self, '/');

		if (!slash)
			return NULL;
		*slash = 0;
	}
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		char *path;

		if (asprintf(&path, "%s/%s/%s", self, places[i], PLUGIN) < 0)
			return NULL;
		if (!access(path, R_OK))
			return path;
		free(path);
	}
	return NULL;
}

static char *own_region(const char *path)
{
	char *out;

	return asprintf(&out, "%s.plugin", path) < 0 ? NULL : out;
}

/* The last value that the user gives @name, "" for none; freed by the caller. */
static char *argument(const char *args, const char *name)
{
	struct props p = { 0 };
	const char *value = NULL;
	char *out;

	if (!props_parse(&p, args, NULL))
		value = props_get(&p, name);
	out = strdup(value ? value : "");
	props_free(&p);
	return out;
}

static int check_arguments(const struct wishes *w, const char *args,
			   struct dlog_error *err)
{
	char *region = argument(args, "region");
	char *watch = argument(args, "watch");
	int ret = 0;

	if (!region || !watch)
		ret = fail(err, -ENOMEM, "out of memory");
	else if (*region || *watch)
		ret = fail(
			err, -EINVAL,
			"--plugin=%s: dlog-qemu itself says region=%s.plugin and watch=%s; for other files use QEMU's -plugin",
			args, w->path, w->path);
	free(region);
	free(watch);
	return ret;
}

static bool is_tcg(const struct command *c)
{
	const char *program = strrchr(c->argv[0], '/');

	program = program ? program + 1 : c->argv[0];
	if (c->accel)
		return !strncmp(c->accel, "tcg", 3);
	/* QEMU's default by its name. */
	return !strstr(program, "kvm");
}

int plugin_plan(char **value, const struct command *c, const struct wishes *w,
		const char *args, struct dlog_error *err)
{
	char *so, *region, *path, *watch = NULL;
	int ret;

	if (!is_tcg(c))
		return fail(
			err, -EINVAL,
			"--plugin sees what TCG executes, and this guest runs by another accelerator; say -accel tcg, or leave --plugin out");
	ret = check_arguments(w, args, err);
	if (ret)
		return ret;
	so = find_plugin();
	if (!so)
		return fail(
			err, -ENOENT,
			"%s is not installed beside this program (in ../lib/dlog or ../lib); make install puts it there",
			PLUGIN);
	path = own_region(w->path);
	region = path ? double_commas(path) : NULL;
	free(path);
	path = double_commas(so);
	free(so);
	/* What a stock kernel writes is no region that could be watched. */
	watch = double_commas(w->stock ? "" : w->path);
	if (!region || !path || !watch ||
	    asprintf(value, "%s,region=%s%s%s%s%s", path, region,
		     *watch ? ",watch=" : "", watch, *args ? "," : "",
		     args) < 0) {
		*value = NULL;
		ret = fail(err, -ENOMEM, "out of memory");
	}
	free(region);
	free(path);
	free(watch);
	return ret;
}

int plugin_prepare(const char *path, const struct command *c, const char *args,
		   struct dlog_error *err)
{
	struct dlog_create_args create = {
		.size = REGION_SIZE,
		.catalog = CATALOG_SIZE,
		.cpus = c->maxcpus > 64 ? c->maxcpus : 0,
	};
	char *own = own_region(path), *blocks = argument(args, "blocks");
	struct region r = { 0 };
	int ret;

	if (!own || !blocks) {
		ret = fail(err, -ENOMEM, "out of memory");
		goto out;
	}
	create.rings = c->maxcpus * (means_on(blocks) ? 2 : 1) + 1;
	while (create.size < CATALOG_SIZE + create.rings * RING_WANTED)
		create.size *= 2;
	ret = region_find(&r, own, err);
	if (!ret && !r.exists) {
		ret = dlog_create(r.path, &create, err);
		if (!ret)
			fprintf(stderr,
				"dlog-qemu: created %s: %s, rings: %u\n",
				r.path, size_text(create.size).s, create.rings);
	}
	free(r.path);
out:
	free(own);
	free(blocks);
	return ret;
}
