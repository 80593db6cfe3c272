// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * qmp_call.c - QMP commands for worker threads, which may wait for them.
 *
 * The connection is the main thread's (qmp.c).  A worker hands its command
 * over with monitor_post() and waits, no longer than it wants to: a call has
 * two owners, and the one who is done last frees it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qmp.h"

#define TEXT_MAX (4u << 20)
#define DUMP_CALL_MS 5000 /* each command of a dump: none waits for its end */

struct qmp_call {
	pthread_mutex_t lock;
	pthread_cond_t done;
	int refs;
	bool answered;
	int error;
	json_t *result;
	struct qmp_vm *vm; /* a reference */
	const char *command;
	json_t *args; /* the main thread's, once posted */
	int fd; /* to pass, a copy of the worker's */
};

/* ---- both sides ---- */

static void call_put(struct qmp_call *c)
{
	if (__atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL))
		return;
	if (c->fd >= 0)
		close(c->fd);
	json_decref(c->args);
	json_decref(c->result);
	vm_put(&c->vm->vm);
	pthread_cond_destroy(&c->done);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

/* ---- main thread ---- */

void qmp_call_done(struct qmp_call *c, json_t *result, int error)
{
	pthread_mutex_lock(&c->lock);
	c->answered = true;
	c->error = error;
	c->result = json_incref(result);
	pthread_cond_signal(&c->done);
	pthread_mutex_unlock(&c->lock);
	call_put(c);
}

static void call_begin(void *arg)
{
	struct qmp_call *c = arg;
	json_t *args = c->args;
	int ret = -ENOTCONN;

	if (c->vm->q) {
		c->args = NULL;
		ret = qmp_send(c->vm->q, c->command, args, c->fd, c);
	}
	if (ret)
		qmp_call_done(c, NULL, ret);
}

/* ---- worker ---- */

static void deadline(struct timespec *ts, int timeout_ms)
{
	uint64_t ns = clock_ns(CLOCK_MONOTONIC) + (uint64_t)timeout_ms * MS;

	ts->tv_sec = (time_t)(ns / SECOND);
	ts->tv_nsec = (long)(ns % SECOND);
}

static struct qmp_call *call_new(struct vm *vm, const char *command,
				 json_t *args, int fd)
{
	struct qmp_call *c = calloc(1, sizeof(*c));
	pthread_condattr_t attr;

	if (!c) {
		json_decref(args);
		return NULL;
	}
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->done, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&c->lock, NULL);
	c->refs = 2;
	c->vm = (struct qmp_vm *)vm_get(vm);
	c->command = command;
	c->args = args;
	c->fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return c;
}

/* 0 and *@result (the caller's reference; NULL: not wanted), or -errno. */
static int call(struct vm *vm, const char *command, json_t *args, int fd,
		json_t **result, int timeout_ms)
{
	struct qmp_call *c = call_new(vm, command, args, fd);
	struct timespec until;
	int ret = 0;

	if (!c)
		return -ENOMEM;
	ret = monitor_post(c->vm->m, call_begin, c);
	if (ret) {
		call_put(c);
		call_put(c);
		return ret;
	}
	deadline(&until, timeout_ms);
	pthread_mutex_lock(&c->lock);
	while (!c->answered && !ret)
		ret = pthread_cond_timedwait(&c->done, &c->lock, &until);
	ret = c->answered ? c->error : -ETIMEDOUT;
	if (!ret && result)
		*result = json_incref(c->result);
	pthread_mutex_unlock(&c->lock);
	call_put(c);
	return ret;
}

/* ---- the operations ---- */

static int op_status(struct vm *vm, char *state, size_t size, int timeout_ms)
{
	json_t *r = NULL;
	const char *text;
	int ret = call(vm, "query-status", NULL, -1, &r, timeout_ms);

	if (ret)
		return ret;
	text = json_string_value(json_object_get(r, "status"));
	if (json_is_true(json_object_get(r, "running")))
		text = "running";
	else if (!text || !strcmp(text, "running"))
		text = "unknown";
	snprintf(state, size, "%s", text);
	json_decref(r);
	return 0;
}

static int op_nmi(struct vm *vm, int timeout_ms)
{
	return call(vm, "inject-nmi", NULL, -1, NULL, timeout_ms);
}

static int op_registers(struct vm *vm, char **text, int timeout_ms)
{
	json_t *args = json_pack("{s:s}", "command-line", "info registers -a");
	json_t *r = NULL;
	const char *s;
	int ret = call(vm, "human-monitor-command", args, -1, &r, timeout_ms);

	if (ret)
		return ret;
	s = json_string_value(r);
	*text = s ? strndup(s, TEXT_MAX) : NULL;
	json_decref(r);
	return *text ? 0 : s ? -ENOMEM : -EIO;
}

/* What there is of the answers; none is an error. */
static int op_describe(struct vm *vm, char **json, int timeout_ms)
{
	static const char *const ask[] = { "query-version",
					   "query-name",
					   "query-status",
					   "query-uuid",
					   "query-kvm",
					   "query-cpus-fast",
					   "query-memory-size-summary" };
	json_t *all = json_object();
	int ret = 0;

	if (!all)
		return -ENOMEM;
	for (size_t i = 0; i < sizeof(ask) / sizeof(ask[0]); i++) {
		json_t *r = NULL;

		ret = call(vm, ask[i], NULL, -1, &r, timeout_ms);
		if (ret == -ETIMEDOUT || ret == -ENOTCONN)
			break;
		if (!ret)
			json_object_set_new(all, ask[i] + 6, r);
	}
	json_object_set_new(all, "pid", json_integer(vm->pid));
	*json = json_dumps(all, JSON_COMPACT | JSON_ENSURE_ASCII);
	json_decref(all);
	if (!*json)
		return -ENOMEM;
	if (ret == -ETIMEDOUT || ret == -ENOTCONN) {
		free(*json);
		*json = NULL;
		return ret;
	}
	return 0;
}

static int op_memory(struct vm *vm, uint64_t *bytes, int timeout_ms)
{
	json_t *r = NULL;
	json_int_t base, plugged;
	int ret = call(vm, "query-memory-size-summary", NULL, -1, &r,
		       timeout_ms);

	if (ret)
		return ret;
	base = json_integer_value(json_object_get(r, "base-memory"));
	plugged = json_integer_value(json_object_get(r, "plugged-memory"));
	json_decref(r);
	if (base <= 0 || plugged < 0 || plugged > INT64_MAX - base)
		return -EIO;
	*bytes = (uint64_t)base + (uint64_t)plugged;
	return 0;
}

/* Has the dump ended?  1, 0: not yet, or a negative errno. */
static int dump_state(struct vm *vm, int timeout_ms)
{
	json_t *r = NULL;
	const char *text;
	int ret = call(vm, "query-dump", NULL, -1, &r, timeout_ms);

	if (ret)
		return ret;
	text = json_string_value(json_object_get(r, "status"));
	ret = !text			   ? -EIO
	      : !strcmp(text, "completed") ? 1
	      : !strcmp(text, "active")	   ? 0
					   : -EIO;
	json_decref(r);
	return ret;
}

/* Hand @fd to QEMU and have it begin; "detach" lets it answer meanwhile. */
static int dump_begin(struct vm *vm, int fd, int timeout_ms)
{
	static const char name[] = "dlog-dump";
	int ret = call(vm, "getfd", json_pack("{s:s}", "fdname", name), fd,
		       NULL, timeout_ms);
	bool has = !ret || ret == -ETIMEDOUT; /* it may come to it later */

	if (!ret)
		ret = call(vm, "dump-guest-memory",
			   json_pack("{s:b,s:s,s:b}", "paging", 0, "protocol",
				     "fd:dlog-dump", "detach", 1),
			   -1, NULL, timeout_ms);
	if (ret && ret != -ENOTCONN && has)
		call(vm, "closefd", json_pack("{s:s}", "fdname", name), -1,
		     NULL, timeout_ms);
	return ret;
}

/*
 * The file is made here and handed to QEMU, which may not be allowed to write
 * where we do.  When dlogd ends, every call fails and so this ends, too.
 */
static int op_dump(struct vm *vm, const char *path, int timeout_ms)
{
	uint64_t until = clock_ns(CLOCK_MONOTONIC) + (uint64_t)timeout_ms * MS;
	int each = timeout_ms < DUMP_CALL_MS ? timeout_ms : DUMP_CALL_MS;
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int ret;

	if (fd < 0)
		return -errno;
	ret = dump_begin(vm, fd, each);
	close(fd);
	while (!ret) {
		if (clock_ns(CLOCK_MONOTONIC) > until)
			return -ETIMEDOUT;
		usleep(100000);
		ret = dump_state(vm, each);
	}
	return ret < 0 ? ret : 0;
}

static int op_reset(struct vm *vm, int timeout_ms)
{
	return call(vm, "system_reset", NULL, -1, NULL, timeout_ms);
}

static int op_cont(struct vm *vm, int timeout_ms)
{
	return call(vm, "cont", NULL, -1, NULL, timeout_ms);
}

static void op_free(struct vm *vm)
{
	free(vm);
}

static const struct vm_ops ops = {
	.kind = "qmp",
	.status = op_status,
	.inject_nmi = op_nmi,
	.registers = op_registers,
	.describe = op_describe,
	.dump = op_dump,
	.memory = op_memory,
	.reset = op_reset,
	.cont = op_cont,
	.free = op_free,
};

struct qmp_vm *qmp_vm_new(struct qmp *q, struct monitor *m, pid_t pid)
{
	struct qmp_vm *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	v->vm.ops = &ops;
	v->vm.refs = 1;
	v->vm.pid = pid;
	v->m = m;
	v->q = q;
	return v;
}
