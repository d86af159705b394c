# SPDX-License-Identifier: GPL-2.0-only
# Boots and power-offs, one after the other, while another CPU is busy: none hangs, none
# differs. SOAK=2000 for the long form.
boots=${SOAK:-$([ -n "$FULL" ] && echo 100 || echo 20)}
while :; do :; done & load=$!
trap 'kill $load; rm -rf "$scratch"' EXIT
differs=0
for _ in $(seq "$boots"); do
	LIMIT=20 run --flat "${GUESTS%/*}/poweroff/guest"
	echo "$status $(cat "$T/out" "$T/err")" >"$T/this"
	[ -e "$T/first" ] || cp "$T/this" "$T/first"
	cmp -s "$T/this" "$T/first" || { differs=$((differs + 1)); cp "$T/this" "$T/other"; }
done
same "soak/$boots-boots" "0 differ" "$differs differ$([ ! -e "$T/other" ] || echo ": $(cat "$T/first"), then $(cat "$T/other")")"
same soak/says "0 hello" "$(cat "$T/first")"
