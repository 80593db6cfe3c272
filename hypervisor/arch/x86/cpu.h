/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * cpu.h - instructions of x86 that C does not know, and their numbers.
 *
 * AMD64 Architecture Programmer's Manual volumes 2 and 3 ("APM").
 */
#ifndef HV_CPU_H
#define HV_CPU_H

#include "types.h"

#define MSR_TSC 0x10u
#define MSR_APIC_BASE 0x1bu
#define MSR_X2APIC 0x800u
#define MSR_EFER 0xc0000080u
#define MSR_VM_CR 0xc0010114u
#define MSR_VM_HSAVE 0xc0010117u

#define APIC_BASE_X2 (1u << 10)

#define EFER_LME (1u << 8)
#define EFER_LMA (1u << 10)
#define EFER_SVME (1u << 12)

#define CR0_PG (1u << 31)
#define CR4_PAE (1u << 5)
#define CR4_LA57 (1u << 12)
#define RFLAGS_IF (1u << 9)

#define PORT_ACCESS(bits, suffix)                                              \
	static inline u##bits in##bits(u16 port)                               \
	{                                                                      \
		u##bits v;                                                     \
		__asm__ volatile("in" suffix " %1, %0"                         \
				 : "=a"(v)                                     \
				 : "Nd"(port));                                \
		return v;                                                      \
	}                                                                      \
	static inline void out##bits(u16 port, u##bits v)                      \
	{                                                                      \
		__asm__ volatile("out" suffix " %0, %1"                        \
				 :                                             \
				 : "a"(v), "Nd"(port));                        \
	}

PORT_ACCESS(8, "b")
PORT_ACCESS(16, "w")
PORT_ACCESS(32, "l")

static inline u64 rdmsr(u32 msr)
{
	u32 lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return (u64)hi << 32 | lo;
}

static inline void wrmsr(u32 msr, u64 v)
{
	__asm__ volatile("wrmsr"
			 :
			 : "a"((u32)v), "d"((u32)(v >> 32)), "c"(msr)
			 : "memory");
}

static inline void cpuid(u32 leaf, u32 *a, u32 *b, u32 *c, u32 *d)
{
	__asm__ volatile("cpuid"
			 : "=a"(*a), "=b"(*b), "=c"(*c), "=d"(*d)
			 : "a"(leaf), "c"(0));
}

static inline u64 rdtsc(void)
{
	u32 lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (u64)hi << 32 | lo;
}

static inline void pause(void)
{
	__asm__ volatile("pause" ::: "memory");
}

static inline void invlpg(const void *p)
{
	__asm__ volatile("invlpg (%0)" : : "r"(p) : "memory");
}

#endif
