// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * table.c - all formats of dlog-read, in the order of --help.
 */
#include "../read.h"

const struct output *const outputs[] = {
	&output_text, &output_wall,	&output_cat, &output_raw,
	&output_json, &output_export,	&output_ctf, &output_pstore,
	&output_html, &output_perfetto, NULL,
};

const struct output *output_find(const char *name)
{
	for (const struct output *const *o = outputs; *o; o++)
		if (!strcmp((*o)->name, name))
			return *o;
	return NULL;
}
