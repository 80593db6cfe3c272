// SPDX-License-Identifier: GPL-2.0-only
/*
 * catalog.c - event types and symbols in the region's catalog.
 *
 * The catalog is a stream of records to which one task at a time appends.
 * Looking for an equal record by reading it again each time would make the
 * thousandth event type a thousand times as dear as the first, so what is in
 * it is kept in ordinary memory too: event types by a hash of their data and
 * by id, objects by name, symbols by object and offset.  The index is built
 * at load from what earlier boots left, and goes on from there; it never
 * trusts a length or a string of the region that it has not copied or checked.
 *
 * Event types come first: symbols are refused once three quarters are used,
 * since a record without its type is nothing and an address without its name
 * still has the user's vmlinux.
 *
 * Relies on dlog_catalog_next() and dlog_catalog_append() of dlog_region.h.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/dlog.h>
#include <linux/hashtable.h>
#include <linux/jhash.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>

#include "driver.h"

#define EVENT_HASH_BITS 11

/* An event type of the catalog. */
struct cat_event {
	struct hlist_node node;
	u32 hash; /* of its data */
	u32 len;
	u64 off; /* of its data in the region */
	u16 id;
	u64 here; /* when it was registered in this boot, in order; 0: not */
	bool ftrace; /* has a format */
	char name[];
};

struct cat_object {
	struct list_head list;
	u32 number;
	u32 boot, size; /* of the latest BASE */
	u64 base;
	char name[];
};

static DEFINE_MUTEX(cat_lock);
static DEFINE_HASHTABLE(cat_hash, EVENT_HASH_BITS);
static struct cat_event *cat_ids[DLOG_EVENT_MAX + 1];
static u32 cat_last; /* highest id */
static u64 cat_registered; /* how often anything was, in this boot */
static LIST_HEAD(cat_objects);
static u32 cat_last_object;
static struct dlog_catalog_item cat_end;
static bool cat_full_told;

/*
 * Symbols that are there: object << 32 | offset, open addressing.  Offset
 * and object are never both 0, so 0 is an empty place.
 */
static u64 *sym_set;
static u32 sym_room, sym_used; /* room: a power of two, or 0 */

static u32 sym_place(u64 key)
{
	u32 at = jhash_2words(key, key >> 32, 0) & (sym_room - 1);

	while (sym_set[at] && sym_set[at] != key)
		at = (at + 1) & (sym_room - 1);
	return at;
}

static int sym_grow(void)
{
	u32 old_room = sym_room;
	u64 *old = sym_set, *new;

	new = kvcalloc(old_room ? 2 * old_room : 1024, sizeof(*new),
		       GFP_KERNEL);
	if (!new)
		return -ENOMEM;
	sym_set = new;
	sym_room = old_room ? 2 * old_room : 1024;
	for (u32 i = 0; i < old_room; i++)
		if (old[i])
			sym_set[sym_place(old[i])] = old[i];
	kvfree(old);
	return 0;
}

static int sym_add(u32 object, u32 offset)
{
	u64 key = (u64)object << 32 | offset;
	u32 at;

	if (2 * (sym_used + 1) > sym_room && sym_grow())
		return -ENOMEM;
	at = sym_place(key);
	sym_used += !sym_set[at];
	sym_set[at] = key;
	return 0;
}

/* Is @name, @len bytes with its NUL, a string? */
static bool cat_string(const char *name, u32 len)
{
	return len >= 2 && strnlen(name, len) == len - 1;
}

static int cat_index_event(const struct dlog_catalog_item *it)
{
	u32 id = DLOG_TYPE_ARG(it->type), len;
	struct dlog_event_type type;
	struct cat_event *e;

	if (it->len < sizeof(type) || !id)
		return 0;
	memcpy(&type, it->data, sizeof(type));
	len = type.name_len;
	if (len > it->len - sizeof(type))
		return 0;
	e = kzalloc(struct_size(e, name, len + 1), GFP_KERNEL);
	if (!e)
		return -ENOMEM;
	memcpy(e->name, it->data + sizeof(type), len);
	if (!cat_string(e->name, len)) {
		kfree(e);
		return 0;
	}
	e->id = id;
	e->len = it->len;
	e->off = it->data - dlog.region.base;
	e->hash = jhash(it->data, it->len, 0);
	e->ftrace = type.format_len;
	hash_add(cat_hash, &e->node, e->hash);
	/* An id is used once; of two the first one counts, as readers have it. */
	if (!cat_ids[id])
		cat_ids[id] = e;
	cat_last = max(cat_last, id);
	return 0;
}

static struct cat_object *cat_object(u32 number)
{
	struct cat_object *o;

	list_for_each_entry(o, &cat_objects, list)
		if (o->number == number)
			return o;
	return NULL;
}

static int cat_index_object(const struct dlog_catalog_item *it)
{
	u32 number = DLOG_TYPE_ARG(it->type);
	struct cat_object *o;

	if (!number || it->len > PAGE_SIZE || cat_object(number))
		return 0;
	o = kzalloc(struct_size(o, name, it->len + 1), GFP_KERNEL);
	if (!o)
		return -ENOMEM;
	memcpy(o->name, it->data, it->len);
	if (!cat_string(o->name, it->len)) {
		kfree(o);
		return 0;
	}
	o->number = number;
	list_add(&o->list, &cat_objects);
	cat_last_object = max(cat_last_object, number);
	return 0;
}

static int cat_index_symbols(const struct dlog_catalog_item *it)
{
	struct dlog_symbol_note note;
	u32 at = 0;
	int ret;

	while (at + sizeof(note) < it->len) {
		memcpy(&note, it->data + at, sizeof(note));
		at += sizeof(note);
		at += strnlen(it->data + at, it->len - at) + 1;
		ret = sym_add(DLOG_TYPE_ARG(it->type), note.offset);
		if (ret)
			return ret;
	}
	return 0;
}

static void cat_index_base(const struct dlog_catalog_item *it)
{
	struct cat_object *o = cat_object(DLOG_TYPE_ARG(it->type));
	struct dlog_base base;

	if (!o || it->len < sizeof(base))
		return;
	memcpy(&base, it->data, sizeof(base));
	o->boot = base.boot;
	o->size = base.size;
	o->base = base.base;
}

/*
 * Index what is behind cat_end: all at load, what was appended here, and
 * after hibernation what the kernel that wrote the image appended since.
 */
static int cat_index(void)
{
	struct dlog_catalog_item it = cat_end;
	int ret = 0;

	while (!ret && dlog_catalog_next(&dlog.region, &it)) {
		if (DLOG_TYPE_KIND(it.type) == DLOG_KIND_EVENT_TYPE)
			ret = cat_index_event(&it);
		else if (DLOG_TYPE_KIND(it.type) == DLOG_KIND_OBJECT)
			ret = cat_index_object(&it);
		else if (DLOG_TYPE_KIND(it.type) == DLOG_KIND_SYMBOLS)
			ret = cat_index_symbols(&it);
		else if (DLOG_TYPE_KIND(it.type) == DLOG_KIND_BASE)
			cat_index_base(&it);
		if (!ret)
			cat_end.next = it.next;
	}
	if (!ret)
		cat_end.next = it.next;
	return ret;
}

/* Append and index one record. */
static int cat_append(u32 type, const void *data, u32 len)
{
	u64 size = dlog.region.sb.catalog_size;
	struct dlog_catalog_item it;
	/* The end is another one when somebody has used the region meanwhile. */
	int ret = cat_index();

	if (ret)
		return ret;
	it = cat_end;
	if (DLOG_TYPE_KIND(type) != DLOG_KIND_EVENT_TYPE &&
	    it.next + DLOG_REC_SIZE(len) > size - size / 4)
		return -ENOSPC;
	ret = dlog_catalog_append(&dlog.region, &it, dlog_clock(), type, data,
				  len);
	return ret ? ret : cat_index();
}

static int cat_full(const char *name)
{
	if (!cat_full_told)
		pr_err("the catalog of the region is full (%llu KiB): no new event types, \"%s\" was the first; make a region with a larger one (dlog-create --catalog)\n",
		       dlog.region.sb.catalog_size >> 10, name);
	cat_full_told = true;
	return -ENOSPC;
}

static struct cat_event *cat_find(const void *data, u32 len)
{
	u32 hash = jhash(data, len, 0);
	struct cat_event *e;

	hash_for_each_possible(cat_hash, e, node, hash)
		if (e->hash == hash && e->len == len &&
		    !memcmp(dlog.region.base + e->off, data, len))
			return e;
	return NULL;
}

static int cat_event(const char *name, const void *data, u32 len)
{
	struct cat_event *e;
	int ret;

	ret = cat_index();
	if (ret)
		return ret;
	e = cat_find(data, len);
	if (!e) {
		if (cat_last >= DLOG_EVENT_MAX)
			return cat_full(name);
		ret = cat_append(DLOG_TYPE(DLOG_KIND_EVENT_TYPE, cat_last + 1),
				 data, len);
		if (ret == -ENOSPC)
			return cat_full(name);
		if (ret)
			return ret;
		e = cat_find(data, len);
		if (!e)
			return -EIO;
	}
	/* A trace event is off until its command is done with all of them. */
	if (!e->here && e->ftrace)
		dlog_event_switch(e->id, false);
	e->here = ++cat_registered;
	return e->id;
}

int dlog_catalog_event(const char *name, const char *fields, const char *format)
{
	size_t size = sizeof(struct dlog_event_type) + strlen(name) +
		      strlen(fields) + (format ? strlen(format) : 0) + 3;
	void *data;
	int ret;

	if (!READ_ONCE(dlog.ready))
		return -ENODEV;
	if (size > DLOG_SUBBUF_MAX)
		return -EMSGSIZE;
	data = kvmalloc(size, GFP_KERNEL);
	if (!data)
		return -ENOMEM;
	ret = dlog_event_type_pack(name, fields, format, data, size);
	if (ret > 0) {
		mutex_lock(&cat_lock);
		ret = cat_event(name, data, ret);
		mutex_unlock(&cat_lock);
	}
	kvfree(data);
	return ret;
}

int dlog_catalog_find(const char *name)
{
	int ret = -ENOENT;
	u64 last = 0;

	mutex_lock(&cat_lock);
	for (u32 id = 1; id <= cat_last; id++) {
		const struct cat_event *e = cat_ids[id];

		if (e && e->here > last && !strcmp(e->name, name)) {
			last = e->here;
			ret = id;
		}
	}
	mutex_unlock(&cat_lock);
	return ret;
}

void dlog_catalog_gone(int id)
{
	mutex_lock(&cat_lock);
	if (cat_ids[id])
		cat_ids[id]->here = 0;
	mutex_unlock(&cat_lock);
}

int dlog_catalog_each(int (*fn)(void *arg, int id, const char *name,
				bool ftrace),
		      void *arg)
{
	int ret = 0;

	mutex_lock(&cat_lock);
	for (u32 id = 1; id <= cat_last && !ret; id++)
		if (cat_ids[id] && cat_ids[id]->here)
			ret = fn(arg, id, cat_ids[id]->name,
				 cat_ids[id]->ftrace);
	mutex_unlock(&cat_lock);
	return ret;
}

u64 dlog_catalog_used(void)
{
	u64 used;

	mutex_lock(&cat_lock);
	used = cat_end.next;
	mutex_unlock(&cat_lock);
	return used;
}

int dlog_catalog_object(const char *name)
{
	struct cat_object *o;
	int ret;

	mutex_lock(&cat_lock);
	ret = cat_index();
	if (ret)
		goto out;
	list_for_each_entry(o, &cat_objects, list)
		if (!strcmp(o->name, name)) {
			ret = o->number;
			goto out;
		}
	ret = -ENOSPC;
	if (cat_last_object >= DLOG_OBJECT_MAX)
		goto out;
	ret = cat_append(DLOG_TYPE(DLOG_KIND_OBJECT, cat_last_object + 1), name,
			 strlen(name) + 1);
	if (!ret)
		ret = cat_last_object;
out:
	mutex_unlock(&cat_lock);
	return ret;
}

int dlog_catalog_base(int object, u64 base, u32 size)
{
	struct dlog_base b = {
		.boot = dlog.region.boot,
		.size = size,
		.base = base,
	};
	struct cat_object *o;
	int ret = 0;

	mutex_lock(&cat_lock);
	o = cat_object(object);
	if (!o || o->boot != b.boot || o->base != base || o->size != size)
		ret = cat_append(DLOG_TYPE(DLOG_KIND_BASE, object), &b,
				 sizeof(b));
	mutex_unlock(&cat_lock);
	return ret;
}

bool dlog_catalog_has_symbol(int object, u32 offset)
{
	u64 key = (u64)object << 32 | offset;
	bool has;

	mutex_lock(&cat_lock);
	has = sym_room && sym_set[sym_place(key)] == key;
	mutex_unlock(&cat_lock);
	return has;
}

int dlog_catalog_symbols(int object, const void *notes, u32 len)
{
	int ret;

	mutex_lock(&cat_lock);
	ret = cat_append(DLOG_TYPE(DLOG_KIND_SYMBOLS, object), notes, len);
	mutex_unlock(&cat_lock);
	return ret;
}

int dlog_catalog_start(void)
{
	int ret;

	mutex_lock(&cat_lock);
	ret = cat_index();
	mutex_unlock(&cat_lock);
	if (ret)
		dlog_catalog_stop();
	return ret;
}

void dlog_catalog_stop(void)
{
	struct cat_object *o, *next_object;
	struct hlist_node *next;
	struct cat_event *e;
	int bucket;

	hash_for_each_safe(cat_hash, bucket, next, e, node) {
		hash_del(&e->node);
		kfree(e);
	}
	list_for_each_entry_safe(o, next_object, &cat_objects, list) {
		list_del(&o->list);
		kfree(o);
	}
	kvfree(sym_set);
	sym_set = NULL;
}
