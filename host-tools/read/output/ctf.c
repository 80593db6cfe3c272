// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ctf.c - records as CTF 1.8 traces, which babeltrace2, Trace Compass and
 * others read.
 *
 *	DIR/boot-N/metadata	TSDL (ctf_meta.c), written last
 *	DIR/boot-N/ring-N	packets of one ring
 *
 * With several files DIR/FILE-NUMBER/boot-N.  Each boot is a trace, because
 * each has a clock of its own.  Time stamps are the guest's clock, in ns, with
 * the wall clock as offset; where that is not known they lie in 1970.
 *
 * CTF wants time stamps that never go back in a stream.  A ring's may (a CPU
 * that was interrupted between clock and reserve, a guest that lies): such a
 * record gets the time stamp before it, and its own time as a field beside.
 *
 * Memory: one packet for each ring, PACKET bytes and a record at most.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "ctf.h"

#define MAGIC 0xc1fc1fc1u
#define PACKET 32768u /* bytes after which a packet is full */
#define NAME 64

struct stream {
	struct sink packet; /* empty, or begun */
	uint64_t first, last; /* time stamps, of the packet and the ring */
	bool begun; /* has a packet in its file */
};

/* One region. */
struct region {
	struct source *src;
	size_t number;
	struct dlog_loss *loss;
	int nr_loss;
	struct stream *stream; /* one for each ring */
	struct ctf_trace trace; /* of the boot that is being written */
	char name[NAME]; /* of its directory */
	int dir; /* its directory, -1: none */
	uint32_t traces;
};

struct ctf {
	size_t n;
	struct region region[];
};

static int write_file(struct view *v, const struct region *r, const char *name,
		      struct sink *s)
{
	int ret, fd = openat(r->dir, name,
			     O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC |
				     O_NOFOLLOW,
			     0600);

	ret = fd < 0 ? -errno : s->error;
	if (!ret) {
		struct sink file = {
			.buf = s->buf, .len = s->len, .size = s->size, .fd = fd
		};

		ret = sink_flush(&file);
	}
	if (fd >= 0 && close(fd) && !ret)
		ret = -errno;
	s->len = 0;
	return ret ? fail(&v->err, ret, "cannot write %s/%s: %s", r->name, name,
			  strerror(-ret))
		   : 0;
}

/* ---- packets ---- */

/* Header and context, as ctf_meta.c describes them. */
#define PACKET_HEAD (4 + 16 + 4 + 8 + 5 * 8 + 4)

static void packet_head(struct sink *s, const struct region *r, uint32_t ring,
			uint64_t end, uint64_t discarded, uint64_t bytes)
{
	const struct stream *st = &r->stream[ring];

	ctf_put(s, MAGIC, 4);
	sink_put(s, r->trace.uuid, sizeof(r->trace.uuid));
	ctf_put(s, 0, 4);
	ctf_put(s, ring, 8);
	ctf_put(s, st->first, 8);
	ctf_put(s, end, 8);
	ctf_put(s, 8 * bytes, 8);
	ctf_put(s, 8 * bytes, 8);
	ctf_put(s, discarded, 8);
	ctf_put(s, ring, 4);
}

static int by_boot_and_ring(const void *a, const void *b)
{
	const struct dlog_loss *x = a, *y = b;

	if (x->boot != y->boot)
		return x->boot < y->boot ? -1 : 1;
	return x->ring < y->ring ? -1 : x->ring > y->ring;
}

/*
 * Records lost so far: where they were overwritten is known, that is before
 * all that are there; the others are counted at the end.
 */
static uint64_t discarded(const struct region *r, uint32_t ring, bool last)
{
	struct dlog_loss key = { .boot = r->trace.boot, .ring = ring }, *l;

	l = r->nr_loss ? bsearch(&key, r->loss, (size_t)r->nr_loss, sizeof(*l),
				 by_boot_and_ring)
		       : NULL;
	if (!l)
		return 0;
	return l->overwritten + (last ? l->torn + l->corrupt + l->dropped : 0);
}

static int packet_write(struct view *v, struct region *r, uint32_t ring,
			bool last)
{
	struct stream *st = &r->stream[ring];
	struct sink head = { .fd = -1 };
	char name[NAME];
	int ret = 0;

	snprintf(name, sizeof(name), "ring-%u", ring);
	/* Readers tell how many were lost from one packet to the next. */
	if (!st->begun && discarded(r, ring, true)) {
		packet_head(&head, r, ring, st->first, 0, PACKET_HEAD);
		ret = write_file(v, r, name, &head);
	}
	st->begun = true;
	packet_head(&head, r, ring, st->last, discarded(r, ring, last),
		    st->packet.len);
	if (!ret && (head.error || st->packet.error))
		ret = fail(&v->err, -ENOMEM, "no memory for a packet");
	if (!ret) {
		memcpy(st->packet.buf, head.buf, head.len);
		ret = write_file(v, r, name, &st->packet);
	}
	sink_free(&head);
	return ret;
}

/* Room for the head, which is known when the packet is complete. */
static void packet_begin(struct region *r, uint32_t ring, uint64_t time)
{
	struct stream *st = &r->stream[ring];

	st->first = time;
	packet_head(&st->packet, r, ring, 0, 0, 0);
}

/* ---- traces ---- */

static uint64_t clock_offset(const struct region *r, uint32_t boot, bool *known)
{
	uint64_t offset = dlog_real_time(r->src->d, boot, 0);

	*known = offset && offset < CTF_OFFSET_MAX;
	return *known ? offset : 0;
}

/*
 * Readers take what has one UUID for one trace: the region's, with what tells
 * apart in its last 10 bytes.
 */
static void make_uuid(struct region *r)
{
	uint8_t *u = r->trace.uuid;

	memcpy(u, r->src->info.uuid, 16);
	u[6] = (uint8_t)r->number;
	u[7] = (uint8_t)(r->number >> 8);
	memcpy(u + 8, &r->trace.boot, 4);
	memcpy(u + 12, &r->traces, 4);
}

static int trace_begin(struct view *v, struct region *r, uint32_t boot)
{
	int parent = v->dir, ret = 0;
	char name[NAME];

	memset(&r->trace, 0, sizeof(r->trace));
	r->trace.boot = boot;
	r->traces++;
	make_uuid(r);
	for (uint32_t i = 0; i < r->src->info.nr_rings; i++) {
		r->stream[i].first = r->stream[i].last = 0;
		r->stream[i].begun = false;
	}
	snprintf(r->name, NAME, "boot-%u", boot);
	if (v->nr_src > 1) {
		snprintf(name, NAME, "file-%zu", r->number + 1);
		snprintf(r->name, NAME, "file-%zu/boot-%u", r->number + 1,
			 boot);
		if (mkdirat(parent, name, 0700) && errno != EEXIST)
			ret = -errno;
	}
	/* A guest may make its boots seem to come back. */
	if (!ret && mkdirat(parent, r->name, 0700)) {
		size_t len = strlen(r->name);

		snprintf(r->name + len, NAME - len, "-%u", r->traces);
		if (errno != EEXIST || mkdirat(parent, r->name, 0700))
			ret = -errno;
	}
	if (!ret) {
		r->dir = openat(parent, r->name,
				O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		ret = r->dir < 0 ? -errno : 0;
	}
	return ret ? fail(&v->err, ret, "cannot make %s: %s", r->name,
			  strerror(-ret))
		   : 0;
}

/* Write what is left, and the metadata. */
static int trace_end(struct view *v, struct region *r)
{
	struct sink meta = { .fd = -1 };
	int ret = 0;

	for (uint32_t i = 0; i < r->src->info.nr_rings && !ret; i++) {
		struct stream *st = &r->stream[i];

		/* Of a ring that lost all it had only the number is left. */
		if (!st->begun && !st->packet.len && discarded(r, i, true))
			packet_begin(r, i, 0);
		if (st->packet.len)
			ret = packet_write(v, r, i, true);
	}
	r->trace.offset = clock_offset(r, r->trace.boot, &r->trace.clock);
	if (!ret) {
		ctf_meta(&meta, r->src, &r->trace);
		ret = write_file(v, r, "metadata", &meta);
	}
	sink_free(&meta);
	close(r->dir);
	r->dir = -1;
	return ret;
}

/* ---- the output ---- */

static struct region *region_of(struct view *v, const struct source *src)
{
	struct ctf *c = v->state;

	return &c->region[src - v->src];
}

static int ctf_begin(struct view *v)
{
	struct ctf *c = calloc(1,
			       sizeof(*c) + v->nr_src * sizeof(c->region[0]));
	int ret = 0;

	v->state = c;
	if (!c)
		return fail(&v->err, -ENOMEM, "no memory");
	c->n = v->nr_src;
	for (size_t i = 0; i < c->n; i++)
		c->region[i].dir = -1;
	for (size_t i = 0; i < c->n && ret >= 0; i++) {
		struct region *r = &c->region[i];

		r->src = &v->src[i];
		r->number = i;
		r->stream = calloc(r->src->info.nr_rings, sizeof(*r->stream));
		for (uint32_t k = 0; r->stream && k < r->src->info.nr_rings;
		     k++)
			r->stream[k].packet.fd = -1;
		ret = r->stream ? dlog_get_loss(r->src->d, &r->loss) : -ENOMEM;
		r->nr_loss = ret > 0 ? ret : 0;
	}
	return ret < 0 ? fail(&v->err, ret, "cannot read for loss: %s",
			      strerror(-ret))
		       : 0;
}

static int ctf_entry(struct view *v, struct source *src,
		     const struct dlog_entry *e)
{
	struct region *r = region_of(v, src);
	struct stream *st = &r->stream[e->ring];
	uint64_t time = e->time < CTF_TIME_MAX ? e->time : CTF_TIME_MAX;
	size_t at;
	uint32_t id;
	int ret = 0;

	if (r->dir >= 0 && r->trace.boot != e->boot)
		ret = trace_end(v, r);
	if (!ret && r->dir < 0)
		ret = trace_begin(v, r, e->boot);
	if (!ret && st->packet.len > PACKET)
		ret = packet_write(v, r, e->ring, false);
	if (ret)
		return ret;
	if (time > st->last)
		st->last = time;
	if (!st->packet.len)
		packet_begin(r, e->ring, st->last);
	at = st->packet.len;
	ctf_put(&st->packet, 0, 2);
	ctf_put(&st->packet, st->last, 8);
	ctf_put(&st->packet, e->time, 8);
	ctf_put(&st->packet, e->position, 8);
	ctf_put(&st->packet, e->level, 1);
	id = ctf_record(&st->packet, &v->text, e);
	if (st->packet.error)
		return fail(&v->err, -ENOMEM, "no memory for a packet");
	st->packet.buf[at] = (char)id;
	st->packet.buf[at + 1] = (char)(id >> 8);
	r->trace.used[id / 8] |= (uint8_t)(1u << id % 8);
	return 0;
}

static int ctf_end(struct view *v, bool ok)
{
	struct ctf *c = v->state;
	int ret = 0;

	for (size_t i = 0; c && i < c->n; i++) {
		struct region *r = &c->region[i];

		if (ok && !ret && r->dir >= 0)
			ret = trace_end(v, r);
		if (r->dir >= 0)
			close(r->dir);
		for (uint32_t k = 0; r->stream && k < r->src->info.nr_rings;
		     k++)
			sink_free(&r->stream[k].packet);
		free(r->stream);
		free(r->loss);
	}
	free(c);
	v->state = NULL;
	return ret;
}

static const char *const files[] = { "file-*", "boot-*", "ring-*", "metadata",
				     NULL };

const struct output output_ctf = {
	.name = "ctf",
	.help = "a directory for babeltrace2, Trace Compass",
	.target = OUTPUT_DIR,
	.files = files,
	.begin = ctf_begin,
	.entry = ctf_entry,
	.end = ctf_end,
};
