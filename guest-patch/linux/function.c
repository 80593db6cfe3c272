// SPDX-License-Identifier: GPL-2.0-only
/*
 * function.c - calls of functions into the ring.
 *
 * An ftrace_ops of our own with a filter of its own: no trace buffer is
 * involved, nobody's function tracer is disturbed, and the price of a call is
 * an append.  A record is what ftrace's function tracer would have written,
 * event "ftrace:function", so that the same tools print it.
 *
 * Several filters may be on.  Adding one changes the ops in use.  Taking one
 * away is not an inverse of adding it, as another may match the same function,
 * and a filter that is empty for a moment means all functions: so a second ops
 * is built from the filters that are left and registered, and takes over in
 * one store before the first one goes.
 *
 * The callback runs wherever the traced function does, NMI included.  ftrace's
 * own recursion guard keeps it from tracing what it calls itself.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/dlog.h>
#include <linux/ftrace.h>
#include <linux/irqflags.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/trace_events.h>
#include <linux/trace_recursion.h>

#include "driver.h"

#ifdef CONFIG_DYNAMIC_FTRACE

#define NAME "ftrace:function"

/* As "events/ftrace/function/format" has it behind common_type. */
struct function_entry {
	s32 pid;
	u64 ip;
	u64 parent_ip;
} __packed;

static_assert(sizeof(struct function_entry) == 20);

struct function_filter {
	struct list_head list;
	char glob[];
};

static DEFINE_MUTEX(function_lock);
static LIST_HEAD(function_filters);
static int function_id;
static struct ftrace_ops *function_active; /* NULL: none is registered */

/* common_flags and common_preempt_count, as the upper half of the tag. */
static __always_inline u32 function_tag(void)
{
	u32 pc = preempt_count();
	u32 flags = irqs_disabled() ? TRACE_FLAG_IRQS_OFF : 0;

	if (pc & NMI_MASK)
		flags |= TRACE_FLAG_NMI;
	if (pc & HARDIRQ_MASK)
		flags |= TRACE_FLAG_HARDIRQ;
	if (pc & SOFTIRQ_OFFSET)
		flags |= TRACE_FLAG_SOFTIRQ;
	if ((pc & SOFTIRQ_MASK) >> (SOFTIRQ_SHIFT + 1))
		flags |= TRACE_FLAG_BH_OFF;
	if (tif_need_resched())
		flags |= TRACE_FLAG_NEED_RESCHED;
	if (test_preempt_need_resched())
		flags |= TRACE_FLAG_PREEMPT_RESCHED;
	pc = min_t(u32, pc & PREEMPT_MASK, 15);
#ifdef CONFIG_SMP
	pc |= min_t(u32, current->migration_disabled, 15) << 4;
#endif
	return pc << 24 | flags << 16;
}

static void notrace function_call(unsigned long ip, unsigned long parent_ip,
				  struct ftrace_ops *ops,
				  struct ftrace_regs *fregs)
{
	struct function_entry e;
	int id = function_id;
	u32 tag, gate;
	int bit;

	if (unlikely(ops != READ_ONCE(function_active)))
		return;
	tag = function_tag() | id;
	bit = ftrace_test_recursion_trylock(ip, parent_ip);
	if (bit < 0)
		return;
	gate = data_race(dlog_gate[id]);
	if (likely(gate != DLOG_GATE_SHUT)) {
		e.pid = current->pid;
		e.ip = ip;
		e.parent_ip = parent_ip;
		if (likely(gate == DLOG_GATE_OPEN))
			dlog_put_now(DLOG_TYPE(DLOG_KIND_EVENT, id), true, tag,
				     &e, sizeof(e) + 4);
		else
			dlog_hook(id, true, tag, &e, sizeof(e) + 4);
		dlog_symbol_seen(ip);
		dlog_symbol_seen(parent_ip);
	}
	ftrace_test_recursion_unlock(bit);
}

/* Made anew each time: a filter that was freed must not be freed again. */
static struct ftrace_ops *function_ops(void)
{
	struct ftrace_ops *ops = kzalloc(sizeof(*ops), GFP_KERNEL);

	if (ops)
		ops->func = function_call;
	return ops;
}

static void function_free(struct ftrace_ops *ops)
{
	ftrace_free_filter(ops);
	kfree(ops);
}

static int function_describe(void)
{
	unsigned int type;
	char *text;
	int ret;

	if (function_id)
		return 0;
	text = kvmalloc(DLOG_PAGE, GFP_KERNEL);
	if (!text)
		return -ENOMEM;
	ret = dlog_trace_format(NAME, text, DLOG_PAGE, &type);
	if (ret)
		goto out;
	/* This is where function_entry has them. */
	ret = -EOPNOTSUPP;
	if (!strstr(text, " ip;\toffset:8;\tsize:8;") ||
	    !strstr(text, " parent_ip;\toffset:16;\tsize:8;"))
		goto out;
	/* Before the id, whose being there says that all is. */
	ret = dlog_symbols_want();
	if (!ret)
		ret = dlog_catalog_event(NAME, "", text);
	if (ret > 0)
		function_id = ret;
out:
	kvfree(text);
	return ret;
}

static int function_set(struct ftrace_ops *ops, const char *glob, bool reset)
{
	char copy[KSYM_NAME_LEN];
	int len = strscpy(copy, glob, sizeof(copy));
	int ret;

	if (len <= 0 || strchr("!:", *glob))
		return -ENOENT;
	ret = ftrace_set_filter(ops, (unsigned char *)copy, len, reset);
	return ret == -EINVAL ? -ENOENT : ret;
}

static struct function_filter *function_find(const char *glob)
{
	struct function_filter *f;

	list_for_each_entry(f, &function_filters, list)
		if (!strcmp(f->glob, glob))
			return f;
	return NULL;
}

/* The first filter of all. */
static int function_start(const char *glob)
{
	struct ftrace_ops *ops = function_ops();
	int ret;

	if (!ops)
		return -ENOMEM;
	ret = function_set(ops, glob, true);
	if (!ret) {
		WRITE_ONCE(function_active, ops);
		ret = register_ftrace_function(ops);
	}
	if (ret) {
		WRITE_ONCE(function_active, NULL);
		function_free(ops);
	}
	return ret;
}

/*
 * Whoever was in the callback is out of it when this returns.  It fails when
 * ftrace has shut itself down for ever; what it may still use then stays.
 */
static void function_end(struct ftrace_ops *ops)
{
	if (!unregister_ftrace_function(ops))
		function_free(ops);
}

static int function_on(const char *glob)
{
	struct function_filter *f;
	int ret = function_describe();

	if (ret < 0)
		return ret;
	if (function_find(glob)) {
		dlog_event_switch(function_id, true);
		return 1;
	}
	f = kmalloc(struct_size(f, glob, strlen(glob) + 1), GFP_KERNEL);
	if (!f)
		return -ENOMEM;
	strcpy(f->glob, glob);
	ret = function_active ? function_set(function_active, glob, false)
			      : function_start(glob);
	if (ret) {
		kfree(f);
		return ret;
	}
	list_add_tail(&f->list, &function_filters);
	dlog_event_switch(function_id, true);
	return 1;
}

/* Another ops, with the filters that are left, takes over. */
static int function_change(struct ftrace_ops *old)
{
	struct ftrace_ops *new = function_ops();
	struct function_filter *f;
	bool empty = true;
	int ret = 0;

	if (!new)
		return -ENOMEM;
	list_for_each_entry(f, &function_filters, list) {
		ret = function_set(new, f->glob, empty);
		/* All that it matched may have gone with their module. */
		if (ret && ret != -ENOENT)
			break;
		if (!ret)
			empty = false;
	}
	if (!ret || ret == -ENOENT)
		ret = empty ? -ENOENT : register_ftrace_function(new);
	if (ret) {
		function_free(new);
		return ret;
	}
	WRITE_ONCE(function_active, new);
	function_end(old);
	return 0;
}

static int function_off(const char *glob)
{
	struct function_filter *f = function_find(glob);
	struct ftrace_ops *old = function_active;
	int ret = -ENOENT;

	if (!f)
		return -ENOENT;
	list_del(&f->list);
	if (!list_empty(&function_filters))
		ret = function_change(old);
	if (ret == -ENOENT) {
		dlog_event_switch(function_id, false);
		WRITE_ONCE(function_active, NULL);
		function_end(old);
		ret = 0;
	}
	if (ret) {
		list_add_tail(&f->list, &function_filters);
		return ret;
	}
	kfree(f);
	return 1;
}

int dlog_trace_functions(const char *glob, bool on)
{
	int ret;

	if (!READ_ONCE(dlog.ready))
		return -ENODEV;
	mutex_lock(&function_lock);
	ret = on ? function_on(glob) : function_off(glob);
	mutex_unlock(&function_lock);
	return ret;
}

void dlog_trace_show_functions(struct dlog_text *t)
{
	struct function_filter *f;

	mutex_lock(&function_lock);
	list_for_each_entry(f, &function_filters, list)
		dlog_text_add(t, "%s\n", f->glob);
	mutex_unlock(&function_lock);
}

void dlog_function_stop(void)
{
	struct function_filter *f, *next;

	if (function_active)
		function_end(function_active);
	WRITE_ONCE(function_active, NULL);
	list_for_each_entry_safe(f, next, &function_filters, list) {
		list_del(&f->list);
		kfree(f);
	}
}

#else

int dlog_trace_functions(const char *glob, bool on)
{
	return -EOPNOTSUPP;
}

void dlog_trace_show_functions(struct dlog_text *t)
{
}

void dlog_function_stop(void)
{
}

#endif
