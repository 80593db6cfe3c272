// SPDX-License-Identifier: GPL-2.0-only
/*
 * chardev.c - /dev/dlog and /dev/dlog-msg.
 *
 * Reading /dev/dlog gives the text of this and earlier boots as it stands at
 * open(), oldest first, for the guest's own use (a rescue system, a kernel
 * started by kexec).  The host has libdlog, which shows more and trusts less.
 * Writing to it runs commands (command.c), and so does an ioctl, which tells
 * what was wrong; other ioctls declare and append events.
 *
 * Each write() to /dev/dlog-msg adds one message, with an optional "<PRI>"
 * in front as in /dev/kmsg.
 *
 * Reading merges the rings by boot and time.  Each ring has a cursor with a
 * private copy of one sub-buffer; what does not prove itself in the copy is
 * passed over.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/capability.h>
#include <linux/ctype.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <uapi/linux/dlog.h>

#include "driver.h"

struct dlog_cursor {
	u64 next; /* position of the next sub-buffer to copy */
	u64 end; /* end of the stream at open() */
	u64 position; /* of the sub-buffer in copy */
	u32 off; /* next byte of copy to look at */
	u32 budget; /* bytes that may still be hashed in vain */
	u32 boot;
	u64 taken; /* key of the last taken-over line, and its boot */
	u32 taken_boot;
	u8 *copy; /* NULL until the first sub-buffer is there */
	/* the record that is next to be shown, if have */
	bool have;
	u32 type, len;
	u64 time;
	u64 key; /* time by which it is merged, see docs/abi.md section 10 */
	const u8 *data;
};

struct dlog_reader {
	struct mutex lock; /* one read() at a time */
	u32 boot; /* of the line shown last */
	bool open; /* that line has no newline yet, a piece may follow */
	char *text; /* rendered, not yet taken by user space */
	size_t text_len, text_off;
	u8 *copies;
	struct dlog_cursor ring[];
};

/* A record whose rendering is longer is cut. */
#define TEXT_SIZE (16 * 1024)

static void dlog_cursor_load(struct dlog_cursor *c, u32 n)
{
	u32 size = dlog.region.sb.subbuf_size;
	u32 nr = dlog.region.sb.ring_size / size;
	u64 seed = dlog_region_seed(&dlog.region, n);
	struct dlog_start start;

	c->position = c->next;
	c->next += size;
	c->off = 0;
	c->budget = 512 * size;
	memcpy(c->copy,
	       dlog.rings[n].base +
		       (u64)dlog_mod(c->position / size, nr) * size,
	       size);
	if (dlog_start_probe(c->copy, seed, &start) &&
	    start.position == c->position)
		c->boot = start.boot;
}

static void dlog_cursor_key(struct dlog_cursor *c)
{
	c->key = c->time;
	if (DLOG_TYPE_KIND(c->type) != DLOG_KIND_PRINTK || c->len < 4 ||
	    !(dlog_load32(c->data) & DLOG_CALLER_TAKEN))
		return;
	if (c->taken_boot == c->boot)
		c->key = max(c->key, c->taken);
	c->taken = c->key;
	c->taken_boot = c->boot;
}

/* Find the next record that proves itself.  False at the end. */
static bool dlog_cursor_next(struct dlog_cursor *c, u32 n)
{
	u32 subbuf = dlog.region.sb.subbuf_size;
	u64 seed = dlog_region_seed(&dlog.region, n);
	enum dlog_record_state s;
	u32 size, top;

	for (;;) {
		s = dlog_subbuf_next(c->copy, subbuf, seed, c->position,
				     &c->off, &size, &c->budget);
		if (s == DLOG_RECORD_NONE) {
			if (c->next >= c->end || fatal_signal_pending(current))
				return false;
			dlog_cursor_load(c, n);
			cond_resched();
			continue;
		}
		top = dlog_load32(c->copy + c->off + 4);
		c->type = top >> 16;
		c->len = top & 0xffff;
		c->time = dlog_load64(c->copy + c->off + 8);
		c->data = c->copy + c->off + DLOG_HDR;
		c->off += size;
		if (s == DLOG_RECORD_FULL &&
		    DLOG_TYPE_KIND(c->type) != DLOG_KIND_START) {
			dlog_cursor_key(c);
			return true;
		}
	}
}

static size_t dlog_escape(char *to, size_t room, const u8 *s, size_t len,
			  size_t indent)
{
	size_t out = 0;

	for (size_t i = 0; i < len && out + indent + 8 < room; i++) {
		if (s[i] == '\n')
			out += scnprintf(to + out, room - out, "\n%*s",
					 (int)indent, "");
		else if ((s[i] < ' ' && s[i] != '\t') || s[i] >= 127)
			out += scnprintf(to + out, room - out, "\\x%02x", s[i]);
		else
			to[out++] = s[i];
	}
	return out;
}

/* The next string of a CALL record; @*s is left behind it. */
static size_t dlog_call_string(char *to, size_t room, const u8 **s,
			       const u8 *end)
{
	size_t len = strnlen(*s, end - *s);
	size_t out = dlog_escape(to, room, *s, len, 0);

	*s += len;
	*s += *s != end;
	return out;
}

/* strlen(0x0): s must not be NULL, called from probe+0x12/0x40 [demo] */
static size_t dlog_render_call(char *to, size_t room, const u8 *data, u32 len)
{
	const u8 *arg = data + sizeof(struct dlog_call), *end = data + len, *s;
	struct dlog_call call = {};
	size_t at = 0;

	memcpy(&call, data, min_t(size_t, len, sizeof(call)));
	if (len < sizeof(call) || call.nr_args > (end - arg) / sizeof(u64))
		return scnprintf(to, room, "call: <cut short>");
	s = arg + call.nr_args * sizeof(u64);
	at = scnprintf(to, room, "call: ");
	at += dlog_call_string(to + at, room - at, &s, end);
	at += scnprintf(to + at, room - at, "(");
	for (u32 i = 0; i < call.nr_args; i++, arg += sizeof(u64)) {
		bool result = call.flags & DLOG_CALL_RESULT &&
			      i == call.nr_args - 1;

		at += scnprintf(to + at, room - at, "%s0x%llx",
				result ? ") = "
				: i    ? ", "
				       : "",
				dlog_load64(arg));
	}
	at += scnprintf(to + at, room - at, "%s",
			call.nr_args && call.flags & DLOG_CALL_RESULT ? ": "
								      : "): ");
	at += dlog_call_string(to + at, room - at, &s, end);
	at += scnprintf(to + at, room - at, ", called from ");
	if (s == end || !*s)
		return at + scnprintf(to + at, room - at, "0x%llx", call.site);
	return at + dlog_call_string(to + at, room - at, &s, end);
}

static void dlog_render(struct dlog_reader *r, struct dlog_cursor *c)
{
	u32 skip = 0, caller = 0;
	char *to = r->text;
	size_t at = 0, indent = 0;

	switch (DLOG_TYPE_KIND(c->type)) {
	case DLOG_KIND_TEXT:
	case DLOG_KIND_CALL:
		break;
	case DLOG_KIND_PRINTK:
		skip = 4;
		caller = c->len < skip ? 0 : dlog_load32(c->data);
		break;
	case DLOG_KIND_STACK:
		skip = 8;
		break;
	default:
		return;
	}
	if (c->len < skip)
		return;
	if (!(r->open && caller & DLOG_CALLER_CONT)) {
		if (r->open)
			to[at++] = '\n';
		if (c->boot != r->boot)
			at += scnprintf(to + at, TEXT_SIZE - at,
					"-- boot %u --\n", c->boot);
		indent = scnprintf(to + at, TEXT_SIZE - at, "[%5llu.%06llu] ",
				   c->time / NSEC_PER_SEC,
				   c->time % NSEC_PER_SEC / NSEC_PER_USEC);
		at += indent;
	}
	r->boot = c->boot;
	if (DLOG_TYPE_KIND(c->type) == DLOG_KIND_CALL)
		at += dlog_render_call(to + at, TEXT_SIZE - at - 1, c->data,
				       c->len);
	else
		at += dlog_escape(to + at, TEXT_SIZE - at - 1, c->data + skip,
				  c->len - skip, indent);
	r->open = caller & DLOG_CALLER_OPEN;
	if (!r->open)
		to[at++] = '\n';
	r->text_len = at;
	r->text_off = 0;
}

/* Render the next line into r->text; false when there is none. */
static bool dlog_reader_fill(struct dlog_reader *r)
{
	u32 n = dlog.region.sb.nr_rings;

	r->text_len = r->text_off = 0;
	while (!r->text_len) {
		struct dlog_cursor *best = NULL;

		for (u32 i = 0; i < n; i++) {
			struct dlog_cursor *c = &r->ring[i];

			if (!c->have)
				c->have = dlog_cursor_next(c, i);
			if (c->have &&
			    (!best || c->boot < best->boot ||
			     (c->boot == best->boot && c->key < best->key)))
				best = c;
		}
		if (!best) {
			r->text[0] = '\n';
			r->text_len = r->open;
			r->open = false;
			return r->text_len;
		}
		dlog_render(r, best);
		best->have = false;
	}
	return true;
}

static ssize_t dlog_read(struct file *file, char __user *to, size_t count,
			 loff_t *pos)
{
	struct dlog_reader *r = file->private_data;
	ssize_t done = 0;

	if (!r)
		return -EBADF;
	if (mutex_lock_interruptible(&r->lock))
		return -ERESTARTSYS;
	while (count) {
		size_t part;

		if (r->text_off == r->text_len && !dlog_reader_fill(r))
			break;
		part = min(count, r->text_len - r->text_off);
		if (copy_to_user(to + done, r->text + r->text_off, part)) {
			done = done ?: -EFAULT;
			break;
		}
		r->text_off += part;
		done += part;
		count -= part;
		if (signal_pending(current))
			break;
	}
	mutex_unlock(&r->lock);
	return done;
}

static void dlog_reader_free(struct dlog_reader *r)
{
	if (!r)
		return;
	kvfree(r->copies);
	kfree(r->text);
	kvfree(r);
}

static int dlog_open(struct inode *inode, struct file *file)
{
	u32 n = dlog.region.sb.nr_rings, size = dlog.region.sb.subbuf_size;
	u64 ring_size = dlog.region.sb.ring_size;
	struct dlog_reader *r;

	file->private_data = NULL;
	if (!capable(CAP_SYSLOG))
		return -EPERM;
	if (!(file->f_mode & FMODE_READ))
		return 0;
	r = kvzalloc(struct_size(r, ring, n), GFP_KERNEL);
	if (!r)
		return -ENOMEM;
	mutex_init(&r->lock);
	r->text = kmalloc(TEXT_SIZE, GFP_KERNEL);
	r->copies = kvmalloc_array(n, size, GFP_KERNEL);
	if (!r->text || !r->copies) {
		dlog_reader_free(r);
		return -ENOMEM;
	}
	for (u32 i = 0; i < n; i++) {
		struct dlog_cursor *c = &r->ring[i];
		u64 records;

		dlog_ring_tell(&dlog.rings[i], &c->end, &records);
		c->next = round_up(c->end, size);
		c->next = c->next > ring_size ? c->next - ring_size : 0;
		c->copy = r->copies + (size_t)i * size;
		c->off = size;
	}
	file->private_data = r;
	return 0;
}

static int dlog_release(struct inode *inode, struct file *file)
{
	dlog_reader_free(file->private_data);
	return 0;
}

/* What user space hands over at most: a record, a text of commands. */
#define GIVEN_MAX 65536
#define FIELDS_SIZE 4096

/* @len bytes of user space with a NUL behind them, kvmalloc()ed. */
static char *dlog_given(const void __user *from, size_t len)
{
	char *text;

	if (len > GIVEN_MAX)
		return ERR_PTR(-EMSGSIZE);
	text = kvmalloc(len + 1, GFP_KERNEL);
	if (!text)
		return ERR_PTR(-ENOMEM);
	if (copy_from_user(text, from, len)) {
		kvfree(text);
		return ERR_PTR(-EFAULT);
	}
	text[len] = 0;
	return text;
}

static int dlog_run(const void __user *from, size_t len, char *error,
		    size_t size)
{
	char *text = dlog_given(from, len);
	int ret;

	*error = 0;
	if (IS_ERR(text))
		return PTR_ERR(text);
	if (memchr(text, 0, len)) {
		scnprintf(error, size, "there is a NUL among the commands");
		ret = -EINVAL;
	} else {
		ret = dlog_command(text, error, size);
	}
	kvfree(text);
	return ret;
}

static ssize_t dlog_control(struct file *file, const char __user *from,
			    size_t count, loff_t *pos)
{
	char error[256];
	int ret = dlog_run(from, count, error, sizeof(error));

	/* Whoever writes has no other way to hear what was wrong. */
	if (*error)
		pr_warn_ratelimited("%s\n", error);
	return ret ?: count;
}

static long dlog_ioc_run(void __user *arg)
{
	struct dlog_ioc_run a;
	char error[256];
	int ret;

	if (copy_from_user(&a, arg, sizeof(a)))
		return -EFAULT;
	ret = dlog_run(u64_to_user_ptr(a.text), a.len, error, sizeof(error));
	if (!a.error || !a.error_size)
		return ret;
	error[min_t(size_t, a.error_size, sizeof(error)) - 1] = 0;
	if (copy_to_user(u64_to_user_ptr(a.error), error, strlen(error) + 1))
		return -EFAULT;
	return ret;
}

static long dlog_ioc_event(void __user *arg)
{
	struct dlog_ioc_event a;
	char *name, *fields;
	int ret;

	if (copy_from_user(&a, arg, sizeof(a)))
		return -EFAULT;
	if (a.reserved)
		return -EINVAL;
	name = strndup_user(u64_to_user_ptr(a.name), 256);
	if (IS_ERR(name))
		return PTR_ERR(name);
	fields = strndup_user(u64_to_user_ptr(a.fields), FIELDS_SIZE);
	ret = PTR_ERR_OR_ZERO(fields);
	if (!ret) {
		ret = dlog_event_register(name, fields);
		kfree(fields);
	}
	kfree(name);
	if (ret < 0)
		return ret;
	a.id = ret;
	return copy_to_user(arg, &a, sizeof(a)) ? -EFAULT : 0;
}

static long dlog_ioc_record(void __user *arg)
{
	struct dlog_ioc_record a;
	char *data;
	int ret;

	if (copy_from_user(&a, arg, sizeof(a)))
		return -EFAULT;
	if (a.id - 1U >= DLOG_EVENT_MAX)
		return -EINVAL;
	data = dlog_given(u64_to_user_ptr(a.data), a.len);
	if (IS_ERR(data))
		return PTR_ERR(data);
	ret = dlog_fields_match(a.id, data, a.len);
	if (!ret)
		ret = dlog_event(a.id, data, a.len);
	kvfree(data);
	return ret;
}

static long dlog_ioc_show(void __user *arg)
{
	struct dlog_ioc_show a;
	size_t len;
	char *text;
	long ret;

	if (copy_from_user(&a, arg, sizeof(a)))
		return -EFAULT;
	text = dlog_command_show(a.what, &len);
	if (IS_ERR(text))
		return PTR_ERR(text);
	ret = len;
	if (copy_to_user(u64_to_user_ptr(a.text), text,
			 min_t(size_t, len, a.size)))
		ret = -EFAULT;
	kvfree(text);
	return ret;
}

static long dlog_ioctl(struct file *file, unsigned int nr, unsigned long arg)
{
	fmode_t need = nr == DLOG_IOC_SHOW ? FMODE_READ : FMODE_WRITE;
	void __user *to = (void __user *)arg;

	if (!(file->f_mode & need))
		return -EBADF;
	switch (nr) {
	case DLOG_IOC_EVENT:
		return dlog_ioc_event(to);
	case DLOG_IOC_RECORD:
		return dlog_ioc_record(to);
	case DLOG_IOC_RUN:
		return dlog_ioc_run(to);
	case DLOG_IOC_SHOW:
		return dlog_ioc_show(to);
	}
	return -ENOTTY;
}

static ssize_t dlog_message(struct file *file, const char __user *from,
			    size_t count, loff_t *pos)
{
	unsigned int pri = DLOG_PRI(1, 6);
	size_t len = count;
	char *text, *at;
	int ret, n = 0;

	if (count > 1024)
		return -EINVAL;
	text = memdup_user_nul(from, len);
	if (IS_ERR(text))
		return PTR_ERR(text);
	at = text;
	if (sscanf(text, "<%u>%n", &pri, &n) == 1 && n)
		at += n;
	/* Nobody but the kernel speaks as the kernel. */
	pri &= 0xfff;
	if (!DLOG_PRI_FACILITY(pri))
		pri |= DLOG_PRI(1, 0);
	len -= at - text;
	if (len && at[len - 1] == '\n')
		len--;
	ret = -EAGAIN;
	if (dlog_recording())
		ret = dlog_append(DLOG_TYPE(DLOG_KIND_TEXT, pri), dlog_clock(),
				  at, len);
	kfree(text);
	return ret ?: count;
}

static const struct file_operations dlog_fops = {
	.owner = THIS_MODULE,
	.open = dlog_open,
	.read = dlog_read,
	.write = dlog_control,
	.unlocked_ioctl = dlog_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.release = dlog_release,
	.llseek = noop_llseek,
};

static const struct file_operations dlog_msg_fops = {
	.owner = THIS_MODULE,
	.write = dlog_message,
	.llseek = noop_llseek,
};

static struct miscdevice dlog_dev = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "dlog",
	.mode = 0600,
	.fops = &dlog_fops,
	.groups = dlog_sysfs_groups,
};

static struct miscdevice dlog_msg_dev = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "dlog-msg",
	.mode = 0200,
	.fops = &dlog_msg_fops,
};

int dlog_chardev_start(void)
{
	int ret = misc_register(&dlog_dev);

	if (ret)
		return ret;
	ret = misc_register(&dlog_msg_dev);
	if (ret)
		misc_deregister(&dlog_dev);
	return ret;
}

void dlog_chardev_stop(void)
{
	misc_deregister(&dlog_msg_dev);
	misc_deregister(&dlog_dev);
}
