/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * event.h - what a record of kind EVENT says: its name, its fields, its text.
 *
 * One view of both kinds of event types: those whose catalog entry carries a
 * format text of the guest's ftrace (read by libtraceevent) and those
 * declared to dlog ("u32 pid; str what").  Relies on libdlog and
 * libtraceevent.  Guest bytes are hostile: names are not, they hold letters,
 * digits, '_' and are cut at 255 bytes; strings and values are as they came.
 */
#ifndef DLOG_EVENT_H
#define DLOG_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "dlog.h"

/* Decodes the events of one source; made when first asked for, freed by
 * dlog_close().  NULL: no memory. */
struct event_decoder;
struct event_decoder *event_decoder(struct dlog *d);

enum event_value {
	EVENT_UINT,
	EVENT_INT,
	EVENT_HEX, /* unsigned, shown in hexadecimal: flags, addresses */
	EVENT_STRING,
	EVENT_BYTES, /* arrays and structures: raw bytes */
};

struct event_field {
	const char *name;
	enum event_value type;
	uint32_t size; /* bytes of a number, else 0 */
	bool common; /* common_type, common_pid ... of every ftrace event */
};

struct event_type {
	uint32_t id;
	const char *system, *name; /* "sched", "sched_switch" */
	bool ftrace;
	uint32_t nr_fields;
	const struct event_field *field;
};

/* Type of @id; NULL when the catalog has none, or none that can be read. */
const struct event_type *event_type(struct event_decoder *dec, uint32_t id);
/* Number of the field called @name, or -1. */
int event_field_find(const struct event_type *t, const char *name);

/* A field's value in one record; @data points into the record. */
struct event_data {
	bool there; /* false: the record ends before it */
	uint64_t number; /* EVENT_INT: sign-extended */
	const uint8_t *data; /* EVENT_STRING (no NUL), EVENT_BYTES */
	size_t len;
};

/* Field number @i of record @e, which is of type @t. */
void event_get(const struct event_type *t, const struct dlog_entry *e,
	       uint32_t i, struct event_data *out);

/*
 * The text of @e behind "name: ", *@len bytes: for ftrace as trace-cmd report
 * prints it, else "field=value ...".  Valid until the next call.
 */
const char *event_text(struct event_decoder *dec, const struct dlog_entry *e,
		       size_t *len);

/* Thread that an event came from: common_pid; -1 when not known. */
int64_t event_pid(struct event_decoder *dec, const struct dlog_entry *e);
/*
 * Name of a thread, as far as the events given to event_learn() so far told
 * it (sched_switch, sched_wakeup, task_rename, task_newtask); NULL else.
 * Each boot has its own.
 */
void event_learn(struct event_decoder *dec, const struct dlog_entry *e);
const char *event_comm(struct event_decoder *dec, uint32_t boot, int64_t pid);

/*
 * "name" or "name+0x12" of a code address by the region's symbols, or what
 * the user gave (System.map, /proc/kallsyms, vmlinux); false when unknown.
 * @time is that of the record which has the address: code comes and goes.
 */
bool event_symbol(struct event_decoder *dec, uint32_t boot, uint64_t time,
		  uint64_t address, char *buf, size_t size);
/* Symbols from a file for all boots of @d: 0 or negative after a message. */
int event_load_symbols(struct dlog *d, const char *path,
		       struct dlog_error *err);

#endif
