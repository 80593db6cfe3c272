// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * writers.c - threads as CPUs, signals as interrupts and NMIs, lap after lap,
 * while two readers read: none may ever show a byte that nobody committed.
 *
 * For each of several geometries a region is made; round after round it is
 * taken over as a next boot, and writer threads append to it: each to a
 * private ring, which the signals of its own timers append to as well while
 * the thread is in the middle of an append, or all to one ring.  A *follower*
 * (on the file) and a *snapshotter* (on memory of its own, or the file) check
 * every record that libdlog gives them.  At the end of a round the region is
 * surveyed (survey.h): nothing that was committed and not lapped may be
 * missing, and all numbers must add up.  A *paced* geometry keeps writers
 * from lapping the follower; then it must see every single record.
 *
 * Under ThreadSanitizer (NAME.tsan) there are no signals: it hands them out
 * at system calls only, never inside an append.  See tsan below.
 */
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>

#include "survey.h"

#if defined(__SANITIZE_THREAD__)
#define TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TSAN 1
#endif
#endif
#ifndef TSAN
#define TSAN 0
#endif

#if TSAN
/*
 * Bytes of the region are raced for by design: a reader copies them while
 * they are stored, and a writer of a shared ring stores where another one
 * stored a lap before without anything that orders the two.  The check of
 * each record decides, not an order, so those races are no errors: the ones
 * whose access is a store into the region (dlog_record_write and its put
 * functions) or the reader's copy (dlog_fetch).  Nothing else is suppressed;
 * the producer's own words (head, records, place, dropped) must be clean.
 */
const char *__tsan_default_suppressions(void);
__attribute__((visibility("default"))) const char *
__tsan_default_suppressions(void)
{
	return "race_top:^dlog_put64$\n"
	       "race_top:^dlog_put32$\n"
	       "race_top:^dlog_put32_release$\n"
	       "race:^dlog_fetch$\n";
}

const char *__tsan_default_options(void);
__attribute__((visibility("default"))) const char *__tsan_default_options(void)
{
	return "exitcode=66:halt_on_error=0";
}
#endif

#define DEFAULT_RECORDS (TSAN ? 600000u : 30000000u)
#define ROUND_RECORDS (TSAN ? 50000u : 800000u)
#define ROUNDS_MAX 2000u
#define IRQ_NS 47000 /* periods of the timers, where signals are dense */
#define NMI_NS 31000
#define SPARSE 10 /* times as long elsewhere: a signal costs 100 appends */
#define DRAIN_S 5 /* for the follower to come to the end */

struct config {
	const char *name;
	uint32_t threads, subbuf;
	uint64_t ring_size;
	bool shared, paced, dense;
	uint32_t share; /* of all records, in sum 100 */
};

static const struct config configs[] = {
	{ "private, nested all the time", 2, 4096, 1 << 17, .dense = true,
	  .share = 2 },
	{ "private, 16 sub-buffers of 4 KiB", 2, 4096, 1 << 16, .share = 23 },
	{ "private, 64 of 16 KiB", 2, 16384, 1 << 20, .share = 20 },
	{ "private, 8 of 64 KiB", 3, 65536, 1 << 19, .share = 15 },
	{ "private, follower keeps up", 2, 8192, 1 << 20, .paced = true,
	  .share = 10 },
	{ "shared, 16 MiB", 4, 16384, 1 << 24, .shared = true, .share = 15 },
	{ "shared, 64 KiB, writers lapped", 3, 4096, 1 << 16, .shared = true,
	  .share = 10 },
	{ "shared, follower keeps up", 2, 4096, 1 << 22, .shared = true,
	  .paced = true, .share = 5 },
};

#define NR_CONFIGS (sizeof(configs) / sizeof(configs[0]))

/* ---- what the threads share; one geometry at a time ---- */

static struct s_world world;
static const struct config *config;
static struct dlog_ring rings[S_RINGS];

static struct {
	uint64_t appended, dropped, destroyed, lost, rounds;
	uint64_t follower, snapshots, snapshot_runs, rest, late, missed;
	uint64_t nested[S_LEVELS]; /* [2]: NMI in irq in task, all in append */
} total;

static bool stop; /* readers: this geometry is done */
static uint64_t shown_in_boot[ROUNDS_MAX + 2]; /* by the follower */
static uint64_t follower_at[S_RINGS]; /* its position, for pacing */
static bool follower_gone; /* by an error: nobody waits for it */
static uint64_t long_stops; /* writers that were lapped in an append */

static inline uint64_t get(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static inline void set(uint64_t *p, uint64_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
}

static inline void add(uint64_t *p, uint64_t v)
{
	__atomic_fetch_add(p, v, __ATOMIC_RELAXED);
}

static void nap(long us)
{
	struct timespec ts = { .tv_nsec = us * 1000 };

	nanosleep(&ts, NULL);
}

/* ---- writers ---- */

struct thread {
	pthread_t id;
	struct s_writer writer;
	uint64_t quota;
	uint64_t nested[S_LEVELS];
	bool over_task; /* the irq that runs came into an append */
};

static __thread struct thread *self;

/* On a shared ring: was this writer stopped for as long as a lap? */
static void append(struct s_writer *wr, uint32_t level)
{
	uint64_t before, after, records;

	if (!config->shared) {
		s_append(wr, level);
		return;
	}
	dlog_ring_tell(wr->ring, &before, &records);
	s_append(wr, level);
	dlog_ring_tell(wr->ring, &after, &records);
	if (after - before + 2 * wr->subbuf > world.rg.sb.ring_size)
		add(&long_stops, 1);
}

static void on_irq(int sig)
{
	struct s_writer *wr = &self->writer;
	uint32_t n = 1 + (wr->ctx[1].begun & 7);

	(void)sig;
	self->over_task = wr->inside[0];
	self->nested[1] += self->over_task;
	while (n--)
		append(wr, 1);
}

static void on_nmi(int sig)
{
	struct s_writer *wr = &self->writer;
	uint32_t n = 1 + (wr->ctx[2].begun & 1);

	(void)sig;
	self->nested[0] += wr->inside[1];
	self->nested[2] += wr->inside[1] && wr->inside[0] && self->over_task;
	while (n--)
		append(wr, 2);
}

static void set_handlers(void)
{
	struct sigaction sa = { .sa_handler = on_irq, .sa_flags = SA_RESTART };

	sigemptyset(&sa.sa_mask);
	sigaction(SIGUSR1, &sa, NULL);
	/* An NMI is interrupted by nothing. */
	sa.sa_handler = on_nmi;
	sigaddset(&sa.sa_mask, SIGUSR1);
	sigaction(SIGUSR2, &sa, NULL);
}

static void mask(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(how, &set, NULL);
}

static bool arm(timer_t *timer, int sig, long period)
{
	struct itimerspec its = { { 0, period }, { 0, period } };
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID,
			       .sigev_signo = sig };

	ev._sigev_un._tid = (pid_t)syscall(SYS_gettid);
	return !timer_create(CLOCK_MONOTONIC, &ev, timer) &&
	       !timer_settime(*timer, 0, &its, NULL);
}

/* Not more than half a ring ahead of the follower. */
static void pace(const struct s_writer *wr)
{
	uint64_t most = world.rg.sb.ring_size / 2, position, records;

	dlog_ring_tell(wr->ring, &position, &records);
	while (position > get(&follower_at[wr->nr]) + most &&
	       !__atomic_load_n(&follower_gone, __ATOMIC_ACQUIRE))
		nap(300);
}

static uint64_t written(const struct s_writer *wr)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < S_LEVELS; i++)
		n += __atomic_load_n(&wr->ctx[i].done, __ATOMIC_RELAXED);
	return n;
}

static void *writer_main(void *arg)
{
	long times = config->dense ? 1 : SPARSE;
	timer_t irq, nmi;

	self = arg;
	if (!TSAN) {
		if (!arm(&irq, SIGUSR1, IRQ_NS * times) ||
		    !arm(&nmi, SIGUSR2, NMI_NS * times))
			s_wrong("timer: %s", strerror(errno));
		mask(SIG_UNBLOCK);
	}
	while (written(&self->writer) < self->quota) {
		for (uint32_t i = 0; i < 32; i++)
			append(&self->writer, 0);
		if (config->paced)
			pace(&self->writer);
	}
	if (!TSAN) {
		mask(SIG_BLOCK);
		timer_delete(irq);
		timer_delete(nmi);
	}
	return NULL;
}

/* ---- readers ---- */

/* Which of its context's numbers a follower has seen: a ring's worth. */
struct seen {
	uint32_t boot;
	uint64_t next; /* one above the highest */
	uint8_t *bit; /* of the last @window numbers */
};

static uint64_t window; /* power of two */
static struct seen seen[S_CTX][2]; /* of the last two boots */

static void seen_reset(struct seen *s, uint32_t boot)
{
	s->boot = boot;
	s->next = 0;
	memset(s->bit, 0, window / 8);
}

/* A record comes once, and in order unless it was in flight. */
static void follow_one(const struct dlog_entry *e)
{
	struct seen *s = &seen[s_entry_ctx(e)][e->boot & 1];
	uint64_t seq = s_entry_seq(e), bit = seq & (window - 1);

	if (s->boot > e->boot) {
		s_wrong("follower: boot %u after %u", e->boot, s->boot);
		return;
	}
	if (s->boot < e->boot)
		seen_reset(s, e->boot);
	if (seq >= s->next) {
		uint64_t clear = seq - s->next;

		for (uint64_t i = 0; i < clear && i < window; i++) {
			uint64_t k = (s->next + i) & (window - 1);

			s->bit[k / 8] &= (uint8_t) ~(1u << k % 8);
		}
		s->next = seq + 1;
	} else if (s->next - seq > window || s->bit[bit / 8] >> bit % 8 & 1) {
		s_wrong("follower: ring %u boot %u context %u number %" PRIu64
			" twice",
			e->ring, e->boot, s_entry_ctx(e), seq);
	} else {
		total.late++;
	}
	s->bit[bit / 8] |= (uint8_t)(1u << bit % 8);
}

static void *follower_main(void *arg)
{
	struct dlog_error err = { "" };
	struct dlog_reader *r = NULL;
	struct dlog_entry e;
	struct dlog *d;
	int ret = dlog_open(&d, world.path, 0, &err);

	(void)arg;
	s_reader = "follower";
	if (!ret)
		ret = dlog_reader_new(&r, &d, 1, DLOG_READER_FOLLOW, &err);
	while (!ret && !__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		ret = dlog_reader_next(r, &e, 20);
		if (ret <= 0)
			continue;
		ret = 0;
		total.follower++;
		if (!s_verify(&world, &e))
			continue;
		follow_one(&e);
		set(&follower_at[e.ring], e.position);
		set(&shown_in_boot[e.boot], shown_in_boot[e.boot] + 1);
		if (total.follower % 1024 == 0)
			set(&total.missed, dlog_reader_missed(r));
	}
	if (ret) {
		s_wrong("follower: %d %s", ret, err.text);
		__atomic_store_n(&follower_gone, true, __ATOMIC_RELEASE);
		return NULL;
	}
	set(&total.missed, dlog_reader_missed(r));
	dlog_reader_free(r);
	dlog_close(d);
	return NULL;
}

/* One snapshot: each context's numbers rise. */
static int snapshot(struct dlog *d)
{
	uint64_t next[S_CTX] = { 0 };
	uint32_t boot[S_CTX] = { 0 };
	struct dlog_reader *r;
	struct dlog_entry e;
	int ret = dlog_reader_new(&r, &d, 1, 0, NULL);

	if (ret)
		return ret;
	while ((ret = dlog_reader_next(r, &e, 0)) > 0) {
		uint32_t ctx = s_entry_ctx(&e);

		total.snapshots++;
		if (!s_verify(&world, &e))
			continue;
		if (e.boot < boot[ctx] ||
		    (e.boot == boot[ctx] && s_entry_seq(&e) < next[ctx]))
			s_wrong("snapshot: ring %u boot %u context %u: number "
				"%" PRIu64 ", before it %" PRIu64,
				e.ring, e.boot, ctx, s_entry_seq(&e),
				next[ctx] - 1);
		boot[ctx] = e.boot;
		next[ctx] = s_entry_seq(&e) + 1;
	}
	dlog_reader_free(r);
	return ret;
}

/*
 * Loss numbers of a region that is written: within what is possible.  What a
 * lap takes during the scan is overwritten, so on a private ring nothing is
 * torn or corrupt but what its contexts had in flight when each sub-buffer
 * was read.
 */
static int live_loss(struct dlog *d)
{
	struct dlog_loss *l;
	uint64_t most = config->ring_size / config->subbuf * S_LEVELS;
	int n = dlog_get_loss(d, &l);

	for (int i = 0; i < n; i++) {
		struct s_ctx sum = s_sum(&world, l[i].boot, l[i].ring);
		uint64_t lost = l[i].torn + l[i].corrupt;

		if (l[i].reserved != l[i].records + l[i].overwritten + lost ||
		    l[i].records > sum.begun ||
		    (!config->shared && lost > most))
			s_wrong("live loss: ring %u boot %u: records %" PRIu64
				" of %" PRIu64 ", reserved %" PRIu64
				", torn %" PRIu64 ", corrupt %" PRIu64,
				l[i].ring, l[i].boot, l[i].records, sum.begun,
				l[i].reserved, l[i].torn, l[i].corrupt);
	}
	if (n >= 0)
		free(l);
	return n < 0 ? n : 0;
}

static void *snapshot_main(void *arg)
{
	struct dlog_error err = { "" };
	struct dlog *d[2];
	uint8_t *map = mmap(NULL, world.size, PROT_READ, MAP_SHARED, world.fd,
			    0);
	int ret;

	(void)arg;
	s_reader = "snapshot";
	/* As a host does: by the file, and by a mapping of its own. */
	ret = map == MAP_FAILED ? -errno : 0;
	if (!ret)
		ret = dlog_open(&d[0], world.path, 0, &err);
	if (!ret)
		ret = dlog_open_memory(&d[1], map, world.size, "memory", &err);
	for (uint32_t i = 0; !ret && !__atomic_load_n(&stop, __ATOMIC_ACQUIRE);
	     i++) {
		ret = snapshot(d[i % 2]);
		if (!ret && i % 2 == 0)
			ret = live_loss(d[i / 2 % 2]);
		total.snapshot_runs++;
		nap(2000);
	}
	if (ret) {
		s_wrong("snapshot: %d %s", ret, err.text);
		return NULL;
	}
	dlog_close(d[0]);
	dlog_close(d[1]);
	munmap(map, world.size);
	return NULL;
}

/* ---- rounds ---- */

static double began, told;
static uint64_t wanted;

static void tell(uint64_t now_appended)
{
	double now = s_now(), rate;

	if (now - told < 5)
		return;
	told = now;
	rate = (double)now_appended / (now - began);
	printf("%.1f of %.0f million appended, %.2f million/s, %.0f s left, "
	       "wrong %" PRIu64 "\n",
	       (double)now_appended * 1e-6, (double)wanted * 1e-6, rate * 1e-6,
	       ((double)wanted - (double)now_appended) / rate, s_count_wrong());
	fflush(stdout);
}

/* All writers of one boot, from the first append to the last. */
static int write_round(uint64_t records)
{
	struct thread *t = calloc(config->threads, sizeof(*t));
	uint32_t n = 0;
	int ret = t ? s_begin(&world) : -ENOMEM;

	for (uint32_t i = 0; !ret && i < world.rg.sb.nr_rings; i++) {
		dlog_ring_init(&rings[i], &world.rg, i, &world.ends[i],
			       !config->shared, false);
		if (config->paced) /* a boot begins where the last ended */
			set(&follower_at[i], world.ends[i].next);
	}
	for (; !ret && n < config->threads; n++) {
		t[n].quota = records / config->threads;
		ret = s_writer_init(&t[n].writer, &world,
				    &rings[world.ring_of[n * 4]], n);
		if (!ret)
			ret = -pthread_create(&t[n].id, NULL, writer_main,
					      &t[n]);
		if (ret)
			break;
	}
	for (uint32_t i = 0; i < n; i++) {
		pthread_join(t[i].id, NULL);
		for (uint32_t k = 0; k < S_LEVELS; k++)
			total.nested[k] += t[i].nested[k];
		free(t[i].writer.buf);
	}
	for (uint32_t i = 0; !ret && i < world.rg.sb.nr_rings; i++)
		dlog_region_beat(&world.rg, i, i, &rings[i], 1, true);
	free(t);
	return ret;
}

/*
 * The follower must come to each context's last record, or with @all to every
 * record.  True when it has.
 */
static bool drained(bool all, uint64_t appended)
{
	uint32_t boot = world.rg.boot;

	for (uint32_t i = 0; i < world.rg.sb.nr_rings; i++) {
		struct s_ctx sum = s_sum(&world, boot, i);
		uint64_t position, records;

		dlog_ring_tell(&rings[i], &position, &records);
		if (sum.done &&
		    get(&follower_at[i]) + world.rg.sb.subbuf_size * 2 <
			    position)
			return false;
	}
	return !all || get(&shown_in_boot[boot]) == appended;
}

/* Name a record that is there and was never given. */
static void tell_unseen(const struct s_survey *s)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct s_item *t = &s->item[i];
		struct seen *k = &seen[t->ctx][t->boot & 1];
		uint64_t bit = t->seq & (window - 1);

		if (t->boot != world.rg.boot || k->boot != t->boot ||
		    (t->seq < k->next && k->bit[bit / 8] >> bit % 8 & 1))
			continue;
		printf("never given: ring %u context %u number %" PRIu64
		       " of %" PRIu64 ", position %" PRIu64 " (%" PRIu64
		       " into its sub-buffer), %u bytes, %zu behind it\n",
		       t->ring, t->ctx, t->seq,
		       world.truth[t->boot][t->ctx].done, t->position,
		       t->position % world.rg.sb.subbuf_size, t->size,
		       s->n - i - 1);
		return;
	}
}

static int round_end(struct s_survey *s, uint64_t stops)
{
	uint64_t appended = 0, position, records;
	double until = s_now() + DRAIN_S;
	bool lapped = get(&long_stops) != stops;
	int ret;

	s->lapped_writer = lapped && config->shared;
	ret = s_survey(&world, s, true);
	total.rest += s->n;
	total.destroyed += s->holes;
	total.lost += s->lost;
	for (uint32_t i = 0; i < world.rg.sb.nr_rings; i++) {
		struct s_ctx sum = s_sum(&world, world.rg.boot, i);

		dlog_ring_tell(&rings[i], &position, &records);
		if (records != sum.done || sum.begun != sum.done ||
		    rings[i].dropped != sum.dropped)
			s_wrong("ring %u counts %" PRIu64 " records, %" PRIu64
				" dropped; writers %" PRIu64 ", %" PRIu64,
				i, records, rings[i].dropped, sum.done,
				sum.dropped);
		appended += sum.done;
		total.dropped += sum.dropped;
	}
	total.appended += appended;
	total.rounds++;
	if (s->lapped_writer)
		return ret;
	while (!drained(config->paced, appended) && s_now() < until)
		nap(2000);
	if (!drained(config->paced, appended)) {
		tell_unseen(s);
		s_wrong("follower: %" PRIu64 " of boot %u's %" PRIu64
			" records after %d s of rest",
			get(&shown_in_boot[world.rg.boot]), world.rg.boot,
			appended, DRAIN_S);
	}
	return ret;
}

static int run_rounds(uint64_t records)
{
	uint64_t each = records / (ROUNDS_MAX - 1), done = 0;
	struct s_survey s = { 0 };
	int ret = 0;

	each = each < ROUND_RECORDS ? ROUND_RECORDS : each;
	while (!ret && done < records && s_count_wrong() < 1000) {
		uint64_t stops = get(&long_stops), before = total.appended;

		ret = write_round(each < records - done ? each
							: records - done);
		if (!ret)
			ret = round_end(&s, stops);
		done += total.appended - before;
		tell(total.appended);
	}
	s_survey_free(&s);
	return ret;
}

static int prepare(void)
{
	uint32_t nr = config->shared ? 1 : config->threads;
	int ret = s_create(&world, nr, config->ring_size, config->subbuf,
			   ROUNDS_MAX);

	for (uint32_t i = 0; i < S_CTX; i++)
		world.ring_of[i] = config->shared ? 0 : (uint8_t)(i / 4);
	memset(shown_in_boot, 0, sizeof(shown_in_boot));
	memset(follower_at, 0, sizeof(follower_at));
	window = 1;
	while (window < config->ring_size / DLOG_HDR)
		window *= 2;
	for (uint32_t i = 0; !ret && i < S_CTX * 2; i++) {
		struct seen *s = &seen[i / 2][i % 2];

		s->bit = calloc(1, window / 8);
		s->boot = 0;
		if (!s->bit)
			ret = -ENOMEM;
	}
	return ret;
}

static int run_config(const struct config *c, uint64_t records)
{
	uint64_t before = total.appended, followed = total.follower;
	pthread_t follower, snapper;
	double start = s_now();
	int ret;

	config = c;
	ret = prepare();
	if (ret) {
		printf("%s: %s\n", c->name, strerror(-ret));
		return ret;
	}
	__atomic_store_n(&stop, false, __ATOMIC_RELEASE);
	pthread_create(&follower, NULL, follower_main, NULL);
	pthread_create(&snapper, NULL, snapshot_main, NULL);
	ret = run_rounds(records);
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	pthread_join(follower, NULL);
	pthread_join(snapper, NULL);
	followed = total.follower - followed + total.missed;
	if (followed > total.appended - before || (c->paced && total.missed))
		s_wrong("follower: shown and missed %" PRIu64 " of %" PRIu64
			", missed %" PRIu64,
			followed, total.appended - before, total.missed);
	printf("%-32s %10" PRIu64
	       " appended in %u boots, %.1f s, wrong %" PRIu64 "\n",
	       c->name, total.appended - before, world.rg.boot, s_now() - start,
	       s_count_wrong());
	fflush(stdout);
	for (uint32_t i = 0; i < S_CTX * 2; i++)
		free(seen[i / 2][i % 2].bit);
	s_destroy(&world);
	if (ret)
		printf("%s: %s\n", c->name, strerror(-ret));
	return ret;
}

static const char usage[] =
	"usage: writers [--records N] [--only CONFIG]\n"
	"Threads and signals append records while readers verify every byte.\n"
	"  --records N    records in all, such as 1e9 (default %u)\n"
	"  --only CONFIG  one geometry, from 0 to %zu\n"
	"Exit status: 0 no wrong read, 1 else.\n";

static int finish(int ret)
{
	printf("nested: %" PRIu64 " irqs in a task's append, %" PRIu64
	       " NMIs in an irq's, %" PRIu64 " in both; %" PRIu64
	       " writers lapped, which destroyed %" PRIu64 "; %" PRIu64
	       " rounds, %" PRIu64 " snapshots, %" PRIu64 " came late\n",
	       total.nested[1], total.nested[0], total.nested[2], long_stops,
	       total.destroyed, total.rounds, total.snapshot_runs, total.late);
	printf("appended %" PRIu64 ", shown %" PRIu64 " (followed %" PRIu64
	       ", snapshots %" PRIu64 ", at rest %" PRIu64 "), dropped %" PRIu64
	       ", lost %" PRIu64 ", wrong %" PRIu64 ", %.0f s\n",
	       total.appended, total.follower + total.snapshots + total.rest,
	       total.follower, total.snapshots, total.rest, total.dropped,
	       total.lost, s_count_wrong(), s_now() - began);
	return ret || s_count_wrong() ? S_FAIL : S_PASS;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "records", required_argument, NULL, 'r' },
		{ "only", required_argument, NULL, 'o' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	size_t from = 0, to = NR_CONFIGS;
	int opt, ret = 0;

	wanted = DEFAULT_RECORDS;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 'r') {
			wanted = (uint64_t)strtod(optarg, NULL);
		} else if (opt == 'o' && strtoul(optarg, NULL, 0) < to) {
			from = strtoul(optarg, NULL, 0);
			to = from + 1;
		} else {
			printf(usage, DEFAULT_RECORDS, NR_CONFIGS - 1);
			return opt == 'h' ? S_PASS : S_FAIL;
		}
	}
	mask(SIG_BLOCK);
	set_handlers();
	began = told = s_now();
	for (size_t i = from; !ret && i < to; i++)
		ret = run_config(&configs[i],
				 to - from == 1
					 ? wanted
					 : wanted / 100 * configs[i].share);
	return finish(ret);
}
