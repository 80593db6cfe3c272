// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * control.c - the socket where libvirt's hook says what libvirt does with a
 * domain: datagrams, each one JSON object,
 *
 *	{"guest": NAME, "op": "prepare" | "start" | "stopped" | "release" |
 *	 "crashed", "region": PATH, "reason": TEXT}
 * the last two may be left out
 *
 * The hook never waits for us, and we answer nothing.  Only root and who we
 * are ourselves may say something, by the kernel's word (SCM_CREDENTIALS).
 * What a VMM tells by itself goes before the hook's word: that only helps
 * where there is nothing else.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "../monitor.h"

#define MESSAGE_MAX 8192u
#define MESSAGES_AT_ONCE 64

struct control {
	struct monitor *m;
	int fd;
	sd_event_source *io;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

/* ---- what is said ---- */

static void set_region(struct guest *g, const char *path)
{
	struct stat st;

	if (!path || g->region)
		return; /* what was found on the disk is right */
	if (*path != '/' || stat(path, &st) || !S_ISREG(st.st_mode)) {
		log_(LOG_WARNING, "guest %s: control: %.300s is no region file",
		     g->name, path);
		return;
	}
	guest_set_region(g, path);
}

static void crashed(struct guest *g)
{
	if (g->live.status == DLOG_ST_PANIC)
		guest_event(g, EV_PANICKED, "libvirt says crashed");
	else
		guest_event(g, EV_VMM_GONE, "libvirt says crashed");
}

/* @reason: libvirt's, from 10.5 on; before that NULL or "-". */
static void stopped(struct guest *g, const char *reason)
{
	if (!g->alive || g->vm)
		return;
	if (reason && !strcmp(reason, "failed"))
		guest_event(g, EV_VMM_GONE, "libvirt says failed");
	else
		guest_event(g, EV_SHUTDOWN, "libvirt says stopped");
}

static int do_op(struct guest *g, const char *op, const char *region,
		 const char *reason)
{
	if (!strcmp(op, "prepare") || !strcmp(op, "start")) {
		set_region(g, region);
		if (*op == 's')
			guest_event(g, EV_STARTED, "by libvirt");
	} else if (!strcmp(op, "stopped")) {
		watch_guest(g);
		stopped(g, reason);
	} else if (!strcmp(op, "crashed")) {
		watch_guest(g);
		if (!g->vm)
			crashed(g);
	} else if (strcmp(op, "started") && strcmp(op, "release")) {
		return -EINVAL;
	}
	return 0;
}

static void message(struct control *c, const char *text, size_t len)
{
	json_t *m = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	const char *name = json_string_value(json_object_get(m, "guest"));
	const char *op = json_string_value(json_object_get(m, "op"));
	json_t *region = json_object_get(m, "region");
	struct guest *g;
	char *line;

	if (!name || !op ||
	    (region && !json_is_string(region) && !json_is_null(region))) {
		log_(LOG_WARNING,
		     "control: a message without guest or op, or no JSON");
		goto out;
	}
	g = guest_find(c->m, name, true);
	if (!g)
		goto out;
	line = json_dumps(m, JSON_COMPACT | JSON_ENSURE_ASCII);
	if (line)
		guest_history(g, line, strlen(line));
	free(line);
	if (do_op(g, op, json_string_value(region),
		  json_string_value(json_object_get(m, "reason"))))
		log_(LOG_WARNING, "guest %s: control: unknown op '%.40s'", name,
		     op);
	else
		log_(LOG_DEBUG, "guest %s: control: %s", name, op);
out:
	json_decref(m);
}

/* ---- the socket ---- */

/* One datagram, or false when there is none. */
static bool receive(struct control *c)
{
	char text[MESSAGE_MAX];
	struct iovec iov = { .iov_base = text, .iov_len = sizeof(text) };
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(struct ucred))];
	} u;
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = u.buf,
			      .msg_controllen = sizeof(u.buf) };
	ssize_t n = recvmsg(c->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *h = n < 0 ? NULL : CMSG_FIRSTHDR(&msg);
	struct ucred who = { .uid = (uid_t)-1 };

	if (n < 0)
		return false;
	if (h && h->cmsg_level == SOL_SOCKET &&
	    h->cmsg_type == SCM_CREDENTIALS &&
	    h->cmsg_len == CMSG_LEN(sizeof(who)))
		memcpy(&who, CMSG_DATA(h), sizeof(who));
	if (who.uid && who.uid != geteuid())
		log_(LOG_WARNING,
		     "control: a message of user %u is not listened to",
		     who.uid);
	else if (msg.msg_flags & MSG_TRUNC)
		log_(LOG_WARNING, "control: a message longer than %u bytes",
		     MESSAGE_MAX);
	else
		message(c, text, (size_t)n);
	return true;
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	(void)s, (void)fd, (void)revents;
	for (int i = 0; i < MESSAGES_AT_ONCE; i++)
		if (!receive(arg))
			break;
	return 0;
}

/* Does somebody listen at @sa?  A socket that nobody has is in the way. */
static bool in_use(const struct sockaddr_un *sa)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool used = fd >= 0 &&
		    !connect(fd, (const struct sockaddr *)sa, sizeof(*sa));

	if (fd >= 0)
		close(fd);
	return used;
}

static int open_socket(struct control *c, const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	const int on = 1;
	char dir[sizeof(sa.sun_path)], *slash;
	struct stat st;

	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	strcpy(sa.sun_path, path);
	strcpy(dir, path);
	slash = strrchr(dir, '/');
	if (slash && slash != dir) {
		*slash = 0;
		if (mkdir(dir, 0755) && errno != EEXIST)
			return -errno;
	}
	if (!lstat(path, &st)) {
		if (!S_ISSOCK(st.st_mode))
			return -EEXIST;
		if (in_use(&sa))
			return -EADDRINUSE;
		unlink(path);
	}
	c->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0 ||
	    setsockopt(c->fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) ||
	    bind(c->fd, (struct sockaddr *)&sa, sizeof(sa)))
		return -errno;
	strcpy(c->path, path);
	return sd_event_add_io(c->m->loop, &c->io, c->fd, EPOLLIN, on_io, c);
}

/* Without the socket there is less to hear, but no reason not to start. */
int control_start(struct monitor *m)
{
	const char *path = m->cfg.control;
	struct control *c;
	int ret;

	if (!*path)
		return 0;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	m->control = c;
	c->m = m;
	c->fd = -1;
	ret = open_socket(c, path);
	if (ret < 0) {
		log_(LOG_WARNING,
		     "control socket %s: %s; libvirt's hook is not heard, choose another place with --control",
		     path, strerror(-ret));
		control_stop(m);
	}
	return 0;
}

void control_stop(struct monitor *m)
{
	struct control *c = m->control;

	if (!c)
		return;
	sd_event_source_disable_unref(c->io);
	if (c->fd >= 0)
		close(c->fd);
	if (*c->path)
		unlink(c->path);
	free(c);
	m->control = NULL;
}
