// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * child.c - run a program that reads hostile input, or that somebody else
 * wrote: a session, limits and a time of its own, and nothing of ours open.
 *
 * Relies on pidfds (Linux 5.3) and close_range() (5.9).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "incident.h"

#define NOT_RUN 127 /* the shell's status for it */
#define TICK_MS 50 /* how often a stop is looked for */

static void child_limit(int resource, uint64_t value)
{
	struct rlimit limit = { .rlim_cur = value, .rlim_max = value };

	if (value && setrlimit((__rlimit_resource_t)resource, &limit))
		_exit(NOT_RUN);
}

/* Descriptors 0 to 2 as asked; those given lie above after this. */
static void child_descriptors(const struct child_args *a)
{
	int fd[3] = { a->in, a->out, a->err };

	for (int i = 0; i < 3; i++) {
		fd[i] = fd[i] < 0 ? open("/dev/null", O_RDWR) : fd[i];
		fd[i] = fcntl(fd[i], F_DUPFD, 3);
		if (fd[i] < 0)
			_exit(NOT_RUN);
	}
	for (int i = 0; i < 3; i++)
		if (dup2(fd[i], i) < 0)
			_exit(NOT_RUN);
	if (close_range(3, ~0u, 0))
		_exit(NOT_RUN);
}

/* After fork() in a process with threads: async-signal-safe calls alone. */
static _Noreturn void child_run(const struct child_args *a, pid_t parent)
{
	struct sigaction plain = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		sigaction(sig, &plain, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	/* dlogd may have died before it is asked for its death. */
	if (a->distrusted &&
	    (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	     prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent))
		_exit(NOT_RUN);
	if (a->powerless &&
	    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
		_exit(NOT_RUN);
	if ((a->dir >= 0 ? fchdir(a->dir) : chdir("/")))
		_exit(NOT_RUN);
	child_descriptors(a);
	child_limit(RLIMIT_CORE, 1); /* none, also where a pipe takes them */
	child_limit(RLIMIT_AS, a->memory);
	child_limit(RLIMIT_FSIZE, a->file_size);
	child_limit(RLIMIT_CPU, a->cpu_seconds);
	execvpe(a->argv[0], (char *const *)(uintptr_t)a->argv,
		(char *const *)(uintptr_t)a->envp);
	_exit(NOT_RUN);
}

int child_start(struct child *c, const struct child_args *args)
{
	pid_t parent = getpid();
	int ret;

	c->pid = fork();
	if (!c->pid)
		child_run(args, parent);
	if (c->pid < 0) {
		ret = -errno;
		c->pid = 0;
		return ret;
	}
	c->pidfd = pidfd_open(c->pid, 0);
	if (c->pidfd >= 0)
		return 0;
	ret = -errno;
	kill(c->pid, SIGKILL);
	waitpid(c->pid, NULL, 0);
	c->pid = 0;
	return ret;
}

/* What is in @pipe to @fd, up to @max bytes; false: nothing more comes. */
static bool child_output(int pipe, int fd, uint64_t *max)
{
	char buf[4096];
	ssize_t n = read(pipe, buf, sizeof(buf));

	if (n < 0 && errno == EINTR)
		return true;
	if (n <= 0)
		return false;
	if ((uint64_t)n > *max)
		n = (ssize_t)*max;
	if (n && write(fd, buf, (size_t)n) != n)
		*max = 0;
	else
		*max -= (uint64_t)n;
	return true;
}

/* 0 when it has ended, -ETIMEDOUT, -ECANCELED. */
static int child_poll(struct child *c, uint64_t deadline,
		      const atomic_bool *stop, int pipe, int fd, uint64_t max)
{
	struct pollfd p[2] = {
		{ .fd = c->pidfd, .events = POLLIN },
		{ .fd = pipe, .events = POLLIN },
	};

	for (;;) {
		if (atomic_load(stop))
			return -ECANCELED;
		if (clock_ns(CLOCK_MONOTONIC) >= deadline)
			return -ETIMEDOUT;
		if (poll(p, 2, TICK_MS) < 0)
			continue;
		if (p[1].revents && !child_output(pipe, fd, &max))
			p[1].fd = -1;
		else if (p[0].revents && !p[1].revents)
			return 0;
	}
}

int child_wait(struct child *c, uint64_t deadline, const atomic_bool *stop,
	       int pipe, int fd, uint64_t max)
{
	int status = 0, ret;

	ret = child_poll(c, deadline, stop, pipe, fd, max);
	/* What it has left behind in its group goes too, however it ended. */
	kill(-c->pid, SIGKILL);
	kill(c->pid, SIGKILL);
	while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
		;
	close(c->pidfd);
	c->pid = 0;
	return ret ? ret : status;
}
