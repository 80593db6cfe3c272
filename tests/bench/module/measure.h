/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * measure.h - what one call costs, by the time stamp counter.
 *
 * Under QEMU's -icount shift=0,sleep=off the counter advances by one for each
 * guest instruction; without -icount it is the host's clock.  The call stands
 * in the loop as it would in any module: no function pointer, no wrapper.
 * What both modules measure is here too.
 */
#ifndef DLOGBENCH_MEASURE_H
#define DLOGBENCH_MEASURE_H

#include <linux/kernel.h>
#include <linux/sched.h>
#include <linux/sort.h>
#include <linux/timex.h>
#include <linux/trace_events.h>

/* Ticks of @n times @statement, less those of an empty loop. */
#define BENCH(name, statement)                                                 \
	static noinline __maybe_unused u64 name(unsigned int n)                \
	{                                                                      \
		u64 start, empty, end;                                         \
                                                                               \
		start = rdtsc();                                               \
		for (unsigned int i = 0; i < n; i++)                           \
			barrier();                                             \
		empty = rdtsc();                                               \
		for (unsigned int i = 0; i < n; i++) {                         \
			barrier();                                             \
			statement;                                             \
		}                                                              \
		end = rdtsc();                                                 \
		return (end - empty) - (empty - start);                        \
	}

struct bench {
	const char *name;
	u64 (*run)(unsigned int n);
	unsigned int n;
};

#define BENCH_ROUNDS 15

static int bench_less(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

/* Hundredths of a tick for each call; one batch first, to warm up. */
static u64 bench_irqs_off(const struct bench *b)
{
	unsigned long flags;
	u64 ticks;

	local_irq_save(flags);
	b->run(b->n);
	ticks = b->run(b->n);
	local_irq_restore(flags);
	return ticks * 100 / b->n;
}

/*
 * With interrupts on a batch may contain a timer tick: the median of several,
 * of which most have none.  A tick may ask for the CPU, and every later
 * preempt_enable() then costs some instructions: let others run in between.
 */
static u64 __maybe_unused bench_irqs_on(const struct bench *b)
{
	u64 ticks[BENCH_ROUNDS];

	b->run(b->n);
	for (int i = 0; i < BENCH_ROUNDS; i++) {
		cond_resched();
		ticks[i] = b->run(b->n);
	}
	sort(ticks, BENCH_ROUNDS, sizeof(*ticks), bench_less, NULL);
	return ticks[BENCH_ROUNDS / 2] * 100 / b->n;
}

static char bench_text[64] =
	"a line of sixty-four bytes, as a kernel says it all day long...";
static struct {
	u32 ready, len;
	u64 time, text[8];
} bench_copy __aligned(64);

/* What a recorder that survives must do: copy, clock, publish. */
static __always_inline void bench_floor(void)
{
	char *text = bench_text;

	OPTIMIZER_HIDE_VAR(text);
	bench_copy.time = rdtsc();
	memcpy(bench_copy.text, text, sizeof(bench_copy.text));
	smp_store_release(&bench_copy.ready, 1);
}

static __always_inline u64 bench_crc(u64 crc, u64 word)
{
	asm("crc32q %1, %0" : "+r"(crc) : "rm"(word));
	return crc;
}

/* The same, with the processor's own CRC32C to prove it. */
static __always_inline void bench_floor_crc(void)
{
	char *text = bench_text;
	u64 now = rdtsc(), crc = bench_crc(~0u, now);

	OPTIMIZER_HIDE_VAR(text);
	bench_copy.time = now;
	for (int i = 0; i < 8; i++) {
		u64 word = ((u64 *)text)[i];

		bench_copy.text[i] = word;
		crc = bench_crc(crc, word);
	}
	smp_store_release(&bench_copy.ready, (u32)crc);
}

BENCH(run_floor_crc, bench_floor_crc())
BENCH(run_trace_puts, __trace_puts(_THIS_IP_, bench_text, sizeof(bench_text)))

#endif
