// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * hang.c - is a CPU that has stopped beating hung?
 *
 * The driver beats once in each period P, in hard interrupt context.  A CPU
 * whose count stands still keeps its interrupts off, or has been stopped; or
 * nobody lets it run.  Only the first of these is the guest's own doing, and
 * nothing in the region tells them apart.  So, before a word is said:
 *
 *  - A clock for each CPU runs from when its count was last seen to change.
 *    At 2.0 P (config) it has missed one beat for certain: P is what lies
 *    between two beats, up to P/6 more passes until we see one, what is left
 *    is leeway.  A hang is then found 1 to 2.2 P after it began, which leaves
 *    the rest of three periods for an NMI and a bundle.
 *  - Suspicion begins at 60 % of that, so that the questions are answered
 *    when the time is up: the VMM is asked whether it runs the guest
 *    (query-status in a thread, never here), and the CPU time of its threads
 *    is noted.
 *  - No clock runs while the guest is paused, migrates or is saved: all begin
 *    anew at its resume.  A VMM whose answer takes longer than P/2 has no
 *    time for its guest either: the same.
 *  - A VMM that was stopped by a signal, a debugger or a freezer, or one of
 *    whose threads waited for a CPU instead of running, is a matter of the
 *    host: the clocks begin anew.
 *  - When we were late ourselves by more than P/2, so was probably everybody:
 *    watch.c has the clocks begin anew.
 *  - A guest that was reset, or that says it is rebooting, panicked or
 *    leaving, need not beat until a new boot begins in the region.
 *  - A guest whose heart we have never seen beat may have been reset before
 *    we were there: it is given two minutes to boot.
 *
 * Whatever it was that kept all of them from beating, when one beats again the
 * others are given their time, too.
 *
 * When some CPUs beat and others do not, the guest runs: only starvation has to
 * be excluded.  When none beats and no VMM can be asked
 * that says nothing: the guest may be off.  That is told as such, not as a
 * hang.  A VMM that does not answer for five seconds is stuck itself.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "watch.h"

#define FIRST_BOOT (120 * SECOND)
#define ANSWER_MS 5000
#define SHORTEST (250 * MS) /* below that a busy host is no news */

static int questions; /* threads under way, atomic */

/* ---- asking the VMM ---- */

struct question {
	struct monitor *m;
	struct vm *vm;
	char *guest;
	uint32_t number;
	int ret;
	bool runs;
};

static void answered(void *arg)
{
	struct question *q = arg;
	struct guest *g = guest_find(q->m, q->guest, false);
	struct watched *w = g ? g->watched : NULL;

	if (w && w->question == q->number && w->answer == ASKING) {
		w->answered = clock_ns(CLOCK_MONOTONIC);
		w->answer = q->ret == -ETIMEDOUT ? SILENT
			    : q->ret		 ? NOT_ASKED
			    : q->runs		 ? RUNS
						 : RUNS_NOT;
	}
	vm_put(q->vm);
	free(q->guest);
	free(q);
}

static void *ask_thread(void *arg)
{
	struct question *q = arg;
	char state[64];

	q->ret = q->vm->ops->status(q->vm, state, sizeof(state), ANSWER_MS);
	q->runs = !q->ret && !strcmp(state, "running");
	if (monitor_post(q->m, answered, q)) {
		vm_put(q->vm);
		free(q->guest);
		free(q);
	}
	__atomic_sub_fetch(&questions, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void ask(struct guest *g, uint64_t now)
{
	struct watched *w = g->watched;
	struct question *q = calloc(1, sizeof(*q));
	pthread_attr_t attr;
	pthread_t thread;
	int ret;

	if (q)
		q->guest = strdup(g->name);
	if (!q || !q->guest) {
		free(q);
		return;
	}
	q->m = g->m;
	q->vm = vm_get(g->vm);
	q->number = ++w->question;
	w->asked = now;
	w->answer = ASKING;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 256 * 1024);
	__atomic_add_fetch(&questions, 1, __ATOMIC_RELAXED);
	ret = pthread_create(&thread, &attr, ask_thread, q);
	pthread_attr_destroy(&attr);
	if (!ret)
		return;
	__atomic_sub_fetch(&questions, 1, __ATOMIC_RELEASE);
	w->answer = NOT_ASKED;
	vm_put(q->vm);
	free(q->guest);
	free(q);
}

void hang_stop(void)
{
	/* Their VMs are closed by now, so they end at once. */
	for (int i = 0; i < ANSWER_MS / 10; i++) {
		if (!__atomic_load_n(&questions, __ATOMIC_ACQUIRE))
			return;
		usleep(10000);
	}
}

/* ---- clocks ---- */

static void calm(struct watched *w)
{
	w->suspect = 0;
	w->answer = NOT_ASKED;
	w->question++; /* an answer still under way is to nothing */
	vmm_sample_free(&w->sample);
}

void hang_restart(struct guest *g, uint64_t now)
{
	g->resumed = now;
	if (g->watched)
		calm(g->watched);
}

/* Another VMM: no heart has beaten in it yet. */
void hang_forgive(struct guest *g)
{
	if (!g->watched)
		return;
	g->watched->beaten = false;
	g->watched->first = clock_ns(CLOCK_MONOTONIC);
}

void hang_forget(struct watched *w)
{
	vmm_sample_free(&w->sample);
	free(w->beats);
}

/* Slots for as many CPUs as the region has. */
static bool make_slots(struct guest *g)
{
	struct watched *w = g->watched;
	struct dlog_info info;
	struct pulse *pulse;

	if (w->beats && g->pulse)
		return true;
	dlog_get_info(g->d, &info);
	pulse = realloc(g->pulse, info.nr_cpus * sizeof(*pulse));
	free(w->beats);
	w->beats = calloc(info.nr_cpus, sizeof(*w->beats));
	w->nr_slots = w->beats ? info.nr_cpus : 0;
	if (pulse)
		g->pulse = pulse;
	g->nr_pulses = pulse && w->beats ? info.nr_cpus : 0;
	if (g->pulse)
		memset(g->pulse, 0, g->nr_pulses * sizeof(*g->pulse));
	return g->nr_pulses;
}

/* What has changed; how many CPUs are online. */
static uint32_t update(struct guest *g, uint64_t now)
{
	struct watched *w = g->watched;
	uint32_t online = 0;

	for (uint32_t i = 0; i < g->nr_pulses; i++) {
		const struct dlog_beat *b = &w->beats[i];
		struct pulse *p = &g->pulse[i];
		bool known = p->changed;

		p->online = b->boot && b->online;
		if (!b->boot) {
			p->changed = 0;
			p->stale = false;
			continue;
		}
		if (!known || b->beats != p->beats) {
			p->beats = b->beats;
			p->changed = now;
			p->stale = false;
			if (known)
				w->beaten = true, w->moved = now;
		}
		if (!p->online)
			p->stale = false;
		online += p->online;
	}
	return online;
}

/* May a heart be expected to beat at all? */
static bool expected(const struct guest *g)
{
	return g->live.period_ms && g->live.boot && !g->rebooting &&
	       dlog_status_lives(g->live.status);
}

static uint64_t limit_of(const struct guest *g)
{
	uint64_t limit = g->live.period_ms * MS / 10 *
			 g->m->cfg.hang_periods_x10;

	return limit > SHORTEST ? limit : SHORTEST;
}

/* ---- telling ---- */

/* "CPUs 0-1,3"; those that are late. */
static void list_cpus(const struct guest *g, const bool *late, char *out,
		      size_t size)
{
	size_t len = 0;

	*out = 0;
	for (uint32_t i = 0; i < g->nr_pulses; i++) {
		uint32_t last = i;

		if (!late[i])
			continue;
		while (last + 1 < g->nr_pulses && late[last + 1])
			last++;
		if (len + 24 > size) {
			snprintf(out + len, size - len, ",...");
			return;
		}
		len += (size_t)snprintf(out + len, size - len,
					last > i ? "%s%u-%u" : "%s%u",
					len ? "," : "", i, last);
		i = last;
	}
}

static void tell_hung(struct guest *g, const bool *late, uint32_t nr,
		      uint32_t online, uint64_t age)
{
	char cpus[160], detail[320];

	list_cpus(g, late, cpus, sizeof(cpus));
	snprintf(detail, sizeof(detail),
		 "%s %s%s: no heartbeat for %" PRIu64 ".%" PRIu64
		 " s, period %u ms",
		 nr == 1 ? "CPU" : "CPUs", cpus, nr == online ? " (all)" : "",
		 age / SECOND, age % SECOND / (100 * MS), g->live.period_ms);
	for (uint32_t i = 0; i < g->nr_pulses; i++)
		g->pulse[i].stale |= late[i];
	g->stale_cpus = nr;
	guest_event(g, EV_HUNG, detail);
}

static void recover(struct guest *g)
{
	uint32_t stale = 0;

	for (uint32_t i = 0; i < g->nr_pulses; i++)
		stale += g->pulse[i].stale;
	if (stale < g->stale_cpus) {
		g->stale_cpus = stale;
		if (!stale)
			guest_event(g, EV_RECOVERED, NULL);
		else
			web_changed(g->m, g);
	}
}

/* ---- deciding ---- */

static void suspicion(struct guest *g, uint64_t now)
{
	struct watched *w = g->watched;
	pid_t pid = g->vm ? g->vm->pid : w->holder;

	if (!w->suspect) {
		w->suspect = now;
		if (pid)
			vmm_sample(&w->sample, pid);
	}
	/* Asked at each look: after it goes on, nothing shows it any more. */
	if (pid && vmm_stopped(pid)) {
		log_(LOG_DEBUG, "guest %s: no heartbeat, its VMM is stopped",
		     g->name);
		hang_restart(g, now);
		return;
	}
	/* Who could not be asked is not asked at each look. */
	if (g->vm && w->answer == NOT_ASKED && now - w->asked >= SECOND)
		ask(g, now);
}

/* The host keeps it from running: not the guest's fault. */
static bool host_to_blame(struct guest *g, uint64_t now)
{
	struct watched *w = g->watched;
	pid_t pid = g->vm ? g->vm->pid : w->holder;

	if (!pid || !vmm_starved(&w->sample, pid))
		return false;
	log_(LOG_DEBUG, "guest %s: no heartbeat, its VMM gets no CPU", g->name);
	hang_restart(g, now);
	return true;
}

/* Nobody beats: does the VMM say that they should?  False: not (yet). */
static bool vmm_confirms(struct guest *g, uint64_t now)
{
	struct watched *w = g->watched;

	if (!g->vm) {
		if (host_to_blame(g, now))
			return false;
		if (!w->quiet)
			log_(LOG_NOTICE,
			     "guest %s: no heartbeat, and no VMM that could be asked: off, or unknown",
			     g->name);
		w->quiet = true;
		guest_set_off(g, w->holder);
		calm(w);
		return false;
	}
	switch (w->answer) {
	case RUNS:
		if (w->answered - w->asked <= g->live.period_ms * MS / 2)
			return true;
		log_(LOG_DEBUG, "guest %s: its VMM was slow to answer",
		     g->name);
		hang_restart(g, now);
		return false;
	case RUNS_NOT:
		hang_restart(g, now);
		return false;
	case SILENT:
		if (!w->stuck && !host_to_blame(g, now)) {
			w->stuck = true;
			guest_event(
				g, EV_VMM_STUCK,
				"no heartbeat, and its VMM does not answer");
		}
		return false;
	default:
		return false;
	}
}

/* Since when CPU @i's clock runs. */
static uint64_t clock_of(const struct guest *g, uint32_t i)
{
	uint64_t changed = g->pulse[i].changed;

	return changed > g->resumed ? changed : g->resumed;
}

struct late {
	uint32_t nr;
	bool news; /* not all of them were told */
	uint64_t since; /* clock of the one that is late for the longest */
};

/* Which CPUs are late by @limit. */
static struct late find_late(const struct guest *g, uint64_t now,
			     uint64_t limit, bool *late)
{
	struct late l = { .since = now };

	for (uint32_t i = 0; i < g->nr_pulses; i++) {
		const struct pulse *p = &g->pulse[i];
		uint64_t since = clock_of(g, i);

		late[i] = p->online && (p->stale || now - since > limit);
		l.nr += late[i];
		if (!late[i] || p->stale)
			continue;
		l.news = true;
		if (since < l.since)
			l.since = since;
	}
	return l;
}

enum verdict { WAIT, SOME, ALL };

/*
 * CPUs beat at times of their own, so one is late before the others of a
 * guest of which none beats.  Another that has beaten when the late one had
 * to, a quarter of a period ago, shows that the guest runs.  One that should
 * have beaten since is late with it.
 */
static enum verdict compare(const struct guest *g, uint64_t now, struct late *l,
			    bool *late)
{
	uint64_t period = g->live.period_ms * MS;
	bool runs = false, open = false;

	for (uint32_t i = 0; i < g->nr_pulses; i++) {
		const struct pulse *p = &g->pulse[i];

		if (!p->online || late[i])
			continue;
		if (p->changed > l->since + period * 11 / 10 &&
		    now - p->changed > period / 4)
			runs = true;
		else if (now - clock_of(g, i) < period * 5 / 4)
			open = true;
	}
	if (runs)
		return SOME;
	if (open)
		return WAIT;
	for (uint32_t i = 0; i < g->nr_pulses; i++) {
		l->nr += g->pulse[i].online && !late[i];
		late[i] = g->pulse[i].online;
	}
	return ALL;
}

static void judge(struct guest *g, uint32_t online, uint64_t now)
{
	struct watched *w = g->watched;
	bool late[g->nr_pulses], stalled;
	struct late l = find_late(g, now, limit_of(g) * 6 / 10, late);
	enum verdict verdict;

	stalled = w->all_late && l.nr < online;
	w->all_late = l.nr == online;
	if (stalled) {
		hang_restart(g, now);
		return;
	}
	if (!l.news) {
		if (w->suspect)
			calm(w);
		return;
	}
	/* Nobody has beaten yet: it may just be booting. */
	if (l.nr == online && !w->beaten && now - w->first < FIRST_BOOT)
		return;
	suspicion(g, now);
	if (!w->suspect)
		return;
	l = find_late(g, now, limit_of(g), late);
	verdict = l.news ? compare(g, now, &l, late) : WAIT;
	if (verdict == WAIT || (verdict == ALL && !vmm_confirms(g, now)) ||
	    host_to_blame(g, now))
		return;
	calm(w);
	tell_hung(g, late, l.nr, online, now - l.since);
}

void hang_look(struct guest *g, uint64_t now)
{
	struct watched *w = g->watched;
	uint64_t moved = w->moved;
	uint32_t online;

	if (!make_slots(g) ||
	    dlog_get_beats(g->d, &g->live, w->beats, w->nr_slots) < 0)
		return;
	online = update(g, now);
	if (w->moved != moved) {
		w->quiet = w->stuck = false;
		g->incident_mask &= ~(1u << EV_VMM_STUCK);
		/* A reset that left its driver alone is none. */
		if (g->rebooting && now - g->reset > 2 * SECOND)
			g->rebooting = false;
		if (!g->alive && !g->vm)
			guest_event(g, EV_STARTED, "its heart beats");
		guest_refresh(g);
	}
	recover(g);
	if (!online || !expected(g) || !g->alive || (g->vm && !g->vm_running)) {
		hang_restart(g, now);
		return;
	}
	judge(g, online, now);
}
