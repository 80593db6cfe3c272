/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * watch.h - the guest's region as the plugin sees it: who stores there, when.
 *
 *	guard.c   page protection: told at the next store, at no cost before
 *	serve.c   FILE.watch, the socket of those that follow; the thread
 *	clock.c   pairs of the guest's clock and ours
 *	writes.c  each store, with who did it (trace-writes=on)
 *	watch.c   start, end
 *
 * Everything but the signal handler, guard_told and writes.c runs in serve.c's
 * thread.
 */
#ifndef WATCH_H
#define WATCH_H

#include "plugin.h"

/* ---- guard.c ---- */

/* Parts of the region that are guarded, each by itself. */
enum zone {
	ZONE_RINGS,
	ZONE_SLOTS, /* of the CPUs: heartbeats */
	ZONES,
};

struct span {
	uint64_t from, to; /* offsets in the region, @to is behind it */
};

struct hit {
	uint64_t time; /* ours, before the store takes effect */
	uint64_t offset; /* of the first byte stored to, in the region */
};

/* The region's superblock, as it was at the start. */
extern struct dlog_superblock guard_sb;

/* 0, or a negative errno after it has said why. */
int guard_start(const char *path);
/* Before anything else: takes SIGSEGV.  Again does nothing. */
int guard_begin(void);
/* Readable when there has been a store. */
int guard_fd(void);
/* Makes it unreadable. */
void guard_clear(void);
/*
 * From now on the next store into one of @spans of @z, rounded to pages, is
 * told: once, then the whole zone is free again.  False: it cannot be done,
 * the guest has no driver that runs, or its memory is not there.
 */
bool guard_arm(enum zone z, const struct span *spans, unsigned int n);
bool guard_armed(enum zone z);
/* Has there been a store since guard_arm()?  Then *@hit is the first one. */
bool guard_hit(enum zone z, struct hit *hit);
/* Bytes of the region, as they are now: 0, or a negative errno. */
int guard_read(uint64_t off, void *buf, size_t len);
/* Everything is free, for good. */
void guard_stop(void);

/*
 * If set, called in the signal handler, in the thread that is about to store,
 * with the offset in the region of each store that was guarded and its address
 * in QEMU.  True: what guard_arm_all() has guarded shall be free.
 */
extern bool (*guard_told)(uint64_t offset, uintptr_t address);
/*
 * Guards all of the region until guard_told() says otherwise.  False: it is
 * not among QEMU's memory.  For the first time before the thread is there,
 * then from within callbacks of vCPUs.
 */
bool guard_arm_all(void);
/* Bytes of the region's file. */
extern uint64_t guard_size;

/* ---- writes.c ---- */

int writes_begin(void);
void writes_translate(const struct block *b);
/* Has the region been found and guarded?  Before that the thread waits. */
bool writes_begun(void);
/* Once a second. */
void writes_beat(void);

/* ---- clock.c ---- */

int clock_start(void);
int clock_begin(void);
/* Our time at which clock_turn() wants to be called. */
uint64_t clock_due(void);
void clock_turn(uint64_t now);

/* ---- serve.c ---- */

int serve_start(const char *path);
/* Starts the thread, in the process that QEMU stays. */
void serve_begin(void);
void serve_stop(void);

#endif
