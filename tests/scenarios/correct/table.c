// SPDX-License-Identifier: GPL-2.0-only
/* table.c - a list under a spinlock, entries from kmalloc(). */
#include <linux/list.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>

#include "table.h"

struct entry {
	struct list_head list;
	char *name;
	int number;
};

static LIST_HEAD(entries);
static DEFINE_SPINLOCK(lock);
static int last;

int table_add(const char *name)
{
	struct entry *e = kzalloc(sizeof(*e), GFP_KERNEL);
	unsigned long flags;

	if (!e)
		return -ENOMEM;
	e->name = kstrdup(name, GFP_KERNEL);
	if (!e->name) {
		kfree(e);
		return -ENOMEM;
	}
	spin_lock_irqsave(&lock, flags);
	e->number = ++last;
	list_add(&e->list, &entries);
	spin_unlock_irqrestore(&lock, flags);
	return 0;
}

int table_find(const char *name)
{
	struct entry *e;
	int found = -ENOENT;

	spin_lock(&lock);
	list_for_each_entry(e, &entries, list)
		if (!strcmp(e->name, name))
			found = e->number;
	spin_unlock(&lock);
	return found;
}

void table_clear(void)
{
	struct entry *e, *next;
	LIST_HEAD(gone);

	spin_lock(&lock);
	list_splice_init(&entries, &gone);
	spin_unlock(&lock);
	list_for_each_entry_safe(e, next, &gone, list) {
		kfree(e->name);
		kfree(e);
	}
}
