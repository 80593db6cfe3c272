// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which 32-bit check shall a dlog record carry? This program measures the
 * candidates of hash.h: cost of writing and of reading, and corruptions missed.
 *
 *   cc -std=gnu11 -O2 -Wall -Wextra -Wshadow -Wstrict-prototypes -static \
 *      -I../../../shared-abi -o checksum checksum.c trials.c
 *
 *   ./checksum --time                     ns for each record, reader's GB/s
 *   qemu-x86_64 -cpu max ./checksum --time=10     the same under TCG
 *   ./checksum --count=text --hash=polyr --records=N   for an instruction
 *        counter: run with two N, divide the difference by the difference
 *   ./checksum --hash=polyr --model=all --trials=N --seed=S
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "hash.h"

#define RING (4u << 20)
#define SEED 0x1D8E4E27C47D124Full

u32 crc_table[8][256];

void crc_setup(void)
{
	int i, j;

	for (i = 0; i < 256; i++) {
		u32 c = (u32)i;

		for (j = 0; j < 8; j++)
			c = c >> 1 ^ (c & 1 ? 0x82F63B78u : 0);
		crc_table[0][i] = c;
	}
	for (i = 0; i < 256; i++)
		for (j = 1; j < 8; j++)
			crc_table[j][i] =
				crc_table[j - 1][i] >> 8 ^
				crc_table[0][crc_table[j - 1][i] & 255];
}

static ALWAYS_INLINE void commit(u64 *dst, u32 check, u32 meta)
{
	__atomic_store_n(dst, le64(check | (u64)meta << 32), __ATOMIC_RELEASE);
}

/* Word-wise copy with the hash in step; the last word is padded with zeros. */
#define DEFINE_BODY(name, attr)                                                \
	static ALWAYS_INLINE attr name##_t name##_copy(name##_t h, u64 *dst,   \
						       const u8 *src, u32 len) \
	{                                                                      \
		u64 a, b, c, d;                                                \
                                                                               \
		for (; len >= 32; len -= 32, src += 32, dst += 4) {            \
			a = load64(src);                                       \
			b = load64(src + 8);                                   \
			c = load64(src + 16);                                  \
			d = load64(src + 24);                                  \
			dst[0] = le64(a);                                      \
			dst[1] = le64(b);                                      \
			dst[2] = le64(c);                                      \
			dst[3] = le64(d);                                      \
			h = name##_word4(h, a, b, c, d);                       \
		}                                                              \
		for (; len >= 8; len -= 8, src += 8) {                         \
			a = load64(src);                                       \
			*dst++ = le64(a);                                      \
			h = name##_word(h, a);                                 \
		}                                                              \
		if (len) {                                                     \
			a = 0;                                                 \
			if (len & 4) {                                         \
				u32 v;                                         \
                                                                               \
				memcpy(&v, src + (len & 3), 4);                \
				a = v;                                         \
			}                                                      \
			while (len & 3)                                        \
				a = a << 8 | src[--len & 3];                   \
			*dst = le64(a);                                        \
			h = name##_word(h, a);                                 \
		}                                                              \
		return h;                                                      \
	}                                                                      \
                                                                               \
	static attr __attribute__((noinline)) void name##_text(                \
		u64 *dst, u64 seed, u64 pos, u64 time, u32 prefix,             \
		const u8 *text, u32 len)                                       \
	{                                                                      \
		u32 meta = (len + 4) | 1u << 16 | 6u << 24, v;                 \
		name##_t h = name##_head(name##_init(seed, pos), meta, time);  \
		u64 w;                                                         \
                                                                               \
		dst[1] = le64(time);                                           \
		memcpy(&v, text, 4);                                           \
		w = prefix | (u64)v << 32;                                     \
		dst[2] = le64(w);                                              \
		h = name##_word(h, w);                                         \
		h = name##_copy(h, dst + 3, text + 4, len - 4);                \
		commit(dst, name##_final(h), meta);                            \
	}                                                                      \
                                                                               \
	static attr __attribute__((noinline)) void name##_event(               \
		u64 *dst, u64 seed, u64 pos, u64 time, const void *data,       \
		u32 len)                                                       \
	{                                                                      \
		u32 meta = len | 2u << 16 | 6u << 24;                          \
		name##_t h = name##_head(name##_init(seed, pos), meta, time);  \
                                                                               \
		dst[1] = le64(time);                                           \
		h = name##_copy(h, dst + 2, data, len);                        \
		commit(dst, name##_final(h), meta);                            \
	}                                                                      \
                                                                               \
	static attr __attribute__((noinline))                                  \
	u32 name##_check(const u64 *rec, u64 seed, u64 pos, u32 words)         \
	{                                                                      \
		u32 meta = (u32)(le64(rec[0]) >> 32);                          \
		name##_t h = name##_head(name##_init(seed, pos), meta,         \
					 le64(rec[1]));                        \
                                                                               \
		rec += 2;                                                      \
		for (; words >= 4; words -= 4, rec += 4)                       \
			h = name##_word4(h, le64(rec[0]), le64(rec[1]),        \
					 le64(rec[2]), le64(rec[3]));          \
		for (; words; words--, rec++)                                  \
			h = name##_word(h, le64(*rec));                        \
		return name##_final(h);                                        \
	}

FOR_EACH_HASH(DEFINE_BODY)

#define TABLE_ROW(name, attr)                                                  \
	{ #name, name##_text, name##_event, name##_check },
const struct hash hashes[] = { FOR_EACH_HASH(TABLE_ROW){ 0 } };

const struct hash *hash_find(const char *name)
{
	const struct hash *h;

	for (h = hashes; h->name; h++)
		if (!strcmp(h->name, name))
			return h;
	return NULL;
}

static u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * 1000000000u + (u64)ts.tv_nsec;
}

static ALWAYS_INLINE u64 stamp(void)
{
#ifdef __x86_64__
	return __builtin_ia32_rdtsc();
#else
	return now_ns();
#endif
}

/* Filled in by main, so that the compiler knows neither size nor content. */
static u8 text[128];
static volatile u32 text_len = 64, event_len = 16;
static volatile u64 no_bits;

/* Writes n records; with chain set each waits for the one before it. */
static void write_run(const struct hash *h, int event, u64 *ring, u64 n,
		      int chain)
{
	u32 tlen = text_len, elen = event_len;
	u32 size = event ? 16 + elen : 16 + ((tlen + 4 + 7) & ~7u);
	u64 pos = 0, off = 0, t = 0, mask = no_bits;

	while (n--) {
		u64 *dst = ring + off / 8;

		t = stamp() + (chain ? t & mask : 0);
		if (event)
			h->event(dst, SEED, pos, t, text, elen);
		else
			h->text(dst, SEED, pos, t, 42, text, tlen);
		if (chain)
			t = *dst;
		pos += size;
		off += size;
		if (off + size > RING)
			off = 0;
	}
}

/* Validates a ring full of 80-byte records, out of L2 or from further out. */
static u32 read_run(const struct hash *h, u64 *ring, u32 n)
{
	u32 bad = 0;
	u64 pos;

	for (pos = 0; pos < (u64)n * 80; pos += 80) {
		const u64 *r = ring + pos / 8;
		u64 w = le64(r[0]);

		bad += h->check(r, SEED, pos, (u32)(w >> 32 & 0xffff) / 8) !=
		       (u32)w;
	}
	return bad;
}

enum { TEXT, EVENT, TEXT_CHAIN, EVENT_CHAIN, READ_NEAR, READ_FAR, COLUMNS };

/* One short measurement: ns for each record. Short, so that some stay clean. */
static double measure(const struct hash *h, int column, u64 *ring, u64 n)
{
	u64 start, pos;

	if (column == READ_NEAR || column == READ_FAR) {
		n = (column == READ_NEAR ? 256 << 10 : RING) / 80;
		for (pos = 0; pos < n * 80; pos += 80)
			h->event(ring + pos / 8, SEED, pos, pos, text, 64);
		start = now_ns();
		if (read_run(h, ring, (u32)n))
			printf("%s: good records refused\n", h->name);
	} else {
		start = now_ns();
		write_run(h, column & 1, ring, n, column >= TEXT_CHAIN);
	}
	return (double)(now_ns() - start) / (double)n;
}

/* Candidates take turns, so that a busy spell of the machine hits them all. */
static void time_all(u64 *ring, u64 n, int rounds)
{
	static double best[32][COLUMNS];
	const struct hash *h;
	int r, c, i;

	for (r = 0; r < rounds; r++)
		for (c = 0; c < COLUMNS; c++)
			for (i = 0, h = hashes; h->name; i++, h++) {
				double t = measure(h, c, ring, n);

				if (!r || t < best[i][c])
					best[i][c] = t;
			}
	printf("%-9s %9s %9s %9s %9s %9s %9s\n", "hash", "text ns", "event ns",
	       "text lat", "event lat", "GB/s 256K", "GB/s 4M");
	for (i = 0, h = hashes; h->name; i++, h++)
		printf("%-9s %9.2f %9.2f %9.2f %9.2f %9.2f %9.2f\n", h->name,
		       best[i][TEXT], best[i][EVENT], best[i][TEXT_CHAIN],
		       best[i][EVENT_CHAIN], 80 / best[i][READ_NEAR],
		       80 / best[i][READ_FAR]);
}

/* A few MiB of a file, shared and touched, as a region is. */
static u64 *map_ring(void)
{
	char path[] = "/tmp/dlog-checksum-XXXXXX";
	int fd = mkstemp(path);
	void *p;

	if (fd < 0)
		return NULL;
	unlink(path);
	if (ftruncate(fd, RING)) {
		close(fd);
		return NULL;
	}
	p = mmap(NULL, RING, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (p == MAP_FAILED)
		return NULL;
	memset(p, 1, RING);
	return p;
}

static const char *option(const char *arg, const char *name)
{
	size_t n = strlen(name);

	if (strncmp(arg, name, n))
		return NULL;
	return arg[n] == '=' ? arg + n + 1 : arg[n] ? NULL : arg + n;
}

int main(int argc, char **argv)
{
	const char *hash = "polyr", *model = NULL, *count = NULL,
		   *timing = NULL;
	u64 trials = 1000000, seed = 1, records = 1000;
	const struct hash *h;
	cpu_set_t cpus;
	u64 *ring;
	int i;

	for (i = 1; i < argc; i++) {
		const char *v;

		if ((v = option(argv[i], "--hash")))
			hash = v;
		else if ((v = option(argv[i], "--model")))
			model = v;
		else if ((v = option(argv[i], "--count")))
			count = v;
		else if ((v = option(argv[i], "--time")))
			timing = v;
		else if ((v = option(argv[i], "--trials")))
			trials = (u64)strtod(v, NULL);
		else if ((v = option(argv[i], "--seed")))
			seed = strtoull(v, NULL, 0);
		else if ((v = option(argv[i], "--records")))
			records = strtoull(v, NULL, 0);
		else
			goto usage;
	}
	crc_setup();
	for (i = 0; i < (int)sizeof(text); i++)
		text[i] = (u8)(' ' + i % 90);
	h = hash_find(hash);
	if (!h) {
		fprintf(stderr, "checksum: no candidate named %s\n", hash);
		return 2;
	}
	if (model)
		return trials_main(h, model, trials, seed);
	if (!count && !timing)
		goto usage;
	ring = map_ring();
	if (!ring) {
		fprintf(stderr, "checksum: ring file: %s\n", strerror(errno));
		return 1;
	}
	if (count) {
		write_run(h, !strcmp(count, "event"), ring, records, 0);
		return 0;
	}
	CPU_ZERO(&cpus);
	CPU_SET(sysconf(_SC_NPROCESSORS_ONLN) - 1, &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
	time_all(ring, 10000, *timing ? atoi(timing) : 100);
	return 0;
usage:
	fprintf(stderr,
		"usage: checksum --time[=ROUNDS] | --count=text|event "
		"[--records=N] | --model=NAME|all [--trials=N] [--seed=S]; "
		"[--hash=NAME]\n");
	return 2;
}
