// SPDX-License-Identifier: GPL-2.0-only
/*
 * main.c - a module that makes none of faulty.c's mistakes with the same
 * functions: nothing may be said about it.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

#include "table.h"

static DEFINE_MUTEX(mutex);
static struct workqueue_struct *queue;
static struct kmem_cache *cache;
static atomic_t worked;

static void work_fn(struct work_struct *work)
{
	void *p = kmem_cache_alloc(cache, GFP_ATOMIC);

	if (p) {
		memset(p, 1, 64);
		kmem_cache_free(cache, p);
	}
	atomic_inc(&worked);
}
static DECLARE_WORK(work, work_fn);

static noinline int files(void)
{
	struct file *f = filp_open("/no/such/file", O_RDONLY, 0);
	char buf[16] = "";
	loff_t pos = 0;

	if (!IS_ERR(f))
		return -EEXIST;
	f = filp_open("/proc/version", O_RDONLY, 0);
	if (IS_ERR(f))
		return PTR_ERR(f);
	kernel_read(f, buf, sizeof(buf) - 1, &pos);
	filp_close(f, NULL);
	return strncmp(buf, "Linux", 5) ? -EIO : 0;
}

static noinline int memory(void)
{
	char *volatile s = kasprintf(GFP_KERNEL, "%s-%d", "name", 42), *v;
	int ret = -EIO;

	kfree(NULL);
	if (!s)
		return -ENOMEM;
	v = vmalloc(5000);
	if (v && strlen(s) == 7 && !strcmp(s, "name-42")) {
		char *n = krealloc(s, 4000, GFP_KERNEL);

		if (n)
			s = n;
		ret = snprintf(v, 5000, "%s", s) == 7 ? 0 : -EIO;
	}
	vfree(v);
	kfree(s);
	return ret;
}

static noinline int locks(void)
{
	for (int i = 0; i < 100; i++) {
		char name[16];

		snprintf(name, sizeof(name), "n%d", i);
		mutex_lock(&mutex);
		if (table_add(name)) {
			mutex_unlock(&mutex);
			return -ENOMEM;
		}
		mutex_unlock(&mutex);
	}
	msleep(1);
	return table_find("n99") == 100 ? 0 : -EIO;
}

static DEFINE_SPINLOCK(lent);

static int hold(void *held)
{
	spin_lock(&lent);
	complete(held);
	mdelay(20);
	spin_unlock(&lent);
	return 0;
}

/* Releases a lock in a way that nobody sees, then waits for another's hold. */
static noinline int unseen_release(void)
{
	DECLARE_COMPLETION_ONSTACK(held);
	struct task_struct *t;

	spin_lock(&lent);
	arch_spin_unlock(&lent.rlock.raw_lock);
	preempt_enable();
	t = kthread_run(hold, &held, "correct");
	if (IS_ERR(t))
		return PTR_ERR(t);
	wait_for_completion(&held);
	preempt_disable();
	spin_lock(&lent);
	spin_unlock(&lent);
	preempt_enable();
	return 0;
}

static int __init correct_init(void)
{
	int ret;

	cache = kmem_cache_create("correct", 64, 0, 0, NULL);
	queue = alloc_workqueue("correct%d", 0, 0, 1);
	if (!cache || !queue) {
		ret = -ENOMEM;
		goto out;
	}
	ret = files() ?: memory() ?: locks() ?: unseen_release();
	if (ret)
		goto out;
	queue_work(queue, &work);
	flush_work(&work);
	pr_info("correct: worked %d\n", atomic_read(&worked));
	cost();
	return 0;
out:
	table_clear();
	if (queue)
		destroy_workqueue(queue);
	kmem_cache_destroy(cache);
	return ret;
}
module_init(correct_init);

static void __exit correct_exit(void)
{
	cancel_work_sync(&work);
	destroy_workqueue(queue);
	kmem_cache_destroy(cache);
	table_clear();
}
module_exit(correct_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A module without mistakes");
