// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * kills.c - a writer process is killed at any instant; what it had committed
 * is there, and the next process goes on in the same region.
 *
 * Three parts.  *Random*: a process with two threads, each with a private
 * ring and one ring for both, and with signals that append in the middle of
 * appends, is killed after a random time.  *Every instruction*: a process is
 * killed after k single steps, for every k of an append.  *Nested*: a process
 * is stepped some way into an append, a signal is delivered there, stepped
 * into the append of its handler, and so on, three deep, and killed.
 *
 * What was committed is known from memory shared with the writer (stress.h):
 * a context notes a number as done when append has returned.  After each kill
 * the region is surveyed (survey.h), then the next process adopts it.
 */
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>

#include "step.h"
#include "survey.h"

#define THREADS 2u
#define SHARED_RING THREADS
#define BOOTS_MAX 65535u
#define IRQ_NS 130000
#define NMI_NS 90000

static struct s_world world;
static struct dlog_ring rings[S_RINGS];
static struct s_survey survey;

static struct {
	uint64_t rounds, committed, in_flight, lost, seen, holes, deepest;
} total;

/* ---- the process that is killed ---- */

struct cpu {
	pthread_t id;
	struct s_writer own, shared;
};

static __thread struct cpu *self;

/* The shared ring takes at most half a lap, so that no writer is lapped. */
static void append_shared(struct cpu *c, uint32_t level)
{
	uint64_t position, records;

	dlog_ring_tell(c->shared.ring, &position, &records);
	if (position <
	    world.start[world.rg.boot][SHARED_RING] + world.rg.sb.ring_size / 2)
		s_append(&c->shared, level);
}

static void on_signal(int sig)
{
	uint32_t level = sig == SIGUSR1 ? 1 : 2;
	struct cpu *c = self;
	uint32_t n = 1 + (c->own.ctx[level].begun & 3);

	while (n--)
		s_append(&c->own, level);
	append_shared(c, level);
}

static void set_handlers(void)
{
	struct sigaction sa = { .sa_handler = on_signal };

	sigemptyset(&sa.sa_mask);
	sigaction(SIGUSR1, &sa, NULL);
	sigaddset(&sa.sa_mask, SIGUSR1);
	sigaction(SIGUSR2, &sa, NULL);
}

static void arm(int sig, long period)
{
	struct itimerspec its = { { 0, period }, { 0, period } };
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID,
			       .sigev_signo = sig };
	timer_t timer;

	ev._sigev_un._tid = (pid_t)syscall(SYS_gettid);
	if (timer_create(CLOCK_MONOTONIC, &ev, &timer) ||
	    timer_settime(timer, 0, &its, NULL))
		_exit(1);
}

static void *cpu_main(void *arg)
{
	self = arg;
	arm(SIGUSR1, IRQ_NS);
	arm(SIGUSR2, NMI_NS);
	for (uint32_t i = 1;; i++) {
		s_append(&self->own, 0);
		if (i % 8 == 0)
			append_shared(self, 0);
	}
	return NULL;
}

static void init_rings(void)
{
	for (uint32_t i = 0; i < world.rg.sb.nr_rings; i++)
		dlog_ring_init(&rings[i], &world.rg, i, &world.ends[i],
			       i != SHARED_RING, false);
}

/* Adopt, and append until killed. */
static void child_main(void)
{
	static struct cpu cpu[THREADS];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (s_begin(&world))
		_exit(1);
	init_rings();
	for (uint32_t i = 0; i < THREADS; i++)
		if (s_writer_init(&cpu[i].own, &world, &rings[i], i) ||
		    s_writer_init(&cpu[i].shared, &world, &rings[SHARED_RING],
				  THREADS + i))
			_exit(1);
	for (uint32_t i = 1; i < THREADS; i++)
		pthread_create(&cpu[i].id, NULL, cpu_main, &cpu[i]);
	cpu_main(&cpu[0]);
}

/* ---- after a kill ---- */

static uint64_t committed_in(uint32_t boot)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < world.rg.sb.nr_rings; i++)
		n += s_sum(&world, boot, i).done;
	return n;
}

static int after_kill(void)
{
	uint32_t before = world.rg.boot;
	uint64_t flight = 0;
	int ret;

	world.rg.boot = (uint32_t)*s_latest(&world);
	ret = s_survey(&world, &survey, false);
	total.rounds++;
	total.seen += survey.n;
	total.lost += survey.lost;
	total.holes += survey.holes;
	if (world.rg.boot == before) /* killed before it had begun */
		return ret;
	total.committed += committed_in(world.rg.boot);
	for (uint32_t i = 0; i < S_CTX; i++) {
		const struct s_ctx *c = &world.truth[world.rg.boot][i];

		if (c->begun < c->done || c->begun > c->done + 1)
			s_wrong("context %u: begun %" PRIu64 " done %" PRIu64,
				i, c->begun, c->done);
		flight += c->begun - c->done;
	}
	total.in_flight += flight;
	if (flight > total.deepest)
		total.deepest = flight;
	return ret;
}

/* ---- random instants ---- */

static uint64_t rng = 1;

static uint64_t rnd(uint64_t below)
{
	rng = s_mix(rng + UINT64_C(0x9e3779b97f4a7c15));
	return rng % below;
}

/*
 * Let the process live: from its birth, so that it may die while it adopts
 * the region, or from its first record.  A time in ns.
 */
static uint64_t lifetime(void)
{
	uint64_t boot = *s_latest(&world);
	double until = s_now() + 1;

	if (rnd(4))
		while (__atomic_load_n(s_latest(&world), __ATOMIC_ACQUIRE) ==
			       boot &&
		       s_now() < until)
			;

	switch (rnd(4)) {
	case 0:
		return rnd(300000);
	case 1:
		return rnd(1000000);
	default:
		return rnd(4000000);
	}
}

static void wait_ns(uint64_t ns)
{
	struct timespec ts = { .tv_nsec = (long)ns };
	double until = s_now() + (double)ns * 1e-9;

	if (rnd(2))
		nanosleep(&ts, NULL);
	while (s_now() < until)
		;
}

static int kill_one(void)
{
	pid_t pid = fork();
	int st;

	if (pid < 0)
		return -errno;
	if (!pid)
		child_main();
	wait_ns(lifetime());
	kill(pid, SIGKILL);
	if (waitpid(pid, &st, 0) != pid)
		return -errno;
	if (!WIFSIGNALED(st)) {
		s_wrong("the writer ended by itself, status %x", st);
		return -EIO;
	}
	return after_kill();
}

static int new_region(uint64_t ring_size, uint32_t subbuf)
{
	int ret = s_create(&world, THREADS + 1, ring_size, subbuf, BOOTS_MAX);

	for (uint32_t i = 0; i < S_CTX; i++)
		world.ring_of[i] = i / 4 < THREADS ? (uint8_t)(i / 4)
						   : SHARED_RING;
	memset(&total, 0, sizeof(total));
	return ret;
}

static int report(const char *part, int ret, double start)
{
	printf("%-17s %6" PRIu64 " rounds, %10" PRIu64 " committed, %10" PRIu64
	       " shown, %5" PRIu64 " in flight (at most %" PRIu64 "), %" PRIu64
	       " holes, lost %" PRIu64 ", wrong %" PRIu64 ", %.1f s\n",
	       part, total.rounds, total.committed, total.seen, total.in_flight,
	       total.deepest, total.holes, total.lost, s_count_wrong(),
	       s_now() - start);
	if (ret)
		printf("%s: %s\n", part, strerror(-ret));
	fflush(stdout);
	s_destroy(&world);
	return ret;
}

static int random_kills(uint64_t rounds)
{
	static const struct {
		uint64_t ring_size;
		uint32_t subbuf;
	} geometry[] = { { 1 << 16, 4096 },
			 { 1 << 18, 4096 },
			 { 1 << 19, 32768 },
			 { 1 << 21, 16384 } };
	int ret = 0;

	for (uint32_t g = 0; !ret && g < 4; g++) {
		double start = s_now(), told = start;

		ret = new_region(geometry[g].ring_size, geometry[g].subbuf);
		for (uint64_t i = 0; !ret && i < rounds / 4 &&
				     i < BOOTS_MAX - 1 && s_count_wrong() < 100;
		     i++) {
			ret = kill_one();
			if (s_now() - told < 5)
				continue;
			told = s_now();
			printf("%" PRIu64 " kills, wrong %" PRIu64 "\n", i + 1,
			       s_count_wrong());
			fflush(stdout);
		}
		if (!ret && total.committed < total.rounds)
			s_wrong("writers committed next to nothing");
		ret = report("random", ret, start);
	}
	return ret;
}

/* ---- single steps ---- */

/* Of one stepped process: which context is inside its append. */
static volatile uint8_t *inside;
static struct s_job job[S_LEVELS];

struct where {
	bool enter; /* the append enters a new sub-buffer */
	bool lap; /* a later lap: old records lie there */
};

static void on_step_signal(int sig)
{
	uint32_t level = sig == SIGUSR1 ? 1 : 2;

	inside[level] = 1;
	s_put(&self->own, &job[level]);
	inside[level] = 2;
}

/* Bytes that the next record of context @level takes; 0: unsuitable. */
static uint32_t next_size(const struct s_writer *wr, uint32_t level)
{
	struct s_rec r = s_rec(wr->nr, wr->boot, wr->id + level,
			       wr->ctx[level].begun, wr->max);

	if (r.too_long || r.fits || r.len < 8 || r.len > 60)
		return 0;
	return DLOG_REC_SIZE(r.len + (r.kind == DLOG_KIND_PRINTK ? 4 : 0));
}

/* Append until the next record lies where it should. */
static void go_where(struct s_writer *wr, const struct where *to)
{
	uint64_t position, records, from = world.start[wr->boot][wr->nr];

	for (;; s_append(wr, 0)) {
		uint32_t need = next_size(wr, 0), room;

		dlog_ring_tell(wr->ring, &position, &records);
		room = -(uint32_t)position & (wr->subbuf - 1);
		if (!need || !records ||
		    (to->lap && position < from + world.rg.sb.ring_size * 2))
			continue;
		if (to->enter ? room < need : room > need + 600)
			return;
	}
}

static void step_main(const struct where *to)
{
	static struct cpu cpu;
	struct sigaction sa = { .sa_handler = on_step_signal };

	if (s_begin(&world))
		_exit(1);
	init_rings();
	if (s_writer_init(&cpu.own, &world, &rings[0], 0))
		_exit(1);
	self = &cpu;
	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGUSR2, &sa, NULL);
	go_where(&cpu.own, to);
	for (uint32_t i = 0; i < S_LEVELS; i++)
		job[i] = s_prepare(&cpu.own, i);
	step_ready();
	inside[0] = 1;
	s_put(&cpu.own, &job[0]);
	inside[0] = 2;
	for (;;)
		pause();
}

static pid_t step_fork(const struct where *to)
{
	pid_t pid;

	memset((void *)inside, 0, S_LEVELS);
	pid = fork();
	if (!pid)
		step_main(to);
	if (pid > 0 && step_begin(pid)) {
		step_kill(pid);
		return -1;
	}
	return pid;
}

/* Step until context @level is in its append, then @n further. */
static bool step_into(pid_t pid, uint32_t level, int sig, uint64_t n)
{
	if (sig && !step(pid, sig))
		return false;
	while (!inside[level])
		if (!step(pid, 0))
			return false;
	while (n-- && inside[level] == 1)
		if (!step(pid, 0))
			return false;
	return true;
}

/* Adopt the region, write on, and find all that was there before. */
static int adopt(void)
{
	struct s_writer wr;
	int ret = s_begin(&world);

	if (ret)
		return ret;
	init_rings();
	ret = s_writer_init(&wr, &world, &rings[0], 0);
	for (uint32_t i = 0; !ret && i < 20; i++)
		s_append(&wr, i % S_LEVELS);
	if (!ret)
		ret = s_survey(&world, &survey, false);
	total.lost += survey.lost;
	free(wr.buf);
	return ret;
}

/* Kill after @n steps of an append: 1 when it had more, 0, or -errno. */
static int kill_after(const struct where *to, uint64_t n)
{
	pid_t pid = step_fork(to);
	bool more;
	int ret;

	if (pid < 0)
		return -EPERM;
	if (!step_into(pid, 0, 0, n)) {
		step_kill(pid);
		return -EIO;
	}
	more = inside[0] == 1;
	step_kill(pid);
	ret = after_kill();
	return ret ? ret : more;
}

static int every_instruction(void)
{
	double start = s_now();
	int ret = new_region(1 << 15, 4096);

	for (uint32_t c = 0; !ret && c < 4; c++) {
		struct where to = { .enter = c & 1, .lap = c & 2 };

		for (uint64_t n = 0; s_count_wrong() < 100; n++) {
			/* A first lap needs a new region each time. */
			if (!to.lap)
				s_reset(&world);
			ret = kill_after(&to, n);
			if (ret > 0 && !to.lap)
				ret = adopt() ?: 1;
			if (ret <= 0)
				break;
		}
	}
	return report("every instruction", ret, start);
}

static int nested(uint64_t rounds)
{
	double start = s_now();
	int ret = new_region(1 << 15, 4096);

	for (uint64_t i = 0; !ret && i < rounds && s_count_wrong() < 100; i++) {
		struct where to = { .enter = rnd(2), .lap = rnd(4) == 0 };
		uint64_t depth = 1 + rnd(3);
		pid_t pid;
		bool ok;

		if (rnd(8) == 0)
			s_reset(&world);
		pid = step_fork(&to);
		if (pid < 0) {
			ret = -EPERM;
			break;
		}
		ok = step_into(pid, 0, 0, rnd(250));
		if (ok && depth > 1)
			ok = step_into(pid, 1, SIGUSR1, rnd(200));
		if (ok && depth > 2)
			ok = step_into(pid, 2, SIGUSR2, rnd(200));
		step_kill(pid);
		ret = ok ? after_kill() : -EIO;
	}
	if (!ret && total.deepest < 3)
		s_wrong("no kill three contexts deep");
	return report("nested", ret, start);
}

static const char usage[] =
	"usage: kills [--rounds N] [--nested N] [--seed N]\n"
	"Kills writer processes and looks for what they had committed.\n"
	"  --rounds N  kills at random instants (default 400)\n"
	"  --nested N  kills in nested contexts, by single steps (default 400)\n"
	"  --seed N    for the random numbers\n"
	"Exit status: 0 nothing lost nor wrong, 1 else.\n";

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "rounds", required_argument, NULL, 'r' },
		{ "nested", required_argument, NULL, 'n' },
		{ "seed", required_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	uint64_t rounds = 400, nests = 400;
	int opt, ret;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 'r') {
			rounds = (uint64_t)strtod(optarg, NULL);
		} else if (opt == 'n') {
			nests = (uint64_t)strtod(optarg, NULL);
		} else if (opt == 's') {
			rng = strtoull(optarg, NULL, 0);
		} else {
			printf("%s", usage);
			return opt == 'h' ? S_PASS : S_FAIL;
		}
	}
	inside = mmap(NULL, DLOG_PAGE, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (inside == MAP_FAILED)
		return S_FAIL;
	set_handlers();
	ret = random_kills(rounds);
	step_one_cpu();
	if (!ret)
		ret = every_instruction();
	if (!ret)
		ret = nested(nests);
	s_survey_free(&survey);
	printf("wrong %" PRIu64 "\n", s_count_wrong());
	if (ret == -EPERM && !s_count_wrong()) {
		printf("skip: ptrace is not allowed here\n");
		return S_SKIP;
	}
	return ret || s_count_wrong() ? S_FAIL : S_PASS;
}
