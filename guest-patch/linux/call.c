// SPDX-License-Identifier: GPL-2.0-only
/*
 * call.c - a broken rule of the kernel's interface, into the ring.
 *
 * Called by modules that guest-patch/wrap has wrapped; they look the function
 * up when they need it, so neither depends on the other being loaded.  The
 * record is docs/abi.md section 7, CALL; it is put together on the stack, so
 * what is longer than expected is cut.
 */
#include <linux/dlog.h>
#include <linux/export.h>
#include <linux/kernel.h>
#include <linux/string.h>

#include "driver.h"

#define CALL_ARGS 8
#define CALL_TEXT 384

struct dlog_call_record {
	struct dlog_call call;
	u64 args[CALL_ARGS];
	char text[CALL_TEXT]; /* follows the arguments that there are */
};

/* Add @s with its NUL, leaving @rest bytes for what comes behind it. */
static char *dlog_call_text(char *to, const char *end, size_t rest,
			    const char *s)
{
	size_t room = end - to - rest;
	size_t len = strnlen(s, room - 1);

	memcpy(to, s, len);
	to[len] = 0;
	return to + len + 1;
}

int dlog_call(unsigned int level, u64 site, u32 flags, const u64 *args,
	      u32 nr_args, const char *function, const char *rule,
	      const char *caller)
{
	struct dlog_call_record r;
	const char *end = r.text + sizeof(r.text);
	char where[128], *at;

	if (level > 7)
		return -EINVAL;
	if (!dlog_recording())
		return -EAGAIN;
	if (!caller) {
		snprintf(where, sizeof(where), "%pS",
			 (void *)(unsigned long)site);
		caller = where;
	}
	r.call.site = site;
	r.call.flags = flags;
	r.call.nr_args = min_t(u32, nr_args, CALL_ARGS);
	memcpy(r.args, args, r.call.nr_args * sizeof(u64));
	at = (char *)(r.args + r.call.nr_args);
	at = dlog_call_text(at, end, CALL_TEXT - 64, function);
	at = dlog_call_text(at, end, 128, rule);
	at = dlog_call_text(at, end, 0, caller);
	return dlog_append(DLOG_TYPE(DLOG_KIND_CALL, level), dlog_clock(), &r,
			   at - (char *)&r);
}
EXPORT_SYMBOL_GPL(dlog_call);
