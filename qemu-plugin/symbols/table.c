// SPDX-License-Identifier: GPL-2.0-only
/* table.c - the symbols of one file, by address and by name. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "symbols.h"

/* Code farther apart than this is another part. */
#define PART_GAP (256u << 20)

/* ---- filling ---- */

static int grow(void **p, uint32_t *room, uint32_t want, size_t each)
{
	uint32_t more = *room ? *room : 4096;
	void *q;

	if (want <= *room)
		return 0;
	while (more < want)
		more *= 2;
	q = realloc(*p, more * each);
	if (!q)
		return -ENOMEM;
	*p = q;
	*room = more;
	return 0;
}

int table_add(struct symbol_file *f, uint64_t addr, uint64_t size,
	      const char *name, size_t len, bool code, unsigned int rank)
{
	void *sym = f->sym, *names = f->names;
	int ret;

	if (len > SYMBOL_NAME_MAX)
		len = SYMBOL_NAME_MAX;
	if (f->nr >= SYMBOLS_MAX || f->names_len > NAMES_MAX - len - 1)
		return -E2BIG;
	ret = grow(&sym, &f->room, f->nr + 1, sizeof(*f->sym));
	f->sym = sym;
	if (!ret)
		ret = grow(&names, &f->names_room,
			   f->names_len + (uint32_t)len + 1, 1);
	f->names = names;
	if (ret)
		return ret;
	f->sym[f->nr++] = (struct symbol){
		.addr = addr,
		.size = size > UINT32_MAX ? 0 : (uint32_t)size,
		.name = f->names_len,
		.rank = (uint8_t)rank,
		.code = code,
		/* Linux 6.12 names the padding before each function, too
		 * (scripts/kallsyms and objtool: "__pfx_"). */
		.entry = code && strncmp(name, "__pfx_", 6) != 0,
	};
	memcpy(f->names + f->names_len, name, len);
	f->names[f->names_len + len] = 0;
	f->names_len += (uint32_t)len + 1;
	return 0;
}

static int by_address(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	if (x->addr != y->addr)
		return x->addr < y->addr ? -1 : 1;
	if (x->code != y->code)
		return x->code ? -1 : 1;
	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	/* As they came. */
	return x->name < y->name ? -1 : x->name > y->name;
}

static int by_name(const void *a, const void *b, void *arg)
{
	const struct symbol_file *f = arg;
	uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
	int cmp = strcmp(symbol_name(f, &f->sym[i]),
			 symbol_name(f, &f->sym[j]));

	return cmp ? cmp : i < j ? -1 : i > j;
}

/* What has no size ends where the next one begins. */
static void set_sizes(struct symbol_file *f)
{
	uint64_t next = 0;

	for (uint32_t i = f->nr; i-- > 0;) {
		struct symbol *s = &f->sym[i];

		if (i + 1 < f->nr && f->sym[i + 1].addr != s->addr)
			next = f->sym[i + 1].addr;
		if (!s->size && next && next - s->addr <= UINT32_MAX)
			s->size = (uint32_t)(next - s->addr);
	}
}

static void set_parts(struct symbol_file *f)
{
	struct part *p = NULL;

	for (uint32_t i = 0; i < f->nr; i++) {
		const struct symbol *s = &f->sym[i];
		uint64_t end = s->addr + (s->size ? s->size : 1);

		if (!s->code || end < s->addr)
			continue;
		if (!p || (s->addr > p->to && s->addr - p->to > PART_GAP) ||
		    end - p->from > UINT32_MAX) {
			if (f->nr_parts == PARTS_MAX)
				return;
			p = &f->part[f->nr_parts++];
			p->from = s->addr;
			p->to = end;
		}
		if (end > p->to)
			p->to = end;
	}
}

/* Linux' own names of its beginning and end (vmlinux.lds.S of 6.1, 6.12). */
static void set_kind(struct symbol_file *f)
{
	uint64_t from, end;

	if (!plugin.x86 || !table_find(f, "_stext", 6, &from) ||
	    !table_find(f, "_end", 4, &end) || !in_kernel_map(from) ||
	    !in_kernel_map(end) || from >= end)
		return;
	f->moves = true;
	f->low = from;
	f->high = end;
	if (table_find(f, "_text", 5, &from) && in_kernel_map(from) &&
	    from < f->low)
		f->low = from;
}

/* FNV-1a: tells builds apart, no more. */
static void set_id(struct symbol_file *f)
{
	uint64_t h = 0xcbf29ce484222325u;

	if (*f->id)
		return;
	for (uint32_t i = 0; i < f->nr; i++) {
		const char *p = symbol_name(f, &f->sym[i]);

		h = (h ^ (f->sym[i].addr - f->sym[0].addr)) * 0x100000001b3u;
		while (*p)
			h = (h ^ (uint8_t)*p++) * 0x100000001b3u;
	}
	snprintf(f->id, sizeof(f->id), "%016llx", (unsigned long long)h);
}

int table_finish(struct symbol_file *f)
{
	f->by_name = malloc((f->nr ? f->nr : 1) * sizeof(*f->by_name));
	if (!f->by_name)
		return -ENOMEM;
	qsort(f->sym, f->nr, sizeof(*f->sym), by_address);
	for (uint32_t i = 0; i < f->nr; i++)
		f->by_name[i] = i;
	qsort_r(f->by_name, f->nr, sizeof(*f->by_name), by_name, f);
	set_sizes(f);
	set_parts(f);
	set_kind(f);
	set_id(f);
	return 0;
}

void table_free(struct symbol_file *f)
{
	free(f->sym);
	free(f->names);
	free(f->by_name);
	memset(f, 0, sizeof(*f));
}

/* ---- asking ---- */

/* The first symbol behind @addr; f->nr: there is none. */
static uint32_t behind(const struct symbol_file *f, uint64_t addr)
{
	uint32_t low = 0, high = f->nr;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (f->sym[mid].addr <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct symbol *table_at(const struct symbol_file *f, uint64_t addr)
{
	uint32_t i = behind(f, addr);
	struct symbol *s;

	if (!i)
		return NULL;
	s = &f->sym[i - 1];
	while (s > f->sym && s[-1].addr == s->addr)
		s--;
	if (!s->code || (s->size && addr - s->addr >= s->size) ||
	    (!s->size && addr != s->addr))
		return NULL;
	return s;
}

bool table_entry(const struct symbol_file *f, uint64_t addr)
{
	uint32_t i = behind(f, addr);

	while (i && f->sym[i - 1].addr == addr)
		if (f->sym[--i].entry)
			return true;
	return false;
}

unsigned int table_find(const struct symbol_file *f, const char *name,
			size_t len, uint64_t *addr)
{
	uint32_t low = 0, high = f->nr;
	unsigned int n = 0;
	uint64_t last = 0;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		const char *s = symbol_name(f, &f->sym[f->by_name[mid]]);

		if (strncmp(s, name, len) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	/* Equal names follow each other by address, longer ones behind. */
	for (; low < f->nr; low++) {
		const struct symbol *s = &f->sym[f->by_name[low]];
		const char *text = symbol_name(f, s);

		if (strncmp(text, name, len) || text[len])
			break;
		if (!n)
			*addr = s->addr;
		if (!n || s->addr != last)
			n++;
		last = s->addr;
	}
	return n;
}

struct part *table_part(struct symbol_file *f, uint64_t addr)
{
	for (uint32_t i = 0; i < f->nr_parts; i++)
		if (addr >= f->part[i].from && addr < f->part[i].to)
			return &f->part[i];
	return NULL;
}
