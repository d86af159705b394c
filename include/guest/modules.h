/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The drivers for a guest's kernel: found on this host, read, unpacked, in the order of loading.
 *
 * They come from the first of these that is there: what --modules names; the tree that the kernel
 * was built in; /lib/modules/RELEASE. A folder of modules has modules.dep in it, a tree
 * modules.order and .config. All of it is untrusted, and read with bounds. Main thread, before the
 * sandbox.
 */
#ifndef LKVM_GUEST_MODULES_H
#define LKVM_GUEST_MODULES_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "guest/kernel-release.h"
#include "guest/module-choice.h"

#define MODULES_MAX_FILE_BYTES (64ull << 20)  /* one, unpacked */
#define MODULES_MAX_BYTES      (256ull << 20) /* all */

struct modules_config {
	bool off;			      /* --modules off: none are looked for */
	const char *dir;		      /* --modules DIR, or NULL */
	const char *installed;		      /* NULL: /lib/modules */
	const char *kernel;		      /* its path, or NULL */
	const struct kernel_release *release; /* or NULL if the kernel does not say it */
	uint32_t wanted;		      /* KERNEL_BIT()s */
	uint32_t optional;		      /* of these: no harm if loading fails */
	bool use_cache;			      /* of decompressed modules */
	const char *cache_dir;		      /* or NULL: the user's */
};

enum modules_place {
	MODULES_NOWHERE, /* not looked for, or nobody says where */
	MODULES_ABSENT,	 /* there is no such folder */
	MODULES_FOLDER,
	MODULES_TREE,
};

struct modules {
	struct module_choice choice; /* states, and the files to load */
	enum modules_place place;
	char path[PATH_MAX];		    /* of the folder or tree */
	char release[KERNEL_RELEASE_BYTES]; /* "" if it is not known */
	bool off;
};

/*
 * 0 or -errno after a message: DIR has no modules for this kernel, a module is damaged or made for
 * another kernel. What is not there is no error: its state says so.
 */
int modules_choose(struct modules **out, const struct modules_config *config);
void modules_destroy(struct modules *m);

/* Those of @options that the kernel certainly lacks. */
uint32_t modules_missing(const struct modules *m, uint32_t options);

/*
 * One message about @options, which the kernel lacks as modules_missing() or the guest has found
 * out, and about where their modules were looked for. Returns -ENOENT.
 */
int modules_report(const struct modules *m, uint32_t options);

#endif
