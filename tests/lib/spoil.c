// SPDX-License-Identifier: GPL-2.0-only
/*
 * Makes of a snapshot one that only KVM refuses: its sums are right, and so is all that lkvm looks at, but its
 * boot CPU is in long mode without PAE.
 *
 *	spoil FILE
 *
 * Sources: include/snapshot-file.h, x86/cpu-state.c: cpu_state_carry(); Linux 6.1, KVM_SET_SREGS2.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../include/snapshot-file.h"

#define CR4_PAE (1u << 5)

static const char tag[16] = "cpu"; /* with its index, 0 */

int main(int argc, char **argv)
{
	const size_t at = sizeof(tag) + sizeof(struct kvm_mp_state) + sizeof(struct kvm_regs) +
			  offsetof(struct kvm_sregs2, cr4);
	int fd = argc == 2 ? open(argv[1], O_RDWR) : -1;
	struct snapshot_header h;
	uint8_t *state, *cpu;

	if (fd < 0 || pread(fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h))
		return 2;
	state = malloc(h.state_bytes);
	if (!state || pread(fd, state, h.state_bytes, SNAPSHOT_STATE_AT) != (ssize_t)h.state_bytes)
		return 2;
	cpu = memmem(state, h.state_bytes, tag, sizeof(tag));
	if (!cpu || (size_t)(state + h.state_bytes - cpu) <= at || !(cpu[at] & CR4_PAE))
		return 3;
	cpu[at] &= (uint8_t)~CR4_PAE;
	h.state_sum = snapshot_sum(state, h.state_bytes);
	h.header_sum = snapshot_sum(&h, offsetof(struct snapshot_header, header_sum));
	if (pwrite(fd, state, h.state_bytes, SNAPSHOT_STATE_AT) != (ssize_t)h.state_bytes ||
	    pwrite(fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h))
		return 2;
	return 0;
}
