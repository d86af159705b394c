// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a container is in a pod (oci/pod.h).
 *
 * containerd says it by annotations. podman says it of members only: its infra container is known by the
 * program that it runs, which does nothing, or by the annotation lkvm.max_containers.
 *
 * Sources: annotations of containerd 1.6 and podman 4.3 as they were watched; namespaces(7).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "oci/pod.h"
#include "util.h"

static const struct {
	const char *type, *sandbox;
} kinds[] = {
	{ "io.kubernetes.cri.container-type", "io.kubernetes.cri.sandbox-id" },
	{ "io.kubernetes.cri-o.ContainerType", "io.kubernetes.cri-o.SandboxID" },
};

/* What does nothing until it is ended: catatonit -P, pause. */
static bool runs_nothing(const struct config *c)
{
	const struct config_strings *args = &c->process.args;
	const char *name = args->nr ? args->texts[0] : "", *slash = strrchr(name, '/');

	name = slash ? slash + 1 : name;
	return (args->nr == 1 && !strcmp(name, "pause")) ||
	       (args->nr == 2 && !strcmp(name, "catatonit") && !strcmp(args->texts[1], "-P"));
}

static int set_spares(struct pod *p, const struct config *c, struct config_error *error)
{
	const char *text = config_annotation(c, "lkvm.max_containers");
	char *end;
	unsigned long n;

	p->nr_spares = POD_DEFAULT_CONTAINERS;
	if (!text)
		return 0;
	n = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || n > POD_MAX_CONTAINERS) {
		snprintf(error->text, sizeof(error->text),
			 "config.json: annotations.lkvm.max_containers: \"%.40s\" is "
			 "no number from 0 to %u",
			 text, POD_MAX_CONTAINERS);
		return -EINVAL;
	}
	p->nr_spares = (unsigned int)n;
	return 0;
}

int pod_find(struct pod *p, const struct config *c, struct config_error *error)
{
	const char *type = NULL, *sandbox = NULL;
	bool is_podmans = config_annotation(c, "io.container.manager");

	*p = (struct pod){ 0 };
	for (size_t i = 0; i < ARRAY_SIZE(kinds) && !type; i++) {
		type = config_annotation(c, kinds[i].type);
		sandbox = config_annotation(c, kinds[i].sandbox);
	}
	if (type && !strcmp(type, "container")) {
		p->role = POD_MEMBER;
		p->sandbox = sandbox;
		if (sandbox)
			return 0;
		snprintf(error->text, sizeof(error->text),
			 "config.json: annotations: a container of a pod, which has "
			 "no name");
		return -EINVAL;
	}
	if (type && strcmp(type, "sandbox") != 0) {
		snprintf(error->text, sizeof(error->text),
			 "config.json: annotations: there is no type \"%.40s\" of "
			 "containers",
			 type);
		return -EINVAL;
	}
	if (!type && !(is_podmans && runs_nothing(c)) && !config_annotation(c, "lkvm.max_containers"))
		return 0;
	p->role = POD_SANDBOX;
	return set_spares(p, c, error);
}

int pod_check_annotations(const struct config *member, const struct config *sandbox, struct config_error *error)
{
	static const char *const names[] = {
		"lkvm.memory",
		"lkvm.cpus",
		"lkvm.kernel",
		"lkvm.modules",
		"lkvm.network",
		"lkvm.publish",
		"lkvm.warm",
		"lkvm.max_containers",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *asked = config_annotation(member, names[i]), *is = config_annotation(sandbox, names[i]);

		if (!asked || (is && !strcmp(asked, is)))
			continue;
		snprintf(error->text, sizeof(error->text), "config.json: annotations.%s: is one of the VM, which is the pod's; "
							   "its sandbox has %.100s",
			 names[i], is ? is : "none");
		return -EINVAL;
	}
	return 0;
}

/* ---- namespaces ---- */

static bool is_same_file(const char *path, pid_t holder, const char *name)
{
	struct stat theirs, given;
	char own[64];

	snprintf(own, sizeof(own), "/proc/%d/ns/%s", holder, name);
	return !stat(own, &theirs) && !stat(path, &given) && theirs.st_dev == given.st_dev &&
	       theirs.st_ino == given.st_ino;
}

int pod_check_spaces(struct pod *p, const struct config *c, pid_t holder, struct config_error *error)
{
	static const struct {
		enum config_namespace_kind kind;
		const char *name, *words;
	} all[] = {
		{ CONFIG_NS_NETWORK, "net", "network" },
		{ CONFIG_NS_IPC, "ipc", "IPC objects" },
		{ CONFIG_NS_UTS, "uts", "host name" },
		{ CONFIG_NS_PID, "pid", "processes" },
	};
	const struct config_namespace *n = c->namespaces;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		const struct config_namespace *one = &n[all[i].kind];

		if (one->path && is_same_file(one->path, holder, all[i].name))
			continue;
		if (one->given && !one->path && all[i].kind != CONFIG_NS_NETWORK)
			continue;
		snprintf(error->text, sizeof(error->text),
			 "config.json: linux.namespaces: a container of a pod has "
			 "the pod's %s, or its own%s",
			 all[i].words,
			 all[i].kind == CONFIG_NS_NETWORK ? " in a pod of its own" : "");
		return -ENOTSUP;
	}
	p->own_ipc = !n[CONFIG_NS_IPC].path;
	p->own_uts = !n[CONFIG_NS_UTS].path;
	p->shared_pids = n[CONFIG_NS_PID].path;
	return 0;
}
