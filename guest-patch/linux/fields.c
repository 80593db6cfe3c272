// SPDX-License-Identifier: GPL-2.0-only
/*
 * fields.c - what declared events may look like.
 *
 * A name is "subsystem:event".  Fields are declared as docs/abi.md says
 * (Catalog): "TYPE NAME" parted by ';'.  A reader believes such a text, so
 * nothing else gets into the catalog, and what user space appends has to fit
 * what it declared.  Code in the kernel is trusted with the latter: dlog_event()
 * does not come here.
 *
 * A layout is what is left of the text: numbers and arrays come to a count of
 * bytes, between the fields that carry their own length.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ctype.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/xarray.h>

#include "driver.h"

#define FIELDS_MAX 128
/* A name that a reader and a filter can still show. */
#define FIELD_NAME_MAX 63

struct dlog_layout {
	unsigned int nr; /* fields with a length of their own */
	/* bytes before each of them, and behind the last */
	u32 fixed[];
};

static DEFINE_XARRAY(dlog_layouts);

static size_t dlog_word_len(const char *s)
{
	size_t n = 0;

	while (isalnum(s[n]) || s[n] == '_')
		n++;
	return n;
}

static const char *dlog_skip(const char *s)
{
	while (*s == ' ' || *s == '\t')
		s++;
	return s;
}

/*
 * One field at @*s, which is left behind it.  Returns its bytes, 0 for one with
 * a length of its own, -EINVAL.
 */
static int dlog_field(const char **s)
{
	const char *type = dlog_skip(*s), *name, *end;
	size_t type_len = dlog_word_len(type), name_len;
	unsigned int bits, bytes = 0, got = 0;

	name = dlog_skip(type + type_len);
	name_len = dlog_word_len(name);
	end = name + name_len;
	if (name == type + type_len || !name_len || name_len > FIELD_NAME_MAX ||
	    isdigit(*name))
		return -EINVAL;
	if (type_len == 4 && !memcmp(type, "char", 4)) {
		if (sscanf(end, "[%5u]%n", &bytes, &got) != 1 || !got ||
		    !isdigit(end[1]) || !bytes || bytes > 65535)
			return -EINVAL;
		end += got;
	} else if ((type_len == 2 || type_len == 3) && strchr("usx", *type) &&
		   sscanf(type + 1, "%2u%n", &bits, &got) == 1 &&
		   got == type_len - 1 && isdigit(type[1]) && type[1] != '0') {
		if (bits != 8 && bits != 16 && bits != 32 && bits != 64)
			return -EINVAL;
		bytes = bits / 8;
	} else if (!(type_len == 3 && !memcmp(type, "str", 3)) &&
		   !(type_len == 5 && !memcmp(type, "bytes", 5))) {
		return -EINVAL;
	}
	*s = dlog_skip(end);
	return bytes;
}

/* Reads all of @fields; @l may be NULL.  0 or the number of the bad one. */
static int dlog_fields_parse(const char *fields, struct dlog_layout *l)
{
	const char *s = dlog_skip(fields);
	u32 all = 0;
	int n;

	for (n = 1; *s; n++) {
		int bytes = dlog_field(&s);

		if (n > FIELDS_MAX || bytes < 0 || (*s && *s != ';'))
			return n;
		all += bytes;
		if (all > 65535)
			return n;
		if (l && bytes)
			l->fixed[l->nr] += bytes;
		else if (l)
			l->nr++;
		if (*s)
			s = dlog_skip(s + 1);
	}
	return 0;
}

static size_t dlog_name_part(const char *s)
{
	size_t n = 0;

	while (isalnum(s[n]) || s[n] == '_' || s[n] == '-')
		n++;
	return n;
}

int dlog_fields_check(const char *name, const char *fields, char *error,
		      size_t size)
{
	size_t system = dlog_name_part(name), event = 0;
	int bad;

	if (name[system] == ':')
		event = dlog_name_part(name + system + 1);
	if (!system || !event || name[system + 1 + event] ||
	    system + event > 254) {
		scnprintf(
			error, size,
			"'%.64s' is no event name: it is SUBSYSTEM:EVENT of letters, digits, '_' and '-', at most 255 bytes",
			name);
		return -EINVAL;
	}
	bad = dlog_fields_parse(fields, NULL);
	if (!bad)
		return 0;
	scnprintf(
		error, size,
		"field %d of %.64s is not right: 'TYPE NAME' with u8 to u64, s8 to s64, x8 to x64, char NAME[N], str or bytes, parted by ';', at most %d of them and 65535 bytes",
		bad, name, FIELDS_MAX);
	return -EINVAL;
}

int dlog_fields_learn(int id, const char *fields)
{
	struct dlog_layout *l;
	int ret;

	if (xa_load(&dlog_layouts, id))
		return 0;
	l = kzalloc(struct_size(l, fixed, FIELDS_MAX + 1), GFP_KERNEL);
	if (!l)
		return -ENOMEM;
	dlog_fields_parse(fields, l);
	/* Somebody may have come first, with the same. */
	ret = xa_insert(&dlog_layouts, id, l, GFP_KERNEL);
	if (ret)
		kfree(l);
	return ret == -EBUSY ? 0 : ret;
}

int dlog_fields_match(int id, const void *data, size_t len)
{
	const struct dlog_layout *l = xa_load(&dlog_layouts, id);
	const u8 *p = data;
	size_t left = len;

	if (!l)
		return -ENOENT;
	for (unsigned int i = 0; i < l->nr; i++) {
		size_t own;

		if (left < l->fixed[i] + 2)
			return -EINVAL;
		p += l->fixed[i];
		own = p[0] | p[1] << 8;
		left -= l->fixed[i] + 2;
		if (left < own)
			return -EINVAL;
		p += 2 + own;
		left -= own;
	}
	return left == l->fixed[l->nr] ? 0 : -EINVAL;
}

/* No file is open any more. */
void dlog_fields_stop(void)
{
	struct dlog_layout *l;
	unsigned long id;

	xa_for_each(&dlog_layouts, id, l)
		kfree(l);
	xa_destroy(&dlog_layouts);
}
