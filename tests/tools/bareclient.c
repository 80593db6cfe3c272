// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bareclient.c - guest-patch/baremetal in a process: bareclient FILE LINES
 * writes a boot into a region file.  Built in 32 bit, it shows that such a
 * kernel writes what a 64-bit host reads.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dlog_client.h"

static uint64_t count(void *arg)
{
	return *(uint64_t *)arg += 1000;
}

static int run(void *base, size_t bytes, uint32_t lines)
{
	static char memory[DLOG_CLIENT_MEMORY(16)];
	static struct dlog_client c;
	uint64_t now = 1ull << 40;
	struct dlog_client_setup setup = {
		.clock = count,
		.arg = &now,
		.memory = memory,
		.bytes = sizeof(memory),
		.cpus = 3,
		.boot = { .release = "process", .machine = "any" },
	};
	int err = (int)dlog_client_find(&c, base, bytes);

	if (err)
		return err;
	err = dlog_client_begin(&c, &setup);
	for (uint32_t n = 1; !err && n <= lines; n++)
		err = dlog_client_log(&c, n % 3, 6, "line %u: %llu %lld %p", n,
				      (unsigned long long)n << 32,
				      -((long long)n << 40),
				      (void *)(uintptr_t)n);
	dlog_client_beat(&c, 1, true);
	return err;
}

int main(int argc, char **argv)
{
	int fd = argc == 3 ? open(argv[1], O_RDWR) : -1;
	struct stat st;
	void *base;
	int err;

	if (fd < 0 || fstat(fd, &st)) {
		fprintf(stderr, "usage: bareclient FILE LINES\n");
		return 2;
	}
	base = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE,
		    MAP_SHARED, fd, 0);
	if (base == MAP_FAILED) {
		perror(argv[1]);
		return 2;
	}
	err = run(base, (size_t)st.st_size, (uint32_t)atoi(argv[2]));
	if (err)
		fprintf(stderr, "bareclient: %s: error %d\n", argv[1], err);
	return err != 0;
}
