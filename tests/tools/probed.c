// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * probed.c - a program to place probes on, for tests in a guest.
 *
 *	probed call N		calls probed_hit() with 1 to N
 *	probed until FILE	the same until FILE exists
 *	probed open N		opens /probed.1 to /probed.N, which are not there
 *	probed nobody PROGRAM ARG...	runs a program without any capability
 *
 * Prints its process id, how often it called, and the sum of what
 * probed_hit() returned, or how many opens failed with ENOENT.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A call with its arguments in registers, whatever is known of them. */
#ifdef __clang__
#define PLAIN_CALL __attribute__((noinline, optnone))
#else
#define PLAIN_CALL __attribute__((noinline, noipa))
#endif

long probed_hit(long n, const char *text, unsigned int small);

PLAIN_CALL long probed_hit(long n, const char *text, unsigned int small)
{
	return 3 * n + (long)strlen(text) + small;
}

static long call(long n)
{
	char text[32];

	snprintf(text, sizeof(text), "call %ld", n);
	return probed_hit(n, text, (unsigned int)(n & 0xff));
}

static int probed_open(long n)
{
	char path[32];

	snprintf(path, sizeof(path), "/probed.%ld", n);
	return open(path, O_RDONLY | O_CLOEXEC) < 0 && errno == ENOENT;
}

int main(int argc, char **argv)
{
	long n = 0, sum = 0, last;

	if (argc > 2 && !strcmp(argv[1], "nobody"))
		return setuid(65534) || execvp(argv[2], argv + 2);
	if (argc != 3)
		return 2;
	last = atol(argv[2]);
	if (!strcmp(argv[1], "call")) {
		while (n < last)
			sum += call(++n);
	} else if (!strcmp(argv[1], "open")) {
		while (n < last)
			sum += probed_open(++n);
	} else {
		while (access(argv[2], F_OK)) {
			sum += call(++n);
			usleep(100);
		}
	}
	printf("%d %ld %ld\n", getpid(), n, sum);
	return 0;
}
