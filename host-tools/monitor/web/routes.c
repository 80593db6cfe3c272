// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * routes.c - which path is which page.
 *
 * What stands in a path is looked up in the lists of guests and incidents and
 * never becomes part of a file's path; only the last component of a bundle's
 * file does, beneath the opened bundle (files.c).
 */
#include <stdlib.h>

#include "web.h"

#define JSON "application/json; charset=utf-8"

static void put_asset(struct req *r, const char *type, const char *from,
		      const char *end)
{
	r->type = type;
	sink_put(&r->out, from, (size_t)(end - from));
}

/* The next component of @path into @part; false: none, or too long. */
static bool component(const char **path, char *part, size_t size)
{
	size_t len = strcspn(*path, "/");

	if (!len || len >= size)
		return false;
	memcpy(part, *path, len);
	part[len] = '\0';
	*path += len;
	return true;
}

/* A response that does not end: one of few. */
static bool take_stream(struct req *r)
{
	r->type = "text/event-stream";
	if (r->head)
		return false;
	if (r->w->nr_streams >= r->w->m->cfg.web_clients) {
		web_refuse(r, MHD_HTTP_SERVICE_UNAVAILABLE,
			   "Too many pages stand open ([web] clients).");
		return false;
	}
	r->stream = true;
	r->w->nr_streams++;
	return true;
}

static void route_events(struct req *r, const struct guest *only)
{
	if (!take_stream(r))
		return;
	r->only = only;
	r->more = events_more;
	events_look(r->w, NULL);
	worker_watch(r->w);
}

/* Copies: the worker may be at it when the guest has been forgotten. */
void route_work(struct req *r, const struct guest *g,
		enum work_result (*work)(struct req *r))
{
	r->name = strdup(g->name);
	r->path = r->name ? strdup(g->region) : NULL;
	r->work = work;
}

/* These need the region. */
static void route_region(struct req *r, struct guest *g,
			 enum work_result (*work)(struct req *r))
{
	struct view *v = view_of(r->w, g);

	if (!g->region) {
		web_refuse(r, MHD_HTTP_NOT_FOUND,
			   "No region is known of this guest.");
		return;
	}
	if (work == region_loss) {
		if (v->loss_asked && web_now() - v->loss_asked < 5 * NS_PER_S) {
			web_refuse(r, MHD_HTTP_TOO_MANY_REQUESTS,
				   "Losses are counted at most every 5 s.");
			return;
		}
		v->loss_asked = web_now();
	}
	if (work == region_tail) {
		if (!take_stream(r))
			return;
		r->more = worker_more;
	}
	route_work(r, g, work);
}

static void route_guest(struct req *r, const char *path)
{
	char name[NAME_MAX_LEN + 1];
	struct guest *g = NULL;

	if (component(&path, name, sizeof(name)))
		g = guest_find(r->w->m, name, false);
	if (!g) {
		web_refuse(r, MHD_HTTP_NOT_FOUND, "No guest has this name.");
	} else if (!*path || !strcmp(path, "/")) {
		page_guest(r, g);
	} else if (!strcmp(path, "/tail")) {
		route_region(r, g, region_tail);
	} else if (!strcmp(path, "/loss")) {
		route_region(r, g, region_loss);
	} else if (!strcmp(path, "/events")) {
		route_events(r, g);
	} else {
		web_refuse(r, MHD_HTTP_NOT_FOUND, "There is no such page.");
	}
}

static const struct incident *find_incident(struct web *w, const char *guest,
					    const char *id)
{
	const struct incident *inc = incidents_list(w->m);

	while (inc && (!inc->guest || !inc->id || strcmp(inc->guest, guest) ||
		       strcmp(inc->id, id)))
		inc = inc->next;
	return inc;
}

/* GUEST/ID/ is the list, GUEST/ID/FILE the file. */
static void route_incident(struct req *r, const char *path)
{
	char guest[NAME_MAX_LEN + 1], id[256], file[256];
	const struct incident *inc = NULL;

	if (component(&path, guest, sizeof(guest)) && *path++ == '/' &&
	    component(&path, id, sizeof(id)) && *path++ == '/')
		inc = find_incident(r->w, guest, id);
	if (!inc || !inc->bundle) {
		web_refuse(r, MHD_HTTP_NOT_FOUND, "There is no such bundle.");
		return;
	}
	r->path = strdup(inc->bundle);
	if (!*path) {
		html_page(&r->out, id, 0);
		sink_printf(&r->out,
			    "<p>Guest <a href=\"/guest/%s\">%s</a></p>", guest,
			    guest);
		r->work = files_list;
	} else if (component(&path, file, sizeof(file)) && !*path) {
		r->file = strdup(file);
		r->work = files_send;
		r->more = worker_more;
	} else {
		web_refuse(r, MHD_HTTP_NOT_FOUND, "There is no such file.");
	}
}

static void route(struct req *r, const char *url)
{
	struct sink *out = &r->out;

	if (!strcmp(url, "/")) {
		page_front(r);
	} else if (!strncmp(url, "/guest/", 7)) {
		route_guest(r, url + 7);
	} else if (!strncmp(url, "/incident/", 10)) {
		route_incident(r, url + 10);
	} else if (!strcmp(url, "/events")) {
		route_events(r, NULL);
	} else if (!strcmp(url, "/api/guests")) {
		r->type = JSON;
		page_api(r);
	} else if (!strcmp(url, "/metrics")) {
		r->type = "application/openmetrics-text; version=1.0.0; "
			  "charset=utf-8";
		metrics_put(out, r->w->m);
	} else if (!strcmp(url, "/healthz")) {
		r->type = "text/plain; charset=utf-8";
		sink_puts(out, "ok\n");
	} else if (!strcmp(url, "/style.css")) {
		put_asset(r, "text/css; charset=utf-8", asset_style,
			  asset_style_end);
	} else if (!strcmp(url, "/script.js")) {
		put_asset(r, "text/javascript; charset=utf-8", asset_script,
			  asset_script_end);
	} else {
		web_refuse(r, MHD_HTTP_NOT_FOUND, "There is no such page.");
	}
}

void web_route(struct req *r, const char *url, const char *method)
{
	const char *host = MHD_lookup_connection_value(r->conn, MHD_HEADER_KIND,
						       MHD_HTTP_HEADER_HOST);

	r->head = !strcmp(method, MHD_HTTP_METHOD_HEAD);
	if (!r->head && strcmp(method, MHD_HTTP_METHOD_GET))
		web_refuse(r, MHD_HTTP_METHOD_NOT_ALLOWED,
			   "This page can only be read.");
	else if (!listen_means_us(r->w, r->conn, host))
		web_refuse(r, MHD_HTTP_MISDIRECTED_REQUEST,
			   "This is not the host that you asked for: use the "
			   "address that dlogd listens on, or localhost.");
	else
		route(r, url);
}
