// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * options.c - the command line: its help, and what may go together.
 *
 * Options feel like those of journalctl and dmesg; dlog-read(1) is the
 * reference.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "options.h"

#define BLOCKS_SHOWN 100u
#define BLOCKS_MAX 1000000000u

/* Here --help lists the formats. */
#define HELP_OUTPUTS "<outputs>"

static const char help_text[] =
	"Usage: dlog-read [OPTION]... FILE...\n"
	"Print what a guest kernel wrote into its region file, all boots,\n"
	"oldest first.  Several files are merged by time.\n"
	"\n"
	"Which records:\n"
	"  -b, --boot [N]          one boot: N > 0 as --list-boots numbers "
	"them,\n"
	"                          0 or nothing: the latest, -1: the one "
	"before\n"
	"  -n, --lines N           only the last N (with -f: 10; all)\n"
	"  -f, --follow            go on with what the guest writes now\n"
	"  -k, --kernel            only lines of printk, as dmesg has them\n"
	"  -l, --level LIST        only these levels: err,warn; err+ is err "
	"and\n"
	"                          more severe; err..info\n"
	"      --facility LIST     only these facilities: kern,daemon\n"
	"  -t, --types LIST        only printk, text, event, boot, state, "
	"regs,\n"
	"                          stack, call, blocks\n"
	"  -e, --event EVENT       only these events: sched:*, or with a "
	"condition\n"
	"                          sched_switch:prev_pid==0; && and || join\n"
	"      --function GLOB     calls of these functions\n"
	"      --pid LIST          what these threads did and said\n"
	"  -c, --cpu LIST          only the rings of these CPUs: 0,2-3\n"
	"  -S, --since TIME        not before; TIME is seconds of the guest's\n"
	"  -U, --until TIME        clock (12.5), a date (2026-11-21 11:00), or\n"
	"                          -10s: before the last record\n"
	"  -g, --grep PATTERN      only what matches the extended regular\n"
	"                          expression\n"
	"  -i, --ignore-case       with -g\n"
	"\n"
	"How they look:\n" HELP_OUTPUTS
	"  -w, --write PATH        into a new file, or directory for those "
	"that\n"
	"                          make one\n"
	"      --force             replace PATH\n"
	"  -x, --decode            facility and level, as dmesg -x\n"
	"  -T, --ctime             wall clock, as dmesg -T\n"
	"      --utc               dates in UTC\n"
	"  -q, --quiet             no lines between boots, no hints\n"
	"      --color[=WHEN]      auto, always, never\n"
	"      --symbols FILE      names of code: System.map, a copy of\n"
	"                          /proc/kallsyms, or vmlinux\n"
	"      --no-pager\n"
	"\n"
	"Other files than regions (dlog-read tells them by their content):\n"
	"      --source NAME[,KEY=VALUE...]\n"
	"                          what it is, and what it does not tell;\n"
	"                          --source help lists all\n"
	"      --at OFFSET[:SIZE]  only this part of the file\n"
	"      --formats PATH      of the events in ftrace's buffer: a copy of "
	"the\n"
	"                          guest's /sys/kernel/tracing/events\n"
	"      --vmlinux FILE      of the guest's kernel, for its RAM\n"
	"\n"
	"About the file:\n"
	"      --list-boots        the boots, and how each ended\n"
	"      --stats             geometry, status, heartbeats, loss\n"
	"      --check             verify everything; 0 clean, 1 damage or "
	"loss,\n"
	"                          2 not readable\n"
	"      --regs              each CPU's last registers\n"
	"      --events            the events it knows, and their fields\n"
	"      --blocks[=N]        the last N (100) blocks that each CPU "
	"executed,\n"
	"                          recorded by QEMU's plugin; loops folded\n"
	"                          (all six also with -o json)\n"
	"\n"
	"The guest:\n"
	"      --stop, --start     ask it to stop recording, to go on\n"
	"\n"
	"  -h, --help              this\n"
	"  -V, --version\n"
	"\n"
	"A guest that crashed and restarted: dlog-read -b -1 -n 50 FILE\n"
	"A guest that crashed and is down:   dlog-read -b -n 50 FILE\n";

enum {
	OPT_FACILITY = 256,
	OPT_UTC,
	OPT_COLOUR,
	OPT_NO_PAGER,
	OPT_BOOTS,
	OPT_STATS,
	OPT_CHECK,
	OPT_REGS,
	OPT_EVENTS,
	OPT_BLOCKS,
	OPT_FUNCTION,
	OPT_PID,
	OPT_SYMBOLS,
	OPT_START,
	OPT_STOP,
	OPT_FORCE,
	OPT_SOURCE,
	OPT_AT,
	OPT_FORMATS,
	OPT_VMLINUX,
};

static const char short_options[] = "b::n:fkl:t:c:e:S:U:g:io:w:xTqhV";

static const struct option long_options[] = {
	{ "boot", optional_argument, NULL, 'b' },
	{ "lines", required_argument, NULL, 'n' },
	{ "follow", no_argument, NULL, 'f' },
	{ "kernel", no_argument, NULL, 'k' },
	{ "level", required_argument, NULL, 'l' },
	{ "facility", required_argument, NULL, OPT_FACILITY },
	{ "types", required_argument, NULL, 't' },
	{ "cpu", required_argument, NULL, 'c' },
	{ "event", required_argument, NULL, 'e' },
	{ "function", required_argument, NULL, OPT_FUNCTION },
	{ "pid", required_argument, NULL, OPT_PID },
	{ "symbols", required_argument, NULL, OPT_SYMBOLS },
	{ "source", required_argument, NULL, OPT_SOURCE },
	{ "at", required_argument, NULL, OPT_AT },
	{ "formats", required_argument, NULL, OPT_FORMATS },
	{ "vmlinux", required_argument, NULL, OPT_VMLINUX },
	{ "since", required_argument, NULL, 'S' },
	{ "until", required_argument, NULL, 'U' },
	{ "grep", required_argument, NULL, 'g' },
	{ "ignore-case", no_argument, NULL, 'i' },
	{ "output", required_argument, NULL, 'o' },
	{ "write", required_argument, NULL, 'w' },
	{ "force", no_argument, NULL, OPT_FORCE },
	{ "decode", no_argument, NULL, 'x' },
	{ "ctime", no_argument, NULL, 'T' },
	{ "utc", no_argument, NULL, OPT_UTC },
	{ "quiet", no_argument, NULL, 'q' },
	{ "color", optional_argument, NULL, OPT_COLOUR },
	{ "no-pager", no_argument, NULL, OPT_NO_PAGER },
	{ "list-boots", no_argument, NULL, OPT_BOOTS },
	{ "stats", no_argument, NULL, OPT_STATS },
	{ "check", no_argument, NULL, OPT_CHECK },
	{ "regs", no_argument, NULL, OPT_REGS },
	{ "events", no_argument, NULL, OPT_EVENTS },
	{ "blocks", optional_argument, NULL, OPT_BLOCKS },
	{ "start", no_argument, NULL, OPT_START },
	{ "stop", no_argument, NULL, OPT_STOP },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

/* "-b" takes the next argument if that can only be a boot. */
static const char *boot_argument(int argc, char **argv)
{
	const char *next = optind < argc ? argv[optind] : NULL;
	char *end;

	if (optarg)
		return optarg;
	if (!next)
		return "0";
	strtol(next, &end, 10);
	if ((end == next || *end) && strcmp(next, "all"))
		return "0";
	optind++;
	return next;
}

static int parse_lines(struct options *o, const char *text)
{
	char *end;

	o->lines_given = true;
	o->lines = LINES_ALL;
	if (!strcmp(text, "all"))
		return 0;
	errno = 0;
	o->lines = strtol(text, &end, 10);
	if (!isdigit((unsigned char)*text) || *end || errno)
		return cli_wrong(PROGRAM, "number of lines", text,
				 "0 and up, or all");
	return 0;
}

static int parse_output(struct options *o, const char *name)
{
	char names[256] = "";
	size_t len = 0;

	o->out = output_find(name);
	if (o->out) {
		if (o->out->headers || o->out->stamp)
			o->fmt.stamp = o->out->stamp;
		o->fmt.json = o->out->json;
		return 0;
	}
	for (size_t i = 0; outputs[i] && len < sizeof(names); i++)
		len += (size_t)snprintf(names + len, sizeof(names) - len,
					"%s%s",
					!i		 ? ""
					: outputs[i + 1] ? ", "
							 : " or ",
					outputs[i]->name);
	return cli_wrong(PROGRAM, "format", name, names);
}

static int set_mode(struct options *o, enum mode mode)
{
	if (o->mode != MODE_RECORDS && o->mode != mode) {
		fprintf(stderr, PROGRAM ": only one of --list-boots, --stats, "
					"--check, --regs, --events, --blocks, "
					"--start, --stop\n");
		return -EINVAL;
	}
	o->mode = mode;
	return 0;
}

static int parse_blocks(struct options *o, const char *text)
{
	char *end;
	unsigned long n;

	o->blocks = BLOCKS_SHOWN;
	if (text) {
		errno = 0;
		n = strtoul(text, &end, 10);
		if (!isdigit((unsigned char)*text) || *end || errno || !n ||
		    n > BLOCKS_MAX)
			return cli_wrong(PROGRAM, "number of blocks", text,
					 "1 to 1000000000");
		o->blocks = n;
	}
	return set_mode(o, MODE_BLOCKS);
}

/* ---- which file ---- */

static void list_sources(void)
{
	const char *p;

	for (uint32_t i = 0; dlog_format_name(i); i++) {
		printf("%-10s %s\n", dlog_format_name(i), dlog_format_help(i));
		for (p = dlog_format_options(i); *p; p += *p == '\n') {
			size_t key = strcspn(p, "\t\n"), n = strcspn(p, "\n");

			printf("  %-22.*s %.*s\n", (int)key, p,
			       (int)(n > key ? n - key - 1 : 0), p + key + 1);
			p += n;
		}
	}
}

static bool source_known(const char *name)
{
	for (uint32_t i = 0; dlog_format_name(i); i++)
		if (!strcmp(dlog_format_name(i), name))
			return true;
	return false;
}

/* One more "KEY=VALUE" of the source. */
static int add_source_option(struct options *o, const char *key,
			     const char *value)
{
	char *old = o->source, *all;

	if (strchr(value, ',')) {
		fprintf(stderr,
			PROGRAM ": %s: a path with a comma cannot be "
				"named here\n",
			value);
		return -EINVAL;
	}
	if (asprintf(&all, "%s%s%s=%s", old ? old : "", old && *old ? "," : "",
		     key, value) < 0)
		return -ENOMEM;
	free(old);
	o->source = all;
	o->open.options = all;
	return 0;
}

/* NAME[,KEY=VALUE...], or KEY=VALUE,... of what the content tells. */
static int parse_source(struct options *o, char *text)
{
	char *comma = strchr(text, ','), *equals = strchr(text, '=');

	if (!equals || (comma && comma < equals)) {
		o->open.format = text;
		if (comma)
			*comma++ = '\0';
		text = comma;
		if (!source_known(o->open.format))
			return cli_wrong(PROGRAM, "source", o->open.format,
					 "--source help lists them");
	}
	while (text && *text) {
		char *next = strchr(text, ',');
		int ret;

		if (next)
			*next++ = '\0';
		equals = strchr(text, '=');
		if (!equals)
			return cli_wrong(PROGRAM, "option of a source", text,
					 "KEY=VALUE");
		*equals = '\0';
		ret = add_source_option(o, text, equals + 1);
		if (ret)
			return ret;
		text = next;
	}
	return 0;
}

static int parse_at(struct options *o, char *text)
{
	char *colon = strchr(text, ':');

	if (colon)
		*colon++ = '\0';
	if (colon && cli_parse_size(PROGRAM, colon, &o->open.size))
		return -EINVAL;
	/* "0" is no size, but a place. */
	if (!text[strspn(text, "0")])
		return 0;
	return cli_parse_size(PROGRAM, text, &o->open.offset);
}

static int parse_file(struct options *o, int c)
{
	switch (c) {
	case OPT_SOURCE:
		return parse_source(o, optarg);
	case OPT_AT:
		return parse_at(o, optarg);
	case OPT_FORMATS:
		return add_source_option(o, "formats", optarg);
	case OPT_VMLINUX:
		return add_source_option(o, "vmlinux", optarg);
	default:
		return -ENOENT;
	}
}

static int parse_filter(struct options *o, int c, int argc, char **argv)
{
	switch (c) {
	case 'b':
		o->boot_given = true;
		return filter_boot(&o->filter, boot_argument(argc, argv));
	case 'n':
		return parse_lines(o, optarg);
	case 'k':
		o->filter.kinds = 1u << DLOG_KIND_PRINTK;
		return 0;
	case 'l':
		return filter_levels(&o->filter, optarg);
	case OPT_FACILITY:
		return filter_facilities(&o->filter, optarg);
	case 't':
		return filter_kinds(&o->filter, optarg);
	case 'c':
		return filter_cpus(&o->filter, optarg);
	case 'e':
		return filter_event(&o->filter, optarg);
	case OPT_FUNCTION:
		return filter_function(&o->filter, optarg);
	case OPT_PID:
		return filter_pid(&o->filter, optarg);
	case 'S':
		o->since = optarg;
		return 0;
	case 'U':
		o->until = optarg;
		return 0;
	case 'g':
		o->pattern = optarg;
		return 0;
	case 'i':
		o->fold_case = true;
		return 0;
	default:
		return -ENOENT;
	}
}

static int parse_look(struct options *o, int c)
{
	switch (c) {
	case 'f':
		o->follow = true;
		return 0;
	case 'o':
		return parse_output(o, optarg);
	case 'w':
		o->write = optarg;
		return 0;
	case OPT_FORCE:
		o->force = true;
		return 0;
	case 'x':
		o->fmt.decode = true;
		return 0;
	case 'T':
		o->fmt.stamp = STAMP_CTIME;
		return 0;
	case OPT_UTC:
		o->fmt.utc = true;
		return 0;
	case 'q':
		o->quiet = true;
		return 0;
	case OPT_COLOUR:
		o->colour = optarg ? optarg : "always";
		if (strcmp(o->colour, "auto") && strcmp(o->colour, "always") &&
		    strcmp(o->colour, "never"))
			return cli_wrong(PROGRAM, "--color", o->colour,
					 "auto, always or never");
		return 0;
	case OPT_NO_PAGER:
		o->no_pager = true;
		return 0;
	case OPT_BOOTS:
		return set_mode(o, MODE_BOOTS);
	case OPT_STATS:
		return set_mode(o, MODE_STATS);
	case OPT_CHECK:
		return set_mode(o, MODE_CHECK);
	case OPT_REGS:
		return set_mode(o, MODE_REGS);
	case OPT_EVENTS:
		return set_mode(o, MODE_EVENTS);
	case OPT_BLOCKS:
		return parse_blocks(o, optarg);
	case OPT_SYMBOLS:
		o->symbols = optarg;
		return 0;
	case OPT_START:
		return set_mode(o, MODE_START);
	case OPT_STOP:
		return set_mode(o, MODE_STOP);
	default:
		return -EINVAL; /* getopt has said what */
	}
}

/* Do -o, -w and what is asked for fit? */
static int check_output(const struct options *o)
{
	const struct output *out = o->out;
	const char *why = NULL;

	if (o->mode != MODE_RECORDS && !out->tables)
		why = "is for records: use text or json";
	else if (o->follow && !out->follow)
		why = "cannot follow: it is complete only when the last "
		      "record is in";
	else if (out->target == OUTPUT_DIR && !o->write)
		why = "makes a directory: name it with -w DIR";
	else if (out->target == OUTPUT_BYTES && !o->write &&
		 isatty(STDOUT_FILENO))
		why = "is not for a terminal: name a file with -w FILE";
	if (why) {
		fprintf(stderr, PROGRAM ": -o %s %s\n", out->name, why);
		return -EINVAL;
	}
	if (o->write && (o->mode != MODE_RECORDS || o->follow)) {
		fprintf(stderr, PROGRAM ": -w goes with records, not with -f "
					"nor with what is about the file\n");
		return -EINVAL;
	}
	if (o->force && !o->write) {
		fprintf(stderr, PROGRAM ": --force goes with -w PATH\n");
		return -EINVAL;
	}
	return 0;
}

/* What the format shows of a boot when nothing says how much. */
static void set_last(struct options *o)
{
	if (o->out->last_ns)
		o->filter.since = (struct when){ WHEN_END, o->out->last_ns };
	if (o->out->last_lines)
		o->lines = o->out->last_lines;
}

/* What can be settled only when all options are known. */
static int finish_options(struct options *o)
{
	static const char times[] =
		"seconds of the guest (12.5), a date (2026-11-21 11:00:00), "
		"or time before the last record (-10s)";

	if (o->since && when_parse(&o->filter.since, o->since, o->fmt.utc))
		return cli_wrong(PROGRAM, "time", o->since, times);
	if (o->until && when_parse(&o->filter.until, o->until, o->fmt.utc))
		return cli_wrong(PROGRAM, "time", o->until, times);
	if (o->pattern && filter_pattern(&o->filter, o->pattern, o->fold_case))
		return -EINVAL;
	if (o->fold_case && !o->pattern) {
		fprintf(stderr, PROGRAM ": -i goes with -g PATTERN\n");
		return -EINVAL;
	}
	if (o->follow && o->mode != MODE_RECORDS) {
		fprintf(stderr, PROGRAM ": -f goes with records only\n");
		return -EINVAL;
	}
	o->filter.follow = o->follow;
	if (check_output(o))
		return -EINVAL;
	if (!o->lines_given)
		o->lines = o->follow ? 10 : LINES_ALL;
	if (!o->lines_given && !o->since && !o->until)
		set_last(o);
	o->fmt.headers = !o->quiet && o->out->headers;
	return 0;
}

/* Without -b, the latest boot; "-b all" asks for what cannot be. */
static int want_one_boot(struct options *o)
{
	if (o->boot_given && !o->filter.one_boot) {
		fprintf(stderr,
			PROGRAM ": -o %s shows one boot: -b N chooses it\n",
			o->out->name);
		return -EINVAL;
	}
	o->filter.one_boot = true;
	return 0;
}

static void print_help(void)
{
	const char *at = strstr(help_text, HELP_OUTPUTS);

	fwrite(help_text, 1, (size_t)(at - help_text), stdout);
	for (size_t i = 0; outputs[i]; i++)
		printf("%-26s%-9s %s\n", i ? "" : "  -o, --output FORMAT",
		       outputs[i]->name, outputs[i]->help);
	fputs(at + strlen(HELP_OUTPUTS), stdout);
}

static void set_colour(struct options *o)
{
	const char *term = getenv("TERM"), *no = getenv("NO_COLOR");

	if (o->colour && strcmp(o->colour, "auto"))
		o->fmt.colour = !strcmp(o->colour, "always");
	else
		o->fmt.colour = !o->write && isatty(STDOUT_FILENO) &&
				!(no && *no) && term && strcmp(term, "dumb");
}

int options_parse(struct options *o, int argc, char **argv)
{
	int c, ret;

	while ((c = getopt_long(argc, argv, short_options, long_options,
				NULL)) != -1) {
		if (c == 'h') {
			print_help();
			return 1;
		}
		if (c == 'V') {
			puts(PROGRAM " " DLOG_VERSION);
			return 1;
		}
		if (c == OPT_SOURCE && !strcmp(optarg, "help")) {
			list_sources();
			return 1;
		}
		ret = parse_filter(o, c, argc, argv);
		if (ret == -ENOENT)
			ret = parse_file(o, c);
		if (ret == -ENOENT)
			ret = parse_look(o, c);
		if (ret)
			return ret;
	}
	ret = finish_options(o);
	if (!ret && optind == argc) {
		fprintf(stderr, PROGRAM ": which file? Name the region file "
					"of a guest\n");
		ret = -EINVAL;
	}
	if (!ret && o->out->one_boot && argc - optind > 1) {
		fprintf(stderr, PROGRAM ": -o %s takes one file\n",
			o->out->name);
		ret = -EINVAL;
	}
	if (!ret && o->out->one_boot && o->mode == MODE_RECORDS)
		ret = want_one_boot(o);
	if (!ret)
		set_colour(o);
	return ret;
}
