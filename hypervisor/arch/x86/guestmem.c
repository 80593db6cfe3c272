// SPDX-License-Identifier: GPL-2.0-only
/*
 * guestmem.c - the guest's memory by its own addresses, and the instructions
 * whose stores and loads are played.
 *
 * APM volume 2, chapter 5 (paging) and volume 3, chapter 1 and appendix A
 * (encoding).  All of it is the guest's to change at any time: each entry is
 * read once, only RAM is read, and at most five levels are walked.
 *
 * Memory above 4 GiB is seen through a window of 2 MiB for each CPU.
 */
#include "x86.h"

#define WINDOW_BASE (512 * GIB)
#define BIG (2 * MIB)
#define PRESENT 1u
#define LARGE (1u << 7)
#define ADDRESS 0xffffffffff000ull

extern u64 window_dir[512];

void *guest_window(struct vcpu *v, u64 pa, size_t n)
{
	u8 *window = (u8 *)(WINDOW_BASE + v->id * BIG);

	/* Devices' registers are not to be read, nor is what is ours. */
	if (n > PAGE - pa % PAGE || !mem_is(&guest_map, pa, pa + n, MEM_RAM))
		return NULL;
	if (pa < 4 * GIB)
		return (void *)pa;
	window_dir[v->id] = ALIGN_DOWN(pa, BIG) | 0x83;
	invlpg(window);
	return window + pa % BIG;
}

static int read_entry(struct vcpu *v, u64 at, u32 size, u64 *entry)
{
	void *p = guest_window(v, at, size);

	if (!p)
		return -EFAULT;
	*entry = size == 8 ? *(volatile u64 *)p : *(volatile u32 *)p;
	return 0;
}

/* How many levels, and how an entry looks, in the guest's mode. */
struct paging {
	u32 levels, bits, size;
	u64 root;
};

static struct paging paging_of(const struct cpu_mode *m)
{
	if (m->efer & EFER_LMA)
		return (struct paging){ m->cr4 & CR4_LA57 ? 5 : 4, 9, 8,
					m->cr3 & ADDRESS };
	if (m->cr4 & CR4_PAE)
		return (struct paging){ 3, 9, 8, m->cr3 & 0xffffffe0u };
	return (struct paging){ 2, 10, 4, m->cr3 & 0xfffff000u };
}

int guest_translate(struct vcpu *v, u64 va, u64 *pa, void (*say)(const char *))
{
	struct cpu_mode m;
	struct paging p;
	char line[96];
	u64 at;

	svm_mode(v, &m);
	if (!(m.cr0 & CR0_PG)) {
		*pa = va & 0xffffffff;
		if (say)
			say("paging is off");
		return 0;
	}
	p = paging_of(&m);
	at = p.root;
	va = m.efer & EFER_LMA ? va : (u32)va;
	for (u32 level = p.levels; level; level--) {
		u32 shift = 12 + (level - 1) * p.bits;
		u64 index = va >> shift & ((1u << p.bits) - 1), entry;
		u64 mask = (1ull << shift) - 1;

		at += index * p.size;
		if (read_entry(v, at, p.size, &entry)) {
			if (say)
				say("the next table is not in RAM");
			return -EFAULT;
		}
		if (say)
			dlog_client_print(line, sizeof(line),
					  "level %u entry at %lx: %016lx",
					  level, at, entry);
		if (say)
			say(line);
		if (!(entry & PRESENT))
			return -EFAULT;
		if (level == 1 ||
		    (entry & LARGE && level <= 3 && level < p.levels)) {
			*pa = (entry & ADDRESS & ~mask) | (va & mask);
			return 0;
		}
		at = entry & (p.size == 8 ? ADDRESS : 0xfffff000u);
	}
	return -EFAULT;
}

size_t arch_read(struct vcpu *v, u64 va, void *to, size_t n)
{
	size_t done = 0;

	while (done < n) {
		u64 room = PAGE - (va + done) % PAGE, pa;
		size_t part = n - done < room ? n - done : room;
		void *from;

		if (guest_translate(v, va + done, &pa, NULL))
			break;
		from = guest_window(v, pa, part);
		if (!from)
			break;
		memcpy((u8 *)to + done, from, part);
		done += part;
	}
	return done;
}

void arch_walk(struct vcpu *v, u64 va, void (*say)(const char *line))
{
	char line[64];
	u64 pa;

	if (guest_translate(v, va, &pa, say)) {
		say("not mapped");
		return;
	}
	dlog_client_print(line, sizeof(line), "physical %lx", pa);
	say(line);
}

/*
 * ---- instructions ----
 *
 * MOV of 4 and 8 bytes between a register, or an immediate, and memory: what
 * compilers make of the stores and loads that drivers do.
 */

struct code {
	u8 byte[15];
	u32 n, at;
};

static int next(struct code *c)
{
	return c->at < c->n ? c->byte[c->at++] : -EFAULT;
}

/* ModRM in memory form with all that belongs to it; gives the reg field. */
static int modrm(struct code *c)
{
	int m = next(c);
	u32 mod, rm;

	if (m < 0 || m >> 6 == 3)
		return -EINVAL;
	mod = (u32)m >> 6;
	rm = m & 7;
	if (rm == 4) {
		int sib = next(c);

		if (sib < 0)
			return -EINVAL;
		if ((sib & 7) == 5 && !mod)
			c->at += 4;
	} else if (rm == 5 && !mod) {
		c->at += 4;
	}
	c->at += mod == 1 ? 1 : mod == 2 ? 4 : 0;
	return m >> 3 & 7;
}

static int operands(struct vcpu *v, struct code *c, int op, u32 rex,
		    struct access *a)
{
	int reg = 0;

	a->store = op != 0x8b && op != 0xa1;
	if (op == 0xa1 || op == 0xa3)
		c->at += 8; /* an address */
	else
		reg = modrm(c);
	if (reg < 0)
		return reg;
	a->reg = (u32)reg | (rex & 4) << 1;
	if (op != 0xc7) {
		a->value = *guest_reg(v, a->reg);
		return 0;
	}
	if (reg || c->at + 4 > c->n)
		return -EINVAL;
	a->value = (u64)(s64)(int32_t)dlog_load32(c->byte + c->at);
	c->at += 4;
	return 0;
}

u32 guest_length(struct vcpu *v)
{
	struct cpu_mode m;
	u8 code[15];
	u32 n = 0, have;

	svm_mode(v, &m);
	have = (u32)arch_read(v, m.cs_base + m.ip, code, sizeof(code));
	while (n < have && code[n] != 0x0f)
		n++;
	return n < have ? n + 2 : 2;
}

int guest_decode(struct vcpu *v, struct access *a)
{
	struct code c = { .n = 0 };
	struct cpu_mode m;
	u32 rex = 0;
	int op, ret;

	svm_mode(v, &m);
	/* 16-bit code addresses differently, and has no business here. */
	if (!m.code64 && !m.code32)
		return -EINVAL;
	memset(a, 0, sizeof(*a));
	c.n = (u32)arch_read(v, m.cs_base + m.ip, c.byte, sizeof(c.byte));
	op = next(&c);
	if (m.code64 && op >= 0x40 && op <= 0x4f) {
		rex = (u32)op;
		op = next(&c);
	}
	if (op != 0x89 && op != 0x8b && op != 0xa1 && op != 0xa3 && op != 0xc7)
		return -EINVAL;
	ret = operands(v, &c, op, rex, a);
	if (op == 0xa1 || op == 0xa3)
		c.at -= m.code64 ? 0 : 4;
	if (ret || c.at > c.n)
		return ret ? ret : -EFAULT;
	a->length = c.at;
	a->size = rex & 8 ? 8 : 4;
	if (a->size == 4)
		a->value = (u32)a->value;
	return 0;
}
