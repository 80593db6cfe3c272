// SPDX-License-Identifier: GPL-2.0-only
/*
 * guard.c - told at the next store into the guest's region.
 *
 * The pages in QEMU's own mapping of the file are made read-only.  The next
 * store there, by a vCPU or by a device that QEMU emulates, is a SIGSEGV in
 * the thread that stores; our handler notes time and place, makes the zone
 * writable again and returns, and the store is done anew.  One fault for each
 * guard_arm(), nothing while nobody asks.
 *
 * What a thread of QEMU's stores, it stores a moment later.  What the host's
 * kernel stores for QEMU it does not: read(2) into a page that is read-only
 * ends with EFAULT, which the guest sees as an error of its disk.  That takes
 * a guest that lets a disk read straight into its own log.  So pages are
 * guarded only while a driver says that it runs, which has claimed them; only
 * those where the next record or heartbeat goes; and none before the guest
 * runs, so that an incoming migration has passed.
 *
 * Which mappings: those of the same file, as /proc/self/maps has them (a
 * mapping of our own shows how it names the file).  They may go, and other
 * memory may come to lie there: before each arm the region's superblock has
 * to be there still, and once a second the list is read anew.
 *
 * The handler may run in several threads at once, and late: in a thread that
 * faulted before another one's handler made the zone writable.  So it always
 * makes it writable, and tells, whatever the state.  A telling too many is
 * harmless, one too few is not.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "watch.h"

#define MAPPINGS 8u /* of the region, as long as QEMU lives */
#define SCAN_NS 1000000000u /* between two looks at all of QEMU's memory */
#define SCAN_FAILED_NS 100000000u /* after one that found nothing */

/*
 * Set once and never changed, but for @live and @seen: the handler reads them
 * at any time.  Offset 0 of the file would lie at @zero.
 */
struct mapping {
	uintptr_t zero;
	uint64_t from, to; /* offsets in the file that are mapped */
	bool live;
	bool seen; /* by the scan that goes on */
};

struct zone_state {
	struct span all; /* whole pages */
	bool armed;
	bool hit; /* first.* is set */
	struct hit first;
};

static struct {
	int fd, event;
	uint64_t page;
	void *own; /* our own mapping of the first page, never touched */
	struct mapping map[MAPPINGS];
	unsigned int nr;
	struct zone_state zone[ZONES];
	uint64_t scanned; /* our time */
	bool begun, told_many;
	bool all; /* everything is guarded: guard_arm_all() */
	struct sigaction old;
} guard = { .fd = -1, .event = -1 };

struct dlog_superblock guard_sb;
uint64_t guard_size;
bool (*guard_told)(uint64_t offset, uintptr_t address);

/* ---- the handler: nothing here but what signal-safety(7) allows ---- */

/* The part of @s that @m maps; false: none. */
static bool clip(const struct mapping *m, struct span *s)
{
	if (s->from < m->from)
		s->from = m->from;
	if (s->to > m->to)
		s->to = m->to;
	return s->from < s->to;
}

static int protect(const struct mapping *m, struct span s, int prot)
{
	if (!clip(m, &s))
		return 0;
	return mprotect((void *)(m->zero + s.from), s.to - s.from, prot);
}

static const struct span everything = { 0, UINT64_MAX };

/* All that is mapped, of all mappings. */
static bool protect_all(int prot)
{
	unsigned int nr = __atomic_load_n(&guard.nr, __ATOMIC_ACQUIRE);
	bool good = true;

	for (unsigned int i = 0; i < nr; i++)
		if (__atomic_load_n(&guard.map[i].live, __ATOMIC_ACQUIRE))
			good &= !protect(&guard.map[i], everything, prot);
	return good;
}

static void zone_tell(struct zone_state *z, const struct hit *hit)
{
	if (!__atomic_exchange_n(&z->armed, false, __ATOMIC_ACQ_REL))
		return;
	z->first = *hit;
	__atomic_store_n(&z->hit, true, __ATOMIC_RELEASE);
}

/* Was it a store into @m?  Then it can be done now. */
static bool mapping_fault(const struct mapping *m, uintptr_t at)
{
	static const uint64_t one = 1;
	uint64_t off = at - m->zero;
	struct span free = { off - off % guard.page,
			     off - off % guard.page + guard.page };
	struct hit hit = { record_now(), off };
	bool free_all;

	if (!__atomic_load_n(&m->live, __ATOMIC_ACQUIRE) || off < m->from ||
	    off >= m->to)
		return false;
	free_all = guard_told && guard_told(off, at) &&
		   __atomic_exchange_n(&guard.all, false, __ATOMIC_ACQ_REL);
	for (unsigned int i = 0; i < ZONES; i++)
		if (off >= guard.zone[i].all.from && off < guard.zone[i].all.to)
			free = guard.zone[i].all;
	if (free_all ? !protect_all(PROT_READ | PROT_WRITE)
		     : protect(m, free, PROT_READ | PROT_WRITE))
		return false;
	for (unsigned int i = 0; i < ZONES; i++)
		if (free_all || (off >= guard.zone[i].all.from &&
				 off < guard.zone[i].all.to))
			zone_tell(&guard.zone[i], &hit);
	/* EAGAIN: it has been told often enough. */
	return write(guard.event, &one, sizeof(one)) >= 0 || errno == EAGAIN;
}

/* Not ours: as if we were not there. */
static void pass_on(int sig, siginfo_t *info, void *context)
{
	if (guard.old.sa_flags & SA_SIGINFO) {
		guard.old.sa_sigaction(sig, info, context);
	} else if (guard.old.sa_handler == SIG_DFL ||
		   guard.old.sa_handler == SIG_IGN) {
		/* A fault comes again by itself, what was sent does not. */
		signal(sig, SIG_DFL);
		if (info->si_code <= 0)
			raise(sig);
	} else {
		guard.old.sa_handler(sig);
	}
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
	unsigned int nr = __atomic_load_n(&guard.nr, __ATOMIC_ACQUIRE);
	uintptr_t at = (uintptr_t)info->si_addr;
	int saved = errno;
	bool ours = false;

	if (info->si_code == SEGV_ACCERR)
		for (unsigned int i = 0; i < nr && !ours; i++)
			ours = mapping_fault(&guard.map[i], at);
	errno = saved;
	if (!ours)
		pass_on(sig, info, context);
}

/* ---- where QEMU has it ---- */

/* A line of /proc/self/maps (proc(5)). */
struct area {
	uint64_t start, end, offset;
	bool shared, writable;
	char file[48]; /* device and inode */
};

static bool area_parse(const char *line, struct area *a)
{
	unsigned long long start, end, offset, inode;
	char perms[8], device[24];

	if (sscanf(line, "%llx-%llx %7s %llx %23s %llu", &start, &end, perms,
		   &offset, device, &inode) != 6)
		return false;
	a->start = start;
	a->end = end;
	a->offset = offset;
	a->writable = perms[1] == 'w';
	a->shared = perms[3] == 's';
	snprintf(a->file, sizeof(a->file), "%s %llu", device, inode);
	return true;
}

static void mapping_add(const struct mapping *new)
{
	struct mapping *m;

	for (unsigned int i = 0; i < guard.nr; i++) {
		m = &guard.map[i];
		if (m->zero == new->zero && m->from == new->from &&
		    m->to == new->to) {
			m->seen = true;
			__atomic_store_n(&m->live, true, __ATOMIC_RELEASE);
			return;
		}
	}
	if (guard.nr == MAPPINGS) {
		if (!guard.told_many)
			record_say(
				4,
				"the watched region has been mapped too often: it is watched no more where it came last");
		guard.told_many = true;
		return;
	}
	guard.map[guard.nr] = *new;
	__atomic_store_n(&guard.nr, guard.nr + 1, __ATOMIC_RELEASE);
}

/*
 * Of one file, as @name names it.  Our protection cuts a mapping into areas:
 * what lies side by side belongs together, and was writable if any is.
 */
static void mappings_read(FILE *f, const char *name)
{
	struct mapping m = { .live = true, .seen = true };
	bool open = false, writable = false, more = true;
	char *line = NULL;
	size_t room = 0;
	struct area a;

	while (more) {
		bool use;

		more = getline(&line, &room, f) > 0;
		use = more && area_parse(line, &a) && a.shared &&
		      a.start != (uintptr_t)guard.own && !strcmp(a.file, name);
		if (open && (!use || a.start - a.offset != m.zero ||
			     a.offset != m.to)) {
			if (writable)
				mapping_add(&m);
			open = false;
		}
		if (!use)
			continue;
		if (!open) {
			m.zero = a.start - a.offset;
			m.from = a.offset;
			writable = false;
		}
		open = true;
		m.to = a.offset + (a.end - a.start);
		writable |= a.writable;
	}
	free(line);
}

/* How /proc/self/maps names the file that is mapped at guard.own. */
static bool own_name(FILE *f, char *name, size_t size)
{
	char *line = NULL;
	size_t room = 0;
	bool found = false;
	struct area a;

	while (!found && getline(&line, &room, f) > 0)
		found = area_parse(line, &a) && a.start == (uintptr_t)guard.own;
	free(line);
	if (found)
		snprintf(name, size, "%s", a.file);
	return found;
}

static void mappings_scan(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char name[48];

	guard.scanned = record_now();
	if (!f)
		return;
	/* What is guarded stays ours meanwhile: there may be a fault. */
	for (unsigned int i = 0; i < guard.nr; i++)
		guard.map[i].seen = false;
	if (own_name(f, name, sizeof(name))) {
		rewind(f);
		mappings_read(f, name);
	}
	fclose(f);
	for (unsigned int i = 0; i < guard.nr; i++)
		if (!guard.map[i].seen)
			__atomic_store_n(&guard.map[i].live, false,
					 __ATOMIC_RELEASE);
}

/* Is it still the region that lies there?  By what cannot fault. */
static bool mapping_is(const struct mapping *m)
{
	struct dlog_superblock sb;
	struct iovec to = { &sb, sizeof(sb) };
	struct iovec from = { (void *)m->zero, sizeof(sb) };

	return !m->from &&
	       process_vm_readv(getpid(), &to, 1, &from, 1, 0) ==
		       (ssize_t)sizeof(sb) &&
	       !memcmp(&sb, &guard_sb, sizeof(sb));
}

/* Is the region among QEMU's memory? */
static bool guard_found(void)
{
	uint64_t age = record_now() - guard.scanned;
	bool any = false, same = true;

	for (unsigned int i = 0; i < guard.nr; i++) {
		if (!guard.map[i].live)
			continue;
		any = true;
		same = same && mapping_is(&guard.map[i]);
	}
	if (any && same && age < SCAN_NS)
		return true;
	if (!any && guard.scanned && age < SCAN_FAILED_NS)
		return false;
	mappings_scan();
	any = false;
	for (unsigned int i = 0; i < guard.nr; i++)
		any |= guard.map[i].live;
	return any;
}

/* ---- arming ---- */

static struct span whole_pages(struct span s)
{
	s.from -= s.from % guard.page;
	s.to += guard.page - 1;
	s.to -= s.to % guard.page;
	return s;
}

static void zone_free(enum zone z)
{
	for (unsigned int i = 0; i < guard.nr; i++)
		if (guard.map[i].live &&
		    !__atomic_load_n(&guard.all, __ATOMIC_ACQUIRE) &&
		    mapping_is(&guard.map[i]))
			protect(&guard.map[i], guard.zone[z].all,
				PROT_READ | PROT_WRITE);
	__atomic_store_n(&guard.zone[z].armed, false, __ATOMIC_RELEASE);
}

/* Is there a driver whose memory it is? */
static bool claimed(void)
{
	struct dlog_state st;

	if (guard_read(guard_sb.state_off, &st, sizeof(st)) || !st.boot)
		return false;
	switch (st.status) {
	case DLOG_ST_BOOTING:
	case DLOG_ST_RUNNING:
	case DLOG_ST_OOPS:
	case DLOG_ST_PANIC:
	case DLOG_ST_HUNG_TASK:
	case DLOG_ST_SOFT_LOCKUP:
	case DLOG_ST_HARD_LOCKUP:
		return true;
	}
	return false;
}

bool guard_arm(enum zone z, const struct span *spans, unsigned int n)
{
	struct zone_state *zs = &guard.zone[z];

	if (guard_armed(z))
		zone_free(z);
	if (!claimed() || !guard_found())
		return false;
	__atomic_store_n(&zs->hit, false, __ATOMIC_RELAXED);
	__atomic_store_n(&zs->armed, true, __ATOMIC_RELEASE);
	for (unsigned int i = 0; i < guard.nr; i++) {
		if (!guard.map[i].live)
			continue;
		for (unsigned int k = 0; k < n; k++) {
			if (!protect(&guard.map[i], whole_pages(spans[k]),
				     PROT_READ))
				continue;
			zone_free(z);
			return false;
		}
	}
	return true;
}

bool guard_arm_all(void)
{
	if (!guard.nr && !guard_found())
		return false;
	__atomic_store_n(&guard.all, true, __ATOMIC_RELEASE);
	if (protect_all(PROT_READ))
		return true;
	__atomic_store_n(&guard.all, false, __ATOMIC_RELEASE);
	protect_all(PROT_READ | PROT_WRITE);
	return false;
}

bool guard_armed(enum zone z)
{
	return __atomic_load_n(&guard.zone[z].armed, __ATOMIC_ACQUIRE);
}

bool guard_hit(enum zone z, struct hit *hit)
{
	struct zone_state *zs = &guard.zone[z];

	if (!__atomic_load_n(&zs->hit, __ATOMIC_ACQUIRE))
		return false;
	*hit = zs->first;
	__atomic_store_n(&zs->hit, false, __ATOMIC_RELAXED);
	return true;
}

int guard_fd(void)
{
	return guard.event;
}

void guard_clear(void)
{
	uint64_t n;

	if (read(guard.event, &n, sizeof(n)) < 0)
		return; /* nothing was there */
}

int guard_read(uint64_t off, void *buf, size_t len)
{
	ssize_t n = pread(guard.fd, buf, len, (off_t)off);

	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -ERANGE;
}

/* ---- beginning and end ---- */

static int read_super(const char *path)
{
	enum dlog_super_error e;
	struct stat st;
	int ret;

	if (fstat(guard.fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode)) {
		tell("watch=%s is not a file: name the guest's region file",
		     path);
		return -EINVAL;
	}
	ret = guard_read(0, &guard_sb, sizeof(guard_sb));
	e = ret ? DLOG_SUPER_MAGIC
		: dlog_super_check(&guard_sb, (uint64_t)st.st_size);
	guard_size = (uint64_t)st.st_size;
	if (e != DLOG_SUPER_OK) {
		tell("watch=%s is no region: %s; dlog-create makes one", path,
		     dlog_super_strerror(e));
		return -EINVAL;
	}
	return 0;
}

static void zones_place(void)
{
	const struct dlog_superblock *sb = &guard_sb;
	uint64_t slots = sb->state_off + DLOG_PAGE;

	guard.zone[ZONE_RINGS].all = whole_pages((struct span){
		sb->ring_off, sb->ring_off + sb->nr_rings * sb->ring_size });
	guard.zone[ZONE_SLOTS].all = whole_pages((struct span){
		slots, slots + sb->nr_cpus * sizeof(struct dlog_cpu) });
}

int guard_start(const char *path)
{
	int ret;

	guard.page = (uint64_t)sysconf(_SC_PAGESIZE);
	guard.fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (guard.fd < 0) {
		ret = -errno;
		tell("cannot open watch=%s: %s", path, strerror(-ret));
		return ret;
	}
	ret = read_super(path);
	if (ret)
		return ret;
	zones_place();
	guard.own = mmap(NULL, guard.page, PROT_NONE, MAP_SHARED, guard.fd, 0);
	guard.event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (guard.own == MAP_FAILED || guard.event < 0) {
		ret = -errno;
		tell("cannot watch %s: %s", path, strerror(-ret));
		return ret;
	}
	return 0;
}

int guard_begin(void)
{
	struct sigaction sa = {
		.sa_sigaction = on_fault,
		.sa_flags = SA_SIGINFO,
	};

	sigemptyset(&sa.sa_mask);
	if (guard.begun)
		return 0;
	if (sigaction(SIGSEGV, &sa, &guard.old))
		return -errno;
	guard.begun = true;
	return 0;
}

void guard_stop(void)
{
	if (!guard.begun)
		return;
	__atomic_store_n(&guard.all, false, __ATOMIC_RELEASE);
	/* What came to lie there instead has a protection of its own. */
	for (unsigned int i = 0; i < guard.nr; i++)
		if (guard.map[i].live && mapping_is(&guard.map[i]))
			protect(&guard.map[i], everything,
				PROT_READ | PROT_WRITE);
	for (unsigned int z = 0; z < ZONES; z++)
		__atomic_store_n(&guard.zone[z].armed, false, __ATOMIC_RELEASE);
}
