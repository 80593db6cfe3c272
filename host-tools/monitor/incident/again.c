// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * again.c - somebody else's JSON, parsed and written anew.  Relies on jansson,
 * whose names are those of common/json.h: no file uses both.
 */
#include <jansson.h>

#include "incident.h"

char *json_again(const char *text)
{
	json_t *v = json_loads(text, JSON_DECODE_ANY, NULL);
	char *out = NULL;

	if (v)
		out = json_dumps(v, JSON_COMPACT | JSON_ENSURE_ASCII |
					    JSON_ENCODE_ANY);
	json_decref(v);
	return out;
}
