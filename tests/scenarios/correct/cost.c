// SPDX-License-Identifier: GPL-2.0-only
/*
 * cost.c - nanoseconds of some calls, which are instructions in a guest that
 * counts them (-icount shift=0): what a wrapper adds when nothing is wrong.
 */
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>

#include "table.h"

#define CALLS 10000

static DEFINE_MUTEX(mutex);
static DEFINE_SPINLOCK(spin);
static char text[] = "a short text";
static char *volatile string = text;
static volatile size_t sink;

static void a_string(void)
{
	sink = strlen(string);
}

static void a_mutex(void)
{
	mutex_lock(&mutex);
	mutex_unlock(&mutex);
}

static void a_spinlock(void)
{
	spin_lock(&spin);
	spin_unlock(&spin);
}

static void memory(void)
{
	void *volatile p = kmalloc(100, GFP_KERNEL);

	kfree(p);
}

static noinline void measure(const char *name, void (*call)(void))
{
	u64 start, took;

	for (int i = 0; i < 300; i++)
		call();
	start = ktime_get_ns();
	for (int i = 0; i < CALLS; i++)
		call();
	took = ktime_get_ns() - start;
	pr_info("correct: cost of %s: %llu\n", name, took / CALLS);
}

void cost(void)
{
	measure("string", a_string);
	measure("mutex", a_mutex);
	measure("spinlock", a_spinlock);
	measure("memory", memory);
}
