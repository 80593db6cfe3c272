// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * prb.c - the kernel's log buffer in guest memory, record by record.
 *
 * The format is that of kernel/printk/printk_ringbuffer.[ch], Linux 5.10 to
 * 6.12.  Three arrays: descriptors (state and id in one word, where the text
 * is), infos (sequence number, time, level ...), and bytes of text in blocks
 * that begin with the id of their descriptor.  Ids and sequence numbers are
 * counted up together, so that
 *
 *	id == (seq + id of the first record) mod 2^62
 *
 * and both name the place in their array.  So each record proves itself: its
 * id and its sequence number have to be those that its place can have, and
 * its block has to begin with its id.
 *
 * Positions of text count on for ever, too.  A block that would cross the end
 * of the bytes lies at their start as a whole; its id is at both places.
 */
#include <stdlib.h>
#include <string.h>

#include "prb.h"

#define ID_MASK (UINT64_MAX >> 2)
#define STATE(word) ((word) >> 62)
enum { RESERVED, COMMITTED, FINALIZED, REUSABLE };

/* Positions of records without text: there was no room, there was none. */
#define NO_ROOM 1u
#define EMPTY 3u

#define ID_SIZE PRB_TEXT

/* ---- where things are ---- */

struct wanted {
	const char *name;
	size_t offset; /* in struct prb_layout */
	uint32_t max;
};

static const struct wanted wanted[] = {
#define W(name, member, max)                                                   \
	{                                                                      \
		name, offsetof(struct prb_layout, member), max                 \
	}
	W("SIZE(printk_ringbuffer)", ring_size, 256),
	W("OFFSET(printk_ringbuffer.fail)", fail, 248),
	W("OFFSET(prb_desc_ring.count_bits)", count_bits, 128),
	W("OFFSET(prb_desc_ring.descs)", descs, 128),
	W("OFFSET(prb_desc_ring.infos)", infos, 128),
	W("OFFSET(prb_desc_ring.head_id)", head_id, 128),
	W("OFFSET(prb_desc_ring.tail_id)", tail_id, 128),
	W("OFFSET(prb_data_ring.size_bits)", size_bits, 128),
	W("OFFSET(prb_data_ring.data)", data, 128),
	W("SIZE(prb_desc)", desc_size, 256),
	W("OFFSET(prb_desc.state_var)", state, 248),
	W("OFFSET(prb_data_blk_lpos.begin)", begin, 128),
	W("OFFSET(prb_data_blk_lpos.next)", next, 128),
	W("SIZE(printk_info)", info_size, 1024),
	W("OFFSET(printk_info.seq)", seq, 1016),
	W("OFFSET(printk_info.ts_nsec)", ts_nsec, 1016),
	W("OFFSET(printk_info.text_len)", text_len, 1016),
	W("OFFSET(printk_info.caller_id)", caller_id, 1016),
#undef W
};

/* Members of structures within structures. */
static int layout_nested(struct dlog_ram *ram, struct prb_layout *l)
{
	uint64_t desc_ring, text_ring, lpos;

	if (!dlog_ram_vmcoreinfo_get(ram, "SYMBOL(prb)", &l->ring) ||
	    !dlog_ram_vmcoreinfo_get(ram, "OFFSET(printk_ringbuffer.desc_ring)",
				     &desc_ring) ||
	    !dlog_ram_vmcoreinfo_get(ram,
				     "OFFSET(printk_ringbuffer.text_data_ring)",
				     &text_ring) ||
	    !dlog_ram_vmcoreinfo_get(ram, "OFFSET(prb_desc.text_blk_lpos)",
				     &lpos) ||
	    desc_ring > 128 || text_ring > 128 || lpos > 128)
		return -ENXIO;
	l->count_bits += (uint32_t)desc_ring;
	l->descs += (uint32_t)desc_ring;
	l->infos += (uint32_t)desc_ring;
	l->head_id += (uint32_t)desc_ring;
	l->tail_id += (uint32_t)desc_ring;
	l->size_bits += (uint32_t)text_ring;
	l->data += (uint32_t)text_ring;
	l->begin += (uint32_t)lpos;
	l->next += (uint32_t)lpos;
	return 0;
}

/* Does all that is read of a structure lie in it? */
static bool layout_fits(const struct prb_layout *l)
{
	const uint32_t ring[] = { l->fail,  l->count_bits, l->descs,
				  l->infos, l->head_id,	   l->tail_id,
				  l->data,  l->size_bits };
	const uint32_t desc[] = { l->state, l->begin, l->next };
	const uint32_t info[] = { l->seq, l->ts_nsec, l->text_len,
				  l->caller_id };

	for (size_t i = 0; i < sizeof(ring) / sizeof(ring[0]); i++)
		if (ring[i] + 8 > l->ring_size)
			return false;
	for (size_t i = 0; i < sizeof(desc) / sizeof(desc[0]); i++)
		if (desc[i] + 8 > l->desc_size)
			return false;
	for (size_t i = 0; i < sizeof(info) / sizeof(info[0]); i++)
		if (info[i] + 4 > l->info_size)
			return false;
	return l->seq + 8 <= l->info_size && l->ts_nsec + 8 <= l->info_size;
}

int prb_layout_load(struct dlog_ram *ram, struct prb_layout *l)
{
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		const struct wanted *w = &wanted[i];
		uint32_t value32;
		uint64_t value;

		if (!dlog_ram_vmcoreinfo_get(ram, w->name, &value) ||
		    value > w->max)
			goto unknown;
		value32 = (uint32_t)value;
		memcpy((char *)l + w->offset, &value32, sizeof(value32));
	}
	if (!layout_nested(ram, l) && layout_fits(l))
		return 0;
unknown:
	return ram_fail(ram, -ENXIO,
			"VMCOREINFO does not describe the log as Linux 5.10 "
			"and later do.");
}

static uint64_t word(const uint8_t *p, uint32_t off)
{
	return dlog_load64(p + off);
}

/*
 * Oldest and newest record, by the ids of their descriptors.  DESC0_ID is
 * minus the number of descriptors minus 1: in 32 bits, since that number is
 * an unsigned int, and in 62 bits where it is a long.
 */
static bool prb_range(struct prb *p, uint64_t head, uint64_t tail)
{
	uint64_t held = (head - tail) & ID_MASK;

	p->zero = (1ull << 32) - p->count;
	if (head < p->zero - 1 || head > ID_MASK / 2)
		p->zero = -p->count & ID_MASK;
	p->end = (head - p->zero + 1) & ID_MASK;
	/* Before the first record the tail is one that never was written. */
	p->first = p->end > held ? p->end - held - 1 : 0;
	return held < p->count;
}

/* Both arrays and the text in RAM, from one end to the other? */
static bool prb_mapped(struct dlog_ram *ram, const struct prb_layout *l,
		       const struct prb *p)
{
	const uint64_t at[] = { p->descs, p->infos, p->data };
	const uint64_t size[] = { p->count * l->desc_size,
				  p->count * l->info_size, p->size };
	uint64_t phys, together;

	for (size_t i = 0; i < 3; i++)
		if (size[i] > ram->d->size ||
		    dlog_ram_translate(ram, at[i], &phys, &together) ||
		    dlog_ram_translate(ram, at[i] + size[i] - 1, &phys,
				       &together))
			return false;
	return true;
}

/* What @head, the bytes of the ring's head, says. */
static bool prb_parse(struct dlog_ram *ram, const struct prb_layout *l,
		      const uint8_t *head, struct prb *p)
{
	uint32_t count_bits = dlog_load32(head + l->count_bits);
	uint32_t size_bits = dlog_load32(head + l->size_bits);

	if (count_bits > 30 || size_bits > 32 || size_bits < 4)
		return false;
	p->count = 1ull << count_bits;
	p->size = 1ull << size_bits;
	p->descs = word(head, l->descs);
	p->infos = word(head, l->infos);
	p->data = word(head, l->data);
	p->fail = word(head, l->fail);
	return prb_mapped(ram, l, p) &&
	       prb_range(p, word(head, l->head_id), word(head, l->tail_id));
}

int prb_load(struct dlog_ram *ram, const struct prb_layout *l, struct prb *p)
{
	uint8_t head[256];
	uint64_t at;

	/* While it is written, head and tail are not of one instant. */
	for (int i = 0; i < 4; i++) {
		if (ram_read_u64(ram, l->ring, &at) ||
		    dlog_ram_read(ram, at, head, l->ring_size))
			break;
		if (prb_parse(ram, l, head, p))
			return 0;
	}
	return ram_fail(ram, -EBADMSG,
			"The head of the kernel's log is damaged.");
}

/* ---- records ---- */

int prb_raw_init(struct prb_raw *raw, const struct prb_layout *l)
{
	raw->n = 0;
	raw->desc = malloc(PRB_BATCH * (size_t)l->desc_size);
	raw->info = malloc(PRB_BATCH * (size_t)l->info_size);
	return raw->desc && raw->info ? 0 : -ENOMEM;
}

void prb_raw_free(struct prb_raw *raw)
{
	free(raw->desc);
	free(raw->info);
}

int prb_raw_read(struct dlog_ram *ram, const struct prb_layout *l,
		 const struct prb *p, struct prb_raw *raw, uint64_t seq,
		 uint32_t n)
{
	uint64_t at = seq & (p->count - 1);
	int ret;

	if (n > p->count - at)
		n = (uint32_t)(p->count - at);
	raw->seq = seq;
	raw->n = n;
	ret = dlog_ram_read(ram, p->descs + at * l->desc_size, raw->desc,
			    (size_t)n * l->desc_size);
	if (!ret)
		ret = dlog_ram_read(ram, p->infos + at * l->info_size,
				    raw->info, (size_t)n * l->info_size);
	return ret;
}

bool prb_same(const struct prb_layout *l, const struct prb_raw *a,
	      const struct prb_raw *b, uint32_t i)
{
	return !memcmp(a->desc + i * l->desc_size, b->desc + i * l->desc_size,
		       l->desc_size) &&
	       !memcmp(a->info + i * l->info_size, b->info + i * l->info_size,
		       l->info_size);
}

/* Where the bytes of block [begin, next) are: their index and number. */
static bool block_find(const struct prb *p, uint64_t begin, uint64_t next,
		       uint64_t *at, uint64_t *size)
{
	uint64_t mask = p->size - 1;

	if (begin % ID_SIZE || next % ID_SIZE || next - begin < ID_SIZE ||
	    next - begin > p->size + (next & mask))
		return false;
	*at = begin & mask;
	*size = next - begin;
	/* Later kernels let a block end with the bytes. */
	if ((begin ^ next) & ~mask && next & mask) {
		*at = 0;
		*size = next & mask;
	}
	return *size >= ID_SIZE && *size <= p->size - *at;
}

static enum prb_state desc_state(uint64_t state, uint64_t begin)
{
	switch (STATE(state)) {
	case RESERVED:
		return PRB_BEGUN;
	case REUSABLE:
		return PRB_NONE;
	}
	if (begin == NO_ROOM)
		return PRB_LOST;
	return STATE(state) == COMMITTED ? PRB_OPEN : PRB_DONE;
}

/* A descriptor of another id: that of another lap, or no descriptor. */
static enum prb_state other_state(const struct prb *p, uint64_t id,
				  uint64_t other)
{
	uint64_t newer = (other - id) & ID_MASK;

	return !(newer & (p->count - 1)) && newer <= ID_MASK / 2 ? PRB_NONE
								 : PRB_BAD;
}

void prb_decode(const struct prb_layout *l, const struct prb *p,
		const struct prb_raw *raw, uint32_t i, struct prb_record *r)
{
	const uint8_t *desc = raw->desc + (size_t)i * l->desc_size;
	const uint8_t *info = raw->info + (size_t)i * l->info_size;
	uint64_t state = word(desc, l->state);
	uint64_t id;

	memset(r, 0, sizeof(*r));
	r->seq = raw->seq + i;
	id = (r->seq + p->zero) & ID_MASK;
	r->begin = word(desc, l->begin);
	if ((state & ID_MASK) != id) {
		r->state = other_state(p, id, state & ID_MASK);
		return;
	}
	r->state = desc_state(state, r->begin);
	r->next = word(desc, l->next);
	if (word(info, l->seq) != r->seq) {
		/* All that is known is where the text is. */
		r->doubt = r->state == PRB_BEGUN ? DLOG_DOUBT_TORN
						 : DLOG_DOUBT_SALVAGED;
		r->level = 6;
		r->caller = DLOG_CALLER_UNKNOWN;
		r->len = PRB_TEXT_MAX;
		r->to_nul = true;
		return;
	}
	r->time = word(info, l->ts_nsec);
	r->len = info[l->text_len] | (uint32_t)info[l->text_len + 1] << 8;
	if (r->len > PRB_TEXT_MAX)
		r->len = PRB_TEXT_MAX;
	/* struct printk_info: u16 text_len, u8 facility, u8 flags:5, level:3 */
	r->facility = info[l->text_len + 2];
	r->level = info[l->text_len + 3] >> 5;
	r->caller = dlog_load32(info + l->caller_id);
	if (r->state == PRB_BEGUN) {
		r->doubt = DLOG_DOUBT_TORN;
		r->to_nul = !r->len;
		if (r->to_nul)
			r->len = PRB_TEXT_MAX;
	}
}

static int buf_grow(struct prb_buf *buf, size_t size)
{
	uint8_t *p;

	if (size <= buf->size)
		return 0;
	if (size < 256)
		size = 256;
	p = realloc(buf->p, size);
	if (!p)
		return -ENOMEM;
	buf->p = p;
	buf->size = size;
	return 0;
}

/* What a writer that came no further left: up to what ends a string. */
static uint32_t text_end(const uint8_t *p, uint32_t len)
{
	const uint8_t *end = memchr(p, 0, len);

	if (end)
		len = (uint32_t)(end - p);
	while (len && p[len - 1] == '\n')
		len--;
	return len;
}

/* Nothing can be had of it. */
static int text_none(struct prb_record *r)
{
	if (r->len && r->doubt != DLOG_DOUBT_SALVAGED)
		r->doubt = DLOG_DOUBT_TORN;
	r->len = 0;
	return 0;
}

int prb_text(struct dlog_ram *ram, const struct prb *p, struct prb_record *r,
	     struct prb_buf *buf)
{
	uint64_t id = (r->seq + p->zero) & ID_MASK, at, size;
	uint32_t len = r->len;

	buf->read = 0;
	if (buf_grow(buf, PRB_TEXT))
		return -ENOMEM;
	if (!len || r->begin == EMPTY ||
	    !block_find(p, r->begin, r->next, &at, &size))
		return text_none(r);
	if (len > size - ID_SIZE) {
		len = (uint32_t)(size - ID_SIZE);
		if (!r->to_nul)
			r->doubt = DLOG_DOUBT_TORN;
	}
	if (buf_grow(buf, PRB_TEXT + (size_t)len))
		return -ENOMEM;
	buf->read = len;
	if (dlog_ram_read(ram, p->data + at, buf->p, ID_SIZE + (size_t)len))
		return text_none(r);
	if (dlog_load64(buf->p) != id) {
		/* Not its text, or damaged. */
		if (r->to_nul)
			return text_none(r);
		r->doubt = DLOG_DOUBT_TORN;
	}
	r->len = r->to_nul ? text_end(buf->p + PRB_TEXT, len) : len;
	return 0;
}
