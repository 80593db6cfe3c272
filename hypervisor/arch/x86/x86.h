/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * x86.h - what the files of arch/x86 share; docs/hypervisor.md lists them.
 */
#ifndef HV_X86_H
#define HV_X86_H

#include "cpu.h"
#include "hv.h"

/* ---- multiboot.c ---- */

#define MB2_MAGIC 0x36d76289u
#define MAX_MODULES 4

struct module {
	u64 start, end;
	const char *cmdline;
};

struct boot_info {
	const char *cmdline;
	struct module module[MAX_MODULES];
	u32 modules;
	const u8 *rsdp; /* GRUB's copy, NULL: none */
	u64 efi_systab; /* 0: not started by UEFI */
	const u8 *efi_map;
	u32 efi_map_size, efi_desc_size, efi_desc_version;
};

extern struct boot_info boot;
/* Copies all that is needed of GRUB's information at @info. */
int multiboot_read(u32 magic, u32 info);
/* Fill guest_map and free_map. */
int multiboot_memory(void);

/* ---- acpi.c ---- */

struct acpi_facts {
	u32 apic_id[MAX_CPUS]; /* of CPUs that can be started */
	u32 cpus;
	u32 possible; /* with those that may be added later */
	u32 ioapic; /* address of the one with interrupt 0 */
	u16 reset_port;
	u8 reset_value;
	bool has_reset;
	u16 pm1a_control, pm1b_control; /* ports, 0: none */
	u64 hpet; /* address, 0: none */
};

extern struct acpi_facts acpi;
void acpi_read(void);
/* Make tables that also tell of the region; gives the new RSDP, 0: none. */
u64 acpi_make(void);

/* ---- guests ---- */

/* How a guest begins. */
struct guest_entry {
	bool is_linux; /* 64-bit boot protocol; else multiboot2, 32 bit */
	u64 ip;
	u64 arg; /* boot_params, or multiboot2's information */
	u64 cr3; /* linux */
	u64 sp;
};

int linux_load(struct guest_entry *e);
bool linux_is(const struct module *m);
int elf_load(struct guest_entry *e);
/* The ranges that are dlog-hv's, for maps of all kinds. */
bool hv_owns(u64 addr, u64 *start, u64 *end);
/* The first module, and all that goes with it. */
int load_guest(struct guest_entry *e);

/* ---- restart.c ---- */

/* Keep what is needed to load the guest again; before it is loaded. */
int restart_keep(void);
extern struct mem_range kept; /* where that is */
extern bool restarted; /* the guest is not the first since firmware */
extern u32 restarting;
/* Give up what @v is doing, for cpu_again() on an empty stack (run.S). */
void cpu_fresh(struct vcpu *v) __attribute__((noreturn));

/* ---- time.c, devices.c ---- */

void time_start(void);
void delay_us(u32 us);
void console_start(void);
/* Type of wall clock register access that keeps the guest's index. */
u8 cmos_read(u8 index);
void cmos_write(u8 index, u8 value);

/* ---- CPUs ---- */

enum cpu_state {
	CPU_ABSENT, /* never came up */
	CPU_WAITING, /* for the guest's SIPI */
	CPU_RUNNING,
	CPU_HALTED, /* HLT with interrupts off: only NMI and INIT wake it */
};

/* Why an NMI of dlog-hv's is on its way: struct vcpu.request. */
#define REQ_STOP 1u
#define REQ_INIT 2u
#define REQ_SIPI 4u
#define REQ_SAMPLE 8u

#define EXIT_RING 64
#define EXIT_CODES 0x402 /* 0x401: all that is above */

struct vmcb;

struct vcpu {
	/* svm/run.S knows where these are: rbx rcx rdx rsi rdi rbp r8..r15 */
	u64 reg[16]; /* by number; rax (0) and rsp (4) lie in the VMCB */
	u64 vmcb_pa;
	struct vmcb *vmcb;
	u8 *stack;
	u32 id, apic_id;
	u32 state; /* enum cpu_state */
	u32 request; /* REQ_*, atomic */
	u32 stopped; /* stands still for death() */
	u8 sipi_vector;
	bool nmi_due, in_nmi;
	/* watch.c */
	u64 halt_ip; /* of the HLT, in state CPU_HALTED */
	u64 off_since; /* interrupts were off at each sample since */
	u64 beats;
	bool was_on; /* interrupts have been on once */
	/* trace.c */
	u64 exits, count[EXIT_CODES];
	struct hv_exit ring[EXIT_RING];
};

extern struct vcpu cpus[MAX_CPUS];

/* ---- apic.c ---- */

void apic_start(void);
u32 apic_id(void);
void apic_nmi(u32 id);
/* As after INIT; the first CPU's lets the PIC and NMI through, as firmware. */
void apic_reset(bool first);
void smp_start(void);
/*
 * The guest stores into its local APIC's page, or by MSR (x2APIC); false: the
 * CPU refuses.
 */
void apic_store(struct vcpu *v, u32 offset, u32 value);
bool apic_command(struct vcpu *v, u64 command, bool x2);
void cpu_ask(struct vcpu *v, u32 request);
u32 cpu_asked(struct vcpu *v);
/* As after INIT, then SIPI; returns when @v is to run. */
void cpu_wait_sipi(struct vcpu *v);

/* ---- ports.c ---- */

void ports_intercept(void (*set)(u16 port));
void ports_reset(void);
/* Play the access; *@value is what is written or read. */
void ports_access(struct vcpu *v, u16 port, bool in, u32 size, u32 *value);

/* ---- watch.c ---- */

/* Can there be a watchdog?  watch_runs() says so from then on. */
void watch_check(void);
/* The first NMI may come; GIF is 0. */
void watch_start(void);
/* An NMI came: was it the timer's? */
bool watch_tick(struct vcpu *v);
void watch_sample(struct vcpu *v);
/* The first CPU is awake: say so, once, if there has been no tick. */
void watch_miss(u64 now);
bool watch_runs(void);
u32 watch_ioapic(bool store, u32 offset, u32 value);
u64 watch_hpet(bool store, u64 at, u32 size, u64 value);

/* ---- guestmem.c ---- */

/* Guest-physical @pa of guest-virtual @va; -EFAULT. */
int guest_translate(struct vcpu *v, u64 va, u64 *pa,
		    void (*say)(const char *line));
/* A window on @n bytes at guest-physical @pa within a page; NULL: no RAM. */
void *guest_window(struct vcpu *v, u64 pa, size_t n);

/* A load or store of memory at the instruction pointer. */
struct access {
	bool store;
	u32 size; /* bytes: 4 or 8 */
	u32 length; /* of the instruction */
	u64 value; /* stored */
	u32 reg; /* loaded */
};

int guest_decode(struct vcpu *v, struct access *a);
/* Of an instruction with prefixes, 0f (no prefix is), and one byte more. */
u32 guest_length(struct vcpu *v);

/* ---- svm/ ---- */

/* So that a fault of dlog-hv's own is told. */
void idt_make(void);
/* 0, or -ENODEV when there is no SVM here, said. */
int svm_check(void);
int svm_start(void);
void svm_start_cpu(struct vcpu *v);
void svm_reset_cpu(struct vcpu *v);
void svm_begin(struct vcpu *v, const struct guest_entry *e);
void svm_begin_sipi(struct vcpu *v, u8 vector);
void svm_loop(struct vcpu *v) __attribute__((noreturn));
void svm_wait_nmi(void);
void svm_take_nmi(void);
/* Read or write an MSR; false: this CPU refuses. */
bool msr_try(u32 msr, u64 *value, bool write);
/* Interrupts are off, and @v has come to the HLT at @ip. */
void svm_halted(struct vcpu *v, u64 ip);
void svm_arm_hlt(struct vcpu *v, bool on);
int npt_start(void);
u64 npt_root(void);
bool npt_touch(u64 gpa);
/* Guest registers by number, as instructions name them. */
u64 *guest_reg(struct vcpu *v, u32 n);

/* What guestmem.c and trace.c need of the guest's state. */
struct cpu_mode {
	u64 cr0, cr3, cr4, efer, ip, sp, flags;
	bool code64, code32;
	u64 cs_base;
};

void svm_mode(const struct vcpu *v, struct cpu_mode *m);

#endif
