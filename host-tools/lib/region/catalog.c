// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * catalog.c - event types and symbols from the region's catalog
 * (docs/abi.md section 8).
 *
 * The catalog only grows, so each of its records is taken once: a bit for
 * each 8 bytes tells which were.  Memory is bounded by the catalog's size, of
 * which DLOG_CATALOG_MAX bytes are looked at.
 *
 * Whoever follows a guest meets events and addresses that were described a
 * moment ago, so what is not known is looked for again at once.  A guest that
 * only pretends to append makes that wait: after VAIN_MAX readings that found
 * nothing, VAIN_WAIT times as long as one took of the CPU.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "internal.h"

#define VAIN_MAX 16u
#define VAIN_WAIT 20u
/* Bases below an address that are looked at; few lie over each other. */
#define BASES_NEAR 64u

struct event_type {
	struct dlog_event_desc desc; /* name NULL: not known */
	char *strings;
};

struct symbol {
	uint32_t offset, size; /* from the object's base */
	const char *name;
};

/* What has symbols: the kernel, a module. */
struct object {
	char *name;
	struct symbol *symbol;
	uint32_t nr, room;
	bool sorted;
};

/* Where an object lay in one boot, from when until when; start 0: nowhere. */
struct base {
	uint32_t boot, object;
	uint64_t start, size;
	uint64_t from, until;
	uint32_t order; /* of appending */
};

/* Names of one SYMBOLS record. */
struct block {
	struct block *next;
	char text[];
};

struct dlog_catalog {
	struct event_type *event; /* DLOG_EVENT_MAX + 1 */
	struct object *object; /* DLOG_OBJECT_MAX + 1, or NULL */
	struct base *base;
	uint32_t nr_bases, room_bases;
	uint32_t bases_added;
	bool bases_sorted;
	struct block *blocks;
	uint8_t *taken; /* a bit for each 8 bytes */
	uint32_t from; /* where to go on reading */
	uint64_t end, end_word; /* where it ended, what was there */
	uint32_t nr_taken; /* records, while it is read */
	uint32_t vain; /* readings since one found something */
	uint64_t not_before; /* to be read again; CLOCK_MONOTONIC, ns */
};

void dlog_catalog_free(struct dlog *d)
{
	struct dlog_catalog *c = d->catalog;
	struct block *b;

	d->catalog = NULL;
	if (!c)
		return;
	for (uint32_t i = 0; c->event && i <= DLOG_EVENT_MAX; i++)
		free(c->event[i].strings);
	for (uint32_t i = 0; c->object && i <= DLOG_OBJECT_MAX; i++) {
		free(c->object[i].name);
		free(c->object[i].symbol);
	}
	while ((b = c->blocks)) {
		c->blocks = b->next;
		free(b);
	}
	free(c->event);
	free(c->object);
	free(c->base);
	free(c->taken);
	free(c);
}

/* One string of a catalog record: @len bytes with its NUL. */
static bool string_ok(const uint8_t *p, uint32_t len)
{
	return len && memchr(p, 0, len) == p + len - 1;
}

/* Remember the event type in a catalog record's @data; the first counts. */
static void event_add(struct dlog_catalog *c, uint32_t id, const uint8_t *data,
		      uint32_t len)
{
	struct dlog_event_type t;
	struct event_type *e;
	const uint8_t *s = data + sizeof(t);
	uint64_t need;

	if (!id || id > DLOG_EVENT_MAX || len < sizeof(t))
		return;
	e = &c->event[id];
	memcpy(&t, data, sizeof(t));
	need = (uint64_t)t.name_len + t.fields_len + t.format_len;
	if (e->strings || need > len - sizeof(t) || t.name_len < 2 ||
	    !string_ok(s, t.name_len) ||
	    !string_ok(s + t.name_len, t.fields_len) ||
	    (t.format_len &&
	     !string_ok(s + t.name_len + t.fields_len, t.format_len)))
		return;
	e->strings = malloc((size_t)need);
	if (!e->strings)
		return;
	memcpy(e->strings, s, (size_t)need);
	e->desc.id = id;
	e->desc.name = e->strings;
	e->desc.fields = e->strings + t.name_len;
	e->desc.format = t.format_len ? e->strings + t.name_len + t.fields_len
				      : NULL;
}

/* Room for one more in an array that grows by half. */
static void *grow(void *array, uint32_t nr, uint32_t *room, size_t size)
{
	uint32_t more = *room + *room / 2 + 16;
	void *p;

	if (nr < *room)
		return array;
	p = realloc(array, more * size);
	if (p)
		*room = more;
	return p;
}

static struct object *object_of(struct dlog_catalog *c, uint32_t number)
{
	if (!number || number > DLOG_OBJECT_MAX)
		return NULL;
	if (!c->object)
		c->object = calloc(DLOG_OBJECT_MAX + 1, sizeof(*c->object));
	return c->object ? &c->object[number] : NULL;
}

static void object_add(struct dlog_catalog *c, uint32_t number,
		       const uint8_t *data, uint32_t len)
{
	struct object *o = object_of(c, number);

	if (o && !o->name && string_ok(data, len))
		o->name = strdup((const char *)data);
}

static void symbols_add(struct dlog_catalog *c, uint32_t number,
			const uint8_t *data, uint32_t len)
{
	struct object *o = object_of(c, number);
	struct block *b = o ? malloc(sizeof(*b) + len) : NULL;
	const char *p, *end;

	if (!b)
		return;
	b->next = c->blocks;
	c->blocks = b;
	memcpy(b->text, data, len);
	for (p = b->text, end = p + len; end - p > 8;) {
		const char *name = p + sizeof(struct dlog_symbol_note);
		const char *nul = memchr(name, 0, (size_t)(end - name));
		struct dlog_symbol_note note;
		struct symbol *s;

		if (!nul)
			return;
		s = grow(o->symbol, o->nr, &o->room, sizeof(*s));
		if (!s)
			return;
		o->symbol = s;
		memcpy(&note, p, sizeof(note));
		s[o->nr++] = (struct symbol){ note.offset, note.size, name };
		o->sorted = false;
		p = nul + 1;
	}
}

static void base_add(struct dlog_catalog *c, uint32_t number, uint64_t time,
		     const uint8_t *data, uint32_t len)
{
	struct dlog_base note;
	struct base *b;

	if (!number || number > DLOG_OBJECT_MAX || len < sizeof(note))
		return;
	b = grow(c->base, c->nr_bases, &c->room_bases, sizeof(*b));
	if (!b)
		return;
	memcpy(&note, data, sizeof(note));
	c->base = b;
	b[c->nr_bases] = (struct base){ .boot = note.boot,
					.object = number,
					.start = note.base,
					.size = note.size,
					.from = time,
					.until = UINT64_MAX,
					.order = c->bases_added++ };
	c->nr_bases++;
	c->bases_sorted = false;
}

static void record_add(struct dlog_catalog *c, uint32_t type, uint64_t time,
		       const uint8_t *data, uint32_t len)
{
	uint32_t arg = DLOG_TYPE_ARG(type);

	switch (DLOG_TYPE_KIND(type)) {
	case DLOG_KIND_EVENT_TYPE:
		event_add(c, arg, data, len);
		break;
	case DLOG_KIND_OBJECT:
		object_add(c, arg, data, len);
		break;
	case DLOG_KIND_SYMBOLS:
		symbols_add(c, arg, data, len);
		break;
	case DLOG_KIND_BASE:
		base_add(c, arg, time, data, len);
		break;
	}
}

/* The record at @off of the catalog, unless it was taken before. */
static void record_take(struct dlog_catalog *c, uint32_t off,
			const uint8_t *record)
{
	uint32_t top = dlog_load32(record + 4);
	uint8_t *byte = &c->taken[off / 64], bit = (uint8_t)(1u << off / 8 % 8);

	if (*byte & bit)
		return;
	*byte |= bit;
	c->nr_taken++;
	record_add(c, top >> 16, dlog_load64(record + 8), record + DLOG_HDR,
		   top & 0xffff);
}

/*
 * Read the catalog from c->from on.  Its end is where nothing verifies; what
 * verifies behind a damaged stretch is taken too.  An open record may be
 * committed yet: next time it goes on there.
 */
static void catalog_load(struct dlog *d)
{
	struct dlog_catalog *c = d->catalog;
	uint32_t all = d->sb.catalog_size < DLOG_CATALOG_MAX
			       ? (uint32_t)d->sb.catalog_size & ~7u
			       : DLOG_CATALOG_MAX;
	uint32_t first = c->from, size = all - first, open = all, n;
	uint8_t *copy = malloc(size + 8);
	uint64_t *prefix = malloc((size_t)DLOG_PREFIX(size) * sizeof(*prefix));
	struct dlog_scan scan = {
		.p = copy,
		.size = size,
		.seed = dlog_seed(d, DLOG_SEED_CATALOG),
		.base = d->sb.catalog_off + first,
		.power = dlog_scan_powers(),
		.prefix = prefix,
	};

	if (!copy || !prefix ||
	    dlog_fetch(d, d->sb.catalog_off + first, copy, size))
		goto out;
	c->end = first;
	dlog_scan_begin(&scan);
	for (uint32_t off = 0; off + DLOG_HDR <= size; off += n) {
		n = 8;
		switch (dlog_scan_probe(&scan, off, &n)) {
		case DLOG_RECORD_NONE:
			continue;
		case DLOG_RECORD_OPEN:
			open = first + off < open ? first + off : open;
			break;
		case DLOG_RECORD_FULL:
			record_take(c, first + off, copy + off);
			break;
		}
		c->end = first + off + n;
	}
	c->from = open < c->end ? open : (uint32_t)c->end;
	c->end_word = 0;
	if (c->end + 8 <= all)
		c->end_word = dlog_load64(copy + (c->end - first));
out:
	free(copy);
	free(prefix);
}

/* Read what has been appended since, if anything: true when there was. */
static bool catalog_more(struct dlog *d)
{
	struct dlog_catalog *c = d->catalog;
	uint64_t before, after, word;

	if (c->from == c->end &&
	    (c->end + 8 > d->sb.catalog_size ||
	     dlog_fetch(d, d->sb.catalog_off + c->end, &word, sizeof(word)) ||
	     word == c->end_word))
		return false;
	if (c->vain >= VAIN_MAX && dlog_now(CLOCK_MONOTONIC) < c->not_before)
		return false;
	c->nr_taken = 0;
	before = dlog_now(CLOCK_THREAD_CPUTIME_ID);
	catalog_load(d);
	after = dlog_now(CLOCK_THREAD_CPUTIME_ID);
	c->vain = c->nr_taken ? 0 : c->vain + 1;
	c->not_before = dlog_now(CLOCK_MONOTONIC) +
			VAIN_WAIT * (after - before);
	return c->nr_taken;
}

/* The catalog, read for the first time if need be; NULL: no memory. */
static struct dlog_catalog *catalog(struct dlog *d)
{
	struct dlog_catalog *c = d->catalog;
	uint64_t size = d->sb.catalog_size < DLOG_CATALOG_MAX
				? d->sb.catalog_size
				: DLOG_CATALOG_MAX;

	if (c)
		return c;
	c = d->catalog = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->event = calloc(DLOG_EVENT_MAX + 1, sizeof(*c->event));
	c->taken = calloc(1, (size_t)size / 64 + 1);
	if (!c->event || !c->taken) {
		dlog_catalog_free(d);
		return NULL;
	}
	catalog_load(d);
	return c;
}

int dlog_region_event(struct dlog *d, uint32_t id, struct dlog_event_desc *desc)
{
	struct dlog_catalog *c;

	if (!id || id > DLOG_EVENT_MAX)
		return 0;
	c = catalog(d);
	if (!c)
		return 0;
	if (!c->event[id].strings)
		catalog_more(d);
	if (!c->event[id].strings)
		return 0;
	*desc = c->event[id].desc;
	return 1;
}

uint64_t dlog_get_catalog_used(struct dlog *d)
{
	struct dlog_catalog *c = dlog_is_region(d) ? catalog(d) : NULL;

	if (c)
		catalog_more(d);
	return c ? c->end : 0;
}

/* ---- symbols ---- */

static int base_order(const void *a, const void *b)
{
	const struct base *x = a, *y = b;

	if (x->boot != y->boot)
		return x->boot < y->boot ? -1 : 1;
	if (x->object != y->object)
		return x->object < y->object ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

static int base_place(const void *a, const void *b)
{
	const struct base *x = a, *y = b;

	if (x->boot != y->boot)
		return x->boot < y->boot ? -1 : 1;
	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

/* An object is at one place at a time: until its next record says another. */
static void bases_sort(struct dlog_catalog *c)
{
	uint32_t n = 0;

	qsort(c->base, c->nr_bases, sizeof(*c->base), base_order);
	for (uint32_t i = 0; i + 1 < c->nr_bases; i++) {
		const struct base *next = &c->base[i + 1];
		struct base *b = &c->base[i];

		if (next->boot == b->boot && next->object == b->object &&
		    next->from < b->until)
			b->until = next->from;
	}
	for (uint32_t i = 0; i < c->nr_bases; i++)
		if (c->base[i].start)
			c->base[n++] = c->base[i];
	qsort(c->base, n, sizeof(*c->base), base_place);
	c->nr_bases = n;
	c->bases_sorted = true;
}

/*
 * Of two bases that an address of @time lies behind: the later of those that
 * were there; else, as a producer says where something is after it has seen
 * it, the one that was next.
 */
static bool base_better(const struct base *a, const struct base *b,
			uint64_t time)
{
	bool a_then = a->from <= time, b_then = !b || b->from <= time;

	if (!b || a_then != b_then)
		return !b || a_then;
	return a_then == (a->order > b->order);
}

/* The base that @address of @boot lay behind at @time, or NULL. */
static const struct base *base_find(struct dlog_catalog *c, uint32_t boot,
				    uint64_t time, uint64_t address)
{
	const struct base *best = NULL;
	uint32_t low = 0, high;

	if (!c->nr_bases)
		return NULL;
	if (!c->bases_sorted)
		bases_sort(c);
	high = c->nr_bases;
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		const struct base *b = &c->base[mid];

		if (b->boot < boot || (b->boot == boot && b->start <= address))
			low = mid + 1;
		else
			high = mid;
	}
	for (uint32_t n = 0; low-- > 0 && n < BASES_NEAR; n++) {
		const struct base *b = &c->base[low];

		if (b->boot != boot || address - b->start > UINT32_MAX)
			break;
		if ((b->size && address - b->start >= b->size) ||
		    (b->until <= time && b->until != UINT64_MAX))
			continue;
		if (base_better(b, best, time))
			best = b;
	}
	return best;
}

static int symbol_order(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	return strcmp(x->name, y->name);
}

/* Sort; of several that begin at one place the first stays. */
static void symbols_sort(struct object *o)
{
	uint32_t n = 0;

	qsort(o->symbol, o->nr, sizeof(*o->symbol), symbol_order);
	for (uint32_t i = 0; i < o->nr; i++)
		if (!n || o->symbol[n - 1].offset != o->symbol[i].offset)
			o->symbol[n++] = o->symbol[i];
	o->nr = n;
	o->sorted = true;
}

static const struct symbol *symbol_find(struct object *o, uint32_t offset)
{
	uint32_t low = 0, high;
	const struct symbol *s;

	if (!o->sorted)
		symbols_sort(o);
	high = o->nr;
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (o->symbol[mid].offset <= offset)
			low = mid + 1;
		else
			high = mid;
	}
	if (!low)
		return NULL;
	s = &o->symbol[low - 1];
	return s->size && offset - s->offset >= s->size ? NULL : s;
}

static bool symbol_get(struct dlog_catalog *c, uint32_t boot, uint64_t time,
		       uint64_t address, struct dlog_symbol *sym)
{
	const struct base *b = base_find(c, boot, time, address);
	struct object *o = b && c->object ? &c->object[b->object] : NULL;
	const struct symbol *s;

	if (!o || !o->nr)
		return false;
	s = symbol_find(o, (uint32_t)(address - b->start));
	if (!s)
		return false;
	sym->name = s->name;
	sym->object = o->name ? o->name : "";
	sym->address = b->start + s->offset;
	sym->size = s->size;
	return true;
}

int dlog_region_symbol(struct dlog *d, uint32_t boot, uint64_t time,
		       uint64_t address, struct dlog_symbol *sym)
{
	struct dlog_catalog *c = catalog(d);

	if (!c)
		return 0;
	return symbol_get(c, boot, time, address, sym) ||
	       (catalog_more(d) && symbol_get(c, boot, time, address, sym));
}
