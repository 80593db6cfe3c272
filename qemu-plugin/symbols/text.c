// SPDX-License-Identifier: GPL-2.0-only
/*
 * text.c - symbols as nm(1) and the kernel print them.
 *
 * System.map: Linux 6.1 scripts/mksysmap, "ADDRESS TYPE NAME".  /proc/kallsyms
 * (kernel/kallsyms.c, s_show()): the same, and a tab and "[MODULE]" behind
 * those of modules, which lie elsewhere in each boot and are passed over.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "symbols.h"

#define LINE_MAX_ 1024u

struct line {
	uint64_t addr;
	char type;
	const char *name;
	size_t len;
	bool module;
};

/* False: that is no such line. */
static bool parse(char *text, struct line *l)
{
	char *end;

	if (!strchr("0123456789abcdefABCDEF", *text))
		return false;
	l->addr = strtoull(text, &end, 16);
	if (end == text || end - text > 16 || end[0] != ' ' || end[1] <= ' ' ||
	    end[1] > '~' || end[2] != ' ')
		return false;
	l->type = end[1];
	l->name = end += 3;
	while (*end > ' ' && *end <= '~')
		end++;
	l->len = (size_t)(end - l->name);
	l->module = end[0] == '\t' && end[1] == '[';
	return l->len && l->len <= SYMBOL_NAME_MAX && (!*end || l->module);
}

/* What bounds a section is no good name for what begins there. */
static unsigned int rank_of(const struct line *l)
{
	bool global = l->type == 'T' || l->type == 'D' || l->type == 'B' ||
		      l->type == 'R';
	bool bound = *l->name == '_' || !strncmp(l->name, "start_", 6);

	return (bound ? 2u : 0u) + (global ? 0u : 1u);
}

static int bad_line(const struct symbol_file *f, unsigned int n)
{
	tell("%s:%u: neither an ELF file nor a line \"ADDRESS TYPE NAME\" as System.map and /proc/kallsyms have them",
	     f->path, n);
	return -EINVAL;
}

static int read_lines(struct symbol_file *f, FILE *in, bool *hidden)
{
	char text[LINE_MAX_];
	unsigned int n = 0;

	*hidden = true;
	while (fgets(text, sizeof(text), in)) {
		size_t len = strlen(text);
		struct line l;
		int ret;

		n++;
		if (len && text[len - 1] == '\n')
			text[--len] = 0;
		else if (!feof(in))
			return bad_line(f, n);
		if (!parse(text, &l))
			return bad_line(f, n);
		if (l.addr)
			*hidden = false;
		if (l.module || l.type == 'U')
			continue;
		ret = table_add(f, l.addr, 0, l.name, l.len,
				strchr("tTwWi", l.type) != NULL, rank_of(&l));
		if (ret) {
			tell("%s:%u: %s", f->path, n,
			     ret == -ENOMEM
				     ? "no memory for its symbols"
				     : "more symbols than any kernel has");
			return ret;
		}
	}
	if (!ferror(in))
		return 0;
	tell("cannot read %s: %s", f->path, strerror(errno));
	return -EIO;
}

int text_load(struct symbol_file *f, FILE *in)
{
	bool hidden;
	int ret = read_lines(f, in, &hidden);

	if (ret)
		return ret;
	if (!f->nr) {
		tell("%s has no symbols", f->path);
		return -EINVAL;
	}
	if (hidden) {
		tell("%s: all addresses are 0: copy /proc/kallsyms as root, with kernel.kptr_restrict at 0 or 1",
		     f->path);
		return -EINVAL;
	}
	return 0;
}
