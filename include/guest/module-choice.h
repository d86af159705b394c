/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which modules a guest loads, and in which order.
 *
 * A pure function of texts in memory and of the modules themselves, which it asks for: for tests
 * and fuzzing. modules.h is what others use.
 */
#ifndef LKVM_GUEST_MODULE_CHOICE_H
#define LKVM_GUEST_MODULE_CHOICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest/kernel-options.h"
#include "guest/module-text.h"

#define MODULES_MAX 64

enum module_state {
	MODULE_UNKNOWN, /* nothing says it: the guest finds out */
	MODULE_BUILT_IN,
	MODULE_LOADED, /* it is among the files */
	MODULE_MISSING,
};

struct module_file {
	char name[MODULE_NAME_BYTES]; /* without ".ko" */
	uint8_t *data;		      /* unpacked; from malloc() */
	size_t bytes;
	bool optional; /* no harm if the kernel refuses it */
};

struct module_choice {
	enum module_state state[NR_KERNEL_OPTIONS]; /* of what was wanted */
	unsigned int nr_files;
	struct module_file files[MODULES_MAX]; /* in the order of loading */
};

struct module_source {
	bool is_tree;				    /* where kernels are built: its .config is right */
	struct module_index paths;		    /* modules.dep, or a tree's modules.order */
	struct module_index builtin;		    /* modules.builtin */
	struct module_text builtin_modinfo, config; /* or empty */
	struct module_text (*aliases)(void *ctx);   /* modules.alias, which is large; or NULL */

	/* Fills in data and bytes from the module at @path. 0 or -errno, which ends the choice. */
	int (*read)(void *ctx, const char *path, struct module_file *file);
	void *ctx;
};

/*
 * For the options @wanted (KERNEL_BIT()), of which @optional may fail to load. What is wanted and
 * not there is in the result as missing and no error. 0; -E2BIG: more than MODULES_MAX modules;
 * -errno of read(). In each case module_choice_fini() is due.
 */
int module_choice_make(struct module_choice *choice, const struct module_source *source,
		       uint32_t wanted, uint32_t optional);
void module_choice_fini(struct module_choice *choice);

#endif
