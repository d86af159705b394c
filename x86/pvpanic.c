// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pvpanic port: a guest's kernel says that it has panicked.
 *
 * Source: docs/specs/pvpanic in QEMU's documentation (interface only): bit 0 = panicked,
 * bit 1 = panicked and a crash kernel takes over.
 */
#include "bus.h"
#include "kvm.h"
#include "log.h"
#include "x86/layout.h"
#include "x86/pvpanic.h"

#define PVPANIC_PANICKED     1u
#define PVPANIC_CRASH_LOADED 2u

static uint64_t pvpanic_read(void *dev, uint64_t offset, unsigned int size)
{
	(void)dev;
	(void)offset;
	(void)size;
	return PVPANIC_PANICKED | PVPANIC_CRASH_LOADED; /* the events we know */
}

static void pvpanic_write(void *dev, uint64_t offset, uint64_t value, unsigned int size)
{
	struct pvpanic *p = dev;

	(void)offset;
	(void)size;
	/* A crash kernel is about to write its dump: let it. In whatever way that one ends, the guest was lost. */
	if (value & PVPANIC_CRASH_LOADED) {
		atomic_store(&p->crashed, true);
		log_verbose("guest: its kernel panicked; a crash kernel takes over");
	} else if (value & PVPANIC_PANICKED) {
		vm_request_stop(p->vm, STOP_PANIC);
	}
}

static const struct bus_ops pvpanic_ops = { .read = pvpanic_read, .write = pvpanic_write };

int pvpanic_init(struct pvpanic *dev, struct vm *vm, struct bus *pio)
{
	dev->vm = vm;
	dev->crashed = false;
	return bus_add(pio, &(struct bus_region){
				    .start = PORT_PVPANIC,
				    .len = 1,
				    .max_access = 1,
				    .ops = &pvpanic_ops,
				    .dev = dev,
				    .name = "pvpanic",
			    });
}
