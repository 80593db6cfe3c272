// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * listen.c - where the page is served, and under which names.
 *
 * The page has no password.  On loopback every user of the host may read it,
 * behind a socket's file mode only those who may open that.  A web page of
 * anybody's can make the operator's browser ask any address, also under a name
 * that was made to point at 127.0.0.1 (DNS rebinding); then it could read the
 * answers.  So the Host header must name what we really are.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "cli.h"
#include "web.h"

#define BACKLOG 64

/* ---- opening ---- */

static int bound(int fd, const struct sockaddr *addr, socklen_t len)
{
	if (!bind(fd, addr, len) && !listen(fd, BACKLOG))
		return fd;
	len = (socklen_t)-errno;
	close(fd);
	return (int)len;
}

static int open_unix(struct web *w, const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct stat st;
	mode_t mask;
	int fd;

	strcpy(addr.sun_path, path); /* listen_parse() has seen its length */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* What a run before us left; a living one's lock is its control. */
	if (!lstat(path, &st) && S_ISSOCK(st.st_mode))
		unlink(path);
	mask = umask(0117);
	fd = bound(fd, (struct sockaddr *)&addr, sizeof(addr));
	umask(mask);
	w->socket_made = fd >= 0;
	return fd;
}

static bool loopback(const struct sockaddr *addr)
{
	const struct sockaddr_in6 *six = (const void *)addr;
	const struct sockaddr_in *four = (const void *)addr;

	if (addr->sa_family == AF_INET)
		return ntohl(four->sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
}

static int open_address(const struct addrinfo *ai)
{
	int one = 1, fd;

	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
		    0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	fd = bound(fd, ai->ai_addr, ai->ai_addrlen);
	if (fd >= 0 && !loopback(ai->ai_addr))
		log_(LOG_WARNING,
		     "web: listens beyond this host, without a password: "
		     "whoever reaches it reads every guest's log; put a proxy "
		     "that asks in front of it");
	return fd;
}

/* The first of its addresses that can be had, or the first one's error. */
static int open_addresses(const struct addrinfo *ai)
{
	int first = 0, fd;

	for (; ai; ai = ai->ai_next) {
		fd = open_address(ai);
		if (fd >= 0)
			return fd;
		if (!first)
			first = fd;
	}
	return first;
}

/* Say where, with the port that the kernel chose for port 0. */
static void announce(struct web *w, int fd)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);
	char host[64], port[8];

	if (w->socket) {
		log_(LOG_INFO, "web: serving %s", w->socket);
		return;
	}
	if (getsockname(fd, (struct sockaddr *)&addr, &len) ||
	    getnameinfo((struct sockaddr *)&addr, len, host, sizeof(host), port,
			sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV))
		return;
	log_(LOG_INFO,
	     addr.ss_family == AF_INET6 ? "web: serving http://[%s]:%s/"
					: "web: serving http://%s:%s/",
	     host, port);
}

/* "HOST:PORT", "[V6]:PORT": cut in two, in place. */
static char *cut_port(char *host)
{
	char *colon = strrchr(host, ':');
	size_t len;

	if (!colon || !colon[1])
		return NULL;
	*colon = '\0';
	len = strlen(host);
	if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
		memmove(host, host + 1, len - 2);
		host[len - 2] = '\0';
	} else if (strchr(host, ':')) {
		return NULL;
	}
	return colon + 1;
}

/* A name is asked for once: that may take long. */
int listen_parse(struct web *w, const char *where)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
				  .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
	char *port;

	if (where[0] == '/') {
		if (strlen(where) >=
		    sizeof(((struct sockaddr_un *)0)->sun_path))
			return -EINVAL;
		w->socket = strdup(where);
		return w->socket ? 0 : -ENOMEM;
	}
	w->host = strdup(where);
	port = w->host ? cut_port(w->host) : NULL;
	if (!port || !cli_is_port(port))
		return w->host ? -EINVAL : -ENOMEM;
	if (getaddrinfo(*w->host ? w->host : NULL, port, &hints, &w->addrs)) {
		w->addrs = NULL;
		return -EADDRNOTAVAIL;
	}
	return 0;
}

int listen_open(struct web *w)
{
	int fd = w->socket ? open_unix(w, w->socket) : open_addresses(w->addrs);

	if (fd < 0)
		return fd;
	w->listen_fd = fd;
	announce(w, fd);
	return 0;
}

void listen_close(struct web *w)
{
	if (w->listen_fd >= 0)
		close(w->listen_fd);
	if (w->socket_made)
		unlink(w->socket);
	if (w->addrs)
		freeaddrinfo(w->addrs);
	free(w->socket);
	free(w->host);
}

/* ---- who is meant ---- */

/* Is @host, as text, the address that this connection came to? */
static bool is_address(const char *host, const struct sockaddr_storage *addr)
{
	const struct sockaddr_in6 *six = (const void *)addr;
	const struct sockaddr_in *four = (const void *)addr;
	uint8_t raw[16];

	if (inet_pton(AF_INET, host, raw) == 1) {
		if (addr->ss_family == AF_INET)
			return !memcmp(raw, &four->sin_addr, 4);
		return IN6_IS_ADDR_V4MAPPED(&six->sin6_addr) &&
		       !memcmp(raw, six->sin6_addr.s6_addr + 12, 4);
	}
	return inet_pton(AF_INET6, host, raw) == 1 &&
	       addr->ss_family == AF_INET6 && !memcmp(raw, &six->sin6_addr, 16);
}

/* The host of a Host header without its port (RFC 9110, 7.2). */
static bool header_host(const char *header, char *host, size_t size)
{
	size_t len = strcspn(header, ":");

	if (*header == '[') {
		header++;
		len = strcspn(header, "]");
		if (header[len] != ']')
			return false;
	}
	if (!len || len >= size)
		return false;
	memcpy(host, header, len);
	host[len] = '\0';
	return true;
}

bool listen_means_us(struct web *w, struct MHD_Connection *conn,
		     const char *header)
{
	const union MHD_ConnectionInfo *info;
	struct sockaddr_storage addr = { 0 };
	socklen_t len = sizeof(addr);
	char host[256];

	if (w->socket)
		return true; /* no browser comes here by itself */
	if (!header || !header_host(header, host, sizeof(host)))
		return false;
	if (!strcasecmp(host, "localhost") ||
	    (w->host && !strcasecmp(host, w->host)))
		return true;
	info = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
	return info &&
	       !getsockname(info->connect_fd, (struct sockaddr *)&addr, &len) &&
	       is_address(host, &addr);
}
