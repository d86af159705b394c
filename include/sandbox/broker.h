/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What has to be done with names of files while a guest runs and when it has ended, and
 * what the VM's own process, which sees no files any more, cannot do: the console log is
 * opened again on request (log rotation), sockets are removed and passt is waited for at the
 * end. A process
 * beside the VM (sandbox/helper.h) does it, if there is anything to do; which files these are is
 * settled when it starts. It removes the sockets even if lkvm is killed.
 *
 * All functions: the main thread.
 */
#ifndef LKVM_SANDBOX_BROKER_H
#define LKVM_SANDBOX_BROKER_H

#include <stdbool.h>
#include <sys/types.h>

#include "socket-name.h"

struct event_loop;
struct sandbox;

#define BROKER_MAX_SOCKETS  64u
#define BROKER_MAX_CHILDREN 32u

struct broker {
	int helper;	      /* -1: none */
	const char *log_path; /* or NULL; lent, as all of them */
	struct socket_name sockets[BROKER_MAX_SOCKETS];
	unsigned int nr_sockets;
	pid_t children[BROKER_MAX_CHILDREN];
	unsigned int nr_children;
	struct sandbox *sandbox;
	/* What is asked of it while the loop runs. */
	struct event_loop *loop;
	int watch; /* of the helper; -1: it is not there */
	void (*opened)(void *arg, int fd);
	void *opened_arg;
	bool asked, asked_again;
};

void broker_init(struct broker *k, const char *log_path);

/* @name, if there is one, is removed at the end from now on. Before broker_start(). */
void broker_add_socket(struct broker *k, struct socket_name name);

/* @child, if it is not 0, is waited for at the end, and killed if it does not end soon. */
void broker_add_child(struct broker *k, pid_t child);

/* There is something to do for it. */
bool broker_is_needed(const struct broker *k);

/* Before sandbox_enter(). 0 or -errno, after a message; the sockets are removed then, too. */
int broker_start(struct broker *k, struct sandbox *sandbox);

/*
 * @opened is called on the loop's thread with what comes of broker_reopen_log(): a descriptor, which
 * is its own then, or -errno. After broker_start(). 0 or -errno.
 */
int broker_watch(struct broker *k, struct event_loop *loop, void (*opened)(void *arg, int fd),
		 void *arg);

/* Has the log's file opened again, made if it is not there. Does not wait. */
void broker_reopen_log(struct broker *k);

/*
 * All that was said above about the end. Waits for it, and says so if it takes too long. The loop
 * does not run any more.
 */
void broker_stop(struct broker *k);

#endif
