// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * symload.c - what the QEMU plugin makes of files of symbols, without QEMU.
 *
 *	symload FILE			how many symbols, or a sentence
 *	symload FILE COUNT SEED		COUNT damaged copies of it instead
 *
 * A damaged copy that loads is asked, is searched for a kernel that calls
 * anything, and is met by a catalog of damaged records.  To be built with the
 * sanitizers.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "symbols/symbols.h"

struct plugin plugin = { .x86 = true };
static bool quiet;
static uint64_t rng;

static uint64_t next(uint64_t below)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return below ? (rng >> 11) % below : 0;
}

/* ---- the rest of the plugin ---- */

void tell(const char *format, ...)
{
	va_list ap;

	if (quiet)
		return;
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
}

void record_say(uint32_t level, const char *format, ...)
{
	(void)level;
	(void)format;
}

uint32_t record_boot(void)
{
	return 1;
}

#define KEPT 64
static struct {
	uint32_t type, len;
	uint8_t data[1024];
} kept[KEPT];
static unsigned int nr_kept;

int record_catalog(uint32_t type, const void *data, uint32_t len)
{
	if (nr_kept == KEPT)
		return -ENOSPC;
	if (len > sizeof(kept[0].data))
		abort();
	kept[nr_kept].type = type;
	kept[nr_kept].len = len;
	memcpy(kept[nr_kept++].data, data, len);
	return 0;
}

/* What was appended for the copy before, damaged. */
int record_catalog_each(void (*each)(uint32_t type, const void *data,
				     uint32_t len))
{
	for (unsigned int i = 0; i < nr_kept; i++) {
		uint32_t len = kept[i].len;
		uint8_t *copy = malloc(len ? len : 1);

		memcpy(copy, kept[i].data, len);
		if (len && !next(3))
			copy[next(len)] = (uint8_t)next(256);
		if (!next(5))
			len = (uint32_t)next(len);
		each(kept[i].type + (uint32_t)next(2), copy, len);
		free(copy);
	}
	nr_kept = 0;
	return 0;
}

/* ---- damage ---- */

static void use(struct symbol_file *f)
{
	uint64_t slide = 0, addr;

	names_start(f, 1);
	names_base(f, 0);
	slide_start(f);
	for (int i = 0; i < 200; i++) {
		struct symbol *s = &f->sym[next(f->nr)];

		addr = next(2) ? s->addr + next(64) : next(UINT64_MAX);
		table_entry(f, addr);
		table_find(f, symbol_name(f, s), strlen(symbol_name(f, s)),
			   &addr);
		if (f->moves && i < 30)
			slide_called(s->addr + (next(4) << 21), &slide);
		s = table_at(f, addr);
		if (s && !s->said)
			names_say(f, s);
	}
	names_gone(f);
}

static size_t damage(uint8_t *p, size_t size)
{
	unsigned int n = 1 + (unsigned int)next(next(2) ? 3 : 40);

	while (n--) {
		/* Headers are at the beginning of it or at its end. */
		size_t near = next(2) ? next(size < 4096 ? size : 4096)
				      : next(size);
		size_t at = next(2) ? near : size - 1 - near;

		p[at] = next(2) ? (uint8_t)next(256)
				: (uint8_t)(p[at] ^ 1u << next(8));
	}
	return next(4) ? size : (size_t)next(size + 1);
}

static int load_copy(const uint8_t *from, size_t size)
{
	struct symbol_file f = { .path = NULL };
	int fd = memfd_create("damaged", MFD_CLOEXEC);
	uint8_t *copy = malloc(size);
	char path[64];
	int ret;

	memcpy(copy, from, size);
	size = damage(copy, size);
	if (fd < 0 || write(fd, copy, size) != (ssize_t)size) {
		perror("memfd");
		exit(1);
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ret = file_load(&f, path);
	if (!ret)
		use(&f);
	table_free(&f);
	free(copy);
	close(fd);
	return ret;
}

static int campaign(const char *path, unsigned long count)
{
	int fd = open(path, O_RDONLY);
	unsigned long loaded = 0;
	struct stat st;
	uint8_t *p;

	if (fd < 0 || fstat(fd, &st) || st.st_size < 16)
		return 1;
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return 1;
	quiet = true;
	for (unsigned long i = 0; i < count; i++)
		loaded += !load_copy(p, (size_t)st.st_size);
	printf("%lu of %lu loaded\n", loaded, count);
	return 0;
}

int main(int argc, char **argv)
{
	struct symbol_file f = { .path = NULL };
	int ret;

	if (argc == 4) {
		rng = strtoull(argv[3], NULL, 0) * 0x9e3779b97f4a7c15u + 1;
		return campaign(argv[1], strtoul(argv[2], NULL, 0));
	}
	if (argc != 2) {
		fprintf(stderr, "usage: symload FILE [COUNT SEED]\n");
		return 2;
	}
	ret = file_load(&f, argv[1]);
	if (!ret)
		printf("%u symbols in %u parts%s\n", f.nr, f.nr_parts,
		       f.moves ? ", a kernel that moves" : "");
	table_free(&f);
	return ret ? 1 : 0;
}
