// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * ramoops_text.c - lines of what ramoops' zones hold: dumps, and what user
 * space wrote to /dev/pmsg0.
 *
 * A dump (fs/pstore/ram.c, ramoops_pstore_write()) begins with a line
 * "====SECONDS.MICROS-C" (C: compressed, D: not) and has a zone of its own,
 * which is emptied before.  A dump that the guest erased from /sys/fs/pstore
 * is emptied only: all of its bytes are still there.  It is read as one that
 * may be stale.
 *
 * pmsg is a ring of bytes with no frames at all.
 */
#include <stdlib.h>
#include <string.h>

#include "stock/ramoops.h"

/* Lines of less than @SHORT bytes; but for @SOME they are not all it holds. */
#define SHORT 8u
#define SOME 4096u
#define PIECE_MAX 65531u /* pstore_line() */

uint8_t *ramoops_buffer(struct ramoops *r, size_t size)
{
	struct buffer *b = malloc(sizeof(*b));

	if (!b)
		return NULL;
	b->data = malloc(size ? size : 1);
	if (!b->data) {
		free(b);
		return NULL;
	}
	b->next = r->buffers;
	r->buffers = b;
	return b->data;
}

/* ---- lines ---- */

int ramoops_add(struct lines *l, const struct line *line)
{
	struct line *v = dlog_grow(l->v, l->nr, &l->room, sizeof(*v));

	if (!v)
		return -ENOMEM;
	l->v = v;
	l->v[l->nr++] = *line;
	return 0;
}

/* Nothing but text, and enough of it to be told from chance. */
static bool reads_as_text(const uint8_t *p, size_t len)
{
	if (len < 4)
		return false;
	for (size_t i = 0; i < len; i++)
		if (p[i] < ' ' && p[i] != '\t')
			return false;
		else if (p[i] >= 0x7f)
			return false;
	return true;
}

bool span_is_bad(const struct span *s, uint32_t at, uint32_t len)
{
	uint32_t room = s->zone->room;
	uint32_t from = (uint32_t)(((uint64_t)s->raw + at) % room);
	uint32_t first = len < room - from ? len : room - from;

	return zone_is_bad(s->zone, from, first) ||
	       zone_is_bad(s->zone, 0, len - first);
}

/*
 * Bytes of the line at @p, as many as a record may have.  It ends at a
 * newline, and where bytes were never written; *@next is behind that.
 */
static uint32_t piece(const uint8_t *p, uint32_t len, uint32_t *next)
{
	uint32_t most = len < PIECE_MAX ? len : PIECE_MAX, n = 0;

	while (n < most && p[n] && p[n] != '\n')
		n++;
	*next = n;
	if (n < len && (!p[n] || p[n] == '\n'))
		++*next;
	return n;
}

int ramoops_lines(struct lines *l, const struct span *s)
{
	size_t begin = l->nr;
	uint64_t time = 0;
	uint32_t n, next;

	for (uint32_t at = 0; at < s->len; at += next) {
		struct pstore_line p;
		struct line line;
		int ret;

		n = piece(s->p + at, s->len - at, &next);
		/* Not so many that they would take far more memory than it. */
		if (n < SHORT && l->nr > begin + at / SHORT + SOME)
			continue;
		if (!pstore_line(s->p + at, n, &p) ||
		    (s->only_text && !reads_as_text(s->p + at, n)))
			continue;
		if (p.has_time)
			time = p.time;
		line = (struct line){
			.time = time,
			.position = s->position + at,
			.text = p.text,
			.len = (uint32_t)p.len,
			.caller = p.caller,
			.level = p.level,
			.facility = p.facility,
			.doubt = s->doubt,
			.has_time = p.has_time,
			.older = s->older,
		};
		if (span_is_bad(s, at, n))
			line.doubt = DLOG_DOUBT_TORN;
		ret = ramoops_add(l, &line);
		if (ret)
			return ret;
	}
	return 0;
}

uint32_t ramoops_seam(const uint8_t *p, uint32_t len)
{
	uint64_t last = 0, drop = 0;
	uint32_t seam = 0, n, next;

	for (uint32_t at = 0; at < len; at += next) {
		struct pstore_line line;

		n = piece(p + at, len - at, &next);
		if (!pstore_line(p + at, n, &line) || !line.has_time)
			continue;
		if (line.time < last && last - line.time > drop) {
			drop = last - line.time;
			seam = at;
		}
		last = line.time;
	}
	return seam;
}

int ramoops_turn(struct ramoops *r, const struct zone *z, uint32_t begin,
		 uint32_t from, uint32_t end, struct span *out)
{
	const uint8_t *data = z->data + ZONE_HEADER;
	uint8_t *p;

	*out = (struct span){
		.zone = z, .p = data + begin, .len = end - begin, .raw = begin
	};
	if (from <= begin || from >= end)
		return 0;
	p = ramoops_buffer(r, end - begin);
	if (!p)
		return -ENOMEM;
	memcpy(p, data + from, end - from);
	memcpy(p + end - from, data + begin, from - begin);
	out->p = p;
	out->raw = from;
	return 0;
}

int ramoops_ring(struct ramoops *r, const struct zone *z, uint32_t fill,
		 struct span *out)
{
	bool wrapped = fill == z->room;
	int ret = ramoops_turn(r, z, 0, wrapped ? z->start : 0, fill, out);

	if (ret || !wrapped)
		return ret;
	out->p += z->passed;
	out->len -= z->passed;
	out->raw += z->passed;
	out->position = z->passed;
	return 0;
}

/* ---- dumps ---- */

static int dump_add(struct ramoops *r, const struct dump *dump)
{
	struct dump *v = dlog_grow(r->dump, r->dumps, &r->dump_room,
				   sizeof(*v));

	if (!v)
		return -ENOMEM;
	r->dump = v;
	v[r->dumps++] = *dump;
	return 0;
}

/* How much of a dump of unknown length is text. */
static uint32_t text_len(const uint8_t *p, uint32_t len)
{
	uint32_t n = 0;

	while (n < len && (p[n] >= ' ' || p[n] == '\n' || p[n] == '\t'))
		n++;
	return n;
}

static const struct zone no_zone = { .room = UINT32_MAX };

/* What is compressed at s->p becomes the text of @s. */
static int dump_unpack(struct ramoops *r, struct span *s)
{
	struct buffer *b;
	size_t max = PSTORE_PART_MAX, len;
	uint8_t *out;
	int ret;

	if (max > r->unpack_left)
		max = (size_t)r->unpack_left;
	ret = pstore_unpack_to(s->p, s->len, max, &out, &len);
	if (ret && ret != -EBADMSG)
		return ret;
	b = malloc(sizeof(*b));
	if (!b) {
		free(out);
		return -ENOMEM;
	}
	*b = (struct buffer){ .next = r->buffers, .data = out };
	r->buffers = b;
	r->unpack_left -= len;
	if (ret || span_is_bad(s, 0, s->len))
		s->doubt = DLOG_DOUBT_TORN;
	s->p = out;
	s->len = (uint32_t)len;
	/* Its bytes are no longer those of the blocks. */
	s->zone = &no_zone;
	return 0;
}

/* The "====" line is damaged: up to the newline that ends it as a rule. */
static void dump_guess(const struct span *s, size_t *skip, bool *packed)
{
	const uint8_t *nl = memchr(s->p, '\n', s->len < 40 ? s->len : 40);
	uint32_t n;

	*skip = nl ? (size_t)(nl - s->p) + 1 : 0;
	n = (uint32_t)*skip;
	*packed = text_len(s->p + n, s->len - n < 64 ? s->len - n : 64) < 32;
}

int ramoops_read_dump(struct ramoops *r, uint32_t zone)
{
	const struct zone *z = &r->zone[zone];
	struct lines *l = &r->lines[ZONE_DMESG];
	struct dump dump = { .zone = zone, .first = l->nr };
	struct span s = { .zone = z, .p = z->data + ZONE_HEADER };
	bool packed, sound, framed = !z->lost && z->fill;
	uint32_t count, part;
	size_t skip;
	int ret;

	s.len = framed ? z->fill : z->room;
	sound = ramoops_dump_head(s.p, s.len, &skip, &dump.wall, &packed);
	if (!sound && !z->lost && !z->fill)
		return 0; /* empty */
	if (!sound)
		dump_guess(&s, &skip, &packed);
	if (z->lost || !sound)
		s.doubt = DLOG_DOUBT_SALVAGED;
	else if (!z->fill)
		s.doubt = DLOG_DOUBT_STALE;
	s.p += skip;
	s.len -= (uint32_t)skip;
	s.raw = (uint32_t)skip;
	if (packed) {
		ret = dump_unpack(r, &s);
		if (ret)
			return ret;
	} else if (!framed && sound) {
		s.len = text_len(s.p, s.len);
	}
	if (pstore_heading(s.p, s.len, dump.reason, &count, &part, &skip)) {
		s.p += skip;
		s.len -= (uint32_t)skip;
		s.raw += (uint32_t)skip;
	}
	s.only_text = s.doubt == DLOG_DOUBT_SALVAGED;
	ret = ramoops_lines(l, &s);
	dump.nr = l->nr - dump.first;
	for (size_t i = dump.first; i < l->nr; i++)
		if (l->v[i].has_time && l->v[i].time > dump.last)
			dump.last = l->v[i].time;
	return ret || !dump.nr ? ret : dump_add(r, &dump);
}

/* ---- pmsg ---- */

/* Positions of pmsg only have to ascend. */
#define PMSG_BASE (UINT64_C(1) << 40)

int ramoops_read_pmsg(struct ramoops *r, struct zone *z)
{
	bool wrapped = !z->lost && z->fill == z->room;
	struct lines *l = &r->lines[ZONE_PMSG];
	struct span s;
	size_t first;
	int ret = 0;

	if (z->lost || !wrapped) {
		/* What this boot did not write over. */
		uint32_t begin = z->lost ? 0 : z->fill + z->passed;

		if (begin > z->room)
			begin = z->room;
		first = l->nr;
		ramoops_turn(r, z, begin, begin, z->room, &s);
		s.doubt = z->lost ? DLOG_DOUBT_SALVAGED : DLOG_DOUBT_STALE;
		s.older = !z->lost;
		s.only_text = true;
		ret = ramoops_lines(l, &s);
		if (begin && l->nr > first && !s.p[-1])
			l->v[first].doubt = DLOG_DOUBT_TORN;
	}
	if (ret || z->lost)
		return ret;
	ret = ramoops_ring(r, z, z->fill, &s);
	if (ret)
		return ret;
	s.position += PMSG_BASE;
	first = l->nr;
	ret = ramoops_lines(l, &s);
	if (ret || !wrapped || l->nr == first)
		return ret;
	l->v[first].doubt = DLOG_DOUBT_TORN; /* its begin is gone */
	if (!z->whole && s.p[s.len - 1] != '\n')
		l->v[l->nr - 1].doubt = DLOG_DOUBT_STALE;
	return 0;
}
