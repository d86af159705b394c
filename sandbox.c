// SPDX-License-Identifier: GPL-2.0-only
/*
 * The walls around the VM, should a guest take over this process.
 *
 * Everything that needs a right (opening files, /dev/kvm) has been done when
 * sandbox_enter() runs. It takes away in layers, each of which would do for most attacks:
 * names of files, sockets and processes (namespaces), rights (capabilities, Landlock), and
 * last, thread by thread, all system calls but the few that running a guest takes.
 * The filters are made when lkvm is built (sandbox-filters.c).
 *
 * Not here: a PID namespace. A process cannot enter one: the whole VM would be a second
 * process, behind one that passes on signals, job control and exit status. Signals to other
 * processes are for the filters to refuse; Landlock would also refuse the SIGTSTP of Ctrl-A z
 * to the rest of a job.
 *
 * Sources: namespaces(7), user_namespaces(7), pivot_root(2), landlock(7), seccomp(2).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "log.h"
#include "sandbox.h"
#include "util.h"

#include "sandbox-filters.h"	/* made from sandbox-filters.c */

#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1	/* si_code of SIGSYS; the C library has none */
#endif

#define INSNS_MAX	256u	/* of a filter */

/* Opened while the guest runs: an eventfd for each interrupt vector, connections to ports. */
#define SPARE_FDS	4096u

/* What Debian 12's linux/landlock.h lacks: by version of the interface. */
#define LANDLOCK_FS_V1	((1ull << 13) - 1)
#define LANDLOCK_FS_V2	(LANDLOCK_FS_V1 | 1ull << 13)	/* link and rename elsewhere */
#define LANDLOCK_FS_V3	(LANDLOCK_FS_V2 | 1ull << 14)	/* truncate */
#define LANDLOCK_FS_V5	(LANDLOCK_FS_V3 | 1ull << 15)	/* ioctl() of devices */
#define LANDLOCK_NET_V4	3ull				/* bind and connect TCP */
#define LANDLOCK_SCOPE_V6 1ull				/* abstract sockets */

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

/*
 * What the handler of SIGSYS needs (DESIGN rule 8): what to do first, and whose thread it
 * runs on.
 */
static void (*on_violation)(void);
static _Thread_local const char *own_name;

_Static_assert(sizeof(filter_loop) / sizeof(filter_loop[0]) + 3 <= INSNS_MAX, "room for it");
_Static_assert(sizeof(filter_vcpu) / sizeof(filter_vcpu[0]) + 3 <= INSNS_MAX, "room for it");
_Static_assert(sizeof(filter_worker) / sizeof(filter_worker[0]) + 3 <= INSNS_MAX, "room for it");
_Static_assert(sizeof(filter_store) / sizeof(filter_store[0]) + 3 <= INSNS_MAX, "room for it");
_Static_assert(sizeof(filter_keeper) / sizeof(filter_keeper[0]) + 3 <= INSNS_MAX, "room for it");

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
	if (!syscall(SYS_pivot_root, ".", "."))
		return umount2(".", MNT_DETACH) ? -errno : 0;
	/* The first root of all, an initramfs, cannot be replaced, only covered. */
	return errno != EINVAL || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") ? -errno : 0;
}

static int set_no_new_privs(void)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno : 0;
}

static int enter_landlock(void)
{
	struct landlock_rules rules = { .fs = LANDLOCK_FS_V1 };
	size_t bytes = sizeof(rules.fs);
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0,
			       LANDLOCK_CREATE_RULESET_VERSION);
	int fd, rc = 0;

	if (version < 0)
		return -errno;
	if (version >= 2)
		rules.fs = LANDLOCK_FS_V2;
	if (version >= 3)
		rules.fs = LANDLOCK_FS_V3;
	if (version >= 4) {
		rules.net = LANDLOCK_NET_V4;
		bytes = sizeof(rules.fs) + sizeof(rules.net);
	}
	if (version >= 5)
		rules.fs = LANDLOCK_FS_V5;
	if (version >= 6) {
		rules.scoped = LANDLOCK_SCOPE_V6;
		bytes = sizeof(rules);
	}
	/* All of it is forbidden, since no rule allows anything. */
	fd = (int)syscall(SYS_landlock_create_ruleset, &rules, bytes, 0);
	if (fd < 0)
		return -errno;
	if (syscall(SYS_landlock_restrict_self, fd, 0))
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

static int drop_capabilities(void)
{
	cap_t none;
	int rc;

	cap_reset_ambient();
	drop_bounding_set();
	none = cap_init();
	if (!none)
		return -ENOMEM;
	rc = cap_set_proc(none) ? -errno : 0;
	cap_free(none);
	return rc ? rc : set_no_new_privs();
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
	bool always;		/* a host without it is broken */
} layers[] = {
	{ "user_namespace", "user namespace", enter_user, false },
	{ "mount_namespace", "mount namespace", enter_mount, false },
	{ "ipc_namespace", "IPC namespace", enter_ipc, false },
	{ "net_namespace", "network namespace", enter_net, false },
	{ "limits", "limits", enter_limits, true },
	{ "capabilities", "no capabilities", drop_capabilities, true },
	{ "landlock", "Landlock", enter_landlock, false },
	{ "seccomp", "system call filters", probe_filters, false },
};

_Static_assert(ARRAY_SIZE(layers) <= SANDBOX_MAX_LAYERS, "for sandbox_probe()");

/* ---- a forbidden call ---- */

static const char *call_name(unsigned int nr)
{
	const char *name = call_names;

	if (nr >= NR_CALL_NAMES)
		return "";
	while (nr--)
		name += strlen(name) + 1;
	return name;
}

static void on_sigsys(int signal, siginfo_t *info, void *context)
{
	const greg_t *regs = ((const ucontext_t *)context)->uc_mcontext.gregs;

	on_violation();
	if (info->si_code != SYS_SECCOMP) {	/* somebody sent it */
		log_error("signal %d", signal);
		_exit(128 + signal);
	}
	log_error("sandbox: %s: forbidden system call: %s (%d), arguments %#llx %#llx %#llx\n"
		  "its process was ended, since a guest may have taken it over. If you trust the guest, "
		  "this is a fault of lkvm: please report it.",
		  own_name ? own_name : "unknown", call_name((unsigned int)info->si_syscall),
		  info->si_syscall, (unsigned long long)regs[REG_RDI],
		  (unsigned long long)regs[REG_RSI], (unsigned long long)regs[REG_RDX]);
	_exit(SANDBOX_EXIT_STATUS);
}

static int catch_violations(void (*restore_terminal)(void))
{
	struct sigaction sa = { .sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO };

	on_violation = restore_terminal;
	sigfillset(&sa.sa_mask);
	return sigaction(SIGSYS, &sa, NULL) ? -errno : 0;
}

static void nothing_to_restore(void)
{
}

/* ---- entering ---- */

void sandbox_init(struct sandbox *s, enum sandbox_mode mode)
{
	memset(s, 0, sizeof(*s));
	s->mode = mode;
	sem_init(&s->confined, 0, 0);
}

void sandbox_fini(struct sandbox *s)
{
	sem_destroy(&s->confined);
}

static bool is_used(const struct layer *l)
{
	/* Sanitizers read files, start threads and trace the process at its end. */
	return !SANITIZED || l->enter == drop_capabilities;
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

int sandbox_enter(struct sandbox *s, void (*restore_terminal)(void))
{
	int rc;

	if (s->mode == SANDBOX_OFF) {
		sandbox_hook("process");
		return 0;
	}
	if (SANITIZED && s->mode == SANDBOX_STRICT) {
		log_error("sandbox: strict: not with a build with sanitizers");
		return -ENOTSUP;
	}
	for (size_t i = 0; i < ARRAY_SIZE(layers); i++) {
		bool in;

		if (!is_used(&layers[i]))
			continue;
		rc = enter_layer(s, &layers[i], &in);
		if (rc)
			return rc;
		if (layers[i].enter == probe_filters)
			s->filters = in;
	}
	rc = s->filters ? catch_violations(restore_terminal) : 0;
	if (rc)
		log_error("sandbox: SIGSYS: %s", strerror(-rc));
	sandbox_hook("process");
	return rc;
}

int sandbox_confine_helper(struct sandbox *s, enum sandbox_kind kind)
{
	int rc = 0;

	if (s->mode == SANDBOX_OFF)
		return 0;
	if (kind == SANDBOX_STORE)
		rc = drop_capabilities();
	else
		rc = set_no_new_privs();
	s->filters = !SANITIZED && !probe_filters();
	if (!rc && s->filters)
		rc = catch_violations(nothing_to_restore);
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
	[SANDBOX_VCPU] = { "vcpu thread", filter_vcpu, ARRAY_SIZE(filter_vcpu) },
	[SANDBOX_WORKER] = { "disk thread", filter_worker, ARRAY_SIZE(filter_worker) },
	[SANDBOX_STORE] = { "kernel-cache process", filter_store, ARRAY_SIZE(filter_store) },
	[SANDBOX_KEEPER] = { "keeper process", filter_keeper, ARRAY_SIZE(filter_keeper) },
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
		.len = (unsigned short)(ARRAY_SIZE(no_call) + filters[kind].nr), .filter = insns,
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
	if (kind != SANDBOX_LOOP)
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
