// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sleep control, sleep status and reset registers of hardware-reduced ACPI.
 *
 * Source: ACPI 6.4 §4.8.3.7 (sleep control: SLP_TYP in bits 4:2, SLP_EN in bit
 * 5) and §4.8.3.6 (reset register). Only S5 exists: this machine does not
 * sleep. No state.
 */
#include "bus.h"
#include "kvm.h"
#include "x86/layout.h"
#include "x86/pm.h"

#define SLEEP_ENABLE	  0x20u
#define SLEEP_TYPE(value) (((value) >> 2) & 7u)

static uint64_t pm_read(void *dev, uint64_t offset, unsigned int size)
{
	(void)dev;
	(void)offset;
	(void)size;
	return 0; /* never slept: WAK_STS is clear */
}

static void pm_write(void *dev, uint64_t offset, uint64_t value, unsigned int size)
{
	struct pm *pm = dev;

	(void)size;
	switch (PORT_SLEEP_CONTROL + offset) {
	case PORT_SLEEP_CONTROL:
		if (value & SLEEP_ENABLE && SLEEP_TYPE(value) == SLEEP_TYPE_S5)
			vm_request_stop(pm->vm, STOP_POWEROFF);
		break;
	case PORT_RESET:
		if (value == RESET_VALUE)
			vm_request_stop(pm->vm, STOP_RESET);
		break;
	default:
		break;
	}
}

static const struct bus_ops pm_ops = { .read = pm_read, .write = pm_write };

int pm_init(struct pm *pm, struct vm *vm, struct bus *pio)
{
	pm->vm = vm;
	return bus_add(pio, &(struct bus_region){
				    .start = PORT_SLEEP_CONTROL,
				    .len = PORT_RESET + 1 - PORT_SLEEP_CONTROL,
				    .max_access = 1,
				    .ops = &pm_ops,
				    .dev = pm,
				    .name = "pm",
			    });
}
