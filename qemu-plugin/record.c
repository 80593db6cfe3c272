// SPDX-License-Identifier: GPL-2.0-only
/*
 * record.c - the plugin's own region: taking it over, writing into it, and
 * going on when the file fails under it.
 *
 * One boot is one life of QEMU.  Times are ns since the plugin was loaded by
 * CLOCK_MONOTONIC, so that they go on while the guest is stopped.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "plugin.h"

/*
 * Names fill the catalog from one life of QEMU to the next; without a type for
 * its event a probe cannot be placed.  So one part in so many is left to types.
 */
#define TYPES_SHARE 8u

static struct {
	const char *path;
	uint8_t *base;
	size_t size; /* of the mapping */
	struct dlog_region region;
	struct dlog_ring *rings;
	unsigned int nr_vcpus, own; /* own: number of the plugin's ring */
	bool blocks;
	bool *there; /* each vCPU */
	bool recording; /* the host may stop it: the control word */
	uint64_t start; /* CLOCK_MONOTONIC, ns */
	unsigned int clocks; /* pairs written */
	pthread_mutex_t catalog_lock;
	struct dlog_catalog_item catalog_end;
	struct sigaction old_bus;
	bool lost; /* the file has failed */
} rec = {
	.catalog_lock = PTHREAD_MUTEX_INITIALIZER,
};

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

uint64_t record_now(void)
{
	return clock_ns(CLOCK_MONOTONIC) - rec.start;
}

uint32_t record_boot(void)
{
	return rec.region.boot;
}

/* ---- appending ---- */

/* QEMU's threads block SIGBUS, and what is blocked ends the process. */
void record_guard_thread(void)
{
	static __thread bool done;
	sigset_t set;

	if (done)
		return;
	done = true;
	sigemptyset(&set);
	sigaddset(&set, SIGBUS);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

bool record_stopped(void)
{
	return !__atomic_load_n(&rec.recording, __ATOMIC_RELAXED);
}

static void append(struct dlog_ring *r, uint32_t type, const void *data,
		   size_t len)
{
	record_guard_thread();
	if (!record_stopped())
		dlog_ring_append(r, type, record_now(), data, len);
}

void record_event(unsigned int vcpu, int id, const void *data, size_t len)
{
	append(&rec.rings[vcpu], DLOG_TYPE(DLOG_KIND_EVENT, id), data, len);
}

void record_text(unsigned int vcpu, uint32_t pri, const void *text, size_t len)
{
	append(&rec.rings[vcpu], DLOG_TYPE(DLOG_KIND_TEXT, pri), text, len);
}

void record_own_event(int id, const void *data, size_t len)
{
	append(&rec.rings[rec.own], DLOG_TYPE(DLOG_KIND_EVENT, id), data, len);
}

void record_say(uint32_t level, const char *format, ...)
{
	char text[512];
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	if (n < 0)
		return;
	if ((size_t)n >= sizeof(text))
		n = sizeof(text) - 1;
	append(&rec.rings[rec.own],
	       DLOG_TYPE(DLOG_KIND_TEXT, DLOG_PRI(3, level)), text, (size_t)n);
}

struct dlog_ring *record_block_ring(unsigned int vcpu)
{
	return &rec.rings[rec.nr_vcpus + vcpu];
}

size_t record_max(void)
{
	return dlog_ring_max_len(rec.region.sb.subbuf_size);
}

/* ---- the catalog ---- */

int record_catalog(uint32_t type, const void *data, uint32_t len)
{
	uint64_t room = rec.region.sb.catalog_size;
	int ret = -ENOSPC;

	record_guard_thread();
	room -= room / TYPES_SHARE;
	pthread_mutex_lock(&rec.catalog_lock);
	if (rec.catalog_end.next + DLOG_REC_SIZE(len) <= room)
		ret = dlog_catalog_append(&rec.region, &rec.catalog_end,
					  record_now(), type, data, len);
	pthread_mutex_unlock(&rec.catalog_lock);
	return ret;
}

int record_catalog_each(void (*each)(uint32_t type, const void *data,
				     uint32_t len))
{
	struct dlog_catalog_item it = { 0 };
	void *copy = malloc(65536);

	if (!copy) {
		tell("no memory to read the catalog of %s", rec.path);
		return -ENOMEM;
	}
	/* A copy: it is a file, which may change under us. */
	while (dlog_catalog_next(&rec.region, &it)) {
		memcpy(copy, it.data, it.len);
		each(it.type, copy, it.len);
	}
	free(copy);
	return 0;
}

int record_event_type(const char *name, const char *fields)
{
	static uint8_t buf[65536];
	int id;

	record_guard_thread();
	pthread_mutex_lock(&rec.catalog_lock);
	id = dlog_catalog_add(&rec.region, record_now(), name, fields, "", buf,
			      sizeof(buf));
	while (dlog_catalog_next(&rec.region, &rec.catalog_end))
		;
	pthread_mutex_unlock(&rec.catalog_lock);
	if (id == -ENOSPC)
		tell("%s: the catalog is full; make a region with a larger one: dlog-create --catalog SIZE",
		     rec.path);
	else if (id < 0)
		tell("%s: the event %s does not fit into the catalog", rec.path,
		     name);
	return id;
}

/* ---- a file that fails while it is used ---- */

/*
 * The file was cut short, or its disk is full or broken: memory takes its
 * place, and the guest does not notice.  Anybody else's signal is passed on.
 */
static void on_bus_error(int sig, siginfo_t *info, void *context)
{
	static const char text[] =
		"dlog-plugin: the region file has failed, recording goes nowhere from now on\n";
	uintptr_t at = (uintptr_t)info->si_addr & ~(uintptr_t)(DLOG_PAGE - 1);
	uintptr_t base = (uintptr_t)rec.base;

	if (at >= base && at - base < rec.size &&
	    mmap((void *)at, DLOG_PAGE, PROT_READ | PROT_WRITE,
		 MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1,
		 0) != MAP_FAILED) {
		if (!__atomic_exchange_n(&rec.lost, true, __ATOMIC_RELAXED) &&
		    write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
			return;
		return;
	}
	if (rec.old_bus.sa_flags & SA_SIGINFO) {
		rec.old_bus.sa_sigaction(sig, info, context);
	} else if (rec.old_bus.sa_handler == SIG_DFL ||
		   rec.old_bus.sa_handler == SIG_IGN) {
		signal(sig, SIG_DFL);
	} else {
		rec.old_bus.sa_handler(sig);
	}
}

void record_guard(void)
{
	struct sigaction sa = {
		.sa_sigaction = on_bus_error,
		.sa_flags = SA_SIGINFO | SA_NODEFER,
	};
	struct sigaction old;

	sigaction(SIGBUS, NULL, &old);
	if (old.sa_flags & SA_SIGINFO && old.sa_sigaction == on_bus_error)
		return;
	rec.old_bus = old;
	sigemptyset(&sa.sa_mask);
	sigaction(SIGBUS, &sa, NULL);
}

/* ---- taking over ---- */

static int check_geometry(const char *path)
{
	uint32_t have = rec.region.sb.nr_rings;
	uint32_t need = rec.nr_vcpus * (rec.blocks ? 2 : 1) + 1;

	if (have >= need)
		return 0;
	tell("%s has %u rings, and %u vCPUs%s need %u: make it anew with dlog-create --rings %u, or with other -smp",
	     path, have, rec.nr_vcpus, rec.blocks ? " with blocks=on" : "",
	     need, need);
	return -ENOSPC;
}

/* Maps *@fd; every block of the file is there afterwards. */
static int map_file(const char *path, int fd)
{
	enum dlog_super_error e;
	struct stat st;
	int ret;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode)) {
		tell("%s is not a file: dlog-create makes one", path);
		return -EINVAL;
	}
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		tell("%s is in use by another QEMU: give each its own file",
		     path);
		return -EBUSY;
	}
	if (st.st_size < DLOG_REGION_MIN) {
		tell("%s is no region: %s; dlog-create makes one", path,
		     dlog_super_strerror(DLOG_SUPER_MAGIC));
		return -EINVAL;
	}
	rec.size = (size_t)st.st_size;
	rec.base = mmap(NULL, rec.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			0);
	if (rec.base == MAP_FAILED) {
		ret = -errno;
		tell("cannot map %s: %s", path, strerror(-ret));
		return ret;
	}
	e = dlog_region_open(&rec.region, rec.base, rec.size);
	if (e != DLOG_SUPER_OK) {
		tell("%s is no region that can be written: %s; dlog-create makes one",
		     path, dlog_super_strerror(e));
		return -EINVAL;
	}
	ret = posix_fallocate(fd, 0, st.st_size);
	if (ret) {
		tell("cannot reserve the disk space of %s: %s", path,
		     strerror(ret));
		return -ret;
	}
	return 0;
}

static int make_rings(void)
{
	unsigned int nr = rec.region.sb.nr_rings;

	rec.rings = aligned_alloc(128, nr * sizeof(*rec.rings));
	rec.there = calloc(rec.nr_vcpus, sizeof(*rec.there));
	if (rec.rings && rec.there)
		return 0;
	tell("no memory for %u rings", nr);
	return -ENOMEM;
}

static int begin_boot(const char *target)
{
	unsigned int nr = rec.region.sb.nr_rings;
	struct dlog_ring_end *ends = calloc(nr, sizeof(*ends));
	struct dlog_boot_info info = {
		.time = record_now(),
		.real = clock_ns(CLOCK_REALTIME),
	};

	if (!ends) {
		tell("no memory for %u rings", nr);
		return -ENOMEM;
	}
	if (getrandom(info.boot_id, sizeof(info.boot_id), GRND_NONBLOCK) < 0)
		memset(info.boot_id, 0, sizeof(info.boot_id));
	snprintf(info.release, sizeof(info.release), "QEMU, plugin API %d",
		 api.version);
	snprintf(info.machine, sizeof(info.machine), "%s", target);
	dlog_region_begin(&rec.region, &info, ends);
	for (unsigned int i = 0; i < nr; i++)
		dlog_ring_init(&rec.rings[i], &rec.region, i, &ends[i],
			       i != rec.own, false);
	free(ends);
	return 0;
}

static void set_state(void)
{
	struct dlog_state *st = dlog_region_state(&rec.region);

	rec.recording = !(st->control & DLOG_CONTROL_STOP);
	dlog_put32(&st->memtype, DLOG_MT_WB);
	dlog_put32(&st->period_ms, 1000);
	dlog_put32(&st->online, 0);
	dlog_put32(&st->recording, rec.recording);
	dlog_region_status(&rec.region, DLOG_ST_RUNNING, record_now());
	while (dlog_catalog_next(&rec.region, &rec.catalog_end))
		;
}

int record_start(const char *path, unsigned int nr_vcpus, bool blocks)
{
	/* The descriptor stays open: it holds the lock. */
	int ret, fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY);

	rec.path = path;
	rec.nr_vcpus = nr_vcpus;
	rec.blocks = blocks;
	rec.own = nr_vcpus * (blocks ? 2 : 1);
	rec.start = clock_ns(CLOCK_MONOTONIC);
	if (fd < 0) {
		ret = -errno;
		tell("cannot open %s: %s%s", path, strerror(-ret),
		     ret == -ENOENT ? "; dlog-create makes it" : "");
		return ret;
	}
	ret = map_file(path, fd);
	if (!ret)
		ret = check_geometry(path);
	if (!ret)
		ret = make_rings();
	if (ret)
		close(fd);
	return ret;
}

int record_begin(const char *target)
{
	int ret = begin_boot(target);

	if (ret)
		return ret;
	set_state();
	record_say(6, "recording for %u vCPUs, plugin API %d", rec.nr_vcpus,
		   api.version);
	return 0;
}

static void read_control(void)
{
	struct dlog_state *st = dlog_region_state(&rec.region);
	bool on = !(*(volatile uint32_t *)&st->control & DLOG_CONTROL_STOP);

	if (on == rec.recording)
		return;
	__atomic_store_n(&rec.recording, on, __ATOMIC_RELAXED);
	dlog_put32(&st->recording, on);
}

void record_vcpu(unsigned int vcpu, bool there)
{
	__atomic_store_n(&rec.there[vcpu], there, __ATOMIC_RELAXED);
}

static bool was_there(unsigned int vcpu)
{
	const struct dlog_cpu *c = dlog_region_cpu(&rec.region, vcpu);

	return c && c->boot == rec.region.boot && c->online;
}

/* Heartbeats of the vCPUs there are; one that has gone is told of once. */
static void beat_vcpus(void)
{
	unsigned int online = 0;

	for (unsigned int i = 0; i < rec.nr_vcpus; i++) {
		bool there = __atomic_load_n(&rec.there[i], __ATOMIC_RELAXED);

		online += there;
		if (!there && !was_there(i))
			continue;
		dlog_region_beat_begin(&rec.region, i);
		dlog_region_beat(&rec.region, i, i, &rec.rings[i], record_now(),
				 there);
	}
	dlog_put32(&dlog_region_state(&rec.region)->online, online);
}

void record_beat(void)
{
	uint64_t before, real, after;

	beat_vcpus();
	before = record_now();
	real = clock_ns(CLOCK_REALTIME);
	after = record_now();
	dlog_region_clock(&rec.region, rec.clocks++,
			  before + (after - before) / 2, real, after - before);
	read_control();
}

void record_stop(void)
{
	record_beat();
	record_say(6, "QEMU ends");
	dlog_region_status(&rec.region, DLOG_ST_HALT, record_now());
}
