// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * tables.c - --list-boots, --stats, --regs, and the warning about a guest
 * that has gone silent.  Each as a table for people or as JSON, one object a
 * line.  Relies on libdlog.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "read.h"

#define NS UINT64_C(1000000000)

static void put_escaped(struct sink *s, const char *text)
{
	text_put(s, text, strlen(text), 0);
}

static void json_pair(struct json *j, const char *key, uint64_t v)
{
	json_key(j, key);
	json_u64(j, v);
}

static void json_pair_text(struct json *j, const char *key, const char *text)
{
	json_key(j, key);
	json_text(j, text);
}

/* Seconds since 1970, null when not known. */
static void json_pair_real(struct json *j, const char *key, uint64_t ns)
{
	json_key(j, key);
	if (ns)
		json_seconds(j, ns);
	else
		json_null(j);
}

static void json_pair_time(struct json *j, const char *key, uint64_t ns)
{
	json_key(j, key);
	json_seconds(j, ns);
}

/* How far a stale heartbeat is behind: the larger of what is known. */
static uint64_t behind(const struct dlog_beat *b)
{
	return b->age != UINT64_MAX && b->age > b->behind ? b->age : b->behind;
}

bool tell_stale(struct source *src)
{
	struct dlog_live live;
	struct dlog_beat b, worst = { 0 };
	unsigned int stale = 0, n = 0;

	dlog_get_live(src->d, &live);
	if (!dlog_status_lives(live.status))
		return false;
	for (uint32_t cpu = 0; cpu < src->info.nr_cpus; cpu++) {
		if (!dlog_get_beat(src->d, cpu, &b) || !b.online)
			continue;
		n++;
		if (!b.stale)
			continue;
		if (!stale++ || behind(&b) > behind(&worst))
			worst = b;
	}
	if (!stale)
		return false;
	if (n == 1)
		fprintf(stderr, "%s: the CPU's heartbeat is", src->path);
	else if (stale == n)
		fprintf(stderr, "%s: the heartbeats of all %u CPUs are",
			src->path, n);
	else if (stale > 1)
		fprintf(stderr, "%s: the heartbeats of %u of %u CPUs are",
			src->path, stale, n);
	else
		fprintf(stderr, "%s: CPU %u's heartbeat is", src->path,
			worst.cpu);
	fprintf(stderr, " %.1f s behind: %s is hung, stopped or gone\n",
		(double)behind(&worst) / 1e9,
		stale == n ? "the guest" : "that CPU or the guest");
	return true;
}

/* A word as "0x0123456789abcdef": jq's numbers cannot hold it. */
static void json_pair_hex(struct json *j, const char *key, uint64_t v)
{
	char word[20];

	snprintf(word, sizeof(word), "0x%016" PRIx64, v);
	json_pair_text(j, key, word);
}

/* ---- --list-boots ---- */

static void boots_json(struct view *v, struct source *src, int i)
{
	const struct dlog_boot_entry *b = &src->boots[i];
	bool latest = i == src->nr_boots - 1;
	struct json j = { .s = v->out };

	json_open(&j, '{');
	json_pair_text(&j, "file", src->path);
	json_pair(&j, "boot", b->boot);
	json_key(&j, "back");
	json_u64(&j, (uint64_t)(src->nr_boots - 1 - i));
	json_pair_text(&j, "release", b->release);
	json_pair_text(&j, "machine", b->machine);
	json_key(&j, "boot_id");
	json_hex(&j, b->boot_id, sizeof(b->boot_id));
	json_pair_real(&j, "started", b->start_real);
	if (b->kernel_text)
		json_pair_hex(&j, "kernel_text", b->kernel_text);
	json_key(&j, "latest");
	json_bool(&j, latest);
	json_pair_text(&j, "status", dlog_status_name(b->end_status));
	json_pair_time(&j, "status_time", b->end_time);
	json_pair_time(&j, "last_beat", b->last_beat);
	json_key(&j, "records");
	json_bool(&j, b->has_records);
	json_pair_time(&j, "first_time", b->first_time);
	json_pair_time(&j, "last_time", b->last_time);
	json_close(&j, '}');
	json_line(&j);
}

/* @text, then spaces up to column @width. */
static void put_column(struct sink *s, struct sink *scratch, const char *text,
		       size_t width)
{
	scratch->len = 0;
	put_escaped(scratch, text);
	sink_put(s, scratch->buf, scratch->len);
	for (size_t n = scratch->len; n < width; n++)
		sink_putc(s, ' ');
	sink_putc(s, ' ');
}

static void boots_row(struct view *v, struct source *src, int i)
{
	const struct dlog_boot_entry *b = &src->boots[i];
	bool latest = i == src->nr_boots - 1;
	struct sink date = { .fd = -1 };

	if (b->start_real)
		when_date(&date, b->start_real, v->fmt->utc);
	else
		sink_putc(&date, '-');
	sink_putc(&date, 0);
	sink_printf(v->out, "%5u %4d  ", b->boot, i - src->nr_boots + 1);
	put_column(v->out, &v->text, b->release[0] ? b->release : "-", 24);
	put_column(v->out, &v->text, date.buf ? date.buf : "-", 24);
	if (b->has_records) {
		text_stamp(v->out, b->first_time);
		sink_putc(v->out, ' ');
		text_stamp(v->out, b->last_time);
	} else {
		sink_puts(v->out, "none left     ");
		sink_puts(v->out, "               ");
	}
	sink_printf(v->out, " %s\n", boot_end(b, latest));
	sink_free(&date);
}

int show_boots(struct view *v, struct source *src)
{
	if (!v->fmt->json)
		sink_printf(v->out, "%5s %4s  %-24s %-24s %-14s %-14s %s\n",
			    "BOOT", "BACK", "KERNEL", "STARTED", "FIRST RECORD",
			    "LAST RECORD", "ENDED");
	for (int i = 0; i < src->nr_boots; i++) {
		if (v->fmt->json)
			boots_json(v, src, i);
		else
			boots_row(v, src, i);
	}
	return EXIT_OK;
}

/* ---- --stats ---- */

/* The first format of libdlog's list. */
static bool is_region(const struct source *src)
{
	return !strcmp(src->info.format, dlog_format_name(0));
}

static void put_uuid(struct sink *s, const uint8_t *uuid)
{
	static const uint8_t part[] = { 4, 2, 2, 2, 6 };

	for (size_t i = 0; i < sizeof(part); uuid += part[i++]) {
		if (i)
			sink_putc(s, '-');
		sink_hex(s, uuid, part[i]);
	}
}

static const char *memtype_advice(uint32_t memtype)
{
	switch (memtype) {
	case DLOG_MT_UC_MINUS:
	case DLOG_MT_UC:
		return ", SLOW: each store of the guest crosses its bus; "
		       "attach the region as nvdimm";
	case DLOG_MT_WT:
		return ", slow: each store of the guest goes to memory; "
		       "attach the region as nvdimm";
	default:
		return "";
	}
}

static void stats_geometry(struct view *v, struct source *src)
{
	const struct dlog_info *i = &src->info;
	struct sink *s = v->out;

	put_escaped(s, src->path);
	sink_puts(s, "\n  region     ");
	sink_puts(s, cli_size(i->region_size).s);
	sink_printf(s, ", %u ring%s of ", i->nr_rings,
		    i->nr_rings == 1 ? "" : "s");
	sink_puts(s, cli_size(i->ring_size).s);
	sink_puts(s, " in sub-buffers of ");
	sink_puts(s, cli_size(i->subbuf_size).s);
	sink_puts(s, "\n             ");
	sink_puts(s, cli_size(i->catalog_size).s);
	sink_puts(s, " catalog (");
	sink_puts(s, cli_size(dlog_get_catalog_used(src->d)).s);
	sink_printf(s, " used, %u events), %u CPUs, %u boots\n",
		    count_events(src->d), i->nr_cpus, i->boot_slots);
	if (i->file_size > i->region_size) {
		sink_puts(s, "  file       ");
		sink_puts(s, cli_size(i->file_size).s);
		sink_puts(s, ": larger than its region\n");
	}
	if (i->backup)
		sink_puts(s, "  damaged    the first superblock; its copy at "
			     "the end is used\n");
	sink_puts(s, "  uuid       ");
	put_uuid(s, i->uuid);
	if (i->label[0]) {
		sink_puts(s, "\n  label      ");
		put_escaped(s, i->label);
	}
	sink_puts(s, "\n  created    ");
	when_date(s, i->created, v->fmt->utc);
	sink_putc(s, '\n');
}

/* What a source says that is no region. */
static void stats_facts(struct view *v, struct source *src)
{
	struct sink *s = v->out;
	struct dlog_fact f;

	put_escaped(s, src->path);
	sink_printf(s, "\n  %-10s ", "format");
	sink_puts(s, src->info.format);
	sink_puts(s, ", ");
	sink_puts(s, cli_size(src->info.region_size).s);
	sink_putc(s, '\n');
	for (uint32_t i = 0; dlog_get_fact(src->d, i, &f); i++)
		text_fact(s, 2, f.name, f.text);
}

static void facts_json(struct json *j, struct source *src)
{
	struct dlog_fact f;

	json_key(j, "facts");
	json_open(j, '{');
	for (uint32_t i = 0; dlog_get_fact(src->d, i, &f); i++)
		json_pair_text(j, f.name, f.text);
	json_close(j, '}');
}

static void stats_live(struct view *v, struct source *src)
{
	struct dlog_live l;
	struct sink *s = v->out;

	dlog_get_live(src->d, &l);
	if (!l.boot) {
		sink_printf(s,
			    "  status     no guest has used the region yet\n");
		if (l.stop_asked)
			sink_puts(s, "  recording  off: the host asked for it "
				     "(--start ends that)\n");
		return;
	}
	sink_printf(s, "  status     %s, boot %u, since ",
		    dlog_status_name(l.status), l.boot);
	text_stamp(s, l.status_time);
	sink_printf(s, ", %u CPU%s online\n", l.online,
		    l.online == 1 ? "" : "s");
	sink_printf(s, "  memory     %s in the guest%s\n",
		    dlog_memtype_name(l.memtype), memtype_advice(l.memtype));
	sink_printf(s, "  recording  %s%s\n", l.recording ? "on" : "off",
		    l.stop_asked && l.recording ? ", the host has asked to stop"
		    : l.stop_asked ? ": the host asked for it (--start "
				     "ends that)"
		    : l.recording  ? ""
				   : ": switched off in the guest, or not "
				     "begun");
	sink_printf(s, "  heartbeat  ");
	if (l.period_ms)
		sink_printf(s, "every %u ms\n", l.period_ms);
	else
		sink_puts(s, "none\n");
}

/* "3.2 s", or "-" when nobody can know. */
static void put_age(struct sink *s, uint64_t ns)
{
	char text[32] = "-";

	if (ns != UINT64_MAX)
		snprintf(text, sizeof(text), "%.1f s", (double)ns / 1e9);
	sink_printf(s, "%12s", text);
}

static void stats_beats(struct view *v, struct source *src)
{
	struct dlog_live live;
	struct dlog_beat b;
	bool any = false;

	dlog_get_live(src->d, &live);
	for (uint32_t cpu = 0; cpu < src->info.nr_cpus; cpu++) {
		if (!dlog_get_beat(src->d, cpu, &b))
			continue;
		if (!any)
			sink_puts(v->out,
				  "\n  CPU RING LAST BEAT            AGE  "
				  "    BEHIND      BEATS\n");
		any = true;
		sink_printf(v->out, "%5u %4u ", b.cpu, b.ring);
		text_stamp(v->out, b.time);
		put_age(v->out, b.age);
		put_age(v->out, b.behind);
		sink_printf(v->out, " %10" PRIu64 "%s\n", b.beats,
			    !b.online			      ? "  offline"
			    : !dlog_status_lives(live.status) ? ""
			    : b.stale			      ? "  stale"
							      : "");
	}
}

static void loss_row(struct sink *s, const struct dlog_loss *l)
{
	sink_printf(s,
		    "%11" PRIu64 " %11" PRIu64 " %11" PRIu64 " %6" PRIu64
		    " %7" PRIu64 " %7" PRIu64 " %12" PRIu64 " %9" PRIu64 "\n",
		    l->records, l->reserved, l->overwritten, l->torn,
		    l->corrupt, l->dropped, l->bytes, l->bad_bytes);
}

static void loss_add(struct dlog_loss *sum, const struct dlog_loss *l)
{
	sum->records += l->records;
	sum->reserved += l->reserved;
	sum->overwritten += l->overwritten;
	sum->torn += l->torn;
	sum->corrupt += l->corrupt;
	sum->dropped += l->dropped;
	sum->bytes += l->bytes;
	sum->bad_bytes += l->bad_bytes;
}

static void stats_loss(struct sink *s, const struct dlog_loss *loss, int n)
{
	struct dlog_loss sum = { 0 };

	if (!n)
		return;
	sink_printf(s, "\n%5s %4s %11s %11s %11s %6s %7s %7s %12s %9s\n",
		    "BOOT", "RING", "RECORDS", "WRITTEN", "OVERWRITTEN", "TORN",
		    "CORRUPT", "DROPPED", "BYTES", "BAD BYTES");
	for (int i = 0; i < n; i++) {
		sink_printf(s, "%5u %4u ", loss[i].boot, loss[i].ring);
		loss_row(s, &loss[i]);
		loss_add(&sum, &loss[i]);
	}
	sink_printf(s, "%10s ", "total");
	loss_row(s, &sum);
}

static void loss_json(struct json *j, const struct dlog_loss *l)
{
	json_open(j, '{');
	json_pair(j, "boot", l->boot);
	json_pair(j, "ring", l->ring);
	json_pair(j, "records", l->records);
	json_pair(j, "written", l->reserved);
	json_pair(j, "overwritten", l->overwritten);
	json_pair(j, "torn", l->torn);
	json_pair(j, "corrupt", l->corrupt);
	json_pair(j, "dropped", l->dropped);
	json_pair(j, "bytes", l->bytes);
	json_pair(j, "bad_bytes", l->bad_bytes);
	json_close(j, '}');
}

static void losses_json(struct json *j, const struct dlog_loss *loss, int n)
{
	json_key(j, "loss");
	json_open(j, '[');
	for (int i = 0; i < n; i++)
		loss_json(j, &loss[i]);
	json_close(j, ']');
}

static void beat_json(struct json *j, const struct dlog_beat *b)
{
	json_open(j, '{');
	json_pair(j, "cpu", b->cpu);
	json_pair(j, "ring", b->ring);
	json_key(j, "online");
	json_bool(j, b->online);
	json_pair_time(j, "time", b->time);
	json_pair(j, "beats", b->beats);
	json_pair_time(j, "behind", b->behind);
	json_key(j, "age");
	if (b->age == UINT64_MAX)
		json_null(j);
	else
		json_seconds(j, b->age);
	json_key(j, "stale");
	json_bool(j, b->stale);
	json_close(j, '}');
}

static void geometry_json(struct json *j, struct source *src)
{
	const struct dlog_info *i = &src->info;

	json_pair_text(j, "file", src->path);
	json_pair_text(j, "format", i->format);
	if (!is_region(src)) {
		json_pair(j, "file_size", i->file_size);
		return;
	}
	json_key(j, "uuid");
	json_hex(j, i->uuid, sizeof(i->uuid));
	json_pair_text(j, "label", i->label);
	json_pair_real(j, "created", i->created);
	json_pair(j, "region_size", i->region_size);
	json_pair(j, "file_size", i->file_size);
	json_pair(j, "ring_size", i->ring_size);
	json_pair(j, "catalog_size", i->catalog_size);
	json_pair(j, "catalog_used", dlog_get_catalog_used(src->d));
	json_pair(j, "event_types", count_events(src->d));
	json_pair(j, "rings", i->nr_rings);
	json_pair(j, "subbuf_size", i->subbuf_size);
	json_pair(j, "cpu_slots", i->nr_cpus);
	json_pair(j, "boot_slots", i->boot_slots);
	json_key(j, "superblock_damaged");
	json_bool(j, i->backup);
}

static void live_json(struct json *j, const struct dlog_live *l)
{
	json_pair_text(j, "status", dlog_status_name(l->status));
	json_pair(j, "boot", l->boot);
	json_pair_time(j, "status_time", l->status_time);
	json_pair_text(j, "memory", dlog_memtype_name(l->memtype));
	json_pair(j, "period_ms", l->period_ms);
	json_key(j, "recording");
	json_bool(j, l->recording);
	json_key(j, "stop_asked");
	json_bool(j, l->stop_asked);
	json_pair(j, "online", l->online);
}

static void stats_json(struct view *v, struct source *src,
		       const struct dlog_loss *loss, int n)
{
	struct json j = { .s = v->out };
	struct dlog_live live;
	struct dlog_beat b;

	json_open(&j, '{');
	geometry_json(&j, src);
	if (is_region(src)) {
		dlog_get_live(src->d, &live);
		live_json(&j, &live);
		json_key(&j, "cpus");
		json_open(&j, '[');
		for (uint32_t cpu = 0; cpu < src->info.nr_cpus; cpu++)
			if (dlog_get_beat(src->d, cpu, &b))
				beat_json(&j, &b);
		json_close(&j, ']');
	} else {
		facts_json(&j, src);
	}
	losses_json(&j, loss, n);
	json_close(&j, '}');
	json_line(&j);
}

static int get_loss(struct source *src, struct dlog_loss **loss)
{
	int n = dlog_get_loss(src->d, loss);

	if (n < 0)
		fprintf(stderr, PROGRAM ": %s: cannot be scanned: %s\n",
			src->path, strerror(-n));
	return n;
}

int show_stats(struct view *v, struct source *src)
{
	struct dlog_loss *loss;
	int n = get_loss(src, &loss);

	if (n < 0)
		return EXIT_ERROR;
	if (v->fmt->json) {
		stats_json(v, src, loss, n);
	} else if (is_region(src)) {
		stats_geometry(v, src);
		stats_live(v, src);
		stats_beats(v, src);
		stats_loss(v->out, loss, n);
	} else {
		stats_facts(v, src);
		stats_loss(v->out, loss, n);
	}
	free(loss);
	return EXIT_OK;
}

/* ---- --check ---- */

static bool lossy(const struct dlog_loss *l)
{
	return l->torn || l->corrupt || l->dropped || l->bad_bytes;
}

static void check_row(struct sink *s, const struct source *src,
		      const struct dlog_loss *l)
{
	put_escaped(s, src->path);
	sink_printf(s,
		    ": boot %u, ring %u: %" PRIu64 " torn, %" PRIu64
		    " corrupt, %" PRIu64 " dropped, %" PRIu64 " bad bytes\n",
		    l->boot, l->ring, l->torn, l->corrupt, l->dropped,
		    l->bad_bytes);
}

static void check_text(struct sink *s, const struct source *src,
		       const struct dlog_loss *loss, int n, bool damage)
{
	struct dlog_loss sum = { 0 };

	if (src->info.backup) {
		put_escaped(s, src->path);
		sink_puts(s, ": the first superblock is damaged; its copy at "
			     "the end was used\n");
	}
	for (int i = 0; i < n; i++) {
		loss_add(&sum, &loss[i]);
		if (lossy(&loss[i]))
			check_row(s, src, &loss[i]);
	}
	put_escaped(s, src->path);
	sink_printf(s,
		    ": %s: %" PRIu64 " records in %d boot%s, %" PRIu64
		    " overwritten by later ones, %" PRIu64 " torn, %" PRIu64
		    " corrupt, %" PRIu64 " dropped\n",
		    damage ? "damage or loss" : "clean", sum.records,
		    src->nr_boots, src->nr_boots == 1 ? "" : "s",
		    sum.overwritten, sum.torn, sum.corrupt, sum.dropped);
}

int show_check(struct view *v, struct source *src)
{
	struct dlog_loss *loss;
	int n = get_loss(src, &loss);
	bool damage = src->info.backup;

	if (n < 0)
		return EXIT_ERROR;
	for (int i = 0; i < n; i++)
		damage |= lossy(&loss[i]);
	if (v->fmt->json) {
		struct json j = { .s = v->out };

		json_open(&j, '{');
		geometry_json(&j, src);
		json_key(&j, "clean");
		json_bool(&j, !damage);
		losses_json(&j, loss, n);
		json_close(&j, '}');
		json_line(&j);
	} else {
		check_text(v->out, src, loss, n, damage);
	}
	free(loss);
	return damage ? EXIT_DAMAGE : EXIT_OK;
}

/* ---- --regs ---- */

/* libdlog renders the record of a snapshot: give it one. */
static void regs_text(struct view *v, struct source *src,
		      const struct dlog_reg_entry *r)
{
	uint8_t data[8 + sizeof(r->prstatus)];
	struct dlog_entry e = {
		.source = src->d,
		.boot = r->boot,
		.time = r->time,
		.kind = DLOG_KIND_REGS,
		.data = data,
		.len = 8 + r->prstatus_size,
	};
	const uint8_t *text;
	size_t len;

	memcpy(data, &r->cpu, 4);
	memcpy(data + 4, &r->reason, 4);
	memcpy(data + 8, r->prstatus, r->prstatus_size);
	text = entry_text(&e, &v->text, &len);
	text_put(v->out, text, len, 2);
}

static const char *const control_name[] = {
	"cr0",	"cr2",	   "cr3",     "cr4",
	"efer", "fs_base", "gs_base", "kernel_gs_base",
};

static void regs_row(struct view *v, struct source *src,
		     const struct dlog_reg_entry *r)
{
	struct sink *s = v->out;

	sink_printf(s, "boot %u ", r->boot);
	text_stamp(s, r->time);
	sink_putc(s, ' ');
	regs_text(v, src, r);
	for (int i = 0; r->machine == 62 && i < 8; i++)
		sink_printf(s, "%s%s=%016" PRIx64, i % 4 ? " " : "\n  ",
			    control_name[i], r->control[i]);
	sink_puts(s, "\n\n");
}

static void regs_json(struct view *v, struct source *src,
		      const struct dlog_reg_entry *r)
{
	struct json j = { .s = v->out };

	json_open(&j, '{');
	json_pair_text(&j, "file", src->path);
	json_pair(&j, "boot", r->boot);
	json_pair(&j, "cpu", r->cpu);
	json_pair_time(&j, "time", r->time);
	json_pair_text(&j, "reason", dlog_status_name(r->reason));
	json_pair(&j, "machine", r->machine);
	for (int i = 0; r->machine == 62 && i < 8; i++)
		json_pair_hex(&j, control_name[i], r->control[i]);
	json_key(&j, "prstatus");
	json_hex(&j, r->prstatus, r->prstatus_size);
	json_close(&j, '}');
	json_line(&j);
}

int show_regs(struct view *v, struct source *src, uint32_t boot)
{
	struct dlog_reg_entry r;
	bool any = false;

	for (uint32_t cpu = 0; cpu < src->info.nr_cpus; cpu++) {
		if (dlog_get_regs(src->d, cpu, boot, &r) <= 0)
			continue;
		any = true;
		if (v->fmt->json)
			regs_json(v, src, &r);
		else
			regs_row(v, src, &r);
	}
	if (!any)
		fprintf(stderr,
			PROGRAM ": %s: no registers were kept%s: a guest "
				"leaves them when it panics or is sent an "
				"NMI\n",
			src->path, boot ? " of that boot" : "");
	return EXIT_OK;
}
