/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For tests: kernel modules that say what they need and do nothing.
 */
#ifndef LKVM_TESTS_MODULE_H
#define LKVM_TESTS_MODULE_H

#include <elf.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MODULE_MAKE_BYTES 512u

/*
 * An ELF file with nothing in it but .modinfo: @info has a NUL behind each piece. It takes
 * MODULE_MAKE_BYTES more than that.
 */
static inline size_t module_make(uint8_t *to, const char *info, size_t info_bytes)
{
	static const char names[] = "\0.shstrtab\0.modinfo";
	Elf64_Ehdr e = {
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_REL,
		.e_machine = EM_X86_64,
		.e_shoff = sizeof(e),
		.e_shentsize = sizeof(Elf64_Shdr),
		.e_shnum = 3,
		.e_shstrndx = 1,
	};
	Elf64_Shdr s[3] = {
		[1] = {
			.sh_name = 1,
			.sh_type = SHT_STRTAB,
			.sh_offset = sizeof(e) + sizeof(s),
			.sh_size = sizeof(names),
		},
		[2] = {
			.sh_name = 11,
			.sh_type = SHT_PROGBITS,
			.sh_offset = sizeof(e) + sizeof(s) + sizeof(names),
			.sh_size = info_bytes,
		},
	};

	memcpy(to, &e, sizeof(e));
	memcpy(to + sizeof(e), s, sizeof(s));
	memcpy(to + sizeof(e) + sizeof(s), names, sizeof(names));
	memcpy(to + sizeof(e) + sizeof(s) + sizeof(names), info, info_bytes);
	return sizeof(e) + sizeof(s) + sizeof(names) + info_bytes;
}

#endif
