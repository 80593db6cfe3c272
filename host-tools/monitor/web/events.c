// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * events.c - what has changed, for the pages that stand open.
 *
 * A row has changed when it would be written differently.  Each has the number
 * of its newest change, each stream the number up to which it has been sent:
 * a client that is slow gets the newest state later, and nothing is kept for
 * it meanwhile.
 */
#include <search.h>
#include <stdlib.h>

#include "web.h"

/* ---- views ---- */

static int compare(const void *a, const void *b)
{
	const struct guest *x = ((const struct view *)a)->g;
	const struct guest *y = ((const struct view *)b)->g;

	return x < y ? -1 : x > y;
}

static struct view *view_new(struct web *w, const struct guest *g)
{
	struct view *v = calloc(1, sizeof(*v)), **end = &w->views;

	if (!v)
		return NULL;
	v->g = g;
	if (!tsearch(v, &w->view_tree, compare)) {
		free(v);
		return NULL;
	}
	worker_lock(w);
	while (*end)
		end = &(*end)->next;
	*end = v;
	worker_unlock(w);
	return v;
}

/* The worker's copy of the path. */
static void view_region(struct web *w, struct view *v, const char *path)
{
	if ((!path && !v->region) ||
	    (path && v->region && !strcmp(path, v->region)))
		return;
	worker_lock(w);
	free(v->region);
	v->region = path ? strdup(path) : NULL;
	v->print = v->looked = 0;
	v->line_len = 0;
	memset(v->release, 0, sizeof(v->release));
	worker_unlock(w);
}

struct view *view_of(struct web *w, const struct guest *g)
{
	struct view key = { .g = g };
	void *found = tfind(&key, &w->view_tree, compare);
	struct view *v = found ? *(struct view **)found : view_new(w, g);

	if (v)
		view_region(w, v, g->region);
	return v;
}

static void keep(void *node)
{
	(void)node;
}

void events_stop(struct web *w)
{
	struct view *v;

	tdestroy(w->view_tree, keep);
	while ((v = w->views)) {
		w->views = v->next;
		free(v->region);
		free(v);
	}
}

static bool no_more(struct req *r)
{
	(void)r;
	return false;
}

void events_forget(struct web *w, const struct guest *g)
{
	struct view key = { .g = g }, **at = &w->views, *v;
	void *found = tfind(&key, &w->view_tree, compare);

	for (struct req *r = w->reqs; r; r = r->next) {
		if (r->only != g)
			continue;
		r->only = NULL;
		r->more = no_more;
		r->end = true;
		web_wake(r);
	}
	if (!found)
		return;
	v = *(struct view **)found;
	tdelete(v, &w->view_tree, compare);
	worker_lock(w);
	while (*at != v)
		at = &(*at)->next;
	*at = v->next;
	worker_unlock(w);
	free(v->region);
	free(v);
}

/* ---- looking ---- */

static struct rows json_rows(struct web *w, struct sink *s)
{
	return (struct rows){ .s = s, .tmp = &w->tmp, .j = { .s = s } };
}

/* @scratch holds what would be written: is it new? */
static void compare_hash(struct web *w, uint64_t *hash, uint64_t *serial)
{
	uint64_t now = html_hash(w->scratch.buf, w->scratch.len);

	if (*hash != now || !*serial)
		*serial = ++w->serial;
	*hash = now;
}

static void look_at_guest(struct web *w, const struct guest *g)
{
	struct rows rs = json_rows(w, &w->scratch);
	struct view *v = view_of(w, g);

	w->scratch.len = 0;
	if (!v)
		return;
	row_guest(&rs, w, g);
	compare_hash(w, &v->hash, &v->serial);
}

static void look_at_tables(struct web *w)
{
	struct rows rs = json_rows(w, &w->scratch);

	w->scratch.len = 0;
	rows_sinks(&rs, w);
	compare_hash(w, &w->sinks_hash, &w->sinks_serial);
	rs = json_rows(w, &w->scratch);
	w->scratch.len = 0;
	rows_incidents(&rs, w, NULL);
	compare_hash(w, &w->incidents_hash, &w->incidents_serial);
}

void events_look(struct web *w, const struct guest *g)
{
	uint64_t before = w->serial, now = web_now();

	if (g)
		look_at_guest(w, g);
	for (struct guest *o = g ? NULL : w->m->guests; o; o = o->next)
		look_at_guest(w, o);
	look_at_tables(w);
	for (struct req *r = w->reqs; r; r = r->next)
		if (r->more == events_more &&
		    (w->serial != before || now - r->said > WEB_KEEP_ALIVE))
			web_wake(r);
}

/* ---- telling ---- */

/* {"table":...,"whole":...,"rows":[ */
static struct rows begin(struct req *r, const char *table, bool whole)
{
	struct rows rs = json_rows(r->w, &r->out);

	sink_puts(&r->out, "data:");
	json_open(&rs.j, '{');
	json_key(&rs.j, "table");
	json_text(&rs.j, table);
	json_key(&rs.j, "whole");
	json_bool(&rs.j, whole);
	json_key(&rs.j, "rows");
	json_open(&rs.j, '[');
	return rs;
}

static void end(struct rows *rs)
{
	json_close(&rs->j, ']');
	json_close(&rs->j, '}');
	sink_puts(rs->s, "\n\n");
}

static void tell_guests(struct req *r)
{
	struct rows rs = begin(r, "guests", !r->serial);
	struct guest *g;
	struct view *v;

	for (g = r->w->m->guests; g; g = g->next) {
		v = view_of(r->w, g);
		if (v && v->serial > r->serial && (!r->only || r->only == g))
			row_guest(&rs, r->w, g);
	}
	end(&rs);
}

static bool guests_changed(struct req *r)
{
	for (struct view *v = r->w->views; v; v = v->next)
		if (v->serial > r->serial && (!r->only || r->only == v->g))
			return true;
	return !r->serial;
}

bool events_more(struct req *r)
{
	struct web *w = r->w;
	struct rows rs;

	if (guests_changed(r))
		tell_guests(r);
	if (w->sinks_serial > r->serial && !r->only) {
		rs = begin(r, "sinks", true);
		rows_sinks(&rs, w);
		end(&rs);
	}
	if (w->incidents_serial > r->serial) {
		rs = begin(r, "incidents", true);
		rows_incidents(&rs, w, r->only ? r->only->name : NULL);
		end(&rs);
	}
	if (!r->out.len && web_now() - r->said > WEB_KEEP_ALIVE)
		sink_puts(&r->out, ":\n\n");
	r->serial = w->serial;
	return r->out.len;
}
