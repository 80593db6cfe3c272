// SPDX-License-Identifier: GPL-2.0-only
/*
 * apic.c - the local APIC: starting processors, NMIs of our own, and the
 * guest's commands to other processors.
 *
 * APM volume 2, chapter 16.  The guest owns its local APIC.  Only what it
 * writes is looked at (xAPIC: the page is read-only in the nested tables;
 * x2APIC: the command register's MSR alone), because INIT and SIPI have to
 * be played: SVM cannot intercept a SIPI, and after a real INIT dlog-hv would
 * not be there any more.
 */
#include "x86.h"

#define APIC_ID 0x20
#define APIC_TPR 0x80
#define APIC_EOI 0xb0
#define APIC_ISR 0x100
#define APIC_COMMAND 0x300
#define APIC_COMMAND_HI 0x310
#define APIC_SPURIOUS 0xf0
#define APIC_TIMER_COUNT 0x380

#define MODE(command) ((command) >> 8 & 7)
#define MODE_NMI 4u
#define MODE_INIT 5u
#define MODE_SIPI 6u
#define ASSERT (1u << 14)
#define LEVEL (1u << 15)
#define LOGICAL (1u << 11)
#define SHORTHAND(command) ((command) >> 18 & 3)

/* How long another CPU may take to answer an NMI. */
#define WAIT_NS 2000000000ull

#define TRAMPOLINE 0x8000ull

struct vcpu cpus[MAX_CPUS];
u32 nr_cpus = 1;

extern u8 ap_begin[], ap_end[];
extern u64 ap_stack;
void ap_main(void);

static volatile u32 *page;
static u32 ap_up; /* the one that starts now has come so far */
static u32 ap_number;

static bool x2_on(void)
{
	return rdmsr(MSR_APIC_BASE) & APIC_BASE_X2;
}

static u32 apic_read(u32 reg)
{
	if (x2_on())
		return (u32)rdmsr(MSR_X2APIC + reg / 16);
	return page[reg / 4];
}

static void apic_write(u32 reg, u32 v)
{
	if (x2_on())
		wrmsr(MSR_X2APIC + reg / 16, v);
	else
		page[reg / 4] = v;
}

/* As INIT leaves it, as far as that can be had: disabled, nothing on its way */
static void apic_quiet(void)
{
	for (u32 i = 0; i < 256; i++)
		if (apic_read(APIC_ISR + i / 32 * 16))
			apic_write(APIC_EOI, 0);
	apic_write(APIC_TIMER_COUNT, 0);
	apic_write(APIC_TPR, 0);
	apic_write(APIC_SPURIOUS, 0xff);
}

static void send(u32 id, u32 command)
{
	if (x2_on()) {
		wrmsr(MSR_X2APIC + APIC_COMMAND / 16, (u64)id << 32 | command);
		return;
	}
	for (u32 i = 0; i < 100000 && page[APIC_COMMAND / 4] & 1u << 12; i++)
		pause();
	page[APIC_COMMAND_HI / 4] = id << 24;
	page[APIC_COMMAND / 4] = command;
}

void apic_start(void)
{
	page = (volatile u32 *)(rdmsr(MSR_APIC_BASE) & 0xffffff000ull);
	/* Software enable, so that it sends. */
	if (!x2_on())
		page[APIC_SPURIOUS / 4] |= 0x100;
}

void apic_reset(bool first)
{
	apic_quiet();
	/* Timer, thermal, performance, LINT0, LINT1, error. */
	for (u32 reg = 0x320; reg <= 0x370; reg += 0x10)
		apic_write(reg, 0x10000);
	if (!first)
		return;
	apic_write(APIC_SPURIOUS, 0x1ff);
	apic_write(0x350, 0x700);
	apic_write(0x360, MODE_NMI << 8);
}

u32 apic_id(void)
{
	return x2_on() ? apic_read(APIC_ID) : apic_read(APIC_ID) >> 24;
}

/* The guest may be between its two writes of a command: keep the first. */
void apic_nmi(u32 id)
{
	u32 hi = x2_on() ? 0 : page[APIC_COMMAND_HI / 4];

	send(id, MODE_NMI << 8 | ASSERT);
	if (!x2_on())
		page[APIC_COMMAND_HI / 4] = hi;
}

/* ---- starting processors ---- */

void ap_main(void)
{
	struct vcpu *v = &cpus[ap_number];

	svm_start_cpu(v);
	v->state = CPU_WAITING;
	__atomic_store_n(&ap_up, 1, __ATOMIC_RELEASE);
	cpu_wait_sipi(v);
	svm_loop(v);
}

static bool start_one(struct vcpu *v)
{
	ap_stack = (u64)v->stack + 4 * PAGE;
	ap_number = v->id;
	__atomic_store_n(&ap_up, 0, __ATOMIC_RELEASE);
	send(v->apic_id, MODE_INIT << 8 | ASSERT | LEVEL);
	delay_us(200);
	send(v->apic_id, MODE_INIT << 8 | LEVEL);
	delay_us(10000);
	for (u32 try = 0; try < 2; try++) {
		send(v->apic_id,
		     MODE_SIPI << 8 | ASSERT | (u32)(TRAMPOLINE / PAGE));
		for (u32 i = 0; i < (try ? 50000u : 200u); i++) {
			if (__atomic_load_n(&ap_up, __ATOMIC_ACQUIRE))
				return true;
			delay_us(10);
		}
	}
	return false;
}

void smp_start(void)
{
	static u8 saved[PAGE];

	memcpy(saved, (void *)TRAMPOLINE, PAGE);
	memcpy((void *)TRAMPOLINE, ap_begin, (size_t)(ap_end - ap_begin));
	for (u32 i = 1; i < acpi.cpus; i++) {
		struct vcpu *v = &cpus[i];

		v->id = i;
		v->apic_id = acpi.apic_id[i];
		v->state = CPU_ABSENT;
		v->stack = page_alloc(4);
		nr_cpus = i + 1;
		if (!v->stack || !start_one(v))
			hv_log(HV_ERR, "CPU %u (APIC %u) does not start.", i,
			       v->apic_id);
	}
	memcpy((void *)TRAMPOLINE, saved, PAGE);
}

/* ---- asking another one ---- */

/*
 * One NMI brings all that was asked before it is taken, and no request is
 * taken without one: an NMI that finds none is the guest's.
 */
void cpu_ask(struct vcpu *v, u32 request)
{
	if (!__atomic_fetch_or(&v->request, request, __ATOMIC_SEQ_CST))
		apic_nmi(v->apic_id);
}

u32 cpu_asked(struct vcpu *v)
{
	return __atomic_exchange_n(&v->request, 0, __ATOMIC_SEQ_CST);
}

void cpu_wait_sipi(struct vcpu *v)
{
	__atomic_store_n(&v->state, CPU_WAITING, __ATOMIC_SEQ_CST);
	apic_quiet();
	for (;;) {
		u32 asked;

		svm_wait_nmi();
		asked = cpu_asked(v);
		if (asked & REQ_STOP)
			arch_check_stop(v);
		if (asked & REQ_SIPI)
			break;
	}
	v->nmi_due = v->in_nmi = v->was_on = false;
	v->off_since = 0;
	svm_begin_sipi(v, v->sipi_vector);
	__atomic_store_n(&v->state, CPU_RUNNING, __ATOMIC_SEQ_CST);
	/* Who stops all may have seen the old state. */
	arch_check_stop(v);
}

/* ---- the guest's commands ---- */

static void play(struct vcpu *from, struct vcpu *to, u32 command)
{
	if (to->state == CPU_ABSENT)
		return;
	if (MODE(command) == MODE_SIPI) {
		if (to->state != CPU_WAITING)
			return;
		to->sipi_vector = (u8)command;
		cpu_ask(to, REQ_SIPI);
		return;
	}
	/* The de-assert that old processors needed. */
	if (command & LEVEL && !(command & ASSERT))
		return;
	if (to == from || to->id == 0) {
		death(from, CAUSE_RESET,
		      to == from ? "INIT to itself" : "INIT to the first CPU");
		return;
	}
	/* So that it takes the SIPI that will follow. */
	cpu_ask(to, REQ_INIT);
	for (u64 end = arch_ns() + WAIT_NS;
	     __atomic_load_n(&to->state, __ATOMIC_ACQUIRE) != CPU_WAITING &&
	     arch_ns() < end;) {
		arch_check_stop(from); /* it may be dying */
		pause();
	}
}

static bool meant(const struct vcpu *from, const struct vcpu *to, u32 command,
		  u32 dest, bool x2)
{
	switch (SHORTHAND(command)) {
	case 1:
		return to == from;
	case 2:
		return true;
	case 3:
		return to != from;
	}
	/* Flat logical names of xAPIC are one bit each, set up by the guest. */
	if (command & LOGICAL)
		return !x2 && to->id < 8 && dest >> to->id & 1;
	return to->apic_id == dest || dest == (x2 ? 0xffffffff : 0xff);
}

bool apic_command(struct vcpu *v, u64 command, bool x2)
{
	u32 lo = (u32)command, dest = (u32)(command >> 32);

	if (MODE(lo) != MODE_INIT && MODE(lo) != MODE_SIPI) {
		if (x2)
			return msr_try(MSR_X2APIC + APIC_COMMAND / 16, &command,
				       true);
		page[APIC_COMMAND / 4] = lo;
		return true;
	}
	for (u32 i = 0; i < nr_cpus; i++)
		if (meant(v, &cpus[i], lo, dest, x2))
			play(v, &cpus[i], lo);
	return true;
}

void apic_store(struct vcpu *v, u32 offset, u32 value)
{
	if (offset == APIC_COMMAND)
		apic_command(
			v, (u64)(page[APIC_COMMAND_HI / 4] >> 24) << 32 | value,
			false);
	else if (offset != APIC_ID) /* it is how we find the CPU */
		page[offset / 4] = value;
}
