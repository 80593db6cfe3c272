// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * tasks.c - all threads of the kernel in guest memory.
 *
 * Processes are a ring of task_struct.tasks that begins and ends in init_task;
 * the threads of each a ring of thread_node with its end in
 * signal->thread_head (Linux 6.12, include/linux/sched/signal.h).  The idle
 * tasks are in no list: each CPU's runqueue knows its own.
 *
 * A ring is walked forwards, and where that ends in what is no member of it,
 * backwards from its head as well; what both find counts once.  Each member
 * has to point back to the one that led there: so it is a member, and no
 * circle can leave out the head.  A task_struct takes room in the guest's
 * memory, so there are no more of them than fit there.
 */
#include <stdlib.h>
#include <string.h>

#include "kernel.h"

#define PF_KTHREAD 0x00200000u
#define TASK_MIN 1024 /* bytes of the smallest task_struct */
#define PID_MAX 4194304u /* PID_MAX_LIMIT of 64 bit */

/* State bits that ps(1) has letters for (fs/proc/array.c and sched.h). */
#define REPORT_MASK 0x7fu
#define STATE_UNINTERRUPTIBLE 0x02u
#define STATE_NOLOAD 0x400u
#define STATE_IDLE (STATE_UNINTERRUPTIBLE | STATE_NOLOAD)
#define STATE_RTLOCK_WAIT 0x1000u /* Linux 5.16 */
#define STATE_FROZEN 0x8000u /* Linux 6.1 */

struct layout {
	struct dlog_ram_member tasks, thread_node, signal, head, pid, tgid,
		parent, cpu, on_cpu, state, exit_state, flags, comm, curr, idle;
};

struct list {
	struct dlog_ram *ram;
	struct layout l;
	struct dlog_ram_task *task;
	size_t nr, room, steps, most;
};

static int find_layout(struct dlog_ram *ram, struct layout *l)
{
	const struct {
		const char *path, *older;
		struct dlog_ram_member *m;
	} want[] = {
		{ "tasks", NULL, &l->tasks },
		{ "thread_node", NULL, &l->thread_node },
		{ "signal", NULL, &l->signal },
		{ "pid", NULL, &l->pid },
		{ "tgid", NULL, &l->tgid },
		{ "real_parent", NULL, &l->parent },
		{ "thread_info.cpu", "cpu", &l->cpu },
		{ "on_cpu", NULL, &l->on_cpu },
		{ "__state", "state", &l->state },
		{ "exit_state", NULL, &l->exit_state },
		{ "flags", NULL, &l->flags },
		{ "comm", NULL, &l->comm },
	};
	int ret = 0;

	for (size_t i = 0; !ret && i < sizeof(want) / sizeof(*want); i++) {
		ret = dlog_ram_member(ram, "task_struct", want[i].path,
				      want[i].m);
		if (ret == -ENOENT && want[i].older)
			ret = dlog_ram_member(ram, "task_struct", want[i].older,
					      want[i].m);
	}
	if (!ret)
		ret = dlog_ram_member(ram, "signal_struct", "thread_head",
				      &l->head);
	if (!ret)
		ret = dlog_ram_member(ram, "rq", "curr", &l->curr);
	if (!ret)
		ret = dlog_ram_member(ram, "rq", "idle", &l->idle);
	if (ret == -ENOENT)
		return ram_fail(ram, -ENXIO,
				"The guest's tasks have a layout that is not "
				"known.");
	return ret;
}

/* ---- one task ---- */

/* task_state_index() of Linux 6.12, include/linux/sched.h. */
static char state_letter(uint32_t state, uint32_t exit_state)
{
	uint32_t report = (state | exit_state) & REPORT_MASK;
	int bit = 0;

	if ((state & STATE_IDLE) == STATE_IDLE)
		return 'I';
	if (state & (STATE_RTLOCK_WAIT | STATE_FROZEN))
		return 'D';
	while (report >> bit)
		bit++;
	return "RSDTtXZP"[bit];
}

static uint64_t runqueue(struct dlog_ram *ram, uint32_t cpu)
{
	uint64_t rq, offset;

	if (ram_kernel_symbol(ram, "runqueues", &rq) ||
	    ram_percpu(ram, cpu, &offset))
		return 0;
	return rq + offset;
}

static bool is_running(struct list *t, uint64_t addr, uint32_t cpu)
{
	uint64_t rq = runqueue(t->ram, cpu), curr;

	if (rq && !ram_read_number(t->ram, rq + t->l.curr.offset,
				   t->l.curr.size, &curr))
		return curr == addr;
	return ram_member_number(t->ram, addr, &t->l.on_cpu);
}

static bool read_task(struct list *t, uint64_t addr, struct dlog_ram_task *out)
{
	struct dlog_ram *ram = t->ram;
	size_t comm = t->l.comm.size;
	uint64_t pid, state;

	memset(out, 0, sizeof(*out));
	if (ram_read_number(ram, addr + t->l.pid.offset, t->l.pid.size, &pid) ||
	    pid > PID_MAX)
		return false;
	if (comm > sizeof(out->comm) - 1)
		comm = sizeof(out->comm) - 1;
	if (dlog_ram_read(ram, addr + t->l.comm.offset, out->comm, comm))
		return false;
	out->addr = addr;
	out->pid = (int32_t)pid;
	out->tgid = (int32_t)ram_member_number(ram, addr, &t->l.tgid);
	out->ppid = (int32_t)ram_member_number(
		ram, ram_member_number(ram, addr, &t->l.parent), &t->l.tgid);
	out->cpu = (uint32_t)ram_member_number(ram, addr, &t->l.cpu);
	out->running = is_running(t, addr, out->cpu);
	out->kthread = ram_member_number(ram, addr, &t->l.flags) & PF_KTHREAD;
	state = ram_member_number(ram, addr, &t->l.state);
	out->state_word = (uint32_t)state;
	out->state = state_letter(
		(uint32_t)state,
		(uint32_t)ram_member_number(ram, addr, &t->l.exit_state));
	return true;
}

static int add_task(struct list *t, uint64_t addr)
{
	struct dlog_ram_task one;
	void *p;

	if (t->steps++ >= t->most)
		return -E2BIG;
	if (!read_task(t, addr, &one))
		return 0; /* what comes behind it may be good */
	p = dlog_grow(t->task, t->nr, &t->room, sizeof(*t->task));
	if (!p)
		return -ENOMEM;
	t->task = p;
	t->task[t->nr++] = one;
	return 0;
}

/* ---- rings ---- */

/*
 * Call @each for the tasks in the ring of @head, in which they are linked at
 * @node, until it returns other than 0.  True: the ring was whole.
 */
static bool walk_way(struct list *t, uint64_t head, uint32_t node, bool back,
		     int (*each)(struct list *t, uint64_t addr))
{
	uint64_t at[2], here = head;

	for (;;) {
		uint64_t next, before;

		if (dlog_ram_read(t->ram, here, at, sizeof(at)))
			return false;
		next = at[back];
		/* Does it point back to where we came from? */
		if (ram_read_number(t->ram, next + (back ? 0 : 8), 8,
				    &before) ||
		    before != here)
			return false;
		if (next == head)
			return true;
		if (each(t, next - node))
			return false;
		here = next;
	}
}

static void walk(struct list *t, uint64_t head, uint32_t node,
		 int (*each)(struct list *t, uint64_t addr))
{
	if (!walk_way(t, head, node, false, each))
		walk_way(t, head, node, true, each);
}

static int add_process(struct list *t, uint64_t addr)
{
	uint64_t signal = ram_member_number(t->ram, addr, &t->l.signal);
	int ret = add_task(t, addr);

	if (!ret && signal)
		walk(t, signal + t->l.head.offset, t->l.thread_node.offset,
		     add_task);
	return ret;
}

static void add_idle(struct list *t)
{
	uint32_t cpus = ram_cpus(t->ram);
	uint64_t init = 0;

	for (uint32_t cpu = 0; cpu < cpus; cpu++) {
		uint64_t rq = runqueue(t->ram, cpu);
		uint64_t idle = rq ? ram_member_number(t->ram, rq, &t->l.idle)
				   : 0;

		if (idle)
			add_task(t, idle);
	}
	/* The first CPU's, wherever its runqueue went. */
	if (!ram_kernel_symbol(t->ram, "init_task", &init))
		add_task(t, init);
}

/* ---- the whole list ---- */

static int by_addr(const void *a, const void *b)
{
	const struct dlog_ram_task *x = a, *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static int by_pid(const void *a, const void *b)
{
	const struct dlog_ram_task *x = a, *y = b;

	if (x->pid != y->pid)
		return x->pid < y->pid ? -1 : 1;
	if (x->cpu != y->cpu)
		return x->cpu < y->cpu ? -1 : 1;
	return by_addr(a, b);
}

static void once_each(struct list *t)
{
	size_t nr = 0;

	if (!t->nr)
		return;
	qsort(t->task, t->nr, sizeof(*t->task), by_addr);
	for (size_t i = 0; i < t->nr; i++)
		if (!nr || t->task[nr - 1].addr != t->task[i].addr)
			t->task[nr++] = t->task[i];
	t->nr = nr;
	qsort(t->task, nr, sizeof(*t->task), by_pid);
}

int64_t dlog_ram_get_tasks(struct dlog_ram *ram, struct dlog_ram_task **out)
{
	struct list t = { .ram = ram };
	int64_t size = dlog_ram_sizeof(ram, "task_struct");
	uint64_t init, most;
	int ret;

	*out = NULL;
	if (size >= 0 && size < TASK_MIN)
		return ram_fail(ram, -ENXIO,
				"The guest's types are damaged: give the "
				"vmlinux of its kernel.");
	ret = size < 0 ? (int)size : find_layout(ram, &t.l);
	if (!ret)
		ret = ram_kernel_symbol(ram, "init_task", &init);
	if (ret == -ENOENT)
		return ram_fail(ram, -ENXIO,
				"The guest's symbols have no init_task "
				"(CONFIG_KALLSYMS_ALL): give the vmlinux of "
				"its kernel.");
	if (ret)
		return ret;
	most = ram->d->size / (uint64_t)size + 1;
	if (most > DLOG_RAM_TASKS_MAX)
		most = DLOG_RAM_TASKS_MAX;
	/* A process comes again as its first thread, and on the way back. */
	t.most = 4 * most;
	add_idle(&t);
	walk(&t, init + t.l.tasks.offset, t.l.tasks.offset, add_process);
	once_each(&t);
	if (!t.nr)
		return ram_fail(ram, -ENXIO,
				"There is no task where the guest's symbols "
				"say that they begin.");
	*out = t.task;
	return (int64_t)(t.nr < most ? t.nr : most);
}
