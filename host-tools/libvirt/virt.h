/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virt.h - what the files of dlog-virt share.
 *
 * main.c has the command line; host.c talks to libvirt; edit.c changes a
 * domain's XML; region.c looks after the file; domxml.c reads XML, for dlogd
 * too; hook.c is what libvirt's hook script calls, and installs that script.
 *
 * Functions return 0 or a negative errno with a message in *err.
 */
#ifndef DLOG_VIRT_H
#define DLOG_VIRT_H

#include <libvirt/libvirt.h>

#include "cli.h"
#include "dlog.h"
#include "domxml.h"

#define PROGRAM "dlog-virt"
#define REGIONS "/var/lib/dlog/regions"
#define HOOKS "/etc/libvirt/hooks/qemu.d"

enum mode { MODE_AUTO, MODE_NVDIMM, MODE_COMMANDLINE };

struct attachment {
	enum mode mode;
	char *path; /* absolute; the caller frees it */
	uint64_t size; /* of the region, bytes; 0: not given */
	uint32_t rings; /* 0: one for each virtual CPU, if there is room */
	bool pvpanic;
};

/* ---- edit.c ---- */

/* The mode that @doc and the size allow. */
int edit_choose(xmlDoc *doc, struct attachment *a, struct dlog_error *err);
/* Put the region in, and take out exactly what was put in. */
int edit_attach(xmlDoc *doc, const struct attachment *a,
		struct dlog_error *err);
int edit_detach(xmlDoc *doc, struct dlog_error *err);
/* What the document says was attached. */
enum mode edit_mode(xmlDoc *doc);

/* ---- host.c ---- */

/* Connect to a QEMU driver on this host; @uri NULL: libvirt's default. */
int host_open(virConnectPtr *conn, const char *uri, bool read_only,
	      struct dlog_error *err);
int host_domain(virDomainPtr *dom, virConnectPtr conn, const char *name,
		struct dlog_error *err);
/* @flags: virDomainXMLFlags. */
int host_xml(xmlDoc **doc, virDomainPtr dom, unsigned int flags,
	     struct dlog_error *err);
/* Make @doc the persistent XML of its domain. */
int host_define(virConnectPtr conn, xmlDoc *doc, struct dlog_error *err);
/* The user and group that QEMU runs as: of the domain, else the host's. */
int host_user(virConnectPtr conn, xmlDoc *doc, uid_t *uid, gid_t *gid,
	      struct dlog_error *err);
/* No other domain may have this file. */
int host_check_unused(virConnectPtr conn, const char *path, const char *name,
		      struct dlog_error *err);

/* ---- region.c ---- */

/* The default file of a domain; the caller frees it. */
char *region_default(const char *guest);
/* Does it exist?  Then @a->size becomes the region's, or it is an error. */
int region_check(struct attachment *a, bool *exists, struct dlog_error *err);
int region_create(const struct attachment *a, uint32_t cpus, const char *label,
		  struct dlog_error *err);
/* May QEMU, as this user, reach the file's folder? */
int region_reachable(const char *path, uid_t uid, gid_t gid,
		     struct dlog_error *err);

/* ---- hook.c ---- */

/* As libvirt calls it: DOMAIN OPERATION SUBOPERATION EXTRA.  Always 0. */
int hook_run(int argc, char **argv);
int hook_install(const char *dir, struct dlog_error *err);
int hook_remove(const char *dir, struct dlog_error *err);

#endif
