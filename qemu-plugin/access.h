/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * access.h - a memory access of the guest, as callbacks learn of it.
 *
 * QEMU 7.2 mixes up its own filter by kind of access when an instruction has
 * several callbacks, QEMU 9.1 to 10.0 does not filter at all: register with
 * QEMU_PLUGIN_MEM_RW and ask api.mem_is_store().
 *
 * What the callback cannot ask QEMU for comes with its argument: one word, so
 * that translating again and again takes no memory.
 */
#ifndef PLUGIN_ACCESS_H
#define PLUGIN_ACCESS_H

#include "plugin.h"

#define ACCESS_PAGE 4096u /* the smallest of the guest's pages */
#define ACCESS_MAX 16u /* bytes of one access */

struct access {
	uint64_t pc;
	uint64_t executed; /* instructions before this one, UINT64_MAX: unknown */
	uint64_t address; /* virtual */
	uint64_t value, value_high;
	uint32_t size; /* bytes, 1 to ACCESS_MAX */
	bool store, has_value;
};

/* For instruction @i of @b: to be passed as the callback's argument. */
void *access_word(const struct block *b, size_t i);

/* What that word says. */
uint64_t access_pc(const void *word);
uint64_t access_executed(unsigned int vcpu, const void *word);

/* From within the callback. */
void access_get(struct access *a, unsigned int vcpu, qemu_plugin_meminfo_t info,
		uint64_t vaddr, const void *word);

/* The guest's virtual memory, as the vCPU of this thread sees it now. */
bool access_read(uint64_t address, void *buf, size_t len);

static inline uint32_t access_size(qemu_plugin_meminfo_t info)
{
	unsigned int shift = api.mem_size_shift(info);

	return shift < 4 ? 1u << shift : ACCESS_MAX;
}

/*
 * Before QEMU 9.2 an instruction that reads and writes atomically is one
 * access, a store: is there a read in it that nobody is told of?  To be asked
 * at each access, by one caller alone.
 */
bool access_hides_read(unsigned int vcpu, const struct access *a,
		       const void *word);

/*
 * Bytes of the access that lie in the page it begins in; what is left lies in
 * the next one, which may be anywhere.
 */
static inline uint32_t access_in_page(uint64_t vaddr, uint32_t size)
{
	uint32_t room = ACCESS_PAGE - (uint32_t)(vaddr % ACCESS_PAGE);

	return size < room ? size : room;
}

/*
 * The opcode of an x86 instruction behind its prefixes: where in @bytes, @n if
 * there is none.  Two-byte opcodes begin with 0x0f.
 */
struct x86_prefixes {
	bool lock;
	bool operand; /* 0x66: the other operand size */
};

size_t x86_opcode(const uint8_t *bytes, size_t n, struct x86_prefixes *p);

#endif
