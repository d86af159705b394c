/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What CPUs and devices have done, for `lkvm stat`. It costs nobody anything who does not ask: devices
 * count on the loop's thread, CPUs are counted by KVM.
 */
#ifndef LKVM_X86_STAT_H
#define LKVM_X86_STAT_H

#include <stdbool.h>
#include <stddef.h>

struct board;

/* How many there are, CPUs first. */
unsigned int stat_items(const struct board *b);

/*
 * Number @item as members of a JSON object, each behind a comma, in @text: of a CPU "cpu", "time_ms"
 * and what KVM counts; of a device "device", "requests", "bytes_in" (to the guest), "bytes_out" and
 * "errors". False if there is no such item, or no room. The loop's thread.
 */
bool stat_item(const struct board *b, unsigned int item, char *text, size_t bytes);

#endif
