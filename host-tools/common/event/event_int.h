/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * event_int.h - what the files behind event.h share.
 *
 * event.c         types, fields, threads' names; text of declared events
 * format.c        reads a format text of ftrace, tells what is safe in it
 * ftrace.c        text of ftrace's events, by libtraceevent
 * check.c         whether one record may be given to libtraceevent
 * symbols.c       names of code addresses
 *
 * libtraceevent (1.7 was read for this) trusts formats and records: there are
 * formats on which its parser follows NULL, frees twice or divides by zero,
 * and records that make it read behind their end.  So a format is parsed here
 * first, strictly, and what libtraceevent gets is written anew from that.
 * What it made of it is walked (check.c), and each record is tried
 * against the walk before libtraceevent sees a copy of it, padded with zeros.
 * What does not pass is shown field by field by event.c.
 */
#ifndef DLOG_EVENT_INT_H
#define DLOG_EVENT_INT_H

#include "dlog_abi.h"
#include "event.h"
#include "sink.h"

#define EVENT_FIELDS 256u /* more are not looked at */
#define EVENT_NAME 255u
#define EVENT_PAD 64u /* zeros behind the copy of a record */
#define EVENT_BYTES_MAX 65536u /* of a format, and of all fixed fields */

enum event_where { EVENT_HERE, EVENT_DATA_LOC, EVENT_REL_LOC };

/* Where a field of an ftrace record lies. */
struct event_place {
	uint32_t offset, size; /* of the number, array, or location word */
	enum event_where where;
};

struct tep_event;
struct tep_print_arg;

/* Something that must hold of a record: see check.c. */
struct event_check {
	enum event_check_kind {
		EVENT_CHECK_DIVISOR, /* not 0 */
		EVENT_CHECK_WIDTH, /* 0 to EVENT_WIDTH */
		EVENT_CHECK_INDEX, /* of an array */
		EVENT_CHECK_ARRAY, /* so many elements of such a size */
		EVENT_CHECK_MASK, /* not empty */
	} kind;
	const struct tep_print_arg *arg;
};

#define EVENT_WIDTH 1024u

struct event_class {
	struct event_type type;
	struct event_field *field;
	struct event_place *place; /* ftrace */
	struct dlog_field *declared; /* else */
	char *names;
	uint32_t size; /* of the fixed part of an ftrace record */
	uint32_t bytes; /* of all its fields */
	bool open_ended; /* has an array up to the record's end */
	int pid; /* number of common_pid, or -1 */
	/* Fields that name a thread: pairs of pid and comm, or -1. */
	int learn[2][2];
	struct tep_event *tep; /* NULL: shown field by field */
	struct event_check *check;
	uint32_t nr_checks, nr_args;
};

struct symbol_file;
struct event_ftrace;
struct comm;

struct event_decoder {
	struct dlog *d;
	struct event_class **class; /* DLOG_EVENT_MAX + 1 */
	struct event_ftrace *ftrace; /* NULL: not asked for yet */
	struct symbol_file *symbols; /* what the user gave, or NULL */
	struct comm *comm;
	uint32_t comm_turn;
	uint32_t tokens; /* given to libtraceevent so far */
	struct sink scratch;
};

/*
 * format.c: fields of @c from the format text of @c->type, and into
 * @out (empty) a text for libtraceevent; false when it cannot be read.  Its
 * print fmt is replaced by one that cannot be printed if it did not pass.
 * *@tokens: so many pieces of a format libtraceevent keeps.
 */
bool event_format_read(struct event_class *c, const char *text,
		       struct sink *out, uint32_t *tokens);
/*
 * Of field @i in @len bytes: where, how long; false: not there.  All fields
 * together have no more bytes than EVENT_BYTES_MAX and the record.
 */
bool event_place_find(const struct event_class *c, uint32_t i,
		      const uint8_t *data, size_t len, size_t *at, size_t *n);

/* ftrace.c */
void event_ftrace_add(struct event_decoder *dec, struct event_class *c,
		      const char *text);
/* False: to be shown field by field. */
bool event_ftrace_text(struct event_decoder *dec, struct event_class *c,
		       const struct dlog_entry *e, const char **text,
		       size_t *len);
void event_ftrace_free(struct event_decoder *dec);

/* check.c: false when libtraceevent must not print with this tree. */
bool event_check_make(struct event_class *c);
bool event_check_record(const struct event_class *c, const uint8_t *data,
			size_t len);

/* symbols.c */
void symbol_file_free(struct symbol_file *f);
const char *event_symbol_find(struct event_decoder *dec, uint32_t boot,
			      uint64_t time, uint64_t address, uint64_t *start);

#endif
