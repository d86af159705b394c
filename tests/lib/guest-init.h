/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For tests: the guest's first process, of which guest/init.c, guest/init-container.c and guest/init-exec.c are
 * included here. What the rest of it does to a machine is not done, and no device of this one is
 * opened. Who includes this defines before what main(), reboot(), kill() and so on are, and behind it
 * what differs from test to test: its port, its users, and the state of containers.
 */
#ifndef LKVM_TESTS_GUEST_INIT_H
#define LKVM_TESTS_GUEST_INIT_H

#define RANDOM_DEVICE "/dev/null"
#define HWRNG_DEVICE  "/dev/null"

#include "guest/init.c"
#include "guest/init-container.c"
#include "guest/init-exec.c"

void init_mount_kernel(void)
{
}

void init_load_drivers(void)
{
}

void init_make_root(const struct init_plan *plan)
{
	(void)plan;
}

bool init_find_disk(const char serial[20], char path[80])
{
	(void)serial;
	(void)path;
	return false;
}

void init_set_networks(const struct init_plan *plan)
{
	(void)plan;
}

unsigned int init_find_groups(const struct init_user *u, gid_t groups[INIT_MAX_GROUPS])
{
	(void)u;
	(void)groups;
	return 0;
}

int init_tar_write(int dir, int (*put)(void *arg, const void *data, size_t bytes), void *arg)
{
	(void)dir;
	(void)put;
	(void)arg;
	return 0;
}

/* ---- other containers ---- */

void init_make_member(const struct protocol_in *in, const struct protocol_disk *disk, const struct init_plan *plan)
{
	(void)plan;
	(void)in;
	(void)disk;
}

void init_name_group(char group[INIT_GROUP_BYTES], const char *name)
{
	snprintf(group, INIT_GROUP_BYTES, "/nowhere/%s", name);
}

void init_signal_all(const struct init_spaces *s, int signal)
{
	(void)s;
	(void)signal;
}

#endif
