/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * cper.h - common platform error records: UEFI specification 2.10, appendix N;
 * include/linux/cper.h and drivers/acpi/apei/erst.c of Linux 5.10 to 6.12.
 */
#ifndef LIBDLOG_STOCK_CPER_H
#define LIBDLOG_STOCK_CPER_H

#include "internal.h"

#define CPER_HEADER 128u
#define CPER_SECTION 72u
#define CPER_GUID_TEXT 37u

struct cper {
	uint64_t id;
	uint64_t real; /* wall clock in ns, 0: not told */
	uint32_t length; /* of all of it, as it says */
	uint32_t sections;
	uint32_t severity;
	bool pstore; /* Linux' pstore or machine check code made it */
	bool sound; /* what can only have one value has it */
	uint8_t creator[16];
};

enum cper_type {
	CPER_OTHER,
	CPER_DMESG, /* text of pstore */
	CPER_DMESG_Z, /* the same, compressed */
};

struct cper_section {
	uint32_t offset, length; /* from the record's start */
	uint32_t severity;
	enum cper_type type;
	uint8_t guid[16];
};

/* Does a record begin with these CPER_HEADER bytes? */
bool cper_parse(const uint8_t *head, struct cper *c);
void cper_section(const uint8_t *desc, struct cper_section *s);
const char *cper_severity(uint32_t severity);
uint8_t cper_level(uint32_t severity); /* of syslog */
void cper_guid(const uint8_t guid[16], char text[CPER_GUID_TEXT]);
/* What a section of this type is about, "" when not known here. */
const char *cper_type_name(const uint8_t guid[16]);

#endif
