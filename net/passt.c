// SPDX-License-Identifier: GPL-2.0-only
/*
 * `mode=passt`: starts passt(1), which gives the guest the host's network without
 * privileges (DHCP, DNS, TCP, UDP, ICMP echo), at the other end of a socket pair.
 *
 * By default the guest cannot reach services on the host's loopback addresses, and
 * published ports are bound to 127.0.0.1 only. What passt writes to its stderr is shown
 * with -v; the last line of it explains its end.
 *
 * passt is our child in a process group of its own, so that no key of the terminal
 * reaches it; it ends when our end of the socket closes, however lkvm ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "event.h"
#include "net/stream.h"
#include "util.h"

#define CHILD_FD 3
#define PATIENCE_NS 1000000000ull
#define PUBLISH_BYTES 96u
#define MAX_ARGS (16 + 2 * NET_MAX_PUBLISH)

extern char **environ;

struct passt {
	struct stream stream;
	pid_t pid;		/* 0: not running */
	int log_fd, log_watch;	/* its stderr */
	char line[256];
	size_t line_bytes;
	char last_line[256];
};

static void end_line(struct passt *p)
{
	p->line[p->line_bytes] = '\0';
	if (p->line_bytes) {
		log_verbose("%s: passt: %s", p->stream.net.name, p->line);
		memcpy(p->last_line, p->line, sizeof(p->last_line));
	}
	p->line_bytes = 0;
}

static void read_log(struct passt *p)
{
	char text[512];
	ssize_t n;

	while ((n = read(p->log_fd, text, sizeof(text))) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			if (text[i] == '\n' || p->line_bytes == sizeof(p->line) - 1)
				end_line(p);
			if (text[i] >= ' ' && text[i] < 0x7f)
				p->line[p->line_bytes++] = text[i];
		}
	}
	if (n == 0) {
		event_remove(p->stream.net.loop, p->log_watch);
		p->log_watch = -1;
	}
}

static void on_log(void *arg, uint32_t events)
{
	(void)events;
	read_log(arg);
}

static void on_lost(struct stream *s)
{
	struct passt *p = (struct passt *)s;

	if (p->log_watch >= 0)
		read_log(p);
	log_notice("%s: passt has ended; the guest's link is down%s%s", s->net.name,
		   *p->last_line ? "\n" : "", p->last_line);
}

/* Waits a moment for the child that has lost its socket, then ends it. */
static void reap(struct passt *p)
{
	uint64_t deadline = now_ns() + PATIENCE_NS;
	pid_t rc;

	do
		rc = waitpid(p->stream.net.child, NULL, WNOHANG);
	while (!rc && wait_a_moment(deadline));
	if (rc == 0) {
		kill(p->stream.net.child, SIGKILL);
		waitpid(p->stream.net.child, NULL, 0);
	}
}

static void passt_destroy(struct net *net)
{
	struct passt *p = (struct passt *)net;

	stream_fini(&p->stream);
	if (p->stream.net.child)
		reap(p);
	event_remove(net->loop, p->log_watch);
	if (p->log_fd >= 0)
		close(p->log_fd);
	free(p);
}

static const struct net_ops passt_ops = {
	.recv = stream_recv,
	.send = stream_send,
	.watch = stream_watch,
	.destroy = passt_destroy,
};

/* [IP:]HOST:GUEST[/udp] in passt's words: IP/HOST:GUEST. False if it is not that. */
static bool translate_publish(const char *text, char out[PUBLISH_BYTES], bool *udp)
{
	char loopback[] = "127.0.0.1", copy[PUBLISH_BYTES];
	char *slash, *guest, *host, *ip, *end;
	unsigned long port;

	if (strlen(text) >= sizeof(copy) - 16)
		return false;
	strcpy(copy, text);
	slash = strrchr(copy, '/');
	*udp = slash && !strcmp(slash, "/udp");
	if (slash && !*udp && strcmp(slash, "/tcp"))
		return false;
	if (slash)
		*slash = '\0';
	guest = strrchr(copy, ':');
	if (!guest)
		return false;
	*guest++ = '\0';
	host = strrchr(copy, ':');
	ip = host ? copy : loopback;
	if (host)
		*host++ = '\0';
	else
		host = copy;
	/* An IPv6 address is in brackets, as in a URL. */
	if (*ip == '[' && ip[strlen(ip) - 1] == ']') {
		ip[strlen(ip) - 1] = '\0';
		ip++;
	}
	for (unsigned int i = 0; i < 2; i++) {
		const char *number = i ? guest : host;

		port = strtoul(number, &end, 10);
		if (*number < '0' || *number > '9' || *end || port < 1 || port > 65535)
			return false;
	}
	if (!*ip || ip[strspn(ip, "0123456789abcdefABCDEF.:")])
		return false;
	return snprintf(out, PUBLISH_BYTES, "%s/%s:%s", ip, host, guest) < (int)PUBLISH_BYTES;
}

struct arguments {
	const char *argv[MAX_ARGS];
	unsigned int nr;
	char publish[NET_MAX_PUBLISH][PUBLISH_BYTES];
	char mtu[16];
};

static int make_arguments(struct arguments *a, const struct net_config *config)
{
	static const char *const fixed[] = { "passt", "--foreground", "--stderr", "--fd", "3" };

	memcpy(a->argv, fixed, sizeof(fixed));
	a->nr = ARRAY_SIZE(fixed);
	if (!config->host_loopback)
		a->argv[a->nr++] = "--no-map-gw";
	if (config->mtu) {
		snprintf(a->mtu, sizeof(a->mtu), "%u", config->mtu);
		a->argv[a->nr++] = "--mtu";
		a->argv[a->nr++] = a->mtu;
	}
	for (unsigned int i = 0; i < config->nr_publish; i++) {
		bool udp;

		if (!translate_publish(config->publish[i], a->publish[i], &udp)) {
			log_error("%s: publish=%s: must be [IP:]HOST-PORT:GUEST-PORT[/udp]", config->name,
				  config->publish[i]);
			return -EINVAL;
		}
		a->argv[a->nr++] = udp ? "-u" : "-t";
		a->argv[a->nr++] = a->publish[i];
	}
	a->argv[a->nr] = NULL;
	return 0;
}

/* Descriptors of ours are close-on-exec: it gets these and no others. */
static int spawn(struct passt *p, const struct arguments *a, int socket, int log)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t set;
	int rc;

	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, log, STDERR_FILENO);
	posix_spawn_file_actions_adddup2(&actions, socket, CHILD_FD);
	sigemptyset(&set);
	posix_spawnattr_setsigmask(&attr, &set);
	sigaddset(&set, SIGPIPE);
	sigaddset(&set, SIGXFSZ);
	posix_spawnattr_setsigdefault(&attr, &set);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF |
				 POSIX_SPAWN_SETSIGMASK);
	rc = posix_spawnp(&p->stream.net.child, "passt", &actions, &attr, (char *const *)(uintptr_t)a->argv,
			  environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	if (rc)
		p->stream.net.child = 0;
	return -rc;
}

static int start(struct passt *p, const struct net_config *config)
{
	struct arguments arguments;
	int sockets[2], log[2], rc = make_arguments(&arguments, config);

	if (rc)
		return rc;
	if (pipe2(log, O_CLOEXEC | O_NONBLOCK))
		return -errno;
	p->log_fd = log[0];
	/* Blocking at passt's end: its default for a socket that it is given. */
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets)) {
		rc = -errno;
		close(log[1]);
		return rc;
	}
	rc = spawn(p, &arguments, sockets[1], log[1]);
	close(sockets[1]);
	close(log[1]);
	if (!rc)
		rc = stream_connect(&p->stream, sockets[0]);
	else
		close(sockets[0]);
	if (!rc) {
		p->log_watch = event_add(p->stream.net.loop, p->log_fd, EPOLLIN, on_log, p);
		rc = p->log_watch < 0 ? p->log_watch : 0;
	}
	if (rc)
		log_error("%s: passt: %s%s", config->name, strerror(-rc), rc == -ENOENT ?
			  "\ninstall it (Debian: apt install passt), or use mode=tap." : "");
	return rc;
}

int net_passt_open(struct net **out, struct event_loop *loop, const struct net_config *config)
{
	struct passt *p = calloc(1, sizeof(*p));
	int rc;

	if (!p)
		return log_enomem(config->name);
	p->log_fd = p->log_watch = -1;
	rc = stream_init(&p->stream, &passt_ops, loop, config);
	p->stream.lost = on_lost;
	if (!rc)
		rc = start(p, config);
	if (rc) {
		passt_destroy(&p->stream.net);
		return rc;
	}
	*out = &p->stream.net;
	return 0;
}
