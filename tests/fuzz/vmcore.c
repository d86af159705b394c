// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two hostile things about a vmcore: the stream of a VM that a guest has taken over, to a file that may not become
 * larger than the stream said, and a guest's memory in which VMCOREINFO is looked for.
 *
 * The first byte says which; of a stream also in what pieces it comes. In memory the input is a page, then page
 * tables.
 */
#include "tests/fuzz/fuzz.h"

#include <sys/stat.h>

#include "control/vmcore-file.h"
#include "control/vmcore-info.h"
#include "mem.h"
#include "util.h"

#define PAGE 4096u

static void take_stream(const uint8_t *data, size_t bytes, size_t piece)
{
	struct vmcore_file f = { .dir = -1, .fd = memfd_create("fuzz", MFD_CLOEXEC) };
	struct stat st;
	int rc = 0;

	must(f.fd >= 0);
	while (bytes && !rc) {
		size_t n = min_u64(bytes, piece);

		rc = vmcore_file_feed(&f, data, n);
		data += n;
		bytes -= n;
	}
	must(rc <= 1);
	must(!fstat(f.fd, &st));
	must((uint64_t)st.st_size <= f.size && f.received <= f.size && f.at <= f.size);
	close(f.fd);
}

static void look_for_info(const uint8_t *data, size_t bytes)
{
	static struct mem *mem;
	struct vmcore_info info = VMCORE_INFO_NONE;
	struct registers cpu = { 0 };
	uint8_t note[VMCORE_INFO_BYTES];
	uint32_t got;

	must(mem || !mem_create(&mem, MIB(2)));
	mem_zero(mem, 0, 8 * PAGE);
	mem_write(mem, 0, data, min_u64(bytes, 8 * PAGE));
	for (gpa_t gpa = 0; gpa < 8 * PAGE; gpa += PAGE)
		vmcore_info_look(&info, mem, gpa);
	cpu.sregs.cr0 = 0x80000001;
	cpu.sregs.cr3 = PAGE;
	cpu.sregs.cr4 = 0x20;
	cpu.sregs.efer = 0x500;
	vmcore_info_ask(&info, mem, &cpu);
	got = vmcore_info_get(&info, mem, note);
	must(got <= sizeof(note) && !(got & 3) && !got == !info.nr);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	if (!bytes)
		return 0;
	if (*data & 1)
		take_stream(data + 1, bytes - 1, 1 + *data / 2);
	else
		look_for_info(data + 1, bytes - 1);
	return 0;
}
