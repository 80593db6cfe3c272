// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * engine.c - a forwarder's thread: batches, back-off, cursors.
 *
 *	followers --take--> target --flush--> commit: cursors move
 *	                           `-error--> rewind: read again from cursors
 *
 * A batch goes round all followers, a quota from each, so that a loud guest
 * delays nobody by more than what a quota of each other takes.  It ends when
 * nobody has more, or when it is full or has lasted BATCH_NS.
 *
 * Relies on follower.c and the target's ops.
 */
#include <errno.h>
#include <fnmatch.h>
#include <malloc.h>
#include <poll.h>
#include <stdlib.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "forward.h"

#define QUOTA 128u
#define BATCH_RECORDS 4096u
#define BATCH_BYTES (UINT64_C(1) << 20)
#define BATCH_NS (100 * MS)
#define BACKOFF_FIRST_MS 100u
#define BACKOFF_MOST_MS 10000u
#define NAP_NS (10 * MS) /* nobody is looked at more often */
#define SYNC_NS SECOND
#define TRIM_NS (20 * SECOND) /* after news: parked readers' buffers go back */
#define LEAVE_NS (600 * SECOND) /* a guest that has gone is read for so long */

/* ---- the list of followers ---- */

static void follower_add(struct forwarder *f, const struct followed *what)
{
	struct follower **list, *fo = follower_new(f, what);

	if (!fo)
		return;
	fo->seen = true;
	pthread_mutex_lock(&f->lock);
	list = realloc(f->follower, (f->nr_followers + 1) * sizeof(*list));
	if (list) {
		f->follower = list;
		f->follower[f->nr_followers++] = fo;
	}
	pthread_mutex_unlock(&f->lock);
	if (!list)
		follower_free(fo);
}

/*
 * First what the cursors say has arrived, then the cursors.  A target that is
 * not open synced it when it was closed.
 */
static void cursors_sync(struct forwarder *f)
{
	bool dirty = false;

	for (size_t i = 0; i < f->nr_followers; i++)
		dirty |= f->follower[i]->cursor.dirty;
	if (dirty && f->open && f->t->ops->sync)
		f->t->ops->sync(f->t);
	for (size_t i = 0; dirty && i < f->nr_followers; i++)
		cursor_sync(&f->follower[i]->cursor);
}

/* Of @guest, made if it is new; the one that is oldest has to go for it. */
static struct tally *tally_find(struct forwarder *f, const char *guest)
{
	struct tally *t;
	char *name;

	for (size_t i = 0; i < f->nr_tallies; i++)
		if (!strcmp(f->tally[i].guest, guest))
			return &f->tally[i];
	t = realloc(f->tally, (f->nr_tallies + 1) * sizeof(*t));
	if (!t)
		return NULL;
	f->tally = t;
	name = strdup(guest);
	if (!name)
		return NULL;
	if (f->nr_tallies == FORWARD_TALLIES) {
		free(t->guest);
		memmove(t, t + 1, --f->nr_tallies * sizeof(*t));
	}
	t += f->nr_tallies++;
	*t = (struct tally){ .guest = name };
	return t;
}

/* A guest's counts never fall: its next follower goes on from them. */
static void follower_remember(struct forwarder *f, const struct follower *fo)
{
	struct tally *t = tally_find(f, fo->what.guest);

	if (!t)
		return;
	t->records += fo->records;
	t->bytes += fo->bytes;
	t->missed += fo->missed;
}

static void follower_drop(struct forwarder *f, size_t i)
{
	struct follower *fo = f->follower[i];

	if (fo->cursor.dirty)
		cursors_sync(f);
	pthread_mutex_lock(&f->lock);
	f->follower[i] = f->follower[--f->nr_followers];
	follower_remember(f, fo);
	pthread_mutex_unlock(&f->lock);
	follower_free(fo);
}

/*
 * One region is followed once: a second guest whose region has the same UUID
 * (a copied file) would share its cursor and its messages' ids.
 */
static bool uuid_taken(struct forwarder *f, const struct followed *what)
{
	for (size_t i = 0; i < f->nr_followers; i++) {
		struct follower *fo = f->follower[i];

		if (memcmp(fo->what.uuid, what->uuid, 16))
			continue;
		if (fo->leaving) {
			/* The region goes on under another name. */
			follower_drop(f, i);
			return false;
		}
		log_(LOG_WARNING,
		     "guest %s, sink %s: its region %s has the UUID of %s, "
		     "which guest %s has; not forwarded.  Give each guest a "
		     "region that dlog-create made for it",
		     what->guest, f->sc->name, what->region, fo->what.region,
		     fo->what.guest);
		return true;
	}
	return false;
}

static struct follower *follower_find(struct forwarder *f,
				      const struct followed *what)
{
	for (size_t i = 0; i < f->nr_followers; i++)
		if (!f->follower[i]->seen && follower_is(f->follower[i], what))
			return f->follower[i];
	return NULL;
}

/* Who is there now: keep, begin, and let leave. */
static void followers_match(struct forwarder *f, const struct roll *roll)
{
	const struct followed **left = calloc(roll->n + 1, sizeof(*left));
	size_t n = 0;

	if (!left)
		return;
	for (size_t i = 0; i < f->nr_followers; i++)
		f->follower[i]->seen = false;
	for (size_t i = 0; i < roll->n; i++) {
		const struct followed *what = &roll->guest[i];
		struct follower *fo;

		if (f->sc->guests && fnmatch(f->sc->guests, what->guest, 0))
			continue;
		fo = follower_find(f, what);
		if (!fo) {
			left[n++] = what;
			continue;
		}
		fo->seen = true;
		fo->leaving = false;
		fo->what.rate = what->rate;
		fo->what.bytes = what->bytes;
	}
	for (size_t i = 0; i < f->nr_followers; i++) {
		struct follower *fo = f->follower[i];

		if (fo->seen || fo->leaving)
			continue;
		fo->leaving = true;
		fo->leave_at = clock_ns(CLOCK_MONOTONIC) + LEAVE_NS;
		follower_hurry(fo);
	}
	for (size_t i = 0; i < n; i++)
		if (!uuid_taken(f, left[i]))
			follower_add(f, left[i]);
	free(left);
}

static void followers_update(struct forwarder *f)
{
	struct roll *roll;

	pthread_mutex_lock(&f->lock);
	roll = f->roll;
	f->roll = NULL;
	pthread_mutex_unlock(&f->lock);
	if (roll) {
		followers_match(f, roll);
		f->trim_at = clock_ns(CLOCK_MONOTONIC) + TRIM_NS;
		roll_put(f->fw, roll);
	}
}

/* Guests that have gone and been read to the end, or not in time. */
static void followers_leave(struct forwarder *f, uint64_t now)
{
	for (size_t i = f->nr_followers; i--;) {
		struct follower *fo = f->follower[i];

		if (fo->leaving && (now > fo->leave_at || fo->dry || !fo->d))
			follower_drop(f, i);
	}
}

/* ---- the target ---- */

static void target_up(struct forwarder *f)
{
	pthread_mutex_lock(&f->lock);
	if (!f->st.up && f->st.errors)
		log_(LOG_NOTICE, "sink %s: up again", f->sc->name);
	f->st.up = true;
	f->st.why[0] = '\0';
	f->st.connects++;
	pthread_mutex_unlock(&f->lock);
	f->open = true;
}

static void target_down(struct forwarder *f)
{
	struct target *t = f->t;

	t->ops->close(t);
	f->open = false;
	pthread_mutex_lock(&f->lock);
	if (f->st.up || strcmp(f->st.why, t->why))
		log_(LOG_WARNING, "sink %s: %s; trying again", f->sc->name,
		     t->why);
	f->st.up = false;
	f->st.errors++;
	memcpy(f->st.why, t->why, sizeof(f->st.why));
	pthread_mutex_unlock(&f->lock);
	f->try_at = clock_ns(CLOCK_MONOTONIC) + f->backoff_ms * MS;
	f->backoff_ms *= 2;
	if (f->backoff_ms > BACKOFF_MOST_MS)
		f->backoff_ms = BACKOFF_MOST_MS;
}

static bool target_ready(struct forwarder *f)
{
	if (f->open)
		return true;
	if (clock_ns(CLOCK_MONOTONIC) < f->try_at)
		return false;
	if (f->t->ops->open(f->t)) {
		target_down(f);
		return false;
	}
	target_up(f);
	return true;
}

void target_left_out(struct target *t, const char *id)
{
	struct forwarder *f = t->f;

	pthread_mutex_lock(&f->lock);
	for (size_t i = 0; i < f->nr_followers; i++) {
		struct follower *fo = f->follower[i];

		if (!strncmp(id, fo->uuid, UUID_TEXT - 1))
			fo->left_out++;
	}
	pthread_mutex_unlock(&f->lock);
}

/* ---- batches ---- */

/* What dlogd itself says.  Stays in the queue until it is safe. */
static int put_told(struct forwarder *f, struct batch *b, uint32_t *n)
{
	int ret = 0;

	pthread_mutex_lock(&f->lock);
	*n = f->queue_n;
	pthread_mutex_unlock(&f->lock);
	for (uint32_t i = 0; !ret && i < *n; i++) {
		/* Only what lies behind these is written by others. */
		struct told *told =
			&f->queue[(f->queue_head + i) % FORWARD_QUEUE];
		struct message m = {
			.guest = told->guest,
			.id = told->id,
			.event = told->event,
			.text = told->text,
			.incident = told->incident,
			.bundle = told->bundle,
			.real = told->real,
			.boot = told->boot,
			.level = told->level,
		};

		b->put++;
		ret = b->t->ops->put(b->t, &m);
	}
	return ret;
}

static int put_records(struct forwarder *f, struct batch *b)
{
	bool more = true;

	f->turn++;
	while (more && b->records && b->bytes &&
	       clock_ns(CLOCK_MONOTONIC) < b->until) {
		more = false;
		for (size_t i = 0; i < f->nr_followers; i++) {
			struct follower *fo =
				f->follower[(f->turn + i) % f->nr_followers];
			int ret;

			if (fo->due > clock_ns(CLOCK_MONOTONIC))
				continue;
			ret = follower_take(fo, b, QUOTA);
			if (ret < 0)
				return ret;
			more |= ret == (int)QUOTA;
		}
	}
	return 0;
}

static void batch_safe(struct forwarder *f, uint32_t told)
{
	pthread_mutex_lock(&f->lock);
	for (size_t i = 0; i < f->nr_followers; i++) {
		struct follower *fo = f->follower[i];

		fo->got_missed += fo->left_out;
		f->st.records += fo->got;
		f->st.bytes += fo->got_bytes;
		f->st.missed += fo->got_missed;
		f->st.throttled_ns += fo->held_ns;
		follower_count(fo);
	}
	for (; told; told--) {
		told_free(&f->queue[f->queue_head]);
		f->queue_head = (f->queue_head + 1) % FORWARD_QUEUE;
		f->queue_n--;
	}
	pthread_mutex_unlock(&f->lock);
	for (size_t i = 0; i < f->nr_followers; i++) {
		if (f->follower[i]->moved)
			f->trim_at = clock_ns(CLOCK_MONOTONIC) + TRIM_NS;
		follower_commit(f->follower[i]);
	}
	f->backoff_ms = BACKOFF_FIRST_MS;
}

/* 1: something was taken, 0: there was nothing, or the target's error. */
static int forwarder_batch(struct forwarder *f)
{
	struct batch b = {
		.t = f->t,
		.level = f->sc->level,
		.records = BATCH_RECORDS,
		.bytes = BATCH_BYTES,
		.until = clock_ns(CLOCK_MONOTONIC) + BATCH_NS,
	};
	uint32_t told;
	int ret = put_told(f, &b, &told);

	if (!ret && !atomic_load(&f->stop.asked))
		ret = put_records(f, &b);
	if (!ret && b.put)
		ret = f->t->ops->flush(f->t);
	if (!ret) {
		batch_safe(f, told);
		ret = b.put || b.records < BATCH_RECORDS;
	}
	return ret;
}

/*
 * Nothing more comes from a target that is closed: only then is it forgotten
 * what came of the batch.
 */
static void batch_failed(struct forwarder *f)
{
	target_down(f);
	for (size_t i = 0; i < f->nr_followers; i++)
		follower_rewind(f->follower[i]);
}

/* ---- the thread ---- */

static void forwarder_sync(struct forwarder *f, uint64_t now)
{
	if (now < f->sync_at)
		return;
	f->sync_at = now + SYNC_NS;
	cursors_sync(f);
}

/* Many readers that became idle leave much of malloc's memory unused. */
static void forwarder_trim(struct forwarder *f, uint64_t now)
{
	if (f->trim_at && now > f->trim_at) {
		malloc_trim(0);
		f->trim_at = 0;
	}
}

/* Is there something that forwarder_wake() was called for? */
static bool forwarder_woken(struct forwarder *f)
{
	bool woken;

	pthread_mutex_lock(&f->lock);
	woken = atomic_load(&f->stop.asked) || f->roll ||
		(f->open && f->queue_n);
	pthread_mutex_unlock(&f->lock);
	return woken;
}

/* Until @until, or until there is news of ours or of a guest. */
static void forwarder_wait(struct forwarder *f, uint64_t until, uint64_t now)
{
	uint64_t ns = until > now ? until - now : 0, n;
	size_t nr = f->open ? f->nr_followers : 0;
	struct timespec ts = { (time_t)(ns / SECOND), (long)(ns % SECOND) };
	struct pollfd *p = calloc(nr + 1, sizeof(*p));

	if (!p) {
		nanosleep(&ts, NULL);
		return;
	}
	p[0] = (struct pollfd){ f->news, POLLIN, 0 };
	for (size_t i = 0; i < nr; i++) {
		follower_listen(f->follower[i]);
		p[i + 1] = (struct pollfd){ f->follower[i]->wake, POLLIN, 0 };
	}
	if (ppoll(p, nr + 1, &ts, NULL) > 0) {
		if (p[0].revents && read(f->news, &n, sizeof(n)) < 0)
			log_(LOG_WARNING, "sink %s: cannot sleep: %s",
			     f->sc->name, strerror(errno));
		for (size_t i = 0; i < nr; i++)
			if (p[i + 1].revents)
				f->follower[i]->due = 0;
	}
	free(p);
}

static void forwarder_sleep(struct forwarder *f)
{
	uint64_t until = f->try_at, now = clock_ns(CLOCK_MONOTONIC);

	if (f->open) {
		until = now + SECOND;
		for (size_t i = 0; i < f->nr_followers; i++)
			if (f->follower[i]->due < until)
				until = f->follower[i]->due;
		if (until < now + NAP_NS)
			until = now + NAP_NS;
	}
	if (!forwarder_woken(f))
		forwarder_wait(f, until, now);
}

static void forwarder_round(struct forwarder *f)
{
	int ret = 0;

	followers_update(f);
	if (target_ready(f)) {
		ret = forwarder_batch(f);
		if (ret < 0)
			batch_failed(f);
	}
	followers_leave(f, clock_ns(CLOCK_MONOTONIC));
	forwarder_sync(f, clock_ns(CLOCK_MONOTONIC));
	forwarder_trim(f, clock_ns(CLOCK_MONOTONIC));
	if (ret <= 0)
		forwarder_sleep(f);
}

void *forwarder_main(void *arg)
{
	struct forwarder *f = arg;

	f->backoff_ms = BACKOFF_FIRST_MS;
	while (!atomic_load(&f->stop.asked))
		forwarder_round(f);
	/* The last words of dlogd itself; records wait in the rings. */
	if (f->open && !atomic_load(&f->stop.dead))
		forwarder_batch(f);
	f->sync_at = 0;
	forwarder_sync(f, clock_ns(CLOCK_MONOTONIC));
	if (f->open)
		f->t->ops->close(f->t);
	while (f->nr_followers)
		follower_drop(f, f->nr_followers - 1);
	return NULL;
}
