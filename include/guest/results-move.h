/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Moves a directory's entries into another one of the same file system: all of them or none.
 *
 * A directory that is on both sides stays the one that was there, and what is in it is moved in turn. Other
 * names take the place of what was there. A name that is a directory on one side only is an
 * error, found before anything was moved, as is a directory that cannot be written. If moving
 * fails half-way, it is undone. Symbolic links are moved and replaced, never followed.
 *
 * If the host or this process is stopped half-way, some of the entries are in the other directory and the rest
 * is in this one; what was replaced is in @trash, numbered as its name is in the list @trash/moved.
 */
#ifndef LKVM_GUEST_RESULTS_MOVE_H
#define LKVM_GUEST_RESULTS_MOVE_H

/*
 * Moves what is in @from to @to; @trash is an empty directory, and has afterwards what is to be removed. All are
 * descriptors, and lent. 0, or -errno after a message.
 */
int results_move(int from, int to, int trash);

/* Removes what is in @dir. 0 or -errno. */
int results_remove_below(int dir);

#endif
