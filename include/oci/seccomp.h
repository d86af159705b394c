/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A container's list of system calls (config.json: linux.seccomp), as the program that a kernel runs at each
 * of them. It is the guest's kernel that does; the VM's own filters are in sandbox/.
 *
 * Pure, but for a memory file.
 */
#ifndef LKVM_OCI_SECCOMP_H
#define LKVM_OCI_SECCOMP_H

#include <stddef.h>
#include <stdint.h>

#include "oci/config.h"

struct seccomp_program {
	uint32_t flags; /* SECCOMP_FILTER_FLAG_... of seccomp(2) */
	void *bytes;	/* struct sock_filter */
	size_t nr_bytes;
};

/* 0 or -errno with the reason in @error; seccomp_fini() in any case. */
int seccomp_make(struct seccomp_program *p, struct json_object *from, struct config_error *error);
void seccomp_fini(struct seccomp_program *p);

#endif
