// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bundle.c - the directory of one incident.
 *
 * It is made as GUEST/.ID.tmp and gets its name once all of it is on the
 * disk; afterwards only memory.elf and hook.log come, and incident.json is
 * replaced as a whole.  A file that could not be written whole is removed:
 * that leaves room for the next, less important one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "entry.h"
#include "incident.h"

#define ID_MAX 160u

static void temporary_name(const struct job *job, char *name)
{
	snprintf(name, ID_MAX, ".%s.tmp", job->id);
}

int bundle_open(struct job *job)
{
	struct bundle *b = &job->bundle;
	char name[ID_MAX];

	if (job->all->root < 0)
		return -ENOTDIR;
	if (mkdirat(job->all->root, job->guest, 0700) && errno != EEXIST)
		return -errno;
	b->guest_dir = openat(job->all->root, job->guest,
			      O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (b->guest_dir < 0)
		return -errno;
	temporary_name(job, name);
	if (mkdirat(b->guest_dir, name, 0700))
		return -errno;
	b->dir = openat(b->guest_dir, name,
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return b->dir < 0 ? -errno : 0;
}

void bundle_close(struct job *job)
{
	struct bundle *b = &job->bundle;
	char name[ID_MAX];

	if (b->dir >= 0 && !b->published) {
		for (size_t i = 0; i < sizeof(b->file) / sizeof(*b->file); i++)
			if (b->file[i].name)
				unlinkat(b->dir, b->file[i].name, 0);
		unlinkat(b->dir, "incident.json.new", 0);
		temporary_name(job, name);
		unlinkat(b->guest_dir, name, AT_REMOVEDIR);
	}
	if (b->dir >= 0)
		close(b->dir);
	if (b->guest_dir >= 0)
		close(b->guest_dir);
	b->dir = b->guest_dir = -1;
}

uint64_t bundle_bytes(struct job *job)
{
	return job->bundle.dir < 0 ? 0 : store_size(job->bundle.dir);
}

uint64_t bundle_free(struct job *job)
{
	struct statvfs v;
	uint64_t room;

	if (job->bundle.dir < 0 || fstatvfs(job->bundle.dir, &v))
		return 0;
	room = (uint64_t)v.f_bavail * v.f_frsize;
	return room > job->keep_free ? room - job->keep_free : 0;
}

/* ---- files ---- */

int bundle_create(struct job *job, const char *name)
{
	int fd = -ENOTDIR;

	if (job->bundle.dir >= 0) {
		fd = openat(job->bundle.dir, name,
			    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			    0600);
		if (fd < 0)
			fd = -errno;
	}
	if (fd < 0)
		job_missing(job, "%s: %s", name, strerror(-fd));
	return fd;
}

static int bundle_list(struct bundle *b, const char *name)
{
	for (size_t i = 0; i < sizeof(b->file) / sizeof(*b->file); i++)
		if (!b->file[i].name || !strcmp(b->file[i].name, name)) {
			b->file[i].name = name;
			return 0;
		}
	return -ENFILE;
}

int bundle_done(struct job *job, const char *name, int fd, int ret)
{
	/* Writing back begins now; bundle_publish() waits for it. */
	if (!ret && sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE) &&
	    errno != EINVAL && errno != ESPIPE)
		ret = -errno;
	if (close(fd) && !ret)
		ret = -errno;
	if (!ret)
		ret = bundle_list(&job->bundle, name);
	if (ret) {
		job_missing(job, "%s: %s", name, strerror(-ret));
		unlinkat(job->bundle.dir, name, 0);
	}
	return ret;
}

static int write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

int bundle_write(struct job *job, const char *name, const void *data,
		 size_t len)
{
	int fd = bundle_create(job, name);

	if (fd < 0)
		return fd;
	return bundle_done(job, name, fd, write_all(fd, data, len));
}

/* ---- incident.json ---- */

static void json_steps(struct json *j, const struct job *job)
{
	json_key(j, "actions");
	json_open(j, '[');
	for (size_t i = 0; i < STEPS; i++) {
		const struct step *s = &job->step[i];

		if (!s->action)
			continue;
		json_open(j, '{');
		json_member(j, "action", action_name(s->action));
		json_member(j, "result", s->result);
		json_key(j, "ms");
		json_u64(j, s->ms);
		if (s->why[0])
			json_member(j, "why", s->why);
		json_close(j, '}');
	}
	json_close(j, ']');
}

static void json_cpus(struct json *j, const struct cpus *cpus)
{
	static const char *const name[] = { "online", "registers", "stacks",
					    "silent" };
	struct sink list;

	json_key(j, "cpus");
	json_open(j, '{');
	for (unsigned int i = 0; i < 4; i++) {
		/* Stacks and silence are known only of those that were asked. */
		if ((i >= CPUS_STACK && !cpus->asked) || sink_init(&list, -1))
			continue;
		cpus_list(&list, cpus, i);
		json_key(j, name[i]);
		json_string(j, list.buf, list.len);
		sink_free(&list);
	}
	json_close(j, '}');
}

static void json_missing(struct json *j, const struct sink *missing)
{
	size_t from = 0;

	json_key(j, "missing");
	json_open(j, '[');
	for (size_t i = 0; i < missing->len; i++)
		if (missing->buf[i] == '\n') {
			json_string(j, missing->buf + from, i - from);
			from = i + 1;
		}
	json_close(j, ']');
}

static void json_files(struct json *j, const struct bundle *b)
{
	struct stat st;

	json_key(j, "files");
	json_open(j, '[');
	for (size_t i = 0; i < sizeof(b->file) / sizeof(*b->file); i++) {
		/* Its own size is not known before it is written. */
		if (!b->file[i].name ||
		    !strcmp(b->file[i].name, "incident.json") ||
		    fstatat(b->dir, b->file[i].name, &st, AT_SYMLINK_NOFOLLOW))
			continue;
		json_open(j, '{');
		json_member(j, "name", b->file[i].name);
		json_key(j, "bytes");
		json_u64(j, (uint64_t)st.st_size);
		json_close(j, '}');
	}
	json_close(j, ']');
}

static void json_incident(struct json *j, const struct job *job, bool complete)
{
	struct second date = { 0 };

	json_open(j, '{');
	json_key(j, "format");
	json_u64(j, 1);
	json_member(j, "id", job->id);
	json_member(j, "guest", job->guest);
	json_member(j, "event", event_name(job->ev));
	json_member(j, "detail", job->detail);
	json_member(j, "state", state_name(job->state));
	json_key(j, "boot");
	json_u64(j, job->boot);
	json_key(j, "real");
	entry_date(j, &date, job->real);
	json_key(j, "real_ns");
	json_u64(j, job->real);
	json_key(j, "took_ms");
	json_u64(j, (clock_ns(CLOCK_MONOTONIC) - job->began) / MS);
	json_member(j, "region", job->region);
	json_key(j, "uuid");
	json_hex(j, job->uuid, sizeof(job->uuid));
	json_key(j, "complete");
	json_bool(j, complete);
	json_key(j, "suppressed");
	json_u64(j, job->suppressed);
	json_steps(j, job);
	json_cpus(j, &job->cpus);
	json_missing(j, &job->missing);
	json_files(j, &job->bundle);
	json_close(j, '}');
	json_line(j);
}

int bundle_json(struct job *job, bool complete)
{
	static const char new[] = "incident.json.new";
	int dir = job->bundle.dir, fd, ret;
	struct sink s;
	struct json j = { .s = &s };

	if (sink_init(&s, -1))
		return -ENOMEM;
	json_incident(&j, job, complete);
	unlinkat(dir, new, 0);
	fd = openat(dir, new,
		    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	ret = fd < 0 ? -errno : s.error ? s.error : write_all(fd, s.buf, s.len);
	if (!ret && fsync(fd))
		ret = -errno;
	if (fd >= 0)
		close(fd);
	if (!ret && renameat(dir, new, dir, "incident.json"))
		ret = -errno;
	if (ret)
		unlinkat(dir, new, 0);
	else
		ret = bundle_list(&job->bundle, "incident.json");
	sink_free(&s);
	return ret;
}

/* ---- to the disk ---- */

static int bundle_sync(struct bundle *b)
{
	int fd, ret = 0;

	for (size_t i = 0; i < sizeof(b->file) / sizeof(*b->file); i++) {
		if (!b->file[i].name)
			continue;
		fd = openat(b->dir, b->file[i].name,
			    O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		if ((fd < 0 || fsync(fd)) && !ret)
			ret = -errno;
		if (fd >= 0)
			close(fd);
	}
	return ret;
}

int bundle_update(struct job *job)
{
	int synced = bundle_sync(&job->bundle), ret;

	ret = bundle_json(job, true);
	if (ret)
		job_missing(job, "incident.json: not brought up to date: %s",
			    strerror(-ret));
	/* The names of the files too, also where that one stays as it was. */
	if (fsync(job->bundle.dir) && !synced)
		synced = -errno;
	if (synced)
		job_missing(job, "writing to the disk: %s", strerror(-synced));
	return synced;
}

int bundle_publish(struct job *job)
{
	struct bundle *b = &job->bundle;
	char name[ID_MAX];
	int ret;

	ret = bundle_update(job);
	temporary_name(job, name);
	if (renameat2(b->guest_dir, name, b->guest_dir, job->id,
		      RENAME_NOREPLACE))
		return -errno;
	b->published = true;
	if ((fsync(b->guest_dir) || fsync(job->all->root)) && !ret)
		ret = -errno;
	b->durable = !ret;
	return ret;
}
