// SPDX-License-Identifier: GPL-2.0-only
/*
 * svm.c - SVM on, and a VMCB for each CPU.
 *
 * APM volume 2, chapter 15.  Intercepted is what can end the guest, what
 * would show or hurt dlog-hv, and nothing else: interrupts, CPUID, most
 * ports and MSRs do not exit.  The bitmaps are shared by all CPUs.
 */
#include "vmcb.h"
#include "x86.h"

#define IOPM_PAGES 3
#define MSRPM_PAGES 2
#define VM_CR_NO_A20 (1u << 2)
#define VM_CR_DISABLED (1u << 4)

void fault(u64 number, u64 code, u64 ip, u64 address) __attribute__((noreturn));

extern u64 idt[19][2]; /* these in run.S */
extern u8 nmi[], faults[], idt_pointer[];

static u8 *iopm, *msrpm;

int svm_check(void)
{
	const char *why = "This CPU has no SVM";
	u32 a, b, c, d;

	cpuid(0x80000000, &a, &b, &c, &d);
	if (a < 0x8000000a)
		goto plain;
	cpuid(0x80000001, &a, &b, &c, &d);
	if (!(c & 4))
		goto plain;
	why = "This CPU's SVM has no nested paging";
	cpuid(0x8000000a, &a, &b, &c, &d);
	if (!(d & 1) || b < 2)
		goto plain;
	why = "Firmware has turned SVM off, turn it on in its setup";
	if (rdmsr(MSR_VM_CR) & VM_CR_DISABLED)
		goto plain;
	if (!opt.plain)
		return 0;
	why = "svm=off";
plain:
	return hv_fail(
		ENODEV,
		"%s: the guest runs plainly, its end will not be recorded.",
		why);
}

static void vmload(u64 vmcb)
{
	__asm__ volatile("vmload" : : "a"(vmcb) : "memory");
}

static void set_port(u16 port)
{
	iopm[port / 8] |= (u8)(1u << port % 8);
}

/* Bits for read and write of an MSR (APM volume 2, 15.11). */
static void set_msr(u32 msr, u32 bits)
{
	u32 at = msr >> 16 == 0xc000   ? 0x2000
		 : msr >> 16 == 0xc001 ? 0x4000
				       : 0;

	at = (at + (msr & 0x1fff)) * 2;
	msrpm[at / 8] |= (u8)(bits << at % 8);
}

int svm_start(void)
{
	iopm = page_alloc(IOPM_PAGES);
	msrpm = page_alloc(MSRPM_PAGES);
	if (!iopm || !msrpm)
		return hv_fail(ENOMEM, "No memory for SVM's bitmaps.");
	ports_intercept(set_port);
	set_msr(MSR_EFER, 3);
	set_msr(MSR_VM_CR, 3);
	set_msr(MSR_VM_HSAVE, 3);
	set_msr(MSR_APIC_BASE, 2);
	set_msr(MSR_TSC, 2);
	set_msr(MSR_X2APIC + 0x30, 2);
	return npt_start();
}

void svm_start_cpu(struct vcpu *v)
{
	void *hsave = page_alloc(1);

	v->vmcb = page_alloc(1);
	v->vmcb_pa = (u64)v->vmcb;
	if (!v->vmcb || !hsave) {
		hv_log(HV_ERR, "No memory for CPU %u.", v->id);
		arch_halt();
	}
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
	wrmsr(MSR_VM_CR, rdmsr(MSR_VM_CR) | VM_CR_NO_A20);
	wrmsr(MSR_VM_HSAVE, (u64)hsave);
	__asm__ volatile("clgi");
	svm_reset_cpu(v);
}

/* What the guest does not change; all else is 0, as after a reset. */
void svm_reset_cpu(struct vcpu *v)
{
	struct vmcb *c = v->vmcb;

	memset(c, 0, sizeof(*c));
	c->exceptions = 1u << 18; /* machine check */
	c->intercept1 = I1_NMI | I1_INIT | I1_INVD | I1_HLT | I1_INVLPGA |
			I1_IO | I1_MSR | I1_SHUTDOWN;
	c->intercept2 = I2_SVM;
	c->iopm = (u64)iopm;
	c->msrpm = (u64)msrpm;
	c->asid = 1;
	c->tlb = 1;
	c->nested = 1;
	c->nested_root = npt_root();
	c->pat = 0x0007040600070406;
}

/* APM volume 2, table 14-1: after INIT. */
static void state_after_init(struct vcpu *v)
{
	struct vmcb *c = v->vmcb;
	struct vmcb_seg data = { 0, 0x93, 0xffff, 0 };

	memset(v->reg, 0, sizeof(v->reg));
	c->es = c->ss = c->ds = c->fs = c->gs = data;
	c->cs = (struct vmcb_seg){ 0xf000, 0x9b, 0xffff, 0xffff0000 };
	c->gdtr = c->idtr = (struct vmcb_seg){ 0, 0, 0xffff, 0 };
	c->ldtr = (struct vmcb_seg){ 0, 0x82, 0xffff, 0 };
	c->tr = (struct vmcb_seg){ 0, 0x8b, 0xffff, 0 };
	c->cpl = 0;
	c->efer = EFER_SVME;
	c->cr0 = 0x60000010;
	c->cr2 = c->cr3 = c->cr4 = 0;
	c->dr6 = 0xffff0ff0;
	c->dr7 = 0x400;
	c->flags = 2;
	c->ip = 0xfff0;
	c->sp = c->ax = 0;
	c->event = 0;
	c->interrupt_shadow = 0;
	c->interrupt_control = 0;
	c->clean = 0;
	c->tlb = 1;
	vmload(v->vmcb_pa);
}

void svm_begin_sipi(struct vcpu *v, u8 vector)
{
	state_after_init(v);
	v->vmcb->cs.selector = (u16)(vector << 8);
	v->vmcb->cs.base = vector << 12;
	v->vmcb->ip = 0;
}

void svm_begin(struct vcpu *v, const struct guest_entry *e)
{
	struct vmcb_seg data = { 0x18, 0xc93, 0xffffffff, 0 };
	struct vmcb *c = v->vmcb;

	state_after_init(v);
	c->es = c->ss = c->ds = c->fs = c->gs = data;
	c->ip = e->ip;
	c->sp = e->sp;
	/* Linux loads a GDT of its own before it needs one. */
	if (e->is_linux) {
		c->cs = (struct vmcb_seg){ 0x10, 0xa9b, 0xffffffff, 0 };
		c->cr0 = 0x80000031;
		c->cr3 = e->cr3;
		c->cr4 = CR4_PAE;
		c->efer = EFER_SVME | EFER_LME | EFER_LMA;
		v->reg[6] = e->arg;
	} else {
		c->cs = (struct vmcb_seg){ 0x10, 0xc9b, 0xffffffff, 0 };
		c->cr0 = 0x31;
		c->ax = MB2_MAGIC;
		v->reg[3] = e->arg;
	}
	vmload(v->vmcb_pa);
	v->state = CPU_RUNNING;
}

void arch_save(struct vcpu *v)
{
	__asm__ volatile("vmsave" : : "a"(v->vmcb_pa) : "memory");
}

void svm_arm_hlt(struct vcpu *v, bool on)
{
	if (on)
		v->vmcb->intercept1 |= I1_HLT;
	else
		v->vmcb->intercept1 &= ~I1_HLT;
}

u64 *guest_reg(struct vcpu *v, u32 n)
{
	return n == 0 ? &v->vmcb->ax : n == 4 ? &v->vmcb->sp : &v->reg[n];
}

void svm_mode(const struct vcpu *v, struct cpu_mode *m)
{
	const struct vmcb *c = v->vmcb;

	m->cr0 = c->cr0;
	m->cr3 = c->cr3;
	m->cr4 = c->cr4;
	m->efer = c->efer;
	m->ip = c->ip;
	m->sp = c->sp;
	m->flags = c->flags;
	m->code64 = c->efer & EFER_LMA && c->cs.attributes & 0x200;
	m->code32 = !m->code64 && c->cs.attributes & 0x400;
	m->cs_base = m->code64 ? 0 : c->cs.base;
}

/*
 * Linux 6.1: include/linux/elfcore.h, struct elf_prstatus; the registers at
 * 112 in the order of arch/x86/include/asm/user_64.h.
 *
 * FS, GS and KERNEL_GS lie where arch_save() put them last: each CPU does
 * that before it stands still or records.
 */
void arch_registers(struct vcpu *v, u64 *control, u8 *prstatus)
{
	static const u8 order[15] = { 15, 14, 13, 12, 5, 3, 11, 10,
				      9,  8,  0,  1,  2, 6, 7 };
	const struct vmcb *c = v->vmcb;
	u64 elf[27];

	control[0] = c->cr0;
	control[1] = c->cr2;
	control[2] = c->cr3;
	control[3] = c->cr4;
	control[4] = c->efer & ~(u64)EFER_SVME;
	control[5] = c->fs.base;
	control[6] = c->gs.base;
	control[7] = c->kernel_gs;
	for (u32 i = 0; i < 15; i++)
		elf[i] = *guest_reg(v, order[i]);
	elf[15] = ~0ull; /* in no system call */
	elf[16] = c->ip;
	elf[17] = c->cs.selector;
	elf[18] = c->flags;
	elf[19] = c->sp;
	elf[20] = c->ss.selector;
	elf[21] = c->fs.base;
	elf[22] = c->gs.base;
	elf[23] = c->ds.selector;
	elf[24] = c->es.selector;
	elf[25] = c->fs.selector;
	elf[26] = c->gs.selector;
	memset(prstatus, 0, PRSTATUS_SIZE);
	memcpy(prstatus + 112, elf, sizeof(elf));
}

void idt_make(void)
{
	for (u32 i = 0; i < ARRAY_SIZE(idt); i++) {
		u64 at = (u64)(i == 2 ? nmi : faults + 16 * i);

		idt[i][0] = (at & 0xffff) | 0x8e0000100000 |
			    (at >> 16 & 0xffff) << 48;
	}
	__asm__ volatile("lidt %0" : : "m"(*idt_pointer));
}

/* Called by run.S. */
void fault(u64 number, u64 code, u64 ip, u64 address)
{
	hv_log(HV_ALERT,
	       "dlog-hv itself has failed: exception %lu, code %lx, at %lx, address %lx.",
	       number, code, ip, address);
	arch_halt();
}
