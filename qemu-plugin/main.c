// SPDX-License-Identifier: GPL-2.0-only
/*
 * main.c - what QEMU calls: install, translate, vCPU, exit; and the plugin's
 * own thread.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "plugin.h"

struct plugin plugin;

static struct {
	pthread_once_t once;
	pthread_t thread;
	bool running;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop;
} keeper = {
	.once = PTHREAD_ONCE_INIT,
	.lock = PTHREAD_MUTEX_INITIALIZER,
};

void tell(const char *format, ...)
{
	va_list ap;

	flockfile(stderr);
	fputs("dlog-plugin: ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	funlockfile(stderr);
}

static void on_translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	struct block b = {
		.tb = tb,
		.pc = api.tb_vaddr(tb),
		.n = api.tb_n_insns(tb),
	};

	(void)id;
	if (!b.n)
		return;
	/* Counting goes first: callbacks of the block ask for the count. */
	count_translate(&b);
	blocks_translate(&b);
	symbols_translate(&b);
	probe_translate(&b);
	watch_translate(&b);
}

/* Once a second, so that heartbeats tell that QEMU lives. */
static void *keep(void *arg)
{
	struct timespec ts;

	(void)arg;
	record_guard_thread();
	clock_gettime(CLOCK_MONOTONIC, &ts);
	pthread_mutex_lock(&keeper.lock);
	while (!keeper.stop) {
		pthread_mutex_unlock(&keeper.lock);
		record_guard();
		record_beat();
		probe_beat();
		watch_beat();
		pthread_mutex_lock(&keeper.lock);
		ts.tv_sec++;
		while (!keeper.stop &&
		       pthread_cond_timedwait(&keeper.wake, &keeper.lock,
					      &ts) != ETIMEDOUT)
			;
	}
	pthread_mutex_unlock(&keeper.lock);
	return NULL;
}

/* Not before the first vCPU: QEMU may become a daemon in between. */
static void keeper_start(void)
{
	pthread_condattr_t attr;
	sigset_t all, old;
	int ret;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&keeper.wake, &attr);
	pthread_condattr_destroy(&attr);
	/* Signals are QEMU's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&keeper.thread, NULL, keep, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	keeper.running = !ret;
	if (ret)
		record_say(3, "no thread for heartbeats: %s", strerror(ret));
}

static void on_vcpu(qemu_plugin_id_t id, unsigned int vcpu)
{
	(void)id;
	record_vcpu(vcpu, true);
	pthread_once(&keeper.once, keeper_start);
	probe_vcpu(vcpu);
}

static void on_vcpu_gone(qemu_plugin_id_t id, unsigned int vcpu)
{
	(void)id;
	record_vcpu(vcpu, false);
}

/* All vCPUs have stopped, or one of them has called exit(). */
static void on_exit_qemu(qemu_plugin_id_t id, void *arg)
{
	(void)id;
	(void)arg;
	if (keeper.running) {
		pthread_mutex_lock(&keeper.lock);
		keeper.stop = true;
		pthread_cond_signal(&keeper.wake);
		pthread_mutex_unlock(&keeper.lock);
		pthread_join(keeper.thread, NULL);
	}
	watch_stop();
	blocks_stop();
	probe_stop();
	record_stop();
}

static void plugin_register(qemu_plugin_id_t id)
{
	const struct options *o = &plugin.opt;

	api.register_vcpu_init_cb(id, on_vcpu);
	api.register_vcpu_exit_cb(id, on_vcpu_gone);
	/* A plugin that looks at no block makes the guest no slower. */
	if (o->blocks || o->nr_probes || o->nr_symbols || o->trace_writes)
		api.register_vcpu_tb_trans_cb(id, on_translate);
	api.register_atexit_cb(id, on_exit_qemu, NULL);
}

void plugin_translate_again(void)
{
	api.reset(plugin.id, plugin_register);
}

static int plugin_start(const struct qemu_info *info, int argc, char **argv)
{
	int ret;

	if (!info->system_emulation) {
		tell("this QEMU runs a program, not a machine: use qemu-system-...");
		return -EINVAL;
	}
	if (info->system.max_vcpus < 1)
		return -EINVAL;
	plugin.nr_vcpus = (unsigned int)info->system.max_vcpus;
	plugin.x86_64 = !strcmp(info->target_name, "x86_64");
	plugin.x86 = plugin.x86_64 || !strcmp(info->target_name, "i386");
	ret = options_parse(&plugin.opt, argc, argv);
	if (!ret)
		ret = record_start(plugin.opt.region, plugin.nr_vcpus,
				   plugin.opt.blocks);
	if (!ret)
		ret = count_start();
	if (!ret)
		ret = blocks_start();
	if (!ret)
		ret = symbols_start();
	if (!ret)
		ret = probe_start();
	if (!ret)
		ret = watch_start();
	return ret;
}

/* Nothing can be wrong from here on but a full catalog. */
static int plugin_begin(const struct qemu_info *info)
{
	int ret = record_begin(info->target_name);

	if (ret) {
		watch_stop();
		return ret;
	}
	ret = count_begin();
	if (!ret)
		ret = symbols_begin();
	if (!ret)
		ret = probe_begin();
	if (!ret)
		ret = watch_begin();
	if (ret) {
		watch_stop();
		record_stop();
	}
	return ret;
}

API_EXPORT int qemu_plugin_install(qemu_plugin_id_t id,
				   const struct qemu_info *info, int argc,
				   char **argv);

int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info,
			int argc, char **argv)
{
	plugin.id = id;
	if (api_init(info) || plugin_start(info, argc, argv) ||
	    plugin_begin(info))
		return -1;
	plugin_register(id);
	return 0;
}
