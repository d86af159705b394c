/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * `lkvm run -- COMMAND`, on the host's side: what the guest's first process is told, the command's
 * streams, and how it ended. The protocol is in guest/protocol.h.
 *
 * Everything that init says is the guest's, which is hostile: each message is checked once, on a
 * copy, and one that cannot be is the end of the machine. All of it is the event loop's thread's,
 * after command_create().
 */
#ifndef LKVM_GUEST_COMMAND_H
#define LKVM_GUEST_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest/protocol.h"

struct command;
struct event_loop;
struct port;
struct results;
struct state;
struct term;

#define COMMAND_MAX_PORTS 5u
#define COMMAND_READY_NS  60000000000ull /* for init to say that it is ready, without --timeout */

struct command_mount {
	const char *path;   /* where in the guest; the first one is "/" */
	const char *serial; /* of its disk; NULL: it came in the initramfs */
};

/* What is to be run, and where. All of it is lent until command_destroy(). */
struct command_config {
	char *const *arguments; /* none: the user's shell */
	unsigned int nr_arguments;
	const char *const *environment; /* NAME=VALUE, or NAME: init's own default is left out */
	unsigned int nr_environment;
	const char *directory; /* or NULL */
	bool directory_needed;
	const char *user;     /* USER[:GROUP], or NULL: root */
	const char *hostname; /* or NULL */
	const char *results;  /* a directory of the guest, or NULL */
	bool terminal;	      /* it gets one; stderr is the same */
	unsigned int nr_mounts;
	struct command_mount mounts[PROTOCOL_MAX_MOUNTS];
	unsigned int nr_networks;
	struct protocol_network networks[PROTOCOL_MAX_MOUNTS];
	const void *more; /* messages that are part of the plan, as they are */
	size_t more_bytes;
	bool held; /* it does not start before command_release() */
};

/* Who wants to know. */
struct command_client {
	void (*ready)(void *arg);   /* init waits for the plan; or NULL */
	void (*started)(void *arg); /* it runs; or NULL */
	void (*ended)(void *arg);   /* command_result() is final, and all output has arrived */
	void *arg;
};

/*
 * Commands beside the first one: what is said of them and to them, by number (guest/protocol.h). What
 * the guest says is as long as it may be, and nothing else about it has been checked.
 */
struct command_sessions {
	void (*hear)(void *arg, unsigned int session, uint32_t kind, const uint8_t *payload, size_t bytes);
	/* Puts the next message, with its header, into @message, which has room for one. How long it is; 0: there is none. */
	size_t (*say)(void *arg, uint8_t *message);
	bool (*are_there)(void *arg); /* the guest knows of one, or is about to */
	void *arg;
};

#define COMMAND_SESSION_BYTES (sizeof(struct protocol_header) + PROTOCOL_MAX_FRAME_BYTES)

enum command_end {
	COMMAND_UNKNOWN,     /* nothing was heard of its end */
	COMMAND_EXITED,	     /* value: its status */
	COMMAND_SIGNALED,    /* value: the signal */
	COMMAND_NOT_STARTED, /* value: errno */
	COMMAND_FAILED,	     /* the guest could not do what it was told, after a message */
};

struct command_result {
	enum command_end end;
	int value;
	bool ready; /* init was heard at all */
};

/*
 * @io: stdin and stdout; @err: stderr, which may be the same; both lent. 0, -E2BIG if arguments and environment are longer
 * than Linux takes, or another -errno.
 */
int command_create(struct command **out, struct event_loop *loop,
		   const struct command_config *config, struct term *io, struct term *err);

/* Accepts NULL. Its ports have no user any more. */
void command_destroy(struct command *c);

/* The ports by which the guest talks to it, up to COMMAND_MAX_PORTS: how many. They are its own. */
unsigned int command_ports(struct command *c, struct port *ports[COMMAND_MAX_PORTS]);

/* Where what is in the results directory goes; lent. Before command_start(). 0 or -errno. */
int command_take_results(struct command *c, struct results *results);

/*
 * From now on init has @limit_ns to be heard of (0: as long as the machine has). 0 or -errno.
 */
int command_start(struct command *c, const struct command_client *client, uint64_t limit_ns);

/* That time begins anew, since the machine did not run meanwhile; or it does not count now. */
void command_expect_ready(struct command *c, bool expected);

/* The command is asked to end in order (SIGTERM), as soon as it runs. May be done again. */
void command_ask_end(struct command *c);

/* It does not start before command_release(), as with config.held. Before the guest runs. */
void command_hold(struct command *c);

/* It may start, as soon as init is ready. */
void command_release(struct command *c);

/* Init is ready and has been told nothing, as one that is held: what a warm start goes on from. */
bool command_waits(const struct command *c);

/*
 * It goes on in a guest of which that was true. Before the guest runs, after command_start(); of whose limit
 * a sixth is left until the command has started, since what was restored may be anything.
 */
void command_was_ready(struct command *c);

/* The command has started, or could not be, or init says why not: whatever init goes on from, it does what it should. */
bool command_has_answered(const struct command *c);

/* Why what is known of it cannot be saved now; NULL: it can. Until the guest stands still that may change. */
const char *command_refuses_snapshot(const struct command *c);

/*
 * What is known of a command that runs (include/state.h); refused as by command_refuses_snapshot(). When it is loaded, after command_start() and before the
 * guest runs, it goes on here: what it writes from now on comes here, and so does how it ends. What there is to read
 * for it is what was read there already, and then what is read here, unless it has read the end; and its kernel gets
 * other random numbers than any other one that goes on from there.
 */
void command_carry(struct command *c, struct state *s);

/*
 * Sends a signal to the command, once it has started. Of those that init has not heard of yet each is
 * kept once. @number | PROTOCOL_SIGNAL_ALL: to all that runs.
 */
void command_signal(struct command *c, unsigned int number);

/* The terminal's window has another size. */
void command_set_size(struct command *c, uint16_t columns, uint16_t rows);

/* Who has others run. Before the guest runs; NULL: nobody. */
void command_set_sessions(struct command *c, const struct command_sessions *sessions);

/* They have something to say. */
void command_wake(struct command *c);

/* Whether others can be run now: the first one does. */
bool command_is_running(const struct command *c);

struct command_result command_result(const struct command *c);

#endif
