// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * incident.c - incidents as the rest of dlogd sees them: begun, listed, told.
 *
 * Everything here runs in the main thread but job_tell().
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "incident.h"

#define ANSWER_MS 200
#define PATIENCE_S 5 /* at the end: to finish what was begun; then to give up */

/* ---- results ---- */

static void history_free(struct job *job)
{
	for (uint32_t i = 0; i < job->nr_history; i++)
		free(job->history[i].json);
	job->nr_history = 0;
}

static void job_free(struct job *job)
{
	free(job->id);
	free(job->guest);
	free(job->detail);
	free(job->region);
	free(job->hook);
	free(job->error);
	history_free(job);
	sink_free(&job->missing);
	if (job->vm)
		vm_put(job->vm);
	free(job);
}

/* "a: why; b: why" of the lines in @missing, NULL: there are none. */
static char *join_missing(const struct sink *missing)
{
	size_t len = missing->len;
	char *text;

	if (!len)
		return NULL;
	len = len < TEXT_MAX ? len : TEXT_MAX;
	text = malloc(2 * len);
	if (!text)
		return NULL;
	for (size_t i = 0, to = 0; i < len; i++) {
		if (i == len - 1) {
			text[to] = '\0';
		} else if (missing->buf[i] == '\n') {
			text[to++] = ';';
			text[to++] = ' ';
		} else {
			text[to++] = missing->buf[i];
		}
	}
	return text;
}

/* Post's @arg is the monitor, which outlives every incident. */
static void incidents_progress(void *arg);

void job_tell(struct job *job, enum job_phase phase, uint64_t bytes)
{
	struct incidents *all = job->all;
	char *error = join_missing(&job->missing);

	pthread_mutex_lock(&all->lock);
	free(job->error);
	job->error = error;
	job->bytes = bytes;
	job->phase = phase;
	job->entry->stored = job->bundle.published;
	job->entry->size = bytes;
	pthread_mutex_unlock(&all->lock);
	/* If it fails, the next one brings this one's results too. */
	monitor_post(all->m, incidents_progress, all->m);
}

static int copy_history(struct job *job, const struct guest *g)
{
	uint32_t n = g->nr_history < HISTORY ? g->nr_history : HISTORY;

	for (uint32_t i = 0; i < n; i++) {
		const struct history_entry *h =
			&g->history[(g->nr_history - n + i) % HISTORY];
		struct history_entry *to = &job->history[job->nr_history];

		to->real = h->real;
		to->json = strdup(h->json);
		if (!to->json)
			return -ENOMEM;
		job->nr_history++;
	}
	return 0;
}

/*
 * The guest's own status is often seen before the VMM's events come: those
 * that came while the region was copied belong to the bundle.
 */
void job_ask_history(struct job *job)
{
	struct incidents *all = job->all;
	uint64_t until = clock_ns(CLOCK_MONOTONIC) + ANSWER_MS * MS;
	const struct timespec limit = { .tv_sec = (time_t)(until / SECOND),
					.tv_nsec = (long)(until % SECOND) };
	int ret = 0;

	pthread_mutex_lock(&all->lock);
	job->phase = JOB_ASKS;
	pthread_mutex_unlock(&all->lock);
	monitor_post(all->m, incidents_progress, all->m);
	pthread_mutex_lock(&all->lock);
	while (job->phase == JOB_ASKS && !ret)
		ret = pthread_cond_clockwait(&all->answered, &all->lock,
					     CLOCK_MONOTONIC, &limit);
	job->phase = JOB_RUNNING;
	pthread_mutex_unlock(&all->lock);
}

/* With the lock: until then the worker does not look. */
static void job_answer(struct job *job, const struct guest *g)
{
	if (g) {
		history_free(job);
		copy_history(job, g);
	}
	job->phase = JOB_RUNNING;
	pthread_cond_broadcast(&job->all->answered);
}

static void job_announce(struct job *job)
{
	struct monitor *m = job->all->m;
	struct incident *inc = &job->entry->pub;
	struct guest *g = guest_find(m, job->guest, false);
	const char *error = inc->error ? inc->error : "";

	job->announced = true;
	inc->complete = job->bundle.published;
	if (!inc->complete) {
		free(inc->bundle);
		inc->bundle = NULL;
	}
	if (inc->complete)
		log_(LOG_NOTICE, "guest %s: %s: evidence in %s%s%s", inc->guest,
		     event_name(inc->ev), inc->bundle,
		     inc->error ? "; missing: " : "", error);
	else
		log_(LOG_ERR, "guest %s: %s: no evidence could be kept: %s",
		     inc->guest, event_name(inc->ev), error);
	if (g)
		forward_tell(m, g, inc->ev, inc->detail, inc);
}

static const char *job_later(const struct job *job, char *buf, size_t size)
{
	size_t len = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < STEPS && len < size; i++) {
		const struct step *s = &job->step[i];

		if (s->action && s->action != ACT_EVIDENCE)
			len += (size_t)snprintf(
				buf + len, size - len, "%s%s %s%s%s",
				len ? "; " : "", action_name(s->action),
				s->result, *s->why ? ": " : "", s->why);
	}
	return buf;
}

/* Take over what @job told; true: it is finished. */
static bool job_progress(struct job *job)
{
	struct guest *g = guest_find(job->all->m, job->guest, false);
	struct incident *inc = &job->entry->pub;
	enum job_phase phase;
	char text[4096];

	pthread_mutex_lock(&job->all->lock);
	if (job->phase == JOB_ASKS)
		job_answer(job, g);
	phase = job->phase;
	if (phase >= JOB_STORED && job->error) {
		free(inc->error);
		inc->error = job->error;
		job->error = NULL;
	}
	inc->bytes = job->bytes;
	pthread_mutex_unlock(&job->all->lock);
	if (phase < JOB_STORED)
		return false;
	if (!job->announced && (job->actions & ACT_EVIDENCE))
		job_announce(job);
	if (g)
		web_changed(job->all->m, g);
	if (phase != JOB_FINISHED)
		return false;
	if (*job_later(job, text, sizeof(text)))
		log_(LOG_NOTICE, "guest %s: incident %s: %s", inc->guest,
		     inc->id, text);
	return true;
}

/* No job has it any more: from now on it may be removed. */
static void entry_release(struct incidents *all, struct entry *e)
{
	pthread_mutex_lock(&all->lock);
	e->busy = false;
	pthread_mutex_unlock(&all->lock);
}

/* Entries whose bundle was removed, and too many that never had one. */
static void list_sweep(struct incidents *all)
{
	struct incident *before = NULL, *next;
	uint32_t plain = 0;
	struct entry *e;
	bool drop;

	pthread_mutex_lock(&all->lock);
	for (e = all->list; e; e = (struct entry *)next) {
		next = e->pub.next;
		plain += !e->stored && !e->busy && !e->gone;
		drop = e->gone || (!e->stored && !e->busy && plain > PLAIN_MAX);
		if (!drop) {
			before = &e->pub;
			continue;
		}
		if (before)
			before->next = next;
		else
			all->list = (struct entry *)next;
		entry_free(e);
	}
	pthread_mutex_unlock(&all->lock);
}

static void queue_start(struct incidents *all);

static void incidents_progress(void *arg)
{
	struct monitor *m = arg;
	struct incidents *all = m->incidents;
	struct job **at, *job;

	if (!all)
		return;
	for (at = &all->running; (job = *at);) {
		if (!job_progress(job)) {
			at = &job->next;
			continue;
		}
		*at = job->next;
		pthread_join(job->thread, NULL);
		entry_release(all, job->entry);
		job->entry->of->running = false;
		all->nr_running--;
		job_free(job);
	}
	list_sweep(all);
	queue_start(all);
}

/* ---- the queue ---- */

static int thread_start(struct job *job)
{
	pthread_attr_t attr;
	sigset_t every;
	int ret;

	sigfillset(&every);
	pthread_attr_init(&attr);
	ret = pthread_attr_setsigmask_np(&attr, &every);
	if (!ret)
		ret = pthread_create(&job->thread, &attr, job_run, job);
	pthread_attr_destroy(&attr);
	return -ret;
}

/* It was never begun. */
static void job_drop(struct job *job, const char *why)
{
	struct entry *e = job->entry;

	log_(LOG_ERR, "guest %s: %s: nothing was done: %s", job->guest,
	     event_name(job->ev), why);
	entry_release(job->all, e);
	free(e->pub.bundle);
	e->pub.bundle = NULL;
	free(e->pub.error);
	e->pub.error = strdup(why);
	job_free(job);
}

static void queue_start(struct incidents *all)
{
	struct job **at = &all->queue, *job;
	int ret;

	while (all->nr_running < WORKERS && (job = *at)) {
		/* One at a time for each guest, in order. */
		if (job->entry->of->running) {
			at = &job->next;
			continue;
		}
		*at = job->next;
		all->nr_queue--;
		ret = thread_start(job);
		if (ret) {
			job_drop(job, strerror(-ret));
			continue;
		}
		job->entry->of->running = true;
		job->next = all->running;
		all->running = job;
		all->nr_running++;
	}
}

static void queue_add(struct incidents *all, struct job *job)
{
	struct job **at = &all->queue;

	while (*at)
		at = &(*at)->next;
	*at = job;
	all->nr_queue++;
}

/* ---- beginning ---- */

/* Which of @actions this guest may have now: a flood costs no disk. */
static int limit_actions(struct of_guest *of, int actions)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);

	if (!(actions & ~ACT_RESET))
		return actions;
	if (!of->since || now - of->since >= 60 * SECOND) {
		of->since = now;
		of->count = 0;
	}
	if (of->count++ < PER_MINUTE)
		return actions;
	if (of->count == PER_MINUTE + 1)
		log_(LOG_WARNING,
		     "guest %s: more than %u incidents in a minute: no "
		     "evidence of the others in it, they are counted",
		     of->name, PER_MINUTE);
	of->suppressed++;
	return actions & ACT_RESET;
}

static bool id_taken(struct incidents *all, const char *guest, uint64_t real)
{
	const struct incident *i;

	for (i = incidents_list(all->m); i && i->real / MS >= real / MS;
	     i = i->next)
		if (i->real / MS == real / MS && !strcmp(i->guest, guest))
			return true;
	return false;
}

static char *make_id(const struct job *job)
{
	time_t t = (time_t)(job->real / SECOND);
	char date[32], *id;
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(date, sizeof(date), "%Y%m%dT%H%M%S", &tm);
	if (asprintf(&id, "%s.%03" PRIu64 "Z-%s-b%u", date,
		     job->real % SECOND / MS, event_name(job->ev),
		     job->boot) < 0)
		return NULL;
	return id;
}

static char *copy_text(const char *text, bool *failed)
{
	char *copy = text ? strndup(text, TEXT_MAX - 1) : NULL;

	*failed |= text && !copy;
	return copy;
}

static int job_fill(struct job *job, const struct guest *g, const char *detail)
{
	const struct config *cfg = &g->m->cfg;
	bool failed = false;

	job->guest = copy_text(g->name, &failed);
	job->detail = copy_text(detail, &failed);
	job->region = copy_text(g->region, &failed);
	job->hook = copy_text(cfg->hook, &failed);
	job->state = g->state;
	job->boot = g->boot;
	job->nmi_wait_ms = cfg->nmi_wait_ms;
	job->keep_free = cfg->keep_free;
	job->bundles_bytes = cfg->bundles_bytes;
	job->bundles_max = cfg->bundles_max;
	job->log_lines = cfg->log_lines;
	memcpy(job->uuid, g->uuid, sizeof(job->uuid));
	job->vm = g->vm ? vm_get(g->vm) : NULL;
	job->real = clock_ns(CLOCK_REALTIME);
	while (id_taken(job->all, job->guest, job->real))
		job->real += MS;
	job->id = make_id(job);
	if (failed || !job->id || copy_history(job, g))
		return -ENOMEM;
	return sink_init(&job->missing, -1);
}

static int entry_fill(struct entry *e, const struct job *job)
{
	bool failed = false;

	e->busy = true;
	e->pub.ev = job->ev;
	e->pub.boot = job->boot;
	e->pub.real = job->real;
	e->pub.id = copy_text(job->id, &failed);
	e->pub.guest = copy_text(job->guest, &failed);
	e->pub.detail = copy_text(job->detail, &failed);
	if ((job->actions & ACT_EVIDENCE) &&
	    asprintf(&e->pub.bundle, "%s/%s/%s", job->all->path, job->guest,
		     job->id) < 0) {
		e->pub.bundle = NULL;
		failed = true;
	}
	return failed ? -ENOMEM : 0;
}

static int job_new(struct incidents *all, struct of_guest *of, struct guest *g,
		   enum event ev, int actions, const char *detail)
{
	struct job *job = calloc(1, sizeof(*job));
	struct entry *e = calloc(1, sizeof(*e));
	int ret = -ENOMEM;

	if (!job || !e)
		goto fail;
	job->all = all;
	job->entry = e;
	job->ev = ev;
	job->actions = actions;
	e->of = of;
	ret = job_fill(job, g, detail);
	if (!ret)
		ret = entry_fill(e, job);
	if (ret)
		goto fail;
	if (actions & ACT_EVIDENCE) {
		job->suppressed = of->suppressed;
		of->suppressed = 0;
	}
	store_add(all, e);
	queue_add(all, job);
	return 0;
fail:
	if (job)
		job_free(job);
	if (e)
		entry_free(e);
	return ret;
}

int incident_begin(struct guest *g, enum event ev, int actions,
		   const char *detail)
{
	struct incidents *all = g->m->incidents;
	struct of_guest *of;
	int ret;

	if (!all || !name_ok(g->name))
		return -EINVAL;
	of = store_guest(all, g->name);
	if (!of)
		return -ENOMEM;
	if (actions & ACT_DUMP)
		actions |= ACT_EVIDENCE; /* it has to lie somewhere */
	if (!g->m->cfg.hook)
		actions &= ~ACT_HOOK; /* the policy's default names it */
	actions = limit_actions(of, actions);
	if (!actions)
		return 0;
	if (all->nr_queue >= QUEUE_MAX) {
		/* Powers of two: a flood must not flood the journal. */
		if (!(all->dropped & (all->dropped + 1)))
			log_(LOG_ERR,
			     "guest %s: %s: nothing was done: %u incidents "
			     "wait already (%" PRIu64 " dropped so far)",
			     g->name, event_name(ev), QUEUE_MAX,
			     all->dropped + 1);
		all->dropped++;
		return -EBUSY;
	}
	ret = job_new(all, of, g, ev, actions, detail);
	if (ret)
		log_(LOG_ERR, "guest %s: %s: nothing was done: %s", g->name,
		     event_name(ev), strerror(-ret));
	incidents_progress(g->m);
	return ret;
}

const struct incident *incidents_list(struct monitor *m)
{
	return m->incidents && m->incidents->list ? &m->incidents->list->pub
						  : NULL;
}

/* ---- start and stop ---- */

static void incidents_free(struct incidents *all)
{
	struct of_guest *of;
	struct entry *e;

	while ((e = all->list)) {
		all->list = entry_next(e);
		entry_free(e);
	}
	while ((of = all->guests)) {
		all->guests = of->next;
		free(of->name);
		free(of);
	}
	if (all->root >= 0)
		close(all->root);
	pthread_cond_destroy(&all->answered);
	pthread_mutex_destroy(&all->lock);
	free(all->path);
	free(all);
}

/* The configuration may allow less than it did before. */
static void incidents_bound(struct incidents *all)
{
	const struct config *cfg = &all->m->cfg;
	struct job bounds = { .keep_free = cfg->keep_free,
			      .bundles_bytes = cfg->bundles_bytes,
			      .bundles_max = cfg->bundles_max };

	store_room(all, &bounds, 0, 0);
	list_sweep(all);
}

int incidents_start(struct monitor *m)
{
	struct incidents *all = calloc(1, sizeof(*all));
	int ret;

	if (!all)
		return -ENOMEM;
	all->m = m;
	all->root = -1;
	pthread_mutex_init(&all->lock, NULL);
	pthread_cond_init(&all->answered, NULL);
	all->path = realpath(m->cfg.bundles, NULL);
	ret = all->path ? store_open(all) : -errno;
	if (ret) {
		log_(LOG_ERR, "bundles directory %s: %s; choose with --bundles",
		     m->cfg.bundles,
		     ret == -EBUSY ? "another dlogd uses it" : strerror(-ret));
		incidents_free(all);
		return ret;
	}
	m->incidents = all;
	incidents_bound(all);
	return 0;
}

void incidents_reload(struct monitor *m)
{
	if (m->incidents)
		incidents_bound(m->incidents);
}

static void stop_wait(struct incidents *all)
{
	struct timespec pause = { .tv_nsec = 10 * (long)MS };
	uint64_t until = clock_ns(CLOCK_MONOTONIC) + PATIENCE_S * SECOND;

	while (all->nr_running && clock_ns(CLOCK_MONOTONIC) < until) {
		incidents_progress(all->m);
		nanosleep(&pause, NULL);
	}
}

void incidents_stop(struct monitor *m)
{
	struct incidents *all = m->incidents;
	struct job *job;

	if (!all)
		return;
	while ((job = all->queue)) {
		all->queue = job->next;
		job_drop(job, "dlogd is stopped");
	}
	all->nr_queue = 0;
	stop_wait(all);
	atomic_store(&all->stopping, true);
	stop_wait(all);
	m->incidents = NULL;
	if (all->nr_running) {
		/* They are inside a VMM's answer and end with the process. */
		log_(LOG_WARNING, "%u incidents could not be finished",
		     all->nr_running);
		return;
	}
	incidents_free(all);
}
