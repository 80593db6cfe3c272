// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * to_nats.c - a sink into a NATS JetStream stream.
 *
 *	url = nats://HOST:4222[,...]  stream = dlog  subject = dlog
 *	create = yes  duplicates = 2m  credentials, ca, cert, key, name
 *
 * Each message goes to SUBJECT.GUEST.log or SUBJECT.GUEST.event with its id as
 * Nats-Msg-Id.  A batch is published asynchronously and is safe when the server
 * has acknowledged all of it; what it had stored already when a batch is sent
 * again it drops by the ids, within the stream's duplicate window: exactly
 * once.
 *
 * The library's own reconnecting is off: a connection that breaks is the
 * batch's failure.  Relies on libnats 3.4 and newer.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>

#include <nats/nats.h>

#include "forward.h"

#define CONNECT_MS 2000
#define ACK_MS 10000 /* a server that acknowledges nothing for so long */
#define STEP_MS 100
#define LARGE_NS (60 * SECOND)
#define PAYLOAD_SPARE 1024u /* of the server's limit, for headers */

struct jet {
	struct target t;
	const char *url, *stream, *subject;
	bool create;
	uint32_t duplicates; /* s */
	natsOptions *opts;
	natsConnection *nc;
	jsCtx *js;
	struct render r;
	struct sink out;
	size_t max; /* bytes of a message */
	atomic_bool failed; /* a publish was refused: why in t.why */
	pthread_mutex_t lock; /* of what follows */
	char refused[256];
	uint64_t large_at; /* CLOCK_MONOTONIC ns: then say so again */
};

static const char *const keys[] = { "url",    "stream",	    "subject",
				    "create", "duplicates", "credentials",
				    "ca",     "cert",	    "key",
				    "name",   NULL };

static int jet_fail(struct jet *jt, natsStatus s, const char *what)
{
	return target_fail(&jt->t, s == NATS_TIMEOUT ? -ETIMEDOUT : -EIO,
			   "%s: %s: %s", jt->url, what, natsStatus_GetText(s));
}

/* ---- configuration ---- */

static void jet_free(struct target *t)
{
	struct jet *jt = (struct jet *)t;

	natsOptions_Destroy(jt->opts);
	render_free(&jt->r);
	sink_free(&jt->out);
	pthread_mutex_destroy(&jt->lock);
	free(jt);
}

static natsStatus set_servers(struct jet *jt)
{
	char *list = strdup(jt->url), *save, *one;
	const char *server[16];
	int n = 0;
	natsStatus s;

	if (!list)
		return NATS_NO_MEMORY;
	for (one = strtok_r(list, ", ", &save); one && n < 16;
	     one = strtok_r(NULL, ", ", &save))
		server[n++] = one;
	s = natsOptions_SetServers(jt->opts, server, n);
	free(list);
	return s;
}

static natsStatus set_security(struct jet *jt, const struct sink_config *sc)
{
	const char *ca = sink_config_get(sc, "ca");
	const char *cert = sink_config_get(sc, "cert");
	const char *key = sink_config_get(sc, "key");
	const char *name = sink_config_get(sc, "name");
	const char *creds = sink_config_get(sc, "credentials");
	natsStatus s = NATS_OK;

	if (ca || cert)
		s = natsOptions_SetSecure(jt->opts, true);
	if (s == NATS_OK && ca)
		s = natsOptions_LoadCATrustedCertificates(jt->opts, ca);
	if (s == NATS_OK && cert)
		s = natsOptions_LoadCertificatesChain(jt->opts, cert, key);
	if (s == NATS_OK && name)
		s = natsOptions_SetExpectedHostname(jt->opts, name);
	if (s == NATS_OK && creds)
		s = natsOptions_SetUserCredentialsFromFiles(jt->opts, creds,
							    NULL);
	return s;
}

static natsStatus set_options(struct jet *jt, const struct sink_config *sc)
{
	natsStatus s = natsOptions_Create(&jt->opts);

	if (s == NATS_OK)
		s = set_servers(jt);
	if (s == NATS_OK)
		s = natsOptions_SetTimeout(jt->opts, CONNECT_MS);
	if (s == NATS_OK)
		s = natsOptions_SetAllowReconnect(jt->opts, false);
	if (s == NATS_OK)
		s = natsOptions_SetWriteDeadline(jt->opts, ACK_MS);
	if (s == NATS_OK)
		s = natsOptions_SetName(jt->opts, PROGRAM);
	return s == NATS_OK ? set_security(jt, sc) : s;
}

static const char *get_or(const struct sink_config *sc, const char *key,
			  const char *otherwise)
{
	const char *value = sink_config_get(sc, key);

	return value && *value ? value : otherwise;
}

static int jet_configure(struct jet *jt, const struct sink_config *sc)
{
	natsStatus s;
	int ret;

	jt->url = get_or(sc, "url", "nats://127.0.0.1:4222");
	jt->stream = get_or(sc, "stream", "dlog");
	jt->subject = get_or(sc, "subject", "dlog");
	jt->create = true;
	jt->duplicates = 120;
	if (strpbrk(jt->subject, "*> \t") || strpbrk(jt->stream, ".*> \t"))
		return target_wrong(sc, "stream and subject cannot have "
					"wildcards or blanks, nor stream dots");
	if (!sink_config_get(sc, "cert") != !sink_config_get(sc, "key"))
		return target_wrong(sc, "cert and key need each other");
	ret = target_bool(sc, "create", &jt->create);
	if (!ret)
		ret = target_seconds(sc, "duplicates", &jt->duplicates);
	if (ret)
		return ret;
	s = set_options(jt, sc);
	return s == NATS_OK ? 0
			    : target_wrong(sc,
					   "NATS options (url, ca, cert, "
					   "key, credentials): %s",
					   natsStatus_GetText(s));
}

static int jet_make(struct target **out, const struct sink_config *sc)
{
	struct jet *jt = calloc(1, sizeof(*jt));
	int ret = -ENOMEM;

	if (!jt)
		return -ENOMEM;
	pthread_mutex_init(&jt->lock, NULL);
	if (!render_init(&jt->r) && !sink_init(&jt->out, -1))
		ret = jet_configure(jt, sc);
	if (ret)
		jet_free(&jt->t);
	else
		*out = &jt->t;
	return ret;
}

/* ---- connection ---- */

/*
 * The library's thread: the server has refused a message.  One that is too
 * large for the stream would be refused for ever, and keep all others waiting:
 * it is given up, counted, and said once in a while.
 */
static void jet_too_large(struct jet *jt, natsMsg *msg)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);
	const char *id;
	bool say;

	if (natsMsgHeader_Get(msg, "Nats-Msg-Id", &id) == NATS_OK)
		target_left_out(&jt->t, id);
	pthread_mutex_lock(&jt->lock);
	say = now >= jt->large_at;
	if (say)
		jt->large_at = now + LARGE_NS;
	pthread_mutex_unlock(&jt->lock);
	if (say)
		log_(LOG_WARNING,
		     "sink %s: a message of %d bytes is larger than stream %s "
		     "takes; left out, like all others that are too large",
		     jt->t.sc->name, natsMsg_GetDataLength(msg), jt->stream);
}

static void jet_refused(jsCtx *js, jsPubAckErr *pae, void *closure)
{
	struct jet *jt = closure;

	(void)js;
	if (pae->ErrCode == JSStreamMessageExceedsMaximumErr) {
		jet_too_large(jt, pae->Msg);
		return;
	}
	pthread_mutex_lock(&jt->lock);
	snprintf(jt->refused, sizeof(jt->refused), "%s",
		 pae->ErrText ? pae->ErrText : natsStatus_GetText(pae->Err));
	pthread_mutex_unlock(&jt->lock);
	atomic_store(&jt->failed, true);
}

static natsStatus create_stream(struct jet *jt, jsErrCode *code)
{
	char subjects[256];
	const char *list[] = { subjects };
	jsStreamConfig cfg;
	natsStatus s = jsStreamConfig_Init(&cfg);

	snprintf(subjects, sizeof(subjects), "%s.>", jt->subject);
	cfg.Name = jt->stream;
	cfg.Subjects = list;
	cfg.SubjectsLen = 1;
	cfg.Duplicates = (int64_t)jt->duplicates * 1000000000;
	return s == NATS_OK ? js_AddStream(NULL, jt->js, &cfg, NULL, code) : s;
}

static int open_stream(struct jet *jt)
{
	jsStreamInfo *info = NULL;
	jsErrCode code = 0;
	natsStatus s = js_GetStreamInfo(&info, jt->js, jt->stream, NULL, &code);

	jsStreamInfo_Destroy(info);
	if (s == NATS_NOT_FOUND && jt->create)
		s = create_stream(jt, &code);
	if (s == NATS_OK)
		return 0;
	return target_fail(&jt->t, -EIO, "%s: stream %s: %s (%d)", jt->url,
			   jt->stream, natsStatus_GetText(s), (int)code);
}

static int jet_open(struct target *t)
{
	struct jet *jt = (struct jet *)t;
	natsStatus s = natsConnection_Connect(&jt->nc, jt->opts);
	jsOptions opts;

	if (s != NATS_OK)
		return jet_fail(jt, s, "connect");
	jsOptions_Init(&opts);
	opts.Wait = CONNECT_MS;
	opts.PublishAsync.ErrHandler = jet_refused;
	opts.PublishAsync.ErrHandlerClosure = jt;
	s = natsConnection_JetStream(&jt->js, jt->nc, &opts);
	if (s != NATS_OK)
		return jet_fail(jt, s, "JetStream");
	jt->max = (size_t)natsConnection_GetMaxPayload(jt->nc);
	jt->max -= jt->max > 2 * PAYLOAD_SPARE ? PAYLOAD_SPARE : 0;
	atomic_store(&jt->failed, false);
	return open_stream(jt);
}

static void jet_close(struct target *t)
{
	struct jet *jt = (struct jet *)t;

	/* No callback comes once the connection is closed. */
	natsConnection_Close(jt->nc);
	jsCtx_Destroy(jt->js);
	natsConnection_Destroy(jt->nc);
	jt->js = NULL;
	jt->nc = NULL;
}

/* ---- messages ---- */

/* A guest's name is one token of the subject: its dots are '_' there. */
static void make_subject(char *to, size_t size, const struct jet *jt,
			 const struct message *m)
{
	size_t from = strlen(jt->subject) + 1;

	snprintf(to, size, "%s.%s", jt->subject, m->guest);
	for (char *p = to + from; *p; p++)
		if (*p == '.')
			*p = '_';
	from = strlen(to);
	snprintf(to + from, size - from, m->e ? ".log" : ".event");
}

static int jet_put(struct target *t, const struct message *m)
{
	struct jet *jt = (struct jet *)t;
	char subject[512];
	jsPubOptions opts;
	natsStatus s;

	jt->out.len = 0;
	message_json(&jt->out, &jt->r, m, jt->max);
	if (jt->out.error)
		return target_fail(t, jt->out.error, "no memory");
	make_subject(subject, sizeof(subject), jt, m);
	jsPubOptions_Init(&opts);
	opts.MsgId = m->id;
	opts.ExpectStream = jt->stream;
	s = js_PublishAsync(jt->js, subject, jt->out.buf, (int)jt->out.len,
			    &opts);
	return s == NATS_OK ? 0 : jet_fail(jt, s, "publish");
}

static int jet_flush(struct target *t)
{
	struct jet *jt = (struct jet *)t;
	uint64_t until = clock_ns(CLOCK_MONOTONIC) + ACK_MS * MS;
	natsStatus s = NATS_TIMEOUT;
	jsPubOptions opts;

	jsPubOptions_Init(&opts);
	opts.MaxWait = STEP_MS;
	while (s == NATS_TIMEOUT) {
		s = js_PublishAsyncComplete(jt->js, &opts);
		if (atomic_load(&jt->failed)) {
			pthread_mutex_lock(&jt->lock);
			target_fail(t, -EIO, "%s: stream %s: %s", jt->url,
				    jt->stream, jt->refused);
			pthread_mutex_unlock(&jt->lock);
			return -EIO;
		}
		if (s != NATS_TIMEOUT)
			break;
		if (natsConnection_Status(jt->nc) != NATS_CONN_STATUS_CONNECTED)
			s = NATS_CONNECTION_CLOSED;
		else if (clock_ns(CLOCK_MONOTONIC) > until ||
			 stopper_poll(t->stop, -1, 0, 0) < 0)
			break;
	}
	return s == NATS_OK ? 0 : jet_fail(jt, s, "acknowledgements");
}

const struct target_ops to_nats = {
	.type = "nats",
	.keys = keys,
	.make = jet_make,
	.open = jet_open,
	.put = jet_put,
	.flush = jet_flush,
	.close = jet_close,
	.free = jet_free,
};
