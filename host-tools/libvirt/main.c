// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * main.c - dlog-virt: give a libvirt domain a region, and take it away.
 *
 * The command line, and the order of steps: everything that can be refused
 * is refused before a file is made or the domain is changed.  dlog-virt(1) is
 * the reference.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <libvirt/virterror.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "virt.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

#define DEFAULT_SIZE (UINT64_C(16) << 20)

struct options {
	struct attachment a;
	const char *domain; /* NULL: none named */
	const char *file, *connect, *dir;
	bool print, delete;
};

static const char help_text[] =
	"Usage: dlog-virt COMMAND [OPTION]... [DOMAIN]\n"
	"Give a libvirt domain a region: the memory that its kernel writes its\n"
	"log into, and that stays when the guest dies.\n"
	"\n"
	"  attach DOMAIN       make the file and put it into the domain's XML\n"
	"    -f, --file FILE   (default " REGIONS "/DOMAIN.img)\n"
	"    -s, --size SIZE   of a new file: a number and K, M or G (default 16M)\n"
	"    -r, --rings N     of a new file (default: one for each CPU)\n"
	"    -m, --mode MODE   nvdimm; commandline: ivshmem by <qemu:commandline>;\n"
	"                      or auto (default): nvdimm if the domain can\n"
	"        --no-pvpanic  no <panic> device\n"
	"    -p, --print       only print the XML that the domain would have\n"
	"  detach DOMAIN       take out what attach put in\n"
	"    -d, --delete      and remove the file\n"
	"    -p, --print       only print the XML that the domain would have\n"
	"  status [DOMAIN]     domains with a region, and what it says\n"
	"  path DOMAIN         the file's name: dlog-read $(dlog-virt path DOMAIN)\n"
	"  install-hook        for libvirt to call at each start and stop\n"
	"  remove-hook\n"
	"        --dir DIR     (default " HOOKS ")\n"
	"\n"
	"  -c, --connect URI   (default qemu:///system)\n"
	"  -h, --help\n"
	"  -V, --version\n";

enum { OPT_NO_PVPANIC = 256, OPT_DIR };

static const struct option long_options[] = {
	{ "file", required_argument, NULL, 'f' },
	{ "size", required_argument, NULL, 's' },
	{ "rings", required_argument, NULL, 'r' },
	{ "mode", required_argument, NULL, 'm' },
	{ "no-pvpanic", no_argument, NULL, OPT_NO_PVPANIC },
	{ "print", no_argument, NULL, 'p' },
	{ "delete", no_argument, NULL, 'd' },
	{ "dir", required_argument, NULL, OPT_DIR },
	{ "connect", required_argument, NULL, 'c' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

/* ---- a domain, looked up ---- */

struct target {
	virConnectPtr conn;
	virDomainPtr dom;
	xmlDoc *doc; /* persistent XML */
	struct domxml d;
	const char *name;
};

static int target_open(struct target *t, const struct options *o,
		       bool read_only, struct dlog_error *err)
{
	int ret = host_open(&t->conn, o->connect, read_only, err);

	if (!ret)
		ret = host_domain(&t->dom, t->conn, o->domain, err);
	if (ret)
		return ret;
	t->name = virDomainGetName(t->dom);
	/* What will be defined again needs its passwords. */
	ret = host_xml(&t->doc, t->dom,
		       VIR_DOMAIN_XML_INACTIVE |
			       (read_only ? 0 : VIR_DOMAIN_XML_SECURE),
		       err);
	if (!ret && domxml_read(&t->d, t->doc))
		ret = fail(err, -EPROTO,
			   "%s: libvirt's XML cannot be understood", t->name);
	if (!ret && !read_only && !virDomainIsPersistent(t->dom))
		ret = fail(
			err, -EINVAL,
			"%s: a transient domain has no XML to be changed; define it first",
			t->name);
	return ret;
}

static void target_close(struct target *t)
{
	domxml_free(&t->d);
	xmlFreeDoc(t->doc);
	if (t->dom)
		virDomainFree(t->dom);
	if (t->conn)
		virConnectClose(t->conn);
}

/* ---- attach ---- */

/* The absolute path of a file that may be there or not. */
static int find_path(struct options *o, const struct domxml *d,
		     struct dlog_error *err)
{
	const char *slash;
	char *folder, *real;

	if (!o->file) {
		o->a.path = d->path ? strdup(d->path) : region_default(d->name);
		return o->a.path ? 0 : fail(err, -ENOMEM, "out of memory");
	}
	slash = strrchr(o->file, '/');
	folder = slash ? strndup(o->file, (size_t)(slash - o->file) + 1)
		       : strdup(".");
	real = folder ? realpath(folder, NULL) : NULL;
	free(folder);
	if (!real)
		return fail(err, -errno, "%s: its folder: %s", o->file,
			    strerror(errno));
	if (asprintf(&o->a.path, "%s/%s", strcmp(real, "/") ? real : "",
		     slash ? slash + 1 : o->file) < 0)
		o->a.path = NULL;
	free(real);
	return o->a.path ? 0 : fail(err, -ENOMEM, "out of memory");
}

/* The document for people: libvirt's own indentation, once more. */
static int print_xml(xmlDoc *doc, struct dlog_error *err)
{
	xmlChar *text = NULL;
	xmlDoc *again;
	int len = 0;

	xmlDocDumpMemoryEnc(doc, &text, &len, "UTF-8");
	again = text ? xmlReadMemory((char *)text, len, "domain.xml", NULL,
				     XML_PARSE_NONET | XML_PARSE_NOBLANKS)
		     : NULL;
	xmlFree(text);
	if (!again)
		return fail(err, -ENOMEM, "out of memory");
	xmlSaveFormatFile("-", again, 1);
	xmlFreeDoc(again);
	return 0;
}

/* QEMU has to get at the file; @give: nobody else gives it to its user. */
static int prepare_owner(struct target *t, const struct attachment *a,
			 bool give, struct dlog_error *err)
{
	uid_t uid;
	gid_t gid;
	int ret = host_user(t->conn, t->doc, &uid, &gid, err);

	/* Without the dac model QEMU runs as libvirtd itself does. */
	if (ret)
		return ret == -ENOENT ? 0 : ret;
	ret = region_reachable(a->path, uid, gid, err);
	if (!ret && give && lchown(a->path, uid, gid))
		ret = fail(err, -errno, "%s: cannot be given to user %u: %s",
			   a->path, uid, strerror(errno));
	return ret;
}

/* Attached already: the same wish is fine, another is not. */
static int attach_again(struct target *t, const struct options *o, bool exists,
			struct dlog_error *err)
{
	enum mode mode = edit_mode(t->doc);
	int ret = 0;

	if (strcmp(o->a.path, t->d.path))
		return fail(err, -EEXIST,
			    "%s has region %s attached; first: " PROGRAM
			    " detach %s",
			    t->name, t->d.path, t->name);
	if ((o->a.mode != MODE_AUTO && o->a.mode != mode) ||
	    (o->a.size && o->a.size != t->d.size))
		return fail(err, -EEXIST,
			    "%s has %s attached as %s of %s; first: " PROGRAM
			    " detach %s",
			    t->name, t->d.path,
			    mode == MODE_NVDIMM ? "nvdimm" : "commandline",
			    cli_size(t->d.size).s, t->name);
	if (!exists && !o->print) {
		struct attachment a = o->a;

		a.size = t->d.size;
		if (!a.rings)
			a.rings = t->d.rings;
		ret = region_create(&a, t->d.cpus, t->d.name, err);
		if (!ret)
			ret = prepare_owner(t, &a, mode == MODE_COMMANDLINE,
					    err);
	}
	return ret;
}

static void tell_crash(xmlDoc *doc)
{
	xmlNode *node = domxml_find(doc, "/domain/on_crash");
	xmlChar *text = node ? xmlNodeGetContent(node) : NULL;

	if (text && domxml_find(doc, "/domain/devices/panic"))
		printf("When the guest panics, libvirt does what <on_crash> says: %s.\n",
		       (char *)text);
	xmlFree(text);
}

static void tell_attached(struct target *t, const struct options *o, bool made)
{
	printf("%s: region %s, %s as %s%s\n", t->name, o->a.path,
	       cli_size(o->a.size).s,
	       o->a.mode == MODE_NVDIMM ? "nvdimm" : "ivshmem (commandline)",
	       made ? ", formatted" : "");
	if (virDomainIsActive(t->dom) == 1)
		printf("The domain runs without it until it is shut down and "
		       "started again; a reboot\nof the guest is not enough.\n");
	tell_crash(t->doc);
}

static int attach_new(struct target *t, struct options *o, bool exists,
		      struct dlog_error *err)
{
	int ret;

	if (!o->a.size)
		o->a.size = DEFAULT_SIZE;
	ret = edit_choose(t->doc, &o->a, err);
	if (!ret)
		ret = host_check_unused(t->conn, o->a.path, t->name, err);
	if (!ret)
		ret = edit_attach(t->doc, &o->a, err);
	if (ret)
		return ret;
	if (o->print)
		return print_xml(t->doc, err);
	if (!exists)
		ret = region_create(&o->a, t->d.cpus, t->d.name, err);
	if (!ret)
		ret = prepare_owner(t, &o->a, o->a.mode == MODE_COMMANDLINE,
				    err);
	if (!ret)
		ret = host_define(t->conn, t->doc, err);
	if (ret && !exists)
		unlink(o->a.path);
	if (!ret)
		tell_attached(t, o, !exists);
	return ret;
}

static int cmd_attach(struct options *o, struct dlog_error *err)
{
	struct target t = { .conn = NULL };
	bool exists;
	int ret = target_open(&t, o, false, err);

	if (!ret)
		ret = find_path(o, &t.d, err);
	if (!ret)
		ret = region_check(&o->a, &exists, err);
	if (!ret && t.d.path) {
		ret = attach_again(&t, o, exists, err);
		if (!ret)
			printf("%s: region %s is attached already\n", t.name,
			       t.d.path);
	} else if (!ret) {
		ret = attach_new(&t, o, exists, err);
	}
	free(o->a.path);
	target_close(&t);
	return ret;
}

/* ---- detach ---- */

static int cmd_detach(struct options *o, struct dlog_error *err)
{
	struct target t = { .conn = NULL };
	int ret = target_open(&t, o, false, err);
	bool active = !ret && virDomainIsActive(t.dom) == 1, exists = false;

	if (!ret && o->delete &&active)
		ret = fail(
			err, -EBUSY,
			"%s runs, and its file is in use; shut the domain down first, or leave --delete out",
			t.name);
	if (!ret && edit_detach(t.doc, err))
		ret = fail(err, -ENOENT,
			   "%s: no region was attached by " PROGRAM, t.name);
	if (!ret && o->print) {
		ret = print_xml(t.doc, err);
		goto out;
	}
	/* Nothing is deleted that is no region. */
	o->a.path = t.d.path;
	if (!ret && o->delete)
		ret = region_check(&o->a, &exists, err);
	if (!ret)
		ret = host_define(t.conn, t.doc, err);
	if (!ret && exists && unlink(t.d.path))
		ret = fail(err, -errno, "%s: %s", t.d.path, strerror(errno));
	if (!ret)
		printf("%s: region %s detached%s%s\n", t.name, t.d.path,
		       o->delete ? " and deleted" : "",
		       active ? "; the domain has it until it is shut down"
			      : "");
out:
	target_close(&t);
	return ret;
}

/* ---- status, path ---- */

/* "boot 3: running", or why it cannot be read. */
static void print_region(const char *path)
{
	struct dlog_error err;
	struct dlog_live live;
	struct dlog *d;

	if (dlog_open(&d, path, 0, &err)) {
		printf("%s", err.text);
		return;
	}
	dlog_get_live(d, &live);
	if (live.boot)
		printf("boot %u, %s", live.boot, dlog_status_name(live.status));
	else
		printf("no guest has recorded yet");
	dlog_close(d);
}

static bool runs_with(virDomainPtr dom, const char *path)
{
	struct dlog_error err;
	struct domxml d;
	bool has = false;
	xmlDoc *doc;

	if (host_xml(&doc, dom, 0, &err))
		return false;
	if (!domxml_read(&d, doc)) {
		has = d.path && !strcmp(d.path, path);
		domxml_free(&d);
	}
	xmlFreeDoc(doc);
	return has;
}

/* One domain's line; -ENOENT if no region is attached. */
static int print_status(virDomainPtr dom)
{
	const char *state = "domain is shut off";
	struct dlog_error err;
	struct domxml d;
	xmlDoc *doc;
	int ret = -ENOENT;

	if (host_xml(&doc, dom, VIR_DOMAIN_XML_INACTIVE, &err))
		return ret;
	if (domxml_read(&d, doc) || !d.path)
		goto out;
	if (virDomainIsActive(dom) == 1)
		state = runs_with(dom, d.path) ? "domain runs"
					       : "from its next start on";
	printf("%s: %s, %s, %s, %s; ", virDomainGetName(dom), d.path,
	       cli_size(d.size).s,
	       edit_mode(doc) == MODE_NVDIMM ? "nvdimm" : "ivshmem", state);
	print_region(d.path);
	putchar('\n');
	ret = 0;
out:
	domxml_free(&d);
	xmlFreeDoc(doc);
	return ret;
}

static int cmd_status(struct options *o, struct dlog_error *err)
{
	virConnectPtr conn;
	virDomainPtr dom, *all = NULL;
	int n, ret = host_open(&conn, o->connect, true, err);

	if (ret)
		return ret;
	if (o->domain) {
		ret = host_domain(&dom, conn, o->domain, err);
		if (!ret && print_status(dom))
			ret = fail(err, -ENOENT,
				   "%s: no region was attached by " PROGRAM,
				   virDomainGetName(dom));
		if (dom)
			virDomainFree(dom);
	} else {
		n = virConnectListAllDomains(conn, &all, 0);
		for (int i = 0; i < n; i++) {
			print_status(all[i]);
			virDomainFree(all[i]);
		}
		free(all);
		if (n < 0)
			ret = fail(err, -EIO, "%s", virGetLastErrorMessage());
	}
	virConnectClose(conn);
	return ret;
}

static int cmd_path(struct options *o, struct dlog_error *err)
{
	struct target t = { .conn = NULL };
	int ret = target_open(&t, o, true, err);

	if (!ret && !t.d.path)
		ret = fail(err, -ENOENT,
			   "%s: no region was attached by " PROGRAM, t.name);
	if (!ret)
		puts(t.d.path);
	target_close(&t);
	return ret;
}

/* ---- hook ---- */

static int cmd_install(struct options *o, struct dlog_error *err)
{
	int ret = hook_install(o->dir, err);

	if (!ret)
		printf("%s/dlog: installed; libvirt looks for hooks when it "
		       "starts: restart libvirtd\n(or virtqemud), running "
		       "domains stay\n",
		       o->dir);
	return ret;
}

static int cmd_remove(struct options *o, struct dlog_error *err)
{
	int ret = hook_remove(o->dir, err);

	if (!ret)
		printf("%s/dlog: removed\n", o->dir);
	return ret;
}

/* ---- command line ---- */

static const struct command {
	const char *name;
	int (*run)(struct options *o, struct dlog_error *err);
	int least, most; /* arguments */
	const char *options; /* that it takes, besides -c, -h, -V */
	int longs[3]; /* and those without a letter */
} commands[] = {
	{ "attach", cmd_attach, 1, 1, "fsrmp", { OPT_NO_PVPANIC } },
	{ "detach", cmd_detach, 1, 1, "dp", { 0 } },
	{ "status", cmd_status, 0, 1, "", { 0 } },
	{ "path", cmd_path, 1, 1, "", { 0 } },
	{ "install-hook", cmd_install, 0, 0, "", { OPT_DIR } },
	{ "remove-hook", cmd_remove, 0, 0, "", { OPT_DIR } },
};

static int parse_mode(const char *text, enum mode *mode)
{
	static const char *const names[] = {
		[MODE_AUTO] = "auto",
		[MODE_NVDIMM] = "nvdimm",
		[MODE_COMMANDLINE] = "commandline",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (!strcmp(text, names[i])) {
			*mode = (enum mode)i;
			return 0;
		}
	}
	return cli_wrong(PROGRAM, "mode", text, "nvdimm, commandline or auto");
}

static int parse_rings(const char *text, uint32_t *rings)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	if (!isdigit((unsigned char)*text) || *end || !v || v > 1024)
		return cli_wrong(PROGRAM, "number of rings", text, "1 to 1024");
	*rings = (uint32_t)v;
	return 0;
}

static int parse_one(struct options *o, int c)
{
	switch (c) {
	case 'f':
		o->file = optarg;
		return 0;
	case 's':
		return cli_parse_size(PROGRAM, optarg, &o->a.size);
	case 'r':
		return parse_rings(optarg, &o->a.rings);
	case 'm':
		return parse_mode(optarg, &o->a.mode);
	case OPT_NO_PVPANIC:
		o->a.pvpanic = false;
		return 0;
	case 'p':
		o->print = true;
		return 0;
	case 'd':
		o->delete = true;
		return 0;
	case OPT_DIR:
		o->dir = optarg;
		return 0;
	case 'c':
		o->connect = optarg;
		return 0;
	default:
		return -EINVAL; /* getopt has said what */
	}
}

static bool takes(const struct command *cmd, int c)
{
	if (c == '?' || c == 'c')
		return true;
	for (size_t i = 0; i < 3; i++)
		if (c == cmd->longs[i])
			return true;
	return c < 256 && strchr(cmd->options, c);
}

/* 0: go on, 1: done, or negative after a message. */
static int parse_options(struct options *o, const struct command *cmd, int argc,
			 char **argv)
{
	int c, n;

	while ((c = getopt_long(argc, argv, "f:s:r:m:pdc:hV", long_options,
				NULL)) != -1) {
		if (c == 'h') {
			fputs(help_text, stdout);
			return 1;
		}
		if (!takes(cmd, c)) {
			fprintf(stderr, PROGRAM ": %s has no such option: %s\n",
				cmd->name, argv[optind - 1]);
			return -EINVAL;
		}
		if (parse_one(o, c))
			return -EINVAL;
	}
	n = argc - optind;
	if (n < cmd->least || n > cmd->most) {
		fprintf(stderr, PROGRAM ": %s: %s\n", cmd->name,
			n < cmd->least ? "which domain?" : "too many words");
		return -EINVAL;
	}
	o->domain = n ? argv[optind] : NULL;
	return 0;
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (!strcmp(name, commands[i].name))
			return &commands[i];
	return NULL;
}

static int usage(void)
{
	fprintf(stderr, "Try '" PROGRAM " --help'.\n");
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	struct options o = { .a.pvpanic = true, .dir = HOOKS };
	const char *word = argc > 1 ? argv[1] : "";
	const struct command *cmd = find_command(word);
	struct dlog_error err = { "" };
	int ret;

	if (!strcmp(word, "hook"))
		return hook_run(argc - 2, argv + 2);
	if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
		fputs(help_text, stdout);
		return EXIT_OK;
	}
	if (!strcmp(word, "--version") || !strcmp(word, "-V")) {
		puts(PROGRAM " " DLOG_VERSION);
		return EXIT_OK;
	}
	if (!cmd) {
		fprintf(stderr, PROGRAM ": %s%s\n", word,
			*word ? ": no such command" : "what shall be done?");
		return usage();
	}
	ret = parse_options(&o, cmd, argc - 1, argv + 1);
	if (ret > 0)
		return EXIT_OK;
	if (ret)
		return usage();
	ret = cmd->run(&o, &err);
	if (ret) {
		fprintf(stderr, PROGRAM ": %s\n", err.text);
		return EXIT_FAILED;
	}
	if (fflush(stdout)) {
		fprintf(stderr, PROGRAM ": cannot write the output: %s\n",
			strerror(errno));
		return EXIT_FAILED;
	}
	return EXIT_OK;
}
