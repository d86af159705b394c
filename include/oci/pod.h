/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pods: containers that share a VM. The sandbox (podman's infra container, a container of type "sandbox"
 * of containerd and Kubernetes) makes it, with spare disks; each further container of the pod gets one of
 * these for its root, and joins.
 *
 * Pure, but for pod_check_spaces(), which looks at files of /proc.
 */
#ifndef LKVM_OCI_POD_H
#define LKVM_OCI_POD_H

#include <sys/types.h>

#include "oci/config.h"

#define POD_MAX_CONTAINERS     16u /* beside the sandbox */
#define POD_DEFAULT_CONTAINERS 8u

enum pod_role {
	POD_NONE, /* a container of its own */
	POD_SANDBOX,
	POD_MEMBER,
};

struct pod {
	enum pod_role role;
	const char *sandbox;	/* of a member: whose it is */
	unsigned int nr_spares; /* of a sandbox: how many others there can be */
	/* Of a member: namespaces that are its own, and not the pod's. */
	bool own_ipc, own_uts, shared_pids;
};

/* What @c's annotations say. 0 or -EINVAL with the reason in @error. */
int pod_find(struct pod *p, const struct config *c, struct config_error *error);

/*
 * A member's namespaces have to be its sandbox's, whose process is @holder, but for those that the guest can
 * give it anew. 0 or -errno with the reason in @error.
 */
int pod_check_spaces(struct pod *p, const struct config *c, pid_t holder, struct config_error *error);

/*
 * What the annotations of @member say of the VM, which it joins, is to be what @sandbox has, whose VM it is: 0, or
 * -EINVAL with the name of another one in @error. Engines hand a pod's annotations to all of its containers.
 */
int pod_check_annotations(const struct config *member, const struct config *sandbox, struct config_error *error);

#endif
