// SPDX-License-Identifier: GPL-2.0-only
/*
 * `lkvm console NAME`: a VM's console on this terminal.
 *
 * The keys after Ctrl-A are those of `lkvm run`, and one that leaves. What the terminal shows is the
 * guest's, as it is there.
 */
#include <errno.h>
#include <getopt.h>
#include <string.h>
#include <unistd.h>

#include "cmd/attach.h"
#include "cmd/cmd.h"
#include "log.h"
#include "util.h"

#define ESCAPE_KEY 0x01 /* Ctrl-A */

struct console_client {
	struct attach attach; /* first: attach_ops hand it back */
	bool log;	      /* only what has come */
	bool greeted;	      /* the VM has said whether we may type */
	bool types;	      /* we may */
	bool escape_seen;
};

/* ---- from the VM ---- */

static void console_greet(struct console_client *c, uint32_t why)
{
	struct attach *a = &c->attach;
	const bool on_terminal = a->tty != TTY_NONE;
	struct protocol_size size;

	c->greeted = true;
	c->types = !why && !c->log;
	if (c->types && attach_window(&size))
		attach_send(a, CONSOLE_SIZE, &size, sizeof(size));
	if (on_terminal)
		log_notice("console: %s%s. Ctrl-A d leaves.", a->name,
			   !why			     ? "" :
			   why == CONSOLE_HAS_WRITER ? ", where another types: you only read" :
						       ", whose command has no terminal: you only read");
}

static void console_hear_lost(uint64_t bytes)
{
	log_notice("console: %llu bytes were not read in time", (unsigned long long)bytes);
}

static int console_refuse(struct attach *a)
{
	log_error("console: %s: it says what no VM should", a->name);
	attach_end(a, EXIT_NOT_DONE);
	return -1;
}

static int console_client_hear(struct attach *a, const struct protocol_header *h, const uint8_t *payload)
{
	struct console_client *c = (struct console_client *)a;
	uint64_t lost;
	uint32_t why;

	if (h->kind == CONSOLE_READS_ONLY && h->bytes == sizeof(why) && !c->greeted) {
		memcpy(&why, payload, sizeof(why));
		console_greet(c, why);
	} else if (h->kind == CONSOLE_OUTPUT) {
		return 0;
	} else if (h->kind == CONSOLE_LOST && h->bytes == sizeof(lost)) {
		memcpy(&lost, payload, sizeof(lost));
		console_hear_lost(lost);
	} else if (h->kind == CONSOLE_END && !h->bytes && c->log) {
		attach_end(a, EXIT_OK);
	} else {
		return console_refuse(a);
	}
	return -1;
}

static void console_wrote(struct attach *a, int stream, size_t bytes, int error)
{
	(void)stream;
	(void)bytes;
	if (!error)
		return;
	if (error != -EPIPE)
		log_error("stdout: %s", strerror(-error));
	attach_end(a, error == -EPIPE ? EXIT_OK : EXIT_LKVM);
}

static void console_lost(struct attach *a)
{
	const struct console_client *c = (const struct console_client *)a;

	if (c->log)
		log_error("console: %s: it has ended before that was all", a->name);
	else if (a->tty != TTY_NONE)
		log_notice("console: %s has ended", a->name);
	attach_end(a, c->log ? EXIT_NOT_DONE : EXIT_OK);
}

/* ---- keys ---- */

static size_t console_room(struct attach *a)
{
	const struct console_client *c = (const struct console_client *)a;

	if (c->log || !c->greeted || (!c->types && a->tty != TTY_RAW))
		return 0;
	return attach_room(a);
}

static void console_send_keys(struct console_client *c, const uint8_t *keys, size_t bytes)
{
	if (bytes && c->types)
		attach_send(&c->attach, CONSOLE_INPUT, keys, bytes);
}

/* The key after Ctrl-A. True if it is for the guest. */
static bool console_key(struct console_client *c, uint8_t key)
{
	struct attach *a = &c->attach;

	switch (key | 0x20) {
	case 'd':
		attach_end(a, EXIT_OK);
		return false;
	case 'z':
		attach_suspend(a);
		return false;
	case 'x':
	case 'b':
		if (c->types)
			attach_send(a, (key | 0x20) == 'x' ? CONSOLE_QUIT : CONSOLE_BREAK, NULL, 0);
		return false;
	default:
		break;
	}
	if (key == '?')
		log_raw("\nCtrl-A then d: leave, x: end the virtual machine, z: suspend, b: break (SysRq), ?: this, "
			"Ctrl-A: send Ctrl-A\n");
	return key == ESCAPE_KEY;
}

/* Sequences of Ctrl-A are taken out; what was typed before one is sent before it acts. */
static void console_typed(struct attach *a, const uint8_t *keys, size_t bytes)
{
	struct console_client *c = (struct console_client *)a;
	size_t from = 0;

	for (size_t i = 0; i < bytes && a->tty == TTY_RAW && !a->over; i++) {
		if (!c->escape_seen && keys[i] != ESCAPE_KEY)
			continue;
		console_send_keys(c, keys + from, i - from);
		from = i + 1;
		if (!c->escape_seen) {
			c->escape_seen = true;
			continue;
		}
		c->escape_seen = false;
		if (console_key(c, keys[i]))
			from = i;
	}
	if (!a->over)
		console_send_keys(c, keys + from, bytes - from);
}

/* Another may type now. */
static void console_typed_all(struct attach *a)
{
	struct console_client *c = (struct console_client *)a;

	if (c->types)
		attach_send(a, CONSOLE_INPUT, NULL, 0);
	c->types = false;
}

static void console_signaled(struct attach *a, int signal)
{
	attach_end(a, EXIT_SIGNAL(signal));
}

static void console_resized(struct attach *a, const struct protocol_size *size)
{
	const struct console_client *c = (const struct console_client *)a;

	if (c->types)
		attach_send(a, CONSOLE_SIZE, size, sizeof(*size));
}

static const struct attach_ops console_client_ops = {
	.hear = console_client_hear,
	.wrote = console_wrote,
	.room = console_room,
	.typed = console_typed,
	.typed_all = console_typed_all,
	.signaled = console_signaled,
	.resized = console_resized,
	.lost = console_lost,
};

/* ---- the command ---- */

static const struct option console_options[] = {
	{ "log", no_argument, NULL, 'l' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

int cmd_console(int argc, char **argv, uint64_t start_ns)
{
	struct console_client c = { .attach = { .ops = &console_client_ops } };
	int option, status;

	(void)start_ns;
	opterr = optind = 0;
	while ((option = getopt_long(argc, argv, "h", console_options, NULL)) != -1) {
		if (option == 'h')
			return help_print("console");
		if (option == '?') {
			log_error("option %s: unknown\n`lkvm help console` lists the options.", argv[optind - 1]);
			return EXIT_LKVM;
		}
		c.log = true;
	}
	if (argc - optind != 1) {
		log_error("console: needs the name of a VM\n`lkvm list` shows them.");
		return EXIT_LKVM;
	}
	c.attach.raw = !c.log;
	status = attach_open(&c.attach, "console", argv[optind],
			     c.log ? "{\"v\":1,\"do\":\"console\",\"log\":true}\n" :
				     "{\"v\":1,\"do\":\"console\"}\n");
	if (status < 0) {
		attach_run(&c.attach);
		status = c.attach.status;
	}
	attach_fini(&c.attach);
	return status;
}
