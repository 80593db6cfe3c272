// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * ftrace_ring.c - where ftrace's rings lie, and the order of sub-buffers.
 *
 * Follows rb_range_meta(), rb_range_meta_init() and rb_update_meta_reader() in
 * kernel/trace/ring_buffer.c of Linux 6.12, rb_meta_init() of 6.15.
 *
 * Order: the array of a CPU's meta data lists all sub-buffers.  Number 0 is the
 * one that the kernel's reader took out, the others are a circle: the oldest
 * lies behind the one that is written (commit_buffer).  The reader's comes
 * before the head, or is itself the one that is written.  When that array is
 * damaged the times of the sub-buffers give the order.  In Linux 6.12 it is so
 * as soon as somebody has read trace_pipe: it then names one twice.
 */
#include <stdlib.h>
#include <string.h>

#include "stock/ftrace.h"

#define MAGIC 0xBADFEEDu
#define META_MAX 64u
#define SUBBUF_MIN 4096u
#define SUBBUF_MAX 65536u
#define GAP 4u /* CPUs without anything, before the last one */
#define LOOK 4u /* sub-buffers looked at where the meta data is damaged */
#define CHUNK (1u << 20)

/* ---- where ---- */

static uint64_t align(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

/* The fields of a CPU's meta data, wherever its kernel has them. */
struct meta {
	uint64_t first, head, commit;
	uint32_t size, nr;
};

/* Are these of one ring, in a source of @room bytes from there on? */
static bool meta_read(struct meta *m, const uint8_t *p, uint64_t room)
{
	m->first = dlog_load64(p);
	m->head = dlog_load64(p + 8);
	m->commit = dlog_load64(p + 16);
	m->size = dlog_load32(p + 24);
	m->nr = dlog_load32(p + 28);
	return m->size >= SUBBUF_MIN && m->size <= SUBBUF_MAX &&
	       !(m->size & (m->size - 1)) && m->nr >= 3 &&
	       m->nr <= room / m->size && m->first % m->size == 0;
}

static bool meta_fits(const struct ftrace *f, const struct meta *m)
{
	return m->size == f->size && m->nr == f->nr;
}

/* Of CPU @cpu, if it is there and not damaged. */
static bool meta_get(const struct dlog *d, const struct ftrace *f, uint32_t cpu,
		     struct meta *m)
{
	uint8_t raw[META_MAX];
	uint64_t off = ftrace_meta(f, cpu);

	return off != FTRACE_NONE && !dlog_fetch(d, off, raw, f->meta_size) &&
	       (f->global || dlog_load32(raw) == MAGIC) &&
	       meta_read(m, raw + f->fields, d->size) && meta_fits(f, m);
}

/* Does the CPU's ring lie here, whatever its meta data is? */
static bool cpu_there(const struct dlog *d, const struct ftrace *f,
		      uint32_t cpu, uint8_t *buf)
{
	struct meta m;
	uint32_t n = f->nr < LOOK ? f->nr : LOOK;

	if (ftrace_page(f, cpu, f->nr) > d->size)
		return false;
	if (meta_get(d, f, cpu, &m))
		return true;
	for (uint32_t i = 0; i < n; i++) {
		struct ftrace_header h;
		struct ftrace_walk w;
		struct ftrace_event e;
		uint32_t events = 0;

		if (ftrace_load(d, f, cpu, i, buf, &h) <= 0 || h.bad)
			continue;
		ftrace_walk_begin(&w, buf, &h);
		w.guess = true;
		while (ftrace_walk_next(&w, &e))
			events++;
		if (events > 1 && !w.broken && h.time)
			return true;
	}
	return false;
}

/* What follows from where one CPU's sub-buffers are. */
static void layout(struct ftrace *f, const struct meta *m)
{
	f->size = m->size;
	f->nr = m->nr;
	f->stride = align(f->meta_size + 4 * (uint64_t)m->nr, m->size) +
		    (uint64_t)m->nr * m->size;
}

/*
 * What was found may not be CPU 0's: where the meta data before it is damaged
 * its sub-buffers, or the beginning of the source, tell.
 */
static void step_back(const struct dlog *d, struct ftrace *f, uint8_t *buf)
{
	for (uint32_t n = 1; f->cpus && f->cpus + n <= FTRACE_CPUS && n <= GAP;
	     n++) {
		struct ftrace before = *f;
		uint64_t by = n * f->stride;

		if (f->global || f->base < by)
			return;
		before.base -= by;
		before.meta0 -= by;
		before.pages0 -= by;
		before.cpus += n;
		if (before.base && !cpu_there(d, &before, 0, buf))
			continue;
		*f = before;
		n = 0;
	}
}

static int count_cpus(const struct dlog *d, struct ftrace *f)
{
	uint8_t *buf = malloc(f->size);

	if (!buf)
		return -ENOMEM;
	f->cpus = 0;
	for (uint32_t cpu = 0; cpu < FTRACE_CPUS && cpu < f->cpus + GAP; cpu++)
		if (cpu_there(d, f, cpu, buf))
			f->cpus = cpu + 1;
	step_back(d, f, buf);
	free(buf);
	return f->cpus ? 0 : -EBADMSG;
}

/* Linux 6.12 to 6.14: each CPU's meta data begins with the magic. */
static bool try_cpu_meta(const struct dlog *d, struct ftrace *f,
			 const uint8_t *p, uint64_t off)
{
	uint32_t meta_size = dlog_load32(p + 4);
	struct meta m;

	if (dlog_load32(p) != MAGIC || meta_size % 8 || meta_size < 40 ||
	    meta_size > META_MAX)
		return false;
	f->global = false;
	f->meta_size = meta_size;
	f->fields = meta_size - 32;
	if (!meta_read(&m, p + f->fields, d->size - off))
		return false;
	layout(f, &m);
	f->base = f->meta0 = off;
	f->pages0 = off + align(meta_size + 4 * (uint64_t)m.nr, m.size);
	return true;
}

/* Linux 6.15 and later: the meta data of all, then of each CPU. */
static bool try_global_meta(const struct dlog *d, struct ftrace *f,
			    const uint8_t *p, uint64_t off)
{
	uint32_t sizes = dlog_load32(p + 4), own = sizes >> 16;
	uint64_t total = dlog_load64(p + 8), first = dlog_load64(p + 16);
	uint8_t raw[META_MAX];
	struct meta m;

	f->meta_size = sizes & 0xffff;
	if (dlog_load32(p) != MAGIC || own < 24 || own > 256 ||
	    f->meta_size % 8 || f->meta_size < 32 || f->meta_size > META_MAX ||
	    first < own || first % 8 || first >= total ||
	    first > d->size - off ||
	    dlog_fetch(d, off + first, raw, f->meta_size))
		return false;
	f->global = true;
	/* For a while an address came first; later words came behind. */
	for (f->fields = 0; f->fields + 32 <= f->meta_size; f->fields += 8) {
		if (!meta_read(&m, raw + f->fields, d->size - off))
			continue;
		layout(f, &m);
		f->base = off;
		f->scratch = off + own;
		f->scratch_size = first - own;
		f->meta0 = off + first;
		f->pages0 = off +
			    align(first + f->meta_size + 4 * (uint64_t)m.nr,
				  m.size);
		return true;
	}
	return false;
}

/* @n bytes at @off of the source are at @p. */
static bool try_at(const struct dlog *d, struct ftrace *f, const uint8_t *p,
		   uint64_t off)
{
	memset(f, 0, sizeof(*f));
	return (try_cpu_meta(d, f, p, off) || try_global_meta(d, f, p, off)) &&
	       !count_cpus(d, f);
}

/* At the beginning of each page: the reserved memory begins at one. */
static int search_all(const struct dlog *d, struct ftrace *f)
{
	uint8_t *buf = malloc(CHUNK);
	int ret = -EBADMSG;

	if (!buf)
		return -ENOMEM;
	for (uint64_t off = 0; ret == -EBADMSG && off < d->size; off += CHUNK) {
		uint64_t left = d->size - off;
		size_t n = left < CHUNK ? (size_t)left : CHUNK;

		if (dlog_fetch(d, off, buf, n))
			break;
		for (size_t i = 0; i + META_MAX <= n; i += SUBBUF_MIN)
			if (dlog_load32(buf + i) == MAGIC &&
			    try_at(d, f, buf + i, off + i)) {
				ret = 0;
				break;
			}
	}
	free(buf);
	return ret;
}

int ftrace_find(const struct dlog *d, struct ftrace *f, bool search)
{
	uint8_t raw[META_MAX];

	if (!dlog_fetch(d, 0, raw, sizeof(raw)) && try_at(d, f, raw, 0))
		return 0;
	return search ? search_all(d, f) : -EBADMSG;
}

bool ftrace_slot(const struct dlog *d, const struct ftrace *f, uint32_t cpu,
		 uint32_t slot, uint32_t *page)
{
	uint64_t off = ftrace_meta(f, cpu);
	uint8_t raw[4];

	if (off == FTRACE_NONE || slot >= f->nr ||
	    dlog_fetch(d, off + f->meta_size + 4 * (uint64_t)slot, raw,
		       sizeof(raw)))
		return false;
	*page = dlog_load32(raw);
	return *page < f->nr;
}

/* ---- order ---- */

/* Number of the sub-buffer at kernel address @address, or f->nr. */
static uint32_t page_of(const struct ftrace *f, const struct meta *m,
			uint64_t address)
{
	uint64_t off = address - m->first;

	return off % f->size == 0 && off / f->size < f->nr
		       ? (uint32_t)(off / f->size)
		       : f->nr;
}

/*
 * slot[] of each page, from the CPU's array; false when it does not list each
 * once.
 */
static bool read_slots(const struct dlog *d, const struct ftrace *f,
		       uint32_t cpu, uint32_t *slot)
{
	uint64_t off = ftrace_meta(f, cpu);
	uint32_t *list = malloc(4 * (size_t)f->nr);
	bool ok = list && off != FTRACE_NONE &&
		  !dlog_fetch(d, off + f->meta_size, list, 4 * (size_t)f->nr);

	memset(slot, 0xff, 4 * (size_t)f->nr);
	for (uint32_t i = 0; ok && i < f->nr; i++) {
		uint32_t page = dlog_load32((uint8_t *)&list[i]);

		ok = page < f->nr && slot[page] == UINT32_MAX;
		if (ok)
			slot[page] = i;
	}
	free(list);
	return ok;
}

uint32_t ftrace_head(const struct dlog *d, const struct ftrace *f, uint32_t cpu)
{
	uint32_t *slot = malloc(4 * (size_t)f->nr), head = 0;
	struct meta m;

	if (slot && meta_get(d, f, cpu, &m) && read_slots(d, f, cpu, slot)) {
		head = page_of(f, &m, m.head);
		head = head < f->nr ? slot[head] : 0;
	}
	free(slot);
	return head;
}

/* The headers of all that holds data, as they lie. */
static int read_headers(const struct dlog *d, const struct ftrace *f,
			uint32_t cpu, const uint32_t *slot,
			struct ftrace_order *o)
{
	for (uint32_t page = 0; page < f->nr; page++) {
		struct ftrace_header h;
		int ret = ftrace_header(d, f, cpu, page, &h);

		if (ret == -ERANGE)
			break; /* cut short */
		if (ret)
			return ret;
		o->bad += h.bad;
		/* Kernels after 6.17 empty single ones, and say so. */
		o->dropped += h.missed && !h.commit;
		if (h.commit)
			o->entry[o->nr++] = (struct ftrace_entry){
				.time = h.time,
				.page = page,
				.slot = slot[page],
				.bad = h.bad,
			};
	}
	return 0;
}

static int by_time(const void *a, const void *b)
{
	const struct ftrace_entry *x = a, *y = b;

	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	return x->page < y->page ? -1 : x->page > y->page;
}

/* For the time of the sort the rank is in @back. */
static int by_rank(const void *a, const void *b)
{
	const struct ftrace_entry *x = a, *y = b;

	return x->back < y->back ? -1 : x->back > y->back;
}

/*
 * Slots behind the one that is written come first; the reader's (slot 0)
 * before the head, or last when it is what is written.
 */
static void rank(const struct ftrace *f, struct ftrace_order *o,
		 uint32_t commit, uint32_t head)
{
	uint32_t n = f->nr - 1; /* in the circle */
	uint32_t first = commit ? commit % n + 1 : head ? head : 1;

	for (uint32_t i = 0; i < o->nr; i++) {
		struct ftrace_entry *e = &o->entry[i];

		if (e->slot)
			e->back = 2 * ((e->slot + n - first) % n) + 1;
		else if (!commit)
			e->back = UINT32_MAX;
		else
			e->back = head ? 2 * ((head + n - first) % n) : 0;
	}
}

/* The slot that is written, and that of the head (0: not known). */
static bool written(const struct dlog *d, const struct ftrace *f, uint32_t cpu,
		    const uint32_t *slot, uint32_t *commit, uint32_t *head)
{
	struct meta m;

	if (!meta_get(d, f, cpu, &m))
		return false;
	*commit = page_of(f, &m, m.commit);
	*head = page_of(f, &m, m.head);
	if (*commit == f->nr)
		return false;
	*commit = slot[*commit];
	*head = *head < f->nr ? slot[*head] : 0;
	return true;
}

/*
 * Headers that a guest has changed since they were read: those of slots from
 * @from to @to, which it has gone through meanwhile.
 */
static void read_again(const struct dlog *d, const struct ftrace *f,
		       uint32_t cpu, struct ftrace_order *o, uint32_t from,
		       uint32_t to)
{
	uint32_t n = f->nr - 1, nr = 0;
	uint32_t span = from && to ? (to + n - from) % n : 0;

	if (!span)
		return;
	for (uint32_t i = 0; i < o->nr; i++) {
		struct ftrace_entry e = o->entry[i];
		struct ftrace_header h;

		if (!e.slot || (e.slot + n - from) % n > span) {
			o->entry[nr++] = e;
			continue;
		}
		if (ftrace_header(d, f, cpu, e.page, &h) || !h.commit)
			continue;
		e.time = h.time;
		e.bad = h.bad;
		o->entry[nr++] = e;
	}
	o->nr = nr;
}

/* @before: the slot that was written before the headers were read. */
static bool order_by_meta(const struct dlog *d, const struct ftrace *f,
			  uint32_t cpu, const uint32_t *slot, uint32_t before,
			  struct ftrace_order *o)
{
	uint32_t commit, head;

	if (!written(d, f, cpu, slot, &commit, &head))
		return false;
	read_again(d, f, cpu, o, before, commit);
	rank(f, o, commit, head);
	qsort(o->entry, o->nr, sizeof(*o->entry), by_rank);
	return true;
}

/* ---- boots ---- */

/* Of the events of a page, or 0. */
static uint64_t duration(const struct dlog *d, const struct ftrace *f,
			 uint32_t cpu, uint32_t page, uint8_t *buf)
{
	struct ftrace_header h;
	struct ftrace_walk w;
	struct ftrace_event e = { 0 };

	if (ftrace_load(d, f, cpu, page, buf, &h) <= 0)
		return 0;
	e.time = h.time;
	ftrace_walk_begin(&w, buf, &h);
	while (ftrace_walk_next(&w, &e))
		;
	return e.time > h.time ? e.time - h.time : 0;
}

/* Does @b begin where the events of @a end, by what @a's header says? */
static bool follows(const struct dlog *d, const struct ftrace *f, uint32_t cpu,
		    const struct ftrace_entry *a, const struct ftrace_entry *b,
		    uint8_t *buf)
{
	uint64_t took = duration(d, f, cpu, a->page, buf);
	uint64_t gap = b->time - a->time;

	return b->time >= a->time && gap >= took && gap - took <= took;
}

/*
 * A boot that goes on in the ring of the one before it (Linux 6.12 does so
 * without KASLR) begins with a new sub-buffer, and its time is lower.  That of
 * one damaged header is out of order too, between two that are in order; but
 * it does not hang together with its neighbour.
 */
static int find_runs(const struct dlog *d, const struct ftrace *f, uint32_t cpu,
		     struct ftrace_order *o)
{
	const struct ftrace_entry *last = NULL; /* that is believed */
	uint8_t *buf = malloc(f->size);

	if (!buf)
		return -ENOMEM;
	o->runs = 1;
	for (uint32_t i = 0; i < o->nr; i++) {
		struct ftrace_entry *e = &o->entry[i], *next = e + 1;
		bool between = last && i + 1 < o->nr &&
			       next->time >= last->time;

		if (between && e->time > next->time)
			e->lost_time = !follows(d, f, cpu, last, e, buf);
		else if (between && e->time < last->time)
			e->lost_time = !follows(d, f, cpu, e, next, buf);
		o->runs += last && !e->lost_time && e->time < last->time;
		e->back = o->runs;
		if (!e->lost_time)
			last = e;
	}
	free(buf);
	return 0;
}

/* Count boots from the newest; leave out headers that say nothing true. */
static void finish(struct ftrace_order *o)
{
	uint32_t nr = 0;

	for (uint32_t i = 0; i < o->nr; i++) {
		struct ftrace_entry e = o->entry[i];

		e.back = o->runs - e.back;
		if (e.back >= FTRACE_BOOTS)
			e.back = FTRACE_BOOTS - 1;
		if (e.bad && e.lost_time)
			o->dropped++;
		else
			o->entry[nr++] = e;
	}
	o->nr = nr;
	if (o->runs > FTRACE_BOOTS)
		o->runs = FTRACE_BOOTS;
}

int ftrace_order(const struct dlog *d, const struct ftrace *f, uint32_t cpu,
		 struct ftrace_order *o)
{
	uint32_t *slot = malloc(4 * (size_t)f->nr), before = 0, head;
	int ret = -ENOMEM;

	memset(o, 0, sizeof(*o));
	o->entry = malloc(f->nr * sizeof(*o->entry));
	if (slot && o->entry) {
		o->listed = read_slots(d, f, cpu, slot);
		for (uint32_t i = 0; o->listed && i < f->nr; i++)
			if (!slot[i])
				o->reader = i;
		if (o->listed && !written(d, f, cpu, slot, &before, &head))
			o->listed = false;
		ret = read_headers(d, f, cpu, slot, o);
	}
	if (!ret && o->listed)
		o->listed = order_by_meta(d, f, cpu, slot, before, o);
	if (!ret && !o->listed) {
		qsort(o->entry, o->nr, sizeof(*o->entry), by_time);
	}
	if (!ret)
		ret = find_runs(d, f, cpu, o);
	if (!ret)
		finish(o);
	free(slot);
	if (ret) {
		free(o->entry);
		o->entry = NULL;
	}
	return ret;
}
