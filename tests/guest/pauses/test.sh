# SPDX-License-Identifier: GPL-2.0-only
# A guest that is paused at every seventh of its exits ends as one that is not: 500 pauses, FULL=1: 10 000.
[ -z "$VARIANT" ] || {
	# Sanitizers wrap the same functions.
	run -k "$GUESTS/elf64" -m 64 -p attack=10
	same pauses/none 0 "$status"
	return 0 2>/dev/null || exit 0
}
wanted=500
[ -z "$FULL" ] || wanted=10000
rounds=$((wanted / 5))
run -k "$GUESTS/elf64" -m 64 -p attack=$rounds --sandbox off
same pauses/none "0 1" "$status $(grep -c '^sum [0-9a-f]*$' "$T/out")"
sum=$(cat "$T/out")
export PAUSE_EVERY=7 PAUSE_SOCKET=$XDG_RUNTIME_DIR/lkvm/pauses.sock
LD_PRELOAD=$TOOLS/pause.so LIMIT=$((patience + wanted)) run -k "$GUESTS/elf64" -m 64 -p attack=$rounds --sandbox off --name pauses
same pauses/sum "0 $sum" "$status $(cat "$T/out")"
pauses=$(sed -n 's/^pauses \([0-9]*\)$/\1/p' "$T/err")
[ "${pauses:-0}" -ge $wanted ] && ok pauses/number || not_ok pauses/number "$(cat "$T/err")"
