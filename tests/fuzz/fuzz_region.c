// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz_region.c - libFuzzer target: any bytes as a region.
 *
 *	clang -g -O1 -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE \
 *		-Ishared-abi -Ihost-tools/lib \
 *		tests/fuzz/fuzz_region.c \
 *		host-tools/lib/{,region/,stock/,ram/}*.c -o fuzz_region
 *	./fuzz_region -max_len=131072 CORPUS_DIR
 *
 * The mutator repairs the checks of superblock and records after each
 * change, or nothing behind them would ever be reached.
 */
#include "run.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
			       unsigned int seed);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	run_region(data, size, NULL, NULL);
	return 0;
}

/* A fresh region of 64 KiB with one record, to begin with. */
static size_t seed_region(uint8_t *data, size_t max_size)
{
	struct dlog_superblock sb = {
		.region_size = DLOG_REGION_MIN,
		.nr_rings = 1,
		.nr_cpus = 2,
		.subbuf_size = DLOG_SUBBUF_MIN,
		.boot_slots = 4,
		.catalog_size = 1024,
	};
	struct dlog_boot_info info = { .time = 1 };
	struct dlog_ring_end ends[2];
	struct dlog_region rg;
	struct dlog_ring ring;

	if (max_size < DLOG_REGION_MIN)
		return 0;
	memset(data, 0, DLOG_REGION_MIN);
	dlog_super_layout(&sb);
	dlog_super_seal(&sb);
	memcpy(data, &sb, sizeof(sb));
	memcpy(data + sb.backup_off, &sb, sizeof(sb));
	MUST(dlog_region_open(&rg, data, DLOG_REGION_MIN) == DLOG_SUPER_OK);
	dlog_region_begin(&rg, &info, ends);
	for (uint32_t n = 0; n < 2; n++) {
		dlog_ring_init(&ring, &rg, n, &ends[n], true, false);
		for (uint32_t i = 0; i < 200; i++)
			dlog_ring_append(&ring, DLOG_TYPE(2 + i % 8, i % 8), i,
					 data + i, i % 100);
	}
	return DLOG_REGION_MIN;
}

/* Walk each sub-buffer by its lengths, repairing one check in four. */
static void repair(uint8_t *data, size_t size, unsigned int seed)
{
	struct dlog_superblock sb;

	repair_super(data);
	memcpy(&sb, data, sizeof(sb));
	if (dlog_super_check(&sb, size) != DLOG_SUPER_OK)
		return;
	for (uint32_t ring = 0; ring < sb.nr_rings; ring++) {
		uint64_t s = dlog_hash_seed(sb.uuid, ring);
		uint8_t *base = data + sb.ring_off + ring * sb.ring_size;

		for (uint64_t sub = 0; sub < sb.ring_size;
		     sub += sb.subbuf_size) {
			uint8_t *p = base + sub;
			uint64_t at = dlog_load64(p + DLOG_HDR);
			uint64_t off = 0;

			while (off + DLOG_HDR <= sb.subbuf_size) {
				uint32_t top = dlog_load32(p + off + 4);

				seed = seed * 1664525u + 1013904223u;
				if (seed >> 30 == 0)
					repair_record(p + off,
						      sb.subbuf_size - off, s,
						      at + off, seed >> 27 & 1);
				off += DLOG_REC_SIZE(top & 0xffff);
			}
		}
	}
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
			       unsigned int seed)
{
	if (size < DLOG_REGION_MIN)
		size = seed_region(data, max_size);
	if (!size)
		return 0;
	size = LLVMFuzzerMutate(data, size, max_size);
	if (size >= sizeof(struct dlog_superblock) && seed % 8)
		repair(data, size, seed);
	return size;
}
