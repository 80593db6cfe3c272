// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * to_journal.c - a sink into systemd's journal, by its native protocol.
 *
 * journald answers nothing: an entry is safe when its socket has taken it.
 * The socket's queue belongs to systemd and outlives journald.  libsystemd is
 * silent when there is no socket at all, so each batch asks for it.  journald
 * drops what goes beyond its own rate limit; dlogd.service switches that off.
 *
 * Relies on libsystemd.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <systemd/sd-journal.h>

#include "forward.h"

#define SOCKET "/run/systemd/journal/socket"
#define FIELDS 20

struct journal {
	struct target t;
	struct render r;
	struct sink out;
};

static const char *const keys[] = { NULL };

static void journal_free(struct target *t)
{
	struct journal *jn = (struct journal *)t;

	render_free(&jn->r);
	sink_free(&jn->out);
	free(jn);
}

static int journal_make(struct target **out, const struct sink_config *sc)
{
	struct journal *jn = calloc(1, sizeof(*jn));

	(void)sc;
	if (!jn || render_init(&jn->r) || sink_init(&jn->out, -1)) {
		if (jn)
			journal_free(&jn->t);
		return -ENOMEM;
	}
	*out = &jn->t;
	return 0;
}

/* Is anybody there? */
static int journal_open(struct target *t)
{
	const struct sockaddr_un sa = { .sun_family = AF_UNIX,
					.sun_path = SOCKET };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret = 0;

	if (fd < 0 || connect(fd, (const struct sockaddr *)&sa, sizeof(sa)))
		ret = -errno;
	if (fd >= 0)
		close(fd);
	return ret ? target_fail(t, ret,
				 "cannot reach systemd-journald at " SOCKET
				 ": %s",
				 strerror(-ret))
		   : 0;
}

static void journal_close(struct target *t)
{
	(void)t; /* libsystemd's socket is the process's own */
}

/* The fields of one entry: pieces of one buffer, known when it is complete. */
struct fields {
	struct sink *s;
	size_t n, end[FIELDS];
};

static void field(struct fields *f, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void field(struct fields *f, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	sink_puts(f->s, text);
	f->end[f->n++] = f->s->len;
}

static void field_long(struct fields *f, const char *key, const char *text)
{
	if (!text)
		return;
	sink_puts(f->s, key);
	sink_puts(f->s, text);
	f->end[f->n++] = f->s->len;
}

static void record_field(void *arg, const char *name, const char *value)
{
	field(arg, "%s=%s", name, value);
}

static void event_fields(struct fields *f, const struct message *m)
{
	field(f, "DLOG_EVENT=%s", m->event);
	if (m->boot)
		field(f, "DLOG_BOOT=%" PRIu32, m->boot);
	field_long(f, "DLOG_INCIDENT=", m->incident);
	field_long(f, "DLOG_BUNDLE=", m->bundle);
	if (m->missed)
		field(f, "DLOG_MISSED=%" PRIu64, m->missed);
}

static void all_fields(struct fields *f, struct render *r,
		       const struct message *m)
{
	char date[96];

	sink_puts(f->s, "MESSAGE=");
	message_line(f->s, r, m);
	f->end[f->n++] = f->s->len;
	field(f, "PRIORITY=%d", message_level(m));
	field(f, "SYSLOG_IDENTIFIER=%s", m->guest);
	field(f, "DLOG_GUEST=%s", m->guest);
	field(f, "DLOG_ID=%s", m->id);
	message_date(date, r, m);
	if (*date)
		field(f, "DLOG_REAL=%s", date);
	if (m->e)
		entry_fields(m->e, record_field, f);
	else
		event_fields(f, m);
}

static int journal_put(struct target *t, const struct message *m)
{
	struct journal *jn = (struct journal *)t;
	struct fields f = { .s = &jn->out };
	struct iovec iov[FIELDS];
	size_t from = 0;
	int ret;

	jn->out.len = 0;
	all_fields(&f, &jn->r, m);
	if (f.s->error)
		return target_fail(t, f.s->error, "no memory for an entry");
	for (size_t i = 0; i < f.n; i++) {
		iov[i].iov_base = f.s->buf + from;
		iov[i].iov_len = f.end[i] - from;
		from = f.end[i];
	}
	ret = sd_journal_sendv(iov, (int)f.n);
	return ret < 0 ? target_fail(t, ret, "systemd-journald: %s",
				     strerror(-ret))
		       : 0;
}

const struct target_ops to_journal = {
	.type = "journal",
	.keys = keys,
	.make = journal_make,
	.open = journal_open,
	.put = journal_put,
	.flush = journal_open,
	.close = journal_close,
	.free = journal_free,
};
