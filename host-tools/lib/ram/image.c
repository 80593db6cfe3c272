// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * image.c - guest-physical memory in a RAM file.
 *
 * QEMU lays it out as hw/i386/pc.c and pc_piix.c, pc_q35.c, microvm.c say:
 * RAM from 0 up to a limit below 4 GiB, where devices are, then the rest from
 * 4 GiB on; the file has both parts without the gap.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ram.h"

int ram_fail(struct dlog_ram *ram, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(ram->why, sizeof(ram->why), fmt, ap);
	va_end(ap);
	return code;
}

const char *dlog_ram_why(const struct dlog_ram *ram)
{
	return ram->why;
}

void ram_layout(struct dlog_ram *ram, uint64_t below)
{
	uint64_t size = ram->d->size & ~(uint64_t)(RAM_PAGE - 1);

	if (below > size)
		below = size;
	ram->range[0] = (struct dlog_ram_range){ .size = below };
	ram->range[1] = (struct dlog_ram_range){
		.phys = RAM_4G,
		.size = size - below,
		.offset = below,
	};
	ram->ranges = size > below ? 2 : 1;
}

size_t dlog_ram_ranges(struct dlog_ram *ram, const struct dlog_ram_range **out)
{
	*out = ram->range;
	return ram->ranges;
}

uint64_t ram_together(const struct dlog_ram *ram, uint64_t phys,
		      uint64_t *offset)
{
	for (size_t i = 0; i < ram->ranges; i++) {
		const struct dlog_ram_range *r = &ram->range[i];

		if (phys < r->phys || phys - r->phys >= r->size)
			continue;
		*offset = r->offset + (phys - r->phys);
		return r->size - (phys - r->phys);
	}
	return 0;
}

uint64_t ram_phys(const struct dlog_ram *ram, uint64_t off)
{
	const struct dlog_ram_range *r = &ram->range[ram->ranges - 1];

	return off < r->offset ? off : r->phys + (off - r->offset);
}

int dlog_ram_read_phys(struct dlog_ram *ram, uint64_t phys, void *buf,
		       size_t len)
{
	uint8_t *to = buf;

	while (len) {
		uint64_t off, n = ram_together(ram, phys, &off);
		int ret;

		if (!n)
			return ram_fail(ram, -EFAULT,
					"There is no RAM at physical %#llx.",
					(unsigned long long)phys);
		if (n > len)
			n = len;
		ret = dlog_fetch(ram->d, off, to, n);
		if (ret)
			return ram_fail(
				ram, ret, "Cannot read physical %#llx: %s.",
				(unsigned long long)phys, strerror(-ret));
		phys += n;
		to += n;
		len -= n;
	}
	return 0;
}

int ram_read_u64(struct dlog_ram *ram, uint64_t addr, uint64_t *value)
{
	return dlog_ram_read(ram, addr, value, sizeof(*value));
}
