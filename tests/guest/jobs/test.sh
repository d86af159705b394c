# SPDX-License-Identifier: GPL-2.0-only
# lkvm as a job of an interactive shell, by tests/lib/jobs.c: started in front or behind, fg, bg,
# Ctrl-Z, Ctrl-A z, the terminal closed, the shell killed. Each step in each state; FULL=1: every
# sequence of four steps.
guest=${GUESTS%/*}/echo/guest
if [ -n "$VARIANT" ]; then
	# These have one process only, and start slowly.
	"$TOOLS/jobs" bash "$LKVM" on "$guest" BfAf FAbf
	return 0 2>/dev/null || exit 0
fi
few="BfAf FAbf FZAf BC BK FC FK FAC FAK FAbC FAbK"
if [ -n "${FULL:-}" ]; then
	"$TOOLS/jobs" bash "$LKVM" on "$guest" all
	"$TOOLS/jobs" dash "$LKVM" on "$guest" all
else
	# In an emulated host the choice for dash is bash's.
	"$TOOLS/jobs" bash "$LKVM" on "$guest" $([ "$every" = 1 ] && echo some || echo $few)
	"$TOOLS/jobs" dash "$LKVM" on "$guest" $([ "$every" = 1 ] && echo $few || echo BfAf FZAf BC FK)
fi
# Without a supervisor the VM's process reads signals itself.
"$TOOLS/jobs" bash "$LKVM" off "$guest" BfAf FAbf FZAC BC FK
