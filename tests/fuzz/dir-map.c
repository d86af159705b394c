// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a snapshot has of a directory's disk, which may be anything: the map, that the VM's process loads, and then
 * the disk is read, with a files process that lies; or names, for the files process itself, which
 * then looks for all of them. What was loaded is saved as something that loads, and is the same then.
 */
#include "tests/fuzz/tree.h"

#include <sys/syscall.h>

#include "disk/dir.h"
#include "disk/tree.h"
#include "state.h"

#define NR_NUMBERS 24u /* that are asked for */

/* A file is the same one in each run, so that what is known of it can be in an input. */
int statx(int dir, const char *path, int flags, unsigned int mask, struct statx *st)
{
	int rc = (int)syscall(SYS_statx, dir, path, flags, mask, st);

	if (rc || !S_ISREG(st->stx_mode))
		return rc;
	st->stx_dev_major = st->stx_dev_minor = 0;
	st->stx_ino = 7;
	st->stx_mtime = (struct statx_timestamp){ 0 };
	st->stx_mask &= ~STATX_BTIME;
	st->stx_nlink = 1;
	return 0;
}

/* ---- what the files process gets ---- */

static char folder[32];

static void remove_folder(void)
{
	must(!chdir(folder) && !unlink("d/file") && !rmdir("d") && !rmdir(folder));
}

static const char *tree_path(void)
{
	if (*folder)
		return folder;
	strcpy(folder, "/tmp/lkvm-fuzz-XXXXXX");
	must(mkdtemp(folder) && !chdir(folder) && !mkdir("d", 0700) && close(open("d/file", O_CREAT | O_RDWR, 0600)) == 0);
	atexit(remove_folder);
	return folder;
}

static void open_number(struct tree_source *source, uint32_t number)
{
	static struct tree_data data;

	data.fd = -1;
	if (!source->ops->open(source, number, &data))
		close(data.fd);
}

static void load_names(const void *names, size_t bytes)
{
	struct tree_config config = { .archive_fd = -1, .names = names, .names_bytes = bytes };
	static struct tree_stat st;
	struct tree_source *source;
	char text[TREE_MAX_PATH_BYTES];
	int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC); /* the source goes elsewhere */

	config.path = tree_path();
	must(!tree_dir_create(&source, &config));
	for (uint32_t i = 0; i < NR_NUMBERS && !source->ops->begin(source); i = NR_NUMBERS) {
		for (uint32_t number = 0; number < NR_NUMBERS; number++) {
			memset(&st.attr, 0, sizeof(st.attr));
			st.target_bytes = st.xattr_bytes = 0;
			source->ops->stat(source, number, &st);
			source->ops->name(source, number, text, sizeof(text));
			open_number(source, number);
		}
	}
	source->ops->destroy(source);
	must(!fchdir(here));
	close(here);
}

/* ---- the map ---- */

struct saved {
	void *bytes;
	size_t nr;
};

/* Empty: it cannot be saved now. */
static struct saved save(struct disk *disk, void (*part)(struct disk *disk, struct state *s))
{
	struct saved saved = { 0 };
	struct state s;

	state_init_measure(&s);
	part(disk, &s);
	if (state_end(&s))
		return saved;
	saved.nr = s.used;
	saved.bytes = malloc(saved.nr + 1);
	must(saved.bytes);
	state_init_save(&s, saved.bytes, saved.nr);
	part(disk, &s);
	must(!state_end(&s) && s.used == saved.nr);
	return saved;
}

static bool load(struct disk *disk, const void *bytes, size_t nr)
{
	struct state s;

	state_init_load(&s, bytes, nr);
	dir_map_carry(disk, &s);
	return !state_end(&s);
}

/* @map loads, and is what it was. */
static void must_load(const struct saved *map)
{
	struct tree_rig r;
	struct saved again;

	open_tree(&r);
	must(load(r.disk, map->bytes, map->nr));
	again = save(r.disk, dir_map_carry);
	must(again.nr == map->nr && !memcmp(again.bytes, map->bytes, map->nr));
	free(again.bytes);
	close_tree(&r);
}

static void save_all(struct disk *disk)
{
	struct saved map = save(disk, dir_map_carry), names = save(disk, dir_map_save_names);

	if (map.bytes)
		must_load(&map);
	if (names.bytes)
		load_names(names.bytes, names.nr);
	free(map.bytes);
	free(names.bytes);
}

static void load_map(struct input *in)
{
	const uint64_t nr = min_u64(take(in, 2), in->left);
	struct tree_rig r;

	open_tree(&r);
	if (load(r.disk, in->data, nr)) {
		in->data += nr;
		in->left -= nr;
		save_all(r.disk);
		use_tree(&r, in);
		aio_drain(tree_aio);
		if (!tree_is_busy()) /* as a machine at rest */
			save_all(r.disk);
	}
	close_tree(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input in = { data, bytes };

	log_set_level(LOG_ERROR);
	if (take(&in, 1) & 1)
		load_names(in.data, in.left);
	else
		load_map(&in);
	return 0;
}
