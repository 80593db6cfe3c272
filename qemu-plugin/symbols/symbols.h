/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * symbols.h - what the files of this folder share.
 *
 *	symbols.c	start, translation, and what other parts ask
 *	file.c		reads a file, by text.c or elf.c
 *	table.c		its symbols: by address, by name
 *	text.c		System.map, or a copy of /proc/kallsyms
 *	elf.c		vmlinux, or any ELF file with symbols
 *	slide.c		where KASLR has put the kernel
 *	names.c		symbols into the catalog
 *
 * The files are read before the guest's first instruction and do not change
 * afterwards, but for what names.c notes in them.
 */
#ifndef SYMBOLS_H
#define SYMBOLS_H

#include <stdio.h>

#include "plugin.h"

#define SYMBOL_NAME_MAX 511u /* KSYM_NAME_LEN of Linux 6.1, less the NUL */
#define SYMBOLS_MAX (4u << 20) /* of one file */
#define NAMES_MAX (128u << 20) /* bytes of one file's names */

struct symbol {
	uint64_t addr; /* as the file has it */
	uint32_t size; /* bytes; 0: not known */
	uint32_t name; /* offset in names */
	uint8_t rank; /* of several at one address the lowest is shown */
	bool code;
	bool entry; /* what is called begins here */
	bool said; /* the catalog has it */
};

/*
 * Code that lies together, which is one object of the catalog: offsets there
 * have 32 bits, and a kernel may be linked low and high.
 */
#define PARTS_MAX 8u
struct part {
	uint64_t from, to; /* to: behind its end */
	int number; /* in the catalog; 0: not there yet */
};

struct symbol_file {
	const char *path;
	struct symbol *sym; /* by address, then rank */
	uint32_t nr, room;
	char *names;
	uint32_t names_len, names_room;
	uint32_t *by_name;
	char id[64]; /* of its contents */
	struct part part[PARTS_MAX];
	uint32_t nr_parts;
	bool moves; /* a kernel that KASLR may move: this range of it */
	uint64_t low, high; /* high: behind its end */
};

/* ---- table.c ---- */

/* 0, -ENOMEM, or -E2BIG: more than a file may have. */
int table_add(struct symbol_file *f, uint64_t addr, uint64_t size,
	      const char *name, size_t len, bool code, unsigned int rank);
/* When all are there: sort, sizes, parts, what kind of file it is. */
int table_finish(struct symbol_file *f);
void table_free(struct symbol_file *f);

static inline const char *symbol_name(const struct symbol_file *f,
				      const struct symbol *s)
{
	return f->names + s->name;
}

/* The code that @addr lies in, or NULL. */
struct symbol *table_at(const struct symbol_file *f, uint64_t addr);
/* Does code that has a name begin at @addr? */
bool table_entry(const struct symbol_file *f, uint64_t addr);
/*
 * The address of @name: how many different ones it has.  @addr gets the
 * lowest.
 */
unsigned int table_find(const struct symbol_file *f, const char *name,
			size_t len, uint64_t *addr);
struct part *table_part(struct symbol_file *f, uint64_t addr);

/* ---- file.c, text.c, elf.c: 0 or negative after a sentence ---- */

/* All of @path; then table_free(), also after an error. */
int file_load(struct symbol_file *f, const char *path);

int text_load(struct symbol_file *f, FILE *in);
int elf_load(struct symbol_file *f, int fd);

/* ---- slide.c: one thread at a time ---- */

/* x86-64: the kernel's text and data, without modules (KASLR: 1 GiB). */
#define KERNEL_MAP_FROM 0xffffffff80000000u
#define KERNEL_MAP_TO 0xffffffffc0000000u

static inline bool in_kernel_map(uint64_t addr)
{
	return addr >= KERNEL_MAP_FROM && addr < KERNEL_MAP_TO;
}

/* Which file's kernel is looked for. */
void slide_start(const struct symbol_file *f);
enum slide_news {
	SLIDE_SAME,
	SLIDE_FOUND, /* where it has not been before */
	SLIDE_LOST, /* another kernel runs, or one that was not found yet */
};
/*
 * A block at the kernel's addresses was translated that ends by calling
 * @target.  *@slide: with SLIDE_FOUND.
 */
enum slide_news slide_called(uint64_t target, uint64_t *slide);

/* ---- names.c: one thread at a time ---- */

/* What the catalog has from earlier lives of QEMU. */
int names_start(struct symbol_file *files, unsigned int nr);
/* From now on @f's code lies @slide higher than the file says. */
void names_base(struct symbol_file *f, uint64_t slide);
/* From now on it lies nowhere. */
void names_gone(struct symbol_file *f);
void names_say(struct symbol_file *f, struct symbol *s);

#endif
