// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * worker.c - the one thread that reads regions and bundles for the page.
 *
 * Requests that ask wait in a queue.  One whose function has nothing yet (a
 * live tail) stays there and is called again every 100 ms.  Between them, as
 * long as somebody looks at the page, the guests' last lines are kept fresh.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <syslog.h>
#include <unistd.h>

#include "web.h"

#define POLL_NS (NS_PER_S / 10)
#define LOOK_NS (2 * NS_PER_S) /* a guest's last line is that old at most */
#define WATCH_NS (20 * NS_PER_S)

struct worker {
	struct web *w;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	int answers; /* eventfd: some request has been answered */
	bool stop;
	struct req *asked; /* in order */
	struct req *again; /* those with nothing yet */
	uint64_t poll_due, watched_until;
};

void worker_lock(struct web *w)
{
	pthread_mutex_lock(&w->worker->lock);
}

void worker_unlock(struct web *w)
{
	pthread_mutex_unlock(&w->worker->lock);
}

static void append(struct req **list, struct req *r)
{
	while (*list)
		list = &(*list)->next_asked;
	r->next_asked = NULL;
	*list = r;
}

void worker_ask(struct req *r)
{
	worker_lock(r->w);
	r->asked = true;
	append(&r->w->worker->asked, r);
	pthread_cond_signal(&r->w->worker->wake);
	worker_unlock(r->w);
}

bool worker_answered(struct req *r)
{
	bool asked;

	worker_lock(r->w);
	asked = r->asked;
	worker_unlock(r->w);
	return !asked;
}

bool worker_more(struct req *r)
{
	struct sink old = r->out;

	if (!r->fresh.len) {
		if (!r->end)
			worker_ask(r);
		return false;
	}
	r->out = r->fresh;
	r->fresh = old;
	r->fresh.len = 0;
	return true;
}

void worker_watch(struct web *w)
{
	worker_lock(w);
	w->worker->watched_until = web_now() + WATCH_NS;
	pthread_cond_signal(&w->worker->wake);
	worker_unlock(w);
}

/* With the lock held; drops it meanwhile. */
static void serve(struct worker *k, struct req *r)
{
	enum work_result result;
	uint64_t one = 1;

	pthread_mutex_unlock(&k->lock);
	result = r->work(r);
	pthread_mutex_lock(&k->lock);
	if (result == WORK_AGAIN) {
		append(&k->again, r);
		return;
	}
	r->asked = false;
	/* Full only when main has not looked since 2^64 - 1 answers. */
	if (write(k->answers, &one, sizeof(one)) < 0)
		log_(LOG_ERR, "web: eventfd: %m");
}

/* Guests whose last line is due, one at a time; false: none. */
static bool look(struct worker *k, uint64_t now)
{
	if (now >= k->watched_until)
		return false;
	for (struct view *v = k->w->views; v; v = v->next) {
		if (!v->region || now - v->looked < LOOK_NS)
			continue;
		v->looked = now;
		region_look(k->w, v);
		return true;
	}
	return false;
}

static void sleep_until(struct worker *k, uint64_t when)
{
	struct timespec ts = { .tv_sec = (time_t)(when / NS_PER_S),
			       .tv_nsec = (long)(when % NS_PER_S) };

	pthread_cond_timedwait(&k->wake, &k->lock, &ts);
}

static void *worker_main(void *arg)
{
	struct worker *k = arg;
	struct req *r;
	uint64_t now;

	pthread_mutex_lock(&k->lock);
	while (!k->stop) {
		now = web_now();
		if (k->again && now >= k->poll_due) {
			for (struct req *next; (r = k->again);
			     k->again = next) {
				next = r->next_asked;
				append(&k->asked, r);
			}
			k->poll_due = now + POLL_NS;
		}
		r = k->asked;
		if (r) {
			k->asked = r->next_asked;
			serve(k, r);
		} else if (look(k, now)) {
			continue;
		} else if (k->again || now < k->watched_until) {
			sleep_until(k, k->again ? k->poll_due : now + POLL_NS);
		} else {
			pthread_cond_wait(&k->wake, &k->lock);
		}
	}
	pthread_mutex_unlock(&k->lock);
	return NULL;
}

int worker_start(struct web *w, int *answers)
{
	struct worker *k = calloc(1, sizeof(*k));
	pthread_condattr_t attr;
	int ret;

	if (!k)
		return -ENOMEM;
	k->w = w;
	k->answers = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (k->answers < 0) {
		ret = -errno;
		free(k);
		return ret;
	}
	pthread_mutex_init(&k->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&k->wake, &attr);
	pthread_condattr_destroy(&attr);
	w->worker = k;
	ret = -pthread_create(&k->thread, NULL, worker_main, k);
	if (ret) {
		close(k->answers);
		free(k);
		w->worker = NULL;
		return ret;
	}
	*answers = k->answers;
	return 0;
}

void worker_stop(struct web *w)
{
	struct worker *k = w->worker;

	if (!k)
		return;
	pthread_mutex_lock(&k->lock);
	k->stop = true;
	pthread_cond_signal(&k->wake);
	pthread_mutex_unlock(&k->lock);
	pthread_join(k->thread, NULL);
	pthread_cond_destroy(&k->wake);
	pthread_mutex_destroy(&k->lock);
	close(k->answers);
	free(k);
	w->worker = NULL;
}
