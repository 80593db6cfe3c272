// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * timed.c - run a program with its output thrown away and say, as JSON, what
 * it took: exit status, seconds of wall clock and of CPU, peak memory in KiB.
 *
 *	timed PROGRAM [ARG]...
 *
 * Small, because a process begins with the peak memory of whoever started it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static _Noreturn void child(char **argv)
{
	int null = open("/dev/null", O_RDWR);

	if (null >= 0) {
		dup2(null, 0);
		dup2(null, 1);
		execvp(argv[0], argv);
	}
	fprintf(stderr, "timed: %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

int main(int argc, char **argv)
{
	struct rusage use;
	double start;
	pid_t pid;
	int status;

	if (argc < 2) {
		fprintf(stderr, "usage: timed PROGRAM [ARG]...\n");
		return 2;
	}
	start = now();
	pid = fork();
	if (!pid)
		child(argv + 1);
	if (pid < 0 || wait4(pid, &status, 0, &use) < 0) {
		fprintf(stderr, "timed: %s\n", strerror(errno));
		return 1;
	}
	printf("{\"status\": %d, \"wall\": %.6f, \"cpu\": %.6f, \"rss\": %ld}\n",
	       WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status),
	       now() - start, seconds(use.ru_utime) + seconds(use.ru_stime),
	       use.ru_maxrss);
	return 0;
}
