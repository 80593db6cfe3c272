// SPDX-License-Identifier: GPL-2.0-only
/*
 * exits.c - the loop that runs the guest, and what is done at each exit.
 *
 * APM volume 2, 15.7 to 15.12.  QEMU's TCG gives no next instruction pointer
 * and no decoded instruction, so lengths are known here.
 */
#include "vmcb.h"
#include "x86.h"

void svm_enter(struct vcpu *v);

#define VIOLATIONS_TOLD 64

static void inject(struct vcpu *v, u32 event, u32 error)
{
	v->vmcb->event = (u64)error << 32 | EVENT_VALID | event;
}

static void step(struct vcpu *v, u32 length)
{
	v->vmcb->ip += length;
	v->vmcb->interrupt_shadow = 0;
}

static void note_exit(struct vcpu *v)
{
	const struct vmcb *c = v->vmcb;
	struct hv_exit *e = &v->ring[v->exits % EXIT_RING];

	e->time = arch_ns();
	if (!v->id)
		watch_miss(e->time);
	e->rip = c->ip;
	e->info1 = c->info1;
	e->info2 = c->info2;
	e->code = c->code;
	v->exits++;
	v->count[c->code < EXIT_CODES ? c->code : EXIT_CODES - 1]++;
}

static void __attribute__((noreturn))
end(struct vcpu *v, enum hv_cause cause, const char *text)
{
	death(v, cause, text);
	arch_reset(); /* nothing is left to go on with */
}

static void violation(struct vcpu *v, u64 gpa, const char *what)
{
	static u32 told;
	u32 event = (u32)v->vmcb->event;
	char text[96];

	if (told < VIOLATIONS_TOLD) {
		told++;
		dlog_client_print(text, sizeof(text),
				  "refused %s at physical %lx", what, gpa);
		death(v, CAUSE_VIOLATION, text);
	}
	/* No event gets through: as on a stack that is not there. */
	if ((event & ~EVENT_ERROR) == (EVENT_DF | EVENT_VALID))
		end(v, CAUSE_FAULT, "triple fault");
	inject(v, (event & EVENT_VALID ? EVENT_DF : EVENT_GP) | EVENT_ERROR, 0);
}

/* Exit info 1 (APM volume 2, 15.10.2): port in bits 31..16, size 6..4. */
static void port(struct vcpu *v)
{
	struct vmcb *c = v->vmcb;
	u32 size = c->info1 >> 4 & 7, value = (u32)c->ax;
	bool in = c->info1 & 1;

	if (c->info1 & 0x0c) {
		/* INS and OUTS to these ports: nobody does that. */
		violation(v, c->info1 >> 16, "a string access to a port");
		return;
	}
	if (size < 4)
		value &= (1u << size * 8) - 1;
	ports_access(v, (u16)(c->info1 >> 16), in, size, &value);
	if (in && size == 4)
		c->ax = value;
	else if (in)
		c->ax = (c->ax & ~((1ull << size * 8) - 1)) | value;
	c->ip = c->info2;
	c->interrupt_shadow = 0;
}

/* EFER without SVME for the guest, with it for SVM. */
static bool set_efer(struct vcpu *v, u64 value)
{
	struct vmcb *c = v->vmcb;
	u64 own = rdmsr(MSR_EFER), both = own | value;
	bool known;

	if (value & EFER_SVME ||
	    ((value ^ c->efer) & EFER_LME && c->cr0 & CR0_PG))
		return false;
	/* Which bits there are the CPU knows: not all of them refuse. */
	known = msr_try(MSR_EFER, &both, true) && !(value & ~rdmsr(MSR_EFER));
	wrmsr(MSR_EFER, own);
	if (!known)
		return false;
	c->efer = (value & ~(u64)EFER_LMA) | (c->efer & EFER_LMA) | EFER_SVME;
	c->clean = 0;
	return true;
}

static bool write_msr(struct vcpu *v, u32 msr, u64 value)
{
	switch (msr) {
	case MSR_EFER:
		return set_efer(v, value);
	case MSR_TSC: /* the CPU's own is dlog-hv's clock */
		v->vmcb->tsc_offset = value - rdtsc();
		return true;
	case MSR_APIC_BASE:
		/* To move it would be to hide from us. */
		return !((value ^ rdmsr(msr)) & 0xffffff000ull) &&
		       msr_try(msr, &value, true);
	case MSR_X2APIC + 0x30:
		return apic_command(v, value, true);
	case MSR_VM_CR: /* locked */
	case MSR_VM_HSAVE: /* Linux clears it when it leaves */
		return true;
	}
	/* What the bitmap does not reach, as AMD's scalable machine check. */
	return msr_try(msr, &value, true);
}

static bool read_msr(struct vcpu *v, u32 msr, u64 *value)
{
	switch (msr) {
	case MSR_EFER:
		*value = v->vmcb->efer & ~(u64)EFER_SVME;
		return true;
	case MSR_VM_CR:
		*value = 0x18; /* LOCK, SVMDIS */
		return true;
	case MSR_VM_HSAVE:
		*value = 0;
		return true;
	}
	return msr_try(msr, value, false);
}

static void msr(struct vcpu *v)
{
	struct vmcb *c = v->vmcb;
	u64 value = (u64)(u32)v->reg[2] << 32 | (u32)c->ax;
	u32 n = (u32)v->reg[1];

	if (!(c->info1 & 1 ? write_msr(v, n, value) : read_msr(v, n, &value))) {
		inject(v, EVENT_GP | EVENT_ERROR, 0);
		return;
	}
	if (!(c->info1 & 1)) {
		c->ax = (u32)value;
		v->reg[2] = value >> 32;
	}
	step(v, guest_length(v));
}

static bool all_halted(void)
{
	for (u32 i = 0; i < nr_cpus; i++)
		if (__atomic_load_n(&cpus[i].state, __ATOMIC_SEQ_CST) ==
		    CPU_RUNNING)
			return false;
	return true;
}

void svm_halted(struct vcpu *v, u64 ip)
{
	/* It halts once more, now not seen by us. */
	v->halt_ip = v->vmcb->ip = ip;
	svm_arm_hlt(v, false);
	if (__atomic_exchange_n(&v->state, CPU_HALTED, __ATOMIC_SEQ_CST) !=
		    CPU_HALTED &&
	    all_halted())
		death(v, CAUSE_HALT, "halted with interrupts off");
}

/*
 * A CPU halted with interrupts off was woken by an NMI of ours: it shall
 * halt again.  The guest's own NMI goes on behind the HLT, as it would.
 */
static void wake(struct vcpu *v)
{
	struct vmcb *c = v->vmcb;

	if (v->state != CPU_HALTED)
		return;
	if (c->code == EXIT_NMI && !(c->flags & RFLAGS_IF) &&
	    c->ip - v->halt_ip <= 1)
		c->ip = v->halt_ip;
	else
		v->state = CPU_RUNNING;
}

/*
 * With interrupts on, HLT is let through, and not intercepted again before
 * the next sample: step over this one, as after a spurious wake-up, because
 * not every SVM (TCG) keeps the shadow of a STI before it.
 */
static void hlt(struct vcpu *v)
{
	svm_arm_hlt(v, false);
	if (v->vmcb->flags & RFLAGS_IF) {
		step(v, 1);
		return;
	}
	svm_halted(v, v->vmcb->ip);
}

static bool on_page(u64 gpa, u64 page)
{
	return ALIGN_DOWN(gpa, PAGE) == ALIGN_DOWN(page, PAGE);
}

/* The access that failed is played, or refused. */
static void play(struct vcpu *v, u64 gpa)
{
	u64 apic = rdmsr(MSR_APIC_BASE) & 0xffffff000ull;
	bool store = v->vmcb->info1 & NPF_WRITE;
	struct access a;
	u64 value = ~0ull;

	if (guest_decode(v, &a) || a.store != store ||
	    gpa % PAGE + a.size > PAGE) {
		violation(v, gpa,
			  store ? "a store of a kind not played" : "a load");
		return;
	}
	if (on_page(gpa, apic)) {
		apic_store(v, gpa % PAGE & 0xff0, (u32)a.value);
	} else if (watch_runs() && on_page(gpa, acpi.ioapic)) {
		value = watch_ioapic(a.store, gpa % PAGE & 0xffc, (u32)a.value);
	} else if (watch_runs() && on_page(gpa, acpi.hpet)) {
		value = watch_hpet(a.store, gpa, a.size, a.value);
	} else if (!a.store || !region_protects(gpa) ||
		   region_store(gpa, a.value, a.size)) {
		violation(v, gpa, a.store ? "a store" : "a load");
		return;
	}
	/* What was played may have begun or ended this CPU's life. */
	if (!a.store)
		*guest_reg(v, a.reg) = a.size == 4 ? (u32)value : value;
	step(v, a.length);
}

static void nested_fault(struct vcpu *v)
{
	u64 gpa = v->vmcb->info2;

	if (!(v->vmcb->info1 & NPF_PRESENT) && npt_touch(gpa))
		return;
	/*
	 * Code, page tables, what is nowhere, or the delivery of an event:
	 * not the instruction's own access.
	 */
	if (v->vmcb->info1 & (NPF_FETCH | NPF_WALK) || gpa >= 4 * GIB ||
	    v->vmcb->event_in & EVENT_VALID) {
		violation(v, gpa, "an access");
		return;
	}
	play(v, gpa);
}

static void nmi(struct vcpu *v)
{
	u32 asked;

	svm_take_nmi();
	asked = cpu_asked(v);
	if (asked & REQ_STOP)
		arch_check_stop(v);
	if (asked & REQ_INIT) {
		cpu_wait_sipi(v);
		return;
	}
	if (asked & REQ_SAMPLE)
		watch_sample(v);
	if (watch_tick(v) || asked)
		return;
	if (v->state == CPU_HALTED) {
		v->state = CPU_RUNNING;
		step(v, 1);
	}
	v->nmi_due = true;
}

/*
 * The guest's NMI handler ends, with this instruction: the next NMI may come
 * behind it.
 */
static void iret(struct vcpu *v)
{
	v->in_nmi = false;
	v->vmcb->intercept1 &= ~I1_IRET;
}

/* What the guest has in its caches is ours, too. */
static void invd(struct vcpu *v)
{
	__asm__ volatile("wbinvd" : : : "memory");
	step(v, guest_length(v));
}

static void shutdown(struct vcpu *v)
{
	end(v, CAUSE_FAULT, "triple fault");
}

static void machine_check(struct vcpu *v)
{
	death(v, CAUSE_CHECK, "machine check");
	inject(v, EVENT_MC, 0);
}

static void init(struct vcpu *v)
{
	end(v, CAUSE_RESET, "INIT");
}

static void undefined(struct vcpu *v)
{
	inject(v, EVENT_UD, 0);
}

/* APM volume 2, appendix C. */
static const struct kind {
	u64 code;
	const char *name;
	void (*fn)(struct vcpu *v);
} exits[] = {
	{ EXIT_NPF, "nested page fault", nested_fault },
	{ EXIT_NMI, "NMI", nmi },
	{ EXIT_IO, "port", port },
	{ EXIT_MSR, "MSR", msr },
	{ EXIT_HLT, "HLT", hlt },
	{ EXIT_IRET, "IRET", iret },
	{ EXIT_WINDOW, "interrupt window", NULL }, /* see before_entry() */
	{ EXIT_INVD, "INVD", invd },
	{ EXIT_SHUTDOWN, "SHUTDOWN", shutdown },
	{ EXIT_MACHINE_CHECK, "machine check", machine_check },
	{ EXIT_INIT, "INIT", init },
	{ EXIT_INVLPGA, "INVLPGA", undefined },
	{ EXIT_VMRUN, "VMRUN", undefined },
	{ 0x82, "VMLOAD", undefined },
	{ 0x83, "VMSAVE", undefined },
	{ 0x84, "STGI", undefined },
	{ 0x85, "CLGI", undefined },
	{ EXIT_SKINIT, "SKINIT", undefined },
	{ 0, NULL, NULL },
};

static const struct kind *kind_of(u64 code)
{
	const struct kind *k = exits;

	while (k->name && k->code != code)
		k++;
	return k;
}

const char *arch_exit_name(u64 code)
{
	return kind_of(code)->name ? kind_of(code)->name : "other";
}

static void dispatch(struct vcpu *v)
{
	const struct kind *k = kind_of(v->vmcb->code);
	char text[64];

	if (k->fn)
		k->fn(v);
	if (k->name)
		return;
	dlog_client_print(text, sizeof(text), "exit %lx is not known",
			  v->vmcb->code);
	end(v, CAUSE_LOST, text);
}

/*
 * An NMI for the guest goes in now, or, if something else is on its way in or
 * its handler ends just now, when interrupts are next on.
 */
static void before_entry(struct vcpu *v)
{
	struct vmcb *c = v->vmcb;
	bool wait = c->event & EVENT_VALID || c->code == EXIT_IRET;

	c->interrupt_control &= 0xff; /* of CR8 */
	c->intercept1 &= ~I1_WINDOW;
	if (!v->nmi_due || v->in_nmi)
		return;
	if (wait) {
		c->interrupt_control |= WINDOW_OPEN;
		c->intercept1 |= I1_WINDOW;
		return;
	}
	v->nmi_due = false;
	v->in_nmi = true;
	c->intercept1 |= I1_IRET;
	inject(v, EVENT_NMI, 0);
}

/*
 * What was being delivered when the exit came must be delivered again; but
 * where an instruction raised it, that is executed again.
 */
static u64 undelivered(const struct vmcb *c)
{
	u32 event = (u32)c->event_in & ~EVENT_VALID;

	if (!(c->event_in & EVENT_VALID) || event == EVENT_BP ||
	    event == EVENT_OF || EVENT_TYPE(event) == EVENT_SOFTWARE)
		return 0;
	return c->event_in;
}

void svm_loop(struct vcpu *v)
{
	for (;;) {
		struct vmcb *c = v->vmcb;

		svm_enter(v);
		c->tlb = 0;
		c->event = undelivered(c);
		note_exit(v);
		wake(v);
		dispatch(v);
		before_entry(v);
	}
}
