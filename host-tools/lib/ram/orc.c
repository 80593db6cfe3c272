// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * orc.c - the kernel's tables that say how to unwind its stacks.
 *
 * Linux 6.12, arch/x86/kernel/unwind_orc.c: .orc_unwind_ip has sorted
 * addresses, each relative to where it stands, .orc_unwind an entry for each
 * of them.  The entries' bit fields changed with Linux 6.3 (signal) and 6.4
 * (type got three bits and other numbers, end went): BTF tells.
 */
#include <stdlib.h>
#include <string.h>

#include "kernel.h"

#define ENTRIES_MAX (16u << 20)

static bool lies_in(const struct dlog_ram_member *m, int64_t size)
{
	return (uint64_t)m->offset + m->size <= (uint64_t)size;
}

static bool format_find(struct dlog_ram *ram, struct ram_orc_format *f)
{
	int64_t size = dlog_ram_sizeof(ram, "orc_entry");
	const struct {
		const char *name;
		struct dlog_ram_member *m;
	} want[] = {
		{ "sp_offset", &f->sp_offset }, { "bp_offset", &f->bp_offset },
		{ "sp_reg", &f->sp_reg },	{ "bp_reg", &f->bp_reg },
		{ "type", &f->type },
	};

	if (size < 4 || size > 16)
		return false;
	for (size_t i = 0; i < sizeof(want) / sizeof(*want); i++)
		if (dlog_ram_member(ram, "orc_entry", want[i].name,
				    want[i].m) ||
		    !lies_in(want[i].m, size))
			return false;
	f->has_end = !dlog_ram_member(ram, "orc_entry", "end", &f->end) &&
		     lies_in(&f->end, size);
	f->has_signal = !dlog_ram_member(ram, "orc_entry", "signal",
					 &f->signal) &&
			lies_in(&f->signal, size);
	f->size = (uint32_t)size;
	return true;
}

/* Where the kernel's own are. */
static void find_kernel(struct dlog_ram *ram, struct ram_kernel *k)
{
	uint64_t from, to, entries;

	k->orc_tried = true;
	if (!format_find(ram, &k->orc_format) ||
	    ram_kernel_symbol(ram, "__start_orc_unwind_ip", &from) ||
	    ram_kernel_symbol(ram, "__stop_orc_unwind_ip", &to) ||
	    ram_kernel_symbol(ram, "__start_orc_unwind", &entries) ||
	    to < from || (to - from) / 4 > ENTRIES_MAX)
		return;
	k->orc.ip_addr = from;
	k->orc.entry_addr = entries;
	k->orc.nr = (uint32_t)((to - from) / 4);
}

static void table_load(struct dlog_ram *ram, struct ram_kernel *k,
		       struct ram_orc_table *t)
{
	uint64_t each = k->orc_format.size, size = t->nr * (each + 4);
	int64_t ips, entries;
	uint8_t *ip;

	t->loaded = true;
	if (size > ram_budget(ram) || k->kept > ram_budget(ram) - size) {
		t->nr = 0;
		return;
	}
	k->kept += size;
	ips = ram_read_upto(ram, t->ip_addr, 4 * (size_t)t->nr, &ip);
	t->ip = (int32_t *)(void *)ip;
	entries = ram_read_upto(ram, t->entry_addr, each * t->nr, &t->entry);
	if (ips < 0 || entries < 0)
		t->nr = 0;
	if (ips / 4 < t->nr)
		t->nr = (uint32_t)(ips / 4);
	if (entries / (int64_t)each < t->nr)
		t->nr = (uint32_t)(entries / (int64_t)each);
}

void ram_orc_free(struct ram_orc_table *t)
{
	free(t->ip);
	free(t->entry);
	memset(t, 0, sizeof(*t));
}

static uint64_t table_ip(const struct ram_orc_table *t, uint32_t i)
{
	return t->ip_addr + 4 * (uint64_t)i + (uint64_t)(int64_t)t->ip[i];
}

static uint32_t field(const uint8_t *entry, const struct dlog_ram_member *m)
{
	uint32_t v = 0;

	memcpy(&v, entry + m->offset, m->size < 4 ? m->size : 4);
	if (m->bits)
		v = v >> m->bit & ((1u << (m->bits & 31)) - 1);
	return v;
}

static void read_entry(const struct ram_orc_format *f, const uint8_t *p,
		       struct ram_orc *out)
{
	uint32_t type = field(p, &f->type);

	out->sp_offset = (int16_t)field(p, &f->sp_offset);
	out->bp_offset = (int16_t)field(p, &f->bp_offset);
	out->sp_reg = (uint8_t)field(p, &f->sp_reg);
	out->bp_reg = (uint8_t)field(p, &f->bp_reg);
	if (!f->has_end)
		out->type = type <= ORC_PARTIAL ? (enum ram_orc_type)type
						: ORC_UNDEFINED;
	else if (out->sp_reg == ORC_REG_UNDEFINED)
		out->type = field(p, &f->end) ? ORC_END : ORC_UNDEFINED;
	else
		out->type = type <= 2 ? (enum ram_orc_type)(ORC_CALL + type)
				      : ORC_UNDEFINED;
	out->signal = f->has_signal ? field(p, &f->signal)
				    : out->type != ORC_CALL;
}

static bool table_find(struct dlog_ram *ram, struct ram_kernel *k,
		       struct ram_orc_table *t, uint64_t ip,
		       struct ram_orc *out)
{
	uint32_t low = 0, high;

	if (!t->loaded && t->nr)
		table_load(ram, k, t);
	high = t->nr;
	/* The last of several for one address: others only end a section. */
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (table_ip(t, mid) <= ip)
			low = mid + 1;
		else
			high = mid;
	}
	if (!low)
		return false;
	read_entry(&k->orc_format,
		   t->entry + (size_t)(low - 1) * k->orc_format.size, out);
	return true;
}

bool ram_orc_find(struct dlog_ram *ram, uint64_t ip, struct ram_orc *out)
{
	struct ram_module *m;
	struct ram_kernel *k;
	int ret;

	/* A call of no function at all: the caller is on top of the stack. */
	if (!ip) {
		*out = (struct ram_orc){ .type = ORC_CALL,
					 .sp_reg = ORC_REG_SP,
					 .sp_offset = 8 };
		return true;
	}
	k = ram_kernel_symbols(ram, &ret);
	if (!k || !ram_is_text(ram, ip))
		return false;
	if (!k->orc_tried)
		find_kernel(ram, k);
	if (!k->orc_format.size)
		return false;
	m = ram_module_at(ram, ip);
	return table_find(ram, k, m ? &m->orc : &k->orc, ip, out);
}
