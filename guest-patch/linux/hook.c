// SPDX-License-Identifier: GPL-2.0-only
/*
 * hook.c - consumers of an event, sets of events that are armed together.
 *
 * An event with consumers, or in a set, has the gate DLOG_GATE_HOOKED and
 * comes to dlog_hook(); the others pay nothing for all this.
 *
 * Sets.  One word holds a bit for each set: armed or not.  Each hit reads it
 * once and nothing but it decides, so one store switches all events of all
 * sets on all CPUs: once any CPU has seen the new word, no event that begins
 * later, wherever, sees the old one.
 *
 * Consumers are an RCU list, sorted by priority; dlog_hook() walks it with
 * preemption off, so synchronize_rcu() waits for it, NMI included.  Where RCU
 * does not watch (the innermost of idle) no consumer runs: the event is
 * recorded.  A consumer that appends an event with consumers would never end:
 * on each CPU each context (task, softirq, hardirq, NMI) has a bit that says
 * that it is among consumers, and is recorded plainly then.
 *
 * What belongs to one event is made when it is needed and stays until the
 * driver goes, so that a hit may look at it without protection.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/mutex.h>
#include <linux/rculist.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "driver.h"

struct dlog_hook {
	u64 sets; /* those it is in */
	struct list_head consumers; /* highest priority first */
	atomic64_t recorded; /* since it was hooked */
};

static struct dlog_hook *dlog_hooks[DLOG_GATES];
/* Changes of lists and of the above; a module may come beside a command. */
static DEFINE_MUTEX(dlog_hook_lock);

static u64 dlog_armed __read_mostly;
static char dlog_set_names[DLOG_SETS][DLOG_SET_NAME];
static unsigned int dlog_nr_sets;

/* Contexts of this CPU that are among consumers, a bit each. */
static DEFINE_PER_CPU(u8, dlog_inside);

/* ---- a hit ---- */

static notrace int dlog_hook_record(int id, bool tagged, u32 tag,
				    const void *data, size_t len)
{
	/* A consumer before it may have stopped recording. */
	if (data_race(dlog_gate[id]) == DLOG_GATE_SHUT)
		return -EAGAIN;
	return dlog_put_now(DLOG_TYPE(DLOG_KIND_EVENT, id), tagged, tag, data,
			    len);
}

/* The chain: -EAGAIN when a consumer suppressed the record. */
static notrace int dlog_hook_chain(struct dlog_hook *h, int id, bool tagged,
				   u32 tag, const void *data, size_t len)
{
	size_t given = tagged ? len - 4 : len;
	struct dlog_consumer *c;
	bool recorded = false;
	int ret = -EAGAIN;

	/* Preemption is off, which is what synchronize_rcu() waits for. */
	list_for_each_entry_rcu(c, &h->consumers, node, true) {
		if (!recorded && c->priority <= 0) {
			recorded = true;
			atomic64_inc(&h->recorded);
			ret = dlog_hook_record(id, tagged, tag, data, len);
		}
		atomic64_inc(&c->hits);
		if (c->fn(c, id, data, given) == DLOG_CONSUMER_STOP)
			return ret;
	}
	if (!recorded) {
		atomic64_inc(&h->recorded);
		ret = dlog_hook_record(id, tagged, tag, data, len);
	}
	return ret;
}

notrace int dlog_hook(int id, bool tagged, u32 tag, const void *data,
		      size_t len)
{
	u8 context = 1 << interrupt_context_level();
	struct dlog_hook *h;
	u64 sets;
	int ret;

	if (unlikely(id - 1U >= DLOG_EVENT_MAX))
		return -EINVAL;
	preempt_disable_notrace();
	h = smp_load_acquire(&dlog_hooks[id]);
	sets = h ? READ_ONCE(h->sets) : 0;
	if (sets && !(sets & READ_ONCE(dlog_armed))) {
		ret = -EAGAIN;
	} else if (!h || !rcu_is_watching() ||
		   this_cpu_read(dlog_inside) & context) {
		ret = dlog_hook_record(id, tagged, tag, data, len);
	} else {
		this_cpu_or(dlog_inside, context);
		ret = dlog_hook_chain(h, id, tagged, tag, data, len);
		this_cpu_and(dlog_inside, ~context);
	}
	preempt_enable_notrace();
	return ret;
}

/* ---- what belongs to an event ---- */

static struct dlog_hook *dlog_hook_get(int id)
{
	struct dlog_hook *h = dlog_hooks[id];

	if (!h) {
		h = kzalloc(sizeof(*h), GFP_KERNEL);
		if (!h)
			return NULL;
		INIT_LIST_HEAD(&h->consumers);
		smp_store_release(&dlog_hooks[id], h);
	}
	return h;
}

static void dlog_hook_regate(int id)
{
	struct dlog_hook *h = dlog_hooks[id];

	dlog_event_hooked(id, h->sets || !list_empty(&h->consumers));
}

/* ---- sets ---- */

int dlog_set_find(const char *name)
{
	for (unsigned int i = 0; i < dlog_nr_sets; i++)
		if (!strcmp(dlog_set_names[i], name))
			return i;
	return -ENOENT;
}

int dlog_set_make(const char *name)
{
	int set = dlog_set_find(name);

	if (set >= 0)
		return set;
	if (dlog_nr_sets == DLOG_SETS)
		return -ENOSPC;
	strscpy(dlog_set_names[dlog_nr_sets], name, DLOG_SET_NAME);
	return dlog_nr_sets++;
}

void dlog_set_switch(u64 arm, u64 disarm)
{
	WRITE_ONCE(dlog_armed, (dlog_armed | arm) & ~disarm);
}

int dlog_set_put(int id, int set)
{
	struct dlog_hook *h;

	mutex_lock(&dlog_hook_lock);
	h = dlog_hook_get(id);
	if (h) {
		WRITE_ONCE(h->sets, h->sets | BIT_ULL(set));
		dlog_hook_regate(id);
	}
	mutex_unlock(&dlog_hook_lock);
	return h ? 0 : -ENOMEM;
}

void dlog_set_clear(int id)
{
	mutex_lock(&dlog_hook_lock);
	if (dlog_hooks[id]) {
		WRITE_ONCE(dlog_hooks[id]->sets, 0);
		dlog_hook_regate(id);
	}
	mutex_unlock(&dlog_hook_lock);
}

/* ---- consumers ---- */

/* To event number @id; the lock is held. */
static int dlog_consumer_link(int id, struct dlog_consumer *c)
{
	struct dlog_hook *h = dlog_hook_get(id);
	struct dlog_consumer *other;

	if (!h)
		return -ENOMEM;
	list_for_each_entry(other, &h->consumers, node)
		if (other->priority < c->priority)
			break;
	if (list_empty(&h->consumers))
		atomic64_set(&h->recorded, 0);
	atomic64_set(&c->hits, 0);
	c->id = id;
	/* Before the first that is lower, or at the end, which is the head. */
	list_add_tail_rcu(&c->node, &other->node);
	dlog_hook_regate(id);
	return 0;
}

static void dlog_consumer_unlink(struct dlog_consumer *c)
{
	list_del_rcu(&c->node);
	dlog_hook_regate(c->id);
	/* dlog_hook() has preemption off. */
	synchronize_rcu();
	c->id = 0;
}

int dlog_consumer_add(const char *event, struct dlog_consumer *c)
{
	int id, ret;

	if (!READ_ONCE(dlog.ready))
		return -ENODEV;
	id = dlog_catalog_find(event);
	if (id < 0)
		return id;
	mutex_lock(&dlog_hook_lock);
	ret = c->id ? -EBUSY : dlog_consumer_link(id, c);
	mutex_unlock(&dlog_hook_lock);
	return ret;
}
EXPORT_SYMBOL_GPL(dlog_consumer_add);

void dlog_consumer_remove(struct dlog_consumer *c)
{
	mutex_lock(&dlog_hook_lock);
	if (c->id)
		dlog_consumer_unlink(c);
	mutex_unlock(&dlog_hook_lock);
}
EXPORT_SYMBOL_GPL(dlog_consumer_remove);

/* ---- the driver's own consumers ---- */

struct dlog_own {
	struct dlog_consumer consumer;
	atomic_t seen;
};

/* Its hits are counted, as everybody's. */
static notrace int dlog_own_count(struct dlog_consumer *c, int id,
				  const void *data, size_t len)
{
	return DLOG_CONSUMER_GO;
}

static notrace int dlog_own_once(struct dlog_consumer *c, int id,
				 const void *data, size_t len)
{
	struct dlog_own *own = container_of(c, struct dlog_own, consumer);

	if (!atomic_read(&own->seen) && !atomic_xchg(&own->seen, 1))
		return DLOG_CONSUMER_GO;
	return DLOG_CONSUMER_STOP;
}

static notrace int dlog_own_stack(struct dlog_consumer *c, int id,
				  const void *data, size_t len)
{
	dlog_stack_here();
	return DLOG_CONSUMER_GO;
}

static notrace int dlog_own_stop(struct dlog_consumer *c, int id,
				 const void *data, size_t len)
{
	WRITE_ONCE(dlog.user_stop, true);
	dlog_update_recording();
	return DLOG_CONSUMER_GO;
}

/* What the priority is when none is said: before the record, or behind. */
static const struct dlog_consumer dlog_own_kinds[] = {
	{ .name = "count", .priority = 1000, .fn = dlog_own_count },
	{ .name = "once", .priority = 100, .fn = dlog_own_once },
	{ .name = "stack", .priority = -10, .fn = dlog_own_stack },
	{ .name = "stop", .priority = -1000, .fn = dlog_own_stop },
};

const char *dlog_consumer_own_names(void)
{
	return "count, once, stack, stop";
}

static const struct dlog_consumer *dlog_own_kind(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(dlog_own_kinds); i++)
		if (!strcmp(dlog_own_kinds[i].name, name))
			return &dlog_own_kinds[i];
	return NULL;
}

/* The consumer of event @id that is of this kind; the lock is held. */
static struct dlog_own *dlog_own_find(int id, const struct dlog_consumer *kind)
{
	struct dlog_consumer *c;

	if (dlog_hooks[id])
		list_for_each_entry(c, &dlog_hooks[id]->consumers, node)
			if (c->fn == kind->fn)
				return container_of(c, struct dlog_own,
						    consumer);
	return NULL;
}

int dlog_consumer_own_add(int id, const char *name, const int *priority)
{
	const struct dlog_consumer *kind = dlog_own_kind(name);
	struct dlog_own *own;
	int ret = -EEXIST;

	if (!kind)
		return -ENOENT;
	own = kzalloc(sizeof(*own), GFP_KERNEL);
	if (!own)
		return -ENOMEM;
	own->consumer = *kind;
	if (priority)
		own->consumer.priority = *priority;
	mutex_lock(&dlog_hook_lock);
	if (!dlog_own_find(id, kind))
		ret = dlog_consumer_link(id, &own->consumer);
	mutex_unlock(&dlog_hook_lock);
	if (ret)
		kfree(own);
	return ret;
}

int dlog_consumer_own_remove(int id, const char *name)
{
	const struct dlog_consumer *kind = dlog_own_kind(name);
	struct dlog_own *own = NULL;

	mutex_lock(&dlog_hook_lock);
	if (kind)
		own = dlog_own_find(id, kind);
	if (own)
		dlog_consumer_unlink(&own->consumer);
	mutex_unlock(&dlog_hook_lock);
	kfree(own);
	return own ? 0 : -ENOENT;
}

/* ---- showing, and the end ---- */

void dlog_hook_show_event(struct dlog_text *t, int id)
{
	u64 sets = dlog_hooks[id] ? dlog_hooks[id]->sets : 0;
	const char *comma = "";

	if (!sets)
		dlog_text_add(t, "-");
	for (; sets; sets &= sets - 1) {
		dlog_text_add(t, "%s%s", comma, dlog_set_names[__ffs64(sets)]);
		comma = ",";
	}
}

void dlog_hook_show_sets(struct dlog_text *t)
{
	dlog_text_add(t, "name\tarmed\tevents\n");
	for (unsigned int set = 0; set < dlog_nr_sets; set++) {
		unsigned int n = 0;

		for (int id = 1; id < DLOG_GATES; id++)
			n += dlog_hooks[id] && dlog_hooks[id]->sets >> set & 1;
		dlog_text_add(t, "%s\t%s\t%u\n", dlog_set_names[set],
			      dlog_armed >> set & 1 ? "yes" : "no", n);
	}
}

static void dlog_hook_show_record(struct dlog_text *t, const char *event,
				  struct dlog_hook *h)
{
	dlog_text_add(t, "%s\t0\trecord\t%lld\n", event,
		      atomic64_read(&h->recorded));
}

static int dlog_hook_show_chain(void *arg, int id, const char *event,
				bool ftrace)
{
	struct dlog_text *t = arg;
	struct dlog_consumer *c;
	struct dlog_hook *h;
	bool record = false;

	mutex_lock(&dlog_hook_lock);
	h = dlog_hooks[id];
	if (!h || list_empty(&h->consumers))
		goto out;
	list_for_each_entry(c, &h->consumers, node) {
		if (!record && c->priority <= 0) {
			record = true;
			dlog_hook_show_record(t, event, h);
		}
		dlog_text_add(t, "%s\t%d\t%s\t%lld\n", event, c->priority,
			      c->name, atomic64_read(&c->hits));
	}
	if (!record)
		dlog_hook_show_record(t, event, h);
out:
	mutex_unlock(&dlog_hook_lock);
	return t->error;
}

void dlog_hook_show_consumers(struct dlog_text *t)
{
	dlog_text_add(t, "event\tpriority\tconsumer\tcount\n");
	dlog_catalog_each(dlog_hook_show_chain, t);
}

/*
 * Nobody else's consumer is left, and nobody who appends events: those
 * modules need ours.  What waited in a set for being armed stays silent.
 */
void dlog_hook_stop(void)
{
	mutex_lock(&dlog_hook_lock);
	for (int id = 1; id < DLOG_GATES; id++) {
		struct dlog_hook *h = dlog_hooks[id];
		struct dlog_consumer *c, *next;

		if (!h)
			continue;
		if (h->sets)
			dlog_event_switch(id, false);
		list_for_each_entry_safe(c, next, &h->consumers, node) {
			dlog_consumer_unlink(c);
			kfree(container_of(c, struct dlog_own, consumer));
		}
		dlog_event_hooked(id, false);
	}
	synchronize_rcu();
	for (int id = 1; id < DLOG_GATES; id++)
		kfree(dlog_hooks[id]);
	mutex_unlock(&dlog_hook_lock);
}
