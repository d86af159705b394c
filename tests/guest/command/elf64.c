// SPDX-License-Identifier: GPL-2.0-only
/*
 * Plays the first process of a guest that runs a command (guest/protocol.h), and does what
 * "attack=" on the command line says: in order, or not. A kernel with that process takes seconds
 * to come up in an emulated host; this takes none.
 *
 * Parameters are numbers: count= (a status, a size in KiB, how often), stage= (see reach()), and
 * those of a message (see attack_message()).
 */
#define MAX_QUEUES 16u
#define RINGS	   0x200000ull
#include "tests/lib/virtio-guest.h"

#include <linux/virtio_console.h>

#include "guest/protocol.h"

__asm__(".code64\n"
	".global _start\n"
	"_start: movl $0x9e000, %esp\n"
	"	movq %rsi, %rdi\n"
	"	call guest_main\n");

#define CONSOLE	   0x10431af4u /* its device and vendor on PCI */
#define NO_DEVICE  0xffffffffu
#define CTRL_RX	   2u
#define CTRL_TX	   3u
#define TELL	   0x300000ull /* one control message of the device's */
#define NEWS	   0x310000ull /* buffers for them, 256 bytes each */
#define SAY	   0x320000ull /* one message to lkvm */
#define HEAR	   0x340000ull /* buffers for lkvm's, 0x1000 each */
#define BULK	   0x400000ull /* buffers for bytes, 0x8000 each */
#define BULK_BYTES 0x8000u
#define HEAR_BYTES 0x1000u
#define PAYLOAD	   0x600000ull /* of attack_message() */
#define TEXT	   0x610000ull /* of show() */
#define NOTHING	   (~0ull)     /* a parameter that was not given */

enum {
	CONTROL,
	IN,
	OUT,
	ERR,
	RESULTS,
	NR_PORTS,
};

static const char *const names[NR_PORTS] = {
	PROTOCOL_CONTROL, PROTOCOL_STDIN, PROTOCOL_STDOUT, PROTOCOL_STDERR, PROTOCOL_RESULTS
};
static uint32_t ids[NR_PORTS]; /* 0: not known yet */
static uint32_t nr_ids;	       /* of the device's ports */
static const uint8_t *zero_page_at;

/* What lkvm has said. */
static struct {
	struct protocol_header h;
	uint8_t payload[16];
	uint32_t at; /* bytes of the message that have come */
	int go, has_end, has_size, closed;
	uint64_t in_bytes;
	struct protocol_size size;
} heard;

static uint64_t parameter(const char *key)
{
	const char *p = command_line_after(zero_page_at, key);
	uint64_t n = 0;

	if (*p < '0' || *p > '9')
		return NOTHING;
	for (; *p >= '0' && *p <= '9'; p++)
		n = n * 10 + (uint64_t)(*p - '0');
	return n;
}

/* For those that have to be there. */
static uint64_t number(const char *key)
{
	uint64_t n = parameter(key);

	return n == NOTHING ? 0 : n;
}

/* ---- rings ---- */

static unsigned int rx_of(uint32_t id)
{
	return id ? 2 * id + 2 : 0;
}

static unsigned int tx_of(uint32_t id)
{
	return rx_of(id) + 1;
}

/* Which descriptor the completion that was last counted is of. */
static uint16_t used_id(void)
{
	volatile uint32_t *element = (volatile uint32_t *)(used + 2);

	return (uint16_t)element[2 * ((uint16_t)(used_seen - 1) % RING_SIZE)];
}

static int next_used(unsigned int queue)
{
	use_queue(queue);
	if (used[1] == used_seen)
		return 0;
	used_seen++;
	return 1;
}

static void give_buffers(unsigned int queue, uint64_t at, uint32_t bytes)
{
	use_queue(queue);
	for (uint16_t i = 0; i < RING_SIZE; i++) {
		set_desc(i, at + i * (uint64_t)bytes, bytes, VRING_DESC_F_WRITE, 0);
		publish(i);
	}
	kick((uint16_t)queue);
}

static void give(unsigned int queue, uint16_t i, uint64_t at, uint32_t bytes)
{
	use_queue(queue);
	set_desc(i, at, bytes, 0, 0);
	publish(i);
	kick((uint16_t)queue);
}

/* As long as it takes: lkvm may have a reader who stops. */
static void send(unsigned int queue, uint64_t at, uint32_t bytes)
{
	give(queue, 0, at, bytes);
	while (!next_used(queue))
		__builtin_ia32_pause();
}

static void tell(uint32_t id, uint16_t event, uint16_t value)
{
	write32(TELL, id);
	write16(TELL + 4, event);
	write16(TELL + 6, value);
	send(CTRL_TX, TELL, 8);
}

/* ---- ports ---- */

static int is_name(uint64_t at, uint32_t bytes, const char *name)
{
	uint32_t i = 0;

	for (; i < bytes && name[i] && read8(at + i) == (uint8_t)name[i]; i++)
		;
	return !name[i] && (i == bytes || !read8(at + i));
}

static void take_news(uint64_t at, uint32_t bytes)
{
	uint32_t id = read32(at);
	uint16_t event = read16(at + 4);

	if (event == VIRTIO_CONSOLE_PORT_ADD)
		tell(id, VIRTIO_CONSOLE_PORT_READY, 1);
	if (event != VIRTIO_CONSOLE_PORT_NAME)
		return;
	for (unsigned int i = 0; i < NR_PORTS; i++)
		if (is_name(at + 8, bytes - 8, names[i]))
			ids[i] = id;
}

static int knows_ports(void)
{
	for (unsigned int i = 0; i < RESULTS; i++)
		if (!ids[i])
			return 0;
	return nr_ids <= NR_PORTS || ids[RESULTS];
}

/* The disks of the command's files, which come first, get a driver that does nothing. */
static void find_console(void)
{
	for (find_device(); pci_slot < 31 && pci_read(0) != CONSOLE; find_device()) {
		if (pci_read(0) != NO_DEVICE) {
			start_over();
			accept(F_VERSION_1);
			set_status(STATUS_READY);
		}
		pci_slot++;
	}
}

static void bring_up_console(void)
{
	nr_ids = read32(config_space() + 4);
	bring_up_queues(1ull << VIRTIO_CONSOLE_F_MULTIPORT, 2 * nr_ids + 2);
}

static void open_ports(void)
{
	give_buffers(CTRL_RX, NEWS, 256);
	tell(0xffffffff, VIRTIO_CONSOLE_DEVICE_READY, 1);
	while (!knows_ports()) {
		uint16_t i;

		if (!next_used(CTRL_RX))
			continue;
		i = used_id();
		take_news(NEWS + i * 256u, used_length());
		use_queue(CTRL_RX);
		publish(i);
		kick(CTRL_RX);
	}
	for (unsigned int i = 0; i < NR_PORTS; i++)
		if (ids[i])
			tell(ids[i], VIRTIO_CONSOLE_PORT_OPEN, 1);
	give_buffers(rx_of(ids[CONTROL]), HEAR, HEAR_BYTES);
}

/* ---- messages ---- */

/* @claim: how many bytes of payload the header speaks of. */
static void say_so(uint32_t kind, uint32_t claim, const void *payload, uint32_t bytes)
{
	write32(SAY, kind);
	write32(SAY + 4, claim);
	memcpy((void *)(SAY + 8), payload, bytes);
	send(tx_of(ids[CONTROL]), SAY, 8 + bytes);
}

static void say(uint32_t kind, const void *payload, uint32_t bytes)
{
	say_so(kind, bytes, payload, bytes);
}

static void take_message(void)
{
	switch (heard.h.kind) {
	case PROTOCOL_GO:
		heard.go = 1;
		break;
	case PROTOCOL_STDIN_END:
		heard.has_end = 1;
		memcpy(&heard.in_bytes, heard.payload, 8);
		break;
	case PROTOCOL_STREAM_CLOSED:
		heard.closed = 1;
		break;
	case PROTOCOL_TERMINAL:
	case PROTOCOL_SIZE:
		heard.has_size = 1;
		memcpy(&heard.size, heard.payload, sizeof(heard.size));
		break;
	}
}

static void hear_byte(uint8_t b)
{
	if (heard.at < sizeof(heard.h))
		((uint8_t *)&heard.h)[heard.at] = b;
	else if (heard.at - sizeof(heard.h) < sizeof(heard.payload))
		heard.payload[heard.at - sizeof(heard.h)] = b;
	heard.at++;
	if (heard.at < sizeof(heard.h) || heard.at - sizeof(heard.h) != heard.h.bytes)
		return;
	take_message();
	heard.at = 0;
}

static void hear(void)
{
	unsigned int queue = rx_of(ids[CONTROL]);

	while (next_used(queue)) {
		uint16_t i = used_id();
		uint32_t bytes = used_length();

		for (uint32_t k = 0; k < bytes; k++)
			hear_byte(read8(HEAR + i * HEAR_BYTES + k));
		publish(i);
		kick((uint16_t)queue);
	}
}

static void be_ready(void)
{
	static const struct protocol_ready ready = { PROTOCOL_VERSION };

	say(PROTOCOL_READY, &ready, sizeof(ready));
	while (!heard.go)
		hear();
}

static void be_started(void)
{
	be_ready();
	say(PROTOCOL_STARTED, "", 0);
}

static void end_stream(uint32_t stream, uint64_t bytes)
{
	struct protocol_stream_end end = { .stream = stream, .bytes = bytes };

	say(PROTOCOL_STREAM_END, &end, sizeof(end));
}

static void say_exited(uint32_t how, uint32_t value)
{
	struct protocol_exited e = { how, value };

	say(PROTOCOL_EXITED, &e, sizeof(e));
}

/* lkvm ends the machine. */
__attribute__((noreturn)) static void wait_for_ever(void)
{
	for (;;)
		__builtin_ia32_pause();
}

static void finish(uint64_t out_bytes, uint64_t err_bytes, uint32_t how, uint32_t value)
{
	end_stream(1, out_bytes);
	end_stream(2, err_bytes);
	say_exited(how, value);
	wait_for_ever();
}

/* ---- commands that behave ---- */

static void attack_exit(void)
{
	be_started();
	finish(0, 0, PROTOCOL_END_EXITED, (uint32_t)number(" count="));
}

static void attack_signal(void)
{
	be_started();
	finish(0, 0, PROTOCOL_END_SIGNALED, (uint32_t)number(" count="));
}

static void attack_notstarted(void)
{
	be_ready();
	finish(0, 0, PROTOCOL_END_NOT_STARTED, (uint32_t)number(" count="));
}

/* Each buffer that came goes out again from where it is, and is then given back. */
static void attack_echo(void)
{
	unsigned int in = rx_of(ids[IN]), out = tx_of(ids[OUT]);
	uint64_t moved = 0;

	be_started();
	give_buffers(in, BULK, BULK_BYTES);
	while (!heard.has_end || moved < heard.in_bytes) {
		hear();
		while (next_used(in))
			give(out, used_id(), BULK + used_id() * (uint64_t)BULK_BYTES, used_length());
		while (next_used(out)) {
			uint16_t i = used_id();

			moved += desc[i].len;
			use_queue(in);
			publish(i);
			kick((uint16_t)in);
		}
	}
	finish(moved, 0, PROTOCOL_END_EXITED, 0);
}

/* Lines of 64 bytes: "0123456789abcdef..." */
static void fill_with_lines(uint64_t at)
{
	for (uint32_t i = 0; i < BULK_BYTES; i++)
		write8(at + i, (uint8_t)(i % 64 == 63 ? '\n' : "0123456789abcdef"[i % 16]));
}

/* Whole buffers to both, each as fast as it is taken. */
static void attack_both(void)
{
	const uint64_t all = number(" count=") * 1024 / BULK_BYTES;
	const unsigned int queue[2] = { tx_of(ids[OUT]), tx_of(ids[ERR]) };
	uint64_t given[2] = { 0 }, done[2] = { 0 };

	be_started();
	fill_with_lines(BULK);
	while (done[0] < all || done[1] < all) {
		for (unsigned int s = 0; s < 2; s++) {
			while (next_used(queue[s]))
				done[s]++;
			for (; given[s] < all && given[s] - done[s] < RING_SIZE; given[s]++)
				give(queue[s], (uint16_t)(given[s] % RING_SIZE), BULK, BULK_BYTES);
		}
		hear();
	}
	finish(all * BULK_BYTES, all * BULK_BYTES, PROTOCOL_END_EXITED, 0);
}

/* Its end overtakes its output, as it may: they travel on different queues. */
static void attack_early(void)
{
	const uint64_t all = number(" count=") * 1024 / BULK_BYTES;

	be_started();
	fill_with_lines(BULK);
	end_stream(1, all * BULK_BYTES);
	end_stream(2, 0);
	say_exited(PROTOCOL_END_EXITED, 3);
	for (uint64_t i = 0; i < all; i++)
		send(tx_of(ids[OUT]), BULK, BULK_BYTES);
	wait_for_ever();
}

static void attack_silent(void)
{
	wait_for_ever();
}

static void put_octal(uint64_t at, unsigned int digits, uint64_t v)
{
	while (digits--) {
		write8(at + digits, (uint8_t)('0' + v % 8));
		v /= 8;
	}
}

/* An archive with "file" of one buffer, and its end (pax(1), ustar). */
static void attack_results(void)
{
	const uint64_t head = PAYLOAD, end = PAYLOAD + 512;
	struct protocol_count count = { .bytes = 512 + BULK_BYTES + 1024 };
	unsigned int queue = tx_of(ids[RESULTS]);
	uint64_t sum = 0;

	memset((void *)head, 0, 512 + 1024);
	memcpy((void *)head, "file", 4);
	put_octal(head + 100, 7, 0644);
	put_octal(head + 124, 11, BULK_BYTES);
	memcpy((void *)(head + 257), "ustar\00000", 8);
	write8(head + 156, '0');
	memset((void *)(head + 148), ' ', 8);
	for (unsigned int i = 0; i < 512; i++)
		sum += read8(head + i);
	put_octal(head + 148, 6, sum);
	write8(head + 154, 0);
	fill_with_lines(BULK);
	be_started();
	end_stream(1, 0);
	end_stream(2, 0);
	send(queue, head, 512);
	send(queue, BULK, BULK_BYTES);
	send(queue, end, 1024);
	say(PROTOCOL_RESULTS_END, &count, sizeof(count));
	say_exited(PROTOCOL_END_EXITED, 0);
	wait_for_ever();
}

/* It runs, and takes nothing. Says so, that a test can wait for it. */
static void attack_hold(void)
{
	be_started();
	fill_with_lines(BULK);
	send(tx_of(ids[OUT]), BULK, 64);
	wait_for_ever();
}

/* It reads no stdin, and says so or not: somebody else's has no end. */
static void attack_deaf(void)
{
	be_started();
	if (number(" count="))
		say(PROTOCOL_STDIN_CLOSED, "", 0);
	finish(0, 0, PROTOCOL_END_EXITED, 5);
}

/* ---- a terminal ---- */

static uint64_t printed;

static uint32_t put_number(uint64_t at, uint32_t v)
{
	uint32_t n = 0;

	for (uint32_t ten = 10000; ten; ten /= 10)
		if (v >= ten || ten == 1)
			write8(at + n++, (uint8_t)('0' + v / ten % 10));
	return n;
}

static void show(const char *what, uint32_t a, uint32_t b)
{
	uint32_t n = 0;

	for (; *what; what++)
		write8(TEXT + n++, (uint8_t)*what);
	n += put_number(TEXT + n, a);
	write8(TEXT + n++, ' ');
	n += put_number(TEXT + n, b);
	write8(TEXT + n++, '\r');
	write8(TEXT + n++, '\n');
	send(tx_of(ids[OUT]), TEXT, n);
	printed += n;
}

/* Tells what it hears: sizes and keys. 'q' ends it, with 7. */
static void attack_tty(void)
{
	unsigned int in = rx_of(ids[IN]);

	be_started();
	give_buffers(in, BULK, BULK_BYTES);
	for (;;) {
		hear();
		if (heard.has_size)
			show("size ", heard.size.rows, heard.size.columns);
		heard.has_size = 0;
		while (next_used(in)) {
			uint16_t i = used_id();
			uint32_t bytes = used_length();

			for (uint32_t k = 0; k < bytes; k++) {
				uint8_t key = read8(BULK + i * (uint64_t)BULK_BYTES + k);

				show("key ", key, 0);
				if (key == 'q')
					finish(printed, 0, PROTOCOL_END_EXITED, 7);
			}
			use_queue(in);
			publish(i);
			kick((uint16_t)in);
		}
	}
}

/* Lines until nobody reads them. */
static void attack_babble(void)
{
	uint64_t sent = 0;

	be_started();
	fill_with_lines(BULK);
	for (; !heard.closed; sent += 64) {
		send(tx_of(ids[OUT]), BULK, 64);
		for (volatile int i = 0; i < 20000; i++)
			;
		hear();
	}
	finish(sent, 0, PROTOCOL_END_SIGNALED, 13);
}

/* ---- those that do not ---- */

static void reach(unsigned int stage);

/*
 * One message of kind=, count= times, that speaks of claim= bytes and has bytes= of them (or as
 * many), which begin with the words a=, b=, c=; stage= says when, as in reach(). Then it waits, or
 * switches off (off=1).
 */
static void attack_message(void)
{
	const uint32_t claim = (uint32_t)number(" claim=");
	const uint32_t bytes = parameter(" bytes=") == NOTHING ? claim : (uint32_t)number(" bytes=");
	uint64_t times = parameter(" count=") == NOTHING ? 1 : number(" count=");

	memset((void *)PAYLOAD, 0, BULK_BYTES);
	write32(PAYLOAD, (uint32_t)number(" a="));
	write32(PAYLOAD + 4, (uint32_t)number(" b="));
	write32(PAYLOAD + 8, (uint32_t)number(" c="));
	reach((unsigned int)number(" stage="));
	while (times--)
		say_so((uint32_t)number(" kind="), claim, (void *)PAYLOAD, bytes);
	if (number(" off="))
		power_off();
	wait_for_ever();
}

/* More than the stream was said to have. */
static void attack_longer(void)
{
	be_started();
	fill_with_lines(BULK);
	end_stream(1, 64);
	send(tx_of(ids[OUT]), BULK, 128);
	wait_for_ever();
}

/* Text that would drive a terminal, or look like lkvm's own. */
static const char evil_text[] = "\033[2J\033]0;title\007\233 \rlkvm: all is well\b\b\177\xff\0after";

static void attack_text(void)
{
	be_started();
	for (uint64_t i = 0; i < number(" count="); i++)
		say(PROTOCOL_NOTICE, evil_text, sizeof(evil_text) - 1);
	if (number(" kind="))
		say(PROTOCOL_FAILED, evil_text, sizeof(evil_text) - 1);
	finish(0, 0, PROTOCOL_END_EXITED, 6);
}

/* All ports, again and again, with bytes in between; then as if nothing had been. */
static void attack_ports(void)
{
	uint64_t times = number(" count=");

	be_started();
	fill_with_lines(BULK);
	for (uint64_t i = 0; i < times; i++) {
		for (unsigned int p = 0; p < RESULTS; p++) {
			tell(ids[p], VIRTIO_CONSOLE_PORT_OPEN, 0);
			tell(ids[p], VIRTIO_CONSOLE_PORT_READY, (uint16_t)(i & 1));
			tell(ids[p], VIRTIO_CONSOLE_PORT_OPEN, 1);
		}
		send(tx_of(ids[OUT]), BULK, 64);
	}
	finish(times * 64, 0, PROTOCOL_END_EXITED, 6);
}

/* It never learns which ports there are, nor the plan: no buffers. */
static void attack_nobuffers(void)
{
	static const struct protocol_ready ready = { PROTOCOL_VERSION };

	ids[CONTROL] = 1;
	tell(0xffffffff, VIRTIO_CONSOLE_DEVICE_READY, 1);
	for (uint32_t id = 0; id < nr_ids; id++) {
		tell(id, VIRTIO_CONSOLE_PORT_READY, 1);
		tell(id, VIRTIO_CONSOLE_PORT_OPEN, 1);
	}
	say(PROTOCOL_READY, &ready, sizeof(ready));
	say(PROTOCOL_STARTED, "", 0);
	finish(0, 0, PROTOCOL_END_EXITED, 6);
}

/* The device is reset in the middle of it, and all is said once more. */
static void attack_reset(void)
{
	be_started();
	bring_up_console();
	memset(ids, 0, sizeof(ids));
	open_ports();
	finish(0, 0, PROTOCOL_END_EXITED, 6);
}

/* A message in pieces of one byte. */
static void attack_pieces(void)
{
	struct protocol_header h = { PROTOCOL_EXITED, sizeof(struct protocol_exited) };
	struct protocol_exited e = { PROTOCOL_END_EXITED, 6 };

	be_started();
	end_stream(1, 0);
	end_stream(2, 0);
	memcpy((void *)SAY, &h, sizeof(h));
	memcpy((void *)(SAY + sizeof(h)), &e, sizeof(e));
	for (uint32_t i = 0; i < sizeof(h) + sizeof(e); i++)
		send(tx_of(ids[CONTROL]), SAY + i, 1);
	wait_for_ever();
}

__attribute__((noreturn)) static void triple_fault(void)
{
	static const uint8_t none[10];

	__asm__ volatile("lidt %0; ud2"
			 :
			 : "m"(none));
	__builtin_unreachable();
}

/* 0: the device; 1: its ports; 2: READY and the plan; 3: STARTED; 4: output; 5: its end. */
static void reach(unsigned int stage)
{
	if (stage >= 1 && !ids[0])
		open_ports();
	if (stage >= 2)
		be_ready();
	if (stage >= 3)
		say(PROTOCOL_STARTED, "", 0);
	if (stage < 4)
		return;
	fill_with_lines(BULK);
	send(tx_of(ids[OUT]), BULK, 128);
	if (stage >= 5) {
		end_stream(1, 128);
		end_stream(2, 0);
	}
}

static void attack_off(void)
{
	reach((unsigned int)number(" stage="));
	power_off();
}

static void attack_triple(void)
{
	reach((unsigned int)number(" stage="));
	triple_fault();
}

static void attack_loop(void)
{
	reach((unsigned int)number(" stage="));
	wait_for_ever();
}

static const struct {
	const char *name;
	void (*run)(void);
	int has_ports; /* they are open when it starts */
} attacks[] = {
	{ "exit", attack_exit, 1 },
	{ "signal", attack_signal, 1 },
	{ "notstarted", attack_notstarted, 1 },
	{ "echo", attack_echo, 1 },
	{ "both", attack_both, 1 },
	{ "early", attack_early, 1 },
	{ "results", attack_results, 1 },
	{ "silent", attack_silent, 1 },
	{ "hold", attack_hold, 1 },
	{ "deaf", attack_deaf, 1 },
	{ "tty", attack_tty, 1 },
	{ "babble", attack_babble, 1 },
	{ "message", attack_message, 1 },
	{ "longer", attack_longer, 1 },
	{ "text", attack_text, 1 },
	{ "ports", attack_ports, 1 },
	{ "nobuffers", attack_nobuffers, 0 },
	{ "reset", attack_reset, 1 },
	{ "pieces", attack_pieces, 1 },
	{ "off", attack_off, 0 },
	{ "triple", attack_triple, 0 },
	{ "loop", attack_loop, 0 },
};

void guest_main(const uint8_t *zero_page);

void guest_main(const uint8_t *zero_page)
{
	zero_page_at = zero_page;
	read_command_line(zero_page);
	find_console();
	bring_up_console();
	for (unsigned int i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
		if (!same_word(word, attacks[i].name))
			continue;
		if (attacks[i].has_ports)
			open_ports();
		attacks[i].run();
	}
	fail("no such attack", 0);
}
