// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * hook.c - libvirt starts or stops a domain, and calls
 *
 *	/etc/libvirt/hooks/qemu.d/dlog DOMAIN OPERATION SUBOPERATION EXTRA
 *
 * with the domain's XML on standard input (https://libvirt.org/hooks.html).
 * Before a start it formats the region that dlog-virt attached if the file is
 * missing: QEMU would create an empty one, and the guest would not record.
 * dlogd hears of each operation by a datagram.
 *
 * A hook that fails or hangs would keep the domain from starting.  So: two
 * seconds at most, whatever happens (alarm(2)); a disk that hangs is only
 * ever touched by a child, whom nobody waits for longer; the exit status is
 * 0.  It writes nothing to standard output, which libvirt would take for a
 * new XML of the domain, and never calls libvirt, which waits for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "json.h"
#include "virt.h"

#define TIME_LIMIT 2 /* seconds */
#define CONTROL "/run/dlog/control"
#define SCRIPT "dlog"

static void on_alarm(int sig)
{
	(void)sig;
	_exit(0);
}

/* All of standard input; NULL if it is too long or cannot be read. */
static char *read_xml(size_t *len)
{
	char *xml = malloc(DOMXML_MAX + 1);
	ssize_t n = 1;

	for (*len = 0; xml && n > 0 && *len <= DOMXML_MAX;) {
		n = read(STDIN_FILENO, xml + *len, DOMXML_MAX + 1 - *len);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n > 0)
			*len += (size_t)n;
	}
	if (xml && !n)
		return xml;
	free(xml);
	return NULL;
}

/* In the child: make the file unless it is there. */
static void format(const struct domxml *d)
{
	struct attachment a = {
		.path = d->path,
		.size = d->size,
		.rings = d->rings,
	};
	struct dlog_error err;
	struct stat st;

	openlog(PROGRAM, LOG_PID, LOG_DAEMON);
	if (!lstat(d->path, &st))
		return;
	if (region_create(&a, d->cpus, d->name, &err))
		syslog(LOG_ERR, "guest %s will not be recorded: %s", d->name,
		       err.text);
	else
		syslog(LOG_NOTICE, "%s was missing, and is formatted anew",
		       d->path);
}

/* Format in a child that may take longer than we may. */
static void format_bounded(const struct domxml *d)
{
	int done[2];
	pid_t pid;
	char c;

	if (pipe2(done, O_CLOEXEC))
		return;
	pid = fork();
	if (!pid) {
		/* libvirt waits until its pipes are closed. */
		for (int fd = 0; fd < 3; fd++)
			close(fd);
		for (int fd = 0; fd < 3; fd++)
			open("/dev/null", O_RDWR);
		setsid();
		format(d);
		_exit(0);
	}
	close(done[1]);
	if (pid > 0)
		while (read(done[0], &c, 1) < 0 && errno == EINTR)
			;
	close(done[0]);
}

static void tell(const struct domxml *d, const char *op, const char *reason)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = CONTROL };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sink s;
	struct json j = { .s = &s };

	if (fd < 0 || sink_init(&s, -1))
		return;
	json_open(&j, '{');
	json_key(&j, "guest");
	json_text(&j, d->name);
	json_key(&j, "op");
	json_text(&j, op);
	if (d->path) {
		json_key(&j, "region");
		json_text(&j, d->path);
	}
	if (strcmp(reason, "-")) {
		json_key(&j, "reason");
		json_text(&j, reason);
	}
	json_close(&j, '}');
	/* No dlogd, or one that is busy: it will see the domain itself. */
	if (!s.error)
		sendto(fd, s.buf, s.len, MSG_DONTWAIT | MSG_NOSIGNAL,
		       (struct sockaddr *)&sa, sizeof(sa));
	sink_free(&s);
	close(fd);
}

static bool is_known(const char *op)
{
	static const char *const ops[] = { "prepare", "start", "started",
					   "stopped", "release" };

	for (size_t i = 0; i < sizeof(ops) / sizeof(*ops); i++)
		if (!strcmp(op, ops[i]))
			return true;
	return false;
}

int hook_run(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	const char *op = argc > 1 ? argv[1] : "";
	const char *reason = argc > 3 ? argv[3] : "-";
	struct domxml d;
	size_t len;
	xmlDoc *doc;
	char *xml;

	sigaction(SIGALRM, &sa, NULL);
	alarm(TIME_LIMIT);
	if (!is_known(op))
		return 0;
	xml = read_xml(&len);
	doc = xml ? domxml_parse(xml, len) : NULL;
	free(xml);
	if (!doc)
		return 0;
	if (!domxml_read(&d, doc)) {
		if (!strcmp(op, "prepare") && d.path)
			format_bounded(&d);
		/* The reason is given from libvirt 10.5 on. */
		if (!strcmp(op, "stopped") && !strcmp(reason, "crashed"))
			op = "crashed";
		tell(&d, op, reason);
		domxml_free(&d);
	}
	xmlFreeDoc(doc);
	return 0;
}

/* ---- the script ---- */

static int script_path(char **path, const char *dir, struct dlog_error *err)
{
	if (asprintf(path, "%s/" SCRIPT, dir) < 0)
		return fail(err, -ENOMEM, "out of memory");
	return 0;
}

/* One that we wrote? */
static bool is_ours(const char *path)
{
	char line[256] = "";
	FILE *f = fopen(path, "re");
	bool ours = false;

	if (!f)
		return false;
	for (int i = 0; i < 4 && !ours && fgets(line, sizeof(line), f); i++)
		ours = strstr(line, PROGRAM " install-hook");
	fclose(f);
	return ours;
}

static int write_script(const char *path, const char *self,
			struct dlog_error *err)
{
	char *temp;
	FILE *f;
	int fd, ret = 0;

	if (asprintf(&temp, "%s.XXXXXX", path) < 0)
		return fail(err, -ENOMEM, "out of memory");
	fd = mkstemp(temp);
	f = fd < 0 ? NULL : fdopen(fd, "w");
	if (!f) {
		ret = fail(err, -errno, "%s: %s", temp, strerror(errno));
		goto out;
	}
	fprintf(f,
		"#!/bin/sh\n"
		"# Written by " PROGRAM
		" install-hook; remove-hook removes it.\n"
		"# Nothing here keeps a domain from starting.\n"
		"[ -x '%s' ] && '%s' hook \"$@\" >/dev/null\n"
		"exit 0\n",
		self, self);
	if (fchmod(fd, 0755) || fflush(f) || fsync(fd))
		ret = fail(err, -errno, "%s: %s", temp, strerror(errno));
	fclose(f);
	if (!ret && rename(temp, path))
		ret = fail(err, -errno, "%s: %s", path, strerror(errno));
	if (ret)
		unlink(temp);
out:
	free(temp);
	return ret;
}

/* The folder, and one above it: libvirt's packages may not have made them. */
static int make_dir(const char *dir, struct dlog_error *err)
{
	char *above = strdup(dir), *slash;

	slash = above ? strrchr(above, '/') : NULL;
	if (slash && slash != above) {
		*slash = '\0';
		mkdir(above, 0755);
	}
	free(above);
	if (mkdir(dir, 0755) && errno != EEXIST)
		return fail(err, -errno, "%s: %s", dir, strerror(errno));
	return 0;
}

int hook_install(const char *dir, struct dlog_error *err)
{
	char self[4096], *path = NULL;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	int ret;

	if (n < 0)
		return fail(err, -errno, "/proc/self/exe: %s", strerror(errno));
	self[n] = '\0';
	if (strchr(self, '\''))
		return fail(err, -EINVAL,
			    "%s: a script cannot name this program; install it "
			    "under a path without quotes",
			    self);
	ret = make_dir(dir, err);
	if (!ret)
		ret = script_path(&path, dir, err);
	if (!ret && !access(path, F_OK) && !is_ours(path))
		ret = fail(err, -EEXIST,
			   "%s: a hook of somebody else; move it first", path);
	if (!ret)
		ret = write_script(path, self, err);
	free(path);
	return ret;
}

int hook_remove(const char *dir, struct dlog_error *err)
{
	char *path;
	int ret = script_path(&path, dir, err);

	if (ret)
		return ret;
	if (access(path, F_OK))
		ret = fail(err, -ENOENT, "%s: no hook is installed there",
			   path);
	else if (!is_ours(path))
		ret = fail(err, -EPERM,
			   "%s: a hook of somebody else, and left alone", path);
	else if (unlink(path))
		ret = fail(err, -errno, "%s: %s", path, strerror(errno));
	free(path);
	return ret;
}
