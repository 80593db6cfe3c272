// SPDX-License-Identifier: GPL-2.0-only
/*
 * access.c - see access.h.
 *
 * The word: bit 63 far, bit 62 atomic, then how many instructions of the block
 * are left, this one included, then the pc without the bits that all repeat
 * the sign.  Near: 10 bits left, 52 bits of pc.  Far: 5 bits left, 57 bits of
 * pc, for x86 with five levels of page tables; there a large rest is not told.
 */
#include <errno.h>
#include <stdlib.h>

#include "access.h"

#define FAR (1ull << 63)
#define ATOMIC (1ull << 62)
#define NEAR_BITS 52
#define NEAR_LEFT 1023u
#define FAR_BITS 57
#define FAR_LEFT 31u

static uint64_t sign_extend(uint64_t v, unsigned int bits)
{
	return (uint64_t)((int64_t)(v << (64 - bits)) >> (64 - bits));
}

size_t x86_opcode(const uint8_t *bytes, size_t n, struct x86_prefixes *p)
{
	size_t i;

	memset(p, 0, sizeof(*p));
	/* Intel SDM, volume 2, 2.1.1: groups 1 to 4, in any order. */
	for (i = 0; i < n; i++) {
		switch (bytes[i]) {
		case 0xf0:
			p->lock = true;
			continue;
		case 0x66:
			p->operand = true;
			continue;
		case 0xf2:
		case 0xf3:
		case 0x67:
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e:
		case 0x64:
		case 0x65:
			continue;
		}
		break;
	}
	return i;
}

/* Reads and writes its memory operand in one: lock, or xchg. */
static bool is_atomic(const struct qemu_plugin_insn *insn)
{
	uint8_t bytes[16];
	size_t n = api_insn_bytes(insn, bytes, sizeof(bytes));
	struct x86_prefixes p;
	size_t i = x86_opcode(bytes, n, &p);

	/* In 64-bit code a REX prefix may come; elsewhere that is inc or dec,
	 * an instruction of its own, with nothing behind it. */
	if (i + 1 < n && (bytes[i] & 0xf0) == 0x40)
		i++;
	return p.lock || (i < n && (bytes[i] & 0xfe) == 0x86);
}

void *access_word(const struct block *b, size_t i)
{
	const struct qemu_plugin_insn *insn = api.tb_get_insn(b->tb, i);
	uint64_t pc = api.insn_vaddr(insn);
	uint64_t left = b->n - i, word;

	if (sign_extend(pc, NEAR_BITS) == pc && left <= NEAR_LEFT) {
		word = left << NEAR_BITS;
		word |= pc & ((1ull << NEAR_BITS) - 1);
	} else {
		word = FAR | (left < FAR_LEFT ? left : FAR_LEFT) << FAR_BITS;
		word |= pc & ((1ull << FAR_BITS) - 1);
	}
	if (plugin.x86 && is_atomic(insn))
		word |= ATOMIC;
	return (void *)(uintptr_t)word;
}

uint64_t access_pc(const void *udata)
{
	uint64_t word = (uintptr_t)udata;

	return sign_extend(word, word & FAR ? FAR_BITS : NEAR_BITS);
}

uint64_t access_executed(unsigned int vcpu, const void *udata)
{
	uint64_t word = (uintptr_t)udata & ~ATOMIC;
	uint64_t executed = count_executed(vcpu);
	uint64_t left = (word & ~FAR) >> (word & FAR ? FAR_BITS : NEAR_BITS);

	if (executed == UINT64_MAX || left > executed ||
	    ((word & FAR) && left == FAR_LEFT))
		return UINT64_MAX;
	return executed - left;
}

bool access_read(uint64_t address, void *buf, size_t len)
{
	static __thread struct api_array *bytes;

	if (!api.read_memory_vaddr)
		return false;
	if (!bytes)
		bytes = api.byte_array_new();
	bytes->len = 0;
	if (!api.read_memory_vaddr(address, bytes, len) || bytes->len < len)
		return false;
	memcpy(buf, bytes->data, len);
	return true;
}

/*
 * Where vCPUs have threads of their own, QEMU tells of an atomic instruction
 * its operand, whatever it computes of it (accel/tcg/atomic_template.h, 9.2 to
 * 10.0).  The memory tells: it, or what another vCPU has stored there since.
 */
static void get_atomic(struct access *a)
{
	uint64_t value[2] = { 0, 0 };

	a->has_value = access_read(a->address, value, a->size);
	a->value = value[0];
	a->value_high = value[1];
}

static void get_value(struct access *a, qemu_plugin_meminfo_t info)
{
	struct qemu_plugin_mem_value v = api.mem_get_value(info);

	switch (a->size) {
	case 1:
		a->value = v.u8;
		break;
	case 2:
		a->value = v.u16;
		break;
	case 4:
		a->value = v.u32;
		break;
	case 8:
		a->value = v.u64;
		break;
	default:
		a->value = v.u128.low;
		a->value_high = v.u128.high;
	}
	a->has_value = true;
}

void access_get(struct access *a, unsigned int vcpu, qemu_plugin_meminfo_t info,
		uint64_t vaddr, const void *word)
{
	memset(a, 0, sizeof(*a));
	a->pc = access_pc(word);
	a->executed = access_executed(vcpu, word);
	a->address = vaddr;
	a->size = access_size(info);
	a->store = api.mem_is_store(info);
	if (api.mem_get_value)
		get_value(a, info);
	if (a->has_value && a->store && ((uintptr_t)word & ATOMIC))
		get_atomic(a);
}

/*
 * Where vCPUs take turns in one thread, QEMU reads and writes such memory in
 * two accesses, and tells of both.
 */
bool access_hides_read(unsigned int vcpu, const struct access *a,
		       const void *word)
{
	static uint8_t *read_seen; /* of each vCPU, by its thread alone */

	if (api.mem_get_value || !((uintptr_t)word & ATOMIC))
		return false;
	if (!__atomic_load_n(&read_seen, __ATOMIC_ACQUIRE)) {
		uint8_t *none = NULL, *p = calloc(plugin.nr_vcpus, 1);

		if (!p)
			return false;
		if (!__atomic_compare_exchange_n(&read_seen, &none, p, false,
						 __ATOMIC_ACQ_REL,
						 __ATOMIC_ACQUIRE))
			free(p);
	}
	if (!a->store) {
		read_seen[vcpu] = 1;
		return false;
	}
	if (read_seen[vcpu]) {
		read_seen[vcpu] = 0;
		return false;
	}
	return true;
}
