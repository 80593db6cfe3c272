// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * elf.c - the file offset of a function in a program or library, which is
 * what the kernel wants of a uprobe.  Follows the ELF-64 object file format,
 * version 1.5.  The file is not trusted: every offset is checked.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl.h"

struct elf {
	const uint8_t *base;
	uint64_t size;
	Elf64_Ehdr head;
};

/* Copies @size bytes at @offset of the file; false when they are not there. */
static bool elf_get(const struct elf *e, uint64_t offset, void *to, size_t size)
{
	if (offset > e->size || e->size - offset < size)
		return false;
	memcpy(to, e->base + offset, size);
	return true;
}

static bool elf_section(const struct elf *e, uint32_t n, Elf64_Shdr *out)
{
	return n < e->head.e_shnum && e->head.e_shoff <= e->size &&
	       elf_get(e, e->head.e_shoff + (uint64_t)n * sizeof(*out), out,
		       sizeof(*out));
}

/* Does the string at @at of section @strings say @name, perhaps "name@V"? */
static bool elf_named(const struct elf *e, const Elf64_Shdr *strings,
		      uint32_t at, const char *name)
{
	size_t len = strlen(name);
	char last;

	if (at >= strings->sh_size || strings->sh_size - at <= len ||
	    strings->sh_offset > e->size ||
	    e->size - strings->sh_offset < strings->sh_size ||
	    memcmp(e->base + strings->sh_offset + at, name, len))
		return false;
	last = (char)e->base[strings->sh_offset + at + len];
	return !last || last == '@';
}

/* Where the loadable segments have the address @value. */
static bool elf_offset(const struct elf *e, uint64_t value, uint64_t *offset)
{
	Elf64_Phdr p;

	for (uint32_t i = 0; i < e->head.e_phnum; i++) {
		if (e->head.e_phoff > e->size ||
		    !elf_get(e, e->head.e_phoff + (uint64_t)i * sizeof(p), &p,
			     sizeof(p)))
			return false;
		if (p.p_type == PT_LOAD && value >= p.p_vaddr &&
		    value - p.p_vaddr < p.p_filesz) {
			*offset = value - p.p_vaddr + p.p_offset;
			return *offset < e->size;
		}
	}
	return false;
}

/* How many addresses the functions called @name have in symbol table @t. */
static unsigned int elf_lookup(const struct elf *e, const Elf64_Shdr *t,
			       const char *name, uint64_t *offset)
{
	Elf64_Shdr strings;
	unsigned int found = 0;
	uint64_t here;
	Elf64_Sym s;

	if (!elf_section(e, t->sh_link, &strings) || t->sh_offset > e->size)
		return 0;
	for (uint64_t at = 0;
	     at <= t->sh_size && t->sh_size - at >= sizeof(s) &&
	     elf_get(e, t->sh_offset + at, &s, sizeof(s));
	     at += sizeof(s)) {
		if (s.st_shndx == SHN_UNDEF ||
		    (ELF64_ST_TYPE(s.st_info) != STT_FUNC &&
		     ELF64_ST_TYPE(s.st_info) != STT_NOTYPE) ||
		    !elf_named(e, &strings, s.st_name, name) ||
		    !elf_offset(e, s.st_value, &here))
			continue;
		if (!found || here != *offset)
			found++;
		*offset = here;
	}
	return found;
}

static int elf_symbol(const struct elf *e, const char *path, const char *symbol,
		      uint64_t *offset, struct dlog_error *err)
{
	static const uint32_t kinds[] = { SHT_SYMTAB, SHT_DYNSYM };
	Elf64_Shdr section;
	unsigned int found;
	bool table = false;

	for (unsigned int k = 0; k < 2; k++) {
		for (uint32_t i = 0; elf_section(e, i, &section); i++) {
			if (section.sh_type != kinds[k])
				continue;
			table = true;
			found = elf_lookup(e, &section, symbol, offset);
			if (found == 1)
				return 0;
			if (found)
				return fail(err, -EINVAL,
					    "%s has %u functions called '%s': "
					    "name one by its offset in the "
					    "file, %s:0xOFFSET",
					    path, found, symbol, path);
			break; /* a file has one of each kind */
		}
	}
	if (!table)
		return fail(err, -ENOENT,
			    "%s has no symbols (stripped): give the offset in "
			    "the file, %s:0xOFFSET",
			    path, path);
	return fail(err, -ENOENT, "%s has no function '%s'", path, symbol);
}

static int elf_check(struct elf *e, const char *path, struct dlog_error *err)
{
	if (!elf_get(e, 0, &e->head, sizeof(e->head)) ||
	    memcmp(e->head.e_ident, ELFMAG, SELFMAG))
		return fail(err, -ENOEXEC,
			    "%s is no ELF file: only programs and libraries "
			    "can be probed",
			    path);
	if (e->head.e_ident[EI_CLASS] != ELFCLASS64 ||
	    e->head.e_ident[EI_DATA] != ELFDATA2LSB ||
	    e->head.e_shentsize != sizeof(Elf64_Shdr) ||
	    e->head.e_phentsize != sizeof(Elf64_Phdr))
		return fail(err, -ENOEXEC,
			    "%s is no little-endian 64-bit ELF file: give the "
			    "offset, and registers for its arguments",
			    path);
	return 0;
}

int elf_find(const char *path, const char *symbol, uint64_t *offset,
	     int *machine, struct dlog_error *err)
{
	struct elf e = { 0 };
	struct stat st;
	void *map;
	int fd, ret;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail(err, -errno, "%s: %s", path, strerror(errno));
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size <= 0) {
		close(fd);
		return fail(err, -EINVAL, "%s is no program", path);
	}
	e.size = (uint64_t)st.st_size;
	map = mmap(NULL, e.size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return fail(err, -errno, "cannot read %s: %s", path,
			    strerror(errno));
	e.base = map;
	ret = elf_check(&e, path, err);
	*machine = e.head.e_machine;
	if (!ret && symbol)
		ret = elf_symbol(&e, path, symbol, offset, err);
	munmap(map, e.size);
	return ret;
}
