// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * host.c - dlog-virt's side towards libvirt: connection, domains, their XML.
 */
#include <errno.h>
#include <libvirt/virterror.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "virt.h"

/* libvirt would print each error itself. */
static void silent(void *arg, virErrorPtr error)
{
	(void)arg;
	(void)error;
}

/* Files are made on this host, so the domains have to be here, too. */
static int check_local(virConnectPtr conn, struct dlog_error *err)
{
	const char *type = virConnectGetType(conn);
	char *uri = virConnectGetURI(conn);
	const char *host = uri ? strstr(uri, "://") : NULL;
	int ret = 0;

	if (!type || strcmp(type, "QEMU"))
		ret = fail(
			err, -EOPNOTSUPP,
			"%s: this is libvirt's driver for %s, regions are for QEMU",
			uri ? uri : "?", type ? type : "something else");
	else if (host && host[3] != '/')
		ret = fail(err, -EOPNOTSUPP,
			   "%s: another host; regions are files, run " PROGRAM
			   " there",
			   uri);
	free(uri);
	return ret;
}

int host_open(virConnectPtr *conn, const char *uri, bool read_only,
	      struct dlog_error *err)
{
	int ret;

	virSetErrorFunc(NULL, silent);
	if (!uri && !getenv("LIBVIRT_DEFAULT_URI") &&
	    !getenv("VIRSH_DEFAULT_CONNECT_URI"))
		uri = "qemu:///system";
	else if (!uri)
		uri = getenv("LIBVIRT_DEFAULT_URI")
			      ? getenv("LIBVIRT_DEFAULT_URI")
			      : getenv("VIRSH_DEFAULT_CONNECT_URI");
	*conn = read_only ? virConnectOpenReadOnly(uri) : virConnectOpen(uri);
	if (!*conn)
		return fail(
			err, -ENOTCONN,
			"%s: %s; does libvirtd (or virtqemud) run, and may you connect?",
			uri, virGetLastErrorMessage());
	ret = check_local(*conn, err);
	if (ret) {
		virConnectClose(*conn);
		*conn = NULL;
	}
	return ret;
}

int host_domain(virDomainPtr *dom, virConnectPtr conn, const char *name,
		struct dlog_error *err)
{
	*dom = virDomainLookupByName(conn, name);
	if (!*dom)
		*dom = virDomainLookupByUUIDString(conn, name);
	if (!*dom)
		return fail(
			err, -ENOENT,
			"%s: no domain has this name; virsh list --all shows them",
			name);
	return 0;
}

int host_xml(xmlDoc **doc, virDomainPtr dom, unsigned int flags,
	     struct dlog_error *err)
{
	char *text = virDomainGetXMLDesc(dom, flags);

	if (!text)
		return fail(err, -EIO, "%s: %s", virDomainGetName(dom),
			    virGetLastErrorMessage());
	*doc = domxml_parse(text, strlen(text));
	free(text);
	if (!*doc)
		return fail(err, -EPROTO,
			    "%s: libvirt's XML cannot be understood",
			    virDomainGetName(dom));
	return 0;
}

int host_define(virConnectPtr conn, xmlDoc *doc, struct dlog_error *err)
{
	xmlChar *text = NULL;
	virDomainPtr dom;
	int len = 0;

	xmlDocDumpMemoryEnc(doc, &text, &len, "UTF-8");
	if (!text)
		return fail(err, -ENOMEM, "out of memory");
	dom = virDomainDefineXMLFlags(conn, (char *)text,
				      VIR_DOMAIN_DEFINE_VALIDATE);
	xmlFree(text);
	if (!dom)
		return fail(
			err, -EINVAL,
			"libvirt does not take the domain so, and it stays as it was: %s",
			virGetLastErrorMessage());
	virDomainFree(dom);
	return 0;
}

/* "+64055:+64055", as libvirt's dac security model labels. */
static int parse_label(xmlNode *node, uid_t *uid, gid_t *gid)
{
	xmlChar *text = node ? xmlNodeGetContent(node) : NULL;
	unsigned int u, g;
	int ret = -ENOENT;

	if (text && sscanf((char *)text, "+%u:+%u", &u, &g) == 2) {
		*uid = u;
		*gid = g;
		ret = 0;
	}
	xmlFree(text);
	return ret;
}

int host_user(virConnectPtr conn, xmlDoc *doc, uid_t *uid, gid_t *gid,
	      struct dlog_error *err)
{
	xmlNode *own = domxml_find(doc, "/domain/seclabel[@model='dac']/label");
	char *text;
	xmlDoc *host;
	int ret = -ENOENT;

	if (own && !parse_label(own, uid, gid))
		return 0;
	text = virConnectGetCapabilities(conn);
	host = text ? domxml_parse(text, strlen(text)) : NULL;
	if (host) {
		ret = parse_label(
			domxml_find(host, "/capabilities/host/secmodel[model="
					  "'dac']/baselabel"),
			uid, gid);
		xmlFreeDoc(host);
	}
	free(text);
	if (ret)
		return fail(
			err, ret,
			"libvirt does not say which user QEMU runs as (no dac security model)");
	return 0;
}

/* Has this domain the file? */
static bool domain_has(virDomainPtr dom, const char *path)
{
	struct dlog_error err;
	struct domxml d;
	bool has = false;
	xmlDoc *doc;

	if (host_xml(&doc, dom, VIR_DOMAIN_XML_INACTIVE, &err))
		return false;
	if (!domxml_read(&d, doc)) {
		for (size_t i = 0; i < d.nr_files; i++)
			has |= !strcmp(d.files[i], path);
		domxml_free(&d);
	}
	xmlFreeDoc(doc);
	return has;
}

int host_check_unused(virConnectPtr conn, const char *path, const char *name,
		      struct dlog_error *err)
{
	virDomainPtr *all = NULL;
	int n = virConnectListAllDomains(conn, &all, 0);
	int ret = 0;

	for (int i = 0; i < n; i++) {
		const char *other = virDomainGetName(all[i]);

		if (!ret && strcmp(other, name) && domain_has(all[i], path))
			ret = fail(
				err, -EBUSY,
				"%s: domain %s has this region; each guest needs a file of its own",
				path, other);
		virDomainFree(all[i]);
	}
	free(all);
	return n < 0 ? fail(err, -EIO, "%s", virGetLastErrorMessage()) : ret;
}
