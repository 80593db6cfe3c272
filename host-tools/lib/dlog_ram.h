/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dlog_ram.h - libdlog: what lies in the memory of a whole guest.
 *
 * A source of format "ram" (dlog_open_as()) is a file that QEMU used as the
 * guest's RAM.  Its records are the kernel's own log; here is the rest: guest
 * memory by physical and by kernel virtual address, symbols, types, tasks and
 * their stacks.  x86-64, Linux 5.10 and later.
 *
 * How it is found, each step from the one before:
 *	VMCOREINFO	a page of text that every kernel with kexec makes at
 *			boot: where the page tables, the log and kallsyms are
 *	page tables	the kernel's own, so KASLR does not matter
 *	kallsyms	names of all functions and data (VMCOREINFO names its
 *			tables from Linux 6.0 on; else from a vmlinux)
 *	BTF		layouts of all structures, which kallsyms locates, if
 *			CONFIG_DEBUG_INFO_BTF (Debian has it)
 *	ORC		tables to unwind stacks with, if CONFIG_UNWINDER_ORC
 * What the guest may have destroyed is not believed: each address is looked
 * up, each list and table has an end.  Errors as in dlog.h; -ENXIO: the kernel
 * has no such thing, or what would tell is missing (dlog_ram_why()).
 *
 * The guest may run meanwhile: then what is read is of that instant, and what
 * hangs together may not fit together.
 */
#ifndef LIBDLOG_DLOG_RAM_H
#define LIBDLOG_DLOG_RAM_H

#include "dlog.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dlog_ram;

/* Of a source of format "ram"; NULL for any other.  Lives as long as it. */
DLOG_API struct dlog_ram *dlog_get_ram(struct dlog *d);

/*
 * One sentence: why the call before gave -ENXIO or another error; "" when
 * there is nothing to say.
 */
DLOG_API const char *dlog_ram_why(const struct dlog_ram *ram);

/* ---- memory (ram/image.c, ram/pages.c) ---- */

struct dlog_ram_range {
	uint64_t phys, size;
	uint64_t offset; /* in the file */
};

/* By address; valid until dlog_close(). */
DLOG_API size_t dlog_ram_ranges(struct dlog_ram *ram,
				const struct dlog_ram_range **out);
/* 0; -EFAULT when not all of it is RAM, or not mapped. */
DLOG_API int dlog_ram_read_phys(struct dlog_ram *ram, uint64_t phys, void *buf,
				size_t len);
/* By kernel virtual address. */
DLOG_API int dlog_ram_read(struct dlog_ram *ram, uint64_t addr, void *buf,
			   size_t len);
/* A string of less than @size bytes; its length, or negative. */
DLOG_API int dlog_ram_read_string(struct dlog_ram *ram, uint64_t addr,
				  char *buf, size_t size);
/* @phys of @addr, and how many bytes from there are mapped together. */
DLOG_API int dlog_ram_translate(struct dlog_ram *ram, uint64_t addr,
				uint64_t *phys, uint64_t *size);

/* Part of the kernel's address space that lies together in RAM. */
struct dlog_ram_mapping {
	uint64_t addr, phys, size;
};
/*
 * All of it in [@from, @to], by address, neighbours joined; what is no RAM
 * left out.  @each returns 0 to go on; what else it returns is returned.
 */
DLOG_API int dlog_ram_mappings(struct dlog_ram *ram, uint64_t from, uint64_t to,
			       int (*each)(void *arg,
					   const struct dlog_ram_mapping *m),
			       void *arg);

/* ---- the kernel (ram/vmcoreinfo.c) ---- */

struct dlog_ram_kernel {
	char release[65]; /* uname -r */
	char banner[256]; /* /proc/version, "" when not found */
	uint8_t boot_id[16]; /* 0: not found (needs symbols) */
	uint64_t offset; /* KASLR: running minus linked address */
	uint64_t phys_base;
	uint64_t page_table; /* physical, of the kernel's own */
	uint32_t levels; /* 4 or 5 */
	uint64_t page_offset; /* direct mapping; 0: not found */
	uint64_t vmemmap; /* 0: not found */
	uint32_t cpus; /* possible ones, 0: not found */
	char command_line[2048]; /* as it was booted, "" when not found */
};
DLOG_API void dlog_ram_get_kernel(struct dlog_ram *ram,
				  struct dlog_ram_kernel *k);

/* VMCOREINFO's text, NUL-terminated; valid until dlog_close(). */
DLOG_API const char *dlog_ram_vmcoreinfo(struct dlog_ram *ram, size_t *len,
					 uint64_t *phys);
/*
 * What it says: @name as written there ("SYMBOL(prb)",
 * "OFFSET(printk_info.seq)", "KERNELOFFSET").  1 or 0.
 */
DLOG_API int dlog_ram_vmcoreinfo_get(struct dlog_ram *ram, const char *name,
				     uint64_t *value);

/* ---- symbols (ram/kallsyms.c) ---- */

/* Address of a symbol, KASLR included: 0, -ENOENT, -ENXIO. */
DLOG_API int dlog_ram_symbol(struct dlog_ram *ram, const char *name,
			     uint64_t *addr);
/* What @addr lies in, modules included: 1 found (strings valid until
 * dlog_close()), 0 not, negative. */
DLOG_API int dlog_ram_symbol_at(struct dlog_ram *ram, uint64_t addr,
				struct dlog_symbol *sym);
/*
 * For kernels without kallsyms in VMCOREINFO, or without BTF: symbols, and
 * types if it has .BTF, from a vmlinux file of the same build.  -EINVAL: of
 * another build.  Names that were given out before are no longer valid.
 */
DLOG_API int dlog_ram_set_vmlinux(struct dlog_ram *ram, const char *path,
				  struct dlog_error *err);

/* ---- all symbols of the kernel proper (ram/image_symbols.c) ---- */

/* As a System.map has them. */
struct dlog_kernel_symbol {
	uint64_t address; /* as linked: without KASLR's offset */
	const char *name; /* raw bytes; valid in the call alone */
	char type; /* as nm(1) prints it, '?': not known */
};
/* Returns 0 to go on; what else it returns is returned. */
typedef int (*dlog_kernel_symbol_cb)(void *arg,
				     const struct dlog_kernel_symbol *sym);

/* By address.  As dlog_ram_symbol(): 0, -ENXIO. */
DLOG_API int dlog_ram_each_symbol(struct dlog_ram *ram,
				  dlog_kernel_symbol_cb each, void *arg);
/*
 * The same from the @size bytes of a vmlinux file, which may be stripped.
 * -EINVAL: it is none, -ENXIO: no symbols are found; @err: why.
 */
DLOG_API int dlog_vmlinux_each_symbol(const void *vmlinux, size_t size,
				      dlog_kernel_symbol_cb each, void *arg,
				      struct dlog_error *err);

/* ---- types (ram/btf.c) ---- */

struct dlog_ram_member {
	uint32_t offset; /* bytes from the structure's start */
	uint32_t size; /* bytes, of the whole array if it is one */
	uint32_t bit, bits; /* of a bit field, in its @size bytes; else 0 */
};
/*
 * A member by path: ("task_struct", "thread.sp"); members of anonymous
 * structures count as of the one around them.  0, -ENOENT, -ENXIO.
 */
DLOG_API int dlog_ram_member(struct dlog_ram *ram, const char *type,
			     const char *path, struct dlog_ram_member *m);
/* Size of a structure, or negative. */
DLOG_API int64_t dlog_ram_sizeof(struct dlog_ram *ram, const char *type);

/* ---- tasks (ram/tasks.c, ram/unwind.c) ---- */

struct dlog_ram_task {
	uint64_t addr; /* of its task_struct */
	int32_t pid, tgid, ppid;
	uint32_t cpu; /* it runs on, or ran on last */
	bool running; /* on that CPU at this instant */
	bool kthread;
	char state; /* as ps(1): R S D T t X Z P I, '?' */
	uint32_t state_word;
	char comm[17]; /* raw bytes of the guest */
};

/*
 * All threads, by pid; idle tasks (pid 0, one for each CPU) first.  Their
 * number (at most DLOG_RAM_TASKS_MAX), or negative; *@out is to be free()d.
 */
#define DLOG_RAM_TASKS_MAX 4194304u
DLOG_API int64_t dlog_ram_get_tasks(struct dlog_ram *ram,
				    struct dlog_ram_task **out);

/* Registers as the kernel's struct pt_regs and NT_PRSTATUS have them. */
struct dlog_ram_regs {
	uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx,
		rsi, rdi, orig_rax, rip, cs, rflags, rsp, ss, fs_base, gs_base,
		ds, es, fs, gs;
};

/* Where they begin in struct elf_prstatus (include/linux/elfcore.h). */
#define DLOG_PRSTATUS_REGS 112u

struct dlog_ram_frame {
	uint64_t ip, sp;
	bool exact; /* unwound; else only an address found on the stack */
	bool interrupt; /* registers were saved here: ip did not call */
	bool user; /* here it left user space; the last one */
};

/*
 * The stack of a task.  @regs are those of a running one (of its CPU); NULL
 * for one that sleeps, whose are in its task_struct.  A running one without
 * @regs gives what looks like return addresses on its stack, none exact.
 * Writes up to @n frames, innermost first; their number or negative.
 */
DLOG_API int dlog_ram_stack(struct dlog_ram *ram,
			    const struct dlog_ram_task *task,
			    const struct dlog_ram_regs *regs,
			    struct dlog_ram_frame *out, size_t n);

#ifdef __cplusplus
}
#endif

#endif
