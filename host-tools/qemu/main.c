// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * dlog-qemu - start QEMU with a region attached.
 *
 *	dlog-qemu [options] FILE -- qemu-system-x86_64 ...
 *
 * QEMU takes this process over (execvp): process id, signals, standard files
 * and exit status are QEMU's own.  Relies on libdlog, command.c, plan.c and
 * region.c.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qemu.h"
#include "region.h"

/* As env(1), timeout(1) and others that run a command. */
enum { EXIT_OURS = 125, EXIT_NOT_RUN = 126, EXIT_NOT_FOUND = 127 };

#define DEFAULT_SIZE (16 * MIB)

static const char usage_line[] =
	"usage: dlog-qemu [OPTION]... FILE -- qemu-system-x86_64 [ARGUMENT]...\n";

static const char help[] =
	"\n"
	"Starts QEMU with the region FILE attached to the guest, and creates FILE when\n"
	"there is none.  QEMU's arguments stay as they are, what is needed is added.\n"
	"\n"
	"  -p, --placement=PLACE  nvdimm (default), ivshmem, or ram: carved out of the\n"
	"                         guest's memory\n"
	"  -s, --size=SIZE        size of a new FILE (default 16M); an existing one must\n"
	"                         have it\n"
	"      --stock=ramoops    for a guest without dlog's driver: FILE is memory that\n"
	"                         its kernel's ramoops writes into\n"
	"      --plugin[=ARGS]    record from outside, too, by a TCG plugin, into\n"
	"                         FILE.plugin; ARGS as in dlog-plugin(7):\n"
	"                         probes=FILE,symbols=FILE,blocks=on ...\n"
	"      --qmp=PATH|none    QMP socket (default FILE.qmp)\n"
	"      --no-pvpanic       no pvpanic device\n"
	"      --on-panic=ACTION  what QEMU does when the guest panics: none (default),\n"
	"                         pause, shutdown, exit-failure\n"
	"      --print            only print the whole command\n"
	"      --dry-run          the same\n"
	"      --print-args       only print what is added\n"
	"  -v, --verbose          say what is added and why\n"
	"  -h, --help             this text\n"
	"  -V, --version          the version\n"
	"\n"
	"Exit status: QEMU's own; 125 when dlog-qemu fails, 126 when QEMU cannot be run,\n"
	"127 when it is not found.\n";

enum mode { MODE_RUN, MODE_PRINT, MODE_PRINT_ARGS, MODE_DONE };

struct settings {
	const char *file;
	char **qemu; /* QEMU's command line, NULL-terminated */
	enum mode mode;
	enum placement placement;
	enum stock stock;
	uint64_t size; /* 0: not given */
	const char *qmp; /* NULL: beside the file */
	const char *on_panic;
	const char *plugin; /* its arguments, NULL: no plugin */
	bool no_pvpanic, verbose;
};

static int parse_placement(struct settings *s, const char *word,
			   struct dlog_error *err)
{
	static const char *const names[] = {
		[PLACE_NVDIMM] = "nvdimm",
		[PLACE_IVSHMEM] = "ivshmem",
		[PLACE_RAM] = "ram",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (!strcmp(word, names[i])) {
			s->placement = (enum placement)i;
			return 0;
		}
	}
	return fail(err, -EINVAL,
		    "--placement=%s: choose nvdimm, ivshmem or ram", word);
}

static int parse_stock(struct settings *s, const char *word,
		       struct dlog_error *err)
{
	if (strcmp(word, "ramoops"))
		return fail(err, -EINVAL, "--stock=%s: choose ramoops", word);
	s->stock = STOCK_RAMOOPS;
	return 0;
}

static int parse_on_panic(struct settings *s, const char *word,
			  struct dlog_error *err)
{
	static const char *const words[] = { "none", "pause", "shutdown",
					     "exit-failure" };

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		if (!strcmp(word, words[i])) {
			s->on_panic = words[i];
			return 0;
		}
	}
	return fail(
		err, -EINVAL,
		"--on-panic=%s: choose none, pause, shutdown or exit-failure",
		word);
}

static int parse_size(struct settings *s, const char *word,
		      struct dlog_error *err)
{
	/* The bounds of a region (docs/abi.md); libdlog checks the rest. */
	if (size_parse(word, 1, &s->size) || s->size < 64 * KIB ||
	    s->size % (4 * KIB))
		return fail(
			err, -EINVAL,
			"--size=%s: not a size from 64K in steps of 4K; write 16M for example",
			word);
	return 0;
}

/* One of our own options. */
static int take_option(struct settings *s, int opt, struct dlog_error *err)
{
	switch (opt) {
	case 'p':
		return parse_placement(s, optarg, err);
	case 's':
		return parse_size(s, optarg, err);
	case 'k':
		return parse_stock(s, optarg, err);
	case 'q':
		s->qmp = optarg;
		break;
	case 'g':
		s->plugin = optarg ? optarg : "";
		break;
	case 'N':
		s->no_pvpanic = true;
		break;
	case 'P':
		return parse_on_panic(s, optarg, err);
	case 'n':
		s->mode = MODE_PRINT;
		break;
	case 'a':
		s->mode = MODE_PRINT_ARGS;
		break;
	case 'v':
		s->verbose = true;
		break;
	case 'h':
		fputs(usage_line, stdout);
		fputs(help, stdout);
		s->mode = MODE_DONE;
		break;
	case 'V':
		puts("dlog-qemu " DLOG_VERSION);
		s->mode = MODE_DONE;
		break;
	default: /* getopt_long() has said what is wrong */
		return fail(err, -EINVAL, "%s", "dlog-qemu --help says more");
	}
	return 0;
}

static int parse_settings(struct settings *s, int argc, char **argv,
			  struct dlog_error *err)
{
	static const struct option options[] = {
		{ "placement", required_argument, NULL, 'p' },
		{ "size", required_argument, NULL, 's' },
		{ "stock", required_argument, NULL, 'k' },
		{ "qmp", required_argument, NULL, 'q' },
		{ "plugin", optional_argument, NULL, 'g' },
		{ "no-pvpanic", no_argument, NULL, 'N' },
		{ "on-panic", required_argument, NULL, 'P' },
		{ "print", no_argument, NULL, 'n' },
		{ "dry-run", no_argument, NULL, 'n' },
		{ "print-args", no_argument, NULL, 'a' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 },
	};
	int split = 1, opt, ret = 0;

	/* What follows the first "--" is none of getopt's business. */
	while (split < argc && strcmp(argv[split], "--"))
		split++;
	if (split < argc)
		s->qemu = argv + split + 1;
	argv[split] = NULL;
	while (!ret && s->mode != MODE_DONE &&
	       (opt = getopt_long(split, argv, "p:s:vhV", options, NULL)) != -1)
		ret = take_option(s, opt, err);
	if (ret || s->mode == MODE_DONE)
		return ret;
	s->file = argv[optind];
	if (!s->file)
		return fail(err, -EINVAL, "no region file given\n%s",
			    usage_line);
	if (!s->qemu)
		return fail(err, -EINVAL,
			    "no -- that separates QEMU's command line\n%s",
			    usage_line);
	if (argv[optind + 1])
		return fail(err, -EINVAL,
			    "'%s': one region file only, then --\n%s",
			    argv[optind + 1], usage_line);
	if (!*s->qemu)
		return fail(err, -EINVAL, "no QEMU command after --\n%s",
			    usage_line);
	return 0;
}

/* 0, or the exit status that says why the file @path cannot be run. */
static int check_program(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return errno == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUN;
	return S_ISREG(st.st_mode) && !access(path, X_OK) ? 0 : EXIT_NOT_RUN;
}

/*
 * The same for a program that execvp() will look for, so that a misspelt one
 * leaves no region file behind.
 */
static int find_program(const char *program)
{
	const char *path = getenv("PATH");
	int status = EXIT_NOT_FOUND;

	if (strchr(program, '/'))
		return check_program(program);
	if (!path)
		path = "/bin:/usr/bin"; /* as execvp() */
	for (;;) {
		size_t len = strcspn(path, ":");
		char *full;
		int found;

		if (asprintf(&full, "%.*s/%s", (int)(len ? len : 1),
			     len ? path : ".", program) < 0)
			return EXIT_OURS;
		found = check_program(full);
		free(full);
		if (!found)
			return 0;
		if (found == EXIT_NOT_RUN)
			status = EXIT_NOT_RUN;
		if (!path[len])
			return status;
		path += len + 1;
	}
}

/* The user's arguments, then ours from @own on; NULL without memory. */
static char **whole_command(const struct command *c, const struct plan *p,
			    size_t own)
{
	size_t n = 0;
	char **all;

	all = calloc(own + 2 * p->n + 1, sizeof(*all));
	if (!all)
		return NULL;
	for (; n < own; n++)
		all[n] = c->argv[n];
	for (size_t i = 0; i < p->n; i++) {
		all[n++] = p->v[i].option;
		all[n++] = p->v[i].value;
	}
	return all;
}

static void print_words(char *const *words)
{
	for (; *words; words++) {
		shell_quote(stdout, *words);
		putchar(words[1] ? ' ' : '\n');
	}
}

/* What a person has to know, on standard error. */
static void tell(const struct settings *s, const struct command *c,
		 const struct region *r, const struct wishes *w,
		 const struct plan *p)
{
	if (r->backup)
		fprintf(stderr,
			"dlog-qemu: warning: %s: the first superblock is damaged, the second one is used\n",
			r->path);
	if (c->readconfig)
		fprintf(stderr,
			"dlog-qemu: warning: -readconfig %s: what it says of machine, memory, CPUs and devices is not seen; give that on the command line\n",
			c->readconfig);
	for (size_t i = 0; s->verbose && i < p->n; i++) {
		fprintf(stderr, "dlog-qemu: adding %s ", p->v[i].option);
		shell_quote(stderr, p->v[i].value);
		fprintf(stderr, " (%s)\n", p->v[i].why);
	}
	if (*p->kernel_words && !p->words_added) {
		fprintf(stderr,
			"dlog-qemu: the guest's kernel needs on its command line, each time it boots:\n    %s\n",
			p->kernel_words);
		fputs("dlog-qemu: in /etc/default/grub of the guest, before update-grub:\n    GRUB_CMDLINE_LINUX=\"",
		      stderr);
		for (const char *at = p->kernel_words; *at; at++)
			fprintf(stderr, *at == '$' ? "\\\\\\$" : "%c", *at);
		fputs("\"\n", stderr);
	}
	if (w->stock && !p->words_added)
		stock_tell(stderr, w);
}

static int check_file(const struct settings *s, struct region *r,
		      struct dlog_error *err)
{
	return s->stock ? plain_check(r, s->size, "ramoops", err)
			: region_check(r, s->size, err);
}

/* Creates the files where there are none, and takes ours for this process. */
static int prepare(const struct settings *s, const struct command *c,
		   struct region *r, const struct wishes *w,
		   struct dlog_error *err)
{
	int ret = 0;

	if (!r->exists && s->stock) {
		ret = plain_create(r, err);
		if (!ret)
			fprintf(stderr, "dlog-qemu: created %s: %s\n", r->path,
				size_text(r->size).s);
	} else if (!r->exists) {
		ret = region_create(r, c->cpus, c->maxcpus, err);
		if (!ret)
			fprintf(stderr,
				"dlog-qemu: created %s: %s, rings: %u\n",
				r->path, size_text(r->size).s,
				region_rings(r->size, c->cpus));
	}
	if (!ret)
		ret = region_lock(r, err);
	/* Once more, now that nobody else may change it. */
	if (!ret)
		ret = check_file(s, r, err);
	if (!ret && r->size != w->size)
		ret = fail(err, -EAGAIN,
			   "%s: another region has taken its place; try again",
			   r->path);
	if (!ret && w->qmp)
		ret = socket_check(w->qmp, err);
	if (!ret && w->plugin)
		ret = plugin_prepare(r->path, c, s->plugin, err);
	return ret;
}

static int run(const struct settings *s, const struct command *c,
	       struct region *r, const struct wishes *w, const struct plan *p,
	       struct dlog_error *err)
{
	const char *program = c->argv[0];
	int status = EXIT_OURS;
	size_t own = 0;
	char **all;

	while (c->argv[own])
		own++;
	all = whole_command(c, p, own);
	if (!all) {
		fail(err, -ENOMEM, "out of memory");
		return EXIT_OURS;
	}
	if (s->mode != MODE_RUN) {
		tell(s, c, r, w, p);
		print_words(s->mode == MODE_PRINT ? all : all + own);
		status = 0;
		goto out;
	}
	status = find_program(program);
	if (status == EXIT_NOT_FOUND)
		fail(err, -ENOENT, "%s: not found; is QEMU installed?",
		     program);
	else if (status)
		fail(err, -EACCES, "%s: cannot be run as a program", program);
	if (status)
		goto out;
	status = EXIT_OURS;
	if (prepare(s, c, r, w, err))
		goto out;
	tell(s, c, r, w, p);
	fflush(NULL);
	execvp(program, all);
	status = EXIT_NOT_RUN;
	fail(err, -errno, "%s: %s", program, strerror(errno));
out:
	free(all);
	return status;
}

/* The socket that the user wants, NULL for none. */
static int choose_socket(char **out, const struct settings *s,
			 const struct region *r, struct dlog_error *err)
{
	char *beside = NULL;
	int ret;

	*out = NULL;
	if (s->qmp && !strcmp(s->qmp, "none"))
		return 0;
	if (s->qmp)
		return socket_path(out, s->qmp, err);
	if (asprintf(&beside, "%s.qmp", r->path) < 0)
		return fail(err, -ENOMEM, "out of memory");
	ret = socket_path(out, beside, err);
	free(beside);
	return ret;
}

static int work(const struct settings *s, struct dlog_error *err)
{
	struct command c = { 0 };
	struct region r = { 0 };
	struct plan p = { 0 };
	struct wishes w = {
		.placement = s->placement,
		.stock = s->stock,
		.no_pvpanic = s->no_pvpanic,
		.on_panic = s->on_panic,
	};
	char *qmp = NULL;
	int status = EXIT_OURS;
	int ret;

	ret = command_parse(&c, s->qemu, err);
	if (!ret)
		ret = region_find(&r, s->file, err);
	if (!ret && r.exists)
		ret = check_file(s, &r, err);
	else
		r.size = s->size ? s->size : DEFAULT_SIZE;
	if (!ret)
		ret = choose_socket(&qmp, s, &r, err);
	w.path = r.path;
	w.size = r.size;
	w.qmp = qmp;
	if (!ret && s->plugin)
		ret = plugin_plan(&w.plugin, &c, &w, s->plugin, err);
	if (!ret)
		ret = plan_make(&p, &c, &w, err);
	if (!ret)
		status = run(s, &c, &r, &w, &p, err);
	plan_free(&p);
	command_free(&c);
	free(w.plugin);
	free(qmp);
	free(r.path);
	return status;
}

int main(int argc, char **argv)
{
	struct settings s = { 0 };
	struct dlog_error err = { "" };
	int status = EXIT_OURS;

	if (!parse_settings(&s, argc, argv, &err))
		status = s.mode == MODE_DONE ? 0 : work(&s, &err);
	if (status) {
		size_t len = strlen(err.text);

		fprintf(stderr, "dlog-qemu: %s%s", err.text,
			len && err.text[len - 1] == '\n' ? "" : "\n");
	} else if (fflush(stdout) || ferror(stdout)) {
		fprintf(stderr, "dlog-qemu: standard output: %s\n",
			strerror(errno));
		status = EXIT_OURS;
	}
	return status;
}
