/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The end before there is anybody who reads signals: until then a signal or --timeout ends lkvm
 * at once, --json says so all the same, and no socket of ours stays.
 */
#ifndef LKVM_CMD_EARLY_END_H
#define LKVM_CMD_EARLY_END_H

#include <signal.h>
#include <stdint.h>

#include "cmd/report.h"

/*
 * Signals that end us wait from now on, so that none finds a report that is open and nobody to write
 * it. What they were like before, for early_end_arm().
 */
sigset_t early_end_hold(void);

/*
 * From now on, with the signals of @mask blocked: writes to @json_fd (-1: no file), in a handler, what @report says with that outcome,
 * and ends. SIGALRM comes when @timeout_ns (0: none) are over. Signals that our parent ignores stay
 * ignored. Whoever blocks the signals takes over.
 */
void early_end_arm(int json_fd, const struct report *report, uint64_t timeout_ns,
		   const sigset_t *mask);

/* The outcome is settled and about to be written: what comes now is too late to change it. */
void early_end_disarm(void);

#endif
