// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * events.c - the event types that a region's catalog knows.
 */
#include <stdio.h>

#include "event.h"
#include "read.h"

/* "u32", "string": what a field holds. */
static const char *field_type(const struct event_field *f, char buf[8])
{
	static const char letter[] = {
		[EVENT_UINT] = 'u',
		[EVENT_INT] = 's',
		[EVENT_HEX] = 'x',
	};

	if (f->type == EVENT_STRING)
		return "string";
	if (f->type == EVENT_BYTES)
		return "bytes";
	snprintf(buf, 8, "%c%u", letter[f->type], f->size * 8 & 0xff);
	return buf;
}

static void event_json(struct view *v, struct source *src,
		       const struct dlog_event_desc *desc,
		       const struct event_type *t)
{
	struct json j = { .s = v->out };
	char buf[8];

	json_open(&j, '{');
	json_member(&j, "file", src->path);
	json_key(&j, "id");
	json_u64(&j, desc->id);
	json_key(&j, "name");
	if (t)
		json_event_name(&j, t);
	else
		json_text(&j, desc->name);
	json_member(&j, "format", desc->format ? "ftrace" : "declared");
	json_key(&j, "fields");
	json_open(&j, '[');
	for (uint32_t i = 0; t && i < t->nr_fields; i++) {
		if (t->field[i].common)
			continue;
		json_open(&j, '{');
		json_member(&j, "name", t->field[i].name);
		json_member(&j, "type", field_type(&t->field[i], buf));
		json_close(&j, '}');
	}
	json_close(&j, ']');
	json_close(&j, '}');
	json_line(&j);
}

static void event_line(struct view *v, const struct dlog_event_desc *desc,
		       const struct event_type *t)
{
	struct sink *s = v->out;
	const char *comma = ": ";
	char buf[8];

	sink_pad(s, desc->id, 4, ' ');
	sink_putc(s, ' ');
	text_put(s, desc->name, strlen(desc->name), 5);
	if (!t)
		sink_puts(s, ": its format cannot be read");
	for (uint32_t i = 0; t && i < t->nr_fields; i++) {
		if (t->field[i].common)
			continue;
		sink_puts(s, comma);
		sink_puts(s, field_type(&t->field[i], buf));
		sink_putc(s, ' ');
		sink_puts(s, t->field[i].name);
		comma = ", ";
	}
	sink_putc(s, '\n');
}

int show_events(struct view *v, struct source *src)
{
	struct event_decoder *dec = event_decoder(src->d);
	struct dlog_event_desc desc;

	for (uint32_t id = 1; dec && id <= DLOG_EVENT_MAX; id++) {
		if (!dlog_get_event(src->d, id, &desc))
			continue;
		if (v->fmt->json)
			event_json(v, src, &desc, event_type(dec, id));
		else
			event_line(v, &desc, event_type(dec, id));
	}
	return dec ? EXIT_OK : EXIT_ERROR;
}

uint32_t count_events(struct dlog *d)
{
	struct dlog_event_desc desc;
	uint32_t n = 0;

	for (uint32_t id = 1; id <= DLOG_EVENT_MAX; id++)
		n += (uint32_t)dlog_get_event(d, id, &desc);
	return n;
}
