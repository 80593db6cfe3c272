// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * mutate_ram.c - libdlog on damaged RAM files, many times.
 *
 *	mutate_ram [--count=N] [--seed=N] FILE OFFSET:SIZE...
 *
 * FILE is a guest's RAM (ramimage.py makes one, or a real guest's is taken);
 * the parts are where damage matters: page tables, VMCOREINFO, the log.  Each
 * time a few bytes, words, or pages there are damaged, also as an attacker
 * would who knows the format, and everything is read.  It must not crash (run
 * it with sanitizers), what is counted must be what is given out, and the time
 * is linear in the size of the file.
 */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "../fuzz/run.h"
#include "dlog_ram.h"

#define PAGE 4096u
#define PARTS_MAX 64u
#define CHANGES 6u
/* CPU time with sanitizers: for each page, and for a small file */
#define NS_PER_PAGE 200000ull
#define NS_ALWAYS 500000000ull

struct part {
	uint64_t off, size;
};

static uint8_t *mem;
static size_t size;
static struct part part[PARTS_MAX];
static uint32_t parts;
/* Pages as they were, to be put back. */
static struct {
	uint64_t off;
	uint8_t data[PAGE];
} kept[CHANGES * 4];
static uint32_t nr_kept;

static uint64_t rng;

static uint64_t rnd(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng * 0x2545f4914f6cdd1dull >> 1;
}

static uint64_t below(uint64_t n)
{
	return n ? rnd() % n : 0;
}

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ---- damage ---- */

static uint64_t place(void)
{
	const struct part *p = &part[below(parts)];

	return p->off + below(p->size);
}

/* The page of @off may be changed from now on. */
static uint8_t *page_at(uint64_t off)
{
	off &= ~(uint64_t)(PAGE - 1);
	for (uint32_t i = 0; i < nr_kept; i++)
		if (kept[i].off == off)
			return mem + off;
	MUST(nr_kept < sizeof(kept) / sizeof(kept[0]));
	kept[nr_kept].off = off;
	memcpy(kept[nr_kept++].data, mem + off, PAGE);
	return mem + off;
}

static void undo(void)
{
	while (nr_kept--)
		memcpy(mem + kept[nr_kept].off, kept[nr_kept].data, PAGE);
	nr_kept = 0;
}

/* A word that somebody who knows the format would write. */
static uint64_t evil(void)
{
	static const uint64_t v[] = { 0,
				      1,
				      3,
				      8,
				      4095,
				      UINT64_C(1) << 30,
				      UINT64_C(1) << 32,
				      UINT64_C(1) << 62,
				      UINT64_MAX / 2,
				      0xffffffff80000000,
				      UINT64_MAX - 7,
				      UINT64_MAX };
	uint64_t word;

	switch (below(4)) {
	case 0:
		return v[below(sizeof(v) / sizeof(v[0]))];
	case 1: /* the entry of a page table, of any size */
		return (place() & ~(uint64_t)(PAGE - 1)) | 0x63 |
		       (below(4) ? 0 : 0x80);
	case 2: /* what stands elsewhere, a little off */
		memcpy(&word, mem + (place() & ~7ull), 8);
		return word + below(17) - 8;
	}
	return rnd() << 1 ^ rnd();
}

static void damage(void)
{
	uint64_t at = place() & ~7ull, word = evil();
	uint8_t *page = page_at(at), *p = mem + at;

	switch (below(8)) {
	case 0:
		*p ^= (uint8_t)(1u << below(8));
		return;
	case 1: /* one letter or digit of a text */
		p = mem + (at | below(8));
		*p = (uint8_t) "0123456789abcdef-=\n)"[below(20)];
		return;
	case 2: /* all entries the same: tables that hold themselves */
		for (uint32_t i = 0; i < PAGE; i += 8)
			memcpy(page + i, &word, 8);
		return;
	case 3:
		for (uint32_t i = 0; i < PAGE; i++)
			page[i] = (uint8_t)rnd();
		return;
	case 4:
		memmove(page, mem + (place() & ~(uint64_t)(PAGE - 1)), PAGE);
		return;
	default:
		memcpy(p, &word, 8);
	}
}

/* ---- everything that is read ---- */

static int map_seen(void *arg, const struct dlog_ram_mapping *m)
{
	MUST(m->size && m->addr + (m->size - 1) >= m->addr);
	MUST(m->phys + m->size > m->phys);
	++*(uint64_t *)arg;
	return 0;
}

static void read_memory(struct dlog_ram *ram)
{
	struct dlog_ram_kernel k;
	uint64_t maps = 0, phys, n;
	char text[256];
	size_t len;

	dlog_ram_get_kernel(ram, &k);
	MUST(strnlen(k.banner, sizeof(k.banner)) < sizeof(k.banner));
	MUST(strlen(dlog_ram_vmcoreinfo(ram, &len, &phys)) == len);
	MUST(!dlog_ram_mappings(ram, 0, UINT64_MAX, map_seen, &maps));
	/* Each page of RAM is a table once at most. */
	MUST(maps <= (uint64_t)size / PAGE * 512 * 2);
	for (int i = 0; i < 32; i++) {
		uint64_t addr = below(2) ? evil() : k.page_offset + place();
		int ret = dlog_ram_read_string(ram, addr, text, sizeof(text));

		MUST(ret < (int)sizeof(text));
		MUST(ret < 0 || !text[ret]);
		dlog_ram_read(ram, addr, text, sizeof(text));
		if (!dlog_ram_translate(ram, addr, &phys, &n))
			MUST(n && !dlog_ram_read_phys(ram, phys, text, 1));
	}
}

static uint64_t read_log(struct dlog *d, unsigned int flags)
{
	struct dlog_reader *r;
	struct dlog_error err;
	struct dlog_entry e;
	uint64_t got = 0;
	char text[512];
	int ret = dlog_reader_new(&r, &d, 1, flags, &err);

	if (ret) {
		MUST(err.text[0]);
		return 0;
	}
	while ((ret = dlog_reader_next(r, &e, 0)) > 0) {
		MUST(e.level < 8 && !e.ring);
		dlog_entry_text(&e, text, sizeof(text));
		got++;
	}
	dlog_reader_free(r);
	return got;
}

static uint64_t read_all(void)
{
	const struct dlog_open_args args = { .format = "ram" };
	struct dlog_boot_entry *boots = NULL;
	struct dlog_loss *loss = NULL;
	struct dlog_error err;
	struct dlog_fact fact;
	uint64_t got, told = 0;
	struct dlog *d;
	int n;

	memset(&err, 0, sizeof(err));
	if (dlog_open_memory_as(&d, mem, size, "fuzz", &args, &err)) {
		MUST(err.text[0] && !d);
		return 0;
	}
	for (uint32_t i = 0; dlog_get_fact(d, i, &fact); i++)
		MUST(*fact.name && *fact.text && i < 64);
	MUST(dlog_get_boots(d, &boots) >= 0);
	n = dlog_get_loss(d, &loss);
	MUST(n >= 0);
	for (int i = 0; i < n; i++) {
		const struct dlog_loss *l = &loss[i];

		MUST(l->reserved ==
		     l->records + l->overwritten + l->torn + l->corrupt);
		told += l->records + l->torn;
	}
	got = read_log(d, 0);
	MUST(got <= told);
	read_log(d, DLOG_READER_FOLLOW);
	read_memory(dlog_get_ram(d));
	free(boots);
	free(loss);
	dlog_close(d);
	return got;
}

/* ---- command line ---- */

static void load(const char *path)
{
	int fd = open(path, O_RDONLY);
	struct stat st;

	MUST(fd >= 0 && !fstat(fd, &st));
	size = (size_t)st.st_size;
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	MUST(mem != MAP_FAILED);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "count", required_argument, NULL, 'c' },
		{ "seed", required_argument, NULL, 's' },
		{ 0 },
	};
	uint64_t count = 1000, seed = 1, whole, some = 0, slowest = 0;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		MUST(c != '?');
		*(c == 'c' ? &count : &seed) = strtoull(optarg, NULL, 0);
	}
	MUST(optind + 1 < argc);
	load(argv[optind++]);
	for (; optind < argc && parts < PARTS_MAX; optind++, parts++) {
		struct part *p = &part[parts];
		char *end;

		p->off = strtoull(argv[optind], &end, 0);
		p->size = strtoull(end + 1, NULL, 0);
		MUST(p->size && p->off + p->size <= size);
	}
	whole = read_all();
	MUST(whole);
	for (uint64_t i = 1; i <= count; i++) {
		uint64_t start = cpu_ns();

		rng = (seed << 32 ^ i) * 0x9e3779b97f4a7c15ull | 1;
		for (uint64_t n = 1 + below(CHANGES); n; n--)
			damage();
		some += read_all() > 0;
		undo();
		start = cpu_ns() - start;
		if (start > slowest)
			slowest = start;
		if (start > NS_ALWAYS + size / PAGE * NS_PER_PAGE) {
			fprintf(stderr, "run %llu took %llu ms\n",
				(unsigned long long)i,
				(unsigned long long)start / 1000000);
			return 1;
		}
	}
	printf("%llu runs, %llu with records (of %llu), the slowest %llu ms\n",
	       (unsigned long long)count, (unsigned long long)some,
	       (unsigned long long)whole,
	       (unsigned long long)slowest / 1000000);
	return 0;
}
