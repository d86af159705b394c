/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The control group of a container on the host: its holder, its VM and all of the VM's processes are in it,
 * and what config.json limits there is limited for all of them. Version 2 only.
 *
 * Main thread.
 */
#ifndef LKVM_OCI_CGROUP_H
#define LKVM_OCI_CGROUP_H

#include <sys/types.h>

#include "oci/config.h"

/* What a VM has beside the memory of its guest. */
#define CGROUP_OVERHEAD_BYTES (128ull << 20)

/*
 * Makes it with its limits, as @c says; @path, which has room for PATH_MAX, is its directory then, "" if the
 * engine gave none. One that is there is taken if nothing is in it, neither processes nor groups (-EBUSY);
 * *made says, also of an error, that it was not there: cgroup_remove() is for such ones. 0 or -errno with the
 * reason in @error.
 */
int cgroup_make(const struct config *c, char *path, bool *made, struct config_error *error);

/*
 * One that systemd has made (oci/scope.h), at @place below the mount: gets limits, and @path, as above. 0 or -errno with
 * the reason in @error.
 */
int cgroup_take(const struct config *c, const char *place, char *path, struct config_error *error);

/* Version 1's shares, from 2 to 262144, as version 2's weight, from 1 to 10000. */
int64_t cgroup_weight(int64_t shares);

/* The limit of a VM whose guest has @bytes; -1: none, as there is no such number. */
int64_t cgroup_vm_bytes(int64_t bytes);

/* Sets its limits of CPUs anew, as far as they are given. 0 or -errno with the reason in @error. */
int cgroup_update(const char *path, const struct config_resources *r, struct config_error *error);

/* Of a quota without a period, or a period without a quota, @r gets the other as the group at @path has it. */
void cgroup_complete_cpu(const char *path, struct config_resources *r);

/* Its file cgroup.procs, opened for writing; -1: @path is "" . -errno. */
int cgroup_open(const char *path);

/* Moves @pid into what cgroup_open() gave. 0 or -errno. */
int cgroup_enter(int procs_fd, pid_t pid);

/* This process and its children. 0 or -errno. */
int cgroup_enter_family(int procs_fd);

/* Removes one that cgroup_make() has made; its processes have four seconds to be gone. 0 or -errno. */
int cgroup_remove(const char *path);

#endif
