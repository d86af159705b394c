// SPDX-License-Identifier: GPL-2.0-only
/*
 * Opening qcow2 disks: header, tables, backing chain, temporary images.
 *
 * Everything that the header says is checked here, against the file and against
 * the limits that qemu-img has, too; so are the places of all tables of the image
 * that is written (in bounds, aligned, no two in one place). L2 entries are checked
 * when they are used (qcow2.c).
 *
 * Backing files are opened from the image's own directory; elsewhere only if the
 * user has said so, since the name comes out of the image. Their format is what the
 * image says, never a guess.
 *
 * Source: docs/interop/qcow2.txt of QEMU. Refused by name: encryption, external data
 * files, extended L2 entries, features that are unknown.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk/file.h"
#include "disk/probe.h"
#include "disk/qcow2-alloc.h"
#include "disk/qcow2-grow.h"
#include "disk/qcow2-open.h"
#include "disk/qcow2-table.h"
#include "util.h"

#define MAGIC			 0x514649fbu
#define MAX_L1_BYTES		 MIB(32)
#define MAX_REFCOUNT_TABLE_BYTES MIB(8)
#define MAX_SNAPSHOTS		 65536u
#define MAX_BACKING_NAME	 1023u
#define TEMPORARY_CLUSTER_BITS	 16u

#define INCOMPATIBLE_DIRTY	 1ull
#define INCOMPATIBLE_CORRUPT	 2ull
#define INCOMPATIBLE_DATA_FILE	 4ull
#define INCOMPATIBLE_COMPRESSION 8ull
#define INCOMPATIBLE_EXTENDED_L2 16ull

#define EXTENSION_END		 0u
#define EXTENSION_BACKING_FORMAT 0xe2792acau
#define EXTENSION_FEATURE_NAMES	 0x6803f857u
#define FEATURE_NAME_BYTES	 48u

/* What the header says, in our byte order. */
struct header {
	uint32_t version, cluster_bits, encryption, l1_entries, refcount_table_clusters;
	uint32_t nr_snapshots, refcount_order, header_bytes;
	uint64_t size_bytes, l1_offset, refcount_table_offset, snapshots_offset;
	uint64_t incompatible, autoclear;
	uint8_t compression;
	uint8_t bytes[QCOW2_HEADER_BYTES]; /* as they are in the file */
	char backing[MAX_BACKING_NAME + 1];
	char backing_format[16];
};

static int qcow2_refuse(const struct qcow2_image *img, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static int qcow2_refuse(const struct qcow2_image *img, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_error("disk: %s: %s", img->path, text);
	return -EINVAL;
}

/* ---- the header ---- */

static uint32_t be32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return be32toh(v);
}

static uint64_t be64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return be64toh(v);
}

static void parse_fixed(struct header *h, const uint8_t *p)
{
	h->version = be32(p + 4);
	h->cluster_bits = be32(p + 20);
	h->size_bytes = be64(p + 24);
	h->encryption = be32(p + 32);
	h->l1_entries = be32(p + 36);
	h->l1_offset = be64(p + 40);
	h->refcount_table_offset = be64(p + 48);
	h->refcount_table_clusters = be32(p + 56);
	h->nr_snapshots = be32(p + 60);
	h->snapshots_offset = be64(p + 64);
	h->refcount_order = 4;
	h->header_bytes = QCOW2_HEADER_BYTES_V2;
	if (h->version < 3)
		return;
	h->incompatible = be64(p + 72);
	h->autoclear = be64(p + 88);
	h->refcount_order = be32(p + 96);
	h->header_bytes = be32(p + 100);
	if (h->header_bytes > QCOW2_HEADER_BYTES)
		h->compression = p[104];
}

static int check_fixed(const struct qcow2_image *img, const struct header *h)
{
	if (h->version != 2 && h->version != 3)
		return qcow2_refuse(img, "qcow2 version %u is unknown (2 and 3 are not)", h->version);
	if (h->cluster_bits < 9 || h->cluster_bits > 21)
		return qcow2_refuse(img, "clusters of 2^%u bytes (9 to 21 are valid)", h->cluster_bits);
	if (h->encryption)
		return qcow2_refuse(img, "it is encrypted (method %u), which lkvm cannot read\n"
					 "convert it with qemu-img.",
				    h->encryption);
	if (h->version == 3 && (h->header_bytes < QCOW2_HEADER_BYTES || h->header_bytes % 8 ||
				h->header_bytes > 1u << h->cluster_bits))
		return qcow2_refuse(img, "a header of %u bytes", h->header_bytes);
	if (h->refcount_order > 6)
		return qcow2_refuse(img, "refcounts of 2^%u bits (0 to 6 are valid)", h->refcount_order);
	return 0;
}

/* The name of incompatible feature @bit, if the image has a table of names. */
static void feature_name(const uint8_t *ext, uint32_t bytes, unsigned int bit, char name[47])
{
	snprintf(name, 47, "bit %u", bit);
	for (; ext && bytes >= FEATURE_NAME_BYTES; ext += FEATURE_NAME_BYTES,
						   bytes -= FEATURE_NAME_BYTES)
		if (ext[0] == 0 && ext[1] == bit)
			snprintf(name, 47, "%.46s", (const char *)ext + 2);
}

static int check_features(const struct qcow2_image *img, const struct header *h,
			  const uint8_t *names, uint32_t names_bytes)
{
	const uint64_t known = INCOMPATIBLE_DIRTY | INCOMPATIBLE_CORRUPT | INCOMPATIBLE_COMPRESSION;
	uint64_t unknown = h->incompatible & ~known;
	char name[47];

	if (h->incompatible & INCOMPATIBLE_DATA_FILE)
		return qcow2_refuse(img, "its data is in another file (data_file), which lkvm cannot read\n"
					 "convert it with qemu-img.");
	if (h->incompatible & INCOMPATIBLE_EXTENDED_L2)
		return qcow2_refuse(img, "it has extended L2 entries (extended_l2), which lkvm cannot read\n"
					 "convert it with qemu-img.");
	if (unknown) {
		feature_name(names, names_bytes, (unsigned int)__builtin_ctzll(unknown), name);
		return qcow2_refuse(img, "it uses a feature that lkvm does not know: %s", name);
	}
	if (h->incompatible & INCOMPATIBLE_CORRUPT && img->writable)
		return qcow2_refuse(img, "it is marked corrupt\n"
					 "repair it: qemu-img check -r all %s; or use ,ro.",
				    img->path);
	if (h->incompatible & INCOMPATIBLE_DIRTY && img->writable)
		return qcow2_refuse(img, "it was not closed properly and its refcounts are not up to date\n"
					 "repair them: qemu-img check -r all %s; or use ,ro.",
				    img->path);
	if (h->compression > QCOW2_DECOMPRESS_ZSTD ||
	    (h->compression && !(h->incompatible & INCOMPATIBLE_COMPRESSION)))
		return qcow2_refuse(img, "its compression type %u is unknown", h->compression);
	return 0;
}

/* Extensions follow the header: type, length, data padded to 8 bytes. */
static int parse_extensions(const struct qcow2_image *img, struct header *h, const uint8_t *p,
			    uint32_t bytes)
{
	const uint8_t *names = NULL;
	uint32_t at = h->header_bytes, names_bytes = 0;

	while (at + 8 <= bytes && be32(p + at) != EXTENSION_END) {
		uint32_t type = be32(p + at), len = be32(p + at + 4);

		at += 8;
		if (len > bytes - at)
			return qcow2_refuse(img, "header extension %#x at %u is longer than the header's cluster",
					    type, at - 8);
		if (type == EXTENSION_BACKING_FORMAT)
			snprintf(h->backing_format, sizeof(h->backing_format), "%.*s", (int)len,
				 (const char *)p + at);
		if (type == EXTENSION_FEATURE_NAMES) {
			names = p + at;
			names_bytes = len;
		}
		at = (uint32_t)min_u64(align_up((uint64_t)at + len, 8), bytes);
	}
	return check_features(img, h, names, names_bytes);
}

static int parse_backing(const struct qcow2_image *img, struct header *h, const uint8_t *p,
			 uint32_t bytes)
{
	uint64_t offset = be64(p + 8);
	uint32_t len = be32(p + 16);

	if (!offset || !len)
		return 0;
	if (len > MAX_BACKING_NAME || !range_within(offset, len, bytes))
		return qcow2_refuse(img, "the name of its backing file (%u bytes at %#llx) is not in its first "
					 "cluster",
				    len, (unsigned long long)offset);
	memcpy(h->backing, p + offset, len);
	return 0;
}

static int read_header(const struct qcow2_image *img, struct header *h)
{
	uint8_t start[QCOW2_HEADER_BYTES + 8] = { 0 };
	uint32_t bytes;
	uint8_t *p;
	int rc;

	memset(h, 0, sizeof(*h));
	if (pread(img->fd, start, sizeof(start), 0) < (ssize_t)QCOW2_HEADER_BYTES_V2 ||
	    be32(start) != MAGIC)
		return qcow2_refuse(img, "its header is too short");
	parse_fixed(h, start);
	memcpy(h->bytes, start, sizeof(h->bytes));
	rc = check_fixed(img, h);
	if (rc)
		return rc;
	bytes = 1u << h->cluster_bits;
	p = calloc(1, bytes);
	if (!p)
		return log_enomem("disk");
	if (pread(img->fd, p, bytes, 0) < 0)
		rc = qcow2_refuse(img, "reading its header: %s", strerror(errno));
	if (!rc)
		rc = parse_extensions(img, h, p, bytes);
	if (!rc)
		rc = parse_backing(img, h, p, bytes);
	free(p);
	return rc;
}

/* ---- tables ---- */

/* A table that the image names: aligned and in the file. */
static int check_place(const struct qcow2_image *img, const char *what, uint64_t offset,
		       uint64_t bytes)
{
	if (offset & (img->cluster_bytes - 1))
		return qcow2_refuse(img, "the %s at %#llx is not at the start of a cluster", what,
				    (unsigned long long)offset);
	if (!range_within(offset, bytes, align_up(img->file_bytes, img->cluster_bytes)))
		return qcow2_refuse(img, "the %s at %#llx, %llu bytes, is past the end of the file (%#llx)",
				    what, (unsigned long long)offset, (unsigned long long)bytes,
				    (unsigned long long)img->file_bytes);
	return 0;
}

static int read_table(struct qcow2_image *img, struct qcow2_table *t, const char *what,
		      uint64_t offset, uint64_t entries, uint64_t max_entries)
{
	int rc = check_place(img, what, offset, entries * 8);

	if (rc)
		return rc;
	rc = qcow2_table_read(img, t, offset, (uint32_t)entries, max_entries);
	if (rc)
		return qcow2_refuse(img, "reading the %s at %#llx: %s", what, (unsigned long long)offset,
				    strerror(-rc));
	return 0;
}

static int read_l1(struct qcow2_image *img, const struct header *h)
{
	uint64_t per_entry = (uint64_t)img->cluster_bytes * (img->cluster_bytes / 8);
	uint64_t needed = h->size_bytes / per_entry + (h->size_bytes % per_entry != 0);

	if (h->l1_entries * 8ull > MAX_L1_BYTES || needed * 8 > MAX_L1_BYTES)
		return qcow2_refuse(img, "its L1 table has %u entries, more than lkvm reads (%llu)",
				    h->l1_entries, MAX_L1_BYTES / 8ull);
	if (h->l1_entries < needed)
		return qcow2_refuse(img, "its L1 table at %#llx has %u entries; %llu are needed for its size",
				    (unsigned long long)h->l1_offset, h->l1_entries,
				    (unsigned long long)needed);
	return read_table(img, &img->l1, "L1 table", h->l1_offset, h->l1_entries, h->l1_entries);
}

/* Every L2 table that the active L1 table names. */
static int check_l2_places(struct qcow2_image *img)
{
	for (uint32_t i = 0; i < img->l1.entries; i++) {
		uint64_t entry = qcow2_table_get(&img->l1, i), offset = entry & QCOW2_OFFSET_MASK;
		int rc;

		if (!offset && !(entry & QCOW2_COPIED))
			continue;
		rc = check_place(img, "L2 table", offset, img->cluster_bytes);
		if (!rc)
			rc = qcow2_metadata_note(img, offset, img->cluster_bytes, METADATA_L2);
		if (rc)
			return rc;
	}
	return 0;
}

static int read_refcounts(struct qcow2_image *img, const struct header *h)
{
	uint64_t bytes = (uint64_t)h->refcount_table_clusters << img->cluster_bits;
	int rc;

	if (!bytes || bytes > MAX_REFCOUNT_TABLE_BYTES)
		return qcow2_refuse(img, "its refcount table at %#llx has %u clusters",
				    (unsigned long long)h->refcount_table_offset,
				    h->refcount_table_clusters);
	rc = read_table(img, &img->refcounts, "refcount table", h->refcount_table_offset, bytes / 8,
			MAX_REFCOUNT_TABLE_BYTES / 8);
	for (uint32_t i = 0; i < img->refcounts.entries && !rc; i++) {
		uint64_t offset = qcow2_table_get(&img->refcounts, i);

		if (!offset)
			continue;
		rc = check_place(img, "refcount block", offset, img->cluster_bytes);
		if (!rc)
			rc = qcow2_metadata_note(img, offset, img->cluster_bytes, METADATA_REFCOUNT_BLOCK);
	}
	return rc;
}

/* Snapshots are left alone; we only have to know where their tables are. */
static int note_snapshots(struct qcow2_image *img, const struct header *h)
{
	uint64_t at = h->snapshots_offset;

	if (!h->nr_snapshots)
		return 0;
	if (h->nr_snapshots > MAX_SNAPSHOTS)
		return qcow2_refuse(img, "%u snapshots", h->nr_snapshots);
	for (uint32_t i = 0; i < h->nr_snapshots; i++) {
		uint8_t s[40];
		uint64_t l1, l1_bytes;
		int rc;

		if (pread_all(img->fd, s, sizeof(s), at))
			return qcow2_refuse(img, "the snapshot table at %#llx is past the end of the file",
					    (unsigned long long)h->snapshots_offset);
		l1 = be64(s);
		l1_bytes = be32(s + 8) * 8ull;
		rc = check_place(img, "L1 table of a snapshot", l1, l1_bytes);
		if (rc)
			return rc;
		if (l1_bytes > MAX_L1_BYTES)
			return qcow2_refuse(img, "the L1 table of a snapshot at %#llx is too long",
					    (unsigned long long)l1);
		rc = qcow2_metadata_note(img, l1, l1_bytes, METADATA_SNAPSHOT_L1);
		if (rc)
			return rc;
		/* Id and name have 16-bit lengths at 12 and 14, extra data a 32-bit one at 36. */
		at += sizeof(s) + be32(s + 36) + (s[12] << 8 | s[13]) + (s[14] << 8 | s[15]);
		if (at > img->file_bytes)
			return qcow2_refuse(img, "the snapshot table at %#llx is past the end of the file",
					    (unsigned long long)h->snapshots_offset);
		at = align_up(at, 8); /* but for the last, which may end the file */
	}
	return qcow2_metadata_note(img, h->snapshots_offset, at - h->snapshots_offset, METADATA_SNAPSHOTS);
}

/* What only the image that is written needs. */
static int prepare_writing(struct qcow2_image *img, const struct header *h)
{
	const uint64_t blocks = MAX_REFCOUNT_TABLE_BYTES / 8, table_clusters = MAX_L1_BYTES >> 9;
	/*
	 * Those of snapshots share what the others leave. Later: an L2 table for each L1 entry, a
	 * larger refcount table.
	 */
	int rc = qcow2_metadata_create(img, img->l1.entries + 4 * blocks + 3 * table_clusters + MAX_SNAPSHOTS,
				       img->l1.entries + 3 * blocks);

	if (rc)
		return log_enomem("disk");
	rc = qcow2_metadata_note(img, 0, 1, METADATA_HEADER);
	if (!rc)
		rc = qcow2_metadata_note(img, h->l1_offset, h->l1_entries * 8ull, METADATA_L1);
	if (!rc)
		rc = qcow2_metadata_note(img, h->refcount_table_offset,
					 (uint64_t)h->refcount_table_clusters << img->cluster_bits,
					 METADATA_REFCOUNT_TABLE);
	if (!rc)
		rc = check_l2_places(img);
	if (!rc)
		rc = read_refcounts(img, h);
	if (!rc)
		rc = note_snapshots(img, h);
	if (!rc)
		rc = qcow2_metadata_sort(img);
	qcow2_growth_init(img);
	img->fresh_from = align_up(img->file_bytes, img->cluster_bytes) >> img->cluster_bits;
	if (!img->regular)
		img->fresh_from = UINT64_MAX; /* a device is never fresh */
	return rc;
}

/* ---- one image ---- */

static void close_image(struct qcow2_image *img)
{
	if (!img)
		return;
	aio_remove_file(&img->data);
	aio_remove_file(&img->file);
	if (img->direct_fd >= 0)
		close(img->direct_fd);
	if (img->fd >= 0)
		close(img->fd);
	if (img->lock_fd >= 0)
		close(img->lock_fd);
	qcow2_cache_destroy(img);
	qcow2_table_free(&img->l1);
	qcow2_table_free(&img->refcounts);
	if (img->metadata)
		munmap(img->metadata, img->metadata_reserved);
	qcow2_decompress_destroy(img->decompress);
	free(img->path);
	free(img);
}

static int add_files(struct qcow2_image *img, int data_fd, uint32_t align)
{
	struct aio_client *client = &img->disk->disk.client;

	if (aio_add_file(client, &img->file, img->fd, 1) ||
	    aio_add_file(client, &img->data, data_fd, align))
		return log_enomem("disk");
	return 0;
}

static int open_descriptors(struct qcow2_image *img, bool direct)
{
	struct file_geometry g;
	int rc;

	img->fd = file_reopen(img->lock_fd, img->path, img->writable, false);
	if (img->fd < 0)
		return img->fd;
	if (direct) {
		img->direct_fd = file_reopen(img->lock_fd, img->path, img->writable, true);
		if (img->direct_fd < 0)
			return img->direct_fd;
	}
	rc = file_geometry(img->fd, img->path, direct, &g);
	if (rc)
		return rc;
	img->file_bytes = g.size_bytes;
	img->regular = g.regular;
	img->disk->disk.block_bytes = (uint32_t)max_u64(img->disk->disk.block_bytes, g.block_bytes);
	return add_files(img, direct ? img->direct_fd : img->fd, g.align);
}

static int read_image(struct qcow2_image *img, struct header *h)
{
	int rc = read_header(img, h);

	if (rc)
		return rc;
	img->version = h->version;
	img->cluster_bits = h->cluster_bits;
	img->cluster_bytes = 1u << h->cluster_bits;
	img->refcount_order = h->refcount_order;
	img->autoclear = h->autoclear;
	memcpy(img->header, h->bytes, sizeof(img->header));
	img->size_bytes = align_down(h->size_bytes, DISK_SECTOR_BYTES);
	if (!img->size_bytes || h->size_bytes > INT64_MAX)
		return qcow2_refuse(img, "its size is %llu", (unsigned long long)h->size_bytes);
	rc = qcow2_decompress_create(&img->decompress, (enum qcow2_decompress_kind)h->compression);
	if (rc == -ENOTSUP)
		return qcow2_refuse(img, "it is compressed by zstd\ninstall libzstd (libzstd1 on Debian).");
	if (!rc)
		rc = qcow2_cache_create(img, img->writable ? QCOW2_TOP_SLOTS : QCOW2_BASE_SLOTS);
	if (rc)
		return log_enomem("disk");
	rc = read_l1(img, h);
	if (!rc && img->writable)
		rc = prepare_writing(img, h);
	return rc;
}

/* Takes over @lock_fd. The image becomes the next of the chain. */
static int add_image(struct qcow2 *q, const char *path, int lock_fd, bool writable, bool direct,
		     struct header *h)
{
	struct qcow2_image *img = calloc(1, sizeof(*img));
	int rc;

	if (!img) {
		close(lock_fd);
		return log_enomem("disk");
	}
	q->images[q->nr_images++] = img;
	img->disk = q;
	img->lock_fd = lock_fd;
	img->fd = img->direct_fd = img->file.index = img->data.index = -1;
	img->writable = writable;
	img->path = strdup(path);
	if (!img->path)
		return log_enomem("disk");
	rc = open_descriptors(img, direct);
	return rc ? rc : read_image(img, h);
}

static int add_base(struct qcow2 *q, const char *path, int lock_fd, bool direct)
{
	struct file_geometry g;
	int rc;

	q->base_lock_fd = lock_fd;
	q->has_base = true;
	q->base_fd = file_reopen(lock_fd, path, false, direct);
	if (q->base_fd < 0)
		return q->base_fd;
	rc = file_geometry(q->base_fd, path, direct, &g);
	if (rc)
		return rc;
	/* What is past the end of its last block reads as zeros. */
	q->base_bytes = align_up(g.size_bytes, g.block_bytes);
	q->disk.block_bytes = (uint32_t)max_u64(q->disk.block_bytes, g.block_bytes);
	if (aio_add_file(&q->disk.client, &q->base, q->base_fd, g.align))
		return log_enomem("disk");
	return 0;
}

/* ---- backing files ---- */

/* Names are relative to the image that says them. */
static int resolve(const char *image, const char *name, char out[PATH_MAX])
{
	char copy[PATH_MAX];
	int n;

	if (!strncmp(name, "file:", 5))
		name += 5;
	snprintf(copy, sizeof(copy), "%s", image);
	if (name[0] == '/')
		n = snprintf(out, PATH_MAX, "%s", name);
	else
		n = snprintf(out, PATH_MAX, "%s/%s", dirname(copy), name);
	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

/* True if both are, after all symbolic links, in one directory. */
static bool same_directory(const char *a, const char *b)
{
	char real_a[PATH_MAX], real_b[PATH_MAX];

	if (!realpath(a, real_a) || !realpath(b, real_b))
		return true; /* opening it says what is wrong */
	return !strcmp(dirname(real_a), dirname(real_b));
}

static int open_backing(struct qcow2 *q, const struct qcow2_image *img, const struct header *h,
			bool anywhere, char path[PATH_MAX])
{
	if (q->nr_images == QCOW2_MAX_CHAIN)
		return qcow2_refuse(img, "its chain of backing files loops or has more than %u images",
				    QCOW2_MAX_CHAIN);
	if (resolve(img->path, h->backing, path))
		return qcow2_refuse(img, "the name of its backing file is too long");
	if (!anywhere && !same_directory(img->path, path))
		return qcow2_refuse(img, "its backing file is in another directory: %s\n"
					 "if that is what you want, say backing=on.",
				    path);
	if (strcmp(h->backing_format, "raw") && strcmp(h->backing_format, "qcow2"))
		return qcow2_refuse(img, "it does not say which format its backing file has%s%s\n"
					 "record it: qemu-img rebase -u -b %s -F qcow2 (or raw) %s",
				    *h->backing_format ? " that lkvm can read: " : "", h->backing_format,
				    h->backing, img->path);
	return file_open(path, FILE_READ_STABLE);
}

static int open_chain(struct qcow2 *q, const struct disk_config *config, struct header *h)
{
	while (*h->backing) {
		const struct qcow2_image *img = q->images[q->nr_images - 1];
		char path[PATH_MAX], format[16];
		int fd = open_backing(q, img, h, config->backing, path), rc;

		if (fd < 0)
			return fd;
		memcpy(format, h->backing_format, sizeof(format));
		if (!strcmp(format, "raw"))
			return add_base(q, path, fd, config->direct);
		rc = add_image(q, path, fd, false, config->direct, h);
		if (rc)
			return rc;
	}
	return 0;
}

/* ---- temporary images ---- */

/* A file without a name in @folder, or -errno. */
static int open_nameless(const char *folder)
{
	char path[PATH_MAX];
	int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600);

	if (fd >= 0)
		return fd;
	/* Not every file system has O_TMPFILE. */
	snprintf(path, sizeof(path), "%s/lkvm-XXXXXX", folder);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	unlink(path);
	return fd;
}

/* In $TMPDIR and nowhere else if there is one: other places may have no room for it. */
static int create_temporary_file(void)
{
	const char *tmpdir = getenv("TMPDIR");
	bool chosen = tmpdir && *tmpdir;
	const char *folder = chosen ? tmpdir : "/var/tmp";
	int fd = open_nameless(folder);

	if (fd < 0 && !chosen)
		fd = open_nameless("/tmp");
	if (fd < 0)
		log_error("disk: a temporary file for ,cow in %s: %s\nset TMPDIR to a folder with room "
			  "for what the guest writes.",
			  folder, strerror(-fd));
	return fd;
}

static void put_be32(uint8_t *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, 4);
}

static void put_be64(uint8_t *p, uint64_t v)
{
	v = htobe64(v);
	memcpy(p, &v, 8);
}

/*
 * An empty version 3 image of @size: header, refcount table, one refcount block, L1
 * table, in clusters 0, 1, 2 and 3 onwards.
 */
static int write_empty(int fd, uint64_t size)
{
	const uint32_t cluster = 1u << TEMPORARY_CLUSTER_BITS;
	uint64_t per_entry = (uint64_t)cluster * (cluster / 8);
	uint64_t entries = size / per_entry + (size % per_entry != 0);
	uint64_t clusters = 3 + align_up(entries * 8, cluster) / cluster;
	uint8_t header[QCOW2_HEADER_BYTES + 8] = { 0 }, table[8], counts[2 * 1024];

	put_be32(header, MAGIC);
	put_be32(header + 4, 3);
	put_be32(header + 20, TEMPORARY_CLUSTER_BITS);
	put_be64(header + 24, size);
	put_be32(header + 36, (uint32_t)entries);
	put_be64(header + 40, 3ull * cluster);
	put_be64(header + 48, cluster);
	put_be32(header + 56, 1);
	put_be32(header + 96, 4);
	put_be32(header + 100, QCOW2_HEADER_BYTES);
	put_be64(table, 2ull * cluster);
	for (uint64_t i = 0; i < ARRAY_SIZE(counts) / 2; i++) {
		counts[2 * i] = 0;
		counts[2 * i + 1] = i < clusters;
	}
	if (entries * 8 > MAX_L1_BYTES || ftruncate(fd, (off_t)(clusters * cluster)) ||
	    pwrite(fd, header, sizeof(header), 0) != (ssize_t)sizeof(header) ||
	    pwrite(fd, table, sizeof(table), cluster) != (ssize_t)sizeof(table) ||
	    pwrite(fd, counts, sizeof(counts), 2ll * cluster) != (ssize_t)sizeof(counts)) {
		log_error("disk: writing a temporary file for ,cow: %s", strerror(errno));
		return -EIO;
	}
	return 0;
}

/* The virtual size of what will be below the temporary image. */
static int size_below(const struct disk_config *config, int fd, bool is_qcow2, uint64_t *size)
{
	struct qcow2_image probe = { .path = (char *)(uintptr_t)config->path, .fd = fd };
	struct file_geometry g;
	struct header h;
	int rc;

	if (!is_qcow2) {
		rc = file_geometry(fd, config->path, config->direct, &g);
		*size = align_up(g.size_bytes, g.block_bytes);
		if (!rc && !*size)
			return qcow2_refuse(&probe, "it is empty");
		return rc;
	}
	rc = read_header(&probe, &h);
	*size = align_down(h.size_bytes, DISK_SECTOR_BYTES);
	return rc;
}

static int open_temporary(struct qcow2 *q, const struct disk_config *config, int fd, bool is_qcow2)
{
	uint64_t size;
	struct header h = { 0 };
	int rc = size_below(config, fd, is_qcow2, &size), tmp;

	if (!rc) {
		tmp = create_temporary_file();
		rc = tmp < 0 ? tmp : write_empty(tmp, size);
		q->temporary = true;
		if (!rc)
			rc = add_image(q, config->path, tmp, true, false, &h);
		else if (tmp >= 0)
			close(tmp);
	}
	if (rc) {
		close(fd);
		return rc;
	}
	if (!is_qcow2)
		return add_base(q, config->path, fd, config->direct);
	rc = add_image(q, config->path, fd, false, config->direct, &h);
	return rc ? rc : open_chain(q, config, &h);
}

/* ---- all of them ---- */

int qcow2_open_images(struct qcow2 *q, const struct disk_config *config, int fd, bool is_qcow2)
{
	struct header h = { 0 };
	int rc;

	if (config->cow)
		return open_temporary(q, config, fd, is_qcow2);
	rc = add_image(q, config->path, fd, !config->read_only, config->direct, &h);
	return rc ? rc : open_chain(q, config, &h);
}

void qcow2_close_images(struct qcow2 *q)
{
	while (q->nr_images)
		close_image(q->images[--q->nr_images]);
	aio_remove_file(&q->base);
	if (q->base_fd >= 0)
		close(q->base_fd);
	if (q->base_lock_fd >= 0)
		close(q->base_lock_fd);
}
