/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * hv.h - what the files of dlog-hv's core share, and what they ask of an
 * architecture.
 *
 * Results are 0 or a negative errno; who finds the error says so.
 */
#ifndef HV_H
#define HV_H

#include "types.h"

#include "dlog_client.h"

/* ---- options.c ---- */

/* What is done after the record was made. */
enum hv_action {
	HV_RECORD, /* nothing more: the guest goes on as if alone */
	HV_RESET, /* warm reset of the machine */
	HV_HALT, /* everything stands still, for inspection */
	HV_RESTART, /* the guest begins again, in place */
};

struct hv_options {
	u64 region_size;
	u64 region_addr; /* 0: choose */
	bool region_new; /* format, whatever is there */
	u32 watchdog_ms; /* 0: none */
	u16 console; /* I/O port of a 16550, 0: none */
	bool show_previous;
	bool plain; /* do not use SVM */
	bool restart; /* some action may be to restart */
	enum hv_action on_hang, on_fault, on_reset, on_halt;
};

extern struct hv_options opt;
/* Read @line into opt; what is wrong is said and left out. */
void options_parse(const char *line);

/* ---- log.c ---- */

bool hv_prefix(const char *s, const char *prefix);

/* syslog's levels, as far as dlog-hv needs them. */
enum hv_level { HV_ALERT = 1, HV_ERR = 3, HV_WARN = 4, HV_INFO = 6 };

/* A line of dlog-hv's own, on the console and in the region. */
void hv_log(enum hv_level level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Text that comes from elsewhere, on the console only, made harmless. */
void console_write(const char *s, size_t n);
/* Give what was said before there was a boot to that boot. */
void log_flush(void);
/* Return -@err after the message. */
#define hv_fail(err, ...) (hv_log(HV_ERR, __VA_ARGS__), -(err))

/* ---- memmap.c ---- */

/* E820's types (ACPI 6.5, 15.1), and two of our own. */
enum mem_type {
	MEM_RAM = 1,
	MEM_RESERVED = 2,
	MEM_ACPI = 3,
	MEM_BUSY = 100, /* RAM that holds something until the guest runs */
};

struct mem_range {
	u64 start, end;
	u32 type;
};

#define MEM_RANGES 256

struct mem_map {
	struct mem_range r[MEM_RANGES];
	u32 n;
};

/* What firmware gave, less what is ours: the guest's memory. */
extern struct mem_map guest_map;
/* The same with what must not be overwritten yet. */
extern struct mem_map free_map;
/* Set the type of a range, over what was there.  -ENOSPC: map full. */
int mem_set(struct mem_map *m, u64 start, u64 end, u32 type);
/* Is all of the range of @type? */
bool mem_is(const struct mem_map *m, u64 start, u64 end, u32 type);
/* The lowest place for @size bytes of RAM in free_map, 0: none. */
u64 mem_find(u64 size, u64 align, u64 min, u64 max);
/* Pages of dlog-hv's own, zeroed, never given back; NULL when used up. */
void *page_alloc(u32 pages);

/* ---- region.c ---- */

extern struct dlog_client client; /* joined to the boot there is, if any */
extern u32 client_lock; /* for each call on it: boots change */
#define region (client.region) /* base NULL: none */
/* Find or format the region, and take it from the guest.  -ENOENT: none. */
int region_start(u32 possible_cpus);
/* The text of the latest boot, on the console. */
void region_show(void);
/* There is a boot from now on, the guest's or our own. */
bool region_has_boot(void);
/* The guest died without a boot of its own: this one is ours. */
void region_own_boot(void);
/* That boot is over, the next one may come. */
void region_end_boot(void);
/* Nanoseconds on the clock of the boot that is recorded, less region_ago. */
u64 region_clock(void *unused);
extern u64 region_ago;
/* The guest stores 4 or 8 bytes at @gpa in a protected page: 0 or -EACCES. */
int region_store(u64 gpa, u64 value, u32 size);
bool region_protects(u64 gpa);
/* Has the guest said that it hands over to another kernel? */
bool region_leaving(void);
/* Heartbeats that the guest's driver has made on @cpu. */
u64 region_beats(u32 cpu);
/* Calls @fn for each range of pages the guest must not write. */
void region_protected(void (*fn)(u64 start, u64 end));

/* ---- death.c ---- */

enum hv_cause {
	CAUSE_FAULT, /* triple fault */
	CAUSE_CHECK, /* machine check */
	CAUSE_RESET, /* through a port or INIT */
	CAUSE_POWER, /* sleep state */
	CAUSE_HALT, /* halted with interrupts off */
	CAUSE_HANG,
	CAUSE_VIOLATION, /* store into a protected page: it lives on */
	CAUSE_LOST, /* dlog-hv cannot go on with it */
};

struct vcpu;

/*
 * The guest is about to die, or may be dead.  Stops all, records, and does
 * what the options say: returns if the guest shall go on.
 */
void death(struct vcpu *v, enum hv_cause cause, const char *text);

/* ---- what an architecture gives ---- */

#define MAX_CPUS 64

/* One of the latest exits. */
struct hv_exit {
	u64 time, rip, info1, info2;
	u64 code;
};

#define PRSTATUS_SIZE 336

void arch_console(char c);
u64 arch_ns(void); /* since the start */
u64 arch_wall(void); /* ns since 1970, 0: not known */
void arch_random(u8 *to, size_t n);
extern u32 nr_cpus; /* virtual CPUs that exist */
struct vcpu *arch_cpu(u32 i);
u32 arch_cpu_id(const struct vcpu *v);
/* Does it stand still in the guest, so that its registers are known? */
bool arch_cpu_known(const struct vcpu *self, const struct vcpu *v);
const char *arch_cpu_state(const struct vcpu *v);
u64 arch_ip(struct vcpu *v);
u64 arch_sp(struct vcpu *v);
/* prstatus is PRSTATUS_SIZE bytes, control as struct dlog_regs has it. */
void arch_registers(struct vcpu *v, u64 *control, u8 *prstatus);
/* Exit @i, 0 the latest; false: there was none. */
bool arch_exit(const struct vcpu *v, u32 i, struct hv_exit *e);
const char *arch_exit_name(u64 code);
u64 arch_exits(const struct vcpu *v, u64 code);
/* Copy from guest-virtual memory: bytes copied. */
size_t arch_read(struct vcpu *v, u64 va, void *to, size_t n);
/* Say how @va is mapped, a step a call of @say. */
void arch_walk(struct vcpu *v, u64 va, void (*say)(const char *line));
/* What is only in the CPU itself, to where arch_registers() finds it. */
void arch_save(struct vcpu *v);
/* Stop all other CPUs, let them go on, stand still if another one asks. */
void arch_stop_others(struct vcpu *v);
void arch_go_on(void);
void arch_check_stop(struct vcpu *v);
void arch_reset(void) __attribute__((noreturn));
void arch_halt(void) __attribute__((noreturn));
/* The guest again, from its beginning; @held is unlocked when all stand. */
void arch_restart(struct vcpu *v, u32 *held) __attribute__((noreturn));
/* One caller at a time. */
bool try_lock(u32 *word);
void lock(u32 *word);
void unlock(u32 *word);

#endif
