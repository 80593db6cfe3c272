/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ctl.h - what the files of dlogctl share.
 *
 * dlogctl runs inside the guest: libc, the driver's ioctls and the kernel's
 * tracefs are all that it relies on.  Of the host's tools it has the JSON
 * writer and fail().
 *
 * main.c      the command line
 * device.c    /dev/dlog, its ioctls, sysfs
 * table.c     lists of the driver for people and as JSON
 * status.c    the driver and its rings
 * messages.c  the text in /dev/dlog; marks
 * spec.c      a probe as users write it into the kernel's words
 * elf.c       where a symbol lies in a program's file
 * tracefs.c   the kernel's dynamic events
 * probe.c     placing, removing and listing probes
 * apply.c     a file of commands
 *
 * Functions that can fail return 0 or a negative errno and then have put one
 * sentence into their struct dlog_error.
 */
#ifndef DLOGCTL_H
#define DLOGCTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli.h"
#include "json.h"

/* Options of all commands; NULL: not given, "" for one without a value. */
struct options {
	const char *json, *set, *consumer, *off, *print, *all, *available;
	const char *lines, *boot, *level, *help, *version;
};

/* A command line's words behind the command itself. */
struct words {
	int n;
	char **word;
};

/* main.c: takes the options out of @w; shared with the lines of a file. */
int options_take(struct words *w, const char *allowed, struct options *o,
		 struct dlog_error *err);

/* Is it "NAME on|off WORD..."? */
bool switch_is(const struct words *w);
/*
 * Has the driver run "NAME on|off WORD" for each word, all in one request.
 * Puts them into a set if one is given as @set or as a last word "set=NAME".
 */
int switch_run(const struct words *w, const char *set, struct dlog_error *err);

/* device.c */
/* Is there a driver?  Says in @err what to do when there is none. */
int device_check(struct dlog_error *err);
/* Have the driver run commands, one a line (docs/events.md). */
int device_run(const char *text, struct dlog_error *err);
/* The driver's text about @what, malloc()ed. */
int device_show(uint32_t what, char **text, struct dlog_error *err);
/* A value of /sys/class/misc/dlog, without its newline. */
int device_attribute(const char *name, char *value, size_t size);
/* What a system call on /dev/dlog or tracefs failed of. */
int device_failed(const char *what, int error, struct dlog_error *err);
/* All that is in the file at @name below @dir; malloc()ed, NUL-terminated. */
int read_file(int dir, const char *name, char **text);

/* table.c */
/*
 * Shows lines of tab-separated values whose first one names the columns, in
 * columns or as one JSON object a line.  With @glob only lines whose column
 * @key fits it.
 */
int table_show(struct sink *out, char *text, const struct options *o,
	       const char *key, const char *glob);
/* A member whose name tells whether it is a number, a yes or a text. */
void table_member(struct json *j, const char *name, const char *value);

/* status.c */
int status_show(struct sink *out, const struct options *o,
		struct dlog_error *err);

/* messages.c */
int messages_show(struct sink *out, const struct options *o,
		  struct dlog_error *err);
int mark(const struct words *w, const struct options *o,
	 struct dlog_error *err);

/* spec.c */
#define PROBE_NAME 64
#define PROBE_LINE 4096

/* A probe: its name, and the line that makes the kernel place it. */
struct spec {
	char name[PROBE_NAME];
	char line[PROBE_LINE];
};

int spec_parse(const char *text, struct spec *s, struct dlog_error *err);
/* "NAME", or "dlog:NAME" as the lists show it; NULL when it is none. */
const char *spec_name(const char *text);

/* elf.c */
enum elf_machine { MACHINE_X86_64 = 62, MACHINE_AARCH64 = 183 };

/*
 * Opens the program at @path, finds @symbol (NULL: only look at the file) and
 * gives its offset in the file and the machine.
 */
int elf_find(const char *path, const char *symbol, uint64_t *offset,
	     int *machine, struct dlog_error *err);

/* tracefs.c: @dir is from tracefs_open() or tracefs_lock(). */
int tracefs_open(struct dlog_error *err);
/* The same for who changes probes: one dlogctl at a time, until close(). */
int tracefs_lock(struct dlog_error *err);
bool tracefs_has_event(int dir, const char *name);
/* The kernel's events that fit @glob. */
int tracefs_list(struct sink *out, const struct options *o, const char *glob,
		 struct dlog_error *err);
int tracefs_place(int dir, const struct spec *s, struct dlog_error *err);
int tracefs_remove(int dir, const char *name, struct dlog_error *err);

/* probe.c: the probe's text is the words of @w with blanks between them. */
int probe_add(const struct words *w, const struct options *o, bool replace,
	      struct dlog_error *err);
int probe_remove(const struct words *w, const struct options *o,
		 struct dlog_error *err);
int probe_list(struct sink *out, const struct options *o, const char *glob,
	       struct dlog_error *err);
#define PROBE_OPTIONS "scoP"

/* apply.c */
int apply_file(const char *path, struct dlog_error *err);

/* The words with blanks between them; -E2BIG. */
int words_join(const struct words *w, char *to, size_t size,
	       struct dlog_error *err);

#endif
