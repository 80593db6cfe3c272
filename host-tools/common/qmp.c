// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * qmp.c - see qmp.h.
 *
 * The VMM may be in a guest's hands: a line has a limit, an answer a time,
 * and nothing is believed that does not have the type it should have.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "qmp.h"

/* ---- what goes out ---- */

char *qmp_line(const char *command, json_t *args, uint64_t id, size_t *len)
{
	json_t *m = json_pack("{s:s,s:I}", "execute", command, "id",
			      (json_int_t)id);
	char *text;

	if (args && m)
		json_object_set_new(m, "arguments", args);
	else
		json_decref(args);
	text = m ? json_dumps(m, JSON_COMPACT) : NULL;
	json_decref(m);
	if (text) {
		*len = strlen(text) + 1;
		text[*len - 1] = '\n'; /* in place of its NUL */
	}
	return text;
}

int qmp_pass_fd(int sock, const char *line, size_t len, int fd)
{
	struct iovec iov = { .iov_base = (void *)line, .iov_len = len };
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} u = { .buf = { 0 } };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = u.buf,
			      .msg_controllen = sizeof(u.buf) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	return sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)len
		       ? 0
		       : -EIO;
}

void qmp_plain(char *to, size_t size, const char *text)
{
	size_t n = 0;

	for (text = text ? text : "?"; *text && n + 1 < size; text++)
		to[n++] = *text < ' ' || *text > '~' ? '?' : *text;
	to[n] = 0;
}

/* ---- a client that waits ---- */

struct qmp_client {
	int fd, timeout_ms;
	uint64_t id, until; /* @until: CLOCK_MONOTONIC, ms */
	bool tidy; /* signals are no reason to stop */
	char *path, *in;
	size_t in_len, scanned; /* no line ends before @scanned */
	qmp_event *event;
	void *arg;
};

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* 0 when there is something to read. */
static int wait_input(struct qmp_client *c)
{
	struct pollfd p = { .fd = c->fd, .events = POLLIN };
	uint64_t now;
	int n;

	do {
		now = now_ms();
		n = poll(&p, 1, now < c->until ? (int)(c->until - now) : 0);
	} while (n < 0 && errno == EINTR && c->tidy);
	return n > 0 ? 0 : n ? -errno : -ETIMEDOUT;
}

/* Take what there is into c->in. */
static int read_some(struct qmp_client *c)
{
	ssize_t n;
	int ret = wait_input(c);

	if (ret)
		return ret;
	if (c->in_len == QMP_LINE_MAX)
		return -EMSGSIZE;
	n = recv(c->fd, c->in + c->in_len, QMP_LINE_MAX - c->in_len,
		 MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	c->in_len += (size_t)n;
	return n ? 0 : -ECONNRESET;
}

/* The next message, a reference of the caller's. */
static int next_message(struct qmp_client *c, json_t **m)
{
	char *end;
	int ret;

	while (!(end = memchr(c->in + c->scanned, '\n',
			      c->in_len - c->scanned))) {
		c->scanned = c->in_len;
		ret = read_some(c);
		if (ret)
			return ret;
	}
	*m = json_loadb(c->in, (size_t)(end - c->in), JSON_REJECT_DUPLICATES,
			NULL);
	c->in_len -= (size_t)(end + 1 - c->in);
	c->scanned = 0;
	memmove(c->in, end + 1, c->in_len);
	if (json_is_object(*m))
		return 0;
	json_decref(*m);
	return -EPROTO;
}

static void on_event(struct qmp_client *c, const char *name, const json_t *m)
{
	const json_t *ts = json_object_get(m, "timestamp");
	json_int_t s = json_integer_value(json_object_get(ts, "seconds"));
	json_int_t us = json_integer_value(json_object_get(ts, "microseconds"));

	if (c->event)
		c->event(c->arg, name, (uint64_t)s * 1000000 + (uint64_t)us);
}

static int why(const struct qmp_client *c, int ret, const char *what,
	       struct dlog_error *err)
{
	switch (ret) {
	case -ETIMEDOUT:
		return fail(err, ret,
			    "%s: QEMU does not answer %s. It talks to one "
			    "program at a time: is another connected there?",
			    c->path, what);
	case -ECONNRESET:
		return fail(err, ret, "%s: QEMU has ended.", c->path);
	case -EINTR:
		return fail(err, ret, "%s: interrupted.", c->path);
	case -EPROTO:
	case -EMSGSIZE:
		return fail(err, ret, "%s: what comes from there is no QMP.",
			    c->path);
	default:
		return fail(err, ret, "%s: %s.", c->path, strerror(-ret));
	}
}

/* The answer to command number c->id. */
static int wait_answer(struct qmp_client *c, const char *command,
		       json_t **result, struct dlog_error *err)
{
	const char *event;
	json_t *m, *r;
	int ret;

	for (;;) {
		ret = next_message(c, &m);
		if (ret)
			return why(c, ret, command, err);
		event = json_string_value(json_object_get(m, "event"));
		if (event)
			on_event(c, event, m);
		if (!event && (uint64_t)json_integer_value(
				      json_object_get(m, "id")) == c->id)
			break;
		json_decref(m);
	}
	r = json_object_get(m, "return");
	if (!r) {
		char desc[200];

		qmp_plain(desc, sizeof(desc),
			  json_string_value(json_object_get(
				  json_object_get(m, "error"), "desc")));
		ret = fail(err, -EREMOTEIO, "%s: QEMU refuses %s: %s.", c->path,
			   command, desc);
	} else if (result) {
		*result = json_incref(r);
	}
	json_decref(m);
	return ret;
}

static int send_all(struct qmp_client *c, const char *line, size_t len)
{
	while (len) {
		ssize_t n = send(c->fd, line, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		line += n;
		len -= (size_t)n;
	}
	return 0;
}

int qmp_client_call(struct qmp_client *c, const char *command, json_t *args,
		    int fd, json_t **result, struct dlog_error *err)
{
	size_t len = 0;
	char *line = qmp_line(command, args, ++c->id, &len);
	int ret;

	if (!line)
		return why(c, -ENOMEM, command, err);
	c->until = now_ms() + (uint64_t)c->timeout_ms;
	ret = fd < 0 ? send_all(c, line, len)
		     : qmp_pass_fd(c->fd, line, len, fd);
	free(line);
	if (ret == -EPIPE)
		ret = -ECONNRESET;
	return ret ? why(c, ret, command, err)
		   : wait_answer(c, command, result, err);
}

int qmp_client_tidy(struct qmp_client *c, const char *command,
		    struct dlog_error *err)
{
	int ret;

	c->tidy = true;
	ret = qmp_client_call(c, command, NULL, -1, NULL, err);
	c->tidy = false;
	return ret;
}

/* ---- life ---- */

static int connect_to(struct qmp_client *c, struct dlog_error *err)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct timeval limit;

	if (strlen(c->path) >= sizeof(sa.sun_path))
		return fail(err, -ENAMETOOLONG,
			    "%s: too long for a socket's name.", c->path);
	strcpy(sa.sun_path, c->path);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return why(c, -errno, "", err);
	/* It waits where as many wait already as QEMU lets. */
	limit.tv_sec = c->timeout_ms / 1000;
	limit.tv_usec = c->timeout_ms % 1000 * 1000;
	setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (!connect(c->fd, (struct sockaddr *)&sa, sizeof(sa)))
		return 0;
	if (errno == EAGAIN)
		return fail(err, -ETIMEDOUT,
			    "%s: QEMU does not answer: does another program "
			    "speak with it there?",
			    c->path);
	if (errno == ECONNREFUSED)
		return fail(err, -ECONNREFUSED,
			    "%s: nobody listens there: QEMU has ended, or was "
			    "started without it.",
			    c->path);
	return fail(err, -errno, "Cannot connect to %s: %s.", c->path,
		    strerror(errno));
}

static int greet(struct qmp_client *c, struct dlog_error *err)
{
	json_t *m = NULL;
	int ret;

	c->until = now_ms() + (uint64_t)c->timeout_ms;
	ret = next_message(c, &m);
	if (!ret && !json_object_get(m, "QMP"))
		ret = -EPROTO;
	json_decref(m);
	if (ret)
		return why(c, ret, "with a greeting", err);
	return qmp_client_call(c, "qmp_capabilities", NULL, -1, NULL, err);
}

int qmp_client_open(struct qmp_client **out, const char *path, int timeout_ms,
		    qmp_event *event, void *arg, struct dlog_error *err)
{
	struct qmp_client *c = calloc(1, sizeof(*c));
	int ret = -ENOMEM;

	if (!c)
		return fail(err, ret, "No memory to talk to QEMU.");
	c->fd = -1;
	c->timeout_ms = timeout_ms;
	c->event = event;
	c->arg = arg;
	c->path = strdup(path);
	c->in = malloc(QMP_LINE_MAX);
	if (!c->path || !c->in)
		fail(err, ret, "No memory to talk to QEMU.");
	else
		ret = connect_to(c, err);
	if (!ret)
		ret = greet(c, err);
	if (ret) {
		qmp_client_close(c);
		return ret;
	}
	*out = c;
	return 0;
}

void qmp_client_close(struct qmp_client *c)
{
	if (!c)
		return;
	if (c->fd >= 0)
		close(c->fd);
	free(c->path);
	free(c->in);
	free(c);
}
