// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * kernel.c - what is known about the kernel in guest memory, made when it is
 * first asked for; facts about this boot of it.
 */
#include <stdlib.h>
#include <string.h>

#include "kernel.h"

#define CPUS_MAX 8192u /* NR_CPUS of x86-64 at most */
#define PAGE 4096u
#define SECOND 1000000000

struct ram_kernel *ram_kernel(struct dlog_ram *ram)
{
	if (!ram->known) {
		ram->known = calloc(1, sizeof(*ram->known));
		if (ram->known) {
			ram->known->symbols_state = 1;
			ram->known->btf_state = 1;
		} else {
			ram_fail(ram, -ENOMEM, "No memory for symbols.");
		}
	}
	return ram->known;
}

void ram_kernel_free(struct dlog_ram *ram)
{
	struct ram_kernel *k = ram->known;

	if (!k)
		return;
	ram_symbols_free(&k->symbols);
	btf_free(&k->btf);
	ram_modules_free(&k->modules);
	ram_orc_free(&k->orc);
	free(k);
	ram->known = NULL;
}

/* ---- reading ---- */

uint64_t ram_budget(struct dlog_ram *ram)
{
	uint64_t size = ram->d->size, most = 256u << 20;

	return size < most ? size : most;
}

int64_t ram_read_upto(struct dlog_ram *ram, uint64_t addr, size_t len,
		      uint8_t **out)
{
	uint8_t *p = malloc(len ? len : 1);
	size_t done = 0;

	*out = p;
	if (!p)
		return -ENOMEM;
	if (!dlog_ram_read(ram, addr, p, len))
		return (int64_t)len;
	while (done < len) {
		size_t n = PAGE - (addr + done) % PAGE;

		if (n > len - done)
			n = len - done;
		if (dlog_ram_read(ram, addr + done, p + done, n))
			break;
		done += n;
	}
	return (int64_t)done;
}

int ram_read_number(struct dlog_ram *ram, uint64_t addr, size_t size,
		    uint64_t *value)
{
	*value = 0;
	if (!size || size > 8)
		return -EINVAL;
	return dlog_ram_read(ram, addr, value, size);
}

/* ---- symbols ---- */

static uint64_t known(struct ram_kernel *k, const char *name)
{
	uint64_t addr = 0;

	ram_symbols_find(&k->symbols, name, &addr);
	return addr;
}

static void symbols_taken(struct ram_kernel *k)
{
	k->symbols_state = 0;
	k->stext = known(k, "_stext");
	k->etext = known(k, "_etext");
	k->sinittext = known(k, "_sinittext");
	k->einittext = known(k, "_einittext");
	k->end = known(k, "_end");
}

/* What was made of the tables before may be wrong: make it again. */
void ram_kernel_take(struct ram_kernel *k, struct ram_symbols *s, struct btf *b)
{
	ram_modules_free(&k->modules);
	ram_orc_free(&k->orc);
	memset(&k->orc_format, 0, sizeof(k->orc_format));
	k->modules_loaded = k->orc_tried = false;
	k->nr_answers = 0;
	k->kept = 0;
	if (s) {
		ram_symbols_free(&k->symbols);
		k->symbols = *s;
		symbols_taken(k);
	}
	if (b) {
		btf_free(&k->btf);
		k->btf = *b;
		k->btf_state = 0;
	} else if (k->btf_state < 0) {
		k->btf_state = 1; /* these symbols may find it */
	}
}

struct ram_kernel *ram_kernel_symbols(struct dlog_ram *ram, int *ret)
{
	struct ram_kernel *k = ram_kernel(ram);

	*ret = -ENOMEM;
	if (!k)
		return NULL;
	if (k->symbols_state > 0) {
		k->symbols_state = ram_kallsyms_load(ram, &k->symbols);
		if (!k->symbols_state)
			symbols_taken(k);
	} else if (k->symbols_state < 0) {
		ram_fail(ram, k->symbols_state,
			 "The guest's symbols could not be read: give the "
			 "vmlinux of its kernel.");
	}
	*ret = k->symbols_state;
	return *ret ? NULL : k;
}

static bool in_modules(struct dlog_ram *ram, struct ram_kernel *k,
		       const char *name, uint64_t *addr)
{
	ram_module_at(ram, 0);
	for (uint32_t i = 0; i < k->modules.nr; i++)
		if (!ram_symbols_find(
			    ram_module_symbols(ram, &k->modules.module[i]),
			    name, addr))
			return true;
	return false;
}

int ram_kernel_symbol(struct dlog_ram *ram, const char *name, uint64_t *addr)
{
	int ret;
	struct ram_kernel *k = ram_kernel_symbols(ram, &ret);

	return k ? ram_symbols_find(&k->symbols, name, addr) : ret;
}

int dlog_ram_symbol(struct dlog_ram *ram, const char *name, uint64_t *addr)
{
	int ret = ram_kernel_symbol(ram, name, addr);

	if (ret == -ENOENT && in_modules(ram, ram->known, name, addr))
		return 0;
	return ret;
}

static bool in_kernel(const struct ram_kernel *k, uint64_t addr)
{
	return k->stext && addr >= k->stext && addr < k->end;
}

int dlog_ram_symbol_at(struct dlog_ram *ram, uint64_t addr,
		       struct dlog_symbol *sym)
{
	int ret;
	struct ram_kernel *k = ram_kernel_symbols(ram, &ret);
	struct ram_module *m = NULL;
	struct ram_symbols *s;
	uint64_t end = 0;
	int64_t i;

	memset(sym, 0, sizeof(*sym));
	if (!k)
		return ret;
	s = &k->symbols;
	if (!in_kernel(k, addr)) {
		m = ram_module_at(ram, addr);
		if (!m)
			return 0;
		s = ram_module_symbols(ram, m);
		end = m->part[0].addr + m->part[0].size;
	}
	i = ram_symbols_at(s, addr);
	if (i < 0)
		return 0;
	/* A module's last function ends where its text does. */
	if (addr >= end ||
	    (ram_symbols_end(s, i) && ram_symbols_end(s, i) < end))
		end = ram_symbols_end(s, i);
	sym->name = s->names + s->sym[i].name;
	sym->object = m ? m->name : "vmlinux";
	sym->address = s->sym[i].addr;
	if (end > sym->address && end - sym->address <= UINT32_MAX)
		sym->size = (uint32_t)(end - sym->address);
	return 1;
}

bool ram_is_text(struct dlog_ram *ram, uint64_t addr)
{
	int ret;
	struct ram_kernel *k = ram_kernel_symbols(ram, &ret);
	struct ram_module *m;

	if (!k)
		return false;
	if ((addr >= k->stext && addr < k->etext) ||
	    (addr >= k->sinittext && addr < k->einittext))
		return true;
	m = ram_module_at(ram, addr);
	/* [4]: that of its start, while it lasts. */
	return m && (addr - m->part[0].addr < m->part[0].size ||
		     addr - m->part[4].addr < m->part[4].size);
}

uint64_t ram_member_number(struct dlog_ram *ram, uint64_t addr,
			   const struct dlog_ram_member *m)
{
	uint64_t v = 0;

	return ram_read_number(ram, addr + m->offset, m->size, &v) ? 0 : v;
}

/* Symbol @name's value, of @size bytes. */
static int ram_symbol_number(struct dlog_ram *ram, const char *name,
			     size_t size, uint64_t *value)
{
	uint64_t addr;
	int ret = ram_kernel_symbol(ram, name, &addr);

	*value = 0;
	return ret ? ret : ram_read_number(ram, addr, size, value);
}

/* ---- types ---- */

/* .BTF is part of the kernel's image. */
static int btf_load(struct dlog_ram *ram, struct ram_kernel *k)
{
	uint64_t from, to;
	uint8_t *data;
	int64_t len;
	int ret = ram_kernel_symbol(ram, "__start_BTF", &from);

	if (!ret)
		ret = ram_kernel_symbol(ram, "__stop_BTF", &to);
	if (ret == -ENOENT)
		return ram_fail(ram, -ENXIO,
				"The guest's kernel has no BTF: give a "
				"vmlinux of the same build that has.");
	if (ret)
		return ret;
	if (to <= from || to - from > ram_budget(ram))
		return ram_fail(ram, -ENXIO,
				"The guest's BTF has no sensible size: give "
				"the vmlinux of its kernel.");
	len = ram_read_upto(ram, from, to - from, &data);
	if (len < 0)
		return ram_fail(ram, -ENOMEM, "No memory for types.");
	ret = btf_init(&k->btf, data, (size_t)len);
	return ret ? ram_fail(ram, -ENXIO,
			      "The guest's BTF is damaged: give the vmlinux "
			      "of its kernel.")
		   : 0;
}

static struct ram_kernel *ram_kernel_types(struct dlog_ram *ram, int *ret)
{
	struct ram_kernel *k = ram_kernel(ram);

	*ret = -ENOMEM;
	if (!k)
		return NULL;
	if (k->btf_state > 0)
		k->btf_state = btf_load(ram, k);
	else if (k->btf_state < 0)
		ram_fail(ram, k->btf_state,
			 "The layouts of the guest's structures could not be "
			 "read: give the vmlinux of its kernel.");
	*ret = k->btf_state;
	return *ret ? NULL : k;
}

/* The place of the answer to a question, NULL: it is not kept. */
static struct ram_answer *answer_find(struct ram_kernel *k, const char *type,
				      const char *path)
{
	struct ram_answer *a = k->answer;

	for (uint32_t i = 0; i < k->nr_answers; i++, a++)
		if (!strcmp(a->type, type) && !strcmp(a->path, path))
			return a;
	if (k->nr_answers == sizeof(k->answer) / sizeof(*a) ||
	    strlen(type) >= sizeof(a->type) || strlen(path) >= sizeof(a->path))
		return NULL;
	k->nr_answers++;
	memset(a, 0, sizeof(*a));
	strcpy(a->type, type);
	strcpy(a->path, path);
	return a;
}

int dlog_ram_member(struct dlog_ram *ram, const char *type, const char *path,
		    struct dlog_ram_member *m)
{
	int ret;
	struct ram_kernel *k = ram_kernel_types(ram, &ret);
	struct ram_answer *a;

	memset(m, 0, sizeof(*m));
	if (!k)
		return ret;
	a = answer_find(k, type, path);
	if (!a)
		return btf_member(&k->btf, type, path, m);
	if (!a->asked) {
		a->ret = btf_member(&k->btf, type, path, &a->m);
		a->asked = true;
	}
	*m = a->m;
	return (int)a->ret;
}

int64_t dlog_ram_sizeof(struct dlog_ram *ram, const char *type)
{
	int ret;
	struct ram_kernel *k = ram_kernel_types(ram, &ret);

	struct ram_answer *a;

	if (!k)
		return ret;
	a = answer_find(k, type, "");
	if (!a)
		return btf_sizeof(&k->btf, type);
	if (!a->asked) {
		a->ret = btf_sizeof(&k->btf, type);
		a->asked = true;
	}
	return a->ret;
}

/* ---- this boot ---- */

uint32_t ram_cpus(struct dlog_ram *ram)
{
	uint64_t nr;

	if (ram_symbol_number(ram, "nr_cpu_ids", 4, &nr))
		return 0;
	return nr <= CPUS_MAX ? (uint32_t)nr : 0;
}

int ram_percpu(struct dlog_ram *ram, uint32_t cpu, uint64_t *offset)
{
	uint64_t table;
	int ret = ram_kernel_symbol(ram, "__per_cpu_offset", &table);

	return ret ? ret
		   : ram_read_number(ram, table + 8 * (uint64_t)cpu, 8, offset);
}

static void read_command_line(struct dlog_ram *ram, struct dlog_ram_kernel *k)
{
	uint64_t addr;

	if (ram_symbol_number(ram, "saved_command_line", 8, &addr) ||
	    dlog_ram_read_string(ram, addr, k->command_line,
				 sizeof(k->command_line)) < 0)
		k->command_line[0] = 0;
}

/* All zero until somebody reads /proc/sys/kernel/random/boot_id. */
void ram_boot_id(struct dlog_ram *ram, uint8_t id[16])
{
	uint64_t addr;

	if (ram_kernel_symbol(ram, "sysctl_bootid", &addr) ||
	    dlog_ram_read(ram, addr, id, 16))
		memset(id, 0, 16);
}

void ram_kernel_fill(struct dlog_ram *ram, struct dlog_ram_kernel *k)
{
	uint64_t addr;

	ram_boot_id(ram, k->boot_id);
	if (!ram_symbol_number(ram, "page_offset_base", 8, &addr))
		k->page_offset = addr;
	if (!ram_symbol_number(ram, "vmemmap_base", 8, &addr))
		k->vmemmap = addr;
	k->cpus = ram_cpus(ram);
	read_command_line(ram, k);
}

static int clock_member(struct dlog_ram *ram, uint64_t tk, const char *path,
			int64_t *value)
{
	struct dlog_ram_member m;
	uint64_t v;
	int ret = dlog_ram_member(ram, "timekeeper", path, &m);

	if (!ret)
		ret = ram_read_number(ram, tk + m.offset, m.size, &v);
	if (!ret)
		*value = (int64_t)v;
	return ret;
}

/*
 * tk_core is a sequence counter and a struct timekeeper (Linux 6.12,
 * kernel/time/timekeeping.c); its own type has no name that BTF could tell.
 * So what lies there is only believed when the clocks in it agree: seconds of
 * real time are monotonic time and its offset.
 */
int ram_real_offset(struct dlog_ram *ram, uint64_t *boot_real)
{
	int64_t seq = dlog_ram_sizeof(ram, "seqcount_raw_spinlock_t");
	int64_t real, boot, base, seconds, apart;
	uint64_t tk;
	int ret = ram_kernel_symbol(ram, "tk_core", &tk);

	if (!ret && seq <= 0)
		seq = dlog_ram_sizeof(ram, "seqcount_t");
	if (ret || seq <= 0)
		return ret ? ret : -ENXIO;
	tk += ((uint64_t)seq + 7) & ~7ull;
	if (clock_member(ram, tk, "offs_real", &real) ||
	    clock_member(ram, tk, "offs_boot", &boot) ||
	    clock_member(ram, tk, "tkr_mono.base", &base) ||
	    clock_member(ram, tk, "xtime_sec", &seconds))
		return -ENXIO;
	if (real <= 0 || boot < 0 || base < 0 || real > INT64_MAX / 2 ||
	    boot > real || base > INT64_MAX / 2 || seconds < 0 ||
	    seconds > INT64_MAX / SECOND)
		return -ENXIO;
	apart = real + base - seconds * SECOND;
	if (apart < -2ll * SECOND || apart > 2ll * SECOND)
		return -ENXIO;
	*boot_real = (uint64_t)(real - boot);
	return 0;
}

uint64_t ram_real_time(struct dlog *d, uint32_t boot, uint64_t time)
{
	struct ram_kernel *k = ram_kernel(d->state);

	(void)boot;
	if (k && !k->real_tried) {
		k->real_tried = true;
		if (ram_real_offset(d->state, &k->boot_real))
			k->boot_real = 0;
	}
	return k && k->boot_real && time < UINT64_MAX - k->boot_real
		       ? k->boot_real + time
		       : 0;
}

int ram_symbol(struct dlog *d, uint32_t boot, uint64_t time, uint64_t address,
	       struct dlog_symbol *sym)
{
	(void)boot;
	(void)time;
	return dlog_ram_symbol_at(d->state, address, sym);
}
