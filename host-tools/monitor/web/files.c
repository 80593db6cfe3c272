// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * files.c - what is in a bundle; in the worker's thread.
 *
 * A file is opened by its last component beneath the opened bundle, never
 * through a symbolic link, and is sent as text or as bytes: what a guest wrote
 * is never taken for a page, whatever it holds.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "web.h"

#define FILES_MAX 1000 /* shown of one bundle */
#define BLOCK 262144u

static int open_bundle(const char *path)
{
	return open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* ---- the list ---- */

/* As RFC 3986 wants a component of a path: no byte means anything. */
static void percent(struct sink *s, const char *name)
{
	for (; *name; name++) {
		sink_putc(s, '%');
		sink_hex(s, name, 1);
	}
}

static void row_file(struct req *r, struct rows *rs, int dir, const char *name)
{
	struct stat st;
	char date[32];

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) ||
	    !S_ISREG(st.st_mode))
		return;
	r->tmp.len = 0;
	percent(&r->tmp, name);
	sink_putc(&r->tmp, '\0');
	html_row(rs, name);
	cell_text(rs, "name", r->tmp.buf, name, strlen(name));
	cell_printf(rs, "number", NULL, "%s", cli_size((uint64_t)st.st_size).s);
	html_date(date, (uint64_t)st.st_mtime * NS_PER_S);
	cell_text(rs, "date", NULL, date, strlen(date));
	html_row_end(rs);
}

enum work_result files_list(struct req *r)
{
	static const char *const columns[] = { "File", "Size", "Written",
					       NULL };
	struct rows rs = { .s = &r->fresh, .tmp = &r->tmp, .html = true };
	int dir = open_bundle(r->path), n = -1;
	struct dirent **names;

	if (dir >= 0)
		n = scandirat(dir, ".", &names, NULL, alphasort);
	if (n < 0) {
		if (dir >= 0)
			close(dir);
		web_refuse(r, MHD_HTTP_NOT_FOUND,
			   "The bundle is not there any more.");
		return WORK_DONE;
	}
	html_table(&r->fresh, "files", "Files", columns);
	for (int i = 0; i < n; i++) {
		if (i < FILES_MAX)
			row_file(r, &rs, dir, names[i]->d_name);
		free(names[i]);
	}
	free(names);
	close(dir);
	html_table_end(&r->fresh);
	html_page_end(&r->fresh);
	return WORK_DONE;
}

/* ---- one file ---- */

static bool is_text(const char *name)
{
	static const char *const ends[] = { ".txt", ".json", ".jsonl", ".log" };
	size_t len = strlen(name), n;

	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
		n = strlen(ends[i]);
		if (len > n && !strcmp(name + len - n, ends[i]))
			return true;
	}
	return false;
}

/* Beneath the bundle, regular, not through a link: else -1. */
static int open_file(struct req *r, struct stat *st)
{
	int dir, fd;

	if (strchr(r->file, '/') || !strcmp(r->file, ".") ||
	    !strcmp(r->file, ".."))
		return -1;
	dir = open_bundle(r->path);
	if (dir < 0)
		return -1;
	fd = openat(dir, r->file,
		    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	close(dir);
	if (fd >= 0 && (fstat(fd, st) || !S_ISREG(st->st_mode))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* A next part, at most what was promised: the file may grow meanwhile. */
static void send_part(struct req *r)
{
	uint64_t left = r->size - r->read;
	size_t want = left < BLOCK ? (size_t)left : BLOCK;
	char *to = sink_room(&r->fresh, want);
	ssize_t n;

	do {
		n = to ? read(r->fd, to, want) : -1;
	} while (n < 0 && to && errno == EINTR);
	if (n <= 0) {
		r->end = true;
		return;
	}
	r->fresh.len += (size_t)n;
	r->read += (uint64_t)n;
}

enum work_result files_send(struct req *r)
{
	struct stat st;

	if (r->fd < 0) {
		r->fd = open_file(r, &st);
		if (r->fd < 0) {
			web_refuse(r, MHD_HTTP_NOT_FOUND,
				   "There is no such file in the bundle.");
			return WORK_DONE;
		}
		r->size = (uint64_t)st.st_size;
		r->type = is_text(r->file) ? "text/plain; charset=utf-8"
					   : "application/octet-stream";
		r->attachment = !is_text(r->file);
	}
	send_part(r);
	return WORK_DONE;
}
