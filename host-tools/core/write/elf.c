// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * elf.c - an ELF core, as Linux's own /proc/vmcore is one (Linux v6.1
 * kernel/kexec_file.c crash_prepare_elf64_headers() and fs/proc/vmcore.c;
 * elf(5)):
 *
 *	ELF header, program headers
 *	notes: NT_PRSTATUS of each CPU, QEMU's note of each, VMCOREINFO
 *	RAM, page after page; holes where there are none
 *
 * p_align is 0 as in that file: crash takes a core whose first segment is
 * aligned for one of netdump's.  It also wants the one PT_NOTE first, and
 * takes registers for those of all CPUs only if QEMU's notes are there.
 * makedumpfile takes the last segment below the kernel's image for the direct
 * mapping: so the ranges of RAM come last.
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../core.h"

static size_t aligned(size_t n)
{
	return (n + 3) & ~(size_t)3;
}

static size_t note_size(const char *name, size_t len)
{
	return sizeof(Elf64_Nhdr) + aligned(strlen(name) + 1) + aligned(len);
}

static uint8_t *put_note(uint8_t *p, const char *name, uint32_t type,
			 const void *desc, size_t len)
{
	size_t name_len = strlen(name) + 1;
	Elf64_Nhdr n = { .n_namesz = (uint32_t)name_len,
			 .n_descsz = (uint32_t)len,
			 .n_type = type };

	memcpy(p, &n, sizeof(n));
	memcpy(p + sizeof(n), name, name_len);
	memcpy(p + sizeof(n) + aligned(name_len), desc, len);
	return p + note_size(name, len);
}

uint8_t *elf_notes(struct dlog_ram *ram, const struct core_regs *regs,
		   bool threads, size_t *size)
{
	uint64_t phys;
	size_t len;
	const char *info = dlog_ram_vmcoreinfo(ram, &len, &phys);
	uint8_t *all, *p;

	*size = info ? note_size("VMCOREINFO", len) : 0;
	for (uint32_t i = 0; i < regs->nr; i++) {
		*size += note_size("CORE", PRSTATUS_SIZE);
		if (regs->cpu[i].qemu_size)
			*size += note_size("QEMU", regs->cpu[i].qemu_size);
	}
	all = p = calloc(1, *size + 1);
	if (!p)
		return NULL;
	for (uint32_t i = 0; i < regs->nr; i++) {
		uint8_t *desc = p + sizeof(Elf64_Nhdr) +
				aligned(sizeof("CORE"));

		p = put_note(p, "CORE", NT_PRSTATUS, regs->cpu[i].prstatus,
			     PRSTATUS_SIZE);
		if (!threads && regs->cpu[i].idle)
			memset(desc + PRSTATUS_PID, 0, 4);
	}
	for (uint32_t i = 0; i < regs->nr; i++)
		if (regs->cpu[i].qemu_size)
			p = put_note(p, "QEMU", 0, regs->cpu[i].qemu,
				     regs->cpu[i].qemu_size);
	if (info)
		put_note(p, "VMCOREINFO", 0, info, len);
	return all;
}

/* ---- headers ---- */

_Static_assert(PLAN_MAPPINGS_MAX < PN_XNUM / 2,
	       "the number of segments fits the header");

struct head {
	uint8_t *bytes, *notes;
	size_t size, notes_size, nr; /* @nr program headers */
	uint64_t data; /* where RAM begins in the core */
};

static void put_elf_header(struct head *h)
{
	Elf64_Ehdr e = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3,
				      ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			 .e_type = ET_CORE,
			 .e_machine = EM_X86_64,
			 .e_version = EV_CURRENT,
			 .e_phoff = sizeof(e),
			 .e_ehsize = sizeof(e),
			 .e_phentsize = sizeof(Elf64_Phdr),
			 .e_phnum = (uint16_t)h->nr };

	memcpy(h->bytes, &e, sizeof(e));
}

static void put_segment(struct head *h, size_t i, uint32_t type,
			const struct plan_part *p, uint64_t at)
{
	Elf64_Phdr ph = { .p_type = type,
			  .p_offset = at,
			  .p_vaddr = p->addr,
			  .p_paddr = p->phys,
			  .p_filesz = p->size,
			  .p_memsz = type == PT_LOAD ? p->size : 0 };

	if (type == PT_LOAD)
		ph.p_flags = PF_R | PF_W | PF_X;
	memcpy(h->bytes + sizeof(Elf64_Ehdr) + i * sizeof(ph), &ph, sizeof(ph));
}

/* Where the byte of RAM that lies at @offset of the RAM file is in the core. */
static uint64_t place_of(const struct head *h, const struct plan *p,
			 uint64_t phys)
{
	uint64_t at = h->data;

	for (size_t i = 0; i < p->nr_ram; i++) {
		if (phys - p->ram[i].phys < p->ram[i].size)
			return at + (phys - p->ram[i].phys);
		at += p->ram[i].size;
	}
	return at;
}

static int make_head(struct head *h, const struct job *job)
{
	const struct plan *p = job->plan;
	struct plan_part notes = { .size = 0 };
	size_t i = 0, fixed;

	h->notes = elf_notes(job->ram, job->regs, true, &h->notes_size);
	h->nr = 1 + p->nr_ram + p->nr_map;
	if (h->nr >= PN_XNUM)
		return -E2BIG;
	fixed = sizeof(Elf64_Ehdr) + h->nr * sizeof(Elf64_Phdr);
	h->size = fixed + h->notes_size;
	h->data = (h->size + PAGE - 1) & ~(uint64_t)(PAGE - 1);
	h->bytes = calloc(1, h->size);
	if (!h->bytes || !h->notes)
		return -ENOMEM;
	put_elf_header(h);
	notes.size = h->notes_size;
	put_segment(h, i++, PT_NOTE, &notes, fixed);
	for (size_t n = 0; n < p->nr_map; n++)
		put_segment(h, i++, PT_LOAD, &p->map[n],
			    place_of(h, p, p->map[n].phys));
	for (size_t n = 0; n < p->nr_ram; n++)
		put_segment(h, i++, PT_LOAD, &p->ram[n],
			    place_of(h, p, p->ram[n].phys));
	memcpy(h->bytes + fixed, h->notes, h->notes_size);
	return 0;
}

int elf_write(struct job *job, uint64_t *size, struct dlog_error *err)
{
	struct head h = { .nr = 0 };
	int ret = make_head(&h, job);

	if (ret)
		fail(err, ret, "Cannot make the core's headers: %s.",
		     strerror(-ret));
	else
		ret = out_write(job->out, 0, h.bytes, h.size, err);
	if (!ret)
		ret = copy_all(job, h.data, err);
	*size = h.data + job->plan->bytes;
	free(h.bytes);
	free(h.notes);
	return ret;
}
