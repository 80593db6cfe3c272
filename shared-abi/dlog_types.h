/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dlog_types.h - what the shared sources need from their surroundings.
 *
 * The only file in shared-abi that knows where it is compiled: in the Linux
 * kernel, in freestanding code or in user space.  Relies on nothing but the
 * freestanding C headers and a compiler with GNU atomics (gcc, clang).
 */
#ifndef DLOG_TYPES_H
#define DLOG_TYPES_H

#ifdef __KERNEL__
#include <linux/types.h>
#include <linux/errno.h>
#include <linux/string.h>
#else
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/* Freestanding code brings these three; a compiler may call them anyway. */
void *memcpy(void *restrict dst, const void *restrict src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
#endif

/* Linux's numbers, for code that has no errno.h. */
#ifndef ENOENT
#define ENOENT 2
#endif
#ifndef EEXIST
#define EEXIST 17
#endif
#ifndef EINVAL
#define EINVAL 22
#endif
#ifndef ENOSPC
#define ENOSPC 28
#endif
#ifndef EMSGSIZE
#define EMSGSIZE 90
#endif

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "dlog regions are little-endian and so are its producers and readers"
#endif

#define DLOG_ALIGN_UP(x, a) (((x) + (a)-1) / (a) * (a))

#if defined(__GNUC__)
#define dlog_likely(x) __builtin_expect(!!(x), 1)
#define dlog_unlikely(x) __builtin_expect(!!(x), 0)
#define DLOG_INLINE static inline __attribute__((always_inline, unused))
#define DLOG_FN static __attribute__((unused))
/* One step at a time: fewer registers to save than all at once. */
#define dlog_hide(x) __asm__ volatile("" : "+r"(x))
#define DLOG_COLD static __attribute__((unused, __noinline__, cold))
#endif

/*
 * Loads that may be unaligned, and stores into the region.  A region store
 * is volatile so that the compiler neither drops, merges nor reorders it
 * against another one; what the CPU may do is said at each barrier.
 */
DLOG_INLINE uint64_t dlog_load64(const void *p)
{
	uint64_t v;

	__builtin_memcpy(&v, p, sizeof(v));
	return v;
}

DLOG_INLINE uint32_t dlog_load32(const void *p)
{
	uint32_t v;

	__builtin_memcpy(&v, p, sizeof(v));
	return v;
}

DLOG_INLINE void dlog_put64(void *p, uint64_t v)
{
	*(volatile uint64_t *)p = v;
}

DLOG_INLINE void dlog_put32(void *p, uint32_t v)
{
	*(volatile uint32_t *)p = v;
}

/* A store that no earlier store may pass, as seen by the host. */
DLOG_INLINE void dlog_put32_release(void *p, uint32_t v)
{
	__atomic_store_n((uint32_t *)p, v, __ATOMIC_RELEASE);
}

/* A counter in producer memory; i386 would align it to 4 bytes. */
typedef uint64_t __attribute__((aligned(8))) dlog_word;

/*
 * Compare and exchange on producer memory (never on the region).  On
 * failure *@old takes the value found.  With @local only the calling CPU and
 * what interrupts it touch *@p: x86 then needs no lock prefix, because one
 * instruction cannot be interrupted half way.
 */
DLOG_INLINE bool dlog_cas64(dlog_word *p, uint64_t *old, uint64_t val,
			    bool local)
{
#ifdef __x86_64__
	if (local) {
		bool ok;

		__asm__ volatile("cmpxchgq %3, %1"
				 : "=@ccz"(ok), "+m"(*p), "+a"(*old)
				 : "r"(val)
				 : "memory");
		return ok;
	}
#endif
	(void)local;
#if __SIZEOF_POINTER__ >= 8
	return __atomic_compare_exchange_n(p, old, val, false, __ATOMIC_RELAXED,
					   __ATOMIC_RELAXED);
#else
	{
		/* Of the other builtin gcc makes a call where FPUs are off. */
		uint64_t found = __sync_val_compare_and_swap(p, *old, val);
		bool ok = found == *old;

		*old = found;
		return ok;
	}
#endif
}

/* Whole-word read and write of producer memory, also on 32-bit CPUs. */
DLOG_INLINE uint64_t dlog_read64(const dlog_word *p)
{
#if __SIZEOF_POINTER__ >= 8
	return __atomic_load_n(p, __ATOMIC_RELAXED);
#else
	return __sync_val_compare_and_swap((dlog_word *)p, 0, 0);
#endif
}

DLOG_INLINE void dlog_write64(dlog_word *p, uint64_t v)
{
#if __SIZEOF_POINTER__ >= 8
	__atomic_store_n(p, v, __ATOMIC_RELAXED);
#else
	uint64_t old = *p;

	while (!dlog_cas64(p, &old, v, false))
		;
#endif
}

#endif
