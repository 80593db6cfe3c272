/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * entry.h - one record as text, as JSON and as fields of a journal.  Relies on
 * libdlog.
 */
#ifndef DLOG_ENTRY_H
#define DLOG_ENTRY_H

#include "dlog.h"
#include "event.h"
#include "json.h"
#include "text.h"

bool entry_is_text(const struct dlog_entry *e);
/*
 * Whatever text record @e carries, or what is made of it: raw guest bytes.
 * Events of ftrace: "COMM-PID system:event: text"; this and the next ones
 * event_learn() what they are given.
 */
const uint8_t *entry_text(const struct dlog_entry *e, struct sink *scratch,
			  size_t *len);
/* The same without the thread, for where it has a place of its own. */
const uint8_t *entry_text_alone(const struct dlog_entry *e,
				struct sink *scratch, size_t *len);
/* Wall clock, RFC 3339 in UTC with nanoseconds: jq's numbers cannot hold
 * them; null for 0. */
void entry_date(struct json *j, struct second *date, uint64_t real);
/* The same as plain text, not for 0, into sizeof(date->text) bytes: its
 * length. */
size_t entry_date_text(char *text, struct second *date, uint64_t real);
#define UUID_TEXT 37u
void uuid_text(char text[UUID_TEXT], const uint8_t uuid[16]);
/* The id of a record: REGION-BOOT-RING-POSITION. */
#define ID_TEXT 128u
void entry_id(char id[ID_TEXT], const char *uuid, const struct dlog_entry *e);
/* "T1234" a thread, "C0" a CPU: as the kernel's PRINTK_CALLER prints it.  Its
 * length, 0 when not known. */
#define ENTRY_CALLER 16u
size_t entry_caller(char text[ENTRY_CALLER], uint32_t caller);
/*
 * The members of a record's object, from "boot" on (dlog-read(1) lists them).
 * "text" is always valid UTF-8; where the guest's bytes are not, "hex" holds
 * them all.  Records that are not text have both: what libdlog makes of them,
 * and their data.  Events have their fields too.
 */
void entry_json(struct json *j, struct second *date, struct sink *scratch,
		const struct dlog_entry *e);
/*
 * What a systemd journal is told of a record beside text and level: names and
 * values, handed to @put one after the other.
 */
typedef void entry_put_field(void *arg, const char *name, const char *value);
void entry_fields(const struct dlog_entry *e, entry_put_field *put, void *arg);

/* "system:event" as a string. */
void json_event_name(struct json *j, const struct event_type *t);

#endif
