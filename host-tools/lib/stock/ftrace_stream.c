// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * ftrace_stream.c - the records of one CPU of ftrace's ring, oldest first, and
 * on and on when following.
 *
 * What there is to be read is a list of sub-buffers, made once: 24 bytes for
 * each.  At its end a follower goes on from slot to slot of the kernel's own
 * array, or makes a new list where that is damaged or the writer has come
 * round.  Two sub-buffers are held: records of one may still be out while the
 * next is read.
 *
 * A record's position is its time, or more where several have the same: so it
 * stays what it is when the ring is opened again.
 */
#include <stdlib.h>
#include <string.h>

#include "stock/ftrace.h"

/* Every n-th poll that found nothing makes a new list. */
#define POLL_LIST 32u
#define POLL_UNLISTED 2u /* where the array does not tell what is next */

struct stream {
	struct dlog *d;
	const struct ftrace *f;
	uint32_t cpu, only;
	bool follow;
	struct ftrace_order order;
	uint32_t at; /* in the order: loaded, or to be loaded */
	uint32_t boots; /* the newest */
	uint64_t seen; /* header's time of the sub-buffer looked at last */
	uint32_t seen_page;
	bool lapped; /* the list is of no use any more */
	uint8_t *buf[2];
	uint32_t cur, refs[2];
	bool loaded;
	struct ftrace_header head; /* of what is loaded */
	struct ftrace_walk walk;
	uint32_t boot; /* of the record given last */
	uint64_t time, position; /* behind it */
	uint64_t from; /* by seek: nothing before this position */
	uint64_t given, missed;
	uint32_t polls;
};

void ftrace_stream_free(void *stream)
{
	struct stream *s = stream;

	free(s->order.entry);
	free(s->buf[0]);
	free(s->buf[1]);
	free(s);
}

static int list_make(struct stream *s)
{
	free(s->order.entry);
	return ftrace_order(s->d, s->f, s->cpu, &s->order);
}

static const struct ftrace_entry *newest(const struct stream *s)
{
	return s->order.nr ? &s->order.entry[s->order.nr - 1] : NULL;
}

static uint32_t boot_of(const struct stream *s, const struct ftrace_entry *e)
{
	return s->boots > e->back ? s->boots - e->back : 1;
}

int ftrace_stream_new(struct dlog *d, uint32_t n, unsigned int flags,
		      void **out)
{
	const struct ftrace *f = d->state;
	struct stream *s = calloc(1, sizeof(*s));
	int ret = -ENOMEM;

	if (!s)
		return ret;
	s->d = d;
	s->f = f;
	s->cpu = n;
	s->follow = flags & DLOG_READER_FOLLOW;
	s->boots = f->boots;
	s->buf[0] = malloc(f->size);
	s->buf[1] = malloc(f->size);
	if (s->buf[0] && s->buf[1])
		ret = list_make(s);
	if (ret) {
		ftrace_stream_free(s);
		return ret;
	}
	if (flags & DLOG_READER_NEW && newest(s)) {
		s->at = s->order.nr - 1;
		s->from = UINT64_MAX; /* until it is loaded */
	}
	*out = s;
	return 0;
}

void ftrace_stream_set_boot(void *stream, uint32_t boot)
{
	((struct stream *)stream)->only = boot;
}

static bool wanted(const struct stream *s, const struct ftrace_entry *e)
{
	return !s->only || boot_of(s, e) == s->only;
}

/* ---- a sub-buffer ---- */

static void walk_begin(struct stream *s, const struct ftrace_entry *e)
{
	uint32_t boot = boot_of(s, e);

	ftrace_walk_begin(&s->walk, s->buf[s->cur], &s->head);
	if (boot != s->boot) {
		s->time = s->position = 0;
		s->given = 0;
	}
	s->boot = boot;
	if (e->lost_time) {
		s->walk.lost_time = true;
		s->walk.time = s->walk.position = s->time;
	}
	if (s->walk.position < s->position)
		s->walk.position = s->position;
}

/* Leave what is loaded for what comes next in the list. */
static void leave(struct stream *s)
{
	s->at++;
	s->loaded = false;
}

/* Load what is at s->at: 1, 0 when a buffer has to be put back, or negative. */
static int load(struct stream *s)
{
	const struct ftrace_entry *e = &s->order.entry[s->at];
	int ret;

	if (s->refs[!s->cur])
		return 0;
	s->seen = e->time;
	s->seen_page = e->page;
	ret = ftrace_load(s->d, s->f, s->cpu, e->page, s->buf[!s->cur],
			  &s->head);
	if (ret < 0)
		return ret;
	/* Overwritten since the list was made. */
	if (!ret || s->head.time != e->time) {
		s->missed++;
		s->lapped = true;
		leave(s);
		return 1;
	}
	s->cur = !s->cur;
	s->loaded = true;
	walk_begin(s, e);
	return 1;
}

/* Only what comes from now on: pass what is there. */
static void pass(struct stream *s)
{
	struct ftrace_walk w = s->walk;
	struct ftrace_event e;

	while (ftrace_walk_next(&w, &e))
		;
	s->walk = w;
	s->from = 0;
}

static bool give(struct stream *s, struct dlog_item *item)
{
	const struct ftrace_entry *entry = &s->order.entry[s->at];
	struct ftrace_event e;

	if (s->from == UINT64_MAX)
		pass(s);
	while (ftrace_walk_next(&s->walk, &e)) {
		if (!entry->lost_time)
			s->time = e.time;
		s->position = s->walk.position;
		if (e.position < s->from)
			continue;
		*item = (struct dlog_item){
			.time = e.time,
			.position = e.position,
			.boot = s->boot,
			.type = DLOG_TYPE(
				DLOG_KIND_EVENT,
				e.len < 2
					? 0u
					: e.data[0] | (uint32_t)e.data[1] << 8),
			.len = (uint16_t)e.len,
			.doubt = s->walk.guess || s->walk.doubt ||
						 entry->lost_time
					 ? DLOG_DOUBT_SALVAGED
					 : DLOG_DOUBT_NONE,
			.data = e.data,
			.buffer = s->cur,
			.number = s->given++,
		};
		s->refs[s->cur]++;
		return true;
	}
	return false;
}

/* ---- following ---- */

/* Read on in the sub-buffer that is loaded; nothing of it may be out. */
static bool reload(struct stream *s)
{
	uint32_t page = s->order.entry[s->at].page;
	struct ftrace_header h;

	if (ftrace_load(s->d, s->f, s->cpu, page, s->buf[s->cur], &h) <= 0 ||
	    h.time != s->head.time || h.bad ||
	    FTRACE_HEADER + h.commit <= s->walk.off)
		return false;
	s->head = h;
	s->walk.end = FTRACE_HEADER + h.commit;
	return true;
}

/* The entry that was looked at last, or the list's end. */
static uint32_t seen(const struct stream *s)
{
	const struct ftrace_entry *e = s->order.entry;
	uint32_t i = 0;

	while (i < s->order.nr &&
	       (e[i].page != s->seen_page || e[i].time != s->seen))
		i++;
	return i;
}

/*
 * The writer has come round, or the ring was emptied, or the array cannot be
 * trusted: go on with a new list, behind what was given.  Nothing may be out.
 */
static bool again(struct stream *s)
{
	uint32_t runs = s->order.runs, i, k;
	const struct ftrace_entry *e;

	s->from = 0;
	s->lapped = false;
	s->polls = 0;
	if (list_make(s)) {
		s->order.nr = 0;
		return s->loaded = false;
	}
	e = s->order.entry;
	for (i = s->order.nr; i && !e[i - 1].back; i--)
		;
	k = seen(s);
	s->loaded &= k < s->order.nr;
	if (s->loaded) {
		s->at = k;
		return reload(s) || k + 1 < s->order.nr;
	}
	s->at = i;
	if (i == s->order.nr)
		return false;
	/* A new boot has begun, here or in an empty ring. */
	if (newest(s)->time < s->seen || (i && s->order.runs > runs)) {
		s->boots++;
		return true;
	}
	s->missed += !i && e[0].time > s->seen;
	while (s->at < s->order.nr && e[s->at].time <= s->seen)
		s->at++;
	return s->at < s->order.nr;
}

/* Has the kernel's reader changed the array since the list was made? */
static bool swapped(const struct stream *s)
{
	uint32_t page;

	return s->order.listed && (!ftrace_slot(s->d, s->f, s->cpu, 0, &page) ||
				   page != s->order.reader);
}

/* The sub-buffer behind the one that is loaded, if it has begun. */
static bool successor(struct stream *s, struct ftrace_entry *next)
{
	const struct ftrace_entry *e = &s->order.entry[s->at];
	struct ftrace_header h;
	uint32_t slot = e->slot + 1;

	if (!s->order.listed)
		return false;
	if (!e->slot)
		slot = ftrace_head(s->d, s->f, s->cpu);
	if (slot >= s->f->nr)
		slot = 1;
	*next = (struct ftrace_entry){ .slot = slot };
	if (!slot || !ftrace_slot(s->d, s->f, s->cpu, slot, &next->page) ||
	    next->page == e->page ||
	    ftrace_header(s->d, s->f, s->cpu, next->page, &h) || !h.commit ||
	    h.bad || h.time <= e->time)
		return false;
	next->time = h.time;
	return true;
}

enum news { NEWS_NONE, NEWS_MORE, NEWS_NEXT, NEWS_AGAIN };

/* Time for a new list, although nothing asks for it? */
static enum news nothing(struct stream *s)
{
	uint32_t every = POLL_LIST;

	if (s->loaded && !s->order.listed)
		every = POLL_UNLISTED;
	/* It costs more for a large ring. */
	every += s->f->nr / 2048 * every;
	return ++s->polls < every ? NEWS_NONE : NEWS_AGAIN;
}

/* What has come at the end of the list; *@next for NEWS_NEXT. */
static enum news news(struct stream *s, struct ftrace_entry *next)
{
	uint32_t done = s->walk.off - FTRACE_HEADER;
	struct ftrace_header h;
	bool more;

	if (!s->loaded)
		return s->lapped ? NEWS_AGAIN : nothing(s);
	if (swapped(s))
		return NEWS_AGAIN;
	/* First what is next: behind that nothing is added here. */
	more = successor(s, next);
	if (ftrace_header(s->d, s->f, s->cpu, s->seen_page, &h))
		return NEWS_NONE;
	if (h.time != s->head.time || h.commit < done)
		return NEWS_AGAIN;
	if (h.commit > done && !h.bad && !s->walk.broken)
		return NEWS_MORE;
	return more ? NEWS_NEXT : nothing(s);
}

/* At the end of the list: true when there is more to be read. */
static bool go_on(struct stream *s)
{
	struct ftrace_entry next;

	if (s->refs[0] || s->refs[1])
		return false;
	switch (news(s, &next)) {
	case NEWS_MORE:
		return reload(s);
	case NEWS_NEXT:
		/* The list ends with this one: it becomes the next one. */
		s->order.entry[s->at] = next;
		s->loaded = false;
		return true;
	case NEWS_AGAIN:
		return again(s);
	default:
		return false;
	}
}

int ftrace_stream_next(void *stream, struct dlog_item *item)
{
	struct stream *s = stream;

	for (;;) {
		while (!s->loaded && s->at < s->order.nr &&
		       !wanted(s, &s->order.entry[s->at]))
			s->at++;
		if (!s->loaded && s->at < s->order.nr) {
			int ret = load(s);

			if (ret <= 0)
				return ret;
			continue;
		}
		if (s->loaded && give(s, item))
			return 1;
		if (s->loaded && s->at + 1 < s->order.nr) {
			leave(s);
			continue;
		}
		if (!s->follow || !go_on(s))
			return 0;
	}
}

void ftrace_stream_put(void *stream, const struct dlog_item *item)
{
	((struct stream *)stream)->refs[item->buffer]--;
}

bool ftrace_stream_poll(void *stream, bool rare)
{
	struct stream *s = stream;

	(void)rare;
	if (!s->follow || s->refs[0] || s->refs[1])
		return false;
	return (!s->loaded && s->at < s->order.nr) || go_on(s);
}

uint64_t ftrace_stream_missed(void *stream)
{
	return ((struct stream *)stream)->missed;
}

/* ---- places ---- */

/* Number of events in entry @i; *@end is behind their positions. */
static uint64_t count(struct stream *s, uint32_t i, uint64_t *end)
{
	const struct ftrace_entry *entry = &s->order.entry[i];
	struct ftrace_header h;
	struct ftrace_walk w;
	struct ftrace_event e;
	uint64_t n = 0;

	*end = entry->time;
	if (ftrace_load(s->d, s->f, s->cpu, entry->page, s->buf[0], &h) <= 0 ||
	    h.time != entry->time)
		return 0;
	ftrace_walk_begin(&w, s->buf[0], &h);
	while (ftrace_walk_next(&w, &e))
		n++;
	*end = w.position;
	return n;
}

int ftrace_stream_last(void *stream, uint64_t n)
{
	struct stream *s = stream;
	uint32_t i = s->order.nr;
	uint64_t have = 0, end;

	while (i && have < n) {
		if (s->only && boot_of(s, &s->order.entry[i - 1]) < s->only)
			break;
		i--;
		if (wanted(s, &s->order.entry[i]))
			have += count(s, i, &end);
	}
	s->at = i;
	return i > 0;
}

size_t ftrace_stream_tell(void *stream, struct dlog_place *out, size_t n)
{
	struct stream *s = stream;

	if (n)
		*out = (struct dlog_place){
			.ring = s->cpu,
			.boot = s->boot,
			.position = s->position,
			.end = UINT64_MAX,
			.records = s->given,
		};
	return 1;
}

/* The newest run of entries that @position lies in, or at the end of. */
static void seek(struct stream *s, const struct dlog_place *p)
{
	uint32_t last = s->order.nr, i;
	uint64_t end;

	while (last) {
		uint32_t back = s->order.entry[last - 1].back;

		for (i = last; i && s->order.entry[i - 1].back == back; i--)
			;
		count(s, last - 1, &end);
		if ((!p->boot || boot_of(s, &s->order.entry[i]) == p->boot) &&
		    p->position >= s->order.entry[i].time &&
		    p->position <= end) {
			while (i + 1 < last &&
			       s->order.entry[i + 1].time <= p->position)
				i++;
			s->at = i;
			s->from = p->position;
			s->given = p->records;
			return;
		}
		last = i;
	}
}

void ftrace_stream_seek(void *stream, const struct dlog_place *p, size_t n)
{
	struct stream *s = stream;

	for (size_t i = 0; i < n; i++)
		if (p[i].ring == s->cpu && p[i].end == UINT64_MAX)
			seek(s, &p[i]);
}
