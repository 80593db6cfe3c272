/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * accesses.c - accesses that are known to the last, for the plugin's tests.
 *
 *	accesses memory ADDRESS N	two pages there: see memory()
 *	accesses ports N		port 0xe0 of pc-testdev: see ports()
 *	accesses device N		the memory of pc-testdev: see device()
 *	accesses region FILE		a mapped region: see region()
 *	accesses race FILE N		two threads, see race()
 *	accesses poke FILE OFFSET BYTE	one byte
 *
 * Each access is one instruction of inline assembly; those whose address a
 * test wants have a label.  For guests: static, at a fixed address.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PORT 0xe0

/* One copy of it, with its labels. */
#ifdef __clang__
#define ALONE static __attribute__((noinline, optnone))
#else
#define ALONE static __attribute__((noinline, noipa))
#endif

static void put64(void *at, uint64_t v)
{
	__asm__ volatile("movq %1, (%0)" : : "r"(at), "r"(v) : "memory");
}

static uint64_t get64(const void *at)
{
	uint64_t v;

	__asm__ volatile("movq (%1), %0" : "=r"(v) : "r"(at) : "memory");
	return v;
}

/*
 *	0	N times 8 bytes: 0x101 times 1 to N; then N reads
 *	8	1 byte 5a; 16: 2 bytes 1234; 20: 4 bytes deadbeef
 *	24	3 times lock xadd of 5, 8 bytes
 *	32	16 bytes by one instruction
 *	56, 60	8 bytes each: before 64, and on both sides of it
 *	4092	8 bytes, in both pages
 */
ALONE int memory(uint64_t address, uint64_t n)
{
	uint8_t *p =
		mmap((void *)(uintptr_t)address, 8192, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	uint64_t sum = 0, five;

	if (p == MAP_FAILED)
		return 1;
	/* Pages are there before what is counted. */
	put64(p + 2048, 1);
	put64(p + 4096 + 2048, 1);
	for (uint64_t i = 1; i <= n; i++)
		put64(p, 0x101 * i);
	for (uint64_t i = 0; i < n; i++)
		sum += get64(p);
	__asm__ volatile("movb $0x5a, 8(%0)\n\t"
			 "movw $0x1234, 16(%0)\n\t"
			 "movl $0xdeadbeef, 20(%0)"
			 :
			 : "r"(p)
			 : "memory");
	for (int i = 0; i < 3; i++) {
		five = 5;
		__asm__ volatile("lock xaddq %0, 24(%1)"
				 : "+r"(five)
				 : "r"(p)
				 : "memory");
		sum += five;
	}
	__asm__ volatile("movdqu (%0), %%xmm0\n\t"
			 "movdqu %%xmm0, 32(%1)"
			 :
			 : "r"(p + 2048), "r"(p)
			 : "memory", "xmm0");
	put64(p + 56, 0x5656565656565656);
	put64(p + 60, 0x6060606060606060);
	put64(p + 4092, 0x0807060504030201);
	printf("%llu\n", (unsigned long long)sum);
	return 0;
}

/* 1, 2 and 4 bytes out and in again, in both forms of them; rep outsb, insb. */
ALONE int ports(int n)
{
	uint8_t text[8] = { 'o', 'u', 't', 's', 'i', 'n', 's', '.' }, back[8];
	const uint8_t *from = text;
	uint8_t *to = back;
	unsigned long count = 8;
	unsigned int v = 0, sum = 0;

	if (iopl(3))
		return 1;
	for (int i = 0; i < n; i++) {
		outb((unsigned char)i, PORT);
		sum += inb(PORT);
	}
	__asm__ volatile("accesses_out8: outb %%al, $0xe0" : : "a"(0xa5));
	__asm__ volatile("accesses_in8: inb $0xe0, %%al" : "+a"(v));
	sum += v & 0xff;
	outw(0x1234, PORT);
	sum += inw(PORT);
	outl(0x89abcdef, PORT);
	sum += inl(PORT);
	__asm__ volatile("accesses_outs: rep outsb"
			 : "+S"(from), "+c"(count)
			 : "d"(PORT)
			 : "memory");
	count = 8;
	__asm__ volatile("accesses_ins: rep insb"
			 : "+D"(to), "+c"(count)
			 : "d"(PORT)
			 : "memory");
	printf("%u %02x\n", sum, back[7]);
	return 0;
}

static uint8_t *map(const char *path)
{
	int fd = open(path, O_RDWR | O_SYNC);
	struct stat st;
	void *p;

	if (fd < 0 || fstat(fd, &st))
		return NULL;
	p = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		 fd, 0);
	close(fd);
	return p == MAP_FAILED ? NULL : p;
}

/*
 *	0x5004	4 bytes 11223344
 *	0x5ffc	8 bytes 0807060504030201, in two pages
 *	0x7001	40 bytes 77 by rep stosb
 *	0x7100	lock or of 80, 1 byte
 */
ALONE int region(uint8_t *p)
{
	uint8_t *to = p + 0x7001;
	unsigned long count = 40;

	__asm__ volatile("region_word: movl $0x11223344, 0x5004(%0)"
			 :
			 : "r"(p)
			 : "memory");
	__asm__ volatile("region_cross: movq %1, 0x5ffc(%0)"
			 :
			 : "r"(p), "r"(0x0807060504030201)
			 : "memory");
	__asm__ volatile("region_string: rep stosb"
			 : "+D"(to), "+c"(count)
			 : "a"(0x77)
			 : "memory");
	__asm__ volatile("region_locked: lock orb $0x80, 0x7100(%0)"
			 :
			 : "r"(p)
			 : "memory");
	return 0;
}

ALONE void race_store(uint8_t *at, uint64_t v)
{
	__asm__ volatile("region_race: movq %1, (%0)"
			 :
			 : "r"(at), "r"(v)
			 : "memory");
}

ALONE void poke(uint8_t *at, uint8_t v)
{
	__asm__ volatile("region_poke: movb %1, (%0)"
			 :
			 : "r"(at), "q"(v)
			 : "memory");
}

/* 4 bytes each: 1 to N at 0xff000000, and N reads. */
static int device(uint64_t n)
{
	int fd = open("/dev/mem", O_RDWR | O_SYNC);
	volatile uint32_t *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				    MAP_SHARED, fd, 0xff000000);
	uint32_t sum = 0;

	if (p == MAP_FAILED)
		return 1;
	for (uint32_t i = 1; i <= n; i++)
		*p = i;
	for (uint32_t i = 1; i <= n; i++)
		sum += *p;
	printf("%u\n", sum);
	return 0;
}

struct runner {
	pthread_t thread;
	uint8_t *at;
	uint64_t n;
};

static volatile int go;

static void *run(void *arg)
{
	const struct runner *r = arg;

	while (!go)
		;
	for (uint64_t i = 1; i <= r->n; i++)
		race_store(r->at, i);
	return NULL;
}

/* 1 to N, 8 bytes each, at 0x6000 and at 0x7008, by a thread each. */
static int race(uint8_t *p, uint64_t n)
{
	struct runner r[2] = { { .at = p + 0x6000, .n = n },
			       { .at = p + 0x7008, .n = n } };

	for (int i = 0; i < 2; i++)
		if (pthread_create(&r[i].thread, NULL, run, &r[i]))
			return 1;
	usleep(100000);
	go = 1;
	for (int i = 0; i < 2; i++)
		pthread_join(r[i].thread, NULL);
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";
	uint8_t *p;

	if (!strcmp(what, "memory") && argc == 4)
		return memory(strtoull(argv[2], NULL, 0),
			      strtoull(argv[3], NULL, 0));
	if (!strcmp(what, "ports"))
		return ports(atoi(argv[2]));
	if (!strcmp(what, "device"))
		return device(strtoull(argv[2], NULL, 0));
	p = *what ? map(argv[2]) : NULL;
	if (!p)
		return 2;
	if (!strcmp(what, "region"))
		return region(p);
	if (!strcmp(what, "race") && argc == 4)
		return race(p, strtoull(argv[3], NULL, 0));
	if (!strcmp(what, "poke") && argc == 5) {
		poke(p + strtoull(argv[3], NULL, 0),
		     (uint8_t)strtoul(argv[4], NULL, 0));
		return 0;
	}
	return 2;
}
