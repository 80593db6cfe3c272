// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz_stock.c - libFuzzer target: any bytes as a file of any format, by
 * content and by each format's name.
 *
 *	clang -g -O1 -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE \
 *		-Ishared-abi -Ihost-tools/lib tests/fuzz/fuzz_stock.c \
 *		host-tools/lib/{,region/,stock/,ram/}*.c -lz -lzstd \
 *		-o fuzz_stock
 *	./fuzz_stock -max_len=131072 CORPUS_DIR
 *
 * The Makefile's LDLIBS_LIB says which libraries the library needs.
 */
#include "run_stock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	run_stock(data, size, NULL);
	/* Number 0, the region, has a target of its own. */
	for (uint32_t n = 1; dlog_format_name(n); n++)
		run_stock(data, size, dlog_format_name(n));
	return 0;
}
