// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * cursor.c - where a sink is in a region, kept on disk.
 *
 * One small file for each region and sink: two slots, written in turn, each
 * with a number that grows and a check over all of it.  Whenever dlogd is
 * killed, at least the slot before is whole, and the page cache outlives dlogd;
 * cursor_sync() is for the host's own crash, and comes after what the cursor
 * speaks of has been synced: the forwarder's task.  The disk is not trusted more than
 * a guest: a slot that does not prove itself is not there.
 *
 * Relies on the format's own check (dlog_record.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dlog_record.h"
#include "forward.h"

#define SLOT_MAGIC 0x31727563u /* "cur1" */
#define SLOT_SEED 0x63757231u /* as a ring that no region has */
#define SLOT_ALIGN 4096u

struct slot {
	uint32_t check, magic;
	uint64_t seq;
	uint8_t uuid[16];
	uint64_t nr;
	struct dlog_place place[];
};

_Static_assert(sizeof(struct slot) == 40, "slot");
_Static_assert(sizeof(struct dlog_place) == 32, "place");

void cursor_init(struct cursor *c, int dir, const struct stopper *stop,
		 const char *uuid, const uint8_t raw_uuid[16], const char *sink)
{
	*c = (struct cursor){
		.dir = dir, .stop = stop, .uuid = uuid, .sink = sink, .fd = -1
	};
	memcpy(c->raw_uuid, raw_uuid, 16);
}

static int cursor_open(struct cursor *c, int flags)
{
	char name[UUID_TEXT + NAME_MAX_LEN + 2];

	snprintf(name, sizeof(name), "%s.%s", c->uuid, c->sink);
	c->fd = openat(c->dir, name,
		       O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | flags,
		       0600);
	return c->fd < 0 ? -errno : 0;
}

static uint32_t slot_check(const struct cursor *c, const struct slot *s)
{
	size_t size = sizeof(*s) + s->nr * sizeof(s->place[0]);

	return dlog_object_check(s, (uint32_t)size,
				 dlog_hash_seed(c->raw_uuid, SLOT_SEED), 0);
}

/* Slot @i into @s: 1, 0 when nothing was ever written there, -EBADMSG. */
static int slot_read(struct cursor *c, unsigned int i, struct slot *s)
{
	off_t off = (off_t)i * c->slot_size;
	ssize_t n = pread(c->fd, s, c->slot_size, off);

	if (n < 0)
		return -errno;
	memset((uint8_t *)s + n, 0, c->slot_size - (size_t)n);
	if (!s->check && !s->magic && !s->seq)
		return 0;
	if (s->magic != SLOT_MAGIC ||
	    s->nr > (c->slot_size - sizeof(*s)) / sizeof(s->place[0]) ||
	    memcmp(s->uuid, c->raw_uuid, 16) || s->check != slot_check(c, s))
		return -EBADMSG;
	return 1;
}

static int cursor_newest(struct cursor *c, struct slot *s,
			 struct dlog_place **places, size_t *n)
{
	int found = 0, bad = 0;

	for (unsigned int i = 0; i < 2; i++) {
		int ret = slot_read(c, i, s);

		if (ret < 0)
			bad = ret;
		if (ret <= 0 || s->seq <= c->seq)
			continue;
		free(*places);
		*places = malloc((s->nr + 1) * sizeof(**places));
		if (!*places)
			return -ENOMEM;
		memcpy(*places, s->place, s->nr * sizeof(**places));
		*n = s->nr;
		c->seq = s->seq;
		found = 1;
	}
	return found ? 1 : bad;
}

int cursor_load(struct cursor *c, uint32_t rings, struct dlog_place **places,
		size_t *n)
{
	size_t size = sizeof(struct slot) +
		      (size_t)rings * DLOG_PLACES_MAX * sizeof(**places);
	struct slot *s;
	int ret;

	*places = NULL;
	*n = 0;
	c->seq = 0;
	c->slot_size = (uint32_t)((size + SLOT_ALIGN - 1) & ~(SLOT_ALIGN - 1u));
	ret = cursor_open(c, 0);
	if (ret)
		return ret == -ENOENT ? 0 : ret;
	s = malloc(c->slot_size);
	ret = s ? cursor_newest(c, s, places, n) : -ENOMEM;
	free(s);
	cursor_close(c);
	return ret;
}

/* Both slots have their blocks from the beginning: a full disk later on does
 * not stop the cursor. */
static int cursor_create(struct cursor *c)
{
	int ret = cursor_open(c, O_CREAT);

	if (ret)
		return ret;
	ret = -posix_fallocate(c->fd, 0, 2 * (off_t)c->slot_size);
	if (ret)
		cursor_close(c);
	return ret;
}

int cursor_save(struct cursor *c, const struct dlog_place *places, size_t n)
{
	size_t size = sizeof(struct slot) + n * sizeof(*places);
	struct slot *s;
	ssize_t done;
	int ret = 0;

	if (atomic_load(&c->stop->dead))
		return 0;
	if (size > c->slot_size)
		return -E2BIG;
	if (c->fd < 0)
		ret = cursor_create(c);
	if (ret)
		return ret;
	s = calloc(1, size);
	if (!s)
		return -ENOMEM;
	s->magic = SLOT_MAGIC;
	s->seq = c->seq + 1;
	memcpy(s->uuid, c->raw_uuid, 16);
	s->nr = n;
	memcpy(s->place, places, n * sizeof(*places));
	s->check = slot_check(c, s);
	done = pwrite(c->fd, s, size, (off_t)(s->seq % 2) * c->slot_size);
	ret = done < 0 ? -errno : (size_t)done < size ? -ENOSPC : 0;
	if (!ret) {
		c->seq = s->seq;
		c->dirty = true;
	}
	free(s);
	return ret;
}

void cursor_sync(struct cursor *c)
{
	if (c->dirty && c->fd >= 0)
		fdatasync(c->fd);
	c->dirty = false;
}

void cursor_close(struct cursor *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}
