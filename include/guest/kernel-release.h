/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a kernel calls itself, as "uname -r" says it: its modules are found by that.
 *
 * Found in a bzImage (a field of its header), an ELF vmlinux (the banner in its read-only data)
 * and a unified kernel image (the bzImage in it). The file is untrusted: each offset is checked
 * against its size, and at most KERNEL_RELEASE_MAX_SEARCH bytes of it are looked through.
 */
#ifndef LKVM_GUEST_KERNEL_RELEASE_H
#define LKVM_GUEST_KERNEL_RELEASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KERNEL_RELEASE_BYTES	  65 /* with the NUL; as long as utsname allows */
#define KERNEL_RELEASE_MAX_SEARCH (256ull << 20)

struct kernel_release {
	char text[KERNEL_RELEASE_BYTES]; /* letters, digits and ".+~_-": a name for a folder */
	unsigned int major, minor;
	bool is_64bit;
};

/*
 * In file @fd of @file_bytes bytes. 0; -ENODATA: it does not say, or is no kernel; -errno if it
 * cannot be read. No message.
 */
int kernel_release_find(struct kernel_release *release, int fd, uint64_t file_bytes);

/*
 * The same of the file at @path; -ENODATA if it is no regular file, which is then not even opened:
 * what a pipe has is there for one reader.
 */
int kernel_release_read(struct kernel_release *release, const char *path);

/* From @bytes of @text, which begin with a release and go on with a blank or a NUL. 0 or -ENODATA. */
int kernel_release_parse(struct kernel_release *release, const char *text, size_t bytes);

bool kernel_release_is_older(const struct kernel_release *release, unsigned int major,
			     unsigned int minor);

#endif
