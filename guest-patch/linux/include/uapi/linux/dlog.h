/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * dlog.h - what user space asks of /dev/dlog.
 *
 * All need CAP_SYSLOG and a file opened for writing, DLOG_IOC_SHOW one opened
 * for reading.  Pointers are u64, so that 32-bit programs use the same calls.
 */
#ifndef _UAPI_LINUX_DLOG_H
#define _UAPI_LINUX_DLOG_H

#include <linux/ioctl.h>
#include <linux/types.h>

/*
 * Find or add an event type: as dlog_event_register() of <linux/dlog.h>.
 * ENOSPC: the catalog is full.
 */
struct dlog_ioc_event {
	__u64 name; /* "subsystem:event", NUL-terminated, at most 256 bytes */
	__u64 fields; /* "u32 pid; str what", NUL-terminated */
	__u32 id; /* out */
	__u32 reserved; /* 0 */
};

/*
 * Append one record of an event type: as dlog_event().  EAGAIN while
 * recording is stopped or the event is off; EMSGSIZE.
 */
struct dlog_ioc_record {
	__u32 id;
	__u32 len; /* of data, at most 65536 */
	__u64 data; /* the fields, packed, in the order declared */
};

/*
 * Run commands, one a line (docs/events.md): the language of the module
 * parameter dlog.run too.  Stops at the first that fails and puts one sentence
 * that names it into error.
 */
struct dlog_ioc_run {
	__u64 text;
	__u64 error; /* 0: no words wanted */
	__u32 len; /* of text, at most 65536 */
	__u32 error_size;
};

/*
 * Text about @what, one thing a line, values parted by tabs, the first line
 * naming them.  Returns the length that it has; what fits is written.
 */
struct dlog_ioc_show {
	__u32 what;
	__u32 size;
	__u64 text;
};

enum dlog_ioc_what {
	DLOG_SHOW_EVENTS = 1, /* id name kind on set */
	DLOG_SHOW_FUNCTIONS = 2, /* filter */
	DLOG_SHOW_SETS = 3, /* name armed events */
	DLOG_SHOW_CONSUMERS = 4, /* event priority consumer count */
	DLOG_SHOW_STATUS = 5, /* name value */
};

#define DLOG_IOC_EVENT _IOWR('d', 0xd0, struct dlog_ioc_event)
#define DLOG_IOC_RECORD _IOW('d', 0xd1, struct dlog_ioc_record)
#define DLOG_IOC_RUN _IOW('d', 0xd2, struct dlog_ioc_run)
#define DLOG_IOC_SHOW _IOW('d', 0xd3, struct dlog_ioc_show)

#endif
