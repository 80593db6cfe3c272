/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * types.h - the words every file of dlog-hv uses.
 */
#ifndef HV_TYPES_H
#define HV_TYPES_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

size_t strlen(const char *s);

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;

#define PAGE 4096ull
#define MIB (1ull << 20)
#define GIB (1ull << 30)
#define ARRAY_SIZE(a) (sizeof(a) / sizeof(*(a)))
#define ALIGN_UP(x, a) (((x) + (a)-1) & ~((u64)(a)-1))
#define ALIGN_DOWN(x, a) ((x) & ~((u64)(a)-1))

/* Linux's numbers, for results; dlog_types.h has more of them. */
#define ENOMEM 12
#define EFAULT 14
#define ENODEV 19

#endif
