// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * watch.c - looks at each region's state page, again and again: which boot is
 * there, what its status word says; and who holds the region's lock, which
 * tells whether a VMM is there when none can be asked.  Heartbeats: hang.c.
 *
 * One timer for all guests.  Each is looked at six times in a heartbeat
 * period, which costs two or three small reads of the page cache.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "watch.h"

#define GRID (25 * MS) /* looks are gathered on it */
#define LOOK_MIN (50 * MS)
#define LOOK_MAX (1000 * MS)
#define LOCKS_EVERY (1000 * MS)
#define BAD_EVERY (2 * SECOND)
/* An end is followed by some time in which the process still goes. */
#define GOING (3 * SECOND)

struct watch {
	struct monitor *m;
	sd_event_source *timer;
	uint64_t locks_due;
};

/* ---- the status word ---- */

static bool bundle_exists(const struct guest *g, enum event ev)
{
	const struct incident *i = incidents_list(g->m);

	for (; i; i = i->next)
		if (i->ev == ev && i->boot == g->boot &&
		    !strcmp(i->guest, g->name))
			return true;
	return false;
}

/* It had panicked before we were there: news only if nobody kept evidence. */
static void found_dead(struct guest *g, uint64_t now)
{
	struct watched *w = g->watched;

	if (now - w->first > 10 * SECOND) {
		w->dead_before = false; /* and off for long */
		return;
	}
	if (!g->alive)
		return;
	w->dead_before = false;
	if (!bundle_exists(g, EV_PANICKED))
		guest_event(g, EV_PANICKED, "before dlogd looked");
	guest_refresh(g);
}

static void status_changed(struct guest *g, uint32_t before)
{
	uint32_t status = g->live.status;
	const char *name = dlog_status_name(status);

	switch (status) {
	case DLOG_ST_OOPS:
		guest_event(g, EV_OOPS, "its kernel goes on");
		break;
	case DLOG_ST_PANIC:
		guest_event(g, EV_PANICKED, "its kernel says so");
		break;
	case DLOG_ST_HUNG_TASK:
	case DLOG_ST_SOFT_LOCKUP:
	case DLOG_ST_HARD_LOCKUP:
		guest_event(g, EV_LOCKUP, name);
		break;
	case DLOG_ST_KEXEC:
		if (before == DLOG_ST_PANIC)
			guest_event(g, EV_CRASH_LOADED, name);
		break;
	case DLOG_ST_HALT:
	case DLOG_ST_POWEROFF:
		/* A VMM that can be asked tells the rest. */
		if (!g->vm)
			guest_event(g, EV_SHUTDOWN, name);
		break;
	default:
		break;
	}
	guest_refresh(g);
	web_changed(g->m, g);
}

/* Another boot: how did the last one end? */
static void boot_changed(struct guest *g)
{
	struct watched *w = g->watched;
	uint32_t before = g->boot;
	bool reset = g->rebooting;
	char detail[64];

	snprintf(detail, sizeof(detail), "boot %u", g->live.boot);
	if (before && !reset && w->status == DLOG_ST_PANIC) {
		/* Who has no VMM to tell of resets cannot know. */
		guest_event(g, g->vm ? EV_CRASH_LOADED : EV_REBOOT,
			    "after its panic");
	} else if (before && !reset) {
		switch (w->status) {
		case DLOG_ST_KEXEC:
		case DLOG_ST_REBOOT:
		case DLOG_ST_EMERGENCY:
			guest_event(g, EV_REBOOT, dlog_status_name(w->status));
			break;
		case DLOG_ST_HALT:
		case DLOG_ST_POWEROFF:
		case DLOG_ST_UNLOADED:
			break;
		default:
			/* A VMM would have told. */
			if (g->alive && !g->vm)
				guest_event(g, EV_RESET, "without a word");
		}
	}
	g->boot = g->live.boot;
	g->stale_cpus = 0;
	w->status = DLOG_ST_NONE;
	hang_restart(g, clock_ns(CLOCK_MONOTONIC));
	guest_event(g, EV_BOOTED, detail);
}

static void first_look(struct guest *g, uint64_t now)
{
	struct watched *w = g->watched;

	w->first = now;
	g->boot = g->live.boot;
	g->resumed = now;
	w->status = g->live.status;
	w->dead_before = w->status == DLOG_ST_PANIC;
	guest_refresh(g);
}

static void look(struct guest *g, uint64_t now)
{
	struct watched *w = g->watched;
	uint32_t before;

	dlog_get_live(g->d, &g->live);
	if (!w->first)
		first_look(g, now);
	if (w->dead_before)
		found_dead(g, now);
	if (g->live.boot != g->boot)
		boot_changed(g);
	before = w->status;
	if (g->live.status != before) {
		w->status = g->live.status;
		status_changed(g, before);
	}
	hang_look(g, now);
}

void watch_guest(struct guest *g)
{
	if (!g->d)
		return;
	if (!g->watched)
		g->watched = calloc(1, sizeof(*g->watched));
	if (g->watched)
		look(g, clock_ns(CLOCK_MONOTONIC));
}

void watch_forget(struct guest *g)
{
	if (!g->watched)
		return;
	hang_forget(g->watched);
	free(g->watched);
	g->watched = NULL;
	free(g->pulse);
	g->pulse = NULL;
	g->nr_pulses = g->stale_cpus = 0;
}

/* ---- locks ---- */

static void lock_changed(struct guest *g, pid_t before)
{
	char detail[64];

	if (g->watched->holder) {
		snprintf(detail, sizeof(detail), "process %d has its region",
			 g->watched->holder);
		if (!before)
			guest_event(g, EV_STARTED, detail);
		return;
	}
	if (!g->alive)
		return;
	switch (g->live.status) {
	case DLOG_ST_POWEROFF:
	case DLOG_ST_HALT:
	case DLOG_ST_REBOOT:
		guest_event(g, EV_SHUTDOWN, "its VMM has ended");
		break;
	default:
		guest_event(g, EV_VMM_GONE,
			    "its region is not in use any more");
	}
}

static void look_at_locks(struct watch *w)
{
	uint64_t real = clock_ns(CLOCK_REALTIME);
	struct vmm_locks locks;

	vmm_locks_read(&locks);
	for (struct guest *g = w->m->guests; g; g = g->next) {
		pid_t before, holder;

		if (!g->d || !g->watched || g->vm ||
		    (g->state == ST_OFF && real - g->state_since < GOING))
			continue;
		holder = vmm_locks_find(&locks, g->dev, g->ino);
		before = g->watched->holder;
		g->watched->holder = holder;
		if (holder != before)
			lock_changed(g, before);
		else if (!holder && !g->alive && g->state == ST_UNKNOWN &&
			 g->live.boot)
			guest_set_off(g, false);
	}
	vmm_locks_free(&locks);
}

/* ---- time ---- */

static uint64_t interval(const struct guest *g)
{
	uint64_t ns = g->live.period_ms * MS / 6;

	if (!g->d)
		return g->bad ? BAD_EVERY : LOOK_MAX;
	if (!ns || ns > LOOK_MAX)
		return LOOK_MAX / 2;
	return ns < LOOK_MIN ? LOOK_MIN : ns;
}

static void visit(struct guest *g, uint64_t now)
{
	struct watched *w = g->watched;
	uint64_t period = g->live.period_ms * MS;

	if (!g->d) {
		if (g->bad)
			guest_reopen(g);
		return;
	}
	/* We were held up, so probably the guest was, too. */
	if (w && w->due && period && now - w->due > period / 2) {
		log_(LOG_DEBUG, "guest %s: looked %u ms late", g->name,
		     (unsigned int)((now - w->due) / MS));
		hang_restart(g, now);
	}
	watch_guest(g);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *arg)
{
	struct watch *w = arg;
	uint64_t now = clock_ns(CLOCK_MONOTONIC), next = now + LOOK_MAX;

	(void)usec;
	for (struct guest *g = w->m->guests; g; g = g->next) {
		if (now >= g->look_due) {
			visit(g, now);
			g->look_due = (now + interval(g)) / GRID * GRID;
			if (g->watched)
				g->watched->due = g->look_due;
		}
		if (g->look_due < next)
			next = g->look_due;
	}
	if (now >= w->locks_due) {
		look_at_locks(w);
		w->locks_due = now + LOCKS_EVERY;
	}
	now = clock_ns(CLOCK_MONOTONIC);
	sd_event_source_set_time_relative(
		s, (next > now + MS ? next - now : MS) / 1000);
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
					  0, 2000, on_timer, w);
}

void watch_stop(struct monitor *m)
{
	if (!m->watch)
		return;
	hang_stop();
	sd_event_source_disable_unref(m->watch->timer);
	free(m->watch);
	m->watch = NULL;
}
