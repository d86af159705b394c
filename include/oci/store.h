/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where containers are written down: a directory (--root) with one for each container.
 *
 *	ID/lock		locked (flock(2)) by a command that changes something
 *	ID/record	one object of JSON, replaced as a whole: what is told of the container
 *	ID/socket	its holder's (oci/holder.h)
 *
 * A directory without a record is what a create has left that was killed: the next one takes it over. It writes
 * down what it makes before it makes more, so that whoever comes later can remove it.
 * Processes are named by number and start time, so that another one of the same number is none of ours.
 *
 * Main thread. Errors are -errno, without a message.
 */
#ifndef LKVM_OCI_STORE_H
#define LKVM_OCI_STORE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define STORE_MAX_ID_BYTES 128u

struct store_process {
	pid_t pid;	/* 0: none */
	uint64_t start; /* proc(5): starttime */
};

struct store_record {
	char bundle[PATH_MAX];
	char cgroup[PATH_MAX];		      /* "": none */
	bool cgroup_made;		      /* by us, who remove it; it was not there before */
	bool cgroup_scope;		      /* by systemd, who removes it when it is empty */
	char network[PATH_MAX];		      /* a namespace with interfaces of ours; "": none */
	char sandbox[STORE_MAX_ID_BYTES + 1]; /* the container in whose VM it is; "": it has its own */
	struct store_process holder, vm;      /* vm: or who moves its streams to that one */
	bool creating;			      /* create is at it, or was killed: processes may be missing */
	bool started, paused;		      /* as it was when it was written; the holder knows */
};

struct store_container {
	int root, dir, lock; /* -1: not open */
	char id[STORE_MAX_ID_BYTES + 1];
};

#define STORE_NO_CONTAINER \
	{ \
		.root = -1, .dir = -1, .lock = -1 \
	}

/* Letters, digits, '_', '+', '-' and '.'; not "." or "..". */
bool store_is_id(const char *id);

/* Whether this is root in the host's own user namespace. Rootless engines have one in which they are root, too. */
bool store_is_hosts_root(void);

/*
 * The directory for --root @given, or without: /run/lkvm-oci for the host's root, and lkvm-oci in
 * $XDG_RUNTIME_DIR for others. 0, -ENOENT if there is none, or -ENAMETOOLONG.
 */
int store_choose_root(const char *given, char path[PATH_MAX]);

/* A new one, locked. 0; -EEXIST: there is one; -EBUSY: for STORE_LOCK_NS another has had its lock. */
int store_create(struct store_container *c, const char *root, const char *id);

/* One that is there. With @lock: waits STORE_LOCK_NS for others at most (-EBUSY). -ENOENT: it is not. */
#define STORE_LOCK_NS 10000000000ull
int store_find(struct store_container *c, const char *root, const char *id, bool lock);

/* Locked, within @ns. */
int store_find_within(struct store_container *c, const char *root, const char *id, uint64_t ns);

/* -EFBIG: it is longer than store_load() would take. */
int store_save(const struct store_container *c, const struct store_record *r);

/* -ENOENT: there is no record (yet). -EINVAL: it cannot be read. */
int store_load(const struct store_container *c, struct store_record *r);

/* All of it. */
int store_remove(struct store_container *c);

void store_close(struct store_container *c);

struct store_process store_process_of(pid_t pid);

/* It is there, and not only waiting for its parent. */
bool store_is_alive(const struct store_process *p);

/* Its pidfd (pidfd_open(2)), the caller's to close; -1: it is not there any more. */
int store_open_process(const struct store_process *p);

/* Signals it, if it is still that one. */
void store_kill(const struct store_process *p, int signal);

/* Its end, or @ns: false. */
bool store_wait(const struct store_process *p, uint64_t ns);

#endif
