// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * image_symbols.c - the symbols that a vmlinux of x86-64 has for itself
 * (kallsyms), also when it was stripped, as those inside a vmlinuz are.
 *
 * Nothing names the tables in the file, but they hang together, in the order
 * in which scripts/kallsyms.c writes them, each at a multiple of 8:
 *	Linux 6.1	offsets, relative_base, num_syms, names, markers,
 *			(from some 6.1.y on: seqs_of_names,) token_table,
 *			token_index
 *	Linux 6.12	num_syms, names, markers, token_table, token_index,
 *			offsets, relative_base
 * token_index is 256 numbers of 16 bit that lead to texts in token_table;
 * markers lead to each 256th of the names, of which there are num_syms.  Where
 * all of that holds are the tables.
 */
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "kernel.h"

#define LINKED_MIN 0xffffffff80000000u /* __START_KERNEL_map */
#define LOADS_MAX 16u
#define TRIES_MAX 64u /* what looks like token_index */
#define SYMBOLS_MAX (4u << 20)
#define WORK_MAX (64u << 20) /* names and numbers looked at in one part */
#define NAME_BYTES 514u /* of one name, with its length */
#define KEPT_MAX (256u << 20)

/* A part of the kernel, as it will be in memory. */
struct load {
	const uint8_t *p;
	uint64_t addr, size;
	bool code;
};

struct image {
	struct load load[LOADS_MAX];
	uint32_t nr;
};

static uint64_t get(const uint8_t *p, size_t size)
{
	uint64_t v = 0;

	memcpy(&v, p, size);
	return v;
}

/* ---- the file ---- */

static int find_loads(struct image *im, const uint8_t *file, size_t size)
{
	Elf64_Ehdr head;

	if (size < sizeof(head))
		return -EINVAL;
	memcpy(&head, file, sizeof(head));
	if (memcmp(head.e_ident, ELFMAG, SELFMAG) ||
	    head.e_ident[EI_CLASS] != ELFCLASS64 ||
	    head.e_machine != EM_X86_64 ||
	    head.e_phentsize != sizeof(Elf64_Phdr) || head.e_phoff > size ||
	    (size - head.e_phoff) / sizeof(Elf64_Phdr) < head.e_phnum)
		return -EINVAL;
	for (uint32_t i = 0; i < head.e_phnum && im->nr < LOADS_MAX; i++) {
		Elf64_Phdr ph;

		memcpy(&ph, file + head.e_phoff + i * sizeof(ph), sizeof(ph));
		if (ph.p_type != PT_LOAD || ph.p_vaddr < LINKED_MIN)
			continue;
		if (ph.p_offset > size || ph.p_filesz > size - ph.p_offset ||
		    ph.p_filesz > UINT64_MAX - ph.p_vaddr)
			return -EINVAL;
		im->load[im->nr++] = (struct load){
			.p = file + ph.p_offset,
			.addr = ph.p_vaddr,
			.size = ph.p_filesz,
			.code = ph.p_flags & PF_X,
		};
	}
	return im->nr ? 0 : -EINVAL;
}

/* What is behind the end of a part is 0, up to the end of a page. */
static int read_image(void *arg, uint64_t addr, void *buf, size_t len)
{
	const struct image *im = arg;

	for (uint32_t i = 0; i < im->nr; i++) {
		const struct load *l = &im->load[i];
		uint64_t off = addr - l->addr, have;

		if (addr < l->addr || off >= l->size)
			continue;
		have = l->size - off;
		if (len > have && len - have >= RAM_PAGE)
			return -EFAULT;
		if (have > len)
			have = len;
		memcpy(buf, l->p + off, (size_t)have);
		memset((uint8_t *)buf + have, 0, len - (size_t)have);
		return 0;
	}
	return -EFAULT;
}

/* ---- the tables; all offsets are in one part ---- */

struct tables {
	const struct load *l;
	uint64_t num, names, markers, tokens, index;
	uint32_t nr, nr_markers;
	uint32_t work; /* names and numbers looked at */
};

static bool is_index(const struct load *l, uint64_t at)
{
	uint64_t last = 0;

	if (get(l->p + at, 2))
		return false;
	for (uint32_t i = 1; i < 256; i++) {
		uint64_t v = get(l->p + at + 2 * i, 2);

		/* Two bytes at least: a letter and NUL. */
		if (v < last + 2)
			return false;
		last = v;
	}
	return true;
}

/* Is each text as long as the index says, the last one up to the index? */
static bool is_token_table(const struct load *l, uint64_t at, uint64_t index)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint64_t from = at + get(l->p + index + 2 * i, 2), end;
		const uint8_t *nul;

		if (from >= index)
			return false;
		end = index - from < RAM_SYMBOL_MAX ? index - from
						    : RAM_SYMBOL_MAX;
		nul = memchr(l->p + from, 0, (size_t)end);
		if (!nul)
			return false;
		end = (uint64_t)(nul - l->p) + 1;
		if (i < 255 ? end != at + get(l->p + index + 2 * i + 2, 2)
			    : index - end >= 8)
			return false;
	}
	return true;
}

static bool find_token_table(struct tables *t)
{
	uint64_t least = get(t->l->p + t->index + 510, 2) + 2;

	for (uint64_t n = (least + 7) & ~7ull; n <= 65536 + NAME_BYTES;
	     n += 8) {
		if (n > t->index)
			return false;
		t->tokens = t->index - n;
		if (is_token_table(t->l, t->tokens, t->index))
			return true;
	}
	return false;
}

/* Back from @at: numbers that get smaller, down to 0. */
static bool are_markers(struct tables *t, uint64_t at)
{
	const uint8_t *p = t->l->p;
	uint64_t last = UINT64_MAX;

	/* An odd number of them is followed by 4 bytes of nothing. */
	if (at >= 4 && !get(p + at - 4, 4))
		at -= 4;
	for (t->nr_markers = 0; at >= 4; last = get(p + at, 4)) {
		at -= 4;
		if (get(p + at, 4) >= last || ++t->work > WORK_MAX)
			return false;
		t->nr_markers++;
		if (!get(p + at, 4))
			break;
	}
	t->markers = at;
	return t->nr_markers > 1 && !(at % 8);
}

/* Do @nr names begin at @at, and lead from marker to marker? */
static bool are_names(struct tables *t, uint64_t at, uint32_t nr)
{
	const uint8_t *p = t->l->p;
	uint64_t from = at;

	for (uint32_t i = 0; i < nr; i++) {
		uint32_t len;

		if (i % 256 == 0 &&
		    at - from != get(p + t->markers + i / 256 * 4, 4))
			return false;
		if (at + 2 > t->markers || ++t->work > WORK_MAX)
			return false;
		len = p[at++];
		if (len > 0x7f)
			len = (len & 0x7f) | (uint32_t)p[at++] << 7;
		if (len > t->markers - at)
			return false;
		at += len;
	}
	return t->markers - at < 8;
}

static bool find_names(struct tables *t)
{
	const uint8_t *p = t->l->p;
	uint64_t last = get(p + t->markers + 4 * (t->nr_markers - 1), 4);

	for (uint64_t n = 8; n < 256 * NAME_BYTES + 8; n += 8) {
		uint64_t back = ((last + 7) & ~7ull) + n;

		if (back > t->markers || ++t->work > WORK_MAX)
			return false;
		t->num = t->markers - back;
		t->names = t->num + 8;
		t->nr = (uint32_t)get(p + t->num, 4);
		if (t->nr && (t->nr - 1) / 256 + 1 == t->nr_markers &&
		    are_names(t, t->names, t->nr))
			return true;
	}
	return false;
}

static bool find_tables(struct tables *t)
{
	if (!find_token_table(t))
		return false;
	/* What may lie in between has 3 bytes for each symbol. */
	for (uint64_t n = 0; n <= t->tokens && n <= 3 * SYMBOLS_MAX; n += 8)
		if (are_markers(t, t->tokens - n) && find_names(t))
			return true;
	return false;
}

/* ---- addresses ---- */

/* With the table of offsets and relative_base there; 0 if they are. */
static int decode_with(struct image *im, const struct tables *t,
		       uint64_t offsets, uint64_t base, struct ram_symbols *s)
{
	struct ram_kallsyms k = {
		.read = read_image,
		.arg = im,
		.budget = KEPT_MAX,
		.names = t->l->addr + t->names,
		.offsets = t->l->addr + offsets,
		.tokens = t->l->addr + t->tokens,
		.index = t->l->addr + t->index,
		.nr = t->nr,
	};

	if (base + 8 > t->l->size)
		return -EBADMSG;
	k.base = get(t->l->p + base, 8);
	if (k.base < LINKED_MIN)
		return -EBADMSG;
	/* It begins the kernel's text, which is the first part with code. */
	for (uint32_t i = 0; i < im->nr && !k.stext_min; i++)
		if (im->load[i].code) {
			k.stext_min = im->load[i].addr;
			k.stext_max = k.stext_min + im->load[i].size;
		}
	return ram_kallsyms_decode(&k, s);
}

static int decode(struct image *im, const struct tables *t,
		  struct ram_symbols *s)
{
	uint64_t size = (4 * (uint64_t)t->nr + 7) & ~7ull;
	int ret = decode_with(im, t, t->index + 512, t->index + 512 + size, s);

	if (!ret || ret == -ENOMEM || t->num < size + 8)
		return ret;
	return decode_with(im, t, t->num - 8 - size, t->num - 8, s);
}

static int search(struct image *im, struct ram_symbols *s)
{
	uint32_t tries = 0;

	for (uint32_t i = 0; i < im->nr; i++) {
		struct tables t = { .l = &im->load[i] };

		for (t.index = 0; t.index + 512 <= t.l->size; t.index += 8) {
			int ret;

			if (!is_index(t.l, t.index))
				continue;
			if (++tries > TRIES_MAX)
				return -ENXIO;
			if (!find_tables(&t))
				continue;
			ret = decode(im, &t, s);
			if (!ret || ret == -ENOMEM)
				return ret;
		}
	}
	return -ENXIO;
}

/* ---- for programs ---- */

static int give(const struct ram_symbols *s, uint64_t offset,
		dlog_kernel_symbol_cb each, void *arg)
{
	for (uint32_t i = 0; i < s->nr; i++) {
		struct dlog_kernel_symbol sym = {
			.address = s->sym[i].addr,
			.name = s->names + s->sym[i].name,
			.type = s->sym[i].type,
		};
		int ret;

		/* Those below are offsets in per-CPU data, which stay. */
		if (sym.address >= LINKED_MIN)
			sym.address -= offset;
		ret = each(arg, &sym);
		if (ret)
			return ret;
	}
	return 0;
}

int dlog_ram_each_symbol(struct dlog_ram *ram, dlog_kernel_symbol_cb each,
			 void *arg)
{
	struct dlog_ram_kernel about;
	struct ram_kernel *k;
	int ret;

	k = ram_kernel_symbols(ram, &ret);
	if (!k)
		return ret;
	dlog_ram_get_kernel(ram, &about);
	return give(&k->symbols, about.offset, each, arg);
}

int dlog_vmlinux_each_symbol(const void *vmlinux, size_t size,
			     dlog_kernel_symbol_cb each, void *arg,
			     struct dlog_error *err)
{
	struct image im = { .nr = 0 };
	struct ram_symbols s = { .nr = 0 };
	int ret = find_loads(&im, vmlinux, size);

	if (ret)
		return dlog_fail(err, ret,
				 "it is no vmlinux of x86-64, or damaged");
	ret = search(&im, &s);
	if (ret == -ENOMEM)
		return dlog_fail(err, ret, "no memory for its symbols");
	if (ret)
		return dlog_fail(err, ret,
				 "its table of symbols is missing (no "
				 "CONFIG_KALLSYMS) or in a layout other than "
				 "those of Linux 6.1 and 6.12; take them from "
				 "a guest's RAM file, or with nm(1) from a "
				 "vmlinux that was not stripped");
	ret = give(&s, 0, each, arg);
	ram_symbols_free(&s);
	return ret;
}
