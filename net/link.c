// SPDX-License-Identifier: GPL-2.0-only
/*
 * News about an interface (link.h). Owns the route socket.
 *
 * The socket has a filter of the kernel's, locked, so that it cannot be taken off again:
 * it passes single messages about the link of one interface. Answers to dumps are no
 * single messages, those about addresses, routes and neighbours are not about links, and
 * a bridge's news about its ports are of another family: an interface that leaves a
 * bridge is deleted there, not here.
 *
 * Source: rtnetlink(7), netlink(7), Documentation/networking/filter.rst (Linux 6.1).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "event.h"
#include "io.h"
#include "net/link.h"
#include "util.h"

static void link_hear(struct link *link, const struct nlmsghdr *message)
{
	const struct ifinfomsg *info = NLMSG_DATA(message);

	if (message->nlmsg_len < NLMSG_LENGTH(sizeof(*info)) || info->ifi_family != AF_UNSPEC ||
	    info->ifi_index != (int)link->ifindex)
		return;
	if (message->nlmsg_type == RTM_NEWLINK)
		link->changed(link->arg, info->ifi_flags & IFF_UP);
	else if (message->nlmsg_type == RTM_DELLINK)
		link->changed(link->arg, false);
}

/* The answer comes like news; there is no other way to ask from inside the sandbox. */
static void ask(struct link *link)
{
	const struct {
		struct nlmsghdr header;
		struct ifinfomsg info;
	} question = {
		.header = {
			.nlmsg_len = sizeof(question),
			.nlmsg_type = RTM_GETLINK,
			.nlmsg_flags = NLM_F_REQUEST,
		},
		.info = { .ifi_index = (int)link->ifindex },
	};

	if (write(link->fd, &question, sizeof(question)) < 0)
		log_limited(&link->log_limit, LOG_VERBOSE, "interface %u: its state is not known: %s",
			    link->ifindex, strerror(errno));
}

static void on_news(void *arg, uint32_t events)
{
	struct link *link = arg;
	_Alignas(struct nlmsghdr) uint8_t buf[8192];
	ssize_t n;

	(void)events;
	while ((n = socket_recv(link->fd, buf, sizeof(buf))) > 0) {
		unsigned int left = (unsigned int)n;

		for (const struct nlmsghdr *m = (void *)buf; NLMSG_OK(m, left);
		     m = NLMSG_NEXT(m, left))
			link_hear(link, m);
	}
	if (n < 0 && errno == ENOBUFS) /* news were lost */
		ask(link);
}

/* Loads are big-endian, the messages as this machine is. */
#define TYPE_AT	  offsetof(struct nlmsghdr, nlmsg_type)
#define FLAGS_AT  offsetof(struct nlmsghdr, nlmsg_flags)
#define FAMILY_AT (NLMSG_HDRLEN + offsetof(struct ifinfomsg, ifi_family))
#define INDEX_AT  (NLMSG_HDRLEN + offsetof(struct ifinfomsg, ifi_index))

int link_lock(int fd, unsigned int ifindex)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, TYPE_AT),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_NEWLINK), 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_DELLINK), 0, 7),
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, FLAGS_AT),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, htons(NLM_F_MULTI), 5, 0),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, FAMILY_AT),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_UNSPEC, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, INDEX_AT),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(ifindex), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, ~0u),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	const struct sock_fprog program = { ARRAY_SIZE(code), code };
	const int on = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) ||
	    setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &on, sizeof(on)))
		return -errno;
	return 0;
}

int link_open(struct link *link, struct event_loop *loop, unsigned int ifindex,
	      void (*changed)(void *arg, bool up), void *arg)
{
	const struct sockaddr_nl links = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };
	int rc;

	*link = (struct link){
		.loop = loop,
		.ifindex = ifindex,
		.changed = changed,
		.arg = arg,
		.watch = -1,
	};
	link->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (link->fd < 0)
		return -errno;
	rc = link_lock(link->fd, ifindex);
	if (rc)
		return rc;
	if (bind(link->fd, (const struct sockaddr *)&links, sizeof(links)))
		return -errno;
	link->watch = event_add(loop, link->fd, EPOLLIN, on_news, link);
	if (link->watch < 0)
		return link->watch;
	ask(link);
	on_news(link, EPOLLIN);
	return 0;
}

void link_close(struct link *link)
{
	if (link->fd < 0)
		return;
	event_remove(link->loop, link->watch);
	close(link->fd);
	link->fd = link->watch = -1;
}
