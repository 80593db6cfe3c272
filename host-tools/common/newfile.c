// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * newfile.c - see newfile.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dlog_abi.h"
#include "newfile.h"

int newfile_take_free(const char *temp, const char *path)
{
	if (!renameat2(AT_FDCWD, temp, AT_FDCWD, path, RENAME_NOREPLACE))
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	/* File systems that cannot: a link never replaces either. */
	if (link(temp, path))
		return -errno;
	unlink(temp); /* @path is whole, whatever becomes of this name */
	return 0;
}

int newfile_is_region(const char *path)
{
	uint8_t magic[sizeof(DLOG_MAGIC) - 1] = { 0 };
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, magic, sizeof(magic));
	close(fd);
	return n == sizeof(magic) && !memcmp(magic, DLOG_MAGIC, sizeof(magic));
}

/* ---- signals ---- */

static const int ending[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE };

#define NR_ENDING (sizeof(ending) / sizeof(*ending))

static volatile sig_atomic_t caught;

static void on_signal(int number)
{
	caught = number;
}

void newfile_catch_signals(void)
{
	struct sigaction act = { .sa_handler = on_signal }, old;

	for (size_t i = 0; i < NR_ENDING; i++)
		if (!sigaction(ending[i], NULL, &old) &&
		    old.sa_handler != SIG_IGN)
			sigaction(ending[i], &act, NULL);
	/* What is too large fails as what has no room does. */
	signal(SIGXFSZ, SIG_IGN);
}

int newfile_signal(void)
{
	return caught;
}

void newfile_release_signals(void)
{
	struct sigaction old;

	for (size_t i = 0; i < NR_ENDING; i++)
		if (!sigaction(ending[i], NULL, &old) &&
		    old.sa_handler == on_signal)
			signal(ending[i], SIG_DFL);
	if (caught)
		raise(caught);
}
