// SPDX-License-Identifier: GPL-2.0-only
/*
 * memory.c - probes at memory, by virtual or physical address, and at devices
 * that are accessed as memory.
 *
 * With a probe here each access of the guest calls on_access(), which looks
 * at the virtual address first; without one nothing is placed.  An access hits
 * a range when one byte of it lies there, and a device when it is its: what
 * QEMU calls by that name ("info mtree").
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "access.h"
#include "probe.h"

struct range {
	uint64_t from, to; /* where it is now; from > to: not known yet */
	struct probe *probe;
};

static struct {
	pthread_once_t once;
	struct range *virt, *phys, *devices; /* of devices: the probe alone */
	unsigned int nr_virt, nr_phys, nr_devices;
	uint64_t low, high; /* of all virtual ranges */
	uint64_t chunks; /* 64ths of a page that a physical range touches */
	bool moved; /* some lie where the kernel does */
	enum qemu_plugin_cb_flags flags;
	pthread_mutex_t lock; /* of moving */
} mem = {
	.once = PTHREAD_ONCE_INIT,
	.low = UINT64_MAX,
	.lock = PTHREAD_MUTEX_INITIALIZER,
};

static uint64_t load(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static void store(uint64_t *p, uint64_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELAXED);
}

/*
 * QEMU before 8.2 gives the place in its own list of memories for the physical
 * address of memory, which is something else.
 */
int memory_check(struct probe *p)
{
	p->has_value = api.mem_get_value != NULL;
	if (p->needs_value && !p->has_value)
		return probe_error(
			p,
			"values of accesses (%s) are not told by this QEMU, which speaks plugin API %d: QEMU 9.2 and later tell them",
			p->needs_value, api.version);
	if (api.version < 2 &&
	    (p->needs_physical || p->space == SPACE_PHYSICAL))
		return probe_error(
			p,
			"physical addresses (%s) are not told by this QEMU, which speaks plugin API %d: QEMU 9.0 and later tell them",
			p->needs_physical ? p->needs_physical : "phys:",
			api.version);
	return 0;
}

/* ---- where the ranges are ---- */

static bool is_range(const struct probe *p, enum probe_space space)
{
	return p->kind != PROBE_EXEC && p->space == space;
}

static void add(struct range *r, struct probe *p)
{
	r->probe = p;
	r->from = p->moved ? UINT64_MAX : p->from;
	r->to = p->moved ? 0 : p->to;
	if (p->moved)
		mem.moved = true;
	if (p->needs_registers || p->needs_memory)
		mem.flags = QEMU_PLUGIN_CB_R_REGS;
}

static void find_bounds(void)
{
	uint64_t low = UINT64_MAX, high = 0;

	for (unsigned int i = 0; i < mem.nr_virt; i++) {
		if (mem.virt[i].from < low)
			low = mem.virt[i].from;
		if (mem.virt[i].to > high)
			high = mem.virt[i].to;
	}
	store(&mem.low, low);
	store(&mem.high, high);
}

/*
 * Where in its page an access is, is the same in virtual and in physical
 * addresses: for narrow ranges QEMU need not be asked for most accesses.
 */
static uint64_t chunk(uint64_t address)
{
	return 1ull << address % ACCESS_PAGE / (ACCESS_PAGE / 64);
}

static uint64_t range_chunks(const struct range *r)
{
	uint64_t chunks = chunk(r->to), len = r->to - r->from;

	if (len >= ACCESS_PAGE - 1)
		return UINT64_MAX;
	for (uint64_t i = 0; i < len; i += ACCESS_PAGE / 64)
		chunks |= chunk(r->from + i);
	return chunks;
}

/* At the first translation: all probes have been read. */
static void collect(void)
{
	mem.virt = calloc(nr_probes + 1, sizeof(*mem.virt));
	mem.phys = calloc(nr_probes + 1, sizeof(*mem.phys));
	mem.devices = calloc(nr_probes + 1, sizeof(*mem.devices));
	if (!mem.virt || !mem.phys || !mem.devices) {
		record_say(3, "no memory: probes at memory are not placed");
		return;
	}
	for (unsigned int i = 0; i < nr_probes; i++) {
		if (is_range(&probes[i], SPACE_VIRTUAL))
			add(&mem.virt[mem.nr_virt++], &probes[i]);
		else if (is_range(&probes[i], SPACE_PHYSICAL))
			add(&mem.phys[mem.nr_phys++], &probes[i]);
		else if (is_range(&probes[i], SPACE_DEVICE))
			add(&mem.devices[mem.nr_devices++], &probes[i]);
	}
	for (unsigned int i = 0; i < mem.nr_phys; i++)
		mem.chunks |= range_chunks(&mem.phys[i]);
	find_bounds();
}

/* A kernel may have started, or another one. */
static void follow_kernel(void)
{
	pthread_mutex_lock(&mem.lock);
	for (unsigned int i = 0; i < mem.nr_virt; i++) {
		struct range *r = &mem.virt[i];
		uint64_t from = UINT64_MAX, to = 0;

		if (!r->probe->moved)
			continue;
		probe_place(r->probe, &from, &to);
		store(&r->from, from);
		store(&r->to, to);
	}
	find_bounds();
	pthread_mutex_unlock(&mem.lock);
}

/* ---- accesses ---- */

static bool wants(const struct probe *p, bool is_store)
{
	return p->kind == PROBE_ACCESS ||
	       p->kind == (is_store ? PROBE_WRITE : PROBE_READ);
}

static bool touches(const struct range *r, uint64_t first, uint32_t len)
{
	uint64_t from = load(&r->from), to = load(&r->to);

	return len && from <= to && first <= to &&
	       (first >= from || from - first < len);
}

/* An access, of which more is found out when it hits. */
struct seen {
	unsigned int vcpu;
	qemu_plugin_meminfo_t info;
	uint64_t vaddr;
	const void *word;
	uint32_t size;
	/* Physical: of the page it begins in, and of the next one; len 0: not
	 * known, or nothing is in it. */
	bool placed;
	uint64_t physical[2];
	uint32_t len[2];
	const char *device;
	bool filled, hidden_read;
	struct hit hit;
};

/* What QEMU has looked up for the access itself. */
static void find_place(struct seen *s)
{
	struct qemu_plugin_hwaddr *hw = api.get_hwaddr(s->info, s->vaddr);

	s->placed = true;
	if (!hw)
		return;
	if (api.hwaddr_is_io(hw))
		s->device = api.hwaddr_device_name(hw);
	if (api.version < 2)
		return;
	s->physical[0] = api.hwaddr_phys_addr(hw);
	s->len[0] = access_in_page(s->vaddr, s->size);
	if (s->len[0] == s->size)
		return;
	hw = api.get_hwaddr(s->info, s->vaddr + s->len[0]);
	if (!hw)
		return;
	s->physical[1] = api.hwaddr_phys_addr(hw);
	s->len[1] = s->size - s->len[0];
}

static void fill(struct seen *s)
{
	struct access a;

	s->filled = true;
	if (!s->placed)
		find_place(s);
	access_get(&a, s->vcpu, s->info, s->vaddr, s->word);
	s->hit = (struct hit){
		.vcpu = s->vcpu,
		.pc = a.pc,
		.executed = a.executed,
		.address = s->vaddr,
		.physical = s->physical[0],
		.has_physical = s->len[0],
		.device = s->device,
		.value = a.value,
		.value_high = a.value_high,
		.has_value = a.has_value,
		.size = (uint8_t)a.size,
		.store = a.store,
	};
	s->hidden_read = access_hides_read(s->vcpu, &a, s->word);
}

static void hit_once(struct probe *p, struct hit *h, bool is_store)
{
	h->store = is_store;
	if (wants(p, is_store))
		probe_hit(p, h);
}

static void hit_probe(struct probe *p, struct seen *s)
{
	struct hit h;

	if (!s->filled)
		fill(s);
	h = s->hit;
	if (s->hidden_read)
		hit_once(p, &h, false);
	hit_once(p, &h, s->hit.store);
}

/* Could it be in one of the virtual ranges?  Most accesses are far away. */
static bool near(uint64_t vaddr)
{
	uint64_t low = load(&mem.low);

	return vaddr <= load(&mem.high) &&
	       (vaddr >= low || low - vaddr < ACCESS_MAX);
}

static void find_virtual(struct seen *s)
{
	for (unsigned int i = 0; i < mem.nr_virt; i++)
		if (touches(&mem.virt[i], s->vaddr, s->size))
			hit_probe(mem.virt[i].probe, s);
}

static void find_others(struct seen *s)
{
	find_place(s);
	for (unsigned int i = 0; i < mem.nr_phys; i++)
		if (touches(&mem.phys[i], s->physical[0], s->len[0]) ||
		    touches(&mem.phys[i], s->physical[1], s->len[1]))
			hit_probe(mem.phys[i].probe, s);
	for (unsigned int i = 0; s->device && i < mem.nr_devices; i++)
		if (!strcmp(mem.devices[i].probe->device, s->device))
			hit_probe(mem.devices[i].probe, s);
}

static void on_access(unsigned int vcpu, qemu_plugin_meminfo_t info,
		      uint64_t vaddr, void *word)
{
	uint32_t size = access_size(info);
	bool others = mem.nr_devices ||
		      mem.chunks & (chunk(vaddr) | chunk(vaddr + size - 1));
	struct seen s;

	if (!others && !near(vaddr))
		return;
	s.vcpu = vcpu;
	s.info = info;
	s.vaddr = vaddr;
	s.word = word;
	s.size = size;
	s.placed = s.filled = false;
	s.len[0] = s.len[1] = 0;
	s.device = NULL;
	if (others)
		find_others(&s);
	find_virtual(&s);
}

void memory_translate(const struct block *b)
{
	pthread_once(&mem.once, collect);
	if (mem.moved)
		follow_kernel();
	if (!mem.nr_phys && !mem.nr_devices && load(&mem.low) > load(&mem.high))
		return;
	for (size_t i = 0; i < b->n; i++)
		api.register_vcpu_mem_cb(api.tb_get_insn(b->tb, i), on_access,
					 mem.flags, QEMU_PLUGIN_MEM_RW,
					 access_word(b, i));
}
