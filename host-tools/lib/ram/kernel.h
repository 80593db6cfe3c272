/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * kernel.h - what the upper half of ram/ shares: what is known about the
 * kernel whose memory it is.
 *
 * kernel.c	this knowledge, made when first asked for; facts about the boot
 * kallsyms.c	tables of symbols, those of the kernel proper
 * modules.c	loaded modules and their symbols
 * btf.c	layouts of structures
 * vmlinux.c	symbols and layouts from a file instead
 * image_symbols.c	kallsyms in a vmlinux that has no other symbols
 * tasks.c	all threads
 * unwind.c	stacks, orc.c the tables for them
 *
 * Guest memory is read with dlog_ram_read() alone.  The page tables that lead
 * there are the guest's too, and may show one page at a million addresses:
 * so whatever is kept here is bounded by ram_budget(), not by what is mapped.
 */
#ifndef LIBDLOG_RAM_KERNEL_H
#define LIBDLOG_RAM_KERNEL_H

#include "btf.h"
#include "ram.h"

/* ---- kallsyms.c ---- */

#define RAM_SYMBOL_MAX 512u /* KSYM_NAME_LEN of Linux 6.1 and later */

struct ram_symbol {
	uint64_t addr;
	uint32_t name; /* offset in names */
	uint32_t hash; /* its bucket, once there are some */
	char type; /* as nm(1) has it; '?': not known */
};

struct ram_symbols {
	struct ram_symbol *sym; /* by address */
	uint32_t nr, room;
	char *names;
	uint32_t names_len, names_room;
	/* Made when a name is first asked for: indices, those of one bucket
	 * together, and where each bucket ends. */
	uint32_t *by_name, *bucket, mask;
};

/* 0, -ENOMEM, or -E2BIG: more than @budget bytes would be kept. */
int ram_symbols_add(struct ram_symbols *s, uint64_t addr, const char *name,
		    size_t len, uint64_t budget);
void ram_symbols_sort(struct ram_symbols *s);
void ram_symbols_free(struct ram_symbols *s);
/* 0, -ENOENT, -ENOMEM; of several the one of the lowest address. */
int ram_symbols_find(struct ram_symbols *s, const char *name, uint64_t *addr);
/* Index of the one that @addr lies in, or -1. */
int64_t ram_symbols_at(const struct ram_symbols *s, uint64_t addr);
/* Address of the next one behind that of index @i, or 0. */
uint64_t ram_symbols_end(const struct ram_symbols *s, int64_t i);

/* Where the tables are, and how to read there: all or nothing, 0 or negative. */
struct ram_kallsyms {
	int (*read)(void *arg, uint64_t addr, void *buf, size_t len);
	void *arg;
	uint64_t budget; /* bytes that may be kept */
	uint64_t names, offsets, base, tokens, index;
	uint64_t stext_min, stext_max; /* _stext must be in between */
	uint32_t nr;
	bool wide; /* addresses, not offsets */
};
/* 0, -ENOMEM, or another error: damaged. */
int ram_kallsyms_decode(const struct ram_kallsyms *k, struct ram_symbols *s);
/* The kernel's own, from guest memory: 0 or negative (ram_fail()). */
int ram_kallsyms_load(struct dlog_ram *ram, struct ram_symbols *s);

/* ---- orc.c ---- */

/* Members of struct orc_entry, which are not the same in all kernels. */
struct ram_orc_format {
	uint32_t size; /* 0: not known */
	bool has_end, has_signal;
	struct dlog_ram_member sp_offset, bp_offset, sp_reg, bp_reg, type, end,
		signal;
};

/* A table of .orc_unwind_ip and .orc_unwind, read when first asked for. */
struct ram_orc_table {
	uint64_t ip_addr, entry_addr;
	uint32_t nr; /* 0: there is none */
	bool loaded;
	int32_t *ip;
	uint8_t *entry;
};

/* Where a function's caller is found (Linux 6.12, asm/orc_types.h). */
enum ram_orc_type { ORC_UNDEFINED, ORC_END, ORC_CALL, ORC_REGS, ORC_PARTIAL };
enum ram_orc_reg {
	ORC_REG_UNDEFINED,
	ORC_REG_PREV_SP,
	ORC_REG_DX,
	ORC_REG_DI,
	ORC_REG_BP,
	ORC_REG_SP,
	ORC_REG_R10,
	ORC_REG_R13,
	ORC_REG_BP_INDIRECT,
	ORC_REG_SP_INDIRECT,
};

struct ram_orc {
	enum ram_orc_type type;
	int16_t sp_offset, bp_offset;
	uint8_t sp_reg, bp_reg; /* enum ram_orc_reg */
	bool signal; /* what comes next did not call */
};

void ram_orc_free(struct ram_orc_table *t);
/* For the instruction at @ip; false: nothing is known about it. */
bool ram_orc_find(struct dlog_ram *ram, uint64_t ip, struct ram_orc *out);

/* ---- modules.c ---- */

#define RAM_MODULE_PARTS 8

struct ram_module {
	char name[64];
	uint64_t addr; /* of its struct module */
	struct {
		uint64_t addr, size;
	} part[RAM_MODULE_PARTS]; /* [0] is its text */
	struct ram_symbols symbols;
	bool symbols_loaded;
	struct ram_orc_table orc;
};

/* A part of a module, to find modules by address. */
struct ram_part {
	uint64_t addr, size;
	uint32_t module;
};

struct ram_modules {
	struct ram_module *module;
	struct ram_part *part; /* by address */
	uint32_t nr, nr_parts;
};

void ram_modules_free(struct ram_modules *m);
/* The module whose text or data @addr is, or NULL. */
struct ram_module *ram_module_at(struct dlog_ram *ram, uint64_t addr);
/* Its symbols, read when first asked for. */
struct ram_symbols *ram_module_symbols(struct dlog_ram *ram,
				       struct ram_module *m);

/* ---- kernel.c ---- */

struct ram_kernel {
	struct ram_symbols symbols;
	struct btf btf;
	struct ram_modules modules;
	struct ram_orc_format orc_format;
	struct ram_orc_table orc;
	/* What loading gave: 0, or the error; 1: not tried yet. */
	int symbols_state, btf_state;
	bool modules_loaded, orc_tried, real_tried;
	/* What was asked of types: BTF may be made to be slow. */
	struct ram_answer {
		char type[32], path[64];
		struct dlog_ram_member m;
		int64_t ret;
		bool asked;
	} answer[128];
	uint32_t nr_answers;
	uint64_t kept; /* bytes, see ram_budget() */
	uint64_t boot_real; /* ram_real_offset(), 0: not known */
	uint64_t stext, etext, sinittext, einittext, end;
};

/* Use these from now on, each may be NULL; they are freed with @k. */
void ram_kernel_take(struct ram_kernel *k, struct ram_symbols *s,
		     struct btf *b);
/* Bytes that one of its parts may keep. */
uint64_t ram_budget(struct dlog_ram *ram);
/* NULL: no memory. */
struct ram_kernel *ram_kernel(struct dlog_ram *ram);
/* With symbols loaded; NULL after ram_fail(), @ret tells. */
struct ram_kernel *ram_kernel_symbols(struct dlog_ram *ram, int *ret);
/* As dlog_ram_symbol(), of the kernel proper alone. */
int ram_kernel_symbol(struct dlog_ram *ram, const char *name, uint64_t *addr);

/*
 * @len bytes at @addr, or as many from there as can be read, into *@out from
 * malloc(): their number or -ENOMEM.
 */
int64_t ram_read_upto(struct dlog_ram *ram, uint64_t addr, size_t len,
		      uint8_t **out);
/* A number of 1 to 8 bytes. */
int ram_read_number(struct dlog_ram *ram, uint64_t addr, size_t size,
		    uint64_t *value);
/* Member @m of what lies at @addr; 0 where it cannot be read. */
uint64_t ram_member_number(struct dlog_ram *ram, uint64_t addr,
			   const struct dlog_ram_member *m);
/* Where per-CPU data of @cpu lies: to be added to a per-CPU symbol. */
int ram_percpu(struct dlog_ram *ram, uint32_t cpu, uint64_t *offset);
uint32_t ram_cpus(struct dlog_ram *ram);
/* Is @addr code of the kernel or of a module? */
bool ram_is_text(struct dlog_ram *ram, uint64_t addr);

#endif
