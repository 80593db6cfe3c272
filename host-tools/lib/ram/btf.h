/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * btf.h - layouts of structures out of BTF, the kernel's type information.
 *
 * Any bytes may be given to it: a guest wrote them.  Relies on dlog_ram.h
 * alone.
 */
#ifndef LIBDLOG_RAM_BTF_H
#define LIBDLOG_RAM_BTF_H

#include <stddef.h>
#include <stdint.h>

#include "dlog_ram.h"

struct btf {
	uint8_t *data; /* all of it, or NULL */
	const uint8_t *types;
	const char *names;
	uint32_t names_len; /* the last of them is NUL */
	uint32_t *type; /* offset in types by id - 1 */
	uint32_t nr;
	uint32_t *named; /* ids of structures, unions and typedefs, by name */
	uint32_t nr_named;
};

/*
 * Take @len bytes from malloc(); they are freed with @b, and also when this
 * fails: -EBADMSG (no BTF) or -ENOMEM.
 */
int btf_init(struct btf *b, uint8_t *data, size_t len);
void btf_free(struct btf *b);
/* As dlog_ram_member() and dlog_ram_sizeof(). */
int btf_member(const struct btf *b, const char *type, const char *path,
	       struct dlog_ram_member *m);
int64_t btf_sizeof(const struct btf *b, const char *type);

#endif
