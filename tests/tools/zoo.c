// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * zoo.c - for test guests: tasks in every state that can be held, each with a
 * known name.  With "spin" one of them never sleeps.  Prints "ready" when all of
 * them are there.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

static void name(const char *text)
{
	prctl(PR_SET_NAME, text);
}

static void *thread(void *arg)
{
	static const char *const names[] = { "thread one", "thread) R 2",
					     "thread\tthree" };

	name(names[(size_t)arg]);
	for (;;)
		pause();
	return NULL;
}

static void threads(void)
{
	pthread_t id;

	name("many threads");
	for (size_t i = 0; i < 3; i++)
		if (pthread_create(&id, NULL, thread, (void *)i))
			abort();
	for (;;)
		pause();
}

/* The child keeps its parent in an uninterruptible wait. */
static void waiting(void)
{
	name("waits (in D)");
	if (!vfork()) {
		name("its child");
		for (;;)
			pause();
	}
}

static void zombie(void)
{
	name("parent of dead");
	if (!fork()) {
		name("dead one");
		_exit(0);
	}
	for (;;)
		pause();
}

static void stopped(void)
{
	name("stopped");
	raise(SIGSTOP);
}

static void reader(void)
{
	int fd[2];
	char c;

	name("fifteen letters");
	if (pipe(fd) || read(fd[0], &c, 1) < 0)
		abort();
}

/* Sleeps in a function of a module, if the test has loaded that. */
static void in_module(void)
{
	int fd = open("/dev/uhid", O_RDWR);
	char buf[5000];

	name("in a module");
	if (fd >= 0 && read(fd, buf, sizeof(buf)) < 0)
		abort();
	for (;;)
		pause();
}

static void spin(void)
{
	name("spins");
	for (;;)
		;
}

int main(int argc, char **argv)
{
	static void (*const all[])(void) = { threads, waiting, zombie,
					     stopped, reader,  in_module };

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		if (!fork())
			all[i]();
	if (argc > 1 && *argv[1] == 's' && !fork())
		spin();
	sleep(1);
	puts("ready");
	return 0;
}
