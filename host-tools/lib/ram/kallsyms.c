// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * kallsyms.c - the kernel's table of its own symbols, in guest memory or in a
 * vmlinux (image_symbols.c).
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
#define BUCKET 16u /* symbols that are looked through one by one */

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
	s->sym[s->nr++] = (struct ram_symbol){
		.addr = addr,
		.name = s->names_len,
		.type = '?',
	};
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

static void names_forget(struct ram_symbols *s)
{
	free(s->by_name);
	free(s->bucket);
	s->by_name = s->bucket = NULL;
}

void ram_symbols_sort(struct ram_symbols *s)
{
	for (uint32_t i = 1; i < s->nr; i++)
		if (s->sym[i].addr < s->sym[i - 1].addr) {
			qsort(s->sym, s->nr, sizeof(*s->sym), symbol_order);
			break;
		}
	names_forget(s);
}

void ram_symbols_free(struct ram_symbols *s)
{
	free(s->sym);
	free(s->names);
	names_forget(s);
	memset(s, 0, sizeof(*s));
}

static const char *name_of(const struct ram_symbols *s, uint32_t i)
{
	return s->names + s->sym[s->by_name[i]].name;
}

static int name_order(const void *a, const void *b, void *arg)
{
	const struct ram_symbols *s = arg;
	uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
	int cmp = strcmp(s->names + s->sym[i].name, s->names + s->sym[j].name);

	return cmp ? cmp : i < j ? -1 : i > j;
}

/* FNV-1a: http://www.isthe.com/chongo/tech/comp/fnv */
static uint32_t name_hash(const char *name)
{
	uint32_t h = 2166136261u;

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 16777619u;
	return h ^ h >> 15;
}

/* Where those of hash @h begin; behind the last one of all where they end. */
static uint32_t bucket_at(const struct ram_symbols *s, uint32_t h)
{
	return h ? s->bucket[h - 1] : 0;
}

/*
 * Few names are asked for, and to order all of them by strcmp() takes longer
 * than to read them.  So they are put into buckets, as they come; only a
 * bucket that somebody filled on purpose is put in order.
 */
static int sort_names(struct ram_symbols *s)
{
	uint32_t n = 1, at = 0;

	if (s->by_name || !s->nr)
		return 0;
	while (n < s->nr)
		n *= 2;
	s->by_name = malloc(s->nr * sizeof(*s->by_name));
	s->bucket = calloc(n, sizeof(*s->bucket));
	if (!s->by_name || !s->bucket) {
		names_forget(s);
		return -ENOMEM;
	}
	s->mask = n - 1;
	for (uint32_t i = 0; i < s->nr; i++) {
		s->sym[i].hash = name_hash(s->names + s->sym[i].name) & s->mask;
		s->bucket[s->sym[i].hash]++;
	}
	for (uint32_t h = 0; h < n; h++) {
		uint32_t len = s->bucket[h];

		s->bucket[h] = at;
		at += len;
	}
	/* That moves the begin of each to its end. */
	for (uint32_t i = 0; i < s->nr; i++)
		s->by_name[s->bucket[s->sym[i].hash]++] = i;
	for (uint32_t h = 0; h < n; h++) {
		uint32_t from = bucket_at(s, h), len = s->bucket[h] - from;

		if (len > BUCKET)
			qsort_r(s->by_name + from, len, sizeof(*s->by_name),
				name_order, s);
	}
	return 0;
}

int ram_symbols_find(struct ram_symbols *s, const char *name, uint64_t *addr)
{
	uint32_t low, high, h;
	int ret = sort_names(s);

	if (ret || !s->nr)
		return ret ? ret : -ENOENT;
	h = name_hash(name) & s->mask;
	low = bucket_at(s, h);
	high = s->bucket[h];
	while (high - low > BUCKET) {
		uint32_t mid = low + (high - low) / 2;

		if (strcmp(name_of(s, mid), name) < 0)
			low = mid + 1;
		else
			high = mid + 1;
	}
	for (; low < high; low++)
		if (!strcmp(name_of(s, low), name)) {
			*addr = s->sym[s->by_name[low]].addr;
			return 0;
		}
	return -ENOENT;
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
	const struct ram_kallsyms *k;
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
		if (b->k->read(b->k->arg, b->next, b->page, len))
			return -EFAULT;
		b->budget -= len;
		b->p = b->page;
		b->left = len;
		b->next += len;
	}
	b->left--;
	return *b->p++;
}

/* What names are made of. */
struct tokens {
	uint16_t at[256]; /* offsets in text */
	char *text;
	size_t len; /* the last byte is 0 */
};

/* 256 offsets of 16 bit into texts that end with NUL. */
static int load_tokens(const struct ram_kallsyms *k, struct tokens *t)
{
	size_t want = 65536 + RAM_SYMBOL_MAX;

	if (k->read(k->arg, k->index, t->at, sizeof(t->at)))
		return -EFAULT;
	t->text = malloc(want);
	if (!t->text)
		return -ENOMEM;
	/* Where the table ends is not known: what there is. */
	while (t->len < want) {
		size_t n = PAGE - (k->tokens + t->len) % PAGE;

		if (n > want - t->len)
			n = want - t->len;
		if (k->read(k->arg, k->tokens + t->len, t->text + t->len, n))
			break;
		t->len += n;
	}
	if (!t->len)
		return -EFAULT;
	t->text[t->len - 1] = 0;
	return 0;
}

/* The next name behind the letter of its type; its length or negative. */
static int expand(const struct tokens *t, struct bytes *b, char *type,
		  char *name)
{
	int len = next_byte(b), used = 0;

	*type = 0;
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
		if (t->at[c] >= t->len)
			return -EBADMSG;
		for (p = t->text + t->at[c]; *p; p++) {
			if (!*type)
				*type = *p;
			else if (used < (int)RAM_SYMBOL_MAX - 1)
				name[used++] = *p;
			else
				break;
		}
	}
	name[used] = 0;
	return used;
}

static int load_names(const struct ram_kallsyms *k, const struct tokens *t,
		      struct ram_symbols *s, const uint8_t *offsets,
		      uint32_t *stext)
{
	struct bytes b = { .k = k, .next = k->names, .budget = k->budget };
	char name[RAM_SYMBOL_MAX];

	*stext = UINT32_MAX;
	for (uint32_t i = 0; i < k->nr; i++) {
		char type;
		int ret, len = expand(t, &b, &type, name);
		uint64_t value = 0;

		if (len < 0)
			return len;
		if (k->wide)
			memcpy(&value, offsets + 8 * (size_t)i, 8);
		else
			memcpy(&value, offsets + 4 * (size_t)i, 4);
		ret = ram_symbols_add(s, value, name, (size_t)len, k->budget);
		if (ret)
			return ret;
		s->sym[s->nr - 1].type = type;
		if (*stext == UINT32_MAX && !strcmp(name, "_stext"))
			*stext = i;
	}
	return 0;
}

static uint64_t signed_address(const struct ram_kallsyms *k, uint64_t v)
{
	int32_t off = (int32_t)(uint32_t)v;

	return off >= 0 ? (uint64_t)off : k->base - 1 - (uint64_t)(int64_t)off;
}

static bool is_stext(const struct ram_kallsyms *k, uint64_t addr)
{
	return addr >= k->stext_min && addr <= k->stext_max;
}

static int to_addresses(const struct ram_kallsyms *k, struct ram_symbols *s,
			uint32_t i)
{
	bool plain, neg;

	if (i == UINT32_MAX)
		return -EBADMSG;
	if (k->wide)
		return is_stext(k, s->sym[i].addr) ? 0 : -EBADMSG;
	plain = is_stext(k, k->base + s->sym[i].addr);
	neg = is_stext(k, signed_address(k, s->sym[i].addr));
	if (!plain && !neg)
		return -EBADMSG;
	for (i = 0; i < s->nr; i++) {
		struct ram_symbol *sym = &s->sym[i];

		sym->addr = plain ? k->base + sym->addr
				  : signed_address(k, sym->addr);
	}
	return 0;
}

static int load_all(const struct ram_kallsyms *k, struct tokens *t,
		    struct ram_symbols *s)
{
	size_t size = (size_t)k->nr * (k->wide ? 8 : 4);
	uint8_t *offsets;
	uint32_t stext;
	int ret = load_tokens(k, t);

	if (ret)
		return ret;
	offsets = malloc(size);
	if (!offsets)
		return -ENOMEM;
	ret = k->read(k->arg, k->offsets, offsets, size);
	if (!ret)
		ret = load_names(k, t, s, offsets, &stext);
	free(offsets);
	return ret ? ret : to_addresses(k, s, stext);
}

int ram_kallsyms_decode(const struct ram_kallsyms *k, struct ram_symbols *s)
{
	struct tokens t = { .text = NULL };
	int ret = -EBADMSG;

	if (k->nr && k->nr <= SYMBOLS_MAX &&
	    k->nr <= k->budget / (k->wide ? 8 : 4))
		ret = load_all(k, &t, s);
	free(t.text);
	if (ret)
		ram_symbols_free(s);
	else
		ram_symbols_sort(s);
	return ret;
}

/* ---- in guest memory ---- */

static bool where(struct dlog_ram *ram, const char *name, uint64_t *addr)
{
	return dlog_ram_vmcoreinfo_get(ram, name, addr) == 1;
}

static int find_tables(struct dlog_ram *ram, struct ram_kallsyms *k)
{
	uint64_t nr_at, nr, base_at;

	if (!where(ram, "SYMBOL(kallsyms_names)", &k->names) ||
	    !where(ram, "SYMBOL(kallsyms_num_syms)", &nr_at) ||
	    !where(ram, "SYMBOL(kallsyms_token_table)", &k->tokens) ||
	    !where(ram, "SYMBOL(kallsyms_token_index)", &k->index) ||
	    !where(ram, "SYMBOL(_stext)", &k->stext_min))
		return ram_fail(ram, -ENXIO,
				"The guest's VMCOREINFO does not tell where "
				"its symbols are (Linux 6.0 and later do): "
				"give the vmlinux of its kernel.");
	k->stext_max = k->stext_min;
	k->wide = where(ram, "SYMBOL(kallsyms_addresses)", &k->offsets);
	if (!k->wide &&
	    (!where(ram, "SYMBOL(kallsyms_offsets)", &k->offsets) ||
	     !where(ram, "SYMBOL(kallsyms_relative_base)", &base_at)))
		return ram_fail(ram, -ENXIO,
				"The guest's symbols have a layout that is "
				"not known: give the vmlinux of its kernel.");
	if (ram_read_number(ram, nr_at, 4, &nr) ||
	    (!k->wide && ram_read_number(ram, base_at, 8, &k->base)))
		nr = 0; /* damaged */
	k->nr = (uint32_t)nr;
	return 0;
}

static int read_guest(void *arg, uint64_t addr, void *buf, size_t len)
{
	return dlog_ram_read(arg, addr, buf, len);
}

int ram_kallsyms_load(struct dlog_ram *ram, struct ram_symbols *s)
{
	struct ram_kallsyms k = {
		.read = read_guest,
		.arg = ram,
		.budget = ram_budget(ram),
	};
	int ret = find_tables(ram, &k);

	if (ret)
		return ret;
	ret = ram_kallsyms_decode(&k, s);
	if (!ret)
		return 0;
	if (ret == -ENOMEM)
		return ram_fail(ram, ret, "No memory for the symbols.");
	return ram_fail(ram, -ENXIO,
			"The guest's table of symbols is damaged: "
			"give the vmlinux of its kernel.");
}
