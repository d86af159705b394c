/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Giving up privileges: after set-up, before the first guest instruction.
 */
#ifndef LKVM_SANDBOX_H
#define LKVM_SANDBOX_H

/*
 * Drops every capability, from the bounding set as well, and sets no_new_privs.
 * Capabilities belong to threads: call it on the only thread there is; those
 * started later inherit. 0 or -errno, after a message.
 */
int sandbox_enter(void);

#endif
