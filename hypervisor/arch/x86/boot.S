/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * boot.S - from GRUB to hv_main(), and the other processors to ap_main().
 *
 * GRUB enters in 32-bit protected mode, under BIOS and UEFI alike, because
 * the header names no UEFI entry (Multiboot2 specification 2.0, 3.3, 3.5).
 * Here the first 4 GiB are mapped onto themselves, and one page directory
 * at 512 GiB is kept for windows on memory above (mem.c).
 */
#define MB2_HEADER	0xe85250d6
#define CODE64		0x10
#define DATA		0x18
#define CODE32		0x20
#define EFER		0xc0000080

	.section .multiboot, "a"
	.align	8
header:
	.long	MB2_HEADER, 0, header_end - header
	.long	-(MB2_HEADER + 0 + (header_end - header))
	.short	6, 0			/* modules on page boundaries */
	.long	8
	.short	0, 0
	.long	8
header_end:

	.text
	.code32
	.globl	start
start:
	cli
	cld
	movl	$boot_stack_top, %esp
	movl	%eax, %esi		/* GRUB's magic number */
	movl	%ebx, %ebp		/* its information */

	/* Four page directories of 2 MiB pages. */
	xorl	%ecx, %ecx
	movl	$0x83, %eax
1:	movl	%eax, page_dirs(, %ecx, 8)
	addl	$0x200000, %eax
	incl	%ecx
	cmpl	$2048, %ecx
	jne	1b
	movl	$page_dirs + 3, %eax
	movl	$page_ptrs, %edi
	movl	$4, %ecx
2:	movl	%eax, (%edi)
	addl	$4096, %eax
	addl	$8, %edi
	loop	2b
	movl	$page_ptrs + 3, page_top
	movl	$window_ptrs + 3, page_top + 8
	movl	$window_dir + 3, window_ptrs
	call	enable_long_mode
	lgdt	gdt_pointer
	ljmp	$CODE64, $start64

/* CR3, PAE, long mode, paging; then a far jump is due. */
enable_long_mode:
	movl	$page_top, %eax
	movl	%eax, %cr3
	movl	$0x60, %eax		/* PAE MCE */
	movl	%eax, %cr4
	movl	$EFER, %ecx
	rdmsr
	orl	$0x900, %eax		/* LME, NXE */
	wrmsr
	movl	$0x80010031, %eax	/* PG WP NE ET PE */
	movl	%eax, %cr0
	ret

	.code64
start64:
	movw	$DATA, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	xorl	%eax, %eax
	movw	%ax, %fs
	movw	%ax, %gs
	movl	$boot_stack_top, %esp
	movl	%esi, %edi
	movl	%ebp, %esi
	xorl	%ebp, %ebp
	call	hv_main
stop:	hlt
	jmp	stop

/*
 * Where another processor begins, in real mode, after smp.c has copied this
 * to a page below 1 MiB.
 */
	.code16
	.globl	ap_begin, ap_end
ap_begin:
	cli
	movw	%cs, %ax
	movw	%ax, %ds
	lgdtl	ap_gdt_pointer - ap_begin
	movl	%cr0, %eax
	orb	$1, %al
	movl	%eax, %cr0
	ljmpl	$CODE32, $ap32
ap_gdt_pointer:
	.short	gdt_end - gdt - 1
	.long	gdt
ap_end:

	.code32
ap32:
	movw	$DATA, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movl	ap_stack, %esp
	call	enable_long_mode
	ljmp	$CODE64, $ap64
	.code64
ap64:
	xorl	%eax, %eax
	movw	%ax, %fs
	movw	%ax, %gs
	movl	%esp, %esp
	lidt	idt_pointer
	xorl	%ebp, %ebp
	call	ap_main
	jmp	stop

/*
 * Without SVM: leave for the guest.
 * enter_long(entry, boot_params): Linux's 64-bit boot protocol.
 * enter_protected(entry, magic, info): multiboot2's machine state.
 */
	.globl	enter_long, enter_protected
enter_long:
	xorl	%ebx, %ebx
	xorl	%ebp, %ebp
	movq	%rdi, %rax
	xorl	%edi, %edi
	jmp	*%rax

enter_protected:
	movl	%edi, %ebp
	movl	%edx, %ebx
	pushq	$CODE32
	pushq	$1f
	lretq
	.code32
1:	movl	%cr0, %eax
	andl	$0x7fffffff, %eax
	movl	%eax, %cr0
	movl	$EFER, %ecx
	rdmsr
	andl	$~0x900, %eax
	wrmsr
	xorl	%eax, %eax
	movl	%eax, %cr4
	movw	$DATA, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %fs
	movw	%ax, %gs
	movw	%ax, %ss
	movl	%esi, %eax
	jmp	*%ebp

	.data
	.align	16
	.globl	gdt, gdt_pointer
gdt:	.quad	0, 0
	.quad	0x00af9b000000ffff	/* CODE64 */
	.quad	0x00cf93000000ffff	/* DATA */
	.quad	0x00cf9b000000ffff	/* CODE32 */
gdt_end:
gdt_pointer:
	.short	gdt_end - gdt - 1
	.quad	gdt
	.globl	ap_stack
ap_stack:
	.quad	0

	.bss
	.align	4096
	.globl	window_dir, boot_stack
page_top:	.skip 4096
page_ptrs:	.skip 4096
page_dirs:	.skip 4 * 4096
window_ptrs:	.skip 4096
window_dir:	.skip 4096
boot_stack:	.skip 16384
boot_stack_top:

	.section .note.GNU-stack, "", @progbits
