// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ramquery.c - asks libdlog about the kernel in a guest's RAM file; for tests.
 *
 *	ramquery FILE [vmlinux=FILE] < questions
 *
 * A question a line, an answer a line, "-" and an errno for none:
 *	symbol NAME		address
 *	at ADDRESS		NAME+OFFSET/SIZE OBJECT
 *	member TYPE PATH	offset size bit bits
 *	sizeof TYPE		bytes
 *	read TYPE PATH ADDRESS	that member of what lies at ADDRESS
 *	phys ADDRESS		physical address
 *	real			ns of real time when the clock of printk began
 *	kernel			cpus page_offset vmemmap boot_id command_line
 *	regs CPU VALUE...	registers of it, as struct dlog_ram_regs has them
 *	tasks, stacks		as core_show_tasks(), in JSON or
 *	table, trace		for people; a line "." behind
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/tasks.h"
#include "ram/ram.h"

#define CPUS 16

static struct core_cpu_regs known[CPUS];
static size_t nr_known;

static void no(int64_t ret)
{
	printf("- %" PRId64 "\n", ret < 0 ? -ret : 0);
}

static void at(struct dlog_ram *ram, uint64_t addr)
{
	struct dlog_symbol s;
	int ret = dlog_ram_symbol_at(ram, addr, &s);

	if (ret != 1)
		no(ret);
	else
		printf("%s+0x%" PRIx64 "/0x%x %s\n", s.name, addr - s.address,
		       s.size, s.object);
}

static void kernel(struct dlog_ram *ram)
{
	struct dlog_ram_kernel k;

	dlog_ram_get_kernel(ram, &k);
	printf("%u %" PRIx64 " %" PRIx64 " ", k.cpus, k.page_offset, k.vmemmap);
	for (size_t i = 0; i < sizeof(k.boot_id); i++)
		printf("%02x", k.boot_id[i]);
	printf(" %s\n", k.command_line);
}

static void read_member(struct dlog_ram *ram, const char *type,
			const char *path, uint64_t addr)
{
	struct dlog_ram_member m;
	uint64_t v = 0;
	int ret = dlog_ram_member(ram, type, path, &m);

	if (!ret && m.size > sizeof(v))
		ret = -EINVAL;
	if (!ret)
		ret = dlog_ram_read(ram, addr + m.offset, &v, m.size);
	if (ret)
		no(ret);
	else
		printf("%" PRIu64 "\n", v);
}

static void tasks(struct dlog_ram *ram, const char *how)
{
	bool stacks = !strcmp(how, "stacks") || !strcmp(how, "trace");
	bool json = !strcmp(how, "stacks") || !strcmp(how, "tasks");
	struct sink s;
	int ret;

	fflush(stdout);
	if (sink_init(&s, 1))
		exit(1);
	ret = core_show_tasks(ram, stacks, json, known, nr_known, &s);
	sink_flush(&s);
	sink_free(&s);
	if (ret)
		printf("- %d %s\n", -ret, dlog_ram_why(ram));
	puts(".");
}

static void regs(char *text)
{
	struct core_cpu_regs *r = &known[nr_known];
	uint64_t *to = (uint64_t *)(void *)&r->regs;
	uint64_t *end = to + sizeof(r->regs) / sizeof(*to);

	if (nr_known == CPUS)
		exit(1);
	r->cpu = (uint32_t)strtoul(text, &text, 16);
	while (to < end)
		*to++ = strtoull(text, &text, 16);
	nr_known++;
}

static void number(int64_t ret, uint64_t v)
{
	if (ret < 0)
		no(ret);
	else
		printf("%" PRIx64 "\n", v);
}

static void ask(struct dlog_ram *ram, char *line)
{
	char *word[4] = { "", "", "", "" };
	struct dlog_ram_member m;
	uint64_t v = 0, size;
	int64_t ret;
	int n = 0;

	if (!strncmp(line, "regs ", 5)) {
		regs(line + 5);
		return;
	}
	for (char *p = strtok(line, " \n"); p && n < 4; p = strtok(NULL, " \n"))
		word[n++] = p;
	if (!strcmp(word[0], "symbol")) {
		ret = dlog_ram_symbol(ram, word[1], &v);
		number(ret, v);
	} else if (!strcmp(word[0], "at")) {
		at(ram, strtoull(word[1], NULL, 16));
	} else if (!strcmp(word[0], "member")) {
		ret = dlog_ram_member(ram, word[1], word[2], &m);
		if (ret)
			no(ret);
		else
			printf("%u %u %u %u\n", m.offset, m.size, m.bit,
			       m.bits);
	} else if (!strcmp(word[0], "sizeof")) {
		ret = dlog_ram_sizeof(ram, word[1]);
		if (ret < 0)
			no(ret);
		else
			printf("%" PRId64 "\n", ret);
	} else if (!strcmp(word[0], "read")) {
		read_member(ram, word[1], word[2], strtoull(word[3], NULL, 16));
	} else if (!strcmp(word[0], "phys")) {
		ret = dlog_ram_translate(ram, strtoull(word[1], NULL, 16), &v,
					 &size);
		number(ret, v);
	} else if (!strcmp(word[0], "real")) {
		ret = ram_real_offset(ram, &v);
		if (ret)
			no(ret);
		else
			printf("%" PRIu64 "\n", v);
	} else if (!strcmp(word[0], "kernel")) {
		kernel(ram);
	} else if (strstr("tasks stacks table trace", word[0])) {
		tasks(ram, word[0]);
	} else {
		printf("? %s\n", word[0]);
	}
}

int main(int argc, char **argv)
{
	const struct dlog_open_args args = { .format = "ram" };
	struct dlog_error err = { "" };
	struct dlog_ram *ram;
	struct dlog *d;
	char line[1024];

	if (argc < 2 || dlog_open_as(&d, argv[1], &args, &err)) {
		fprintf(stderr, "ramquery: %s\n", err.text);
		return 1;
	}
	ram = dlog_get_ram(d);
	if (argc > 2 && !strncmp(argv[2], "vmlinux=", 8) &&
	    dlog_ram_set_vmlinux(ram, argv[2] + 8, &err)) {
		fprintf(stderr, "ramquery: %s\n", err.text);
		dlog_close(d);
		return 1;
	}
	while (fgets(line, sizeof(line), stdin))
		ask(ram, line);
	dlog_close(d);
	return 0;
}
