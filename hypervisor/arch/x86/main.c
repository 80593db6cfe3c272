// SPDX-License-Identifier: GPL-2.0-only
/*
 * main.c - the order of a start.
 */
#include "x86.h"

extern u8 boot_stack[];
void hv_main(u32 magic, u32 info);
void enter_long(u64 entry, u64 params) __attribute__((noreturn));
void enter_protected(u32 entry, u32 magic, u32 info) __attribute__((noreturn));

int load_guest(struct guest_entry *e)
{
	if (!boot.modules)
		return hv_fail(
			ENOENT,
			"There is no guest: give a kernel and an initrd with GRUB's module2.");
	return linux_is(&boot.module[0]) ? linux_load(e) : elf_load(e);
}

static int prepare(u32 magic, u32 info)
{
	int ret = multiboot_read(magic, info);

	if (ret)
		return ret;
	options_parse(boot.cmdline);
	console_start();
	hv_log(HV_INFO, "dlog-hv " DLOG_VERSION ", %s",
	       boot.efi_systab ? "UEFI" : "BIOS");
	ret = multiboot_memory();
	if (ret)
		return ret;
	acpi_read();
	/* Without a region it is a hypervisor for nothing, but no harm. */
	if (!region_start(acpi.possible) && opt.show_previous)
		region_show();
	return 0;
}

static void run(struct guest_entry *e)
{
	struct vcpu *v = &cpus[0];

	v->apic_id = apic_id();
	v->stack = boot_stack;
	watch_check();
	if (restart_keep() || load_guest(e) || svm_start())
		arch_halt();
	svm_start_cpu(v);
	smp_start();
	hv_log(HV_INFO, "%u CPUs, watchdog %s; the guest begins.", nr_cpus,
	       watch_runs() ? "on" : "off");
	watch_start();
	svm_begin(v, e);
	svm_loop(v);
}

void hv_main(u32 magic, u32 info)
{
	struct guest_entry e = { 0 };

	console_start();
	idt_make();
	time_start();
	apic_start();
	if (prepare(magic, info))
		arch_halt();
	if (!svm_check())
		run(&e);
	if (load_guest(&e))
		arch_halt();
	if (e.is_linux)
		enter_long(e.ip, e.arg);
	enter_protected((u32)e.ip, MB2_MAGIC, (u32)e.arg);
}
