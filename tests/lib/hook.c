// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a guest that has taken over lkvm might try, from inside: in the test build (make
 * HOOK=1) sandbox/sandbox.c calls sandbox_hook() when a wall is up.
 *
 *	SANDBOX_HOOK=PLACE:ATTEMPT[,ATTEMPT...]
 *
 * PLACE "process": the whole process is shut in, threads are not filtered yet; each attempt
 * is made in a process of its own. Else the name of a thread, behind its filter. Each
 * attempt prints "hook: ATTEMPT: " and what came of it.
 */
#ifndef SANDBOX_HOOK
#define SANDBOX_HOOK
#endif

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/kvm.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/sandbox.h"

/* Each returns -1 with errno, or what it got. */

static long try_open(void) { return syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY); }
static long try_open_old(void) { return syscall(SYS_open, "/etc/passwd", O_RDONLY); }
static long try_open_up(void) { return syscall(SYS_openat, AT_FDCWD, "../../etc/passwd", O_RDONLY); }
static long try_create(void) { return syscall(SYS_openat, AT_FDCWD, "here", O_RDWR | O_CREAT, 0600); }
static long try_mkdir(void) { return mkdir("/here", 0700); }
static long try_unlink(void) { return unlink("/etc/passwd"); }
static long try_chmod(void) { return chmod("/dev/null", 0666); }
static long try_socket(void) { return socket(AF_INET, SOCK_STREAM, 0); }
static long try_fork(void) { return syscall(SYS_fork); }
static long try_clone3(void) { return syscall(SYS_clone3, NULL, 0); }
static long try_unshare(void) { return unshare(CLONE_NEWUSER); }
static long try_memfd(void) { return (long)syscall(SYS_memfd_create, "x", 0); }
static long try_setuid(void) { return syscall(SYS_setuid, 0); }
static long try_bpf(void) { return syscall(SYS_bpf, 0, NULL, 0); }
static long try_uring(void) { return syscall(SYS_io_uring_setup, 8, NULL); }
static long try_sigaction(void) { return syscall(SYS_rt_sigaction, SIGSYS, NULL, NULL, 8); }
static long try_prctl(void) { return syscall(SYS_prctl, PR_SET_DUMPABLE, 1); }
static long try_kill(void) { return kill(1, 0); }
static long try_tgkill(void) { return syscall(SYS_tgkill, 2, 2, 0); }
static long try_tiocsti(void) { return ioctl(0, TIOCSTI, "x"); }
static long try_create_vm(void) { return ioctl(0, KVM_CREATE_VM, 0); }
static long try_slot(void) { return ioctl(0, KVM_SET_USER_MEMORY_REGION, NULL); }
static long try_mount(void) { return mount("none", "/", "proc", 0, NULL); }
static long try_ptrace(void) { return ptrace(PTRACE_ATTACH, 1, NULL, NULL); }
/* A process of the same user outside. */
static long try_signal(void)
{
	const char *victim = getenv("SANDBOX_VICTIM");

	return kill(victim ? atoi(victim) : -1, 0);
}

static long try_core(void)
{
	struct {
		long current, most;
	} limit;

	return syscall(SYS_prlimit64, 0, 4, NULL, &limit) ? -1 : limit.most;
}

static long try_exec(void)
{
	char path[] = "/bin/true";
	char *const argv[] = { path, NULL };

	return execve(path, argv, argv + 1);
}

static long try_connect(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return fd < 0 ? fd : connect(fd, (struct sockaddr *)&to, sizeof(to));
}

/* Bound by the test. */
static long try_abstract(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	memcpy(to.sun_path, "\0lkvm-hook", 10);
	return fd < 0 ? fd : connect(fd, (struct sockaddr *)&to, sizeof(sa_family_t) + 10);
}

static long try_mmap(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? -1 : 1;
}

static long try_mprotect(void)
{
	static char page[8192];

	return mprotect((void *)(((unsigned long)page + 4095) & ~4095ul), 4096,
			PROT_READ | PROT_WRITE | PROT_EXEC);
}

/* A system call of another architecture: getpid(). */
static long try_int80(void)
{
	long result = 20;

	__asm__ volatile("int $0x80"
			 : "+a"(result)
			 :
			 : "memory");
	return result;
}

/*
 * Opens a file through the ring with @entries that the VM has. Its memory is where a ring like it
 * has it.
 */
static long open_by_ring(unsigned int entries)
{
	for (int fd = 3; fd < 256; fd++) {
		struct io_uring_params p = { .flags = IORING_SETUP_CLAMP };
		struct io_uring twin, ring = { 0 };
		struct io_uring_cqe *cqe;
		struct io_uring_sqe *sqe;
		long result;

		/* One that is not enabled is now. */
		if (syscall(SYS_io_uring_register, fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0) &&
		    (errno == EOPNOTSUPP || errno == EBADF))
			continue; /* no ring */
		if (io_uring_queue_init_params(entries, &twin, &p) < 0)
			return -1;
		if (twin.ring_fd == fd || io_uring_queue_mmap(fd, &p, &ring)) {
			io_uring_queue_exit(&twin);
			continue;
		}
		sqe = io_uring_get_sqe(&ring);
		io_uring_prep_openat(sqe, AT_FDCWD, "/", O_RDONLY | O_DIRECTORY, 0);
		if (io_uring_submit(&ring) < 0 || io_uring_wait_cqe(&ring, &cqe))
			return -1;
		result = cqe->res;
		io_uring_cqe_seen(&ring, cqe); /* the VM is not to meet it */
		if (result < 0)
			errno = (int)-result;
		return result < 0 ? -1 : result;
	}
	errno = ENOENT;
	return -1;
}

static long try_ring_open(void) { return open_by_ring(256); }
static long try_teardown_ring_open(void) { return open_by_ring(1); }

static const struct {
	const char *name;
	long (*make)(void);
} attempts[] = {
	{ "openat", try_open },
	{ "open", try_open_old },
	{ "openat-up", try_open_up },
	{ "openat-create", try_create },
	{ "mkdir", try_mkdir },
	{ "unlink", try_unlink },
	{ "chmod", try_chmod },
	{ "socket", try_socket },
	{ "connect", try_connect },
	{ "abstract", try_abstract },
	{ "fork", try_fork },
	{ "clone3", try_clone3 },
	{ "execve", try_exec },
	{ "unshare", try_unshare },
	{ "mount", try_mount },
	{ "memfd_create", try_memfd },
	{ "mmap", try_mmap },
	{ "mprotect", try_mprotect },
	{ "setuid", try_setuid },
	{ "bpf", try_bpf },
	{ "io_uring_setup", try_uring },
	{ "rt_sigaction", try_sigaction },
	{ "prctl", try_prctl },
	{ "kill", try_kill },
	{ "tgkill", try_tgkill },
	{ "ioctl-tiocsti", try_tiocsti },
	{ "ioctl-vm", try_create_vm },
	{ "ioctl-slot", try_slot },
	{ "ptrace", try_ptrace },
	{ "int80", try_int80 },
	{ "ring-open", try_ring_open },
	{ "teardown-open", try_teardown_ring_open },
	{ "core", try_core },
	{ "signal", try_signal },
};

static void say(const char *name, long result)
{
	char line[128];
	int n;

	if (result < 0)
		n = snprintf(line, sizeof(line), "hook: %s: refused: %s\n", name, strerrorname_np(errno));
	else
		n = snprintf(line, sizeof(line), "hook: %s: got %ld\n", name, result);
	if (write(STDERR_FILENO, line, (size_t)n) != n)
		_exit(1);
}

static void attempt(const char *name, size_t len, bool apart)
{
	for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++) {
		pid_t child;

		if (strlen(attempts[i].name) != len || memcmp(attempts[i].name, name, len))
			continue;
		child = apart ? fork() : 0;
		if (child > 0)
			waitpid(child, NULL, 0);
		else
			say(attempts[i].name, attempts[i].make());
		if (apart && !child)
			_exit(0);
		return;
	}
	say("unknown", -1);
}

void sandbox_hook(const char *place)
{
	const char *text = getenv("SANDBOX_HOOK");
	size_t len;

	len = strcspn(place, " ");
	if (!text || strncmp(text, place, len) || text[len] != ':')
		return;
	text += len;
	do {
		text++;
		len = strcspn(text, ",");
		attempt(text, len, !strcmp(place, "process"));
		text += len;
	} while (*text);
}
