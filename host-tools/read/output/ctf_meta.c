// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ctf_meta.c - the metadata of one trace: TSDL text.
 *
 * What the guest or a user named goes into strings with everything but plain
 * ASCII made '_': nothing in it can end a string.
 */
#include <inttypes.h>
#include <stdio.h>

#include "ctf.h"

#define NS UINT64_C(1000000000)

static const char head[] =
	"/* CTF 1.8 */\n"
	"\n"
	"typealias integer { size = 8; align = 8; signed = false; } := u8;\n"
	"typealias integer { size = 16; align = 8; signed = false; } := u16;\n"
	"typealias integer { size = 32; align = 8; signed = false; } := u32;\n"
	"typealias integer { size = 64; align = 8; signed = false; } := u64;\n"
	"typealias integer { size = 8; align = 8; signed = true; } := s8;\n"
	"typealias integer { size = 16; align = 8; signed = true; } := s16;\n"
	"typealias integer { size = 32; align = 8; signed = true; } := s32;\n"
	"typealias integer { size = 64; align = 8; signed = true; } := s64;\n"
	"typealias integer { size = 8; align = 8; signed = false; base = 16; }\n"
	"\t:= x8;\n"
	"typealias integer { size = 16; align = 8; signed = false; base = 16; "
	"}\n"
	"\t:= x16;\n"
	"typealias integer { size = 32; align = 8; signed = false; base = 16; "
	"}\n"
	"\t:= x32;\n"
	"typealias integer { size = 64; align = 8; signed = false; base = 16; "
	"}\n"
	"\t:= x64;\n"
	"\n";

static const char stream[] =
	"typealias integer { size = 64; align = 8; signed = false;\n"
	"\tmap = clock.guest.value; } := guest_ns;\n"
	"\n"
	"/* One for each ring; cpu_id is the ring's number, and a CPU's while\n"
	"   there is a ring for each.  level: as printk's.  time: the record's\n"
	"   own, the time stamp but where records are out of order. */\n"
	"stream {\n"
	"\tid = 0;\n"
	"\tpacket.context := struct {\n"
	"\t\tguest_ns timestamp_begin;\n"
	"\t\tguest_ns timestamp_end;\n"
	"\t\tu64 content_size;\n"
	"\t\tu64 packet_size;\n"
	"\t\tu64 events_discarded;\n"
	"\t\tu32 cpu_id;\n"
	"\t};\n"
	"\tevent.header := struct {\n"
	"\t\tu16 id;\n"
	"\t\tguest_ns timestamp;\n"
	"\t};\n"
	"\tevent.context := struct {\n"
	"\t\tu64 time;\n"
	"\t\tu64 position;\n"
	"\t\tu8 level;\n"
	"\t};\n"
	"};\n";

static void put_uuid(struct sink *s, const uint8_t uuid[16])
{
	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			sink_putc(s, '-');
		sink_hex(s, uuid + i, 1);
	}
}

static void put_env(struct sink *s, const char *key, const char *text)
{
	sink_printf(s, "\t%s = \"", key);
	for (; *text; text++) {
		char c = *text;

		sink_putc(s, c < 0x20 || c > 0x7e || c == '"' || c == '\\' ? '_'
									   : c);
	}
	sink_puts(s, "\";\n");
}

static void put_clock(struct sink *s, const struct ctf_trace *trace)
{
	sink_printf(s,
		    "clock {\n"
		    "\tname = guest;\n"
		    "\tdescription = \"local_clock() of the guest\";\n"
		    "\tfreq = %" PRIu64 ";\n"
		    "\toffset_s = %" PRIu64 ";\n"
		    "\toffset = %" PRIu64 ";\n"
		    "\tabsolute = true;\n"
		    "};\n\n",
		    NS, trace->offset / NS, trace->offset % NS);
}

static void put_boot(struct sink *s, const struct source *src, uint32_t boot)
{
	for (int i = 0; i < src->nr_boots; i++) {
		const struct dlog_boot_entry *b = &src->boots[i];

		if (b->boot != boot || !b->known)
			continue;
		put_env(s, "kernel_release", b->release);
		put_env(s, "machine", b->machine);
		sink_puts(s, "\tboot_id = \"");
		put_uuid(s, b->boot_id);
		sink_puts(s, "\";\n");
		put_env(s, "end", boot_end(b, i == src->nr_boots - 1));
	}
}

void ctf_meta(struct sink *s, const struct source *src,
	      const struct ctf_trace *trace)
{
	const char *slash = strrchr(src->name, '/');

	sink_puts(s, head);
	sink_puts(s, "trace {\n\tmajor = 1;\n\tminor = 8;\n\tuuid = \"");
	put_uuid(s, trace->uuid);
	sink_puts(s, "\";\n"
		     "\tbyte_order = le;\n"
		     "\tpacket.header := struct {\n"
		     "\t\tu32 magic;\n"
		     "\t\tu8 uuid[16];\n"
		     "\t\tu32 stream_id;\n"
		     "\t\tu64 stream_instance_id;\n"
		     "\t};\n"
		     "};\n\n"
		     "env {\n"
		     "\tdomain = \"kernel\";\n"
		     "\ttracer_name = \"dlog\";\n");
	put_env(s, "hostname", slash ? slash + 1 : src->name);
	sink_puts(s, "\tregion = \"");
	put_uuid(s, src->info.uuid);
	sink_printf(s, "\";\n\tboot = %" PRIu32 ";\n", trace->boot);
	put_boot(s, src, trace->boot);
	put_env(s, "wall_clock", trace->clock ? "known" : "unknown");
	sink_puts(s, "};\n\n");
	put_clock(s, trace);
	sink_puts(s, stream);
	for (uint32_t id = 0; id < CTF_IDS; id++) {
		if (!(trace->used[id / 8] & 1u << id % 8))
			continue;
		sink_puts(s, "\nevent {\n\tname = ");
		ctf_record_name(s, src->d, id);
		sink_printf(s,
			    ";\n"
			    "\tid = %" PRIu32 ";\n"
			    "\tstream_id = 0;\n"
			    "\tfields := struct {\n",
			    id);
		ctf_record_fields(s, src->d, id);
		sink_puts(s, "\t};\n};\n");
	}
}
