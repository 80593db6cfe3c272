// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * work.c - one incident from its NMI to the guest's reset, in its thread.
 *
 * What loses nothing when it waits comes late: the evidence is on the disk
 * before anything is done to the guest.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "incident.h"

#define ASK_MS 1000
#define DUMP_MS 600000
#define RESET_MS 5000
#define CONT_TRIES 20 /* it refuses until the reset is done */
#define SPARE (UINT64_C(16) << 20) /* of a bundle, beside the region's copy */

static const enum action order[STEPS] = { ACT_NMI, ACT_EVIDENCE, ACT_DUMP,
					  ACT_HOOK, ACT_RESET };

const char *action_name(enum action action)
{
	switch (action) {
	case ACT_NMI:
		return "nmi";
	case ACT_EVIDENCE:
		return "evidence";
	case ACT_DUMP:
		return "dump";
	case ACT_HOOK:
		return "hook";
	case ACT_RESET:
		return "reset";
	}
	return "?";
}

void job_missing(struct job *job, const char *fmt, ...)
{
	char text[TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (char *p = text; *p; p++)
		if (*p == '\n')
			*p = ' '; /* each is one line */
	sink_puts(&job->missing, text);
	sink_putc(&job->missing, '\n');
}

static struct step *job_step(struct job *job, enum action action)
{
	for (size_t i = 0; i < STEPS; i++)
		if (job->step[i].action == action)
			return &job->step[i];
	return NULL;
}

int job_asked(struct job *job, int ret)
{
	if (ret == -ETIMEDOUT || ret == -ENOTCONN)
		job->vm_dead = true;
	return ret;
}

/* ---- the steps: 0, or negative with a reason in why; -ENODEV: skipped ---- */

/* Bytes that a bundle takes, about; its logs are seldom a sixteenth of all. */
static uint64_t bundle_need(const struct job *job)
{
	uint64_t region = region_blocks(job);
	uint64_t rest = job->bundles_bytes / 16;

	return (region <= job->bundles_bytes ? region : 0) +
	       (rest < SPARE ? rest : SPARE);
}

static int step_evidence(struct job *job, char *why, size_t size)
{
	int ret;

	store_room(job->all, job, bundle_need(job), 1);
	ret = bundle_open(job);
	if (!ret)
		ret = bundle_json(job, false);
	if (ret)
		goto out;
	job_settle(job);
	region_copy(job);
	job_decode(job);
	job_ask_history(job);
	job_history(job);
	job_registers(job);
	job_host(job);
	/* As incident.json has to say it once it can be seen. */
	job_step(job, ACT_EVIDENCE)->result = "done";
	ret = bundle_publish(job);
out:
	if (ret) {
		snprintf(why, size, "%s/%s/%s: %s", job->all->path, job->guest,
			 job->id, strerror(-ret));
		job_missing(job, "bundle: %s", why);
	}
	return ret;
}

static int dump_room(struct job *job, char *why, size_t size)
{
	uint64_t need = 0, room;
	int ret;

	if (!job->bundle.published || !job->vm) {
		snprintf(why, size, "%s",
			 job->vm ? "there is no bundle" : "no VMM to be asked");
		return -ENODEV;
	}
	ret = job_asked(job, job->vm->ops->memory(job->vm, &need, ASK_MS));
	if (ret) {
		snprintf(why, size, "size of its memory: %s", strerror(-ret));
		return ret;
	}
	if (need <= job->bundles_bytes)
		store_room(job->all, job, need, 0);
	room = bundle_free(job);
	if (need > room || need > job->bundles_bytes) {
		snprintf(why, size,
			 "takes %llu bytes; %llu are free beside keep-free, "
			 "max-bytes is %llu",
			 (unsigned long long)need, (unsigned long long)room,
			 (unsigned long long)job->bundles_bytes);
		return -ENODEV;
	}
	return 0;
}

static int step_dump(struct job *job, char *why, size_t size)
{
	int ret = dump_room(job, why, size), fd;
	char path[8192];

	if (ret)
		return ret;
	snprintf(path, sizeof(path), "%s/%s/%s/memory.elf.part", job->all->path,
		 job->guest, job->id);
	ret = job_asked(job, job->vm->ops->dump(job->vm, path, DUMP_MS));
	if (!ret) {
		fd = openat(job->bundle.dir, "memory.elf.part",
			    O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			ret = -errno;
		else if (renameat(job->bundle.dir, "memory.elf.part",
				  job->bundle.dir, "memory.elf"))
			ret = -errno;
		if (fd >= 0)
			ret = bundle_done(job, "memory.elf", fd, ret);
	}
	if (ret) {
		unlinkat(job->bundle.dir, "memory.elf.part", 0);
		snprintf(why, size, "%s", strerror(-ret));
	}
	return ret;
}

static int cont_again(struct job *job)
{
	struct timespec pause = { .tv_nsec = 100 * (long)MS };
	char state[64];
	int ret = -EIO;

	for (int i = 0; i < CONT_TRIES && ret; i++) {
		ret = job->vm->ops->status(job->vm, state, sizeof(state),
					   ASK_MS);
		if (!ret && strcmp(state, "running"))
			ret = job->vm->ops->cont(job->vm, RESET_MS);
		if (ret == -ETIMEDOUT || ret == -ENOTCONN)
			break;
		if (ret)
			nanosleep(&pause, NULL);
	}
	return ret;
}

static int step_reset(struct job *job, char *why, size_t size)
{
	int ret;

	if ((job->actions & ACT_EVIDENCE) && !job->bundle.durable) {
		snprintf(why, size, "the evidence is not on the disk");
		return -ENODEV;
	}
	if (!job->vm) {
		snprintf(why, size, "no VMM to be asked");
		return -ENODEV;
	}
	ret = job->vm->ops->reset(job->vm, RESET_MS);
	if (!ret)
		ret = cont_again(job);
	if (ret)
		snprintf(why, size, "%s", strerror(-ret));
	return ret;
}

/* ---- in order ---- */

static int step_run(struct job *job, struct step *s)
{
	switch (s->action) {
	case ACT_NMI:
		return job_nmi(job, s->why, sizeof(s->why));
	case ACT_EVIDENCE:
		return step_evidence(job, s->why, sizeof(s->why));
	case ACT_DUMP:
		return step_dump(job, s->why, sizeof(s->why));
	case ACT_HOOK:
		return job_hook(job, s->why, sizeof(s->why));
	case ACT_RESET:
		return step_reset(job, s->why, sizeof(s->why));
	}
	return -EINVAL;
}

static void step_do(struct job *job, enum action action)
{
	struct step *s = job_step(job, action);
	uint64_t from = clock_ns(CLOCK_MONOTONIC);
	int ret;

	if (!s)
		return;
	if (atomic_load(&job->all->stopping)) {
		snprintf(s->why, sizeof(s->why), "dlogd was stopped");
		ret = -ENODEV;
	} else {
		ret = step_run(job, s);
	}
	s->ms = (clock_ns(CLOCK_MONOTONIC) - from) / MS;
	s->result = !ret ? "done" : ret == -ENODEV ? "skipped" : "failed";
	if (ret && !s->why[0])
		snprintf(s->why, sizeof(s->why), "%s", strerror(-ret));
	if (ret && action != ACT_EVIDENCE)
		job_missing(job, "%s: %s", action_name(action), s->why);
}

static void job_prepare(struct job *job)
{
	job->began = clock_ns(CLOCK_MONOTONIC);
	job->bundle.dir = job->bundle.guest_dir = -1;
	job->region_fd = -1;
	for (size_t i = 0; i < STEPS; i++)
		if (job->actions & (int)order[i])
			job->step[i] = (struct step){ .action = order[i],
						      .result = "pending" };
	if (!(job->actions & (ACT_NMI | ACT_EVIDENCE)))
		return;
	region_open(job);
	cpus_look(job);
}

/* The bundle can be seen. */
static void job_stored(struct job *job)
{
	job_tell(job, JOB_STORED, bundle_bytes(job));
	store_room(job->all, job, 0, 0);
}

static void job_finish(struct job *job)
{
	const int later = ACT_DUMP | ACT_HOOK | ACT_RESET;
	uint64_t bytes;

	/* Also where it says that the evidence is kept, and that is in doubt. */
	if (job->bundle.published &&
	    ((job->actions & later) || !job->bundle.durable))
		bundle_update(job);
	bytes = bundle_bytes(job);
	bundle_close(job);
	free(job->cpus.cpu);
	job_tell(job, JOB_FINISHED, bytes);
}

void *job_run(void *arg)
{
	struct job *job = arg;

	job_prepare(job);
	step_do(job, ACT_NMI);
	step_do(job, ACT_EVIDENCE);
	region_close(job);
	if (job->bundle.published)
		job_stored(job);
	step_do(job, ACT_DUMP);
	step_do(job, ACT_HOOK);
	step_do(job, ACT_RESET);
	job_finish(job);
	return NULL;
}
