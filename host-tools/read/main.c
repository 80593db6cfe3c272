// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * main.c - dlog-read: opens the files and does what the options say.  Relies
 * on libdlog.
 */
#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "options.h"

#define CLOCKS_TOLD 8u /* boots of a file */

/* ---- files ---- */

static int open_source(struct source *src, const char *path,
		       const struct options *o)
{
	enum mode mode = o->mode;
	struct dlog_open_args args = o->open;
	struct dlog_error err = { "" };
	int ret;

	src->path = src->name = path;
	/* The word that is written lies in regions only. */
	args.flags = mode == MODE_START || mode == MODE_STOP ? DLOG_OPEN_WRITE
							     : DLOG_OPEN_ANY;
	ret = dlog_open_as(&src->d, path, &args, &err);
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
			const struct options *o)
{
	struct source *src = calloc(n, sizeof(*src));
	int ret = src ? 0 : -ENOMEM;

	*out = src;
	for (size_t i = 0; src && i < n; i++) {
		int one = open_source(&src[i], paths[i], o);

		ret = ret ? ret : one;
	}
	if (!ret)
		name_sources(src, n);
	return ret;
}

static int load_symbols(struct source *src, size_t n, const char *path)
{
	struct dlog_error err;
	int ret = 0;

	for (size_t i = 0; path && i < n && !ret; i++) {
		ret = event_load_symbols(src[i].d, path, &err);
		if (ret)
			fprintf(stderr, PROGRAM ": %s\n", err.text);
	}
	return ret;
}

/*
 * Of files that are shown together, one may have watched another: then that
 * one's clock goes by it.
 */
static int learn_clocks(struct source *src, size_t n, enum mode mode)
{
	if (mode != MODE_RECORDS && mode != MODE_STATS)
		return 0;
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < n; k++) {
			int ret = dlog_learn_clock(src[i].d, src[k].d);

			if (ret >= 0)
				continue;
			fprintf(stderr,
				PROGRAM ": %s: cannot be read for clocks: %s\n",
				src[k].path, strerror(-ret));
			return ret;
		}
	return 0;
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
	case MODE_EVENTS:
		if (o->fmt.names && !o->fmt.json)
			sink_printf(v->out, "%s:\n", src->path);
		return show_events(v, src);
	case MODE_BLOCKS:
		if (o->fmt.names && !o->fmt.json)
			sink_printf(v->out, "%s:\n", src->path);
		return show_blocks(v, src, &o->filter, o->filter.limits[i].boot,
				   o->blocks);
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

/* Of several boots one is shown, and nobody chose it. */
static void tell_boot(const struct options *o, const struct source *src,
		      uint32_t boot)
{
	int n = 0;

	for (int i = 0; i < src->nr_boots; i++)
		n += src->boots[i].has_records;
	if (o->out->one_boot && !o->boot_given && n > 1)
		fprintf(stderr,
			PROGRAM ": %s: boot %u, the latest of %d with records; "
				"-b chooses another\n",
			src->path, boot, n);
}

/* How well times of @src and of what watched it can be compared. */
static void tell_clock(struct source *src)
{
	struct dlog_clock_relation rel;
	uint32_t more = 0;

	for (uint32_t i = 0; dlog_get_clock(src->d, i, &rel); i++) {
		struct dlog_info info;

		if (i >= CLOCKS_TOLD) {
			more++;
			continue;
		}
		dlog_get_info(rel.witness, &info);
		fprintf(stderr,
			PROGRAM ": %s: boot %u on the clock of %s by %u "
				"pairs: from %.3f to %.3f s within %.3f ms",
			src->path, rel.boot, info.path, rel.pairs,
			(double)rel.from / 1e9, (double)rel.to / 1e9,
			(double)rel.bound / 1e6);
		if (rel.jumps)
			fprintf(stderr,
				", but for %u jumps of its clock, %.3f s in all",
				rel.jumps, (double)rel.jumped / 1e9);
		if (rel.cpus)
			fputs(", as far as its CPUs' clocks agree", stderr);
		fputc('\n', stderr);
	}
	if (more)
		fprintf(stderr, PROGRAM ": %s: and %u more boots\n", src->path,
			more);
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
	if (o->mode == MODE_RECORDS)
		tell_boot(o, src, o->filter.limits[0].boot);
	if (o->hidden && o->out->headers)
		fprintf(stderr,
			PROGRAM ": blocks that CPUs executed are there too: "
				"--blocks shows the last ones\n");
	for (size_t i = 0; i < n; i++) {
		tell_clock(&src[i]);
		if (!src[i].nr_boots && o->mode != MODE_CHECK)
			fprintf(stderr,
				PROGRAM ": %s: no guest has written here "
					"yet\n",
				src[i].path);
		else if (o->mode == MODE_STATS || isatty(STDERR_FILENO))
			tell_stale(&src[i]);
	}
}

/* Run through the records, into standard output or what -w names. */
static int run_records(struct options *o, struct view *v)
{
	struct show sh = {
		.src = v->src,
		.n = v->nr_src,
		.filter = &o->filter,
		.view = v,
		.out = o->out,
		.lines = o->lines,
		.follow = o->follow,
		.quiet = o->quiet,
	};
	int ret = 0;

	if (o->out->begin)
		ret = o->out->begin(v);
	if (!ret)
		ret = show_records(&sh);
	o->hidden = sh.hidden;
	if (o->out->end) {
		int end = o->out->end(v, !ret);

		ret = ret ? ret : end;
	}
	if (sink_flush(v->out) && !ret)
		ret = v->out->error;
	if (ret && v->err.text[0])
		fprintf(stderr, PROGRAM ": %s\n", v->err.text);
	return ret ? EXIT_ERROR : EXIT_OK;
}

static int run_into(struct options *o, struct view *v)
{
	struct target t;
	int ret = EXIT_ERROR;

	if (target_open(&t, o->write, o->out, o->force))
		return EXIT_ERROR;
	if (o->out->target == OUTPUT_DIR)
		v->dir = t.fd;
	else
		v->out->fd = t.fd;
	ret = run_records(o, v);
	if (target_close(&t, ret == EXIT_OK))
		ret = EXIT_ERROR;
	return ret;
}

static int run_to_stdout(struct options *o, struct view *v)
{
	int ret, pager = 0;

	if (!o->no_pager && !o->follow && isatty(STDOUT_FILENO) &&
	    o->mode != MODE_START && o->mode != MODE_STOP)
		pager = pager_start(v->out);
	if (o->mode == MODE_RECORDS)
		ret = run_records(o, v);
	else
		ret = run_tables(o, v->src, v->nr_src, v);
	sink_flush(v->out);
	if (pager)
		pager_wait(v->out, pager);
	return ret;
}

static int run(struct options *o, struct source *src, size_t n)
{
	struct sink out;
	struct view v = {
		.out = &out,
		.dir = -1,
		.text = { .fd = -1 },
		.fmt = &o->fmt,
		.src = src,
		.nr_src = n,
		.boot = o->filter.limits[0].boot,
		.lines = o->lines,
		.quiet = o->quiet,
	};
	int ret;

	if (sink_init(&out, STDOUT_FILENO))
		return EXIT_ERROR;
	ret = o->write ? run_into(o, &v) : run_to_stdout(o, &v);
	if (out.error && (out.error != -EPIPE || o->write)) {
		fprintf(stderr, PROGRAM ": cannot write %s: %s\n",
			o->write ? o->write : "the output",
			strerror(-out.error));
		ret = EXIT_ERROR;
	} else if (out.error) {
		ret = EXIT_OK; /* whoever read it has seen enough */
	} else if (ret != EXIT_ERROR && o->mode != MODE_START &&
		   o->mode != MODE_STOP) {
		tell_after(o, src, n);
	}
	sink_free(&v.text);
	sink_free(&out);
	return ret;
}

int main(int argc, char **argv)
{
	struct options o = { .lines = LINES_ALL, .out = &output_text };
	struct source *src = NULL;
	int ret = EXIT_ERROR, done;
	size_t n = 0;

	setlocale(LC_CTYPE, "");
	filter_init(&o.filter);
	done = options_parse(&o, argc, argv);
	if (done) {
		if (done < 0)
			fprintf(stderr, "Try '" PROGRAM " --help'.\n");
		else
			ret = EXIT_OK;
		goto out;
	}
	n = (size_t)(argc - optind);
	o.fmt.names = n > 1;
	if (!open_sources(&src, argv + optind, n, &o) &&
	    !load_symbols(src, n, o.symbols) && !learn_clocks(src, n, o.mode) &&
	    !filter_bind(&o.filter, src, n))
		ret = run(&o, src, n);
out:
	close_sources(src, n);
	filter_free(&o.filter);
	free(o.source);
	return ret;
}
