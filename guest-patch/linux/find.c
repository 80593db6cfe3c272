// SPDX-License-Identifier: GPL-2.0-only
/*
 * find.c - where the region is, mapping it, keeping others away.
 *
 * Four places, tried in this order; the first with a valid superblock wins:
 *   dlog.mem=SIZE@ADDR  memory that the user set aside
 *   dlog-hv             named by the ACPI table "DLOG" of that monitor
 *   nvdimm              named by the ACPI NFIT (ACPI 6.5, 5.2.25), present
 *                       long before any nvdimm driver
 *   ivshmem-plain       PCI 1af4:1110, BAR 2 (QEMU docs/specs/ivshmem-spec)
 * Nothing is written before a valid superblock was seen.
 *
 * Memory type: write-back is asked for.  What firmware's MTRRs mark as
 * uncachable comes back uncached-minus; an append of uncached stores would
 * cost thousands of cycles, so the mapping is then made write-combining and
 * each append ends in a fence.  The type reported is read from the page
 * table, not assumed.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/acpi.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>

#ifdef CONFIG_X86
#include <asm/pgtable.h>
#endif

#include "dlog_names.h"
#include "driver.h"

static char *mem;
module_param(mem, charp, 0444);
MODULE_PARM_DESC(mem, "SIZE@ADDR of a region in memory set aside for it");

static char *placement;
module_param(placement, charp, 0444);
MODULE_PARM_DESC(placement,
		 "Look only here: nvdimm, ivshmem, memory or dlog-hv");

/* What the page table says of @addr, which memremap() returned. */
static enum dlog_memtype dlog_memtype_of(const void *addr)
{
#ifdef CONFIG_X86
	/* PAT as Linux programs it (arch/x86/mm/pat/memtype.c). */
	static const enum dlog_memtype pat[] = {
		DLOG_MT_WB, DLOG_MT_WC, DLOG_MT_UC_MINUS, DLOG_MT_UC,
		DLOG_MT_WB, DLOG_MT_WT, DLOG_MT_UC_MINUS, DLOG_MT_WT,
	};
	unsigned int level;
	pte_t *pte = lookup_address((unsigned long)addr, &level);
	unsigned int i = 0;
	unsigned long flags;

	if (!pte)
		return DLOG_MT_UNKNOWN;
	flags = pte_flags(*pte);
	if (flags & _PAGE_PWT)
		i |= 1;
	if (flags & _PAGE_PCD)
		i |= 2;
	if (flags & (level == PG_LEVEL_4K ? _PAGE_PAT : _PAGE_PAT_LARGE))
		i |= 4;
	return pat[i];
#else
	return DLOG_MT_WB;
#endif
}

static int dlog_map(struct dlog_place *p)
{
	p->base = memremap(p->start, p->size, MEMREMAP_WB);
	if (!p->base)
		return -ENOMEM;
	p->memtype = dlog_memtype_of(p->base);
	if (p->memtype == DLOG_MT_WB || p->memtype == DLOG_MT_UNKNOWN)
		return 0;
	memunmap(p->base);
	p->base = memremap(p->start, p->size, MEMREMAP_WC);
	if (!p->base)
		return -ENOMEM;
	p->memtype = dlog_memtype_of(p->base);
	return 0;
}

/*
 * Is a region at @start?  Maps it and opens dlog.region on it.  -ENODEV, with
 * a message, when there is none.
 */
static int dlog_try(struct dlog_place *p, const char *how, u64 start, u64 size)
{
	enum dlog_super_error err;
	int ret;

	memset(p, 0, sizeof(*p));
	p->how = how;
	p->start = start;
	p->size = size;
	if (!start || start & ~PAGE_MASK || size < DLOG_REGION_MIN ||
	    size > DLOG_REGION_MAX || start + size < start) {
		pr_info("%s memory at %pa, %llu bytes: cannot be a region\n",
			how, &p->start, size);
		return -ENODEV;
	}
	ret = dlog_map(p);
	if (ret) {
		pr_err("%s memory at %pa: cannot map %llu KiB (%d)\n", how,
		       &p->start, size >> 10, ret);
		return ret;
	}
	err = dlog_region_open(&dlog.region, p->base, p->size);
	if (err != DLOG_SUPER_OK) {
		pr_info("%s memory at %pa: %s, left alone (format it on the host with dlog-create)\n",
			how, &p->start, dlog_super_strerror(err));
		memunmap(p->base);
		return -ENODEV;
	}
	return 0;
}

static int dlog_find_param(struct dlog_place *p)
{
	unsigned long long size, addr = 0;
	char *at;

	if (!mem)
		return -ENODEV;
	size = memparse(mem, &at);
	if (*at == '@')
		addr = memparse(at + 1, &at);
	if (!size || !addr || *at) {
		pr_err("mem=%s: not SIZE@ADDR\n", mem);
		return -EINVAL;
	}
	/* Memory that the page allocator owns must not become a log. */
	if (region_intersects(addr, size, IORESOURCE_SYSTEM_RAM,
			      IORES_DESC_NONE) != REGION_DISJOINT) {
		pr_err("mem=%s: this kernel uses that memory; set it aside with memmap=%s on its command line\n",
		       mem, mem);
		return -EBUSY;
	}
	return dlog_try(p, "memory", addr, size);
}

/* The table that docs/hypervisor.md describes. */
static int dlog_find_hv(struct dlog_place *p)
{
	int ret = -ENODEV;
#ifdef CONFIG_ACPI
	struct {
		struct acpi_table_header header;
		__le64 address, size;
	} __packed *table;
	struct acpi_table_header *header;

	if (acpi_disabled || ACPI_FAILURE(acpi_get_table("DLOG", 0, &header)))
		return -ENODEV;
	table = (void *)header;
	if (header->length >= sizeof(*table))
		ret = dlog_try(p, "dlog-hv", le64_to_cpu(table->address),
			       le64_to_cpu(table->size));
	acpi_put_table(header);
#endif
	return ret;
}

static int dlog_find_nfit(struct dlog_place *p)
{
	int ret = -ENODEV;
#ifdef CONFIG_ACPI
	static const guid_t pm = GUID_INIT(0x66f0d379, 0xb4f3, 0x4074, 0xac,
					   0x43, 0x0d, 0x33, 0x18, 0xb7, 0x8c,
					   0xdb);
	struct acpi_table_header *table;
	u8 *at, *end;

	if (acpi_disabled ||
	    ACPI_FAILURE(acpi_get_table(ACPI_SIG_NFIT, 0, &table)))
		return -ENODEV;
	at = (u8 *)table + sizeof(struct acpi_table_nfit);
	end = (u8 *)table + table->length;
	while (ret && at + sizeof(struct acpi_nfit_header) <= end) {
		struct acpi_nfit_header *h = (void *)at;
		struct acpi_nfit_system_address *spa = (void *)at;

		if (h->length < sizeof(*h) || h->length > end - at)
			break;
		if (h->type == ACPI_NFIT_TYPE_SYSTEM_ADDRESS &&
		    h->length >= offsetofend(struct acpi_nfit_system_address,
					     length) &&
		    guid_equal((guid_t *)spa->range_guid, &pm))
			ret = dlog_try(p, "nvdimm", spa->address, spa->length);
		at += h->length;
	}
	acpi_put_table(table);
#endif
	return ret;
}

static int dlog_find_ivshmem(struct dlog_place *p)
{
	int ret = -ENODEV;
#ifdef CONFIG_PCI
	struct pci_dev *dev = NULL;

	while (ret && (dev = pci_get_device(0x1af4, 0x1110, dev))) {
		if (pci_resource_len(dev, 2) < DLOG_REGION_MIN)
			continue;
		if (pci_enable_device(dev))
			continue;
		ret = dlog_try(p, "ivshmem", pci_resource_start(dev, 2),
			       pci_resource_len(dev, 2));
	}
	pci_dev_put(dev);
#endif
	return ret;
}

/*
 * Take the addresses in /proc/iomem, so that nd_pmem finds them busy and
 * makes no disk of them.  Where nd_pmem was first, say what to do: the log
 * is recorded all the same.
 */
static void dlog_claim(struct dlog_place *p)
{
	p->claim = request_mem_region(p->start, p->size, "dlog");
	if (!p->claim)
		pr_warn("%pa is claimed by another driver, which may offer the log as a disk: load dlog first (modprobe.d: softdep nd_pmem pre: dlog)\n",
			&p->start);
}

int dlog_find(struct dlog_place *p)
{
	static const struct {
		const char *name;
		int (*find)(struct dlog_place *p);
	} places[] = {
		{ "memory", dlog_find_param },
		{ "dlog-hv", dlog_find_hv },
		{ "nvdimm", dlog_find_nfit },
		{ "ivshmem", dlog_find_ivshmem },
	};
	int ret = -ENODEV;

	for (int i = 0; i < ARRAY_SIZE(places) && ret; i++) {
		if (placement && strcmp(placement, places[i].name))
			continue;
		ret = places[i].find(p);
		if (ret == -EINVAL || ret == -EBUSY)
			return ret;
	}
	if (ret) {
		pr_err("no region found: attach one to the VM (dlog-qemu FILE -- ...) or name it with dlog.mem=SIZE@ADDR\n");
		return -ENODEV;
	}
	dlog_claim(p);
	if (p->memtype == DLOG_MT_UC || p->memtype == DLOG_MT_UC_MINUS)
		pr_warn("%s memory at %pa is mapped %s: each append is slow; an nvdimm is cached\n",
			p->how, &p->start, dlog_name_memtype(p->memtype));
	else
		pr_info("%s memory at %pa is mapped %s\n", p->how, &p->start,
			dlog_name_memtype(p->memtype));
	return 0;
}

void dlog_unfind(struct dlog_place *p)
{
	memunmap(p->base);
	if (p->claim)
		release_mem_region(p->start, p->size);
}
