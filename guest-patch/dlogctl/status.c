// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * status.c - the driver and its rings: sysfs, and what the driver adds.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "linux/dlog.h"

static const char *const attributes[] = {
	"status",  "recording",	    "boot",	    "placement",
	"address", "size",	    "memory_type",  "uuid",
	"label",   "printk_source", "heartbeat_ms", "clock_error_ns",
};

#define ATTRIBUTES (sizeof(attributes) / sizeof(*attributes))

static void put(struct sink *out, struct json *j, const char *name,
		const char *value)
{
	if (j)
		table_member(j, name, value);
	else
		sink_printf(out, "%-18s%s\n", name, value);
}

/* What the driver tells beyond sysfs, "name TAB value" each. */
static void put_more(struct sink *out, struct json *j, char *text)
{
	char *line, *value, *next = NULL;
	bool known; /* from sysfs, or under another name there */

	for (line = strtok_r(text, "\n", &next); line;
	     line = strtok_r(NULL, "\n", &next)) {
		value = strchr(line, '\t');
		if (!value)
			continue;
		*value++ = '\0';
		known = !strcmp(line, "name") || !strcmp(line, "region") ||
			!strcmp(line, "region_size");
		for (size_t i = 0; i < ATTRIBUTES; i++)
			known |= !strcmp(line, attributes[i]);
		if (!known)
			put(out, j, line, value);
	}
}

static void put_rings(struct sink *out, struct json *j)
{
	unsigned long long ring, position, records, dropped;
	char *text, *line, *next = NULL;

	if (read_file(AT_FDCWD, "/sys/class/misc/dlog/rings", &text))
		return;
	if (j) {
		json_key(j, "rings");
		json_open(j, '[');
	}
	for (line = strtok_r(text, "\n", &next); line;
	     line = strtok_r(NULL, "\n", &next)) {
		if (sscanf(line, "%llu %llu %llu %llu", &ring, &position,
			   &records, &dropped) != 4)
			continue;
		if (!j) {
			sink_printf(out,
				    "ring %-13lluposition %llu, records "
				    "%llu, dropped %llu\n",
				    ring, position, records, dropped);
			continue;
		}
		json_open(j, '{');
		json_key(j, "ring");
		json_u64(j, ring);
		json_key(j, "position");
		json_u64(j, position);
		json_key(j, "records");
		json_u64(j, records);
		json_key(j, "dropped");
		json_u64(j, dropped);
		json_close(j, '}');
	}
	if (j)
		json_close(j, ']');
	free(text);
}

int status_show(struct sink *out, const struct options *o,
		struct dlog_error *err)
{
	struct json json = { .s = out }, *j = o->json ? &json : NULL;
	char value[256], *more;
	int ret = device_show(DLOG_SHOW_STATUS, &more, err);

	if (ret)
		return ret;
	if (j)
		json_open(j, '{');
	for (size_t i = 0; i < ATTRIBUTES; i++)
		if (!device_attribute(attributes[i], value, sizeof(value)))
			put(out, j, attributes[i], value);
	put_more(out, j, more);
	put_rings(out, j);
	if (j) {
		json_close(j, '}');
		json_line(j);
	}
	free(more);
	return 0;
}
