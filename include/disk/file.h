/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Image files as formats see them: opening, locking, geometry. Internal to disk/.
 */
#ifndef LKVM_DISK_FILE_H
#define LKVM_DISK_FILE_H

#include <stdbool.h>
#include <stdint.h>

#define FILE_ZEROES_BYTES 0x200000u

struct file_geometry {
	uint64_t size_bytes;
	bool regular;	      /* not a block device */
	uint32_t block_bytes; /* that O_DIRECT or the device asks for */
	uint32_t physical_bytes;
	uint32_t align; /* of buffers, their addresses and lengths; 1: any will do */
};

/* What others may do while we have the image open. */
enum file_use {
	FILE_READ,	  /* a writer that is there already may stay (,ro and ,cow) */
	FILE_READ_STABLE, /* nobody may write: a backing file */
	FILE_WRITE,	  /* nobody else may write */
};

/*
 * Opens a regular file or block device and locks it. The locks last as long as this
 * descriptor: do I/O through another one (file_reopen), since a descriptor that was
 * registered with io_uring outlives its process by up to a second. fd, or -errno
 * after a message.
 */
int file_open(const char *path, enum file_use use);

/* A second, independent descriptor of @fd's file. fd or -errno after a message. */
int file_reopen(int fd, const char *path, bool writable, bool direct);

/* 0 or -errno, after a message. */
int file_geometry(int fd, const char *path, bool direct, struct file_geometry *out);

/*
 * The size of a file or device, as far as this host knows it: nobody is asked, a file system that
 * does not answer makes nobody wait. 0 or -errno.
 */
int file_size_now(int fd, bool regular, uint64_t *bytes);

/* FILE_ZEROES_BYTES of zeros to write from; shared, page-aligned. */
const void *file_zeroes(void);

#endif
