// SPDX-License-Identifier: GPL-2.0-only
/*
 * blocks.c - the black box: the blocks that each vCPU executed last.
 *
 * Each execution of a block is one call of put(): one store into the region
 * and one step of the hash.  The word to be stored is made at translation and
 * passed as the callback's argument.  A ring of its own for each vCPU, filled
 * by records of WORDS words (dlog_stream.h), the last of them open: it is
 * readable all the same, so that nothing is lost when QEMU is killed.
 *
 * A vCPU executes tens of millions of blocks in a second, and who hangs goes
 * round a loop: so loops are counted, that what came before is not overwritten.
 * Each block is compared with the one @lag before.  Where they differ the next
 * lag is tried, from 1 to DLOG_REPEAT_MAX in turn; where SAME blocks were the
 * same it is a loop of @lag blocks (or of a part of them), and from then on
 * one word (DLOG_REPEAT()) counts them, until one differs.  A loop has been
 * found when each lag was tried once, each for one round at the most.
 *
 * While the host has stopped recording no record is open, so that every block
 * comes to put_any(): what was open is settled by the first one, then they are
 * counted alone.  Loops are looked for anew afterwards.
 */
#include <errno.h>
#include <stdlib.h>

#include "dlog_stream.h"
#include "plugin.h"

#define WORDS 64u /* of a record: one count, 63 blocks */
#define LAST 64u /* blocks kept to compare with; a power of two */
#define SAME 32u /* blocks that make it a loop */

struct vcpu_blocks {
	struct dlog_stream stream;
	uint64_t executed;
	uint64_t count; /* blocks */
	uint64_t lag, same;
	bool stopped; /* and settled */
	struct dlog_ring *ring;
	uint32_t type;
	uint64_t last[LAST];
} __attribute__((aligned(128)));

static struct vcpu_blocks *vcpus;

/* What is open is full, or nothing is open. */
static void next_record(struct vcpu_blocks *v)
{
	record_guard_thread();
	dlog_stream_end(&v->stream);
	if (!dlog_stream_begin(&v->stream, v->ring, v->type, record_now(),
			       WORDS))
		dlog_stream_put(&v->stream, v->executed);
}

static bool has_room(const struct vcpu_blocks *v)
{
	return v->stream.at != v->stream.end;
}

/* Is the loop so long that it is counted? */
static bool in_loop(const struct vcpu_blocks *v)
{
	return v->same > SAME;
}

static uint64_t loop_word(const struct vcpu_blocks *v)
{
	return DLOG_REPEAT(v->lag, v->same - SAME);
}

static void remember(struct vcpu_blocks *v, uint64_t word)
{
	v->last[v->count++ % LAST] = word;
	v->executed += DLOG_BLOCK_INSNS(word);
}

/* The block differs from the one @lag before. */
static void next_lag(struct vcpu_blocks *v)
{
	v->same = 0;
	v->lag = v->lag % DLOG_REPEAT_MAX + 1;
}

/* The host has stopped recording: what was executed till then is settled. */
static void settle(struct vcpu_blocks *v)
{
	v->stopped = true;
	if (in_loop(v) && has_room(v))
		dlog_stream_put(&v->stream, loop_word(v));
	dlog_stream_end(&v->stream);
	v->same = 0;
	memset(v->last, 0, sizeof(v->last));
}

/* Whatever put() does not do. */
static __attribute__((noinline)) void put_any(struct vcpu_blocks *v,
					      uint64_t word, bool same)
{
	if (record_stopped()) {
		if (!v->stopped)
			settle(v);
		v->executed += DLOG_BLOCK_INSNS(word);
		return;
	}
	v->stopped = false;
	if (!has_room(v))
		next_record(v);
	if (same) {
		v->same++;
	} else {
		if (in_loop(v) && has_room(v)) {
			dlog_stream_put(&v->stream, loop_word(v));
			if (!has_room(v))
				next_record(v);
		}
		next_lag(v);
	}
	remember(v, word);
	if (has_room(v) && in_loop(v))
		dlog_stream_draft(&v->stream, loop_word(v));
	else if (has_room(v))
		dlog_stream_put(&v->stream, word);
}

static void put(unsigned int vcpu, void *block)
{
	struct vcpu_blocks *v = &vcpus[vcpu];
	uint64_t word = (uint64_t)(uintptr_t)block;
	bool same = v->last[(v->count - v->lag) % LAST] == word;

	if (dlog_unlikely(same || in_loop(v) || !has_room(v))) {
		put_any(v, word, same);
		return;
	}
	next_lag(v);
	remember(v, word);
	dlog_stream_put(&v->stream, word);
}

int blocks_start(void)
{
	if (!plugin.opt.blocks)
		return 0;
	vcpus = aligned_alloc(128, plugin.nr_vcpus * sizeof(*vcpus));
	if (!vcpus) {
		tell("no memory for the blocks of %u vCPUs", plugin.nr_vcpus);
		return -ENOMEM;
	}
	memset(vcpus, 0, plugin.nr_vcpus * sizeof(*vcpus));
	for (unsigned int i = 0; i < plugin.nr_vcpus; i++) {
		vcpus[i].ring = record_block_ring(i);
		vcpus[i].lag = 1;
		vcpus[i].type = DLOG_TYPE(DLOG_KIND_BLOCKS, i & 4095);
	}
	return 0;
}

void blocks_translate(const struct block *b)
{
	uint64_t pc = b->pc;

	if (!plugin.opt.blocks)
		return;
	for (size_t i = 0; i < b->n; i += DLOG_BLOCK_MAX) {
		size_t n = b->n - i < DLOG_BLOCK_MAX ? b->n - i
						     : DLOG_BLOCK_MAX;
		uint64_t word;

		if (i)
			pc = api.insn_vaddr(api.tb_get_insn(b->tb, i));
		word = DLOG_BLOCK(pc, n);
		api.register_vcpu_tb_exec_cb(b->tb, put, QEMU_PLUGIN_CB_NO_REGS,
					     (void *)(uintptr_t)word);
	}
}

uint64_t blocks_executed(unsigned int vcpu)
{
	return vcpus[vcpu].executed;
}

/*
 * The open record as it is, false: there is none.  A copy: QEMU may end in one
 * vCPU's thread (isa-debug-exit) while others go on with theirs.
 */
static bool open_record(const struct vcpu_blocks *v, struct dlog_stream *s)
{
	const uint8_t *data;

	s->at = __atomic_load_n(&v->stream.at, __ATOMIC_RELAXED);
	s->end = __atomic_load_n(&v->stream.end, __ATOMIC_RELAXED);
	s->record = __atomic_load_n(&v->stream.record, __ATOMIC_RELAXED);
	s->hash = __atomic_load_n(&v->stream.hash, __ATOMIC_RELAXED);
	data = s->record + DLOG_HDR;
	return s->record && s->end == data + WORDS * 8 && s->at >= data &&
	       s->at <= s->end;
}

void blocks_stop(void)
{
	for (unsigned int i = 0; plugin.opt.blocks && i < plugin.nr_vcpus;
	     i++) {
		const struct vcpu_blocks *v = &vcpus[i];
		struct dlog_stream s;

		if (!open_record(v, &s))
			continue;
		if (in_loop(v) && s.at != s.end)
			dlog_stream_put(&s, loop_word(v));
		dlog_stream_end(&s);
	}
}
