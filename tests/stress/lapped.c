// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * lapped.c - a reader is stopped in the middle of a copy while writers go on,
 * and must then neither show anything wrong nor blame anybody.
 *
 * The reader has a mapping of its own in which only the two pages of a ring
 * that it touched last can be read; coming to another one faults.  At the
 * n-th fault, for each n of a scan, the handler appends, from one record up
 * to a lap and a half.  So a reader is held up at every page of every copy,
 * which a race meets once in a thousand scans.  Nothing is ever in flight
 * then: whatever is missing in its numbers was overwritten, and torn or
 * corrupt is wrong.
 */
#include <signal.h>

#include "survey.h"

#define NR_SUBBUFS 8u

static struct s_world world;
static struct dlog_ring ring;
static struct s_writer writer;
static uint8_t *view; /* the reader's mapping */
static uint8_t *open_page[2]; /* older, newer; NULL: none */
static uint64_t to_write; /* bytes, at fault number @at_fault */
static uint32_t at_fault, faults;

/* Close or open all of the ring to the reader. */
static void protect(int prot)
{
	mprotect(view + world.rg.sb.ring_off, world.rg.sb.ring_size, prot);
	open_page[0] = open_page[1] = NULL;
}

static void append_bytes(uint64_t bytes)
{
	uint64_t until, position, records;

	dlog_ring_tell(&ring, &position, &records);
	for (until = position + bytes; position < until;) {
		s_append(&writer, 0);
		dlog_ring_tell(&ring, &position, &records);
	}
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
	uint8_t *page = (uint8_t *)((uintptr_t)info->si_addr & ~4095ul);

	(void)context;
	if (page < view || page >= view + world.size) {
		signal(sig, SIG_DFL);
		return;
	}
	if (faults++ == at_fault)
		append_bytes(to_write);
	/* Two, because one load may touch two. */
	if (open_page[0])
		mprotect(open_page[0], DLOG_PAGE, PROT_NONE);
	open_page[0] = open_page[1];
	open_page[1] = page;
	mprotect(page, DLOG_PAGE, PROT_READ);
}

static void check_records(struct dlog *d)
{
	uint64_t next = 0;
	struct dlog_reader *r;
	struct dlog_entry e;
	int ret = dlog_reader_new(&r, &d, 1, 0, NULL);

	while (!ret && (ret = dlog_reader_next(r, &e, 0)) > 0) {
		ret = 0;
		if (!s_verify(&world, &e))
			continue;
		if (s_entry_seq(&e) < next)
			s_wrong("number %" PRIu64 " after %" PRIu64,
				s_entry_seq(&e), next - 1);
		next = s_entry_seq(&e) + 1;
	}
	if (ret < 0)
		s_wrong("read: %d", ret);
	dlog_reader_free(r);
}

static void check_loss(struct dlog *d, uint64_t before)
{
	struct dlog_loss *l;
	int n = dlog_get_loss(d, &l);
	uint64_t done = writer.ctx[0].done;

	if (n != 1) {
		s_wrong("loss: %d", n);
		return;
	}
	if (l->torn || l->corrupt || l->reserved > done ||
	    l->records + l->overwritten != l->reserved)
		s_wrong("of %" PRIu64 " to %" PRIu64 ": records %" PRIu64
			" overwritten %" PRIu64 " torn %" PRIu64
			" corrupt %" PRIu64 " reserved %" PRIu64,
			before, done, l->records, l->overwritten, l->torn,
			l->corrupt, l->reserved);
	free(l);
}

/* One scan that is held up at fault @n while @bytes are written. */
static void hold_up(uint32_t n, uint64_t bytes, bool loss)
{
	uint64_t before = writer.ctx[0].done;
	struct dlog *d;

	if (dlog_open_memory(&d, view, world.size, "memory", NULL)) {
		s_wrong("cannot open the region");
		return;
	}
	at_fault = n;
	to_write = bytes;
	faults = 0;
	protect(PROT_NONE);
	if (loss)
		check_loss(d, before);
	else
		check_records(d);
	protect(PROT_READ);
	dlog_close(d);
}

static int run(uint32_t subbuf)
{
	uint64_t ring_size = NR_SUBBUFS * subbuf;
	const uint64_t bytes[] = { 1,
				   subbuf / 2,
				   subbuf,
				   ring_size / 2,
				   ring_size - subbuf * 3 / 2,
				   ring_size,
				   ring_size * 3 / 2 };
	uint32_t scans = 0;
	int ret = s_create(&world, 1, ring_size, subbuf, 4);

	if (ret || s_begin(&world))
		return -EIO;
	dlog_ring_init(&ring, &world.rg, 0, &world.ends[0], true, false);
	ret = s_writer_init(&writer, &world, &ring, 0);
	view = mmap(NULL, world.size, PROT_READ, MAP_SHARED, world.fd, 0);
	if (ret || view == MAP_FAILED)
		return -ENOMEM;
	append_bytes(ring_size * 2);
	for (uint32_t kind = 0; kind < 14; kind++) {
		uint64_t n = bytes[kind / 2];

		faults = 1;
		for (uint32_t at = 0; at < faults; at++, scans++)
			hold_up(at, n + at % 5 * 40, kind % 2);
		if (faults < ring_size / DLOG_PAGE)
			s_wrong("only %u faults in a scan", faults);
	}
	printf("sub-buffers of %u bytes: %u scans held up, %" PRIu64
	       " records appended meanwhile, wrong %" PRIu64 "\n",
	       subbuf, scans, writer.ctx[0].done, s_count_wrong());
	free(writer.buf);
	munmap(view, world.size);
	s_destroy(&world);
	return 0;
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_sigaction = on_fault,
				.sa_flags = SA_SIGINFO };
	int ret = 0;

	if (argc > 1) {
		printf("usage: lapped\n"
		       "Holds a reader up in its copies while laps go on.\n"
		       "Exit status: 0 nothing wrong, 1 else.\n");
		return strcmp(argv[1], "--help") ? S_FAIL : S_PASS;
	}
	sigaction(SIGSEGV, &sa, NULL);
	for (uint32_t subbuf = 8192; !ret && subbuf <= 32768; subbuf *= 4)
		ret = run(subbuf);
	if (ret)
		printf("lapped: %s\n", strerror(-ret));
	return ret || s_count_wrong() ? S_FAIL : S_PASS;
}
