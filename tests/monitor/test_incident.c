// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_incident.c - incidents of dlogd with guests and VMMs of the test's own
 * (stand.h).  Real guests, and dlogd as a whole, are in incidents.py.
 */
#include <dirent.h>
#include <stdio.h>
#include <sys/mount.h>

#include "monitor/incident/incident.h"
#include "stand.h"

#define MIB (UINT64_C(1) << 20)

static struct stand s;

static int setup(void **state)
{
	(void)state;
	stand_open(&s);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	stand_close(&s);
	return 0;
}

static const char *newest(void)
{
	const struct incident *i = incidents_list(&s.m);

	assert_non_null(i);
	return i->bundle;
}

/* How many directories there are that look like bundles, or half of one. */
static uint32_t on_disk(const char *pattern)
{
	char *out = stand_shell("find %s -mindepth 2 -maxdepth 2 -name '%s' "
				"| wc -l",
				s.bundles, pattern);
	uint32_t n = (uint32_t)atoi(out);

	free(out);
	return n;
}

static uint32_t open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	uint32_t n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* @file of the newest bundle is what dlog-read says of @region. */
static void same(const char *file, const char *args, const char *region)
{
	free(stand_shell("cd %s && LC_ALL=C.UTF-8 dlog-read -q %s %s > "
			 "../expected && test -s %s && cmp ../expected %s 2>&1",
			 newest(), args, region, file, file));
}

static void bundle_is_whole(void **state)
{
	struct guest *g;
	uint64_t took;
	json_t *v;

	(void)state;
	stand_region(&s, 16 * MIB, 4);
	for (int i = 0; i < 20000; i++)
		w_line(&s.w, (uint32_t)i % 4);
	assert_int_equal(incidents_start(&s.m), 0);
	g = stand_guest(&s, "web-1", &stand_vm(&s)->vm);
	g->history[0].json = strdup("{\"event\":\"STOP\"}");
	g->history[0].real = 1700000000000000001;
	g->history[1].json = strdup("no {JSON \n\033[31m");
	g->nr_history = 2;
	assert_int_equal(incident_begin(g, EV_HUNG, ACT_NMI | ACT_EVIDENCE,
					"CPU 0 \"x\""),
			 0);
	assert_int_equal(stand_count(&s, false), 1);
	/* This one comes while the bundle is being made. */
	g->history[2].json = strdup("{\"event\":\"RESUME\"}");
	g->nr_history = 3;
	took = stand_run(&s);
	printf("16 MiB, 4 CPUs: bundle after %u ms\n", (unsigned int)took);
	assert_true(took < 1000);
	assert_int_equal(stand_count(&s, true), 1);
	assert_int_equal(stand_told.count, 1);
	assert_true(stand_told.complete);
	assert_null(stand_told.error);
	assert_string_equal(stand_told.bundle, newest());
	v = stand_json(&s);
	assert_string_equal(json_at(v, "guest", NULL), "web-1");
	assert_string_equal(json_at(v, "event", NULL), "hung");
	assert_string_equal(json_at(v, "detail", NULL), "CPU 0 \"x\"");
	assert_string_equal(json_at(v, "cpus", "online"), "0-3");
	assert_string_equal(json_at(v, "cpus", "registers"), "0-3");
	assert_string_equal(json_at(v, "cpus", "stacks"), "0-3");
	assert_string_equal(json_at(v, "cpus", "silent"), "");
	assert_string_equal(json_result(v, "nmi"), "done");
	assert_string_equal(json_result(v, "evidence"), "done");
	assert_true(json_is_true(json_object_get(v, "complete")));
	assert_int_equal(json_array_size(json_object_get(v, "missing")), 0);
	json_decref(v);
	free(stand_shell("cmp %s %s/region.img 2>&1", s.region, newest()));
	same("log.txt", "-b 1 -n 20000", "region.img");
	same("log.json", "-o json -b 1 -n 20000", "region.img");
	same("guest-registers.txt", "--regs -b 1", "region.img");
	free(stand_shell(
		"cd %s && test $(grep -ac 'r[0-3] n[0-9]' log.txt) = 19996 && "
		"jq -e .cpus stats.json && "
		"jq -e '.vmm.describe.version == \"\\u001b7.2\"' "
		"host.json && "
		"jq -e '.vmm.process.VmRSS, .memory.MemTotal' "
		"host.json && "
		"grep -qx 'RAX=1 .x1b.31mRBX=2' registers.txt && "
		"grep -qx RCX=3 registers.txt && "
		"test $(jq -s length qmp.jsonl) = 3 && "
		"head -n1 qmp.jsonl | jq -e '.event.event == "
		"\"STOP\"' && test $(find . -type f | wc -l) = 9 && "
		"test $(find . -type f -perm 600 | wc -l) = 9 2>&1",
		newest()));
}

static void cpu_that_is_silent_is_named(void **state)
{
	struct fake_vm *vm;
	uint64_t took;
	json_t *v;

	(void)state;
	stand_region(&s, MIB, 4);
	/* Their old registers must not pass for an answer. */
	for (uint32_t cpu = 0; cpu < 4; cpu++) {
		struct dlog_regs r = { .cpu = cpu, .time = 5, .machine = 62 };
		uint64_t status[42] = { 0 };

		dlog_region_regs(&s.w.rg, &r, status, sizeof(status));
	}
	assert_int_equal(incidents_start(&s.m), 0);
	vm = stand_vm(&s);
	vm->silent = 1u << 2;
	incident_begin(stand_guest(&s, "g", &vm->vm), EV_HUNG,
		       ACT_NMI | ACT_EVIDENCE, NULL);
	took = stand_run(&s);
	assert_in_range(took, 500, 1500);
	v = stand_json(&s);
	assert_string_equal(json_at(v, "cpus", "registers"), "0-1,3");
	assert_string_equal(json_at(v, "cpus", "stacks"), "0-1,3");
	assert_string_equal(json_at(v, "cpus", "silent"), "2");
	assert_string_equal(json_result(v, "nmi"), "failed");
	assert_true(json_is_null(json_object_get(v, "detail")));
	json_decref(v);
}

static void vmm_never_answers(void **state)
{
	struct fake_vm *vm;
	json_t *v;

	(void)state;
	stand_region(&s, MIB, 2);
	w_line(&s.w, 0);
	assert_int_equal(incidents_start(&s.m), 0);
	vm = stand_vm(&s);
	vm->slow_ms = 100000;
	vm->fail = -ETIMEDOUT;
	incident_begin(stand_guest(&s, "g", &vm->vm), EV_VMM_STUCK,
		       ACT_NMI | ACT_EVIDENCE, NULL);
	/* It is asked once: everything else does without it. */
	assert_in_range(stand_run(&s), 1000, 2000);
	assert_string_equal(vm->calls, "n");
	v = stand_json(&s);
	assert_string_equal(json_result(v, "nmi"), "failed");
	assert_string_equal(json_result(v, "evidence"), "done");
	assert_true(json_misses(v, "registers.txt: "));
	json_decref(v);
	same("log.txt", "-b 1", "region.img");
}

static void evidence_then_dump_then_reset(void **state)
{
	struct fake_vm *vm;
	json_t *v;

	(void)state;
	stand_region(&s, MIB, 1);
	assert_int_equal(incidents_start(&s.m), 0);
	vm = stand_vm(&s);
	vm->cont_fails = 2;
	incident_begin(stand_guest(&s, "g", &vm->vm), EV_PANICKED,
		       ACT_DUMP | ACT_RESET, NULL);
	stand_run(&s);
	assert_string_equal(vm->calls, "rdmDRscscsc");
	v = stand_json(&s);
	assert_string_equal(json_result(v, "dump"), "done");
	assert_string_equal(json_result(v, "reset"), "done");
	assert_string_equal(json_result(v, "nmi"), "absent");
	json_decref(v);
	free(stand_shell("cd %s && test $(wc -c < memory.elf) = 4 && "
			 "jq -e '.files[] | select(.name == \"memory.elf\")' "
			 "incident.json",
			 newest()));
}

static void dump_too_large_is_skipped(void **state)
{
	struct fake_vm *vm;
	json_t *v;

	(void)state;
	stand_region(&s, MIB, 1);
	assert_int_equal(incidents_start(&s.m), 0);
	vm = stand_vm(&s);
	vm->memory = UINT64_C(1) << 60;
	incident_begin(stand_guest(&s, "g", &vm->vm), EV_PANICKED,
		       ACT_DUMP | ACT_RESET, NULL);
	stand_run(&s);
	assert_string_equal(vm->calls, "rdmRsc");
	v = stand_json(&s);
	assert_string_equal(json_result(v, "dump"), "skipped");
	assert_true(json_misses(v, "dump: takes 1152921504606846976 bytes"));
	json_decref(v);
}

static void unreadable_regions(void **state)
{
	static const char *const make[] = { "rm -f %s",
					    "mkfifo %s",
					    "ln -sf region2.img %s",
					    "mkdir %s",
					    "head -c 100000 /dev/urandom > %s",
					    "truncate -s 0 %s" };
	struct guest *g[6];
	json_t *v;

	(void)state;
	assert_int_equal(incidents_start(&s.m), 0);
	for (int i = 0; i < 6; i++) {
		char name[16] = "g0", cmd[256];

		name[1] = (char)('0' + i);
		free(stand_shell("rm -rf %s; touch %s/region2.img", s.region,
				 s.dir));
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(cmd, sizeof(cmd), make[i], s.region);
#pragma GCC diagnostic pop
		free(stand_shell("%s", cmd));
		g[i] = stand_guest(&s, name, &stand_vm(&s)->vm);
		g[i]->region = s.region;
		incident_begin(g[i], EV_PANICKED, ACT_NMI | ACT_EVIDENCE, "x");
		assert_true(stand_run(&s) < 1000);
		v = stand_json(&s);
		/* What is no region, but a file, is kept as it is. */
		assert_int_equal(json_misses(v, "region.img: "), i < 4);
		assert_true(
			json_misses(v, i < 4 ? "region.img: " : "log.txt: "));
		assert_string_equal(json_result(v, "nmi"), "skipped");
		json_decref(v);
		assert_non_null(stand_told.error);
		free(stand_shell("cd %s && test -s host.json && "
				 "test -s registers.txt",
				 newest()));
	}
}

static void the_last_words_survive_the_limit(void **state)
{
	static uint8_t text[4000];
	uint64_t n = 32 * MIB / 4096 - 600;

	(void)state;
	stand_region(&s, 32 * MIB, 1);
	memset(text, 1, sizeof(text));
	for (uint64_t i = 0; i < n; i++)
		dlog_ring_append(&s.w.ring[0], W_TEXT, 2000 + i, text,
				 sizeof(text));
	dlog_ring_append(&s.w.ring[0], W_TEXT, 2000 + n, "the last", 8);
	assert_int_equal(incidents_start(&s.m), 0);
	incident_begin(stand_guest(&s, "g", NULL), EV_VMM_GONE, ACT_EVIDENCE,
		       NULL);
	stand_run(&s);
	assert_null(strstr(stand_told.error, "log.txt"));
	free(stand_shell("cd %s && tail -n 1 log.txt | grep -q 'the last$' && "
			 "test $(wc -l < log.txt) -ge 2500 && "
			 "tail -n 1 log.json | jq -e '.text == \"the last\"'",
			 newest()));
}

/* ---- many ---- */

static void bounded_by_count(void **state)
{
	struct guest *quiet, *loud[4];
	char name[16] = "loud0";

	(void)state;
	stand_region(&s, MIB, 1);
	s.m.cfg.bundles_max = 5;
	assert_int_equal(incidents_start(&s.m), 0);
	quiet = stand_guest(&s, "quiet", NULL);
	incident_begin(quiet, EV_OOPS, ACT_EVIDENCE, NULL);
	stand_run(&s);
	for (int i = 0; i < 4; i++) {
		name[4] = (char)('0' + i);
		loud[i] = stand_guest(&s, name, NULL);
		for (int n = 0; n < 4; n++)
			incident_begin(loud[i], EV_OOPS, ACT_EVIDENCE, NULL);
		stand_run(&s);
		assert_true(on_disk("2*") <= 5);
	}
	assert_int_equal(on_disk("2*"), 5);
	assert_int_equal(on_disk(".*"), 0);
	assert_int_equal(stand_count(&s, true), 5);
	/* Five guests, five bundles: each one's newest. */
	free(stand_shell("cd %s && for g in quiet loud0 loud1 loud2 loud3; do "
			 "test $(ls $g | wc -l) = 1 || exit 1; done",
			 s.bundles));
	/* A sixth guest takes the place of the oldest. */
	incident_begin(stand_guest(&s, "sixth", NULL), EV_OOPS, ACT_EVIDENCE,
		       NULL);
	stand_run(&s);
	free(stand_shell("cd %s && test $(ls quiet | wc -l) = 0 && "
			 "test $(ls sixth | wc -l) = 1",
			 s.bundles));
}

static void bounded_by_bytes(void **state)
{
	struct guest *g;

	(void)state;
	stand_region(&s, 4 * MIB, 1);
	w_line(&s.w, 0);
	memset(s.w.mem + 2 * MIB, 'x', 2 * MIB - 4096);
	s.m.cfg.bundles_bytes = 8 * MIB;
	assert_int_equal(incidents_start(&s.m), 0);
	g = stand_guest(&s, "g", NULL);
	for (int i = 0; i < 6; i++) {
		incident_begin(g, EV_OOPS, ACT_EVIDENCE, NULL);
		stand_run(&s);
		free(stand_shell("test $(du -sm %s | cut -f1) -le 8",
				 s.bundles));
	}
	/* The source has no holes, the copies have. */
	assert_in_range(on_disk("2*"), 2, 3);
	/* A region larger than all bundles may be is not copied. */
	s.m.cfg.bundles_bytes = MIB;
	g = stand_guest(&s, "h", NULL);
	incident_begin(g, EV_OOPS, ACT_EVIDENCE, NULL);
	stand_run(&s);
	assert_non_null(strstr(stand_told.error, "more than max-bytes"));
	same("log.txt", "-b 1", s.region);
}

static void a_flood_is_limited(void **state)
{
	struct guest *loud, *other;
	json_t *v;

	(void)state;
	stand_region(&s, MIB, 1);
	assert_int_equal(incidents_start(&s.m), 0);
	loud = stand_guest(&s, "loud", NULL);
	other = stand_guest(&s, "other", NULL);
	for (int i = 0; i < 10000; i++)
		assert_int_equal(
			incident_begin(loud, EV_PANICKED, ACT_EVIDENCE, NULL),
			0);
	incident_begin(other, EV_PANICKED, ACT_EVIDENCE, NULL);
	stand_run(&s);
	assert_int_equal(on_disk("2*"), 7);
	assert_int_equal(stand_count(&s, true), 7);
	free(stand_shell("test $(ls %s/other | wc -l) = 1", s.bundles));
	/* A minute later: how many there were stands in the next bundle. */
	for (struct of_guest *of = s.m.incidents->guests; of; of = of->next)
		of->since = 1;
	incident_begin(loud, EV_PANICKED, ACT_EVIDENCE, NULL);
	stand_run(&s);
	v = stand_json(&s);
	assert_int_equal(json_integer_value(json_object_get(v, "suppressed")),
			 9994);
	json_decref(v);
	assert_int_equal(on_disk("2*"), 8);
	/* Said once. */
	assert_non_null(strstr(stand_log, "more than 6 incidents in a minute"));
	assert_null(strstr(strstr(stand_log, "in a minute") + 1,
			   "more than 6 incidents"));
}

static void the_queue_is_bounded(void **state)
{
	struct fake_vm *vm[80];
	int ret[80], full = 0;

	(void)state;
	stand_region(&s, MIB, 1);
	assert_int_equal(incidents_start(&s.m), 0);
	for (int i = 0; i < 80; i++) {
		char name[16];

		snprintf(name, sizeof(name), "g%d", i);
		vm[i] = stand_vm(&s);
		vm[i]->slow_ms = 20;
		ret[i] = incident_begin(stand_guest(&s, name, &vm[i]->vm),
					EV_VMM_GONE, ACT_EVIDENCE, NULL);
		full += ret[i] == -EBUSY;
		assert_true(!ret[i] || ret[i] == -EBUSY);
	}
	assert_int_equal(full, 80 - 64 - 4);
	stand_run(&s);
	assert_int_equal(on_disk("2*"), 68);
	assert_non_null(strstr(stand_log, "64 incidents wait already"));
}

/* Memory that is lost is found by the build with sanitizers. */
static void a_thousand_leave_nothing_behind(void **state)
{
	struct guest *g[200];
	uint32_t before;

	(void)state;
	stand_region(&s, 256 * 1024, 1);
	s.m.cfg.bundles_max = 5;
	assert_int_equal(incidents_start(&s.m), 0);
	for (int i = 0; i < 200; i++) {
		char name[16];

		snprintf(name, sizeof(name), "g%d", i);
		g[i] = stand_guest(&s, name, NULL);
	}
	before = open_files();
	for (int n = 0; n < 5; n++) {
		for (int i = 0; i < 200; i++) {
			incident_begin(g[i], EV_VMM_GONE, ACT_EVIDENCE,
				       "again");
			if (i % 50 == 49)
				stand_run(&s);
		}
	}
	assert_int_equal(open_files(), before);
	assert_int_equal(on_disk("2*"), 5);
	assert_int_equal(on_disk(".*"), 0);
	assert_int_equal(stand_count(&s, true), 5);
	assert_int_equal(stand_count(&s, false), 0);
}

/* ---- the hook ---- */

static void write_hook(const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/hook", s.dir);
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "#!/bin/sh\n%s", text);
	fclose(f);
	chmod(path, 0700);
	s.m.cfg.hook = strdup(path);
}

static void hook_sees_the_bundle(void **state)
{
	json_t *v;

	(void)state;
	stand_region(&s, MIB, 1);
	write_hook("cat \"$DLOG_BUNDLE/incident.json\" > /dev/null || exit 1\n"
		   "echo \"$DLOG_GUEST $DLOG_EVENT $DLOG_BOOT\"\n"
		   "echo ${DLOG_BUNDLE##*/} $DLOG_INCIDENT >&2\n"
		   "read x && echo stdin; ls /proc/self/fd | wc -l\n"
		   "echo $NOTIFY_SOCKET; yes | head -c 3000000; exit 3\n");
	setenv("NOTIFY_SOCKET", "secret", 1);
	assert_int_equal(incidents_start(&s.m), 0);
	incident_begin(stand_guest(&s, "g", NULL), EV_OOPS,
		       ACT_EVIDENCE | ACT_HOOK, NULL);
	stand_run(&s);
	unsetenv("NOTIFY_SOCKET");
	free(s.m.cfg.hook);
	s.m.cfg.hook = NULL;
	v = stand_json(&s);
	assert_string_equal(json_result(v, "hook"), "failed");
	assert_true(json_misses(v, "hook: status 3"));
	json_decref(v);
	free(stand_shell("cd %s && id=$(basename $PWD) && "
			 "printf 'g oops 1\\n%%s %%s\\n4\\n\\n' $id $id | "
			 "cmp -n 60 - hook.log && "
			 "test $(wc -c < hook.log) = 1048576 2>&1",
			 newest()));
}

static void hook_that_hangs_is_ended(void **state)
{
	uint64_t took;
	json_t *v;

	(void)state;
	stand_region(&s, MIB, 1);
	write_hook("echo begun; sleep 1000 & echo $!; wait\n");
	assert_int_equal(incidents_start(&s.m), 0);
	incident_begin(stand_guest(&s, "g", NULL), EV_OOPS,
		       ACT_EVIDENCE | ACT_HOOK, NULL);
	took = stand_run(&s);
	assert_in_range(took, 30000, 33000);
	free(s.m.cfg.hook);
	s.m.cfg.hook = NULL;
	v = stand_json(&s);
	assert_true(json_misses(v, "hook: ended: not done after 30 s"));
	json_decref(v);
	free(stand_shell("pid=$(tail -n 1 %s/hook.log) && "
			 "! grep -q sleep /proc/$pid/cmdline",
			 newest()));
}

/* ---- disks and directories ---- */

static void full_disk(void **state)
{
	struct fake_vm *vm;
	json_t *v;

	(void)state;
	if (geteuid())
		skip();
	stand_region(&s, 4 * MIB, 1);
	w_line(&s.w, 0);
	memset(s.w.mem + 2 * MIB, 'x', 2 * MIB - 4096);
	if (mount("tmpfs", s.bundles, "tmpfs", 0, "size=1m"))
		skip();
	assert_int_equal(incidents_start(&s.m), 0);
	vm = stand_vm(&s);
	incident_begin(stand_guest(&s, "g", &vm->vm), EV_PANICKED,
		       ACT_DUMP | ACT_RESET, NULL);
	stand_run(&s);
	v = stand_json(&s);
	assert_true(json_misses(v, "region.img: takes "));
	assert_false(json_misses(v, "log.txt"));
	assert_string_equal(json_result(v, "reset"), "done");
	json_decref(v);
	same("log.txt", "-b 1", s.region);
	/* Not one byte is left: no bundle, it is said, and no reset. */
	free(stand_shell("dd if=/dev/zero of=%s/fill bs=4k 2>/dev/null; true",
			 s.bundles));
	vm->calls[0] = '\0';
	incident_begin(guest_find(&s.m, "g", false), EV_PANICKED,
		       ACT_EVIDENCE | ACT_RESET, NULL);
	stand_run(&s);
	assert_false(stand_told.complete);
	assert_null(stand_told.bundle);
	assert_non_null(strstr(stand_told.error, "No space left"));
	assert_null(strchr(vm->calls, 'R'));
	assert_int_equal(on_disk("2*"), 1);
	assert_int_equal(on_disk(".*"), 0);
	/* There is room again. */
	free(stand_shell("rm %s/fill", s.bundles));
	incident_begin(guest_find(&s.m, "g", false), EV_PANICKED,
		       ACT_EVIDENCE | ACT_RESET, NULL);
	stand_run(&s);
	assert_true(stand_told.complete);
	assert_non_null(strchr(vm->calls, 'R'));
	incidents_stop(&s.m);
	assert_int_equal(umount2(s.bundles, 0), 0);
}

/* The evidence can be seen, but may not outlive the host's crash: no reset. */
static void no_reset_before_the_disk_has_it(void **state)
{
	char name[] = "g0";
	struct fake_vm *vm;
	int calls;

	(void)state;
	stand_region(&s, MIB, 1);
	assert_int_equal(incidents_start(&s.m), 0);
	stand_fsyncs = 0;
	incident_begin(stand_guest(&s, "g", &stand_vm(&s)->vm), EV_PANICKED,
		       ACT_EVIDENCE, NULL);
	stand_run(&s);
	calls = stand_fsyncs;
	/* First incident.json, last the three directories, then none. */
	for (int i = 0; i < 5; i++) {
		const int bad[] = { 1, calls - 3, calls - 2, calls - 1, -1 };

		name[1] = (char)('0' + i);
		vm = stand_vm(&s);
		stand_fsyncs = 0;
		stand_fsync_bad = bad[i];
		incident_begin(stand_guest(&s, name, &vm->vm), EV_PANICKED,
			       ACT_EVIDENCE | ACT_RESET, NULL);
		stand_run(&s);
		assert_true(stand_told.complete);
		assert_int_equal(!strchr(vm->calls, 'R'), bad[i] >= 0);
		assert_int_equal(stand_told.error && strstr(stand_told.error,
							    "output error"),
				 bad[i] >= 0);
	}
	assert_int_equal(on_disk("2*"), 6);
}

/* What cannot be removed still counts, and is tried again later. */
static void a_bundle_that_stays(void **state)
{
	char path[4096], *said;

	(void)state;
	if (geteuid())
		skip();
	stand_region(&s, MIB, 1);
	s.m.cfg.bundles_max = 3;
	assert_int_equal(incidents_start(&s.m), 0);
	incident_begin(stand_guest(&s, "g", NULL), EV_OOPS, ACT_EVIDENCE,
		       "first");
	stand_run(&s);
	snprintf(path, sizeof(path), "%s", newest());
	if (mount("tmpfs", path, "tmpfs", 0, "size=64k"))
		skip();
	for (int i = 0; i < 4; i++) {
		incident_begin(s.m.guests, EV_OOPS, ACT_EVIDENCE, NULL);
		stand_run(&s);
		assert_int_equal(on_disk("2*"), i ? 3 : 2);
		assert_int_equal(stand_count(&s, true), i ? 3 : 2);
		assert_int_equal(access(path, F_OK), 0);
	}
	/* The same is told once. */
	said = strstr(stand_log, "cannot be removed");
	assert_non_null(said);
	assert_null(strstr(said + 1, "cannot be removed"));
	assert_int_equal(umount2(path, 0), 0);
	incident_begin(s.m.guests, EV_OOPS, ACT_EVIDENCE, NULL);
	stand_run(&s);
	assert_int_equal(on_disk("2*"), 3);
	assert_int_equal(stand_count(&s, true), 3);
	assert_int_equal(access(path, F_OK), -1);
}

static void keep_free_is_kept(void **state)
{
	struct guest *g;

	(void)state;
	if (geteuid())
		skip();
	stand_region(&s, 4 * MIB, 1);
	w_line(&s.w, 0);
	memset(s.w.mem + 2 * MIB, 'x', 2 * MIB - 4096);
	if (mount("tmpfs", s.bundles, "tmpfs", 0, "size=40m"))
		skip();
	s.m.cfg.keep_free = 16 * MIB;
	assert_int_equal(incidents_start(&s.m), 0);
	g = stand_guest(&s, "g", NULL);
	for (int i = 0; i < 6; i++) {
		incident_begin(g, EV_VMM_GONE, ACT_EVIDENCE, NULL);
		stand_run(&s);
		assert_true(stand_told.complete);
		free(stand_shell("test $(df --output=avail -m %s | tail -n 1) "
				 "-ge 16",
				 s.bundles));
	}
	assert_in_range(on_disk("2*"), 1, 4);
	free(stand_shell("test -s %s/region.img", newest()));
	incidents_stop(&s.m);
	assert_int_equal(umount2(s.bundles, 0), 0);
}

static void what_lies_there_is_read(void **state)
{
	const struct incident *i;
	char *id;

	(void)state;
	stand_region(&s, MIB, 1);
	assert_int_equal(incidents_start(&s.m), 0);
	incident_begin(stand_guest(&s, "g", NULL), EV_OOPS, ACT_EVIDENCE,
		       "first");
	stand_run(&s);
	incident_begin(guest_find(&s.m, "g", false), EV_HUNG, ACT_EVIDENCE,
		       "second");
	stand_run(&s);
	id = strdup(strrchr(newest(), '/') + 1);
	incidents_stop(&s.m);
	/* Half-written, foreign and hostile neighbours. */
	free(stand_shell(
		"cd %s/g && mkdir .%s.tmp && echo x > .%s.tmp/region.img && "
		"mkdir -p notes .hidden .x.tmp/deep/er empty bad1 bad2 bad3 "
		"bad4 bad5 ../..strange '../sp ace' && touch file .tmp && "
		"ln -s /etc link && mkfifo bad1/incident.json && "
		"ln -s ../%s/incident.json bad2/incident.json && "
		"cp %s/incident.json bad3/ && "
		"head -c 3000000 /dev/zero | tr '\\0' '[' > bad4/incident.json "
		"&& printf '{\"format\":1,\"id\":\"bad5\",\"guest\":\"g\","
		"\"event\":\"oops\",\"boot\":-1,\"real_ns\":1e99}' > "
		"bad5/incident.json && ln -s g ../symlink && "
		"mkdir ../other && cp -r %s ../other/",
		s.bundles, id, id, id, id, id));
	assert_int_equal(incidents_start(&s.m), 0);
	i = incidents_list(&s.m);
	assert_non_null(i);
	assert_string_equal(i->id, id);
	assert_string_equal(i->guest, "g");
	assert_string_equal(i->detail, "second");
	assert_int_equal(i->ev, EV_HUNG);
	assert_int_equal(i->boot, 1);
	assert_true(i->complete);
	assert_true(i->bytes > 4096);
	assert_non_null(i->error); /* no VMM to ask for registers */
	i = i->next;
	assert_non_null(i);
	assert_string_equal(i->detail, "first");
	assert_null(i->next);
	free(stand_shell("cd %s/g && test ! -e .%s.tmp && test ! -e .x.tmp && "
			 "test -d notes && test -d .hidden && test -e .tmp && "
			 "test -L link && test -d ../..strange && test -d bad5",
			 s.bundles, id));
	/* A second dlogd would remove what this one writes. */
	struct monitor other = { .cfg = s.m.cfg };

	assert_int_equal(incidents_start(&other), -EBUSY);
	free(id);
}

static void fewer_are_allowed_now(void **state)
{
	(void)state;
	stand_region(&s, MIB, 1);
	assert_int_equal(incidents_start(&s.m), 0);
	for (int i = 0; i < 5; i++)
		incident_begin(i ? s.m.guests : stand_guest(&s, "g", NULL),
			       EV_OOPS, ACT_EVIDENCE, i == 4 ? "last" : NULL);
	stand_run(&s);
	assert_int_equal(on_disk("2*"), 5);
	incidents_stop(&s.m);
	s.m.cfg.bundles_max = 2;
	assert_int_equal(incidents_start(&s.m), 0);
	assert_int_equal(on_disk("2*"), 2);
	assert_int_equal(stand_count(&s, true), 2);
	assert_string_equal(incidents_list(&s.m)->detail, "last");
}

/* What is at hand goes on, by what was so when it began. */
static void reload_stops_nothing(void **state)
{
	json_t *v;

	(void)state;
	stand_region(&s, MIB, 1);
	assert_int_equal(incidents_start(&s.m), 0);
	for (int i = 0; i < 5; i++)
		incident_begin(i ? s.m.guests : stand_guest(&s, "g", NULL),
			       EV_OOPS, ACT_EVIDENCE, NULL);
	stand_run(&s);
	write_hook("sleep 1\necho $DLOG_EVENT\n");
	incident_begin(stand_guest(&s, "busy", NULL), EV_OOPS,
		       ACT_EVIDENCE | ACT_HOOK, "busy");
	free(s.m.cfg.hook);
	s.m.cfg.hook = NULL;
	s.m.cfg.bundles_max = 2;
	incidents_reload(&s.m);
	assert_in_range(on_disk("2*"), 1, 2);
	stand_run(&s);
	v = stand_json(&s);
	assert_string_equal(json_at(v, "detail", NULL), "busy");
	assert_string_equal(json_result(v, "hook"), "done");
	json_decref(v);
	assert_int_equal(on_disk(".*"), 0);
}

static void hostile_names(void **state)
{
	static const char *const bad[] = { "",	  ".",	  "..",
					   ".g",  "a/b",  "a b",
					   "a\n", "\xff", "../../etc" };

	(void)state;
	assert_int_equal(incidents_start(&s.m), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(incident_begin(stand_guest(&s, bad[i], NULL),
						EV_OOPS, ACT_EVIDENCE, NULL),
				 -EINVAL);
	assert_null(incidents_list(&s.m));
}

static void stopping_ends_what_hangs(void **state)
{
	uint64_t from;

	(void)state;
	stand_region(&s, MIB, 1);
	write_hook("exec sleep 1000\n");
	assert_int_equal(incidents_start(&s.m), 0);
	incident_begin(stand_guest(&s, "g", NULL), EV_OOPS,
		       ACT_EVIDENCE | ACT_HOOK, NULL);
	from = stand_ms();
	incidents_stop(&s.m);
	assert_in_range(stand_ms() - from, 5000, 7000);
	free(s.m.cfg.hook);
	s.m.cfg.hook = NULL;
	assert_int_equal(on_disk("2*"), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(bundle_is_whole),
		TEST(cpu_that_is_silent_is_named),
		TEST(vmm_never_answers),
		TEST(evidence_then_dump_then_reset),
		TEST(dump_too_large_is_skipped),
		TEST(unreadable_regions),
		TEST(the_last_words_survive_the_limit),
		TEST(bounded_by_count),
		TEST(bounded_by_bytes),
		TEST(a_flood_is_limited),
		TEST(the_queue_is_bounded),
		TEST(a_thousand_leave_nothing_behind),
		TEST(hook_sees_the_bundle),
		TEST(hook_that_hangs_is_ended),
		TEST(full_disk),
		TEST(no_reset_before_the_disk_has_it),
		TEST(a_bundle_that_stays),
		TEST(keep_free_is_kept),
		TEST(what_lies_there_is_read),
		TEST(fewer_are_allowed_now),
		TEST(reload_stops_nothing),
		TEST(hostile_names),
		TEST(stopping_ends_what_hangs),
	};

	cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
