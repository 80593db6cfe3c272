// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * watch.c - state pages and heartbeats.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>

#include "monitor.h"

struct watch {
	struct monitor *m;
	sd_event_source *timer;
};

struct watched {
	uint32_t status;
};

void watch_guest(struct guest *g)
{
	if (!g->d)
		return;
	if (!g->watched)
		g->watched = calloc(1, sizeof(*g->watched));
	if (!g->watched)
		return;
	dlog_get_live(g->d, &g->live);
	if (g->live.boot != g->boot) {
		bool first = !g->boot;

		g->boot = g->live.boot;
		if (!first)
			guest_event(g, EV_BOOTED, NULL);
	}
	if (g->live.status != g->watched->status) {
		g->watched->status = g->live.status;
		if (g->live.status == DLOG_ST_PANIC)
			guest_event(g, EV_PANICKED, "status");
		web_changed(g->m, g);
	}
}

void watch_forget(struct guest *g)
{
	free(g->watched);
	g->watched = NULL;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *arg)
{
	struct watch *w = arg;

	(void)usec;
	for (struct guest *g = w->m->guests; g; g = g->next)
		watch_guest(g);
	sd_event_source_set_time_relative(s, 100000);
	return sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

int watch_start(struct monitor *m)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	m->watch = w;
	w->m = m;
	return sd_event_add_time_relative(m->loop, &w->timer, CLOCK_MONOTONIC,
					  100000, 5000, on_timer, w);
}

void watch_stop(struct monitor *m)
{
	if (!m->watch)
		return;
	sd_event_source_unref(m->watch->timer);
	free(m->watch);
	m->watch = NULL;
}
