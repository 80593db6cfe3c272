// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * printk.c - the kernel's log in a guest's RAM, as a stream of records.
 *
 * The position of a record is its sequence number.  Descriptors and infos are
 * read some at a time, then their texts, then both again: what has not
 * changed meanwhile is a record, the rest is read once more by itself.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "prb.h"

#define BOOT 1u /* all that there is */
#define SLOTS 256u /* more than a reader holds back */
#define RETRIES 8u
#define PENDING 16u
#define PENDING_NS 1000000000u

bool ram_prb_sane(struct dlog_ram *ram)
{
	struct prb_layout l;
	struct prb p;

	return !prb_layout_load(ram, &l) && !prb_load(ram, &l, &p);
}

struct slot {
	struct prb_record r;
	struct prb_buf buf;
	bool used, late;
};

/* Followed: a record that is not finished, and when it was seen first. */
struct pending {
	uint64_t seq, since;
};

struct stream {
	struct dlog_ram *ram;
	struct prb_layout l;
	struct prb p;
	bool follow, none; /* none: of another boot than is wanted */
	uint64_t next; /* to be read */
	uint64_t from; /* behind what was given */
	uint64_t given, missed;
	uint64_t time; /* of the record before */
	uint64_t lap, text; /* bytes of text in this lap of the records */
	struct prb_raw raw, again;
	struct slot slot[SLOTS];
	/* Slots in the order in which they are to be given. */
	uint32_t ready[PRB_BATCH + PENDING], ready_at, nr_ready;
	struct pending pending[PENDING];
	uint32_t nr_pending;
};

static void stream_free(void *stream)
{
	struct stream *s = stream;

	for (uint32_t i = 0; i < SLOTS; i++)
		free(s->slot[i].buf.p);
	prb_raw_free(&s->raw);
	prb_raw_free(&s->again);
	free(s);
}

static int stream_new(struct dlog *d, uint32_t n, unsigned int flags,
		      void **out)
{
	struct stream *s = calloc(1, sizeof(*s));
	int ret;

	(void)n;
	if (!s)
		return -ENOMEM;
	s->ram = d->state;
	s->follow = flags & DLOG_READER_FOLLOW;
	ret = prb_layout_load(s->ram, &s->l);
	if (!ret)
		ret = prb_load(s->ram, &s->l, &s->p);
	if (!ret)
		ret = prb_raw_init(&s->raw, &s->l);
	if (!ret)
		ret = prb_raw_init(&s->again, &s->l);
	if (ret) {
		stream_free(s);
		return ret;
	}
	s->next = s->from = flags & DLOG_READER_NEW ? s->p.end : s->p.first;
	*out = s;
	return 0;
}

static void stream_set_boot(void *stream, uint32_t boot)
{
	((struct stream *)stream)->none = boot && boot != BOOT;
}

static int stream_last(void *stream, uint64_t n)
{
	struct stream *s = stream;

	if (s->p.end - s->next <= n)
		return 0;
	s->next = s->from = s->p.end - n;
	return 1;
}

static size_t stream_tell(void *stream, struct dlog_place *out, size_t n)
{
	struct stream *s = stream;

	if (n)
		*out = (struct dlog_place){
			.boot = BOOT,
			.position = s->from,
			.end = UINT64_MAX,
			.records = s->given,
		};
	return 1;
}

static void stream_seek(void *stream, const struct dlog_place *p, size_t n)
{
	struct stream *s = stream;

	for (size_t i = 0; i < n; i++) {
		if (p[i].ring || p[i].end != UINT64_MAX ||
		    p[i].position > s->p.end)
			continue;
		s->given = p[i].records;
		s->next = p[i].position;
		if (s->next < s->p.first) {
			s->missed += s->p.first - s->next;
			s->next = s->p.first;
		}
		s->from = s->next;
	}
}

/* ---- one record ---- */

/* It goes into @slot and is to be given; what is nothing does not. */
static void keep(struct stream *s, struct slot *slot, bool late)
{
	struct prb_record *r = &slot->r;

	/* Early in boot that is a time. */
	if (!r->time && r->doubt)
		r->time = s->time;
	s->time = r->time;
	if (r->state < PRB_BEGUN || (r->state == PRB_BEGUN && !r->len))
		return;
	slot->used = true;
	slot->late = late;
	s->ready[s->nr_ready++] = (uint32_t)(slot - s->slot);
}

static void pending_add(struct stream *s, uint64_t seq)
{
	if (s->nr_pending == PENDING) {
		s->missed++;
		memmove(s->pending, s->pending + 1,
			--s->nr_pending * sizeof(s->pending[0]));
	}
	s->pending[s->nr_pending++] = (struct pending){
		.seq = seq,
		.since = dlog_now(CLOCK_MONOTONIC),
	};
}

/* Record @i of s->raw with its text, which may have changed since. */
static int load_text(struct stream *s, uint32_t i, struct slot *slot)
{
	struct prb_record *r = &slot->r;
	int ret;

	prb_decode(&s->l, &s->p, &s->raw, i, r);
	if (r->state < PRB_BEGUN)
		return 0;
	if (r->seq / s->p.count != s->lap) {
		s->lap = r->seq / s->p.count;
		s->text = 0;
	}
	/* Texts do not overlap; twice what there is for those read again. */
	if (s->text > 2 * s->p.size)
		r->begin = r->next = 0;
	ret = prb_text(s->ram, &s->p, r, &slot->buf);
	s->text += slot->buf.read;
	return ret;
}

/* One that changed while it was read: until it holds still. */
static int load_again(struct stream *s, uint64_t seq, struct slot *slot)
{
	for (uint32_t i = 0; i < RETRIES; i++) {
		int ret = prb_raw_read(s->ram, &s->l, &s->p, &s->raw, seq, 1);

		if (!ret)
			ret = load_text(s, 0, slot);
		if (!ret)
			ret = prb_raw_read(s->ram, &s->l, &s->p, &s->again, seq,
					   1);
		if (ret || prb_same(&s->l, &s->raw, &s->again, 0))
			return ret;
	}
	slot->r.doubt = DLOG_DOUBT_TORN;
	return 0;
}

static bool unfinished(const struct prb_record *r)
{
	return r->state == PRB_BEGUN || r->state == PRB_OPEN;
}

static struct slot *slot_free(struct stream *s, uint32_t *from)
{
	while (*from < SLOTS)
		if (!s->slot[(*from)++].used)
			return &s->slot[*from - 1];
	return NULL;
}

/* ---- some records ---- */

/* Those that were not finished and are now, or that nobody finishes. */
static int take_pending(struct stream *s)
{
	uint64_t now = dlog_now(CLOCK_MONOTONIC);
	uint32_t nr = s->nr_pending, from = 0;

	s->nr_pending = 0;
	for (uint32_t i = 0; i < nr; i++) {
		struct pending p = s->pending[i];
		struct slot *slot = slot_free(s, &from);
		int ret = slot ? load_again(s, p.seq, slot) : 0;

		if (ret)
			return ret;
		if (!slot ||
		    (unfinished(&slot->r) && now - p.since < PENDING_NS))
			s->pending[s->nr_pending++] = p;
		else
			keep(s, slot, p.seq < s->from);
	}
	return 0;
}

/* A run of records from s->next on, as many as there are slots for. */
static int take_batch(struct stream *s)
{
	uint32_t n = PRB_BATCH, from = 0;
	struct slot *slot[PRB_BATCH];
	bool changed[PRB_BATCH];
	int ret;

	if (n > s->p.end - s->next)
		n = (uint32_t)(s->p.end - s->next);
	for (uint32_t i = 0; i < n; i++) {
		slot[i] = slot_free(s, &from);
		if (!slot[i])
			n = i;
	}
	if (!n)
		return 0;
	ret = prb_raw_read(s->ram, &s->l, &s->p, &s->raw, s->next, n);
	n = s->raw.n;
	for (uint32_t i = 0; !ret && i < n; i++)
		ret = load_text(s, i, slot[i]);
	if (!ret)
		ret = prb_raw_read(s->ram, &s->l, &s->p, &s->again, s->next, n);
	if (ret)
		return ret;
	/* load_again() reads into s->raw. */
	for (uint32_t i = 0; i < n; i++)
		changed[i] = !prb_same(&s->l, &s->raw, &s->again, i);
	for (uint32_t i = 0; i < n; i++) {
		if (changed[i])
			ret = load_again(s, s->next + i, slot[i]);
		if (ret)
			return ret;
		if (s->follow && unfinished(&slot[i]->r))
			pending_add(s, s->next + i);
		else
			keep(s, slot[i], false);
	}
	s->next += n;
	return 0;
}

/* Look at the head again: what was overwritten, what is new? */
static bool refresh(struct stream *s)
{
	struct prb p;

	if (prb_load(s->ram, &s->l, &p))
		return false;
	s->p = p;
	if (s->next < p.first) {
		s->missed += p.first - s->next;
		s->next = p.first;
	}
	/* Another kernel, or the buffer that it had in early boot. */
	if (s->next > p.end)
		s->next = p.first;
	return s->next < p.end;
}

static void give(struct stream *s, struct dlog_item *item)
{
	uint32_t n = s->ready[s->ready_at++];
	struct slot *slot = &s->slot[n];
	const struct prb_record *r = &slot->r;
	uint32_t caller = r->caller & (DLOG_CALLER_CPU | DLOG_CALLER_UNKNOWN |
				       DLOG_CALLER_ID);

	caller |= DLOG_CALLER_TAKEN;
	if (r->state == PRB_OPEN)
		caller |= DLOG_CALLER_OPEN;
	/* In place of what was in front of the text. */
	memcpy(slot->buf.p + PRB_TEXT - 4, &caller, 4);
	*item = (struct dlog_item){
		.time = r->time,
		.position = r->seq,
		.boot = BOOT,
		.type = DLOG_TYPE(DLOG_KIND_PRINTK,
				  DLOG_PRI(r->facility, r->level)),
		.len = (uint16_t)(4 + r->len),
		.doubt = r->doubt,
		.data = slot->buf.p + PRB_TEXT - 4,
		.buffer = n,
		.late = slot->late,
	};
	if (!slot->late)
		item->number = s->given++;
	if (s->from <= r->seq)
		s->from = r->seq + 1;
}

static int stream_next(void *stream, struct dlog_item *item)
{
	struct stream *s = stream;

	if (s->none)
		return 0;
	while (s->ready_at == s->nr_ready) {
		uint64_t before = s->next;
		int ret;

		s->ready_at = s->nr_ready = 0;
		ret = take_pending(s);
		if (!ret && s->next < s->p.end)
			ret = take_batch(s);
		if (ret)
			return ret;
		if (!s->nr_ready && s->next == before)
			return 0;
	}
	give(s, item);
	return 1;
}

static void stream_put(void *stream, const struct dlog_item *item)
{
	((struct stream *)stream)->slot[item->buffer].used = false;
}

static bool stream_poll(void *stream, bool rare)
{
	struct stream *s = stream;

	(void)rare;
	return !s->none && (refresh(s) || s->nr_pending);
}

static uint64_t stream_missed(void *stream)
{
	return ((struct stream *)stream)->missed;
}

static uint32_t streams(struct dlog *d)
{
	(void)d;
	return 1;
}

/* ---- all of it ---- */

/* What one pass over the log finds; that is also how long it lasts. */
struct sums {
	struct dlog_loss loss;
	uint64_t first_time, last_time;
};

static void sums_add(struct sums *sums, const struct prb_record *r)
{
	struct dlog_loss *l = &sums->loss;

	switch (r->state) {
	case PRB_NONE:
		l->overwritten++;
		return;
	case PRB_LOST:
		l->dropped++;
		l->reserved--;
		return;
	case PRB_BAD:
		l->corrupt++;
		return;
	case PRB_BEGUN:
		l->torn++;
		return;
	default:
		break;
	}
	l->records++;
	l->bytes += r->len;
	if (l->records == 1)
		sums->first_time = r->time;
	if (r->time > sums->last_time)
		sums->last_time = r->time;
}

/* 1, or 0: there is no log to be had, which its stream and a fact tell. */
static int sums_take(struct dlog *d, struct sums *sums)
{
	struct stream *s;
	void *stream;
	int ret = stream_new(d, 0, 0, &stream);

	memset(sums, 0, sizeof(*sums));
	if (ret)
		return ret == -ENOMEM ? ret : 0;
	s = stream;
	*sums = (struct sums){
		.loss = {
			.boot = BOOT,
			.reserved = s->p.end,
			.overwritten = s->p.first,
			.dropped = s->p.fail,
		},
	};
	for (uint64_t seq = s->p.first; !ret && seq < s->p.end;
	     seq += s->raw.n) {
		uint32_t n = PRB_BATCH;

		if (n > s->p.end - seq)
			n = (uint32_t)(s->p.end - seq);
		ret = prb_raw_read(s->ram, &s->l, &s->p, &s->raw, seq, n);
		for (uint32_t i = 0; !ret && i < s->raw.n; i++) {
			struct prb_record r;

			prb_decode(&s->l, &s->p, &s->raw, i, &r);
			sums_add(sums, &r);
		}
	}
	stream_free(s);
	return ret ? ret : 1;
}

static int loss(struct dlog *d, struct dlog_loss **out)
{
	struct sums sums;
	int ret = sums_take(d, &sums);

	*out = NULL;
	if (ret <= 0)
		return ret;
	*out = malloc(sizeof(**out));
	if (!*out)
		return -ENOMEM;
	**out = sums.loss;
	return 1;
}

static int boots(struct dlog *d, struct dlog_boot_entry **out)
{
	struct dlog_ram *ram = d->state;
	struct dlog_boot_entry *b;
	struct sums sums;
	int ret = sums_take(d, &sums);

	*out = NULL;
	if (ret < 0)
		return ret;
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->boot = BOOT;
	b->known = true;
	b->has_records = sums.loss.records > 0;
	memcpy(b->release, ram->kernel.release, sizeof(b->release));
	memcpy(b->machine, "x86_64", 7);
	ram_boot_id(ram, b->boot_id);
	dlog_ram_vmcoreinfo_get(ram, "SYMBOL(_stext)", &b->kernel_text);
	b->first_time = sums.first_time;
	b->last_time = sums.last_time;
	*out = b;
	return 1;
}

/* ---- facts ---- */

typedef unsigned long long ull;

static void fact_kernel(struct dlog_ram *ram, char *out, size_t size)
{
	struct dlog_ram_kernel k;

	dlog_ram_get_kernel(ram, &k);
	snprintf(out, size, "%s%s", *k.banner ? k.banner : k.release,
		 *k.banner ? "" : " (its banner was not found)");
}

static void fact_kaslr(struct dlog_ram *ram, char *out, size_t size)
{
	const struct dlog_ram_kernel *k = &ram->kernel;
	uint64_t text;

	if (dlog_ram_vmcoreinfo_get(ram, "SYMBOL(_stext)", &text))
		snprintf(out, size, "%#llx, kernel text at physical %#llx",
			 (ull)k->offset,
			 (ull)(text - RAM_KERNEL_MAP + k->phys_base));
	else
		snprintf(out, size, "%#llx", (ull)k->offset);
}

static void fact_tables(struct dlog_ram *ram, char *out, size_t size)
{
	const struct dlog_ram_kernel *k = &ram->kernel;

	if (ram->linear)
		snprintf(out, size,
			 "damaged, at physical %#llx: only the kernel's own "
			 "text and data are found without them",
			 (ull)k->page_table);
	else if (!k->page_offset)
		snprintf(out, size,
			 "%u levels, at physical %#llx; the direct mapping "
			 "was not found",
			 k->levels, (ull)k->page_table);
	else
		snprintf(out, size,
			 "%u levels, at physical %#llx; direct mapping at "
			 "%#llx",
			 k->levels, (ull)k->page_table, (ull)k->page_offset);
}

static void fact_ram(struct dlog_ram *ram, char *out, size_t size)
{
	size_t at = 0;

	for (size_t i = 0; i < ram->ranges; i++) {
		const struct dlog_ram_range *r = &ram->range[i];

		at += (size_t)snprintf(out + at, size - at,
				       "%s%llu MiB at %#llx", i ? ", " : "",
				       (ull)(r->size >> 20), (ull)r->phys);
	}
	snprintf(out + at, size - at, "%s",
		 ram->proof & RAM_LAYOUT
			 ? ""
			 : " (not what the kernel maps: option below-4g?)");
}

static void fact_vmcoreinfo(struct dlog_ram *ram, char *out, size_t size)
{
	snprintf(out, size, "%zu bytes at physical %#llx%s", ram->info.len,
		 (ull)ram_phys(ram, ram->info.offset),
		 ram->proof & RAM_UTS ? ""
				      : "; the release that it names was "
					"not found in memory");
}

static void fact_log(struct dlog_ram *ram, char *out, size_t size)
{
	struct prb_layout l;
	struct prb p;

	if (prb_layout_load(ram, &l) || prb_load(ram, &l, &p))
		snprintf(out, size, "%s", ram->why);
	else
		snprintf(out, size,
			 "records %llu to %llu, in a buffer of %llu KiB",
			 (ull)p.first, (ull)p.end - (p.end > p.first),
			 (ull)(p.size >> 10));
}

static const struct {
	const char *name;
	void (*get)(struct dlog_ram *ram, char *out, size_t size);
} facts[] = {
	{ "kernel", fact_kernel },	   { "KASLR offset", fact_kaslr },
	{ "page tables", fact_tables },	   { "RAM", fact_ram },
	{ "VMCOREINFO", fact_vmcoreinfo }, { "log", fact_log },
};

#define FACTS (sizeof(facts) / sizeof(facts[0]))

/* The @n-th kernel that is not the one in use. */
static int fact_other(struct dlog_ram *ram, uint32_t n, struct dlog_fact *fact)
{
	ram_find_others(ram);
	for (uint32_t i = 0; i < ram->nr_found; i++) {
		const struct ram_found *f = &ram->found[i];

		if (f->page_table == ram->kernel.page_table || n--)
			continue;
		snprintf(fact->name, sizeof(fact->name), "another kernel");
		snprintf(fact->text, sizeof(fact->text),
			 "%s, of an earlier boot or for kdump: option "
			 "vmcoreinfo=%#llx reads it",
			 f->release, (ull)ram_phys(ram, f->offset));
		return 1;
	}
	return 0;
}

static int fact(struct dlog *d, uint32_t n, struct dlog_fact *fact)
{
	memset(fact, 0, sizeof(*fact));
	if (n >= FACTS)
		return fact_other(d->state, n - FACTS, fact);
	snprintf(fact->name, sizeof(fact->name), "%s", facts[n].name);
	facts[n].get(d->state, fact->text, sizeof(fact->text));
	return 1;
}

static const char *why(struct dlog *d)
{
	return dlog_ram_why(d->state);
}

static int open_source(struct dlog *d, bool forced, struct dlog_error *err)
{
	char vmlinux[4096];
	int ret = ram_open(d, forced, err);

	if (!ret)
		ret = dlog_option_text(d, "vmlinux", vmlinux, sizeof(vmlinux),
				       err);
	return ret > 0 ? dlog_ram_set_vmlinux(d->state, vmlinux, err) : ret;
}

const struct dlog_source_ops dlog_ram_ops = {
	.name = "ram",
	.help = "the whole RAM of a guest (QEMU's memory-backend-file)",
	.options = "below-4g=SIZE\tRAM below 4 GiB, where it is neither pc's "
		   "nor q35's\n"
		   "vmcoreinfo=ADDRESS\tphysical address of the VMCOREINFO of "
		   "the kernel that is meant, where several are\n"
		   "vmlinux=PATH\tthe guest's kernel with its symbols, where "
		   "its own do not suffice\n",
	.open = open_source,
	.close = ram_close,
	.why = why,
	.fact = fact,
	.real_time = ram_real_time,
	.symbol = ram_symbol,
	.streams = streams,
	.stream_new = stream_new,
	.stream_free = stream_free,
	.stream_set_boot = stream_set_boot,
	.stream_last = stream_last,
	.stream_tell = stream_tell,
	.stream_seek = stream_seek,
	.stream_next = stream_next,
	.stream_put = stream_put,
	.stream_poll = stream_poll,
	.stream_missed = stream_missed,
	.boots = boots,
	.loss = loss,
};
