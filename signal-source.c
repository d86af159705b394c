// SPDX-License-Identifier: GPL-2.0-only
/*
 * What signals ask for (signal-source.h).
 *
 * A hang-up is the one signal that does not say what it means: a terminal that goes away ends a
 * VM, whoever rotates logs wants the log opened again, and a shell that passes a hang-up on
 * looks just like the latter. What tells them apart is the terminal: if it has hung up, that is it.
 *
 * Sources: signalfd(2), credentials(7) on jobs.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "io.h"
#include "signal-source.h"
#include "util.h"

#define SUPERVISOR    (1u << SIGNALS_SUPERVISOR)
#define VM	      (1u << SIGNALS_VM)
#define SUPERVISED_VM (1u << SIGNALS_SUPERVISED_VM)

static const struct {
	int signal;
	enum order_kind kind;
	unsigned int readers;
} meanings[] = {
	{ SIGTERM, ORDER_END, SUPERVISOR | VM | SUPERVISED_VM },
	{ SIGINT, ORDER_END, SUPERVISOR | VM | SUPERVISED_VM },
	{ SIGQUIT, ORDER_END, SUPERVISOR | VM | SUPERVISED_VM },
	{ SIGHUP, ORDER_END, SUPERVISOR | VM }, /* or ORDER_REOPEN_LOG */
	{ SIGALRM, ORDER_TIMEOUT, SUPERVISOR | VM },
	{ SIGTSTP, ORDER_SUSPEND, SUPERVISOR | VM },
	{ SIGTTIN, ORDER_SUSPEND, SUPERVISOR | VM },
	{ SIGTTOU, ORDER_SUSPEND, SUPERVISOR | VM },
	{ SIGCONT, ORDER_CONTINUED, SUPERVISOR | VM },
	{ SIGWINCH, ORDER_RESIZED, SUPERVISOR | VM },
	{ SIGCHLD, ORDER_CHILD, SUPERVISOR },
};

static bool is_ignored(int signal)
{
	struct sigaction sa;

	return !sigaction(signal, NULL, &sa) && sa.sa_handler == SIG_IGN;
}

int signal_source_open(struct signal_source *s, enum signal_reader reader, bool has_log)
{
	sigset_t set;

	*s = (struct signal_source){ .fd = -1, .terminal = -1, .has_log = has_log };
	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(meanings); i++)
		if (meanings[i].readers >> reader & 1 &&
		    !(meanings[i].kind == ORDER_END && is_ignored(meanings[i].signal)))
			sigaddset(&set, meanings[i].signal);
	if (reader == SIGNALS_SUPERVISOR)
		signal(SIGCHLD, SIG_DFL); /* our parent may have ignored it: then there is no status */
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return -errno;
	s->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s->fd < 0)
		return -errno;
	if (reader != SIGNALS_SUPERVISED_VM)
		s->terminal = open("/dev/tty", O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	return 0;
}

void signal_source_close(struct signal_source *s)
{
	if (s->fd >= 0)
		close(s->fd);
	if (s->terminal >= 0)
		close(s->terminal);
	s->fd = s->terminal = -1;
}

struct order signal_order(const struct signalfd_siginfo *info, bool has_log, bool hung_up)
{
	struct order order = { .arg = (uint8_t)info->ssi_signo };

	for (size_t i = 0; i < ARRAY_SIZE(meanings); i++)
		if (meanings[i].signal == (int)info->ssi_signo)
			order.kind = meanings[i].kind;
	if (info->ssi_signo == SIGHUP && has_log && info->ssi_code != SI_KERNEL && !hung_up)
		order.kind = ORDER_REOPEN_LOG;
	return order;
}

struct order signal_source_next(struct signal_source *s)
{
	struct pollfd terminal = { .fd = s->terminal };
	struct signalfd_siginfo info;

	if (read(s->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return (struct order){ .kind = ORDER_NONE };
	return signal_order(&info, s->has_log,
			    poll_fds(&terminal, 1, 0) == 1 && terminal.revents & (POLLHUP | POLLERR));
}

void signal_stop_job(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTSTP);
	kill(0, SIGTSTP);
	/* Ours is waiting: here we stop, and go on. */
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	sigprocmask(SIG_BLOCK, &set, NULL);
}
