// SPDX-License-Identifier: GPL-2.0-only
/*
 * Taking over an engine's interfaces (oci/network.h).
 *
 * A process of its own enters the namespace, and a mount namespace with a /sys that shows it, makes the
 * macvtaps and opens them by nodes that nobody else sees. It says what it has found in messages of one size,
 * each with a descriptor. An interface has one macvtap of this mode, whose name says which container's it is:
 * another container's is never removed, and the kernel refuses a second.
 *
 * Sources: rtnetlink(7), netdevice(7), setns(2); drivers/net/macvlan.c on passthru: one for an interface, with
 * that one's address; drivers/net/tap.c and Documentation/ABI on the device's number; ioctl_ns(2).
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <limits.h>
#include <linux/if_link.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io.h"
#include "oci/network.h"
#include "util.h"

#define FOUND_MS   60000
#define LINE_BYTES 512
#define ETHERNET   1

/* What the process says. */
struct network_report {
	int32_t rc; /* 0: a card; 1: there are no more; -errno */
	struct network_card card;
	char text[256]; /* of -errno: what it is about */
};

struct finder {
	const char *owner, *place;
	int socket; /* to who asks */
	int netlink;
	unsigned int made; /* macvtaps of ours that are there */
	struct network_report report;
};

/* ---- messages to the kernel ---- */

struct link_message {
	struct nlmsghdr header;
	struct ifinfomsg info;
	char attributes[256];
};

static struct rtattr *add_attribute(struct link_message *m, unsigned short type, const void *data, size_t bytes)
{
	struct rtattr *a = (struct rtattr *)(void *)((char *)m + NLMSG_ALIGN(m->header.nlmsg_len));

	a->rta_type = type;
	a->rta_len = (unsigned short)RTA_LENGTH(bytes);
	if (bytes)
		memcpy(RTA_DATA(a), data, bytes);
	m->header.nlmsg_len = NLMSG_ALIGN(m->header.nlmsg_len) + RTA_ALIGN(a->rta_len);
	return a;
}

static void end_attribute(const struct link_message *m, struct rtattr *a)
{
	a->rta_len = (unsigned short)((const char *)m + m->header.nlmsg_len - (const char *)a);
}

/* 0 or errno. */
static int ask_kernel(struct finder *f, struct link_message *m)
{
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
		char rest[1024];
	} answer;

	if (send(f->netlink, m, m->header.nlmsg_len, 0) < 0 || recv(f->netlink, &answer, sizeof(answer), 0) < 0)
		return errno;
	return answer.header.nlmsg_type == NLMSG_ERROR ? -answer.error.error : EPROTO;
}

static struct link_message link_message(unsigned short type, unsigned short flags)
{
	return (struct link_message){
		.header = {
			.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)),
			.nlmsg_type = type,
			.nlmsg_flags = (unsigned short)(NLM_F_REQUEST | NLM_F_ACK | flags),
		},
	};
}

/* FNV-1a: two containers of one namespace hardly ever share a name, and if they do, the second is refused. */
static void name_macvtap(char name[IF_NAMESIZE], const char *owner, unsigned int i)
{
	uint32_t sum = 2166136261u;

	for (; *owner; owner++)
		sum = (sum ^ (uint8_t)*owner) * 16777619u;
	snprintf(name, IF_NAMESIZE, "lkvm%08x.%u", sum, i % NETWORK_MAX_CARDS);
}

/* 0 or errno. */
static int remove_macvtap(struct finder *f, unsigned int i)
{
	struct link_message m = link_message(RTM_DELLINK, 0);
	char name[IF_NAMESIZE];

	name_macvtap(name, f->owner, i);
	add_attribute(&m, IFLA_IFNAME, name, strlen(name) + 1);
	return ask_kernel(f, &m);
}

/* What it has made goes before it says so. */
__attribute__((noreturn)) static void finder_fail(struct finder *f, int error, const char *what)
{
	while (f->made)
		remove_macvtap(f, --f->made);
	f->report.rc = error ? -error : -EIO;
	snprintf(f->report.text, sizeof(f->report.text), "%s", what);
	socket_send(f->socket, &f->report, sizeof(f->report));
	_exit(1);
}

static const char *why_no_macvtap(int error)
{
	if (error == EOPNOTSUPP)
		return "the host's kernel has no macvtap (modprobe macvtap)";
	if (error == EBUSY || error == EEXIST || error == EINVAL)
		return "another container has its interface; delete that one before";
	return "its interface cannot be taken over by a macvtap";
}

static void make_macvtap(struct finder *f, const char *name, int below)
{
	const uint32_t mode = MACVLAN_MODE_PASSTHRU;
	struct link_message m = link_message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
	struct rtattr *info, *data;
	int error;

	m.info.ifi_flags = m.info.ifi_change = IFF_UP;
	add_attribute(&m, IFLA_IFNAME, name, strlen(name) + 1);
	add_attribute(&m, IFLA_LINK, &below, sizeof(below));
	info = add_attribute(&m, IFLA_LINKINFO, NULL, 0);
	add_attribute(&m, IFLA_INFO_KIND, "macvtap", strlen("macvtap"));
	data = add_attribute(&m, IFLA_INFO_DATA, NULL, 0);
	add_attribute(&m, IFLA_MACVLAN_MODE, &mode, sizeof(mode));
	end_attribute(&m, data);
	end_attribute(&m, info);
	error = ask_kernel(f, &m);
	if (error)
		finder_fail(f, error, why_no_macvtap(error));
	f->made++;
}

/* ---- its device ---- */

static dev_t find_number(struct finder *f, const char *name)
{
	char path[PATH_MAX], line[32] = "";
	unsigned int high, low;
	struct dirent *e = NULL;
	DIR *d;
	int fd;

	snprintf(path, sizeof(path), "%s/class/net/%s/macvtap", f->place, name);
	d = opendir(path);
	while (d && (e = readdir(d)) && *e->d_name == '.')
		;
	if (!d || !e)
		finder_fail(f, errno, "its macvtap has no device");
	snprintf(path, sizeof(path), "%s/class/net/%s/macvtap/%s/dev", f->place, name, e->d_name);
	closedir(d);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, line, sizeof(line) - 1) < 0 || sscanf(line, "%u:%u", &high, &low) != 2)
		finder_fail(f, errno, "its macvtap's device has no number");
	close(fd);
	return makedev(high, low);
}

static int open_macvtap(struct finder *f, const char *name)
{
	char path[PATH_MAX];
	dev_t number;
	int fd;

	if (mount("sysfs", f->place, "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
		finder_fail(f, errno, "sysfs");
	number = find_number(f, name);
	if (mount("nodes", f->place, "tmpfs", MS_NOSUID | MS_NOEXEC, "size=4k,mode=700"))
		finder_fail(f, errno, "tmpfs");
	snprintf(path, sizeof(path), "%s/tap", f->place);
	if (mknod(path, S_IFCHR | 0600, number))
		finder_fail(f, errno, "the node of its macvtap");
	fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		finder_fail(f, errno, "its macvtap");
	umount2(f->place, MNT_DETACH);
	umount2(f->place, MNT_DETACH);
	return fd;
}

/* ---- what there is ---- */

/* Its default route, if it has one: proc(5) has it in hexadecimal, as it lies in memory. */
static void find_gateway(struct network_card *card, const char *name)
{
	FILE *routes = fopen("/proc/thread-self/net/route", "re");
	char line[LINE_BYTES], interface[IF_NAMESIZE];
	unsigned int to, gateway, flags, mask;

	while (routes && fgets(line, sizeof(line), routes))
		if (sscanf(line, "%15s %x %x %x %*d %*d %*d %x", interface, &to, &gateway, &flags, &mask) == 5 &&
		    !strcmp(interface, name) && !to && !mask && gateway)
			memcpy(card->gateway, &gateway, sizeof(card->gateway));
	if (routes)
		fclose(routes);
}

static void find_address(struct network_card *card, const struct ifaddrs *all, const char *name)
{
	for (const struct ifaddrs *a = all; a; a = a->ifa_next) {
		const struct sockaddr_in *address = (const void *)a->ifa_addr, *mask = (const void *)a->ifa_netmask;

		if (strcmp(a->ifa_name, name) != 0 || !address || address->sin_family != AF_INET || !mask)
			continue;
		memcpy(card->address, &address->sin_addr, sizeof(card->address));
		card->prefix_bits = (uint8_t)__builtin_popcount(mask->sin_addr.s_addr);
		return;
	}
}

static bool has_ipv6(const struct ifaddrs *all, const char *name)
{
	for (const struct ifaddrs *a = all; a; a = a->ifa_next) {
		const struct sockaddr_in6 *address = (const void *)a->ifa_addr;

		if (address && address->sin6_family == AF_INET6 && !strcmp(a->ifa_name, name) &&
		    !IN6_IS_ADDR_LINKLOCAL(&address->sin6_addr))
			return true;
	}
	return false;
}

static uint32_t find_mtu(const char *name)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = { 0 };
	int rc;

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	rc = fd < 0 ? -1 : ioctl(fd, SIOCGIFMTU, &ifr);
	if (fd >= 0)
		close(fd);
	return rc ? 0 : (uint32_t)ifr.ifr_mtu;
}

/* Of each link there is one of this family. */
static bool is_card(const struct ifaddrs *a)
{
	const struct sockaddr_ll *link = (const void *)a->ifa_addr;

	return link && link->sll_family == AF_PACKET && link->sll_hatype == ETHERNET && link->sll_halen == 6 &&
	       a->ifa_flags & IFF_UP && !(a->ifa_flags & IFF_LOOPBACK) && strncmp(a->ifa_name, "lkvm", 4) != 0;
}

static void take_over(struct finder *f, const struct ifaddrs *all, const struct ifaddrs *a, unsigned int i)
{
	const struct sockaddr_ll *link = (const void *)a->ifa_addr;
	struct network_card *card = &f->report.card;
	char name[IF_NAMESIZE];
	int fd;

	*card = (struct network_card){ .fd = -1, .mtu = find_mtu(a->ifa_name) };
	memcpy(card->mac, link->sll_addr, sizeof(card->mac));
	find_address(card, all, a->ifa_name);
	find_gateway(card, a->ifa_name);
	card->has_ipv6 = has_ipv6(all, a->ifa_name);
	name_macvtap(name, f->owner, i);
	make_macvtap(f, name, link->sll_ifindex);
	fd = open_macvtap(f, name);
	f->report.rc = 0;
	if (socket_send_fd(f->socket, &f->report, sizeof(f->report), fd) < 0)
		finder_fail(f, errno, "socket");
	close(fd);
}

static bool finder_enter(struct finder *f, int spaces)
{
	if (setns(spaces, CLONE_NEWNET))
		return false;
	f->netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	return f->netlink >= 0;
}

__attribute__((noreturn)) static void be_finder(struct finder *f, int spaces)
{
	struct ifaddrs *all = NULL;
	unsigned int nr = 0;

	if (!finder_enter(f, spaces) || unshare(CLONE_NEWNS) || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		finder_fail(f, errno, "its namespace cannot be entered");
	if (getifaddrs(&all))
		finder_fail(f, errno, "its interfaces cannot be listed");
	for (const struct ifaddrs *a = all; a; a = a->ifa_next) {
		if (!is_card(a))
			continue;
		if (nr == NETWORK_MAX_CARDS)
			finder_fail(f, E2BIG, "it has more than 4 interfaces");
		take_over(f, all, a, nr++);
	}
	f->report.rc = 1;
	socket_send(f->socket, &f->report, sizeof(f->report));
	_exit(0);
}

/* ---- here ---- */

static int network_hear(struct network *n, int socket, struct config_error *error)
{
	struct pollfd p = { .fd = socket, .events = POLLIN };
	struct network_report report;
	int fd;

	for (;;) {
		if (poll_fds(&p, 1, FOUND_MS) <= 0 ||
		    socket_recv_fd(socket, &report, sizeof(report), &fd, NULL) != (ssize_t)sizeof(report)) {
			snprintf(error->text, sizeof(error->text), "network: its namespace cannot be looked at");
			return -EIO;
		}
		if (report.rc == 1)
			return 0;
		if (report.rc < 0) {
			snprintf(error->text, sizeof(error->text), "network: %s (%s)", report.text,
				 strerror(-report.rc));
			return -EIO;
		}
		n->cards[n->nr] = report.card;
		n->cards[n->nr++].fd = fd;
	}
}

/* A namespace of the network, or -errno. What is none is not opened, which could wait or do something. */
static int open_spaces(const char *path)
{
	int fd = open(path, O_PATH | O_CLOEXEC), opened;
	char again[32];
	struct statfs st;

	if (fd < 0 || fstatfs(fd, &st) || st.f_type != NSFS_MAGIC) {
		int rc = fd < 0 ? -errno : -EINVAL;

		if (fd >= 0)
			close(fd);
		return rc;
	}
	snprintf(again, sizeof(again), "/proc/self/fd/%d", fd);
	opened = open(again, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	close(fd);
	if (opened >= 0 && ioctl(opened, NS_GET_NSTYPE) != CLONE_NEWNET) {
		close(opened);
		return -EINVAL;
	}
	return opened < 0 ? -errno : opened;
}

/* Whatever its path is called: that of this process, or of the host's first one as far as it can be seen. */
static bool is_hosts_network(int spaces)
{
	static const char *const hosts[] = { "/proc/self/ns/net", "/proc/1/ns/net" };
	struct stat it, host;

	if (fstat(spaces, &it))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++)
		if (!stat(hosts[i], &host) && host.st_ino == it.st_ino && host.st_dev == it.st_dev)
			return true;
	return false;
}

static int open_and_check(struct network *n, const char *path, struct config_error *error)
{
	n->spaces = open_spaces(path);
	if (n->spaces == -EINVAL)
		snprintf(error->text, sizeof(error->text), "network: %.200s: it is no network namespace", path);
	else if (n->spaces < 0)
		snprintf(error->text, sizeof(error->text), "network: %.200s: %s", path, strerror(-n->spaces));
	else if (is_hosts_network(n->spaces))
		snprintf(error->text, sizeof(error->text), "network: %.200s: a VM cannot share the host's network",
			 path);
	else
		return 0;
	network_close(n);
	return -EIO;
}

int network_join(struct network *n, const char *path, struct config_error *error)
{
	*n = (struct network)NETWORK_NONE;
	return open_and_check(n, path, error);
}

int network_open(struct network *n, const char *path, const char *owner, const char *place,
		 struct config_error *error)
{
	struct finder f = { .owner = owner, .place = place };
	int ends[2], rc = network_join(n, path, error);
	pid_t pid;

	if (rc)
		return rc;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends)) {
		snprintf(error->text, sizeof(error->text), "network: %s", strerror(errno));
		return -EIO;
	}
	f.socket = ends[1];
	pid = fork();
	if (!pid)
		be_finder(&f, n->spaces);
	close(ends[1]);
	rc = network_hear(n, ends[0], error);
	close(ends[0]);
	if (pid > 0 && rc)
		kill(pid, SIGKILL); /* whatever keeps it */
	if (pid > 0)
		waitpid(pid, NULL, 0);
	return rc;
}

void network_remove(const char *path, const char *owner)
{
	struct finder f = { .owner = owner };
	int spaces = *path ? open_spaces(path) : -ENOENT;
	pid_t pid = spaces < 0 ? -1 : fork();

	if (!pid) {
		for (unsigned int i = 0; (i || finder_enter(&f, spaces)) && i < NETWORK_MAX_CARDS; i++)
			remove_macvtap(&f, i);
		_exit(0);
	}
	if (spaces >= 0)
		close(spaces);
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

void network_close(struct network *n)
{
	for (unsigned int i = 0; i < n->nr; i++)
		close(n->cards[i].fd);
	if (n->spaces >= 0)
		close(n->spaces);
	*n = (struct network)NETWORK_NONE;
}

static int put_address(char *text, size_t bytes, const char *key, const uint8_t address[4])
{
	char dotted[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, address, dotted, sizeof(dotted));
	return snprintf(text, bytes, ",%s=%s", key, dotted);
}

void network_option(const struct network_card *c, char *text, size_t bytes)
{
	static const uint8_t none[4];
	int n = snprintf(text, bytes, "mode=fd,fd=%d,guest_mac=%02x:%02x:%02x:%02x:%02x:%02x", c->fd, c->mac[0],
			 c->mac[1], c->mac[2], c->mac[3], c->mac[4], c->mac[5]);

	if (c->mtu)
		n += snprintf(text + n, bytes - (size_t)n, ",mtu=%u", c->mtu);
	if (!c->prefix_bits)
		return;
	n += put_address(text + n, bytes - (size_t)n, "ip", c->address);
	n += snprintf(text + n, bytes - (size_t)n, "/%u", c->prefix_bits);
	if (memcmp(c->gateway, none, sizeof(none)) != 0)
		put_address(text + n, bytes - (size_t)n, "gw", c->gateway);
}

bool network_passt_option(const char *ports, char text[NETWORK_PASST_BYTES])
{
	int used = snprintf(text, NETWORK_PASST_BYTES, "mode=passt");
	unsigned int nr = 0;

	for (const char *at = ports ? ports : ""; *(at += strspn(at, " ")); at += strcspn(at, " ")) {
		const size_t digits = strspn(at, "0123456789"), rest = strcspn(at + digits, " ");
		const bool udp = rest == 4 && !strncmp(at + digits, "/udp", 4);
		const unsigned long port = digits && digits <= 5 ? strtoul(at, NULL, 10) : 0;

		if (!port || port > UINT16_MAX || (rest && !udp) || nr++ == NETWORK_MAX_PORTS)
			return false;
		used += snprintf(text + used, NETWORK_PASST_BYTES - (size_t)used, ",publish=0.0.0.0:%lu:%lu%s", port, port,
				 udp ? "/udp" : "");
	}
	return true;
}
