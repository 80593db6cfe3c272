// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vmm.c - what the kernel says of a VMM's process: proc(5).  Nothing here
 * waits for the VMM or changes anything of it.
 */
#include <ctype.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "watch.h"

#define THREADS_MAX 4096u

/* ---- stopped ---- */

/* First line of @path with @prefix, what stands behind it; false: none. */
static bool line_of(const char *path, const char *prefix, char *out,
		    size_t size)
{
	FILE *f = fopen(path, "re");
	char line[4096];
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f)) {
		if (strncmp(line, prefix, strlen(prefix)))
			continue;
		line[strcspn(line, "\n")] = 0;
		snprintf(out, size, "%s", line + strlen(prefix));
		found = true;
	}
	if (f)
		fclose(f);
	return found;
}

/* By cgroup v2's freezer, as "systemctl freeze" and container engines do. */
static bool frozen(pid_t pid)
{
	char path[64], group[2048], events[4096], value[16];

	snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
	if (!line_of(path, "0::", group, sizeof(group)) || !strcmp(group, "/"))
		return false;
	snprintf(events, sizeof(events), "/sys/fs/cgroup%s/cgroup.events",
		 group);
	return line_of(events, "frozen ", value, sizeof(value)) &&
	       *value == '1';
}

bool vmm_stopped(pid_t pid)
{
	char path[64], state[16];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (!line_of(path, "State:\t", state, sizeof(state)))
		return false;
	return toupper((unsigned char)*state) == 'T' || frozen(pid);
}

/* ---- starved ---- */

static bool read_thread(pid_t pid, const char *tid, struct vmm_thread *t)
{
	char path[300];
	FILE *f;
	bool ok;

	snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", pid, tid);
	f = fopen(path, "re");
	if (!f)
		return false;
	t->tid = atoi(tid);
	ok = fscanf(f, "%" SCNu64 " %" SCNu64, &t->run, &t->wait) == 2;
	fclose(f);
	return ok;
}

void vmm_sample(struct vmm_sample *s, pid_t pid)
{
	char path[64];
	struct dirent *e;
	DIR *dir;

	vmm_sample_free(s);
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	if (!dir)
		return;
	while (s->nr < THREADS_MAX && (e = readdir(dir))) {
		struct vmm_thread t, *more;

		if (!isdigit((unsigned char)*e->d_name) ||
		    !read_thread(pid, e->d_name, &t))
			continue;
		more = realloc(s->thread, (s->nr + 1) * sizeof(*more));
		if (!more)
			break;
		s->thread = more;
		s->thread[s->nr++] = t;
	}
	closedir(dir);
	s->at = clock_ns(CLOCK_MONOTONIC);
}

/*
 * One that waited for a CPU for more than half of the time, and had one for
 * less than an eighth.  A thread that had more of it would have served the
 * timer interrupt that a heartbeat needs: that takes microseconds.
 */
bool vmm_starved(const struct vmm_sample *before, pid_t pid)
{
	struct vmm_sample now = { 0 };
	bool starved = false;
	uint64_t window;

	if (!before->at)
		return false;
	vmm_sample(&now, pid);
	window = now.at - before->at;
	for (uint32_t i = 0; i < now.nr && !starved; i++) {
		const struct vmm_thread *a = NULL, *b = &now.thread[i];

		for (uint32_t k = 0; k < before->nr && !a; k++)
			if (before->thread[k].tid == b->tid)
				a = &before->thread[k];
		starved = a && b->wait - a->wait > window / 2 &&
			  b->run - a->run < window / 8;
	}
	vmm_sample_free(&now);
	return starved;
}

void vmm_sample_free(struct vmm_sample *s)
{
	free(s->thread);
	*s = (struct vmm_sample){ 0 };
}

/* ---- locks ---- */

static int by_file(const void *a, const void *b)
{
	const struct vmm_lock *x = a, *y = b;

	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return (x->dev > y->dev) - (x->dev < y->dev);
}

/* "7: FLOCK  ADVISORY  WRITE 4711 fe:00:11026637 0 EOF" */
void vmm_locks_read(struct vmm_locks *l)
{
	FILE *f = fopen("/proc/locks", "re");
	struct vmm_lock *more;
	unsigned int major, minor;
	unsigned long ino;
	char line[256];
	int pid;

	*l = (struct vmm_locks){ 0 };
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%*d: FLOCK %*s WRITE %d %x:%x:%lu", &pid,
			   &major, &minor, &ino) != 4 ||
		    pid <= 0)
			continue;
		more = realloc(l->lock, (l->nr + 1) * sizeof(*more));
		if (!more)
			break;
		l->lock = more;
		l->lock[l->nr++] = (struct vmm_lock){
			.dev = makedev(major, minor), .ino = ino, .pid = pid
		};
	}
	if (f)
		fclose(f);
	if (l->nr)
		qsort(l->lock, l->nr, sizeof(*l->lock), by_file);
}

pid_t vmm_locks_find(const struct vmm_locks *l, dev_t dev, ino_t ino)
{
	const struct vmm_lock key = { .dev = dev, .ino = ino };
	const struct vmm_lock *found = l->nr ? bsearch(&key, l->lock, l->nr,
						       sizeof(key), by_file)
					     : NULL;

	return found ? found->pid : 0;
}

void vmm_locks_free(struct vmm_locks *l)
{
	free(l->lock);
	*l = (struct vmm_locks){ 0 };
}
