// SPDX-License-Identifier: GPL-2.0-only
/*
 * gdb's stub without a VM: packets and their fields, registers, memory, breakpoints, traps. Who runs when
 * is included here, with CPUs that are only told.
 */
#include "tests/lib/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "control/gdb-breaks.h"
#include "control/gdb-commands.h"
#include "control/gdb-packet.h"
#include "control/gdb-registers.h"
#include "kvm-cpu.h"
#include "machine.h"
#include "mem.h"
#include "util.h"
#include "x86/board.h"

/* ---- CPUs ---- */

#define CPUS 4u

static struct vcpu fake_cpus[CPUS];
static struct board board;
static unsigned int nr_injected, nr_runs;

static struct board *test_board(struct machine *m)
{
	(void)m;
	return &board;
}

static void test_go_on(struct machine *m, enum machine_halter who)
{
	(void)m;
	assert_int_equal(who, MACHINE_GDB);
	nr_runs++;
}

static int test_set_debug(int fd, unsigned long request, const struct kvm_guest_debug *debug)
{
	assert_true(fd == -1 && request == KVM_SET_GUEST_DEBUG);
	nr_injected += !!(debug->control & (KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP));
	return 0;
}

static void test_flush(struct gdb_target *t)
{
	(void)t;
}

#define machine_board	 test_board
#define gdb_target_flush test_flush
#define machine_go_on	 test_go_on
#define ioctl		 test_set_debug
#define gdb_is_busy	 stub_is_busy
#define gdb_is_in_guest	 stub_is_in_guest
#define gdb_connect	 stub_connect
#define gdb_create	 stub_create
#define gdb_destroy	 stub_destroy

#include "control/gdb.c"

#undef machine_board
#undef machine_go_on
#undef gdb_target_flush
#undef ioctl

#define PG  0x80000001u
#define PAE 0x20u
#define LMA 0x500u

/* ---- packets ---- */

static struct gdb_packet packet;

static enum gdb_event feed(const char *bytes, size_t n)
{
	enum gdb_event event = GDB_NOTHING;

	for (size_t i = 0; i < n; i++)
		event = gdb_packet_feed(&packet, (uint8_t)bytes[i]);
	return event;
}

static void test_packets(void **state)
{
	static const struct {
		const char *bytes, *text;
	} good[] = {
		{ "$g#67", "g" },
		{ "+$?#3f", "?" },
		{ "++$#00", "" },
		{ "rubbish$m0,4#FD", "m0,4" },
		{ "$m1$g#67", "g" },
		{ "$a}\x03z#5b", "a#z" },
		{ "$}]#da", "}" },
	};
	static const char *const broken[] = { "$g#68", "$g#6", "$g##7", "$#0x", "$g#g7", "$a}#z" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(feed(good[i].bytes, strlen(good[i].bytes)), GDB_PACKET);
		assert_string_equal(packet.text, good[i].text);
		assert_int_equal(packet.bytes, strlen(good[i].text));
	}
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		assert_int_not_equal(feed(broken[i], strlen(broken[i])), GDB_PACKET);
		packet.state = GDB_OUTSIDE;
	}
	assert_int_equal(feed("$g#68", 5), GDB_BROKEN);
	assert_int_equal(feed("\x03", 1), GDB_INTERRUPT);
	assert_int_equal(feed("-", 1), GDB_NAK);
	/* In a packet it is data. */
	assert_int_equal(feed("$X\x03-", 4), GDB_NOTHING);
	packet.state = GDB_OUTSIDE;
}

static void test_long_packets(void **state)
{
	char sum[3];

	(void)state;
	feed("$", 1);
	for (unsigned int i = 0; i < GDB_PACKET_BYTES; i++)
		assert_int_equal(feed("a", 1), GDB_NOTHING);
	snprintf(sum, sizeof(sum), "%02x", 'a' * GDB_PACKET_BYTES & 0xff);
	feed("#", 1);
	assert_int_equal(feed(sum, 2), GDB_PACKET);
	assert_int_equal(packet.bytes, GDB_PACKET_BYTES);
	feed("$", 1);
	for (unsigned int i = 0; i < 3 * GDB_PACKET_BYTES; i++)
		feed("a", 1);
	snprintf(sum, sizeof(sum), "%02x", 3 * 'a' * GDB_PACKET_BYTES & 0xff);
	feed("#", 1);
	assert_int_equal(feed(sum, 2), GDB_BROKEN);
	assert_int_equal(feed("$g#67", 5), GDB_PACKET);
}

static struct gdb_text text_of(const char *text)
{
	return (struct gdb_text){ text, text + strlen(text) };
}

static void test_fields(void **state)
{
	struct gdb_text t = text_of("qXfer:ffffffffffffffff,10:0aFf");
	uint8_t bytes[3];
	uint64_t n = 5;

	(void)state;
	assert_false(gdb_take_char(&t, 'x') || gdb_take_word(&t, "qXfes") || gdb_take_number(&t, &n));
	assert_true(gdb_take_char(&t, 'q') && gdb_take_word(&t, "Xfer:") && gdb_take_number(&t, &n));
	assert_true(n == UINT64_MAX);
	assert_true(gdb_take_char(&t, ',') && gdb_take_number(&t, &n) && n == 16 && gdb_take_char(&t, ':'));
	assert_false(gdb_take_hex(&t, bytes, 3));
	assert_true(gdb_take_hex(&t, bytes, 2));
	assert_true(bytes[0] == 10 && bytes[1] == 255 && !gdb_text_left(&t));
	assert_false(gdb_take_char(&t, '\0') || gdb_take_number(&t, &n) || gdb_take_hex(&t, bytes, 1));
	t = text_of("10000000000000000"); /* too many digits */
	assert_false(gdb_take_number(&t, &n));
	assert_int_equal(gdb_text_left(&t), 17);
	t = text_of("0g");
	assert_false(gdb_take_hex(&t, bytes, 1));
}

static void test_replies(void **state)
{
	static struct gdb_reply r;
	static char frame[GDB_FRAME_BYTES];
	static const char all[] = "a$b#c}d*e";
	char many[300] = "";

	(void)state;
	assert_true(gdb_put(&r, "T%02x", 5) && gdb_put_hex(&r, "\x01\xfe", 2));
	assert_int_equal(gdb_frame(&r, frame), 11);
	assert_memory_equal(frame, "$T0501fe#", 9);
	/* What was escaped comes back as it was. */
	r.bytes = 0;
	assert_int_equal(gdb_put_binary(&r, all, strlen(all)), strlen(all));
	assert_int_equal(feed(frame, gdb_frame(&r, frame)), GDB_PACKET);
	assert_string_equal(packet.text, all);
	/* Full, and not a byte more. */
	memset(many, '#', sizeof(many));
	while (gdb_put_binary(&r, many, sizeof(many)) == sizeof(many))
		;
	assert_true(r.bytes <= GDB_PACKET_BYTES && r.bytes >= GDB_PACKET_BYTES - 1);
	many[sizeof(many) - 1] = '\0';
	assert_false(gdb_put(&r, "%s", many) || gdb_put_hex(&r, many, 1));
	assert_int_equal(feed(frame, gdb_frame(&r, frame)), GDB_PACKET);
}

/* ---- registers ---- */

/* How many registers the description has, and how many bits. */
static unsigned int count_described(unsigned int *bytes)
{
	unsigned int nr = 0;

	*bytes = 0;
	for (const char *at = gdb_description; (at = strstr(at, "<reg ")) != NULL; at++, nr++)
		*bytes += (unsigned int)strtoul(strstr(at, "bitsize=\"") + 9, NULL, 10) / 8;
	return nr;
}

static void test_description(void **state)
{
	struct registers r = { 0 };
	uint8_t value[GDB_REGISTER_BYTES];
	unsigned int bytes, sum = 0;

	(void)state;
	assert_int_equal(count_described(&bytes), GDB_NR_REGISTERS);
	for (unsigned int n = 0; n < GDB_NR_REGISTERS; n++)
		sum += (unsigned int)gdb_register_get(&r, n, value);
	assert_int_equal(sum, bytes);
	assert_int_equal(gdb_register_get(&r, GDB_NR_REGISTERS, value), 0);
	assert_int_equal(gdb_register_get(&r, UINT32_MAX, value), 0);
}

static uint64_t get_number(const struct registers *r, unsigned int n)
{
	uint8_t value[GDB_REGISTER_BYTES];
	uint64_t number;

	assert_true(gdb_register_get(r, n, value) <= 8);
	memcpy(&number, value, sizeof(number));
	return number;
}

static void test_registers(void **state)
{
	struct registers r = { .regs = { .rip = 0x10, .rflags = 0x202 },
			       .sregs = { .cs = { .base = 0xf0000, .selector = 0xf000 } },
			       .fpu = { .ftwx = 0x81, .mxcsr = 0x1f80 } };
	uint64_t value[2] = { 0xf0020, 0 };
	unsigned int changed = 0;

	(void)state;
	assert_int_equal(get_number(&r, 16), 0xf0010); /* rip is linear */
	assert_int_equal(get_number(&r, 17), 0x202);
	assert_int_equal(get_number(&r, 18), 0xf000);
	assert_int_equal(get_number(&r, 34), 0x3ffc); /* tags */
	assert_int_equal(get_number(&r, 56), 0x1f80);
	assert_int_equal(gdb_register_set(&r, 16, (const uint8_t *)value, &changed), 0);
	assert_true(r.regs.rip == 0x20 && changed == GDB_CHANGED_REGS);
	r.sregs.cs.l = 1;
	assert_int_equal(get_number(&r, 16), 0x20);
	/* A selector can be set to what it is. */
	value[0] = 0xf000;
	assert_int_equal(gdb_register_set(&r, 18, (const uint8_t *)value, &changed), 0);
	value[0] = 0xf001;
	assert_int_equal(gdb_register_set(&r, 18, (const uint8_t *)value, &changed), -EINVAL);
	assert_true(r.sregs.cs.selector == 0xf000 && changed == GDB_CHANGED_REGS);
	value[0] = 0xffff;
	assert_int_equal(gdb_register_set(&r, 34, (const uint8_t *)value, &changed), 0);
	assert_true(!r.fpu.ftwx && changed == (GDB_CHANGED_REGS | GDB_CHANGED_FPU));
	value[0] = 5;
	assert_int_equal(gdb_register_set(&r, 58, (const uint8_t *)value, &changed), 0);
	assert_true(r.sregs.gs.base == 5 && changed & GDB_CHANGED_SREGS);
	assert_int_equal(gdb_register_set(&r, GDB_NR_REGISTERS, (const uint8_t *)value, &changed), -EINVAL);
	/* Each is set where it is got from, and nowhere else. */
	for (unsigned int n = 0; n < GDB_NR_REGISTERS; n++) {
		uint8_t set[GDB_REGISTER_BYTES], got[GDB_REGISTER_BYTES];
		size_t bytes = gdb_register_get(&r, n, set);
		struct registers before = r;

		set[0] ^= 3;
		if (n == 34 || gdb_register_set(&r, n, set, &changed)) {
			assert_memory_equal(&before, &r, sizeof(r));
			continue;
		}
		gdb_register_get(&r, n, got);
		assert_memory_equal(got, set, bytes);
	}
}

/* ---- memory and breakpoints ---- */

static struct mem *ram;
static struct registers cpu;
static const struct gdb_view view = { &cpu, &cpu };
static struct gdb_breaks b;

static int set_up(void **state)
{
	static const uint64_t tables[][2] = {
		{ 0x2000, 0x3001 },
		{ 0x2000 + 8 * 511, 0x3001 },
		{ 0x3000, 0x4001 },
		{ 0x3000 + 8 * 511, 0x4001 },
		{ 0x4000, 0x5001 },
		{ 0x4000 + 8 * 511, 0x5001 },
		{ 0x5000 + 8, 0x9001 },
		{ 0x5000 + 16, 0x7001 },
		{ 0x5000 + 24, 0x9001 },
		{ 0x5000 + 32, GIB(1) | 1 },
	};

	(void)state;
	cpu = (struct registers){ .sregs = { .cr0 = PG, .cr3 = 0x2000, .cr4 = PAE, .efer = LMA } };
	assert_int_equal(mem_create(&ram, MIB(4)), 0);
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		assert_int_equal(mem_write(ram, tables[i][0], &tables[i][1], 8), 0);
	memset(&b, 0, sizeof(b));
	b.mem = ram;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	mem_destroy(ram);
	return 0;
}

static uint8_t byte_at(gpa_t gpa)
{
	uint8_t byte = 0;

	assert_int_equal(mem_read(ram, gpa, &byte, 1), 0);
	return byte;
}

static void test_memory(void **state)
{
	struct registers real = { 0 };
	const struct gdb_view other = { &real, &cpu };
	char text[8] = "";

	(void)state;
	assert_int_equal(gdb_write_memory(&b, &view, 0x1ffd, "abcdef", 6), 6);
	assert_int_equal(mem_read(ram, 0x9ffd, text, 3), 0);
	assert_int_equal(mem_read(ram, 0x7000, text + 3, 3), 0);
	assert_string_equal(text, "abcdef");
	assert_int_equal(gdb_read_memory(&b, &view, 0x1ffe, text, 4), 4);
	assert_memory_equal(text, "bcde", 4);
	assert_int_equal(gdb_read_memory(&b, &view, 0x3ffc, text, 8), 4);
	assert_int_equal(gdb_write_memory(&b, &view, 0x3ffc, text, 8), 4);
	assert_int_equal(gdb_read_memory(&b, &view, 0x4000, text, 8), 0); /* no RAM */
	assert_int_equal(gdb_read_memory(&b, &view, 0, text, 8), 0);
	assert_int_equal(gdb_read_memory(&b, &view, UINT64_MAX, text, 8), 0);
	/* A CPU that is not in the kernel's mode has the kernel's addresses by the other's tables. */
	assert_int_equal(gdb_read_memory(&b, &other, 0xffffffffffe01ffd, text, 3), 3);
	assert_memory_equal(text, "abc", 3);
	assert_int_equal(gdb_read_memory(&b, &other, 0x9ffe, text, 1), 1);
	assert_int_equal(text[0], 'b');
}

static void test_soft(void **state)
{
	uint8_t text[4] = { 1, 2, 3, 4 };

	(void)state;
	assert_int_equal(gdb_write_memory(&b, &view, 0x1000, text, 4), 4);
	assert_int_equal(gdb_break_insert(&b, &view, GDB_SOFT, 0x1001, 1), 0);
	assert_int_equal(gdb_break_insert(&b, &view, GDB_SOFT, 0x1001, 1), 0);
	assert_int_equal(byte_at(0x9001), 0xcc);
	/* Not seen by gdb; what it writes there is what comes back. */
	assert_int_equal(gdb_read_memory(&b, &view, 0x1000, text, 4), 4);
	assert_int_equal(text[1], 2);
	text[1] = 9;
	assert_int_equal(gdb_write_memory(&b, &view, 0x1000, text, 4), 4);
	assert_int_equal(byte_at(0x9001), 0xcc);
	/* The same byte at another address. */
	assert_int_equal(gdb_break_insert(&b, &view, GDB_SOFT, 0x3001, 1), 0);
	assert_int_equal(gdb_break_remove(&b, GDB_SOFT, 0x1001, 1), 0);
	assert_int_equal(byte_at(0x9001), 0xcc);
	assert_int_equal(gdb_break_remove(&b, GDB_SOFT, 0x3001, 1), 0);
	assert_int_equal(byte_at(0x9001), 9);
	assert_int_equal(gdb_break_remove(&b, GDB_SOFT, 0x3001, 1), 0);
	/* What a kernel has patched itself stays. */
	assert_int_equal(gdb_break_insert(&b, &view, GDB_SOFT, 0x1002, 1), 0);
	assert_int_equal(mem_write(ram, 0x9002, "\x90", 1), 0);
	assert_int_equal(gdb_read_memory(&b, &view, 0x1002, text, 1), 1);
	assert_int_equal(text[0], 0x90);
	gdb_break_remove_all(&b);
	assert_int_equal(byte_at(0x9002), 0x90);
	assert_int_equal(gdb_break_insert(&b, &view, GDB_SOFT, 0x4000, 1), -EFAULT);
	assert_int_equal(gdb_break_insert(&b, &view, GDB_SOFT, 0x8000, 1), -EFAULT);
	for (unsigned int i = 0; i < GDB_MAX_SOFT; i++)
		assert_int_equal(gdb_break_insert(&b, &view, GDB_SOFT, 0x1000 + i, 1), 0);
	assert_int_equal(gdb_break_insert(&b, &view, GDB_SOFT, 0x2000, 1), -ENOSPC);
	gdb_break_remove_all(&b);
	for (unsigned int i = 4; i < GDB_MAX_SOFT; i++)
		assert_int_equal(byte_at(0x9000 + i), 0);
}

static void test_hard(void **state)
{
	struct kvm_guest_debug d;

	(void)state;
	gdb_breaks_control(&b, &d);
	assert_int_equal(d.control, 0);
	assert_int_equal(gdb_break_insert(&b, &view, GDB_HARD, 0xffffffff81000000, 1), 0);
	assert_int_equal(gdb_break_insert(&b, &view, GDB_WATCH_WRITE, 0x1000, 8), 0);
	assert_int_equal(gdb_break_insert(&b, &view, GDB_WATCH_ACCESS, 0x1002, 2), 0);
	assert_int_equal(gdb_break_insert(&b, &view, GDB_WATCH_READ, 0x1002, 2), -EOPNOTSUPP);
	assert_int_equal(gdb_break_insert(&b, &view, 5, 0x1002, 2), -EOPNOTSUPP);
	assert_int_equal(gdb_break_insert(&b, &view, GDB_WATCH_WRITE, 0x1001, 2), -EINVAL);
	assert_int_equal(gdb_break_insert(&b, &view, GDB_WATCH_WRITE, 0x1000, 3), -EINVAL);
	assert_int_equal(gdb_break_insert(&b, &view, GDB_WATCH_WRITE, 0x1000, 16), -EINVAL);
	assert_int_equal(gdb_break_insert(&b, &view, GDB_WATCH_WRITE, 0x1000, 0), -EINVAL);
	assert_int_equal(gdb_break_insert(&b, &view, GDB_WATCH_WRITE, 0x1000, 1), 0);
	assert_int_equal(gdb_break_insert(&b, &view, GDB_HARD, 0x1000, 1), -ENOSPC);
	assert_int_equal(gdb_break_insert(&b, &view, GDB_WATCH_WRITE, 0x1000, 8), 0); /* it is there */
	gdb_breaks_control(&b, &d);
	assert_int_equal(d.control, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP);
	assert_true(d.arch.debugreg[0] == 0xffffffff81000000 && d.arch.debugreg[1] == 0x1000 &&
		    d.arch.debugreg[2] == 0x1002 && d.arch.debugreg[3] == 0x1000);
	assert_int_equal(d.arch.debugreg[7], 0x179004aa);
	assert_int_equal(gdb_break_remove(&b, GDB_WATCH_WRITE, 0x1000, 1), 0);
	gdb_breaks_control(&b, &d);
	assert_int_equal(d.arch.debugreg[7], 0x790042a);
	assert_int_equal(gdb_break_insert(&b, &view, GDB_SOFT, 0x1000, 1), 0);
	gdb_breaks_control(&b, &d);
	assert_true(d.control & KVM_GUESTDBG_USE_SW_BP);
	gdb_break_remove_all(&b);
	gdb_breaks_control(&b, &d);
	assert_int_equal(d.control, 0);
}

static enum gdb_trap explain(uint32_t exception, uint64_t pc, uint64_t dr6, bool stepped)
{
	const struct kvm_debug_exit_arch trap = { .exception = exception, .pc = pc, .dr6 = dr6 };

	return gdb_trap_explain(&b, &trap, stepped).trap;
}

static void test_traps(void **state)
{
	(void)state;
	assert_int_equal(explain(3, 0x1000, 0, true), GDB_TRAP_FOREIGN); /* the guest's own int3 */
	assert_int_equal(explain(1, 0x1000, 0xffff0ff1, false), GDB_TRAP_FOREIGN);
	assert_int_equal(explain(1, 0x1000, 0xffff4ff0, true), GDB_TRAP_STEP);
	assert_int_equal(explain(14, 0x1000, 0, true), GDB_TRAP_FOREIGN);
	gdb_break_insert(&b, &view, GDB_SOFT, 0x1000, 1);
	gdb_break_insert(&b, &view, GDB_HARD, 0x1000, 1);
	gdb_break_insert(&b, &view, GDB_WATCH_WRITE, 0x1000, 4);
	assert_int_equal(explain(3, 0x1000, 0, false), GDB_TRAP_SOFT);
	assert_int_equal(explain(3, 0x1001, 0, false), GDB_TRAP_FOREIGN);
	assert_int_equal(explain(1, 0x1000, 0xffff0ff1, false), GDB_TRAP_HARD);
	assert_int_equal(explain(1, 0x1000, 0xffff4ff2, true), GDB_TRAP_WATCH);
	assert_int_equal(explain(1, 0x1000, 0xffff0ff4, false), GDB_TRAP_FOREIGN);
}

/* ---- stops ---- */

static struct kvm_guest_debug told[CPUS];
static struct gdb_hit held[CPUS];
static struct vcpu *all_cpus[CPUS];

/* A stub whose CPUs run, with two watchpoints. */
static void run_stub(struct gdb *g)
{
	memset(told, 0, sizeof(told));
	memset(held, 0, sizeof(held));
	*g = (struct gdb){ .state = GDB_RUNNING, .tells = true, .fd = -1, .watch = -1, .told = told, .held = held };
	for (unsigned int i = 0; i < CPUS; i++) {
		fake_cpus[i] = (struct vcpu){ .fd = -1, .index = i };
		all_cpus[i] = &fake_cpus[i];
	}
	board.vcpus = all_cpus;
	board.nr_vcpus = CPUS;
	g->target.breaks.mem = ram;
	assert_int_equal(gdb_break_insert(&g->target.breaks, &view, GDB_WATCH_WRITE, 0x1000, 4), 0);
	assert_int_equal(gdb_break_insert(&g->target.breaks, &view, GDB_WATCH_ACCESS, 0x2000, 8), 0);
	nr_injected = nr_runs = 0;
}

static void trap(unsigned int i, uint64_t dr6)
{
	fake_cpus[i].trapped = true;
	fake_cpus[i].trap = (struct kvm_debug_exit_arch){ .exception = 1, .dr6 = 0xffff0ff0 | dr6 };
}

static void expect_watch(const struct gdb *g, unsigned int i, unsigned int type, uint64_t address)
{
	assert_int_equal(g->state, GDB_STOPPED);
	assert_int_equal(g->target.cpu, i);
	assert_int_equal(g->target.stop.trap, GDB_TRAP_WATCH);
	assert_int_equal(g->target.stop.watch_type, type);
	assert_true(g->target.stop.watched == address);
}

/* Two CPUs at once, and then the user removes what they have run into. */
static void test_held_and_removed(void **state)
{
	static struct gdb g;

	(void)state;
	run_stub(&g);
	trap(1, 1);
	trap(2, 1);
	trap(3, 2);
	gdb_on_halt(&g);
	expect_watch(&g, 1, GDB_WATCH_WRITE, 0x1000);
	gdb_break_remove(&g.target.breaks, GDB_WATCH_WRITE, 0x1000, 4);
	gdb_resume(&g);
	expect_watch(&g, 3, GDB_WATCH_ACCESS, 0x2000);
	gdb_break_remove_all(&g.target.breaks);
	gdb_resume(&g);
	assert_int_equal(g.state, GDB_RUNNING);
	assert_int_equal(nr_runs, 1);
	assert_int_equal(nr_injected, 0);
	for (unsigned int i = 0; i < CPUS; i++)
		assert_false(fake_cpus[i].trapped);
}

/* As gdb does at each stop: all are removed, and come again, where there is room. */
static void test_held_and_inserted_again(void **state)
{
	static struct gdb g;

	(void)state;
	run_stub(&g);
	trap(0, 1);
	trap(1, 1);
	gdb_on_halt(&g);
	expect_watch(&g, 0, GDB_WATCH_WRITE, 0x1000);
	gdb_break_remove_all(&g.target.breaks);
	gdb_break_insert(&g.target.breaks, &view, GDB_WATCH_ACCESS, 0x2000, 8);
	gdb_break_insert(&g.target.breaks, &view, GDB_WATCH_WRITE, 0x1000, 4);
	gdb_resume(&g);
	expect_watch(&g, 1, GDB_WATCH_WRITE, 0x1000);
	gdb_resume(&g);
	assert_int_equal(g.state, GDB_RUNNING);
	assert_int_equal(nr_injected, 0);
}

/* The guest's own is given back at once, beside one that is not. */
static void test_given_back(void **state)
{
	static struct gdb g;

	(void)state;
	run_stub(&g);
	trap(0, 4);
	gdb_on_halt(&g);
	assert_int_equal(g.state, GDB_RUNNING);
	assert_int_equal(nr_injected, 1);
	trap(0, 4);
	trap(1, 1);
	gdb_on_halt(&g);
	expect_watch(&g, 1, GDB_WATCH_WRITE, 0x1000);
	assert_int_equal(nr_injected, 2);
	/* One that is held goes with the connection. */
	trap(2, 1);
	trap(3, 1);
	assert_true(sort_traps(&g));
	gdb_clean_up(&g);
	assert_false(take_held(&g));
	assert_int_equal(nr_injected, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_packets),
		cmocka_unit_test(test_long_packets),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_replies),
		cmocka_unit_test(test_description),
		cmocka_unit_test(test_registers),
		cmocka_unit_test_setup_teardown(test_memory, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_soft, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_hard, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_traps, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_held_and_removed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_held_and_inserted_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_given_back, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
