/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One virtual machine, from its start to its end.
 *
 *	machine_open()     open what the user has named, and KVM
 *	machine_separate() go on in a process of its own, behind the sandbox's first wall
 *	machine_create()   create the VM, devices and vCPUs, load the kernel; nothing of the
 *	                   guest has run
 *	machine_run()      run it to its end
 *	machine_destroy()  give everything back, from any stage of creation
 *
 * All on the main thread.
 */
#ifndef LKVM_MACHINE_H
#define LKVM_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "disk/disk.h"
#include "disk/tree.h"
#include "guest/command.h"
#include "kvm.h"
#include "net/net.h"
#include "sandbox/sandbox.h"
#include "sandbox/supervisor.h"
#include "socket-name.h"
#include "virtio/console.h"
#include "virtio/port.h"
#include "x86/board.h"
#include "x86/boot/boot.h"
#include "x86/end-watch.h"

/* Linux starts no CPU whose APIC id has more than 8 bits if KVM's own I/O APIC cannot reach it. */
#define MACHINE_MAX_CPUS      255u
#define MACHINE_MIN_RAM_BYTES 0x200000ull
#define MACHINE_LOST_LINES    50u
#define MACHINE_MAX_NAMES     2u

struct cache_identity;
struct snapshot_header;
struct state;

struct machine_disk {
	struct disk_config disk; /* of a tree: only read */
	int tree;		 /* index in trees; -1: it is an image, or a spare one (disk.spare) */
	const char *serial;	 /* or NULL */
};

struct machine_config {
	struct boot_config boot;	       /* but for its RAM of no use if it is restored */
	int restore_fd;			       /* the file of a snapshot to go on from, with its header; lent */
	const struct snapshot_header *restore; /* NULL: it boots */
	const char *parent;		       /* what that is called, for who asks; NULL with @restore NULL */
	bool boots_instead;		       /* ... also if that snapshot cannot be restored; @boot is complete */
	struct board_config board;
	unsigned int nr_trees; /* directories and archives, each a disk of its own */
	struct tree_config trees[TREE_MAX_TREES];
	unsigned int nr_disks;
	struct machine_disk disks[BOARD_MAX_VIRTIO];
	enum aio_engine aio;
	unsigned int nr_nets;			  /* without those of mode=none */
	struct net_config nets[BOARD_MAX_VIRTIO]; /* each has a mac */
	bool virtio_console;			  /* the terminal is hvc0 instead of ttyS0 */
	unsigned int nr_ports;
	struct port_config ports[CONSOLE_MAX_PORTS];
	bool pit; /* an 8254 */
	bool gdb; /* machine_halt() before the first instruction; CPUs may trap */
	enum sandbox_mode sandbox;
	uint64_t timeout_ns;		      /* 0: none */
	uint64_t grace_ns;		      /* SIGTERM asks the guest, and ends it so much later; 0: at once */
	uint64_t start_ns;		      /* when lkvm started (CLOCK_MONOTONIC) */
	int in_fd, out_fd;		      /* console */
	int log_fd;			      /* --console-log, or -1; lent */
	const char *log_path;		      /* its name, to open it again */
	const struct command_config *command; /* or NULL; lent */
	int gate_fd;			      /* with a command: guest/gate.h; -1: none. Lent */
	const char *announcement;	      /* what runs, for a terminal's user; NULL: as -v says it. Lent */
	const char *results_path;	      /* with a command that has results: where they go */
	bool detached;			      /* nobody is there to read stdout and stderr */
	/* With a command that is held: init is ready for it, and nobody hears of it before machine_end_wait(); or NULL. */
	void (*waits)(void *arg);
	void *waits_arg;
	void (*runs)(void *arg); /* the guest does; with a command: that does. On the loop's thread; or NULL */
	void *runs_arg;
	/* With a gate: takes @fd, a client of other commands, on the loop's thread; or NULL. */
	void (*exec)(void *arg, int fd);
	void (*join)(void *arg, int fd, int files); /* the same of another container; see machine_lend_disk() */
	void *exec_arg;
	bool is_job;	/* with a command: a shell lets us go on if we are stopped */
	bool shows_log; /* with a command: what goes to ttyS0 is on stderr */
	/* By which others find this VM, to be removed at its end; lent. Read by machine_separate(). */
	unsigned int nr_names;
	struct socket_name names[MACHINE_MAX_NAMES];
};

struct machine_result {
	enum stop_reason reason;
	enum last_words words;	    /* of the guest, on its consoles */
	bool crashed;		    /* a crash kernel (kdump) has taken over before */
	enum shutdown shutdown;	    /* with STOP_RESET and STOP_HALTED */
	char oops[OOPS_TEXT_BYTES]; /* the first report of trouble on its consoles, or "" */
	int signal;		    /* with STOP_SIGNAL */
	/* CLOCK_MONOTONIC; 0: it never came to that. */
	uint64_t loaded_ns;	  /* when the kernel was in RAM */
	uint64_t entered_ns;	  /* when the first vCPU was started */
	uint64_t first_access_ns; /* of a CPU to a device of ours */
	uint64_t opened_ns;	  /* when ttyS0 was first opened: just before init */
	bool data_lost;		  /* a disk could not be written to its end */
	bool disks_stuck;	  /* ... since it does not answer */
	bool has_command;
	struct command_result command;
};

struct machine;
struct term;

/* 0 or -errno, after a message. @config is lent until machine_destroy(). */
int machine_open(struct machine **out, const struct machine_config *config);

/*
 * The number of the first disk's partition that is the root file system; 0: the disk as a whole,
 * or nobody can tell, which a notice then says. Before machine_separate().
 */
unsigned int machine_find_root(struct machine *machine);

/* What is booted (cache.h), before machine_create(). False: it is no file, or nothing is booted. */
bool machine_identify_kernel(const struct machine *machine, struct cache_identity *id);

/*
 * Takes over a command line of the configuration that has changed, before machine_create(). 0 or
 * -errno after a message.
 */
int machine_update_cmdline(struct machine *machine);

/*
 * Before a machine that is going to run is created. 0 in the process that creates it, which may be a
 * child; 1 in the supervisor in front of it (sandbox/supervisor.h), when the machine has ended as *end tells: of
 * all descriptors only @keep_fds (-1: none) are left there, and @machine is of no use any more, not
 * even to destroy; the configuration's names are the caller's to remove. With 0 they are not, whatever
 * becomes of the VM. -errno after a message.
 */
int machine_separate(struct machine *machine, const int keep_fds[SUPERVISOR_MAX_KEPT],
		     struct supervisor_end *end);

/* There is a supervisor, which writes down what it is told: */
bool machine_is_supervised(const struct machine *machine);

/* Tells it (supervisor_report()). False without one. */
bool machine_report(struct machine *machine, const void *report, size_t bytes);

/* 0 or -errno, after a message; it has to be destroyed in any case. */
int machine_create(struct machine *machine);

/*
 * Runs the guest until it ends or something ends it, and stops everything. The
 * terminal is back in its old mode when it returns; the console's last output
 * has been written.
 */
void machine_run(struct machine *machine, struct machine_result *result);

/*
 * Writes the last console lines to stderr if nobody could see them on stdout.
 * After machine_run().
 */
void machine_report_lost(struct machine *machine);

/*
 * After machine_run(): the loop once more, until event_stop(), for the user's orders and for what
 * event_keep() has named.
 */
void machine_linger(struct machine *machine);

/* A signal or a key says that lkvm shall end now. */
bool machine_is_unwanted(const struct machine *machine);

/* The walls around it, for processes beside it. */
struct sandbox *machine_sandbox(struct machine *machine);

/*
 * Names each driver that the guest lacked for a device that the user asked for.
 * After machine_run().
 */
void machine_report_missing_drivers(const struct machine *machine);

/*
 * Accepts NULL. A machine whose disks are stuck keeps its memory, since the host's kernel may yet
 * write to it: the process has to end without freeing anything.
 */
void machine_destroy(struct machine *machine);

/* The parameters that the kernel is given. */
const char *machine_get_cmdline(const struct machine *machine);

/* The loop that the machine runs on, for who serves something else by it. */
struct event_loop *machine_loop(const struct machine *machine);

/*
 * "running"; "paused"; "halted": its CPUs stand for a debugger, a look or a dump; "ending": it has ended or
 * been told to. While the loop runs.
 */
const char *machine_state(const struct machine *machine);

/*
 * Asks the guest to end in order; one that is paused goes on for it. What was asked: "command", or
 * "button", which is pressed again every now and then, since a guest that starts may not listen
 * yet; "ending": it does already; NULL: there is nothing that could be asked. While the loop runs.
 */
const char *machine_ask_end(struct machine *machine);

/* What runs in it; NULL: a guest that has no first process of ours. */
struct command *machine_command(const struct machine *machine);

/* After config.waits, on the loop's thread: the command may start, or whoever is at the gate says when. */
void machine_end_wait(struct machine *machine);

/*
 * Makes of a spare disk what the process at the other end of @socket serves (files_start_lent()): which one, or
 * -errno. @socket is taken over but with -EBUSY: there is no other disk. While the loop runs, as the next.
 */
int machine_lend_disk(struct machine *machine, int socket);

/* That disk has nothing any more; and later: it can be lent again. */
void machine_take_disk_back(struct machine *machine, unsigned int disk);
void machine_release_disk(struct machine *machine, unsigned int disk);

/* By which the guest finds it. */
const char *machine_disk_serial(const struct machine *machine, unsigned int disk);

/* Where the guest's console is on the host's side; with a command: its stdout, or its terminal. */
struct term *machine_console(const struct machine *machine);

/* ... is a terminal, for keys: the guest's, or its command's. */
bool machine_console_has_keys(const struct machine *machine);

/* The window has that size; the key after Ctrl-A: b, x. While the loop runs. */
void machine_resize_console(struct machine *machine, uint16_t columns, uint16_t rows);
void machine_send_break(struct machine *machine);
void machine_quit(struct machine *machine);

/*
 * Stops the CPUs, each with its access to a device complete, and waits until the disks are at rest; the
 * network and consoles go on as far as the guest has given them buffers. 0: it is paused already;
 * -EINPROGRESS: @done tells later, 0 when it is, -ETIMEDOUT if it did not come to rest in
 * MACHINE_PAUSE_NS and runs on, -ECANCELED if it was resumed before. -ECANCELED: it is ending, and
 * nobody is told. An end by whatever means needs no machine_resume(). While the loop runs, as all of these.
 */
#define MACHINE_PAUSE_NS 5000000000ull
int machine_pause(struct machine *machine, void (*done)(void *arg, int rc), void *arg);

/* The guest's clocks go on where they were (x86/clocks.h). */
void machine_resume(struct machine *machine);

/*
 * Stops the CPUs as machine_pause() does, whatever disks do, and independently of it: they run when
 * nobody wants them to stand. @halted is told when they do, from within this call if they do already,
 * and again after each machine_step() and whenever a CPU has trapped (of a machine with config.gdb,
 * for MACHINE_GDB, who need not have asked). Never told of a machine that ends.
 */
enum machine_halter {
	MACHINE_LOOK,
	MACHINE_GDB,
	MACHINE_DUMP,
	MACHINE_SNAPSHOT,
	MACHINE_NR_HALTERS,
};
typedef void (*machine_halted_fn)(void *arg);
void machine_on_halt(struct machine *machine, enum machine_halter who, machine_halted_fn halted,
		     void *arg);
void machine_halt(struct machine *machine, enum machine_halter who);
void machine_go_on(struct machine *machine, enum machine_halter who);

/* For MACHINE_GDB, after @halted: lets only CPU @cpu go on, until it traps. */
void machine_step(struct machine *machine, unsigned int cpu);

/* What it is made of, for who looks at it while its CPUs stand. After machine_create(). */
struct board *machine_board(struct machine *machine);

/* How far the kernel's virtual addresses are from where it was linked; false: lkvm has not placed it. */
bool machine_kernel_shift(const struct machine *machine, uint64_t *shift);

/* Types @key after what makes it a SysRq on the console that the kernel has. */
void machine_send_sysrq(struct machine *machine, char key);

/*
 * What the machine, a CPU or a device has done, as members of a JSON object (x86/stat.h): item 0 is the
 * machine, and says in "items" how many follow. False if there is no such item. While the loop runs.
 */
bool machine_stat(const struct machine *machine, uint64_t item, char *text, size_t bytes);

/* One line about what was loaded, for -v and --dry-run. */
void machine_describe(const struct machine *machine, char *text, size_t bytes);

/* ---- snapshots (snapshot-file.h), of a machine whose CPUs stand ---- */

/* Words why there can be none of it; NULL: there can. Any time. */
const char *machine_refuses_snapshot(const struct machine *machine);

/*
 * Between these no device takes anything new from the guest. Once machine_is_at_rest() what was under way has
 * come back, and nothing touches guest memory.
 */
void machine_freeze(struct machine *machine);
bool machine_is_at_rest(const struct machine *machine);
void machine_thaw(struct machine *machine);

/* Of one at rest: its header, complete, and its state, for the caller to free. 0 or -errno, after a message. */
int machine_save(struct machine *machine, struct snapshot_header *header, void **state);

/* What it was to go on from could not be restored, or its guest did not start the command. After machine_create() or machine_run(). */
bool machine_has_bad_snapshot(const struct machine *machine);

/* It has a snapshot that it was to end with. */
void machine_end_in_snapshot(struct machine *machine);

#endif
