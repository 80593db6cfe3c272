// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * facts.c - what a RAM file holds, for people.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core.h"
#include "text.h"

static void put_cpu(struct sink *out, struct dlog_ram *ram,
		    const struct core_cpu *c)
{
	struct dlog_ram_regs regs = core_regs_of(c);
	struct dlog_symbol sym;
	uint32_t pid;

	memcpy(&pid, c->prstatus + PRSTATUS_PID, sizeof(pid));
	sink_printf(out, "CPU %-6u ", c->cpu);
	if (pid < CORE_NO_PID)
		sink_printf(out, "thread %u, ", pid);
	sink_printf(out, "ip 0x%016" PRIx64, regs.rip);
	if (dlog_ram_symbol_at(ram, regs.rip, &sym) == 1) {
		sink_puts(out, " (");
		text_put(out, sym.name, strlen(sym.name), 0);
		sink_printf(out, "+0x%" PRIx64 ")", regs.rip - sym.address);
	}
	sink_printf(out, ", sp 0x%016" PRIx64 "\n", regs.rsp);
}

void facts_show(struct dlog *d, struct dlog_ram *ram,
		const struct core_regs *regs, struct sink *out)
{
	struct dlog_ram_kernel k;
	struct dlog_fact f;
	char cpus[24];

	for (uint32_t i = 0; dlog_get_fact(d, i, &f) == 1; i++)
		text_fact(out, 0, f.name, f.text);
	dlog_ram_get_kernel(ram, &k);
	if (k.cpus) {
		snprintf(cpus, sizeof(cpus), "%u possible", k.cpus);
		text_fact(out, 0, "CPUs", cpus);
	}
	text_fact(out, 0, "registers",
		  regs->nr ? regs->from
			   : "none: --qmp asks a living QEMU, --regs a region");
	for (uint32_t i = 0; i < regs->nr; i++)
		put_cpu(out, ram, &regs->cpu[i]);
}
