// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * tracefs.c - the kernel's dynamic events, where probes live
 * (Documentation/trace/kprobetrace.rst, uprobetracer.rst).
 *
 * Where nobody has mounted tracefs, a mount that is attached nowhere serves:
 * it ends with its file descriptor, and nobody else ever sees it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "ctl.h"

#define TRACEFS_MAGIC 0x74726163

static int tracefs_mounted(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct statfs fs;

	if (fd >= 0 && !fstatfs(fd, &fs) && fs.f_type == TRACEFS_MAGIC)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

int tracefs_open(struct dlog_error *err)
{
	int fs, mount = -1, dir = tracefs_mounted("/sys/kernel/tracing"), error;

	if (dir >= 0)
		return dir;
	fs = fsopen("tracefs", FSOPEN_CLOEXEC);
	if (fs >= 0 && !fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		mount = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	/* What fsmount() gives can be walked, not locked. */
	if (mount >= 0)
		dir = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	error = errno;
	if (mount >= 0)
		close(mount);
	if (fs >= 0)
		close(fs);
	if (dir >= 0)
		return dir;
	if (error == ENODEV)
		return fail(err, -error,
			    "this kernel has no tracefs (CONFIG_TRACING): it "
			    "cannot place probes");
	if (error == EPERM || error == EACCES)
		return device_failed("tracefs", error, err);
	return fail(err, -error,
		    "cannot open tracefs: %s; mount it: mount -t tracefs "
		    "tracefs /sys/kernel/tracing",
		    strerror(error));
}

int tracefs_lock(struct dlog_error *err)
{
	int dir = tracefs_open(err), error;

	if (dir < 0)
		return dir;
	/* All mounts of tracefs have the same root. */
	while (flock(dir, LOCK_EX)) {
		error = errno;
		if (error == EINTR)
			continue;
		close(dir);
		return fail(err, -error, "cannot lock tracefs: %s",
			    strerror(error));
	}
	return dir;
}

bool tracefs_has_event(int dir, const char *name)
{
	char path[32 + PROBE_NAME];

	snprintf(path, sizeof(path), "events/dlog/%s", name);
	return !faccessat(dir, path, F_OK, 0);
}

/*
 * The kernel's own words on @line, out of error_log, whose last entry is
 *	[  12.345678] trace_kprobe: error: Failed to find symbol
 *	  Command: p:dlog/x nosuch
 *	                    ^
 * False when it has none.
 */
static bool tracefs_words(int dir, const char *line, const char *name,
			  struct dlog_error *err)
{
	static const char error[] = ": error: ", command[] = "  Command: ";
	char *log, *at, *last = NULL, *caret, *words;
	size_t place = 0;
	bool found = false;

	if (read_file(dir, "error_log", &log))
		return false;
	for (at = log; (at = strstr(at, error)); at++)
		last = at;
	words = last ? last + strlen(error) : NULL;
	at = words ? strstr(words, command) : NULL;
	if (at && !strncmp(at + strlen(command), line, strlen(line)) &&
	    at[strlen(command) + strlen(line)] == '\n') {
		words[strcspn(words, "\n")] = '\0';
		caret = at + strlen(command) + strlen(line) + 1;
		caret += strspn(caret, " ");
		place = (size_t)(caret - at) - 2 * strlen(command) -
			strlen(line) - 1;
		if (*caret != '^' || place >= strlen(line))
			place = 0;
		fail(err, -EINVAL, "probe %s: %s, at '%.*s' of '%s'", name,
		     words, (int)strcspn(line + place, " "), line + place,
		     line);
		found = true;
	}
	free(log);
	return found;
}

static int tracefs_write(int dir, const char *line)
{
	/* Not O_TRUNC: that would take away everybody's probes. */
	int fd = openat(dir, "dynamic_events", O_WRONLY | O_APPEND | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, line, strlen(line)) < 0)
		ret = -errno;
	if (close(fd) && !ret)
		ret = -errno;
	return ret;
}

int tracefs_place(int dir, const struct spec *s, struct dlog_error *err)
{
	int ret = tracefs_write(dir, s->line);

	if (!ret)
		return 0;
	if (ret == -EPERM || ret == -EACCES)
		return device_failed("tracefs", -ret, err);
	if (ret == -ENOENT && faccessat(dir, "dynamic_events", F_OK, 0))
		return fail(err, ret,
			    "this kernel has no dynamic events "
			    "(CONFIG_KPROBE_EVENTS, CONFIG_UPROBE_EVENTS)");
	if (!tracefs_words(dir, s->line, s->name, err))
		fail(err, ret, "probe %s: the kernel refuses '%s': %s", s->name,
		     s->line, strerror(-ret));
	return ret;
}

int tracefs_remove(int dir, const char *name, struct dlog_error *err)
{
	char line[16 + PROBE_NAME];
	int ret;

	if (!tracefs_has_event(dir, name))
		return fail(err, -ENOENT, "there is no probe '%s'", name);
	snprintf(line, sizeof(line), "-:dlog/%s", name);
	ret = tracefs_write(dir, line);
	if (ret == -EBUSY)
		return fail(err, ret,
			    "probe %s is in use by somebody else: perf, or "
			    "its 'enable' in tracefs",
			    name);
	if (ret)
		return fail(err, ret, "probe %s cannot be removed: %s", name,
			    strerror(-ret));
	return 0;
}

int tracefs_list(struct sink *out, const struct options *o, const char *glob,
		 struct dlog_error *err)
{
	struct sink rows = { .fd = -1 };
	int dir = tracefs_open(err), ret;
	char *events = NULL;

	if (dir < 0)
		return dir;
	ret = read_file(dir, "available_events", &events);
	close(dir);
	sink_puts(&rows, "name\n");
	sink_puts(&rows, events ? events : "");
	sink_putc(&rows, '\0');
	ret = ret ?: rows.error;
	ret = ret ?: table_show(out, rows.buf, o, "name", glob);
	free(events);
	sink_free(&rows);
	return ret ? fail(err, ret, "cannot list the kernel's events: %s",
			  strerror(-ret))
		   : 0;
}
