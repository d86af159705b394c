/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The end before there is anybody who reads signals: until then a signal or --timeout ends lkvm
 * at once, --json says so all the same, and no socket and no entry among the VMs that run stay.
 */
#ifndef LKVM_CMD_EARLY_END_H
#define LKVM_CMD_EARLY_END_H

#include <stdint.h>

#include "cmd/report.h"

/*
 * From now on a signal's handler writes, once there is a file, what @report says with that outcome,
 * and ends. SIGALRM comes when @timeout_ns (0: none) are over. Signals that our parent ignores stay
 * ignored. Whoever blocks the signals takes over.
 */
void early_end_arm(const struct report *report, uint64_t timeout_ns);

/*
 * Opens the file @path for the report, as output_open(). A file system that does not answer makes
 * only this wait, no signal. A descriptor, which is the caller's, or -errno.
 */
int early_end_open(const char *path);

/*
 * A file that is to be removed, if it comes to such an end, is made between these two: its path, which stays the
 * caller's and as it is until early_end_disarm(); NULL: there is none. No signal comes in between.
 */
void early_end_hold(void);
void early_end_release(const char *path);

/* The outcome is settled and about to be written: what comes now is too late to change it. */
void early_end_disarm(void);

#endif
