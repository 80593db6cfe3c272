// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pages.c - the pages that the main thread can write from what it knows.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cli.h"
#include "web.h"

static const char *const guest_columns[] = {
	"Guest",     "State",	   "Since",	"Boot",	     "Kernel",
	"Heartbeat", "Stale CPUs", "Last line", "Incidents", NULL
};
static const char *const sink_columns[] = { "Sink",    "Type",	"Health",
					    "Records", "Bytes", "Missed",
					    "Errors",  NULL };
static const char *const incident_columns[] = { "When",	  "Guest",  "Event",
						"Detail", "Bundle", NULL };

/* ---- guests ---- */

uint64_t page_heartbeat_age(const struct guest *g)
{
	uint64_t now = web_now(), age = UINT64_MAX, one;

	for (uint32_t i = 0; i < g->nr_pulses; i++) {
		const struct pulse *p = &g->pulse[i];

		if (!p->online || !p->changed)
			continue;
		one = now > p->changed ? now - p->changed : 0;
		if (age == UINT64_MAX || one > age)
			age = one;
	}
	return age;
}

/* An age is worth telling while the guest should beat. */
static bool beats(const struct guest *g)
{
	return g->state == ST_RUNNING || g->state == ST_HUNG ||
	       g->state == ST_BOOTING;
}

/* Coarse, so that a healthy guest's row does not change all the time. */
static void cell_age(struct rows *rs, const struct guest *g)
{
	uint64_t age = page_heartbeat_age(g);
	uint64_t late = UINT64_C(3000000) * g->live.period_ms;

	if (age == UINT64_MAX || !beats(g))
		cell_printf(rs, NULL, NULL, "-");
	else if (age <= (late ? late : 3 * NS_PER_S))
		cell_printf(rs, "good", NULL, "beating");
	else
		cell_printf(rs, "bad", NULL, "%" PRIu64 ".%" PRIu64 " s ago",
			    age / NS_PER_S, age % NS_PER_S / (NS_PER_S / 10));
}

static unsigned int count_incidents(struct web *w, const char *guest)
{
	unsigned int n = 0;

	for (const struct incident *inc = incidents_list(w->m); inc;
	     inc = inc->next)
		n += !guest || (inc->guest && !strcmp(inc->guest, guest));
	return n;
}

static void cell_last_line(struct rows *rs, struct web *w, struct view *v,
			   const struct guest *g)
{
	char line[sizeof(v->line)];
	size_t len;

	if (g->bad) {
		cell_text(rs, "line bad", NULL, g->why_bad, strlen(g->why_bad));
		return;
	}
	worker_lock(w);
	len = v->line_len;
	memcpy(line, v->line, len);
	worker_unlock(w);
	cell_text(rs, "line", NULL, line, len);
}

static void cell_release(struct rows *rs, struct web *w, struct view *v)
{
	char release[sizeof(v->release)];

	worker_lock(w);
	memcpy(release, v->release, sizeof(release));
	worker_unlock(w);
	cell_text(rs, NULL, NULL, release,
		  strnlen(release, sizeof(release) - 1));
}

void row_guest(struct rows *rs, struct web *w, const struct guest *g)
{
	struct view *v = view_of(w, g);
	char href[NAME_MAX_LEN + 16], class[32], date[32];

	if (!v)
		return;
	snprintf(href, sizeof(href), "/guest/%s", g->name);
	snprintf(class, sizeof(class), "state %s", state_name(g->state));
	html_row(rs, g->name);
	cell_text(rs, "name", href, g->name, strlen(g->name));
	cell_text(rs, class, NULL, state_name(g->state),
		  strlen(state_name(g->state)));
	html_date(date, g->state_since);
	cell_text(rs, "date", NULL, date, strlen(date));
	cell_printf(rs, "number", NULL, g->boot ? "%u" : "-", g->boot);
	cell_release(rs, w, v);
	cell_age(rs, g);
	cell_printf(rs, g->stale_cpus ? "number bad" : "number", NULL, "%u",
		    g->stale_cpus);
	cell_last_line(rs, w, v, g);
	cell_printf(rs, "number", NULL, "%u", count_incidents(w, g->name));
	html_row_end(rs);
}

/* ---- sinks and incidents ---- */

void rows_sinks(struct rows *rs, struct web *w)
{
	struct sink_stats st;

	for (size_t i = 0; forward_stats(w->m, i, &st) > 0; i++) {
		html_row(rs, st.name);
		cell_text(rs, "name", NULL, st.name, strlen(st.name));
		cell_text(rs, NULL, NULL, st.type, strlen(st.type));
		cell_printf(rs, st.up ? "state up" : "state down", NULL,
			    st.up ? "up" : "down: %.255s", st.why);
		cell_printf(rs, "number", NULL, "%" PRIu64, st.records);
		cell_printf(rs, "number", NULL, "%" PRIu64, st.bytes);
		cell_printf(rs, st.missed ? "number bad" : "number", NULL,
			    "%" PRIu64, st.missed);
		cell_printf(rs, st.errors ? "number bad" : "number", NULL,
			    "%" PRIu64, st.errors);
		html_row_end(rs);
	}
}

static void cell_bundle(struct rows *rs, const struct incident *inc)
{
	char href[512];

	snprintf(href, sizeof(href), "/incident/%s/%s/", inc->guest, inc->id);
	if (!inc->bundle)
		cell_printf(rs, NULL, NULL,
			    inc->error ? "none" : "none wanted");
	else if (!inc->complete)
		cell_printf(rs, NULL, NULL, "being written");
	else
		cell_printf(rs, NULL, href, "files, %s",
			    cli_size(inc->bytes).s);
}

static void row_incident(struct rows *rs, const struct incident *inc)
{
	const char *detail = inc->detail ? inc->detail : "";
	char href[NAME_MAX_LEN + 16], date[32], key[512];

	snprintf(href, sizeof(href), "/guest/%s", inc->guest);
	snprintf(key, sizeof(key), "%s/%s", inc->guest, inc->id);
	html_row(rs, key);
	html_date(date, inc->real);
	cell_text(rs, "date", NULL, date, strlen(date));
	cell_text(rs, "name", href, inc->guest, strlen(inc->guest));
	cell_text(rs, "event", NULL, event_name(inc->ev),
		  strlen(event_name(inc->ev)));
	if (inc->error)
		cell_printf(rs, "line warn", NULL, "%.200s; not had: %.250s",
			    detail, inc->error);
	else
		cell_text(rs, "line", NULL, detail, strnlen(detail, 255));
	cell_bundle(rs, inc);
	html_row_end(rs);
}

void rows_incidents(struct rows *rs, struct web *w, const char *guest)
{
	unsigned int n = 0;

	for (const struct incident *inc = incidents_list(w->m);
	     inc && n < WEB_INCIDENTS; inc = inc->next) {
		if (!inc->guest || !inc->id ||
		    (guest && strcmp(inc->guest, guest)))
			continue;
		row_incident(rs, inc);
		n++;
	}
}

/* ---- pages ---- */

static struct rows html_rows(struct req *r)
{
	return (struct rows){ .s = &r->out, .tmp = &r->w->tmp, .html = true };
}

static void table_incidents(struct req *r, const char *guest)
{
	struct rows rs = html_rows(r);

	html_table(&r->out, "incidents", "Incidents", incident_columns);
	rows_incidents(&rs, r->w, guest);
	html_table_end(&r->out);
	if (count_incidents(r->w, guest) > WEB_INCIDENTS)
		sink_printf(&r->out, "<p>Only the newest %u are shown.</p>\n",
			    WEB_INCIDENTS);
}

void page_front(struct req *r)
{
	struct rows rs = html_rows(r);
	struct monitor *m = r->w->m;

	worker_watch(r->w);
	html_page(&r->out, "Guests", 5);
	sink_puts(&r->out, "<div id=\"live\" data-events=\"/events\"></div>\n");
	html_table(&r->out, "guests", "State", guest_columns);
	for (struct guest *g = m->guests; g; g = g->next)
		row_guest(&rs, r->w, g);
	html_table_end(&r->out);
	table_incidents(r, NULL);
	html_table(&r->out, "sinks", "Sinks", sink_columns);
	rows_sinks(&rs, r->w);
	html_table_end(&r->out);
	html_page_end(&r->out);
}

static void table_cpus(struct req *r, const struct guest *g)
{
	static const char *const columns[] = { "CPU", "Online", "Heartbeats",
					       "Last", NULL };
	struct rows rs = html_rows(r);
	uint64_t now = web_now();
	char key[16];

	html_table(&r->out, "cpus", "CPUs", columns);
	for (uint32_t i = 0; i < g->nr_pulses; i++) {
		const struct pulse *p = &g->pulse[i];

		if (!p->changed)
			continue;
		snprintf(key, sizeof(key), "%u", i);
		html_row(&rs, key);
		cell_text(&rs, "number", NULL, key, strlen(key));
		cell_printf(&rs, NULL, NULL, p->online ? "yes" : "no");
		cell_printf(&rs, "number", NULL, "%" PRIu64, p->beats);
		cell_printf(&rs, p->stale ? "bad" : NULL, NULL,
			    "%" PRIu64 ".%" PRIu64 " s ago",
			    (now - p->changed) / NS_PER_S,
			    (now - p->changed) % NS_PER_S / (NS_PER_S / 10));
		html_row_end(&rs);
	}
	html_table_end(&r->out);
}

static void table_events(struct req *r, const struct guest *g)
{
	static const char *const columns[] = { "Event", "Times", NULL };
	struct rows rs = html_rows(r);

	html_table(&r->out, "counts", "What happened since dlogd started",
		   columns);
	for (int ev = 0; ev < EV_NR; ev++) {
		if (!g->counts[ev])
			continue;
		html_row(&rs, event_name(ev));
		cell_text(&rs, NULL, NULL, event_name(ev),
			  strlen(event_name(ev)));
		cell_printf(&rs, "number", NULL, "%" PRIu64, g->counts[ev]);
		html_row_end(&rs);
	}
	html_table_end(&r->out);
}

static void table_history(struct req *r, const struct guest *g)
{
	static const char *const columns[] = { "When", "Event of the VMM",
					       NULL };
	struct rows rs = html_rows(r);
	uint32_t n = g->nr_history < HISTORY ? g->nr_history : HISTORY;
	char key[16], date[32];

	html_table(&r->out, "history", "VMM", columns);
	for (uint32_t i = g->nr_history; i > g->nr_history - n; i--) {
		const struct history_entry *h = &g->history[(i - 1) % HISTORY];

		snprintf(key, sizeof(key), "%u", i);
		html_row(&rs, key);
		html_date(date, h->real);
		cell_text(&rs, "date", NULL, date, strlen(date));
		cell_text(&rs, "line", NULL, h->json,
			  strnlen(h->json, WEB_LINE_MAX));
		html_row_end(&rs);
	}
	html_table_end(&r->out);
}

void page_guest(struct req *r, struct guest *g)
{
	struct rows rs = html_rows(r);
	struct sink *s = &r->out;

	worker_watch(r->w);
	html_page(s, g->name, 5);
	sink_printf(s,
		    "<div id=\"live\" data-events=\"/guest/%s/events\">"
		    "</div>\n",
		    g->name);
	html_table(s, "guests", "State", guest_columns);
	row_guest(&rs, r->w, g);
	html_table_end(s);
	if (g->vm)
		sink_printf(s, "<p>VMM asked by %s, process %d, %s.</p>\n",
			    g->vm->ops ? g->vm->ops->kind : "?",
			    (int)g->vm->pid,
			    g->vm_running ? "running" : "not running");
	table_incidents(r, g->name);
	table_cpus(r, g);
	table_events(r, g);
	table_history(r, g);
	if (g->region) {
		route_work(r, g, region_page);
	} else {
		sink_puts(s, "<p>No region is known of this guest.</p>\n");
		html_page_end(s);
	}
}

static void api_guest(struct json *j, struct web *w, struct guest *g)
{
	struct second date = { 0 };
	struct view *v = view_of(w, g);
	uint64_t age = page_heartbeat_age(g);

	if (!v)
		return;
	json_open(j, '{');
	json_key(j, "name");
	json_text(j, g->name);
	json_key(j, "state");
	json_text(j, state_name(g->state));
	json_key(j, "since");
	entry_date(j, &date, g->state_since);
	json_key(j, "boot");
	json_u64(j, g->boot);
	json_key(j, "status");
	json_text(j, dlog_status_name(g->live.status));
	json_key(j, "heartbeat_age");
	if (age == UINT64_MAX || !beats(g))
		json_null(j);
	else
		json_seconds(j, age);
	json_key(j, "online_cpus");
	json_u64(j, g->live.online);
	json_key(j, "stale_cpus");
	json_u64(j, g->stale_cpus);
	json_key(j, "incidents");
	json_u64(j, count_incidents(w, g->name));
	worker_lock(w);
	json_key(j, "release");
	json_string(j, v->release, strnlen(v->release, 64));
	json_key(j, "last_line");
	json_string(j, v->line, v->line_len);
	worker_unlock(w);
	json_key(j, "problem");
	if (g->bad)
		json_text(j, g->why_bad);
	else
		json_null(j);
	json_close(j, '}');
}

void page_api(struct req *r)
{
	struct json j = { .s = &r->out };

	worker_watch(r->w);
	json_open(&j, '[');
	for (struct guest *g = r->w->m->guests; g; g = g->next)
		api_guest(&j, r->w, g);
	json_close(&j, ']');
	json_line(&j);
}
