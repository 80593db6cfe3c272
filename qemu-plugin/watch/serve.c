// SPDX-License-Identifier: GPL-2.0-only
/*
 * serve.c - FILE.watch: followers wait here for the next store into a region.
 *
 * What is said there: dlog_watch.h.
 *
 * The next record of a ring goes into the sub-buffer that was begun last or
 * into the next one: those two are guarded, of each ring.  Where that is
 * comes from the STARTs in the region.  A guest that writes nonsense there
 * deceives itself only: its followers look once a second whatever we say.
 *
 * A wake-up costs the guest a fault: after one the next is not before
 * REST_NS, and up to REST_MOST_NS while the guest stores all the time.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "dlog_watch.h"
#include "watch.h"

#define CLIENTS 16u
#define REST_NS 1000000u
#define REST_MOST_NS 8000000u
#define BUSY_NS 2000000u
#define DEAF_NS 1000000000u /* when no descriptor is left for a follower */
#define PROBES 65536u /* STARTs looked at in one turn, of all rings */

enum wish {
	WISH_NONE,
	WISH_ASKED, /* ARMED is to come */
	WISH_ARMED, /* STORE is to come */
};

struct client {
	int fd; /* -1: free */
	enum wish wish;
};

static struct {
	int dir, fd; /* of the socket's folder; the socket */
	char name[NAME_MAX + 1];
	dev_t dev;
	ino_t ino;
	struct client client[CLIENTS];
	pthread_t thread;
	bool running, stop;
	int wake; /* write end of a pipe: stop */
	int wakened;
	uint64_t rest; /* our time until which nothing is armed for them */
	uint64_t pause; /* ns from the last store to that */
	uint64_t armed; /* our time */
	uint64_t deaf; /* our time until which nobody is let in */
	uint64_t *head; /* number of the newest sub-buffer of each ring */
	struct span *span;
} serve = { .dir = -1, .fd = -1, .wake = -1, .wakened = -1, .pause = REST_NS };

/* ---- where the next records go ---- */

/* Position in sub-buffers of the START that lies where @number would. */
static bool start_at(uint32_t ring, uint64_t number, uint64_t *found)
{
	const struct dlog_superblock *sb = &guard_sb;
	uint64_t nr = sb->ring_size / sb->subbuf_size;
	uint8_t copy[DLOG_START_SIZE];
	struct dlog_start start;

	if (guard_read(sb->ring_off + ring * sb->ring_size +
			       number % nr * sb->subbuf_size,
		       copy, sizeof(copy)) ||
	    !dlog_start_probe(copy, dlog_hash_seed(sb->uuid, ring), &start) ||
	    start.position % sb->subbuf_size ||
	    start.position >= DLOG_POSITION_END)
		return false;
	*found = start.position / sb->subbuf_size;
	return *found % nr == number % nr;
}

/* Go on to the newest START; some may be missing (DLOG_BEYOND). */
static void head_follow(uint32_t ring, unsigned int *probes)
{
	uint64_t *head = &serve.head[ring], found;
	unsigned int ahead = 1;

	while (ahead <= DLOG_BEYOND && *probes) {
		--*probes;
		if (start_at(ring, *head + ahead, &found) && found > *head) {
			*head = found;
			ahead = 1;
		} else {
			ahead++;
		}
	}
}

static void head_hint(const struct dlog_cpu *slot)
{
	uint64_t number = slot->position / guard_sb.subbuf_size, found;

	if (slot->boot && slot->ring < guard_sb.nr_rings &&
	    number > serve.head[slot->ring] &&
	    start_at(slot->ring, number, &found) &&
	    found >= serve.head[slot->ring])
		serve.head[slot->ring] = found;
}

/* Where the heartbeats say that rings are, if that is further on. */
static void heads_hint(void)
{
	uint64_t off = guard_sb.state_off + DLOG_PAGE;
	struct dlog_cpu slot[64];

	for (uint32_t i = 0, n; i < guard_sb.nr_cpus; i += n) {
		n = guard_sb.nr_cpus - i < 64 ? guard_sb.nr_cpus - i : 64;
		if (guard_read(off + i * sizeof(slot[0]), slot,
			       n * sizeof(slot[0])))
			return;
		for (uint32_t k = 0; k < n; k++)
			head_hint(&slot[k]);
	}
}

/* Guard where the next record of each ring goes. */
static bool arm_rings(void)
{
	const struct dlog_superblock *sb = &guard_sb;
	uint64_t nr = sb->ring_size / sb->subbuf_size;
	unsigned int n = 0, probes = PROBES;
	bool moved = false;

	heads_hint();
	for (uint32_t i = 0; i < sb->nr_rings; i++) {
		uint64_t ring = sb->ring_off + i * sb->ring_size;
		uint64_t before = serve.head[i];

		head_follow(i, &probes);
		moved |= serve.head[i] != before;
		for (uint64_t k = 0; k < 2; k++) {
			uint64_t from = ring + (serve.head[i] + k) % nr *
						       sb->subbuf_size;

			serve.span[n++] =
				(struct span){ from, from + sb->subbuf_size };
		}
	}
	/* Somebody else has asked, and nothing was stored since. */
	if (guard_armed(ZONE_RINGS) && !moved)
		return true;
	return guard_arm(ZONE_RINGS, serve.span, n);
}

/* ---- followers ---- */

static void client_close(struct client *c)
{
	close(c->fd);
	c->fd = -1;
	c->wish = WISH_NONE;
}

/* Who does not read what we say is not waited for. */
static void client_say(struct client *c, char what)
{
	if (send(c->fd, &what, 1, MSG_DONTWAIT | MSG_NOSIGNAL) != 1)
		client_close(c);
}

static void client_add(int fd)
{
	for (unsigned int i = 0; i < CLIENTS; i++) {
		if (serve.client[i].fd >= 0)
			continue;
		serve.client[i] = (struct client){ .fd = fd };
		return;
	}
	close(fd);
}

static void clients_accept(void)
{
	int fd = accept4(serve.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0)
		client_add(fd);
	else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
		 errno == ENOBUFS)
		serve.deaf = record_now() + DEAF_NS;
}

/* However much it says, it is one wish. */
static void client_hear(struct client *c)
{
	char buf[64];
	ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n > 0)
		c->wish = WISH_ASKED;
	else if (!n || (errno != EAGAIN && errno != EINTR))
		client_close(c);
}

static bool clients_wish(enum wish wish)
{
	for (unsigned int i = 0; i < CLIENTS; i++)
		if (serve.client[i].fd >= 0 && serve.client[i].wish == wish)
			return true;
	return false;
}

/* Tell all that are at @from, who are then at @to. */
static void clients_tell(enum wish from, enum wish to, char what)
{
	for (unsigned int i = 0; i < CLIENTS; i++) {
		struct client *c = &serve.client[i];

		if (c->fd < 0 || c->wish != from)
			continue;
		c->wish = to;
		client_say(c, what);
	}
}

static void clients_close(void)
{
	for (unsigned int i = 0; i < CLIENTS; i++)
		if (serve.client[i].fd >= 0)
			client_close(&serve.client[i]);
}

/* ---- the thread ---- */

static void clients_turn(uint64_t now)
{
	struct hit hit;

	if (guard_hit(ZONE_RINGS, &hit)) {
		bool soon = now - serve.armed < BUSY_NS;

		clients_tell(WISH_ARMED, WISH_NONE, DLOG_WATCH_STORE);
		serve.pause = soon ? 2 * serve.pause : REST_NS;
		if (serve.pause > REST_MOST_NS)
			serve.pause = REST_MOST_NS;
		serve.rest = now + serve.pause;
	}
	if (now < serve.rest || !clients_wish(WISH_ASKED))
		return;
	serve.armed = now;
	if (arm_rings())
		clients_tell(WISH_ASKED, WISH_ARMED, DLOG_WATCH_ARMED);
	else
		clients_close();
}

static void wait_for_something(uint64_t now)
{
	struct pollfd p[CLIENTS + 3] = {
		{ serve.wakened, POLLIN, 0 },
		{ guard_fd(), POLLIN, 0 },
		{ now < serve.deaf ? -1 : serve.fd, POLLIN, 0 },
	};
	uint64_t until = clock_due(), ns;
	struct timespec ts;

	for (unsigned int i = 0; i < CLIENTS; i++)
		p[i + 3] = (struct pollfd){ serve.client[i].fd, POLLIN, 0 };
	if (clients_wish(WISH_ASKED) && serve.rest < until)
		until = serve.rest;
	if (now < serve.deaf && serve.deaf < until)
		until = serve.deaf;
	ns = until > now ? until - now : 0;
	ts.tv_sec = (time_t)(ns / 1000000000);
	ts.tv_nsec = (long)(ns % 1000000000);
	if (ppoll(p, CLIENTS + 3, until == UINT64_MAX ? NULL : &ts, NULL) <= 0)
		return;
	if (p[1].revents)
		guard_clear();
	for (unsigned int i = 0; i < CLIENTS; i++)
		if (p[i + 3].revents)
			client_hear(&serve.client[i]);
	if (p[2].revents)
		clients_accept();
}

static void *serve_main(void *arg)
{
	(void)arg;
	while (!__atomic_load_n(&serve.stop, __ATOMIC_ACQUIRE)) {
		clock_turn(record_now());
		clients_turn(record_now());
		wait_for_something(record_now());
	}
	return NULL;
}

/* ---- the socket ---- */

/* Its address, however long the path is. */
static int address(struct sockaddr_un *sa)
{
	int n;

	memset(sa, 0, sizeof(*sa));
	sa->sun_family = AF_UNIX;
	n = snprintf(sa->sun_path, sizeof(sa->sun_path), "/proc/self/fd/%d/%s",
		     serve.dir, serve.name);
	return n < (int)sizeof(sa->sun_path) ? 0 : -ENAMETOOLONG;
}

/* Is it a socket on which nobody listens?  Then it is removed. */
static int remove_stale(const struct sockaddr_un *sa)
{
	struct stat st;
	int fd, ret;

	if (fstatat(serve.dir, serve.name, &st, AT_SYMLINK_NOFOLLOW))
		return -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	ret = connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) ? -errno
								    : -EBUSY;
	close(fd);
	if (ret != -ECONNREFUSED)
		return ret == -EAGAIN ? -EBUSY : ret;
	return unlinkat(serve.dir, serve.name, 0) ? -errno : 0;
}

static int bind_socket(void)
{
	struct sockaddr_un sa;
	int ret = address(&sa);

	if (ret)
		return ret;
	/* The file that bind() makes has the socket's own mode (unix(7)). */
	if (fchmod(serve.fd, 0600))
		return -errno;
	if (bind(serve.fd, (struct sockaddr *)&sa, sizeof(sa))) {
		if (errno != EADDRINUSE)
			return -errno;
		ret = remove_stale(&sa);
		if (ret)
			return ret;
		if (bind(serve.fd, (struct sockaddr *)&sa, sizeof(sa)))
			return -errno;
	}
	return listen(serve.fd, CLIENTS) ? -errno : 0;
}

static int open_folder(const char *path)
{
	char *real = realpath(path, NULL), *slash;
	int ret = -errno;

	if (!real)
		return ret;
	slash = strrchr(real, '/');
	ret = snprintf(serve.name, sizeof(serve.name), "%s" DLOG_WATCH_SUFFIX,
		       slash + 1) < (int)sizeof(serve.name)
		      ? 0
		      : -ENAMETOOLONG;
	slash[slash == real] = 0;
	if (!ret) {
		serve.dir = open(real, O_PATH | O_DIRECTORY | O_CLOEXEC);
		ret = serve.dir < 0 ? -errno : 0;
	}
	free(real);
	return ret;
}

static int serve_socket(const char *path)
{
	struct stat st;
	int ret = open_folder(path);

	if (ret)
		return ret;
	serve.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
			  0);
	if (serve.fd < 0)
		return -errno;
	ret = bind_socket();
	if (!ret && fstatat(serve.dir, serve.name, &st, AT_SYMLINK_NOFOLLOW))
		ret = -errno;
	if (ret)
		return ret;
	serve.dev = st.st_dev;
	serve.ino = st.st_ino;
	return 0;
}

int serve_start(const char *path)
{
	int fds[2], ret = serve_socket(path);

	for (unsigned int i = 0; i < CLIENTS; i++)
		serve.client[i].fd = -1;
	if (ret == -EEXIST || ret == -EBUSY) {
		tell("%s" DLOG_WATCH_SUFFIX " %s", path,
		     ret == -EBUSY
			     ? "is in use by another QEMU: give each its own region"
			     : "is no socket; remove it, or move it away");
		return ret;
	}
	if (!ret && pipe2(fds, O_CLOEXEC | O_NONBLOCK))
		ret = -errno;
	if (ret) {
		tell("cannot make the socket %s" DLOG_WATCH_SUFFIX ": %s", path,
		     strerror(-ret));
		return ret;
	}
	serve.wakened = fds[0];
	serve.wake = fds[1];
	serve.head = calloc(guard_sb.nr_rings, sizeof(*serve.head));
	serve.span = calloc(guard_sb.nr_rings, 2 * sizeof(*serve.span));
	if (!serve.head || !serve.span) {
		tell("no memory for %u rings", guard_sb.nr_rings);
		return -ENOMEM;
	}
	return 0;
}

void serve_begin(void)
{
	sigset_t all, old;
	int ret = guard_begin();

	/* Signals are QEMU's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (!ret)
		ret = -pthread_create(&serve.thread, NULL, serve_main, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	serve.running = !ret;
	if (!ret)
		return;
	record_say(3, "the region is not watched: %s", strerror(-ret));
	close(serve.fd);
	serve.fd = -1;
}

void serve_stop(void)
{
	struct stat st;

	if (serve.running) {
		__atomic_store_n(&serve.stop, true, __ATOMIC_RELEASE);
		if (write(serve.wake, "", 1) == 1)
			pthread_join(serve.thread, NULL);
	}
	clients_close();
	if (!fstatat(serve.dir, serve.name, &st, AT_SYMLINK_NOFOLLOW) &&
	    st.st_dev == serve.dev && st.st_ino == serve.ino)
		unlinkat(serve.dir, serve.name, 0);
}
