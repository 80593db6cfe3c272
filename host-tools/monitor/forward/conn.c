// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * conn.c - a connection by UDP, TCP or TLS.
 *
 * Sockets never block; every wait is stopper_poll()'s.  TCP says nothing of
 * what the peer has read: conn_drain() waits until the peer's kernel has
 * acknowledged every byte, and that the peer has not closed meanwhile.
 *
 * TLS: 1.2 and newer.  The peer's certificate must be signed by `ca` (default:
 * the system's) and be for `name` (default: the address's host).
 *
 * Relies on OpenSSL.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "cli.h"
#include "forward.h"

#define CONNECT_MS 5000
#define STALL_MS 30000 /* a peer that takes nothing for so long is down */
#define DRAIN_STEP_MS 1
#define LISTEN_MOST 64u /* reads in one go */

static int conn_fail(struct conn *c, int ret, const char *what)
{
	return target_fail(c->t, ret, "%s port %s: %s: %s", c->host, c->port,
			   what, strerror(-ret));
}

static int tls_fail(struct conn *c, const char *what)
{
	unsigned long err = ERR_peek_last_error();
	long verify = c->ssl ? SSL_get_verify_result(c->ssl) : X509_V_OK;
	char text[160] = "connection lost";

	if (verify != X509_V_OK)
		snprintf(text, sizeof(text), "certificate: %s",
			 X509_verify_cert_error_string(verify));
	else if (err)
		ERR_error_string_n(err, text, sizeof(text));
	ERR_clear_error();
	return target_fail(c->t, -EPROTO, "%s port %s: TLS %s: %s", c->host,
			   c->port, what, text);
}

/* ---- configuration ---- */

/* "HOST:PORT", IPv6 in brackets. */
static int split_address(struct conn *c, const char *text)
{
	const char *end = *text == '[' ? strchr(text, ']') : strchr(text, ':');
	const char *port = end && *end == ']' ? end + 1 : end;

	if (*text == '[')
		text++;
	if (!port || end == text || *port != ':' || !cli_is_port(port + 1))
		return -EINVAL;
	c->host = strndup(text, (size_t)(end - text));
	c->port = strdup(port + 1);
	return c->host && c->port ? 0 : -ENOMEM;
}

static int tls_file(const struct sink_config *sc, const char *key, int ok)
{
	unsigned long err = ERR_peek_last_error();
	const char *why = ERR_reason_error_string(err);

	if (ok == 1)
		return 0;
	if (ERR_SYSTEM_ERROR(err))
		why = strerror(ERR_GET_REASON(err));
	ERR_clear_error();
	return target_wrong(sc, "%s = %s: %s", key, sink_config_get(sc, key),
			    why ? why : "cannot be used");
}

static int tls_make(struct conn *c, const struct sink_config *sc)
{
	const char *ca = sink_config_get(sc, "ca");
	const char *cert = sink_config_get(sc, "cert");
	const char *key = sink_config_get(sc, "key");
	const char *name = sink_config_get(sc, "name");
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	int ret = 0;

	c->tls = ctx;
	c->name = strdup(name ? name : c->host);
	if (!ctx || !c->name)
		return -ENOMEM;
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
				      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	if (!cert != !key)
		return target_wrong(sc, "cert and key need each other");
	if (ca)
		ret = tls_file(sc, "ca", SSL_CTX_load_verify_file(ctx, ca));
	else
		SSL_CTX_set_default_verify_paths(ctx);
	if (!ret && cert)
		ret = tls_file(sc, "cert",
			       SSL_CTX_use_certificate_chain_file(ctx, cert));
	if (!ret && key)
		ret = tls_file(sc, "key",
			       SSL_CTX_use_PrivateKey_file(ctx, key,
							   SSL_FILETYPE_PEM));
	return ret;
}

int conn_make(struct conn *c, const struct sink_config *sc, const char *address)
{
	static const char *const kinds[] = { "udp:", "tcp:", "tls:" };
	int ret = -EINVAL;

	*c = (struct conn){ .fd = -1 };
	for (unsigned int i = 0; address && i < 3; i++) {
		if (strncmp(address, kinds[i], 4))
			continue;
		c->kind = (enum conn_kind)i;
		ret = split_address(c, address + 4);
	}
	if (ret == -EINVAL)
		return target_wrong(sc, "needs address = udp:HOST:PORT, "
					"tcp:HOST:PORT or tls:HOST:PORT, IPv6 "
					"addresses in [ ]");
	return !ret && c->kind == CONN_TLS ? tls_make(c, sc) : ret;
}

void conn_free(struct conn *c)
{
	conn_close(c);
	SSL_CTX_free(c->tls);
	free(c->host);
	free(c->port);
	free(c->name);
}

/* ---- connecting ---- */

static int conn_wait(struct conn *c, short events, int ms)
{
	int ret = stopper_poll(c->t->stop, c->fd, events, ms);

	return ret > 0 ? 0 : ret ? ret : -ETIMEDOUT;
}

static int connect_one(struct conn *c, const struct addrinfo *ai)
{
	unsigned int stall = STALL_MS;
	int ret = 0, on = 1;
	socklen_t len = sizeof(ret);

	c->fd = socket(ai->ai_family,
		       ai->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
		       ai->ai_protocol);
	if (c->fd < 0)
		return -errno;
	if (c->kind != CONN_UDP) {
		setsockopt(c->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
		setsockopt(c->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &stall,
			   sizeof(stall));
	}
	if (!connect(c->fd, ai->ai_addr, ai->ai_addrlen))
		return 0;
	if (errno != EINPROGRESS)
		return -errno;
	ret = conn_wait(c, POLLOUT, CONNECT_MS);
	if (!ret && getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &ret, &len))
		ret = errno;
	return ret < 0 ? ret : -ret;
}

/* What OpenSSL waits for after @ret: 0 go on, or an error. */
static int tls_wait(struct conn *c, int ret, int ms, const char *what)
{
	switch (SSL_get_error(c->ssl, ret)) {
	case SSL_ERROR_WANT_READ:
		ret = conn_wait(c, POLLIN, ms);
		break;
	case SSL_ERROR_WANT_WRITE:
		ret = conn_wait(c, POLLOUT, ms);
		break;
	default:
		return tls_fail(c, what);
	}
	return ret ? conn_fail(c, ret, what) : 0;
}

static int tls_open(struct conn *c)
{
	X509_VERIFY_PARAM *param;
	int ret = 0, done;

	ERR_clear_error();
	c->ssl = SSL_new(c->tls);
	if (!c->ssl || !SSL_set_fd(c->ssl, c->fd))
		return tls_fail(c, "set-up");
	param = SSL_get0_param(c->ssl);
	if (!X509_VERIFY_PARAM_set1_ip_asc(param, c->name)) {
		ERR_clear_error();
		if (!SSL_set1_host(c->ssl, c->name) ||
		    !SSL_set_tlsext_host_name(c->ssl, c->name))
			return tls_fail(c, "set-up");
	}
	while (!ret && (done = SSL_connect(c->ssl)) != 1)
		ret = tls_wait(c, done, CONNECT_MS, "handshake");
	return ret;
}

int conn_open(struct conn *c)
{
	const struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = c->kind == CONN_UDP ? SOCK_DGRAM : SOCK_STREAM,
	};
	struct addrinfo *list, *ai;
	int ret = getaddrinfo(c->host, c->port, &hints, &list);

	if (ret)
		return target_fail(c->t, -EHOSTUNREACH, "%s port %s: %s",
				   c->host, c->port, gai_strerror(ret));
	ret = -EHOSTUNREACH;
	for (ai = list; ai; ai = ai->ai_next) {
		ret = connect_one(c, ai);
		if (!ret || ret == -ECANCELED)
			break;
		conn_close(c);
	}
	freeaddrinfo(list);
	if (ret)
		return conn_fail(c, ret, "connect");
	return c->kind == CONN_TLS ? tls_open(c) : 0;
}

void conn_close(struct conn *c)
{
	if (c->ssl)
		SSL_shutdown(c->ssl);
	ERR_clear_error();
	SSL_free(c->ssl);
	c->ssl = NULL;
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

/* ---- sending ---- */

static int plain_write(struct conn *c, const char *p, size_t len)
{
	while (len) {
		ssize_t n = send(c->fd, p, len, MSG_NOSIGNAL);
		int ret = 0;

		if (n >= 0) {
			p += n;
			len -= (size_t)n;
		} else if (errno == EAGAIN || errno == EWOULDBLOCK) {
			ret = conn_wait(c, POLLOUT, STALL_MS);
		} else if (errno != EINTR) {
			ret = -errno;
		}
		if (ret)
			return conn_fail(c, ret, "send");
	}
	return 0;
}

int conn_write(struct conn *c, const void *data, size_t len)
{
	const char *p = data;
	int ret = 0;

	if (c->kind != CONN_TLS)
		return plain_write(c, p, len);
	ERR_clear_error();
	while (!ret && len) {
		size_t n = 0;
		int ok = SSL_write_ex(c->ssl, p, len, &n);

		p += n;
		len -= n;
		if (!ok)
			ret = tls_wait(c, ok, STALL_MS, "send");
	}
	return ret;
}

/*
 * Read and forget what the peer says: has it closed?  One that never stops
 * saying something is listened to again later.
 */
static int conn_listen(struct conn *c)
{
	unsigned int most = LISTEN_MOST;
	char buf[512];
	size_t n;

	if (c->kind == CONN_TLS) {
		int ok = 1;

		ERR_clear_error();
		while (ok && most--)
			ok = SSL_read_ex(c->ssl, buf, sizeof(buf), &n);
		if (ok)
			return 0;
		ok = SSL_get_error(c->ssl, ok);
		return ok == SSL_ERROR_WANT_READ || ok == SSL_ERROR_WANT_WRITE
			       ? 0
			       : -ECONNRESET;
	}
	while (most--) {
		ssize_t got = recv(c->fd, buf, sizeof(buf), 0);

		if (got > 0 || (got < 0 && errno == EINTR))
			continue;
		if (!got)
			return c->kind == CONN_UDP ? 0 : -ECONNRESET;
		return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
	}
	return 0;
}

int conn_drain(struct conn *c)
{
	uint64_t stall = clock_ns(CLOCK_MONOTONIC) + STALL_MS * MS;
	int ret, left, before = INT32_MAX;

	for (;;) {
		ret = conn_listen(c);
		left = 0;
		if (!ret && ioctl(c->fd, SIOCOUTQ, &left))
			ret = -errno;
		if (!ret && left < before)
			stall = clock_ns(CLOCK_MONOTONIC) + STALL_MS * MS;
		else if (!ret && clock_ns(CLOCK_MONOTONIC) > stall)
			ret = -ETIMEDOUT;
		if (ret || !left)
			break;
		before = left;
		ret = stopper_poll(c->t->stop, c->fd, POLLIN, DRAIN_STEP_MS);
		if (ret < 0)
			break;
	}
	return ret < 0 ? conn_fail(c, ret, "wait for the peer") : 0;
}
