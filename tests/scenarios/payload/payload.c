// SPDX-License-Identifier: GPL-2.0-only
/*
 * payload.c - a guest that does one thing: a test for each of dlog-hv's
 * intercepts.
 *
 * "do=WORD" on its command line says what; it tells on COM1 what it sees,
 * and where (physical addresses, for the test to compare).  It finds the
 * region as dlog.ko does: by the ACPI table DLOG.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

void payload_main(u32 magic, const u8 *info);
void die_triple(void), die_hlt(void), die_hang(void);
void die_stack(u32 at);
u32 try(void (*fn)(u32), u32 arg);
void fault_ud(void), fault_gp(void), fault_df(void);
void nmi_entry(void), soft_entry(void), soft_int(u32 stack);
u64 rdmsr_prefixed(u32 msr);
void nmi_work(u32 ip);

extern u8 nmi_iret[], ap_begin[], ap_end[];
extern u8 die_triple_at[], die_hlt_at[], die_hang_at[];

static u32 region, region_size, sleep_port;
static bool x2;
static const char *word = "";

static void out8(u16 port, u8 v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static u8 in8(u16 port)
{
	u8 v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static void say(const char *s)
{
	for (; *s; s++) {
		while (!(in8(0x3fd) & 0x20))
			;
		out8(0x3f8, (u8)*s);
	}
}

static void say_number(const char *what, u64 v)
{
	char text[17];

	for (int i = 0; i < 16; i++)
		text[i] = "0123456789abcdef"[v >> (60 - 4 * i) & 15];
	text[16] = 0;
	say("payload: ");
	say(what);
	say(" ");
	say(text);
	say("\n");
}

static u32 load32(const void *p)
{
	u32 v;

	__builtin_memcpy(&v, p, 4);
	return v;
}

static bool is(const void *p, const char *s)
{
	const char *t = p;

	while (*s)
		if (*s++ != *t++)
			return false;
	return true;
}

/* ---- what it is told ---- */

static void read_acpi(const u8 *rsdp)
{
	const u8 *xsdt = (const u8 *)load32(rsdp + 24);

	for (u32 i = 36; i + 8 <= load32(xsdt + 4); i += 8) {
		const u8 *t = (const u8 *)load32(xsdt + i);

		if (is(t, "DLOG")) {
			region = load32(t + 36);
			region_size = load32(t + 44);
		} else if (is(t, "FACP")) {
			sleep_port = load32(t + 64);
		}
	}
}

static void read_info(const u8 *info)
{
	const u8 *t = info + 8;

	for (; load32(t); t += (load32(t + 4) + 7) & ~7u) {
		if (load32(t) == 15)
			read_acpi(t + 8);
		if (load32(t) == 1)
			for (const char *s = (const char *)t + 8; *s; s++)
				if (is(s, "do="))
					word = s + 3;
	}
}

/* ---- faults ---- */

static u64 idt[32];

static void gate(u32 n, void (*fn)(void))
{
	u32 at = (u32)fn;

	idt[n] = (at & 0xffff) | 8u << 16 |
		 (u64)(0x8e00 | (at & 0xffff0000u)) << 32;
}

static void set_idt(void)
{
	struct __attribute__((packed)) {
		u16 limit;
		u32 base;
	} pointer = { sizeof(idt) - 1, (u32)idt };

	gate(2, nmi_entry);
	gate(6, fault_ud);
	gate(8, fault_df);
	gate(31, soft_entry);
	gate(13, fault_gp);
	__asm__ volatile("lidt %0" : : "m"(pointer));
}

/* ---- what it does ---- */

static void store(u32 at)
{
	*(volatile u32 *)at = 0xdeadbeef;
}

static void load(u32 at)
{
	say_number("read", *(volatile u32 *)at);
}

static void vmrun(u32 at)
{
	__asm__ volatile("vmrun" : : "a"(at));
}

static void clgi(u32 unused)
{
	(void)unused;
	__asm__ volatile("clgi");
}

static u64 rdtsc(void)
{
	u64 v;

	__asm__ volatile("rdtsc" : "=A"(v));
	return v;
}

static u64 rdmsr(u32 msr)
{
	u64 v;

	__asm__ volatile("rdmsr" : "=A"(v) : "c"(msr));
	return v;
}

static void wrmsr(u32 msr, u64 v)
{
	__asm__ volatile("wrmsr" : : "A"(v), "c"(msr));
}

static void svme_on(u32 msr)
{
	wrmsr(msr, rdmsr(msr) | 1u << 12);
}

/* Bits of EFER that no processor has. */
static void unknown_on(u32 msr)
{
	wrmsr(msr, rdmsr(msr) | 0x10200);
}

static void read_msr(u32 msr)
{
	rdmsr(msr);
}

static void apic_moved(u32 msr)
{
	wrmsr(msr, rdmsr(msr) ^ 0x100000);
}

static void apic_reserved(u32 msr)
{
	wrmsr(msr, rdmsr(msr) | 1ull << 60 | 1);
}

static void tell(const char *what, u32 fault)
{
	say_number(what, fault);
}

static u32 apic(void)
{
	return (u32)rdmsr(0x1b) & 0xfffff000u;
}

static void rtc(void)
{
	u8 a, b;

	out8(0x70, 0x0a);
	a = in8(0x71);
	out8(0x70, 0x0b);
	b = in8(0x71);
	say_number("rtc", a << 8 | b);
	/* Whatever it stores there, the timer has to go on. */
	out8(0x70, 0x0b);
	out8(0x71, 0x02);
}

static void ioapic(void)
{
	volatile u32 *p = (volatile u32 *)0xfec00000;

	p[0] = 0x20;
	p[4] = 0x00010039;
	say_number("ioapic", p[4]);
}

/* Whoever writes them, dlog-hv lives and keeps what it needs. */
static void machine(void)
{
	volatile u32 *id = (volatile u32 *)(apic() + 0x20);
	volatile u32 *low = (volatile u32 *)0x500000,
		     *high = (volatile u32 *)0x700000;
	u32 before = *id;

	*id = 5u << 24;
	say_number("apic id kept", *id == before);
	tell("apic moved", try(apic_moved, 0x1b));
	tell("apic reserved", try(apic_reserved, 0x1b));
	tell("efer unknown", try(unknown_on, 0xc0000080));
	/* A machine check bank of a kind that SVM's bitmap does not know. */
	tell("smca", try(read_msr, 0xc0002000));
	say_number("prefixed", rdmsr_prefixed(0xc0000080));
	wrmsr(0xc0010117, 0x1000);
	say_number("hsave", rdmsr(0xc0010117));
	wrmsr(0x10, 1ull << 48);
	say_number("tsc", rdtsc());
	__asm__ volatile("invd" : : : "memory");
	*low = 1;
	out8(0x92, 0);
	*high = 2;
	out8(0x64, 0xdd);
	*high = 2;
	say_number("a20 low", *low);
}

static void x2_alone(u32 msr)
{
	wrmsr(msr, (rdmsr(msr) | 0x400) & ~0x800ull);
}

static void x2_back(u32 msr)
{
	wrmsr(msr, rdmsr(msr) & ~0x400ull);
}

static void x2_command(u32 msr)
{
	wrmsr(msr, 0xfff00000);
}

static void survive(void)
{
	machine();
	tell("store super", try(store, region + 120));
	tell("store control", try(store, region + load32((u8 *)region + 128)));
	tell("store boots", try(store, region + load32((u8 *)region + 136) +
					       4 * load32((u8 *)region + 216)));
	tell("store backup", try(store, region + region_size - 4096));
	tell("store hv", try(store, 0x4000000));
	tell("load hv", try(load, 0x4000000));
	tell("store ring",
	     try(store, region + load32((u8 *)region + 168) + 4096));
	tell("vmrun", try(vmrun, 0));
	tell("clgi", try(clgi, 0));
	say_number("efer", rdmsr(0xc0000080));
	tell("svme", try(svme_on, 0xc0000080));
	say_number("vm_cr", rdmsr(0xc0010114));
	rtc();
	ioapic();
}

static void command_to(u32 id, u32 lo)
{
	if (x2) {
		wrmsr(0x830, (u64)id << 32 | lo);
		return;
	}
	*(volatile u32 *)(apic() + 0x310) = id << 24;
	*(volatile u32 *)(apic() + 0x300) = lo;
}

static void command(u32 lo)
{
	command_to(0, lo);
}

static void wait(u32 cycles)
{
	for (u64 end = rdtsc() + cycles; rdtsc() < end;)
		;
}

static void interrupts_on(void)
{
	out8(0x21, 0xff);
	out8(0xa1, 0xff);
	__asm__ volatile("sti");
}

/* ---- NMIs: the second comes while the first one is at work ---- */

static volatile u32 nmis, nmi_at[4];

void nmi_work(u32 ip)
{
	if (nmis < 4)
		nmi_at[nmis++] = ip;
	if (nmis == 1) {
		command(0x4400);
		wait(50000000);
	}
}

static void nmi_twice(void)
{
	interrupts_on();
	command(0x4400);
	wait(200000000);
	say_number("nmis", nmis);
	say_number("nmi inside", nmi_at[1] == (u32)nmi_iret);
}

/* ---- another CPU: it counts how often it is started ---- */

static void start_other(void)
{
	volatile u32 *count = (volatile u32 *)0x7800;

	for (u8 *to = (u8 *)0x7000, *p = ap_begin; p < ap_end;)
		*to++ = *p++;
	*count = 0;
	for (u32 i = 0; i < 3; i++) {
		command_to(1, 0xc500);
		command_to(1, 0x8500);
		wait(10000000);
		command_to(1, 0x4607);
		command_to(1, 0x4607);
		wait(100000000);
		command_to(1, 0x4607);
		wait(10000000);
	}
	say_number("started", *count);
}

/* ---- a stack above 4 GiB, where dlog-hv maps what is touched ---- */

static u64 pdpt[4] __attribute__((aligned(32)));
static u64 dirs[2][512] __attribute__((aligned(4096)));

static void paging_on(void)
{
	for (u32 i = 0; i < 512; i++) {
		dirs[0][i] = i * 0x200000ull | 0x83;
		dirs[1][i] = (i * 0x200000ull + 0x100000000ull) | 0x83;
	}
	pdpt[0] = (u32)dirs[0] | 1;
	pdpt[1] = (u32)dirs[1] | 1;
	__asm__ volatile("movl %%cr4, %%eax; orl $0x30, %%eax;"
			 "movl %%eax, %%cr4; movl %0, %%cr3;"
			 "movl %%cr0, %%eax; orl $0x80000000, %%eax;"
			 "movl %%eax, %%cr0"
			 :
			 : "r"(pdpt)
			 : "eax", "memory");
}

static volatile u32 softs;
void soft_work(void);

void soft_work(void)
{
	softs++;
}

static void soft(void)
{
	paging_on();
	soft_int(0x40100000);
	say_number("softs", softs);
}

static void x2_begin(void)
{
	/* Enabled without being enabled, and back: the CPU refuses both. */
	tell("x2 alone", try(x2_alone, 0x1b));
	wrmsr(0x1b, rdmsr(0x1b) | 0xc00);
	x2 = true;
	tell("x2 back", try(x2_back, 0x1b));
	tell("x2 command", try(x2_command, 0x830));
	say_number("x2", rdmsr(0x1b) >> 10 & 1);
}

static void with_known(u16 port, u8 v)
{
	__asm__ volatile("movl $0x22222222, %%ebx; movl $0x55555555, %%esi;"
			 "movl $0x66666666, %%edi; out %%al, %%dx"
			 :
			 : "a"(v), "d"(port)
			 : "ebx", "esi", "edi");
}

/* Is there a first entry in the boot table? */
static bool has_died(void)
{
	return region && load32((u8 *)region + load32((u8 *)region + 136));
}

static void end(void)
{
	if (is(word, "triple"))
		die_triple();
	if (is(word, "hlt"))
		die_hlt();
	if (is(word, "hang")) {
		/* A hang counts only after interrupts were on. */
		interrupts_on();
		for (u64 end = rdtsc() + 4000000000ull; rdtsc() < end;)
			;
		__asm__ volatile("cli");
		say("payload: hangs\n");
		die_hang();
	}
	if (is(word, "cf9"))
		with_known(0xcf9, 6);
	if (is(word, "kbd-output")) {
		out8(0x64, 0xd1);
		with_known(0x60, 0xfe);
	}
	if (is(word, "kbd"))
		with_known(0x64, 0xfe);
	if (is(word, "port92"))
		with_known(0x92, 1);
	if (is(word, "stack"))
		die_stack(region + 2048);
	if (is(word, "nmi-twice"))
		nmi_twice();
	if (is(word, "other"))
		start_other();
	if (is(word, "soft"))
		soft();
	if (is(word, "init-self"))
		command(0x00044500); /* shorthand: self */
	if (is(word, "init-first"))
		command(0x00004500);
	if (is(word, "sleep")) {
		__asm__ volatile("outw %0, %1"
				 :
				 : "a"((u16)0x2000), "d"((u16)sleep_port));
		wait(4000000000u); /* it takes a moment */
	}
}

void payload_main(u32 magic, const u8 *info)
{
	read_info(info);
	say_number("begins", magic);
	say_number("region", region);
	say_number("triple at", (u32)die_triple_at);
	say_number("hlt at", (u32)die_hlt_at);
	say_number("hang at", (u32)die_hang_at);
	set_idt();
	if (is(word, "survive"))
		survive();
	if (is(word, "x2-")) {
		x2_begin();
		word += 3;
	}
	say("payload: ready\n");
	/* Once is enough, but for "always-WORD": its records shall stay. */
	if (is(word, "always-"))
		word += 7;
	else if (!is(word, "survive") && has_died()) {
		say("payload: has died before\n");
		for (;;)
			;
	}
	end();
	say("payload: lives on\n");
}
