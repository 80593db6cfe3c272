// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fill.c - large regions full of what a kernel really says, and the same
 * records as a CTF trace.
 *
 *	fill region FILE LOG [RECORDS]	FILE is of dlog-create; without
 *				RECORDS every ring is written once round
 *	fill ctf FOLDER LOG RECORDS	the same records, a stream for each of
 *				four rings; CTF 1.8, as babeltrace2 takes it
 *	fill damage FILE	a superblock, and bytes in one of a hundred
 *				sub-buffers, among them STARTs
 *
 * LOG is the output of dmesg -r.  Its lines are written again and again as
 * lines of printk, by CPUs that take turns, some microseconds apart.  "region"
 * prints, as "NAME NUMBER", where the bytes went: by the writer's own
 * positions.  Relies on shared-abi alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dlog_region.h"

#define LINES_MAX 65536
#define CALLER 1u /* a thread, as printk names it */

struct line {
	char *text;
	uint32_t len, pri;
};

static struct line lines[LINES_MAX];
static unsigned int nr_lines;

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "fill: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* "<6>[    0.000000] text" */
static void read_log(const char *path)
{
	FILE *f = fopen(path, "r");
	char *buf = NULL, *text;
	size_t room = 0;

	if (!f)
		fail(path);
	while (nr_lines < LINES_MAX && getline(&buf, &room, f) > 0) {
		struct line *l = &lines[nr_lines];

		buf[strcspn(buf, "\n")] = 0;
		text = strstr(buf, "] ");
		if (*buf != '<' || !text)
			continue;
		l->pri = (uint32_t)strtoul(buf + 1, NULL, 10);
		l->text = strdup(text + 2);
		if (!l->text)
			fail(path);
		l->len = (uint32_t)strlen(l->text);
		nr_lines++;
	}
	free(buf);
	fclose(f);
	if (!nr_lines) {
		errno = ENODATA;
		fail(path);
	}
}

/* Who says the next line, which, and when: the same in every run. */
struct talk {
	uint64_t random, time, n;
	uint32_t rings, ring;
};

static const struct line *talk_next(struct talk *t)
{
	t->random = t->random * UINT64_C(6364136223846793005) + 1;
	t->time += 1000 + (t->random >> 50);
	if (!(t->random >> 40 & 7))
		t->ring = (uint32_t)(t->random >> 33) % t->rings;
	return &lines[t->n++ % nr_lines];
}

static uint8_t *map_file(const char *path, size_t *size)
{
	struct stat st;
	int fd = open(path, O_RDWR | O_CLOEXEC);
	void *map;

	if (fd < 0 || fstat(fd, &st))
		fail(path);
	map = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		   fd, 0);
	if (map == MAP_FAILED)
		fail(path);
	close(fd);
	*size = (size_t)st.st_size;
	return map;
}

/* ---- a region ---- */

struct sums {
	uint64_t records, stream, text, tag, header, padding;
};

static void append(struct dlog_ring *r, const struct line *l, uint64_t time,
		   struct sums *s)
{
	uint64_t before, after, records;
	uint32_t stored = DLOG_REC_SIZE(l->len + 4);

	dlog_ring_tell(r, &before, &records);
	if (dlog_ring_append_tagged(r, DLOG_TYPE(DLOG_KIND_PRINTK, l->pri),
				    time, CALLER, l->text, l->len)) {
		errno = EMSGSIZE;
		fail(l->text);
	}
	dlog_ring_tell(r, &after, &records);
	s->records++;
	s->stream += after - before; /* START and tail before it included */
	s->text += l->len;
	s->tag += 4;
	s->header += DLOG_HDR;
	s->padding += stored - DLOG_HDR - 4 - l->len;
}

/* Bytes that a record of 64 bytes takes beyond them, as stored. */
static uint64_t overhead_64(struct dlog_ring *r, uint64_t time)
{
	static const char text[64];
	uint64_t before, after, records, least = UINT64_MAX;

	for (int i = 0; i < 2; i++) { /* at most one begins a sub-buffer */
		dlog_ring_tell(r, &before, &records);
		dlog_ring_append(r, DLOG_TYPE(DLOG_KIND_TEXT, 6), time, text,
				 sizeof(text));
		dlog_ring_tell(r, &after, &records);
		if (after - before - sizeof(text) < least)
			least = after - before - sizeof(text);
	}
	return least;
}

static void fill_region(const char *path, uint64_t count)
{
	struct dlog_boot_info info = { .release = "6.1.0-bench",
				       .machine = "x86_64" };
	struct talk t = { .random = 1 };
	struct sums s = { 0 };
	struct dlog_region rg;
	struct dlog_ring *rings;
	struct dlog_ring_end *ends;
	uint64_t room;
	size_t size;
	uint8_t *map = map_file(path, &size);

	if (dlog_region_open(&rg, map, size)) {
		errno = EINVAL;
		fail(path);
	}
	t.rings = rg.sb.nr_rings;
	rings = aligned_alloc(128, t.rings * sizeof(*rings));
	ends = calloc(t.rings, sizeof(*ends));
	if (!rings || !ends)
		fail(path);
	dlog_region_begin(&rg, &info, ends);
	for (uint32_t i = 0; i < t.rings; i++)
		dlog_ring_init(&rings[i], &rg, i, &ends[i], true, false);
	/* Shares differ by chance: a twentieth more, so that all are full. */
	room = rg.sb.ring_size * t.rings * 21 / 20;
	while (count ? s.records < count : s.stream < room) {
		const struct line *l = talk_next(&t);

		append(&rings[t.ring], l, t.time, &s);
	}
	printf("records %" PRIu64 "\nstream %" PRIu64 "\ntext %" PRIu64
	       "\ntag %" PRIu64 "\nheader %" PRIu64 "\npadding %" PRIu64
	       "\noverhead_64 %" PRIu64 "\n",
	       s.records, s.stream, s.text, s.tag, s.header, s.padding,
	       count ? 0 : overhead_64(&rings[0], t.time));
	dlog_region_status(&rg, DLOG_ST_RUNNING, t.time);
	free(rings);
	free(ends);
	munmap(map, size);
}

static void damage(const char *path)
{
	uint64_t random = 1;
	struct dlog_superblock sb;
	size_t size;
	uint8_t *map = map_file(path, &size);

	memcpy(&sb, map, sizeof(sb));
	if (dlog_super_check(&sb, size)) {
		errno = EINVAL;
		fail(path);
	}
	memset(map, 0xff, sizeof(sb));
	for (uint64_t off = sb.ring_off; off < sb.backup_off;
	     off += sb.subbuf_size * 100) {
		/* every other one at its very start */
		uint64_t at = random >> 40 & 1 ? random >> 45 & 0x7f8 : 0;

		for (int i = 0; i < 512; i++) {
			random = random * UINT64_C(6364136223846793005) + 1;
			map[off + at + (uint64_t)i] = (uint8_t)(random >> 56);
		}
	}
	munmap(map, size);
}

/* ---- the same as CTF 1.8 (diamon.org/ctf) ---- */

static const char metadata[] =
	"/* CTF 1.8 */\n"
	"typealias integer { size = 16; align = 8; } := u16;\n"
	"typealias integer { size = 32; align = 8; } := u32;\n"
	"typealias integer { size = 64; align = 8; } := u64;\n"
	"trace { major = 1; minor = 8; byte_order = le;\n"
	"  packet.header := struct { u32 magic; u32 stream_id; }; };\n"
	"clock { name = guest; freq = 1000000000; };\n"
	"typealias integer { size = 64; align = 8;\n"
	"  map = clock.guest.value; } := ns;\n"
	"stream { id = 0;\n"
	"  packet.context := struct { ns timestamp_begin; ns timestamp_end;\n"
	"    u64 content_size; u64 packet_size; u32 cpu_id; };\n"
	"  event.header := struct { ns timestamp; }; };\n"
	"event { name = \"printk\"; id = 0; stream_id = 0;\n"
	"  fields := struct { u16 priority; u32 caller; string text; }; };\n";

#define PACKET (1u << 20)
#define PACKET_HEAD 44u
#define STREAMS 4

struct stream {
	FILE *f;
	uint8_t *buf;
	uint32_t used, cpu;
	uint64_t first, last;
};

static void put(struct stream *s, const void *p, uint32_t n)
{
	memcpy(s->buf + s->used, p, n);
	s->used += n;
}

static void flush(struct stream *s)
{
	uint32_t magic = 0xc1fc1fc1, id = 0, used = s->used;
	uint64_t bits = (uint64_t)used * 8;

	if (used == PACKET_HEAD)
		return;
	s->used = 0;
	put(s, &magic, 4);
	put(s, &id, 4);
	put(s, &s->first, 8);
	put(s, &s->last, 8);
	put(s, &bits, 8);
	put(s, &bits, 8);
	put(s, &s->cpu, 4);
	if (fwrite(s->buf, used, 1, s->f) != 1)
		fail("a CTF stream");
	s->first = 0;
}

static void ctf_event(struct stream *s, const struct line *l, uint64_t time)
{
	uint16_t pri = (uint16_t)l->pri;
	uint32_t caller = CALLER;

	if (s->used + l->len + 15 > PACKET)
		flush(s);
	if (!s->first)
		s->first = time;
	s->last = time;
	put(s, &time, 8);
	put(s, &pri, 2);
	put(s, &caller, 4);
	put(s, l->text, l->len + 1);
}

static FILE *create(const char *folder, const char *name)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "w");
	if (!f)
		fail(path);
	return f;
}

static void fill_ctf(const char *folder, uint64_t count)
{
	struct stream streams[STREAMS] = { 0 };
	struct talk t = { .random = 1, .rings = STREAMS };
	FILE *f = create(folder, "metadata");
	char name[16];

	fputs(metadata, f);
	if (fclose(f))
		fail(folder);
	for (uint32_t i = 0; i < STREAMS; i++) {
		snprintf(name, sizeof(name), "cpu%u", i);
		streams[i].f = create(folder, name);
		streams[i].buf = malloc(PACKET);
		streams[i].used = PACKET_HEAD;
		streams[i].cpu = i;
		if (!streams[i].buf)
			fail(folder);
	}
	for (uint64_t i = 0; i < count; i++) {
		const struct line *l = talk_next(&t);

		ctf_event(&streams[t.ring], l, t.time);
	}
	for (int i = 0; i < STREAMS; i++) {
		flush(&streams[i]);
		if (fclose(streams[i].f))
			fail(folder);
		free(streams[i].buf);
	}
}

int main(int argc, char **argv)
{
	uint64_t count = argc > 4 ? strtoull(argv[4], NULL, 10) : 0;

	if (argc >= 4 && !strcmp(argv[1], "region")) {
		read_log(argv[3]);
		fill_region(argv[2], count);
	} else if (argc == 5 && !strcmp(argv[1], "ctf")) {
		read_log(argv[3]);
		fill_ctf(argv[2], count);
	} else if (argc == 3 && !strcmp(argv[1], "damage")) {
		damage(argv[2]);
	} else {
		fprintf(stderr, "usage: fill region FILE LOG [RECORDS]\n"
				"       fill ctf FOLDER LOG RECORDS\n"
				"       fill damage FILE\n");
		return 2;
	}
	for (unsigned int i = 0; i < nr_lines; i++)
		free(lines[i].text);
	return 0;
}
