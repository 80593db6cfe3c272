// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * table.c - lists for people, in columns, and for programs, in JSON.
 *
 * A list is text: one thing a line, values parted by tabs, the first line
 * naming them, as DLOG_IOC_SHOW gives it.
 */
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

#define COLUMNS 16

/* Splits at @part in place; the number of pieces, at most @max. */
static int split(char *text, char part, char **to, int max)
{
	int n = 0;

	while (n < max) {
		to[n++] = text;
		text = strchr(text, part);
		if (!text)
			break;
		*text++ = '\0';
	}
	return n;
}

/* Columns and values that are a number or a yes, whatever the driver says. */
static const char *const numbers[] = {
	"id",		"priority",	  "count",   "events",
	"hits",		"missed",	  "boot",    "size",
	"heartbeat_ms", "clock_error_ns", "level",   "catalog_size",
	"catalog_used", "records",	  "dropped",
};
static const char *const bools[] = { "on", "armed", "recording",
				     "stopped_by_guest", "stopped_by_host" };

static bool among(const char *const *list, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(list[i], name))
			return true;
	return false;
}

/* Digits, perhaps a sign: what JSON takes as a number as it stands. */
static bool is_number(const char *value)
{
	size_t n;

	value += *value == '-';
	n = strspn(value, "0123456789");
	return n && n < 20 && !value[n] && (*value != '0' || n == 1);
}

/* "a,b" as an array; "-" is none. */
static void put_names(struct json *j, const char *names)
{
	size_t n;

	json_open(j, '[');
	for (; *names && strcmp(names, "-"); names += n + (names[n] == ',')) {
		n = strcspn(names, ",");
		json_string(j, names, n);
	}
	json_close(j, ']');
}

void table_member(struct json *j, const char *name, const char *value)
{
	bool yes = !strcmp(value, "1") || !strcmp(value, "on") ||
		   !strcmp(value, "yes");

	json_key(j, name);
	if (among(bools, sizeof(bools) / sizeof(*bools), name))
		json_bool(j, yes);
	else if (!strcmp(name, "set"))
		put_names(j, value);
	else if (!among(numbers, sizeof(numbers) / sizeof(*numbers), name))
		json_text(j, value);
	else if (!is_number(value))
		json_null(j);
	else
		json_i64(j, strtoll(value, NULL, 10));
}

static void put_object(struct sink *out, char **name, char **cell, int columns)
{
	struct json j = { .s = out };

	json_open(&j, '{');
	for (int i = 0; i < columns; i++)
		table_member(&j, name[i], cell[i]);
	json_close(&j, '}');
	json_line(&j);
}

static void put_row(struct sink *out, char **cell, const size_t *width,
		    int columns)
{
	for (int i = 0; i < columns; i++) {
		const char *value = *cell[i] ? cell[i] : "-";

		sink_puts(out, value);
		if (i == columns - 1)
			break;
		for (size_t n = strlen(value); n < width[i] + 2; n++)
			sink_putc(out, ' ');
	}
	sink_putc(out, '\n');
}

static size_t lines_in(const char *text)
{
	size_t n = 1;

	while ((text = strchr(text, '\n'))) {
		text++;
		n++;
	}
	return n;
}

/* Does the row have what is asked for? */
static bool wanted(char **name, char **cell, int columns, const char *key,
		   const char *glob)
{
	if (!glob)
		return true;
	for (int i = 0; i < columns; i++)
		if (!strcmp(name[i], key))
			return !fnmatch(glob, cell[i], 0);
	return true;
}

int table_show(struct sink *out, char *text, const struct options *o,
	       const char *key, const char *glob)
{
	size_t width[COLUMNS] = { 0 }, rows = 0, n;
	char **cells, *line, *next = NULL;
	int columns = 0;

	cells = calloc(lines_in(text), COLUMNS * sizeof(*cells));
	if (!cells)
		return -ENOMEM;
	for (line = strtok_r(text, "\n", &next); line;
	     line = strtok_r(NULL, "\n", &next)) {
		char **cell = cells + rows * COLUMNS;
		int have = split(line, '\t', cell, COLUMNS);

		if (!rows)
			columns = have;
		/* A line that is short lacks its last values. */
		for (; have < columns; have++)
			cell[have] = strchr(line, '\0');
		if (rows && !wanted(cells, cell, columns, key, glob))
			continue;
		for (int i = 0; i < columns; i++) {
			n = strlen(cell[i]);
			width[i] = n > width[i] ? n : width[i];
		}
		rows++;
	}
	for (n = o->json ? 1 : 0; n < rows; n++) {
		if (o->json)
			put_object(out, cells, cells + n * COLUMNS, columns);
		else
			put_row(out, cells + n * COLUMNS, width, columns);
	}
	free(cells);
	return 0;
}
