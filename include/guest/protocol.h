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
#define PROTOCOL_MAX_TEXT 1024u		/* of what init says, with its NUL */
/* All arguments and the environment: what Linux takes with a stack of 8 MiB (execve(2)). */
#define PROTOCOL_MAX_STRINGS_BYTES (2u << 20)
#define PROTOCOL_MAX_STRINGS 65536u
#define PROTOCOL_MAX_MOUNTS 31u
#define PROTOCOL_MAX_FRAME_BYTES 4096u	/* of commands beside the first one */

#define PROTOCOL_CONTROL "lkvm.control"
#define PROTOCOL_STDIN "lkvm.stdin"
#define PROTOCOL_STDOUT "lkvm.stdout"
#define PROTOCOL_STDERR "lkvm.stderr"
#define PROTOCOL_RESULTS "lkvm.results"

struct protocol_header {
	uint32_t kind;		/* enum protocol_kind */
	uint32_t bytes;		/* of the payload */
};

enum protocol_kind {
	/* From lkvm. */
	PROTOCOL_MOUNT = 1,	/* struct protocol_mount and a path; the first one is the root */
	PROTOCOL_NETWORK,	/* struct protocol_network */
	PROTOCOL_ARGUMENT,	/* bytes of one, without a NUL */
	PROTOCOL_ENVIRONMENT,	/* NAME=VALUE; NAME alone: lkvm's own default is taken out */
	PROTOCOL_DIRECTORY,	/* where the command starts, if it is there */
	PROTOCOL_NEEDED_DIRECTORY,	/* ... and it has to be there */
	PROTOCOL_USER,		/* USER[:GROUP], names or numbers */
	PROTOCOL_HOSTNAME,
	PROTOCOL_TERMINAL,	/* struct protocol_size: the command gets a terminal */
	PROTOCOL_RESULTS_PATH,	/* the results directory */
	PROTOCOL_GO,
	PROTOCOL_STDIN_END,	/* struct protocol_count */
	PROTOCOL_SIZE,		/* struct protocol_size, of the terminal */
	PROTOCOL_STREAM_CLOSED,	/* struct protocol_stream: nobody reads it any more */
	PROTOCOL_STOP,		/* all that runs is to end in order, the command too */

	/* From init. */
	PROTOCOL_READY = 64,	/* struct protocol_ready */
	PROTOCOL_STARTED,
	PROTOCOL_STDIN_CLOSED,	/* the command reads no more of it */
	PROTOCOL_STREAM_END,	/* struct protocol_stream_end */
	PROTOCOL_RESULTS_END,	/* struct protocol_count */
	PROTOCOL_EXITED,	/* struct protocol_exited */
	PROTOCOL_FAILED,	/* text: init cannot do what it was told; it switches off */
	PROTOCOL_NOTICE,	/* text for the user */
};

struct protocol_ready {
	uint32_t version;
};

/* How a tree gets into the guest. */
enum protocol_source {
	PROTOCOL_FROM_DISK,		/* EROFS on the disk with this serial number, an overlay on it */
	PROTOCOL_FROM_INITRAMFS,	/* it is in the initramfs, as PROTOCOL_INITRAMFS_ROOT */
};

#define PROTOCOL_INITRAMFS_ROOT "/lkvm/root"

struct protocol_mount {
	uint32_t source;
	char serial[20];		/* virtio 1.2 §5.2.6.1: without a NUL if it has 20 */
};

struct protocol_network {
	uint8_t mac[6];			/* which card */
	uint8_t prefix_bits;
	uint8_t pad;
	uint8_t address[4], gateway[4], dns[4];	/* all zero: none */
};

struct protocol_size {
	uint16_t columns, rows;
};

struct protocol_count {
	uint64_t bytes;
};

struct protocol_stream {
	uint32_t stream;		/* 1: stdout, 2: stderr */
};

struct protocol_stream_end {
	uint32_t stream;		/* 1: stdout, 2: stderr */
	uint32_t pad;
	uint64_t bytes;
};

enum protocol_end {
	PROTOCOL_END_EXITED,		/* value: its status */
	PROTOCOL_END_SIGNALED,		/* value: the signal */
	PROTOCOL_END_NOT_STARTED,	/* value: errno of execve(2) */
};

struct protocol_exited {
	uint32_t end;			/* enum protocol_end */
	uint32_t value;
};

#endif
