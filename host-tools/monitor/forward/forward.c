// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * forward.c - forward_* of monitor.h: starts, stops and feeds the forwarders.
 *
 * The main thread's half.  It hands over two things, under each forwarder's
 * lock: the list of guests when it has changed, and what dlogd itself has to
 * say.  It never waits for a sink but in forward_stop().
 */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "forward.h"

#define STOP_MS 2000u /* for a batch that is on its way */
#define STOP_MOST_S 4 /* then the thread is left behind */

struct forward {
	int dir; /* STATE_DIR/cursors */
	size_t n;
	struct forwarder **f;
	pthread_mutex_t lock; /* refs of rolls */
};

static const struct target_ops *const types[] = { &to_json, &to_journal,
						  &to_syslog, &to_nats };

/* ---- configuration ---- */

int target_fail(struct target *t, int ret, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(t->why, sizeof(t->why), fmt, ap);
	va_end(ap);
	return ret;
}

int target_wrong(const struct sink_config *sc, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_(LOG_ERR, "%s:%u: [sink %s]: %s", sc->file, sc->line, sc->name,
	     text);
	return -EINVAL;
}

int target_bool(const struct sink_config *sc, const char *key, bool *value)
{
	const char *text = sink_config_get(sc, key);

	if (!text)
		return 0;
	*value = !strcmp(text, "yes");
	if (!*value && strcmp(text, "no"))
		return target_wrong(sc, "%s = %s: must be yes or no", key,
				    text);
	return 0;
}

int target_seconds(const struct sink_config *sc, const char *key,
		   uint32_t *value)
{
	const char *text = sink_config_get(sc, key);
	static const char units[] = "smhd";
	static const uint32_t unit[] = { 1, 60, 3600, 86400 };
	const char *u = units;
	unsigned long n;
	char *end;

	if (!text)
		return 0;
	errno = 0;
	n = strtoul(text, &end, 10);
	if (*end)
		u = strchr(units, *end);
	if (errno || *text < '0' || *text > '9' || !u || (*end && end[1]) ||
	    n > 86400 * 365 / unit[u - units])
		return target_wrong(sc,
				    "%s = %s: must be a time such as 30s, 2m "
				    "or 1h",
				    key, text);
	*value = (uint32_t)n * unit[u - units];
	return 0;
}

static int check_keys(const struct sink_config *sc,
		      const struct target_ops *ops)
{
	int ret = 0;

	for (size_t i = 0; i < sc->nr_kv; i++) {
		const char *const *key = ops->keys;

		while (*key && strcmp(*key, sc->kv[i].key))
			key++;
		if (!*key && strcmp(sc->kv[i].key, "start"))
			ret = target_wrong(sc, "%s: a %s sink has no such key",
					   sc->kv[i].key, ops->type);
	}
	return ret;
}

static int check_start(const struct sink_config *sc, bool *newest)
{
	const char *start = sink_config_get(sc, "start");

	*newest = start && !strcmp(start, "newest");
	if (start && !*newest && strcmp(start, "oldest"))
		return target_wrong(sc, "start = %s: must be oldest or newest",
				    start);
	return 0;
}

static int target_make(struct target **out, const struct sink_config *sc)
{
	int ret;

	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		if (!sc->type || strcmp(types[i]->type, sc->type))
			continue;
		ret = check_keys(sc, types[i]);
		if (!ret)
			ret = types[i]->make(out, sc);
		if (ret)
			return ret;
		(*out)->ops = types[i];
		(*out)->sc = sc;
		return 0;
	}
	return target_wrong(sc,
			    "type = %s: must be json, journal, syslog or "
			    "nats",
			    sc->type ? sc->type : "");
}

static int sink_check(const struct sink_config *sc)
{
	struct target *t = NULL;
	bool newest;
	int ret = check_start(sc, &newest);
	int more = target_make(&t, sc);

	if (!more)
		t->ops->free(t);
	return ret ? ret : more;
}

int forward_check(const struct config *cfg)
{
	int ret = 0;

	for (size_t i = 0; i < cfg->nr_sinks; i++)
		if (sink_check(&cfg->sink[i]))
			ret = -EINVAL;
	return ret;
}

/* ---- waits ---- */

int stopper_poll(struct stopper *st, int fd, short events, int timeout_ms)
{
	uint64_t until = clock_ns(CLOCK_MONOTONIC) + (uint64_t)timeout_ms * MS;

	for (;;) {
		bool asked = atomic_load(&st->asked);
		uint64_t now = clock_ns(CLOCK_MONOTONIC), end = until;
		struct pollfd p[2] = { { .fd = fd, .events = events },
				       { .fd = st->fd, .events = POLLIN } };
		int n;

		if (asked && atomic_load(&st->until) < end)
			end = atomic_load(&st->until);
		/* Also when @fd is always ready. */
		if (asked && now >= atomic_load(&st->until))
			return -ECANCELED;
		n = poll(p, asked ? 1 : 2,
			 end > now ? (int)((end - now + MS - 1) / MS) : 0);
		if (n > 0 && p[0].revents)
			return p[0].revents;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (clock_ns(CLOCK_MONOTONIC) >= end)
			return end == until ? 0 : -ECANCELED;
	}
}

/* ---- start and stop ---- */

static int cursors_dir(const struct config *cfg)
{
	char path[4096];
	int fd = -1,
	    n = snprintf(path, sizeof(path), "%s/cursors", cfg->state_dir);

	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	if ((mkdir(path, 0700) && errno != EEXIST) ||
	    (fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0) {
		int ret = -errno;

		log_(LOG_ERR,
		     "cannot use %s for the sinks' cursors: %s; create it or "
		     "set state_dir in [dlogd]",
		     path, strerror(-ret));
		return ret;
	}
	return fd;
}

static void forwarder_wake(struct forwarder *f)
{
	const uint64_t one = 1;

	/* EAGAIN: it has been woken often enough. */
	if (write(f->news, &one, sizeof(one)) < 0 && errno != EAGAIN)
		log_(LOG_WARNING, "sink %s: cannot be woken: %s", f->sc->name,
		     strerror(errno));
}

static void forwarder_free(struct forwarder *f)
{
	if (f->t)
		f->t->ops->free(f->t);
	for (; f->queue_n; f->queue_n--) {
		told_free(&f->queue[f->queue_head]);
		f->queue_head = (f->queue_head + 1) % FORWARD_QUEUE;
	}
	if (f->roll)
		roll_put(f->fw, f->roll);
	if (f->stop.fd >= 0)
		close(f->stop.fd);
	pthread_mutex_destroy(&f->lock);
	if (f->news >= 0)
		close(f->news);
	for (size_t i = 0; i < f->nr_tallies; i++)
		free(f->tally[i].guest);
	free(f->tally);
	free(f->follower);
	free(f);
}

static struct forwarder *forwarder_new(struct monitor *m, size_t i, int *ret)
{
	const struct sink_config *sc = &m->cfg.sink[i];
	struct forwarder *f = calloc(1, sizeof(*f));

	*ret = f ? 0 : -ENOMEM;
	if (!f)
		return NULL;
	f->fw = m->forward;
	f->sc = sc;
	f->dir = m->forward->dir;
	f->started = m->started;
	f->st.name = sc->name;
	f->st.type = sc->type;
	pthread_mutex_init(&f->lock, NULL);
	f->stop.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	f->news = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (f->stop.fd < 0 || f->news < 0)
		*ret = -errno;
	if (!*ret)
		*ret = check_start(sc, &f->newest);
	if (!*ret)
		*ret = target_make(&f->t, sc);
	if (!*ret) {
		f->t->stop = &f->stop;
		f->t->f = f;
		return f;
	}
	forwarder_free(f);
	return NULL;
}

/* Signals are the main thread's. */
static int forwarder_run(struct forwarder *f)
{
	sigset_t all, old;
	char name[16];
	int ret;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = -pthread_create(&f->thread, NULL, forwarder_main, f);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ret)
		return ret;
	snprintf(name, sizeof(name), "sink-%.10s", f->sc->name);
	pthread_setname_np(f->thread, name);
	return 0;
}

int forward_start(struct monitor *m)
{
	struct forward *fw;
	int ret = 0, bad = 0;

	if (!m->cfg.nr_sinks)
		return 0;
	fw = calloc(1, sizeof(*fw));
	if (!fw)
		return -ENOMEM;
	m->forward = fw;
	pthread_mutex_init(&fw->lock, NULL);
	fw->f = calloc(m->cfg.nr_sinks, sizeof(*fw->f));
	fw->dir = cursors_dir(&m->cfg);
	if (!fw->f || fw->dir < 0)
		bad = fw->f ? fw->dir : -ENOMEM;
	/* Every mistake is told before anything runs. */
	for (size_t i = 0; fw->f && i < m->cfg.nr_sinks; i++) {
		struct forwarder *f = forwarder_new(m, i, &ret);

		if (f)
			fw->f[fw->n++] = f;
		else
			bad = ret;
	}
	for (size_t i = 0; !bad && i < fw->n; i++)
		bad = forwarder_run(fw->f[i]);
	if (bad)
		forward_stop(m);
	else
		forward_guests_changed(m);
	return bad;
}

/* False: its thread does not end, whatever it waits for. */
static bool forwarder_join(struct forwarder *f, const struct timespec *until)
{
	if (!f->thread ||
	    !pthread_clockjoin_np(f->thread, NULL, CLOCK_MONOTONIC, until))
		return true;
	/* Another one may soon have its cursors. */
	atomic_store(&f->stop.dead, true);
	log_(LOG_WARNING, "sink %s: does not end, left behind", f->sc->name);
	return false;
}

int forward_stop(struct monitor *m)
{
	struct forward *fw = m->forward;
	struct timespec until;
	int left = 0;

	if (!fw)
		return 0;
	for (size_t i = 0; i < fw->n; i++) {
		struct forwarder *f = fw->f[i];
		uint64_t one = 1;

		atomic_store(&f->stop.until,
			     clock_ns(CLOCK_MONOTONIC) + STOP_MS * MS);
		pthread_mutex_lock(&f->lock);
		atomic_store(&f->stop.asked, true);
		forwarder_wake(f);
		pthread_mutex_unlock(&f->lock);
		if (write(f->stop.fd, &one, sizeof(one)) < 0)
			log_(LOG_WARNING, "sink %s: cannot be woken: %s",
			     f->sc->name, strerror(errno));
	}
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += STOP_MOST_S;
	for (size_t i = 0; i < fw->n; i++) {
		if (forwarder_join(fw->f[i], &until))
			forwarder_free(fw->f[i]);
		else
			left++;
	}
	m->forward = NULL;
	if (left)
		return left; /* they use the rest */
	if (fw->dir >= 0)
		close(fw->dir);
	pthread_mutex_destroy(&fw->lock);
	free(fw->f);
	free(fw);
	return 0;
}

/* ---- guests ---- */

void roll_put(struct forward *fw, struct roll *roll)
{
	int refs;

	pthread_mutex_lock(&fw->lock);
	refs = --roll->refs;
	pthread_mutex_unlock(&fw->lock);
	if (refs)
		return;
	for (size_t i = 0; i < roll->n; i++) {
		free(roll->guest[i].guest);
		free(roll->guest[i].region);
	}
	free(roll);
}

static struct roll *roll_call(struct monitor *m)
{
	struct roll *roll;
	size_t n = 0;

	for (const struct guest *g = m->guests; g; g = g->next)
		n++;
	roll = calloc(1, sizeof(*roll) + n * sizeof(roll->guest[0]));
	if (!roll)
		return NULL;
	roll->refs = 1;
	for (const struct guest *g = m->guests; g; g = g->next) {
		struct followed *to = &roll->guest[roll->n];

		if (!g->region || !g->d)
			continue;
		to->guest = strdup(g->name);
		to->region = strdup(g->region);
		memcpy(to->uuid, g->uuid, sizeof(to->uuid));
		config_limits(&m->cfg, g->name, &to->rate, &to->bytes);
		if (to->guest && to->region) {
			roll->n++;
		} else {
			free(to->guest);
			free(to->region);
		}
	}
	return roll;
}

void forward_guests_changed(struct monitor *m)
{
	struct forward *fw = m->forward;
	struct roll *roll = fw ? roll_call(m) : NULL;

	if (!roll)
		return;
	for (size_t i = 0; i < fw->n; i++) {
		struct forwarder *f = fw->f[i];
		struct roll *old;

		pthread_mutex_lock(&fw->lock);
		roll->refs++;
		pthread_mutex_unlock(&fw->lock);
		pthread_mutex_lock(&f->lock);
		old = f->roll;
		f->roll = roll;
		forwarder_wake(f);
		pthread_mutex_unlock(&f->lock);
		if (old)
			roll_put(fw, old);
	}
	roll_put(fw, roll);
}

/* ---- what dlogd itself says ---- */

void told_free(struct told *told)
{
	free(told->guest);
	free(told->id);
	free(told->event);
	free(told->text);
	free(told->incident);
	free(told->bundle);
	*told = (struct told){ 0 };
}

static int event_level(enum event ev)
{
	switch (ev) {
	case EV_PANICKED:
	case EV_CRASH_LOADED:
	case EV_HUNG:
	case EV_VMM_GONE:
	case EV_LOST:
		return LOG_CRIT;
	case EV_OOPS:
	case EV_WATCHDOG:
	case EV_VMM_STUCK:
	case EV_RESET:
		return LOG_ERR;
	default:
		return LOG_NOTICE;
	}
}

static void told_fill(struct told *to, const struct guest *g, enum event ev,
		      const char *detail, const struct incident *inc)
{
	char id[ID_TEXT], uuid[UUID_TEXT];

	to->real = clock_ns(CLOCK_REALTIME);
	uuid_text(uuid, g->uuid);
	snprintf(id, sizeof(id), "%s-event-%" PRIu64, uuid, to->real);
	to->id = strdup(id);
	to->guest = strdup(g->name);
	to->event = strdup(event_name(ev));
	if (inc && inc->complete)
		detail = inc->error ? inc->error : "evidence is complete";
	to->text = strdup(detail ? detail : event_name(ev));
	if (inc) {
		to->incident = strdup(inc->id);
		to->bundle = inc->bundle ? strdup(inc->bundle) : NULL;
	}
	to->boot = g->boot;
	to->level = event_level(ev);
}

static void forwarder_tell(struct forwarder *f, const struct guest *g,
			   enum event ev, const char *detail,
			   const struct incident *inc)
{
	uint32_t i = (f->queue_head + f->queue_n) % FORWARD_QUEUE;
	struct told *to = &f->queue[i];

	if (f->queue_n == FORWARD_QUEUE) {
		if (!f->told_lost++)
			log_(LOG_WARNING,
			     "sink %s: %u events wait already, the next are "
			     "not told there",
			     f->sc->name, FORWARD_QUEUE);
		f->st.missed++;
		return;
	}
	f->told_lost = 0;
	told_fill(to, g, ev, detail, inc);
	if (!to->id || !to->guest || !to->event || !to->text) {
		told_free(to);
		f->st.missed++;
		return;
	}
	f->queue_n++;
	forwarder_wake(f);
}

void forward_tell(struct monitor *m, const struct guest *g, enum event ev,
		  const char *detail, const struct incident *inc)
{
	struct forward *fw = m->forward;

	for (size_t i = 0; fw && i < fw->n; i++) {
		struct forwarder *f = fw->f[i];

		if (f->sc->guests && fnmatch(f->sc->guests, g->name, 0))
			continue;
		pthread_mutex_lock(&f->lock);
		forwarder_tell(f, g, ev, detail, inc);
		pthread_mutex_unlock(&f->lock);
	}
}

/* ---- figures ---- */

int forward_stats(struct monitor *m, size_t i, struct sink_stats *st)
{
	struct forward *fw = m->forward;

	if (!fw || i >= fw->n)
		return 0;
	pthread_mutex_lock(&fw->f[i]->lock);
	*st = fw->f[i]->st;
	pthread_mutex_unlock(&fw->f[i]->lock);
	return 1;
}

int forward_guest_stats(struct monitor *m, size_t i, const struct guest *g,
			struct sink_stats *st)
{
	struct forwarder *f;

	if (!forward_stats(m, i, st))
		return 0;
	st->records = st->bytes = st->missed = 0;
	f = m->forward->f[i];
	pthread_mutex_lock(&f->lock);
	for (size_t k = 0; k < f->nr_tallies; k++) {
		const struct tally *t = &f->tally[k];

		if (strcmp(t->guest, g->name))
			continue;
		st->records = t->records;
		st->bytes = t->bytes;
		st->missed = t->missed;
	}
	for (size_t k = 0; k < f->nr_followers; k++) {
		const struct follower *fo = f->follower[k];

		if (strcmp(fo->what.guest, g->name))
			continue;
		st->records += fo->records;
		st->bytes += fo->bytes;
		st->missed += fo->missed;
	}
	pthread_mutex_unlock(&f->lock);
	return 1;
}
