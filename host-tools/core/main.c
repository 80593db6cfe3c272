// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * dlog-core - a guest's RAM file, for gdb, crash and drgn.
 *
 *	dlog-core [OPTION]... RAMFILE [CORE]
 *
 * The command line, and the order of things.  dlog-core(1) is the reference.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core.h"
#include "newfile.h"
#include "tasks.h"
#include "text.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

enum format { FORMAT_ELF, FORMAT_KDUMP };

struct options {
	const char *ram, *core; /* @core NULL: only say what is there */
	const char *qmp, *regs, *vmlinux, *source;
	enum format format;
	enum kdump_compression compression;
	bool compression_given;
	bool force, quiet, freeze, kernel_only, no_mappings;
	bool tasks, stacks, json, symbols;
	uint64_t max_size;
};

static const char help_text[] =
	"Usage: dlog-core [OPTION]... RAMFILE [CORE]\n"
	"Write the memory of a guest, which QEMU keeps in RAMFILE, as a core "
	"that gdb,\n"
	"crash and drgn open.  The guest may run, hang or be dead.  Without "
	"CORE: say\n"
	"what RAMFILE holds.\n"
	"\n"
	"Registers of the CPUs:\n"
	"      --qmp SOCKET        of the QEMU that runs the guest: it stops "
	"for\n"
	"                          milliseconds\n"
	"      --freeze            with --qmp: until the core is written\n"
	"      --regs REGION       that the guest's dlog driver left in REGION\n"
	"\n"
	"The core:\n"
	"      --format=FORMAT     elf (default), or kdump: each page "
	"compressed,\n"
	"                          for crash and drgn\n"
	"      --compress=METHOD   for kdump: zstd (default), zlib, none\n"
	"      --kernel-only       no free pages, page cache, user space\n"
	"      --no-mappings       RAM alone, where the kernel maps all of it\n"
	"      --max-size SIZE     fail when more would have to be written\n"
	"  -f, --force             replace CORE if it exists\n"
	"  -q, --quiet             print errors only\n"
	"\n"
	"Without CORE:\n"
	"      --tasks             list the guest's tasks\n"
	"      --stacks            the same with their stacks\n"
	"      --json              as JSON, one object a line\n"
	"      --symbols           print the symbols of the guest's kernel, as "
	"a\n"
	"                          System.map; RAMFILE may be a vmlinuz or "
	"vmlinux\n"
	"\n"
	"The guest:\n"
	"      --vmlinux FILE      of its kernel, if symbols are missing\n"
	"      --source KEY=VALUE[,...]\n"
	"                          what RAMFILE does not tell, as for "
	"dlog-read\n"
	"\n"
	"  -h, --help              this\n"
	"  -V, --version\n";

enum {
	OPT_QMP = 256,
	OPT_FREEZE,
	OPT_REGS,
	OPT_FORMAT,
	OPT_COMPRESS,
	OPT_KERNEL_ONLY,
	OPT_NO_MAPPINGS,
	OPT_MAX_SIZE,
	OPT_TASKS,
	OPT_STACKS,
	OPT_JSON,
	OPT_SYMBOLS,
	OPT_VMLINUX,
	OPT_SOURCE,
};

static const struct option long_options[] = {
	{ "qmp", required_argument, NULL, OPT_QMP },
	{ "freeze", no_argument, NULL, OPT_FREEZE },
	{ "regs", required_argument, NULL, OPT_REGS },
	{ "format", required_argument, NULL, OPT_FORMAT },
	{ "compress", required_argument, NULL, OPT_COMPRESS },
	{ "kernel-only", no_argument, NULL, OPT_KERNEL_ONLY },
	{ "no-mappings", no_argument, NULL, OPT_NO_MAPPINGS },
	{ "max-size", required_argument, NULL, OPT_MAX_SIZE },
	{ "force", no_argument, NULL, 'f' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "tasks", no_argument, NULL, OPT_TASKS },
	{ "stacks", no_argument, NULL, OPT_STACKS },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "symbols", no_argument, NULL, OPT_SYMBOLS },
	{ "vmlinux", required_argument, NULL, OPT_VMLINUX },
	{ "source", required_argument, NULL, OPT_SOURCE },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

/* ---- options ---- */

static int parse_format(struct options *o)
{
	if (!strcmp(optarg, "elf"))
		o->format = FORMAT_ELF;
	else if (!strcmp(optarg, "kdump"))
		o->format = FORMAT_KDUMP;
	else
		return cli_wrong(PROGRAM, "format", optarg, "elf or kdump");
	return 0;
}

static int parse_compression(struct options *o)
{
	static const char *const names[] = {
		[KDUMP_ZSTD] = "zstd", [KDUMP_ZLIB] = "zlib", [KDUMP_NONE] = "none"
	};

	o->compression_given = true;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (!strcmp(optarg, names[i])) {
			o->compression = (enum kdump_compression)i;
			return 0;
		}
	}
	return cli_wrong(PROGRAM, "method", optarg, "zstd, zlib or none");
}

/* dlog-read's "ram,KEY=VALUE" is taken as well. */
static int parse_source(struct options *o)
{
	o->source = optarg;
	if (!strncmp(optarg, "ram", 3) && (!optarg[3] || optarg[3] == ','))
		o->source += optarg[3] ? 4 : 3;
	return 0;
}

static int parse_one(struct options *o, int c)
{
	switch (c) {
	case OPT_QMP:
		o->qmp = optarg;
		return 0;
	case OPT_FREEZE:
		o->freeze = true;
		return 0;
	case OPT_REGS:
		o->regs = optarg;
		return 0;
	case OPT_FORMAT:
		return parse_format(o);
	case OPT_COMPRESS:
		return parse_compression(o);
	case OPT_KERNEL_ONLY:
		o->kernel_only = true;
		return 0;
	case OPT_NO_MAPPINGS:
		o->no_mappings = true;
		return 0;
	case OPT_MAX_SIZE:
		return cli_parse_size(PROGRAM, optarg, &o->max_size);
	case 'f':
		o->force = true;
		return 0;
	case 'q':
		o->quiet = true;
		return 0;
	case OPT_STACKS:
		o->stacks = true;
		/* fall through */
	case OPT_TASKS:
		o->tasks = true;
		return 0;
	case OPT_JSON:
		o->json = true;
		return 0;
	case OPT_SYMBOLS:
		o->symbols = true;
		return 0;
	case OPT_VMLINUX:
		o->vmlinux = optarg;
		return 0;
	case OPT_SOURCE:
		return parse_source(o);
	default:
		return -EINVAL; /* getopt has said what */
	}
}

static int complain(const char *what)
{
	fprintf(stderr, PROGRAM ": %s\n", what);
	return -EINVAL;
}

/* What makes no sense together. */
static int check_options(const struct options *o)
{
	if (o->qmp && o->regs)
		return complain("registers come from --qmp or from --regs, not "
				"from both");
	if (o->freeze && !o->qmp)
		return complain("--freeze needs --qmp: who else could pause "
				"the guest?");
	if (o->tasks && o->core)
		return complain("--tasks and --stacks print, and write no "
				"core: leave one out");
	if (o->json && !o->tasks)
		return complain("--json goes with --tasks or --stacks");
	if (o->symbols && (o->core || o->tasks || o->qmp || o->regs))
		return complain("--symbols prints symbols alone: give it one "
				"file, and no registers");
	if (o->compression_given && o->format != FORMAT_KDUMP)
		return complain("--compress goes with --format=kdump: an ELF "
				"core is not compressed");
	if (o->core && !*o->core)
		return complain("'' is no name of a core");
	return 0;
}

/* 0: go on, 1: done, or negative after a message. */
static int parse_options(struct options *o, int argc, char **argv)
{
	int c;

	while ((c = getopt_long(argc, argv, "fqhV", long_options, NULL)) !=
	       -1) {
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
	if (argc == optind)
		return complain("which file? Name the one that QEMU keeps the "
				"guest's memory in");
	if (argc - optind > 2)
		return complain("one RAMFILE and one CORE at a time");
	o->ram = argv[optind];
	o->core = argv[optind + 1];
	return check_options(o);
}

/* ---- registers ---- */

struct run {
	const struct options *o;
	struct dlog *d;
	struct dlog_ram *ram;
	struct vmm *vmm;
	struct core_regs regs;
	struct sink out; /* standard output */
	struct dlog_error err;
};

/* Which thread is on which CPU; nobody knows for a kernel without types. */
static int64_t tasks_now(struct run *r, struct dlog_ram_task **tasks)
{
	int64_t n = dlog_ram_get_tasks(r->ram, tasks);

	if (n < 0)
		*tasks = NULL;
	return n < 0 ? 0 : n;
}

static int registers_by_qmp(struct run *r)
{
	struct dlog_ram_task *before, *after;
	int64_t nr_before = tasks_now(r, &before), nr_after;
	int ret = vmm_registers(r->vmm, &r->regs, &r->err);

	nr_after = tasks_now(r, &after);
	if (!ret)
		regs_name_threads(&r->regs, before, nr_before, after, nr_after);
	free(before);
	free(after);
	return ret;
}

static int registers(struct run *r)
{
	struct dlog_ram_task *tasks;
	int64_t nr;
	int ret;

	if (r->o->qmp)
		return registers_by_qmp(r);
	if (!r->o->regs)
		return 0;
	ret = regs_from_region(&r->regs, r->ram, r->o->regs, &r->err);
	if (ret)
		return ret;
	nr = tasks_now(r, &tasks);
	regs_name_threads(&r->regs, tasks, nr, tasks, nr);
	free(tasks);
	return 0;
}

/* ---- the core ---- */

static void report(const struct run *r, const struct plan *p,
		   const struct filter *f, const struct out *out,
		   struct sink *s)
{
	struct dlog_ram_kernel k;

	dlog_ram_get_kernel(r->ram, &k);
	sink_printf(s, "%s: %s of Linux ", r->o->core,
		    r->o->format == FORMAT_ELF ? "ELF core"
					       : "kdump-compressed core");
	text_put(s, k.release, strlen(k.release), 0);
	sink_printf(s, ", %s of memory, ", cli_size(p->bytes).s);
	sink_printf(s, "%s written\n", cli_size(out->written).s);
	if (f->keep)
		sink_printf(
			s, "left out: %s free, %s page cache, %s user space\n",
			cli_size(f->free * PAGE).s, cli_size(f->cache * PAGE).s,
			cli_size(f->user * PAGE).s);
	if (p->full)
		sink_printf(s, "only the first %u mappings are in it\n",
			    PLAN_MAPPINGS_MAX);
	if (r->regs.nr)
		sink_printf(s, "registers of %u CPU%s %s\n", r->regs.nr,
			    r->regs.nr == 1 ? "" : "s", r->regs.from);
	else
		sink_puts(s, "no registers (--qmp, --regs)\n");
	if (r->vmm && vmm_paused_us(r->vmm))
		sink_printf(s, "the guest stood still for %.1f ms\n",
			    (double)vmm_paused_us(r->vmm) / 1000);
}

static int write_as(const struct options *o, struct job *job, uint64_t *size,
		    struct dlog_error *err)
{
	job->buf = malloc(COPY_CHUNK);
	if (!job->buf)
		return fail(err, -ENOMEM, "No memory to copy with.");
	if (o->format == FORMAT_ELF)
		return elf_write(job, size, err);
	return kdump_write(job, o->compression, size, err);
}

static int write_core(struct run *r, int fd, struct out *out)
{
	const struct options *o = r->o;
	struct plan plan;
	struct filter filter = { .keep = NULL };
	struct job job = { .ram = r->ram,
			   .plan = &plan,
			   .filter = &filter,
			   .regs = &r->regs,
			   .ram_path = o->ram,
			   .fd = fd,
			   .out = out,
			   .progress = !o->quiet && isatty(STDERR_FILENO) };
	struct dlog_error resumed;
	uint64_t size = 0;
	int ret = plan_make(&plan, r->ram,
			    o->format == FORMAT_ELF && !o->no_mappings,
			    &r->err);

	if (!ret && o->kernel_only)
		ret = filter_make(&filter, r->ram, &plan, &r->err);
	if (!ret)
		ret = write_as(o, &job, &size, &r->err);
	/* Should QEMU have died meanwhile, this core is all there will be. */
	if (r->vmm && vmm_resume(r->vmm, &resumed))
		fprintf(stderr, PROGRAM ": the guest was not resumed: %s\n",
			resumed.text);
	if (!ret)
		ret = out_commit(out, size, &r->err);
	if (!ret && !o->quiet)
		report(r, &plan, &filter, out, &r->out);
	free(job.buf);
	filter_free(&filter);
	plan_free(&plan);
	return ret;
}

/* ---- what is only said ---- */

static int show_tasks(struct run *r)
{
	struct core_cpu_regs *c = calloc(r->regs.nr + 1, sizeof(*c));
	int ret;

	if (!c)
		return fail(&r->err, -ENOMEM, "No memory for registers.");
	for (uint32_t i = 0; i < r->regs.nr; i++) {
		c[i].cpu = r->regs.cpu[i].cpu;
		c[i].regs = core_regs_of(&r->regs.cpu[i]);
	}
	ret = core_show_tasks(r->ram, r->o->stacks, r->o->json, c, r->regs.nr,
			      &r->out);
	free(c);
	if (ret)
		fail(&r->err, ret, "%s: no tasks: %s", r->o->ram,
		     *dlog_ram_why(r->ram) ? dlog_ram_why(r->ram)
					   : strerror(-ret));
	return ret;
}

static int show(struct run *r)
{
	if (r->o->symbols)
		return symbols_of_guest(r->o->ram, r->ram, &r->out, &r->err);
	if (r->o->tasks)
		return show_tasks(r);
	facts_show(r->d, r->ram, &r->regs, &r->out);
	return 0;
}

/* ---- the order of things ---- */

static int open_ram(struct run *r)
{
	struct dlog_open_args args = { .format = "ram",
				       .options = r->o->source };
	int ret = dlog_open_as(&r->d, r->o->ram, &args, &r->err);

	if (ret) {
		r->d = NULL;
		return ret;
	}
	r->ram = dlog_get_ram(r->d);
	if (!r->o->vmlinux)
		return 0;
	return dlog_ram_set_vmlinux(r->ram, r->o->vmlinux, &r->err);
}

/* The guest is looked at when it stands still, if it shall. */
static int with_guest(struct run *r, int fd, struct out *out)
{
	int ret = 0;

	if (r->o->qmp)
		ret = vmm_open(&r->vmm, r->o->qmp, r->o->freeze, &r->err);
	if (!ret)
		ret = open_ram(r);
	if (!ret)
		ret = registers(r);
	if (!ret)
		ret = out ? write_core(r, fd, out) : show(r);
	vmm_close(r->vmm);
	regs_free(&r->regs);
	if (r->d)
		dlog_close(r->d);
	return ret;
}

static int to_core(struct run *r)
{
	int fd = open(r->o->ram, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct out out;
	int ret;

	if (fd < 0)
		return fail(&r->err, -errno, "Cannot open %s: %s.", r->o->ram,
			    strerror(errno));
	ret = out_open(&out, r->o->core, fd, r->o->force, r->o->max_size,
		       &r->err);
	if (!ret)
		ret = with_guest(r, fd, &out);
	out_close(&out);
	close(fd);
	return ret;
}

/* Without CORE.  A kernel's file has symbols, but no memory. */
static int to_output(struct run *r)
{
	uint8_t *vmlinux = NULL;
	size_t size = 0;
	int ret = 0;

	if (r->o->symbols && !r->o->source && !r->o->vmlinux)
		ret = vmlinuz_load(r->o->ram, &vmlinux, &size, &r->err);
	if (!ret)
		return with_guest(r, -1, NULL);
	if (ret > 0)
		ret = symbols_of_kernel(r->o->ram, vmlinux, size, &r->out,
					&r->err);
	free(vmlinux);
	return ret;
}

int main(int argc, char **argv)
{
	struct options o = { .ram = NULL };
	struct run r = { .o = &o, .out = { .fd = -1 } };
	int ret = parse_options(&o, argc, argv);

	if (ret > 0)
		return EXIT_OK;
	if (ret) {
		fprintf(stderr, "Try '" PROGRAM " --help'.\n");
		return EXIT_USAGE;
	}
	/* What was begun is undone before one ends us. */
	newfile_catch_signals();
	ret = o.core ? to_core(&r) : to_output(&r);
	/* Only now: whoever reads it must not hold up a guest that waits. */
	if (!newfile_signal())
		newfile_release_signals();
	r.out.fd = STDOUT_FILENO;
	if (sink_flush(&r.out) && !ret)
		ret = fail(&r.err, r.out.error, "Cannot write the output: %s.",
			   strerror(-r.out.error));
	sink_free(&r.out);
	if (ret)
		fprintf(stderr, PROGRAM ": %s\n", r.err.text);
	newfile_release_signals();
	return ret ? EXIT_FAILED : EXIT_OK;
}
