// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * provider.c - loops that give LTTng-UST the text that native.c gives dlog.
 *
 * A shared object, so that native.c builds and runs without LTTng.
 */
#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#define LTTNG_UST_TRACEPOINT_DEFINE
#include "provider.h"

int provider_enabled(void);
void provider_array(const char *text, unsigned int n);
void provider_string(const char *text, unsigned int n);

int provider_enabled(void)
{
	return lttng_ust_tracepoint_enabled(dlogbench, array) &&
	       lttng_ust_tracepoint_enabled(dlogbench, string);
}

void provider_array(const char *text, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		lttng_ust_tracepoint(dlogbench, array, text);
}

void provider_string(const char *text, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		lttng_ust_tracepoint(dlogbench, string, text);
}
