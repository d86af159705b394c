// SPDX-License-Identifier: GPL-2.0-only
/*
 * 16550A UART on COM1 (when input is taken and when interrupts are raised is
 * described in serial.h).
 *
 * Registers are used on vCPU threads and, when input or room for output comes,
 * on the loop's thread: one lock. Baud rates are stored and ignored, modem
 * lines report a peer that is always there, and there is no line error.
 *
 * Source: National Semiconductor PC16550D data sheet; register names from
 * linux/serial_reg.h.
 */
#include <linux/serial_reg.h>
#include <string.h>

#include "bus.h"
#include "state.h"
#include "term.h"
#include "x86/layout.h"
#include "util.h"
#include "x86/serial.h"

#define IER_MASK 0x0fu
#define MCR_MASK 0x1fu

/* Interrupt-driven output can wait for ever, a driver that polls cannot. */
static bool can_send(struct serial *s)
{
	return term_output_ready(s->term, !(s->state.ier & UART_IER_THRI));
}

static bool break_is_next(const struct serial *s)
{
	return s->state.break_waits && !s->state.break_after;
}

static bool listens(const struct serial *s)
{
	return s->state.ier & UART_IER_RDI || s->state.listens;
}

/*
 * There is no receive FIFO for the terminal's bytes: they wait in the terminal,
 * where a driver that clears its FIFOs while it sets up the port cannot lose
 * them. Only loopback has one.
 */
static bool has_input(const struct serial *s)
{
	if (s->state.mcr & UART_MCR_LOOP)
		return s->state.loop_count > 0;
	return listens(s) && (break_is_next(s) || term_has_input(s->term));
}

/* The highest-priority condition that is true and enabled. */
static uint8_t interrupt_id(struct serial *s)
{
	const struct serial_state *st = &s->state;

	if (st->ier & UART_IER_RDI && has_input(s))
		return UART_IIR_RDI;
	if (st->ier & UART_IER_THRI && st->thr_pending)
		return UART_IIR_THRI;
	return UART_IIR_NO_INT;
}

static void update_irq(struct serial *s)
{
	bool active = interrupt_id(s) != UART_IIR_NO_INT;

	if (active && !s->state.irq)
		irq_raise(&s->irq);
	s->state.irq = active;
}

/* The transmitter is empty, or will be when the terminal has room. */
static void offer_thr(struct serial *s)
{
	s->state.thr_pending = can_send(s);
	s->state.thr_waits = !s->state.thr_pending;
}

static void serial_transmit(struct serial *s, uint8_t byte)
{
	struct serial_state *st = &s->state;

	if (st->mcr & UART_MCR_LOOP) {
		if (st->loop_count < SERIAL_FIFO_BYTES)
			st->loop[(st->loop_head + st->loop_count++) % SERIAL_FIFO_BYTES] = byte;
		return;
	}
	term_put(s->term, &byte, 1);
	console_watch_put(s->watch, (const char *)&byte, 1);
	/*
	 * The byte has left at once, unless the terminal is full: then the
	 * interrupt comes with the room (serial_on_terminal()).
	 */
	st->irq = false; /* THR was written: a new edge is due */
	offer_thr(s);
}

static uint8_t receive(struct serial *s)
{
	struct serial_state *st = &s->state;
	uint8_t byte = 0;

	if (!has_input(s))
		return 0;
	if (!(st->mcr & UART_MCR_LOOP)) {
		/* A break reads as a zero. */
		if (break_is_next(s)) {
			st->break_waits = false;
			return 0;
		}
		if (st->break_waits)
			st->break_after--;
		term_get(s->term, &byte, 1);
		return byte;
	}
	byte = st->loop[st->loop_head];
	st->loop_head = (st->loop_head + 1) % SERIAL_FIFO_BYTES;
	st->loop_count--;
	return byte;
}

static uint8_t line_status(struct serial *s)
{
	struct serial_state *st = &s->state;
	uint8_t lsr = 0;

	if (can_send(s)) {
		lsr |= UART_LSR_THRE | UART_LSR_TEMT;
		/* Without room this may be a driver that waits to send. */
		if (st->polls < SERIAL_POLLS && ++st->polls == SERIAL_POLLS)
			st->listens = true;
	}
	if (has_input(s)) {
		lsr |= UART_LSR_DR;
		if (break_is_next(s) && !(st->mcr & UART_MCR_LOOP))
			lsr |= UART_LSR_BI;
	}
	return lsr;
}

static uint8_t modem_status(const struct serial *s)
{
	uint8_t mcr = s->state.mcr;
	uint8_t msr = 0;

	if (!(mcr & UART_MCR_LOOP))
		return UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS;
	/* Loopback connects the outputs to the inputs (data sheet §8.6.7). */
	if (mcr & UART_MCR_DTR)
		msr |= UART_MSR_DSR;
	if (mcr & UART_MCR_RTS)
		msr |= UART_MSR_CTS;
	if (mcr & UART_MCR_OUT1)
		msr |= UART_MSR_RI;
	if (mcr & UART_MCR_OUT2)
		msr |= UART_MSR_DCD;
	return msr;
}

static uint8_t interrupt_identification(struct serial *s)
{
	uint8_t id = interrupt_id(s);

	if (id == UART_IIR_THRI)
		s->state.thr_pending = false; /* reading IIR acknowledges this one */
	return id | (s->state.fcr & UART_FCR_ENABLE_FIFO ? 0xc0 : 0);
}

static uint8_t serial_read_register(struct serial *s, uint64_t reg)
{
	const struct serial_state *st = &s->state;
	bool divisor = st->lcr & UART_LCR_DLAB;

	switch (reg) {
	case UART_RX:
		return divisor ? st->dll : receive(s);
	case UART_IER:
		return divisor ? st->dlm : st->ier;
	case UART_IIR:
		return interrupt_identification(s);
	case UART_LCR:
		return st->lcr;
	case UART_MCR:
		return st->mcr;
	case UART_LSR:
		return line_status(s);
	case UART_MSR:
		return modem_status(s);
	default:
		return st->scr;
	}
}

static void write_ier(struct serial *s, uint8_t value)
{
	struct serial_state *st = &s->state;
	bool thri_was_on = st->ier & UART_IER_THRI;

	st->ier = value & IER_MASK;
	/* A driver that only looks for the port switches all interrupts on, not this one. */
	if (!s->opened_ns && (st->ier & (UART_IER_RDI | UART_IER_THRI)) == UART_IER_RDI)
		s->opened_ns = now_ns();
	/* Enabling it while the transmitter is empty interrupts at once. */
	if (st->ier & UART_IER_THRI && !thri_was_on)
		offer_thr(s);
}

static void write_fcr(struct serial *s, uint8_t value)
{
	struct serial_state *st = &s->state;

	if (value & UART_FCR_CLEAR_RCVR || (value ^ st->fcr) & UART_FCR_ENABLE_FIFO) {
		st->loop_count = 0;
		st->listens = false;
	}
	st->fcr = value & (uint8_t) ~(UART_FCR_CLEAR_RCVR | UART_FCR_CLEAR_XMIT);
}

static void serial_write_register(struct serial *s, uint64_t reg, uint8_t value)
{
	struct serial_state *st = &s->state;
	bool divisor = st->lcr & UART_LCR_DLAB;

	switch (reg) {
	case UART_TX:
		if (divisor)
			st->dll = value;
		else
			serial_transmit(s, value);
		break;
	case UART_IER:
		if (divisor)
			st->dlm = value;
		else
			write_ier(s, value);
		break;
	case UART_FCR:
		write_fcr(s, value);
		break;
	case UART_LCR:
		st->lcr = value;
		break;
	case UART_MCR:
		st->mcr = value & MCR_MASK;
		break;
	case UART_SCR:
		st->scr = value;
		break;
	default:
		break; /* LSR and MSR are read-only */
	}
}

static uint64_t serial_read(void *dev, uint64_t offset, unsigned int size)
{
	struct serial *s = dev;
	uint8_t value;

	(void)size;
	pthread_mutex_lock(&s->lock);
	if (offset != UART_LSR)
		s->state.polls = 0;
	value = serial_read_register(s, offset);
	update_irq(s);
	pthread_mutex_unlock(&s->lock);
	return value;
}

static void serial_write(void *dev, uint64_t offset, uint64_t value, unsigned int size)
{
	struct serial *s = dev;

	(void)size;
	pthread_mutex_lock(&s->lock);
	s->state.polls = 0;
	serial_write_register(s, offset, (uint8_t)value);
	update_irq(s);
	pthread_mutex_unlock(&s->lock);
}

static const struct bus_ops serial_ops = { .read = serial_read, .write = serial_write };

/* Loop's thread: input has come, or the terminal has room again. */
static void serial_on_terminal(void *arg)
{
	struct serial *s = arg;

	pthread_mutex_lock(&s->lock);
	if (s->state.thr_waits)
		offer_thr(s);
	update_irq(s);
	pthread_mutex_unlock(&s->lock);
}

uint64_t serial_opened_ns(struct serial *s)
{
	uint64_t ns;

	pthread_mutex_lock(&s->lock);
	ns = s->opened_ns;
	pthread_mutex_unlock(&s->lock);
	return ns;
}

void serial_send_break(struct serial *s)
{
	pthread_mutex_lock(&s->lock);
	s->state.break_waits = true;
	s->state.break_after = (uint32_t)term_input_bytes(s->term);
	update_irq(s);
	pthread_mutex_unlock(&s->lock);
}

/*
 * Without a break that waits: what was typed is not carried either, and it would make a command of
 * the next key that anybody types.
 */
void serial_carry(struct serial *serial, struct state *s)
{
	struct serial_state *st = &serial->state;

	state_section(s, "serial", 0);
	pthread_mutex_lock(&serial->lock);
	state_u8(s, &st->ier);
	state_u8(s, &st->lcr);
	state_u8(s, &st->mcr);
	state_u8(s, &st->scr);
	state_u8(s, &st->fcr);
	state_u8(s, &st->dll);
	state_u8(s, &st->dlm);
	state_bool(s, &st->thr_pending);
	state_bool(s, &st->thr_waits);
	state_bool(s, &st->irq);
	state_u8(s, &st->polls);
	state_bool(s, &st->listens);
	state_raw(s, st->loop, sizeof(st->loop));
	state_u8(s, &st->loop_head);
	state_u8(s, &st->loop_count);
	if (state_loads(s) && (st->ier & ~IER_MASK || st->mcr & ~MCR_MASK || st->polls > SERIAL_POLLS ||
			       st->loop_head >= SERIAL_FIFO_BYTES || st->loop_count > SERIAL_FIFO_BYTES)) {
		state_refuse(s, "registers that it cannot have");
		*st = (struct serial_state){ 0 };
	}
	pthread_mutex_unlock(&serial->lock);
}

void serial_go_on(struct serial *serial)
{
	pthread_mutex_lock(&serial->lock);
	serial->state.irq = false; /* an edge may have been lost; one too many is none to a driver */
	if (serial->state.thr_waits)
		offer_thr(serial);
	update_irq(serial);
	pthread_mutex_unlock(&serial->lock);
}

int serial_init(struct serial *serial, struct vm *vm, struct bus *pio, struct term *term,
		struct console_watch *watch)
{
	int rc;

	memset(serial, 0, sizeof(*serial));
	serial->term = term;
	serial->watch = watch;
	pthread_mutex_init(&serial->lock, NULL);
	rc = irq_line_init(&serial->irq, vm, GSI_COM1);
	if (rc)
		return rc;
	term_set_listener(term, serial_on_terminal, serial);
	return bus_add(pio, &(struct bus_region){
				    .start = PORT_COM1,
				    .len = 8,
				    .max_access = 1,
				    .ops = &serial_ops,
				    .dev = serial,
				    .name = "serial",
			    });
}

void serial_fini(struct serial *serial)
{
	if (serial->term)
		term_set_listener(serial->term, NULL, NULL);
	irq_fini(&serial->irq);
	pthread_mutex_destroy(&serial->lock);
}
