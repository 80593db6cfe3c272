// SPDX-License-Identifier: GPL-2.0-only
/*
 * slide.c - where KASLR has put the kernel.
 *
 * On x86-64 the kernel lies in the first GiB of the top 2 GiB, moved by a
 * multiple of 2 MiB (Linux 6.1 and 6.12: arch/x86/boot/compressed/kaslr.c,
 * find_random_virt_addr(); CONFIG_PHYSICAL_ALIGN is 2 MiB or more), which
 * leaves 512 places.  Evidence are the functions that executed blocks call:
 * the bytes of a call tell its target, and the kernel calls what has a name.
 * At a wrong place about one target of 16 is the beginning of a function by
 * chance; at the right one nearly all are.
 *
 * The last WINDOW different targets are counted for each place.  One that has
 * at least NEED of them, and twice as many as any other, is where the kernel
 * lies: for symbols of another kernel to get there by chance takes about 10^10
 * windows.  A target that fits the known place is none, and takes two others
 * out, so that what KASLR did at the next boot or kexec is found in the same
 * way; a window that gets full without such a place shows that the kernel has
 * gone.
 */
#include <string.h>

#include "symbols.h"

#define STEP 0x200000u
#define PLACES ((KERNEL_MAP_TO - KERNEL_MAP_FROM) / STEP)
#define WINDOW 14u
#define NEED 12u

static struct {
	const struct symbol_file *file;
	bool known;
	uint64_t slide;
	uint64_t target[WINDOW]; /* oldest first */
	unsigned int n;
	uint8_t votes[PLACES]; /* of these */
} vote;

void slide_start(const struct symbol_file *f)
{
	memset(&vote, 0, sizeof(vote));
	vote.file = f;
}

static uint64_t slide_of(unsigned int place)
{
	const struct symbol_file *f = vote.file;

	return KERNEL_MAP_FROM + (uint64_t)place * STEP + f->low % STEP -
	       f->low;
}

static bool fits(uint64_t target, uint64_t slide)
{
	uint64_t addr = target - slide;

	return addr >= vote.file->low && addr < vote.file->high &&
	       table_entry(vote.file, addr);
}

static void count(uint64_t target, int by)
{
	for (unsigned int i = 0; i < PLACES; i++)
		if (fits(target, slide_of(i)))
			vote.votes[i] = (uint8_t)(vote.votes[i] + by);
}

static void forget_oldest(void)
{
	if (!vote.n)
		return;
	count(vote.target[0], -1);
	vote.n--;
	memmove(vote.target, vote.target + 1, vote.n * sizeof(*vote.target));
}

static bool elect(unsigned int *place)
{
	unsigned int best = 0, second = 0;

	for (unsigned int i = 0; i < PLACES; i++) {
		if (vote.votes[i] > best) {
			second = best;
			best = vote.votes[i];
			*place = i;
		} else if (vote.votes[i] > second) {
			second = vote.votes[i];
		}
	}
	return best >= NEED && best >= 2 * second;
}

static enum slide_news settle(bool known, uint64_t slide)
{
	memset(vote.votes, 0, sizeof(vote.votes));
	vote.n = 0;
	vote.known = known;
	vote.slide = slide;
	return known ? SLIDE_FOUND : SLIDE_LOST;
}

enum slide_news slide_called(uint64_t target, uint64_t *slide)
{
	unsigned int place;

	if (vote.known && fits(target, vote.slide)) {
		forget_oldest();
		forget_oldest();
		return SLIDE_SAME;
	}
	for (unsigned int i = 0; i < vote.n; i++)
		if (vote.target[i] == target)
			return SLIDE_SAME;
	if (vote.n == WINDOW)
		forget_oldest();
	vote.target[vote.n++] = target;
	count(target, 1);
	if (elect(&place)) {
		*slide = slide_of(place);
		return settle(true, *slide);
	}
	if (vote.known && vote.n == WINDOW)
		return settle(false, 0);
	return SLIDE_SAME;
}
