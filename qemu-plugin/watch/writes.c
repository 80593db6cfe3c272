// SPDX-License-Identifier: GPL-2.0-only
/*
 * writes.c - trace-writes=on: who stores what where in the guest's region.
 *
 * Each store of the guest calls on_store(), which asks QEMU where in physical
 * memory it went.  Where the region lies there QEMU does not tell, so the
 * first store into it shows it: the whole region is guarded before the guest
 * runs (guard.c); the fault says at which offset the store goes, the callback
 * that follows in the same thread says its address, and the difference holds
 * for all others.  That store and all behind it are recorded.
 *
 * What the address is: the guest-physical one from QEMU 8.2 on.  Before, QEMU
 * makes it from its own list of memories, where two may come to lie over each
 * other; but there what qemu_plugin_get_hwaddr() returns holds the address in
 * QEMU itself, behind two bools (plugins/api.c and qemu/plugin-memory.h, 4.2
 * to 8.1).  The fault gives that address too: where both agree it is used.
 *
 * Several vCPUs: one that stores after the first one's fault, and is told of
 * it before the first one is, waits for it; see settle().
 *
 * The region may move (a guest that places its PCI devices anew).  guard.c
 * goes on to tell of single stores, at heartbeats, for the clocks: each of
 * them shows again where the region lies.
 *
 * Not told to plugins, so not seen here: what devices store, and what a CPU
 * stores by itself (frames of interrupts, accessed and dirty bits, and from
 * QEMU 9.1 on fxsave and xsave).  When such a store meets a guard it is said.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "access.h"
#include "watch.h"

#define WAIT_NS 100000000u /* for another vCPU's callback */
#define KNOWN 1u /* bits of writes.base, which is whole pages */
#define BY_HOST 2u

static struct {
	pthread_once_t once;
	int id;
	bool counted, begun, on;
	uint64_t base; /* address of the region's first byte; 0: not known */
	uint32_t faulted; /* vCPUs that have, and whose callback is to come */
	uint64_t foreign, foreign_offset, foreign_told; /* other threads */
} writes = { .once = PTHREAD_ONCE_INIT };

/* In the handler too: no allocation when it is first touched. */
static __thread __attribute__((tls_model("initial-exec"))) struct {
	bool vcpu; /* this thread is one */
	bool faulted;
	uint64_t offset;
	uintptr_t address;
} me;

int writes_begin(void)
{
	if (!plugin.opt.trace_writes)
		return 0;
	writes.counted = count_known();
	writes.id = record_event_type(
		"dlog:store",
		writes.counted
			? "u32 vcpu;x64 pc;u64 executed;x64 offset;u8 size;bytes data"
			: "u32 vcpu;x64 pc;x64 offset;u8 size;bytes data");
	return writes.id < 0 ? writes.id : 0;
}

/* ---- the first store, and others that are guarded ---- */

/* In the signal handler. */
static bool on_guard(uint64_t offset, uintptr_t address)
{
	if (!me.vcpu) {
		__atomic_store_n(&writes.foreign_offset, offset,
				 __ATOMIC_RELAXED);
		__atomic_add_fetch(&writes.foreign, 1, __ATOMIC_RELEASE);
		return false;
	}
	if (!me.faulted)
		__atomic_add_fetch(&writes.faulted, 1, __ATOMIC_ACQ_REL);
	me.faulted = true;
	me.offset = offset;
	me.address = address;
	return true;
}

static void fault_done(void)
{
	uint32_t n = __atomic_load_n(&writes.faulted, __ATOMIC_ACQUIRE);

	me.faulted = false;
	while (n &&
	       !__atomic_compare_exchange_n(&writes.faulted, &n, n - 1, true,
					    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		;
}

/*
 * One page's share of a store.  @host: in QEMU's memory, of versions that tell
 * it, else something else.
 */
struct part {
	uint64_t vaddr, address, host;
	uint32_t len;
	uint32_t skip; /* bytes of the store that lie before it */
	bool memory;
};

static void part_find(struct part *p, qemu_plugin_meminfo_t info)
{
	const struct qemu_plugin_hwaddr *hw = api.get_hwaddr(info, p->vaddr);

	p->memory = hw && !api.hwaddr_is_io(hw);
	if (!p->memory)
		return;
	p->address = api.hwaddr_phys_addr(hw);
	if (api.version == 1)
		memcpy(&p->host, (const uint8_t *)hw + 8, sizeof(p->host));
}

/* Offset of @p in the region. */
static bool part_inside(const struct part *p, uint64_t *offset)
{
	uint64_t base = __atomic_load_n(&writes.base, __ATOMIC_ACQUIRE);

	*offset = (base & BY_HOST ? p->host : p->address) -
		  (base - base % ACCESS_PAGE);
	return p->memory && base && *offset < guard_size;
}

/* The bytes as they are: what this store has put there, or one behind it. */
static void part_bytes(const struct access *a, const struct part *p,
		       uint64_t offset, uint8_t *out)
{
	uint64_t value[2] = { a->value, a->value_high };

	if (a->has_value)
		memcpy(out, (const uint8_t *)value + p->skip, p->len);
	else if (guard_read(offset, out, p->len))
		memset(out, 0, p->len);
}

/* Does the region hold at @offset what the store has put there? */
static bool part_is_at(const struct access *a, const struct part *p,
		       uint64_t offset)
{
	uint8_t stored[ACCESS_MAX], there[ACCESS_MAX];

	part_bytes(a, p, offset, stored);
	return !guard_read(offset, there, p->len) &&
	       !memcmp(stored, there, p->len);
}

/* Is it the store that has faulted in this thread?  Then learn from it. */
static void part_learn(const struct access *a, const struct part *p)
{
	uint64_t into = (me.offset - p->vaddr) % ACCESS_PAGE;
	uint64_t offset = me.offset - into;
	uint64_t base, known;

	if (!me.faulted || !p->memory || into >= p->len)
		return;
	if (part_inside(p, &known) && known == offset) {
		fault_done();
		return;
	}
	if (!part_is_at(a, p, offset))
		return;
	if (api.version == 1 && p->host == me.address - into)
		base = (p->host - offset) | KNOWN | BY_HOST;
	else
		base = (p->address - offset) | KNOWN;
	if (base % ACCESS_PAGE > (KNOWN | BY_HOST))
		return;
	__atomic_store_n(&writes.base, base, __ATOMIC_RELEASE);
	fault_done();
}

/*
 * A fault whose store no callback has told of.  Not known where the region
 * lies: another try.
 */
static void fault_lost(unsigned int vcpu)
{
	record_say(
		4,
		"vCPU %u, or a device that it has started, has stored at offset 0x%llx of the watched region, and not by an instruction that QEMU tells of: pc and bytes are not known",
		vcpu, (unsigned long long)me.offset);
	if (!__atomic_load_n(&writes.base, __ATOMIC_ACQUIRE))
		guard_arm_all();
	fault_done();
}

/*
 * Another vCPU may have faulted and not yet learned what this one needs to
 * know.  Its callback follows at once; it does not wait for us.
 */
static bool settle(void)
{
	uint64_t begin;

	if (!__atomic_load_n(&writes.faulted, __ATOMIC_ACQUIRE))
		return false;
	begin = record_now();
	while (__atomic_load_n(&writes.faulted, __ATOMIC_ACQUIRE)) {
		if (record_now() - begin < WAIT_NS) {
			sched_yield();
			continue;
		}
		/* No callback comes: it was no instruction's store. */
		__atomic_store_n(&writes.faulted, 0, __ATOMIC_RELEASE);
	}
	return true;
}

/* ---- stores ---- */

static void put_number(uint8_t **at, uint64_t v, size_t size)
{
	memcpy(*at, &v, size); /* both are little-endian */
	*at += size;
}

static void part_record(unsigned int vcpu, const struct access *a,
			const struct part *p, uint64_t offset)
{
	uint8_t record[64], *at = record;

	put_number(&at, vcpu, 4);
	put_number(&at, a->pc, 8);
	if (writes.counted)
		put_number(&at, a->executed, 8);
	put_number(&at, offset, 8);
	put_number(&at, p->len, 1);
	put_number(&at, p->len, 2);
	part_bytes(a, p, offset, at);
	record_event(vcpu, writes.id, record, (size_t)(at - record) + p->len);
}

/* Whose two parts lie in two pages. */
struct store {
	struct access access;
	struct part part[2];
};

static void record_parts(unsigned int vcpu, const struct store *s)
{
	uint64_t offset;

	for (unsigned int i = 0; i < 2; i++)
		if (part_inside(&s->part[i], &offset))
			part_record(vcpu, &s->access, &s->part[i], offset);
}

static void find_parts(struct store *s, qemu_plugin_meminfo_t info,
		       uint64_t vaddr, uint32_t size)
{
	uint32_t first = access_in_page(vaddr, size);

	s->part[0] = (struct part){ .vaddr = vaddr, .len = first };
	part_find(&s->part[0], info);
	s->part[1] = (struct part){ .memory = false };
	if (first == size)
		return;
	s->part[1] = (struct part){ .vaddr = vaddr + first,
				    .len = size - first,
				    .skip = first };
	part_find(&s->part[1], info);
}

static void on_store(unsigned int vcpu, qemu_plugin_meminfo_t info,
		     uint64_t vaddr, void *word)
{
	struct store s;
	uint64_t offset;

	if (!api.mem_is_store(info))
		return;
	me.vcpu = true;
	find_parts(&s, info, vaddr, access_size(info));
	/* Most go elsewhere. */
	if (!me.faulted && !part_inside(&s.part[0], &offset) &&
	    !part_inside(&s.part[1], &offset) && !settle())
		return;
	access_get(&s.access, vcpu, info, vaddr, word);
	part_learn(&s.access, &s.part[0]);
	part_learn(&s.access, &s.part[1]);
	if (me.faulted)
		fault_lost(vcpu);
	record_parts(vcpu, &s);
}

/* At the first translation: QEMU has all its memory, the guest has not run. */
static void begin(void)
{
	guard_told = on_guard;
	writes.on = !guard_begin() && guard_arm_all();
	if (!writes.on)
		tell("%s is not among this QEMU's memory: no store is traced; give the guest that file with share=on",
		     plugin.opt.watch);
	__atomic_store_n(&writes.begun, true, __ATOMIC_RELEASE);
}

bool writes_begun(void)
{
	return !plugin.opt.trace_writes ||
	       __atomic_load_n(&writes.begun, __ATOMIC_ACQUIRE);
}

void writes_translate(const struct block *b)
{
	pthread_once(&writes.once, begin);
	me.vcpu = true;
	if (!writes.on)
		return;
	for (size_t i = 0; i < b->n; i++)
		api.register_vcpu_mem_cb(api.tb_get_insn(b->tb, i), on_store,
					 QEMU_PLUGIN_CB_NO_REGS,
					 QEMU_PLUGIN_MEM_RW, access_word(b, i));
}

void writes_beat(void)
{
	uint64_t n = __atomic_load_n(&writes.foreign, __ATOMIC_ACQUIRE);

	if (n == writes.foreign_told)
		return;
	writes.foreign_told = n;
	record_say(
		4,
		"a device or QEMU itself has stored at offset 0x%llx of the watched region: pc and bytes are not known",
		(unsigned long long)__atomic_load_n(&writes.foreign_offset,
						    __ATOMIC_RELAXED));
}
