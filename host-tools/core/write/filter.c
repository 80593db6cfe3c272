// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * filter.c - which pages the kernel itself needs, by its struct page.
 *
 * Left out is what makedumpfile -d 31 leaves out: free pages (buddy), the page
 * cache, pages of user space (anonymous and hugetlb), and pages that are
 * poisoned or given back to the host.  VMCOREINFO says where in struct page,
 * and by which numbers, the kernel marks them; struct pages lie in one virtual
 * array (SPARSEMEM_VMEMMAP, all that x86-64 has).
 *
 * Follows Linux v6.1 and v6.12: include/linux/mm_types.h, page-flags.h,
 * Documentation/admin-guide/kdump/vmcoreinfo.rst.  Whatever a struct page
 * says decides only whether pages are kept; one that cannot be read is kept
 * with its page.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../core.h"
#include "newfile.h"

#define STRUCTS 64u /* read at once: a page of them, mostly */
#define STRUCT_MAX 256u
#define ORDER_MAX 18u /* 1 GiB; the buddy allocator ends far below */
#define MAPPING_ANON 1u /* PAGE_MAPPING_ANON */
#define TAIL 1u /* in compound_head */

/* A name of VMCOREINFO; known: it is there. */
struct number {
	bool known;
	uint64_t value;
};

struct layout {
	struct dlog_ram *ram;
	uint64_t vmemmap;
	struct number size, flags, mapping, mapcount, private, compound_head;
	struct number compound_dtor, hugetlb_dtor; /* up to 6.5 */
	struct number pg_lru, pg_swapcache, pg_swapbacked, pg_slab, pg_hwpoison;
	struct number pg_hugetlb; /* 6.6 to 6.8 */
	struct number head_mask, buddy, offline, hugetlb, slab;
};

enum kind { KEPT, FREE, CACHE, USER, GONE };

static void number(struct layout *l, const char *name, struct number *n)
{
	n->known = dlog_ram_vmcoreinfo_get(l->ram, name, &n->value) == 1;
}

static int layout_load(struct layout *l, struct dlog_error *err)
{
	struct dlog_ram_kernel k;
	struct number *const offsets[] = { &l->flags, &l->mapping, &l->mapcount,
					   &l->private, &l->compound_head };

	dlog_ram_get_kernel(l->ram, &k);
	l->vmemmap = k.vmemmap;
	number(l, "SIZE(page)", &l->size);
	number(l, "OFFSET(page.flags)", &l->flags);
	number(l, "OFFSET(page.mapping)", &l->mapping);
	number(l, "OFFSET(page._mapcount)", &l->mapcount);
	number(l, "OFFSET(page.private)", &l->private);
	number(l, "OFFSET(page.compound_head)", &l->compound_head);
	number(l, "OFFSET(page.compound_dtor)", &l->compound_dtor);
	number(l, "NUMBER(HUGETLB_PAGE_DTOR)", &l->hugetlb_dtor);
	number(l, "NUMBER(PG_lru)", &l->pg_lru);
	number(l, "NUMBER(PG_swapcache)", &l->pg_swapcache);
	number(l, "NUMBER(PG_swapbacked)", &l->pg_swapbacked);
	number(l, "NUMBER(PG_slab)", &l->pg_slab);
	number(l, "NUMBER(PG_hwpoison)", &l->pg_hwpoison);
	number(l, "NUMBER(PG_hugetlb)", &l->pg_hugetlb);
	number(l, "NUMBER(PG_head_mask)", &l->head_mask);
	number(l, "NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)", &l->buddy);
	number(l, "NUMBER(PAGE_OFFLINE_MAPCOUNT_VALUE)", &l->offline);
	number(l, "NUMBER(PAGE_HUGETLB_MAPCOUNT_VALUE)", &l->hugetlb);
	number(l, "NUMBER(PAGE_SLAB_MAPCOUNT_VALUE)", &l->slab);
	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		if (!offsets[i]->known || !l->size.known ||
		    l->size.value > STRUCT_MAX || l->size.value < 8 ||
		    offsets[i]->value > l->size.value - 8)
			goto no;
	}
	if (l->vmemmap && l->buddy.known && l->pg_lru.known)
		return 0;
no:
	return fail(err, -ENXIO,
		    "--kernel-only: the kernel's description of itself "
		    "(VMCOREINFO) does not say which pages are free or of "
		    "user space. Without that option the core has all.");
}

/* ---- one page ---- */

static uint64_t word(const uint8_t *page, const struct number *offset)
{
	uint64_t v;

	memcpy(&v, page + offset->value, sizeof(v));
	return v;
}

static bool flag(uint64_t flags, const struct number *bit)
{
	return bit->known && bit->value < 64 && flags >> bit->value & 1;
}

/*
 * Page types lie where mapped pages count how often: up to 6.10 bits that are
 * cleared, then a number in the top byte.
 */
static bool type(uint32_t mapcount, const struct number *n)
{
	uint32_t value = (uint32_t)n->value;

	if (!n->known)
		return false;
	return value & 0xffffff ? mapcount == value
				: mapcount >> 24 == value >> 24;
}

/* @next: the struct page behind it, or NULL. */
static bool is_hugetlb(const struct layout *l, const uint8_t *page,
		       const uint8_t *next, uint32_t mapcount)
{
	if (type(mapcount, &l->hugetlb))
		return true;
	if (!next || !l->head_mask.known ||
	    !(word(page, &l->flags) & l->head_mask.value))
		return false;
	if (flag(word(next, &l->flags), &l->pg_hugetlb))
		return true;
	return l->compound_dtor.known && l->hugetlb_dtor.known &&
	       l->compound_dtor.value < l->size.value &&
	       next[l->compound_dtor.value] == l->hugetlb_dtor.value;
}

/* Of a page that is no tail of another; *@order is set if it is free. */
static enum kind kind_of(const struct layout *l, const uint8_t *page,
			 const uint8_t *next, uint32_t *order)
{
	uint64_t flags = word(page, &l->flags);
	uint64_t mapping = word(page, &l->mapping);
	uint32_t mapcount = (uint32_t)word(page, &l->mapcount);
	uint64_t private = word(page, &l->private);

	if (flag(flags, &l->pg_slab) || type(mapcount, &l->slab))
		return KEPT;
	if (type(mapcount, &l->buddy)) {
		if (private > ORDER_MAX)
			return KEPT;
		*order = (uint32_t) private;
		return FREE;
	}
	if (mapping & MAPPING_ANON)
		return USER;
	if (flag(flags, &l->pg_lru) ||
	    (flag(flags, &l->pg_swapcache) && flag(flags, &l->pg_swapbacked)))
		return CACHE;
	if (is_hugetlb(l, page, next, mapcount))
		return USER;
	if (flag(flags, &l->pg_hwpoison) || type(mapcount, &l->offline))
		return GONE;
	return KEPT;
}

/* ---- all pages ---- */

struct walk {
	struct layout l;
	struct filter *f;
	uint8_t buf[(STRUCTS + 1) * STRUCT_MAX];
	uint64_t head; /* address of the head that was looked at last */
	enum kind head_kind;
	uint64_t free_left; /* pages of a free block that are still to come */
};

/* A tail is what its head is. */
static enum kind kind_of_tail(struct walk *w, uint64_t head)
{
	uint8_t both[2 * STRUCT_MAX];
	size_t size = w->l.size.value;
	uint32_t order;

	if (head == w->head)
		return w->head_kind;
	w->head = head;
	w->head_kind = KEPT;
	if (!dlog_ram_read(w->l.ram, head, both, 2 * size) &&
	    !(word(both, &w->l.compound_head) & TAIL))
		w->head_kind = kind_of(&w->l, both, both + size, &order);
	/* The tails of a free page are none. */
	if (w->head_kind == FREE)
		w->head_kind = KEPT;
	return w->head_kind;
}

static enum kind kind_next(struct walk *w, const uint8_t *page,
			   const uint8_t *next)
{
	uint64_t head = word(page, &w->l.compound_head);
	uint32_t order = 0;
	enum kind kind;

	if (w->free_left) {
		w->free_left--;
		return FREE;
	}
	if (head & TAIL)
		return kind_of_tail(w, head - TAIL);
	kind = kind_of(&w->l, page, next, &order);
	if (kind == FREE)
		w->free_left = (UINT64_C(1) << order) - 1;
	return kind;
}

static void count(struct filter *f, enum kind kind)
{
	f->kept += kind == KEPT;
	f->free += kind == FREE || kind == GONE;
	f->cache += kind == CACHE;
	f->user += kind == USER;
}

/* @n pages from frame @pfn on, which are @first and up of range @i. */
static void look_at(struct walk *w, size_t i, uint64_t first, uint64_t pfn,
		    size_t n)
{
	size_t size = w->l.size.value;
	uint64_t addr = w->l.vmemmap + pfn * size;
	const uint8_t *page = w->buf;
	bool behind = !dlog_ram_read(w->l.ram, addr, w->buf, (n + 1) * size);

	if (!behind && dlog_ram_read(w->l.ram, addr, w->buf, n * size)) {
		w->free_left = 0;
		memset(w->buf, 0, n * size); /* so they are kept */
	}
	for (size_t k = 0; k < n; k++, page += size) {
		bool next = behind || k + 1 < n;
		enum kind kind = kind_next(w, page, next ? page + size : NULL);
		uint64_t at = first + k;

		count(w->f, kind);
		if (kind == KEPT)
			w->f->keep[i][at / 64] |= UINT64_C(1) << at % 64;
	}
}

static int look_at_range(struct walk *w, size_t i, const struct plan_part *r,
			 struct dlog_error *err)
{
	uint64_t pages = r->size / PAGE;

	w->f->keep[i] = calloc(pages / 64 + 1, sizeof(uint64_t));
	if (!w->f->keep[i])
		return fail(err, -ENOMEM, "No memory for a map of the pages.");
	w->free_left = 0;
	for (uint64_t p = 0; p < pages; p += STRUCTS) {
		if (newfile_signal())
			return fail(err, -EINTR, "Interrupted.");
		look_at(w, i, p, r->phys / PAGE + p,
			pages - p < STRUCTS ? pages - p : STRUCTS);
	}
	return 0;
}

int filter_make(struct filter *f, struct dlog_ram *ram, const struct plan *p,
		struct dlog_error *err)
{
	struct walk *w = calloc(1, sizeof(*w));
	int ret;

	if (!w)
		return fail(err, -ENOMEM, "No memory for a map of the pages.");
	w->l.ram = ram;
	w->f = f;
	ret = layout_load(&w->l, err);
	if (!ret) {
		f->keep = calloc(p->nr_ram + 1, sizeof(*f->keep));
		f->nr = p->nr_ram;
		if (!f->keep)
			ret = fail(err, -ENOMEM,
				   "No memory for a map of the pages.");
	}
	for (size_t i = 0; !ret && i < p->nr_ram; i++)
		ret = look_at_range(w, i, &p->ram[i], err);
	free(w);
	return ret;
}

void filter_free(struct filter *f)
{
	for (size_t i = 0; f->keep && i < f->nr; i++)
		free(f->keep[i]);
	free(f->keep);
	memset(f, 0, sizeof(*f));
}
