// SPDX-License-Identifier: GPL-2.0-only
/* options.c - the plugin's arguments, docs/man/dlog-plugin.7. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "plugin.h"

static int parse_bool(const char *name, const char *value, bool *out)
{
	if (!strcmp(value, "on") || !strcmp(value, "yes") ||
	    !strcmp(value, "true"))
		*out = true;
	else if (!strcmp(value, "off") || !strcmp(value, "no") ||
		 !strcmp(value, "false"))
		*out = false;
	else {
		tell("%s=%s: say on or off", name, value);
		return -EINVAL;
	}
	return 0;
}

static int parse_list(const char *name, const char *value, const char **list,
		      unsigned int *n)
{
	if (*n == OPTIONS_MAX) {
		tell("%s=%s: %u of these are the most", name, value,
		     OPTIONS_MAX);
		return -EINVAL;
	}
	list[(*n)++] = value;
	return 0;
}

static int parse_slide(const char *value, struct options *o)
{
	char *end;

	if (!strcmp(value, "auto"))
		return 0;
	errno = 0;
	o->slide = strtoull(value, &end, 0);
	if (errno || end == value || *end) {
		tell("slide=%s: a number of bytes, or auto", value);
		return -EINVAL;
	}
	o->slide_given = true;
	return 0;
}

static int parse_one(struct options *o, const char *name, const char *value)
{
	if (!strcmp(name, "region"))
		o->region = value;
	else if (!strcmp(name, "watch"))
		o->watch = value;
	else if (!strcmp(name, "probes"))
		return parse_list(name, value, o->probes, &o->nr_probes);
	else if (!strcmp(name, "symbols"))
		return parse_list(name, value, o->symbols, &o->nr_symbols);
	else if (!strcmp(name, "blocks"))
		return parse_bool(name, value, &o->blocks);
	else if (!strcmp(name, "icount"))
		return parse_bool(name, value, &o->icount);
	else if (!strcmp(name, "trace-writes"))
		return parse_bool(name, value, &o->trace_writes);
	else if (!strcmp(name, "slide"))
		return parse_slide(value, o);
	else {
		tell("there is no argument %s; there are region, probes, symbols, slide, blocks, icount, watch and trace-writes: see dlog-plugin(7)",
		     name);
		return -EINVAL;
	}
	return 0;
}

/* By whatever name: links too. */
static bool same_file(const char *a, const char *b)
{
	struct stat sa, sb;

	return !stat(a, &sa) && !stat(b, &sb) && sa.st_dev == sb.st_dev &&
	       sa.st_ino == sb.st_ino;
}

int options_parse(struct options *o, int argc, char **argv)
{
	memset(o, 0, sizeof(*o));
	o->icount = true;
	for (int i = 0; i < argc; i++) {
		char *value = strchr(argv[i], '=');
		char name[32];
		int ret;

		if (!value || value == argv[i] ||
		    (size_t)(value - argv[i]) >= sizeof(name)) {
			tell("%s: arguments are NAME=VALUE", argv[i]);
			return -EINVAL;
		}
		memcpy(name, argv[i], (size_t)(value - argv[i]));
		name[value - argv[i]] = 0;
		if (!value[1]) {
			tell("%s: nothing is behind the =", argv[i]);
			return -EINVAL;
		}
		ret = parse_one(o, name, value + 1);
		if (ret)
			return ret;
	}
	if (!o->region) {
		tell("where to record? Say region=FILE, a file that dlog-create has made");
		return -EINVAL;
	}
	if (o->trace_writes && !o->watch) {
		tell("trace-writes=on: of which region? Say watch=FILE, the guest's region file");
		return -EINVAL;
	}
	/* We would guard it against ourselves, in threads that take no fault. */
	if (o->watch && same_file(o->watch, o->region)) {
		tell("watch=%s is the plugin's own region: name the guest's region file, or leave watch= out",
		     o->watch);
		return -EINVAL;
	}
	return 0;
}
