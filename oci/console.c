// SPDX-License-Identifier: GPL-2.0-only
/*
 * An engine's terminal (oci/console.h).
 *
 * It is raw before its master is sent: engines change single bits of its mode, at a time of theirs, and
 * would put back what they had read before.
 *
 * Sources: pty(7), unix(7); runc's "Terminals and standard IO" on the socket: one message, the terminal's
 * name, and the master beside it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "io.h"
#include "oci/console.h"

#define NAME_BYTES 64
#define SEND_S	   5

static int console_send(const char *path, int master, const char *name)
{
	const struct timeval most = { .tv_sec = SEND_S }; /* its listener's queue can be full */
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd, rc = 0;

	if (strlen(path) >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	strcpy(a.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof(most)) ||
	    connect(fd, (struct sockaddr *)&a, sizeof(a)) || socket_send_fd(fd, name, strlen(name), master) < 0)
		rc = errno == EAGAIN ? -ETIMEDOUT : -errno;
	if (fd >= 0)
		close(fd);
	return rc;
}

static int console_prepare(int slave, uint16_t columns, uint16_t rows)
{
	const struct winsize size = { .ws_col = columns, .ws_row = rows };
	struct termios mode;

	if (tcgetattr(slave, &mode))
		return -errno;
	cfmakeraw(&mode);
	return tcsetattr(slave, TCSANOW, &mode) || (columns && ioctl(slave, TIOCSWINSZ, &size)) ? -errno : 0;
}

int console_open(const char *socket, uint16_t columns, uint16_t rows)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave = -1, rc;
	char name[NAME_BYTES];

	if (master < 0)
		return -errno;
	rc = grantpt(master) || unlockpt(master) ? -errno : -ptsname_r(master, name, sizeof(name));
	if (!rc) {
		slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
		rc = slave < 0 ? -errno : console_prepare(slave, columns, rows);
	}
	if (!rc)
		rc = console_send(socket, master, name);
	close(master);
	if (rc && slave >= 0)
		close(slave);
	return rc ? rc : slave;
}

int console_take(int slave)
{
	if (ioctl(slave, TIOCSCTTY, 0))
		return -errno;
	for (int i = 0; i < 3; i++)
		if (dup2(slave, i) < 0)
			return -errno;
	return 0;
}
