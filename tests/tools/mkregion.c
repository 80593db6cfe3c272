// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * mkregion.c - make a region file as a text script on stdin says, so that a
 * test can describe a region and state what must come out.
 *
 *	mkregion FILE < script
 *	mkregion FILE NAME FIELDS	add an event type to a region that is
 *					there, as another kernel does
 *
 * Writes with the writer that guests use (shared-abi) and reads nothing with
 * libdlog, so that neither can hide the other's mistakes.
 *
 * The script, one command a line, "#" begins a comment; TEXT goes to the end
 * of the line and knows \n \t \\ \xNN:
 *
 *	size BYTES | rings N | subbuf BYTES | cpus N | boots N
 *	label TEXT | uuid HEX | incompat BITS   before the first boot
 *	kernel ADDRESS		where the text of the next boots' kernels begins
 *	boot RELEASE [REAL_NS]  a boot begins; guest clock at 0
 *	ring N                  what follows goes there
 *	printk PRI CALLER NS TEXT    CALLER: T1 (thread), C0 (CPU), - ; with
 *	                        "+" behind it: continues, with "_": open
 *	text PRI NS TEXT
 *	event NAME FIELDS NS HEX     FIELDS with ";" and "," for blanks;
 *				"-": an event of ftrace, the format is
 *	format TEXT		what this said last, without line "ID:"
 *	record KIND ARG NS HEX
 *	state STATUS NS TEXT
 *	catalog KIND ARG NS HEX a record of the catalog
 *	note NS                 the record that a driver leaves at boot
 *	stack CPU REASON NS TEXT
 *	torn NS TEXT            reserved and begun, never committed
 *	drop                    a record too long for any sub-buffer
 *	fill N PRI NS TEXT      N records, TEXT followed by a number from 0,
 *	                        a microsecond apart
 *	status STATUS NS        the state page alone
 *	memtype N | period MS | recording N | online N | control N
 *	beat CPU RING NS ONLINE
 *	clock NS REAL_NS        REAL_NS may be now, now-SECONDS
 *	regs CPU REASON NS      registers 0x1111111111111111 * number % 16
 *	poke OFFSET HEX         bytes of the file
 *	smash N                 flip a bit in the Nth record written since the
 *	                        last boot line (from 0), to damage it
 *	truncate BYTES
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "dlog_region.h"

#define WRITTEN_MAX 4096

struct maker {
	struct dlog_superblock sb;
	struct dlog_region rg;
	struct dlog_ring *rings;
	struct dlog_ring_end *ends;
	uint8_t *map;
	int fd;
	uint32_t ring; /* that commands write to */
	uint32_t clocks;
	uint64_t kernel_text;
	char *format; /* of ftrace events to come */
	/* where records of this boot lie, for smash */
	uint8_t *written[WRITTEN_MAX];
	size_t nr_written;
	unsigned int line;
};

static _Noreturn void fail(const struct maker *m, const char *why)
{
	fprintf(stderr, "mkregion: line %u: %s\n", m->line, why);
	exit(1);
}

/* The next word of the line, or NULL. */
static char *word(char **p)
{
	char *w = strsep(p, " ");

	while (w && !*w)
		w = strsep(p, " ");
	return w;
}

static uint64_t number(struct maker *m, char **p)
{
	char *w = word(p), *end;
	uint64_t v;

	if (!w)
		fail(m, "a number is missing");
	if (!strncmp(w, "now", 3)) {
		struct timespec ts;

		clock_gettime(CLOCK_REALTIME, &ts);
		v = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
		if (w[3] == '-')
			v -= strtoull(w + 4, &end, 0) * 1000000000u;
		return v;
	}
	v = strtoull(w, &end, 0);
	if (*end)
		fail(m, "not a number");
	return v;
}

static size_t hex(struct maker *m, const char *from, uint8_t *to, size_t room)
{
	unsigned int byte;
	size_t n = 0;

	for (; from && from[0] && from[1]; from += 2) {
		if (n == room || sscanf(from, "%2x", &byte) != 1)
			fail(m, "bad hex");
		to[n++] = (uint8_t)byte;
	}
	return n;
}

/* Rest of the line with its escapes resolved, in place. */
static size_t text(struct maker *m, char *p, char **out)
{
	static char none[1];
	char *to = p, *from = p;
	unsigned int byte;

	*out = p ? p : none;
	while (from && *from) {
		if (*from != '\\') {
			*to++ = *from++;
			continue;
		}
		from++;
		if (*from == 'x') {
			if (sscanf(from + 1, "%2x", &byte) != 1)
				fail(m, "bad escape");
			*to++ = (char)byte;
			from += 3;
		} else {
			switch (*from) {
			case 'n':
				*to++ = '\n';
				break;
			case 't':
				*to++ = '\t';
				break;
			case '\\':
				*to++ = '\\';
				break;
			default:
				fail(m, "unknown escape");
			}
			from++;
		}
	}
	return p ? (size_t)(to - p) : 0;
}

/* ---- before the first boot ---- */

static void format(struct maker *m)
{
	struct dlog_superblock *sb = &m->sb;

	if (dlog_super_layout(sb))
		fail(m, "this geometry does not fit");
	dlog_super_seal(sb);
	if (ftruncate(m->fd, (off_t)sb->region_size))
		fail(m, strerror(errno));
	m->map = mmap(NULL, sb->region_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		      m->fd, 0);
	if (m->map == MAP_FAILED)
		fail(m, strerror(errno));
	memcpy(m->map, sb, sizeof(*sb));
	memcpy(m->map + sb->backup_off, sb, sizeof(*sb));
	m->rg.base = m->map;
	m->rg.sb = *sb;
	m->rings = aligned_alloc(128, sb->nr_rings * sizeof(*m->rings));
	m->ends = calloc(sb->nr_rings, sizeof(*m->ends));
	if (!m->rings || !m->ends)
		fail(m, "no memory");
}

static bool geometry(struct maker *m, const char *cmd, char *p)
{
	struct dlog_superblock *sb = &m->sb;
	char *t;
	size_t n;

	if (!strcmp(cmd, "size")) {
		sb->region_size = number(m, &p);
	} else if (!strcmp(cmd, "rings")) {
		sb->nr_rings = (uint32_t)number(m, &p);
	} else if (!strcmp(cmd, "subbuf")) {
		sb->subbuf_size = (uint32_t)number(m, &p);
	} else if (!strcmp(cmd, "cpus")) {
		sb->nr_cpus = (uint32_t)number(m, &p);
	} else if (!strcmp(cmd, "boots")) {
		sb->boot_slots = (uint32_t)number(m, &p);
	} else if (!strcmp(cmd, "incompat")) {
		sb->incompat = (uint32_t)number(m, &p);
	} else if (!strcmp(cmd, "uuid")) {
		hex(m, word(&p), sb->uuid, sizeof(sb->uuid));
	} else if (!strcmp(cmd, "label")) {
		n = text(m, p, &t);
		memcpy(sb->label, t, n < 64 ? n : 64);
	} else {
		return false;
	}
	if (m->map)
		fail(m, "geometry comes before the first boot");
	return true;
}

/* ---- records ---- */

/* Where the next record of this ring would go, given its size. */
static uint8_t *next_place(struct maker *m, uint32_t len)
{
	struct dlog_ring *r = &m->rings[m->ring];
	uint64_t at = DLOG_RING_POSITION(r->head);
	uint64_t room = -at & (r->subbuf - 1);

	if (DLOG_REC_SIZE(len) > room)
		at += room + DLOG_START_SIZE;
	return r->base + at % r->size;
}

static void remember(struct maker *m, uint32_t len)
{
	if (m->nr_written < WRITTEN_MAX)
		m->written[m->nr_written++] = next_place(m, len);
}

static void append(struct maker *m, uint32_t type, uint64_t time,
		   const void *data, size_t len)
{
	remember(m, (uint32_t)len);
	dlog_ring_append(&m->rings[m->ring], type, time, data, (uint32_t)len);
}

static uint32_t caller(struct maker *m, const char *w)
{
	uint32_t flags = 0;

	if (!w)
		fail(m, "a caller is missing");
	if (strchr(w, '+'))
		flags |= DLOG_CALLER_CONT;
	if (strchr(w, '_'))
		flags |= DLOG_CALLER_OPEN;
	if (*w == '-')
		return flags | DLOG_CALLER_UNKNOWN;
	if (*w == 'C')
		flags |= DLOG_CALLER_CPU;
	return flags | (uint32_t)strtoul(w + 1, NULL, 10);
}

static void printk_record(struct maker *m, char *p)
{
	uint32_t pri = (uint32_t)number(m, &p);
	uint32_t who = caller(m, word(&p));
	uint64_t time = number(m, &p);
	char *t;
	size_t n = text(m, p, &t);

	remember(m, (uint32_t)n + 4);
	dlog_ring_append_tagged(&m->rings[m->ring],
				DLOG_TYPE(DLOG_KIND_PRINTK, pri), time, who, t,
				(uint32_t)n);
}

static void event_record(struct maker *m, char *p)
{
	uint8_t data[256], buf[16384];
	char *name = word(&p), *fields = word(&p);
	uint64_t time = number(m, &p);
	size_t n = hex(m, word(&p), data, sizeof(data));
	int id;

	for (char *c = fields; c && *c; c++)
		if (*c == ',')
			*c = ' ';
	if (fields && !strcmp(fields, "-"))
		id = dlog_catalog_add(&m->rg, time, name, "", m->format, buf,
				      sizeof(buf));
	else
		id = dlog_catalog_add(&m->rg, time, name, fields, NULL, buf,
				      sizeof(buf));
	if (id < 0)
		fail(m, "the catalog does not take it");
	append(m, DLOG_TYPE(DLOG_KIND_EVENT, id), time, data, n);
}

static void any_record(struct maker *m, char *p)
{
	uint8_t data[1024];
	uint32_t kind = (uint32_t)number(m, &p), arg = (uint32_t)number(m, &p);
	uint64_t time = number(m, &p);
	size_t n = hex(m, word(&p), data, sizeof(data));

	append(m, DLOG_TYPE(kind, arg), time, data, n);
}

static void catalog_record(struct maker *m, char *p)
{
	struct dlog_catalog_item it = { 0 };
	uint8_t data[1024];
	uint32_t kind = (uint32_t)number(m, &p), arg = (uint32_t)number(m, &p);
	uint64_t time = number(m, &p);
	size_t n = hex(m, word(&p), data, sizeof(data));

	while (dlog_catalog_next(&m->rg, &it))
		;
	if (dlog_catalog_append(&m->rg, &it, time, DLOG_TYPE(kind, arg), data,
				(uint32_t)n))
		fail(m, "the catalog does not take it");
}

static void stack_record(struct maker *m, char *p)
{
	uint8_t data[4096];
	uint32_t head[2];
	uint64_t time;
	char *t;
	size_t n;

	head[0] = (uint32_t)number(m, &p);
	head[1] = (uint32_t)number(m, &p);
	time = number(m, &p);
	n = text(m, p, &t);
	if (n > sizeof(data) - sizeof(head))
		fail(m, "too long");
	memcpy(data, head, sizeof(head));
	memcpy(data + sizeof(head), t, n);
	append(m, DLOG_TYPE(DLOG_KIND_STACK, 0), time, data, n + sizeof(head));
}

/* All stores of a record but the commit. */
static void torn_record(struct maker *m, char *p)
{
	uint64_t time = number(m, &p), head;
	struct dlog_ring *r = &m->rings[m->ring];
	uint8_t *at;
	char *t;
	size_t n = text(m, p, &t);
	uint32_t type = DLOG_TYPE(DLOG_KIND_TEXT, 6), top;

	at = next_place(m, (uint32_t)n);
	append(m, type, time, t, n);
	head = DLOG_RING_POSITION(r->head) - DLOG_REC_SIZE(n);
	top = type << 16 | (uint32_t)n;
	dlog_put32(at, dlog_hash_open(dlog_hash_start(r->seed, head, top)));
}

static void fill(struct maker *m, char *p)
{
	uint64_t count = number(m, &p);
	uint32_t pri = (uint32_t)number(m, &p);
	uint64_t time = number(m, &p);
	char line[512], *t;
	size_t n = text(m, p, &t);

	for (uint64_t i = 0; i < count; i++) {
		int len = snprintf(line, sizeof(line), "%.*s%" PRIu64, (int)n,
				   t, i);

		append(m, DLOG_TYPE(DLOG_KIND_TEXT, pri), time + i * 1000, line,
		       (size_t)len);
	}
}

static void note(struct maker *m, char *p)
{
	uint64_t time = number(m, &p);
	struct dlog_boot *b = dlog_boot_slot(&m->rg, m->rg.boot);
	uint8_t data[sizeof(struct dlog_boot_note) + 64];
	struct dlog_boot_note n = { .boot = m->rg.boot,
				    .start_real = b->start_real };

	memcpy(n.boot_id, b->boot_id, 16);
	memcpy(data, &n, sizeof(n));
	memcpy(data + sizeof(n), b->release, 64);
	append(m, DLOG_TYPE(DLOG_KIND_BOOT, 0), time, data,
	       sizeof(n) + strlen((char *)b->release));
}

static bool record(struct maker *m, const char *cmd, char *p)
{
	uint32_t arg;
	uint64_t time;
	char *t;
	size_t n;

	if (!strcmp(cmd, "printk")) {
		printk_record(m, p);
	} else if (!strcmp(cmd, "text")) {
		arg = (uint32_t)number(m, &p);
		time = number(m, &p);
		n = text(m, p, &t);
		append(m, DLOG_TYPE(DLOG_KIND_TEXT, arg), time, t, n);
	} else if (!strcmp(cmd, "state")) {
		arg = (uint32_t)number(m, &p);
		time = number(m, &p);
		n = text(m, p, &t);
		dlog_region_status(&m->rg, arg, time);
		append(m, DLOG_TYPE(DLOG_KIND_STATE, arg), time, t, n);
	} else if (!strcmp(cmd, "event")) {
		event_record(m, p);
	} else if (!strcmp(cmd, "format")) {
		n = text(m, p, &t);
		free(m->format);
		m->format = strndup(t, n);
	} else if (!strcmp(cmd, "record")) {
		any_record(m, p);
	} else if (!strcmp(cmd, "catalog")) {
		catalog_record(m, p);
	} else if (!strcmp(cmd, "stack")) {
		stack_record(m, p);
	} else if (!strcmp(cmd, "torn")) {
		torn_record(m, p);
	} else if (!strcmp(cmd, "fill")) {
		fill(m, p);
	} else if (!strcmp(cmd, "note")) {
		note(m, p);
	} else if (!strcmp(cmd, "drop")) {
		static const char longer[DLOG_SUBBUF_MAX];

		dlog_ring_append(&m->rings[m->ring], 2, 0, longer,
				 sizeof(longer));
	} else {
		return false;
	}
	return true;
}

/* ---- outside the rings ---- */

static void boot(struct maker *m, char *p)
{
	struct dlog_boot_info info = { .machine = "x86_64" };
	char *release = word(&p);

	if (!m->map)
		format(m);
	if (!release)
		fail(m, "boot: which release?");
	strncpy(info.release, release, sizeof(info.release) - 1);
	info.kernel_text = m->kernel_text;
	info.boot_id[0] = 0xb0;
	info.boot_id[15] = (uint8_t)(m->rg.boot + 1);
	if (p)
		info.real = number(m, &p);
	dlog_region_begin(&m->rg, &info, m->ends);
	for (uint32_t i = 0; i < m->sb.nr_rings; i++)
		dlog_ring_init(&m->rings[i], &m->rg, i, &m->ends[i], true,
			       false);
	dlog_region_status(&m->rg, DLOG_ST_BOOTING, 0);
	dlog_region_state(&m->rg)->recording = 1;
	m->ring = 0;
	m->clocks = 0;
	m->nr_written = 0;
}

static void regs(struct maker *m, char *p)
{
	uint64_t status[42] = { 0 }; /* 336 bytes: x86-64 */
	struct dlog_regs r = { .cpu = (uint32_t)number(m, &p), .machine = 62 };

	r.reason = (uint32_t)number(m, &p);
	r.time = number(m, &p);
	for (uint64_t i = 0; i < 8; i++)
		r.control[i] = 0xc0 + i;
	for (uint64_t i = 0; i < 27; i++)
		status[14 + i] = 0x1111111111111111u * (i % 16);
	if (dlog_region_regs(&m->rg, &r, status, sizeof(status)))
		fail(m, "no register slot");
}

static bool page(struct maker *m, const char *cmd, char *p)
{
	struct dlog_state *st = dlog_region_state(&m->rg);
	uint32_t a, b;
	uint64_t time;

	if (!strcmp(cmd, "status")) {
		a = (uint32_t)number(m, &p);
		dlog_region_status(&m->rg, a, number(m, &p));
	} else if (!strcmp(cmd, "memtype")) {
		st->memtype = (uint32_t)number(m, &p);
	} else if (!strcmp(cmd, "period")) {
		st->period_ms = (uint32_t)number(m, &p);
	} else if (!strcmp(cmd, "recording")) {
		st->recording = (uint32_t)number(m, &p);
	} else if (!strcmp(cmd, "online")) {
		st->online = (uint32_t)number(m, &p);
	} else if (!strcmp(cmd, "control")) {
		st->control = (uint32_t)number(m, &p);
	} else if (!strcmp(cmd, "beat")) {
		a = (uint32_t)number(m, &p);
		b = (uint32_t)number(m, &p);
		time = number(m, &p);
		if (b >= m->sb.nr_rings)
			fail(m, "no such ring");
		dlog_region_beat(&m->rg, a, b, &m->rings[b], time,
				 number(m, &p));
	} else if (!strcmp(cmd, "clock")) {
		time = number(m, &p);
		dlog_region_clock(&m->rg, m->clocks++, time, number(m, &p), 0);
	} else if (!strcmp(cmd, "regs")) {
		regs(m, p);
	} else {
		return false;
	}
	return true;
}

static bool damage(struct maker *m, const char *cmd, char *p)
{
	uint8_t bytes[4096];
	uint64_t v;
	size_t n;

	if (!strcmp(cmd, "poke")) {
		v = number(m, &p);
		n = hex(m, word(&p), bytes, sizeof(bytes));
		if (v > m->sb.region_size || n > m->sb.region_size - v)
			fail(m, "beyond the region");
		memcpy(m->map + v, bytes, n);
	} else if (!strcmp(cmd, "smash")) {
		v = number(m, &p);
		if (v >= m->nr_written)
			fail(m, "no such record");
		m->written[v][DLOG_HDR - 1] ^= 0x40; /* time's top byte */
	} else if (!strcmp(cmd, "truncate")) {
		if (ftruncate(m->fd, (off_t)number(m, &p)))
			fail(m, strerror(errno));
	} else {
		return false;
	}
	return true;
}

static void command(struct maker *m, char *p)
{
	char *cmd = word(&p);

	if (!cmd || *cmd == '#' || geometry(m, cmd, p))
		return;
	if (!strcmp(cmd, "kernel")) {
		m->kernel_text = number(m, &p);
		return;
	}
	if (!strcmp(cmd, "boot")) {
		boot(m, p);
		return;
	}
	if (!m->map)
		fail(m, "a boot line comes first");
	if (!strcmp(cmd, "ring")) {
		m->ring = (uint32_t)number(m, &p);
		if (m->ring >= m->sb.nr_rings)
			fail(m, "no such ring");
	} else if (!record(m, cmd, p) && !page(m, cmd, p) &&
		   !damage(m, cmd, p)) {
		fail(m, "unknown command");
	}
}

/* Whoever else has the region mapped goes on. */
static int add_type(const char *path, const char *name, const char *fields)
{
	int fd = open(path, O_RDWR | O_CLOEXEC), id = -EINVAL;
	struct dlog_region rg;
	char buf[1024];
	struct stat st;
	void *map;

	if (fd < 0 || fstat(fd, &st))
		return -errno;
	map = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		   fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return -errno;
	if (dlog_region_open(&rg, map, (uint64_t)st.st_size) == DLOG_SUPER_OK)
		id = dlog_catalog_add(&rg, 0, name, fields, NULL, buf,
				      sizeof(buf));
	munmap(map, (size_t)st.st_size);
	return id;
}

int main(int argc, char **argv)
{
	struct maker m = {
		.kernel_text = 0xffffffff81000000,
		.sb = {
			.region_size = 1 << 20,
			.nr_rings = 2,
			.subbuf_size = 4096,
			.nr_cpus = 4,
			.boot_slots = 8,
			.catalog_size = 8192,
			.created = 1700000000000000000u,
			.uuid = "mkregion's uuid",
		},
	};
	char *line = NULL;
	size_t room = 0;
	ssize_t n;

	if (argc == 4)
		return add_type(argv[1], argv[2], argv[3]) <= 0;
	if (argc != 2) {
		fprintf(stderr, "usage: mkregion FILE < script\n"
				"       mkregion FILE NAME FIELDS\n");
		return 2;
	}
	m.fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (m.fd < 0)
		fail(&m, strerror(errno));
	while ((n = getline(&line, &room, stdin)) > 0) {
		m.line++;
		if (line[n - 1] == '\n')
			line[n - 1] = 0;
		command(&m, line);
	}
	if (!m.map)
		format(&m);
	free(line);
	free(m.format);
	free(m.rings);
	free(m.ends);
	close(m.fd);
	return 0;
}
