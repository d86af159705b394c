// SPDX-License-Identifier: GPL-2.0-only
/*
 * A run's entry among the VMs that run (cmd/registration.h).
 *
 * The files are removed by the process that was started, where it can: it is the supervisor in
 * front of the VM's, or the VM was never started. Elsewhere the broker does it
 * (machine_separate()). If all of them were killed the next one who finds the files does.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/registration.h"
#include "control/exec.h"
#include "control/json.h"
#include "control/gdb-commands.h"
#include "control/gdb.h"
#include "control/server.h"
#include "control/viewers.h"
#include "log.h"
#include "x86/board.h"

#define STAT_MEMBERS_BYTES 1024u

static const char *state_of_machine(void *registration)
{
	const struct registration *r = registration;

	return machine_state(r->machine);
}

/* The guest is asked to end, and the answer says what in it was. */
static void serve_stop(void *arg, struct server_connection *c, const struct json_object *request)
{
	const struct registration *r = arg;
	const char *asked = machine_ask_end(r->machine);

	(void)request;
	server_accept(c, ",\"asked\":\"%s\"", asked ? asked : "nobody");
}

static const char *pause_error(int rc)
{
	return rc == -ETIMEDOUT ? "it did not come to rest in time, and runs on" :
				  "it is ending, or was resumed meanwhile";
}

static void on_machine_paused(void *registration, int rc)
{
	const struct registration *r = registration;

	server_finish(r->server, r->machine, rc ? pause_error(rc) : NULL);
}

static void serve_pause(void *arg, struct server_connection *c, const struct json_object *request)
{
	struct registration *r = arg;
	int rc = machine_pause(r->machine, on_machine_paused, r);

	(void)request;
	if (rc == -EINPROGRESS)
		server_defer(c, r->machine, NULL, NULL);
	else if (rc)
		server_refuse(c, pause_error(rc));
	else
		server_done(c);
}

static void serve_resume(void *arg, struct server_connection *c, const struct json_object *request)
{
	const struct registration *r = arg;

	(void)request;
	machine_resume(r->machine);
	server_done(c);
}

static void serve_regs(void *arg, struct server_connection *c, const struct json_object *request)
{
	struct registration *r = arg;

	inspect_regs(&r->inspect, c, request);
}

static void serve_nmi(void *arg, struct server_connection *c, const struct json_object *request)
{
	struct registration *r = arg;

	inspect_nmi(&r->inspect, c, request);
}

static void serve_sysrq(void *arg, struct server_connection *c, const struct json_object *request)
{
	struct registration *r = arg;

	inspect_sysrq(&r->inspect, c, request);
}

static void serve_stat(void *arg, struct server_connection *c, const struct json_object *request)
{
	const struct registration *r = arg;
	char text[STAT_MEMBERS_BYTES];
	uint64_t item = 0;

	if (json_get_count(request, "item", &item) && machine_stat(r->machine, item, text, sizeof(text)))
		server_accept(c, "%s", text);
	else
		server_refuse(c, "it has no such item");
}

static void serve_dump(void *arg, struct server_connection *c, const struct json_object *request)
{
	struct registration *r = arg;

	dump_request(&r->dump, c, request);
}

static void serve_console(void *arg, struct server_connection *c, const struct json_object *request)
{
	const struct registration *r = arg;
	const bool log = json_is_true(request, "log");
	int fd;

	if (viewers_are_full(r->viewers)) {
		server_refuse(c, "too many look at its console already");
		return;
	}
	fd = server_take_socket(c);
	if (fd >= 0)
		viewers_add(r->viewers, fd, log);
}

static void serve_exec(void *arg, struct server_connection *c, const struct json_object *request)
{
	const struct registration *r = arg;
	const char *obstacle = exec_obstacle(r->exec);
	int fd;

	(void)request;
	if (obstacle) {
		server_refuse(c, obstacle);
		return;
	}
	fd = server_take_socket(c);
	if (fd >= 0)
		exec_add(r->exec, fd);
}

/* By a gate, from who is trusted; one that there is an obstacle for sees its end. */
static void take_exec(void *arg, int fd)
{
	const struct registration *r = arg;

	if (exec_obstacle(r->exec))
		close(fd);
	else
		exec_add(r->exec, fd);
}

/* The same for a container. */
static void take_join(void *arg, int fd, int files)
{
	const struct registration *r = arg;

	if (!exec_obstacle(r->exec)) {
		exec_join(r->exec, fd, files);
		return;
	}
	close(fd);
	close(files);
}

static int lend_disk(void *arg, int socket)
{
	return machine_lend_disk(arg, socket);
}

static const char *serial_of_disk(void *arg, unsigned int disk)
{
	return machine_disk_serial(arg, disk);
}

static void take_disk_back(void *arg, unsigned int disk)
{
	machine_take_disk_back(arg, disk);
}

static void release_disk(void *arg, unsigned int disk)
{
	machine_release_disk(arg, disk);
}

static void on_viewer_resized(void *arg, uint16_t columns, uint16_t rows)
{
	machine_resize_console(arg, columns, rows);
}

static void on_viewer_break(void *arg)
{
	machine_send_break(arg);
}

static void on_viewer_quit(void *arg)
{
	machine_quit(arg);
}

static int create_viewers(struct registration *r)
{
	const struct viewers_vm vm = {
		.term = machine_console(r->machine),
		.takes_keys = machine_console_has_keys(r->machine),
		.resized = on_viewer_resized,
		.send_break = on_viewer_break,
		.quit = on_viewer_quit,
		.arg = r->machine,
	};

	return viewers_create(&r->viewers, machine_loop(r->machine), &vm);
}

/* The connection becomes a stream of gdb's. */
static void serve_gdb(void *arg, struct server_connection *c, const struct json_object *request)
{
	struct registration *r = arg;
	int socket;

	(void)request;
	if (!r->gdb || gdb_is_busy(r->gdb)) {
		server_refuse(c, r->gdb ? "a gdb is connected already" : "it was not started with --gdb");
		return;
	}
	if (snapshot_is_under_way(&r->snapshot)) {
		server_refuse(c, "a snapshot of it is being made");
		return;
	}
	socket = server_take_socket(c);
	if (socket >= 0)
		gdb_connect(r->gdb, socket);
}

static void serve_snapshot(void *arg, struct server_connection *c, const struct json_object *request)
{
	struct registration *r = arg;

	if (r->gdb && gdb_is_in_guest(r->gdb))
		server_refuse(c, "a gdb is connected, whose breakpoints are in its memory");
	else
		snapshot_request(&r->snapshot, c, request);
}

/* What a VM can be asked for, but for its status: {"v":1,"do":NAME} and what the line says. */
static const struct server_request requests[] = {
	{ "stop", serve_stop },
	{ "pause", serve_pause }, /* answered when it is */
	{ "resume", serve_resume },
	{ "regs", serve_regs }, /* control/inspect.h */
	{ "nmi", serve_nmi },
	{ "sysrq", serve_sysrq },
	{ "stat", serve_stat },
	{ "snapshot", serve_snapshot }, /* control/snapshot.h */
	{ "dump", serve_dump },		/* control/dump.h */
	{ "console", serve_console },	/* becomes a stream (control/frames.h); "log":true: of what has come */
	{ "gdb", serve_gdb },		/* becomes a stream */
	{ "exec", serve_exec },		/* becomes one as well */
	{ NULL, NULL },
};

static void go_without(const char *where, int rc)
{
	log_verbose("control: %s: %s\nlkvm list, stop and the like will not find this VM.", where,
		    strerror(-rc));
}

/* A VM that nobody has in front has to be found, and one that waits for gdb: @why. */
static int refuse_to_go_without(const char *why, const char *where, int rc)
{
	log_error("%s: %s: %s%s", why, where, strerror(-rc),
		  rc == -EPERM ? "\nit has to be your own directory, with mode 0700." : "");
	return rc;
}

int registration_claim(struct registration *r, const char *name, const char *why)
{
	struct registry registry;
	int rc = registry_open(&registry, true);

	if (!rc)
		rc = registry_claim(&r->entry, &registry, name);
	if (rc == -EEXIST && name)
		log_error("name: %s: a VM of that name is running\n`lkvm list` shows it.", name);
	else if (rc && why)
		refuse_to_go_without(why, registry.path, rc);
	else if (rc)
		go_without(registry.path, rc);
	registry_close(&registry);
	return why || (rc == -EEXIST && name) ? rc : 0;
}

int registration_serve(struct registration *r, struct machine *machine,
		       struct machine_config *config, const struct command_options *command)
{
	const struct boot_config *boot = &config->boot;
	const struct server_vm vm = {
		.start_ns = config->start_ns,
		.cpus = config->board.cpus,
		.ram_bytes = boot->ram_bytes,
		.kernel = boot->flat ? boot->flat : boot->kernel,
		.parent = config->parent,
		.arguments = command->arguments,
		.nr_arguments = config->command ? command->nr_arguments : 0,
		.state = state_of_machine,
		.requests = requests,
		.arg = r,
	};
	const bool is_found = r->entry.lock >= 0, takes_exec = is_found || config->gate_fd >= 0;
	int rc = 0;

	if (machine_command(machine) && takes_exec)
		rc = exec_create(&r->exec, machine_loop(machine), machine_command(machine));
	if (r->exec)
		exec_set_disks(r->exec,
			       &(struct exec_disks){ lend_disk, serial_of_disk, take_disk_back,
						     release_disk, machine });
	config->exec = take_exec;
	config->join = take_join;
	config->exec_arg = r;
	if (!is_found || rc)
		return rc;
	r->machine = machine;
	inspect_init(&r->inspect, machine);
	rc = create_viewers(r);
	if (!rc)
		rc = server_create(&r->server, machine_loop(machine), r->entry.socket_path, &vm);
	if (rc) {
		if (config->detached || config->gdb)
			refuse_to_go_without(config->detached ? "detach" : "gdb", r->entry.socket_path, rc);
		else
			go_without(r->entry.socket_path, rc);
		registration_end(r, -1);
		return rc;
	}
	r->inspect.server = r->server;
	config->names[config->nr_names++] = server_take_name(r->server);
	config->names[config->nr_names++] = r->entry.lock_name;
	return 0;
}

int registration_serve_gdb(struct registration *r)
{
	int rc = gdb_create(&r->gdb, r->machine, machine_board(r->machine)->nr_vcpus, LKVM_VERSION);
	char symbols[96] = "";
	uint64_t shift;

	if (rc) {
		log_error("gdb: %s", strerror(-rc));
		return rc;
	}
	if (machine_kernel_shift(r->machine, &shift) && shift)
		snprintf(symbols, sizeof(symbols), "\n" GDB_SYMBOLS_LINE,
			 (unsigned long long)shift);
	log_notice("gdb: the VM waits for it\ntarget remote | lkvm debug %s --gdb%s", r->entry.name, symbols);
	return 0;
}

int registration_serve_dumps(struct registration *r, struct machine *machine)
{
	int rc = dump_init(&r->dump, machine);

	return rc ? rc : snapshot_init(&r->snapshot, machine, r->dump.vmcore);
}

void registration_stop_serving(struct registration *r)
{
	snapshot_fini(&r->snapshot);
	dump_fini(&r->dump);
	gdb_destroy(r->gdb);
	r->gdb = NULL;
	server_destroy(r->server);
	viewers_destroy(r->viewers);
	exec_destroy(r->exec);
	r->server = NULL;
	r->viewers = NULL;
	r->exec = NULL;
}

void registration_end(struct registration *r, int status)
{
	registry_leave(&r->entry, status);
}
