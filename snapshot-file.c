// SPDX-License-Identifier: GPL-2.0-only
/*
 * The file of a snapshot (snapshot-file.h).
 *
 * Owns nothing. Sums find what a disk or a copy has damaged; against who wants to deceive each number is
 * checked, here and where it is used. Holes are skipped when RAM is read, so a restore costs what the
 * guest had touched.
 *
 * Sources: lseek(2) (SEEK_DATA); FNV-1a for the sums.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "snapshot-file.h"
#include "util.h"

#define RAM_ALIGN   MIB(2)
#define PAGE_BYTES  4096u
#define MAX_DEVICES 64u

static const char snapshot_magic[8] = { 'L', 'K', 'V', 'M', 'S', 'N', 'A', 'P' };

void snapshot_fill(struct snapshot_header *h, const void *state, uint64_t state_bytes)
{
	memcpy(h->magic, snapshot_magic, sizeof(h->magic));
	h->format = SNAPSHOT_FORMAT;
	h->header_bytes = sizeof(*h);
	h->state_bytes = state_bytes;
	h->state_sum = snapshot_sum(state, state_bytes);
	h->ram_offset = align_up(SNAPSHOT_STATE_AT + state_bytes, RAM_ALIGN);
	h->file_bytes = h->ram_offset + h->machine.ram_bytes;
	h->header_sum = snapshot_sum(h, offsetof(struct snapshot_header, header_sum));
}

void snapshot_set_ram_sum(struct snapshot_header *h, uint64_t sum)
{
	h->ram_sum = sum;
	h->header_sum = snapshot_sum(h, offsetof(struct snapshot_header, header_sum));
}

/* Four at a time, which a CPU multiplies at once. Another word in one place is another sum. */
static uint64_t sum_page(gpa_t gpa, const uint8_t *page)
{
	uint64_t sums[4] = { gpa, gpa, gpa, gpa }, any = 0;

	for (size_t at = 0; at < PAGE_BYTES; at += sizeof(sums)) {
		uint64_t words[4];

		memcpy(words, page + at, sizeof(words));
		for (unsigned int i = 0; i < 4; i++) {
			sums[i] = (sums[i] ^ words[i]) * 0x9e3779b97f4a7c15ull;
			any |= words[i];
		}
	}
	for (unsigned int i = 1; i < 4; i++)
		sums[0] = (sums[0] << 13 | sums[0] >> 51) + sums[i];
	return any ? sums[0] : 0;
}

uint64_t snapshot_sum_ram(gpa_t gpa, const void *pages, uint64_t bytes)
{
	uint64_t sum = 0;

	for (uint64_t at = 0; at < bytes; at += PAGE_BYTES)
		sum += sum_page(gpa + at, (const uint8_t *)pages + at);
	return sum;
}

uint64_t snapshot_ram_at(const struct snapshot_header *h, gpa_t gpa)
{
	return h->ram_offset + (gpa < MEM_HOLE_END ? gpa : gpa - (MEM_HOLE_END - MEM_HOLE_START));
}

/* ---- reading ---- */

static int refuse_file(const char *path, const char *why)
{
	log_error("restore: %s: %s", path, why);
	return -EINVAL;
}

/* One that waits for its command has none that runs, and none of both is a kernel's business that is no Linux. */
static bool machine_is_possible(const struct snapshot_machine *m, unsigned int max_cpus)
{
	const uint8_t flags = m->mmio | m->acpi | m->pit | m->rng | m->virtio_console | m->flat |
			      m->waits;
	const bool has_command = m->command != SNAPSHOT_NO_COMMAND;
	const unsigned int runs = m->flat + m->waits + has_command;

	return m->cpus && m->cpus <= max_cpus && m->ram_bytes && m->ram_bytes <= 1ull << 46 &&
	       m->ram_bytes % PAGE_BYTES == 0 && m->nr_disks <= MAX_DEVICES &&
	       m->nr_nets <= MAX_DEVICES && m->nr_ports <= MAX_DEVICES && flags <= 1 &&
	       m->nr_trees <= m->nr_disks && (!m->nr_trees || has_command || m->waits) &&
	       m->command < SNAPSHOT_NR_COMMANDS &&
	       m->results <= has_command && runs <= 1;
}

static int snapshot_check_header(const char *path, const struct snapshot_header *h, uint64_t file_bytes,
				 unsigned int max_cpus)
{
	if (memcmp(h->magic, snapshot_magic, sizeof(h->magic)))
		return refuse_file(path, "not a snapshot of lkvm's");
	if (h->format != SNAPSHOT_FORMAT || h->header_bytes != sizeof(*h)) {
		log_error("restore: %s: made by another build of lkvm: its format is %u, this one's %u\n"
			  "it can only be restored by the build that made it.",
			  path, h->format, SNAPSHOT_FORMAT);
		return -EINVAL;
	}
	if (h->header_sum != snapshot_sum(h, offsetof(struct snapshot_header, header_sum)) ||
	    !machine_is_possible(&h->machine, max_cpus) || !h->state_bytes ||
	    h->state_bytes > SNAPSHOT_MAX_STATE_BYTES ||
	    h->ram_offset != align_up(SNAPSHOT_STATE_AT + h->state_bytes, RAM_ALIGN) ||
	    h->file_bytes != h->ram_offset + h->machine.ram_bytes)
		return refuse_file(path, "its header is damaged");
	if (file_bytes != h->file_bytes) {
		log_error("restore: %s: it was cut, or has grown: %llu bytes instead of %llu", path,
			  (unsigned long long)file_bytes, (unsigned long long)h->file_bytes);
		return -EINVAL;
	}
	return 0;
}

int snapshot_read_header(int fd, const char *path, struct snapshot_header *h, unsigned int max_cpus)
{
	struct stat st;
	int rc;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return refuse_file(path, SNAPSHOT_NAME " in it is no file");
	rc = pread_all(fd, h, sizeof(*h), 0);
	if (rc)
		return rc == -ENODATA ? refuse_file(path, "not a snapshot of lkvm's: it is too short") : rc;
	return snapshot_check_header(path, h, (uint64_t)st.st_size, max_cpus);
}

int snapshot_open(const char *path, struct snapshot_header *h, unsigned int max_cpus)
{
	int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1, rc;

	if (dir >= 0)
		fd = openat(dir, SNAPSHOT_NAME, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	rc = fd < 0 ? -errno : 0;
	if (dir >= 0)
		close(dir);
	if (rc) {
		log_error("restore: %s: %s%s", path, strerror(-rc),
			  dir < 0 ? "" : "\na snapshot is a directory that `lkvm snapshot` has made.");
		return rc;
	}
	rc = snapshot_read_header(fd, path, h, max_cpus);
	if (!rc)
		return fd;
	if (rc != -EINVAL)
		log_error("restore: %s: %s", path, strerror(-rc));
	close(fd);
	return rc;
}

int snapshot_read_state(int fd, const struct snapshot_header *h, void **state)
{
	void *bytes = malloc(h->state_bytes);
	int rc = bytes ? pread_all(fd, bytes, h->state_bytes, SNAPSHOT_STATE_AT) : -ENOMEM;

	if (!rc && snapshot_sum(bytes, h->state_bytes) != h->state_sum)
		rc = -EILSEQ;
	if (rc) {
		log_error("restore: its state: %s", rc == -EILSEQ ? "the file is damaged" : strerror(-rc));
		free(bytes);
		return rc;
	}
	*state = bytes;
	return 0;
}

/* While it is in the CPU's cache. */
#define PIECE_BYTES KIB(256)

/* [gpa, end) of RAM, whole pages, from @offset of the file; adds to the sum. */
static int read_pages(int fd, const struct mem *mem, gpa_t gpa, gpa_t end, uint64_t offset, uint64_t *sum)
{
	int rc = 0;

	while (gpa < end && !rc) {
		const uint64_t bytes = min_u64(end - gpa, PIECE_BYTES);

		rc = mem_read_file(mem, gpa, bytes, fd, offset);
		if (!rc)
			*sum += snapshot_sum_ram(gpa, mem_ptr(mem, gpa, bytes), bytes);
		gpa += bytes;
		offset += bytes;
	}
	return rc;
}

/* Data of one region, from @offset of the file up to @end. Files without holes are all data. */
static int read_region(int fd, const struct mem *mem, const struct mem_region *r, uint64_t start, uint64_t *sum)
{
	const uint64_t end = start + r->size_bytes;
	uint64_t at = start;

	while (at < end) {
		off_t data = lseek(fd, (off_t)at, SEEK_DATA), hole;
		uint64_t next;
		int rc;

		if (data < 0 && errno == ENXIO)
			return 0; /* the rest of the file is a hole */
		hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		if ((uint64_t)data >= end || hole <= data)
			return hole <= data ? -EIO : 0;
		/* Where a file system's blocks are smaller, and begin in the middle of a page. */
		at = max_u64(at, align_down((uint64_t)data, PAGE_BYTES));
		next = min_u64(align_up((uint64_t)hole, PAGE_BYTES), end);
		rc = read_pages(fd, mem, r->start + (at - start), r->start + (next - start), at, sum);
		if (rc)
			return rc;
		at = next;
	}
	return 0;
}

/*
 * A guest that waits for a command touches little of what it has: it is not read ahead, and clones share
 * it. Others get huge pages.
 */
static bool is_mapped(int fd, const struct snapshot_header *h, struct mem *mem)
{
	for (unsigned int i = 0; i < mem->nr_regions; i++)
		if (mem_map_file(mem, i, fd, snapshot_ram_at(h, mem->regions[i].start)))
			return false; /* what was mapped has the same bytes as what is read now */
	return true;
}

int snapshot_read_ram(int fd, const struct snapshot_header *h, struct mem *mem)
{
	uint64_t sum = 0;
	int rc = 0;

	if (h->machine.waits && is_mapped(fd, h, mem))
		return 0;
	for (unsigned int i = 0; i < mem->nr_regions && !rc; i++)
		rc = read_region(fd, mem, &mem->regions[i], snapshot_ram_at(h, mem->regions[i].start), &sum);
	if (!rc && sum != h->ram_sum)
		rc = -EILSEQ;
	if (rc)
		log_error("restore: its memory: %s", rc == -ENODATA ? "the file was cut" :
						     rc == -EILSEQ  ? "the file is damaged" :
								      strerror(-rc));
	return rc;
}
