// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * text.c - records as lines for people, in the formats of dmesg.
 *
 * dmesg of util-linux 2.38 is the model: print_record() and safe_fwrite() of
 * sys-utils/dmesg.c.  One difference: dmesg lets carriage return, vertical
 * tab and form feed through, with which a guest could overwrite what stands
 * on the terminal, and ends a line at NUL.  Here they become \xNN.
 */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "../read.h"

#define NS UINT64_C(1000000000)
#define DMESG_FACILITIES 12u /* more have no name in dmesg */

#define COLOUR_OFF "\033[0m"
#define COLOUR_TIME "\033[32m"
#define COLOUR_SUBSYSTEM "\033[33m"
#define COLOUR_DOUBT "\033[35m"
#define COLOUR_HEADER "\033[1m"

static void format_second(struct view *v, uint64_t second)
{
	const struct format *f = v->fmt;
	time_t t = (time_t)second;
	struct tm tm;

	if (f->utc)
		gmtime_r(&t, &tm);
	else
		localtime_r(&t, &tm);
	v->date.second = second;
	v->date.len = strftime(v->date.text, sizeof(v->date.text),
			       f->stamp == STAMP_CTIME
				       ? "[%a %b %e %H:%M:%S %Y]"
				       : "%Y-%m-%dT%H:%M:%S",
			       &tm);
	strftime(v->date.zone, sizeof(v->date.zone), "%z", &tm);
}

static unsigned int put_real_stamp(struct view *v, uint64_t real)
{
	struct sink *s = v->out;

	if (!v->date.len || v->date.second != real / NS)
		format_second(v, real / NS);
	sink_put(s, v->date.text, v->date.len);
	if (v->fmt->stamp == STAMP_CTIME)
		return (unsigned int)v->date.len;
	sink_putc(s, '.');
	sink_pad(s, real % NS / 1000, 6, '0');
	sink_put(s, v->date.zone, 3);
	sink_putc(s, ':');
	sink_put(s, v->date.zone + 3, 2);
	return (unsigned int)v->date.len + 7 + 6;
}

static unsigned int put_stamp(struct view *v, const struct dlog_entry *e)
{
	const struct format *f = v->fmt;
	unsigned int width;

	if (f->stamp == STAMP_NONE)
		return 0;
	if (f->colour)
		sink_puts(v->out, COLOUR_TIME);
	if (f->stamp == STAMP_GUEST || !e->real)
		width = text_stamp_last(v->out, &v->stamp, e->time);
	else
		width = put_real_stamp(v, e->real);
	sink_putc(v->out, ' ');
	if (f->colour)
		sink_puts(v->out, COLOUR_OFF);
	return width + 1;
}

static unsigned int put_word(struct sink *s, const char *word)
{
	unsigned int n = (unsigned int)strlen(word);

	sink_put(s, word, n);
	for (; n < 6; n++)
		sink_putc(s, ' ');
	return n;
}

/* "kern  :info  : ", as dmesg -x; records that printk does not know: dlog */
static unsigned int put_decoded(struct sink *s, const struct dlog_entry *e)
{
	unsigned int width = 3;

	if (entry_is_text(e) && e->facility >= DMESG_FACILITIES)
		return 0;
	width += put_word(s, entry_is_text(e) ? dlog_facility_name(e->facility)
					      : "dlog");
	sink_putc(s, ':');
	width += put_word(s, dlog_level_name(e->level));
	sink_put(s, ": ", 2);
	return width;
}

/* "guest1: "; returns its width in bytes, which is all that is known. */
static unsigned int put_name(struct view *v, const struct source *src)
{
	struct sink plain = { .fd = -1 };
	unsigned int width;

	if (!v->fmt->names)
		return 0;
	text_put(&plain, src->name, strlen(src->name), 0);
	sink_put(&plain, ": ", 2);
	sink_put(v->out, plain.buf, plain.len);
	width = (unsigned int)plain.len;
	sink_free(&plain);
	return width;
}

static const char *level_colour(uint32_t level)
{
	switch (level) {
	case 0:
	case 1:
		return "\033[7;31m";
	case 2:
		return "\033[1;31m";
	case 3:
		return "\033[31m";
	case 4:
		return "\033[1m";
	default:
		return NULL;
	}
}

/* Bytes of "subsystem: " at the beginning, as dmesg colours it. */
static size_t subsystem(const uint8_t *text, size_t len)
{
	const uint8_t *p = memmem(text, len, ": ", 2);

	if (!p || memchr(text, '\n', (size_t)(p - text)))
		return 0;
	return (size_t)(p - text) + 2;
}

static void put_coloured(struct sink *s, const struct dlog_entry *e,
			 const uint8_t *text, size_t len, unsigned int indent)
{
	const char *colour = level_colour(e->level);
	size_t n = colour ? 0 : subsystem(text, len);

	if (n) {
		sink_puts(s, COLOUR_SUBSYSTEM);
		text_put(s, text, n, indent);
		sink_puts(s, COLOUR_OFF);
	}
	if (colour)
		sink_puts(s, colour);
	text_put(s, text + n, len - n, indent);
	if (colour)
		sink_puts(s, COLOUR_OFF);
}

/* What a format without checks leaves open, behind the text. */
static void put_doubt(struct view *v, const struct dlog_entry *e)
{
	if (!e->doubt || v->fmt->stamp == STAMP_NONE)
		return;
	sink_puts(v->out, v->fmt->colour ? " " COLOUR_DOUBT "[" : " [");
	sink_puts(v->out, dlog_doubt_name(e->doubt));
	sink_puts(v->out, v->fmt->colour ? "]" COLOUR_OFF : "]");
}

static int text_entry(struct view *v, struct source *src,
		      const struct dlog_entry *e)
{
	unsigned int indent;
	size_t len;
	const uint8_t *text = entry_text(e, &v->text, &len);

	if (len && text[len - 1] == '\n')
		len--;
	indent = put_name(v, src);
	if (v->fmt->decode)
		indent += put_decoded(v->out, e);
	indent += put_stamp(v, e);
	if (v->fmt->colour)
		put_coloured(v->out, e, text, len, indent);
	else
		text_put(v->out, text, len, indent);
	put_doubt(v, e);
	sink_putc(v->out, '\n');
	return v->out->error;
}

static int raw_entry(struct view *v, struct source *src,
		     const struct dlog_entry *e)
{
	size_t len;
	const uint8_t *text = entry_text(e, &v->text, &len);

	(void)src;
	if (len && text[len - 1] == '\n')
		len--;
	sink_put(v->out, text, len);
	sink_putc(v->out, '\n');
	return v->out->error;
}

const char *boot_end(const struct dlog_boot_entry *b, bool latest)
{
	switch (b->end_status) {
	case DLOG_ST_NONE:
		return latest ? "no status" : "not known";
	case DLOG_ST_BOOTING:
		return latest ? "booting" : "cut off while booting";
	case DLOG_ST_RUNNING:
		return latest ? "running" : "cut off while running";
	case DLOG_ST_OOPS:
		return latest ? "running after an oops"
			      : "cut off after an oops";
	case DLOG_ST_UNLOADED:
		return "driver unloaded";
	default:
		return dlog_status_name(b->end_status);
	}
}

/* "-- boot 2: 6.1.0, started DATE, the one before ended: panic --" */
static void text_boot(struct view *v, struct source *src, uint32_t boot)
{
	const struct dlog_boot_entry *b = NULL, *before = NULL;
	struct sink *s = v->out;

	for (int i = 0; i < src->nr_boots; i++) {
		if (src->boots[i].boot == boot)
			b = &src->boots[i];
		else if (src->boots[i].boot < boot)
			before = &src->boots[i];
	}
	put_name(v, src);
	if (v->fmt->colour)
		sink_puts(s, COLOUR_HEADER);
	sink_printf(s, "-- boot %u", boot);
	if (b && b->release[0]) {
		sink_puts(s, ": ");
		text_put(s, b->release, strlen(b->release), 0);
	}
	if (b && b->start_real) {
		sink_puts(s, ", started ");
		when_date(s, b->start_real, v->fmt->utc);
	}
	if (before)
		sink_printf(s, ", the one before ended: %s",
			    boot_end(before, false));
	sink_puts(s, " --");
	if (v->fmt->colour)
		sink_puts(s, COLOUR_OFF);
	sink_putc(s, '\n');
}

const struct output output_text = {
	.name = "text",
	.help = "as dmesg",
	.follow = true,
	.tables = true,
	.headers = true,
	.stamp = STAMP_GUEST,
	.boot = text_boot,
	.entry = text_entry,
};

const struct output output_wall = {
	.name = "wall",
	.help = "with date and time",
	.follow = true,
	.tables = true,
	.headers = true,
	.stamp = STAMP_WALL,
	.boot = text_boot,
	.entry = text_entry,
};

const struct output output_cat = {
	.name = "cat",
	.help = "the text alone",
	.follow = true,
	.tables = true,
	.stamp = STAMP_NONE,
	.entry = text_entry,
};

const struct output output_raw = {
	.name = "raw",
	.help = "the guest's bytes",
	.follow = true,
	.tables = true,
	.entry = raw_entry,
};
