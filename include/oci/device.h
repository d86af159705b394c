/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Disks of the host, block devices in config.json's linux.devices, which become disks of the VM.
 */
#ifndef LKVM_OCI_DEVICE_H
#define LKVM_OCI_DEVICE_H

#include "oci/config.h"

#define DEVICE_SYS	  "/sys/dev/block"
#define DEVICE_NAME_BYTES 64u
#define DEVICE_PATH_BYTES (DEVICE_NAME_BYTES + 8u)

#define DEVICE_READ  1u
#define DEVICE_WRITE 2u

/* What linux.resources.devices lets the container do with it. Pure. */
unsigned int device_access(const struct config *c, const struct config_device *d);

/*
 * The file of the host that is this disk, by the links in @sys (DEVICE_SYS). A descriptor, as long as which is open
 * nobody else can claim or mount it; -ENODEV: there is none; -EBUSY: somebody has, or has made something of it, for a
 * second at least; another -errno of open(2).
 */
int device_claim(const char *sys, const struct config_device *d, char path[DEVICE_PATH_BYTES]);

#endif
