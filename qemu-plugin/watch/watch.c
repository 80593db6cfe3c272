// SPDX-License-Identifier: GPL-2.0-only
/*
 * watch.c - stores into a guest's region: start and end of what watch= does.
 */
#include "watch.h"

int watch_start(void)
{
	const char *path = plugin.opt.watch;
	int ret;

	if (!path)
		return 0;
	ret = guard_start(path);
	if (!ret)
		ret = clock_start();
	if (!ret)
		ret = serve_start(path);
	return ret;
}

int watch_begin(void)
{
	int ret = 0;

	if (plugin.opt.watch)
		ret = clock_begin();
	if (!ret)
		ret = writes_begin();
	return ret;
}

void watch_translate(const struct block *b)
{
	if (plugin.opt.trace_writes)
		writes_translate(b);
}

/* The first one is the first moment at which QEMU is the process it stays. */
void watch_beat(void)
{
	static bool begun;

	if (!plugin.opt.watch)
		return;
	writes_beat();
	if (begun || !writes_begun())
		return;
	begun = true;
	serve_begin();
}

void watch_stop(void)
{
	if (!plugin.opt.watch)
		return;
	serve_stop();
	guard_stop();
}
