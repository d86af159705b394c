/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What lkvm and the guest's first process (guest/init.c) say to each other, on ports of the virtio
 * console:
 *
 *	lkvm.control	messages, in both directions
 *	lkvm.stdin	the command's standard input, as it is
 *	lkvm.stdout	its output: from its pipe, or its terminal
 *	lkvm.stderr
 *	lkvm.results	a tar stream of what is in the results directory at the end
 *
 *	init			lkvm
 *	READY  -------------->
 *	       <--------------	MOUNT..., NETWORK..., ARGUMENT..., ENVIRONMENT..., ... GO
 *	STARTED ------------->
 *	       (streams; SIZE; STDIN_END; STREAM_CLOSED; STDIN_CLOSED; STOP ...)
 *	STREAM_END, STREAM_END, RESULTS_END, EXITED ->
 *	       (lkvm ends the machine when all of it has arrived)
 *
 * The end of a stream is a message with the number of bytes that were sent, since a port is closed
 * by another queue than its bytes travel on: both sides wait for that many.
 *
 * Commands beside the first one (lkvm exec) are sessions with a number, which the upper half of a message's
 * kind has; 0 is the first one's. All that they say goes over lkvm.control, in messages of up to
 * PROTOCOL_MAX_FRAME_BYTES: a plan in parts, then what comes and goes. Neither side sends more bytes of a
 * stream, each message counted with its header, than the other has said it has room for, so that one who
 * does not read holds up nobody else.
 *
 *	       <--------------	EXEC_PLAN..., EXEC_GO
 *	EXEC_STARTED -------->	(if it has credentials; otherwise what fails is said on its stderr)
 *	       (EXEC_INPUT, _TAKEN; EXEC_STDOUT, _STDERR, _READ; EXEC_SIGNAL, _SIZE, _UNREAD; EXEC_HANGUP)
 *	EXEC_EXITED --------->
 *	       <--------------	EXEC_HANGUP (the number is free again)
 *
 * Another container is such a session, too; it has a disk, and says before its end that it is free:
 *
 *	       <--------------	EXEC_DISK, EXEC_IN, EXEC_MORE..., EXEC_PLAN..., EXEC_GO
 *	EXEC_RELEASED, EXEC_EXITED ->
 *
 * A message is a header and up to PROTOCOL_MAX_BYTES of payload, which ends with the message.
 * Numbers are the CPU's. Each side takes the other for hostile: lkvm since guests are, init since
 * a mistake must end in words and not in a wait.
 */
#ifndef LKVM_GUEST_PROTOCOL_H
#define LKVM_GUEST_PROTOCOL_H

#include <stdint.h>

#define PROTOCOL_VERSION 1u
/* An argument has up to 128 KiB in Linux (MAX_ARG_STRLEN), with its NUL. */
#define PROTOCOL_MAX_BYTES 131072u
#define PROTOCOL_MAX_TEXT  1024u /* of what init says, with its NUL */
/* All arguments and the environment: what Linux takes with a stack of 8 MiB (execve(2)). */
#define PROTOCOL_MAX_STRINGS_BYTES (2u << 20)
#define PROTOCOL_MAX_STRINGS	   65536u
#define PROTOCOL_MAX_MOUNTS	   31u
#define PROTOCOL_SEED_BYTES	   64u
#define PROTOCOL_MAX_SESSIONS	   32u	  /* numbers 1 to that */
#define PROTOCOL_MAX_FRAME_BYTES   4096u  /* of their messages */
#define PROTOCOL_INPUT_WINDOW	   16384u /* bytes that may be on their way, at first: to a command */
#define PROTOCOL_OUTPUT_WINDOW	   32768u /* ... and from it, both streams together */

#define PROTOCOL_MAX_MORE_BYTES (16u << 20) /* of a container's messages */
#define PROTOCOL_NAME_BYTES	132u

/* Where a container finds its directories of the host, "0", "1" ..., until it moves them. */
#define PROTOCOL_PLACE "/.lkvm"

/* ... and the volumes of its pod, "v0", "v1" ... */
#define PROTOCOL_MAX_VOLUMES	   16u
#define PROTOCOL_VOLUME_NAME_BYTES 64u

/* Control groups of the guest: the first container's, and those of others, with ".NAME" behind it. */
#define PROTOCOL_GROUP "/sys/fs/cgroup/container"

#define PROTOCOL_CONTROL "lkvm.control"
#define PROTOCOL_STDIN	 "lkvm.stdin"
#define PROTOCOL_STDOUT	 "lkvm.stdout"
#define PROTOCOL_STDERR	 "lkvm.stderr"
#define PROTOCOL_RESULTS "lkvm.results"

struct protocol_header {
	uint32_t kind;	/* enum protocol_kind */
	uint32_t bytes; /* of the payload */
};

enum protocol_kind {
	/* From lkvm. */
	PROTOCOL_MOUNT = 1,	   /* struct protocol_mount and a path; the first one is the root */
	PROTOCOL_NETWORK,	   /* struct protocol_network */
	PROTOCOL_ARGUMENT,	   /* bytes of one, without a NUL */
	PROTOCOL_ENVIRONMENT,	   /* NAME=VALUE; NAME alone: lkvm's own default is taken out */
	PROTOCOL_DIRECTORY,	   /* where the command starts, if it is there */
	PROTOCOL_NEEDED_DIRECTORY, /* ... and it has to be there */
	PROTOCOL_USER,		   /* USER[:GROUP], names or numbers */
	PROTOCOL_HOSTNAME,
	PROTOCOL_TERMINAL,     /* struct protocol_size: the command gets a terminal */
	PROTOCOL_RESULTS_PATH, /* the results directory */
	PROTOCOL_GO,
	PROTOCOL_STDIN_END,	/* struct protocol_count */
	PROTOCOL_SIZE,		/* struct protocol_size, of the terminal */
	PROTOCOL_STREAM_CLOSED, /* struct protocol_stream: nobody reads it any more */
	PROTOCOL_STOP,		/* all that runs is to end in order, the command too */
	/* About session PROTOCOL_SESSION(kind). */
	PROTOCOL_EXEC_PLAN = 48, /* a part of struct protocol_exec and the strings behind it */
	PROTOCOL_EXEC_GO,
	PROTOCOL_EXEC_INPUT,  /* of stdin; no bytes: its end */
	PROTOCOL_EXEC_READ,   /* struct protocol_count: so much more of its output may come */
	PROTOCOL_EXEC_SIGNAL, /* struct protocol_signal, for all its processes */
	PROTOCOL_EXEC_SIZE,   /* struct protocol_size */
	PROTOCOL_EXEC_UNREAD, /* struct protocol_stream: nobody reads it any more */
	PROTOCOL_EXEC_HANGUP, /* nobody is there any more */
	PROTOCOL_EXEC_IN,     /* struct protocol_in: a container that is not the first one. Before the plan, as: */
	PROTOCOL_EXEC_MORE,   /* a part of messages, which are such a container's STEPs and SECCOMP */
	PROTOCOL_EXEC_DISK,   /* struct protocol_disk: where its files are; first of all, and lkvm's own word */
	PROTOCOL_EXEC_FREEZE, /* struct protocol_freeze: all of such a container stops, or goes on */

	/* For a container: from lkvm, before GO but the last. */
	PROTOCOL_STEP = 32,   /* struct protocol_step and its texts: done in order, before it starts */
	PROTOCOL_CREDENTIALS, /* struct protocol_credentials: it is one */
	PROTOCOL_SIGNAL,      /* struct protocol_signal, once it has started */
	PROTOCOL_SECCOMP,     /* struct protocol_seccomp and a program: for all of its processes */
	PROTOCOL_SEED,	      /* PROTOCOL_SEED_BYTES that nobody else knows: before GO, and once more in a clone */
	PROTOCOL_VOLUME,      /* struct protocol_volume: of a container that joins, and all that name it */

	/* From init. */
	PROTOCOL_READY = 64, /* struct protocol_ready */
	PROTOCOL_STARTED,
	PROTOCOL_STDIN_CLOSED,	   /* the command reads no more of it */
	PROTOCOL_STREAM_END,	   /* struct protocol_stream_end */
	PROTOCOL_RESULTS_END,	   /* struct protocol_count */
	PROTOCOL_EXITED,	   /* struct protocol_exited */
	PROTOCOL_FAILED,	   /* text: init cannot do what it was told; it switches off */
	PROTOCOL_NOTICE,	   /* text for the user */
	PROTOCOL_EXEC_STDOUT = 96, /* no bytes: its end */
	PROTOCOL_EXEC_STDERR,
	PROTOCOL_EXEC_TAKEN,	/* struct protocol_count: so much more of stdin may come */
	PROTOCOL_EXEC_EXITED,	/* struct protocol_exited */
	PROTOCOL_EXEC_STARTED,	/* the program of one that has credentials runs */
	PROTOCOL_EXEC_RELEASED, /* its disk is not in use any more; before EXITED */
	PROTOCOL_EXEC_JOINED,	/* not from init: its disk is there. To who has asked for a container */
	PROTOCOL_EXEC_FROZEN,	/* struct protocol_freeze: the answer, one for each */
};

#define PROTOCOL_SESSION(kind)		   ((kind) >> 16)
#define PROTOCOL_KIND(kind)		   ((kind)&0xffffu)
#define PROTOCOL_OF_SESSION(session, kind) ((uint32_t)(session) << 16 | (kind))

struct protocol_ready {
	uint32_t version;
};

/* How a tree gets into the guest. */
enum protocol_source {
	PROTOCOL_FROM_DISK,	 /* EROFS on the disk with this serial number, an overlay on it */
	PROTOCOL_FROM_INITRAMFS, /* it is in the initramfs, as PROTOCOL_INITRAMFS_ROOT */
};

#define PROTOCOL_INITRAMFS_ROOT "/lkvm/root"

struct protocol_mount {
	uint32_t source;
	char serial[20]; /* virtio 1.2 §5.2.6.1: without a NUL if it has 20 */
};

struct protocol_network {
	uint8_t mac[6]; /* which card */
	uint8_t prefix_bits;
	uint8_t renamed_only;			/* 1: the card is not touched otherwise */
	uint8_t address[4], gateway[4], dns[4]; /* all zero: none */
	uint8_t new_mac[6];			/* ... that it gets; all zero: it has it */
	uint8_t pad[2];
};

struct protocol_size {
	uint16_t columns, rows;
};

/*
 * Behind it struct protocol_credentials, if it has them; then, each with its NUL: the directory and the
 * user (empty: none is asked for), arguments, environment. In a container's guest it is in the container.
 */
struct protocol_exec {
	uint32_t nr_arguments, nr_environment;
	uint32_t terminal; /* 1: it gets one, of that size */
	struct protocol_size size;
	uint32_t has_credentials; /* 1: a container's: hang-ups kill it */
};

/*
 * A container beside the first one is a session as well: one that makes namespaces of its own, with a root on
 * a disk that was empty until then. Others are processes in it, and name it.
 */
struct protocol_in {
	uint32_t flags;			/* PROTOCOL_IN_... */
	uint32_t nr_dirs;		/* on its disk, beside the root */
	char name[PROTOCOL_NAME_BYTES]; /* of the container, with a NUL */
};

#define PROTOCOL_IN_NEW		1u /* it is made; otherwise it is there */
#define PROTOCOL_IN_OWN_IPC	2u /* ... and does not share these with the first one */
#define PROTOCOL_IN_OWN_NAME	4u
#define PROTOCOL_IN_SHARED_PIDS 8u /* ... and shares these */

struct protocol_disk {
	char serial[20]; /* as in struct protocol_mount */
};

struct protocol_freeze {
	uint32_t on;	/* 0: it goes on */
	uint32_t error; /* in the answer: errno, or 0 */
};

struct protocol_count {
	uint64_t bytes;
};

struct protocol_stream {
	uint32_t stream; /* 1: stdout, 2: stderr */
};

struct protocol_stream_end {
	uint32_t stream; /* 1: stdout, 2: stderr */
	uint32_t pad;
	uint64_t bytes;
};

/*
 * What a container's process does first of all, as root of the guest, in a mount and a PID namespace of
 * its own. Texts follow, each with a NUL but the last of a message; "" is none.
 */
enum protocol_what {
	PROTOCOL_DO_MOUNT = 1, /* source, target (made if it is not there), type, data; flags: mount(2)'s */
	PROTOCOL_DO_UNMOUNT,   /* path */
	PROTOCOL_DO_DIRECTORY, /* path, with its parents; arg: its mode */
	PROTOCOL_DO_FILE,      /* path, and what is in it; flags: PROTOCOL_FILE_...; arg: its mode */
	PROTOCOL_DO_NODE,      /* path; flags: its mode, with its type; arg: the device's number; both: its owner */
	PROTOCOL_DO_LINK,      /* what it leads to, path */
	PROTOCOL_DO_REMOVE,    /* path of an empty directory */
	PROTOCOL_DO_ENTER,     /* path, which is the working directory from then on */
	PROTOCOL_DO_DISK,      /* path, serial number of a disk; as PROTOCOL_DO_NODE, but for the device's number */
};

struct protocol_step {
	uint32_t what;	   /* enum protocol_what */
	uint32_t optional; /* 1: ENOENT and ENOTDIR are no errors; 2: nothing is one */
	uint64_t flags, arg;
};

/* Of a file: more of one that is there; owner and mode also of one that was there. */
#define PROTOCOL_FILE_MORE  1u
#define PROTOCOL_FILE_OWNED 2u
/* An owner: uid is the upper half of flags, gid that of arg. */

#define PROTOCOL_MAX_STEPS  4096u
#define PROTOCOL_MAX_GROUPS 32u
#define PROTOCOL_NR_RLIMITS 16u

/* Whose rights it has, instead of a user's of the root. */
struct protocol_credentials {
	uint32_t uid, gid, umask;
	uint32_t nr_groups, groups[PROTOCOL_MAX_GROUPS];
	uint32_t has_capabilities, no_new_privileges;
	uint32_t rlimits_given; /* 1 << RLIMIT_... */
	uint64_t bounding, effective, inheritable, permitted, ambient;
	struct {
		uint64_t soft, hard;
	} rlimits[PROTOCOL_NR_RLIMITS];
};

struct protocol_signal {
	uint32_t number; /* ... | PROTOCOL_SIGNAL_ALL: of the command all that runs gets it */
};

#define PROTOCOL_SIGNAL_ALL 0x100u

struct protocol_seccomp {
	uint32_t flags; /* of seccomp(2) */
	uint32_t pad;	/* struct sock_filter follow */
};

/* In the guest's memory, for as long as that runs; who names it first says how it is. Both have a NUL. */
struct protocol_volume {
	char name[PROTOCOL_VOLUME_NAME_BYTES]; /* of letters, digits, '.' and '-', of which it does not begin with '.' */
	char options[96];		       /* of the tmpfs */
};

enum protocol_end {
	PROTOCOL_END_EXITED,	  /* value: its status */
	PROTOCOL_END_SIGNALED,	  /* value: the signal */
	PROTOCOL_END_NOT_STARTED, /* value: errno of execve(2) */
};

struct protocol_exited {
	uint32_t end; /* enum protocol_end */
	uint32_t value;
};

#endif
