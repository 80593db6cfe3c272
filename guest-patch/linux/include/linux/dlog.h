/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * dlog.h - record what must survive the kernel.
 *
 * What is appended here lies in memory that a host file backs and is still
 * there when this kernel is not: after a panic, a hang, kexec, a reset.
 * An append never waits, takes no lock and allocates nothing.  All functions
 * but dlog_event_register() and dlog_event_switch() may be called from any
 * context: task, softirq, hardirq, NMI, panic.
 */
#ifndef _LINUX_DLOG_H
#define _LINUX_DLOG_H

#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/types.h>

/*
 * Is nothing recorded?  Gate 0 for text, gate ID for each event.  Looked at
 * before anything is called, so that what is off costs a few instructions.
 */
#define DLOG_GATES 4096
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
	if (unlikely(data_race(dlog_gate[id & (DLOG_GATES - 1)])))
		return -EAGAIN;
	return __dlog_event(id, data, len);
}

/**
 * dlog_event_switch - record an event, or do not
 * @id: from dlog_event_register()
 * @on: events are on when they are registered
 *
 * Any context but NMI.
 *
 * Return: 0 or -EINVAL.
 */
int dlog_event_switch(int id, bool on);

/**
 * dlog_recording - would text be taken now?
 */
static inline bool dlog_recording(void)
{
	return !data_race(dlog_gate[0]);
}

#endif
