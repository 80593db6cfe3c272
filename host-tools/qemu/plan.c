// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * plan.c - what to add to a QEMU command line so that the guest has the
 * region, and what speaks against it.
 *
 * Relies on command.c's reading of the line; touches no file.  QEMU takes
 * several mistakes without a word and then loses the log (DESIGN section 5):
 * those are refused here.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "qemu.h"

/* QEMU's ACPI_MAX_RAM_SLOTS */
#define SLOTS_MAX 256

/*
 * Carved memory lies where no firmware, boot loader or kexec wants to be:
 * firmware uses the first 128 MiB and the end of memory below 4 GiB, boot
 * loaders and kexec fill from the end.  One address for nearly all guests
 * and both boards, so that the words in a guest's boot loader stay right
 * when its memory is resized.
 */
#define CARVE_AT (256 * MIB)
#define CARVE_AT_SMALL (128 * MIB)
#define CARVE_MARGIN (64 * MIB)
/* Memory below 4 GiB that q35 has in any case; pc has more. */
#define LOW_MEMORY (2 * GIB)

__attribute__((format(printf, 4, 5))) static void
add(struct plan *p, const char *why, const char *option, const char *fmt, ...)
{
	struct addition *v = realloc(p->v, (p->n + 1) * sizeof(*v));
	char *value = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (!v || vasprintf(&value, fmt, ap) < 0)
		p->no_memory = true;
	va_end(ap);
	if (v)
		p->v = v;
	if (!p->no_memory)
		p->v[p->n++] = (struct addition){ strdup(option), value, why };
}

static bool same_file(const char *a, const char *b)
{
	struct stat sa, sb;

	if (!strcmp(a, b))
		return true;
	return !stat(a, &sa) && !stat(b, &sb) && sa.st_dev == sb.st_dev &&
	       sa.st_ino == sb.st_ino;
}

/* Nobody else may have the region's file, nor our names. */
static int check_items(const struct command *c, const struct wishes *w,
		       struct dlog_error *err)
{
	for (size_t i = 0; i < c->nr_items; i++) {
		const struct item *item = &c->items[i];
		const char *path = props_get(&item->props, "mem-path");
		const char *id = props_get(&item->props, "id");

		if (path && same_file(path, w->path))
			return fail(
				err, -EINVAL,
				"%s %s: this attaches %s already; leave it out, dlog-qemu attaches the file itself",
				item->option, item->text, w->path);
		if (id && (!strcmp(id, "dlog") || !strncmp(id, "dlog-", 5)))
			return fail(
				err, -EINVAL,
				"%s %s: dlog-qemu needs the id '%s' itself; give yours another one",
				item->option, item->text, id);
	}
	if (c->mem_path && same_file(c->mem_path, w->path))
		return fail(
			err, -EINVAL,
			"-mem-path %s: the guest's whole memory cannot be the log; give it another file",
			c->mem_path);
	return 0;
}

static void add_backend(struct plan *p, const struct wishes *w)
{
	char *path = double_commas(w->path);

	if (path)
		add(p, "the region's file as memory", "-object",
		    "memory-backend-file,id=dlog,mem-path=%s,size=%llu,share=on,prealloc=on",
		    path, (unsigned long long)w->size);
	p->no_memory |= !path;
	free(path);
}

/* Does @line have @word (@len bytes) between spaces? */
static bool has_word(const char *line, const char *word, size_t len)
{
	for (const char *at = line; at && *at; at += strcspn(at, " ")) {
		at += strspn(at, " ");
		if (strcspn(at, " ") == len && !strncmp(at, word, len))
			return true;
	}
	return false;
}

/* Has @line all words of @words? */
static bool has_words(const char *line, const char *words)
{
	size_t len;

	for (; *words; words += len + (words[len] == ' ')) {
		len = strcspn(words, " ");
		if (!line || !has_word(line, words, len))
			return false;
	}
	return true;
}

/* Tell the guest's kernel, where QEMU loads it; @key names the address. */
static int plan_words(struct plan *p, const struct command *c, const char *key,
		      struct dlog_error *err)
{
	const char *ours = strstr(p->kernel_words, key);

	p->words_added = c->kernel;
	if (!c->kernel || has_words(c->append, p->kernel_words))
		return 0;
	if (c->append && strstr(c->append, key) &&
	    !has_word(c->append, ours, strcspn(ours, " ")))
		return fail(
			err, -EINVAL,
			"-append has another %s than this region needs; leave it and what belongs to it out, dlog-qemu adds %s",
			key, p->kernel_words);
	add(p, "where the guest's kernel finds that memory", "-append",
	    "%s%s%s", c->append ? c->append : "",
	    c->append && *c->append ? " " : "", p->kernel_words);
	return 0;
}

/*
 * A stock kernel does not look for the region: its address has to be known
 * and is given to QEMU, which refuses it if something else lies there.
 */
static int plan_stock_nvdimm(struct plan *p, const struct command *c,
			     const struct wishes *w, struct dlog_error *err)
{
	uint64_t at;
	int ret = stock_address(c, &at, err);

	if (ret)
		return ret;
	add(p, "the file in the guest", "-device",
	    "nvdimm,id=dlog,memdev=dlog,addr=0x%llx", (unsigned long long)at);
	stock_words(p->kernel_words, sizeof(p->kernel_words), w, at);
	return plan_words(p, c, "ramoops.mem_address=", err);
}

static int plan_nvdimm(struct plan *p, const struct command *c,
		       const struct wishes *w, struct dlog_error *err)
{
	const char *nvdimm = props_get(&c->machine, "nvdimm");
	uint64_t maxmem = c->maxmem ? c->maxmem : c->ram;

	if (c->board == BOARD_MICROVM || c->board == BOARD_ISAPC)
		return fail(
			err, -EINVAL, "machine %s has no nvdimm; use %s",
			props_get(&c->machine, "type"),
			c->board == BOARD_MICROVM
				? "--placement=ivshmem, or machine pc or q35"
				: "machine pc or q35");
	if (means_off(nvdimm))
		return fail(
			err, -EINVAL,
			"-machine nvdimm=%s, but the region is to be an nvdimm; leave that out, or use --placement=ivshmem",
			nvdimm);
	if (c->no_acpi || means_off(props_get(&c->machine, "acpi")))
		return fail(
			err, -EINVAL,
			"without ACPI a guest has no nvdimm; use --placement=ivshmem or --placement=ram");
	if (c->slots >= SLOTS_MAX)
		return fail(
			err, -EINVAL,
			"-m slots=%llu leaves no slot for the region, QEMU has %d; use --placement=ivshmem",
			(unsigned long long)c->slots, SLOTS_MAX);
	if (!means_on(nvdimm))
		add(p, "lets the machine have nvdimms", "-machine",
		    "nvdimm=on");
	add(p, "one more slot, and room for the region", "-m",
	    "slots=%llu,maxmem=%s", (unsigned long long)c->slots + 1,
	    size_text(maxmem + w->size).s);
	add_backend(p, w);
	if (w->stock)
		return plan_stock_nvdimm(p, c, w, err);
	add(p, "the region in the guest", "-device",
	    "nvdimm,id=dlog,memdev=dlog");
	return 0;
}

static int plan_ivshmem(struct plan *p, const struct command *c,
			const struct wishes *w, struct dlog_error *err)
{
	const char *pcie = props_get(&c->machine, "pcie");

	if (c->board == BOARD_ISAPC)
		return fail(err, -EINVAL,
			    "machine isapc has no PCI; use machine pc or q35");
	if (w->size & (w->size - 1))
		return fail(
			err, -EINVAL,
			"%s is %s, but ivshmem needs a power of two; make another file (dlog-create --size=16M), or use --placement=nvdimm",
			w->path, size_text(w->size).s);
	if (c->board == BOARD_MICROVM) {
		if (means_off(pcie))
			return fail(
				err, -EINVAL,
				"-machine pcie=%s, but ivshmem needs PCI; leave that out",
				pcie);
		if (!means_on(pcie))
			add(p, "ivshmem needs PCI", "-machine", "pcie=on");
	}
	add_backend(p, w);
	add(p, "the region in the guest", "-device",
	    "ivshmem-plain,id=dlog,memdev=dlog");
	return 0;
}

static int check_ram(const struct command *c, struct dlog_error *err)
{
	if (!c->x86 || c->board == BOARD_MICROVM || c->board == BOARD_ISAPC ||
	    c->board == BOARD_OTHER)
		return fail(
			err, -EINVAL,
			"--placement=ram is for machines pc and q35 only; use another placement");
	if (c->numa)
		return fail(
			err, -EINVAL,
			"--placement=ram lays out the guest's memory itself and does not go with -numa %s; use --placement=nvdimm",
			c->numa);
	if (c->mem_path || props_get(&c->machine, "memory-backend"))
		return fail(
			err, -EINVAL,
			"--placement=ram lays out the guest's memory itself and does not go with %s; use --placement=nvdimm",
			c->mem_path ? "-mem-path" : "-machine memory-backend=");
	return 0;
}

/* Where the region goes, or an error. */
static int carve(const struct command *c, const struct wishes *w, uint64_t *at,
		 struct dlog_error *err)
{
	const char *text = props_get(&c->machine, "max-ram-below-4g");
	uint64_t low = LOW_MEMORY, given;

	if (text && !size_parse(text, 1, &given) && given < low)
		low = given;
	*at = c->ram >= CARVE_AT + CARVE_MARGIN ? CARVE_AT : CARVE_AT_SMALL;
	if (c->ram < *at + CARVE_MARGIN)
		return fail(
			err, -EINVAL,
			"--placement=ram needs a guest of at least %s of memory, this one has %s; use -m %s, or --placement=nvdimm",
			size_text(*at + CARVE_MARGIN).s, size_text(c->ram).s,
			size_text(*at + CARVE_MARGIN).s);
	if (w->size > low || *at + w->size + CARVE_MARGIN > low)
		return fail(
			err, -EINVAL,
			"%s is %s, too large to be carved out of the guest's memory below 4 GiB; use --placement=nvdimm",
			w->path, size_text(w->size).s);
	return 0;
}

/*
 * The region is a NUMA node of its own, between two nodes of ordinary
 * memory: so its file is the region and nothing else.  The guest is given
 * that much more memory, and its kernel told to keep off it.
 */
static int plan_ram(struct plan *p, const struct command *c,
		    const struct wishes *w, struct dlog_error *err)
{
	char last_cpu[16] = "";
	uint64_t at;
	int ret;

	ret = check_ram(c, err);
	if (!ret)
		ret = carve(c, w, &at, err);
	if (ret)
		return ret;
	if (c->maxcpus > 1)
		snprintf(last_cpu, sizeof(last_cpu), "-%u", c->maxcpus - 1);
	if (c->maxmem)
		add(p, "memory for the region on top of the guest's", "-m",
		    "size=%s,maxmem=%s", size_text(c->ram + w->size).s,
		    size_text(c->maxmem + w->size).s);
	else
		add(p, "memory for the region on top of the guest's", "-m",
		    "size=%s", size_text(c->ram + w->size).s);
	add(p, "memory below the region", "-object",
	    "memory-backend-ram,id=dlog-low,size=%s", size_text(at).s);
	add_backend(p, w);
	add(p, "memory above the region", "-object",
	    "memory-backend-ram,id=dlog-high,size=%s",
	    size_text(c->ram - at).s);
	add(p, "memory below the region, all CPUs", "-numa",
	    "node,nodeid=0,memdev=dlog-low,cpus=0%s", last_cpu);
	add(p, "the region in the guest", "-numa", "node,nodeid=1,memdev=dlog");
	add(p, "memory above the region", "-numa",
	    "node,nodeid=2,memdev=dlog-high");
	if (w->stock) {
		stock_words(p->kernel_words, sizeof(p->kernel_words), w, at);
		return plan_words(p, c, "ramoops.mem_address=", err);
	}
	snprintf(p->kernel_words, sizeof(p->kernel_words),
		 "memmap=%s$%s dlog.mem=%s@%s", size_text(w->size).s,
		 size_text(at).s, size_text(w->size).s, size_text(at).s);
	return plan_words(p, c, "dlog.mem=", err);
}

/*
 * The guest tells QEMU of its panic.  QEMU's default would then power off,
 * and a guest that is to reboot (panic=N) never would: unless the user says
 * otherwise, QEMU sends its event and goes on.
 */
static int plan_panic(struct plan *p, const struct command *c,
		      const struct wishes *w, struct dlog_error *err)
{
	const char *user = props_get(&c->action, "panic");
	const char *wanted = w->on_panic;

	if (wanted && user && strcmp(wanted, user))
		return fail(
			err, -EINVAL,
			"--on-panic=%s contradicts -action panic=%s; leave one out",
			wanted, user);
	if (!w->no_pvpanic && c->board == BOARD_PC &&
	    !command_device(c, "pvpanic") &&
	    !command_device(c, "pvpanic-pci")) {
		add(p, "the guest's panic becomes a QMP event", "-device",
		    "pvpanic");
		if (!wanted)
			wanted = "none";
	}
	if (wanted && !user)
		add(p, "what QEMU does when the guest panics", "-action",
		    "panic=%s", wanted);
	return 0;
}

static void plan_qmp(struct plan *p, const struct wishes *w)
{
	char *path = w->qmp ? double_commas(w->qmp) : NULL;

	if (path) {
		add(p, "QMP socket", "-chardev",
		    "socket,id=dlog-qmp,path=%s,server=on,wait=off", path);
		add(p, "QMP", "-mon", "chardev=dlog-qmp,mode=control");
	}
	p->no_memory |= w->qmp && !path;
	free(path);
}

int plan_make(struct plan *p, const struct command *c, const struct wishes *w,
	      struct dlog_error *err)
{
	int ret = check_items(c, w, err);

	if (ret)
		return ret;
	switch (w->placement) {
	case PLACE_NVDIMM:
		ret = plan_nvdimm(p, c, w, err);
		break;
	case PLACE_IVSHMEM:
		if (w->stock)
			return fail(
				err, -EINVAL,
				"--stock needs an address that is known before the guest runs, which ivshmem has not; use --placement=nvdimm or ram");
		ret = plan_ivshmem(p, c, w, err);
		break;
	case PLACE_RAM:
		ret = plan_ram(p, c, w, err);
		break;
	}
	if (!ret)
		ret = plan_panic(p, c, w, err);
	if (!ret)
		plan_qmp(p, w);
	if (!ret && w->plugin)
		add(p, "the plugin that records from outside", "-plugin", "%s",
		    w->plugin);
	if (!ret && p->no_memory)
		ret = fail(err, -ENOMEM, "out of memory");
	return ret;
}

void plan_free(struct plan *p)
{
	for (size_t i = 0; i < p->n; i++) {
		free(p->v[i].option);
		free(p->v[i].value);
	}
	free(p->v);
}
