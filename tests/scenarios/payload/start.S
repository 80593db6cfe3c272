/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * start.S - the payload's beginning, its fault handlers, and deaths whose
 * registers the test knows beforehand.
 *
 * 32-bit protected mode without paging, as multiboot2 gives it (Multiboot2
 * specification 2.0, 3.3): what the payload stores is physical memory.
 */
	.section .multiboot, "a"
	.align	8
header:
	.long	0xe85250d6, 0, header_end - header
	.long	-(0xe85250d6 + header_end - header)
	.short	0, 0
	.long	8
header_end:

	.text
	.globl	start
start:
	cli
	cld
	movl	$stack_top, %esp
	lgdt	gdt_pointer
	ljmp	$8, $1f
1:	movw	$16, %cx
	movw	%cx, %ds
	movw	%cx, %es
	movw	%cx, %ss
	pushl	%ebx
	pushl	%eax
	call	payload_main
2:	cli
	hlt
	jmp	2b

/* Registers that the test knows: KNOWN in hypervisor.py. */
	.globl	known_registers
known_registers:
	movl	$0x11111111, %eax
	movl	$0x22222222, %ebx
	movl	$0x33333333, %ecx
	movl	$0x55555555, %esi
	movl	$0x66666666, %edi
	movl	$0x77777777, %ebp
	ret

	.globl	die_triple, die_triple_at
die_triple:
	call	known_registers
	movl	$0x44444444, %edx
	lidt	no_idt
die_triple_at:
	ud2

	.globl	die_hlt, die_hlt_at
die_hlt:
	call	known_registers
	movl	$0x44444444, %edx
die_hlt_at:
	hlt
	jmp	die_hlt_at

	.globl	die_hang, die_hang_at
die_hang:
	call	known_registers
	movl	$0x44444444, %edx
die_hang_at:
	jmp	die_hang_at

/* die_stack(at): no fault can be delivered on such a stack. */
	.globl	die_stack, soft_int, soft_entry
die_stack:
	movl	4(%esp), %esp
	ud2

/* soft_int(at): a software interrupt on a stack that lies there. */
soft_int:
	movl	%esp, %ecx
	movl	4(%esp), %esp
	int	$31
	movl	%ecx, %esp
	ret

soft_entry:
	pushal
	call	soft_work
	popal
	iret

	.globl	nmi_entry, nmi_iret
nmi_entry:
	pushal
	pushl	32(%esp)
	call	nmi_work
	addl	$4, %esp
	popal
nmi_iret:
	iret

	.globl	rdmsr_prefixed
rdmsr_prefixed:
	movl	4(%esp), %ecx
	.byte	0x3e			/* DS, which means nothing here */
	rdmsr
	nop
	ret

/* What another CPU runs, at 0x7000. */
	.globl	ap_begin, ap_end
	.code16
ap_begin:
	xorw	%ax, %ax
	movw	%ax, %ds
	incl	0x7800
1:	cli
	hlt
	jmp	1b
ap_end:
	.code32

/* try(function, argument): 0, or the number of the fault it ended in. */
	.globl	try
try:
	pushl	%ebx
	pushl	%esi
	pushl	%edi
	pushl	%ebp
	movl	%esp, try_stack
	movl	24(%esp), %eax
	pushl	%eax
	call	*24(%esp)
	xorl	%eax, %eax
try_end:
	movl	try_stack, %esp
	popl	%ebp
	popl	%edi
	popl	%esi
	popl	%ebx
	ret

	.globl	fault_ud, fault_gp, fault_df
fault_df:
	movl	$8, %eax
	jmp	try_end
fault_ud:
	movl	$6, %eax
	jmp	try_end
fault_gp:
	movl	$13, %eax
	jmp	try_end

	.data
	.align	8
gdt:	.quad	0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
	.short	23
	.long	gdt
no_idt:
	.short	0
	.long	0
	.bss
try_stack:
	.skip	4
	.align	16
	.skip	8192
stack_top:

	.section .note.GNU-stack, "", @progbits
