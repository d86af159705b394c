// SPDX-License-Identifier: GPL-2.0-only
/*
 * `lkvm debug NAME --regs`, `--nmi`, `--sysrq` (control/inspect.h).
 *
 * Registers are asked for a few CPUs at a time, all at once, so that their CPUs stand once for all of
 * them. What the VM says is checked: so many numbers, no more.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/debug.h"
#include "control/client.h"
#include "control/json.h"
#include "control/registry.h"
#include "log.h"
#include "machine.h"
#include "util.h"
#include "x86/registers.h"

#define AT_ONCE		  8u /* of SERVER_MAX_CLIENTS */
#define MAX_REQUEST_BYTES 64u

/* ---- asking ---- */

static bool expect_ok(const struct registry_vm *vm, const char *what, const struct client *c)
{
	const char *reason = c->answered ? json_get_string(&c->answer, "error") : NULL;
	char text[LOG_NAME_BYTES];

	if (c->answered && json_is_true(&c->answer, "ok"))
		return true;
	log_error("%s: %s: %s", what, vm->name,
		  reason ? log_name(text, sizeof(text), reason) : "it does not answer");
	return false;
}

bool debug_ask(const struct registry_vm *vm, const char *what, struct client *client,
	       const char *request)
{
	client_init(client, vm->socket_path, request);
	client_ask(client, 1, now_ns() + DEBUG_ANSWER_NS);
	return expect_ok(vm, what, client);
}

static int ask_once(const struct registry_vm *vm, const char *what, const char *request)
{
	struct client c;
	bool done = debug_ask(vm, what, &c, request);

	client_fini(&c);
	return done ? EXIT_OK : EXIT_NOT_DONE;
}

/* ---- registers ---- */

/* The numbers of an answer; false if they are not what they have to be. */
static bool take_numbers(const struct client *c, uint64_t numbers[REGISTERS_NUMBERS])
{
	const char *text = json_get_string(&c->answer, "numbers");
	char *end;

	for (unsigned int i = 0; text && i < REGISTERS_NUMBERS; i++) {
		errno = 0;
		numbers[i] = strtoull(text, &end, 16);
		if (end == text || errno || *end != (i + 1 < REGISTERS_NUMBERS ? ' ' : '\0'))
			return false;
		text = end + 1;
	}
	return text;
}

static void print_json_registers(unsigned int cpu, const char *state, const uint64_t *numbers)
{
	const char *const *names = registers_names();

	printf("%s{\"cpu\":%u,\"state\":", cpu ? "," : "", cpu);
	json_string(stdout, state);
	for (unsigned int i = 0; i < REGISTERS_NUMBERS; i++)
		printf(",\"%s\":\"0x%llx\"", names[i], (unsigned long long)numbers[i]);
	putchar('}');
}

static void print_registers(unsigned int cpu, const char *state, const uint64_t *numbers)
{
	char text[4096], word[LOG_NAME_BYTES];

	registers_format(text, sizeof(text), numbers);
	printf("CPU %u: %s\n%s", cpu, log_name(word, sizeof(word), state), text);
}

static bool show_registers(const struct registry_vm *vm, const struct client *c, unsigned int cpu,
			   bool json)
{
	uint64_t numbers[REGISTERS_NUMBERS];
	const char *state;

	if (!expect_ok(vm, "regs", c))
		return false;
	state = json_get_string(&c->answer, "state");
	if (!state || !take_numbers(c, numbers)) {
		log_error("regs: %s: what it says makes no sense", vm->name);
		return false;
	}
	(json ? print_json_registers : print_registers)(cpu, state, numbers);
	return true;
}

/* @nr CPUs from @first on. */
static bool show_some(const struct registry_vm *vm, unsigned int first, unsigned int nr, bool json)
{
	struct client clients[AT_ONCE];
	char requests[AT_ONCE][MAX_REQUEST_BYTES];
	bool good = true;

	for (unsigned int i = 0; i < nr; i++) {
		snprintf(requests[i], sizeof(requests[i]), "{\"v\":1,\"do\":\"regs\",\"cpu\":%u}\n", first + i);
		client_init(&clients[i], vm->socket_path, requests[i]);
	}
	client_ask(clients, nr, now_ns() + DEBUG_ANSWER_NS);
	for (unsigned int i = 0; i < nr; i++) {
		good = good && show_registers(vm, &clients[i], first + i, json);
		client_fini(&clients[i]);
	}
	return good;
}

static bool show_all(const struct registry_vm *vm, uint64_t cpus, bool json)
{
	bool good = true;

	for (uint64_t first = 0; first < cpus && good; first += AT_ONCE)
		good = show_some(vm, (unsigned int)first, (unsigned int)min_u64(AT_ONCE, cpus - first), json);
	return good;
}

int debug_regs(const struct registry_vm *vm, const char *json)
{
	struct client c;
	uint64_t cpus = 0;
	bool good = debug_ask(vm, "regs", &c, "{\"v\":1,\"do\":\"status\"}\n");

	if (good)
		json_get_count(&c.answer, "cpus", &cpus);
	client_fini(&c);
	if (!good)
		return EXIT_NOT_DONE;
	if (json)
		fputs("{\"v\":1,\"cpus\":[", stdout);
	good = show_all(vm, min_u64(cpus, MACHINE_MAX_CPUS), json);
	if (json)
		fputs("]}\n", stdout);
	return good ? EXIT_OK : EXIT_NOT_DONE;
}

/* ---- NMI, SysRq ---- */

int debug_nmi(const struct registry_vm *vm, const char *cpu)
{
	char request[MAX_REQUEST_BYTES], *end = NULL;
	unsigned long n = cpu ? strtoul(cpu, &end, 10) : 0;

	if (cpu && (*cpu < '0' || *cpu > '9' || *end || n >= MACHINE_MAX_CPUS)) {
		log_error("--nmi: %s: must be the number of a CPU, from 0 on", cpu);
		return EXIT_LKVM;
	}
	if (!cpu)
		return ask_once(vm, "nmi", "{\"v\":1,\"do\":\"nmi\"}\n");
	snprintf(request, sizeof(request), "{\"v\":1,\"do\":\"nmi\",\"cpu\":%lu}\n", n);
	return ask_once(vm, "nmi", request);
}

int debug_sysrq(const struct registry_vm *vm, const char *key)
{
	char request[MAX_REQUEST_BYTES];

	if (strlen(key) != 1 || key[0] <= ' ' || key[0] > '~') {
		log_error("--sysrq: %s: must be one character, such as h for help", key);
		return EXIT_LKVM;
	}
	snprintf(request, sizeof(request), "{\"v\":1,\"do\":\"sysrq\",\"key\":\"%s%c\"}\n",
		 key[0] == '"' || key[0] == '\\' ? "\\" : "", key[0]);
	return ask_once(vm, "sysrq", request);
}
