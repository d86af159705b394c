/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The inside of a machine: what machine.c and the files machine-NAME.c share. Nobody else includes it
 * (tests/layers); what a machine is to others is in machine.h.
 */
#ifndef LKVM_MACHINE_PARTS_H
#define LKVM_MACHINE_PARTS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "disk/tree.h"
#include "kvm-cpu.h"
#include "machine.h"
#include "sandbox/broker.h"
#include "sandbox/sandbox.h"
#include "sandbox/supervisor.h"
#include "x86/board.h"
#include "x86/clocks.h"
#include "x86/end-watch.h"

/* Of machine-pause.c, which alone looks into it. */
struct machine_pause {
	enum {
		PAUSE_NONE,
		PAUSE_PARKING,
		PAUSE_DRAINING,
		PAUSE_DONE,
		PAUSE_HALTED,
	} state;
	bool unwanted; /* when all CPUs have parked they go on */
	struct vcpu_park park;
	struct clocks clocks;
	int timer;
	unsigned int idle_ticks; /* of the disks, in a row */
	uint64_t until_ns;
	void (*done)(void *arg, int rc);
	void *arg;
};

/* Also of that file: whoever wants the CPUs to stand, beside a pause. */
struct machine_halt {
	struct {
		bool wanted;
		bool told;
		machine_halted_fn fn;
		void *arg;
	} by[MACHINE_NR_HALTERS];
	int step; /* the CPU that is to go on alone; -1: none */
	bool settling;
};

struct machine {
	const struct machine_config *config;
	struct boot *boot;  /* NULL: it goes on from a snapshot */
	struct boot *spare; /* what boots if it cannot; NULL: nothing does */
	/* Until it is joined the loader has boot and memory to itself. */
	pthread_t loader;
	pid_t loader_tid;
	int load_rc;
	bool loading;
	uint64_t loaded_ns;
	int kvm_fd;
	int statm_fd; /* what our process has in memory; -1 */
	struct aio *aio;
	struct files *files; /* the process that reads trees; NULL: there are none */
	struct board_config board_config;
	struct board_host host; /* what the board is lent */
	struct board board;
	bool lent[BOARD_MAX_VIRTIO]; /* spare disks, by number */
	struct end_watch end_watch;
	struct broker broker;
	struct supervisor supervisor;
	struct sandbox sandbox;

	/* machine-terminal.c */
	struct sink *log;      /* --console-log; NULL: none */
	struct term *err_term; /* the command's stderr; NULL: none of its own */
	struct signals *signals;
	bool announced; /* on the terminal: what runs */

	/* machine-command.c */
	struct command *command; /* NULL: none */
	struct gate *gate;	 /* of the command; NULL: none */
	struct results *results; /* of the command; NULL: none */

	/* machine-pause.c */
	struct machine_pause pause;
	struct machine_halt halt;

	/* machine-snapshot.c */
	struct tree_config trees[TREE_MAX_TREES]; /* with what a snapshot says of them */
	struct tree_identity tree_ids[TREE_MAX_TREES];
	void *restored;	    /* state of a snapshot that is yet to be loaded; ours */
	size_t restored_at; /* ... from there on */
	bool bad_snapshot;  /* what it was to go on from is of no use */
	bool frozen;

	/* machine-end.c */
	bool disks_stuck; /* requests are in flight, and will be */
	bool output_lost; /* of a command: its file takes no more */
	bool urgent;	  /* it shall end: by a signal, a key or the time limit */
	bool unwanted;	  /* ... by a signal or a key */
	bool asked;	  /* the guest was, to end in order */
	int ask_timer;
	uint64_t asked_ns, ask_ns; /* when the timer was set, and to how long */
	uint64_t grace_ns;	   /* left when it was; then it is ended. 0: not so */
	int delivery_timer;
	bool delivers;		   /* the guest has ended, its output waits for readers */
	bool tells_waiting;	   /* that it does has been said */
	uint64_t deliver_until_ns; /* 0: as long as it takes */
};

/* ---- machine-pause.c ---- */

/* At first, and at last. */
void machine_pause_init(struct machine *m);
void machine_pause_fini(struct machine *m);

/* Once it has all its CPUs, before they run. A negative errno if it fails. */
int machine_prepare_pause(struct machine *m);

/* It is paused or halted: no CPU runs, nor will one before somebody says so. */
bool machine_stands(const struct machine *m);

/* What its clocks were when they were stopped. */
const struct clocks *machine_clocks(const struct machine *m);

/* ---- machine-snapshot.c ---- */

/* What its directories are, and what a snapshot with a command that runs says of them: a step of machine_open(). */
int machine_identify_trees(struct machine *m);

/* It runs an image, and no kernel. */
bool machine_runs_flat(const struct machine *m);

/*
 * The state of the snapshot, if it goes on from one, behind the sandbox's walls. 0 or -errno, after a message; as
 * long as there is m->spare then, it may boot instead.
 */
int machine_load_snapshot(struct machine *m);

/* Once its CPUs have threads. */
void machine_go_on_from_snapshot(struct machine *m);

/* ---- machine-end.c ---- */

/* A signal or a key says so: */
void machine_hurry(struct machine *m);

/* ... and it ends by that signal. */
void machine_end(struct machine *m, int signal);

/* Callbacks of signals_start(). */
void machine_on_end(void *machine, int signal);
void machine_on_timed_out(void *machine);

/* Before its CPUs run; a negative errno if they fail. */
int machine_start_timeout(struct machine *m);
int machine_prepare_asking(struct machine *m);
int machine_create_delivery_timer(struct machine *m);

/* After its CPUs have ended: makes disks durable, and fills in what the result says of them. */
void machine_finish_disks(struct machine *m, struct machine_result *result);

/* Waits for readers as long as the reason allows, and tells what nobody took. */
void machine_deliver_output(struct machine *m, enum stop_reason reason);

/* ---- machine-terminal.c ---- */

/* Steps of machine_open(). */
int machine_create_log(struct machine *m);
int machine_create_terminal(struct machine *m);

/*
 * The terminal that is the guest's, keys and all; -1: none. A command with three streams has it as
 * any program of its job has.
 */
int machine_own_terminal(const struct machine *m);

/* Before its CPUs run; a negative errno if they fail. */
int machine_take_signals(struct machine *m);
int machine_watch_log(struct machine *m);

/* ---- machine-command.c ---- */

/* A step of machine_open(), and what comes before its CPUs run. Without a command there is nothing to do. */
int machine_open_command(struct machine *m);
int machine_start_command(struct machine *m);

/* The guest runs, and so does its command: to who wants to know (config.runs). */
void machine_tell_that_it_runs(const struct machine *m);

#endif
