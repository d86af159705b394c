// SPDX-License-Identifier: GPL-2.0-only
/*
 * i8042 keyboard controller with nothing connected.
 *
 * Called on vCPU threads, hence the lock. Every command gets its answer
 * immediately: the self test passes, the auxiliary port reports that it does
 * not work, and whatever is sent to the keyboard is answered with "resend", so
 * that a driver gives up without waiting for its time-outs. Pulsing the reset
 * line ends the VM, as does the CPU-reset bit of the output port.
 *
 * Source: the IBM PS/2 hardware technical reference (keyboard and auxiliary
 * device controller); what drivers expect, from Linux' i8042 documentation.
 */
#include <string.h>

#include "bus.h"
#include "kvm.h"
#include "state.h"
#include "x86/i8042.h"
#include "x86/layout.h"

#define STATUS_OBF	0x01u /* output buffer full */
#define STATUS_SYSTEM	0x04u /* self test passed */
#define STATUS_UNLOCKED 0x10u
#define STATUS_AUX	0x20u /* the byte is from the auxiliary port */

#define CONTROL_KBD_IRQ 0x01u
#define CONTROL_DEFAULT 0x04u

#define CMD_READ_CONTROL      0x20
#define CMD_WRITE_CONTROL     0x60
#define CMD_DISABLE_AUX	      0xa7
#define CMD_ENABLE_AUX	      0xa8
#define CMD_TEST_AUX	      0xa9
#define CMD_SELF_TEST	      0xaa
#define CMD_TEST_KBD	      0xab
#define CMD_DISABLE_KBD	      0xad
#define CMD_ENABLE_KBD	      0xae
#define CMD_READ_OUTPUT_PORT  0xd0
#define CMD_WRITE_OUTPUT_PORT 0xd1
#define CMD_WRITE_KBD_BUFFER  0xd2
#define CMD_WRITE_AUX_BUFFER  0xd3
#define CMD_WRITE_AUX	      0xd4
#define CMD_PULSE_MASK	      0xf0 /* 0xf0..0xff pulse lines; bit 0 clear = reset */

#define ANSWER_SELF_TEST_OK   0x55
#define ANSWER_PORT_OK	      0x00
#define ANSWER_CLOCK_STUCK    0x01
#define ANSWER_RESEND	      0xfe
#define OUTPUT_PORT_NOT_RESET 0x01

static void answer(struct i8042 *dev, uint8_t byte, uint8_t aux)
{
	dev->state.output = byte;
	dev->state.status = (uint8_t)(STATUS_OBF | aux);
	if (!aux && dev->state.control & CONTROL_KBD_IRQ)
		irq_raise(&dev->irq);
}

static void reset_line(struct i8042 *dev)
{
	if (dev->vm)
		vm_request_stop(dev->vm, STOP_RESET);
}

static void write_command(struct i8042 *dev, uint8_t cmd)
{
	dev->state.command = 0;
	switch (cmd) {
	case CMD_READ_CONTROL:
		answer(dev, dev->state.control, 0);
		break;
	case CMD_WRITE_CONTROL:
	case CMD_WRITE_OUTPUT_PORT:
	case CMD_WRITE_KBD_BUFFER:
	case CMD_WRITE_AUX_BUFFER:
	case CMD_WRITE_AUX:
		dev->state.command = cmd;
		break;
	case CMD_TEST_AUX:
		answer(dev, ANSWER_CLOCK_STUCK, 0);
		break;
	case CMD_SELF_TEST:
		dev->state.control = CONTROL_DEFAULT;
		answer(dev, ANSWER_SELF_TEST_OK, 0);
		break;
	case CMD_TEST_KBD:
		answer(dev, ANSWER_PORT_OK, 0);
		break;
	case CMD_READ_OUTPUT_PORT:
		answer(dev, OUTPUT_PORT_NOT_RESET, 0);
		break;
	default:
		if ((cmd & CMD_PULSE_MASK) == CMD_PULSE_MASK && !(cmd & 1))
			reset_line(dev);
		break; /* enabling and disabling ports without devices changes nothing */
	}
}

static void write_data(struct i8042 *dev, uint8_t byte)
{
	uint8_t cmd = dev->state.command;

	dev->state.command = 0;
	switch (cmd) {
	case CMD_WRITE_CONTROL:
		dev->state.control = byte;
		break;
	case CMD_WRITE_OUTPUT_PORT:
		if (!(byte & OUTPUT_PORT_NOT_RESET))
			reset_line(dev);
		break;
	case CMD_WRITE_KBD_BUFFER:
		answer(dev, byte, 0);
		break;
	case CMD_WRITE_AUX_BUFFER:
		answer(dev, 0, STATUS_AUX); /* not the byte sent: no such port */
		break;
	case CMD_WRITE_AUX:
		answer(dev, ANSWER_RESEND, STATUS_AUX);
		break;
	default:
		answer(dev, ANSWER_RESEND, 0); /* to the keyboard */
		break;
	}
}

static uint64_t read_data(struct i8042 *dev)
{
	dev->state.status = 0;
	return dev->state.output;
}

static uint64_t i8042_read(void *arg, uint64_t offset, unsigned int size)
{
	struct i8042 *dev = arg;
	uint64_t value;

	(void)size;
	pthread_mutex_lock(&dev->lock);
	if (PORT_I8042_DATA + offset == PORT_I8042_COMMAND)
		value = dev->state.status | STATUS_SYSTEM | STATUS_UNLOCKED;
	else
		value = read_data(dev);
	pthread_mutex_unlock(&dev->lock);
	return value;
}

static void i8042_write(void *arg, uint64_t offset, uint64_t value, unsigned int size)
{
	struct i8042 *dev = arg;

	(void)size;
	pthread_mutex_lock(&dev->lock);
	if (PORT_I8042_DATA + offset == PORT_I8042_COMMAND)
		write_command(dev, (uint8_t)value);
	else
		write_data(dev, (uint8_t)value);
	pthread_mutex_unlock(&dev->lock);
}

static uint64_t command_port_read(void *dev, uint64_t offset, unsigned int size)
{
	return i8042_read(dev, offset + PORT_I8042_COMMAND - PORT_I8042_DATA, size);
}

static void command_port_write(void *dev, uint64_t offset, uint64_t value, unsigned int size)
{
	i8042_write(dev, offset + PORT_I8042_COMMAND - PORT_I8042_DATA, value, size);
}

/* Two regions: port 0x61 between them belongs to the interval timer. */
static const struct bus_ops data_ops = { .read = i8042_read, .write = i8042_write };
static const struct bus_ops command_ops = {
	.read = command_port_read,
	.write = command_port_write,
};

int i8042_init(struct i8042 *dev, struct vm *vm, struct bus *pio)
{
	int rc;

	memset(dev, 0, sizeof(*dev));
	dev->vm = vm;
	dev->state.control = CONTROL_DEFAULT;
	pthread_mutex_init(&dev->lock, NULL);
	rc = irq_line_init(&dev->irq, vm, GSI_KEYBOARD);
	if (!rc)
		rc = bus_add(pio,
			     &(struct bus_region){
				     .start = PORT_I8042_DATA,
				     .len = 1,
				     .max_access = 1,
				     .ops = &data_ops,
				     .dev = dev,
				     .name = "i8042",
			     });
	if (!rc)
		rc = bus_add(pio,
			     &(struct bus_region){
				     .start = PORT_I8042_COMMAND,
				     .len = 1,
				     .max_access = 1,
				     .ops = &command_ops,
				     .dev = dev,
				     .name = "i8042",
			     });
	return rc;
}

void i8042_carry(struct i8042 *dev, struct state *s)
{
	struct i8042_state *st = &dev->state;

	state_section(s, "i8042", 0);
	pthread_mutex_lock(&dev->lock);
	state_u8(s, &st->control);
	state_u8(s, &st->command);
	state_u8(s, &st->output);
	state_u8(s, &st->status);
	if (state_loads(s) && st->status & ~(STATUS_OBF | STATUS_AUX)) {
		state_refuse(s, "a status that it cannot have");
		st->status = 0;
	}
	pthread_mutex_unlock(&dev->lock);
}

void i8042_fini(struct i8042 *dev)
{
	irq_fini(&dev->irq);
	pthread_mutex_destroy(&dev->lock);
}
