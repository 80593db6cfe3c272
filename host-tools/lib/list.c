// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * list.c - streams of formats that are read at once into lists (internal.h).
 *
 * Memory is that of the list, which its format bounds by the bytes that it
 * looks at.  A list is only replaced while no item of it is out.
 */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define BLOCK 65536u

struct dlog_list_block {
	struct dlog_list_block *next;
	size_t used, size;
	uint8_t data[];
};

/* @len bytes that stay where they are, or NULL. */
static uint8_t *list_bytes(struct dlog_list *l, size_t len)
{
	struct dlog_list_block *b = l->block;
	uint8_t *p;

	if (!b || len > b->size - b->used) {
		size_t size = len > BLOCK ? len : BLOCK;

		b = malloc(sizeof(*b) + size);
		if (!b)
			return NULL;
		b->next = l->block;
		b->used = 0;
		b->size = size;
		l->block = b;
	}
	p = b->data + b->used;
	b->used += len;
	l->bytes += len;
	return p;
}

int dlog_list_add(struct dlog_list *l, uint32_t boot, uint64_t time,
		  uint64_t position, uint32_t type, uint32_t caller,
		  enum dlog_doubt doubt, const void *data, size_t len)
{
	size_t head = DLOG_TYPE_KIND(type) == DLOG_KIND_PRINTK ? 4 : 0;
	struct dlog_item *item;
	uint8_t *to;

	if (len > UINT16_MAX - head)
		len = UINT16_MAX - head;
	item = dlog_grow(l->item, l->nr, &l->room, sizeof(*item));
	if (!item)
		return -ENOMEM;
	l->item = item;
	to = list_bytes(l, head + len);
	if (!to)
		return -ENOMEM;
	if (head)
		memcpy(to, &caller, 4);
	if (len)
		memcpy(to + head, data, len);
	l->item[l->nr++] = (struct dlog_item){
		.time = time,
		.position = position,
		.boot = boot,
		.type = type,
		.len = (uint16_t)(head + len),
		.doubt = (uint8_t)doubt,
		.data = to,
	};
	return 0;
}

void dlog_list_free(struct dlog_list *l)
{
	while (l->block) {
		struct dlog_list_block *b = l->block;

		l->block = b->next;
		free(b);
	}
	free(l->item);
	memset(l, 0, sizeof(*l));
}

/* ---- made once for several who ask ---- */

static int list_make(struct dlog *d, uint32_t n, struct dlog_list *l)
{
	struct dlog_list *kept = &d->kept[n];
	uint64_t version = d->ops->list_version(d);
	int ret;

	if (kept->nr && kept->version == version) {
		*l = *kept;
		*kept = (struct dlog_list){ .nr = 0 };
		return 0;
	}
	dlog_list_free(kept);
	ret = d->ops->list(d, n, l);
	l->version = version;
	return ret;
}

/* Instead of dlog_list_free() for one that is @whole: somebody may ask again. */
static void list_keep(struct dlog *d, uint32_t n, struct dlog_list *l,
		      bool whole)
{
	dlog_list_free(&d->kept[n]);
	if (whole)
		d->kept[n] = *l;
	else
		dlog_list_free(l);
}

/* ---- a stream of one ---- */

struct stream {
	struct dlog *d;
	uint32_t n, boot; /* boot: the only one wanted, 0: all */
	bool follow, made;
	bool fresh; /* only what comes from now on */
	struct dlog_list list;
	size_t next;
	uint64_t from; /* position behind what was given */
	uint64_t given;
};

uint32_t dlog_list_streams(struct dlog *d)
{
	(void)d;
	return 1;
}

int dlog_list_stream_new(struct dlog *d, uint32_t n, unsigned int flags,
			 void **out)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->d = d;
	s->n = n;
	s->follow = flags & DLOG_READER_FOLLOW;
	s->fresh = flags & DLOG_READER_NEW;
	*out = s;
	return 0;
}

void dlog_list_stream_free(void *stream)
{
	struct stream *s = stream;

	dlog_list_free(&s->list);
	free(s);
}

/* The list as it is now, at the first record that was not given. */
static int stream_make(struct stream *s)
{
	int ret;

	dlog_list_free(&s->list);
	s->made = true;
	ret = list_make(s->d, s->n, &s->list);
	for (s->next = 0; s->next < s->list.nr; s->next++)
		if (s->list.item[s->next].position >= s->from && !s->fresh)
			break;
	if (s->fresh && s->list.nr)
		s->from = s->list.item[s->list.nr - 1].position + 1;
	s->fresh = false;
	return ret;
}

void dlog_list_stream_set_boot(void *stream, uint32_t boot)
{
	((struct stream *)stream)->boot = boot;
}

static bool stream_wants(const struct stream *s, const struct dlog_item *i)
{
	return !s->boot || i->boot == s->boot;
}

int dlog_list_stream_last(void *stream, uint64_t n)
{
	struct stream *s = stream;
	int ret = stream_make(s);
	size_t i = s->list.nr;

	if (ret)
		return ret;
	while (i > s->next && n)
		n -= stream_wants(s, &s->list.item[--i]);
	ret = i > s->next;
	s->next = i;
	return ret;
}

size_t dlog_list_stream_tell(void *stream, struct dlog_place *out, size_t n)
{
	struct stream *s = stream;

	if (n)
		*out = (struct dlog_place){
			.ring = s->n,
			.position = s->from,
			.end = UINT64_MAX,
			.records = s->given,
		};
	return 1;
}

void dlog_list_stream_seek(void *stream, const struct dlog_place *p, size_t n)
{
	struct stream *s = stream;

	for (size_t i = 0; i < n; i++)
		if (p[i].ring == s->n && p[i].end == UINT64_MAX) {
			s->from = p[i].position;
			s->given = p[i].records;
		}
}

int dlog_list_stream_next(void *stream, struct dlog_item *item)
{
	struct stream *s = stream;
	int ret = s->made ? 0 : stream_make(s);

	if (ret)
		return ret;
	while (s->next < s->list.nr) {
		*item = s->list.item[s->next++];
		s->from = item->position + 1;
		if (!stream_wants(s, item))
			continue;
		item->number = s->given++;
		return 1;
	}
	return 0;
}

void dlog_list_stream_put(void *stream, const struct dlog_item *item)
{
	(void)stream;
	(void)item;
}

bool dlog_list_stream_poll(void *stream, bool rare)
{
	struct stream *s = stream;
	const struct dlog_source_ops *ops = s->d->ops;

	(void)rare;
	if (!s->follow || !ops->list_changed || !ops->list_changed(s->d, s->n))
		return false;
	return !stream_make(s) && s->next < s->list.nr;
}

uint64_t dlog_list_stream_missed(void *stream)
{
	(void)stream;
	return 0;
}

/* ---- questions about all of them ---- */

static struct dlog_loss *loss_of(struct dlog_loss **all, int *nr, uint32_t ring,
				 uint32_t boot)
{
	struct dlog_loss *l;

	for (int i = *nr; i--;)
		if ((*all)[i].ring == ring && (*all)[i].boot == boot)
			return &(*all)[i];
	l = realloc(*all, (size_t)(*nr + 1) * sizeof(*l));
	if (!l)
		return NULL;
	*all = l;
	l += (*nr)++;
	*l = (struct dlog_loss){ .ring = ring, .boot = boot };
	return l;
}

static int loss_order(const void *a, const void *b)
{
	const struct dlog_loss *x = a, *y = b;

	if (x->boot != y->boot)
		return x->boot < y->boot ? -1 : 1;
	return x->ring < y->ring ? -1 : x->ring > y->ring;
}

/* What is there; of what is not, such formats keep no count. */
int dlog_list_loss(struct dlog *d, struct dlog_loss **out)
{
	int nr = 0, ret = 0;

	*out = NULL;
	for (uint32_t n = 0; !ret && n < d->ops->streams(d); n++) {
		struct dlog_list l = { 0 };

		ret = list_make(d, n, &l);
		for (size_t i = 0; !ret && i < l.nr; i++) {
			struct dlog_loss *one = loss_of(out, &nr, n,
							l.item[i].boot);

			if (!one) {
				ret = -ENOMEM;
				break;
			}
			one->records++;
			one->reserved++;
			one->bytes += l.item[i].len;
		}
		list_keep(d, n, &l, !ret);
	}
	if (ret) {
		free(*out);
		*out = NULL;
		return ret;
	}
	if (nr)
		qsort(*out, (size_t)nr, sizeof(**out), loss_order);
	return nr;
}

static int boots_add(struct dlog_boot_entry **all, int *nr,
		     const struct dlog_item *item)
{
	struct dlog_boot_entry *b = *all;
	int i = 0, high = *nr;

	while (i < high) {
		int mid = i + (high - i) / 2;

		if (b[mid].boot < item->boot)
			i = mid + 1;
		else
			high = mid;
	}
	if (i == *nr || b[i].boot != item->boot) {
		b = realloc(*all, (size_t)(*nr + 1) * sizeof(*b));
		if (!b)
			return -ENOMEM;
		*all = b;
		memmove(&b[i + 1], &b[i], (size_t)(*nr - i) * sizeof(*b));
		b[i] = (struct dlog_boot_entry){
			.boot = item->boot,
			.has_records = true,
			.first_time = item->time,
		};
		++*nr;
	}
	if (item->time < b[i].first_time)
		b[i].first_time = item->time;
	if (item->time > b[i].last_time)
		b[i].last_time = item->time;
	return 0;
}

int dlog_list_boots(struct dlog *d, struct dlog_boot_entry **out)
{
	int nr = 0, ret = 0;

	*out = NULL;
	for (uint32_t n = 0; !ret && n < d->ops->streams(d); n++) {
		struct dlog_list l = { 0 };

		ret = list_make(d, n, &l);
		for (size_t i = 0; !ret && i < l.nr; i++)
			ret = boots_add(out, &nr, &l.item[i]);
		list_keep(d, n, &l, !ret);
	}
	if (ret) {
		free(*out);
		*out = NULL;
		return ret;
	}
	return nr;
}
