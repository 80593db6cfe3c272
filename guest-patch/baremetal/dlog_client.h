/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dlog_client.h - writes a region from any kernel: no Linux, no libc, no
 * allocation.
 *
 * Take shared-abi/, this file, dlog_client.c and dlog_format.c, and
 * dlog_history.c for dlog_client_history().  Your side
 * brings memcpy, memset, memcmp and a clock.  docs/baremetal.md has a whole
 * example; in short:
 *
 *	static struct dlog_client log;
 *	static char memory[DLOG_CLIENT_MEMORY(4)];
 *	struct dlog_client_setup setup = {
 *		.clock = my_ns, .memory = memory, .bytes = sizeof(memory),
 *		.cpus = 4, .memtype = DLOG_MT_WB,
 *		.boot = { .release = "mine-1.0", .machine = "x86_64" },
 *	};
 *
 *	if (dlog_client_open(&log, (void *)0x8000000, 4 << 20))   is it one?
 *		return;                                    it was left alone
 *	dlog_client_begin(&log, &setup);
 *	dlog_client_status(&log, 0, DLOG_ST_RUNNING, NULL);
 *	dlog_client_log(&log, 0, 6, "%u pages of %s", n, what);
 *	dlog_client_beat(&log, 0, true);                   from a timer
 *
 * A second producer, say a hypervisor below the kernel that began the boot,
 * calls dlog_client_join() instead of begin.
 *
 * What is not a region is never written: open and find only read, and all
 * else does nothing (-EAGAIN) on a client on which neither begin nor join has
 * succeeded.  So a zeroed client may be logged to at any time.
 *
 * Contexts: open, find, begin, join, wall and event_type from one task at a time,
 * before others use the client (event_type: or beside them).  The rest from
 * any context, NMI and machine check included, also nested in each other,
 * and without a lock.  @cpu is the calling CPU, below setup.cpus, and the
 * caller stays on it during the call.  Where the region has a ring for each
 * CPU, no instruction of an append is locked; else CPUs share rings.
 *
 * Errors are negative errno (dlog_types.h has Linux's numbers).  Each append
 * returns 0; -EAGAIN when nothing is recorded now; -EINVAL for a @cpu, level
 * or id that cannot be; -EMSGSIZE when no sub-buffer can hold the record;
 * -ENOSPC at the end of a stream of 2 PiB.  The last two are counted in the
 * region as dropped.
 */
#ifndef DLOG_CLIENT_H
#define DLOG_CLIENT_H

#include <stdarg.h>

#include "dlog_region.h"

#ifndef EAGAIN
#define EAGAIN 11
#endif

/* Longest text of dlog_client_log(); it lies on the caller's stack. */
#define DLOG_CLIENT_LINE 256u

/* Bytes that dlog_client_begin() needs for a region of @rings rings. */
#define DLOG_CLIENT_MEMORY(rings)                                              \
	(sizeof(struct dlog_ring) +                                            \
	 (rings) * (sizeof(struct dlog_ring) + sizeof(struct dlog_ring_end)))

/* Zeroed: no region.  Written by the functions below alone. */
struct dlog_client {
	struct dlog_region region; /* .boot: number of this boot */
	struct dlog_ring *rings;
	uint32_t nr_rings; /* that this client writes */
	uint64_t (*clock)(void *arg);
	void *arg;
	uint32_t cpus;
	uint32_t pairs; /* of clocks, written so far */
	uint32_t facility;
	bool ready;
	bool joined; /* the boot is another producer's */
	bool stopped; /* the host asked for it; dlog_client_beat() looks */
};

/* What dlog_client_begin() is told.  Zero where nothing else is said. */
struct dlog_client_setup {
	/*
	 * Nanoseconds, in step on all CPUs, not stepping back.  Called from
	 * every context that logs.  Needed.
	 */
	uint64_t (*clock)(void *arg);
	void *arg; /* given to clock */
	/*
	 * DLOG_CLIENT_MEMORY() bytes for as long as the client is used; the
	 * memory of this kernel, not of the region.  Needed.
	 */
	void *memory;
	size_t bytes;
	uint32_t cpus; /* that will log, numbered from 0; 0 means 1 */
	uint32_t period_ms; /* of dlog_client_beat(), 0: no heartbeat */
	uint32_t facility; /* syslog's (RFC 5424, 6.2.1) of text; 0: kernel */
	/*
	 * How the region is mapped.  With all but DLOG_MT_WB each append ends
	 * in a fence, which write-combining needs.
	 */
	enum dlog_memtype memtype;
	/*
	 * release and machine (NUL-terminated), real (wall clock now),
	 * boot_id, kernel_text, where known; time is set here.  A boot_id that
	 * is that of the newest boot in the region makes this client go on
	 * with that boot.
	 */
	struct dlog_boot_info boot;
};

/*
 * Take the region in @bytes bytes at @base, whose superblock has to be at
 * @base or, if that one is damaged, in the last page of @bytes.  @base is
 * mapped, a multiple of 4096.  Reads only.  Returns DLOG_SUPER_OK, or why it
 * is none; dlog_super_strerror() has the words.
 */
enum dlog_super_error dlog_client_open(struct dlog_client *c, void *base,
				       size_t bytes);

/*
 * The same by search: the first page in @bytes bytes at @from, all mapped,
 * with a superblock whose second copy is where it says, and equal.  One copy
 * alone is not enough here: it might be the second one of a region whose
 * first is lost, and what follows it not part of the region.  Returns
 * DLOG_SUPER_OK; DLOG_SUPER_MAGIC when no page has one; or what is wrong with
 * the first page that has only the looks of one, and c->region.base is where.
 */
enum dlog_super_error dlog_client_find(struct dlog_client *c, void *from,
				       size_t bytes);

/*
 * Begin a boot in the region that open or find has found: number it, go on
 * in its rings, status DLOG_ST_BOOTING.  Reads the region once.  Returns 0;
 * -EINVAL without a region or a clock; -ENOSPC when setup->bytes are too few
 * for this region's number of rings.  On an error nothing was written.
 */
int dlog_client_begin(struct dlog_client *c,
		      const struct dlog_client_setup *setup);

/*
 * Join boot number @boot of the region that open or find has found, which
 * another producer has begun: log into the same boot, as a second producer,
 * without a word of the first's being lost.  All CPUs of this client share
 * ring number @ring.  It must be nobody else's: a producer that begins uses
 * ring CPU % nr_rings, so a ring more than the machine has CPUs is free.
 * @position, a multiple of the sub-buffer's size, is where that ring goes on:
 * dlog_ring_find_end() tells it, or, if that is later, the boot's table entry
 * (dlog_boot_start()).  With @ring DLOG_CLIENT_NO_RING nothing is appended
 * (-EAGAIN), the rest is as below.
 *
 * Writes nothing itself and does not read the region.  setup->memory is for
 * one ring; setup->boot and period_ms are not looked at; setup->clock has to
 * be the clock of that boot.  Later calls follow the first producer to its
 * next boot; during a call nobody may use the client.
 *
 * Of the functions below these differ on a client that has joined:
 * status leaves the state page as it is if that says the same of this boot
 * already; regs leaves a slot that holds what a panic of this boot has put
 * there, and writes the record alone; beat writes nothing.
 *
 * Returns 0; -EINVAL without a region or a clock, or for a boot, ring or
 * position that cannot be; -ENOSPC when setup->bytes are too few.
 */
int dlog_client_join(struct dlog_client *c,
		     const struct dlog_client_setup *setup, uint32_t boot,
		     uint32_t ring, uint64_t position);

#define DLOG_CLIENT_NO_RING UINT32_MAX

/* Log @len bytes of text, without newline, with a syslog level (0 to 7). */
int dlog_client_write(struct dlog_client *c, uint32_t cpu, uint32_t level,
		      const void *text, size_t len);

/* The same, formatted by dlog_client_format(), cut to DLOG_CLIENT_LINE. */
int dlog_client_log(struct dlog_client *c, uint32_t cpu, uint32_t level,
		    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
int dlog_client_vlog(struct dlog_client *c, uint32_t cpu, uint32_t level,
		     const char *fmt, va_list args);

/*
 * Declare an event type: @name "subsystem:event", @fields as docs/events.md
 * has them ("u32 unit; x16 flags; str what").  Returns its id, the same one
 * in every boot; -EINVAL for the name; -EMSGSIZE over 500 bytes in all;
 * -ENOSPC when the catalog is full.
 */
int dlog_client_event_type(struct dlog_client *c, const char *name,
			   const char *fields);

/* Log an event: @data is its fields one behind the other, without padding. */
int dlog_client_event(struct dlog_client *c, uint32_t cpu, int id,
		      const void *data, size_t len);

/*
 * Say what the kernel does, in the state page and as a record with @detail
 * (text, or NULL).  Also while the host has stopped recording.
 */
int dlog_client_status(struct dlog_client *c, uint32_t cpu,
		       enum dlog_status status, const char *detail);

/*
 * Heartbeat of @cpu, with @online false the last one.  Not nested in itself
 * on one CPU.  CPU 0's also looks whether the host wants recording stopped
 * or resumed.
 */
int dlog_client_beat(struct dlog_client *c, uint32_t cpu, bool online);

/*
 * Registers of a CPU, into its slot and as a record.  head->cpu, reason (enum
 * dlog_status), machine (ELF e_machine) and control are the caller's, the
 * rest is filled in.  @prstatus is the ELF NT_PRSTATUS descriptor of that
 * machine (dlog_client_x86_64 below), @size a multiple of 8.  Takes some 700
 * bytes of stack.  -ENOENT: the region has no slot for this CPU
 * (the record was written); -EMSGSIZE: over 512 bytes.
 */
int dlog_client_regs(struct dlog_client *c, const struct dlog_regs *head,
		     const void *prstatus, uint32_t size);

/*
 * The wall clock is @real (ns since 1970) now, within @error ns.  Once a
 * second or so keeps the dates of records right.
 */
int dlog_client_wall(struct dlog_client *c, uint64_t real, uint64_t error);

/*
 * The text of boot @boot in the order of time, from all rings: for a machine
 * without a host, whose next kernel shows what the one before has said.
 * Calls @line for each TEXT, printk and STATE record with its time and text,
 * which lies in the region: not ended, any bytes.  After open or find; a boot
 * that is still written is shown as far as it was at the call.
 * dlog_region_newest() knows the number of the latest.  @memory is
 * DLOG_CLIENT_HISTORY(rings) bytes, a multiple of 8, needed during the call.
 * Whatever is in the region, work is bounded by its size, and 64 MiB more that
 * may be hashed in vain; then the rest is left out.
 * Returns 0; -EINVAL without a region or for boot 0; -ENOSPC for @bytes.
 */
int dlog_client_history(const struct dlog_client *c, uint32_t boot,
			void *memory, size_t bytes,
			void (*line)(void *arg, uint64_t time, const void *text,
				     size_t len),
			void *arg);

#define DLOG_CLIENT_HISTORY(rings) ((size_t)(rings)*48)

/*
 * %d %i %u %x %c %s %p %%, flags - and 0, width, a precision for %s, both
 * also *, sizes l ll z.  From anything else on the format is copied as it is.
 * At most @size - 1 bytes and a NUL; returns their number without it.
 */
size_t dlog_client_format(char *buf, size_t size, const char *fmt,
			  va_list args);
size_t dlog_client_print(char *buf, size_t size, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * The number at *@s, decimal or 0x, with K, M or G behind it or not; *@s is
 * then behind it.  For options as dlog.mem=SIZE@ADDR.
 */
uint64_t dlog_client_number(const char **s);

/*
 * NT_PRSTATUS of x86-64 (struct elf_prstatus, include/linux/elfcore.h and
 * arch/x86/include/asm/elf.h of Linux 6.1).
 */
struct dlog_client_x86_64 {
	uint32_t signal[4];
	uint64_t pending[2];
	uint32_t pid, ppid, pgrp, sid;
	uint64_t times[8];
	/*
	 * r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax
	 * rip cs rflags rsp ss fs_base gs_base ds es fs gs
	 */
	uint64_t reg[27];
	uint32_t fpvalid, reserved;
};

DLOG_ASSERT(sizeof(struct dlog_client_x86_64) == 336);
DLOG_ASSERT(offsetof(struct dlog_client_x86_64, reg) == 112);

#endif
