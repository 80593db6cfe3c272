// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * to_syslog.c - a sink of syslog messages, RFC 5424.
 *
 *	address = udp:HOST:PORT       RFC 5426, one datagram each
 *	          tcp:HOST:PORT       RFC 6587, octet counting
 *	          tls:HOST:PORT       RFC 5425
 *
 * HOSTNAME is the guest (its alphabet is within RFC 5424's), APP-NAME "kernel"
 * for what came by printk, else "dlog"; PROCID the caller, MSGID the kind or
 * event.  MSG is one line of UTF-8 as message_line() makes it, after the BOM
 * when it is not plain ASCII.  The private enterprise number 32473 is the one
 * that RFC 5612 keeps for documentation.
 *
 * Relies on conn.c.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>

#include "forward.h"

#define MESSAGE_MAX 8192u /* bytes; RFC 5424 asks for 2048 and advises this */
#define BUFFER_MAX 65536u
#define CUT " [cut]"
#define OWN_FACILITY 3u /* daemon */

struct remote {
	struct target t;
	struct conn c;
	struct render r;
	struct sink out; /* frames for conn_write() */
	struct sink line; /* the message that is being made */
};

static const char *const keys[] = {
	"address", "ca", "cert", "key", "name", NULL
};

static void remote_free(struct target *t)
{
	struct remote *rm = (struct remote *)t;

	conn_free(&rm->c);
	render_free(&rm->r);
	sink_free(&rm->out);
	sink_free(&rm->line);
	free(rm);
}

static int remote_make(struct target **out, const struct sink_config *sc)
{
	struct remote *rm = calloc(1, sizeof(*rm));
	int ret = -ENOMEM;

	if (!rm)
		return -ENOMEM;
	rm->c.fd = -1;
	if (!render_init(&rm->r) && !sink_init(&rm->out, -1) &&
	    !sink_init(&rm->line, -1))
		ret = conn_make(&rm->c, sc, sink_config_get(sc, "address"));
	rm->c.t = &rm->t;
	if (ret)
		remote_free(&rm->t);
	else
		*out = &rm->t;
	return ret;
}

static int remote_open(struct target *t)
{
	struct remote *rm = (struct remote *)t;

	rm->out.len = 0;
	return conn_open(&rm->c);
}

static void remote_close(struct target *t)
{
	conn_close(&((struct remote *)t)->c);
}

/* PARAM-VALUE escapes (RFC 5424, 6.3.3); the text is ours or a path. */
static void put_param(struct sink *s, const char *key, const char *value)
{
	sink_printf(s, " %s=\"", key);
	for (; *value; value++) {
		if (strchr("\"\\]", *value))
			sink_putc(s, '\\');
		sink_putc(s, (uint8_t)*value < 0x20 ? '?' : *value);
	}
	sink_putc(s, '"');
}

static void put_header(struct sink *s, struct render *r,
		       const struct message *m)
{
	unsigned int facility = OWN_FACILITY;
	const char *app = "dlogd";
	char caller[ENTRY_CALLER + 1] = "-", date[96];
	size_t n;

	if (m->e) {
		app = m->e->kind == DLOG_KIND_PRINTK ? "kernel" : "dlog";
		facility = entry_is_text(m->e) && m->e->facility < 24
				   ? m->e->facility
				   : 1;
		n = entry_caller(caller, m->e->caller);
		caller[n ? n : 1] = '\0';
	}
	/* Microseconds are the most that TIMESTAMP may have. */
	message_date(date, r, m);
	n = strlen(date);
	if (n > 4)
		memcpy(date + n - 4, "Z", 2);
	sink_printf(s, "<%u>1 %s %s %s %s %s ",
		    facility << 3 | (unsigned int)message_level(m),
		    n > 4 ? date : "-", m->guest, app, caller,
		    m->e ? dlog_kind_name(m->e->kind) : m->event);
}

static void put_data(struct sink *s, const struct message *m)
{
	sink_puts(s, "[dlog@32473");
	put_param(s, "id", m->id);
	if (m->e)
		sink_printf(s,
			    " boot=\"%" PRIu32 "\" ring=\"%" PRIu32
			    "\" position=\"%" PRIu64 "\" time=\"%" PRIu64
			    ".%09" PRIu64 "\"",
			    m->e->boot, m->e->ring, m->e->position,
			    m->e->time / 1000000000, m->e->time % 1000000000);
	else if (m->boot)
		sink_printf(s, " boot=\"%" PRIu32 "\"", m->boot);
	if (m->missed)
		sink_printf(s, " missed=\"%" PRIu64 "\"", m->missed);
	if (m->incident)
		put_param(s, "incident", m->incident);
	if (m->bundle)
		put_param(s, "bundle", m->bundle);
	sink_puts(s, "] ");
}

static bool is_ascii(const char *p, size_t len)
{
	while (len && (uint8_t)*p < 0x80) {
		p++;
		len--;
	}
	return !len;
}

/* No more than MESSAGE_MAX bytes, and no half of a character. */
static void cut_line(struct sink *s)
{
	size_t len = MESSAGE_MAX - strlen(CUT);

	if (s->len <= MESSAGE_MAX)
		return;
	while (len && ((uint8_t)s->buf[len] & 0xc0) == 0x80)
		len--;
	s->len = len;
	sink_puts(s, CUT);
}

static void put_message(struct sink *s, struct render *r,
			const struct message *m)
{
	size_t from;

	s->len = 0;
	put_header(s, r, m);
	put_data(s, m);
	from = s->len;
	sink_put(s, "\xef\xbb\xbf", 3);
	message_line(s, r, m);
	if (!s->error && is_ascii(s->buf + from + 3, s->len - from - 3)) {
		memmove(s->buf + from, s->buf + from + 3, s->len - from - 3);
		s->len -= 3;
	}
	cut_line(s);
}

static int remote_send(struct remote *rm)
{
	int ret = conn_write(&rm->c, rm->out.buf, rm->out.len);

	rm->out.len = 0;
	return ret;
}

static int remote_put(struct target *t, const struct message *m)
{
	struct remote *rm = (struct remote *)t;

	put_message(&rm->line, &rm->r, m);
	if (rm->c.kind == CONN_UDP)
		return conn_write(&rm->c, rm->line.buf, rm->line.len);
	sink_u64(&rm->out, rm->line.len);
	sink_putc(&rm->out, ' ');
	sink_put(&rm->out, rm->line.buf, rm->line.len);
	if (rm->out.error || rm->line.error)
		return target_fail(t, -ENOMEM, "no memory for a message");
	return rm->out.len < BUFFER_MAX - MESSAGE_MAX ? 0 : remote_send(rm);
}

static int remote_flush(struct target *t)
{
	struct remote *rm = (struct remote *)t;
	int ret = remote_send(rm);

	return ret ? ret : conn_drain(&rm->c);
}

const struct target_ops to_syslog = {
	.type = "syslog",
	.keys = keys,
	.make = remote_make,
	.open = remote_open,
	.put = remote_put,
	.flush = remote_flush,
	.close = remote_close,
	.free = remote_free,
};
