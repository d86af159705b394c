# SPDX-License-Identifier: GPL-2.0-only
# Runs in the emulated host (busybox sh): what goes on from a snapshot, beside what starts cold. Virtual milliseconds from
# exec to the first instruction of a flat guest (/idle) of 128 MiB; and the memory (PSS) of both processes of $n machines that
# run a command, of the cloud kernel, in MB.
export HOME=/tmp
mkdir -p /run
# first ARGUMENTS...: of a machine that is ended then.
first() {
	lkvm run -D --name one --json /tmp/json "$@" >/tmp/out 2>&1 </dev/null || echo "# $(tail -n 2 /tmp/out)"
	sleep 0.2
	lkvm stop --force one
	while [ -n "$(pidof lkvm)" ]; do sleep 0.1; done
	sed -n 's/.*"boot_ms":\([0-9.]*\).*/\1/p' /tmp/json
}
first --flat /idle -m 128 >/tmp/unused
cold=$(first --flat /idle -m 128)
lkvm run -D --name one --flat /idle -m 128 >/tmp/out 2>&1 </dev/null
lkvm snapshot one /tmp/s --stop >/tmp/out 2>&1 || echo "# $(cat /tmp/out)"
while [ -n "$(pidof lkvm)" ]; do sleep 0.1; done
first --restore /tmp/s >/tmp/unused
restored=$(first --restore /tmp/s)
printf '%-26s %8s %8s %8s\n' "flat, 128 MiB: ms" "$cold" "$restored" "$(awk "BEGIN { printf \"%.2f\", $restored / $cold }")"
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
