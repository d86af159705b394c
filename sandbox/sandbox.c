// SPDX-License-Identifier: GPL-2.0-only
/*
 * The walls around the VM, should a guest take over this process.
 *
 * Everything that needs a right (opening files, /dev/kvm) has been done when
 * sandbox_enter() runs. It takes away in layers, each of which would do for most attacks:
 * names of files, sockets and processes (namespaces), rights (capabilities, Landlock), and
 * last, thread by thread, all system calls but the few that running a guest takes.
 * The filters are made when lkvm is built (sandbox/filters.c).
 *
 * A process cannot enter a PID namespace, only its children: sandbox_separate() comes before
 * the machine is made, and sandbox/supervisor.c stays outside.
 *
 * Sources: namespaces(7), user_namespaces(7), pivot_root(2), landlock(7), seccomp(2).
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "log.h"
#include "sandbox/sandbox.h"
#include "tty.h"
#include "util.h"

#include "sandbox-filters.h" /* made from sandbox/filters.c */

#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1 /* si_code of SIGSYS; the C library has none */
#endif

#define INSNS_MAX      256u /* of a filter */
#define LAST_WORDS_MAX 255u /* of the C library */
#define UID_MAP	       "/proc/self/uid_map"

/* Opened while the guest runs: an eventfd for each interrupt vector, connections to ports. */
#define SPARE_FDS 4096u

/* What Debian 12's linux/landlock.h lacks: by version of the interface. */
#define LANDLOCK_FS_V1	  ((1ull << 13) - 1)
#define LANDLOCK_FS_V2	  (LANDLOCK_FS_V1 | 1ull << 13) /* link and rename elsewhere */
#define LANDLOCK_FS_V3	  (LANDLOCK_FS_V2 | 1ull << 14) /* truncate */
#define LANDLOCK_FS_V5	  (LANDLOCK_FS_V3 | 1ull << 15) /* ioctl() of devices */
#define LANDLOCK_NET_V4	  3ull				/* bind and connect TCP */
#define LANDLOCK_SCOPE_V6 1ull				/* abstract sockets */
#define LANDLOCK_REFER	  (1ull << 13)
#define LANDLOCK_TRUNCATE (1ull << 14)

struct landlock_rules {
	uint64_t fs, net, scoped;
};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

/* The test build (make HOOK=1) tries to break out here: tests/lib/hook.c. */
#ifndef SANDBOX_HOOK
static void sandbox_hook(const char *place)
{
	(void)place;
}
#endif

/* For the handlers of SIGSYS and SIGABRT (DESIGN rule 8): whose thread they run on. */
static _Thread_local const char *own_name;
static pid_t own_pid; /* in this namespace */

_Static_assert(sizeof(filter_loop_gdb) / sizeof(filter_loop_gdb[0]) + 3 <= INSNS_MAX, "room for it");
_Static_assert(sizeof(filter_vcpu) / sizeof(filter_vcpu[0]) + 3 <= INSNS_MAX, "room for it");
_Static_assert(sizeof(filter_worker) / sizeof(filter_worker[0]) + 3 <= INSNS_MAX, "room for it");
_Static_assert(sizeof(filter_store) / sizeof(filter_store[0]) + 3 <= INSNS_MAX, "room for it");
_Static_assert(sizeof(filter_broker) / sizeof(filter_broker[0]) + 3 <= INSNS_MAX, "room for it");
_Static_assert(sizeof(filter_supervisor) / sizeof(filter_supervisor[0]) + 3 <= INSNS_MAX, "room for it");
_Static_assert(sizeof(filter_files) / sizeof(filter_files[0]) + 3 <= INSNS_MAX, "room for it");
_Static_assert(sizeof(filter_holder) / sizeof(filter_holder[0]) + 3 <= INSNS_MAX, "room for it");
_Static_assert(sizeof(filter_results) / sizeof(filter_results[0]) + 3 <= INSNS_MAX, "room for it");

/* ---- the layers ---- */

static int unshare_one(int what)
{
	return unshare(what) ? -errno : 0;
}

static int enter_user(void)
{
	return unshare_one(CLONE_NEWUSER);
}

static int enter_ipc(void)
{
	return unshare_one(CLONE_NEWIPC);
}

static int enter_net(void)
{
	return unshare_one(CLONE_NEWNET);
}

/* Ids of processes that it starts from now on. Without rights it takes a user namespace, too. */
static int enter_pid(void)
{
	int rc = unshare_one(CLONE_NEWPID);

	if (rc != -EPERM || access(UID_MAP, W_OK)) /* see keep_user_id() */
		return rc;
	return unshare_one(CLONE_NEWUSER | CLONE_NEWPID);
}

int sandbox_change_root(void)
{
	if (!syscall(SYS_pivot_root, ".", "."))
		return umount2(".", MNT_DETACH) ? -errno : 0;
	/* The first root of all, an initramfs, cannot be replaced, only covered. */
	return errno != EINVAL || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") ? -errno : 0;
}

/* A root of our own with nothing in it; /dev is any folder that is sure to be there. */
static int enter_mount(void)
{
	int rc = unshare_one(CLONE_NEWNS);

	if (rc)
		return rc;
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", "/dev", "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  "size=4k,nr_inodes=1") ||
	    chdir("/dev"))
		return -errno;
	return sandbox_change_root();
}

static int set_no_new_privs(void)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno : 0;
}

/* Everything that this host's Landlock knows is forbidden; rules may allow it. The ruleset, or -errno. */
static int forbid_all(struct landlock_rules *rules)
{
	size_t bytes = sizeof(rules->fs);
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0,
			       LANDLOCK_CREATE_RULESET_VERSION);
	int fd;

	*rules = (struct landlock_rules){ .fs = LANDLOCK_FS_V1 };
	if (version < 0)
		return -errno;
	if (version >= 2)
		rules->fs = LANDLOCK_FS_V2;
	if (version >= 3)
		rules->fs = LANDLOCK_FS_V3;
	if (version >= 4) {
		rules->net = LANDLOCK_NET_V4;
		bytes = sizeof(rules->fs) + sizeof(rules->net);
	}
	if (version >= 5)
		rules->fs = LANDLOCK_FS_V5;
	if (version >= 6) {
		rules->scoped = LANDLOCK_SCOPE_V6;
		bytes = sizeof(*rules);
	}
	fd = (int)syscall(SYS_landlock_create_ruleset, rules, bytes, 0);
	return fd < 0 ? -errno : fd;
}

static int enter_landlock(void)
{
	struct landlock_rules rules;
	int fd = forbid_all(&rules), rc;

	if (fd < 0)
		return fd;
	rc = syscall(SYS_landlock_restrict_self, fd, 0) ? -errno : 0;
	close(fd);
	return rc;
}

static uint64_t landlock_rights(const struct sandbox_folder *f)
{
	const uint64_t read = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
	const uint64_t write = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
			       LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |
			       LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SYM |
			       LANDLOCK_REFER | LANDLOCK_TRUNCATE;

	return (f->rights & SANDBOX_READ ? read : 0) | (f->rights & SANDBOX_WRITE ? write : 0) |
	       (f->rights & SANDBOX_REMOVE_DIRS ? LANDLOCK_ACCESS_FS_REMOVE_DIR : 0);
}

/* The first version moves nothing from one directory to another: who writes does without it. */
static int keep_folders(const struct sandbox_folder *folders, unsigned int nr)
{
	struct landlock_rules rules;
	int fd = forbid_all(&rules), rc = 0;

	if (fd < 0)
		return fd;
	for (unsigned int i = 0; i < nr && !rc; i++) {
		const struct landlock_path_beneath_attr rule = {
			.allowed_access = landlock_rights(&folders[i]) & rules.fs,
			.parent_fd = folders[i].fd,
		};

		if (folders[i].rights & SANDBOX_WRITE && !(rules.fs & LANDLOCK_REFER))
			rc = -EOPNOTSUPP;
		else if (syscall(SYS_landlock_add_rule, fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0))
			rc = -errno;
	}
	if (!rc && syscall(SYS_landlock_restrict_self, fd, 0))
		rc = -errno;
	close(fd);
	return rc;
}

/* Best effort: it needs CAP_SETPCAP, and an ordinary user has nothing to drop. */
static void drop_bounding_set(void)
{
	cap_value_t last = cap_max_bits();

	for (cap_value_t c = 0; c < last; c++)
		if (cap_drop_bound(c))
			return;
}

/* The ambient ones go with the permitted ones. */
static int give_up_capabilities(void)
{
	cap_t none = cap_init();
	int rc;

	if (!none)
		return -ENOMEM;
	rc = cap_set_proc(none) ? -errno : 0;
	cap_free(none);
	return rc ? rc : set_no_new_privs();
}

/* All but the right to read any file, if we have it. */
static int keep_reading(void)
{
	const cap_value_t reading = CAP_DAC_READ_SEARCH;
	cap_flag_value_t has = CAP_CLEAR;
	cap_t now = cap_get_proc(), kept = cap_init();
	int rc = now && kept ? 0 : -ENOMEM;

	if (!rc && (cap_get_flag(now, reading, CAP_PERMITTED, &has) ||
		    cap_set_flag(kept, CAP_PERMITTED, 1, &reading, has) ||
		    cap_set_flag(kept, CAP_EFFECTIVE, 1, &reading, has) || cap_set_proc(kept)))
		rc = -errno;
	cap_free(now);
	cap_free(kept);
	return rc ? rc : set_no_new_privs();
}

int sandbox_drop_capabilities(void)
{
	drop_bounding_set();
	return give_up_capabilities();
}

static int set_limit(int resource, rlim_t most)
{
	struct rlimit limit = { most, most };

	return setrlimit(resource, &limit) ? -errno : 0;
}

/* No dump of the guest's memory, nobody who traces us, few descriptors. */
static int enter_limits(void)
{
	int fd = dup(STDERR_FILENO);
	int rc = fd < 0 ? -errno : 0;

	if (fd >= 0) {
		struct rlimit now;

		close(fd);
		if (!getrlimit(RLIMIT_NOFILE, &now))
			rc = set_limit(RLIMIT_NOFILE, min_u64(now.rlim_cur, (rlim_t)fd + SPARE_FDS));
	}
	if (!rc)
		rc = set_limit(RLIMIT_CORE, 0);
	if (!rc && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		rc = -errno;
	return rc;
}

static int probe_filters(void)
{
	const uint32_t action = SECCOMP_RET_TRAP;

	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) ? -errno : 0;
}

/* In this order: the later ones take away what the earlier ones need. */
static const struct layer {
	const char *key, *name;
	int (*enter)(void);
	bool always;	   /* a host without it is broken */
	uint32_t joinable; /* CLONE_*: sandbox_build() can make it for us */
} layers[] = {
	{ "user_namespace", "user namespace", enter_user, false, 0 },
	{ "pid_namespace", "PID namespace", enter_pid, false, 0 },
	{ "mount_namespace", "mount namespace", enter_mount, false, CLONE_NEWNS },
	{ "ipc_namespace", "IPC namespace", enter_ipc, false, CLONE_NEWIPC },
	{ "net_namespace", "network namespace", enter_net, false, CLONE_NEWNET },
	{ "limits", "limits", enter_limits, true, 0 },
	{ "capabilities", "no capabilities", sandbox_drop_capabilities, true, 0 },
	{ "landlock", "Landlock", enter_landlock, false, 0 },
	{ "seccomp", "system call filters", probe_filters, false, 0 },
};

_Static_assert(ARRAY_SIZE(layers) <= SANDBOX_MAX_LAYERS, "for sandbox_probe()");

/* ---- a forbidden call, an abort ---- */

static const char *call_name(unsigned int nr)
{
	const char *name = call_names;

	if (nr >= NR_CALL_NAMES)
		return "";
	while (nr--)
		name += strlen(name) + 1;
	return name;
}

static void __attribute__((noreturn)) end_aborted(void)
{
	log_error("%s: aborted\n"
		  "this is a fault of lkvm: please report it, with the line before this one.",
		  own_name ? own_name : "lkvm");
	_exit(128 + SIGABRT);
}

/* What the C library says before it calls abort(): free(), _FORTIFY_SOURCE. */
static void repeat_last_words(const struct iovec *iov, size_t nr)
{
	char text[LAST_WORDS_MAX + 1];
	size_t bytes = 0;

	for (size_t i = 0; i < nr && bytes < LAST_WORDS_MAX; i++) {
		size_t n = min_u64(iov[i].iov_len, LAST_WORDS_MAX - bytes);

		memcpy(text + bytes, iov[i].iov_base, n);
		bytes += n;
	}
	while (bytes && text[bytes - 1] == '\n')
		bytes--;
	text[bytes] = '\0';
	log_error("%s", text);
}

/*
 * In abort(), and before it, the C library makes calls that nothing else of lkvm makes on a thread
 * with a filter. They are not in the filters, and this is not a forbidden call but the end of an abort().
 */
static void end_if_aborting(const siginfo_t *info, const greg_t *regs)
{
	if (info->si_syscall == SYS_writev && regs[REG_RDI] == STDERR_FILENO)
		repeat_last_words((const struct iovec *)regs[REG_RSI], (size_t)regs[REG_RDX]);
	else if (info->si_syscall != SYS_gettid && info->si_syscall != SYS_getpid)
		return;
	end_aborted();
}

static void on_sigsys(int signal, siginfo_t *info, void *context)
{
	const greg_t *regs = ((const ucontext_t *)context)->uc_mcontext.gregs;

	tty_restore();
	log_directly();
	if (info->si_code != SYS_SECCOMP) { /* somebody sent it */
		log_error("signal %d", signal);
		_exit(128 + signal);
	}
	end_if_aborting(info, regs);
	log_error("sandbox: %s: forbidden system call: %s (%d), arguments %#llx %#llx %#llx\n"
		  "its process was ended, since a guest may have taken it over. If you trust the guest, "
		  "this is a fault of lkvm: please report it.",
		  own_name ? own_name : "unknown", call_name((unsigned int)info->si_syscall),
		  info->si_syscall, (unsigned long long)regs[REG_RDI],
		  (unsigned long long)regs[REG_RSI], (unsigned long long)regs[REG_RDX]);
	_exit(SANDBOX_EXIT_STATUS);
}

/*
 * Sent by somebody, or abort() on a thread that has no filter yet. By default the first process of
 * a PID namespace survives the signal.
 */
static void on_sigabrt(int signal, siginfo_t *info, void *context)
{
	(void)context;
	tty_restore();
	log_directly();
	if (info->si_code == SI_TKILL && info->si_pid == own_pid)
		end_aborted();
	log_error("signal %d", signal);
	_exit(128 + signal);
}

static int catch_violations(void)
{
	struct sigaction sa = { .sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO };

	own_pid = getpid();
	sigfillset(&sa.sa_mask);
	if (sigaction(SIGSYS, &sa, NULL))
		return -errno;
	sa.sa_sigaction = on_sigabrt;
	return sigaction(SIGABRT, &sa, NULL) ? -errno : 0;
}

/*
 * The C library's allocates memory and waits for whoever reads stderr, with the terminal as the
 * guest has it.
 */
void __assert_fail(const char *assertion, const char *file, unsigned int line, const char *function)
{
	tty_restore();
	log_directly();
	log_error("%s:%u: %s: Assertion `%s' failed.", file, line, function, assertion);
	abort();
}

/* ---- entering ---- */

void sandbox_init(struct sandbox *s, enum sandbox_mode mode)
{
	memset(s, 0, sizeof(*s));
	s->mode = mode;
	s->builder = -1;
	sem_init(&s->confined, 0, 0);
}

void sandbox_fini(struct sandbox *s)
{
	if (s->builder >= 0)
		close(s->builder);
	sem_destroy(&s->confined);
}

/* To be entered by sandbox_enter(). */
static bool is_left(const struct sandbox *s, const struct layer *l, bool joined)
{
	/* Sanitizers read files, start threads and trace the process at its end. */
	if (SANITIZED)
		return l->enter == sandbox_drop_capabilities;
	return l->enter != enter_pid && !(l->enter == enter_user && s->user_entered) &&
	       !(l->joinable && joined);
}

/* Whether it is *@in. An error if it has to be and is not. */
static int enter_layer(const struct sandbox *s, const struct layer *l, bool *in)
{
	int rc = l->enter();

	*in = !rc;
	if (!rc)
		return 0;
	if (s->mode == SANDBOX_STRICT || l->always) {
		log_error("sandbox: %s: %s\n%s", l->name, strerror(-rc),
			  l->always ? "use --sandbox off only with guests that you trust." :
				      "--sandbox on does without what this host refuses; `lkvm check` lists it.");
		return rc;
	}
	log_verbose("sandbox: %s: not used: %s", l->name, strerror(-rc));
	return 0;
}

/*
 * In a user namespace that knows no ids every file's owner looks like everybody. Ours is made to
 * keep its name, so that "is this file ours" has the same answer as before.
 */
static int keep_user_id(uid_t id)
{
	char map[64];
	int bytes = snprintf(map, sizeof(map), "%u %u 1", id, id);
	int fd = open(UID_MAP, O_WRONLY | O_CLOEXEC);
	int rc = 0;

	if (fd < 0 || write(fd, map, (size_t)bytes) != bytes) {
		rc = -errno;
		log_error("sandbox: " UID_MAP ": %s", strerror(-rc));
	}
	if (fd >= 0)
		close(fd);
	return rc;
}

int sandbox_separate(struct sandbox *s)
{
	uid_t id = geteuid();
	bool in;
	int rc;

	if (s->mode == SANDBOX_OFF || SANITIZED)
		return 0;
	if (!unshare_one(CLONE_NEWPID)) /* with the rights for it */
		return 1;
	for (size_t i = 0; i < ARRAY_SIZE(layers); i++) {
		if (layers[i].enter != enter_pid)
			continue;
		rc = enter_layer(s, &layers[i], &in);
		if (rc || !in)
			return rc;
	}
	s->user_entered = true;
	rc = keep_user_id(id);
	return rc ? rc : 1;
}

int sandbox_build(struct sandbox *s, uint32_t *built)
{
	bool in;

	*built = 0;
	for (size_t i = 0; i < ARRAY_SIZE(layers); i++) {
		int rc = layers[i].joinable ? enter_layer(s, &layers[i], &in) : 0;

		if (rc)
			return rc;
		if (layers[i].joinable && in)
			*built |= layers[i].joinable;
	}
	return 0;
}

/* Before Linux 5.8 this is not possible. */
static bool join_built(struct sandbox *s)
{
	bool joined = s->builder >= 0 && (!s->built || !setns(s->builder, (int)s->built));

	if (s->builder >= 0)
		close(s->builder);
	s->builder = -1;
	return joined;
}

int sandbox_enter(struct sandbox *s)
{
	bool joined;
	int rc;

	if (s->mode == SANDBOX_OFF) {
		sandbox_hook("process");
		return 0;
	}
	if (SANITIZED && s->mode == SANDBOX_STRICT) {
		log_error("sandbox: strict: not with a build with sanitizers");
		return -ENOTSUP;
	}
	joined = join_built(s);
	for (size_t i = 0; i < ARRAY_SIZE(layers); i++) {
		bool in;

		if (!is_left(s, &layers[i], joined))
			continue;
		rc = enter_layer(s, &layers[i], &in);
		if (rc)
			return rc;
		if (layers[i].enter == probe_filters)
			s->filters = in;
	}
	rc = s->filters ? catch_violations() : 0;
	if (rc)
		log_error("sandbox: its signals: %s", strerror(-rc));
	sandbox_hook("process");
	return rc;
}

int sandbox_keep_folders(struct sandbox *s, const struct sandbox_folder *folders, unsigned int nr)
{
	int rc;

	if (s->mode == SANDBOX_OFF || SANITIZED)
		return 0;
	rc = set_no_new_privs();
	if (!rc)
		rc = keep_folders(folders, nr);
	if (!rc)
		return 0;
	if (s->mode == SANDBOX_STRICT) {
		log_error("sandbox: Landlock: %s", strerror(-rc));
		return rc;
	}
	log_verbose("sandbox: Landlock: not used for files: %s", strerror(-rc));
	return 0;
}

int sandbox_confine_helper(struct sandbox *s, enum sandbox_kind kind)
{
	int rc = 0;

	if (s->mode == SANDBOX_OFF)
		return 0;
	if (kind == SANDBOX_BROKER || kind == SANDBOX_RESULTS)
		rc = set_no_new_privs();
	else if (kind == SANDBOX_HOLDER)
		rc = sandbox_drop_capabilities();
	else if (kind == SANDBOX_FILES)
		rc = keep_reading();
	else
		rc = give_up_capabilities(); /* without exec() the bounding set is of no use */
	s->filters = !SANITIZED && !probe_filters();
	if (!rc && s->filters)
		rc = catch_violations();
	return rc ? rc : sandbox_confine(s, kind);
}

unsigned int sandbox_probe(int errors[SANDBOX_MAX_LAYERS])
{
	int report[2] = { -1, -1 }, status;
	bool ok = !pipe2(report, O_CLOEXEC);
	pid_t child = ok ? fork() : -1;

	if (!child) {
		for (size_t i = 0; i < ARRAY_SIZE(layers); i++)
			errors[i] = layers[i].enter();
		_exit(write(report[1], errors, sizeof(*errors) * ARRAY_SIZE(layers)) < 0);
	}
	if (ok)
		close(report[1]);
	ok = child > 0 && read(report[0], errors, sizeof(*errors) * ARRAY_SIZE(layers)) ==
				  (ssize_t)(sizeof(*errors) * ARRAY_SIZE(layers));
	if (child > 0)
		waitpid(child, &status, 0);
	if (report[0] >= 0)
		close(report[0]);
	return ok ? ARRAY_SIZE(layers) : 0;
}

const char *sandbox_layer_name(unsigned int layer)
{
	return layers[layer].name;
}

const char *sandbox_layer_key(unsigned int layer)
{
	return layers[layer].key;
}

/* ---- filters ---- */

static const struct {
	const char *name;
	const struct sock_filter *insns;
	unsigned short nr;
} filters[SANDBOX_NR_KINDS] = {
	[SANDBOX_LOOP] = { "loop thread", filter_loop, ARRAY_SIZE(filter_loop) },
	[SANDBOX_LOOP_GDB] = { "loop thread", filter_loop_gdb, ARRAY_SIZE(filter_loop_gdb) },
	[SANDBOX_VCPU] = { "vcpu thread", filter_vcpu, ARRAY_SIZE(filter_vcpu) },
	[SANDBOX_WORKER] = { "disk thread", filter_worker, ARRAY_SIZE(filter_worker) },
	[SANDBOX_STORE] = { "kernel-cache process", filter_store, ARRAY_SIZE(filter_store) },
	[SANDBOX_BROKER] = { "broker process", filter_broker, ARRAY_SIZE(filter_broker) },
	[SANDBOX_SUPERVISOR] = { "supervisor process", filter_supervisor, ARRAY_SIZE(filter_supervisor) },
	[SANDBOX_RESULTS] = { "results process", filter_results, ARRAY_SIZE(filter_results) },
	[SANDBOX_FILES] = { "files process", filter_files, ARRAY_SIZE(filter_files) },
	[SANDBOX_HOLDER] = { "holder process", filter_holder, ARRAY_SIZE(filter_holder) },
};

/*
 * A tracer that has a call fail (strace -e inject) makes -1 of its number, which is no
 * call at all.
 */
static const struct sock_filter no_call[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ~0u, 0, 1),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

static int install(enum sandbox_kind kind)
{
	struct sock_filter insns[INSNS_MAX];
	struct sock_fprog program = {
		.len = (unsigned short)(ARRAY_SIZE(no_call) + filters[kind].nr),
		.filter = insns,
	};

	memcpy(insns, no_call, sizeof(no_call));
	memcpy(insns + ARRAY_SIZE(no_call), filters[kind].insns, filters[kind].nr * sizeof(*insns));
	for (unsigned int i = 0; i < program.len; i++)
		if (insns[i].k == SANDBOX_OWN_PID)
			insns[i].k = (uint32_t)getpid();
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) ? -errno : 0;
}

int sandbox_confine(struct sandbox *s, enum sandbox_kind kind)
{
	int rc = 0;

	own_name = filters[kind].name;
	if (s->filters)
		rc = install(kind);
	if (rc) {
		log_error("sandbox: filter of the %s: %s", own_name, strerror(-rc));
		atomic_store(&s->error, rc);
	}
	sandbox_hook(own_name);
	if (kind != SANDBOX_LOOP && kind != SANDBOX_LOOP_GDB)
		sem_post(&s->confined);
	return rc;
}

int sandbox_wait(struct sandbox *s, unsigned int nr)
{
	while (nr)
		if (!sem_wait(&s->confined))
			nr--;
	return atomic_load(&s->error);
}
