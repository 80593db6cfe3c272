// SPDX-License-Identifier: GPL-2.0-only
/*
 * kmsg.c - printk's lines into the ring.
 *
 * The moment: printk stores a line by reserving a record in its own ring
 * buffer, filling in text, level, facility, caller and time, and calling
 * prb_commit() or prb_final_commit().  An ftrace hook on the entry of these
 * two sees the finished record before anybody else does, in the context of
 * the caller, NMI and panic included, whether or not a console can print.
 * It copies exactly what dmesg will show, time to the nanosecond.  (The
 * "console" tracepoint runs a few instructions earlier but carries only the
 * text; level, facility and time would have to be guessed.)
 *
 * What it relies on, and how that is checked: the layout of printk's ring
 * buffer, which no header exports.  It has been the same since 5.10; at load
 * the driver prints a line and keeps the hook only if it captured that line
 * whole.  Otherwise, or on a kernel without ftrace, the tracepoint is used
 * and each line is recorded at level info with an unknown caller.
 *
 * Older lines are taken from the kernel's buffer once, through
 * kmsg_dump_get_line(), in three steps:
 *   1 copy all there is;  2 start the hook;  3 copy what came between.
 * Step 3 skips the sequence numbers that the hook noted in "seen", so no
 * line is lost and none is there twice.  Steps 1 and 3 end at the line that
 * was the newest when they began, however many come meanwhile.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitmap.h>
#include <linux/dev_printk.h>
#include <linux/ftrace.h>
#include <linux/kmsg_dump.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/tracepoint.h>
#include <linux/version.h>

#include "driver.h"

/* kernel/printk/printk_ringbuffer.h, the parts that are read. */
struct prb_info {
	u64 seq;
	u64 ts_nsec;
	u16 text_len;
	u8 facility;
	u8 flags : 5;
	u8 level : 3;
	u32 caller_id;
	struct dev_printk_info dev_info;
};

struct prb_blk {
	unsigned long begin, next;
};

struct prb_desc {
	atomic_long_t state;
	struct prb_blk text;
};

struct prb_head {
	unsigned int count_bits;
	struct prb_desc *descs;
	struct prb_info *infos;
	atomic_long_t head_id, tail_id;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 19, 0)
	atomic_long_t last_finalized; /* id, from 6.9 on seq */
#endif
	unsigned int size_bits;
	char *data;
};

struct prb_entry {
	struct prb_head *rb;
	unsigned long irqflags;
	unsigned long id;
};

#define PRB_NEWLINE 2 /* LOG_NEWLINE: the line is complete */
#define PRB_CALLER_CPU 0x80000000u

/*
 * The line that may still be continued: low 48 bits of its id << 16 | bytes
 * of it recorded so far.  Only the newest line can be.
 */
static u64 dlog_kmsg_open = ~0ULL;

/* Lines captured by the hook during step 3: a bit each, from @from on. */
#define SEEN_MAX (1 << 18)
static struct {
	bool on;
	u64 from;
	DECLARE_BITMAP(bits, SEEN_MAX);
} seen;

/* The hook proves itself on one line before it is believed. */
static struct {
	const char *text;
	bool ok;
} probe;

/* seen.on, probe.text or dlog.level: each line has to be looked at */
static bool watch;

static const char *source = "nothing";

static __always_inline struct prb_entry *
dlog_hook_arg(struct ftrace_regs *fregs)
{
#ifdef ftrace_regs_get_argument
	return (struct prb_entry *)ftrace_regs_get_argument(fregs, 0);
#elif defined(CONFIG_X86_64)
	return (struct prb_entry *)fregs->regs.di;
#else
	return (struct prb_entry *)regs_get_kernel_argument(
		ftrace_get_regs(fregs), 0);
#endif
}

/* What the hook needs of the kernel's buffer, which stays the same one. */
static struct {
	const struct prb_head *rb;
	unsigned long slots; /* mask of ids */
	unsigned long size; /* of the text */
	const struct prb_desc *descs;
	const struct prb_info *infos;
	const char *data;
} prb __read_mostly;

static noinline notrace bool dlog_prb_learn(const struct prb_head *rb)
{
	/* Who comes at the same time stores the same. */
	if (!prb.rb) {
		prb.slots = (1UL << rb->count_bits) - 1;
		prb.size = 1UL << rb->size_bits;
		prb.descs = rb->descs;
		prb.infos = rb->infos;
		prb.data = rb->data;
		smp_store_release(&prb.rb, rb);
	}
	return prb.rb == rb;
}

/*
 * Where the text of the record with descriptor @d begins, as an offset, or
 * something beyond the buffer.  An empty line has a made-up place, from which
 * nothing is read.
 */
static __always_inline unsigned long dlog_prb_text(const struct prb_desc *d)
{
	unsigned long begin = d->text.begin, next = d->text.next;

	/* A block that would cross the end lies at the start instead. */
	if (unlikely((begin ^ next) >= prb.size && next & (prb.size - 1)))
		begin = 0;
	return (begin & (prb.size - 1)) + sizeof(long);
}

/*
 * The watchdogs say at level emerg what they found, and nothing else in the
 * kernel announces it: their words are the event.
 */
static noinline notrace void dlog_kmsg_alarm(const char *text, u16 len)
{
	if (len > 40 && !strncmp(text, "watchdog: BUG: soft lockup", 26))
		dlog_set_status(DLOG_ST_SOFT_LOCKUP, NULL);
	else if (len > 40 && strnstr(text, "detected hard LOCKUP", len))
		dlog_set_status(DLOG_ST_HARD_LOCKUP, NULL);
}

void dlog_kmsg_level(unsigned int level)
{
	WRITE_ONCE(dlog.level, level);
	WRITE_ONCE(watch, level < 7);
}

/* Is the line to be recorded? */
static noinline notrace bool dlog_kmsg_slow(const struct prb_info *info,
					    const char *text, u16 len)
{
	if (seen.on && info->seq - seen.from < SEEN_MAX)
		set_bit(info->seq - seen.from, seen.bits);
	if (probe.text && len == strlen(probe.text) && info->level == 6 &&
	    !memcmp(text, probe.text, len))
		probe.ok = true;
	return info->level <= READ_ONCE(dlog.level);
}

static void notrace dlog_kmsg_hook(unsigned long ip, unsigned long parent,
				   struct ftrace_ops *ops,
				   struct ftrace_regs *fregs)
{
	const struct prb_entry *e = dlog_hook_arg(fregs);
	const struct prb_info *info;
	unsigned long slot, at;
	const char *text;
	u64 id, open;
	u32 caller;
	u16 len, from = 0;

	if (unlikely(e->rb != smp_load_acquire(&prb.rb)) &&
	    !dlog_prb_learn(e->rb))
		return;
	slot = e->id & prb.slots;
	info = &prb.infos[slot];
	len = info->text_len;
	at = dlog_prb_text(&prb.descs[slot]);
	if (unlikely(at + len > prb.size))
		return;
	text = prb.data + at;
	/* Level and facility say that it is the kernel that speaks. */
	if (unlikely(info->level == 0 && info->facility == 0))
		dlog_kmsg_alarm(text, len);
	if (unlikely(data_race(watch)) && !dlog_kmsg_slow(info, text, len))
		return;
	if (!dlog_recording())
		return;
	id = (u64)e->id << 16;
	open = READ_ONCE(dlog_kmsg_open);
	caller = (info->caller_id & DLOG_CALLER_ID) |
		 (info->caller_id & PRB_CALLER_CPU ? DLOG_CALLER_CPU : 0);
	if (unlikely(((open ^ id) & ~0xffffULL) == 0)) {
		caller |= DLOG_CALLER_CONT;
		from = min_t(u16, open & 0xffff, len);
		if (info->flags & PRB_NEWLINE)
			WRITE_ONCE(dlog_kmsg_open, ~0ULL);
	}
	if (unlikely(!(info->flags & PRB_NEWLINE))) {
		caller |= DLOG_CALLER_OPEN;
		WRITE_ONCE(dlog_kmsg_open, id | len);
	}
	/* printk has interrupts off here. */
	dlog_ring_put(raw_cpu_read(dlog_cpu_ring),
		      DLOG_TYPE(DLOG_KIND_PRINTK,
				DLOG_PRI(info->facility, info->level)),
		      info->ts_nsec, true, caller, text + from,
		      (size_t)len - from + 4);
}

static struct ftrace_ops hook_ops = {
	.func = dlog_kmsg_hook,
#ifndef CONFIG_DYNAMIC_FTRACE_WITH_ARGS
	.flags = FTRACE_OPS_FL_SAVE_REGS | FTRACE_OPS_FL_PERMANENT,
#else
	.flags = FTRACE_OPS_FL_PERMANENT,
#endif
};

static bool dlog_hook_start(void)
{
	static const char line[] = "dlog: following printk";

	if (ftrace_set_filter(&hook_ops, "prb_commit", 10, 1) ||
	    ftrace_set_filter(&hook_ops, "prb_final_commit", 16, 0) ||
	    register_ftrace_function(&hook_ops))
		return false;
	probe.ok = false;
	WRITE_ONCE(probe.text, line);
	printk(KERN_INFO "%s\n", line);
	WRITE_ONCE(probe.text, NULL);
	if (probe.ok)
		return true;
	unregister_ftrace_function(&hook_ops);
	ftrace_free_filter(&hook_ops);
	return false;
}

/* ---- the tracepoint, where the hook cannot be had ---- */

static struct tracepoint *console_tp;

static void notrace dlog_console_event(void *data, const char *text, size_t len)
{
	if (dlog_recording())
		dlog_put(DLOG_TYPE(DLOG_KIND_PRINTK, DLOG_PRI(0, 6)),
			 dlog_clock(), true, DLOG_CALLER_UNKNOWN, text,
			 min_t(size_t, len, 4096) + 4);
}

static void dlog_console_find(struct tracepoint *tp, void *data)
{
	if (!strcmp(tp->name, "console"))
		console_tp = tp;
}

static bool dlog_console_start(void)
{
	for_each_kernel_tracepoint(dlog_console_find, NULL);
	if (!console_tp ||
	    tracepoint_probe_register(console_tp, dlog_console_event, NULL)) {
		console_tp = NULL;
		return false;
	}
	return true;
}

/* ---- older lines ---- */

static bool dlog_seen(u64 seq)
{
	return seen.on && seq - seen.from < SEEN_MAX &&
	       test_bit(seq - seen.from, seen.bits);
}

/*
 * One record as kmsg_dump_get_line() gives it: each of its lines begins
 * with "<PRI>[ sec.usec] ".  Strip that, join the lines again.
 */
static void dlog_take_line(char *line, size_t len)
{
	unsigned long sec = 0, usec = 0;
	unsigned int pri = 0;
	size_t prefix, out = 0;
	char *text, *end;
	int n = 0;

	while (len && line[len - 1] == '\n')
		len--;
	line[len] = 0;
	end = line + len;
	if (sscanf(line, "<%u>[%lu.%lu]%n", &pri, &sec, &usec, &n) < 3 || !n) {
		/* printk.time=0: no time to be had */
		n = 0;
		sscanf(line, "<%u>%n", &pri, &n);
		prefix = n;
	} else {
		prefix = n + (line[n] == ' ');
	}
	if (DLOG_PRI_LEVEL(pri) > dlog.level)
		return;
	text = line + prefix;
	for (char *p = text; p < end;) {
		char *nl = memchr(p, '\n', end - p);
		size_t part = nl ? nl + 1 - p : end - p;

		memmove(text + out, p, part);
		out += part;
		p += part;
		if (nl && end - p >= prefix)
			p += prefix;
	}
	dlog_put(DLOG_TYPE(DLOG_KIND_PRINTK, pri & 0xfff),
		 sec * NSEC_PER_SEC + usec * NSEC_PER_USEC, true,
		 DLOG_CALLER_UNKNOWN | DLOG_CALLER_TAKEN, text, out + 4);
}

/* Copy lines from sequence number *@next on, leave there the next one. */
static void dlog_take_over(u64 *next)
{
	static char line[8192];
	struct kmsg_dump_iter iter;
	u64 seq;
	size_t len;

	/* What came before the last "dmesg --clear" is not offered. */
	kmsg_dump_rewind(&iter);
	iter.cur_seq = max(iter.cur_seq, *next);
	while (iter.cur_seq < iter.next_seq &&
	       kmsg_dump_get_line(&iter, true, line, sizeof(line) - 1, &len)) {
		/* cur_seq is behind the record that was read. */
		seq = iter.cur_seq - 1;
		if (!dlog_seen(seq) && dlog_recording())
			dlog_take_line(line, len);
		*next = iter.cur_seq;
	}
}

/* Begin to note what the hook captures, for a step 3 from @from on. */
static void dlog_seen_start(u64 from)
{
	bitmap_zero(seen.bits, SEEN_MAX);
	seen.from = from;
	WRITE_ONCE(seen.on, true);
	WRITE_ONCE(watch, true);
}

/*
 * Step 3.  Whoever passed the hook's place when the hook was not there has
 * interrupts off until its line is committed.
 */
static void dlog_seen_end(u64 *next)
{
	synchronize_rcu();
	dlog_take_over(next);
	WRITE_ONCE(watch, false);
	WRITE_ONCE(seen.on, false);
}

int dlog_kmsg_start(void)
{
	u64 next = dlog.kmsg_next;

	dlog_take_over(&next);
	dlog_seen_start(next);
	if (dlog_hook_start()) {
		source = "hook";
		dlog_seen_end(&next);
		return 0;
	}
	WRITE_ONCE(watch, false);
	WRITE_ONCE(seen.on, false);
	if (!dlog_console_start()) {
		pr_err("neither ftrace nor the console tracepoint can be had: printk is not recorded\n");
		return -EOPNOTSUPP;
	}
	source = "tracepoint";
	pr_warn("printk's records cannot be read on this kernel: levels are not recorded, and lines of the last milliseconds may be missing\n");
	return 0;
}

/*
 * The hook is gone some time before unregistering returns: what was said
 * meanwhile is taken over, and the next load goes on behind that.
 */
void dlog_kmsg_stop(void)
{
	struct kmsg_dump_iter iter;
	u64 next;

	kmsg_dump_rewind(&iter);
	next = iter.next_seq;
	if (console_tp) {
		tracepoint_probe_unregister(console_tp, dlog_console_event,
					    NULL);
		tracepoint_synchronize_unregister();
	} else {
		dlog_seen_start(next);
		unregister_ftrace_function(&hook_ops);
		ftrace_free_filter(&hook_ops);
		dlog_seen_end(&next);
	}
	dlog_put64(&dlog_region_state(&dlog.region)->kmsg_next, next);
}

const char *dlog_kmsg_source(void)
{
	return source;
}
