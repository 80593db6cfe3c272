// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * watch.c - told of the next store into a region, by the socket FILE.watch.
 *
 * The QEMU plugin listens there (dlog_watch.h).  The reader looks once a
 * second whatever is said; so the worst that a peer can do is to wake us for
 * nothing, so often, or to let us sleep for a second.  One that does not
 * answer, or not as it should, is not asked again for a while, and the file
 * is looked at as if there was none.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "dlog_watch.h"
#include "internal.h"

#define RETRY_NS 1000000000u /* between tries to connect */
#define ANSWER_NS 1000000000u
/* Before one that was silent, said nonsense or was left, is asked again. */
#define SILENT_NS 10000000000u
#define MOST 2000u /* stores told in a second */

void dlog_watch_close(struct dlog_watch *w)
{
	if (w->fd >= 0)
		close(w->fd);
	w->fd = -1;
	w->state = DLOG_WATCH_IDLE;
}

void dlog_watch_leave(struct dlog_watch *w, uint64_t now)
{
	if (w->fd < 0)
		return;
	dlog_watch_close(w);
	w->since = now + SILENT_NS;
}

/* By the folder: the whole path may be too long for an address. */
static int connect_in(int fd, int dir, const char *name)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int n = snprintf(sa.sun_path, sizeof(sa.sun_path),
			 "/proc/self/fd/%d/%s" DLOG_WATCH_SUFFIX, dir, name);

	if (n >= (int)sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	return connect(fd, (struct sockaddr *)&sa, sizeof(sa)) ? -errno : 0;
}

static int connect_to(const char *path)
{
	char *real = realpath(path, NULL), *slash;
	int dir = -1, fd = -1, ret = -errno;

	if (!real)
		return ret;
	slash = strrchr(real, '/');
	*slash = 0;
	dir = open(slash == real ? "/" : real,
		   O_PATH | O_DIRECTORY | O_CLOEXEC);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	ret = dir < 0 || fd < 0 ? -errno : connect_in(fd, dir, slash + 1);
	if (dir >= 0)
		close(dir);
	if (ret && fd >= 0)
		close(fd);
	free(real);
	return ret ? ret : fd;
}

bool dlog_watch_open(struct dlog_watch *w, const struct dlog *d, uint64_t now)
{
	if (w->fd >= 0)
		return true;
	/* A part of a larger file is not what is watched by that name. */
	if (!dlog_is_region(d) || d->fd < 0 || d->base || now < w->since)
		return false;
	w->since = now + RETRY_NS;
	w->fd = connect_to(d->name);
	return w->fd >= 0;
}

bool dlog_watch_ask(struct dlog_watch *w, uint64_t now)
{
	static const char ask = DLOG_WATCH_ASK;

	switch (w->state) {
	case DLOG_WATCH_TOLD:
		return true;
	case DLOG_WATCH_ASKED:
		if (now - w->since > ANSWER_NS)
			dlog_watch_leave(w, now);
		return false;
	case DLOG_WATCH_IDLE:
	case DLOG_WATCH_STORED:
		break;
	}
	w->state = DLOG_WATCH_ASKED;
	w->since = now;
	if (send(w->fd, &ask, 1, MSG_DONTWAIT | MSG_NOSIGNAL) != 1) {
		dlog_watch_close(w);
		w->since = now + RETRY_NS;
	}
	return false;
}

/* Does @c come in its turn, and not too often? */
static bool in_turn(struct dlog_watch *w, char c, uint64_t now)
{
	if (c == DLOG_WATCH_ARMED && w->state == DLOG_WATCH_ASKED) {
		w->state = DLOG_WATCH_TOLD;
		return true;
	}
	if (c != DLOG_WATCH_STORE || w->state != DLOG_WATCH_TOLD)
		return false;
	w->state = DLOG_WATCH_STORED;
	if (now - w->second > 1000000000u) {
		w->second = now;
		w->in_second = 0;
	}
	return ++w->in_second <= MOST;
}

bool dlog_watch_hear(struct dlog_watch *w)
{
	uint64_t now = dlog_now(CLOCK_MONOTONIC);
	char said[4];
	bool good = true;
	ssize_t n;

	if (w->fd < 0)
		return false;
	n = recv(w->fd, said, sizeof(said), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	for (ssize_t i = 0; i < n && good; i++)
		good = in_turn(w, said[i], now);
	if (n <= 0 || !good) {
		dlog_watch_close(w);
		w->since = now + (good ? RETRY_NS : SILENT_NS);
	}
	return true;
}
