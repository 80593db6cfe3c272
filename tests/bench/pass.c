// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pass.c - how fast one thread can go once over a file's bytes, GB/s: copy
 * them (memcpy to a buffer that stays in the cache), check them (the
 * processor's CRC32C, one chain), and read(2) them.
 *
 *	pass FILE
 *
 * Prints "NAME GB/S", the best of ROUNDS rounds that take turns; the file is
 * in the page cache and mapped before.  Relies on x86-64 with SSE4.2.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#define ROUNDS 4
#define CHUNK 65536u

static uint8_t buffer[CHUNK] __attribute__((aligned(64)));
static volatile uint64_t sink;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void copy(const uint8_t *map, size_t size)
{
	for (size_t off = 0; off + CHUNK <= size; off += CHUNK) {
		memcpy(buffer, map + off, CHUNK);
		__asm__ volatile("" : : "r"(buffer) : "memory");
	}
}

__attribute__((target("sse4.2"))) static void check(const uint8_t *map,
						    size_t size)
{
	uint64_t crc = ~0u, word;

	for (size_t off = 0; off + 8 <= size; off += 8) {
		memcpy(&word, map + off, 8);
		crc = _mm_crc32_u64(crc, word);
	}
	sink = crc;
}

static int read_all(int fd, size_t size)
{
	for (size_t off = 0; off + CHUNK <= size; off += CHUNK)
		if (pread(fd, buffer, CHUNK, (off_t)off) != CHUNK)
			return -1;
	return 0;
}

static void keep(double *best, double *last)
{
	double t = now();

	if (!*best || t - *last < *best)
		*best = t - *last;
	*last = now();
}

int main(int argc, char **argv)
{
	double best[3] = { 0 }, last;
	struct stat st;
	uint8_t *map;
	size_t size;
	int fd = argc == 2 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;

	if (fd < 0 || fstat(fd, &st))
		goto out;
	size = (size_t)st.st_size;
	map = mmap(NULL, size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (map == MAP_FAILED)
		goto out;
	for (int i = 0; i < ROUNDS; i++) {
		last = now();
		copy(map, size);
		keep(&best[0], &last);
		check(map, size);
		keep(&best[1], &last);
		if (read_all(fd, size))
			goto out;
		keep(&best[2], &last);
	}
	printf("memcpy %.3f\ncrc32c %.3f\nread %.3f\n",
	       (double)size / best[0] / 1e9, (double)size / best[1] / 1e9,
	       (double)size / best[2] / 1e9);
	munmap(map, size);
	close(fd);
	return 0;
out:
	fprintf(stderr, "pass: %s: %s\n", argc > 1 ? argv[1] : "which file?",
		strerror(errno));
	return 1;
}
