// SPDX-License-Identifier: GPL-2.0-only
/*
 * elf.c - symbols of an ELF file: .symtab, or .dynsym where that is missing.
 *
 * libelf checks what it reads against the file's size.  It reads, and does
 * not map, so that a file that is cut short meanwhile is an error alone.
 */
#include <errno.h>
#include <gelf.h>
#include <libelf.h>
#include <stdio.h>
#include <string.h>

#include "symbols.h"

struct elf_file {
	struct symbol_file *f;
	Elf *elf;
	Elf_Scn *symtab, *dynsym;
};

/* .note.gnu.build-id: tells builds apart. */
static void take_build_id(struct symbol_file *f, Elf_Scn *scn)
{
	Elf_Data *data = elf_getdata(scn, NULL);
	size_t off = 0, name, desc, next;
	GElf_Nhdr n;

	while (data && data->d_buf &&
	       (next = gelf_getnote(data, off, &n, &name, &desc))) {
		const char *p = (const char *)data->d_buf;

		if (n.n_type == NT_GNU_BUILD_ID && n.n_namesz == 4 &&
		    !memcmp(p + name, "GNU", 4) && n.n_descsz &&
		    n.n_descsz <= (sizeof(f->id) - 1) / 2)
			for (uint32_t i = 0; i < n.n_descsz; i++)
				snprintf(f->id + 2 * i, 3, "%02x",
					 (uint8_t)p[desc + i]);
		off = next;
	}
}

static int look_at_sections(struct elf_file *e)
{
	Elf_Scn *scn = NULL;
	GElf_Shdr sh;

	while ((scn = elf_nextscn(e->elf, scn))) {
		if (!gelf_getshdr(scn, &sh))
			return -EINVAL;
		if (sh.sh_type == SHT_SYMTAB)
			e->symtab = scn;
		else if (sh.sh_type == SHT_DYNSYM)
			e->dynsym = scn;
		else if (sh.sh_type == SHT_NOTE && !*e->f->id)
			take_build_id(e->f, scn);
	}
	return 0;
}

static bool is_code(struct elf_file *e, const GElf_Sym *sym)
{
	Elf_Scn *scn;
	GElf_Shdr sh;

	if (GELF_ST_TYPE(sym->st_info) == STT_OBJECT)
		return false;
	if (sym->st_shndx >= SHN_LORESERVE)
		return GELF_ST_TYPE(sym->st_info) == STT_FUNC;
	scn = elf_getscn(e->elf, sym->st_shndx);
	return scn && gelf_getshdr(scn, &sh) && (sh.sh_flags & SHF_EXECINSTR);
}

static bool is_wanted(const GElf_Sym *sym)
{
	int type = GELF_ST_TYPE(sym->st_info);

	return sym->st_shndx != SHN_UNDEF &&
	       (type == STT_NOTYPE || type == STT_OBJECT || type == STT_FUNC ||
		type == STT_GNU_IFUNC);
}

/* Of printing characters alone; its length, or 0. */
static size_t name_length(const char *name)
{
	size_t len = 0;

	while (name && name[len] > ' ' && name[len] <= '~' &&
	       len < SYMBOL_NAME_MAX)
		len++;
	return name && !name[len] ? len : 0;
}

static int take_symbols(struct elf_file *e, Elf_Scn *scn)
{
	Elf_Data *data = elf_getdata(scn, NULL);
	GElf_Shdr sh;
	GElf_Sym sym;

	if (!data || !gelf_getshdr(scn, &sh))
		return -EINVAL;
	for (int i = 1; gelf_getsym(data, i, &sym); i++) {
		const char *name;
		unsigned int rank;
		size_t len;
		int ret;

		if (!is_wanted(&sym))
			continue;
		name = elf_strptr(e->elf, sh.sh_link, sym.st_name);
		len = name_length(name);
		if (!len)
			continue;
		rank = GELF_ST_TYPE(sym.st_info) == STT_NOTYPE ? 2 : 0;
		rank += GELF_ST_BIND(sym.st_info) != STB_GLOBAL;
		ret = table_add(e->f, sym.st_value, sym.st_size, name, len,
				is_code(e, &sym), rank);
		if (ret)
			return ret;
	}
	return 0;
}

static int load(struct elf_file *e)
{
	const char *path = e->f->path;
	GElf_Ehdr head;
	int ret;

	if (elf_kind(e->elf) != ELF_K_ELF || !gelf_getehdr(e->elf, &head) ||
	    look_at_sections(e)) {
		tell("%s is a damaged ELF file: %s", path, elf_errmsg(-1));
		return -EINVAL;
	}
	if (head.e_type == ET_REL) {
		tell("%s is an object file or a module, which has no addresses yet: give what is loaded",
		     path);
		return -EINVAL;
	}
	if (!e->symtab && !e->dynsym) {
		tell("%s has no symbols: give one that was not stripped, or a System.map (dlog-core --symbols makes one)",
		     path);
		return -EINVAL;
	}
	ret = take_symbols(e, e->symtab ? e->symtab : e->dynsym);
	if (!ret && !e->f->nr)
		ret = -EINVAL;
	if (ret)
		tell("%s: %s", path,
		     ret == -ENOMEM ? "no memory for its symbols"
		     : ret == -E2BIG
			     ? "more symbols than any kernel has"
			     : "its table of symbols is empty or damaged");
	return ret;
}

int elf_load(struct symbol_file *f, int fd)
{
	struct elf_file e = { .f = f };
	int ret;

	elf_version(EV_CURRENT);
	e.elf = elf_begin(fd, ELF_C_READ, NULL);
	if (!e.elf) {
		tell("cannot read %s: %s", f->path, elf_errmsg(-1));
		return -EINVAL;
	}
	ret = load(&e);
	elf_end(e.elf);
	return ret;
}
