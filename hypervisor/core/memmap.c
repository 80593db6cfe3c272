// SPDX-License-Identifier: GPL-2.0-only
/*
 * memmap.c - who owns which memory, and dlog-hv's own few pages.
 *
 * A map is a sorted list of ranges that do not overlap; memory it does not
 * name is not RAM.
 */
#include "hv.h"

#define ARENA_PAGES 768

struct mem_map guest_map, free_map;

static u8 arena[ARENA_PAGES * PAGE] __attribute__((aligned(4096)));
static u32 arena_used;

void *page_alloc(u32 pages)
{
	u8 *p = arena + arena_used * PAGE;

	if (pages > ARENA_PAGES - arena_used)
		return NULL;
	arena_used += pages;
	return memset(p, 0, pages * PAGE);
}

static void insert(struct mem_map *m, u32 at, u64 start, u64 end, u32 type)
{
	if (start >= end)
		return;
	for (u32 i = m->n++; i > at; i--)
		m->r[i] = m->r[i - 1];
	m->r[at] = (struct mem_range){ start, end, type };
}

static void merge(struct mem_map *m)
{
	u32 n = 0;

	for (u32 i = 1; i < m->n; i++) {
		if (m->r[i].start == m->r[n].end &&
		    m->r[i].type == m->r[n].type)
			m->r[n].end = m->r[i].end;
		else
			m->r[++n] = m->r[i];
	}
	m->n = m->n ? n + 1 : 0;
}

int mem_set(struct mem_map *m, u64 start, u64 end, u32 type)
{
	u32 i = 0;

	if (start >= end)
		return 0;
	/* One range may be cut in two, and the new one comes. */
	if (m->n + 2 > MEM_RANGES)
		return hv_fail(ENOSPC, "The memory map has too many ranges.");
	while (i < m->n) {
		struct mem_range r = m->r[i];

		if (r.end <= start || r.start >= end) {
			i++;
			continue;
		}
		for (u32 k = i; k + 1 < m->n; k++)
			m->r[k] = m->r[k + 1];
		m->n--;
		if (r.start < start)
			insert(m, i++, r.start, start, r.type);
		if (r.end > end)
			insert(m, i++, end, r.end, r.type);
	}
	for (i = 0; i < m->n && m->r[i].start < start; i++)
		;
	insert(m, i, start, end, type);
	merge(m);
	return 0;
}

bool mem_is(const struct mem_map *m, u64 start, u64 end, u32 type)
{
	for (u32 i = 0; i < m->n; i++)
		if (m->r[i].type == type && m->r[i].start <= start &&
		    m->r[i].end >= end)
			return true;
	return false;
}

u64 mem_find(u64 size, u64 align, u64 min, u64 max)
{
	for (u32 i = 0; i < free_map.n; i++) {
		const struct mem_range *r = &free_map.r[i];
		u64 at = ALIGN_UP(r->start < min ? min : r->start, align);
		u64 end = r->end < max ? r->end : max;

		if (r->type == MEM_RAM && at && at < end && end - at >= size)
			return at;
	}
	return 0;
}
