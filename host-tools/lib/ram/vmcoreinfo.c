// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * vmcoreinfo.c - the page of text in which a kernel describes itself.
 *
 * A line for each fact, "KEY=VALUE" (kernel/crash_core.c of Linux 5.10 to
 * 6.7, kernel/vmcore_info.c since; arch/x86/kernel/crash_core_64.c and
 * vmcore_info_64.c).  Addresses are hexadecimal, other numbers decimal.  It
 * begins with OSRELEASE; a copy is the descriptor of an ELF note.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ram.h"

#define BEGIN "OSRELEASE="
/* namesz, descsz, type and the name, padded (elf(5)). */
#define NOTE_NAME "VMCOREINFO"
#define NOTE_HEAD 24u

#define UTS_FIELD 65u /* __NEW_UTS_LEN + 1 */

struct note {
	uint32_t namesz, descsz, type;
	char name[12];
};

static bool is_note(const struct note *n)
{
	return n->namesz == sizeof(NOTE_NAME) && !n->type &&
	       !memcmp(n->name, NOTE_NAME, sizeof(NOTE_NAME)) &&
	       n->descsz <= RAM_INFO_MAX;
}

bool ram_info_load(struct dlog *d, uint64_t off, struct ram_info *info)
{
	size_t len = RAM_INFO_MAX;
	struct note note;

	if (dlog_fetch(d, off, &note, sizeof(note)))
		return false;
	if (is_note(&note)) {
		len = note.descsz;
		off += NOTE_HEAD;
	}
	if (len > d->size - off)
		len = d->size - off;
	if (dlog_fetch(d, off, info->text, len))
		return false;
	info->offset = off;
	/* What is no text any more is damaged, or the end. */
	for (info->len = 0; info->len < len; info->len++) {
		unsigned char c = (unsigned char)info->text[info->len];

		if (c != '\n' && (c < 0x20 || c > 0x7e))
			break;
	}
	info->text[info->len] = 0;
	return !strncmp(info->text, BEGIN, sizeof(BEGIN) - 1);
}

/* Behind the "=" of @name, or NULL. */
static const char *info_find(const struct dlog_ram *ram, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = ram->info.text; p; p = strchr(p, '\n')) {
		p += *p == '\n';
		if (!strncmp(p, name, len) && p[len] == '=')
			return p + len + 1;
	}
	return NULL;
}

bool ram_info_text(const struct dlog_ram *ram, const char *name, char *value,
		   size_t size)
{
	const char *p = info_find(ram, name);
	size_t len = p ? strcspn(p, "\n") : 0;

	if (!p || len >= size)
		return false;
	memcpy(value, p, len);
	value[len] = 0;
	return true;
}

const char *dlog_ram_vmcoreinfo(struct dlog_ram *ram, size_t *len,
				uint64_t *phys)
{
	*len = ram->info.len;
	*phys = ram_phys(ram, ram->info.offset);
	return ram->info.text;
}

int dlog_ram_vmcoreinfo_get(struct dlog_ram *ram, const char *name,
			    uint64_t *value)
{
	bool hex = !strncmp(name, "SYMBOL(", 7) ||
		   !strcmp(name, "KERNELOFFSET");
	const char *p = info_find(ram, name);
	char *end;

	if (!p)
		return 0;
	errno = 0;
	*value = *p == '-' && !hex ? (uint64_t)strtoll(p, &end, 10)
				   : strtoull(p, &end, hex ? 16 : 10);
	return !errno && end != p && (*end == '\n' || !*end);
}

/* ---- the kernel ---- */

static uint64_t get_or(struct dlog_ram *ram, const char *name, uint64_t other)
{
	uint64_t value;

	return dlog_ram_vmcoreinfo_get(ram, name, &value) ? value : other;
}

int ram_kernel_load(struct dlog_ram *ram)
{
	struct dlog_ram_kernel *k = &ram->kernel;
	uint64_t top, off;

	memset(k, 0, sizeof(*k));
	ram->banner_sought = false;
	ram->linear = false;
	ram_forget(ram);
	if (!ram_info_text(ram, "OSRELEASE", k->release, sizeof(k->release)) ||
	    !dlog_ram_vmcoreinfo_get(ram, "NUMBER(phys_base)", &k->phys_base) ||
	    !dlog_ram_vmcoreinfo_get(ram, "SYMBOL(swapper_pg_dir)", &top))
		return -ENXIO;
	k->offset = get_or(ram, "KERNELOFFSET", 0);
	k->levels = get_or(ram, "NUMBER(pgtable_l5_enabled)", 0) ? 5 : 4;
	k->page_table = top - RAM_KERNEL_MAP + k->phys_base;
	if (top < RAM_KERNEL_MAP || k->page_table % RAM_PAGE ||
	    !ram_together(ram, k->page_table, &off))
		return -ENXIO;
	return 0;
}

void ram_uts(struct dlog_ram *ram, uint32_t n, char out[65])
{
	uint64_t at;

	*out = 0;
	if (dlog_ram_vmcoreinfo_get(ram, "SYMBOL(init_uts_ns)", &at) &&
	    !dlog_ram_read(ram,
			   at + get_or(ram, "OFFSET(uts_namespace.name)", 0) +
				   n * UTS_FIELD,
			   out, UTS_FIELD))
		out[UTS_FIELD - 1] = 0;
	else
		*out = 0;
}

/* ---- the banner ---- */

/*
 * linux_banner: "Linux version RELEASE (...) ... VERSION\n", VERSION as in
 * init_uts_ns (init/version-timestamp.c; in version.c before Linux 6.1).
 */
static bool banner_at(const char *p, size_t len, const char *head,
		      const char *version, char *out, size_t size)
{
	const char *end = memchr(p, '\n', len < size ? len : size);
	size_t n = end ? (size_t)(end - p) : 0, v = strlen(version);

	if (n <= strlen(head) + v || memcmp(end - v, version, v) ||
	    memchr(p, 0, n))
		return false;
	memcpy(out, p, n);
	out[n] = 0;
	return true;
}

#define BLOCK (64u << 10)

/* In the kernel's image, in blocks that overlap by the longest banner. */
static void banner_find(struct dlog_ram *ram, uint64_t from)
{
	struct dlog_ram_kernel *k = &ram->kernel;
	const size_t over = sizeof(k->banner);
	char head[96], version[65], *buf = malloc(BLOCK);
	uint64_t phys, size;

	snprintf(head, sizeof(head), "Linux version %s (", k->release);
	ram_uts(ram, 3, version);
	for (uint64_t at = from;
	     buf && !dlog_ram_translate(ram, at, &phys, &size);
	     at += BLOCK - over) {
		const char *p = buf;

		if (at - from >= 1u << 30 || dlog_ram_read(ram, at, buf, BLOCK))
			break;
		while ((p = memmem(p, (size_t)(buf + BLOCK - p), head,
				   strlen(head)))) {
			if (banner_at(p, (size_t)(buf + BLOCK - p), head,
				      version, k->banner, sizeof(k->banner)))
				goto out;
			p++;
		}
	}
out:
	free(buf);
}

void dlog_ram_get_kernel(struct dlog_ram *ram, struct dlog_ram_kernel *k)
{
	uint64_t text;

	if (!ram->banner_sought &&
	    dlog_ram_vmcoreinfo_get(ram, "SYMBOL(_stext)", &text))
		banner_find(ram, text);
	ram->banner_sought = true;
	*k = ram->kernel;
	ram_kernel_fill(ram, k);
}
