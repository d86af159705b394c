/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A bundle's config.json, as a configuration: what an engine has written of one container.
 *
 * Pure: nothing is opened, and nothing of the process is touched. What is wrong is an error that names
 * the field. What lkvm cannot do is one, too, unless the annotation lkvm.ignore names the field
 * ("linux.intelRdt hooks"), or it asks for nothing; names that the specification does not have are
 * passed over, as it demands, and noted. So nothing is dropped silently.
 *
 * Sources: OCI runtime specification 1.2.0, config.md and config-linux.md (an older one, 1.0.2, is
 * what podman and containerd write).
 */
#ifndef LKVM_OCI_CONFIG_H
#define LKVM_OCI_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_MAX_BYTES  (4u << 20)
#define CONFIG_MAX_DEPTH  16
#define CONFIG_MAX_ITEMS  4096u /* of any list but these: */
#define CONFIG_MAX_GROUPS 32u
#define CONFIG_NR_RLIMITS 16u /* RLIM_NLIMITS */

struct json_object;

struct config_error {
	char text[512];
};

struct config_strings {
	unsigned int nr;
	const char **texts; /* a NULL behind them */
};

struct config_pair {
	const char *name, *value;
};

struct config_pairs {
	unsigned int nr;
	struct config_pair *pairs;
};

/* Bits as capabilities(7) numbers them. */
struct config_capabilities {
	bool given;
	uint64_t bounding, effective, inheritable, permitted, ambient;
};

struct config_rlimit {
	bool given;
	uint64_t soft, hard;
};

struct config_process {
	bool terminal;
	uint16_t columns, rows; /* 0: not given */
	uint32_t uid, gid;
	bool umask_given;
	uint32_t umask;
	unsigned int nr_groups;
	uint32_t groups[CONFIG_MAX_GROUPS]; /* additional ones */
	struct config_strings args, env;
	const char *cwd;
	struct config_capabilities capabilities;
	struct config_rlimit rlimits[CONFIG_NR_RLIMITS]; /* by RLIMIT_... */
	bool no_new_privileges;
	bool oom_score_given;
	int oom_score;
};

struct config_mount {
	const char *destination, *type, *source; /* type "bind": source is a path of the host */
	unsigned long flags;			 /* MS_RDONLY, MS_NOSUID ... as mount(2) has them; MS_BIND, MS_REC */
	bool copy_up;				 /* tmpcopyup: a tmpfs begins with what is below it */
	char *data;				 /* what is the file system's own: "mode=755,size=65536k", or "" */
};

enum config_namespace_kind {
	CONFIG_NS_PID,
	CONFIG_NS_NETWORK,
	CONFIG_NS_IPC,
	CONFIG_NS_UTS,
	CONFIG_NS_MOUNT,
	CONFIG_NS_CGROUP,
	CONFIG_NR_NAMESPACES
};

struct config_namespace {
	bool given;
	const char *path; /* NULL: a new one */
};

struct config_device_rule {
	bool allow, read, write;
	char type;	      /* a (any), b or c */
	int64_t major, minor; /* -1: any */
};

/* Negative or 0: not given. */
struct config_resources {
	int64_t memory_bytes, swap_bytes, reservation_bytes;
	int64_t cpu_shares, cpu_quota_us, cpu_period_us;
	const char *cpus, *mems; /* lists, or NULL */
	int64_t pids;
	unsigned int nr_rules;
	struct config_device_rule *rules; /* of devices, in their order */
};

struct config_device {
	const char *path;
	char type; /* b, c or p */
	uint32_t major, minor, mode, uid, gid;
};

struct config {
	struct json_object *tree; /* what the texts are in */
	const char *root;	  /* as it was written: absolute, or in the bundle */
	bool root_read_only;
	unsigned long root_propagation; /* MS_SHARED ... | MS_REC; 0: not given */
	bool has_process;
	struct config_process process;
	const char *hostname, *domainname; /* or NULL */
	unsigned int nr_mounts;
	struct config_mount *mounts;
	struct config_pairs annotations, sysctl;
	struct config_strings masked_paths, read_only_paths;
	const char *cgroups_path; /* or NULL */
	struct config_namespace namespaces[CONFIG_NR_NAMESPACES];
	struct config_resources resources;
	unsigned int nr_devices;
	struct config_device *devices;
	struct json_object *seccomp; /* its object, unread; NULL: none */
	char notes[2048];	     /* names that were passed over or ignored, one a line */
};

enum config_kind {
	CONFIG_BUNDLE,	  /* a config.json */
	CONFIG_RESOURCES, /* what --resources of update names: a linux.resources alone */
	CONFIG_PROCESS,	  /* what --process of exec names: a process object alone */
};

/*
 * Reads the @bytes of one. 0; -EINVAL, -ENOTSUP or -ENOMEM with the reason in @error. config_fini() in
 * any case.
 */
int config_parse(struct config *c, enum config_kind kind, const char *text, size_t bytes,
		 struct config_error *error);

/*
 * The whole file behind @fd, which has CONFIG_MAX_BYTES at most, as a text for the caller to free. 0 or
 * -errno; -ETIMEDOUT: it is a pipe whose end has not come in 10 s.
 */
int config_read_file(int fd, char **text, size_t *bytes);

void config_fini(struct config *c);

/* The value of an annotation, or NULL. */
const char *config_annotation(const struct config *c, const char *name);

/*
 * Annotations choose files of the host that root opens, and drop what protects; and images have some. So of those
 * that begin with "lkvm." only memory, cpus, max_containers, publish, warm and the words of @allowed (NULL: none) are obeyed: 0, or
 * -EPERM with the name of another one in @error.
 */
int config_check_annotations(const struct config *c, const char *allowed, struct config_error *error);

/* The annotation lkvm.ignore has this word. */
bool config_ignores(const struct config *c, const char *word);

/* A variable of the process's environment, or NULL. */
const char *config_variable(const struct config *c, const char *name);

#endif
