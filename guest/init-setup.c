// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's first process: drivers, file systems and networks (guest/init.h).
 *
 * The root is EROFS on a disk that lkvm makes up, below, and a tmpfs on top of it, joined by
 * overlayfs: everything can be written, and nothing of it lasts. Paths of the root are looked up as
 * if they were its own ("/" in a symbolic link is the new root's), by openat2(2).
 *
 * Sources: Documentation/filesystems/overlayfs.rst, ramfs-rootfs-initramfs.rst, netdevice(7).
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "guest/init.h"

#define DRIVERS	     "/lkvm/modules" /* names of files below /lkvm, one a line, in order */
#define NEW_ROOT     "/lkvm/new"
#define WAIT_STEP_NS 200000u
#define WAIT_MS	     10000u

/* ---- drivers and devices ---- */

/* The kernel has opened it for us if the initramfs has it; a port must not take the place of stderr. */
static void open_console(void)
{
	int fd;

	do {
		fd = open("/dev/console", O_RDWR | O_NOCTTY);
		if (fd < 0)
			fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

void init_mount_kernel(void)
{
	static const char *const mounts[][2] = {
		{ "devtmpfs", "/dev" },
		{ "proc", "/proc" },
		{ "sysfs", "/sys" },
	};

	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		mkdir(mounts[i][1], 0755);
		if (mount(mounts[i][0], mounts[i][1], mounts[i][0], 0, NULL) && errno != EBUSY)
			init_fail("cannot mount %s: %s", mounts[i][1], strerror(errno));
	}
	open_console();
}

/*
 * A driver that the kernel has built in, or refuses, is missed when its device is looked for; one
 * behind a '-' is not missed at all.
 */
static void load_driver(const char *name)
{
	bool optional = *name == '-';
	char path[PATH_MAX];
	int fd;

	name += optional;
	snprintf(path, sizeof(path), "/lkvm/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if ((fd < 0 || (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST)) && !optional)
		dprintf(STDERR_FILENO, "lkvm: driver %s: %s\n", name, strerror(errno));
	if (fd >= 0)
		close(fd);
	unlink(path); /* its memory is of better use */
}

void init_load_drivers(void)
{
	struct init_lines list;
	char *name;

	if (!init_open_lines(&list, DRIVERS))
		return;
	while (init_next_line(&list, &name))
		if (*name)
			load_driver(name);
	close(list.fd);
}

static bool read_text(const char *path, char *text, size_t bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, bytes - 1);

	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return n >= 0;
}

/* The entry of @class whose @attribute is @wanted: true, and its name is in @name. */
static bool find_device(const char *class, const char *attribute, const char *wanted, char name[64])
{
	DIR *dir = opendir(class);
	bool found = false;
	struct dirent *e;

	while (dir && !found && (e = readdir(dir))) {
		char path[PATH_MAX], text[128];

		snprintf(path, sizeof(path), "%s/%s/%s", class, e->d_name, attribute);
		found = *e->d_name != '.' && strlen(e->d_name) < 64 &&
			read_text(path, text, sizeof(text)) && !strcmp(text, wanted);
		if (found)
			strcpy(name, e->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

/* Devices come when their drivers have talked to lkvm: soon, or never. */
static bool wait_for_device(const char *class, const char *attribute, const char *wanted,
			    char name[64])
{
	const struct timespec step = { .tv_nsec = WAIT_STEP_NS };
	const uint64_t deadline = init_now_ms() + WAIT_MS;

	while (!find_device(class, attribute, wanted, name)) {
		if (init_now_ms() > deadline)
			return false;
		nanosleep(&step, NULL);
	}
	return true;
}

/* Drivers are there before this process is, or since it has loaded them: nobody has to wait. */
static void need_driver(const char *driver, const char *option)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/virtio/drivers/%s", driver);
	if (access(path, F_OK))
		init_fail("this kernel lacks %s (%s)\npass --modules DIR, or build with what \"lkvm "
			  "kconfig\" prints.",
			  driver, option);
}

static void need_bus(void)
{
	struct dirent *e;
	DIR *dir = opendir("/sys/bus/virtio/devices");
	bool found = false;

	while (dir && !found && (e = readdir(dir)))
		found = *e->d_name != '.';
	if (dir)
		closedir(dir);
	if (!found)
		init_fail("this kernel finds no virtio device: it lacks the bus (CONFIG_VIRTIO_PCI, "
			  "or CONFIG_VIRTIO_MMIO)\npass --modules DIR, or build with what \"lkvm "
			  "kconfig\" prints.");
}

int init_open_port(const char *name, int flags)
{
	char device[64], path[80];
	int fd;

	need_bus();
	need_driver("virtio_console", "CONFIG_VIRTIO_CONSOLE");
	if (!wait_for_device("/sys/class/virtio-ports", "name", name, device))
		init_fail("there is no port %s", name);
	snprintf(path, sizeof(path), "/dev/%s", device);
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		init_fail("cannot open port %s: %s", name, strerror(errno));
	return fd;
}

/* ---- the root ---- */

static int open_root_directory(int root, const char *path)
{
	struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT };

	return (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
}

/* A directory of the new root, made with its parents if it is not there. -1 with errno. */
static int open_in_root(int root, const char *path)
{
	int fd = open_root_directory(root, ".");
	char part[PATH_MAX];
	size_t end = 0;

	if (strlen(path) >= sizeof(part)) {
		close(fd);
		errno = ENAMETOOLONG;
		return -1;
	}
	while (fd >= 0) {
		size_t begin = end + strspn(path + end, "/");
		int next;

		if (!path[begin])
			break;
		end = begin + strcspn(path + begin, "/");
		memcpy(part, path, end);
		part[end] = '\0';
		mkdirat(fd, part + begin, 0755); /* it mostly is there */
		next = open_root_directory(root, part);
		close(fd);
		fd = next;
	}
	return fd;
}

static void mount_in_root(int root, const char *path, const char *type, unsigned long flags,
			  const char *options, bool needed)
{
	char target[64];
	int fd = open_in_root(root, path);

	snprintf(target, sizeof(target), "/proc/self/fd/%d", fd);
	if ((fd < 0 || mount(type, target, type, flags, options)) && needed)
		init_fail("cannot mount %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

/* Why a type of file system cannot be mounted, in words. */
static void fail_to_mount(const char *type, const char *option, const char *path)
{
	if (errno == ENODEV)
		init_fail("%s: this kernel lacks %s (%s)\npass --modules DIR, or build with what "
			  "\"lkvm kconfig\" prints.",
			  path, type, option);
	init_fail("cannot mount %s (%s): %s", path, type, strerror(errno));
}

static void copy_serial(char to[21], const char serial[20])
{
	memcpy(to, serial, 20);
	to[20] = '\0';
}

bool init_find_disk(const char serial[20], char path[80])
{
	char wanted[21], device[64];

	copy_serial(wanted, serial);
	if (!find_device("/sys/block", "serial", wanted, device))
		return false;
	snprintf(path, 80, "/dev/%s", device);
	return true;
}

static void mount_disk(const struct init_mount *m, const char *lower)
{
	char serial[21], device[64], path[80];

	copy_serial(serial, m->what.serial);
	need_driver("virtio_blk", "CONFIG_VIRTIO_BLK");
	if (!wait_for_device("/sys/block", "serial", serial, device))
		init_fail("there is no disk for %s", m->path);
	snprintf(path, sizeof(path), "/dev/%s", device);
	if (mount(path, lower, "erofs", MS_RDONLY, NULL))
		fail_to_mount("EROFS", "CONFIG_EROFS_FS", m->path);
}

/* What is on top looks like what is below: it is the directory that is seen. */
static void copy_owner(const char *from, const char *to)
{
	struct stat st;

	if (stat(from, &st) || chown(to, st.st_uid, st.st_gid) || chmod(to, st.st_mode & 07777))
		init_notice("cannot copy the mode of %s: %s", from, strerror(errno));
}

/* Mounts tree @i with a layer that can be written on top of it, at @target. */
static void mount_tree(const struct init_mount *m, unsigned int i, const char *target)
{
	char lower[32], upper[32], work[32], options[128];

	snprintf(lower, sizeof(lower), "/lkvm/l%u", i);
	snprintf(upper, sizeof(upper), "/lkvm/rw/u%u", i);
	snprintf(work, sizeof(work), "/lkvm/rw/w%u", i);
	if (m->what.source == PROTOCOL_FROM_DISK) {
		mkdir(lower, 0755);
		mount_disk(m, lower);
	} else {
		strcpy(lower, PROTOCOL_INITRAMFS_ROOT);
	}
	mkdir(upper, 0755);
	mkdir(work, 0755);
	copy_owner(lower, upper);
	snprintf(options, sizeof(options), "lowerdir=%s,upperdir=%s,workdir=%s", lower, upper, work);
	if (!mount("overlay", target, "overlay", 0, options))
		return;
	/* What came in the initramfs is in memory, and can be written as it is. */
	if (m->what.source == PROTOCOL_FROM_DISK ||
	    mount(lower, target, NULL, MS_BIND | MS_REC, NULL))
		fail_to_mount("overlayfs", "CONFIG_OVERLAY_FS", m->path);
}

/*
 * A container has the mounts that its configuration names, and what the image has elsewhere. init itself needs
 * some of these in any case; the plan has steps that take them out of the container's own view (oci/plan.c).
 */
static const struct {
	const char *path, *type, *options;
	unsigned long flags;
	bool needed, containers_too;
} standard_mounts[] = {
	{ "proc", "proc", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, true, true },
	{ "sys", "sysfs", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, true, true },
	{ "dev", "devtmpfs", NULL, MS_NOSUID, true, true },
	{ "dev/pts", "devpts", "mode=620,gid=5,ptmxmode=666", MS_NOSUID | MS_NOEXEC, true, true },
	{ "dev/shm", "tmpfs", "mode=1777", MS_NOSUID | MS_NODEV, true, true },
	{ "run", "tmpfs", "mode=755", MS_NOSUID | MS_NODEV, true, false },
	{ "sys/kernel/debug", "debugfs", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, false, false },
	{ "sys/kernel/tracing", "tracefs", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, false, false },
	{ "sys/kernel/security", "securityfs", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, false, false },
	{ "sys/fs/cgroup", "cgroup2", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, false, true },
	{ "sys/fs/bpf", "bpf", "mode=700", MS_NOSUID | MS_NODEV | MS_NOEXEC, false, false },
};

static bool is_mounted(const struct init_plan *plan, size_t i)
{
	return standard_mounts[i].containers_too || !plan->is_container;
}

static void make_device_links(int root)
{
	static const char *const links[][2] = {
		{ "/proc/self/fd", "dev/fd" },
		{ "fd/0", "dev/stdin" },
		{ "fd/1", "dev/stdout" },
		{ "fd/2", "dev/stderr" },
	};

	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		if (symlinkat(links[i][0], root, links[i][1]) && errno != EEXIST)
			init_notice("cannot make /%s: %s", links[i][1], strerror(errno));
}

/* /tmp is the root's own, if it has one. */
static void make_tmp(int root)
{
	if (!mkdirat(root, "tmp", 0755) && fchmodat(root, "tmp", 01777, 0))
		init_notice("cannot make /tmp: %s", strerror(errno));
}

/* Empty, whatever the root has there. */
static void make_results(int root, const char *path)
{
	mount_in_root(root, path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777", true);
}

static void enter(int root)
{
	if (fchdir(root) || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		init_fail("cannot enter the root: %s", strerror(errno));
	close(root);
}

void init_make_root(const struct init_plan *plan)
{
	int root;

	if (!plan->nr_mounts)
		init_fail("it was not told what the root is");
	mkdir(NEW_ROOT, 0755);
	mkdir("/lkvm/rw", 0755);
	if (mount("tmpfs", "/lkvm/rw", "tmpfs", 0, "mode=755,size=80%"))
		init_fail("cannot mount a tmpfs (CONFIG_TMPFS): %s", strerror(errno));
	mount_tree(plan->mounts[0], 0, NEW_ROOT);
	root = open(NEW_ROOT, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		init_fail("cannot open the root: %s", strerror(errno));
	for (size_t i = 0; i < sizeof(standard_mounts) / sizeof(standard_mounts[0]); i++)
		if (is_mounted(plan, i))
			mount_in_root(root, standard_mounts[i].path, standard_mounts[i].type,
				      standard_mounts[i].flags, standard_mounts[i].options,
				      standard_mounts[i].needed);
	make_device_links(root);
	make_tmp(root);
	for (unsigned int i = 1; i < plan->nr_mounts; i++) {
		int fd = open_in_root(root, plan->mounts[i]->path);
		char target[64];

		if (fd < 0)
			init_fail("cannot make %s: %s", plan->mounts[i]->path, strerror(errno));
		snprintf(target, sizeof(target), "/proc/self/fd/%d", fd);
		mount_tree(plan->mounts[i], i, target);
		close(fd);
	}
	if (plan->results)
		make_results(root, plan->results);
	enter(root);
}

/* ---- roots of other containers ---- */

#define OWN "/sys" /* a place that is there, and that nobody can have made a link of */

/* It was empty until now, and the kernel hears of its size a little later. */
static void wait_for_size(const char *device)
{
	const struct timespec step = { .tv_nsec = WAIT_STEP_NS };
	const uint64_t deadline = init_now_ms() + WAIT_MS;
	char path[PATH_MAX], text[32];

	snprintf(path, sizeof(path), "/sys/block/%s/size", device);
	while (!read_text(path, text, sizeof(text)) || !strcmp(text, "0")) {
		if (init_now_ms() > deadline)
			init_fail("container: its disk stays empty");
		nanosleep(&step, NULL);
	}
}

static void mount_own_disk(const char serial[20])
{
	char device[80];

	if (!init_find_disk(serial, device))
		init_fail("container: its disk is not there");
	wait_for_size(device + strlen("/dev/"));
	if (mount("tmpfs", OWN, "tmpfs", 0, "mode=755,size=80%") || mkdir(OWN "/l", 0755) || mkdir(OWN "/u", 0755) ||
	    mkdir(OWN "/w", 0755) || mkdir(OWN "/new", 0755))
		init_fail("container: a tmpfs: %s", strerror(errno));
	if (mount(device, OWN "/l", "erofs", MS_RDONLY, NULL))
		init_fail("container: its disk: %s", strerror(errno));
	copy_owner(OWN "/l/0", OWN "/u");
	if (mount("overlay", OWN "/new", "overlay", 0, "lowerdir=" OWN "/l/0,upperdir=" OWN "/u,workdir=" OWN "/w"))
		fail_to_mount("overlayfs", "CONFIG_OVERLAY_FS", "/");
}

static void bind_in_root(int root, const char *from, const char *path)
{
	char target[64];
	int fd = open_in_root(root, path);

	snprintf(target, sizeof(target), "/proc/self/fd/%d", fd);
	if (fd < 0 || mount(from, target, NULL, MS_BIND, NULL))
		init_fail("container: %s: %s", path, strerror(errno));
	close(fd);
}

/* ---- volumes that containers share ---- */

#define VOLUMES "/sys/firmware" /* as OWN, but that it stays */

static bool is_name_of_volume(const struct protocol_volume *v)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789.-";

	return *v->name && *v->name != '.' && memchr(v->name, '\0', sizeof(v->name)) &&
	       memchr(v->options, '\0', sizeof(v->options)) && !v->name[strspn(v->name, allowed)];
}

/* Containers that joined before do not see it: their namespaces are their own. */
int init_make_volume(const struct protocol_volume *v)
{
	static bool has_place;
	char path[sizeof(VOLUMES) + sizeof(v->name)];
	int error;

	if (!is_name_of_volume(v))
		return EINVAL;
	if (!has_place && mount("tmpfs", VOLUMES, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k,nr_inodes=64,mode=700"))
		return errno;
	has_place = true;
	snprintf(path, sizeof(path), VOLUMES "/%s", v->name);
	if (mkdir(path, 0700))
		return errno == EEXIST ? 0 : errno;
	if (!mount("tmpfs", path, "tmpfs", 0, v->options))
		return 0;
	error = errno;
	rmdir(path);
	return error;
}

/* What hides their place comes later. */
static void open_volumes(const struct init_plan *plan, int fds[PROTOCOL_MAX_VOLUMES])
{
	for (unsigned int i = 0; i < plan->nr_volumes; i++) {
		char path[sizeof(VOLUMES) + PROTOCOL_VOLUME_NAME_BYTES];

		if (!is_name_of_volume(&plan->volumes[i]))
			init_fail("lkvm sent a bad volume");
		snprintf(path, sizeof(path), VOLUMES "/%s", plan->volumes[i].name);
		fds[i] = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (fds[i] < 0)
			init_fail("container: volume %s: %s", plan->volumes[i].name, strerror(errno));
	}
}

static void bind_volumes(int root, const struct init_plan *plan, const int fds[PROTOCOL_MAX_VOLUMES])
{
	for (unsigned int i = 0; i < plan->nr_volumes; i++) {
		char from[32], path[32];

		snprintf(from, sizeof(from), "/proc/self/fd/%d", fds[i]);
		snprintf(path, sizeof(path), PROTOCOL_PLACE "/v%u", i);
		bind_in_root(root, from, path);
		close(fds[i]);
	}
}

/* /dev/shm is the same for all of them. */
void init_make_own_root(const char serial[20], unsigned int nr_dirs, const struct init_plan *plan)
{
	int root, volumes[PROTOCOL_MAX_VOLUMES];

	open_volumes(plan, volumes);
	mount_own_disk(serial);
	root = open(OWN "/new", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		init_fail("cannot open the root: %s", strerror(errno));
	for (size_t i = 0; i < sizeof(standard_mounts) / sizeof(standard_mounts[0]); i++) {
		if (!strcmp(standard_mounts[i].path, "dev/shm"))
			bind_in_root(root, "/dev/shm", "dev/shm");
		else if (standard_mounts[i].containers_too)
			mount_in_root(root, standard_mounts[i].path, standard_mounts[i].type,
				      standard_mounts[i].flags, standard_mounts[i].options,
				      standard_mounts[i].needed);
	}
	for (unsigned int i = 0; i < nr_dirs; i++) {
		char from[32], path[32];

		snprintf(from, sizeof(from), OWN "/l/%u", i + 1);
		snprintf(path, sizeof(path), PROTOCOL_PLACE "/%u", i);
		bind_in_root(root, from, path);
	}
	bind_volumes(root, plan, volumes);
	if (fchdir(root) || syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
		init_fail("cannot enter the root: %s", strerror(errno));
	close(root);
}

/* ---- networks ---- */

static struct sockaddr ipv4(const uint8_t address[4])
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr any;

	memcpy(&in.sin_addr, address, 4);
	memcpy(&any, &in, sizeof(any));
	return any;
}

static void init_bring_up(int s, struct ifreq *req)
{
	if (!ioctl(s, SIOCGIFFLAGS, req)) {
		req->ifr_flags |= IFF_UP;
		if (!ioctl(s, SIOCSIFFLAGS, req))
			return;
	}
	init_notice("network: %s: cannot be switched on: %s", req->ifr_name, strerror(errno));
}

static bool is_set(const uint8_t address[4])
{
	static const uint8_t none[4];

	return memcmp(address, none, 4) != 0;
}

static void write_resolver(const uint8_t dns[4])
{
	int fd;

	unlink("/etc/resolv.conf"); /* often a link to what no service makes here */
	fd = open("/etc/resolv.conf", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || dprintf(fd, "nameserver %u.%u.%u.%u\n", dns[0], dns[1], dns[2], dns[3]) < 0)
		init_notice("network: cannot write /etc/resolv.conf: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
}

static void set_address(int s, struct ifreq *req, const struct protocol_network *n)
{
	uint32_t mask = htonl(n->prefix_bits ? ~0u << (32 - n->prefix_bits) : 0);
	uint8_t mask_bytes[4];

	memcpy(mask_bytes, &mask, sizeof(mask_bytes));
	req->ifr_addr = ipv4(n->address);
	if (ioctl(s, SIOCSIFADDR, req))
		init_fail("network: %s: cannot set its address: %s", req->ifr_name, strerror(errno));
	req->ifr_netmask = ipv4(mask_bytes);
	if (ioctl(s, SIOCSIFNETMASK, req))
		init_fail("network: %s: cannot set its netmask: %s", req->ifr_name, strerror(errno));
}

static void set_gateway(int s, const uint8_t gateway[4])
{
	static const uint8_t any[4];
	struct rtentry route = {
		.rt_dst = ipv4(any),
		.rt_genmask = ipv4(any),
		.rt_gateway = ipv4(gateway),
		.rt_flags = RTF_UP | RTF_GATEWAY,
	};

	if (ioctl(s, SIOCADDRT, &route))
		init_fail("network: the gateway: %s", strerror(errno));
}

static void init_set_mac(int s, struct ifreq *req, const uint8_t mac[6])
{
	req->ifr_hwaddr = (struct sockaddr){ .sa_family = ARPHRD_ETHER };
	memcpy(req->ifr_hwaddr.sa_data, mac, 6);
	if (ioctl(s, SIOCSIFHWADDR, req))
		init_fail("network: %s: cannot set its hardware address: %s", req->ifr_name, strerror(errno));
}

static void set_network(int s, const struct protocol_network *n)
{
	static const uint8_t same[6];
	struct ifreq req = { 0 };
	char mac[18], name[64];

	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", n->mac[0], n->mac[1], n->mac[2],
		 n->mac[3], n->mac[4], n->mac[5]);
	need_driver("virtio_net", "CONFIG_VIRTIO_NET");
	if (!wait_for_device("/sys/class/net", "address", mac, name))
		init_fail("there is no network card %s", mac);
	memcpy(req.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
	if (memcmp(n->new_mac, same, sizeof(same)) != 0)
		init_set_mac(s, &req, n->new_mac);
	if (n->renamed_only)
		return;
	if (is_set(n->address))
		set_address(s, &req, n);
	init_bring_up(s, &req);
	if (is_set(n->gateway))
		set_gateway(s, n->gateway);
	if (is_set(n->dns))
		write_resolver(n->dns);
}

void init_set_networks(const struct init_plan *plan)
{
	struct ifreq lo = { .ifr_name = "lo" };
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (s < 0) {
		if (plan->nr_networks)
			init_fail("network: this kernel lacks IPv4 (CONFIG_INET): %s", strerror(errno));
		return;
	}
	init_bring_up(s, &lo);
	for (unsigned int i = 0; i < plan->nr_networks; i++)
		set_network(s, &plan->networks[i]);
	close(s);
}
