// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * render.c - names, and plain text for a record of any kind.
 *
 * Text of the guest is passed on as it is; the caller escapes it for its
 * sink.  Data of other kinds is hostile: every field is fetched through
 * struct cursor, which knows where the data ends.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dlog_names.h"
#include "dlog_ram.h"
#include "internal.h"

const char *dlog_status_name(uint32_t status)
{
	return dlog_name_status(status);
}

bool dlog_status_lives(uint32_t status)
{
	switch (status) {
	case DLOG_ST_BOOTING:
	case DLOG_ST_RUNNING:
	case DLOG_ST_OOPS:
	case DLOG_ST_HUNG_TASK:
	case DLOG_ST_SOFT_LOCKUP:
	case DLOG_ST_HARD_LOCKUP:
		return true;
	default:
		return false;
	}
}

const char *dlog_memtype_name(uint32_t memtype)
{
	return dlog_name_memtype(memtype);
}

const char *dlog_kind_name(uint32_t kind)
{
	static const char *const name[] = {
		[DLOG_KIND_START] = "start",
		[DLOG_KIND_TEXT] = "text",
		[DLOG_KIND_PRINTK] = "printk",
		[DLOG_KIND_EVENT] = "event",
		[DLOG_KIND_BOOT] = "boot",
		[DLOG_KIND_STATE] = "state",
		[DLOG_KIND_REGS] = "regs",
		[DLOG_KIND_STACK] = "stack",
		[DLOG_KIND_CALL] = "call",
		[DLOG_KIND_EVENT_TYPE] = "event type",
		[DLOG_KIND_OBJECT] = "object",
		[DLOG_KIND_SYMBOLS] = "symbols",
		[DLOG_KIND_BASE] = "base",
		[DLOG_KIND_BLOCKS] = "blocks",
	};

	return DLOG_NAME(name, kind);
}

const char *dlog_doubt_name(uint32_t doubt)
{
	static const char *const name[] = {
		[DLOG_DOUBT_NONE] = "",
		[DLOG_DOUBT_STALE] = "stale",
		[DLOG_DOUBT_SALVAGED] = "salvaged",
		[DLOG_DOUBT_TORN] = "torn",
	};

	return DLOG_NAME(name, doubt);
}

const char *dlog_level_name(uint32_t level)
{
	static const char *const name[] = {
		"emerg", "alert",  "crit", "err",
		"warn",	 "notice", "info", "debug"
	};

	return DLOG_NAME(name, level);
}

/* As dmesg(1) and syslog(3) have them. */
const char *dlog_facility_name(uint32_t facility)
{
	static const char *const name[] = {
		"kern",	  "user",   "mail",   "daemon", "auth",	    "syslog",
		"lpr",	  "news",   "uucp",   "cron",	"authpriv", "ftp",
		"ntp",	  "audit",  "alert",  "clock",	"local0",   "local1",
		"local2", "local3", "local4", "local5", "local6",   "local7",
	};

	return DLOG_NAME(name, facility);
}

/* Levels for records that are not text, as printk would have them. */
uint8_t dlog_kind_level(uint32_t kind, uint32_t arg)
{
	switch (kind) {
	case DLOG_KIND_REGS:
	case DLOG_KIND_STACK:
		return 3;
	case DLOG_KIND_CALL:
		return arg & 7;
	case DLOG_KIND_STATE:
		break;
	case DLOG_KIND_BLOCKS:
		return 7;
	default:
		return 6;
	}
	switch (arg) {
	case DLOG_ST_PANIC:
		return 0;
	case DLOG_ST_OOPS:
	case DLOG_ST_HARD_LOCKUP:
		return 1;
	case DLOG_ST_SOFT_LOCKUP:
	case DLOG_ST_HUNG_TASK:
		return 2;
	case DLOG_ST_EMERGENCY:
		return 4;
	default:
		return 6;
	}
}

/* Output as snprintf() has it: all is counted, what fits is written. */
struct out {
	char *buf;
	size_t size, len;
};

static void put_bytes(struct out *o, const void *p, size_t n)
{
	if (o->len < o->size) {
		size_t room = o->size - o->len;

		memcpy(o->buf + o->len, p, n < room ? n : room);
	}
	o->len += n;
}

static __attribute__((format(printf, 2, 3))) void put(struct out *o,
						      const char *fmt, ...)
{
	char text[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n > 0)
		put_bytes(o, text,
			  (size_t)n < sizeof(text) ? (size_t)n
						   : sizeof(text) - 1);
}

static void put_hex(struct out *o, const uint8_t *p, size_t n)
{
	static const char digit[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		char two[2] = { digit[p[i] >> 4], digit[p[i] & 15] };

		put_bytes(o, two, sizeof(two));
	}
}

/* What is left of a record's data. */
struct cursor {
	const uint8_t *p;
	size_t left;
};

/* Little-endian number of @n bytes into *@v; false when they are not there. */
static bool take(struct cursor *c, uint32_t n, uint64_t *v)
{
	*v = 0;
	if (c->left < n)
		return false;
	memcpy(v, c->p, n);
	c->p += n;
	c->left -= n;
	return true;
}

int dlog_field_next(const char **fields, struct dlog_field *f)
{
	static const struct {
		const char *word;
		enum dlog_field_type type;
		uint32_t size;
	} types[] = {
		{ "u8", DLOG_FIELD_UINT, 1 },	  { "u16", DLOG_FIELD_UINT, 2 },
		{ "u32", DLOG_FIELD_UINT, 4 },	  { "u64", DLOG_FIELD_UINT, 8 },
		{ "s8", DLOG_FIELD_INT, 1 },	  { "s16", DLOG_FIELD_INT, 2 },
		{ "s32", DLOG_FIELD_INT, 4 },	  { "s64", DLOG_FIELD_INT, 8 },
		{ "x8", DLOG_FIELD_HEX, 1 },	  { "x16", DLOG_FIELD_HEX, 2 },
		{ "x32", DLOG_FIELD_HEX, 4 },	  { "x64", DLOG_FIELD_HEX, 8 },
		{ "char", DLOG_FIELD_CHARS, 0 },  { "str", DLOG_FIELD_STR, 0 },
		{ "bytes", DLOG_FIELD_BYTES, 0 },
	};
	const char *p = *fields + strspn(*fields, " ;\t");
	size_t type = strcspn(p, " \t;"), name, i = 0;
	unsigned long n;
	char *end;

	memset(f, 0, sizeof(*f));
	if (!*p)
		return 0;
	f->name = p + type + strspn(p + type, " \t");
	name = strcspn(f->name, "[; \t");
	f->name_len = name < 64 ? (uint32_t)name : 64;
	*fields = f->name + strcspn(f->name, ";");
	while (strlen(types[i].word) != type || memcmp(p, types[i].word, type))
		if (++i == sizeof(types) / sizeof(types[0]))
			return -EINVAL;
	f->type = types[i].type;
	f->size = types[i].size;
	if (f->type != DLOG_FIELD_CHARS)
		return 1;
	if (f->name[name] != '[' || !isdigit((unsigned char)f->name[name + 1]))
		return -EINVAL;
	n = strtoul(f->name + name + 1, &end, 10);
	f->size = (uint32_t)n;
	return *end == ']' && n && n < 65536 ? 1 : -EINVAL;
}

bool dlog_field_value(const struct dlog_field *f, const uint8_t **data,
		      size_t *len, struct dlog_value *v)
{
	struct cursor c = { *data, *len };
	uint64_t n = f->size;

	memset(v, 0, sizeof(*v));
	switch (f->type) {
	case DLOG_FIELD_STR:
	case DLOG_FIELD_BYTES:
		if (!take(&c, 2, &n))
			return false;
		/* fall through */
	case DLOG_FIELD_CHARS:
		if (c.left < n)
			return false;
		v->data = c.p;
		v->len = (size_t)n;
		if (f->type == DLOG_FIELD_CHARS)
			v->len = strnlen((const char *)c.p, (size_t)n);
		c.p += n;
		c.left -= (size_t)n;
		break;
	default:
		if (!take(&c, f->size, &v->number))
			return false;
		if (f->type == DLOG_FIELD_INT) {
			uint32_t shift = 64 - 8 * f->size;

			v->number = (uint64_t)((int64_t)(v->number << shift) >>
					       shift);
		}
	}
	*data = c.p;
	*len = c.left;
	return true;
}

/* Print the value of @f at @c; false when the data ends before it. */
static bool field_put(struct out *o, const struct dlog_field *f,
		      struct cursor *c)
{
	struct dlog_value v;

	if (!dlog_field_value(f, &c->p, &c->left, &v))
		return false;
	switch (f->type) {
	case DLOG_FIELD_UINT:
		put(o, "%" PRIu64, v.number);
		break;
	case DLOG_FIELD_INT:
		put(o, "%" PRId64, (int64_t)v.number);
		break;
	case DLOG_FIELD_HEX:
		put(o, "0x%" PRIx64, v.number);
		break;
	case DLOG_FIELD_CHARS:
	case DLOG_FIELD_STR:
		put_bytes(o, v.data, v.len);
		break;
	case DLOG_FIELD_BYTES:
		put_hex(o, v.data, v.len);
		break;
	}
	return true;
}

static void text_event(struct out *o, const struct dlog_entry *e)
{
	struct cursor c = { e->data, e->len };
	struct dlog_event_desc desc;
	const char *s;
	struct dlog_field f;

	if (!dlog_get_event(e->source, e->arg, &desc)) {
		put(o, "event %u:", e->arg);
		if (c.left)
			put(o, " ");
		put_hex(o, c.p, c.left);
		return;
	}
	put_bytes(o, desc.name, strlen(desc.name));
	put(o, ":");
	s = desc.fields;
	while (dlog_field_next(&s, &f) > 0) {
		put(o, " %.*s=", (int)f.name_len, f.name);
		if (!field_put(o, &f, &c)) {
			put(o, "<cut short>");
			return;
		}
	}
	if (c.left) {
		put(o, " ");
		put_hex(o, c.p, c.left);
	}
}

static void text_boot(struct out *o, const struct dlog_entry *e)
{
	struct dlog_boot_note n;

	if (e->len < sizeof(n)) {
		put(o, "boot: <cut short>");
		return;
	}
	memcpy(&n, e->data, sizeof(n));
	put(o, "boot %u: release ", n.boot);
	put_bytes(
		o, e->data + sizeof(n),
		strnlen((const char *)e->data + sizeof(n), e->len - sizeof(n)));
	put(o, ", boot id ");
	for (uint32_t i = 0; i < sizeof(n.boot_id); i++)
		put(o, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x",
		    n.boot_id[i]);
}

/*
 * Names and places of x86-64 registers in NT_PRSTATUS: of struct
 * user_regs_struct in arch/x86/include/asm/user_64.h, as struct dlog_ram_regs
 * has them.
 */
#define PRSTATUS_X86_SIZE (DLOG_PRSTATUS_REGS + sizeof(struct dlog_ram_regs))

static uint64_t x86_reg(const uint8_t *prstatus, uint32_t n)
{
	return dlog_load64(prstatus + DLOG_PRSTATUS_REGS + n * 8);
}

static void text_regs(struct out *o, const struct dlog_entry *e)
{
	static const struct {
		const char *name;
		uint8_t at;
	} reg[] = {
		{ "rax", 10 }, { "rbx", 5 },  { "rcx", 11 }, { "rdx", 12 },
		{ "rsi", 13 }, { "rdi", 14 }, { "rbp", 4 },  { "r8", 9 },
		{ "r9", 8 },   { "r10", 7 },  { "r11", 6 },  { "r12", 3 },
		{ "r13", 2 },  { "r14", 1 },  { "r15", 0 },
	};
	struct cursor c = { e->data, e->len };
	uint64_t cpu, reason;

	if (!take(&c, 4, &cpu) || !take(&c, 4, &reason)) {
		put(o, "registers: <cut short>");
		return;
	}
	put(o, "registers of cpu %u", (uint32_t)cpu);
	if (reason)
		put(o, " (%s)", dlog_status_name((uint32_t)reason));
	if (c.left < PRSTATUS_X86_SIZE) {
		put(o, ": ");
		put_hex(o, c.p, c.left);
		return;
	}
	put(o,
	    ":\nrip %04x:%016" PRIx64 " rsp %04x:%016" PRIx64
	    " rflags %08" PRIx64,
	    (uint32_t)x86_reg(c.p, 17) & 0xffff, x86_reg(c.p, 16),
	    (uint32_t)x86_reg(c.p, 20) & 0xffff, x86_reg(c.p, 19),
	    x86_reg(c.p, 18));
	for (uint32_t i = 0; i < sizeof(reg) / sizeof(reg[0]); i++)
		put(o, "%s%3s %016" PRIx64, i % 3 ? " " : "\n", reg[i].name,
		    x86_reg(c.p, reg[i].at));
}

static void text_stack(struct out *o, const struct dlog_entry *e)
{
	struct cursor c = { e->data, e->len };
	uint64_t cpu, reason;

	if (!take(&c, 4, &cpu) || !take(&c, 4, &reason)) {
		put(o, "stack: <cut short>");
		return;
	}
	put(o, "stack of cpu %u", (uint32_t)cpu);
	if (reason)
		put(o, " (%s)", dlog_status_name((uint32_t)reason));
	while (c.left && (c.p[c.left - 1] == '\n' || !c.p[c.left - 1]))
		c.left--;
	put(o, c.left ? ":\n" : ": empty");
	put_bytes(o, c.p, c.left);
}

/* The next string of @c with its NUL, which may be missing at the end. */
static void put_string(struct out *o, struct cursor *c)
{
	size_t len = strnlen((const char *)c->p, c->left);

	put_bytes(o, c->p, len);
	if (len < c->left)
		len++;
	c->p += len;
	c->left -= len;
}

/* call: strlen(0x0): s must not be NULL, called from probe+0x12/0x40 [demo] */
static void text_call(struct out *o, const struct dlog_entry *e)
{
	struct cursor c = { e->data, e->len }, name;
	uint64_t site, flags, nr, arg;
	bool result;

	if (!take(&c, 8, &site) || !take(&c, 4, &flags) || !take(&c, 4, &nr) ||
	    nr > c.left / 8) {
		put(o, "call: <cut short>");
		return;
	}
	result = nr && (flags & DLOG_CALL_RESULT);
	name = (struct cursor){ c.p + 8 * nr, c.left - 8 * (size_t)nr };
	put(o, "call: ");
	put_string(o, &name);
	put(o, "(");
	for (uint64_t i = 0; i < nr && take(&c, 8, &arg); i++)
		put(o, "%s0x%" PRIx64,
		    result && i == nr - 1 ? ") = "
		    : i			  ? ", "
					  : "",
		    arg);
	put(o, result ? ": " : "): ");
	put_string(o, &name);
	put(o, ", called from ");
	if (name.left && *name.p)
		put_string(o, &name);
	else
		put(o, "0x%" PRIx64, site);
}

/* blocks of cpu 0 after 17 instructions:\n0xfff0 1\nthe last 1: 20 blocks more */
static void text_blocks(struct out *o, const struct dlog_entry *e)
{
	struct cursor c = { e->data, e->len };
	uint64_t executed, word;

	if (!take(&c, 8, &executed)) {
		put(o, "blocks: <cut short>");
		return;
	}
	put(o, "blocks of cpu %u after %" PRIu64 " instructions:", e->arg,
	    executed);
	while (take(&c, 8, &word) && word) {
		if (DLOG_BLOCK_INSNS(word))
			put(o, "\n0x%" PRIx64 " %u", DLOG_BLOCK_PC(word),
			    DLOG_BLOCK_INSNS(word));
		else
			put(o, "\nthe last %u: %" PRIu64 " blocks more",
			    DLOG_REPEAT_PERIOD(word), DLOG_REPEAT_BLOCKS(word));
	}
}

size_t dlog_entry_text(const struct dlog_entry *e, char *buf, size_t size)
{
	/* The last byte is for the NUL. */
	struct out o = { buf, size ? size - 1 : 0, 0 };

	switch (e->kind) {
	case DLOG_KIND_TEXT:
	case DLOG_KIND_PRINTK:
		put_bytes(&o, e->data, e->len);
		break;
	case DLOG_KIND_EVENT:
		text_event(&o, e);
		break;
	case DLOG_KIND_BOOT:
		text_boot(&o, e);
		break;
	case DLOG_KIND_STATE:
		put(&o, "state: %s", dlog_status_name(e->arg));
		if (e->len)
			put(&o, ": ");
		put_bytes(&o, e->data, e->len);
		break;
	case DLOG_KIND_REGS:
		text_regs(&o, e);
		break;
	case DLOG_KIND_STACK:
		text_stack(&o, e);
		break;
	case DLOG_KIND_CALL:
		text_call(&o, e);
		break;
	case DLOG_KIND_BLOCKS:
		text_blocks(&o, e);
		break;
	default:
		put(&o, "%s:", dlog_kind_name(e->kind));
		if (e->len)
			put(&o, " ");
		put_hex(&o, e->data, e->len);
	}
	if (size)
		buf[o.len < size - 1 ? o.len : size - 1] = 0;
	return o.len;
}
