// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * lane.c - see lane.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lane.h"

static void lane_add(struct lane *l, uint32_t cpu)
{
	size_t len = strlen(l->name), room = sizeof(l->name) - len;
	char text[16];
	int n;

	if (!l->nr_cpus++) {
		l->cpu = cpu;
		snprintf(l->name, sizeof(l->name), "CPU %u", cpu);
		return;
	}
	if (l->nr_cpus == 2)
		len = (size_t)snprintf(l->name, sizeof(l->name), "CPUs %u",
				       l->cpu);
	room = sizeof(l->name) - len;
	n = snprintf(text, sizeof(text), ", %u", cpu);
	/* Room for the dots stays. */
	if ((size_t)n + 6 <= room)
		memcpy(l->name + len, text, (size_t)n + 1);
	else if (room >= 6 && strcmp(l->name + len - 3, "..."))
		memcpy(l->name + len, ", ...", 6);
}

struct lane *lanes_new(struct dlog *d, const struct dlog_info *info)
{
	struct lane *lanes = calloc(info->nr_rings, sizeof(*lanes));
	struct dlog_beat b;

	if (!lanes)
		return NULL;
	for (uint32_t cpu = 0; cpu < info->nr_cpus; cpu++)
		if (dlog_get_beat(d, cpu, &b) && b.ring < info->nr_rings)
			lane_add(&lanes[b.ring], cpu);
	for (uint32_t ring = 0; ring < info->nr_rings; ring++) {
		if (lanes[ring].nr_cpus)
			continue;
		lanes[ring].cpu = ring;
		snprintf(lanes[ring].name, sizeof(lanes[ring].name), "ring %u",
			 ring);
	}
	return lanes;
}
