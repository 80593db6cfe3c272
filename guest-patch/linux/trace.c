// SPDX-License-Identifier: GPL-2.0-only
/*
 * trace.c - the kernel's trace events and markers into the ring.
 *
 * Events are taken through the kernel's export interface
 * (register_ftrace_export) rather than by probes of our own on tracepoints.
 * A tracepoint hands out the arguments of the call, not the event: its fields
 * are assembled by a probe that the kernel generates for each class of
 * events, which writes to a trace buffer and nowhere else.  The export is
 * called from its commit with the finished record, for tracepoints, system
 * calls, kprobes, uprobes and synthetic events alike, so that the format that
 * ftrace publishes describes our record to the byte.  The price: the event is
 * also reserved and committed in a trace buffer, since the kernel exports
 * what it has reserved there.  It cannot be kept from that: with recording
 * off in that buffer there is no record to export either.
 *
 * Events are switched on in a trace instance of our own, "dlog", so that
 * nobody's ftrace is disturbed; its buffer is made small (TRACE_BUFFER).  A
 * filter or trigger in instances/dlog/events/ acts on what is recorded here.
 * Exports do not tell the instance: an event that is on in another one too is
 * exported, and recorded, once for each.
 *
 * An event goes into the ring as the kernel laid it out, but for common_type,
 * which holds the number of the event in this boot; there the record has the
 * id of the catalog (docs/abi.md, 8).  trace_ids turns the one into the other.
 * A number may be used again once its event is gone.  Events that are made at
 * run time cannot go while we hold their file; those of a module go with it,
 * so our notifier runs before ftrace's and forgets the number first.
 *
 * Markers: what is written to trace_marker of any instance is exported too,
 * "ftrace:print" here.  trace_marker_raw and trace_printk() are not exported by
 * the kernel.
 *
 * Order at the end: events off, export unregistered, then one grace period,
 * since the kernel exports with preemption off.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/dlog.h>
#include <linux/bitmap.h>
#include <linux/err.h>
#include <linux/glob.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/ring_buffer.h>
#include <linux/slab.h>
#include <linux/trace.h>
#include <linux/trace_events.h>
#include <linux/version.h>

#include "driver.h"

#if IS_ENABLED(CONFIG_EVENT_TRACING)

#define INSTANCE "dlog"
#define NR_TYPES 65536
#define FORMAT_MAX 65536
#define SYSTEM_MAX 80

/*
 * Bytes of the instance's buffer for each CPU.  It is written and never read.
 * Two pages would do, were there no event that interrupts pile more onto while
 * it is being written: the kernel drops those that do not fit meanwhile.
 */
#define TRACE_BUFFER 65536

/* In trace_ids beside the id: its format shows names of addresses. */
#define ID_MASK 0xfffu
#define ID_SYMBOLS 0x1000u

/* An event that is on. */
struct trace_on {
	struct list_head list;
	u16 type;
	void *module; /* that it comes from */
	struct trace_event_file *file; /* held, unless from a module */
	char name[];
};

static DEFINE_MUTEX(trace_lock);
static LIST_HEAD(trace_list);
static u16 *trace_ids; /* of type, 0: not ours */
static DECLARE_BITMAP(trace_has, DLOG_GATES); /* ids of those that are on */
static struct trace_array *trace_instance;
static struct trace_buffer *trace_buffer; /* of it */
static bool trace_exporting;

/* ---- a record ---- */

/* Each aligned word that may be a code address is offered as one. */
static noinline notrace void trace_symbols(const void *entry, unsigned int len)
{
	unsigned long word;

	for (unsigned int at = 8; at + sizeof(word) <= len;
	     at += sizeof(word)) {
		memcpy(&word, (const u8 *)entry + at, sizeof(word));
		if (word >= dlog.kernel_text && !IS_ERR_VALUE(word))
			dlog_symbol_seen(word);
	}
}

/* Whatever kept trace_write() from its quick way, and what is not ours. */
static noinline notrace void trace_write_slow(const void *entry,
					      unsigned int len)
{
	u32 tag = *(const u32 *)entry;
	u32 id = READ_ONCE(trace_ids[tag & 0xffff]);
	const void *data = (const u8 *)entry + 4;
	u8 gate;

	if (!id)
		return;
	gate = data_race(dlog_gate[id & ID_MASK]);
	if (gate == DLOG_GATE_SHUT)
		return;
	if (id & ID_SYMBOLS) {
		trace_symbols(entry, len);
		id &= ID_MASK;
	}
	tag = (tag & 0xffff0000) | id;
	if (gate == DLOG_GATE_OPEN)
		dlog_put_now(DLOG_TYPE(DLOG_KIND_EVENT, id), true, tag, data,
			     len);
	else
		dlog_hook(id, true, tag, data, len);
}

/*
 * Called with preemption off, in any context.  All that is not the usual case
 * begins anew in the function above, so that little is kept in registers here.
 */
static notrace void trace_write(struct trace_export *export, const void *entry,
				unsigned int len)
{
	u32 tag = *(const u32 *)entry;
	u32 id = READ_ONCE(trace_ids[tag & 0xffff]);

	if (likely(id - 1 < DLOG_EVENT_MAX) &&
	    likely(data_race(dlog_gate[id]) == DLOG_GATE_OPEN) &&
	    likely(dlog_put_quick(DLOG_TYPE(DLOG_KIND_EVENT, id), true,
				  (tag & 0xffff0000) | id,
				  (const u8 *)entry + 4, len)))
		return;
	trace_write_slow(entry, len);
}

static struct trace_export trace_export = {
	.write = trace_write,
	.flags = TRACE_EXPORT_EVENT | TRACE_EXPORT_MARKER,
};

/* ---- what an event is ---- */

/* The system of @name, system:event, into @system; returns the event. */
static const char *name_system(const char *name, char system[SYSTEM_MAX])
{
	const char *colon = strchr(name, ':');

	snprintf(system, SYSTEM_MAX, "%.*s", (int)(colon - name), name);
	return colon + 1;
}

int dlog_trace_format(const char *name, char *text, size_t size,
		      unsigned int *type)
{
	char system[SYSTEM_MAX], path[160], *line, *end;
	const char *event = name_system(name, system);
	ssize_t len;

	snprintf(path, sizeof(path), "events/%s/%s/format", system, event);
	len = dlog_kernfile_read("tracefs", path, text, size);
	if (len < 0)
		return len;
	line = strstr(text, "\nID: ");
	if (!line || sscanf(line, "\nID: %u", type) != 1 || !*type ||
	    *type >= NR_TYPES)
		return -EINVAL;
	end = strchr(line + 1, '\n');
	if (!end)
		return -EINVAL;
	memmove(line, end, strlen(end) + 1);
	return 0;
}

static bool format_has_symbols(const char *format)
{
	for (const char *p = format; (p = strstr(p, "%p")); p += 2)
		if (strchr("sSfFB", p[2]) && p[2])
			return true;
	return false;
}

/* Reads and registers @name, system:event; its id, flags, *type. */
static int trace_describe(const char *name, char *text, unsigned int *type)
{
	int ret = dlog_trace_format(name, text, FORMAT_MAX, type);

	if (ret)
		return ret;
	if (trace_ids[*type])
		return trace_ids[*type];
	ret = dlog_catalog_event(name, "", text);
	if (ret > 0 && dlog.kernel_text && format_has_symbols(text) &&
	    !dlog_symbols_want())
		ret |= ID_SYMBOLS;
	return ret;
}

/* ---- our instance ---- */

static int trace_open(void)
{
	if (!trace_ids) {
		trace_ids = kvcalloc(NR_TYPES, sizeof(*trace_ids), GFP_KERNEL);
		if (!trace_ids)
			return -ENOMEM;
	}
	if (!trace_instance)
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
		trace_instance = trace_array_get_by_name(INSTANCE, NULL);
#else
		trace_instance = trace_array_get_by_name(INSTANCE);
#endif
	return trace_instance ? 0 : -ENOMEM;
}

/*
 * Nothing tells a module where the buffer of an instance is but reserving in
 * it.
 */
static void trace_shrink(struct trace_event_file *file)
{
	struct ring_buffer_event *event;

	/* With a filter the kernel may put the event somewhere else. */
	if (trace_buffer || file->flags & (EVENT_FILE_FL_FILTERED |
					   EVENT_FILE_FL_SOFT_DISABLED))
		return;
	event = trace_event_buffer_lock_reserve(&trace_buffer, file,
						file->event_call->event.type,
						sizeof(struct trace_entry), 0);
	if (event)
		ring_buffer_discard_commit(trace_buffer, event);
	if (ring_buffer_resize(trace_buffer, TRACE_BUFFER,
			       RING_BUFFER_ALL_CPUS) < 0)
		pr_warn("the buffer of trace instance \"%s\" keeps its size\n",
			INSTANCE);
}

u64 dlog_trace_lost(void)
{
	u64 lost = 0;
	int cpu;

	mutex_lock(&trace_lock);
	if (trace_buffer)
		for_each_possible_cpu(cpu)
			lost += ring_buffer_commit_overrun_cpu(trace_buffer,
							       cpu);
	mutex_unlock(&trace_lock);
	return lost;
}

static void trace_export_switch(bool on)
{
	if (on == trace_exporting)
		return;
	trace_exporting = on;
	if (on) {
		register_ftrace_export(&trace_export);
		return;
	}
	unregister_ftrace_export(&trace_export);
	synchronize_rcu();
}

/* ---- switching ---- */

static int trace_enable(const char *name, bool on)
{
	char system[SYSTEM_MAX];

	return trace_array_set_clr_event(trace_instance, system,
					 name_system(name, system), on);
}

/* Markers have no event to switch on. */
static bool trace_is_marker(const char *name)
{
	return !strcmp(name, "ftrace:print");
}

static struct trace_event_file *trace_hold(struct trace_on *t)
{
	struct trace_event_file *file;
	char system[SYSTEM_MAX];
	const char *event = name_system(t->name, system);

	file = trace_get_event_file(INSTANCE, system, event);
	if (IS_ERR(file))
		return file;
	trace_shrink(file);
	if (!(file->event_call->flags & TRACE_EVENT_FL_DYNAMIC))
		t->module = file->event_call->module;
	if (!t->module)
		return file;
	/* A module may go: the notifier below sees to it. */
	trace_put_event_file(file);
	return NULL;
}

static void trace_forget(struct trace_on *t)
{
	int id = trace_ids[t->type] & ID_MASK;

	dlog_event_switch(id, false);
	clear_bit(id, trace_has);
	WRITE_ONCE(trace_ids[t->type], 0);
	if (!IS_ERR_OR_NULL(t->file)) {
		/*
		 * When an event that was on is removed, the kernel empties the
		 * buffers that may hold it, and takes nothing meanwhile, from
		 * any event.  Nobody reads ours.
		 */
		clear_bit(EVENT_FILE_FL_WAS_ENABLED_BIT, &t->file->flags);
		trace_put_event_file(t->file);
	}
	list_del(&t->list);
	kfree(t);
}

/* 1: is on; or an error. */
static int trace_on(const char *name, char *text)
{
	struct trace_on *t;
	unsigned int type;
	int id, ret = 0;

	id = trace_describe(name, text, &type);
	if (id < 0)
		return id;
	if (trace_ids[type])
		return 1;
	t = kzalloc(struct_size(t, name, strlen(name) + 1), GFP_KERNEL);
	if (!t)
		return -ENOMEM;
	strcpy(t->name, name);
	t->type = type;
	list_add_tail(&t->list, &trace_list);
	if (!trace_is_marker(name)) {
		t->file = trace_hold(t);
		ret = PTR_ERR_OR_ZERO(t->file);
	}
	if (!ret) {
		set_bit(id & ID_MASK, trace_has);
		WRITE_ONCE(trace_ids[type], id);
		if (!trace_is_marker(name))
			ret = trace_enable(name, true);
	}
	if (!ret)
		return 1;
	trace_forget(t);
	return ret;
}

/* Is this event one that anybody can have? */
static bool trace_possible(const char *name)
{
	return strncmp(name, "ftrace:", 7) || trace_is_marker(name);
}

/* Switches on the events of @system that match @glob. */
static int trace_system_on(const char *system, const char *glob, char *text)
{
	struct dlog_name *n;
	LIST_HEAD(events);
	bool many = strpbrk(glob, "*?[");
	char name[160];
	int ret, nr = 0;

	snprintf(name, sizeof(name), "events/%s", system);
	ret = dlog_kernfile_list("tracefs", name, glob, &events);
	list_for_each_entry(n, &events, list) {
		if (ret < 0)
			break;
		if (snprintf(name, sizeof(name), "%s:%s", system, n->name) >=
			    sizeof(name) ||
		    !trace_possible(name))
			continue;
		ret = trace_on(name, text);
		nr += ret > 0;
		/* Gone since it was listed, or it cannot be switched at all. */
		if (ret == -ENOENT ||
		    ((ret == -EINVAL || ret == -EBUSY) && many))
			ret = 0;
	}
	dlog_names_free(&events);
	return ret < 0 ? ret : nr;
}

static int trace_glob_on(const char *systems, const char *events)
{
	struct dlog_name *n;
	LIST_HEAD(names);
	int ret, nr = 0;
	char *text;

	text = kvmalloc(FORMAT_MAX, GFP_KERNEL);
	if (!text)
		return -ENOMEM;
	ret = trace_open();
	if (!ret)
		ret = dlog_kernfile_list("tracefs", "events", systems, &names);
	if (!ret)
		trace_export_switch(true);
	list_for_each_entry(n, &names, list) {
		if (ret < 0)
			break;
		ret = trace_system_on(n->name, events, text);
		nr += max(ret, 0);
	}
	dlog_names_free(&names);
	kvfree(text);
	return ret < 0 ? ret : nr;
}

static int trace_glob_off(const char *systems, const char *events)
{
	struct trace_on *t, *next;
	char system[SYSTEM_MAX];
	const char *event;
	int nr = 0;

	list_for_each_entry_safe(t, next, &trace_list, list) {
		event = name_system(t->name, system);
		if (!glob_match(systems, system) || !glob_match(events, event))
			continue;
		if (!trace_is_marker(t->name))
			trace_enable(t->name, false);
		trace_forget(t);
		nr++;
	}
	return nr;
}

int dlog_trace_events(const char *glob, bool on)
{
	const char *colon = strchr(glob, ':');
	char systems[SYSTEM_MAX] = "*";
	int ret;

	if (!READ_ONCE(dlog.ready))
		return -ENODEV;
	if (colon && colon - glob >= sizeof(systems))
		return -ENOENT;
	if (colon)
		name_system(glob, systems);
	glob = colon ? colon + 1 : glob;
	mutex_lock(&trace_lock);
	ret = on ? trace_glob_on(systems, glob) : trace_glob_off(systems, glob);
	/* Who records nothing pays nothing. */
	if (list_empty(&trace_list))
		trace_export_switch(false);
	mutex_unlock(&trace_lock);
	return ret ? ret : -ENOENT;
}

bool dlog_trace_has(int id)
{
	return test_bit(id, trace_has);
}

/* ---- modules that bring events, and go ---- */

static int trace_module(struct notifier_block *nb, unsigned long what,
			void *data)
{
	struct trace_on *t, *next;

	if (what != MODULE_STATE_GOING)
		return NOTIFY_DONE;
	mutex_lock(&trace_lock);
	list_for_each_entry_safe(t, next, &trace_list, list) {
		if (t->module != data)
			continue;
		trace_enable(t->name, false);
		dlog_catalog_gone(trace_ids[t->type] & ID_MASK);
		trace_forget(t);
	}
	mutex_unlock(&trace_lock);
	return NOTIFY_DONE;
}

static struct notifier_block trace_module_nb = {
	.notifier_call = trace_module,
	.priority = 2, /* before ftrace, which takes the numbers back */
};

int dlog_trace_start(void)
{
	int ret = dlog_symbols_start();

	if (ret)
		return ret;
	ret = register_module_notifier(&trace_module_nb);
	if (ret)
		dlog_symbols_stop();
	return ret;
}

void dlog_trace_stop(void)
{
	struct trace_on *t, *next;

	dlog_function_stop();
	mutex_lock(&trace_lock);
	if (trace_instance)
		trace_array_set_clr_event(trace_instance, NULL, NULL, false);
	list_for_each_entry_safe(t, next, &trace_list, list)
		trace_forget(t);
	trace_export_switch(false);
	mutex_unlock(&trace_lock);
	unregister_module_notifier(&trace_module_nb);
	dlog_symbols_stop();
	if (trace_instance) {
		trace_array_put(trace_instance);
		if (trace_array_destroy(trace_instance))
			pr_warn("trace instance \"%s\" is in use and stays\n",
				INSTANCE);
	}
	kvfree(trace_ids);
	dlog_kernfile_stop();
}

#else

int dlog_trace_format(const char *name, char *text, size_t size,
		      unsigned int *type)
{
	return -EOPNOTSUPP;
}

int dlog_trace_events(const char *glob, bool on)
{
	return -EOPNOTSUPP;
}

u64 dlog_trace_lost(void)
{
	return 0;
}

bool dlog_trace_has(int id)
{
	return false;
}

int dlog_trace_start(void)
{
	return dlog_symbols_start();
}

void dlog_trace_stop(void)
{
	dlog_function_stop();
	dlog_symbols_stop();
	dlog_kernfile_stop();
}

#endif
