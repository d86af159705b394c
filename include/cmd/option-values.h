/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What options have as values: from text to the configuration of a disk, a network or a port.
 *
 * All of them are functions of their arguments alone: they open nothing, allocate nothing and
 * print nothing. Who calls gives them a copy of the text, which they cut into pieces that the
 * configuration then points into: it has to live as long.
 *
 * 0, or -EINVAL with the reason, which is the part of a message behind "option: value: ".
 */
#ifndef LKVM_CMD_OPTION_VALUES_H
#define LKVM_CMD_OPTION_VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "machine.h"
#include "net/net.h"
#include "virtio/port.h"

/* "reason[\nwhat to do]" */
struct value_error {
	char text[512];
};

/* Sets the reason; returns -EINVAL. */
__attribute__((format(printf, 2, 3))) int value_refuse(struct value_error *why, const char *format, ...);

/* "512" with @unit (bytes per bare number), "64K", "1G" ... 0, -EINVAL or -ERANGE, no reason. */
int value_size(const char *text, uint64_t unit, uint64_t *bytes);

/* Digits only. False if it is not from @min to @max. */
bool value_number(const char *text, uint64_t min, uint64_t max, uint64_t *number);

/* Nothing but letters, digits, '-', '_' and '.'. */
bool value_is_name(const char *text);

/* What kernel parameter @name is set to in @cmdline (the first, up to a blank), or NULL. */
const char *value_find_param(const char *cmdline, const char *name);

/* Seconds, with a fraction if need be. False if it is none, 0 or centuries. */
bool value_seconds(const char *text, uint64_t *ns);

/* Which of "on|off|strict" @text is (0, 1 ...), or -1. What is in capitals there is no word. */
int value_choice(const char *text, const char *words);

/* "FILE[@ADDRESS]": how long the name is; *address as it was if there is none. */
int value_flat(const char *text, bool whole_is_a_file, size_t *name_bytes, uint64_t *address,
	       struct value_error *why);

/* "HOST[:GUEST]"; a colon in HOST is written twice. GUEST begins with a slash, or is NULL. */
int value_dir(char *text, const char **host, const char **guest, struct value_error *why);
int value_disk(struct machine_disk *disk, char *text, struct value_error *why);
int value_network(struct net_config *net, char *text, struct value_error *why);
int value_port(struct port_config *port, char *text, struct value_error *why);

#endif
