// SPDX-License-Identifier: GPL-2.0-only
/*
 * devices.c - serial port, warm reset, locks.
 *
 * The port is the guest's too: what it sets there holds for both.
 */
#include "x86.h"

#include "x86/dlog_x86.h"

static bool port_works;

void console_start(void)
{
	port_works = opt.console && dlog_x86_serial_start(opt.console);
}

void arch_console(char c)
{
	if (!port_works)
		return;
	if (c == '\n')
		dlog_x86_serial_put(opt.console, '\r');
	dlog_x86_serial_put(opt.console, c);
}

/*
 * Warm, so that memory stays: the register 0xCF9 of every chipset of the last
 * decades, then the keyboard controller, then a triple fault.
 */
void arch_reset(void)
{
	static const u8 none[10]; /* an IDT without a gate */

	out8(0xcf9, 0x02);
	delay_us(50);
	out8(0xcf9, 0x06);
	delay_us(100000);
	out8(0x64, 0xfe);
	delay_us(100000);
	__asm__ volatile("lidt %0; int3" : : "m"(none));
	for (;;)
		pause();
}

void arch_halt(void)
{
	for (;;)
		__asm__ volatile("hlt");
}

bool try_lock(u32 *word)
{
	return !__atomic_exchange_n(word, 1, __ATOMIC_ACQUIRE);
}

void lock(u32 *word)
{
	while (!try_lock(word))
		pause();
}

void unlock(u32 *word)
{
	__atomic_store_n(word, 0, __ATOMIC_RELEASE);
}
