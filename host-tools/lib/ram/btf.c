// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * btf.c - layouts of structures out of BTF (Linux 6.12,
 * Documentation/bpf/btf.rst and include/uapi/linux/btf.h).
 *
 * One pass finds where each type begins; a kind that is not known ends it,
 * and what came before stays usable.  Types may refer to each other in
 * circles and nest without end: every question has a budget of steps.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "btf.h"

#define BTF_MAGIC 0xeb9fu
#define NAME_MAX_LEN 128u /* KSYM_NAME_LEN of old; also bounds sorting */
#define STEPS 100000u /* members looked at for one question */
#define DEPTH 16u /* structures without name in each other */

enum {
	KIND_INT = 1,
	KIND_PTR,
	KIND_ARRAY,
	KIND_STRUCT,
	KIND_UNION,
	KIND_ENUM,
	KIND_FWD,
	KIND_TYPEDEF,
	KIND_VOLATILE,
	KIND_CONST,
	KIND_RESTRICT,
	KIND_FUNC,
	KIND_FUNC_PROTO,
	KIND_VAR,
	KIND_DATASEC,
	KIND_FLOAT,
	KIND_DECL_TAG,
	KIND_TYPE_TAG,
	KIND_ENUM64,
	KINDS
};

/* What follows the three words of a type: fixed, and for each of its vlen. */
static const struct {
	uint8_t fixed, each;
} kind_size[KINDS] = {
	[KIND_INT] = { 4, 0 },	    [KIND_ARRAY] = { 12, 0 },
	[KIND_STRUCT] = { 0, 12 },  [KIND_UNION] = { 0, 12 },
	[KIND_ENUM] = { 0, 8 },	    [KIND_FUNC_PROTO] = { 0, 8 },
	[KIND_VAR] = { 4, 0 },	    [KIND_DATASEC] = { 0, 12 },
	[KIND_DECL_TAG] = { 4, 0 }, [KIND_ENUM64] = { 0, 12 },
};

struct header {
	uint16_t magic;
	uint8_t version, flags;
	uint32_t hdr_len, type_off, type_len, str_off, str_len;
};

/* A type as its words say. */
struct type {
	uint32_t name, kind, vlen, size; /* size, or the type it refers to */
	bool kflag;
	const uint8_t *more;
};

static uint32_t word(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static void type_read(struct type *t, const uint8_t *p)
{
	uint32_t info = word(p + 4);

	t->name = word(p);
	t->kind = info >> 24 & 0x1f;
	t->vlen = info & 0xffff;
	t->kflag = info >> 31;
	t->size = word(p + 8);
	t->more = p + 12;
}

/* Type @id, if there is such a one; 0 is void. */
static bool type_get(const struct btf *b, uint32_t id, struct type *t)
{
	if (!id || id > b->nr)
		return false;
	type_read(t, b->types + b->type[id - 1]);
	return true;
}

static const char *name_of(const struct btf *b, uint32_t off)
{
	return off < b->names_len ? b->names + off : "";
}

/* Of one that there is. */
static const char *type_name(const struct btf *b, uint32_t id)
{
	return name_of(b, word(b->types + b->type[id - 1]));
}

static uint32_t type_kind(const struct btf *b, uint32_t id)
{
	return word(b->types + b->type[id - 1] + 4) >> 24 & 0x1f;
}

/* ---- reading all of it once ---- */

static int find_types(struct btf *b, uint32_t len)
{
	uint32_t room = len / 12, off = 0;

	b->type = malloc((room ? room : 1) * sizeof(*b->type));
	if (!b->type)
		return -ENOMEM;
	while (len - off >= 12) {
		uint64_t size = 12;
		struct type t;

		type_read(&t, b->types + off);
		if (!t.kind || t.kind >= KINDS)
			break;
		size += kind_size[t.kind].fixed;
		size += (uint64_t)kind_size[t.kind].each * t.vlen;
		if (size > len - off)
			break;
		b->type[b->nr++] = off;
		off += (uint32_t)size;
	}
	return b->nr ? 0 : -EBADMSG;
}

static int by_name(const void *x, const void *y, void *arg)
{
	const struct btf *b = arg;
	uint32_t i = *(const uint32_t *)x, j = *(const uint32_t *)y;
	bool other = type_kind(b, i) == KIND_TYPEDEF;
	int cmp = strncmp(type_name(b, i), type_name(b, j), NAME_MAX_LEN);

	if (cmp)
		return cmp;
	/* A structure before a typedef of the same name. */
	if (other != (type_kind(b, j) == KIND_TYPEDEF))
		return other ? 1 : -1;
	return i < j ? -1 : i > j;
}

static bool has_layout(const struct btf *b, uint32_t id)
{
	uint32_t kind = type_kind(b, id);

	return (kind == KIND_STRUCT || kind == KIND_UNION ||
		kind == KIND_TYPEDEF) &&
	       *type_name(b, id);
}

static int sort_names(struct btf *b)
{
	b->named = malloc(b->nr * sizeof(*b->named));
	if (!b->named)
		return -ENOMEM;
	for (uint32_t id = 1; id <= b->nr; id++)
		if (has_layout(b, id))
			b->named[b->nr_named++] = id;
	qsort_r(b->named, b->nr_named, sizeof(*b->named), by_name, b);
	return 0;
}

static int btf_load(struct btf *b, size_t len)
{
	struct header h;
	size_t rest;
	int ret;

	if (len < sizeof(h))
		return -EBADMSG;
	memcpy(&h, b->data, sizeof(h));
	if (h.magic != BTF_MAGIC || h.version != 1 || h.hdr_len < sizeof(h) ||
	    h.hdr_len > len)
		return -EBADMSG;
	rest = len - h.hdr_len;
	if (h.type_off > rest || h.type_len > rest - h.type_off ||
	    h.str_off > rest || h.str_len > rest - h.str_off || !h.str_len)
		return -EBADMSG;
	b->types = b->data + h.hdr_len + h.type_off;
	b->names = (const char *)b->data + h.hdr_len + h.str_off;
	b->names_len = h.str_len;
	if (b->names[b->names_len - 1])
		return -EBADMSG;
	ret = find_types(b, h.type_len);
	return ret ? ret : sort_names(b);
}

int btf_init(struct btf *b, uint8_t *data, size_t len)
{
	int ret;

	memset(b, 0, sizeof(*b));
	b->data = data;
	ret = btf_load(b, len);
	if (ret)
		btf_free(b);
	return ret;
}

void btf_free(struct btf *b)
{
	free(b->data);
	free(b->type);
	free(b->named);
	memset(b, 0, sizeof(*b));
}

/* ---- questions ---- */

/* Where @name would stand in b->named. */
static uint32_t first_named(const struct btf *b, const char *name)
{
	uint32_t low = 0, high = b->nr_named;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (strncmp(type_name(b, b->named[mid]), name, NAME_MAX_LEN) <
		    0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* The type that typedefs and qualifiers of @id stand for. */
static bool type_strip(const struct btf *b, uint32_t id, struct type *t)
{
	for (int i = 0; i < 64 && type_get(b, id, t); i++) {
		switch (t->kind) {
		case KIND_TYPEDEF:
		case KIND_VOLATILE:
		case KIND_CONST:
		case KIND_RESTRICT:
		case KIND_TYPE_TAG:
			id = t->size;
			break;
		default:
			return true;
		}
	}
	return false;
}

/* Bytes of type @id; 0: not known, or more than 4 GiB. */
static uint32_t type_size(const struct btf *b, uint32_t id)
{
	uint64_t times = 1;
	struct type t;

	for (int i = 0; i < 16 && type_strip(b, id, &t); i++) {
		uint64_t size = t.size;

		switch (t.kind) {
		case KIND_ARRAY:
			times *= word(t.more + 8);
			if (times > UINT32_MAX)
				return 0;
			id = word(t.more);
			continue;
		case KIND_PTR:
			size = 8;
			break;
		case KIND_INT:
		case KIND_STRUCT:
		case KIND_UNION:
		case KIND_ENUM:
		case KIND_ENUM64:
		case KIND_FLOAT:
			break;
		default:
			return 0;
		}
		size *= times;
		return size > UINT32_MAX ? 0 : (uint32_t)size;
	}
	return 0;
}

struct query {
	const struct btf *b;
	uint32_t steps;
};

struct place {
	uint64_t bit; /* from the start of the outermost structure */
	uint32_t type, bits; /* bits: of a bit field, else 0 */
};

/* An integer may be narrower than its type: bit fields before kind_flag. */
static void old_bit_field(const struct btf *b, struct place *p)
{
	struct type t;
	uint32_t enc;

	if (!type_strip(b, p->type, &t) || t.kind != KIND_INT)
		return;
	enc = word(t.more);
	if ((enc & 0xff) != t.size * 8 && (enc & 0xff)) {
		p->bits = enc & 0xff;
		p->bit += enc >> 16 & 0xff;
	}
}

static bool find_member(struct query *q, const struct type *s, const char *name,
			size_t len, uint64_t base, unsigned int depth,
			struct place *out)
{
	for (uint32_t i = 0; i < s->vlen && q->steps; i++) {
		const uint8_t *p = s->more + 12 * (size_t)i;
		const char *text = name_of(q->b, word(p));
		struct place here = { .bit = word(p + 8), .type = word(p + 4) };
		struct type t;

		q->steps--;
		if (s->kflag) {
			here.bits = (uint32_t)here.bit >> 24;
			here.bit &= 0xffffff;
		} else {
			old_bit_field(q->b, &here);
		}
		here.bit += base;
		if (*text) {
			if (strncmp(text, name, len) || text[len])
				continue;
			*out = here;
			return true;
		}
		if (depth && type_strip(q->b, here.type, &t) &&
		    (t.kind == KIND_STRUCT || t.kind == KIND_UNION) &&
		    find_member(q, &t, name, len, here.bit, depth - 1, out))
			return true;
	}
	return false;
}

static int find_path(struct query *q, uint32_t id, const char *path,
		     struct place *out)
{
	*out = (struct place){ .type = id };
	for (;;) {
		size_t len = strcspn(path, ".");
		struct type t;

		if (!type_strip(q->b, out->type, &t) ||
		    (t.kind != KIND_STRUCT && t.kind != KIND_UNION))
			return -ENOENT;
		if (!find_member(q, &t, path, len, out->bit, DEPTH, out))
			return -ENOENT;
		if (!path[len])
			return 0;
		path += len + 1;
	}
}

/* The bytes in which it lies; of a bit field only those that hold it. */
static int to_member(const struct btf *b, const struct place *p,
		     struct dlog_ram_member *m)
{
	uint64_t byte = p->bit / 8;

	memset(m, 0, sizeof(*m));
	if (byte > INT32_MAX || (!p->bits && p->bit % 8))
		return -ENOENT;
	m->offset = (uint32_t)byte;
	if (p->bits) {
		m->bit = (uint32_t)(p->bit % 8);
		m->bits = p->bits;
		m->size = (m->bit + m->bits + 7) / 8;
	} else {
		m->size = type_size(b, p->type);
	}
	return 0;
}

int btf_member(const struct btf *b, const char *type, const char *path,
	       struct dlog_ram_member *m)
{
	struct query q = { .b = b, .steps = STEPS };
	struct place p;

	if (!b->data)
		return -ENXIO;
	/* Sources may have several of one name: the first that has it. */
	for (uint32_t i = first_named(b, type); i < b->nr_named; i++) {
		if (strncmp(type_name(b, b->named[i]), type, NAME_MAX_LEN) ||
		    !q.steps)
			break;
		q.steps--;
		if (!find_path(&q, b->named[i], path, &p))
			return to_member(b, &p, m);
	}
	return -ENOENT;
}

int64_t btf_sizeof(const struct btf *b, const char *type)
{
	uint32_t i = first_named(b, type), size;

	if (!b->data)
		return -ENXIO;
	if (i == b->nr_named ||
	    strncmp(type_name(b, b->named[i]), type, NAME_MAX_LEN))
		return -ENOENT;
	size = type_size(b, b->named[i]);
	return size ? (int64_t)size : -ENOENT;
}
