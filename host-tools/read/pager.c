// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pager.c - output through a pager, as journalctl and git do it.
 * Relies on libc alone.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "read.h"

/* Guest text holds no escape sequences of its own here, so less -R is safe. */
#define PAGER_DEFAULT "less"
#define PAGER_LESS "FRSX"

static const char *pager_command(void)
{
	const char *cmd = getenv("DLOG_PAGER");

	if (!cmd)
		cmd = getenv("PAGER");
	if (!cmd)
		cmd = PAGER_DEFAULT;
	return *cmd && strcmp(cmd, "cat") ? cmd : NULL;
}

int pager_start(struct sink *s)
{
	const char *cmd = pager_command();
	int fds[2], pid;

	if (!cmd || pipe(fds))
		return 0;
	pid = fork();
	if (pid < 0) {
		close(fds[0]);
		close(fds[1]);
		return 0;
	}
	if (!pid) {
		dup2(fds[0], STDIN_FILENO);
		close(fds[0]);
		close(fds[1]);
		setenv("LESS", PAGER_LESS, 0);
		execl("/bin/sh", "sh", "-c", cmd, (char *)NULL);
		_exit(127);
	}
	close(fds[0]);
	s->fd = fds[1];
	/* The terminal is the pager's until it ends. */
	signal(SIGINT, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	return pid;
}

void pager_wait(struct sink *s, int pid)
{
	int status;

	close(s->fd);
	s->fd = STDOUT_FILENO;
	while (waitpid(pid, &status, 0) < 0)
		;
}
