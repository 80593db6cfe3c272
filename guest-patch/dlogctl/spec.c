// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * spec.c - 'NAME WHERE ARGS' of a user in the words of the kernel
 * (Documentation/trace/kprobetrace.rst, uprobetracer.rst).
 *
 *	WHERE                    FUNC[+OFF], FUNC%return, MODULE:FUNC,
 *	                         /path/prog:SYMBOL[+OFF][%return], :0xOFFSET
 *	ARG                      [NAME=]VALUE[:TYPE]
 *
 * What is added to the kernel's language: arg1 to arg6 and ret, with or
 * without '$', also where the kernel has no word for them (uprobes); their
 * own names where none is given; a string is what a value points to.  All
 * else is the kernel's, and is handed on as it is.
 */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

struct place {
	bool user, at_return, inside; /* inside: not at the first instruction */
	int machine; /* of a program */
	char text[PATH_MAX + 64]; /* in the kernel's words */
};

/* A line that grows; full is sticky. */
struct line {
	char *to;
	size_t len, size;
	bool full;
};

static void put(struct line *l, const char *text, size_t n)
{
	if (l->size - l->len <= n) {
		l->full = true;
		return;
	}
	memcpy(l->to + l->len, text, n);
	l->len += n;
	l->to[l->len] = '\0';
}

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

static size_t word_len(const char *text)
{
	size_t n = 0;

	if (isdigit((unsigned char)*text))
		return 0;
	while (is_word(text[n]))
		n++;
	return n;
}

const char *spec_name(const char *text)
{
	if (!strncmp(text, "dlog:", 5) || !strncmp(text, "dlog/", 5))
		text += 5;
	if (!*text || text[word_len(text)] || strlen(text) >= PROBE_NAME)
		return NULL;
	return text;
}

/* ---- where ---- */

/* Cuts "%return" and "+OFF" off @text. */
static int place_suffix(char *text, struct place *p, char **offset,
			struct dlog_error *err)
{
	char *at = strrchr(text, '%'), *end;

	if (at && strcmp(at, "%return"))
		return fail(err, -EINVAL,
			    "'%s': behind a function there may be %%return, "
			    "not '%s'",
			    text, at);
	if (at) {
		p->at_return = true;
		*at = '\0';
	}
	*offset = strrchr(text, '+');
	if (!*offset)
		return 0;
	**offset = '\0';
	++*offset;
	errno = 0;
	p->inside = strtoul(*offset, &end, 0);
	if (!isdigit((unsigned char)**offset) || *end || errno)
		return fail(err, -EINVAL, "'+%s' is no offset in a function",
			    *offset);
	if (p->inside && p->at_return)
		return fail(err, -EINVAL,
			    "%%return is of a whole function: no +%s", *offset);
	return 0;
}

static int place_user(char *text, struct place *p, struct dlog_error *err)
{
	char path[PATH_MAX], *symbol = strrchr(text, ':'), *offset, *end;
	uint64_t at = 0;
	int ret;

	if (!symbol || symbol < strrchr(text, '/') || !symbol[1])
		return fail(err, -EINVAL,
			    "'%s': behind a program there must be :SYMBOL or "
			    ":0xOFFSET",
			    text);
	*symbol++ = '\0';
	if (!realpath(text, path))
		return fail(err, -errno, "%s: %s", text, strerror(errno));
	if (strpbrk(path, " \t\n#"))
		return fail(err, -EINVAL,
			    "'%s': the kernel takes no path with blanks or "
			    "'#': make a hard link to it",
			    path);
	ret = place_suffix(symbol, p, &offset, err);
	if (ret)
		return ret;
	if (isdigit((unsigned char)*symbol)) {
		at = strtoull(symbol, &end, 0);
		if (*end)
			return fail(err, -EINVAL, "'%s' is no offset in %s",
				    symbol, path);
		/* A file that cannot be read so has registers, no arguments. */
		if (elf_find(path, NULL, NULL, &p->machine, err))
			p->machine = 0;
	} else {
		ret = elf_find(path, symbol, &at, &p->machine, err);
		if (ret)
			return ret;
	}
	at += offset ? strtoul(offset, NULL, 0) : 0;
	snprintf(p->text, sizeof(p->text), "%s:0x%llx", path,
		 (unsigned long long)at);
	return 0;
}

static int place_parse(char *text, struct place *p, struct dlog_error *err)
{
	char *offset;
	int ret;

	p->user = strchr(text, '/');
	if (p->user)
		return place_user(text, p, err);
	ret = place_suffix(text, p, &offset, err);
	if (ret)
		return ret;
	if (!*text)
		return fail(err, -EINVAL, "a probe needs a function");
	snprintf(p->text, sizeof(p->text), p->inside ? "%s+%s" : "%s", text,
		 offset);
	return 0;
}

/* ---- arguments ---- */

/* The register of argument @n, 1 to 6, at the entry of a program's function. */
static const char *argument_register(int machine, int n)
{
	static const char x86[][4] = {
		"%di", "%si", "%dx", "%cx", "%r8", "%r9"
	};
	static const char arm[][4] = {
		"%x0", "%x1", "%x2", "%x3", "%x4", "%x5"
	};

	if (machine == MACHINE_X86_64)
		return x86[n - 1];
	if (machine == MACHINE_AARCH64)
		return arm[n - 1];
	return NULL;
}

/* Is @word, of @n bytes, the Nth argument, or (0) what is returned?  Else -1. */
static int friendly(const char *word, size_t n)
{
	if (n == 4 && !strncmp(word, "arg", 3) && word[3] >= '1' &&
	    word[3] <= '9')
		return word[3] - '0';
	if ((n == 3 && !strncmp(word, "ret", 3)) ||
	    (n == 6 && !strncmp(word, "retval", 6)))
		return 0;
	return -1;
}

static int put_friendly(struct line *l, const struct place *p, int n,
			struct dlog_error *err)
{
	const char *reg;
	char word[8];

	if (!n) {
		if (!p->at_return)
			return fail(err, -EINVAL,
				    "ret is known at %%return alone: "
				    "FUNC%%return");
		put(l, "$retval", 7);
		return 0;
	}
	if (p->inside)
		return fail(err, -EINVAL,
			    "arg%d is known at a function's entry, not inside "
			    "it: name a register, as %%di",
			    n);
	if (n > 6)
		return fail(err, -EINVAL,
			    "only arg1 to arg6 are in registers, not arg%d", n);
	if (!p->user) {
		snprintf(word, sizeof(word), "$arg%d", n);
		put(l, word, strlen(word));
		return 0;
	}
	if (p->at_return)
		return fail(err, -EINVAL,
			    "arg%d is gone when the function returns: probe "
			    "its entry, too",
			    n);
	reg = argument_register(p->machine, n);
	if (!reg)
		return fail(err, -EINVAL,
			    "where this program has arg%d is not known: name "
			    "a register",
			    n);
	put(l, reg, strlen(reg));
	return 0;
}

/* A value, arg1 and ret in it replaced wherever they stand. */
static int put_value(struct line *l, const struct place *p, const char *value,
		     size_t len, struct dlog_error *err)
{
	size_t n, dollar;
	int which, ret;

	for (size_t i = 0; i < len; i += dollar + n) {
		dollar = value[i] == '$';
		n = word_len(value + i + dollar);
		if (n > len - i - dollar)
			n = len - i - dollar;
		/* %reg, @symbol, and members of what the kernel's BTF names */
		which = !n || (i && !dollar && strchr("%@.>", value[i - 1]))
				? -1
				: friendly(value + i + dollar, n);
		if (!n && !dollar)
			n = 1 + (isdigit((unsigned char)value[i])
					 ? strspn(value + i + 1,
						  "0123456789abcdefABCDEFx")
					 : 0);
		if (n > len - i - dollar)
			n = len - i - dollar;
		if (which < 0) {
			put(l, value + i, dollar + n);
			continue;
		}
		ret = put_friendly(l, p, which, err);
		if (ret)
			return ret;
	}
	return 0;
}

/* The name of an argument that has none: 0, or its bytes, in @from. */
static size_t own_name(const char *value, size_t len, const char **from)
{
	size_t n;

	*from = value;
	if (len && (*value == '$' || *value == '%')) {
		++*from;
		len--;
	}
	n = word_len(*from);
	return n && n == len ? n : 0;
}

static bool is_string(const char *type)
{
	size_t n = word_len(type);

	return (n == 6 && !strncmp(type, "string", n)) ||
	       (n == 7 && !strncmp(type, "ustring", n));
}

static int put_argument(struct line *l, const struct place *p, const char *arg,
			struct dlog_error *err)
{
	size_t n = word_len(arg), len;
	const char *value = arg, *type, *name;
	bool pointer;
	int ret;

	put(l, " ", 1);
	if (n && arg[n] == '=')
		value = arg + n + 1;
	type = strrchr(value, ':');
	len = type ? (size_t)(type - value) : strlen(value);
	if (!len)
		return fail(err, -EINVAL,
			    "'%s' is no argument: [NAME=]VALUE"
			    "[:TYPE]",
			    arg);
	if (value != arg) {
		put(l, arg, n + 1);
	} else {
		n = own_name(value, len, &name);
		if (!n && strchr("+-@\\", *value))
			return fail(err, -EINVAL, "'%s' needs a name: NAME=%s",
				    arg, arg);
		/* What the kernel's BTF names has its name there. */
		if (n && (name != value || friendly(name, n) >= 0)) {
			put(l, name, n);
			put(l, "=", 1);
		}
	}
	pointer = type && is_string(type + 1) && strncmp(value, "$comm", len) &&
		  (*value == '%' || *value == '$' || friendly(value, len) >= 0);
	if (pointer)
		put(l, "+0(", 3);
	ret = put_value(l, p, value, len, err);
	if (ret)
		return ret;
	if (pointer)
		put(l, ")", 1);
	if (type)
		put(l, type, strlen(type));
	return 0;
}

int spec_parse(const char *text, struct spec *s, struct dlog_error *err)
{
	static const char blank[] = " \t";
	struct line l = { s->line, 0, sizeof(s->line), false };
	char copy[PROBE_LINE], *next, *word;
	struct place p = { 0 };
	const char *name;
	int ret;

	if (strlen(text) >= sizeof(copy) || strpbrk(text, "\n;#"))
		return fail(err, -EINVAL,
			    "a probe is one line of at most %d bytes, without "
			    "';' and '#'",
			    PROBE_LINE - 1);
	strcpy(copy, text);
	word = strtok_r(copy, blank, &next);
	name = word ? spec_name(word) : NULL;
	if (!name)
		return fail(err, -EINVAL,
			    "'%s' is no name of a probe: letters, digits and "
			    "'_', at most %d",
			    word ? word : "", PROBE_NAME - 1);
	strcpy(s->name, name);
	word = strtok_r(NULL, blank, &next);
	if (!word)
		return fail(err, -EINVAL,
			    "probe %s has no place: 'NAME FUNC[+OFF] ARGS', "
			    "dlogctl probe --help",
			    s->name);
	ret = place_parse(word, &p, err);
	if (ret)
		return ret;
	l.len = (size_t)snprintf(s->line, sizeof(s->line), "%c:dlog/%s %s",
				 p.at_return ? 'r' : 'p', s->name, p.text);
	if (l.len >= l.size)
		return fail(err, -E2BIG, "probe %s is too long", s->name);
	while (!ret && (word = strtok_r(NULL, blank, &next)))
		ret = put_argument(&l, &p, word, err);
	if (!ret && l.full)
		ret = fail(err, -E2BIG, "probe %s is too long", s->name);
	return ret;
}
