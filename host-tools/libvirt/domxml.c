// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * domxml.c - see domxml.h.  The elements are those of libvirt's domain format
 * (https://libvirt.org/formatdomain.html).
 */
#include <ctype.h>
#include <errno.h>
#include <libxml/parser.h>
#include <libxml/xpath.h>
#include <libxml/xpathInternals.h>
#include <stdlib.h>
#include <string.h>

#include "domxml.h"

/* A DTD begins.  libvirt writes none; whoever does wants entities. */
static void no_dtd(void *arg, const xmlChar *name, const xmlChar *external,
		   const xmlChar *system)
{
	xmlParserCtxt *parser = arg;

	(void)name;
	(void)external;
	(void)system;
	xmlStopParser(parser);
	parser->wellFormed = 0;
}

xmlDoc *domxml_parse(const char *xml, size_t len)
{
	xmlParserCtxt *parser;
	xmlDoc *doc;

	if (len > DOMXML_MAX)
		return NULL;
	parser = xmlNewParserCtxt();
	if (!parser)
		return NULL;
	parser->sax->internalSubset = no_dtd;
	doc = xmlCtxtReadMemory(parser, xml, (int)len, "domain.xml", NULL,
				XML_PARSE_NONET | XML_PARSE_NOERROR |
					XML_PARSE_NOWARNING);
	xmlFreeParserCtxt(parser);
	return doc;
}

size_t domxml_find_all(xmlDoc *doc, const char *xpath, xmlNode **out,
		       size_t max)
{
	xmlXPathContext *xp = xmlXPathNewContext(doc);
	xmlXPathObject *found = NULL;
	size_t n = 0;

	if (!xp)
		return 0;
	if (!xmlXPathRegisterNs(xp, BAD_CAST "dlog", BAD_CAST DOMXML_DLOG) &&
	    !xmlXPathRegisterNs(xp, BAD_CAST "qemu", BAD_CAST DOMXML_QEMU))
		found = xmlXPathEvalExpression(BAD_CAST xpath, xp);
	if (found && found->nodesetval) {
		n = (size_t)found->nodesetval->nodeNr;
		for (size_t i = 0; i < n && i < max; i++)
			out[i] = found->nodesetval->nodeTab[i];
	}
	xmlXPathFreeObject(found);
	xmlXPathFreeContext(xp);
	return n;
}

xmlNode *domxml_find(xmlDoc *doc, const char *xpath)
{
	xmlNode *node = NULL;

	domxml_find_all(doc, xpath, &node, 1);
	return node;
}

uint64_t domxml_number(xmlNode *node, const char *attribute)
{
	xmlChar *text = node ? xmlGetNoNsProp(node, BAD_CAST attribute) : NULL;
	uint64_t v = 0;

	if (text && isdigit(*text))
		v = strtoull((char *)text, NULL, 10);
	xmlFree(text);
	return v;
}

static void add_file(struct domxml *d, const char *path)
{
	if (path[0] != '/' || d->nr_files == DOMXML_FILES)
		return;
	for (size_t i = 0; i < d->nr_files; i++)
		if (!strcmp(d->files[i], path))
			return;
	d->files[d->nr_files] = strdup(path);
	if (d->files[d->nr_files])
		d->nr_files++;
}

/* "memory-backend-file,...,mem-path=PATH,...", or JSON that has it. */
static void add_argument(struct domxml *d, const char *arg)
{
	const char *at = strstr(arg, "mem-path");
	bool json = *arg == '{';
	char path[4096];
	size_t n = 0;

	if (!at || !strstr(arg, "memory-backend-file"))
		return;
	at = strchr(at, json ? ':' : '=');
	if (!at)
		return;
	at++;
	if (json)
		at += strspn(at, " \"");
	while (*at && n < sizeof(path) - 1) {
		if (json && *at == '"')
			break;
		if (!json && *at == ',' && *++at != ',')
			break;
		path[n++] = *at++;
	}
	path[n] = '\0';
	add_file(d, path);
}

static void read_files(struct domxml *d, xmlDoc *doc)
{
	xmlNode *nodes[64];
	xmlChar *text;
	size_t n = domxml_find_all(
		doc, "/domain/devices/memory[@model='nvdimm']/source/path",
		nodes, 64);

	for (size_t i = 0; i < n && i < 64; i++) {
		text = xmlNodeGetContent(nodes[i]);
		if (text)
			add_file(d, (char *)text);
		xmlFree(text);
	}
	n = domxml_find_all(doc, "/domain/qemu:commandline/qemu:arg", nodes,
			    64);
	for (size_t i = 0; i < n && i < 64; i++) {
		text = xmlGetNoNsProp(nodes[i], BAD_CAST "value");
		if (text)
			add_argument(d, (char *)text);
		xmlFree(text);
	}
}

void domxml_name(char out[DOMXML_NAME], const char *name, const char *uuid)
{
	static const char fine[] = "._@:+-";
	bool changed = !*name;
	size_t n = 0;

	for (; name[n] && n < DOMXML_NAME - 1; n++) {
		out[n] = name[n];
		if (!isalnum((unsigned char)out[n]) &&
		    (!strchr(fine, out[n]) || (!n && out[n] == '.'))) {
			out[n] = '_';
			changed = true;
		}
	}
	if (changed || name[n]) {
		if (n > DOMXML_NAME - 10)
			n = DOMXML_NAME - 10;
		out[n++] = '-';
		for (int i = 0; i < 8 && isxdigit((unsigned char)*uuid); i++)
			out[n++] = *uuid++;
	}
	out[n] = '\0';
}

static void read_name(struct domxml *d, xmlDoc *doc)
{
	xmlNode *name = domxml_find(doc, "/domain/name");
	xmlNode *uuid = domxml_find(doc, "/domain/uuid");
	xmlChar *n = name ? xmlNodeGetContent(name) : NULL;
	xmlChar *u = uuid ? xmlNodeGetContent(uuid) : NULL;

	domxml_name(d->name, n ? (char *)n : "", u ? (char *)u : "");
	xmlFree(n);
	xmlFree(u);
}

int domxml_read(struct domxml *d, xmlDoc *doc)
{
	xmlNode *mark, *cpus;
	xmlChar *text;

	memset(d, 0, sizeof(*d));
	if (!domxml_find(doc, "/domain/name"))
		return -EBADMSG;
	read_name(d, doc);
	cpus = domxml_find(doc, "/domain/vcpu");
	text = cpus ? xmlNodeGetContent(cpus) : NULL;
	d->cpus = text ? (uint32_t)strtoul((char *)text, NULL, 10) : 1;
	xmlFree(text);
	mark = domxml_find(doc, "/domain/metadata/dlog:region");
	if (mark) {
		text = xmlGetNoNsProp(mark, BAD_CAST "path");
		if (text && *text == '/') {
			d->path = strdup((char *)text);
			if (!d->path) {
				xmlFree(text);
				return -ENOMEM;
			}
		}
		xmlFree(text);
		d->size = domxml_number(mark, "size");
		d->rings = (uint32_t)domxml_number(mark, "rings");
	}
	if (d->path)
		add_file(d, d->path);
	read_files(d, doc);
	return 0;
}

void domxml_free(struct domxml *d)
{
	free(d->path);
	for (size_t i = 0; i < d->nr_files; i++)
		free(d->files[i]);
	memset(d, 0, sizeof(*d));
}
