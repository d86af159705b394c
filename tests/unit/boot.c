// SPDX-License-Identifier: GPL-2.0-only
/*
 * Kernel files: good ones, truncated ones, and every byte of headers and notes set
 * to 0x00, 0xff and flipped. What passes the checks is loaded, so that a plan
 * which lies is caught by the address sanitizer or by mem.c.
 */
#include "tests/lib/unit.h"

#include <asm/bootparam.h>
#include <elf.h>
#include <errno.h>

#include "util.h"
#include "x86/boot/boot.h"
#include "x86/layout.h"

#define RAM	   MIB(64)
#define FILE_BYTES 16384u

static uint8_t file[FILE_BYTES];

static struct setup_header *header(void)
{
	return (struct setup_header *)(void *)(file + 0x1f1);
}

static void make_bzimage(void)
{
	struct setup_header *h = header();

	memset(file, 0x90, sizeof(file));
	memset(h, 0, sizeof(*h));
	h->setup_sects = 3;
	h->boot_flag = 0xaa55;
	h->jump = 0x6aeb; /* header ends at 0x202 + 0x6a */
	h->header = 0x53726448;
	h->version = 0x020f;
	h->loadflags = LOADED_HIGH;
	h->syssize = (FILE_BYTES - 4 * 512) / 16;
	h->xloadflags = XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G;
	h->cmdline_size = 2047;
	h->initrd_addr_max = 0x7fffffff;
	h->kernel_alignment = 0x200000;
	h->relocatable_kernel = 1;
	h->pref_address = 0x1000000;
	h->init_size = 0x100000;
}

static void make_elf64(void)
{
	Elf64_Ehdr *e = (Elf64_Ehdr *)(void *)file;
	Elf64_Phdr *p = (Elf64_Phdr *)(void *)(file + 64);
	uint32_t note[] = { 4, 4, 18, 0x006e6558, 0x1000200 };

	memset(file, 0x90, sizeof(file));
	memset(e, 0, 64 + 3 * sizeof(*p));
	memcpy(e->e_ident, ELFMAG, SELFMAG);
	e->e_ident[EI_CLASS] = ELFCLASS64;
	e->e_ident[EI_DATA] = ELFDATA2LSB;
	e->e_type = ET_EXEC;
	e->e_machine = EM_X86_64;
	e->e_entry = 0x1000000;
	e->e_phoff = 64;
	e->e_phentsize = sizeof(*p);
	e->e_phnum = 3;
	p[0] = (Elf64_Phdr){
		.p_type = PT_LOAD,
		.p_offset = 4096,
		.p_paddr = 0x1000000,
		.p_vaddr = 0xffffffff81000000,
		.p_filesz = 4096,
		.p_memsz = 8192,
	};
	p[1] = (Elf64_Phdr){
		.p_type = PT_LOAD,
		.p_offset = 8192,
		.p_paddr = 0x1400000,
		.p_filesz = 8192,
		.p_memsz = 8192,
	};
	p[2] = (Elf64_Phdr){ .p_type = PT_NOTE, .p_offset = 1024, .p_filesz = sizeof(note) };
	memcpy(file + 1024, note, sizeof(note));
}

static void make_elf32(void)
{
	Elf32_Ehdr *e = (Elf32_Ehdr *)(void *)file;
	Elf32_Phdr *p = (Elf32_Phdr *)(void *)(file + 52);

	memset(file, 0x90, sizeof(file));
	memset(e, 0, 52 + sizeof(*p));
	memcpy(e->e_ident, ELFMAG, SELFMAG);
	e->e_ident[EI_CLASS] = ELFCLASS32;
	e->e_ident[EI_DATA] = ELFDATA2LSB;
	e->e_type = ET_EXEC;
	e->e_machine = EM_386;
	e->e_entry = 0xc1000000; /* virtual, as some have it */
	e->e_phoff = 52;
	e->e_phentsize = sizeof(*p);
	e->e_phnum = 1;
	p[0] = (Elf32_Phdr){
		.p_type = PT_LOAD,
		.p_offset = 4096,
		.p_paddr = 0x1000000,
		.p_vaddr = 0xc1000000,
		.p_filesz = 4096,
		.p_memsz = 4096,
	};
}

/* A unified kernel image: an EFI program with the bzImage of above as a section. */
#define UKI_BYTES  (3u * FILE_BYTES)
#define UKI_TABLE  0x98u /* behind headers at 0x80 */
#define UKI_KERNEL FILE_BYTES
static uint8_t uki[UKI_BYTES];

static void put_section(unsigned int i, const char *name, uint32_t at, uint32_t bytes, uint32_t rounded)
{
	uint8_t *s = uki + UKI_TABLE + 40ul * i;

	memset(s, 0, 40);
	memcpy(s, name, strlen(name));
	put_le32(s + 8, bytes);
	put_le32(s + 16, rounded);
	put_le32(s + 20, at);
}

static void make_uki(void)
{
	make_bzimage();
	memset(uki, 0, sizeof(uki));
	memcpy(uki, "MZ", 2);
	put_le32(uki + 0x3c, 0x80);
	memcpy(uki + 0x80, "PE\0", 4);
	put_le16(uki + 0x84, 0x8664);
	put_le16(uki + 0x86, 6);
	put_section(0, ".text", 0x400, 16, 0x200);
	put_section(1, ".osrel", 0x400, 16, 0x200);
	put_section(2, ".cmdline", 0x600, 14, 0x200);
	put_section(3, ".linux", UKI_KERNEL, FILE_BYTES, FILE_BYTES);
	put_section(4, ".initrd", 0x800, 5, 0x200);
	put_section(5, ".cmdline", 0x800, 5, 0x200); /* of another profile */
	memcpy(uki + 0x600, "one two=2\ny \n\n", 14);
	memcpy(uki + 0x800, "abcde", 5);
	memcpy(uki + UKI_KERNEL, file, FILE_BYTES);
}

/* Opens and, if that works, loads a file. Returns the error and its text. */
static int try_file(const void *data, size_t bytes, struct boot_plan *plan, char *message,
		    size_t message_bytes)
{
	char path[32];
	struct boot_config config = { .cmdline = "console=ttyS0", .ram_bytes = RAM, .extra_initrd_fd = -1 };
	struct boot *boot;
	struct mem *mem;
	int fd = memfile(data, bytes), saved = begin_capture(), rc;

	config.kernel = path_of(fd, path);
	rc = boot_open(&boot, &config);
	if (!rc) {
		if (plan)
			*plan = *boot_get_plan(boot);
		assert_int_equal(mem_create(&mem, RAM), 0);
		rc = boot_load(boot, mem);
		if (!rc)
			rc = boot_finish(boot, mem, NULL, 0, LAYOUT_ACPI, false);
		mem_destroy(mem);
		boot_destroy(boot);
	}
	end_capture(saved, message, message_bytes);
	close(fd);
	return rc;
}

static int try_boot(size_t bytes, struct boot_plan *plan, char *message, size_t message_bytes)
{
	return try_file(file, bytes, plan, message, message_bytes);
}

static void expect_uki_error(size_t bytes, const char *text)
{
	char message[512];

	assert_true(try_file(uki, bytes, NULL, message, sizeof(message)) < 0);
	if (!strstr(message, text))
		fail_msg("expected '%s', got '%s'", text, message);
}

static void expect_error(size_t bytes, const char *text)
{
	char message[512];

	assert_true(try_boot(bytes, NULL, message, sizeof(message)) < 0);
	if (!strstr(message, text))
		fail_msg("expected '%s', got '%s'", text, message);
}

static void good_kernels_load(void **state)
{
	struct boot_plan plan;
	char message[512];

	(void)state;
	make_bzimage();
	assert_int_equal(try_boot(FILE_BYTES, &plan, message, sizeof(message)), 0);
	assert_int_equal(plan.start.entry, CPU_ENTRY_64);
	assert_int_equal(plan.start.rip, 0x100200);
	assert_int_equal(plan.kernel_end, 0x1100000);
	header()->xloadflags = 0;
	assert_int_equal(try_boot(FILE_BYTES, &plan, message, sizeof(message)), 0);
	assert_int_equal(plan.start.entry, CPU_ENTRY_32);
	assert_int_equal(plan.start.rip, 0x100000);
	make_elf64();
	assert_int_equal(try_boot(FILE_BYTES, &plan, message, sizeof(message)), 0);
	assert_int_equal(plan.start.entry, CPU_ENTRY_PVH);
	assert_int_equal(plan.start.rip, 0x1000200);
	assert_int_equal(plan.nr_segments, 2);
	file[1024] = 5; /* the note has another name */
	assert_int_equal(try_boot(FILE_BYTES, &plan, message, sizeof(message)), 0);
	assert_int_equal(plan.start.entry, CPU_ENTRY_64);
	assert_int_equal(plan.start.rip, 0x1000000);
	make_elf32();
	assert_int_equal(try_boot(FILE_BYTES, &plan, message, sizeof(message)), 0);
	assert_int_equal(plan.start.entry, CPU_ENTRY_32);
	assert_int_equal(plan.start.rip, 0x1000000);
}

static void bad_kernels_are_named(void **state)
{
	(void)state;
	memset(file, 0x23, sizeof(file));
	expect_error(FILE_BYTES, "not a bzImage or ELF vmlinux (first bytes 23 23 23 23)");
	expect_error(2, "not a bzImage or ELF vmlinux (2 bytes)");
	expect_error(0, "not a bzImage or ELF vmlinux (0 bytes)");
	make_bzimage();
	header()->version = 0x0205;
	expect_error(FILE_BYTES, "boot protocol 2.05 is too old");
	make_bzimage();
	header()->loadflags = 0;
	expect_error(FILE_BYTES, "zImage");
	make_bzimage();
	header()->init_size = 0xffffffff;
	expect_error(FILE_BYTES, "needs 4112 MiB of RAM to start, the machine has 64");
	make_bzimage();
	header()->pref_address = UINT64_MAX;
	expect_error(FILE_BYTES, "wants to run at 0xffffffffffffffff");
	make_bzimage();
	header()->syssize = 0xffffffff;
	expect_error(FILE_BYTES, "truncated");
	make_bzimage();
	header()->cmdline_size = 5;
	expect_error(FILE_BYTES, "command line: 13 bytes; this kernel takes at most 5");
	make_elf64();
	((Elf64_Phdr *)(void *)(file + 64))->p_paddr = 0x7000;
	expect_error(FILE_BYTES, "below 1 MiB");
	make_elf64();
	((Elf64_Phdr *)(void *)(file + 64))->p_memsz = UINT64_MAX;
	expect_error(FILE_BYTES, "outside of the 64 MiB of RAM");
	make_elf64();
	((Elf64_Ehdr *)(void *)file)->e_machine = EM_AARCH64;
	expect_error(FILE_BYTES, "another machine");
	make_elf64();
	((Elf64_Ehdr *)(void *)file)->e_phoff = UINT64_MAX - 8;
	expect_error(FILE_BYTES, "truncated");
	make_elf64();
	file[1024 + 16] = 0xff;
	file[1024 + 19] = 0xff;
	expect_error(FILE_BYTES, "PVH entry");
}

static void truncated_kernels_are_errors(void **state)
{
	char message[512];

	(void)state;
	make_bzimage();
	for (size_t n = 0; n < FILE_BYTES - 16; n += 61)
		assert_true(try_boot(n, NULL, message, sizeof(message)) < 0);
	make_elf64();
	for (size_t n = 0; n < FILE_BYTES; n += 61)
		assert_true(try_boot(n, NULL, message, sizeof(message)) < 0);
}

static void flip_every_byte(void (*make)(void))
{
	char message[512];

	/* Behind headers and notes there is filling: one byte of it is like another. */
	for (size_t at = 0; at < 4096; at += at < 1100 ? 1 : 61) {
		for (int how = 0; how < 3; how++) {
			make();
			file[at] = how == 0 ? 0x00 :
				   how == 1 ? 0xff :
					      (uint8_t)~file[at];
			try_boot(FILE_BYTES, NULL, message, sizeof(message));
		}
	}
}

static void any_byte_of_a_bzimage_may_lie(void **state)
{
	(void)state;
	flip_every_byte(make_bzimage);
}

static void any_byte_of_an_elf_may_lie(void **state)
{
	(void)state;
	flip_every_byte(make_elf64);
	flip_every_byte(make_elf32);
}

static void initrds_are_placed_under_the_limit(void **state)
{
	struct boot_plan plan = {
		.kernel_end = MIB(32),
		.initrd_limit = 0x80000000ull,
		.initrd_high = false,
	};
	struct boot_error error = { "" };
	gpa_t gpa;

	(void)state;
	assert_int_equal(boot_place_initrd(&plan, MIB(1), MIB(128), &gpa, &error), 0);
	assert_int_equal(gpa, MIB(127));
	assert_int_equal(boot_place_initrd(&plan, GIB(1), GIB(3), &gpa, &error), 0);
	assert_int_equal(gpa, GIB(1));
	assert_int_equal(boot_place_initrd(&plan, MIB(96), MIB(128), &gpa, &error), 0);
	assert_int_equal(boot_place_initrd(&plan, MIB(96) + 1, MIB(128), &gpa, &error), -EINVAL);
	assert_non_null(strstr(error.text, "1 bytes less"));
	assert_non_null(strstr(error.text, "larger -m"));
	assert_int_equal(boot_place_initrd(&plan, GIB(3), GIB(16), &gpa, &error), -EINVAL);
	assert_non_null(strstr(error.text, "use a smaller initrd"));
	plan.initrd_high = true;
	assert_int_equal(boot_place_initrd(&plan, GIB(3), GIB(16), &gpa, &error), 0);
	assert_int_equal(gpa, GIB(14));
	assert_int_equal(boot_place_initrd(&plan, UINT64_MAX, GIB(16), &gpa, &error), -EINVAL);
	plan.kernel_end = GIB(2);
	assert_int_equal(boot_place_initrd(&plan, 1, GIB(2), &gpa, &error), -EINVAL);
	plan.initrd_limit = 1;
	assert_int_equal(boot_place_initrd(&plan, 1, GIB(2), &gpa, &error), -EINVAL);
}

/* Each initrd starts at the next multiple of four, zeros between; the last is lkvm's own. */
static void initrds_are_joined(void **state)
{
	char kernel[32], first[32], second[32], back[10];
	struct boot_config config = {
		.nr_initrds = 2,
		.initrds = { first, second },
		.cmdline = "",
		.ram_bytes = RAM,
		.extra_initrd_fd = -1,
	};
	struct boot *boot;
	struct boot_segment place;
	struct mem *mem;
	int k, a = memfile("abcde", 5), b = memfile("XYZ", 3), own = memfile("12", 2);

	(void)state;
	make_bzimage();
	k = memfile(file, FILE_BYTES);
	config.kernel = path_of(k, kernel);
	path_of(a, first);
	path_of(b, second);
	config.extra_initrd_fd = own;
	assert_int_equal(boot_open(&boot, &config), 0);
	close(own);
	place = boot_initrd_place(boot);
	assert_int_equal(place.mem_bytes, 14);
	assert_int_equal(place.gpa % 4096, 0);
	assert_int_equal(mem_create(&mem, RAM), 0);
	assert_int_equal(boot_load(boot, mem), 0);
	assert_int_equal(mem_read(mem, place.gpa + 4, back, sizeof(back)), 0);
	assert_memory_equal(back, "e\0\0\0XYZ\00012", sizeof(back));
	mem_destroy(mem);
	boot_destroy(boot);
	close(k);
	close(a);
	close(b);
}

static void a_unified_image_has_all(void **state)
{
	char kernel[32], more[32], back[8];
	struct boot_config config = {
		.nr_initrds = 1,
		.initrds = { more },
		.cmdline = "console=ttyS0",
		.user_cmdline = "two=3",
		.ram_bytes = RAM,
		.extra_initrd_fd = -1,
	};
	struct boot_segment place;
	struct boot *boot;
	struct mem *mem;
	uint8_t byte;
	int k, m = memfile("XYZ", 3);

	(void)state;
	make_uki();
	k = memfile(uki, UKI_BYTES);
	config.kernel = path_of(k, kernel);
	path_of(m, more);
	assert_int_equal(boot_open(&boot, &config), 0);
	assert_string_equal(boot_describe(boot), "unified kernel image");
	assert_string_equal(boot_get_cmdline(boot), "console=ttyS0 one two=2 y two=3");
	assert_int_equal(boot_get_plan(boot)->start.rip, 0x100200);
	assert_int_equal(mem_create(&mem, RAM), 0);
	assert_int_equal(boot_load(boot, mem), 0);
	/* The kernel behind its setup sectors; its own initrd, then the user's. */
	assert_int_equal(mem_read(mem, 0x100000, &byte, 1), 0);
	assert_int_equal(byte, 0x90);
	assert_int_equal(mem_read(mem, 0x100000 + FILE_BYTES - 4 * 512 - 1, &byte, 1), 0);
	assert_int_equal(byte, 0x90);
	place = boot_initrd_place(boot);
	assert_int_equal(place.mem_bytes, 11);
	assert_int_equal(mem_read(mem, place.gpa + 4, back, 7), 0);
	assert_memory_equal(back, "e\0\0\0XYZ", 7);
	mem_destroy(mem);
	boot_destroy(boot);
	close(k);
	close(m);
}

static void bad_unified_images_are_named(void **state)
{
	(void)state;
	make_uki();
	put_le16(uki + 0x84, 0xaa64);
	expect_uki_error(UKI_BYTES, "an EFI program for another machine");
	make_uki();
	put_le16(uki + 0x86, 97);
	expect_uki_error(UKI_BYTES, "damaged table of sections");
	make_uki();
	put_le16(uki + 0x94, 0xffff); /* optional header */
	expect_uki_error(UKI_BYTES, "damaged table of sections");
	make_uki();
	put_section(3, ".other", UKI_KERNEL, FILE_BYTES, FILE_BYTES);
	expect_uki_error(UKI_BYTES, "an EFI program without a kernel in it");
	make_uki();
	put_section(3, ".linux", UKI_KERNEL, 0, 0);
	expect_uki_error(UKI_BYTES, "an EFI program without a kernel in it");
	make_uki();
	put_section(4, ".initrd", 0xffffff00, 0, 0xffffffff);
	expect_uki_error(UKI_BYTES, "truncated: a section of the EFI program");
	make_uki();
	put_section(3, ".linux", 0x400, 16, 0x200);
	expect_uki_error(UKI_BYTES, "section .linux is not a bzImage");
	make_uki();
	put_section(3, ".linux", UKI_KERNEL, FILE_BYTES - 600, FILE_BYTES);
	expect_uki_error(UKI_BYTES, "truncated: the header promises");
	make_uki();
	put_le32(uki + 0x3c, 0xfffffff0);
	expect_uki_error(UKI_BYTES, "not a bzImage or ELF vmlinux (first bytes 4d 5a 00 00)");
	make_uki();
	for (size_t n = 0; n < UKI_KERNEL + FILE_BYTES; n += 61)
		expect_uki_error(n, "");
}

static void any_byte_of_a_unified_image_may_lie(void **state)
{
	char message[512];

	(void)state;
	for (size_t at = 0; at < UKI_TABLE + 6 * 40; at++) {
		for (int how = 0; how < 3; how++) {
			make_uki();
			uki[at] = how == 0 ? 0x00 :
				  how == 1 ? 0xff :
					     (uint8_t)~uki[at];
			try_file(uki, UKI_BYTES, NULL, message, sizeof(message));
		}
	}
}

/* Ours alone, the user's alone; a section of nothing but ends of lines. */
static void command_lines_are_joined(void **state)
{
	static const struct {
		const char *ours, *user, *joined;
	} cases[] = {
		{ "a b", NULL, "a b" },
		{ "", "c", "c" },
		{ "a", "c", "a c" },
		{ "", "", "" },
	};
	char path[32];

	(void)state;
	make_uki();
	memset(uki + 0x600, '\n', 14);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct boot_config config = {
			.cmdline = cases[i].ours,
			.user_cmdline = cases[i].user,
			.ram_bytes = RAM,
			.extra_initrd_fd = -1,
		};
		int fd = memfile(uki, UKI_BYTES);
		struct boot *boot;

		config.kernel = path_of(fd, path);
		assert_int_equal(boot_open(&boot, &config), 0);
		assert_string_equal(boot_get_cmdline(boot), cases[i].joined);
		boot_destroy(boot);
		close(fd);
	}
}

static void flat_images_have_their_place(void **state)
{
	static const struct {
		gpa_t address;
		size_t bytes;
		bool ok;
	} cases[] = {
		{ 0x10000, 512, true },
		{ 0, 512, true },
		{ 0x10008, 512, false },
		{ 0xdfff0, 16, true },
		{ 0xdfff0, 17, false },
		{ 0xe0000, 1, false },
		{ UINT64_MAX & ~15ull, 16, false },
	};
	char path[32], message[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct boot_config config = {
			.flat_address = cases[i].address,
			.cmdline = "",
			.ram_bytes = MIB(2),
			.extra_initrd_fd = -1,
		};
		int fd = memfile(file, cases[i].bytes), saved = begin_capture();
		struct boot *boot = NULL;

		config.flat = path_of(fd, path);
		assert_int_equal(boot_open(&boot, &config) == 0, cases[i].ok);
		end_capture(saved, message, sizeof(message));
		boot_destroy(boot);
		close(fd);
	}
}

static void setup_data_has_a_seed_and_the_tree(void **state)
{
	char path[32];
	struct boot_config config = { .cmdline = "", .ram_bytes = RAM, .extra_initrd_fd = -1 };
	struct boot_params bp;
	struct setup_data data;
	struct boot *boot;
	struct mem *mem;
	static uint8_t tree[500000];
	int fd;

	(void)state;
	make_bzimage();
	fd = memfile(file, FILE_BYTES);
	config.kernel = path_of(fd, path);
	assert_int_equal(boot_open(&boot, &config), 0);
	assert_int_equal(mem_create(&mem, RAM), 0);
	assert_int_equal(boot_finish(boot, mem, tree, 100, 0, false), 0);
	assert_int_equal(mem_read(mem, LAYOUT_ZERO_PAGE, &bp, sizeof(bp)), 0);
	assert_int_equal(mem_read(mem, bp.hdr.setup_data, &data, sizeof(data)), 0);
	assert_int_equal(data.type, 9);
	assert_int_equal(data.len, 32);
	assert_int_equal(mem_read(mem, data.next, &data, sizeof(data)), 0);
	assert_int_equal(data.type, SETUP_DTB);
	assert_int_equal(data.len, 100);
	assert_int_equal(data.next, 0);
	mem_destroy(mem);
	boot_destroy(boot);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_kernels_load),
		cmocka_unit_test(bad_kernels_are_named),
		cmocka_unit_test(truncated_kernels_are_errors),
		cmocka_unit_test(any_byte_of_a_bzimage_may_lie),
		cmocka_unit_test(any_byte_of_an_elf_may_lie),
		cmocka_unit_test(initrds_are_placed_under_the_limit),
		cmocka_unit_test(initrds_are_joined),
		cmocka_unit_test(a_unified_image_has_all),
		cmocka_unit_test(bad_unified_images_are_named),
		cmocka_unit_test(any_byte_of_a_unified_image_may_lie),
		cmocka_unit_test(command_lines_are_joined),
		cmocka_unit_test(flat_images_have_their_place),
		cmocka_unit_test(setup_data_has_a_seed_and_the_tree),
	};

	return cmocka_run_group_tests_name("boot", tests, NULL, NULL);
}
