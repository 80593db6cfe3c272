// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * pstore.c - parts of a dump as fs/pstore/platform.c makes them.
 *
 * What compressed them is not written down.  From Linux 6.6 on it is raw
 * deflate (window of 15 bits); before that whatever the crypto API has by the
 * name in pstore.compress: "deflate" is raw deflate with a window of 11 bits
 * (crypto/deflate.c of 6.1), "zstd" a zstd frame.  Neither has a checksum: a
 * part may come out whole and yet be wrong.  lz4, lzo and 842 are not unpacked
 * here.
 */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "dlog_region.h"
#include "pstore.h"

/* ---- compression ---- */

struct part {
	uint8_t *data;
	size_t len;
	bool whole;
};

static void part_inflate(struct part *p, const void *data, size_t len,
			 size_t max)
{
	z_stream z = {
		.next_in = (void *)(uintptr_t)data,
		.avail_in = (uInt)len,
		.next_out = p->data,
		.avail_out = (uInt)max,
	};

	/* The largest window reads what smaller ones wrote. */
	if (inflateInit2(&z, -MAX_WBITS) != Z_OK)
		return;
	/* In damaged bytes an end may be anywhere. */
	p->whole = inflate(&z, Z_SYNC_FLUSH) == Z_STREAM_END && !z.avail_in;
	p->len = max - z.avail_out;
	inflateEnd(&z);
}

/* The kernel's level 3 has a window of 2 MiB. */
#define ZSTD_WINDOW 22

static void part_zstd(struct part *p, const void *data, size_t len, size_t max)
{
	ZSTD_inBuffer in = { .src = data, .size = len };
	ZSTD_outBuffer out = { .dst = p->data, .size = max };
	ZSTD_DCtx *z = ZSTD_createDCtx();
	size_t ret = 1, at;

	if (!z)
		return;
	ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, ZSTD_WINDOW);
	do {
		at = in.pos + out.pos;
		ret = ZSTD_decompressStream(z, &out, &in);
	} while (ret && !ZSTD_isError(ret) && in.pos + out.pos > at);
	p->whole = !ret && in.pos == in.size;
	p->len = out.pos;
	ZSTD_freeDCtx(z);
}

static bool is_zstd(const void *data, size_t len)
{
	static const uint8_t magic[4] = { 0x28, 0xb5, 0x2f, 0xfd };

	return len >= sizeof(magic) && !memcmp(data, magic, sizeof(magic));
}

/* Which of two results is text of pstore, or more of it? */
static bool part_better(const struct part *a, const struct part *b)
{
	char reason[16];
	uint32_t count, part;
	size_t skip;
	int x = pstore_heading(a->data, a->len, reason, &count, &part, &skip);
	int y = pstore_heading(b->data, b->len, reason, &count, &part, &skip);

	if (x != y)
		return x > y;
	return a->whole != b->whole ? a->whole : a->len > b->len;
}

static int part_out(struct part *p, uint8_t **out, size_t *out_len)
{
	uint8_t *less = realloc(p->data, p->len + 1);

	*out = less ? less : p->data;
	*out_len = p->len;
	return p->whole ? 0 : -EBADMSG;
}

int pstore_unpack_to(const void *data, size_t len, size_t max, uint8_t **out,
		     size_t *out_len)
{
	struct part p = { .data = malloc(max + 1) }, z = { 0 };

	*out = NULL;
	*out_len = 0;
	if (!p.data)
		return -ENOMEM;
	if (len > PSTORE_PART_MAX)
		len = PSTORE_PART_MAX;
	part_inflate(&p, data, len, max);
	if (!is_zstd(data, len))
		return part_out(&p, out, out_len);
	z.data = malloc(max + 1);
	if (!z.data) {
		free(p.data);
		return -ENOMEM;
	}
	part_zstd(&z, data, len, max);
	if (part_better(&p, &z)) {
		free(z.data);
		return part_out(&p, out, out_len);
	}
	free(p.data);
	return part_out(&z, out, out_len);
}

int pstore_unpack(const void *data, size_t len, uint8_t **out, size_t *out_len)
{
	return pstore_unpack_to(data, len, PSTORE_PART_MAX, out, out_len);
}

/* ---- text ---- */

/* A run of bytes that is looked at from its start. */
struct text {
	const uint8_t *p, *end;
};

static bool text_is(struct text *t, char c)
{
	if (t->p == t->end || *t->p != (uint8_t)c)
		return false;
	t->p++;
	return true;
}

/* A decimal number of up to @digits digits; how many there were. */
static uint32_t text_number(struct text *t, uint32_t digits, uint64_t *value)
{
	uint32_t n = 0;

	for (*value = 0; n < digits && t->p < t->end; n++, t->p++) {
		if (*t->p < '0' || *t->p > '9')
			break;
		*value = *value * 10 + (*t->p - '0');
	}
	return n;
}

/* "%s#%d Part%u\n" of pstore_dump(); reasons of kmsg_dump_reason_str(). */
int pstore_heading(const void *data, size_t len, char reason[16],
		   uint32_t *count, uint32_t *part, size_t *skip)
{
	struct text t = { data, (const uint8_t *)data + len };
	uint64_t a, b;
	size_t n = 0;

	for (; n < 15 && t.p<t.end && * t.p> ' ' && *t.p < 127 && *t.p != '#';
	     t.p++)
		reason[n++] = (char)*t.p;
	reason[n] = 0;
	if (!n || !text_is(&t, '#') || !text_number(&t, 9, &a))
		return 0;
	for (const char *s = " Part"; *s; s++)
		if (!text_is(&t, *s))
			return 0;
	if (!text_number(&t, 9, &b) || !text_is(&t, '\n'))
		return 0;
	*count = (uint32_t)a;
	*part = (uint32_t)b;
	*skip = (size_t)(t.p - (const uint8_t *)data);
	return 1;
}

/* "<%u>" of print_syslog(): facility * 8 + level. */
static bool line_level(struct text *at, struct pstore_line *line)
{
	struct text t = *at;
	uint64_t pri;

	if (!text_is(&t, '<') || !text_number(&t, 6, &pri) || !text_is(&t, '>'))
		return false;
	line->has_level = true;
	line->level = DLOG_PRI_LEVEL(pri);
	line->facility = (uint8_t)DLOG_PRI_FACILITY(pri);
	*at = t;
	return true;
}

/* "[%5lu.%06lu]" of print_time(). */
static bool line_time(struct text *at, struct pstore_line *line)
{
	struct text t = *at;
	uint64_t sec, usec;

	if (!text_is(&t, '['))
		return false;
	while (text_is(&t, ' '))
		;
	if (!text_number(&t, 10, &sec) || !text_is(&t, '.') ||
	    text_number(&t, 6, &usec) != 6 || !text_is(&t, ']'))
		return false;
	line->has_time = true;
	line->time = sec * 1000000000u + usec * 1000u;
	*at = t;
	return true;
}

/* "[%6s]" of print_caller(), of "T123" or "C1". */
static bool line_caller(struct text *at, struct pstore_line *line)
{
	struct text t = *at;
	uint32_t cpu;
	uint64_t id;

	if (!text_is(&t, '['))
		return false;
	while (text_is(&t, ' '))
		;
	cpu = text_is(&t, 'C') ? DLOG_CALLER_CPU : 0;
	if (!cpu && !text_is(&t, 'T'))
		return false;
	if (!text_number(&t, 9, &id) || id > DLOG_CALLER_ID ||
	    !text_is(&t, ']'))
		return false;
	line->caller = cpu | (uint32_t)id;
	*at = t;
	return true;
}

/* kmsg_dump_reason_str() of kernel/printk/printk.c */
uint32_t pstore_status(const char *reason)
{
	static const struct {
		const char *name;
		uint32_t status;
	} known[] = {
		{ "Panic", DLOG_ST_PANIC },
		{ "Oops", DLOG_ST_OOPS },
		{ "Emergency", DLOG_ST_EMERGENCY },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (!strcmp(known[i].name, reason))
			return known[i].status;
	return DLOG_ST_NONE;
}

int pstore_release(const uint8_t *text, size_t len, char release[65])
{
	static const char head[] = "Linux version ";
	const size_t skip = sizeof(head) - 1;
	size_t n = 0;

	if (len <= skip || memcmp(text, head, skip))
		return 0;
	for (; n < 64 && skip + n < len; n++) {
		if (text[skip + n] <= ' ' || text[skip + n] >= 127)
			break;
		release[n] = (char)text[skip + n];
	}
	release[n] = 0;
	return 1;
}

int pstore_line(const void *data, size_t len, struct pstore_line *line)
{
	const size_t most = UINT16_MAX - 4; /* what one record can hold */
	const uint8_t *p = data, *end;
	struct text t, u;

	*line = (struct pstore_line){ .level = 6,
				      .caller = DLOG_CALLER_UNKNOWN };
	if (!len)
		return 0;
	if (len > most)
		len = most;
	end = memchr(p, '\n', len);
	line->size = end ? (size_t)(end - p) + 1 : len;
	t = (struct text){ p, end ? end : p + len };
	line_level(&t, line);
	line_time(&t, line);
	u = t;
	/* Without a time before it, it is one only if a space follows. */
	if (line_caller(&u, line)) {
		if (line->has_time || (u.p < u.end && *u.p == ' '))
			t = u;
		else
			line->caller = DLOG_CALLER_UNKNOWN;
	}
	if (line->has_time || line->caller != DLOG_CALLER_UNKNOWN)
		text_is(&t, ' ');
	line->text = t.p;
	line->len = (size_t)(t.end - t.p);
	return 1;
}

int pstore_add_lines(struct dlog_list *l, uint32_t boot, uint64_t *position,
		     uint64_t *time, enum dlog_doubt doubt, const void *data,
		     size_t len)
{
	const uint8_t *p = data;
	struct pstore_line line;

	for (; pstore_line(p, len, &line); p += line.size, len -= line.size) {
		uint32_t pri = DLOG_PRI(line.facility, line.level);
		int ret;

		if (line.has_time)
			*time = line.time;
		/* TAKEN: the log's own order, whatever the times are. */
		ret = dlog_list_add(l, boot, *time, *position,
				    DLOG_TYPE(DLOG_KIND_PRINTK, pri),
				    line.caller | DLOG_CALLER_TAKEN, doubt,
				    line.text, line.len);
		if (ret)
			return ret;
		*position += line.size;
	}
	return 0;
}
