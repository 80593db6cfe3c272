// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * main.c - a kernel that finds a region, logs, and dies as it is told.
 *
 * Command line:
 *	dlog.mem=SIZE@ADDR   the region is there
 *	dlog.scan=SIZE@ADDR  it is somewhere in there
 *	(none of both)       it is where the ACPI table DLOG says
 *	lines=N              lines to log before the end (300)
 *	die=HOW[,HOW...]     the first HOW in the region's boot 1, the second in
 *	                     boot 2, the last in all after it (hlt):
 *		triple reset-cf9 reset-kbd reset-acpi   by which it boots again
 *		hang hlt        interrupts off, busy or not
 *		ud pf           an exception that nobody handles
 *		loop            goes on logging
 *		run             idle, with heartbeats
 *
 * What it says on the serial port is for who checks it: "line N", "event N" and
 * "tick N" come after that record's append has returned.
 */
#include "dlog_client.h"
#include "machine.h"

#define RINGS 16
#define PERIOD_MS 1u

extern char image_start[], image_end[];
void demo_undefined(void); /* where die=ud dies */
void demo_triple(void); /* and die=triple, with registers that one knows */

static struct dlog_client log;
static char memory[DLOG_CLIENT_MEMORY(RINGS)];
static struct boot_facts facts;
static int step_event, tick_event;
static volatile uint32_t ticks;

/* ---- command line ---- */

/* What follows "NAME=" in the line, or NULL. */
static const char *option(const char *name)
{
	const char *at = facts.line;

	while (*at) {
		const char *n = name;

		while (*n && *at == *n)
			at++, n++;
		if (!*n && *at == '=')
			return at + 1;
		while (*at && *at != ' ')
			at++;
		while (*at == ' ')
			at++;
	}
	return NULL;
}

/* The @n-th word of a list parted by commas, or its last, into @word. */
static void list_word(const char *list, uint32_t n, char *word, size_t size)
{
	size_t len = 0;

	for (; *list && *list != ' '; list++) {
		if (*list == ',') {
			if (n == 0)
				break;
			n--;
			len = 0;
		} else if (len + 1 < size) {
			word[len++] = *list;
		}
	}
	word[len] = 0;
}

static bool is(const char *word, const char *other)
{
	while (*word && *word == *other)
		word++, other++;
	return *word == *other;
}

/* ---- the region ---- */

static bool region_open(uint64_t at, uint64_t size, bool scan)
{
	enum dlog_super_error err;

	if (at < (uintptr_t)image_end && at + size > (uintptr_t)image_start) {
		say("demo: this kernel itself lies there");
		return false;
	}
	if (!map_memory(at, size)) {
		say("demo: cannot map %llu KiB at 0x%llx",
		    (unsigned long long)size >> 10, (unsigned long long)at);
		return false;
	}
	err = scan ? dlog_client_find(&log, (void *)(uintptr_t)at, size)
		   : dlog_client_open(&log, (void *)(uintptr_t)at, size);
	if (err != DLOG_SUPER_OK) {
		say("demo: memory at %p: %s, left alone",
		    log.region.base ? log.region.base : (void *)(uintptr_t)at,
		    dlog_super_strerror(err));
		return false;
	}
	return true;
}

static bool region_find(void)
{
	const char *mem = option("dlog.mem"), *scan = option("dlog.scan");
	const char *where = mem ? mem : scan;
	uint64_t size, at = 0;

	if (!where) {
		if (acpi_region(facts.rsdp, &at, &size))
			return region_open(at, size, false);
		say("demo: no dlog.mem=SIZE@ADDR on the command line, no table DLOG");
		return false;
	}
	size = dlog_client_number(&where);
	if (*where == '@') {
		where++;
		at = dlog_client_number(&where);
	}
	if (!size || !at || (*where && *where != ' ')) {
		say("demo: not SIZE@ADDR, with both above 0");
		return false;
	}
	return region_open(at, size, !mem);
}

static bool region_start(void)
{
	struct dlog_client_setup setup = {
		.clock = clock_ns,
		.memory = memory,
		.bytes = sizeof(memory),
		.cpus = 1,
		.period_ms = PERIOD_MS,
		.memtype = DLOG_MT_WB,
		.boot = { .kernel_text = (uintptr_t)image_start,
			  .release = "demo-1.0",
			  .machine = "x86_64" },
	};
	int err;

	if (!region_find())
		return false;
	err = dlog_client_begin(&log, &setup);
	if (err) {
		say("demo: cannot begin a boot: error %d", err);
		return false;
	}
	say("demo: boot %u at %p, %u rings", log.region.boot, log.region.base,
	    log.region.sb.nr_rings);
	return true;
}

/* ---- what it logs ---- */

static void log_line(uint32_t n)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz";
	int err = dlog_client_log(&log, 0, n % 8, "line %u of boot %u: %.*s", n,
				  log.region.boot, (int)(n * 7 % 53), letters);

	if (err)
		say("demo: line %u: error %d", n, err);
	else
		say("line %u", n);
}

static void log_event(uint32_t n)
{
	struct __attribute__((packed)) {
		uint32_t number;
		uint64_t square;
		uint16_t len;
		char what[4];
	} data = { n, (uint64_t)n * n, 4, { 's', 't', 'e', 'p' } };
	int err = dlog_client_event(&log, 0, step_event, &data, sizeof(data));

	if (err)
		say("demo: event %u: error %d", n, err);
	else
		say("event %u", n);
}

static void log_one(uint32_t n)
{
	log_line(n);
	if (n % 3 == 0)
		log_event(n);
	if (n % 10 == 0)
		say("tick %u", ticks);
}

static void log_much(uint32_t lines)
{
	step_event = dlog_client_event_type(&log, "demo:step",
					    "u32 number; x64 square; str what");
	tick_event = dlog_client_event_type(&log, "demo:tick", "u32 number");
	if (step_event < 0 || tick_event < 0)
		say("demo: cannot declare events: error %d, %d", step_event,
		    tick_event);
	dlog_client_status(&log, 0, DLOG_ST_RUNNING, NULL);
	if (!timer_start(PERIOD_MS))
		say("demo: no timer, so no heartbeat");
	for (uint32_t n = 1; n <= lines; n++)
		log_one(n);
}

/* ---- interrupts ---- */

static void snapshot(uint64_t vector, const struct frame *f)
{
	static struct dlog_client_x86_64 p;
	struct dlog_regs head = { .reason = DLOG_ST_PANIC, .machine = 62 };
	uint64_t c[4];

	__asm__ volatile("mov %%cr0, %0" : "=r"(c[0]));
	__asm__ volatile("mov %%cr2, %0" : "=r"(c[1]));
	__asm__ volatile("mov %%cr3, %0" : "=r"(c[2]));
	__asm__ volatile("mov %%cr4, %0" : "=r"(c[3]));
	memcpy(head.control, c, sizeof(c));
	head.control[4] = rdmsr(0xc0000080);
	memcpy(p.reg, f, sizeof(*f));
	dlog_client_log(&log, 0, 0, "exception %u, error %llx, at %llx",
			(unsigned int)vector, (unsigned long long)f->error,
			(unsigned long long)f->rip);
	dlog_client_status(&log, 0, DLOG_ST_PANIC, "unhandled exception");
	dlog_client_regs(&log, &head, &p, sizeof(p));
	say("demo: exception %u at %llx, cr2 %llx", (unsigned int)vector,
	    (unsigned long long)f->rip, (unsigned long long)c[1]);
}

void interrupt(uint64_t vector, struct frame *frame)
{
	uint32_t n = ticks + 1;

	if (vector == VECTOR_SPURIOUS)
		return;
	if (vector != VECTOR_TIMER) {
		snapshot(vector, frame);
		for (;;)
			__asm__ volatile("cli; hlt");
	}
	dlog_client_beat(&log, 0, true);
	dlog_client_event(&log, 0, tick_event, &n, sizeof(n));
	ticks = n;
	timer_done();
}

/* ---- the end ---- */

static void reset(const char *how)
{
	uint64_t until = clock_ns(NULL) + 1000000000;

	dlog_client_status(&log, 0, DLOG_ST_REBOOT, how);
	if (is(how, "reset-cf9")) {
		outb(0xcf9, 2);
		outb(0xcf9, 6);
	} else if (is(how, "reset-kbd")) {
		outb(0x64, 0xfe);
	} else if (is(how, "reset-acpi")) {
		acpi_reset(facts.rsdp);
	}
	/* A processor may run on for a while before it takes effect. */
	while (clock_ns(NULL) < until)
		;
	say("demo: cannot %s here", how);
	dlog_client_status(&log, 0, DLOG_ST_HALT, "cannot reset");
}

static void die(const char *how, uint32_t lines)
{
	say("demo: %s now, tick %u", how, ticks);
	if (is(how, "run"))
		for (;;)
			__asm__ volatile("hlt");
	if (is(how, "loop"))
		for (;;)
			log_one(++lines);
	__asm__ volatile("cli");
	if (is(how, "triple")) {
		interrupts_forget();
		demo_triple();
	} else if (is(how, "ud")) {
		demo_undefined();
	} else if (is(how, "pf")) {
		*(volatile uint32_t *)0x600000000000 = 1;
	} else if (is(how, "hang")) {
		for (;;)
			__asm__ volatile("");
	} else if (is(how, "hlt")) {
		dlog_client_status(&log, 0, DLOG_ST_HALT, NULL);
	} else {
		reset(how);
	}
	for (;;)
		__asm__ volatile("cli; hlt");
}

__asm__(".text\n.globl demo_undefined\ndemo_undefined:\n\tud2\n");
__asm__(".globl demo_triple, demo_triple_at\n"
	"demo_triple:\n"
	"	mov $0x1111111122222222, %rbx\n"
	"	mov $0x3333333344444444, %r12\n"
	"	mov $0x5555555566666666, %rdi\n"
	"demo_triple_at:\n"
	"	int3\n");

void main(uint32_t magic, const uint8_t *info);
void main(uint32_t magic, const uint8_t *info)
{
	const char *lines = "300", *list;
	char how[16] = "hlt";
	uint32_t n;
	uint64_t khz;

	machine_start();
	if (!boot_read(magic, info, &facts))
		say("demo: not started by multiboot2");
	khz = clock_start();
	say("demo: clock of %llu kHz, command line: %s",
	    (unsigned long long)khz, facts.line);
	if (option("lines"))
		lines = option("lines");
	n = (uint32_t)dlog_client_number(&lines);
	list = option("die");
	if (region_start())
		log_much(n);
	if (list)
		list_word(list, log.region.boot ? log.region.boot - 1 : 0, how,
			  sizeof(how));
	die(how, n);
}
