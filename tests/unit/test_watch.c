// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_watch.c - a reader that follows a file, and FILE.watch beside it: told
 * in time, and not deceived by one that says nothing, or anything, or goes.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "dlog_watch.h"
#include "world.h"

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void nap(unsigned int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

struct beside {
	struct world w;
	char folder[64], path[96];
	int listener;
	struct dlog *d;
	struct dlog_reader *r;
};

static void store(struct beside *b)
{
	int fd = open(b->path, O_WRONLY | O_CREAT, 0600);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, b->w.mem, b->w.size, 0),
			 (ssize_t)b->w.size);
	close(fd);
}

static void append(struct beside *b)
{
	w_line(&b->w, 0);
	store(b);
}

static void begin(struct beside *b, bool listens)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	memset(b, 0, sizeof(*b));
	strcpy(b->folder, "/tmp/dlog-watch-XXXXXX");
	assert_non_null(mkdtemp(b->folder));
	snprintf(b->path, sizeof(b->path), "%s/region.img", b->folder);
	w_format(&b->w, 262144, 1, 4096, 4);
	w_boot(&b->w, 1);
	store(b);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s" DLOG_WATCH_SUFFIX,
		 b->path);
	b->listener = -1;
	if (listens) {
		b->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(
			bind(b->listener, (struct sockaddr *)&sa, sizeof(sa)),
			0);
		assert_int_equal(listen(b->listener, 4), 0);
	}
	assert_int_equal(dlog_open(&b->d, b->path, 0, NULL), 0);
	assert_int_equal(
		dlog_reader_new(&b->r, &b->d, 1, DLOG_READER_FOLLOW, NULL), 0);
}

static void end(struct beside *b)
{
	char text[128];

	dlog_reader_free(b->r);
	dlog_close(b->d);
	if (b->listener >= 0)
		close(b->listener);
	snprintf(text, sizeof(text), "%s" DLOG_WATCH_SUFFIX, b->path);
	unlink(text);
	unlink(b->path);
	rmdir(b->folder);
	w_free(&b->w);
}

/* How many records there are within @timeout ms of each other. */
static uint32_t drain(struct beside *b, int timeout)
{
	struct dlog_entry e;
	uint32_t n = 0;

	while (dlog_reader_next(b->r, &e, timeout) > 0)
		n++;
	return n;
}

/* What the reader's peer does. */
struct peer {
	struct beside *b;
	int fd;
	const char *say; /* repeated until the reader closes, or "" */
	uint32_t asked, said;
	bool stop;
};

static void *flood(void *arg)
{
	struct peer *p = arg;
	char buf[64];

	p->fd = accept(p->b->listener, NULL, NULL);
	while (!__atomic_load_n(&p->stop, __ATOMIC_RELAXED)) {
		ssize_t n = recv(p->fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (!n)
			break;
		p->asked += n > 0;
		if (*p->say && send(p->fd, p->say, strlen(p->say),
				    MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
			p->said++;
		else if (!*p->say)
			nap(1);
	}
	close(p->fd);
	return NULL;
}

/* CPU time and looks that a second of following costs beside such a peer. */
static void beside_peer(const char *say, uint64_t most_ns)
{
	struct beside b;
	struct peer p = { .b = &b, .say = say };
	pthread_t t;
	uint64_t cpu;

	begin(&b, true);
	assert_int_equal(pthread_create(&t, NULL, flood, &p), 0);
	append(&b);
	assert_int_equal(drain(&b, 100), 1);
	cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	assert_int_equal(drain(&b, 1500), 0);
	cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
	append(&b);
	assert_int_equal(drain(&b, 1200), 1);
	__atomic_store_n(&p.stop, true, __ATOMIC_RELAXED);
	pthread_join(t, NULL);
	assert_true(p.asked >= 1);
	assert_true(cpu < most_ns);
	end(&b);
}

static void says_nothing(void **state)
{
	(void)state;
	beside_peer("", 300000000);
}

static void says_only_armed(void **state)
{
	(void)state;
	beside_peer("A", 300000000);
}

static void says_nonsense(void **state)
{
	(void)state;
	beside_peer("WWW\377\1garbage", 300000000);
}

static void says_all_in_turn(void **state)
{
	(void)state;
	beside_peer("AW", 800000000);
}

/* A good one: between the answer and the store nobody looks. */
static void told_in_time(void **state)
{
	struct beside b;
	uint64_t begin_ns, took, best = UINT64_MAX;
	struct pollfd p;
	int fd, peer;
	char c;

	(void)state;
	begin(&b, true);
	assert_true(drain(&b, 0) <= 1);
	fd = dlog_reader_wake_fd(b.r);
	assert_true(fd >= 0);
	peer = accept(b.listener, NULL, NULL);
	assert_int_equal(recv(peer, &c, 1, 0), 1);
	assert_int_equal(c, DLOG_WATCH_ASK);
	p = (struct pollfd){ fd, POLLIN, 0 };
	assert_int_equal(poll(&p, 1, 0), 0);
	/* What was stored before the answer is found behind it. */
	append(&b);
	c = DLOG_WATCH_ARMED;
	assert_int_equal(send(peer, &c, 1, 0), 1);
	assert_int_equal(poll(&p, 1, 1000), 1);
	assert_int_equal(drain(&b, 0), 1);
	assert_int_equal(dlog_reader_wake_fd(b.r), fd);
	assert_int_equal(recv(peer, &c, 1, MSG_DONTWAIT), -1);
	assert_int_equal(poll(&p, 1, 0), 0);
	/* Told: the look comes at once. */
	append(&b);
	c = DLOG_WATCH_STORE;
	assert_int_equal(send(peer, &c, 1, 0), 1);
	assert_int_equal(poll(&p, 1, 1000), 1);
	assert_int_equal(drain(&b, 0), 1);
	/* And it is asked anew. */
	assert_int_equal(dlog_reader_wake_fd(b.r), fd);
	assert_int_equal(recv(peer, &c, 1, 0), 1);
	c = DLOG_WATCH_ARMED;
	assert_int_equal(send(peer, &c, 1, 0), 1);
	/* A store that nobody tells of is seen within a second. */
	append(&b);
	drain(&b, 0);
	for (uint32_t i = 0; i < 4 && best >= 1500000000u; i++) {
		struct dlog_entry e;

		append(&b);
		begin_ns = clock_ns(CLOCK_MONOTONIC);
		assert_int_equal(dlog_reader_next(b.r, &e, 5000), 1);
		took = clock_ns(CLOCK_MONOTONIC) - begin_ns;
		best = took < best ? took : best;
		drain(&b, 0);
	}
	assert_true(best < 1500000000u);
	/* It goes: as if it had never been there. */
	close(peer);
	close(b.listener);
	b.listener = -1;
	append(&b);
	assert_int_equal(drain(&b, 100), 1);
	end(&b);
}

static void say(int peer, char c)
{
	assert_int_equal(send(peer, &c, 1, 0), 1);
}

/*
 * After a long silence, too, the first look finds a record that begins a
 * sub-buffer: whichever of the looks it is.
 */
static void told_when_parked(void **state)
{
	struct dlog_entry e;

	(void)state;
	for (uint32_t more = 0; more < 8; more++) {
		struct beside b;
		struct pollfd p = { .events = POLLIN };
		int peer;
		char c;

		begin(&b, true);
		w_append(&b.w, 0, W_TEXT, 3000);
		store(&b);
		assert_int_equal(drain(&b, 0), 1);
		for (uint32_t i = 0; i < 50 + more; i++) {
			nap(11);
			assert_int_equal(dlog_reader_next(b.r, &e, 0), 0);
		}
		p.fd = dlog_reader_wake_fd(b.r);
		assert_true(p.fd >= 0);
		peer = accept(b.listener, NULL, NULL);
		assert_int_equal(recv(peer, &c, 1, 0), 1);
		say(peer, DLOG_WATCH_ARMED);
		assert_int_equal(poll(&p, 1, 1000), 1);
		assert_int_equal(dlog_reader_next(b.r, &e, 0), 0);
		assert_int_equal(dlog_reader_wake_fd(b.r), p.fd);
		w_append(&b.w, 0, W_TEXT, 3000);
		store(&b);
		say(peer, DLOG_WATCH_STORE);
		assert_int_equal(poll(&p, 1, 1000), 1);
		assert_int_equal(dlog_reader_next(b.r, &e, 0), 1);
		assert_int_equal(e.len, 3000);
		close(peer);
		end(&b);
	}
}

/* Of two files one is watched: nobody is kept connected to it. */
static void one_of_two(void **state)
{
	struct dlog_reader *r;
	struct beside b[2];
	struct dlog_entry e;
	struct dlog *d[2];
	int peer;
	char c;

	(void)state;
	for (int i = 0; i < 2; i++) {
		begin(&b[i], i == 0);
		d[i] = b[i].d;
	}
	assert_int_equal(dlog_reader_new(&r, d, 2, DLOG_READER_FOLLOW, NULL),
			 0);
	assert_int_equal(dlog_reader_next(r, &e, 100), 0);
	peer = accept(b[0].listener, NULL, NULL);
	assert_true(peer >= 0);
	assert_int_equal(recv(peer, &c, 1, MSG_DONTWAIT), 0);
	close(peer);
	append(&b[0]);
	assert_int_equal(dlog_reader_next(r, &e, 1000), 1);
	dlog_reader_free(r);
	for (int i = 0; i < 2; i++)
		end(&b[i]);
}

static void nobody_there(void **state)
{
	struct beside b;

	(void)state;
	begin(&b, false);
	drain(&b, 0);
	assert_int_equal(dlog_reader_wake_fd(b.r), -1);
	append(&b);
	assert_int_equal(drain(&b, 100), 1);
	end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(told_in_time),
		cmocka_unit_test(told_when_parked),
		cmocka_unit_test(one_of_two),
		cmocka_unit_test(nobody_there),
		cmocka_unit_test(says_nothing),
		cmocka_unit_test(says_only_armed),
		cmocka_unit_test(says_nonsense),
		cmocka_unit_test(says_all_in_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
