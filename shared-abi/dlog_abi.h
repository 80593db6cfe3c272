/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dlog_abi.h - the layout of a region, format version 1.
 *
 * docs/abi.md is the specification in prose; this file is the same in C.
 * Everything is little-endian, fixed-width and 8-byte aligned.
 *
 *   0            superblock        written by the host, once
 *   state_off    state page        control word (host), status (guest)
 *   + 4096       CPU slots         heartbeat of each CPU
 *   boot_off     boot table        one entry for each boot, reused in turn
 *   clock_off    clock table       guest clock <-> wall clock, two for a boot
 *   regs_off     register slots    the last registers of each CPU
 *   catalog_off  catalog           event types, append-only
 *   ring_off     rings             nr_rings of ring_size bytes
 *   backup_off   superblock        second copy, the region's last 4096 bytes
 *
 * Who writes what: the host writes the superblock (when it formats the file)
 * and the control word, the guest everything else.  Each structure but the
 * state page and the CPU slots carries a check (dlog_check.h); those two are
 * plain words that change at any time and are only believed within bounds.
 */
#ifndef DLOG_ABI_H
#define DLOG_ABI_H

#include "dlog_types.h"

#define DLOG_PAGE 4096u
#define DLOG_MAGIC "dlogRGN\x1a" /* 8 bytes, no NUL */

/* Limits of format 1. */
#define DLOG_SUBBUF_MIN 4096u
#define DLOG_SUBBUF_MAX 65536u
#define DLOG_SUBBUFS_MIN 8u /* in each ring */
/* Sub-buffers behind the newest START in which records are looked for. */
#define DLOG_BEYOND 8u
#define DLOG_SUBBUFS_MAX (1u << 24)
#define DLOG_RINGS_MAX 1024u
#define DLOG_CPUS_MAX 4096u
#define DLOG_BOOTS_MIN 4u
#define DLOG_BOOTS_MAX 4096u
#define DLOG_REGION_MIN 65536u
#define DLOG_REGION_MAX (UINT64_C(1) << 40)

#ifndef UINT64_C
#define UINT64_C(x) x##ULL
#endif

/*
 * Seeds: ring N is seeded with its number; what lies outside the rings with
 * one of these numbers, and its position is its offset in the region.
 */
#define DLOG_SEED_SUPER 0xfffffff0u /* over a zero uuid */
#define DLOG_SEED_BOOT 0xfffffff1u
#define DLOG_SEED_CLOCK 0xfffffff2u
#define DLOG_SEED_REGS 0xfffffff3u
#define DLOG_SEED_CATALOG 0xfffffff4u

/*
 * Feature bits as ext4 has them.  A program that meets an unknown bit in
 * compat: goes on; in ro_compat: may read, must not write; in incompat: must
 * do neither.  Format 1 defines none.
 */
#define DLOG_COMPAT_KNOWN 0u
#define DLOG_RO_COMPAT_KNOWN 0u
#define DLOG_INCOMPAT_KNOWN 0u

struct dlog_superblock {
	uint8_t magic[8];
	uint32_t check; /* object check of bytes 8..size, seed SUPER, position 0 */
	uint32_t size; /* of this structure: 256 */
	uint32_t compat;
	uint32_t ro_compat;
	uint32_t incompat;
	uint32_t reserved0;
	uint8_t uuid[16];
	uint8_t label[64]; /* UTF-8, NUL-padded */
	uint64_t created; /* wall clock, ns since 1970 */
	uint64_t region_size; /* bytes, multiple of 4096 */
	uint64_t state_off;
	uint64_t boot_off;
	uint64_t clock_off;
	uint64_t regs_off;
	uint64_t catalog_off;
	uint64_t ring_off;
	uint64_t backup_off;
	uint64_t catalog_size; /* bytes */
	uint64_t ring_size; /* bytes of one ring, multiple of subbuf_size */
	uint32_t nr_rings;
	uint32_t subbuf_size; /* power of two, 4096..65536 */
	uint32_t nr_cpus; /* CPU slots and register slots */
	uint32_t boot_slots;
	uint32_t boot_stride; /* bytes of one boot table entry */
	uint32_t regs_stride; /* bytes of one register slot */
	uint8_t reserved1[32];
};

/* What the guest is doing, as far as it could say. */
enum dlog_status {
	DLOG_ST_NONE = 0, /* no guest has used the region yet */
	DLOG_ST_BOOTING = 1,
	DLOG_ST_RUNNING = 2,
	DLOG_ST_OOPS = 3, /* an oops happened, the kernel goes on */
	DLOG_ST_PANIC = 4,
	DLOG_ST_HUNG_TASK = 5,
	DLOG_ST_SOFT_LOCKUP = 6,
	DLOG_ST_HARD_LOCKUP = 7,
	DLOG_ST_KEXEC = 8, /* handing over to another kernel */
	DLOG_ST_REBOOT = 9,
	DLOG_ST_HALT = 10,
	DLOG_ST_POWEROFF = 11,
	DLOG_ST_EMERGENCY = 12, /* restart without shutdown (sysrq-b) */
	DLOG_ST_SUSPEND = 13,
	DLOG_ST_UNLOADED = 14, /* the driver left, the kernel goes on */
	DLOG_ST_MAX
};

/* How the guest mapped the region (DESIGN section 5 says why it matters). */
enum dlog_memtype {
	DLOG_MT_UNKNOWN = 0,
	DLOG_MT_WB = 1,
	DLOG_MT_WC = 2,
	DLOG_MT_UC_MINUS = 3,
	DLOG_MT_UC = 4,
	DLOG_MT_WT = 5,
};

#define DLOG_CONTROL_STOP 1u /* host asks the guest not to record */

struct dlog_state {
	/* the host's line */
	uint32_t control; /* DLOG_CONTROL_*, 0: record */
	uint8_t reserved0[60];
	/* the guest's line: status and boot change in one 8-byte store */
	uint32_t status; /* enum dlog_status */
	uint32_t boot; /* number of the boot that wrote status */
	uint64_t status_time; /* guest clock */
	uint32_t memtype; /* enum dlog_memtype */
	uint32_t period_ms; /* of the heartbeat, 0: none */
	uint32_t recording; /* 1: recording, 0: stopped, seen by the guest */
	uint32_t online; /* number of CPUs online at the last change */
	uint64_t kmsg_next; /* first printk sequence number not recorded */
	uint64_t reserved1[3];
};

struct dlog_cpu {
	uint64_t beat_time; /* guest clock at the last heartbeat */
	uint64_t beats; /* heartbeats in this boot */
	uint64_t position; /* end of what its ring had reserved at that time */
	uint64_t records; /* reserved in its ring in this boot at that time */
	uint64_t dropped; /* records its ring could not take in this boot */
	uint32_t boot;
	uint32_t ring;
	uint32_t online; /* 1 while the CPU is online */
	uint32_t begun; /* beats + 1, stored before the clock is read */
	uint64_t reserved1;
};

/* The boot table entry of boot N lies in slot (N - 1) % boot_slots. */
struct dlog_boot_ring {
	uint64_t start; /* position of this boot's first sub-buffer */
	uint64_t prev_records; /* reserved in this ring by the boot before */
	uint64_t prev_dropped; /* dropped in this ring by the boot before */
};

struct dlog_boot {
	uint32_t check; /* object check, seed BOOT */
	uint32_t size; /* sizeof(dlog_boot) + nr_rings * 24 */
	uint32_t boot; /* from 1 */
	uint32_t flags; /* 0 */
	uint64_t start_time; /* guest clock when the producer started */
	uint64_t start_real; /* wall clock at that time, 0: not known */
	uint8_t boot_id[16]; /* random name of this boot, 0: none */
	uint8_t release[64]; /* kernel release, NUL-padded */
	uint8_t machine[16]; /* uname -m, NUL-padded */
	uint32_t prev_boot; /* 0: none known */
	uint32_t prev_status; /* status word as that boot left it */
	uint64_t prev_status_time; /* on that boot's clock */
	uint64_t prev_beat_time; /* its latest heartbeat, its clock */
	uint64_t kernel_text; /* address of _stext, 0: not told */
	uint8_t reserved0[48];
	struct dlog_boot_ring ring[];
};

/* Slots 2 * s and 2 * s + 1 belong to boot slot s; written in turn. */
struct dlog_clock {
	uint32_t check; /* object check, seed CLOCK */
	uint32_t boot;
	uint64_t guest; /* guest clock, ns */
	uint64_t real; /* wall clock at that instant, ns since 1970 */
	uint64_t error; /* how far apart the two readings may lie, ns */
};

/* One slot for each CPU: the registers it had when something happened. */
struct dlog_regs {
	uint32_t check; /* object check, seed REGS */
	uint32_t size; /* of this structure with prstatus */
	uint32_t boot;
	uint32_t cpu;
	uint64_t time; /* guest clock */
	uint32_t reason; /* enum dlog_status, or 0: asked for */
	uint32_t machine; /* ELF e_machine: 62 x86-64, 183 arm64 */
	uint32_t prstatus_size; /* bytes */
	uint32_t reserved0;
	/* x86-64: cr0 cr2 cr3 cr4 efer fs_base gs_base kernel_gs_base */
	uint64_t control[8];
	uint8_t prstatus[]; /* ELF NT_PRSTATUS descriptor of that machine */
};

#define DLOG_REGS_STRIDE 1024u

/*
 * A record: this header, len bytes of data, zero bytes up to a multiple of
 * 8.  It lies at a position that is a multiple of 8 and never crosses a
 * sub-buffer.
 *
 * check has one of three states:
 *   full      hash(seed, position; type<<16|len, time, data)   a record
 *   open      hash(seed, position; type<<16|len)               reserved only
 *   other     not written, of an earlier lap, or damaged
 * Stores happen in this order: word 0 with the open check, word 1, data,
 * then the full check.
 */
struct dlog_record {
	uint32_t check;
	uint16_t len; /* bytes of data, padding not counted */
	uint16_t type; /* kind in bits 0..3, argument in bits 4..15 */
	uint64_t time; /* guest clock, ns */
};

#define DLOG_HDR 16u /* sizeof(struct dlog_record) */
#define DLOG_REC_SIZE(len) (DLOG_HDR + DLOG_ALIGN_UP((uint32_t)(len), 8u))
#define DLOG_TYPE(kind, arg) ((uint32_t)(kind) | (uint32_t)(arg) << 4)
#define DLOG_TYPE_KIND(type) ((type)&15u)
#define DLOG_TYPE_ARG(type) ((type) >> 4)

enum dlog_kind {
	/* arg 0, data struct dlog_start: first record of each sub-buffer */
	DLOG_KIND_START = 1,
	/* arg facility << 3 | level, data text: dlog_write() and friends */
	DLOG_KIND_TEXT = 2,
	/* the same, data le32 caller word, text: a line of printk */
	DLOG_KIND_PRINTK = 3,
	/* arg catalog id, data the event's fields */
	DLOG_KIND_EVENT = 4,
	/* arg 0, data struct dlog_boot_note, kernel release */
	DLOG_KIND_BOOT = 5,
	/* arg new enum dlog_status, data text that says more */
	DLOG_KIND_STATE = 6,
	/* arg 0, data le32 cpu, le32 reason, ELF NT_PRSTATUS */
	DLOG_KIND_REGS = 7,
	/* arg 0, data le32 cpu, le32 reason, one line of text a frame */
	DLOG_KIND_STACK = 8,
	/* arg facility << 3 | level, data struct dlog_call */
	DLOG_KIND_CALL = 9,
	/* catalog only: arg id, data struct dlog_event_type and strings */
	DLOG_KIND_EVENT_TYPE = 10,
	/* catalog only: arg object, data name of what has symbols, with NUL */
	DLOG_KIND_OBJECT = 11,
	/* catalog only: arg object, data struct dlog_symbol_note, ... */
	DLOG_KIND_SYMBOLS = 12,
	/* catalog only: arg object, data struct dlog_base */
	DLOG_KIND_BASE = 13,
	/* arg cpu & 4095, data struct dlog_blocks; readable while open */
	DLOG_KIND_BLOCKS = 14,
	DLOG_KIND_MAX
};

/* Syslog priority of a text record: arg of TEXT and PRINTK. */
#define DLOG_PRI(facility, level) ((uint32_t)(facility) << 3 | (level))
#define DLOG_PRI_LEVEL(pri) ((pri)&7u)
#define DLOG_PRI_FACILITY(pri) ((pri) >> 3)

/* The caller word: who said it, and how pieces of one line belong together. */
#define DLOG_CALLER_CPU 0x80000000u /* id is a CPU, not a thread */
#define DLOG_CALLER_CONT 0x40000000u /* continues the line before */
#define DLOG_CALLER_OPEN 0x20000000u /* no newline yet, may be continued */
#define DLOG_CALLER_UNKNOWN 0x10000000u /* id is not known */
#define DLOG_CALLER_TAKEN 0x08000000u /* from the kernel's own buffer */
#define DLOG_CALLER_ID 0x07ffffffu

struct dlog_start {
	uint64_t position; /* of the sub-buffer */
	uint64_t records; /* reserved in this ring and boot before it */
	uint32_t boot;
	uint32_t dropped; /* in this ring and boot so far, low 32 bits */
};

#define DLOG_START_SIZE DLOG_REC_SIZE(sizeof(struct dlog_start))

struct dlog_boot_note {
	uint32_t boot;
	uint32_t reserved0;
	uint64_t start_real;
	uint8_t boot_id[16];
};

/*
 * Positions stay below this, so that a ring's head fits one word together
 * with a record count (dlog_ring.h): 2 PiB through one ring.
 */
#define DLOG_POSITION_END (UINT64_C(1) << 51)

/* A catalog record's data; the strings follow, each with its NUL. */
struct dlog_event_type {
	uint16_t name_len; /* with NUL */
	uint16_t fields_len; /* with NUL */
	uint32_t format_len; /* with NUL, 0: none */
};

#define DLOG_EVENT_MAX 4095u
#define DLOG_OBJECT_MAX 4095u

/*
 * Some symbols of an object (the kernel, a module): this many bytes, the
 * name, its NUL, then the next one without padding.  The same in every boot.
 */
struct dlog_symbol_note {
	uint32_t offset; /* from where the object begins */
	uint32_t size; /* bytes, 0: not known */
};

/* Where an object lay in one boot. */
struct dlog_base {
	uint32_t boot;
	uint32_t size; /* bytes of text */
	uint64_t base;
};

/*
 * A call of the kernel's API that broke a rule (guest-patch/wrap).  Behind
 * the arguments: function, rule broken, caller, each with its NUL.
 */
struct dlog_call {
	uint64_t site; /* return address */
	uint32_t flags; /* enum dlog_call_flags */
	uint32_t nr_args;
	uint64_t args[];
};

enum dlog_call_flags {
	DLOG_CALL_FATAL = 1, /* said before the call, which may not return */
	DLOG_CALL_RESULT = 2, /* the last argument is the result */
};

/*
 * What a CPU executed, block by block, as its emulator saw it.  A block is one
 * word: its address and how many instructions it has (1 to 127; a longer one
 * is several blocks).  One that a fault cut short counts whole.  A word with 0
 * instructions stands for the blocks of a loop: the last DLOG_REPEAT_PERIOD()
 * blocks were executed again and again, DLOG_REPEAT_BLOCKS() blocks in all,
 * the last time perhaps not to their end.  It is no block itself, and its
 * blocks may lie in records before.
 *
 * This record is written word by word over a long time (dlog_stream.h): while
 * it is open its time and the words before the first 0 behind executed are
 * right, though no check says so; the last of these may be a repeat that grows.
 */
struct dlog_blocks {
	uint64_t executed; /* instructions of this CPU before the first block */
	uint64_t block[]; /* 0: not executed yet */
};

#define DLOG_BLOCK_MAX 127u /* instructions */
#define DLOG_BLOCK(pc, insns)                                                  \
	((uint64_t)(insns) << 57 | (uint64_t)(pc) << 7 >> 7)
/* Addresses are canonical: bit 56 is also all bits above it. */
#define DLOG_BLOCK_PC(block) ((uint64_t)((int64_t)((block) << 7) >> 7))
#define DLOG_BLOCK_INSNS(block) ((uint32_t)((block) >> 57))

#define DLOG_REPEAT_MAX 32u /* blocks of a loop */
#define DLOG_REPEAT(period, blocks)                                            \
	((uint64_t)(period) << 51 | ((uint64_t)(blocks)&DLOG_REPEAT_MASK))
#define DLOG_REPEAT_PERIOD(word) ((uint32_t)((word) >> 51 & 63))
#define DLOG_REPEAT_BLOCKS(word) ((word)&DLOG_REPEAT_MASK)
#define DLOG_REPEAT_MASK ((UINT64_C(1) << 51) - 1)

#define DLOG_ASSERT(e) _Static_assert(e, #e)
DLOG_ASSERT(sizeof(struct dlog_superblock) == 256);
DLOG_ASSERT(offsetof(struct dlog_superblock, uuid) == 32);
DLOG_ASSERT(offsetof(struct dlog_superblock, created) == 112);
DLOG_ASSERT(offsetof(struct dlog_superblock, ring_off) == 168);
DLOG_ASSERT(offsetof(struct dlog_superblock, ring_size) == 192);
DLOG_ASSERT(offsetof(struct dlog_superblock, regs_stride) == 220);
DLOG_ASSERT(sizeof(struct dlog_state) == 128);
DLOG_ASSERT(offsetof(struct dlog_state, status) == 64);
DLOG_ASSERT(offsetof(struct dlog_state, kmsg_next) == 96);
DLOG_ASSERT(sizeof(struct dlog_cpu) == 64);
DLOG_ASSERT(offsetof(struct dlog_cpu, boot) == 40);
DLOG_ASSERT(sizeof(struct dlog_boot_ring) == 24);
DLOG_ASSERT(sizeof(struct dlog_boot) == 208);
DLOG_ASSERT(offsetof(struct dlog_boot, boot_id) == 32);
DLOG_ASSERT(offsetof(struct dlog_boot, prev_boot) == 128);
DLOG_ASSERT(sizeof(struct dlog_clock) == 32);
DLOG_ASSERT(offsetof(struct dlog_regs, control) == 40);
DLOG_ASSERT(offsetof(struct dlog_regs, prstatus) == 104);
DLOG_ASSERT(sizeof(struct dlog_record) == DLOG_HDR);
DLOG_ASSERT(offsetof(struct dlog_record, time) == 8);
DLOG_ASSERT(sizeof(struct dlog_start) == 24);
DLOG_ASSERT(sizeof(struct dlog_boot_note) == 32);
DLOG_ASSERT(sizeof(struct dlog_event_type) == 8);
DLOG_ASSERT(sizeof(struct dlog_symbol_note) == 8);
DLOG_ASSERT(sizeof(struct dlog_base) == 16);
DLOG_ASSERT(sizeof(struct dlog_call) == 16);
DLOG_ASSERT(sizeof(struct dlog_blocks) == 8);

#endif
