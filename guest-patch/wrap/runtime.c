// SPDX-License-Identifier: GPL-2.0-only
/*
 * runtime.c - what a wrapped module remembers, and how it says what is wrong.
 *
 * Included behind the wrappers by the file that dlog-wrap writes; each module
 * has its own.  Three memories, all bounded or as large as what they track:
 *
 * live    what the module obtained and has not given back: a hash of nodes,
 *         under dlog_lock.  What is left at unload is a leak.
 * freed   the last DLOG_KEPT objects given to kfree().  They are really freed
 *         only when later ones push them out, so their addresses cannot be
 *         anybody else's meanwhile: whoever passes one uses freed memory.
 *         dlog_filter says cheaply that an address is none of them.  An object
 *         of up to 1 << K bytes is in the hash by its start >> K, so what lies
 *         in one is looked for twice for each K that there is.
 * failed  the last results that were NULL or an error, to tell where such a
 *         pointer came from.
 *
 * Spinlocks held are kept for each CPU; interrupts nest, so no lock is needed
 * for them.  Code that is not wrapped may have released one (inlined
 * spin_unlock(), cond_resched_lock()): an entry counts only while its task has
 * not been switched, which a spinlock forbids, and the lock stays taken.
 *
 * In NMI context nothing is remembered.
 */
#include <linux/hash.h>
#include <linux/log2.h>

#define DLOG_KEPT 128u
#define DLOG_KEPT_ORDER 16
#define DLOG_KEPT_SIZE (1u << DLOG_KEPT_ORDER) /* larger: freed at once */
#define DLOG_FAILED 16u
#define DLOG_HELD 8u
#define DLOG_SITES 64u
#define DLOG_LEAKS 32u
#define DLOG_TEXT 240u

int dlog_call(unsigned int level, u64 site, u32 flags, const u64 *args,
	      u32 nr_args, const char *function, const char *rule,
	      const char *caller);

struct dlog_live {
	struct hlist_node node;
	unsigned long key;
	const struct dlog_class *class;
	const char *function;
	unsigned long site;
};

struct dlog_freed {
	struct hlist_node node;
	unsigned long start, size;
	const char *function;
	unsigned long site;
};

struct dlog_failed {
	unsigned long result;
	struct task_struct *task;
	const char *function;
	unsigned long site;
};

struct dlog_held {
	const void *lock;
	unsigned long site;
	struct task_struct *task;
	unsigned long switches; /* of the task, when it took the lock */
};

struct dlog_holds {
	u32 nr;
	struct dlog_held held[DLOG_HELD];
};

struct dlog_count {
	unsigned long key; /* 0: free */
	atomic_t times;
};

static DEFINE_RAW_SPINLOCK(dlog_lock);
static struct hlist_head dlog_live[256];
static unsigned long dlog_untracked; /* no memory for a node */
static struct dlog_freed dlog_freed[DLOG_KEPT];
static struct hlist_head dlog_freed_at[256];
static u32 dlog_freed_of[DLOG_KEPT_ORDER + 1]; /* how many of 1 << K bytes */
static unsigned long dlog_freed_orders; /* bit K: there are some */
static u32 dlog_freed_next;
static struct dlog_failed dlog_failed[DLOG_FAILED];
static u32 dlog_failed_next;
static struct dlog_count dlog_counts[DLOG_SITES];
static DEFINE_PER_CPU(struct dlog_holds, dlog_holds);

/* How often this rule was broken at this site; counts from 1. */
static int dlog_times(unsigned long site, const void *rule)
{
	unsigned long key = dlog_pair((unsigned long)rule, site) | 1, was;
	u32 n = hash_long(key, ilog2(DLOG_SITES));

	for (u32 i = 0; i < DLOG_SITES; i++) {
		struct dlog_count *c = &dlog_counts[(n + i) % DLOG_SITES];

		was = cmpxchg(&c->key, 0, key);
		if (!was || was == key)
			return atomic_inc_return(&c->times);
	}
	return printk_ratelimit() ? 1 : 9;
}

/* The first eight times, then each time the number doubles. */
static void dlog_say(const struct dlog_at *at, unsigned int level,
		     const void *rule, const char *fmt, ...)
{
	typeof(&dlog_call) record;
	char text[DLOG_TEXT];
	va_list args;
	int times;

	if (in_nmi())
		return;
	times = dlog_times(at->site, rule);
	if (times > 8 && !is_power_of_2(times))
		return;
	va_start(args, fmt);
	vscnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	record = symbol_get(dlog_call);
	if (record) {
		record(level, at->site,
		       at->flags | (level <= DLOG_FATAL ? 1 : 0), at->args,
		       at->nr_args, at->function, text, NULL);
		symbol_put(dlog_call);
	}
	if (times > 1)
		return;
	if (level <= DLOG_FATAL)
		pr_crit("%s: dlog-wrap: %s(): %s, called from %pS\n",
			KBUILD_MODNAME, at->function, text, (void *)at->site);
	else
		pr_warn("%s: dlog-wrap: %s(): %s, called from %pS\n",
			KBUILD_MODNAME, at->function, text, (void *)at->site);
}

static u32 dlog_freed_order(unsigned long size)
{
	return order_base_2(size);
}

static struct hlist_head *dlog_freed_bucket(unsigned long unit, u32 order)
{
	return &dlog_freed_at[hash_long(unit * 32 + order,
					ilog2(ARRAY_SIZE(dlog_freed_at)))];
}

/* The freed object around @p, if it is kept; dlog_lock is held. */
static struct dlog_freed *dlog_freed_find(unsigned long p)
{
	struct dlog_freed *f;
	unsigned long unit;
	u32 order;

	for_each_set_bit(order, &dlog_freed_orders, DLOG_KEPT_ORDER + 1)
	{
		unit = p >> order;
		hlist_for_each_entry(f, dlog_freed_bucket(unit, order), node)
		{
			if (p - f->start < f->size)
				return f;
		}
		hlist_for_each_entry(f, dlog_freed_bucket(unit - 1, order),
				     node)
		{
			if (p - f->start < f->size)
				return f;
		}
	}
	return NULL;
}

static bool dlog_is_freed(unsigned long p, struct dlog_freed *copy)
{
	struct dlog_freed *f;
	unsigned long flags;

	if (in_nmi() || !data_race(*dlog_filter_of(p)))
		return false;
	raw_spin_lock_irqsave(&dlog_lock, flags);
	f = dlog_freed_find(p);
	if (f)
		*copy = *f;
	raw_spin_unlock_irqrestore(&dlog_lock, flags);
	return f;
}

/* ", as open() returned at probe+0x12/0x40 [demo]", or nothing. */
static void dlog_origin(unsigned long result, char *buf, size_t size)
{
	buf[0] = 0;
	for (u32 i = 1; i <= DLOG_FAILED; i++) {
		struct dlog_failed f = data_race(
			dlog_failed[(dlog_failed_next - i) % DLOG_FAILED]);

		if (!f.function || f.task != current || f.result != result)
			continue;
		scnprintf(buf, size, ", as %s() returned at %pS", f.function,
			  (void *)f.site);
		return;
	}
}

static void dlog_pointer(const struct dlog_at *at, const char *name,
			 unsigned long p, bool may_be_null)
{
	struct dlog_freed f;
	char from[128];

	if (!p && may_be_null)
		return;
	dlog_origin(p, from, sizeof(from));
	if (!p)
		dlog_say(at, DLOG_FATAL, name, "%s must not be NULL%s", name,
			 from);
	else if (IS_ERR_VALUE(p))
		dlog_say(at, DLOG_FATAL, name,
			 "%s is an error, not a pointer: ERR_PTR(%ld)%s", name,
			 (long)p, from);
	else if (p < PAGE_SIZE)
		dlog_say(at, DLOG_FATAL, name,
			 "%s is 0x%lx, a member of what is NULL", name, p);
	else if (p < DLOG_LOWEST)
		dlog_say(at, DLOG_FATAL, name, "%s is no kernel address: 0x%lx",
			 name, p);
	else if (dlog_is_freed(p, &f))
		dlog_say(at, DLOG_FATAL, name,
			 "use after free: %s was freed by %s() at %pS", name,
			 f.function, (void *)f.site);
}

/* Voluntary and other switches from this task. */
static unsigned long dlog_switches(void)
{
	return READ_ONCE(current->nvcsw) + READ_ONCE(current->nivcsw);
}

/* Is the lock of this CPU's entry still held, as far as can be told? */
static bool dlog_still_held(const struct dlog_held *e)
{
	return e->lock && e->task == current &&
	       e->switches == dlog_switches() &&
	       (preempt_count() || !IS_ENABLED(CONFIG_PREEMPT_COUNT));
}

static void dlog_asleep(const struct dlog_at *at)
{
	struct dlog_holds *h = this_cpu_ptr(&dlog_holds);
	char lock[128] = "";

	if (oops_in_progress)
		return;
	if (h->nr && h->nr <= DLOG_HELD && dlog_still_held(&h->held[h->nr - 1]))
		scnprintf(lock, sizeof(lock), ", spinlock taken at %pS",
			  (void *)h->held[h->nr - 1].site);
	dlog_say(at, DLOG_FATAL, dlog_asleep,
		 "may sleep, in atomic context (%s%s)%s",
		 preempt_count()   ? "preemption off"
		 : irqs_disabled() ? "interrupts off"
				   : "RCU read side",
		 in_interrupt() ? ", interrupt or bottom half" : "", lock);
}

static void dlog_remember(const struct dlog_at *at, unsigned long result)
{
	unsigned long flags;

	if (in_nmi())
		return;
	raw_spin_lock_irqsave(&dlog_lock, flags);
	dlog_failed[dlog_failed_next++ % DLOG_FAILED] = (struct dlog_failed){
		.result = result,
		.task = current,
		.function = at->function,
		.site = at->site,
	};
	raw_spin_unlock_irqrestore(&dlog_lock, flags);
}

/* ---- what was obtained ---- */

static struct hlist_head *dlog_bucket(unsigned long key)
{
	return &dlog_live[hash_long(key, ilog2(ARRAY_SIZE(dlog_live)))];
}

static void dlog_got(const struct dlog_at *at, const struct dlog_class *class,
		     unsigned long key)
{
	struct dlog_live *n, *was;
	unsigned long flags;

	if (in_nmi() || key == (unsigned long)ZERO_SIZE_PTR)
		return;
	n = kmalloc(sizeof(*n), GFP_ATOMIC | __GFP_NOWARN);
	if (!n) {
		data_race(dlog_untracked++);
		return;
	}
	*n = (struct dlog_live){
		.key = key,
		.class = class,
		.function = at->function,
		.site = at->site,
	};
	raw_spin_lock_irqsave(&dlog_lock, flags);
	/* Somebody else gave the old one back. */
	hlist_for_each_entry(was, dlog_bucket(key), node)
	{
		if (was->key == key && was->class == class)
			break;
	}
	if (was)
		hlist_del(&was->node);
	hlist_add_head(&n->node, dlog_bucket(key));
	raw_spin_unlock_irqrestore(&dlog_lock, flags);
	kfree(was);
}

static bool dlog_one_of(const struct dlog_class *c,
			const struct dlog_class *const *classes)
{
	for (; *classes; classes++)
		if (*classes == c)
			return true;
	return false;
}

/* Take what @key names out of the live ones; false if it needs another. */
static bool dlog_forget(unsigned long key,
			const struct dlog_class *const *classes,
			struct dlog_live *other)
{
	struct dlog_live *n, *mine = NULL;
	unsigned long flags;
	bool ok = true;

	raw_spin_lock_irqsave(&dlog_lock, flags);
	hlist_for_each_entry(n, dlog_bucket(key), node)
	{
		if (n->key != key)
			continue;
		if (dlog_one_of(n->class, classes)) {
			mine = n;
			break;
		}
		if (n->class->memory && classes[0]->memory) {
			*other = *n;
			ok = false;
		}
	}
	if (mine)
		hlist_del(&mine->node);
	raw_spin_unlock_irqrestore(&dlog_lock, flags);
	kfree(mine);
	return mine || ok;
}

/* False when the call must not be made: the object is free already. */
static bool dlog_back(const struct dlog_at *at, const char *name,
		      const struct dlog_class *const *classes,
		      unsigned long key)
{
	struct dlog_live other;
	struct dlog_freed f;

	if (in_nmi() || !key)
		return true;
	if (classes[0]->memory && dlog_is_freed(key, &f)) {
		dlog_say(at, DLOG_FATAL, classes,
			 "double free: %s was freed by %s() at %pS", name,
			 f.function, (void *)f.site);
		return false;
	}
	if (!dlog_forget(key, classes, &other))
		dlog_say(at, DLOG_FATAL, classes,
			 "%s is of %s() at %pS and belongs to %s", name,
			 other.function, (void *)other.site, other.class->back);
	return true;
}

/* ---- what was freed ---- */

/* Where it can be found, or not any more; dlog_lock is held. */
static void dlog_freed_link(struct dlog_freed *f, bool add)
{
	u32 order = dlog_freed_order(f->size);
	unsigned long page = f->start >> PAGE_SHIFT;

	if (!f->start)
		return;
	for (; page <= (f->start + f->size - 1) >> PAGE_SHIFT; page++)
		*dlog_filter_of(page << PAGE_SHIFT) += add ? 1 : -1;
	dlog_freed_of[order] += add ? 1 : -1;
	if (!dlog_freed_of[order])
		__clear_bit(order, &dlog_freed_orders);
	if (!add) {
		hlist_del(&f->node);
		return;
	}
	__set_bit(order, &dlog_freed_orders);
	hlist_add_head(&f->node, dlog_freed_bucket(f->start >> order, order));
}

/* Put @f among the freed; what was there before it goes for good. */
static void dlog_freed_put(const struct dlog_freed *f)
{
	unsigned long flags, old;
	struct dlog_freed *slot;

	raw_spin_lock_irqsave(&dlog_lock, flags);
	slot = &dlog_freed[dlog_freed_next++ % DLOG_KEPT];
	old = slot->start;
	dlog_freed_link(slot, false);
	*slot = *f;
	dlog_freed_link(slot, true);
	raw_spin_unlock_irqrestore(&dlog_lock, flags);
	kfree((void *)old);
}

/* Free @p later; false when that is for the caller to do, now. */
static bool dlog_keep(const struct dlog_at *at, const void *p)
{
	struct dlog_freed f = {
		.start = (unsigned long)p,
		.function = at->function,
		.site = at->site,
	};

	if (in_nmi() || ZERO_OR_NULL_PTR(p) || !virt_addr_valid(p))
		return false;
	f.size = ksize(p);
	if (!f.size || f.size > DLOG_KEPT_SIZE)
		return false;
	dlog_freed_put(&f);
	return true;
}

static void dlog_flush(void)
{
	static const struct dlog_freed none;

	for (u32 i = 0; i < DLOG_KEPT; i++)
		dlog_freed_put(&none);
}

/* ---- spinlocks ---- */

/* Where this CPU took the lock, if it seems to hold it; else 0. */
static unsigned long dlog_lock_mine(const void *lock)
{
	struct dlog_holds *h;
	unsigned long site = 0;

	if (in_nmi())
		return 0;
	/* Who may be moved to another CPU holds no spinlock. */
	if (IS_ENABLED(CONFIG_PREEMPT_COUNT) && !preempt_count())
		return 0;
	h = raw_cpu_ptr(&dlog_holds);
	for (u32 i = 0; i < min(h->nr, DLOG_HELD); i++)
		if (h->held[i].lock == lock && dlog_still_held(&h->held[i]))
			site = h->held[i].site;
	return site;
}

static void dlog_deadlock(const struct dlog_at *at, unsigned long site)
{
	dlog_say(at, DLOG_FATAL, dlog_deadlock,
		 "deadlock: lock is held by this CPU since %pS", (void *)site);
}

/* An interrupt between the two stores uses the entry behind this one. */
static void dlog_lock_taken(const struct dlog_at *at, const void *lock)
{
	struct dlog_holds *h = this_cpu_ptr(&dlog_holds);
	u32 n = h->nr;

	/* Released behind our back, and what is below is older still. */
	if (n && in_task() && !dlog_still_held(&h->held[min(n, DLOG_HELD) - 1]))
		n = 0;
	WRITE_ONCE(h->nr, n + 1);
	barrier();
	if (n < DLOG_HELD)
		h->held[n] = (struct dlog_held){ lock, at->site, current,
						 dlog_switches() };
}

static void dlog_lock_left(const void *lock)
{
	struct dlog_holds *h = this_cpu_ptr(&dlog_holds);
	u32 n = h->nr, i = min(n, DLOG_HELD);

	while (i && h->held[i - 1].lock != lock)
		i--;
	if (i)
		for (; i < min(n, DLOG_HELD); i++)
			h->held[i - 1] = h->held[i];
	else if (n <= DLOG_HELD)
		return; /* taken where nobody looked */
	if (n <= DLOG_HELD)
		h->held[n - 1].lock = NULL;
	barrier();
	WRITE_ONCE(h->nr, n - 1);
}

/* ---- the module's life ---- */

static void dlog_begin(void)
{
	if (symbol_get(dlog_call))
		symbol_put(dlog_call);
	else
		pr_notice(
			"%s: dlog-wrap: dlog.ko is not loaded: broken rules go to the kernel's log only\n",
			KBUILD_MODNAME);
}

/* Behind the module's exit, or its init that failed: nobody runs any more. */
static void dlog_end(void)
{
	struct dlog_live *n;
	struct hlist_node *next;
	u32 leaks = 0;

	dlog_flush();
	for (u32 i = 0; i < ARRAY_SIZE(dlog_live); i++) {
		hlist_for_each_entry_safe(n, next, &dlog_live[i], node)
		{
			u64 result = n->key;
			struct dlog_at at = { n->function, n->site, &result, 1,
					      2 };

			if (leaks++ < DLOG_LEAKS)
				dlog_say(&at, DLOG_WRONG, n->class,
					 "leak: never passed to %s",
					 n->class->back);
			hlist_del(&n->node);
			kfree(n);
		}
	}
	if (leaks > DLOG_LEAKS)
		pr_warn("%s: dlog-wrap: and %u leaks more\n", KBUILD_MODNAME,
			leaks - DLOG_LEAKS);
	if (dlog_untracked)
		pr_warn("%s: dlog-wrap: %lu were not watched for want of memory\n",
			KBUILD_MODNAME, dlog_untracked);
}
