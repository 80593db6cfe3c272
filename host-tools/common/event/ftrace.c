// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ftrace.c - text of ftrace's events, by libtraceevent.
 *
 * The text is what trace-cmd report prints: so libtraceevent's plugins are
 * loaded where they are installed, but only those of their handlers run that
 * do no harm with any record, and two are replaced: the one of sched_switch
 * and sched_wakeup keeps each name that it sees for ever, the one of function
 * depends on what was shown before.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event-parse.h>
#include <trace-seq.h>

#include "event_int.h"

#define TEXT_MAX (1u << 18) /* all bytes of the longest record in hex */
/*
 * For each piece of a format libtraceevent keeps up to 90 bytes.  Those of
 * all events of Debian's kernels are 150,000.
 */
#define TOKENS_MAX (1u << 19)

struct event_ftrace {
	struct event_decoder *dec;
	struct tep_handle *tep;
	struct tep_plugin_list *plugins;
	struct trace_seq seq;
	uint8_t *copy; /* of a record */
	size_t room;
	uint32_t boot; /* of the record that is printed */
	uint64_t time;
	char name[256]; /* of the function found last */
};

/* ---- handlers ---- */

static bool number(struct trace_seq *s, struct tep_event *event,
		   const char *name, struct tep_record *r,
		   unsigned long long *v)
{
	return !tep_get_field_val(s, event, name, r, v, 0);
}

static void put_comm(struct trace_seq *s, struct tep_event *event,
		     const char *name, const struct tep_record *r)
{
	struct tep_format_field *f = tep_find_any_field(event, name);

	if (f)
		trace_seq_printf(s, "%.*s:", f->size,
				 (const char *)r->data + f->offset);
}

static void put_state(struct trace_seq *s, unsigned long long state)
{
	static const char letters[] = "SDTtZXxW";
	bool any = false;

	for (int i = 0; letters[i]; i++) {
		if (!(state & 1u << i))
			continue;
		if (any)
			trace_seq_putc(s, '|');
		any = true;
		trace_seq_putc(s, (unsigned char)letters[i]);
	}
	if (!any)
		trace_seq_putc(s, 'R');
}

/* "bash:12 [120] S ==> swapper/0:0 [120]" */
static int print_switch(struct trace_seq *s, struct tep_record *r,
			struct tep_event *event, void *context)
{
	unsigned long long pid, prio, state, next_pid, next_prio;

	(void)context;
	if (!number(s, event, "prev_pid", r, &pid) ||
	    !number(s, event, "prev_prio", r, &prio) ||
	    !number(s, event, "prev_state", r, &state) ||
	    !number(s, event, "next_pid", r, &next_pid) ||
	    !number(s, event, "next_prio", r, &next_prio))
		return 1;
	put_comm(s, event, "prev_comm", r);
	trace_seq_printf(s, "%lld [%d] ", (long long)pid, (int)prio);
	put_state(s, state);
	trace_seq_puts(s, " ==> ");
	put_comm(s, event, "next_comm", r);
	trace_seq_printf(s, "%lld [%d]", (long long)next_pid, (int)next_prio);
	return 0;
}

/* "bash:12 [120] CPU:001"; success=1 in kernels before 4.3. */
static int print_wakeup(struct trace_seq *s, struct tep_record *r,
			struct tep_event *event, void *context)
{
	unsigned long long v;

	(void)context;
	if (!number(s, event, "pid", r, &v))
		return 1;
	put_comm(s, event, "comm", r);
	trace_seq_printf(s, "%lld", (long long)v);
	if (number(s, event, "prio", r, &v))
		trace_seq_printf(s, " [%lld]", (long long)v);
	if (number(s, event, "success", r, &v))
		trace_seq_printf(s, " success=%lld", (long long)v);
	if (number(s, event, "target_cpu", r, &v))
		trace_seq_printf(s, " CPU:%03llu", v);
	return 0;
}

/* Handlers of plugins, as they were read in libtraceevent 1.7. */
static bool handler_harmless(const struct event_type *t)
{
	static const char *const name[][2] = {
		{ "kmem", "kfree" },
		{ "kmem", "kmalloc" },
		{ "kmem", "kmalloc_node" },
		{ "kmem", "kmem_cache_alloc" },
		{ "kmem", "kmem_cache_alloc_node" },
		{ "kmem", "kmem_cache_free" },
		{ "timer", "hrtimer_expire_entry" },
		{ "timer", "hrtimer_start" },
		{ "syscalls", "sys_enter_futex" },
		{ "tlb", "tlb_flush" },
	};

	for (size_t i = 0; i < sizeof(name) / sizeof(name[0]); i++)
		if (!strcmp(t->system, name[i][0]) &&
		    !strcmp(t->name, name[i][1]))
			return true;
	return false;
}

static void choose_handler(struct event_class *c)
{
	const struct event_type *t = &c->type;
	bool sched = !strcmp(t->system, "sched");

	if (sched && !strcmp(t->name, "sched_switch"))
		c->tep->handler = print_switch;
	else if (sched && (!strcmp(t->name, "sched_wakeup") ||
			   !strcmp(t->name, "sched_wakeup_new")))
		c->tep->handler = print_wakeup;
	else if (!handler_harmless(t))
		c->tep->flags |= TEP_EVENT_FL_NOHANDLE;
}

/* ---- formats ---- */

static char *resolve(void *priv, unsigned long long *address, char **module)
{
	struct event_ftrace *f = priv;
	uint64_t start;
	const char *name = event_symbol_find(f->dec, f->boot, f->time, *address,
					     &start);

	if (!name)
		return NULL;
	snprintf(f->name, sizeof(f->name), "%s", name);
	*address = start;
	*module = NULL;
	return f->name;
}

static struct event_ftrace *ftrace(struct event_decoder *dec)
{
	struct event_ftrace *f = dec->ftrace;

	if (f)
		return f->tep ? f : NULL;
	f = dec->ftrace = calloc(1, sizeof(*f));
	if (!f)
		return NULL;
	f->dec = dec;
	/* It would complain of what a guest wrote. */
	tep_set_loglevel(TEP_LOG_NONE);
	f->tep = tep_alloc();
	if (!f->tep)
		return NULL;
	tep_set_long_size(f->tep, 8);
	tep_set_page_size(f->tep, 4096);
	tep_set_file_bigendian(f->tep, TEP_LITTLE_ENDIAN);
	tep_set_local_bigendian(f->tep, TEP_LITTLE_ENDIAN);
	tep_set_function_resolver(f->tep, resolve, f);
	f->plugins = tep_load_plugins(f->tep);
	trace_seq_init(&f->seq);
	return f;
}

void event_ftrace_free(struct event_decoder *dec)
{
	struct event_ftrace *f = dec->ftrace;

	if (!f)
		return;
	if (f->tep) {
		trace_seq_destroy(&f->seq);
		tep_unload_plugins(f->plugins, f->tep);
		tep_reset_function_resolver(f->tep);
		tep_free(f->tep);
	}
	free(f->copy);
	free(f);
	dec->ftrace = NULL;
}

void event_ftrace_add(struct event_decoder *dec, struct event_class *c,
		      const char *text)
{
	struct sink canon = { .fd = -1 };
	struct event_ftrace *f = ftrace(dec);
	uint32_t tokens;

	if (!event_format_read(c, text, &canon, &tokens) || !f ||
	    tokens > TOKENS_MAX - dec->tokens)
		goto out;
	/* A binary printk would need the guest's memory. */
	if (!strcmp(c->type.system, "ftrace") &&
	    !strcmp(c->type.name, "bprint"))
		goto out;
	dec->tokens += tokens;
	if (tep_parse_format(f->tep, &c->tep, canon.buf, canon.len,
			     c->type.system))
		c->tep = NULL;
	if (!c->tep)
		goto out;
	choose_handler(c);
	if (!(c->tep->flags & TEP_EVENT_FL_FAILED) && !event_check_make(c))
		c->tep->flags |= TEP_EVENT_FL_FAILED;
out:
	sink_free(&canon);
}

/* ---- records ---- */

/* A copy with zeros behind it, and the id that the format was given. */
static uint8_t *copy_record(struct event_ftrace *f, const struct dlog_entry *e)
{
	uint16_t id = (uint16_t)e->arg;

	if (f->room < e->len + EVENT_PAD) {
		free(f->copy);
		f->room = e->len + EVENT_PAD + 256;
		f->copy = malloc(f->room);
		if (!f->copy) {
			f->room = 0;
			return NULL;
		}
	}
	memcpy(f->copy, e->data, e->len);
	memset(f->copy + e->len, 0, EVENT_PAD);
	memcpy(f->copy, &id, sizeof(id));
	return f->copy;
}

bool event_ftrace_text(struct event_decoder *dec, struct event_class *c,
		       const struct dlog_entry *e, const char **text,
		       size_t *len)
{
	struct event_ftrace *f = dec->ftrace;
	struct tep_record r = { .ts = e->time, .cpu = (int)e->ring };

	if (!c->tep || !event_check_record(c, e->data, e->len))
		return false;
	r.data = copy_record(f, e);
	if (!r.data)
		return false;
	r.size = r.record_size = (int)e->len;
	f->boot = e->boot;
	f->time = e->time;
	trace_seq_reset(&f->seq);
	tep_print_event(f->tep, &f->seq, &r, "%s", TEP_PRINT_INFO);
	if (f->seq.state != TRACE_SEQ__GOOD || f->seq.len > TEXT_MAX) {
		trace_seq_destroy(&f->seq);
		trace_seq_init(&f->seq);
		return false;
	}
	*text = f->seq.buffer;
	*len = f->seq.len;
	return true;
}
