// SPDX-License-Identifier: GPL-2.0-only
/*
 * Asynchronous file I/O.
 *
 * io_uring: submissions collect in the ring and go out once per wake-up of the
 * loop; what the kernel finishes at once (page cache) is completed in the same
 * call, without an event. For the rest epoll watches the ring itself. Files are
 * registered, which saves the kernel a look-up per operation.
 *
 * Threads: a queue for each client, workers, a list of what is done. Workers touch the
 * operation that they took and nothing else.
 *
 * A file that never answers must not take from others what they need. Of the workers one is
 * kept for each client, and only the others can be had by who has one already. With io_uring
 * most operations need no thread; those that always do go to the kernel a few at a time for
 * each client, and the kernel may start as many threads as all clients together need. One thing
 * is out of reach: the kernel has 64 queues for buffered writes that are left to its threads, by
 * a hash of the file, so that one that hangs can, once in 64, hold up the writes of another.
 *
 * Short reads and writes are continued here, so that devices see whole operations. What
 * O_DIRECT cannot take, because virtio asks no alignment of a guest's buffers, goes through
 * bounce buffers, piece by piece; who finds none of his client's waits for one.
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
#include "iov.h"
#include "log.h"
#include "sandbox/sandbox.h"
#include "util.h"

#define SPARE_WORKERS  3u /* beside one for each client */
#define MAX_FILES      64u
#define MAX_DEPTH      1024u
#define LONE_MAX_BYTES MIB(1) /* what the loop may copy at a time */
#define BOUNCE_BYTES   KIB(128)
#define MAX_BLOCKING   2u   /* of a client: fsync or fallocate, by threads of the kernel */
#define KERNEL_THREADS 128u /* 32 clients; these two, and some for writes to each of its files */
#define RETRY_MS       1    /* after the kernel has refused what was submitted */

struct aio {
	struct event_loop *loop;
	bool uring;
	bool fixed_files;
	bool refused; /* the kernel has not taken all of the ring */
	int done_fd;  /* threads: eventfd, completions wait */
	int watch, retry_timer;
	int news_fd; /* while aio_wait() waits; -1 */
	void (*news)(void *arg);
	void *news_arg;
	uint64_t deadline;
	struct event_deferred submit;
	struct aio_op *lone;	      /* the only operation of this round so far */
	struct aio_list for_ring;     /* wait for room in it */
	unsigned int in_flight, held; /* of all clients */
	uint64_t completed;
	uint64_t files_used; /* registered slots */
	struct io_uring ring;

	/* Threads. */
	struct sandbox *sandbox; /* lent to them */
	pthread_t *workers;
	unsigned int nr_workers;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t work;
	struct aio_client *clients; /* who was served last is last */
	unsigned int nr_clients;
	unsigned int spare;	  /* workers that are kept for nobody */
	unsigned int spare_taken; /* ... by clients that have another one */
	struct aio_list done;
	bool quit;
};

static void list_init(struct aio_list *list)
{
	list->head = NULL;
	list->tail = &list->head;
}

static void list_add(struct aio_list *list, struct aio_op *op)
{
	op->next = NULL;
	*list->tail = op;
	list->tail = &op->next;
}

static struct aio_op *list_take(struct aio_list *list)
{
	struct aio_op *op = list->head;

	if (op)
		list->head = op->next;
	if (!list->head)
		list->tail = &list->head;
	return op;
}

/* ---- what both engines do with an operation ---- */

/* Takes @n bytes off the front of what is left to transfer. */
static void aio_advance(struct aio_op *op, uint64_t n)
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

/* The buffers of what is transferred next; a bounce buffer is filled for it. */
static const struct iovec *next_transfer(struct aio_op *op, unsigned int *nr)
{
	uint32_t n = (uint32_t)min_u64(op->bytes, BOUNCE_BYTES);

	*nr = op->nr_iov;
	if (!op->bounce)
		return op->iov;
	if (op->kind == AIO_WRITE)
		iov_read(op->iov, op->nr_iov, 0, op->bounce, n);
	op->piece = (struct iovec){ op->bounce, n };
	*nr = 1;
	return &op->piece;
}

/* Direct I/O gives part of a block only where the file ends. */
static bool met_the_end(const struct aio_op *op, int result)
{
	return !result || (uint64_t)result & (op->file->align - 1);
}

/* @result of what next_transfer() said, as settle(). */
static bool settle_transfer(struct aio_op *op, int result, int *error)
{
	if (op->bounce && op->kind == AIO_READ)
		iov_write(op->iov, op->nr_iov, 0, op->bounce, (uint32_t)result);
	if ((uint64_t)result >= op->bytes)
		return true;
	aio_advance(op, (uint64_t)result);
	if (!met_the_end(op, result))
		return false;
	if (op->kind == AIO_READ && op->zero_past_end)
		zero_rest(op);
	else
		*error = -EIO;
	return true;
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
	return settle_transfer(op, result, error);
}

static void aio_start_op(struct aio *aio, struct aio_op *op);

/* Buffer @bounce is free again: the next that waits has it. */
static void give_bounce(struct aio_client *client, uint8_t *bounce)
{
	struct aio_op *op = list_take(&client->for_bounce);

	if (op) {
		op->bounce = bounce;
		aio_start_op(client->aio, op);
	} else {
		client->bounces[client->nr_bounces++] = bounce;
	}
}

static bool is_blocking(const struct aio_op *op)
{
	return op->kind == AIO_SYNC || op->kind == AIO_ALLOCATE;
}

/* An operation of a kind that takes turns is over: the next one begins. */
static void give_turn(struct aio_client *client)
{
	struct aio_op *op = list_take(&client->for_turn);

	if (op)
		aio_start_op(client->aio, op);
	else
		client->blocking--;
}

static void aio_complete(struct aio *aio, struct aio_op *op, int error)
{
	struct aio_client *client = op->file->client;

	aio->in_flight--;
	aio->completed++;
	client->in_flight--;
	if (op->bounce)
		give_bounce(client, op->bounce);
	if (aio->uring && is_blocking(op))
		give_turn(client);
	op->done(op, error);
}

static bool needs_bounce(const struct aio_op *op)
{
	uint64_t bits = 0;

	if (op->file->align == 1 || (op->kind != AIO_READ && op->kind != AIO_WRITE))
		return false;
	for (unsigned int i = 0; i < op->nr_iov; i++)
		bits |= (uintptr_t)op->iov[i].iov_base | op->iov[i].iov_len;
	return bits & (op->file->align - 1);
}

/* ---- io_uring ---- */

static void prepare_transfer(struct io_uring_sqe *sqe, int fd, struct aio_op *op)
{
	unsigned int nr;
	const struct iovec *iov = next_transfer(op, &nr);
	unsigned int bytes = (unsigned int)min_u64(iov->iov_len, GIB(1));

	if (op->kind == AIO_READ && nr == 1)
		io_uring_prep_read(sqe, fd, iov->iov_base, bytes, op->offset);
	else if (op->kind == AIO_READ)
		io_uring_prep_readv(sqe, fd, iov, nr, op->offset);
	else if (nr == 1)
		io_uring_prep_write(sqe, fd, iov->iov_base, bytes, op->offset);
	else
		io_uring_prep_writev(sqe, fd, iov, nr, op->offset);
}

static void prepare(struct io_uring_sqe *sqe, struct aio_op *op)
{
	const struct aio_file *file = op->file;
	int fd = file->index >= 0 ? file->index : file->fd;

	switch (op->kind) {
	case AIO_READ:
	case AIO_WRITE:
		prepare_transfer(sqe, fd, op);
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
}

static int run_once(struct aio_op *op);

static void enqueue(struct aio *aio, struct aio_op *op)
{
	struct io_uring_sqe *sqe = aio->for_ring.head ? NULL : io_uring_get_sqe(&aio->ring);

	if (sqe)
		prepare(sqe, op);
	else
		list_add(&aio->for_ring, op);
	event_defer(aio->loop, &aio->submit);
}

/* What has waited for room in the ring. */
static void fill_ring(struct aio *aio)
{
	struct io_uring_sqe *sqe;

	while (aio->for_ring.head && (sqe = io_uring_get_sqe(&aio->ring)))
		prepare(sqe, list_take(&aio->for_ring));
}

static void reap(struct aio *aio)
{
	struct io_uring_cqe *cqe;

	while (!io_uring_peek_cqe(&aio->ring, &cqe)) {
		struct aio_op *op = io_uring_cqe_get_data(cqe);
		int error, result = cqe->res;

		io_uring_cqe_seen(&aio->ring, cqe);
		if (settle(op, result, &error))
			aio_complete(aio, op, error);
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
	aio_complete(aio, op, error);
	return true;
}

static void submit_batch(void *arg)
{
	struct aio *aio = arg;

	if (run_lone(aio))
		return;
	fill_ring(aio);
	aio->refused = io_uring_submit(&aio->ring) < 0 || io_uring_sq_ready(&aio->ring);
	if (aio->refused)
		event_timer_set(aio->loop, aio->retry_timer, RETRY_MS * 1000000ull, 0);
	else if (aio->for_ring.head)
		event_defer(aio->loop, &aio->submit);
	reap(aio); /* what needed no waiting; then epoll does not see it either */
}

static void on_retry(void *arg, uint32_t events)
{
	struct aio *aio = arg;

	(void)events;
	event_defer(aio->loop, &aio->submit);
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
		IORING_OP_FSYNC, IORING_OP_FALLOCATE
	};
	static const uint8_t registers[] = {
		IORING_REGISTER_ENABLE_RINGS, IORING_REGISTER_FILES2, IORING_REGISTER_FILES_UPDATE,
		IORING_UNREGISTER_FILES
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

/*
 * The kernel's limit depends on the number of CPUs, not of disks. Where it cannot be raised
 * (before Linux 5.15) many disks that hang may hold up the others.
 */
static void allow_kernel_threads(struct aio *aio)
{
	unsigned int max[2] = { 0, 0 }; /* bounded, unbounded; 0: as it is */

	if (register_uring(aio, IORING_REGISTER_IOWQ_MAX_WORKERS, max, 2) || max[0] >= KERNEL_THREADS)
		return;
	max[0] = KERNEL_THREADS;
	max[1] = 0;
	register_uring(aio, IORING_REGISTER_IOWQ_MAX_WORKERS, max, 2);
}

static int start_uring(struct aio *aio, unsigned int depth)
{
	struct io_uring_params params = { .flags = IORING_SETUP_CLAMP | IORING_SETUP_R_DISABLED };
	int rc = io_uring_queue_init_params((unsigned int)min_u64(depth, MAX_DEPTH), &aio->ring,
					    &params);

	if (rc < 0)
		return rc;
	allow_kernel_threads(aio);
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
	aio->retry_timer = event_timer_create(aio->loop, on_retry, aio);
	if (aio->retry_timer < 0)
		return aio->retry_timer;
	/* Needs Linux 5.19; older kernels look files up each time. */
	aio->fixed_files = !io_uring_register_files_sparse(&aio->ring, MAX_FILES);
	return 0;
}

/* ---- threads ---- */

static ssize_t transfer(struct aio_op *op)
{
	unsigned int nr;
	const struct iovec *iov = next_transfer(op, &nr);

	if (op->kind == AIO_READ)
		return read_iov(op->file->fd, iov, nr, (off_t)op->offset);
	return write_iov(op->file->fd, iov, nr, (off_t)op->offset);
}

static int run_once(struct aio_op *op)
{
	ssize_t n;

	switch (op->kind) {
	case AIO_READ:
	case AIO_WRITE:
		n = transfer(op);
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

/* How many workers can be had by clients that have one. The lock is held. */
static void count_spare(struct aio *aio)
{
	aio->spare = aio->nr_workers - (unsigned int)min_u64(aio->nr_workers, aio->nr_clients);
}

static bool may_have_worker(const struct aio *aio, const struct aio_client *client)
{
	return client->todo.head && (!client->running || aio->spare_taken < aio->spare);
}

static void link_client(struct aio *aio, struct aio_client *client)
{
	struct aio_client **last = &aio->clients;

	while (*last)
		last = &(*last)->next;
	client->next = NULL;
	*last = client;
}

static void unlink_client(struct aio *aio, const struct aio_client *client)
{
	struct aio_client **link = &aio->clients;

	while (*link != client)
		link = &(*link)->next;
	*link = client->next;
}

/* The next operation of the client that has waited longest; NULL if none may have a worker. */
static struct aio_op *choose_todo(struct aio *aio)
{
	struct aio_client *client = aio->clients;

	while (client && !may_have_worker(aio, client))
		client = client->next;
	if (!client)
		return NULL;
	if (client->next) {
		unlink_client(aio, client);
		link_client(aio, client);
	}
	if (client->running++)
		aio->spare_taken++;
	return list_take(&client->todo);
}

static struct aio_op *take_todo(struct aio *aio)
{
	struct aio_op *op;

	pthread_mutex_lock(&aio->lock);
	while (!(op = choose_todo(aio)) && !aio->quit)
		pthread_cond_wait(&aio->work, &aio->lock);
	pthread_mutex_unlock(&aio->lock);
	return op;
}

static void give_done(struct aio *aio, struct aio_op *op)
{
	pthread_mutex_lock(&aio->lock);
	if (--op->file->client->running)
		aio->spare_taken--;
	list_add(&aio->done, op);
	pthread_mutex_unlock(&aio->lock);
	eventfd_signal(aio->done_fd);
}

static void *worker(void *arg)
{
	struct aio *aio = arg;
	struct aio_op *op;

	pthread_setname_np(pthread_self(), "disk");
	sandbox_confine(aio->sandbox, SANDBOX_WORKER);
	while ((op = take_todo(aio))) {
		while (!settle(op, run_once(op), &op->error))
			;
		give_done(aio, op);
	}
	return NULL;
}

static void collect(struct aio *aio)
{
	struct aio_op *op, *next;

	pthread_mutex_lock(&aio->lock);
	op = aio->done.head;
	list_init(&aio->done);
	pthread_mutex_unlock(&aio->lock);
	for (; op; op = next) {
		next = op->next;
		aio_complete(aio, op, op->error);
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
static int start_workers(struct aio *aio, unsigned int wanted)
{
	sigset_t all, old;
	int rc = 0;

	sigfillset(&all);
	sigdelset(&all, SIGSYS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (aio->nr_workers < wanted && !rc) {
		rc = -pthread_create(&aio->workers[aio->nr_workers], NULL, worker, aio);
		if (!rc)
			aio->nr_workers++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_mutex_lock(&aio->lock);
	count_spare(aio);
	pthread_mutex_unlock(&aio->lock);
	return rc;
}

int aio_start(struct aio *aio, struct sandbox *sandbox)
{
	unsigned int wanted = SPARE_WORKERS + (aio->nr_clients ? aio->nr_clients : 1);
	int rc;

	if (aio->uring)
		return 0;
	aio->sandbox = sandbox;
	aio->workers = calloc(wanted, sizeof(*aio->workers));
	if (!aio->workers)
		return log_enomem("disk");
	rc = start_workers(aio, wanted);
	/* One for each is necessary, more are good. */
	if (aio->nr_workers >= wanted - SPARE_WORKERS)
		return (int)aio->nr_workers;
	log_error("disk: starting a thread: %s", strerror(-rc));
	return rc;
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

static void start_on_ring(struct aio *aio, struct aio_op *op)
{
	struct aio_op *lone = aio->lone;

	aio->lone = NULL;
	if (lone)
		enqueue(aio, lone);
	if (lone || io_uring_sq_ready(&aio->ring))
		enqueue(aio, op);
	else
		aio->lone = op;
	event_defer(aio->loop, &aio->submit);
}

static void aio_start_op(struct aio *aio, struct aio_op *op)
{
	if (aio->uring) {
		start_on_ring(aio, op);
		return;
	}
	pthread_mutex_lock(&aio->lock);
	list_add(&op->file->client->todo, op);
	pthread_cond_signal(&aio->work);
	pthread_mutex_unlock(&aio->lock);
}

/* What @op needs beside its own is there; otherwise it waits for it. */
static bool may_start(const struct aio *aio, struct aio_op *op)
{
	struct aio_client *client = op->file->client;

	if (is_blocking(op)) {
		if (aio->uring && client->blocking == MAX_BLOCKING) {
			list_add(&client->for_turn, op);
			return false;
		}
		client->blocking += aio->uring;
	} else if (needs_bounce(op)) {
		if (!client->nr_bounces) {
			list_add(&client->for_bounce, op);
			return false;
		}
		op->bounce = client->bounces[--client->nr_bounces];
	}
	return true;
}

void aio_submit(struct aio *aio, struct aio_op *op)
{
	aio->in_flight++;
	op->file->client->in_flight++;
	op->bounce = NULL;
	if (may_start(aio, op))
		aio_start_op(aio, op);
}

struct event_loop *aio_loop(const struct aio *aio)
{
	return aio->loop;
}

void aio_hold(struct aio_client *client)
{
	client->held++;
	client->aio->held++;
}

void aio_release(struct aio_client *client)
{
	client->held--;
	client->aio->held--;
	client->aio->completed++; /* it may end without I/O, and its disk be idle now */
}

bool aio_is_idle(const struct aio_client *client)
{
	return !client->in_flight && !client->held;
}

void aio_set_limit(struct aio *aio, uint64_t deadline)
{
	aio->deadline = deadline;
}

void aio_set_news(struct aio *aio, int fd, void (*fn)(void *arg), void *arg)
{
	aio->news_fd = fd;
	aio->news = fn;
	aio->news_arg = arg;
}

/* Until the deadline, and no longer than a refused submission takes to be tried again. */
static int wait_ms(const struct aio *aio)
{
	uint64_t now = now_ns(), ms;

	if (aio->refused)
		return RETRY_MS;
	if (!aio->deadline)
		return -1;
	ms = (aio->deadline > now ? aio->deadline - now : 0) / 1000000 + 1;
	return (int)min_u64(ms, WAIT_SLICE_MS);
}

/* Before there are workers: what is read to see how to start. */
static void work_here(struct aio *aio)
{
	struct aio_op *op;

	while ((op = choose_todo(aio))) {
		op->file->client->running--;
		while (!settle(op, run_once(op), &op->error))
			;
		aio_complete(aio, op, op->error);
	}
}

/* Waits for a completion, the deadline or news. 0 or -ETIMEDOUT. */
static int wait_for_completions(struct aio *aio)
{
	struct pollfd p[] = {
		{ .fd = aio->uring ? aio->ring.ring_fd : aio->done_fd, .events = POLLIN },
		{ .fd = aio->news_fd, .events = POLLIN },
	};
	uint64_t start_ns;
	int ms;

	if (!aio->uring && !aio->nr_workers) {
		work_here(aio);
		return 0;
	}
	if (aio->deadline && now_ns() >= aio->deadline)
		return -ETIMEDOUT;
	start_ns = now_ns();
	ms = wait_ms(aio);
	poll_fds(p, ARRAY_SIZE(p), ms);
	if (aio->deadline) /* a disk is not to blame for a stop */
		aio->deadline += stopped_ns(start_ns, ms);
	if (p[1].revents)
		aio->news(aio->news_arg);
	if (aio->refused)
		event_defer(aio->loop, &aio->submit);
	if (!aio->uring)
		eventfd_clear(aio->done_fd);
	on_done(aio, 0);
	return 0;
}

int aio_wait(struct aio *aio)
{
	uint64_t before = aio->completed;

	event_run_deferred(aio->loop);
	/* Somebody may have waited for what was completed then; or there is something to submit. */
	if (aio->completed != before || !aio->in_flight || aio->submit.queued)
		return 0;
	return wait_for_completions(aio);
}

int aio_drain(struct aio *aio)
{
	int rc;

	do
		rc = aio_wait(aio);
	while (!rc && (aio->in_flight || aio->held));
	return rc;
}

bool aio_all_idle(const struct aio *aio)
{
	return !aio->in_flight && !aio->held;
}

/* ---- clients and files ---- */

void aio_add_client(struct aio *aio, struct aio_client *client)
{
	*client = (struct aio_client){ .aio = aio };
	list_init(&client->for_bounce);
	list_init(&client->for_turn);
	list_init(&client->todo);
	pthread_mutex_lock(&aio->lock);
	link_client(aio, client);
	aio->nr_clients++;
	count_spare(aio);
	pthread_mutex_unlock(&aio->lock);
}

void aio_remove_client(struct aio_client *client)
{
	struct aio *aio = client->aio;

	if (!aio)
		return;
	assert(!client->in_flight);
	pthread_mutex_lock(&aio->lock);
	unlink_client(aio, client);
	aio->nr_clients--;
	count_spare(aio);
	pthread_mutex_unlock(&aio->lock);
	free(client->bounce_memory);
	client->aio = NULL;
}

/* Memory that is not used is never touched. */
static int create_bounces(struct aio_client *client)
{
	client->bounce_memory = aligned_alloc(4096, AIO_NR_BOUNCES * BOUNCE_BYTES);
	if (!client->bounce_memory)
		return -ENOMEM;
	while (client->nr_bounces < AIO_NR_BOUNCES) {
		client->bounces[client->nr_bounces] =
			client->bounce_memory + client->nr_bounces * BOUNCE_BYTES;
		client->nr_bounces++;
	}
	return 0;
}

static void register_file(struct aio *aio, struct aio_file *file)
{
	for (int i = 0; aio->fixed_files && i < (int)MAX_FILES && file->index < 0; i++) {
		if (aio->files_used >> i & 1)
			continue;
		if (io_uring_register_files_update(&aio->ring, (unsigned int)i, &file->fd, 1) < 0)
			return;
		aio->files_used |= 1ull << i;
		file->index = i;
	}
}

int aio_add_file(struct aio_client *client, struct aio_file *file, int fd, uint32_t align)
{
	struct statfs fs;

	file->fd = fd;
	file->client = client;
	file->index = -1;
	file->align = align;
	file->in_memory = !fstatfs(fd, &fs) && fs.f_type == TMPFS_MAGIC;
	if (align > 1 && !client->bounce_memory && create_bounces(client))
		return -ENOMEM;
	register_file(client->aio, file);
	return 0;
}

void aio_use_file(struct aio_client *client, struct aio_file *file, int fd)
{
	*file = (struct aio_file){ .fd = fd, .client = client, .index = -1, .align = 1 };
}

void aio_remove_file(struct aio_file *file)
{
	struct aio *aio;
	int none = -1;

	if (file->index < 0)
		return;
	aio = file->client->aio;
	io_uring_register_files_update(&aio->ring, (unsigned int)file->index, &none, 1);
	aio->files_used &= ~(1ull << file->index);
	file->index = -1;
}

static int start_engine(struct aio *aio, enum aio_engine engine, unsigned int depth)
{
	int rc = -ENOSYS;

#ifdef SANDBOX_HOOK /* tests/lib/hook.c wants to try the threads */
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
	aio->done_fd = aio->watch = aio->retry_timer = aio->news_fd = -1;
	aio->submit = (struct event_deferred){ .fn = submit_batch, .arg = aio };
	pthread_mutex_init(&aio->lock, NULL);
	pthread_cond_init(&aio->work, NULL);
	list_init(&aio->for_ring);
	list_init(&aio->done);
	rc = start_engine(aio, engine, depth);
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
	if (aio->retry_timer >= 0)
		event_remove(aio->loop, aio->retry_timer);
	if (aio->uring) {
		/* Now, not when the kernel gets round to it: file systems can be unmounted. */
		io_uring_unregister_files(&aio->ring);
		io_uring_queue_exit(&aio->ring);
	}
	if (aio->done_fd >= 0)
		close(aio->done_fd);
	pthread_cond_destroy(&aio->work);
	pthread_mutex_destroy(&aio->lock);
	free(aio->workers);
	free(aio);
}
