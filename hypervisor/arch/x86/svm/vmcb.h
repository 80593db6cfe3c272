/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vmcb.h - the virtual machine control block, as APM volume 2, appendix B,
 * lays it out, and the numbers that go into it.
 */
#ifndef HV_VMCB_H
#define HV_VMCB_H

#include "types.h"

struct __attribute__((packed)) vmcb_seg {
	u16 selector, attributes;
	u32 limit;
	u64 base;
};

struct vmcb {
	u32 cr, dr, exceptions; /* intercepts */
	u32 intercept1, intercept2;
	u8 reserved0[0x40 - 0x14];
	u64 iopm, msrpm, tsc_offset;
	u32 asid;
	u32 tlb;
	u64 interrupt_control, interrupt_shadow;
	u64 code, info1, info2, event_in;
	u64 nested;
	u8 reserved1[0xa8 - 0x98];
	u64 event;
	u64 nested_root, lbr, clean, next_ip;
	u8 reserved2[0x400 - 0xd0];
	struct vmcb_seg es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
	u8 reserved3[0x4cb - 0x4a0];
	u8 cpl;
	u32 reserved4;
	u64 efer;
	u8 reserved5[0x548 - 0x4d8];
	u64 cr4, cr3, cr0, dr7, dr6, flags, ip;
	u8 reserved6[0x5d8 - 0x580];
	u64 sp;
	u8 reserved7[0x5f8 - 0x5e0];
	u64 ax, star, lstar, cstar, sfmask, kernel_gs;
	u64 sysenter_cs, sysenter_sp, sysenter_ip, cr2;
	u8 reserved8[0x668 - 0x648];
	u64 pat;
	u8 reserved9[0x1000 - 0x670];
};

_Static_assert(offsetof(struct vmcb, next_ip) == 0xc8, "vmcb");
_Static_assert(offsetof(struct vmcb, efer) == 0x4d0, "vmcb");
_Static_assert(offsetof(struct vmcb, ip) == 0x578, "vmcb");
_Static_assert(offsetof(struct vmcb, cr2) == 0x640, "vmcb");
_Static_assert(offsetof(struct vmcb, pat) == 0x668, "vmcb");
_Static_assert(sizeof(struct vmcb) == 0x1000, "vmcb");

/* intercept1 */
#define I1_NMI (1u << 1)
#define I1_INIT (1u << 3)
#define I1_WINDOW (1u << 4) /* for a virtual interrupt */
#define I1_IRET (1u << 20)
#define I1_INVD (1u << 22)
#define I1_HLT (1u << 24)
#define I1_INVLPGA (1u << 26)
#define I1_IO (1u << 27)
#define I1_MSR (1u << 28)
#define I1_SHUTDOWN (1u << 31)
/* intercept2: VMRUN, VMLOAD, VMSAVE, STGI, CLGI, SKINIT; not VMMCALL */
#define I2_SVM (1u << 0 | 0x7c)

#define EXIT_MACHINE_CHECK 0x52
#define EXIT_NMI 0x61
#define EXIT_INIT 0x63
#define EXIT_WINDOW 0x64
#define EXIT_IRET 0x74
#define EXIT_INVD 0x76
#define EXIT_HLT 0x78
#define EXIT_INVLPGA 0x7a
#define EXIT_IO 0x7b
#define EXIT_MSR 0x7c
#define EXIT_SHUTDOWN 0x7f
#define EXIT_VMRUN 0x80
#define EXIT_SKINIT 0x86
#define EXIT_NPF 0x400

/* exit info 1 of a nested page fault */
#define NPF_PRESENT 1ull
#define NPF_WRITE 2ull
#define NPF_FETCH (1ull << 4)
#define NPF_WALK (1ull << 33)

/* interrupt_control: one is due, of the highest priority, TPR aside */
#define WINDOW_OPEN (1u << 8 | 0x1fu << 16)

#define EVENT_VALID (1u << 31)
#define EVENT_ERROR (1u << 11)
#define EVENT_NMI (2u << 8 | 2)
#define EVENT_TYPE(event) ((event) >> 8 & 7)
#define EVENT_SOFTWARE 4u /* INT n */
#define EVENT_BP (3u << 8 | 3)
#define EVENT_OF (3u << 8 | 4)
#define EVENT_UD (3u << 8 | 6)
#define EVENT_DF (3u << 8 | 8)
#define EVENT_GP (3u << 8 | 13)
#define EVENT_MC (3u << 8 | 18)

#endif
