// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * files.c - guests found by their files: directories of regions (NAME.img)
 * and QMP sockets (NAME.qmp, or NAME.img.qmp as dlog-qemu makes it), and what
 * [guest NAME] sections name.
 *
 * The directories are watched with inotify and read whole at the start, on
 * reload, and when inotify has lost events.  One that does not exist (yet) is
 * looked for every two seconds.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "../monitor.h"

#define AGAIN_USEC 2000000u
#define SOON_USEC 50000u
#define EVENTS                                                                 \
	(IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_MOVED_FROM |                 \
	 IN_CLOSE_WRITE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

/* A directory that is watched. */
struct place {
	char *dir;
	int wd; /* -1: not there */
	bool regions, sockets; /* take all of these in it */
	bool told; /* that it is not there */
	bool refused; /* a symbolic link in it: told */
	struct place *next;
};

/* What was found of one guest. */
struct entry {
	struct guest *g;
	char *region, *socket; /* paths, NULL: none */
	struct qmp *q;
	bool region_seen, socket_seen; /* in this scan */
	bool doubt; /* two files for one guest: told */
	struct entry *next;
};

struct source_files {
	struct monitor *m;
	int fd;
	sd_event_source *io, *timer;
	struct place *places;
	struct entry *entries;
};

static void scan_in(struct source_files *f, uint64_t usec)
{
	sd_event_source_set_time_relative(f->timer, usec);
	sd_event_source_set_enabled(f->timer, SD_EVENT_ONESHOT);
}

/* ---- guests ---- */

static struct entry *entry_for(struct source_files *f, const char *name)
{
	struct entry *e;
	struct guest *g;

	for (e = f->entries; e; e = e->next)
		if (!strcmp(e->g->name, name))
			return e;
	g = guest_find(f->m, name, true);
	e = g ? calloc(1, sizeof(*e)) : NULL;
	if (!e)
		return NULL;
	e->g = g;
	g->users++;
	e->next = f->entries;
	f->entries = e;
	return e;
}

/* May @path be this guest's?  Not while another file of that kind is. */
static bool is_ours(struct entry *e, const char *have, const char *path)
{
	if (!have || !strcmp(have, path))
		return true;
	if (!e->doubt)
		log_(LOG_WARNING,
		     "guest %s: %s is left alone, since %s is there too; give it another name",
		     e->g->name, path, have);
	e->doubt = true;
	return false;
}

static void found_region(struct source_files *f, const char *name,
			 const char *path)
{
	char real[PATH_MAX];
	struct entry *e = entry_for(f, name);

	if (!e || !is_ours(e, e->region, path))
		return;
	e->region_seen = true;
	if (!e->region)
		e->region = strdup(path);
	/* Of a link its end: bundles follow none. */
	guest_set_region(e->g, realpath(path, real) ? real : path);
}

static void found_socket(struct source_files *f, const char *name,
			 const char *path)
{
	struct entry *e = entry_for(f, name);
	int ret;

	if (!e || !is_ours(e, e->socket, path))
		return;
	e->socket_seen = true;
	if (e->q) {
		qmp_retry(e->q);
		return;
	}
	free(e->socket);
	e->socket = strdup(path);
	ret = qmp_open(&e->q, e->g, path);
	if (ret)
		log_(LOG_WARNING, "guest %s: %s: %s", name, path,
		     strerror(-ret));
}

static void lost_region(struct entry *e)
{
	guest_set_region(e->g, NULL);
	free(e->region);
	e->region = NULL;
	e->doubt = false;
}

/* Somebody may have removed the socket of a VMM that lives on. */
static void lost_socket(struct source_files *f, struct entry *e)
{
	if (e->q && qmp_busy(e->q)) {
		scan_in(f, AGAIN_USEC);
		return;
	}
	qmp_close(e->q);
	e->q = NULL;
	free(e->socket);
	e->socket = NULL;
	e->doubt = false;
}

static void drop_empty(struct source_files *f)
{
	struct entry **p = &f->entries, *e;

	while ((e = *p)) {
		if (e->region || e->socket) {
			p = &e->next;
			continue;
		}
		*p = e->next;
		e->g->users--;
		free(e);
	}
}

/* ---- files ---- */

static bool ends(const char *name, const char *end)
{
	size_t n = strlen(name), k = strlen(end);

	return n > k && !strcmp(name + n - k, end);
}

/*
 * What is at @path.  Who may write to the directory must not choose what else
 * of the host is opened as a guest: a symbolic link counts if root made it, or
 * dlogd's own user.
 */
static bool look_at(struct place *p, const char *path, struct stat *st)
{
	if (lstat(path, st))
		return false;
	if (!S_ISLNK(st->st_mode))
		return true;
	if (!st->st_uid || st->st_uid == geteuid())
		return !stat(path, st);
	if (!p->refused)
		log_(LOG_WARNING,
		     "%s: a symbolic link of user %u is not followed, nor others like it in this directory; it must be root's or dlogd's own",
		     path, (unsigned int)st->st_uid);
	p->refused = true;
	return false;
}

/* Something is at @dir/@name now. */
static void found(struct source_files *f, struct place *p, const char *name)
{
	const struct config *cfg = &f->m->cfg;
	char path[PATH_MAX], guest[NAME_MAX + 1];
	struct stat st;
	size_t n;

	if (*name == '.' ||
	    snprintf(path, sizeof(path), "%s/%s", p->dir, name) >=
		    (int)sizeof(path) ||
	    !look_at(p, path, &st))
		return;
	for (size_t i = 0; i < cfg->nr_guests; i++) {
		const struct guest_config *g = &cfg->guest[i];

		if (g->region && !strcmp(g->region, path)) {
			found_region(f, g->name, path);
			return;
		}
		if (g->qmp && !strcmp(g->qmp, path)) {
			found_socket(f, g->name, path);
			return;
		}
	}
	n = strlen(name) - 4;
	if (p->regions && ends(name, ".img") && S_ISREG(st.st_mode)) {
		snprintf(guest, sizeof(guest), "%.*s", (int)n, name);
		found_region(f, guest, path);
	} else if (p->sockets && ends(name, ".qmp") && S_ISSOCK(st.st_mode)) {
		if (n > 4 && !strncmp(name + n - 4, ".img", 4))
			n -= 4;
		snprintf(guest, sizeof(guest), "%.*s", (int)n, name);
		found_socket(f, guest, path);
	}
}

static void gone(struct source_files *f, const struct place *p,
		 const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", p->dir, name);
	for (struct entry *e = f->entries; e; e = e->next) {
		if (e->region && !strcmp(e->region, path))
			lost_region(e);
		if (e->socket && !strcmp(e->socket, path))
			lost_socket(f, e);
	}
	drop_empty(f);
}

/* ---- directories ---- */

static struct place *place_for(struct source_files *f, const char *dir,
			       size_t len)
{
	struct place *p;

	while (len > 1 && dir[len - 1] == '/')
		len--;
	for (p = f->places; p; p = p->next)
		if (!strncmp(p->dir, dir, len) && !p->dir[len])
			return p;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->dir = strndup(dir, len);
	p->wd = -1;
	p->next = f->places;
	f->places = p;
	return p;
}

static void place_of_file(struct source_files *f, const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;

	if (slash)
		place_for(f, path, slash == path ? 1 : (size_t)(slash - path));
}

static void make_places(struct source_files *f)
{
	const struct config *cfg = &f->m->cfg;
	struct place *p;

	for (char **d = cfg->regions; d && *d; d++) {
		p = place_for(f, *d, strlen(*d));
		if (p)
			p->regions = p->sockets = true;
	}
	for (char **d = cfg->qmp; d && *d; d++) {
		p = place_for(f, *d, strlen(*d));
		if (p)
			p->sockets = true;
	}
	for (size_t i = 0; i < cfg->nr_guests; i++) {
		place_of_file(f, cfg->guest[i].region);
		place_of_file(f, cfg->guest[i].qmp);
	}
}

static void free_places(struct source_files *f)
{
	while (f->places) {
		struct place *p = f->places;

		f->places = p->next;
		if (p->wd >= 0)
			inotify_rm_watch(f->fd, p->wd);
		free(p->dir);
		free(p);
	}
}

/* Watch first, then read: so that nothing falls between. */
static void scan(struct source_files *f, struct place *p)
{
	struct dirent *e;
	DIR *dir;

	p->wd = inotify_add_watch(f->fd, p->dir, EVENTS);
	dir = p->wd < 0 ? NULL : opendir(p->dir);
	if (!dir) {
		if (!p->told)
			log_(LOG_WARNING, "%s: %s; it is looked for every %u s",
			     p->dir, strerror(errno), AGAIN_USEC / 1000000);
		p->told = true;
		p->wd = -1;
		return;
	}
	p->told = false;
	while ((e = readdir(dir)))
		found(f, p, e->d_name);
	closedir(dir);
}

static void scan_all(struct source_files *f)
{
	bool missing = false;

	sd_event_source_set_enabled(f->timer, SD_EVENT_OFF);
	for (struct entry *e = f->entries; e; e = e->next)
		e->region_seen = e->socket_seen = false;
	for (struct place *p = f->places; p; p = p->next) {
		scan(f, p);
		missing |= p->wd < 0;
	}
	for (struct entry *e = f->entries; e; e = e->next) {
		if (e->region && !e->region_seen)
			lost_region(e);
		if (e->socket && !e->socket_seen)
			lost_socket(f, e);
	}
	drop_empty(f);
	if (missing)
		scan_in(f, AGAIN_USEC);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *arg)
{
	(void)s, (void)usec;
	scan_all(arg);
	return 0;
}

static void one_event(struct source_files *f, const struct inotify_event *e)
{
	struct place *p = f->places;

	if (e->mask & IN_Q_OVERFLOW) {
		scan_in(f, SOON_USEC);
		return;
	}
	while (p && p->wd != e->wd)
		p = p->next;
	if (!p)
		return;
	if (e->mask & (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF)) {
		if (!(e->mask & IN_IGNORED))
			inotify_rm_watch(f->fd, p->wd);
		p->wd = -1;
		scan_in(f, SOON_USEC);
	} else if (!e->len) {
		return;
	} else if (e->mask & (IN_DELETE | IN_MOVED_FROM)) {
		gone(f, p, e->name);
	} else {
		found(f, p, e->name);
	}
}

static int on_inotify(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	char buf[16384] __attribute__((aligned(8)));
	const struct inotify_event *e;
	ssize_t n = read(fd, buf, sizeof(buf));

	(void)s, (void)revents;
	for (char *p = buf; n > 0 && p < buf + n; p += sizeof(*e) + e->len) {
		e = (const struct inotify_event *)p;
		one_event(arg, e);
	}
	return 0;
}

/* ---- life ---- */

void source_files_rescan(struct monitor *m)
{
	struct source_files *f = m->files;

	free_places(f);
	make_places(f);
	scan_all(f);
}

int source_files_start(struct monitor *m)
{
	struct source_files *f = calloc(1, sizeof(*f));
	int ret;

	if (!f)
		return -ENOMEM;
	m->files = f;
	f->m = m;
	f->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (f->fd < 0)
		return -errno;
	ret = sd_event_add_io(m->loop, &f->io, f->fd, EPOLLIN, on_inotify, f);
	if (ret >= 0)
		ret = sd_event_add_time_relative(m->loop, &f->timer,
						 CLOCK_MONOTONIC, AGAIN_USEC,
						 SOON_USEC, on_timer, f);
	if (ret < 0)
		return ret;
	source_files_rescan(m);
	return 0;
}

void source_files_stop(struct monitor *m)
{
	struct source_files *f = m->files;

	if (!f)
		return;
	for (struct entry *e = f->entries; e; e = e->next) {
		if (e->q)
			qmp_close(e->q);
		free(e->region);
		free(e->socket);
		e->q = NULL;
		e->region = e->socket = NULL;
	}
	drop_empty(f);
	free_places(f);
	sd_event_source_unref(f->io);
	sd_event_source_unref(f->timer);
	if (f->fd >= 0)
		close(f->fd);
	free(f);
	m->files = NULL;
}
