// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz_btf.c - libFuzzer target: any bytes as BTF, and questions about it.
 *
 *	clang -g -O1 -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE \
 *		-Ishared-abi -Ihost-tools/lib tests/fuzz/fuzz_btf.c \
 *		host-tools/lib/ram/btf.c -o fuzz_btf
 *	./fuzz_btf -max_len=65536 CORPUS_DIR
 *
 * A corpus is made of modules' BTF (objcopy --dump-section .BTF=FILE), which is
 * small.  The questions are the names in the input itself, each as a type and
 * as a member of the one before.
 */
#include <stdlib.h>
#include <string.h>

#include "ram/btf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define QUESTIONS 64

static void ask(const struct btf *b)
{
	const char *before = "task_struct", *p = b->names;
	const char *end = b->names + b->names_len;
	struct dlog_ram_member m;
	char path[600];

	for (int n = 0; n < QUESTIONS && p < end; n++) {
		size_t len = strlen(p);

		btf_sizeof(b, p);
		if (!btf_member(b, before, p, &m) && m.bits &&
		    m.bit + m.bits > 8 * m.size)
			abort();
		if (len < 256 && strlen(before) < 256) {
			memcpy(path, before, strlen(before));
			path[strlen(before)] = '.';
			memcpy(path + strlen(before) + 1, p, len + 1);
			btf_member(b, p, path, &m);
			btf_member(b, before, path, &m);
		}
		before = p;
		p += len + 1;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);
	struct btf b;

	memcpy(copy, data, size);
	if (!btf_init(&b, copy, size)) {
		ask(&b);
		btf_free(&b);
	}
	return 0;
}
