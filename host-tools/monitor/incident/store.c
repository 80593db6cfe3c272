// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * store.c - all bundles: BUNDLES/GUEST/ID/, one directory for each incident.
 *
 * Nothing is believed of what lies there: a directory counts as a bundle if
 * its incident.json says that it is this one, and only such are ever removed,
 * and what has the name of a half-written one.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <syslog.h>
#include <unistd.h>

#include "incident.h"

#define DEPTH_MAX 8
#define SCAN_MAX 100000u /* bundles that are looked at, at start */
#define JSON_MAX (1u << 20) /* of an incident.json */

static int open_dir(int at, const char *name)
{
	return openat(at, name,
		      O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Entries of @dir, whose own descriptor stays; NULL: cannot be read. */
static DIR *list_dir(int dir)
{
	int fd = open_dir(dir, ".");
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d && fd >= 0)
		close(fd);
	return d;
}

static bool is_dots(const char *name)
{
	return !strcmp(name, ".") || !strcmp(name, "..");
}

static int remove_tree(int at, const char *name, int depth)
{
	struct dirent *e;
	DIR *list;
	int dir;

	if (!unlinkat(at, name, 0))
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	dir = depth < DEPTH_MAX ? open_dir(at, name) : -1;
	list = dir < 0 ? NULL : list_dir(dir);
	while (list && (e = readdir(list)))
		if (!is_dots(e->d_name))
			remove_tree(dir, e->d_name, depth + 1);
	if (list)
		closedir(list);
	if (dir >= 0)
		close(dir);
	return unlinkat(at, name, AT_REMOVEDIR) ? -errno : 0;
}

static uint64_t tree_size(int dir, int depth)
{
	DIR *list = list_dir(dir);
	struct dirent *e;
	uint64_t sum = 0;
	struct stat st;
	int sub;

	while (list && (e = readdir(list))) {
		if (is_dots(e->d_name) ||
		    fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW))
			continue;
		sum += (uint64_t)st.st_blocks * 512;
		if (!S_ISDIR(st.st_mode) || depth >= DEPTH_MAX)
			continue;
		sub = open_dir(dir, e->d_name);
		if (sub < 0)
			continue;
		sum += tree_size(sub, depth + 1);
		close(sub);
	}
	if (list)
		closedir(list);
	return sum;
}

uint64_t store_size(int dir)
{
	return tree_size(dir, 0);
}

/* ---- the list ---- */

void entry_free(struct entry *e)
{
	free(e->pub.id);
	free(e->pub.guest);
	free(e->pub.detail);
	free(e->pub.bundle);
	free(e->pub.error);
	free(e);
}

struct of_guest *store_guest(struct incidents *all, const char *name)
{
	struct of_guest *of;

	for (of = all->guests; of; of = of->next)
		if (!strcmp(of->name, name))
			return of;
	of = calloc(1, sizeof(*of));
	if (!of)
		return NULL;
	of->name = strdup(name);
	if (!of->name) {
		free(of);
		return NULL;
	}
	of->next = all->guests;
	all->guests = of;
	return of;
}

void store_add(struct incidents *all, struct entry *e)
{
	struct incident *after = NULL, *next;

	pthread_mutex_lock(&all->lock);
	next = all->list ? &all->list->pub : NULL;
	while (next && next->real > e->pub.real) {
		after = next;
		next = next->next;
	}
	e->pub.next = next;
	if (after)
		after->next = &e->pub;
	else
		all->list = e;
	pthread_mutex_unlock(&all->lock);
}

/* ---- bounds ---- */

/*
 * The oldest bundle that may go; those that are their guest's newest only
 * with @newest.  @of is to get a newer one soon.  One that could not be
 * removed in this @round or a later one is passed over, so that rounds end.
 * Called with the lock.
 */
static struct entry *store_victim(struct incidents *all,
				  const struct of_guest *of, bool newest,
				  uint64_t round)
{
	struct entry *e, *victim = NULL;

	for (e = all->list; e; e = entry_next(e))
		e->of->newest = NULL;
	for (e = all->list; e; e = entry_next(e)) {
		if (!e->stored)
			continue;
		if (!e->of->newest)
			e->of->newest = e;
		if (!e->busy && e->tried < round &&
		    (newest || e->of == of || e->of->newest != e))
			victim = e;
	}
	return victim;
}

/* A victim if the bounds ask for one, taken; NULL: nothing to do. */
static struct entry *store_choose(struct incidents *all, const struct job *job,
				  uint64_t need, uint32_t more, uint64_t round)
{
	uint64_t bytes = need, count = more, room;
	const struct of_guest *of = more ? job->entry->of : NULL;
	struct entry *e, *victim = NULL;
	struct statvfs v;
	bool over;

	if (fstatvfs(all->root, &v))
		return NULL;
	room = (uint64_t)v.f_bavail * v.f_frsize;
	pthread_mutex_lock(&all->lock);
	for (e = all->list; e; e = entry_next(e)) {
		bytes += e->stored ? e->size : 0;
		count += e->stored;
	}
	over = bytes > job->bundles_bytes || count > job->bundles_max;
	if (over || room < need + job->keep_free)
		victim = store_victim(all, over ? of : NULL, false, round);
	if (!victim && over)
		victim = store_victim(all, of, true, round);
	if (victim) {
		victim->stored = false;
		victim->busy = true;
	}
	pthread_mutex_unlock(&all->lock);
	return victim;
}

/*
 * Under a temporary name first: removing may be cut short, then what is left
 * has that name already.
 */
static int store_unlink(struct incidents *all, const struct entry *e)
{
	int dir = open_dir(all->root, e->pub.guest), ret;
	char name[NAME_MAX_LEN + 64];

	snprintf(name, sizeof(name), ".%s.tmp", e->pub.id);
	if (dir < 0 || (renameat(dir, e->pub.id, dir, name) && errno != ENOENT))
		ret = -errno;
	else
		ret = remove_tree(dir, name, 0);
	if (dir >= 0)
		close(dir);
	return ret == -ENOENT ? 0 : ret;
}

/*
 * The entry stays in the list until the main thread takes it out, which it
 * does not before it is marked as gone.  What cannot be removed goes on to
 * count, and the next round tries again.
 */
static void store_remove(struct incidents *all, struct entry *e, uint64_t round)
{
	int ret = store_unlink(all, e);

	if (!ret)
		log_(LOG_INFO, "bundle %s of guest %s removed for newer ones",
		     e->pub.id, e->pub.guest);
	else if (!e->tried) /* the same is told once */
		log_(LOG_ERR, "bundle %s of guest %s cannot be removed: %s",
		     e->pub.id, e->pub.guest, strerror(-ret));
	pthread_mutex_lock(&all->lock);
	e->gone = !ret;
	if (ret) {
		e->stored = true;
		e->busy = false;
		e->tried = e->tried > round ? e->tried : round;
	}
	pthread_mutex_unlock(&all->lock);
}

void store_room(struct incidents *all, const struct job *job, uint64_t need,
		uint32_t more)
{
	struct entry *victim;
	uint64_t round;

	if (all->root < 0)
		return;
	pthread_mutex_lock(&all->lock);
	round = ++all->rounds;
	pthread_mutex_unlock(&all->lock);
	while ((victim = store_choose(all, job, need, more, round)))
		store_remove(all, victim, round);
}

/* ---- what is there at start ---- */

static json_t *read_json(int dir)
{
	int fd = openat(dir, "incident.json",
			O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	size_t len = 0;
	json_t *v = NULL;
	struct stat st;
	ssize_t n = 1;
	char *buf;

	if (fd < 0)
		return NULL;
	buf = !fstat(fd, &st) && S_ISREG(st.st_mode) ? malloc(JSON_MAX) : NULL;
	while (buf && n > 0 && len < JSON_MAX) {
		n = read(fd, buf + len, JSON_MAX - len);
		len += n > 0 ? (size_t)n : 0;
	}
	close(fd);
	if (buf && len < JSON_MAX)
		v = json_loadb(buf, len, 0, NULL);
	free(buf);
	return v;
}

static const char *get_text(const json_t *v, const char *key)
{
	const char *text = json_string_value(json_object_get(v, key));

	return text && strlen(text) < TEXT_MAX ? text : NULL;
}

/* The strings of "missing", as job_tell() joins them. */
static char *get_missing(const json_t *v)
{
	const json_t *list = json_object_get(v, "missing"), *item;
	char *text = calloc(1, TEXT_MAX);
	size_t i, len = 0;

	json_array_foreach(list, i, item)
	{
		const char *s = json_string_value(item);

		if (!text || !s)
			continue;
		snprintf(text + len, TEXT_MAX - len, "%s%s", len ? "; " : "",
			 s);
		len += strlen(text + len);
	}
	if (!len) {
		free(text);
		text = NULL;
	}
	return text;
}

static bool fill_entry(struct incidents *all, struct entry *e, const json_t *v,
		       const char *guest, const char *id)
{
	const char *event = get_text(v, "event"), *detail;
	json_int_t boot, real;
	int ev = event ? event_find(event) : -1;

	boot = json_integer_value(json_object_get(v, "boot"));
	real = json_integer_value(json_object_get(v, "real_ns"));
	if (json_integer_value(json_object_get(v, "format")) != 1 || ev < 0 ||
	    boot < 0 || boot > UINT32_MAX || real <= 0 || !get_text(v, "id") ||
	    strcmp(get_text(v, "id"), id) || !get_text(v, "guest") ||
	    strcmp(get_text(v, "guest"), guest))
		return false;
	detail = get_text(v, "detail");
	e->pub.ev = (enum event)ev;
	e->pub.boot = (uint32_t)boot;
	e->pub.real = (uint64_t)real;
	e->pub.complete = json_is_true(json_object_get(v, "complete"));
	e->pub.error = get_missing(v);
	e->pub.id = strdup(id);
	e->pub.guest = strdup(guest);
	e->pub.detail = detail ? strdup(detail) : NULL;
	e->of = store_guest(all, guest);
	if (asprintf(&e->pub.bundle, "%s/%s/%s", all->path, guest, id) < 0)
		e->pub.bundle = NULL;
	return e->pub.id && e->pub.guest && e->pub.bundle && e->of;
}

static void scan_bundle(struct incidents *all, int guest_dir, const char *guest,
			const char *id)
{
	int dir = open_dir(guest_dir, id);
	json_t *v = dir < 0 ? NULL : read_json(dir);
	struct entry *e = v ? calloc(1, sizeof(*e)) : NULL;

	if (e && fill_entry(all, e, v, guest, id)) {
		e->stored = true;
		e->size = e->pub.bytes = store_size(dir);
		store_add(all, e);
	} else {
		log_(LOG_WARNING,
		     "%s/%s/%s is not a bundle of this program, left alone",
		     all->path, guest, id);
		if (e)
			entry_free(e);
	}
	json_decref(v);
	if (dir >= 0)
		close(dir);
}

/* ".ID.tmp": writing or removing it was cut short. */
static bool is_temporary(const char *name)
{
	size_t n = strlen(name);
	char id[NAME_MAX_LEN + 1];

	if (name[0] != '.' || n < 6 || n - 5 > NAME_MAX_LEN ||
	    strcmp(name + n - 4, ".tmp"))
		return false;
	memcpy(id, name + 1, n - 5);
	id[n - 5] = '\0';
	return name_ok(id);
}

static void scan_guest(struct incidents *all, const char *guest, uint32_t *left)
{
	int dir = open_dir(all->root, guest);
	DIR *list = dir < 0 ? NULL : list_dir(dir);
	struct dirent *e;

	while (list && *left && (e = readdir(list))) {
		if (is_temporary(e->d_name)) {
			log_(LOG_NOTICE, "%s/%s/%s is half a bundle, removed",
			     all->path, guest, e->d_name);
			remove_tree(dir, e->d_name, 0);
		} else if (name_ok(e->d_name)) {
			--*left;
			scan_bundle(all, dir, guest, e->d_name);
		}
	}
	if (list)
		closedir(list);
	if (dir >= 0)
		close(dir);
	unlinkat(all->root, guest, AT_REMOVEDIR); /* if it is empty */
}

int store_open(struct incidents *all)
{
	uint32_t left = SCAN_MAX;
	struct dirent *e;
	DIR *list;

	all->root = open(all->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (all->root < 0)
		return -errno;
	/* Another dlogd would take ours for half-written ones. */
	if (flock(all->root, LOCK_EX | LOCK_NB))
		return -EBUSY;
	list = list_dir(all->root);
	while (list && left && (e = readdir(list)))
		if (name_ok(e->d_name))
			scan_guest(all, e->d_name, &left);
	if (list)
		closedir(list);
	if (!left)
		log_(LOG_WARNING,
		     "%s holds more than %u bundles: the rest is "
		     "left alone",
		     all->path, SCAN_MAX);
	return 0;
}
