/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * entry.h - one record as text and as JSON.  Relies on libdlog.
 */
#ifndef DLOG_ENTRY_H
#define DLOG_ENTRY_H

#include "dlog.h"
#include "json.h"
#include "text.h"

bool entry_is_text(const struct dlog_entry *e);
/* Whatever text record @e carries or libdlog makes of it: raw guest bytes. */
const uint8_t *entry_text(const struct dlog_entry *e, struct sink *scratch,
			  size_t *len);
/* Wall clock, RFC 3339 in UTC with nanoseconds: jq's numbers cannot hold
 * them; null for 0. */
void entry_date(struct json *j, struct second *date, uint64_t real);
/* The same as plain text, not for 0, into sizeof(date->text) bytes: its
 * length. */
size_t entry_date_text(char *text, struct second *date, uint64_t real);
/* "T1234" a thread, "C0" a CPU: as the kernel's PRINTK_CALLER prints it.  Its
 * length, 0 when not known. */
#define ENTRY_CALLER 16u
size_t entry_caller(char text[ENTRY_CALLER], uint32_t caller);
/*
 * The members of a record's object, from "boot" on (dlog-read(1) lists them).
 * "text" is always valid UTF-8; where the guest's bytes are not, "hex" holds
 * them all.  Records that are not text have both: what libdlog makes of them,
 * and their data.
 */
void entry_json(struct json *j, struct second *date, struct sink *scratch,
		const struct dlog_entry *e);

#endif
