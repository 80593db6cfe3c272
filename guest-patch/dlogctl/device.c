// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * device.c - what dlogctl asks of the driver.  Relies on <linux/dlog.h> of
 * the driver's uapi and on /sys/class/misc/dlog.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ctl.h"
#include "linux/dlog.h"

#define DEVICE "/dev/dlog"
#define SYSFS "/sys/class/misc/dlog/"

int device_failed(const char *what, int error, struct dlog_error *err)
{
	switch (error) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return fail(err, -error,
			    "%s is not there: load the driver, modprobe dlog",
			    what);
	case EPERM:
	case EACCES:
		return fail(err, -error,
			    "%s: not permitted: run dlogctl as root, it needs "
			    "CAP_SYSLOG (for probes CAP_SYS_ADMIN)",
			    what);
	case ENOTTY:
		return fail(err, -error,
			    "%s does not know this request: the driver is "
			    "older than dlogctl %s",
			    what, DLOG_VERSION);
	default:
		return fail(err, -error, "%s: %s", what, strerror(error));
	}
}

static int device_open(int flags, struct dlog_error *err)
{
	int fd = open(DEVICE, flags | O_CLOEXEC);

	return fd < 0 ? device_failed(DEVICE, errno, err) : fd;
}

int device_check(struct dlog_error *err)
{
	int fd = device_open(O_WRONLY, err);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

int device_run(const char *text, struct dlog_error *err)
{
	char words[sizeof(err->text) - 1] = "";
	struct dlog_ioc_run run = {
		.text = (uintptr_t)text,
		.error = (uintptr_t)words,
		.len = (uint32_t)strlen(text),
		.error_size = sizeof(words),
	};
	int fd = device_open(O_WRONLY, err), error;

	if (fd < 0)
		return fd;
	error = ioctl(fd, DLOG_IOC_RUN, &run) < 0 ? errno : 0;
	close(fd);
	if (!error)
		return 0;
	words[sizeof(words) - 1] = '\0';
	if (*words)
		return fail(err, -error, "%s", words);
	return device_failed(DEVICE, error, err);
}

int device_show(uint32_t what, char **text, struct dlog_error *err)
{
	struct dlog_ioc_show show = { .what = what, .size = 16384 };
	int fd = device_open(O_RDONLY, err), len;

	*text = NULL;
	if (fd < 0)
		return fd;
	/* What is told may have grown since its length was said. */
	for (;;) {
		free(*text);
		*text = malloc((size_t)show.size + 1);
		if (!*text) {
			len = fail(err, -ENOMEM, "no memory for a list");
			break;
		}
		show.text = (uintptr_t)*text;
		len = ioctl(fd, DLOG_IOC_SHOW, &show);
		if (len < 0) {
			len = device_failed(DEVICE, errno, err);
			break;
		}
		if ((uint32_t)len <= show.size) {
			(*text)[len] = '\0';
			break;
		}
		show.size = (uint32_t)len + 4096;
	}
	close(fd);
	if (len < 0) {
		free(*text);
		*text = NULL;
		return len;
	}
	return 0;
}

int device_attribute(const char *name, char *value, size_t size)
{
	char path[128];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), SYSFS "%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, value, size - 1);
	close(fd);
	if (n < 0)
		return -EIO;
	value[n] = '\0';
	value[strcspn(value, "\n")] = '\0';
	return 0;
}

int read_file(int dir, const char *name, char **text)
{
	size_t size = 0, len = 0;
	char *more;
	ssize_t n;
	int fd;

	*text = NULL;
	fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	do {
		if (size - len < 4096) {
			size = size ? 2 * size : 16384;
			more = realloc(*text, size);
			if (!more) {
				n = -ENOMEM;
				break;
			}
			*text = more;
		}
		n = read(fd, *text + len, size - len - 1);
		if (n < 0)
			n = -errno;
		else
			len += (size_t)n;
	} while (n > 0);
	close(fd);
	if (n < 0) {
		free(*text);
		*text = NULL;
		return (int)n;
	}
	(*text)[len] = '\0';
	return 0;
}
