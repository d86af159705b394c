/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * 16550A UART on COM1, the console that every kernel has from its first line.
 *
 * Output goes to the terminal's ring byte by byte, on the vCPU's thread; the
 * terminal batches. Input waits in the terminal until the driver listens:
 *
 *  - it has enabled the receive interrupt (Linux, once the port is open), or
 *  - it reads the line status SERIAL_POLLS times in a row without doing
 *    anything else, as a polling program does.
 *
 * Before that a driver that probes the port would swallow what a user or a
 * script has sent too early. Clearing the FIFOs (a probe) ends the second case.
 *
 * Interrupt: an edge on each change from "nothing to serve" to "something to
 * serve". A driver serves until IIR says that there is nothing left, so no edge
 * is missed.
 */
#ifndef LKVM_X86_SERIAL_H
#define LKVM_X86_SERIAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "irq.h"
#include "x86/end-watch.h"

struct bus;
struct state;
struct term;
struct vm;

#define SERIAL_FIFO_BYTES 16
#define SERIAL_POLLS	  4

/* What the guest can observe. */
struct serial_state {
	uint8_t ier, lcr, mcr, scr, fcr, dll, dlm;
	bool thr_pending;		 /* the "transmitter is empty" interrupt waits */
	bool thr_waits;			 /* ... as soon as the terminal has room */
	bool irq;			 /* the line: some enabled condition is true */
	uint8_t polls;			 /* line status reads in a row */
	bool listens;			 /* SERIAL_POLLS of them: until the next probe of the port */
	uint8_t loop[SERIAL_FIFO_BYTES]; /* loopback */
	uint8_t loop_head, loop_count;
	bool break_waits; /* a break comes, after so many bytes */
	uint32_t break_after;
};

struct serial {
	pthread_mutex_t lock;
	struct serial_state state;
	struct irq irq;
	struct term *term;	     /* lent */
	struct console_watch *watch; /* lent; sees every byte */
	uint64_t opened_ns;	     /* by a program in the guest; 0: not yet */
};

/* @vm may be NULL in tests. 0 or -errno. */
int serial_init(struct serial *serial, struct vm *vm, struct bus *pio, struct term *term,
		struct console_watch *watch);
void serial_fini(struct serial *serial);

/*
 * state.h. What the terminal holds is not part of it. After all is loaded serial_go_on() raises the
 * interrupt that is due by then.
 */
void serial_carry(struct serial *serial, struct state *s);
void serial_go_on(struct serial *serial);

/* When a program in the guest first had the port open (CLOCK_MONOTONIC), or 0. */
uint64_t serial_opened_ns(struct serial *serial);

/* The other side holds the line: to Linux the next key is a SysRq. Loop's thread. */
void serial_send_break(struct serial *serial);

#endif
