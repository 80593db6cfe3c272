/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * api.h - what QEMU offers to a TCG plugin, API versions 1 to 5.
 *
 * Declared here because no package ships QEMU's header.  The names, numbers
 * and shapes are those of include/qemu/qemu-plugin.h of QEMU 7.2 (version 1)
 * and 10.0 (version 4); what changed in between is told at each entry.
 *
 * One build serves all versions: nothing is linked against QEMU.  api_init()
 * looks each function up in the running QEMU; what this QEMU lacks is NULL
 * and the caller asks before it uses it.  Version 0 (before 4.2's release)
 * and versions above 5 are refused, by QEMU itself or with a sentence.
 */
#ifndef PLUGIN_API_H
#define PLUGIN_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define API_MIN 1
#define API_MAX 5

#define API_EXPORT __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;

struct qemu_plugin_tb; /* a translation block, while it is translated */
struct qemu_plugin_insn; /* one of its instructions, likewise */
struct qemu_plugin_hwaddr; /* physical side of an access, in its callback */
struct qemu_plugin_register; /* a register's handle, for one vCPU */
struct qemu_plugin_scoreboard; /* memory with one element for each vCPU */
typedef uint32_t qemu_plugin_meminfo_t; /* an access, in its callback */

struct qemu_info {
	const char *target_name; /* "x86_64" */
	struct {
		int min;
		int cur;
	} version;
	bool system_emulation;
	struct {
		int smp_vcpus;
		int max_vcpus;
	} system;
};

/* May the callback read registers?  Without effect before version 2. */
enum qemu_plugin_cb_flags {
	QEMU_PLUGIN_CB_NO_REGS,
	QEMU_PLUGIN_CB_R_REGS,
};

enum qemu_plugin_mem_rw {
	QEMU_PLUGIN_MEM_R = 1,
	QEMU_PLUGIN_MEM_W,
	QEMU_PLUGIN_MEM_RW,
};

enum qemu_plugin_op {
	QEMU_PLUGIN_INLINE_ADD_U64,
};

/* A 64-bit word in each element of a scoreboard. */
struct qemu_plugin_u64 {
	struct qemu_plugin_scoreboard *score;
	size_t offset;
};

struct qemu_plugin_reg_descriptor {
	struct qemu_plugin_register *handle;
	const char *name; /* as gdb has it: "rdi" */
	const char *feature;
};

/* Value of an access: @size is 0 for 8 bit to 4 for 128 bit. */
struct qemu_plugin_mem_value {
	uint32_t size;
	union {
		uint8_t u8;
		uint16_t u16;
		uint32_t u32;
		uint64_t u64;
		struct {
			uint64_t low;
			uint64_t high;
		} u128;
	};
};

/* GLib's, which QEMU passes: the public half of them. */
struct api_array {
	void *data;
	unsigned int len; /* elements */
};

typedef void (*api_simple_cb)(qemu_plugin_id_t id);
typedef void (*api_udata_cb)(qemu_plugin_id_t id, void *udata);
typedef void (*api_vcpu_cb)(qemu_plugin_id_t id, unsigned int vcpu);
typedef void (*api_exec_cb)(unsigned int vcpu, void *udata);
typedef void (*api_trans_cb)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb);
typedef void (*api_mem_cb)(unsigned int vcpu, qemu_plugin_meminfo_t info,
			   uint64_t vaddr, void *udata);

/*
 * Every function: SINCE (first version that has it), UNTIL (last one), type
 * of the result, name without "qemu_plugin_", arguments.  Below for what
 * comes with shapes of its own.
 */
#define API_FUNCTIONS(F)                                                         \
	F(1, 5, void, reset, (qemu_plugin_id_t, api_simple_cb))                  \
	F(1, 5, void, register_vcpu_init_cb, (qemu_plugin_id_t, api_vcpu_cb))    \
	F(1, 5, void, register_vcpu_exit_cb, (qemu_plugin_id_t, api_vcpu_cb))    \
	F(1, 5, void, register_vcpu_idle_cb, (qemu_plugin_id_t, api_vcpu_cb))    \
	F(1, 5, void, register_vcpu_tb_trans_cb,                                 \
	  (qemu_plugin_id_t, api_trans_cb))                                      \
	F(1, 5, void, register_atexit_cb,                                        \
	  (qemu_plugin_id_t, api_udata_cb, void *))                              \
	F(1, 5, void, register_flush_cb, (qemu_plugin_id_t, api_simple_cb))      \
	F(1, 5, void, register_vcpu_tb_exec_cb,                                  \
	  (struct qemu_plugin_tb *, api_exec_cb, enum qemu_plugin_cb_flags,      \
	   void *))                                                              \
	F(1, 5, void, register_vcpu_insn_exec_cb,                                \
	  (struct qemu_plugin_insn *, api_exec_cb, enum qemu_plugin_cb_flags,    \
	   void *))                                                              \
	F(1, 5, void, register_vcpu_mem_cb,                                      \
	  (struct qemu_plugin_insn *, api_mem_cb, enum qemu_plugin_cb_flags,     \
	   enum qemu_plugin_mem_rw, void *))                                     \
	F(1, 5, size_t, tb_n_insns, (const struct qemu_plugin_tb *))             \
	F(1, 5, uint64_t, tb_vaddr, (const struct qemu_plugin_tb *))             \
	F(1, 5, struct qemu_plugin_insn *, tb_get_insn,                          \
	  (const struct qemu_plugin_tb *, size_t))                               \
	F(1, 5, size_t, insn_size, (const struct qemu_plugin_insn *))            \
	F(1, 5, uint64_t, insn_vaddr, (const struct qemu_plugin_insn *))         \
	F(1, 5, unsigned int, mem_size_shift, (qemu_plugin_meminfo_t))           \
	F(1, 5, bool, mem_is_store, (qemu_plugin_meminfo_t))                     \
	F(1, 5, struct qemu_plugin_hwaddr *, get_hwaddr,                         \
	  (qemu_plugin_meminfo_t, uint64_t))                                     \
	F(1, 5, bool, hwaddr_is_io, (const struct qemu_plugin_hwaddr *))         \
	F(1, 5, uint64_t, hwaddr_phys_addr,                                      \
	  (const struct qemu_plugin_hwaddr *))                                   \
	F(1, 5, const char *, hwaddr_device_name,                                \
	  (const struct qemu_plugin_hwaddr *))                                   \
	/* One word for all vCPUs, added to without a lock. */                   \
	F(1, 1, void, register_vcpu_tb_exec_inline,                              \
	  (struct qemu_plugin_tb *, enum qemu_plugin_op, void *, uint64_t))      \
	F(2, 5, void, register_vcpu_tb_exec_inline_per_vcpu,                     \
	  (struct qemu_plugin_tb *, enum qemu_plugin_op,                         \
	   struct qemu_plugin_u64, uint64_t))                                    \
	F(2, 5, struct qemu_plugin_scoreboard *, scoreboard_new, (size_t))       \
	F(2, 5, uint64_t, u64_get, (struct qemu_plugin_u64, unsigned int))       \
	/* In the vCPU's thread, from its init callback on; struct api_array   \
	 * of struct qemu_plugin_reg_descriptor, the caller's.  */ \
	F(2, 5, struct api_array *, get_registers, (void))                       \
	/* In a callback that was registered with R_REGS: bytes read. */         \
	F(2, 5, int, read_register,                                              \
	  (struct qemu_plugin_register *, struct api_array *))                   \
	F(4, 5, bool, read_memory_vaddr,                                         \
	  (uint64_t, struct api_array *, size_t))                                \
	/* 9.2 and later, whatever the version says. */                          \
	F(2, 5, struct qemu_plugin_mem_value, mem_get_value,                     \
	  (qemu_plugin_meminfo_t))

struct api {
	int version; /* what QEMU and we agreed on, API_MIN to API_MAX */
#define API_MEMBER(since, until, type, name, args) type(*name) args;
	API_FUNCTIONS(API_MEMBER)
#undef API_MEMBER
	/* Before version 3 a pointer comes back, from then on bytes do. */
	union {
		const void *(*insn_data_v1)(const struct qemu_plugin_insn *);
		size_t (*insn_data_v3)(const struct qemu_plugin_insn *, void *,
				       size_t);
	};
	/* GLib's, of the QEMU that runs: an empty byte array. */
	struct api_array *(*byte_array_new)(void);
};

extern struct api api;

/*
 * Fill in `api` for the version that @info names.  0, or -1 after a sentence
 * on stderr.  Once, from qemu_plugin_install().
 */
int api_init(const struct qemu_info *info);

/* The first @len bytes of @insn, or fewer: how many. */
size_t api_insn_bytes(const struct qemu_plugin_insn *insn, void *buf,
		      size_t len);

#endif
