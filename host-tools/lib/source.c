// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * source.c - open and close a source of any format, read its bytes.
 *
 * Files are read with pread() alone: there is no mapping that could be cut
 * short under us.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

int dlog_fail(struct dlog_error *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (err) {
		va_start(ap, fmt);
		vsnprintf(err->text, sizeof(err->text), fmt, ap);
		va_end(ap);
	}
	return code;
}

/* CLOCK_REALTIME or CLOCK_MONOTONIC in ns. */
uint64_t dlog_now(int clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void *dlog_grow(void *v, size_t nr, size_t *room, size_t each)
{
	size_t more = *room ? 2 * *room : 64;

	if (nr < *room)
		return v;
	v = realloc(v, more * each);
	if (v)
		*room = more;
	return v;
}

/* ---- bytes ---- */

int dlog_fetch(const struct dlog *d, uint64_t off, void *buf, size_t len)
{
	uint8_t *to = buf;

	if (off > d->size || len > d->size - off)
		return -ERANGE;
	off += d->base;
	if (d->fd < 0) {
		memcpy(to, d->mem + off, len);
		return 0;
	}
	while (len) {
		ssize_t n = pread(d->fd, to, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			return -ERANGE; /* cut short since it was opened */
		to += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* ---- formats ---- */

/* The region first; then those that a few bytes tell. */
static const struct dlog_source_ops *const formats[] = {
	&dlog_region_ops,  &dlog_erst_ops, &dlog_ftrace_ops,
	&dlog_ramoops_ops, &dlog_ram_ops,
};

#define FORMATS (sizeof(formats) / sizeof(formats[0]))

const char *dlog_format_name(uint32_t n)
{
	return n < FORMATS ? formats[n]->name : NULL;
}

const char *dlog_format_help(uint32_t n)
{
	return n < FORMATS ? formats[n]->help : NULL;
}

const char *dlog_format_options(uint32_t n)
{
	if (n >= FORMATS)
		return NULL;
	return formats[n]->options ? formats[n]->options : "";
}

/* ---- options ---- */

/* Does a line "KEY=..." of @options describe the @len bytes at @key? */
static bool option_known(const char *options, const char *key, size_t len)
{
	for (const char *p = options; p && *p; p = strchr(p, '\n')) {
		p += *p == '\n';
		if (!strncmp(p, key, len) && p[len] == '=')
			return true;
	}
	return false;
}

static int options_check(const struct dlog *d, struct dlog_error *err)
{
	const char *p = d->options;

	while (p && *p) {
		int n = (int)strcspn(p, ",");
		int key = (int)strcspn(p, ",=");

		if (key == n || !option_known(d->ops->options, p, (size_t)key))
			return dlog_fail(err, -EINVAL,
					 "%s is of format %s, which has no "
					 "option '%.*s'%s.",
					 d->name, d->ops->name, n, p,
					 key == n ? " (KEY=VALUE)" : "");
		p += n + (p[n] == ',');
	}
	return 0;
}

int dlog_option_text(const struct dlog *d, const char *key, char *value,
		     size_t size, struct dlog_error *err)
{
	const char *p = d->options;
	size_t len = strlen(key);

	while (p && *p) {
		size_t n = strcspn(p, ",");

		if (n > len && !strncmp(p, key, len) && p[len] == '=') {
			n -= len + 1;
			if (n >= size)
				return dlog_fail(err, -EINVAL,
						 "Option %s is too long.", key);
			memcpy(value, p + len + 1, n);
			value[n] = 0;
			return 1;
		}
		p += n + (p[n] == ',');
	}
	return 0;
}

int dlog_option_size(const struct dlog *d, const char *key, uint64_t *value,
		     struct dlog_error *err)
{
	static const char unit[] = "KMGT";
	char text[32], *end;
	const char *u;
	int ret = dlog_option_text(d, key, text, sizeof(text), err);
	unsigned int shift = 0;

	if (ret <= 0)
		return ret;
	errno = 0;
	*value = strtoull(text, &end, 0);
	u = *end ? strchr(unit, *end & ~0x20) : NULL;
	if (u) {
		shift = 10 * (unsigned int)(u - unit + 1);
		end++;
	}
	if (errno || end == text || *end || *text == '-' ||
	    *value > UINT64_MAX >> shift)
		return dlog_fail(err, -EINVAL,
				 "Option %s=%s is no number or size.", key,
				 text);
	*value <<= shift;
	return 1;
}

/* ---- opening ---- */

static struct dlog *source_new(const char *name)
{
	struct dlog *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->fd = -1;
	d->ops = &dlog_region_ops;
	d->name = strdup(name);
	if (!d->name) {
		dlog_close(d);
		return NULL;
	}
	return d;
}

/* Which part of the file is meant. */
static int source_part(struct dlog *d, const struct dlog_open_args *args,
		       struct dlog_error *err)
{
	if (args->offset >= d->size && args->offset)
		return dlog_fail(err, -ERANGE,
				 "%s has %llu bytes: there is nothing at %llu.",
				 d->name, (unsigned long long)d->size,
				 (unsigned long long)args->offset);
	if (args->size > d->size - args->offset)
		return dlog_fail(
			err, -ERANGE,
			"%s has %llu bytes: there are not %llu from %llu on.",
			d->name, (unsigned long long)d->size,
			(unsigned long long)args->size,
			(unsigned long long)args->offset);
	d->base = args->offset;
	d->size = args->size ? args->size : d->size - args->offset;
	return 0;
}

static int format_open(struct dlog *d, const struct dlog_source_ops *ops,
		       bool forced, struct dlog_error *err)
{
	int ret;

	d->ops = ops;
	ret = ops->open(d, forced, err);
	return ret ? ret : options_check(d, err);
}

static void format_close(struct dlog *d)
{
	if (d->ops->close)
		d->ops->close(d);
	d->state = NULL;
}

/* By content: what a region lacks is only told if nothing else fits. */
static int format_find(struct dlog *d, const struct dlog_open_args *args,
		       struct dlog_error *err)
{
	int ret = format_open(d, formats[0], true, err);
	struct dlog_error other;

	if (ret != -EBADMSG || !(args->flags & DLOG_OPEN_ANY))
		return ret;
	for (size_t i = 1; i < FORMATS; i++) {
		int one;

		format_close(d);
		one = format_open(d, formats[i], false, &other);
		if (!one)
			return 0;
		if (one == -EBADMSG)
			continue;
		if (err)
			*err = other;
		return one;
	}
	if (err && FORMATS > 1) {
		size_t n = strlen(err->text);

		snprintf(err->text + n, sizeof(err->text) - n,
			 " It is of no other known format either.");
	}
	return ret;
}

static int format_named(struct dlog *d, const struct dlog_open_args *args,
			struct dlog_error *err)
{
	for (size_t i = 0; i < FORMATS; i++)
		if (!strcmp(formats[i]->name, args->format))
			return format_open(d, formats[i], true, err);
	return dlog_fail(err, -EINVAL, "There is no format '%s'.",
			 args->format);
}

static int source_begin(struct dlog *d, const struct dlog_open_args *args,
			struct dlog_error *err)
{
	int ret = source_part(d, args, err);

	if (ret)
		return ret;
	if (args->options && *args->options) {
		d->options = strdup(args->options);
		if (!d->options)
			return dlog_fail(err, -ENOMEM, "No memory to open %s.",
					 d->name);
	}
	return args->format ? format_named(d, args, err)
			    : format_find(d, args, err);
}

static int source_file(struct dlog *d, unsigned int flags,
		       struct dlog_error *err)
{
	int mode = flags & DLOG_OPEN_WRITE ? O_RDWR : O_RDONLY;
	struct stat st;
	off_t end;
	int ret;

	/* Not to wait for the other end of a pipe. */
	d->fd = open(d->name, mode | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (d->fd < 0 || fstat(d->fd, &st)) {
		ret = -errno;
		if (ret == -EISDIR)
			goto is_dir;
		return dlog_fail(err, ret, "Cannot open %s: %s.", d->name,
				 strerror(-ret));
	}
	if (S_ISDIR(st.st_mode))
		goto is_dir;
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return dlog_fail(err, -EINVAL,
				 "%s is neither a file nor a block device: "
				 "name a region file.",
				 d->name);
	end = lseek(d->fd, 0, SEEK_END);
	if (end < 0) {
		ret = -errno;
		return dlog_fail(err, ret, "Cannot find the size of %s: %s.",
				 d->name, strerror(-ret));
	}
	d->size = (uint64_t)end;
	d->writable = flags & DLOG_OPEN_WRITE;
	return 0;

is_dir:
	return dlog_fail(err, -EISDIR,
			 "%s is a directory: name the region file in it.",
			 d->name);
}

static int source_open(struct dlog **out, const char *name, const void *mem,
		       size_t size, const struct dlog_open_args *args,
		       struct dlog_error *err)
{
	struct dlog *d = source_new(name);
	int ret = 0;

	*out = NULL;
	if (!d)
		return dlog_fail(err, -ENOMEM, "No memory to open %s.", name);
	d->mem = mem;
	d->size = size;
	if (!mem)
		ret = source_file(d, args->flags, err);
	if (!ret)
		ret = source_begin(d, args, err);
	if (ret)
		dlog_close(d);
	else
		*out = d;
	return ret;
}

int dlog_open_as(struct dlog **out, const char *path,
		 const struct dlog_open_args *args, struct dlog_error *err)
{
	return source_open(out, path, NULL, 0, args, err);
}

int dlog_open(struct dlog **out, const char *path, unsigned int flags,
	      struct dlog_error *err)
{
	const struct dlog_open_args args = { .flags = flags };

	return dlog_open_as(out, path, &args, err);
}

int dlog_open_memory_as(struct dlog **out, const void *mem, size_t size,
			const char *name, const struct dlog_open_args *args,
			struct dlog_error *err)
{
	return source_open(out, name, mem ? mem : "", size, args, err);
}

int dlog_open_memory(struct dlog **out, const void *mem, size_t size,
		     const char *name, struct dlog_error *err)
{
	const struct dlog_open_args args = { .flags = 0 };

	return dlog_open_memory_as(out, mem, size, name, &args, err);
}

void dlog_close(struct dlog *d)
{
	if (!d)
		return;
	if (d->release)
		d->release(d->private);
	format_close(d);
	for (uint32_t i = 0; i < DLOG_LISTS; i++)
		dlog_list_free(&d->kept[i]);
	dlog_table_free(d);
	dlog_catalog_free(d);
	dlog_learned_free(d);
	if (d->fd >= 0)
		close(d->fd);
	free(d->options);
	free(d->name);
	free(d);
}

void dlog_set_private(struct dlog *d, void *data, void (*release)(void *data))
{
	d->private = data;
	d->release = release;
}

void *dlog_get_private(struct dlog *d)
{
	return d->private;
}

void dlog_get_info(struct dlog *d, struct dlog_info *info)
{
	memset(info, 0, sizeof(*info));
	info->path = d->name;
	info->format = d->ops->name;
	info->file_size = d->size;
	if (!dlog_is_region(d)) {
		info->region_size = d->size;
		info->nr_rings = d->ops->streams(d);
		return;
	}
	memcpy(info->uuid, d->sb.uuid, sizeof(info->uuid));
	memcpy(info->label, d->sb.label, sizeof(d->sb.label));
	info->created = d->sb.created;
	info->region_size = d->sb.region_size;
	info->ring_size = d->sb.ring_size;
	info->catalog_size = d->sb.catalog_size;
	info->nr_rings = d->sb.nr_rings;
	info->subbuf_size = d->sb.subbuf_size;
	info->nr_cpus = d->sb.nr_cpus;
	info->boot_slots = d->sb.boot_slots;
	info->compat = d->sb.compat;
	info->ro_compat = d->sb.ro_compat;
	info->incompat = d->sb.incompat;
	info->backup = d->backup;
}

int dlog_get_fact(struct dlog *d, uint32_t n, struct dlog_fact *fact)
{
	return d->ops->fact ? d->ops->fact(d, n, fact) : 0;
}

int dlog_get_boots(struct dlog *d, struct dlog_boot_entry **out)
{
	return d->ops->boots(d, out);
}

int dlog_get_loss(struct dlog *d, struct dlog_loss **out)
{
	return d->ops->loss(d, out);
}

uint64_t dlog_real_time(struct dlog *d, uint32_t boot, uint64_t time)
{
	uint64_t real = d->learned ? dlog_learned_time(d, boot, time) : 0;

	if (real || !d->ops->real_time)
		return real;
	return d->ops->real_time(d, boot, time);
}

int dlog_get_event(struct dlog *d, uint32_t id, struct dlog_event_desc *desc)
{
	memset(desc, 0, sizeof(*desc));
	return d->ops->event ? d->ops->event(d, id, desc) : 0;
}

int dlog_get_symbol(struct dlog *d, uint32_t boot, uint64_t address,
		    struct dlog_symbol *sym)
{
	return dlog_get_symbol_at(d, boot, UINT64_MAX, address, sym);
}

int dlog_get_symbol_at(struct dlog *d, uint32_t boot, uint64_t time,
		       uint64_t address, struct dlog_symbol *sym)
{
	memset(sym, 0, sizeof(*sym));
	return d->ops->symbol ? d->ops->symbol(d, boot, time, address, sym) : 0;
}
