/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qmp.h - what the two halves of the QMP client share: qmp.c has the
 * connection and the events, qmp_call.c the commands that workers give.
 *
 * Follows docs/interop/qmp-spec.rst of QEMU.
 */
#ifndef DLOG_MONITOR_QMP_H
#define DLOG_MONITOR_QMP_H

#include "../monitor.h"
#include "common/qmp.h"

struct qmp_call;

/*
 * One VMM as it is known by one connection.  Outlives the connection while a
 * worker holds it; then every call fails.
 */
struct qmp_vm {
	struct vm vm;
	struct monitor *m;
	struct qmp *q; /* main thread only; NULL: the connection is gone */
};

/*
 * Send @command with @args (its reference is taken, NULL: none) and with the
 * descriptor @fd (-1: none); @call is answered by qmp_call_done(), NULL:
 * nobody waits.  Main thread.  0 or a negative errno.
 */
int qmp_send(struct qmp *q, const char *command, json_t *args, int fd,
	     struct qmp_call *call);

/* A new handle with one reference. */
struct qmp_vm *qmp_vm_new(struct qmp *q, struct monitor *m, pid_t pid);
/*
 * The answer to @call: what the VMM returned, or @error.  Main thread; takes
 * no reference of @result, gives up the main thread's of @call.
 */
void qmp_call_done(struct qmp_call *call, json_t *result, int error);

#endif
