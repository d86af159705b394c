# SPDX-License-Identifier: GPL-2.0-only
# Starts and stops, 50 or with FULL=1 200: all alike, nothing left over, and quick.
# Runs alone: it looks for processes and files that are left, and takes the time.
runs=$([ -n "$FULL" ] && echo 200 || echo 50)
before=$(ls -A /tmp /dev/shm | sort | cksum)
bad=0
start=$(now_ms)
for i in $(seq $runs); do
	timeout 20 "$LKVM" run --flat "$GUEST" </dev/null >"$T/out" 2>&1 || bad=$((bad + 1))
	[ "$(cat "$T/out")" = . ] || bad=$((bad + 1))
done
ours=$((($(now_ms) - start) * 1000 / runs))	# microseconds a run
same lifecycle/$runs-runs 0 "$bad"
same lifecycle/no-files "$before" "$(ls -A /tmp /dev/shm | sort | cksum)"
if pgrep -f -- "--flat $GUEST" >/dev/null; then not_ok lifecycle/no-processes "$(pgrep -af -- "--flat $GUEST")"; else ok lifecycle/no-processes; fi

# The same guest as the firmware of QEMU's microvm: what it costs at the least.
if [ -n "$VARIANT" ]; then
	:	# measured with the ordinary build
elif ! command -v qemu-system-x86_64 >/dev/null; then
	not_ok lifecycle/quick "qemu-system-x86_64 is missing"
else
	head -c 65536 /dev/zero >"$T/bios"
	dd if="$GUEST" of="$T/bios" conv=notrunc status=none
	printf '\xea\x00\x00\x00\xf0' | dd of="$T/bios" bs=1 seek=65520 conv=notrunc status=none
	start=$(now_ms)
	for i in $(seq 20); do
		timeout 20 qemu-system-x86_64 -M microvm -accel kvm -nodefaults -display none -m 512 \
			-device isa-debug-exit,iobase=0xf4,iosize=1 -bios "$T/bios" </dev/null >"$T/out" 2>&1
		[ $? = 1 ] || bad=$((bad + 1))
	done
	theirs=$((($(now_ms) - start) * 50))
	echo "# a run takes $ours us, with QEMU's microvm $theirs us"
	same lifecycle/qemu-ran 0 "$bad"
	# An emulated CPU makes processes and namespaces dear, not QEMU's set-up.
	times=2; ! grep -q "QEMU TCG" /proc/cpuinfo || times=1
	if [ $((ours * times)) -lt $theirs ]; then ok lifecycle/quick; else not_ok lifecycle/quick "$ours us against $theirs us"; fi
fi
