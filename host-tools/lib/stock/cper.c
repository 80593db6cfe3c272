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

/* A GUID as its bytes lie: the first three numbers little-endian. */
#define GUID(a, b, c, ...)                                                     \
	{                                                                      \
		(uint8_t)(a), (uint8_t)((a) >> 8), (uint8_t)((a) >> 16),       \
			(uint8_t)((a) >> 24), (uint8_t)(b),                    \
			(uint8_t)((b) >> 8), (uint8_t)(c),                     \
			(uint8_t)((c) >> 8), __VA_ARGS__                       \
	}

/* drivers/acpi/apei/erst.c, arch/x86/kernel/cpu/mce/apei.c */
static const uint8_t creator_pstore[16] = GUID(0x75a574e3u, 0x5052u, 0x4b29u,
					       0x8a, 0x8e, 0xbe, 0x2c, 0x64,
					       0x90, 0xb8, 0x9d);
static const uint8_t type_dmesg[16] = GUID(0xc197e04eu, 0xd545u, 0x4a70u, 0x9c,
					   0x17, 0xa5, 0x54, 0x94, 0x19, 0xeb,
					   0x12);
static const uint8_t type_dmesg_z[16] = GUID(0x4f118707u, 0x04ddu, 0x4055u,
					     0xb5, 0xdd, 0x95, 0x6d, 0x34, 0xdd,
					     0xfa, 0xc6);

/* The last from arch/x86/kernel/cpu/mce/apei.c, others UEFI N.2.2. */
static const struct {
	uint8_t guid[16];
	const char *name;
} types[] = {
	{ GUID(0x9876ccadu, 0x47b4u, 0x4bdbu, 0xb6, 0x5e, 0x16, 0xf1, 0x93,
	       0xc4, 0xf3, 0xdb),
	  "processor" },
	{ GUID(0xdc3ea0b0u, 0xa144u, 0x4797u, 0xb9, 0x5b, 0x53, 0xfa, 0x24,
	       0x2b, 0x6e, 0x1d),
	  "x86 processor" },
	{ GUID(0xe19e3d16u, 0xbc11u, 0x11e4u, 0x9c, 0xaa, 0xc2, 0x05, 0x1d,
	       0x5d, 0x46, 0xb0),
	  "ARM processor" },
	{ GUID(0xa5bc1114u, 0x6f64u, 0x4edeu, 0xb8, 0x63, 0x3e, 0x83, 0xed,
	       0x7c, 0x83, 0xb1),
	  "memory" },
	{ GUID(0xd995e954u, 0xbbc1u, 0x430fu, 0xad, 0x91, 0xb4, 0x4d, 0xcb,
	       0x3c, 0x6f, 0x35),
	  "PCI Express" },
	{ GUID(0x81212a96u, 0x09edu, 0x4996u, 0x94, 0x71, 0x8d, 0x72, 0x9c,
	       0x8e, 0x69, 0xed),
	  "firmware" },
	{ GUID(0xfe08ffbeu, 0x95e4u, 0x4be7u, 0xbc, 0x73, 0x40, 0x96, 0x04,
	       0x4a, 0x38, 0xfc),
	  "machine check" },
};

static uint32_t load16(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8;
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
	c->pstore = !memcmp(c->creator, creator_pstore, sizeof(c->creator));
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
	s->type = !memcmp(s->guid, type_dmesg, sizeof(s->guid)) ? CPER_DMESG
		  : !memcmp(s->guid, type_dmesg_z, sizeof(s->guid))
			  ? CPER_DMESG_Z
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

void cper_guid(const uint8_t g[16], char text[CPER_GUID_TEXT])
{
	snprintf(text, CPER_GUID_TEXT,
		 "%08x-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		 dlog_load32(g), load16(g + 4), load16(g + 6), g[8], g[9],
		 g[10], g[11], g[12], g[13], g[14], g[15]);
}

const char *cper_type_name(const uint8_t guid[16])
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (!memcmp(types[i].guid, guid, 16))
			return types[i].name;
	return "";
}
