// SPDX-License-Identifier: GPL-2.0-only
/*
 * Recognising formats by their first bytes. A pure function.
 *
 * Only what is no sensible contents of a raw disk: what has such a signature and is not
 * qcow2 would be destroyed if it were used as raw.
 */
#include <string.h>

#include "disk/probe.h"
#include "util.h"

static const struct {
	struct probe_format format;
	size_t offset, len;
	const char *magic;
} signatures[] = {
	{ { "qcow2", "qemu-img convert -O qcow2", false }, 0, 4, "QFI\xfb" },
	{ { "QED", "qemu-img convert -f qed -O qcow2", false }, 0, 4, "QED\0" },
	{ { "VMDK", "qemu-img convert -f vmdk -O qcow2", false }, 0, 4, "KDMV" },
	{ { "VMDK", "qemu-img convert -f vmdk -O qcow2", false }, 0, 4, "COWD" },
	{ { "VMDK", "qemu-img convert -f vmdk -O qcow2", false }, 0, 21, "# Disk DescriptorFile" },
	{ { "VHDX", "qemu-img convert -f vhdx -O qcow2", false }, 0, 8, "vhdxfile" },
	{ { "VHD", "qemu-img convert -f vpc -O qcow2", false }, 0, 8, PROBE_VHD_MAGIC },
	{ { "VDI", "qemu-img convert -f vdi -O qcow2", false }, 64, 4, "\x7f\x10\xda\xbe" },
	{ { "Parallels", "qemu-img convert -f parallels -O qcow2", false }, 0, 16, "WithoutFreeSpace" },
	{ { "Parallels", "qemu-img convert -f parallels -O qcow2", false }, 0, 16, "WithouFreSpacExt" },
	{ { "Bochs", "qemu-img convert -f bochs -O qcow2", false }, 0, 22, "Bochs Virtual HD Image" },
	{ { "gzip", "gzip -dc", true }, 0, 3, "\x1f\x8b\x08" },
	{ { "xz", "xz -dc", true }, 0, 6, "\3757zXZ\0" },
	{ { "zstd", "zstd -dc", true }, 0, 4, "\x28\xb5\x2f\xfd" },
	{ { "bzip2", "bzip2 -dc", true }, 4, 6, "1AY&SY" },
	{ { "lz4", "lz4 -dc", true }, 0, 4, "\x04\x22\x4d\x18" },
	{ { "lzip", "lzip -dc", true }, 0, 5, "LZIP\1" },
	{ { "zip", "unzip -p", true }, 0, 4, "PK\3\4" },
	{ { "7-Zip", "7z e -so", true }, 0, 6, "7z\xbc\xaf\x27\x1c" },
};

const struct probe_format *probe_format(const void *bytes, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(signatures); i++)
		if (signatures[i].offset + signatures[i].len <= len &&
		    !memcmp((const char *)bytes + signatures[i].offset, signatures[i].magic,
			    signatures[i].len))
			return &signatures[i].format;
	return NULL;
}
