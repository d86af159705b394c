// SPDX-License-Identifier: GPL-2.0-only
/*
 * The drivers for a guest's kernel.
 *
 * Runs on the main thread before the sandbox. It finds the folder, reads the lists in it into
 * memory and has module-choice.c choose, which asks for the modules one after the other; each is
 * unpacked as kernels are. A module that was made for another kernel than the one that is to run is
 * an error here: the guest would only refuse it.
 *
 * Not here: what kmod's configuration says (blacklists, options), which is about this host.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache.h"
#include "decompress.h"
#include "guest/module-cache.h"
#include "guest/modules.h"
#include "log.h"
#include "util.h"

#define MAX_TEXT_BYTES MIB(32) /* of a list; the largest of Debian's has two */

struct modules_reader {
	const struct modules *modules;
	int dir_fd;
	struct module_text aliases; /* modules.alias, when it has been asked for */
	int cache;		    /* folder; -1: none */
	uint64_t left;		    /* bytes that modules may still take */
	uint8_t *scratch;	    /* MODULES_MAX_FILE_BYTES for unpacking; NULL until it is needed */
};

/* ---- reading ---- */

/* A regular file's size; the descriptor or -errno. */
static int open_regular(int dir_fd, const char *path, uint64_t *bytes)
{
	int fd = openat(dir_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;
	int rc;

	if (fd < 0)
		return -errno;
	rc = fstat(fd, &st)	 ? -errno :
	     S_ISREG(st.st_mode) ? 0 :
				   -EINVAL;
	if (rc) {
		close(fd);
		return rc;
	}
	*bytes = (uint64_t)st.st_size;
	return fd;
}

/* All @n bytes of a file, of which @max are allowed, in memory from malloc(). */
static int read_all(int fd, uint64_t n, uint64_t max, uint8_t **data, size_t *bytes)
{
	int rc;

	if (n > max)
		return -EFBIG;
	*data = malloc(n ? n : 1);
	if (!*data)
		return -ENOMEM;
	rc = pread_all(fd, *data, n, 0);
	if (!rc) {
		*bytes = n;
		return 0;
	}
	free(*data);
	*data = NULL;
	return rc;
}

/* One that is not there, or cannot be read, says nothing. */
static struct module_text modules_read_text(int dir_fd, const char *name)
{
	uint8_t *data = NULL;
	size_t bytes = 0;
	uint64_t n = 0;
	int fd = open_regular(dir_fd, name, &n), rc = fd;

	if (fd >= 0) {
		rc = read_all(fd, n, MAX_TEXT_BYTES, &data, &bytes);
		close(fd);
	}
	if (rc < 0 && rc != -ENOENT)
		log_verbose("modules: %s: %s", name, strerror(-rc));
	return (struct module_text){ (char *)data, bytes };
}

static void free_text(struct module_text *text)
{
	free((void *)(uintptr_t)text->data);
	*text = (struct module_text){ NULL, 0 };
}

__attribute__((format(printf, 4, 5))) static int module_fail(const struct modules_reader *r,
							     const char *path, int rc, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_error("module: %s/%s: %s", r->modules->path, path, text);
	return rc;
}

/* Replaces what is in @file by what it gives. */
static int unpack_module(struct modules_reader *r, const char *path, const struct unpacker *u,
			 struct module_file *file)
{
	size_t bytes;
	uint8_t *data;
	int rc;

	if (!r->scratch) {
		void *map = mmap(NULL, MODULES_MAX_FILE_BYTES, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		if (map == MAP_FAILED)
			return log_enomem("modules");
		r->scratch = map;
	}
	rc = unpack_up_to(u, file->data, file->bytes, r->scratch, MODULES_MAX_FILE_BYTES, &bytes);
	if (rc == -ENOSYS)
		return module_fail(r, path, rc, "this host has no %s, which unpacks %s",
				   unpack_library(u), unpack_name(u));
	if (rc)
		return module_fail(r, path, rc, "damaged, or more than %llu MiB (%s)",
				   MODULES_MAX_FILE_BYTES >> 20, unpack_name(u));
	data = malloc(bytes ? bytes : 1);
	if (!data)
		return log_enomem("modules");
	memcpy(data, r->scratch, bytes);
	free(file->data);
	file->data = data;
	file->bytes = bytes;
	return 0;
}

static bool is_compressed(const char *path)
{
	const char *dot = strrchr(path, '.');

	return dot && strcmp(dot, ".ko") != 0;
}

/* @fd has @bytes bytes. */
static int read_unpacked(struct modules_reader *r, const char *path, int fd, uint64_t bytes,
			 struct module_file *file)
{
	const bool is_cached = r->cache >= 0 && is_compressed(path);
	const struct unpacker *u;
	int rc;

	if (is_cached &&
	    module_cache_find(r->cache, fd, MODULES_MAX_FILE_BYTES, &file->data, &file->bytes))
		return 0;
	rc = read_all(fd, bytes, MODULES_MAX_FILE_BYTES, &file->data, &file->bytes);
	if (rc)
		return module_fail(r, path, rc, "%s", strerror(-rc));
	u = unpack_find(file->data, file->bytes);
	rc = u ? unpack_module(r, path, u, file) : 0;
	if (!rc && u && is_cached)
		module_cache_store(r->cache, fd, file->data, file->bytes);
	return rc;
}

static bool is_same_version(const struct kernel_release *a, const char *text)
{
	struct kernel_release b;

	return !kernel_release_parse(&b, text, strlen(text) + 1) && a->major == b.major &&
	       a->minor == b.minor;
}

/*
 * "vermagic=RELEASE ...": a kernel loads what was made for itself. One with "modversions" in both
 * looks at the interfaces instead, which are the same at most within one version.
 */
static int check_module(const struct modules_reader *r, const char *path,
			const struct module_file *file)
{
	const struct modules *m = r->modules;
	const struct module_text text = { (const char *)file->data, file->bytes };
	struct module_text magic, word;
	struct kernel_release release = { .major = 0 };

	if (!module_text_modinfo(text, "vermagic", 0, &magic) ||
	    kernel_release_parse(&release, magic.data, magic.bytes))
		return module_fail(r, path, -EINVAL, "not a kernel module");
	if (!*m->release || !strcmp(release.text, m->release))
		return 0;
	while (module_text_word(&magic, " ", &word))
		if (module_text_equals(word, "modversions") && is_same_version(&release, m->release))
			return 0;
	return module_fail(r, path, -EINVAL, "made for kernel %s, and this one is %s%s",
			   release.text, m->release,
			   m->place == MODULES_TREE ? "\nbuild the modules again: make modules" :
						      "\npass --modules DIR with those of this kernel.");
}

static int read_module(void *ctx, const char *path, struct module_file *file)
{
	struct modules_reader *r = ctx;
	uint64_t bytes = 0;
	int rc, fd = open_regular(r->dir_fd, path, &bytes);

	if (fd == -ENOENT)
		return fd;
	if (fd < 0)
		return module_fail(r, path, fd, "%s", fd == -EINVAL ? "is no file" : strerror(-fd));
	rc = read_unpacked(r, path, fd, bytes, file);
	close(fd);
	if (!rc)
		rc = check_module(r, path, file);
	if (!rc && file->bytes > r->left)
		rc = module_fail(r, path, -EFBIG, "the modules are larger than %llu MiB together",
				 MODULES_MAX_BYTES >> 20);
	if (rc) {
		free(file->data);
		file->data = NULL;
		return rc;
	}
	r->left -= file->bytes;
	return 0;
}

/* In a tree modules.order may say ".o", and older ones begin with "kernel/". */
static int read_tree_module(void *ctx, const char *path, struct module_file *file)
{
	static const char prefix[] = "kernel/";
	const struct modules_reader *r = ctx;
	char own[MODULE_PATH_BYTES + 2];
	size_t len;

	if (!strncmp(path, prefix, strlen(prefix)) && faccessat(r->dir_fd, path, F_OK, 0))
		path += strlen(prefix);
	len = (size_t)snprintf(own, sizeof(own) - 1, "%s", path);
	if (len > 2 && !strcmp(own + len - 2, ".o"))
		memcpy(own + len - 2, ".ko", 4);
	return read_module(ctx, own, file);
}

static struct module_text read_aliases(void *ctx)
{
	struct modules_reader *r = ctx;

	if (!r->aliases.data)
		r->aliases = modules_read_text(r->dir_fd, "modules.alias");
	return r->aliases;
}

/* ---- places ---- */

static bool has_file(const char *dir, const char *name)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/%s", dir, name);

	return n > 0 && (size_t)n < sizeof(path) && !access(path, R_OK);
}

static enum modules_place place_at(const char *dir)
{
	if (has_file(dir, "modules.dep"))
		return MODULES_FOLDER;
	return has_file(dir, "modules.order") && has_file(dir, ".config") ? MODULES_TREE :
									    MODULES_ABSENT;
}

/* True if there is something at "@fmt". */
__attribute__((format(printf, 2, 3))) static bool try_place(struct modules *m, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(m->path, sizeof(m->path), fmt, ap);
	va_end(ap);
	m->place = n > 0 && (size_t)n < sizeof(m->path) ? place_at(m->path) : MODULES_ABSENT;
	return m->place != MODULES_ABSENT;
}

/* What --modules names. */
static int find_given(struct modules *m, const char *dir)
{
	struct stat st;

	int rc = stat(dir, &st)	     ? -errno :
		 S_ISDIR(st.st_mode) ? 0 :
				       -ENOTDIR;

	if (rc) {
		log_error("--modules: %s: %s", dir, strerror(-rc));
		return rc;
	}
	if (try_place(m, "%s", dir))
		return 0;
	if (*m->release && (try_place(m, "%s/lib/modules/%s", dir, m->release) ||
			    try_place(m, "%s/%s", dir, m->release)))
		return 0;
	log_error("--modules: %s: no modules for kernel %s in it\n"
		  "it has to have modules.dep in it or in lib/modules/%s below it, or be the tree "
		  "that the kernel was built in.",
		  dir, *m->release ? m->release : "(unknown)",
		  *m->release ? m->release : "RELEASE");
	return -ENOENT;
}

/* The tree that the kernel stands in: TREE/vmlinux or TREE/arch/x86/boot/bzImage. */
static bool find_tree(struct modules *m, const char *kernel)
{
	static const char *const tails[] = { "/vmlinux", "/arch/x86/boot/bzImage",
					     "/arch/x86/boot/vmlinux.bin" };
	char *path = kernel ? realpath(kernel, NULL) : NULL;
	size_t len = path ? strlen(path) : 0;
	bool found = false;

	for (size_t i = 0; i < ARRAY_SIZE(tails) && !found; i++) {
		size_t n = strlen(tails[i]);

		if (len > n && !strcmp(path + len - n, tails[i]))
			found = try_place(m, "%.*s", (int)(len - n), path) &&
				m->place == MODULES_TREE;
	}
	free(path);
	return found;
}

static int find_place(struct modules *m, const struct modules_config *c)
{
	m->off = c->off;
	if (c->off)
		return 0;
	if (c->dir)
		return find_given(m, c->dir);
	if (find_tree(m, c->kernel))
		return 0;
	m->place = MODULES_NOWHERE;
	m->path[0] = '\0';
	if (*m->release)
		try_place(m, "%s/%s", c->installed ? c->installed : "/lib/modules", m->release);
	return 0;
}

/* ---- the choice ---- */

/* A distribution's configuration: beside the modules, or beside the kernel as config-RELEASE. */
static struct module_text read_config(const struct modules *m, const char *kernel, int dir_fd)
{
	struct module_text text = { NULL, 0 };
	const char *slash = kernel ? strrchr(kernel, '/') : NULL;
	char path[PATH_MAX];
	int n;

	if (dir_fd >= 0)
		text = modules_read_text(dir_fd, m->place == MODULES_TREE ? ".config" : "config");
	if (text.bytes || !*m->release || !kernel || m->place == MODULES_TREE)
		return text;
	free_text(&text);
	n = snprintf(path, sizeof(path), "%.*sconfig-%s", slash ? (int)(slash + 1 - kernel) : 0, kernel,
		     m->release);
	return n > 0 && (size_t)n < sizeof(path) ? modules_read_text(AT_FDCWD, path) : text;
}

struct modules_lists {
	struct module_text paths, builtin;
	struct module_source source;
};

static int open_lists(struct modules_lists *l, const struct modules *m, const char *kernel,
		      int dir_fd)
{
	struct module_source *s = &l->source;
	int rc;

	s->is_tree = m->place == MODULES_TREE;
	s->config = read_config(m, kernel, dir_fd);
	if (dir_fd < 0)
		return 0;
	l->paths = modules_read_text(dir_fd, s->is_tree ? "modules.order" : "modules.dep");
	l->builtin = modules_read_text(dir_fd, "modules.builtin");
	s->builtin_modinfo = modules_read_text(dir_fd, "modules.builtin.modinfo");
	rc = module_index_init(&s->paths, l->paths);
	return rc ? rc : module_index_init(&s->builtin, l->builtin);
}

static void close_lists(struct modules_lists *l)
{
	struct module_source *s = &l->source;

	module_index_fini(&s->paths);
	module_index_fini(&s->builtin);
	free_text(&l->paths);
	free_text(&l->builtin);
	free_text(&s->builtin_modinfo);
	free_text(&s->config);
}

static int choose_from_place(struct modules *m, const struct modules_config *c)
{
	bool is_there = m->place == MODULES_FOLDER || m->place == MODULES_TREE;
	struct modules_reader reader = {
		.modules = m,
		.dir_fd = -1,
		.cache = -1,
		.left = MODULES_MAX_BYTES,
	};
	struct modules_lists lists = {
		.source = {
			.read = m->place == MODULES_TREE ? read_tree_module : read_module,
			.aliases = m->place == MODULES_FOLDER ? read_aliases : NULL,
			.ctx = &reader,
		},
	};
	const char *why;
	int rc = 0;

	if (is_there && c->use_cache)
		reader.cache = cache_open_folder(c->cache_dir, &why);
	if (is_there) {
		reader.dir_fd = open(m->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		rc = reader.dir_fd < 0 ? -errno : 0;
		if (rc)
			log_error("modules: %s: %s", m->path, strerror(-rc));
	}
	if (!rc && open_lists(&lists, m, c->kernel, reader.dir_fd))
		rc = log_enomem("modules");
	if (!rc)
		rc = module_choice_make(&m->choice, &lists.source, c->wanted, c->optional);
	if (rc == -E2BIG)
		log_error("modules: %s: more than %u are needed", m->path, MODULES_MAX);
	close_lists(&lists);
	free_text(&reader.aliases);
	if (reader.scratch)
		munmap(reader.scratch, MODULES_MAX_FILE_BYTES);
	if (reader.dir_fd >= 0)
		close(reader.dir_fd);
	if (reader.cache >= 0)
		close(reader.cache);
	return rc;
}

int modules_choose(struct modules **out, const struct modules_config *config)
{
	struct modules *m = calloc(1, sizeof(*m));
	int rc;

	if (!m)
		return log_enomem("modules");
	if (config->release)
		memcpy(m->release, config->release->text, sizeof(m->release));
	rc = find_place(m, config);
	if (!rc)
		rc = choose_from_place(m, config);
	if (rc) {
		modules_destroy(m);
		return rc;
	}
	*out = m;
	return 0;
}

void modules_destroy(struct modules *m)
{
	if (!m)
		return;
	module_choice_fini(&m->choice);
	free(m);
}

/* ---- messages ---- */

uint32_t modules_missing(const struct modules *m, uint32_t options)
{
	uint32_t missing = 0;

	for (unsigned int i = 0; i < NR_KERNEL_OPTIONS; i++)
		if (options & KERNEL_BIT(i) && m->choice.state[i] == MODULE_MISSING)
			missing |= KERNEL_BIT(i);
	return missing;
}

/* "CONFIG_A for this, CONFIG_B for that" */
static void list_options(char *text, size_t bytes, uint32_t options)
{
	size_t at = 0;

	text[0] = '\0';
	for (unsigned int i = 0; i < NR_KERNEL_OPTIONS && at < bytes; i++)
		if (options & KERNEL_BIT(i))
			at += (size_t)snprintf(text + at, bytes - at, "%sCONFIG_%s %s", at ? ", " : "",
					       kernel_options[i].name, kernel_options[i].purpose);
}

int modules_report(const struct modules *m, uint32_t options)
{
	static const char build[] = "build with what \"lkvm kconfig\" prints";
	const char *release = *m->release ? m->release : "(unknown)";
	char text[1024];

	list_options(text, sizeof(text), options);
	if (m->off)
		log_error("kernel %s: needs %s, and --modules is off\npass --modules DIR, or %s.",
			  release, text, build);
	else if (m->place == MODULES_FOLDER)
		log_error("kernel %s: needs %s, and %s has no such module\n%s.", release, text,
			  m->path, build);
	else if (m->place == MODULES_TREE)
		log_error("kernel %s: needs %s, and %s has neither set nor built it\n"
			  "%s, or make modules.",
			  release, text, m->path, build);
	else if (*m->path)
		log_error("kernel %s: needs %s, and %s%s is missing\npass --modules DIR, or %s.", release,
			  text, m->path, access(m->path, F_OK) ? "" : "/modules.dep", build);
	else
		log_error("kernel %s: needs %s, and nobody says where its modules are\n"
			  "pass --modules DIR, or %s.",
			  release, text, build);
	return -ENOENT;
}
