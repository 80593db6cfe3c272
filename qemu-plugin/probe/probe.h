/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * probe.h - a probe, from the line of its file to the record of a hit.
 *
 *	parse.c   lines into struct probe     docs/man/dlog-probes.5 is the text
 *	expr.c    expressions: what a field's value is made of
 *	guest.c   registers and memory of the guest, for expressions
 *	hit.c     limits, fields, the record: the same for each kind
 *	exec.c    an instruction is executed
 *	memory.c  memory is read or written, also that of devices
 *	io.c      ports
 *	probe.c   the start, what each QEMU can do, the end
 *
 * Placing is done at translation, once for each place and translation; hits
 * come in the vCPU's thread.  A struct probe lives as long as QEMU.
 */
#ifndef PROBE_H
#define PROBE_H

#include "plugin.h"

#define FIELDS_MAX 64u /* of a probe, with those that are not recorded */
#define RECORDED_MAX 31u /* bits of "unread", less VALUE_UNREAD */
#define TEXT_MAX 2048u /* bytes of one str() or bytes() */
#define VALUE_UNREAD (1u << 31)

enum probe_kind {
	PROBE_EXEC, /* before an instruction is executed */
	PROBE_READ, /* after memory, a port or a device was read */
	PROBE_WRITE,
	PROBE_ACCESS, /* both */
};

enum probe_space {
	SPACE_VIRTUAL, /* as instructions name it; symbols */
	SPACE_PHYSICAL, /* "phys:" */
	SPACE_PORT, /* "port:" */
	SPACE_DEVICE, /* "device:NAME", as QEMU calls it; ranges do not apply */
};

struct expr; /* expr.c */

enum field_use {
	FIELD_RECORDED,
	FIELD_COMPUTED, /* "$name=": for expressions behind it alone */
	FIELD_CONDITION, /* "if=": no hit where it is 0 */
};

struct probe_field {
	const char *name;
	struct expr *value;
	enum field_use use;
	const char *type; /* as the catalog has it: "u32", "x64", "str" ... */
	uint8_t size; /* of a number, bytes; 0: str, bytes */
};

struct probe {
	const char *name;
	const char *file;
	unsigned int line;
	enum probe_kind kind;
	enum probe_space space;
	const char *device;
	uint64_t from, to; /* inclusive; by the symbols' files if moved */
	bool moved; /* with the kernel: add symbols_slide() */
	uint64_t limit; /* hits recorded at the most; UINT64_MAX: all */
	uint64_t every; /* only each so manieth hit: 1 */
	uint32_t rate; /* records a second; 0: any */
	bool quiet; /* count hits, record nothing but the count */
	bool as_text; /* a TEXT record, no event */
	struct probe_field *fields;
	unsigned int nr_fields;
	unsigned int decided; /* fields up to the last condition */
	/* what expressions ask for; NULL: nothing, else how it is written */
	const char *needs_registers, *needs_memory, *needs_value;
	const char *needs_physical;
	bool may_fail; /* one divides, or asks where a symbol has moved to */
	/*
	 * NAME_check() sets it where values of accesses can be had: then each
	 * record has one.
	 */
	bool has_value;
	int id; /* event type */
	/* any vCPU changes these, with atomic operations */
	uint64_t hits, recorded;
	uint64_t window; /* for rate: second << 32 | records in it */
	uint64_t told; /* hits, when they were recorded; one thread's */
};

extern struct probe *probes;
extern unsigned int nr_probes;

/* What is known of one hit.  Behind "has" what may not be known. */
struct hit {
	unsigned int vcpu;
	uint64_t pc;
	uint64_t executed; /* instructions before this one; UINT64_MAX: unknown */
	uint64_t address; /* of the access, virtual; or the port */
	uint64_t physical;
	uint64_t value, value_high;
	const char *device;
	uint8_t size; /* of the access, bytes; 0: an execution */
	bool store, has_physical, has_value;
};

/* ---- parse.c ---- */

/* A line while it is read. */
struct line {
	const char *file;
	unsigned int number;
	const char *at; /* what comes next */
	struct probe *probe;
	unsigned int depth, nodes; /* of expressions */
};

/* Says what is wrong in the line, and returns -EINVAL. */
int line_error(const struct line *l, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

void line_blanks(struct line *l);
/* Is @word next?  Then it is passed over.  No blank is. */
bool line_take(struct line *l, const char *word);
/* The name that comes next, NULL if none does.  @more: allowed in it. */
const char *line_name(struct line *l, const char *more);
int line_number(struct line *l, uint64_t *value);
/* The address of the symbol that comes next, by the files. */
int line_symbol(struct line *l, uint64_t *address);

/* Zeroed memory that stays until probes_free(); aborts without memory. */
void *probes_keep(size_t size);

/* Text of a file of probes, appended to `probes`. */
int probes_parse(const char *file, const char *text, size_t len);
int probes_load(const char *file);
void probes_free(void);

/* ---- expr.c ---- */

/* What an expression is computed from: the hit, and the fields before it. */
struct scene {
	const struct hit *hit;
	const struct probe *probe;
	uint64_t values[FIELDS_MAX];
	uint64_t unread; /* a bit for each field that has no value */
};

/* The expression that comes next; NULL after line_error(). */
struct expr *expr_parse(struct line *l);
/* "str" or "bytes"; NULL: a number. */
const char *expr_text_type(const struct expr *e);
/* The type that a number of it has when none is said. */
const char *expr_type(const struct expr *e);
/* false: it asks for something that cannot be had, or divides by 0. */
bool expr_value(const struct expr *e, const struct scene *s, uint64_t *value);
/* For str and bytes: how many bytes, or -EFAULT. */
int expr_text(const struct expr *e, const struct scene *s, void *buf,
	      size_t room);

/* ---- guest.c ---- */

int guest_start(void);
/* In the vCPU's thread, at its start. */
void guest_vcpu(unsigned int vcpu);
/*
 * A number for the register that gdb calls @name; -ENOENT where it is known
 * that there is none, -ENOSPC.  At the start.
 */
int guest_find_register(const char *name);
/* In callbacks of this vCPU that may read registers. */
bool guest_register(const struct hit *h, unsigned int reg, uint64_t *value);
/* Virtual memory as this vCPU sees it.  In its callbacks. */
bool guest_read(unsigned int vcpu, uint64_t address, void *buf, size_t len);
/* Up to the first NUL: how many bytes, or -EFAULT. */
int guest_read_string(unsigned int vcpu, uint64_t address, void *buf,
		      size_t room);

/* ---- hit.c ---- */

int hit_start(void);
/* Can the event type of @p be declared?  After NAME_check(). */
int hit_check(const struct probe *p);
/* Declares it. */
int hit_declare(struct probe *p);

/*
 * Count @h, and record it if the limits let it.  In the vCPU's thread, in a
 * callback that may read registers if the probe needs them.
 */
void probe_hit(struct probe *p, const struct hit *h);

/* ---- each kind's share of probe_translate() and of checking ---- */

/*
 * Can this QEMU do it?  0, or -EOPNOTSUPP after probe_error() has said which
 * line, what is missing and which QEMU has it.
 */
int exec_check(struct probe *p);
int memory_check(struct probe *p);
int io_check(struct probe *p);
int probe_error(const struct probe *p, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

void exec_translate(const struct block *b);
void memory_translate(const struct block *b);
void io_translate(const struct block *b);

/* Where @p lies now; false: not known yet. */
bool probe_place(const struct probe *p, uint64_t *from, uint64_t *to);

#endif
