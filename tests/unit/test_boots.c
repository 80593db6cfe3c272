// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_boots.c - boots kept apart, the tables, and what is left when they
 * or the superblocks are damaged.
 */
#include <errno.h>

#include "world.h"

static void boots_n(struct world *w, uint32_t n, uint32_t lines)
{
	for (uint32_t b = 1; b <= n; b++) {
		w_boot(w, (uint8_t)b);
		dlog_region_status(&w->rg, DLOG_ST_RUNNING, w->now);
		for (uint32_t i = 0; i < lines; i++)
			w_line(w, i % w->rg.sb.nr_rings);
		dlog_region_status(&w->rg,
				   b % 2 ? DLOG_ST_PANIC : DLOG_ST_REBOOT,
				   w->now++);
	}
}

static struct dlog_boot_entry *boots(struct world *w, int want)
{
	struct dlog_boot_entry *e;
	struct dlog *d = w_open(w);

	assert_int_equal(dlog_get_boots(d, &e), want);
	dlog_close(d);
	return e;
}

static uint64_t first_time(struct world *w, uint32_t boot, bool last)
{
	uint64_t time = 0;

	w_settle(w);
	for (uint32_t i = 0; i < w->n; i++) {
		struct truth *t = &w->t[i];

		if (t->boot == boot && t->live && (last || !time))
			time = t->time;
	}
	return time;
}

static void several(void **state)
{
	struct dlog_boot_entry *e;
	struct world w;
	char name[64];

	(void)state;
	w_format(&w, 1 << 20, 2, 4096, 8);
	boots_n(&w, 5, 300);
	w_check(&w);
	e = boots(&w, 5);
	for (uint32_t i = 0; i < 5; i++) {
		snprintf(name, sizeof(name), "6.1.%u-test", i + 1);
		assert_int_equal(e[i].boot, i + 1);
		assert_true(e[i].known && e[i].has_records);
		assert_string_equal(e[i].release, name);
		assert_string_equal(e[i].machine, "x86_64");
		assert_int_equal(e[i].boot_id[3], i + 1);
		assert_int_equal(e[i].kernel_text, 0xffffffff81000001u + i);
		assert_int_equal(e[i].start_real,
				 1700000000000000000u + e[i].start_time);
		assert_int_equal(e[i].end_status,
				 i % 2 ? DLOG_ST_REBOOT : DLOG_ST_PANIC);
		assert_int_equal(e[i].first_time, first_time(&w, i + 1, false));
		assert_int_equal(e[i].last_time, first_time(&w, i + 1, true));
	}
	free(e);
	w_free(&w);
}

/* More boots than slots, and more than the rings hold. */
static void reused_slots(void **state)
{
	struct dlog_boot_entry *e;
	struct world w;

	(void)state;
	w_format(&w, 1 << 20, 1, 4096, 4);
	boots_n(&w, 10, 100);
	w_check_records(&w);
	e = boots(&w, 10);
	for (uint32_t i = 0; i < 10; i++) {
		assert_int_equal(e[i].boot, i + 1);
		assert_int_equal(e[i].known, i >= 6);
		assert_true(e[i].has_records);
	}
	free(e);
	w_free(&w);

	w_format(&w, 1 << 17, 1, 4096, 8);
	boots_n(&w, 8, 500);
	w_check(&w);
	e = boots(&w, 8);
	assert_false(e[0].has_records);
	assert_int_equal(e[0].first_time, 0);
	assert_true(e[7].has_records);
	free(e);
	w_free(&w);
}

/* Without table entries the records still say whose they are. */
static void damaged_table(void **state)
{
	struct dlog_boot_entry *e;
	struct world w;

	(void)state;
	w_format(&w, 1 << 20, 2, 4096, 8);
	boots_n(&w, 5, 300);
	/* One bit of a name is enough not to believe it. */
	dlog_boot_slot(&w.rg, 2)->release[1] ^= 1;
	e = boots(&w, 5);
	assert_false(e[1].known);
	assert_string_equal(e[1].release, "");
	free(e);
	dlog_boot_slot(&w.rg, 2)->release[1] ^= 1;
	memset(dlog_boot_slot(&w.rg, 3), 0xff, 100);
	w_check(&w);
	e = boots(&w, 5);
	assert_false(e[2].known);
	assert_true(e[2].has_records);
	assert_true(e[3].known);
	free(e);
	memset(w.mem + w.rg.sb.boot_off, 0x55,
	       (size_t)w.rg.sb.boot_slots * w.rg.sb.boot_stride);
	w_check(&w);
	free(boots(&w, 5));
	w_free(&w);
}

/* The first sub-buffer of a boot has lost its START: the table knows. */
static void boot_without_start(void **state)
{
	struct world w;

	(void)state;
	w_format(&w, 1 << 20, 1, 4096, 8);
	boots_n(&w, 3, 200);
	for (uint32_t i = 0; i < w.n; i++) {
		uint64_t sub = w.t[i].position / 4096 * 4096;

		if (w.t[i].boot == 2) {
			memset(w_at(&w, 0, sub), 0, 40);
			break;
		}
	}
	w_check(&w);
	w_free(&w);
}

/*
 * All that a boot wrote lies behind a START that was never complete: the
 * next boot counts it, so it is accounted for when it has been overwritten.
 */
static void boot_of_no_start(void **state)
{
	struct dlog_loss l;
	struct world w;

	(void)state;
	w_format(&w, 1 << 17, 1, 4096, 4);
	boots_n(&w, 2, 5);
	memset(w_at(&w, 0, w.t[5].position - 40), 0, 40);
	w_check(&w);
	assert_true(w_boot(&w, 2));
	w_line(&w, 0);
	w_boot(&w, 3);
	w_check(&w);
	for (uint32_t i = 0; i < 2000; i++)
		w_line(&w, 0);
	w_check(&w);
	l = w_loss(&w, 0, 2);
	assert_int_equal(l.reserved, 6);
	assert_int_equal(l.overwritten, 6);
	w_free(&w);
}

/* A driver that is loaded again in the same boot goes on counting. */
static void reload(void **state)
{
	struct world w;

	(void)state;
	w_format(&w, 1 << 17, 2, 4096, 4);
	assert_false(w_boot(&w, 1));
	for (uint32_t k = 0; k < 12; k++) {
		for (uint32_t i = 0; i < 37 * k; i++)
			w_line(&w, i % 2);
		w_check(&w);
		assert_true(w_boot(&w, 1));
		w_check(&w);
	}
	assert_true(w_loss(&w, 0, 1).overwritten > 0);
	free(boots(&w, 1));
	w_free(&w);
}

/* A torn record at the end of a boot stays torn when the next has begun. */
static void torn_at_death(void **state)
{
	struct truth *t;
	struct world w;

	(void)state;
	w_format(&w, 1 << 17, 1, 4096, 4);
	w_boot(&w, 1);
	for (uint32_t i = 0; i < 30; i++)
		w_line(&w, 0);
	w_partial(&w, 0, 50, 3, &t);
	t->fate = FATE_TORN;
	w_check(&w);
	w_boot(&w, 2);
	w_check(&w);
	for (uint32_t i = 0; i < 100; i++)
		w_line(&w, 0);
	w_check(&w);
	/* Damage at the end of a closed boot: its entry knows how many. */
	t = &w.t[29];
	t->fate = FATE_CORRUPT;
	memset(w_at(&w, 0, t->position), 0x77, 16);
	w_check(&w);
	w_free(&w);
}

/* The last record of a boot is damaged later: the next boot counted it. */
static void damaged_end(void **state)
{
	struct world w;

	(void)state;
	w_format(&w, 1 << 17, 1, 4096, 4);
	w_boot(&w, 1);
	for (uint32_t i = 0; i < 30; i++)
		w_line(&w, 0);
	w_boot(&w, 2);
	w_check(&w);
	w.t[29].fate = FATE_CORRUPT;
	w_at(&w, 0, w.t[29].position)[20] ^= 1;
	w_check(&w);
	w_line(&w, 0);
	w_check(&w);
	w_free(&w);
}

static void only_one_boot(void **state)
{
	struct dlog_reader *r;
	struct dlog_entry e;
	struct world w;
	struct dlog *d;

	(void)state;
	w_format(&w, 1 << 20, 2, 4096, 8);
	boots_n(&w, 4, 300);
	w_settle(&w);
	d = w_open(&w);
	for (uint32_t b = 1; b <= 5; b++) {
		uint32_t n = 0;

		assert_int_equal(dlog_reader_new(&r, &d, 1, 0, NULL), 0);
		dlog_reader_set_boot(r, b);
		while (dlog_reader_next(r, &e, 0) > 0) {
			assert_int_equal(e.boot, b);
			w_match(&w, &e);
			n++;
		}
		assert_int_equal(n, b <= 4 ? 300 : 0);
		dlog_reader_free(r);
	}
	dlog_close(d);
	w_free(&w);
}

static int open_error(struct world *w, uint64_t size, struct dlog_error *err)
{
	struct dlog *d = NULL;
	int ret;

	memset(err, 0, sizeof(*err));
	ret = dlog_open_memory(&d, w->mem, size, "the-file", err);
	if (ret) {
		assert_null(d);
		assert_non_null(strstr(err->text, "the-file"));
	}
	dlog_close(d);
	return ret;
}

static void superblocks(void **state)
{
	struct dlog_superblock *sb;
	struct dlog_error err;
	struct dlog_info info;
	struct world w;
	struct dlog *d;

	(void)state;
	w_format(&w, 1 << 17, 1, 4096, 4);
	boots_n(&w, 2, 100);
	sb = (struct dlog_superblock *)w.mem;

	assert_int_equal(open_error(&w, 0, &err), -ENODATA);
	assert_int_equal(open_error(&w, 100, &err), -EBADMSG);
	assert_int_equal(open_error(&w, (1 << 17) - 4096, &err), -ERANGE);

	sb->incompat = 1;
	dlog_super_seal(sb);
	assert_int_equal(open_error(&w, w.size, &err), -EPROTO);
	sb->incompat = 0;
	sb->ro_compat = 1;
	dlog_super_seal(sb);
	assert_int_equal(open_error(&w, w.size, &err), 0);
	sb->ro_compat = 0;
	sb->nr_rings = 1000;
	dlog_super_seal(sb);
	assert_int_equal(open_error(&w, w.size, &err), -EINVAL);
	sb->nr_rings = 1;
	dlog_super_seal(sb);

	/* The first damaged: the second is used, all is there. */
	for (uint32_t i = 0; i < 256; i += 5) {
		w.mem[i] ^= 0x40;
		w_check(&w);
		d = w_open(&w);
		dlog_get_info(d, &info);
		assert_true(info.backup);
		dlog_close(d);
		w.mem[i] ^= 0x40;
	}
	memset(w.mem + w.size - 4096, 0, 256);
	w_check(&w);
	w.mem[9] ^= 1;
	assert_int_equal(open_error(&w, w.size, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "damaged"));
	/* A copy is believed only where it says that it lies. */
	sb->backup_off = w.rg.sb.catalog_off;
	memcpy(w.mem + w.rg.sb.catalog_off, &w.rg.sb, sizeof(w.rg.sb));
	assert_int_equal(open_error(&w, w.size, &err), -EBADMSG);
	memset(w.mem, 0, 256);
	assert_int_equal(open_error(&w, w.size, &err), -EBADMSG);
	w_free(&w);
}

static void clock_and_beats(void **state)
{
	struct dlog_live live;
	struct dlog_beat beat;
	struct world w;
	struct dlog *d;

	(void)state;
	w_format(&w, 1 << 17, 2, 4096, 4);
	w_boot(&w, 1);
	d = w_open(&w);
	assert_int_equal(dlog_real_time(d, 2, 5), 0);
	/* Only the boot table yet. */
	assert_int_equal(dlog_real_time(d, 1, 5000), 1700000000000005000u);
	dlog_close(d);

	dlog_region_clock(&w.rg, 0, 1000000, 1600000000000000000u, 100);
	dlog_region_clock(&w.rg, 1, 2000000, 1600000000001000777u, 100);
	d = w_open(&w);
	assert_int_equal(dlog_real_time(d, 1, 2000001), 1600000000001000778u);
	assert_int_equal(dlog_real_time(d, 1, 1000000), 1600000000000000777u);
	assert_int_equal(dlog_real_time(d, 2, 5), 0);
	dlog_close(d);
	/* Written in turn: the first is now the newer one. */
	dlog_region_clock(&w.rg, 2, 3000000, 1600000000002000888u, 100);
	d = w_open(&w);
	assert_int_equal(dlog_real_time(d, 1, 3000000), 1600000000002000888u);
	assert_int_equal(dlog_real_time(d, 1, 2000000), 1600000000001000888u);

	dlog_get_live(d, &live);
	assert_int_equal(live.status, DLOG_ST_NONE);
	assert_int_equal(dlog_get_beat(d, 0, &beat), 0);
	dlog_region_status(&w.rg, DLOG_ST_RUNNING, 77);
	dlog_region_state(&w.rg)->period_ms = 1;
	w_line(&w, 0);
	dlog_region_beat(&w.rg, 0, 0, &w.ring[0], 3000000, true);
	dlog_region_beat(&w.rg, 1, 1, &w.ring[1], 9000000, true);
	dlog_region_beat(&w.rg, 1, 1, &w.ring[1], 9000001, true);
	dlog_get_live(d, &live);
	assert_int_equal(live.status, DLOG_ST_RUNNING);
	assert_int_equal(live.boot, 1);
	assert_int_equal(live.status_time, 77);
	assert_int_equal(dlog_get_beat(d, 0, &beat), 1);
	assert_int_equal(beat.time, 3000000);
	assert_int_equal(beat.records, 1);
	assert_int_equal(beat.behind, 6000001);
	assert_true(beat.stale);
	assert_int_equal(dlog_get_beat(d, 1, &beat), 1);
	assert_int_equal(beat.beats, 2);
	assert_int_equal(beat.behind, 0);
	assert_int_equal(dlog_get_beat(d, 2, &beat), 0);
	assert_int_equal(dlog_get_beat(d, UINT32_MAX, &beat), 0);
	dlog_close(d);
	w_free(&w);
}

static void registers(void **state)
{
	struct dlog_regs head = {
		.cpu = 1, .time = 55, .reason = DLOG_ST_PANIC, .machine = 62
	};
	struct dlog_reg_entry regs;
	uint8_t prstatus[336];
	struct world w;
	struct dlog *d;

	(void)state;
	memset(prstatus, 0x3c, sizeof(prstatus));
	w_format(&w, 1 << 17, 2, 4096, 4);
	w_boot(&w, 1);
	w_boot(&w, 2);
	assert_int_equal(dlog_region_regs(&w.rg, &head, prstatus, 336), 0);
	d = w_open(&w);
	assert_int_equal(dlog_get_regs(d, 0, 0, &regs), 0);
	assert_int_equal(dlog_get_regs(d, 1, 1, &regs), 0);
	assert_int_equal(dlog_get_regs(d, 9, 0, &regs), 0);
	assert_int_equal(dlog_get_regs(d, 1, 2, &regs), 1);
	assert_int_equal(regs.reason, DLOG_ST_PANIC);
	assert_int_equal(regs.prstatus_size, 336);
	assert_memory_equal(regs.prstatus, prstatus, 336);
	w.mem[w.rg.sb.regs_off + 1024 + 200] ^= 1;
	assert_int_equal(dlog_get_regs(d, 1, 0, &regs), 0);
	dlog_close(d);
	w_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(several),
		cmocka_unit_test(reused_slots),
		cmocka_unit_test(damaged_table),
		cmocka_unit_test(boot_without_start),
		cmocka_unit_test(boot_of_no_start),
		cmocka_unit_test(reload),
		cmocka_unit_test(torn_at_death),
		cmocka_unit_test(damaged_end),
		cmocka_unit_test(only_one_boot),
		cmocka_unit_test(superblocks),
		cmocka_unit_test(clock_and_beats),
		cmocka_unit_test(registers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
