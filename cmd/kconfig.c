// SPDX-License-Identifier: GPL-2.0-only
/*
 * `lkvm kconfig`: what a guest's kernel needs, as a part of a configuration, on stdout.
 *
 * Made from the table that the messages about kernels use, too. Options that hide others come
 * before them, each option once.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "guest/kernel-options.h"

static const char kconfig_start[] =
	"# What lkvm needs of a guest's kernel. In the kernel's tree, with a .config in it:\n"
	"#   lkvm kconfig >lkvm.config\n"
	"#   scripts/kconfig/merge_config.sh .config lkvm.config\n";

static void print_option_set(const char *name, int len)
{
	printf("CONFIG_%.*s=y\n", len, name);
}

/* Those that belong to it, "A B C", first. */
static void print_row(const struct kernel_option *o)
{
	const char *p = o->with ? o->with : "";

	printf("\n# %s\n", o->purpose);
	while (*p) {
		size_t len = strcspn(p, " ");

		print_option_set(p, (int)len);
		p += len;
		p += strspn(p, " ");
	}
	print_option_set(o->name, (int)strlen(o->name));
}

int cmd_kconfig(int argc, char **argv, uint64_t start_ns)
{
	int status = help_check_arguments(argc, argv, "kconfig", NULL, NULL);

	(void)start_ns;
	if (status >= 0)
		return status;
	fputs(kconfig_start, stdout);
	for (unsigned int i = 0; i < NR_KERNEL_OPTIONS; i++)
		print_row(&kernel_options[i]);
	return EXIT_OK;
}
