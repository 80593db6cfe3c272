// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * host.c - what the host and the VMM know: host.json, registers.txt,
 * qmp.jsonl.
 *
 * The VMM's answers are hostile like the guest's bytes: JSON is parsed and
 * written anew, text is escaped.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "entry.h"
#include "incident.h"

#define PROC_MAX 65536u
#define ASK_MS 1000

/* The beginning of a file of /proc. */
static size_t read_proc(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n = 1;

	while (fd >= 0 && n > 0 && len < size) {
		n = read(fd, buf + len, size - len);
		len += n > 0 ? (size_t)n : 0;
	}
	if (fd >= 0)
		close(fd);
	return len;
}

/* "Name:   value" lines of @path, those in @want (all for NULL). */
static void json_table(struct json *j, const char *path,
		       const char *const *want, char *buf)
{
	size_t len = read_proc(path, buf, PROC_MAX - 1);
	char *line, *rest = buf, *value;
	const char *const *w;

	buf[len] = '\0';
	while ((line = strsep(&rest, "\n"))) {
		value = strchr(line, ':');
		if (!value)
			continue;
		*value++ = '\0';
		value += strspn(value, " \t");
		for (w = want; *w && strcmp(*w, line); w++)
			;
		if (*w)
			json_member(j, *w, value);
	}
}

static void json_cmdline(struct json *j, const char *path, char *buf)
{
	size_t len = read_proc(path, buf, PROC_MAX), n;

	json_key(j, "cmdline");
	json_open(j, '[');
	for (size_t at = 0; at < len; at += n + 1) {
		n = strnlen(buf + at, len - at);
		json_string(j, buf + at, n);
	}
	json_close(j, ']');
}

static void json_process(struct json *j, pid_t pid, char *buf)
{
	static const char *const want[] = { "Name",   "State",	 "VmRSS",
					    "VmSize", "Threads", NULL };
	char path[64];

	json_open(j, '{');
	json_key(j, "pid");
	json_u64(j, (uint64_t)pid);
	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	json_cmdline(j, path, buf);
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	json_table(j, path, want, buf);
	json_close(j, '}');
}

static void json_describe(struct json *j, struct job *job)
{
	char *text = NULL, *out = NULL;

	if (!job->vm_dead &&
	    !job_asked(job, job->vm->ops->describe(job->vm, &text, ASK_MS)))
		out = json_again(text);
	json_key(j, "describe");
	if (out) {
		sink_puts(j->s, out);
		j->comma = true;
	} else {
		json_null(j);
	}
	free(out);
	free(text);
}

static void json_vmm(struct json *j, struct job *job, char *buf)
{
	json_key(j, "vmm");
	if (!job->vm) {
		json_null(j);
		return;
	}
	json_open(j, '{');
	json_member(j, "kind", job->vm->ops->kind);
	json_describe(j, job);
	json_key(j, "process");
	if (job->vm->pid > 0)
		json_process(j, job->vm->pid, buf);
	else
		json_null(j);
	json_close(j, '}');
}

static void json_disk(struct json *j, const struct job *job)
{
	struct statvfs v;

	json_key(j, "bundles_disk");
	if (job->bundle.dir < 0 || fstatvfs(job->bundle.dir, &v)) {
		json_null(j);
		return;
	}
	json_open(j, '{');
	json_key(j, "bytes");
	json_u64(j, (uint64_t)v.f_blocks * v.f_frsize);
	json_key(j, "free");
	json_u64(j, (uint64_t)v.f_bavail * v.f_frsize);
	json_close(j, '}');
}

static void json_uname(struct json *j)
{
	struct utsname u;

	if (uname(&u))
		return;
	json_member(j, "host", u.nodename);
	json_member(j, "system", u.sysname);
	json_member(j, "release", u.release);
	json_member(j, "version", u.version);
	json_member(j, "machine", u.machine);
}

void job_host(struct job *job)
{
	static const char *const memory[] = {
		"MemTotal", "MemFree", "MemAvailable", "SwapTotal", "SwapFree",
		"Dirty",    NULL
	};
	struct second date = { 0 };
	struct sink s;
	struct json j = { .s = &s };
	char *buf = malloc(PROC_MAX);

	if (!buf || sink_init(&s, -1)) {
		job_missing(job, "host.json: %s", strerror(ENOMEM));
		free(buf);
		return;
	}
	json_open(&j, '{');
	json_member(&j, "dlogd", DLOG_VERSION);
	json_key(&j, "real");
	entry_date(&j, &date, clock_ns(CLOCK_REALTIME));
	json_uname(&j);
	json_key(&j, "uptime");
	json_seconds(&j, clock_ns(CLOCK_BOOTTIME));
	buf[read_proc("/proc/loadavg", buf, PROC_MAX - 1)] = '\0';
	json_key(&j, "load");
	json_string(&j, buf, strcspn(buf, "\n"));
	json_key(&j, "memory");
	json_open(&j, '{');
	json_table(&j, "/proc/meminfo", memory, buf);
	json_close(&j, '}');
	json_disk(&j, job);
	json_vmm(&j, job, buf);
	json_close(&j, '}');
	json_line(&j);
	if (s.error)
		job_missing(job, "host.json: %s", strerror(-s.error));
	else
		bundle_write(job, "host.json", s.buf, s.len);
	sink_free(&s);
	free(buf);
}

void job_registers(struct job *job)
{
	char *text = NULL, *from, *to;
	struct sink s;
	int ret;

	if (!job->vm || job->vm_dead) {
		job_missing(job, "registers.txt: no VMM %s",
			    job->vm ? "that answers" : "to be asked");
		return;
	}
	ret = job_asked(job, job->vm->ops->registers(job->vm, &text, ASK_MS));
	if (ret) {
		job_missing(job, "registers.txt: %s", strerror(-ret));
		return;
	}
	for (from = to = text; *from; from++)
		if (*from != '\r') /* the monitor ends lines with CR LF */
			*to++ = *from;
	if (!sink_init(&s, -1)) {
		text_put(&s, text, (size_t)(to - text), 0);
		bundle_write(job, "registers.txt", s.buf, s.len);
		sink_free(&s);
	}
	free(text);
}

void job_history(struct job *job)
{
	struct second date = { 0 };
	struct sink s;
	struct json j = { .s = &s };

	if (!job->nr_history || sink_init(&s, -1))
		return;
	for (uint32_t i = 0; i < job->nr_history; i++) {
		const struct history_entry *h = &job->history[i];
		char *out = json_again(h->json);

		json_open(&j, '{');
		json_key(&j, "real");
		entry_date(&j, &date, h->real);
		json_key(&j, "event");
		if (out)
			sink_puts(&s, out);
		else
			json_text(&j, h->json);
		json_close(&j, '}');
		json_line(&j);
		free(out);
	}
	bundle_write(job, "qmp.jsonl", s.buf, s.len);
	sink_free(&s);
}
