// SPDX-License-Identifier: GPL-2.0-only
/*
 * Asynchronous file I/O.
 *
 * io_uring: submissions collect in the ring and go out once per wake-up of the
 * loop; what the kernel finishes at once (page cache) is completed in the same
 * call, without an event. For the rest epoll watches the ring itself. Files are
 * registered, which saves the kernel a look-up per operation.
 *
 * Threads: a queue, a few workers, a list of what is done. Workers touch the
 * operation that they took and nothing else.
 *
 * Short reads and writes are continued here, so that devices see whole operations.
 *
 * Source: io_uring_setup(2), io_uring_enter(2) of liburing 2.3.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/magic.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "disk/aio.h"
#include "event.h"
#include "io.h"
#include "log.h"
#include "sandbox.h"
#include "util.h"

#define NR_WORKERS	4u
#define MAX_FILES	64u
#define MAX_DEPTH	1024u
#define LONE_MAX_BYTES	MIB(1)	/* what the loop may copy at a time */

struct aio {
	struct event_loop *loop;
	bool uring;
	int done_fd;			/* threads: eventfd, completions wait */
	int watch;
	struct event_deferred submit;
	struct aio_op *lone;		/* the only operation of this round so far */
	unsigned int in_flight;
	uint64_t files_used;		/* registered slots */
	bool fixed_files;
	struct io_uring ring;

	/* Threads. */
	struct sandbox *sandbox;	/* lent to them */
	pthread_t workers[NR_WORKERS];
	unsigned int nr_workers;
	pthread_mutex_t lock;		/* guards what follows */
	pthread_cond_t work;
	struct aio_op *todo, **todo_tail;
	struct aio_op *done, **done_tail;
	bool quit;
};

/* ---- what both engines do with an operation ---- */

/* Takes @n bytes off the front of what is left to transfer. */
static void advance(struct aio_op *op, uint64_t n)
{
	op->offset += n;
	op->bytes -= n;
	while (n) {
		size_t part = min_u64(n, op->iov->iov_len);

		op->iov->iov_base = (uint8_t *)op->iov->iov_base + part;
		op->iov->iov_len -= part;
		n -= part;
		if (!op->iov->iov_len) {
			op->iov++;
			op->nr_iov--;
		}
	}
}

static void zero_rest(struct aio_op *op)
{
	for (unsigned int i = 0; i < op->nr_iov; i++)
		memset(op->iov[i].iov_base, 0, op->iov[i].iov_len);
}

/* The kernel said @result. True if the operation is over, with *error. */
static bool settle(struct aio_op *op, int result, int *error)
{
	*error = 0;
	if (result == -EINTR || result == -EAGAIN)
		return false;
	if (result < 0) {
		*error = result;
		return true;
	}
	if (op->kind != AIO_READ && op->kind != AIO_WRITE)
		return true;
	if (result == 0 && op->bytes) {
		if (op->kind == AIO_READ && op->zero_past_end)
			zero_rest(op);
		else
			*error = -EIO;
		return true;
	}
	if ((uint64_t)result >= op->bytes)
		return true;
	advance(op, (uint64_t)result);
	return false;
}

static void complete(struct aio *aio, struct aio_op *op, int error)
{
	aio->in_flight--;
	op->done(op, error);
}

/* ---- io_uring ---- */

static void prepare(const struct aio *aio, struct io_uring_sqe *sqe, struct aio_op *op)
{
	const struct aio_file *file = op->file;
	int fd = file->index >= 0 ? file->index : file->fd;

	switch (op->kind) {
	case AIO_READ:
		if (op->nr_iov == 1)
			io_uring_prep_read(sqe, fd, op->iov->iov_base,
					   (unsigned int)min_u64(op->iov->iov_len, GIB(1)),
					   op->offset);
		else
			io_uring_prep_readv(sqe, fd, op->iov, op->nr_iov, op->offset);
		break;
	case AIO_WRITE:
		if (op->nr_iov == 1)
			io_uring_prep_write(sqe, fd, op->iov->iov_base,
					    (unsigned int)min_u64(op->iov->iov_len, GIB(1)),
					    op->offset);
		else
			io_uring_prep_writev(sqe, fd, op->iov, op->nr_iov, op->offset);
		break;
	case AIO_SYNC:
		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
		break;
	case AIO_ALLOCATE:
		io_uring_prep_fallocate(sqe, fd, op->mode, (off_t)op->offset, (off_t)op->bytes);
		break;
	}
	if (file->index >= 0)
		io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
	io_uring_sqe_set_data(sqe, op);
	(void)aio;
}

static int run_once(struct aio_op *op);

static void enqueue(struct aio *aio, struct aio_op *op)
{
	struct io_uring_sqe *sqe;

	/* A full ring goes out early. */
	while (!(sqe = io_uring_get_sqe(&aio->ring)))
		io_uring_submit(&aio->ring);
	prepare(aio, sqe, op);
	event_defer(aio->loop, &aio->submit);
}

static void reap(struct aio *aio)
{
	struct io_uring_cqe *cqe;

	while (!io_uring_peek_cqe(&aio->ring, &cqe)) {
		struct aio_op *op = io_uring_cqe_get_data(cqe);
		int error, result = cqe->res;

		io_uring_cqe_seen(&aio->ring, cqe);
		if (settle(op, result, &error))
			complete(aio, op, error);
		else
			enqueue(aio, op);
	}
}

/*
 * A transfer of a file in memory (tmpfs) is a copy. With nothing else in flight it is
 * done here, for one system call, where io_uring would hand a write to a thread of
 * the kernel.
 */
static bool run_lone(struct aio *aio)
{
	struct aio_op *op = aio->lone;
	int error;

	aio->lone = NULL;
	if (!op)
		return false;
	if (!op->file->in_memory || op->bytes > LONE_MAX_BYTES || aio->in_flight > 1 ||
	    (op->kind != AIO_READ && op->kind != AIO_WRITE)) {
		enqueue(aio, op);
		return false;
	}
	while (!settle(op, run_once(op), &error))
		;
	complete(aio, op, error);
	return true;
}

static void submit_batch(void *arg)
{
	struct aio *aio = arg;

	if (run_lone(aio))
		return;
	/* If the kernel is short of memory what is left goes out next time round. */
	if (io_uring_submit(&aio->ring) < 0 || io_uring_sq_ready(&aio->ring))
		event_defer(aio->loop, &aio->submit);
	reap(aio);	/* what needed no waiting; then epoll does not see it either */
}

static void on_done(void *arg, uint32_t events);

/* The functions for it are missing from the symbols of Debian 12's liburing. */
static int register_uring(struct aio *aio, unsigned int op, const void *arg, unsigned int nr)
{
	return syscall(SYS_io_uring_register, aio->ring.ring_fd, op, arg, nr) < 0 ? -errno : 0;
}

/*
 * A ring could open files and connect sockets, and no filter of system calls sees it. This
 * one can only do what prepare() asks for, for ever.
 */
static int restrict_uring(struct aio *aio)
{
	static const uint8_t ops[] = {
		IORING_OP_READ, IORING_OP_READV, IORING_OP_WRITE, IORING_OP_WRITEV,
		IORING_OP_FSYNC, IORING_OP_FALLOCATE,
	};
	static const uint8_t registers[] = {
		IORING_REGISTER_ENABLE_RINGS, IORING_REGISTER_FILES2, IORING_REGISTER_FILES_UPDATE,
		IORING_UNREGISTER_FILES,
	};
	struct io_uring_restriction r[ARRAY_SIZE(ops) + ARRAY_SIZE(registers) + 1];
	unsigned int nr = 0;
	int rc;

	memset(r, 0, sizeof(r));
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++, nr++) {
		r[nr].opcode = IORING_RESTRICTION_SQE_OP;
		r[nr].sqe_op = ops[i];
	}
	for (size_t i = 0; i < ARRAY_SIZE(registers); i++, nr++) {
		r[nr].opcode = IORING_RESTRICTION_REGISTER_OP;
		r[nr].register_op = registers[i];
	}
	r[nr].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
	r[nr++].sqe_flags = IOSQE_FIXED_FILE;
	rc = register_uring(aio, IORING_REGISTER_RESTRICTIONS, r, nr);
	return rc ? rc : register_uring(aio, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

static int start_uring(struct aio *aio, unsigned int depth)
{
	struct io_uring_params params = { .flags = IORING_SETUP_CLAMP | IORING_SETUP_R_DISABLED };
	int rc = io_uring_queue_init_params((unsigned int)min_u64(depth, MAX_DEPTH), &aio->ring,
					    &params);

	if (rc < 0)
		return rc;
	/* Before Linux 5.10 it cannot be restricted: then it is not used. */
	rc = restrict_uring(aio);
	if (rc < 0) {
		io_uring_queue_exit(&aio->ring);
		return rc;
	}
	aio->uring = true;
	aio->watch = event_add(aio->loop, aio->ring.ring_fd, EPOLLIN, on_done, aio);
	if (aio->watch < 0)
		return aio->watch;
	/* Needs Linux 5.19; older kernels look files up each time. */
	aio->fixed_files = !io_uring_register_files_sparse(&aio->ring, MAX_FILES);
	return 0;
}

/* ---- threads ---- */

static int run_once(struct aio_op *op)
{
	ssize_t n;

	switch (op->kind) {
	case AIO_READ:
		n = read_iov(op->file->fd, op->iov, op->nr_iov, (off_t)op->offset);
		break;
	case AIO_WRITE:
		n = write_iov(op->file->fd, op->iov, op->nr_iov, (off_t)op->offset);
		break;
	case AIO_SYNC:
		n = fdatasync(op->file->fd);
		break;
	default:
		n = fallocate(op->file->fd, op->mode, (off_t)op->offset, (off_t)op->bytes);
		break;
	}
	return n < 0 ? -errno : (int)n;
}

static struct aio_op *take_todo(struct aio *aio)
{
	struct aio_op *op;

	pthread_mutex_lock(&aio->lock);
	while (!aio->todo && !aio->quit)
		pthread_cond_wait(&aio->work, &aio->lock);
	op = aio->todo;
	if (op) {
		aio->todo = op->next;
		if (!aio->todo)
			aio->todo_tail = &aio->todo;
	}
	pthread_mutex_unlock(&aio->lock);
	return op;
}

static void *worker(void *arg)
{
	struct aio *aio = arg;
	struct aio_op *op;

	pthread_setname_np(pthread_self(), "disk");
	sandbox_confine(aio->sandbox, SANDBOX_WORKER);
	while ((op = take_todo(aio))) {
		int error;

		while (!settle(op, run_once(op), &error))
			;
		op->mode = error;	/* it has served its purpose */
		pthread_mutex_lock(&aio->lock);
		op->next = NULL;
		*aio->done_tail = op;
		aio->done_tail = &op->next;
		pthread_mutex_unlock(&aio->lock);
		eventfd_signal(aio->done_fd);
	}
	return NULL;
}

static void collect(struct aio *aio)
{
	struct aio_op *op, *next;

	pthread_mutex_lock(&aio->lock);
	op = aio->done;
	aio->done = NULL;
	aio->done_tail = &aio->done;
	pthread_mutex_unlock(&aio->lock);
	for (; op; op = next) {
		next = op->next;
		complete(aio, op, op->mode);
	}
}

static int prepare_threads(struct aio *aio)
{
	aio->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (aio->done_fd < 0)
		return -errno;
	aio->watch = event_add(aio->loop, aio->done_fd, EPOLLIN | EPOLLET, on_done, aio);
	return aio->watch < 0 ? aio->watch : 0;
}

/* Signals are for the main thread, but for those that a thread causes itself. */
int aio_start(struct aio *aio, struct sandbox *sandbox)
{
	sigset_t all, old;
	int rc = 0;

	if (aio->uring)
		return 0;
	aio->sandbox = sandbox;
	sigfillset(&all);
	sigdelset(&all, SIGSYS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (aio->nr_workers < NR_WORKERS && !rc) {
		rc = -pthread_create(&aio->workers[aio->nr_workers], NULL, worker, aio);
		if (!rc)
			aio->nr_workers++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!aio->nr_workers)
		log_error("disk: starting a thread: %s", strerror(-rc));
	return aio->nr_workers ? (int)aio->nr_workers : rc;
}

/* ---- both ---- */

static void on_done(void *arg, uint32_t events)
{
	struct aio *aio = arg;

	(void)events;
	if (aio->uring)
		reap(aio);
	else
		collect(aio);
}

void aio_submit(struct aio *aio, struct aio_op *op)
{
	aio->in_flight++;
	if (aio->uring) {
		struct aio_op *lone = aio->lone;

		aio->lone = NULL;
		if (lone)
			enqueue(aio, lone);
		if (lone || io_uring_sq_ready(&aio->ring))
			enqueue(aio, op);
		else
			aio->lone = op;
		event_defer(aio->loop, &aio->submit);
		return;
	}
	pthread_mutex_lock(&aio->lock);
	op->next = NULL;
	*aio->todo_tail = op;
	aio->todo_tail = &op->next;
	pthread_cond_signal(&aio->work);
	pthread_mutex_unlock(&aio->lock);
}

void aio_drain(struct aio *aio)
{
	do {
		event_run_deferred(aio->loop);
		/* The last round may have left something to submit. */
		if (!aio->in_flight || aio->submit.queued)
			continue;
		if (aio->uring) {
			struct io_uring_cqe *cqe;

			io_uring_submit(&aio->ring);
			io_uring_wait_cqe(&aio->ring, &cqe);
			reap(aio);
		} else {
			struct pollfd done = { .fd = aio->done_fd, .events = POLLIN };

			poll_fds(&done, 1, -1);
			eventfd_clear(aio->done_fd);
			collect(aio);
		}
	} while (aio->in_flight);
}

void aio_add_file(struct aio *aio, struct aio_file *file, int fd)
{
	struct statfs fs;

	file->fd = fd;
	file->index = -1;
	file->in_memory = !fstatfs(fd, &fs) && fs.f_type == TMPFS_MAGIC;
	for (int i = 0; aio->fixed_files && i < (int)MAX_FILES && file->index < 0; i++) {
		if (aio->files_used >> i & 1)
			continue;
		if (io_uring_register_files_update(&aio->ring, (unsigned int)i, &fd, 1) < 0)
			return;
		aio->files_used |= 1ull << i;
		file->index = i;
	}
}

void aio_remove_file(struct aio *aio, struct aio_file *file)
{
	int none = -1;

	if (file->index < 0)
		return;
	io_uring_register_files_update(&aio->ring, (unsigned int)file->index, &none, 1);
	aio->files_used &= ~(1ull << file->index);
	file->index = -1;
}

static int start(struct aio *aio, enum aio_engine engine, unsigned int depth)
{
	int rc = -ENOSYS;

#ifdef SANDBOX_HOOK	/* tests/lib/hook.c wants to try the threads */
	if (getenv("NO_IO_URING"))
		engine = AIO_THREADS;
#endif
	if (engine == AIO_AUTO)
		rc = start_uring(aio, depth);
	if (rc && !aio->uring) {
		if (engine == AIO_AUTO)
			log_verbose("disk: this host refuses io_uring (%s): using threads",
				    strerror(-rc));
		rc = prepare_threads(aio);
	}
	return rc;
}

int aio_create(struct aio **out, struct event_loop *loop, enum aio_engine engine,
	       unsigned int depth)
{
	struct aio *aio = calloc(1, sizeof(*aio));
	int rc;

	if (!aio)
		return -ENOMEM;
	aio->loop = loop;
	aio->done_fd = aio->watch = -1;
	aio->submit = (struct event_deferred){ .fn = submit_batch, .arg = aio };
	pthread_mutex_init(&aio->lock, NULL);
	pthread_cond_init(&aio->work, NULL);
	aio->todo_tail = &aio->todo;
	aio->done_tail = &aio->done;
	rc = start(aio, engine, depth);
	if (rc) {
		aio_destroy(aio);
		return rc;
	}
	*out = aio;
	return 0;
}

void aio_destroy(struct aio *aio)
{
	if (!aio)
		return;
	assert(!aio->in_flight);
	event_undefer(aio->loop, &aio->submit);
	pthread_mutex_lock(&aio->lock);
	aio->quit = true;
	pthread_cond_broadcast(&aio->work);
	pthread_mutex_unlock(&aio->lock);
	for (unsigned int i = 0; i < aio->nr_workers; i++)
		pthread_join(aio->workers[i], NULL);
	if (aio->watch >= 0)
		event_remove(aio->loop, aio->watch);
	if (aio->uring) {
		/* Now, not when the kernel gets round to it: file systems can be unmounted. */
		io_uring_unregister_files(&aio->ring);
		io_uring_queue_exit(&aio->ring);
	}
	if (aio->done_fd >= 0)
		close(aio->done_fd);
	pthread_cond_destroy(&aio->work);
	pthread_mutex_destroy(&aio->lock);
	free(aio);
}
