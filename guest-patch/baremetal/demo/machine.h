/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * machine.h - what the demo kernel needs of a PC: serial port, clock, timer,
 * interrupts, more mapped memory, what the boot loader said.
 */
#ifndef DEMO_MACHINE_H
#define DEMO_MACHINE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VECTOR_TIMER 32u
#define VECTOR_SPURIOUS 33u

/* The stack of interrupt_stubs in boot.S; Linux's order of registers. */
struct frame {
	uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8;
	uint64_t rax, rcx, rdx, rsi, rdi, error;
	uint64_t rip, cs, rflags, rsp, ss;
};

static inline void outb(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline uint64_t rdtsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return (uint64_t)high << 32 | low;
}

static inline void wrmsr(uint32_t msr, uint64_t v)
{
	__asm__ volatile("wrmsr"
			 :
			 : "c"(msr), "a"((uint32_t)v),
			   "d"((uint32_t)(v >> 32)));
}

/* Serial port 0x3f8, and the interrupt table; first of all. */
void machine_start(void);

/* One line; a newline follows it. */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void vsay(const char *fmt, va_list args);

/* Measure TSC and local APIC timer against the PIT; kHz of the TSC. */
uint64_t clock_start(void);

/* Nanoseconds since the processor's reset. */
uint64_t clock_ns(void *unused);

/* VECTOR_TIMER each @ms; interrupts on.  False: no local APIC. */
bool timer_start(uint32_t ms);
void timer_done(void); /* end of interrupt */

/* A table of no interrupts, so that the next exception is the last. */
void interrupts_forget(void);

/* main.c's; @vector below 34. */
void interrupt(uint64_t vector, struct frame *frame);

/*
 * Map @bytes at physical address @at one to one, write-back unless the MTRRs
 * say otherwise.  False when the few page tables set aside for it are used.
 */
bool map_memory(uint64_t at, uint64_t bytes);

/* What the boot loader said (multiboot2); empty or NULL when it did not. */
struct boot_facts {
	char line[512]; /* command line */
	const uint8_t *rsdp; /* ACPI */
};
bool boot_read(uint32_t magic, const uint8_t *info, struct boot_facts *facts);

/* ACPI's reset register; false when there is none. */
bool acpi_reset(const uint8_t *rsdp);

/* Where the table DLOG says that a region is; false when there is none. */
bool acpi_region(const uint8_t *rsdp, uint64_t *at, uint64_t *size);

#endif
