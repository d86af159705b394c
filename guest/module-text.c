// SPDX-License-Identifier: GPL-2.0-only
/*
 * What stands in the files around kernel modules.
 *
 * Pure functions of text in memory, any thread. A kernel has thousands of modules and a dozen of
 * them are looked for, so that lists are indexed once, by a hash of the name; a line is compared
 * only if that fits. Work is bounded by the size of the text.
 *
 * Source: modules.dep(5), depmod(8); Linux's Documentation/kbuild (modules.order,
 * modules.builtin.modinfo); System V ABI (ELF).
 */
#include <ctype.h>
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guest/module-text.h"
#include "util.h"

struct module_line {
	uint32_t hash;	    /* of the module's name */
	uint32_t at, bytes; /* its path, in the text */
};

/* ---- words and lines ---- */

bool module_text_equals(struct module_text text, const char *string)
{
	size_t len = strlen(string);

	return text.bytes == len && (!len || !memcmp(text.data, string, len));
}

static bool text_ends_in(struct module_text text, const char *string)
{
	size_t len = strlen(string);

	return text.bytes >= len && !memcmp(text.data + (text.bytes - len), string, len);
}

bool module_text_word(struct module_text *rest, const char *separators, struct module_text *word)
{
	size_t from = 0, to;

	while (from < rest->bytes && strchr(separators, rest->data[from]))
		from++;
	for (to = from; to < rest->bytes && !strchr(separators, rest->data[to]);)
		to++;
	if (from == to)
		return false;
	*word = (struct module_text){ rest->data + from, to - from };
	*rest = (struct module_text){ rest->data + to, rest->bytes - to };
	return true;
}

/* The next piece that ends in @end, or with the text. */
static bool text_take_until(struct module_text *rest, char end, struct module_text *piece)
{
	const char *p;
	size_t n;

	if (!rest->bytes)
		return false;
	p = memchr(rest->data, end, rest->bytes);
	n = p ? (size_t)(p - rest->data) : rest->bytes;
	*piece = (struct module_text){ rest->data, n };
	n += p != NULL;
	*rest = (struct module_text){ rest->data + n, rest->bytes - n };
	return true;
}

bool module_text_plain_name(char name[MODULE_NAME_BYTES], struct module_text text)
{
	if (!text.bytes || text.bytes >= MODULE_NAME_BYTES)
		return false;
	for (size_t i = 0; i < text.bytes; i++) {
		char c = text.data[i];

		if (!isalnum((unsigned char)c) && c != '_' && c != '-')
			return false;
		name[i] = c == '-' ? '_' : c;
	}
	name[text.bytes] = '\0';
	return true;
}

bool module_text_name(char name[MODULE_NAME_BYTES], struct module_text path)
{
	static const char *const packed[] = { ".xz", ".zst", ".gz" };
	size_t at = path.bytes;

	if (!at)
		return false;
	while (at && path.data[at - 1] != '/')
		at--;
	path = (struct module_text){ path.data + at, path.bytes - at };
	for (size_t i = 0; i < ARRAY_SIZE(packed); i++)
		if (text_ends_in(path, packed[i]))
			path.bytes -= strlen(packed[i]);
	if (text_ends_in(path, ".ko"))
		path.bytes -= 3;
	else if (text_ends_in(path, ".o"))
		path.bytes -= 2;
	else
		return false;
	return module_text_plain_name(name, path);
}

/* ---- lists of modules ---- */

/* FNV-1a, 32 bits. */
static uint32_t hash_name(const char *name)
{
	uint32_t hash = 0x811c9dc5u;

	while (*name)
		hash = (hash ^ (uint8_t)*name++) * 0x01000193u;
	return hash;
}

static unsigned int count_lines(struct module_text text)
{
	unsigned int nr = 0;
	struct module_text line;

	while (nr < MODULE_INDEX_MAX && text_take_until(&text, '\n', &line))
		nr++;
	return nr;
}

int module_index_init(struct module_index *index, struct module_text text)
{
	struct module_text rest = { text.data, min_u64(text.bytes, UINT32_MAX) };
	unsigned int max = count_lines(rest);
	struct module_text line, path;
	char name[MODULE_NAME_BYTES];

	*index = (struct module_index){ .text = text };
	if (!max)
		return 0;
	index->lines = malloc(max * sizeof(index->lines[0]));
	if (!index->lines)
		return -ENOMEM;
	while (index->nr < max && text_take_until(&rest, '\n', &line)) {
		if (!text_take_until(&line, ':', &path) || !module_text_name(name, path))
			continue;
		index->lines[index->nr++] = (struct module_line){
			.hash = hash_name(name),
			.at = (uint32_t)(path.data - text.data),
			.bytes = (uint32_t)path.bytes,
		};
	}
	return 0;
}

void module_index_fini(struct module_index *index)
{
	free(index->lines);
	*index = (struct module_index){ .nr = 0 };
}

/* It is also shown in messages: no characters that a terminal obeys. */
static bool leads_down(struct module_text path)
{
	struct module_text part;

	if (!path.bytes || path.data[0] == '/')
		return false;
	for (size_t i = 0; i < path.bytes; i++)
		if ((unsigned char)path.data[i] < ' ' || path.data[i] == 0x7f)
			return false;
	while (module_text_word(&path, "/", &part))
		if (module_text_equals(part, ".."))
			return false;
	return true;
}

bool module_index_find(const struct module_index *index, const char *name,
		       char path[MODULE_PATH_BYTES])
{
	uint32_t hash = hash_name(name);
	char other[MODULE_NAME_BYTES];

	for (unsigned int i = 0; i < index->nr; i++) {
		const struct module_line *l = &index->lines[i];
		struct module_text text;

		if (l->hash != hash)
			continue;
		text = (struct module_text){ index->text.data + l->at, l->bytes };
		if (!module_text_name(other, text) || strcmp(other, name))
			continue;
		if (text.bytes >= MODULE_PATH_BYTES || !leads_down(text))
			return false;
		memcpy(path, text.data, text.bytes);
		path[text.bytes] = '\0';
		return true;
	}
	return false;
}

/* ---- other names ---- */

static bool same_text(struct module_text a, struct module_text b)
{
	return a.bytes == b.bytes && !memcmp(a.data, b.data, a.bytes);
}

bool module_text_find_alias(struct module_text aliases, struct module_text alias,
			    char name[MODULE_NAME_BYTES])
{
	struct module_text line, word, pattern, module;
	char candidate[MODULE_NAME_BYTES];
	bool found = false;

	while (text_take_until(&aliases, '\n', &line)) {
		if (!module_text_word(&line, " \t", &word) || !module_text_equals(word, "alias") ||
		    !module_text_word(&line, " \t", &pattern) || !same_text(pattern, alias) ||
		    !module_text_word(&line, " \t", &module) ||
		    !module_text_plain_name(candidate, module))
			continue;
		if (!found || text_ends_in(module, "_generic"))
			memcpy(name, candidate, sizeof(candidate));
		found = true;
		if (text_ends_in(module, "_generic"))
			break;
	}
	return found;
}

bool module_text_has_alias(struct module_text builtin_modinfo, struct module_text alias)
{
	struct module_text piece, name, key;

	while (text_take_until(&builtin_modinfo, '\0', &piece))
		if (text_take_until(&piece, '.', &name) && text_take_until(&piece, '=', &key) &&
		    module_text_equals(key, "alias") && same_text(piece, alias))
			return true;
	return false;
}

/* ---- .config ---- */

char module_text_config(struct module_text config, const char *option)
{
	struct module_text line, key;
	char value = config.bytes ? 'n' : 0;

	/* The last one counts. */
	while (text_take_until(&config, '\n', &line)) {
		if (line.bytes < 9 || memcmp(line.data, "CONFIG_", 7))
			continue;
		line = (struct module_text){ line.data + 7, line.bytes - 7 };
		if (text_take_until(&line, '=', &key) && module_text_equals(key, option))
			value = module_text_equals(line, "y") || module_text_equals(line, "m") ?
					line.data[0] :
					'n';
	}
	return value;
}

/* ---- .modinfo ---- */

/* A section header in the wide form, from the table at @table. */
static Elf64_Shdr section_at(struct module_text m, bool is_64bit, uint64_t table, unsigned int i)
{
	Elf64_Shdr s;
	Elf32_Shdr narrow;

	if (is_64bit) {
		memcpy(&s, m.data + table + i * sizeof(s), sizeof(s));
		return s;
	}
	memcpy(&narrow, m.data + table + i * sizeof(narrow), sizeof(narrow));
	return (Elf64_Shdr){
		.sh_name = narrow.sh_name,
		.sh_type = narrow.sh_type,
		.sh_offset = narrow.sh_offset,
		.sh_size = narrow.sh_size,
	};
}

struct section_table {
	bool is_64bit;
	uint64_t offset;
	unsigned int nr, names;
};

/* Where in the file the table of sections is, all of it in the file. */
static bool find_sections(struct module_text m, struct section_table *t)
{
	Elf64_Ehdr e;
	Elf32_Ehdr narrow;
	size_t entry;

	if (m.bytes < sizeof(e))
		return false;
	memcpy(&e, m.data, sizeof(e));
	memcpy(&narrow, m.data, sizeof(narrow));
	if (memcmp(e.e_ident, ELFMAG, SELFMAG) || e.e_ident[EI_DATA] != ELFDATA2LSB)
		return false;
	t->is_64bit = e.e_ident[EI_CLASS] == ELFCLASS64;
	t->offset = t->is_64bit ? e.e_shoff : narrow.e_shoff;
	t->nr = t->is_64bit ? e.e_shnum : narrow.e_shnum;
	t->names = t->is_64bit ? e.e_shstrndx : narrow.e_shstrndx;
	entry = t->is_64bit ? sizeof(Elf64_Shdr) : sizeof(Elf32_Shdr);
	return (t->is_64bit ? e.e_shentsize : narrow.e_shentsize) == entry && t->names < t->nr &&
	       range_within(t->offset, t->nr * entry, m.bytes);
}

/* What is in section @s; false if it is not in the file. */
static bool section_text(struct module_text m, const Elf64_Shdr *s, struct module_text *text)
{
	if (s->sh_type == SHT_NOBITS || !range_within(s->sh_offset, s->sh_size, m.bytes))
		return false;
	*text = (struct module_text){ m.data + s->sh_offset, s->sh_size };
	return true;
}

static bool find_modinfo(struct module_text m, struct module_text *info)
{
	static const char name[] = ".modinfo";
	struct module_text names;
	struct section_table t;
	Elf64_Shdr s;

	if (!find_sections(m, &t))
		return false;
	s = section_at(m, t.is_64bit, t.offset, t.names);
	if (!section_text(m, &s, &names))
		return false;
	for (unsigned int i = 0; i < t.nr; i++) {
		s = section_at(m, t.is_64bit, t.offset, i);
		if (range_within(s.sh_name, sizeof(name), names.bytes) &&
		    !memcmp(names.data + s.sh_name, name, sizeof(name)))
			return section_text(m, &s, info);
	}
	return false;
}

bool module_text_modinfo(struct module_text module, const char *key, unsigned int nr,
			 struct module_text *value)
{
	struct module_text info, piece, word;

	if (!find_modinfo(module, &info))
		return false;
	while (text_take_until(&info, '\0', &piece))
		if (text_take_until(&piece, '=', &word) && module_text_equals(word, key) && !nr--) {
			*value = piece;
			return true;
		}
	return false;
}
