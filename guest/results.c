// SPDX-License-Identifier: GPL-2.0-only
/*
 * --out (guest/results.h): the process that unpacks, and how the event loop talks to it.
 *
 * Over a socket for messages go pieces of the stream, each with a byte in front that says what it is, and
 * back comes one number, when all is done or something is wrong. The kernel's buffer for the socket is all that
 * is under way: what does not fit stays in the guest. The process waits for messages and nothing else; that
 * the other side is gone is the end of the file.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "event.h"
#include "guest/results-move.h"
#include "guest/results-tar.h"
#include "guest/results.h"
#include "io.h"
#include "log.h"
#include "sandbox/helper.h"
#include "sandbox/sandbox.h"
#include "util.h"

#define PIECE_BYTES  32768u
#define PATIENCE_MS  3000u
#define TURN_NS	     30000000000ull /* for others that move their results to the same place */
#define TURN_LOOK_MS 10
#define ORDER_DATA   'd'
#define ORDER_COMMIT 'c'
#define ORDER_ABORT  'a'

struct results {
	int socket; /* -1: the process has been left */
	int error;  /* what results_put() has to say; 0 */
	struct event_loop *loop;
	int watch;	 /* -1 */
	bool is_waiting; /* for room */
	bool is_over;	 /* it has answered, or is gone */
	bool commits, commit_sent;
	void (*wake)(void *arg);
	void *wake_arg;
	void (*done)(void *arg, int error);
	void *done_arg;
	struct event_deferred deferred; /* what is over before @done was known */

	/* In the process: */
	struct sandbox *sandbox;
	const char *path;
	int dir;	  /* the user's */
	int above;	  /* what that is in, if it was made; -1 */
	const char *last; /* its name there */
	char hidden[sizeof(RESULTS_HIDDEN) + 16];
	struct timespec time_before, time_after; /* of @dir, when the hidden one was made */
};

/* ---- the process ---- */

/* A directory in the hidden one. */
static int make_dir(int in, const char *name)
{
	int fd;

	if (mkdirat(in, name, 0700))
		return -errno;
	fd = openat(in, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Takes the stream until it is complete: 0. -ECANCELED if nobody wants it any more, or -errno. */
static int take_stream(int socket, struct results_tar *rt)
{
	uint8_t message[1 + PIECE_BYTES];

	for (;;) {
		ssize_t n = read(socket, message, sizeof(message));
		int rc = 0;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || message[0] == ORDER_ABORT)
			return -ECANCELED;
		if (message[0] == ORDER_COMMIT)
			return results_tar_end(rt);
		if (message[0] == ORDER_DATA)
			rc = results_tar_feed(rt, message + 1, (size_t)n - 1);
		if (rc)
			return rc;
	}
}

/*
 * Two that move into one directory at once would undo each other's moves. 0: it is ours until this process ends, or
 * its file system has no such locks; -ECANCELED: nobody wants the results any more; -EBUSY after a message.
 */
static int wait_for_turn(const struct results *r, int socket)
{
	const uint64_t end = now_ns() + TURN_NS;
	struct pollfd order = { .fd = socket, .events = POLLIN };

	while (flock(r->dir, LOCK_EX | LOCK_NB)) {
		if (errno != EWOULDBLOCK)
			return 0;
		if (poll_fds(&order, 1, TURN_LOOK_MS) > 0)
			return -ECANCELED;
		if (now_ns() >= end) {
			log_error("out: %s: another process has it locked", r->path);
			return -EBUSY;
		}
	}
	return 0;
}

/* 0: everything is in the user's directory. -errno: nothing is. */
static int receive_all(const struct results *r, int socket, int hidden)
{
	int new = make_dir(hidden, "new"), old = make_dir(hidden, "old");
	struct results_tar *rt = NULL;
	int rc = new < 0 ? new :
		 old < 0 ? old :
			   results_tar_create(&rt, new);

	if (rc)
		log_error("out: %s: %s", r->path, strerror(-rc));
	if (!rc)
		rc = take_stream(socket, rt);
	results_tar_destroy(rt);
	if (!rc)
		rc = wait_for_turn(r, socket);
	if (!rc)
		rc = results_move(new, r->dir, old);
	if (new >= 0)
		close(new);
	if (old >= 0)
		close(old);
	return rc;
}

static struct timespec time_of_dir(int dir)
{
	struct stat st = { .st_mtim.tv_nsec = UTIME_OMIT };

	fstat(dir, &st);
	return st.st_mtim;
}

/* The user's directory is then as old as before, if nothing else was done to it. */
static void remove_hidden(const struct results *r, int hidden)
{
	const struct timespec now = time_of_dir(r->dir);
	const struct timespec times[] = { { .tv_nsec = UTIME_OMIT }, r->time_before };
	int rc = results_remove_below(hidden);

	if (!rc && unlinkat(r->dir, r->hidden, AT_REMOVEDIR))
		rc = -errno;
	if (rc)
		log_error("out: %s/%s: cannot be removed: %s", r->path, r->hidden, strerror(-rc));
	if (!memcmp(&now, &r->time_after, sizeof(now)))
		futimens(r->dir, times);
}

static int confine_results(const struct results *r)
{
	const struct sandbox_folder folders[] = {
		{ r->dir, SANDBOX_READ | SANDBOX_WRITE },
		{ r->above, SANDBOX_REMOVE_DIRS },
	};
	int rc = sandbox_keep_folders(r->sandbox, folders, r->above < 0 ? 1 : 2);

	return rc ? rc : sandbox_confine_helper(r->sandbox, SANDBOX_RESULTS);
}

static void results_serve(int socket, void *arg)
{
	const struct results *r = arg;
	int32_t answer = confine_results(r);
	int hidden = openat(r->dir, r->hidden, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (!answer && hidden < 0) {
		answer = -errno;
		log_error("out: %s/%s: %s", r->path, r->hidden, strerror(errno));
	}
	if (!answer)
		answer = receive_all(r, socket, hidden);
	if (hidden >= 0)
		remove_hidden(r, hidden);
	if (answer && r->above >= 0)
		unlinkat(r->above, r->last, AT_REMOVEDIR);
	socket_send(socket, &answer, sizeof(answer));
}

/* ---- starting it ---- */

/* What @path is in, and its last component, without slashes at its end. -1 if that is all there is. */
static int open_above(const char *path, char **last)
{
	char *copy = strdup(path), *slash;
	size_t n = copy ? strlen(copy) : 0;
	int fd;

	*last = NULL;
	while (n > 1 && copy[n - 1] == '/')
		copy[--n] = '\0';
	slash = copy ? strrchr(copy, '/') : NULL;
	if (slash)
		*slash = '\0';
	*last = copy ? strdup(slash ? slash + 1 : copy) : NULL;
	fd = *last ? open(!slash ? "." :
			  *copy	 ? copy :
				   "/",
			  O_PATH | O_DIRECTORY | O_CLOEXEC) :
		     -1;
	free(copy);
	return fd;
}

/* The user's directory, and what it is in if it has been made here. */
static int open_place(struct results *r)
{
	char *last;

	r->dir = open(r->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r->dir >= 0 || errno != ENOENT)
		return r->dir < 0 ? -errno : 0;
	r->above = open_above(r->path, &last);
	r->last = last;
	if (r->above < 0)
		return last ? -errno : -ENOMEM;
	if (mkdirat(r->above, last, 0777))
		return -errno;
	r->dir = openat(r->above, last, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return r->dir < 0 ? -errno : 0;
}

static void close_place(struct results *r)
{
	if (r->dir >= 0)
		close(r->dir);
	if (r->above >= 0)
		close(r->above);
	r->dir = r->above = -1;
	free((char *)(uintptr_t)r->last);
	r->last = NULL;
}

static int make_hidden(struct results *r)
{
	uint64_t random;
	int rc = random_bytes(&random, sizeof(random));

	snprintf(r->hidden, sizeof(r->hidden), RESULTS_HIDDEN "%016llx", (unsigned long long)random);
	r->time_before = time_of_dir(r->dir);
	if (!rc && mkdirat(r->dir, r->hidden, 0700))
		rc = -errno;
	r->time_after = time_of_dir(r->dir);
	return rc;
}

static int start_unpacking(struct results *r)
{
	const int fds[] = { r->dir, r->above };

	r->socket = helper_start("results", results_serve, r, fds, r->above < 0 ? 1 : 2);
	if (r->socket >= 0)
		return 0;
	unlinkat(r->dir, r->hidden, AT_REMOVEDIR);
	return r->socket;
}

int results_create(struct results **out, const char *path, struct sandbox *sandbox)
{
	struct results *r = calloc(1, sizeof(*r));
	int rc;

	*out = NULL;
	if (!r)
		return log_enomem("out");
	r->socket = r->watch = r->dir = r->above = -1;
	r->path = path;
	r->sandbox = sandbox;
	rc = open_place(r);
	if (!rc)
		rc = make_hidden(r);
	if (!rc)
		rc = start_unpacking(r);
	if (rc) {
		log_error("out: %s: %s\n--out takes a directory that you can write to.", path, strerror(-rc));
		if (r->above >= 0 && r->dir >= 0)
			unlinkat(r->above, r->last, AT_REMOVEDIR);
	}
	close_place(r);
	if (rc)
		free(r);
	else
		*out = r;
	return rc;
}

/* ---- the loop's side ---- */

static void end_watch(struct results *r)
{
	if (r->watch >= 0)
		event_remove(r->loop, r->watch);
	r->watch = -1;
}

static void tell_owner(struct results *r)
{
	void (*done)(void *arg, int error) = r->done;

	r->done = NULL;
	if (done)
		done(r->done_arg, r->error);
	else if (r->wake && !r->commits)
		r->wake(r->wake_arg);
}

/* It is over: with a number, or because the process is gone, which it does not do by itself. */
static void take_answer_of_process(struct results *r)
{
	int32_t answer = 0;
	ssize_t n = socket_recv(r->socket, &answer, sizeof(answer));

	/* It has ended without reading all it was sent, which is said once and before its answer. */
	if (n < 0 && errno == ECONNRESET)
		n = socket_recv(r->socket, &answer, sizeof(answer));
	if (r->is_over || (n < 0 && errno == EAGAIN))
		return;
	r->is_over = true;
	if (n == sizeof(answer) && answer <= 0 && (!answer || answer >= -4095)) {
		r->error = answer;
		return;
	}
	r->error = -EPIPE;
	log_error("out: the process that unpacks has been lost");
}

static void update_watch_of_results(struct results *r)
{
	if (r->watch >= 0)
		event_modify(r->loop, r->watch, EPOLLIN | (r->is_waiting ? EPOLLOUT : 0));
}

/* False if there is no room. */
/* It takes no more: it has ended and said why, or this host cannot send (@error). */
static void results_give_up(struct results *r, int error)
{
	take_answer_of_process(r);
	if (r->is_over)
		return;
	r->is_over = true;
	r->error = error;
	log_error("out: the process that unpacks: %s", strerror(-error));
}

static bool send_message(struct results *r, char order, const void *data, size_t bytes)
{
	const struct iovec iov[] = { { &order, 1 }, { (void *)(uintptr_t)data, bytes } };
	bool was_waiting = r->is_waiting;
	ssize_t n = socket_send_iov(r->socket, iov, 2);

	r->is_waiting = n < 0 && (errno == EAGAIN || errno == ENOBUFS);
	if (r->is_waiting != was_waiting)
		update_watch_of_results(r);
	if (n < 0 && !r->is_waiting)
		results_give_up(r, -errno);
	return n > 0;
}

static void results_on_event(void *arg, uint32_t events)
{
	struct results *r = arg;
	bool had_waited = r->is_waiting;

	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		take_answer_of_process(r);
	if (r->is_over) {
		end_watch(r);
		tell_owner(r);
		return;
	}
	if (!(events & EPOLLOUT) || !had_waited)
		return;
	r->is_waiting = false;
	update_watch_of_results(r);
	if (r->commits)
		r->commit_sent = r->commit_sent || send_message(r, ORDER_COMMIT, NULL, 0);
	else
		r->wake(r->wake_arg);
}

static void results_on_late(void *arg)
{
	tell_owner(arg);
}

int results_watch(struct results *r, struct event_loop *loop, void (*wake)(void *arg), void *arg)
{
	r->loop = loop;
	r->wake = wake;
	r->wake_arg = arg;
	r->deferred = (struct event_deferred){ .fn = results_on_late, .arg = r };
	r->watch = event_add(loop, r->socket, EPOLLIN, results_on_event, r);
	return r->watch < 0 ? r->watch : 0;
}

ssize_t results_put(struct results *r, const void *data, size_t bytes)
{
	size_t n = min_u64(bytes, PIECE_BYTES);

	assert(bytes && !r->commits);
	if (!r->is_over && r->socket >= 0 && send_message(r, ORDER_DATA, data, n))
		return (ssize_t)n;
	if (r->socket < 0)
		return -ECANCELED;
	return r->is_over ? (r->error ? r->error : -EPIPE) : -EAGAIN;
}

void results_commit(struct results *r, void (*done)(void *arg, int error), void *arg)
{
	r->commits = true;
	r->done = done;
	r->done_arg = arg;
	if (r->socket < 0)
		r->error = -ECANCELED;
	else if (!r->is_over)
		r->commit_sent = send_message(r, ORDER_COMMIT, NULL, 0);
	if (r->socket < 0 || r->is_over)
		event_defer(r->loop, &r->deferred);
}

void results_abort(struct results *r)
{
	if (r->socket < 0)
		return;
	end_watch(r);
	if (r->loop)
		event_undefer(r->loop, &r->deferred);
	r->done = NULL;
	r->is_over = true;
	r->error = r->error ? r->error : -ECANCELED;
	if (helper_call(r->socket, ORDER_ABORT))
		return;
	close(r->socket); /* has the same meaning */
	r->socket = -1;
}

void results_destroy(struct results *r)
{
	if (!r)
		return;
	results_abort(r);
	if (r->socket >= 0 && !helper_end(r->socket, ORDER_ABORT, PATIENCE_MS))
		log_error("out: %s/%s: it will be removed when its file system answers", r->path, r->hidden);
	free(r);
}
