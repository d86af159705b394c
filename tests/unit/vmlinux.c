// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel inside a bzImage: where it may go, each place as likely as the others; what
 * relocations change; and that any bytes at all are either refused or stay in bounds.
 * Starts threads.
 */
#include "tests/lib/unit.h"

#include <elf.h>
#include <errno.h>

#include "decompress.h"
#include "mem.h"
#include "util.h"
#include "x86/boot/vmlinux.h"

#define LINK_GPA   MIB(16)
#define BASE	   0xffffffff81000000ull
#define FILE_BYTES 8192u

static struct vmlinux kernel_of(uint64_t image_bytes)
{
	return (struct vmlinux){
		.link_gpa = LINK_GPA,
		.link_address = BASE,
		.image_bytes = image_bytes,
		.has_relocs = true,
	};
}

/* Every slot of RAM, and no other, is chosen; the initrd stays where it is. */
static void each_place_is_as_likely(void **state)
{
	static const struct {
		uint64_t ram, avoid, avoid_bytes, bytes, slots;
	} cases[] = {
		{ MIB(256), 0, 0, MIB(46), 98 },
		{ MIB(256), MIB(200), MIB(56), MIB(46), 70 },
		{ MIB(64), MIB(16) + 4096, MIB(1), MIB(46), 1 }, /* above the initrd only */
		{ MIB(62), 0, 0, MIB(46), 1 },
		{ MIB(61), 0, 0, MIB(46), 0 },
		{ GIB(3), 0, 0, MIB(50), 1504 },
		{ GIB(4), 0, 0, MIB(50), 1504 + 488 },
		{ GIB(5), MEM_HOLE_END + MIB(100), MIB(10), MIB(50), 1504 + 26 + 945 },
		{ 1ull << 42, 0, 0, MIB(50), 1504 + 260072 },
	};

	(void)state;
	for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
		struct vmlinux v = kernel_of(cases[c].bytes);
		const struct vmlinux_limits l = {
			.align = MIB(2),
			.ram_bytes = cases[c].ram,
			.avoid = cases[c].avoid,
			.avoid_bytes = cases[c].avoid_bytes,
		};
		uint64_t low = min_u64(l.ram_bytes, MEM_HOLE_START), last = 0;

		for (uint64_t i = 0; i < cases[c].slots; i++) {
			struct vmlinux_place p = { 0 };
			uint64_t end;

			assert_true(vmlinux_choose(&v, &l, (uint64_t[]){ i, i }, &p));
			end = p.gpa + cases[c].bytes;
			assert_true(p.gpa >= LINK_GPA && p.gpa % MIB(2) == 0 && p.gpa > last);
			last = p.gpa;
			assert_true(end <= low || (p.gpa >= MEM_HOLE_END &&
						   end <= MEM_HOLE_END + (l.ram_bytes - low) &&
						   end <= GIB(512)));
			assert_true(end <= l.avoid || p.gpa >= l.avoid + l.avoid_bytes);
			assert_int_equal(p.shift, i % ((GIB(1) - LINK_GPA - cases[c].bytes) / MIB(2) + 1) * MIB(2));
		}
		if (cases[c].slots) {
			struct vmlinux_place first, again;

			/* No slot was missed: the numbers begin again. */
			assert_true(vmlinux_choose(&v, &l, (uint64_t[]){ 0, 0 }, &first));
			assert_true(vmlinux_choose(&v, &l, (uint64_t[]){ cases[c].slots, 0 }, &again));
			assert_int_equal(first.gpa, again.gpa);
		} else {
			assert_false(vmlinux_choose(&v, &l, (uint64_t[]){ 0, 0 }, &(struct vmlinux_place){ 0 }));
		}
	}
}

static void too_large_for_its_addresses(void **state)
{
	const struct vmlinux_limits l = { .align = MIB(2), .ram_bytes = GIB(3) };
	struct vmlinux v = kernel_of(GIB(1) - LINK_GPA);
	struct vmlinux_place p;

	(void)state;
	assert_true(vmlinux_choose(&v, &l, (uint64_t[]){ 5, 5 }, &p));
	assert_int_equal(p.shift, 0);
	v.image_bytes++;
	assert_false(vmlinux_choose(&v, &l, (uint64_t[]){ 5, 5 }, &p));
}

/* An ELF file of one segment, and behind it @nr words of tables. */
static size_t make_file(uint8_t *file, const uint32_t *words, size_t nr)
{
	Elf64_Ehdr e = {
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1 },
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_entry = LINK_GPA + 64,
		.e_phoff = sizeof(e),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 1,
		.e_shoff = 4096,
		.e_shentsize = sizeof(Elf64_Shdr),
		.e_shnum = 1,
	};
	Elf64_Phdr ph = {
		.p_type = PT_LOAD,
		.p_offset = 1024,
		.p_filesz = 1024,
		.p_memsz = 4096,
		.p_vaddr = BASE,
		.p_paddr = LINK_GPA,
	};
	size_t end = 4096 + sizeof(Elf64_Shdr);

	memset(file, 0x11, FILE_BYTES);
	memcpy(file, &e, sizeof(e));
	memcpy(file + sizeof(e), &ph, sizeof(ph));
	memcpy(file + end, words, nr * sizeof(*words));
	return end + nr * sizeof(*words);
}

static void relocations_change_their_words(void **state)
{
	const uint32_t three[] = { 0, 0x81000008, 0x81000ff8, 0, 0x81000020, 0, 0x81000030, 0x81000031 };
	const struct vmlinux_place place = { .gpa = MIB(18), .shift = MIB(6) };
	uint8_t file[FILE_BYTES];
	const char *why;
	struct vmlinux v;
	struct mem *mem;
	uint8_t *image;
	uint64_t q;
	uint32_t w;

	(void)state;
	assert_int_equal(vmlinux_parse(&v, file, make_file(file, three, 8), LINK_GPA, &why), 0);
	assert_int_equal(v.image_bytes, 4096);
	assert_int_equal(v.entry, 64);
	assert_int_equal(mem_create(&mem, MIB(32)), 0);
	assert_int_equal(vmlinux_copy(&v, place.gpa, mem), 0);
	assert_int_equal(vmlinux_relocate(&v, &place, mem), 0);
	image = mem_ptr(mem, place.gpa, 4096);
	memcpy(&q, image + 8, 8);
	assert_int_equal(q, 0x1111111111111111ull + MIB(6));
	memcpy(&q, image + 0xff8, 8);
	assert_int_equal(q, MIB(6)); /* behind what the file holds */
	memcpy(&w, image + 0x20, 4);
	assert_int_equal(w, 0x11111111u - MIB(6));
	assert_int_equal(image[0x29], 0x11);
	assert_int_equal(vmlinux_copy(&v, MIB(32) - 2048, mem), -EFAULT);
	assert_int_equal(vmlinux_relocate(&v, &(struct vmlinux_place){ .gpa = MIB(32) }, mem), -EFAULT);
	mem_destroy(mem);
}

static void tables_that_are_not(void **state)
{
	static const struct {
		uint32_t words[6];
		size_t nr;
		int rc;
	} cases[] = {
		{ { 0 }, 0, 0 },
		{ { 0 }, 1, -ENOTSUP },
		{ { 0, 0 }, 2, 0 },
		{ { 0, 0, 0 }, 3, 0 },
		{ { 0, 0, 0, 0 }, 4, -ENOTSUP },
		{ { 0x81000000, 0, 0 }, 3, -ENOTSUP },
		{ { 0, 0x81000ff9, 0 }, 3, -ENOTSUP }, /* 64 bits, one byte over the end */
		{ { 0, 0, 0x81000ffc }, 3, 0 },
		{ { 0, 0, 0x81000ffd }, 3, -ENOTSUP },
		{ { 0, 0, 0x80ffffff }, 3, -ENOTSUP },
		{ { 0, 0, 0x7fffffff }, 3, -ENOTSUP },
		{ { 0, 0, 1 }, 3, -ENOTSUP },
	};
	uint8_t file[FILE_BYTES];
	const char *why;
	struct vmlinux v;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t bytes = make_file(file, cases[i].words, cases[i].nr);

		assert_int_equal(vmlinux_parse(&v, file, bytes, LINK_GPA, &why), cases[i].rc);
		if (!cases[i].rc)
			assert_int_equal(vmlinux_parse(&v, file, bytes + 1, LINK_GPA, &why), -ENOTSUP);
	}
}

/* Any single change of the headers: refused, or all that is left lies inside. */
static void headers_of_any_kind(void **state)
{
	const uint32_t words[] = { 0, 0x81000008, 0, 0x81000020, 0, 0x81000030 };
	static const uint8_t values[] = { 0, 1, 0x7f, 0x80, 0xff };
	const struct vmlinux_place place = { .gpa = MIB(16), .shift = MIB(2) };
	uint8_t file[FILE_BYTES];
	const char *why;
	struct vmlinux v;
	struct mem *mem;

	(void)state;
	assert_int_equal(mem_create(&mem, MIB(32)), 0);
	for (size_t at = 0; at < sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr); at++) {
		for (size_t i = 0; i < sizeof(values); i++) {
			size_t bytes = make_file(file, words, ARRAY_SIZE(words));
			uint8_t *exact = malloc(bytes); /* its end is watched, with ASan */

			file[at] = values[i];
			memcpy(exact, file, bytes);
			if (!vmlinux_parse(&v, exact, bytes, LINK_GPA, &why)) {
				assert_true(vmlinux_check(&v));
				if (!vmlinux_copy(&v, place.gpa, mem))
					assert_int_equal(vmlinux_relocate(&v, &place, mem), 0);
			}
			free(exact);
		}
	}
	mem_destroy(mem);
}

/* Damaged input of every format ends in an error or in that many bytes. */
static void unpackers_stay_in_bounds(void **state)
{
	static const char *const tools[] = {
		"gzip -9nc", "xz --check=crc32 --x86 --lzma2=dict=1MiB -c", "xz --format=lzma -c",
		"bzip2 -c", "lzop -c", "lz4 -l -c", "zstd -q -c"
	};
	static uint8_t plain[20000], out[20000 + 16], packed[40000];
	char command[200];

	(void)state;
	for (size_t i = 0; i < sizeof(plain); i++)
		plain[i] = (uint8_t)(i % 251 ^ i / 300);
	for (size_t t = 0; t < ARRAY_SIZE(tools); t++) {
		const struct unpacker *u;
		size_t bytes;
		char path[] = "/tmp/lkvm-unpack-XXXXXX";
		FILE *f = fdopen(mkstemp(path), "w");

		assert_non_null(f);
		assert_int_equal(fwrite(plain, 1, sizeof(plain), f), sizeof(plain));
		fclose(f);
		snprintf(command, sizeof(command), "%s %s 2>/dev/null", tools[t], path);
		f = popen(command, "r");
		bytes = fread(packed, 1, sizeof(packed), f);
		assert_int_equal(pclose(f), 0);
		remove(path);
		u = unpack_find(packed, bytes);
		assert_non_null(u);
		assert_int_equal(unpack(u, packed, bytes, out, sizeof(plain)), 0);
		assert_memory_equal(out, plain, sizeof(plain));
		assert_int_equal(unpack(u, packed, bytes, out, sizeof(plain) - 1), -EINVAL);
		assert_int_equal(unpack(u, packed, bytes, out, sizeof(plain) + 1), -EINVAL);
		for (size_t n = 0; n < bytes; n += 1 + n / 8) {
			uint8_t *exact = malloc(n + 1);

			/* LZ4's frame has no end but the file's: a cut between blocks is one. */
			memcpy(exact, packed, n);
			assert_int_not_equal(unpack(u, exact, n, out, sizeof(plain)), 0);
			free(exact);
		}
		for (size_t at = 0; at < bytes; at += 1 + bytes / few_of(400)) {
			uint8_t *exact = malloc(bytes);
			int rc;

			memcpy(exact, packed, bytes);
			exact[at] ^= 0x55;
			memset(out + sizeof(plain), 0xee, 16);
			rc = unpack(u, exact, bytes, out, sizeof(plain));
			assert_true(rc == 0 || rc == -EINVAL || rc == -ENOMEM);
			for (size_t i = 0; i < 16; i++)
				assert_int_equal(out[sizeof(plain) + i], 0xee);
			free(exact);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_place_is_as_likely),
		cmocka_unit_test(too_large_for_its_addresses),
		cmocka_unit_test(relocations_change_their_words),
		cmocka_unit_test(tables_that_are_not),
		cmocka_unit_test(headers_of_any_kind),
		cmocka_unit_test(unpackers_stay_in_bounds),
	};

	return cmocka_run_group_tests_name("vmlinux", tests, NULL, NULL);
}
