// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * main.c - dlogd: options, start and stop of the parts, signals, systemd.
 *
 * dlogd(8) is the reference.  The command line goes over the configuration,
 * also when that is read again.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "monitor.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct options {
	const char *config;
	bool check;
	char **regions, **qmp; /* NULL-terminated, room for all of argv */
	const char *libvirt, *json, *listen, *state_dir, *bundles, *control;
};

static const char help_text[] =
	"Usage: dlogd [OPTION]...\n"
	"Watch the guests whose regions lie in some directories: forward what\n"
	"they say, keep evidence when one panics, hangs or dies.\n"
	"\n"
	"  -c, --config FILE      instead of /etc/dlog/dlogd.conf\n"
	"      --check-config     only read it, and say what is wrong\n"
	"      --regions DIR      directory of region files (NAME.img) and QMP\n"
	"                         sockets (NAME.qmp); may be given again\n"
	"      --qmp DIR          directory of QMP sockets alone\n"
	"      --libvirt URI      watch the domains there, as qemu:///system\n"
	"      --json FILE        write records and events as JSON lines, - is\n"
	"                         the standard output\n"
	"      --listen ADDR:PORT web page and metrics; none: neither\n"
	"      --state-dir DIR    where cursors are kept\n"
	"      --bundles DIR      where evidence goes\n"
	"      --control PATH     socket for the libvirt hook; none: no socket\n"
	"  -v, --verbose          say more\n"
	"  -q, --quiet            say warnings and errors only\n"
	"  -h, --help             this\n"
	"  -V, --version\n"
	"\n"
	"Options go over what the configuration says.  SIGHUP reads it again,\n"
	"SIGTERM ends dlogd.\n";

enum {
	OPT_CHECK = 256,
	OPT_REGIONS,
	OPT_QMP,
	OPT_LIBVIRT,
	OPT_JSON,
	OPT_LISTEN,
	OPT_STATE,
	OPT_BUNDLES,
	OPT_CONTROL
};

static const struct option long_options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "check-config", no_argument, NULL, OPT_CHECK },
	{ "regions", required_argument, NULL, OPT_REGIONS },
	{ "qmp", required_argument, NULL, OPT_QMP },
	{ "libvirt", required_argument, NULL, OPT_LIBVIRT },
	{ "json", required_argument, NULL, OPT_JSON },
	{ "listen", required_argument, NULL, OPT_LISTEN },
	{ "state-dir", required_argument, NULL, OPT_STATE },
	{ "bundles", required_argument, NULL, OPT_BUNDLES },
	{ "control", required_argument, NULL, OPT_CONTROL },
	{ "verbose", no_argument, NULL, 'v' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

static void add(char **list, char *value)
{
	while (*list)
		list++;
	*list = value;
}

static int parse_one(struct options *o, int c)
{
	switch (c) {
	case 'c':
		o->config = optarg;
		break;
	case 'v':
		log_max = LOG_DEBUG;
		break;
	case 'q':
		log_max = LOG_WARNING;
		break;
	case OPT_CHECK:
		o->check = true;
		break;
	case OPT_REGIONS:
		add(o->regions, optarg);
		break;
	case OPT_QMP:
		add(o->qmp, optarg);
		break;
	case OPT_LIBVIRT:
		o->libvirt = optarg;
		break;
	case OPT_JSON:
		o->json = optarg;
		break;
	case OPT_LISTEN:
		o->listen = strcmp(optarg, "none") ? optarg : "";
		break;
	case OPT_STATE:
		o->state_dir = optarg;
		break;
	case OPT_BUNDLES:
		o->bundles = optarg;
		break;
	case OPT_CONTROL:
		o->control = strcmp(optarg, "none") ? optarg : "";
		break;
	default:
		return -EINVAL; /* getopt has said what */
	}
	return 0;
}

/* 0: go on, 1: done, or negative after a message. */
static int parse_options(struct options *o, int argc, char **argv)
{
	int c;

	while ((c = getopt_long(argc, argv, "c:vqhV", long_options, NULL)) !=
	       -1) {
		if (c == 'h') {
			fputs(help_text, stdout);
			return 1;
		}
		if (c == 'V') {
			puts(PROGRAM " " DLOG_VERSION);
			return 1;
		}
		if (parse_one(o, c))
			return -EINVAL;
	}
	if (optind < argc) {
		fprintf(stderr, PROGRAM ": '%s' is no option\n", argv[optind]);
		return -EINVAL;
	}
	return 0;
}

/* ---- configuration ---- */

/* Replace a text; NULL leaves it. */
static int override(char **to, const char *value)
{
	char *copy = value ? strdup(value) : NULL;

	if (!value)
		return 0;
	if (!copy)
		return -ENOMEM;
	free(*to);
	*to = copy;
	return 0;
}

/* Directories may be given as one types them: make them absolute. */
static int override_paths(char ***to, char **values)
{
	size_t n = 0;
	char **list;

	if (!*values)
		return 0;
	while (values[n])
		n++;
	list = calloc(n + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		list[i] = realpath(values[i], NULL);
		if (!list[i])
			list[i] = strdup(values[i]);
	}
	for (char **old = *to; old && *old; old++)
		free(*old);
	free(*to);
	*to = list;
	return 0;
}

/* --json: one more sink. */
static int add_json(struct config *cfg, const char *path)
{
	struct sink_config *s;

	if (!path)
		return 0;
	s = realloc(cfg->sink, (cfg->nr_sinks + 1) * sizeof(*s));
	if (!s)
		return -ENOMEM;
	cfg->sink = s;
	s += cfg->nr_sinks++;
	memset(s, 0, sizeof(*s));
	s->level = 7;
	s->name = strdup("command-line");
	s->type = strdup("json");
	s->file = strdup("--json");
	s->kv = calloc(1, sizeof(*s->kv));
	if (!s->name || !s->type || !s->file || !s->kv)
		return -ENOMEM;
	s->nr_kv = 1;
	s->kv[0].key = strdup("path");
	s->kv[0].value = strdup(path);
	return s->kv[0].key && s->kv[0].value ? 0 : -ENOMEM;
}

static int load(struct config *cfg, const struct options *o)
{
	int ret = config_load(cfg, o->config);

	if (!ret)
		ret = override_paths(&cfg->regions, o->regions);
	if (!ret)
		ret = override_paths(&cfg->qmp, o->qmp);
	if (!ret)
		ret = override(&cfg->libvirt, o->libvirt);
	if (!ret)
		ret = override(&cfg->listen, o->listen);
	if (!ret)
		ret = override(&cfg->state_dir, o->state_dir);
	if (!ret)
		ret = override(&cfg->bundles, o->bundles);
	if (!ret)
		ret = override(&cfg->control, o->control);
	if (!ret)
		ret = add_json(cfg, o->json);
	if (!ret && !cfg->bundles &&
	    asprintf(&cfg->bundles, "%s/incidents", cfg->state_dir) < 0) {
		cfg->bundles = NULL;
		ret = -ENOMEM;
	}
	if (!strcmp(cfg->listen ? cfg->listen : "", "none"))
		*cfg->listen = 0;
	if (!strcmp(cfg->control ? cfg->control : "", "none"))
		*cfg->control = 0;
	if (!ret)
		ret = forward_check(cfg);
	if (ret == -ENOMEM)
		log_(LOG_ERR, "out of memory");
	return ret;
}

/* ---- places on the disk ---- */

/* A directory with the ones above it.  @mode: of the last, whatever umask. */
static int make_dir(const char *path, mode_t mode)
{
	char copy[4096], *p = copy;
	struct stat st;

	if (snprintf(copy, sizeof(copy), "%s", path) >= (int)sizeof(copy))
		return -ENAMETOOLONG;
	while ((p = strchr(p + 1, '/'))) {
		*p = 0;
		if (!mkdir(copy, 0700))
			chmod(copy, 0755);
		else if (errno != EEXIST)
			return -errno;
		*p = '/';
	}
	if (!mkdir(copy, 0700))
		chmod(copy, mode);
	else if (errno != EEXIST)
		return -errno;
	if (stat(copy, &st))
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

/* Two of us would share cursors: the first takes a lock, until it ends. */
static int take_state_dir(const struct config *cfg)
{
	char path[4096];
	/* Through it QEMU gets to its region; what is ours in it is 0700. */
	int ret = make_dir(cfg->state_dir, 0711), fd;

	if (!ret)
		ret = make_dir(cfg->bundles, 0700);
	if (ret) {
		log_(LOG_ERR,
		     "cannot make %s or %s: %s; choose with --state-dir and --bundles",
		     cfg->state_dir, cfg->bundles, strerror(-ret));
		return ret;
	}
	snprintf(path, sizeof(path), "%s/lock", cfg->state_dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		log_(LOG_ERR, "cannot open %s: %s", path, strerror(errno));
		return -errno;
	}
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		log_(LOG_ERR,
		     "another dlogd keeps its state in %s: stop it, or choose another place with --state-dir",
		     cfg->state_dir);
		close(fd);
		return -EBUSY;
	}
	return fd;
}

/* ---- calls from other threads ---- */

struct post {
	void (*fn)(void *arg);
	void *arg;
	struct post *next;
};

struct posts {
	pthread_mutex_t lock;
	struct post *first, **last;
	sd_event_source *source;
	int fd;
	bool closed; /* the loop has ended: nobody would run them */
};

int monitor_post(struct monitor *m, void (*fn)(void *arg), void *arg)
{
	struct posts *q = m->posts;
	struct post *p = malloc(sizeof(*p));
	const uint64_t one = 1;
	bool closed;

	if (!p)
		return -ENOMEM;
	*p = (struct post){ .fn = fn, .arg = arg };
	pthread_mutex_lock(&q->lock);
	closed = q->closed;
	if (!closed) {
		*q->last = p;
		q->last = &p->next;
	}
	pthread_mutex_unlock(&q->lock);
	if (closed) {
		free(p);
		return -ESHUTDOWN;
	}
	/* It cannot be full: the counter is read in one go. */
	return write(q->fd, &one, sizeof(one)) < 0 && errno != EAGAIN ? -errno
								      : 0;
}

static void posts_run(struct posts *q)
{
	struct post *list, *next;

	pthread_mutex_lock(&q->lock);
	list = q->first;
	q->first = NULL;
	q->last = &q->first;
	pthread_mutex_unlock(&q->lock);
	for (; list; list = next) {
		next = list->next;
		list->fn(list->arg);
		free(list);
	}
}

static int on_posts(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	uint64_t n;

	(void)s, (void)revents;
	if (read(fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		return -errno;
	posts_run(arg);
	return 0;
}

static int posts_start(struct monitor *m)
{
	struct posts *q = calloc(1, sizeof(*q));

	if (!q)
		return -ENOMEM;
	m->posts = q;
	q->last = &q->first;
	pthread_mutex_init(&q->lock, NULL);
	q->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (q->fd < 0)
		return -errno;
	return sd_event_add_io(m->loop, &q->source, q->fd, EPOLLIN, on_posts,
			       q);
}

/* The last ones are run; who posts from now on is told so. */
static void posts_close(struct monitor *m)
{
	pthread_mutex_lock(&m->posts->lock);
	m->posts->closed = true;
	pthread_mutex_unlock(&m->posts->lock);
	posts_run(m->posts);
}

static void posts_stop(struct monitor *m)
{
	struct posts *q = m->posts;

	if (!q)
		return;
	posts_run(q);
	sd_event_source_unref(q->source);
	if (q->fd >= 0)
		close(q->fd);
	pthread_mutex_destroy(&q->lock);
	free(q);
	m->posts = NULL;
}

/* ---- life ---- */

struct daemon {
	struct monitor m;
	const struct options *o;
	int lock; /* of the state directory */
};

static void sources_stop(struct monitor *m)
{
	control_stop(m);
	source_libvirt_stop(m);
	source_files_stop(m);
}

static int sources_start(struct monitor *m)
{
	int ret = source_files_start(m);

	if (!ret)
		ret = source_libvirt_start(m);
	if (!ret)
		ret = control_start(m);
	return ret;
}

static void tell_status(struct monitor *m)
{
	sd_notifyf(0, "STATUS=%u guests", m->nr_guests);
}

/* What cannot change while dlogd runs stays as it was. */
static int keep_places(struct config *cfg, const struct config *old)
{
	int ret = override(&cfg->state_dir, old->state_dir);

	if (!ret)
		ret = override(&cfg->bundles, old->bundles);
	if (!ret)
		ret = override(&cfg->control, old->control);
	if (!ret && old->libvirt)
		ret = override(&cfg->libvirt, old->libvirt);
	return ret;
}

/*
 * Sinks and page are stopped, then the configuration is another one.  Guests
 * stay, with their history, and so do incidents that are under way.
 */
static void reload(struct daemon *d)
{
	struct monitor *m = &d->m;
	struct config cfg, old;
	int left;

	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu",
		   (unsigned long long)clock_ns(CLOCK_MONOTONIC) / 1000);
	if (load(&cfg, d->o)) {
		log_(LOG_ERR, "the configuration stays as it was");
		config_free(&cfg);
		goto out;
	}
	if (keep_places(&cfg, &m->cfg)) {
		config_free(&cfg);
		goto out;
	}
	web_stop(m);
	left = forward_stop(m);
	old = m->cfg;
	m->cfg = cfg;
	/* A thread that was left behind still reads its section. */
	if (!left)
		config_free(&old);
	incidents_reload(m);
	if (forward_start(m))
		log_(LOG_ERR, "nothing is forwarded until the next reload");
	if (web_start(m))
		log_(LOG_ERR, "there is no page until the next reload");
	source_files_rescan(m);
	log_(LOG_NOTICE, "configuration read again");
out:
	sd_notify(0, "READY=1");
	tell_status(m);
}

static int on_signal(sd_event_source *s, const struct signalfd_siginfo *si,
		     void *arg)
{
	struct daemon *d = arg;

	(void)s;
	if (si->ssi_signo == SIGHUP)
		reload(d);
	else
		sd_event_exit(d->m.loop, 0);
	return 0;
}

static const int signals[] = { SIGTERM, SIGINT, SIGHUP };

/* Those that the loop takes: no other thread may get one. */
static void block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < 3; i++)
		sigaddset(&set, signals[i]);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static int loop_start(struct daemon *d)
{
	struct monitor *m = &d->m;
	int ret = sd_event_default(&m->loop);

	/* sd-event's calls give 1, too, when all is well. */
	for (size_t i = 0; ret >= 0 && i < 3; i++)
		ret = sd_event_add_signal(m->loop, NULL, signals[i], on_signal,
					  d);
	if (ret >= 0)
		ret = sd_event_set_watchdog(m->loop, true);
	return ret < 0 ? ret : posts_start(m);
}

static int parts_start(struct monitor *m)
{
	int ret = incidents_start(m);

	if (!ret)
		ret = forward_start(m);
	if (!ret)
		ret = web_start(m);
	if (!ret)
		ret = watch_start(m);
	if (!ret)
		ret = sources_start(m);
	return ret;
}

/*
 * Each of these takes a part that was never started, too.  Workers that would
 * still ask a VMM are refused once its connection is closed.
 */
static void parts_stop(struct monitor *m)
{
	sources_stop(m);
	posts_close(m);
	watch_stop(m);
	incidents_stop(m);
	web_stop(m);
	forward_stop(m);
}

static int run(struct daemon *d)
{
	struct monitor *m = &d->m;
	int ret = loop_start(d);

	if (!ret)
		ret = parts_start(m);
	if (!ret) {
		log_(LOG_INFO, "%u guest%s", m->nr_guests,
		     m->nr_guests == 1 ? "" : "s");
		sd_notify(0, "READY=1");
		tell_status(m);
		ret = sd_event_loop(m->loop);
		sd_notify(0, "STOPPING=1");
	}
	if (ret < 0)
		log_(LOG_ERR, "cannot go on: %s", strerror(-ret));
	if (m->posts)
		parts_stop(m);
	posts_stop(m);
	guests_free(m);
	sd_event_unref(m->loop);
	return ret < 0 ? ret : 0;
}

int main(int argc, char **argv)
{
	struct options o = {
		.regions = calloc((size_t)argc + 1, sizeof(char *)),
		.qmp = calloc((size_t)argc + 1, sizeof(char *)),
	};
	struct daemon d = { .o = &o, .lock = -1 };
	int ret = -ENOMEM, status = EXIT_OK;

	setlocale(LC_CTYPE, "");
	umask(0077);
	/* Before any library starts a thread. */
	block_signals();
	if (o.regions && o.qmp)
		ret = parse_options(&o, argc, argv);
	if (ret < 0)
		fprintf(stderr, "Try '" PROGRAM " --help'.\n");
	if (!ret)
		ret = load(&d.m.cfg, &o);
	if (ret < 0)
		status = EXIT_USAGE;
	if (ret || o.check)
		goto out;
	d.m.started = clock_ns(CLOCK_REALTIME);
	d.lock = take_state_dir(&d.m.cfg);
	if (d.lock < 0 || run(&d))
		status = EXIT_FAILED;
out:
	if (d.lock >= 0)
		close(d.lock);
	config_free(&d.m.cfg);
	free(o.regions);
	free(o.qmp);
	return status;
}
