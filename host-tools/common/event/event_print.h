/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * event_print.h - the "print fmt" of a format text.  Relies on event_int.h.
 */
#ifndef DLOG_EVENT_PRINT_H
#define DLOG_EVENT_PRINT_H

#include "event_int.h"

/*
 * Write "print fmt: " and what @text, up to its end, says onto @out, if it is
 * among what libtraceevent reads without harm; else false.  *@tokens: those
 * that it has.
 */
bool event_print_read(const struct event_class *c, const char *text,
		      struct sink *out, uint32_t *tokens);

/* One conversion of a printf format: "%-8s". */
struct event_conversion {
	const char *text; /* from '%' on */
	uint32_t len;
	char letter; /* d u i x X o s p, or 0: libtraceevent takes none */
	const char *more; /* behind the letter, for p */
	bool star; /* a width or precision is an argument */
	uint32_t longs; /* of "ll" */
};

/*
 * Step to the next conversion of @*format, as libtraceevent finds them: 1, 0
 * at the end, -1 for one that must not get there.
 */
int event_conversion_next(const char **format, struct event_conversion *c);

#endif
