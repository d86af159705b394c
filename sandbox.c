// SPDX-License-Identifier: GPL-2.0-only
/*
 * Giving up privileges.
 *
 * Everything that needs a right (opening files, /dev/kvm) has been done when
 * this runs, so a guest that takes over the process has the user's identity and
 * nothing more, even if lkvm was started by root. System calls are not
 * filtered here.
 */
#include <errno.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>

#include "log.h"
#include "sandbox.h"

/* Best effort: it needs CAP_SETPCAP, and an ordinary user has nothing to drop. */
static void drop_bounding_set(void)
{
	cap_value_t last = cap_max_bits();

	for (cap_value_t c = 0; c < last; c++)
		if (cap_get_bound(c) > 0 && cap_drop_bound(c))
			return;
}

int sandbox_enter(void)
{
	cap_t none;
	int rc;

	cap_reset_ambient();
	drop_bounding_set();
	none = cap_init();
	if (!none)
		return log_enomem("sandbox");
	rc = cap_set_proc(none) ? -errno : 0;
	cap_free(none);
	if (!rc && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		rc = -errno;
	if (rc)
		log_error("sandbox: dropping privileges: %s\n"
			  "use --sandbox off only with guests that you trust.", strerror(-rc));
	return rc;
}
