// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * edit.c - a region goes into a domain's XML, and out again.
 *
 * nvdimm: libvirt wants <maxMemory> with a slot and, for that, a NUMA cell.
 * It counts the nvdimm in <memory>.  commandline: an ivshmem device in
 * <qemu:commandline>, which needs nothing of the rest of the domain.
 *
 * What was attached is remembered in <metadata>; what went in comes out by
 * the same steps backwards, so that changes made by others in between stay:
 * <maxMemory> shrinks by what it grew, and goes when no slot is left.
 *
 * Relies on the XML being libvirt's own: sizes are in KiB.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "virt.h"

#define SLOTS_MAX 256u /* QEMU's ACPI_MAX_RAM_SLOTS */
/* libvirt rounds the size of a memory device up to this (9.0, x86). */
#define NVDIMM_ALIGN (UINT64_C(2) << 20)

#define OBJECT "memory-backend-file,id=dlog,mem-path="
#define DEVICE "ivshmem-plain,id=dlog,memdev=dlog,addr="

static const char no_memory[] = "out of memory";

static xmlNode *child(xmlNode *parent, const char *name, const char *text)
{
	xmlNode *node = xmlNewTextChild(parent, parent->ns, BAD_CAST name,
					NULL);

	if (node && text)
		xmlNodeAddContent(node, BAD_CAST text);
	return node;
}

static void set_number(xmlNode *node, const char *attribute, uint64_t v)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, v);
	xmlSetProp(node, BAD_CAST attribute, BAD_CAST text);
}

static uint64_t content(xmlNode *node)
{
	xmlChar *text = xmlNodeGetContent(node);
	uint64_t v = text ? strtoull((char *)text, NULL, 10) : 0;

	xmlFree(text);
	return v;
}

static void set_content(xmlNode *node, uint64_t v)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, v);
	xmlNodeSetContent(node, BAD_CAST text);
}

static void drop(xmlNode *node)
{
	xmlUnlinkNode(node);
	xmlFreeNode(node);
}

/* Take out @node, and each parent below the root that is then empty. */
static void drop_up(xmlNode *node)
{
	xmlNode *parent = node->parent;

	drop(node);
	if (parent->parent && parent->parent->type == XML_ELEMENT_NODE &&
	    !xmlChildElementCount(parent) && !parent->properties)
		drop_up(parent);
}

/* ---- which mode ---- */

static const char *why_no_nvdimm(xmlDoc *doc, uint64_t size)
{
	if (domxml_find(doc, "/domain/os/type[starts-with(@machine,'microvm')"
			     " or @machine='isapc']"))
		return "its machine type has no nvdimm";
	if (!domxml_find(doc, "/domain/features/acpi"))
		return "it has no <acpi/> among its <features>";
	if (size % NVDIMM_ALIGN)
		return "libvirt wants a size in steps of 2 MiB for an nvdimm";
	return NULL;
}

static const char *why_no_ivshmem(xmlDoc *doc, uint64_t size)
{
	if (domxml_find(doc, "/domain/os/type[@machine='isapc']"))
		return "its machine type has no PCI";
	if (size & (size - 1))
		return "a PCI device's memory has a size that is a power of two";
	return NULL;
}

int edit_choose(xmlDoc *doc, struct attachment *a, struct dlog_error *err)
{
	const char *nvdimm = why_no_nvdimm(doc, a->size);
	const char *ivshmem = why_no_ivshmem(doc, a->size);

	if (a->mode == MODE_AUTO)
		a->mode = nvdimm && !ivshmem ? MODE_COMMANDLINE : MODE_NVDIMM;
	if (a->mode == MODE_NVDIMM && nvdimm)
		return fail(
			err, -EINVAL,
			"the domain cannot have %s as an nvdimm: %s; change that%s",
			a->path, nvdimm,
			ivshmem ? "" : ", or use --mode=commandline");
	if (a->mode == MODE_COMMANDLINE && ivshmem)
		return fail(
			err, -EINVAL,
			"the domain cannot have %s on QEMU's command line: %s; change that%s",
			a->path, ivshmem,
			nvdimm ? "" : ", or use --mode=nvdimm");
	return 0;
}

/* ---- in ---- */

/* <memory> of the domain in KiB, all memory devices included. */
static int memory(xmlDoc *doc, xmlNode **node, struct dlog_error *err)
{
	xmlChar *unit;
	int bad;

	*node = domxml_find(doc, "/domain/memory");
	if (!*node)
		return fail(err, -EPROTO, "libvirt's XML has no <memory>");
	unit = xmlGetNoNsProp(*node, BAD_CAST "unit");
	bad = unit && strcmp((char *)unit, "KiB");
	xmlFree(unit);
	if (bad)
		return fail(err, -EPROTO,
			    "libvirt gives <memory> in another unit than KiB");
	return 0;
}

/* One more slot, and room for @kib. */
static int grow_max(xmlDoc *doc, xmlNode *mem, uint64_t kib,
		    struct dlog_error *err)
{
	xmlNode *max = domxml_find(doc, "/domain/maxMemory");
	uint64_t slots = domxml_number(max, "slots");

	if (slots >= SLOTS_MAX)
		return fail(
			err, -ENOSPC,
			"the domain's <maxMemory> has %" PRIu64
			" slots already, QEMU has no more; use --mode=commandline",
			slots);
	if (!max) {
		max = xmlNewNode(mem->ns, BAD_CAST "maxMemory");
		if (!max)
			return fail(err, -ENOMEM, no_memory);
		xmlAddPrevSibling(mem, max);
		xmlSetProp(max, BAD_CAST "unit", BAD_CAST "KiB");
		set_content(max, content(mem));
	}
	set_number(max, "slots", slots + 1);
	set_content(max, content(max) + kib);
	return 0;
}

/* libvirt takes no memory device without a NUMA cell: all in one. */
static int add_numa(xmlDoc *doc, xmlNode *mem, bool *added,
		    struct dlog_error *err)
{
	xmlNode *cpu = domxml_find(doc, "/domain/cpu"), *cell;
	xmlNode *vcpu = domxml_find(doc, "/domain/vcpu");
	uint64_t n = vcpu ? content(vcpu) : 1;
	char cpus[32] = "0";

	*added = !domxml_find(doc, "/domain/cpu/numa/cell");
	if (!*added)
		return 0;
	if (!cpu)
		cpu = child(xmlDocGetRootElement(doc), "cpu", NULL);
	cell = cpu ? child(cpu, "numa", NULL) : NULL;
	cell = cell ? child(cell, "cell", NULL) : NULL;
	if (!cell)
		return fail(err, -ENOMEM, no_memory);
	if (n > 1)
		snprintf(cpus, sizeof(cpus), "0-%" PRIu64, n - 1);
	xmlSetProp(cell, BAD_CAST "id", BAD_CAST "0");
	xmlSetProp(cell, BAD_CAST "cpus", BAD_CAST cpus);
	set_number(cell, "memory", content(mem));
	xmlSetProp(cell, BAD_CAST "unit", BAD_CAST "KiB");
	return 0;
}

static int attach_nvdimm(xmlDoc *doc, const struct attachment *a,
			 bool *numa_added, struct dlog_error *err)
{
	xmlNode *devices = domxml_find(doc, "/domain/devices");
	xmlNode *mem, *dimm, *source, *target, *size, *node;
	uint64_t kib = a->size >> 10;
	int ret = memory(doc, &mem, err);

	if (!ret)
		ret = grow_max(doc, mem, kib, err);
	if (!ret)
		ret = add_numa(doc, mem, numa_added, err);
	if (ret)
		return ret;
	dimm = child(devices, "memory", NULL);
	source = dimm ? child(dimm, "source", NULL) : NULL;
	target = dimm ? child(dimm, "target", NULL) : NULL;
	if (!source || !target || !child(source, "path", a->path))
		return fail(err, -ENOMEM, no_memory);
	size = child(target, "size", NULL);
	node = child(target, "node", NULL);
	if (!size || !node)
		return fail(err, -ENOMEM, no_memory);
	xmlSetProp(dimm, BAD_CAST "model", BAD_CAST "nvdimm");
	xmlSetProp(dimm, BAD_CAST "access", BAD_CAST "shared");
	xmlSetProp(size, BAD_CAST "unit", BAD_CAST "KiB");
	set_content(size, kib);
	set_content(node, domxml_number(domxml_find(doc, "/domain/cpu/numa/"
							 "cell"),
					"id"));
	set_content(mem, content(mem) + kib);
	return 0;
}

static int add_arg(xmlNode *list, const char *option, const char *value)
{
	xmlNode *a = child(list, "arg", NULL), *b = child(list, "arg", NULL);

	if (!a || !b)
		return -ENOMEM;
	xmlSetProp(a, BAD_CAST "value", BAD_CAST option);
	xmlSetProp(b, BAD_CAST "value", BAD_CAST value);
	return 0;
}

/* QEMU's options have commas between them: one in a value is doubled. */
static char *backend(const struct attachment *a)
{
	char *out = NULL;
	size_t size;
	FILE *f = open_memstream(&out, &size);

	if (!f)
		return NULL;
	fputs(OBJECT, f);
	for (const char *p = a->path; *p; p++) {
		if (*p == ',')
			putc(',', f);
		putc(*p, f);
	}
	fprintf(f, ",size=%" PRIu64 ",share=on,prealloc=on", a->size);
	if (fclose(f)) {
		free(out);
		return NULL;
	}
	return out;
}

/*
 * A slot of the root bus for a device that libvirt does not know of: libvirt
 * gives its own the lowest that are free, and QEMU makes ours first.  Above
 * 0x1c are devices that q35 has at fixed places.
 */
static unsigned int free_slot(xmlDoc *doc)
{
	char xpath[160];
	unsigned int slot;

	for (slot = 0x1c; slot > 3; slot--) {
		snprintf(xpath, sizeof(xpath),
			 "/domain/devices//address[@type='pci']"
			 "[@domain='0x0000'][@bus='0x00'][@slot='0x%02x']",
			 slot);
		if (!domxml_find(doc, xpath))
			break;
	}
	return slot;
}

static int attach_commandline(xmlDoc *doc, const struct attachment *a,
			      struct dlog_error *err)
{
	xmlNode *list = domxml_find(doc, "/domain/qemu:commandline");
	xmlNode *root = xmlDocGetRootElement(doc);
	char *object = backend(a), device[64];
	xmlNs *ns;
	int ret = -ENOMEM;

	snprintf(device, sizeof(device), DEVICE "0x%x", free_slot(doc));

	if (!object)
		goto out;
	if (!list) {
		ns = xmlSearchNsByHref(doc, root, BAD_CAST DOMXML_QEMU);
		if (!ns)
			ns = xmlNewNs(root, BAD_CAST DOMXML_QEMU,
				      BAD_CAST "qemu");
		list = ns ? xmlNewChild(root, ns, BAD_CAST "commandline", NULL)
			  : NULL;
	}
	if (list)
		ret = add_arg(list, "-object", object);
	if (!ret)
		ret = add_arg(list, "-device", device);
out:
	free(object);
	return ret ? fail(err, ret, no_memory) : 0;
}

/* pvpanic tells libvirt of a panic; without it libvirt sees none. */
static bool add_pvpanic(xmlDoc *doc, const struct attachment *a)
{
	xmlNode *panic;

	if (!a->pvpanic || domxml_find(doc, "/domain/devices/panic") ||
	    !domxml_find(doc, "/domain/os/type[@arch='x86_64' or @arch='i686']"
			      "[not(starts-with(@machine,'microvm'))]"))
		return false;
	panic = child(domxml_find(doc, "/domain/devices"), "panic", NULL);
	if (panic)
		xmlSetProp(panic, BAD_CAST "model", BAD_CAST "isa");
	return panic;
}

static int add_mark(xmlDoc *doc, const struct attachment *a, const char *added,
		    struct dlog_error *err)
{
	xmlNode *all = domxml_find(doc, "/domain/metadata"), *mark;
	xmlNs *ns;

	if (!all)
		all = child(xmlDocGetRootElement(doc), "metadata", NULL);
	mark = all ? xmlNewChild(all, NULL, BAD_CAST "region", NULL) : NULL;
	ns = mark ? xmlNewNs(mark, BAD_CAST DOMXML_DLOG, BAD_CAST "dlog")
		  : NULL;
	if (!ns)
		return fail(err, -ENOMEM, no_memory);
	xmlSetNs(mark, ns);
	xmlSetProp(mark, BAD_CAST "path", BAD_CAST a->path);
	set_number(mark, "size", a->size);
	if (a->rings)
		set_number(mark, "rings", a->rings);
	xmlSetProp(mark, BAD_CAST "mode",
		   BAD_CAST(a->mode == MODE_NVDIMM ? "nvdimm" : "commandline"));
	if (*added)
		xmlSetProp(mark, BAD_CAST "added", BAD_CAST added);
	return 0;
}

int edit_attach(xmlDoc *doc, const struct attachment *a, struct dlog_error *err)
{
	bool numa = false, pvpanic;
	char added[32];
	int ret;

	if (!domxml_find(doc, "/domain/devices"))
		return fail(err, -EPROTO, "libvirt's XML has no <devices>");
	if (domxml_find(doc, "/domain/qemu:commandline/qemu:arg"
			     "[contains(@value,'id=dlog')]"))
		return fail(
			err, -EEXIST,
			"the domain's <qemu:commandline> has a device or object 'dlog' of somebody else's; take it out first");
	if (a->mode == MODE_NVDIMM)
		ret = attach_nvdimm(doc, a, &numa, err);
	else
		ret = attach_commandline(doc, a, err);
	if (ret)
		return ret;
	pvpanic = add_pvpanic(doc, a);
	snprintf(added, sizeof(added), "%s%s%s", numa ? "numa" : "",
		 numa && pvpanic ? " " : "", pvpanic ? "panic" : "");
	return add_mark(doc, a, added, err);
}

/* ---- out ---- */

enum mode edit_mode(xmlDoc *doc)
{
	return domxml_find(doc, "/domain/metadata/dlog:region[@mode="
				"'commandline']")
		       ? MODE_COMMANDLINE
		       : MODE_NVDIMM;
}

/* The nvdimm that is @path. */
static xmlNode *find_nvdimm(xmlDoc *doc, const char *path)
{
	xmlNode *nodes[SLOTS_MAX], *found = NULL;
	size_t n = domxml_find_all(
		doc, "/domain/devices/memory[@model='nvdimm']/source/path",
		nodes, SLOTS_MAX);

	for (size_t i = 0; i < n && i < SLOTS_MAX && !found; i++) {
		xmlChar *text = xmlNodeGetContent(nodes[i]);

		if (text && !strcmp((char *)text, path))
			found = nodes[i]->parent->parent;
		xmlFree(text);
	}
	return found;
}

static void detach_nvdimm(xmlDoc *doc, const char *path, bool numa_added)
{
	xmlNode *dimm = find_nvdimm(doc, path), *size, *max, *mem, *numa;
	uint64_t kib;

	if (!dimm)
		return;
	mem = domxml_find(doc, "/domain/memory");
	max = domxml_find(doc, "/domain/maxMemory");
	numa = domxml_find(doc, "/domain/cpu/numa[count(cell)=1]");
	for (size = dimm->children; size; size = size->next)
		if (!xmlStrcmp(size->name, BAD_CAST "target"))
			break;
	size = size ? xmlFirstElementChild(size) : NULL;
	kib = size ? content(size) : 0;
	drop(dimm);
	if (mem && content(mem) > kib)
		set_content(mem, content(mem) - kib);
	if (max && domxml_number(max, "slots") > 1) {
		set_number(max, "slots", domxml_number(max, "slots") - 1);
		set_content(max, content(max) - kib);
	} else if (max) {
		drop(max);
		if (numa && numa_added)
			drop_up(numa);
	}
}

static void detach_commandline(xmlDoc *doc)
{
	static const char *const values[] = {
		"/domain/qemu:commandline/qemu:arg[starts-with(@value,'" OBJECT
		"')]",
		"/domain/qemu:commandline/qemu:arg[starts-with(@value,'" DEVICE
		"')]",
	};

	for (size_t i = 0; i < 2; i++) {
		xmlNode *value = domxml_find(doc, values[i]);
		xmlNode *option = value ? xmlPreviousElementSibling(value)
					: NULL;

		if (!option)
			continue;
		drop(value);
		drop_up(option);
	}
}

int edit_detach(xmlDoc *doc, struct dlog_error *err)
{
	xmlNode *mark = domxml_find(doc, "/domain/metadata/dlog:region");
	bool numa = domxml_find(doc, "/domain/metadata/dlog:region"
				     "[contains(@added,'numa')]");
	bool pvpanic = domxml_find(doc, "/domain/metadata/dlog:region"
					"[contains(@added,'panic')]");
	xmlNode *panic = domxml_find(doc,
				     "/domain/devices/panic[@model='isa']");
	xmlChar *path = mark ? xmlGetNoNsProp(mark, BAD_CAST "path") : NULL;

	if (!path)
		return fail(err, -ENOENT,
			    "no region was attached by dlog-virt");
	if (edit_mode(doc) == MODE_NVDIMM)
		detach_nvdimm(doc, (char *)path, numa);
	else
		detach_commandline(doc);
	if (pvpanic && panic)
		drop(panic);
	drop_up(mark);
	xmlFree(path);
	return 0;
}
