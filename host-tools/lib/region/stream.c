// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * stream.c - the records of one ring of a region, oldest first, and on and
 * on when following.
 *
 * A stream holds two sub-buffers: items of one may still be out while the
 * next is read.  At the tail of a ring that is followed, what is in flight
 * (open, or nothing valid yet) is not passed until something valid lies
 * behind it or the next sub-buffer is entered; then it moves to a short list
 * of late places, and comes out of order if it is committed after all.
 *
 * A stream that has been dry for a while *parks*: it lets go of its buffers
 * and only looks at the word where the next record begins, the next START and
 * the heartbeats, so that very many regions can be followed.
 */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define LATE_MAX 16u
#define LATE_BUFFER 2u
#define POLL_TAIL 2u /* every n-th poll compares the whole tail */
#define POLL_BEYOND 50u /* every n-th looks past a missing START */
#define PARK_POLLS 32u /* that found nothing */
#define POLL_START 4u /* every n-th, when parked, looks at the next START */
#define POLL_HINT 8u /* every n-th, when parked, looks at the heartbeats */
#define POLL_ALL 256u /* every n-th, when parked, at everything */

/* A place passed while nothing valid was there. */
struct late {
	uint64_t position, end;
	uint64_t word; /* first word when looked at last */
	uint32_t boot;
};

struct stream {
	struct dlog_view v;
	bool follow, loaded, reload, ended, parked;
	bool hide; /* nobody asked for records of kind BLOCKS */
	uint64_t hidden; /* of them, so far */
	uint64_t passed; /* sub-buffers since stream_next() was called */
	uint32_t only; /* boot wanted, 0: all */
	uint32_t boot; /* of the sub-buffer that is loaded */
	uint64_t pos; /* sub-buffer loaded, or to be loaded */
	uint64_t first; /* the newest when it was made */
	uint32_t cur; /* v.sub[cur] holds it */
	uint32_t rec; /* next of its records */
	uint32_t done; /* offset up to which all was given or passed */
	uint32_t refs[3]; /* items out, for each buffer */
	uint32_t polls, dry; /* @dry: polls since something was found */
	struct {
		uint64_t word, start; /* at @done and at the START */
		uint64_t position; /* of the heartbeats */
		uint64_t before; /* records before @done */
		bool started;
	} park;
	/* to count what was missed when a writer laps us */
	bool jumped, sought;
	uint64_t base, count; /* records before and behind v.sub[cur] */
	uint64_t missed;
	/* late places, and the one that is ready */
	struct late late[LATE_MAX];
	uint32_t nr_late;
	uint8_t *late_buf;
	bool late_ready;
	struct dlog_item late_item;
};

static uint32_t stream_count(struct dlog *d)
{
	return d->sb.nr_rings;
}

static void stream_free(void *stream)
{
	struct stream *st = stream;

	dlog_view_no_buffers(&st->v);
	free(st->late_buf);
	free(st);
}

/* Offset behind the last full record, where a follower waits. */
static uint32_t settled(const struct dlog_sub *s)
{
	for (uint32_t i = s->nr; i--;) {
		uint32_t off = s->rec[i];

		if (!(off & DLOG_SUB_OPEN))
			return off +
			       DLOG_REC_SIZE(dlog_load32(s->copy + off + 4) &
					     0xffff);
	}
	return DLOG_START_SIZE;
}

static int stream_new(struct dlog *d, uint32_t n, unsigned int flags,
		      void **out)
{
	struct stream *st = calloc(1, sizeof(*st));
	int ret = -ENOMEM;

	if (!st)
		return ret;
	/* Once for each reader: boots that came since. */
	ret = n ? 0 : dlog_table_load(d);
	if (!ret)
		ret = dlog_view_init(&st->v, d, n);
	if (ret)
		goto fail;
	st->follow = flags & DLOG_READER_FOLLOW;
	st->hide = !(flags & DLOG_READER_BLOCKS);
	ret = dlog_view_find(&st->v, flags & DLOG_READER_LAST);
	if (ret)
		goto fail;
	/* An empty ring is followed from its first position. */
	st->ended = !st->v.any && !st->follow;
	st->pos = st->v.low;
	st->first = st->v.high;
	if (flags & DLOG_READER_NEW) {
		st->ended = !st->follow;
		st->pos = st->v.high;
		ret = dlog_sub_load(&st->v, st->pos, &st->v.sub[0]);
		if (ret)
			goto fail;
		st->done = settled(&st->v.sub[0]);
	}
	*out = st;
	return 0;
fail:
	stream_free(st);
	return ret;
}

static void stream_set_boot(void *stream, uint32_t boot)
{
	((struct stream *)stream)->only = boot;
}

/*
 * The newest START of the boot wanted or one before it: a ring's boots go
 * forward.  One by one where a START is missing.
 */
static uint64_t last_wanted(const struct stream *st)
{
	uint32_t size = st->v.d->sb.subbuf_size;
	uint64_t lo = st->v.low, hi = st->v.high;
	struct dlog_start start;
	bool all = false;

	while (lo < hi) {
		uint64_t mid = lo + ((hi - lo) / size + 1) / 2 * size;

		if (all)
			mid = hi;
		if (dlog_view_start(&st->v, mid, &start) != mid) {
			hi -= all ? size : 0;
			all = true;
		} else if (start.boot > st->only) {
			hi = mid - size;
		} else {
			lo = mid;
		}
	}
	return lo;
}

static uint32_t kind_at(const struct dlog_sub *s, uint32_t off)
{
	return DLOG_TYPE_KIND(dlog_load32(s->copy + off + 4) >> 16);
}

/* Is all that this sub-buffer holds left out?  Then it is a ring of blocks. */
static bool all_hidden(const struct stream *st, const struct dlog_sub *s)
{
	for (uint32_t i = 0; i < s->nr; i++)
		if (kind_at(s, s->rec[i] & ~DLOG_SUB_OPEN) != DLOG_KIND_BLOCKS)
			return false;
	return st->hide && s->nr;
}

static int stream_last(void *stream, uint64_t n)
{
	struct stream *st = stream;
	struct dlog_view *v = &st->v;
	uint32_t size = v->d->sb.subbuf_size;
	struct dlog_start start, next = { 0 };
	bool there = false, counted;
	uint64_t have = 0;

	if (!v->any || st->pos != v->low)
		return 0;
	for (uint64_t p = st->only ? last_wanted(st) : v->high;; p -= size) {
		counted = there;
		there = dlog_view_start(v, p, &start) == p;
		st->pos = p;
		if (p == v->low || (there && start.boot < st->only))
			return 0;
		counted &= there && start.boot == next.boot &&
			   next.records - start.records <= size / DLOG_HDR;
		if (counted) {
			have += next.records - start.records;
		} else {
			int ret = dlog_sub_load(v, p, &v->sub[0]);

			if (ret)
				return ret;
			have += v->sub[0].full;
			/* No number of them is enough. */
			if (p == v->high && all_hidden(st, &v->sub[0])) {
				st->pos = v->low;
				return 0;
			}
		}
		/* Only at a START is it known which boot goes on. */
		if (there && have >= n)
			return 1;
		next = start;
	}
}

static bool late_buffer(struct stream *st)
{
	if (!st->late_buf)
		st->late_buf = malloc(st->v.d->sb.subbuf_size);
	return st->late_buf;
}

static void late_add(struct stream *st, uint32_t from, uint32_t to)
{
	const struct dlog_sub *s = &st->v.sub[st->cur];
	struct late *l;

	if (!st->follow || to < from + DLOG_HDR || !late_buffer(st))
		return;
	if (st->nr_late == LATE_MAX)
		memmove(st->late, st->late + 1,
			--st->nr_late * sizeof(*st->late));
	l = &st->late[st->nr_late++];
	l->position = s->position + from;
	l->end = s->position + to;
	l->word = dlog_load64(s->copy + from);
	l->boot = st->boot;
}

/*
 * Records from where we are to number @to of @boot, as far as the boot table
 * knows the boots between.
 */
static uint64_t between(const struct stream *st, uint32_t boot, uint64_t to)
{
	const struct dlog_table *t = &st->v.d->table;
	uint64_t from = st->reload ? st->base : st->count, n = 0;

	if (boot == st->boot)
		return to > from ? to - from : 0;
	if (boot < st->boot || (!st->boot && !st->sought))
		return 0;
	for (uint32_t i = 0; i < t->nr; i++) {
		const struct dlog_boot *b = &t->entry[i];
		uint64_t prev =
			t->ring[(size_t)i * st->v.d->sb.nr_rings + st->v.ring]
				.prev_records;

		if (b->boot <= st->boot || b->boot > boot)
			continue;
		if (b->prev_boot != st->boot)
			n += prev;
		else if (prev > from)
			n += prev - from;
	}
	return n + to;
}

/* Take the sub-buffer that dlog_sub_load() has just read as the current. */
static void enter(struct stream *st, uint32_t buffer)
{
	const struct dlog_sub *s = &st->v.sub[buffer];
	uint32_t boot;

	/*
	 * Who wrote this may have begun after the table was read: not if some
	 * of it was given before.
	 */
	if (!s->started && s->nr && st->follow && st->pos >= st->first &&
	    (!st->reload || st->done <= DLOG_START_SIZE))
		dlog_table_load(st->v.d);
	boot = dlog_sub_boot(&st->v, s, st->boot);
	if (s->started) {
		if (st->jumped && !all_hidden(st, s))
			st->missed += between(st, boot, s->start.records);
		st->base = s->start.records;
		st->jumped = false;
	} else if (!st->reload) {
		st->base = boot == st->boot ? st->count : 0;
	}
	st->boot = boot;
	st->count = st->base + s->full + s->open;
	st->cur = buffer;
	st->rec = 0;
	st->loaded = true;
	st->reload = false;
}

/*
 * Skip, unread, what a filter by boot does not want.  Boots go forward: the
 * first later one ends it.
 */
static bool unwanted(struct stream *st)
{
	struct dlog_start start;

	if (!st->only || st->pos == st->v.high ||
	    dlog_view_start(&st->v, st->pos, &start) != st->pos ||
	    !start.boot || start.boot == st->only)
		return false;
	if (start.boot > st->only && !st->follow)
		st->ended = true;
	return true;
}

/* A writer has come round: go on with the oldest that is left. */
static void jump(struct stream *st, uint64_t newer)
{
	uint32_t size = st->v.d->sb.subbuf_size;
	uint64_t low = newer + size - st->v.d->sb.ring_size;

	st->jumped = true;
	st->reload = false;
	st->pos = low > st->pos ? low : st->pos + size;
	st->done = 0;
	st->loaded = false;
	if (st->follow && st->v.high < newer)
		st->v.high = newer;
	if (st->pos > st->v.high)
		st->ended = !st->follow;
}

/* Leave the current sub-buffer for the one behind it. */
static void leave(struct stream *st)
{
	const struct dlog_sub *s = &st->v.sub[st->cur];

	if (s->closed &&
	    s->next.records - s->start.records > s->full + s->open + s->holes)
		late_add(st, st->done, st->v.d->sb.subbuf_size);
	st->pos += st->v.d->sb.subbuf_size;
	st->done = 0;
	st->loaded = false;
	if (st->pos > st->v.high)
		st->v.high = st->pos;
}

/*
 * One more sub-buffer was passed with nothing in it to give.  True: a ring
 * full of them, without an item.  A guest may write such faster than we pass
 * them, so a follower's caller shall have its turn.
 */
static bool much_passed(struct stream *st)
{
	const struct dlog_superblock *sb = &st->v.d->sb;

	return st->follow && ++st->passed >= sb->ring_size / sb->subbuf_size;
}

/*
 * Load the sub-buffer at st->pos.  1 when it is there, 0 when a buffer has
 * to be put back first or nothing is left, or a negative errno.
 */
static int load(struct stream *st)
{
	while (!st->ended) {
		uint32_t buffer = st->reload ? st->cur : !st->cur;
		struct dlog_sub *s = &st->v.sub[buffer];
		int ret;

		if (st->refs[buffer])
			return 0;
		if (!st->reload && unwanted(st)) {
			st->pos += st->v.d->sb.subbuf_size;
			continue;
		}
		ret = dlog_sub_load(&st->v, st->pos, s);
		if (ret)
			return ret;
		if (s->newer && !s->started && !s->nr) {
			jump(st, s->newer);
			if (much_passed(st))
				return -EAGAIN;
			continue;
		}
		if (s->lapped)
			st->jumped = true;
		enter(st, buffer);
		return 1;
	}
	return 0;
}

static bool wanted(const struct stream *st, uint32_t boot, uint32_t kind)
{
	return (!st->only || st->only == boot) &&
	       !(st->hide && kind == DLOG_KIND_BLOCKS);
}

static void fill(struct stream *st, struct dlog_item *item, uint32_t off)
{
	const struct dlog_sub *s = &st->v.sub[st->cur];
	const uint8_t *p = s->copy + off;
	uint32_t top = dlog_load32(p + 4);

	item->position = s->position + off;
	item->time = dlog_load64(p + 8);
	item->boot = st->boot;
	item->type = (uint16_t)(top >> 16);
	item->len = (uint16_t)top;
	item->data = p + DLOG_HDR;
	item->buffer = st->cur;
	item->late = false;
	item->doubt = DLOG_DOUBT_NONE;
	item->number = st->base + st->rec - 1;
}

/*
 * The record of kind BLOCKS at @off is open in the copy.  If it is so still,
 * what the copy has of it is of no later lap, and the words before the first 0
 * are right; if it has been committed meanwhile, it is read again.
 */
static bool fill_open(struct stream *st, struct dlog_item *item, uint32_t off)
{
	struct dlog_sub *s = &st->v.sub[st->cur];
	uint64_t at = dlog_view_offset(&st->v, s->position) + off, now;
	uint8_t *p = s->copy + off;
	uint64_t before = dlog_load64(p);
	uint32_t size = DLOG_REC_SIZE(before >> 32 & 0xffff), len;

	if (dlog_fetch(st->v.d, at, &now, sizeof(now)))
		return false;
	if (now != before &&
	    (dlog_fetch(st->v.d, at, p, size) ||
	     dlog_load64(p) >> 32 != before >> 32 ||
	     dlog_record_probe(p, size, st->v.seed, s->position + off, &len) !=
		     DLOG_RECORD_FULL))
		return false;
	fill(st, item, off);
	if (now != before)
		return true;
	for (len = 8; len + 8 <= item->len; len += 8)
		if (!dlog_load64(item->data + len))
			break;
	if (len < item->len)
		item->len = (uint16_t)len;
	item->doubt = DLOG_DOUBT_TORN;
	return true;
}

/* Nobody will commit what an earlier boot left open. */
static bool open_counts(const struct stream *st, uint32_t off)
{
	const struct dlog_table *t = &st->v.d->table;

	return kind_at(&st->v.sub[st->cur], off) == DLOG_KIND_BLOCKS &&
	       (!st->follow || (t->nr && st->boot < t->entry[t->nr - 1].boot));
}

/* The record at @off: true when it is given, else it is passed. */
static bool give(struct stream *st, struct dlog_item *item, uint32_t off,
		 bool open)
{
	const struct dlog_sub *s = &st->v.sub[st->cur];
	uint32_t top = dlog_load32(s->copy + off + 4);

	st->done = off + DLOG_REC_SIZE(top & 0xffff);
	if (!wanted(st, st->boot, DLOG_TYPE_KIND(top >> 16))) {
		st->hidden += !st->only || st->only == st->boot;
		return false;
	}
	if (open && open_counts(st, off))
		return fill_open(st, item, off);
	if (open)
		late_add(st, off, st->done);
	else
		fill(st, item, off);
	return !open;
}

/* The next record of the current sub-buffer: 1, or 0 when it has no more. */
static int walk(struct stream *st, struct dlog_item *item)
{
	const struct dlog_sub *s = &st->v.sub[st->cur];
	uint32_t stop = UINT32_MAX;

	/* At the tail: not past what may still be written. */
	if (st->follow && !s->next_started && st->pos == st->v.high)
		stop = settled(s);
	while (st->rec < s->nr) {
		uint32_t rec = s->rec[st->rec];
		uint32_t off = rec & ~DLOG_SUB_OPEN;

		if (off >= stop)
			return 0;
		st->rec++;
		if (off < st->done)
			continue;
		if (st->done && off > st->done)
			late_add(st, st->done, off);
		if (!give(st, item, off, rec & DLOG_SUB_OPEN))
			continue;
		st->refs[st->cur]++;
		return 1;
	}
	return 0;
}

/* Has a late place become a record?  Then it is ready, and true. */
static bool late_poll(struct stream *st, struct late *l)
{
	const struct dlog_superblock *sb = &st->v.d->sb;
	uint64_t off = dlog_view_offset(&st->v, l->position), word;
	uint32_t need, size;

	if (dlog_fetch(st->v.d, off, &word, sizeof(word)) || word == l->word)
		return false;
	need = DLOG_REC_SIZE(word >> 32 & 0xffff);
	if (need > l->end - l->position || need > sb->subbuf_size ||
	    dlog_fetch(st->v.d, off, st->late_buf, need) ||
	    dlog_record_probe(st->late_buf, need, st->v.seed, l->position,
			      &size) != DLOG_RECORD_FULL) {
		/* Looked at again when its check changes. */
		l->word = word;
		return false;
	}
	/* What was proved, not what was seen before. */
	word = dlog_load64(st->late_buf);
	st->late_item = (struct dlog_item){
		.time = dlog_load64(st->late_buf + 8),
		.position = l->position,
		.boot = l->boot,
		.type = (uint16_t)(word >> 48),
		.len = (uint16_t)(word >> 32),
		.data = st->late_buf + DLOG_HDR,
		.buffer = LATE_BUFFER,
		.late = true,
	};
	l->position += size;
	l->word = 0;
	st->late_ready = true;
	return true;
}

/* Look at all late places; true when one is ready. */
static bool late_poll_all(struct stream *st)
{
	uint64_t ring_size = st->v.d->sb.ring_size;

	for (uint32_t i = 0; i < st->nr_late; i++) {
		struct late *l = &st->late[i];
		bool gone = l->end + ring_size <= st->v.high ||
			    l->end - l->position < DLOG_HDR;

		if (!gone && late_poll(st, l))
			return true;
		if (gone) {
			memmove(l, l + 1, (--st->nr_late - i) * sizeof(*l));
			i--;
		}
	}
	return false;
}

static int stream_next(void *stream, struct dlog_item *item)
{
	struct stream *st = stream;
	int ret;

	st->passed = 0;
again:
	if (st->late_ready) {
		st->late_ready = false;
		*item = st->late_item;
		if (wanted(st, item->boot, DLOG_TYPE_KIND(item->type))) {
			st->refs[LATE_BUFFER]++;
			return 1;
		}
	}
	if (st->parked) /* late_buf is not one of the view's */
		return 0;
	while (!st->ended) {
		/* A follower that is always behind never runs dry. */
		if (!st->loaded && st->nr_late && !st->refs[LATE_BUFFER] &&
		    late_poll_all(st))
			goto again;
		if (!st->loaded || st->reload) {
			ret = load(st);
			if (ret <= 0)
				return ret;
			if (!st->done)
				st->done = DLOG_START_SIZE;
		}
		if (walk(st, item))
			return 1;
		if (st->v.sub[st->cur].newer) {
			jump(st, st->v.sub[st->cur].newer);
		} else if (st->pos < st->v.high ||
			   (st->follow && st->v.sub[st->cur].next_started)) {
			leave(st);
		} else {
			st->ended = !st->follow;
			return 0;
		}
		/* Nothing is loaded now: stream_poll() says there is more. */
		if (much_passed(st))
			return -EAGAIN;
	}
	return 0;
}

static void stream_put(void *stream, const struct dlog_item *item)
{
	((struct stream *)stream)->refs[item->buffer]--;
}

/* Do @len bytes at @off of the tail differ from the copy? */
static bool differs(struct stream *st, uint32_t off, uint32_t len)
{
	const struct dlog_sub *s = &st->v.sub[st->cur];
	uint8_t *now = st->v.sub[!st->cur].copy; /* nothing of it is out */

	return !dlog_fetch(st->v.d, dlog_view_offset(&st->v, st->pos) + off,
			   now, len) &&
	       memcmp(now, s->copy + off, len);
}

/*
 * Sub-buffers entered behind one whose START was never finished: by a START,
 * or by a record that proves itself without one.
 */
static bool poll_beyond(struct stream *st)
{
	uint32_t size = st->v.d->sb.subbuf_size;
	struct dlog_sub *s = &st->v.sub[!st->cur];

	for (uint32_t i = 1; i <= DLOG_BEYOND; i++) {
		uint64_t p = st->pos + (uint64_t)i * size;

		if (dlog_sub_load(&st->v, p, s))
			return false;
		if (s->newer || dlog_sub_holds(s)) {
			st->v.high = s->newer ? s->newer : p;
			return true;
		}
	}
	return false;
}

/* Is there anything new at the tail?  With its buffers. */
static bool poll_tail(struct stream *st)
{
	uint32_t size = st->v.d->sb.subbuf_size, n = st->polls++;

	return (st->done + 8 <= size && differs(st, st->done, 8)) ||
	       (!st->v.sub[st->cur].started && differs(st, 0, 8)) ||
	       (n % POLL_TAIL == 0 && differs(st, st->done, size - st->done)) ||
	       (n % POLL_BEYOND == 0 && poll_beyond(st));
}

/* Records that were given or passed, in this boot. */
static uint64_t passed(const struct stream *st)
{
	const struct dlog_sub *s = &st->v.sub[st->cur];
	uint64_t n = st->base;

	if (st->parked)
		return st->park.before;
	if (!st->loaded)
		return st->count;
	for (uint32_t i = 0; i < s->nr; i++)
		n += (s->rec[i] & ~DLOG_SUB_OPEN) < st->done;
	return n;
}

static void park(struct stream *st)
{
	const struct dlog_sub *s = &st->v.sub[st->cur];
	struct dlog_cpu hint;

	dlog_ring_hint(st->v.d, st->v.ring, &hint);
	st->park.position = hint.position;
	st->park.before = passed(st);
	st->park.started = s->started;
	st->park.start = dlog_load64(s->copy);
	if (st->done + 8 <= st->v.d->sb.subbuf_size)
		st->park.word = dlog_load64(s->copy + st->done);
	dlog_view_no_buffers(&st->v);
	st->parked = true;
	/* Many readers do not look at everything in the same moment. */
	st->polls = (uint32_t)st->v.seed % POLL_ALL;
}

/* Does the word at @off of the tail differ from @word? */
static bool word_differs(const struct stream *st, uint32_t off, uint64_t word)
{
	uint64_t now;

	return off + 8 <= st->v.d->sb.subbuf_size &&
	       !dlog_fetch(st->v.d, dlog_view_offset(&st->v, st->pos) + off,
			   &now, sizeof(now)) &&
	       now != word;
}

static bool poll_parked(struct stream *st)
{
	struct dlog_cpu hint;

	if (word_differs(st, st->done, st->park.word) ||
	    (!st->park.started && word_differs(st, 0, st->park.start)))
		return true;
	if (++st->polls % POLL_HINT)
		return false;
	if (st->polls % POLL_ALL == 0)
		return true;
	dlog_ring_hint(st->v.d, st->v.ring, &hint);
	return hint.position != st->park.position;
}

static bool stream_poll(void *stream, bool rare)
{
	struct stream *st = stream;
	struct dlog_start start;
	uint64_t next, q = UINT64_MAX;

	if (!st->follow || st->ended || st->refs[0] || st->refs[1] ||
	    st->refs[LATE_BUFFER])
		return false;
	if (st->late_ready || !st->loaded || late_poll_all(st))
		return true;
	next = st->pos + st->v.d->sb.subbuf_size;
	if (!st->parked || rare || st->polls % POLL_START == 0)
		q = dlog_view_start(&st->v, next, &start);
	if (q != UINT64_MAX && q >= next) {
		/* Reading this one again sees both, or that it is gone. */
		if (st->v.high < q)
			st->v.high = q;
		st->reload = true;
	} else {
		st->reload = st->parked ? poll_parked(st) : poll_tail(st);
	}
	if (!st->reload)
		st->dry++;
	else if (!st->parked)
		st->dry = 0;
	if (st->reload && st->parked) {
		/* Tried again at the next poll. */
		if (dlog_view_buffers(&st->v))
			return st->reload = false;
		st->parked = false;
		st->polls = 0; /* look beyond at once */
		st->dry = PARK_POLLS - 2;
	} else if (st->dry == PARK_POLLS) {
		park(st);
	}
	return st->reload;
}

/* One more place, if it is not empty: returns how many there are then. */
static size_t tell_late(const struct stream *st, uint32_t boot,
			uint64_t position, uint64_t end, struct dlog_place *out,
			size_t n, size_t i)
{
	if (position >= end)
		return i;
	if (i < n)
		out[i] = (struct dlog_place){
			.ring = st->v.ring,
			.boot = boot,
			.position = position,
			.end = end,
		};
	return i + 1;
}

static size_t stream_tell(void *stream, struct dlog_place *out, size_t n)
{
	struct stream *st = stream;
	const struct dlog_item *item = &st->late_item;
	size_t k = 1;

	if (n)
		out[0] = (struct dlog_place){
			.ring = st->v.ring,
			.boot = st->boot,
			.position = st->pos + st->done,
			.end = UINT64_MAX,
			.records = passed(st),
		};
	for (uint32_t i = 0; i < st->nr_late; i++)
		k = tell_late(st, st->late[i].boot, st->late[i].position,
			      st->late[i].end, out, n, k);
	if (st->late_ready)
		k = tell_late(st, item->boot, item->position,
			      item->position + DLOG_REC_SIZE(item->len), out, n,
			      k);
	return k;
}

/* Take up a late place again, unless it is gone. */
static void seek_late(struct stream *st, const struct dlog_place *p)
{
	uint64_t sub = st->v.d->sb.subbuf_size;

	if (p->position >= st->v.low && p->position % 8 == 0 &&
	    p->end % 8 == 0 && p->end > p->position &&
	    (p->end - 1) / sub == p->position / sub &&
	    p->end <= st->v.high + sub && st->nr_late < LATE_MAX &&
	    late_buffer(st))
		st->late[st->nr_late++] = (struct late){
			.position = p->position,
			.end = p->end,
			.boot = p->boot,
		};
}

static void stream_seek(void *stream, const struct dlog_place *p, size_t n)
{
	struct stream *st = stream;
	uint64_t sub = st->v.d->sb.subbuf_size;

	for (size_t i = 0; i < n; i++) {
		uint64_t pos = p[i].position / sub * sub;

		if (p[i].ring != st->v.ring || p[i].position % 8)
			continue;
		if (p[i].end != UINT64_MAX) {
			seek_late(st, &p[i]);
			continue;
		}
		if (pos > (st->v.any ? st->v.high + sub : 0))
			continue;
		st->boot = p[i].boot;
		st->count = p[i].records;
		st->jumped = st->sought = true;
		if (pos < st->v.low)
			continue;
		st->pos = pos;
		st->done = (uint32_t)(p[i].position - pos);
		if (pos > st->v.high)
			st->v.high = pos;
	}
}

static uint64_t stream_missed(void *stream)
{
	return ((struct stream *)stream)->missed;
}

static uint64_t stream_hidden(void *stream)
{
	return ((struct stream *)stream)->hidden;
}

static int region_open(struct dlog *d, bool forced, struct dlog_error *err)
{
	(void)forced;
	return dlog_super_load(d, err);
}

const struct dlog_source_ops dlog_region_ops = {
	.name = "region",
	.help = "what the dlog driver in the guest writes (dlog-create)",
	.open = region_open,
	.real_time = dlog_region_real_time,
	.event = dlog_region_event,
	.symbol = dlog_region_symbol,
	.streams = stream_count,
	.stream_new = stream_new,
	.stream_free = stream_free,
	.stream_set_boot = stream_set_boot,
	.stream_last = stream_last,
	.stream_tell = stream_tell,
	.stream_seek = stream_seek,
	.stream_next = stream_next,
	.stream_put = stream_put,
	.stream_poll = stream_poll,
	.stream_missed = stream_missed,
	.stream_hidden = stream_hidden,
	.boots = dlog_region_boots,
	.loss = dlog_region_loss,
};
