// SPDX-License-Identifier: GPL-2.0-only
/*
 * parse.c - files of probes, docs/man/dlog-probes.5, into struct probe.
 *
 * Everything that a line makes stays until QEMU ends, so nothing is freed on
 * the way; a line that is wrong ends the start of QEMU.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "probe.h"

#define FILE_MAX (1u << 20) /* bytes of a file of probes */
#define PROBES_MAX 4000u /* event types that a region can have */
#define NAME_MAX_LEN 63u

struct probe *probes;
unsigned int nr_probes;

static struct kept {
	struct kept *next;
	uint64_t data[];
} * kept;

void *probes_keep(size_t size)
{
	struct kept *k = calloc(1, sizeof(*k) + size);

	if (!k) {
		tell("no memory for probes");
		abort();
	}
	k->next = kept;
	kept = k;
	return k->data;
}

void probes_free(void)
{
	while (kept) {
		struct kept *k = kept;

		kept = k->next;
		free(k);
	}
	free(probes);
	probes = NULL;
	nr_probes = 0;
}

/* ---- the pieces of a line ---- */

int line_error(const struct line *l, const char *format, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	tell("%s:%u: %s", l->file, l->number, text);
	return -EINVAL;
}

void line_blanks(struct line *l)
{
	while (*l->at == ' ' || *l->at == '\t')
		l->at++;
}

bool line_take(struct line *l, const char *word)
{
	size_t len = strlen(word);

	if (strncmp(l->at, word, len))
		return false;
	l->at += len;
	return true;
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static const char *keep_text(const char *text, size_t len)
{
	char *copy = probes_keep(len + 1);

	memcpy(copy, text, len);
	return copy;
}

const char *line_name(struct line *l, const char *more)
{
	const char *begin = l->at;
	const char *p = begin;

	if (!is_letter(*p) && !(*p && strchr(more, *p)))
		return NULL;
	while (is_letter(*p) || is_digit(*p) || (*p && strchr(more, *p)))
		/* ".." ends a name, it stands between two. */
		if (*p++ == '.' && *p == '.') {
			p--;
			break;
		}
	if (p == begin)
		return NULL;
	l->at = p;
	return keep_text(begin, (size_t)(p - begin));
}

int line_number(struct line *l, uint64_t *value)
{
	const char *digits = "0123456789abcdef";
	const char *begin = l->at, *d;
	unsigned int base = 10;
	uint64_t v = 0;

	if (line_take(l, "0x") || line_take(l, "0X"))
		base = 16;
	begin = l->at;
	for (; *l->at && (d = strchr(digits, *l->at | 32)); l->at++) {
		uint64_t digit = (uint64_t)(d - digits);

		if (digit >= base)
			break;
		if (v > (UINT64_MAX - digit) / base)
			return line_error(l,
					  "a number has 64 bits at the most");
		v = v * base + digit;
	}
	if (l->at == begin || is_letter(*l->at) || is_digit(*l->at))
		return line_error(l, "\"%.20s\" is no number: say 10 or 0x10",
				  begin);
	*value = v;
	return 0;
}

int line_symbol(struct line *l, uint64_t *address)
{
	const char *name = line_name(l, ".");
	int ret = name ? symbols_resolve(name, address) : -EINVAL;

	if (!ret)
		return 0;
	if (!name)
		return line_error(l, "a symbol's name has to be at \"%.20s\"",
				  l->at);
	if (ret == -ENOTUNIQ)
		return line_error(
			l,
			"the symbol %s is there more than once: say the address of the one that you mean",
			name);
	return line_error(
		l,
		"there is no symbol %s: name a file that has it with symbols=FILE",
		name);
}

/* Up to the next blank. */
static const char *line_word(struct line *l)
{
	size_t len = strcspn(l->at, " \t");
	const char *word = keep_text(l->at, len);

	l->at += len;
	line_blanks(l);
	return word;
}

/* ---- KIND NAME PLACE ---- */

static int parse_kind(struct line *l)
{
	static const char *const kinds[] = {
		[PROBE_EXEC] = "exec",
		[PROBE_READ] = "read",
		[PROBE_WRITE] = "write",
		[PROBE_ACCESS] = "access",
	};
	const char *word = line_word(l);

	for (unsigned int i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (!strcmp(word, kinds[i])) {
			l->probe->kind = (enum probe_kind)i;
			return 0;
		}
	}
	return line_error(
		l, "%.40s is no kind of probe: exec, read, write or access",
		word);
}

static int parse_probe_name(struct line *l)
{
	const char *word = line_name(l, "-.");

	if (!word || strlen(word) > NAME_MAX_LEN ||
	    (*l->at && *l->at != ' ' && *l->at != '\t'))
		return line_error(
			l,
			"behind the kind comes the probe's name: up to %u letters, digits, _ - .",
			NAME_MAX_LEN);
	l->probe->name = word;
	line_blanks(l);
	return 0;
}

/* "+OFF" behind a symbol, if it is there. */
static int parse_offset(struct line *l, uint64_t *address)
{
	uint64_t off;

	if (!line_take(l, "+"))
		return 0;
	if (line_number(l, &off))
		return -EINVAL;
	*address += off;
	return 0;
}

/*
 * Behind "..": what is no address of its own counts from @base, a symbol's or
 * where the range begins.
 */
static int parse_end(struct line *l, uint64_t base, bool symbol)
{
	uint64_t v;

	if (is_letter(*l->at)) {
		if (!symbol)
			return line_error(
				l,
				"a range that begins with a number ends with one, not with \"%.20s\"",
				l->at);
		if (line_symbol(l, &v))
			return -EINVAL;
		if (symbols_moved(v) != l->probe->moved)
			return line_error(
				l,
				"the range's end does not move with its beginning");
		l->probe->to = v;
		return parse_offset(l, &l->probe->to);
	}
	if (line_take(l, "+"))
		symbol = true;
	if (line_number(l, &v))
		return -EINVAL;
	l->probe->to = symbol ? base + v : v;
	return 0;
}

static int parse_range(struct line *l)
{
	struct probe *p = l->probe;
	uint64_t base;
	bool symbol = is_letter(*l->at) || *l->at == '.';

	if (symbol && p->space != SPACE_VIRTUAL)
		return line_error(
			l,
			"behind phys: and port: comes a number, not \"%.20s\"",
			l->at);
	if (symbol) {
		if (line_symbol(l, &base))
			return -EINVAL;
		p->moved = symbols_moved(base);
	} else if (line_number(l, &base)) {
		return -EINVAL;
	}
	p->from = base;
	if (symbol && parse_offset(l, &p->from))
		return -EINVAL;
	p->to = p->from;
	if (line_take(l, "..")) {
		/* base: the symbol, or FROM */
		if (parse_end(l, base, symbol))
			return -EINVAL;
	}
	if (p->to < p->from)
		return line_error(l, "the range ends before it begins");
	if (*l->at && *l->at != ' ' && *l->at != '\t')
		return line_error(
			l,
			"\"%.20s\" is behind the place: an address, SYMBOL, SYMBOL+OFFSET or FROM..TO",
			l->at);
	return 0;
}

static int parse_place(struct line *l)
{
	struct probe *p = l->probe;
	int ret = 0;

	if (!*l->at)
		return line_error(
			l,
			"where? Behind the name comes an address, a symbol, phys:, port: or device:");
	if (line_take(l, "phys:"))
		p->space = SPACE_PHYSICAL;
	else if (line_take(l, "port:"))
		p->space = SPACE_PORT;
	else if (line_take(l, "device:"))
		p->space = SPACE_DEVICE;
	if (p->space != SPACE_VIRTUAL && p->kind == PROBE_EXEC)
		return line_error(
			l,
			"exec takes a virtual address or a symbol; phys:, port: and device: are for read, write and access");
	if (p->space == SPACE_DEVICE) {
		p->device = line_word(l);
		p->to = UINT64_MAX;
		return *p->device
			       ? 0
			       : line_error(l,
					    "device: needs the device's name");
	}
	ret = parse_range(l);
	if (!ret && p->space == SPACE_PORT && p->to > 0xffff)
		ret = line_error(l, "ports are 0 to 0xffff");
	line_blanks(l);
	return ret;
}

/* ---- options and fields ---- */

static int parse_count(struct line *l, const char *name, uint64_t most,
		       uint64_t *value)
{
	if (line_number(l, value))
		return -EINVAL;
	if (!*value || *value > most)
		return line_error(l, "%s= is 1 to %llu", name,
				  (unsigned long long)most);
	return 0;
}

static int parse_rate(struct line *l)
{
	uint64_t v;

	if (parse_count(l, "rate", UINT32_MAX, &v))
		return -EINVAL;
	l->probe->rate = (uint32_t)v;
	return 0;
}

static int parse_as(struct line *l)
{
	if (strcmp(line_word(l), "text"))
		return line_error(l, "as= can only be text");
	l->probe->as_text = true;
	return 0;
}

/* "once" and "quiet": 0, or 1 if @name is neither. */
static int parse_flag(struct line *l, const char *name)
{
	if (!strcmp(name, "once"))
		l->probe->limit = 1;
	else if (!strcmp(name, "quiet"))
		l->probe->quiet = true;
	else
		return 1;
	return 0;
}

static int parse_type(struct line *l, struct probe_field *f)
{
	static const struct {
		const char *name;
		uint8_t size;
	} types[] = {
		{ "u8", 1 }, { "u16", 2 }, { "u32", 4 }, { "u64", 8 },
		{ "s8", 1 }, { "s16", 2 }, { "s32", 4 }, { "s64", 8 },
		{ "x8", 1 }, { "x16", 2 }, { "x32", 4 }, { "x64", 8 },
	};
	const char *said = NULL;

	f->type = expr_text_type(f->value);
	line_blanks(l);
	if (line_take(l, ":")) {
		said = line_name(l, "");
		if (f->type)
			return line_error(l, "%s() has no other type", f->type);
	} else if (f->type) {
		return 0;
	}
	f->type = said ? said : expr_type(f->value);
	for (unsigned int i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (!strcmp(types[i].name, f->type)) {
			f->size = types[i].size;
			return 0;
		}
	}
	return line_error(l, "%s is no type: u8 to u64, s8 to s64, x8 to x64",
			  f->type);
}

/* What every record has, and words of the line, are no names of fields. */
static bool name_is_free(const struct probe *p, const char *name,
			 enum field_use use)
{
	static const char *const ours[] = { "vcpu",  "pc",	"executed",
					    "hit",   "address", "write",
					    "value", "unread",	"limit",
					    "size",  "every",	"rate",
					    "once",  "quiet" };

	for (unsigned int i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (use == FIELD_RECORDED && !strcmp(ours[i], name))
			return false;
	for (unsigned int i = 0; i < p->nr_fields; i++)
		if (!strcmp(p->fields[i].name, name))
			return false;
	return true;
}

/* What a record of text is made of. */
static int check_text_field(struct line *l, const struct probe_field *f)
{
	bool text = !strcmp(f->name, "text");

	if (!text && strcmp(f->name, "pri") && strcmp(f->name, "stamp"))
		return line_error(
			l,
			"as=text takes the fields text, pri and stamp, not %s: say $%s for one that others are computed from",
			f->name, f->name);
	if (text != !f->size)
		return line_error(
			l,
			text ? "the field text has to be str() or bytes()%s"
			     : "the field %s has to be a number",
			text ? "" : f->name);
	return 0;
}

static int add_field(struct line *l, const char *name, enum field_use use)
{
	struct probe *p = l->probe;
	struct probe_field *f = &p->fields[p->nr_fields];
	unsigned int recorded = 0;

	if (p->nr_fields == FIELDS_MAX)
		return line_error(l, "a probe has %u fields at the most",
				  FIELDS_MAX);
	if (use != FIELD_CONDITION && !name_is_free(p, name, use))
		return line_error(l, "there is a %s already", name);
	f->name = name;
	f->use = use;
	f->value = expr_parse(l);
	if (!f->value)
		return -EINVAL;
	if (use != FIELD_RECORDED && expr_text_type(f->value))
		return line_error(l, "%s= has to be a number, not %s()", name,
				  expr_text_type(f->value));
	if (use == FIELD_RECORDED && parse_type(l, f))
		return -EINVAL;
	p->nr_fields++;
	if (use == FIELD_CONDITION)
		p->decided = p->nr_fields;
	for (unsigned int i = 0; i < p->nr_fields; i++)
		recorded += p->fields[i].use == FIELD_RECORDED;
	if (recorded > RECORDED_MAX)
		return line_error(
			l,
			"%u fields of a probe can be recorded; $name= is not",
			RECORDED_MAX);
	return 0;
}

static int parse_one(struct line *l)
{
	bool computed = line_take(l, "$");
	const char *name = line_name(l, "");
	struct probe *p = l->probe;

	if (!name)
		return line_error(
			l, "\"%.20s\" is neither an option nor NAME=EXPRESSION",
			l->at);
	if (!computed && *l->at != '=' && !parse_flag(l, name))
		return 0;
	if (!line_take(l, "="))
		return line_error(
			l,
			"%s is neither an option (once, limit=, every=, rate=, quiet, if=, as=) nor NAME=EXPRESSION",
			name);
	if (computed)
		return add_field(l, name, FIELD_COMPUTED);
	if (!strcmp(name, "limit"))
		return parse_count(l, name, UINT64_MAX - 1, &p->limit);
	if (!strcmp(name, "every"))
		return parse_count(l, name, UINT64_MAX, &p->every);
	if (!strcmp(name, "rate"))
		return parse_rate(l);
	if (!strcmp(name, "as"))
		return parse_as(l);
	if (!strcmp(name, "if"))
		return add_field(l, name, FIELD_CONDITION);
	return add_field(l, name, FIELD_RECORDED);
}

/* What only the whole line shows. */
static int check_line(struct line *l)
{
	const struct probe *p = l->probe;
	bool text = false;
	int ret = 0;

	for (unsigned int i = 0; i < p->nr_fields && !ret; i++) {
		const struct probe_field *f = &p->fields[i];

		if (!p->as_text || f->use != FIELD_RECORDED)
			continue;
		text |= !strcmp(f->name, "text");
		ret = check_text_field(l, f);
	}
	if (!ret && p->as_text && !text)
		ret = line_error(
			l, "as=text needs the field text: text=str(ADDRESS)");
	return ret;
}

static int parse_line(struct line *l)
{
	int ret = parse_kind(l);

	if (!ret)
		ret = parse_probe_name(l);
	if (!ret)
		ret = parse_place(l);
	while (!ret && *l->at) {
		const char *before = l->at;

		ret = parse_one(l);
		/* An expression passes the blanks behind it over. */
		if (!ret && *l->at && !strchr(" \t", *l->at) &&
		    !strchr(" \t", l->at[-1]))
			ret = line_error(
				l,
				"\"%.20s\" cannot be understood behind \"%.*s\"",
				l->at,
				(int)(l->at - before > 40 ? 40
							  : l->at - before),
				before);
		line_blanks(l);
	}
	return ret ? ret : check_line(l);
}

/* ---- files ---- */

/* A line is there, a probe has to come of it. */
static int add_probe(const char *file, unsigned int number, const char *text)
{
	struct probe_field fields[FIELDS_MAX + 1] = { 0 };
	struct probe p = {
		.file = file,
		.line = number,
		.limit = UINT64_MAX,
		.every = 1,
		.fields = fields,
	};
	struct line l = {
		.file = file, .number = number, .at = text, .probe = &p
	};
	struct probe *more;
	int ret;

	if (nr_probes == PROBES_MAX)
		return line_error(&l, "%u probes are the most", PROBES_MAX);
	ret = parse_line(&l);
	if (ret)
		return ret;
	p.fields = probes_keep(p.nr_fields * sizeof(p.fields[0]));
	memcpy(p.fields, fields, p.nr_fields * sizeof(p.fields[0]));
	more = realloc(probes, (nr_probes + 1) * sizeof(*probes));
	if (!more)
		return line_error(&l, "no memory");
	probes = more;
	probes[nr_probes++] = p;
	return 0;
}

/* One line, or several joined by \ at the end, without its comment. */
static char *next_line(char **text, unsigned int *number)
{
	char *line = *text, *out = line, *in = line;
	bool comment = false;

	for (; *in; in++) {
		if (*in == '\n') {
			++*number;
			if (out == line || out[-1] != '\\' || comment) {
				in++;
				break;
			}
			out[-1] = ' ';
			continue;
		}
		if (*in == '#' &&
		    (out == line || out[-1] == ' ' || out[-1] == '\t'))
			comment = true;
		if (!comment && *in != '\r')
			*out++ = *in;
	}
	*text = in;
	if (out < in)
		*out = 0;
	return line;
}

int probes_parse(const char *file, const char *text, size_t len)
{
	char *copy = probes_keep(len + 1);
	unsigned int number = 0;
	int ret = 0;

	memcpy(copy, text, len);
	if (strlen(copy) != len) {
		tell("%s is no text: there is a NUL in it", file);
		return -EINVAL;
	}
	while (*copy && !ret) {
		unsigned int first = number + 1;
		char *line = next_line(&copy, &number);

		line += strspn(line, " \t");
		if (*line)
			ret = add_probe(file, first, line);
	}
	return ret;
}

int probes_load(const char *file)
{
	FILE *f = fopen(file, "re");
	char *text;
	size_t len;
	int ret;

	if (!f) {
		ret = -errno;
		tell("cannot open %s: %s", file, strerror(-ret));
		return ret;
	}
	text = probes_keep(FILE_MAX + 1);
	errno = 0;
	len = fread(text, 1, FILE_MAX + 1, f);
	ret = ferror(f) ? -(errno ? errno : EIO) : 0;
	fclose(f);
	if (ret)
		tell("cannot read %s: %s", file, strerror(-ret));
	else if (len > FILE_MAX)
		ret = -EFBIG;
	if (ret == -EFBIG)
		tell("%s has more than %u bytes: that is no file of probes",
		     file, FILE_MAX);
	return ret ? ret : probes_parse(file, text, len);
}
