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
 * trace.c     ftrace's events and markers into the ring
 * function.c  calls of functions into the ring
 * symbols.c   names of the addresses that they bring, into the catalog
 * kernfile.c  files of tracefs and sysfs, without a mount of user space
 * hook.c      consumers of an event, sets of events that are armed together
 * fields.c    what declared events may look like
 * command.c   the words of dlog.run and of DLOG_IOC_RUN
 * call.c      broken rules of the kernel's interface (guest-patch/wrap)
 * chardev.c   /dev/dlog, /dev/dlog-msg
 * sysfs.c     /sys/class/misc/dlog/
 */
#ifndef DLOG_DRIVER_H
#define DLOG_DRIVER_H

#include <linux/cpumask.h>
#include <linux/list.h>
#include <linux/percpu.h>
#include <linux/preempt.h>

#include <linux/dlog.h>

#include "clock.h"
#include "dlog_region.h"

struct device;
struct dlog_text;
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
	u64 kernel_text; /* address of _stext, 0: not known */
	unsigned int level; /* printk lines above it are not recorded */
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
/* Whatever kept dlog_put_now() from its quick way; enables preemption. */
int dlog_put_slow(u32 type, bool tagged, u32 tag, const void *data, size_t len);

/* The quick way of an append, preemption off; calls nothing.  Did it do? */
static __always_inline bool dlog_put_quick(u32 type, bool tagged, u32 tag,
					   const void *data, size_t len)
{
	u64 now;

	return likely(dlog_clock_quick(&now)) &&
	       likely(dlog_ring_put_quick(raw_cpu_read(dlog_cpu_ring), type,
					  now, tagged, tag, data, len));
}

/*
 * Append now, recording or not; as dlog_put() for hot paths.  Calls nothing on
 * the quick way: no register is saved.
 */
static __always_inline int dlog_put_now(u32 type, bool tagged, u32 tag,
					const void *data, size_t len)
{
	preempt_disable_notrace();
	if (likely(dlog_put_quick(type, tagged, tag, data, len))) {
		preempt_enable_notrace();
		return 0;
	}
	return dlog_put_slow(type, tagged, tag, data, len);
}

/* dlog_put() without a tag; -ENODEV before there is a region. */
int dlog_append(u32 type, u64 time, const void *data, size_t len);
/* Recompute dlog_gate; tells the host.  Any context. */
void dlog_update_recording(void);
/* Let an event go to dlog_hook(), or no longer.  Any context. */
void dlog_event_hooked(int id, bool hooked);
/* Is it switched on? */
bool dlog_event_is_on(int id);
/*
 * Address of a symbol of the kernel, or a few bytes behind it, where a probe
 * of it would lie; 0: there is none.  Task context.
 */
unsigned long dlog_kernel_symbol(const char *name);
/* After hibernation: go on behind what others wrote meanwhile. */
void dlog_rejoin(void);

/* find.c */
int dlog_find(struct dlog_place *place);
void dlog_unfind(struct dlog_place *place);

/* kmsg.c */
int dlog_kmsg_start(void);
void dlog_kmsg_stop(void);
/* From now on record no line above @level; 7 and 8: all. */
void dlog_kmsg_level(unsigned int level);
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
/* A STACK record of who called the driver.  Preemption off, any context. */
void dlog_stack_here(void);

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
/*
 * Id of the event type called @name that was registered last, or -ENOENT when
 * this boot has none.
 */
int dlog_catalog_find(const char *name);
/* What it describes is no more, until it is registered again. */
void dlog_catalog_gone(int id);
/*
 * Calls fn(arg, id, name, ftrace) for each event type registered in this
 * boot; stops at its first result that is not 0 and returns that.
 */
int dlog_catalog_each(int (*fn)(void *arg, int id, const char *name,
				bool ftrace),
		      void *arg);
/* Bytes of the catalog in use. */
u64 dlog_catalog_used(void);
/* Number of the object called @name, or -ENOSPC. */
int dlog_catalog_object(const char *name);
/* It lies at @base in this boot; added unless that was the last word. */
int dlog_catalog_base(int object, u64 base, u32 size);
bool dlog_catalog_has_symbol(int object, u32 offset);
/* @notes: struct dlog_symbol_note and name, one after the other. */
int dlog_catalog_symbols(int object, const void *notes, u32 len);

/*
 * trace.c.  @glob is "system:event" with * and ?, or one name without colon
 * for any system.  They come here, but are not recorded before
 * dlog_event_switch() says so.  Returns how many match and are on or off, or
 * -ENOENT when none matches, -ENOSPC, -EOPNOTSUPP without ftrace.  Task
 * context, sleeps.
 */
int dlog_trace_start(void);
void dlog_trace_stop(void);
int dlog_trace_events(const char *glob, bool on);
/*
 * The format file of @name, system:event, without its number, which goes to
 * *type.  0, -EMSGSIZE ...
 */
int dlog_trace_format(const char *name, char *text, size_t size,
		      unsigned int *type);
/* Is trace event @id on?  That of functions is not among them. */
bool dlog_trace_has(int id);
/* Events that ftrace had no room for, so that they never came here. */
u64 dlog_trace_lost(void);

/*
 * function.c.  @glob is one function or a pattern with *, as for ftrace's
 * set_ftrace_filter; functions of modules loaded later are not in it.
 * Returns 1, -ENOENT when no function matches or no such filter is on.
 */
int dlog_trace_functions(const char *glob, bool on);
/* Filters that are on, one a line. */
void dlog_trace_show_functions(struct dlog_text *t);
void dlog_function_stop(void);

/* symbols.c */
int dlog_symbols_start(void);
void dlog_symbols_stop(void);
/* Somebody may call dlog_symbol_seen() from now on.  Task context. */
int dlog_symbols_want(void);
/* This address is in a record.  Any context. */
void dlog_symbol_seen(unsigned long addr);
/* How often an address had no place among those to be named. */
long dlog_symbols_lost(void);

/* kernfile.c: files of file systems that the kernel itself makes. */
void dlog_kernfile_stop(void);
/* Reads @path of @fs ("tracefs") into @buf, with a NUL; its length. */
ssize_t dlog_kernfile_read(const char *fs, const char *path, char *buf,
			   size_t size);
struct dlog_name {
	struct list_head list;
	char name[];
};
/* Adds the folders in @path to @names that match @glob. */
int dlog_kernfile_list(const char *fs, const char *path, const char *glob,
		       struct list_head *names);
void dlog_names_free(struct list_head *names);

/*
 * hook.c.  An event whose gate is DLOG_GATE_HOOKED is not simply appended:
 * whoever has one calls this instead.  It runs the event's consumers, highest
 * priority first; recording it is the consumer "record" of priority 0.
 * @tag as in dlog_put().  Any context.
 */
int dlog_hook(int id, bool tagged, u32 tag, const void *data, size_t len);

/*
 * The rest of hook.c: task context, one at a time (command.c's lock).
 *
 * A set is a bit in one word of armed sets.  An event that is in sets is
 * recorded while one of them is armed; in none, always.
 */
#define DLOG_SETS 64
#define DLOG_SET_NAME 32
/* Number of a set, or -ENOENT; a new one is disarmed, -ENOSPC. */
int dlog_set_find(const char *name);
int dlog_set_make(const char *name);
/* Arms and disarms all of them at one instant, on all CPUs. */
void dlog_set_switch(u64 arm, u64 disarm);
/* Puts an event into a set; -ENOMEM.  Takes it out of all. */
int dlog_set_put(int id, int set);
void dlog_set_clear(int id);
/*
 * The driver's own consumers: -ENOENT for a name that it has not, and when
 * there is none to remove; -EEXIST, -ENOMEM.
 */
int dlog_consumer_own_add(int id, const char *name, const int *priority);
int dlog_consumer_own_remove(int id, const char *name);
const char *dlog_consumer_own_names(void);
/* Lines for DLOG_IOC_SHOW. */
void dlog_hook_show_sets(struct dlog_text *t);
void dlog_hook_show_consumers(struct dlog_text *t);
/* Sets of one event, parted by commas, or "-". */
void dlog_hook_show_event(struct dlog_text *t, int id);
void dlog_hook_stop(void);

/* fields.c: what an event type may be called and may declare. */
struct dlog_layout;
/* 0, or -EINVAL and one sentence. */
int dlog_fields_check(const char *name, const char *fields, char *error,
		      size_t size);
/* Remember that @id has @fields, which are known to be right; -ENOMEM. */
int dlog_fields_learn(int id, const char *fields);
/* Is @data a record of @id?  0, -ENOENT for an unknown @id, -EINVAL. */
int dlog_fields_match(int id, const void *data, size_t len);
void dlog_fields_stop(void);

/* A text that grows. */
struct dlog_text {
	char *text;
	size_t len, size;
	int error;
};
__printf(2, 3) void dlog_text_add(struct dlog_text *t, const char *fmt, ...);

/*
 * command.c: runs a writable text of several lines; 0 or -errno and words.
 * Stops at the first command that fails.
 */
int dlog_command(char *text, char *error, size_t size);
/* The same from dlog.run: tells the kernel's log what fails and goes on. */
void dlog_command_boot(const char *text);
/* Text for DLOG_IOC_SHOW, kvmalloc()ed, or ERR_PTR. */
char *dlog_command_show(u32 what, size_t *len);

/* chardev.c, sysfs.c */
int dlog_chardev_start(void);
void dlog_chardev_stop(void);
extern const struct attribute_group *dlog_sysfs_groups[];

#endif
