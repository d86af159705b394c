// SPDX-License-Identifier: GPL-2.0-only
/*
 * Warm starts (cmd/warm.h).
 *
 * The name of an entry is a sum of 128 bits. It tells apart what differs, not who wants to deceive: whoever
 * can write to the user's cache is the user. A sum instead of a comparison, since what it is made of (drivers,
 * for one) is megabytes.
 *
 * Nothing is older than an hour, or used more often than a thousand times: all that start from one
 * snapshot have the same layout of the kernel's addresses. Beside an entry is a file with a byte for
 * each start.
 *
 * What a guest has seen of a disk before it mounts anything is gone from its memory when the last one who had
 * it open has closed it (the driver, that looked for partitions): so directories can be others, and
 * images, which it may keep open, are none of this.
 */
#include <cpuid.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "cache.h"
#include "cmd/run-command.h"
#include "cmd/warm.h"
#include "io.h"
#include "log.h"
#include "sandbox/helper.h"
#include "sandbox/sandbox.h"
#include "util.h"
#include "x86/cpuid.h"

#define SUFFIX		    ".warm"
#define USES_SUFFIX	    ".uses"
#define WARM_CACHE_BYTES    GIB(1) /* of all entries, on disk */
#define WARM_SUM_DIGITS	    32u	   /* of an entry's name */
#define NEW_ENTRY_TRIES	    3u
#define MAX_AGE_S	    3600
#define MAX_USES	    1000
#define ORDER_REMOVE	    'r'
#define ANSWER_GONE	    'g'
#define REMOVER_PATIENCE_MS 3000
#define HASH_PRIME	    0x100000001b3ull

/* ---- the sum ---- */

struct warm_sum {
	uint64_t a, b;
};

static void sum_word(struct warm_sum *s, uint64_t v)
{
	s->a = (s->a ^ v) * HASH_PRIME;
	s->a ^= s->a >> 29;
	s->b = (s->b + v) * 0x9e3779b97f4a7c15ull;
	s->b ^= s->b >> 32;
}

static void sum_bytes(struct warm_sum *s, const void *data, size_t bytes)
{
	const uint8_t *p = data;
	uint64_t v;

	sum_word(s, bytes);
	for (; bytes >= sizeof(v); bytes -= sizeof(v), p += sizeof(v)) {
		memcpy(&v, p, sizeof(v));
		sum_word(s, v);
	}
	v = 0;
	memcpy(&v, p, bytes);
	sum_word(s, v);
}

static void sum_text(struct warm_sum *s, const char *text)
{
	sum_bytes(s, text ? text : "", text ? strlen(text) : 0);
}

/* What a file is known by; false: it is none, or has only just been written. */
static bool warm_sum_file(struct warm_sum *s, const char *path, struct cache_identity *out)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct cache_identity id = { 0 };
	bool is_known = fd >= 0 && cache_identify(fd, &id) && cache_is_settled(&id);

	*out = id;
	if (fd >= 0)
		close(fd);
	sum_word(s, id.dev);
	sum_word(s, id.ino);
	sum_word(s, id.bytes);
	sum_word(s, (uint64_t)id.modified_ns);
	sum_word(s, (uint64_t)id.changed_ns);
	return is_known;
}

/* A guest's CPU is this one's, and its clock runs as this boot of the host has measured. */
static void sum_host(struct warm_sum *s)
{
	static const uint32_t leaves[] = { 0, 1, 7, 0xd, 0x80000001, 0x80000008 };
	struct utsname uts = { 0 };
	char boot[64] = { 0 };
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		if (read(fd, boot, sizeof(boot)) < 0)
			*boot = '\0';
		close(fd);
	}
	sum_bytes(s, boot, sizeof(boot));
	uname(&uts);
	sum_text(s, uts.release);
	sum_text(s, uts.version);
	for (size_t i = 0; i < ARRAY_SIZE(leaves); i++) {
		uint32_t r[4] = { 0 };

		__get_cpuid_count(leaves[i], 0, &r[0], &r[1], &r[2], &r[3]);
		if (leaves[i] == 1)
			r[1] &= 0x00ffffff; /* which CPU asks */
		sum_bytes(s, r, sizeof(r));
	}
}

/* What KVM has of that CPU depends on its parameters, which may change without another boot. */
static void sum_kvm(struct warm_sum *s)
{
	const struct cpuid_machine machine = { .cpus = 1 };
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	struct cpuid_table table;

	if (fd < 0)
		return; /* this will be told */
	if (!cpuid_read_supported(&table, fd)) {
		cpuid_fit(&table, &machine); /* not the CPU that was asked */
		for (uint32_t i = 0; i < table.nent; i++)
			if (!cpuid_is_of_caches(table.entries[i].function))
				sum_bytes(s, &table.entries[i], sizeof(table.entries[i]));
	}
	close(fd);
}

static void sum_fact(struct warm_sum *s, const char *card, const char *fact)
{
	char path[128], text[32] = { 0 };
	int fd;

	snprintf(path, sizeof(path), "/sys/class/net/%s/%s", card, fact);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, text, sizeof(text) - 1) < 0)
		*text = '\0';
	if (fd >= 0)
		close(fd);
	sum_text(s, text);
}

/* What a tap can do decides what the guest's card can, and its driver has been told. */
static void sum_card(struct warm_sum *s, const struct net_config *n)
{
	struct ifreq ifr = { 0 };

	if (n->mode == NET_MODE_FD) {
		if (ioctl(n->fd, TUNGETIFF, &ifr))
			return; /* this will be told */
		sum_word(s, (uint16_t)ifr.ifr_flags);
	} else if (n->mode == NET_MODE_TAP && n->tapif) {
		snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", n->tapif);
		sum_fact(s, ifr.ifr_name, "tun_flags");
	} else {
		return;
	}
	sum_fact(s, ifr.ifr_name, "mtu");
}

static void sum_devices(struct warm_sum *s, const struct machine_config *m)
{
	sum_word(s, m->nr_disks);
	sum_word(s, m->nr_trees);
	sum_word(s, m->nr_nets);
	for (unsigned int i = 0; i < m->nr_nets; i++) {
		const struct net_config *n = &m->nets[i];

		sum_word(s, n->mode);
		sum_word(s, n->queues);
		sum_word(s, n->mtu);
		sum_text(s, n->tapif);
		sum_card(s, n);
	}
	sum_word(s, m->nr_ports);
	for (unsigned int i = 0; i < m->nr_ports; i++)
		sum_text(s, m->ports[i].name);
	sum_word(s, m->command->results != NULL);
	sum_word(s, m->virtio_console);
	sum_word(s, m->board.rng);
	sum_word(s, m->board.rng_rate);
}

static void sum_machine(struct warm_sum *s, const struct machine_config *m)
{
	sum_word(s, m->boot.ram_bytes);
	sum_word(s, m->boot.guest_unpacks);
	sum_word(s, m->board.cpus);
	sum_word(s, m->board.transport);
	sum_word(s, m->board.acpi);
	sum_word(s, m->board.mptable);
	sum_word(s, m->board.fdt);
	sum_text(s, m->boot.cmdline);
	sum_text(s, m->boot.user_cmdline);
	sum_devices(s, m);
}

static void sum_drivers(struct warm_sum *s, const struct run_command *c)
{
	const struct module_choice *choice = &c->modules->choice;

	sum_word(s, choice->nr_files);
	for (unsigned int i = 0; i < choice->nr_files; i++) {
		sum_text(s, choice->files[i].name);
		sum_word(s, choice->files[i].optional);
		sum_bytes(s, choice->files[i].data, choice->files[i].bytes);
	}
}

/* NULL: the name is known; otherwise why there is none. */
static const char *name_entry(struct warm *w, const struct run_options *o, const struct run_command *c)
{
	struct warm_sum s = { 0xcbf29ce484222325ull, SNAPSHOT_FORMAT };
	struct cache_identity self;

	if (!warm_sum_file(&s, "/proc/self/exe", &self) || !warm_sum_file(&s, o->machine.boot.kernel, &w->kernel))
		return "lkvm or the kernel has only just been written";
	sum_host(&s);
	sum_kvm(&s);
	sum_machine(&s, &o->machine);
	sum_drivers(&s, c);
	snprintf(w->name, sizeof(w->name), CACHE_PREFIX "%016llx%016llx", (unsigned long long)s.a,
		 (unsigned long long)s.b);
	return NULL;
}

/* ---- whether there can be one ---- */

static bool has_image(const struct machine_config *m)
{
	for (unsigned int i = 0; i < m->nr_disks; i++)
		if (m->disks[i].tree < 0 && !m->disks[i].disk.spare)
			return true;
	return false;
}

static const char *warm_obstacle(const struct run_options *o)
{
	const struct machine_config *m = &o->machine;

	if (!m->command)
		return "no command is run";
	if (!m->boot.use_cache)
		return "there is no cache (--kernel-cache off)";
	if (m->boot.nr_initrds)
		return "it has an initrd";
	if (has_image(m) || m->command->nr_mounts != m->nr_trees)
		return "it has an image as a disk, or its root in memory";
	if (m->board.nested)
		return "its guest may have guests of its own (--nested)";
	if (m->gdb)
		return "it waits for gdb";
	for (unsigned int i = 0; i < m->nr_nets; i++)
		if (m->nets[i].vhost)
			return "its network is moved by vhost";
	return NULL;
}

/* Cards have one address in all snapshots, and get their own from init before they are used. */
static void rename_cards(struct machine_config *m, struct run_command *c)
{
	for (unsigned int i = 0; i < m->nr_nets; i++) {
		struct protocol_network *n = NULL;
		const uint8_t mac[6] = { 2, 'l', 'k', 'v', 'm', (uint8_t)i };

		for (unsigned int k = 0; k < c->config.nr_networks && !n; k++)
			if (!memcmp(c->config.networks[k].mac, m->nets[i].mac, sizeof(mac)))
				n = &c->config.networks[k];
		if (!n) {
			n = &c->config.networks[c->config.nr_networks++];
			*n = (struct protocol_network){ .renamed_only = 1 };
		}
		memcpy(n->new_mac, m->nets[i].mac, sizeof(mac));
		memcpy(n->mac, mac, sizeof(mac));
		memcpy(m->nets[i].mac, mac, sizeof(mac));
	}
}

/* ---- the cache ---- */

static int open_warm_cache(const struct run_options *o, const char **why)
{
	return cache_open_folder(o->machine.boot.cache_dir, why);
}

static void entry_file(char *text, size_t bytes, const struct warm *w, const char *suffix)
{
	snprintf(text, bytes, "%s%s", w->name, suffix);
}

/* False: it is still there. */
static bool warm_remove_entry(int folder, const struct warm *w)
{
	char name[WARM_NAME_CHARS + 16];
	bool is_gone;

	entry_file(name, sizeof(name), w, SUFFIX);
	is_gone = !unlinkat(folder, name, 0) || errno == ENOENT;
	entry_file(name, sizeof(name), w, USES_SUFFIX);
	unlinkat(folder, name, 0);
	return is_gone;
}

static bool is_fresh(int fd)
{
	struct stat st;
	const time_t now = time(NULL);

	return !fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
	       !(st.st_mode & (S_IWGRP | S_IWOTH)) && now - st.st_mtime <= MAX_AGE_S &&
	       now - st.st_mtime >= -1;
}

/* One more start from it; false: it had enough. */
static bool count_use(int folder, const struct warm *w)
{
	char name[WARM_NAME_CHARS + 16];
	struct stat st;
	bool ok;
	int fd;

	entry_file(name, sizeof(name), w, USES_SUFFIX);
	fd = openat(folder, name, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	ok = fd >= 0 && write(fd, "", 1) == 1 && !fstat(fd, &st) && st.st_size <= MAX_USES;
	if (fd >= 0)
		close(fd);
	return ok;
}

static bool header_fits(const struct snapshot_header *h, const struct machine_config *m)
{
	const struct snapshot_machine *s = &h->machine;

	return s->waits && s->ram_bytes == m->boot.ram_bytes && s->cpus == m->board.cpus &&
	       s->nr_disks == m->nr_disks && s->nr_nets == m->nr_nets && s->nr_ports == m->nr_ports &&
	       s->mmio == (m->board.transport == TRANSPORT_MMIO) && s->acpi == m->board.acpi &&
	       s->rng == m->board.rng && s->virtio_console == m->virtio_console && !s->flat && s->pit;
}

static bool warm_find_entry(int folder, const struct warm *w, struct machine_config *m, struct snapshot_header *h)
{
	char name[WARM_NAME_CHARS + 16];
	void *state = NULL;
	int fd;

	entry_file(name, sizeof(name), w, SUFFIX);
	fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return false;
	/* Now it can still boot: the state is read once more when the machine is opened. */
	if (!is_fresh(fd) || snapshot_read_header(fd, name, h, MACHINE_MAX_CPUS) || !header_fits(h, m) ||
	    snapshot_read_state(fd, h, &state) || !count_use(folder, w)) {
		free(state);
		close(fd);
		warm_remove_entry(folder, w);
		return false;
	}
	free(state);
	cache_mark_use(folder, name);
	m->restore = h;
	m->restore_fd = fd;
	m->board.tsc_khz = h->machine.tsc_khz;
	return true;
}

int warm_prepare(struct warm *w, struct run_options *o, struct run_command *c, struct snapshot_header *h)
{
	const char *why = warm_obstacle(o);
	int folder = -1;

	if (o->warm == WARM_OFF)
		return 0;
	if (!why) {
		rename_cards(&o->machine, c);
		why = name_entry(w, o, c);
	}
	if (!why)
		folder = open_warm_cache(o, &why);
	if (folder >= 0) {
		w->state = warm_find_entry(folder, w, &o->machine, h) ? WARM_FOUND : WARM_MAKES;
		why = "there is no snapshot for it yet";
	}
	if (w->state == WARM_FOUND) {
		w->folder = folder;
		o->machine.boots_instead = o->warm != WARM_STRICT;
		o->machine.parent = w->name;
		log_verbose("warm: going on from %s", w->name);
		return 0;
	}
	if (folder >= 0)
		close(folder);
	if (o->warm == WARM_STRICT) {
		log_error("--warm=strict: %s\nwith --warm it boots%s.", why,
			  w->state == WARM_MAKES ? ", and leaves one" : "");
		return -EAGAIN;
	}
	log_verbose("warm: %s: it boots", why);
	return 0;
}

/* ---- making one ---- */

/* It is ours, and it is what has that name: meanwhile who had it before may have removed or replaced it. */
static bool lock_named(int folder, int fd, const char *name)
{
	struct stat a, b;

	return !flock(fd, LOCK_EX | LOCK_NB) && !fstat(fd, &a) && !fstatat(folder, name, &b, AT_SYMLINK_NOFOLLOW) &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* A hidden file is locked by who writes it: one that is not was left behind by one that was killed. */
static void remove_leftover(int folder, const char *name)
{
	int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return;
	if (lock_named(folder, fd, name))
		unlinkat(folder, name, 0);
	close(fd);
}

static int open_new_entry(int folder, const char *hidden)
{
	for (unsigned int i = 0; i < NEW_ENTRY_TRIES; i++) {
		int fd;

		remove_leftover(folder, hidden);
		fd = openat(folder, hidden, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd < 0)
			return -EBUSY;
		if (lock_named(folder, fd, hidden))
			return fd;
		close(fd); /* somebody took it for a leftover */
	}
	return -EBUSY;
}

/* ---- what is of no use ---- */

/* Is it one of ours, with @prefix in front and @suffix behind its sum? That in @w, if so. */
static bool is_named(const char *name, const char *prefix, const char *suffix, struct warm *w)
{
	const size_t skip = strlen(prefix), end = strlen(suffix), len = strlen(name);
	const size_t digits = WARM_SUM_DIGITS;

	if (len != skip + digits + end || strncmp(name, prefix, skip) || strcmp(name + len - end, suffix) ||
	    strspn(name + skip, "0123456789abcdef") != digits)
		return false;
	snprintf(w->name, sizeof(w->name), CACHE_PREFIX "%.*s", (int)digits, name + skip);
	return true;
}

static bool is_old(int folder, const char *name)
{
	struct stat st;

	return !fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) && time(NULL) - st.st_mtime > MAX_AGE_S;
}

static void clean_name(int folder, const char *name)
{
	char entry[WARM_NAME_CHARS + 16];
	struct warm w;

	if (is_named(name, "." CACHE_PREFIX, SUFFIX, &w)) {
		remove_leftover(folder, name);
	} else if (is_named(name, CACHE_PREFIX, SUFFIX, &w)) {
		if (is_old(folder, name))
			warm_remove_entry(folder, &w);
	} else if (is_named(name, CACHE_PREFIX, USES_SUFFIX, &w)) {
		entry_file(entry, sizeof(entry), &w, SUFFIX);
		if (faccessat(folder, entry, F_OK, AT_SYMLINK_NOFOLLOW) && errno == ENOENT)
			unlinkat(folder, name, 0);
	}
}

/* No name of an entry comes again after the host has booted once more, so nobody else would find them. */
static void clean_warm_cache(int folder)
{
	int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;

	while (dir && (e = readdir(dir)))
		clean_name(folder, e->d_name);
	if (dir)
		closedir(dir);
	else if (fd >= 0)
		close(fd);
}

void warm_start_saver(struct warm *w, const struct run_options *o, const struct cache_identity *kernel,
		      struct sandbox *sandbox)
{
	struct vmcore_file *f = &w->saver.file;
	const char *why = "";

	if (!cache_is_same(kernel, &w->kernel)) {
		log_verbose("warm: no snapshot is made: the kernel was replaced a moment ago");
		return;
	}
	*f = (struct vmcore_file){ .dir = open_warm_cache(o, &why), .fd = -1 };
	entry_file(f->name, sizeof(f->name), w, SUFFIX);
	snprintf(f->hidden, sizeof(f->hidden), ".%s%s", w->name, SUFFIX);
	if (f->dir >= 0) {
		clean_warm_cache(f->dir);
		cache_trim(f->dir, SUFFIX, WARM_CACHE_BYTES);
		f->fd = open_new_entry(f->dir, f->hidden);
	}
	if (f->fd >= 0) {
		vmcore_saver_begin(&w->saver, "warm", sandbox);
		return;
	}
	log_verbose("warm: no snapshot is made: %s", f->dir < 0 ? why : "another lkvm is at it");
	*f->hidden = '\0';
	vmcore_file_close(f);
}

/* ---- removing one ---- */

static int confine_remover(const struct warm *w)
{
	const struct sandbox_folder folder = { w->folder, SANDBOX_READ | SANDBOX_WRITE };
	int rc = sandbox_keep_folders(w->sandbox, &folder, 1);

	return rc ? rc : sandbox_confine_helper(w->sandbox, SANDBOX_RESULTS);
}

static void remover_serve(int socket, void *arg)
{
	const struct warm *w = arg;
	char order;

	if (confine_remover(w) || !helper_next(socket, &order) || order != ORDER_REMOVE)
		return;
	if (warm_remove_entry(w->folder, w))
		helper_call(socket, ANSWER_GONE);
}

void warm_start_remover(struct warm *w, struct sandbox *sandbox)
{
	if (w->folder < 0)
		return;
	w->sandbox = sandbox;
	w->remover = helper_start("unwarm", remover_serve, w, &w->folder, 1);
	close(w->folder);
	w->folder = -1;
}

/* True if it says that it has done so. */
static bool ask_remover(const struct warm *w)
{
	struct pollfd p = { .fd = w->remover, .events = POLLIN };
	char answer = 0;

	return helper_call(w->remover, ORDER_REMOVE) && poll_fds(&p, 1, REMOVER_PATIENCE_MS) > 0 &&
	       socket_recv(w->remover, &answer, 1) == 1 && answer == ANSWER_GONE;
}

bool warm_remove(struct warm *w)
{
	return w->remover >= 0 ? ask_remover(w) : w->folder >= 0 && warm_remove_entry(w->folder, w);
}

void warm_fini(struct warm *w)
{
	if (w->remover >= 0)
		close(w->remover);
	if (w->folder >= 0)
		close(w->folder);
	w->remover = w->folder = -1;
}
