/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * core.h - what the files of dlog-core share.
 *
 * main.c	the command line, and the order of things
 * facts.c	what a RAM file holds, for people
 * tasks.c	its tasks and their stacks
 * symbols.c	its kernel's symbols; vmlinuz.c: those in a kernel's file
 * regs.c	registers of the CPUs, from a region or from vmm.c
 * vmm.c	the VMM: pause, registers, resume
 * write/	the core: plan.c what goes into it, filter.c which pages,
 *		copy.c their bytes, elf.c and kdump.c two formats, out.c the
 *		file that appears whole or not at all
 *
 * Relies on libdlog (dlog_ram.h) for all that is read from guest memory.
 */
#ifndef DLOG_CORE_H
#define DLOG_CORE_H

#include <string.h>
#include <sys/types.h>

#include "cli.h"
#include "dlog_ram.h"
#include "sink.h"

#define PROGRAM "dlog-core"
#define PAGE 4096u

/* ---- registers ---- */

/* struct elf_prstatus of x86-64 (Linux v6.1 include/linux/elfcore.h). */
#define PRSTATUS_SIZE 336u
#define PRSTATUS_PID 32u

/*
 * Stands for the pid of CPU 0 that idles or whose thread is not known, and so
 * on: no pid reaches it (PID_MAX_LIMIT, Linux v6.1 include/linux/threads.h).
 */
#define CORE_NO_PID 4194304u

#define QEMU_NOTE_MAX 1024u
#define CORE_CPUS_MAX 8192u /* NR_CPUS_RANGE_END of Linux v6.1, x86-64 */

struct core_cpu {
	uint32_t cpu;
	bool idle; /* known to be so */
	uint8_t prstatus[PRSTATUS_SIZE];
	uint32_t qemu_size; /* of QEMU's own note, 0: none */
	uint8_t qemu[QEMU_NOTE_MAX];
};

struct core_regs {
	struct core_cpu *cpu; /* by number */
	uint32_t nr;
	char from[160]; /* a sentence, "" when there are none */
};

static inline struct dlog_ram_regs core_regs_of(const struct core_cpu *c)
{
	struct dlog_ram_regs regs;

	memcpy(&regs, c->prstatus + DLOG_PRSTATUS_REGS, sizeof(regs));
	return regs;
}

void regs_free(struct core_regs *r);
/* One more CPU; NULL without memory. */
struct core_cpu *regs_add(struct core_regs *r, uint32_t cpu);
/* The registers that the kernel's driver left in the region @path. */
int regs_from_region(struct core_regs *r, struct dlog_ram *ram,
		     const char *path, struct dlog_error *err);
/*
 * Put into each CPU's note which thread it is: @before and @after are the
 * tasks from before and after the registers were read (the same: nothing ran
 * meanwhile).  Who is the same in both is believed.
 */
void regs_name_threads(struct core_regs *r, const struct dlog_ram_task *before,
		       int64_t nr_before, const struct dlog_ram_task *after,
		       int64_t nr_after);

/* ---- the VMM ---- */

struct vmm;

/*
 * Connect to QEMU's QMP socket @path; with @freeze also pause it, until
 * vmm_close().
 */
int vmm_open(struct vmm **out, const char *path, bool freeze,
	     struct dlog_error *err);
/* Registers of all CPUs; QEMU stops the guest meanwhile if it runs. */
int vmm_registers(struct vmm *v, struct core_regs *r, struct dlog_error *err);
/* Resume it if it was paused here; 0, or negative with a sentence. */
int vmm_resume(struct vmm *v, struct dlog_error *err);
/* How long the guest stood still, us; 0: it did not run. */
uint64_t vmm_paused_us(const struct vmm *v);
void vmm_close(struct vmm *v);

/* ---- vmlinuz.c ---- */

/*
 * If @path is a Linux kernel of x86-64, packed (vmlinuz) or not (vmlinux): 1,
 * and what of it is loaded in *@out, to be free()d.  0: it is something else.
 */
int vmlinuz_load(const char *path, uint8_t **out, size_t *size,
		 struct dlog_error *err);

/* ---- symbols.c ---- */

/* As System.map, from a kernel's @size bytes. */
int symbols_of_kernel(const char *path, const uint8_t *vmlinux, size_t size,
		      struct sink *out, struct dlog_error *err);
/* The same from a guest's memory. */
int symbols_of_guest(const char *path, struct dlog_ram *ram, struct sink *out,
		     struct dlog_error *err);

/* ---- facts.c ---- */

/* What @d holds and which registers there are. */
void facts_show(struct dlog *d, struct dlog_ram *ram,
		const struct core_regs *regs, struct sink *out);

/* ---- write/plan.c ---- */

/* More make gdb and crash slow; see there. */
#define PLAN_MAPPINGS_MAX 16384u

/* Memory that lies together, at @offset of the RAM file. */
struct plan_part {
	uint64_t addr, phys, size, offset;
};

struct plan {
	struct plan_part *ram; /* ranges of RAM, addr in the direct mapping */
	size_t nr_ram;
	struct plan_part *map; /* the kernel's other mappings */
	size_t nr_map, room;
	bool full; /* some mappings are left out */
	uint64_t bytes; /* of RAM */
};

int plan_make(struct plan *p, struct dlog_ram *ram, bool mappings,
	      struct dlog_error *err);
void plan_free(struct plan *p);

/* ---- write/filter.c ---- */

/* One bit for each page of each range of RAM: is it wanted? */
struct filter {
	uint64_t **keep; /* by range */
	size_t nr;
	uint64_t free, user, cache, kept; /* pages */
};

/* All pages but those that are free, of user space or of the page cache. */
int filter_make(struct filter *f, struct dlog_ram *ram, const struct plan *p,
		struct dlog_error *err);
void filter_free(struct filter *f);

static inline bool filter_keeps(const struct filter *f, size_t range,
				uint64_t page)
{
	return !f->keep || f->keep[range][page / 64] >> page % 64 & 1;
}

/* ---- write/out.c ---- */

struct out {
	const char *path;
	char *temp; /* its name until then */
	int fd;
	bool force;
	uint64_t written, max; /* bytes; @max 0: no limit */
	dev_t dev; /* of the RAM file, which is never replaced */
	ino_t ino;
};

/* To @path, from the memory in @ram; -EEXIST without @force. */
int out_open(struct out *o, const char *path, int ram, bool force, uint64_t max,
	     struct dlog_error *err);
int out_write(struct out *o, uint64_t off, const void *data, size_t len,
	      struct dlog_error *err);
/* Make it @size bytes long and give it its name. */
int out_commit(struct out *o, uint64_t size, struct dlog_error *err);
/* Without out_commit() nothing is left. */
void out_close(struct out *o);

/* ---- write/copy.c ---- */

/* What both formats write from. */
struct job {
	struct dlog_ram *ram;
	const struct plan *plan;
	const struct filter *filter;
	const struct core_regs *regs;
	const char *ram_path;
	int fd; /* of it */
	struct out *out;
	bool progress;
	uint64_t done, shown_at, begun; /* bytes; ns */
	uint8_t *buf; /* COPY_CHUNK bytes */
};

#define COPY_CHUNK (1u << 20)

/*
 * Read part @i of RAM from @at on: gives how many bytes there are in job->buf
 * (a multiple of PAGE) or in *@hole are known to be zeros; 0 at its end.
 */
int64_t copy_read(struct job *job, size_t i, uint64_t at, bool *hole,
		  struct dlog_error *err);
bool copy_is_zero(const void *page);
void copy_progress(struct job *job, bool end);
/* The pages of RAM that are wanted to @to + their place in RAM. */
int copy_all(struct job *job, uint64_t to, struct dlog_error *err);

/* ---- write/elf.c, write/kdump.c ---- */

/*
 * All notes, in a buffer of *@size bytes to be free()d.  @threads: for gdb,
 * which needs a thread number of its own for each CPU; else idle ones have
 * pid 0, under which drgn looks for them.
 */
uint8_t *elf_notes(struct dlog_ram *ram, const struct core_regs *regs,
		   bool threads, size_t *size);
int elf_write(struct job *job, uint64_t *size, struct dlog_error *err);

enum kdump_compression { KDUMP_ZSTD, KDUMP_ZLIB, KDUMP_NONE };
int kdump_write(struct job *job, enum kdump_compression compression,
		uint64_t *size, struct dlog_error *err);

#endif
