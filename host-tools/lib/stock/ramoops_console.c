// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * ramoops_console.c - lines of the console's zone, in their order, and which
 * of them may not be what they seem.
 *
 * Follows persistent_ram_write() of fs/pstore/ram_core.c, Linux 5.10 to 6.12.
 * The zone is a ring of bytes: start is where the next byte goes, size how
 * many there are, room at most.  printk hands over a record at a time, whole
 * lines with a newline at the end, and the kernel
 *
 *	adds to size, then to start, then copies the bytes from the first to
 *	the last, then writes the parity of their blocks, then of the header.
 *
 * So a guest that stops in between (a reset, SIGKILL) leaves a pointer that
 * is past bytes that are not there yet: in their place lie those of the lap
 * before, or of the boot before, or zeros.  What can be decided:
 *
 * - With ECC: the header's parity is the last that is written.  If it is
 *   right, or corrects the header to what it was before, then everything
 *   before start is there.  Lines behind it may be new, see front_is_new().
 * - The byte before the pointer is no newline: the record is not complete.
 * - It is a newline, and what lies at the pointer does not begin a line: then
 *   it is no newline of the older text, which would go on with a line; so the
 *   last byte of the record is new, and with it all the others.
 * - Zeros lie where nothing was written ever.  At the pointer they say that
 *   the byte before them is new, before the pointer that the record ends
 *   there and is not complete, DLOG_DOUBT_TORN.  (Not so if the boot before
 *   stopped at these very bytes.)
 * - Else the last line is in doubt.  Among the lines of the last 8 KiB (a
 *   record is shorter) those from which on time steps back, to before the
 *   oldest line of the zone, are of the lap before; so is one without a time
 *   where others have it: a line of which the begin is written over.  Such
 *   lines are given where they belong, before the oldest.  The line that is
 *   before them may be new in its first part and old in its rest.
 *
 * All these are DLOG_DOUBT_STALE.  The oldest line of a ring that was full
 * has lost its begin, and is DLOG_DOUBT_TORN.
 *
 * Each boot empties the zone (PRZ_FLAG_ZAP_OLD), but only its header: behind
 * the pointer of one that is not full yet lies the end of the boot before.
 * It is given as of that boot, DLOG_DOUBT_STALE.
 *
 * A pointer is damaged if it is where no lap can end: start and size contradict
 * each other, or time does not step back at start but does elsewhere.  Then,
 * and without a header, the ring is cut where time steps back most, and all
 * lines are DLOG_DOUBT_SALVAGED.
 */
#include <string.h>

#include "stock/ramoops.h"

/* No record is longer: CONSOLE_LOG_MAX of 6.1 is 1024; with some to spare. */
#define RECORD_MAX 8192u
#define SECOND UINT64_C(1000000000)
/* Positions begin here, so that older ones can go before them. */
#define BASE (UINT64_C(1) << 40)

struct console {
	struct ramoops *r;
	struct zone *z;
	struct lines *l;
	struct span now;
	size_t first; /* of its lines in l */
	bool wrapped, stamped;
};

/* The text of older laps that begins at @p: may it begin a line? */
static bool may_begin(const struct console *c, const uint8_t *p, uint32_t len)
{
	struct pstore_line line;

	if (!len || !*p)
		return false;
	if (!c->stamped)
		return true;
	return pstore_line(p, len, &line) && line.has_time;
}

static bool newest_is_whole(const struct console *c)
{
	const uint8_t *data = c->z->data + ZONE_HEADER;
	uint32_t at = c->wrapped ? c->z->start : c->now.len;

	if (c->z->whole || !c->now.len)
		return true;
	return c->now.p[c->now.len - 1] == '\n' &&
	       !may_begin(c, data + at, c->z->room - at);
}

/* Times of the first line that has one; UINT64_MAX: none. */
static uint64_t first_time(const struct lines *l, size_t from)
{
	for (size_t i = from; i < l->nr; i++)
		if (l->v[i].has_time)
			return l->v[i].time;
	return UINT64_MAX;
}

/*
 * The first line that is of the lap before, or l->nr.  Clocks of CPUs differ,
 * so a small step back says nothing unless it is before the oldest line.
 */
static size_t old_from(const struct console *c)
{
	const struct lines *l = c->l;
	uint64_t oldest = c->wrapped ? first_time(l, c->first) : 0, last = 0;
	uint64_t begin = c->now.position + (c->now.len > RECORD_MAX
						    ? c->now.len - RECORD_MAX
						    : 0);

	for (size_t i = c->first; i < l->nr; i++) {
		const struct line *n = &l->v[i];

		if (n->position >= begin && i > c->first && c->stamped) {
			if (!n->has_time)
				return i;
			if (n->time + (c->wrapped ? 0 : SECOND / 100) < last &&
			    (!c->wrapped || n->time <= oldest))
				return i;
		}
		if (n->has_time)
			last = n->time;
	}
	return l->nr;
}

/* Lines @from to the end become the first ones. */
static int move_to_front(struct console *c, size_t from)
{
	size_t n = c->l->nr - from, head = from - c->first;
	struct line *v = c->l->v + c->first, *copy;
	uint64_t oldest = first_time(c->l, c->first);

	copy = (struct line *)ramoops_buffer(c->r, n * sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	memcpy(copy, v + head, n * sizeof(*copy));
	memmove(v + n, v, head * sizeof(*v));
	memcpy(v, copy, n * sizeof(*copy));
	for (size_t i = 0; i < n; i++) {
		v[i].position -= c->z->room;
		if (!v[i].has_time)
			v[i].time = v[i + 1].has_time ? v[i + 1].time : oldest;
	}
	return 0;
}

static int doubt_newest(struct console *c)
{
	struct lines *l = c->l;
	size_t old = old_from(c), from;

	from = old < l->nr ? old : l->nr - 1;
	/* What precedes whole old lines may be half of one. */
	if (old < l->nr && l->v[old].has_time && old > c->first)
		from = old - 1;
	for (size_t i = from; i < l->nr; i++)
		if (l->v[i].doubt < DLOG_DOUBT_TORN)
			l->v[i].doubt = DLOG_DOUBT_STALE;
	return old < l->nr ? move_to_front(c, old) : 0;
}

/*
 * The header is that of before an unfinished write, which has put newer bytes
 * over the oldest ones: lines at the front that are newer than all others.
 */
static int front_is_new(struct console *c)
{
	struct lines *l = c->l;
	uint64_t last = l->v[l->nr - 1].time;
	size_t n = 0, rest = l->nr - c->first;
	struct line *v = l->v + c->first, *copy;

	while (n + 1 < rest && v[n].has_time && v[n].time >= last &&
	       v[n].position < c->now.position + RECORD_MAX)
		n++;
	if (!n || !v[rest - 1].has_time || first_time(l, c->first + n) >= last)
		return 0;
	copy = (struct line *)ramoops_buffer(c->r, n * sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	memcpy(copy, v, n * sizeof(*copy));
	memmove(v, v + n, (rest - n) * sizeof(*v));
	memcpy(v + rest - n, copy, n * sizeof(*copy));
	for (size_t i = rest - n; i < rest; i++) {
		v[i].position += c->z->room;
		v[i].doubt = DLOG_DOUBT_TORN;
	}
	return 0;
}

/* Do at least half of the lines have a time? */
static bool is_stamped(const struct lines *l, size_t from)
{
	size_t n = 0;

	for (size_t i = from; i < l->nr; i++)
		n += l->v[i].has_time;
	return n && 2 * n >= l->nr - from;
}

/* Lines before the first one with a time get that one's. */
static void fill_times(struct lines *l, size_t from)
{
	uint64_t time = first_time(l, from);

	for (size_t i = from; i < l->nr && !l->v[i].has_time; i++)
		l->v[i].time = time == UINT64_MAX ? 0 : time;
}

/* All the bytes from @begin to @end, cut where time steps back. */
static int salvage(struct console *c, uint32_t begin, uint8_t doubt,
		   uint64_t position)
{
	struct zone *z = c->z;
	const uint8_t *data = z->data + ZONE_HEADER;
	size_t first = c->l->nr;
	uint32_t seam = begin + ramoops_seam(data + begin, z->room - begin);
	struct span s;
	int ret = ramoops_turn(c->r, z, begin, seam, z->room, &s);

	if (ret)
		return ret;
	s.doubt = doubt;
	s.position = position;
	s.older = doubt == DLOG_DOUBT_STALE;
	s.only_text = true;
	ret = ramoops_lines(c->l, &s);
	if (ret || c->l->nr == first)
		return ret;
	fill_times(c->l, first);
	if (!c->l->v[first].has_time && begin && data[begin])
		c->l->v[first].doubt = DLOG_DOUBT_TORN;
	return 0;
}

/* Is a header that makes sense contradicted by the text? */
static bool pointer_is_wrong(const struct zone *z)
{
	const uint8_t *data = z->data + ZONE_HEADER;
	uint32_t seam, before;
	struct pstore_line line;
	uint64_t step = 0;

	if (z->fill < z->room)
		return z->fill - z->start > RECORD_MAX;
	seam = ramoops_seam(data, z->room);
	if (!seam)
		return false;
	/* An unfinished write may be before the pointer, with ECC behind. */
	before = (z->start + z->room - seam) % z->room;
	if (before <= RECORD_MAX || z->room - before <= RECORD_MAX)
		return false;
	/* The line that the pointer cuts is of no use: its neighbours are. */
	for (uint32_t at = 0; at < z->room;) {
		uint32_t left = z->room - at;

		if (!pstore_line(data + at, left, &line))
			break;
		if (line.has_time && at >= z->start)
			return line.time > step;
		if (line.has_time && at + line.size <= z->start)
			step = line.time;
		at += (uint32_t)line.size;
	}
	return false;
}

/* Where the stream of a live guest is, so that lines keep their positions. */
static void console_place(struct ramoops *r, const struct zone *z)
{
	if (!r->end) {
		r->end = BASE + z->fill;
	} else if (z->fill < r->old_fill) {
		r->end += 3 * (uint64_t)z->room + z->fill;
		r->reboots++;
	} else if (z->room) {
		r->end += (z->start + z->room - r->old_start % z->room) %
			  z->room;
	}
	r->old_start = z->start;
	r->old_fill = z->fill;
}

static int read_ring(struct console *c, bool again)
{
	struct zone *z = c->z;
	uint32_t fill = z->fill < z->room && z->start < z->fill ? z->start
								: z->fill;
	bool zeros = false;
	int ret = ramoops_ring(c->r, z, fill, &c->now);

	if (ret)
		return ret;
	c->now.position += c->r->end - fill;
	c->first = c->l->nr;
	while (c->now.len && !c->now.p[c->now.len - 1]) {
		c->now.len--;
		zeros = true;
	}
	ret = ramoops_lines(c->l, &c->now);
	if (ret || c->l->nr == c->first)
		return ret;
	if (zeros && c->now.p[c->now.len - 1] != '\n')
		c->l->v[c->l->nr - 1].doubt = DLOG_DOUBT_TORN;
	c->stamped = is_stamped(c->l, c->first);
	if (c->wrapped && z->corrected) {
		ret = front_is_new(c);
		if (ret)
			return ret;
	}
	if (c->wrapped && !(c->stamped && c->l->v[c->first].has_time))
		c->l->v[c->first].doubt = DLOG_DOUBT_TORN;
	if (!zeros && !newest_is_whole(c)) {
		if (again)
			return -EAGAIN;
		ret = doubt_newest(c);
	}
	fill_times(c->l, c->first);
	return ret;
}

int ramoops_read_console(struct ramoops *r, struct zone *z, bool again)
{
	struct console c = { .r = r, .z = z, .l = &r->lines[ZONE_CONSOLE] };
	int ret;

	if (!z->room)
		return 0;
	if (z->lost || pointer_is_wrong(z)) {
		z->lost = true;
		r->wrapped = true; /* it may have been */
		return salvage(&c, 0, DLOG_DOUBT_SALVAGED, BASE);
	}
	console_place(r, z);
	r->wrapped = c.wrapped = z->fill == z->room;
	/* What was followed is not given again as the boot before. */
	if (!c.wrapped && !r->reboots) {
		uint32_t begin = z->passed < z->room - z->fill
					 ? z->fill + z->passed
					 : z->room;

		ret = salvage(&c, begin, DLOG_DOUBT_STALE,
			      r->end - z->fill - 2 * (uint64_t)z->room);
		if (ret)
			return ret;
	}
	return read_ring(&c, again);
}
