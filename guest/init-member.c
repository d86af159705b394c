// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's first process: containers beside the first one (guest/protocol.h: struct protocol_in).
 *
 * One has a mount namespace of its own, mostly own processes, and shares the rest with the first one, as its
 * configuration says. Its root is on a disk which is another's when it has ended: so its end is not told before
 * nobody has that mounted, which the kernel says by letting it be opened exclusively.
 *
 * Sources: namespaces(7), cgroups(7), open(2) on O_EXCL of block devices.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "guest/init.h"

pid_t init_fork_member(const struct protocol_in *in)
{
	static const struct init_spaces none = INIT_NO_SPACES;
	unsigned long new = CLONE_NEWNS;

	if (in->flags & PROTOCOL_IN_OWN_IPC)
		new |= CLONE_NEWIPC;
	if (in->flags & PROTOCOL_IN_OWN_NAME)
		new |= CLONE_NEWUTS;
	if (in->flags & PROTOCOL_IN_SHARED_PIDS)
		return init_fork_into(init_first_spaces(), new);
	return init_fork_into(&none, new | CLONE_NEWPID);
}

void init_make_member(const struct protocol_in *in, const struct protocol_disk *disk, const struct init_plan *plan)
{
	const struct init_spaces *first = init_first_spaces();

	if (!(in->flags & PROTOCOL_IN_OWN_IPC) && first->ipc >= 0 && setns(first->ipc, CLONE_NEWIPC))
		init_fail("container: the pod's IPC objects: %s", strerror(errno));
	init_make_own_root(disk->serial, in->nr_dirs, plan);
}

void init_name_group(char group[INIT_GROUP_BYTES], const char *name)
{
	snprintf(group, INIT_GROUP_BYTES, PROTOCOL_GROUP "%s%s", *name ? "." : "", name);
}

/* Of its group: a file. */
static int member_open(const char *name, const char *file, int flags)
{
	char group[INIT_GROUP_BYTES], path[INIT_GROUP_BYTES + 32];

	init_name_group(group, name);
	snprintf(path, sizeof(path), "%s/%s", group, file);
	return open(path, flags | O_CLOEXEC);
}

int init_freeze(const char *name, bool on)
{
	const int fd = member_open(name, "cgroup.freeze", O_WRONLY);
	int error = fd < 0 ? ENOTSUP : 0;

	if (!error && write(fd, on ? "1" : "0", 1) != 1)
		error = errno;
	if (fd >= 0)
		close(fd);
	return error;
}

/* One that nobody is in stops nobody, whatever the kernel says of it. */
int init_is_frozen(const char *name)
{
	const int fd = member_open(name, "cgroup.events", O_RDONLY);
	char text[256];
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	int rc = n < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	if (rc)
		return rc;
	text[n] = '\0';
	return !strstr(text, "populated 1") ? -ESRCH :
	       strstr(text, "frozen 1")	    ? 1 :
					      0;
}

void init_signal_all(const struct init_spaces *s, int signal)
{
	pid_t pid = init_fork_into(s, 0);

	if (pid)
		return;
	kill(-1, signal);
	_exit(0);
}

/* Those that share the first container's processes do not end with their own first one. */
static void member_remove_group(const char *name)
{
	const int fd = member_open(name, "cgroup.kill", O_WRONLY);
	char group[INIT_GROUP_BYTES];

	init_name_group(group, name);
	if (fd >= 0) {
		if (write(fd, "1", 1) != 1)
			init_notice("container: %s: %s", group, strerror(errno));
		close(fd);
	}
	rmdir(group); /* it is there still as long as there are processes in it */
}

bool init_has_left(const struct protocol_in *in, const struct protocol_disk *disk)
{
	char path[80];
	int fd;

	member_remove_group(in->name);
	if (!init_find_disk(disk->serial, path))
		return true;
	fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
	if (fd < 0)
		return false; /* or nobody knows, when there is no memory */
	close(fd);
	return true;
}
