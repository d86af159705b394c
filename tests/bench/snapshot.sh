# SPDX-License-Identifier: GPL-2.0-only
# Runs in the emulated host (busybox sh): what goes on from a snapshot, beside what starts cold. Virtual milliseconds from
# exec to the first instruction of a flat guest (/idle) of 128 MiB.
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
