// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * ramoops_zone.c - where the zones of a ramoops area begin and end.
 *
 * Follows fs/pstore/ram.c of Linux 5.10 to 6.12 (ramoops_probe,
 * ramoops_init_przs): dumps come first, all of one size, then the console,
 * then ftrace with a zone for each CPU and pmsg, or in later kernels (6.12)
 * pmsg and ftrace.  Nothing in the area says how large they are, nor what
 * they are for: the signature is the same for all, but for ftrace's, which
 * has the kernel's version in it.
 *
 * So either the options say it, and then it is counted as the kernel does.
 * Or each header that makes sense begins a zone, which reaches up to the next
 * one.  Bytes that look like a header inside what the zone before claims to
 * hold are data, unless they lie at a multiple of 1024: there zones begin,
 * and the claim is damaged.  A header that is lost leaves a gap:
 * - with ECC the last bytes of a zone are its header's parity.  It tells
 *   where the zone before the gap ends, and gives the lost header back;
 * - without, a gap behind a dump is cut by the size that most zones have.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "stock/ramoops.h"

#define CHUNK 65536u
#define ALIGN 1024u
#define ZONE_MIN 512u /* when a gap is cut */
#define PROBE 8u /* zones that ECC is looked for in */

static uint32_t min32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static bool sig_known(uint32_t sig)
{
	return sig == ZONE_SIG || zone_sig_ftrace(sig);
}

static void header_read(struct zone *z, const uint8_t *p)
{
	z->sig = dlog_load32(p);
	z->start = dlog_load32(p + 4);
	z->fill = dlog_load32(p + 8);
}

/* May what is in @z begin a zone that has @left bytes at most? */
static bool header_possible(const struct zone *z, uint64_t left)
{
	return sig_known(z->sig) && z->start <= z->fill &&
	       (uint64_t)z->fill + ZONE_HEADER <= left;
}

static int zone_add(struct ramoops *r, const struct zone *z)
{
	struct zone *v;

	if (r->nr == ZONES_MAX)
		return 0;
	v = dlog_grow(r->zone, r->nr, &r->zone_room, sizeof(*v));
	if (!v)
		return -ENOMEM;
	r->zone = v;
	r->zone[r->nr++] = *z;
	return 0;
}

/* ---- what the file shows ---- */

/*
 * May the header @z, at z->off, begin a zone: is it not inside what the last
 * one claims?  Any of millions of numbers is ftrace's signature in some kernel,
 * and parity is any number.  But only ftrace's zones, one for each CPU, have
 * sizes that are no powers of two.
 */
static bool header_here(const struct ramoops *r, const struct zone *z)
{
	const struct zone *last = r->nr ? &r->zone[r->nr - 1] : NULL;

	if (!last)
		return true;
	if (!(z->off % ALIGN))
		return z->off >= last->off + ZONE_HEADER;
	if (zone_sig_ftrace(z->sig) && z->sig != last->sig)
		return false;
	return z->off >= last->off + ZONE_HEADER + last->fill;
}

static int scan_chunk(struct ramoops *r, const uint8_t *p, uint64_t off,
		      size_t len)
{
	for (size_t i = 0; i + ZONE_HEADER <= len; i += 2) {
		struct zone z = { .off = off + i };
		int ret;

		if (p[i + 3] != ZONE_SIG >> 24)
			continue;
		header_read(&z, p + i);
		if (!header_possible(&z, r->size - z.off) ||
		    !header_here(r, &z))
			continue;
		ret = zone_add(r, &z);
		if (ret)
			return ret;
	}
	return 0;
}

static int scan(struct ramoops *r, uint64_t size)
{
	uint8_t *p = malloc(CHUNK + ZONE_HEADER);
	int ret = p ? 0 : -ENOMEM;

	for (uint64_t off = 0; !ret && off < size; off += CHUNK) {
		uint64_t left = r->size - off;
		size_t len = left < CHUNK + ZONE_HEADER - 2
				     ? (size_t)left
				     : CHUNK + ZONE_HEADER - 2;

		ret = dlog_fetch(r->d, off, p, len);
		if (!ret)
			ret = scan_chunk(r, p, off, len);
	}
	free(p);
	return ret;
}

/* The size that most zones have, 0: there are none. */
static uint32_t common_size(const struct ramoops *r)
{
	uint32_t best = 0, votes = 0;

	/* Ordered by place, equal ones lie together. */
	for (uint32_t i = 0, n; i < r->nr; i += n) {
		for (n = 1; i + n < r->nr; n++)
			if (r->zone[i + n].size != r->zone[i].size)
				break;
		if (n > votes && r->zone[i].sig == ZONE_SIG) {
			votes = n;
			best = r->zone[i].size;
		}
	}
	return best;
}

static bool all_zero(const uint8_t *p, size_t len)
{
	while (len && !*p) {
		p++;
		len--;
	}
	return !len;
}

/* Is nothing but zero there? */
static bool zero_range(const struct ramoops *r, uint64_t off, uint64_t size)
{
	uint8_t p[4096];

	for (size_t len; size; off += len, size -= len) {
		len = size < sizeof(p) ? (size_t)size : sizeof(p);
		if (dlog_fetch(r->d, off, p, len) || !all_zero(p, len))
			return false;
	}
	return true;
}

/* ---- parity ---- */

static int header_fix(struct ramoops *r, struct ecc *e, uint32_t parity,
		      struct zone *z, uint32_t size)
{
	uint8_t header[ZONE_HEADER], par[256];
	int ret;

	if (!ecc_room(size, parity))
		return -EBADMSG;
	ret = dlog_fetch(r->d, z->off, header, sizeof(header));
	if (!ret)
		ret = dlog_fetch(r->d, z->off + size - parity, par, parity);
	if (ret)
		return ret;
	/* Zero is a code word, too. */
	if (all_zero(header, sizeof(header)))
		return -EBADMSG;
	ret = ecc_header(e, header, par);
	if (ret < 0 || !sig_known(dlog_load32(header)))
		return -EBADMSG;
	header_read(z, header);
	z->whole = true;
	z->corrected = (uint32_t)ret;
	return ret;
}

/* How many headers' parity of @parity bytes fits, @exact: as it is. */
static uint32_t parity_votes(struct ramoops *r, uint32_t parity, bool exact)
{
	uint32_t votes = 0;
	struct ecc *e;

	if (ecc_new(&e, parity))
		return 0;
	for (uint32_t i = 0; i < min32(r->nr, PROBE); i++) {
		struct zone z = r->zone[i];
		int ret = header_fix(r, e, parity, &z, z.size);

		votes += ret == 0 || (ret > 0 && !exact);
	}
	ecc_free(e);
	return votes;
}

/* 16 is what ecc=1 means; a chance of 2^-32 that it is none is enough. */
static uint32_t parity_find(struct ramoops *r)
{
	if (parity_votes(r, 16, false))
		return 16;
	for (uint32_t n = 2; n < 128; n++)
		if (n * parity_votes(r, n, true) >= 4)
			return n;
	return 0;
}

/* ---- zones with lost headers ---- */

/*
 * Where the zone that begins at @z ends, if parity tells; else 0.  Headers of
 * empty zones are alike but for a few bytes, so a wrong one's parity would
 * correct them, too: the size that needs the fewest corrections is right.
 */
static uint32_t size_by_parity(struct ramoops *r, struct zone *z, uint32_t gap,
			       uint32_t common)
{
	uint32_t tries[34] = { gap, common }, nr = 2, size = 0;
	int best = INT_MAX;

	for (uint32_t s = ZONE_MIN; s < gap && nr < 34; s *= 2)
		tries[nr++] = s;
	for (uint32_t i = 0; best && i < nr; i++) {
		struct zone fixed = { .off = z->off };
		int ret;

		if (!tries[i] || tries[i] > gap)
			continue;
		ret = header_fix(r, r->ecc, r->parity, &fixed, tries[i]);
		if (ret < 0 || ret >= best)
			continue;
		best = ret;
		size = tries[i];
		*z = fixed;
	}
	return size;
}

static bool dump_at(const struct ramoops *r, uint64_t off)
{
	uint8_t p[ZONE_HEADER + 48];
	uint64_t wall;
	size_t skip;
	bool packed;

	return !dlog_fetch(r->d, off, p, sizeof(p)) &&
	       ramoops_dump_head(p + ZONE_HEADER, sizeof(p) - ZONE_HEADER,
				 &skip, &wall, &packed);
}

/* An empty zone whose first @size bytes were never written. */
static bool unused_at(const struct ramoops *r, const struct zone *z,
		      uint32_t size)
{
	return !z->fill && !z->start && z->sig == ZONE_SIG &&
	       zero_range(r, z->off + ZONE_HEADER, size - ZONE_HEADER);
}

/*
 * Without parity: what lies @common bytes behind a dump, or behind a place for
 * one, is another zone, and so is each further dump; else all of the
 * rest is one, the console as a rule.
 */
static uint32_t size_by_content(const struct ramoops *r, const struct zone *z,
				uint32_t gap, uint32_t common, bool lost)
{
	uint64_t own = (uint64_t)z->fill + ZONE_HEADER;

	if (common < ZONE_MIN || gap <= common || gap % common ||
	    (!lost && own > common))
		return gap;
	if (!dump_at(r, z->off) && !unused_at(r, z, common))
		return gap;
	for (uint32_t s = common; s < gap; s += common)
		if (dump_at(r, z->off + s) || !zero_range(r, z->off + s, 64))
			return s;
	return gap;
}

/* Cut the @gap from @z on into zones, and add them to @to. */
static int cut_gap(struct ramoops *r, struct ramoops *to, struct zone z,
		   uint32_t gap, uint32_t common, bool lost)
{
	while (gap) {
		uint32_t size = 0;
		int ret;

		z.lost = lost;
		if (r->ecc)
			size = size_by_parity(r, &z, gap, common);
		if (size)
			z.lost = false;
		else
			size = size_by_content(r, &z, gap, common, lost);
		z.size = size;
		if (!lost ||
		    (size > ZONE_HEADER && !zero_range(r, z.off, size))) {
			ret = zone_add(to, &z);
			if (ret)
				return ret;
		}
		gap -= size;
		z = (struct zone){ .off = z.off + size };
		lost = true;
	}
	return 0;
}

static void set_sizes(struct ramoops *r)
{
	for (uint32_t i = 0; i < r->nr; i++) {
		uint64_t end = i + 1 < r->nr ? r->zone[i + 1].off : r->size;

		r->zone[i].size = (uint32_t)(end - r->zone[i].off);
	}
}

static int layout_found(struct ramoops *r, bool parity_known)
{
	struct ramoops to = { .d = r->d, .size = r->size };
	uint32_t common;
	int ret;

	set_sizes(r);
	common = common_size(r);
	if (!parity_known)
		r->parity = parity_find(r);
	ret = r->parity ? ecc_new(&r->ecc, r->parity) : 0;
	if (!ret && (!r->nr || r->zone[0].off))
		ret = cut_gap(r, &to, (struct zone){ 0 },
			      (uint32_t)(r->nr ? r->zone[0].off : r->size),
			      common, true);
	for (uint32_t i = 0; !ret && i < r->nr; i++)
		ret = cut_gap(r, &to, r->zone[i], r->zone[i].size, common,
			      false);
	free(r->zone);
	r->zone = to.zone;
	r->nr = to.nr;
	r->zone_room = to.zone_room;
	return ret;
}

/* ---- what the options say ---- */

struct layout {
	uint64_t record, console, ftrace, pmsg, cpus;
};

static uint64_t power_below(uint64_t n)
{
	uint64_t p = 1;

	if (!n)
		return 0;
	while (p <= n / 2)
		p *= 2;
	return p;
}

static bool ftrace_at(struct ramoops *r, uint64_t off)
{
	uint8_t p[4];

	return !dlog_fetch(r->d, off, p, sizeof(p)) &&
	       zone_sig_ftrace(dlog_load32(p));
}

static int area_add(struct ramoops *r, enum zone_type type, uint64_t *off,
		    uint64_t area, uint64_t count)
{
	uint64_t size = count ? (area / count) & ~UINT64_C(1) : 0;
	uint8_t header[ZONE_HEADER];
	int ret = 0;

	for (uint64_t i = 0; !ret && size > ZONE_HEADER && i < count; i++) {
		struct zone z = { .type = type,
				  .off = *off + i * size,
				  .size = (uint32_t)size };

		ret = dlog_fetch(r->d, z.off, header, sizeof(header));
		header_read(&z, header);
		if (!ret)
			ret = zone_add(r, &z);
	}
	*off += size * count;
	return ret;
}

/* How many zones ftrace's has: where the second header is tells. */
static uint64_t count_cpus(struct ramoops *r, uint64_t off, uint64_t area)
{
	for (uint64_t n = 1024; n > 1; n--) {
		uint64_t size = (area / n) & ~UINT64_C(1);

		if (size > ZONE_HEADER && ftrace_at(r, off + size) &&
		    ftrace_at(r, off + size * (n - 1)))
			return n;
	}
	return 1;
}

static int layout_given(struct ramoops *r, struct layout *l,
			struct dlog_error *err)
{
	uint64_t rest = l->console + l->ftrace + l->pmsg, off = 0, dumps;
	bool pmsg_first;
	int ret;

	r->nr = 0;
	if (rest > r->size)
		return dlog_fail(err, -EINVAL,
				 "%s has %llu bytes, and console-size, "
				 "ftrace-size and pmsg-size make %llu: give "
				 "the guest's values.",
				 r->d->name, (unsigned long long)r->size,
				 (unsigned long long)rest);
	dumps = l->record ? (r->size - rest) / l->record : 0;
	if (dumps > ZONES_MAX)
		return dlog_fail(err, -EINVAL,
				 "record-size=%llu makes too many zones.",
				 (unsigned long long)l->record);
	ret = area_add(r, ZONE_DMESG, &off, dumps ? r->size - rest : 0, dumps);
	if (!ret)
		ret = area_add(r, ZONE_CONSOLE, &off, l->console, 1);
	pmsg_first = ftrace_at(r, off + l->pmsg) && !ftrace_at(r, off);
	if (!ret && pmsg_first)
		ret = area_add(r, ZONE_PMSG, &off, l->pmsg, 1);
	if (!l->cpus)
		l->cpus = count_cpus(r, off, l->ftrace);
	if (!ret)
		ret = area_add(r, ZONE_FTRACE, &off, l->ftrace, l->cpus);
	if (!ret && !pmsg_first)
		ret = area_add(r, ZONE_PMSG, &off, l->pmsg, 1);
	return ret;
}

/* 1: some sizes were given; what was not has the module's own. */
static int layout_options(struct ramoops *r, struct layout *l,
			  struct dlog_error *err)
{
	const struct {
		const char *key;
		uint64_t *value;
	} size[] = {
		{ "record-size", &l->record },
		{ "console-size", &l->console },
		{ "ftrace-size", &l->ftrace },
		{ "pmsg-size", &l->pmsg },
	};
	int given = 0, ret;

	for (size_t i = 0; i < sizeof(size) / sizeof(*size); i++) {
		*size[i].value = 4096;
		ret = dlog_option_size(r->d, size[i].key, size[i].value, err);
		if (ret < 0)
			return ret;
		given |= ret;
		if (ret && *size[i].value > r->size)
			return dlog_fail(err, -EINVAL,
					 "%s has %llu bytes, less than "
					 "%s=%llu.",
					 r->d->name,
					 (unsigned long long)r->size,
					 size[i].key,
					 (unsigned long long)*size[i].value);
		*size[i].value = power_below(*size[i].value);
	}
	l->cpus = 0;
	ret = dlog_option_size(r->d, "cpus", &l->cpus, err);
	if (ret < 0)
		return ret;
	if (ret && (!l->cpus || l->cpus > 8192))
		return dlog_fail(err, -EINVAL,
				 "Option cpus: from 1 to 8192, as the guest "
				 "may have.");
	return given;
}

/* ---- all of it ---- */

/* Headers that are not to be believed, by each zone's own size. */
static int check_headers(struct ramoops *r)
{
	int ret = r->parity && !r->ecc ? ecc_new(&r->ecc, r->parity) : 0;

	for (uint32_t i = 0; !ret && i < r->nr; i++) {
		struct zone *z = &r->zone[i];

		z->room = ecc_room(z->size, r->parity);
		if (r->ecc && !z->whole)
			header_fix(r, r->ecc, r->parity, z, z->size);
		if (!header_possible(z, (uint64_t)z->room + ZONE_HEADER))
			z->lost = true;
	}
	return ret;
}

/*
 * May the file be an area at all?  A whole guest's memory may hold one
 * somewhere, so the first headers have to be near its begin.
 */
static bool looks_like(const struct ramoops *r)
{
	uint32_t near = 0;

	for (uint32_t i = 0; i < r->nr; i++)
		near += r->zone[i].sig == ZONE_SIG &&
			r->zone[i].off < 1u << 20 && !(r->zone[i].off % ALIGN);
	return near > 1 || (near && !r->zone[0].off);
}

int ramoops_find_zones(struct ramoops *r, bool forced, struct dlog_error *err)
{
	struct layout l;
	uint64_t parity;
	int given = layout_options(r, &l, err), known, ret;

	if (given < 0)
		return given;
	known = dlog_option_size(r->d, "ecc", &parity, err);
	if (known < 0)
		return known;
	if (known && parity > 127)
		return dlog_fail(err, -EINVAL,
				 "Option ecc: bytes for each block, up to 127; "
				 "1 means 16, 0 none.");
	if (known)
		r->parity = parity == 1 ? 16 : (uint32_t)parity;
	if (!forced) {
		/* Cheap, for files of other formats. */
		ret = scan(r, r->size < 1u << 20 ? r->size : 1u << 20);
		if (ret)
			return ret;
		if (!looks_like(r))
			return -EBADMSG;
		r->nr = 0;
	}
	ret = scan(r, r->size);
	if (!ret && !r->nr && zero_range(r, 0, r->size))
		return dlog_fail(err, -EBADMSG,
				 "%s holds nothing yet: no guest's ramoops has "
				 "used it.",
				 r->d->name);
	r->typed = given;
	if (!ret && given) {
		ret = layout_given(r, &l, err);
		if (!ret && !known)
			r->parity = parity_find(r);
	} else if (!ret) {
		ret = layout_found(r, known);
	}
	return ret ? ret : check_headers(r);
}

/*
 * While it is copied a guest may write: over the oldest bytes, as many as its
 * write pointer, which it moves first, has passed by then.
 */
int ramoops_load_zone(struct ramoops *r, struct zone *z)
{
	uint8_t *raw, now[ZONE_HEADER];
	int ret;

	free(z->data);
	free(z->bad_block);
	z->data = z->bad_block = NULL;
	z->bad = 0;
	/* Damaged ones may be smaller than their header. */
	raw = calloc(1, z->size > ZONE_HEADER ? z->size : ZONE_HEADER);
	if (!raw)
		return -ENOMEM;
	z->data = raw;
	ret = dlog_fetch(r->d, z->off, raw, z->size);
	if (ret)
		return ret;
	for (int i = 0; i < 3; i++)
		z->seen[i] = dlog_load32(raw + 4 * i);
	header_read(z, raw);
	z->passed = 0;
	if (z->room && !dlog_fetch(r->d, z->off, now, sizeof(now)))
		z->passed =
			(uint32_t)(((uint64_t)dlog_load32(now + 4) % z->room +
				    z->room - z->start % z->room) %
				   z->room);
	z->corrected = 0;
	z->whole = false;
	if (r->ecc && z->room) {
		ret = ecc_header(r->ecc, raw, raw + z->size - r->parity);
		z->whole = ret >= 0 && sig_known(dlog_load32(raw));
		if (z->whole) {
			header_read(z, raw);
			z->corrected = (uint32_t)ret;
		} else {
			z->bad++;
		}
	}
	z->lost = !header_possible(z, (uint64_t)z->room + ZONE_HEADER);
	return r->ecc && z->room ? ecc_zone(r->ecc, z, raw) : 0;
}

/* ---- what they are for ---- */

/* "====1234567890.123456-C\n", ram.c's ramoops_write_kmsg_hdr(). */
bool ramoops_dump_head(const uint8_t *p, size_t len, size_t *skip,
		       uint64_t *wall, bool *packed)
{
	uint64_t sec = 0, usec = 0;
	size_t i = 4, digits;

	if (len < 4 || memcmp(p, "====", 4))
		return false;
	for (; i < len && i < 24 && p[i] >= '0' && p[i] <= '9'; i++)
		sec = sec * 10 + (uint64_t)(p[i] - '0');
	if (i == 4 || i >= len || p[i++] != '.')
		return false;
	for (digits = i;
	     i < len && i < digits + 6 && p[i] >= '0' && p[i] <= '9'; i++)
		usec = usec * 10 + (uint64_t)(p[i] - '0');
	*packed = false;
	if (i + 1 < len && p[i] == '-' &&
	    (p[i + 1] == 'C' || p[i + 1] == 'D')) {
		*packed = p[i + 1] == 'C';
		i += 2;
	}
	if (i == digits || i >= len || p[i++] != '\n')
		return false;
	*skip = i;
	*wall = sec < UINT64_C(1) << 33 ? sec * 1000000000u + usec * 1000u : 0;
	return true;
}

struct look {
	uint32_t lines, stamped, levels, text;
	bool dump, calls;
};

/* The first bytes that are not zero, up to some lines. */
static void zone_look(const struct zone *z, struct look *l)
{
	const uint8_t *p = z->data + ZONE_HEADER, *end = p + z->room, *stop;
	uint64_t wall;
	size_t skip;
	bool packed;

	memset(l, 0, sizeof(*l));
	l->calls = zone_sig_ftrace(z->sig);
	if (!z->lost && !z->fill)
		return;
	l->dump = ramoops_dump_head(p, z->room, &skip, &wall, &packed) ||
		  (z->room > 4 && !memcmp(p, "====", 4));
	while (p < end && !*p)
		p++;
	stop = end - p > 8192 ? p + 8192 : end;
	while (p < stop) {
		const uint8_t *nl = memchr(p, '\n', (size_t)(stop - p));
		struct pstore_line line;
		size_t n = (size_t)((nl ? nl : stop) - p);

		if (n && pstore_line(p, n, &line)) {
			l->lines++;
			l->stamped += line.has_time;
			l->levels += line.has_time && line.has_level;
		}
		for (size_t i = 0; i < n; i++)
			l->text += p[i] >= ' ' || p[i] == '\t';
		p += n + 1;
	}
}

static enum zone_type zone_type_of(const struct ramoops *r, uint32_t i,
				   const struct look *l, int *console)
{
	bool last = i + 1 == r->nr || zone_sig_ftrace(r->zone[i + 1].sig);

	if (l->calls)
		return ZONE_FTRACE;
	if (l->dump || !l->lines)
		return ZONE_DMESG;
	if (2 * l->levels > l->lines)
		return ZONE_DMESG; /* its heading is lost */
	/* A console without times is followed by pmsg as a rule. */
	if (*console < 0 && (2 * l->stamped >= l->lines || !last))
		return ZONE_CONSOLE;
	return 2 * l->stamped >= l->lines ? ZONE_DMESG : ZONE_PMSG;
}

/*
 * By their content.  What is empty counts as a dump that is not there: it is
 * looked at again when it fills.
 */
void ramoops_type_zones(struct ramoops *r)
{
	int console = -1;

	for (uint32_t i = 0; !r->typed && i < r->nr; i++) {
		struct zone *z = &r->zone[i];
		struct look l;

		zone_look(z, &l);
		z->type = zone_type_of(r, i, &l, &console);
		if (z->type == ZONE_CONSOLE)
			console = (int)i;
	}
}
