// SPDX-License-Identifier: GPL-2.0-only
/*
 * log.c - dlog-hv's own text.
 *
 * Each line goes to the console and, once a boot is recorded, as a TEXT
 * record into dlog-hv's ring.  What is said before waits in a buffer.
 */
#include "hv.h"

#define LINE 256
#define EARLY_LINES 64

static struct {
	u64 time;
	u8 level;
	char text[LINE - 9];
} early[EARLY_LINES];
static u32 nr_early;
static u32 console_lock;

bool hv_prefix(const char *s, const char *prefix)
{
	while (*prefix)
		if (*s++ != *prefix++)
			return false;
	return true;
}

void console_write(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		bool plain = s[i] >= 0x20 && s[i] < 0x7f;

		arch_console(plain || s[i] == '\n' || s[i] == '\t' ? s[i]
								   : '?');
	}
}

static void append(u32 level, const char *text, u64 ago)
{
	lock(&client_lock);
	region_ago = ago;
	dlog_client_write(&client, 0, level, text, strlen(text));
	region_ago = 0;
	unlock(&client_lock);
}

static void keep(enum hv_level level, const char *text)
{
	if (region_has_boot()) {
		append(level, text, 0);
	} else if (nr_early < EARLY_LINES) {
		early[nr_early].time = region_clock(NULL);
		early[nr_early].level = (u8)level;
		dlog_client_print(early[nr_early++].text, sizeof(early[0].text),
				  "%s", text);
	}
}

void log_flush(void)
{
	lock(&console_lock);
	/* The boot's clock may have begun after these lines. */
	for (u32 i = 0; i < nr_early; i++)
		append(early[i].level, early[i].text,
		       early[nr_early - 1].time - early[i].time);
	nr_early = 0;
	unlock(&console_lock);
}

void hv_log(enum hv_level level, const char *fmt, ...)
{
	char text[LINE] = "dlog-hv: ";
	va_list args;
	size_t n;

	va_start(args, fmt);
	n = 9 + dlog_client_format(text + 9, sizeof(text) - 9, fmt, args);
	va_end(args);
	lock(&console_lock);
	console_write(text, n);
	console_write("\n", 1);
	keep(level, text);
	unlock(&console_lock);
}
