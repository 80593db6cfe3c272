// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * metrics.c - the state of all as OpenMetrics 1.0 text.
 *
 * The specification wants the samples of a family together, so each family
 * goes over all guests.  Everything comes from memory, but the counts of
 * records, which are in the same page as the heartbeats.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "web.h"

/* @type NULL: unknown; @unit NULL: none. */
static void family(struct sink *s, const char *name, const char *type,
		   const char *unit, const char *help)
{
	sink_printf(s, "# TYPE %s %s\n", name, type);
	if (unit)
		sink_printf(s, "# UNIT %s %s\n", name, unit);
	sink_printf(s, "# HELP %s %s\n", name, help);
}

/* Names are ours or from the configuration; escaped all the same. */
static void label(struct sink *s, const char *name, const char *value)
{
	size_t from, n = strlen(value);

	sink_printf(s, "%s=\"", name);
	from = s->len;
	html_plain(s, value, n);
	if (s->error)
		return;
	value = strndup(s->buf + from, s->len - from);
	s->len = from;
	for (const char *p = value; p && *p; p++) {
		if (*p == '\n') {
			sink_puts(s, "\\n");
			continue;
		}
		if (*p == '"' || *p == '\\')
			sink_putc(s, '\\');
		sink_putc(s, *p);
	}
	free((char *)value);
	sink_putc(s, '"');
}

static void sample(struct sink *s, const char *name, const char *guest,
		   uint64_t v)
{
	sink_printf(s, "%s{", name);
	label(s, "guest", guest);
	sink_printf(s, "} %" PRIu64 "\n", v);
}

/* ---- guests ---- */

static void put_states(struct sink *s, struct monitor *m)
{
	unsigned int count[ST_NR] = { 0 };

	for (struct guest *g = m->guests; g; g = g->next)
		count[g->state]++;
	family(s, "dlogd_guests", "gauge", NULL, "Guests in each state.");
	for (int st = 0; st < ST_NR; st++)
		sink_printf(s, "dlogd_guests{state=\"%s\"} %u\n",
			    state_name(st), count[st]);
	family(s, "dlogd_guest_state", "stateset", NULL,
	       "What the guest is doing.");
	for (struct guest *g = m->guests; g; g = g->next)
		for (int st = 0; st < ST_NR; st++) {
			sink_puts(s, "dlogd_guest_state{");
			label(s, "guest", g->name);
			sink_printf(s, ",dlogd_guest_state=\"%s\"} %d\n",
				    state_name(st), (int)g->state == st);
		}
}

static void put_pulses(struct sink *s, struct monitor *m)
{
	uint64_t age;

	family(s, "dlogd_guest_heartbeat_age_seconds", "gauge", "seconds",
	       "Age of the oldest heartbeat of the guest's online CPUs.");
	for (struct guest *g = m->guests; g; g = g->next) {
		age = page_heartbeat_age(g);
		if (age == UINT64_MAX)
			continue;
		sink_puts(s, "dlogd_guest_heartbeat_age_seconds{");
		label(s, "guest", g->name);
		sink_printf(s, "} %" PRIu64 ".%09" PRIu64 "\n", age / NS_PER_S,
			    age % NS_PER_S);
	}
	family(s, "dlogd_guest_stale_cpus", "gauge", NULL,
	       "Online CPUs whose heartbeat has stopped.");
	for (struct guest *g = m->guests; g; g = g->next)
		sample(s, "dlogd_guest_stale_cpus", g->name, g->stale_cpus);
	family(s, "dlogd_guest_boot", "gauge", NULL,
	       "Number of the guest's newest boot.");
	for (struct guest *g = m->guests; g; g = g->next)
		sample(s, "dlogd_guest_boot", g->name, g->boot);
}

static void put_events(struct sink *s, struct monitor *m)
{
	family(s, "dlogd_guest_events", "counter", NULL,
	       "What happened to the guest.");
	for (struct guest *g = m->guests; g; g = g->next)
		for (int ev = 0; ev < EV_NR; ev++) {
			sink_puts(s, "dlogd_guest_events_total{");
			label(s, "guest", g->name);
			sink_printf(s, ",event=\"%s\"} %" PRIu64 "\n",
				    event_name(ev), g->counts[ev]);
		}
}

/* The guest's own count in this boot, as of its last heartbeats. */
static uint64_t records_of(const struct guest *g, bool dropped)
{
	struct dlog_beat beats[64];
	uint64_t sum = 0, most, v;
	int n = g->d ? dlog_get_beats(g->d, &g->live, beats, 64) : 0;

	n = n > 64 ? 64 : n;
	/* CPUs that share a ring say the same of it, some later. */
	for (int i = 0; i < n; i++) {
		most = 0;
		if (!beats[i].boot)
			continue;
		for (int k = 0; k < n; k++) {
			if (beats[k].ring != beats[i].ring || !beats[k].boot)
				continue;
			if (k < i)
				break;
			v = dropped ? beats[k].dropped : beats[k].records;
			most = v > most ? v : most;
		}
		sum += most;
	}
	return sum;
}

static void put_records(struct sink *s, struct monitor *m)
{
	family(s, "dlogd_guest_records", "counter", NULL,
	       "Records that the guest wrote in this boot, as it counts.");
	for (struct guest *g = m->guests; g; g = g->next)
		if (g->d)
			sample(s, "dlogd_guest_records_total", g->name,
			       records_of(g, false));
	family(s, "dlogd_guest_dropped", "counter", NULL,
	       "Records that the guest could not write in this boot.");
	for (struct guest *g = m->guests; g; g = g->next)
		if (g->d)
			sample(s, "dlogd_guest_dropped_total", g->name,
			       records_of(g, true));
}

/* ---- sinks ---- */

static void put_sink(struct sink *s, struct monitor *m, const char *name,
		     const char *unit, const char *help,
		     uint64_t (*value)(const struct sink_stats *st))
{
	struct sink_stats st;

	family(s, name, "counter", unit, help);
	for (size_t i = 0; forward_stats(m, i, &st) > 0; i++) {
		sink_printf(s, "%s_total{", name);
		label(s, "sink", st.name);
		sink_puts(s, ",");
		label(s, "type", st.type);
		sink_printf(s, "} %" PRIu64 "\n", value(&st));
	}
}

static uint64_t of_records(const struct sink_stats *st)
{
	return st->records;
}

static uint64_t of_bytes(const struct sink_stats *st)
{
	return st->bytes;
}

static uint64_t of_missed(const struct sink_stats *st)
{
	return st->missed;
}

static uint64_t of_errors(const struct sink_stats *st)
{
	return st->errors;
}

static uint64_t of_connects(const struct sink_stats *st)
{
	return st->connects;
}

static void put_sinks(struct sink *s, struct monitor *m)
{
	struct sink_stats st;

	family(s, "dlogd_sink_up", "gauge", NULL,
	       "1 while the sink takes records.");
	for (size_t i = 0; forward_stats(m, i, &st) > 0; i++) {
		sink_puts(s, "dlogd_sink_up{");
		label(s, "sink", st.name);
		sink_puts(s, ",");
		label(s, "type", st.type);
		sink_printf(s, "} %d\n", st.up);
	}
	put_sink(s, m, "dlogd_sink_records", NULL, "Records forwarded.",
		 of_records);
	put_sink(s, m, "dlogd_sink_bytes", "bytes", "Bytes forwarded.",
		 of_bytes);
	put_sink(
		s, m, "dlogd_sink_missed", NULL,
		"Records overwritten before they were forwarded, or too large.",
		of_missed);
	put_sink(s, m, "dlogd_sink_errors", NULL, "Failures of the sink.",
		 of_errors);
	put_sink(s, m, "dlogd_sink_connects", NULL, "Connections made.",
		 of_connects);
}

static void put_forwarded(struct sink *s, struct monitor *m, const char *name,
			  const char *unit, const char *help,
			  uint64_t (*value)(const struct sink_stats *st))
{
	struct sink_stats st, one;

	family(s, name, "counter", unit, help);
	for (size_t i = 0; forward_stats(m, i, &st) > 0; i++)
		for (struct guest *g = m->guests; g; g = g->next) {
			if (forward_guest_stats(m, i, g, &one) <= 0)
				continue;
			sink_printf(s, "%s_total{", name);
			label(s, "guest", g->name);
			sink_puts(s, ",");
			label(s, "sink", st.name);
			sink_printf(s, "} %" PRIu64 "\n", value(&one));
		}
}

/* ---- incidents, dlogd itself ---- */

static void put_incidents(struct sink *s, struct monitor *m)
{
	uint64_t n = 0, bytes = 0;

	for (const struct incident *inc = incidents_list(m); inc;
	     inc = inc->next) {
		n++;
		bytes += inc->bundle ? inc->bytes : 0;
	}
	family(s, "dlogd_incidents", "gauge", NULL,
	       "Incidents that are remembered.");
	sink_printf(s, "dlogd_incidents %" PRIu64 "\n", n);
	family(s, "dlogd_bundles_bytes", "gauge", "bytes",
	       "Size of their bundles.");
	sink_printf(s, "dlogd_bundles_bytes %" PRIu64 "\n", bytes);
}

static uint64_t open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	uint64_t n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n > 3 ? n - 3 : 0; /* ".", "..", the folder's own */
}

static uint64_t resident(void)
{
	unsigned long size = 0, pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f && fscanf(f, "%lu %lu", &size, &pages) != 2)
		pages = 0;
	if (f)
		fclose(f);
	return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void put_process(struct sink *s, struct monitor *m)
{
	struct rusage ru = { 0 };

	getrusage(RUSAGE_SELF, &ru);
	family(s, "process_cpu_seconds", "counter", "seconds",
	       "CPU time used.");
	sink_printf(s, "process_cpu_seconds_total %lld.%06ld\n",
		    (long long)ru.ru_utime.tv_sec + ru.ru_stime.tv_sec +
			    (ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) /
				    1000000,
		    (ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) % 1000000);
	family(s, "process_start_time_seconds", "gauge", "seconds",
	       "When it was started, since 1970.");
	sink_printf(s, "process_start_time_seconds %" PRIu64 ".%03" PRIu64 "\n",
		    m->started / NS_PER_S, m->started % NS_PER_S / 1000000);
	family(s, "process_resident_memory_bytes", "gauge", "bytes",
	       "Memory in use.");
	sink_printf(s, "process_resident_memory_bytes %" PRIu64 "\n",
		    resident());
	family(s, "process_open_fds", "gauge", NULL, "Open files.");
	sink_printf(s, "process_open_fds %" PRIu64 "\n", open_files());
}

void metrics_put(struct sink *s, struct monitor *m)
{
	family(s, "dlogd_build", "info", NULL, "The program's version.");
	sink_puts(s, "dlogd_build_info{version=\"" DLOG_VERSION "\"} 1\n");
	put_states(s, m);
	put_pulses(s, m);
	put_events(s, m);
	put_records(s, m);
	put_sinks(s, m);
	put_forwarded(s, m, "dlogd_guest_forwarded_records", NULL,
		      "Records of the guest that a sink took.", of_records);
	put_forwarded(s, m, "dlogd_guest_forwarded_bytes", "bytes",
		      "Bytes of the guest that a sink took.", of_bytes);
	put_forwarded(
		s, m, "dlogd_guest_missed", NULL,
		"Records overwritten before a sink took them, or too large for it.",
		of_missed);
	put_incidents(s, m);
	put_process(s, m);
	sink_puts(s, "# EOF\n");
}
