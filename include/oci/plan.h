/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a container's VM is told: config.json as messages for the guest's first process
 * (guest/protocol.h), and the directories and disks of the host that it is lent.
 *
 * Single files of the host are read now, and become files of the guest. What cannot be done yet is an
 * error that says so.
 */
#ifndef LKVM_OCI_PLAN_H
#define LKVM_OCI_PLAN_H

#include "cmd/options.h"
#include "oci/config.h"
#include "oci/pod.h"

#define PLAN_MAX_FILE_BYTES (8u << 20) /* of single files, all together */
#define PLAN_MAX_DISKS	    8u
#define PLAN_DISK_BYTES	    128u

struct plan {
	char *bytes; /* the messages */
	size_t nr_bytes;
	unsigned int nr_dirs;
	struct dir_option dirs[OPTIONS_MAX_DIRS];
	char *dir_texts[OPTIONS_MAX_DIRS]; /* what they point into; ours */
	unsigned int nr_disks;
	char disks[PLAN_MAX_DISKS][PLAN_DISK_BYTES]; /* of the host, as --disk takes them */
	int claims[PLAN_MAX_DISKS];		     /* device_claim() of those that can be written, for the VM to hold; -1 */
	struct config_strings environment;	     /* all of it; its list is ours */
};

/*
 * @c, the container @id of @pod, is lent to it. Of one that joins a pod the messages are those that make it, but
 * for whose rights it has (plan_process()). 0 or -errno, with the reason in @error; plan_fini() in any case.
 */
int plan_make(struct plan *p, const struct config *c, const struct pod *pod, const char *id,
	      struct config_error *error);
void plan_fini(struct plan *p);

struct protocol_credentials;

/* Whose rights a process has. */
void plan_credentials(const struct config_process *from, struct protocol_credentials *c);

/*
 * struct protocol_exec and what stands behind it, of c->process: a text of *bytes for the caller to free. It starts
 * in @cwd (""; where its steps have led). 0; -ENOMEM; -E2BIG: more than Linux takes.
 */
int plan_process(const struct config *c, const char *cwd, char **text, size_t *bytes);

/* As init takes it; @to, whose list is the caller's to free, points into @c. 0 or -ENOMEM. */
int plan_environment(const struct config *c, struct config_strings *to);

/*
 * Looks for args[0] as execvp(3) would, in the root, which is @root_fd, and in what is bound into it. 0; -ENOENT
 * or -EACCES with the words for it in @error, by which engines know it.
 */
int plan_find_program(const struct config *c, int root_fd, struct config_error *error);

#endif
