// SPDX-License-Identifier: GPL-2.0-only
/*
 * elf.c - load a multiboot2 kernel, an ELF file of 32 or 64 bit.
 *
 * ELF: System V ABI, chapter 4 and 5; Multiboot2 specification 2.0, 3.3 for
 * the machine's state and 3.6 for the information it is given.  The module is
 * the user's own file, checked all the same: nothing is read outside it and
 * nothing written but to free RAM.
 */
#include "x86.h"

#define PT_LOAD 1
#define INFO_SIZE (4 * PAGE)

struct file {
	const u8 *p;
	u64 size;
	bool is64;
};

static u64 field(const struct file *f, u64 at, u32 size)
{
	u64 v = 0;

	if (at <= f->size && size <= f->size - at)
		memcpy(&v, f->p + at, size);
	return v;
}

struct segment {
	u64 type, offset, vaddr, paddr, filesz, memsz;
};

static void segment_at(const struct file *f, u32 i, struct segment *s)
{
	u64 at = field(f, f->is64 ? 32 : 28, f->is64 ? 8 : 4) +
		 i * field(f, f->is64 ? 54 : 42, 2);
	u32 n = f->is64 ? 8 : 4;

	s->type = field(f, at, 4);
	s->offset = field(f, at + n, n);
	s->vaddr = field(f, at + 2 * n, n);
	s->paddr = field(f, at + 3 * n, n);
	s->filesz = field(f, at + 4 * n, n);
	s->memsz = field(f, at + 5 * n, n);
}

static int load_segment(const struct file *f, const struct segment *s)
{
	u64 start = ALIGN_DOWN(s->paddr, PAGE);
	u64 end = ALIGN_UP(s->paddr + s->memsz, PAGE);

	if (s->filesz > s->memsz || s->offset > f->size ||
	    s->filesz > f->size - s->offset || s->memsz > GIB ||
	    s->paddr > 4 * GIB - s->memsz)
		return hv_fail(EINVAL, "The kernel's ELF file is damaged.");
	if (s->memsz && !mem_is(&free_map, start, end, MEM_RAM))
		return hv_fail(
			EINVAL,
			"The kernel wants the memory from %lx to %lx, which is not free.",
			start, end);
	memcpy((void *)s->paddr, f->p + s->offset, s->filesz);
	memset((void *)(s->paddr + s->filesz), 0, s->memsz - s->filesz);
	return 0;
}

static int load(const struct file *f, u64 *entry)
{
	u32 n = (u32)field(f, f->is64 ? 56 : 44, 2);
	u64 wanted = field(f, 24, f->is64 ? 8 : 4);
	struct segment s;

	*entry = 0;
	for (u32 i = 0; i < n && i < 64; i++) {
		segment_at(f, i, &s);
		if (s.type != PT_LOAD)
			continue;
		if (load_segment(f, &s))
			return -EINVAL;
		if (wanted >= s.vaddr && wanted - s.vaddr < s.memsz)
			*entry = wanted - s.vaddr + s.paddr;
	}
	/* Only now: segments may share a page. */
	for (u32 i = 0; i < n && i < 64; i++) {
		segment_at(f, i, &s);
		if (s.type == PT_LOAD &&
		    mem_set(&free_map, ALIGN_DOWN(s.paddr, PAGE),
			    ALIGN_UP(s.paddr + s.memsz, PAGE), MEM_BUSY))
			return -ENOSPC;
	}
	return *entry ? 0 : hv_fail(EINVAL, "The kernel has no entry.");
}

static u8 *tag(u8 *p, u32 type, u32 size)
{
	memcpy(p, &type, 4);
	memcpy(p + 4, &size, 4);
	return p + 8;
}

static void make_info(u8 *info, u64 rsdp)
{
	u8 *p = info + 8, *t;
	u32 n = (u32)strlen(boot.module[0].cmdline) + 1;

	memset(info, 0, INFO_SIZE);
	n = n > PAGE ? PAGE : n;
	dlog_client_print((char *)tag(p, 1, 8 + n), n, "%s",
			  boot.module[0].cmdline);
	p += ALIGN_UP(8 + n, 8);
	t = tag(p, 6, 16 + 24 * guest_map.n);
	t[0] = 24; /* bytes of an entry; version 0 */
	for (u32 i = 0; i < guest_map.n; i++) {
		const struct mem_range *r = &guest_map.r[i];
		u64 size = r->end - r->start;

		memcpy(t + 8 + 24 * i, &r->start, 8);
		memcpy(t + 16 + 24 * i, &size, 8);
		memcpy(t + 24 + 24 * i, &r->type, 4);
	}
	p += 16 + 24 * guest_map.n;
	if (rsdp) {
		memcpy(tag(p, 15, 8 + 36), (void *)rsdp, 36);
		p += ALIGN_UP(8 + 36, 8);
	}
	tag(p, 0, 8);
	n = (u32)(p + 8 - info);
	memcpy(info, &n, 4);
}

int elf_load(struct guest_entry *e)
{
	const struct module *m = &boot.module[0];
	struct file f = { (const u8 *)m->start, m->end - m->start, false };
	u64 info;
	int ret;

	if (f.size < 64 || memcmp(f.p, "\177ELF", 4))
		return hv_fail(
			EINVAL,
			"The first module is neither a Linux bzImage nor an ELF kernel.");
	f.is64 = f.p[4] == 2;
	ret = load(&f, &e->ip);
	if (ret)
		return ret;
	info = mem_find(INFO_SIZE, PAGE, MIB, 4 * GIB);
	if (!info)
		return hv_fail(ENOMEM, "No room for the kernel's parameters.");
	make_info((u8 *)info, acpi_make());
	e->is_linux = false;
	e->arg = info;
	hv_log(HV_INFO, "multiboot2 kernel at %lx, %s", e->ip, m->cmdline);
	return 0;
}
