// SPDX-License-Identifier: GPL-2.0-only
/*
 * symbols.c - names of the addresses that records bring, into the catalog.
 *
 * A record of a function call holds two addresses, which mean nothing once
 * the kernel is gone.  Whoever appends such a record says which addresses are
 * in it (dlog_symbol_seen, any context).  A table in memory tells those that
 * are new; they are queued, an irq_work wakes a worker, and that asks kallsyms
 * and appends what the catalog has not got yet: OBJECT for the kernel or
 * module, BASE for where it lies in this boot, SYMBOLS in batches.  Offsets are
 * from the object's beginning, so the next boot's KASLR changes BASE alone.
 *
 * The table is open addressing with a bounded number of tries and never
 * blocks.  A place goes from 0 to an address by one compare-exchange, and from
 * there to GONE when the module goes, so that what a later module has at the
 * same address is new again.  When it is full, further addresses stay without
 * a name, which is counted: the reader then needs vmlinux or System.map.
 *
 * Modules are known from a notifier, those loaded before us from the kernel's
 * list, on which every module finds itself.  A module that goes takes its
 * symbols with it, and so does the code that only its start needs, which is an
 * object of its own: what is queued is resolved before.  The catalog goes on
 * saying where it lay until something else lies there.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/hash.h>
#include <linux/irq_work.h>
#include <linux/kallsyms.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/utsname.h>
#include <linux/version.h>
#include <linux/workqueue.h>

#include "driver.h"

#define SEEN_BITS 17
#define SEEN_SIZE (1u << SEEN_BITS)
#define SEEN_TRIES 16
#define GONE 1ul /* no address */

/* Symbols of one record of the catalog. */
#define BATCH 2048

/* The kernel (name "") or a module; what a module has for its start alone. */
struct sym_object {
	struct list_head list;
	unsigned long base;
	u32 size; /* of its text */
	int number; /* in the catalog, 0: not there yet */
	bool init; /* of the start */
	bool gone; /* the catalog still says that it lies there */
	char name[MODULE_NAME_LEN];
};

struct sym_batch {
	struct sym_object *object;
	u32 len, nr;
	u32 offsets[BATCH / sizeof(struct dlog_symbol_note)];
	char notes[BATCH];
};

static DEFINE_MUTEX(sym_lock);
static LIST_HEAD(sym_objects);
static unsigned long *sym_seen; /* the table, SEEN_SIZE */
static unsigned long *sym_queue; /* what is new, in order, SEEN_SIZE */
static atomic_t sym_queued; /* may pass SEEN_SIZE */
static u32 sym_done; /* of the queue */
static bool sym_full; /* the catalog takes no more */
static atomic_long_t sym_lost; /* addresses that found no place */

static void sym_resolve(struct work_struct *work);
static DECLARE_WORK(sym_work, sym_resolve);

static void sym_wake(struct irq_work *work)
{
	queue_work(system_unbound_wq, &sym_work);
}

static struct irq_work sym_irq_work = IRQ_WORK_INIT(sym_wake);

static noinline notrace void sym_new(unsigned long addr)
{
	u32 n = atomic_inc_return(&sym_queued) - 1;

	if (n >= SEEN_SIZE) {
		atomic_dec(&sym_queued);
		atomic_long_inc(&sym_lost);
		return;
	}
	WRITE_ONCE(sym_queue[n], addr);
	irq_work_queue(&sym_irq_work);
}

notrace void dlog_symbol_seen(unsigned long addr)
{
	u32 at = hash_long(addr, SEEN_BITS);

	for (int i = 0; i < SEEN_TRIES; i++) {
		unsigned long *place = &sym_seen[(at + i) % SEEN_SIZE];
		unsigned long old = READ_ONCE(*place);

		if (likely(old == addr))
			return;
		if (old)
			continue;
		old = cmpxchg(place, 0, addr);
		if (!old)
			sym_new(addr);
		if (!old || old == addr)
			return;
	}
	atomic_long_inc(&sym_lost);
}

long dlog_symbols_lost(void)
{
	return atomic_long_read(&sym_lost);
}

/* ---- objects ---- */

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
static unsigned long module_text(const struct module *mod, bool init, u32 *size)
{
	const struct module_memory *m =
		&mod->mem[init ? MOD_INIT_TEXT : MOD_TEXT];

	*size = m->size;
	return (unsigned long)m->base;
}
#else
static unsigned long module_text(const struct module *mod, bool init, u32 *size)
{
	const struct module_layout *m = init ? &mod->init_layout
					     : &mod->core_layout;

	*size = m->text_size;
	return (unsigned long)m->base;
}
#endif

/* The one called @name that @addr, or whatever if 0, lies in. */
static struct sym_object *sym_object(const char *name, unsigned long addr)
{
	struct sym_object *o;

	list_for_each_entry(o, &sym_objects, list)
		if (!o->gone && !strcmp(o->name, name) &&
		    (!*name || !addr || addr - o->base < o->size))
			return o;
	return NULL;
}

static struct sym_object *sym_object_add(const char *name, unsigned long base,
					 u32 size, gfp_t gfp)
{
	struct sym_object *o = kzalloc(sizeof(*o), gfp);

	if (!o)
		return NULL;
	strscpy(o->name, name, sizeof(o->name));
	o->base = base;
	o->size = size;
	list_add_tail(&o->list, &sym_objects);
	return o;
}

/* Whatever was seen where @o lies was something else, or will be. */
static void sym_unsee(const struct sym_object *o)
{
	for (u32 i = 0; sym_seen && i < SEEN_SIZE; i++) {
		unsigned long addr = READ_ONCE(sym_seen[i]);

		if (addr - o->base < o->size)
			WRITE_ONCE(sym_seen[i], GONE);
	}
}

static void sym_drop(struct sym_object *o)
{
	list_del(&o->list);
	kfree(o);
}

/*
 * Something new lies at @o.  What lay there before, or is there again, had its
 * addresses named while there was nobody else who could be meant.
 * Does not sleep unless something has gone.
 */
static void sym_replace(const struct sym_object *o)
{
	struct sym_object *old, *next;

	sym_unsee(o);
	list_for_each_entry_safe(old, next, &sym_objects, list) {
		if (!old->gone)
			continue;
		if (old->init == o->init && !strcmp(old->name, o->name)) {
			sym_drop(old);
		} else if (old->base < o->base + o->size &&
			   o->base < old->base + old->size) {
			dlog_catalog_base(old->number, 0, 1);
			sym_drop(old);
		}
	}
}

static void sym_module_add(const struct module *mod, gfp_t gfp)
{
	struct sym_object *o;

	if (sym_object(mod->name, 0))
		return;
	for (int init = 0; init < 2; init++) {
		unsigned long base;
		u32 size;

		base = module_text(mod, init, &size);
		if (init && (!size || mod->state == MODULE_STATE_LIVE))
			break;
		o = sym_object_add(mod->name, base, size, gfp);
		if (!o)
			break;
		o->init = init;
		sym_replace(o);
	}
}

/*
 * Modules that were loaded before us.  The list's head is the only entry that
 * is no module: it lies in the kernel, they lie where modules do.
 */
static void sym_modules_before(void)
{
#ifdef MODULE
	struct list_head *at = &THIS_MODULE->list;

	rcu_read_lock();
	do {
		const struct module *mod = list_entry(at, struct module, list);

		if ((unsigned long)at >= MODULES_VADDR &&
		    (unsigned long)at < MODULES_END &&
		    (mod->state == MODULE_STATE_LIVE ||
		     mod->state == MODULE_STATE_COMING))
			sym_module_add(mod, GFP_ATOMIC);
		at = rcu_dereference(list_next_rcu(at));
	} while (at != &THIS_MODULE->list);
	rcu_read_unlock();
	sym_module_add(THIS_MODULE, GFP_KERNEL);
#endif
}

static u32 sym_kernel_size(void)
{
	unsigned long end = dlog_kernel_symbol("_etext");

	return end <= dlog.kernel_text ? 0 : end - dlog.kernel_text;
}

/* The build id of module @name in hexadecimal, or "-". */
static void module_build_id(const char *name, char *id, size_t size)
{
	struct {
		u32 namesz, descsz, type;
		char name[4];
		u8 desc[64];
		u8 end;
	} __packed note = {};
	char path[MODULE_NAME_LEN + 48];
	ssize_t len;

	snprintf(path, sizeof(path), "module/%s/notes/.note.gnu.build-id",
		 name);
	len = dlog_kernfile_read("sysfs", path, (char *)&note, sizeof(note));
	if (len < 16 || note.namesz != 4 || memcmp(note.name, "GNU", 4) ||
	    !note.descsz || note.descsz > sizeof(note.desc) ||
	    note.descsz > len - 16 || 2 * note.descsz + 1 > size) {
		strscpy(id, "-", size);
		return;
	}
	bin2hex(id, note.desc, note.descsz);
	id[2 * note.descsz] = '\0';
}

/* See that the catalog has @o, and where it lies. */
static int sym_object_ready(struct sym_object *o)
{
	char name[200], id[2 * 64 + 1];
	int ret;

	if (o->number)
		return 0;
	if (*o->name) {
		module_build_id(o->name, id, sizeof(id));
		snprintf(name, sizeof(name), "%s %s%s", o->name, id,
			 o->init ? " init" : "");
	} else {
		snprintf(name, sizeof(name), "vmlinux %s %s",
			 init_utsname()->release, init_utsname()->version);
	}
	ret = dlog_catalog_object(name);
	if (ret < 0)
		return ret;
	o->number = ret;
	return dlog_catalog_base(o->number, o->base, o->size);
}

/* ---- symbols ---- */

static int sym_flush(struct sym_batch *b)
{
	int ret = 0;

	if (b->len)
		ret = dlog_catalog_symbols(b->object->number, b->notes, b->len);
	b->len = b->nr = 0;
	return ret;
}

/* Two addresses of one function are often seen at once. */
static bool sym_in_batch(const struct sym_batch *b, const struct sym_object *o,
			 u32 offset)
{
	for (u32 i = 0; b->object == o && i < b->nr; i++)
		if (b->offsets[i] == offset)
			return true;
	return false;
}

static int sym_add(struct sym_batch *b, struct sym_object *o, u32 offset,
		   u32 size, const char *name)
{
	struct dlog_symbol_note note = { .offset = offset, .size = size };
	u32 len = strlen(name) + 1;
	int ret = sym_object_ready(o);

	if (ret || sym_in_batch(b, o, offset) ||
	    dlog_catalog_has_symbol(o->number, offset))
		return ret;
	if (b->object != o || b->len + sizeof(note) + len > BATCH) {
		ret = sym_flush(b);
		b->object = o;
		if (ret)
			return ret;
	}
	b->offsets[b->nr++] = offset;
	memcpy(b->notes + b->len, &note, sizeof(note));
	memcpy(b->notes + b->len + sizeof(note), name, len);
	b->len += sizeof(note) + len;
	return 0;
}

/* "name+0x12/0x345 [module]" of @addr into the batch. */
static int sym_one(struct sym_batch *b, unsigned long addr)
{
	char text[KSYM_SYMBOL_LEN], module[MODULE_NAME_LEN] = "";
	unsigned long off, size;
	struct sym_object *o;
	char *plus, *at;

	sprint_symbol(text, addr);
	plus = strrchr(text, '+');
	if (!plus || sscanf(plus, "+%li/%li", &off, &size) != 2)
		return 0;
	*plus = '\0';
	at = strchr(plus + 1, '[');
	if (at)
		strscpy(module, at + 1,
			min_t(size_t, sizeof(module),
			      strcspn(at + 1, " ]") + 1));
	o = sym_object(module, addr);
	if (!o || addr - off < o->base || addr - off - o->base >= U32_MAX)
		return 0;
	return sym_add(b, o, addr - off - o->base, size, text);
}

static void sym_resolve(struct work_struct *work)
{
	struct sym_batch *b;
	u32 end;
	int ret = 0;

	b = kzalloc(sizeof(*b), GFP_KERNEL);
	if (!b)
		return;
	mutex_lock(&sym_lock);
	end = min_t(u32, atomic_read(&sym_queued), SEEN_SIZE);
	while (sym_done < end && !sym_full && !ret) {
		unsigned long addr = READ_ONCE(sym_queue[sym_done]);

		/* Whoever is about to store it wakes us again. */
		if (!addr)
			break;
		ret = sym_one(b, addr);
		sym_done++;
		cond_resched();
	}
	if (!ret)
		ret = sym_flush(b);
	if (ret == -ENOSPC && !sym_full) {
		sym_full = true;
		pr_warn("the catalog of the region has no room for more symbols: function addresses need vmlinux or System.map to be named\n");
	}
	mutex_unlock(&sym_lock);
	kfree(b);
}

/* ---- modules that come and go ---- */

/* Those of module @name, or just what its start alone needed, are no more. */
static void sym_module_gone(const char *name, bool init)
{
	struct sym_object *o, *next;

	list_for_each_entry_safe(o, next, &sym_objects, list) {
		if (o->gone || strcmp(o->name, name) || (init && !o->init))
			continue;
		sym_unsee(o);
		o->gone = true;
		if (!o->number)
			sym_drop(o);
	}
}

static int sym_module(struct notifier_block *nb, unsigned long what, void *data)
{
	const struct module *mod = data;

	/* While kallsyms knows what is about to go. */
	if (what != MODULE_STATE_COMING)
		sym_resolve(NULL);
	mutex_lock(&sym_lock);
	if (what == MODULE_STATE_COMING)
		sym_module_add(mod, GFP_KERNEL);
	else
		sym_module_gone(mod->name, what == MODULE_STATE_LIVE);
	mutex_unlock(&sym_lock);
	return NOTIFY_DONE;
}

static struct notifier_block sym_module_nb = { .notifier_call = sym_module };

int dlog_symbols_want(void)
{
	unsigned long *seen, *queue;

	if (READ_ONCE(sym_seen))
		return 0;
	seen = kvcalloc(SEEN_SIZE, sizeof(*seen), GFP_KERNEL);
	queue = kvcalloc(SEEN_SIZE, sizeof(*queue), GFP_KERNEL);
	if (!seen || !queue) {
		kvfree(seen);
		kvfree(queue);
		return -ENOMEM;
	}
	mutex_lock(&sym_lock);
	if (sym_seen) {
		kvfree(seen);
		kvfree(queue);
	} else {
		sym_queue = queue;
		WRITE_ONCE(sym_seen, seen);
	}
	mutex_unlock(&sym_lock);
	return 0;
}

int dlog_symbols_start(void)
{
	int ret = register_module_notifier(&sym_module_nb);

	if (ret)
		return ret;
	mutex_lock(&sym_lock);
	if (dlog.kernel_text)
		sym_object_add("", dlog.kernel_text, sym_kernel_size(),
			       GFP_KERNEL);
	sym_modules_before();
	mutex_unlock(&sym_lock);
	return 0;
}

void dlog_symbols_stop(void)
{
	struct sym_object *o, *next;

	unregister_module_notifier(&sym_module_nb);
	/* Nobody calls dlog_symbol_seen() any more; resolve what is left. */
	irq_work_sync(&sym_irq_work);
	flush_work(&sym_work);
	list_for_each_entry_safe(o, next, &sym_objects, list)
		sym_drop(o);
	kvfree(sym_seen);
	kvfree(sym_queue);
}
