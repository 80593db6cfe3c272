// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * ftrace.c - a source: the persistent ring buffer of Linux' ftrace, which a
 * kernel from 6.12 on keeps in memory that it was told with
 * trace_instance=NAME@ADDRESS:SIZE.  See ftrace.h.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stock/ftrace.h"

/* ---- opening ---- */

/* How many boots the rings hold, and what of them is damaged. */
static int survey(const struct dlog *d, struct ftrace *f)
{
	for (uint32_t cpu = 0; cpu < f->cpus; cpu++) {
		struct ftrace_order o;
		int ret = ftrace_order(d, f, cpu, &o);

		if (ret)
			return ret;
		free(o.entry);
		f->bad_meta += !o.listed;
		f->bad_pages += o.bad;
		f->dropped += o.dropped;
		if (o.runs > f->boots)
			f->boots = o.runs;
	}
	return 0;
}

static int open_formats(struct dlog *d, struct ftrace *f,
			struct dlog_error *err)
{
	char path[4096];
	int ret = dlog_option_text(d, "formats", path, sizeof(path), err);

	return ret > 0 ? ftrace_formats_open(&f->formats, path, err) : ret;
}

static int ftrace_open(struct dlog *d, bool forced, struct dlog_error *err)
{
	struct ftrace *f, found;
	int ret = ftrace_find(d, &found, forced);

	if (ret == -EBADMSG)
		return dlog_fail(err, ret,
				 "%s holds no ring buffer of ftrace's "
				 "(trace_instance=NAME@ADDRESS:SIZE): is this "
				 "the right part of the file?",
				 d->name);
	if (ret)
		return dlog_fail(err, ret, "Cannot read %s: %s.", d->name,
				 strerror(-ret));
	f = malloc(sizeof(*f));
	if (!f)
		return dlog_fail(err, -ENOMEM, "No memory to open %s.",
				 d->name);
	*f = found;
	d->state = f;
	ret = survey(d, f);
	if (ret)
		return dlog_fail(err, ret, "Cannot read %s: %s.", d->name,
				 strerror(-ret));
	return open_formats(d, f, err);
}

static void ftrace_close(struct dlog *d)
{
	struct ftrace *f = d->state;

	if (f)
		ftrace_formats_free(f->formats);
	free(f);
}

/* ---- facts ---- */

static bool fact_layout(const struct dlog *d, struct dlog_fact *fact)
{
	const struct ftrace *f = d->state;

	strcpy(fact->name, "layout");
	snprintf(fact->text, sizeof(fact->text),
		 "of Linux %s, at byte %" PRIu64
		 ": %u CPUs, each %u sub-buffers of %u bytes",
		 f->global ? "6.15 or later" : "6.12 to 6.14", f->base, f->cpus,
		 f->nr, f->size);
	return true;
}

/*
 * struct trace_scratch in kernel/trace/trace.c of 6.16: clock_id, text_addr,
 * nr_entries; 6.15 has no clock_id.  An address is no small number.
 */
static bool fact_clock(const struct dlog *d, struct dlog_fact *fact)
{
	static const char *const name[] = { "local",	"global", "counter",
					    "uptime",	"perf",	  "mono",
					    "mono_raw", "boot",	  "tai",
					    "x86-tsc" };
	const struct ftrace *f = d->state;
	uint8_t raw[16];
	uint64_t id;

	strcpy(fact->name, "clock");
	if (f->scratch_size >= sizeof(raw) &&
	    !dlog_fetch(d, f->scratch, raw, sizeof(raw)) &&
	    dlog_load64(raw + 8) >> 32) {
		id = dlog_load64(raw);
		if (id < sizeof(name) / sizeof(name[0])) {
			snprintf(fact->text, sizeof(fact->text), "%s%s",
				 name[id],
				 id ? "" : ": ns since boot, as printk's");
			return true;
		}
	}
	strcpy(fact->text, "not recorded; unless the guest's trace_clock was "
			   "changed it is local: ns since boot, as printk's");
	return true;
}

static bool fact_formats(const struct dlog *d, struct dlog_fact *fact)
{
	const struct ftrace *f = d->state;

	strcpy(fact->name, "formats");
	if (f->formats)
		snprintf(fact->text, sizeof(fact->text),
			 "of %u events, from %s",
			 ftrace_formats_count(f->formats),
			 ftrace_formats_path(f->formats));
	else
		strcpy(fact->text,
		       "none given, so events are numbers and bytes: name a "
		       "copy of this very kernel's /sys/kernel/tracing/events "
		       "with formats=PATH");
	return true;
}

static bool fact_damage(const struct dlog *d, struct dlog_fact *fact)
{
	const struct ftrace *f = d->state;

	strcpy(fact->name, "damage");
	if (!f->bad_meta && !f->bad_pages && !f->dropped)
		return false;
	snprintf(fact->text, sizeof(fact->text),
		 "order of sub-buffers not known for %u CPUs (their times give "
		 "it; so it is when somebody reads trace_pipe in Linux 6.12), "
		 "%u sub-buffers with a wrong header, nothing read of %u",
		 f->bad_meta, f->bad_pages, f->dropped);
	return true;
}

static int ftrace_fact(struct dlog *d, uint32_t n, struct dlog_fact *fact)
{
	static bool (*const facts[])(const struct dlog *d,
				     struct dlog_fact *fact) = {
		fact_layout,
		fact_clock,
		fact_formats,
		fact_damage,
	};

	for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++)
		if (facts[i](d, fact) && !n--)
			return 1;
	return 0;
}

static int ftrace_event(struct dlog *d, uint32_t id,
			struct dlog_event_desc *desc)
{
	const struct ftrace *f = d->state;

	return ftrace_formats_event(f->formats, id, desc);
}

/* ---- passes over all of it ---- */

static uint32_t ftrace_streams(struct dlog *d)
{
	return ((const struct ftrace *)d->state)->cpus;
}

/* What one sub-buffer holds; its events' last time at *@last. */
static void page_loss(const struct dlog *d, const struct ftrace *f,
		      uint32_t cpu, const struct ftrace_entry *entry,
		      uint8_t *buf, struct dlog_loss *l, uint64_t *last)
{
	struct ftrace_header h;
	struct ftrace_event e;
	struct ftrace_walk w;
	uint32_t end;

	if (ftrace_load(d, f, cpu, entry->page, buf, &h) <= 0)
		return;
	ftrace_walk_begin(&w, buf, &h);
	while (ftrace_walk_next(&w, &e)) {
		l->records++;
		l->bytes += e.len;
	}
	*last = w.time;
	if (w.broken) {
		l->corrupt++;
		l->bad_bytes += w.end - w.off;
	}
	/* Behind what is committed there may be the number. */
	end = FTRACE_HEADER + h.commit;
	if (h.missed && !h.bad)
		l->overwritten += h.stored && end + 8 <= f->size &&
						  !(dlog_load64(buf + end) >>
						    32)
					  ? dlog_load64(buf + end)
					  : 1;
}

/*
 * One pass over a CPU.  Of loss (NULL: not asked for) and boots there are
 * f->boots; loss has each CPU's for each boot.
 */
static int pass_cpu(const struct dlog *d, uint32_t cpu, uint8_t *buf,
		    struct dlog_loss *loss, struct dlog_boot_entry *boots)
{
	const struct ftrace *f = d->state;
	struct dlog_loss none = { 0 };
	struct ftrace_order o;
	int ret = ftrace_order(d, f, cpu, &o);

	if (ret)
		return ret;
	for (uint32_t i = 0; i < o.nr; i++) {
		const struct ftrace_entry *e = &o.entry[i];
		uint32_t n = f->boots > e->back ? f->boots - e->back - 1 : 0;
		struct dlog_boot_entry *b = &boots[n];
		uint64_t last = e->time;

		/* For the times of boots the last of a run is enough. */
		if (loss || i + 1 == o.nr || e[1].back != e->back)
			page_loss(d, f, cpu, e, buf,
				  loss ? &loss[n * f->cpus + cpu] : &none,
				  &last);
		if (e->lost_time)
			continue;
		if (!b->has_records || e->time < b->first_time)
			b->first_time = e->time;
		if (last > b->last_time)
			b->last_time = last;
		b->has_records = true;
	}
	if (loss)
		loss[(f->boots - 1) * f->cpus + cpu].corrupt += o.dropped;
	free(o.entry);
	return 0;
}

static int pass(const struct dlog *d, struct dlog_loss *loss,
		struct dlog_boot_entry *boots)
{
	const struct ftrace *f = d->state;
	uint8_t *buf = malloc(f->size);
	int ret = buf ? 0 : -ENOMEM;

	for (uint32_t cpu = 0; !ret && cpu < f->cpus; cpu++)
		ret = pass_cpu(d, cpu, buf, loss, boots);
	free(buf);
	return ret;
}

static int ftrace_boots(struct dlog *d, struct dlog_boot_entry **out)
{
	const struct ftrace *f = d->state;
	struct dlog_boot_entry *b = calloc(f->boots, sizeof(*b));
	int ret = b ? pass(d, NULL, b) : -ENOMEM, nr = 0;

	for (uint32_t i = 0; !ret && i < f->boots; i++) {
		b[i].boot = i + 1;
		if (b[i].has_records)
			b[nr++] = b[i];
	}
	if (ret) {
		free(b);
		b = NULL;
	}
	*out = b;
	return ret ? ret : nr;
}

/*
 * What the writer overwrote the ring does not say: only what a kernel's own
 * flags say of gaps is counted.
 */
static int ftrace_loss(struct dlog *d, struct dlog_loss **out)
{
	const struct ftrace *f = d->state;
	uint32_t n = f->boots * f->cpus;
	struct dlog_boot_entry *b = calloc(f->boots, sizeof(*b));
	struct dlog_loss *l = calloc(n, sizeof(*l));
	int ret = b && l ? pass(d, l, b) : -ENOMEM, nr = 0;

	free(b);
	if (ret) {
		free(l);
		l = NULL;
	}
	*out = l;
	for (uint32_t i = 0; l && i < n; i++) {
		l[i].boot = i / f->cpus + 1;
		l[i].ring = i % f->cpus;
		l[i].reserved = l[i].records + l[i].overwritten + l[i].corrupt;
		if (l[i].reserved)
			l[nr++] = l[i];
	}
	return ret ? ret : nr;
}

const struct dlog_source_ops dlog_ftrace_ops = {
	.name = "ftrace",
	.help = "ftrace's ring buffer that a kernel from 6.12 on was told to "
		"keep there (trace_instance=NAME@ADDRESS:SIZE)",
	.options =
		"formats=PATH\tcopy of the guest's "
		"/sys/kernel/tracing/events, or all of its formats in one file\n",
	.open = ftrace_open,
	.close = ftrace_close,
	.fact = ftrace_fact,
	.event = ftrace_event,
	.streams = ftrace_streams,
	.stream_new = ftrace_stream_new,
	.stream_free = ftrace_stream_free,
	.stream_set_boot = ftrace_stream_set_boot,
	.stream_last = ftrace_stream_last,
	.stream_tell = ftrace_stream_tell,
	.stream_seek = ftrace_stream_seek,
	.stream_next = ftrace_stream_next,
	.stream_put = ftrace_stream_put,
	.stream_poll = ftrace_stream_poll,
	.stream_missed = ftrace_stream_missed,
	.boots = ftrace_boots,
	.loss = ftrace_loss,
};
