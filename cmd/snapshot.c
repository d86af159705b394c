// SPDX-License-Identifier: GPL-2.0-only
/*
 * `lkvm snapshot NAME DIR [--stop]`: asks a VM for its snapshot and writes the file.
 *
 * The directory is locked meanwhile. The file has no name, or a hidden one, until it is complete and on
 * the disk; then it takes the place of an older one at once. Whatever happens before, the older one is
 * whole and the VM runs on: one that is to end waits until it is told that all is well. It does not wait
 * for ever: if it did not any more when it was told, the older one is put back.
 *
 * Sources: O_TMPFILE in open(2), linkat(2), flock(2), fsync(2); unix_release_sock() of Linux (ECONNRESET:
 * the other end was closed before all was read).
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/receive.h"
#include "control/registry.h"
#include "io.h"
#include "log.h"
#include "snapshot-file.h"
#include "util.h"

#define SNAPSHOT_END_NS 15000000000ull /* for its disks */
#define GONE_NS		1000000000ull  /* for a process that was killed */
#define HIDDEN_NAME	"." SNAPSHOT_NAME ".new"
#define OLD_NAME	"." SNAPSHOT_NAME ".old"

struct snapshot_command {
	const char *name, *path;
	bool stop;
};

/* -1 to go on, or the exit status. */
static int take_arguments(struct snapshot_command *s, int argc, char **argv)
{
	static const struct option options[] = {
		{ "stop", no_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	opterr = 0;
	optind = 0;
	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (option == 'h')
			return help_print("snapshot");
		if (option != 's') {
			log_error("option %s: unknown\n`lkvm help snapshot` lists the options.", argv[optind - 1]);
			return EXIT_LKVM;
		}
		s->stop = true;
	}
	if (argc - optind != 2) {
		log_error("snapshot: needs the name of a VM and a directory\n`lkvm help snapshot` tells more.");
		return EXIT_LKVM;
	}
	s->name = argv[optind];
	s->path = argv[optind + 1];
	return -1;
}

static int refuse_directory(const struct snapshot_command *s, int error)
{
	log_error("snapshot: %s: %s", s->path,
		  error == -EWOULDBLOCK ? "another snapshot is being written there" : strerror(-error));
	return error;
}

/* The directory, locked, and a file in it that nobody can see. 0 or -errno, after a message. */
static int open_snapshot_file(const struct snapshot_command *s, struct vmcore_file *f)
{
	struct stat st;
	int rc = 0;

	*f = (struct vmcore_file){ .dir = -1, .fd = -1, .name = SNAPSHOT_NAME, .between = HIDDEN_NAME };
	if (mkdir(s->path, 0700) && errno != EEXIST)
		return refuse_directory(s, -errno);
	f->dir = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (f->dir < 0)
		return refuse_directory(s, -errno);
	if (flock(f->dir, LOCK_EX | LOCK_NB))
		rc = -errno;
	else if (!fstatat(f->dir, SNAPSHOT_NAME, &st, AT_SYMLINK_NOFOLLOW) && !S_ISREG(st.st_mode))
		rc = -EEXIST;
	if (!rc) {
		unlinkat(f->dir, HIDDEN_NAME, 0); /* of one that was killed: the lock is ours */
		unlinkat(f->dir, OLD_NAME, 0);
		f->fd = openat(f->dir, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
		if (f->fd < 0) {
			f->fd = openat(f->dir, HIDDEN_NAME, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
			rc = f->fd < 0 ? -errno : 0;
			strcpy(f->hidden, rc ? "" : HIDDEN_NAME);
		}
	}
	if (rc) {
		refuse_directory(s, rc);
		vmcore_file_close(f);
	}
	return rc;
}

/* ---- one that is to end with it ---- */

/* What was there keeps a second name. 0, -ENOENT: nothing was; another -errno: it cannot have one. */
static int keep_old(const struct vmcore_file *f)
{
	return linkat(f->dir, SNAPSHOT_NAME, f->dir, OLD_NAME, 0) ? -errno : 0;
}

/* The older one again, or none. 0 or -errno. */
static int put_old_back(const struct vmcore_file *f, int kept)
{
	if (kept ? unlinkat(f->dir, SNAPSHOT_NAME, 0) : renameat(f->dir, OLD_NAME, f->dir, SNAPSHOT_NAME))
		return -errno;
	return fsync(f->dir) ? -errno : 0;
}

static bool vm_has_hung_up(const struct receive *r)
{
	struct pollfd p = { .fd = r->socket, .events = POLLIN };

	return poll_fds(&p, 1, 0) > 0;
}

/* Of one that has hung up: its process is there, so it runs. */
static bool vm_goes_on(const struct receive *r)
{
	return !registry_wait(r->vm, now_ns() + GONE_NS);
}

/* One that is to end with it does so now, or goes on. */
static bool tell_vm(const struct receive *r, int32_t rc)
{
	return socket_send(r->socket, &rc, sizeof(rc)) == sizeof(rc);
}

/* False: it has hung up without a look at what it was told. One that does neither may be stopped itself. */
static bool vm_has_taken_word(const struct receive *r)
{
	struct pollfd p = { .fd = r->socket, .events = POLLIN };
	char more;
	int n;

	do
		n = poll_fds(&p, 1, SNAPSHOT_END_NS / 1000000u);
	while (n < 0 && errno == EINTR);
	return n <= 0 || !socket_recv(r->socket, &more, sizeof(more));
}

static int refuse_late(const struct snapshot_command *s, bool is_back)
{
	log_error("snapshot: %s: it runs on: the file was on the disk too late\n%s", s->name,
		  is_back ? "what was there before is there still; another disk may be faster." :
			    "the file is of that moment, and the older one is gone.");
	return -ECANCELED;
}

static int refuse_to_replace(const struct snapshot_command *s, int error)
{
	log_error("snapshot: %s: the older one cannot be kept there until the VM has ended: %s\n"
		  "remove it, or name another directory.",
		  s->path, strerror(-error));
	return -ECANCELED;
}

/* In its place, for a VM that waits for that; back again if it does not. */
static int commit_and_end(const struct snapshot_command *s, const struct receive *r, struct vmcore_file *f)
{
	int kept, back = 0, rc;
	bool is_late = false;

	if (vm_has_hung_up(r) && vm_goes_on(r))
		return refuse_late(s, true);
	kept = keep_old(f);
	if (kept && kept != -ENOENT)
		return refuse_to_replace(s, kept);
	rc = vmcore_file_commit(f);
	if (!rc) {
		rc = fsync(f->dir) ? -errno : 0;
		is_late = !rc && !(tell_vm(r, 0) && vm_has_taken_word(r)) && vm_goes_on(r);
		if (rc || is_late)
			back = put_old_back(f, kept);
	}
	if (!back)
		unlinkat(f->dir, OLD_NAME, 0);
	if (is_late)
		return refuse_late(s, !back);
	return rc;
}

/* ---- all ---- */

/* On the disk, and in its place. 0 or -errno; -ECANCELED after a message. */
static int commit_snapshot(const struct snapshot_command *s, const struct receive *r, struct vmcore_file *f)
{
	int rc = fsync(f->fd) ? -errno : 0;

	if (rc || s->stop)
		return rc ? rc : commit_and_end(s, r, f);
	rc = vmcore_file_commit(f);
	return rc	     ? rc :
	       fsync(f->dir) ? -errno :
			       0;
}

static int take_snapshot(const struct snapshot_command *s, struct receive *r, struct vmcore_file *f)
{
	int rc = receive_file(r, s->stop ? "{\"v\":1,\"do\":\"snapshot\",\"stop\":true}\n" :
					   "{\"v\":1,\"do\":\"snapshot\"}\n");

	if (rc)
		return EXIT_NOT_DONE;
	if (f->what & VMCORE_LACKS_STATE) {
		log_error("snapshot: %s: its state cannot be saved, and it runs on\n"
			  "what it has said itself tells why.",
			  s->name);
		return EXIT_NOT_DONE;
	}
	rc = commit_snapshot(s, r, f);
	if (rc && rc != -ECANCELED)
		log_error("snapshot: %s: %s", s->path, strerror(-rc));
	if (rc && s->stop)
		tell_vm(r, rc);
	if (!rc && s->stop && !registry_wait(r->vm, now_ns() + SNAPSHOT_END_NS)) {
		log_error("snapshot: %s: it is saved, and does not end\nits process is %d.", s->name, r->vm->pid);
		return EXIT_NOT_DONE;
	}
	return rc ? EXIT_NOT_DONE : EXIT_OK;
}

static int make_snapshot(const struct snapshot_command *s, const struct registry_vm *vm)
{
	struct receive *r = malloc(sizeof(*r));
	struct vmcore_file file;
	int status = EXIT_NOT_DONE;

	if (!r) {
		log_enomem("snapshot");
		return EXIT_LKVM;
	}
	receive_begin(r, "snapshot", vm, s->path, &file);
	if (!open_snapshot_file(s, &file)) {
		status = take_snapshot(s, r, &file);
		vmcore_file_close(&file);
	}
	receive_end(r);
	free(r);
	return status;
}

int cmd_snapshot(int argc, char **argv, uint64_t start_ns)
{
	struct snapshot_command s = { 0 };
	struct registry registry = REGISTRY_CLOSED;
	struct registry_vm vm;
	char text[LOG_NAME_BYTES];
	int status = take_arguments(&s, argc, argv), rc;

	(void)start_ns;
	if (status >= 0)
		return status;
	assert(s.name && s.path);
	rc = registry_open(&registry, false);
	if (!rc)
		rc = registry_find(&vm, &registry, s.name);
	if (rc) {
		log_error("%s: no such VM\n`lkvm list` shows those that run.",
			  log_name(text, sizeof(text), s.name));
		status = EXIT_LKVM;
	} else {
		status = make_snapshot(&s, &vm);
		registry_forget(&vm);
	}
	registry_close(&registry);
	return status;
}
