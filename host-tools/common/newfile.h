/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * newfile.h - what a program needs whose output appears whole or not at all:
 * it is written under another name, which is taken away again when a signal
 * ends the program before all is written.
 */
#ifndef DLOG_NEWFILE_H
#define DLOG_NEWFILE_H

#include <stdbool.h>

/*
 * Rename the file @temp to @path, only while nothing has that name: 0, or
 * -EEXIST or another negative errno, and @temp is still there.
 */
int newfile_take_free(const char *temp, const char *path);
/*
 * 1 if the file @path, which is no symbolic link, begins as regions do: those
 * are never replaced.  0 if not, or a negative errno.
 */
int newfile_is_region(const char *path);

/*
 * From now on signals that would end the program (SIGPIPE too, and a file
 * larger than its limit) only interrupt its system calls.  Those that are
 * ignored stay so.
 */
void newfile_catch_signals(void);
/* The one that came since, or 0: nothing more is written then. */
int newfile_signal(void);
/*
 * Signals end the program again.  If one came this does not come back: it
 * takes effect now.
 */
void newfile_release_signals(void);

#endif
