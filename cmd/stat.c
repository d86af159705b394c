// SPDX-License-Identifier: GPL-2.0-only
/*
 * `lkvm stat` (cmd/stat.h): item 0 is the machine, which says how many there are; CPUs and devices
 * follow. What comes is a VM's, and not believed: numbers are numbers, names are names, and of a
 * machine that claims to have more than any has, as many are asked for.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/stat.h"
#include "control/client.h"
#include "control/json.h"
#include "control/registry.h"
#include "util.h"

#define AT_ONCE 8u /* of SERVER_MAX_CLIENTS */

struct column {
	const char *title;
	const char *member; /* of the answer; a number */
	int width;
};

static const struct column cpu_columns[] = {
	{ "TIME/ms", "time_ms", 10 },
	{ "EXITS", "exits", 10 },
	{ "IO", "io_exits", 9 },
	{ "MMIO", "mmio_exits", 9 },
	{ "HALT", "halt_exits", 9 },
	{ "IRQ", "irq_exits", 9 },
	{ "SIGNAL", "signal_exits", 8 },
	{ "HYPERCALL", "hypercalls", 9 },
	{ "EMULATED", "insn_emulation", 9 },
	{ "FAULT", "pf_taken", 9 },
};

static const struct column device_columns[] = {
	{ "REQUESTS", "requests", 12 },
	{ "BYTES-IN", "bytes_in", 16 },
	{ "BYTES-OUT", "bytes_out", 16 },
	{ "ERRORS", "errors", 8 },
};

struct stat_report {
	FILE *out;
	const char *name;
	bool json;
	unsigned int cpus, devices; /* that were written */
};

/* ---- as a line of JSON ---- */

static void put_member(FILE *out, const char *before, const char *name, const struct json_object *o)
{
	uint64_t n;

	fprintf(out, "%s\"%s\":", before, name);
	if (json_get_count(o, name, &n))
		fprintf(out, "%" PRIu64, n);
	else
		fputs("null", out);
}

static void stat_put_members(FILE *out, const struct column *columns, size_t nr, const struct json_object *o)
{
	for (size_t i = 0; i < nr; i++)
		put_member(out, ",", columns[i].member, o);
	putc('}', out);
}

/* ---- as a table ---- */

static void put_titles(FILE *out, const char *first, const struct column *columns, size_t nr)
{
	fprintf(out, "%-8s", first);
	for (size_t i = 0; i < nr; i++)
		fprintf(out, " %*s", columns[i].width, columns[i].title);
	putc('\n', out);
}

static void put_row(FILE *out, const struct column *columns, size_t nr, const struct json_object *o)
{
	for (size_t i = 0; i < nr; i++) {
		uint64_t n;

		if (json_get_count(o, columns[i].member, &n))
			fprintf(out, " %*" PRIu64, columns[i].width, n);
		else
			fprintf(out, " %*s", columns[i].width, "?");
	}
	putc('\n', out);
}

/* ---- items ---- */

static const char *stat_name(const struct json_object *o, const char *member)
{
	const char *text = json_get_string(o, member);

	return text && registry_is_name(text) ? text : "?";
}

static void put_machine(struct stat_report *r, const struct json_object *o)
{
	uint64_t ms = 0, resident = 0, mem = 0;

	if (r->json) {
		fprintf(r->out, "{\"v\":1,\"name\":\"%s\",\"state\":\"%s\"", r->name, stat_name(o, "state"));
		put_member(r->out, ",", "uptime_ms", o);
		put_member(r->out, ",", "mem_mib", o);
		put_member(r->out, ",", "resident_kib", o);
		return;
	}
	json_get_count(o, "uptime_ms", &ms);
	json_get_count(o, "mem_mib", &mem);
	json_get_count(o, "resident_kib", &resident);
	/* clang-format off */
	fprintf(r->out, "%s: %s, up %" PRIu64 ".%03" PRIu64 " s, %" PRIu64 " MiB of memory, %" PRIu64
		" KiB resident\n", r->name, stat_name(o, "state"), ms / 1000, ms % 1000, mem, resident);
	/* clang-format on */
}

static void put_cpu(struct stat_report *r, const struct json_object *o)
{
	uint64_t cpu = 0;

	json_get_count(o, "cpu", &cpu);
	if (r->json) {
		fprintf(r->out, "%s{\"cpu\":%" PRIu64, r->cpus ? "," : ",\"cpus\":[", cpu);
		stat_put_members(r->out, cpu_columns, ARRAY_SIZE(cpu_columns), o);
	} else {
		if (!r->cpus)
			put_titles(r->out, "CPU", cpu_columns, ARRAY_SIZE(cpu_columns));
		fprintf(r->out, "%-8" PRIu64, cpu);
		put_row(r->out, cpu_columns, ARRAY_SIZE(cpu_columns), o);
	}
	r->cpus++;
}

static void put_device(struct stat_report *r, const struct json_object *o)
{
	const char *name = stat_name(o, "device");

	if (r->json) {
		fprintf(r->out, "%s{\"device\":\"%s\"", r->devices ? "," : "],\"devices\":[", name);
		stat_put_members(r->out, device_columns, ARRAY_SIZE(device_columns), o);
	} else {
		if (!r->devices)
			put_titles(r->out, "DEVICE", device_columns, ARRAY_SIZE(device_columns));
		fprintf(r->out, "%-8s", name);
		put_row(r->out, device_columns, ARRAY_SIZE(device_columns), o);
	}
	r->devices++;
}

/* CPUs come first, and there is one at least. */
static int put_item(struct stat_report *r, const struct json_object *o)
{
	uint64_t cpu;

	if (json_get_count(o, "cpu", &cpu) && !r->devices)
		put_cpu(r, o);
	else if (json_get_string(o, "device") && r->cpus)
		put_device(r, o);
	else
		return -EPROTO;
	return 0;
}

static void put_end(const struct stat_report *r)
{
	if (r->json)
		fprintf(r->out, "%s]}\n", r->devices ? "" : "],\"devices\":[");
}

/* ---- asking ---- */

/* Items @first and what follows, as many as @nr, which is AT_ONCE at most. 0 or -errno. */
static int stat_ask(struct client *clients, const char *path, unsigned int first, unsigned int nr,
		    uint64_t deadline)
{
	char requests[AT_ONCE][64];
	int rc = 0;

	for (unsigned int i = 0; i < nr; i++) {
		snprintf(requests[i], sizeof(requests[i]), "{\"v\":1,\"do\":\"stat\",\"item\":%u}\n", first + i);
		client_init(&clients[i], path, requests[i]);
	}
	client_ask(clients, nr, deadline);
	for (unsigned int i = 0; i < nr; i++) {
		client_fini(&clients[i]);
		if (!clients[i].answered)
			rc = -ETIMEDOUT;
		else if (!rc && !json_is_true(&clients[i].answer, "ok"))
			rc = -EPROTO;
	}
	return rc;
}

static int stat_ask_all(struct stat_report *r, struct client *clients, const char *path, uint64_t deadline)
{
	uint64_t items = 0;
	int rc = stat_ask(clients, path, 0, 1, deadline);

	if (!rc && (!json_get_count(&clients[0].answer, "items", &items) || !items || items > STAT_MAX_ITEMS))
		rc = -EPROTO;
	if (!rc)
		put_machine(r, &clients[0].answer);
	for (unsigned int at = 1, nr; !rc && at <= items; at += nr) {
		nr = (unsigned int)min_u64(AT_ONCE, items + 1 - at);
		rc = stat_ask(clients, path, at, nr, deadline);
		for (unsigned int i = 0; i < nr && !rc; i++)
			rc = put_item(r, &clients[i].answer);
	}
	if (!rc)
		put_end(r);
	return rc;
}

int stat_write(FILE *out, const char *name, const char *path, bool json, uint64_t patience_ns)
{
	struct client *clients = calloc(AT_ONCE, sizeof(*clients));
	char *text = NULL;
	size_t bytes;
	struct stat_report r = { .out = open_memstream(&text, &bytes), .name = name, .json = json };
	int rc = clients && r.out ? stat_ask_all(&r, clients, path, now_ns() + patience_ns) : -ENOMEM;

	if (r.out && fclose(r.out) && !rc)
		rc = -ENOMEM;
	if (!rc)
		fwrite(text, 1, bytes, out);
	free(text);
	free(clients);
	return rc;
}
