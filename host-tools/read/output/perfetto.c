// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * perfetto.c - one boot as a trace for ui.perfetto.dev and Perfetto's trace
 * processor: a stream of TracePacket messages.
 *
 * sched_switch, sched_waking, sched_wakeup and sched_wakeup_new become events
 * in an FtraceEventBundle of their CPU, as the kernel's own tracer gives them:
 * the trace processor then makes the CPU tracks, the slices and the states of
 * threads itself, which TrackEvent slices cannot say.  Everything else is an
 * instant of TrackEvent, on one track of each CPU for the log and one for
 * events, with its fields as debug annotations.  Not as generic ftrace events:
 * these are in no track, only in a table.  Not as AndroidLogPacket: it has
 * fewer levels and no CPU.
 *
 * The guest's clock stands as BOOTTIME, the only clock that bundles have
 * without a translation; a ClockSnapshot at the first and at the last record
 * ties it to the wall clock.  A second boot would begin at 0 again: one trace
 * holds one.
 *
 * Field numbers are those of protos/perfetto in Perfetto's sources, each
 * block below with its file there.  What is published there never changes
 * its number.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "../read.h"
#include "event.h"
#include "lane.h"
#include "proto.h"

/* trace/trace.proto, trace/trace_packet.proto */
enum { TRACE_PACKET = 1 };

enum packet {
	PACKET_FTRACE_EVENTS = 1,
	PACKET_CLOCK_SNAPSHOT = 6,
	PACKET_TIMESTAMP = 8,
	PACKET_SEQUENCE_ID = 10,
	PACKET_TRACK_EVENT = 11,
	PACKET_INTERNED_DATA = 12,
	PACKET_SEQUENCE_FLAGS = 13,
	PACKET_SYSTEM_INFO = 45,
	PACKET_DEFAULTS = 59,
	PACKET_TRACK_DESCRIPTOR = 60,
	PACKET_FIRST_ON_SEQUENCE = 87,
};

enum { FLAG_STATE_CLEARED = 1, FLAG_NEEDS_STATE = 2 };

/* trace/trace_packet_defaults.proto */
enum { DEFAULTS_CLOCK_ID = 58 };

/* trace/clock_snapshot.proto, common/builtin_clock.proto */
enum { SNAPSHOT_CLOCK = 1, SNAPSHOT_PRIMARY = 2 };
enum { CLOCK_ID = 1, CLOCK_TIMESTAMP = 2 };
enum { BUILTIN_REALTIME = 1, BUILTIN_BOOTTIME = 6 };

/* common/system_info.proto */
enum { SYSTEM_UTSNAME = 1 };
enum { UTSNAME_SYSNAME = 1, UTSNAME_RELEASE = 3, UTSNAME_MACHINE = 4 };

/* trace/interned_data/interned_data.proto; each entry the same two */
enum { INTERNED_CATEGORY = 1, INTERNED_NAME = 2, INTERNED_ANNOTATION = 3 };
enum { INTERNED_IID = 1, INTERNED_TEXT = 2 };

/* trace/track_event/track_descriptor.proto */
enum {
	TRACK_UUID = 1,
	TRACK_NAME = 2,
	TRACK_PARENT = 5,
	TRACK_ORDERING = 11,
	TRACK_RANK = 12,
};

enum { ORDERING_EXPLICIT = 3 };

/* trace/track_event/track_event.proto */
enum {
	EVENT_CATEGORY_IID = 3,
	EVENT_ANNOTATION = 4,
	EVENT_TYPE = 9,
	EVENT_NAME_IID = 10,
	EVENT_TRACK = 11,
	EVENT_NAME = 23,
};

enum { TYPE_INSTANT = 3 };

/* trace/track_event/debug_annotation.proto */
enum {
	ANNOTATION_NAME_IID = 1,
	ANNOTATION_UINT = 3,
	ANNOTATION_INT = 4,
	ANNOTATION_STRING = 6,
	ANNOTATION_POINTER = 7,
};

/* trace/ftrace/ftrace_event_bundle.proto, ftrace_event.proto, sched.proto */
enum { BUNDLE_CPU = 1, BUNDLE_EVENT = 2 };
enum { FTRACE_TIMESTAMP = 1, FTRACE_PID = 2 };
enum { FTRACE_CPU_MAX = 1024 }; /* kMaxCpuCount of ftrace_tokenizer.cc */

static const struct sched_event {
	const char *name;
	uint32_t number; /* in FtraceEvent */
	struct sched_field {
		const char *name;
		uint32_t number;
		bool text;
	} field[7];
} sched_events[] = {
	{ "sched_switch",
	  4,
	  { { "prev_comm", 1, true },
	    { "prev_pid", 2, false },
	    { "prev_prio", 3, false },
	    { "prev_state", 4, false },
	    { "next_comm", 5, true },
	    { "next_pid", 6, false },
	    { "next_prio", 7, false } } },
	{ "sched_wakeup",
	  17,
	  { { "comm", 1, true },
	    { "pid", 2, false },
	    { "prio", 3, false },
	    { "target_cpu", 5, false } } },
	{ "sched_waking",
	  20,
	  { { "comm", 1, true },
	    { "pid", 2, false },
	    { "prio", 3, false },
	    { "target_cpu", 5, false } } },
	{ "sched_wakeup_new",
	  114,
	  { { "comm", 1, true },
	    { "pid", 2, false },
	    { "prio", 3, false },
	    { "target_cpu", 5, false } } },
};

#define NR_SCHED (sizeof(sched_events) / sizeof(*sched_events))
#define SCHED_FIELDS 7u

/* Numbers of our own: any will do that differ. */
enum { SEQUENCE = 1 };
enum { UUID_ROOT = 1, UUID_RINGS = 16 }; /* two for each ring */

#define KINDS (DLOG_TYPE_KIND(UINT32_MAX) + 1)

/* Names of annotations that are not fields of events; with a blank where they
 * stand beside fields, whose names have none. */
enum name {
	NAME_LEVEL = 1,
	NAME_FACILITY,
	NAME_CALLER,
	NAME_DOUBT,
	NAME_TEXT,
	NAME_AS_TEXT,
	NAME_THREAD,
	NAME_OVERWRITTEN,
	NAME_TORN,
	NAME_CORRUPT,
	NAME_DROPPED,
	NAME_FIELDS, /* those of events, from here on */
};

static const char *const names[] = {
	[NAME_LEVEL] = "level",	       [NAME_FACILITY] = "facility",
	[NAME_CALLER] = "caller",      [NAME_DOUBT] = "doubt",
	[NAME_TEXT] = "text",	       [NAME_AS_TEXT] = "as text",
	[NAME_THREAD] = "thread name", [NAME_OVERWRITTEN] = "overwritten",
	[NAME_TORN] = "torn",	       [NAME_CORRUPT] = "corrupt",
	[NAME_DROPPED] = "dropped",
};

/* Categories: of kinds (a record may be of any, known or not), then these. */
enum {
	CATEGORY_KIND = 1,
	CATEGORY_LOSS = CATEGORY_KIND + KINDS,
	CATEGORY_EVENTS
};

/* The name of an instant is what the UI draws: the first line, not more. */
#define NAME_MAX_LEN 200u

/* What was made of an event type when its first record came. */
struct known_type {
	bool seen;
	uint32_t first_name; /* of its fields' annotations */
	const struct sched_event *sched;
	int sched_field[SCHED_FIELDS];
};

struct perfetto {
	struct sink *out;
	struct sink packet; /* the one being made */
	size_t open; /* where it began */
	struct source *src;
	uint32_t boot;
	struct event_decoder *dec;
	struct lane *lanes;
	struct dlog_loss *loss;
	int nr_loss;
	uint8_t *tracks; /* of each ring: bit 0 log, bit 1 events are there */
	struct known_type *type; /* of each event id */
	uint32_t next_name;
	bool begun;
	uint64_t last_time;
};

enum track { TRACK_LOG = 0, TRACK_EVENTS = 1 };

/* ---- packets ---- */

static struct sink *packet_begin(struct perfetto *p)
{
	p->packet.len = 0;
	p->open = proto_begin(&p->packet, TRACE_PACKET);
	proto_uint(&p->packet, PACKET_SEQUENCE_ID, SEQUENCE);
	return &p->packet;
}

static void packet_end(struct perfetto *p)
{
	proto_end(&p->packet, p->open);
	if (p->packet.error)
		p->out->error = p->packet.error;
	else
		sink_put(p->out, p->packet.buf, p->packet.len);
}

static void put_clock(struct sink *s, uint32_t id, uint64_t ns)
{
	size_t at = proto_begin(s, SNAPSHOT_CLOCK);

	proto_uint(s, CLOCK_ID, id);
	proto_uint(s, CLOCK_TIMESTAMP, ns);
	proto_end(s, at);
}

static void put_clocks(struct perfetto *p, uint64_t time, uint64_t real)
{
	struct sink *s = packet_begin(p);
	size_t at = proto_begin(s, PACKET_CLOCK_SNAPSHOT);

	put_clock(s, BUILTIN_BOOTTIME, time);
	if (real)
		put_clock(s, BUILTIN_REALTIME, real);
	proto_uint(s, SNAPSHOT_PRIMARY, BUILTIN_BOOTTIME);
	proto_end(s, at);
	packet_end(p);
}

/* The trace processor reads prev_state as this kernel means it. */
static void put_system(struct perfetto *p, const struct dlog_boot_entry *b)
{
	struct sink *s = packet_begin(p);
	size_t at = proto_begin(s, PACKET_SYSTEM_INFO);
	size_t name = proto_begin(s, SYSTEM_UTSNAME);

	proto_text(s, UTSNAME_SYSNAME, "Linux");
	proto_text(s, UTSNAME_RELEASE, b->release);
	proto_text(s, UTSNAME_MACHINE, b->machine);
	proto_end(s, name);
	proto_end(s, at);
	packet_end(p);
}

static void intern(struct sink *s, uint32_t table, uint64_t iid,
		   const char *text)
{
	size_t at = proto_begin(s, table);

	proto_uint(s, INTERNED_IID, iid);
	proto_text(s, INTERNED_TEXT, text);
	proto_end(s, at);
}

/* What later packets of the sequence rely on. */
static void put_defaults(struct perfetto *p)
{
	struct sink *s = packet_begin(p);
	size_t at;

	proto_uint(s, PACKET_SEQUENCE_FLAGS, FLAG_STATE_CLEARED);
	proto_uint(s, PACKET_FIRST_ON_SEQUENCE, 1);
	at = proto_begin(s, PACKET_DEFAULTS);
	proto_uint(s, DEFAULTS_CLOCK_ID, BUILTIN_BOOTTIME);
	proto_end(s, at);
	at = proto_begin(s, PACKET_INTERNED_DATA);
	for (uint32_t i = NAME_LEVEL; i < NAME_FIELDS; i++)
		intern(s, INTERNED_ANNOTATION, i, names[i]);
	for (uint32_t kind = 0; kind < KINDS; kind++)
		intern(s, INTERNED_CATEGORY, CATEGORY_KIND + kind,
		       dlog_kind_name(kind));
	intern(s, INTERNED_CATEGORY, CATEGORY_LOSS, "loss");
	proto_end(s, at);
	packet_end(p);
}

/* ---- tracks ---- */

static uint64_t track_uuid(uint32_t ring, enum track track)
{
	return UUID_RINGS + 2 * (uint64_t)ring + track;
}

static void put_root(struct perfetto *p)
{
	struct sink *s = packet_begin(p), name = { .fd = -1 };
	size_t at = proto_begin(s, PACKET_TRACK_DESCRIPTOR);

	sink_printf(&name, "%s, boot %u", p->src->name, p->boot);
	proto_uint(s, TRACK_UUID, UUID_ROOT);
	proto_string(s, TRACK_NAME, name.buf, name.len);
	proto_uint(s, TRACK_ORDERING, ORDERING_EXPLICIT);
	proto_end(s, at);
	packet_end(p);
	sink_free(&name);
}

/* Only tracks with something in them are told of. */
static void need_track(struct perfetto *p, uint32_t ring, enum track track)
{
	const char *what = track == TRACK_LOG ? "log" : "events";
	char name[sizeof(p->lanes->name) + 8];
	struct sink *s;
	size_t at;

	if (p->tracks[ring] & 1u << track)
		return;
	p->tracks[ring] |= (uint8_t)(1u << track);
	snprintf(name, sizeof(name), "%s %s", p->lanes[ring].name, what);
	s = packet_begin(p);
	at = proto_begin(s, PACKET_TRACK_DESCRIPTOR);
	proto_uint(s, TRACK_UUID, track_uuid(ring, track));
	proto_uint(s, TRACK_PARENT, UUID_ROOT);
	proto_text(s, TRACK_NAME, name);
	proto_uint(s, TRACK_RANK, 2 * ring + track);
	proto_end(s, at);
	packet_end(p);
}

/* ---- instants ---- */

static size_t instant_begin(struct perfetto *p, uint32_t ring, enum track track,
			    uint64_t time, uint32_t category)
{
	struct sink *s;
	size_t at;

	need_track(p, ring, track);
	s = packet_begin(p);
	proto_uint(s, PACKET_TIMESTAMP, time);
	proto_uint(s, PACKET_SEQUENCE_FLAGS, FLAG_NEEDS_STATE);
	at = proto_begin(s, PACKET_TRACK_EVENT);
	proto_uint(s, EVENT_CATEGORY_IID, category);
	proto_uint(s, EVENT_TYPE, TYPE_INSTANT);
	proto_uint(s, EVENT_TRACK, track_uuid(ring, track));
	return at;
}

static void instant_end(struct perfetto *p, size_t at)
{
	proto_end(&p->packet, at);
	packet_end(p);
}

static void annotate(struct sink *s, uint32_t name, uint32_t type, uint64_t v)
{
	size_t at = proto_begin(s, EVENT_ANNOTATION);

	proto_uint(s, ANNOTATION_NAME_IID, name);
	proto_uint(s, type, v);
	proto_end(s, at);
}

static void annotate_text(struct sink *s, uint32_t name, const void *text,
			  size_t len)
{
	size_t at = proto_begin(s, EVENT_ANNOTATION);

	proto_uint(s, ANNOTATION_NAME_IID, name);
	proto_string(s, ANNOTATION_STRING, text, len);
	proto_end(s, at);
}

/* Bytes of the first line, cut where no UTF-8 sequence is. */
static size_t name_len(const uint8_t *text, size_t len)
{
	const uint8_t *nl = memchr(text, '\n', len);
	size_t n = nl ? (size_t)(nl - text) : len;

	if (n > NAME_MAX_LEN)
		for (n = NAME_MAX_LEN; n && (text[n] & 0xc0) == 0x80;)
			n--;
	return n;
}

/* ---- records that are not events ---- */

static void put_log(struct perfetto *p, struct view *v,
		    const struct dlog_entry *e)
{
	char caller[ENTRY_CALLER];
	size_t len, n, at;
	const uint8_t *text = entry_text(e, &v->text, &len);
	struct sink *s = &p->packet;
	const char *level = dlog_level_name(e->level), *facility;

	at = instant_begin(p, e->ring, TRACK_LOG, e->time,
			   CATEGORY_KIND + e->kind);
	n = name_len(text, len);
	proto_string(s, EVENT_NAME, text, n);
	annotate_text(s, NAME_LEVEL, level, strlen(level));
	if (entry_is_text(e)) {
		facility = dlog_facility_name(e->facility);
		annotate_text(s, NAME_FACILITY, facility, strlen(facility));
		n = entry_caller(caller, e->caller);
		if (n)
			annotate_text(s, NAME_CALLER, caller, n);
	}
	if (e->doubt)
		annotate_text(s, NAME_DOUBT, dlog_doubt_name(e->doubt),
			      strlen(dlog_doubt_name(e->doubt)));
	if (name_len(text, len) < len)
		annotate_text(s, NAME_TEXT, text, len);
	instant_end(p, at);
}

/* ---- events ---- */

static const struct sched_event *find_sched(const struct event_type *t)
{
	if (!t->ftrace || strcmp(t->system, "sched"))
		return NULL;
	for (size_t i = 0; i < NR_SCHED; i++)
		if (!strcmp(t->name, sched_events[i].name))
			return &sched_events[i];
	return NULL;
}

static void learn_sched(struct known_type *k, const struct event_type *t)
{
	k->sched = find_sched(t);
	for (size_t i = 0; k->sched && i < SCHED_FIELDS; i++) {
		const struct sched_field *f = &k->sched->field[i];
		int n = f->name ? event_field_find(t, f->name) : -1;

		k->sched_field[i] = n;
		/* A format that says otherwise is not the kernel's. */
		if (n >= 0 && f->text != (t->field[n].type == EVENT_STRING))
			k->sched = NULL;
	}
}

/* The first record of a type: give names to what it has. */
static struct known_type *know_type(struct perfetto *p,
				    const struct event_type *t)
{
	struct known_type *k = &p->type[t->id];
	struct sink *s;
	size_t at;

	if (k->seen)
		return k;
	k->seen = true;
	k->first_name = p->next_name;
	p->next_name += t->nr_fields;
	learn_sched(k, t);
	s = packet_begin(p);
	proto_uint(s, PACKET_SEQUENCE_FLAGS, FLAG_NEEDS_STATE);
	at = proto_begin(s, PACKET_INTERNED_DATA);
	intern(s, INTERNED_CATEGORY, CATEGORY_EVENTS + t->id,
	       *t->system ? t->system : "event");
	intern(s, INTERNED_NAME, t->id, t->name);
	for (uint32_t i = 0; i < t->nr_fields; i++)
		intern(s, INTERNED_ANNOTATION, k->first_name + i,
		       t->field[i].name);
	proto_end(s, at);
	packet_end(p);
	return k;
}

static void put_sched_fields(struct perfetto *p, const struct known_type *k,
			     const struct event_type *t,
			     const struct dlog_entry *e)
{
	struct sink *s = &p->packet;
	struct event_data v;

	for (size_t i = 0; i < SCHED_FIELDS; i++) {
		const struct sched_field *f = &k->sched->field[i];

		if (k->sched_field[i] < 0)
			continue;
		event_get(t, e, (uint32_t)k->sched_field[i], &v);
		if (!v.there)
			continue;
		if (f->text)
			proto_string(s, f->number, v.data, v.len);
		else
			proto_uint(s, f->number, v.number);
	}
}

static void put_sched(struct perfetto *p, const struct known_type *k,
		      const struct event_type *t, const struct dlog_entry *e)
{
	int64_t pid = event_pid(p->dec, e);
	struct sink *s = packet_begin(p);
	size_t bundle, event, fields;

	bundle = proto_begin(s, PACKET_FTRACE_EVENTS);
	proto_uint(s, BUNDLE_CPU, p->lanes[e->ring].cpu);
	event = proto_begin(s, BUNDLE_EVENT);
	proto_uint(s, FTRACE_TIMESTAMP, e->time);
	proto_uint(s, FTRACE_PID, pid < 0 ? 0 : (uint32_t)pid);
	fields = proto_begin(s, k->sched->number);
	put_sched_fields(p, k, t, e);
	proto_end(s, fields);
	proto_end(s, event);
	proto_end(s, bundle);
	packet_end(p);
}

/* Which CPU's it was must be known. */
static bool is_sched(const struct perfetto *p, const struct known_type *k,
		     const struct dlog_entry *e)
{
	const struct lane *l = &p->lanes[e->ring];

	return k->sched && l->nr_cpus <= 1 && l->cpu < FTRACE_CPU_MAX;
}

static void put_field(struct perfetto *p, const struct event_type *t,
		      const struct known_type *k, const struct dlog_entry *e,
		      uint32_t i)
{
	uint32_t name = k->first_name + i;
	struct sink *s = &p->packet, hex = { .fd = -1 };
	struct event_data v;

	event_get(t, e, i, &v);
	if (!v.there)
		return;
	switch (t->field[i].type) {
	case EVENT_UINT:
		annotate(s, name, ANNOTATION_UINT, v.number);
		break;
	case EVENT_INT:
		annotate(s, name, ANNOTATION_INT, v.number);
		break;
	case EVENT_HEX:
		annotate(s, name, ANNOTATION_POINTER, v.number);
		break;
	case EVENT_STRING:
		annotate_text(s, name, v.data, v.len);
		break;
	case EVENT_BYTES:
		sink_hex(&hex, v.data, v.len);
		annotate_text(s, name, hex.buf, hex.len);
		sink_free(&hex);
		break;
	}
}

static void put_event(struct perfetto *p, const struct dlog_entry *e,
		      const struct event_type *t)
{
	const struct known_type *k = know_type(p, t);
	const char *comm, *text;
	size_t at, len;

	if (is_sched(p, k, e)) {
		put_sched(p, k, t, e);
		return;
	}
	at = instant_begin(p, e->ring, TRACK_EVENTS, e->time,
			   CATEGORY_EVENTS + t->id);
	proto_uint(&p->packet, EVENT_NAME_IID, t->id);
	for (uint32_t i = 0; i < t->nr_fields; i++)
		put_field(p, t, k, e, i);
	comm = event_comm(p->dec, e->boot, event_pid(p->dec, e));
	if (comm)
		annotate_text(&p->packet, NAME_THREAD, comm, strlen(comm));
	/* As trace-cmd report has it: with flags and functions by name. */
	text = event_text(p->dec, e, &len);
	annotate_text(&p->packet, NAME_AS_TEXT, text, len);
	instant_end(p, at);
}

/* ---- loss ---- */

static void put_loss(struct perfetto *p, const struct dlog_loss *l,
		     uint64_t time)
{
	struct sink *s = &p->packet;
	size_t at;

	if (!(l->overwritten | l->torn | l->corrupt | l->dropped))
		return;
	at = instant_begin(p, l->ring, TRACK_LOG, time, CATEGORY_LOSS);
	proto_text(s, EVENT_NAME, "records of this boot that are lost");
	annotate(s, NAME_OVERWRITTEN, ANNOTATION_UINT, l->overwritten);
	annotate(s, NAME_TORN, ANNOTATION_UINT, l->torn);
	annotate(s, NAME_CORRUPT, ANNOTATION_UINT, l->corrupt);
	annotate(s, NAME_DROPPED, ANNOTATION_UINT, l->dropped);
	instant_end(p, at);
}

/* Before the first record of @ring, whose place in time says most. */
static void tell_loss(struct perfetto *p, uint32_t ring, uint64_t time)
{
	for (int i = 0; i < p->nr_loss; i++) {
		if (p->loss[i].boot != p->boot || p->loss[i].ring != ring)
			continue;
		put_loss(p, &p->loss[i], time);
		p->loss[i].boot = 0;
	}
}

/* ---- the output ---- */

static const struct dlog_boot_entry *find_boot(const struct source *src,
					       uint32_t boot)
{
	for (int i = 0; i < src->nr_boots; i++)
		if (src->boots[i].boot == boot)
			return &src->boots[i];
	return NULL;
}

static int perfetto_begin(struct view *v)
{
	struct perfetto *p = calloc(1, sizeof(*p));
	const struct dlog_boot_entry *b;

	v->state = p;
	if (!p)
		return fail(&v->err, -ENOMEM, "not enough memory");
	p->out = v->out;
	p->packet.fd = -1;
	p->src = &v->src[0];
	p->boot = v->boot;
	p->next_name = NAME_FIELDS;
	p->dec = event_decoder(p->src->d);
	p->lanes = lanes_new(p->src->d, &p->src->info);
	p->tracks = calloc(p->src->info.nr_rings, 1);
	p->type = calloc(DLOG_EVENT_MAX + 1, sizeof(*p->type));
	if (!p->dec || !p->lanes || !p->tracks || !p->type)
		return fail(&v->err, -ENOMEM, "not enough memory");
	p->nr_loss = dlog_get_loss(p->src->d, &p->loss);
	put_defaults(p);
	b = find_boot(p->src, p->boot);
	if (b && b->known)
		put_system(p, b);
	put_root(p);
	return p->out->error;
}

static int perfetto_entry(struct view *v, struct source *src,
			  const struct dlog_entry *e)
{
	struct perfetto *p = v->state;
	const struct event_type *t = NULL;

	(void)src;
	if (!p->begun)
		put_clocks(p, e->time, e->real);
	p->begun = true;
	p->last_time = e->time;
	tell_loss(p, e->ring, e->time);
	if (e->kind == DLOG_KIND_EVENT) {
		event_learn(p->dec, e);
		t = event_type(p->dec, e->arg);
	}
	if (t)
		put_event(p, e, t);
	else
		put_log(p, v, e);
	return p->out->error;
}

static int perfetto_end(struct view *v, bool ok)
{
	struct perfetto *p = v->state;

	if (!p)
		return 0;
	for (int i = 0; ok && p->begun && i < p->nr_loss; i++)
		if (p->loss[i].boot == p->boot)
			put_loss(p, &p->loss[i], p->last_time);
	if (ok && p->begun)
		put_clocks(p, p->last_time,
			   dlog_real_time(p->src->d, p->boot, p->last_time));
	sink_free(&p->packet);
	free(p->lanes);
	free(p->loss);
	free(p->tracks);
	free(p->type);
	free(p);
	return 0;
}

const struct output output_perfetto = {
	.name = "perfetto",
	.help = "one boot as a trace for ui.perfetto.dev",
	.target = OUTPUT_BYTES,
	.one_boot = true,
	.begin = perfetto_begin,
	.entry = perfetto_entry,
	.end = perfetto_end,
};
