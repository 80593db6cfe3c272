// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * command.c - what the user's QEMU command line says of machine, memory,
 * CPUs, objects and devices.
 *
 * Follows QEMU 7.2 to 10: qemu-options.def for which options take an
 * argument, system/vl.c and hw/core/machine-smp.c for what they mean.  An
 * option that is in neither table below is taken to have an argument, as
 * nearly all have.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "qemu.h"

#define DEFAULT_RAM (128 * MIB)

/* Options without an argument, of all targets. */
static const char *const no_argument_options[] = {
	"S",
	"alt-grab",
	"async-teardown",
	"audio-help",
	"ctrl-grab",
	"curses",
	"daemonize",
	"enable-fips",
	"enable-kvm",
	"enable-sync-profile",
	"full-screen",
	"h",
	"help",
	"jitdump",
	"mem-prealloc",
	"no-acpi",
	"no-fd-bootchk",
	"no-hpet",
	"no-quit",
	"no-reboot",
	"no-shutdown",
	"no-user-config",
	"nodefaults",
	"nographic",
	"old-param",
	"only-migratable",
	"perfmap",
	"portrait",
	"preconfig",
	"s",
	"sdl",
	"semihosting",
	"singlestep",
	"snapshot",
	"usb",
	"version",
	"win2k-hack",
	"xen-attach",
	"xen-domid-restrict",
};

enum meaning {
	OPT_MACHINE,
	OPT_MEMORY,
	OPT_SMP,
	OPT_ACTION,
	OPT_KERNEL,
	OPT_APPEND,
	OPT_OBJECT,
	OPT_DEVICE,
	OPT_NUMA,
	OPT_MEM_PATH,
	OPT_READCONFIG,
	OPT_ACCEL,
};

static const struct known_option {
	const char *name;
	enum meaning meaning;
} known_options[] = {
	{ "machine", OPT_MACHINE },   { "M", OPT_MACHINE },
	{ "m", OPT_MEMORY },	      { "smp", OPT_SMP },
	{ "action", OPT_ACTION },     { "kernel", OPT_KERNEL },
	{ "append", OPT_APPEND },     { "object", OPT_OBJECT },
	{ "device", OPT_DEVICE },     { "numa", OPT_NUMA },
	{ "mem-path", OPT_MEM_PATH }, { "readconfig", OPT_READCONFIG },
	{ "accel", OPT_ACCEL },
};

static bool takes_argument(const char *name)
{
	size_t n = sizeof(no_argument_options) / sizeof(*no_argument_options);

	for (size_t i = 0; i < n; i++)
		if (!strcmp(no_argument_options[i], name))
			return false;
	return true;
}

static int add_item(struct command *c, const char *option, const char *text,
		    const char *implied)
{
	struct item *v = realloc(c->items, (c->nr_items + 1) * sizeof(*v));

	if (!v)
		return -ENOMEM;
	c->items = v;
	c->items[c->nr_items] = (struct item){ .option = option, .text = text };
	return props_parse(&c->items[c->nr_items++].props, text, implied);
}

static int take(struct command *c, enum meaning meaning, const char *text)
{
	switch (meaning) {
	case OPT_MACHINE:
		return props_parse(&c->machine, text, "type");
	case OPT_MEMORY:
		return props_parse(&c->memory, text, "size");
	case OPT_SMP:
		return props_parse(&c->smp, text, "cpus");
	case OPT_ACTION:
		return props_parse(&c->action, text, NULL);
	case OPT_OBJECT:
		return add_item(c, "-object", text, "qom-type");
	case OPT_DEVICE:
		return add_item(c, "-device", text, "driver");
	case OPT_KERNEL:
		c->kernel = text;
		break;
	case OPT_APPEND:
		c->append = text;
		break;
	case OPT_NUMA:
		c->numa = text;
		break;
	case OPT_MEM_PATH:
		c->mem_path = text;
		break;
	case OPT_READCONFIG:
		c->readconfig = text;
		break;
	case OPT_ACCEL:
		if (!c->accel)
			c->accel = text;
		break;
	}
	return 0;
}

static int take_option(struct command *c, const char *name, const char *text,
		       struct dlog_error *err)
{
	size_t n = sizeof(known_options) / sizeof(*known_options);
	int ret = 0;

	for (size_t i = 0; i < n && !ret; i++)
		if (!strcmp(known_options[i].name, name))
			ret = take(c, known_options[i].meaning, text);
	if (ret == -EINVAL)
		return fail(err, ret, "-%s %s: this is not a JSON object", name,
			    text);
	return ret ? fail(err, ret, "out of memory") : 0;
}

static int walk(struct command *c, struct dlog_error *err)
{
	int ret;

	for (char **arg = c->argv + 1; *arg; arg++) {
		const char *name = *arg;

		if (*name != '-')
			continue; /* a disk image */
		name += name[1] == '-' ? 2 : 1;
		if (!takes_argument(name)) {
			c->no_acpi |= !strcmp(name, "no-acpi");
			if (!strcmp(name, "enable-kvm"))
				c->accel = "kvm";
			continue;
		}
		if (!arg[1])
			return fail(err, -EINVAL,
				    "QEMU's option %s needs an argument", *arg);
		ret = take_option(c, name, *++arg, err);
		if (ret)
			return ret;
	}
	return 0;
}

static enum board find_board(const struct command *c)
{
	const char *type = props_get(&c->machine, "type");

	if (!c->x86)
		return BOARD_OTHER;
	if (!type || !strcmp(type, "pc") || !strcmp(type, "q35") ||
	    !strncmp(type, "pc-", 3))
		return BOARD_PC;
	if (!strcmp(type, "microvm"))
		return BOARD_MICROVM;
	return strcmp(type, "isapc") ? BOARD_OTHER : BOARD_ISAPC;
}

static bool is_q35(const struct command *c)
{
	const char *type = props_get(&c->machine, "type");

	return type && (!strcmp(type, "q35") || !strncmp(type, "pc-q35", 6));
}

/* Other programs than qemu-system-ARCH (kvm, qemu-kvm) run this machine's. */
static bool is_x86(const char *program)
{
	const char *base = strrchr(program, '/');
	const char *arch;

	base = base ? base + 1 : program;
	arch = strstr(base, "qemu-system-");
	if (arch) {
		arch += strlen("qemu-system-");
		return !strncmp(arch, "x86_64", 6) || !strncmp(arch, "i386", 4);
	}
#if defined(__x86_64__) || defined(__i386__)
	return true;
#else
	return false;
#endif
}

static int read_memory(struct command *c, struct dlog_error *err)
{
	const char *size = props_get(&c->memory, "size");
	const char *maxmem = props_get(&c->memory, "maxmem");
	const char *slots = props_get(&c->memory, "slots");

	c->ram = DEFAULT_RAM;
	if (size && size_parse(size, MIB, &c->ram))
		return fail(err, -EINVAL,
			    "-m: '%s' is not a size of memory; write -m 512M",
			    size);
	if (!c->ram)
		c->ram = DEFAULT_RAM; /* as QEMU does */
	c->ram = (c->ram + 8191) & ~UINT64_C(8191);
	if (maxmem && size_parse(maxmem, 1, &c->maxmem))
		return fail(err, -EINVAL,
			    "-m: '%s' is not a size; write maxmem=4G", maxmem);
	if (slots && size_parse(slots, 1, &c->slots))
		return fail(err, -EINVAL,
			    "-m: '%s' is not a number of slots; write slots=2",
			    slots);
	for (size_t i = 0; i < c->machine.n; i++)
		if (!strncmp(c->machine.v[i].key, "memory.", 7))
			return fail(
				err, -EINVAL,
				"-machine %s=%s: dlog-qemu reads memory sizes only from -m; write them there",
				c->machine.v[i].key, c->machine.v[i].value);
	return 0;
}

/* One of -smp's numbers, also from -machine smp.NAME=; 0 when not given. */
static int smp_number(const struct command *c, const char *name, uint64_t *out,
		      struct dlog_error *err)
{
	const char *text = props_get(&c->smp, name);
	char key[32];

	snprintf(key, sizeof(key), "smp.%s", name);
	if (!text)
		text = props_get(&c->machine, key);
	*out = 0;
	if (!text)
		return 0;
	if (size_parse(text, 1, out) || *out > 65536)
		return fail(err, -EINVAL, "-smp: %s=%s is not a number of CPUs",
			    name, text);
	return 0;
}

static int read_smp(struct command *c, struct dlog_error *err)
{
	static const char *const levels[] = {
		"drawers",  "books",   "sockets", "dies",
		"clusters", "modules", "cores",	  "threads",
	};
	uint64_t cpus, maxcpus, n, product = 1;
	int ret;

	ret = smp_number(c, "cpus", &cpus, err);
	if (!ret)
		ret = smp_number(c, "maxcpus", &maxcpus, err);
	for (size_t i = 0; !ret && i < sizeof(levels) / sizeof(*levels); i++) {
		ret = smp_number(c, levels[i], &n, err);
		if (n)
			product *= n;
		if (!ret && product > 65536)
			ret = fail(err, -EINVAL, "-smp: too many CPUs");
	}
	if (ret)
		return ret;
	if (!maxcpus)
		maxcpus = cpus > product ? cpus : product;
	c->maxcpus = (uint32_t)maxcpus;
	c->cpus = (uint32_t)(cpus ? cpus : maxcpus);
	return 0;
}

int command_parse(struct command *c, char **argv, struct dlog_error *err)
{
	int ret;

	*c = (struct command){ .argv = argv };
	c->x86 = is_x86(argv[0]);
	ret = walk(c, err);
	if (!ret)
		ret = read_memory(c, err);
	if (!ret)
		ret = read_smp(c, err);
	if (!ret && !c->append)
		c->append = props_get(&c->machine, "append");
	if (!ret && !c->kernel)
		c->kernel = props_get(&c->machine, "kernel");
	if (!ret && !c->accel)
		c->accel = props_get(&c->machine, "accel");
	c->board = find_board(c);
	c->q35 = is_q35(c);
	return ret;
}

void command_free(struct command *c)
{
	for (size_t i = 0; i < c->nr_items; i++)
		props_free(&c->items[i].props);
	free(c->items);
	props_free(&c->machine);
	props_free(&c->memory);
	props_free(&c->smp);
	props_free(&c->action);
}

const struct item *command_device(const struct command *c, const char *driver)
{
	for (size_t i = 0; i < c->nr_items; i++) {
		const char *have = props_get(&c->items[i].props, "driver");

		if (have && !strcmp(have, driver))
			return &c->items[i];
	}
	return NULL;
}
