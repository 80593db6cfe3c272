// SPDX-License-Identifier: GPL-2.0-only
/*
 * symbols.c - names of addresses: what other parts ask, and what is done with
 * each block that is translated.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "symbols.h"

#define RECENT 64u /* power of two */
#define IN_VAIN 5000u /* calls; the kernel is known after about 15 */

static struct symbol_file files[OPTIONS_MAX];
static unsigned int nr_files;
static struct symbol_file *kernel; /* the one that moves, or NULL */

/* What KASLR did; written with the lock, read without. */
static uint64_t kernel_slide;
static bool kernel_found;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Kernel addresses translated last: to be named when the slide is found. */
static uint64_t recent[RECENT];
static unsigned int recent_at;

/* ---- start ---- */

static int load_all(void)
{
	for (unsigned int i = 0; i < plugin.opt.nr_symbols; i++) {
		struct symbol_file *f = &files[i];
		int ret = file_load(f, plugin.opt.symbols[i]);

		if (ret)
			return ret;
		nr_files++;
		if (!f->moves)
			continue;
		if (kernel) {
			tell("%s and %s are both symbols of a Linux kernel: give those of the one that runs",
			     kernel->path, f->path);
			return -EINVAL;
		}
		kernel = f;
	}
	return 0;
}

static bool moves(const struct symbol_file *f)
{
	return f == kernel || (plugin.opt.slide_given && !kernel);
}

int symbols_start(void)
{
	int ret = load_all();

	if (!ret)
		ret = names_start(files, nr_files);
	if (ret)
		return ret;
	if (plugin.opt.slide_given)
		kernel_slide = plugin.opt.slide;
	kernel_found = plugin.opt.slide_given || !kernel;
	if (!kernel_found)
		slide_start(kernel);
	return 0;
}

int symbols_begin(void)
{
	for (unsigned int i = 0; i < nr_files; i++)
		if (!moves(&files[i]) || kernel_found)
			names_base(&files[i],
				   moves(&files[i]) ? kernel_slide : 0);
	return 0;
}

/* ---- asking ---- */

/* A number from @text to its end. */
static int parse_number(const char *text, uint64_t *value)
{
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	*value = strtoull(text, &end, 0);
	return errno || *end ? -EINVAL : 0;
}

int symbols_resolve(const char *text, uint64_t *address)
{
	size_t len = strcspn(text, "+");
	uint64_t addr = 0, last = 0, offset = 0;
	unsigned int n = 0;

	if (*text >= '0' && *text <= '9')
		return parse_number(text, address);
	if (!len || (text[len] && parse_number(text + len + 1, &offset)))
		return -EINVAL;
	for (unsigned int i = 0; i < nr_files; i++) {
		unsigned int here = table_find(&files[i], text, len, &addr);

		if (here && n && here == 1 && addr == last)
			continue;
		n += here;
		if (here)
			last = addr;
	}
	if (!n)
		return -ENOENT;
	if (n > 1)
		return -ENOTUNIQ;
	*address = last + offset;
	return 0;
}

bool symbols_moved(uint64_t address)
{
	if (kernel)
		return address >= kernel->low && address < kernel->high;
	return plugin.opt.slide_given && nr_files;
}

bool symbols_slide(uint64_t *slide)
{
	if (!__atomic_load_n(&kernel_found, __ATOMIC_ACQUIRE))
		return false;
	*slide = __atomic_load_n(&kernel_slide, __ATOMIC_RELAXED);
	return true;
}

/* ---- blocks ---- */

/*
 * What @b calls at its end: "call rel32", e8, which GCC's
 * -mindirect-branch-cs-prefix puts 2e before.
 */
static bool call_target(const struct block *b, uint64_t *target)
{
	const struct qemu_plugin_insn *insn = api.tb_get_insn(b->tb, b->n - 1);
	uint8_t bytes[6];
	size_t len = api_insn_bytes(insn, bytes, sizeof(bytes));
	size_t at = len == 6 && bytes[0] == 0x2e;
	int32_t offset;

	if (len != at + 5 || bytes[at] != 0xe8)
		return false;
	memcpy(&offset, bytes + at + 1, sizeof(offset));
	*target = api.insn_vaddr(insn) + len + (uint64_t)(int64_t)offset;
	return in_kernel_map(*target);
}

static void name(struct symbol_file *f, uint64_t addr)
{
	struct symbol *s = table_at(f, addr);

	if (s && !s->said)
		names_say(f, s);
}

static void slide_found(uint64_t slide)
{
	record_say(6, "the kernel of %s lies at 0x%llx, 0x%llx from there",
		   kernel->path, (unsigned long long)(kernel->low + slide),
		   (unsigned long long)slide);
	names_base(kernel, slide);
	for (unsigned int i = 0; i < RECENT; i++)
		name(kernel, recent[i] - slide);
	__atomic_store_n(&kernel_slide, slide, __ATOMIC_RELAXED);
	__atomic_store_n(&kernel_found, true, __ATOMIC_RELEASE);
}

static void slide_lost(void)
{
	record_say(6, "the kernel of %s runs no more", kernel->path);
	names_gone(kernel);
	__atomic_store_n(&kernel_found, false, __ATOMIC_RELEASE);
}

/* Without a place that fits, said once: people confuse builds. */
static void in_vain(void)
{
	static unsigned int calls;

	if (kernel_found || ++calls != IN_VAIN)
		return;
	tell("%s does not fit the kernel that runs, so nothing is known of its addresses: give the symbols of that build",
	     kernel->path);
	record_say(4, "%s does not fit the kernel that runs", kernel->path);
}

/* True: where the kernel lies has changed. */
static bool look_for_kernel(const struct block *b)
{
	uint64_t target, slide;

	recent[recent_at++ % RECENT] = b->pc;
	if (!call_target(b, &target))
		return false;
	switch (slide_called(target, &slide)) {
	case SLIDE_FOUND:
		slide_found(slide);
		return true;
	case SLIDE_LOST:
		slide_lost();
		return true;
	case SLIDE_SAME:
		in_vain();
	}
	return false;
}

void symbols_translate(const struct block *b)
{
	bool again = false;

	if (!nr_files)
		return;
	pthread_mutex_lock(&lock);
	if (kernel && !plugin.opt.slide_given && in_kernel_map(b->pc))
		again = look_for_kernel(b);
	for (unsigned int i = 0; i < nr_files; i++)
		if (!moves(&files[i]))
			name(&files[i], b->pc);
		else if (kernel_found)
			name(&files[i], b->pc - kernel_slide);
	pthread_mutex_unlock(&lock);
	if (again)
		plugin_translate_again();
}
