// SPDX-License-Identifier: GPL-2.0-only
/*
 * lkvm stat: what KVM writes about its statistics, whole and damaged; and what VMs answer that may
 * have been taken over.
 */
#include "tests/lib/unit.h"

#include <errno.h>
#include <linux/kvm.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "cmd/stat.h"
#include "kvm-stats.h"
#include "util.h"

/* ---- KVM's file ---- */

#define NAME_BYTES 48u
#define EACH	   (sizeof(struct kvm_stats_desc) + NAME_BYTES)
#define DATA_AT	   1000u

static uint8_t file[1100];
static size_t file_bytes;

static void put_desc(unsigned int i, const char *name, uint16_t size, uint32_t offset)
{
	const struct kvm_stats_desc d = { .size = size, .offset = offset };
	const size_t at = sizeof(struct kvm_stats_header) + NAME_BYTES + i * EACH;

	memcpy(file + at, &d, sizeof(d));
	memcpy(file + at + sizeof(d), name, min_u64(strlen(name), NAME_BYTES));
}

static void put_header(const struct kvm_stats_header *h)
{
	memcpy(file, h, sizeof(*h));
}

static struct kvm_stats_header make_file(void)
{
	const struct kvm_stats_header h = {
		.name_size = NAME_BYTES,
		.num_desc = 4,
		.id_offset = sizeof(h),
		.desc_offset = sizeof(h) + NAME_BYTES,
		.data_offset = DATA_AT,
	};
	const uint64_t values[] = { 7, 1ull << 63, 9, 10, 11 };

	memset(file, 0, sizeof(file));
	put_header(&h);
	put_desc(0, "exits", 1, 0);
	put_desc(1, "histogram", 3, 16);
	put_desc(2, "io_exits", 1, 8);
	put_desc(3, "123456789012345678901234567890123456789012345678", 1, 0); /* without a NUL */
	memcpy(file + DATA_AT, values, sizeof(values));
	file_bytes = DATA_AT + sizeof(values);
	return h;
}

static void numbers_are_found(void **state)
{
	(void)state;
	make_file();
	assert_int_equal(kvm_stats_find(file, file_bytes, "exits"), DATA_AT);
	assert_int_equal(kvm_stats_find(file, file_bytes, "io_exits"), DATA_AT + 8);
	assert_int_equal(kvm_stats_find(file, file_bytes, "histogram"), 0);
	assert_int_equal(kvm_stats_find(file, file_bytes, "exit"), 0);
	assert_int_equal(kvm_stats_find(file, file_bytes, "exits2"), 0);
	assert_int_equal(kvm_stats_find(file, file_bytes, "123456789012345678901234567890123456789012345678"), 0);
}

/* In memory that ends where the file does, so that a sanitizer's build sees a byte too many. */
static void damage_is_no_harm(void **state)
{
	struct kvm_stats_header h = make_file();
	static const uint32_t wild[] = { 0, 1, 47, 49, 255, 256, 257, 0x7fffffff, 0xffffffff };

	(void)state;
	for (size_t n = 0; n <= file_bytes; n++) {
		uint8_t *copy = malloc(n ? n : 1);
		uint64_t at;

		memcpy(copy, file, n);
		at = kvm_stats_find(copy, n, "io_exits");
		assert_true(at == 0 || at == DATA_AT + 8);
		free(copy);
	}
	for (size_t i = 0; i < ARRAY_SIZE(wild) * 3; i++) {
		struct kvm_stats_header bad = h;

		*(i % 3 == 0 ? &bad.name_size :
		  i % 3 == 1 ? &bad.num_desc :
			       &bad.desc_offset) = wild[i / 3];
		put_header(&bad);
		kvm_stats_find(file, file_bytes, "io_exits");
	}
}

static void numbers_are_read(void **state)
{
	static const char *const names[] = { "io_exits", "none", "exits" };
	int fd = memfd_create("stats", MFD_CLOEXEC);
	uint64_t values[3];
	bool found[3];

	(void)state;
	make_file();
	assert_int_equal(write(fd, file, file_bytes), file_bytes);
	assert_true(kvm_stats_read(fd, names, 3, values, found));
	assert_true(found[0] && values[0] == 1ull << 63 && !found[1] && found[2] && values[2] == 7);
	/* A number that is not there after all. */
	assert_int_equal(ftruncate(fd, DATA_AT + 12), 0);
	assert_true(kvm_stats_read(fd, names, 3, values, found));
	assert_true(!found[0] && found[2]);
	close(fd);
	assert_false(kvm_stats_read(-1, names, 3, values, found));
	assert_false(found[0] || found[1] || found[2]);
}

/* ---- VMs ---- */

static char folder[64], path[108];
static pid_t vm;

static int set_up(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/lkvm-stat-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/vm.sock", folder);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	if (vm) {
		kill(vm, SIGKILL);
		waitpid(vm, NULL, 0);
	}
	vm = 0;
	unlink(path);
	return rmdir(folder);
}

/* Answers item n with line n, and what is behind the last one with that. */
static void be_vm(int listener, const char *const *lines)
{
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		char request[256] = "";
		unsigned int item = 0;
		ssize_t n = read(fd, request, sizeof(request) - 1);

		if (n <= 0 || sscanf(request, "{\"v\":1,\"do\":\"stat\",\"item\":%u}\n", &item) != 1)
			_exit(1);
		for (unsigned int i = 0; i < item; i++)
			if (!lines[i + 1])
				item = i;
		dprintf(fd, "%s\n", lines[item]);
		close(fd);
	}
}

static void start_vm(const char *const *lines)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, path);
	unlink(path);
	assert_int_equal(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(listener, 16), 0);
	vm = fork();
	if (!vm)
		be_vm(listener, lines);
	close(listener);
}

/* What is written of a VM that answers so, or "" and the error. */
static const char *stat_of(const char *const *lines, bool json, int *error)
{
	static char text[1 << 20];
	FILE *out = fmemopen(text, sizeof(text), "w");

	*text = '\0';

	start_vm(lines);
	*error = stat_write(out, "me", path, json, 20000000000ull);
	fclose(out);
	kill(vm, SIGKILL);
	waitpid(vm, NULL, 0);
	vm = 0;
	return text;
}

#define OK "{\"v\":1,\"ok\":true,"

static void what_it_says_is_shown(void **state)
{
	static const char *const lines[] = {
		OK "\"items\":3,\"state\":\"paused\",\"uptime_ms\":1005,\"mem_mib\":512,\"resident_kib\":77}",
		OK "\"cpu\":0,\"time_ms\":12,\"exits\":18446744073709551615,\"io_exits\":3}",
		OK "\"cpu\":1,\"time_ms\":13}",
		OK "\"device\":\"vda\",\"requests\":5,\"bytes_in\":6,\"bytes_out\":7,\"errors\":0}",
		NULL,
	};
	const char *text;
	int error;

	(void)state;
	text = stat_of(lines, true, &error);
	assert_int_equal(error, 0);
	assert_string_equal(text, "{\"v\":1,\"name\":\"me\",\"state\":\"paused\",\"uptime_ms\":1005,"
				  "\"mem_mib\":512,\"resident_kib\":77,\"cpus\":[{\"cpu\":0,\"time_ms\":12,"
				  "\"exits\":18446744073709551615,\"io_exits\":3,\"mmio_exits\":null,\"halt_exits\":null,"
				  "\"irq_exits\":null,\"signal_exits\":null,\"hypercalls\":null,\"insn_emulation\":null,"
				  "\"pf_taken\":null},{\"cpu\":1,\"time_ms\":13,\"exits\":null,\"io_exits\":null,"
				  "\"mmio_exits\":null,\"halt_exits\":null,\"irq_exits\":null,\"signal_exits\":null,"
				  "\"hypercalls\":null,\"insn_emulation\":null,\"pf_taken\":null}],\"devices\":[{"
				  "\"device\":\"vda\",\"requests\":5,\"bytes_in\":6,\"bytes_out\":7,\"errors\":0}]}\n");
	text = stat_of(lines, false, &error);
	assert_int_equal(error, 0);
	assert_non_null(strstr(text, "me: paused, up 1.005 s, 512 MiB of memory, 77 KiB resident\n"));
	assert_non_null(strstr(text, "\n0                12 18446744073709551615         3         ?"));
	assert_non_null(strstr(text, "\nvda                 5                6                7        0\n"));
}

/* Nothing of it is shown. */
static void nonsense_is_refused(void **state)
{
	static const struct {
		const char *lines[4];
		int error;
	} bad[] = {
		{ { "rubbish" }, -ETIMEDOUT },
		{ { "{\"v\":1,\"ok\":false,\"error\":\"x\"}" }, -EPROTO },
		{ { OK "\"items\":0}" }, -EPROTO },
		{ { OK "\"items\":513}" }, -EPROTO },
		{ { OK "\"items\":18446744073709551616}" }, -EPROTO },
		{ { OK "\"state\":\"running\"}" }, -EPROTO },
		{ { OK "\"items\":2}", OK "\"device\":\"vda\"}" }, -EPROTO },
		{ { OK "\"items\":1}", OK "\"nothing\":1}" }, -EPROTO },
		{ { OK "\"items\":3}", OK "\"cpu\":0}", OK "\"device\":\"a\"}", OK "\"cpu\":1}" }, -EPROTO },
		{ { OK "\"items\":2}", OK "\"cpu\":0}", "" }, -ETIMEDOUT },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const char *lines[5] = { bad[i].lines[0], bad[i].lines[1], bad[i].lines[2], bad[i].lines[3] };
		int error;

		assert_string_equal(stat_of(lines, i & 1, &error), "");
		assert_int_equal(error, bad[i].error);
	}
}

/* Names and states go to a terminal, and into JSON. */
static void names_are_names(void **state)
{
	static const char *const lines[] = {
		OK "\"items\":500,\"state\":\"\\u001b[2J\"}",
		OK "\"cpu\":0}",
		OK "\"device\":\"a\\\",\\\"b\\\":\\\"\\n\"}", NULL
	};
	const char *text;
	int error;

	(void)state;
	for (int json = 0; json < 2; json++) {
		text = stat_of(lines, json, &error);
		assert_int_equal(error, 0);
		assert_null(strchr(text, '\033'));
		assert_null(strstr(text, "\"b\""));
		assert_non_null(strstr(text, json ? "\"state\":\"?\"" : "me: ?, up"));
		assert_non_null(strstr(text, json ? "{\"device\":\"?\"" : "\n?"));
	}
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_found),
		cmocka_unit_test(damage_is_no_harm),
		cmocka_unit_test(numbers_are_read),
		TEST(what_it_says_is_shown),
		TEST(nonsense_is_refused),
		TEST(names_are_names),
	};

	return cmocka_run_group_tests_name("stat", tests, NULL, NULL);
}
