// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * qmp.c - a QMP client on the main loop: connection, greeting, events.
 *
 * The peer is hostile: a line has a limit, so have the lines of a second, and
 * nothing is believed that does not have the type it should have.  What is no
 * QMP ends the connection; the next one comes after a pause that grows.
 *
 * QEMU serves one client at a time and lets others wait unanswered: a missing
 * greeting is told once and waited for.  When a connection ends without a
 * SHUTDOWN before it, a second one tells whether the VMM has gone: it is
 * refused then.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "qmp.h"

#define READ_SIZE 65536u
#define LINES_PER_SECOND 2000u
#define PENDING_MAX 64u
#define OUT_MAX 65536u
#define RETRY_MIN (100 * MS)
#define RETRY_MAX (5 * SECOND)
#define PATIENCE (5 * SECOND) /* for greeting and first answers */

enum phase { IDLE, GREETING, NEGOTIATING, ASKING, READY };

struct pending {
	uint64_t id;
	struct qmp_call *call; /* NULL: our own question */
	struct pending *next;
};

struct qmp {
	struct monitor *m;
	struct guest *g;
	char *path;
	enum phase phase;
	int fd;
	sd_event_source *io, *timer;
	char *in;
	size_t in_len, in_size, scanned; /* scanned: no line ends before */
	char *out;
	size_t out_len;
	struct pending *pending;
	uint32_t nr_pending;
	uint64_t next_id;
	pid_t pid; /* of the VMM that was connected last */
	struct qmp_vm *vm; /* we keep one reference while connected */
	bool orphan; /* a connection has ended: has the VMM? */
	bool throttled;
	uint64_t retry, since, window;
	uint32_t lines; /* in this window */
	char complaint[128]; /* told last */
};

/* ---- timers, complaints ---- */

static void wake_in(struct qmp *q, uint64_t ns)
{
	sd_event_source_set_time_relative(q->timer, ns / 1000);
	sd_event_source_set_enabled(q->timer, SD_EVENT_ONESHOT);
}

/* The same is not told again until all was well in between. */
static void complain(struct qmp *q, const char *what)
{
	if (!strcmp(q->complaint, what))
		return;
	snprintf(q->complaint, sizeof(q->complaint), "%s", what);
	log_(LOG_WARNING, "guest %s: %s: %s", q->g->name, q->path, what);
}

/* ---- the end of a connection ---- */

static void drop_pending(struct qmp *q)
{
	while (q->pending) {
		struct pending *p = q->pending;

		q->pending = p->next;
		if (p->call)
			qmp_call_done(p->call, NULL, -ENOTCONN);
		free(p);
	}
	q->nr_pending = 0;
}

static void disconnect(struct qmp *q)
{
	bool was_ready = q->phase == READY;

	if (q->fd < 0)
		return;
	q->io = sd_event_source_disable_unref(q->io);
	close(q->fd);
	q->fd = -1;
	q->phase = IDLE;
	q->in_len = q->out_len = q->scanned = 0;
	free(q->in);
	free(q->out);
	q->in = q->out = NULL;
	q->in_size = 0;
	q->throttled = false;
	if (q->vm) {
		q->vm->q = NULL;
		if (q->g->vm == &q->vm->vm)
			guest_set_vm(q->g, NULL);
		vm_put(&q->vm->vm);
		q->vm = NULL;
	}
	drop_pending(q);
	if (was_ready && !q->g->shutdown_seen)
		q->orphan = true;
}

/* Come back later: soon the first time, then less and less often. */
static void retry_later(struct qmp *q)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);

	disconnect(q);
	/* It was well for a while: what went wrong before is over. */
	if (q->since && now - q->since > RETRY_MAX) {
		q->retry = 0;
		q->complaint[0] = 0;
	}
	q->since = 0;
	q->retry = q->retry ? q->retry * 2 : RETRY_MIN;
	if (q->retry > RETRY_MAX)
		q->retry = RETRY_MAX;
	wake_in(q, q->retry);
}

static void fail(struct qmp *q, const char *what)
{
	complain(q, what);
	retry_later(q);
}

static void vmm_gone(struct qmp *q, const char *how)
{
	q->orphan = false;
	q->pid = 0;
	watch_guest(q->g); /* its last beat is no sign of life */
	guest_event(q->g, EV_VMM_GONE, how);
}

/* ---- sending ---- */

static void flush(struct qmp *q)
{
	ssize_t n = q->out_len ? send(q->fd, q->out, q->out_len,
				      MSG_NOSIGNAL | MSG_DONTWAIT)
			       : 0;

	if (n > 0) {
		q->out_len -= (size_t)n;
		memmove(q->out, q->out + n, q->out_len);
	}
	/* Errors show when we read. */
	sd_event_source_set_io_events(q->io,
				      (q->throttled ? 0 : EPOLLIN) |
					      (q->out_len ? EPOLLOUT : 0));
}

static int send_text(struct qmp *q, const char *text, size_t len, int fd)
{
	char *more;

	/* A descriptor goes with its first byte: nothing may wait before. */
	if (fd >= 0)
		return q->out_len ? -EBUSY : qmp_pass_fd(q->fd, text, len, fd);
	if (q->out_len + len > OUT_MAX)
		return -EBUSY;
	more = realloc(q->out, q->out_len + len);
	if (!more)
		return -ENOMEM;
	q->out = more;
	memcpy(q->out + q->out_len, text, len);
	q->out_len += len;
	flush(q);
	return 0;
}

int qmp_send(struct qmp *q, const char *command, json_t *args, int fd,
	     struct qmp_call *call)
{
	struct pending *p = calloc(1, sizeof(*p));
	size_t len = 0;
	char *text = qmp_line(command, args, ++q->next_id, &len);
	int ret = -ENOMEM;

	if (q->fd < 0)
		ret = -ENOTCONN;
	else if (q->nr_pending >= PENDING_MAX)
		ret = -EBUSY;
	else if (p && text)
		ret = send_text(q, text, len, fd);
	free(text);
	if (ret) {
		free(p);
		return ret;
	}
	p->id = q->next_id;
	p->call = call;
	p->next = q->pending;
	q->pending = p;
	q->nr_pending++;
	return 0;
}

/* ---- events ---- */

static const char *text_of(const json_t *data, const char *key)
{
	const char *text = json_string_value(json_object_get(data, key));

	return text ? text : "?";
}

/* Is a guest that resets now one that said so? */
static void on_reset(struct guest *g, const json_t *data)
{
	bool guest = json_is_true(json_object_get(data, "guest"));
	char detail[128];

	watch_guest(g); /* its last word may be newer than our last look */
	snprintf(detail, sizeof(detail), "%.60s%s", text_of(data, "reason"),
		 g->live.status == DLOG_ST_PANIC ? ", after its panic"
		 : !guest || !g->live.boot	 ? ""
		 : guest_end_announced(g)	 ? ""
						 : ", without a word");
	g->shutdown_seen = false;
	if (guest && (!g->live.boot || g->rebooting || guest_end_announced(g) ||
		      g->live.status == DLOG_ST_PANIC))
		guest_event(g, EV_REBOOT, detail);
	else
		guest_event(g, EV_RESET, detail);
}

static void on_shutdown(struct guest *g, const json_t *data)
{
	bool guest = json_is_true(json_object_get(data, "guest"));
	char detail[128];

	watch_guest(g);
	snprintf(detail, sizeof(detail), "%s: %.60s",
		 guest ? "by the guest" : "by the host",
		 text_of(data, "reason"));
	g->shutdown_seen = true;
	guest_event(g, EV_SHUTDOWN, detail);
}

static void on_running(struct guest *g, bool running)
{
	g->vm_running = running;
	g->resumed = clock_ns(CLOCK_MONOTONIC);
	guest_event(g, running ? EV_RESUMED : EV_PAUSED, NULL);
}

static void on_event(struct qmp *q, const char *name, const json_t *data)
{
	struct guest *g = q->g;
	char detail[128];

	snprintf(detail, sizeof(detail), "action %.60s",
		 text_of(data, "action"));
	if (!strcmp(name, "STOP"))
		on_running(g, false);
	else if (!strcmp(name, "RESUME"))
		on_running(g, true);
	else if (!strcmp(name, "RESET"))
		on_reset(g, data);
	else if (!strcmp(name, "SHUTDOWN"))
		on_shutdown(g, data);
	else if (!strcmp(name, "GUEST_PANICKED"))
		guest_event(g, EV_PANICKED, detail);
	else if (!strcmp(name, "GUEST_CRASHLOADED"))
		guest_event(g, EV_CRASH_LOADED, detail);
	else if (!strcmp(name, "WATCHDOG"))
		guest_event(g, EV_WATCHDOG, detail);
}

/* ---- messages ---- */

/* The first answer to query-status: from here on the VMM can be asked. */
static void on_status(struct qmp *q, const json_t *result)
{
	struct guest *g = q->g;
	bool running = json_is_true(json_object_get(result, "running"));
	const char *status = text_of(result, "status");
	bool same = q->orphan;

	q->orphan = false;
	q->phase = READY;
	q->since = clock_ns(CLOCK_MONOTONIC);
	sd_event_source_set_enabled(q->timer, SD_EVENT_OFF);
	q->vm = qmp_vm_new(q, q->m, q->pid);
	if (!q->vm) {
		fail(q, "out of memory");
		return;
	}
	g->vm_running = running;
	guest_set_vm(g, vm_get(&q->vm->vm));
	log_(same ? LOG_DEBUG : LOG_INFO, "guest %s: QMP at %s%s, %.32s",
	     g->name, q->path, same ? " again" : "", status);
	if (!strcmp(status, "guest-panicked"))
		guest_event(g, EV_PANICKED, "its VMM says so");
	else if (!running)
		guest_event(g, EV_PAUSED, status);
}

/* In the VMM's own words; an older one need not know every command. */
static int why_refused(const struct qmp *q, const json_t *error)
{
	bool unknown = !strcmp(text_of(error, "class"), "CommandNotFound");

	log_(unknown ? LOG_DEBUG : LOG_WARNING, "guest %s: QMP: %.200s",
	     q->g->name, text_of(error, "desc"));
	return unknown ? -EOPNOTSUPP : -EIO;
}

static void on_answer(struct qmp *q, const json_t *m)
{
	uint64_t id = (uint64_t)json_integer_value(json_object_get(m, "id"));
	json_t *result = json_object_get(m, "return");
	const json_t *error = json_object_get(m, "error");
	struct pending **at = &q->pending, *p;

	while (*at && (*at)->id != id)
		at = &(*at)->next;
	p = *at;
	if (!p)
		return; /* whoever asked was tired of waiting */
	*at = p->next;
	q->nr_pending--;
	if (p->call) {
		qmp_call_done(p->call, result,
			      result ? 0 : why_refused(q, error));
	} else if (!result) {
		fail(q, "refuses to talk QMP");
	} else if (q->phase == NEGOTIATING) {
		q->phase = ASKING;
		if (qmp_send(q, "query-status", NULL, -1, NULL))
			fail(q, "takes no commands");
	} else if (q->phase == ASKING) {
		on_status(q, result);
	}
	free(p);
}

static void on_message(struct qmp *q, const json_t *m)
{
	const char *event = json_string_value(json_object_get(m, "event"));
	char *text;

	if (q->phase == GREETING) {
		if (!json_is_object(json_object_get(m, "QMP"))) {
			fail(q, "does not greet as QMP does");
			return;
		}
		q->phase = NEGOTIATING;
		if (qmp_send(q, "qmp_capabilities", NULL, -1, NULL))
			fail(q, "takes no commands");
	} else if (event) {
		text = json_dumps(m, JSON_COMPACT | JSON_ENSURE_ASCII);
		if (text)
			guest_history(q->g, text, strlen(text));
		free(text);
		on_event(q, event, json_object_get(m, "data"));
	} else {
		on_answer(q, m);
	}
}

static void on_line(struct qmp *q, const char *line, size_t len)
{
	json_t *m;

	while (len && (line[len - 1] == '\r' || line[len - 1] == ' '))
		len--;
	if (!len)
		return;
	m = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	if (json_is_object(m))
		on_message(q, m);
	else
		fail(q, "sends what is no QMP");
	json_decref(m);
}

/* ---- reading ---- */

/* True: enough for this second. */
static bool over_rate(struct qmp *q)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);

	if (now - q->window > SECOND) {
		q->window = now;
		q->lines = 0;
	}
	return ++q->lines > LINES_PER_SECOND;
}

static void throttle(struct qmp *q)
{
	complain(q, "sends more than can be of use; it is read more slowly");
	q->throttled = true;
	flush(q);
	wake_in(q, SECOND / 2);
}

/* Take the lines that are there; the connection may end on the way. */
static void take_lines(struct qmp *q)
{
	size_t from = 0;
	char *end;

	while ((end = q->in_len > q->scanned ? memchr(q->in + q->scanned, '\n',
						      q->in_len - q->scanned)
					     : NULL)) {
		size_t len = (size_t)(end - q->in) - from;

		if (over_rate(q)) {
			throttle(q);
			break;
		}
		on_line(q, q->in + from, len);
		if (q->fd < 0)
			return;
		from += len + 1;
		q->scanned = from;
	}
	if (!end)
		q->scanned = q->in_len;
	q->scanned -= from;
	q->in_len -= from;
	memmove(q->in, q->in + from, q->in_len);
	if (!q->in_len && q->in_size > READ_SIZE) {
		free(q->in);
		q->in = NULL;
		q->in_size = 0;
	}
}

static int make_room(struct qmp *q)
{
	size_t size = q->in_size ? q->in_size : 4096;
	char *more;

	if (q->in_size - q->in_len >= 2048)
		return 0;
	while (size - q->in_len < 2048)
		size *= 2;
	more = realloc(q->in, size);
	if (!more)
		return -ENOMEM;
	q->in = more;
	q->in_size = size;
	return 0;
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct qmp *q = arg;
	size_t room;
	ssize_t n;

	(void)s;
	if (revents & EPOLLOUT)
		flush(q);
	/* While throttled only the end of the connection comes through. */
	if (!(revents & (EPOLLIN | EPOLLHUP | EPOLLERR)) ||
	    (q->throttled && !(revents & (EPOLLHUP | EPOLLERR))))
		return 0;
	if (make_room(q)) {
		fail(q, "out of memory");
		return 0;
	}
	room = q->in_size - q->in_len;
	n = recv(fd, q->in + q->in_len, room < READ_SIZE ? room : READ_SIZE,
		 MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		retry_later(q);
		return 0;
	}
	q->in_len += (size_t)n;
	take_lines(q);
	if (q->fd >= 0 && q->in_len > QMP_LINE_MAX)
		fail(q, "sends a line without an end");
	return 0;
}

/* ---- connecting ---- */

/* Nobody listens there, which may be the answer to our question. */
static void on_refused(struct qmp *q, int error)
{
	/* EAGAIN: others wait to be served, so somebody is there. */
	if (q->orphan && (error == ENOENT || error == ECONNREFUSED))
		vmm_gone(q, "its QMP socket was closed without a shutdown");
	if (!q->orphan)
		q->pid = 0;
	if (error != ENOENT && error != ECONNREFUSED)
		complain(q, strerror(error));
	retry_later(q);
}

static void connected(struct qmp *q)
{
	struct ucred peer = { .pid = 0 };
	socklen_t len = sizeof(peer);

	getsockopt(q->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);
	/* Another VMM under the same name: the one we knew is gone. */
	if (q->orphan && peer.pid != q->pid)
		vmm_gone(q, "another one has taken its place");
	q->pid = peer.pid;
	q->phase = GREETING;
	wake_in(q, PATIENCE);
}

static void connect_now(struct qmp *q)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	disconnect(q);
	if (strlen(q->path) >= sizeof(sa.sun_path)) {
		complain(q, "is too long for a socket's name");
		return;
	}
	strcpy(sa.sun_path, q->path);
	q->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (q->fd < 0) {
		fail(q, strerror(errno));
		return;
	}
	if (connect(q->fd, (struct sockaddr *)&sa, sizeof(sa))) {
		int error = errno;

		close(q->fd);
		q->fd = -1;
		on_refused(q, error);
		return;
	}
	if (sd_event_add_io(q->m->loop, &q->io, q->fd, EPOLLIN, on_io, q) < 0) {
		close(q->fd);
		q->fd = -1;
		fail(q, "cannot be waited for");
		return;
	}
	connected(q);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *arg)
{
	struct qmp *q = arg;

	(void)s, (void)usec;
	if (q->throttled) {
		q->throttled = false;
		q->window = 0;
		flush(q);
		take_lines(q);
	} else if (q->phase == IDLE) {
		connect_now(q);
	} else if (q->phase == GREETING) {
		complain(
			q,
			"no greeting yet; is another program connected to it?");
	} else if (q->phase != READY) {
		complain(q, "does not answer");
	}
	return 0;
}

/* ---- life ---- */

int qmp_open(struct qmp **out, struct guest *g, const char *path)
{
	struct qmp *q = calloc(1, sizeof(*q));
	int ret = -ENOMEM;

	*out = NULL;
	if (!q)
		return ret;
	q->m = g->m;
	q->g = g;
	q->fd = -1;
	q->path = strdup(path);
	if (q->path)
		ret = sd_event_add_time_relative(q->m->loop, &q->timer,
						 CLOCK_MONOTONIC, 0, 10000,
						 on_timer, q);
	if (ret < 0) {
		free(q->path);
		free(q);
		return ret;
	}
	g->users++;
	*out = q;
	return 0;
}

void qmp_close(struct qmp *q)
{
	if (!q)
		return;
	disconnect(q);
	q->g->users--;
	sd_event_source_disable_unref(q->timer);
	free(q->path);
	free(q);
}

void qmp_retry(struct qmp *q)
{
	if (q->phase != IDLE)
		return;
	q->retry = 0;
	wake_in(q, 0);
}

bool qmp_busy(const struct qmp *q)
{
	return q->phase != IDLE || q->orphan;
}
