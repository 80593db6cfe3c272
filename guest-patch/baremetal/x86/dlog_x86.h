/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dlog_x86.h - what dlog_client.h asks of its surroundings, for a kernel on a
 * PC that has none of it yet: memcpy, memset, memcmp and strlen (dlog_x86.c),
 * how fast the TSC counts, the time of day, names, where ACPI's tables are; and
 * a serial port, for a console.
 *
 * For the start of a kernel, on one CPU, with ports of its own to use.
 */
#ifndef DLOG_X86_H
#define DLOG_X86_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

size_t strlen(const char *s);

/*
 * Thousands of TSC cycles a second, measured by the PIT's channel 2 (8254) in
 * some 30 ms; 0 when that does not count or the number is absurd.
 */
uint64_t dlog_x86_tsc_khz(void);

/*
 * Wall clock of the RTC (MC146818A) in ns since 1970, taken as UTC; 0 when it
 * holds no date.  @cmos reads one of its registers; others may do so too.
 */
uint64_t dlog_x86_wall(uint8_t (*cmos)(uint8_t index));

/*
 * @n bytes, good enough for the names of boots and regions: RDRAND where there
 * is one, the TSC, and @seed, such as the time.
 */
void dlog_x86_random(uint8_t *to, size_t n, uint64_t seed);

/*
 * ACPI 6.5, 5.2.7: the table that is entry @i of the XSDT which the RSDP at
 * @rsdp names, else of its RSDT; *@at is its address.  False behind the last,
 * and for a NULL @rsdp.  Reads only below 4 GiB, where all must be mapped at
 * its own address.
 */
bool dlog_x86_acpi_entry(const uint8_t *rsdp, uint32_t i, uint64_t *at);

/* The table at @at: below 4 GiB, its length one that can be; else NULL. */
const uint8_t *dlog_x86_acpi_table(uint64_t at);

/* Set up the 16550 at I/O port @port: 115200 8N1, polled.  False: none. */
bool dlog_x86_serial_start(uint16_t port);

/* One byte to it; waits for room, 10000 reads of a port at most. */
void dlog_x86_serial_put(uint16_t port, char c);

#endif
