// SPDX-License-Identifier: GPL-2.0-only
/*
 * The other side of a VM's sockets, in tests:
 *
 *	peer frames echo|flood|jumbo|lie|sink|hold|stop PATH   a server for mode=stream
 *	peer frames leave PATH                            a client of mode=stream,server=on
 *	peer bytes echo|hold|stop PATH                    a client of a --port's socket
 *	peer packets echo INTERFACE                       at the host's side of a tap
 *
 * echo sends back what comes; flood sends small frames without end and reads nothing;
 * jumbo answers each frame with one of 60 000 bytes; lie sends frames of impossible
 * length; sink counts the frames that come and prints how many at the end, and whether
 * the numbers in them were in order; hold reads nothing for two seconds, then is a sink
 * (frames) or an echo (bytes); stop never reads, and says "full" when nothing more comes;
 * leave connects anew then, with all unread, and is a sink. A server serves one connection
 * after the other.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_FRAME 70000u

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	strncpy(addr.sun_path, path, sizeof(addr.sun_path) - 1);
	return addr;
}

static int read_all(int fd, void *buf, size_t len)
{
	for (uint8_t *p = buf; len;) {
		ssize_t n = read(fd, p, len);

		if (n <= 0)
			return 0;
		p += n;
		len -= (size_t)n;
	}
	return 1;
}

static int write_all(int fd, const void *buf, size_t len)
{
	for (const uint8_t *p = buf; len;) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n <= 0)
			return 0;
		p += n;
		len -= (size_t)n;
	}
	return 1;
}

static int send_frame(int fd, const uint8_t *frame, uint32_t len)
{
	uint32_t be = htonl(len);

	return write_all(fd, &be, sizeof(be)) && write_all(fd, frame, len);
}

/* The next frame's length, or 0 at the end. */
static uint32_t recv_frame(int fd, uint8_t frame[MAX_FRAME])
{
	uint32_t be;

	if (!read_all(fd, &be, sizeof(be)) || ntohl(be) > MAX_FRAME ||
	    !read_all(fd, frame, ntohl(be)))
		return 0;
	return ntohl(be);
}

static void sink(int fd)
{
	static uint8_t frame[MAX_FRAME];
	uint32_t number, expected = 0, frames = 0, len;
	int in_order = 1;

	while ((len = recv_frame(fd, frame))) {
		memcpy(&number, frame + 14, sizeof(number));
		in_order &= len < 18 || !frames || number == expected;
		expected = number + 1;
		frames++;
	}
	printf("frames %u %s\n", frames, in_order ? "in order" : "out of order");
	fflush(stdout);
}

/* Until nothing more has come for a while: the other side waits for room. */
static void wait_until_full(int fd)
{
	int before, now = 0;

	do {
		before = now;
		usleep(200000);
		if (ioctl(fd, FIONREAD, &now))
			die("FIONREAD");
	} while (!now || now != before);
	printf("full\n");
	fflush(stdout);
}

static void stop(int fd)
{
	wait_until_full(fd);
	for (;;)
		pause();
}

static void serve_frames(int fd, const char *mode)
{
	static uint8_t frame[MAX_FRAME];
	uint32_t len;

	if (!strcmp(mode, "flood")) {
		memset(frame, 0xff, 14);
		while (send_frame(fd, frame, 64))
			;
	} else if (!strcmp(mode, "lie")) {
		const uint32_t lengths[] = { 0, 13, 65554, 0x80000000, 0xffffffff };
		static unsigned int turn;
		uint32_t be = htonl(lengths[turn++ % 5]);

		write_all(fd, &be, sizeof(be));
		write_all(fd, frame, sizeof(frame));
	} else if (!strcmp(mode, "stop")) {
		stop(fd);
	} else if (!strcmp(mode, "sink") || !strcmp(mode, "hold")) {
		if (*mode == 'h')
			sleep(2);
		sink(fd);
	} else {
		while ((len = recv_frame(fd, frame)))
			if (!send_frame(fd, frame, *mode == 'j' ? 60000 : len))
				break;
	}
}

static void frames(const char *mode, const char *path)
{
	struct sockaddr_un addr = address(path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	unlink(path);
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(fd, 8))
		die(path);
	for (;;) {
		int peer = accept(fd, NULL, NULL);

		if (peer < 0)
			die("accept");
		serve_frames(peer, mode);
		close(peer);
	}
}

static int connect_to(const char *path)
{
	struct sockaddr_un addr = address(path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	for (int i = 0; connect(fd, (struct sockaddr *)&addr, sizeof(addr)); i++) {
		if (i == 2000)
			die(path);
		usleep(5000);
	}
	return fd;
}

/* The second connection waits already when the first ends, so that no frame falls between. */
static void leave(const char *path)
{
	int first = connect_to(path), second;

	wait_until_full(first);
	second = connect_to(path);
	close(first);
	sink(second);
}

static void bytes(const char *mode, const char *path)
{
	int fd = connect_to(path);
	static uint8_t buf[65536];
	ssize_t n;

	if (!strcmp(mode, "stop"))
		stop(fd);
	if (*mode == 'h')
		sleep(2);
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		if (!write_all(fd, buf, (size_t)n))
			break;
}

/* Only frames of the ethertype that the test guests use. */
static void packets(const char *interface)
{
	struct sockaddr_ll addr = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(0x88b5),
		.sll_ifindex = (int)if_nametoindex(interface),
	};
	int fd = socket(AF_PACKET, SOCK_RAW, htons(0x88b5));
	static uint8_t buf[65536];
	ssize_t n;

	if (!addr.sll_ifindex || bind(fd, (struct sockaddr *)&addr, sizeof(addr)))
		die(interface);
	for (;;) {
		socklen_t len = sizeof(addr);

		n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&addr, &len);
		if (n > 0 && addr.sll_pkttype != PACKET_OUTGOING)
			send(fd, buf, (size_t)n, 0);
	}
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "frames") && !strcmp(argv[2], "leave"))
		leave(argv[3]);
	else if (argc == 4 && !strcmp(argv[1], "frames"))
		frames(argv[2], argv[3]);
	else if (argc == 4 && !strcmp(argv[1], "bytes"))
		bytes(argv[2], argv[3]);
	else if (argc == 4 && !strcmp(argv[1], "packets"))
		packets(argv[3]);
	else
		return 2;
	return 0;
}
