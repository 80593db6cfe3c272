// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * when.c - points in time on the command line, and dates for people.
 * Relies on libc alone.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "read.h"

#define NS UINT64_C(1000000000)

/* "12", "12.5": ns; *@end is what follows. */
static int parse_seconds(const char *p, uint64_t *ns, const char **end)
{
	uint64_t s = 0, part = 0, unit = NS;

	if (!isdigit((unsigned char)*p))
		return -EINVAL;
	for (; isdigit((unsigned char)*p); p++) {
		s = s * 10 + (uint64_t)(*p - '0');
		if (s > UINT64_MAX / NS / 2)
			return -EINVAL;
	}
	if (*p == '.') {
		if (!isdigit((unsigned char)*++p))
			return -EINVAL;
		for (; isdigit((unsigned char)*p); p++) {
			unit /= 10;
			part += (uint64_t)(*p - '0') * unit;
		}
	}
	*ns = s * NS + part;
	*end = p;
	return 0;
}

/* "10s", "1.5min", "2h", "10": ns. */
static int parse_span(const char *p, uint64_t *ns)
{
	static const struct {
		const char *name;
		uint64_t milli; /* thousandths of a second */
	} unit[] = {
		{ "", 1000 },	   { "s", 1000 },	{ "sec", 1000 },
		{ "ms", 1 },	   { "m", 60000 },	{ "min", 60000 },
		{ "h", 3600000 },  { "hour", 3600000 }, { "hours", 3600000 },
		{ "d", 86400000 }, { "day", 86400000 }, { "days", 86400000 },
	};

	unsigned __int128 wide;

	if (parse_seconds(p, ns, &p))
		return -EINVAL;
	while (*p == ' ')
		p++;
	for (size_t i = 0; i < sizeof(unit) / sizeof(unit[0]); i++) {
		if (strcmp(p, unit[i].name))
			continue;
		wide = (unsigned __int128)*ns * unit[i].milli / 1000;
		if (wide > UINT64_MAX)
			return -EINVAL;
		*ns = (uint64_t)wide;
		return 0;
	}
	return -EINVAL;
}

/* "Z", "UTC", "+02:00", "-0330": seconds east of Greenwich. */
static int parse_zone(const char *p, long *east)
{
	int h, m, n = 0;
	char sign;

	*east = 0;
	while (*p == ' ')
		p++;
	if (!strcmp(p, "Z") || !strcmp(p, "UTC"))
		return 0;
	sign = *p++;
	if ((sign != '+' && sign != '-') || !isdigit((unsigned char)*p))
		return -EINVAL;
	if ((sscanf(p, "%2d:%2d%n", &h, &m, &n) != 2 &&
	     sscanf(p, "%2d%2d%n", &h, &m, &n) != 2) ||
	    p[n] || h > 14 || m > 59 || h < 0 || m < 0)
		return -EINVAL;
	*east = (h * 60 + m) * 60L * (sign == '-' ? -1 : 1);
	return 0;
}

static int check_date(const struct tm *tm)
{
	if (tm->tm_mon < 0 || tm->tm_mon > 11 || tm->tm_mday < 1 ||
	    tm->tm_mday > 31 || tm->tm_hour < 0 || tm->tm_hour > 23 ||
	    tm->tm_min < 0 || tm->tm_min > 59 || tm->tm_year < 70)
		return -EINVAL;
	return 0;
}

/* "[YYYY-MM-DD][T ][HH:MM[:SS[.frac]]][zone]" */
static int parse_date(const char *p, bool utc, uint64_t *real)
{
	time_t now = time(NULL);
	struct tm tm;
	uint64_t seconds = 0;
	bool zoned = false;
	long east = 0;
	int n = 0, y, mon, d, h, min;
	time_t t;

	if (utc)
		gmtime_r(&now, &tm);
	else
		localtime_r(&now, &tm);
	tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
	tm.tm_isdst = -1;
	if (sscanf(p, "%4d-%2d-%2d%n", &y, &mon, &d, &n) == 3 && n) {
		tm.tm_year = y - 1900;
		tm.tm_mon = mon - 1;
		tm.tm_mday = d;
		p += n;
		if (*p == 'T' || *p == ' ')
			p++;
		else if (*p)
			return -EINVAL;
	}
	n = 0;
	if (sscanf(p, "%2d:%2d%n", &h, &min, &n) == 2 && n) {
		tm.tm_hour = h;
		tm.tm_min = min;
		p += n;
		if (*p == ':' && parse_seconds(p + 1, &seconds, &p))
			return -EINVAL;
	} else if (!n && *p) {
		return -EINVAL;
	}
	if (*p) {
		if (parse_zone(p, &east))
			return -EINVAL;
		zoned = true;
	}
	if (check_date(&tm) || seconds > 60 * NS)
		return -EINVAL;
	t = zoned || utc ? timegm(&tm) : mktime(&tm);
	t -= east;
	if (t < 0)
		return -EINVAL;
	*real = (uint64_t)t * NS + seconds;
	return 0;
}

static int parse_day(struct when *w, int days, bool utc)
{
	time_t now = time(NULL), t;
	struct tm tm;

	if (utc)
		gmtime_r(&now, &tm);
	else
		localtime_r(&now, &tm);
	tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
	tm.tm_mday += days;
	tm.tm_isdst = -1;
	t = utc ? timegm(&tm) : mktime(&tm);
	*w = (struct when){ WHEN_REAL, (uint64_t)t * NS };
	return 0;
}

int when_parse(struct when *w, const char *text, bool utc)
{
	const char *end;

	if (!strcmp(text, "today"))
		return parse_day(w, 0, utc);
	if (!strcmp(text, "yesterday"))
		return parse_day(w, -1, utc);
	if (!strcmp(text, "now")) {
		*w = (struct when){ WHEN_REAL, (uint64_t)time(NULL) * NS };
		return 0;
	}
	w->kind = WHEN_END;
	if (*text == '-')
		return parse_span(text + 1, &w->ns);
	w->kind = WHEN_REAL;
	if (*text == '@')
		return parse_seconds(text + 1, &w->ns, &end) || *end ? -EINVAL
								     : 0;
	if (!parse_seconds(text, &w->ns, &end) && !*end) {
		w->kind = WHEN_GUEST;
		return 0;
	}
	if (!*text)
		return -EINVAL;
	return parse_date(text, utc, &w->ns);
}

void when_date(struct sink *s, uint64_t real, bool utc)
{
	time_t t = (time_t)(real / NS);
	char buf[64];
	struct tm tm;
	size_t n;

	if (!(utc ? gmtime_r(&t, &tm) : localtime_r(&t, &tm)))
		return;
	n = strftime(buf, sizeof(buf),
		     utc ? "%Y-%m-%d %H:%M:%S UTC" : "%Y-%m-%d %H:%M:%S %Z",
		     &tm);
	sink_put(s, buf, n);
}
