/* SPDX-License-Identifier: GPL-2.0-only */
/* For fuzz targets: a directory's disk that is read as the input says, and the files process, which answers so. */
#ifndef LKVM_TESTS_FUZZ_TREE_H
#define LKVM_TESTS_FUZZ_TREE_H

#include "tests/fuzz/fuzz.h"

#include <sys/socket.h>
#include <sys/stat.h>

#include "disk/aio.h"
#include "disk/dir-space.h"
#include "disk/disk.h"
#include "disk/files.h"
#include "event.h"
#include "sandbox/sandbox.h"
#include "util.h"

#define NR_JOBS 24u

struct job {
	struct disk_request req; /* first */
	struct iovec iov;
	bool busy;
	uint8_t data[16384];
};

struct message {
	uint8_t data[4096];
	size_t bytes;
	uint16_t nr;
};

static struct job jobs[NR_JOBS];

static inline void job_done(struct disk_request *req, int error)
{
	(void)error;
	((struct job *)req)->busy = false;
}

static inline void start_job(struct disk *disk, struct input *in)
{
	static const uint32_t blocks[] = { 0, 300, SPACE_INODES, SPACE_XATTRS, SPACE_DATA, SPACE_NR_BLOCKS - 4 };
	struct job *job = &jobs[take(in, 1) % NR_JOBS];
	uint64_t at = ((uint64_t)blocks[take(in, 1) % 6] + take(in, 1) % 32) * 4096;

	if (job->busy)
		return;
	job->busy = true;
	job->iov = (struct iovec){ job->data, 512 + take(in, 1) % 32 * 512 };
	job->req = (struct disk_request){
		.operation = DISK_READ,
		.offset = at + take(in, 1) % 8 * 512,
		.bytes = job->iov.iov_len,
		.iov = &job->iov,
		.nr_iov = 1,
		.done = job_done,
	};
	disk_submit(disk, &job->req);
}

static inline void put(struct message *m, const void *data, size_t bytes)
{
	if (!range_within(m->bytes, bytes, sizeof(m->data)))
		return;
	memcpy(m->data + m->bytes, data, bytes);
	m->bytes += bytes;
}

static inline void put_list(struct message *m, struct input *in)
{
	struct files_total total = { (uint32_t)take(in, 1), (uint32_t)take(in, 1), take(in, 2) };
	unsigned int nr = (unsigned int)take(in, 1) % 64;
	char name[8] = { 0 };

	put(m, &total, sizeof(total));
	m->nr++;
	for (unsigned int i = 0; i < nr; i++, m->nr++) {
		struct files_entry e = { .number = (uint32_t)take(in, 1), .type = (uint8_t)take(in, 1) };

		/* In order, unless the input says otherwise. */
		name[0] = (char)('!' + i);
		name[1] = (char)take(in, 1);
		e.name_bytes = name[1] & 1 ? 1 : 2;
		put(m, &e, sizeof(e));
		put(m, name, e.name_bytes);
	}
}

/* So that what is sent when it is opened is what it was. */
static inline struct tree_identity identity_of(int fd)
{
	struct statx st;

	must(!statx(fd, "", AT_EMPTY_PATH, TREE_IDENTITY_MASK, &st));
	return tree_identity_of(&st);
}

static inline void put_stat(struct message *m, struct input *in, unsigned int nr, int fd)
{
	static const uint32_t modes[] = { S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFREG, 0 };

	for (unsigned int i = 0; i < nr; i++, m->nr++) {
		uint32_t type = modes[take(in, 1) % 6], mode = type | ((uint32_t)take(in, 2) & 07777);
		uint64_t size = take(in, 3), more;
		struct files_stat s = {
			.attr = {
				.mode = mode,
				.nlink = 1,
				.size_bytes = size << take(in, 1) % 40,
				.data_chunks = (uint32_t)take(in, 1),
				.chunk_bits = take(in, 1) & 1 ? 12 + (uint32_t)take(in, 1) % 20 : 0,
			},
		};

		if (take(in, 1) & 1)
			s.attr.identity = identity_of(fd);
		s.xattr_bytes = (uint32_t)take(in, 1) % 128;
		if (S_ISLNK(s.attr.mode)) {
			more = 1 + take(in, 1);
			s.attr.size_bytes = s.target_bytes = (uint32_t)min_u64(more, in->left);
		}
		s.xattr_bytes = (uint32_t)min_u64(s.xattr_bytes, in->left);
		put(m, &s, sizeof(s));
		put(m, in->data, s.target_bytes);
		put(m, in->data, s.xattr_bytes);
	}
}

static inline void put_data(struct message *m, struct input *in)
{
	struct files_data d = { .name_bytes = 3, .nr_extents = (uint32_t)take(in, 1) % 4 };
	uint64_t at = 0;

	put(m, &d, sizeof(d));
	put(m, "a\nb", 3);
	for (unsigned int i = 0; i < d.nr_extents; i++) {
		struct tree_extent e = { at + take(in, 2), take(in, 3), take_scaled(in) };

		put(m, &e, sizeof(e));
		at = e.start + e.bytes;
	}
	m->nr++;
}

static inline void send_answer(int socket, const struct message *m, int fd)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} a = { .header = { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
	struct iovec iov = { (void *)(uintptr_t)m->data, m->bytes };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		memcpy(CMSG_DATA(&a.header), &fd, sizeof(fd));
		h.msg_control = &a;
		h.msg_controllen = sizeof(a);
	}
	sendmsg(socket, &h, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Answers the next question, if there is one. */
static inline void answer(int socket, struct input *in, int fd)
{
	unsigned int way = (unsigned int)take(in, 1);
	struct files_head head = { .last = (uint8_t)(way & 7 ? 1 : 0) };
	struct message m = { .bytes = sizeof(head) };
	struct files_ask ask;

	if (recv(socket, &ask, sizeof(ask), MSG_DONTWAIT) != (ssize_t)sizeof(ask))
		return;
	head.id = ask.id;
	head.kind = ask.kind;
	if (way >= 240)
		head.error = -(int32_t)take(in, 1);
	else if (ask.kind == FILES_LIST)
		put_list(&m, in);
	else if (ask.kind == FILES_STAT)
		put_stat(&m, in, way >= 230 ? (unsigned int)take(in, 1) % 40 : ask.nr, fd);
	if (ask.kind == FILES_OPEN)
		put_data(&m, in);
	head.nr = m.nr;
	memcpy(m.data, &head, sizeof(head));
	if (way >= 200 && way < 210)
		m.data[take(in, 2) % m.bytes] ^= (uint8_t)take(in, 1);
	if (way >= 210 && way < 220)
		m.bytes = take(in, 2) % (m.bytes + 1);
	send_answer(socket, &m, ask.kind == FILES_OPEN && way & 8 ? fd : -1);
}

static inline void turn(struct event_loop *loop)
{
	event_poll(loop);
	event_run_deferred(loop);
}

/* A disk of a tree, and who answers for it. */
struct tree_rig {
	struct files *files;
	struct disk *disk;
	int answers; /* the process's end of the socket */
	int fd;	     /* what it opens */
};

static struct event_loop *tree_loop;
static struct aio *tree_aio;

static inline void open_tree(struct tree_rig *r)
{
	static struct sandbox unconfined; /* off */
	struct disk_config config = { .path = "tree" };
	int pair[2];

	log_set_level(LOG_ERROR);
	must(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	if (!tree_aio)
		must(!event_loop_create(&tree_loop) && !aio_create(&tree_aio, tree_loop, AIO_THREADS, 16) &&
		     aio_start(tree_aio, &unconfined) > 0);
	r->fd = memfd_create("data", MFD_CLOEXEC);
	must(!ftruncate(r->fd, 100000));
	must(!files_attach(&r->files, tree_loop, pair[0]) && !files_watch(r->files));
	r->answers = pair[1];
	config.files = r->files;
	must(!disk_open(&r->disk, tree_aio, &config));
}

/* All that is left of the input. */
static inline void use_tree(struct tree_rig *r, struct input *in)
{
	while (in->left) {
		if (take(in, 1) % 3)
			answer(r->answers, in, r->fd);
		else
			start_job(r->disk, in);
		turn(tree_loop);
	}
}

static inline bool tree_is_busy(void)
{
	bool is_busy = false;

	for (unsigned int i = 0; i < NR_JOBS; i++)
		is_busy |= jobs[i].busy;
	return is_busy;
}

/* Every request ends with it, at the latest. */
static inline void close_tree(struct tree_rig *r)
{
	aio_drain(tree_aio);
	disk_finish_all(&r->disk, 1, &(int){ 0 });
	must(!tree_is_busy());
	disk_close(r->disk);
	close(r->answers);
	files_stop(r->files);
	close(r->fd);
}

#endif
