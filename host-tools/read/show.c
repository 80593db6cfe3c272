// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * show.c - run through the records of all files, once or following them.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "newfile.h"
#include "read.h"

#define WAIT_MS 1000 /* between looks at stdout and heartbeats */
/* When the last records did not hold enough lines: so many times more. */
#define LAST_GROWTH 8u
/* Not worth it when they are one in so many bytes of the file. */
#define LAST_BYTES 4096u

/* A copy of a record that may be among the last. */
struct kept {
	struct dlog_entry e;
	size_t source;
	uint8_t *data;
	size_t room;
};

static size_t source_of(const struct show *sh, const struct dlog_entry *e)
{
	size_t i = 0;

	while (i + 1 < sh->n && sh->src[i].d != e->source)
		i++;
	return i;
}

/* A boot that began while we follow is not in the list yet. */
static void refresh_boots(struct source *src, uint32_t boot)
{
	struct dlog_boot_entry *boots;
	int n;

	if (src->nr_boots && src->boots[src->nr_boots - 1].boot >= boot)
		return;
	n = dlog_get_boots(src->d, &boots);
	if (n < 0)
		return;
	free(src->boots);
	src->boots = boots;
	src->nr_boots = n;
}

static bool several_boots(const struct show *sh, const struct source *src)
{
	int n = 0;

	if (sh->filter->one_boot)
		return false;
	for (int i = 0; i < src->nr_boots; i++)
		n += src->boots[i].has_records;
	return n > 1;
}

static int emit(struct show *sh, size_t i, const struct dlog_entry *e)
{
	struct source *src = &sh->src[i];

	if (e->boot != src->shown_boot) {
		refresh_boots(src, e->boot);
		if (sh->view->fmt->headers && sh->out->boot &&
		    (src->shown_boot || several_boots(sh, src)))
			sh->out->boot(sh->view, src, e->boot);
		src->shown_boot = e->boot;
	}
	return sh->out->entry(sh->view, src, e);
}

static int keep(struct show *sh, size_t source, const struct dlog_entry *e)
{
	size_t max = (size_t)sh->lines;
	struct kept *k;

	if (!max)
		return 0;
	if (sh->nr_kept < max) {
		/* Room for a power of two, grown when one is reached. */
		if (!(sh->nr_kept & (sh->nr_kept - 1))) {
			size_t room = sh->nr_kept ? 2 * sh->nr_kept : 1;

			k = realloc(sh->kept, room * sizeof(*k));
			if (!k)
				return -ENOMEM;
			sh->kept = k;
		}
		k = &sh->kept[sh->nr_kept++];
		memset(k, 0, sizeof(*k));
	} else {
		k = &sh->kept[sh->next_kept];
		sh->next_kept = (sh->next_kept + 1) % max;
	}
	if (k->room < e->len || !k->data) {
		free(k->data);
		k->room = e->len + 64;
		k->data = malloc(k->room);
		if (!k->data) {
			k->room = 0;
			return -ENOMEM;
		}
	}
	memcpy(k->data, e->data, e->len);
	k->e = *e;
	k->e.data = k->data;
	k->source = source;
	return 0;
}

static void forget_kept(struct show *sh)
{
	for (size_t i = 0; i < sh->nr_kept; i++)
		free(sh->kept[i].data);
	free(sh->kept);
	sh->kept = NULL;
	sh->nr_kept = sh->next_kept = 0;
}

static int emit_kept(struct show *sh)
{
	int ret = 0;

	for (size_t i = 0; i < sh->nr_kept && !ret; i++) {
		struct kept *k = &sh->kept[(sh->next_kept + i) % sh->nr_kept];

		if (k->data)
			ret = emit(sh, k->source, &k->e);
	}
	forget_kept(sh);
	return ret;
}

static void learn(const struct dlog_entry *e)
{
	struct event_decoder *dec = event_decoder(e->source);

	if (dec)
		event_learn(dec, e);
}

static int take(struct show *sh, const struct dlog_entry *e, bool keep_it)
{
	size_t i = source_of(sh, e);
	bool match;

	if (newfile_signal())
		return -EINTR;
	if (sh->follow && e->kind == DLOG_KIND_EVENT)
		for (size_t k = 0; k < sh->n; k++)
			dlog_learn_entry(sh->src[k].d, e);
	match = filter_match(sh->filter, i, e);
	/* What is not shown now may tell the name of a thread that is. */
	if ((!match || keep_it) && e->kind == DLOG_KIND_EVENT &&
	    sh->filter->kinds & 1u << DLOG_KIND_EVENT)
		learn(e);
	if (!match)
		return 0;
	return keep_it ? keep(sh, i, e) : emit(sh, i, e);
}

/*
 * What is there already.  A guest may write faster than we follow: what comes
 * after a whole region's worth is not backlog.
 */
static int show_backlog(struct show *sh, struct dlog_reader *r)
{
	bool keep_it = sh->lines != LINES_ALL;
	uint64_t bytes = 0, all = 0;
	struct dlog_entry e;
	int ret = 0;

	for (size_t i = 0; i < sh->n; i++)
		all += sh->src[i].info.region_size;
	if (!sh->follow)
		all = UINT64_MAX;
	while (!ret && bytes <= all) {
		ret = dlog_reader_next(r, &e, 0);
		if (ret <= 0)
			break;
		bytes += DLOG_HDR + e.len;
		ret = take(sh, &e, keep_it);
	}
	return ret;
}

/* Has whoever read our output gone? */
static bool output_closed(const struct sink *s)
{
	struct pollfd p = { .fd = s->fd };

	return poll(&p, 1, 0) == 1 && (p.revents & (POLLERR | POLLNVAL));
}

/* Say once that a guest has gone silent, until it is heard again. */
static void watch_beats(struct show *sh, bool *told)
{
	bool stale = false;

	if (sh->quiet || sh->view->fmt->json || !isatty(STDERR_FILENO))
		return;
	for (size_t i = 0; i < sh->n && !*told; i++)
		stale |= tell_stale(&sh->src[i]);
	*told |= stale;
}

static int show_new(struct show *sh, struct dlog_reader *r)
{
	struct dlog_entry e;
	bool told = false;
	int ret;

	for (;;) {
		ret = dlog_reader_next(r, &e, 0);
		if (!ret) {
			ret = sink_flush(sh->view->out);
			if (ret || output_closed(sh->view->out))
				return ret;
			ret = dlog_reader_next(r, &e, WAIT_MS);
			if (!ret)
				watch_beats(sh, &told);
			else
				told = false;
		}
		if (ret > 0)
			ret = take(sh, &e, false);
		if (ret < 0)
			return ret;
	}
}

/*
 * Records from the end on among which the lines wanted should be; 0: look at
 * all.  Several files are merged by wall clock: where their ends meet is not
 * known beforehand.  Times: what has no wall clock is counted, all of it.
 */
static uint64_t last_wanted(const struct show *sh, uint64_t last)
{
	if (sh->lines <= 0 || sh->n > 1 || sh->filter->since.kind ||
	    sh->filter->until.kind ||
	    last > sh->src[0].info.region_size / LAST_BYTES)
		return 0;
	return last;
}

/* A reader of the last @last records, or of all: 1 if some are left out. */
static int open_reader(struct show *sh, struct dlog_reader **r,
		       struct dlog **list, uint64_t last)
{
	struct dlog_error err;
	unsigned int flags = 0;
	int ret;

	if (sh->follow)
		flags = DLOG_READER_FOLLOW | (sh->lines ? 0 : DLOG_READER_NEW);
	if (last)
		flags |= DLOG_READER_LAST;
	if (sh->filter->blocks)
		flags |= DLOG_READER_BLOCKS;
	ret = dlog_reader_new(r, list, sh->n, flags, &err);
	if (ret) {
		fprintf(stderr, PROGRAM ": %s\n", err.text);
		return ret;
	}
	if (sh->n == 1 && sh->filter->limits[0].boot)
		dlog_reader_set_boot(*r, sh->filter->limits[0].boot);
	return last ? dlog_reader_set_last(*r, last) : 0;
}

int show_records(struct show *sh)
{
	struct dlog_reader *r = NULL;
	struct dlog **list = calloc(sh->n, sizeof(struct dlog *));
	uint64_t last = last_wanted(sh, (uint64_t)sh->lines);
	int ret = -ENOMEM, more;

	if (!list)
		goto out;
	for (size_t i = 0; i < sh->n; i++)
		list[i] = sh->src[i].d;
	do {
		dlog_reader_free(r);
		forget_kept(sh);
		more = open_reader(sh, &r, list, last);
		if (!r) {
			ret = more;
			goto out;
		}
		ret = more < 0 ? more : show_backlog(sh, r);
		last = last_wanted(sh, last * LAST_GROWTH);
	} while (!ret && more && sh->nr_kept < (size_t)sh->lines);
	if (!ret)
		ret = emit_kept(sh);
	if (!ret && sh->follow)
		ret = show_new(sh, r);
	if (ret < 0 && ret != -EINTR && !sh->view->err.text[0] &&
	    !sh->view->out->error)
		fprintf(stderr, PROGRAM ": %s: reading stopped: %s\n",
			sh->src[0].path, strerror(-ret));
	sh->hidden = dlog_reader_hidden(r);
out:
	forget_kept(sh);
	dlog_reader_free(r);
	free(list);
	return ret < 0 ? ret : 0;
}
