// SPDX-License-Identifier: GPL-2.0-only
/*
 * names.c - what explains addresses, into the catalog (docs/abi.md section 8).
 *
 * A function is named there when its first block is translated, at once: QEMU
 * may be killed the next moment.  Its names stay for later lives of QEMU in
 * the same region, where the same object keeps its number.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "symbols.h"

static struct {
	struct symbol_file *files;
	unsigned int nr;
	int last; /* object */
	bool full;
} names;

/* ---- what is there already ---- */

static void object_name(const struct symbol_file *f, const struct part *p,
			char *out, size_t size)
{
	const char *slash = strrchr(f->path, '/');
	size_t n;

	snprintf(out, size, "%s%.100s %s", f->moves ? "vmlinux " : "",
		 slash ? slash + 1 : f->path, f->id);
	n = strlen(out);
	if (p != f->part)
		snprintf(out + n, size - n, " %u", (unsigned int)(p - f->part));
}

static void take_object(int number, const char *data, uint32_t len)
{
	char name[256];

	if (number > names.last)
		names.last = number;
	for (unsigned int i = 0; i < names.nr; i++) {
		struct symbol_file *f = &names.files[i];

		for (uint32_t k = 0; k < f->nr_parts; k++) {
			object_name(f, &f->part[k], name, sizeof(name));
			if (len == strlen(name) + 1 && !memcmp(data, name, len))
				f->part[k].number = number;
		}
	}
}

static struct part *part_of(int number, struct symbol_file **file)
{
	for (unsigned int i = 0; i < names.nr; i++) {
		*file = &names.files[i];
		for (uint32_t k = 0; k < (*file)->nr_parts; k++)
			if ((*file)->part[k].number == number)
				return &(*file)->part[k];
	}
	return NULL;
}

static void take_symbols(int number, const char *data, uint32_t len)
{
	struct symbol_file *f;
	struct part *p = part_of(number, &f);
	const char *end = data + len;

	while (p && end - data > (long)sizeof(struct dlog_symbol_note)) {
		struct dlog_symbol_note note;
		struct symbol *s;
		const char *nul;

		memcpy(&note, data, sizeof(note));
		data += sizeof(note);
		nul = memchr(data, 0, (size_t)(end - data));
		if (!nul)
			return;
		s = table_at(f, p->from + note.offset);
		if (s && s->addr == p->from + note.offset)
			s->said = true;
		data = nul + 1;
	}
}

static void take(uint32_t type, const void *data, uint32_t len)
{
	int number = (int)DLOG_TYPE_ARG(type);

	if (!number || number > (int)DLOG_OBJECT_MAX)
		return;
	if (DLOG_TYPE_KIND(type) == DLOG_KIND_OBJECT)
		take_object(number, data, len);
	else if (DLOG_TYPE_KIND(type) == DLOG_KIND_SYMBOLS)
		take_symbols(number, data, len);
}

int names_start(struct symbol_file *files, unsigned int nr)
{
	names.files = files;
	names.nr = nr;
	return record_catalog_each(take);
}

/* ---- what is new ---- */

static int append(uint32_t kind, int number, const void *data, size_t len)
{
	int ret;

	if (names.full)
		return -ENOSPC;
	ret = record_catalog(DLOG_TYPE(kind, number), data, (uint32_t)len);
	if (ret == -ENOSPC) {
		names.full = true;
		record_say(
			4,
			"the catalog has no room for more symbols: further addresses have no names; a larger one: dlog-create --catalog");
	}
	return ret;
}

static void part_base(struct symbol_file *f, struct part *p, uint64_t slide)
{
	struct dlog_base base = {
		.boot = record_boot(),
		.size = (uint32_t)(p->to - p->from),
		.base = p->from + slide,
	};
	char name[256];

	if (!p->number) {
		if (names.last >= (int)DLOG_OBJECT_MAX)
			return;
		object_name(f, p, name, sizeof(name));
		if (append(DLOG_KIND_OBJECT, names.last + 1, name,
			   strlen(name) + 1))
			return;
		p->number = ++names.last;
	}
	append(DLOG_KIND_BASE, p->number, &base, sizeof(base));
}

void names_base(struct symbol_file *f, uint64_t slide)
{
	for (uint32_t i = 0; i < f->nr_parts; i++)
		part_base(f, &f->part[i], slide);
}

void names_gone(struct symbol_file *f)
{
	struct dlog_base base = { .boot = record_boot() };

	for (uint32_t i = 0; i < f->nr_parts; i++)
		if (f->part[i].number)
			append(DLOG_KIND_BASE, f->part[i].number, &base,
			       sizeof(base));
}

void names_say(struct symbol_file *f, struct symbol *s)
{
	struct part *p = table_part(f, s->addr);
	const char *name = symbol_name(f, s);
	struct {
		struct dlog_symbol_note note;
		char name[SYMBOL_NAME_MAX + 1];
	} data;
	size_t len = strlen(name) + 1;

	s->said = true;
	if (!p || !p->number)
		return;
	data.note.offset = (uint32_t)(s->addr - p->from);
	data.note.size = s->size;
	memcpy(data.name, name, len);
	append(DLOG_KIND_SYMBOLS, p->number, &data, sizeof(data.note) + len);
}
