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
 * catalog.c   event types and symbols in the region's catalog
 * trace.c     ftrace's events, markers and functions into the ring
 * hook.c      consumers of an event, sets of events that are armed together
 * command.c   the words of dlog.run and of DLOG_IOC_RUN
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

/*
 * catalog.c: an index in memory, so that thousands of types are added in
 * linear time.  Task context, sleeps.
 */
int dlog_catalog_start(void);
void dlog_catalog_stop(void);
/* Id, -ENOSPC when the catalog is full, -EINVAL, -EMSGSIZE, -ENOMEM. */
int dlog_catalog_event(const char *name, const char *fields,
		       const char *format);
/* Id of the event type called @name that was added last, or -ENOENT. */
int dlog_catalog_find(const char *name);
/*
 * Calls fn(arg, id, name, ftrace) for each event type registered in this
 * boot; stops at its first result that is not 0 and returns that.
 */
int dlog_catalog_each(int (*fn)(void *arg, int id, const char *name,
				bool ftrace),
		      void *arg);
/* Bytes of the catalog in use. */
u64 dlog_catalog_used(void);

/*
 * trace.c.  @glob is "system:event" with * and ?, or one name without colon
 * for any system.  Both return how many events were switched, or -ENOENT when
 * none matches, -ENOSPC, -EOPNOTSUPP without ftrace.  Task context, sleep.
 */
int dlog_trace_start(void);
void dlog_trace_stop(void);
int dlog_trace_events(const char *glob, bool on);
/* Function tracer: @glob as in set_ftrace_filter. */
int dlog_trace_functions(const char *glob, bool on);
/* Filters that are on, one a line: bytes written as scnprintf(). */
size_t dlog_trace_show_functions(char *buf, size_t size);

/*
 * hook.c.  An event whose gate is DLOG_GATE_HOOKED is not simply appended:
 * whoever has one calls this instead.  It runs the event's consumers, highest
 * priority first; recording it is the consumer "record" of priority 0.
 * @tag as in dlog_put().  Any context.
 */
#define DLOG_GATE_OPEN 0
#define DLOG_GATE_SHUT 1
#define DLOG_GATE_HOOKED 2
int dlog_hook(int id, bool tagged, u32 tag, const void *data, size_t len);

/* command.c: runs a writable text of several lines; 0 or -errno and words. */
int dlog_command(char *text, char *error, size_t size);
/* Text for DLOG_IOC_SHOW, kvmalloc()ed, or ERR_PTR. */
char *dlog_command_show(u32 what, size_t *len);

/* chardev.c, sysfs.c */
int dlog_chardev_start(void);
void dlog_chardev_stop(void);
extern const struct attribute_group *dlog_sysfs_groups[];

#endif
