/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The terminal that we have our input from: whose it is, and its mode, which is raw while the
 * guest has it, and what it was before afterwards, however we end. There is one such terminal, and
 * one process that touches it: the supervisor if there is one (sandbox/supervisor.h), else the VM's. Main
 * thread, unless it says otherwise.
 *
 * A job may become the foreground job, or stop being it, without any signal: shells send
 * SIGCONT to stopped jobs only. So whoever is in the background looks again every TTY_LOOK_MS.
 */
#ifndef LKVM_TTY_H
#define LKVM_TTY_H

#include <stddef.h>

#define TTY_LOOK_MS 100

enum tty_state {
	TTY_NONE,	/* no terminal, or not ours any more */
	TTY_BACKGROUND, /* somebody else's for now */
	TTY_RAW,	/* ours */
	TTY_GONE,	/* it has hung up */
};

/* Before the sandbox: the terminal gets its mode back if a fatal signal ends us, too. */
void tty_init(void);

/*
 * So many bytes of our memory from @start on are a file's. If one of them is not there when it is looked at (SIGBUS),
 * the process says @words, whole lines that stay, and ends with 125. Before tty_init() or other threads.
 */
void tty_name_file(const void *start, size_t bytes, const char *words);

/*
 * Looks whose terminal @fd is. If it is ours its mode is raw then; the one that it had when it became
 * ours is remembered. SIGTTOU has to be blocked.
 */
enum tty_state tty_take(int fd);

/* Gives the terminal its mode back, if it is raw and still ours. */
void tty_give_back(void);

/* The same, without looking whose it is. Any thread, also in signal handlers. */
void tty_restore(void);

/*
 * Makes descriptors 0, 1 and 2 exist (as /dev/null), so that no later open()
 * becomes somebody's stdout. First thing in main().
 */
void tty_open_std_fds(void);

#endif
