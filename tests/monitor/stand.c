// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * stand.c - see stand.h.
 */
#include <stdarg.h>
#include <stdio.h>
#include <sys/syscall.h>

#include "monitor/incident/incident.h"
#include "stand.h"

char stand_log[65536];
int stand_fsyncs, stand_fsync_bad = -1;
struct told stand_told;
int log_max = 7;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	void (*fn)(void *arg);
	void *arg;
} posts[65536];
static uint32_t nr_posts;

/* ---- what dlogd's other parts do ---- */

uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) +
	       (uint64_t)ts.tv_nsec;
}

void log_(int level, const char *fmt, ...)
{
	size_t len;
	va_list ap;

	pthread_mutex_lock(&lock);
	len = strlen(stand_log);
	if (len > sizeof(stand_log) - 8192)
		len = 0;
	len += (size_t)snprintf(stand_log + len, 16, "<%d>", level);
	va_start(ap, fmt);
	len += (size_t)vsnprintf(stand_log + len, 8000, fmt, ap);
	va_end(ap);
	strcpy(stand_log + strlen(stand_log), "\n");
	pthread_mutex_unlock(&lock);
}

int monitor_post(struct monitor *m, void (*fn)(void *arg), void *arg)
{
	int ret = -ENOMEM;

	(void)m;
	pthread_mutex_lock(&lock);
	if (nr_posts < sizeof(posts) / sizeof(*posts)) {
		posts[nr_posts].fn = fn;
		posts[nr_posts++].arg = arg;
		ret = 0;
	}
	pthread_mutex_unlock(&lock);
	return ret;
}

static const char *const events[EV_NR] = {
	"started",	"booted", "oops",      "panicked",
	"crash-loaded", "hung",	  "recovered", "watchdog",
	"reset",	"reboot", "shutdown",  "vmm-gone",
	"vmm-stuck",	"paused", "resumed",   "lost"
};

const char *event_name(enum event ev)
{
	return events[ev];
}

int event_find(const char *name)
{
	for (int i = 0; i < EV_NR; i++)
		if (!strcmp(events[i], name))
			return i;
	return -1;
}

const char *state_name(enum state st)
{
	(void)st;
	return "running";
}

struct guest *guest_find(struct monitor *m, const char *name, bool make)
{
	(void)make;
	for (struct guest *g = m->guests; g; g = g->next)
		if (!strcmp(g->name, name))
			return g;
	return NULL;
}

void forward_tell(struct monitor *m, const struct guest *g, enum event ev,
		  const char *detail, const struct incident *inc)
{
	(void)m;
	(void)g;
	(void)ev;
	(void)detail;
	stand_told.count++;
	stand_told.complete = inc->complete;
	free(stand_told.bundle);
	free(stand_told.error);
	stand_told.bundle = inc->bundle ? strdup(inc->bundle) : NULL;
	stand_told.error = inc->error ? strdup(inc->error) : NULL;
}

void web_changed(struct monitor *m, const struct guest *g)
{
	(void)m;
	(void)g;
}

struct vm *vm_get(struct vm *vm)
{
	__atomic_add_fetch(&vm->refs, 1, __ATOMIC_SEQ_CST);
	return vm;
}

void vm_put(struct vm *vm)
{
	if (!__atomic_sub_fetch(&vm->refs, 1, __ATOMIC_SEQ_CST))
		vm->ops->free(vm);
}

/* Instead of the C library's: a disk that reports an error. */
int fsync(int fd)
{
	if (__atomic_fetch_add(&stand_fsyncs, 1, __ATOMIC_SEQ_CST) ==
	    stand_fsync_bad) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_fsync, fd);
}

/* ---- a VMM ---- */

static void sleep_ms(int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

static int called(struct vm *vm, char letter, int timeout_ms)
{
	struct fake_vm *f = (struct fake_vm *)vm;
	size_t n = strlen(f->calls);

	if (n < sizeof(f->calls) - 1)
		f->calls[n] = letter;
	sleep_ms(f->slow_ms < timeout_ms ? f->slow_ms : timeout_ms);
	return f->fail;
}

/* As evidence.c of the driver does it: the slot, then the stack. */
static void *answer_nmi(void *arg)
{
	struct fake_vm *f = arg;
	uint64_t status[42] = { 0 };

	for (uint32_t cpu = 0; cpu < f->w->rg.sb.nr_cpus; cpu++) {
		struct dlog_regs r = { .cpu = cpu, .machine = 62 };
		struct {
			uint32_t cpu, reason;
			char text[32];
		} stack = { .cpu = cpu };

		if (f->silent & 1u << cpu)
			continue;
		sleep_ms(5);
		r.time = ++f->w->now;
		dlog_region_regs(&f->w->rg, &r, status, sizeof(status));
		sleep_ms(5);
		strcpy(stack.text, "hang+0x1/0x2 [test]");
		dlog_ring_append(&f->w->ring[cpu],
				 DLOG_TYPE(DLOG_KIND_STACK, 0), r.time, &stack,
				 8 + (uint32_t)strlen(stack.text));
	}
	return NULL;
}

static int fake_nmi(struct vm *vm, int timeout_ms)
{
	struct fake_vm *f = (struct fake_vm *)vm;
	int ret = called(vm, 'n', timeout_ms);

	if (!ret && f->w && !f->answering) {
		f->answering = true;
		pthread_create(&f->answer, NULL, answer_nmi, f);
	}
	return ret;
}

static int fake_status(struct vm *vm, char *state, size_t size, int timeout_ms)
{
	snprintf(state, size, "paused");
	return called(vm, 's', timeout_ms);
}

static int fake_text(struct vm *vm, char **text, int timeout_ms)
{
	int ret = called(vm, 'r', timeout_ms);

	*text = ret ? NULL : strdup("RAX=1 \033[31mRBX=2\r\nRCX=3\r\n");
	return ret;
}

static int fake_describe(struct vm *vm, char **json, int timeout_ms)
{
	int ret = called(vm, 'd', timeout_ms);

	*json = ret ? NULL : strdup("{\"version\":\"\\u001b7.2\"}");
	return ret;
}

static int fake_memory(struct vm *vm, uint64_t *bytes, int timeout_ms)
{
	*bytes = ((struct fake_vm *)vm)->memory;
	return called(vm, 'm', timeout_ms);
}

static int fake_dump(struct vm *vm, const char *path, int timeout_ms)
{
	int ret = called(vm, 'D', timeout_ms);
	FILE *f = ret ? NULL : fopen(path, "wx");

	if (ret)
		return ret;
	if (!f)
		return -errno;
	fputs("\177ELF", f);
	fclose(f);
	return 0;
}

static int fake_reset(struct vm *vm, int timeout_ms)
{
	return called(vm, 'R', timeout_ms);
}

static int fake_cont(struct vm *vm, int timeout_ms)
{
	int ret = called(vm, 'c', timeout_ms);

	return ((struct fake_vm *)vm)->cont_fails-- > 0 ? -EIO : ret;
}

static void fake_free(struct vm *vm)
{
	struct fake_vm *f = (struct fake_vm *)vm;

	if (f->answering)
		pthread_join(f->answer, NULL);
	free(f);
}

static const struct vm_ops fake_ops = {
	.kind = "fake",
	.status = fake_status,
	.inject_nmi = fake_nmi,
	.registers = fake_text,
	.describe = fake_describe,
	.dump = fake_dump,
	.memory = fake_memory,
	.reset = fake_reset,
	.cont = fake_cont,
	.free = fake_free,
};

struct fake_vm *stand_vm(struct stand *s)
{
	struct fake_vm *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->vm.ops = &fake_ops;
	f->vm.refs = 1;
	f->vm.pid = getpid();
	f->memory = 4096;
	f->w = &s->w;
	return f;
}

/* ---- the stand ---- */

uint64_t stand_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

char *stand_shell(const char *fmt, ...)
{
	char *cmd, *out = NULL;
	size_t size = 0;
	FILE *p, *mem;
	va_list ap;
	int c;

	va_start(ap, fmt);
	assert_true(vasprintf(&cmd, fmt, ap) > 0);
	va_end(ap);
	p = popen(cmd, "r");
	mem = open_memstream(&out, &size);
	assert_non_null(p);
	assert_non_null(mem);
	while ((c = getc(p)) != EOF)
		putc(c, mem);
	fclose(mem);
	if (pclose(p))
		fail_msg("%s: %s", cmd, out);
	free(cmd);
	return out;
}

/*
 * dlog-read lies in bin/ beside the folder of the tests; that of the plain
 * build if this is one with sanitizers, which no limit of memory suits.
 */
static void find_tools(void)
{
	char exe[4096] = "", path[16384];
	char *slash;

	assert_true(readlink("/proc/self/exe", exe, sizeof(exe) - 1) > 0);
	slash = strstr(exe, "/tests/");
	assert_non_null(slash);
	*slash = '\0';
	snprintf(path, sizeof(path), "%s/../bin:%s/bin:%s", exe, exe,
		 getenv("PATH"));
	setenv("PATH", path, 1);
}

void stand_open(struct stand *s)
{
	const char *tmp = getenv("TMPDIR");

	memset(s, 0, sizeof(*s));
	find_tools();
	stand_log[0] = '\0';
	stand_fsync_bad = -1;
	stand_told.count = 0;
	snprintf(s->dir, sizeof(s->dir), "%s/dlog-incident-XXXXXX",
		 tmp && strlen(tmp) < 32 ? tmp : "/tmp");
	assert_non_null(mkdtemp(s->dir));
	snprintf(s->bundles, sizeof(s->bundles), "%s/bundles", s->dir);
	assert_int_equal(mkdir(s->bundles, 0700), 0);
	snprintf(s->region, sizeof(s->region), "%s/region.img", s->dir);
	s->m.cfg.bundles = s->bundles;
	s->m.cfg.bundles_max = 100;
	s->m.cfg.bundles_bytes = UINT64_C(10) << 30;
	s->m.cfg.nmi_wait_ms = 500;
	s->m.cfg.log_lines = 20000;
}

void stand_close(struct stand *s)
{
	struct guest *g;

	if (s->m.incidents)
		incidents_stop(&s->m);
	for (uint32_t i = 0; i < nr_posts; i++)
		posts[i].fn(posts[i].arg);
	nr_posts = 0;
	while ((g = s->m.guests)) {
		s->m.guests = g->next;
		if (g->vm)
			vm_put(g->vm);
		for (uint32_t i = 0; i < HISTORY; i++)
			free(g->history[i].json);
		free(g->name);
		free(g);
	}
	if (s->w.mem)
		munmap(s->w.mem, s->w.size);
	free(s->w.t);
	free(stand_told.bundle);
	free(stand_told.error);
	memset(&stand_told, 0, sizeof(stand_told));
	free(stand_shell("rm -rf %s 2>&1", s->dir));
}

void stand_region(struct stand *s, uint64_t size, uint32_t cpus)
{
	struct world *w = &s->w;
	struct dlog_state *st;
	uint8_t *map;
	int fd;

	w_format(w, size, cpus, 4096, 8);
	fd = open(s->region, O_RDWR | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, w->mem, size), size);
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	close(fd);
	free(w->mem);
	w->mem = w->rg.base = map;
	w_boot(w, 1);
	dlog_region_status(&w->rg, DLOG_ST_RUNNING, 1000);
	st = dlog_region_state(&w->rg);
	st->recording = 1;
	for (uint32_t cpu = 0; cpu < cpus; cpu++)
		dlog_region_beat(&w->rg, cpu, cpu, &w->ring[cpu], 1000, true);
}

struct guest *stand_guest(struct stand *s, const char *name, struct vm *vm)
{
	struct guest *g = calloc(1, sizeof(*g));

	assert_non_null(g);
	g->m = &s->m;
	g->name = strdup(name);
	g->region = s->w.mem ? s->region : NULL;
	g->boot = s->w.rg.boot;
	g->vm = vm;
	g->next = s->m.guests;
	s->m.guests = g;
	return g;
}

uint64_t stand_run(struct stand *s)
{
	uint64_t from = stand_ms();
	bool busy = true;

	while (busy) {
		uint32_t n;

		pthread_mutex_lock(&lock);
		n = nr_posts;
		pthread_mutex_unlock(&lock);
		for (uint32_t i = 0; i < n; i++)
			posts[i].fn(posts[i].arg);
		pthread_mutex_lock(&lock);
		nr_posts -= n;
		memmove(posts, posts + n, nr_posts * sizeof(*posts));
		pthread_mutex_unlock(&lock);
		busy = s->m.incidents->nr_running || s->m.incidents->nr_queue;
		if (stand_ms() - from > 120000)
			fail_msg("incidents do not end:\n%s", stand_log);
		sleep_ms(1);
	}
	return stand_ms() - from;
}

uint32_t stand_count(struct stand *s, bool complete)
{
	const struct incident *i;
	uint32_t n = 0;

	for (i = incidents_list(&s->m); i; i = i->next)
		n += i->complete == complete;
	return n;
}

json_t *stand_json(struct stand *s)
{
	const struct incident *i = incidents_list(&s->m);
	json_error_t err;
	char path[4096];
	json_t *v;

	assert_non_null(i);
	assert_non_null(i->bundle);
	snprintf(path, sizeof(path), "%s/incident.json", i->bundle);
	v = json_load_file(path, 0, &err);
	if (!v)
		fail_msg("%s: %s", path, err.text);
	return v;
}

const char *json_at(json_t *v, const char *key, const char *sub)
{
	json_t *at = json_object_get(v, key);

	return json_string_value(sub ? json_object_get(at, sub) : at);
}

const char *json_result(json_t *v, const char *action)
{
	json_t *list = json_object_get(v, "actions"), *item;
	size_t i;

	json_array_foreach(
		list, i,
		item) if (!strcmp(json_at(item, "action", NULL),
				  action)) return json_at(item, "result", NULL);
	return "absent";
}

bool json_misses(json_t *v, const char *what)
{
	json_t *list = json_object_get(v, "missing"), *item;
	size_t i;

	json_array_foreach(list, i,
			   item) if (!strncmp(json_string_value(item), what,
					      strlen(what))) return true;
	return false;
}
