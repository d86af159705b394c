// SPDX-License-Identifier: GPL-2.0-only
/*
 * Network load for the bench; static, so that it runs anywhere.
 *
 *	netload server                    on the host; port 5001 of every address
 *	netload HOST send MIB             TCP from here to the server
 *	netload HOST recv MIB             TCP from the server
 *	netload HOST trips N              one byte there and back, N times
 *	netload INTERFACE frames N        raw Ethernet frames of 64 bytes to nobody
 *	netload relay TAP TAP             frames from one tap to the other, both ways, with
 *	                                  one read and one write each: what a VMM cannot avoid
 *
 * Prints nanoseconds per MiB, round trip or frame.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PORT  5001
#define CHUNK 65536u

struct request {
	uint32_t kind; /* 's', 'r', 't' as in the command */
	uint32_t count;
};

static uint8_t buffer[CHUNK];

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void read_bytes(int fd, uint64_t bytes)
{
	while (bytes) {
		ssize_t n = read(fd, buffer, bytes < CHUNK ? bytes : CHUNK);

		if (n <= 0)
			die("read");
		bytes -= (uint64_t)n;
	}
}

static void write_bytes(int fd, uint64_t bytes)
{
	while (bytes) {
		ssize_t n = write(fd, buffer, bytes < CHUNK ? bytes : CHUNK);

		if (n <= 0)
			die("write");
		bytes -= (uint64_t)n;
	}
}

static int tcp_socket(void)
{
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	return fd;
}

static void serve(int fd)
{
	struct request r;

	if (read(fd, &r, sizeof(r)) != (ssize_t)sizeof(r))
		return;
	if (r.kind == 's') {
		read_bytes(fd, (uint64_t)r.count << 20);
		write_bytes(fd, 1);
	} else if (r.kind == 'r') {
		write_bytes(fd, (uint64_t)r.count << 20);
	} else {
		while (r.count--) {
			read_bytes(fd, 1);
			write_bytes(fd, 1);
		}
	}
}

static void server(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int fd = tcp_socket();

	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(fd, 8))
		die("listen");
	for (;;) {
		int one = 1, peer = accept(fd, NULL, NULL);

		if (peer < 0)
			die("accept");
		setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		serve(peer);
		close(peer);
	}
}

static void client(const char *host, uint32_t kind, uint32_t count)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	struct request r = { kind, count };
	int fd = tcp_socket();

	if (inet_pton(AF_INET, host, &addr.sin_addr) != 1 ||
	    connect(fd, (struct sockaddr *)&addr, sizeof(addr)) ||
	    write(fd, &r, sizeof(r)) != (ssize_t)sizeof(r))
		die(host);
	if (kind == 's') {
		write_bytes(fd, (uint64_t)count << 20);
		read_bytes(fd, 1);
	} else if (kind == 'r') {
		read_bytes(fd, (uint64_t)count << 20);
	} else {
		while (count--) {
			write_bytes(fd, 1);
			read_bytes(fd, 1);
		}
	}
}

static void frames(const char *interface, uint32_t count)
{
	struct sockaddr_ll to = {
		.sll_family = AF_PACKET,
		.sll_ifindex = (int)if_nametoindex(interface),
	};
	int fd = socket(AF_PACKET, SOCK_RAW, 0);

	memset(buffer, 0x02, 12);
	buffer[12] = 0x88; /* local experimental ethertype: the other side drops it */
	buffer[13] = 0xb5;
	while (count--)
		if (sendto(fd, buffer, 64, 0, (struct sockaddr *)&to, sizeof(to)) != 64)
			die(interface);
}

static int open_tap(const char *name)
{
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
	struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int bytes = 12;

	strncpy(r.ifr_name, name, sizeof(r.ifr_name) - 1);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &r) || ioctl(fd, TUNSETVNETHDRSZ, &bytes) ||
	    ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN))
		die(name);
	return fd;
}

static void relay(const char *a, const char *b)
{
	static uint8_t frame[12 + 65536 + 64];
	const int taps[2] = { open_tap(a), open_tap(b) };
	int epoll = epoll_create1(0);

	for (uint32_t i = 0; i < 2; i++) {
		struct epoll_event e = { .events = EPOLLIN, .data.u32 = i };

		if (epoll_ctl(epoll, EPOLL_CTL_ADD, taps[i], &e))
			die("epoll");
	}
	for (;;) {
		struct epoll_event e[2];
		int nr = epoll_wait(epoll, e, 2, -1);

		for (int i = 0; i < nr; i++) {
			ssize_t n = read(taps[e[i].data.u32], frame, sizeof(frame));

			/* Refused while the other interface is down. */
			if (n > 0 && write(taps[!e[i].data.u32], frame, (size_t)n) < 0)
				continue;
		}
	}
}

int main(int argc, char **argv)
{
	uint32_t count = argc == 4 ? (uint32_t)strtoul(argv[3], NULL, 10) : 0;
	uint64_t start;

	if (argc == 2 && !strcmp(argv[1], "server"))
		server();
	if (argc == 4 && !strcmp(argv[1], "relay"))
		relay(argv[2], argv[3]);
	if (argc != 4 || !count)
		return 2;
	start = now_ns();
	if (*argv[2] == 'f')
		frames(argv[1], count);
	else
		client(argv[1], (uint32_t)*argv[2], count);
	printf("%llu\n", (unsigned long long)((now_ns() - start) / count));
	return 0;
}
