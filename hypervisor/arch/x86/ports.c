// SPDX-License-Identifier: GPL-2.0-only
/*
 * ports.c - the I/O ports by which a machine ends, and those of the RTC.
 *
 *	0xcf9   reset control of PC chipsets: bit 2 resets
 *	0x64    keyboard controller (8042): commands 0xf0 to 0xff pulse lines,
 *	        bit 0 is reset; 0xd1 sends the next byte at 0x60 to the same
 *	0x92    bit 0 resets (PS/2 system control port A)
 *	FADT    reset register, PM1 control: bit 13 enters a sleep state
 *	0x70, 0x71  the RTC, whose periodic interrupt is dlog-hv's timer
 *
 * Every access is played after the record was made, so what the guest wants
 * happens as it would without dlog-hv.
 */
#include "x86.h"

#define CONFIG_ADDRESS 0xcf8
#define SLEEP_ENABLE (1u << 13)

static u8 rtc_index, rtc_b = 0x02;
static bool kbd_output; /* the next byte at 0x60 drives the lines */

void ports_intercept(void (*set)(u16 port))
{
	set(0xcf9);
	set(0x60);
	set(0x64);
	set(0x92);
	if (watch_runs()) {
		set(0x70);
		set(0x71);
	}
	if (acpi.has_reset)
		set(acpi.reset_port);
	for (u16 i = 0; i < 2; i++) {
		if (acpi.pm1a_control)
			set(acpi.pm1a_control + i);
		if (acpi.pm1b_control)
			set(acpi.pm1b_control + i);
	}
}

void ports_reset(void)
{
	rtc_index = 0;
	rtc_b = 0x02;
	kbd_output = false;
	cmos_write(0x0b, rtc_b);
}

/* A word or the upper byte of one, with SLEEP_ENABLE. */
static bool sleeps(u16 control, u16 port, u32 v)
{
	return control && ((port == control && v & SLEEP_ENABLE) ||
			   (port == control + 1 && v & SLEEP_ENABLE >> 8));
}

static u32 do_in(u16 port, u32 size)
{
	return size == 1 ? in8(port) : size == 2 ? in16(port) : in32(port);
}

static void do_out(u16 port, u32 size, u32 v)
{
	if (size == 1)
		out8(port, (u8)v);
	else if (size == 2)
		out16(port, (u16)v);
	else
		out32(port, v);
}

/* What the access means, NULL: nothing that ends the machine. */
static const char *end_of(u16 port, u32 size, u32 v)
{
	if (acpi.has_reset && port == acpi.reset_port && size == 1 &&
	    (u8)v == acpi.reset_value)
		return port == 0xcf9 ? "reset by the ACPI register, port 0xcf9"
				     : "reset by the ACPI register";
	if (port == 0xcf9 && size == 1 && v & 4)
		return "reset by port 0xcf9";
	if (port == 0x92 && v & 1)
		return "reset by port 0x92";
	if (port == 0x64 && (v & 0xf1) == 0xf0)
		return "reset by the keyboard controller";
	if (port == 0x60 && kbd_output && !(v & 1))
		return "reset by the keyboard controller's output port";
	return NULL;
}

static void note(struct vcpu *v, u16 port, u32 size, u32 value)
{
	const char *end = end_of(port, size, value);

	if (end)
		death(v, CAUSE_RESET, end);
	else if (sleeps(acpi.pm1a_control, port, value) ||
		 sleeps(acpi.pm1b_control, port, value))
		death(v, CAUSE_POWER, "sleep state by ACPI's PM1 control");
	if (port == 0x64)
		kbd_output = (u8)value == 0xd1;
	else if (port == 0x60)
		kbd_output = false;
}

/*
 * The guest sees an RTC without periodic interrupt, and whose other
 * interrupts never come: their pin is our timer's.
 */
static void rtc_access(u16 port, bool in, u32 *value)
{
	u8 index = rtc_index & 0x7f;

	if (port == 0x70) {
		if (in)
			*value = rtc_index;
		else
			rtc_index = (u8)*value;
		return;
	}
	if (in) {
		*value = cmos_read(rtc_index);
		if (index == 0x0a)
			*value &= 0xf0;
		else if (index == 0x0b)
			*value = rtc_b;
		else if (index == 0x0c)
			*value &= ~0xc0u;
		return;
	}
	if (index == 0x0a) {
		*value = 0x2f; /* its oscillator must not stop */
	} else if (index == 0x0b) {
		rtc_b = (u8)*value;
		*value = (*value & ~0x30u) | 0x40;
	} else if (index == 0x0c) {
		return;
	}
	cmos_write(rtc_index, (u8)*value);
}

void ports_access(struct vcpu *v, u16 port, bool in, u32 size, u32 *value)
{
	/* Wide accesses that are one: configuration address, PM1 control. */
	if (size > 1 && !(port == CONFIG_ADDRESS && size == 4) &&
	    port != acpi.pm1a_control && port != acpi.pm1b_control) {
		u32 all = 0;

		for (u32 i = 0; i < size; i++) {
			u32 byte = *value >> 8 * i & 0xff;

			ports_access(v, (u16)(port + i), in, 1, &byte);
			all |= (byte & 0xff) << 8 * i;
		}
		*value = in ? all : *value;
		return;
	}
	if (watch_runs() && (port == 0x70 || port == 0x71)) {
		rtc_access(port, in, value);
		return;
	}
	if (in) {
		*value = do_in(port, size);
		return;
	}
	/* A20 stays on, or part of dlog-hv's memory would go. */
	if (port == 0x92 || (port == 0x60 && kbd_output))
		*value |= 2;
	else if (port == 0x64 && (u8)*value == 0xdd)
		*value = 0xdf;
	note(v, port, size, *value);
	do_out(port, size, *value);
}
