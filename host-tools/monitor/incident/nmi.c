// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * nmi.c - ask every CPU where it is, and wait for what a guest still says.
 *
 * The guest's driver answers an NMI with a register slot and a record with
 * the stack, for each CPU, also with interrupts off.  The guest's clock says
 * nothing here: what differs from before the NMI is new.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "incident.h"

#define INJECT_MS 1000
#define LOOK_MS 5
#define SETTLE_MS 250 /* of silence */
#define SETTLE_MOST_MS 2000
#define STACK_MS 100 /* behind the registers; recording may be stopped */

void cpus_look(struct job *job)
{
	struct cpus *cpus = &job->cpus;
	struct dlog_reg_entry r;
	struct dlog_beat *beats;
	struct dlog_info info;
	struct dlog_live live;

	if (!job->d)
		return;
	dlog_get_info(job->d, &info);
	dlog_get_live(job->d, &live);
	beats = calloc(info.nr_cpus, sizeof(*beats));
	cpus->cpu = calloc(info.nr_cpus, sizeof(*cpus->cpu));
	if (beats && cpus->cpu &&
	    dlog_get_beats(job->d, &live, beats, info.nr_cpus) >= 0)
		cpus->nr = info.nr_cpus;
	for (uint32_t i = 0; i < cpus->nr; i++) {
		struct cpu_seen *c = &cpus->cpu[i];

		c->online = beats[i].boot && beats[i].online;
		c->old_known = dlog_get_regs(job->d, i, 0, &r) > 0;
		c->old_time = r.time;
		c->old_boot = r.boot;
		c->registers = c->old_known && r.boot == job->boot;
	}
	free(beats);
}

/* How many CPUs that are online have not given new registers yet. */
static uint32_t cpus_left(struct job *job, uint32_t *no_stack)
{
	struct dlog_reg_entry r;
	uint32_t left = 0;

	*no_stack = 0;
	for (uint32_t i = 0; i < job->cpus.nr; i++) {
		struct cpu_seen *c = &job->cpus.cpu[i];

		if (!c->registers && dlog_get_regs(job->d, i, 0, &r) > 0)
			c->registers = !c->old_known || r.time != c->old_time ||
				       r.boot != c->old_boot;
		left += c->online && !c->registers;
		*no_stack += c->online && !c->stack;
	}
	return left;
}

/* Records of stacks that have come since the last look. */
static void cpus_stacks(struct cpus *cpus, struct dlog_reader *r,
			uint64_t deadline)
{
	struct dlog_entry e;
	uint32_t cpu;

	while (clock_ns(CLOCK_MONOTONIC) < deadline &&
	       dlog_reader_next(r, &e, LOOK_MS) > 0) {
		if (e.kind != DLOG_KIND_STACK || e.len < sizeof(cpu))
			continue;
		memcpy(&cpu, e.data, sizeof(cpu));
		if (cpu < cpus->nr)
			cpus->cpu[cpu].stack = true;
	}
}

static void cpus_wait(struct job *job, struct dlog_reader *r)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC), until;
	uint32_t no_stack;

	until = now + job->nmi_wait_ms * MS;
	while (now < until && !atomic_load(&job->all->stopping)) {
		cpus_stacks(&job->cpus, r, now + 4 * LOOK_MS * MS);
		now = clock_ns(CLOCK_MONOTONIC);
		if (cpus_left(job, &no_stack))
			continue;
		if (!no_stack)
			return;
		if (until > now + STACK_MS * MS)
			until = now + STACK_MS * MS;
	}
}

/* Why no CPU would answer, or NULL. */
static const char *nobody_there(struct job *job)
{
	struct dlog_live live;

	if (!job->vm)
		return "no VMM to be asked";
	if (!job->d)
		return "no region that can be read";
	dlog_get_live(job->d, &live);
	if (!live.boot)
		return "no driver has used the region yet";
	if (live.status == DLOG_ST_UNLOADED)
		return "the driver is not loaded";
	return NULL;
}

int job_nmi(struct job *job, char *why, size_t size)
{
	const char *nobody = nobody_there(job);
	struct dlog_reader *r = NULL;
	struct dlog_entry e;
	uint32_t no_stack;
	int ret;

	if (nobody) {
		snprintf(why, size, "%s", nobody);
		return -ENODEV;
	}
	ret = dlog_reader_new(&r, &job->d, 1,
			      DLOG_READER_FOLLOW | DLOG_READER_NEW, NULL);
	if (!ret)
		ret = dlog_reader_next(r, &e, 0);
	if (ret >= 0)
		ret = job_asked(job,
				job->vm->ops->inject_nmi(job->vm, INJECT_MS));
	if (!ret) {
		job->cpus.asked = true;
		for (uint32_t i = 0; i < job->cpus.nr; i++)
			job->cpus.cpu[i].registers = false;
		cpus_wait(job, r);
		ret = cpus_left(job, &no_stack) ? -ETIMEDOUT : 0;
		if (ret)
			snprintf(why, size,
				 "not every CPU has answered within %u ms",
				 job->nmi_wait_ms);
	} else {
		snprintf(why, size, "%s", strerror(-ret));
	}
	if (r)
		dlog_reader_free(r);
	return ret;
}

/*
 * The status word comes first: what the kernel prints of its panic, oops or
 * lockup follows.
 */
void job_settle(struct job *job)
{
	uint64_t until = clock_ns(CLOCK_MONOTONIC) + SETTLE_MOST_MS * MS;
	struct dlog_reader *r;
	struct dlog_entry e;

	if (!job->d || (job->ev != EV_PANICKED && job->ev != EV_CRASH_LOADED &&
			job->ev != EV_OOPS && job->ev != EV_LOCKUP))
		return;
	if (dlog_reader_new(&r, &job->d, 1,
			    DLOG_READER_FOLLOW | DLOG_READER_NEW, NULL))
		return;
	while (clock_ns(CLOCK_MONOTONIC) < until &&
	       !atomic_load(&job->all->stopping) &&
	       dlog_reader_next(r, &e, SETTLE_MS) > 0)
		;
	dlog_reader_free(r);
}

static bool cpu_in(const struct cpu_seen *c, enum cpu_set which)
{
	switch (which) {
	case CPUS_ONLINE:
		return c->online;
	case CPUS_REGISTERS:
		return c->registers;
	case CPUS_STACK:
		return c->stack;
	case CPUS_SILENT:
		return c->online && !c->registers;
	}
	return false;
}

void cpus_list(struct sink *s, const struct cpus *cpus, enum cpu_set which)
{
	uint32_t from, i = 0;

	while (i < cpus->nr) {
		if (!cpu_in(&cpus->cpu[i], which)) {
			i++;
			continue;
		}
		for (from = i; i < cpus->nr && cpu_in(&cpus->cpu[i], which);)
			i++;
		if (s->len)
			sink_putc(s, ',');
		sink_u64(s, from);
		if (i - from > 1) {
			sink_putc(s, '-');
			sink_u64(s, i - 1);
		}
	}
}
