// SPDX-License-Identifier: GPL-2.0-only
/*
 * From config.json to what the guest's first process does (oci/plan.h).
 *
 * The guest knows no container: it knows mounts, files, nodes and links, and takes them in the order
 * of this list. The kernel's settings and limits come first, while nothing hides them; then init's own
 * /sys and /proc go, which nobody has asked for; then mounts as config.json has them, with what belongs
 * into /dev behind it; then what is hidden or made read-only; the working directory; and the root, which
 * nobody changes any more. A directory of the host comes as a disk, which is mounted at a place of ours
 * and moved from there when it is its turn.
 *
 * Sources: OCI runtime specification 1.2.0, config.md, config-linux.md ("Default Devices", "Dev symbolic
 * links"); mount(2); cgroups(7).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "guest/protocol.h"
#include "oci/cgroup.h"
#include "oci/device.h"
#include "oci/plan.h"
#include "oci/seccomp.h"
#include "util.h"

#define OUR_PLACE    PROTOCOL_PLACE
#define POD_SHM	     OUR_PLACE "/shm"
#define CHUNK_BYTES  65536u
#define GUEST_CGROUP PROTOCOL_GROUP
#define OPTIONAL     1u
#define AS_MAY_BE    2u /* whatever becomes of it */

struct planner {
	const struct config *config;
	const struct pod *pod;
	const char *id;
	struct plan *plan;
	struct config_error *error;
	int rc;
	FILE *out;
	unsigned int nr_steps, nr_places, nr_volumes;
	uint64_t file_bytes;
	bool has_dev; /* its own, with all that belongs there */
};

__attribute__((format(printf, 3, 4))) static void plan_fail(struct planner *p, int rc, const char *fmt, ...)
{
	va_list ap;

	if (p->rc)
		return;
	p->rc = rc;
	va_start(ap, fmt);
	vsnprintf(p->error->text, sizeof(p->error->text), fmt, ap);
	va_end(ap);
}

/* ---- messages ---- */

static void put_message(struct planner *p, enum protocol_kind kind, const void *payload, size_t bytes)
{
	const struct protocol_header h = { .kind = kind, .bytes = (uint32_t)bytes };

	if (bytes > PROTOCOL_MAX_BYTES)
		plan_fail(p, -E2BIG, "config.json: a text of it is longer than %u bytes", PROTOCOL_MAX_BYTES);
	fwrite(&h, sizeof(h), 1, p->out);
	fwrite(payload, 1, bytes, p->out);
}

/* @texts, each with its NUL, and @data behind them. */
static void put_step_data(struct planner *p, const struct protocol_step *step, const char *const *texts,
			  unsigned int nr, const void *data, size_t data_bytes)
{
	char *message = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&message, &bytes);

	if (++p->nr_steps > PROTOCOL_MAX_STEPS)
		plan_fail(p, -E2BIG, "config.json: it takes more than %u steps", PROTOCOL_MAX_STEPS);
	if (!out) {
		plan_fail(p, -ENOMEM, "no memory");
		return;
	}
	fwrite(step, sizeof(*step), 1, out);
	for (unsigned int i = 0; i < nr; i++)
		fwrite(texts[i], 1, strlen(texts[i]) + 1, out);
	fwrite(data, 1, data_bytes, out);
	if (fclose(out))
		plan_fail(p, -ENOMEM, "no memory");
	else
		put_message(p, PROTOCOL_STEP, message, bytes);
	free(message);
}

static void put_step(struct planner *p, const struct protocol_step *step, const char *const *texts,
		     unsigned int nr)
{
	put_step_data(p, step, texts, nr, "", 0);
}

static void put_mount(struct planner *p, const char *source, const char *target, const char *type,
		      unsigned long flags, const char *data, uint32_t optional)
{
	const struct protocol_step step = { PROTOCOL_DO_MOUNT, optional, flags, 0 };
	const char *const texts[] = { source, target, type, data };

	put_step(p, &step, texts, 4);
}

static void plan_put_directory(struct planner *p, const char *path, unsigned int mode)
{
	const struct protocol_step step = { PROTOCOL_DO_DIRECTORY, 0, 0, mode };

	put_step(p, &step, &path, 1);
}

static void plan_put_link(struct planner *p, const char *to, const char *path)
{
	const struct protocol_step step = { PROTOCOL_DO_LINK, 0, 0, 0 };
	const char *const texts[] = { to, path };

	put_step(p, &step, texts, 2);
}

static void put_path(struct planner *p, enum protocol_what what, const char *path)
{
	const struct protocol_step step = { what, 0, 0, 0 };

	put_step(p, &step, &path, 1);
}

static void put_file_step(struct planner *p, struct protocol_step step, const char *path, const char *data,
			  size_t bytes)
{
	size_t at = 0, n;

	do {
		n = min_u64(bytes - at, CHUNK_BYTES);
		put_step_data(p, &step, &path, 1, data + at, n);
		step.flags = PROTOCOL_FILE_MORE;
		at += n;
	} while (at < bytes && !p->rc);
}

/* One of the kernel's. */
static void plan_put_file(struct planner *p, const char *path, const char *data, size_t bytes)
{
	put_file_step(p, (struct protocol_step){ .what = PROTOCOL_DO_FILE }, path, data, bytes);
}

/* One as @st says, whatever is in its place. */
static void put_owned_file(struct planner *p, const char *path, const struct stat *st, const char *data,
			   size_t bytes)
{
	const struct protocol_step step = {
		.what = PROTOCOL_DO_FILE,
		.flags = PROTOCOL_FILE_OWNED | (uint64_t)st->st_uid << 32,
		.arg = (st->st_mode & 07777) | (uint64_t)st->st_gid << 32,
	};

	put_file_step(p, step, path, data, bytes);
}

/* ---- the kernel's settings, limits ---- */

static void plan_sysctl(struct planner *p, const struct config_pair *pair)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "/proc/sys/%s", pair->name);

	for (char *c = path + strlen("/proc/sys/"); *c && n < (int)sizeof(path); c++)
		if (*c == '.')
			*c = '/';
	if (n >= (int)sizeof(path) || strstr(path, "//") || path[n - 1] == '/')
		plan_fail(p, -EINVAL, "config.json: linux.sysctl: \"%.100s\" is no name of one", pair->name);
	else
		plan_put_file(p, path, pair->value, strlen(pair->value));
}

/* Processes of the guest have their limit in the guest. */
static void plan_pids(struct planner *p)
{
	char text[32];

	if (p->config->resources.pids <= 0)
		return;
	snprintf(text, sizeof(text), "%lld", (long long)p->config->resources.pids);
	plan_put_file(p, "/sys/fs/cgroup/cgroup.subtree_control", "+pids", 5);
	plan_put_directory(p, GUEST_CGROUP, 0755);
	plan_put_file(p, GUEST_CGROUP "/pids.max", text, strlen(text));
	plan_put_file(p, GUEST_CGROUP "/cgroup.procs", "0", 1);
}

/* ---- limits of a container that shares its VM ---- */

__attribute__((format(printf, 3, 4))) static void plan_limit(struct planner *p, const char *path,
							     const char *fmt, ...)
{
	const struct protocol_step step = { .what = PROTOCOL_DO_FILE, .optional = AS_MAY_BE };
	char text[64];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	put_step_data(p, &step, &path, 1, text, strlen(text));
}

static const char *in_group(const struct planner *p, char path[512], const char *file)
{
	snprintf(path, 512, GUEST_CGROUP ".%s%s", p->id, file);
	return path;
}

/* As far as the guest's kernel counts these. */
static void plan_group(struct planner *p)
{
	static const char *const controllers[] = { "+memory", "+cpu", "+pids" };
	const struct protocol_step make = { .what = PROTOCOL_DO_DIRECTORY, .optional = AS_MAY_BE, .arg = 0755 };
	const struct config_resources *r = &p->config->resources;
	char path[512];

	for (size_t i = 0; i < ARRAY_SIZE(controllers); i++)
		plan_limit(p, "/sys/fs/cgroup/cgroup.subtree_control", "%s", controllers[i]);
	put_step(p, &make, &(const char *){ in_group(p, path, "") }, 1);
	if (r->memory_bytes > 0)
		plan_limit(p, in_group(p, path, "/memory.max"), "%lld", (long long)r->memory_bytes);
	if (r->memory_bytes > 0 && r->swap_bytes >= r->memory_bytes)
		plan_limit(p, in_group(p, path, "/memory.swap.max"), "%lld", (long long)(r->swap_bytes - r->memory_bytes));
	if (r->cpu_quota_us > 0)
		plan_limit(p, in_group(p, path, "/cpu.max"), "%lld %lld", (long long)r->cpu_quota_us,
			   (long long)(r->cpu_period_us ? r->cpu_period_us : 100000));
	if (r->cpu_shares >= 2)
		plan_limit(p, in_group(p, path, "/cpu.weight"), "%lld", (long long)cgroup_weight(r->cpu_shares));
	if (r->pids > 0)
		plan_limit(p, in_group(p, path, "/pids.max"), "%lld", (long long)r->pids);
	plan_limit(p, in_group(p, path, "/cgroup.procs"), "0");
}

static void plan_settings(struct planner *p)
{
	const struct config *c = p->config;

	if (p->pod->role == POD_MEMBER)
		plan_group(p);
	else
		plan_pids(p);
	if (p->pod->own_uts && c->hostname)
		plan_put_file(p, "/proc/sys/kernel/hostname", c->hostname, strlen(c->hostname));
	for (unsigned int i = 0; i < c->sysctl.nr; i++)
		plan_sysctl(p, &c->sysctl.pairs[i]);
	if (c->domainname)
		plan_put_file(p, "/proc/sys/kernel/domainname", c->domainname, strlen(c->domainname));
}

/* init's, which shows its processes, and can be written. Its /dev stays for who names none. */
static void plan_hide_init(struct planner *p)
{
	put_path(p, PROTOCOL_DO_UNMOUNT, "/sys");
	put_path(p, PROTOCOL_DO_UNMOUNT, "/proc");
}

/* ---- /dev ---- */

#define NOT_LENT "; the annotation lkvm.ignore with linux.devices leaves out what engines list for --privileged"

static void plan_fail_disk(struct planner *p, const struct config_device *d, const char *why)
{
	plan_fail(p, -ENOTSUP, "config.json: linux.devices: %.100s: the disk %u:%u %s" NOT_LENT, d->path, d->major, d->minor,
		  why);
}

/* Where its file is: device_claim(), and whether it is only read. -1 after a message. */
static int claim_disk(struct planner *p, const struct config_device *d, char path[DEVICE_PATH_BYTES], bool *read_only)
{
	const unsigned int access = device_access(p->config, d);
	char why[160];
	int rc;

	*read_only = !(access & DEVICE_WRITE);
	if (p->pod->role == POD_MEMBER)
		plan_fail_disk(p, d, "cannot be lent to a container of a pod, whose VM is there already");
	else if (!(access & DEVICE_READ))
		plan_fail_disk(p, d, "may not be read, as linux.resources.devices says");
	else if (p->plan->nr_disks == PLAN_MAX_DISKS)
		plan_fail_disk(p, d, "is one more than the 8 that can be lent");
	if (p->rc)
		return -1;
	rc = device_claim(DEVICE_SYS, d, path);
	if (rc >= 0)
		return rc;
	snprintf(why, sizeof(why), "cannot be lent: %s",
		 rc == -ENODEV ? "the host has none of this number in /dev" :
		 rc == -EBUSY  ? "it is in use (mounted, a part of something else, or another container's)" :
				 strerror(-rc));
	plan_fail_disk(p, d, why);
	return -1;
}

/* Many may read it, if nobody writes. */
static int claim_of_reader(int claim)
{
	close(claim);
	return -1;
}

/* Which number it has in the guest is known there; it is found by its serial number. */
static void plan_disk(struct planner *p, const struct config_device *d)
{
	const struct protocol_step step = {
		PROTOCOL_DO_DISK,
		0,
		S_IFBLK | d->mode | (uint64_t)d->uid << 32,
		(uint64_t)d->gid << 32,
	};
	char path[DEVICE_PATH_BYTES], serial[16];
	struct plan *plan = p->plan;
	bool read_only;
	int claim = claim_disk(p, d, path, &read_only);

	if (claim < 0)
		return;
	plan->claims[plan->nr_disks] = read_only ? claim_of_reader(claim) : claim;
	snprintf(serial, sizeof(serial), "lkvm.device.%u", plan->nr_disks);
	snprintf(plan->disks[plan->nr_disks++], PLAN_DISK_BYTES, "%s,format=raw,serial=%s%s", path, serial,
		 read_only ? ",ro" : "");
	put_step(p, &step, (const char *const[]){ d->path, serial }, 2);
}

static void plan_device(struct planner *p, const struct config_device *d)
{
	const struct protocol_step step = {
		PROTOCOL_DO_NODE, 0, (d->type == 'c' ? S_IFCHR : S_IFIFO) | d->mode | (uint64_t)d->uid << 32,
		(uint32_t)makedev(d->major, d->minor) | (uint64_t)d->gid << 32
	};

	if (d->type == 'b') {
		plan_disk(p, d);
		return;
	}
	if (d->major >= 1u << 12 || d->minor >= 1u << 20) /* what Linux has, in 32 bits */
		plan_fail(p, -EINVAL, "config.json: linux.devices: %.100s: no device has the number %u:%u", d->path,
			  d->major, d->minor);
	put_step(p, &step, &d->path, 1);
}

/* The kernels of all Linux systems have these, by these numbers. */
static void plan_dev(struct planner *p)
{
	static const struct config_device devices[] = {
		{ "/dev/null", 'c', 1, 3, 0666, 0, 0 },
		{ "/dev/zero", 'c', 1, 5, 0666, 0, 0 },
		{ "/dev/full", 'c', 1, 7, 0666, 0, 0 },
		{ "/dev/random", 'c', 1, 8, 0666, 0, 0 },
		{ "/dev/urandom", 'c', 1, 9, 0666, 0, 0 },
		{ "/dev/tty", 'c', 5, 0, 0666, 0, 0 },
	};
	static const char *const links[][2] = {
		{ "/proc/self/fd", "/dev/fd" },
		{ "/proc/self/fd/0", "/dev/stdin" },
		{ "/proc/self/fd/1", "/dev/stdout" },
		{ "/proc/self/fd/2", "/dev/stderr" },
		{ "pts/ptmx", "/dev/ptmx" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(devices); i++)
		plan_device(p, &devices[i]);
	for (unsigned int i = 0; i < p->config->nr_devices; i++) {
		bool is_there = false;

		for (size_t k = 0; k < ARRAY_SIZE(devices); k++)
			is_there |= p->config->devices[i].type != 'b' && !strcmp(p->config->devices[i].path, devices[k].path);
		if (!is_there && !config_ignores(p->config, "linux.devices"))
			plan_device(p, &p->config->devices[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(links); i++)
		plan_put_link(p, links[i][0], links[i][1]);
}

/* In init's /dev, which has all else that its kernel knows. */
static void plan_disks_alone(struct planner *p)
{
	for (unsigned int i = 0; i < p->config->nr_devices; i++)
		if (p->config->devices[i].type == 'b' && !config_ignores(p->config, "linux.devices"))
			plan_disk(p, &p->config->devices[i]);
}

/* ---- mounts ---- */

#define OWN_FLAGS (MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME | MS_RELATIME)

static void make_mount_flags(struct planner *p, const char *path, unsigned long flags)
{
	put_mount(p, "", path, "", MS_REMOUNT | MS_BIND | (flags & (MS_RDONLY | OWN_FLAGS)), "", 0);
}

static void make_read_only(struct planner *p, const char *path, unsigned long flags)
{
	make_mount_flags(p, path, flags | MS_RDONLY);
}

static void refuse_writing(struct planner *p, const struct config_mount *m, const char *what)
{
	plan_fail(p, -ENOTSUP, "config.json: mounts: %.100s: a %s of the host cannot be written from a VM; it can "
			       "be read (ro), and what need not last can be a tmpfs",
		  m->destination, what);
}

/*
 * Files that engines themselves have made for the container: it may write to its copy, as nobody reads
 * theirs. Kubernetes reads termination-log, and there finds nothing; it is in each container of it.
 */
static bool is_of_engine(const char *path)
{
	static const char *const files[] = {
		"/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/run/.containerenv", "/dev/init",
		"/run/podman-init", "/dev/termination-log"
	};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (!strcmp(path, files[i]))
			return true;
	return !strncmp(path, "/run/secrets/", strlen("/run/secrets/")) && !strstr(path, "/..");
}

static void bind_file(struct planner *p, const struct config_mount *m, int fd, const struct stat *st)
{
	size_t bytes = (size_t)st->st_size;
	char *data = NULL;

	if (!(m->flags & MS_RDONLY) && !is_of_engine(m->destination))
		refuse_writing(p, m, "file");
	p->file_bytes += bytes;
	if (p->file_bytes > PLAN_MAX_FILE_BYTES)
		plan_fail(p, -EFBIG, "config.json: mounts: %.100s: single files have more than %u MiB; a "
				     "directory of them can be lent",
			  m->destination, PLAN_MAX_FILE_BYTES >> 20);
	if (!p->rc)
		data = malloc(bytes + 1);
	if (!p->rc && (!data || pread_all(fd, data, bytes, 0)))
		plan_fail(p, -EIO, "config.json: mounts: %.200s: cannot be read", m->source);
	if (!p->rc)
		put_owned_file(p, m->destination, st, data, bytes);
	free(data);
	if (m->flags & MS_RDONLY) {
		put_mount(p, m->destination, m->destination, "", MS_BIND, "", 0);
		make_read_only(p, m->destination, m->flags);
	}
}

/* ---- volumes of a pod that are nobody else's ---- */

#define VOLUME_LETTERS "abcdefghijklmnopqrstuvwxyz0123456789.-"

/* Is what ends before @until in @source pods/UID, as kubelet has it? */
static bool ends_with_pod(const char *source, const char *until)
{
	static const char pods[] = "/pods/";
	const size_t bytes = strlen(pods);
	const char *uid = until;

	while (uid > source && strchr(VOLUME_LETTERS, uid[-1]))
		uid--;
	return uid < until && until[-1] != '.' && (size_t)(uid - source) >= bytes && !strncmp(uid - bytes, pods, bytes);
}

/* Its name, if kubelet has made it as one that is empty at first and goes with the pod; otherwise NULL. */
static const char *name_of_empty_dir(const char *source)
{
	static const char place[] = "/volumes/kubernetes.io~empty-dir/";
	const char *at = strstr(source, place), *name = at && ends_with_pod(source, at) ? at + strlen(place) : "";

	return *name && *name != '.' && strlen(name) < PROTOCOL_VOLUME_NAME_BYTES && !name[strspn(name, VOLUME_LETTERS)] ? name : NULL;
}

/* 0, or -errno; -ENOTEMPTY. */
static int check_directory_is_empty(const char *path)
{
	struct dirent *e;
	DIR *d = opendir(path);
	int rc = d ? 0 : -errno;

	while (d && !rc && (e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			rc = -ENOTEMPTY;
	if (d)
		closedir(d);
	return rc;
}

/* As the host's is, and as large, if that has a bound. */
static void write_volume_options(char *text, size_t bytes, const char *source, const struct stat *st)
{
	struct statfs fs;
	const bool bound = !statfs(source, &fs) && fs.f_type == TMPFS_MAGIC && fs.f_blocks;
	int n = snprintf(text, bytes, "mode=%o,uid=%u,gid=%u,size=", st->st_mode & 07777, st->st_uid, st->st_gid);

	if (bound)
		snprintf(text + n, bytes - (size_t)n, "%llu", (unsigned long long)fs.f_blocks * (unsigned long long)fs.f_bsize);
	else
		snprintf(text + n, bytes - (size_t)n, "50%%");
}

static void put_volume(struct planner *p, const struct config_mount *m, const struct protocol_volume *v)
{
	char place[32];

	snprintf(place, sizeof(place), OUR_PLACE "/v%u", p->nr_volumes++);
	if (p->nr_volumes > PROTOCOL_MAX_VOLUMES)
		plan_fail(p, -E2BIG, "config.json: mounts: more than %u volumes of a pod", PROTOCOL_MAX_VOLUMES);
	put_message(p, PROTOCOL_VOLUME, v, sizeof(*v));
	put_mount(p, place, m->destination, "", MS_MOVE, "", 0);
	make_mount_flags(p, m->destination, m->flags);
}

/*
 * An emptyDir is a directory of the host only for want of another place: the pod's VM has one, its memory. What
 * is in it already would not be seen, so that is an error. Elsewhere than in a pod it is a directory like any other.
 */
static bool bind_empty_dir(struct planner *p, const struct config_mount *m, const struct stat *st)
{
	const char *name = p->pod->role == POD_MEMBER ? name_of_empty_dir(m->source) : NULL;
	struct protocol_volume v = { 0 };
	int rc;

	if (!name)
		return false;
	rc = check_directory_is_empty(m->source);
	if (rc && rc != -ENOTEMPTY)
		plan_fail(p, -EIO, "config.json: mounts: %.200s: cannot be read", m->source);
	else if (rc)
		plan_fail(p, -ENOTSUP, "config.json: mounts: %.100s: an emptyDir is in the VM's memory, and this one has files "
				       "on the host already",
			  m->destination);
	strcpy(v.name, name);
	write_volume_options(v.options, sizeof(v.options), m->source, st);
	put_volume(p, m, &v);
	return true;
}

static void bind_directory(struct planner *p, const struct config_mount *m, const struct stat *st)
{
	struct plan *plan = p->plan;
	char *place;

	if (bind_empty_dir(p, m, st))
		return;
	if (!(m->flags & MS_RDONLY)) {
		refuse_writing(p, m, "directory");
		return;
	}
	if (plan->nr_dirs == OPTIONS_MAX_DIRS)
		plan_fail(p, -E2BIG, "config.json: mounts: more than %u directories", OPTIONS_MAX_DIRS);
	if (p->rc || asprintf(&place, OUR_PLACE "/%u", plan->nr_dirs) < 0) {
		plan_fail(p, -ENOMEM, "no memory");
		return;
	}
	plan->dir_texts[plan->nr_dirs] = place;
	plan->dirs[plan->nr_dirs++] = (struct dir_option){ .host = m->source, .guest = place };
	put_mount(p, place, m->destination, "", MS_MOVE, "", 0);
	make_read_only(p, m->destination, m->flags);
}

/*
 * What engines share among containers of the host is the VM's own, of the same size. It is a file system of
 * memory, and no directory of one: anything else at that place is a volume.
 */
static bool is_shm(const struct config_mount *m, struct statfs *fs)
{
	struct statx x;

	return m->flags & MS_BIND && !strcmp(m->destination, "/dev/shm") && !statfs(m->source, fs) &&
	       fs->f_type == TMPFS_MAGIC && !statx(AT_FDCWD, m->source, 0, STATX_TYPE, &x) &&
	       x.stx_attributes & STATX_ATTR_MOUNT_ROOT;
}

static bool bind_shm(struct planner *p, const struct config_mount *m)
{
	char data[64];
	struct statfs fs;

	if (!is_shm(m, &fs))
		return false;
	if (p->pod->role != POD_NONE) {
		put_mount(p, POD_SHM, m->destination, "", MS_MOVE, "", 0);
		make_mount_flags(p, m->destination, m->flags);
		return true;
	}
	/* Of 0 blocks: it has no bound but the memory, as one that is made without a size. */
	snprintf(data, sizeof(data), fs.f_blocks ? "mode=1777,size=%llu" : "mode=1777",
		 (unsigned long long)fs.f_blocks * (unsigned long long)fs.f_bsize);
	put_mount(p, "shm", m->destination, "tmpfs", m->flags & ~(MS_BIND | MS_REC | 0ul), data, 0);
	return true;
}

/* In a pod it is init's, who has it for all of its containers; the first one says how large it is. */
static void plan_keep_shm(struct planner *p)
{
	const struct config *c = p->config;
	char data[64];
	struct statfs fs;
	unsigned int i = 0;

	while (i < c->nr_mounts && !is_shm(&c->mounts[i], &fs))
		i++;
	if (p->pod->role == POD_NONE || i == c->nr_mounts)
		return;
	snprintf(data, sizeof(data), "mode=1777,size=%llu",
		 (unsigned long long)fs.f_blocks * (unsigned long long)fs.f_bsize);
	if (p->pod->role == POD_SANDBOX)
		put_mount(p, "tmpfs", "/dev/shm", "tmpfs", MS_REMOUNT | MS_NOSUID | MS_NODEV, data, 0);
	put_mount(p, "/dev/shm", POD_SHM, "", MS_BIND, "", 0);
}

static void plan_bind(struct planner *p, const struct config_mount *m)
{
	struct stat st;
	int fd;

	if (bind_shm(p, m))
		return;
	fd = open(m->source, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st))
		plan_fail(p, -EINVAL, "config.json: mounts: %.200s: cannot be opened (%s)", m->source,
			  errno == ENOENT ? "it is not there" : "it may not be read");
	else if (S_ISREG(st.st_mode))
		bind_file(p, m, fd, &st);
	else if (S_ISDIR(st.st_mode))
		bind_directory(p, m, &st);
	else
		plan_fail(p, -ENOTSUP, "config.json: mounts: %.200s: sockets, pipes and devices of the host "
				       "cannot be lent to a VM",
			  m->source);
	if (fd >= 0)
		close(fd);
}

/*
 * A tmpfs that begins with what is below it: the same is seen of an overlay whose upper layer is that
 * tmpfs.
 */
static void plan_copy_up(struct planner *p, const struct config_mount *m)
{
	char place[64], upper[80], work[80], layers[PATH_MAX + 256];

	snprintf(place, sizeof(place), OUR_PLACE "/t%u", p->nr_places++);
	snprintf(upper, sizeof(upper), "%s/u", place);
	snprintf(work, sizeof(work), "%s/w", place);
	if (strpbrk(m->destination, ":,\\") || strlen(m->destination) >= PATH_MAX)
		plan_fail(p, -ENOTSUP, "config.json: mounts: %.100s: tmpcopyup: not at such a name",
			  m->destination);
	snprintf(layers, sizeof(layers), "lowerdir=%s,upperdir=%s,workdir=%s", m->destination, upper, work);
	plan_put_directory(p, m->destination, 0755);
	put_mount(p, "tmpfs", place, "tmpfs", 0, m->data, 0);
	plan_put_directory(p, upper,
			   (!strcmp(m->destination, "/tmp") || !strcmp(m->destination, "/var/tmp")) ?
				   01777 :
				   0755);
	plan_put_directory(p, work, 0700);
	put_mount(p, "tmpfs", m->destination, "overlay", m->flags, layers, 0);
	put_path(p, PROTOCOL_DO_UNMOUNT, place);
	put_path(p, PROTOCOL_DO_REMOVE, place);
}

static void plan_file_system(struct planner *p, const struct config_mount *m)
{
	static const char *const types[] = {
		"proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "ramfs", "hugetlbfs",
		"debugfs", "tracefs", "securityfs", "bpf", "configfs"
	};
	const char *type = m->type;
	bool is_known = false;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		is_known |= !strcmp(type, types[i]);
	if (!is_known) {
		plan_fail(p, -ENOTSUP, "config.json: mounts: %.100s: the type \"%.40s\" cannot be mounted in "
				       "a VM yet",
			  m->destination, type);
		return;
	}
	if (!strcmp(type, "cgroup"))
		type = "cgroup2";
	if (m->copy_up)
		plan_copy_up(p, m);
	else
		put_mount(p, type, m->destination, type, m->flags, m->data, 0);
	if (!strcmp(m->destination, "/dev") && !strcmp(type, "tmpfs")) {
		plan_dev(p);
		p->has_dev = true;
	}
}

static void plan_mounts(struct planner *p)
{
	char place[32];
	struct statfs fs;
	bool shares_shm = false;

	for (unsigned int i = 0; i < p->config->nr_mounts && !p->rc; i++) {
		const struct config_mount *m = &p->config->mounts[i];

		shares_shm |= p->pod->role != POD_NONE && is_shm(m, &fs);
		if (m->flags & MS_BIND)
			plan_bind(p, m);
		else
			plan_file_system(p, m);
	}
	if (!p->has_dev)
		plan_disks_alone(p);
	for (unsigned int i = 0; i < p->plan->nr_dirs; i++) {
		snprintf(place, sizeof(place), OUR_PLACE "/%u", i);
		put_path(p, PROTOCOL_DO_REMOVE, place);
	}
	for (unsigned int i = 0; i < p->nr_volumes; i++) {
		snprintf(place, sizeof(place), OUR_PLACE "/v%u", i);
		put_path(p, PROTOCOL_DO_REMOVE, place);
	}
	if (shares_shm)
		put_path(p, PROTOCOL_DO_REMOVE, POD_SHM);
	if (p->plan->nr_dirs || p->nr_places || p->nr_volumes || shares_shm)
		put_path(p, PROTOCOL_DO_REMOVE, OUR_PLACE);
}

/* ---- what is hidden ---- */

/* It is a directory or a file: one of the two fits, or it is not there. */
static void plan_masks(struct planner *p)
{
	const struct config *c = p->config;

	for (unsigned int i = 0; i < c->masked_paths.nr; i++) {
		put_mount(p, "tmpfs", c->masked_paths.texts[i], "tmpfs", MS_RDONLY, "size=0k", OPTIONAL);
		put_mount(p, "/dev/null", c->masked_paths.texts[i], "", MS_BIND, "", OPTIONAL);
	}
	for (unsigned int i = 0; i < c->read_only_paths.nr; i++) {
		const char *path = c->read_only_paths.texts[i];

		put_mount(p, path, path, "", MS_BIND | MS_REC, "", OPTIONAL);
		put_mount(p, "", path, "", MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
			  "", OPTIONAL);
	}
}

/* ---- who it is ---- */

void plan_credentials(const struct config_process *from, struct protocol_credentials *c)
{
	const struct config_capabilities *caps = &from->capabilities;

	*c = (struct protocol_credentials){
		.uid = from->uid,
		.gid = from->gid,
		.umask = from->umask_given ? from->umask : 022,
		.nr_groups = from->nr_groups,
		/* Without the object a process has none (config.md). */
		.has_capabilities = 1,
		.no_new_privileges = from->no_new_privileges,
		.bounding = caps->bounding,
		.effective = caps->effective,
		.inheritable = caps->inheritable,
		.permitted = caps->permitted,
		.ambient = caps->ambient,
	};

	_Static_assert(PROTOCOL_MAX_GROUPS == CONFIG_MAX_GROUPS, "as many");
	_Static_assert(PROTOCOL_NR_RLIMITS == CONFIG_NR_RLIMITS, "as many");
	memcpy(c->groups, from->groups, sizeof(c->groups));
	for (unsigned int i = 0; i < PROTOCOL_NR_RLIMITS; i++) {
		c->rlimits_given |= (uint32_t)from->rlimits[i].given << i;
		c->rlimits[i].soft = from->rlimits[i].soft;
		c->rlimits[i].hard = from->rlimits[i].hard;
	}
}

static void put_credentials(struct planner *p)
{
	struct protocol_credentials c;

	plan_credentials(&p->config->process, &c);
	put_message(p, PROTOCOL_CREDENTIALS, &c, sizeof(c));
}

static void put_seccomp(struct planner *p)
{
	struct seccomp_program program;
	struct protocol_seccomp head;
	char *message;
	int rc;

	if (!p->config->seccomp)
		return;
	rc = seccomp_make(&program, p->config->seccomp, p->error);
	if (!p->rc)
		p->rc = rc;
	head = (struct protocol_seccomp){ .flags = program.flags };
	message = rc ? NULL : malloc(sizeof(head) + program.nr_bytes);
	if (message) {
		memcpy(message, &head, sizeof(head));
		memcpy(message + sizeof(head), program.bytes, program.nr_bytes);
		put_message(p, PROTOCOL_SECCOMP, message, sizeof(head) + program.nr_bytes);
	} else if (!rc) {
		plan_fail(p, -ENOMEM, "no memory");
	}
	free(message);
	seccomp_fini(&program);
}

/* A name alone keeps init's own default out. */
int plan_environment(const struct config *c, struct config_strings *to)
{
	static const char *const defaults[] = { "PATH", "USER", "LOGNAME", "SHELL" };
	const struct config_strings *from = &c->process.env;

	to->texts = calloc(from->nr + ARRAY_SIZE(defaults) + 1, sizeof(*to->texts));
	if (!to->texts)
		return -ENOMEM;
	for (unsigned int i = 0; i < from->nr; i++)
		to->texts[to->nr++] = from->texts[i];
	for (size_t i = 0; i < ARRAY_SIZE(defaults); i++)
		if (!config_variable(c, defaults[i]))
			to->texts[to->nr++] = defaults[i];
	return 0;
}

static void plan_write_text(FILE *out, const char *text)
{
	fwrite(text, 1, strlen(text) + 1, out);
}

int plan_process(const struct config *c, const char *cwd, char **text, size_t *bytes)
{
	const struct config_process *p = &c->process;
	struct config_strings environment = { 0 };
	struct protocol_credentials rights;
	struct protocol_exec head = {
		.nr_arguments = p->args.nr,
		.terminal = p->terminal,
		.size = { p->columns, p->rows },
		.has_credentials = 1,
	};
	FILE *out = plan_environment(c, &environment) ? NULL : open_memstream(text, bytes);

	if (!out) {
		free(environment.texts);
		return -ENOMEM;
	}
	head.nr_environment = environment.nr;
	plan_credentials(p, &rights);
	fwrite(&head, sizeof(head), 1, out);
	fwrite(&rights, sizeof(rights), 1, out);
	plan_write_text(out, cwd);
	fprintf(out, "%u:%u", p->uid, p->gid);
	plan_write_text(out, "");
	for (unsigned int i = 0; i < p->args.nr; i++)
		plan_write_text(out, p->args.texts[i]);
	for (unsigned int i = 0; i < environment.nr; i++)
		plan_write_text(out, environment.texts[i]);
	free(environment.texts);
	if (fclose(out))
		return -ENOMEM;
	return *bytes > PROTOCOL_MAX_STRINGS_BYTES ? -E2BIG : 0;
}

/* ---- what cannot be done ---- */

static void check_namespaces(struct planner *p)
{
	static const char *const words[CONFIG_NR_NAMESPACES] = {
		[CONFIG_NS_PID] = "processes",
		[CONFIG_NS_NETWORK] = "network",
		[CONFIG_NS_IPC] = "IPC objects",
		[CONFIG_NS_UTS] = "host name",
	};
	const struct config_namespace *n = p->config->namespaces;

	if (config_ignores(p->config, "linux.namespaces"))
		return;
	for (unsigned int i = 0; i < CONFIG_NR_NAMESPACES; i++) {
		if (words[i] && !n[i].given)
			plan_fail(p, -ENOTSUP, "config.json: linux.namespaces: a VM cannot share the host's %s; "
					       "the annotation lkvm.ignore with linux.namespaces gives it its own",
				  words[i]);
		else if (words[i] && n[i].path &&
			 (i != CONFIG_NS_NETWORK || !strncmp(n[i].path, "/proc/", 6)))
			plan_fail(p, -ENOTSUP, "config.json: linux.namespaces: %.100s: sharing another "
					       "container's %s is not there yet",
				  n[i].path, words[i]);
	}
}

static void check_support(struct planner *p)
{
	if (!p->config->has_process)
		plan_fail(p, -EINVAL, "config.json: process: is missing");
	if (p->pod->role != POD_MEMBER)
		check_namespaces(p);
}

/* ---- the whole ---- */

int plan_make(struct plan *plan, const struct config *c, const struct pod *pod, const char *id,
	      struct config_error *error)
{
	struct planner p = { .config = c, .pod = pod, .id = id, .plan = plan, .error = error };

	*plan = (struct plan){ 0 };
	check_support(&p);
	if (p.rc)
		return p.rc;
	p.out = open_memstream(&plan->bytes, &plan->nr_bytes);
	if (!p.out)
		return -ENOMEM;
	if (pod->role != POD_MEMBER)
		put_credentials(&p);
	put_seccomp(&p);
	if (plan_environment(c, &plan->environment))
		plan_fail(&p, -ENOMEM, "no memory");
	plan_settings(&p);
	plan_keep_shm(&p);
	plan_hide_init(&p);
	plan_mounts(&p);
	plan_masks(&p);
	put_path(&p, PROTOCOL_DO_ENTER, c->process.cwd);
	if (c->root_propagation)
		put_mount(&p, "", "/", "", c->root_propagation, "", 0);
	if (c->root_read_only)
		make_read_only(&p, "/", 0);
	if (fclose(p.out))
		plan_fail(&p, -ENOMEM, "no memory");
	return p.rc;
}

void plan_fini(struct plan *p)
{
	free(p->bytes);
	free(p->environment.texts);
	for (unsigned int i = 0; i < p->nr_dirs; i++)
		free(p->dir_texts[i]);
	for (unsigned int i = 0; i < p->nr_disks; i++)
		if (p->claims[i] >= 0)
			close(p->claims[i]);
	*p = (struct plan){ 0 };
}

/* ---- the program ---- */

/* What is bound over @path, or over a directory that it is in, may have it. */
static bool may_be_in_mount(const struct config *c, const char *path)
{
	for (unsigned int i = 0; i < c->nr_mounts; i++) {
		const char *d = c->mounts[i].destination;
		size_t n = strlen(d);

		if (!strncmp(path, d, n) && (!path[n] || path[n] == '/' || !strcmp(d, "/")))
			return true;
	}
	return false;
}

/* 0; -ENOENT, -EACCES: as execve(2) would say. */
static int look_for_program(const struct config *c, int root_fd, const char *path)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT };
	struct stat st;
	int fd, rc;

	if (may_be_in_mount(c, path))
		return 0;
	fd = (int)syscall(SYS_openat2, root_fd, path, &how, sizeof(how));
	if (fd < 0)
		return -ENOENT;
	rc = fstat(fd, &st)			      ? -ENOENT :
	     S_ISREG(st.st_mode) && st.st_mode & 0111 ? 0 :
							-EACCES;
	close(fd);
	return rc;
}

static int look_in_path(const struct config *c, int root_fd, const char *name)
{
	const char *path = config_variable(c, "PATH");
	int rc = -ENOENT;

	while (path && *path && rc) {
		size_t n = strcspn(path, ":");
		char candidate[PATH_MAX];
		int got;

		if (snprintf(candidate, sizeof(candidate), "%.*s/%s", (int)n, path, name) <
		    (int)sizeof(candidate)) {
			got = look_for_program(c, root_fd, candidate);
			rc = !got || got == -EACCES ? got : rc;
		}
		path += n + (path[n] == ':');
	}
	return rc;
}

int plan_find_program(const struct config *c, int root_fd, struct config_error *error)
{
	const char *name = c->process.args.texts[0];
	char path[2 * PATH_MAX];
	int rc;

	if (!strchr(name, '/')) {
		rc = look_in_path(c, root_fd, name);
	} else {
		snprintf(path, sizeof(path), "%s%s%s", *name == '/' ? "" : c->process.cwd,
			 *name == '/' ? "" : "/", name);
		rc = look_for_program(c, root_fd, path);
	}
	if (rc == -ENOENT)
		snprintf(error->text, sizeof(error->text),
			 "executable file \"%.200s\" not found%s: No such "
			 "file or directory",
			 name, strchr(name, '/') ? "" : " in $PATH");
	else if (rc)
		snprintf(error->text, sizeof(error->text), "executable file \"%.200s\": Permission denied", name);
	return rc;
}
