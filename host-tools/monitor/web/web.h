/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * web.h - the read-only web page and the metrics: what its files share.
 *
 *	web.c      libmicrohttpd in the main loop, requests
 *	listen.c   the socket, and by which names it may be asked for
 *	routes.c   which path is which page
 *	worker.c   the one thread that reads regions and bundles for the page
 *	html.c     escaping, tables as HTML and as JSON
 *	pages.c    the pages that the main thread can write by itself
 *	events.c   what has changed, for pages that stand open
 *	region.c   what is in a region: boots, lines, live tail, loss
 *	files.c    what is in a bundle
 *	metrics.c  OpenMetrics
 *
 * The main thread never waits: what touches a region's rings or a bundle is
 * done by the worker.  A request *asks* the worker and its connection is
 * suspended until the answer is there; a stream asks anew each time that its
 * client has taken everything.  So a slow client costs nothing but its own
 * answers: what it does not take is not even read.
 *
 * Guest text goes through html_text() or cell_text() and nothing else.
 */
#ifndef DLOG_WEB_H
#define DLOG_WEB_H

#include <microhttpd.h>

#include "entry.h"
#include "monitor/monitor.h"

#define WEB_LINES 100u /* of a guest, on its page */
#define WEB_LINE_MAX 4096u /* bytes of one record that are shown */
#define WEB_INCIDENTS 100u /* on the first page */
#define WEB_KEEP_ALIVE (UINT64_C(15) * NS_PER_S) /* finds clients that went */
#define NS_PER_S UINT64_C(1000000000)

struct worker;

/* What the page knows of a guest beyond struct guest; freed before that is, or
 * at the end. */
struct view {
	const struct guest *g;
	struct view *next;
	uint64_t hash; /* of the row as it was last, main thread */
	uint64_t serial; /* when it last changed */
	uint64_t loss_asked; /* CLOCK_MONOTONIC ns */
	/* between main thread and worker, under the worker's lock */
	char *region;
	char release[65];
	char line[256]; /* raw guest bytes, the last record's first ones */
	size_t line_len;
	/* the worker's own */
	uint64_t looked, print;
};

struct web {
	struct monitor *m;
	struct MHD_Daemon *mhd;
	int listen_fd;
	/* from the configuration: name and addresses, or path */
	char *host, *socket;
	struct addrinfo *addrs;
	bool socket_made; /* ours, to be removed */
	sd_event_source *io, *timeout, *tick, *answers;
	sd_event_source *again; /* NULL: it has been opened */
	struct req *reqs;
	uint32_t nr_streams;
	bool woken; /* a connection was resumed: libmicrohttpd has work */
	struct worker *worker;
	/* events.c */
	void *view_tree; /* tsearch(3), by guest */
	struct view *views; /* the worker reads the list, under its lock */
	uint64_t serial; /* of the newest change */
	uint64_t sinks_hash, sinks_serial, incidents_hash, incidents_serial;
	struct sink scratch, tmp; /* main thread */
};

enum work_result {
	WORK_DONE, /* there is something to send, or r->end is set */
	WORK_AGAIN, /* nothing yet: call again in 100 ms */
};

/*
 * One request, from its header to its last byte.  Belongs to the main thread;
 * while @asked is set the worker has what stands behind it.
 */
struct req {
	struct web *w;
	struct MHD_Connection *conn;
	struct req *next;
	bool head; /* HEAD: no body */
	bool routed, suspended, stream;
	struct sink out; /* to be sent, from @sent on */
	size_t sent;
	/* A stream's next part into @out; false: none, and unless @end is set
	 * someone wakes it. */
	bool (*more)(struct req *r);
	/* events.c */
	const struct guest *only; /* NULL: all */
	uint64_t serial; /* changes up to this one have been sent */
	uint64_t said; /* CLOCK_MONOTONIC ns of the last byte */

	bool asked; /* worker's lock */
	bool end; /* nothing follows */
	enum work_result (*work)(struct req *r);
	struct req *next_asked;
	struct sink fresh, tmp; /* what it made; its scratch */
	unsigned int status; /* of HTTP */
	const char *type; /* of content */
	bool attachment;
	uint64_t size; /* MHD_SIZE_UNKNOWN, or of the file */
	char *path, *file; /* region or bundle; file in it */
	char *name; /* of the guest, for region.c */
	int fd; /* files.c: the file, and what was read of it */
	uint64_t read;
	/* region.c's tail */
	struct dlog *d;
	struct dlog_reader *reader;
	uint64_t missed, inode, checked;
};

/* ---- web.c ---- */

uint64_t web_now(void); /* CLOCK_MONOTONIC, ns */
/* Resume a stream that waits. */
void web_wake(struct req *r);
/* Answer with this status and one line of text. */
void web_refuse(struct req *r, unsigned int status, const char *why);

/* ---- listen.c ---- */

/* "ADDRESS:PORT", "[V6]:PORT" or the path of a socket; -EINVAL. */
int listen_parse(struct web *w, const char *where);
/* Into listen_fd; may be tried again when it fails. */
int listen_open(struct web *w);
void listen_close(struct web *w);
/* Does this Host header name what the connection came to? */
bool listen_means_us(struct web *w, struct MHD_Connection *conn,
		     const char *header);

/* ---- routes.c ---- */

/* Fill @r in: out, or work, or more. */
void web_route(struct req *r, const char *url, const char *method);
/* The worker is to do @work with @g's region. */
void route_work(struct req *r, const struct guest *g,
		enum work_result (*work)(struct req *r));

/* ---- worker.c ---- */

int worker_start(struct web *w, int *answers);
/* Waits for what it is doing. */
void worker_stop(struct web *w);
void worker_lock(struct web *w);
void worker_unlock(struct web *w);
void worker_ask(struct req *r);
/* Has @r been answered (or never asked)? */
bool worker_answered(struct req *r);
/* Somebody looks at the first page: keep last lines fresh for a while. */
void worker_watch(struct web *w);
/* @more of streams that the worker makes. */
bool worker_more(struct req *r);

/* ---- html.c ---- */

/* A table's rows, written as HTML or as JSON for the script. */
struct rows {
	struct sink *s, *tmp;
	bool html, head;
	struct json j;
};

void html_start(void);
void html_stop(void);
/* @text with control characters as \xNN, and escaped for HTML; @line: line
 * feeds too. */
void html_text(struct sink *s, const void *text, size_t len, bool line);
/* The same without HTML's escapes: for JSON that a script shows as text. */
void html_plain(struct sink *s, const void *text, size_t len);
/* Up to the heading; @refresh: seconds, without a script, 0: never. */
void html_page(struct sink *s, const char *title, unsigned int refresh);
void html_page_end(struct sink *s);
void html_table(struct sink *s, const char *id, const char *caption,
		const char *const *columns);
void html_table_end(struct sink *s);
/* "2026-11-21 18:03:11" (UTC), "" for 0. */
void html_date(char out[32], uint64_t real);
void html_row(struct rows *rs, const char *key);
void html_row_end(struct rows *rs);
/* One cell; @class and @href may be NULL. */
void cell_text(struct rows *rs, const char *class, const char *href,
	       const void *text, size_t len);
void cell_printf(struct rows *rs, const char *class, const char *href,
		 const char *fmt, ...) __attribute__((format(printf, 4, 5)));
uint64_t html_hash(const void *data, size_t len);

/* ---- pages.c ---- */

void page_front(struct req *r);
void page_guest(struct req *r, struct guest *g); /* its first half */
void page_api(struct req *r);
/* Age of the oldest heartbeat of @g's online CPUs, UINT64_MAX: none. */
uint64_t page_heartbeat_age(const struct guest *g);
void row_guest(struct rows *rs, struct web *w, const struct guest *g);
void rows_sinks(struct rows *rs, struct web *w);
void rows_incidents(struct rows *rs, struct web *w, const char *guest);

/* ---- events.c ---- */

struct view *view_of(struct web *w, const struct guest *g);
bool events_more(struct req *r);
void events_stop(struct web *w);
/* End what waits for changes of @g, and drop its view. */
void events_forget(struct web *w, const struct guest *g);
/* Look for changes; of every guest: @g NULL. */
void events_look(struct web *w, const struct guest *g);

/* ---- region.c, the worker's ---- */

enum work_result region_page(struct req *r); /* the second half */
enum work_result region_loss(struct req *r);
enum work_result region_tail(struct req *r);
void region_tail_end(struct req *r);
/* Last line and release into @v's fields.  With the worker's lock held, drops
 * it while it reads: @v may be gone afterwards. */
void region_look(struct web *w, struct view *v);

/* ---- files.c, the worker's ---- */

enum work_result files_list(struct req *r);
enum work_result files_send(struct req *r);

/* ---- metrics.c ---- */

void metrics_put(struct sink *s, struct monitor *m);

/* ---- assets.c ---- */

extern const char asset_style[], asset_style_end[];
extern const char asset_script[], asset_script_end[];

#endif
