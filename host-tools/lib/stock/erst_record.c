// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * erst_record.c - a record of an acpi-erst store, as erst_writer() in
 * drivers/acpi/apei/erst.c of Linux 5.10 to 6.12 lays it out: header, one
 * section descriptor, text of pstore.  So that text is found where a header
 * is damaged, too.
 */
#include <stdlib.h>
#include <string.h>

#include "dlog_region.h"
#include "erst.h"
#include "pstore.h"

#define BODY (CPER_HEADER + CPER_SECTION) /* where pstore puts its text */

int erst_rec_text(struct dlog *d, const struct erst_rec *r, uint8_t **out,
		  size_t *len, uint8_t *doubt)
{
	size_t take = r->len < PSTORE_PART_MAX ? r->len : PSTORE_PART_MAX;
	/* As Linux, up to three times what a record can hold. */
	size_t max = 3 * (size_t)(r->room > 2 * ERST_PAGE ? r->room
							  : 2 * ERST_PAGE);
	uint8_t *data;
	int ret;

	*out = NULL;
	*doubt = r->doubt;
	if (take > r->room - r->data)
		take = r->room - r->data;
	if (take < r->len)
		*doubt = erst_worse(*doubt, DLOG_DOUBT_TORN);
	data = malloc(take + 1);
	if (!data)
		return -ENOMEM;
	ret = dlog_fetch(d, r->at + r->data, data, take);
	if (ret || r->type == CPER_DMESG) {
		*out = data;
		*len = take;
		return ret;
	}
	ret = pstore_unpack_to(data, take,
			       max < PSTORE_PART_MAX ? max : PSTORE_PART_MAX,
			       out, len);
	free(data);
	if (ret == -EBADMSG) {
		*doubt = erst_worse(*doubt, DLOG_DOUBT_TORN);
		ret = *len ? 0 : -EBADMSG;
	}
	return ret;
}

static void rec_line(struct erst_rec *r, const struct pstore_line *line)
{
	if (line->has_time && line->has_level)
		r->newest = line->time;
	pstore_release(line->text, line->len, r->release);
}

/* Look at its text: of which dump, when.  As erst_rec_text(). */
static int rec_examine(struct dlog *d, struct erst_rec *r)
{
	struct pstore_line line;
	uint8_t *text, *p;
	size_t len, skip = 0;
	int ret = erst_rec_text(d, r, &text, &len, &r->doubt);

	if (!ret &&
	    pstore_heading(text, len, r->reason, &r->count, &r->part, &skip))
		r->known = true;
	else
		r->doubt = erst_worse(r->doubt, DLOG_DOUBT_TORN);
	if (!ret) {
		r->bytes = (uint32_t)(len - skip);
		p = text + skip;
		for (len -= skip; pstore_line(p, len, &line);
		     p += line.size, len -= line.size)
			rec_line(r, &line);
	}
	free(text);
	return ret;
}

/* Bytes of text up to what QEMU fills the rest of the slot with. */
static uint32_t rec_unfilled(struct dlog *d, const struct erst_rec *r)
{
	uint32_t len = r->room - BODY;
	uint8_t *data;

	if (len > PSTORE_PART_MAX)
		len = PSTORE_PART_MAX;
	data = malloc(len);
	if (!data || dlog_fetch(d, r->at + BODY, data, len))
		len = 0;
	while (len && data[len - 1] == 0xff)
		len--;
	free(data);
	return len;
}

/* Text at the place where pstore has it, whatever lies before it. */
static bool rec_headless(struct dlog *d, struct erst_rec *r)
{
	static const uint8_t types[] = { CPER_DMESG_Z, CPER_DMESG };

	if (r->room <= BODY)
		return false;
	r->data = BODY;
	r->len = rec_unfilled(d, r);
	for (size_t i = 0; i < sizeof(types); i++) {
		r->type = types[i];
		r->doubt = DLOG_DOUBT_SALVAGED;
		if (!rec_examine(d, r) && r->known)
			return true;
	}
	return false;
}

/* It does not say that it is text of pstore, but may be if it is theirs or
 * damaged. */
static int rec_other(struct dlog *d, struct erst_rec *r, const struct cper *c)
{
	uint8_t doubt = r->doubt;

	if ((c->pstore || !c->sound) && rec_headless(d, r))
		return 1;
	r->type = CPER_OTHER;
	r->doubt = c->length > r->room ? erst_worse(doubt, DLOG_DOUBT_TORN)
				       : doubt;
	r->bytes = 0;
	r->newest = 0;
	return 1;
}

int erst_rec_load(struct dlog *d, struct erst_rec *r, uint64_t id)
{
	uint8_t head[BODY] = { 0 };
	struct cper_section s;
	struct cper c;
	bool found;
	int ret;

	if (r->room < CPER_HEADER)
		return id ? -EBADMSG : 0;
	ret = dlog_fetch(d, r->at, head, r->room < BODY ? r->room : BODY);
	if (ret)
		return ret;
	found = cper_parse(head, &c);
	r->id = id ? id : c.id;
	if (!found)
		return !id ? 0 : rec_headless(d, r) ? 1 : -EBADMSG;
	r->real = c.real;
	if (!c.sound || (id && c.id != id))
		r->doubt = erst_worse(r->doubt, DLOG_DOUBT_SALVAGED);
	cper_section(head + CPER_HEADER, &s);
	r->type = (uint8_t)s.type;
	if (r->type && !c.pstore)
		r->doubt = erst_worse(r->doubt, DLOG_DOUBT_SALVAGED);
	if (!r->type)
		return rec_other(d, r, &c);
	/* Where else could it be: a descriptor that says so is damaged. */
	if (s.offset < BODY || s.offset >= r->room)
		return rec_headless(d, r) ? 1 : -EBADMSG;
	r->data = s.offset;
	r->len = s.length;
	ret = rec_examine(d, r);
	return ret ? ret : 1;
}
