/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * watch.h - what watch.c, hang.c and vmm.c share.
 */
#ifndef DLOG_MONITOR_WATCH_H
#define DLOG_MONITOR_WATCH_H

#include "monitor.h"

/* ---- vmm.c: what the kernel says of a VMM's process ---- */

/* CPU time that its threads had, and waited for, at one moment. */
struct vmm_thread {
	pid_t tid;
	uint64_t run, wait; /* ns */
};

struct vmm_sample {
	uint64_t at; /* CLOCK_MONOTONIC ns, 0: none was taken */
	uint32_t nr;
	struct vmm_thread *thread;
};

/* Stopped by a signal or a debugger, or frozen? */
bool vmm_stopped(pid_t pid);
void vmm_sample(struct vmm_sample *s, pid_t pid);
/* Was one of its threads kept from running for most of the time since? */
bool vmm_starved(const struct vmm_sample *before, pid_t pid);
void vmm_sample_free(struct vmm_sample *s);

/* Files that are locked as dlog_lock() does it, by /proc/locks. */
struct vmm_locks {
	uint32_t nr;
	struct vmm_lock {
		dev_t dev;
		ino_t ino;
		pid_t pid;
	} * lock;
};

void vmm_locks_read(struct vmm_locks *l);
/* Who holds it: a pid, or 0. */
pid_t vmm_locks_find(const struct vmm_locks *l, dev_t dev, ino_t ino);
void vmm_locks_free(struct vmm_locks *l);

/* ---- watch.c's and hang.c's own of each guest ---- */

enum answer { NOT_ASKED, ASKING, RUNS, RUNS_NOT, SILENT };

struct watched {
	uint64_t due; /* CLOCK_MONOTONIC ns of the next look */
	uint64_t first; /* ... of the first */
	uint32_t status; /* acted on last */
	bool dead_before; /* had panicked when we first looked */
	pid_t holder; /* of the region's lock, 0: nobody */
	/* hang.c */
	struct dlog_beat *beats; /* nr_slots */
	uint32_t nr_slots;
	bool beaten; /* a heart has beaten since we look */
	uint64_t moved; /* when one did last */
	uint64_t suspect; /* since when, 0: not */
	struct vmm_sample sample; /* of that time */
	enum answer answer;
	uint32_t question; /* number of the one asked last */
	uint64_t asked, answered; /* when */
	bool all_late; /* no CPU was in time when we looked last */
	bool quiet; /* told that they stopped and nobody can be asked */
	bool stuck; /* told that the VMM does not answer */
};

/* Read the heartbeats of @g, decide.  @now: CLOCK_MONOTONIC. */
void hang_look(struct guest *g, uint64_t now);
/* All clocks begin anew. */
void hang_restart(struct guest *g, uint64_t now);
void hang_forget(struct watched *w);
/* Wait for the threads that ask, bounded. */
void hang_stop(void);

#endif
