// SPDX-License-Identifier: GPL-2.0-only
/* The command line, the report and the messages. */
#include "tests/lib/unit.h"

#include <errno.h>

#include "cmd/cmd.h"
#include "cmd/option-values.h"
#include "cmd/options.h"
#include "cmd/report.h"
#include "control/json.h"
#include "log.h"
#include "util.h"

/* Parses a command line of words; the message goes to @message. */
static int parse(const char *line, struct run_options *o, char *message, size_t bytes)
{
	static char words[1024];
	char *argv[32] = { NULL }, *save;
	int argc = 0, saved, rc;

	snprintf(words, sizeof(words), "run %s", line);
	for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	saved = begin_capture();
	rc = options_parse(o, argc, argv);
	end_capture(saved, message, bytes);
	return rc;
}

static void good_lines(void **state)
{
	struct run_options o;
	char message[512];

	(void)state;
	assert_int_equal(parse("-k bz -i a -i b -p x=1 -p y -c 4 -m 2G --acpi off --timeout 1.5 --grace 20 "
			       "--name a.b-c_1 -v",
			       &o, message, sizeof(message)),
			 0);
	assert_string_equal(message, "");
	assert_string_equal(o.machine.boot.kernel, "bz");
	assert_int_equal(o.machine.boot.nr_initrds, 2);
	assert_string_equal(o.machine.boot.user_cmdline, "x=1 y");
	assert_int_equal(o.machine.board.cpus, 4);
	assert_int_equal(o.machine.boot.ram_bytes, GIB(2));
	assert_false(o.machine.board.acpi);
	assert_true(o.machine.board.mptable && o.machine.sandbox == SANDBOX_ON && !o.no_default_params);
	assert_int_equal(o.machine.timeout_ns, 1500000000);
	assert_true(o.machine.grace_ns == 20000000000);
	options_fini(&o);
	assert_int_equal(parse("bz --no-default-params", &o, message, sizeof(message)), 0);
	assert_string_equal(o.machine.boot.kernel, "bz");
	assert_int_equal(o.machine.boot.ram_bytes, MIB(512));
	assert_true(o.no_default_params);
	options_fini(&o);
	assert_int_equal(parse("--flat img@0x7c00", &o, message, sizeof(message)), 0);
	assert_string_equal(o.machine.boot.flat, "img");
	assert_int_equal(o.machine.boot.flat_address, 0x7c00);
	assert_false(o.machine.board.nested);
	options_fini(&o);
	assert_int_equal(parse("k --nested on -c 255", &o, message, sizeof(message)), 0);
	assert_true(o.machine.board.nested);
	assert_int_equal(o.machine.board.cpus, 255);
	options_fini(&o);
}

/* What follows the last @ is an address, unless a file is called like that. */
static void flat_files_may_have_any_name(void **state)
{
	char name[] = "/tmp/lkvm-flat@1-XXXXXX", text[64], message[512];
	struct run_options o;
	int fd = mkstemp(name);

	(void)state;
	assert_true(fd >= 0);
	snprintf(text, sizeof(text), "--flat %s", name);
	assert_int_equal(parse(text, &o, message, sizeof(message)), 0);
	assert_string_equal(o.machine.boot.flat, name);
	assert_int_equal(o.machine.boot.flat_address, 0x10000);
	options_fini(&o);
	snprintf(text, sizeof(text), "--flat %s@0x7c00", name);
	assert_int_equal(parse(text, &o, message, sizeof(message)), 0);
	assert_string_equal(o.machine.boot.flat, name);
	assert_int_equal(o.machine.boot.flat_address, 0x7c00);
	options_fini(&o);
	close(fd);
	unlink(name);
	assert_true(parse(text, &o, message, sizeof(message)) == 0);
	assert_string_equal(o.machine.boot.flat, name);
	options_fini(&o);
}

static void devices_are_counted(void **state)
{
	struct run_options o;
	char message[512];

	(void)state;
	assert_int_equal(parse("bz -d a -d b -n mode=none -n mode=tap,tapif=t0,mtu=9000,queues=2,"
			       "guest_mac=02:aa:BB:03:04:05 -n mode=passt,publish=1:2,publish=3:4/udp,host=on "
			       "--port a=unix:/x --port b=fd:5 --console virtio --rng 1K",
			       &o, message, sizeof(message)),
			 0);
	assert_string_equal(message, "");
	assert_int_equal(options_nr_virtio(&o), 2 + 2 + 1 + 1);
	assert_int_equal(o.machine.nets[0].mode, NET_MODE_TAP);
	assert_string_equal(o.machine.nets[0].tapif, "t0");
	assert_int_equal(o.machine.nets[0].mtu, 9000);
	assert_memory_equal(o.machine.nets[0].mac, "\x02\xaa\xbb\x03\x04\x05", 6);
	assert_int_equal(o.machine.nets[1].nr_publish, 2);
	assert_string_equal(o.machine.nets[1].publish[1], "3:4/udp");
	assert_true(o.machine.nets[1].host_loopback && o.machine.virtio_console && o.machine.board.rng_requested);
	assert_int_equal(o.machine.board.rng_rate, 1024);
	assert_string_equal(o.machine.ports[0].path, "/x");
	assert_int_equal(o.machine.ports[1].fd, 5);
	options_fini(&o);
	assert_int_equal(parse("bz --rng off", &o, message, sizeof(message)), 0);
	assert_int_equal(options_nr_virtio(&o), 0);
	options_fini(&o);
}

/* A comma in a name is written twice, as in QEMU. */
static void a_disk_may_have_any_name(void **state)
{
	struct run_options o;
	char message[512];

	(void)state;
	assert_int_equal(parse("bz -d a,,b.img,discard=off,serial=x,,y -d ,,ro -d c,,,,,ro -d d,discard=on",
			       &o, message, sizeof(message)),
			 0);
	assert_string_equal(message, "");
	assert_string_equal(o.machine.disks[0].disk.path, "a,b.img");
	assert_string_equal(o.machine.disks[0].serial, "x,y");
	assert_true(o.machine.disks[0].disk.no_discard);
	assert_string_equal(o.machine.disks[1].disk.path, ",ro");
	assert_false(o.machine.disks[1].disk.read_only);
	assert_string_equal(o.machine.disks[2].disk.path, "c,,");
	assert_true(o.machine.disks[2].disk.read_only);
	assert_false(o.machine.disks[3].disk.no_discard);
	options_fini(&o);
}

static void bad_lines_are_one_message(void **state)
{
	static const struct {
		const char *line, *message;
	} cases[] = {
		{ "-c 0", "--cpus: 0: must be a number from 1 to 255 (" },
		{ "-c 256", "--cpus: 256: must be a number from 1 to 255 (" },
		{ "-c -1", "--cpus: -1: must be" },
		{ "-c 4x", "--cpus: 4x" },
		{ "-c 99999999999999999999", "--cpus: 9999" },
		{ "--cpus=", "--cpus: :" },
		{ "-m 1", "--mem: 1: too small: a machine needs at least 2M" },
		{ "-m 99999T", "--mem: 99999T: more than any machine" },
		{ "-m 99999999999999999999T", "more than any machine" },
		{ "-m -5", "--mem: -5: not a size" },
		{ "-m 5X", "not a size" },
		{ "-m 5GB", "not a size" },
		{ "-m 4097K", "not a multiple of 4K" },
		{ "--mem", "option --mem: needs a value" },
		{ "-m", "option -m: needs a value" },
		{ "--frobnicate", "option --frobnicate: unknown" },
		{ "-z", "option -z: unknown" },
		{ "--dry-run=1", "takes no value" },
		{ "--acpi maybe", "must be on or off" },
		{ "a b", "argument: b: unexpected; one kernel" },
		{ "-k a -k b", "only one kernel" },
		{ "-k a --flat b", "only one kernel" },
		{ "--flat a@zz", "not a number" },
		{ "--flat a -i b", "a flat image takes none" },
		{ "--timeout 0", "--timeout: 0" },
		{ "--grace -1", "--grace: -1" },
		{ "--timeout nan", "--timeout: nan" },
		{ "--timeout 1e99", "--timeout" },
		{ "--timeout x", "--timeout: x" },
		{ "--name a/b", "--name: a/b" },
		{ "--console fax", "--console: fax" },
		{ "-d ,ro", "no file name" },
		{ "-d a,", "unknown suffix \"\"" },
		{ "-d a,discard=maybe", "unknown suffix \"discard=maybe\"" },
		{ "-n tap", "unknown key \"tap\"" },
		{ "-n mode=usb", "mode=usb: not possible" },
		{ "-n tapif=x", "needs a mode" },
		{ "-n mode=fd", "mode=fd needs fd=N" },
		{ "-n mode=tap,fd=3", "no other mode takes it" },
		{ "-n mode=stream", "needs path=SOCKET" },
		{ "-n mode=fd,fd=x", "fd=x: not possible" },
		{ "-n mode=tap,queues=9", "queues=9: not" },
		{ "-n mode=tap,mtu=67", "mtu=67" },
		{ "-n mode=tap,mtu=65536", "mtu=65536" },
		{ "-n mode=tap,guest_mac=01:02:03:04:05:06", "guest_mac=01" },
		{ "-n mode=tap,guest_mac=02:02:03:04:05", "guest_mac=02" },
		{ "-n mode=tap,guest_mac=02:02:03:04:05:6", "guest_mac=02" },
		{ "-n mode=passt,vhost=on", "vhost belongs to" },
		{ "-n mode=tap,tapif=a/b", "tapif=a/b" },
		{ "-n mode=tap,publish=80:80", "publish and host belong to mode=passt" },
		{ "-n mode=tap,server=on", "server belongs to mode=stream" },
		{ "--port p", "must be NAME=unix:PATH" },
		{ "--port =pty", "must be NAME=" },
		{ "--port p=tcp:1", "the other side must be" },
		{ "--port a/b=pty", "a name has only" },
		{ "--port p=fd:", "the other side" },
		{ "--port p=pty --port p=pty", "another port has" },
		{ "--sandbox maybe", "--sandbox: maybe: must be on, off or strict" },
		{ "--unpack me", "--unpack: me: must be host or guest" },
		{ "--transport usb", "--transport: usb: must be pci or mmio" },
		{ "--console fax", "--console: fax: must be serial or virtio" },
		{ "--acpi maybe", "--acpi: maybe: must be on or off" },
		{ "--rng 63", "--rng: 63: must be on, off or" },
		{ "--rng maybe", "--rng: maybe" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct run_options o;
		char message[512];

		assert_int_equal(parse(cases[i].line, &o, message, sizeof(message)), -EINVAL);
		if (!strstr(message, cases[i].message) || strncmp(message, "lkvm: ", 6))
			fail_msg("%s: expected '%s', got '%s'", cases[i].line, cases[i].message,
				 message);
		options_fini(&o);
	}
}

static void sizes(void **state)
{
	static const struct {
		const char *text;
		int rc;
		uint64_t bytes;
	} cases[] = {
		{ "512", 0, MIB(512) },
		{ "1b", 0, 1 },
		{ "3k", 0, 3072 },
		{ "1G", 0, GIB(1) },
		{ "0x10", 0, MIB(16) },
		{ "010", 0, MIB(10) },
		{ "", -EINVAL, 0 },
		{ " 1", -EINVAL, 0 },
		{ "+1", -EINVAL, 0 },
		{ "1 ", -EINVAL, 0 },
		{ "16777216T", -ERANGE, 0 },
		{ "18446744073709551616", -ERANGE, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t bytes = 0;

		assert_int_equal(value_size(cases[i].text, MIB(1), &bytes), cases[i].rc);
		if (!cases[i].rc)
			assert_int_equal(bytes, cases[i].bytes);
	}
}

static void words_are_chosen(void **state)
{
	(void)state;
	assert_int_equal(value_choice("on", "on|off|RATE"), 0);
	assert_int_equal(value_choice("off", "on|off|RATE"), 1);
	assert_int_equal(value_choice("RATE", "on|off|RATE"), -1);
	assert_int_equal(value_choice("o", "on|off"), -1);
	assert_int_equal(value_choice("", "on|off"), -1);
	assert_int_equal(value_choice("on|off", "on|off"), -1);
}

/* Values are functions of their text: what they make points into it, what they refuse is said. */
static void values_are_pure(void **state)
{
	char disk_text[] = "a,,b,ro,serial=1", port_text[] = "p=file:/x", bad_port[] = "p=tcp:1";
	char net_text[] = "mode=stream,path=/s,server=on", bad_net[] = "mode=tap,mtu=1";
	struct value_error why = { "" };
	struct machine_disk disk;
	struct port_config port;
	struct net_config net;

	(void)state;
	assert_int_equal(value_disk(&disk, disk_text, &why), 0);
	assert_string_equal(disk.disk.path, "a,b");
	assert_ptr_equal(disk.disk.path, disk_text);
	assert_true(disk.disk.read_only && !disk.disk.cow);
	assert_string_equal(disk.serial, "1");
	assert_int_equal(value_network(&net, net_text, &why), 0);
	assert_int_equal(net.mode, NET_MODE_STREAM);
	assert_string_equal(net.path, "/s");
	assert_true(net.server);
	assert_int_equal(value_port(&port, port_text, &why), 0);
	assert_int_equal(port.kind, PORT_FILE);
	assert_string_equal(port.path, "/x");
	assert_string_equal(why.text, "");
	assert_int_equal(value_network(&net, bad_net, &why), -EINVAL);
	assert_string_equal(why.text, "mtu=1: not possible\n`lkvm help run` tells what is.");
	assert_int_equal(value_port(&port, bad_port, &why), -EINVAL);
	assert_string_equal(why.text, "the other side must be unix:PATH, file:PATH, fd:N or pty");
}

/* Cards of mode=none are none: neither is there a limit for them nor do they need a number. */
static void no_card_takes_no_place(void **state)
{
	char line[900] = "bz", message[512];
	struct run_options o;

	(void)state;
	for (int i = 0; i < 14; i++)
		strcat(line, " -n mode=none");
	strcat(line, " -n mode=tap");
	assert_int_equal(parse(line, &o, message, sizeof(message)), 0);
	assert_int_equal(o.machine.nr_nets, 1);
	assert_int_equal(o.nr_texts, 1);
	assert_string_equal(o.machine.nets[0].name, "net0");
	options_fini(&o);
}

static void a_crash_never_looks_like_success(void **state)
{
	static const struct {
		enum stop_reason reason;
		enum last_words words;
		enum shutdown shutdown;
		int signal, status;
		const char *word;
	} cases[] = {
		{ STOP_NONE, WORDS_NONE, 0, 0, 255, "kvm-error" },
		{ STOP_POWEROFF, WORDS_NONE, 0, 0, 0, "poweroff" },
		{ STOP_POWEROFF, WORDS_PANIC, 0, 0, 0, "poweroff" },
		{ STOP_POWEROFF, WORDS_NONE, SHUTDOWN_SKIPPED, 0, 0, "poweroff" },
		{ STOP_RESET, WORDS_NONE, SHUTDOWN_UNKNOWN, 0, 255, "panic" },
		{ STOP_RESET, WORDS_NONE, SHUTDOWN_SKIPPED, 0, 255, "panic" },
		{ STOP_RESET, WORDS_NONE, SHUTDOWN_DONE, 0, 0, "reset" },
		{ STOP_RESET, WORDS_NONE, SHUTDOWN_NO_OS, 0, 0, "reset" },
		{ STOP_RESET, WORDS_RESTART, SHUTDOWN_SKIPPED, 0, 0, "reset" },
		{ STOP_RESET, WORDS_RESTART, SHUTDOWN_UNKNOWN, 0, 0, "reset" },
		{ STOP_RESET, WORDS_HALT, SHUTDOWN_DONE, 0, 0, "reset" },
		{ STOP_RESET, WORDS_PANIC, SHUTDOWN_SKIPPED, 0, 255, "panic" },
		{ STOP_RESET, WORDS_PANIC, SHUTDOWN_NO_OS, 0, 255, "panic" },
		{ STOP_RESET, WORDS_PANIC, SHUTDOWN_DONE, 0, 255, "panic" },
		{ STOP_PANIC, WORDS_NONE, 0, 0, 255, "panic" },
		{ STOP_TRIPLE_FAULT, WORDS_RESTART, 0, 0, 255, "triple-fault" },
		{ STOP_HALTED, WORDS_NONE, SHUTDOWN_UNKNOWN, 0, 255, "panic" },
		{ STOP_HALTED, WORDS_NONE, SHUTDOWN_NO_OS, 0, 255, "panic" },
		{ STOP_HALTED, WORDS_NONE, SHUTDOWN_SKIPPED, 0, 255, "panic" },
		{ STOP_HALTED, WORDS_NONE, SHUTDOWN_DONE, 0, 0, "poweroff" },
		{ STOP_HALTED, WORDS_PANIC, SHUTDOWN_DONE, 0, 255, "panic" },
		{ STOP_HALTED, WORDS_HALT, SHUTDOWN_NO_OS, 0, 0, "poweroff" },
		{ STOP_HALTED, WORDS_HALT, SHUTDOWN_SKIPPED, 0, 0, "poweroff" },
		{ STOP_KVM_ERROR, WORDS_NONE, 0, 0, 255, "kvm-error" },
		{ STOP_TIMEOUT, WORDS_NONE, 0, 0, 124, "timeout" },
		{ STOP_TIMEOUT, WORDS_PANIC, 0, 0, 255, "panic" },
		{ STOP_SIGNAL, WORDS_NONE, 0, 15, 143, "killed" },
		{ STOP_QUIT, WORDS_NONE, 0, 0, 130, "killed" },
		{ STOP_ERROR, WORDS_NONE, 0, 0, 125, "error" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct machine_result r = {
			.reason = cases[i].reason,
			.words = cases[i].words,
			.shutdown = cases[i].shutdown,
			.signal = cases[i].signal,
		};
		struct outcome o = outcome_of(&r);

		assert_int_equal(o.status, cases[i].status);
		assert_string_equal(o.word, cases[i].word);
		assert_int_equal(o.lost != NULL, o.status == 255);
	}
}

/* With a command that has not ended. */
static void a_command_ends_or_goes_on(void **state)
{
	struct machine_result r = { .reason = STOP_SNAPSHOT, .has_command = true };

	(void)state;
	assert_int_equal(outcome_of(&r).status, 0);
	assert_string_equal(outcome_of(&r).word, "snapshot");
	r.reason = STOP_POWEROFF;
	assert_int_equal(outcome_of(&r).status, 255);
}

/* However orderly its crash kernel ends. */
static void a_crash_is_remembered(void **state)
{
	static const struct {
		enum stop_reason reason;
		int status;
		const char *word;
	} cases[] = {
		{ STOP_POWEROFF, 255, "panic" },
		{ STOP_RESET, 255, "panic" },
		{ STOP_HALTED, 255, "panic" },
		{ STOP_TIMEOUT, 255, "panic" },
		{ STOP_PANIC, 255, "panic" },
		{ STOP_TRIPLE_FAULT, 255, "triple-fault" },
		{ STOP_SIGNAL, 143, "killed" },
		{ STOP_QUIT, 130, "killed" },
		{ STOP_ERROR, 125, "error" },
		{ STOP_SNAPSHOT, 0, "snapshot" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct machine_result r = {
			.reason = cases[i].reason,
			.words = WORDS_RESTART,
			.shutdown = SHUTDOWN_DONE,
			.signal = 15,
			.crashed = true,
		};
		struct outcome o = outcome_of(&r);

		assert_int_equal(o.status, cases[i].status);
		assert_string_equal(o.word, cases[i].word);
		assert_int_equal(o.lost != NULL, o.status == 255);
	}
}

static void strings_are_json(void **state)
{
	static const struct {
		const char *text, *json;
	} cases[] = {
		{ "plain", "\"plain\"" },
		{ "a\"b\\c", "\"a\\\"b\\\\c\"" },
		{ "\n\x01\x7f", "\"\\u000a\\u0001\\u007f\"" },
		{ "\xc3\xa4", "\"\xc3\xa4\"" },
		{ "\xff", "\"\\ufffd\"" },
		{ "\xc3", "\"\\ufffd\"" },
		{ "\xc0\x80", "\"\\ufffd\\ufffd\"" },
		{ "\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\"" },
		{ "\xf0\x9f\x90\xa7", "\"\xf0\x9f\x90\xa7\"" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char buf[128] = "";
		FILE *f = fmemopen(buf, sizeof(buf), "w");

		json_string(f, cases[i].text);
		fclose(f);
		assert_string_equal(buf, cases[i].json);
	}
}

static void the_report_is_one_object(void **state)
{
	struct report r = {
		.outcome = { "panic", 255, NULL },
		.kernel = "k\"",
		.cpus = 2,
		.ram_bytes = GIB(1),
		.boot_ns = -1,
		.wall_ns = 1234567890,
		.kernel_ns = 2000,
		.awake_ns = -1,
		.init_ns = 5000000000,
	};
	char buf[512] = "";
	FILE *f = fmemopen(buf, sizeof(buf), "w");

	(void)state;
	report_write(f, &r);
	fclose(f);
	assert_string_equal(buf, "{\"v\":1,\"outcome\":\"panic\",\"status\":255,\"boot_ms\":null,"
				 "\"wall_ms\":1234.567,\"name\":null,\"kernel\":\"k\\\"\",\"cpus\":2,"
				 "\"mem_mib\":1024,\"kernel_ms\":0.002,\"awake_ms\":null,"
				 "\"init_ms\":5000.000}\n");
}

static void messages_have_two_parts(void **state)
{
	char message[4096];
	int saved = begin_capture();

	(void)state;
	log_error("what: %s: reason\nwhat to do", "object");
	log_verbose("not shown");
	log_set_raw_terminal(true);
	log_notice("raw");
	log_set_raw_terminal(false);
	end_capture(saved, message, sizeof(message));
	assert_string_equal(message, "lkvm: what: object: reason\n  what to do\nlkvm: raw\r\n");
}

static void a_guest_cannot_flood_the_log(void **state)
{
	struct log_limit limit = { 0 };
	char message[8192];
	unsigned int lines = 0;
	int saved = begin_capture();

	(void)state;
	for (int i = 0; i < 100000; i++)
		log_guest(&limit, "bad descriptor %d", i);
	end_capture(saved, message, sizeof(message));
	for (const char *p = message; (p = strchr(p, '\n')); p++)
		lines++;
	assert_true(lines >= LOG_BURST && lines <= 4 * LOG_BURST);
	assert_true(limit.dropped > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_lines),
		cmocka_unit_test(flat_files_may_have_any_name),
		cmocka_unit_test(devices_are_counted),
		cmocka_unit_test(a_disk_may_have_any_name),
		cmocka_unit_test(bad_lines_are_one_message),
		cmocka_unit_test(sizes),
		cmocka_unit_test(words_are_chosen),
		cmocka_unit_test(values_are_pure),
		cmocka_unit_test(no_card_takes_no_place),
		cmocka_unit_test(a_crash_never_looks_like_success),
		cmocka_unit_test(a_crash_is_remembered),
		cmocka_unit_test(a_command_ends_or_goes_on),
		cmocka_unit_test(strings_are_json),
		cmocka_unit_test(the_report_is_one_object),
		cmocka_unit_test(messages_have_two_parts),
		cmocka_unit_test(a_guest_cannot_flood_the_log),
	};

	return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
