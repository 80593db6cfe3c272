// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * cper.c - headers of common platform error records (cper.h).
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cper.h"
#include "dlog_region.h"

/* Offsets in the header: UEFI 2.10, table N.1. */
enum {
	AT_REVISION = 4,
	AT_SIGNATURE_END = 6,
	AT_SECTIONS = 10,
	AT_SEVERITY = 12,
	AT_VALID = 16,
	AT_LENGTH = 20,
	AT_TIME = 24,
	AT_CREATOR = 64,
	AT_ID = 96,
};

#define VALID_TIME 2u

/* drivers/acpi/apei/erst.c, arch/x86/kernel/cpu/mce/apei.c */
#define CREATOR_PSTORE "75a574e3-5052-4b29-8a8e-be2c6490b89d"
#define TYPE_DMESG "c197e04e-d545-4a70-9c17-a5549419eb12"
#define TYPE_DMESG_Z "4f118707-04dd-4055-b5dd-956d34ddfac6"

/* The last from arch/x86/kernel/cpu/mce/apei.c, others UEFI N.2.2. */
static const struct {
	char guid[CPER_GUID_TEXT];
	const char *name;
} types[] = {
	{ "9876ccad-47b4-4bdb-b65e-16f193c4f3db", "processor" },
	{ "dc3ea0b0-a144-4797-b95b-53fa242b6e1d", "x86 processor" },
	{ "e19e3d16-bc11-11e4-9caa-c2051d5d46b0", "ARM processor" },
	{ "a5bc1114-6f64-4ede-b863-3e83ed7c83b1", "memory" },
	{ "d995e954-bbc1-430f-ad91-b44dcb3c6f35", "PCI Express" },
	{ "81212a96-09ed-4996-9471-8d729c8e69ed", "firmware" },
	{ "fe08ffbe-95e4-4be7-bc73-4096044a38fc", "machine check" },
};

static uint32_t load16(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8;
}

void cper_guid(const uint8_t g[16], char text[CPER_GUID_TEXT])
{
	snprintf(text, CPER_GUID_TEXT,
		 "%08x-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		 dlog_load32(g), load16(g + 4), load16(g + 6), g[8], g[9],
		 g[10], g[11], g[12], g[13], g[14], g[15]);
}

static bool guid_is(const uint8_t guid[16], const char *text)
{
	char is[CPER_GUID_TEXT];

	cper_guid(guid, is);
	return !strcmp(is, text);
}

/* Two decimal digits in a byte, or -1. */
static int bcd(uint8_t b)
{
	return (b & 15) < 10 && b >> 4 < 10 ? (b >> 4) * 10 + (b & 15) : -1;
}

/* UEFI N.2.1: seconds, minutes, hours, flag, day, month, year, century. */
static uint64_t real_bcd(const uint8_t *p)
{
	int v[8];
	struct tm tm;
	time_t t;

	for (int i = 0; i < 8; i++) {
		v[i] = i == 3 ? 0 : bcd(p[i]);
		if (v[i] < 0)
			return 0;
	}
	tm = (struct tm){ .tm_sec = v[0],
			  .tm_min = v[1],
			  .tm_hour = v[2],
			  .tm_mday = v[4],
			  .tm_mon = v[5] - 1,
			  .tm_year = v[7] * 100 + v[6] - 1900 };
	t = timegm(&tm);
	return t > 0 ? (uint64_t)t * 1000000000u : 0;
}

/* Linux stores seconds since 1970 there, not what the specification says. */
static uint64_t real_linux(uint64_t seconds)
{
	return seconds < UINT64_MAX / 1000000000u ? seconds * 1000000000u : 0;
}

bool cper_parse(const uint8_t *head, struct cper *c)
{
	memset(c, 0, sizeof(*c));
	if (memcmp(head, "CPER", 4))
		return false;
	c->id = dlog_load64(head + AT_ID);
	c->length = dlog_load32(head + AT_LENGTH);
	c->sections = load16(head + AT_SECTIONS);
	c->severity = dlog_load32(head + AT_SEVERITY);
	memcpy(c->creator, head + AT_CREATOR, sizeof(c->creator));
	c->pstore = guid_is(c->creator, CREATOR_PSTORE);
	if (dlog_load32(head + AT_VALID) & VALID_TIME)
		c->real = c->pstore ? real_linux(dlog_load64(head + AT_TIME))
				    : real_bcd(head + AT_TIME);
	c->sound = dlog_load32(head + AT_SIGNATURE_END) == UINT32_MAX &&
		   load16(head + AT_REVISION) >> 8 == 1 && c->sections &&
		   c->length >= CPER_HEADER + CPER_SECTION;
	return true;
}

/* Table N.3. */
void cper_section(const uint8_t *desc, struct cper_section *s)
{
	s->offset = dlog_load32(desc);
	s->length = dlog_load32(desc + 4);
	s->severity = dlog_load32(desc + 48);
	memcpy(s->guid, desc + 16, sizeof(s->guid));
	s->type = guid_is(s->guid, TYPE_DMESG)	   ? CPER_DMESG
		  : guid_is(s->guid, TYPE_DMESG_Z) ? CPER_DMESG_Z
						   : CPER_OTHER;
}

const char *cper_severity(uint32_t severity)
{
	static const char *const names[] = { "recoverable", "fatal",
					     "corrected", "informational" };

	return severity < 4 ? names[severity] : "unknown";
}

uint8_t cper_level(uint32_t severity)
{
	static const uint8_t levels[] = { 3, 2, 4, 6 };

	return severity < 4 ? levels[severity] : 4;
}

const char *cper_type_name(const uint8_t guid[16])
{
	char text[CPER_GUID_TEXT];

	cper_guid(guid, text);
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (!strcmp(types[i].guid, text))
			return types[i].name;
	return "";
}
