/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * domxml.h - what a libvirt domain's XML says about regions.
 *
 * Shared by dlog-virt, its hook and dlogd's libvirt source.  The XML is
 * hostile input: bounded in size and depth, no network, no DTD and with it no
 * entities.  Relies on libxml2.
 */
#ifndef DLOG_DOMXML_H
#define DLOG_DOMXML_H

#include <libxml/tree.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of <dlog:region> in a domain's <metadata>: what dlog-virt attached. */
#define DOMXML_DLOG "urn:dlog:region:1"
#define DOMXML_QEMU "http://libvirt.org/schemas/domain/qemu/1.0"

#define DOMXML_MAX ((size_t)4 << 20) /* bytes of XML */
#define DOMXML_FILES 8u
#define DOMXML_NAME 128u /* a guest's name for dlogd, with its NUL */

/* A parsed document, or NULL. */
xmlDoc *domxml_parse(const char *xml, size_t len);

/* The first element that an XPath (prefixes dlog, qemu) finds, or NULL. */
xmlNode *domxml_find(xmlDoc *doc, const char *xpath);
/* How many it finds; up to @max of them in @out. */
size_t domxml_find_all(xmlDoc *doc, const char *xpath, xmlNode **out,
		       size_t max);
/* Attribute as an unsigned decimal number, or 0. */
uint64_t domxml_number(xmlNode *node, const char *attribute);

struct domxml {
	char name[DOMXML_NAME]; /* of the guest: domxml_name() */
	char *path; /* of the attached region, absolute; NULL: none */
	uint64_t size;
	uint32_t rings, cpus;
	/* Memory files of any kind that may be a region, @path first. */
	char *files[DOMXML_FILES];
	size_t nr_files;
};

/* Fills *@d: 0, -EBADMSG (no domain's XML) or -ENOMEM.  domxml_free(). */
int domxml_read(struct domxml *d, xmlDoc *doc);
void domxml_free(struct domxml *d);

/*
 * A domain's name as a guest's: dlogd takes only [A-Za-z0-9._@:+-], up to 127
 * of them and not '.' first.  What has to be changed gets the beginning of
 * the domain's UUID, so that two domains stay two guests.
 */
void domxml_name(char out[DOMXML_NAME], const char *name, const char *uuid);

#endif
