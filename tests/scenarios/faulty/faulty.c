// SPDX-License-Identifier: GPL-2.0-only
/*
 * faulty.c - a driver with the usual mistakes, each on request.
 *
 *	echo NAME > /sys/module/faulty/parameters/fault
 *
 * Every mistake is in a function of its own, whose name the test expects as
 * the caller.  It is made by a thread, so that the next one can be asked for
 * when it hangs or dies.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

struct device_of_ours {
	char name[32];
	struct mutex lock;
};

static DEFINE_MUTEX(mutex);
static DEFINE_SPINLOCK(spin);
static char *volatile nothing;
static void *volatile kept;
static volatile size_t sink;

static noinline void null_string(void)
{
	sink = strlen(nothing);
}

/* Opens what is not there, and does not look at the result. */
static noinline void err_ptr(void)
{
	struct file *f = filp_open("/no/such/file", O_RDONLY, 0);
	char buf[16];
	loff_t pos = 0;

	sink = kernel_read(f, buf, sizeof(buf), &pos);
}

static noinline void sleep_in_atomic(void)
{
	spin_lock(&spin);
	msleep(1);
	spin_unlock(&spin);
}

static noinline void alloc_in_atomic(void)
{
	void *p;

	spin_lock(&spin);
	p = kmalloc(100, GFP_KERNEL);
	spin_unlock(&spin);
	kfree(p);
}

static noinline void double_mutex(void)
{
	mutex_lock(&mutex);
	mutex_lock(&mutex);
}

static noinline void double_spin(void)
{
	unsigned long flags;

	spin_lock_irqsave(&spin, flags);
	spin_lock(&spin);
}

static noinline void use_after_free(void)
{
	char *p = kstrdup("a name that will be gone", GFP_KERNEL);

	kfree(p);
	sink = strnlen(p + 2, 8);
}

static noinline void double_free(void)
{
	void *p = kmalloc(64, GFP_KERNEL);

	kept = p;
	kfree(p);
	kfree(kept);
}

static noinline void wrong_free(void)
{
	void *p = vmalloc(100);

	kept = p;
	kvfree(p); /* right */
	p = kmalloc(100, GFP_KERNEL);
	kept = p;
	vfree(kept);
}

static noinline void not_held(void)
{
	mutex_unlock(&mutex);
}

static noinline void null_member(void)
{
	struct device_of_ours *d = (void *)nothing;

	mutex_lock(&d->lock);
}

static noinline void leak(void)
{
	kept = kmalloc(200, GFP_KERNEL);
}

static const struct {
	const char *name;
	void (*run)(void);
} faults[] = {
	{ "null_string", null_string },
	{ "err_ptr", err_ptr },
	{ "sleep_in_atomic", sleep_in_atomic },
	{ "alloc_in_atomic", alloc_in_atomic },
	{ "double_mutex", double_mutex },
	{ "double_spin", double_spin },
	{ "use_after_free", use_after_free },
	{ "double_free", double_free },
	{ "wrong_free", wrong_free },
	{ "not_held", not_held },
	{ "null_member", null_member },
	{ "leak", leak },
};

static DECLARE_COMPLETION(done);

static int thread(void *number)
{
	faults[(size_t)number].run();
	complete(&done);
	return 0;
}

static int set_fault(const char *val, const struct kernel_param *kp)
{
	struct task_struct *t;

	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		if (!sysfs_streq(val, faults[i].name))
			continue;
		reinit_completion(&done);
		t = kthread_run(thread, (void *)i, "%s", faults[i].name);
		if (IS_ERR(t))
			return PTR_ERR(t);
		wait_for_completion_timeout(&done, HZ / 2);
		return 0;
	}
	return -EINVAL;
}

static const struct kernel_param_ops fault_ops = { .set = set_fault };
module_param_cb(fault, &fault_ops, NULL, 0200);

static int __init faulty_init(void)
{
	return 0;
}
module_init(faulty_init);

static void __exit faulty_exit(void)
{
}
module_exit(faulty_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A driver with the usual mistakes");
