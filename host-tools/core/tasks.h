/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tasks.h - a guest's tasks for people and programs.
 */
#ifndef DLOG_CORE_TASKS_H
#define DLOG_CORE_TASKS_H

#include "dlog_ram.h"
#include "sink.h"

/* Where registers of a CPU are known: they make its stack exact. */
struct core_cpu_regs {
	uint32_t cpu;
	struct dlog_ram_regs regs;
};

/*
 * All tasks in a table, or with @stacks each with its stack; with @json one
 * object a line.  @regs: @nr_regs of them, may be NULL.  0 or negative, then
 * dlog_ram_why() says why.
 */
int core_show_tasks(struct dlog_ram *ram, bool stacks, bool json,
		    const struct core_cpu_regs *regs, size_t nr_regs,
		    struct sink *out);

#endif
