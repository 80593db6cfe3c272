// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * simguests.c - many guests without a VM: each a region file that the shared
 * writer fills, heartbeats, and a QMP socket that answers as QEMU does.
 *
 *	simguests DIR [--guests N] [--rings R] [--size BYTES] [--rate N]
 *		[--bytes N] [--period MS] [--boot-ms MS] [--seconds S]
 *		[--ledger FILE] [--qmp]
 *
 * Guests are sim0, sim1 ...: DIR/NAME.img, which is locked as dlog-qemu locks
 * it, and with --qmp DIR/NAME.qmp.  A file that exists is taken over: its
 * guest boots once more.  Each guest has R CPUs, each with a ring of its own,
 * and appends N records a second in turn to its rings, with texts
 * "#RING.NUMBER:abc...", hexadecimal, NUMBER from 1 in each boot and ring.
 *
 * Commands on standard input; NAME may be *.  Each is answered by a line,
 * "ok" or "no":
 *	hang NAME [CPU]		no heartbeat, no record; QMP goes on
 *	wake NAME		the end of that
 *	panic NAME | oops NAME
 *	reset NAME		as from the host: boots again
 *	reboot NAME | kexec NAME	the guest's own
 *	poweroff NAME		status, SHUTDOWN, end of QMP, lock given up
 *	quit NAME		as the host would: SHUTDOWN without a status
 *	kill NAME		end without a word
 *	start NAME		boots after one of these three
 *	pause NAME | resume NAME	with STOP and RESUME
 *	offline NAME CPU | online NAME CPU
 *	unload NAME		the driver leaves
 *	mute NAME | unmute NAME	QMP reads, and answers nothing
 *	event NAME JSON		send this line on QMP
 *	say NAME TEXT		one record into ring 0, as printk's
 *	rate N			for all guests
 *	ledger			write the ledger now
 *
 * The ledger, also written at the end: a JSON line for each guest, boot and
 * ring: {"guest", "uuid", "boot", "ring", "last", "position"}; last is the last
 * NUMBER committed.  Records come and hearts beat from one thread, so a
 * SIGSTOP of this process stops all guests as it would stop their VMMs.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "dlog.h"
#include "dlog_region.h"

#define MS UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)
#define TICK_MS 5
#define PRSTATUS 336 /* bytes, of x86-64 */
#define TEXT_MAX 4000u

struct past {
	uint32_t boot, ring;
	uint64_t last, position;
	struct past *next;
};

struct cpu {
	uint64_t number; /* of its ring's last record */
	uint64_t beat_at; /* host clock */
	bool hung, offline;
};

struct sim {
	char name[32];
	char image[256], socket[256];
	int lock, listener, conn; /* -1: none */
	int passed; /* descriptor from getfd */
	uint8_t *map;
	size_t size;
	struct dlog_region rg;
	struct dlog_ring *rings;
	struct dlog_ring_end *ends;
	struct cpu *cpu;
	uint32_t turn, clocks;
	enum { OFF, BOOTING, RUNS, DEAD, UNLOADED } life;
	bool paused, mute, panicked;
	uint64_t born; /* host clock at guest clock 0 */
	uint64_t paused_at, boot_at, paid; /* host clock */
	struct past *past;
	char in[65536];
	size_t in_len;
};

static struct {
	const char *dir, *ledger;
	uint32_t guests, rings, period, boot_ms;
	uint64_t size, rate, bytes, seconds;
	bool qmp;
} o = { .guests = 1,
	.rings = 2,
	.period = 1000,
	.boot_ms = 300,
	.size = 1 << 20,
	.bytes = 64 };

static struct sim *sims;
static volatile sig_atomic_t ended;

static _Noreturn void fail(const char *what, const char *why)
{
	fprintf(stderr, "simguests: %s: %s\n", what, why);
	exit(1);
}

static uint64_t now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * SECOND + (uint64_t)ts.tv_nsec;
}

static uint64_t guest_time(const struct sim *s)
{
	return (s->paused ? s->paused_at : now_ns(CLOCK_MONOTONIC)) - s->born;
}

/* ---- the guest's side ---- */

static void put_text(struct sim *s, uint32_t ring, uint32_t level,
		     const char *text, size_t len)
{
	dlog_ring_append_tagged(
		&s->rings[ring], DLOG_TYPE(DLOG_KIND_PRINTK, level),
		guest_time(s), DLOG_CALLER_CPU | ring, text, len);
}

static void put_number(struct sim *s, uint32_t ring)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
	uint64_t n = s->cpu[ring].number + 1;
	char text[TEXT_MAX + 64];
	size_t len = (size_t)sprintf(text, "#%x.%" PRIx64 ":", ring, n);

	while (len < o.bytes) {
		text[len] = letters[(n + len) % 26];
		len++;
	}
	if (!dlog_ring_append(&s->rings[ring],
			      DLOG_TYPE(DLOG_KIND_TEXT, DLOG_PRI(0, 6)),
			      guest_time(s), text, len))
		s->cpu[ring].number = n;
}

static void set_status(struct sim *s, enum dlog_status status, const char *text)
{
	uint64_t time = guest_time(s);

	dlog_region_status(&s->rg, status, time);
	dlog_ring_append(&s->rings[0], DLOG_TYPE(DLOG_KIND_STATE, status), time,
			 text, strlen(text));
}

/*
 * Each CPU beats at a time of its own; after a stop of this process, too, they
 * come back one after the other.
 */
static void beat(struct sim *s, uint64_t now)
{
	uint64_t time = guest_time(s), period = o.period * MS;

	for (uint32_t i = 0; i < o.rings; i++) {
		struct cpu *c = &s->cpu[i];

		if (now < c->beat_at)
			continue;
		if (now - c->beat_at > period && i) {
			c->beat_at = now + i * period / o.rings;
			continue;
		}
		c->beat_at = now + period;
		if (c->hung || c->offline)
			continue;
		dlog_region_beat(&s->rg, i, i, &s->rings[i], time, true);
		if (!i)
			dlog_region_clock(&s->rg, s->clocks++, time,
					  now_ns(CLOCK_REALTIME), 1000);
	}
}

static void remember(struct sim *s)
{
	for (uint32_t i = 0; s->rg.boot && i < o.rings; i++) {
		struct past *p = calloc(1, sizeof(*p));
		uint64_t records;

		if (!p)
			fail(s->name, "no memory");
		p->boot = s->rg.boot;
		p->ring = i;
		p->last = s->cpu[i].number;
		dlog_ring_tell(&s->rings[i], &p->position, &records);
		p->next = s->past;
		s->past = p;
	}
}

/* The driver of a new kernel takes the region over. */
static void begin_boot(struct sim *s)
{
	struct dlog_boot_info info = { .release = "6.1.0-sim",
				       .machine = "x86_64" };
	struct dlog_state *st = dlog_region_state(&s->rg);

	s->born = now_ns(CLOCK_MONOTONIC);
	info.real = now_ns(CLOCK_REALTIME);
	memset(s->cpu, 0, o.rings * sizeof(*s->cpu));
	dlog_region_begin(&s->rg, &info, s->ends);
	for (uint32_t i = 0; i < o.rings; i++)
		dlog_ring_init(&s->rings[i], &s->rg, i, &s->ends[i], true,
			       false);
	dlog_put32(&st->period_ms, o.period);
	dlog_put32(&st->memtype, DLOG_MT_WB);
	dlog_put32(&st->recording, 1);
	dlog_put32(&st->online, o.rings);
	set_status(s, DLOG_ST_RUNNING, "");
	s->life = RUNS;
	s->paid = s->born;
	for (uint32_t i = 0; i < o.rings; i++)
		s->cpu[i].beat_at = s->born + i * o.period * MS / o.rings;
	put_text(s, 0, 5, "Linux version 6.1.0-sim", 23);
}

static void boot_later(struct sim *s)
{
	remember(s);
	s->rg.boot = 0;
	s->panicked = s->paused = false;
	s->life = BOOTING;
	s->boot_at = now_ns(CLOCK_MONOTONIC) + o.boot_ms * MS;
}

static void run_guest(struct sim *s, uint64_t now)
{
	uint64_t due;

	if (s->life == BOOTING && !s->paused && now >= s->boot_at)
		begin_boot(s);
	if (s->life != RUNS || s->paused)
		return;
	beat(s, now);
	/* What a stop of this process made late is not made up for. */
	if (now - s->paid > SECOND)
		s->paid = now - SECOND;
	due = o.rate ? (now - s->paid) * o.rate / SECOND : 0;
	if (!due)
		return;
	s->paid += due * SECOND / o.rate;
	while (due--) {
		uint32_t ring = s->turn++ % o.rings;

		if (!s->cpu[ring].hung && !s->cpu[ring].offline)
			put_number(s, ring);
	}
}

/* What the driver's NMI handler does. */
static void nmi(struct sim *s)
{
	static const char frames[] = "spin+0x4/0x10\nhang+0x12/0x20\n";
	uint64_t time = guest_time(s);
	uint8_t status[PRSTATUS] = { 0 }, data[8 + PRSTATUS];

	for (uint32_t i = 0; s->rg.boot && i < o.rings; i++) {
		struct dlog_regs r = { .cpu = i, .machine = 62, .time = time };
		uint32_t head[2] = { i, 0 };

		memset(status + 112, 0x11 * (int)(i + 1), 8);
		dlog_region_regs(&s->rg, &r, status, sizeof(status));
		memcpy(data, head, sizeof(head));
		memcpy(data + 8, status, sizeof(status));
		dlog_ring_append(&s->rings[i], DLOG_TYPE(DLOG_KIND_REGS, 0),
				 time, data, sizeof(data));
		memcpy(data + 8, frames, sizeof(frames) - 1);
		dlog_ring_append(&s->rings[i], DLOG_TYPE(DLOG_KIND_STACK, 0),
				 time, data, 8 + sizeof(frames) - 1);
	}
}

/* ---- QMP ---- */

static void send_json(struct sim *s, json_t *message)
{
	char *text = json_dumps(message, JSON_COMPACT);
	size_t len = text ? strlen(text) : 0;

	json_decref(message);
	if (!text)
		fail(s->name, "no memory");
	if (s->conn >= 0 && !s->mute) {
		text[len] = '\n';
		/* A client that does not read loses what it does not. */
		send(s->conn, text, len + 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	free(text);
}

static void send_event(struct sim *s, const char *name, json_t *data)
{
	uint64_t now = now_ns(CLOCK_REALTIME);
	json_t *e = json_pack("{s:{s:I,s:I},s:s}", "timestamp", "seconds",
			      (json_int_t)(now / SECOND), "microseconds",
			      (json_int_t)(now % SECOND / 1000), "event", name);

	if (data)
		json_object_set_new(e, "data", data);
	send_json(s, e);
}

static void close_qmp(struct sim *s, bool whole)
{
	if (s->conn >= 0)
		close(s->conn);
	s->conn = -1;
	s->in_len = 0;
	if (whole && s->listener >= 0) {
		close(s->listener);
		unlink(s->socket);
		s->listener = -1;
	}
}

static void open_qmp(struct sim *s)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	if (!o.qmp)
		return;
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%.107s", s->socket);
	unlink(s->socket);
	s->listener = socket(AF_UNIX,
			     SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->listener < 0 ||
	    bind(s->listener, (struct sockaddr *)&sa, sizeof(sa)) ||
	    listen(s->listener, 4))
		fail(s->socket, strerror(errno));
}

/* ---- what happens to a guest ---- */

static void lock_region(struct sim *s)
{
	s->lock = open(s->image, O_RDWR | O_CLOEXEC);
	if (s->lock < 0 || dlog_lock(s->lock))
		fail(s->image, "cannot be locked");
}

static void end_vmm(struct sim *s)
{
	remember(s);
	s->rg.boot = 0;
	s->life = OFF;
	s->paused = false;
	close_qmp(s, true);
	close(s->lock);
	s->lock = -1;
}

static void shut_down(struct sim *s, bool guest, const char *reason)
{
	send_event(s, "SHUTDOWN",
		   json_pack("{s:b,s:s}", "guest", guest, "reason", reason));
	end_vmm(s);
}

static void reset(struct sim *s, bool guest, const char *reason)
{
	send_event(s, "RESET",
		   json_pack("{s:b,s:s}", "guest", guest, "reason", reason));
	boot_later(s);
}

static void panic(struct sim *s)
{
	static const char text[] =
		"Kernel panic - not syncing: simulated for a test";

	put_text(s, 0, 0, text, sizeof(text) - 1);
	set_status(s, DLOG_ST_PANIC, text);
	nmi(s);
	s->life = DEAD;
	s->panicked = true;
	send_event(s, "GUEST_PANICKED", json_pack("{s:s}", "action", "run"));
}

static void pause_guest(struct sim *s, bool pause)
{
	if (s->paused == pause)
		return;
	if (pause) {
		s->paused_at = now_ns(CLOCK_MONOTONIC);
	} else {
		uint64_t time = now_ns(CLOCK_MONOTONIC) - s->paused_at;

		s->born += time;
		s->boot_at += time;
		s->paid = now_ns(CLOCK_MONOTONIC);
	}
	s->paused = pause;
	send_event(s, pause ? "STOP" : "RESUME", NULL);
}

/* ---- QMP commands ---- */

static json_t *registers(void)
{
	char text[8192];
	size_t len = 0;

	for (uint32_t i = 0; i < o.rings && len < sizeof(text) - 256; i++)
		len += (size_t)snprintf(
			text + len, sizeof(text) - len,
			"\r\nCPU#%u\r\nRAX=%016x RBX=0000000000000000\r\n"
			"RIP=ffffffff81000000 RFL=00000046\r\n",
			i, i);
	return json_string(text);
}

static void dump(struct sim *s, const json_t *args)
{
	static const char elf[64] = "\177ELF\2\1\1";
	const char *to = json_string_value(json_object_get(args, "protocol"));
	int fd = -1;

	if (to && !strncmp(to, "file:", 5))
		fd = open(to + 5, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
			  0600);
	else if (to && !strncmp(to, "fd:", 3))
		fd = s->passed, s->passed = -1;
	if (fd < 0 || write(fd, elf, sizeof(elf)) != (ssize_t)sizeof(elf))
		perror("simguests: dump");
	if (fd >= 0)
		close(fd);
	send_event(s, "DUMP_COMPLETED",
		   json_pack("{s:{s:i,s:i,s:s}}", "result", "total", 64,
			     "completed", 64, "status", "completed"));
}

/* What a command returns; NULL: unknown.  Effects that make events: after. */
static json_t *answer(struct sim *s, const char *cmd)
{
	const char *status = s->paused	   ? "paused"
			     : s->panicked ? "guest-panicked"
					   : "running";

	/* With -action panic=none it runs on. */
	if (!strcmp(cmd, "query-status"))
		return json_pack("{s:b,s:b,s:s}", "running", !s->paused,
				 "singlestep", 0, "status",
				 s->paused ? status : "running");
	if (!strcmp(cmd, "query-version"))
		return json_pack("{s:{s:i,s:i,s:i},s:s}", "qemu", "major", 7,
				 "minor", 2, "micro", 0, "package",
				 "simguests");
	if (!strcmp(cmd, "query-name"))
		return json_pack("{s:s}", "name", s->name);
	if (!strcmp(cmd, "query-memory-size-summary"))
		return json_pack("{s:I}", "base-memory", (json_int_t)1 << 20);
	if (!strcmp(cmd, "query-dump"))
		return json_pack("{s:s,s:i,s:i}", "status", "completed",
				 "completed", 64, "total", 64);
	if (!strcmp(cmd, "query-cpus-fast"))
		return json_array();
	if (!strcmp(cmd, "human-monitor-command"))
		return registers();
	for (const char *known =
		     "qmp_capabilities inject-nmi system_reset system_powerdown "
		     "cont stop quit getfd dump-guest-memory ";
	     *known; known += strcspn(known, " ") + 1)
		if (!strncmp(known, cmd, strcspn(known, " ")) &&
		    !cmd[strcspn(known, " ")])
			return json_object();
	return NULL;
}

static void effects(struct sim *s, const char *cmd, const json_t *args)
{
	if (!strcmp(cmd, "inject-nmi"))
		nmi(s);
	else if (!strcmp(cmd, "system_reset"))
		reset(s, false, "host-qmp-system-reset");
	else if (!strcmp(cmd, "cont"))
		pause_guest(s, false);
	else if (!strcmp(cmd, "stop"))
		pause_guest(s, true);
	else if (!strcmp(cmd, "quit"))
		shut_down(s, false, "host-qmp-quit");
	else if (!strcmp(cmd, "dump-guest-memory"))
		dump(s, args);
}

static void command(struct sim *s, const char *line, size_t len)
{
	json_t *in = json_loadb(line, len, 0, NULL);
	const char *cmd = json_string_value(json_object_get(in, "execute"));
	json_t *id = json_object_get(in, "id"), *out, *ret;

	ret = cmd ? answer(s, cmd) : NULL;
	out = ret ? json_pack("{s:o}", "return", ret)
		  : json_pack("{s:{s:s,s:s}}", "error", "class",
			      "CommandNotFound", "desc", "no such command");
	if (id)
		json_object_set(out, "id", id);
	send_json(s, out);
	if (ret)
		effects(s, cmd, json_object_get(in, "arguments"));
	json_decref(in);
}

/* Bytes, and a descriptor that may come with them. */
static ssize_t receive(struct sim *s)
{
	struct iovec iov = { .iov_base = s->in + s->in_len,
			     .iov_len = sizeof(s->in) - s->in_len };
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} u;
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = u.buf,
			      .msg_controllen = sizeof(u.buf) };
	ssize_t n = recvmsg(s->conn, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;

	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(&s->passed, CMSG_DATA(c), sizeof(int));
	return n;
}

static void read_qmp(struct sim *s)
{
	ssize_t n = receive(s);
	char *end;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || s->in_len + (size_t)n == sizeof(s->in)) {
		close_qmp(s, false);
		return;
	}
	s->in_len += (size_t)n;
	while (s->in_len && (end = memchr(s->in, '\n', s->in_len))) {
		size_t len = (size_t)(end - s->in) + 1;

		if (!s->mute)
			command(s, s->in, len - 1);
		if (s->in_len < len)
			return; /* that command has closed it */
		s->in_len -= len;
		memmove(s->in, s->in + len, s->in_len);
	}
}

static void accept_qmp(struct sim *s)
{
	s->conn = accept4(s->listener, NULL, NULL,
			  SOCK_CLOEXEC | SOCK_NONBLOCK);
	send_json(s,
		  json_pack("{s:{s:{s:{s:i,s:i,s:i},s:s},s:[]}}", "QMP",
			    "version", "qemu", "major", 7, "minor", 2, "micro",
			    0, "package", "simguests", "capabilities"));
}

/* ---- the operator's side ---- */

static void write_ledger(void)
{
	FILE *f = o.ledger ? fopen(o.ledger, "we") : NULL;

	if (o.ledger && !f)
		fail(o.ledger, strerror(errno));
	for (uint32_t i = 0; f && i < o.guests; i++) {
		struct sim *s = &sims[i];

		remember(s);
		for (struct past *p = s->past; p; p = p->next) {
			fprintf(f, "{\"guest\":\"%s\",\"uuid\":\"", s->name);
			for (int k = 0; k < 16; k++)
				fprintf(f, "%02x", s->rg.sb.uuid[k]);
			fprintf(f,
				"\",\"boot\":%u,\"ring\":%u,\"last\":%" PRIu64
				",\"position\":%" PRIu64 "}\n",
				p->boot, p->ring, p->last, p->position);
		}
		/* What runs is remembered anew the next time. */
		for (uint32_t k = 0; s->rg.boot && k < o.rings; k++) {
			struct past *p = s->past;

			s->past = p->next;
			free(p);
		}
	}
	if (f && fclose(f))
		fail(o.ledger, strerror(errno));
}

static void start(struct sim *s)
{
	lock_region(s);
	open_qmp(s);
	boot_later(s);
}

static bool cpu_command(struct sim *s, const char *cmd, const char *arg)
{
	uint32_t n = arg && *arg ? (uint32_t)atoi(arg) : 0;
	uint64_t time = guest_time(s);
	bool on = !strcmp(cmd, "online");

	if (!strcmp(cmd, "hang") || !strcmp(cmd, "wake")) {
		for (uint32_t i = 0; i < o.rings; i++)
			if (!arg || !*arg || i == n)
				s->cpu[i].hung = *cmd == 'h';
		return true;
	}
	if ((!on && strcmp(cmd, "offline")) || n >= o.rings)
		return false;
	s->cpu[n].offline = !on;
	dlog_region_beat(&s->rg, n, n, &s->rings[n], time, on);
	return true;
}

/* A command for one guest that has booted. */
static bool running_command(struct sim *s, const char *cmd, const char *arg)
{
	if (!strcmp(cmd, "panic")) {
		panic(s);
	} else if (!strcmp(cmd, "oops")) {
		set_status(s, DLOG_ST_OOPS, "simulated");
	} else if (!strcmp(cmd, "reboot")) {
		set_status(s, DLOG_ST_REBOOT, "");
		reset(s, true, "guest-reset");
	} else if (!strcmp(cmd, "kexec")) {
		set_status(s, DLOG_ST_KEXEC, "");
		boot_later(s);
	} else if (!strcmp(cmd, "poweroff")) {
		set_status(s, DLOG_ST_POWEROFF, "");
		shut_down(s, true, "guest-shutdown");
	} else if (!strcmp(cmd, "unload")) {
		for (uint32_t i = 0; i < o.rings; i++)
			dlog_region_beat(&s->rg, i, i, &s->rings[i],
					 guest_time(s), false);
		set_status(s, DLOG_ST_UNLOADED, "");
		s->life = UNLOADED;
	} else if (!strcmp(cmd, "say")) {
		put_text(s, 0, 4, arg ? arg : "", arg ? strlen(arg) : 0);
	} else {
		return cpu_command(s, cmd, arg);
	}
	return true;
}

static bool guest_command(struct sim *s, const char *cmd, const char *arg)
{
	json_t *event;

	if (!strcmp(cmd, "start")) {
		if (s->life != OFF)
			return false;
		start(s);
	} else if (s->life == OFF) {
		return false;
	} else if (!strcmp(cmd, "reset")) {
		reset(s, false, "host-qmp-system-reset");
	} else if (!strcmp(cmd, "quit")) {
		shut_down(s, false, "host-qmp-quit");
	} else if (!strcmp(cmd, "kill")) {
		end_vmm(s);
	} else if (!strcmp(cmd, "pause") || !strcmp(cmd, "resume")) {
		pause_guest(s, *cmd == 'p');
	} else if (!strcmp(cmd, "mute") || !strcmp(cmd, "unmute")) {
		s->mute = *cmd == 'm';
	} else if (!strcmp(cmd, "event")) {
		event = json_loads(arg ? arg : "", 0, NULL);
		if (!event)
			return false;
		send_json(s, event);
	} else {
		return s->rg.boot && running_command(s, cmd, arg);
	}
	return true;
}

static bool operator_command(char *line)
{
	char *arg = line, *cmd = strsep(&arg, " "), *name;
	bool any = false, ok = true;

	if (!strcmp(cmd, "ledger")) {
		write_ledger();
		return true;
	}
	name = arg ? strsep(&arg, " ") : NULL;
	if (!name)
		return false;
	if (!strcmp(cmd, "rate")) {
		o.rate = strtoull(name, NULL, 10);
		return true;
	}
	for (uint32_t i = 0; i < o.guests; i++) {
		if (strcmp(name, "*") && strcmp(name, sims[i].name))
			continue;
		any = true;
		ok &= guest_command(&sims[i], cmd, arg);
	}
	return any && ok;
}

/* False at the end of standard input. */
static bool read_operator(void)
{
	static char buf[65536];
	static size_t len;
	ssize_t n = read(STDIN_FILENO, buf + len, sizeof(buf) - len);
	char *end;

	if (n <= 0)
		return false;
	len += (size_t)n;
	while ((end = memchr(buf, '\n', len))) {
		size_t line = (size_t)(end - buf) + 1;

		*end = 0;
		puts(operator_command(buf) ? "ok" : "no");
		fflush(stdout);
		len -= line;
		memmove(buf, buf + line, len);
	}
	return true;
}

/* ---- life ---- */

static void make_guest(struct sim *s, uint32_t n)
{
	struct dlog_create_args args = { .size = o.size, .rings = o.rings };
	struct dlog_error err;
	struct stat st;
	int ret, fd;

	snprintf(s->name, sizeof(s->name), "sim%u", n);
	snprintf(s->image, sizeof(s->image), "%.200s/%s.img", o.dir, s->name);
	snprintf(s->socket, sizeof(s->socket), "%.200s/%s.qmp", o.dir, s->name);
	s->lock = s->listener = s->conn = s->passed = -1;
	ret = dlog_create(s->image, &args, &err);
	if (ret && ret != -EEXIST)
		fail(s->image, err.text);
	lock_region(s);
	/* A mapping keeps its file open, and a lock on that in force. */
	fd = open(s->image, O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		fail(s->image, strerror(errno));
	s->size = (size_t)st.st_size;
	s->map = mmap(NULL, s->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (s->map == MAP_FAILED || dlog_region_open(&s->rg, s->map, s->size))
		fail(s->image, "is no region");
	if (s->rg.sb.nr_rings != o.rings || s->rg.sb.nr_cpus < o.rings)
		fail(s->image, "has another number of rings");
	s->rings = aligned_alloc(128, o.rings * sizeof(*s->rings));
	s->ends = calloc(o.rings, sizeof(*s->ends));
	s->cpu = calloc(o.rings, sizeof(*s->cpu));
	if (!s->rings || !s->ends || !s->cpu)
		fail(s->name, "no memory");
	open_qmp(s);
	begin_boot(s);
}

/* One poll of everything, at most TICK_MS long. */
static bool wait_all(struct pollfd *fds, bool input)
{
	nfds_t n = 1;
	bool open = input;

	fds[0] = (struct pollfd){ .fd = input ? STDIN_FILENO : -1,
				  .events = POLLIN };
	for (uint32_t i = 0; i < o.guests; i++, n++)
		fds[n] = (struct pollfd){ .fd = sims[i].conn >= 0
							? sims[i].conn
							: sims[i].listener,
					  .events = POLLIN };
	if (poll(fds, n, TICK_MS) <= 0)
		return open;
	for (uint32_t i = 0; i < o.guests; i++) {
		if (!fds[i + 1].revents)
			continue;
		if (sims[i].conn >= 0)
			read_qmp(&sims[i]);
		else
			accept_qmp(&sims[i]);
	}
	if (fds[0].revents)
		open = read_operator();
	return open;
}

static void on_end(int sig)
{
	ended = sig;
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t v = strtoull(text, &end, 0);

	if (*end)
		fail(text, "is no number");
	return v;
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "guests", required_argument, NULL, 'g' },
		{ "rings", required_argument, NULL, 'r' },
		{ "size", required_argument, NULL, 's' },
		{ "rate", required_argument, NULL, 'R' },
		{ "bytes", required_argument, NULL, 'b' },
		{ "period", required_argument, NULL, 'p' },
		{ "boot-ms", required_argument, NULL, 'B' },
		{ "seconds", required_argument, NULL, 'S' },
		{ "ledger", required_argument, NULL, 'l' },
		{ "qmp", no_argument, NULL, 'q' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		uint64_t v = optarg && c != 'l' ? number(optarg) : 0;

		switch (c) {
		case 'g':
			o.guests = (uint32_t)v;
			break;
		case 'r':
			o.rings = (uint32_t)v;
			break;
		case 's':
			o.size = v;
			break;
		case 'R':
			o.rate = v;
			break;
		case 'b':
			o.bytes = v < TEXT_MAX ? v : TEXT_MAX;
			break;
		case 'p':
			o.period = (uint32_t)v;
			break;
		case 'B':
			o.boot_ms = (uint32_t)v;
			break;
		case 'S':
			o.seconds = v;
			break;
		case 'l':
			o.ledger = optarg;
			break;
		case 'q':
			o.qmp = true;
			break;
		default:
			exit(2);
		}
	}
	if (argc - optind != 1)
		fail("usage", "one directory is needed");
	o.dir = argv[optind];
}

int main(int argc, char **argv)
{
	struct rlimit files = { 65536, 65536 };
	struct sigaction end = { .sa_handler = on_end };
	uint64_t until = UINT64_MAX;
	struct pollfd *fds;
	bool input = true;

	parse(argc, argv);
	setrlimit(RLIMIT_NOFILE, &files);
	sigaction(SIGTERM, &end, NULL);
	sigaction(SIGINT, &end, NULL);
	sims = calloc(o.guests, sizeof(*sims));
	fds = calloc(o.guests + 1, sizeof(*fds));
	if (!sims || !fds)
		fail("start", "no memory");
	for (uint32_t i = 0; i < o.guests; i++)
		make_guest(&sims[i], i);
	if (o.seconds)
		until = now_ns(CLOCK_MONOTONIC) + o.seconds * SECOND;
	puts("ready");
	fflush(stdout);
	while (!ended && now_ns(CLOCK_MONOTONIC) < until) {
		for (uint32_t i = 0; i < o.guests; i++)
			run_guest(&sims[i], now_ns(CLOCK_MONOTONIC));
		input = wait_all(fds, input);
		/* Without a time to live: until nobody is left to say so. */
		if (!input && !o.seconds)
			break;
	}
	write_ledger();
	for (uint32_t i = 0; i < o.guests; i++)
		close_qmp(&sims[i], true);
	return 0;
}
