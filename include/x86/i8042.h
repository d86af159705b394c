/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * i8042 keyboard controller without a keyboard or a mouse: it answers probes at
 * once (a silent one costs a kernel half a second) and its reset line works.
 */
#ifndef LKVM_X86_I8042_H
#define LKVM_X86_I8042_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "irq.h"

struct bus;
struct state;
struct vm;

/* What the guest can observe. */
struct i8042_state {
	uint8_t control; /* the controller's command byte */
	uint8_t command; /* command that waits for its data byte, or 0 */
	uint8_t output;	 /* the byte to read from port 0x60 */
	uint8_t status;	 /* OBF, AUX */
};

struct i8042 {
	pthread_mutex_t lock;
	struct i8042_state state;
	struct vm *vm;
	struct irq irq;
};

/* @vm may be NULL in tests. 0 or -errno. */
int i8042_init(struct i8042 *dev, struct vm *vm, struct bus *pio);
void i8042_fini(struct i8042 *dev);

void i8042_carry(struct i8042 *dev, struct state *s); /* state.h */

#endif
