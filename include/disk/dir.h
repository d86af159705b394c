/* SPDX-License-Identifier: GPL-2.0-only */
/* A directory as a read-only disk. Internal to disk/. */
#ifndef LKVM_DISK_DIR_H
#define LKVM_DISK_DIR_H

struct aio;
struct disk;
struct disk_config;
struct state;

/*
 * Tree config->tree of the process config->files, which lives longer; or with config->spare nothing, until
 * disk_lend(). config->path: what messages call it. 0 or -ENOMEM, after a message.
 */
int dir_open(struct disk **out, struct aio *aio, const struct disk_config *config);

/*
 * What a snapshot has of disk @disk, one of dir_open()'s of which nothing is in flight: which address is what, and
 * what each file was that has data (include/state.h). It is loaded into one that nobody has read yet.
 */
void dir_map_carry(struct disk *disk, struct state *s);

/* Saves what the files process has to know again of it, for struct tree_config. */
void dir_map_save_names(struct disk *disk, struct state *s);

#endif
