/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The virtio console device (virtio 1.2 §5.3): the terminal as port 0 (hvc0), named
 * ports after it. Created on the main thread; then it belongs to the event loop.
 */
#ifndef LKVM_VIRTIO_CONSOLE_H
#define LKVM_VIRTIO_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct console;
struct event_loop;
struct mem;
struct port;
struct virtio_device;

/* Named ports; with port 0 and control they fill the queues that a device may have. */
#define CONSOLE_MAX_PORTS 14u

/*
 * @terminal: port 0, or NULL for none; @ports: the named ones, ids 1 to @nr_ports. All
 * are lent. 0 or -errno.
 */
int console_create(struct console **out, struct event_loop *loop, const struct mem *mem,
		   struct port *terminal, struct port *const *ports, unsigned int nr_ports);

/* Accepts NULL. */
void console_destroy(struct console *console);

struct virtio_device *console_device(struct console *console);

/* The terminal's size, at first and whenever it changes. */
void console_set_size(struct console *console, uint16_t columns, uint16_t rows);

/*
 * @saw is given what the guest sends on port 0, once and before it is written. @data is guest
 * memory: it may change at any time. Loop's thread.
 */
void console_set_watch(struct console *console,
		       void (*saw)(void *arg, const char *data, size_t len), void *arg);

#endif
