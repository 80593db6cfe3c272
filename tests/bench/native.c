// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * native.c - ns of a 64-byte text record in user space: the writer that
 * guests use, the floor, and LTTng-UST, taking turns in one process.
 *
 *	native REGION [PROVIDER]
 *
 * REGION is a file of dlog-create with at least two rings, mapped shared and
 * touched before.  PROVIDER is lttng/provider.so.  Prints "NAME NS" lines,
 * the best of ROUNDS rounds each; and "solo" and "duo", records a microsecond
 * of one thread and of two on CPUs and rings of their own, which "floor_solo"
 * and "floor_duo" are for the floor: what the machine itself allows.
 *
 * The floor does the least that a checked record can do, with the processor's
 * own CRC32C, into the same ring's bytes at the same pace: header and text 80
 * bytes, one release store at the end.  Both take the time from rdtsc, the
 * cheapest clock there is; ours also converts it to ns, as the kernel's clock
 * does.
 *
 * Relies on shared-abi, on x86-64 with SSE4.2, and on -O2 without -march.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "dlog_region.h"

#define ROUNDS 100
#define RECORDS 40000u /* a round: most of a ring of the default geometry */
#define BURST                                                                  \
	100000u /* with two threads: long, so that who begins late costs little */
#define SIZE 80u /* bytes of such a record, and of the floor's */

static struct dlog_region region;
static struct dlog_ring rings[2] __attribute__((aligned(128)));
static uint32_t tsc_mult; /* ns = ticks * tsc_mult >> 22 */
static const char text[64] =
	"a line of sixty-four bytes, as a kernel says it all day long...";

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void calibrate(void)
{
	double start = now_ns();
	uint64_t ticks = __rdtsc();

	usleep(50000);
	tsc_mult = (uint32_t)((now_ns() - start) / (double)(__rdtsc() - ticks) *
				      (1 << 22) +
			      0.5);
}

/* As sched_clock() has it. */
static inline uint64_t clock_ns(void)
{
	return (uint64_t)((unsigned __int128)__rdtsc() * tsc_mult >> 22);
}

static const char *hide(const char *p)
{
	__asm__ volatile("" : "+r"(p));
	return p;
}

static __attribute__((noinline)) void ours(struct dlog_ring *r, unsigned int n)
{
	const char *p = hide(text);

	for (unsigned int i = 0; i < n; i++) {
		__asm__ volatile("" ::: "memory");
		dlog_ring_append(r, DLOG_TYPE(DLOG_KIND_TEXT, 6), clock_ns(), p,
				 sizeof(text));
	}
}

static __attribute__((noinline, target("sse4.2"))) void
lowest(struct dlog_ring *r, unsigned int n)
{
	static struct {
		uint64_t at; /* goes on where the last round ended */
		uint8_t pad[120];
	} rounds[2] __attribute__((aligned(128)));
	uint64_t ring = (uint64_t)(r - rings), at = rounds[ring].at;
	uint8_t *base = region.base + region.sb.ring_off +
			ring * region.sb.ring_size;
	uint64_t end = region.sb.ring_size - SIZE;
	const char *p = hide(text);

	for (unsigned int i = 0; i < n; i++) {
		uint64_t *to = (uint64_t *)(base + at);
		uint64_t now = __rdtsc(), crc = _mm_crc32_u64(at, now);

		__asm__ volatile("" ::: "memory");
		to[1] = now;
		memcpy(to + 2, p, sizeof(text));
		for (unsigned int j = 0; j < 8; j++)
			crc = _mm_crc32_u64(crc, dlog_load64(p + 8 * j));
		__atomic_store_n(to, (uint64_t)sizeof(text) << 32 | crc,
				 __ATOMIC_RELEASE);
		at = at + SIZE > end ? 0 : at + SIZE;
	}
	rounds[ring].at = at;
}

/* ---- one thread ---- */

static double best_of(double best, double ns)
{
	return !best || ns < best ? ns : best;
}

static double timed(void (*what)(struct dlog_ring *, unsigned int))
{
	double start = now_ns();

	what(&rings[0], RECORDS);
	return (now_ns() - start) / RECORDS;
}

/* The provider's loops: the same text as an array and as a string. */
struct provider {
	void (*array)(const char *text, unsigned int n);
	void (*string)(const char *text, unsigned int n);
	int (*enabled)(void);
};

static double timed_peer(void (*what)(const char *, unsigned int))
{
	double start = now_ns();

	what(text, RECORDS / 4);
	return (now_ns() - start) / (RECORDS / 4);
}

static void costs(const struct provider *lttng)
{
	double floor = 0, dlog = 0, array = 0, string = 0;

	for (int i = 0; i < ROUNDS; i++) {
		floor = best_of(floor, timed(lowest));
		dlog = best_of(dlog, timed(ours));
		if (!lttng)
			continue;
		array = best_of(array, timed_peer(lttng->array));
		string = best_of(string, timed_peer(lttng->string));
	}
	printf("floor %.3f\ntext64 %.3f\n", floor, dlog);
	if (lttng)
		printf("lttng_array %.3f\nlttng_string %.3f\n", array, string);
}

/* ---- two threads ---- */

static pthread_barrier_t gate;
static int running; /* threads of this round, 0: end */
static int awake; /* of them */
static void (*job)(struct dlog_ring *r, unsigned int n);

struct worker {
	pthread_t thread;
	int index;
	double start, end;
};

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

static void *work(void *arg)
{
	struct worker *w = arg;

	pin(w->index);
	for (;;) {
		pthread_barrier_wait(&gate);
		if (!running)
			return NULL;
		if (w->index < running) {
			/* the barrier wakes them one after the other */
			__atomic_add_fetch(&awake, 1, __ATOMIC_SEQ_CST);
			while (__atomic_load_n(&awake, __ATOMIC_SEQ_CST) <
			       running)
				;
			w->start = now_ns();
			job(&rings[w->index], BURST);
			w->end = now_ns();
		}
		pthread_barrier_wait(&gate);
	}
}

/* Rate of @n threads together in one round, records a microsecond. */
static double round_of(struct worker *w, int n)
{
	double start, end;

	running = n;
	awake = 0;
	pthread_barrier_wait(&gate);
	if (!n)
		return 0;
	pthread_barrier_wait(&gate);
	start = w[0].start;
	end = w[0].end;
	if (n > 1) {
		start = w[1].start < start ? w[1].start : start;
		end = w[1].end > end ? w[1].end : end;
	}
	return n * BURST / (end - start) * 1000;
}

/* One thread and two, with our records and with the floor's, in turns. */
static int scaling(void)
{
	static void (*const jobs[])(struct dlog_ring *,
				    unsigned int) = { ours, lowest };
	struct worker w[2] = { { .index = 0 }, { .index = 1 } };
	double best[2][2] = { 0 }, rate;

	pthread_barrier_init(&gate, NULL, 3);
	for (int i = 0; i < 2; i++)
		if (pthread_create(&w[i].thread, NULL, work, &w[i]))
			return -EAGAIN;
	for (int i = 0; i < 48 * ROUNDS; i++) {
		int which = i & 1, n = i >> 1 & 1;

		job = jobs[which];
		rate = round_of(w, n + 1);
		if (rate > best[which][n])
			best[which][n] = rate;
	}
	round_of(w, 0);
	for (int i = 0; i < 2; i++)
		pthread_join(w[i].thread, NULL);
	printf("solo %.3f\nduo %.3f\nfloor_solo %.3f\nfloor_duo %.3f\n",
	       best[0][0], best[0][1], best[1][0], best[1][1]);
	return 0;
}

/* ---- set up ---- */

static int open_region(const char *path)
{
	struct dlog_boot_info info = { .release = "native",
				       .machine = "x86_64" };
	struct dlog_ring_end *ends;
	struct stat st;
	void *map;
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st))
		return -errno;
	map = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_POPULATE, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return -errno;
	if (dlog_region_open(&region, map, (uint64_t)st.st_size) ||
	    region.sb.nr_rings < 2)
		return -EINVAL;
	ends = calloc(region.sb.nr_rings, sizeof(*ends));
	if (!ends)
		return -ENOMEM;
	dlog_region_begin(&region, &info, ends);
	for (uint32_t i = 0; i < 2; i++) {
		dlog_ring_init(&rings[i], &region, i, &ends[i], true, false);
		/* a lap, so that every page is written and mapped writable */
		ours(&rings[i], (unsigned int)(region.sb.ring_size / SIZE));
	}
	free(ends);
	return 0;
}

static int open_provider(struct provider *p, const char *path)
{
	void *lib = dlopen(path, RTLD_NOW);

	if (!lib) {
		fprintf(stderr, "native: %s\n", dlerror());
		return -ENOENT;
	}
	*(void **)&p->array = dlsym(lib, "provider_array");
	*(void **)&p->string = dlsym(lib, "provider_string");
	*(void **)&p->enabled = dlsym(lib, "provider_enabled");
	if (!p->array || !p->string || !p->enabled) {
		fprintf(stderr, "native: %s is no provider\n", path);
		return -EINVAL;
	}
	if (!p->enabled()) {
		fprintf(stderr, "native: %s: no session has its events on\n",
			path);
		return -EAGAIN;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct provider lttng;
	int ret;

	if (argc < 2 || argc > 3) {
		fprintf(stderr, "usage: native REGION [PROVIDER]\n");
		return 2;
	}
	calibrate();
	ret = open_region(argv[1]);
	if (ret) {
		fprintf(stderr, "native: %s: %s\n", argv[1], strerror(-ret));
		return 1;
	}
	if (argc > 2 && open_provider(&lttng, argv[2]))
		return 1;
	costs(argc > 2 ? &lttng : NULL);
	if (sysconf(_SC_NPROCESSORS_ONLN) > 1 && scaling()) {
		fprintf(stderr, "native: no threads\n");
		return 1;
	}
	return 0;
}
