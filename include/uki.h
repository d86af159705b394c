/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Unified kernel images: one EFI program that carries a kernel, its initrd and its command
 * line as sections, for firmware to start. lkvm has no firmware and takes them out.
 *
 * The file is untrusted. Its table of sections is read once into a copy, and each section
 * is checked against the file's size.
 */
#ifndef LKVM_UKI_H
#define LKVM_UKI_H

#include <stddef.h>
#include <stdint.h>

/* Part of the file, inside of it; no bytes: it is not there. */
struct uki_section {
	uint64_t offset, bytes;
};

struct uki {
	struct uki_section kernel;  /* .linux: there is always one */
	struct uki_section initrd;  /* .initrd */
	struct uki_section cmdline; /* .cmdline */
};

/*
 * Looks into file @fd of @file_bytes bytes. 0; -ENOENT: it is no EFI program; -EINVAL: it is
 * one, but *why lkvm cannot start it.
 */
int uki_find(struct uki *uki, int fd, uint64_t file_bytes, const char **why);

/* The command line, as one line, to be freed; NULL if there is none or it cannot be read. */
char *uki_read_cmdline(const struct uki *uki, int fd);

#endif
