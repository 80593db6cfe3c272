/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * run.S - into the guest and back; NMIs and faults of dlog-hv's own.
 *
 * struct vcpu begins with reg[16] by number, vmcb_pa, vmcb, stack.
 * FS, GS, TR, LDTR and the MSRs of VMSAVE stay the guest's all the time:
 * dlog-hv uses none of them, so there is no VMLOAD and VMSAVE at each exit.
 * GIF is 0 whenever dlog-hv runs, but in svm_take_nmi and svm_wait_nmi.
 */
	.text
	.globl	svm_enter, cpu_fresh, svm_take_nmi, svm_wait_nmi, msr_try
svm_enter:
	.irp	r, rbx, rbp, r12, r13, r14, r15, rdi
	pushq	%\r
	.endr
	movq	128(%rdi), %rax
	movq	8(%rdi), %rcx
	movq	16(%rdi), %rdx
	movq	24(%rdi), %rbx
	movq	40(%rdi), %rbp
	movq	48(%rdi), %rsi
	.irp	n, 8, 9, 10, 11, 12, 13, 14, 15
	movq	8 * \n(%rdi), %r\n
	.endr
	movq	56(%rdi), %rdi
	vmrun	%rax
	pushq	%rdi
	movq	8(%rsp), %rdi
	popq	56(%rdi)
	movq	%rcx, 8(%rdi)
	movq	%rdx, 16(%rdi)
	movq	%rbx, 24(%rdi)
	movq	%rbp, 40(%rdi)
	movq	%rsi, 48(%rdi)
	.irp	n, 8, 9, 10, 11, 12, 13, 14, 15
	movq	%r\n, 8 * \n(%rdi)
	.endr
	.irp	r, rdi, r15, r14, r13, r12, rbp, rbx
	popq	%\r
	.endr
	cld
	ret

/* cpu_fresh(v): its stack is empty again. */
cpu_fresh:
	movq	144(%rdi), %rsp
	addq	$16384, %rsp
	xorl	%ebp, %ebp
	call	cpu_again

/*
 * bool msr_try(u32 msr, u64 *value, bool write): false if the CPU refuses.
 * Which values an MSR takes only the CPU knows.
 */
msr_try:
	movl	%edi, %ecx
	testb	%dl, %dl
	movl	(%rsi), %eax
	movl	4(%rsi), %edx
	jnz	write_at
read_at:
	rdmsr
	movl	%eax, (%rsi)
	movl	%edx, 4(%rsi)
	jmp	1f
write_at:
	wrmsr
1:	movl	$1, %eax
	ret
msr_refused:
	xorl	%eax, %eax
	ret

/* An NMI that has caused an exit is still pending: take it. */
svm_take_nmi:
	stgi
	nop
	nop
	clgi
	ret

/*
 * Until an NMI comes.  One that comes between STGI and HLT would leave HLT
 * to wait for the next: the handler steps over it.
 */
svm_wait_nmi:
	stgi
wait_begin:
	nop
	hlt
wait_end:
	clgi
	ret

nmi:
	pushq	%rax
	movq	8(%rsp), %rax
	subq	$wait_begin, %rax
	cmpq	$(wait_end - wait_begin), %rax
	jae	1f
	movq	$wait_end, 8(%rsp)
1:	popq	%rax
	iretq

/* A fault in dlog-hv: its number and where, for fault(). */
	.align	16
faults:
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18
	.align	16
	.if	\n <> 8 && \n <> 17 && (\n < 10 || \n > 14)
	pushq	$0			/* where the CPU pushes no code */
	.endif
	pushq	$\n
	jmp	faulted
	.endr
faulted:
	cmpq	$read_at, 16(%rsp)
	je	1f
	cmpq	$write_at, 16(%rsp)
	jne	2f
1:	movq	$msr_refused, 16(%rsp)
	addq	$16, %rsp
	iretq
2:	popq	%rdi
	popq	%rsi
	popq	%rdx
	movq	%cr2, %rcx
	andq	$~15, %rsp
	call	fault

	.data
	.globl	idt_pointer, idt, nmi, faults
	.align	16
idt_pointer:
	.short	19 * 16 - 1
	.quad	idt
	.bss
	.align	16
idt:	.skip	19 * 16

	.section .note.GNU-stack, "", @progbits
