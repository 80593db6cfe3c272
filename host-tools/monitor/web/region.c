// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * region.c - what is in a region, for the page; in the worker's thread.
 *
 * Each call opens the region itself: nothing is shared with the thread that
 * watches it, and a region that was replaced meanwhile is the new one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "cli.h"
#include "web.h"

#define BOOTS_SHOWN 64u
#define LOSS_REGION (UINT64_C(256) << 20) /* larger ones take too long */
#define TAIL_BYTES 65536u /* of one answer */
#define TAIL_NS (NS_PER_S / 5) /* of reading, for its first answer */

/* ---- the last lines ---- */

struct line {
	uint32_t boot;
	uint8_t level;
	uint64_t time;
	char *text; /* raw guest bytes */
	size_t len;
};

struct lines {
	struct line line[WEB_LINES];
	uint64_t n; /* ever; line i is line[i % WEB_LINES] */
	uint64_t most; /* that are kept */
};

static void lines_free(struct lines *l)
{
	for (size_t i = 0; i < WEB_LINES; i++)
		free(l->line[i].text);
}

static void lines_add(struct lines *l, const struct dlog_entry *e,
		      struct sink *scratch)
{
	struct line *at = &l->line[l->n % l->most];
	size_t len;
	const uint8_t *text = entry_text(e, scratch, &len);

	if (len > WEB_LINE_MAX)
		len = WEB_LINE_MAX;
	free(at->text);
	*at = (struct line){ .boot = e->boot,
			     .level = e->level,
			     .time = e->time,
			     .text = malloc(len + 1),
			     .len = len };
	if (!at->text)
		return;
	memcpy(at->text, text, len);
	l->n++;
}

/*
 * What @r has now, the last @most of it.  A reader that follows may never come
 * to the end of a guest that writes as fast: it goes on behind @until.
 */
static void lines_read(struct lines *l, struct dlog_reader *r, uint64_t most,
		       uint64_t until, struct sink *scratch)
{
	struct dlog_entry e;

	*l = (struct lines){ .most = most };
	while (web_now() < until && dlog_reader_next(r, &e, 0) > 0)
		lines_add(l, &e, scratch);
}

static int last_reader(struct dlog_reader **out, struct dlog *d, uint64_t n,
		       unsigned int flags)
{
	int ret = dlog_reader_new(out, &d, 1, flags | DLOG_READER_LAST, NULL);

	if (!ret)
		ret = dlog_reader_set_last(*out, n);
	return ret < 0 ? ret : 0;
}

static const struct line *line_at(const struct lines *l, uint64_t i)
{
	return &l->line[i % l->most];
}

static uint64_t line_first(const struct lines *l)
{
	return l->n > l->most ? l->n - l->most : 0;
}

static const char *level_class(uint8_t level)
{
	return level <= 3 ? "l bad" : level == 4 ? "l warn" : "l";
}

static void line_html(struct sink *s, const struct line *l)
{
	sink_printf(s, "<div class=\"%s\"><span class=\"t\">",
		    level_class(l->level));
	text_stamp(s, l->time);
	sink_puts(s, "</span> ");
	html_text(s, l->text, l->len, false);
	sink_puts(s, "</div>\n");
}

static void boot_html(struct sink *s, uint32_t boot)
{
	sink_printf(s, "<div class=\"boot\">boot %u</div>\n", boot);
}

static void log_html(struct req *r, struct dlog *d)
{
	struct sink *s = &r->fresh;
	struct dlog_reader *reader = NULL;
	struct lines l = { .most = WEB_LINES };
	uint32_t boot = 0;

	if (!last_reader(&reader, d, WEB_LINES, 0))
		lines_read(&l, reader, WEB_LINES, UINT64_MAX, &r->tmp);
	dlog_reader_free(reader);
	sink_printf(s,
		    "<section><h2>Last lines</h2>\n<div id=\"log\" "
		    "class=\"log\" role=\"log\" aria-label=\"Log of the "
		    "guest\" tabindex=\"0\" data-tail=\"/guest/%s/tail\">\n",
		    r->name);
	for (uint64_t i = line_first(&l); i < l.n; i++) {
		if (line_at(&l, i)->boot != boot)
			boot_html(s, line_at(&l, i)->boot);
		boot = line_at(&l, i)->boot;
		line_html(s, line_at(&l, i));
	}
	sink_puts(s, "</div></section>\n");
	lines_free(&l);
}

/* ---- one guest's page ---- */

static void term(struct sink *s, const char *name, const char *text)
{
	sink_printf(s, "<dt>%s</dt><dd>", name);
	html_text(s, text, strlen(text), true);
	sink_puts(s, "</dd>\n");
}

static void region_html(struct req *r, struct dlog *d)
{
	struct sink *s = &r->fresh;
	struct dlog_info info;
	struct dlog_live live;
	char text[128];

	dlog_get_info(d, &info);
	dlog_get_live(d, &live);
	sink_puts(s, "<section><h2>Region</h2>\n<dl>\n");
	term(s, "File", r->path);
	if (info.label[0])
		term(s, "Label", info.label);
	term(s, "Size", cli_size(info.region_size).s);
	snprintf(text, sizeof(text), "%u, each %s", info.nr_rings,
		 cli_size(info.ring_size).s);
	term(s, "Rings", text);
	term(s, "Status", dlog_status_name(live.status));
	term(s, "Memory type", dlog_memtype_name(live.memtype));
	term(s, "Recording",
	     live.recording    ? "yes"
	     : live.stop_asked ? "no, the host asked it to stop"
			       : "no");
	sink_printf(s,
		    "</dl>\n<p><a href=\"/guest/%s/loss\">Count what was lost"
		    "</a> (reads the whole region)</p></section>\n",
		    r->name);
}

static void row_boot(struct rows *rs, const struct dlog_boot_entry *b)
{
	char key[16], date[32];

	snprintf(key, sizeof(key), "%u", b->boot);
	html_row(rs, key);
	cell_text(rs, "number", NULL, key, strlen(key));
	cell_text(rs, NULL, NULL, b->release, strnlen(b->release, 64));
	cell_text(rs, NULL, NULL, b->machine, strnlen(b->machine, 16));
	html_date(date, b->start_real);
	cell_text(rs, "date", NULL, date, strlen(date));
	cell_printf(rs, NULL, NULL, "%s", dlog_status_name(b->end_status));
	cell_printf(rs, "number", NULL, "%" PRIu64 ".%06" PRIu64,
		    b->last_time / NS_PER_S, b->last_time % NS_PER_S / 1000);
	cell_printf(rs, NULL, NULL, b->has_records ? "yes" : "no");
	html_row_end(rs);
}

static void boots_html(struct req *r, struct dlog *d)
{
	static const char *const columns[] = { "Boot",	      "Kernel",
					       "Machine",     "Began",
					       "Last status", "Last record at",
					       "Records",     NULL };
	struct rows rs = { .s = &r->fresh, .tmp = &r->tmp, .html = true };
	struct dlog_boot_entry *boots = NULL;
	int n = dlog_get_boots(d, &boots);

	html_table(&r->fresh, "boots", "Boots", columns);
	for (int i = n; i-- > 0 && i >= n - (int)BOOTS_SHOWN;)
		row_boot(&rs, &boots[i]);
	html_table_end(&r->fresh);
	free(boots);
}

/* NULL: the reason is on the page. */
static struct dlog *open_region(struct req *r)
{
	struct dlog_error err = { "" };
	struct dlog *d;

	if (!dlog_open(&d, r->path, 0, &err))
		return d;
	sink_puts(&r->fresh, "<p class=\"bad\">");
	html_text(&r->fresh, err.text, strlen(err.text), true);
	sink_puts(&r->fresh, "</p>\n");
	return NULL;
}

enum work_result region_page(struct req *r)
{
	struct dlog *d = open_region(r);

	if (d) {
		log_html(r, d);
		boots_html(r, d);
		region_html(r, d);
		dlog_close(d);
	}
	html_page_end(&r->fresh);
	return WORK_DONE;
}

/* ---- loss ---- */

static void row_loss(struct rows *rs, const struct dlog_loss *sum)
{
	const uint64_t number[] = { sum->reserved,    sum->records,
				    sum->overwritten, sum->torn,
				    sum->corrupt,     sum->dropped };
	char key[16];

	snprintf(key, sizeof(key), "%u", sum->boot);
	html_row(rs, key);
	cell_text(rs, "number", NULL, key, strlen(key));
	for (size_t i = 0; i < sizeof(number) / sizeof(*number); i++)
		cell_printf(rs, "number", NULL, "%" PRIu64, number[i]);
	html_row_end(rs);
}

/* Newest boot first, each over all rings. */
static void loss_html(struct req *r, const struct dlog_loss *loss, int n)
{
	static const char *const columns[] = { "Boot",	      "Written",
					       "Still there", "Overwritten",
					       "Torn",	      "Corrupt",
					       "Dropped",     NULL };
	struct rows rs = { .s = &r->fresh, .tmp = &r->tmp, .html = true };
	unsigned int shown = 0;

	html_table(&r->fresh, "loss", "Records of each boot", columns);
	while (n > 0 && shown++ < BOOTS_SHOWN) {
		struct dlog_loss sum = { .boot = loss[n - 1].boot };

		for (; n > 0 && loss[n - 1].boot == sum.boot; n--) {
			sum.reserved += loss[n - 1].reserved;
			sum.records += loss[n - 1].records;
			sum.overwritten += loss[n - 1].overwritten;
			sum.torn += loss[n - 1].torn;
			sum.corrupt += loss[n - 1].corrupt;
			sum.dropped += loss[n - 1].dropped;
		}
		row_loss(&rs, &sum);
	}
	html_table_end(&r->fresh);
}

enum work_result region_loss(struct req *r)
{
	struct dlog_loss *loss = NULL;
	struct dlog_info info;
	struct dlog *d;
	int n;

	html_page(&r->fresh, r->name, 0);
	sink_printf(&r->fresh, "<p><a href=\"/guest/%s\">Back</a></p>\n",
		    r->name);
	d = open_region(r);
	if (d) {
		dlog_get_info(d, &info);
		if (info.region_size > LOSS_REGION) {
			sink_puts(&r->fresh, "<p>The region is too large for "
					     "this page: use dlog-read "
					     "--stats.</p>\n");
		} else {
			n = dlog_get_loss(d, &loss);
			loss_html(r, loss, n);
		}
		free(loss);
		dlog_close(d);
	}
	html_page_end(&r->fresh);
	return WORK_DONE;
}

/* ---- live tail ---- */

/* [[boot, urgent?, stamp, text], ...] */
static void line_json(struct json *j, struct req *r, const struct line *l)
{
	json_open(j, '[');
	json_u64(j, l->boot);
	json_text(j, level_class(l->level));
	r->tmp.len = 0;
	text_stamp(&r->tmp, l->time);
	json_string(j, r->tmp.buf, r->tmp.len);
	r->tmp.len = 0;
	html_plain(&r->tmp, l->text, l->len);
	json_string(j, r->tmp.buf, r->tmp.len);
	json_close(j, ']');
}

/* The file there may be another one by now. */
static uint64_t inode_of(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : st.st_ino;
}

void region_tail_end(struct req *r)
{
	dlog_reader_free(r->reader);
	dlog_close(r->d);
	r->reader = NULL;
	r->d = NULL;
}

static enum work_result tail_begin(struct req *r)
{
	struct json j = { .s = &r->fresh };
	struct lines l;

	r->inode = inode_of(r->path);
	r->checked = web_now();
	if (dlog_open(&r->d, r->path, 0, NULL) ||
	    last_reader(&r->reader, r->d, WEB_LINES, DLOG_READER_FOLLOW)) {
		web_refuse(r, MHD_HTTP_SERVICE_UNAVAILABLE,
			   "The region cannot be read.");
		return WORK_DONE;
	}
	lines_read(&l, r->reader, WEB_LINES, r->checked + TAIL_NS, &r->tmp);
	sink_puts(&r->fresh, "retry:1000\nevent:begin\ndata:");
	json_open(&j, '[');
	for (uint64_t i = line_first(&l); i < l.n; i++)
		line_json(&j, r, line_at(&l, i));
	json_close(&j, ']');
	sink_puts(&r->fresh, "\n\n");
	lines_free(&l);
	return WORK_DONE;
}

static void tail_lines(struct req *r)
{
	struct json j = { .s = &r->fresh };
	struct dlog_entry e;
	struct line line;
	size_t len;

	while (r->fresh.len < TAIL_BYTES &&
	       dlog_reader_next(r->reader, &e, 0) > 0) {
		if (!r->fresh.len) {
			sink_puts(&r->fresh, "event:lines\ndata:");
			json_open(&j, '[');
		}
		line = (struct line){ .boot = e.boot,
				      .level = e.level,
				      .time = e.time };
		line.text = (char *)entry_text(&e, &r->tmp, &len);
		line.len = len < WEB_LINE_MAX ? len : WEB_LINE_MAX;
		line_json(&j, r, &line);
	}
	if (r->fresh.len) {
		json_close(&j, ']');
		sink_puts(&r->fresh, "\n\n");
	}
}

/* What the ring has lost while the client was slow. */
static void tail_missed(struct req *r)
{
	uint64_t missed = dlog_reader_missed(r->reader);

	if (missed > r->missed)
		sink_printf(&r->fresh, "event:missed\ndata:%" PRIu64 "\n\n",
			    missed - r->missed);
	r->missed = missed;
}

enum work_result region_tail(struct req *r)
{
	if (!r->reader)
		return tail_begin(r);
	tail_lines(r);
	tail_missed(r);
	if (r->fresh.len) {
		r->checked = web_now();
		return WORK_DONE;
	}
	if (inode_of(r->path) != r->inode) {
		r->end = true; /* the script asks anew */
		return WORK_DONE;
	}
	if (web_now() - r->checked > WEB_KEEP_ALIVE) {
		r->checked = web_now();
		sink_puts(&r->fresh, ":\n\n");
		return WORK_DONE;
	}
	return WORK_AGAIN;
}

/* ---- last line of each guest, for the first page ---- */

/* Another number when something may have been written since. */
static uint64_t print_of(struct dlog *d)
{
	struct dlog_beat beats[64] = { 0 };
	struct dlog_live live;
	uint64_t print;
	int n;

	dlog_get_live(d, &live);
	n = dlog_get_beats(d, &live, beats, 64);
	print = html_hash(&live, sizeof(live));
	for (int i = 0; i < n && i < 64; i++)
		print = print * 31 + beats[i].beats + beats[i].position;
	return print;
}

static void look(struct view *got, struct dlog *d, struct sink *scratch)
{
	struct dlog_boot_entry *boots = NULL;
	struct dlog_reader *reader = NULL;
	struct lines l = { .most = 1 };
	int n = dlog_get_boots(d, &boots);

	if (n > 0)
		memcpy(got->release, boots[n - 1].release,
		       sizeof(got->release));
	free(boots);
	if (!last_reader(&reader, d, 1, 0))
		lines_read(&l, reader, 1, UINT64_MAX, scratch);
	dlog_reader_free(reader);
	if (l.n) {
		got->line_len = l.line[0].len < sizeof(got->line)
					? l.line[0].len
					: sizeof(got->line);
		memcpy(got->line, l.line[0].text, got->line_len);
	}
	lines_free(&l);
}

void region_look(struct web *w, struct view *v)
{
	char *path = strdup(v->region);
	uint64_t print = v->print;
	struct view got = { 0 }, *still;
	struct sink scratch = { .fd = -1 };
	struct dlog *d;

	worker_unlock(w);
	if (path && !dlog_open(&d, path, 0, NULL)) {
		got.print = print_of(d);
		if (got.print != print)
			look(&got, d, &scratch);
		dlog_close(d);
	}
	worker_lock(w);
	/* The guest may have been forgotten meanwhile, and @v with it. */
	for (still = w->views; still && still != v;)
		still = still->next;
	if (still && got.print && got.print != print && v->region &&
	    !strcmp(path, v->region)) {
		v->print = got.print;
		memcpy(v->release, got.release, sizeof(v->release));
		memcpy(v->line, got.line, sizeof(v->line));
		v->line_len = got.line_len;
	}
	sink_free(&scratch);
	free(path);
}
