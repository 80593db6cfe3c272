// SPDX-License-Identifier: GPL-2.0-only
/*
 * count.c - how many instructions each vCPU has executed.
 *
 * QEMU adds the length of each block to a word of the vCPU, without calling
 * us.  Before API version 2 there is one word for all vCPUs, which they add
 * to without a lock: it is used with one vCPU alone.  With blocks=on the
 * callback of blocks.c counts, and nothing is done here.
 */
#include <errno.h>

#include "plugin.h"

static struct {
	bool on;
	bool cannot; /* wanted, but this QEMU is not able to */
	uint64_t word; /* version 1 */
	struct qemu_plugin_u64 words;
} count;

int count_start(void)
{
	const struct options *o = &plugin.opt;

	/* Whom it would tell: probes and traced stores. */
	if (!o->icount || o->blocks || (!o->nr_probes && !o->trace_writes))
		return 0;
	if (api.version >= 2) {
		count.words.score = api.scoreboard_new(sizeof(uint64_t));
		count.on = true;
	} else {
		count.on = plugin.nr_vcpus == 1;
		count.cannot = !count.on;
	}
	return 0;
}

int count_begin(void)
{
	if (count.cannot)
		record_say(
			5,
			"instructions are not counted: this QEMU can do so for one vCPU only, or with blocks=on");
	return 0;
}

bool count_known(void)
{
	return plugin.opt.icount && (plugin.opt.blocks || count.on);
}

void count_translate(const struct block *b)
{
	if (!count.on)
		return;
	if (api.version >= 2)
		api.register_vcpu_tb_exec_inline_per_vcpu(
			b->tb, QEMU_PLUGIN_INLINE_ADD_U64, count.words, b->n);
	else
		api.register_vcpu_tb_exec_inline(
			b->tb, QEMU_PLUGIN_INLINE_ADD_U64, &count.word, b->n);
}

uint64_t count_executed(unsigned int vcpu)
{
	if (!count_known())
		return UINT64_MAX;
	if (plugin.opt.blocks)
		return blocks_executed(vcpu);
	return api.version >= 2 ? api.u64_get(count.words, vcpu) : count.word;
}
