// SPDX-License-Identifier: GPL-2.0-only
/*
 * exec.c - probes on execution: a callback before each instruction that one
 * of them names.
 *
 * The callback's argument says which probe it is and where: it is the same
 * for each translation of the same place, and stays until QEMU ends.  So a
 * wide range in a guest that runs ever new code has an end: PLACES_MAX.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "probe.h"

#define PLACES_MAX (1u << 20)
#define BUCKETS_MIN 1024u /* power of two */

struct place {
	struct place *next;
	struct probe *probe;
	uint64_t pc;
	uint64_t left; /* instructions from this one to the block's end */
};

static struct {
	pthread_mutex_t lock;
	struct place **buckets;
	uint32_t nr_buckets; /* power of two */
	uint32_t nr; /* places */
	bool told; /* that there is no room */
} places = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
};

int exec_check(struct probe *p)
{
	(void)p; /* every version can */
	return 0;
}

static struct place **bucket_of(const struct probe *p, uint64_t pc,
				uint64_t left)
{
	uint64_t hash = (pc ^ left << 20 ^ (uintptr_t)p) * 0x9e3779b97f4a7c15;

	return &places.buckets[hash >> 32 & (places.nr_buckets - 1)];
}

/* As many buckets as places; without memory for that lists get longer. */
static void grow(void)
{
	uint32_t old = places.nr_buckets, nr = old ? 2 * old : BUCKETS_MIN;
	struct place **from = places.buckets;
	struct place **to = calloc(nr, sizeof(struct place *));

	if (!to)
		return;
	places.buckets = to;
	places.nr_buckets = nr;
	for (uint32_t i = 0; i < old; i++) {
		while (from[i]) {
			struct place *place = from[i];
			struct place **bucket =
				bucket_of(place->probe, place->pc, place->left);

			from[i] = place->next;
			place->next = *bucket;
			*bucket = place;
		}
	}
	free(from);
}

/* NULL: there is no room. */
static struct place *place_add(struct probe *p, uint64_t pc, uint64_t left)
{
	struct place *place = NULL, **bucket;

	if (places.nr < PLACES_MAX && places.nr_buckets)
		place = malloc(sizeof(*place));
	if (place) {
		bucket = bucket_of(p, pc, left);
		*place = (struct place){ *bucket, p, pc, left };
		*bucket = place;
		places.nr++;
	} else if (!places.told) {
		places.told = true;
		record_say(
			3,
			"no room for more places of probes than %u: %s (%s:%u), and others, miss hits from now on",
			places.nr, p->name, p->file, p->line);
	}
	return place;
}

static struct place *find_place(struct probe *p, uint64_t pc, uint64_t left)
{
	struct place *place = NULL;

	pthread_mutex_lock(&places.lock);
	if (places.nr >= places.nr_buckets)
		grow();
	if (places.nr_buckets)
		place = *bucket_of(p, pc, left);
	while (place &&
	       (place->probe != p || place->pc != pc || place->left != left))
		place = place->next;
	if (!place)
		place = place_add(p, pc, left);
	pthread_mutex_unlock(&places.lock);
	return place;
}

static void on_exec(unsigned int vcpu, void *arg)
{
	const struct place *place = arg;
	struct hit h = {
		.vcpu = vcpu,
		.pc = place->pc,
		.executed = count_executed(vcpu),
	};

	if (h.executed != UINT64_MAX)
		h.executed -= place->left;
	probe_hit(place->probe, &h);
}

static void put_probe(const struct block *b, struct probe *p, uint64_t from,
		      uint64_t to)
{
	for (size_t i = 0; i < b->n; i++) {
		struct qemu_plugin_insn *insn = api.tb_get_insn(b->tb, i);
		uint64_t pc = api.insn_vaddr(insn);
		struct place *place;

		if (pc < from || pc > to)
			continue;
		place = find_place(p, pc, b->n - i);
		if (place)
			api.register_vcpu_insn_exec_cb(
				insn, on_exec,
				p->needs_registers ? QEMU_PLUGIN_CB_R_REGS
						   : QEMU_PLUGIN_CB_NO_REGS,
				place);
	}
}

void exec_translate(const struct block *b)
{
	/* Blocks go up in addresses, without gaps. */
	uint64_t last = api.insn_vaddr(api.tb_get_insn(b->tb, b->n - 1));

	for (unsigned int i = 0; i < nr_probes; i++) {
		struct probe *p = &probes[i];
		uint64_t from, to;

		if (p->kind == PROBE_EXEC && probe_place(p, &from, &to) &&
		    from <= last && to >= b->pc)
			put_probe(b, p, from, to);
	}
}
