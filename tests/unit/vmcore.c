// SPDX-License-Identifier: GPL-2.0-only
/*
 * A vmcore without a VM: headers and notes as elfutils read them, VMCOREINFO of honest and of lying guests, which
 * pages are in the file, and what becomes of streams of a hostile VM.
 * Has processes behind filters, which builds with sanitizers have not.
 */
#include "tests/lib/unit.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/receive.h"
#include "control/vmcore-file.h"
#include "control/vmcore-format.h"
#include "control/vmcore-image.h"
#include "control/vmcore-info.h"
#include "control/vmcore-saver.h"
#include "control/vmcore.h"
#include "event.h"
#include "io.h"
#include "mem.h"
#include "sandbox/sandbox.h"
#include "util.h"

#define TEXT   0xffffffff81000000ull
#define TABLES MIB(1)

static char dir[] = "/tmp/lkvm-vmcore-XXXXXX";
static char text[1048576];

/* ---- a machine ---- */

static struct mem *mem;

static void make_memory(uint64_t bytes)
{
	assert_int_equal(mem_create(&mem, bytes), 0);
}

static int tear_down(void **state)
{
	(void)state;
	mem_destroy(mem);
	mem = NULL;
	return 0;
}

static void put(gpa_t gpa, uint64_t value)
{
	assert_int_equal(mem_write(mem, gpa, &value, sizeof(value)), 0);
}

/* Each register has a value of its own. */
static struct registers some_cpu(unsigned int index)
{
	struct registers cpu = { .kernel_gs_base = 0xabc0 + index };
	uint64_t *r = (uint64_t *)&cpu.regs;

	for (size_t i = 0; i < sizeof(cpu.regs) / sizeof(*r); i++)
		r[i] = 0x1000 * (index + 1) + i;
	cpu.sregs.cs = (struct kvm_segment){
		.selector = 0x10,
		.limit = 0xffffffff,
		.type = 0xb,
		.present = 1,
		.s = 1,
		.l = 1,
		.g = 1,
	};
	cpu.sregs.gs.base = 0xffff888000000000 + index;
	cpu.sregs.cr0 = 0x80050033;
	cpu.sregs.cr3 = TABLES;
	cpu.sregs.cr4 = 0x20;
	cpu.sregs.efer = 0xd01;
	return cpu;
}

static int read_some_cpu(void *arg, unsigned int index, struct registers *cpu)
{
	const unsigned int *broken = arg;

	*cpu = some_cpu(index);
	return broken && *broken == index ? -EIO : 0;
}

/* Tables at @at that have the kernel's code at @code, in a page of 2 MiB. */
static void map_text(gpa_t at, gpa_t code, bool five)
{
	gpa_t table = at;

	if (five) {
		put(table + 511 * 8, (at + 0x6000) | 3);
		table = at + 0x6000;
	}
	put(table + 511 * 8, (at + 0x2000) | 3);
	put(at + 0x2000 + 510 * 8, (at + 0x3000) | 3);
	put(at + 0x3000 + 8 * 8, code | 0x83);
}

/* A note at @gpa that says it is of a kernel @moved from where it was linked; its bytes without padding. */
static uint32_t put_info(gpa_t gpa, const char *release, int64_t moved)
{
	uint8_t page[4096] = { 0 };
	Elf64_Nhdr head = { .n_namesz = 11 };
	int n = snprintf((char *)page + 24, sizeof(page) - 24,
			 "OSRELEASE=%s\nPAGESIZE=4096\n"
			 "SYMBOL(_stext)=%llx\nNUMBER(phys_base)=%lld\nKERNELOFFSET=0\n",
			 release, TEXT,
			 (long long)moved);

	head.n_descsz = (uint32_t)n;
	memcpy(page, &head, sizeof(head));
	memcpy(page + sizeof(head), "VMCOREINFO", 11);
	assert_int_equal(mem_write(mem, gpa, page, sizeof(page)), 0);
	return 24 + (uint32_t)n;
}

/* ---- the file ---- */

static const char *in_dir(const char *name)
{
	static char paths[4][512];
	static unsigned int at;

	at = (at + 1) % 4;
	snprintf(paths[at], sizeof(paths[at]), "%s/%s", dir, name);
	return paths[at];
}

/* All of an image through a file, in pieces of all sizes. What feeding it has come to. */
static int save(struct vmcore_image *image, struct vmcore_file *f)
{
	struct vmcore_record r;
	const void *data;
	int rc = 0;

	while (vmcore_image_next(image, &r, &data) && !rc) {
		const uint32_t bytes = r.kind == VMCORE_DATA ? r.bytes : 0, first = bytes / 3;

		rc = vmcore_file_feed(f, &r, 7);
		if (!rc)
			rc = vmcore_file_feed(f, (const char *)&r + 7, sizeof(r) - 7);
		if (!rc && bytes) {
			rc = vmcore_file_feed(f, data, first);
			rc = rc ? rc : vmcore_file_feed(f, (const char *)data + first, bytes - first);
		}
	}
	return rc;
}

static struct vmcore_file dump(const char *path, unsigned int cpus, int pagemap)
{
	static struct vmcore_image image;
	struct vmcore_file f;

	vmcore_image_init(&image, mem, pagemap, cpus, read_some_cpu, NULL);
	assert_int_equal(vmcore_file_open(&f, "dump", path, false), 0);
	assert_int_equal(save(&image, &f), 1);
	assert_int_equal(vmcore_file_commit(&f), 0);
	return f;
}

static const char *readelf(const char *path)
{
	char command[256];

	snprintf(command, sizeof(command), "eu-readelf -a %s", path);
	assert_int_equal(run_tool(command, text, sizeof(text)), 0);
	assert_null(strstr(text, "invalid"));
	return text;
}

static void expect(const char *what)
{
	if (!strstr(text, what))
		fail_msg("[%s] is not in:\n%s", what, text);
}

static uint64_t read_u64(const char *path, uint64_t offset)
{
	int fd = open(path, O_RDONLY);
	uint64_t value;

	assert_int_equal(pread(fd, &value, sizeof(value), (off_t)offset), sizeof(value));
	close(fd);
	return value;
}

static void test_elf(void **state)
{
	const char *path = in_dir("core");
	struct vmcore_layout l;
	struct vmcore_file f;
	struct stat st;

	(void)state;
	make_memory(MIB(8));
	put(0x5008, 0x1122334455667788);
	put(MIB(8) - 8, 0x99);
	f = dump(path, 3, -1);
	assert_int_equal(f.what, 0);
	vmcore_file_close(&f);
	readelf(path);
	expect("CORE (Core file)");
	expect("QEMU                 440");
	expect("PRSTATUS");
	expect("info.si_signo: 0");
	expect("pid: 3");
	expect("rip:      0x0000000000003010");
	expect("r15:                   12303");
	expect("rflags:   0x0000000000001011");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	vmcore_plan(&l, mem, 3);
	assert_int_equal(l.nr_pieces, 2);
	assert_int_equal(st.st_size, l.bytes);
	assert_true(st.st_blocks * 512 < 65536);
	assert_int_equal(read_u64(path, l.pieces[0].offset + 0x5008), 0x1122334455667788);
	assert_int_equal(read_u64(path, l.pieces[1].offset + MIB(7) - 8), 0x99);
	/* The name is free of what it was before, which was a core. */
	f = dump(path, 1, -1);
	vmcore_file_close(&f);
	readelf(path);
	assert_null(strstr(text, "pid: 2"));
	assert_string_equal(run_in(dir, "find . -name '.*' -type f"), "");
}

/* The first of CPU @index's notes: what crash and drgn look for, byte by byte. */
static void test_notes(void **state)
{
	struct registers cpu = some_cpu(4);
	uint8_t notes[VMCORE_CPU_BYTES];
	const uint8_t *state_of_qemu = notes + 20 + 336 + 20;
	uint32_t word;
	uint64_t value;

	(void)state;
	vmcore_put_cpu(&cpu, 4, notes);
	assert_memory_equal(notes, "\5\0\0\0\120\1\0\0\1\0\0\0CORE\0\0\0\0", 20);
	memcpy(&word, notes + 20 + 32, 4);
	assert_int_equal(word, 5);
	memcpy(&value, notes + 20 + 112 + 16 * 8, 8);
	assert_int_equal(value, cpu.regs.rip);
	memcpy(&value, notes + 20 + 112 + 22 * 8, 8);
	assert_int_equal(value, cpu.sregs.gs.base);
	assert_memory_equal(notes + 356, "\5\0\0\0\270\1\0\0\0\0\0\0QEMU\0\0\0\0", 20);
	memcpy(&word, state_of_qemu, 4);
	assert_int_equal(word, 1);
	memcpy(&word, state_of_qemu + 4, 4);
	assert_int_equal(word, 440);
	memcpy(&value, state_of_qemu + 8, 8);
	assert_int_equal(value, cpu.regs.rax);
	memcpy(&value, state_of_qemu + 8 + 16 * 8, 8);
	assert_int_equal(value, cpu.regs.rip);
	memcpy(&word, state_of_qemu + 8 + 18 * 8 + 8, 4);
	assert_int_equal(word, 0xa09b00); /* 64-bit code, accessed */
	memcpy(&value, state_of_qemu + 392 + 3 * 8, 8);
	assert_int_equal(value, TABLES);
	memcpy(&value, state_of_qemu + 432, 8);
	assert_int_equal(value, 0xabc4);
}

static void test_many_cpus(void **state)
{
	const char *path = in_dir("many");
	struct vmcore_file f;

	(void)state;
	make_memory(MIB(2));
	put_info(0x3000, "6.1", 0);
	f = dump(path, 255, -1);
	assert_int_equal(f.what, VMCORE_HAS_INFO);
	vmcore_file_close(&f);
	readelf(path);
	expect("VMCOREINFO");
}

/* Two regions with a hole; what was never touched is neither in the file nor, by being looked at, in memory. */
static void test_sparse(void **state)
{
	const char *path = in_dir("sparse");
	int pagemap = mem_open_pagemap();
	uint64_t touched[MEM_TOUCHED_PAGES / 64];
	struct vmcore_layout l;
	struct vmcore_file f;
	struct stat st;

	(void)state;
	assert_true(pagemap >= 0);
	make_memory(GIB(5));
	madvise(mem_ptr(mem, 0, MEM_HOLE_START), MEM_HOLE_START, MADV_NOHUGEPAGE);
	madvise(mem_ptr(mem, MEM_HOLE_END, GIB(2)), GIB(2), MADV_NOHUGEPAGE);
	put(GIB(4) + 0x1000, 1);
	put(GIB(4) + 0x3000, 0); /* touched, and zero */
	put(GIB(6) - 8, 2);
	f = dump(path, 4, pagemap);
	vmcore_file_close(&f);
	vmcore_plan(&l, mem, 4);
	assert_int_equal(l.nr_pieces, 3);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, l.bytes);
	assert_true(st.st_blocks * 512 < 65536);
	assert_int_equal(read_u64(path, l.pieces[2].offset + 0x1000), 1);
	assert_int_equal(read_u64(path, l.pieces[2].offset + GIB(2) - 8), 2);
	mem_find_touched(mem, pagemap, GIB(4), touched);
	assert_int_equal(touched[0], 0xa);
	assert_int_equal(touched[1], 0);
	/* What is not known to have been zero has to be looked at. */
	mem->starts_zero = false;
	mem_find_touched(mem, pagemap, GIB(4), touched);
	assert_int_equal(touched[0], UINT64_MAX);
	mem->starts_zero = true;
	mem_find_touched(mem, -1, GIB(4), touched);
	assert_int_equal(touched[7], UINT64_MAX);
	readelf(path);
	close(pagemap);
}

/* What is there is worth having. */
static void test_silent_cpu(void **state)
{
	static struct vmcore_image image;
	unsigned int broken = 1;
	struct vmcore_file f;

	(void)state;
	make_memory(MIB(2));
	vmcore_image_init(&image, mem, -1, 3, read_some_cpu, &broken);
	assert_int_equal(vmcore_file_open(&f, "dump", in_dir("silent"), true), 0);
	assert_int_equal(access(in_dir("silent"), F_OK), -1);
	assert_int_equal(save(&image, &f), 1);
	assert_int_equal(f.what, VMCORE_LACKS_CPU);
	assert_int_equal(vmcore_file_commit(&f), 0);
	vmcore_file_close(&f);
	readelf(in_dir("silent"));
	expect("pid: 2");
	expect("rip:      0x0000000000000000");
	expect("rip:      0x0000000000003010");
}

/* ---- VMCOREINFO ---- */

static void expect_release(struct vmcore_info *info, const char *release)
{
	uint8_t note[VMCORE_INFO_BYTES];
	uint32_t bytes = vmcore_info_get(info, mem, note);
	char first[64];

	snprintf(first, sizeof(first), "OSRELEASE=%s\n", release);
	assert_true(bytes > 24 + strlen(first) && bytes % 4 == 0);
	assert_memory_equal(note + 24, first, strlen(first));
}

/* The note of the kernel that runs, among those of others, with tables of four and of five levels. */
static void test_info_choice(void **state)
{
	(void)state;
	make_memory(MIB(64));
	put_info(0x10000, "5.0-old", MIB(3));
	put_info(0x20000, "6.1-this", MIB(16));
	put_info(0x30000, "6.2-crash", MIB(32));
	for (int five = 0; five < 2; five++) {
		struct vmcore_info info = VMCORE_INFO_NONE;
		struct registers cpu = some_cpu(0);

		for (gpa_t gpa = 0; gpa < MIB(1); gpa += 4096)
			vmcore_info_look(&info, mem, gpa);
		assert_int_equal(info.nr, 3);
		expect_release(&info, "5.0-old"); /* as long as nothing else is known */
		map_text(TABLES, MIB(32), five);
		cpu.sregs.cr4 |= five ? 0x1000 : 0;
		/* In user mode with the tables of that, which lack the kernel. */
		cpu.sregs.cr3 = TABLES | 0x1000;
		vmcore_info_ask(&info, mem, &cpu);
		assert_int_equal(info.chosen, 1);
		expect_release(&info, "6.1-this");
		/* Once is enough. */
		map_text(TABLES, MIB(48), five);
		vmcore_info_ask(&info, mem, &cpu);
		assert_int_equal(info.chosen, 1);
		mem_zero(mem, TABLES, 0x10000);
	}
}

/* Not in long mode, no paging, no tables, tables that lead out of memory or into a circle. */
static void test_info_hostile_tables(void **state)
{
	struct vmcore_info info = VMCORE_INFO_NONE;
	struct registers cpu = some_cpu(0);

	(void)state;
	make_memory(MIB(4));
	put_info(0, "6.1", MIB(1));
	vmcore_info_look(&info, mem, 0);
	map_text(TABLES, MIB(2), false);
	cpu.sregs.efer = 0;
	vmcore_info_ask(&info, mem, &cpu);
	cpu = some_cpu(0);
	cpu.sregs.cr0 = 0;
	vmcore_info_ask(&info, mem, &cpu);
	cpu = some_cpu(0);
	for (uint64_t cr3 = 0; cr3 < 64; cr3++) {
		cpu.sregs.cr3 = 1ull << cr3 | 0xfff;
		if ((cpu.sregs.cr3 & ~0xfffull) != TABLES)
			vmcore_info_ask(&info, mem, &cpu);
	}
	assert_int_equal(info.chosen, -1);
	put(TABLES + 511 * 8, UINT64_MAX);
	cpu.sregs.cr3 = TABLES;
	vmcore_info_ask(&info, mem, &cpu);
	put(TABLES + 511 * 8, TABLES | 1);
	vmcore_info_ask(&info, mem, &cpu);
	assert_int_equal(info.chosen, -1);
	expect_release(&info, "6.1");
}

/* The kernel itself has a segment by its own addresses, if it is in RAM. */
static void test_kernel_segment(void **state)
{
	static const struct {
		int64_t moved;
		const char *segment;
	} kernels[] = {
		{ 0, "LOAD           0x1002000 0xffffffff81000000 0x0000000001000000 0x3000000 0x3000000" },
		{ MIB(46), "LOAD           0x3e02000 0xffffffff81000000 0x0000000003e00000 0x200000 0x200000" },
		{ MIB(48), NULL },
		{ -(int64_t)MIB(17), NULL },
		{ INT64_MAX, NULL },
		{ INT64_MIN, NULL },
	};

	(void)state;
	make_memory(MIB(64));
	for (size_t i = 0; i < ARRAY_SIZE(kernels); i++) {
		struct vmcore_file f;

		put_info(0x3000, "6.1", kernels[i].moved);
		f = dump(in_dir("kernel"), 1, -1);
		vmcore_file_close(&f);
		readelf(in_dir("kernel"));
		if (kernels[i].segment)
			expect(kernels[i].segment);
		else
			assert_null(strstr(text, "0xffffffff81"));
	}
}

static void test_info_lies(void **state)
{
	static const struct {
		unsigned int at;
		uint8_t byte;
	} lies[] = {
		{ 0, 12 },
		{ 1, 1 },
		{ 8, 1 },
		{ 12, 'X' },
		{ 22, 'X' },
		{ 24, 'x' },
		{ 33, 'x' },
		{ 40, 0 },
		{ 41, 0x7f },
		{ 42, 0x80 },
		{ 43, '\x1b' },
	};
	struct vmcore_info info = VMCORE_INFO_NONE;
	uint8_t note[VMCORE_INFO_BYTES];
	uint32_t word;

	(void)state;
	make_memory(MIB(2));
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		put_info(0, "6.1", 0);
		mem_write(mem, lies[i].at, &lies[i].byte, 1);
		vmcore_info_look(&info, mem, 0);
		assert_int_equal(info.nr, 0);
	}
	assert_int_equal(vmcore_info_get(&info, mem, note), 0);
	/* Too long, nothing, and one that memory's end cuts. */
	for (word = 4097; word; word <<= 1) {
		put_info(0, "6.1", 0);
		mem_write(mem, 4, &word, 4);
		vmcore_info_look(&info, mem, 0);
	}
	word = 0;
	mem_write(mem, 4, &word, 4);
	vmcore_info_look(&info, mem, 0);
	put_info(MIB(2) - 4096, "6.1", 0);
	word = 4073;
	mem_write(mem, MIB(2) - 4096 + 4, &word, 4);
	vmcore_info_look(&info, mem, MIB(2) - 4096);
	assert_int_equal(info.nr, 0);
	/* As many as there is room for, and then one that is gone when it is wanted. */
	put_info(0, "6.1", 0);
	for (unsigned int i = 0; i < 2 * VMCORE_INFO_MAX_FOUND; i++)
		vmcore_info_look(&info, mem, 0);
	assert_int_equal(info.nr, VMCORE_INFO_MAX_FOUND);
	assert_true(vmcore_info_get(&info, mem, note) > 0);
	put(0, 0);
	assert_int_equal(vmcore_info_get(&info, mem, note), 0);
}

/* The longest there is: a page of text. */
static void test_info_longest(void **state)
{
	struct vmcore_info info = VMCORE_INFO_NONE;
	uint8_t note[VMCORE_INFO_BYTES];
	char lines[4096];
	uint32_t bytes = 4096;

	(void)state;
	make_memory(MIB(2));
	put_info(0x1000, "6.1", 0);
	memset(lines, 'x', sizeof(lines));
	memcpy(lines, "OSRELEASE=6.1\n", 14);
	mem_write(mem, 0x1000 + 24, lines, sizeof(lines));
	mem_write(mem, 0x1000 + 4, &bytes, 4);
	vmcore_info_look(&info, mem, 0x1000);
	assert_int_equal(info.nr, 1);
	assert_int_equal(vmcore_info_get(&info, mem, note), VMCORE_INFO_BYTES);
	assert_memory_equal(note + 24, lines, sizeof(lines));
}

/* ---- files and streams ---- */

static void expect_refusal(const char *path, int rc, const char *message)
{
	char said[512];
	struct vmcore_file f;
	int saved = begin_capture(), got = vmcore_file_open(&f, "dump", path, false);

	end_capture(saved, said, sizeof(said));
	assert_int_equal(got, rc);
	if (!strstr(said, message))
		fail_msg("%s: %s", path, said);
}

static void test_names(void **state)
{
	struct vmcore_file f;
	char name[300];

	(void)state;
	run_in(dir, "echo secret >text; : >empty; mkdir d; mkfifo fifo; ln -s text link; ln -s core2 fresh");
	expect_refusal(in_dir("text"), -EEXIST, "/text: there is a file of that name, and it is no core file");
	expect_refusal(in_dir("link"), -EEXIST, "no core file");
	expect_refusal(in_dir("d"), -EINVAL, "/d: not a regular file");
	expect_refusal(in_dir("fifo"), -EINVAL, "/fifo: not a regular file");
	expect_refusal("/dev/null", -EINVAL, "/dev/null: not a regular file");
	expect_refusal(in_dir("nowhere/core"), -ENOENT, "No such file or directory");
	expect_refusal(in_dir("text/core"), -ENOTDIR, "Not a directory");
	expect_refusal(in_dir("new/"), -EISDIR, "");
	expect_refusal("", -EISDIR, "");
	memset(name, 'n', sizeof(name));
	name[256] = '\0';
	expect_refusal(in_dir(name), -ENAMETOOLONG, "");
	assert_string_equal(run_in(dir, "cat text"), "secret\n");
	/* The longest name there is, and one that is free, though its link is not. */
	name[255] = '\0';
	assert_int_equal(vmcore_file_open(&f, "dump", in_dir(name), true), 0);
	assert_int_equal(vmcore_file_commit(&f), 0);
	vmcore_file_close(&f);
	assert_int_equal(unlink(in_dir(name)), 0);
	assert_int_equal(vmcore_file_open(&f, "dump", in_dir("empty"), false), 0);
	assert_int_equal(vmcore_file_commit(&f), 0);
	vmcore_file_close(&f);
	assert_string_equal(run_in(dir, "stat -c %a empty"), "600\n");
}

/* In a process that is killed when it renames a file. */
static void die_at_renaming(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_renameat2, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = sizeof(code) / sizeof(*code), .filter = code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		_exit(2);
}

/* A process that is killed in the middle leaves nothing but the file, or none: a new one is not renamed. */
static void test_killed_commit(void **state)
{
	struct vmcore_file f;
	pid_t child;
	int status;

	(void)state;
	run_in(dir, "mkdir killed");
	assert_int_equal(vmcore_file_open(&f, "dump", in_dir("killed/core"), false), 0);
	child = fork();
	if (!child) {
		die_at_renaming();
		_exit(vmcore_file_commit(&f) ? 1 : 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_string_equal(run_in(dir, "ls -A killed"), "core\n");
	vmcore_file_close(&f);
}

static int feed_record(struct vmcore_file *f, uint32_t kind, uint64_t offset, uint32_t bytes)
{
	struct vmcore_record r = { offset, bytes, kind };

	return vmcore_file_feed(f, &r, sizeof(r));
}

/* What a VM that a guest has taken over may say. */
static void test_hostile_stream(void **state)
{
	static const struct {
		struct vmcore_record first, second;
		int rc;
	} streams[] = {
		{ { 0, 0, VMCORE_BEGIN }, { 0, 0, 0 }, -EPROTO },
		{ { UINT64_MAX, 0, VMCORE_BEGIN }, { 0, 0, 0 }, -EPROTO },
		{ { 0, 4, VMCORE_DATA }, { 0, 0, 0 }, -EPROTO },
		{ { 0, 0, VMCORE_END }, { 0, 0, 0 }, -EPROTO },
		{ { 1, 0, VMCORE_AT }, { 0, 0, 0 }, -EPROTO },
		{ { 0, 0, 0 }, { 0, 0, 0 }, -EPROTO },
		{ { 0, 0, VMCORE_END + 1 }, { 0, 0, 0 }, -EPROTO },
		{ { 4096, 0, VMCORE_BEGIN }, { 4096, 0, VMCORE_BEGIN }, -EPROTO },
		{ { 4096, 0, VMCORE_BEGIN }, { 0, 0, VMCORE_DATA }, -EPROTO },
		{ { 4096, 0, VMCORE_BEGIN }, { 1, 4096, VMCORE_DATA }, -EPROTO },
		{ { 4096, 0, VMCORE_BEGIN }, { UINT64_MAX, 2, VMCORE_DATA }, -EPROTO },
		{ { 4096, 0, VMCORE_BEGIN }, { 4097, 0, VMCORE_AT }, -EPROTO },
		{ { 4096, 0, VMCORE_BEGIN }, { 4096, 0, VMCORE_AT }, 0 },
		{ { MIB(1), 0, VMCORE_BEGIN }, { 0, VMCORE_MAX_DATA_BYTES + 1, VMCORE_DATA }, -EPROTO },
		{ { MIB(1), 0, VMCORE_BEGIN }, { 0, VMCORE_MAX_DATA_BYTES, VMCORE_DATA }, 0 },
		{ { 4096, 0, VMCORE_BEGIN }, { 0, 0, VMCORE_END }, 1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(streams); i++) {
		struct vmcore_file f;
		int rc;

		assert_int_equal(vmcore_file_open(&f, "dump", in_dir("hostile"), false), 0);
		rc = vmcore_file_feed(&f, &streams[i].first, sizeof(streams[i].first));
		if (!rc)
			rc = vmcore_file_feed(&f, &streams[i].second, sizeof(streams[i].second));
		if (rc != streams[i].rc)
			fail_msg("stream %zu: %d", i, rc);
		vmcore_file_close(&f);
		assert_int_equal(access(in_dir("hostile"), F_OK), -1);
	}
}

/* No more is written than the file has. */
static void test_endless_stream(void **state)
{
	struct vmcore_file f;
	uint8_t page[4096];

	(void)state;
	memset(page, 1, sizeof(page));
	assert_int_equal(vmcore_file_open(&f, "dump", in_dir("endless"), false), 0);
	assert_int_equal(feed_record(&f, VMCORE_BEGIN, 3 * sizeof(page), 0), 0);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(feed_record(&f, VMCORE_DATA, 0, sizeof(page)), 0);
		assert_int_equal(vmcore_file_feed(&f, page, sizeof(page)), 0);
	}
	assert_int_equal(feed_record(&f, VMCORE_DATA, 0, 1), -EPROTO);
	vmcore_file_close(&f);
}

/* Nor can one that only says how far it has come, forwards and back or not at all. */
static void test_endless_progress(void **state)
{
	struct vmcore_file f;
	unsigned int n = 0;

	(void)state;
	assert_int_equal(vmcore_file_open(&f, "dump", in_dir("progress"), false), 0);
	assert_int_equal(feed_record(&f, VMCORE_BEGIN, GIB(1), 0), 0);
	while (n < 10000 && !feed_record(&f, VMCORE_AT, MIB(1), 0))
		n++;
	assert_in_range(n, 512, 600);
	vmcore_file_close(&f);
	assert_int_equal(vmcore_file_open(&f, "dump", in_dir("progress"), false), 0);
	assert_int_equal(feed_record(&f, VMCORE_BEGIN, GIB(1), 0), 0);
	assert_int_equal(feed_record(&f, VMCORE_AT, MIB(2), 0), 0);
	assert_int_equal(feed_record(&f, VMCORE_AT, MIB(1), 0), -EPROTO);
	vmcore_file_close(&f);
}

static void test_full_disk(void **state)
{
	struct vmcore_file f;
	uint8_t page[4096] = { 1 };
	int full = open("/dev/full", O_WRONLY);

	(void)state;
	assert_true(full >= 0);
	assert_int_equal(vmcore_file_open(&f, "dump", in_dir("full"), false), 0);
	assert_int_equal(feed_record(&f, VMCORE_BEGIN, sizeof(page), 0), 0);
	assert_int_equal(feed_record(&f, VMCORE_DATA, 0, sizeof(page)), 0);
	dup2(full, f.fd);
	close(full);
	assert_int_equal(vmcore_file_feed(&f, page, sizeof(page)), -ENOSPC);
	vmcore_file_close(&f);
	assert_int_equal(access(in_dir("full"), F_OK), -1);
}

/* Whoever is killed between two names leaves one by which the next one finds it. */
static void test_name_between(void **state)
{
	struct vmcore_file f;

	(void)state;
	assert_int_equal(vmcore_file_open(&f, "dump", in_dir("taken"), false), 0);
	assert_string_equal(f.hidden, "");
	f.between = ".taken.new";
	assert_int_equal(feed_record(&f, VMCORE_BEGIN, 4096, 0), 0);
	assert_int_equal(feed_record(&f, VMCORE_END, 0, 0), 1);
	/* What cannot be replaced is as good as to be killed then. */
	assert_int_equal(mkdir(in_dir("taken"), 0700), 0);
	assert_int_equal(vmcore_file_commit(&f), -EISDIR);
	assert_int_equal(access(in_dir(".taken.new"), F_OK), 0);
	vmcore_file_close(&f);
	assert_int_equal(access(in_dir(".taken.new"), F_OK), -1);
	assert_int_equal(rmdir(in_dir("taken")), 0);
}

/* ---- the client ---- */

/* A VM that hangs up in the middle: it answers @times times. */
static pid_t start_vm_that_hangs_up(const char *path, int times)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const struct vmcore_record begin = { MIB(1), 0, VMCORE_BEGIN };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char request[256];
	pid_t pid;

	assert_true(strlen(path) < sizeof(addr.sun_path));
	strcpy(addr.sun_path, path);
	assert_int_equal(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(listener, 4), 0);
	pid = fork();
	for (; !pid && times; times--) {
		int fd = accept(listener, NULL, NULL);

		if (read(fd, request, sizeof(request)) <= 0 || dprintf(fd, "{\"v\":1,\"ok\":true}\n") < 0 ||
		    write(fd, &begin, sizeof(begin)) < 0)
			_exit(1);
		close(fd);
	}
	if (!pid)
		_exit(0);
	close(listener);
	return pid;
}

/* It may have ended, or have lost patience. */
static void test_vm_hangs_up(void **state)
{
	static const char *const messages[] = {
		"lkvm: dump: vm: it has ended meanwhile\n",
		"lkvm: dump: vm: it has given up, and goes on: for half a minute nothing of it was taken\n",
	};
	struct registry_vm vm = { .name = "vm", .lock = -1 };
	struct vmcore_file f;
	struct receive r;
	char said[512];

	(void)state;
	for (int i = 0; i < 2; i++) {
		pid_t pid;
		int capture;

		snprintf(vm.socket_path, sizeof(vm.socket_path), "%s", in_dir("sock"));
		unlink(vm.socket_path);
		pid = start_vm_that_hangs_up(vm.socket_path, 1 + i);
		assert_int_equal(vmcore_file_open(&f, "dump", in_dir("cut"), false), 0);
		capture = begin_capture();
		receive_begin(&r, "dump", &vm, "cut", &f);
		assert_int_equal(receive_file(&r, "{}\n"), -EPIPE);
		receive_end(&r);
		end_capture(capture, said, sizeof(said));
		assert_string_equal(said, messages[i]);
		vmcore_file_close(&f);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
	}
	unlink(vm.socket_path);
}

/* ---- on the loop ---- */

#define PATIENCE_NS	 300000000u
#define LONG_PATIENCE_NS 1000000000u /* the machine that tests may stall, too */

/* Takes what comes as a client or the process of --dump-on-panic does. */
struct receiver {
	struct event_loop *loop;
	struct vmcore *vmcore;
	int late; /* timer */
	int socket, watch;
	unsigned int reads, most_reads; /* then it does what it does */
	enum {
		STOPS,
		LEAVES,
		ANSWERS,
		ANSWERS_LATE,
	} then;
	int32_t answer;
	struct vmcore_file file;
	int rc;	  /* of the file */
	int done; /* of the sender; 1: not yet */
	bool unwanted;
};

static void on_records(void *arg, uint32_t events)
{
	static uint8_t bytes[1 << 20];
	struct receiver *r = arg;
	ssize_t n = -1;

	(void)events;
	if (r->reads < r->most_reads) {
		n = socket_recv(r->socket, bytes, sizeof(bytes));
		if (n > 0 && !r->rc)
			r->rc = vmcore_file_feed(&r->file, bytes, (size_t)n);
		r->reads++;
	}
	if (n == 0 || r->rc == 1 || r->reads == r->most_reads) {
		event_modify(r->loop, r->watch, 0);
		if (r->then == ANSWERS_LATE)
			event_timer_set(r->loop, r->late, 2ull * LONG_PATIENCE_NS, 0);
		if (r->then == ANSWERS)
			assert_int_equal(socket_send(r->socket, &r->answer, sizeof(r->answer)), 4);
		if (r->then == LEAVES)
			shutdown(r->socket, SHUT_RDWR);
	}
}

static void answer_late(void *arg, uint32_t events)
{
	struct receiver *r = arg;

	(void)events;
	assert_int_equal(socket_send(r->socket, &r->answer, sizeof(r->answer)), 4);
}

static void on_done(void *arg, int rc)
{
	struct receiver *r = arg;

	assert_false(vmcore_is_busy(r->vmcore));
	r->done = rc;
	event_stop(r->loop);
}

static bool is_unwanted(void *arg)
{
	const struct receiver *r = arg;

	return r->unwanted;
}

static void nothing_came(void *arg, uint32_t events)
{
	struct receiver *r = arg;
	char byte;

	(void)events;
	assert_int_equal(socket_recv(r->socket, &byte, 1), -1);
	vmcore_go(r->vmcore);
}

/* Of a machine of 4 MiB that are all in use: more than any socket takes. What has become of it is in @r. */
static void stream(struct receiver *r, int type)
{
	struct vmcore_source source = {
		.nr_cpus = 2,
		.read_cpu = read_some_cpu,
		.patience_ns = r->then == ANSWERS_LATE ? LONG_PATIENCE_NS : PATIENCE_NS,
	};
	struct vmcore_client client = { .done = on_done, .is_unwanted = is_unwanted, .arg = r };
	int pair[2], timer;

	make_memory(MIB(4));
	for (gpa_t gpa = 0; gpa < MIB(4); gpa += 8)
		put(gpa, ~gpa);
	assert_int_equal(event_loop_create(&r->loop), 0);
	assert_int_equal(socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	r->socket = pair[1];
	r->watch = event_add(r->loop, pair[1], EPOLLIN, on_records, r);
	source.loop = r->loop;
	source.mem = mem;
	r->most_reads = r->most_reads ? r->most_reads : UINT32_MAX;
	r->done = 1;
	assert_int_equal(vmcore_file_open(&r->file, "dump", in_dir("stream"), false), 0);
	assert_int_equal(vmcore_create(&r->vmcore, &source), 0);
	vmcore_go(r->vmcore); /* of nothing */
	client.socket = pair[0];
	client.answers = r->then == ANSWERS || r->then == ANSWERS_LATE;
	r->late = event_timer_create(r->loop, answer_late, r);
	vmcore_start(r->vmcore, &client);
	timer = event_timer_create(r->loop, nothing_came, r);
	event_timer_set(r->loop, timer, 20000000, 0);
	event_run(r->loop);
	vmcore_destroy(r->vmcore);
	event_loop_destroy(r->loop);
	if (r->rc == 1)
		assert_int_equal(vmcore_file_commit(&r->file), 0);
	vmcore_file_close(&r->file);
	close(r->socket);
}

static void test_streams(void **state)
{
	static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET };
	struct vmcore_layout l;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		struct receiver r = { .then = ANSWERS };

		stream(&r, types[i]);
		assert_int_equal(r.done, 0);
		assert_int_equal(r.rc, 1);
		vmcore_plan(&l, mem, 2);
		for (uint64_t at = 0; at < MIB(1); at += 4096)
			assert_int_equal(read_u64(in_dir("stream"), l.pieces[0].offset + at), ~at);
		readelf(in_dir("stream"));
		tear_down(NULL);
	}
}

static void test_bad_receivers(void **state)
{
	static const struct {
		struct receiver r;
		int done;
	} cases[] = {
		{ { .then = STOPS, .most_reads = 3 }, -ETIMEDOUT },
		{ { .then = LEAVES, .most_reads = 3 }, -EPIPE },
		{ { .then = ANSWERS, .most_reads = 3, .answer = -ENOSPC }, -ENOSPC },
		{ { .then = ANSWERS, .most_reads = 3, .answer = 0 }, -EPIPE },
		{ { .then = ANSWERS, .most_reads = 3, .answer = 1 }, -EPIPE },
		{ { .then = ANSWERS, .answer = -EIO }, -EIO },
		{ { .then = ANSWERS_LATE }, 0 },
		{ { .then = STOPS, .most_reads = 3, .unwanted = true }, -ECANCELED },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct receiver r = cases[i].r;

		stream(&r, i % 2 ? SOCK_STREAM : SOCK_SEQPACKET);
		if (r.done != cases[i].done)
			fail_msg("receiver %zu: %d", i, r.done);
		tear_down(NULL);
	}
}

/* ---- the process of --dump-on-panic ---- */

static void start_saver(struct vmcore_saver *saver, const char *path)
{
	static struct sandbox sandbox;

	sandbox_init(&sandbox, SANDBOX_ON);
	assert_int_equal(vmcore_saver_start(saver, path, MIB(4), &sandbox), 0);
	assert_true(saver->socket >= 0);
	assert_int_equal(saver->file.fd, -1);
	assert_string_not_equal(run_in(dir, "ls -A saved"), "");
}

static void saver_done(void *arg, int rc)
{
	struct receiver *r = arg;

	r->done = rc;
	event_stop(r->loop);
}

/* It writes, names the file, and answers; or what is left of it is nothing. */
static void test_saver(void **state)
{
	struct vmcore_source source = { .nr_cpus = 2, .read_cpu = read_some_cpu, .patience_ns = 20000000000ull };
	struct vmcore_saver saver = VMCORE_SAVER_NONE;
	struct receiver r = { .done = 1 };
	struct vmcore_client client = { .answers = true, .done = saver_done, .arg = &r };
	const struct vmcore_record too_large[] = {
		{ MIB(4) + VMCORE_MOST_BESIDE_RAM + 1, 0, VMCORE_BEGIN },
		{ .kind = VMCORE_END },
	};
	char word = 'x';
	int32_t answer = 0;

	(void)state;
	run_in(dir, "mkdir saved");
	make_memory(MIB(4));
	for (gpa_t gpa = 0; gpa < MIB(4); gpa += 4096)
		put(gpa, ~gpa);
	start_saver(&saver, in_dir("saved/core"));
	assert_int_equal(event_loop_create(&r.loop), 0);
	source.loop = r.loop;
	source.mem = mem;
	assert_int_equal(vmcore_create(&r.vmcore, &source), 0);
	client.socket = saver.socket;
	saver.socket = -1;
	vmcore_start(r.vmcore, &client);
	vmcore_go(r.vmcore);
	event_run(r.loop);
	assert_int_equal(r.done, 0);
	assert_string_equal(run_in(dir, "ls -A saved"), "core\n");
	readelf(in_dir("saved/core"));
	vmcore_destroy(r.vmcore);
	event_loop_destroy(r.loop);
	/* Nothing came, or the VM is gone, or says something else. */
	start_saver(&saver, in_dir("saved/other"));
	vmcore_saver_stop(&saver);
	assert_string_equal(run_in(dir, "ls -A saved"), "core\n");
	start_saver(&saver, in_dir("saved/other"));
	assert_int_equal(send(saver.socket, "something that is no record", 27, 0), 27);
	assert_int_equal(recv(saver.socket, &word, 1, 0), 1);
	assert_string_equal(run_in(dir, "ls -A saved"), "core\n");
	vmcore_saver_stop(&saver);
	vmcore_saver_stop(&saver);
	/* A file that is larger than one of this machine can be. */
	start_saver(&saver, in_dir("saved/other"));
	assert_int_equal(send(saver.socket, too_large, sizeof(too_large), 0), sizeof(too_large));
	assert_int_equal(recv(saver.socket, &answer, sizeof(answer), 0), sizeof(answer));
	assert_int_equal(answer, -EPROTO);
	assert_string_equal(run_in(dir, "ls -A saved"), "core\n");
	vmcore_saver_stop(&saver);
}

/* One byte more than a message takes beside the head of its record. */
#define ODD_BYTES (VMCORE_MESSAGE_BYTES - (uint32_t)sizeof(struct vmcore_record) + 1)

static bool next_odd(void *maker, struct vmcore_record *record, const void **data)
{
	static const uint8_t bytes[ODD_BYTES] = { [ODD_BYTES - 1] = 7 };
	static const struct vmcore_record records[] = {
		{ ODD_BYTES, 0, VMCORE_BEGIN },
		{ 0, ODD_BYTES, VMCORE_DATA },
		{ 0, 0, VMCORE_END },
	};
	unsigned int *i = maker;

	if (*i == ARRAY_SIZE(records))
		return false;
	*data = *i == 1 ? bytes : NULL;
	*record = records[(*i)++];
	return true;
}

/* A byte that is left of a record is none of the saver's orders. */
static void test_last_byte(void **state)
{
	struct vmcore_source source = { .nr_cpus = 2, .read_cpu = read_some_cpu, .patience_ns = 20000000000ull };
	struct vmcore_saver saver = VMCORE_SAVER_NONE;
	struct receiver r = { .done = 1 };
	unsigned int at = 0;
	struct vmcore_client client = {
		.answers = true,
		.done = saver_done,
		.arg = &r,
		.next = next_odd,
		.maker = &at,
	};
	struct stat st;

	(void)state;
	run_in(dir, "mkdir -p saved");
	make_memory(MIB(4));
	start_saver(&saver, in_dir("saved/odd"));
	assert_int_equal(event_loop_create(&r.loop), 0);
	source.loop = r.loop;
	source.mem = mem;
	assert_int_equal(vmcore_create(&r.vmcore, &source), 0);
	client.socket = saver.socket;
	vmcore_start(r.vmcore, &client);
	vmcore_go(r.vmcore);
	event_run(r.loop);
	assert_int_equal(r.done, 0);
	assert_int_equal(stat(in_dir("saved/odd"), &st), 0);
	assert_int_equal(st.st_size, ODD_BYTES);
	vmcore_destroy(r.vmcore);
	event_loop_destroy(r.loop);
}

static int make_directory(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_directory(void **state)
{
	char line[64];

	(void)state;
	snprintf(line, sizeof(line), "rm -rf %s", dir); /* another of us may be at work */
	return run_tool(line, text, sizeof(text));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_elf, tear_down),
		cmocka_unit_test(test_notes),
		cmocka_unit_test_teardown(test_many_cpus, tear_down),
		cmocka_unit_test_teardown(test_sparse, tear_down),
		cmocka_unit_test_teardown(test_silent_cpu, tear_down),
		cmocka_unit_test_teardown(test_info_choice, tear_down),
		cmocka_unit_test_teardown(test_info_hostile_tables, tear_down),
		cmocka_unit_test_teardown(test_kernel_segment, tear_down),
		cmocka_unit_test_teardown(test_info_lies, tear_down),
		cmocka_unit_test_teardown(test_info_longest, tear_down),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_killed_commit),
		cmocka_unit_test(test_hostile_stream),
		cmocka_unit_test(test_endless_stream),
		cmocka_unit_test(test_endless_progress),
		cmocka_unit_test(test_name_between),
		cmocka_unit_test(test_vm_hangs_up),
		cmocka_unit_test(test_full_disk),
		cmocka_unit_test_teardown(test_streams, tear_down),
		cmocka_unit_test_teardown(test_bad_receivers, tear_down),
		cmocka_unit_test_teardown(test_saver, tear_down),
		cmocka_unit_test_teardown(test_last_byte, tear_down),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
