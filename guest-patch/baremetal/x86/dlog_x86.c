// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * dlog_x86.c - see dlog_x86.h.
 *
 * Intel 8254, Motorola MC146818A and National PC16550D data sheets.
 */
#include "dlog_x86.h"
#include "dlog_region.h"

#define PIT_HZ 1193182u
#define PIT_TICKS 11932u /* 10 ms */

void *memcpy(void *restrict dst, const void *restrict src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);

void *memcpy(void *restrict dst, const void *restrict src, size_t n)
{
	void *ret = dst;

	__asm__ volatile("rep movsb"
			 : "+D"(dst), "+S"(src), "+c"(n)
			 :
			 : "memory");
	return ret;
}

void *memset(void *dst, int c, size_t n)
{
	void *ret = dst;

	__asm__ volatile("rep stosb" : "+D"(dst), "+c"(n) : "a"(c) : "memory");
	return ret;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;

	for (; n; n--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

static void out(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static uint8_t in(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static uint64_t tsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

/* Cycles in 10 ms. */
static uint64_t measure(void)
{
	uint8_t gate = in(0x61);
	uint64_t begin;
	uint32_t i = 0;

	out(0x61, (uint8_t)((gate & ~2) | 1)); /* gate on, speaker off */
	out(0x43, 0xb0); /* channel 2, both bytes, mode 0 */
	out(0x42, PIT_TICKS & 0xff);
	out(0x42, PIT_TICKS >> 8);
	begin = tsc();
	while (!(in(0x61) & 0x20) && ++i < 1000000)
		;
	begin = tsc() - begin;
	out(0x61, gate);
	return begin;
}

uint64_t dlog_x86_tsc_khz(void)
{
	uint64_t best = UINT64_MAX;

	/* The shortest: nothing came in between. */
	for (uint32_t i = 0; i < 3; i++) {
		uint64_t n = measure();

		best = n < best ? n : best;
	}
	if (best > UINT32_MAX)
		return 0;
	best = best * PIT_HZ / PIT_TICKS / 1000;
	return best > 100000 && best < 20000000 ? best : 0;
}

static uint32_t number(uint8_t v, bool binary)
{
	return binary ? v : (v >> 4) * 10u + (v & 15);
}

uint64_t dlog_x86_wall(uint8_t (*cmos)(uint8_t index))
{
	static const uint16_t days[] = { 0,   31,  59,	90,  120, 151,
					 181, 212, 243, 273, 304, 334 };
	uint8_t mode = cmos(0x0b), s, h;
	bool binary = mode & 4;
	uint32_t m, hours, d, mon, y;
	uint64_t n;

	/* Until two readings agree no update was in between. */
	for (uint32_t i = 0; i < 10; i++) {
		s = cmos(0);
		m = number(cmos(2), binary);
		h = cmos(4);
		d = number(cmos(7), binary);
		mon = number(cmos(8), binary);
		y = number(cmos(9), binary);
		if (!(cmos(0x0a) & 0x80) && s == cmos(0))
			break;
	}
	hours = number(mode & 2 ? h : h & 0x7f, binary);
	if (!(mode & 2)) /* a clock of 12 hours */
		hours = hours % 12 + (h & 0x80 ? 12 : 0);
	if (mon < 1 || mon > 12 || d < 1 || d > 31 || hours > 23)
		return 0;
	y += y < 70 ? 2000 : 1900;
	n = (y - 1970) * 365ull + (y - 1969) / 4 + days[mon - 1] + d - 1;
	if (y % 4 == 0 && mon > 2)
		n++;
	return ((n * 24 + hours) * 60 + m) * 60000000000ull +
	       number(s, binary) * 1000000000ull;
}

void dlog_x86_random(uint8_t *to, size_t n, uint64_t seed)
{
	uint32_t a = 1, b, c, d;

	__asm__("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
	for (size_t i = 0; i < n; i++) {
		uintptr_t r = 0;

		if (c & 1u << 30)
			__asm__ volatile("rdrand %0" : "=r"(r) : : "cc");
		seed = dlog_mul_fold(seed ^ r ^ tsc(), DLOG_HASH_C);
		to[i] = (uint8_t)(seed >> 24);
	}
}

/* ---- ACPI ---- */

#define TABLE_HEAD 36u
#define TABLE_MAX (1u << 20)

const uint8_t *dlog_x86_acpi_table(uint64_t at)
{
	const uint8_t *t = (const uint8_t *)(uintptr_t)at;

	if (!at || at > UINT32_MAX - TABLE_MAX ||
	    dlog_load32(t + 4) < TABLE_HEAD || dlog_load32(t + 4) > TABLE_MAX)
		return NULL;
	return t;
}

bool dlog_x86_acpi_entry(const uint8_t *rsdp, uint32_t i, uint64_t *at)
{
	bool wide = rsdp && rsdp[15] >= 2 && dlog_load64(rsdp + 24);
	uint64_t off = TABLE_HEAD + (uint64_t)i * (wide ? 8 : 4);
	const uint8_t *root;

	if (!rsdp)
		return false;
	root = dlog_x86_acpi_table(wide ? dlog_load64(rsdp + 24)
					: dlog_load32(rsdp + 16));
	if (!root || off + (wide ? 8 : 4) > dlog_load32(root + 4))
		return false;
	*at = wide ? dlog_load64(root + off) : dlog_load32(root + off);
	return true;
}

/* ---- serial port ---- */

bool dlog_x86_serial_start(uint16_t port)
{
	/* The scratch register tells whether there is a port at all. */
	out(port + 7, 0x5a);
	if (in(port + 7) != 0x5a)
		return false;
	out(port + 1, 0); /* no interrupts */
	out(port + 3, 0x83); /* 8N1, divisor */
	out(port + 0, 1); /* 115200 */
	out(port + 1, 0);
	out(port + 3, 0x03);
	out(port + 2, 0x07); /* FIFO */
	out(port + 4, 0x03); /* DTR, RTS */
	return true;
}

void dlog_x86_serial_put(uint16_t port, char c)
{
	/* A port that takes nothing must not stop a machine. */
	for (uint32_t i = 0; i < 10000 && !(in(port + 5) & 0x20); i++)
		;
	out(port, (uint8_t)c);
}
