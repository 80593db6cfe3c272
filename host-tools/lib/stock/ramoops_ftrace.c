// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * ramoops_ftrace.c - calls that pstore's ftrace front end recorded.
 *
 * Follows fs/pstore/ftrace.c and struct pstore_ftrace_record of
 * include/linux/pstore.h, Linux 5.10 to 6.12, of 64-bit kernels: three le64,
 * the function, its caller, and a stamp with the CPU in its low 8 bits.  The
 * stamp is no time, it counts the calls of all CPUs since boot; lines go in
 * its order and have time 0.
 *
 * Each CPU has a zone, written without a lock.  It is not emptied at boot:
 * where the stamp steps back a new boot begins.  Records are 24 bytes and end
 * at the write pointer, so in a ring that was full the first one is cut.  If
 * the last one is older than the one before it, it is not written yet and
 * what lies there is of the lap before.
 */
#include <stdio.h>
#include <stdlib.h>

#include "stock/ramoops.h"

#define RECORD 24u
#define TEXT 48u

struct call {
	uint64_t ip, parent, stamp;
	uint8_t doubt;
	bool older;
};

struct calls {
	struct call *v;
	size_t nr;
};

static bool is_kernel(uint64_t address)
{
	return address >> 47 == 0x1ffff;
}

static struct call call_at(const uint8_t *p)
{
	return (struct call){ .ip = dlog_load64(p),
			      .parent = dlog_load64(p + 8),
			      .stamp = dlog_load64(p + 16) };
}

static bool call_valid(const struct call *c)
{
	return is_kernel(c->ip) && is_kernel(c->parent);
}

/* Where records begin if nothing says it: where most make sense. */
static uint32_t guess_phase(const uint8_t *p, uint32_t len)
{
	uint32_t best = 0, most = 0;

	for (uint32_t phase = 0; phase < RECORD; phase++) {
		uint32_t n = 0;

		for (uint32_t at = phase; at + RECORD <= len; at += RECORD) {
			struct call c = call_at(p + at);

			n += call_valid(&c);
		}
		if (n > most) {
			most = n;
			best = phase;
		}
	}
	return best;
}

/* Those before the last step back are of boots before. */
static void mark_older(struct call *v, size_t nr)
{
	size_t i = nr;

	while (i > 1 && v[i - 1].stamp >= v[i - 2].stamp)
		i--;
	for (i = i > 1 ? i - 1 : 0; i--;)
		v[i].older = true;
}

static int zone_calls(struct ramoops *r, const struct zone *z,
		      struct calls *out)
{
	bool wrapped = !z->lost && z->fill == z->room;
	uint32_t len = z->lost ? z->room : z->fill, at;
	struct call *v = out->v + out->nr;
	struct span s;
	size_t nr = 0;
	int ret = z->lost ? ramoops_turn(r, z, 0, 0, len, &s)
			  : ramoops_ring(r, z, len, &s);

	if (ret)
		return ret;
	len = s.len;
	at = z->lost ? guess_phase(s.p, len) : wrapped ? len % RECORD : 0;
	for (; at + RECORD <= len; at += RECORD) {
		struct call c = call_at(s.p + at);

		if (!call_valid(&c))
			continue;
		if (z->lost)
			c.doubt = DLOG_DOUBT_SALVAGED;
		if (span_is_bad(&s, at, RECORD))
			c.doubt = DLOG_DOUBT_TORN;
		v[nr++] = c;
	}
	if (nr > 1 && wrapped && v[nr - 1].stamp < v[nr - 2].stamp &&
	    (nr < 3 || v[nr - 2].stamp > v[0].stamp)) {
		v[nr - 1].doubt = DLOG_DOUBT_STALE;
		mark_older(v, nr - 1);
	} else if (!z->lost) {
		mark_older(v, nr);
	}
	out->nr += nr;
	return 0;
}

static int call_order(const void *a, const void *b)
{
	const struct call *x = a, *y = b;

	if (x->older != y->older)
		return x->older ? -1 : 1;
	return x->stamp < y->stamp ? -1 : x->stamp > y->stamp;
}

static int add_calls(struct ramoops *r, const struct calls *c)
{
	uint8_t *text = ramoops_buffer(r, c->nr * TEXT + 1);

	if (!text)
		return -ENOMEM;
	for (size_t i = 0; i < c->nr; i++) {
		const struct call *v = &c->v[i];
		struct line line = {
			.text = text + i * TEXT,
			.position = (v->older ? 0 : UINT64_C(1) << 56) +
				    (v->stamp >> 8),
			.level = 7,
			.doubt = v->doubt,
			.older = v->older,
		};
		int ret;

		line.len = (uint32_t)snprintf((char *)text + i * TEXT, TEXT,
					      "cpu:%u %llx <- %llx",
					      (unsigned int)(v->stamp & 0xff),
					      (unsigned long long)v->ip,
					      (unsigned long long)v->parent);
		ret = ramoops_add(&r->lines[ZONE_FTRACE], &line);
		if (ret)
			return ret;
	}
	return 0;
}

int ramoops_read_ftrace(struct ramoops *r)
{
	struct calls c = { 0 };
	size_t most = 0;
	int ret = 0;

	for (uint32_t i = 0; i < r->nr; i++)
		if (r->zone[i].type == ZONE_FTRACE)
			most += r->zone[i].room / RECORD;
	if (!most)
		return 0;
	c.v = malloc(most * sizeof(*c.v));
	if (!c.v)
		return -ENOMEM;
	for (uint32_t i = 0; !ret && i < r->nr; i++)
		if (r->zone[i].type == ZONE_FTRACE)
			ret = zone_calls(r, &r->zone[i], &c);
	if (!ret && c.nr) {
		qsort(c.v, c.nr, sizeof(*c.v), call_order);
		ret = add_calls(r, &c);
	}
	free(c.v);
	return ret;
}
