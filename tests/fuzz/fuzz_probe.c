// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz_probe.c - any bytes as a file of probes of the QEMU plugin, and hits of
 * what came of them, in a guest whose registers and memory are any bytes too.
 *
 * With libFuzzer:
 *
 *	clang -g -O1 -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE \
 *		-Ishared-abi -Iqemu-plugin tests/fuzz/fuzz_probe.c \
 *		qemu-plugin/probe/{parse,expr,guest,hit}.c -o fuzz_probe
 *	./fuzz_probe -dict=tests/fuzz/probe.dict -max_len=4096 CORPUS_DIR
 *
 * Without it (-DMUTATE, build/tests/mutate_probe): --count=N mutations of the
 * lines of a file, from --seed=N on.
 *
 * QEMU, the region and the symbols are played here.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "must.h"
#include "probe/probe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct plugin plugin = { .nr_vcpus = 1, .x86 = true };
struct api api;

/* ---- what the plugin's other parts would do ---- */

static char said[2048]; /* the last sentence */
static const uint8_t *guest; /* the guest's memory, from 0 on */
static size_t guest_size;
static uint64_t now;
static size_t longest; /* record_max() */
static unsigned int records;

void tell(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	MUST(vsnprintf(said, sizeof(said), format, ap) > 0);
	va_end(ap);
}

void record_say(uint32_t level, const char *format, ...)
{
	(void)level;
	(void)format;
}

int probe_error(const struct probe *p, const char *format, ...)
{
	(void)p;
	(void)format;
	return -EOPNOTSUPP;
}

int symbols_resolve(const char *text, uint64_t *address)
{
	*address = 0xffffffff81000000u + strlen(text) * 16;
	return strlen(text) < 3 ? -ENOENT : text[0] == 'z' ? -ENOTUNIQ : 0;
}

bool symbols_moved(uint64_t address)
{
	return address & 32;
}

bool symbols_slide(uint64_t *slide)
{
	*slide = 0x1000000;
	return now & 1;
}

bool count_known(void)
{
	return true;
}

bool record_stopped(void)
{
	return false;
}

uint64_t record_now(void)
{
	return now += 300000000;
}

size_t record_max(void)
{
	return longest;
}

int record_event_type(const char *name, const char *fields)
{
	MUST(!strncmp(name, "probe:", 6) && strlen(name) > 6);
	MUST(!strncmp(fields, "u32 vcpu;x64 pc;u64 executed;u64 hit", 36));
	MUST(fields[strlen(fields) - 1] != ';');
	return 1;
}

/* Each byte of a record is there: the sanitizers look. */
static void look(const void *data, size_t len)
{
	uint8_t *copy = malloc(len + 1);

	MUST(copy && len <= longest);
	memcpy(copy, data, len);
	for (size_t i = 0; i < len; i++)
		now ^= copy[i] & 2;
	free(copy);
	records++;
}

/* The size of what the fields are, walked as a reader would. */
static void walk(const struct probe *p, const uint8_t *at, size_t len)
{
	size_t off = 28;

	off += p->kind == PROBE_EXEC ? 0 : 10;
	off += p->has_value ? 8 : 0;
	off += p->needs_registers || p->needs_memory || p->needs_value ||
			       p->needs_physical || p->has_value
		       ? 4
		       : 0;
	for (unsigned int i = 0; i < p->nr_fields; i++) {
		const struct probe_field *f = &p->fields[i];

		if (f->use != FIELD_RECORDED)
			continue;
		MUST(off + (f->size ? f->size : 2) <= len);
		off += f->size ? f->size : 2u + at[off] + at[off + 1] * 256u;
	}
	MUST(off == len);
}

static const struct probe *hit_of;

void record_event(unsigned int vcpu, int id, const void *data, size_t len)
{
	MUST(!vcpu && id == 1);
	look(data, len);
	walk(hit_of, data, len);
}

void record_text(unsigned int vcpu, uint32_t pri, const void *text, size_t len)
{
	MUST(!vcpu && pri < 4096);
	look(text, len);
}

/* ---- what QEMU would do ---- */

static struct api_array *new_array(void)
{
	static uint8_t bytes[65536];
	static struct api_array array = { .data = bytes };

	return &array;
}

static bool read_vaddr(uint64_t address, struct api_array *to, size_t len)
{
	MUST(len && len <= TEXT_MAX);
	if (address >= guest_size || guest_size - address < len)
		return false;
	memcpy(to->data, guest + address, len);
	to->len = (unsigned int)len;
	return true;
}

static int read_reg(struct qemu_plugin_register *reg, struct api_array *to)
{
	uint64_t value = (uintptr_t)reg & 1 ? (uintptr_t)reg : now % 4096;

	memcpy((uint8_t *)to->data + to->len, &value, sizeof(value));
	to->len += 8;
	return 8;
}

static struct api_array *list_registers(void)
{
	static struct qemu_plugin_reg_descriptor d[] = {
		{ (void *)1, "rax", "" },
		{ (void *)2, "rdi", "" },
		{ (void *)3, "rsi", "" },
		{ (void *)4, "cr3", "" },
	};
	static struct api_array array = { .data = d, .len = 4 };

	return &array;
}

static void start(void)
{
	static bool started;

	if (started)
		return;
	started = true;
	plugin.x86_64 = true;
	api.version = 4;
	api.byte_array_new = new_array;
	api.read_memory_vaddr = read_vaddr;
	api.read_register = read_reg;
	api.get_registers = list_registers;
	MUST(!guest_start() && !hit_start());
}

/* ---- a file, and hits of its probes ---- */

static void hit(struct probe *p)
{
	for (unsigned int i = 0; i < 8; i++) {
		const struct hit h = {
			.pc = p->from,
			.executed = i,
			.address = i * 5,
			.value = i,
			.value_high = ~0ull,
			.size = p->kind == PROBE_EXEC ? 0 : 8,
			.store = i & 1,
			.has_value = i & 2,
			.has_physical = i & 4,
		};
		unsigned int before = records;
		uint64_t recorded = p->recorded;

		hit_of = p;
		longest = i & 1 ? 4040 : 1000;
		probe_hit(p, &h);
		MUST(records - before == p->recorded - recorded);
		MUST(p->recorded <= p->limit && p->recorded <= p->hits);
		MUST(!p->quiet || records == before);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = memchr(data, 0, size);
	size_t len = end ? (size_t)(end - data) : size;

	start();
	/* Behind a NUL comes the guest's memory; without one it is the text. */
	guest = end ? end + 1 : data;
	guest_size = end ? size - len - 1 : size;
	now = len;
	said[0] = 0;
	if (probes_parse("fuzz", (const char *)data, len)) {
		/* An error is one sentence that names the line. */
		MUST(!strncmp(said, "fuzz:", 5) && !strchr(said, '\n'));
	} else {
		guest_vcpu(0);
		for (unsigned int i = 0; i < nr_probes; i++) {
			struct probe *p = &probes[i];

			MUST(p->from <= p->to && p->every);
			p->has_value = p->kind != PROBE_EXEC && i & 1;
			if (!hit_declare(p))
				hit(p);
		}
	}
	probes_free();
	return 0;
}

#ifdef MUTATE
/* ---- without libFuzzer ---- */

static uint64_t random_state;

static uint32_t below(uint32_t n)
{
	random_state = random_state * 6364136223846793005u +
		       1442695040888963407u;
	return (uint32_t)((random_state >> 33) % n);
}

/* Some lines of the file, then changes to them. */
static size_t mutate(uint8_t *out, size_t room, const uint8_t *in, size_t size)
{
	size_t from = below((uint32_t)size), len;

	while (from &&
	       (in[from - 1] != '\n' || (from > 1 && in[from - 2] == '\\')))
		from--;
	len = 1 + below((uint32_t)(size - from));
	if (len > room / 2)
		len = room / 2;
	while (len < size - from && len < room / 2 &&
	       in[from + len - 1] != '\n')
		len++;
	memcpy(out, in + from, len);
	for (uint32_t i = below(5); i; i--) {
		size_t at = below((uint32_t)len);
		size_t piece = 1 + below(24);
		size_t other = below((uint32_t)size);

		if (piece > size - other)
			piece = size - other;
		switch (below(4)) {
		case 0:
			out[at] = (uint8_t)below(256);
			break;
		case 1:
			out[at] = (uint8_t) "()%$&:=?+-~!*/<>|^., 019afx\\\n#"
				[below(30)];
			break;
		case 2: /* over what is there */
			if (piece > len - at)
				piece = len - at;
			memcpy(out + at, in + other, piece);
			break;
		default: /* in between */
			if (len + piece > room)
				break;
			memmove(out + at + piece, out + at, len - at);
			memcpy(out + at, in + other, piece);
			len += piece;
		}
	}
	return len;
}

int main(int argc, char **argv)
{
	static uint8_t in[65536], out[8192];
	unsigned long count = 1000, good = 0;
	size_t size;
	FILE *f;

	for (; argc > 2; argc--, argv++)
		if (sscanf(argv[1], "--count=%lu", &count) != 1 &&
		    sscanf(argv[1], "--seed=%lu", &random_state) != 1)
			return 2;
	f = argc == 2 ? fopen(argv[1], "re") : NULL;
	if (!f)
		return 2;
	size = fread(in, 1, sizeof(in), f);
	fclose(f);
	if (!size)
		return 2;
	for (unsigned long i = 0; i < count; i++) {
		size_t len = mutate(out, sizeof(out), in, size);
		uint8_t *copy = malloc(len); /* its very size */

		MUST(copy);
		memcpy(copy, out, len);
		LLVMFuzzerTestOneInput(copy, len);
		good += !said[0];
		free(copy);
	}
	/* The lines themselves are right, and make records. */
	records = 0;
	LLVMFuzzerTestOneInput(in, size);
	if (said[0])
		fprintf(stderr, "%s\n", said);
	printf("%lu mutations, %lu of them right, %u records of the file\n",
	       count, good, records);
	return said[0] || !good;
}
#endif
