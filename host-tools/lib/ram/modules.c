// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * modules.c - the modules that a kernel has loaded, and their symbols.
 *
 * struct module is that of Linux 6.1 (core_layout) or of 6.4 and later (mem[],
 * by enum mod_mem_type); its kallsyms are the symbols that stay after the
 * module's start (Linux 6.12, kernel/module/kallsyms.c).
 */
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "kernel.h"

#define MODULES_MAX 16384u
#define STATE_UNFORMED 3
#define NAMES_LEFT 512u /* behind the last name's start */

struct layout {
	struct dlog_ram_member list, name, state, kallsyms, symtab, num, strtab;
	struct dlog_ram_member nr_orc, orc_ip, orc;
	/* Linux 6.4 */
	struct dlog_ram_member mem, mem_base, mem_size;
	int64_t mem_each;
	/* before */
	struct dlog_ram_member core, init, base, size, text_size;
};

static bool member(struct dlog_ram *ram, const char *type, const char *path,
		   struct dlog_ram_member *m)
{
	return !dlog_ram_member(ram, type, path, m);
}

static bool layout_parts(struct dlog_ram *ram, struct layout *l)
{
	if (member(ram, "module", "mem", &l->mem)) {
		l->mem_each = dlog_ram_sizeof(ram, "module_memory");
		return l->mem_each > 0 &&
		       member(ram, "module_memory", "base", &l->mem_base) &&
		       member(ram, "module_memory", "size", &l->mem_size);
	}
	return member(ram, "module", "core_layout", &l->core) &&
	       member(ram, "module", "init_layout", &l->init) &&
	       member(ram, "module_layout", "base", &l->base) &&
	       member(ram, "module_layout", "size", &l->size) &&
	       member(ram, "module_layout", "text_size", &l->text_size);
}

static bool layout_find(struct dlog_ram *ram, struct layout *l)
{
	memset(l, 0, sizeof(*l));
	/* Those of ORC may be missing. */
	member(ram, "module", "arch.num_orcs", &l->nr_orc);
	member(ram, "module", "arch.orc_unwind_ip", &l->orc_ip);
	member(ram, "module", "arch.orc_unwind", &l->orc);
	return layout_parts(ram, l) &&
	       member(ram, "module", "list", &l->list) &&
	       member(ram, "module", "name", &l->name) &&
	       member(ram, "module", "state", &l->state) &&
	       member(ram, "module", "kallsyms", &l->kallsyms) &&
	       member(ram, "mod_kallsyms", "symtab", &l->symtab) &&
	       member(ram, "mod_kallsyms", "num_symtab", &l->num) &&
	       member(ram, "mod_kallsyms", "strtab", &l->strtab);
}

static void set_part(struct ram_module *m, int i, uint64_t addr, uint64_t size)
{
	if (addr + size < addr)
		return;
	m->part[i].addr = addr;
	m->part[i].size = size;
}

static void read_parts(struct dlog_ram *ram, const struct layout *l,
		       struct ram_module *m)
{
	uint64_t core = m->addr + l->core.offset;
	uint64_t init = m->addr + l->init.offset;

	if (l->mem_each) {
		uint32_t nr = l->mem.size / (uint32_t)l->mem_each;

		for (uint32_t i = 0; i < nr && i < RAM_MODULE_PARTS; i++) {
			uint64_t at = m->addr + l->mem.offset +
				      i * (uint64_t)l->mem_each;

			set_part(m, (int)i,
				 ram_member_number(ram, at, &l->mem_base),
				 ram_member_number(ram, at, &l->mem_size));
		}
		return;
	}
	set_part(m, 0, ram_member_number(ram, core, &l->base),
		 ram_member_number(ram, core, &l->text_size));
	set_part(m, 1, ram_member_number(ram, core, &l->base),
		 ram_member_number(ram, core, &l->size));
	set_part(m, 4, ram_member_number(ram, init, &l->base),
		 ram_member_number(ram, init, &l->text_size));
	set_part(m, 5, ram_member_number(ram, init, &l->base),
		 ram_member_number(ram, init, &l->size));
}

static bool read_module(struct dlog_ram *ram, const struct layout *l,
			uint64_t addr, struct ram_module *m)
{
	uint64_t state;

	memset(m, 0, sizeof(*m));
	m->addr = addr;
	if (ram_read_number(ram, addr + l->state.offset, l->state.size,
			    &state) ||
	    state == STATE_UNFORMED)
		return false;
	if (dlog_ram_read_string(ram, addr + l->name.offset, m->name,
				 sizeof(m->name)) <= 0)
		return false;
	for (char *p = m->name; *p; p++)
		if ((uint8_t)*p <= ' ' || (uint8_t)*p > '~')
			*p = '?';
	read_parts(ram, l, m);
	m->orc.ip_addr = ram_member_number(ram, addr, &l->orc_ip);
	m->orc.entry_addr = ram_member_number(ram, addr, &l->orc);
	m->orc.nr = (uint32_t)ram_member_number(ram, addr, &l->nr_orc);
	return true;
}

static int module_add(struct ram_modules *all, size_t *room,
		      const struct ram_module *m)
{
	void *p = dlog_grow(all->module, all->nr, room, sizeof(*m));

	if (!p)
		return -ENOMEM;
	all->module = p;
	all->module[all->nr++] = *m;
	return 0;
}

static void load_list(struct dlog_ram *ram, struct ram_modules *all)
{
	uint64_t head, at[2], here;
	size_t room = 0;
	struct ram_module m;
	struct layout l;

	if (ram_kernel_symbol(ram, "modules", &head) || !layout_find(ram, &l))
		return;
	/* As in tasks.c, each must point back to the one before. */
	here = head;
	if (dlog_ram_read(ram, head, at, sizeof(at)))
		return;
	for (uint32_t i = 0; i < MODULES_MAX && *at != head; i++) {
		uint64_t next = *at;

		if (dlog_ram_read(ram, next, at, sizeof(at)) || at[1] != here)
			break;
		here = next;
		if (read_module(ram, &l, next - l.list.offset, &m) &&
		    module_add(all, &room, &m))
			break;
	}
}

static int part_order(const void *a, const void *b)
{
	const struct ram_part *x = a, *y = b;

	if (x->addr != y->addr)
		return x->addr < y->addr ? -1 : 1;
	return x->size < y->size ? -1 : x->size > y->size;
}

/* Those that there are, also when the list is damaged. */
static void ram_modules_load(struct dlog_ram *ram, struct ram_modules *all)
{
	load_list(ram, all);
	if (!all->nr)
		return;
	all->part = malloc(all->nr * RAM_MODULE_PARTS * sizeof(*all->part));
	for (uint32_t i = 0; all->part && i < all->nr; i++) {
		const struct ram_module *m = &all->module[i];

		for (int j = 0; j < RAM_MODULE_PARTS; j++)
			if (m->part[j].size)
				all->part[all->nr_parts++] = (struct ram_part){
					m->part[j].addr, m->part[j].size, i
				};
	}
	if (all->nr_parts)
		qsort(all->part, all->nr_parts, sizeof(*all->part), part_order);
}

void ram_modules_free(struct ram_modules *all)
{
	for (uint32_t i = 0; i < all->nr; i++) {
		ram_symbols_free(&all->module[i].symbols);
		ram_orc_free(&all->module[i].orc);
	}
	free(all->module);
	free(all->part);
	memset(all, 0, sizeof(*all));
}

/*
 * The part that begins closest before @addr: parts do not overlap, save that
 * of one module some begin at one address, the largest last.
 */
static struct ram_module *find_part(const struct ram_modules *all,
				    uint64_t addr)
{
	uint32_t low = 0, high = all->nr_parts;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (all->part[mid].addr <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	if (!low || addr - all->part[low - 1].addr >= all->part[low - 1].size)
		return NULL;
	return &all->module[all->part[low - 1].module];
}

struct ram_module *ram_module_at(struct dlog_ram *ram, uint64_t addr)
{
	struct ram_kernel *k = ram_kernel(ram);

	if (!k)
		return NULL;
	if (!k->modules_loaded) {
		k->modules_loaded = true;
		ram_modules_load(ram, &k->modules);
	}
	return find_part(&k->modules, addr);
}

/* ---- their symbols ---- */

static bool wanted(const struct ram_module *m, const Elf64_Sym *sym)
{
	if (sym->st_shndx == SHN_UNDEF)
		return false;
	for (int j = 0; j < RAM_MODULE_PARTS; j++)
		if (sym->st_value - m->part[j].addr < m->part[j].size)
			return true;
	return false;
}

/* How many bytes of names @sym may refer to. */
static uint64_t names_size(const struct ram_module *m, const Elf64_Sym *sym,
			   uint32_t nr)
{
	uint64_t most = 0;

	for (uint32_t i = 0; i < nr; i++)
		if (wanted(m, &sym[i]) && sym[i].st_name >= most)
			most = (uint64_t)sym[i].st_name + NAMES_LEFT;
	return most;
}

/* All modules together may cost no more than the memory they came from. */
static bool may_keep(struct dlog_ram *ram, struct ram_kernel *k, uint64_t size)
{
	if (size > ram_budget(ram) - k->kept)
		return false;
	k->kept += size;
	return true;
}

static void add_symbols(struct dlog_ram *ram, struct ram_module *m,
			const Elf64_Sym *sym, uint32_t nr, uint64_t strtab)
{
	struct ram_kernel *k = ram_kernel(ram);
	uint64_t left = ram_budget(ram) - k->kept;
	uint8_t *names;
	int64_t len;

	len = ram_read_upto(ram, strtab, names_size(m, sym, nr), &names);
	if (len < 0)
		return;
	if (len)
		names[len - 1] = 0;
	for (uint32_t i = 1; i < nr; i++) {
		const char *name;

		if (!wanted(m, &sym[i]) || sym[i].st_name >= len)
			continue;
		name = (char *)names + sym[i].st_name;
		if (!*name || (name[0] == '.' && name[1] == 'L'))
			continue;
		if (ram_symbols_add(&m->symbols, sym[i].st_value, name,
				    strnlen(name, RAM_SYMBOL_MAX - 1), left))
			break;
	}
	free(names);
	if (!may_keep(ram, k, m->symbols.names_len))
		k->kept = ram_budget(ram);
	ram_symbols_sort(&m->symbols);
}

static void load_symbols(struct dlog_ram *ram, struct ram_kernel *k,
			 struct ram_module *m)
{
	uint64_t at, symtab, strtab;
	struct layout l;
	uint8_t *sym;
	int64_t len;
	uint32_t nr;

	if (!layout_find(ram, &l))
		return;
	at = ram_member_number(ram, m->addr, &l.kallsyms);
	symtab = ram_member_number(ram, at, &l.symtab);
	strtab = ram_member_number(ram, at, &l.strtab);
	nr = (uint32_t)ram_member_number(ram, at, &l.num);
	if (!at || !nr || !may_keep(ram, k, nr * sizeof(Elf64_Sym)))
		return;
	len = ram_read_upto(ram, symtab, nr * sizeof(Elf64_Sym), &sym);
	if (len < 0)
		return;
	nr = (uint32_t)((uint64_t)len / sizeof(Elf64_Sym));
	if (may_keep(ram, k, names_size(m, (Elf64_Sym *)(void *)sym, nr)))
		add_symbols(ram, m, (Elf64_Sym *)(void *)sym, nr, strtab);
	free(sym);
}

struct ram_symbols *ram_module_symbols(struct dlog_ram *ram,
				       struct ram_module *m)
{
	if (!m->symbols_loaded) {
		m->symbols_loaded = true;
		load_symbols(ram, ram_kernel(ram), m);
	}
	return &m->symbols;
}
