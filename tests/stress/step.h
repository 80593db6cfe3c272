/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * step.h - a child process that runs one instruction at a time.
 *
 * The child calls step_ready() and goes on only by step(); SIGKILL, or
 * leaving it where it is, stops it between any two instructions, on any
 * machine with ptrace(2).
 */
#ifndef TESTS_STRESS_STEP_H
#define TESTS_STRESS_STEP_H

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

/* Tracer and traced take turns: on one CPU that is many times faster. */
static inline void step_one_cpu(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(sched_getcpu(), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* In the child: wait for the tracer. */
static inline void step_ready(void)
{
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
		_exit(77);
	syscall(SYS_tgkill, getpid(), (pid_t)syscall(SYS_gettid), SIGSTOP);
}

/* In the parent, after fork(): 0, or -EPERM where ptrace is not allowed. */
static inline int step_begin(pid_t pid)
{
	int st;

	if (waitpid(pid, &st, 0) != pid)
		return -errno;
	if (!WIFSTOPPED(st) || WSTOPSIG(st) != SIGSTOP)
		return -EPERM;
	return ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)PTRACE_O_EXITKILL)
		       ? -errno
		       : 0;
}

/* One instruction, or the delivery of @sig.  False when the child is gone. */
static inline bool step(pid_t pid, int sig)
{
	int st;

	return !ptrace(PTRACE_SINGLESTEP, pid, NULL, (void *)(long)sig) &&
	       waitpid(pid, &st, 0) == pid && WIFSTOPPED(st) &&
	       WSTOPSIG(st) == SIGTRAP;
}

static inline void step_kill(pid_t pid)
{
	int st;

	kill(pid, SIGKILL);
	while (waitpid(pid, &st, 0) == pid && !WIFSIGNALED(st) &&
	       !WIFEXITED(st))
		;
}

#endif
