// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * html.c - the last seconds of a boot as one HTML file that needs nothing
 * else: timeline, table, search.
 *
 * What the guest wrote is in the file once, as JSON in a script element that
 * no browser runs, with '<', '>', '&' and the two line separators of Unicode
 * escaped: nothing in it can end that element.  report.js makes text and
 * pixels of it.  A Content-Security-Policy lets nothing run or load but the
 * style and the script that carry this file's nonce.
 *
 * The style is dlogd's, and report.css behind it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "../read.h"
#include "event.h"
#include "lane.h"

#define ASSET(symbol, file)                                                    \
	__asm__(".pushsection .rodata\n" #symbol ":\n"                         \
		".incbin \"host-tools/" file "\"\n" #symbol "_end:\n"          \
		".byte 0\n"                                                    \
		".popsection\n");                                              \
	extern const char symbol[] __attribute__((visibility("hidden")));      \
	extern const char symbol##_end[] __attribute__((visibility("hidden")))

ASSET(report_base, "monitor/web/style.css");
ASSET(report_style, "read/output/report.css");
ASSET(report_body, "read/output/report.html");
ASSET(report_script, "read/output/report.js");

#define LAST_NS UINT64_C(10000000000)
#define LAST_LINES 200000

struct html {
	struct sink *out;
	struct sink text; /* JSON, before it is escaped */
	struct json j;
	struct source *src;
	uint32_t boot;
	struct event_decoder *dec;
	struct lane *lanes;
	char nonce[33];
	uint64_t first, time; /* of the first record, of the one before */
	uint64_t rows;
	/* Events have numbers in the order in which they appear. */
	uint16_t number[DLOG_EVENT_MAX + 1]; /* 0: not yet */
	uint16_t id[DLOG_EVENT_MAX + 1]; /* of event number - 1 */
	uint16_t nr_events;
	int sched[DLOG_EVENT_MAX + 1][4]; /* fields of sched_switch */
};

/* What @c is within a string in a script element, or NULL. */
static const char *script_escape(char c)
{
	switch (c) {
	case '<':
		return "\\u003c";
	case '>':
		return "\\u003e";
	case '&':
		return "\\u0026";
	default:
		return NULL;
	}
}

/* Hand over the JSON that is there.  Those characters are in strings only. */
static void pass_on(struct html *h)
{
	const char *p = h->text.buf, *end = p + h->text.len, *from = p;

	for (; p < end; p++) {
		const char *to = script_escape(*p);
		size_t n = 1;

		/* U+2028, U+2029: a line's end for JavaScript */
		if (end - p >= 3 && !memcmp(p, "\xe2\x80", 2) &&
		    (p[2] == '\xa8' || p[2] == '\xa9')) {
			to = p[2] & 1 ? "\\u2029" : "\\u2028";
			n = 3;
		}
		if (!to)
			continue;
		sink_put(h->out, from, (size_t)(p - from));
		sink_puts(h->out, to);
		p += n - 1;
		from = p + 1;
	}
	sink_put(h->out, from, (size_t)(end - from));
	h->text.len = 0;
	if (h->text.error)
		h->out->error = h->text.error;
}

/* ---- the frame ---- */

static int make_nonce(struct html *h)
{
	struct sink s = { .fd = -1 };
	uint8_t random[16];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return -errno;
	sink_hex(&s, random, sizeof(random));
	if (!s.error)
		memcpy(h->nonce, s.buf, sizeof(h->nonce) - 1);
	sink_free(&s);
	return s.error;
}

static void put_asset(struct sink *s, const char *from, const char *end)
{
	sink_put(s, from, (size_t)(end - from));
}

static void put_head(struct html *h)
{
	struct sink *s = h->out;

	sink_printf(s,
		    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n"
		    "<meta charset=\"utf-8\">\n"
		    "<meta http-equiv=\"Content-Security-Policy\" content=\""
		    "default-src 'none'; script-src 'nonce-%s'; style-src "
		    "'nonce-%s'; base-uri 'none'; form-action 'none'\">\n"
		    "<meta name=\"referrer\" content=\"no-referrer\">\n"
		    "<meta name=\"viewport\" content=\"width=device-width, "
		    "initial-scale=1\">\n<title>dlog report</title>\n"
		    "<style nonce=\"%s\">\n",
		    h->nonce, h->nonce, h->nonce);
	put_asset(s, report_base, report_base_end);
	put_asset(s, report_style, report_style_end);
	sink_puts(s, "</style>\n</head>\n<body>\n");
	put_asset(s, report_body, report_body_end);
	sink_puts(s, "<footer>made by dlog-read " DLOG_VERSION "</footer>\n"
		     "<script id=\"data\" type=\"application/json\">\n");
}

static void put_tail(struct html *h)
{
	sink_printf(h->out, "\n</script>\n<script nonce=\"%s\">\n", h->nonce);
	put_asset(h->out, report_script, report_script_end);
	sink_puts(h->out, "</script>\n</body>\n</html>\n");
}

/* ---- what is in front of the records ---- */

/* What --stats or --list-boots -o json print, as one value or an array. */
static void put_table(struct html *h, const char *key, bool array,
		      int (*show)(struct view *v, struct source *src))
{
	const struct format fmt = { .json = true };
	struct sink lines = { .fd = -1 };
	struct view v = { .out = &lines,
			  .dir = -1,
			  .text = { .fd = -1 },
			  .fmt = &fmt,
			  .src = h->src,
			  .nr_src = 1 };

	show(&v, h->src);
	if (lines.len)
		lines.len--; /* the last line feed */
	for (size_t i = 0; i < lines.len; i++)
		if (lines.buf[i] == '\n')
			lines.buf[i] = ','; /* strings have none */
	json_key(&h->j, key);
	if (array)
		json_open(&h->j, '[');
	sink_put(&h->text, lines.buf, lines.len);
	if (array)
		json_close(&h->j, ']');
	h->j.comma = true;
	if (lines.error)
		h->text.error = lines.error;
	sink_free(&v.text);
	sink_free(&lines);
}

static void put_names(struct html *h)
{
	struct json *j = &h->j;
	struct dlog_live live;

	/* A guest that has ended beats no more, and is not stale for it. */
	dlog_get_live(h->src->d, &live);
	json_key(j, "lives");
	json_bool(j, dlog_status_lives(live.status));
	json_key(j, "ended");
	json_open(j, '[');
	for (int i = 0; i < h->src->nr_boots; i++)
		json_text(j, boot_end(&h->src->boots[i],
				      i == h->src->nr_boots - 1));
	json_close(j, ']');
	json_key(j, "lanes");
	json_open(j, '[');
	for (uint32_t ring = 0; ring < h->src->info.nr_rings; ring++)
		json_text(j, h->lanes[ring].name);
	json_close(j, ']');
	/* Lanes that are shown without a record, too. */
	json_key(j, "cpus");
	json_open(j, '[');
	for (uint32_t ring = 0; ring < h->src->info.nr_rings; ring++)
		json_u64(j, h->lanes[ring].nr_cpus);
	json_close(j, ']');
	json_key(j, "kinds");
	json_open(j, '[');
	/* A record may be of any kind, known or not. */
	for (uint32_t kind = 0; kind <= DLOG_TYPE_KIND(UINT32_MAX); kind++)
		json_text(j, dlog_kind_name(kind));
	json_close(j, ']');
}

static int html_begin(struct view *v)
{
	struct html *h = calloc(1, sizeof(*h));
	int ret;

	v->state = h;
	if (!h)
		return fail(&v->err, -ENOMEM, "not enough memory");
	h->out = v->out;
	h->text.fd = -1;
	h->j.s = &h->text;
	h->src = &v->src[0];
	h->boot = v->boot;
	h->dec = event_decoder(h->src->d);
	h->lanes = lanes_new(h->src->d, &h->src->info);
	if (!h->dec || !h->lanes)
		return fail(&v->err, -ENOMEM, "not enough memory");
	ret = make_nonce(h);
	if (ret)
		return fail(&v->err, ret, "no random number: %s",
			    strerror(-ret));
	put_head(h);
	json_open(&h->j, '{');
	json_key(&h->j, "boot");
	json_u64(&h->j, h->boot);
	put_table(h, "stats", false, show_stats);
	put_table(h, "boots", true, show_boots);
	put_names(h);
	json_key(&h->j, "rows");
	json_open(&h->j, '[');
	pass_on(h);
	return h->out->error;
}

/* ---- records ---- */

static const char *const switch_field[4] = { "prev_pid", "prev_comm",
					     "next_pid", "next_comm" };

/* Number of an event, from 1; 0: its type is not known. */
static uint16_t event_number(struct html *h, const struct event_type *t)
{
	if (!t)
		return 0;
	if (h->number[t->id])
		return h->number[t->id];
	h->id[h->nr_events++] = (uint16_t)t->id;
	h->number[t->id] = h->nr_events;
	h->sched[t->id][0] = -1;
	if (!t->ftrace || strcmp(t->system, "sched") ||
	    strcmp(t->name, "sched_switch"))
		return h->nr_events;
	for (int i = 0; i < 4; i++) {
		int n = event_field_find(t, switch_field[i]);

		if (n < 0 || (t->field[n].type == EVENT_STRING) != (i & 1)) {
			h->sched[t->id][0] = -1;
			break;
		}
		h->sched[t->id][i] = n;
	}
	return h->nr_events;
}

/* [prev_pid, prev_comm, next_pid, next_comm]: what the timeline draws. */
static void put_switch(struct html *h, const struct event_type *t,
		       const struct dlog_entry *e)
{
	struct event_data v;

	/* Of several CPUs in one ring nobody knows which one it was. */
	if (!t || h->sched[t->id][0] < 0 || h->lanes[e->ring].nr_cpus > 1)
		return;
	json_open(&h->j, '[');
	for (int i = 0; i < 4; i++) {
		event_get(t, e, (uint32_t)h->sched[t->id][i], &v);
		if (i & 1)
			json_string(&h->j, v.there ? v.data : NULL,
				    v.there ? v.len : 0);
		else
			json_i64(&h->j, v.there ? (int32_t)v.number : 0);
	}
	json_close(&h->j, ']');
}

/* Who said it: "T12" as printk has it, "bash-12" for events. */
static void put_who(struct html *h, const struct dlog_entry *e, bool event)
{
	char text[ENTRY_CALLER];
	struct sink s = { .fd = -1 };
	const char *comm;
	int64_t pid;

	if (!event) {
		json_string(&h->j, text,
			    entry_is_text(e) ? entry_caller(text, e->caller)
					     : 0);
		return;
	}
	pid = event_pid(h->dec, e);
	comm = pid < 0 ? NULL : event_comm(h->dec, e->boot, pid);
	if (comm)
		sink_printf(&s, "%s-", comm);
	if (pid >= 0)
		sink_u64(&s, (uint64_t)pid);
	json_string(&h->j, s.buf, s.len);
	sink_free(&s);
}

static void put_text(struct html *h, const struct dlog_entry *e,
		     const uint8_t *text, size_t len)
{
	struct sink s = { .fd = -1 };

	if (!e->doubt) {
		json_string(&h->j, text, len);
		return;
	}
	sink_put(&s, text, len);
	sink_printf(&s, " [%s]", dlog_doubt_name(e->doubt));
	json_string(&h->j, s.buf, s.len);
	sink_free(&s);
}

/* [ns since the row before, ring, kind, level, event, who, text, switch] */
static int html_entry(struct view *v, struct source *src,
		      const struct dlog_entry *e)
{
	struct html *h = v->state;
	const struct event_type *t = NULL;
	const uint8_t *text;
	uint64_t before = h->time;
	size_t len;

	(void)src;
	if (e->kind == DLOG_KIND_EVENT)
		t = event_type(h->dec, e->arg);
	text = entry_text_alone(e, &v->text, &len);
	h->time = e->time;
	if (!h->rows)
		h->first = e->time;
	json_open(&h->j, '[');
	json_i64(&h->j, h->rows++ ? (int64_t)(e->time - before) : 0);
	json_u64(&h->j, e->ring);
	json_u64(&h->j, e->kind);
	json_u64(&h->j, e->level);
	json_i64(&h->j, (int64_t)event_number(h, t) - 1);
	put_who(h, e, t != NULL);
	put_text(h, e, text, len);
	put_switch(h, t, e);
	json_close(&h->j, ']');
	sink_putc(&h->text, '\n');
	pass_on(h);
	return h->out->error;
}

/* ---- what is behind them ---- */

static void put_number(struct html *h, const char *key, uint64_t v)
{
	char text[24];

	/* As text: more than a JavaScript number holds. */
	snprintf(text, sizeof(text), "%" PRIu64, v);
	json_key(&h->j, key);
	json_text(&h->j, text);
}

static void put_end(struct html *h, const struct view *v)
{
	json_close(&h->j, ']');
	json_key(&h->j, "events");
	json_open(&h->j, '[');
	for (uint16_t i = 0; i < h->nr_events; i++)
		json_event_name(&h->j, event_type(h->dec, h->id[i]));
	json_close(&h->j, ']');
	put_number(h, "base", h->first);
	put_number(h, "real",
		   h->rows ? dlog_real_time(h->src->d, h->boot, h->first) : 0);
	json_key(&h->j, "cut");
	json_bool(&h->j, v->lines > 0 && h->rows == (uint64_t)v->lines);
	json_close(&h->j, '}');
	pass_on(h);
	put_tail(h);
}

static int html_end(struct view *v, bool ok)
{
	struct html *h = v->state;
	int ret;

	if (!h)
		return 0;
	if (ok)
		put_end(h, v);
	ret = h->out->error;
	sink_free(&h->text);
	free(h->lanes);
	free(h);
	return ret;
}

const struct output output_html = {
	.name = "html",
	.help = "the last 10 s of a boot as a web page",
	.target = OUTPUT_BYTES,
	.one_boot = true,
	.last_ns = LAST_NS,
	.last_lines = LAST_LINES,
	.begin = html_begin,
	.entry = html_entry,
	.end = html_end,
};
