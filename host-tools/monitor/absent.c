// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * absent.c - stands in for the parts of dlogd that are not linked in: each
 * does nothing, and gives way to the real one.
 */
#include <errno.h>

#include "monitor.h"

#define ABSENT __attribute__((weak))

ABSENT int dlog_get_beats(struct dlog *d, struct dlog_beat *beats, uint32_t n)
{
	struct dlog_info info;

	dlog_get_info(d, &info);
	for (uint32_t i = 0; i < n; i++)
		dlog_get_beat(d, i, &beats[i]);
	return (int)info.nr_cpus;
}

ABSENT int incidents_start(struct monitor *m)
{
	(void)m;
	return 0;
}

ABSENT void incidents_stop(struct monitor *m)
{
	(void)m;
}

ABSENT int incident_begin(struct guest *g, enum event ev, int actions,
			  const char *detail)
{
	(void)g, (void)ev, (void)actions, (void)detail;
	return 0;
}

ABSENT const struct incident *incidents_list(struct monitor *m)
{
	(void)m;
	return NULL;
}

ABSENT int forward_start(struct monitor *m)
{
	(void)m;
	return 0;
}

ABSENT void forward_stop(struct monitor *m)
{
	(void)m;
}

ABSENT void forward_guests_changed(struct monitor *m)
{
	(void)m;
}

ABSENT void forward_tell(struct monitor *m, const struct guest *g,
			 enum event ev, const char *detail,
			 const struct incident *inc)
{
	(void)m, (void)g, (void)ev, (void)detail, (void)inc;
}

ABSENT int forward_stats(struct monitor *m, size_t i, struct sink_stats *st)
{
	(void)m, (void)i, (void)st;
	return 0;
}

ABSENT int forward_guest_stats(struct monitor *m, size_t i,
			       const struct guest *g, struct sink_stats *st)
{
	(void)m, (void)i, (void)g, (void)st;
	return 0;
}

ABSENT int web_start(struct monitor *m)
{
	(void)m;
	return 0;
}

ABSENT void web_stop(struct monitor *m)
{
	(void)m;
}

ABSENT void web_changed(struct monitor *m, const struct guest *g)
{
	(void)m, (void)g;
}

ABSENT int source_libvirt_start(struct monitor *m)
{
	(void)m;
	return 0;
}

ABSENT void source_libvirt_stop(struct monitor *m)
{
	(void)m;
}
