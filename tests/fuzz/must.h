/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * must.h - a finding: says where, and ends the fuzzer so that the input is
 * kept.  Not assert(), which -DNDEBUG takes away.
 */
#ifndef FUZZ_MUST_H
#define FUZZ_MUST_H

#include <stdio.h>
#include <stdlib.h>

#define MUST(x)                                                                \
	do {                                                                   \
		if (!(x)) {                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__,     \
				#x);                                           \
			abort();                                               \
		}                                                              \
	} while (0)

#endif
