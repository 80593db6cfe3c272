// SPDX-License-Identifier: GPL-2.0-only
/*
 * hit.c - from a hit to its record: conditions, limits, fields.
 *
 * A line's fields are computed from left to right.  Behind the last condition
 * it is decided whether the hit counts and whether it is recorded, so that
 * what is only recorded costs nothing otherwise.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "probe.h"

#define HEAD_MAX 64u /* bytes before the fields of the line */
#define RECORD_MAX 16384u
#define TYPES_MAX 4096u /* text that declares an event */
#define PRI_INFO 6u
#define PRI_MAX 4095u

/* What one vCPU's callback works with. */
static struct scratch {
	struct scene scene;
	uint8_t record[RECORD_MAX];
} * scratch;

int hit_start(void)
{
	scratch = calloc(plugin.nr_vcpus, sizeof(*scratch));
	if (scratch)
		return 0;
	tell("no memory for the records of %u vCPUs", plugin.nr_vcpus);
	return -ENOMEM;
}

/* Can anything of a record be unknown? */
static bool may_be_unread(const struct probe *p)
{
	return p->needs_registers || p->needs_memory || p->needs_value ||
	       p->needs_physical || p->may_fail || p->has_value;
}

/* ---- the event type ---- */

/* The same order as in write_head(). */
static int declare_head(const struct probe *p, char *text, size_t room)
{
	return snprintf(text, room, "u32 vcpu;x64 pc;%su64 hit;%s%s%s",
			count_known() ? "u64 executed;" : "",
			p->kind == PROBE_EXEC ? ""
					      : "x64 address;u8 size;u8 write;",
			p->has_value ? "x64 value;" : "",
			may_be_unread(p) ? "x32 unread;" : "");
}

/* The fields of a record, as the catalog has them. */
static int describe(const struct probe *p, char text[static TYPES_MAX])
{
	size_t at = (size_t)declare_head(p, text, TYPES_MAX);

	for (unsigned int i = 0; i < p->nr_fields; i++) {
		const struct probe_field *f = &p->fields[i];

		if (f->use != FIELD_RECORDED)
			continue;
		at += (size_t)snprintf(text + at, TYPES_MAX - at, "%s %s;",
				       f->type, f->name);
		if (at >= TYPES_MAX)
			return probe_error(
				p, "the names of its fields are too long");
	}
	text[at - 1] = 0; /* the last ; */
	return 0;
}

int hit_check(const struct probe *p)
{
	char text[TYPES_MAX];

	return p->as_text ? 0 : describe(p, text);
}

int hit_declare(struct probe *p)
{
	char text[TYPES_MAX], name[128];
	int ret;

	if (p->as_text)
		return 0;
	ret = describe(p, text);
	if (ret)
		return ret;
	snprintf(name, sizeof(name), "probe:%s", p->name);
	p->id = record_event_type(name, text);
	return p->id < 0 ? p->id : 0;
}

/* ---- limits ---- */

/* Is there room for one more in this second? */
static bool rate_allows(struct probe *p)
{
	uint64_t second = record_now() / 1000000000;
	uint64_t old = __atomic_load_n(&p->window, __ATOMIC_RELAXED);
	uint64_t now;

	do {
		now = old >> 32 == second ? old + 1 : second << 32 | 1;
		if ((uint32_t)now > p->rate)
			return false;
	} while (!__atomic_compare_exchange_n(&p->window, &old, now, true,
					      __ATOMIC_RELAXED,
					      __ATOMIC_RELAXED));
	return true;
}

static bool limit_allows(struct probe *p)
{
	uint64_t old = __atomic_load_n(&p->recorded, __ATOMIC_RELAXED);

	do {
		if (old >= p->limit)
			return false;
	} while (!__atomic_compare_exchange_n(&p->recorded, &old, old + 1, true,
					      __ATOMIC_RELAXED,
					      __ATOMIC_RELAXED));
	return true;
}

/* Counts it: its number, or 0 if it is not to be recorded. */
static uint64_t count_hit(struct probe *p)
{
	uint64_t n = __atomic_add_fetch(&p->hits, 1, __ATOMIC_RELAXED);

	if (p->quiet || n % p->every)
		return 0;
	/* What is not recorded uses up no limit. */
	if (record_stopped())
		return 0;
	/* A full probe shall not use up what others' rate would allow. */
	if (__atomic_load_n(&p->recorded, __ATOMIC_RELAXED) >= p->limit)
		return 0;
	if (p->rate && !rate_allows(p))
		return 0;
	return limit_allows(p) ? n : 0;
}

/* ---- the record ---- */

static uint8_t *put(uint8_t *at, uint64_t value, unsigned int size)
{
	for (unsigned int i = 0; i < size; i++)
		at[i] = (uint8_t)(value >> 8 * i);
	return at + size;
}

/* Returns how long it is; *@unread: where that goes, NULL: nowhere. */
static size_t write_head(const struct probe *p, const struct hit *h, uint64_t n,
			 uint8_t *record, uint8_t **unread)
{
	uint8_t *at = put(record, h->vcpu, 4);

	at = put(at, h->pc, 8);
	if (count_known())
		at = put(at, h->executed, 8);
	at = put(at, n, 8);
	if (p->kind != PROBE_EXEC) {
		at = put(at, h->address, 8);
		at = put(at, h->size, 1);
		at = put(at, h->store, 1);
	}
	if (p->has_value)
		at = put(at, h->has_value ? h->value : 0, 8);
	*unread = may_be_unread(p) ? at : NULL;
	if (*unread)
		at = put(at, 0, 4);
	return (size_t)(at - record);
}

/* Bytes that the numbers from field @i on will take, and texts at the least. */
static size_t size_of_rest(const struct probe *p, unsigned int i)
{
	size_t size = 0;

	for (; i < p->nr_fields; i++)
		if (p->fields[i].use == FIELD_RECORDED)
			size += p->fields[i].size ? p->fields[i].size : 2;
	return size;
}

/* Field @i of text: its length and its bytes; what does not fit is cut off. */
static size_t write_text(const struct probe *p, struct scene *s, unsigned int i,
			 uint8_t *at, size_t room)
{
	size_t rest = size_of_rest(p, i + 1) + 2;
	int len = -EFAULT;

	if (room >= rest)
		len = expr_text(p->fields[i].value, s, at + 2, room - rest);
	if (len < 0) {
		s->unread |= 1ull << i;
		len = 0;
	}
	put(at, (uint64_t)len, 2);
	return 2 + (size_t)len;
}

static void number(const struct probe *p, struct scene *s, unsigned int i)
{
	if (expr_value(p->fields[i].value, s, &s->values[i]))
		return;
	s->values[i] = 0;
	s->unread |= 1ull << i;
}

/* Conditions and what they are computed from: is it a hit? */
static bool decide(const struct probe *p, struct scene *s)
{
	for (unsigned int i = 0; i < p->decided; i++) {
		if (expr_text_type(p->fields[i].value))
			continue; /* later: nothing is computed from it */
		number(p, s, i);
		if (p->fields[i].use == FIELD_CONDITION && !s->values[i])
			return false;
	}
	return true;
}

static void record_hit(struct probe *p, struct scene *s, uint64_t n,
		       uint8_t *record)
{
	size_t room = record_max() < RECORD_MAX ? record_max() : RECORD_MAX;
	uint32_t mask = 0, bit = 1;
	uint8_t *unread;
	size_t at = write_head(p, s->hit, n, record, &unread);

	for (unsigned int i = 0; i < p->nr_fields; i++) {
		const struct probe_field *f = &p->fields[i];
		bool text = expr_text_type(f->value);

		if (i >= p->decided && !text)
			number(p, s, i);
		if (f->use != FIELD_RECORDED)
			continue;
		if (text)
			at += write_text(p, s, i, record + at, room - at);
		else
			at = (size_t)(put(record + at, s->values[i], f->size) -
				      record);
		if (s->unread >> i & 1)
			mask |= bit;
		bit <<= 1;
	}
	if (p->has_value && !s->hit->has_value)
		mask |= VALUE_UNREAD;
	if (unread)
		put(unread, mask, 4);
	record_event(s->hit->vcpu, p->id, record, at);
}

/* "[    1.234567] ", as the kernel writes it. */
static size_t write_stamp(uint8_t *at, uint64_t ns)
{
	return (size_t)snprintf((char *)at, 40, "[%5llu.%06llu] ",
				(unsigned long long)(ns / 1000000000),
				(unsigned long long)(ns / 1000 % 1000000));
}

static void record_as_text(const struct probe *p, struct scene *s,
			   uint8_t *record)
{
	size_t room = record_max() < RECORD_MAX ? record_max() : RECORD_MAX;
	const struct expr *text = NULL;
	uint64_t pri = PRI_INFO;
	size_t at = 0;
	int len;

	for (unsigned int i = 0; i < p->nr_fields; i++) {
		const struct probe_field *f = &p->fields[i];

		if (expr_text_type(f->value)) {
			text = f->value;
			continue;
		}
		if (i >= p->decided)
			number(p, s, i);
		if (f->use != FIELD_RECORDED || s->unread >> i & 1)
			continue;
		if (!strcmp(f->name, "pri"))
			pri = s->values[i] & PRI_MAX;
		else
			at = write_stamp(record, s->values[i]);
	}
	len = expr_text(text, s, record + at, room - at);
	if (len < 0)
		len = snprintf((char *)record + at, room - at,
			       "(this text cannot be read)");
	record_text(s->hit->vcpu, (uint32_t)pri, record, at + (size_t)len);
}

void probe_hit(struct probe *p, const struct hit *h)
{
	struct scratch *sc = &scratch[h->vcpu];
	uint64_t n;

	sc->scene.hit = h;
	sc->scene.probe = p;
	sc->scene.unread = 0;
	if (!decide(p, &sc->scene))
		return;
	n = count_hit(p);
	if (!n)
		return;
	if (p->as_text)
		record_as_text(p, &sc->scene, sc->record);
	else
		record_hit(p, &sc->scene, n, sc->record);
}
