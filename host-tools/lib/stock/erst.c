// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * erst.c - the backing file of QEMU's acpi-erst device.
 *
 * Follows hw/acpi/erst.c of QEMU 7.2 to 10.1: slots of one size; the first
 * ones hold a header and the directory, in which each slot has the id of its
 * record, 0 when it has none.  Clearing a record only clears its id.  What is
 * in a record: cper.h; who writes it: drivers/acpi/apei/erst.c of Linux.
 *
 * Linux gives ids in ascending order (cper_next_record_id(): the time of the
 * first record of that boot, then a count), one for each part of a dump from
 * part 1, the newest text, on.  So id minus part is the same for all parts of
 * one dump.  Each dump is a boot here, in the order of ids.
 *
 * Without the directory records are looked for by their signature, at each
 * page.  A record that the directory does not name was deleted by the guest
 * (systemd-pstore does that after it copied them): its bytes may still be
 * whole, and count as stale.
 *
 * What was found keeps its boot and place while the file is open, whatever
 * comes and goes in it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dlog_region.h"
#include "erst.h"
#include "pstore.h"

#define HEADER 24u /* struct ERSTStorageHeader, then the directory */
#define FEW (1u << 20) /* where a store without its header is looked for */
#define LOST_MAX 64u
/* Lines for each byte of a file: fewer than any log has, if not made to
 * fill our memory. */
#define LINES_MAX(size) ((size) / 16 + 65536)
#define SETTLE 300000000u /* ns: a dump is written part by part */

/* Positions of a record's lines: its place in the order, and an offset. */
#define POSITION(window) ((uint64_t)(window) << 32)

struct dump {
	uint32_t boot, count, records, missing, first_missing;
	uint64_t bytes;
	uint64_t real, newest; /* of part 1 or the first one that has it */
	uint8_t doubt; /* the worst of its records */
	bool text;
	char reason[16], release[65];
};

struct lost {
	uint64_t at, id;
};

struct erst {
	uint32_t slot; /* bytes, 0: no header */
	uint32_t named; /* by the directory */
	bool sound; /* as many as it says */
	uint64_t directory; /* hash of it */
	struct erst_rec *rec; /* by id */
	size_t nr, room;
	uint32_t boots, windows; /* given so far */
	struct dump *dump; /* by boot */
	size_t nr_dumps;
	struct lost lost[LOST_MAX];
	uint32_t nr_lost;
	/* list_changed() */
	uint64_t looked, seen;
	bool cut; /* the list */
};

/* ---- the store ---- */

/* Bytes of a slot by the header, 0: it is none.  As QEMU checks it. */
static uint32_t header_load(struct dlog *d, uint32_t *records)
{
	uint8_t h[HEADER];
	uint32_t slot, offset;

	if (dlog_fetch(d, 0, h, sizeof(h)) || memcmp(h, "ERSTSTOR", 8))
		return 0;
	slot = dlog_load32(h + 8);
	offset = dlog_load32(h + 12);
	*records = dlog_load32(h + 20);
	if (slot < ERST_PAGE || slot & (slot - 1) || slot > 1u << 30 ||
	    !offset || offset % slot || dlog_load32(h + 16) != 0x0100)
		return 0;
	return slot;
}

/* How many entries of the directory can be there. */
static uint64_t directory_size(const struct dlog *d, uint32_t slot)
{
	uint64_t slots = (d->size + slot - 1) / slot;
	uint64_t fit = d->size < HEADER ? 0 : (d->size - HEADER) / 8;

	return slots < fit ? slots : fit;
}

/* The ids, or NULL with the number 0. */
static uint64_t *directory_load(struct dlog *d, uint32_t slot, uint64_t *nr)
{
	uint64_t *map;

	*nr = directory_size(d, slot);
	map = malloc(*nr * 8 + 8);
	if (!map || dlog_fetch(d, HEADER, map, *nr * 8)) {
		free(map);
		*nr = 0;
		return NULL;
	}
	for (uint64_t i = 0; i < *nr; i++)
		map[i] = dlog_load64(&map[i]);
	return map;
}

static uint64_t directory_hash(struct dlog *d)
{
	uint32_t records, slot = header_load(d, &records);
	uint64_t nr, *map, hash = 0xcbf29ce484222325u;

	if (!slot)
		return 0;
	map = directory_load(d, slot, &nr);
	for (uint64_t i = 0; i < nr; i++)
		hash = (hash ^ map[i]) * 0x100000001b3u;
	free(map);
	return hash ^ records;
}

/* ---- all records ---- */

static struct erst_rec *rec_add(struct erst *e)
{
	struct erst_rec *v = dlog_grow(e->rec, e->nr, &e->room, sizeof(*v));

	if (!v)
		return NULL;
	e->rec = v;
	return &e->rec[e->nr++];
}

static void lost_add(struct erst *e, uint64_t at, uint64_t id)
{
	if (e->nr_lost < LOST_MAX)
		e->lost[e->nr_lost] = (struct lost){ at, id };
	e->nr_lost++;
}

static int scan_one(struct dlog *d, struct erst *e, uint64_t at, uint64_t room,
		    uint64_t id, enum dlog_doubt doubt)
{
	struct erst_rec r = { .at = at,
			      .room = (uint32_t)room,
			      .doubt = (uint8_t)doubt };
	struct erst_rec *to;
	int ret = erst_rec_load(d, &r, id);

	if (ret == -EBADMSG || ret == -ERANGE) {
		lost_add(e, at, r.id);
		return 0;
	}
	if (ret <= 0)
		return ret;
	to = rec_add(e);
	if (!to)
		return -ENOMEM;
	*to = r;
	return 0;
}

/* Ids that the directory has for slots behind the first. */
static uint32_t directory_count(const uint64_t *map, uint64_t nr)
{
	uint32_t n = 0;

	for (uint64_t i = 1; i < nr; i++)
		n += map[i] && map[i] != UINT64_MAX;
	return n;
}

static int scan_slots(struct dlog *d, struct erst *e, uint64_t size,
		      uint32_t records)
{
	uint64_t nr, *map = directory_load(d, e->slot, &nr);
	int ret = map ? 0 : -ENOMEM;

	e->named = directory_count(map, nr);
	e->sound = e->named == records;
	for (uint64_t i = 1; !ret && i * e->slot < size; i++) {
		uint64_t room = size - i * e->slot;
		uint64_t id = i < nr && map[i] != UINT64_MAX ? map[i] : 0;
		enum dlog_doubt doubt = DLOG_DOUBT_NONE;

		/* The directory must lie before what it names. */
		if (id && HEADER + (i + 1) * 8 > i * e->slot)
			id = 0;
		if (!id)
			doubt = e->sound ? DLOG_DOUBT_STALE
					 : DLOG_DOUBT_SALVAGED;
		ret = scan_one(d, e, i * e->slot,
			       room < e->slot ? room : e->slot, id, doubt);
	}
	free(map);
	return ret;
}

/* The first page from @at on where a record begins, or @end. */
static uint64_t scan_find(struct dlog *d, uint64_t at, uint64_t end)
{
	char sign[4];

	for (; at < end; at += ERST_PAGE)
		if (!dlog_fetch(d, at, sign, sizeof(sign)) &&
		    !memcmp(sign, "CPER", sizeof(sign)))
			return at;
	return end;
}

static int scan_pages(struct dlog *d, struct erst *e, uint64_t size)
{
	uint64_t next, at = scan_find(d, 0, size);
	int ret = 0;

	for (; !ret && at < size; at = next) {
		uint64_t room;

		next = scan_find(d, at + ERST_PAGE, size);
		room = next - at;
		if (room > PSTORE_PART_MAX)
			room = PSTORE_PART_MAX;
		ret = scan_one(d, e, at, room, 0, DLOG_DOUBT_SALVAGED);
	}
	return ret;
}

static int rec_order(const void *a, const void *b)
{
	const struct erst_rec *x = a, *y = b;

	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return x->at < y->at ? -1 : x->at > y->at;
}

/* Records keep the boot and place that they had. */
static void rec_remember(struct erst *e, const struct erst_rec *old, size_t nr)
{
	size_t k = 0;

	for (size_t i = 0; i < e->nr; i++) {
		while (k < nr && rec_order(&old[k], &e->rec[i]) < 0)
			k++;
		if (k < nr && !rec_order(&old[k], &e->rec[i])) {
			e->rec[i].boot = old[k].boot;
			e->rec[i].window = old[k].window;
		}
	}
}

/* ---- dumps ---- */

static bool rec_beside(const struct erst_rec *r, const struct erst_rec *beside)
{
	return r->type && !r->known && beside->type && beside->known;
}

static void rec_join(struct erst_rec *r, const struct erst_rec *from,
		     uint32_t part)
{
	memcpy(r->reason, from->reason, sizeof(r->reason));
	r->count = from->count;
	r->part = part;
	r->known = true;
}

/* A part whose heading is lost belongs to the one before or behind it. */
static void recs_guess(struct erst *e)
{
	struct erst_rec *r = e->rec;

	for (size_t i = e->nr; i-- > 1;)
		if (rec_beside(&r[i - 1], &r[i]) && r[i].part > 1 &&
		    r[i].id == r[i - 1].id + 1)
			rec_join(&r[i - 1], &r[i], r[i].part - 1);
	for (size_t i = 1; i < e->nr; i++)
		if (rec_beside(&r[i], &r[i - 1]) && r[i].id == r[i - 1].id + 1)
			rec_join(&r[i], &r[i - 1], r[i - 1].part + 1);
}

static bool rec_same_dump(const struct erst_rec *a, const struct erst_rec *b)
{
	return a->known && b->known && a->count == b->count &&
	       a->id - a->part == b->id - b->part &&
	       !strcmp(a->reason, b->reason);
}

static void dump_fill(struct dump *to, const struct erst_rec *r, size_t n)
{
	uint32_t expected = 1;

	*to = (struct dump){ .boot = r->boot,
			     .count = r->count,
			     .records = (uint32_t)n,
			     .text = r->type != CPER_OTHER };
	memcpy(to->reason, r->reason, sizeof(to->reason));
	for (size_t i = 0; i < n; i++) {
		if (r[i].known && r[i].part > expected) {
			if (!to->missing)
				to->first_missing = expected;
			to->missing += r[i].part - expected;
		}
		expected = r[i].part + 1;
		to->bytes += r[i].bytes;
		to->doubt = erst_worse(to->doubt, r[i].doubt);
		if (!to->real)
			to->real = r[i].real;
		if (*r[i].release)
			memcpy(to->release, r[i].release, sizeof(to->release));
	}
	/* The newest text, at the time of the dump, is in part 1. */
	if (!r->known || r->part <= 1)
		to->newest = r->newest;
}

/* The @n records of a dump get what they do not have yet. */
static void dump_number(struct erst *e, struct erst_rec *r, size_t n)
{
	uint32_t boot = 0;

	for (size_t i = 0; i < n; i++)
		if (r[i].boot)
			boot = r[i].boot;
	if (!boot)
		boot = ++e->boots;
	/* The last part is the oldest text. */
	for (size_t i = n; i--;) {
		r[i].boot = boot;
		if (!r[i].window)
			r[i].window = ++e->windows;
	}
}

static int dump_order(const void *a, const void *b)
{
	const struct dump *x = a, *y = b;

	return x->boot < y->boot ? -1 : x->boot > y->boot;
}

static int dumps_make(struct erst *e)
{
	size_t n;

	free(e->dump);
	e->nr_dumps = 0;
	e->dump = malloc((e->nr + 1) * sizeof(*e->dump));
	if (!e->dump)
		return -ENOMEM;
	recs_guess(e);
	for (size_t i = 0; i < e->nr; i += n) {
		struct erst_rec *r = &e->rec[i];

		for (n = 1; i + n < e->nr; n++)
			if (!rec_same_dump(r, &r[n]))
				break;
		dump_number(e, r, n);
		dump_fill(&e->dump[e->nr_dumps++], r, n);
	}
	qsort(e->dump, e->nr_dumps, sizeof(*e->dump), dump_order);
	return 0;
}

static const struct dump *dump_of(const struct erst *e, uint32_t boot)
{
	struct dump key = { .boot = boot };

	return e->dump ? bsearch(&key, e->dump, e->nr_dumps, sizeof(key),
				 dump_order)
		       : NULL;
}

/* Read the file again. */
static int erst_scan(struct dlog *d, struct erst *e)
{
	/* QEMU counts a store's bytes with 32 bits. */
	uint64_t size = d->size < 1ull << 32 ? d->size : 1ull << 32;
	struct erst_rec *old = e->rec;
	size_t nr = e->nr;
	uint32_t records;
	int ret;

	e->rec = NULL;
	e->nr = e->room = 0;
	e->nr_lost = e->named = 0;
	e->slot = header_load(d, &records);
	e->directory = directory_hash(d);
	ret = e->slot ? scan_slots(d, e, size, records)
		      : scan_pages(d, e, size);
	if (e->nr)
		qsort(e->rec, e->nr, sizeof(*e->rec), rec_order);
	rec_remember(e, old, nr);
	free(old);
	return ret ? ret : dumps_make(e);
}

/* ---- ops ---- */

static void erst_close(struct dlog *d)
{
	struct erst *e = d->state;

	if (!e)
		return;
	free(e->rec);
	free(e->dump);
	free(e);
}

/* A store whose header is damaged: a record of pstore near its begin. */
static bool erst_headless(struct dlog *d)
{
	uint64_t end = d->size < FEW ? d->size : FEW;

	for (uint64_t at = scan_find(d, 0, end); at < end;
	     at = scan_find(d, at + ERST_PAGE, end)) {
		uint8_t head[CPER_HEADER];
		struct cper c;

		if (!dlog_fetch(d, at, head, sizeof(head)) &&
		    cper_parse(head, &c) && c.sound && c.pstore)
			return true;
	}
	return false;
}

static int erst_open(struct dlog *d, bool forced, struct dlog_error *err)
{
	uint32_t records;
	struct erst *e;
	int ret;

	if (!header_load(d, &records) && !forced && !erst_headless(d))
		return -EBADMSG;
	e = calloc(1, sizeof(*e));
	if (!e)
		return dlog_fail(err, -ENOMEM, "No memory to read %s.",
				 d->name);
	d->state = e;
	ret = erst_scan(d, e);
	if (ret)
		return dlog_fail(err, ret, "Cannot read %s: %s.", d->name,
				 strerror(-ret));
	if (!e->slot && !e->nr && !e->nr_lost)
		return dlog_fail(err, -EBADMSG,
				 "%s holds neither the header of an acpi-erst "
				 "store nor any error record: name the file "
				 "that is mem-path of the device's memdev.",
				 d->name);
	return 0;
}

static int window_order(const void *a, const void *b)
{
	const struct erst_rec *x = *(const struct erst_rec *const *)a;
	const struct erst_rec *y = *(const struct erst_rec *const *)b;

	return x->window < y->window ? -1 : x->window > y->window;
}

/* What is no text of pstore: a line for each section. */
static int list_sections(struct dlog *d, const struct erst_rec *r,
			 struct dlog_list *l)
{
	uint8_t head[CPER_HEADER], desc[CPER_SECTION];
	uint64_t position = POSITION(r->window);
	struct cper_section s;
	struct cper c;
	int ret = dlog_fetch(d, r->at, head, sizeof(head));

	if (ret || !cper_parse(head, &c))
		return ret == -ERANGE ? 0 : ret;
	for (uint32_t i = 0; i < c.sections && l->nr < LINES_MAX(d->size);
	     i++) {
		uint32_t off = CPER_HEADER + i * CPER_SECTION;
		char guid[CPER_GUID_TEXT], creator[CPER_GUID_TEXT], text[256];
		const char *name;
		int n;

		if (off + CPER_SECTION > r->room ||
		    dlog_fetch(d, r->at + off, desc, sizeof(desc)))
			break;
		cper_section(desc, &s);
		cper_guid(s.guid, guid);
		cper_guid(c.creator, creator);
		name = cper_type_name(s.guid);
		n = snprintf(text, sizeof(text),
			     "error record: section type %s%s%s%s, severity "
			     "%s, %u bytes, creator %s",
			     guid, *name ? " (" : "", name, *name ? ")" : "",
			     cper_severity(s.severity), s.length, creator);
		ret = dlog_list_add(
			l, r->boot, 0, position + i,
			DLOG_TYPE(DLOG_KIND_TEXT,
				  DLOG_PRI(0, cper_level(s.severity))),
			0, r->doubt, text, (size_t)n);
		if (ret)
			return ret;
	}
	return 0;
}

/*
 * Each line of a dump has a level and an end (kmsg_dump_get_buffer()): one
 * without was cut or is damaged.  In what was compressed that puts all behind
 * it in doubt.
 */
static int list_lines(struct dlog *d, const struct erst_rec *r, uint64_t *now,
		      struct dlog_list *l)
{
	uint64_t position = POSITION(r->window);
	struct pstore_line line;
	uint8_t *text, *p, doubt;
	uint32_t count, part;
	char reason[16];
	size_t len = 0, skip = 0;
	int ret = erst_rec_text(d, r, &text, &len, &doubt);

	if (ret) {
		free(text);
		return ret == -ENOMEM ? ret : 0;
	}
	if (!pstore_heading(text, len, reason, &count, &part, &skip))
		doubt = erst_worse(doubt, DLOG_DOUBT_TORN);
	p = text + skip;
	for (len -= skip;
	     !ret && l->nr < LINES_MAX(d->size) && pstore_line(p, len, &line);
	     p += line.size, len -= line.size) {
		bool whole = line.has_level && p[line.size - 1] == '\n';

		if (!whole && r->type == CPER_DMESG_Z)
			doubt = DLOG_DOUBT_TORN;
		ret = pstore_add_lines(l, r->boot, &position, now,
				       whole ? doubt : DLOG_DOUBT_TORN, p,
				       line.size);
	}
	free(text);
	return ret;
}

static int erst_list(struct dlog *d, uint32_t n, struct dlog_list *l)
{
	struct erst *e = d->state;
	const struct erst_rec **order;
	uint64_t now = 0;
	uint32_t boot = 0;
	int ret = 0;

	(void)n;
	if (directory_hash(d) != e->directory)
		ret = erst_scan(d, e);
	if (ret)
		return ret;
	order = malloc((e->nr + 1) * sizeof(*order));
	if (!order)
		return -ENOMEM;
	for (size_t i = 0; i < e->nr; i++)
		order[i] = &e->rec[i];
	qsort(order, e->nr, sizeof(*order), window_order);
	for (size_t i = 0; !ret && i < e->nr; i++) {
		if (order[i]->boot != boot)
			now = 0;
		boot = order[i]->boot;
		ret = order[i]->type ? list_lines(d, order[i], &now, l)
				     : list_sections(d, order[i], l);
	}
	e->cut = l->nr >= LINES_MAX(d->size);
	free(order);
	return ret;
}

/* Parts are written newest text first: wait for the last one. */
static bool erst_list_changed(struct dlog *d, uint32_t n)
{
	struct erst *e = d->state;
	uint64_t hash, now = dlog_now(CLOCK_MONOTONIC);
	bool settled;

	(void)n;
	if (now - e->looked < SETTLE)
		return false;
	e->looked = now;
	hash = directory_hash(d);
	settled = hash == e->seen;
	e->seen = hash;
	return settled && hash && hash != e->directory;
}

/*
 * The record says to a second when it was written, its newest line was written
 * at about the same time.
 */
static uint64_t erst_real_time(struct dlog *d, uint32_t boot, uint64_t time)
{
	const struct dump *u = dump_of(d->state, boot);

	if (!u || !u->real || (u->text && !u->newest) || u->newest > u->real)
		return 0;
	return u->real - u->newest + time;
}

static int erst_boots(struct dlog *d, struct dlog_boot_entry **out)
{
	int n = dlog_list_boots(d, out);

	for (int i = 0; i < n; i++) {
		struct dlog_boot_entry *b = &(*out)[i];
		const struct dump *u = dump_of(d->state, b->boot);

		if (!u)
			continue;
		memcpy(b->release, u->release, sizeof(b->release));
		b->end_status = pstore_status(u->reason);
		b->end_time = u->newest;
		b->start_real = erst_real_time(d, b->boot, 0);
	}
	return n;
}

static void fact_records(const struct erst *e, struct dlog_fact *f)
{
	size_t stale = 0, other = 0;

	for (size_t i = 0; i < e->nr; i++) {
		stale += e->rec[i].doubt == DLOG_DOUBT_STALE;
		other += !e->rec[i].type;
	}
	snprintf(f->name, sizeof(f->name), "records");
	snprintf(f->text, sizeof(f->text),
		 "%zu of dumps, %zu of other errors; %zu deleted by the guest, "
		 "%u damaged%s",
		 e->nr - other, other, stale, e->nr_lost,
		 e->cut ? "; more lines than are read" : "");
}

static void fact_store(const struct dlog *d, const struct erst *e,
		       struct dlog_fact *f)
{
	snprintf(f->name, sizeof(f->name), "store");
	if (!e->slot)
		snprintf(f->text, sizeof(f->text),
			 "header damaged: records found by their signature");
	else
		snprintf(f->text, sizeof(f->text),
			 "%llu slots of %u bytes, records named in the "
			 "directory: %u%s",
			 (unsigned long long)(d->size / e->slot), e->slot,
			 e->named,
			 e->sound ? "" : ", which is not what its header says");
}

static size_t put_time(char *to, size_t size, uint64_t real)
{
	time_t t = (time_t)(real / 1000000000u);
	struct tm tm;

	return real && gmtime_r(&t, &tm)
		       ? strftime(to, size, ", %Y-%m-%d %H:%M:%S UTC", &tm)
		       : 0;
}

static void fact_dump(const struct dump *u, struct dlog_fact *f)
{
	const size_t size = sizeof(f->text);
	int n;

	snprintf(f->name, sizeof(f->name), "dump %u", u->boot);
	if (!u->text)
		n = snprintf(f->text, size, "an error record");
	else
		n = snprintf(f->text, size, "%s%s%.0u, %u part%s, %llu bytes",
			     *u->reason ? u->reason : "damaged",
			     *u->reason ? "#" : "", u->count, u->records,
			     u->records == 1 ? "" : "s",
			     (unsigned long long)u->bytes);
	n += (int)put_time(f->text + n, size - (size_t)n, u->real);
	if (u->missing)
		n += snprintf(f->text + n, size - (size_t)n,
			      ", parts missing: %u from part %u on", u->missing,
			      u->first_missing);
	if (u->doubt)
		snprintf(f->text + n, size - (size_t)n, ", %s",
			 dlog_doubt_name(u->doubt));
}

static void fact_lost(const struct erst *e, uint32_t n, struct dlog_fact *f)
{
	const struct lost *l = &e->lost[n];

	snprintf(f->name, sizeof(f->name), "damaged %u", n + 1);
	snprintf(f->text, sizeof(f->text),
		 "record %llu at offset %llu cannot be read",
		 (unsigned long long)l->id, (unsigned long long)l->at);
}

static int erst_fact(struct dlog *d, uint32_t n, struct dlog_fact *fact)
{
	const struct erst *e = d->state;
	uint32_t lost = e->nr_lost < LOST_MAX ? e->nr_lost : LOST_MAX;

	if (n == 0)
		fact_store(d, e, fact);
	else if (n == 1)
		fact_records(e, fact);
	else if (n - 2 < e->nr_dumps)
		fact_dump(&e->dump[n - 2], fact);
	else if (n - 2 - e->nr_dumps < lost)
		fact_lost(e, n - 2 - (uint32_t)e->nr_dumps, fact);
	else
		return 0;
	return 1;
}

const struct dlog_source_ops dlog_erst_ops = {
	.name = "erst",
	.help = "dumps of stock kernels in the file of QEMU's acpi-erst device",
	.open = erst_open,
	.close = erst_close,
	.fact = erst_fact,
	.real_time = erst_real_time,
	.list = erst_list,
	.list_changed = erst_list_changed,
	.list_version = directory_hash,
	DLOG_LIST_RECORDS,
	.boots = erst_boots,
	.loss = dlog_list_loss,
};
