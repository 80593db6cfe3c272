// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * dlog_client.c - a region's producer for any kernel; see dlog_client.h.
 *
 * All that knows the format is in shared-abi; here is who calls it when.
 * Relies on memcpy, memset and memcmp of its surroundings.
 */
#include "dlog_client.h"

#define REGS_MAX 512u
#define EVENT_TYPE_MAX 512u

static size_t length(const char *s)
{
	size_t n = 0;

	while (s && s[n])
		n++;
	return n;
}

static bool aligned(const void *p)
{
	return p && (uintptr_t)p % DLOG_PAGE == 0;
}

enum dlog_super_error dlog_client_open(struct dlog_client *c, void *base,
				       size_t bytes)
{
	enum dlog_super_error err = DLOG_SUPER_MAGIC;

	memset(c, 0, sizeof(*c));
	if (aligned(base))
		err = dlog_region_open(&c->region, base,
				       bytes / DLOG_PAGE * DLOG_PAGE);
	if (err != DLOG_SUPER_OK)
		memset(&c->region.sb, 0, sizeof(c->region.sb));
	return err;
}

/* Is it a region that begins here, with both its superblocks? */
static enum dlog_super_error whole(struct dlog_client *c, uint8_t *base,
				   size_t bytes)
{
	enum dlog_super_error err = dlog_client_open(c, base, bytes);
	const struct dlog_superblock *sb = &c->region.sb;

	if (err == DLOG_SUPER_OK &&
	    (memcmp(base, sb, sizeof(*sb)) ||
	     memcmp(base + (size_t)sb->backup_off, sb, sizeof(*sb)))) {
		memset(&c->region.sb, 0, sizeof(c->region.sb));
		err = DLOG_SUPER_CHECK;
	}
	return err;
}

enum dlog_super_error dlog_client_find(struct dlog_client *c, void *from,
				       size_t bytes)
{
	enum dlog_super_error first = DLOG_SUPER_MAGIC;
	uint8_t *at = from, *where = NULL;

	memset(c, 0, sizeof(*c));
	if (!aligned(from))
		return DLOG_SUPER_MAGIC;
	for (; bytes >= DLOG_PAGE; at += DLOG_PAGE, bytes -= DLOG_PAGE) {
		enum dlog_super_error err;

		if (memcmp(at, DLOG_MAGIC, 8))
			continue;
		err = whole(c, at, bytes);
		if (err == DLOG_SUPER_OK)
			return err;
		if (!where) {
			first = err;
			where = at;
		}
	}
	c->region.base = where;
	return first;
}

/* Do what the host's control word asks for, and say so. */
static void obey(struct dlog_client *c)
{
	struct dlog_state *st = dlog_region_state(&c->region);
	bool stop = __atomic_load_n(&st->control, __ATOMIC_RELAXED) &
		    DLOG_CONTROL_STOP;

	__atomic_store_n(&c->stopped, stop, __ATOMIC_RELAXED);
	/* Beats come often, and a hypervisor may have to play the store. */
	if (!c->joined && st->recording != !stop)
		dlog_put32(&st->recording, !stop);
}

/* The part of the state page that is the producer's, before any status. */
static void say_state(struct dlog_client *c,
		      const struct dlog_client_setup *setup)
{
	struct dlog_state *st = dlog_region_state(&c->region);

	obey(c);
	dlog_put32(&st->memtype, setup->memtype);
	dlog_put32(&st->period_ms, setup->period_ms);
	dlog_put32(&st->online, c->cpus);
	dlog_put64(&st->kmsg_next, 0);
}

/* Say in a ring too what the boot table says, in case that gets lost. */
static void note_boot(struct dlog_client *c, const struct dlog_boot_info *boot)
{
	struct {
		struct dlog_boot_note note;
		char release[sizeof(boot->release)];
	} b = { .note = { .boot = c->region.boot, .start_real = boot->real } };

	memcpy(b.note.boot_id, boot->boot_id, sizeof(b.note.boot_id));
	memcpy(b.release, boot->release, sizeof(b.release));
	b.release[sizeof(b.release) - 1] = 0;
	dlog_ring_append(&c->rings[0], DLOG_TYPE(DLOG_KIND_BOOT, 0), boot->time,
			 &b, sizeof(b.note) + length(b.release));
}

/*
 * Take what @setup says for @n rings, whose writers are put into its memory,
 * with @room bytes more for each.
 */
static int set_up(struct dlog_client *c, const struct dlog_client_setup *setup,
		  uint32_t n, size_t room)
{
	uintptr_t skip = -(uintptr_t)setup->memory % sizeof(struct dlog_ring);

	if (!c->region.sb.nr_rings || !setup->clock || !setup->memory)
		return -EINVAL;
	if (setup->bytes < skip ||
	    (setup->bytes - skip) / (sizeof(*c->rings) + room) < n)
		return -ENOSPC;
	c->rings = (void *)((uint8_t *)setup->memory + skip);
	c->nr_rings = n;
	c->clock = setup->clock;
	c->arg = setup->arg;
	c->cpus = setup->cpus ? setup->cpus : 1;
	c->facility = setup->facility;
	return 0;
}

int dlog_client_begin(struct dlog_client *c,
		      const struct dlog_client_setup *setup)
{
	uint32_t n = c->region.sb.nr_rings;
	struct dlog_boot_info boot = setup->boot;
	struct dlog_ring_end *ends;
	bool resumed;
	int err = c->ready ? -EINVAL : set_up(c, setup, n, sizeof(*ends));

	if (err)
		return err;
	ends = (void *)(c->rings + n);
	boot.time = c->clock(c->arg);
	resumed = dlog_region_begin(&c->region, &boot, ends);
	for (uint32_t i = 0; i < n; i++)
		dlog_ring_init(&c->rings[i], &c->region, i, &ends[i],
			       c->cpus <= n, setup->memtype != DLOG_MT_WB);
	say_state(c, setup);
	/* Others may log all the time: they see the rings before this. */
	__atomic_store_n(&c->ready, true, __ATOMIC_RELEASE);
	dlog_client_status(c, 0, DLOG_ST_BOOTING, NULL);
	if (!resumed)
		note_boot(c, &boot);
	return 0;
}

int dlog_client_join(struct dlog_client *c,
		     const struct dlog_client_setup *setup, uint32_t boot,
		     uint32_t ring, uint64_t position)
{
	const struct dlog_superblock *sb = &c->region.sb;
	struct dlog_ring_end end = { .next = position };
	bool none = ring == DLOG_CLIENT_NO_RING;
	int err = c->ready && !c->joined ? -EINVAL : 0;

	if (!err && (!boot || (!none && ring >= sb->nr_rings) ||
		     position >= DLOG_POSITION_END ||
		     position & (sb->subbuf_size - UINT64_C(1))))
		err = -EINVAL;
	if (!err)
		err = set_up(c, setup, !none, 0);
	if (err)
		return err;
	c->region.boot = boot;
	if (!none)
		dlog_ring_init(c->rings, &c->region, ring, &end, c->cpus == 1,
			       setup->memtype != DLOG_MT_WB);
	c->joined = true;
	__atomic_store_n(&c->ready, true, __ATOMIC_RELEASE);
	return 0;
}

static bool ready(const struct dlog_client *c)
{
	return __atomic_load_n(&c->ready, __ATOMIC_ACQUIRE);
}

static bool stopped(const struct dlog_client *c)
{
	return !ready(c) || __atomic_load_n(&c->stopped, __ATOMIC_RELAXED);
}

/* May @cpu write?  0, -EAGAIN or -EINVAL. */
static int check(const struct dlog_client *c, uint32_t cpu)
{
	if (!ready(c))
		return -EAGAIN;
	return cpu < c->cpus ? 0 : -EINVAL;
}

static int append(struct dlog_client *c, uint32_t cpu, uint32_t type,
		  const void *data, size_t len)
{
	int err = check(c, cpu);

	if (err)
		return err;
	if (!c->nr_rings)
		return -EAGAIN;
	return dlog_ring_append(&c->rings[cpu % c->nr_rings], type,
				c->clock(c->arg), data, len);
}

int dlog_client_write(struct dlog_client *c, uint32_t cpu, uint32_t level,
		      const void *text, size_t len)
{
	if (stopped(c))
		return -EAGAIN;
	if (level > 7)
		return -EINVAL;
	return append(c, cpu,
		      DLOG_TYPE(DLOG_KIND_TEXT, DLOG_PRI(c->facility, level)),
		      text, len);
}

int dlog_client_vlog(struct dlog_client *c, uint32_t cpu, uint32_t level,
		     const char *fmt, va_list args)
{
	char line[DLOG_CLIENT_LINE + 1];

	if (stopped(c))
		return -EAGAIN;
	return dlog_client_write(
		c, cpu, level, line,
		dlog_client_format(line, sizeof(line), fmt, args));
}

int dlog_client_log(struct dlog_client *c, uint32_t cpu, uint32_t level,
		    const char *fmt, ...)
{
	va_list args;
	int ret;

	va_start(args, fmt);
	ret = dlog_client_vlog(c, cpu, level, fmt, args);
	va_end(args);
	return ret;
}

int dlog_client_event_type(struct dlog_client *c, const char *name,
			   const char *fields)
{
	uint64_t buf[EVENT_TYPE_MAX / 8];

	if (!ready(c))
		return -EAGAIN;
	return dlog_catalog_add(&c->region, c->clock(c->arg), name, fields,
				NULL, buf, sizeof(buf));
}

int dlog_client_event(struct dlog_client *c, uint32_t cpu, int id,
		      const void *data, size_t len)
{
	if (stopped(c))
		return -EAGAIN;
	if (id < 1 || id > (int)DLOG_EVENT_MAX)
		return -EINVAL;
	return append(c, cpu, DLOG_TYPE(DLOG_KIND_EVENT, id), data, len);
}

/* Has the other producer said so already, of this boot? */
static bool said(const struct dlog_client *c, enum dlog_status status)
{
	const volatile struct dlog_state *st = dlog_region_state(&c->region);

	return c->joined && st->boot == c->region.boot && st->status == status;
}

int dlog_client_status(struct dlog_client *c, uint32_t cpu,
		       enum dlog_status status, const char *detail)
{
	int err = check(c, cpu);

	if (err)
		return err;
	if (status >= DLOG_ST_MAX)
		return -EINVAL;
	if (!said(c, status))
		dlog_region_status(&c->region, status, c->clock(c->arg));
	return append(c, cpu, DLOG_TYPE(DLOG_KIND_STATE, status),
		      detail ? detail : "", length(detail));
}

int dlog_client_beat(struct dlog_client *c, uint32_t cpu, bool online)
{
	int err = check(c, cpu);
	uint32_t ring;

	if (err)
		return err;
	if (!c->joined) {
		ring = cpu % c->nr_rings;
		dlog_region_beat_begin(&c->region, cpu);
		dlog_region_beat(&c->region, cpu, ring, &c->rings[ring],
				 c->clock(c->arg), online);
	}
	if (!cpu)
		obey(c);
	return 0;
}

/* Does the slot of @cpu hold what a panic of this boot has put there? */
static bool kept(const struct dlog_client *c, uint32_t cpu)
{
	const struct dlog_superblock *sb = &c->region.sb;
	uint64_t off = sb->regs_off + (uint64_t)cpu * sb->regs_stride;
	const uint8_t *p = c->region.base + off;
	struct dlog_regs r;

	if (!c->joined || cpu >= sb->nr_cpus)
		return false;
	memcpy(&r, p, sizeof(r));
	return r.boot == c->region.boot && r.reason == DLOG_ST_PANIC &&
	       r.cpu == cpu && r.size % 8 == 0 && r.size >= sizeof(r) &&
	       r.size <= sb->regs_stride &&
	       r.check == dlog_object_check(
				  p, r.size,
				  dlog_region_seed(&c->region, DLOG_SEED_REGS),
				  off);
}

int dlog_client_regs(struct dlog_client *c, const struct dlog_regs *head,
		     const void *prstatus, uint32_t size)
{
	struct {
		uint32_t cpu, reason;
		uint8_t prstatus[REGS_MAX];
	} note;
	struct dlog_regs regs = *head;
	int slot = 0, ret = check(c, head->cpu);

	if (ret)
		return ret;
	if (size > REGS_MAX || size % 8)
		return -EMSGSIZE;
	note.cpu = head->cpu;
	note.reason = head->reason;
	memcpy(note.prstatus, prstatus, size);
	regs.time = c->clock(c->arg);
	if (!kept(c, regs.cpu))
		slot = dlog_region_regs(&c->region, &regs, prstatus, size);
	/* Last: its fence, if it has one, is also the slot's. */
	ret = append(c, head->cpu, DLOG_TYPE(DLOG_KIND_REGS, 0), &note,
		     8 + size);
	return slot ? slot : ret;
}

int dlog_client_wall(struct dlog_client *c, uint64_t real, uint64_t error)
{
	if (!ready(c))
		return -EAGAIN;
	dlog_region_clock(&c->region, c->pairs++, c->clock(c->arg), real,
			  error);
	return 0;
}
