// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * symbols.c - a kernel's symbols as a System.map: "ADDRESS TYPE NAME", by
 * address, as linked (Linux 6.1 scripts/mksysmap).
 */
#include <inttypes.h>
#include <string.h>

#include "core.h"
#include "text.h"

static int put(void *arg, const struct dlog_kernel_symbol *s)
{
	struct sink *out = arg;
	char type = s->type > ' ' && s->type <= '~' ? s->type : '?';

	sink_printf(out, "%016" PRIx64 " %c ", s->address, type);
	text_put(out, s->name, strlen(s->name), 0);
	sink_putc(out, '\n');
	return out->error;
}

int symbols_of_kernel(const char *path, const uint8_t *vmlinux, size_t size,
		      struct sink *out, struct dlog_error *err)
{
	struct dlog_error why = { .text = "" };
	int ret = dlog_vmlinux_each_symbol(vmlinux, size, put, out, &why);

	if (!ret)
		return 0;
	return fail(err, ret, "%s: no symbols: %s.", path,
		    *why.text ? why.text : strerror(-ret));
}

int symbols_of_guest(const char *path, struct dlog_ram *ram, struct sink *out,
		     struct dlog_error *err)
{
	int ret = dlog_ram_each_symbol(ram, put, out);

	if (!ret)
		return 0;
	return fail(err, ret, "%s: no symbols: %s", path,
		    *dlog_ram_why(ram) ? dlog_ram_why(ram) : strerror(-ret));
}
