/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qmp.h - QMP, as docs/interop/qmp-spec.rst of QEMU has it: how a command
 * goes out, and a client that waits for each answer.
 *
 * Relies on jansson.  dlogd, which must not wait, has a client of its own
 * around the first two functions.
 */
#ifndef DLOG_QMP_H
#define DLOG_QMP_H

#include <jansson.h>

#include "dlog.h"

/* No line that QEMU sends is longer, by far. */
#define QMP_LINE_MAX (1u << 20)

/*
 * @command with @args (its reference is taken, NULL: none) and @id, as a line
 * of *@len bytes to be free()d, or NULL without memory.
 */
char *qmp_line(const char *command, json_t *args, uint64_t id, size_t *len);
/*
 * Send such a line on socket @sock together with the descriptor @fd.  It goes
 * at once and as a whole, or not: 0 or a negative errno.
 */
int qmp_pass_fd(int sock, const char *line, size_t len, int fd);

/* @text of the VMM's (NULL: "?") without what could steer a terminal. */
void qmp_plain(char *to, size_t size, const char *text);

/* ---- a client that waits ---- */

struct qmp_client;

/* An event, at @usec of the VMM's wall clock. */
typedef void qmp_event(void *arg, const char *name, uint64_t usec);

/*
 * Connect to the unix socket @path.  No answer takes longer than @timeout_ms.
 * -EINTR: a signal came, here and in the next one.
 */
int qmp_client_open(struct qmp_client **out, const char *path, int timeout_ms,
		    qmp_event *event, void *arg, struct dlog_error *err);
void qmp_client_close(struct qmp_client *c);
/*
 * One command, with @args and @fd (-1: none) as above.  0 and the caller's
 * reference in *@result (NULL: not wanted), or negative with a sentence;
 * -EREMOTEIO: the VMM refused.
 */
int qmp_client_call(struct qmp_client *c, const char *command, json_t *args,
		    int fd, json_t **result, struct dlog_error *err);
/* As qmp_client_call(), but signals do not end it: to leave things tidy. */
int qmp_client_tidy(struct qmp_client *c, const char *command,
		    struct dlog_error *err);

#endif
