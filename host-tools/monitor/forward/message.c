// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * message.c - what all sinks say alike: JSON, text of one line.
 *
 * Relies on host-tools/common.
 */
#include <inttypes.h>
#include <stdio.h>

#include "forward.h"

int render_init(struct render *r)
{
	r->date = (struct second){ 0 };
	return sink_init(&r->text, -1);
}

void render_free(struct render *r)
{
	sink_free(&r->text);
}

int message_level(const struct message *m)
{
	return m->e ? m->e->level & 7 : m->level;
}

static uint64_t message_real(const struct message *m)
{
	return m->e ? m->e->real : m->real;
}

static void event_json(struct json *j, struct second *date,
		       const struct message *m)
{
	json_member(j, "event", m->event);
	if (m->boot) {
		json_key(j, "boot");
		json_u64(j, m->boot);
	}
	json_key(j, "real");
	entry_date(j, date, m->real);
	json_key(j, "level");
	json_u64(j, (uint64_t)m->level);
	json_member(j, "text", m->text);
	if (m->missed) {
		json_key(j, "missed");
		json_u64(j, m->missed);
	}
	if (m->incident)
		json_member(j, "incident", m->incident);
	if (m->bundle)
		json_member(j, "bundle", m->bundle);
}

static void write_json(struct sink *s, struct render *r,
		       const struct message *m, const struct dlog_entry *e)
{
	struct json j = { .s = s };

	json_open(&j, '{');
	json_member(&j, "guest", m->guest);
	json_member(&j, "id", m->id);
	if (!e)
		event_json(&j, &r->date, m);
	else
		entry_json(&j, &r->date, &r->text, e);
	if (e && e->len < m->e->len) {
		json_key(&j, "cut");
		json_bool(&j, true);
	}
	json_close(&j, '}');
}

void message_json(struct sink *s, struct render *r, const struct message *m,
		  size_t max)
{
	size_t from = s->len, spare = 2048;
	struct dlog_entry e;

	write_json(s, r, m, m->e);
	if (s->len - from <= max || !m->e)
		return;
	/* A byte is at most \u0000 in "text" and two digits in "hex". */
	s->len = from;
	e = *m->e;
	e.len = max > spare ? (max - spare) / 8 : 0;
	if (e.len >= m->e->len)
		e.len = m->e->len / 8;
	write_json(s, r, m, &e);
}

/* Bytes at the beginning of @p that stand for themselves. */
static size_t plain(const uint8_t *p, size_t len)
{
	size_t n = 0, k;

	while (n < len) {
		if (p[n] < 0x80) {
			if ((p[n] < 0x20 && p[n] != '\t') || p[n] == 0x7f)
				break;
			n++;
			continue;
		}
		k = json_utf8(p + n, len - n);
		/* C1 controls are as dangerous on a terminal as ESC. */
		if (!k || (k == 2 && p[n] == 0xc2 && p[n + 1] < 0xa0))
			break;
		n += k;
	}
	return n;
}

static void put_line(struct sink *s, const uint8_t *p, size_t len)
{
	while (len) {
		size_t n = plain(p, len);

		sink_put(s, p, n);
		p += n;
		len -= n;
		if (!len)
			break;
		if (*p == '\n') {
			sink_put(s, "\\n", 2);
		} else {
			sink_put(s, "\\x", 2);
			sink_hex(s, p, 1);
		}
		p++;
		len--;
	}
}

void message_line(struct sink *s, struct render *r, const struct message *m)
{
	const uint8_t *text = (const uint8_t *)m->text;
	size_t len;

	if (m->e) {
		text = entry_text(m->e, &r->text, &len);
	} else {
		sink_puts(s, m->event);
		sink_put(s, ": ", 2);
		len = strlen(m->text);
	}
	put_line(s, text, len);
}

void message_date(char date[96], struct render *r, const struct message *m)
{
	uint64_t real = message_real(m);
	size_t n = real ? entry_date_text(date, &r->date, real) : 0;

	date[n] = '\0';
}
