/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * dlog.h - record what must survive the kernel.
 *
 * What is appended here lies in memory that a host file backs and is still
 * there when this kernel is not: after a panic, a hang, kexec, a reset.
 * An append never waits, takes no lock and allocates nothing.  Appends may be
 * called from any context: task, softirq, hardirq, NMI, panic; what the others
 * need is said with each.
 */
#ifndef _LINUX_DLOG_H
#define _LINUX_DLOG_H

#include <linux/atomic.h>
#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/list.h>
#include <linux/types.h>

/*
 * Gate 0 for text, gate ID for each event.  Looked at before anything is
 * called, so that what is off costs a few instructions.
 */
#define DLOG_GATES 4096
#define DLOG_GATE_OPEN 0 /* recorded */
#define DLOG_GATE_SHUT 1 /* not recorded */
#define DLOG_GATE_HOOKED 2 /* event with consumers, or in a set */
extern u8 dlog_gate[DLOG_GATES];

int __dlog_write(unsigned int level, const char *text, size_t len);
int __dlog_event(int id, const void *data, size_t len);

/**
 * dlog_write - append a line of text
 * @level: as printk's, 0 (KERN_EMERG) to 7 (KERN_DEBUG)
 * @text: the text, need not end in a NUL or newline
 * @len: bytes of @text
 *
 * Return: 0; -EAGAIN while recording is stopped or without a region;
 * -EINVAL for a bad level; -EMSGSIZE when no record can be that long;
 * -ENOSPC at the end of the ring's stream.
 */
static __always_inline int dlog_write(unsigned int level, const char *text,
				      size_t len)
{
	if (unlikely(data_race(dlog_gate[0])))
		return -EAGAIN;
	return __dlog_write(level, text, len);
}

/**
 * dlog_printf - format and append a line of text
 * @level: as for dlog_write()
 * @fmt: as printk's, without KERN_ prefix; at most 1024 bytes come out
 *
 * Return: as dlog_write().
 */
__printf(2, 3) int dlog_printf(unsigned int level, const char *fmt, ...);

/**
 * dlog_event_register - find or add an event type in the catalog
 * @name: "subsystem:event"
 * @fields: types and names, "u32 pid; char comm[16]" (docs/abi.md, Catalog)
 *
 * Task context only.  The id of a name and layout is the same in every boot.
 *
 * Return: id for dlog_event(), or -ENODEV, -ENOMEM, -EINVAL, -EMSGSIZE, -ENOSPC
 * when the catalog is full.
 */
int dlog_event_register(const char *name, const char *fields);

/**
 * dlog_event - append a binary event
 * @id: from dlog_event_register()
 * @data: the fields, packed, in the order declared
 * @len: bytes of @data
 *
 * Return: as dlog_write(); -EAGAIN also while the event is switched off.
 */
static __always_inline int dlog_event(int id, const void *data, size_t len)
{
	if (unlikely(data_race(dlog_gate[id & (DLOG_GATES - 1)]) ==
		     DLOG_GATE_SHUT))
		return -EAGAIN;
	return __dlog_event(id, data, len);
}

/**
 * dlog_event_switch - record an event, or do not
 * @id: from dlog_event_register()
 * @on: events are on when they are registered
 *
 * Any context.
 *
 * Return: 0 or -EINVAL.
 */
int dlog_event_switch(int id, bool on);

/* What a consumer of an event returns. */
#define DLOG_CONSUMER_GO 0
#define DLOG_CONSUMER_STOP 1 /* none of lower priority gets this event */

/**
 * struct dlog_consumer - who else gets an event
 * @name: for people, as /dev/dlog shows it
 * @priority: the higher, the earlier.  The record itself has priority 0: who
 *	runs before it may suppress it by DLOG_CONSUMER_STOP.  Of the same
 *	priority, who was added first runs first, the record before them.
 * @fn: called in the context of the event, NMI included, with preemption off.
 *	What it appends itself is recorded without consumers.  @data is as
 *	given to dlog_event(); of a trace event, what lies behind its first
 *	four bytes (type, flags, preempt count).
 *
 * The rest is the driver's and begins as zero.
 */
struct dlog_consumer {
	const char *name;
	int priority;
	int (*fn)(struct dlog_consumer *c, int id, const void *data,
		  size_t len);
	/* private: */
	int id; /* of its event, 0: added to none */
	atomic64_t hits;
	struct list_head node;
};

/**
 * dlog_consumer_add - let a consumer have an event
 * @event: name of an event type that is registered in this boot
 * @c: stays where it is until it is removed; one event for each
 *
 * Task context; may sleep.
 *
 * Return: 0, -ENOENT for an unknown event, -EBUSY when @c is added already,
 * -ENODEV, -ENOMEM.
 */
int dlog_consumer_add(const char *event, struct dlog_consumer *c);

/**
 * dlog_consumer_remove - take it away again
 * @c: what was added; nothing happens when it was not
 *
 * Task context; sleeps until no CPU is in @c->fn.
 */
void dlog_consumer_remove(struct dlog_consumer *c);

/**
 * dlog_call - append that a caller broke a rule of the function it called
 * @level: as for dlog_write()
 * @site: return address of the call
 * @flags: enum dlog_call_flags of dlog_abi.h: 1 said before a call that may
 * not return, 2 the last argument is the result
 * @args: arguments as passed; more than 8 are cut
 * @nr_args: how many
 * @function: its name
 * @rule: what was broken, for people
 * @caller: where, or NULL for @site as "%pS" has it
 *
 * Return: as dlog_write().
 */
int dlog_call(unsigned int level, u64 site, u32 flags, const u64 *args,
	      u32 nr_args, const char *function, const char *rule,
	      const char *caller);

/**
 * dlog_recording - would text be taken now?
 */
static inline bool dlog_recording(void)
{
	return !data_race(dlog_gate[0]);
}

#endif
