// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz_event.c - libFuzzer target: any bytes as a format text of ftrace, and
 * as records of that event.
 *
 *	clang -g -O1 -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE \
 *		-Ishared-abi -Ihost-tools/lib -Ihost-tools/common{,/event} \
 *		$(pkg-config --cflags libtraceevent) tests/fuzz/fuzz_event.c \
 *		host-tools/lib/{,region/,stock/,ram/}*.c \
 *		host-tools/common/{event/*,sink}.c \
 *		-ltraceevent -lelf -o fuzz_event
 *	./fuzz_event -detect_leaks=0 -dict=tests/fuzz/event.dict \
 *		-max_len=8192 CORPUS_DIR
 *
 * An input is the format, a NUL, then the record; a corpus is made of the
 * kernel's own format files.  libtraceevent keeps some memory when it gives up
 * on a format, so leaks are not looked for.  To see its own faults at once,
 * build its sources with the same flags instead of -ltraceevent.
 */
#include <stdlib.h>
#include <string.h>

#include "dlog_region.h"
#include "event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REGION 262144u

static uint8_t memory[REGION] __attribute__((aligned(4096)));

static struct dlog *make_region(const char *format)
{
	static uint8_t buf[131072];
	struct dlog_superblock sb = {
		.region_size = REGION,
		.nr_rings = 1,
		.nr_cpus = 1,
		.subbuf_size = DLOG_SUBBUF_MIN,
		.boot_slots = 4,
		.catalog_size = 131072,
	};
	struct dlog_region rg;
	struct dlog *d;

	memset(memory, 0, sizeof(memory));
	if (dlog_super_layout(&sb))
		abort();
	dlog_super_seal(&sb);
	memcpy(memory, &sb, sizeof(sb));
	if (dlog_region_open(&rg, memory, REGION) != DLOG_SUPER_OK)
		abort();
	/* Another event comes first: libtraceevent looks there for types. */
	if (dlog_catalog_add(&rg, 0, "sched:sched_switch", "", format, buf,
			     sizeof(buf)) < 0 ||
	    dlog_catalog_add(&rg, 0, "kmem:kfree", "", format, buf,
			     sizeof(buf)) < 0)
		return NULL;
	if (dlog_open_memory(&d, memory, REGION, "fuzz", NULL))
		abort();
	return d;
}

static void decode(struct dlog *d, uint32_t id, const uint8_t *data, size_t len)
{
	struct event_decoder *dec = event_decoder(d);
	struct dlog_entry e = {
		.source = d,
		.boot = 1,
		.kind = DLOG_KIND_EVENT,
		.arg = id,
		/* Its very size, so that a byte too far is seen. */
		.data = malloc(len),
		.len = len,
	};
	const struct event_type *t = event_type(dec, id);
	struct event_data v;
	uint64_t sum = 0; /* each byte is read */
	const char *text;
	size_t n;

	memcpy((void *)(uintptr_t)e.data, data, len);
	text = event_text(dec, &e, &n);
	for (size_t k = 0; k < n; k++)
		sum += (uint8_t)text[k];
	event_pid(dec, &e);
	event_learn(dec, &e);
	for (uint32_t i = 0; t && i < t->nr_fields; i++) {
		event_get(t, &e, i, &v);
		for (size_t k = 0; k < v.len; k++)
			sum += v.data[k];
	}
	if (sum == UINT64_MAX)
		abort();
	free((void *)(uintptr_t)e.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = memchr(data, 0, size);
	char *format;
	struct dlog *d;
	size_t n;

	if (!end || end == data || end - data > 60000)
		return 0;
	format = strdup((const char *)data);
	d = make_region(format);
	free(format);
	if (!d)
		return 0;
	n = size - (size_t)(end + 1 - data);
	n = n < 8192 ? n : 8192;
	for (uint32_t id = 1; id <= 2; id++) {
		decode(d, id, end + 1, n);
		decode(d, id, end + 1, n / 2);
	}
	dlog_close(d);
	return 0;
}
