# SPDX-License-Identifier: GPL-2.0-only
# lkvm is killed at random moments while a guest writes and flushes: what was flushed
# is in the image, a qcow2 image needs no repair, and the next run goes on.
cuts=10
[ "$every" = 1 ] || cuts=4
[ -z "$FULL" ] || [ -n "$VARIANT" ] || cuts=100
RANDOM=20261120
fresh() {
	rm -f "$T/img"
	case $1 in
	raw) qemu-img create -q -f raw "$T/img" 16M ;;
	qcow2) qemu-img create -q -f qcow2 -o cluster_size=$((512 << RANDOM % 8)) "$T/img" 16M ;;
	esac
	acked=0
}
for format in raw qcow2; do
	lost=0 unclean=0 acked=0 moments=0 slow=0
	for ((i = 0; i < cuts; i++)); do
		# A new image now and then: early and late moments of its life.
		[ $((i % 10)) != 0 ] && [ "$acked" -lt 4000 ] || fresh $format
		timeout -s KILL 60 "$LKVM" run -k "$GUESTS/elf64" -m 64 -d "$T/img,format=$format" \
			--transport $([ $((i % 2)) = 0 ] && echo pci || echo mmio) -p "attack=$acked" >"$T/out" 2>"$T/err" </dev/null &
		vm=$!
		wait_for 30 test -s "$T/out" || slow=$((slow + 1))
		sleep 0.$(printf %03d $((RANDOM % 250)))
		lkvm=$(pgrep -P $vm) && kill -KILL "$(vm_of $lkvm)"
		wait $vm 2>/dev/null
		last=$(grep -v FAILED "$T/out" | sed '$!d')
		# The last line may have been cut in the middle: a number too small, never too big.
		[ -n "$last" ] && [ $((0x$last)) -gt $acked ] && acked=$((0x$last))
		grep -q FAILED "$T/out" && lost=$((lost + 1))
		if [ $format = qcow2 ]; then
			qemu-img check -q "$T/img" >"$T/check" 2>&1; check=$?
			# 3: leaked clusters, which are allowed.
			[ $check = 0 ] || [ $check = 3 ] || { unclean=$((unclean + 1)); head -n 5 "$T/check" | sed 's/^/# /'; }
		fi
		qemu-img convert -q -f $format -O raw "$T/img" "$T/raw"
		"$TOOLS/records" "$T/raw" $acked >"$T/records" || { lost=$((lost + 1)); sed 's/^/# /' "$T/records"; }
		moments=$((moments + 1))
	done
	same "power-cut/$format/moments" "$cuts" "$moments"
	same "power-cut/$format/lost" 0 "$lost"
	same "power-cut/$format/unclean" 0 "$unclean"
	same "power-cut/$format/never-started" 0 "$slow"
	run -k "$GUESTS/elf64" -m 64 -d "$T/img,format=$format" -p attack=0
	same "power-cut/$format/next-run" "0 1000" "$status $(tail -n 1 "$T/out")"
	qemu-img convert -q -f $format -O raw "$T/img" "$T/raw"
	same "power-cut/$format/complete" 0 "$("$TOOLS/records" "$T/raw" 4096; echo $?)"
done
