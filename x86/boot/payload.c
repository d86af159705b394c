// SPDX-License-Identifier: GPL-2.0-only
/*
 * From a bzImage's payload to a kernel in guest RAM.
 *
 * Runs on the main thread before there are vCPUs. The payload is read into private memory (a file
 * could shrink under a mapping), decompressed into a second buffer, whose size the payload states
 * and the header bounds, and copied from there. A kernel that was decompressed before comes from
 * the cache (kernel-cache.h). Decisions that the kernel's own stub would make are made here from
 * the same input (header, command line, memory map), so that the kernel notices no difference.
 *
 * Left to the guest: 32-bit kernels, kernels before protocol 2.15 (Linux 5.5), whose
 * stubs follow other rules, and command lines that restrict memory by hand.
 *
 * Source: x86 boot protocol 2.15; Linux 6.12 Documentation/admin-guide/kernel-parameters.
 */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "decompress.h"
#include "log.h"
#include "util.h"
#include "x86/boot/kernel-cache.h"
#include "x86/boot/payload.h"
#include "x86/boot/vmlinux.h"

#define PROTOCOL_2_15	0x020f
#define SIZE_BYTES	4u /* the unpacked size, at the payload's end */
#define HUGE_PAGE_BYTES MIB(2)
#define ALIGN_MAX	GIB(1)

__attribute__((format(printf, 3, 4))) static int payload_refuse(struct payload *p, int rc,
								const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->text, sizeof(p->text), fmt, ap);
	va_end(ap);
	return rc;
}

/* Memory of our own, in huge pages where the host has them. */
struct scratch {
	struct kernel_cache_memory memory;
	uint8_t *data;
	size_t bytes;
};

static int scratch_create(struct scratch *s, size_t bytes)
{
	struct kernel_cache_memory *m = &s->memory;

	s->bytes = bytes;
	m->map_bytes = bytes + HUGE_PAGE_BYTES;
	m->map = mmap(NULL, m->map_bytes, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (m->map == MAP_FAILED)
		return -ENOMEM;
	s->data = (uint8_t *)align_up((uintptr_t)m->map, HUGE_PAGE_BYTES);
	madvise(s->data, bytes, MADV_HUGEPAGE);
	return 0;
}

static void scratch_destroy(struct scratch *s)
{
	munmap(s->memory.map, s->memory.map_bytes);
}

/* ---- the command line ---- */

/* As the kernel sees it: what is not a character, the end included. */
static bool is_space(char c)
{
	return (unsigned char)c <= ' ';
}

/* Looks for parameter @name; one that ends in '=' may have any value. */
static bool has_parameter(const char *cmdline, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = cmdline; (p = strstr(p, name)); p += len)
		if ((p == cmdline || is_space(p[-1])) &&
		    (name[len - 1] == '=' || is_space(p[len])))
			return true;
	return false;
}

/* ---- the steps ---- */

static int check_kernel(struct payload *p, const struct payload_config *c)
{
	static const char *const by_hand[] = { "mem=", "memmap=", "hugepages=" };
	const struct setup_header *h = c->header;

	if (h->version < PROTOCOL_2_15 || !(h->xloadflags & XLF_KERNEL_64))
		return payload_refuse(p, -ENOTSUP, "it is a 32-bit kernel or older than Linux 5.5");
	if (!h->payload_length || !h->init_size || h->pref_address < MIB(1) ||
	    !h->kernel_alignment || h->kernel_alignment & (h->kernel_alignment - 1) ||
	    h->kernel_alignment < HUGE_PAGE_BYTES || h->kernel_alignment > ALIGN_MAX)
		return payload_refuse(p, -ENOTSUP, "its header does not say how to place it");
	for (size_t i = 0; i < ARRAY_SIZE(by_hand); i++)
		if (has_parameter(c->cmdline, by_hand[i]))
			return payload_refuse(p, -ENOTSUP, "there is %s on its command line", by_hand[i]);
	return 0;
}

static int read_payload(struct payload *p, const struct payload_config *c, struct scratch *packed)
{
	const struct setup_header *h = c->header;
	int rc;

	if (h->payload_length <= SIZE_BYTES ||
	    !range_within(h->payload_offset, h->payload_length, c->bytes))
		return payload_refuse(p, -EINVAL, "its payload of %u bytes at %#x is not inside of it",
				      h->payload_length, h->payload_offset);
	rc = scratch_create(packed, h->payload_length);
	if (rc)
		return payload_refuse(p, rc, "no memory for its %u bytes", h->payload_length);
	rc = pread_all(c->fd, packed->data, h->payload_length, c->offset + h->payload_offset);
	if (rc) {
		scratch_destroy(packed);
		return payload_refuse(p, rc, "%s",
				      rc == -ENODATA ? "became shorter while it was read" : strerror(-rc));
	}
	return 0;
}

static int unpack_payload(struct payload *p, const struct payload_config *c,
			  const struct scratch *packed, struct scratch *file)
{
	const struct unpacker *u = unpack_find(packed->data, packed->bytes);
	uint32_t bytes;
	int rc;

	if (!u)
		return payload_refuse(p, -ENOTSUP, "its compression is not known");
	p->source = unpack_name(u);
	assert(packed->data && packed->bytes > SIZE_BYTES); /* read_payload() */
	memcpy(&bytes, packed->data + packed->bytes - SIZE_BYTES, sizeof(bytes));
	if (!bytes || bytes > c->header->init_size)
		return payload_refuse(p, -EINVAL, "its payload unpacks to %u bytes, its header allows %u",
				      bytes, c->header->init_size);
	if (scratch_create(file, bytes))
		return payload_refuse(p, -ENOMEM, "no memory to unpack its %u bytes", bytes);
	/* The last four bytes: gzip's own trailer, or what the kernel's build has added. */
	rc = unpack(u, packed->data, packed->bytes - (*packed->data == 0x1f ? 0 : SIZE_BYTES),
		    file->data, bytes);
	if (!rc)
		return 0;
	scratch_destroy(file);
	if (rc == -ENOSYS)
		return payload_refuse(p, -ENOTSUP, "this host has no %s, which unpacks %s",
				      unpack_library(u), p->source);
	if (rc == -ENOMEM)
		return payload_refuse(p, rc, "no memory to unpack it");
	return payload_refuse(p, rc, "its payload (%s) is damaged\nget or build it again.", p->source);
}

static int choose_place(struct payload *p, const struct payload_config *c, const struct vmlinux *v,
			struct vmlinux_place *place)
{
	const struct vmlinux_limits limits = {
		.align = c->header->kernel_alignment,
		.ram_bytes = c->ram_bytes,
		.avoid = c->initrd,
		.avoid_bytes = c->initrd_bytes,
	};
	uint64_t random[2];

	*place = (struct vmlinux_place){ .gpa = v->link_gpa };
	p->randomized = v->has_relocs && !has_parameter(c->cmdline, "nokaslr");
	if (p->randomized) {
		if (random_bytes(random, sizeof(random)))
			return payload_refuse(p, -EIO, "no random numbers for its address");
		if (!vmlinux_choose(v, &limits, random, place))
			return payload_refuse(p, -ENOTSUP, "there is no room for it");
		explicit_bzero(random, sizeof(random));
	}
	p->five_levels = c->header->xloadflags & XLF_5LEVEL_ENABLED &&
			 !has_parameter(c->cmdline, "no5lvl");
	p->gpa = place->gpa;
	p->shift = place->shift;
	p->bytes = v->image_bytes;
	p->entry = place->gpa + v->entry;
	return 0;
}

static int check_image(struct payload *p, const struct payload_config *c, const struct vmlinux *v)
{
	if (v->image_bytes > c->header->init_size)
		return payload_refuse(p, -EINVAL, "it needs %llu bytes of RAM, its header says %u",
				      (unsigned long long)v->image_bytes, c->header->init_size);
	return 0;
}

/* ---- the two ways ---- */

/* From the cache. -ENOTSUP if it is not there or cannot be read. */
static int load_cached(struct payload *p, const struct payload_config *c, const struct mem *mem)
{
	struct cached_kernel *k = kernel_cache_find(p->cache, &p->source);
	struct vmlinux_place place;
	const struct vmlinux *v;
	int rc;

	if (!k)
		return payload_refuse(p, -ENOTSUP, "%s", p->source);
	p->source = "from the cache";
	v = cached_kernel_vmlinux(k);
	rc = v->link_gpa == c->header->pref_address ? check_image(p, c, v) : -ENOTSUP;
	if (!rc)
		rc = choose_place(p, c, v, &place);
	if (!rc) {
		rc = cached_kernel_read(k, place.gpa, mem);
		if (!rc)
			rc = vmlinux_relocate(v, &place, mem);
		if (rc)
			mem_zero(mem, place.gpa, v->image_bytes);
	}
	cached_kernel_free(k);
	return rc ? payload_refuse(p, -ENOTSUP, "what is in the cache cannot be read") : 0;
}

static int load_file(struct payload *p, const struct payload_config *c,
		     const struct scratch *file, const struct mem *mem, struct vmlinux *v)
{
	const char *why = "";
	struct vmlinux_place place;
	int rc = vmlinux_parse(v, file->data, file->bytes, c->header->pref_address, &why);

	if (rc)
		return payload_refuse(p, rc, "what is in it has another form than expected: %s", why);
	rc = check_image(p, c, v);
	if (!rc)
		rc = choose_place(p, c, v, &place);
	if (rc)
		return rc;
	if (vmlinux_copy(v, place.gpa, mem) || vmlinux_relocate(v, &place, mem))
		return payload_refuse(p, -EFAULT, "it does not fit into RAM at %#llx",
				      (unsigned long long)place.gpa);
	return 0;
}

static int load_unpacked(struct payload *p, const struct payload_config *c, const struct mem *mem)
{
	struct scratch packed = { 0 }, file = { 0 };
	struct vmlinux v;
	int rc = read_payload(p, c, &packed);

	if (rc)
		return rc;
	rc = unpack_payload(p, c, &packed, &file);
	scratch_destroy(&packed);
	if (rc)
		return rc;
	rc = load_file(p, c, &file, mem, &v);
	if (!rc && p->cache)
		kernel_cache_keep(p->cache, &v, &file.memory);
	else
		scratch_destroy(&file);
	return rc;
}

int payload_load(struct payload *p, const struct payload_config *config, const struct mem *mem)
{
	const char *why;
	int rc;

	memset(p, 0, sizeof(*p));
	rc = check_kernel(p, config);
	if (rc)
		return rc;
	if (config->use_cache) {
		p->cache = kernel_cache_open(config->cache_dir, config->fd, &why);
		if (!p->cache && config->cache_dir) /* asked for */
			log_notice("kernel cache: not used: %s", why);
		else if (!p->cache)
			log_verbose("kernel cache: not used: %s", why);
		else if (!load_cached(p, config, mem))
			return 0;
		else
			log_verbose("kernel cache: %s", p->text);
	}
	return load_unpacked(p, config, mem);
}

void payload_start_store(struct payload *p, struct sandbox *sandbox)
{
	kernel_cache_start(p->cache, sandbox);
}

void payload_fini(struct payload *p)
{
	kernel_cache_close(p->cache);
	p->cache = NULL;
}
