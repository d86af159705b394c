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
 * reaches it; it ends when our end of the socket closes, however lkvm ends. It writes its
 * process ID when it has bound all ports and is ready: to its stdout, which is a pipe,
 * since it closes all other descriptors that it does not know.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "event.h"
#include "io.h"
#include "net/stream.h"
#include "util.h"

#define CHILD_FD	3
#define LOG_CHUNK_BYTES 512u
#define LOG_EVENT_BYTES 4096u	      /* of its messages, before others have their turn */
#define LOG_PIPE_BYTES	65536u	      /* all that it can have left behind */
#define PATIENCE_NS	1000000000ull /* with its end */
#define READY_MS	30000	      /* and with its start, on a busy host */
#define PUBLISH_BYTES	80u
#define MAX_ARGS	(26 + 2 * NET_MAX_PUBLISH)

extern char **environ;

struct passt {
	struct stream stream;
	const struct net_config *config; /* until it is ready */
	int ready_fd;			 /* its stdout, until then */
	int log_fd, log_watch;		 /* its stderr */
	char line[256];
	size_t line_bytes;
	char last_line[256];
};

static void end_line(struct passt *p)
{
	p->line[p->line_bytes] = '\0';
	if (p->line_bytes) {
		if (p->ready_fd >= 0)
			log_verbose("%s: passt: %s", p->stream.net.name, p->line);
		else /* somebody at its other ends may have caused it */
			log_limited(&p->stream.net.log_limit, LOG_VERBOSE, "%s: passt: %s",
				    p->stream.net.name, p->line);
		memcpy(p->last_line, p->line, sizeof(p->last_line));
	}
	p->line_bytes = 0;
}

/* At most about @most bytes: it may write as fast as we read. */
static void read_log(struct passt *p, uint32_t most)
{
	char text[LOG_CHUNK_BYTES];
	ssize_t n = 1;

	for (uint32_t done = 0; done < most && n > 0; done += LOG_CHUNK_BYTES) {
		n = read(p->log_fd, text, sizeof(text));
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
	read_log(arg, LOG_EVENT_BYTES);
}

static void passt_on_lost(struct stream *s)
{
	struct passt *p = (struct passt *)s;

	if (p->log_watch >= 0)
		read_log(p, LOG_PIPE_BYTES);
	log_notice("%s: passt has ended; the guest's link is down%s%s", s->net.name,
		   *p->last_line ? "\n" : "", p->last_line);
}

/* Waits a moment for the child that has lost its socket, then ends it. */
static void passt_reap(struct passt *p)
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
		passt_reap(p);
	event_remove(net->loop, p->log_watch);
	if (p->log_fd >= 0)
		close(p->log_fd);
	if (p->ready_fd >= 0)
		close(p->ready_fd);
	free(p);
}

struct publish {
	char text[PUBLISH_BYTES]; /* what the others point into */
	const char *ip, *host, *guest;
	bool udp;
};

static bool is_port(const char *text)
{
	char *end;
	unsigned long port = strtoul(text, &end, 10);

	return *text >= '0' && *text <= '9' && !*end && port >= 1 && port <= 65535;
}

/* Takes what is behind the last colon off @text. NULL: there is none. */
static char *split_last(char *text)
{
	char *colon = strrchr(text, ':');

	if (!colon)
		return NULL;
	*colon = '\0';
	return colon + 1;
}

/* [IP:]HOST:GUEST[/udp]. False if it is not that. */
static bool parse_publish(const char *text, struct publish *p)
{
	char *slash, *ip;

	if (strlen(text) >= sizeof(p->text))
		return false;
	strcpy(p->text, text);
	slash = strrchr(p->text, '/');
	p->udp = slash && !strcmp(slash, "/udp");
	if (slash && !p->udp && strcmp(slash, "/tcp"))
		return false;
	if (slash)
		*slash = '\0';
	p->guest = split_last(p->text);
	p->host = p->guest ? split_last(p->text) : NULL;
	ip = p->host ? p->text : NULL;
	if (!p->host)
		p->host = p->text;
	/* An IPv6 address is in brackets, as in a URL. */
	if (ip && *ip == '[' && ip[strlen(ip) - 1] == ']') {
		ip[strlen(ip) - 1] = '\0';
		ip++;
	}
	p->ip = ip ? ip : "127.0.0.1";
	return p->guest && is_port(p->host) && is_port(p->guest) && *p->ip &&
	       !p->ip[strspn(p->ip, "0123456789abcdefABCDEF.:")];
}

/* ---- is it ready? ---- */

/* Why nobody can listen at this address and port: an errno; 0: no reason is known. */
static int bind_error(const struct publish *p)
{
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	bool is_v4 = inet_pton(AF_INET, p->ip, &v4.sin_addr) == 1;
	const int on = 1;
	int fd, err = 0;

	if (!is_v4 && inet_pton(AF_INET6, p->ip, &v6.sin6_addr) != 1)
		return EINVAL;
	v4.sin_port = v6.sin6_port = htons((uint16_t)atoi(p->host));
	fd = socket(is_v4 ? AF_INET : AF_INET6, (p->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errno;
	/* Old connections are in nobody's way; for datagrams it would mean sharing. */
	if (!p->udp)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6,
		 is_v4 ? sizeof(v4) : sizeof(v6)))
		err = errno;
	close(fd);
	return err;
}

/* passt has ended: its last line names the option; which port, and why, we find out. */
static int explain_end(struct passt *p)
{
	const struct net_config *config = p->config;
	struct publish publish;

	for (unsigned int i = 0; i < config->nr_publish; i++) {
		int err = parse_publish(config->publish[i], &publish) ? bind_error(&publish) : 0;

		if (!err)
			continue;
		log_error("%s: publish=%s: %s\npasst: %s", config->name, config->publish[i],
			  strerror(err), p->last_line);
		return -err;
	}
	log_error("%s: passt: it does not start: %s%s", config->name, p->last_line,
		  strstr(p->last_line, "interface") ?
			  "\nthe guest would share the host's network, but the host has no default route." :
			  "");
	return -EIO;
}

static int passt_wait_ready(struct net *net)
{
	struct passt *p = (struct passt *)net;
	struct pollfd pfd = { .fd = p->ready_fd, .events = POLLIN };
	const uint64_t deadline = now_ns() + READY_MS * 1000000ull;
	char pid[16];
	int rc;

	do {
		uint64_t now = now_ns();

		rc = poll_fds(&pfd, 1, (int)((deadline > now ? deadline - now : 0) / 1000000));
	} while (rc < 0 && errno == EINTR);
	if (rc <= 0) {
		log_error("%s: passt: not ready after %d seconds", net->name, READY_MS / 1000);
		return -ETIMEDOUT;
	}
	rc = (int)read(p->ready_fd, pid, sizeof(pid));
	read_log(p, LOG_PIPE_BYTES);
	rc = rc > 0 ? 0 : explain_end(p);
	close(p->ready_fd);
	p->ready_fd = -1;
	return rc;
}

static const struct net_ops passt_ops = {
	.recv = stream_recv,
	.send = stream_send,
	.watch = stream_watch,
	.wait_ready = passt_wait_ready,
	.destroy = passt_destroy,
};

/* ---- starting it ---- */

struct arguments {
	const char *argv[MAX_ARGS];
	unsigned int nr;
	char publish[NET_MAX_PUBLISH][PUBLISH_BYTES + 16];
	char mtu[16];
	char address[INET_ADDRSTRLEN], bits[4], gateway[INET_ADDRSTRLEN], dns[INET_ADDRSTRLEN];
};

static void add_address(struct arguments *a, const char *option, const uint8_t address[4],
			char text[INET_ADDRSTRLEN])
{
	static const uint8_t none[4];

	if (!memcmp(address, none, sizeof(none)))
		return;
	inet_ntop(AF_INET, address, text, INET_ADDRSTRLEN);
	a->argv[a->nr++] = option;
	a->argv[a->nr++] = text;
}

/* What the guest is told without DHCP, so that both agree; its name server is passt itself. */
static void add_guest(struct arguments *a, const struct net_address *guest)
{
	if (!guest->given)
		return;
	add_address(a, "-a", guest->address, a->address);
	snprintf(a->bits, sizeof(a->bits), "%u", guest->prefix_bits);
	a->argv[a->nr++] = "-n";
	a->argv[a->nr++] = a->bits;
	add_address(a, "-g", guest->gateway, a->gateway);
	add_address(a, "-D", guest->dns, a->dns);
	add_address(a, "--dns-forward", guest->dns, a->dns);
}

static int make_arguments(struct arguments *a, const struct net_config *config)
{
	static const char *const fixed[] = {
		"passt", "--foreground", "--stderr", "--fd", "3", "--pid", "/proc/self/fd/1"
	};

	memcpy(a->argv, fixed, sizeof(fixed));
	a->nr = ARRAY_SIZE(fixed);
	if (!config->host_loopback)
		a->argv[a->nr++] = "--no-map-gw";
	if (config->mtu) {
		snprintf(a->mtu, sizeof(a->mtu), "%u", config->mtu);
		a->argv[a->nr++] = "--mtu";
		a->argv[a->nr++] = a->mtu;
	}
	add_guest(a, &config->guest);
	for (unsigned int i = 0; i < config->nr_publish; i++) {
		struct publish p;

		if (!parse_publish(config->publish[i], &p)) {
			log_error("%s: publish=%s: must be [IP:]HOST-PORT:GUEST-PORT[/udp]", config->name,
				  config->publish[i]);
			return -EINVAL;
		}
		snprintf(a->publish[i], sizeof(a->publish[i]), "%s/%s:%s", p.ip, p.host, p.guest);
		a->argv[a->nr++] = p.udp ? "-u" : "-t";
		a->argv[a->nr++] = a->publish[i];
	}
	a->argv[a->nr] = NULL;
	return 0;
}

/* Descriptors of ours are close-on-exec: it gets these and no others. */
static int spawn(struct passt *p, const struct arguments *a, int socket, int ready, int log)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t set;
	int rc;

	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, ready, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, log, STDERR_FILENO);
	posix_spawn_file_actions_adddup2(&actions, socket, CHILD_FD);
	sigemptyset(&set);
	posix_spawnattr_setsigmask(&attr, &set);
	sigaddset(&set, SIGPIPE);
	sigaddset(&set, SIGXFSZ);
	posix_spawnattr_setsigdefault(&attr, &set);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF |
						POSIX_SPAWN_SETSIGMASK);
	rc = posix_spawnp(&p->stream.net.child, "passt", &actions, &attr,
			  (char *const *)(uintptr_t)a->argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	if (rc)
		p->stream.net.child = 0;
	return -rc;
}

/* Both ends of the pipes and of the socket; -1: not open. */
struct ends {
	int ready[2], log[2], socket[2];
};

static int open_ends(struct ends *e)
{
	*e = (struct ends){ { -1, -1 }, { -1, -1 }, { -1, -1 } };
	/* Blocking at passt's end of the socket: its default for one that it is given. */
	if (pipe2(e->ready, O_CLOEXEC) || pipe2(e->log, O_CLOEXEC | O_NONBLOCK) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, e->socket))
		return -errno;
	/* Started by root, it opens the pipe as somebody else. */
	return fchmod(e->ready[1], 0666) ? -errno : 0;
}

static void close_end(int fd)
{
	if (fd >= 0)
		close(fd);
}

static int passt_start(struct passt *p, const struct net_config *config)
{
	struct arguments arguments;
	struct ends e;
	int rc = make_arguments(&arguments, config);

	if (rc)
		return rc;
	rc = open_ends(&e);
	p->ready_fd = e.ready[0];
	p->log_fd = e.log[0];
	if (!rc)
		rc = spawn(p, &arguments, e.socket[1], e.ready[1], e.log[1]);
	close_end(e.ready[1]);
	close_end(e.log[1]);
	close_end(e.socket[1]);
	if (!rc)
		rc = stream_connect(&p->stream, e.socket[0]);
	else
		close_end(e.socket[0]);
	if (!rc) {
		p->log_watch = event_add(p->stream.net.loop, p->log_fd, EPOLLIN, on_log, p);
		rc = p->log_watch < 0 ? p->log_watch : 0;
	}
	if (rc)
		log_error("%s: passt: %s%s", config->name, strerror(-rc),
			  rc == -ENOENT ? "\ninstall it (Debian: apt install passt), or use mode=tap." : "");
	return rc;
}

int net_passt_open(struct net **out, struct event_loop *loop, const struct net_config *config)
{
	struct passt *p = calloc(1, sizeof(*p));
	int rc;

	if (!p)
		return log_enomem(config->name);
	p->config = config;
	p->ready_fd = p->log_fd = p->log_watch = -1;
	rc = stream_init(&p->stream, &passt_ops, loop, config);
	p->stream.lost = passt_on_lost;
	if (!rc)
		rc = passt_start(p, config);
	if (rc) {
		passt_destroy(&p->stream.net);
		return rc;
	}
	*out = &p->stream.net;
	return 0;
}
