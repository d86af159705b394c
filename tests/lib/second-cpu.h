/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A second CPU for tiny guests in C: started with INIT and SIPI, taken to 64-bit mode with
 * the first one's page tables, and then in a function of the guest's choice, which returns
 * when second_stop is set. No interrupts.
 */
#include <stdint.h>

#include "x86/layout.h"

#define SECOND_CODE 0x80000u /* the SIPI's vector; the stack ends at 0x9a000 */

extern const uint8_t second_start[], second_end[], second_cr3[], second_entry[];

__asm__(".pushsection .rodata\n"
	".code16\n"
	"second_start:\n"
	"	cli\n"
	"	movw	%cs, %ax\n"
	"	movw	%ax, %ds\n"
	"	lgdtl	second_gdt_pointer - second_start\n"
	"	movl	second_cr3 - second_start, %eax\n"
	"	movl	%eax, %cr3\n"
	"	movl	%cr4, %eax\n"
	"	orl	$0x20, %eax\n" /* PAE */
	"	movl	%eax, %cr4\n"
	"	movl	$0xc0000080, %ecx\n" /* EFER: long mode */
	"	rdmsr\n"
	"	orl	$0x100, %eax\n"
	"	wrmsr\n"
	"	movl	%cr0, %eax\n"
	"	orl	$0x80000001, %eax\n" /* paging, protection */
	"	movl	%eax, %cr0\n"
	"	ljmpl	$8, $0x80000 + (second_64 - second_start)\n"
	".code64\n"
	"second_64:\n"
	"	movl	$16, %eax\n"
	"	movl	%eax, %ds\n"
	"	movl	%eax, %es\n"
	"	movl	%eax, %ss\n"
	"	movl	$0x9a000, %esp\n"
	"	movl	0x80000 + (second_entry - second_start), %eax\n"
	"	call	*%rax\n"
	"1:	cli\n"
	"	hlt\n"
	"	jmp	1b\n"
	"	.balign	8\n"
	"second_gdt:\n"
	"	.quad	0, 0x00af9b000000ffff, 0x00cf93000000ffff\n"
	"second_gdt_pointer:\n"
	"	.word	23\n"
	"	.long	0x80000 + (second_gdt - second_start)\n"
	"second_cr3:	.long 0\n"
	"second_entry:	.long 0\n"
	"second_end:\n"
	".popsection\n");

static volatile uint32_t second_runs; /* set and cleared by the second CPU */
static volatile uint32_t second_stop;
static void (*second_function)(void);

static void second_main(void)
{
	second_runs = 1;
	second_function();
	second_runs = 0;
}

/* Runs @fn on the second CPU, which the VM has to have. */
static inline void start_second_cpu(void (*fn)(void))
{
	volatile uint32_t *icr = (volatile uint32_t *)(LAYOUT_LAPIC + 0x300);
	uint64_t cr3;

	__asm__ volatile("movq %%cr3, %0"
			 : "=r"(cr3));
	second_function = fn;
	second_stop = 0;
	memcpy((void *)(uint64_t)SECOND_CODE, second_start, (unsigned long)(second_end - second_start));
	*(volatile uint32_t *)(SECOND_CODE + (uint64_t)(second_cr3 - second_start)) = (uint32_t)cr3;
	*(volatile uint32_t *)(SECOND_CODE + (uint64_t)(second_entry - second_start)) =
		(uint32_t)(uint64_t)second_main;
	*icr = 0xc4500; /* INIT to all but self */
	*icr = 0xc4680; /* SIPI 0x80 */
	while (!second_runs)
		;
}

static inline void stop_second_cpu(void)
{
	second_stop = 1;
	while (second_runs)
		;
}
