/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * forward.h - what the parts of forwarding share.
 *
 *	forward.c    forward_* of monitor.h: starts, stops and feeds forwarders
 *	engine.c     a forwarder's thread: batches, back-off, cursors
 *	follower.c   one region in one sink: reads it from where the sink was
 *	cursor.c     that place on disk
 *	message.c    what all sinks say alike: ids, JSON, text of one line
 *	conn.c       a connection by UDP, TCP or TLS
 *	to_*.c       a *target* each: the ops of one type of sink
 *
 * A *forwarder* is one [sink]: a thread, its target, and a follower for each
 * region.  It takes a *batch* of messages from its followers in turn, hands
 * them to the target, asks it to wait until they are safely there, and only
 * then moves the cursors.  Whatever goes wrong before that is answered by
 * reading the batch again from the regions.
 *
 * Threads: a forwarder's thread owns all of it but what is under its lock.
 */
#ifndef DLOG_FORWARD_H
#define DLOG_FORWARD_H

#include <stdatomic.h>

#include "entry.h"
#include "../monitor.h"

#define FORWARD_TALLIES                                                        \
	8192u /* guests whose counts are kept; more than can be
			       * known at once */
#define FORWARD_QUEUE 256u /* messages of dlogd's own that wait in each sink */

/* ---- message.c ---- */

/* What a target is given: a record, or something that dlogd says. */
struct message {
	const char *guest;
	const char *id; /* plain ASCII, the same whenever it is sent again */
	const struct dlog_entry *e; /* NULL: dlogd's own, as follows */
	const char *event, *text;
	const char *incident, *bundle; /* or NULL */
	uint64_t missed; /* of the event "missed" */
	uint64_t real;
	uint32_t boot;
	int level;
};

/* Scratch for rendering. */
struct render {
	struct sink text; /* what libdlog makes of a record */
	struct second date;
};

int render_init(struct render *r);
void render_free(struct render *r);
int message_level(const struct message *m);
/* One object, no line feed: of at most @max bytes, by cutting the text. */
void message_json(struct sink *s, struct render *r, const struct message *m,
		  size_t max);
/*
 * Its text as one line of valid UTF-8: control characters but tabs, and what
 * is no UTF-8, become \xNN, line feeds \n.  An event's begins with its name.
 */
void message_line(struct sink *s, struct render *r, const struct message *m);
/* RFC 3339 with nanoseconds and NUL, "" when not known. */
void message_date(char date[96], struct render *r, const struct message *m);

/* ---- targets ---- */

/* Ends waits early: forward_stop(). */
struct stopper {
	int fd; /* eventfd: readable once asked */
	atomic_bool asked;
	_Atomic uint64_t until; /* CLOCK_MONOTONIC ns: then give up */
	atomic_bool dead; /* left behind: nothing may be kept any more */
};

/*
 * Wait for @events on @fd (-1: only for the time): what came (poll(2)'s
 * revents), 0 after @timeout_ms, or -ECANCELED.
 */
int stopper_poll(struct stopper *st, int fd, short events, int timeout_ms);

struct target_ops;

struct forwarder;

/* Begins each type's own struct. */
struct target {
	const struct target_ops *ops;
	struct forwarder *f; /* for target_left_out() */
	const struct sink_config *sc;
	struct stopper *stop;
	char why[256]; /* of the last error */
};

/*
 * All but make and free may block as long as stopper_poll() says, return 0 or
 * a negative errno and then have said why in target->why.
 */
struct target_ops {
	const char *type;
	const char *const *keys; /* what its section may hold, NULL at the end */
	/* -EINVAL with a message when a key's value is wrong. */
	int (*make)(struct target **out, const struct sink_config *sc);
	int (*open)(struct target *t);
	int (*put)(struct target *t, const struct message *m);
	/* Wait until all that was put is safe. */
	int (*flush)(struct target *t);
	/* Make it safe from the host's death too; may be NULL. */
	void (*sync)(struct target *t);
	/* Also after a failed open.  Does first what sync does. */
	void (*close)(struct target *t);
	void (*free)(struct target *t);
};

extern const struct target_ops to_json, to_journal, to_syslog, to_nats;

/*
 * The receiver will never take the message called @id: it is missed, once the
 * batch is safe.  From any thread, until the target is closed.
 */
void target_left_out(struct target *t, const char *id);
/* Set t->why; returns @ret. */
__attribute__((format(printf, 3, 4))) int target_fail(struct target *t, int ret,
						      const char *fmt, ...);
/* A message about the section's configuration; returns -EINVAL. */
__attribute__((format(printf, 2, 3))) int
target_wrong(const struct sink_config *sc, const char *fmt, ...);
/* Value of @key: yes or no, or a number of seconds ("2m"). */
int target_bool(const struct sink_config *sc, const char *key, bool *value);
int target_seconds(const struct sink_config *sc, const char *key,
		   uint32_t *value);

/* ---- conn.c ---- */

enum conn_kind { CONN_UDP, CONN_TCP, CONN_TLS };

struct conn {
	struct target *t; /* for waits and messages, set after conn_make() */
	enum conn_kind kind;
	char *host, *port;
	char *name; /* that its certificate must have */
	void *tls; /* SSL_CTX */
	void *ssl;
	int fd;
};

/* "tcp:HOST:PORT" and the keys ca, cert, key, name; 0 or -EINVAL. */
int conn_make(struct conn *c, const struct sink_config *sc,
	      const char *address);
int conn_open(struct conn *c);
/* All of it; for UDP one datagram. */
int conn_write(struct conn *c, const void *data, size_t len);
/* Wait until the peer's kernel has it all, as far as this one can know. */
int conn_drain(struct conn *c);
void conn_close(struct conn *c);
void conn_free(struct conn *c);

/* ---- cursor.c ---- */

/* Where a sink is in a region: a file of two slots, written in turn. */
struct cursor {
	int dir; /* borrowed */
	const struct stopper *stop; /* borrowed */
	const char *uuid, *sink; /* borrowed */
	uint8_t raw_uuid[16];
	int fd; /* -1: not open */
	uint32_t slot_size;
	uint64_t seq; /* of the newest slot, 0: none */
	bool dirty; /* written since it was last synced */
};

void cursor_init(struct cursor *c, int dir, const struct stopper *stop,
		 const char *uuid, const uint8_t raw_uuid[16],
		 const char *sink);
/*
 * 1 and *places (to be free()d), 0: there is none, -EBADMSG: both slots are
 * damaged, or another negative errno.  For a region of @rings rings.
 */
int cursor_load(struct cursor *c, uint32_t rings, struct dlog_place **places,
		size_t *n);
/* Does nothing once its thread is left behind. */
int cursor_save(struct cursor *c, const struct dlog_place *places, size_t n);
void cursor_sync(struct cursor *c);
void cursor_close(struct cursor *c); /* does not sync */

/* ---- follower.c ---- */

/* A guest's region as the main thread last said. */
struct followed {
	char *guest, *region;
	uint8_t uuid[16];
	int64_t rate, bytes; /* 0: no limit */
};

/* What a batch may still take. */
struct batch {
	struct target *t;
	int level;
	uint32_t records;
	uint64_t bytes, until; /* CLOCK_MONOTONIC ns */
	uint32_t put; /* messages handed to the target */
};

struct follower {
	struct followed what;
	char uuid[UUID_TEXT];
	uint64_t dev, ino;
	/* Without a cursor begin at the newest record, unless the region was
	 * made after dlogd was @started (real, ns). */
	bool newest;
	uint64_t started;
	struct dlog *d;
	struct dlog_reader *r;
	struct cursor cursor;
	/* the places that are safely behind us, NULL: none is known */
	struct dlog_place *places;
	size_t nr_places;
	uint64_t due; /* CLOCK_MONOTONIC ns: look then */
	int wake; /* or when this can be read; -1: nobody tells */
	uint32_t idle_ms;
	uint64_t rate_at, bytes_at; /* the limits' clocks */
	/* dlog_reader_missed() that was reported, and that at the cursor */
	uint64_t told, told_safe;
	bool held; /* by a limit, until due */
	bool complained;
	bool leaving; /* the guest has gone: read to the end */
	bool dry; /* nothing has come for longer than a line is joined */
	uint64_t leave_at;
	bool seen; /* scratch */
	/* this batch */
	bool moved;
	int broken; /* reading failed */
	uint64_t got, got_bytes, got_missed, held_ns;
	_Atomic uint64_t left_out; /* target_left_out() */
	/* counts, under the forwarder's lock */
	uint64_t records, bytes, missed;
};

struct follower *follower_new(struct forwarder *f, const struct followed *what);
void follower_free(struct follower *fo);
bool follower_is(const struct follower *fo, const struct followed *what);
/*
 * Up to @quota records into the batch.  How many were taken (what the level
 * filters counts too), or the target's negative errno.
 */
int follower_take(struct follower *fo, struct batch *b, uint32_t quota);
/* The batch is safe: count it (under the lock), remember the place. */
void follower_count(struct follower *fo);
void follower_commit(struct follower *fo);
/*
 * Before the thread sleeps: fo->wake, if the region is one of those whose
 * stores somebody tells of (dlog_reader_wake_fd()).
 */
void follower_listen(struct follower *fo);
/* Look now, and as often as at one that had news. */
void follower_hurry(struct follower *fo);
/* It is not: go back there. */
void follower_rewind(struct follower *fo);

/* ---- forward.c, engine.c ---- */

/* The guests of one moment; shared by forwarders, refs under forward->lock. */
struct roll {
	int refs;
	size_t n;
	struct followed guest[];
};

/* Counts of a guest's followers that are gone. */
struct tally {
	char *guest;
	uint64_t records, bytes, missed;
};

/* A message of dlogd's own that waits in a sink's queue. */
struct told {
	char *guest, *id, *event, *text, *incident, *bundle;
	uint64_t real;
	uint32_t boot;
	int level;
};

struct forwarder {
	struct forward *fw;
	const struct sink_config *sc;
	struct target *t;
	bool newest;
	int dir; /* of cursors, borrowed */
	uint64_t started; /* real, ns: of dlogd */
	pthread_t thread;
	struct stopper stop;

	pthread_mutex_t lock;
	int news; /* eventfd: look at roll, queue and stop */
	struct sink_stats st;
	struct roll *roll; /* new list of guests, NULL: as before */
	struct told queue[FORWARD_QUEUE];
	uint32_t queue_head, queue_n;
	uint64_t told_lost; /* the queue was full */
	struct follower **follower; /* changed by the thread only */
	size_t nr_followers;
	struct tally *tally;
	size_t nr_tallies;

	/* the thread's own */
	size_t turn;
	bool open;
	uint32_t backoff_ms;
	uint64_t try_at, sync_at, trim_at;
};

void *forwarder_main(void *arg);
void roll_put(struct forward *fw, struct roll *roll);
void told_free(struct told *told);

#endif
