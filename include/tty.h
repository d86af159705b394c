/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The mode of the terminal that we have our input from: raw while the guest has it, and what it
 * was before afterwards, however we end. There is one such terminal. Main thread, unless it
 * says otherwise.
 */
#ifndef LKVM_TTY_H
#define LKVM_TTY_H

#include <stdbool.h>

/* Before the sandbox. */
void tty_init(void);

/*
 * True unless @fd is a terminal that refuses us as a background job. SIGTTIN has to be blocked.
 */
bool tty_in_foreground(int fd);

/* Raw mode; the old one is remembered. True if it was changed. */
bool tty_make_raw(int fd);

/* The same, when somebody has changed the mode since; what is remembered stays. */
void tty_make_raw_again(int fd);

/* Gives the terminal its mode back, if it is raw. Any thread, also in signal handlers. */
void tty_restore(void);

/* The mode is somebody else's business now: tty_restore() does nothing any more. */
void tty_forget(void);

/*
 * Makes descriptors 0, 1 and 2 exist (as /dev/null), so that no later open()
 * becomes somebody's stdout. First thing in main().
 */
void tty_open_std_fds(void);

#endif
