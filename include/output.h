/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Writing to descriptors whose other side may stop: nothing here waits for it, or only for as
 * long as the caller says.
 *
 * What our parent has opened it may share with others, for whom O_NONBLOCK would change it, too.
 * So it is opened a second time through /proc. Where that cannot be done (no /proc, the
 * terminal of another user) only as much is written as poll(2) promises to be taken at once.
 * Any thread.
 */
#ifndef LKVM_OUTPUT_H
#define LKVM_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum output_kind {
	OUTPUT_NONE,	 /* nobody is there: all is taken */
	OUTPUT_FILE,	 /* regular file or disk: has no reader to wait for */
	OUTPUT_NONBLOCK, /* a description of our own, of whatever it is */
	OUTPUT_SOCKET,
	OUTPUT_PIPE,   /* an inherited description of a pipe ... */
	OUTPUT_DEVICE, /* ... or of a terminal and the like */
};

struct output {
	enum output_kind kind;
	int fd;	      /* to write to and to poll; -1: none */
	bool is_ours; /* opened here */
	bool is_null; /* nobody will see it: none, or /dev/null */
};

/* For @fd (-1: none), which is lent and stays as it is. */
void output_init(struct output *o, int fd);

/* Tries to get a description of our own for it. Before the sandbox. */
void output_reopen(struct output *o);

/* For one from output_open(), which is lent as well. Makes no system call. */
void output_init_own(struct output *o, int fd);

void output_fini(struct output *o);

/*
 * Opens a file for writing, with O_CREAT and @flags (O_APPEND or O_TRUNC), without waiting for
 * the reader of a pipe or of a terminal: one may come later. A descriptor for
 * output_init_own(), or -errno.
 */
int output_open(const char *path, int flags);

/*
 * For --dry-run: would opening @path for writing find it, or make it? @regular: it has to be a
 * regular file. Nothing is made, opened or emptied. 0 or -errno; -EINVAL: it is not regular.
 */
int output_check(const char *path, bool regular);

/* The same for the folder alone: can something be made in it? */
int output_check_folder(const char *path);

/* As write(2), but never waits: -1 with EAGAIN. Never EINTR. */
ssize_t output_write(const struct output *o, const void *data, size_t bytes);

/*
 * Writes all of it, and waits meanwhile for a reader who is slow, until it has taken nothing for
 * @patience_ms. 0 or -errno; -ETIMEDOUT: it has stopped.
 */
#define OUTPUT_PATIENCE_MS 1000
int output_write_all(const struct output *o, const void *data, size_t bytes, int patience_ms);

#endif
