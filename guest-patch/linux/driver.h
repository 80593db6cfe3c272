/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * driver.h - what the files of the driver share.
 *
 * main.c      rings and the exported appends; load and unload
 * clock.c     the time of a record
 * find.c      where the region is, mapping it, keeping others away
 * kmsg.c      printk's lines into the ring
 * evidence.c  status, registers and stacks when something goes wrong
 * beat.c      heartbeat of each CPU, clock pairs, the host's control word
 * chardev.c   /dev/dlog, /dev/dlog-msg
 * sysfs.c     /sys/class/misc/dlog/
 */
#ifndef DLOG_DRIVER_H
#define DLOG_DRIVER_H

#include <linux/cpumask.h>
#include <linux/percpu.h>
#include <linux/preempt.h>

#include <linux/dlog.h>

#include "clock.h"
#include "dlog_region.h"

struct device;
struct pt_regs;

/* Where the region was found. */
struct dlog_place {
	const char *how; /* "nvdimm", "ivshmem", "memory", for people */
	phys_addr_t start;
	resource_size_t size;
	void *base; /* mapping */
	enum dlog_memtype memtype;
	struct resource *claim; /* NULL: somebody else holds it */
};

struct dlog_driver {
	struct dlog_region region;
	struct dlog_place place;
	struct dlog_ring *rings; /* region.sb.nr_rings of them */
	bool ready; /* appends have somewhere to go */
	bool user_stop, host_stop;
	bool resumed; /* this boot was recorded before by an unloaded driver */
	enum dlog_status status;
	unsigned int period_ms; /* heartbeat */
	u64 kmsg_next; /* first printk line not recorded yet */
};

extern struct dlog_driver dlog;

/*
 * Ring of each CPU.  A ring that one possible CPU alone uses is changed with
 * unlocked instructions, so its user must stay on that CPU.
 */
DECLARE_PER_CPU(struct dlog_ring *, dlog_cpu_ring);

/*
 * Append at @time, recording or not, from any context; tagged as in
 * dlog_ring_append_tagged(), where @len counts the tag too.  Not for hot
 * paths.
 */
int dlog_put(u32 type, u64 time, bool tagged, u32 tag, const void *data,
	     size_t len);
/* The same without a tag; -ENODEV before there is a region. */
int dlog_append(u32 type, u64 time, const void *data, size_t len);
/* Recompute dlog_gate; tells the host.  Any context but NMI. */
void dlog_update_recording(void);
/* After hibernation: go on behind what others wrote meanwhile. */
void dlog_rejoin(void);

/* find.c */
int dlog_find(struct dlog_place *place);
void dlog_unfind(struct dlog_place *place);

/* kmsg.c */
int dlog_kmsg_start(void);
void dlog_kmsg_stop(void);
const char *dlog_kmsg_source(void);

/* evidence.c */
int dlog_evidence_start(void);
void dlog_evidence_stop(void);
/* New status, unless a panic was noted before.  Any context. */
void dlog_set_status(enum dlog_status status, const char *detail);
/* Registers and stack of all other CPUs by NMI; waits 10 ms at most. */
void dlog_snapshot_others(enum dlog_status reason);
/* The same for one CPU, without waiting. */
void dlog_snapshot_cpu(int cpu, enum dlog_status reason);

/* beat.c */
int dlog_beat_start(void);
void dlog_beat_stop(void);

/* chardev.c, sysfs.c */
int dlog_chardev_start(void);
void dlog_chardev_stop(void);
extern const struct attribute_group *dlog_sysfs_groups[];

#endif
