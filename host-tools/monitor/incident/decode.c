// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * decode.c - log.txt, log.json, stats.json and guest-registers.txt by
 * dlog-read, and the hook: children with limits.
 *
 * The log is that of the incident's boot, its last log-lines records.  If
 * these are too long, the last eighth of them: a limit must cost the
 * beginning, not the last words.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "incident.h"

#define DECODE_S 20u
#define DECODE_MEMORY (UINT64_C(1) << 30)
#define SMALL_BYTES (UINT64_C(16) << 20)
#define HOOK_S 30u
#define HOOK_LOG (UINT64_C(1) << 20)
#define ENV_MAX 16

/* One run of dlog-read. */
struct run {
	const char *name; /* of the file */
	const char *args[3]; /* what it prints */
	bool log; /* records: -n */
	/* the rest is set by run_start() */
	uint64_t lines;
	bool all_boots;
	uint64_t limit;
	struct child child;
	int out, err; /* -1: not started */
};

/* dlog-read beside this program, else in PATH. */
static void find_dlog_read(char *path, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", path, size - 1);
	char *slash;

	path[n > 0 ? n : 0] = '\0';
	slash = strrchr(path, '/');
	if (slash && (size_t)(slash - path) + sizeof("/dlog-read") < size) {
		strcpy(slash, "/dlog-read");
		if (!access(path, X_OK))
			return;
	}
	snprintf(path, size, "dlog-read");
}

/* NAME=VALUE of our own environment, where it is set. */
static size_t env_keep(const char **env, char *buf, size_t size)
{
	static const char *const name[] = { "PATH", "HOME", "TZ", "LANG" };
	size_t n = 0, len;

	for (size_t i = 0; i < sizeof(name) / sizeof(*name); i++) {
		const char *value = getenv(name[i]);

		len = value ? strlen(name[i]) + strlen(value) + 2 : 0;
		if (!value || len > size)
			continue;
		snprintf(buf, size, "%s=%s", name[i], value);
		env[n++] = buf;
		buf += len;
		size -= len;
	}
	return n;
}

static int run_child(struct job *job, struct run *run)
{
	const char *argv[12], *env[ENV_MAX];
	char program[4096], boot[32], lines[32], keep[8192];
	size_t n = 0, e;

	find_dlog_read(program, sizeof(program));
	argv[n++] = program;
	argv[n++] = "-q";
	argv[n++] = "--no-pager";
	argv[n++] = "--color=never";
	for (size_t i = 0; i < 3 && run->args[i]; i++)
		argv[n++] = run->args[i];
	snprintf(boot, sizeof(boot), job->boot ? "--boot=%u" : "--boot=all",
		 job->boot);
	argv[n++] = run->all_boots ? "--boot=all" : boot;
	snprintf(lines, sizeof(lines), "--lines=%" PRIu64, run->lines);
	if (run->log)
		argv[n++] = lines;
	argv[n++] = job->copied ? "region.img" : "/dev/stdin";
	argv[n] = NULL;
	e = env_keep(env, keep, sizeof(keep));
	env[e++] = "LC_ALL=C.UTF-8";
	env[e] = NULL;
	return child_start(&run->child,
			   &(struct child_args){
				   .argv = argv,
				   .envp = env,
				   .dir = job->bundle.dir,
				   .in = job->copied ? -1 : job->region_fd,
				   .out = run->out,
				   .err = run->err,
				   .distrusted = true,
				   /* Our own copy needs none. */
				   .powerless = job->copied,
				   .memory = DECODE_MEMORY,
				   .file_size = run->limit,
				   .cpu_seconds = DECODE_S,
			   });
}

static void run_start(struct job *job, struct run *run)
{
	uint64_t room = bundle_free(job) / 2;
	int ret;

	run->limit = run->log ? LOG_BYTES : SMALL_BYTES;
	if (run->limit > room)
		run->limit = room;
	run->err = -1;
	run->out = bundle_create(job, run->name);
	if (run->out < 0)
		return;
	run->err = memfd_create("stderr", MFD_CLOEXEC);
	ret = !room ? -ENOSPC : run_child(job, run);
	if (!ret)
		return;
	bundle_done(job, run->name, run->out, ret);
	if (run->err >= 0)
		close(run->err);
	run->out = -1;
}

/* What @run said was wrong, its first line. */
static void run_complaint(const struct run *run, int status, char *why,
			  size_t size)
{
	ssize_t n = run->err < 0 ? 0 : pread(run->err, why, size - 1, 0);

	why[n > 0 ? n : 0] = '\0';
	why[strcspn(why, "\n")] = '\0';
	if (why[0])
		return;
	if (status < 0)
		snprintf(why, size, "dlog-read: %s", strerror(-status));
	else if (WIFSIGNALED(status))
		snprintf(why, size, "dlog-read was ended by signal %d",
			 WTERMSIG(status));
	else if (WEXITSTATUS(status) == 127)
		snprintf(why, size, "no dlog-read beside dlogd nor in PATH");
	else
		snprintf(why, size, "dlog-read: status %d",
			 WEXITSTATUS(status));
}

/* Its output has reached the limit: its end is missing. */
static bool run_cut(const struct run *run, int status)
{
	struct stat st;

	if (status < 0 || fstat(run->out, &st))
		return false;
	return (WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ) ||
	       (status && (uint64_t)st.st_size >= run->limit);
}

/* Wait for it; true: it is to be run again. */
static bool run_wait(struct job *job, struct run *run, uint64_t deadline)
{
	bool cut, again = false;
	char why[300];
	int status;

	status = child_wait(&run->child, deadline, &job->all->stopping, -1, -1,
			    0);
	cut = run_cut(run, status);
	if (status)
		run_complaint(run, status, why, sizeof(why));
	if (cut && run->log && run->lines > 1) {
		run->lines /= 8;
		again = true;
	} else if (status > 0 && WIFEXITED(status) &&
		   WEXITSTATUS(status) == 2 && !run->all_boots && job->boot) {
		run->all_boots = true; /* that boot has been overwritten */
		again = true;
	}
	if (!status) {
		bundle_done(job, run->name, run->out, 0);
	} else {
		close(run->out);
		unlinkat(job->bundle.dir, run->name, 0);
		if (!again)
			job_missing(job, "%s: %s", run->name,
				    cut ? "too long" : why);
	}
	if (run->err >= 0)
		close(run->err);
	run->out = -1;
	return again;
}

void job_decode(struct job *job)
{
	struct run runs[] = {
		{ .name = "log.txt", .log = true },
		{ .name = "log.json", .args = { "-o", "json" }, .log = true },
		{ .name = "guest-registers.txt", .args = { "--regs" } },
		{ .name = "stats.json", .args = { "--stats", "-o", "json" } },
	};
	uint64_t deadline = clock_ns(CLOCK_MONOTONIC) + DECODE_S * SECOND;

	if (job->region_fd < 0)
		return; /* told already */
	for (size_t i = 0; i < sizeof(runs) / sizeof(*runs); i++) {
		runs[i].lines = job->log_lines;
		run_start(job, &runs[i]);
	}
	for (size_t i = 0; i < sizeof(runs) / sizeof(*runs); i++)
		while (runs[i].out >= 0 && run_wait(job, &runs[i], deadline))
			run_start(job, &runs[i]);
}

/* ---- the hook ---- */

static int hook_child(struct job *job, struct child *c, int out)
{
	const char *argv[] = { job->hook, NULL }, *env[ENV_MAX];
	char text[5][4352], keep[8192];
	size_t n = env_keep(env, keep, sizeof(keep));

	snprintf(text[0], sizeof(*text), "DLOG_GUEST=%s", job->guest);
	snprintf(text[1], sizeof(*text), "DLOG_EVENT=%s", event_name(job->ev));
	snprintf(text[2], sizeof(*text), "DLOG_BOOT=%u", job->boot);
	snprintf(text[3], sizeof(*text), "DLOG_INCIDENT=%s", job->id);
	if (job->bundle.published)
		snprintf(text[4], sizeof(*text), "DLOG_BUNDLE=%s/%s/%s",
			 job->all->path, job->guest, job->id);
	else
		snprintf(text[4], sizeof(*text), "DLOG_BUNDLE=");
	for (size_t i = 0; i < 5; i++)
		env[n++] = text[i];
	env[n] = NULL;
	return child_start(c, &(struct child_args){ .argv = argv,
						    .envp = env,
						    .dir = -1,
						    .in = -1,
						    .out = out,
						    .err = out });
}

static void hook_result(int ret, char *why, size_t size)
{
	if (ret == -ETIMEDOUT)
		snprintf(why, size, "ended: not done after %u s", HOOK_S);
	else if (ret < 0)
		snprintf(why, size, "%s", strerror(-ret));
	else if (WIFSIGNALED(ret))
		snprintf(why, size, "ended by signal %d", WTERMSIG(ret));
	else if (WEXITSTATUS(ret) == 127)
		snprintf(why, size, "cannot be run (or its status is 127)");
	else if (ret)
		snprintf(why, size, "status %d", WEXITSTATUS(ret));
}

int job_hook(struct job *job, char *why, size_t size)
{
	uint64_t deadline = clock_ns(CLOCK_MONOTONIC) + HOOK_S * SECOND;
	struct child c;
	int pipe[2], log = -1, ret;

	if (pipe2(pipe, O_CLOEXEC))
		return -errno;
	if (job->bundle.published)
		log = bundle_create(job, "hook.log");
	ret = hook_child(job, &c, pipe[1]);
	close(pipe[1]);
	fcntl(pipe[0], F_SETFL, O_NONBLOCK);
	if (!ret)
		ret = child_wait(&c, deadline, &job->all->stopping, pipe[0],
				 log, HOOK_LOG);
	close(pipe[0]);
	if (log >= 0)
		bundle_done(job, "hook.log", log, 0);
	hook_result(ret, why, size);
	return ret > 0 ? -ECHILD : ret;
}
