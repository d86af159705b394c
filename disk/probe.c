// SPDX-License-Identifier: GPL-2.0-only
/*
 * Recognising image formats by their first bytes. A pure function.
 *
 * Only formats that are no sensible contents of a raw disk: what has such a
 * signature and is not qcow2 would be destroyed if it were used as raw.
 */
#include <string.h>

#include "disk/probe.h"
#include "util.h"

const char *probe_format(const void *bytes, size_t len)
{
	static const struct {
		const char *name;
		size_t offset, len;
		const char *magic;
	} formats[] = {
		{ "qcow2", 0, 4, "QFI\xfb" },
		{ "QED", 0, 4, "QED\0" },
		{ "VMDK", 0, 4, "KDMV" },
		{ "VMDK", 0, 21, "# Disk DescriptorFile" },
		{ "VHDX", 0, 8, "vhdxfile" },
		{ "VHD", 0, 8, "conectix" },
		{ "VDI", 64, 4, "\x7f\x10\xda\xbe" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		if (formats[i].offset + formats[i].len <= len &&
		    !memcmp((const char *)bytes + formats[i].offset, formats[i].magic,
			    formats[i].len))
			return formats[i].name;
	return NULL;
}
