// SPDX-License-Identifier: GPL-2.0-only
/*
 * How a run ended, for the shell and for --json, and on its way from the VM's process to the
 * supervisor. Pure but for what it writes to.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/report.h"
#include "control/json.h"
#include "io.h"
#include "util.h"

#define SAVE_TIMEOUT_MS 1000 /* for a pipe's reader to make room */

static const char panicked[] = "its kernel panicked";

static struct outcome lost(const char *word, const char *why)
{
	return (struct outcome){ word, EXIT_LOST, why };
}

/* Its own words first; if it said nothing, what it had switched off. */
static bool is_orderly(const struct machine_result *r)
{
	if (r->words != WORDS_NONE)
		return r->words != WORDS_PANIC;
	return r->shutdown == SHUTDOWN_DONE;
}

/* A kernel that panics resets the machine, too (panic=-1). */
static struct outcome reset_outcome(const struct machine_result *r)
{
	if (is_orderly(r) || (r->words == WORDS_NONE && r->shutdown == SHUTDOWN_NO_OS))
		return (struct outcome){ "reset", EXIT_OK, NULL };
	if (r->words == WORDS_PANIC)
		return lost("panic", panicked);
	if (r->shutdown == SHUTDOWN_SKIPPED)
		return lost("panic", "it reset without shutting down, as a kernel does that panics\n"
				     "it said nothing on its consoles; without quiet or loglevel= it may.");
	return lost("panic", "it reset, and nothing shows that it was not by a panic\n"
			     "it said nothing on its consoles; without quiet or loglevel= it may.");
}

/* Without the means to switch itself off a kernel halts at its end. */
static struct outcome halt_outcome(const struct machine_result *r)
{
	if (is_orderly(r))
		return (struct outcome){ "poweroff", EXIT_OK, NULL };
	return lost("panic", r->words == WORDS_PANIC ? panicked :
						       "every CPU halted with interrupts off");
}

/* The guest ended by itself, or went on until its time was over. */
static bool is_guests_end(enum stop_reason reason)
{
	return reason == STOP_POWEROFF || reason == STOP_RESET || reason == STOP_HALTED ||
	       reason == STOP_TIMEOUT;
}

/* Statuses of shells for what cannot be found and what cannot be executed. */
static int status_of_errno(int error)
{
	return error == ENOENT || error == ENOTDIR ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;
}

static struct outcome command_outcome(const struct command_result *c)
{
	switch (c->end) {
	case COMMAND_EXITED:
		return (struct outcome){ "exited", c->value, NULL };
	case COMMAND_SIGNALED:
		return (struct outcome){ "signaled", EXIT_SIGNAL(c->value), NULL };
	case COMMAND_NOT_STARTED:
		return (struct outcome){ "exited", status_of_errno(c->value), NULL };
	case COMMAND_FAILED:
	case COMMAND_UNKNOWN:
		break;
	}
	return (struct outcome){ "error", EXIT_LKVM, NULL };
}

static struct outcome machine_outcome(const struct machine_result *r)
{
	/* However its crash kernel ended. */
	if (r->crashed && is_guests_end(r->reason))
		return lost("panic", "its kernel panicked, and its crash kernel took over");
	switch (r->reason) {
	case STOP_POWEROFF:
		return (struct outcome){ "poweroff", EXIT_OK, NULL };
	case STOP_RESET:
		return reset_outcome(r);
	case STOP_PANIC:
		return lost("panic", panicked);
	case STOP_HALTED:
		return halt_outcome(r);
	case STOP_TIMEOUT:
		if (r->words == WORDS_PANIC) /* panic=0: it hangs */
			return lost("panic", panicked);
		return (struct outcome){ "timeout", EXIT_TIMEOUT, NULL };
	case STOP_SIGNAL:
		return (struct outcome){ "killed", EXIT_SIGNAL(r->signal), NULL };
	case STOP_QUIT:
		return (struct outcome){ "killed", EXIT_SIGNAL(2 /* SIGINT */), NULL };
	case STOP_COMMAND:
		return command_outcome(&r->command);
	case STOP_ERROR:
		return (struct outcome){ "error", EXIT_LKVM, NULL };
	case STOP_SNAPSHOT:
		return (struct outcome){ "snapshot", EXIT_OK, NULL };
	case STOP_TRIPLE_FAULT:
		return lost("triple-fault", "triple fault");
	case STOP_KVM_ERROR:
	case STOP_NONE:
		break;
	}
	return lost("kvm-error", "a virtual CPU could not go on");
}

/* With a command only its own status is success, or that it goes on elsewhere. */
struct outcome outcome_of(const struct machine_result *r)
{
	struct outcome o = machine_outcome(r);

	if (!r->has_command || r->reason == STOP_COMMAND || r->reason == STOP_SNAPSHOT || o.status != EXIT_OK)
		return o;
	return lost(o.word, "it ended before the command had");
}

struct outcome outcome_with_oops(struct outcome o, const char *oops)
{
	if (!*oops || o.lost ||
	    (strcmp(o.word, "exited") && strcmp(o.word, "signaled") && o.status != EXIT_OK))
		return o;
	return lost("oops", "its kernel reported trouble, and --oops fail was given");
}

static void field_string(FILE *out, const char *name, const char *value)
{
	fprintf(out, ",\"%s\":", name);
	if (value)
		json_string(out, value);
	else
		fputs("null", out);
}

static void field_ms(FILE *out, const char *name, int64_t ns)
{
	fprintf(out, ",\"%s\":", name);
	if (ns < 0)
		fputs("null", out);
	else
		fprintf(out, "%lld.%03lld", (long long)(ns / 1000000),
			(long long)(ns / 1000 % 1000));
}

void report_write(FILE *out, const struct report *r)
{
	fputs("{\"v\":1", out);
	field_string(out, "outcome", r->outcome.word);
	fprintf(out, ",\"status\":%d", r->outcome.status);
	if (!strcmp(r->outcome.word, "exited"))
		fprintf(out, ",\"exit_code\":%d", r->outcome.status);
	if (!strcmp(r->outcome.word, "signaled"))
		fprintf(out, ",\"signal\":%d", r->outcome.status - EXIT_SIGNAL(0));
	if (*r->oops)
		field_string(out, "oops", r->oops);
	field_ms(out, "boot_ms", r->boot_ns);
	field_ms(out, "wall_ms", r->wall_ns);
	field_string(out, "name", r->name);
	field_string(out, "kernel", r->kernel);
	fprintf(out, ",\"cpus\":%u,\"mem_mib\":%llu", r->cpus,
		(unsigned long long)(r->ram_bytes >> 20));
	field_ms(out, "kernel_ms", r->kernel_ns);
	field_ms(out, "awake_ms", r->awake_ns);
	field_ms(out, "init_ms", r->init_ns);
	fputs("}\n", out);
}

char *report_text(const struct report *report, size_t *bytes)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, bytes);

	if (!out)
		return NULL;
	report_write(out, report);
	if (!fclose(out))
		return text;
	free(text);
	return NULL;
}

int report_save(int fd, const struct report *report)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	size_t bytes = 0, done = 0;
	char *text = report_text(report, &bytes);
	int rc = text ? 0 : -ENOMEM;

	while (!rc && done < bytes) {
		ssize_t n = write(fd, text + done, bytes - done);

		if (n >= 0)
			done += (size_t)n;
		else if (errno != EAGAIN && errno != EINTR)
			rc = -errno;
		else if (poll_fds(&p, 1, SAVE_TIMEOUT_MS) == 0)
			rc = -EAGAIN;
	}
	free(text);
	if (rc && done && ftruncate(fd, 0))
		return rc; /* a pipe keeps what it has */
	return rc;
}

/* ---- from the VM's process to the supervisor ---- */

/* Fixed in size and form; checked by the supervisor. */
struct wire {
	uint32_t word, status;
	uint32_t bad_snapshot, zero;
	int64_t boot_ns, kernel_ns, awake_ns, init_ns;
	char oops[OOPS_TEXT_BYTES];
};

static const char *const words[] = {
	"error", "poweroff", "reset", "panic", "triple-fault", "kvm-error", "timeout", "killed",
	"exited", "signaled", "oops", "snapshot"
};

_Static_assert(sizeof(struct wire) <= SUPERVISOR_MAX_REPORT_BYTES, "fits");

bool report_send(const struct report *r, struct machine *machine)
{
	struct wire w = {
		.status = (uint32_t)r->outcome.status,
		.bad_snapshot = r->bad_snapshot,
		.boot_ns = r->boot_ns,
		.kernel_ns = r->kernel_ns,
		.awake_ns = r->awake_ns,
		.init_ns = r->init_ns,
	};

	strcpy(w.oops, r->oops);
	for (uint32_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(words[i], r->outcome.word))
			w.word = i;
	return machine_report(machine, &w, sizeof(w));
}

void report_receive(struct report *r, const struct supervisor_end *end)
{
	bool has_report = end->report_bytes == sizeof(struct wire);
	struct wire w = { 0 };
	int status = end->status;

	if (has_report)
		memcpy(&w, end->report, sizeof(w));
	/* One that could not even report speaks against what it went on from, unless it was ended from outside. */
	r->bad_snapshot = has_report ? w.bad_snapshot : !end->timed_out && !end->ended;
	if (has_report && end->left)
		status = (int)w.status;
	if (end->timed_out) {
		r->outcome = (struct outcome){ "timeout", EXIT_TIMEOUT, NULL };
	} else if (end->signal) {
		r->outcome = (struct outcome){ "killed", end->status, NULL };
	} else if (!has_report || w.word >= ARRAY_SIZE(words) ||
		   w.status != (uint32_t)status) {
		/* Without its report an end is no success. */
		r->outcome = (struct outcome){ "error", status ? status : EXIT_LKVM, NULL };
	} else {
		r->outcome = (struct outcome){ words[w.word], status, NULL };
		r->boot_ns = w.boot_ns;
		r->kernel_ns = w.kernel_ns;
		r->awake_ns = w.awake_ns;
		r->init_ns = w.init_ns;
		w.oops[sizeof(w.oops) - 1] = '\0';
		strcpy(r->oops, w.oops);
	}
}
