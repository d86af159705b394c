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
#include <signal.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/xattr.h>

#include "disk/dir-space.h"
#include "disk/files.h"

#define BLOCK 4096u

static struct sandbox walls;

struct rig {
	struct files *files;
	struct disk *disk;
	int image;		/* what was read is written there; -1 */
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

static void open_rig(struct rig *r, const char *path, enum tree_owner owner)
{
	const struct tree_config tree = { .path = path, .archive_fd = -1, .owner = owner };
	struct disk_config config = { .path = path };

	*r = (struct rig){ .image = -1 };
	snprintf(r->tree, sizeof(r->tree), "%s", path);
	assert_int_equal(files_start(&r->files, loop, &walls, &tree, 1), 0);
	assert_int_equal(files_wait(r->files), 0);
	assert_int_equal(files_watch(r->files), 0);
	config.files = r->files;
	assert_int_equal(disk_open(&r->disk, aio, &config), 0);
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
	uint64_t links[4096][2];	/* inode of the host, of the guest */
	unsigned int nr_links;
	bool has_data;			/* compare it, too */
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
	if (!S_ISDIR(st->st_mode) || st->st_nlink > 1)	/* some file systems do not count */
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
	char path[400], name[8];

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
	if (!geteuid()) {
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
			      "setfacl -m u:4321:r t/acl; setfacl -d -m g:55:rx t/acldir; touch t/acldir/inherits"), 0);
	for (unsigned int i = 0; i < sizeof(value); i++)
		value[i] = (uint8_t)(i * 31);
	for (unsigned int i = 0; i < 13; i++) {
		snprintf(path, sizeof(path), "%s/t/acl", folder);
		snprintf(name, sizeof(name), "user.attribute-%u", i);
		if (i < 12)	/* with the ACL 13: as many as an inode can refer to */
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
			      "ln t/links/0 t/links/zero; ln t/fifo t/links/fifo"), 0);
}

static void make_files(void)
{
	assert_int_equal(tool("mkdir -p t/bytes t/links t/sparse t/empty t/d/e/e/p/e/r; echo hello >t/small; : >t/empty-file; "
			      "head -c 1000000 /dev/urandom >t/large; head -c 8192 /dev/urandom >t/even; "
			      "chmod 4755 t/small; chmod 2711 t/d; chmod 1777 t/d/e; "
			      "cd t/sparse; truncate -s 10G hole; truncate -s 300M both; echo start | dd of=both conv=notrunc status=none; "
			      "echo end >>both; "
			      "truncate -s 2M two; printf x | dd of=two bs=1 seek=1500000 conv=notrunc status=none"), 0);
}

static void make_times(void)
{
	assert_int_equal(tool("touch -d '1932-03-04 05:06:07.123456789' t/even; touch -d @0 t/empty-file; "
			      "touch -d '2200-01-01' t/d/e; touch -h -d '1999-12-31' t/links/50"), 0);
}

static void make_everything(void)
{
	assert_int_equal(tool("mkdir t"), 0);
	make_files();
	make_many("ten", 10, true);
	make_many("dirs", 1000, true);
	make_many("many", 20000, false);
	make_names_of_all_bytes();
	make_attributes();
	make_special();
	make_links();
	make_times();
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
	uint64_t nr;

	(void)state;
	make_everything();
	open_rig(&r, path_in("t"), TREE_OWNER_KEEP);
	r.image = open(path_in("image"), O_RDWR | O_CREAT, 0600);
	nr = compare_tree(&r, true);
	print_message("# %llu entries, %llu reads\n", (unsigned long long)nr, (unsigned long long)r.reads);
	close_rig(&r);
	if (getenv("KEEP"))
		assert_int_equal(tool("cp -a t /tmp/dir-keep; cp --sparse=always image /tmp/dir-keep.erofs; truncate -s $((0xfffffffe * 4096)) /tmp/dir-keep.erofs"), 0);
	assert_int_equal(tool("fsck.erofs --extract=x image --preserve"), 0);
	/* Of directories only names: it creates what is in them after it has set their times. */
	/* It loses holes, and set-uid bits; and what it sets of a directory changes with what it makes there. */
	assert_int_equal(tool("rm -r t/sparse x/sparse; chmod -R u-s t; for d in t x; do (cd $d; "
			      "find . -type f -exec sha256sum {} + | sort; "
			      "find . ! -type d -printf '%%P %%y %%m %%U %%G %%s %%T@ %%l\\n' | sort; "
			      "find . -type d -printf '%%P %%m %%U %%G\\n' | sort) >$d.list; done; "
			      "diff t.list x.list | head -20; cmp t.list x.list"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(all_that_is_in_a_tree_is_on_the_disk, set_up_dir, tear_down_dir),
		cmocka_unit_test_setup_teardown(all_that_is_in_a_tree_is_on_the_disk, set_up_threads, tear_down_dir),
	};

	log_init();
	return cmocka_run_group_tests_name("dir", tests, NULL, NULL);
}
