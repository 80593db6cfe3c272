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
	};

	return DLOG_NAME(name, kind);
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
		return 7;
	case DLOG_KIND_STATE:
		break;
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

/* One field of an event: what "u32 pid" or "char comm[16]" says. */
struct field {
	char type; /* u, s, x, c (char array), t (str) */
	uint32_t size; /* bytes of a number or of the array */
	const char *name;
	int name_len;
};

/*
 * Parse the field at *@s and step behind its ';'.  1, 0 at the end, -1 for
 * what this program does not know.
 */
static int field_parse(const char **s, struct field *f)
{
	const char *p = *s + strspn(*s, " ;\t");
	size_t type = strcspn(p, " \t;"), name;
	unsigned long bits;
	char *end;

	if (!*p)
		return 0;
	f->name = p + type + strspn(p + type, " \t");
	name = strcspn(f->name, "[; \t");
	f->name_len = name < 64 ? (int)name : 64;
	*s = f->name + strcspn(f->name, ";");
	if (type == 4 && !memcmp(p, "char", 4) && f->name[name] == '[') {
		f->type = 'c';
		bits = strtoul(f->name + name + 1, &end, 10);
		f->size = (uint32_t)bits;
		return *end == ']' && bits && bits < 65536 ? 1 : -1;
	}
	if (type == 3 && !memcmp(p, "str", 3)) {
		f->type = 't';
		return 1;
	}
	if (type < 2 || type > 3 || !strchr("usx", *p) || !isdigit(p[1]))
		return -1;
	f->type = *p;
	bits = strtoul(p + 1, &end, 10);
	f->size = (uint32_t)bits / 8;
	return end == p + type && (bits == 8 || bits == 16 || bits == 32 ||
				   bits == 64)
		       ? 1
		       : -1;
}

/* Print the value of @f at @c; false when the data ends before it. */
static bool field_put(struct out *o, const struct field *f, struct cursor *c)
{
	uint64_t v = f->size;

	switch (f->type) {
	case 't':
		if (!take(c, 2, &v))
			return false;
		/* fall through */
	case 'c':
		if (c->left < v)
			return false;
		put_bytes(o, c->p,
			  f->type == 'c'
				  ? strnlen((const char *)c->p, (size_t)v)
				  : (size_t)v);
		c->p += v;
		c->left -= (size_t)v;
		return true;
	}
	if (!take(c, f->size, &v))
		return false;
	if (f->type == 's') {
		uint32_t shift = 64 - 8 * f->size;

		put(o, "%" PRId64, (int64_t)(v << shift) >> shift);
	} else {
		put(o, f->type == 'x' ? "0x%" PRIx64 : "%" PRIu64, v);
	}
	return true;
}

static void text_event(struct out *o, const struct dlog_entry *e)
{
	struct cursor c = { e->data, e->len };
	struct dlog_event_desc desc;
	const char *s;
	struct field f;
	int ret;

	if (!dlog_get_event(e->source, e->arg, &desc)) {
		put(o, "event %u:", e->arg);
		if (c.left)
			put(o, " ");
		put_hex(o, c.p, c.left);
		return;
	}
	put(o, "%s:", desc.name);
	s = desc.fields;
	while ((ret = field_parse(&s, &f)) > 0) {
		put(o, " %.*s=", f.name_len, f.name);
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
 * Names and places of x86-64 registers in NT_PRSTATUS: struct elf_prstatus
 * of the kernel's include/linux/elfcore.h begins with 112 bytes, then
 * struct user_regs_struct of arch/x86/include/uapi or asm/user_64.h.
 */
#define PRSTATUS_X86_REGS 112u
#define PRSTATUS_X86_SIZE (PRSTATUS_X86_REGS + 27 * 8)

static uint64_t x86_reg(const uint8_t *prstatus, uint32_t n)
{
	return dlog_load64(prstatus + PRSTATUS_X86_REGS + n * 8);
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
