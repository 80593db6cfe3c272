// SPDX-License-Identifier: GPL-2.0-only
/*
 * options.c - dlog-hv's command line, in GRUB's syntax.
 *
 *	region=SIZE[@ADDR|@auto]  console=com1|com2|0xPORT|none
 *	watchdog=SECONDSs|0       on-hang=, on-fault=, on-reset=, on-halt=
 *	show=previous             WORDS of record, reset, restart, halt
 *	svm=off                   region-new
 */
#include "hv.h"

struct hv_options opt = {
	.region_size = 16 * MIB,
	.watchdog_ms = 10000,
	.console = 0x3f8,
	.on_hang = HV_RESET,
	.on_fault = HV_RESET,
	.on_reset = HV_RESET,
	.on_halt = HV_RECORD,
};

static bool set_region(const char *s)
{
	u64 size = dlog_client_number(&s), addr = 0;

	if (hv_prefix(s, "@auto"))
		s += 5;
	else if (*s == '@')
		s++, addr = dlog_client_number(&s);
	if (*s || size < DLOG_REGION_MIN || size % PAGE || size > GIB ||
	    addr % PAGE || addr + size > 4 * GIB)
		return false;
	opt.region_size = size;
	opt.region_addr = addr;
	return true;
}

static bool set_watchdog(const char *s)
{
	const char *begin = s;
	u64 v = dlog_client_number(&s);

	if (s > begin && *s == 's')
		s++;
	if (s == begin || *s || v > 3600)
		return false;
	opt.watchdog_ms = (u32)v * 1000;
	return true;
}

static bool set_console(const char *s)
{
	static const struct {
		const char *name;
		u16 port;
	} known[] = { { "com1", 0x3f8 }, { "com2", 0x2f8 }, { "none", 0 } };
	u64 port;

	for (u32 i = 0; i < ARRAY_SIZE(known); i++) {
		if (!hv_prefix(s, known[i].name) || s[4])
			continue;
		opt.console = known[i].port;
		return true;
	}
	port = dlog_client_number(&s);
	if (*s || !port || port > 0xffff)
		return false;
	opt.console = (u16)port;
	return true;
}

/* "record,reset": to record is no choice, the last word counts. */
static bool set_action(enum hv_action *a, const char *s)
{
	static const char *const words[] = { [HV_RECORD] = "record",
					     [HV_RESET] = "reset",
					     [HV_HALT] = "halt",
					     [HV_RESTART] = "restart" };

	enum hv_action last = *a;

	if (!*s)
		return false;
	while (*s) {
		u32 i = 0;

		while (i < ARRAY_SIZE(words) && !hv_prefix(s, words[i]))
			i++;
		if (i == ARRAY_SIZE(words))
			return false;
		last = (enum hv_action)i;
		opt.restart |= last == HV_RESTART;
		s += strlen(words[i]);
		if (*s == ',')
			s++;
		else if (*s)
			return false;
	}
	*a = last;
	return true;
}

static bool set_one(const char *w)
{
	static const struct {
		const char *name;
		enum hv_action *action;
	} on[] = { { "on-hang=", &opt.on_hang },
		   { "on-fault=", &opt.on_fault },
		   { "on-reset=", &opt.on_reset },
		   { "on-halt=", &opt.on_halt } };

	for (u32 i = 0; i < ARRAY_SIZE(on); i++)
		if (hv_prefix(w, on[i].name))
			return set_action(on[i].action, w + strlen(on[i].name));
	if (hv_prefix(w, "region="))
		return set_region(w + 7);
	if (hv_prefix(w, "watchdog="))
		return set_watchdog(w + 9);
	if (hv_prefix(w, "console="))
		return set_console(w + 8);
	if (hv_prefix(w, "show=previous") && !w[13])
		return opt.show_previous = true;
	if (hv_prefix(w, "svm=off") && !w[7])
		return opt.plain = true;
	if (hv_prefix(w, "region-new") && !w[10])
		return opt.region_new = true;
	return false;
}

void options_parse(const char *line)
{
	char word[128];

	while (*line) {
		u32 n = 0;

		while (*line == ' ')
			line++;
		for (; *line && *line != ' '; line++)
			if (n < sizeof(word) - 1)
				word[n++] = *line;
		word[n] = 0;
		if (n && !set_one(word))
			hv_log(HV_WARN,
			       "The option %s is not understood and left out.",
			       word);
	}
}
