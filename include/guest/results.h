/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * --out: what the guest sends as a tar stream becomes files of a directory of the host, when it is
 * complete and not before: whole or not at all.
 *
 * A process of its own unpacks it (guest/results-tar.h says what it takes and what it refuses), behind a
 * sandbox that lets it write below that directory and do nothing else. It works in a hidden directory there,
 * RESULTS_HIDDEN and a random number, from which everything is moved at the end (guest/results-move.h).
 * If the VM's process is gone or gives up, the hidden directory is removed, and so is the other if
 * results_create() has made it. What remains of a process that was killed itself, or of a host that
 * went down, is the hidden directory, with in "new" what was not moved and in "old" what was replaced.
 *
 *	results_create()	before sandbox_separate(): the process outlives the VM's
 *	results_watch()		when there is a loop, in the VM's process
 *	results_put() ...	as data come
 *	results_commit()	it was all
 *	results_destroy()
 *
 * Main thread. Nothing of it blocks but results_destroy(), which has a bound.
 */
#ifndef LKVM_GUEST_RESULTS_H
#define LKVM_GUEST_RESULTS_H

#include <stddef.h>
#include <sys/types.h>

#define RESULTS_HIDDEN ".lkvm-out-"

struct event_loop;
struct results;
struct sandbox;

/*
 * Opens @path (lent), a directory, makes it if there is none (but not what it is in), and starts the
 * process, behind what @sandbox (lent) asks for. 0, or -errno after a message.
 */
int results_create(struct results **out, const char *path, struct sandbox *sandbox);

/*
 * @wake is called when results_put() makes sense again: after it has returned -EAGAIN there is room, or
 * there is an error that it will return. 0 or -errno.
 */
int results_watch(struct results *r, struct event_loop *loop, void (*wake)(void *arg), void *arg);

/*
 * The next @bytes (not 0) of the stream. How many were taken, -EAGAIN if there is no room now, or
 * -errno: it is over, and the user was told why. Then what the guest still sends is of no use.
 */
ssize_t results_put(struct results *r, const void *data, size_t bytes);

/*
 * The stream is complete. @done is called once, not from within: 0, and the files are there, or
 * -errno: the user was told why, and the directory is as it was.
 */
void results_commit(struct results *r, void (*done)(void *arg, int error), void *arg);

/* Nothing will come of it, unless a commit has been begun: that may still be done, and nobody is told. */
void results_abort(struct results *r);

/* As results_abort() if it is not done; waits up to 3 s for the process. Accepts NULL. */
void results_destroy(struct results *r);

#endif
