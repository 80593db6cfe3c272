// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vmm.c - the registers of all CPUs from a living QEMU.
 *
 * QEMU writes them itself: dump-guest-memory of one page gives an ELF core
 * whose notes hold them, one NT_PRSTATUS and one note of QEMU's own for each
 * CPU, in binary and with all segment bases.  (The text of "info registers"
 * has neither orig_rax nor one form over the years.)  QEMU stops the guest
 * for that command and lets it run on afterwards, whatever becomes of us
 * meanwhile.  Only --freeze leaves it paused.
 *
 * Follows dump/dump.c and target/i386/arch_dump.c of QEMU v7.2.
 */
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core.h"
#include "qmp.h"

#define ANSWER_MS 10000
#define DUMP_MAX (64u << 20) /* bytes: notes of CORE_CPUS_MAX CPUs and more */

struct vmm {
	struct qmp_client *q;
	char state[32];
	bool paused; /* by us */
	uint64_t stopped, paused_us; /* by the VMM's wall clock */
};

static void on_event(void *arg, const char *name, uint64_t usec)
{
	struct vmm *v = arg;

	if (!strcmp(name, "STOP")) {
		v->stopped = usec;
	} else if (!strcmp(name, "RESUME") && v->stopped) {
		v->paused_us += usec > v->stopped ? usec - v->stopped : 0;
		v->stopped = 0;
	}
}

static int ask_state(struct vmm *v, struct dlog_error *err)
{
	json_t *r = NULL;
	int ret = qmp_client_call(v->q, "query-status", NULL, -1, &r, err);

	if (ret)
		return ret;
	qmp_plain(v->state, sizeof(v->state),
		  json_string_value(json_object_get(r, "status")));
	json_decref(r);
	return 0;
}

static int pause_it(struct vmm *v, struct dlog_error *err)
{
	if (strcmp(v->state, "running"))
		return 0;
	/* Before the answer: what was asked for may happen in any case. */
	v->paused = true;
	return qmp_client_call(v->q, "stop", NULL, -1, NULL, err);
}

int vmm_open(struct vmm **out, const char *path, bool freeze,
	     struct dlog_error *err)
{
	struct vmm *v = calloc(1, sizeof(*v));
	int ret;

	if (!v)
		return fail(err, -ENOMEM, "No memory to talk to QEMU.");
	ret = qmp_client_open(&v->q, path, ANSWER_MS, on_event, v, err);
	if (!ret)
		ret = ask_state(v, err);
	if (!ret && freeze)
		ret = pause_it(v, err);
	if (ret) {
		vmm_close(v);
		return ret;
	}
	*out = v;
	return 0;
}

int vmm_resume(struct vmm *v, struct dlog_error *err)
{
	if (!v->paused)
		return 0;
	v->paused = false;
	return qmp_client_tidy(v->q, "cont", err);
}

void vmm_close(struct vmm *v)
{
	struct dlog_error err;

	if (!v)
		return;
	if (v->q && vmm_resume(v, &err))
		fprintf(stderr, PROGRAM ": the guest may be paused still: %s\n",
			err.text);
	qmp_client_close(v->q);
	free(v);
}

uint64_t vmm_paused_us(const struct vmm *v)
{
	return v->paused_us;
}

/* ---- the notes of QEMU's dump ---- */

static size_t aligned(uint32_t n)
{
	return ((size_t)n + 3) & ~(size_t)3;
}

/* One note: CPUs come in order, each with "CORE" and then "QEMU". */
static int take_note(struct core_regs *r, const char *name, uint32_t name_len,
		     uint32_t type, const uint8_t *desc, uint32_t len)
{
	struct core_cpu *c;
	uint32_t pid;

	if (name_len == 5 && !memcmp(name, "CORE", 5) && type == NT_PRSTATUS &&
	    len == PRSTATUS_SIZE) {
		/* QEMU says 1 and up for CPUs 0 and up. */
		memcpy(&pid, desc + PRSTATUS_PID, sizeof(pid));
		if (!pid || pid > CORE_CPUS_MAX)
			return 0;
		c = regs_add(r, pid - 1);
		if (!c)
			return -ENOMEM;
		memcpy(c->prstatus, desc, PRSTATUS_SIZE);
	} else if (name_len == 5 && !memcmp(name, "QEMU", 5) && !type &&
		   len <= QEMU_NOTE_MAX && r->nr) {
		/* All of the first kind come first, then those of this one. */
		for (uint32_t i = 0; i < r->nr; i++) {
			if (r->cpu[i].qemu_size)
				continue;
			memcpy(r->cpu[i].qemu, desc, len);
			r->cpu[i].qemu_size = len;
			break;
		}
	}
	return 0;
}

static int take_notes(struct core_regs *r, const uint8_t *p, size_t len)
{
	Elf64_Nhdr n;

	while (len >= sizeof(n)) {
		size_t all;
		int ret;

		memcpy(&n, p, sizeof(n));
		all = sizeof(n) + aligned(n.n_namesz) + aligned(n.n_descsz);
		if (all > len)
			break;
		ret = take_note(r, (const char *)p + sizeof(n), n.n_namesz,
				n.n_type, p + sizeof(n) + aligned(n.n_namesz),
				n.n_descsz);
		if (ret)
			return ret;
		p += all;
		len -= all;
	}
	return 0;
}

static int take_core(struct core_regs *r, const uint8_t *p, size_t len)
{
	Elf64_Ehdr e;
	Elf64_Phdr ph;

	if (len < sizeof(e))
		return -EBADMSG;
	memcpy(&e, p, sizeof(e));
	if (memcmp(e.e_ident, ELFMAG, SELFMAG) ||
	    e.e_ident[EI_CLASS] != ELFCLASS64 || e.e_machine != EM_X86_64)
		return -EBADMSG;
	for (uint32_t i = 0; i < e.e_phnum; i++) {
		uint64_t at = e.e_phoff + (uint64_t)i * sizeof(ph);

		if (at > len - sizeof(ph))
			return -EBADMSG;
		memcpy(&ph, p + at, sizeof(ph));
		if (ph.p_type != PT_NOTE)
			continue;
		if (ph.p_offset > len || ph.p_filesz > len - ph.p_offset)
			return -EBADMSG;
		return take_notes(r, p + ph.p_offset, ph.p_filesz);
	}
	return -EBADMSG;
}

static int take_file(struct core_regs *r, int fd)
{
	off_t size = lseek(fd, 0, SEEK_END);
	uint8_t *p;
	ssize_t n;
	int ret;

	if (size <= 0 || size > (off_t)DUMP_MAX)
		return -EBADMSG;
	p = malloc((size_t)size);
	if (!p)
		return -ENOMEM;
	n = pread(fd, p, (size_t)size, 0);
	ret = n == size ? take_core(r, p, (size_t)size) : -EBADMSG;
	free(p);
	return ret;
}

/* ---- asking for it ---- */

static int dump_one_page(struct vmm *v, int fd, struct dlog_error *err)
{
	int ret = qmp_client_call(v->q, "getfd",
				  json_pack("{s:s}", "fdname", "dlog-core"), fd,
				  NULL, err);

	if (ret)
		return ret;
	return qmp_client_call(v->q, "dump-guest-memory",
			       json_pack("{s:b,s:s,s:i,s:i}", "paging", 0,
					 "protocol", "fd:dlog-core", "begin", 0,
					 "length", (int)PAGE),
			       -1, NULL, err);
}

int vmm_registers(struct vmm *v, struct core_regs *r, struct dlog_error *err)
{
	int fd = memfd_create("dlog-core", MFD_CLOEXEC);
	int ret;

	if (fd < 0)
		return fail(err, -errno, "No memory for registers: %s.",
			    strerror(errno));
	ret = dump_one_page(v, fd, err);
	if (!ret) {
		ret = take_file(r, fd);
		if (!ret && !r->nr)
			ret = -EBADMSG;
		if (ret)
			fail(err, ret,
			     "QEMU gave no registers of CPUs in 64-bit mode: "
			     "the guest's kernel may not run yet. Without "
			     "--qmp the core has none.");
	}
	close(fd);
	if (!ret)
		snprintf(r->from, sizeof(r->from), "from QEMU, which says: %s",
			 v->state);
	return ret;
}
