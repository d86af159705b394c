// SPDX-License-Identifier: GPL-2.0-only
/*
 * The process of --dump-on-panic (control/vmcore-saver.h).
 *
 * It waits for messages and does nothing else; that the VM's process is gone is the end of the file. It is
 * confined as the one that unpacks --out, whose calls are those that it needs: to write below one
 * directory, and to name what is there.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "control/vmcore-saver.h"
#include "control/vmcore.h"
#include "io.h"
#include "log.h"
#include "sandbox/helper.h"
#include "sandbox/sandbox.h"

#define ORDER_END   'e'
#define PATIENCE_MS 3000u

static int confine_saver(const struct vmcore_saver *s)
{
	const struct sandbox_folder folder = { s->file.dir, SANDBOX_READ | SANDBOX_WRITE };
	int rc = sandbox_keep_folders(s->sandbox, &folder, 1);

	return rc ? rc : sandbox_confine_helper(s->sandbox, SANDBOX_RESULTS);
}

/* 0: it is complete; -ECANCELED: nobody wants it; -errno. A single byte is an order. */
static int take_messages(struct vmcore_saver *s, int socket)
{
	uint8_t message[VMCORE_MESSAGE_BYTES];
	int rc = 0;

	while (!rc) {
		ssize_t n = read(socket, message, sizeof(message));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 1)
			return -ECANCELED;
		rc = vmcore_file_feed(&s->file, message, (size_t)n);
	}
	return rc < 0 ? rc : 0;
}

static void saver_serve(int socket, void *arg)
{
	struct vmcore_saver *s = arg;
	int32_t answer = confine_saver(s);

	if (!answer)
		answer = take_messages(s, socket);
	if (!answer)
		answer = s->file.what & VMCORE_LACKS_STATE ? -EIO : vmcore_file_commit(&s->file);
	vmcore_file_close(&s->file);
	socket_send(socket, &answer, sizeof(answer));
}

int vmcore_saver_begin(struct vmcore_saver *s, const char *name, struct sandbox *sandbox)
{
	const int fds[] = { s->file.dir, s->file.fd };

	s->sandbox = sandbox;
	s->socket = helper_start(name, saver_serve, s, fds, 2);
	if (s->socket < 0)
		log_error("%s: starting a process: %s", name, strerror(-s->socket));
	else
		*s->file.hidden = '\0'; /* it is the process's to remove */
	vmcore_file_close(&s->file);
	return s->socket < 0 ? s->socket : 0;
}

/* Before it runs it is known how large a vmcore of it is: one that was taken over cannot fill the disk. */
int vmcore_saver_start(struct vmcore_saver *s, const char *path, uint64_t ram_bytes, struct sandbox *sandbox)
{
	int rc = vmcore_file_open(&s->file, "dump", path, true);

	s->socket = -1;
	s->file.most = ram_bytes + VMCORE_MOST_BESIDE_RAM;
	return rc ? rc : vmcore_saver_begin(s, "vmcore", sandbox);
}

void vmcore_saver_stop(struct vmcore_saver *s)
{
	if (s->socket >= 0 && !helper_end(s->socket, ORDER_END, PATIENCE_MS))
		log_error("dump: the process that writes it does not end\nits file system does not answer, perhaps.");
	s->socket = -1;
}
