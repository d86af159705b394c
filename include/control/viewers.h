/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who looks at a VM's console beside the terminal that it was started on (`lkvm console`): each
 * gets the last VIEWERS_HISTORY_BYTES, and then what comes, out of the ring that the output is in anyway
 * (sink.h). One of them may type, the first that asks. One that does not read loses bytes, which are
 * counted, and holds up nobody.
 *
 * All functions: the loop's thread.
 */
#ifndef LKVM_CONTROL_VIEWERS_H
#define LKVM_CONTROL_VIEWERS_H

#include <stdbool.h>
#include <stdint.h>

#define VIEWERS_HISTORY_BYTES 65536u
#define VIEWERS_MAX	      8u

struct event_loop;
struct term;
struct viewers;

/* What is shown, and who hears of what the one that types wants. All of it is lent. */
struct viewers_vm {
	struct term *term;
	bool takes_keys; /* somebody may type */
	void (*resized)(void *arg, uint16_t columns, uint16_t rows);
	void (*send_break)(void *arg);
	void (*quit)(void *arg);
	void *arg;
};

/* Before the sandbox. 0 or -ENOMEM. */
int viewers_create(struct viewers **out, struct event_loop *loop, const struct viewers_vm *vm);

/* Accepts NULL. Each is given what it takes of the rest at once. Before the terminal goes. */
void viewers_destroy(struct viewers *v);

bool viewers_are_full(const struct viewers *v);

/* One more, unless they are full, at socket @fd, which is ours from now on. @log: what has come until now, and no more. */
void viewers_add(struct viewers *v, int fd, bool log);

#endif
