// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * export.c - records in the Journal Export Format (systemd.io,
 * JOURNAL_EXPORT_FORMATS), which systemd-journal-remote imports.
 *
 * Fields are those that dlogd gives journald, and what journald itself says
 * of lines of the kernel.  The journal counts in microseconds and wants a
 * wall clock and a boot id of each entry: where the wall clock is not known
 * the entry is dated by the guest's clock, in 1970, and has no DLOG_REAL; for
 * a boot that named no boot id one is made of the region's UUID and its
 * number.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "../read.h"

struct export
{
	/* of the boot and source seen last */
	const struct source *src;
	uint32_t boot;
	char boot_id[33], region[33], uuid[UUID_TEXT];
};

static void hex(char to[33], const uint8_t id[16])
{
	for (int i = 0; i < 16; i++)
		snprintf(to + 2 * i, 3, "%02x", id[i]);
}

static void find_boot(struct export *x, const struct source *src, uint32_t boot)
{
	static const uint8_t none[16];
	uint8_t id[16];

	x->src = src;
	x->boot = boot;
	uuid_text(x->uuid, src->info.uuid);
	hex(x->region, src->info.uuid);
	memcpy(id, src->info.uuid, 12);
	for (int i = 0; i < 4; i++)
		id[12 + i] = (uint8_t)(boot >> 8 * i);
	for (int i = 0; i < src->nr_boots; i++)
		if (src->boots[i].boot == boot &&
		    memcmp(src->boots[i].boot_id, none, sizeof(none)))
			memcpy(id, src->boots[i].boot_id, sizeof(id));
	hex(x->boot_id, id);
}

/* A field; with its length where it holds more than one printable line. */
static void put_field(struct sink *s, const char *name, const void *value,
		      size_t len)
{
	const uint8_t *p = value;
	size_t plain = 0;

	while (plain < len && p[plain] >= 0x20 && p[plain] < 0x7f)
		plain++;
	sink_puts(s, name);
	if (plain == len) {
		sink_putc(s, '=');
	} else {
		sink_putc(s, '\n');
		for (int i = 0; i < 8; i++)
			sink_putc(s, (char)((uint64_t)len >> 8 * i));
	}
	sink_put(s, value, len);
	sink_putc(s, '\n');
}

static void put_text(void *s, const char *name, const char *value)
{
	put_field(s, name, value, strlen(value));
}

/* Where and when: the fields that the journal keeps apart. */
static void put_address(struct sink *s, const struct export *x,
			const struct dlog_entry *e)
{
	uint64_t real = (e->real ? e->real : e->time) / 1000;
	uint64_t time = e->time / 1000;
	uint64_t place = (uint64_t)e->ring << 51 | e->position;

	real = real ? real : 1;
	sink_printf(s,
		    "__CURSOR=s=%s;b=%s;m=%" PRIx64 ";t=%" PRIx64 ";x=%" PRIx64
		    "\n"
		    "__REALTIME_TIMESTAMP=%" PRIu64 "\n"
		    "__MONOTONIC_TIMESTAMP=%" PRIu64 "\n"
		    "_BOOT_ID=%s\n",
		    x->region, x->boot_id, time, real, place, real, time,
		    x->boot_id);
}

static int export_entry(struct view *v, struct source *src,
			const struct dlog_entry *e)
{
	struct export *x = v->state;
	struct sink *s = v->out;
	char id[ID_TEXT], date[sizeof(v->date.text)];
	const uint8_t *text;
	size_t len;

	if (x->src != src || x->boot != e->boot)
		find_boot(x, src, e->boot);
	put_address(s, x, e);
	put_text(s, "_TRANSPORT", "kernel");
	put_text(s, "SYSLOG_IDENTIFIER", "kernel");
	if (src->info.label[0])
		put_text(s, "_HOSTNAME", src->info.label);
	text = entry_text(e, &v->text, &len);
	if (len && text[len - 1] == '\n')
		len--;
	put_field(s, "MESSAGE", text, len);
	sink_puts(s, "PRIORITY=");
	sink_putc(s, (char)('0' + e->level));
	sink_putc(s, '\n');
	put_text(s, "DLOG_GUEST", src->name);
	entry_id(id, x->uuid, e);
	put_text(s, "DLOG_ID", id);
	if (e->real) {
		date[entry_date_text(date, &v->date, e->real)] = '\0';
		put_text(s, "DLOG_REAL", date);
	}
	entry_fields(e, put_text, s);
	sink_putc(s, '\n');
	return s->error;
}

static int export_begin(struct view *v)
{
	v->state = calloc(1, sizeof(struct export));
	return v->state ? 0 : fail(&v->err, -ENOMEM, "no memory");
}

static int export_end(struct view *v, bool ok)
{
	(void)ok;
	free(v->state);
	v->state = NULL;
	return 0;
}

const struct output output_export = {
	.name = "export",
	.help = "as journalctl: for systemd-journal-remote",
	.target = OUTPUT_BYTES,
	.follow = true,
	.begin = export_begin,
	.entry = export_entry,
	.end = export_end,
};
