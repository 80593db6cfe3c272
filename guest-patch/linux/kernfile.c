// SPDX-License-Identifier: GPL-2.0-only
/*
 * kernfile.c - read files that the kernel itself makes, from inside it.
 *
 * What tracefs and sysfs say is not exported otherwise (the format of an
 * event, the build id of a module).  kern_mount() gives the file system
 * without a mount in anybody's name space: it works before user space is up,
 * in a container, and in a worker whose root is something else.
 *
 * tracefs' files are seq_files with seq_read() and no read_iter, which
 * kernel_read() refuses; but a file whose read is seq_read() has a seq_file as
 * its private data, and seq_read_iter() takes that.
 *
 * Task context, sleeps.
 */
#include <linux/fs.h>
#include <linux/glob.h>
#include <linux/mount.h>
#include <linux/mutex.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include "driver.h"

static struct {
	const char *fs;
	struct vfsmount *mnt;
} kern_mounts[] = { { "tracefs" }, { "sysfs" } };
static DEFINE_MUTEX(kern_mounts_lock);

static struct vfsmount *kern_mount_of(const char *fs)
{
	struct vfsmount *mnt = ERR_PTR(-ENODEV);
	struct file_system_type *type;

	mutex_lock(&kern_mounts_lock);
	for (int i = 0; i < ARRAY_SIZE(kern_mounts); i++) {
		if (strcmp(kern_mounts[i].fs, fs))
			continue;
		mnt = kern_mounts[i].mnt;
		if (mnt)
			break;
		/* Its reference is not given back: neither is a module. */
		type = get_fs_type(fs);
		mnt = type ? kern_mount(type) : ERR_PTR(-ENODEV);
		if (!IS_ERR(mnt))
			kern_mounts[i].mnt = mnt;
		break;
	}
	mutex_unlock(&kern_mounts_lock);
	return mnt;
}

void dlog_kernfile_stop(void)
{
	for (int i = 0; i < ARRAY_SIZE(kern_mounts); i++)
		if (kern_mounts[i].mnt)
			kern_unmount(kern_mounts[i].mnt);
}

static struct file *kern_open(const char *fs, const char *path, int flags)
{
	struct vfsmount *mnt = kern_mount_of(fs);
	struct path root;

	if (IS_ERR(mnt))
		return ERR_CAST(mnt);
	root.mnt = mnt;
	root.dentry = mnt->mnt_root;
	return file_open_root(&root, path, O_RDONLY | flags, 0);
}

/* As kernel_read(), also from what has seq_read() alone. */
static ssize_t kern_read(struct file *f, char *buf, size_t len, loff_t *pos)
{
	struct kvec vec = { .iov_base = buf, .iov_len = len };
	struct iov_iter iter;
	struct kiocb kiocb;
	ssize_t ret;

	if (f->f_op->read != seq_read)
		return kernel_read(f, buf, len, pos);
	iov_iter_kvec(&iter, READ, &vec, 1, len);
	init_sync_kiocb(&kiocb, f);
	kiocb.ki_pos = *pos;
	ret = seq_read_iter(&kiocb, &iter);
	*pos = kiocb.ki_pos;
	return ret;
}

ssize_t dlog_kernfile_read(const char *fs, const char *path, char *buf,
			   size_t size)
{
	struct file *f = kern_open(fs, path, 0);
	ssize_t ret = 0, len = 0;
	loff_t pos = 0;

	if (IS_ERR(f))
		return PTR_ERR(f);
	do {
		len += ret;
		if (len + 1 >= size) {
			len = -EMSGSIZE;
			goto out;
		}
		ret = kern_read(f, buf + len, size - 1 - len, &pos);
	} while (ret > 0);
	if (ret < 0)
		len = ret;
	else
		buf[len] = '\0';
out:
	filp_close(f, NULL);
	return len;
}

struct kern_list {
	struct dir_context ctx;
	const char *glob;
	struct list_head *names;
	int error;
};

static bool kern_list_one(struct dir_context *ctx, const char *name, int len,
			  loff_t offset, u64 ino, unsigned int type)
{
	struct kern_list *l = container_of(ctx, struct kern_list, ctx);
	struct dlog_name *n;

	if (type != DT_DIR || name[0] == '.')
		return true;
	n = kmalloc(struct_size(n, name, len + 1), GFP_KERNEL);
	if (!n) {
		l->error = -ENOMEM;
		return false;
	}
	memcpy(n->name, name, len);
	n->name[len] = '\0';
	if (glob_match(l->glob, n->name))
		list_add_tail(&n->list, l->names);
	else
		kfree(n);
	return true;
}

int dlog_kernfile_list(const char *fs, const char *path, const char *glob,
		       struct list_head *names)
{
	struct kern_list l = {
		.ctx.actor = kern_list_one,
		.glob = glob,
		.names = names,
	};
	struct file *f = kern_open(fs, path, O_DIRECTORY);
	int ret;

	if (IS_ERR(f))
		return PTR_ERR(f);
	ret = iterate_dir(f, &l.ctx);
	filp_close(f, NULL);
	/* Some file systems return what iterate() of them did, above 0. */
	return ret < 0 ? ret : l.error;
}

void dlog_names_free(struct list_head *names)
{
	struct dlog_name *n, *next;

	list_for_each_entry_safe(n, next, names, list) {
		list_del(&n->list);
		kfree(n);
	}
}
