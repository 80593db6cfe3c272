// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * machine.c - the PC below the demo kernel.
 *
 * Follows: 16550 UART; 8254 PIT on ports 0x42, 0x43, 0x61; Intel SDM volume 3,
 * "Interrupt and exception handling", "APIC" and "Paging".  Every wait is
 * bounded, since a clock that does not run must not stop the log.
 */
#include "dlog_client.h"
#include "machine.h"
#include "x86/dlog_x86.h"

#define COM1 0x3f8
#define PIT_HZ 1193182u
#define PIT_COUNT 59659u /* 50 ms */

#define MSR_APIC_BASE 0x1b
#define APIC_BASE_ENABLED 0x800u
#define APIC_EOI 0xb0
#define APIC_SPURIOUS 0xf0
#define APIC_LVT_TIMER 0x320
#define APIC_INITIAL 0x380
#define APIC_CURRENT 0x390
#define APIC_DIVIDE 0x3e0
#define APIC_PERIODIC 0x20000u

static uint64_t ns_per_tick; /* times 2^32 */
static uint32_t apic_per_ms;
static volatile uint8_t *apic;

/* ---- serial port ---- */

void vsay(const char *fmt, va_list args)
{
	char line[512];
	size_t len = dlog_client_format(line, sizeof(line), fmt, args);

	for (size_t i = 0; i < len; i++)
		dlog_x86_serial_put(COM1, line[i]);
	dlog_x86_serial_put(COM1, '\r');
	dlog_x86_serial_put(COM1, '\n');
}

void say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsay(fmt, args);
	va_end(args);
}

/* ---- interrupts ---- */

struct gate {
	uint16_t low, selector, flags, middle;
	uint32_t high, reserved;
};

static struct gate idt[34];
extern const char interrupt_stubs[];

static void idt_load(size_t bytes)
{
	struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} pointer = { (uint16_t)(bytes ? bytes - 1 : 0), (uintptr_t)idt };

	__asm__ volatile("lidt %0" : : "m"(pointer));
}

void interrupts_forget(void)
{
	idt_load(0);
}

void machine_start(void)
{
	dlog_x86_serial_start(COM1);
	for (size_t i = 0; i < sizeof(idt) / sizeof(*idt); i++) {
		uint64_t at = (uintptr_t)interrupt_stubs + i * 16;

		idt[i] = (struct gate){
			.low = (uint16_t)at,
			.selector = 8,
			.flags = 0x8e00, /* present, interrupt gate */
			.middle = (uint16_t)(at >> 16),
			.high = (uint32_t)(at >> 32),
		};
	}
	idt_load(sizeof(idt));
	/* Nothing may come from the old interrupt controllers. */
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
}

/* ---- clock and timer ---- */

static uint32_t apic_read(uint32_t reg)
{
	return *(volatile uint32_t *)(apic + reg);
}

static void apic_write(uint32_t reg, uint32_t v)
{
	*(volatile uint32_t *)(apic + reg) = v;
}

static void apic_start(void)
{
	uint64_t base = rdmsr(MSR_APIC_BASE);

	/* Nothing beyond the first 4 GiB is mapped; no x2APIC. */
	if (!(base & APIC_BASE_ENABLED) || base & 0x400 || base >> 32)
		return;
	apic = (volatile uint8_t *)(uintptr_t)(base & ~0xfffull);
	apic_write(APIC_SPURIOUS, 0x100 | VECTOR_SPURIOUS);
	apic_write(APIC_DIVIDE, 0xb); /* by 1 */
	apic_write(APIC_LVT_TIMER, 0x10000);
	apic_write(APIC_INITIAL, UINT32_MAX);
}

uint64_t clock_start(void)
{
	uint64_t begin, ticks;
	uint32_t i = 0;

	apic_start();
	outb(0x61, (inb(0x61) & 0xfc) | 1); /* gate on, speaker off */
	outb(0x43, 0xb0); /* channel 2, both bytes, mode 0 */
	outb(0x42, PIT_COUNT & 0xff);
	outb(0x42, PIT_COUNT >> 8);
	begin = rdtsc();
	while (!(inb(0x61) & 0x20) && ++i < 50000000)
		;
	ticks = rdtsc() - begin;
	if (apic)
		apic_per_ms = (UINT32_MAX - apic_read(APIC_CURRENT)) / 50;
	if (i == 50000000 || !ticks) {
		say("demo: the PIT does not count, so the clock is a guess");
		ticks = 50000000; /* 1 GHz */
	}
	ns_per_tick = ((uint64_t)PIT_COUNT * 1000000000u / PIT_HZ << 32) /
		      ticks;
	return ticks / 50;
}

uint64_t clock_ns(void *unused)
{
	(void)unused;
	return (uint64_t)((unsigned __int128)rdtsc() * ns_per_tick >> 32);
}

bool timer_start(uint32_t ms)
{
	if (!apic || !apic_per_ms)
		return false;
	apic_write(APIC_LVT_TIMER, APIC_PERIODIC | VECTOR_TIMER);
	apic_write(APIC_INITIAL, apic_per_ms * ms);
	__asm__ volatile("sti");
	return true;
}

void timer_done(void)
{
	apic_write(APIC_EOI, 0);
}

/* ---- memory ---- */

#define TABLES 8u

extern uint64_t page_root[512];
static uint64_t tables[TABLES][512] __attribute__((aligned(4096)));
static uint32_t tables_used;

static uint64_t *table_below(uint64_t *entry)
{
	if (!*entry) {
		if (tables_used == TABLES)
			return NULL;
		*entry = (uintptr_t)tables[tables_used++] | 3;
	}
	return (uint64_t *)(uintptr_t)(*entry & 0x000ffffffffff000);
}

bool map_memory(uint64_t at, uint64_t bytes)
{
	const uint64_t page = 0x200000, end = UINT64_C(1) << 46;

	if (at > end || bytes > end - at)
		return false;
	for (uint64_t a = at & -page; a < at + bytes; a += page) {
		uint64_t *t = table_below(&page_root[a >> 39 & 511]);

		t = t ? table_below(&t[a >> 30 & 511]) : NULL;
		if (!t)
			return false;
		t[a >> 21 & 511] = a | 0x83;
	}
	return true;
}
