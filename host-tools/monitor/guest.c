// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * guest.c - the guests: who there is, what state each is in, what follows
 * from an event.
 *
 * Whoever finds something out says guest_event(); only here is decided what
 * that means.  One death shows in many ways (a hang, then the watchdog, then
 * a reset): the first of them is an incident, covered_by() says which later
 * ones of the same boot are not another one.  A guest can make events as fast
 * as it likes, so only so many are told.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>

#include "monitor.h"

#define GUESTS_MAX 4096u
#define HISTORY_BYTES 4096u /* of one event */
/* Events of one guest that are told within QUOTA_TIME. */
#define QUOTA 64u
#define QUOTA_TIME (60 * SECOND)
/* Hangs of one boot that came and went, each an incident of its own. */
#define RECOVERIES_MAX 8u

#define BIT(ev) (1u << (ev))
#define DEATHS                                                                 \
	(BIT(EV_PANICKED) | BIT(EV_CRASH_LOADED) | BIT(EV_HUNG) |              \
	 BIT(EV_WATCHDOG) | BIT(EV_RESET) | BIT(EV_REBOOT) |                   \
	 BIT(EV_SHUTDOWN) | BIT(EV_VMM_GONE) | BIT(EV_VMM_STUCK))

static const struct {
	const char *name;
	int level;
} events[EV_NR] = {
	[EV_STARTED] = { "started", LOG_NOTICE },
	[EV_BOOTED] = { "booted", LOG_NOTICE },
	[EV_OOPS] = { "oops", LOG_WARNING },
	[EV_PANICKED] = { "panicked", LOG_ERR },
	[EV_CRASH_LOADED] = { "crash-loaded", LOG_ERR },
	[EV_HUNG] = { "hung", LOG_ERR },
	[EV_LOCKUP] = { "lockup", LOG_WARNING },
	[EV_RECOVERED] = { "recovered", LOG_NOTICE },
	[EV_WATCHDOG] = { "watchdog", LOG_ERR },
	[EV_RESET] = { "reset", LOG_WARNING },
	[EV_REBOOT] = { "reboot", LOG_NOTICE },
	[EV_SHUTDOWN] = { "shutdown", LOG_NOTICE },
	[EV_VMM_GONE] = { "vmm-gone", LOG_ERR },
	[EV_VMM_STUCK] = { "vmm-stuck", LOG_ERR },
	[EV_PAUSED] = { "paused", LOG_INFO },
	[EV_RESUMED] = { "resumed", LOG_INFO },
	[EV_LOST] = { "lost", LOG_NOTICE },
};

static const char *const states[ST_NR] = {
	[ST_UNKNOWN] = "unknown",   [ST_OFF] = "off",
	[ST_BOOTING] = "booting",   [ST_RUNNING] = "running",
	[ST_PAUSED] = "paused",	    [ST_HUNG] = "hung",
	[ST_PANICKED] = "panicked",
};

const char *event_name(enum event ev)
{
	return ev < EV_NR ? events[ev].name : "?";
}

int event_find(const char *name)
{
	for (int i = 0; i < EV_NR; i++)
		if (!strcmp(events[i].name, name))
			return i;
	return -1;
}

const char *state_name(enum state st)
{
	return st < ST_NR ? states[st] : "?";
}

/* ---- VMM handles ---- */

struct vm *vm_get(struct vm *vm)
{
	__atomic_add_fetch(&vm->refs, 1, __ATOMIC_RELAXED);
	return vm;
}

void vm_put(struct vm *vm)
{
	if (vm && !__atomic_sub_fetch(&vm->refs, 1, __ATOMIC_ACQ_REL))
		vm->ops->free(vm);
}

/* ---- the list ---- */

static void guest_free(struct guest *g)
{
	watch_forget(g);
	vm_put(g->vm);
	dlog_close(g->d);
	for (size_t i = 0; i < HISTORY; i++)
		free(g->history[i].json);
	free(g->pulse);
	free(g->region);
	free(g->name);
	free(g);
}

/* Make room for one more: 0, or -ENOSPC when all of them are in use. */
static int forget_one(struct monitor *m)
{
	struct guest **at = NULL, *g;

	for (struct guest **p = &m->guests; *p; p = &(*p)->next)
		if (!(*p)->users && !(*p)->vm && !(*p)->region &&
		    (!at || (*p)->state_since < (*at)->state_since))
			at = p;
	if (!at)
		return -ENOSPC;
	g = *at;
	*at = g->next;
	m->nr_guests--;
	forward_guests_changed(m);
	web_forget(m, g);
	web_changed(m, NULL);
	guest_free(g);
	return 0;
}

static struct guest *guest_new(struct monitor *m, const char *name)
{
	struct guest *g;

	if (m->nr_guests >= GUESTS_MAX && forget_one(m)) {
		log_(LOG_ERR,
		     "guest %s is not watched: there are %u already, the most there can be",
		     name, m->nr_guests);
		return NULL;
	}
	g = calloc(1, sizeof(*g));
	if (g)
		g->name = strdup(name);
	if (!g || !g->name) {
		free(g);
		log_(LOG_ERR, "guest %s is not watched: out of memory", name);
		return NULL;
	}
	g->m = m;
	g->state_since = clock_ns(CLOCK_REALTIME);
	return g;
}

struct guest *guest_find(struct monitor *m, const char *name, bool make)
{
	struct guest **p = &m->guests, *g;
	int cmp = 1;

	while (*p && (cmp = strcmp((*p)->name, name)) < 0)
		p = &(*p)->next;
	if (*p && !cmp)
		return *p;
	if (!make)
		return NULL;
	if (!name_ok(name)) {
		log_(LOG_WARNING,
		     "'%.*s' is no name for a guest: up to %u letters, digits and ._@:+- are",
		     (int)NAME_MAX_LEN, name, NAME_MAX_LEN);
		return NULL;
	}
	g = guest_new(m, name);
	if (!g)
		return NULL;
	/* Forgetting another one may have moved the place. */
	for (p = &m->guests; *p && strcmp((*p)->name, name) < 0;)
		p = &(*p)->next;
	g->next = *p;
	*p = g;
	m->nr_guests++;
	web_changed(m, g);
	return g;
}

void guests_free(struct monitor *m)
{
	while (m->guests) {
		struct guest *g = m->guests;

		m->guests = g->next;
		guest_free(g);
	}
	m->nr_guests = 0;
}

/* ---- region ---- */

static void region_close(struct guest *g)
{
	watch_forget(g);
	dlog_close(g->d);
	g->d = NULL;
	memset(&g->live, 0, sizeof(g->live));
	memset(g->uuid, 0, sizeof(g->uuid));
	g->boot = 0;
	g->rebooting = false;
}

static int region_open(struct guest *g)
{
	struct dlog_error err;
	struct dlog_info info;
	struct stat st;
	int ret = dlog_open(&g->d, g->region, 0, &err);

	if (ret) {
		g->d = NULL;
		/* The same reason is told once. */
		if (!g->bad || strcmp(g->why_bad, err.text)) {
			log_(LOG_WARNING, "guest %s: %s", g->name, err.text);
			snprintf(g->why_bad, sizeof(g->why_bad), "%.255s",
				 err.text);
		}
		g->bad = true;
		return ret;
	}
	g->bad = false;
	g->why_bad[0] = 0;
	dlog_get_info(g->d, &info);
	memcpy(g->uuid, info.uuid, sizeof(g->uuid));
	if (!stat(g->region, &st)) {
		g->dev = st.st_dev;
		g->ino = st.st_ino;
	}
	log_(LOG_INFO, "guest %s: region %s", g->name, g->region);
	watch_guest(g);
	return 0;
}

int guest_reopen(struct guest *g)
{
	struct stat st;
	int ret;

	if (!g->region)
		return -ENOENT;
	if (g->d && !stat(g->region, &st) && st.st_dev == g->dev &&
	    st.st_ino == g->ino)
		return 0;
	region_close(g);
	ret = region_open(g);
	forward_guests_changed(g->m);
	web_changed(g->m, g);
	return ret;
}

int guest_set_region(struct guest *g, const char *path)
{
	char *copy;

	if (path && g->region && !strcmp(path, g->region))
		return guest_reopen(g);
	if (path) {
		copy = strdup(path);
		if (!copy)
			return -ENOMEM;
		region_close(g);
		free(g->region);
		g->region = copy;
		g->bad = false;
		return guest_reopen(g);
	}
	if (!g->region)
		return 0;
	region_close(g);
	guest_event(g, EV_LOST, g->region);
	free(g->region);
	g->region = NULL;
	forward_guests_changed(g->m);
	return 0;
}

void guest_set_vm(struct guest *g, struct vm *vm)
{
	vm_put(g->vm);
	g->vm = vm;
	g->resumed = clock_ns(CLOCK_MONOTONIC);
	if (!vm)
		g->vm_running = false;
	else if (!g->alive)
		guest_event(g, EV_STARTED, NULL);
	web_changed(g->m, g);
}

/* ---- events ---- */

static void set_state(struct guest *g, enum state st)
{
	if (g->state == st)
		return;
	g->state = st;
	g->state_since = clock_ns(CLOCK_REALTIME);
}

/* What the status word says of a guest whose VMM runs. */
static enum state status_state(const struct guest *g)
{
	if (!g->d || !g->live.boot || g->rebooting)
		return ST_BOOTING;
	switch (g->live.status) {
	case DLOG_ST_BOOTING:
	case DLOG_ST_KEXEC:
	case DLOG_ST_REBOOT:
	case DLOG_ST_EMERGENCY:
		return ST_BOOTING;
	case DLOG_ST_PANIC:
		return ST_PANICKED;
	case DLOG_ST_HALT:
	case DLOG_ST_POWEROFF:
		return ST_OFF;
	default:
		break;
	}
	if (g->live.status != DLOG_ST_SUSPEND &&
	    !dlog_status_lives(g->live.status))
		return ST_UNKNOWN;
	return g->stale_cpus ? ST_HUNG : ST_RUNNING;
}

void guest_refresh(struct guest *g)
{
	if (!g->alive)
		return;
	if (g->vm && !g->vm_running && g->state != ST_PANICKED)
		set_state(g, ST_PAUSED);
	else
		set_state(g, status_state(g));
}

void guest_set_off(struct guest *g, bool doubt)
{
	g->alive = doubt;
	set_state(g, doubt ? ST_UNKNOWN : ST_OFF);
	web_changed(g->m, g);
}

static void change_state(struct guest *g, enum event ev)
{
	switch (ev) {
	case EV_STARTED:
		g->alive = true;
		hang_forgive(g);
		g->shutdown_seen = false;
		g->incident_mask = 0;
		guest_refresh(g);
		break;
	case EV_BOOTED:
		g->rebooting = false;
		guest_refresh(g);
		break;
	case EV_PANICKED:
	case EV_CRASH_LOADED:
		set_state(g, ST_PANICKED);
		break;
	case EV_HUNG:
		set_state(g, ST_HUNG);
		break;
	case EV_RESET:
	case EV_REBOOT:
		g->alive = true; /* a VMM that stayed after a shutdown */
		g->rebooting = true;
		g->reset = clock_ns(CLOCK_MONOTONIC);
		g->stale_cpus = 0;
		set_state(g, ST_BOOTING);
		break;
	case EV_SHUTDOWN:
	case EV_VMM_GONE:
		g->alive = false;
		g->rebooting = true;
		g->reset = clock_ns(CLOCK_MONOTONIC);
		g->stale_cpus = 0;
		set_state(g, ST_OFF);
		break;
	case EV_PAUSED:
		/* A panic may pause the guest: that is not the news. */
		if (g->state != ST_PANICKED && g->state != ST_OFF)
			set_state(g, ST_PAUSED);
		break;
	case EV_RESUMED:
	case EV_RECOVERED:
		guest_refresh(g);
		break;
	case EV_LOST:
		if (!g->alive)
			set_state(g, ST_UNKNOWN);
		break;
	default:
		break;
	}
}

/* Which events of the same boot make @ev no further incident. */
static uint32_t covered_by(enum event ev)
{
	const uint32_t panic = BIT(EV_PANICKED) | BIT(EV_CRASH_LOADED);

	switch (ev) {
	case EV_OOPS:
		return BIT(EV_OOPS) | panic;
	case EV_PANICKED:
	case EV_CRASH_LOADED:
		return panic;
	case EV_HUNG:
		return BIT(EV_HUNG) | BIT(EV_WATCHDOG) | panic;
	case EV_LOCKUP:
		return BIT(EV_LOCKUP) | BIT(EV_HUNG) | panic;
	case EV_WATCHDOG:
		return BIT(EV_WATCHDOG) | BIT(EV_HUNG) | panic;
	case EV_RESET:
	case EV_REBOOT:
	case EV_SHUTDOWN:
	case EV_VMM_GONE:
	case EV_VMM_STUCK:
		return DEATHS;
	default:
		return 0;
	}
}

/* Was the same already told in this boot?  Two sources may see one panic. */
static bool told_before(const struct guest *g, enum event ev)
{
	bool once = ev == EV_PANICKED || ev == EV_OOPS || ev == EV_LOCKUP;

	if (ev == EV_STARTED)
		return g->alive;
	if (ev == EV_VMM_GONE)
		return !g->alive;
	if (ev == EV_PANICKED && g->incident_mask & BIT(EV_CRASH_LOADED) &&
	    g->incident_boot == g->boot)
		return true;
	return once && g->incident_boot == g->boot &&
	       g->incident_mask & BIT(ev);
}

static bool within_quota(struct guest *g)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);

	if (!g->quota_from || now - g->quota_from > QUOTA_TIME) {
		if (g->quota_used > QUOTA)
			log_(LOG_WARNING, "guest %s: %u more events not told",
			     g->name, g->quota_used - QUOTA);
		g->quota_from = now;
		g->quota_used = 0;
	}
	if (++g->quota_used == QUOTA + 1)
		log_(LOG_WARNING,
		     "guest %s: too many events; what more comes within %u s is only counted",
		     g->name, (unsigned int)(QUOTA_TIME / SECOND));
	return g->quota_used <= QUOTA;
}

static void begin_incident(struct guest *g, enum event ev, const char *detail,
			   bool covered)
{
	int actions = config_policy(&g->m->cfg, g->name, ev);
	int ret;

	if (covered || !actions)
		return;
	ret = incident_begin(g, ev, actions, detail);
	if (ret)
		log_(LOG_ERR, "guest %s: %s: no evidence is taken: %s", g->name,
		     event_name(ev), strerror(-ret));
}

void guest_event(struct guest *g, enum event ev, const char *detail)
{
	bool covered, tell;

	if (g->incident_boot != g->boot) {
		g->incident_boot = g->boot;
		g->incident_mask = 0;
		g->recoveries = 0;
	}
	if (told_before(g, ev))
		return;
	g->counts[ev]++;
	change_state(g, ev);
	covered = g->incident_mask & covered_by(ev);
	/* What comes behind a reset is another life. */
	if (ev == EV_RESET || ev == EV_REBOOT)
		g->incident_mask = 0;
	g->incident_mask |= BIT(ev);
	if (ev == EV_RECOVERED && g->recoveries++ < RECOVERIES_MAX)
		g->incident_mask &= ~BIT(EV_HUNG);
	tell = within_quota(g);
	if (tell) {
		log_(events[ev].level, "guest %s: %s%s%.1000s", g->name,
		     events[ev].name, detail ? ": " : "", detail ? detail : "");
		forward_tell(g->m, g, ev, detail, NULL);
	}
	web_changed(g->m, g);
	if (tell || BIT(ev) & DEATHS)
		begin_incident(g, ev, detail, covered);
}

bool guest_end_announced(const struct guest *g)
{
	switch (g->live.status) {
	case DLOG_ST_KEXEC:
	case DLOG_ST_REBOOT:
	case DLOG_ST_HALT:
	case DLOG_ST_POWEROFF:
	case DLOG_ST_EMERGENCY:
		return true;
	default:
		return false;
	}
}

void guest_history(struct guest *g, const char *json, size_t len)
{
	struct history_entry *e = &g->history[g->nr_history % HISTORY];
	char *copy;

	if (len > HISTORY_BYTES) {
		if (asprintf(&copy, "{\"event-too-long\": %zu}", len) < 0)
			return;
	} else {
		copy = strndup(json, len);
		if (!copy)
			return;
	}
	free(e->json);
	e->json = copy;
	e->real = clock_ns(CLOCK_REALTIME);
	g->nr_history++;
}
