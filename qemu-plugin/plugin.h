/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * plugin.h - the parts of the plugin and how they meet.
 *
 * QEMU calls main.c; main.c calls each part:
 *
 *	part        does                                        file
 *	record      the region: catalog, rings, clock, its end  record.c
 *	count       instructions that each vCPU executed        count.c
 *	blocks      the last blocks of each vCPU                blocks.c
 *	symbols     names of addresses, where the kernel lies   symbols/
 *	probe       probe files and what they place             probe/
 *	watch       stores into a guest's region                watch/
 *
 * A part has NAME_start() (from qemu_plugin_install(): 0, or a negative errno
 * after it has said why with tell(); finds what is wrong and stores nothing
 * into the region), NAME_begin() (when all have started: what it has to store
 * first, returns likewise), NAME_translate() (each translation, in any vCPU's
 * thread, several at once), and what else it says below.
 *
 * Whatever happens after the start, the guest goes on: what cannot be
 * recorded is counted as dropped.  Before the guest's first instruction
 * everything that can be wrong is found, and QEMU does not start.
 */
#ifndef PLUGIN_H
#define PLUGIN_H

#include "api.h"
#include "dlog_region.h"

/* "dlog-plugin: " and a sentence on stderr, with a newline. */
void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- arguments ---- */

#define OPTIONS_MAX 16 /* of one kind */

struct options {
	const char *region; /* our own, where everything is recorded */
	const char *probes[OPTIONS_MAX]; /* files of probes */
	const char *symbols[OPTIONS_MAX]; /* vmlinux, System.map, kallsyms */
	unsigned int nr_probes, nr_symbols;
	bool blocks;
	bool icount; /* count instructions */
	const char *watch; /* the guest's region file */
	bool trace_writes; /* of it */
	bool slide_given;
	uint64_t slide; /* where the kernel lies, less where symbols say */
};

/*
 * Each is "NAME=VALUE", as QEMU passes them.  0, or -EINVAL after it has said
 * what is wrong.
 */
int options_parse(struct options *o, int argc, char **argv);

/* ---- the plugin as a whole ---- */

struct plugin {
	qemu_plugin_id_t id;
	struct options opt;
	unsigned int nr_vcpus; /* that may ever be */
	bool x86; /* the guest is i386 or x86_64 */
	bool x86_64;
};

extern struct plugin plugin;

/*
 * Forget all translations, so that each part sees each block again.  From a
 * vCPU's thread; takes effect before that vCPU executes its next block.
 */
void plugin_translate_again(void);

/* ---- a block while it is translated ---- */

struct block {
	struct qemu_plugin_tb *tb;
	uint64_t pc; /* virtual address of the first instruction */
	size_t n; /* instructions */
};

/* ---- record.c ---- */

/*
 * Our own region.  Rings 0 to nr_vcpus - 1: what each vCPU's callbacks
 * record; the next nr_vcpus with blocks=on: its blocks; the last one: what
 * the plugin itself says and measures (any thread).
 */
int record_start(const char *path, unsigned int nr_vcpus, bool blocks);
/* Begins the boot.  Nothing is recorded before. */
int record_begin(const char *target);

/* ns since the plugin was loaded, CLOCK_MONOTONIC. */
uint64_t record_now(void);

/*
 * Declare an event type ("probe:opens", fields as docs/abi.md section 8 has
 * them): its id, or a negative errno after it has said why.  Any thread.
 */
int record_event_type(const char *name, const char *fields);

/* In the thread of @vcpu alone: its ring has one writer. */
void record_event(unsigned int vcpu, int id, const void *data, size_t len);
void record_text(unsigned int vcpu, uint32_t pri, const void *text, size_t len);

/* The longest data of a record. */
size_t record_max(void);

/* From any thread, into the plugin's own ring. */
void record_own_event(int id, const void *data, size_t len);
void record_say(uint32_t level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The ring of @vcpu's blocks. */
struct dlog_ring *record_block_ring(unsigned int vcpu);

/*
 * What explains addresses, into the catalog: see docs/abi.md section 8.  Any
 * thread.  -ENOSPC when all is used but what is left to event types.
 */
int record_catalog(uint32_t type, const void *data, uint32_t len);
uint32_t record_boot(void);
/*
 * What is there from earlier lives of QEMU in the same region.  Before the
 * guest starts.  -ENOMEM after it has said so.
 */
int record_catalog_each(void (*each)(uint32_t type, const void *data,
				     uint32_t len));

/*
 * Outlive the file.  QEMU sets a handler of SIGBUS of its own while it starts,
 * so again and again until it has started.
 */
void record_guard(void);
/* In each thread that stores into the region, before it does. */
void record_guard_thread(void);
/* Has the host stopped recording? */
bool record_stopped(void);

/* @vcpu is there from now on, or is there no more. */
void record_vcpu(unsigned int vcpu, bool there);
/* Once a second, from the plugin's thread; and at QEMU's end. */
void record_beat(void);
void record_stop(void);

/* ---- count.c ---- */

/*
 * How many instructions @vcpu has executed, up to the end of the block in
 * which the callback is; UINT64_MAX: not counted.  Exact but for blocks that
 * a fault cut short, which count whole.
 */
int count_start(void);
int count_begin(void);
/* Are they counted?  From count_start() on. */
bool count_known(void);
void count_translate(const struct block *b);
uint64_t count_executed(unsigned int vcpu);

/* ---- blocks.c ---- */

int blocks_start(void);
void blocks_translate(const struct block *b);
/* With blocks=on that is where instructions are counted. */
uint64_t blocks_executed(unsigned int vcpu);
/* Commits what is open; of a vCPU that still runs one record may be torn. */
void blocks_stop(void);

/* ---- symbols/ ---- */

int symbols_start(void);
int symbols_begin(void);
/* Names functions in the catalog as they are first seen; finds the slide. */
void symbols_translate(const struct block *b);
/*
 * "do_exit", "do_exit+0x10", "0xffffffff81000000": the address by the files,
 * where nothing has been moved.  0, -ENOENT, -EINVAL, or -ENOTUNIQ: several
 * functions have that name.
 */
int symbols_resolve(const char *text, uint64_t *address);
/* Is @address (of a file) moved with the kernel? */
bool symbols_moved(uint64_t address);
/*
 * What to add to an address of the files to have the running one; false: not
 * known yet.  Changes, by plugin_translate_again(), when a kernel starts.
 */
bool symbols_slide(uint64_t *slide);

/* ---- probe/ ---- */

int probe_start(void);
int probe_begin(void);
void probe_translate(const struct block *b);
/* In the vCPU's thread, before it executes. */
void probe_vcpu(unsigned int vcpu);
/* Once a second, from the plugin's thread: counts of quiet probes. */
void probe_beat(void);
/* Records how often each was hit. */
void probe_stop(void);

/* ---- watch/ ---- */

int watch_start(void);
int watch_begin(void);
void watch_translate(const struct block *b);
/* Once a second, from the plugin's thread. */
void watch_beat(void);
void watch_stop(void);

#endif
