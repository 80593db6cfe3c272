// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pstore.c - text as a directory that looks like /sys/fs/pstore.
 *
 *	dmesg-dlog-N	the last lines of boot N, if it ended in an oops or a
 *			panic
 *	console-dlog-0	all text of the last boot
 *
 * As fs/pstore of Linux 6.1 names and writes them: TYPE-BACKEND-ID
 * (inode.c); "Panic#2 Part1", a count of the boot's oopses and panics, above
 * at most 10240 bytes of lines with priority and time (platform.c,
 * kmsg_dump_get_buffer()); the file's time is that of the dump.  Control
 * characters are escaped as in all text of dlog-read.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../read.h"

#define NS UINT64_C(1000000000)
#define KMSG_BYTES 10240u /* PSTORE_DEFAULT_KMSG_BYTES */
#define CONSOLE "console-dlog-0"

struct pstore {
	uint32_t boot; /* that is being read, 0: none yet */
	uint32_t dumps; /* oopses and panics it told of */
	uint64_t real; /* of its last record */
	struct sink tail; /* its last lines, and more before them */
	struct sink console;
	struct view text; /* for output_text, into console */
	struct format fmt;
};

static int cannot(struct view *v, const char *name, int ret)
{
	return fail(&v->err, ret, "cannot write %s: %s", name, strerror(-ret));
}

static int console_open(struct view *v, struct pstore *p)
{
	int ret;

	p->console.len = 0;
	if (p->console.fd >= 0)
		close(p->console.fd);
	p->console.fd = openat(
		v->dir, CONSOLE,
		O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	ret = p->console.fd < 0 ? -errno : 0;
	return ret ? cannot(v, CONSOLE, ret) : 0;
}

static int console_close(struct view *v, struct pstore *p)
{
	int ret;

	if (p->console.fd < 0)
		return 0;
	ret = sink_flush(&p->console);
	if (close(p->console.fd) && !ret)
		ret = -errno;
	p->console.fd = -1;
	return ret ? cannot(v, CONSOLE, ret) : 0;
}

/* Where the last whole lines of at most @max bytes begin. */
static size_t tail_from(const struct sink *s, size_t max)
{
	const char *line;
	size_t from;

	if (s->len <= max)
		return 0;
	from = s->len - max;
	line = memchr(s->buf + from - 1, '\n', s->len - from + 1);
	return line ? (size_t)(line - s->buf) + 1 : s->len;
}

/* One line for each of the record's, all with priority and time. */
static void tail_put(struct pstore *p, const struct dlog_entry *e)
{
	const uint8_t *text = e->data, *end = e->data + e->len, *nl;

	if (e->len && end[-1] == '\n')
		end--;
	do {
		nl = memchr(text, '\n', (size_t)(end - text));
		nl = nl ? nl : end;
		sink_printf(&p->tail, "<%u>", DLOG_PRI(e->facility, e->level));
		text_stamp(&p->tail, e->time);
		sink_putc(&p->tail, ' ');
		text_put(&p->tail, text, (size_t)(nl - text), 0);
		if (e->doubt)
			sink_printf(&p->tail, " [%s]",
				    dlog_doubt_name(e->doubt));
		sink_putc(&p->tail, '\n');
		text = nl + 1;
	} while (nl < end);
	if (p->tail.len > 8 * KMSG_BYTES) {
		size_t from = tail_from(&p->tail, KMSG_BYTES);

		p->tail.len -= from;
		memmove(p->tail.buf, p->tail.buf + from, p->tail.len);
	}
}

/* "Panic" or "Oops" as kmsg_dump_reason_str() has them; NULL: neither. */
static const char *reason_of(const struct source *src, uint32_t boot)
{
	for (int i = 0; i < src->nr_boots; i++) {
		if (src->boots[i].boot != boot)
			continue;
		if (src->boots[i].end_status == DLOG_ST_PANIC)
			return "Panic";
		if (src->boots[i].end_status == DLOG_ST_OOPS)
			return "Oops";
	}
	return NULL;
}

static int dump_write(struct view *v, struct pstore *p, const char *reason)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT } };
	char head[64], name[32];
	struct sink s;
	size_t from;
	int fd, ret;

	snprintf(name, sizeof(name), "dmesg-dlog-%u", p->boot);
	snprintf(head, sizeof(head), "%s#%u Part1\n", reason,
		 p->dumps ? p->dumps : 1);
	fd = openat(v->dir, name,
		    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
		    0600);
	ret = fd < 0 ? -errno : sink_init(&s, fd);
	if (ret) {
		if (fd >= 0)
			close(fd);
		return cannot(v, name, ret);
	}
	from = tail_from(&p->tail, KMSG_BYTES - strlen(head));
	sink_puts(&s, head);
	sink_put(&s, p->tail.buf + from, p->tail.len - from);
	ret = sink_flush(&s);
	sink_free(&s);
	times[1].tv_sec = (time_t)(p->real / NS);
	times[1].tv_nsec = (long)(p->real % NS);
	if (!ret && p->real && futimens(fd, times))
		ret = -errno;
	if (close(fd) && !ret)
		ret = -errno;
	return ret ? cannot(v, name, ret) : 0;
}

static int boot_end_dump(struct view *v, struct pstore *p)
{
	const char *reason = reason_of(v->src, p->boot);

	if (p->tail.error)
		return fail(&v->err, p->tail.error, "no memory for lines");
	return p->boot && reason && p->tail.len ? dump_write(v, p, reason) : 0;
}

static int boot_begin(struct view *v, struct pstore *p, uint32_t boot)
{
	int ret = boot_end_dump(v, p);

	p->boot = boot;
	p->dumps = 0;
	p->real = 0;
	p->tail.len = 0;
	return ret ? ret : console_open(v, p);
}

static int pstore_entry(struct view *v, struct source *src,
			const struct dlog_entry *e)
{
	struct pstore *p = v->state;
	int ret = 0;

	if (e->boot != p->boot)
		ret = boot_begin(v, p, e->boot);
	if (ret)
		return ret;
	p->real = e->real;
	if (e->kind == DLOG_KIND_STATE &&
	    (e->arg == DLOG_ST_OOPS || e->arg == DLOG_ST_PANIC))
		p->dumps++;
	if (!entry_is_text(e))
		return 0;
	tail_put(p, e);
	ret = output_text.entry(&p->text, src, e);
	return ret ? cannot(v, CONSOLE, ret) : 0;
}

static int pstore_begin(struct view *v)
{
	struct pstore *p;

	v->state = NULL;
	if (v->nr_src > 1)
		return fail(&v->err, -EINVAL,
			    "-o pstore is for one file: /sys/fs/pstore is one "
			    "machine's");
	p = calloc(1, sizeof(*p));
	if (!p || sink_init(&p->console, -1)) {
		free(p);
		return fail(&v->err, -ENOMEM, "no memory");
	}
	v->state = p;
	p->tail.fd = -1;
	p->text = (struct view){
		.out = &p->console,
		.dir = -1,
		.text = { .fd = -1 },
		.fmt = &p->fmt,
	};
	return 0;
}

static int pstore_end(struct view *v, bool ok)
{
	struct pstore *p = v->state;
	int ret = 0, closed;

	if (!p)
		return 0;
	if (ok)
		ret = boot_end_dump(v, p);
	closed = console_close(v, p);
	ret = ok && !ret ? closed : ret;
	sink_free(&p->tail);
	sink_free(&p->console);
	sink_free(&p->text.text);
	free(p);
	v->state = NULL;
	return ret;
}

static const char *const files[] = { "dmesg-dlog-*", CONSOLE, NULL };

const struct output output_pstore = {
	.name = "pstore",
	.help = "a directory as /sys/fs/pstore",
	.target = OUTPUT_DIR,
	.files = files,
	.begin = pstore_begin,
	.entry = pstore_entry,
	.end = pstore_end,
};
