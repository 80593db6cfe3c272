// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * regs.c - registers of the CPUs: where they come from beside the VMM, and
 * which thread is on which CPU.
 */
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"
#include "dlog_abi.h"

void regs_free(struct core_regs *r)
{
	free(r->cpu);
	memset(r, 0, sizeof(*r));
}

struct core_cpu *regs_add(struct core_regs *r, uint32_t cpu)
{
	struct core_cpu *more;

	/* Doubling: 1, 2, 4 ... have just been filled. */
	if (!(r->nr & (r->nr - 1))) {
		more = realloc(r->cpu,
			       (r->nr ? 2 * (size_t)r->nr : 1) * sizeof(*more));
		if (!more)
			return NULL;
		r->cpu = more;
	}
	more = &r->cpu[r->nr++];
	memset(more, 0, sizeof(*more));
	more->cpu = cpu;
	return more;
}

/* ---- from a region ---- */

/*
 * The boot of the region in which this very kernel ran: 0 and *@boot, or
 * -ENOENT.
 */
static int find_boot(struct dlog *d, const uint8_t id[16], uint32_t *boot)
{
	struct dlog_boot_entry *b = NULL;
	int n = dlog_get_boots(d, &b);
	int ret = n < 0 ? n : -ENOENT;

	for (int i = 0; i < n; i++) {
		if (memcmp(b[i].boot_id, id, 16))
			continue;
		*boot = b[i].boot;
		ret = 0;
	}
	free(b);
	return ret;
}

static int take_region(struct core_regs *r, struct dlog *d, uint32_t boot,
		       struct dlog_error *err)
{
	struct dlog_reg_entry e;
	struct dlog_info info;
	struct core_cpu *c;
	uint64_t first = 0, last = 0;
	uint32_t nr;

	dlog_get_info(d, &info);
	nr = info.nr_cpus < CORE_CPUS_MAX ? info.nr_cpus : CORE_CPUS_MAX;
	for (uint32_t cpu = 0; cpu < nr; cpu++) {
		if (dlog_get_regs(d, cpu, boot, &e) != 1 ||
		    e.machine != EM_X86_64 || e.prstatus_size != PRSTATUS_SIZE)
			continue;
		c = regs_add(r, cpu);
		if (!c)
			return fail(err, -ENOMEM, "No memory for registers.");
		memcpy(c->prstatus, e.prstatus, PRSTATUS_SIZE);
		first = r->nr == 1 || e.time < first ? e.time : first;
		last = e.time > last ? e.time : last;
	}
	if (!r->nr)
		return fail(err, -ENODATA,
			    "%s has no registers of this boot (%u): the driver "
			    "writes them when the kernel panics, or when it is "
			    "asked to.",
			    info.path, boot);
	snprintf(r->from, sizeof(r->from),
		 "from %.64s, boot %u, written %.6f to %.6f s after its start",
		 info.path, boot, (double)first / 1e9, (double)last / 1e9);
	return 0;
}

int regs_from_region(struct core_regs *r, struct dlog_ram *ram,
		     const char *path, struct dlog_error *err)
{
	static const uint8_t none[16];
	struct dlog_ram_kernel k;
	uint32_t boot;
	struct dlog *d;
	int ret;

	dlog_ram_get_kernel(ram, &k);
	if (!memcmp(k.boot_id, none, sizeof(none)))
		return fail(err, -ENXIO,
			    "The boot id of the kernel in RAM is not known, so "
			    "no registers of %s can be its own.",
			    path);
	ret = dlog_open(&d, path, 0, err);
	if (ret)
		return ret;
	ret = find_boot(d, k.boot_id, &boot);
	if (ret)
		fail(err, ret,
		     "%s knows nothing of the boot whose memory this is.",
		     path);
	else
		ret = take_region(r, d, boot, err);
	dlog_close(d);
	return ret;
}

/* ---- threads ---- */

/* Who runs on CPUs 0 to @nr - 1. */
static void fill_running(const struct dlog_ram_task **on, uint32_t nr,
			 const struct dlog_ram_task *t, int64_t tasks)
{
	for (int64_t i = 0; i < tasks; i++)
		if (t[i].running && t[i].cpu < nr)
			on[t[i].cpu] = &t[i];
}

static bool pid_taken(const struct core_regs *r, uint32_t nr, uint32_t pid)
{
	for (uint32_t i = 0; i < nr; i++)
		if (!memcmp(r->cpu[i].prstatus + PRSTATUS_PID, &pid, 4))
			return true;
	return false;
}

/*
 * Debuggers tell threads apart by this number, so no two CPUs may have the
 * same: one that idles (pid 0, as all that idle) or whose thread is not known
 * has a number of its own.
 */
void regs_name_threads(struct core_regs *r, const struct dlog_ram_task *before,
		       int64_t nr_before, const struct dlog_ram_task *after,
		       int64_t nr_after)
{
	static const struct dlog_ram_task *was[CORE_CPUS_MAX];
	static const struct dlog_ram_task *is[CORE_CPUS_MAX];

	memset(was, 0, sizeof(was));
	memset(is, 0, sizeof(is));
	fill_running(was, CORE_CPUS_MAX, before, nr_before);
	fill_running(is, CORE_CPUS_MAX, after, nr_after);
	for (uint32_t i = 0; i < r->nr; i++) {
		struct core_cpu *c = &r->cpu[i];
		const struct dlog_ram_task *b = was[c->cpu], *a = is[c->cpu];
		uint32_t pid = CORE_NO_PID + c->cpu;

		if (!a || !b || a->addr != b->addr || a->pid != b->pid)
			a = NULL;
		c->idle = a && !a->pid;
		if (a && a->pid > 0 && !pid_taken(r, i, (uint32_t)a->pid))
			pid = (uint32_t)a->pid;
		memcpy(c->prstatus + PRSTATUS_PID, &pid, sizeof(pid));
	}
}
