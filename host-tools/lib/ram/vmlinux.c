// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * vmlinux.c - symbols and types from a vmlinux file of the guest's kernel:
 * where its own tables are missing, as before Linux 6.0, or damaged.
 *
 * The file's .symtab has addresses as linked, to which KASLR's offset comes,
 * save for those of per-CPU data, which are offsets (.data..percpu is linked
 * at 0 until Linux 6.14).  That it belongs to this guest is told by the build
 * id, which VMCOREINFO has since Linux 5.15, else by the banner.
 */
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernel.h"

#define NOTE_BUILD_ID 3u /* NT_GNU_BUILD_ID */
#define LINKED_MIN 0xffffffff80000000u /* __START_KERNEL_map */
#define SYMBOLS_BYTES (512u << 20)

struct vmlinux {
	struct dlog_ram *ram;
	const char *path;
	struct dlog_error *err;
	Elf *elf;
	Elf_Scn *symtab, *btf;
	GElf_Shdr symtab_head;
	char build_id[65];
	bool banner; /* the guest's is in it */
};

/* ---- is it the same build? ---- */

static void take_build_id(struct vmlinux *v, Elf_Scn *scn)
{
	Elf_Data *data = elf_getdata(scn, NULL);
	size_t off = 0, name, desc, next;
	GElf_Nhdr n;

	while (data && (next = gelf_getnote(data, off, &n, &name, &desc))) {
		const uint8_t *p = (const uint8_t *)data->d_buf + desc;

		if (n.n_type == NOTE_BUILD_ID && n.n_namesz == 4 &&
		    !memcmp((const char *)data->d_buf + name, "GNU", 4) &&
		    n.n_descsz <= (sizeof(v->build_id) - 1) / 2)
			for (uint32_t i = 0; i < n.n_descsz; i++)
				snprintf(v->build_id + 2 * i, 3, "%02x", p[i]);
		off = next;
	}
}

static void look_for_banner(struct vmlinux *v, Elf_Scn *scn, const char *banner)
{
	Elf_Data *data = elf_rawdata(scn, NULL);

	if (*banner && data && data->d_buf &&
	    memmem(data->d_buf, data->d_size, banner, strlen(banner)))
		v->banner = true;
}

static int find_sections(struct vmlinux *v, const char *banner)
{
	Elf_Scn *scn = NULL;
	size_t names;

	if (elf_getshdrstrndx(v->elf, &names))
		return -EINVAL;
	while ((scn = elf_nextscn(v->elf, scn))) {
		const char *name;
		GElf_Shdr sh;

		if (!gelf_getshdr(scn, &sh))
			return -EINVAL;
		name = elf_strptr(v->elf, names, sh.sh_name);
		if (sh.sh_type == SHT_NOTE)
			take_build_id(v, scn);
		else if (sh.sh_type == SHT_SYMTAB)
			v->symtab = scn, v->symtab_head = sh;
		else if (name && !strcmp(name, ".BTF"))
			v->btf = scn;
		else if (name && !strcmp(name, ".rodata"))
			look_for_banner(v, scn, banner);
	}
	return 0;
}

/* What VMCOREINFO says, "" when it says nothing. */
static void guest_build_id(struct dlog_ram *ram, char *out, size_t size)
{
	if (!ram_info_text(ram, "BUILD-ID", out, size))
		*out = 0;
}

static int check_build(struct vmlinux *v)
{
	char guest[65];

	guest_build_id(v->ram, guest, sizeof(guest));
	if (*guest && *v->build_id) {
		if (!strcmp(guest, v->build_id))
			return 0;
		return dlog_fail(v->err, -EINVAL,
				 "%s is of another build (%s) than the "
				 "guest's kernel (%s): give the vmlinux of "
				 "that.",
				 v->path, v->build_id, guest);
	}
	if (v->banner)
		return 0;
	return dlog_fail(v->err, -EINVAL,
			 "%s does not show that it is the vmlinux of the "
			 "guest's kernel: neither its build id nor its banner "
			 "do.",
			 v->path);
}

/* ---- what it has ---- */

static bool is_percpu(const struct vmlinux *v, const GElf_Sym *sym)
{
	return sym->st_value < LINKED_MIN || sym->st_shndx == SHN_ABS ||
	       !v->ram->kernel.offset;
}

/* As nm(1): what kind of section it is in; capital letters are global. */
static char type_of(const struct vmlinux *v, const GElf_Sym *sym)
{
	bool global = GELF_ST_BIND(sym->st_info) == STB_GLOBAL;
	char c = 'r';
	GElf_Shdr sh;

	if (GELF_ST_BIND(sym->st_info) == STB_WEAK)
		return 'W';
	if (sym->st_shndx == SHN_ABS)
		c = 'a';
	else if (sym->st_shndx >= SHN_LORESERVE ||
		 !gelf_getshdr(elf_getscn(v->elf, sym->st_shndx), &sh))
		return '?';
	else if (sh.sh_flags & SHF_EXECINSTR)
		c = 't';
	else if (sh.sh_type == SHT_NOBITS)
		c = 'b';
	else if (sh.sh_flags & SHF_WRITE)
		c = 'd';
	return global ? (char)(c - 'a' + 'A') : c;
}

static int take_symbols(struct vmlinux *v, struct ram_symbols *s)
{
	Elf_Data *data = elf_getdata(v->symtab, NULL);
	GElf_Sym sym;

	if (!data)
		return -EINVAL;
	for (int i = 1; gelf_getsym(data, i, &sym); i++) {
		const char *name;
		int ret;

		if (sym.st_shndx == SHN_UNDEF ||
		    GELF_ST_TYPE(sym.st_info) == STT_FILE ||
		    GELF_ST_TYPE(sym.st_info) == STT_SECTION)
			continue;
		name = elf_strptr(v->elf, v->symtab_head.sh_link, sym.st_name);
		if (!name || !*name)
			continue;
		if (!is_percpu(v, &sym))
			sym.st_value += v->ram->kernel.offset;
		ret = ram_symbols_add(s, sym.st_value, name,
				      strnlen(name, RAM_SYMBOL_MAX - 1),
				      SYMBOLS_BYTES);
		if (ret)
			return ret;
		s->sym[s->nr - 1].type = type_of(v, &sym);
	}
	ram_symbols_sort(s);
	return s->nr ? 0 : -EINVAL;
}

static int take_btf(struct vmlinux *v, struct btf *b)
{
	Elf_Data *data = elf_rawdata(v->btf, NULL);
	uint8_t *copy;

	if (!data || !data->d_size)
		return -EINVAL;
	copy = malloc(data->d_size);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, data->d_buf, data->d_size);
	return btf_init(b, copy, data->d_size);
}

static int take(struct vmlinux *v, struct ram_kernel *k)
{
	struct ram_symbols s = { 0 };
	struct btf b = { 0 };
	int ret = 0;

	if (!v->symtab && !v->btf)
		return dlog_fail(v->err, -EINVAL,
				 "%s has neither symbols nor BTF: give a "
				 "vmlinux that was not stripped.",
				 v->path);
	if (v->symtab)
		ret = take_symbols(v, &s);
	if (!ret && v->btf)
		ret = take_btf(v, &b);
	if (ret) {
		ram_symbols_free(&s);
		return dlog_fail(v->err, ret == -ENOMEM ? ret : -EINVAL,
				 "%s: its symbols or its BTF are damaged.",
				 v->path);
	}
	ram_kernel_take(k, v->symtab ? &s : NULL, v->btf ? &b : NULL);
	return 0;
}

static int vmlinux_read(struct vmlinux *v, struct ram_kernel *k)
{
	struct dlog_ram_kernel about;
	int ret;

	dlog_ram_get_kernel(v->ram, &about);
	if (elf_kind(v->elf) != ELF_K_ELF ||
	    gelf_getclass(v->elf) != ELFCLASS64)
		ret = -EINVAL;
	else
		ret = find_sections(v, about.banner);
	if (ret)
		return dlog_fail(v->err, ret,
				 "%s is no vmlinux of x86-64: give the ELF "
				 "file, not the compressed image.",
				 v->path);
	ret = check_build(v);
	return ret ? ret : take(v, k);
}

int dlog_ram_set_vmlinux(struct dlog_ram *ram, const char *path,
			 struct dlog_error *err)
{
	struct vmlinux v = { .ram = ram, .path = path, .err = err };
	struct ram_kernel *k = ram_kernel(ram);
	int fd, ret;

	if (!k)
		return dlog_fail(err, -ENOMEM, "No memory to read %s.", path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		ret = -errno;
		return dlog_fail(err, ret, "Cannot open %s: %s.", path,
				 strerror(-ret));
	}
	elf_version(EV_CURRENT);
	v.elf = elf_begin(fd, ELF_C_READ_MMAP, NULL);
	ret = v.elf ? vmlinux_read(&v, k)
		    : dlog_fail(err, -EINVAL, "Cannot read %s: %s.", path,
				elf_errmsg(-1));
	if (v.elf)
		elf_end(v.elf);
	close(fd);
	return ret;
}
