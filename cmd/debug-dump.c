// SPDX-License-Identifier: GPL-2.0-only
/*
 * `lkvm debug NAME --dump FILE`: asks for a vmcore and writes the file (cmd/receive.h).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/debug.h"
#include "cmd/receive.h"
#include "control/registry.h"
#include "control/vmcore-file.h"
#include "log.h"

static int take_dump(struct receive *r, const char *path)
{
	int rc = receive_file(r, "{\"v\":1,\"do\":\"dump\"}\n");

	if (rc)
		return EXIT_NOT_DONE;
	rc = vmcore_file_commit(r->file);
	if (rc) {
		log_error("dump: %s: %s", path, strerror(-rc));
		return EXIT_NOT_DONE;
	}
	if (!(r->file->what & VMCORE_HAS_INFO))
		log_notice("dump: %s: the kernel in it has no VMCOREINFO (yet), which drgn needs", path);
	if (r->file->what & VMCORE_LACKS_CPU)
		log_notice("dump: %s: the registers of a CPU could not be read, and are 0", path);
	return EXIT_OK;
}

int debug_dump(const struct registry_vm *vm, const char *path)
{
	struct receive *r = malloc(sizeof(*r));
	struct vmcore_file file;
	int status = EXIT_LKVM;

	if (!r) {
		log_enomem("dump");
		return EXIT_LKVM;
	}
	receive_begin(r, "dump", vm, path, &file);
	if (!vmcore_file_open(&file, "dump", path, false)) {
		status = take_dump(r, path);
		vmcore_file_close(&file);
	}
	receive_end(r);
	free(r);
	return status;
}
