/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The files process: looks at trees of files (disk/tree.h) for the VM's process, which cannot open
 * anything. It can read those trees and do nothing else; a guest that takes over the VM's process
 * can ask it for what is in them, by number, and for no name.
 *
 * One process for all trees of a VM. Questions are answered one after the other, and nobody waits
 * for the answers but the event loop. A host's file system that does not answer keeps the process,
 * not the VM; when the VM is gone it ends, and with lkvm's first process it is killed.
 *
 * All functions: the main thread.
 */
#ifndef LKVM_DISK_FILES_H
#define LKVM_DISK_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "disk/files-message.h"
#include "disk/tree.h"

struct event_loop;
struct files;
struct files_question;
struct sandbox;

/* Called when answers come; those that a kind of question has no use for may be NULL. */
struct files_ops {
	/* LIST: once, before the entries. 0 or -errno: then nothing but done() with that comes. */
	int (*total)(struct files_question *q, const struct files_total *total);
	/* ... 0 or -errno, as above. The name is good, and not compared with the one before. */
	int (*entry)(struct files_question *q, uint32_t number, unsigned int type, const char *name,
		     size_t name_bytes);
	/* STAT: of numbers[index]. The attributes are good (erofs_attr_is_good()). */
	void (*stat)(struct files_question *q, unsigned int index, const struct tree_stat *stat);
	/* OPEN, without an error: who takes the descriptor leaves -1 there. The extents are in order. */
	void (*open)(struct files_question *q, struct tree_data *data);
	/* OPEN, before the others, also with an error: printable. */
	void (*name)(struct files_question *q, const char *name);
	/*
	 * Always, once, and then it is its owner's again. 0, or -errno: of the host, of total() or
	 * entry(), -EPIPE if the process is gone, -ECANCELED.
	 */
	void (*done)(struct files_question *q, int error);
};

/* Embedded in its owner, the connection's from files_ask() to done(). */
struct files_question {
	const struct files_ops *ops;
	uint8_t kind, tree;
	uint16_t nr;
	uint32_t numbers[FILES_MAX_NUMBERS];
	/* The connection's. */
	struct files_question *next;
	uint32_t id, nr_answered;
	int error;
	bool begun;
};

/*
 * Opens the @nr trees and starts the process; @sandbox is lent. *out is NULL if there are none. 0 or
 * -errno, after a message.
 */
int files_start(struct files **out, struct event_loop *loop, struct sandbox *sandbox,
		const struct tree_config *trees, unsigned int nr);

/* Waits until it has begun. 0, or -errno after a message. */
int files_wait(struct files *f);

/*
 * Starts a process for the VM of another one, with all @nr trees as one (tree_join_create()), and waits until it
 * has begun. Its socket, the caller's, for files_join() there; with it closed everywhere the process ends. -errno
 * after a message.
 */
int files_start_lent(struct sandbox *sandbox, const struct tree_config *trees, unsigned int nr);

/* After files_wait(): from now on answers are taken. 0 or -errno. */
int files_watch(struct files *f);

/* Questions are open. */
bool files_are_asked(const struct files *f);

/* Asks; done() is not called from within. */
void files_ask(struct files *f, struct files_question *q);

/* Ends all questions about @tree, with -ECANCELED. */
void files_cancel(struct files *f, unsigned int tree);

/* The process ends; at once, if it is not busy. Accepts NULL. No question is open. */
void files_stop(struct files *f);

/* A connection to somebody else; @socket is taken over (-1: none yet). 0 or -ENOMEM. */
int files_attach(struct files **out, struct event_loop *loop, int socket);

/*
 * One that has none is given @socket of files_start_lent(), which is taken over in any case, and answers are taken.
 * That its process goes is no error. 0 or -errno.
 */
int files_join(struct files *f, int socket);

/* It has none any more. No question is open. */
void files_part(struct files *f);

/* ---- for tests ---- */

/* Serves until the other end of @socket is closed. */
void files_serve(int socket, struct tree_source *const sources[], unsigned int nr);

#endif
