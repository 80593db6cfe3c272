/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu.h - what the files of dlog-qemu share.
 *
 * main.c reads our own options, looks after the region file and executes
 * QEMU; command.c understands as much of QEMU's command line as matters;
 * plan.c decides what to add to it; stock.c has what kernels want that know
 * nothing of dlog (--stock); plugin.c has the TCG plugin and its region
 * (--plugin); text.c has strings, sizes and lists.
 *
 * The user's arguments are never changed.  All that dlog-qemu wants is
 * appended, and QEMU merges: of -machine, -m and -action given several times
 * each property's last value counts, of -append the last one as a whole.
 * (QEMU 7.2 to 10: system/vl.c, machine_opts_dict and merge_lists.)
 */
#ifndef DLOG_QEMU_H
#define DLOG_QEMU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cli.h"
#include "dlog.h"

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

/* ---- text.c ---- */

/*
 * key=value pairs in the order given.  A key may occur several times; the
 * last one counts.
 */
struct prop {
	char *key, *value;
};

struct props {
	struct prop *v;
	size_t n;
};

/*
 * Add what an option's argument says, in QEMU's syntax ("a,,b" is a comma in
 * a value; a first word without '=' is the value of @implied) or as a JSON
 * object, whose nested values are left out.  -ENOMEM, -EINVAL (JSON).
 */
int props_parse(struct props *p, const char *text, const char *implied);
const char *props_get(const struct props *p, const char *key);
void props_free(struct props *p);

/* QEMU's words for a boolean; anything else is neither. */
bool means_on(const char *value);
bool means_off(const char *value);

/*
 * A number with one of QEMU's suffixes, fractions allowed ("1.5G"); without
 * a suffix in units of @unit.  -EINVAL, -ERANGE.
 */
int size_parse(const char *text, uint64_t unit, uint64_t *out);
/* The shortest exact way to write it: "16M", "65540K", "4097B". */
struct size_text {
	char s[32];
};
struct size_text size_text(uint64_t bytes);

/* A copy with each comma doubled, or NULL. */
char *double_commas(const char *text);
/* As a word of sh(1). */
void shell_quote(FILE *out, const char *word);

/* ---- command.c ---- */

/* A -object or -device of the user. */
struct item {
	const char *option, *text;
	struct props props; /* its type is "qom-type" or "driver" */
};

enum board {
	BOARD_PC, /* pc, q35 and their versions */
	BOARD_MICROVM,
	BOARD_ISAPC,
	BOARD_OTHER,
};

/* The user's QEMU command line, as far as it matters here. */
struct command {
	char **argv; /* NULL-terminated, [0] is the program; not owned */
	bool x86;
	enum board board;
	bool q35;
	struct props machine, memory, smp, action;
	struct item *items;
	size_t nr_items;
	/* the last argument of each, or NULL */
	const char *kernel, *append, *mem_path, *numa, *readconfig;
	const char *accel; /* the first one given, or NULL */
	bool no_acpi;
	uint64_t ram, maxmem, slots; /* bytes; maxmem 0: not given */
	uint32_t cpus, maxcpus;
};

/* Fills *@c; -EINVAL with a message.  command_free() in any case. */
int command_parse(struct command *c, char **argv, struct dlog_error *err);
void command_free(struct command *c);
/* The user's device of one of these drivers, or NULL. */
const struct item *command_device(const struct command *c, const char *driver);

/* ---- plan.c ---- */

enum placement { PLACE_NVDIMM, PLACE_IVSHMEM, PLACE_RAM };

/* Who writes into the file: our driver, or what a stock kernel has. */
enum stock { STOCK_NONE, STOCK_RAMOOPS };

struct wishes {
	enum placement placement;
	enum stock stock;
	const char *path; /* of the region, absolute */
	uint64_t size; /* of the region */
	const char *qmp; /* absolute path of the socket, NULL: none */
	bool no_pvpanic;
	const char *on_panic; /* NULL: not asked for */
	char *plugin; /* value of -plugin, NULL: none */
};

struct addition {
	char *option, *value;
	const char *why;
};

struct plan {
	struct addition *v;
	size_t n;
	/* What the guest's kernel has to be told. */
	char kernel_words[512];
	bool words_added; /* to -append */
	bool no_memory; /* an allocation failed on the way */
};

/* What to add to @c; negative errno with a message.  plan_free() always. */
int plan_make(struct plan *p, const struct command *c, const struct wishes *w,
	      struct dlog_error *err);
void plan_free(struct plan *p);

/* ---- plugin.c ---- */

/*
 * The value of -plugin: the plugin's file, its own region beside the guest's
 * (FILE.plugin), the guest's for it to watch, and @args, what the user gives
 * more.  The caller frees *value.  Creates nothing.
 */
int plugin_plan(char **value, const struct command *c, const struct wishes *w,
		const char *args, struct dlog_error *err);
/*
 * Its own region, beside the guest's at @path, with rings for all vCPUs there
 * may be, unless it is there.
 */
int plugin_prepare(const char *path, const struct command *c, const char *args,
		   struct dlog_error *err);

/* ---- stock.c ---- */

/*
 * Guest-physical address of the first memory device.  -EINVAL with a message
 * when the user's own devices are in the way.
 */
int stock_address(const struct command *c, uint64_t *at,
		  struct dlog_error *err);
/* What the kernel has to be told of @size bytes at @at. */
void stock_words(char *out, size_t size, const struct wishes *w, uint64_t at);
/* For the guest's own files, if the kernel's command line is not ours. */
void stock_tell(FILE *out, const struct wishes *w);

#endif
