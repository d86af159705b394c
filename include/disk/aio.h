/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Asynchronous file I/O on the event loop: io_uring, or a few threads where the
 * host refuses it.
 *
 * What is submitted during one wake-up of the loop goes to the kernel in one
 * system call at its end. All functions and callbacks: the loop's thread.
 */
#ifndef LKVM_DISK_AIO_H
#define LKVM_DISK_AIO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct aio;
struct aio_op;
struct event_loop;
struct sandbox;

#define AIO_NR_BOUNCES 8u

enum aio_engine {
	AIO_AUTO, /* io_uring if the host lets us */
	AIO_THREADS,
};

enum aio_kind {
	AIO_READ,
	AIO_WRITE,
	AIO_SYNC,     /* fdatasync(2) */
	AIO_ALLOCATE, /* fallocate(2) with @mode */
};

/* Operations that wait for something, in order. */
struct aio_list {
	struct aio_op *head, **tail;
};

/*
 * Who has files: one disk. What one client waits for holds nobody else up: each has bounce
 * buffers and a turn of its own. All of it is the engine's.
 */
struct aio_client {
	struct aio *aio;
	unsigned int in_flight, held;
	uint8_t *bounce_memory;
	uint8_t *bounces[AIO_NR_BOUNCES]; /* free ones */
	unsigned int nr_bounces;
	struct aio_list for_bounce; /* wait for a buffer */

	/* io_uring: operations for which the kernel needs a thread. */
	unsigned int blocking;
	struct aio_list for_turn;

	/* Threads; under their lock. */
	struct aio_client *next;
	struct aio_list todo;
	unsigned int running; /* workers that do something for it */
};

/* A file that operations refer to. All but @fd is for the engine. */
struct aio_file {
	int fd;
	struct aio_client *client;
	int index;
	bool in_memory;
	uint32_t align; /* of buffers' addresses and lengths; 1 without O_DIRECT */
};

/* Embedded in its owner, whose it is again when done() is called. */
struct aio_op {
	enum aio_kind kind;
	const struct aio_file *file;
	uint64_t offset;
	struct iovec *iov; /* read, write; both are used up on the way */
	unsigned int nr_iov;
	uint64_t bytes; /* all of iov, or the range to allocate */
	int mode;
	bool zero_past_end; /* read: what is past the end of the file is zeros */
	/*
	 * @error: 0, or -errno, with -EIO for a file that ended early. Not called
	 * from within aio_submit().
	 */
	void (*done)(struct aio_op *op, int error);

	/* The engine's. */
	struct aio_op *next;
	int error;
	uint8_t *bounce;    /* holds what is transferred; NULL: the caller's buffers do */
	struct iovec piece; /* ... of it */
};

/* Nothing is in flight, and nothing will be by what has been submitted. */
bool aio_all_idle(const struct aio *aio);

/* How long a disk may take to complete what is in flight once the end is wanted. */
#define AIO_GRACE_NS 7000000000ull

/* @depth: operations that should fit into one batch. 0 or -errno. */
int aio_create(struct aio **out, struct event_loop *loop, enum aio_engine engine,
	       unsigned int depth);

/*
 * After sandbox_enter(): starts the threads, which confine themselves. What was submitted
 * before waits until then, or until aio_drain() does it. How many there are (none with io_uring), or -errno after a message.
 */
int aio_start(struct aio *aio, struct sandbox *sandbox);

/* Accepts NULL. Nothing may be in flight. */
void aio_destroy(struct aio *aio);

/* Before its files. Of more than are there when aio_start() is called, some may wait for others. */
void aio_add_client(struct aio *aio, struct aio_client *client);

/* After its files; nothing of it is in flight. Accepts one that is all zero. */
void aio_remove_client(struct aio_client *client);

/*
 * Prepares @fd, which stays the caller's, for use in operations. @align: what O_DIRECT asks of
 * buffers, or 1; a power of two. Other buffers are copied through some of the client's. 0 or
 * -ENOMEM.
 */
int aio_add_file(struct aio_client *client, struct aio_file *file, int fd, uint32_t align);

/*
 * The same for a file that comes while the guest runs and soon goes: it is not registered and buffers
 * need no alignment. No system call.
 */
void aio_use_file(struct aio_client *client, struct aio_file *file, int fd);

/* Accepts one that was never added, if its index is -1. */
void aio_remove_file(struct aio_file *file);

void aio_submit(struct aio *aio, struct aio_op *op);

/* The loop that operations complete on. */
struct event_loop *aio_loop(const struct aio *aio);

/* Requests that will lead to operations only later; aio_drain() waits for them, too. */
void aio_hold(struct aio_client *client);
void aio_release(struct aio_client *client);

/* True if nothing of @client is in flight or held. */
bool aio_is_idle(const struct aio_client *client);

/*
 * Waits for something to complete, whosever it is, if anything is in flight. 0, or -ETIMEDOUT at
 * the limit.
 */
int aio_wait(struct aio *aio);

/*
 * Waits until nothing is in flight or held of any client, also nothing that callbacks submit. 0, or
 * -ETIMEDOUT at the limit: then operations still belong to the engine, and with them all they
 * refer to.
 */
int aio_drain(struct aio *aio);

/* When waiting is given up: at @deadline (of now_ns(); 0, as at first: never). From @fn below, too. */
void aio_set_limit(struct aio *aio, uint64_t deadline);

/* While aio_wait() waits it calls @fn(@arg) whenever @fd (lent; -1: never) is readable. */
void aio_set_news(struct aio *aio, int fd, void (*fn)(void *arg), void *arg);

#endif
