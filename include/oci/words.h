/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Words of config.json that stand for numbers: capabilities, limits, options of mounts. Pure.
 */
#ifndef LKVM_OCI_WORDS_H
#define LKVM_OCI_WORDS_H

#include <stdbool.h>

struct word_flags {
	unsigned long set, cleared; /* MS_... of mount(2) */
};

/* "CAP_CHOWN": its number, or -1. */
int words_capability(const char *word);

/* "RLIMIT_NOFILE": its number, or -1. */
int words_rlimit(const char *word);

/* An option that is a flag of mount(2), or that means nothing where nothing is shared. */
bool words_mount_option(const char *word, struct word_flags *flags);

/* One that would have mounts of the container seen elsewhere. */
bool words_is_shared_mount(const char *word);

#endif
