// SPDX-License-Identifier: GPL-2.0-only
/*
 * News about interfaces: what the filter of a link's socket passes, and what somebody who
 * has the socket can find out with it.
 */
#include "tests/lib/unit.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include "event.h"
#include "net/link.h"
#include "util.h"

struct message {
	struct nlmsghdr header;
	struct ifinfomsg info;
};

static struct message message(uint16_t type, uint16_t flags, uint8_t family, int index)
{
	return (struct message){
		.header = { .nlmsg_len = sizeof(struct message), .nlmsg_type = type, .nlmsg_flags = flags },
		.info = { .ifi_family = family, .ifi_index = index, .ifi_flags = IFF_UP },
	};
}

static void only_one_interface_is_heard_of(void **state)
{
	static const struct {
		uint16_t type, flags;
		uint8_t family;
		int index;
		bool passes;
	} cases[] = {
		{ RTM_NEWLINK, 0, AF_UNSPEC, 7, true },
		{ RTM_DELLINK, 0, AF_UNSPEC, 7, true },
		{ RTM_NEWLINK, 0, AF_UNSPEC, 8, false },
		{ RTM_NEWLINK, 0, AF_UNSPEC, 7 << 24, false },
		{ RTM_NEWLINK, NLM_F_MULTI, AF_UNSPEC, 7, false }, /* with others behind it */
		{ RTM_DELLINK, 0, AF_BRIDGE, 7, false },	   /* it has left a bridge */
		{ RTM_NEWLINK, 0, AF_BRIDGE, 7, false },
		{ RTM_NEWADDR, 0, AF_UNSPEC, 7, false },
		{ RTM_NEWROUTE, 0, AF_UNSPEC, 7, false },
		{ RTM_NEWNEIGH, 0, AF_UNSPEC, 7, false },
		{ NLMSG_ERROR, 0, AF_UNSPEC, 7, false },
	};
	int fds[2];

	(void)state;
	/* Any socket of messages can have the filter. */
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds), 0);
	assert_int_equal(link_lock(fds[0], 7), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct message m = message(cases[i].type, cases[i].flags, cases[i].family, cases[i].index);
		uint8_t buf[256];

		assert_int_equal(write(fds[1], &m, sizeof(m)), sizeof(m));
		assert_int_equal(recv(fds[0], buf, sizeof(buf), MSG_DONTWAIT),
				 cases[i].passes ? (ssize_t)sizeof(m) : -1);
		/* Cut short it says nothing. */
		assert_int_equal(write(fds[1], &m, offsetof(struct message, info.ifi_index)),
				 offsetof(struct message, info.ifi_index));
		assert_int_equal(recv(fds[0], buf, sizeof(buf), MSG_DONTWAIT), -1);
	}
	close(fds[0]);
	close(fds[1]);
}

static void count_change(void *arg, bool up)
{
	((unsigned int *)arg)[up]++;
}

static void a_link_s_socket_tells_nothing_else(void **state)
{
	static const uint16_t dumps[] = {
		RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE, RTM_GETNEIGH, RTM_GETRULE
	};
	unsigned int lo = if_nametoindex("lo"), changes[2] = { 0 };
	struct event_loop *loop;
	struct link link;
	uint8_t buf[16384];

	(void)state;
	assert_true(lo);
	assert_int_equal(event_loop_create(&loop), 0);
	assert_int_equal(link_open(&link, loop, lo, count_change, changes), 0);
	/* Its state is known at once. */
	assert_int_equal(changes[0] + changes[1], 1);
	for (unsigned int i = 0; i < ARRAY_SIZE(dumps); i++) {
		struct message m = message(dumps[i], NLM_F_REQUEST | NLM_F_DUMP, AF_UNSPEC, 0);

		assert_int_equal(write(link.fd, &m, sizeof(m)), sizeof(m));
		assert_int_equal(recv(link.fd, buf, sizeof(buf), MSG_DONTWAIT), -1);
		assert_int_equal(errno, EAGAIN);
	}
	assert_int_equal(setsockopt(link.fd, SOL_SOCKET, SO_DETACH_FILTER, &lo, sizeof(lo)), -1);
	assert_int_equal(errno, EPERM);
	link_close(&link);
	event_loop_destroy(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_one_interface_is_heard_of),
		cmocka_unit_test(a_link_s_socket_tells_nothing_else),
	};

	return cmocka_run_group_tests_name("link", tests, NULL, NULL);
}
