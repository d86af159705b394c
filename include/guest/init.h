/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Between the files that the guest's first process is built of. One thread; a step that fails does
 * not return.
 */
#ifndef LKVM_GUEST_INIT_H
#define LKVM_GUEST_INIT_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "guest/protocol.h"

#define INIT_MAX_NETWORKS 31u

/* A tree that is to be mounted. */
struct init_mount {
	struct protocol_mount what;
	char path[PATH_MAX];
};

/* What lkvm has asked for. */
struct init_plan {
	unsigned int nr_mounts;
	struct init_mount *mounts[PROTOCOL_MAX_MOUNTS];
	unsigned int nr_networks;
	struct protocol_network networks[INIT_MAX_NETWORKS];
	char **arguments, **environment; /* end with NULL */
	size_t nr_arguments, nr_environment, string_bytes;
	char *directory; /* or NULL */
	bool directory_needed;
	char *user;	/* or NULL: root */
	char *hostname; /* or NULL */
	char *results;	/* or NULL */
	bool has_terminal;
	struct protocol_size size;
	bool is_container;
	bool is_member; /* of another container than the first one */
	struct protocol_credentials credentials;
	struct init_seccomp *seccomp; /* or NULL */
	size_t nr_steps;
	struct init_step *steps[PROTOCOL_MAX_STEPS];
	unsigned int nr_volumes;
	struct protocol_volume volumes[PROTOCOL_MAX_VOLUMES];
};

/* ---- init.c ---- */

/* Says on the control port, if there is one yet, and on the console what failed, and switches off. */
__attribute__((noreturn, format(printf, 1, 2))) void init_fail(const char *fmt, ...);
__attribute__((format(printf, 1, 2))) void init_notice(const char *fmt, ...);

uint64_t init_now_ms(void);

/* Sends a message on the control port. */
void init_tell(uint32_t kind, const void *payload, size_t bytes);

/*
 * Makes what a command has as stdin, stdout and stderr: @ends, and @ours for the other side of each, all
 * closed at execve(2). With a terminal ours[0] is its master, ours[1] the same, ours[2] is -1. 0 or errno.
 */
int init_open_streams(bool terminal, const struct protocol_size *size, int ours[3], int ends[3]);

/*
 * What a command's process tells by: errno of what fails, or its end, when the program runs; with
 * @own_terminal before that a terminal. 0 or errno.
 */
int init_open_report(bool own_terminal, int report[2]);

/*
 * As read(2): *error is there, or if terminal[0] is not -1, the master and the other side of a
 * terminal, ours to close.
 */
ssize_t init_take_report(int report, bool own_terminal, int *error, int terminal[2]);

/* Adds a copy of @text to a list that ends with NULL. */
void init_add_text(char ***list, size_t *nr, const char *text);

/*
 * In a process of its own, first of all: from now on what fails is said on the command's stderr, and ends it only,
 * with ECHILD on @report (-1: none).
 */
void init_leave(const int ends[3], int report);

/*
 * Then: becomes @plan's command. With @report errno of what fails is written there; otherwise it is said, and
 * the status is a shell's. @error has failed before.
 */
__attribute__((noreturn)) void init_be_command(const struct init_plan *plan, const int ends[3], int report, int error);

/* ---- init-exec.c: commands beside the first one ---- */

#define INIT_EXEC_POLLS (4 * PROTOCOL_MAX_SESSIONS)
#define INIT_STEP_MS	10 /* ... and how long at most, if one of them is about to leave or to stop */

struct pollfd;

/* A message of theirs. */
void init_exec_hear(unsigned int session, uint32_t kind, const char *payload, size_t bytes);

/* What to wait for, up to INIT_EXEC_POLLS: how many. After it, whatever came: init_exec_turn(). */
unsigned int init_exec_poll(struct pollfd *p);
bool init_exec_is_due(void); /* not longer than INIT_STEP_MS */
void init_exec_turn(void);

/* A process has ended; it may be one of theirs. */
void init_exec_reap(pid_t pid, int status);

/* ---- init-setup.c ---- */

/* /proc, /sys and /dev of the initramfs; the drivers that came along, in their order. */
void init_mount_kernel(void);
void init_load_drivers(void);

/* The port's device, opened; waits for it. */
int init_open_port(const char *name, int flags);

/* Makes the root, with all that is mounted in it, and goes there. */
void init_make_root(const struct init_plan *plan);

/* In a mount namespace of its own: leaves all that is seen for what is on the disk, and @plan's volumes, and goes there. */
void init_make_own_root(const char serial[20], unsigned int nr_dirs, const struct init_plan *plan);

/* In init itself: what containers that name it share is there. 0 or errno; EINVAL: it is none. */
int init_make_volume(const struct protocol_volume *v);

/* The device of a disk, by its number; false if there is none. */
bool init_find_disk(const char serial[20], char path[80]);

/* Addresses of "lo" and of cards. */
void init_set_networks(const struct init_plan *plan);

/* ---- init-container.c ---- */

/* A step, as lkvm sent it, with a NUL behind it. */
struct init_step {
	struct protocol_step what;
	size_t bytes;
	char texts[];
};

void init_add_step(struct init_plan *plan, const char *payload, size_t bytes);
void init_add_volume(struct init_plan *plan, const char *payload, size_t bytes);
void init_set_credentials(struct init_plan *plan, const char *payload, size_t bytes);

/* In the container's process: all steps, in their order. */
void init_take_steps(const struct init_plan *plan);

/* What system calls they may make. */
struct init_seccomp {
	uint32_t flags;
	uint16_t nr;
	void *program;
};

void init_set_seccomp(struct init_plan *plan, const char *payload, size_t bytes);

/* Last of all before execve(2). 0 or errno. */
int init_become(const struct init_plan *plan);

/* The container's first process has been made: what others need to get into it is opened. */
void init_keep_spaces(pid_t first);

/* Namespaces of a container: descriptors; -1: there is none. */
struct init_spaces {
	int pids, mounts, ipc, name;
};

#define INIT_NO_SPACES \
	{ \
		-1, -1, -1, -1 \
	}

/* False if @first has ended already: then it has none. */
bool init_open_spaces(struct init_spaces *s, pid_t first);
void init_close_spaces(struct init_spaces *s);

/* The first container's. */
const struct init_spaces *init_first_spaces(void);

/*
 * fork(2), into the processes of a container, if that is one; with CLONE_NEW... @new. -1 with errno: once its first
 * process has ended there can be no other (ENOMEM).
 */
pid_t init_fork_into(const struct init_spaces *s, unsigned long new);

/* In such a process: into all else of the container, if it is one, and its control group. 0 or errno. */
int init_enter(const struct init_spaces *s, const char *group);

/* ---- init-member.c: containers beside the first one ---- */

/* Its first process: what it has of its own is as @in says. -1 with errno. */
pid_t init_fork_member(const struct protocol_in *in);

/* In that process, after init_leave(): its namespaces and its root, from the disk. */
void init_make_member(const struct protocol_in *in, const struct protocol_disk *disk, const struct init_plan *plan);

/* The name of its control group, which may not be there. */
#define INIT_GROUP_BYTES (sizeof(PROTOCOL_GROUP) + PROTOCOL_NAME_BYTES)
void init_name_group(char group[INIT_GROUP_BYTES], const char *name);

/* Its control group stops, or goes on: 0 or errno. It has stopped when init_is_frozen(): 1, 0 (not yet) or -errno. */
int init_freeze(const char *name, bool on);
int init_is_frozen(const char *name);

/* Signals all of its processes but the first. */
void init_signal_all(const struct init_spaces *s, int signal);

/* After its first process has ended: ends what is left, and looks whether its disk is not in use any more. */
bool init_has_left(const struct protocol_in *in, const struct protocol_disk *disk);

/* ---- init-user.c ---- */

#define INIT_LINE_BYTES 32768u
#define INIT_NAME_BYTES 256u
#define INIT_MAX_GROUPS 64u

/* Lines of a file; longer ones are left out. */
struct init_lines {
	int fd; /* its user closes it */
	size_t at, until;
	bool ended;
	bool too_long; /* what comes is the rest of such a line */
	char data[INIT_LINE_BYTES + 1];
};

bool init_open_lines(struct init_lines *l, const char *path);
/* False at the end. *line is good until the next call. */
bool init_next_line(struct init_lines *l, char **line);

struct init_user {
	uid_t uid;
	gid_t gid;
	char name[INIT_NAME_BYTES], home[PATH_MAX], shell[PATH_MAX];
	bool is_known;	  /* it stands in /etc/passwd */
	bool group_given; /* by lkvm: it has no other */
};

/* @asked: USER[:GROUP] as names or numbers, or NULL for root. */
void init_find_user(const char *asked, struct init_user *u);

/* All groups that it is in; 0: none but its own. */
unsigned int init_find_groups(const struct init_user *u, gid_t groups[INIT_MAX_GROUPS]);

/* ---- init-tar.c ---- */

/*
 * Writes what is below @dir as a tar archive by @put, which returns 0 or -errno. 0 or -errno.
 */
int init_tar_write(int dir, int (*put)(void *arg, const void *data, size_t bytes), void *arg);

#endif
