// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * to_json.c - a sink of JSON lines: a file, or standard output.
 *
 *	path = /var/log/dlog.json     (- : standard output)
 *
 * A file that was renamed away, as logrotate does, is opened anew.  A line is
 * safe when write(2) has taken it: the page cache outlives dlogd.  What a kill
 * left of a line is ended by a line feed before anything else is written; that
 * line is no JSON then, and its record follows whole.  What a full disk left
 * of a batch is taken back.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "forward.h"

#define PIPE_BYTES 4096u /* that a pipe takes when poll(2) says that it can */
#define WAIT_MS 30000

struct file {
	struct target t;
	const char *path;
	int fd;
	bool regular;
	struct stat st;
	size_t written; /* of the batch */
	struct sink out;
	struct render r;
};

static const char *const keys[] = { "path", NULL };

static void file_free(struct target *t)
{
	struct file *f = (struct file *)t;

	sink_free(&f->out);
	render_free(&f->r);
	free(f);
}

static int file_make(struct target **out, const struct sink_config *sc)
{
	struct file *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->fd = -1;
	f->path = sink_config_get(sc, "path");
	if (!f->path || !*f->path) {
		free(f);
		return target_wrong(sc, "needs path = FILE, or - for standard "
					"output");
	}
	if (sink_init(&f->out, -1) || render_init(&f->r)) {
		file_free(&f->t);
		return -ENOMEM;
	}
	*out = &f->t;
	return 0;
}

static int file_fail(struct file *f, int ret)
{
	return target_fail(&f->t, ret, "%s: %s",
			   strcmp(f->path, "-") ? f->path : "standard output",
			   strerror(-ret));
}

static int write_some(struct file *f, const char *p, size_t len)
{
	size_t n = len;
	ssize_t done;
	int ret;

	if (!f->regular) {
		ret = stopper_poll(f->t.stop, f->fd, POLLOUT, WAIT_MS);
		if (ret <= 0)
			return ret ? ret : -ETIMEDOUT;
		n = n < PIPE_BYTES ? n : PIPE_BYTES;
	}
	do {
		done = write(f->fd, p, n);
	} while (done < 0 && errno == EINTR);
	return done < 0 ? -errno : done ? (int)done : -EIO;
}

static int write_all(struct file *f, const char *p, size_t len)
{
	f->written = 0;
	while (len) {
		int n = write_some(f, p, len);

		if (n < 0)
			return n;
		p += n;
		len -= (size_t)n;
		f->written += (size_t)n;
	}
	return 0;
}

/* Does the file end in the middle of a line?  End that line. */
static int file_mend(struct file *f)
{
	char last = '\n';

	if (!f->regular || !f->st.st_size)
		return 0;
	if (pread(f->fd, &last, 1, f->st.st_size - 1) < 0 && errno != EBADF)
		return -errno;
	return last == '\n' ? 0 : write_all(f, "\n", 1);
}

static int file_open(struct target *t)
{
	struct file *f = (struct file *)t;
	int ret = 0;

	if (strcmp(f->path, "-"))
		f->fd = open(f->path,
			     O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC |
				     O_NOCTTY | O_NONBLOCK,
			     0640);
	else
		f->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	if (f->fd < 0 || fstat(f->fd, &f->st))
		return file_fail(f, -errno);
	f->regular = S_ISREG(f->st.st_mode);
	if (S_ISDIR(f->st.st_mode))
		ret = -EISDIR;
	if (!ret)
		ret = file_mend(f);
	f->out.len = 0;
	return ret ? file_fail(f, ret) : 0;
}

static void file_sync(struct target *t)
{
	struct file *f = (struct file *)t;

	if (f->regular && f->fd >= 0)
		fdatasync(f->fd);
}

static void file_close(struct target *t)
{
	struct file *f = (struct file *)t;

	file_sync(t);
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
	f->out.len = 0;
	f->out.error = 0;
}

static int file_put(struct target *t, const struct message *m)
{
	struct file *f = (struct file *)t;

	message_json(&f->out, &f->r, m, SIZE_MAX);
	sink_putc(&f->out, '\n');
	return f->out.error ? file_fail(f, f->out.error) : 0;
}

/* Renamed away or removed? */
static bool file_moved(struct file *f)
{
	struct stat st;

	if (!f->regular || !strcmp(f->path, "-"))
		return false;
	return stat(f->path, &st) || st.st_ino != f->st.st_ino ||
	       st.st_dev != f->st.st_dev;
}

/*
 * The batch from @from on could not be written whole, and will come again.
 * Only if nobody else has written behind it.
 */
static void file_take_back(struct file *f, off_t from)
{
	struct stat st;

	if (!f->regular || !strcmp(f->path, "-") || fstat(f->fd, &st) ||
	    st.st_size != from + (off_t)f->written)
		return;
	if (ftruncate(f->fd, from))
		log_(LOG_WARNING,
		     "sink %s: %s: cannot be cut to %lld bytes: "
		     "%s; its last lines come again",
		     f->t.sc->name, f->path, (long long)from, strerror(errno));
}

static int file_flush(struct target *t)
{
	struct file *f = (struct file *)t;
	size_t len = f->out.len;
	struct stat st;
	int ret = 0;

	if (file_moved(f)) {
		file_sync(t);
		close(f->fd);
		ret = file_open(t);
		f->out.len = len; /* what was put is still there */
	}
	if (ret)
		return ret;
	if (fstat(f->fd, &st))
		return file_fail(f, -errno);
	ret = write_all(f, f->out.buf, f->out.len);
	f->out.len = 0;
	if (ret)
		file_take_back(f, st.st_size);
	return ret ? file_fail(f, ret) : 0;
}

const struct target_ops to_json = {
	.type = "json",
	.keys = keys,
	.make = file_make,
	.open = file_open,
	.put = file_put,
	.flush = file_flush,
	.sync = file_sync,
	.close = file_close,
	.free = file_free,
};
