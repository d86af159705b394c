# SPDX-License-Identifier: GPL-2.0-only
# Runs in the emulated host (busybox sh): the memory (PSS) of all processes of $n machines that run a command, of the cloud
# kernel, in MB: started cold, and warm.
export HOME=/tmp
mkdir -p /run
sleep 2	# what was written a moment ago has no snapshot yet
# memory ARGUMENTS...: MB of $n of them that run.
memory() {
	for i in $(seq $n); do
		lkvm run -D --name m$i -m 256 -k /g/cloud/bzImage "$@" -- sleep 100000 >/tmp/out 2>&1 </dev/null || echo "# $(tail -n 2 /tmp/out)" >&2
	done
	for p in $(pidof lkvm); do cat /proc/$p/smaps_rollup; done 2>/dev/null | awk '/^Pss:/ { n += $2 } END { printf "%.1f\n", n / 1024 }'
	lkvm stop --all --force
	while [ -n "$(pidof lkvm)" ]; do sleep 0.1; done
}
lkvm run --warm -m 256 -k /g/cloud/bzImage -- true >/tmp/out 2>&1 </dev/null
cold=$(memory); warm=$(memory --warm=strict)
printf '%-26s %8s %8s %8s\n' "$n commands: MB of PSS" "$cold" "$warm" "$(awk "BEGIN { printf \"%.2f\", $warm / $cold }")"
