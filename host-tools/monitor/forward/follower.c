// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * follower.c - one region in one sink: read from where the sink was.
 *
 * The region's ring is the backlog.  What cannot be sent, because the sink is
 * down, busy, or the guest beyond its limits, stays there; what is overwritten
 * meanwhile is counted and told in the stream itself.
 *
 * Limits: each record moves a clock on by what it costs; while the clock is
 * more than a second ahead the guest has to wait.
 *
 * Relies on libdlog and cursor.c.  The forwarder's thread only.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <syslog.h>

#include "forward.h"

#define IDLE_FIRST_MS 10u
#define IDLE_MOST_MS 500u
#define AGAIN_MS 1000u /* after a region could not be read */
#define BURST_NS SECOND

struct follower *follower_new(struct forwarder *f, const struct followed *what)
{
	struct follower *fo = calloc(1, sizeof(*fo));

	if (!fo)
		return NULL;
	fo->what = *what;
	fo->what.guest = strdup(what->guest);
	fo->what.region = strdup(what->region);
	if (!fo->what.guest || !fo->what.region) {
		follower_free(fo);
		return NULL;
	}
	uuid_text(fo->uuid, what->uuid);
	cursor_init(&fo->cursor, f->dir, &f->stop, fo->uuid, what->uuid,
		    f->sc->name);
	fo->newest = f->newest;
	fo->started = f->started;
	fo->idle_ms = IDLE_FIRST_MS;
	fo->wake = -1;
	return fo;
}

static void follower_close(struct follower *fo)
{
	dlog_reader_free(fo->r);
	fo->r = NULL;
	dlog_close(fo->d);
	fo->d = NULL;
}

void follower_free(struct follower *fo)
{
	if (!fo)
		return;
	follower_close(fo);
	cursor_close(&fo->cursor);
	free(fo->places);
	free(fo->what.guest);
	free(fo->what.region);
	free(fo);
}

bool follower_is(const struct follower *fo, const struct followed *what)
{
	struct stat st;

	if (strcmp(fo->what.guest, what->guest) ||
	    strcmp(fo->what.region, what->region) ||
	    memcmp(fo->what.uuid, what->uuid, 16))
		return false;
	return !fo->d || stat(what->region, &st) ||
	       (st.st_dev == fo->dev && st.st_ino == fo->ino);
}

/* Say once what is wrong. */
static void complain(struct follower *fo, const char *why)
{
	if (!fo->complained)
		log_(LOG_WARNING, "guest %s, sink %s: %s", fo->what.guest,
		     fo->cursor.sink, why);
	fo->complained = true;
}

/* Not now: look again later. */
static int follower_fail(struct follower *fo, int ret, const char *why)
{
	complain(fo, why);
	fo->due = clock_ns(CLOCK_MONOTONIC) + AGAIN_MS * MS;
	return ret;
}

/* The saved places, if there are any, and if we have none that are newer. */
static int follower_load(struct follower *fo, const struct dlog_info *info)
{
	int ret;

	if (fo->places)
		return 0;
	ret = cursor_load(&fo->cursor, info->nr_rings, &fo->places,
			  &fo->nr_places);
	if (ret == -ENOMEM)
		return ret;
	if (ret < 0)
		log_(LOG_WARNING,
		     "guest %s, sink %s: its cursor %s.%s cannot be used "
		     "(%s); begins at the oldest record",
		     fo->what.guest, fo->cursor.sink, fo->uuid, fo->cursor.sink,
		     strerror(-ret));
	if (ret || info->created >= fo->started)
		fo->newest = false;
	return 0;
}

static int follower_open(struct follower *fo)
{
	struct dlog_error err = { "" };
	struct dlog_info info;
	struct stat st;
	int ret = dlog_open(&fo->d, fo->what.region, 0, &err);

	if (ret)
		return follower_fail(fo, ret, err.text);
	dlog_get_info(fo->d, &info);
	if (memcmp(info.uuid, fo->what.uuid, 16) ||
	    stat(fo->what.region, &st)) {
		follower_close(fo);
		return follower_fail(fo, -ESTALE, "its region has changed");
	}
	fo->dev = st.st_dev;
	fo->ino = st.st_ino;
	ret = follower_load(fo, &info);
	if (ret)
		follower_close(fo);
	return ret ? follower_fail(fo, ret, strerror(-ret)) : 0;
}

/* A reader that stands where the sink is. */
static int follower_begin(struct follower *fo)
{
	unsigned int flags = DLOG_READER_FOLLOW;
	struct dlog_error err = { "" };
	int ret = 0;

	if (!fo->d)
		ret = follower_open(fo);
	if (ret)
		return ret;
	if (fo->newest && !fo->places)
		flags |= DLOG_READER_NEW;
	ret = dlog_reader_new(&fo->r, &fo->d, 1, flags, &err);
	if (ret) {
		follower_close(fo);
		return follower_fail(fo, ret, err.text);
	}
	fo->told = fo->told_safe = 0;
	if (fo->places && dlog_reader_seek(fo->r, 0, fo->places, fo->nr_places))
		log_(LOG_WARNING,
		     "guest %s, sink %s: its cursor does not fit the region; "
		     "begins at the oldest record",
		     fo->what.guest, fo->cursor.sink);
	return 0;
}

/* Move a limit's clock on by @n of @rate in a second. */
static void limit_take(uint64_t *at, uint64_t now, int64_t rate, uint64_t n)
{
	if (rate <= 0)
		return;
	if (*at < now)
		*at = now;
	*at += n * SECOND / (uint64_t)rate;
}

/* Is the guest beyond a limit?  Then it is looked at when it is not. */
static bool follower_held(struct follower *fo, uint64_t now)
{
	uint64_t at = fo->rate_at > fo->bytes_at ? fo->rate_at : fo->bytes_at;
	uint64_t until = at > BURST_NS ? at - BURST_NS : 0;

	if (until <= now)
		return false;
	/* Not for each record: they come in groups of 10 ms and more. */
	if (until < now + IDLE_FIRST_MS * MS)
		until = now + IDLE_FIRST_MS * MS;
	fo->due = until;
	fo->held_ns += until - now;
	return true;
}

/*
 * The id says which cursor's place, and how many since: told again from the
 * same place, the same number has the same id.
 */
static int tell_missed(struct follower *fo, struct batch *b, uint32_t boot)
{
	uint64_t missed = dlog_reader_missed(fo->r);
	char id[ID_TEXT], text[96];
	struct message m = {
		.guest = fo->what.guest,
		.id = id,
		.event = "missed",
		.text = text,
		.missed = missed - fo->told,
		.boot = boot,
		.level = LOG_WARNING,
	};

	if (missed == fo->told)
		return 0;
	m.real = clock_ns(CLOCK_REALTIME);
	snprintf(id, sizeof(id), "%s-missed-%" PRIu64 "-%" PRIu64, fo->uuid,
		 fo->cursor.seq, missed - fo->told_safe);
	snprintf(text, sizeof(text),
		 "%" PRIu64 " records were overwritten before they could be "
		 "forwarded",
		 m.missed);
	fo->got_missed += m.missed;
	fo->told = missed;
	fo->moved = true;
	b->put++;
	return b->t->ops->put(b->t, &m);
}

static int put_entry(struct follower *fo, struct batch *b,
		     const struct dlog_entry *e, uint64_t now)
{
	char id[ID_TEXT];
	struct message m = { .guest = fo->what.guest, .id = id, .e = e };
	uint64_t cost = e->len + 256;

	entry_id(id, fo->uuid, e);
	limit_take(&fo->rate_at, now, fo->what.rate, 1);
	limit_take(&fo->bytes_at, now, fo->what.bytes, e->len);
	b->bytes -= b->bytes < cost ? b->bytes : cost;
	b->put++;
	fo->got++;
	fo->got_bytes += e->len;
	return b->t->ops->put(b->t, &m);
}

/* One record: 1 taken, 0 there is none, or a negative errno. */
static int take_one(struct follower *fo, struct batch *b, uint64_t now,
		    bool first)
{
	struct dlog_entry e;
	int ret = dlog_reader_next(fo->r, &e, 0);

	if (ret < 0)
		fo->broken = ret;
	if (ret <= 0)
		return 0;
	fo->moved = true;
	b->records--;
	ret = first ? tell_missed(fo, b, e.boot) : 0;
	if (!ret && e.level <= b->level)
		ret = put_entry(fo, b, &e, now);
	return ret ? ret : 1;
}

/* When to look again, after @n records; @dry: there are no more. */
static void follower_schedule(struct follower *fo, uint64_t now, uint32_t n,
			      bool dry)
{
	if (n) {
		fo->idle_ms = IDLE_FIRST_MS;
		fo->dry = false;
	}
	if (!dry)
		return;
	/* Idle ones all at once, so that the thread wakes up rarely. */
	fo->due = (now / (fo->idle_ms * MS) + 1) * (fo->idle_ms * MS);
	if (fo->idle_ms < IDLE_MOST_MS)
		fo->idle_ms *= 2;
	if (fo->idle_ms >= IDLE_MOST_MS) {
		fo->idle_ms = IDLE_MOST_MS;
		fo->dry = true;
		/* Else once forwarder_sync() has been there. */
		if (!fo->cursor.dirty)
			cursor_close(&fo->cursor);
	}
}

int follower_take(struct follower *fo, struct batch *b, uint32_t quota)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);
	uint32_t n = 0;
	int ret = 1;

	fo->held = false;
	if (fo->broken || (!fo->r && follower_begin(fo)))
		return 0;
	while (n < quota && b->records && b->bytes) {
		fo->held = follower_held(fo, now);
		if (fo->held)
			break;
		ret = take_one(fo, b, now, !n);
		if (ret <= 0)
			break;
		n++;
	}
	if (ret >= 0 && !fo->broken) {
		int told = tell_missed(fo, b, 0);

		ret = told ? told : ret;
	}
	if (ret < 0)
		return ret;
	/* Where a sink began is remembered, also before the first record. */
	if (fo->newest && !fo->places && !ret)
		fo->moved = true;
	follower_schedule(fo, now, n, !ret);
	return (int)n;
}

/* Reading has failed: look again later, by new handles. */
static void follower_mend(struct follower *fo)
{
	if (!fo->broken)
		return;
	follower_close(fo);
	follower_fail(fo, 0, strerror(-fo->broken));
	fo->broken = 0;
}

static void follower_save(struct follower *fo)
{
	size_t n = dlog_reader_tell(fo->r, 0, fo->places, fo->nr_places);
	struct dlog_place *p;
	int ret;

	if (n != fo->nr_places || !fo->places) {
		p = realloc(fo->places, (n + 1) * sizeof(*p));
		if (!p)
			return;
		fo->places = p;
		fo->nr_places = n;
		dlog_reader_tell(fo->r, 0, p, n);
	}
	ret = cursor_save(&fo->cursor, fo->places, fo->nr_places);
	if (ret)
		complain(fo, "its cursor cannot be written, see state_dir: "
			     "after a restart records will be repeated");
	else if (!fo->broken)
		fo->complained = false;
	fo->told_safe = fo->told;
}

static void batch_end(struct follower *fo)
{
	fo->moved = false;
	fo->got = fo->got_bytes = fo->got_missed = fo->held_ns = 0;
	fo->left_out = 0;
	follower_mend(fo);
}

void follower_count(struct follower *fo)
{
	fo->records += fo->got;
	fo->bytes += fo->got_bytes;
	fo->missed += fo->got_missed;
}

void follower_commit(struct follower *fo)
{
	if (fo->moved)
		follower_save(fo);
	batch_end(fo);
}

void follower_listen(struct follower *fo)
{
	/* One that is held by a limit would not hear what it is told. */
	fo->wake = fo->r && !fo->held ? dlog_reader_wake_fd(fo->r) : -1;
}

void follower_hurry(struct follower *fo)
{
	fo->due = 0;
	fo->idle_ms = IDLE_FIRST_MS;
	fo->dry = false;
}

void follower_rewind(struct follower *fo)
{
	if (fo->moved) {
		dlog_reader_free(fo->r);
		fo->r = NULL;
		follower_hurry(fo);
	}
	batch_end(fo);
}
