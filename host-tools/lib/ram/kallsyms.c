// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * kallsyms.c - the kernel's table of its own symbols, in guest memory.
 *
 * Format: Linux 6.1 and 6.12, kernel/kallsyms.c and scripts/kallsyms.c.
 * VMCOREINFO names the tables since Linux 6.0.  A name is a length (one byte,
 * or two when the first has its top bit) and that many tokens; their text
 * begins with the letter of the symbol's type.  An address is a 32 bit offset:
 * either unsigned from kallsyms_relative_base, or, with
 * CONFIG_KALLSYMS_ABSOLUTE_PERCPU (x86-64 SMP until 6.14), negative for
 * base - 1 - offset and else absolute.  Which of both is not written anywhere;
 * _stext, which VMCOREINFO has as well, tells, and also shows that tables and
 * addresses belong together.
 */
#include <stdlib.h>
#include <string.h>

#include "kernel.h"

#define SYMBOLS_MAX (4u << 20)
#define NAMES_MAX (128u << 20)
#define PAGE 4096u

/* ---- tables of symbols ---- */

static int room_for(void **p, uint32_t *room, uint32_t want, size_t each,
		    uint64_t budget)
{
	uint32_t more = *room ? *room : 64;
	void *q;

	if (want <= *room)
		return 0;
	while (more < want)
		more *= 2;
	if (more > UINT32_MAX / 2 / each || more * each / 2 > budget)
		return -E2BIG;
	q = realloc(*p, more * each);
	if (!q)
		return -ENOMEM;
	*p = q;
	*room = more;
	return 0;
}

int ram_symbols_add(struct ram_symbols *s, uint64_t addr, const char *name,
		    size_t len, uint64_t budget)
{
	void *sym = s->sym, *names = s->names;
	int ret;

	if (s->nr >= SYMBOLS_MAX || s->names_len > NAMES_MAX - len - 1)
		return -E2BIG;
	ret = room_for(&sym, &s->room, s->nr + 1, sizeof(*s->sym), budget);
	s->sym = sym;
	if (!ret)
		ret = room_for(&names, &s->names_room,
			       s->names_len + (uint32_t)len + 1, 1, budget);
	s->names = names;
	if (ret)
		return ret;
	s->sym[s->nr++] = (struct ram_symbol){ addr, s->names_len };
	memcpy(s->names + s->names_len, name, len);
	s->names[s->names_len + len] = 0;
	s->names_len += (uint32_t)len + 1;
	return 0;
}

static int symbol_order(const void *a, const void *b)
{
	const struct ram_symbol *x = a, *y = b;

	if (x->addr != y->addr)
		return x->addr < y->addr ? -1 : 1;
	/* As they came. */
	return x->name < y->name ? -1 : x->name > y->name;
}

void ram_symbols_sort(struct ram_symbols *s)
{
	for (uint32_t i = 1; i < s->nr; i++)
		if (s->sym[i].addr < s->sym[i - 1].addr) {
			qsort(s->sym, s->nr, sizeof(*s->sym), symbol_order);
			break;
		}
	free(s->by_name);
	s->by_name = NULL;
}

void ram_symbols_free(struct ram_symbols *s)
{
	free(s->sym);
	free(s->names);
	free(s->by_name);
	memset(s, 0, sizeof(*s));
}

static int name_order(const void *a, const void *b, void *arg)
{
	const struct ram_symbols *s = arg;
	uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
	int cmp = strcmp(s->names + s->sym[i].name, s->names + s->sym[j].name);

	return cmp ? cmp : i < j ? -1 : i > j;
}

static int sort_names(struct ram_symbols *s)
{
	if (s->by_name || !s->nr)
		return 0;
	s->by_name = malloc(s->nr * sizeof(*s->by_name));
	if (!s->by_name)
		return -ENOMEM;
	for (uint32_t i = 0; i < s->nr; i++)
		s->by_name[i] = i;
	qsort_r(s->by_name, s->nr, sizeof(*s->by_name), name_order, s);
	return 0;
}

int ram_symbols_find(struct ram_symbols *s, const char *name, uint64_t *addr)
{
	uint32_t low = 0, high = s->nr;
	int ret = sort_names(s);

	if (ret)
		return ret;
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		const struct ram_symbol *sym = &s->sym[s->by_name[mid]];

		if (strcmp(s->names + sym->name, name) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == s->nr ||
	    strcmp(s->names + s->sym[s->by_name[low]].name, name))
		return -ENOENT;
	*addr = s->sym[s->by_name[low]].addr;
	return 0;
}

/* The first symbol at @addr or behind it; s->nr: there is none. */
static uint32_t first_from(const struct ram_symbols *s, uint64_t addr)
{
	uint32_t low = 0, high = s->nr;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (s->sym[mid].addr < addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

int64_t ram_symbols_at(const struct ram_symbols *s, uint64_t addr)
{
	uint32_t low = addr == UINT64_MAX ? s->nr : first_from(s, addr + 1);

	if (!low--)
		return -1;
	/* The first of several with one address, as the kernel does. */
	return first_from(s, s->sym[low].addr);
}

uint64_t ram_symbols_end(const struct ram_symbols *s, int64_t i)
{
	uint64_t addr = s->sym[i].addr;
	uint32_t k = addr == UINT64_MAX ? s->nr : first_from(s, addr + 1);

	return k < s->nr ? s->sym[k].addr : 0;
}

/* ---- kallsyms ---- */

/* Reads bytes one after the other, a page at a time: it has no known end. */
struct bytes {
	struct dlog_ram *ram;
	uint64_t next, budget;
	uint32_t left;
	const uint8_t *p;
	uint8_t page[PAGE];
};

static int next_byte(struct bytes *b)
{
	if (!b->left) {
		uint32_t len = PAGE - (uint32_t)(b->next % PAGE);

		if (b->budget < len)
			return -E2BIG;
		if (dlog_ram_read(b->ram, b->next, b->page, len))
			return -EFAULT;
		b->budget -= len;
		b->p = b->page;
		b->left = len;
		b->next += len;
	}
	b->left--;
	return *b->p++;
}

struct kallsyms {
	struct dlog_ram *ram;
	uint64_t names, offsets, base, stext;
	uint32_t nr;
	bool wide; /* addresses, not offsets */
	uint16_t token[256]; /* offsets in text */
	char *text;
	size_t text_len; /* the last byte is 0 */
};

static bool where(struct kallsyms *k, const char *name, uint64_t *addr)
{
	return dlog_ram_vmcoreinfo_get(k->ram, name, addr) == 1;
}

static int find_tables(struct kallsyms *k, uint64_t *table, uint64_t *index)
{
	uint64_t nr_at, nr, base_at;

	if (!where(k, "SYMBOL(kallsyms_names)", &k->names) ||
	    !where(k, "SYMBOL(kallsyms_num_syms)", &nr_at) ||
	    !where(k, "SYMBOL(kallsyms_token_table)", table) ||
	    !where(k, "SYMBOL(kallsyms_token_index)", index) ||
	    !where(k, "SYMBOL(_stext)", &k->stext))
		return ram_fail(k->ram, -ENXIO,
				"The guest's VMCOREINFO does not tell where "
				"its symbols are (Linux 6.0 and later do): "
				"give the vmlinux of its kernel.");
	k->wide = where(k, "SYMBOL(kallsyms_addresses)", &k->offsets);
	if (!k->wide && (!where(k, "SYMBOL(kallsyms_offsets)", &k->offsets) ||
			 !where(k, "SYMBOL(kallsyms_relative_base)", &base_at)))
		return ram_fail(k->ram, -ENXIO,
				"The guest's symbols have a layout that is "
				"not known: give the vmlinux of its kernel.");
	if (ram_read_number(k->ram, nr_at, 4, &nr) ||
	    (!k->wide && ram_read_number(k->ram, base_at, 8, &k->base)) ||
	    !nr || nr > SYMBOLS_MAX || nr * 4 > ram_budget(k->ram))
		return ram_fail(k->ram, -ENXIO,
				"The guest's table of symbols is damaged: "
				"give the vmlinux of its kernel.");
	k->nr = (uint32_t)nr;
	return 0;
}

/* 256 offsets of 16 bit into texts that end with NUL. */
static int load_tokens(struct kallsyms *k, uint64_t table, uint64_t index)
{
	uint8_t *text;
	int64_t len;

	if (dlog_ram_read(k->ram, index, k->token, sizeof(k->token)))
		return -EFAULT;
	len = ram_read_upto(k->ram, table, 65536 + RAM_SYMBOL_MAX, &text);
	if (len < 0)
		return (int)len;
	if (!len) {
		free(text);
		return -EFAULT;
	}
	text[len - 1] = 0;
	k->text = (char *)text;
	k->text_len = (size_t)len;
	return 0;
}

/* The next name, without the letter of its type; its length or negative. */
static int expand(struct kallsyms *k, struct bytes *b, char *name)
{
	int len = next_byte(b), used = 0;
	bool first = true;

	if (len > 0x7f) {
		int high = next_byte(b);

		if (high < 0)
			return high;
		len = (len & 0x7f) | high << 7;
	}
	if (len < 0)
		return len;
	while (len--) {
		int c = next_byte(b);
		const char *p;

		if (c < 0)
			return c;
		if (k->token[c] >= k->text_len)
			return -EBADMSG;
		for (p = k->text + k->token[c]; *p; p++) {
			if (!first && used < (int)RAM_SYMBOL_MAX - 1)
				name[used++] = *p;
			else if (!first)
				break;
			first = false;
		}
	}
	name[used] = 0;
	return used;
}

static int load_names(struct kallsyms *k, struct ram_symbols *s,
		      const uint8_t *offsets, uint32_t *stext)
{
	uint64_t budget = ram_budget(k->ram);
	struct bytes b = {
		.ram = k->ram,
		.next = k->names,
		.budget = budget,
	};
	char name[RAM_SYMBOL_MAX];

	*stext = UINT32_MAX;
	for (uint32_t i = 0; i < k->nr; i++) {
		int ret, len = expand(k, &b, name);
		uint64_t value = 0;

		if (len < 0)
			return len;
		if (k->wide)
			memcpy(&value, offsets + 8 * (size_t)i, 8);
		else
			memcpy(&value, offsets + 4 * (size_t)i, 4);
		ret = ram_symbols_add(s, value, name, (size_t)len, budget);
		if (ret)
			return ret;
		if (*stext == UINT32_MAX && !strcmp(name, "_stext"))
			*stext = i;
	}
	return 0;
}

static uint64_t signed_address(const struct kallsyms *k, uint64_t v)
{
	int32_t off = (int32_t)(uint32_t)v;

	return off >= 0 ? (uint64_t)off : k->base - 1 - (uint64_t)(int64_t)off;
}

static int to_addresses(struct kallsyms *k, struct ram_symbols *s, uint32_t i)
{
	bool plain, neg;

	if (i == UINT32_MAX)
		return -EBADMSG;
	if (k->wide)
		return s->sym[i].addr == k->stext ? 0 : -EBADMSG;
	plain = k->base + s->sym[i].addr == k->stext;
	neg = signed_address(k, s->sym[i].addr) == k->stext;
	if (!plain && !neg)
		return -EBADMSG;
	for (i = 0; i < s->nr; i++) {
		struct ram_symbol *sym = &s->sym[i];

		sym->addr = plain ? k->base + sym->addr
				  : signed_address(k, sym->addr);
	}
	return 0;
}

static int load_all(struct kallsyms *k, struct ram_symbols *s)
{
	size_t size = (size_t)k->nr * (k->wide ? 8 : 4);
	uint8_t *offsets = NULL;
	int64_t len = ram_read_upto(k->ram, k->offsets, size, &offsets);
	uint32_t stext;
	int ret;

	if (len < 0)
		return (int)len;
	ret = (size_t)len == size ? load_names(k, s, offsets, &stext) : -EFAULT;
	free(offsets);
	return ret ? ret : to_addresses(k, s, stext);
}

int ram_kallsyms_load(struct dlog_ram *ram, struct ram_symbols *s)
{
	struct kallsyms k = { .ram = ram };
	uint64_t table, index;
	int ret = find_tables(&k, &table, &index);

	if (ret)
		return ret;
	ret = load_tokens(&k, table, index);
	if (!ret)
		ret = load_all(&k, s);
	free(k.text);
	if (!ret) {
		ram_symbols_sort(s);
		return 0;
	}
	ram_symbols_free(s);
	if (ret == -ENOMEM)
		return ram_fail(ram, ret, "No memory for the symbols.");
	return ram_fail(ram, -ENXIO,
			"The guest's table of symbols is damaged: "
			"give the vmlinux of its kernel.");
}
