/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A terminal of the host that an engine shows: it gets the master, by the socket that it has named, and
 * what the guest says on its own terminal goes through the other side, which changes nothing.
 *
 * Main thread.
 */
#ifndef LKVM_OCI_CONSOLE_H
#define LKVM_OCI_CONSOLE_H

#include <stdint.h>

/*
 * The other side, opened, raw, and of that size if it is not 0; the master has gone to @socket, a path. -errno.
 */
int console_open(const char *socket, uint16_t columns, uint16_t rows);

/* Makes it this process's streams and terminal; it has to lead a session. 0 or -errno. */
int console_take(int slave);

#endif
