// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * stopped.c - a writer that stops for ever inside an append, in each nested
 * context, while everybody else goes on.
 *
 * A context is a process here; the ring's words (struct dlog_ring) lie in
 * memory that all of them share, as the contexts of one CPU share them.  A
 * process is run instruction by instruction (step.h) until the memory it
 * writes, those words and the ring, has changed n times, and is left there.
 * What it would have done next no longer matters, so every n stands for all
 * instructions up to the next change: together they are every place where a
 * writer can stop.  Then an irq's process is stopped on top of it, then an
 * NMI's; then others write on, for several laps.
 *
 * What must be read is computed here from the format (docs/abi.md): where
 * each record lies, and whether the stopped one's bytes are a whole record
 * (it is shown), an open one (torn), zeroes (torn) or of an older lap
 * (corrupt).
 */
#include <getopt.h>

#include "step.h"
#include "survey.h"

#define SUBBUF 4096u
#define NR_SUBBUFS 8u
#define OTHERS 1u /* writer number; number 0 is the CPU that stops */
#define BOOTS 4u
#define CHANGES_MAX 64u

static struct s_world world;
static struct dlog_ring *ring; /* shared by all processes */
static struct s_survey survey;
static struct s_writer cpu, others;
static volatile uint8_t *inside; /* 1: in the append, 2: behind it */

/* How one context stops. */
struct stop {
	bool enter; /* its record enters a sub-buffer */
	uint32_t changes; /* after so many changes of memory */
};

enum fate { FATE_NONE, FATE_HOLE_ZERO, FATE_HOLE_OLD, FATE_OPEN, FATE_FULL };

struct stopped {
	pid_t pid;
	uint64_t position;
	enum fate fate;
	bool last; /* it had no more changes to make */
};

static struct {
	uint64_t cases, fates[5], checks, followed;
} total;

static uint64_t rng = 1;

static uint64_t rnd(uint64_t below)
{
	rng = s_mix(rng + UINT64_C(0x9e3779b97f4a7c15));
	return rng % below;
}

static uint64_t head_position(void)
{
	uint64_t position, records;

	dlog_ring_tell(ring, &position, &records);
	return position;
}

static uint8_t *at(uint64_t position)
{
	return ring->base + position % world.rg.sb.ring_size;
}

/* ---- one stopped context ---- */

static bool suitable(uint32_t level, uint32_t *need)
{
	struct s_rec r = s_rec(cpu.nr, cpu.boot, cpu.id + level,
			       cpu.ctx[level].begun, cpu.max);

	*need = DLOG_REC_SIZE(r.len + (r.kind == DLOG_KIND_PRINTK ? 4 : 0));
	return !r.too_long && !r.fits && *need > 24 && *need <= 40;
}

/* Others write until a record of @need bytes enters, or has room. */
static void go_where(uint32_t need, bool enter)
{
	for (;; s_append(&others, 0)) {
		uint32_t room = -(uint32_t)head_position() & (SUBBUF - 1);

		if (enter ? room < need : room > need + 300)
			return;
	}
}

static void child_main(uint32_t level)
{
	struct s_job job = s_prepare(&cpu, level);

	step_ready();
	*inside = 1;
	s_put(&cpu, &job);
	*inside = 2;
	for (;;)
		pause();
}

/* All that a writer of this ring may change. */
struct memory {
	struct dlog_ring ring;
	uint8_t bytes[NR_SUBBUFS * SUBBUF];
};

static bool changed(struct memory *m)
{
	if (!memcmp(&m->ring, ring, sizeof(*ring)) &&
	    !memcmp(m->bytes, ring->base, sizeof(m->bytes)))
		return false;
	memcpy(&m->ring, ring, sizeof(*ring));
	memcpy(m->bytes, ring->base, sizeof(m->bytes));
	return true;
}

/*
 * A record's place goes from nothing to open to full and never back; before
 * it is reserved no byte of the ring may change.
 */
static enum fate look(const struct memory *before, uint64_t head,
		      uint64_t position, uint32_t need, enum fate last)
{
	uint64_t seed = dlog_region_seed(&world.rg, 0);
	uint32_t size, room = SUBBUF - (uint32_t)(position % SUBBUF);
	enum fate fate = FATE_HOLE_ZERO;

	if (head_position() == head) {
		if (memcmp(before->bytes, ring->base, sizeof(before->bytes)))
			s_wrong("a store into the ring before the record is "
				"reserved");
		return FATE_NONE;
	}
	switch (dlog_record_probe(at(position), room, seed, position, &size)) {
	case DLOG_RECORD_FULL:
		fate = FATE_FULL;
		break;
	case DLOG_RECORD_OPEN:
		fate = FATE_OPEN;
		break;
	case DLOG_RECORD_NONE:
		for (uint32_t i = 0; i < need; i++)
			if (at(position)[i])
				fate = FATE_HOLE_OLD;
	}
	if (fate < last)
		s_wrong("a record that was %s is no more",
			last == FATE_FULL ? "committed" : "open");
	return fate;
}

/* Stop context @level as @how says, over what has stopped already. */
static int stop_one(uint32_t level, const struct stop *how, struct stopped *s)
{
	static struct memory m, first;
	uint32_t need, room, left = how->changes;
	uint64_t head;

	while (!suitable(level, &need))
		s_append(&cpu, level);
	go_where(need, how->enter);
	head = head_position();
	room = -(uint32_t)head & (SUBBUF - 1);
	s->position = need <= room ? head : head + room + DLOG_START_SIZE;
	s->fate = FATE_NONE;
	changed(&first);
	m = first;
	*inside = 0;
	s->pid = fork();
	if (!s->pid)
		child_main(level);
	if (s->pid < 0 || step_begin(s->pid))
		return -EPERM;
	while (*inside != 2 && (left || !*inside)) {
		if (!step(s->pid, 0))
			return -EIO;
		if (!changed(&m))
			continue;
		left--;
		s->fate = look(&first, head, s->position, need, s->fate);
	}
	s->last = *inside == 2;
	if (s->last && s->fate != FATE_FULL)
		s_wrong("append returned, and the record is not there");
	total.fates[s->fate]++;
	return 0;
}

/* ---- what must be read then ---- */

static bool has_start(uint64_t sub)
{
	uint64_t seed = dlog_region_seed(&world.rg, 0);
	uint32_t size;

	return dlog_record_probe(at(sub * SUBBUF), SUBBUF, seed, sub * SUBBUF,
				 &size) == DLOG_RECORD_FULL;
}

/* What the books say of the stopped ones, as far as they are live. */
struct expected {
	uint64_t reserved, open, zero, old;
	/*
	 * Holes that lie side by side look like one; the counts of the STARTs
	 * around them tell.  Behind the newest START the others are not known
	 * of until the next one, before the oldest they count as overwritten.
	 */
	uint64_t unseen, as_overwritten;
};

static struct expected expect(const struct stopped *s, uint32_t depth)
{
	uint64_t high = (head_position() - 1) / SUBBUF;
	uint64_t low = high < NR_SUBBUFS ? 0 : high + 1 - NR_SUBBUFS;
	struct expected x = { .reserved = s_sum(&world, 1, 0).done };
	uint64_t holes[NR_SUBBUFS] = { 0 };

	for (uint32_t i = 0; i < depth; i++) {
		uint64_t sub = s[i].position / SUBBUF;
		enum fate fate = s[i].fate;

		/* One that came to the end is among those done. */
		x.reserved += fate != FATE_NONE && !s[i].last;
		if (sub < low)
			continue;
		x.open += fate == FATE_OPEN;
		x.zero += fate == FATE_HOLE_ZERO;
		x.old += fate == FATE_HOLE_OLD;
		holes[sub - low] += fate == FATE_HOLE_ZERO ||
				    fate == FATE_HOLE_OLD;
	}
	/* The heartbeat counts too, if it lies in a sub-buffer with START. */
	for (uint64_t sub = high; sub >= low && !has_start(high); sub--) {
		x.unseen += holes[sub - low] ? holes[sub - low] - 1 : 0;
		if (!sub || has_start(sub))
			break;
	}
	for (uint64_t sub = low; low && sub < high && !has_start(sub); sub++)
		x.as_overwritten += holes[sub - low] ? holes[sub - low] - 1 : 0;
	return x;
}

/* The loss numbers of boot 1; a heartbeat has counted. */
static void check_exact(const struct stopped *s, uint32_t depth)
{
	struct expected x = expect(s, depth);
	uint64_t lost = x.open + x.zero + x.old;
	struct dlog_loss *l;
	struct dlog *d;

	if (dlog_open(&d, world.path, 0, NULL) || dlog_get_loss(d, &l) != 1) {
		s_wrong("cannot read the loss numbers");
		return;
	}
	total.checks++;
	if (l->records != survey.n || l->reserved > x.reserved ||
	    l->reserved < x.reserved - x.unseen)
		s_wrong("records %" PRIu64 ", %zu are there; reserved %" PRIu64
			", not %" PRIu64,
			l->records, survey.n, l->reserved, x.reserved);
	if (l->torn + l->corrupt > lost ||
	    l->torn + l->corrupt < lost - x.unseen - x.as_overwritten)
		s_wrong("torn %" PRIu64 " and corrupt %" PRIu64 ", not %" PRIu64
			" in all",
			l->torn, l->corrupt, lost);
	/* Of two runs of bytes side by side nobody can tell which is which. */
	if (x.zero + x.old < 2 &&
	    (l->torn != x.open + x.zero || l->corrupt != x.old))
		s_wrong("torn %" PRIu64 ", not %" PRIu64 "; corrupt %" PRIu64
			", not %" PRIu64,
			l->torn, x.open + x.zero, l->corrupt, x.old);
	free(l);
	dlog_close(d);
}

static int check(struct stopped *s, uint32_t depth)
{
	int ret;

	dlog_region_beat(&world.rg, 0, 0, ring, 1, true);
	ret = s_survey(&world, &survey, false);
	if (!ret)
		check_exact(s, depth);
	return ret;
}

/* A follower gets each record that others append, holes or not. */
static int follow(struct dlog_reader *r)
{
	uint64_t want = others.ctx[0].done;
	double until = s_now() + 10;
	struct dlog_entry e;

	while (s_now() < until) {
		int ret = dlog_reader_next(r, &e, 100);

		if (ret < 0)
			return ret;
		if (!ret || !s_verify(&world, &e))
			continue;
		total.followed++;
		if (s_entry_ctx(&e) == others.id && s_entry_seq(&e) + 1 == want)
			return 0;
	}
	s_wrong("the follower does not come to number %" PRIu64, want);
	return 0;
}

/* Others write until they have entered @subs more sub-buffers. */
static void write_on(uint32_t subs)
{
	uint64_t target = (head_position() + SUBBUF - 1) / SUBBUF + subs - 1;

	while (head_position() / SUBBUF < target || subs--)
		s_append(&others, 0);
}

static int prepare(bool lap)
{
	int ret;

	s_reset(&world);
	ret = s_begin(&world);
	if (ret)
		return ret;
	dlog_ring_init(ring, &world.rg, 0, &world.ends[0], rnd(2), false);
	free(cpu.buf);
	free(others.buf);
	ret = s_writer_init(&cpu, &world, ring, 0);
	if (!ret)
		ret = s_writer_init(&others, &world, ring, OTHERS);
	s_append(&others, 0);
	if (lap)
		write_on(NR_SUBBUFS * 5 / 2);
	return ret;
}

static int go_on(struct stopped *s, uint32_t depth, struct dlog_reader *r)
{
	/* With nothing behind it, nobody can know of it yet. */
	int ret = s_survey(&world, &survey, false);

	for (uint32_t i = 0; !ret && i < 3; i++) {
		s_append(&others, i % 2);
		ret = check(s, depth);
	}
	if (r && !ret)
		ret = follow(r);
	/* Each sub-buffer of the lap that comes to the holes, then laps. */
	for (uint32_t i = 0; !ret && i < NR_SUBBUFS + 1; i++) {
		write_on(1);
		ret = check(s, depth);
	}
	for (uint32_t i = 0; !ret && i < 2; i++) {
		write_on(NR_SUBBUFS);
		ret = check(s, depth);
	}
	if (r && !ret)
		ret = follow(r);
	return ret;
}

/*
 * One case.  Returns 1 when some context had no change left to be stopped
 * at, so that a loop over changes ends; else 0 or a negative errno.
 */
static int run_case(const struct stop *how, uint32_t depth, bool lap)
{
	struct stopped s[S_LEVELS] = { 0 };
	struct dlog_reader *r = NULL;
	struct dlog *d = NULL;
	int ret = prepare(lap);
	uint32_t n = 0;
	bool last = false;

	if (!ret && depth == 1) {
		ret = dlog_open(&d, world.path, 0, NULL);
		if (!ret)
			ret = dlog_reader_new(&r, &d, 1, DLOG_READER_FOLLOW,
					      NULL);
	}
	while (!ret && n < depth) {
		ret = stop_one(n, &how[n], &s[n]);
		last |= s[n].last;
		n++;
	}
	if (!ret)
		ret = go_on(s, depth, r);
	for (uint32_t i = 0; i < n; i++)
		if (s[i].pid > 0)
			step_kill(s[i].pid);
	dlog_reader_free(r);
	dlog_close(d);
	total.cases++;
	if (s_count_wrong() && !ret) {
		for (uint32_t i = 0; i < n; i++)
			printf("  context %u: after %u changes, %s, at %" PRIu64
			       ", fate %d%s\n",
			       i, how[i].changes,
			       how[i].enter ? "entering" : "not entering",
			       s[i].position, s[i].fate,
			       lap ? ", later lap" : "");
		ret = -EIO;
	}
	return ret ? ret : last;
}

/* ---- which cases ---- */

/* Changes that an append makes, found by running one: +1 for none at all. */
static int count_changes(bool enter, uint32_t *n)
{
	int ret = 0;

	for (*n = 0; !ret && *n < CHANGES_MAX; ++*n) {
		struct stop how = { .enter = enter, .changes = *n };

		for (uint32_t lap = 0; ret >= 0 && lap < 2; lap++)
			ret = run_case(&how, 1, lap);
	}
	return ret < 0 ? ret : 0;
}

static void report(const char *what, double start)
{
	printf("%-28s %6" PRIu64 " cases, %" PRIu64
	       " checks, %.1f s, wrong %" PRIu64 "\n",
	       what, total.cases, total.checks, s_now() - start,
	       s_count_wrong());
	fflush(stdout);
	total.cases = total.checks = 0;
}

/* Every place of a task's append, every place of an irq's over it. */
static int pairs(const uint32_t *n, bool all)
{
	int ret = 0;

	for (uint32_t e = 0; e < 4; e++) {
		struct stop how[2] = { { .enter = e & 1 }, { .enter = e & 2 } };

		for (uint32_t i = 0; i < n[e & 1]; i++)
			for (uint32_t k = 0; k < n[e >> 1]; k++) {
				how[0].changes = i;
				how[1].changes = k;
				if (!all && e == 3 && rnd(4))
					continue;
				ret = run_case(how, 2, rnd(2));
				if (ret < 0)
					return ret;
			}
	}
	return 0;
}

/* NMI over irq over task. */
static int triples(const uint32_t *n, uint64_t random)
{
	struct stop how[3] = { 0 };
	int ret = 0;

	/* All where nothing is entered, unless only some are wanted. */
	for (uint32_t i = 0; i < n[0] * n[0] * n[0]; i++) {
		how[0].changes = i % n[0];
		how[1].changes = i / n[0] % n[0];
		how[2].changes = i / n[0] / n[0];
		if (!random || rnd(n[0] * n[0] * n[0]) < random)
			ret = run_case(how, 3, i % 2);
		if (ret < 0)
			return ret;
	}
	for (uint64_t i = 0; i < (random ? random : 4000); i++) {
		for (uint32_t k = 0; k < 3; k++) {
			how[k].enter = rnd(2);
			how[k].changes = (uint32_t)rnd(n[how[k].enter]);
		}
		ret = run_case(how, 3, rnd(2));
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int run(bool all)
{
	double start = s_now();
	uint32_t n[2];
	int ret = count_changes(false, &n[0]);

	if (!ret)
		ret = count_changes(true, &n[1]);
	if (ret)
		return ret;
	printf("an append changes memory %u times, one that enters a "
	       "sub-buffer %u times\n",
	       n[0] - 1, n[1] - 1);
	report("task", start);
	/* head, first word, time, data, check; and the START's six. */
	if (n[0] < 5 || n[1] < n[0] + 6)
		s_wrong("that is too few: something was not seen");
	start = s_now();
	ret = pairs(n, all);
	report("irq over task", start);
	start = s_now();
	if (ret >= 0)
		ret = triples(n, all ? 0 : 150);
	report("NMI over irq over task", start);
	for (uint32_t i = 0; ret >= 0 && i < 5; i++)
		if (!total.fates[i])
			s_wrong("no writer stopped in state %u", i);
	return ret;
}

static const char usage[] =
	"usage: stopped [--all] [--seed N]\n"
	"Stops writers for ever inside an append while others go on.\n"
	"  --all     every combination of three contexts (some minutes)\n"
	"  --seed N  for the random choice without it\n"
	"Exit status: 0 only what was stopped is lost, 1 else, 77 no ptrace.\n";

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "all", no_argument, NULL, 'a' },
		{ "seed", required_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	bool all = false;
	int opt, ret;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 'a') {
			all = true;
		} else if (opt == 's') {
			rng = strtoull(optarg, NULL, 0);
		} else {
			printf("%s", usage);
			return opt == 'h' ? S_PASS : S_FAIL;
		}
	}
	ret = s_create(&world, 1, NR_SUBBUFS * SUBBUF, SUBBUF, BOOTS);
	ring = mmap(NULL, DLOG_PAGE, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (ret || ring == MAP_FAILED ||
	    world.rg.sb.ring_size != NR_SUBBUFS * SUBBUF) {
		printf("cannot make a region: %s\n", strerror(-ret));
		return S_FAIL;
	}
	inside = (uint8_t *)ring + DLOG_PAGE / 2;
	step_one_cpu();
	ret = run(all);
	if (ret == -EPERM && !s_count_wrong()) {
		printf("skip: ptrace is not allowed here\n");
		return S_SKIP;
	}
	if (ret < 0)
		printf("stopped: %s\n", strerror(-ret));
	printf("stopped contexts: %" PRIu64 " before R, %" PRIu64
	       " behind R over zeroes, %" PRIu64 " over an old lap, %" PRIu64
	       " open, %" PRIu64 " committed; followed %" PRIu64
	       "; wrong %" PRIu64 "\n",
	       total.fates[FATE_NONE], total.fates[FATE_HOLE_ZERO],
	       total.fates[FATE_HOLE_OLD], total.fates[FATE_OPEN],
	       total.fates[FATE_FULL], total.followed, s_count_wrong());
	return ret < 0 || s_count_wrong() ? S_FAIL : S_PASS;
}
