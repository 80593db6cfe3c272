// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_hypervisor.c - dlog-hv's core on hostile regions, in user space.
 *
 * The machine is played by the functions below, the region lies at one
 * address below 4 GiB as on a machine.  Each life is a process: it takes the
 * region that the life before has left damaged, shows its old log, plays the
 * driver's and an attacker's stores, and dies.  What must hold: no access
 * outside the region (sanitizers, and a hole around it), superblocks and the
 * table's other slots unchanged by any store that was played.
 */
#include <setjmp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hv.h"

#include <cmocka.h>

#define BASE UINT64_C(0x12000000)
#define SIZE (512 * 1024)
#define LIVES 120

static u8 *mem;
static u64 ticks;

void arch_console(char c)
{
	assert_true(c == '\n' || c == '\t' || (c >= ' ' && c < 0x7f));
}

u64 arch_ns(void)
{
	return ticks += 1000;
}

u64 arch_wall(void)
{
	return UINT64_C(1700000000000000000);
}

void arch_random(u8 *to, size_t n)
{
	while (n--)
		*to++ = (u8)rand();
}

void lock(u32 *word)
{
	assert_int_equal(*word, 0);
	*word = 1;
}

bool try_lock(u32 *word)
{
	bool taken = !*word;

	*word = 1;
	return taken;
}

void unlock(u32 *word)
{
	*word = 0;
}

/* ---- CPUs, as death() sees them ---- */

u32 nr_cpus = 2;

struct vcpu {
	u64 ip;
} cpu[2];

struct vcpu *arch_cpu(u32 i)
{
	return &cpu[i];
}

u32 arch_cpu_id(const struct vcpu *v)
{
	return (u32)(v - cpu);
}

bool arch_cpu_known(const struct vcpu *self, const struct vcpu *v)
{
	(void)self;
	(void)v;
	return true;
}

const char *arch_cpu_state(const struct vcpu *v)
{
	(void)v;
	return "ran";
}

u64 arch_ip(struct vcpu *v)
{
	return v->ip;
}

u64 arch_sp(struct vcpu *v)
{
	(void)v;
	return 0;
}

void arch_registers(struct vcpu *v, u64 *control, u8 *prstatus)
{
	memset(control, 0, 64);
	memset(prstatus, 0, PRSTATUS_SIZE);
	memcpy(prstatus + 112 + 16 * 8, &v->ip, 8);
}

bool arch_exit(const struct vcpu *v, u32 i, struct hv_exit *e)
{
	(void)v;
	(void)i;
	(void)e;
	return false;
}

const char *arch_exit_name(u64 code)
{
	(void)code;
	return "";
}

u64 arch_exits(const struct vcpu *v, u64 code)
{
	(void)v;
	return code == 0x400;
}

size_t arch_read(struct vcpu *v, u64 va, void *to, size_t n)
{
	(void)v;
	(void)va;
	memset(to, 0, n);
	return n;
}

void arch_walk(struct vcpu *v, u64 va, void (*say)(const char *line))
{
	(void)v;
	(void)va;
	say("no mapping");
}

void arch_save(struct vcpu *v)
{
	(void)v;
}

void arch_stop_others(struct vcpu *v)
{
	(void)v;
}

void arch_go_on(void)
{
}

void arch_check_stop(struct vcpu *v)
{
	fail_msg("CPU %u waits for ever", arch_cpu_id(v));
}

void arch_reset(void)
{
	abort();
}

void arch_restart(struct vcpu *v, u32 *held)
{
	(void)v;
	(void)held;
	abort();
}

void arch_halt(void)
{
	abort();
}

static u64 any(void)
{
	return (u64)rand() << 42 ^ (u64)rand() << 21 ^ (u64)rand();
}

static void damage(void)
{
	u64 at = any() % SIZE, n = any() % (SIZE - at);
	struct dlog_superblock sb = region.sb;
	u32 *word = (u32 *)&sb + 4 + rand() % 50;

	switch (rand() % 4) {
	case 0:
		memset(mem + at, rand(), n);
		break;
	case 1:
		for (u32 i = 0; i < 300; i++)
			mem[any() % SIZE] = (u8)rand();
		break;
	case 2:
		/* A superblock that is whole and says something else. */
		*word = (u32)(any() >> rand() % 32);
		sb.compat = sb.ro_compat = sb.incompat = 0;
		dlog_super_seal(&sb);
		memcpy(mem, &sb, sizeof(sb));
		break;
	}
}

/* The stores of dlog_region_begin(), one by one. */
static void driver_begins(void)
{
	struct dlog_boot_info info = { .time = any() >> rand() % 64 };
	static struct dlog_ring_end ends[DLOG_RINGS_MAX];
	static u8 copy[SIZE] __attribute__((aligned(8)));
	struct dlog_region rg;
	u32 before = region.boot;
	u64 at, size;

	memcpy(copy, mem, SIZE);
	if (dlog_region_open(&rg, copy, SIZE) != DLOG_SUPER_OK)
		return;
	dlog_region_begin(&rg, &info, ends);
	at = (u64)((u8 *)dlog_boot_slot(&rg, rg.boot) - copy);
	size = sizeof(struct dlog_boot) +
	       rg.sb.nr_rings * sizeof(struct dlog_boot_ring);
	assert_int_equal(region_store(BASE + at, 0, 4), 0);
	for (u64 i = 4; i < size; i += 4)
		assert_int_equal(region_store(BASE + at + i,
					      dlog_load32(copy + at + i), 4),
				 0);
	assert_int_equal(region.boot, before);
	assert_int_equal(region_store(BASE + at, dlog_load32(copy + at), 4), 0);
	assert_int_equal(region.boot, rg.boot);
	assert_true(region_has_boot());
}

static void attack(void)
{
	static u8 before[SIZE];
	const struct dlog_superblock *sb = &region.sb;
	u32 next = region.boot + 1 ? region.boot + 1 : 1;
	u64 slot = sb->boot_off +
		   (next - 1) % sb->boot_slots * (u64)sb->boot_stride;
	u64 state = sb->state_off + offsetof(struct dlog_state, status);

	memcpy(before, mem, SIZE);
	for (u32 i = 0; i < 500; i++) {
		u64 off = rand() % 2 ? any() % SIZE
				     : sb->state_off + any() % (sb->clock_off -
								sb->state_off);
		u32 size = rand() % 2 ? 8 : 4;

		off &= rand() % 8 ? ~UINT64_C(7) : ~UINT64_C(0);
		if (!region_protects(BASE + off) || off + size > SIZE ||
		    region_store(BASE + off, any(), size))
			continue;
		/* Played: a line, a slot, or a neighbour on the page. */
		assert_false(off < DLOG_PAGE || off >= sb->backup_off);
		if (off >= sb->state_off && off < sb->state_off + DLOG_PAGE)
			assert_true(off >= state && off < state + 64);
		if (off >= sb->boot_off &&
		    off < sb->boot_off + sb->boot_slots * sb->boot_stride)
			assert_true(off >= slot &&
				    off < slot + sb->boot_stride);
	}
	assert_memory_equal(before, mem, DLOG_PAGE);
	assert_memory_equal(before + sb->backup_off, mem + sb->backup_off,
			    DLOG_PAGE);
}

static void live(unsigned int seed)
{
	srand(seed);
	mem_set(&guest_map, BASE, BASE + SIZE, MEM_RAM);
	free_map = guest_map;
	opt.region_size = SIZE;
	opt.region_addr = BASE;
	opt.region_new = seed % 40 == 0;
	if (!region_start(1 + (u32)rand() % 3)) {
		region_show();
		if (rand() % 2)
			driver_begins();
		attack();
		region_own_boot();
		for (u32 i = 0; i < 200; i++)
			hv_log(HV_INFO, "line %u of life %u", i, seed);
	}
	damage();
}

static void hostile_regions(void **state)
{
	(void)state;
	mem = mmap((void *)BASE, SIZE, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	assert_ptr_equal(mem, (void *)BASE);
	for (unsigned int i = 0; i < LIVES; i++) {
		pid_t child = fork();
		int status;

		assert_true(child >= 0);
		if (!child) {
			alarm(20);
			live(i);
			_exit(0);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
	}
}

/* What one life says the next one reads, with the driver's boot number. */
static void two_lives(void **state)
{
	(void)state;
	memset(mem, 0, SIZE);
	mem_set(&guest_map, BASE, BASE + SIZE, MEM_RAM);
	free_map = guest_map;
	opt.region_size = SIZE;
	opt.region_addr = BASE;
	opt.region_new = true;
	hv_log(HV_INFO, "before there is a boot");
	assert_int_equal(region_start(2), 0);
	assert_int_equal(region.sb.nr_rings, 3);
	assert_int_equal(region.boot, 0);
	assert_false(region_has_boot());
	driver_begins();
	assert_int_equal(region.boot, 1);
	driver_begins();
	assert_int_equal(region.boot, 2);
	/* The control word is the host's, older boots are history. */
	assert_int_not_equal(region_store(BASE + region.sb.state_off, 1, 4), 0);
	assert_int_not_equal(region_store(BASE + region.sb.boot_off, 0, 4), 0);
	assert_int_equal(region_store(BASE + region.sb.state_off + 64,
				      UINT64_C(2) << 32 | DLOG_ST_PANIC, 8),
			 0);
	assert_int_not_equal(region_store(BASE + region.sb.state_off + 64,
					  UINT64_C(3) << 32 | DLOG_ST_PANIC, 8),
			     0);
	assert_int_not_equal(region_store(BASE + region.sb.state_off + 64,
					  UINT64_C(2) << 32 | DLOG_ST_MAX, 8),
			     0);
}

/* What the slot of a CPU holds: its rip, or 0 if it proves nothing. */
static u64 slot_ip(u32 i)
{
	u64 off = region.sb.regs_off + i * region.sb.regs_stride, ip;
	const struct dlog_regs *r = (const void *)(mem + off);

	if (r->boot != region.boot || r->size != sizeof(*r) + PRSTATUS_SIZE ||
	    r->check != dlog_object_check(
				r, r->size,
				dlog_region_seed(&region, DLOG_SEED_REGS), off))
		return 0;
	memcpy(&ip, r->prstatus + 112 + 16 * 8, 8);
	return ip;
}

static void dies(enum hv_cause cause, u64 ip, enum dlog_status status)
{
	const struct dlog_state *st = dlog_region_state(&region);

	cpu[0].ip = ip;
	death(&cpu[0], cause, "it died");
	assert_int_equal(st->boot, region.boot);
	assert_int_equal(st->status, status);
}

/*
 * A guest that goes on after each record: the last death counts, except what
 * its own panic has written.  Goes on with the region of two_lives().
 */
static void deaths_in_a_row(void **state)
{
	struct dlog_regs head = { .cpu = 1, .reason = DLOG_ST_PANIC };
	struct dlog_state *st = dlog_region_state(&region);
	u8 prstatus[PRSTATUS_SIZE];
	u64 time;

	(void)state;
	opt.on_fault = opt.on_hang = opt.on_reset = HV_RECORD;
	driver_begins();
	dlog_region_status(&region, DLOG_ST_BOOTING, 5);
	dies(CAUSE_VIOLATION, 0x1000, DLOG_ST_BOOTING);
	assert_int_equal(slot_ip(0), 0x1000);
	dies(CAUSE_HANG, 0x2000, DLOG_ST_HARD_LOCKUP);
	assert_int_equal(slot_ip(0), 0x2000);
	/* A hang that was survived does not hide how it ended. */
	dies(CAUSE_FAULT, 0x3000, DLOG_ST_EMERGENCY);
	assert_int_equal(slot_ip(0), 0x3000);

	driver_begins();
	dlog_region_status(&region, DLOG_ST_PANIC, 77);
	cpu[1].ip = 0x5555;
	arch_registers(&cpu[1], head.control, prstatus);
	dlog_region_regs(&region, &head, prstatus, sizeof(prstatus));
	cpu[1].ip = 0x6666;
	dies(CAUSE_RESET, 0x4000, DLOG_ST_PANIC);
	time = st->status_time;
	assert_int_equal(time, 77);
	assert_int_equal(slot_ip(0), 0x4000);
	assert_int_equal(slot_ip(1), 0x5555);
	/* A slot that only looks like the panic's is no reason to keep it. */
	mem[region.sb.regs_off + region.sb.regs_stride + 200]++;
	dies(CAUSE_RESET, 0x4000, DLOG_ST_PANIC);
	assert_int_equal(slot_ip(1), 0x6666);
}

static void options(void **state)
{
	struct hv_options before;

	(void)state;
	opt.on_hang = HV_RESET;
	opt.watchdog_ms = 10000;
	opt.console = 0x3f8;
	before = opt;
	options_parse("on-hang=halt,foo on-hang= watchdog= watchdog=s "
		      "console=foo console=0 region=1 watchdog=9999");
	assert_memory_equal(&before, &opt, sizeof(opt));
	options_parse("on-hang=record,halt watchdog=7s console=0x2e8");
	assert_int_equal(opt.on_hang, HV_HALT);
	assert_int_equal(opt.watchdog_ms, 7000);
	assert_int_equal(opt.console, 0x2e8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hostile_regions),
		cmocka_unit_test(two_lives),
		cmocka_unit_test(deaths_in_a_row),
		cmocka_unit_test(options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
