/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * This process's streams and terminal, joined to a stream of frames from a VM (control/frames.h): what
 * `lkvm console` and `lkvm exec` have in common. The VM is hostile. Nothing waits but one ppoll(2),
 * so signals are heard whoever has stopped reading; the terminal gets its mode back on every way out.
 *
 * All functions: the main thread.
 */
#ifndef LKVM_CMD_ATTACH_H
#define LKVM_CMD_ATTACH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/client.h"
#include "control/frames.h"
#include "output.h"
#include "signal-source.h"
#include "tty.h"

struct attach;

/* What is done with what comes, from either side. */
struct attach_ops {
	/* A frame. -1: it is done; 0 or 1: its payload goes to stdout or stderr. */
	int (*hear)(struct attach *a, const struct protocol_header *h, const uint8_t *payload);
	/* ... and went there: 0 or -errno. */
	void (*wrote)(struct attach *a, int stream, size_t bytes, int error);
	void (*fill)(struct attach *a); /* sends what there is room for; or NULL */
	/* How many bytes of stdin are wanted now. */
	size_t (*room)(struct attach *a);
	void (*typed)(struct attach *a, const uint8_t *data, size_t bytes);
	void (*typed_all)(struct attach *a); /* stdin has ended */
	void (*signaled)(struct attach *a, int signal);
	void (*resized)(struct attach *a, const struct protocol_size *size);
	void (*lost)(struct attach *a);	 /* the VM says no more */
	void (*other)(struct attach *a); /* there is something at other_fd; or NULL */
};

struct attach {
	const struct attach_ops *ops;
	const char *name; /* of the VM */
	struct client client;
	const char *early; /* what came with the answer */
	size_t early_bytes;
	int fd;
	struct frame_reader in;
	int stream;	/* where its payload goes; -1: it is not there, or is done */
	size_t written; /* bytes of that */
	struct frame_writer out;
	struct output streams[2];
	struct signal_source signals;
	bool raw; /* the terminal is to be */
	enum tty_state tty;
	int other_fd;  /* lent; -1: none */
	int own_in_fd; /* a description of our own of stdin; -1: none */
	bool in_ended;
	bool over;
	int status; /* to end with */
};

/*
 * Finds the VM @name and sends @request (a line), which has to be answered with a stream. -1, or the exit
 * status after a message; attach_fini() in any case. @what is the command's name.
 */
int attach_open(struct attach *a, const char *what, const char *name, const char *request);

/* The same with a stream that there is already, which attach_fini() closes. 0 or -ENOMEM. */
int attach_lend(struct attach *a, const char *name, int fd);

/* Until a->over. */
void attach_run(struct attach *a);

void attach_fini(struct attach *a);

/* The end, with that status. */
void attach_end(struct attach *a, int status);

/* Sends a frame; one that finds no room is lost. */
void attach_send(struct attach *a, uint32_t kind, const void *payload, size_t bytes);

/* How long a payload there is room for, at most FRAME_MAX_BYTES. */
size_t attach_room(const struct attach *a);

/* False if there is no window. */
bool attach_window(struct protocol_size *size);

/* Nothing more comes to stdout: its reader sees the end. */
void attach_close_stdout(struct attach *a);

/* Stops the job, as Ctrl-Z does. */
void attach_suspend(struct attach *a);

#endif
