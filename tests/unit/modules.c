// SPDX-License-Identifier: GPL-2.0-only
/*
 * Drivers for a kernel: its release, the lists around modules, the choice and the order, from trees
 * made here and from Debian's kernels, which tests/host/prepare has fetched.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache.h"
#include "guest/kernel-release.h"
#include "guest/module-cache.h"
#include "guest/module-text.h"
#include "guest/modules.h"
#include "log.h"
#include "tests/lib/module.h"
#include "tests/lib/unit.h"
#include "util.h"

#define RELEASE "6.1.0-test"

static char dir[64];

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/lkvm-modules-XXXXXX");
	return !mkdtemp(dir);
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

/* ---- files ---- */

/* Below @dir, with the folders on the way. */
static const char *place(const char *name)
{
	static char path[PATH_MAX];
	char *slash;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	for (slash = path + strlen(dir) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		mkdir(path, 0700);
		*slash = '/';
	}
	return path;
}

static void put(const char *name, const void *data, size_t bytes)
{
	FILE *f = fopen(place(name), "w");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, bytes, f), bytes);
	assert_int_equal(fclose(f), 0);
}

static void put_text(const char *name, const char *text)
{
	put(name, text, strlen(text));
}

static void put_module(const char *name, const char *magic, const char *depends, const char *softdep)
{
	uint8_t file[2048];
	char info[1024];
	int n = snprintf(info, sizeof(info), "license=GPL%cdepends=%s%csoftdep=%s%cvermagic=%s", 0,
			 depends, 0, softdep, 0, magic);

	put(name, file, module_make(file, info, (size_t)n + 1));
}

/* ---- the choice ---- */

static struct modules *choose(const char *kernel, const char *given, uint32_t wanted)
{
	struct kernel_release release = { .text = RELEASE, .major = 6, .minor = 1, .is_64bit = true };
	const struct modules_config config = {
		.dir = given,
		.installed = dir,
		.kernel = kernel,
		.release = &release,
		.wanted = wanted,
	};
	struct modules *m = NULL;

	return modules_choose(&m, &config) ? NULL : m;
}

/* The files, each with a blank behind it; '-' is before what may fail. */
static const char *order_of(const struct modules *m)
{
	static char text[4096];
	int n = 0;

	text[0] = '\0';
	for (unsigned int i = 0; i < m->choice.nr_files; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%s%s ",
			      m->choice.files[i].optional ? "-" : "", m->choice.files[i].name);
	return text;
}

static void put_installed(void)
{
	const char *magic = RELEASE " SMP ";

	put_text(RELEASE "/modules.dep",
		 "kernel/virtio/virtio_pci.ko: kernel/virtio/virtio.ko kernel/virtio/virtio_ring.ko\n"
		 "kernel/virtio/virtio.ko: kernel/virtio/virtio_ring.ko\n"
		 "kernel/virtio/virtio_ring.ko:\n"
		 "kernel/fs/erofs.ko: kernel/lib/libcrc32c.ko\n"
		 "kernel/lib/libcrc32c.ko:\n"
		 "kernel/crypto/crc32c-intel.ko:\n"
		 "kernel/crypto/crc32c_generic.ko:\n"
		 "kernel/hw/virtio-rng.ko: kernel/virtio/virtio.ko\n");
	put_text(RELEASE "/modules.builtin", "kernel/fs/overlay.ko\nkernel/lib/rng-core.ko\n");
	put_text(RELEASE "/modules.alias", "# comment\nalias crc32c crc32c_intel\n"
					   "alias crypto-crc32c crc32c_intel\nalias odd-name crc32c_intel\n");
	put_module(RELEASE "/kernel/virtio/virtio_pci.ko", magic, "virtio,virtio_ring", "");
	put_module(RELEASE "/kernel/virtio/virtio.ko", magic, "virtio_ring", "");
	put_module(RELEASE "/kernel/virtio/virtio_ring.ko", magic, "", "");
	put_module(RELEASE "/kernel/fs/erofs.ko", magic, "libcrc32c", "");
	put_module(RELEASE "/kernel/lib/libcrc32c.ko", magic, "", "pre: crc32c");
	put_module(RELEASE "/kernel/crypto/crc32c-intel.ko", magic, "", "");
	put_module(RELEASE "/kernel/crypto/crc32c_generic.ko", magic, "", "");
	put_module(RELEASE "/kernel/hw/virtio-rng.ko", magic, "virtio,rng-core", "");
}

static const uint32_t usual = KERNEL_BIT(KERNEL_VIRTIO_PCI) | KERNEL_BIT(KERNEL_VIRTIO_RNG) |
			      KERNEL_BIT(KERNEL_EROFS) | KERNEL_BIT(KERNEL_OVERLAY) | KERNEL_BIT(KERNEL_VIRTIO_NET) |
			      KERNEL_BIT(KERNEL_TMPFS);

static void what_is_needed_comes_first(void **state)
{
	struct modules *m;

	(void)state;
	put_installed();
	m = choose("/nowhere/bzImage", NULL, usual);
	assert_non_null(m);
	assert_string_equal(order_of(m), "virtio_ring virtio virtio_pci -crc32c_generic libcrc32c "
					 "erofs virtio_rng ");
	assert_int_equal(m->choice.state[KERNEL_EROFS], MODULE_LOADED);
	assert_int_equal(m->choice.state[KERNEL_OVERLAY], MODULE_BUILT_IN);
	assert_int_equal(m->choice.state[KERNEL_VIRTIO_NET], MODULE_MISSING);
	assert_int_equal(m->choice.state[KERNEL_TMPFS], MODULE_UNKNOWN);
	assert_int_equal(modules_missing(m, usual), KERNEL_BIT(KERNEL_VIRTIO_NET));
	modules_destroy(m);
}

static void a_soft_dependency_that_is_built_in_needs_nothing(void **state)
{
	static const char info[] = "x.license=GPL\0c.alias=crypto-crc32c\0c.alias=crc32c";
	struct modules *m;

	(void)state;
	put_installed();
	put(RELEASE "/modules.builtin.modinfo", info, sizeof(info));
	m = choose(NULL, NULL, KERNEL_BIT(KERNEL_EROFS));
	assert_non_null(m);
	assert_string_equal(order_of(m), "libcrc32c erofs ");
	modules_destroy(m);
}

static void other_names_are_in_a_list(void **state)
{
	struct modules *m;

	(void)state;
	put_installed();
	put_module(RELEASE "/kernel/lib/libcrc32c.ko", RELEASE " ", "", "post: virtio pre: nobody odd-name");
	m = choose(NULL, NULL, KERNEL_BIT(KERNEL_EROFS));
	assert_non_null(m);
	assert_string_equal(order_of(m), "-crc32c_intel libcrc32c erofs ");
	modules_destroy(m);
}

static void modules_are_found_below_what_is_given(void **state)
{
	static const char *const moves[] = { "given", "given/lib/modules/" RELEASE, "given/" RELEASE };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(moves); i++) {
		char from[128], given[128];
		struct modules *m;

		put_installed();
		snprintf(from, sizeof(from), "%s/" RELEASE, dir);
		snprintf(given, sizeof(given), "%s/given", dir);
		assert_int_equal(rename(from, place(moves[i])), 0);
		m = choose(NULL, given, KERNEL_BIT(KERNEL_VIRTIO_PCI));
		assert_non_null(m);
		assert_string_equal(order_of(m), "virtio_ring virtio virtio_pci ");
		modules_destroy(m);
		m = choose(NULL, NULL, KERNEL_BIT(KERNEL_VIRTIO_PCI));
		assert_non_null(m);
		assert_int_equal(m->place, MODULES_ABSENT);
		assert_int_equal(m->choice.state[KERNEL_VIRTIO_PCI], MODULE_UNKNOWN);
		modules_destroy(m);
		teardown(NULL);
		setup(NULL);
	}
	assert_null(choose(NULL, "/nowhere", usual));
	assert_null(choose(NULL, dir, usual));
	assert_null(choose(NULL, "/dev/null", usual));
}

/* @objects: as newer kernels list them. */
static void put_tree(bool objects)
{
	const char *magic = RELEASE " SMP ";

	put_text("tree/arch/x86/boot/bzImage", "");
	put_text("tree/.config", "# a\nCONFIG_VIRTIO_PCI=y\nCONFIG_EROFS_FS=m\n# CONFIG_OVERLAY_FS is not set\n"
				 "CONFIG_VIRTIO_NET=m\nCONFIG_TMPFS=y\nCONFIG_CRYPTO_CRC32C=m\n");
	put_text("tree/modules.order", objects ? "fs/erofs/erofs.o\nlib/libcrc32c.o\ncrypto/crc32c_generic.o\n"
						 "fs/overlayfs/overlay.o\n" :
						 "kernel/fs/erofs/erofs.ko\nkernel/lib/libcrc32c.ko\n"
						 "kernel/crypto/crc32c_generic.ko\nkernel/fs/overlayfs/overlay.ko\n");
	put_text("tree/modules.builtin", "kernel/drivers/virtio/virtio_pci.ko\n");
	put_module("tree/fs/erofs/erofs.ko", magic, "libcrc32c", "");
	put_module("tree/fs/overlayfs/overlay.ko", "5.0 ", "", "");
	put_module("tree/lib/libcrc32c.ko", magic, "", "pre: crypto-crc32c");
	put_module("tree/crypto/crc32c_generic.ko", magic, "", "");
}

static void a_tree_is_known_by_its_kernel(void **state)
{
	char kernel[128], order[64] = "-crc32c_generic libcrc32c erofs ";

	(void)state;
	snprintf(kernel, sizeof(kernel), "%s/tree/arch/x86/boot/bzImage", dir);
	for (int objects = 0; objects < 2; objects++) {
		struct modules *m;

		put_installed();
		put_tree(objects);
		m = choose(kernel, NULL, usual);
		assert_non_null(m);
		assert_int_equal(m->place, MODULES_TREE);
		assert_string_equal(order_of(m), order);
		assert_int_equal(m->choice.state[KERNEL_VIRTIO_PCI], MODULE_BUILT_IN);
		assert_int_equal(m->choice.state[KERNEL_TMPFS], MODULE_BUILT_IN);
		/* Left there from another configuration; set, but not built. */
		assert_int_equal(modules_missing(m, usual),
				 KERNEL_BIT(KERNEL_OVERLAY) |
					 KERNEL_BIT(KERNEL_VIRTIO_NET) | KERNEL_BIT(KERNEL_VIRTIO_RNG));
		modules_destroy(m);
		/* The same from outside. */
		snprintf(order, sizeof(order), "%s", "-crc32c_generic libcrc32c erofs ");
		m = choose(NULL, place("tree"), usual);
		assert_non_null(m);
		assert_string_equal(order_of(m), order);
		modules_destroy(m);
	}
}

static void a_configuration_beside_the_kernel_tells(void **state)
{
	char kernel[128];
	struct modules *m;

	(void)state;
	put_text("boot/config-" RELEASE, "CONFIG_VIRTIO_PCI=y\nCONFIG_EROFS_FS=m\nCONFIG_TMPFS=y\n");
	put_text("boot/vmlinuz", "");
	snprintf(kernel, sizeof(kernel), "%s/boot/vmlinuz", dir);
	m = choose(kernel, NULL, usual);
	assert_non_null(m);
	assert_int_equal(m->place, MODULES_ABSENT);
	assert_int_equal(modules_missing(m, usual), usual & ~(KERNEL_BIT(KERNEL_VIRTIO_PCI) |
							      KERNEL_BIT(KERNEL_TMPFS)));
	assert_int_equal(m->choice.state[KERNEL_TMPFS], MODULE_BUILT_IN);
	modules_destroy(m);
}

/* ---- what others have written ---- */

static void a_module_for_another_kernel_is_refused(void **state)
{
	struct modules *m;

	(void)state;
	put_installed();
	put_module(RELEASE "/kernel/virtio/virtio_ring.ko", "6.1.0-other SMP ", "", "");
	assert_null(choose(NULL, NULL, usual));
	/* Such a kernel compares interfaces. */
	put_module(RELEASE "/kernel/virtio/virtio_ring.ko", "6.1.0-other SMP modversions ", "", "");
	m = choose(NULL, NULL, usual);
	assert_non_null(m);
	modules_destroy(m);
	put_module(RELEASE "/kernel/virtio/virtio_ring.ko", "6.12.0-test SMP modversions ", "", "");
	assert_null(choose(NULL, NULL, usual));
	put_text(RELEASE "/kernel/virtio/virtio_ring.ko", "no module at all");
	assert_null(choose(NULL, NULL, usual));
	/* A name that leads nowhere makes the driver one that is missing. */
	unlink(place(RELEASE "/kernel/virtio/virtio_ring.ko"));
	m = choose(NULL, NULL, usual);
	assert_non_null(m);
	assert_int_equal(m->choice.state[KERNEL_VIRTIO_PCI], MODULE_MISSING);
	assert_int_equal(m->choice.state[KERNEL_EROFS], MODULE_LOADED);
	modules_destroy(m);
	/* Nobody waits for who writes a fifo. */
	assert_int_equal(mkfifo(place(RELEASE "/kernel/virtio/virtio_ring.ko"), 0600), 0);
	assert_null(choose(NULL, NULL, usual));
}

static void circles_end(void **state)
{
	const char *magic = RELEASE " SMP ";
	struct modules *m;

	(void)state;
	put_installed();
	put_module(RELEASE "/kernel/virtio/virtio.ko", magic, "virtio_pci,virtio", "");
	m = choose(NULL, NULL, KERNEL_BIT(KERNEL_VIRTIO_PCI));
	assert_non_null(m);
	assert_string_equal(order_of(m), "virtio virtio_ring virtio_pci ");
	modules_destroy(m);
}

static void too_many_are_refused(void **state)
{
	char list[8192], name[64], next[32];
	size_t n = 0;

	(void)state;
	for (int i = 0; i <= MODULES_MAX; i++) {
		snprintf(name, sizeof(name), RELEASE "/k/%s%.0d.ko", i ? "m" : "erofs", i);
		snprintf(next, sizeof(next), "m%d", i + 1);
		put_module(name, RELEASE " ", next, "");
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s:\n", name + strlen(RELEASE "/"));
	}
	put_text(RELEASE "/modules.dep", list);
	assert_null(choose(NULL, NULL, KERNEL_BIT(KERNEL_EROFS)));
}

static void only_what_leads_down_is_a_path(void **state)
{
	static const struct {
		const char *line;
		bool ok;
	} cases[] = {
		{ "kernel/a/erofs.ko:", true },
		{ "erofs.ko", true },
		{ "a/erofs.ko.zst: x", true },
		{ "../erofs.ko:", false },
		{ "/lib/erofs.ko:", false },
		{ "a/../../erofs.ko:", false },
		{ "a\033[2J/erofs.ko:", false },
		{ "a/..b/erofs.ko:", true },
		{ "erofs:", false },
		{ "erofs.ko.lz:", false },
		{ "", false },
		{ "\n\n:", false },
		{ "a/e-rofs.ko:", false },
	};
	char path[MODULE_PATH_BYTES];
	struct module_index index;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct module_text text = { cases[i].line, strlen(cases[i].line) };

		assert_int_equal(module_index_init(&index, text), 0);
		assert_int_equal(module_index_find(&index, "erofs", path), cases[i].ok);
		module_index_fini(&index);
	}
}

/* Every field of a module's headers with every byte changed, and every length. */
static void damaged_modules_are_read_with_bounds(void **state)
{
	static const char info[] = "depends=a,b\0vermagic=6.1";
	uint8_t good[1024], *copy;
	size_t bytes = module_make(good, info, sizeof(info));
	struct module_text value;

	(void)state;
	assert_true(module_text_modinfo((struct module_text){ (char *)good, bytes }, "depends", 0, &value));
	assert_true(module_text_equals(value, "a,b"));
	for (size_t i = 0; i < bytes * 3; i++) {
		size_t len = i < bytes ? i : bytes;

		copy = malloc(len ? len : 1); /* its end is watched by a sanitizer */
		assert_non_null(copy);
		memcpy(copy, good, len);
		if (i >= bytes)
			copy[i % bytes] = i < 2 * bytes ? 0xff : (uint8_t)(copy[i % bytes] + 1);
		if (module_text_modinfo((struct module_text){ (char *)copy, len }, "depends", 0, &value))
			assert_true(range_within((uint64_t)((uint8_t *)value.data - copy), value.bytes, len));
		free(copy);
	}
}

/* ---- releases ---- */

static void releases_are_strict(void **state)
{
	static const struct {
		const char *text;
		int rc;
		unsigned int major, minor;
	} cases[] = {
		{ "6.1.0-56-cloud-amd64 (x", 0, 6, 1 },
		{ "6.12.117+deb12 ", 0, 6, 12 },
		{ "5.4 ", 0, 5, 4 },
		{ "6.1.0/../.. ", -ENODATA, 0, 0 },
		{ "6 ", -ENODATA, 0, 0 },
		{ "x.1 ", -ENODATA, 0, 0 },
		{ "6.1", -ENODATA, 0, 0 },
		{ "%s ", -ENODATA, 0, 0 },
		{ "6.123456 ", -ENODATA, 0, 0 },
		{ "", -ENODATA, 0, 0 },
		{ ".. ", -ENODATA, 0, 0 },
		{ "6.1-0123456789012345678901234567890123456789012345678901234567890123456789 ", -ENODATA, 0, 0 },
	};
	struct kernel_release r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		memset(&r, 0, sizeof(r));
		assert_int_equal(kernel_release_parse(&r, cases[i].text, strlen(cases[i].text)), cases[i].rc);
		if (!cases[i].rc) {
			assert_int_equal(r.major, cases[i].major);
			assert_int_equal(r.minor, cases[i].minor);
		} else {
			assert_string_equal(r.text, "");
		}
	}
	r = (struct kernel_release){ .major = 5, .minor = 15 };
	assert_true(kernel_release_is_older(&r, 6, 1));
	assert_true(kernel_release_is_older(&r, 5, 16));
	assert_false(kernel_release_is_older(&r, 5, 15));
	assert_false(kernel_release_is_older(&r, 4, 19));
}

static void what_is_no_kernel_has_no_release(void **state)
{
	struct kernel_release r;
	uint8_t elf[1024];

	(void)state;
	put_text("text", "Linux version 6.1.0 (");
	put("elf", elf, module_make(elf, "a", 2));
	assert_int_equal(kernel_release_read(&r, place("text")), -ENODATA);
	assert_int_equal(kernel_release_read(&r, place("elf")), -ENODATA);
	assert_int_equal(kernel_release_read(&r, dir), -ENODATA);
	assert_int_equal(kernel_release_read(&r, "/nowhere"), -ENOENT);
	assert_int_equal(mkfifo(place("fifo"), 0600), 0);
	assert_int_equal(kernel_release_read(&r, place("fifo")), -ENODATA);
}

/* The banner wherever it is, also where one chunk ends and the next begins. */
static void the_banner_is_found_anywhere(void **state)
{
	static const char banner[] = "Linux version 6.9.3-x (me@here)";
	const size_t segment = 600000, head = 4096;
	Elf64_Ehdr e = {
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_phoff = sizeof(e),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 1,
	};
	Elf64_Phdr p = { .p_type = PT_LOAD, .p_offset = head, .p_filesz = segment };
	uint8_t *file = calloc(1, head + segment);
	struct kernel_release r;

	(void)state;
	assert_non_null(file);
	memcpy(file, &e, sizeof(e));
	memcpy(file + sizeof(e), &p, sizeof(p));
	for (size_t at = 256 * 1024 - 100; at < 256 * 1024 + 20; at++) {
		memcpy(file + head + at, banner, sizeof(banner));
		if (at % 7 == 0 || (at > 256 * 1024 - 40 && at < 256 * 1024 + 5)) {
			put("vmlinux", file, head + segment);
			assert_int_equal(kernel_release_read(&r, place("vmlinux")), 0);
			assert_string_equal(r.text, "6.9.3-x");
			assert_true(r.is_64bit);
		}
		memset(file + head + at, 0, sizeof(banner));
	}
	free(file);
}

/* ---- Debian's ---- */

struct kernel_case {
	const char *name, *file;
	bool is_64bit;
	const char *order;
};

static const uint32_t all_drivers = KERNEL_BIT(KERNEL_VIRTIO_PCI) | KERNEL_BIT(KERNEL_VIRTIO_MMIO) |
				    KERNEL_BIT(KERNEL_VIRTIO_BLK) | KERNEL_BIT(KERNEL_VIRTIO_CONSOLE) |
				    KERNEL_BIT(KERNEL_VIRTIO_NET) |
				    KERNEL_BIT(KERNEL_VIRTIO_RNG) | KERNEL_BIT(KERNEL_EROFS) | KERNEL_BIT(KERNEL_OVERLAY) |
				    KERNEL_BIT(KERNEL_PVPANIC);

static void check_debian(const struct kernel_case *k)
{
	char path[PATH_MAX], version[128];
	struct kernel_release release;
	struct modules_config config = { .release = &release, .wanted = all_drivers };
	struct modules *m;
	FILE *f;

	snprintf(path, sizeof(path), "build/cache/%s/%s", k->name, k->file);
	if (access(path, R_OK))
		fail_msg("%s is missing: tests/host/prepare build/gcc makes it", path);
	assert_int_equal(kernel_release_read(&release, path), 0);
	assert_int_equal(release.is_64bit, k->is_64bit);
	snprintf(path, sizeof(path), "build/cache/%s/version", k->name);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%127s", version), 1);
	fclose(f);
	assert_string_equal(release.text, version);
	snprintf(path, sizeof(path), "build/cache/%s/modules", k->name);
	config.dir = path;
	assert_int_equal(modules_choose(&m, &config), 0);
	assert_int_equal(modules_missing(m, all_drivers), 0);
	assert_string_equal(order_of(m), k->order);
	for (unsigned int i = 0; i < m->choice.nr_files; i++) {
		assert_memory_equal(m->choice.files[i].data, ELFMAG, SELFMAG);
		assert_in_range(m->choice.files[i].bytes, 4096, 4 << 20);
	}
	modules_destroy(m);
}

#define VIRTIO_61 "virtio_ring virtio_pci_modern_dev virtio_pci_legacy_dev virtio virtio_pci virtio_mmio " \
		  "virtio_console virtio_blk "
#define VIRTIO_612 "virtio_mmio virtio_blk " /* the rest is built in */
#define CRC	   "-crc32c_generic "	     /* built into those for clouds */
#define OTHERS	   "libcrc32c erofs overlay failover net_failover virtio_net virtio_rng pvpanic pvpanic_mmio "

static void debians_kernels_load_what_they_need(void **state)
{
	static const struct kernel_case cases[] = {
		{ "cloud", "bzImage", true, VIRTIO_61 OTHERS },
		{ "cloud", "vmlinux", true, VIRTIO_61 OTHERS },
		{ "cloud612", "bzImage", true, VIRTIO_612 OTHERS },
		{ "generic", "bzImage", true, VIRTIO_61 CRC OTHERS },
		{ "generic612", "bzImage", true, VIRTIO_612 CRC OTHERS },
		{ "i686", "bzImage", false, VIRTIO_61 CRC OTHERS },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check_debian(&cases[i]);
}

/* ---- compressed ones ---- */

/* As modules are compressed by the kernel's build; what gives too much, or is cut, is refused. */
static void compressed_modules_are_unpacked(void **state)
{
	static const struct {
		const char *tool, *suffix;
	} cases[] = {
		{ "gzip -c", ".gz" },
		{ "xz --check=crc32 -c", ".xz" },
		{ "zstd -q -c", ".zst" },
		{ "zstd -q -c --no-content-size", ".zst" },
	};
	char command[1024], out[512], list[64];
	struct modules *m;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		put_module(RELEASE "/plain", RELEASE " SMP ", "", "");
		snprintf(list, sizeof(list), "erofs.ko%s:\n", cases[i].suffix);
		put_text(RELEASE "/modules.dep", list);
		snprintf(command, sizeof(command), "cd %s/%s && %s <plain >erofs.ko%s", dir, RELEASE,
			 cases[i].tool, cases[i].suffix);
		assert_int_equal(run_tool(command, out, sizeof(out)), 0);
		m = choose(NULL, NULL, KERNEL_BIT(KERNEL_EROFS));
		assert_non_null(m);
		assert_string_equal(order_of(m), "erofs ");
		modules_destroy(m);
		snprintf(command, sizeof(command), "cd %s/%s && %s <plain | head -c 60 >erofs.ko%s", dir, RELEASE,
			 cases[i].tool, cases[i].suffix);
		assert_int_equal(run_tool(command, out, sizeof(out)), 0);
		assert_null(choose(NULL, NULL, KERNEL_BIT(KERNEL_EROFS)));
	}
	snprintf(command, sizeof(command), "cd %s/%s && head -c 65M /dev/zero | zstd -q -c >erofs.ko.zst", dir,
		 RELEASE);
	assert_int_equal(run_tool(command, out, sizeof(out)), 0);
	assert_null(choose(NULL, NULL, KERNEL_BIT(KERNEL_EROFS)));
}

static struct modules *choose_cached(const char *cache)
{
	const struct modules_config config = {
		.dir = "build/cache/cloud612/modules",
		.wanted = KERNEL_BIT(KERNEL_EROFS),
		.use_cache = cache != NULL,
		.cache_dir = cache,
	};
	struct modules *m;

	assert_int_equal(modules_choose(&m, &config), 0);
	assert_int_equal(m->choice.nr_files, 2);
	return m;
}

static void same_modules(struct modules *a, struct modules *b)
{
	for (unsigned int i = 0; i < a->choice.nr_files; i++) {
		assert_int_equal(a->choice.files[i].bytes, b->choice.files[i].bytes);
		assert_memory_equal(a->choice.files[i].data, b->choice.files[i].data,
				    a->choice.files[i].bytes);
	}
	modules_destroy(a);
	modules_destroy(b);
}

/* Does something to each entry, "$f"; its times stay. */
static void damage_entries(const char *cache, const char *how)
{
	char command[512], out[512];

	snprintf(command, sizeof(command), "cd %s && for f in lkvm-*.module; do cp -p $f x && %s && "
					   "touch -r x $f && rm x; done",
		 cache, how);
	assert_int_equal(run_tool(command, out, sizeof(out)), 0);
}

static void unpacked_modules_are_kept(void **state)
{
	char cache[128], command[256], out[512];

	(void)state;
	snprintf(cache, sizeof(cache), "%s/cache", dir);
	same_modules(choose_cached(NULL), choose_cached(cache));
	snprintf(command, sizeof(command), "ls %s | grep -c '^lkvm-.*\\.module$'", cache);
	assert_int_equal(run_tool(command, out, sizeof(out)), 0);
	assert_string_equal(out, "2\n");
	same_modules(choose_cached(NULL), choose_cached(cache));
	damage_entries(cache, "printf Z | dd of=$f bs=1 seek=20 conv=notrunc status=none");
	same_modules(choose_cached(NULL), choose_cached(cache));
	damage_entries(cache, "truncate -s -1 $f");
	same_modules(choose_cached(NULL), choose_cached(cache));
	damage_entries(cache, "truncate -s 50 $f");
	same_modules(choose_cached(NULL), choose_cached(cache));
	/* One that cannot be made is no error. */
	same_modules(choose_cached(NULL), choose_cached("/nowhere/cache"));
}

/* What comes from the cache is what is in it: a test of the test above. */
static void entries_are_really_read(void **state)
{
	char cache[128], name[512];
	uint8_t *data;
	size_t bytes;
	int folder, fd;
	const char *why;

	(void)state;
	snprintf(cache, sizeof(cache), "%s/cache", dir);
	folder = cache_open_folder(cache, &why);
	fd = open("build/cache/cloud612/version", O_RDONLY);
	assert_true(folder >= 0 && fd >= 0);
	assert_false(module_cache_find(folder, fd, 1024, &data, &bytes));
	module_cache_store(folder, fd, (const uint8_t *)"anything", 8);
	assert_true(module_cache_find(folder, fd, 1024, &data, &bytes));
	assert_int_equal(bytes, 8);
	assert_memory_equal(data, "anything", 8);
	free(data);
	assert_false(module_cache_find(folder, fd, 7, &data, &bytes));
	close(fd);
	/* One that was written just now may change without a change of its times. */
	put_text("new", "x");
	snprintf(name, sizeof(name), "%s/new", dir);
	fd = open(name, O_RDONLY);
	module_cache_store(folder, fd, (const uint8_t *)"anything", 8);
	assert_false(module_cache_find(folder, fd, 1024, &data, &bytes));
	close(fd);
	close(folder);
}

/* ---- messages ---- */

static const char *report(const struct modules_config *config, uint32_t options)
{
	static char text[1024];
	int saved = dup(STDERR_FILENO), fd = memfile("", 0);
	struct modules *m;
	ssize_t n;

	assert_int_equal(modules_choose(&m, config), 0);
	dup2(fd, STDERR_FILENO);
	assert_int_equal(modules_report(m, options), -ENOENT);
	dup2(saved, STDERR_FILENO);
	close(saved);
	n = pread(fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	close(fd);
	modules_destroy(m);
	return text;
}

static void what_is_missing_is_said_by_name(void **state)
{
	const struct kernel_release release = { .text = "6.1.0" };
	struct modules_config config = { .release = &release, .installed = "/lib/none" };
	char tree[64];

	(void)state;
	assert_string_equal(report(&config, KERNEL_BIT(KERNEL_EROFS)),
			    "lkvm: kernel 6.1.0: needs CONFIG_EROFS_FS for --root, and /lib/none/6.1.0 is missing\n"
			    "  pass --modules DIR, or build with what \"lkvm kconfig\" prints.\n");
	/* Installed without depmod(8). */
	config.installed = dir;
	put_text("6.1.0/modules.builtin", "");
	assert_non_null(strstr(report(&config, KERNEL_BIT(KERNEL_EROFS)), "/6.1.0/modules.dep is missing\n"));
	config.off = true;
	assert_string_equal(report(&config, KERNEL_BIT(KERNEL_EROFS) | KERNEL_BIT(KERNEL_VIRTIO_NET)),
			    "lkvm: kernel 6.1.0: needs CONFIG_EROFS_FS for --root, CONFIG_VIRTIO_NET for -n, and "
			    "--modules is off\n  pass --modules DIR, or build with what \"lkvm kconfig\" prints.\n");
	config.off = false;
	put_tree(true);
	snprintf(tree, sizeof(tree), "%.40s/tree", dir);
	config.dir = tree;
	assert_non_null(strstr(report(&config, KERNEL_BIT(KERNEL_OVERLAY)), "has neither set nor built it\n"));
	config.dir = "build/cache/cloud/modules";
	assert_non_null(strstr(report(&config, KERNEL_BIT(KERNEL_TMPFS)), "has no such module\n"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_needed_comes_first),
		TEST(a_soft_dependency_that_is_built_in_needs_nothing),
		TEST(other_names_are_in_a_list),
		TEST(modules_are_found_below_what_is_given),
		TEST(a_tree_is_known_by_its_kernel),
		TEST(a_configuration_beside_the_kernel_tells),
		TEST(a_module_for_another_kernel_is_refused),
		TEST(circles_end),
		TEST(too_many_are_refused),
		TEST(only_what_leads_down_is_a_path),
		TEST(damaged_modules_are_read_with_bounds),
		TEST(releases_are_strict),
		TEST(what_is_no_kernel_has_no_release),
		TEST(the_banner_is_found_anywhere),
		TEST(debians_kernels_load_what_they_need),
		TEST(compressed_modules_are_unpacked),
		TEST(unpacked_modules_are_kept),
		TEST(entries_are_really_read),
		TEST(what_is_missing_is_said_by_name),
	};

	return cmocka_run_group_tests_name("modules", tests, NULL, NULL);
}
