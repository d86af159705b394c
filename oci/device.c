// SPDX-License-Identifier: GPL-2.0-only
/*
 * Disks of the host that a container is lent (oci/device.h).
 *
 * config.json names a disk by its number and not by a file of the host, so that file is looked for, and has to be
 * that device. One that the host itself uses is told by opening it exclusively, as mount(8) does; as long as that
 * file is open, neither the host nor another container can use it, or a part of it, as theirs.
 *
 * Sources: OCI runtime specification 1.2.0, config-linux.md ("Devices", "Allowed Device list"); open(2) on O_EXCL of
 * block devices; Documentation/ABI/stable/sysfs-dev.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "oci/device.h"
#include "util.h"

#define PATIENCE_NS 1000000000ull

static bool rule_is_about(const struct config_device_rule *r, const struct config_device *d)
{
	return (r->type == 'a' || r->type == d->type) && (r->major < 0 || r->major == d->major) &&
	       (r->minor < 0 || r->minor == d->minor);
}

/* The last rule that is about it counts. Where there is none at all, nothing is forbidden. */
unsigned int device_access(const struct config *c, const struct config_device *d)
{
	unsigned int access = c->resources.nr_rules ? 0 : DEVICE_READ | DEVICE_WRITE;

	for (unsigned int i = 0; i < c->resources.nr_rules; i++) {
		const struct config_device_rule *r = &c->resources.rules[i];
		const unsigned int of = (r->read ? DEVICE_READ : 0) | (r->write ? DEVICE_WRITE : 0);

		if (rule_is_about(r, d))
			access = r->allow ? access | of : access & ~of;
	}
	return access;
}

/* As the kernel names it: the line DEVNAME= of its uevent. */
static bool read_name(const char *sys, const struct config_device *d, char name[DEVICE_NAME_BYTES])
{
	char path[256], line[256];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%u:%u/uevent", sys, d->major, d->minor);
	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		found = !strncmp(line, "DEVNAME=", 8) && strlen(line + 8) < DEVICE_NAME_BYTES;
		if (found)
			strcpy(name, line + 8);
	}
	if (f)
		fclose(f);
	return found && *name && !strchr(name, ',') && !strstr(name, "..");
}

/* Who has just been killed takes a moment to let go of it. */
static int open_exclusively(const char *path)
{
	const uint64_t deadline = now_ns() + PATIENCE_NS;
	int fd;

	do
		fd = open(path, O_RDONLY | O_EXCL | O_NONBLOCK | O_CLOEXEC);
	while (fd < 0 && errno == EBUSY && wait_a_moment(deadline));
	return fd < 0 ? -errno : fd;
}

int device_claim(const char *sys, const struct config_device *d, char path[DEVICE_PATH_BYTES])
{
	char name[DEVICE_NAME_BYTES];
	struct stat st;

	if (!read_name(sys, d, name))
		return -ENODEV;
	snprintf(path, DEVICE_PATH_BYTES, "/dev/%s", name);
	if (stat(path, &st) || !S_ISBLK(st.st_mode) || st.st_rdev != makedev(d->major, d->minor))
		return -ENODEV;
	return open_exclusively(path);
}
