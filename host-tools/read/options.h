/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * options.h - what the command line asks for.  Relies on read.h.
 */
#ifndef DLOG_READ_OPTIONS_H
#define DLOG_READ_OPTIONS_H

#include "read.h"

enum mode {
	MODE_RECORDS,
	MODE_BOOTS,
	MODE_STATS,
	MODE_CHECK,
	MODE_REGS,
	MODE_EVENTS,
	MODE_BLOCKS,
	MODE_START,
	MODE_STOP,
};

struct options {
	enum mode mode;
	struct filter filter;
	struct format fmt;
	const struct output *out;
	const char *write;
	bool force;
	const char *since, *until, *pattern, *colour, *symbols;
	struct dlog_open_args open;
	char *source; /* what --source and its like add up to; to be free()d */
	bool follow, quiet, no_pager, fold_case;
	bool lines_given, boot_given;
	long lines;
	size_t blocks; /* of each CPU, for MODE_BLOCKS */
	uint64_t hidden; /* records of blocks that were not shown */
};

/*
 * Fill in *@o, which holds what is asked for when nothing is said.  0: go on,
 * the files are behind optind; 1: done; or negative after a message.
 */
int options_parse(struct options *o, int argc, char **argv);

#endif
