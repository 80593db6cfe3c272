// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest.c - registers and memory of the guest, as far as this QEMU gives them.
 *
 * Each vCPU has a handle of its own for each register; which number of ours
 * belongs to which name is settled when probes are parsed, before there is
 * any vCPU.  What is read goes through a byte array of GLib, one for each
 * vCPU, since its callbacks run one at a time.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "probe.h"

#define REGISTERS_MAX 128u

static struct {
	const char *names[REGISTERS_MAX];
	unsigned int n;
	unsigned int pc; /* number of rip or eip */
} registers = { .pc = REGISTERS_MAX };

static struct vcpu_guest {
	struct api_array *bytes;
	struct qemu_plugin_register *handles[REGISTERS_MAX];
} __attribute__((aligned(128))) * vcpus;

/*
 * The general and system registers of gdb-xml/i386-64bit.xml and i386-32bit.xml,
 * QEMU 10.0: so that a wrong name is found before there is a vCPU to ask.
 */
static const char *const x86_64[] = {
	"rax", "rbx", "rcx", "rdx",	"rsi",	   "rdi",	"rbp",
	"rsp", "r8",  "r9",  "r10",	"r11",	   "r12",	"r13",
	"r14", "r15", "rip", "eflags",	"cs",	   "ss",	"ds",
	"es",  "fs",  "gs",  "fs_base", "gs_base", "k_gs_base", "cr0",
	"cr2", "cr3", "cr4", "cr8",	"efer",	   NULL
};

static const char *const i386[] = {
	"eax", "ebx", "ecx",	 "edx",	    "esi",	 "edi", "ebp",
	"esp", "eip", "eflags",	 "cs",	    "ss",	 "ds",	"es",
	"fs",  "gs",  "fs_base", "gs_base", "k_gs_base", "cr0", "cr2",
	"cr3", "cr4", "cr8",	 "efer",    NULL
};

/* May the guest have it?  Of other guests only the vCPUs know. */
static bool may_have(const char *name)
{
	const char *const *known = plugin.x86_64 ? x86_64 : i386;

	if (!plugin.x86)
		return true;
	while (*known && strcmp(*known, name))
		known++;
	return *known;
}

int guest_find_register(const char *name)
{
	if (!may_have(name))
		return -ENOENT;
	for (unsigned int i = 0; i < registers.n; i++)
		if (!strcmp(registers.names[i], name))
			return (int)i;
	name = registers.n < REGISTERS_MAX ? strdup(name) : NULL;
	if (!name)
		return -ENOSPC;
	if (plugin.x86 && (!strcmp(name, "rip") || !strcmp(name, "eip")))
		registers.pc = registers.n;
	registers.names[registers.n++] = name;
	return (int)registers.n - 1;
}

int guest_start(void)
{
	size_t size = plugin.nr_vcpus * sizeof(*vcpus);

	vcpus = aligned_alloc(128, size);
	if (!vcpus) {
		tell("no memory for the registers of %u vCPUs",
		     plugin.nr_vcpus);
		return -ENOMEM;
	}
	memset(vcpus, 0, size);
	for (unsigned int i = 0; api.byte_array_new && i < plugin.nr_vcpus; i++)
		vcpus[i].bytes = api.byte_array_new();
	return 0;
}

void guest_vcpu(unsigned int vcpu)
{
	const struct qemu_plugin_reg_descriptor *d;
	struct api_array *all;

	if (!registers.n || !api.get_registers || vcpu >= plugin.nr_vcpus)
		return;
	all = api.get_registers();
	d = all->data;
	for (unsigned int i = 0; i < registers.n; i++) {
		for (unsigned int k = 0; k < all->len; k++)
			if (!strcmp(d[k].name, registers.names[i]))
				vcpus[vcpu].handles[i] = d[k].handle;
		if (!vcpus[vcpu].handles[i])
			record_say(4, "vCPU %u has no register %s", vcpu,
				   registers.names[i]);
	}
	/* The array is small and comes once for each vCPU: it is not freed. */
}

static uint64_t little_endian(const uint8_t *p, int len)
{
	uint64_t v = 0;

	for (int i = 0; i < len && i < 8; i++)
		v |= (uint64_t)p[i] << 8 * i;
	return v;
}

bool guest_register(const struct hit *h, unsigned int reg, uint64_t *value)
{
	struct vcpu_guest *v = &vcpus[h->vcpu];
	int len;

	/* QEMU keeps its own up to date only where an instruction needs it. */
	if (reg == registers.pc) {
		*value = h->pc;
		return true;
	}
	if (!v->handles[reg])
		return false;
	v->bytes->len = 0; /* QEMU appends */
	len = api.read_register(v->handles[reg], v->bytes);
	if (len <= 0 || (unsigned int)len > v->bytes->len)
		return false;
	*value = little_endian(v->bytes->data, len);
	return true;
}

bool guest_read(unsigned int vcpu, uint64_t address, void *buf, size_t len)
{
	struct api_array *bytes = vcpus[vcpu].bytes;

	if (!len)
		return true;
	if (!api.read_memory_vaddr || !bytes || address + len - 1 < address)
		return false;
	bytes->len = 0;
	if (!api.read_memory_vaddr(address, bytes, len) || bytes->len < len)
		return false;
	memcpy(buf, bytes->data, len);
	return true;
}

int guest_read_string(unsigned int vcpu, uint64_t address, void *buf,
		      size_t room)
{
	uint8_t *out = buf;
	size_t got = 0;

	while (got < room) {
		/* What lies behind the string's last page may not be there. */
		size_t part = 256 - ((address + got) & 255);
		const uint8_t *end;

		if (part > room - got)
			part = room - got;
		if (!guest_read(vcpu, address + got, out + got, part))
			return got ? (int)got : -EFAULT;
		end = memchr(out + got, 0, part);
		if (end)
			return (int)(end - out);
		got += part;
	}
	return (int)got;
}
