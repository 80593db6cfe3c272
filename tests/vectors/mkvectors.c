// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * mkvectors.c - makes the test vectors: small regions, and for each what must
 * be read from it.
 *
 *	mkvectors DIR      writes DIR/NAME.img and DIR/NAME.json
 *
 * The .json is not the output of a reader: each line is printed when the
 * record is appended, and laps are accounted for by arithmetic here.  Lines:
 *	{"ring":R,"boot":B,"position":P,"time":T,"kind":K,"arg":A,"data":"HEX"}
 * in the order of position, rings in turn.  Relies on shared-abi.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dlog_region.h"
#include "dlog_stream.h"

#define MAX_RECORDS 20000

/* What was appended, kept apart from the region. */
struct note {
	uint32_t ring, boot, kind, arg, len;
	uint64_t position, time;
	uint8_t data[4096];
	bool torn;
};

struct vector {
	const char *dir, *name;
	uint8_t *mem;
	struct dlog_region rg;
	struct dlog_ring ring[8];
	struct note *notes;
	unsigned int count;
	uint64_t now;
	uint64_t next[8]; /* where the next record must go, by our own sums */
};

static void die(const char *what)
{
	fprintf(stderr, "mkvectors: %s\n", what);
	exit(1);
}

static void begin_boot(struct vector *v, const char *release)
{
	struct dlog_boot_info info = {
		.time = v->now,
		.real = 1700000000000000000ull + v->now,
		.kernel_text = 0xffffffff81000000ull,
		.machine = "x86_64",
	};
	struct dlog_ring_end ends[8];
	uint32_t size = v->rg.sb.subbuf_size;

	snprintf(info.release, sizeof(info.release), "%s", release);
	memset(info.boot_id, (int)v->rg.boot + 0x41, sizeof(info.boot_id));
	if (dlog_region_begin(&v->rg, &info, ends))
		die("boot went on");
	for (uint32_t i = 0; i < v->rg.sb.nr_rings; i++) {
		dlog_ring_init(&v->ring[i], &v->rg, i, &ends[i], true, false);
		v->next[i] = DLOG_ALIGN_UP(v->next[i], (uint64_t)size);
		if (ends[i].next != v->next[i])
			die("boot does not begin where it should");
	}
	dlog_region_status(&v->rg, DLOG_ST_RUNNING, v->now);
}

static void open_vector(struct vector *v, const char *dir, const char *name,
			uint32_t rings, uint32_t size)
{
	struct dlog_superblock sb = {
		.region_size = size,
		.nr_rings = rings,
		.subbuf_size = 4096,
		.nr_cpus = 4,
		.boot_slots = 8,
		.catalog_size = 2048,
		.created = 1700000000000000000ull,
	};

	memset(v, 0, sizeof(*v));
	v->dir = dir;
	v->name = name;
	v->now = 1000000;
	v->notes = calloc(MAX_RECORDS, sizeof(*v->notes));
	v->mem = calloc(1, size);
	if (!v->notes || !v->mem)
		die("no memory");
	for (int i = 0; i < 16; i++)
		sb.uuid[i] = (uint8_t)(i * 17 + name[0]);
	snprintf((char *)sb.label, sizeof(sb.label), "vector %s", name);
	if (dlog_super_layout(&sb))
		die("layout");
	dlog_super_seal(&sb);
	memcpy(v->mem, &sb, sizeof(sb));
	memcpy(v->mem + sb.backup_off, &sb, sizeof(sb));
	if (dlog_region_open(&v->rg, v->mem, size) != DLOG_SUPER_OK)
		die("open");
	begin_boot(v, "6.1.0-vector");
}

/* Where a record of @len goes by the specification, not by the writer. */
static uint64_t place(struct vector *v, uint32_t ring, uint32_t len)
{
	uint32_t size = v->rg.sb.subbuf_size;
	uint32_t need = 16 + (len + 7) / 8 * 8;
	uint64_t at = v->next[ring];

	if (at % size == 0 || at % size + need > size)
		at = (at + size - 1) / size * size + 40;
	v->next[ring] = at + need;
	return at;
}

static struct note *note(struct vector *v, uint32_t ring, uint32_t kind,
			 uint32_t arg, const void *data, uint32_t len)
{
	struct note *n = &v->notes[v->count++];

	if (v->count > MAX_RECORDS || len > sizeof(n->data))
		die("too many or too long");
	v->now += 1000;
	*n = (struct note){
		.ring = ring,
		.boot = v->rg.boot,
		.kind = kind,
		.arg = arg,
		.len = len,
		.position = place(v, ring, len),
		.time = v->now,
	};
	memcpy(n->data, data, len);
	return n;
}

static void put(struct vector *v, uint32_t ring, uint32_t kind, uint32_t arg,
		const void *data, uint32_t len)
{
	struct note *n = note(v, ring, kind, arg, data, len);

	if (dlog_ring_append(&v->ring[ring], DLOG_TYPE(kind, arg), n->time,
			     data, len))
		die("append");
}

static void say(struct vector *v, uint32_t ring, const char *fmt, ...)
{
	char text[1024];
	va_list args;
	int len;

	va_start(args, fmt);
	len = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	put(v, ring, DLOG_KIND_TEXT, DLOG_PRI(0, 6), text, (uint32_t)len);
}

static void printk(struct vector *v, uint32_t ring, uint32_t caller,
		   const char *text)
{
	uint8_t data[1024];
	uint32_t len = (uint32_t)strlen(text);

	memcpy(data, &caller, 4);
	memcpy(data + 4, text, len);
	note(v, ring, DLOG_KIND_PRINTK, DLOG_PRI(0, 4), data, len + 4);
	if (dlog_ring_append_tagged(&v->ring[ring],
				    DLOG_TYPE(DLOG_KIND_PRINTK, DLOG_PRI(0, 4)),
				    v->now, caller, text, len))
		die("append");
}

/* Address of a position in the region. */
static uint8_t *at(struct vector *v, uint32_t ring, uint64_t position)
{
	return v->mem + v->rg.sb.ring_off + ring * v->rg.sb.ring_size +
	       position % v->rg.sb.ring_size;
}

/* A writer that stopped between its stores: only word 0 was stored. */
static void tear(struct vector *v, uint32_t ring, uint32_t len)
{
	uint8_t data[1024] = { 0 };
	uint32_t need = 16 + (len + 7) / 8 * 8;
	struct note *n = note(v, ring, DLOG_KIND_TEXT, 6, data, len);
	uint8_t *p, word0[8];

	n->torn = true;
	if (dlog_ring_append(&v->ring[ring], DLOG_TYPE(DLOG_KIND_TEXT, 6),
			     n->time, data, len))
		die("append");
	p = at(v, ring, n->position);
	memcpy(word0, p, 8);
	memset(p, 0, need);
	dlog_put32(p, dlog_hash_open(dlog_hash_start(
			      dlog_region_seed(&v->rg, ring), n->position,
			      DLOG_TYPE(DLOG_KIND_TEXT, 6) << 16 | len)));
	memcpy(p + 4, word0 + 4, 4);
}

static void write_file(struct vector *v, const char *ext, FILE **f)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s.%s", v->dir, v->name, ext);
	*f = fopen(path, "wb");
	if (!*f)
		die(path);
}

static void close_vector(struct vector *v)
{
	uint64_t ring_size = v->rg.sb.ring_size;
	FILE *f;

	write_file(v, "img", &f);
	if (fwrite(v->mem, v->rg.sb.region_size, 1, f) != 1 || fclose(f))
		die("write");
	write_file(v, "json", &f);
	for (uint32_t r = 0; r < v->rg.sb.nr_rings; r++) {
		uint32_t size = v->rg.sb.subbuf_size;
		uint64_t end = (v->next[r] + size - 1) / size * size;

		for (unsigned int i = 0; i < v->count; i++) {
			struct note *n = &v->notes[i];

			if (n->ring != r || n->torn ||
			    n->position / size * size + ring_size < end)
				continue;
			fprintf(f,
				"{\"ring\":%u,\"boot\":%u,\"position\":%llu,\"time\":%llu,\"kind\":%u,\"arg\":%u,\"data\":\"",
				n->ring, n->boot,
				(unsigned long long)n->position,
				(unsigned long long)n->time, n->kind, n->arg);
			for (uint32_t b = 0; b < n->len; b++)
				fprintf(f, "%02x", n->data[b]);
			fprintf(f, "\"}\n");
		}
	}
	if (fclose(f))
		die("write");
	free(v->mem);
	free(v->notes);
}

static void empty(struct vector *v, const char *dir)
{
	open_vector(v, dir, "empty", 2, 98304);
	close_vector(v);
}

static void kinds(struct vector *v, const char *dir)
{
	struct dlog_boot_note boot = { .boot = 1, .start_real = 42 };
	uint8_t scratch[512], data[400];
	int id;

	open_vector(v, dir, "kinds", 2, 98304);
	put(v, 0, DLOG_KIND_BOOT, 0, &boot, sizeof(boot));
	for (uint32_t len = 0; len < 40; len++) {
		for (uint32_t i = 0; i < len; i++)
			data[i] = (uint8_t)(0xff - i * 3);
		put(v, len % 2, DLOG_KIND_TEXT, DLOG_PRI(len, len % 8), data,
		    len);
	}
	printk(v, 0, 17, "a whole line");
	printk(v, 0, DLOG_CALLER_CPU | 1, "");
	printk(v, 1, DLOG_CALLER_OPEN | 5, "x");
	printk(v, 1, DLOG_CALLER_CPU, "abc");
	id = dlog_catalog_add(&v->rg, v->now, "test:one", "u32 a; s16 b", NULL,
			      scratch, sizeof(scratch));
	if (id != 1 ||
	    dlog_catalog_add(&v->rg, v->now, "test:two", "str s", NULL, scratch,
			     sizeof(scratch)) != 2 ||
	    dlog_catalog_add(&v->rg, v->now, "test:one", "u32 a; s16 b", NULL,
			     scratch, sizeof(scratch)) != 1)
		die("catalog");
	put(v, 0, DLOG_KIND_EVENT, 1, "\1\0\0\0\377\377", 6);
	put(v, 0, DLOG_KIND_EVENT, 4095, data, 33);
	put(v, 1, DLOG_KIND_STATE, DLOG_ST_PANIC, "why", 3);
	memset(data, 0, sizeof(data));
	put(v, 1, DLOG_KIND_REGS, 0, data, 8 + 336);
	put(v, 1, DLOG_KIND_STACK, 0, "\1\0\0\0\4\0\0\0f+0x1\ng+0x2", 19);
	close_vector(v);
}

/* A record of the catalog that is no event type. */
static void catalog(struct vector *v, uint32_t kind, uint32_t object,
		    const void *data, uint32_t len)
{
	struct dlog_catalog_item end = { 0 };

	while (dlog_catalog_next(&v->rg, &end))
		;
	v->now += 1000;
	if (dlog_catalog_append(&v->rg, &end, v->now, DLOG_TYPE(kind, object),
				data, len))
		die("catalog");
}

static const char format[] =
	"name: tick\nformat:\n"
	"\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"
	"\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n"
	"\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n"
	"\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n"
	"\tfield:unsigned long ip;\toffset:8;\tsize:8;\tsigned:0;\n"
	"\tfield:int n;\toffset:16;\tsize:4;\tsigned:1;\n\n"
	"print fmt: \"%pS n=%d\", (void *)REC->ip, REC->n\n";

/* A broken rule, an event of ftrace, and symbols that name its address. */
static void names(struct vector *v, const char *dir)
{
	static const uint64_t args[] = { 0x1234, 0xfffffffffffffffe };
	static const char texts[] = "kernel_read\0file is an error\0f+0x1/0x2";
	static const uint8_t event[] = { 1,    0,    0,	   0,	 42,
					 0,    0,    0,	   0x10, 0x10,
					 0x00, 0x81, 0xff, 0xff, 0xff,
					 0xff, 0xf9, 0xff, 0xff, 0xff };
	static const char object[] = "vmlinux 6.1.0-vector #1";
	uint8_t scratch[1024], data[256];

	open_vector(v, dir, "names", 1, 65536);
	if (dlog_catalog_add(&v->rg, v->now, "test:tick", "", format, scratch,
			     sizeof(scratch)) != 1)
		die("catalog");
	catalog(v, DLOG_KIND_OBJECT, 1, object, sizeof(object));
	dlog_put32(data, 0x1000);
	dlog_put32(data + 4, 0x100);
	memcpy(data + 8, "do_thing", 9);
	dlog_put32(data + 17, 0x1100);
	dlog_put32(data + 21, 0);
	memcpy(data + 25, "next", 5);
	catalog(v, DLOG_KIND_SYMBOLS, 1, data, 30);
	dlog_put32(data, 1);
	dlog_put32(data + 4, 0x2000);
	dlog_put64(data + 8, 0xffffffff81000000);
	catalog(v, DLOG_KIND_BASE, 1, data, 16);
	dlog_put64(data, 0xffffffffc0000001);
	dlog_put32(data + 8, DLOG_CALL_FATAL | DLOG_CALL_RESULT);
	dlog_put32(data + 12, 2);
	dlog_put64(data + 16, args[0]);
	dlog_put64(data + 24, args[1]);
	memcpy(data + 32, texts, sizeof(texts));
	put(v, 0, DLOG_KIND_CALL, DLOG_PRI(0, 2), data, 32 + sizeof(texts));
	put(v, 0, DLOG_KIND_EVENT, 1, event, sizeof(event));
	close_vector(v);
}

/* A record of @words words, to be filled. */
static struct note *stream(struct vector *v, struct dlog_stream *s,
			   uint32_t cpu, uint32_t words, uint64_t executed)
{
	static const uint8_t zero[1024];
	struct note *n = note(v, 1, DLOG_KIND_BLOCKS, cpu, zero, words * 8);

	if (dlog_stream_begin(s, &v->ring[1], DLOG_TYPE(DLOG_KIND_BLOCKS, cpu),
			      n->time, words))
		die("stream");
	dlog_stream_put(s, executed);
	dlog_put64(n->data, executed);
	n->len = 8;
	return n;
}

static void stream_put(struct dlog_stream *s, struct note *n, uint64_t word)
{
	dlog_stream_put(s, word);
	dlog_put64(n->data + n->len, word);
	n->len += 8;
}

/* What a CPU executed: one record is whole, one not full, two are open. */
static void blocks(struct vector *v, const char *dir)
{
	struct dlog_stream s, other;
	struct note *n, *empty;

	open_vector(v, dir, "blocks", 2, 98304);
	n = stream(v, &s, 5, 7, 0);
	stream_put(&s, n, DLOG_BLOCK(0xfffffff0, 1));
	stream_put(&s, n, DLOG_BLOCK(0xffffffff81000000, 127));
	stream_put(&s, n, DLOG_BLOCK(0xff00000000001000, 3));
	dlog_stream_draft(&s, DLOG_REPEAT(2, 1));
	say(v, 1, "said meanwhile");
	stream_put(&s, n, DLOG_REPEAT(2, 1001));
	stream_put(&s, n, DLOG_BLOCK(0x00fffffffffffff8, 2));
	stream_put(&s, n, DLOG_BLOCK(0x10, 1));
	dlog_stream_end(&s);
	n = stream(v, &s, 5, 6, 65261);
	stream_put(&s, n, DLOG_BLOCK(0x20, 1));
	dlog_stream_end(&s);
	n->len = 48;
	n = stream(v, &s, 5, 63, 65262);
	stream_put(&s, n, DLOG_BLOCK(0x30, 1));
	dlog_stream_draft(&s, DLOG_REPEAT(1, 1000000));
	dlog_put64(n->data + 16, DLOG_REPEAT(1, 1000000));
	n->len = 24;
	empty = stream(v, &other, 4095, 5, 0);
	if (empty->len != 8)
		die("empty");
	say(v, 1, "behind them");
	close_vector(v);
}

static void laps(struct vector *v, const char *dir)
{
	open_vector(v, dir, "laps", 2, 98304);
	for (int i = 0; i < 3000; i++)
		say(v, i % 3 == 0, "record %d %.*s", i, i % 97,
		    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz");
	close_vector(v);
}

static void boots(struct vector *v, const char *dir)
{
	char release[64];

	open_vector(v, dir, "boots", 2, 131072);
	for (int b = 1; b <= 11; b++) {
		for (int i = 0; i < 10 * b; i++)
			say(v, (i & 3) == 0, "boot %d line %d", b, i);
		if (b == 11)
			break;
		v->now += 1000000;
		dlog_region_status(&v->rg, DLOG_ST_REBOOT, v->now);
		snprintf(release, sizeof(release), "6.1.%d-vector", b);
		begin_boot(v, release);
	}
	close_vector(v);
}

static void torn(struct vector *v, const char *dir)
{
	open_vector(v, dir, "torn", 1, 65536);
	for (int i = 0; i < 60; i++) {
		say(v, 0, "before %d", i);
		if (i % 7 == 3)
			tear(v, 0, (uint32_t)(i % 50));
		say(v, 0, "after %d %d", i, i * i);
	}
	close_vector(v);
}

/* The START of one sub-buffer in the middle and of the newest are lost. */
static void nostart(struct vector *v, const char *dir)
{
	open_vector(v, dir, "nostart", 1, 65536);
	for (int i = 0; i < 500; i++)
		say(v, 0, "number %d of a ring whose STARTs are damaged", i);
	memset(at(v, 0, (v->next[0] / 4096 - 2) * 4096), 0xa5, 40);
	memset(at(v, 0, v->next[0] / 4096 * 4096), 0, 40);
	close_vector(v);
}

static void backup(struct vector *v, const char *dir)
{
	open_vector(v, dir, "backup", 1, 65536);
	say(v, 0, "the first superblock is gone");
	memset(v->mem, 0, 4096);
	close_vector(v);
}

int main(int argc, char **argv)
{
	static struct vector v;

	if (argc != 2)
		die("usage: mkvectors DIR");
	empty(&v, argv[1]);
	kinds(&v, argv[1]);
	laps(&v, argv[1]);
	boots(&v, argv[1]);
	torn(&v, argv[1]);
	nostart(&v, argv[1]);
	backup(&v, argv[1]);
	names(&v, argv[1]);
	blocks(&v, argv[1]);
	return 0;
}
