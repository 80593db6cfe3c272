// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * cli.c - see cli.h.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

int cli_wrong(const char *program, const char *what, const char *arg,
	      const char *help)
{
	fprintf(stderr, "%s: '%s' is no %s: %s\n", program, arg, what, help);
	return -EINVAL;
}

int fail(struct dlog_error *err, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return code;
}

/* Digits alone: strtoull would take signs and blanks. */
static int parse_number(const char *text, uint64_t *v, char **end)
{
	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	*v = strtoull(text, end, 10);
	return errno ? -EINVAL : 0;
}

int cli_parse_size(const char *program, const char *text, uint64_t *size)
{
	static const char units[] = "KMGT";
	const char *unit;
	char *end;
	int shift = 0;

	if (parse_number(text, size, &end))
		goto bad;
	if (*end) {
		unit = strchr(units, toupper((unsigned char)*end));
		if (!unit || (end[1] && strcmp(end + 1, "iB")))
			goto bad;
		shift = 10 * (int)(unit - units + 1);
	}
	if (!*size || *size > UINT64_MAX >> shift)
		goto bad;
	*size <<= shift;
	return 0;
bad:
	return cli_wrong(program, "size", text,
			 "a number with K, M, G or T, as in 64M");
}

struct cli_size cli_size(uint64_t bytes)
{
	static const char unit[] = "KMGT";
	struct cli_size t;
	double v = (double)bytes;
	int u = -1;

	if (bytes < 1024) {
		snprintf(t.s, sizeof(t.s), "%" PRIu64 " bytes", bytes);
		return t;
	}
	for (; v >= 1024 && u < 3; u++)
		v /= 1024;
	snprintf(t.s, sizeof(t.s),
		 v == (double)(uint64_t)v ? "%.0f %ciB" : "%.1f %ciB", v,
		 unit[u]);
	return t;
}

bool cli_is_port(const char *text)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	return *text >= '0' && *text <= '9' && !*end && v <= 65535;
}
