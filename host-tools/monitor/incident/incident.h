/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * incident.h - acting upon what happened to a guest.
 *
 *	incident.c   main thread: the list, the queue, limits, what is told
 *	work.c       a thread for each incident at hand: its steps, in order
 *	nmi.c        NMI, and waiting for what the driver then writes
 *	bundle.c     the bundle directory and incident.json
 *	copy.c       the region's copy
 *	decode.c     the log as text and JSON, by dlog-read; the hook
 *	child.c      running a program that may misbehave
 *	again.c      JSON that is not ours
 *	host.c       what the host and the VMM know
 *	store.c      all bundles: found at start, bounded, removed
 *
 * A struct job is one incident while it is acted upon.  The main thread
 * copies into it all that the worker needs, so that a worker never looks at a
 * struct guest.  A struct entry is one incident in the list, for as long as
 * its bundle is kept.
 *
 * Locks: incidents.lock guards what is marked so; it is never held over
 * anything that may block.  Only the main thread changes the list itself.
 */
#ifndef DLOG_INCIDENT_H
#define DLOG_INCIDENT_H

#include <stdatomic.h>

#include "../monitor.h"
#include "sink.h"

#define WORKERS 4u /* incidents acted upon at once */
#define QUEUE_MAX 64u /* and waiting */
#define PER_MINUTE 6u /* for one guest; more get only ACT_RESET */
#define PLAIN_MAX 64u /* incidents without a bundle that are remembered */
#define TEXT_MAX 4096u /* of a detail or an error */
#define LOG_BYTES (UINT64_C(64) << 20) /* of each of them, at most */

/* What is remembered of one guest, by its name. */
struct of_guest {
	char *name;
	uint64_t since; /* CLOCK_MONOTONIC ns: the minute that is counted */
	uint32_t count; /* in it */
	uint64_t suppressed; /* since the last bundle */
	bool running; /* one of its incidents is acted upon */
	struct entry *newest; /* scratch of store_room() */
	struct of_guest *next;
};

struct entry {
	struct incident pub; /* first */
	struct of_guest *of;
	/* under lock: */
	bool stored; /* its directory has its final name */
	bool busy; /* a job has it, or it is being removed */
	bool gone; /* removed: the main thread drops the entry */
	uint64_t size; /* bytes of disk */
	uint64_t tried; /* the newest round that could not remove it, 0: none */
};

enum job_phase {
	JOB_RUNNING,
	JOB_ASKS, /* the main thread for the VMM's newest events */
	JOB_STORED,
	JOB_FINISHED
};

/* One of the actions, for incident.json. */
struct step {
	enum action action;
	const char *result; /* "pending", "done", "failed", "skipped" */
	uint64_t ms;
	char why[512];
};
#define STEPS 5u

/* What the worker writes: files are named once they are whole. */
struct bundle {
	int guest_dir, dir; /* -1: none */
	bool published; /* under its final name */
	bool durable; /* and all of it has reached the disk */
	struct {
		const char *name; /* NULL: free */
	} file[16];
};

/* Which CPUs gave registers. */
struct cpus {
	uint32_t nr; /* that the region has slots for */
	struct cpu_seen {
		bool online, registers, stack, old_known;
		uint64_t old_time;
		uint32_t old_boot;
	} * cpu;
	bool asked; /* by NMI */
};

struct job {
	struct incidents *all;
	struct entry *entry;
	pthread_t thread;
	struct job *next; /* in the queue, or among the running */
	bool announced; /* main thread: that it is stored */
	uint64_t suppressed;

	/* copies, read-only for the worker */
	char *id, *guest, *detail, *region, *hook;
	enum event ev;
	enum state state;
	int actions;
	uint32_t boot, nmi_wait_ms;
	uint64_t real, keep_free, bundles_bytes, bundles_max, log_lines;
	uint8_t uuid[16];
	struct vm *vm; /* a reference, or NULL */
	/* the main thread's while the job asks */
	struct history_entry history[HISTORY];
	uint32_t nr_history;

	/* the worker's own */
	uint64_t began; /* CLOCK_MONOTONIC */
	int region_fd; /* -1: cannot be read */
	struct dlog *d; /* NULL: no region that can be understood */
	struct cpus cpus;
	struct bundle bundle;
	bool vm_dead; /* it did not answer in time: do not ask again */
	bool copied; /* region.img is there */
	struct step step[STEPS];
	struct sink missing; /* one line for each thing not in the bundle */

	/* under lock, to the main thread */
	enum job_phase phase;
	uint64_t bytes;
	char *error;
};

struct incidents {
	struct monitor *m;
	char *path; /* of the bundles, absolute */
	int root; /* opened and locked, -1: cannot be used */
	pthread_mutex_t lock;
	pthread_cond_t answered; /* a job that asked */
	struct entry *list; /* newest first; by its pub.next */
	uint64_t rounds; /* of store_room(), under lock */
	struct of_guest *guests;
	struct job *queue, *running;
	uint32_t nr_queue, nr_running;
	uint64_t dropped; /* the queue was full */
	atomic_bool stopping;
};

static inline struct entry *entry_next(const struct entry *e)
{
	return (struct entry *)e->pub.next;
}

/* ---- incident.c ---- */

/*
 * The worker hands the main thread what it has got: its bundle can be seen,
 * or there is nothing more to do; the job is gone then.
 */
void job_tell(struct job *job, enum job_phase phase, uint64_t bytes);

/* job->history as it is now, if the main thread is quick to tell. */
void job_ask_history(struct job *job);

/* ---- work.c ---- */

void *job_run(void *job);
/* "WHAT: why" for incident.json and the incident's error. */
__attribute__((format(printf, 2, 3))) void job_missing(struct job *job,
						       const char *fmt, ...);
const char *action_name(enum action action);
/* How asking the VMM went; notes when it is of no use to ask again. */
int job_asked(struct job *job, int ret);

/* ---- nmi.c ---- */

/* Which CPUs are online and what registers they have. */
void cpus_look(struct job *job);
int job_nmi(struct job *job, char *why, size_t size);
/* Wait until a kernel that tells of its own trouble has finished speaking. */
void job_settle(struct job *job);
/* "0-3,7": CPUs that are online, or for which a field is as asked. */
enum cpu_set { CPUS_ONLINE, CPUS_REGISTERS, CPUS_STACK, CPUS_SILENT };
void cpus_list(struct sink *s, const struct cpus *cpus, enum cpu_set which);

/* ---- bundle.c ---- */

/* Make the directory .ID.tmp; 0 or -errno. */
int bundle_open(struct job *job);
/* A new file in it: its descriptor, or -errno. */
int bundle_create(struct job *job, const char *name);
/* @ret 0: it is whole, keep it; else remove it and note why. */
int bundle_done(struct job *job, const char *name, int fd, int ret);
int bundle_write(struct job *job, const char *name, const void *data,
		 size_t len);
/* Write incident.json anew. */
int bundle_json(struct job *job, bool complete);
/*
 * Everything to the disk, then under its final name.  It may be published and
 * yet fail: what cannot be kept for sure is still worth to be seen.
 */
int bundle_publish(struct job *job);
/* incident.json and what has come since to the disk: 0, or why not all is. */
int bundle_update(struct job *job);
void bundle_close(struct job *job);
/* Bytes of disk that it takes. */
uint64_t bundle_bytes(struct job *job);
/* Bytes that may still be written, keep_free left alone. */
uint64_t bundle_free(struct job *job);

/* ---- copy.c ---- */

/* Open @job->region: a regular file, no symbolic link. */
void region_open(struct job *job);
void region_close(struct job *job);
/* Bytes of disk that a copy takes, 0: there is nothing to copy. */
uint64_t region_blocks(const struct job *job);
int region_copy(struct job *job);

/* ---- child.c ---- */

struct child {
	pid_t pid; /* 0: none */
	int pidfd;
};

struct child_args {
	const char *const *argv; /* argv[0] is looked for in PATH */
	const char *const *envp;
	int dir; /* working directory, -1: / */
	int in, out, err; /* -1: /dev/null */
	bool distrusted; /* gains no privilege, and does not outlive us */
	bool powerless; /* gives up the capabilities that systemd gave us */
	uint64_t memory, file_size, cpu_seconds; /* 0: no limit */
};

int child_start(struct child *c, const struct child_args *args);
/*
 * Wait for its end and reap it: its wait status; -ETIMEDOUT or -ECANCELED: it
 * was killed, at @deadline (CLOCK_MONOTONIC) or
 * because @stop was set.  Its process group ends with it in any case, what has
 * left that (setsid) does not.  With @pipe not -1 what comes out of it is written
 * to @fd, up to @max bytes.
 */
int child_wait(struct child *c, uint64_t deadline, const atomic_bool *stop,
	       int pipe, int fd, uint64_t max);

/* ---- decode.c ---- */

void job_decode(struct job *job);
int job_hook(struct job *job, char *why, size_t size);

/* ---- again.c ---- */

/* To be free()d; NULL: @text is no JSON. */
char *json_again(const char *text);

/* ---- host.c ---- */

void job_host(struct job *job);
void job_registers(struct job *job);
void job_history(struct job *job);

/* ---- store.c ---- */

/* Open the directory, remove what is half-written, read what is there. */
int store_open(struct incidents *all);
/*
 * Remove the oldest bundles until @need more bytes and @more bundles fit.
 * Other guests' and this one's newest bundles go last, and never for the sake
 * of the disk alone.
 */
void store_room(struct incidents *all, const struct job *job, uint64_t need,
		uint32_t more);
struct of_guest *store_guest(struct incidents *all, const char *name);
/* Into the list, by its time. */
void store_add(struct incidents *all, struct entry *e);
void entry_free(struct entry *e);
/* Bytes of disk of all files below @dir, an open directory. */
uint64_t store_size(int dir);

#endif
