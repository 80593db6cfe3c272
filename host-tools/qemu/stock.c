// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * stock.c - what a kernel wants that knows nothing of dlog: where its ramoops
 * finds the memory, and how it divides it.
 *
 * Relies on command.c's reading of the line.  Follows QEMU 7.2 to 10
 * (hw/i386/pc.c, pc_piix.c, pc_q35.c) for where memory devices begin, and
 * fs/pstore/ram.c of Linux 5.10 to 6.12 for the parameters.
 */
#include <errno.h>
#include <string.h>

#include "qemu.h"

static uint64_t power_below(uint64_t n)
{
	uint64_t p = 1;

	while (p <= n / 2)
		p *= 2;
	return p;
}

/* Memory below 4 GiB, and where the rest begins to lie above it. */
static uint64_t low_memory(const struct command *c)
{
	const char *text = props_get(&c->machine, "max-ram-below-4g");
	uint64_t most = c->q35 ? 0xb0000000 : 0xe0000000;
	uint64_t low = c->q35 ? 2 * GIB : 3 * GIB, given;

	if (c->ram < most)
		low = most;
	if (text && !size_parse(text, 1, &given) && given < low)
		low = given;
	return low;
}

int stock_address(const struct command *c, uint64_t *at, struct dlog_error *err)
{
	static const char *const devices[] = {
		"pc-dimm",    "nvdimm",		 "virtio-mem-pci",
		"virtio-mem", "virtio-pmem-pci", "virtio-pmem",
	};
	uint64_t low = low_memory(c), above = c->ram > low ? c->ram - low : 0;

	if (c->board != BOARD_PC)
		return fail(err, -EINVAL,
			    "--stock is for machines pc and q35 only");
	for (size_t i = 0; i < sizeof(devices) / sizeof(*devices); i++) {
		const struct item *item = command_device(c, devices[i]);

		if (item)
			return fail(
				err, -EINVAL,
				"-device %s: with it the address of the file's memory is not known; leave it out, or use --placement=ram",
				item->text);
	}
	*at = (4 * GIB + above + GIB - 1) & ~(GIB - 1);
	return 0;
}

/*
 * A quarter is the console's, a sixteenth each what user space and ftrace
 * say, the rest dumps.  max_reason 4: dumps also at each reboot and shutdown.
 */
void stock_words(char *out, size_t size, const struct wishes *w, uint64_t at)
{
	uint64_t part = power_below(w->size), record = part / 64;
	char memmap[80] = "";

	if (record < 4 * KIB)
		record = 4 * KIB;
	if (record > 256 * KIB)
		record = 256 * KIB;
	if (w->placement == PLACE_RAM)
		snprintf(memmap, sizeof(memmap), "memmap=%s$%s ",
			 size_text(w->size).s, size_text(at).s);
	snprintf(out, size,
		 "%sramoops.mem_address=0x%llx ramoops.mem_size=0x%llx "
		 "ramoops.record_size=0x%llx ramoops.console_size=0x%llx "
		 "ramoops.pmsg_size=0x%llx ramoops.ftrace_size=0x%llx "
		 "ramoops.ecc=1 ramoops.max_reason=4%s",
		 memmap, (unsigned long long)at, (unsigned long long)w->size,
		 (unsigned long long)record, (unsigned long long)part / 4,
		 (unsigned long long)part / 16, (unsigned long long)part / 16,
		 w->placement == PLACE_NVDIMM ? " modprobe.blacklist=nd_pmem"
					      : "");
}

void stock_tell(FILE *out, const struct wishes *w)
{
	fputs("dlog-qemu: if the guest's ramoops is a module, as Debian's is, it has to be loaded at boot, once in the guest:\n"
	      "    echo ramoops > /etc/modules-load.d/ramoops.conf\n",
	      out);
	if (w->placement == PLACE_NVDIMM)
		fputs("dlog-qemu: the module nd_pmem takes the memory for a disk if it comes first; modprobe.blacklist=nd_pmem keeps it away\n",
		      out);
}
