// SPDX-License-Identifier: GPL-2.0-only
/* probe.c - the start, what each QEMU can do, and the counts at the end. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "probe.h"

static int count_event; /* "dlog:probe" */

int probe_error(const struct probe *p, const char *format, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	tell("%s:%u: the probe %s: %s", p->file, p->line, p->name, text);
	return -EOPNOTSUPP;
}

bool probe_place(const struct probe *p, uint64_t *from, uint64_t *to)
{
	uint64_t slide = 0;

	if (p->moved && !symbols_slide(&slide))
		return false;
	*from = p->from + slide;
	*to = p->to + slide;
	return true;
}

/* What expressions ask for, whatever kind of probe it is. */
static int check_expressions(const struct probe *p)
{
	if (p->needs_registers && api.version < 2)
		return probe_error(
			p,
			"registers (%%%s) cannot be read in this QEMU, which speaks plugin API %d: QEMU 9.0 and later can",
			p->needs_registers, api.version);
	if (p->needs_memory && !api.read_memory_vaddr)
		return probe_error(
			p,
			"memory (%s) cannot be read in this QEMU, which speaks plugin API %d: QEMU 9.2 and later can",
			p->needs_memory, api.version);
	return 0;
}

static int check(struct probe *p)
{
	int ret = check_expressions(p);

	if (ret)
		return ret;
	if (p->kind == PROBE_EXEC)
		ret = exec_check(p);
	else if (p->space == SPACE_PORT)
		ret = io_check(p);
	else
		ret = memory_check(p);
	return ret ? ret : hit_check(p);
}

int probe_start(void)
{
	int ret = 0;

	if (!plugin.opt.nr_probes)
		return 0;
	for (unsigned int i = 0; i < plugin.opt.nr_probes && !ret; i++)
		ret = probes_load(plugin.opt.probes[i]);
	for (unsigned int i = 0; i < nr_probes && !ret; i++)
		ret = check(&probes[i]);
	if (ret)
		return ret;
	if (!nr_probes) {
		tell("%s has no probe in it", plugin.opt.probes[0]);
		return -EINVAL;
	}
	ret = guest_start();
	return ret ? ret : hit_start();
}

int probe_begin(void)
{
	int ret = 0;

	if (!nr_probes)
		return 0;
	for (unsigned int i = 0; i < nr_probes && !ret; i++)
		ret = hit_declare(&probes[i]);
	if (ret)
		return ret;
	count_event = record_event_type(
		"dlog:probe", "str name;str place;u64 hits;u64 recorded");
	return count_event < 0 ? count_event : 0;
}

void probe_translate(const struct block *b)
{
	if (!nr_probes)
		return;
	exec_translate(b);
	memory_translate(b);
	io_translate(b);
}

void probe_vcpu(unsigned int vcpu)
{
	if (nr_probes)
		guest_vcpu(vcpu);
}

static size_t put_str(uint8_t *at, const char *text)
{
	size_t len = strnlen(text, 1024);

	at[0] = (uint8_t)len;
	at[1] = (uint8_t)(len >> 8);
	memcpy(at + 2, text, len);
	return len + 2;
}

static void record_count(struct probe *p, uint64_t hits)
{
	uint64_t counts[2] = { hits, __atomic_load_n(&p->recorded,
						     __ATOMIC_RELAXED) };
	uint8_t record[4096];
	char place[1024];
	size_t at;

	snprintf(place, sizeof(place), "%s:%u", p->file, p->line);
	at = put_str(record, p->name);
	at += put_str(record + at, place);
	memcpy(record + at, counts, sizeof(counts));
	record_own_event(count_event, record, at + sizeof(counts));
	p->told = hits;
}

void probe_beat(void)
{
	for (unsigned int i = 0; i < nr_probes; i++) {
		struct probe *p = &probes[i];
		uint64_t hits = __atomic_load_n(&p->hits, __ATOMIC_RELAXED);

		if (p->quiet && hits != p->told)
			record_count(p, hits);
	}
}

void probe_stop(void)
{
	for (unsigned int i = 0; i < nr_probes; i++)
		record_count(&probes[i], __atomic_load_n(&probes[i].hits,
							 __ATOMIC_RELAXED));
}
