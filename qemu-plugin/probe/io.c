// SPDX-License-Identifier: GPL-2.0-only
/*
 * io.c - probes at x86's ports.
 *
 * QEMU tells of accesses to memory alone.  So instructions that access ports
 * are found by their bytes when they are translated, and the registers are
 * read when they are executed: those of out before it, of in before the
 * instruction behind it, of ins and outs at their access to memory.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "access.h"
#include "probe.h"

/* What the callback is told of an instruction, in a word. */
#define PORT_IMMEDIATE 0xffu
#define PORT_IN_DX (1u << 8)
#define PORT_OUT (1u << 9)
#define PORT_STRING (1u << 10)
#define PORT_WIDE (1u << 11) /* 2 or 4 bytes */
#define PORT_OTHER_SIZE (1u << 12) /* than that of the code */
#define PORT_LENGTH 16 /* bit: the instruction's bytes, 4 bits */

#define FLAGS_IOPL 12 /* bit of eflags: 2 bits */
#define FLAGS_VM (1u << 17)

struct vcpu_io {
	uint32_t what;
	bool stored; /* by ins, before it has read */
	uint8_t checks; /* reads of the task's permissions that are to come */
	bool reading; /* by in: what has been read is not known yet */
	uint64_t next; /* pc behind it */
	struct hit hit; /* it */
} __attribute__((aligned(64)));

static struct {
	pthread_once_t once;
	struct probe **ports;
	unsigned int nr_ports;
	bool in; /* somebody wants to know of in */
	struct vcpu_io *vcpus;
	unsigned int rax, rdx, cr0, eflags, cs; /* guest_register() */
} io = { .once = PTHREAD_ONCE_INIT };

static int find_register(const struct probe *p, const char *name,
			 unsigned int *reg)
{
	int ret = guest_find_register(name);

	if (ret < 0)
		return probe_error(p, "this guest has no register %s", name);
	*reg = (unsigned int)ret;
	return 0;
}

int io_check(struct probe *p)
{
	int ret;

	if (!plugin.x86)
		return probe_error(
			p,
			"port: is for x86 guests; name an address, or device:NAME");
	if (api.version < 2)
		return probe_error(
			p,
			"which port it is stands in a register, and this QEMU, which speaks plugin API %d, does not tell registers: QEMU 9.0 and later do",
			api.version);
	if (p->needs_physical)
		return probe_error(p, "ports have no physical address (%s)",
				   p->needs_physical);
	p->has_value = true;
	ret = find_register(p, plugin.x86_64 ? "rax" : "eax", &io.rax);
	if (!ret)
		ret = find_register(p, plugin.x86_64 ? "rdx" : "edx", &io.rdx);
	if (!ret)
		ret = find_register(p, "cr0", &io.cr0);
	if (!ret)
		ret = find_register(p, "eflags", &io.eflags);
	if (!ret)
		ret = find_register(p, "cs", &io.cs);
	return ret;
}

/* At the first translation: all probes have been read. */
static void collect(void)
{
	io.ports = calloc(nr_probes + 1, sizeof(*io.ports));
	io.vcpus = aligned_alloc(64, plugin.nr_vcpus * sizeof(*io.vcpus));
	if (!io.ports || !io.vcpus) {
		record_say(3, "no memory: probes at ports are not placed");
		return;
	}
	memset(io.vcpus, 0, plugin.nr_vcpus * sizeof(*io.vcpus));
	for (unsigned int i = 0; i < nr_probes; i++) {
		struct probe *p = &probes[i];

		if (p->kind == PROBE_EXEC || p->space != SPACE_PORT)
			continue;
		io.ports[io.nr_ports++] = p;
		io.in |= p->kind != PROBE_WRITE;
	}
}

static bool wants(const struct probe *p, bool store)
{
	return p->kind == PROBE_ACCESS ||
	       p->kind == (store ? PROBE_WRITE : PROBE_READ);
}

/*
 * Intel SDM, volume 2: IN e4 e5 ec ed, OUT e6 e7 ee ef, INS 6c 6d, OUTS 6e 6f.
 */
static bool port_decode(const uint8_t *bytes, size_t n, uint32_t *what)
{
	struct x86_prefixes prefix;
	size_t i = x86_opcode(bytes, n, &prefix);

	/* A REX prefix changes nothing in these.  Outside of 64-bit code 40
	 * to 4f are instructions of one byte: nothing is behind them. */
	if (i + 1 < n && (bytes[i] & 0xf0) == 0x40)
		i++;
	if (i >= n)
		return false;
	*what = prefix.operand ? PORT_OTHER_SIZE : 0;
	if (bytes[i] & 1)
		*what |= PORT_WIDE;
	if (bytes[i] & 2)
		*what |= PORT_OUT;
	switch (bytes[i] & 0xfc) {
	case 0x6c:
		*what |= PORT_STRING | PORT_IN_DX;
		return true;
	case 0xe4:
		if (i + 1 >= n)
			return false;
		*what |= bytes[i + 1];
		return true;
	case 0xec:
		*what |= PORT_IN_DX;
		return true;
	}
	return false;
}

/*
 * Of an operand that is no byte: of 16-bit code it has 2 bytes, of other code
 * 4, and the other way round with the prefix.  Code segments of 16 bits in
 * protected mode cannot be told from others here.  0: not known.
 */
static uint8_t wide_size(const struct hit *h, uint32_t what)
{
	uint64_t cr0, flags;
	bool small;

	if (!guest_register(h, io.cr0, &cr0) ||
	    !guest_register(h, io.eflags, &flags))
		return 0;
	small = !(cr0 & 1) || (flags & FLAGS_VM);
	return small == !!(what & PORT_OTHER_SIZE) ? 4 : 2;
}

static void port_hit(const struct hit *h)
{
	for (unsigned int i = 0; i < io.nr_ports; i++) {
		struct probe *p = io.ports[i];

		if (wants(p, h->store) && h->address <= p->to &&
		    h->address + h->size > p->from)
			probe_hit(p, h);
	}
}

/* False: it is not known.  Then there is no hit, whatever the ports are. */
static bool take_port(struct hit *h, uint32_t what)
{
	uint64_t dx;

	h->address = what & PORT_IMMEDIATE;
	if (!(what & PORT_IN_DX))
		return true;
	if (!guest_register(h, io.rdx, &dx))
		return false;
	h->address = dx & 0xffff;
	return true;
}

static void take_value(struct hit *h)
{
	h->has_value = guest_register(h, io.rax, &h->value);
	h->value &= UINT32_MAX >> (32 - 8 * h->size);
}

static void on_what(unsigned int vcpu, void *what)
{
	io.vcpus[vcpu].what = (uint32_t)(uintptr_t)what;
}

/*
 * A program that may not use all ports has two words of its task's segment
 * read first, which come to on_string() like the string itself:
 * target/i386/tcg/seg_helper.c, helper_check_io().
 */
static void on_string_what(unsigned int vcpu, void *what)
{
	struct hit h = { .vcpu = vcpu };
	uint64_t flags, cr0, cs;
	bool checked = guest_register(&h, io.eflags, &flags) &&
		       guest_register(&h, io.cr0, &cr0) &&
		       guest_register(&h, io.cs, &cs) && (cr0 & 1) &&
		       ((flags & FLAGS_VM) ||
			(cs & 3) > (flags >> FLAGS_IOPL & 3));

	on_what(vcpu, what);
	io.vcpus[vcpu].stored = false;
	io.vcpus[vcpu].checks = checked ? 2 : 0;
}

/* in and out, before they are executed. */
static void on_port(unsigned int vcpu, void *word)
{
	struct vcpu_io *v = &io.vcpus[vcpu];
	struct hit h = {
		.vcpu = vcpu,
		.pc = access_pc(word),
		.executed = access_executed(vcpu, word),
		.size = 1,
		.store = v->what & PORT_OUT,
	};

	if (v->what & PORT_WIDE)
		h.size = wide_size(&h, v->what);
	if (!h.size || !take_port(&h, v->what))
		return;
	if (h.store) {
		take_value(&h);
		port_hit(&h);
		return;
	}
	/* The one before never came to its end, or we missed it. */
	if (v->reading)
		port_hit(&v->hit);
	v->reading = true;
	v->hit = h;
	v->next = h.pc + (v->what >> PORT_LENGTH);
}

/*
 * Before an instruction that may come behind an in.  An interrupt may have
 * come between the two: what it has changed it has put back.
 */
static void on_next(unsigned int vcpu, void *word)
{
	struct vcpu_io *v = &io.vcpus[vcpu];

	if (!v->reading || access_pc(word) != v->next)
		return;
	v->reading = false;
	take_value(&v->hit);
	port_hit(&v->hit);
}

/*
 * ins and outs.  QEMU's ins stores a 0 before it reads the port, so that a
 * page fault comes first: target/i386/tcg/translate.c, gen_ins(), 7.2 and
 * 10.0.
 */
static void on_string(unsigned int vcpu, qemu_plugin_meminfo_t info,
		      uint64_t vaddr, void *word)
{
	struct vcpu_io *v = &io.vcpus[vcpu];
	struct access a;
	struct hit h = { .vcpu = vcpu };

	access_get(&a, vcpu, info, vaddr, word);
	if (!a.store && v->checks) {
		v->checks--;
		return;
	}
	if (a.store == !!(v->what & PORT_OUT))
		return;
	if (a.store) {
		v->stored = !v->stored;
		if (v->stored)
			return;
	}
	h.pc = a.pc;
	h.executed = a.executed;
	h.size = (uint8_t)a.size;
	h.store = !a.store;
	h.value = a.value;
	h.has_value = a.has_value;
	if (take_port(&h, v->what))
		port_hit(&h);
}

static void put_exec(const struct block *b, size_t i, api_exec_cb cb)
{
	api.register_vcpu_insn_exec_cb(api.tb_get_insn(b->tb, i), cb,
				       QEMU_PLUGIN_CB_R_REGS,
				       access_word(b, i));
}

static void port_place(const struct block *b, size_t i, uint32_t what)
{
	struct qemu_plugin_insn *insn = api.tb_get_insn(b->tb, i);

	if (!(what & PORT_OUT) && !io.in)
		return;
	api.register_vcpu_insn_exec_cb(
		insn, what & PORT_STRING ? on_string_what : on_what,
		QEMU_PLUGIN_CB_R_REGS, (void *)(uintptr_t)what);
	if (what & PORT_STRING) {
		api.register_vcpu_mem_cb(insn, on_string, QEMU_PLUGIN_CB_R_REGS,
					 QEMU_PLUGIN_MEM_RW, access_word(b, i));
		return;
	}
	put_exec(b, i, on_port);
	if (!(what & PORT_OUT) && i + 1 < b->n)
		put_exec(b, i + 1, on_next);
}

/*
 * May an in stand before @pc?  By its bytes: e4 and e5 with one more, ec, ed.
 * In the thread of a vCPU, which is about to execute there.
 */
static bool behind_in(uint64_t pc)
{
	uint8_t one, two;

	/* The page before may be a device's, which notices being read. */
	if (pc % ACCESS_PAGE < 2)
		return true;
	if (!access_read(pc - 1, &one, 1) || !access_read(pc - 2, &two, 1))
		return true;
	return (one & 0xfe) == 0xec || (two & 0xfe) == 0xe4;
}

void io_translate(const struct block *b)
{
	uint8_t bytes[16];
	uint32_t what;

	pthread_once(&io.once, collect);
	if (!io.nr_ports)
		return;
	/* QEMU often ends a block behind an in. */
	if (io.in && behind_in(b->pc))
		put_exec(b, 0, on_next);
	for (size_t i = 0; i < b->n; i++) {
		size_t n = api_insn_bytes(api.tb_get_insn(b->tb, i), bytes,
					  sizeof(bytes));

		if (port_decode(bytes, n, &what))
			port_place(b, i, what | (uint32_t)n << PORT_LENGTH);
	}
}
