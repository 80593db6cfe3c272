/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * boot.S - from GRUB's 32-bit protected mode to main() in 64 bit.
 *
 * Follows the Multiboot2 Specification 2.0, sections 3.1 (header) and 3.3
 * (machine state).  The first 4 GiB are mapped one to one with pages of
 * 2 MiB; machine.c maps more when asked.
 */

#define MAGIC 0xe85250d6
#define PAGE_TABLE_FLAGS 0x3 /* present, writable */
#define LARGE_PAGE_FLAGS 0x83

	.section .multiboot, "a"
	.balign 8
header:
	.long MAGIC
	.long 0 /* i386 protected mode */
	.long header_end - header
	.long -(MAGIC + header_end - header)
	.short 0, 0 /* end tag */
	.long 8
header_end:

	.text
	.code32
	.globl _start
_start:
	cli
	cld
	movl $stack_top, %esp
	pushl $0
	pushl %ebx /* main()'s second argument */
	pushl $0
	pushl %eax /* and first */

	/* Page directories: 2048 pages of 2 MiB. */
	movl $page_directories, %edi
	movl $LARGE_PAGE_FLAGS, %eax
	xorl %ecx, %ecx
1:	movl %eax, (%edi, %ecx, 8)
	addl $0x200000, %eax
	incl %ecx
	cmpl $2048, %ecx
	jne 1b
	/* The four entries above them, and the one above those. */
	movl $page_directories + PAGE_TABLE_FLAGS, %eax
	xorl %ecx, %ecx
2:	movl %eax, page_pointers(, %ecx, 8)
	addl $0x1000, %eax
	incl %ecx
	cmpl $4, %ecx
	jne 2b
	movl $page_pointers + PAGE_TABLE_FLAGS, page_root

	movl $page_root, %eax
	movl %eax, %cr3
	movl %cr4, %eax
	orl $0x20, %eax /* PAE */
	movl %eax, %cr4
	movl $0xc0000080, %ecx /* EFER */
	rdmsr
	orl $0x100, %eax /* long mode */
	wrmsr
	movl %cr0, %eax
	orl $0x80010000, %eax /* paging, write protection */
	movl %eax, %cr0
	lgdt gdt_pointer
	ljmp $8, $long_mode

	.code64
long_mode:
	movl $16, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	xorl %eax, %eax
	movl %eax, %fs
	movl %eax, %gs
	popq %rdi
	popq %rsi
	xorl %ebp, %ebp
	call main
3:	cli
	hlt
	jmp 3b

/*
 * Interrupts.  The stack becomes Linux's struct pt_regs, which is also what
 * an NT_PRSTATUS begins its registers with: ss rsp rflags cs rip error rdi
 * rsi rdx rcx rax r8 ... r15 downwards.  interrupt(vector, frame) sees it.
 */
	.macro stub vector
	.balign 16
	.if !(\vector == 8 || (\vector >= 10 && \vector <= 14) || \
	      \vector == 17 || \vector == 21 || \vector == 29 || \vector == 30)
	pushq $0
	.endif
	pushq %rdi
	movl $\vector, %edi
	jmp common
	.endm

	.balign 16
	.globl interrupt_stubs
interrupt_stubs: /* 16 bytes each */
	.altmacro
	.set vector, 0
	.rept 34
	stub %vector
	.set vector, vector + 1
	.endr

common:
	pushq %rsi
	pushq %rdx
	pushq %rcx
	pushq %rax
	pushq %r8
	pushq %r9
	pushq %r10
	pushq %r11
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, %rsi
	movq %rsp, %rbx
	andq $-16, %rsp
	cld
	call interrupt
	movq %rbx, %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	popq %r11
	popq %r10
	popq %r9
	popq %r8
	popq %rax
	popq %rcx
	popq %rdx
	popq %rsi
	popq %rdi
	addq $8, %rsp
	iretq

	.section .rodata
	.balign 8
gdt:
	.quad 0
	.quad 0x00af9b000000ffff /* 8: code, 64 bit */
	.quad 0x00cf93000000ffff /* 16: data */
gdt_pointer:
	.short . - gdt - 1
	.long gdt
	.long 0

	.bss
	.balign 4096
	.globl page_root
page_root:
	.skip 4096
page_pointers:
	.skip 4096
page_directories:
	.skip 4 * 4096
	.balign 16
	.skip 16384
stack_top:

	.section .note.GNU-stack, "", @progbits
