// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * main.c - dlog-create: format a region file.
 *
 * libdlog does it; this is the command line.  dlog-create(1) is the
 * reference.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "dlog.h"

#define PROGRAM "dlog-create"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct options {
	struct dlog_create_args args;
	const char *path;
	bool quiet, ivshmem;
};

static const char help_text[] =
	"Usage: dlog-create [OPTION]... FILE\n"
	"Format FILE as a region: the memory that a guest kernel writes its\n"
	"log into, and that stays when the guest dies.\n"
	"\n"
	"  -s, --size SIZE     of the file (default 16M); SIZE is a number "
	"and K,\n"
	"                      M, G or T\n"
	"  -r, --rings N       one for each CPU of the guest is best (default "
	"4)\n"
	"  -l, --label TEXT    name for people, up to 64 bytes\n"
	"  -u, --uuid UUID     instead of a random one\n"
	"  -f, --force         replace FILE if it exists\n"
	"      --ivshmem       the region must fit ivshmem: insist on a power "
	"of two\n"
	"  -q, --quiet         print errors only\n"
	"\n"
	"Rarely needed, chosen from the size:\n"
	"      --subbuf SIZE   unit of overwriting, 4K to 64K, a power of two\n"
	"      --cpus N        heartbeat and register slots\n"
	"      --boots N       entries of the boot table\n"
	"      --catalog SIZE  for descriptions of events\n"
	"\n"
	"  -h, --help          this\n"
	"  -V, --version\n"
	"\n"
	"Then: dlog-qemu FILE -- qemu-system-x86_64 ...\n";

enum { OPT_SUBBUF = 256, OPT_CPUS, OPT_BOOTS, OPT_CATALOG, OPT_IVSHMEM };

static const struct option long_options[] = {
	{ "size", required_argument, NULL, 's' },
	{ "rings", required_argument, NULL, 'r' },
	{ "label", required_argument, NULL, 'l' },
	{ "uuid", required_argument, NULL, 'u' },
	{ "force", no_argument, NULL, 'f' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "subbuf", required_argument, NULL, OPT_SUBBUF },
	{ "cpus", required_argument, NULL, OPT_CPUS },
	{ "boots", required_argument, NULL, OPT_BOOTS },
	{ "catalog", required_argument, NULL, OPT_CATALOG },
	{ "ivshmem", no_argument, NULL, OPT_IVSHMEM },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

/* Digits alone: strtoull would take signs and blanks. */
static int parse_number(const char *text, uint64_t *v, char **end)
{
	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	*v = strtoull(text, end, 10);
	return errno ? -EINVAL : 0;
}

static int parse_count(const char *text, uint32_t *n)
{
	uint64_t v;
	char *end;

	if (parse_number(text, &v, &end) || *end || !v || v > UINT32_MAX)
		return cli_wrong(PROGRAM, "number", text, "1 and up");
	*n = (uint32_t)v;
	return 0;
}

/* 32 hexadecimal digits, dashes where UUIDs have them or none. */
static int parse_uuid(const char *text, struct dlog_create_args *a)
{
	const char *p = text;
	bool dashes = strchr(text, '-');
	unsigned int byte;

	for (int i = 0; i < 16; i++) {
		if (dashes && (i == 4 || i == 6 || i == 8 || i == 10) &&
		    *p++ != '-')
			goto bad;
		if (!isxdigit((unsigned char)p[0]) ||
		    !isxdigit((unsigned char)p[1]) ||
		    sscanf(p, "%2x", &byte) != 1)
			goto bad;
		a->uuid[i] = (uint8_t)byte;
		p += 2;
	}
	if (*p)
		goto bad;
	a->has_uuid = true;
	return 0;
bad:
	return cli_wrong(PROGRAM, "UUID", text,
			 "32 hexadecimal digits, as uuidgen makes");
}

static int parse_label(const char *text, struct dlog_create_args *a)
{
	if (strlen(text) >= sizeof(a->label))
		return cli_wrong(PROGRAM, "label", text, "64 bytes at most");
	strcpy(a->label, text);
	return 0;
}

static int parse_one(struct options *o, int c)
{
	struct dlog_create_args *a = &o->args;
	uint64_t size;
	int ret;

	switch (c) {
	case 's':
		return cli_parse_size(PROGRAM, optarg, &a->size);
	case 'r':
		return parse_count(optarg, &a->rings);
	case 'l':
		return parse_label(optarg, a);
	case 'u':
		return parse_uuid(optarg, a);
	case 'f':
		a->force = true;
		return 0;
	case 'q':
		o->quiet = true;
		return 0;
	case OPT_SUBBUF:
		ret = cli_parse_size(PROGRAM, optarg, &size);
		if (!ret && size > UINT32_MAX)
			return cli_wrong(PROGRAM, "sub-buffer size", optarg,
					 "4K to 64K");
		a->subbuf_size = (uint32_t)size;
		return ret;
	case OPT_CPUS:
		return parse_count(optarg, &a->cpus);
	case OPT_BOOTS:
		return parse_count(optarg, &a->boots);
	case OPT_CATALOG:
		return cli_parse_size(PROGRAM, optarg, &a->catalog);
	case OPT_IVSHMEM:
		o->ivshmem = true;
		return 0;
	default:
		return -EINVAL; /* getopt has said what */
	}
}

/* 0: go on, 1: done, or negative after a message. */
static int parse_options(struct options *o, int argc, char **argv)
{
	int c;

	while ((c = getopt_long(argc, argv, "s:r:l:u:fqhV", long_options,
				NULL)) != -1) {
		if (c == 'h') {
			fputs(help_text, stdout);
			return 1;
		}
		if (c == 'V') {
			puts(PROGRAM " " DLOG_VERSION);
			return 1;
		}
		if (parse_one(o, c))
			return -EINVAL;
	}
	if (argc - optind != 1) {
		fprintf(stderr, PROGRAM ": %s\n",
			argc == optind ? "which file? Name the one to create"
				       : "one file at a time");
		return -EINVAL;
	}
	o->path = argv[optind];
	return 0;
}

/* QEMU takes only powers of two for a PCI BAR. */
static int check_power(const struct options *o)
{
	uint64_t size = o->args.size;

	if (!(size & (size - 1)))
		return 0;
	if (o->ivshmem) {
		fprintf(stderr,
			PROGRAM ": ivshmem takes only powers of two; %" PRIu64
				" bytes is none: use %" PRIu64 "K\n",
			size,
			(UINT64_C(1) << (63 - __builtin_clzll(size))) >> 9);
		return -EINVAL;
	}
	if (!o->quiet)
		fprintf(stderr, PROGRAM ": note: the size is no power of two: "
					"good for nvdimm and RAM, not for "
					"ivshmem\n");
	return 0;
}

/* What was made, as its superblock says. */
static int report(const char *path)
{
	struct dlog_error err;
	struct dlog_info i;
	struct dlog *d;
	int ret = dlog_open(&d, path, 0, &err);

	if (ret) {
		fprintf(stderr, PROGRAM ": %s\n", err.text);
		return ret;
	}
	dlog_get_info(d, &i);
	printf("%s: region of %s, %u ring%s of %s in sub-buffers of %s, "
	       "%u CPUs, %u boots\n",
	       path, cli_size(i.region_size).s, i.nr_rings,
	       i.nr_rings == 1 ? "" : "s", cli_size(i.ring_size).s,
	       cli_size(i.subbuf_size).s, i.nr_cpus, i.boot_slots);
	printf("Start a guest with it: dlog-qemu %s -- qemu-system-x86_64 "
	       "...\n",
	       path);
	dlog_close(d);
	return 0;
}

int main(int argc, char **argv)
{
	struct options o = { .path = NULL };
	struct dlog_error err = { "" };
	int ret = parse_options(&o, argc, argv);

	if (ret > 0)
		return EXIT_OK;
	if (ret) {
		fprintf(stderr, "Try '" PROGRAM " --help'.\n");
		return EXIT_USAGE;
	}
	if (check_power(&o))
		return EXIT_USAGE;
	if (dlog_create(o.path, &o.args, &err)) {
		fprintf(stderr, PROGRAM ": %s\n", err.text);
		return EXIT_FAILED;
	}
	if (!o.quiet && report(o.path))
		return EXIT_FAILED;
	if (fflush(stdout)) {
		fprintf(stderr, PROGRAM ": cannot write the output: %s\n",
			strerror(errno));
		return EXIT_FAILED;
	}
	return EXIT_OK;
}
