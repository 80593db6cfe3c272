// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_baremetal.c - what guest-patch/baremetal writes, libdlog reads; and
 * what it must not write.
 */
#include <errno.h>
#include <pthread.h>

#include "world.h"

#include "dlog_client.h"

#define SIZE (1u << 20)

/* A kernel with a clock that goes 10 ns at each look. */
struct kernel {
	struct world w; /* the region; its writers are not used */
	struct dlog_client c;
	struct dlog_client_setup setup;
	uint64_t now;
	uint32_t begun; /* of CPU 1, when the clock was read last */
	uint8_t memory[DLOG_CLIENT_MEMORY(W_RINGS)];
};

static uint64_t tick(void *arg)
{
	struct kernel *k = arg;
	struct dlog_cpu *cpu = dlog_region_cpu(&k->c.region, 1);

	k->begun = cpu ? __atomic_load_n(&cpu->begun, __ATOMIC_RELAXED) : 0;
	return __atomic_add_fetch(&k->now, 10, __ATOMIC_RELAXED);
}

static void k_setup(struct kernel *k)
{
	k->setup = (struct dlog_client_setup){
		.clock = tick,
		.arg = k,
		.memory = k->memory,
		.bytes = sizeof(k->memory),
		.cpus = 2,
		.period_ms = 100,
		.memtype = DLOG_MT_WB,
		.boot = { .real = 5000000000,
			  .release = "mine-1.0",
			  .machine = "toy" },
	};
}

static struct kernel *k_new(void)
{
	struct kernel *k = calloc(1, sizeof(*k));

	assert_non_null(k);
	w_format(&k->w, SIZE, 2, 4096, 8);
	k_setup(k);
	return k;
}

static void k_boot(struct kernel *k)
{
	assert_int_equal(dlog_client_open(&k->c, k->w.mem, SIZE),
			 DLOG_SUPER_OK);
	assert_int_equal(dlog_client_begin(&k->c, &k->setup), 0);
}

static void k_free(struct kernel *k)
{
	w_free(&k->w);
	free(k);
}

/* The next entry is of this kind, and its data is @text. */
static void expect(struct dlog_reader *r, uint32_t kind, uint32_t arg,
		   const void *text, size_t len)
{
	struct dlog_entry e;

	assert_int_equal(dlog_reader_next(r, &e, 0), 1);
	assert_int_equal(e.kind, kind);
	assert_int_equal(e.arg, arg);
	assert_int_equal(e.len, len);
	assert_memory_equal(e.data, text, len);
}

/* One record of each kind that the client has. */
static void all_kinds(void **state)
{
	static const char fields[] = "u32 unit; str what";
	static const uint8_t data[] = "\7\0\0\0\3\0abc";
	struct dlog_regs head = { .cpu = 1,
				  .reason = DLOG_ST_PANIC,
				  .machine = 62,
				  .control = { 0x80000011 } };
	struct dlog_client_x86_64 p = { .pid = 42 };
	struct kernel *k = k_new();
	struct dlog_event_desc desc;
	struct dlog_reg_entry regs;
	struct dlog_reader *r;
	struct dlog_entry e;
	struct dlog *d;
	int id;

	(void)state;
	p.reg[16] = 0xfeedface;
	k_boot(k);
	id = dlog_client_event_type(&k->c, "my:event", fields);
	assert_int_equal(id, 1);
	assert_int_equal(dlog_client_event_type(&k->c, "my:event", fields), 1);
	assert_int_equal(dlog_client_event_type(&k->c, "my:other", ""), 2);
	assert_int_equal(
		dlog_client_status(&k->c, 0, DLOG_ST_RUNNING, "all is well"),
		0);
	assert_int_equal(dlog_client_log(&k->c, 1, 4, "%s is %d", "x", -5), 0);
	assert_int_equal(dlog_client_event(&k->c, 0, id, data, 9), 0);
	assert_int_equal(dlog_client_regs(&k->c, &head, &p, sizeof(p)), 0);
	assert_int_equal(dlog_client_beat(&k->c, 1, true), 0);
	assert_int_equal(dlog_client_wall(&k->c, 7000000000, 1), 0);

	d = w_open(&k->w);
	assert_int_equal(dlog_reader_new(&r, &d, 1, 0, NULL), 0);
	assert_int_equal(dlog_reader_next(r, &e, 0), 1);
	assert_int_equal(e.kind, DLOG_KIND_BOOT);
	expect(r, DLOG_KIND_STATE, DLOG_ST_BOOTING, "", 0);
	expect(r, DLOG_KIND_STATE, DLOG_ST_RUNNING, "all is well", 11);
	expect(r, DLOG_KIND_TEXT, 4, "x is -5", 7);
	expect(r, DLOG_KIND_EVENT, 1, data, 9);
	assert_int_equal(dlog_reader_next(r, &e, 0), 1);
	assert_int_equal(e.kind, DLOG_KIND_REGS);
	assert_int_equal(e.ring, 1);
	assert_int_equal(e.len, 8 + 336);
	assert_memory_equal(e.data, "\1\0\0\0\4\0\0\0", 8);
	assert_memory_equal(e.data + 8, &p, sizeof(p));
	assert_int_equal(dlog_reader_next(r, &e, 0), 0);

	assert_int_equal(dlog_get_event(d, 1, &desc), 1);
	assert_string_equal(desc.name, "my:event");
	assert_string_equal(desc.fields, fields);
	assert_int_equal(dlog_get_regs(d, 1, 1, &regs), 1);
	assert_int_equal(regs.reason, DLOG_ST_PANIC);
	assert_int_equal(regs.control[0], 0x80000011);
	assert_memory_equal(regs.prstatus, &p, sizeof(p));
	assert_int_equal(dlog_real_time(d, 1, k->now + 5), 7000000005);
	dlog_reader_free(r);
	dlog_close(d);
	k_free(k);
}

/* Heartbeat, status, boot table as libdlog shows them. */
static void state_page(void **state)
{
	struct kernel *k = k_new();
	struct dlog_boot_entry *boots;
	struct dlog_live live;
	struct dlog_beat beat;
	struct dlog *d;

	(void)state;
	k_boot(k);
	dlog_client_status(&k->c, 0, DLOG_ST_PANIC, NULL);
	/* Who watches from outside sees it begin before the clock is read. */
	dlog_client_beat(&k->c, 1, true);
	assert_int_equal(k->begun, 1);
	dlog_client_beat(&k->c, 1, false);
	assert_int_equal(k->begun, 2);
	d = w_open(&k->w);
	assert_int_equal(dlog_get_beat(d, 1, &beat), 1);
	assert_int_equal(beat.boot, 1);
	assert_int_equal(beat.ring, 1);
	assert_int_equal(beat.beats, 2);
	assert_int_equal(beat.records, 0);
	assert_false(beat.online);
	assert_int_equal(dlog_get_beat(d, 0, &beat), 0);
	dlog_close(d);
	k_boot(k);
	d = w_open(&k->w);
	dlog_get_live(d, &live);
	assert_int_equal(live.status, DLOG_ST_BOOTING);
	assert_int_equal(live.boot, 2);
	assert_int_equal(live.period_ms, 100);
	assert_int_equal(live.memtype, DLOG_MT_WB);
	assert_int_equal(live.online, 2);
	assert_int_equal(dlog_get_boots(d, &boots), 2);
	assert_string_equal(boots[0].release, "mine-1.0");
	assert_string_equal(boots[0].machine, "toy");
	assert_int_equal(boots[0].end_status, DLOG_ST_PANIC);
	assert_int_equal(boots[1].boot, 2);
	assert_int_equal(boots[1].start_real, 5000000000);
	free(boots);
	dlog_close(d);
	k_free(k);
}

/* A boot_id of the newest boot makes the client go on with it. */
static void same_boot(void **state)
{
	struct kernel *k = k_new();

	(void)state;
	memset(k->setup.boot.boot_id, 7, 16);
	k_boot(k);
	assert_int_equal(k->c.region.boot, 1);
	k_boot(k);
	assert_int_equal(k->c.region.boot, 1);
	memset(k->setup.boot.boot_id, 8, 16);
	k_boot(k);
	assert_int_equal(k->c.region.boot, 2);
	k_free(k);
}

/*
 * A second producer in the boot of the first: its text in its own ring, both
 * in the same boot; what the first has said of its end stays.
 */
static void join(void **state)
{
	struct dlog_regs head = { .cpu = 1, .reason = DLOG_ST_PANIC };
	struct dlog_client_x86_64 first = { .pid = 1 }, second = { .pid = 2 };
	struct kernel *k = k_new();
	struct dlog_client_setup setup = k->setup;
	struct dlog_state *st = dlog_region_state(&k->w.rg);
	uint8_t memory[DLOG_CLIENT_MEMORY(1)], *before = malloc(SIZE);
	uint8_t *state_page = (uint8_t *)st;
	struct dlog_reg_entry regs;
	struct dlog_client c = { 0 };
	struct dlog_reader *r;
	struct dlog_entry e;
	uint32_t own = 0;
	struct dlog *d;
	uint64_t time;

	(void)state;
	setup.memory = memory;
	setup.bytes = sizeof(memory);
	setup.facility = 3;
	setup.cpus = 16;
	k->setup.cpus = 1; /* and ring 1 is the second producer's */
	assert_int_equal(dlog_client_join(&c, &setup, 1, 1, 0), -EINVAL);
	k_boot(k);
	assert_int_equal(dlog_client_join(&k->c, &setup, 1, 1, 0), -EINVAL);
	assert_int_equal(dlog_client_open(&c, k->w.mem, SIZE), DLOG_SUPER_OK);
	memcpy(before, k->w.mem, SIZE);
	assert_int_equal(dlog_client_join(&c, &setup, 0, 1, 0), -EINVAL);
	assert_int_equal(dlog_client_join(&c, &setup, 1, 2, 0), -EINVAL);
	assert_int_equal(dlog_client_join(&c, &setup, 1, 1, 8), -EINVAL);
	assert_int_equal(dlog_client_join(&c, &setup, 1, 1, DLOG_POSITION_END),
			 -EINVAL);
	setup.bytes = sizeof(struct dlog_ring) - 1;
	assert_int_equal(dlog_client_join(&c, &setup, 1, 1, 0), -ENOSPC);
	setup.bytes = sizeof(memory);
	setup.clock = NULL;
	assert_int_equal(dlog_client_join(&c, &setup, 1, 1, 0), -EINVAL);
	setup.clock = k->setup.clock;
	assert_int_equal(dlog_client_log(&c, 0, 6, "not yet"), -EAGAIN);
	assert_int_equal(dlog_client_join(&c, &setup, 1, 1, 0), 0);
	assert_int_equal(dlog_client_beat(&c, 0, true), 0);
	assert_memory_equal(before, k->w.mem, SIZE);

	assert_int_equal(dlog_client_log(&c, 15, 4, "from below"), 0);
	assert_int_equal(dlog_client_log(&c, 16, 4, "no"), -EINVAL);
	assert_int_equal(dlog_client_log(&k->c, 0, 6, "from above"), 0);
	dlog_client_regs(&k->c, &(struct dlog_regs){ .reason = 4 }, &first,
			 sizeof(first));
	dlog_client_status(&k->c, 0, DLOG_ST_PANIC, NULL);
	time = st->status_time;
	memcpy(before, state_page, 4096);
	assert_int_equal(dlog_client_status(&c, 3, DLOG_ST_PANIC, "seen"), 0);
	assert_memory_equal(before, state_page, 4096);
	head.cpu = 0;
	assert_int_equal(dlog_client_regs(&c, &head, &second, 336), 0);
	head.cpu = 1;
	assert_int_equal(dlog_client_regs(&c, &head, &second, 336), 0);
	assert_int_equal(dlog_client_status(&c, 3, DLOG_ST_HALT, ""), 0);
	assert_int_equal(st->status, DLOG_ST_HALT);
	assert_true(st->status_time > time);

	d = w_open(&k->w);
	assert_int_equal(dlog_get_regs(d, 0, 1, &regs), 1);
	assert_memory_equal(regs.prstatus, &first, sizeof(first));
	assert_int_equal(dlog_get_regs(d, 1, 1, &regs), 1);
	assert_memory_equal(regs.prstatus, &second, sizeof(second));
	assert_int_equal(dlog_reader_new(&r, &d, 1, 0, NULL), 0);
	while (dlog_reader_next(r, &e, 0) > 0) {
		assert_int_equal(e.boot, 1);
		own += e.ring == 1;
		if (e.kind == DLOG_KIND_TEXT && e.ring == 1) {
			assert_int_equal(e.arg, DLOG_PRI(3, 4));
			assert_memory_equal(e.data, "from below", 10);
		}
	}
	assert_int_equal(own, 5); /* text, two statuses, two registers */
	dlog_reader_free(r);
	dlog_close(d);

	/* The next boot, and one without a ring to go with. */
	k_boot(k);
	assert_int_equal(dlog_client_join(&c, &setup, 2, 1, 4096), 0);
	assert_int_equal(dlog_client_log(&c, 0, 4, "again"), 0);
	assert_int_equal(
		dlog_client_join(&c, &setup, 2, DLOG_CLIENT_NO_RING, 0), 0);
	assert_int_equal(dlog_client_log(&c, 0, 4, "x"), -EAGAIN);
	assert_int_equal(dlog_client_regs(&c, &head, &second, 336), -EAGAIN);
	d = w_open(&k->w);
	assert_int_equal(dlog_get_regs(d, 1, 2, &regs), 1);
	assert_int_equal(dlog_reader_new(&r, &d, 1, 0, NULL), 0);
	for (own = 0; dlog_reader_next(r, &e, 0) > 0;)
		own += e.ring == 1 && e.boot == 2;
	assert_int_equal(own, 1);
	dlog_reader_free(r);
	dlog_close(d);
	free(before);
	k_free(k);
}

struct told {
	char text[4096];
	size_t len;
	uint64_t time;
	uint32_t lines;
};

static void told_line(void *arg, uint64_t time, const void *text, size_t len)
{
	struct told *t = arg;

	assert_true(time >= t->time);
	t->time = time;
	t->lines++;
	if (len + 1 < sizeof(t->text) - t->len) {
		memcpy(t->text + t->len, text, len);
		t->len += len;
		t->text[t->len++] = '\n';
	}
}

static uint64_t history_memory[6 * W_RINGS];

static void tell(struct kernel *k, uint32_t boot, struct told *t)
{
	memset(t, 0, sizeof(*t));
	assert_int_equal(dlog_client_history(&k->c, boot, history_memory,
					     sizeof(history_memory), told_line,
					     t),
			 0);
}

/* Each boot's text alone, by time over both rings, newest lap only. */
static void history(void **state)
{
	struct kernel *k = k_new();
	struct told t;

	(void)state;
	assert_int_equal(dlog_client_history(&k->c, 1, history_memory, 999,
					     told_line, &t),
			 -EINVAL);
	k_boot(k);
	dlog_client_log(&k->c, 0, 6, "a");
	dlog_client_log(&k->c, 1, 6, "b");
	dlog_client_event(&k->c, 0, 1, "x", 1);
	dlog_client_log(&k->c, 0, 6, "c");
	k_boot(k);
	dlog_client_log(&k->c, 1, 6, "second");
	dlog_client_status(&k->c, 0, DLOG_ST_PANIC, "dead");
	tell(k, 1, &t);
	assert_string_equal(t.text, "a\nb\nc\n");
	tell(k, 2, &t);
	assert_string_equal(t.text, "second\ndead\n");
	tell(k, 3, &t);
	assert_int_equal(t.lines, 0);
	assert_int_equal(dlog_client_history(&k->c, 0, history_memory, 999,
					     told_line, &t),
			 -EINVAL);
	assert_int_equal(dlog_client_history(&k->c, 1, history_memory,
					     DLOG_CLIENT_HISTORY(2) - 1,
					     told_line, &t),
			 -ENOSPC);
	/* Several laps: what is left is the end, without a gap. */
	k_boot(k);
	for (uint32_t i = 0; i < 40000; i++)
		dlog_client_log(&k->c, 0, 6, "%u", i);
	tell(k, 1, &t);
	assert_int_equal(t.lines, 1); /* "b", in the other ring */
	tell(k, 3, &t);
	assert_true(t.lines > 10000 && t.lines < 40000);
	assert_int_equal(atoi(t.text), 40000 - t.lines);
	k_free(k);
}

/* The host stops and resumes; status comes all the same. */
static void stop(void **state)
{
	struct kernel *k = k_new();
	struct dlog_state *st = dlog_region_state(&k->w.rg);

	(void)state;
	k_boot(k);
	assert_int_equal(st->recording, 1);
	st->control = DLOG_CONTROL_STOP;
	assert_int_equal(dlog_client_log(&k->c, 0, 6, "still"), 0);
	dlog_client_beat(&k->c, 0, true);
	assert_int_equal(st->recording, 0);
	assert_int_equal(dlog_client_log(&k->c, 0, 6, "no"), -EAGAIN);
	assert_int_equal(dlog_client_event(&k->c, 0, 1, "", 0), -EAGAIN);
	assert_int_equal(dlog_client_status(&k->c, 0, DLOG_ST_HALT, NULL), 0);
	st->control = 0;
	dlog_client_beat(&k->c, 1, true);
	assert_int_equal(dlog_client_log(&k->c, 0, 6, "no"), -EAGAIN);
	dlog_client_beat(&k->c, 0, true);
	assert_int_equal(dlog_client_log(&k->c, 0, 6, "again"), 0);
	assert_int_equal(st->recording, 1);
	st->control = DLOG_CONTROL_STOP;
	k_boot(k);
	assert_int_equal(dlog_client_log(&k->c, 0, 6, "no"), -EAGAIN);
	k_free(k);
}

/* Each function on a client that has not begun: nothing happens. */
static void not_begun(void **state)
{
	struct dlog_regs head = { 0 };
	struct dlog_client c = { 0 };
	struct kernel *k = k_new();
	uint8_t *before = malloc(SIZE);

	(void)state;
	memcpy(before, k->w.mem, SIZE);
	assert_int_equal(dlog_client_begin(&c, &k->setup), -EINVAL);
	for (int opened = 0; opened < 2; opened++) {
		assert_int_equal(dlog_client_log(&c, 0, 6, "x"), -EAGAIN);
		assert_int_equal(dlog_client_write(&c, 0, 6, "x", 1), -EAGAIN);
		assert_int_equal(dlog_client_event(&c, 0, 1, "", 0), -EAGAIN);
		assert_int_equal(dlog_client_event_type(&c, "a:b", ""),
				 -EAGAIN);
		assert_int_equal(dlog_client_status(&c, 0, 1, NULL), -EAGAIN);
		assert_int_equal(dlog_client_beat(&c, 0, true), -EAGAIN);
		assert_int_equal(dlog_client_regs(&c, &head, "", 0), -EAGAIN);
		assert_int_equal(dlog_client_wall(&c, 1, 1), -EAGAIN);
		assert_int_equal(dlog_client_open(&c, k->w.mem, SIZE),
				 DLOG_SUPER_OK);
	}
	k->setup.bytes = DLOG_CLIENT_MEMORY(1) - sizeof(struct dlog_ring);
	assert_int_equal(dlog_client_begin(&c, &k->setup), -ENOSPC);
	k_setup(k);
	k->setup.clock = NULL;
	assert_int_equal(dlog_client_begin(&c, &k->setup), -EINVAL);
	assert_memory_equal(before, k->w.mem, SIZE);
	free(before);
	k_free(k);
}

/* Memory is enough whatever its alignment, and not one byte more is used. */
static void memory_fits(void **state)
{
	struct kernel *k = k_new();
	size_t need = DLOG_CLIENT_MEMORY(2);
	uint8_t *m = malloc(need + 256);

	(void)state;
	for (uint32_t at = 0; at < 128; at += 8) {
		memset(m, 0x5a, need + 256);
		k->setup.memory = m + at;
		k->setup.bytes = need;
		k_boot(k);
		for (uint32_t i = 0; i < at; i++)
			assert_int_equal(m[i], 0x5a);
		for (size_t i = at + need; i < need + 256; i++)
			assert_int_equal(m[i], 0x5a);
	}
	free(m);
	k_free(k);
}

static void wrong_arguments(void **state)
{
	struct kernel *k = k_new();
	struct dlog_regs head = { .cpu = 0 };
	struct dlog_client *c = &k->c;
	uint8_t big[8192] = { 0 };

	(void)state;
	k_boot(k);
	assert_int_equal(dlog_client_log(c, 2, 6, "x"), -EINVAL);
	assert_int_equal(dlog_client_log(c, 0, 8, "x"), -EINVAL);
	assert_int_equal(dlog_client_event(c, 0, 0, "", 0), -EINVAL);
	assert_int_equal(dlog_client_event(c, 0, 4096, "", 0), -EINVAL);
	assert_int_equal(dlog_client_event(c, 0, -ENOSPC, "", 0), -EINVAL);
	assert_int_equal(dlog_client_status(c, 0, DLOG_ST_MAX, NULL), -EINVAL);
	assert_int_equal(dlog_client_beat(c, 2, true), -EINVAL);
	assert_int_equal(dlog_client_regs(c, &head, big, 520), -EMSGSIZE);
	assert_int_equal(dlog_client_regs(c, &head, big, 12), -EMSGSIZE);
	assert_int_equal(dlog_client_event_type(c, "", ""), -EINVAL);
	memset(big, 'a', 600);
	assert_int_equal(dlog_client_event_type(c, "a:b", (char *)big),
			 -EMSGSIZE);
	assert_int_equal(dlog_client_write(c, 0, 6, big, 4096), -EMSGSIZE);
	assert_int_equal(k->c.rings[0].dropped, 1);
	k_free(k);
}

/* Where the second copy is damaged or elsewhere, find leaves it alone. */
static void find(void **state)
{
	struct kernel *k = k_new();
	struct dlog_client c;
	uint8_t *mem = aligned_alloc(4096, 3 * SIZE);
	uint8_t *at = mem + 5 * 4096;
	const uint64_t backup = k->w.rg.sb.backup_off;

	(void)state;
	memset(mem, 0, 3 * SIZE);
	assert_int_equal(dlog_client_find(&c, mem, 3 * SIZE), DLOG_SUPER_MAGIC);
	assert_null(c.region.base);
	memcpy(at, k->w.mem, SIZE);
	assert_int_equal(dlog_client_find(&c, mem, 3 * SIZE), DLOG_SUPER_OK);
	assert_ptr_equal(c.region.base, at);
	/* A false one before it does not hide it. */
	memcpy(mem + 4096, DLOG_MAGIC, 8);
	assert_int_equal(dlog_client_find(&c, mem, 3 * SIZE), DLOG_SUPER_OK);
	assert_ptr_equal(c.region.base, at);
	/* Beyond the end: the last page of it is missing. */
	assert_int_not_equal(dlog_client_find(&c, at, SIZE - 4096),
			     DLOG_SUPER_OK);
	memset(mem + 4096, 0, 8);

	/* First lost: what is behind the second one is not the region. */
	at[20]++;
	assert_int_equal(dlog_client_find(&c, mem, 3 * SIZE), DLOG_SUPER_CHECK);
	assert_ptr_equal(c.region.base, at);
	assert_int_equal(dlog_client_begin(&c, &k->setup), -EINVAL);
	/* But by its address it is one. */
	assert_int_equal(dlog_client_open(&c, at, SIZE), DLOG_SUPER_OK);
	at[20]--;
	at[backup + 20]++;
	assert_int_equal(dlog_client_find(&c, mem, 3 * SIZE), DLOG_SUPER_CHECK);
	assert_int_equal(dlog_client_open(&c, at, SIZE), DLOG_SUPER_OK);
	at[20]++;
	assert_int_equal(dlog_client_open(&c, at, SIZE), DLOG_SUPER_CHECK);

	/* Not a page's address, or too short to look at. */
	assert_int_equal(dlog_client_open(&c, at + 8, SIZE), DLOG_SUPER_MAGIC);
	assert_int_equal(dlog_client_find(&c, at + 8, SIZE), DLOG_SUPER_MAGIC);
	assert_int_equal(dlog_client_find(&c, at, 0), DLOG_SUPER_MAGIC);
	assert_int_equal(dlog_client_open(&c, at, 4096), DLOG_SUPER_MAGIC);
	free(mem);
	k_free(k);
}

static void any_line(void *arg, uint64_t time, const void *text, size_t len)
{
	uint8_t *volatile copy = malloc(len + 1);

	(void)arg;
	(void)time;
	memcpy(copy, text, len);
	free(copy);
}

/* Any bytes: begin and append stay within the region and come back. */
static void hostile(void **state)
{
	struct kernel *k = k_new();
	uint64_t x = 88172645463325252u;
	const struct dlog_superblock *sb = &k->w.rg.sb;

	(void)state;
	for (uint32_t round = 0; round < 300; round++) {
		/* Behind the superblock; that one is seldom right by chance. */
		for (uint32_t i = 0; i < 2000; i++) {
			uint64_t span = round % 2 ? sb->ring_off - 4096
						  : sb->backup_off - 4096;

			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			k->w.mem[4096 + x % span] = (uint8_t)(x >> 40);
		}
		k_boot(k);
		assert_true(dlog_client_event_type(&k->c, "a:b", "u32 c") != 0);
		for (uint32_t i = 0; i < 300; i++)
			dlog_client_log(&k->c, i % 2, 6, "%u %u", round, i);
		for (uint32_t boot = 1; boot < 9; boot++)
			dlog_client_history(&k->c, boot, history_memory,
					    sizeof(history_memory), any_line,
					    NULL);
		dlog_client_beat(&k->c, 0, true);
	}
	k_free(k);
}

struct cpu {
	struct kernel *k;
	uint32_t cpu, failed;
};

static void *cpu_run(void *arg)
{
	struct cpu *me = arg;

	for (uint32_t i = 0; i < 5000; i++)
		me->failed |= dlog_client_log(&me->k->c, me->cpu, 6,
					      "cpu %u line %u", me->cpu,
					      i) != 0;
	return NULL;
}

/* @cpus threads log; each one's lines are all there, in order. */
static void run_cpus(uint32_t cpus)
{
	struct kernel *k = k_new();
	struct cpu cpu[4];
	pthread_t thread[4];
	uint32_t next[4] = { 0 }, lines = 0;
	struct dlog_reader *r;
	struct dlog_entry e;
	struct dlog *d;

	k->setup.cpus = cpus;
	k_boot(k);
	for (uint32_t i = 0; i < cpus; i++) {
		cpu[i] = (struct cpu){ k, i, 0 };
		assert_int_equal(
			pthread_create(&thread[i], NULL, cpu_run, &cpu[i]), 0);
	}
	for (uint32_t i = 0; i < cpus; i++)
		pthread_join(thread[i], NULL);
	for (uint32_t i = 0; i < cpus; i++)
		assert_false(cpu[i].failed);
	d = w_open(&k->w);
	assert_int_equal(dlog_reader_new(&r, &d, 1, 0, NULL), 0);
	while (dlog_reader_next(r, &e, 0) > 0) {
		char text[64] = "";
		unsigned int c, line;

		if (e.kind != DLOG_KIND_TEXT)
			continue;
		memcpy(text, e.data, e.len);
		assert_int_equal(sscanf(text, "cpu %u line %u", &c, &line), 2);
		assert_true(c < cpus);
		assert_int_equal(e.ring, c % 2);
		assert_int_equal(line, next[c]++);
		lines++;
	}
	assert_int_equal(lines, cpus * 5000);
	dlog_reader_free(r);
	dlog_close(d);
	k_free(k);
}

static void a_ring_each(void **state)
{
	(void)state;
	run_cpus(2);
}

static void shared_rings(void **state)
{
	(void)state;
	run_cpus(4);
}

__attribute__((format(printf, 3, 4))) static void
same(const char *want, size_t size, const char *fmt, ...)
{
	char buf[400];
	va_list args;
	size_t len;

	memset(buf, '#', sizeof(buf));
	va_start(args, fmt);
	len = dlog_client_format(buf, size, fmt, args);
	va_end(args);
	assert_string_equal(buf, want);
	assert_int_equal(len, strlen(want));
	for (size_t i = size; i < sizeof(buf); i++)
		assert_int_equal(buf[i], '#');
}

static void format(void **state)
{
	(void)state;
	same("a -7 4294967295 beef", 99, "%s %d %u %x", "a", -7, 4294967295u,
	     0xbeef);
	same("-9223372036854775808 18446744073709551615", 99, "%lld %llu",
	     -0x7fffffffffffffffll - 1, 0xffffffffffffffffull);
	same("-2147483648|00042|   42|42   |-0042", 99, "%d|%05d|%5d|%-5d|%05d",
	     INT32_MIN, 42, 42, 42, -42);
	same("fedcba9876543210 0 1000000000", 99, "%lx %u %zu",
	     0xfedcba9876543210ul, 0, (size_t)1000000000);
	same("0x1000 100% c|  ab|ab  |ab", 99, "%p %u%% %c|%4s|%-4s|%.2s",
	     (void *)4096, 100, 'c', "ab", "ab", "abc");
	same("   ab", 99, "%*.*s", 5, 2, "abc");
	same("abc", 4, "%s", "abcdefgh");
	same("", 1, "%d", 12345);
	same("        ", 9, "%9999d", 1);
	same("7   |ab  |10   |   7|abc", 99, "%*d|%*s|%0*d|%4d|%.*s", -4, 7, -4,
	     "ab", -5, 10, 7, -3, "abc");
	same("-0000000000000000000000000000000000000000000000042", 99, "%050d",
	     -42);
	same("00000000000000000000000000000000000000000000beef|", 99, "%048x|",
	     0xbeef);
	same("0000", 5, "%09999u", 1);
}

/* What the compiler would not let through. */
static void format_odd(void **state)
{
	static const char *const odd[] = { "%",	  "5 %q %s", "%l", "%ll",
					   "%5.", "%*",	     "%-0" };
	void (*any)(const char *, size_t, const char *, ...) =
		(void (*)(const char *, size_t, const char *, ...))same;
	char want[16], *volatile no_text = NULL;

	(void)state;
	for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
		snprintf(want, sizeof(want), "%s", odd[i]);
		any(want, 99, odd[i], 3, 3);
	}
	any("1 %f 2", 99, "%d %f 2", 1, 1.0);
	any("(null) 0x0000000000001000", 99, "%s %018p", no_text, (void *)4096);
}

/* 64-bit remainders of 32-bit code, against the CPU's own. */
static void number(void **state)
{
	static const struct {
		const char *text;
		uint64_t value;
		size_t rest;
	} cases[] = {
		{ "4M@0x8000000", 4 << 20, 10 },
		{ "0x8000000 x", 0x8000000, 2 },
		{ "0xFfk", 255 << 10, 0 },
		{ "3G", 3ull << 30, 0 },
		{ "12", 12, 0 },
		{ "", 0, 0 },
		{ "@1", 0, 2 },
		{ "10a", 10, 1 },
		{ "0xg", 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const char *s = cases[i].text;

		assert_int_equal(dlog_client_number(&s), cases[i].value);
		assert_int_equal(strlen(s), cases[i].rest);
	}
}

static void remainders(void **state)
{
	uint64_t x = 88172645463325252u;

	(void)state;
	for (uint32_t i = 0; i < 1000000; i++) {
		uint32_t m;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		m = (uint32_t)(x >> (33 + i % 30)) + 1;
		assert_int_equal(dlog_mod_bits(x >> i % 64, m),
				 (x >> i % 64) % m);
	}
	assert_int_equal(dlog_mod_bits(1 << 28, 8), 0);
	assert_int_equal(dlog_mod_bits(UINT64_MAX, 0x7fffffff),
			 UINT64_MAX % 0x7fffffff);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_kinds),
		cmocka_unit_test(state_page),
		cmocka_unit_test(same_boot),
		cmocka_unit_test(join),
		cmocka_unit_test(history),
		cmocka_unit_test(stop),
		cmocka_unit_test(not_begun),
		cmocka_unit_test(memory_fits),
		cmocka_unit_test(wrong_arguments),
		cmocka_unit_test(find),
		cmocka_unit_test(hostile),
		cmocka_unit_test(a_ring_each),
		cmocka_unit_test(shared_rings),
		cmocka_unit_test(format),
		cmocka_unit_test(format_odd),
		cmocka_unit_test(number),
		cmocka_unit_test(remainders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
