// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * ramoops.c - the memory of the kernel's ramoops as a source: dumps of the
 * log, the console, /dev/pmsg0, calls of ftrace.  crosvm's pstore file is the
 * same thing.
 *
 * Follows fs/pstore/ram.c and ram_core.c of Linux 5.10 to 6.12.  The file is
 * the area that ramoops.mem_address and mem_size name in the guest.  No check
 * guards what is in it, but for the parity that ramoops.ecc asks for; so
 * records carry doubts (dlog.h).  Streams, which are rings to a user:
 *
 *	0	dumps, as lines of printk
 *	1	the console's lines, as lines of printk
 *	2	pmsg, as text
 *	3	calls, as text
 *
 * How zones are found is told in ramoops_zone.c, which lines are in doubt in
 * ramoops_console.c, and what boot a record is counted to in ramoops_boot.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "stock/ramoops.h"

#define MS UINT64_C(1000000)
/* Headers looked at in one poll. */
#define POLL_ZONES 256u

static const char options[] =
	"record-size=SIZE\tof each dump, as ramoops.record_size\n"
	"console-size=SIZE\tas ramoops.console_size\n"
	"ftrace-size=SIZE\tof all CPUs, as ramoops.ftrace_size\n"
	"pmsg-size=SIZE\tas ramoops.pmsg_size\n"
	"ecc=BYTES\tas ramoops.ecc: 1 means 16, 0 none (default: found out)\n"
	"cpus=N\tthe guest may have, for ftrace (default: found out)\n";

static void ramoops_unload(struct ramoops *r)
{
	for (uint32_t i = 0; i < r->nr; i++) {
		free(r->zone[i].data);
		free(r->zone[i].bad_block);
		r->zone[i].data = r->zone[i].bad_block = NULL;
	}
	for (int i = 0; i < ZONE_TYPES; i++) {
		free(r->lines[i].v);
		r->lines[i] = (struct lines){ 0 };
	}
	while (r->buffers) {
		struct buffer *b = r->buffers;

		r->buffers = b->next;
		free(b->data);
		free(b);
	}
	free(r->boot_told);
	r->boot_told = NULL;
	r->told_boots = 0;
	free(r->dump);
	r->dump = NULL;
	r->dumps = r->dump_room = 0;
	r->loaded = false;
}

static void ramoops_close(struct dlog *d)
{
	struct ramoops *r = d->state;

	if (!r)
		return;
	ramoops_unload(r);
	ecc_free(r->ecc);
	free(r->zone);
	free(r);
}

static int ramoops_open(struct dlog *d, bool forced, struct dlog_error *err)
{
	struct ramoops *r;
	int ret;

	if (d->size < ZONE_HEADER || (!forced && d->size > RAMOOPS_MAX))
		return dlog_fail(err, -EBADMSG,
				 "%s has %llu bytes, too few for ramoops.",
				 d->name, (unsigned long long)d->size);
	if (d->size > RAMOOPS_MAX)
		return dlog_fail(
			err, -EFBIG,
			"%s is larger than any ramoops area: name the "
			"part of the file that is one, at most 256 MiB.",
			d->name);
	r = calloc(1, sizeof(*r));
	if (!r)
		return dlog_fail(err, -ENOMEM, "No memory to open %s.",
				 d->name);
	d->state = r;
	r->d = d;
	r->size = d->size;
	if (err)
		*err->text = 0;
	ret = ramoops_find_zones(r, forced, err);
	if (ret && ret != -EBADMSG && err && !*err->text)
		dlog_fail(err, ret, "Cannot read %s: %s.", d->name,
			  strerror(-ret));
	return ret;
}

/* ---- reading all of it ---- */

static int load_console(struct ramoops *r, struct zone *z)
{
	static const struct timespec wait = { .tv_nsec = MS };
	int ret;

	/* A guest that runs has written its line by then. */
	for (int tries = r->d->fd < 0 ? 0 : 3;; tries--) {
		struct ramoops before = *r;

		ret = ramoops_read_console(r, z, tries > 0);
		if (ret != -EAGAIN)
			return ret;
		nanosleep(&wait, NULL);
		r->lines[ZONE_CONSOLE].nr = before.lines[ZONE_CONSOLE].nr;
		ret = ramoops_load_zone(r, z);
		if (ret)
			return ret;
	}
}

static int load_zone(struct ramoops *r, uint32_t i)
{
	struct zone *z = &r->zone[i];

	if (!z->room)
		return 0;
	switch (z->type) {
	case ZONE_DMESG:
		return ramoops_read_dump(r, i);
	case ZONE_CONSOLE:
		return load_console(r, z);
	case ZONE_PMSG:
		return ramoops_read_pmsg(r, z);
	default:
		return 0;
	}
}

static int ramoops_load(struct ramoops *r)
{
	int ret = 0;

	ramoops_unload(r);
	r->unpack_left = 16 * r->size + PSTORE_PART_MAX;
	for (uint32_t i = 0; !ret && i < r->nr; i++)
		ret = ramoops_load_zone(r, &r->zone[i]);
	if (ret)
		return ret;
	ramoops_type_zones(r);
	for (uint32_t i = 0; !ret && i < r->nr; i++)
		ret = load_zone(r, i);
	if (!ret)
		ret = ramoops_read_ftrace(r);
	if (!ret)
		ret = ramoops_number(r);
	r->loaded = !ret;
	return ret;
}

/* Has a guest written since the zones were loaded? */
static void ramoops_check(struct ramoops *r)
{
	uint64_t now = dlog_now(CLOCK_MONOTONIC);
	uint32_t n = r->nr < POLL_ZONES ? r->nr : POLL_ZONES;
	uint8_t p[ZONE_HEADER];

	if (!r->loaded || now - r->checked < 5 * MS)
		return;
	r->checked = now;
	/* The last ones, where the console is; the others by and by. */
	for (uint32_t i = 0; i < n; i++) {
		uint32_t at = i < n / 2 ? r->nr - 1 - i : r->poll++ % r->nr;
		const struct zone *z = &r->zone[at];

		if (dlog_fetch(r->d, z->off, p, sizeof(p)))
			continue;
		for (int k = 0; k < 3; k++)
			if (dlog_load32(p + 4 * k) != z->seen[k])
				r->loaded = false;
	}
	r->generation += !r->loaded;
}

static bool ramoops_changed(struct dlog *d, uint32_t n)
{
	struct ramoops *r = d->state;

	ramoops_check(r);
	if (r->told[n] == r->generation)
		return false;
	r->told[n] = r->generation;
	return true;
}

_Static_assert(ZONE_TYPES <= DLOG_LISTS, "a kept list for each stream");

static uint64_t ramoops_version(struct dlog *d)
{
	struct ramoops *r = d->state;

	ramoops_check(r);
	return r->generation;
}

static uint32_t ramoops_streams(struct dlog *d)
{
	(void)d;
	return ZONE_TYPES;
}

static int ramoops_list(struct dlog *d, uint32_t n, struct dlog_list *l)
{
	struct ramoops *r = d->state;
	bool printk = n == ZONE_DMESG || n == ZONE_CONSOLE;
	int ret = 0;

	ramoops_check(r);
	if (!r->loaded)
		ret = ramoops_load(r);
	for (size_t i = 0; !ret && i < r->lines[n].nr; i++) {
		const struct line *v = &r->lines[n].v[i];
		uint32_t pri = DLOG_PRI(n == ZONE_PMSG ? 1 : v->facility,
					v->level);

		ret = dlog_list_add(
			l, v->boot, v->time, v->position,
			DLOG_TYPE(printk ? DLOG_KIND_PRINTK : DLOG_KIND_TEXT,
				  pri),
			v->caller | DLOG_CALLER_TAKEN, v->doubt, v->text,
			v->len);
	}
	return ret;
}

/* ---- what is known besides ---- */

static struct boot_told boot_told(const struct ramoops *r, uint32_t boot)
{
	return boot < r->told_boots ? r->boot_told[boot]
				    : (struct boot_told){ NULL, 0 };
}

static uint64_t ramoops_real_time(struct dlog *d, uint32_t boot, uint64_t time)
{
	uint64_t start = boot_told(d->state, boot).start;

	return start && time < UINT64_MAX - start ? start + time : 0;
}

static void boot_release(const struct ramoops *r, struct dlog_boot_entry *b)
{
	for (int t = ZONE_DMESG; t <= ZONE_CONSOLE; t++)
		for (size_t i = 0; i < r->lines[t].nr; i++) {
			const struct line *l = &r->lines[t].v[i];

			if (l->boot == b->boot &&
			    pstore_release(l->text, l->len, b->release))
				return;
		}
}

static int ramoops_boots(struct dlog *d, struct dlog_boot_entry **out)
{
	struct ramoops *r = d->state;
	int nr = dlog_list_boots(d, out);

	for (int i = 0; i < nr; i++) {
		struct dlog_boot_entry *b = &(*out)[i];
		struct boot_told told = boot_told(r, b->boot);

		b->start_real = told.start;
		if (nr <= 64) /* or it would cost too much */
			boot_release(r, b);
		if (told.last) {
			b->end_status = pstore_status(told.last->reason);
			b->end_time = told.last->last;
		}
	}
	return nr;
}

/* What is empty and not of the dumps' size may be for anything. */
static void fact_zones(const struct ramoops *r, char *text, size_t size)
{
	uint32_t n[ZONE_TYPES] = { 0 }, full = 0, empty = 0;
	size_t at;

	for (uint32_t i = 0; i < r->nr; i++) {
		const struct zone *z = &r->zone[i];
		bool used = z->fill || z->lost;

		if (z->type == ZONE_DMESG && !used && !r->typed &&
		    z->size != r->zone[0].size) {
			empty++;
			continue;
		}
		n[z->type]++;
		full += z->type == ZONE_DMESG && used;
	}
	at = (size_t)snprintf(text, size,
			      "dumps: %u, of %u with text; console: %u; "
			      "pmsg: %u; ftrace: %u",
			      n[ZONE_DMESG], full, n[ZONE_CONSOLE],
			      n[ZONE_PMSG], n[ZONE_FTRACE]);
	if (empty)
		snprintf(text + at, size - at, "; empty: %u", empty);
}

static void fact_lost(const struct ramoops *r, char *text, size_t size)
{
	uint32_t n = 0;
	size_t at;

	for (uint32_t i = 0; i < r->nr; i++)
		n += r->zone[i].lost;
	at = (size_t)snprintf(text, size, "%u", n);
	for (uint32_t i = 0, told = 0; i < r->nr && told < 8; i++) {
		if (!r->zone[i].lost)
			continue;
		at += (size_t)snprintf(text + at, size - at, "%s0x%llx",
				       told ? ", " : ": at ",
				       (unsigned long long)r->zone[i].off);
		told++;
	}
}

static int ramoops_fact(struct dlog *d, uint32_t n, struct dlog_fact *fact)
{
	static const char *const names[] = { "zones", "ECC", "corrected",
					     "uncorrectable", "lost headers" };
	struct ramoops *r = d->state;
	uint64_t corrected = 0, bad = 0;

	ramoops_check(r);
	if (n >= sizeof(names) / sizeof(*names) ||
	    (!r->loaded && ramoops_load(r)))
		return 0;
	for (uint32_t i = 0; i < r->nr; i++) {
		corrected += r->zone[i].corrected;
		bad += r->zone[i].bad;
	}
	snprintf(fact->name, sizeof(fact->name), "%s", names[n]);
	if (n == 0)
		fact_zones(r, fact->text, sizeof(fact->text));
	else if (n == 1 && r->parity)
		snprintf(fact->text, sizeof(fact->text),
			 "%u bytes for each 128", r->parity);
	else if (n == 1)
		snprintf(fact->text, sizeof(fact->text), "none");
	else if (n == 2)
		snprintf(fact->text, sizeof(fact->text), "%llu bytes",
			 (unsigned long long)corrected);
	else if (n == 3)
		snprintf(fact->text, sizeof(fact->text), "%llu blocks",
			 (unsigned long long)bad);
	else
		fact_lost(r, fact->text, sizeof(fact->text));
	return 1;
}

const struct dlog_source_ops dlog_ramoops_ops = {
	.name = "ramoops",
	.help = "memory of a stock kernel's ramoops, crosvm's pstore file",
	.options = options,
	.open = ramoops_open,
	.close = ramoops_close,
	.fact = ramoops_fact,
	.real_time = ramoops_real_time,
	.list = ramoops_list,
	.list_changed = ramoops_changed,
	.list_version = ramoops_version,
	DLOG_LIST_EACH,
	.streams = ramoops_streams,
	.boots = ramoops_boots,
	.loss = dlog_list_loss,
};
