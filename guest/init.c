// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's first process. Built for the guest, with musl, static; lkvm carries it within itself
 * (init-image.S) and puts it into an initramfs.
 *
 * It says that it runs and switches the machine off.
 */
#include <sys/reboot.h>
#include <unistd.h>

int main(void)
{
	static const char text[] = "lkvm: the guest's first process runs\n";
	ssize_t n = write(STDERR_FILENO, text, sizeof(text) - 1);

	(void)n;
	sync();
	reboot(RB_POWER_OFF);
	return 1;
}
