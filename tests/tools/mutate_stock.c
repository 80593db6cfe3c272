// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * mutate_stock.c - a file of a stock kernel's format, damaged many times:
 *
 *	mutate_stock FORMAT COUNT SEED FILE...
 *
 * Each round takes one of the files, damages it in up to 8 places, and reads
 * it as FORMAT and as what it looks like.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../fuzz/run_stock.h"

struct bytes {
	uint8_t *data;
	size_t size;
};

static uint64_t state;

static uint64_t number(uint64_t below)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return below ? (state >> 33 ^ state >> 11) % below : 0;
}

/* Numbers at which code that counts goes wrong. */
static uint64_t bad_number(size_t size)
{
	static const uint64_t bad[] = {
		0,	    1,		0x7f,
		0xff,	    0xffff,	0x7fffffff,
		0x80000000, 0xffffffff, 0xffffffffffff,
		UINT64_MAX, 4096,	8192,
		200,	    128,
	};
	uint64_t n = number(sizeof(bad) / sizeof(bad[0]) + 2);

	return n < sizeof(bad) / sizeof(bad[0])	   ? bad[n]
	       : n == sizeof(bad) / sizeof(bad[0]) ? size
						   : number(2 * size);
}

/* Near a page's begin, where headers are, or anywhere. */
static size_t place(size_t size)
{
	size_t at = number(size);

	return number(2) ? at : (at & ~(size_t)4095) + number(256);
}

static void damage(uint8_t *p, size_t size)
{
	size_t at = place(size), from = place(size), len = 1 + number(64);
	uint64_t value;

	if (at >= size)
		at = size - 1;
	switch (number(7)) {
	case 0:
		p[at] ^= (uint8_t)(1u << number(8));
		return;
	case 1:
		p[at] = (uint8_t)number(256);
		return;
	case 2: /* a number at its place */
		at &= ~(size_t)3;
		value = bad_number(size);
		len = number(2) ? 8 : 4;
		if (at + len <= size)
			memcpy(p + at, &value, len);
		return;
	case 3: /* one page, or some bytes, of something else */
		len = 4096;
		at &= ~(size_t)4095;
		from &= ~(size_t)4095;
		/* fall through */
	case 4:
		if (at + len <= size && from + len <= size)
			memmove(p + at, p + from, len);
		return;
	case 5:
		memset(p + at, number(2) ? 0xff : 0,
		       len < size - at ? len : size - at);
		return;
	default:
		for (size_t i = 0; i < len && at + i < size; i++)
			p[at + i] = (uint8_t)number(256);
	}
}

static struct bytes load(const char *name)
{
	int fd = open(name, O_RDONLY);
	struct bytes b = { 0 };
	struct stat st;

	MUST(fd >= 0 && !fstat(fd, &st) && st.st_size > 0);
	b.size = (size_t)st.st_size;
	b.data = malloc(b.size);
	MUST(b.data && read(fd, b.data, b.size) == (ssize_t)b.size);
	close(fd);
	return b;
}

int main(int argc, char **argv)
{
	uint64_t opened = 0, count;
	struct bytes file[64];
	int files = argc - 4;

	if (files < 1 || files > 64) {
		fprintf(stderr, "usage: mutate_stock FORMAT COUNT SEED "
				"FILE...\n");
		return 2;
	}
	count = strtoull(argv[2], NULL, 0);
	for (int i = 0; i < files; i++) {
		file[i] = load(argv[4 + i]);
		/* Else nothing below would be tested. */
		MUST(run_stock(file[i].data, file[i].size, argv[1]));
		MUST(run_stock(file[i].data, file[i].size, NULL));
	}
	for (uint64_t round = 0; round < count; round++) {
		const struct bytes *b;
		uint8_t *copy;
		size_t size;

		state = strtoull(argv[3], NULL, 0) + round * 0x9e3779b97f4a7c15;
		b = &file[number((uint64_t)files)];
		size = number(8) ? b->size : 1 + number(b->size);
		copy = malloc(size);
		MUST(copy);
		memcpy(copy, b->data, size);
		for (uint64_t n = number(8) + 1; n--;)
			damage(copy, size);
		opened += run_stock(copy, size, argv[1]);
		if (!number(4))
			run_stock(copy, size, NULL);
		free(copy);
	}
	for (int i = 0; i < files; i++)
		free(file[i].data);
	printf("%llu rounds, %llu could be opened\n", (unsigned long long)count,
	       (unsigned long long)opened);
	return 0;
}
