# SPDX-License-Identifier: GPL-2.0-only
# The console is on stdout and nothing else is; messages are on stderr.
run --flat "$GUEST" --json "$T/json"
same poweroff/status 0 "$status"
same poweroff/console hello "$(cat "$T/out")"
same poweroff/stderr "" "$(cat "$T/err")"
has poweroff/json "$T/json" '^\{"v":1,"outcome":"poweroff","status":0,"boot_ms":[0-9.]+,"wall_ms":[0-9.]+,'
run --flat "$GUEST" --console-log "$T/log" -v
same poweroff/console-log hello "$(cat "$T/log")"
has poweroff/verbose "$T/err" '^lkvm: booting flat image .*real-mode entry at 0x10000; 1 CPU, 512 MiB'
run --flat "$GUEST@0x20000" -m 2 --dry-run
same poweroff/dry-run-status 0 "$status"
has poweroff/dry-run "$T/err" 'would boot flat image .* at 0x20000; 1 CPU, 2 MiB'
same poweroff/dry-run-console "" "$(cat "$T/out")"
run --flat "$GUEST" -m 64G
same poweroff/64GiB 0 "$status"
run --flat "$GUEST" -c 64
same poweroff/64-cpus 0 "$status"
# Closed descriptors must not become the VM's files.
timeout 20 "$LKVM" run --flat "$GUEST" <&- >&- 2>&-
same poweroff/closed-descriptors 0 "$?"
env -i "$LKVM" run --flat "$GUEST" >"$T/out" </dev/null
same poweroff/empty-environment hello "$(cat "$T/out")"
