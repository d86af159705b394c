/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What stands in the files around kernel modules: pure functions of text in memory, which is
 * untrusted and may end anywhere. Nothing is allocated but the index.
 */
#ifndef LKVM_GUEST_MODULE_TEXT_H
#define LKVM_GUEST_MODULE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Part of somebody's memory; no NUL at the end. */
struct module_text {
	const char *data;
	size_t bytes;
};

/* A module's name in one spelling: letters, digits and '_', which stands for '-', too. */
#define MODULE_NAME_BYTES 64
#define MODULE_PATH_BYTES 512

/* The name in the path of a module, "kernel/fs/a-b.ko.xz" or "fs/a-b.o": a_b. False: it is none. */
bool module_text_name(char name[MODULE_NAME_BYTES], struct module_text path);

/* The same of text that is a name and nothing else. */
bool module_text_plain_name(char name[MODULE_NAME_BYTES], struct module_text text);

/*
 * A list of modules, a path a line, sorted for nobody: modules.dep (what is behind a ':' is left
 * out), modules.builtin, modules.order. The text is lent.
 */
struct module_index {
	struct module_text text;
	unsigned int nr;
	struct module_line *lines;
};

/* At most MODULE_INDEX_MAX lines count. 0 or -ENOMEM. */
#define MODULE_INDEX_MAX 65536
int module_index_init(struct module_index *index, struct module_text text);
void module_index_fini(struct module_index *index);

/*
 * The path of module @name, the first in the list, and only if it leads nowhere but down: neither
 * absolute nor through "..".
 */
bool module_index_find(const struct module_index *index, const char *name,
		       char path[MODULE_PATH_BYTES]);

/*
 * Who has the other name @alias? From modules.alias ("alias PATTERN NAME"); only patterns without
 * wildcards are looked at. Of several it is one that ends in "_generic", else the first.
 */
bool module_text_find_alias(struct module_text aliases, struct module_text alias,
			    char name[MODULE_NAME_BYTES]);

/* The same from modules.builtin.modinfo ("NAME.alias=ALIAS", with a NUL behind each). */
bool module_text_has_alias(struct module_text builtin_modinfo, struct module_text alias);

/* CONFIG_@option in a kernel's configuration: 'y', 'm', 'n', or 0 if the text is empty. */
char module_text_config(struct module_text config, const char *option);

/*
 * Value number @nr of @key in the section .modinfo of a module, an ELF file of either class.
 * False: there are not so many.
 */
bool module_text_modinfo(struct module_text module, const char *key, unsigned int nr,
			 struct module_text *value);

/* Takes the next word off @rest; words are separated by one or more of @separators. */
bool module_text_word(struct module_text *rest, const char *separators, struct module_text *word);

bool module_text_equals(struct module_text text, const char *string);

#endif
