// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * web.c - the server: libmicrohttpd in the main loop, requests.
 *
 * libmicrohttpd runs without a thread of its own: its epoll descriptor is a
 * source of the main loop, its time limit a timer that is set before each
 * sleep.  What a request needs from a disk the worker fetches, meanwhile the
 * connection is suspended (see web.h).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "web.h"

#define CONNECTIONS 64u /* besides streams */
#define IDLE_S 30u /* a client that sends or takes nothing */
#define BLOCK 32768u
#define AGAIN_USEC 3000000u

uint64_t web_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* ---- requests ---- */

static struct req *req_new(struct web *w, struct MHD_Connection *conn)
{
	struct req *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->w = w;
	r->conn = conn;
	r->fd = -1;
	r->status = MHD_HTTP_OK;
	r->type = "text/html; charset=utf-8";
	r->size = MHD_SIZE_UNKNOWN;
	r->out.fd = r->fresh.fd = r->tmp.fd = -1;
	r->next = w->reqs;
	w->reqs = r;
	return r;
}

/* The worker has none that ends: a suspended connection does not. */
static void req_free(struct req *r)
{
	struct req **p = &r->w->reqs;

	while (*p != r)
		p = &(*p)->next;
	*p = r->next;
	if (r->stream)
		r->w->nr_streams--;
	region_tail_end(r);
	if (r->fd >= 0)
		close(r->fd);
	free(r->name);
	free(r->path);
	free(r->file);
	sink_free(&r->out);
	sink_free(&r->fresh);
	sink_free(&r->tmp);
	free(r);
}

static void suspend(struct req *r)
{
	MHD_suspend_connection(r->conn);
	r->suspended = true;
}

void web_wake(struct req *r)
{
	if (!r->suspended)
		return;
	r->suspended = false;
	r->w->woken = true;
	MHD_resume_connection(r->conn);
}

void web_refuse(struct req *r, unsigned int status, const char *why)
{
	r->status = status;
	r->type = "text/plain; charset=utf-8";
	r->attachment = false;
	r->out.len = r->fresh.len = 0;
	sink_printf(&r->fresh, "%s\n", why);
	r->end = true;
}

static ssize_t body(void *cls, uint64_t pos, char *buf, size_t max)
{
	struct req *r = cls;
	size_t n;

	(void)pos;
	if (r->sent == r->out.len) {
		r->sent = r->out.len = 0;
		if (!r->more(r)) {
			if (r->end)
				return MHD_CONTENT_READER_END_OF_STREAM;
			suspend(r);
			return 0;
		}
		r->said = web_now();
	}
	if (r->out.error)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	n = r->out.len - r->sent;
	if (n > max)
		n = max;
	memcpy(buf, r->out.buf + r->sent, n);
	r->sent += n;
	return (ssize_t)n;
}

/* The whole body: the main thread's part, then the worker's. */
static struct MHD_Response *whole(struct req *r)
{
	struct MHD_Response *answer;

	sink_put(&r->out, r->fresh.buf ? r->fresh.buf : "", r->fresh.len);
	if (r->out.error)
		return NULL;
	answer = MHD_create_response_from_buffer(r->out.len, r->out.buf,
						 MHD_RESPMEM_MUST_FREE);
	if (answer)
		r->out = (struct sink){ .fd = -1 };
	return answer;
}

/* Nothing from elsewhere, no script but ours, in nobody's frame. */
static void headers(struct req *r, struct MHD_Response *answer)
{
	static const char *const all[][2] = {
		{ "Content-Security-Policy",
		  "default-src 'none'; script-src 'self'; style-src 'self'; "
		  "connect-src 'self'; img-src 'self' data:; base-uri 'none'; "
		  "form-action 'none'; frame-ancestors 'none'" },
		{ "X-Content-Type-Options", "nosniff" },
		{ "Referrer-Policy", "no-referrer" },
		{ "Cross-Origin-Resource-Policy", "same-origin" },
		{ "Cross-Origin-Opener-Policy", "same-origin" },
		{ "X-Frame-Options", "DENY" },
		{ "Cache-Control", "no-store" },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		MHD_add_response_header(answer, all[i][0], all[i][1]);
	MHD_add_response_header(answer, "Content-Type", r->type);
	if (r->attachment)
		MHD_add_response_header(answer, "Content-Disposition",
					"attachment");
	if (r->status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(answer, "Allow", "GET, HEAD");
	if (r->status == MHD_HTTP_SERVICE_UNAVAILABLE ||
	    r->status == MHD_HTTP_TOO_MANY_REQUESTS)
		MHD_add_response_header(answer, "Retry-After", "5");
}

static enum MHD_Result reply(struct req *r)
{
	struct MHD_Response *answer;
	enum MHD_Result ret;

	if (r->more && !r->end && (!r->head || r->size != MHD_SIZE_UNKNOWN))
		answer = MHD_create_response_from_callback(r->size, BLOCK, body,
							   r, NULL);
	else
		answer = whole(r);
	if (!answer)
		return MHD_NO; /* no memory: the connection is closed */
	headers(r, answer);
	ret = MHD_queue_response(r->conn, r->status, answer);
	MHD_destroy_response(answer);
	return ret;
}

static enum MHD_Result request(void *cls, struct MHD_Connection *conn,
			       const char *url, const char *method,
			       const char *version, const char *data,
			       size_t *data_size, void **con_cls)
{
	struct req *r = *con_cls;

	(void)version;
	(void)data;
	if (r && r->routed)
		return reply(r); /* the worker has answered */
	if (!r) {
		r = req_new(cls, conn);
		*con_cls = r;
		/* An answer already now would end the connection. */
		if (!r || !strcmp(method, MHD_HTTP_METHOD_GET) ||
		    !strcmp(method, MHD_HTTP_METHOD_HEAD))
			return r ? MHD_YES : MHD_NO;
	}
	if (*data_size) { /* a body that nobody wants */
		*data_size = 0;
		return MHD_YES;
	}
	r->routed = true;
	web_route(r, url, method);
	if (r->work && !r->path)
		return MHD_NO; /* no memory */
	if (!r->work || r->end)
		return reply(r);
	worker_ask(r);
	suspend(r);
	return MHD_YES;
}

static void completed(void *cls, struct MHD_Connection *conn, void **con_cls,
		      enum MHD_RequestTerminationCode why)
{
	(void)cls;
	(void)conn;
	(void)why;
	if (*con_cls)
		req_free(*con_cls);
	*con_cls = NULL;
}

static int on_answers(sd_event_source *src, int fd, uint32_t events, void *arg)
{
	struct web *w = arg;
	uint64_t n;

	(void)src;
	(void)events;
	if (read(fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		log_(LOG_ERR, "web: eventfd: %m");
	for (struct req *r = w->reqs; r; r = r->next)
		if (r->work && worker_answered(r))
			web_wake(r);
	return 0;
}

/* ---- libmicrohttpd in the main loop ---- */

static int on_io(sd_event_source *src, int fd, uint32_t events, void *arg)
{
	struct web *w = arg;

	(void)src;
	(void)fd;
	(void)events;
	w->woken = false;
	MHD_run(w->mhd);
	return 0;
}

static int on_timeout(sd_event_source *src, uint64_t usec, void *arg)
{
	(void)usec;
	return on_io(src, -1, 0, arg);
}

/* Before the loop sleeps: how long it may. */
static int before_sleep(sd_event_source *src, void *arg)
{
	struct web *w = arg;
	MHD_UNSIGNED_LONG_LONG ms = 0;

	(void)src;
	if (!w->woken && MHD_get_timeout(w->mhd, &ms) != MHD_YES)
		return sd_event_source_set_enabled(w->timeout, SD_EVENT_OFF);
	sd_event_source_set_time_relative(w->timeout, ms * 1000);
	return sd_event_source_set_enabled(w->timeout, SD_EVENT_ONESHOT);
}

static void mhd_log(void *arg, const char *fmt, va_list ap)
{
	char text[512];

	(void)arg;
	vsnprintf(text, sizeof(text), fmt, ap);
	log_(LOG_DEBUG, "web: %s", text);
}

/* Once a second: what nobody told of, heartbeat ages above all. */
static int on_tick(sd_event_source *src, uint64_t usec, void *arg)
{
	struct web *w = arg;

	if (w->nr_streams) {
		worker_watch(w);
		events_look(w, NULL);
	}
	sd_event_source_set_time(src, usec + 1000000);
	return sd_event_source_set_enabled(src, SD_EVENT_ONESHOT);
}

static int start_mhd(struct web *w)
{
	const union MHD_DaemonInfo *info;
	unsigned int most = CONNECTIONS + w->m->cfg.web_clients;

	w->mhd = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0,
		NULL, NULL, request, w, MHD_OPTION_EXTERNAL_LOGGER, mhd_log, w,
		MHD_OPTION_LISTEN_SOCKET, w->listen_fd,
		MHD_OPTION_NOTIFY_COMPLETED, completed, w,
		MHD_OPTION_CONNECTION_LIMIT, most,
		MHD_OPTION_CONNECTION_TIMEOUT, IDLE_S, MHD_OPTION_END);
	if (!w->mhd)
		return -EIO;
	w->listen_fd = -1; /* libmicrohttpd's now */
	info = MHD_get_daemon_info(w->mhd, MHD_DAEMON_INFO_EPOLL_FD);
	return info ? info->epoll_fd : -EIO;
}

static int start_loop(struct web *w, int epoll_fd, int answers)
{
	sd_event *loop = w->m->loop;
	int ret;

	ret = sd_event_add_io(loop, &w->io, epoll_fd, EPOLLIN, on_io, w);
	if (ret >= 0)
		ret = sd_event_add_time_relative(loop, &w->timeout,
						 CLOCK_MONOTONIC, 0, 1000,
						 on_timeout, w);
	if (ret >= 0)
		ret = sd_event_source_set_prepare(w->io, before_sleep);
	if (ret >= 0)
		ret = sd_event_add_time_relative(loop, &w->tick,
						 CLOCK_MONOTONIC, 1000000,
						 50000, on_tick, w);
	if (ret >= 0)
		ret = sd_event_add_io(loop, &w->answers, answers, EPOLLIN,
				      on_answers, w);
	return ret;
}

/* ---- interface ---- */

static int serve(struct web *w)
{
	int answers, ret = worker_start(w, &answers);

	if (ret >= 0)
		ret = start_mhd(w);
	if (ret >= 0)
		ret = start_loop(w, ret, answers);
	if (ret < 0)
		log_(LOG_ERR, "web: cannot serve %s: %s", w->m->cfg.listen,
		     strerror(-ret));
	return ret < 0 ? ret : 0;
}

static int on_again(sd_event_source *src, uint64_t usec, void *arg)
{
	struct web *w = arg;

	if (listen_open(w)) {
		sd_event_source_set_time(src, usec + AGAIN_USEC);
		return sd_event_source_set_enabled(src, SD_EVENT_ONESHOT);
	}
	w->again = sd_event_source_disable_unref(src);
	if (serve(w))
		web_stop(w->m);
	return 0;
}

/* The page is not worth more than the rest: that goes on without it. */
static int open_later(struct web *w, int why)
{
	log_(LOG_ERR, "web: cannot serve %s: %s; it is tried every %u s",
	     w->m->cfg.listen, strerror(-why), AGAIN_USEC / 1000000);
	return sd_event_add_time_relative(w->m->loop, &w->again,
					  CLOCK_MONOTONIC, AGAIN_USEC, 0,
					  on_again, w);
}

int web_start(struct monitor *m)
{
	struct web *w;
	int ret;

	if (!m->cfg.listen || !*m->cfg.listen)
		return 0;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->m = m;
	w->scratch.fd = w->tmp.fd = w->listen_fd = -1;
	m->web = w;
	html_start();
	ret = listen_parse(w, m->cfg.listen);
	if (ret) {
		log_(LOG_ERR, "web: cannot serve %s: %s", m->cfg.listen,
		     strerror(-ret));
	} else {
		ret = listen_open(w);
		ret = ret ? open_later(w, ret) : serve(w);
	}
	if (ret >= 0)
		return 0;
	web_stop(m);
	return ret;
}

void web_stop(struct monitor *m)
{
	struct web *w = m->web;

	if (!w)
		return;
	m->web = NULL;
	worker_stop(w);
	sd_event_source_disable_unref(w->again);
	sd_event_source_disable_unref(w->io);
	sd_event_source_disable_unref(w->timeout);
	sd_event_source_disable_unref(w->tick);
	sd_event_source_disable_unref(w->answers);
	for (struct req *r = w->reqs; r; r = r->next) {
		r->end = true;
		web_wake(r);
	}
	if (w->mhd)
		MHD_stop_daemon(w->mhd);
	listen_close(w);
	events_stop(w);
	sink_free(&w->scratch);
	sink_free(&w->tmp);
	html_stop();
	free(w);
}

void web_forget(struct monitor *m, const struct guest *g)
{
	if (m->web)
		events_forget(m->web, g);
}

void web_changed(struct monitor *m, const struct guest *g)
{
	if (m->web && m->web->nr_streams)
		events_look(m->web, g);
}
