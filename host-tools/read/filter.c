// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * filter.c - which records are shown.  Relies on libdlog and libc.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "read.h"

#define NR_LEVELS 8u
#define NR_FACILITIES 24u

void filter_init(struct filter *f)
{
	memset(f, 0, sizeof(*f));
	f->kinds = f->levels = ~0u;
	f->text.fd = -1;
}

void filter_free(struct filter *f)
{
	if (f->grep && !f->plain)
		regfree(&f->regex);
	free(f->limits);
	filter_events_free(f);
	sink_free(&f->text);
}

/* Number or name of one of @n values; -1: neither. */
static int value_of(const char *text, size_t len, const char *(*name)(uint32_t),
		    uint32_t n)
{
	char word[32], *end;
	unsigned long v;

	if (!len || len >= sizeof(word))
		return -1;
	memcpy(word, text, len);
	word[len] = 0;
	if (isdigit((unsigned char)word[0])) {
		v = strtoul(word, &end, 10);
		return *end || v >= n ? -1 : (int)v;
	}
	for (uint32_t i = 0; i < n; i++)
		if (!strcmp(word, name(i)))
			return (int)i;
	return -1;
}

/* Also the names that people use for the same level. */
static int level_of(const char *text, size_t len)
{
	static const struct {
		const char *name;
		int level;
	} other[] = {
		{ "panic", 0 },
		{ "error", 3 },
		{ "warning", 4 },
	};

	for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++)
		if (strlen(other[i].name) == len &&
		    !memcmp(text, other[i].name, len))
			return other[i].level;
	return value_of(text, len, dlog_level_name, NR_LEVELS);
}

static uint32_t levels_between(int a, int b)
{
	uint32_t mask = 0;

	for (int i = a < b ? a : b; i <= (a < b ? b : a); i++)
		mask |= 1u << i;
	return mask;
}

/* "err", "err+" and more severe, "+err" and less, "err..info". */
static int level_term(uint32_t *mask, const char *p, size_t len)
{
	const char *dots = memmem(p, len, "..", 2);
	int a, b;

	if (dots) {
		a = level_of(p, (size_t)(dots - p));
		b = level_of(dots + 2, len - (size_t)(dots + 2 - p));
	} else if (len && p[len - 1] == '+') {
		a = 0;
		b = level_of(p, len - 1);
	} else if (len && *p == '+') {
		a = level_of(p + 1, len - 1);
		b = NR_LEVELS - 1;
	} else {
		a = b = level_of(p, len);
	}
	if (a < 0 || b < 0)
		return -EINVAL;
	*mask |= levels_between(a, b);
	return 0;
}

static int facility_term(uint32_t *mask, const char *p, size_t len)
{
	int v = value_of(p, len, dlog_facility_name, NR_FACILITIES);

	if (v < 0)
		return -EINVAL;
	*mask |= 1u << v;
	return 0;
}

static int kind_term(uint32_t *mask, const char *p, size_t len)
{
	int v = value_of(p, len, dlog_kind_name, DLOG_KIND_MAX);

	if (v < 0 || isdigit((unsigned char)*p))
		return -EINVAL;
	*mask |= 1u << v;
	return 0;
}

static int mask_list(uint32_t *mask, const char *list, const char *what,
		     const char *help,
		     int (*term)(uint32_t *mask, const char *p, size_t len))
{
	const char *p = list;
	size_t len;

	*mask = 0;
	do {
		len = strcspn(p, ",");
		if (term(mask, p, len)) {
			fprintf(stderr, PROGRAM ": '%.*s' is no %s: %s\n",
				(int)len, p, what, help);
			return -EINVAL;
		}
		p += len;
	} while (*p++);
	return 0;
}

int filter_levels(struct filter *f, const char *list)
{
	return mask_list(&f->levels, list, "level",
			 "emerg, alert, crit, err, warn, notice, info, debug "
			 "or 0 to 7; err+ is err and more severe, "
			 "err..info a range",
			 level_term);
}

int filter_facilities(struct filter *f, const char *list)
{
	return mask_list(&f->facilities, list, "facility",
			 "kern, user, daemon, ... or 0 to 23", facility_term);
}

int filter_kinds(struct filter *f, const char *list)
{
	int ret = mask_list(&f->kinds, list, "type of record",
			    "printk, text, event, boot, state, regs, stack, "
			    "call or blocks",
			    kind_term);

	f->blocks = f->kinds & 1u << DLOG_KIND_BLOCKS;
	return ret;
}

int filter_cpus(struct filter *f, const char *list)
{
	const char *p = list;
	unsigned long a, b;
	char *end;

	f->some_cpus = true;
	memset(f->cpus, 0, sizeof(f->cpus));
	do {
		if (!isdigit((unsigned char)*p))
			goto bad;
		a = b = strtoul(p, &end, 10);
		if (*end == '-') {
			if (!isdigit((unsigned char)end[1]))
				goto bad;
			b = strtoul(end + 1, &end, 10);
		}
		if ((*end && *end != ',') || a > b || b >= DLOG_CPUS_MAX)
			goto bad;
		for (; a <= b; a++)
			f->cpus[a / 8] |= (uint8_t)(1u << a % 8);
		p = end;
	} while (*p++);
	return 0;
bad:
	fprintf(stderr,
		PROGRAM ": '%s' is no list of CPUs: numbers below %u and "
			"ranges, as in 0,2-3\n",
		list, DLOG_CPUS_MAX);
	return -EINVAL;
}

int filter_boot(struct filter *f, const char *text)
{
	char *end;

	f->one_boot = strcmp(text, "all");
	if (!f->one_boot)
		return 0;
	errno = 0;
	f->boot_arg = strtol(text, &end, 10);
	if (!*text || *end || errno || f->boot_arg > UINT32_MAX) {
		fprintf(stderr,
			PROGRAM ": '%s' is no boot: 1 and up count from the "
				"first, 0 is the latest, -1 the one before, "
				"all is all\n",
			text);
		return -EINVAL;
	}
	return 0;
}

int filter_pattern(struct filter *f, const char *pattern, bool fold_case)
{
	char why[128];
	int ret;

	f->pattern = pattern;
	f->plain = !fold_case && !strpbrk(pattern, "\\^$.[]|()?*+{}");
	if (!f->plain) {
		ret = regcomp(&f->regex, pattern,
			      REG_EXTENDED | (fold_case ? REG_ICASE : 0));
		if (ret) {
			regerror(ret, &f->regex, why, sizeof(why));
			fprintf(stderr,
				PROGRAM ": '%s' is no regular expression: "
					"%s\n",
				pattern, why);
			return -EINVAL;
		}
	}
	f->grep = true;
	return 0;
}

/* The boot that -b means in this file. */
static int bind_boot(const struct filter *f, const struct source *src,
		     struct limits *l)
{
	long n = f->boot_arg;

	if (n > 0) {
		for (int i = 0; i < src->nr_boots; i++)
			if (src->boots[i].boot == (uint32_t)n)
				l->boot = (uint32_t)n;
	} else if (n > -(long)src->nr_boots) {
		l->boot = src->boots[src->nr_boots - 1 + n].boot;
	}
	if (l->boot)
		return 0;
	if (!src->nr_boots)
		fprintf(stderr,
			PROGRAM ": %s: no boot yet: no guest has written "
				"here\n",
			src->path);
	else
		fprintf(stderr,
			PROGRAM ": %s: there is no boot %ld: it knows %d, "
				"number %u to %u; --list-boots shows them\n",
			src->path, n, src->nr_boots, src->boots[0].boot,
			src->boots[src->nr_boots - 1].boot);
	return -ENOENT;
}

/*
 * The rings that the chosen CPUs write to: as their heartbeats say, else as
 * the driver deals them out.
 */
static void bind_rings(const struct filter *f, struct source *src,
		       struct limits *l)
{
	struct dlog_beat beat;

	for (uint32_t cpu = 0; cpu < DLOG_CPUS_MAX; cpu++) {
		uint32_t ring = cpu % src->info.nr_rings;

		if (!(f->cpus[cpu / 8] & 1u << cpu % 8))
			continue;
		if (dlog_get_beat(src->d, cpu, &beat) &&
		    beat.ring < src->info.nr_rings)
			ring = beat.ring;
		l->rings[ring / 8] |= (uint8_t)(1u << ring % 8);
	}
}

static void bind_end(const struct source *src, struct limits *l)
{
	for (int i = src->nr_boots - 1; i >= 0; i--) {
		const struct dlog_boot_entry *b = &src->boots[i];

		if (!b->has_records || (l->boot && l->boot != b->boot))
			continue;
		l->end_boot = b->boot;
		l->end_time = b->last_time;
		return;
	}
}

int filter_bind(struct filter *f, struct source *src, size_t n)
{
	int ret;

	f->limits = calloc(n, sizeof(*f->limits));
	if (!f->limits)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct limits *l = &f->limits[i];

		if (f->one_boot) {
			ret = bind_boot(f, &src[i], l);
			if (ret)
				return ret;
		}
		if (f->some_cpus)
			bind_rings(f, &src[i], l);
		bind_end(&src[i], l);
	}
	return filter_events_bind(f, src, n);
}

/* Before (-1), at (0) or behind (1) @w; -2: cannot be told. */
static int when_compare(const struct when *w, const struct limits *l,
			const struct dlog_entry *e)
{
	uint64_t a = e->time, b = w->ns;

	if (w->kind == WHEN_REAL) {
		if (!e->real)
			return -2;
		a = e->real;
	} else if (w->kind == WHEN_END) {
		if (e->boot != l->end_boot)
			return e->boot < l->end_boot ? -1 : 1;
		b = l->end_time > w->ns ? l->end_time - w->ns : 0;
	}
	return a < b ? -1 : a > b;
}

static bool match_time(struct filter *f, const struct limits *l,
		       const struct dlog_entry *e)
{
	int since = 1, until = -1;

	if (f->since.kind)
		since = when_compare(&f->since, l, e);
	if (f->until.kind)
		until = when_compare(&f->until, l, e);
	if (since == -2 || until == -2) {
		f->no_clock++;
		return false;
	}
	return since >= 0 && until <= 0;
}

static bool match_text(struct filter *f, const struct dlog_entry *e)
{
	regmatch_t at;
	size_t len;
	const uint8_t *text = entry_text(e, &f->text, &len);

	if (f->plain)
		return memmem(text, len, f->pattern, strlen(f->pattern));
	/* REG_STARTEND: the text has no NUL at its end, and may hold some. */
	at.rm_so = 0;
	at.rm_eo = (regoff_t)len;
	return !regexec(&f->regex, (const char *)text, 1, &at, REG_STARTEND);
}

/* Blocks lie in rings of their own, and say whose they are. */
static bool match_cpu(const struct filter *f, const struct limits *l,
		      const struct dlog_entry *e)
{
	if (e->kind == DLOG_KIND_BLOCKS)
		return f->cpus[e->arg / 8] & 1u << e->arg % 8;
	return l->rings[e->ring / 8] & 1u << e->ring % 8;
}

bool filter_match(struct filter *f, size_t source, const struct dlog_entry *e)
{
	const struct limits *l = &f->limits[source];

	if (l->boot && e->boot != l->boot)
		return false;
	if (!(f->kinds & 1u << (e->kind & 31)) ||
	    !(f->levels & 1u << (e->level & 7)))
		return false;
	if (f->facilities && (!entry_is_text(e) || e->facility > 31 ||
			      !(f->facilities & 1u << e->facility)))
		return false;
	if (f->some_cpus && !match_cpu(f, l, e))
		return false;
	if ((f->since.kind || f->until.kind) && !match_time(f, l, e))
		return false;
	if (f->events && !filter_event_match(f, e))
		return false;
	return !f->grep || match_text(f, e);
}
