// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * symbols.c - names of code addresses: by the region's catalog, or by a file
 * that the user gave.
 *
 * The file is System.map or a copy of /proc/kallsyms (lines "ADDRESS TYPE NAME
 * [MODULE]"), or an ELF file with a symbol table, such as vmlinux.  Where a
 * boot's kernel began (kernel_text) and the file's _stext differ by KASLR, its
 * symbols are moved; those of modules hold only for the boot that they were
 * copied from.  Relies on libelf.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gelf.h>

#include "event_int.h"

#define FILE_MAX ((off_t)2 << 30)
#define TEXT_MAX ((off_t)128 << 20)

struct file_symbol {
	uint64_t address, size; /* 0: up to the next */
	const char *name;
	bool module;
};

struct symbol_file {
	char *text; /* where the names are, or NULL: in elf */
	Elf *elf;
	int fd;
	struct file_symbol *symbol;
	size_t nr, room;
	uint64_t stext; /* 0: not known */
	struct dlog_boot_entry *boots;
	int nr_boots;
	uint32_t asked; /* the boot for which they were read last */
};

void symbol_file_free(struct symbol_file *f)
{
	if (!f)
		return;
	if (f->elf)
		elf_end(f->elf);
	if (f->fd >= 0)
		close(f->fd);
	free(f->text);
	free(f->symbol);
	free(f->boots);
	free(f);
}

static int add(struct symbol_file *f, const struct file_symbol *s)
{
	if (f->nr == f->room) {
		size_t room = f->room * 2 + 1024;
		void *p = realloc(f->symbol, room * sizeof(*f->symbol));

		if (!p)
			return -ENOMEM;
		f->symbol = p;
		f->room = room;
	}
	f->symbol[f->nr++] = *s;
	if (!strcmp(s->name, "_stext") && !s->module)
		f->stext = s->address;
	return 0;
}

/* "ffffffff81000000 T _stext", "ffffffffc0000000 t f [ext4]" */
static int read_line(struct symbol_file *f, char *line)
{
	struct file_symbol s = { 0 };
	char *p, *end;

	s.address = strtoull(line, &p, 16);
	if (p == line || *p != ' ' || !isalpha((unsigned char)p[1]) ||
	    p[2] != ' ')
		return -EINVAL;
	if (!strchr("tTwW", p[1]))
		return 0;
	s.name = p + 3;
	end = p + 3 + strcspn(s.name, " \t\r");
	s.module = strchr(end, '[');
	*end = 0;
	return *s.name ? add(f, &s) : 0;
}

static int read_text(struct symbol_file *f, off_t size)
{
	char *p, *end;
	ssize_t n;

	f->text = malloc((size_t)size + 1);
	if (!f->text)
		return -ENOMEM;
	n = pread(f->fd, f->text, (size_t)size, 0);
	if (n < 0)
		return -errno;
	f->text[n] = 0;
	for (p = f->text; *p; p = end + 1) {
		int ret;

		end = strchr(p, '\n');
		if (!end)
			break;
		*end = 0;
		ret = read_line(f, p);
		if (ret)
			return ret;
	}
	return 0;
}

static int read_section(struct symbol_file *f, Elf_Scn *scn,
			const GElf_Shdr *header)
{
	Elf_Data *data = elf_getdata(scn, NULL);
	size_t n = data && header->sh_entsize
			   ? data->d_size / header->sh_entsize
			   : 0;

	for (size_t i = 0; i < n; i++) {
		struct file_symbol s = { 0 };
		GElf_Sym sym;
		int ret;

		if (!gelf_getsym(data, (int)i, &sym) || !sym.st_name ||
		    sym.st_shndx == SHN_UNDEF ||
		    (GELF_ST_TYPE(sym.st_info) != STT_FUNC &&
		     GELF_ST_TYPE(sym.st_info) != STT_NOTYPE))
			continue;
		s.name = elf_strptr(f->elf, header->sh_link, sym.st_name);
		s.address = sym.st_value;
		s.size = sym.st_size;
		if (!s.name || !*s.name)
			continue;
		/* Of what has no type only the beginning of the text. */
		if (GELF_ST_TYPE(sym.st_info) == STT_NOTYPE &&
		    strcmp(s.name, "_stext"))
			continue;
		ret = add(f, &s);
		if (ret)
			return ret;
	}
	return 0;
}

static int read_elf(struct symbol_file *f)
{
	Elf_Scn *scn = NULL;
	GElf_Shdr header;
	int ret = 0;

	if (elf_version(EV_CURRENT) == EV_NONE)
		return -EINVAL;
	f->elf = elf_begin(f->fd, ELF_C_READ, NULL);
	if (!f->elf || elf_kind(f->elf) != ELF_K_ELF)
		return -EINVAL;
	while (!ret && (scn = elf_nextscn(f->elf, scn)))
		if (gelf_getshdr(scn, &header) && header.sh_type == SHT_SYMTAB)
			ret = read_section(f, scn, &header);
	return ret;
}

static int by_address(const void *a, const void *b)
{
	const struct file_symbol *x = a, *y = b;

	if (x->address != y->address)
		return x->address < y->address ? -1 : 1;
	return strcmp(x->name, y->name);
}

static int read_file(struct symbol_file *f, const char *path, const char **why)
{
	char magic[4];
	struct stat st;
	int ret;

	f->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (f->fd < 0 || fstat(f->fd, &st)) {
		*why = strerror(errno);
		return -errno;
	}
	*why = "is neither System.map, a copy of /proc/kallsyms, nor an ELF "
	       "file with symbols";
	if (!S_ISREG(st.st_mode) || st.st_size > FILE_MAX ||
	    pread(f->fd, magic, 4, 0) != 4)
		return -EINVAL;
	if (!memcmp(magic, ELFMAG, 4))
		ret = read_elf(f);
	else
		ret = st.st_size > TEXT_MAX ? -EINVAL
					    : read_text(f, st.st_size);
	if (ret || !f->nr)
		return ret ? ret : -EINVAL;
	qsort(f->symbol, f->nr, sizeof(*f->symbol), by_address);
	if (!f->symbol[f->nr - 1].address) {
		*why = "has no addresses: /proc/kallsyms shows them to root "
		       "only";
		return -EINVAL;
	}
	return 0;
}

int event_load_symbols(struct dlog *d, const char *path, struct dlog_error *err)
{
	struct event_decoder *dec = event_decoder(d);
	struct symbol_file *f = calloc(1, sizeof(*f));
	const char *why = strerror(ENOMEM);
	int ret = -ENOMEM;

	if (f && dec) {
		f->fd = -1;
		ret = read_file(f, path, &why);
	}
	if (!ret) {
		symbol_file_free(dec->symbols);
		dec->symbols = f;
		return 0;
	}
	if (err)
		snprintf(err->text, sizeof(err->text), "%s: %s", path, why);
	symbol_file_free(f);
	return ret;
}

/* Where the kernel's text was in @boot, 0: not known. */
static uint64_t kernel_text(struct event_decoder *dec, uint32_t boot)
{
	struct symbol_file *f = dec->symbols;

	for (int pass = 0; pass < 2; pass++) {
		for (int i = 0; i < f->nr_boots; i++)
			if (f->boots[i].boot == boot)
				return f->boots[i].kernel_text;
		/* A boot that began since; asked for once. */
		if (f->boots && boot <= f->asked)
			return 0;
		f->asked = boot;
		free(f->boots);
		f->boots = NULL;
		f->nr_boots = dlog_get_boots(dec->d, &f->boots);
	}
	return 0;
}

static const char *file_find(struct event_decoder *dec, uint32_t boot,
			     uint64_t address, uint64_t *start)
{
	struct symbol_file *f = dec->symbols;
	uint64_t text = kernel_text(dec, boot), shift = 0;
	const struct file_symbol *s;
	size_t low = 0, high = f->nr;

	if (text && f->stext)
		shift = text - f->stext;
	address -= shift;
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (f->symbol[mid].address <= address)
			low = mid + 1;
		else
			high = mid;
	}
	if (!low)
		return NULL;
	s = &f->symbol[low - 1];
	while (s > f->symbol && s[-1].address == s->address)
		s--;
	/* Behind the last one of all it may be anything. */
	if ((s->size && address - s->address >= s->size) ||
	    (low == f->nr && address - s->address >= 4096) ||
	    (s->module && shift))
		return NULL;
	*start = s->address + shift;
	return s->name;
}

const char *event_symbol_find(struct event_decoder *dec, uint32_t boot,
			      uint64_t time, uint64_t address, uint64_t *start)
{
	struct dlog_symbol sym;

	if (dlog_get_symbol_at(dec->d, boot, time, address, &sym)) {
		*start = sym.address;
		return sym.name;
	}
	return dec->symbols ? file_find(dec, boot, address, start) : NULL;
}

bool event_symbol(struct event_decoder *dec, uint32_t boot, uint64_t time,
		  uint64_t address, char *buf, size_t size)
{
	uint64_t start;
	const char *name = event_symbol_find(dec, boot, time, address, &start);

	if (!name)
		return false;
	if (address == start)
		snprintf(buf, size, "%s", name);
	else
		snprintf(buf, size, "%s+0x%" PRIx64, name, address - start);
	return true;
}
