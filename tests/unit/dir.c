// SPDX-License-Identifier: GPL-2.0-only
/*
 * A directory of this host as a disk: what a guest would find on it is what is in the directory,
 * and what it reads is never anything else.
 */
#include "tests/lib/disk.h"
#include "tests/lib/erofs-view.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "disk/dir-space.h"
#include "disk/dir.h"
#include "disk/files.h"
#include "disk/tar-file.h"
#include "state.h"

#define BLOCK 4096u

static struct sandbox walls;

struct rig {
	struct files *files;
	struct disk *disk;
	int image; /* what was read is written there; -1 */
	uint64_t reads;
	char tree[128];
};

/* ---- the disk ---- */

static void run_until(const bool *done)
{
	const uint64_t deadline = now_ns() + 60000000000ull;
	struct pollfd p = { .fd = event_fd(loop), .events = POLLIN };

	event_run_deferred(loop);
	while (!*done) {
		assert_true(now_ns() < deadline);
		poll(&p, 1, 10);
		event_poll(loop);
		event_run_deferred(loop);
	}
}

static int read_disk(struct disk *disk, uint64_t offset, void *data, size_t bytes)
{
	struct wait_request w;

	start_request(disk, &w, DISK_READ, offset, data, bytes);
	run_until(&w.done);
	return w.error;
}

static bool read_view(void *arg, uint64_t offset, void *buf, size_t bytes)
{
	static uint8_t block[BLOCK];
	static uint64_t last = UINT64_MAX;
	static struct disk *last_disk;
	struct rig *r = arg;
	uint8_t *out = buf;

	while (bytes) {
		size_t skip = offset % BLOCK, n = min_u64(bytes, BLOCK - skip);

		if (last != offset / BLOCK || last_disk != r->disk) {
			last = UINT64_MAX;
			r->reads++;
			if (offset + n > r->disk->size_bytes || read_disk(r->disk, offset - skip, block, BLOCK))
				return false;
			last = offset / BLOCK;
			last_disk = r->disk;
			if (r->image >= 0)
				assert_int_equal(pwrite(r->image, block, BLOCK, (off_t)(offset - skip)), BLOCK);
		}
		memcpy(out, block + skip, n);
		out += n;
		offset += n;
		bytes -= n;
	}
	return true;
}

static void open_rig_with(struct rig *r, const struct tree_config *tree)
{
	struct disk_config config = { .path = tree->path };

	*r = (struct rig){ .image = -1 };
	snprintf(r->tree, sizeof(r->tree), "%s", tree->path);
	assert_int_equal(files_start(&r->files, loop, &walls, tree, 1), 0);
	assert_int_equal(files_wait(r->files), 0);
	assert_int_equal(files_watch(r->files), 0);
	config.files = r->files;
	assert_int_equal(disk_open(&r->disk, aio, &config), 0);
}

/* The directory @path, or an archive of it. */
static void open_rig_of(struct rig *r, const char *path, int archive_fd, enum tree_owner owner)
{
	const struct tree_config tree = { .path = path, .archive_fd = archive_fd, .owner = owner };

	open_rig_with(r, &tree);
}

static void open_rig(struct rig *r, const char *path, enum tree_owner owner)
{
	open_rig_of(r, path, -1, owner);
}

static void close_rig(struct rig *r)
{
	if (r->image >= 0)
		close(r->image);
	assert_int_equal(disk_finish(r->disk), 0);
	disk_close(r->disk);
	files_stop(r->files);
}

/* ---- comparing ---- */

struct compare {
	struct rig *rig;
	struct view view;
	char path[PATH_MAX];
	uint64_t parent;
	uint64_t nr_entries, nr_xattrs;
	uint64_t links[4096][2]; /* inode of the host, of the guest */
	unsigned int nr_links;
	bool has_data; /* compare it, too */
};

static void compare_data(struct compare *c, const struct view_inode *i)
{
	static uint8_t ours[65536], theirs[65536];
	int fd = open(c->path, O_RDONLY);

	assert_true(fd >= 0);
	for (uint64_t at = 0; at < i->size; at += sizeof(ours)) {
		size_t n = min_u64(i->size - at, sizeof(ours));
		off_t data = lseek(fd, (off_t)at, SEEK_DATA);

		/* Holes of gigabytes need not be looked at whole. */
		if (i->size > MIB(64) && (data < 0 || (uint64_t)data >= at + n) && at % MIB(64))
			continue;
		assert_true(view_read(&c->view, i, at, ours, n));
		assert_int_equal(pread(fd, theirs, n, (off_t)at), n);
		assert_memory_equal(ours, theirs, n);
	}
	close(fd);
}

static bool compare_xattr(void *arg, const char *name, const void *value, size_t n)
{
	static char theirs[65536];
	struct compare *c = arg;

	c->nr_xattrs++;
	if (lgetxattr(c->path, name, theirs, sizeof(theirs)) != (ssize_t)n || memcmp(theirs, value, n)) {
		print_error("%s: %s differs\n", c->path, name);
		return false;
	}
	return true;
}

static void compare_xattrs(struct compare *c, const struct view_inode *i)
{
	static char names[65536];
	ssize_t n = llistxattr(c->path, names, sizeof(names));
	uint64_t theirs = 0;

	c->nr_xattrs = 0;
	assert_true(view_xattrs(&c->view, i, compare_xattr, c));
	for (ssize_t at = 0; at < n; at += (ssize_t)strlen(names + at) + 1)
		theirs += strncmp(names + at, "trusted.", 8) != 0;
	assert_int_equal(c->nr_xattrs, theirs);
}

static void compare_link(struct compare *c, const struct stat *st, uint64_t nid)
{
	unsigned int k = 0;

	if (S_ISDIR(st->st_mode) || st->st_nlink == 1 || c->nr_links == 4096)
		return;
	while (k < c->nr_links && c->links[k][0] != st->st_ino)
		k++;
	if (k == c->nr_links) {
		c->links[c->nr_links][0] = st->st_ino;
		c->links[c->nr_links++][1] = nid;
	}
	assert_int_equal(c->links[k][1], nid);
}

static void compare_inode(struct compare *c, uint64_t nid, unsigned int type);

struct compare_dir {
	struct compare *c;
	uint64_t self, parent;
	unsigned int nr;
};

static bool compare_entry(void *arg, const char *name, uint64_t nid, unsigned int type)
{
	struct compare_dir *d = arg;
	struct compare *c = d->c;
	size_t before = strlen(c->path);

	d->nr++;
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return type == 2 && nid == (name[1] ? d->parent : d->self);
	c->nr_entries++;
	snprintf(c->path + before, sizeof(c->path) - before, "/%s", name);
	c->parent = d->self;
	compare_inode(c, nid, type);
	c->path[before] = '\0';
	return true;
}

static void compare_dir(struct compare *c, const struct view_inode *i)
{
	struct compare_dir d = { .c = c, .self = i->nid, .parent = c->parent };
	unsigned int theirs = 0;
	DIR *dir = opendir(c->path);

	assert_non_null(dir);
	while (readdir(dir))
		theirs++;
	closedir(dir);
	if (!view_list(&c->view, i, compare_entry, &d))
		fail_msg("%s: bad directory", c->path);
	assert_int_equal(d.nr, theirs);
}

static void compare_attr(struct compare *c, const struct view_inode *i, const struct stat *st)
{
	assert_int_equal(i->mode, st->st_mode);
	assert_int_equal(i->uid, st->st_uid);
	assert_int_equal(i->gid, st->st_gid);
	assert_int_equal((int64_t)i->mtime, st->st_mtim.tv_sec);
	assert_int_equal(i->mtime_nsec, st->st_mtim.tv_nsec);
	if (!S_ISDIR(st->st_mode))
		assert_int_equal(i->size, st->st_size);
	if (!S_ISDIR(st->st_mode) || st->st_nlink > 1) /* some file systems do not count */
		assert_int_equal(i->nlink, st->st_nlink);
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
		assert_int_equal(makedev(i->u >> 8 & 0xfff, (i->u & 0xff) | (i->u >> 12 & 0xfff00)), st->st_rdev);
	(void)c;
}

static void compare_inode(struct compare *c, uint64_t nid, unsigned int type)
{
	static const unsigned int types[] = { 0, S_IFREG, S_IFDIR, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK, S_IFLNK };
	char target[PATH_MAX] = { 0 }, theirs[PATH_MAX] = { 0 };
	struct view_inode i = { 0 };
	struct stat st;

	assert_int_equal(lstat(c->path, &st), 0);
	if (!view_inode(&c->view, nid, &i))
		fail_msg("%s: bad inode", c->path);
	assert_true(type < ARRAY_SIZE(types) && types[type] == (st.st_mode & S_IFMT));
	compare_attr(c, &i, &st);
	compare_link(c, &st, nid);
	compare_xattrs(c, &i);
	if (S_ISREG(st.st_mode) && c->has_data)
		compare_data(c, &i);
	if (S_ISDIR(st.st_mode))
		compare_dir(c, &i);
	if (!S_ISLNK(st.st_mode))
		return;
	assert_true(view_read(&c->view, &i, 0, target, i.size));
	assert_int_equal(readlink(c->path, theirs, sizeof(theirs)), i.size);
	assert_string_equal(target, theirs);
}

/* Returns how many entries there are. */
static uint64_t compare_tree(struct rig *r, bool with_data)
{
	static struct compare c;

	c = (struct compare){ .rig = r, .view = { .read = read_view, .arg = r }, .has_data = with_data };
	snprintf(c.path, sizeof(c.path), "%s", r->tree);
	assert_true(view_open(&c.view));
	c.parent = c.view.root;
	compare_inode(&c, c.view.root, 2);
	return c.nr_entries;
}

/* ---- trees ---- */

static void make_names_of_all_bytes(void)
{
	char path[400], name[32];

	for (int b = 1; b < 256; b++) {
		if (b == '/')
			continue;
		snprintf(name, sizeof(name), "%c", b);
		if (b != '.') {
			snprintf(path, sizeof(path), "%s/t/bytes/%s", folder, name);
			write_file(path, name, 1);
		}
		snprintf(path, sizeof(path), "%s/t/bytes/a%c%c", folder, b, b);
		write_file(path, name, 1);
	}
	memset(name, 0, sizeof(name));
	for (unsigned int i = 0; i < 30; i++) {
		char longest[256];

		memset(longest, 'a' + (int)i % 26, 255);
		longest[255] = '\0';
		longest[254] = (char)('0' + i);
		snprintf(path, sizeof(path), "%s/t/bytes/%s", folder, longest);
		write_file(path, name, i);
	}
}

static void make_many(const char *name, unsigned int nr, bool dirs)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/t/%s", folder, name);
	assert_int_equal(mkdir(path, 0755), 0);
	for (unsigned int i = 0; i < nr; i++) {
		snprintf(path, sizeof(path), "%s/t/%s/entry-%u", folder, name, i * 7919 % nr);
		if (dirs && i % 3 == 0)
			assert_int_equal(mkdir(path, 0700 + i % 8), 0);
		else
			write_file(path, path, i % 64);
	}
}

static void make_special(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char path[128];

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/t/socket", folder);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	close(fd);
	snprintf(path, sizeof(path), "%s/t/fifo", folder);
	assert_int_equal(mkfifo(path, 0640), 0);
	if (is_real_root()) {
		snprintf(path, sizeof(path), "%s/t/chr", folder);
		assert_int_equal(mknod(path, S_IFCHR | 0600, makedev(4001, 300001)), 0);
		snprintf(path, sizeof(path), "%s/t/blk", folder);
		assert_int_equal(mknod(path, S_IFBLK | 0660, makedev(8, 3)), 0);
		assert_int_equal(tool("chown 1234:70000 t/blk && setcap cap_net_raw+ep t/caps"), 0);
	}
}

static void make_attributes(void)
{
	char path[128], name[32];
	static uint8_t value[3000];

	assert_int_equal(tool("echo x >t/caps; echo y >t/acl; mkdir t/acldir t/attrs; "
			      "setfacl -m u:4321:r t/acl; setfacl -d -m g:55:rx t/acldir; touch t/acldir/inherits"),
			 0);
	for (unsigned int i = 0; i < sizeof(value); i++)
		value[i] = (uint8_t)(i * 31);
	for (unsigned int i = 0; i < 13; i++) {
		snprintf(path, sizeof(path), "%s/t/acl", folder);
		snprintf(name, sizeof(name), "user.attribute-%u", i);
		if (i < 12) /* with the ACL 13: as many as an inode can refer to */
			assert_int_equal(setxattr(path, name, value, i * 4, 0), 0);
		snprintf(path, sizeof(path), "%s/t/attrs/%u", folder, i);
		write_file(path, path, i);
		assert_int_equal(setxattr(path, "user.n", value, i < 12 ? i * 10 : sizeof(value), 0), 0);
		snprintf(path, sizeof(path), "%s/t/attrs", folder);
		assert_int_equal(setxattr(path, name, value, i * 8, 0), 0);
	}
}

static void make_links(void)
{
	char target[3500], path[128];

	memset(target, 'x', sizeof(target));
	for (unsigned int i = 0; i < sizeof(target) - 1; i += 50 + i / 3) {
		snprintf(path, sizeof(path), "%s/t/links/%u", folder, i);
		target[i + 1] = '\0';
		assert_int_equal(symlink(target, path), 0);
		target[i + 1] = 'x';
	}
	assert_int_equal(tool("ln t/small t/links/small1; ln t/small t/links/small2; ln t/small t/dirs; "
			      "ln t/links/0 t/links/zero; ln t/fifo t/links/fifo"),
			 0);
}

static void make_files(void)
{
	assert_int_equal(tool("mkdir -p t/bytes t/links t/sparse t/empty t/d/e/e/p/e/r; echo hello >t/small; : >t/empty-file; "
			      "head -c 1000000 /dev/urandom >t/large; head -c 8192 /dev/urandom >t/even; "
			      "chmod 4755 t/small; chmod 2711 t/d; chmod 1777 t/d/e; "
			      "cd t/sparse; truncate -s 10G hole; truncate -s 300M both; echo start | dd of=both conv=notrunc status=none; "
			      "echo end >>both; "
			      "truncate -s 2M two; printf x | dd of=two bs=1 seek=1500000 conv=notrunc status=none"),
			 0);
}

static void make_times(void)
{
	assert_int_equal(tool("touch -d '1932-03-04 05:06:07.123456789' t/even; touch -d @0 t/empty-file; "
			      "touch -d '2200-01-01' t/d/e; touch -h -d '1999-12-31' t/links/50"),
			 0);
}

static void make_everything(unsigned int many)
{
	assert_int_equal(tool("mkdir t"), 0);
	make_files();
	make_many("ten", 10, true);
	make_many("dirs", 1000, true);
	make_many("many", many, false);
	make_names_of_all_bytes();
	make_attributes();
	make_special();
	make_links();
	make_times();
}

/* ---- looking at the disk ---- */

struct search {
	const char *name;
	uint64_t nid;
	unsigned int nr;
};

static bool match_entry(void *arg, const char *name, uint64_t nid, unsigned int type)
{
	struct search *s = arg;

	(void)type;
	s->nr++;
	if (s->name && !strcmp(name, s->name))
		s->nid = nid;
	return true;
}

/* The inode of a file @path below the root; "" is the root. */
static struct view_inode find_inode(struct rig *r, const char *path)
{
	const struct view v = { .read = read_view, .arg = r };
	uint64_t nid = SPACE_ROOT * 128;
	struct view_inode i = { 0 };
	char part[256];

	assert_true(view_inode(&v, nid, &i));
	while (*path) {
		struct search s = { .name = part };
		size_t n = strcspn(path, "/");

		snprintf(part, sizeof(part), "%.*s", (int)n, path);
		path += n + (path[n] == '/');
		assert_true(view_list(&v, &i, match_entry, &s));
		assert_true(s.nid && view_inode(&v, s.nid, &i));
	}
	return i;
}

static unsigned int count_entries(struct rig *r, const struct view_inode *i)
{
	const struct view v = { .read = read_view, .arg = r };
	struct search s = { 0 };

	assert_true(view_list(&v, i, match_entry, &s));
	return s.nr;
}

/* Reads the first block of a file. */
static int read_file(struct rig *r, const struct view_inode *i, void *block)
{
	return read_disk(r->disk, (uint64_t)i->u * BLOCK, block, BLOCK);
}

/* How many messages of @text there are that have @word. */
static unsigned int count_messages(const char *text, const char *word)
{
	unsigned int n = 0;

	for (text = strstr(text, word); text; text = strstr(text + 1, word))
		n++;
	return n;
}

/* ---- tests ---- */

static int set_up_dir(void **state)
{
	(void)state;
	set_up(AIO_AUTO);
	sandbox_init(&walls, SANDBOX_ON);
	return 0;
}

static int set_up_threads(void **state)
{
	(void)state;
	set_up(AIO_THREADS);
	sandbox_init(&walls, SANDBOX_OFF);
	return 0;
}

static int tear_down_dir(void **state)
{
	(void)state;
	tear_down();
	sandbox_fini(&walls);
	return 0;
}

static void all_that_is_in_a_tree_is_on_the_disk(void **state)
{
	struct rig r;

	(void)state;
	make_everything(20000);
	open_rig(&r, path_in("t"), TREE_OWNER_KEEP);
	r.image = open(path_in("image"), O_RDWR | O_CREAT, 0600);
	assert_true(compare_tree(&r, true) > 21000);
	close_rig(&r);
	assert_int_equal(tool("fsck.erofs --extract=x image --preserve"), 0);
	/* It loses holes, and set-uid bits; and what it sets of a directory changes with what it makes there. */
	assert_int_equal(tool("rm -r t/sparse x/sparse; chmod -R u-s t; for d in t x; do (cd $d; "
			      "find . -type f -exec sha256sum {} + | sort; "
			      "find . ! -type d -printf '%%P %%y %%m %%U %%G %%s %%T@ %%l\\n' | sort; "
			      "find . -type d -printf '%%P %%m %%U %%G\\n' | sort) >$d.list; done; "
			      "diff t.list x.list | head -20; cmp t.list x.list"),
			 0);
}

/* ---- spare disks ---- */

/* What @names of directory j are, as one tree. */
static void lend_trees(struct rig *r, const char *const names[], unsigned int nr)
{
	struct tree_config trees[4] = { 0 };
	int socket;

	for (unsigned int i = 0; i < nr; i++)
		trees[i] = (struct tree_config){ .path = strdup(path_in(names[i])), .archive_fd = -1, .owner = TREE_OWNER_KEEP };
	socket = files_start_lent(&walls, trees, nr);
	assert_true(socket >= 0);
	for (unsigned int i = 0; i < nr; i++)
		free((char *)(uintptr_t)trees[i].path);
	assert_int_equal(disk_lend(r->disk, socket), 0);
}

static void a_spare_disk_is_what_it_is_lent(void **state)
{
	static const char *const first[] = { "j/0", "j/1" }, *const second[] = { "k/0" };
	struct rig r = { .image = -1 };
	uint8_t block[BLOCK];
	int pair[2];

	(void)state;
	if (!is_real_root()) /* whose files are others' in it */
		skip();
	make_everything(300);
	assert_int_equal(tool("mkdir -p j k && cp -a t j/0 && cp -a t k/0 && mkdir j/1 && echo one >j/1/one && echo k >k/0/own && "
			      "chmod 755 j k && touch -d @0 j k"),
			 0);
	assert_int_equal(disk_open(&r.disk, aio, &(struct disk_config){ .path = "spare", .spare = true }), 0);
	assert_int_equal(r.disk->size_bytes, 0);
	assert_int_equal(read_disk(r.disk, 0, block, BLOCK), -EIO);
	lend_trees(&r, first, 2);
	snprintf(r.tree, sizeof(r.tree), "%s", path_in("j"));
	compare_tree(&r, true);
	/* It has something already. */
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(disk_lend(r.disk, pair[0]), -EBUSY);
	assert_int_equal(recv(pair[1], block, 1, 0), 0);
	close(pair[1]);
	disk_take_back(r.disk);
	assert_int_equal(r.disk->size_bytes, 0);
	assert_int_equal(read_disk(r.disk, 0, block, BLOCK), -EIO);
	lend_trees(&r, second, 1);
	snprintf(r.tree, sizeof(r.tree), "%s", path_in("k"));
	compare_tree(&r, true);
	assert_int_equal(disk_finish(r.disk), 0);
	disk_close(r.disk);
}

/* Who served it is gone while something is asked: errors, and the next one is as good. */
static void a_spare_disk_may_be_taken_back_at_any_time(void **state)
{
	static const char *const trees[] = { "k/0" };
	struct rig r = { .image = -1 };
	struct wait_request w[8];
	static uint8_t blocks[8][BLOCK];

	(void)state;
	if (!is_real_root()) /* whose files are others' in it */
		skip();
	make_everything(300);
	assert_int_equal(tool("mkdir -p k && cp -a t k/0 && chmod 755 k && touch -d @0 k"), 0);
	assert_int_equal(disk_open(&r.disk, aio, &(struct disk_config){ .path = "spare", .spare = true }), 0);
	for (unsigned int round = 0; round < 20; round++) {
		lend_trees(&r, trees, 1);
		for (unsigned int i = 0; i < 8; i++)
			start_request(r.disk, &w[i], DISK_READ, (uint64_t)(i < 4 ? 300 : 2044 + i) * BLOCK, blocks[i], BLOCK);
		for (unsigned int i = 0; i < round; i++)
			event_run_deferred(loop);
		disk_take_back(r.disk);
		for (unsigned int i = 0; i < 8; i++)
			run_until(&w[i].done);
	}
	lend_trees(&r, trees, 1);
	snprintf(r.tree, sizeof(r.tree), "%s", path_in("k"));
	compare_tree(&r, true);
	assert_int_equal(disk_finish(r.disk), 0);
	disk_close(r.disk);
}

static void threads_and_no_walls_make_no_difference(void **state)
{
	struct rig r;

	(void)state;
	make_everything(500);
	open_rig(&r, path_in("t"), TREE_OWNER_KEEP);
	compare_tree(&r, true);
	close_rig(&r);
}

/* As blkid, the partition scan, or root of the guest do; before and after. */
static void blocks_that_were_read_too_early_are_not_used(void **state)
{
	static uint8_t data[BLOCK], zeros[BLOCK];
	static const uint32_t runs[][2] = {
		{ 1, 299 },
		{ 512, 1 },
		{ 1024, 1 },
		{ 2040, 300 },
		{ 2500, 3 },
		{ SPACE_XATTRS, 2 },
		{ SPACE_DATA, 7 },
		{ SPACE_DATA + 10, 1 },
		{ SPACE_DATA + 40, 100 },
		{ SPACE_NR_BLOCKS - 386, 386 },
	};
	struct rig r;

	(void)state;
	make_everything(500);
	open_rig(&r, path_in("t"), TREE_OWNER_KEEP);
	for (unsigned int i = 0; i < ARRAY_SIZE(runs); i++)
		for (uint32_t n = 0; n < runs[i][1]; n++) {
			assert_int_equal(read_disk(r.disk, (uint64_t)(runs[i][0] + n) * BLOCK, data, BLOCK), 0);
			assert_memory_equal(data, zeros, BLOCK);
		}
	compare_tree(&r, true);
	for (unsigned int i = 0; i < ARRAY_SIZE(runs); i++)
		for (uint32_t n = 0; n < runs[i][1]; n++) {
			assert_int_equal(read_disk(r.disk, (uint64_t)(runs[i][0] + n) * BLOCK, data, BLOCK), 0);
			assert_memory_equal(data, zeros, BLOCK);
		}
	close_rig(&r);
}

static void any_block_can_be_read_at_any_time(void **state)
{
	static uint8_t data[65536], whole[BLOCK];
	static const uint64_t from[] = { 0, 2000, SPACE_XATTRS, SPACE_DATA, SPACE_NR_BLOCKS - 500 };
	uint64_t seed = 4711;
	struct rig r;

	(void)state;
	make_everything(300);
	open_rig(&r, path_in("t"), TREE_OWNER_KEEP);
	for (unsigned int i = 0; i < 2000; i++) {
		uint64_t at = from[random_u64(&seed) % 5] * BLOCK + random_u64(&seed) % (600 * 8) * 512;
		size_t n = (1 + random_u64(&seed) % 128) * 512;

		assert_int_equal(read_disk(r.disk, at, data, n),
				 range_within(at, n, r.disk->size_bytes) ? 0 : -EIO);
		if (at + n > r.disk->size_bytes)
			continue;
		/* A part of a block is that part. */
		at += n - 512;
		assert_int_equal(read_disk(r.disk, at / BLOCK * BLOCK, whole, BLOCK), 0);
		assert_memory_equal(data + n - 512, whole + at % BLOCK, 512);
	}
	compare_tree(&r, true);
	assert_int_equal(read_disk(r.disk, 256, data, 512), -EINVAL);
	close_rig(&r);
}

static void what_cannot_be_done_is_refused(void **state)
{
	static const enum disk_operation operations[] = { DISK_WRITE, DISK_DISCARD, DISK_WRITE_ZEROES };
	static uint8_t data[BLOCK];
	struct wait_request w;
	struct rig r;

	(void)state;
	assert_int_equal(tool("mkdir t"), 0);
	open_rig(&r, path_in("t"), TREE_OWNER_KEEP);
	for (unsigned int i = 0; i < ARRAY_SIZE(operations); i++) {
		start_request(r.disk, &w, operations[i], 0, data, BLOCK);
		assert_true(w.done && w.error == -EROFS);
	}
	start_request(r.disk, &w, DISK_FLUSH, 0, NULL, 0);
	assert_true(w.done && !w.error);
	close_rig(&r);
}

/* More files at once than are open at a time, by requests with many buffers. */
static void many_files_are_read_at_once(void **state)
{
	enum { NR = 300 };
	static uint8_t blocks[NR][BLOCK];
	static struct wait_request w[NR];
	struct view_inode i;
	uint64_t first = UINT64_MAX;
	struct rig r;
	bool done;

	(void)state;
	assert_int_equal(tool("mkdir t; for i in $(seq 300); do echo $i >t/$i; done"), 0);
	open_rig(&r, path_in("t"), TREE_OWNER_KEEP);
	for (unsigned int n = 1; n <= NR; n++) {
		char name[8];

		snprintf(name, sizeof(name), "%u", n);
		i = find_inode(&r, name);
		first = min_u64(first, i.u);
	}
	for (unsigned int n = 0; n < NR; n++)
		start_request(r.disk, &w[n], DISK_READ, (first + n) * BLOCK, blocks[n], BLOCK);
	do {
		done = true;
		for (unsigned int n = 0; n < NR; n++)
			done &= w[n].done;
		event_poll(loop);
		event_run_deferred(loop);
	} while (!done);
	for (unsigned int n = 0; n < NR; n++) {
		assert_int_equal(w[n].error, 0);
		assert_true(atoi((char *)blocks[n]) >= 1 && atoi((char *)blocks[n]) <= NR);
	}
	close_rig(&r);
}

static void one_request_goes_through_many_files(void **state)
{
	enum {
		NR = 100,
		PIECE = 1536,
	};
	static uint8_t whole[NR * BLOCK], block[BLOCK];
	static struct iovec iov[NR * BLOCK / PIECE + 1];
	struct wait_request w = { .req = { .operation = DISK_READ, .done = wait_done } };
	uint64_t first = (uint64_t)SPACE_DATA * BLOCK;
	unsigned int nr = 0;
	struct rig r;

	(void)state;
	assert_int_equal(tool("mkdir t; for i in $(seq 90); do head -c $((i * 37)) /dev/urandom >t/$i; done"), 0);
	open_rig(&r, path_in("t"), TREE_OWNER_KEEP);
	compare_tree(&r, true);
	for (size_t at = 0; at < sizeof(whole); at += PIECE)
		iov[nr++] = (struct iovec){ whole + at, min_u64(PIECE, sizeof(whole) - at) };
	w.req.iov = iov;
	w.req.nr_iov = nr;
	w.req.offset = first;
	w.req.bytes = sizeof(whole);
	memset(whole, 0xa5, sizeof(whole));
	disk_submit(r.disk, &w.req);
	run_until(&w.done);
	assert_int_equal(w.error, 0);
	for (unsigned int i = 0; i < NR; i++) {
		assert_int_equal(read_disk(r.disk, first + (uint64_t)i * BLOCK, block, BLOCK), 0);
		assert_memory_equal(block, whole + (size_t)i * BLOCK, BLOCK);
	}
	close_rig(&r);
}

/* Each is changed after the guest has looked at it, some while it is open. */
static void a_file_that_has_changed_is_an_error(void **state)
{
	static const struct {
		const char *name, *change;
		bool is_open;
	} files[] = {
		{ "appended", "echo more >>t/appended", false },
		{ "cut", ": >t/cut", false },
		{ "written", "printf XXXX | dd of=t/written conv=notrunc status=none", false },
		{ "replaced", "cp -p t/replaced t/new; mv t/new t/replaced", false },
		{ "deleted", "rm t/deleted", false },
		{ "fifo", "rm t/fifo; mkfifo t/fifo", false },
		{ "link", "rm t/link; ln -s same t/link", false },
		{ "open-appended", "echo more >>t/open-appended", true },
		{ "open-cut", ": >t/open-cut", true },
		{ "open-written", "printf XXXX | dd of=t/open-written conv=notrunc status=none", true },
		{ "open-deleted", "rm t/open-deleted", true },
	};
	struct view_inode inodes[ARRAY_SIZE(files)], same;
	uint8_t block[BLOCK];
	char text[8192];
	struct rig r;
	int saved;

	(void)state;
	assert_int_equal(tool("mkdir t; echo same >t/same"), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(files); i++)
		assert_int_equal(tool("echo contents >t/%s; touch -d 2001-02-03 t/%s", files[i].name, files[i].name), 0);
	open_rig(&r, path_in("t"), TREE_OWNER_KEEP);
	same = find_inode(&r, "same");
	for (unsigned int i = 0; i < ARRAY_SIZE(files); i++)
		inodes[i] = find_inode(&r, files[i].name);
	for (unsigned int i = 0; i < ARRAY_SIZE(files); i++)
		assert_true(!files[i].is_open || !read_file(&r, &inodes[i], block));
	for (unsigned int i = 0; i < ARRAY_SIZE(files); i++) {
		assert_int_equal(tool("%s", files[i].change), 0);
		saved = begin_capture();
		for (unsigned int n = 0; n < 3; n++)
			assert_int_equal(read_file(&r, &inodes[i], block), -EIO);
		end_capture(saved, text, sizeof(text));
		assert_int_equal(count_messages(text, "lkvm: "), 1);
		assert_int_equal(count_messages(text, files[i].name), 1);
		r.disk->log_limit = (struct log_limit){ 0 }; /* there are so many in a second */
	}
	assert_int_equal(read_file(&r, &same, block), 0);
	assert_memory_equal(block, "same\n", 6);
	close_rig(&r);
}

/* What is done to a file and not to its data. */
static void data_do_not_depend_on_names_and_rights(void **state)
{
	static const char *const changes[] = {
		"chmod 600 t/%s", "chown 12:13 t/%s", "ln t/%s t/more-%s", "touch -a t/%s",
		"mv t/%s t/x; mv t/x t/%s", "setfattr -n user.x -v 1 t/%s"
	};
	struct view_inode inodes[2 * ARRAY_SIZE(changes)];
	uint8_t block[BLOCK];
	char name[8];
	struct rig r;

	(void)state;
	if (!is_real_root()) /* whose files are others' in it */
		skip();
	assert_int_equal(tool("mkdir t; for i in $(seq 0 11); do echo contents >t/$i; done"), 0);
	open_rig(&r, path_in("t"), TREE_OWNER_KEEP);
	for (unsigned int i = 0; i < ARRAY_SIZE(inodes); i++) {
		snprintf(name, sizeof(name), "%u", i);
		inodes[i] = find_inode(&r, name);
		assert_true(i % 2 || !read_file(&r, &inodes[i], block)); /* every other one is open */
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(inodes); i++) {
		snprintf(name, sizeof(name), "%u", i);
		assert_int_equal(tool(changes[i / 2], name, name), 0);
		assert_int_equal(read_file(&r, &inodes[i], block), 0);
		assert_memory_equal(block, "contents\n", 10);
	}
	close_rig(&r);
}

/* Inode numbers are given out again: what had this one is not what has it now. */
static void a_number_that_was_used_before_makes_no_link(void **state)
{
	struct view_inode i;
	struct stat old, st;
	struct rig r;

	(void)state;
	assert_int_equal(tool("mkdir -p t/d t/e; echo old >t/a; chmod 640 t/a"), 0);
	assert_int_equal(stat(path_in("t/a"), &old), 0);
	open_rig(&r, path_in("t"), TREE_OWNER_KEEP);
	assert_int_equal(find_inode(&r, "a").mode, S_IFREG | 0640);
	assert_int_equal(tool("rm t/a; for i in $(seq 50); do echo new >t/e/$i; done; mv $(find t/e -inum %u | grep . || "
			      "echo t/e/1) t/a; ln t/a t/d/b; chmod 4755 t/a",
			      (unsigned int)old.st_ino),
			 0);
	assert_int_equal(stat(path_in("t/a"), &st), 0);
	if (st.st_ino != old.st_ino)
		print_message("# this file system gives no number out again\n");
	i = find_inode(&r, "d/b");
	assert_int_equal(i.mode, S_IFREG | 04755);
	assert_int_equal(i.nlink, 2);
	close_rig(&r);
}

/* The last child; those before it have ended, and nobody has waited for them. */
static pid_t process_of_files(void)
{
	char path[64];
	int pid = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	f = fopen(path, "r");
	assert_non_null(f);
	while (fscanf(f, "%d", &pid) == 1)
		;
	fclose(f);
	assert_true(pid > 0);
	return pid;
}

/* A host with too many open files, for a time: the guest may try again. */
static void what_cannot_be_opened_now_can_later(void **state)
{
	uint8_t block[BLOCK];
	struct view_inode i;
	struct rlimit old, low;
	char text[4096];
	struct rig r;
	int saved, limited, rc[2];

	(void)state;
	assert_int_equal(tool("mkdir -p t; echo contents >t/f"), 0);
	open_rig(&r, path_in("t"), TREE_OWNER_KEEP);
	i = find_inode(&r, "f");
	assert_int_equal(prlimit(0, RLIMIT_NOFILE, NULL, &old), 0);
	for (unsigned int n = 0; n < 2; n++) {
		pid_t pid = n ? 0 : process_of_files(); /* in that process, and in ours */

		low = old;
		saved = begin_capture();
		low.rlim_cur = n ? (rlim_t)dup(0) : 0; /* a poll() of ours may have as many */
		close(n ? (int)low.rlim_cur : -1);
		limited = prlimit(pid, RLIMIT_NOFILE, &low, NULL);
		rc[0] = read_file(&r, &i, block);
		rc[1] = read_file(&r, &i, block);
		prlimit(pid, RLIMIT_NOFILE, &old, NULL);
		end_capture(saved, text, sizeof(text));
		assert_int_equal(limited, 0);
		assert_int_equal(rc[0], -EIO);
		assert_int_equal(rc[1], -EIO);
		assert_int_equal(count_messages(text, "lkvm: "), 1);
		assert_int_equal(count_messages(text, "Too many open files"), 1);
		usleep(150000);
		r.disk->log_limit = (struct log_limit){ 0 };
		if (n)
			assert_int_equal(read_file(&r, &i, block), 0);
	}
	assert_memory_equal(block, "contents\n", 10);
	close_rig(&r);
}

/*
 * The files process is this program, too: here a file is another one, or has another hole, in the
 * moment in which it looks for holes.
 */
static enum {
	NEVER,
	BEFORE_OPEN,
	BEFORE_LOOK,
} change_when;
static char changed[128], replacement[128];
static const char *unlistable; /* directory whose names cannot be read */
static int unlistable_fd = -1;

int openat(int dir, const char *name, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	if (change_when == BEFORE_OPEN && !strcmp(name, "f")) {
		change_when = NEVER;
		if (rename(replacement, changed))
			_exit(7);
	}
	dir = (int)syscall(SYS_openat, dir, name, flags, mode);
	if (unlistable && !strcmp(name, unlistable))
		unlistable_fd = dir;
	return dir;
}

ssize_t getdents64(int fd, void *buffer, size_t bytes)
{
	if (unlistable && fd == unlistable_fd) {
		errno = EIO;
		return -1;
	}
	return syscall(SYS_getdents64, fd, buffer, bytes);
}

off_t lseek(int fd, off_t offset, int whence)
{
	if (change_when == BEFORE_LOOK && whence == SEEK_DATA) {
		int other = open(changed, O_RDWR | O_CLOEXEC);

		change_when = NEVER;
		if (fallocate(other, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, MIB(8), MIB(2)))
			_exit(7);
		close(other);
	}
	return (off_t)syscall(SYS_lseek, fd, offset, whence);
}

/* What had data when it was looked at is never zeros. */
static void holes_are_those_of_the_file_that_was_looked_at(void **state)
{
	static uint8_t block[BLOCK];

	(void)state;
	snprintf(changed, sizeof(changed), "%s", path_in("t/f"));
	snprintf(replacement, sizeof(replacement), "%s", path_in("new"));
	for (int when = NEVER; when <= BEFORE_LOOK; when++) {
		struct view_inode i;
		struct view v;
		struct rig r;
		char text[4096];
		int saved;
		bool ok;

		assert_int_equal(tool("rm -rf t; mkdir t; for f in new t/f; do echo data >$f; truncate -s 16M $f; done; "
				      "printf X | dd of=t/f bs=1 seek=9000000 conv=notrunc status=none"),
				 0);
		change_when = when;
		open_rig(&r, path_in("t"), TREE_OWNER_KEEP);
		change_when = NEVER;
		v = (struct view){ .read = read_view, .arg = &r };
		i = find_inode(&r, "f");
		assert_int_equal(i.size, MIB(16));
		saved = begin_capture();
		ok = view_read(&v, &i, 9000000, block, 1);
		end_capture(saved, text, sizeof(text));
		assert_int_equal(ok, when == NEVER);
		assert_int_equal(count_messages(text, "has changed"), when != NEVER);
		close_rig(&r);
	}
	assert_int_equal(block[0], 'X');
}

/* Between the listing that has its name and the look at its inode. */
static void what_is_gone_is_not_there(void **state)
{
	struct view_inode i;
	struct rig r;

	(void)state;
	assert_int_equal(tool("mkdir -p t/d; echo a >t/file; echo b >t/becomes; echo c >t/d/inner"), 0);
	open_rig(&r, path_in("t"), TREE_OWNER_KEEP);
	find_inode(&r, "");
	assert_int_equal(tool("rm -r t/file t/d t/becomes; mkdir -p t/becomes/sub"), 0);
	i = find_inode(&r, "file");
	assert_true(i.mode == S_IFCHR && !i.u);
	i = find_inode(&r, "d");
	assert_true(i.mode == S_IFCHR && !i.u);
	i = find_inode(&r, "becomes");
	assert_true(S_ISDIR(i.mode));
	assert_int_equal(count_entries(&r, &i), 3);
	close_rig(&r);
}

static void without_the_process_there_are_errors(void **state)
{
	uint8_t block[BLOCK];
	struct view_inode i;
	char text[4096];
	struct rig r;
	int saved, rc;

	(void)state;
	assert_int_equal(tool("mkdir -p t/d; echo a >t/file; echo b >t/other; echo c >t/d/inner"), 0);
	open_rig(&r, path_in("t"), TREE_OWNER_KEEP);
	i = find_inode(&r, "file");
	assert_int_equal(read_file(&r, &i, block), 0);
	saved = begin_capture();
	kill(process_of_files(), SIGKILL);
	i = find_inode(&r, "other"); /* was looked at with the first */
	assert_int_equal(read_file(&r, &i, block), -EIO);
	assert_int_equal(read_file(&r, &i, block), -EIO);
	rc = read_disk(r.disk, (uint64_t)SPACE_INODES * BLOCK, block, BLOCK); /* d's inode */
	close_rig(&r);
	end_capture(saved, text, sizeof(text));
	assert_int_equal(rc, -EPIPE);
	assert_int_equal(count_messages(text, "lkvm: "), 1);
}

/* As one that waits for a server that is gone. */
static void a_process_that_does_not_answer_holds_up_nothing(void **state)
{
	uint8_t block[BLOCK];
	struct wait_request w;
	uint64_t start;
	struct rig r;
	pid_t pid;

	(void)state;
	assert_int_equal(tool("mkdir -p t; echo a >t/file"), 0);
	open_rig(&r, path_in("t"), TREE_OWNER_KEEP);
	pid = process_of_files();
	kill(pid, SIGSTOP);
	start_request(r.disk, &w, DISK_READ, (uint64_t)SPACE_ROOT * BLOCK, block, BLOCK);
	event_run_deferred(loop);
	start = now_ns();
	close_rig(&r);
	assert_true(w.done && w.error == -EIO);
	assert_true(now_ns() - start < 5000000000ull);
	kill(pid, SIGKILL);
}

/* ---- rights, in a process of an ordinary user ---- */

static void in_a_process(uid_t uid, int (*fn)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		if (uid && (setgid(uid) || setuid(uid)))
			_exit(99);
		event_loop_destroy(loop);
		event_loop_create(&loop);
		aio_create(&aio, loop, AIO_THREADS, 16);
		_exit(fn());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static int look_as_user(void)
{
	struct view_inode i;
	struct rig r;
	int rc = 0;

	open_rig(&r, path_in("t"), TREE_OWNER_ROOT);
	i = find_inode(&r, "mine");
	rc |= i.uid || i.gid || (i.mode & 0777) != 0640 ? 1 : 0;
	i = find_inode(&r, "readable");
	rc |= i.uid != 4322 || (i.mode & 0777) != 0644 ? 2 : 0;
	i = find_inode(&r, "secret");
	rc |= i.mode != S_IFREG ? 4 : 0;
	i = find_inode(&r, "closed");
	rc |= i.mode != S_IFDIR || count_entries(&r, &i) != 2 ? 8 : 0;
	i = find_inode(&r, "names-only/inner");
	rc |= i.mode != S_IFREG ? 16 : 0;
	close_rig(&r);
	return rc;
}

static void a_user_sees_what_he_may_and_is_root(void **state)
{
	(void)state;
	if (!is_real_root())
		skip();
	assert_int_equal(tool("chmod 755 .; mkdir t t/closed t/names-only; for f in mine readable secret closed/in names-only/inner; "
			      "do echo x >t/$f; done; chown 4321:4321 t/mine; chmod 640 t/mine; chown 4322 t/readable; "
			      "chmod 600 t/secret; chmod 700 t/closed; chmod 744 t/names-only"),
			 0);
	in_a_process(4321, look_as_user);
}

static int look_past_mounts(void)
{
	struct view_inode i;
	struct rig r;
	int rc = 0;

	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", path_in("t/tmpfs"), "tmpfs", 0, NULL) ||
	    mount(path_in("t/full"), path_in("t/bound"), NULL, MS_BIND, NULL) ||
	    mount("/proc/version", path_in("t/version"), NULL, MS_BIND, NULL))
		return 0; /* not here */
	write_file(path_in("t/tmpfs/hidden"), "x", 1);
	open_rig(&r, path_in("t"), TREE_OWNER_KEEP);
	i = find_inode(&r, "full");
	rc |= count_entries(&r, &i) != 3 ? 1 : 0;
	i = find_inode(&r, "tmpfs");
	rc |= count_entries(&r, &i) != 2 ? 2 : 0;
	i = find_inode(&r, "bound");
	rc |= count_entries(&r, &i) != 2 ? 4 : 0;
	close_rig(&r);
	return rc;
}

static void what_is_mounted_is_empty(void **state)
{
	(void)state;
	if (!is_real_root())
		skip();
	assert_int_equal(tool("mkdir -p t/tmpfs t/bound t/full/in; : >t/version"), 0);
	in_a_process(0, look_past_mounts);
}

static void of_the_hosts_root_some_directories_are_empty(void **state)
{
	static const char *const names[] = { "proc", "sys", "dev", "run" };
	struct view_inode i;
	struct rig r;

	(void)state;
	open_rig(&r, "/", TREE_OWNER_KEEP);
	for (unsigned int n = 0; n < ARRAY_SIZE(names); n++) {
		i = find_inode(&r, names[n]);
		assert_true(S_ISDIR(i.mode));
		assert_int_equal(count_entries(&r, &i), 2);
	}
	i = find_inode(&r, "usr/bin");
	assert_true(count_entries(&r, &i) > 10);
	close_rig(&r);
}

/* ---- snapshots ---- */

/* What one has of the disk, and what of the process. */
struct saved {
	uint8_t *map, *names;
	size_t map_bytes, names_bytes;
};

static uint8_t *save_part(struct rig *r, void (*save)(struct disk *disk, struct state *s), size_t *bytes)
{
	struct state s;
	uint8_t *data;

	state_init_measure(&s);
	save(r->disk, &s);
	assert_int_equal(state_end(&s), 0);
	*bytes = s.used;
	data = malloc(*bytes);
	assert_non_null(data);
	state_init_save(&s, data, *bytes);
	save(r->disk, &s);
	assert_int_equal(state_end(&s), 0);
	assert_int_equal(s.used, *bytes);
	return data;
}

static struct saved save_rig(struct rig *r)
{
	struct saved saved = { 0 };

	saved.map = save_part(r, dir_map_carry, &saved.map_bytes);
	saved.names = save_part(r, dir_map_save_names, &saved.names_bytes);
	return saved;
}

static void free_saved(struct saved *saved)
{
	free(saved->map);
	free(saved->names);
}

/* 0 or -errno: it was refused. */
static int load_map(struct rig *r, const void *map, size_t bytes)
{
	struct state s;

	state_init_load(&s, map, bytes);
	dir_map_carry(r->disk, &s);
	return state_end(&s);
}

static void open_restored(struct rig *r, const char *path, const struct saved *saved)
{
	const struct tree_config tree = {
		.path = path,
		.archive_fd = -1,
		.names = saved->names,
		.names_bytes = saved->names_bytes,
	};

	open_rig_with(r, &tree);
	assert_int_equal(load_map(r, saved->map, saved->map_bytes), 0);
}

/* Every block of those that are in @image is what it was. */
static void compare_blocks(struct rig *r, int image)
{
	static uint8_t was[BLOCK], is[BLOCK];
	off_t at = 0, end;

	while ((at = lseek(image, at, SEEK_DATA)) >= 0) {
		end = lseek(image, at, SEEK_HOLE);
		for (at -= at % BLOCK; at < end; at += BLOCK) {
			assert_int_equal(pread(image, was, BLOCK, at), BLOCK);
			assert_int_equal(read_disk(r->disk, (uint64_t)at, is, BLOCK), 0);
			assert_memory_equal(was, is, BLOCK);
		}
	}
}

static void a_snapshot_has_all_that_was_looked_at(void **state)
{
	struct saved saved, again;
	struct rig r;
	int image;

	(void)state;
	make_everything(3000);
	open_rig(&r, path_in("t"), TREE_OWNER_KEEP);
	image = r.image = open(path_in("image"), O_RDWR | O_CREAT, 0600);
	compare_tree(&r, false);
	saved = save_rig(&r);
	r.image = -1;
	close_rig(&r);
	open_restored(&r, path_in("t"), &saved);
	compare_blocks(&r, image);
	compare_tree(&r, true);
	/* What it has become is the same but for the data that were read, which are not there. */
	again = save_rig(&r);
	assert_int_equal(again.map_bytes, saved.map_bytes);
	assert_memory_equal(again.map, saved.map, saved.map_bytes);
	assert_int_equal(again.names_bytes, saved.names_bytes);
	assert_memory_equal(again.names, saved.names, saved.names_bytes);
	close_rig(&r);
	free_saved(&saved);
	free_saved(&again);
	close(image);
}

/* The rest is there, too: also what was burned stays so, and snapshots of what was restored are as good. */
static void a_snapshot_goes_on_from_where_it_was(void **state)
{
	struct view_inode inode;
	uint8_t block[BLOCK];
	struct saved saved;
	struct rig r;

	(void)state;
	assert_int_equal(tool("mkdir t"), 0);
	make_files();
	make_many("ten", 10, true);
	make_many("dirs", 300, true);
	make_many("many", 1000, false);
	assert_int_equal(tool("find t/many -exec touch -d @1000000000 {} +; touch -d @1000000000 t"), 0);
	open_rig(&r, path_in("t"), TREE_OWNER_KEEP);
	for (unsigned int i = 0; i < 4; i++) {
		if (i == 0)
			assert_int_equal(read_disk(r.disk, (SPACE_DATA + 3ull) * BLOCK, block, BLOCK), 0);
		if (i == 1)
			find_inode(&r, "ten");
		if (i == 2)
			find_inode(&r, "d/e/e/p");
		if (i == 3) {
			inode = find_inode(&r, "many/entry-77");
			assert_int_equal(read_file(&r, &inode, block), 0);
		}
		saved = save_rig(&r);
		close_rig(&r);
		open_restored(&r, path_in("t"), &saved);
		free_saved(&saved);
	}
	assert_int_equal(tool("rm -r t/many; mkdir t/many; echo other >t/many/other"), 0);
	/* What has been listed is what it was. */
	inode = find_inode(&r, "many");
	assert_int_equal(count_entries(&r, &inode), 1002);
	assert_int_equal(tool("rm -r t/many"), 0);
	make_many("many", 1000, false);
	/* What was looked at has the times that it had. */
	assert_int_equal(tool("find t/many -exec touch -d @1000000000 {} +; touch -d @1000000000 t"), 0);
	compare_tree(&r, false);
	close_rig(&r);
}

static void what_has_changed_since_a_snapshot_is_an_error(void **state)
{
	static const char *const names[] = { "appended", "replaced", "deleted", "moved" };
	struct view_inode inodes[ARRAY_SIZE(names)], same;
	struct saved saved;
	uint8_t block[BLOCK];
	char text[8192];
	struct rig r;
	int capture;

	(void)state;
	assert_int_equal(tool("mkdir t t/sub; echo same >t/sub/same"), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++)
		assert_int_equal(tool("echo contents >t/%s; touch -d 2001-02-03 t/%s", names[i], names[i]), 0);
	open_rig(&r, path_in("t"), TREE_OWNER_KEEP);
	same = find_inode(&r, "sub/same");
	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++)
		inodes[i] = find_inode(&r, names[i]);
	assert_int_equal(read_file(&r, &inodes[0], block), 0);
	saved = save_rig(&r);
	close_rig(&r);
	assert_int_equal(tool("echo more >>t/appended; cp -p t/replaced t/new; mv t/new t/replaced; rm t/deleted; "
			      "mv t/moved t/sub"),
			 0);
	open_restored(&r, path_in("t"), &saved);
	free_saved(&saved);
	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++) {
		capture = begin_capture();
		for (unsigned int n = 0; n < 3; n++)
			assert_int_equal(read_file(&r, &inodes[i], block), -EIO);
		end_capture(capture, text, sizeof(text));
		assert_int_equal(count_messages(text, "lkvm: "), 1);
		assert_int_equal(count_messages(text, names[i]), 1);
		r.disk->log_limit = (struct log_limit){ 0 };
	}
	assert_int_equal(read_file(&r, &same, block), 0);
	assert_memory_equal(block, "same\n", 6);
	close_rig(&r);
}

/*
 * What was listed beside a directory that could not be has no names in a snapshot: its numbers are others' then, and
 * all of it can be found once the directory can be listed.
 */
static void what_could_not_be_listed_can_after_a_snapshot(void **state)
{
	const uint64_t dirs = SPACE_INODES * (uint64_t)BLOCK, inner = dirs + BLOCK;
	struct saved saved;
	uint8_t block[BLOCK];
	struct rig r;
	char text[256];
	int capture;

	(void)state;
	assert_int_equal(tool("mkdir -p t/a/x/y t/a/z t/b/c; echo 1 >t/a/x/y/one; echo 2 >t/b/c/two"), 0);
	unlistable = "b";
	open_rig(&r, path_in("t"), TREE_OWNER_KEEP);
	unlistable = NULL;
	assert_int_equal(read_disk(r.disk, SPACE_ROOT * (uint64_t)BLOCK, block, BLOCK), 0);
	capture = begin_capture();
	assert_int_equal(read_disk(r.disk, dirs, block, BLOCK), -EIO);
	end_capture(capture, text, sizeof(text));
	/* Whoever looks at the disk finds what is in them, and what is in that. */
	assert_int_equal(read_disk(r.disk, inner, block, BLOCK), 0);
	assert_int_equal(read_disk(r.disk, inner + BLOCK, block, BLOCK), 0);
	for (unsigned int i = 0; i < 3; i++) {
		saved = save_rig(&r);
		close_rig(&r);
		open_restored(&r, path_in("t"), &saved);
		free_saved(&saved);
		if (i)
			compare_tree(&r, true);
		assert_int_equal(read_disk(r.disk, inner, block, BLOCK), -EIO);
	}
	close_rig(&r);
}

/* A source that is given @names says whether they are good; what it knows then can be asked for. */
static int begin_source(const char *path, const void *names, size_t bytes)
{
	const struct tree_config config = { .path = path, .archive_fd = -1, .names = names, .names_bytes = bytes };
	static struct tree_stat st;
	struct tree_source *source;
	char text[TREE_MAX_PATH_BYTES];
	int rc;

	assert_int_equal(tree_dir_create(&source, &config), 0);
	rc = source->ops->begin(source);
	for (uint32_t i = 0; i < 20; i++) {
		memset(&st.attr, 0, sizeof(st.attr));
		source->ops->stat(source, i, &st);
		source->ops->name(source, i, text, sizeof(text));
	}
	source->ops->destroy(source);
	return rc;
}

#define NR_DIRS 64u

/*
 * In a map of NR_DIRS directories with one each in them: behind @at, where those of one are. That begins with the number
 * of their directory's inode.
 */
static uint8_t *next_places(const struct saved *saved, size_t *at)
{
	const uint64_t first = SPACE_INODES * 128, last = first + NR_DIRS * 32;
	uint64_t kind, parent, nr;

	for (; *at + 32 <= saved->map_bytes; ++*at) {
		memcpy(&kind, saved->map + *at, sizeof(kind)); /* with the offset before it */
		memcpy(&parent, saved->map + *at + 8, sizeof(parent));
		memcpy(&nr, saved->map + *at + 16, sizeof(nr)); /* of directories; and of files: 0 */
		if (!kind && parent >= first && parent < last && parent % 32 == 0 && nr == 1)
			return saved->map + (*at += 8);
	}
	return NULL;
}

static struct saved save_many_dirs(void)
{
	struct saved saved;
	struct rig r;

	assert_int_equal(tool("mkdir t"), 0);
	make_many("many", 3000, false);
	assert_int_equal(tool("mv t/many/* t; rmdir t/many; for i in $(seq 64); do mkdir -p t/d$i/e; done"), 0);
	open_rig(&r, path_in("t"), TREE_OWNER_KEEP);
	compare_tree(&r, false);
	saved = save_rig(&r);
	close_rig(&r);
	return saved;
}

/* Nobody waits for a product of what is in a map: here all directories have the names of the root. */
static void names_are_looked_at_once(void **state)
{
	const uint64_t root = SPACE_ROOT * 128;
	struct saved saved = save_many_dirs();
	unsigned int nr = 0;
	uint8_t *places;
	size_t at = 0;
	struct state s;
	struct rig r;

	(void)state;
	for (; (places = next_places(&saved, &at)); nr++)
		memcpy(places, &root, sizeof(root));
	assert_int_equal(nr, NR_DIRS);
	open_rig(&r, path_in("t"), TREE_OWNER_KEEP);
	assert_int_equal(load_map(&r, saved.map, saved.map_bytes), 0);
	state_init_measure(&s);
	dir_map_save_names(r.disk, &s);
	assert_int_equal(state_end(&s), -EINVAL);
	assert_non_null(strstr(s.fault, "more names than there can be"));
	close_rig(&r);
	free_saved(&saved);
}

#define NUMBER_AT 17u /* of the one that is there */

/* Otherwise the files process could be had to list one again and again. */
static void a_number_is_one_files(void **state)
{
	struct saved saved = save_many_dirs();
	size_t at = 0;
	uint8_t *one = next_places(&saved, &at), *two = next_places(&saved, &at);
	struct rig r;

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		open_rig(&r, path_in("t"), TREE_OWNER_KEEP);
		assert_int_equal(load_map(&r, saved.map, saved.map_bytes), i ? -EINVAL : 0);
		close_rig(&r);
		memcpy(two + NUMBER_AT, one + NUMBER_AT, sizeof(uint32_t));
	}
	free_saved(&saved);
}

/* Each byte another, and every length: it is refused, or the guest has something else to read. */
static void what_is_wrong_with_a_snapshot_does_no_harm(void **state)
{
	static const uint8_t changes[] = { 0x01, 0x80, 0xff };
	struct saved saved, other;
	unsigned int refused = 0;
	uint8_t block[BLOCK];
	struct rig r;
	int capture;
	char text[64];

	(void)state;
	assert_int_equal(tool("mkdir -p t/d/e; cd t; truncate -s 300M sparse; echo end >>sparse; echo 1 >d/one; ln -s one d/two; echo 2 >d/e/3"), 0);
	open_rig(&r, path_in("t"), TREE_OWNER_KEEP);
	compare_tree(&r, false);
	saved = save_rig(&r);
	close_rig(&r);
	assert_int_equal(begin_source(path_in("t"), saved.names, saved.names_bytes), 0);
	capture = begin_capture();
	for (size_t at = 0; at < saved.names_bytes; at++) {
		refused += begin_source(path_in("t"), saved.names, at ? at : 1) != 0;
		for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
			saved.names[at] ^= changes[i];
			begin_source(path_in("t"), saved.names, saved.names_bytes);
			saved.names[at] ^= changes[i];
		}
	}
	end_capture(capture, text, sizeof(text));
	assert_true(refused > saved.names_bytes / 2);
	refused = 0;
	for (size_t at = 0; at < saved.map_bytes; at++) {
		const size_t i = at % (ARRAY_SIZE(changes) + 1);
		int rc;

		/* Blocks of inodes are the guest's. With FULL=1 each byte before them. */
		if (at > 500 ? at % 97 : at > 64 && at % 5 && !getenv("FULL"))
			continue;
		open_rig(&r, path_in("t"), TREE_OWNER_KEEP);
		saved.map[at] ^= i < ARRAY_SIZE(changes) ? changes[i] : 0;
		rc = load_map(&r, saved.map, i < ARRAY_SIZE(changes) ? saved.map_bytes : at);
		saved.map[at] ^= i < ARRAY_SIZE(changes) ? changes[i] : 0;
		assert_true(rc || i < ARRAY_SIZE(changes));
		refused += rc != 0;
		if (!rc) {
			struct state s;

			read_disk(r.disk, SPACE_ROOT * (uint64_t)BLOCK, block, BLOCK);
			state_init_measure(&s);
			dir_map_save_names(r.disk, &s);
		}
		close_rig(&r);
	}
	assert_true(refused > 20);
	/* One that is whole is so still. */
	open_restored(&r, path_in("t"), &saved);
	compare_tree(&r, true);
	other = save_rig(&r);
	assert_memory_equal(other.map, saved.map, saved.map_bytes);
	close_rig(&r);
	free_saved(&saved);
	free_saved(&other);
}

/* ---- the disk's blocks ---- */

static void ranges_keep_clear_of_what_is_burned(void **state)
{
	static const struct space_range ten = { .nr = 10 };
	struct space s = { 0 };
	uint64_t seed = 99;
	uint32_t nr;

	(void)state;
	assert_int_equal(space_init(&s), 0);
	assert_int_equal(space_take(&s, SPACE_OF_INODES, &ten), SPACE_INODES);
	space_burn(&s, SPACE_INODES + 15, 2);
	space_burn(&s, SPACE_INODES + 25, 1);
	space_burn(&s, SPACE_INODES + 14, 2);
	assert_int_equal(space_take(&s, SPACE_OF_INODES, &ten), SPACE_INODES + 26);
	assert_non_null(space_find(&s, SPACE_INODES + 9, &nr));
	assert_null(space_find(&s, SPACE_INODES + 10, &nr));
	assert_int_equal(nr, 16);
	/* However many: what was burned is never given out. */
	for (unsigned int i = 0; i < 20000; i++) {
		uint32_t at = SPACE_DATA + (uint32_t)(random_u64(&seed) % 1000000), block;

		if (space_find(&s, at, &nr))
			continue;
		space_burn(&s, at, 1);
		if (i % 16)
			continue;
		block = space_take(&s, SPACE_OF_DATA, &ten);
		assert_true(block && block >= SPACE_DATA);
		assert_true(at < block || at >= block + 10);
		assert_true(s.areas[SPACE_OF_DATA].nr_burned <= SPACE_MAX_BURNED);
	}
	/* A file that is too large, and the end. */
	assert_int_equal(space_take(&s, SPACE_OF_DATA, &(struct space_range){ .nr = SPACE_END - SPACE_DATA }), 0);
	space_burn(&s, SPACE_DATA, SPACE_END - SPACE_DATA);
	assert_int_equal(space_take(&s, SPACE_OF_DATA, &ten), 0);
	space_fini(&s);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_dir, tear_down_dir)

static void compare_archive(const char *name, const char *tree)
{
	int fd = tar_file_open(path_in(name));
	struct rig r;

	assert_true(fd >= 0);
	open_rig_of(&r, path_in(tree), fd, TREE_OWNER_KEEP);
	compare_tree(&r, true);
	close_rig(&r);
	close(fd);
}

/* Attributes with a file system's own form, as ACLs have, are in no archive. */
static void what_is_in_an_archive_is_on_the_disk(void **state)
{
	static const char *const formats[] = {
		"pax --xattrs --xattrs-include='*' --sparse-version=1.0", "pax --xattrs --xattrs-include='*' --sparse-version=0.1"
	};
	char command[256];

	(void)state;
	make_everything(500);
	assert_int_equal(tool("rm -r t/socket t/links/fifo t/acl t/acldir t/many"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		snprintf(command, sizeof(command), "tar --sparse --format=%s -C t -cf t.tar .", formats[i]);
		assert_int_equal(tool(command), 0);
		compare_archive("t.tar", "t");
	}
}

static void an_archive_is_what_unpacking_it_makes(void **state)
{
	(void)state;
	if (!is_real_root()) /* whose files are others' in it */
		skip();
	assert_int_equal(tool("mkdir w && cd w && mkdir -p d/e x && echo 1 >a && echo f >d/e/f && echo x >x/y && "
			      "ln a b && ln -s a s && touch -hd @1000000000 a d/e/f d/e d x x/y s && "
			      "tar --no-recursion -cf ../o.tar a b d/e/f x s && echo 22 >new && mv new a && rm -r x s && "
			      "mkdir s && echo x >x && chmod 700 d && touch -d @1111111111 a s x d && "
			      "tar --no-recursion -rf ../o.tar a s x d && "
			      "tar -P --transform 's,a,/absolute/./a,' -rf ../o.tar a && "
			      "tar -P --transform 's,a,../a,' -rf ../o.tar a && "
			      "tar -P --transform 's,a,x/below,' -rf ../o.tar a && "
			      "tar -P --transform 's,a,d/../a,' -rf ../o.tar a"),
			 0);
	assert_int_equal(tool("mkdir t && cd t && mkdir -p d/e absolute s && cp -p ../w/a . && cp -p ../w/a absolute && "
			      "cp -p ../w/x . && cp -p ../w/d/e/f d/e && echo 1 >b && touch -d @1000000000 b d/e && "
			      "chmod 700 d && touch -d @1111111111 absolute s d && touch -d @0 ."),
			 0);
	compare_archive("o.tar", "t");
}

static void what_is_no_archive_is_refused(void **state)
{
	static const char *const commands[] = {
		": >o", "head -c 100 /bin/sh >o", "head -c 5000 /bin/sh >o", "tar -C t -cf - . | head -c 100000 >o",
		"tar -C t -cf o . && printf x | dd of=o bs=1 seek=530 conv=notrunc status=none"
	};

	(void)state;
	assert_int_equal(tool("mkdir t && head -c 1000000 /dev/urandom >t/large"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		struct tree_config tree = { .path = "o" };
		struct files *files;

		assert_int_equal(tool(commands[i]), 0);
		tree.archive_fd = tar_file_open(path_in("o"));
		assert_true(tree.archive_fd >= 0);
		assert_int_equal(files_start(&files, loop, &walls, &tree, 1), 0);
		assert_int_equal(files_wait(files), -EINVAL);
		files_stop(files);
		close(tree.archive_fd);
	}
	assert_int_equal(tool("tar -C t -czf o ."), 0);
	assert_int_equal(tar_file_open(path_in("o")), -EINVAL);
	assert_int_equal(tar_file_open(path_in("no")), -ENOENT);
}

/* Through a pipe, as from "podman export". */
static void an_archive_comes_through_a_pipe(void **state)
{
	int kept = dup(STDIN_FILENO), fd;
	struct rig r;
	FILE *f;
	char command[256];

	(void)state;
	make_files();
	snprintf(command, sizeof(command), "tar -C %s/t --sparse --format=pax -c .", folder);
	f = popen(command, "r");
	assert_non_null(f);
	dup2(fileno(f), STDIN_FILENO);
	fd = tar_file_open("-");
	dup2(kept, STDIN_FILENO);
	close(kept);
	assert_int_equal(pclose(f), 0);
	assert_true(fd >= 0);
	open_rig_of(&r, path_in("t"), fd, TREE_OWNER_KEEP);
	compare_tree(&r, true);
	close_rig(&r);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(all_that_is_in_a_tree_is_on_the_disk),
		TEST(a_spare_disk_is_what_it_is_lent),
		TEST(a_spare_disk_may_be_taken_back_at_any_time),
		cmocka_unit_test_setup_teardown(threads_and_no_walls_make_no_difference, set_up_threads, tear_down_dir),
		TEST(blocks_that_were_read_too_early_are_not_used),
		TEST(any_block_can_be_read_at_any_time),
		TEST(what_cannot_be_done_is_refused),
		TEST(many_files_are_read_at_once),
		TEST(one_request_goes_through_many_files),
		TEST(a_file_that_has_changed_is_an_error),
		TEST(data_do_not_depend_on_names_and_rights),
		TEST(a_number_that_was_used_before_makes_no_link),
		TEST(what_cannot_be_opened_now_can_later),
		cmocka_unit_test_setup_teardown(holes_are_those_of_the_file_that_was_looked_at, set_up_threads,
						tear_down_dir),
		TEST(what_is_gone_is_not_there),
		TEST(without_the_process_there_are_errors),
		TEST(a_process_that_does_not_answer_holds_up_nothing),
		TEST(a_user_sees_what_he_may_and_is_root),
		TEST(what_is_mounted_is_empty),
		TEST(of_the_hosts_root_some_directories_are_empty),
		TEST(a_snapshot_has_all_that_was_looked_at),
		TEST(a_snapshot_goes_on_from_where_it_was),
		TEST(what_has_changed_since_a_snapshot_is_an_error),
		TEST(what_could_not_be_listed_can_after_a_snapshot),
		TEST(names_are_looked_at_once),
		TEST(a_number_is_one_files),
		TEST(what_is_wrong_with_a_snapshot_does_no_harm),
		cmocka_unit_test(ranges_keep_clear_of_what_is_burned),
		TEST(what_is_in_an_archive_is_on_the_disk),
		TEST(an_archive_is_what_unpacking_it_makes),
		TEST(what_is_no_archive_is_refused),
		TEST(an_archive_comes_through_a_pipe),
	};

	log_init();
	return cmocka_run_group_tests_name("dir", tests, NULL, NULL);
}
