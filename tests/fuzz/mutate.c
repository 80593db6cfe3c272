// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * mutate.c - libdlog on damaged regions, many times.
 *
 *	mutate [--count=N] [--seed=N] [--keep=DIR] [FILE]
 *
 * Takes FILE (a region that a real guest wrote) or makes regions with the
 * shared writer, and damages a copy again and again: bits, blocks, lengths,
 * and, as an attacker would, fields of superblock, tables and records with
 * their checks repaired.  Each time everything is read.  It must not crash
 * (run it with sanitizers), every record given out must be the one that was
 * written there unless this run forged records, none is given twice, and no
 * run takes more than a time that is linear in the region's size.  --keep also
 * writes each damaged region to a file, DIR/1 and so on.
 */
#include <getopt.h>
#include <time.h>

#include "dlog_stream.h"
#include "run.h"

#define NS_PER_KIB 3000000ull /* of CPU time; an honest one takes 1/50 */

static uint64_t rng;

static uint64_t rnd(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng * 0x2545f4914f6cdd1dull >> 1;
}

static uint64_t below(uint64_t n)
{
	return n ? rnd() % n : 0;
}

static uint64_t extreme(void)
{
	static const uint64_t v[] = { 0,
				      1,
				      7,
				      8,
				      4095,
				      4096,
				      65535,
				      65536,
				      0x7fffffff,
				      0x80000000,
				      0xffffffff,
				      UINT64_C(1) << 40,
				      UINT64_C(1) << 51,
				      UINT64_MAX / 2,
				      UINT64_MAX - 7,
				      UINT64_MAX };

	return below(3) ? v[below(sizeof(v) / sizeof(v[0]))] : rnd();
}

/* ---- what was written ---- */

struct truth {
	uint64_t position, time;
	uint32_t ring, top, seen; /* seen: number of the run */
	const uint8_t *data; /* in the undamaged region */
};

struct base {
	uint8_t *mem;
	size_t size;
	struct truth *t;
	uint32_t n;
};

#define TABLE 65536u
struct slot {
	uint64_t position;
	uint32_t ring, run, truth;
};

static struct base bases[3];
static struct base *base;
static struct slot truth_of[3][TABLE]; /* truth: index + 1 */
static struct slot given[TABLE]; /* in this run */
static uint32_t run;
static bool forged;

static struct slot *slot_find(struct slot *t, uint32_t stamp, uint32_t ring,
			      uint64_t position)
{
	uint32_t i = (uint32_t)((position / 8 * 0x9e3779b97f4a7c15u) >> 40) +
		     ring * 7919;

	for (;; i++) {
		struct slot *s = &t[i % TABLE];

		if (s->run != stamp ||
		    (s->ring == ring && s->position == position))
			return s;
	}
}

static void truth_add(struct base *b, uint32_t ring, uint64_t position,
		      const uint8_t *rec)
{
	struct slot *s = slot_find(truth_of[b - bases], 1, ring, position);

	if (s->run == 1)
		return;
	b->t = realloc(b->t, (b->n + 1) * sizeof(*b->t));
	MUST(b->t && b->n < TABLE / 2);
	b->t[b->n++] = (struct truth){ .position = position,
				       .time = dlog_load64(rec + 8),
				       .ring = ring,
				       .top = dlog_load32(rec + 4),
				       .data = rec + DLOG_HDR };
	*s = (struct slot){ position, ring, 1, b->n };
}

static void see(void *arg, const struct dlog_entry *e)
{
	struct slot *s = slot_find(given, run, e->ring, e->position);
	const struct truth *t;
	uint32_t skip, len;

	MUST(s->run != run); /* given twice */
	*s = (struct slot){ e->position, e->ring, run, 0 };
	MUST(++*(uint32_t *)arg < TABLE / 2); /* room in the table */
	/* Nothing proves the data of an open one. */
	if (forged || e->doubt)
		return;
	s = slot_find(truth_of[base - bases], 1, e->ring, e->position);
	MUST(s->run == 1); /* never written */
	t = &base->t[s->truth - 1];
	MUST(e->time == t->time);
	MUST((e->kind | e->arg << 4) == t->top >> 16);
	skip = e->kind == DLOG_KIND_PRINTK ? 4 : 0;
	len = (t->top & 0xffff) - skip;
	/* A line may have been joined with the pieces behind it. */
	MUST(e->len == len || (skip && e->len > len));
	MUST(!memcmp(e->data, t->data + skip, len));
}

/* ---- the undamaged regions ---- */

static void append(struct dlog_region *rg, struct dlog_ring *r,
		   struct dlog_stream *s, uint32_t n, uint64_t i)
{
	static uint64_t now;
	uint8_t buf[300];
	uint32_t len = (uint32_t)below(below(10) ? 90 : 300);
	uint32_t kind = DLOG_KIND_TEXT;

	for (uint32_t k = 0; k < len; k++)
		buf[k] = (uint8_t)(k < 8 ? i >> k * 8 : rnd());
	now += below(1000);
	if (i % 3 == 0)
		kind = DLOG_KIND_EVENT + (uint32_t)below(6);
	if (i % 5 == 0) {
		static const uint32_t flags[] = { 0, 0, DLOG_CALLER_OPEN,
						  DLOG_CALLER_CONT };

		MUST(!dlog_ring_append_tagged(
			r, DLOG_TYPE(DLOG_KIND_PRINTK, below(192)), now,
			7 | flags[below(4)], buf, len));
	} else {
		MUST(!dlog_ring_append(r, DLOG_TYPE(kind, below(6)), now, buf,
				       len));
	}
	if (i % 11 == 0) {
		if (s->at == s->end) {
			dlog_stream_end(s);
			MUST(!dlog_stream_begin(s, r,
						DLOG_TYPE(DLOG_KIND_BLOCKS, n),
						now, 2 + (uint32_t)below(20)));
		}
		dlog_stream_put(s, rnd() | 1);
	}
	if (i % 16 == 0)
		dlog_region_beat(rg, n, n, r, now, true);
}

static void make(struct base *b, size_t size, uint32_t rings, uint32_t subbuf,
		 uint32_t records)
{
	struct dlog_superblock *sb;
	struct dlog_ring_end ends[8];
	struct dlog_ring ring[8];
	struct dlog_region rg;
	uint8_t scratch[256];

	b->size = size;
	b->mem = calloc(1, size);
	MUST(b->mem);
	sb = (struct dlog_superblock *)b->mem;
	sb->region_size = size;
	sb->nr_rings = sb->nr_cpus = rings;
	sb->subbuf_size = subbuf;
	sb->boot_slots = 4;
	sb->catalog_size = 2048;
	for (int i = 0; i < 16; i++)
		sb->uuid[i] = (uint8_t)rnd();
	MUST(!dlog_super_layout(sb));
	dlog_super_seal(sb);
	memcpy(b->mem + sb->backup_off, sb, sizeof(*sb));
	MUST(dlog_region_open(&rg, b->mem, size) == DLOG_SUPER_OK);
	for (uint32_t boot = 0; boot < 3; boot++) {
		struct dlog_boot_info info = { .time = boot + 1, .real = 99 };
		struct dlog_regs regs = { .machine = 62 };
		/* Left open when the boot ends. */
		struct dlog_stream stream[8] = { 0 };

		strcpy(info.release, "6.1");
		dlog_region_begin(&rg, &info, ends);
		dlog_region_status(&rg, DLOG_ST_RUNNING, 5);
		dlog_region_clock(&rg, boot, 5, 1700000000000000000u, 5);
		dlog_region_regs(&rg, &regs, scratch, 0);
		dlog_catalog_add(&rg, 1, "sched", "u32 pid; char comm[16]",
				 NULL, scratch, sizeof(scratch));
		dlog_catalog_add(&rg, 1, "io", "str what; s64 n; x8 flags",
				 NULL, scratch, sizeof(scratch));
		for (uint32_t i = 0; i < rings; i++)
			dlog_ring_init(&ring[i], &rg, i, &ends[i], true, false);
		for (uint32_t i = 0; i < records; i++)
			append(&rg, &ring[i % rings], &stream[i % rings],
			       i % rings, i);
	}
}

static void base_see(void *arg, const struct dlog_entry *e)
{
	struct base *b = arg;
	struct dlog_info info;
	struct dlog_superblock sb;

	dlog_get_info(e->source, &info);
	memcpy(&sb, b->mem, sizeof(sb));
	truth_add(b, e->ring, e->position,
		  b->mem + sb.ring_off + e->ring * sb.ring_size +
			  e->position % sb.ring_size);
}

/*
 * What proves itself at any offset, without libdlog: records of this lap,
 * and of earlier ones where nothing was written over them.  All this was
 * written once, and may be given out when damage hides what came later.
 */
static void base_walk(struct base *b)
{
	struct dlog_superblock sb;
	uint64_t subs;

	memcpy(&sb, b->mem, sizeof(sb));
	subs = sb.ring_size / sb.subbuf_size;
	for (uint64_t i = 0; i < sb.nr_rings * subs * sb.subbuf_size; i += 8) {
		uint32_t off = (uint32_t)(i % sb.subbuf_size), n;
		const uint8_t *p = b->mem + sb.ring_off + i;
		uint32_t ring = (uint32_t)(i / sb.ring_size);
		uint64_t seed = dlog_hash_seed(sb.uuid, ring);
		uint64_t at = dlog_load64(p - off + DLOG_HDR) + off;

		for (uint32_t laps = 0; off >= DLOG_START_SIZE && laps < 8;
		     laps++, at -= sb.ring_size)
			if (dlog_record_probe(p, sb.subbuf_size - off, seed, at,
					      &n) == DLOG_RECORD_FULL)
				truth_add(b, ring, at, p);
	}
}

static void load(struct base *b, const char *path)
{
	FILE *f = fopen(path, "rb");
	long size;

	if (!f) {
		perror(path);
		exit(2);
	}
	fseek(f, 0, SEEK_END);
	size = ftell(f);
	rewind(f);
	b->size = (size_t)size;
	b->mem = malloc(b->size);
	MUST(b->mem && fread(b->mem, 1, b->size, f) == b->size);
	fclose(f);
	/* Behind a START that it lost, what libdlog reads is the truth. */
	run_region(b->mem, b->size, base_see, b);
}

/* ---- mutations ---- */

static uint8_t *mem;
static size_t size;
static struct dlog_superblock sb0; /* undamaged */

static size_t place(void)
{
	/* Half of them where the tables are. */
	return below(2) ? below(size) : below(size < 20480 ? size : 20480);
}

static void flip_bits(void)
{
	for (uint64_t n = 1 + below(64); n; n--)
		mem[place()] ^= (uint8_t)(1u << below(8));
}

static size_t block(size_t *at)
{
	size_t len = 1 + below(below(4) ? 256 : size / 2);

	*at = below(4) ? place() : below(size / 512) * 512;
	return len < size - *at ? len : size - *at;
}

static void garbage(void)
{
	size_t at, len = block(&at);

	for (size_t i = 0; i < len; i++)
		mem[at + i] = (uint8_t)rnd();
}

static void zeroes(void)
{
	size_t at, len = block(&at);

	memset(mem + at, 0, len);
}

static void copies(void)
{
	size_t at, len = block(&at), to = place();

	if (below(2)) {
		at &= ~(size_t)7;
		to &= ~(size_t)7;
	}
	if (at + len <= size && to + len <= size)
		memmove(mem + to, mem + at, len);
}

static void cut(void)
{
	size = below(4) ? size - below(size / 2) : below(size);
}

static void put_some(uint8_t *p, size_t room, uint64_t v)
{
	size_t n = (size_t)1 << below(4);

	if (n <= room)
		memcpy(p, &v, n);
}

static void super_field(void)
{
	size_t at = below(4) ? 12 + below(212) / 4 * 4 : below(256);

	if (size < 256)
		return;
	put_some(mem + at, 256 - at, extreme());
	if (!below(8))
		return;
	repair_super(mem);
	if (below(2) && sb0.backup_off + 256 <= size)
		memcpy(mem + sb0.backup_off, mem, 256);
	/* Offsets of tables may now lie in rings: anything may verify. */
	if (memcmp(mem + 32, sb0.uuid, 16))
		forged = true;
}

/* A record that is there, or none. */
static uint8_t *some_record(uint64_t *seed, uint64_t *position, size_t *room)
{
	const struct truth *t;
	size_t at;

	if (!base->n)
		return NULL;
	t = &base->t[below(base->n)];
	*position = t->position;
	if (!below(6)) /* the START of its sub-buffer */
		*position -= *position % sb0.subbuf_size;
	at = sb0.ring_off + t->ring * sb0.ring_size + *position % sb0.ring_size;
	*seed = dlog_hash_seed(sb0.uuid, t->ring);
	if (at + 64 > size)
		return NULL;
	*room = sb0.subbuf_size - *position % sb0.subbuf_size;
	if (*room > size - at)
		*room = size - at;
	return mem + at;
}

static void record_field(bool repair)
{
	uint64_t seed, position;
	size_t room, at;
	uint8_t *p = some_record(&seed, &position, &room);

	if (!p || room < 48)
		return;
	at = below(40);
	put_some(p + at, 8, extreme());
	if (repair) {
		forged = true;
		repair_record(p, room, seed, position, !below(4));
	}
}

static void record_extreme(void)
{
	record_field(false);
}

static void record_forged(void)
{
	record_field(true);
}

/* Every word a header of a long record: resynchronising must stay linear. */
static void bait(void)
{
	size_t at, len = block(&at);
	uint32_t long_len = (uint32_t)(below(2) ? 65000 : 3000);
	bool open = !below(4);

	at &= ~(size_t)7;
	for (size_t i = at; i + 16 <= at + len; i += 8) {
		uint64_t top = DLOG_TYPE(2, 6) << 16 | long_len;
		uint64_t in = i - sb0.ring_off;

		dlog_put64(mem + i, top << 32 | (rnd() & 0xffffffff));
		if (open && i >= sb0.ring_off && in < sb0.ring_size)
			repair_record(mem + i, 16, dlog_hash_seed(sb0.uuid, 0),
				      in, true);
	}
}

/* Fields of a boot table entry, its check repaired. */
static void boot_field(void)
{
	uint32_t len = (uint32_t)(sizeof(struct dlog_boot) +
				  sb0.nr_rings * sizeof(struct dlog_boot_ring));
	uint64_t off = sb0.boot_off + below(sb0.boot_slots) * sb0.boot_stride;
	uint32_t check;

	if (off + len > size)
		return;
	for (uint64_t n = below(4); n; n--) {
		uint64_t at = 8 + below(len - 8);

		put_some(mem + off + at, len - at, extreme());
	}
	check = dlog_object_check(
		mem + off, len, dlog_hash_seed(sb0.uuid, DLOG_SEED_BOOT), off);
	memcpy(mem + off, &check, 4);
}

/* Any word of state page, CPU slots, clock and registers. */
static void table_word(void)
{
	uint64_t at = sb0.state_off +
		      below(sb0.ring_off - sb0.state_off) / 4 * 4;

	if (at + 8 <= size)
		put_some(mem + at, 8, extreme());
}

static void catalog_field(void)
{
	uint64_t seed = dlog_hash_seed(sb0.uuid, DLOG_SEED_CATALOG);
	uint64_t off = sb0.catalog_off, at;

	if (off + sb0.catalog_size > size)
		return;
	if (below(2)) /* the second one */
		off += DLOG_REC_SIZE(dlog_load32(mem + off + 4) & 0xff);
	at = 4 + below(80);
	put_some(mem + off + at, 8, extreme());
	repair_record(mem + off, (size_t)(sb0.ring_off - off), seed, off,
		      false);
}

static void (*const mutation[])(void) = {
	flip_bits, flip_bits,	garbage,	zeroes,	       copies,
	cut,	   super_field, record_extreme, record_forged, record_forged,
	bait,	   boot_field,	table_word,	catalog_field,
};

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void keep_file(const char *dir, const uint8_t *data)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%u", dir, run);
	f = fopen(path, "wb");
	MUST(f && fwrite(data, 1, size, f) == size && !fclose(f));
}

static uint64_t one(const char *keep)
{
	uint32_t count = 0;
	uint64_t t0;
	uint8_t *exact;

	forged = false;
	size = base->size;
	mem = malloc(size);
	MUST(mem);
	memcpy(mem, base->mem, size);
	memcpy(&sb0, mem, sizeof(sb0));
	for (uint64_t n = 1 + below(3); n && size >= 512; n--)
		mutation[below(sizeof(mutation) / sizeof(mutation[0]))]();
	/* So that the sanitizer sees the very end. */
	exact = realloc(mem, size ? size : 1);
	MUST(exact);
	if (keep)
		keep_file(keep, exact);
	t0 = cpu_ns();
	run_region(exact, size, see, &count);
	t0 = cpu_ns() - t0;
	MUST(t0 < NS_PER_KIB * (size / 1024 + 1));
	free(exact);
	return t0;
}

int main(int argc, char **argv)
{
	static const struct option opts[] = {
		{ "count", required_argument, NULL, 'c' },
		{ "seed", required_argument, NULL, 's' },
		{ "keep", required_argument, NULL, 'k' },
		{ NULL, 0, NULL, 0 },
	};
	uint64_t count = 1000, seed = 1, worst = 0;
	const char *keep = NULL;
	uint32_t nr = 3;
	int opt;

	while ((opt = getopt_long(argc, argv, "c:s:k:", opts, NULL)) != -1) {
		if (opt == 'c')
			count = strtoull(optarg, NULL, 0);
		else if (opt == 's')
			seed = strtoull(optarg, NULL, 0);
		else if (opt == 'k')
			keep = optarg;
		else
			return 2;
	}
	rng = seed * 0x9e3779b97f4a7c15u + 1;
	if (optind < argc) {
		nr = 1;
		load(&bases[0], argv[optind]);
	} else {
		make(&bases[0], 65536, 1, 4096, 300);
		make(&bases[1], 196608, 2, 8192, 700);
		make(&bases[2], 10 * 65536, 1, 65536, 1100);
	}
	for (uint32_t i = 0; i < nr; i++) {
		base_walk(&bases[i]);
		MUST(bases[i].n > 100);
	}
	for (uint64_t i = 0; i < count; i++) {
		uint64_t ns;

		run++;
		base = &bases[nr == 1 ? 0 : i % 16 ? i % 4 > 2 : 2];
		ns = one(keep);
		if (ns > worst)
			worst = ns;
	}
	printf("%llu mutated regions read, the slowest in %.1f ms\n",
	       (unsigned long long)count, (double)worst / 1e6);
	for (uint32_t i = 0; i < nr; i++) {
		free(bases[i].mem);
		free(bases[i].t);
	}
	return 0;
}
