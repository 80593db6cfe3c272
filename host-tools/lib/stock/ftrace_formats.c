// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * ftrace_formats.c - the formats of ftrace's events, as the kernel shows them
 * in /sys/kernel/tracing/events/SYSTEM/EVENT/format.
 *
 * They come from a copy of that folder, or from all files in one, each line
 * with its file's name before it, as grep writes them:
 *	cd /sys/kernel/tracing && grep "" events/SYSTEM/EVENT/format
 * (Those files have no size, so that some cp and all tar make empty ones.)
 * All are looked at once, for the line "ID:"; the text of a format is made
 * when it is asked for.
 */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stock/ftrace.h"

#define FORMAT_MAX 65536u /* bytes of one, as the catalog has it */
#define FORMATS_MAX 65536u /* types have 16 bits */
#define NAME_MAX_LEN 128u /* of a system or an event */
#define HEAD 512u /* of a format, that has its ID */
#define LISTING_MAX (64 << 20)

struct format {
	char *name; /* "SYSTEM:EVENT", NULL: there is none */
	char *text; /* NULL: not read yet */
	size_t begin, end; /* in the listing */
};

struct ftrace_formats {
	char *path;
	int fd; /* of the folder or file */
	char *listing; /* the file, NULL: a folder */
	uint32_t nr;
	struct format *format; /* by id */
};

/*
 * struct print_entry of kernel/trace/trace_entries.h, that trace_marker and
 * trace_printk() write: type 5 in all kernels that have this ring.
 */
#define PRINT_ID 5u
static const char print_format[] =
	"name: print\n"
	"format:\n"
	"\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"
	"\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n"
	"\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;"
	"\tsigned:0;\n"
	"\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n"
	"\n"
	"\tfield:unsigned long ip;\toffset:8;\tsize:8;\tsigned:0;\n"
	"\tfield:char buf[];\toffset:16;\tsize:0;\tsigned:0;\n"
	"\n"
	"print fmt: \"%ps: %s\", (void *)REC->ip, REC->buf\n";

/* ---- one format ---- */

static bool name_ok(const char *name, size_t len)
{
	if (!len || len > NAME_MAX_LEN || *name == '.')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isgraph((unsigned char)name[i]) || name[i] == '/')
			return false;
	return true;
}

/* The number of a line "ID: NUMBER"; false, and @id as it was: it is none. */
static bool line_id(const char *line, uint32_t *id)
{
	unsigned long n;
	char *end;

	if (strncmp(line, "ID: ", 4) || !isdigit((unsigned char)line[4]))
		return false;
	n = strtoul(line + 4, &end, 10);
	if (!n || n >= FORMATS_MAX || *end != '\n')
		return false;
	*id = (uint32_t)n;
	return true;
}

static bool find_id(const char *text, uint32_t *id)
{
	const char *p = strstr(text, "\nID: ");

	return p && line_id(p + 1, id);
}

/* Without the line "ID: ", in place. */
static void cut_id(char *text)
{
	char *p = strstr(text, "\nID: ");
	char *end = p ? strchr(p + 1, '\n') : NULL;

	if (end)
		memmove(p, end, strlen(end) + 1);
}

/* The format of @system, @event is in the listing from @begin to @end. */
static int formats_add(struct ftrace_formats *fs, uint32_t id,
		       const char *system, size_t system_len, const char *event,
		       size_t event_len, size_t begin, size_t end)
{
	struct format *f = &fs->format[id];

	if (!name_ok(system, system_len) || !name_ok(event, event_len) ||
	    f->name)
		return 0;
	f->name = malloc(system_len + event_len + 2);
	if (!f->name)
		return -ENOMEM;
	sprintf(f->name, "%.*s:%.*s", (int)system_len, system, (int)event_len,
		event);
	f->begin = begin;
	f->end = end;
	fs->nr++;
	return 0;
}

/* ---- a folder ---- */

/* Up to @size - 1 bytes, with a NUL behind them; or negative. */
static ssize_t read_all(int fd, char *buf, size_t size)
{
	size_t len = 0;

	while (len < size - 1) {
		ssize_t n = read(fd, buf + len, size - 1 - len);

		if (n < 0)
			return -errno;
		if (!n)
			break;
		len += (size_t)n;
	}
	buf[len] = 0;
	return (ssize_t)len;
}

static ssize_t read_file(int dir, const char *path, char *buf, size_t size)
{
	int fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read_all(fd, buf, size);
	close(fd);
	return n;
}

static DIR *open_dir(int at, const char *name)
{
	int fd = openat(at, name,
			O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir && fd >= 0)
		close(fd);
	return dir;
}

static int read_system(struct ftrace_formats *fs, const char *system)
{
	DIR *dir = open_dir(fs->fd, system);
	char head[HEAD], path[512];
	struct dirent *e;
	int ret = 0;

	while (dir && !ret && (e = readdir(dir))) {
		int n = snprintf(path, sizeof(path), "%s/format", e->d_name);
		uint32_t id;

		if (n < (int)sizeof(path) &&
		    read_file(dirfd(dir), path, head, sizeof(head)) > 0 &&
		    find_id(head, &id))
			ret = formats_add(fs, id, system, strlen(system),
					  e->d_name, strlen(e->d_name), 0, 0);
	}
	if (dir)
		closedir(dir);
	return ret;
}

static int read_tree(struct ftrace_formats *fs)
{
	DIR *dir = open_dir(fs->fd, ".");
	struct dirent *e;
	int ret = 0;

	if (!dir)
		return -errno;
	while (!ret && (e = readdir(dir)))
		if (name_ok(e->d_name, strlen(e->d_name)))
			ret = read_system(fs, e->d_name);
	closedir(dir);
	return ret;
}

/* The folder may be the one around "events". */
static int open_tree(struct ftrace_formats *fs)
{
	int fd = openat(fs->fd, "events", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0) {
		close(fs->fd);
		fs->fd = fd;
	}
	return read_tree(fs);
}

/* ---- a listing ---- */

/* Its line at @pos: "PATH/SYSTEM/EVENT/format:TEXT". */
struct line {
	size_t end; /* behind its newline */
	size_t prefix; /* bytes of the path, with the colon; 0: none */
	const char *system, *event;
	size_t system_len, event_len;
};

static void line_read(const struct ftrace_formats *fs, size_t pos,
		      struct line *l)
{
	static const char mark[] = "/format:";
	const char *p = fs->listing + pos, *end = p + strcspn(p, "\n");
	const char *at = memmem(p, (size_t)(end - p), mark, sizeof(mark) - 1);

	*l = (struct line){ 0 };
	l->end = pos + (size_t)(end - p) + (*end == '\n');
	if (!at)
		return;
	l->event = memrchr(p, '/', (size_t)(at - p));
	if (!l->event)
		return;
	l->system = memrchr(p, '/', (size_t)(l->event - p));
	l->system = l->system ? l->system + 1 : p;
	l->system_len = (size_t)(l->event - l->system);
	l->event++;
	l->event_len = (size_t)(at - l->event);
	l->prefix = (size_t)(at - p) + sizeof(mark) - 1;
}

static int read_listing(struct ftrace_formats *fs, size_t len)
{
	size_t pos = 0, begin = 0;
	int ret = 0;

	while (!ret && pos < len) {
		struct line first, l = { .end = pos };
		uint32_t id = 0;

		/* All lines that begin as the first does. */
		begin = pos;
		line_read(fs, begin, &first);
		for (; pos < len; pos = l.end) {
			line_read(fs, pos, &l);
			if (l.prefix != first.prefix ||
			    memcmp(fs->listing + pos, fs->listing + begin,
				   first.prefix))
				break;
			if (!id && l.prefix)
				line_id(fs->listing + pos + l.prefix, &id);
		}
		if (id)
			ret = formats_add(fs, id, first.system,
					  first.system_len, first.event,
					  first.event_len, begin, pos);
	}
	return ret;
}

static int open_listing(struct ftrace_formats *fs, off_t size)
{
	ssize_t n;

	if (size > LISTING_MAX)
		return -EFBIG;
	fs->listing = malloc((size_t)size + 1);
	if (!fs->listing)
		return -ENOMEM;
	n = read_all(fs->fd, fs->listing, (size_t)size + 1);
	return n < 0 ? (int)n : read_listing(fs, strlen(fs->listing));
}

/* The text of @f from the listing, without what is before each line. */
static ssize_t listing_text(const struct ftrace_formats *fs,
			    const struct format *f, char *text, size_t size)
{
	size_t len = 0, n;
	struct line l;

	for (size_t pos = f->begin; pos < f->end; pos = l.end) {
		line_read(fs, pos, &l);
		n = l.end - pos - l.prefix;
		if (n >= size - len)
			return -EFBIG;
		memcpy(text + len, fs->listing + pos + l.prefix, n);
		len += n;
	}
	text[len] = 0;
	return (ssize_t)len;
}

/* ---- all of them ---- */

void ftrace_formats_free(struct ftrace_formats *fs)
{
	if (!fs)
		return;
	for (uint32_t i = 0; fs->format && i < FORMATS_MAX; i++) {
		free(fs->format[i].name);
		free(fs->format[i].text);
	}
	free(fs->format);
	free(fs->listing);
	if (fs->fd >= 0)
		close(fs->fd);
	free(fs->path);
	free(fs);
}

static int formats_open(struct ftrace_formats *fs, const char *path)
{
	struct stat st;

	fs->path = strdup(path);
	fs->format = calloc(FORMATS_MAX, sizeof(*fs->format));
	if (!fs->path || !fs->format)
		return -ENOMEM;
	fs->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fs->fd < 0 || fstat(fs->fd, &st))
		return -errno;
	return S_ISDIR(st.st_mode) ? open_tree(fs)
				   : open_listing(fs, st.st_size);
}

int ftrace_formats_open(struct ftrace_formats **out, const char *path,
			struct dlog_error *err)
{
	struct ftrace_formats *fs = calloc(1, sizeof(*fs));
	int ret = -ENOMEM;

	*out = NULL;
	if (fs) {
		fs->fd = -1;
		ret = formats_open(fs, path);
	}
	if (!ret && fs->nr) {
		*out = fs;
		return 0;
	}
	ftrace_formats_free(fs);
	if (ret)
		return dlog_fail(err, ret, "Cannot read formats from %s: %s.",
				 path, strerror(-ret));
	return dlog_fail(err, -ENODATA,
			 "%s has no formats of events: name a copy of the "
			 "guest's /sys/kernel/tracing/events, or what 'grep "
			 "\"\" events/*/*/format' says in "
			 "/sys/kernel/tracing.",
			 path);
}

uint32_t ftrace_formats_count(const struct ftrace_formats *fs)
{
	return fs->nr;
}

const char *ftrace_formats_path(const struct ftrace_formats *fs)
{
	return fs->path;
}

static char *format_read(const struct ftrace_formats *fs,
			 const struct format *f)
{
	char path[2 * NAME_MAX_LEN + 16], *text = malloc(FORMAT_MAX + 1);
	const char *colon = strchr(f->name, ':');
	ssize_t n;

	if (!text)
		return NULL;
	if (fs->listing) {
		n = listing_text(fs, f, text, FORMAT_MAX + 1);
	} else {
		snprintf(path, sizeof(path), "%.*s/%s/format",
			 (int)(colon - f->name), f->name, colon + 1);
		n = read_file(fs->fd, path, text, FORMAT_MAX + 1);
	}
	if (n <= 0) {
		free(text);
		return NULL;
	}
	cut_id(text);
	return text;
}

int ftrace_formats_event(struct ftrace_formats *fs, uint32_t id,
			 struct dlog_event_desc *desc)
{
	struct format *f = fs && id < FORMATS_MAX ? &fs->format[id] : NULL;

	desc->id = id;
	desc->fields = "";
	if (f && f->name) {
		if (!f->text)
			f->text = format_read(fs, f);
		desc->name = f->name;
		desc->format = f->text;
		return f->text != NULL;
	}
	if (id != PRINT_ID)
		return 0;
	desc->name = "ftrace:print";
	desc->format = print_format;
	return 1;
}
