// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * main.c - dlog-read: the command line.
 *
 * Options feel like those of journalctl and dmesg; dlog-read(1) is the
 * reference.  Relies on libdlog.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "read.h"

enum mode {
	MODE_RECORDS,
	MODE_BOOTS,
	MODE_STATS,
	MODE_CHECK,
	MODE_REGS,
	MODE_START,
	MODE_STOP,
};

struct options {
	enum mode mode;
	struct filter filter;
	struct format fmt;
	const char *since, *until, *pattern, *colour;
	bool follow, quiet, no_pager, fold_case;
	bool lines_given;
	long lines;
};

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
	"                          stack, call\n"
	"  -c, --cpu LIST          only the rings of these CPUs: 0,2-3\n"
	"  -S, --since TIME        not before; TIME is seconds of the guest's\n"
	"  -U, --until TIME        clock (12.5), a date (2026-11-21 11:00), or\n"
	"                          -10s: before the last record\n"
	"  -g, --grep PATTERN      only what matches the extended regular\n"
	"                          expression\n"
	"  -i, --ignore-case       with -g\n"
	"\n"
	"How they look:\n"
	"  -o, --output FORMAT     text (as dmesg), wall (dates), cat (text\n"
	"                          alone), raw (the guest's bytes), json\n"
	"  -x, --decode            facility and level, as dmesg -x\n"
	"  -T, --ctime             wall clock, as dmesg -T\n"
	"      --utc               dates in UTC\n"
	"  -q, --quiet             no lines between boots, no hints\n"
	"      --color[=WHEN]      auto, always, never\n"
	"      --no-pager\n"
	"\n"
	"About the file:\n"
	"      --list-boots        the boots, and how each ended\n"
	"      --stats             geometry, status, heartbeats, loss\n"
	"      --check             verify everything; 0 clean, 1 damage or "
	"loss,\n"
	"                          2 not readable\n"
	"      --regs              each CPU's last registers\n"
	"                          (all four also with -o json)\n"
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
	OPT_START,
	OPT_STOP,
};

static const char short_options[] = "b::n:fkl:t:c:S:U:g:io:xTqhV";

static const struct option long_options[] = {
	{ "boot", optional_argument, NULL, 'b' },
	{ "lines", required_argument, NULL, 'n' },
	{ "follow", no_argument, NULL, 'f' },
	{ "kernel", no_argument, NULL, 'k' },
	{ "level", required_argument, NULL, 'l' },
	{ "facility", required_argument, NULL, OPT_FACILITY },
	{ "types", required_argument, NULL, 't' },
	{ "cpu", required_argument, NULL, 'c' },
	{ "since", required_argument, NULL, 'S' },
	{ "until", required_argument, NULL, 'U' },
	{ "grep", required_argument, NULL, 'g' },
	{ "ignore-case", no_argument, NULL, 'i' },
	{ "output", required_argument, NULL, 'o' },
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
	o->fmt.json = !strcmp(name, "json");
	o->fmt.raw = !strcmp(name, "raw");
	if (o->fmt.json || o->fmt.raw)
		return 0;
	if (!strcmp(name, "text"))
		o->fmt.stamp = STAMP_GUEST;
	else if (!strcmp(name, "wall"))
		o->fmt.stamp = STAMP_WALL;
	else if (!strcmp(name, "cat"))
		o->fmt.stamp = STAMP_NONE;
	else
		return cli_wrong(PROGRAM, "format", name,
				 "text, wall, cat, raw or json");
	return 0;
}

static int set_mode(struct options *o, enum mode mode)
{
	if (o->mode != MODE_RECORDS && o->mode != mode) {
		fprintf(stderr, PROGRAM ": only one of --list-boots, --stats, "
					"--check, --regs, --start, --stop\n");
		return -EINVAL;
	}
	o->mode = mode;
	return 0;
}

static int parse_filter(struct options *o, int c, int argc, char **argv)
{
	switch (c) {
	case 'b':
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
	case OPT_START:
		return set_mode(o, MODE_START);
	case OPT_STOP:
		return set_mode(o, MODE_STOP);
	default:
		return -EINVAL; /* getopt has said what */
	}
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
	if (!o->lines_given)
		o->lines = o->follow ? 10 : LINES_ALL;
	o->fmt.headers = !o->quiet && !o->fmt.raw && !o->fmt.json &&
			 o->fmt.stamp != STAMP_NONE;
	return 0;
}

/* 0: go on, 1: done, or negative after a message. */
static int parse_options(struct options *o, int argc, char **argv)
{
	int c, ret;

	while ((c = getopt_long(argc, argv, short_options, long_options,
				NULL)) != -1) {
		if (c == 'h') {
			fputs(help_text, stdout);
			return 1;
		}
		if (c == 'V') {
			puts(PROGRAM " " DLOG_VERSION);
			return 1;
		}
		ret = parse_filter(o, c, argc, argv);
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
	return ret;
}

static void set_colour(struct options *o)
{
	const char *term = getenv("TERM"), *no = getenv("NO_COLOR");

	if (o->colour && strcmp(o->colour, "auto"))
		o->fmt.colour = !strcmp(o->colour, "always");
	else
		o->fmt.colour = isatty(STDOUT_FILENO) && !(no && *no) && term &&
				strcmp(term, "dumb");
}

/* ---- files ---- */

static int open_source(struct source *src, const char *path, enum mode mode)
{
	bool write = mode == MODE_START || mode == MODE_STOP;
	struct dlog_error err = { "" };
	int ret;

	src->path = src->name = path;
	ret = dlog_open(&src->d, path, write ? DLOG_OPEN_WRITE : 0, &err);
	if (ret) {
		fprintf(stderr, PROGRAM ": %s\n", err.text);
		src->d = NULL;
		return ret;
	}
	dlog_get_info(src->d, &src->info);
	src->nr_boots = dlog_get_boots(src->d, &src->boots);
	if (src->nr_boots < 0) {
		ret = src->nr_boots;
		src->nr_boots = 0;
		fprintf(stderr, PROGRAM ": %s: cannot be scanned: %s\n", path,
			strerror(-ret));
		return ret;
	}
	if (src->info.backup && mode != MODE_STATS && mode != MODE_CHECK)
		fprintf(stderr,
			PROGRAM ": %s: the first superblock is damaged, its "
				"copy at the end is used\n",
			path);
	return 0;
}

/* Labels name files, where they are there and differ. */
static void name_sources(struct source *src, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		bool good = src[i].info.label[0];

		for (size_t k = 0; k < n; k++)
			good &= k == i ||
				strcmp(src[k].info.label, src[i].info.label);
		if (good)
			src[i].name = src[i].info.label;
	}
}

static int open_sources(struct source **out, char **paths, size_t n,
			enum mode mode)
{
	struct source *src = calloc(n, sizeof(*src));
	int ret = src ? 0 : -ENOMEM;

	*out = src;
	for (size_t i = 0; src && i < n; i++) {
		int one = open_source(&src[i], paths[i], mode);

		ret = ret ? ret : one;
	}
	if (!ret)
		name_sources(src, n);
	return ret;
}

static void close_sources(struct source *src, size_t n)
{
	for (size_t i = 0; src && i < n; i++) {
		free(src[i].boots);
		if (src[i].d)
			dlog_close(src[i].d);
	}
	free(src);
}

/* ---- doing it ---- */

static bool has_live_cpu(struct source *src)
{
	struct dlog_live live;
	struct dlog_beat b;

	dlog_get_live(src->d, &live);
	if (!dlog_status_lives(live.status))
		return false;
	for (uint32_t cpu = 0; cpu < src->info.nr_cpus; cpu++)
		if (dlog_get_beat(src->d, cpu, &b) && b.online && !b.stale)
			return true;
	return false;
}

/* Ask the guest, and wait a little for it to have seen that. */
static int set_control(struct source *src, bool stop)
{
	struct timespec pause = { .tv_nsec = 20000000 };
	struct dlog_live live;
	int ret = dlog_set_control(src->d, stop);

	if (ret) {
		fprintf(stderr, PROGRAM ": %s: cannot be written: %s\n",
			src->path, strerror(-ret));
		return EXIT_ERROR;
	}
	if (!has_live_cpu(src)) {
		printf("%s: asked to %s recording; no guest runs, the next "
		       "one will see it\n",
		       src->path, stop ? "stop" : "go on");
		return EXIT_OK;
	}
	for (int i = 0; i < 150; i++) {
		dlog_get_live(src->d, &live);
		if (live.recording != stop) {
			printf("%s: recording %s\n", src->path,
			       stop ? "stopped" : "goes on");
			return EXIT_OK;
		}
		nanosleep(&pause, NULL);
	}
	printf("%s: asked to %s recording; the guest has not answered yet\n",
	       src->path, stop ? "stop" : "go on");
	return EXIT_OK;
}

static int run_table(struct options *o, struct source *src, size_t i,
		     struct view *v)
{
	switch (o->mode) {
	case MODE_BOOTS:
		if (o->fmt.names)
			sink_printf(v->out, "%s:\n", src->path);
		return show_boots(v, src);
	case MODE_STATS:
		return show_stats(v, src);
	case MODE_CHECK:
		return show_check(v, src);
	case MODE_REGS:
		if (o->fmt.names)
			sink_printf(v->out, "%s:\n", src->path);
		return show_regs(v, src, o->filter.limits[i].boot);
	case MODE_START:
	case MODE_STOP:
		return set_control(src, o->mode == MODE_STOP);
	case MODE_RECORDS:
		break;
	}
	return EXIT_ERROR;
}

/* The worst of the files' exit codes. */
static int run_tables(struct options *o, struct source *src, size_t n,
		      struct view *v)
{
	int ret = EXIT_OK;

	for (size_t i = 0; i < n; i++) {
		int one;

		if (i && o->mode == MODE_STATS && !o->fmt.json)
			sink_putc(v->out, '\n');
		one = run_table(o, &src[i], i, v);
		ret = one > ret ? one : ret;
	}
	return ret;
}

/* Hints on stderr, when all is printed. */
static void tell_after(struct options *o, struct source *src, size_t n)
{
	if (o->quiet || o->fmt.json)
		return;
	if (o->filter.no_clock)
		fprintf(stderr,
			PROGRAM ": %llu records left out: their wall clock is "
				"not known\n",
			(unsigned long long)o->filter.no_clock);
	for (size_t i = 0; i < n; i++) {
		if (!src[i].nr_boots && o->mode != MODE_CHECK)
			fprintf(stderr,
				PROGRAM ": %s: no guest has written here "
					"yet\n",
				src[i].path);
		else if (o->mode == MODE_STATS || isatty(STDERR_FILENO))
			tell_stale(&src[i]);
	}
}

static int run(struct options *o, struct source *src, size_t n)
{
	struct sink out;
	struct view v = {
		.out = &out,
		.text = { .fd = -1 },
		.fmt = &o->fmt,
	};
	struct show sh = {
		.src = src,
		.n = n,
		.filter = &o->filter,
		.view = &v,
		.out = o->fmt.json ? &output_json : &output_text,
		.lines = o->lines,
		.follow = o->follow,
		.quiet = o->quiet,
	};
	int ret, pager = 0;

	if (sink_init(&out, STDOUT_FILENO))
		return EXIT_ERROR;
	if (!o->no_pager && !o->follow && isatty(STDOUT_FILENO) &&
	    o->mode != MODE_START && o->mode != MODE_STOP)
		pager = pager_start(&out);
	if (o->mode == MODE_RECORDS)
		ret = show_records(&sh);
	else
		ret = run_tables(o, src, n, &v);
	sink_flush(&out);
	if (pager)
		pager_wait(&out, pager);
	if (out.error && out.error != -EPIPE) {
		fprintf(stderr, PROGRAM ": cannot write the output: %s\n",
			strerror(-out.error));
		ret = EXIT_ERROR;
	} else if (out.error) {
		ret = EXIT_OK; /* whoever read it has seen enough */
	} else if (o->mode != MODE_START && o->mode != MODE_STOP) {
		tell_after(o, src, n);
	}
	sink_free(&v.text);
	sink_free(&out);
	return ret;
}

int main(int argc, char **argv)
{
	struct options o = { .lines = LINES_ALL };
	struct source *src = NULL;
	int ret = EXIT_ERROR, done;
	size_t n = 0;

	setlocale(LC_CTYPE, "");
	filter_init(&o.filter);
	done = parse_options(&o, argc, argv);
	if (done) {
		if (done < 0)
			fprintf(stderr, "Try '" PROGRAM " --help'.\n");
		else
			ret = EXIT_OK;
		goto out;
	}
	n = (size_t)(argc - optind);
	o.fmt.names = n > 1;
	set_colour(&o);
	if (!open_sources(&src, argv + optind, n, o.mode) &&
	    !filter_bind(&o.filter, src, n))
		ret = run(&o, src, n);
out:
	close_sources(src, n);
	filter_free(&o.filter);
	return ret;
}
