// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hostile lists around modules, and hostile modules. The input is pieces, each with its size in two
 * bytes: what is in modules.dep, modules.builtin, modules.builtin.modinfo, modules.alias, .config,
 * and then the modules in the order in which they are asked for. The first byte: is it a tree, and
 * are modules whole ELF files or what stands in .modinfo?
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#include "guest/module-choice.h"
#include "tests/lib/module.h"
#include "util.h"

#define IS_TREE 1
#define ARE_ELF 2

struct feed {
	struct input in;
	bool are_elf;
	struct module_text aliases;
};

/* A piece in memory of its own, whose end is watched. */
static uint8_t *take_piece(struct input *in, size_t *bytes)
{
	uint8_t *data;

	*bytes = take(in, 2);
	*bytes = min_u64(*bytes, in->left);
	data = malloc(*bytes ? *bytes : 1);
	must(data);
	if (*bytes)
		memcpy(data, in->data, *bytes);
	in->data += *bytes;
	in->left -= *bytes;
	return data;
}

static struct module_text take_text(struct input *in)
{
	size_t bytes;
	uint8_t *data = take_piece(in, &bytes);

	return (struct module_text){ (char *)data, bytes };
}

static int feed_module(void *ctx, const char *path, struct module_file *file)
{
	struct feed *feed = ctx;
	uint8_t *info;
	size_t bytes;

	must(*path != '/' && strncmp(path, "../", 3) && !strstr(path, "/../"));
	if (!feed->in.left)
		return -ENOENT;
	info = take_piece(&feed->in, &bytes);
	file->data = info;
	file->bytes = bytes;
	if (feed->are_elf)
		return 0;
	file->data = malloc(bytes + MODULE_MAKE_BYTES);
	must(file->data);
	file->bytes = module_make(file->data, (char *)info, bytes);
	free(info);
	return 0;
}

static struct module_text feed_aliases(void *ctx)
{
	const struct feed *feed = ctx;

	return feed->aliases;
}

static void check(const struct module_choice *choice)
{
	must(choice->nr_files <= MODULES_MAX);
	for (unsigned int i = 0; i < choice->nr_files; i++) {
		must(strspn(choice->files[i].name,
			    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			    "0123456789_") == strlen(choice->files[i].name));
		for (unsigned int k = 0; k < i; k++)
			must(strcmp(choice->files[i].name, choice->files[k].name));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct feed feed = { .in = { data, bytes } };
	unsigned int flags = (unsigned int)take(&feed.in, 1);
	struct module_text paths = take_text(&feed.in), builtin = take_text(&feed.in);
	struct module_source source = {
		.is_tree = flags & IS_TREE,
		.read = feed_module,
		.aliases = feed_aliases,
		.ctx = &feed,
	};
	struct module_choice choice;

	source.builtin_modinfo = take_text(&feed.in);
	feed.aliases = take_text(&feed.in);
	source.config = take_text(&feed.in);
	feed.are_elf = flags & ARE_ELF;
	must(!module_index_init(&source.paths, paths) && !module_index_init(&source.builtin, builtin));
	module_choice_make(&choice, &source, UINT32_MAX, KERNEL_BIT(KERNEL_VIRTIO_RNG));
	check(&choice);
	module_choice_fini(&choice);
	module_index_fini(&source.paths);
	module_index_fini(&source.builtin);
	free((char *)(uintptr_t)paths.data);
	free((char *)(uintptr_t)builtin.data);
	free((char *)(uintptr_t)source.builtin_modinfo.data);
	free((char *)(uintptr_t)feed.aliases.data);
	free((char *)(uintptr_t)source.config.data);
	return 0;
}
