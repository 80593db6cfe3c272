// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * unwind.c - the stack of a task: who called whom.
 *
 * As the kernel does it (Linux 6.12, arch/x86/kernel/unwind_orc.c): the ORC
 * tables say for each instruction where its function's caller is on the stack,
 * or that registers were saved there by an interrupt.  A stack ends in user
 * space, or at the beginning of a kernel thread.
 *
 * Where that leads nowhere (a function that no table knows, as generated code,
 * or a damaged stack) frame pointers are tried, and then every word on the
 * rest of the stack that looks like a return address is taken.  Such frames
 * are not exact.
 *
 * A stack may only lead to others that belong to the same CPU, each once, and
 * on each of them only upwards: so it has an end.
 */
#include <stdlib.h>
#include <string.h>

#include "kernel.h"

#define STACKS 16
#define STACK_MAX (32u << 10) /* with KASAN */
#define IRQ_STACK 16384u /* IRQ_STACK_SIZE without KASAN */
#define USER_CS 0x33u /* __USER_CS, and a user's stack has 0x2b */
#define USER_SS 0x2bu

/* Words of struct pt_regs, which begins as struct dlog_ram_regs does. */
enum {
	R_R13 = 2,
	R_BP = 4,
	R_R10 = 7,
	R_DX = 12,
	R_DI = 14,
	R_IP = 16,
	R_CS,
	R_FLAGS,
	R_SP,
	R_SS,
	R_ALL
};
#define IRET_FRAME (8u * R_IP) /* what the processor itself pushes */

struct stack {
	uint64_t from, to;
	bool used;
};

struct unwind {
	struct dlog_ram *ram;
	struct stack stack[STACKS], *now;
	struct stack *irq; /* that of interrupts, if the CPU uses it */
	int nr_stacks;
	uint64_t ip, sp, bp;
	/* What was saved where ip was interrupted. */
	uint64_t regs[R_ALL], prev[R_ALL];
	bool has_regs, full, has_prev;
	bool signal, exact;
	struct dlog_ram_frame *out;
	size_t n, room;
};

static void add_frame(struct unwind *u, bool user)
{
	if (u->n < u->room)
		u->out[u->n++] = (struct dlog_ram_frame){
			.ip = u->ip,
			.sp = u->sp,
			.exact = u->exact,
			.interrupt = u->signal && !user,
			.user = user,
		};
}

/* ---- stacks ---- */

static void add_stack(struct unwind *u, uint64_t from, uint64_t size)
{
	if (!from || from + size < from || u->nr_stacks == STACKS)
		return;
	u->stack[u->nr_stacks++] = (struct stack){ from, from + size, false };
}

static bool on_stack(const struct stack *s, uint64_t addr, size_t len)
{
	return s && addr >= s->from && addr < s->to && len <= s->to - addr;
}

/* Go over to the stack that @addr is on, if it may be one. */
static bool stack_ok(struct unwind *u, uint64_t addr, size_t len)
{
	if (on_stack(u->now, addr, len))
		return true;
	for (int i = 0; i < u->nr_stacks; i++)
		if (!u->stack[i].used && on_stack(&u->stack[i], addr, len)) {
			u->now = &u->stack[i];
			u->now->used = true;
			return true;
		}
	return false;
}

static bool stack_read(struct unwind *u, uint64_t addr, void *buf, size_t len)
{
	return stack_ok(u, addr, len) && !dlog_ram_read(u->ram, addr, buf, len);
}

/* A symbol of this name is there since 6.9, the other one was before. */
static uint64_t stack_size(struct dlog_ram *ram)
{
	uint64_t from, to;

	if ((!ram_kernel_symbol(ram, "__start_init_stack", &from) &&
	     !ram_kernel_symbol(ram, "__end_init_stack", &to)) ||
	    (!ram_kernel_symbol(ram, "__start_init_task", &from) &&
	     !ram_kernel_symbol(ram, "__end_init_task", &to)))
		if (to - from >= 8192 && to - from <= STACK_MAX)
			return to - from;
	return 16384;
}

static uint64_t task_number(struct dlog_ram *ram, uint64_t task,
			    const char *path)
{
	struct dlog_ram_member m;
	uint64_t v;

	if (dlog_ram_member(ram, "task_struct", path, &m) ||
	    ram_read_number(ram, task + m.offset, m.size, &v))
		return 0;
	return v;
}

/* One of a CPU's own, which were all together from Linux 6.2 to 6.14. */
static bool cpu_number(struct dlog_ram *ram, uint64_t percpu, const char *name,
		       size_t size, uint64_t *v)
{
	struct dlog_ram_member m = { 0 };
	uint64_t at;

	if (ram_kernel_symbol(ram, name, &at) &&
	    (ram_kernel_symbol(ram, "pcpu_hot", &at) ||
	     dlog_ram_member(ram, "pcpu_hot", name, &m)))
		return false;
	return !ram_read_number(ram, percpu + at + m.offset, size, v);
}

static void add_irq_stack(struct unwind *u, uint64_t percpu)
{
	int nr = u->nr_stacks;
	uint64_t top, busy;

	/* It points to the uppermost word. */
	if (!cpu_number(u->ram, percpu, "hardirq_stack_ptr", 8, &top) ||
	    top <= IRQ_STACK)
		return;
	add_stack(u, top + 8 - IRQ_STACK, IRQ_STACK);
	if (u->nr_stacks > nr &&
	    cpu_number(u->ram, percpu, "hardirq_stack_inuse", 1, &busy) && busy)
		u->irq = &u->stack[nr];
}

/* Those of exceptions, in the CPU's entry area, and the one it enters on. */
static void add_exception_stacks(struct unwind *u, uint64_t percpu)
{
	static const char *const names[] = { "DF_stack", "NMI_stack",
					     "DB_stack", "MCE_stack",
					     "VC_stack", "VC2_stack" };
	struct dlog_ram_member m, area;
	uint64_t at, base;

	if (ram_kernel_symbol(u->ram, "cea_exception_stacks", &at) ||
	    ram_read_number(u->ram, percpu + at, 8, &base))
		return;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!dlog_ram_member(u->ram, "cea_exception_stacks", names[i],
				     &m))
			add_stack(u, base + m.offset, m.size);
	if (!dlog_ram_member(u->ram, "cpu_entry_area", "entry_stack_page",
			     &m) &&
	    !dlog_ram_member(u->ram, "cpu_entry_area", "estacks", &area))
		add_stack(u, base - area.offset + m.offset, m.size);
}

static void find_stacks(struct unwind *u, const struct dlog_ram_task *task,
			bool running)
{
	uint64_t percpu;

	add_stack(u, task_number(u->ram, task->addr, "stack"),
		  stack_size(u->ram));
	if (!running || ram_percpu(u->ram, task->cpu, &percpu))
		return;
	add_irq_stack(u, percpu);
	add_exception_stacks(u, percpu);
}

/* ---- one step ---- */

static bool saved_reg(const struct unwind *u, int reg, uint64_t *v)
{
	if (u->has_regs && u->full)
		*v = u->regs[reg];
	else if (u->has_regs && u->has_prev)
		*v = u->prev[reg];
	else
		return false;
	return true;
}

/* The stack pointer before the call, or where registers were saved. */
static bool previous_sp(struct unwind *u, const struct ram_orc *orc,
			uint64_t *sp)
{
	uint64_t off = (uint64_t)(int64_t)orc->sp_offset;

	switch (orc->sp_reg) {
	case ORC_REG_SP:
		*sp = u->sp + off;
		return true;
	case ORC_REG_BP:
		*sp = u->bp + off;
		return true;
	case ORC_REG_SP_INDIRECT:
		if (!stack_read(u, u->sp, sp, 8))
			return false;
		*sp += off;
		return true;
	case ORC_REG_BP_INDIRECT:
		return stack_read(u, u->bp + off, sp, 8);
	case ORC_REG_R10:
		return saved_reg(u, R_R10, sp);
	case ORC_REG_R13:
		return saved_reg(u, R_R13, sp);
	case ORC_REG_DI:
		return saved_reg(u, R_DI, sp);
	case ORC_REG_DX:
		return saved_reg(u, R_DX, sp);
	}
	return false;
}

static bool take_caller(struct unwind *u, uint64_t sp)
{
	if (!stack_read(u, sp - 8, &u->ip, 8))
		return false;
	u->sp = sp;
	u->has_regs = u->has_prev = false;
	return true;
}

/* All registers at @sp, or only those that the processor saved. */
static bool take_regs(struct unwind *u, uint64_t sp, bool full)
{
	uint64_t regs[R_ALL] = { 0 };
	size_t skip = full ? 0 : R_IP;

	if (!stack_read(u, sp, regs + skip, sizeof(regs) - 8 * skip))
		return false;
	if (full) {
		u->has_prev = false;
	} else if (u->has_regs && u->full) {
		memcpy(u->prev, u->regs, sizeof(regs));
		u->has_prev = true;
	}
	memcpy(u->regs, regs, sizeof(regs));
	u->has_regs = true;
	u->full = full;
	u->ip = regs[R_IP];
	u->sp = regs[R_SP];
	return true;
}

static bool previous_bp(struct unwind *u, const struct ram_orc *orc,
			uint64_t sp)
{
	uint64_t off = (uint64_t)(int64_t)orc->bp_offset;

	switch (orc->bp_reg) {
	case ORC_REG_UNDEFINED:
		saved_reg(u, R_BP, &u->bp);
		return true;
	case ORC_REG_PREV_SP:
		return stack_read(u, sp + off, &u->bp, 8);
	case ORC_REG_BP:
		return stack_read(u, u->bp + off, &u->bp, 8);
	}
	return false;
}

enum step { STEP_ON, STEP_END, STEP_LOST };

static enum step step_orc(struct unwind *u, const struct ram_orc *orc)
{
	const struct stack *before = u->now;
	uint64_t sp, old = u->sp;
	bool ok;

	if (orc->type == ORC_END)
		return STEP_END;
	if (orc->type == ORC_UNDEFINED || !previous_sp(u, orc, &sp))
		return STEP_LOST;
	ok = orc->type == ORC_CALL ? take_caller(u, sp)
				   : take_regs(u, sp, orc->type == ORC_REGS);
	if (!ok || !previous_bp(u, orc, sp))
		return STEP_LOST;
	u->signal = orc->signal;
	/* On one stack only upwards. */
	if (u->now == before && on_stack(before, u->sp, 8) && u->sp <= old)
		return STEP_LOST;
	return STEP_ON;
}

/* A frame pointer: to the caller's, with the return address above it. */
static enum step step_frame_pointer(struct unwind *u)
{
	uint64_t at[2];

	u->exact = false;
	if (u->bp <= u->sp || !on_stack(u->now, u->bp, sizeof(at)) ||
	    dlog_ram_read(u->ram, u->bp, at, sizeof(at)) ||
	    !ram_is_text(u->ram, at[1] - 1))
		return STEP_LOST;
	u->sp = u->bp + sizeof(at);
	u->bp = at[0];
	u->ip = at[1];
	u->signal = u->has_regs = u->has_prev = false;
	return STEP_ON;
}

static bool in_user(const struct unwind *u)
{
	return u->has_regs && (u->regs[R_CS] & 3) == 3;
}

/* ---- when nothing else helps ---- */

/* Intel SDM volume 2, CALL: E8 with rel32, or FF /2 with any operand. */
static bool follows_call(struct dlog_ram *ram, uint64_t ip)
{
	uint8_t b[7];

	if (dlog_ram_read(ram, ip - sizeof(b), b, sizeof(b)))
		return false;
	if (b[2] == 0xe8)
		return true;
	for (int len = 2; len <= 7; len++) {
		const uint8_t *p = b + sizeof(b) - len;
		int mod = p[1] >> 6, rm = p[1] & 7, want = 2;

		if (*p != 0xff || (p[1] >> 3 & 7) != 2)
			continue;
		if (mod != 3 && rm == 4)
			want++;
		if (mod == 1)
			want++;
		if (mod == 2 || (mod == 0 && rm == 5))
			want += 4;
		if (want == len)
			return true;
	}
	return false;
}

static void scan(struct unwind *u, uint64_t from, uint64_t to)
{
	uint64_t *word;
	uint8_t *p;
	int64_t len;

	from = (from + 7) & ~7ull;
	if (to <= from || to - from > STACK_MAX)
		return;
	len = ram_read_upto(u->ram, from, to - from, &p);
	word = (uint64_t *)(void *)p;
	u->exact = u->signal = false;
	for (int64_t i = 0; i < len / 8 && u->n < u->room; i++) {
		if (!ram_is_text(u->ram, word[i] - 1) ||
		    !follows_call(u->ram, word[i]))
			continue;
		u->ip = word[i];
		u->sp = from + 8 * (uint64_t)i + 8;
		add_frame(u, false);
	}
	if (len >= 0)
		free(p);
}

/*
 * Where the task entered the kernel last: those registers are at the very
 * top of its stack (16 bytes below with CONFIG_X86_FRED, Linux 6.9).
 */
static void user_entry(struct unwind *u)
{
	for (uint64_t pad = 0; pad <= 16; pad += 16) {
		uint64_t at = u->stack[0].to - pad - sizeof(u->regs);

		if (dlog_ram_read(u->ram, at, u->regs, sizeof(u->regs)) ||
		    u->regs[R_CS] != USER_CS || u->regs[R_SS] != USER_SS)
			continue;
		u->exact = false;
		u->ip = u->regs[R_IP];
		u->sp = u->regs[R_SP];
		add_frame(u, true);
		return;
	}
}

/* The rest of the stack it is on, then of the task's own, or all of that. */
static void rest_of_stack(struct unwind *u, const struct dlog_ram_task *task)
{
	const struct stack *own = &u->stack[0], *s = u->now;
	uint64_t from = own->from;

	if (s && on_stack(s, u->sp, 8)) {
		if (s == own)
			from = u->sp;
		else
			scan(u, u->sp, s->to);
	}
	scan(u, from, own->to);
	if (!task->kthread)
		user_entry(u);
}

/* ---- all of it ---- */

/* From registers, or from what a task leaves when it goes to sleep. */
static bool begin(struct unwind *u, const struct dlog_ram_task *task,
		  const struct dlog_ram_regs *regs)
{
	struct dlog_ram_member bp, ip;
	uint64_t sp = 0, fork = 0;
	int64_t size;

	if (regs) {
		memcpy(u->regs, regs, sizeof(u->regs));
		u->has_regs = u->full = u->signal = true;
		u->ip = regs->rip;
		u->sp = regs->rsp;
		u->bp = regs->rbp;
		return true;
	}
	if (task->running)
		return false;
	sp = task_number(u->ram, task->addr, "thread.sp");
	size = dlog_ram_sizeof(u->ram, "inactive_task_frame");
	if (size <= 0 ||
	    dlog_ram_member(u->ram, "inactive_task_frame", "bp", &bp) ||
	    dlog_ram_member(u->ram, "inactive_task_frame", "ret_addr", &ip) ||
	    !stack_ok(u, sp, (size_t)size) ||
	    ram_read_number(u->ram, sp + bp.offset, 8, &u->bp) ||
	    ram_read_number(u->ram, sp + ip.offset, 8, &u->ip))
		return false;
	u->sp = sp + (uint64_t)size;
	/* One that has not run yet has called nothing. */
	if (ram_kernel_symbol(u->ram, "ret_from_fork_asm", &fork))
		ram_kernel_symbol(u->ram, "ret_from_fork", &fork);
	u->signal = u->ip == fork;
	return true;
}

static enum step step(struct unwind *u)
{
	struct ram_orc orc;

	if (ram_orc_find(u->ram, u->signal ? u->ip : u->ip - 1, &orc))
		return step_orc(u, &orc);
	return step_frame_pointer(u);
}

static void follow(struct unwind *u, const struct dlog_ram_task *task)
{
	enum step s = STEP_ON;

	u->exact = true;
	stack_ok(u, u->sp, 8);
	while (s == STEP_ON && u->n < u->room) {
		add_frame(u, in_user(u));
		s = in_user(u) ? STEP_END : step(u);
	}
	if (s == STEP_LOST)
		rest_of_stack(u, task);
}

int dlog_ram_stack(struct dlog_ram *ram, const struct dlog_ram_task *task,
		   const struct dlog_ram_regs *regs, struct dlog_ram_frame *out,
		   size_t n)
{
	struct unwind u = { .ram = ram, .out = out, .room = n };
	struct dlog_ram_member m;
	int ret = dlog_ram_member(ram, "task_struct", "stack", &m);

	if (ret == -ENOENT)
		return ram_fail(ram, -ENXIO,
				"The guest's tasks have a layout that is not "
				"known.");
	if (ret)
		return ret;
	if (u.room > INT32_MAX)
		u.room = INT32_MAX;
	find_stacks(&u, task, regs || task->running);
	if (!u.nr_stacks)
		return 0; /* it is dead, and gave its stack back */
	if (begin(&u, task, regs)) {
		follow(&u, task);
	} else {
		if (u.irq)
			scan(&u, u.irq->from, u.irq->to);
		rest_of_stack(&u, task);
	}
	return (int)u.n;
}
