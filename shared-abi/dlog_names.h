/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dlog_names.h - words for the format's numbers, the same on both sides.
 *
 * "?" for a number that format 1 does not know.  Relies on dlog_abi.h.
 */
#ifndef DLOG_NAMES_H
#define DLOG_NAMES_H

#include "dlog_abi.h"

#define DLOG_NAME(table, i)                                                    \
	((i) < sizeof(table) / sizeof(*(table)) && (table)[i] ? (table)[i]     \
							      : "?")

DLOG_FN const char *dlog_name_status(uint32_t status)
{
	static const char *const name[] = {
		[DLOG_ST_NONE] = "none",
		[DLOG_ST_BOOTING] = "booting",
		[DLOG_ST_RUNNING] = "running",
		[DLOG_ST_OOPS] = "oops",
		[DLOG_ST_PANIC] = "panic",
		[DLOG_ST_HUNG_TASK] = "hung task",
		[DLOG_ST_SOFT_LOCKUP] = "soft lockup",
		[DLOG_ST_HARD_LOCKUP] = "hard lockup",
		[DLOG_ST_KEXEC] = "kexec",
		[DLOG_ST_REBOOT] = "reboot",
		[DLOG_ST_HALT] = "halt",
		[DLOG_ST_POWEROFF] = "poweroff",
		[DLOG_ST_EMERGENCY] = "emergency restart",
		[DLOG_ST_SUSPEND] = "suspend",
		[DLOG_ST_UNLOADED] = "unloaded",
	};

	return DLOG_NAME(name, status);
}

DLOG_FN const char *dlog_name_memtype(uint32_t memtype)
{
	static const char *const name[] = {
		[DLOG_MT_UNKNOWN] = "unknown",
		[DLOG_MT_WB] = "write-back",
		[DLOG_MT_WC] = "write-combining",
		[DLOG_MT_UC_MINUS] = "uncached-minus",
		[DLOG_MT_UC] = "uncached",
		[DLOG_MT_WT] = "write-through",
	};

	return DLOG_NAME(name, memtype);
}

#endif
