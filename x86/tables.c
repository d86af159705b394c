// SPDX-License-Identifier: GPL-2.0-only
/*
 * The tables in guest memory that describe the board: ACPI, MP table, device tree, and the code at
 * the reset vector. What they say is built by acpi.c, mptable.c and fdt.c, which are pure; this
 * file decides which of them there are and writes them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "mem.h"
#include "output.h"
#include "x86/acpi.h"
#include "x86/board.h"
#include "x86/boot/boot.h"
#include "x86/cpuid.h"
#include "x86/fdt.h"
#include "x86/layout.h"
#include "x86/mptable.h"
#include "x86/tables.h"

static unsigned int nr_virtio_mmio(const struct board *b)
{
	return b->config->transport == TRANSPORT_MMIO ? b->nr_virtio : 0;
}

static int write_acpi(const struct board *b, gpa_t *rsdp)
{
	const struct acpi_input in = {
		.base = LAYOUT_ACPI,
		.cpus = b->config->cpus,
		.nr_virtio_mmio = nr_virtio_mmio(b),
	};
	uint8_t tables[LAYOUT_ACPI_MAX];
	int n;

	*rsdp = 0;
	if (!b->config->acpi)
		return 0;
	n = acpi_build(tables, sizeof(tables), &in);
	if (n < 0)
		return n;
	*rsdp = LAYOUT_ACPI;
	n = mem_write(b->host->mem, LAYOUT_ACPI, tables, (uint64_t)n);
	return n ? n : board_renew_generation(b);
}

static int write_mptable(const struct board *b)
{
	uint8_t table[LAYOUT_MPTABLE_MAX];
	int n;

	if (!b->config->mptable)
		return 0;
	n = mptable_build(table, sizeof(table), LAYOUT_MPTABLE, b->config->cpus);
	return n < 0 ? n : mem_write(b->host->mem, LAYOUT_MPTABLE, table, (uint64_t)n);
}

/*
 * Where a PC's firmware starts after a reset. Kernels jump there to reboot, Linux
 * even first of all on hardware-reduced ACPI without EFI; the code writes the
 * reset register.
 */
static int write_reset_vector(const struct board *b)
{
	static const uint8_t code[] = {
		0xba, PORT_RESET & 0xff, PORT_RESET >> 8, /* mov $PORT_RESET, %dx */
		0xb0, RESET_VALUE,			  /* mov $RESET_VALUE, %al */
		0xee,					  /* out %al, %dx */
		0xf4,					  /* hlt */
		0xeb, 0xfd,				  /* jmp to the hlt */
	};

	return mem_write(b->host->mem, LAYOUT_RESET_VECTOR, code, sizeof(code));
}

static int dump_dtb(const char *path, const void *dtb, size_t bytes)
{
	int fd = output_open(path, O_TRUNC);
	int rc = fd < 0 ? fd : 0;
	struct output out;

	output_init_own(&out, fd);
	if (!rc)
		rc = output_write_all(&out, dtb, bytes, OUTPUT_PATIENCE_MS);
	if (fd >= 0)
		close(fd);
	if (rc)
		log_error("dump-dtb: %s: %s", path,
			  rc == -ETIMEDOUT ? "nobody reads it" : strerror(-rc));
	return rc;
}

/* @dtb is to be freed, also after an error. Its bytes, 0 if none is wanted, or -errno. */
static int build_fdt(const struct board *b, const struct boot *boot, void **dtb)
{
	const struct boot_segment initrd = boot_initrd_place(boot);
	const struct fdt_input in = {
		.ram_bytes = b->host->mem->size_bytes,
		.cpus = b->config->cpus,
		.cmdline = boot_get_cmdline(boot),
		.initrd = initrd.gpa,
		.initrd_bytes = initrd.mem_bytes,
		.nr_virtio_mmio = nr_virtio_mmio(b),
		.acpi = b->config->acpi,
	};
	size_t max = fdt_bytes_needed(&in);
	int rc = 0, n;

	if (!b->config->fdt && !b->config->dump_dtb)
		return 0;
	*dtb = malloc(max);
	if (!*dtb)
		return log_enomem("fdt");
	n = fdt_build(*dtb, max, &in);
	if (n < 0) {
		log_error("fdt: the device tree does not fit into %zu bytes", max);
		return n;
	}
	if (b->config->dump_dtb)
		rc = dump_dtb(b->config->dump_dtb, *dtb, (size_t)n);
	return rc ? rc : n;
}

int tables_write(const struct board *b, struct boot *boot)
{
	void *dtb = NULL;
	gpa_t rsdp;
	int rc = write_acpi(b, &rsdp), n;

	if (!rc)
		rc = write_mptable(b);
	if (!rc)
		rc = write_reset_vector(b);
	if (rc) {
		log_error("machine: its tables do not fit: %s", strerror(-rc));
		return rc;
	}
	n = build_fdt(b, boot, &dtb);
	rc = n < 0 ? n :
		     boot_finish(boot, b->host->mem, b->config->fdt ? dtb : NULL, (size_t)n, rsdp,
				 cpuid_has_five_levels(b->cpuid));
	free(dtb);
	return rc;
}
