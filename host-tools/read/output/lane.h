/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lane.h - which CPUs wrote into which ring, for outputs that draw a lane for
 * each.  Relies on libdlog.
 */
#ifndef DLOG_LANE_H
#define DLOG_LANE_H

#include <stdint.h>

#include "dlog.h"

struct lane {
	uint32_t nr_cpus; /* by their heartbeats; 0: not known */
	uint32_t cpu; /* the lowest, or the ring's number */
	char name[48]; /* "CPU 2", "CPUs 1, 3", "ring 4" */
};

/* One for each ring, to be free()d; NULL: no memory. */
struct lane *lanes_new(struct dlog *d, const struct dlog_info *info);

#endif
