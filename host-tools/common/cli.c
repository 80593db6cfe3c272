// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * cli.c - see cli.h.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "cli.h"

int cli_wrong(const char *program, const char *what, const char *arg,
	      const char *help)
{
	fprintf(stderr, "%s: '%s' is no %s: %s\n", program, arg, what, help);
	return -EINVAL;
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
