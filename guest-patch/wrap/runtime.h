/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * runtime.h - what the wrappers of one module use; see docs/wrap.md.
 *
 * dlog-wrap writes one C file for each module: wrappers __wrap_NAME of the
 * functions that the module calls, between the includes and runtime.c.  So
 * all here is private to that module.  In that file a wrapped function's own
 * name means the kernel's function, also when the compiler or a header calls
 * it: nothing here can end in a wrapper.
 *
 * What a wrapper needs on its quick way is inline here: a comparison or two
 * for each rule.  Everything else is in runtime.c.
 */
#ifndef DLOG_WRAP_RUNTIME_H
#define DLOG_WRAP_RUNTIME_H

#include <linux/delay.h>
#include <linux/err.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/preempt.h>
#include <linux/printk.h>
#include <linux/rcupdate.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>

/* A call in progress. */
struct dlog_at {
	const char *function;
	unsigned long site; /* return address */
	const u64 *args;
	u32 nr_args;
	u32 flags; /* enum dlog_call_flags */
};

/* What is obtained by one function and must be given back by another. */
struct dlog_class {
	const char *name;
	const char *back; /* by whom, for people */
	bool memory; /* an address of memory identifies it */
};

/* A structure passed by value (class 12 of gcc) is shown as 0. */
#define DLOG_ARG(x)                                                            \
	((u64)(unsigned long)__builtin_choose_expr(                            \
		__builtin_classify_type(x) == 12, 0UL, x))
#define DLOG_AT(name, values)                                                  \
	{                                                                      \
		.function = name, .site = _RET_IP_, .args = values,            \
		.nr_args = ARRAY_SIZE(values)                                  \
	}

/* Syslog levels: what may end in a crash or a hang, what is merely wrong. */
#define DLOG_FATAL 2
#define DLOG_WRONG 4

/* How long a lock stays taken before it is called a deadlock. */
#define DLOG_WAIT_US 500000

/* The lowest address that the kernel may use. */
#if defined(CONFIG_X86_64) || defined(CONFIG_ARM64) || defined(CONFIG_RISCV)
#define DLOG_LOWEST (1UL << (BITS_PER_LONG - 1))
#else
#define DLOG_LOWEST PAGE_SIZE
#endif

/* How many freed objects that are kept touch a page with this hash. */
#define DLOG_FILTER 1024u
static u16 dlog_filter[DLOG_FILTER];

static inline u16 *dlog_filter_of(unsigned long address)
{
	return &dlog_filter[(address >> PAGE_SHIFT) % DLOG_FILTER];
}

/* Not a kernel address, an error, or perhaps memory that was freed. */
static inline bool dlog_suspect(unsigned long p)
{
	return p - DLOG_LOWEST >= (unsigned long)-MAX_ERRNO - DLOG_LOWEST ||
	       data_race(*dlog_filter_of(p));
}

static inline bool dlog_atomic(void)
{
	return preempt_count() || irqs_disabled() || rcu_preempt_depth();
}

/* Does this task hold it?  The owner's low bits are flags. */
static inline bool dlog_mutex_mine(struct mutex *m)
{
#ifdef CONFIG_PREEMPT_RT
	return rt_mutex_owner(&m->rtmutex) == current;
#else
	return (atomic_long_read(&m->owner) & ~7L) == (long)current;
#endif
}

/* Does this task hold it for writing?  Bit 0 of the owner: for reading. */
static inline bool dlog_rwsem_mine(struct rw_semaphore *s)
{
#ifdef CONFIG_PREEMPT_RT
	return false;
#else
	return (atomic_long_read(&s->count) & 1) &&
	       (atomic_long_read(&s->owner) & ~6L) == (long)current;
#endif
}

/* Is it taken for writing?  True where that cannot be seen. */
static inline bool dlog_write_locked(rwlock_t *lock)
{
#if defined(CONFIG_QUEUED_RWLOCKS) && !defined(CONFIG_PREEMPT_RT)
	return (atomic_read(&lock->raw_lock.cnts) & _QW_WMASK) == _QW_LOCKED;
#else
	return true;
#endif
}

/*
 * @locked says whether anybody holds the lock now.  If it was this CPU that
 * took it, a while is waited for another to release it: for ever is long enough
 * for the deadlock that this is otherwise.
 */
#define dlog_lock_wanted(at, lock, locked)                                     \
	do {                                                                   \
		unsigned long dlog_site = 0;                                   \
		int dlog_us = 0;                                               \
		if (unlikely(locked))                                          \
			dlog_site = dlog_lock_mine(lock);                      \
		if (!dlog_site)                                                \
			break;                                                 \
		while ((locked) && dlog_us++ < DLOG_WAIT_US)                   \
			udelay(1);                                             \
		if (dlog_us > DLOG_WAIT_US)                                    \
			dlog_deadlock(at, dlog_site);                          \
	} while (0)

/* A key for what two values name together. */
static inline unsigned long dlog_pair(unsigned long a, unsigned long b)
{
	return a * 0x9e3779b1UL ^ b;
}

/* A module needs some of them. */
static __maybe_unused __printf(4, 5) void dlog_say(const struct dlog_at *at,
						   unsigned int level,
						   const void *rule,
						   const char *fmt, ...);
static __maybe_unused void dlog_pointer(const struct dlog_at *at,
					const char *name, unsigned long p,
					bool may_be_null);
static __maybe_unused void dlog_asleep(const struct dlog_at *at);
static __maybe_unused void dlog_remember(const struct dlog_at *at,
					 unsigned long result);
static __maybe_unused void dlog_got(const struct dlog_at *at,
				    const struct dlog_class *class,
				    unsigned long key);
static __maybe_unused bool dlog_back(const struct dlog_at *at, const char *name,
				     const struct dlog_class *const *classes,
				     unsigned long key);
static __maybe_unused bool dlog_keep(const struct dlog_at *at, const void *p);
static __maybe_unused void dlog_flush(void);
static __maybe_unused unsigned long dlog_lock_mine(const void *lock);
static __maybe_unused void dlog_deadlock(const struct dlog_at *at,
					 unsigned long site);
static __maybe_unused void dlog_lock_taken(const struct dlog_at *at,
					   const void *lock);
static __maybe_unused void dlog_lock_left(const void *lock);
static __maybe_unused void dlog_begin(void);
static __maybe_unused void dlog_end(void);

#endif
