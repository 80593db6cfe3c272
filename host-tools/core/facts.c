// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * facts.c - what a RAM file holds, for people.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core.h"
#include "text.h"

static void put_name(struct sink *out, const char *name)
{
	sink_printf(out, "%-10s ", name);
}

static void put_cpu(struct sink *out, struct dlog_ram *ram,
		    const struct core_cpu *c)
{
	struct dlog_symbol sym;
	char name[24];
	uint32_t pid;

	memcpy(&pid, c->prstatus + PRSTATUS_PID, sizeof(pid));
	snprintf(name, sizeof(name), "CPU %u", c->cpu);
	put_name(out, name);
	if (pid < CORE_NO_PID)
		sink_printf(out, "thread %u, ", pid);
	sink_printf(out, "ip 0x%016" PRIx64, core_reg(c, CORE_RIP));
	if (dlog_ram_symbol_at(ram, core_reg(c, CORE_RIP), &sym) == 1) {
		sink_puts(out, " (");
		text_put(out, sym.name, strlen(sym.name), 0);
		sink_printf(out, "+0x%" PRIx64 ")",
			    core_reg(c, CORE_RIP) - sym.address);
	}
	sink_printf(out, ", sp 0x%016" PRIx64 "\n", core_reg(c, CORE_RSP));
}

void facts_show(struct dlog *d, struct dlog_ram *ram,
		const struct core_regs *regs, struct sink *out)
{
	struct dlog_ram_kernel k;
	struct dlog_fact f;

	for (uint32_t i = 0; dlog_get_fact(d, i, &f) == 1; i++) {
		put_name(out, f.name);
		text_put(out, f.text, strlen(f.text), 11);
		sink_putc(out, '\n');
	}
	dlog_ram_get_kernel(ram, &k);
	if (k.cpus) {
		put_name(out, "CPUs");
		sink_printf(out, "%u possible\n", k.cpus);
	}
	put_name(out, "registers");
	sink_puts(out, regs->nr ? regs->from
				: "none: --qmp asks a living QEMU, --regs a "
				  "region");
	sink_putc(out, '\n');
	for (uint32_t i = 0; i < regs->nr; i++)
		put_cpu(out, ram, &regs->cpu[i]);
}
