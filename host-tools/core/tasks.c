// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * tasks.c - a guest's tasks for people and programs: who they are, what they
 * do, and with their stacks what they wait for.
 *
 * Stacks look as in the kernel's own messages (Linux 6.12,
 * arch/x86/kernel/dumpstack.c): "function+0x12/0x80 [module]", with "?" before
 * what was found on the stack but may be left over from an older call.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "json.h"
#include "tasks.h"
#include "text.h"

#define FRAMES 256

struct show {
	struct dlog_ram *ram;
	const struct core_cpu_regs *regs;
	size_t nr_regs;
	struct sink *out;
};

static const struct dlog_ram_regs *regs_of(const struct show *s,
					   const struct dlog_ram_task *t)
{
	for (size_t i = 0; t->running && i < s->nr_regs; i++)
		if (s->regs[i].cpu == t->cpu)
			return &s->regs[i].regs;
	return NULL;
}

static int frames_of(const struct show *s, const struct dlog_ram_task *t,
		     struct dlog_ram_frame *f)
{
	return dlog_ram_stack(s->ram, t, regs_of(s, t), f, FRAMES);
}

/*
 * The function of a frame.  A return address may be the first byte of the next
 * one, when what was called never returns: so the call itself is looked up.
 */
static bool function_of(const struct show *s, const struct dlog_ram_frame *f,
			struct dlog_symbol *sym)
{
	uint64_t at = f->interrupt ? f->ip : f->ip - 1;

	return !f->user && dlog_ram_symbol_at(s->ram, at, sym) == 1;
}

static bool in_module(const struct dlog_symbol *sym)
{
	return strncmp(sym->object, "vmlinux", 7);
}

/* ---- for people ---- */

/* A name of the guest's: on one line, whatever its bytes are. */
static void put_name(const struct show *s, const char *name, size_t size)
{
	size_t len = strnlen(name, size), from = 0;

	for (size_t i = 0; i < len; i++) {
		if ((uint8_t)name[i] >= ' ')
			continue;
		text_put(s->out, name + from, i - from, 0);
		sink_printf(s->out, "\\x%02x", name[i]);
		from = i + 1;
	}
	text_put(s->out, name + from, len - from, 0);
}

static void put_row(const struct show *s, const struct dlog_ram_task *t)
{
	sink_printf(s->out, "%7d %7d %7d %4u %c%c    ", t->pid, t->tgid,
		    t->ppid, t->cpu, t->state, t->running ? '*' : ' ');
	if (t->kthread)
		sink_putc(s->out, '[');
	put_name(s, t->comm, sizeof(t->comm) - 1);
	sink_puts(s->out, t->kthread ? "]\n" : "\n");
}

static void put_frame(const struct show *s, const struct dlog_ram_frame *f)
{
	struct dlog_symbol sym;

	sink_puts(s->out, f->exact ? " " : " ? ");
	if (f->user) {
		sink_printf(s->out, "user space at 0x%" PRIx64 "\n", f->ip);
		return;
	}
	if (!function_of(s, f, &sym)) {
		sink_printf(s->out, "0x%" PRIx64 "\n", f->ip);
		return;
	}
	put_name(s, sym.name, SIZE_MAX);
	sink_printf(s->out, "+0x%" PRIx64 "/0x%x", f->ip - sym.address,
		    sym.size);
	if (in_module(&sym)) {
		sink_puts(s->out, " [");
		put_name(s, sym.object, SIZE_MAX);
		sink_putc(s->out, ']');
	}
	sink_puts(s->out, f->interrupt ? " (interrupted)\n" : "\n");
}

static void put_stack(const struct show *s, const struct dlog_ram_task *t)
{
	struct dlog_ram_frame f[FRAMES];
	int n = frames_of(s, t, f);

	if (n < 0)
		sink_printf(s->out, " (no stack: %s)\n", dlog_ram_why(s->ram));
	else if (!n)
		sink_puts(s->out, " (no stack)\n");
	else if (t->running && !regs_of(s, t))
		sink_puts(s->out, " (runs, registers not known: only what "
				  "looks like return addresses)\n");
	for (int i = 0; i < n; i++)
		put_frame(s, &f[i]);
	sink_putc(s->out, '\n');
}

#define HEAD "    PID    TGID    PPID  CPU STATE COMM\n"

static void put_tasks(const struct show *s, const struct dlog_ram_task *t,
		      int64_t n, bool stacks)
{
	sink_puts(s->out, HEAD);
	for (int64_t i = 0; i < n && !s->out->error; i++) {
		put_row(s, &t[i]);
		if (stacks)
			put_stack(s, &t[i]);
	}
}

/* ---- for programs ---- */

static void json_address(struct json *j, const char *key, uint64_t v)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%" PRIx64, v);
	json_member(j, key, text);
}

static void json_flag(struct json *j, const char *key, bool v)
{
	json_key(j, key);
	json_bool(j, v);
}

static void json_number(struct json *j, const char *key, int64_t v)
{
	json_key(j, key);
	json_i64(j, v);
}

static void json_frame(struct json *j, const struct show *s,
		       const struct dlog_ram_frame *f)
{
	struct dlog_symbol sym;

	json_open(j, '{');
	json_address(j, "ip", f->ip);
	json_address(j, "sp", f->sp);
	if (function_of(s, f, &sym)) {
		json_member(j, "symbol", sym.name);
		json_number(j, "offset", (int64_t)(f->ip - sym.address));
		json_number(j, "size", sym.size);
		json_member(j, "module", in_module(&sym) ? sym.object : NULL);
	}
	json_flag(j, "exact", f->exact);
	json_flag(j, "interrupt", f->interrupt);
	json_flag(j, "user", f->user);
	json_close(j, '}');
}

static void json_stack(struct json *j, const struct show *s,
		       const struct dlog_ram_task *t)
{
	struct dlog_ram_frame f[FRAMES];
	int n = frames_of(s, t, f);

	json_key(j, "stack");
	if (n < 0) {
		json_null(j);
		return;
	}
	json_open(j, '[');
	for (int i = 0; i < n; i++)
		json_frame(j, s, &f[i]);
	json_close(j, ']');
}

static void json_task(const struct show *s, const struct dlog_ram_task *t,
		      bool stack)
{
	struct json j = { .s = s->out };
	size_t len = strnlen(t->comm, sizeof(t->comm) - 1);

	json_open(&j, '{');
	json_number(&j, "pid", t->pid);
	json_number(&j, "tgid", t->tgid);
	json_number(&j, "ppid", t->ppid);
	json_number(&j, "cpu", t->cpu);
	json_key(&j, "state");
	json_string(&j, &t->state, 1);
	json_flag(&j, "running", t->running);
	json_flag(&j, "kthread", t->kthread);
	json_key(&j, "comm");
	json_string(&j, t->comm, len);
	if (!json_is_utf8(t->comm, len)) {
		json_key(&j, "comm_hex");
		json_hex(&j, t->comm, len);
	}
	json_address(&j, "task", t->addr);
	if (stack)
		json_stack(&j, s, t);
	json_close(&j, '}');
	json_line(&j);
}

int core_show_tasks(struct dlog_ram *ram, bool stacks, bool json,
		    const struct core_cpu_regs *regs, size_t nr_regs,
		    struct sink *out)
{
	const struct show s = {
		.ram = ram,
		.regs = regs,
		.nr_regs = nr_regs,
		.out = out,
	};
	struct dlog_ram_task *t;
	int64_t n = dlog_ram_get_tasks(ram, &t);

	if (n < 0)
		return (int)n;
	if (json)
		for (int64_t i = 0; i < n && !out->error; i++)
			json_task(&s, &t[i], stacks);
	else
		put_tasks(&s, t, n, stacks);
	free(t);
	return out->error;
}
