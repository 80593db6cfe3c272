/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * text.h - guest text and times for people.  Relies on sink.h alone.
 */
#ifndef DLOG_TEXT_H
#define DLOG_TEXT_H

#include "sink.h"

/* A second as it was formatted last: most records share it with their like. */
struct second {
	uint64_t second;
	size_t len; /* of text, 0: none yet */
	char text[96], zone[8];
};

/*
 * Guest text for people: what could steer a terminal becomes \xNN, a line
 * feed is followed by @indent spaces.  In the locale's encoding.
 */
void text_put(struct sink *s, const void *text, size_t len,
	      unsigned int indent);
/* "[    5.123456]"; its width. */
unsigned int text_stamp_last(struct sink *s, struct second *last,
			     uint64_t time);
void text_stamp(struct sink *s, uint64_t time);
/* A line "NAME       TEXT" behind @indent spaces, as facts are listed. */
void text_fact(struct sink *s, unsigned int indent, const char *name,
	       const char *text);

#endif
