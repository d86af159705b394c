// SPDX-License-Identifier: GPL-2.0-only
/*
 * To be preloaded into lkvm (--sandbox off): at every PAUSE_EVERY-th exit from the guest the machine is
 * told, by its own socket PAUSE_SOCKET, to pause and to go on, and the CPU goes no further before the
 * order has reached it. So it parks with what that exit was about not yet complete. One CPU only. What
 * cannot be done ends it all; "pauses N" is on stderr at the end.
 */
#define _FILE_OFFSET_BITS 64
#include <dlfcn.h>
#include <linux/kvm.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 60000

static unsigned int every, exits, pauses;
static int server = -1;
static struct kvm_run *run; /* of the CPU that was made last */

__attribute__((constructor)) static void read_environment(void)
{
	const char *text = getenv("PAUSE_EVERY");

	every = text ? (unsigned int)atoi(text) : 0;
}

static void die(const char *what)
{
	fprintf(stderr, "pause.so: %s after %u pauses\n", what, pauses);
	_exit(99);
}

static void pauses_connect(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	strncpy(addr.sun_path, getenv("PAUSE_SOCKET"), sizeof(addr.sun_path) - 1);
	server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(server, (struct sockaddr *)&addr, sizeof(addr)))
		die("no connection");
}

/* Both answers to the last two requests. */
static void expect_answers(void)
{
	struct pollfd p = { .fd = server, .events = POLLIN };
	unsigned int lines = 0;
	char text[256];
	size_t n = 0;

	while (lines < 2) {
		ssize_t more = poll(&p, 1, PATIENCE_MS) == 1 ? read(server, text + n, sizeof(text) - 1 - n) : -1;

		if (more <= 0)
			die("no answer");
		n += (size_t)more;
		text[n] = '\0';
		lines = 0;
		for (size_t i = 0; i < n; i++)
			lines += text[i] == '\n';
	}
	if (strcmp(text, "{\"v\":1,\"ok\":true}\n{\"v\":1,\"ok\":true}\n"))
		die(text);
}

static void order_pause(void)
{
	static const char orders[] = "{\"v\":1,\"do\":\"pause\"}\n{\"v\":1,\"do\":\"resume\"}\n";
	unsigned int ms = 0;

	if (server < 0)
		pauses_connect();
	else
		expect_answers();
	if (write(server, orders, strlen(orders)) != (ssize_t)strlen(orders))
		die("no request");
	for (; !__atomic_load_n(&run->immediate_exit, __ATOMIC_SEQ_CST) && ms < PATIENCE_MS; ms++)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	if (ms == PATIENCE_MS)
		die("no kick");
	pauses++;
}

void *mmap64(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
	static void *(*next)(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
	void *p;

	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "mmap64");
	p = next(at, bytes, protection, flags, fd, offset);
	if (flags & MAP_SHARED && fd >= 0 && bytes >= sizeof(struct kvm_run) && !offset)
		run = p;
	return p;
}

int ioctl(int fd, unsigned long request, ...)
{
	static int (*next)(int fd, unsigned long request, ...);
	va_list ap;
	void *arg;
	int rc;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "ioctl");
	rc = next(fd, request, arg);
	if (request == KVM_RUN && !rc && every && ++exits % every == 0)
		order_pause();
	return rc;
}

__attribute__((destructor)) static void tell(void)
{
	if (every)
		fprintf(stderr, "pauses %u\n", pauses);
}
