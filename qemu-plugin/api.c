// SPDX-License-Identifier: GPL-2.0-only
/*
 * api.c - agree with the running QEMU on a version of the plugin API.
 *
 * QEMU reads qemu_plugin_version after it has loaded the plugin, and refuses
 * it when the number is not between its own minimum and current version.  So
 * the number is found while the plugin is loaded: a version is there when the
 * function that came with it is.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "api.h"

API_EXPORT int qemu_plugin_version;

struct api api;

static void *api_find(const char *name)
{
	return dlsym(RTLD_DEFAULT, name);
}

/* Which came with what: QEMU's header, "versioning plugins". */
static __attribute__((constructor)) void api_choose(void)
{
	if (api_find("qemu_plugin_read_memory_hwaddr"))
		qemu_plugin_version = 5;
	else if (api_find("qemu_plugin_read_memory_vaddr"))
		qemu_plugin_version = 4;
	else if (api_find("qemu_plugin_scoreboard_new"))
		/* 3 changed only insn_data(); 9.0 (2) and 9.1 (3) look alike,
		 * and api_init() learns which one it is. */
		qemu_plugin_version = 2;
	else
		qemu_plugin_version = 1;
}

int api_init(const struct qemu_info *info)
{
	const char *missing = NULL;
	int v = info->version.cur;

	if (v > API_MAX)
		v = API_MAX;
	if (v < API_MIN || info->version.min > API_MAX) {
		fprintf(stderr,
			"dlog-plugin: this QEMU speaks plugin API %d to %d, this plugin %d to %d: use a plugin built for that QEMU\n",
			info->version.min, info->version.cur, API_MIN, API_MAX);
		return -1;
	}
	api.version = v;
	/* POSIX: what dlsym() returns may be taken for a function. */
#define API_LOOK(since, until, type, name, args)                               \
	*(void **)&api.name = api_find("qemu_plugin_" #name);                  \
	if (!api.name && v >= since && v <= until &&                           \
	    strcmp(#name, "mem_get_value"))                                    \
		missing = "qemu_plugin_" #name;
	API_FUNCTIONS(API_LOOK)
#undef API_LOOK
	*(void **)&api.insn_data_v1 = api_find("qemu_plugin_insn_data");
	if (!api.insn_data_v1)
		missing = "qemu_plugin_insn_data";
	*(void **)&api.byte_array_new = api_find("g_byte_array_new");
	if (v >= 2 && !api.byte_array_new)
		missing = "g_byte_array_new";
	if (missing) {
		fprintf(stderr,
			"dlog-plugin: this QEMU says that it speaks plugin API %d but has no %s: use another QEMU\n",
			v, missing);
		return -1;
	}
	return 0;
}

size_t api_insn_bytes(const struct qemu_plugin_insn *insn, void *buf,
		      size_t len)
{
	size_t size;
	const void *p;

	if (api.version >= 3)
		return api.insn_data_v3(insn, buf, len);
	size = api.insn_size(insn);
	p = api.insn_data_v1(insn);
	if (!p)
		return 0;
	if (size > len)
		size = len;
	memcpy(buf, p, size);
	return size;
}
