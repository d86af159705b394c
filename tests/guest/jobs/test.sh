# SPDX-License-Identifier: GPL-2.0-only
# lkvm as a job of an interactive shell, by tests/lib/jobs.c: started in front or behind, fg, bg,
# Ctrl-Z, Ctrl-A z, the terminal closed, the shell killed. FULL=1: every sequence of four steps.
guest=${GUESTS%/*}/echo/guest
if [ -n "$VARIANT" ]; then
	# These have one process only, and start slowly.
	"$TOOLS/jobs" bash "$LKVM" on "$guest" BfAf FAbf
	return 0 2>/dev/null || exit 0
fi
for shell in bash dash; do
	"$TOOLS/jobs" $shell "$LKVM" on "$guest" $([ -n "${FULL:-}" ] && echo all || echo pairs)
	# Without a supervisor the VM's process reads signals itself.
	"$TOOLS/jobs" $shell "$LKVM" off "$guest" BfAf FAbf FZAC BC FK
done
