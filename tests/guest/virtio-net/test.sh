# SPDX-License-Identifier: GPL-2.0-only
# Each attack of elf64.c against a network card whose peer echoes frames, over both
# transports: the VM lives and the card works again after a reset.
attacks=$(attacks_of tests/guest/virtio-net/elf64.c)
declare -A peers
for mode in echo flood jumbo lie sink hold; do
	"$TOOLS/peer" frames $mode "$T/$mode" >>"$T/$mode.out" & peers[$mode]=$!
done
trap 'kill ${peers[@]} 2>/dev/null; rm -rf "$scratch"' EXIT
for mode in "${!peers[@]}"; do wait_for 10 test -S "$T/$mode"; done
# turn NAME: what is tried over both, in an emulated host over one in turn.
turn() { [ "$every" = 1 ] || case $transport:$1 in pci:jumbo | mmio:lie | pci:reset | mmio:sink | pci:hold | mmio:leave | pci:flood) ;; *) false ;; esac; }
for transport in pci mmio; do
	net() { run -k "$GUESTS/elf64" -m 512 -c $(cpus_of $2) --rng off --transport $transport -n "mode=stream,path=$T/$1" -p "attack=$2 every=$every"; }
	n=0
	for attack in $attacks; do
		n=$((n + 1)); over $transport $n $attack || continue
		net echo $attack
		same "virtio-net/$transport/$attack" "0 SURVIVED RECOVERED" "$status $(echo $(cat "$T/out"))"
		few_lines "virtio-net/$transport/$attack-log" '^lkvm: net0'
	done
	if turn jumbo; then
		net jumbo rx_jumbo
		same "virtio-net/$transport/rx_jumbo" "0 SURVIVED" "$status $(cat "$T/out")"
	fi
	for i in 1 2 3 4 5; do
		turn lie || continue
		net lie link_lost
		same "virtio-net/$transport/lie-$i" "0 SURVIVED" "$status $(cat "$T/out")"
	done
	if turn reset; then
		net sink tx_stream_reset
		same "virtio-net/$transport/tx_stream_reset" "0 SENT" "$status $(cat "$T/out")"
		wait_for 10 grep -q frames "$T/sink.out"
		truncate -s 0 "$T/sink.out"
	fi
	for mode in sink hold; do
		turn $mode || continue
		net $mode tx_backpressure
		same "virtio-net/$transport/$mode" "0 SENT" "$status $(cat "$T/out")"
		wait_for 10 grep -q frames "$T/$mode.out"
		same "virtio-net/$transport/$mode-all" "frames 4000 in order" "$(cat "$T/$mode.out")"
		truncate -s 0 "$T/$mode.out"
	done
	# The peer leaves with its socket full, and comes again.
	if turn leave; then
		rm -f "$T/server"
		"$TOOLS/peer" frames leave "$T/server" >"$T/leave.out" & peer=$!
		run -k "$GUESTS/elf64" -m 512 --rng off --transport $transport -n "mode=stream,path=$T/server,server=on" -p attack=tx_backpressure
		same "virtio-net/$transport/leave" "0 SENT" "$status $(cat "$T/out")"
		wait $peer
		has "virtio-net/$transport/leave-later-frames" "$T/leave.out" '^frames [1-9][0-9]* in order$'
	fi
	# A flood and no buffers: memory stays as it is. (One huge page may be anybody's.)
	turn flood || continue
	"$LKVM" run -k "$GUESTS/elf64" -m 512 --rng off --transport $transport -n "mode=stream,path=$T/flood" \
		-p "attack=rx_no_buffers every=$every" >"$T/out" 2>"$T/err" </dev/null & pid=$!
	rss() { awk '/^(RssAnon|RssFile)/ { n += $2 } END { print n }' /proc/$(vm_of $pid)/status; }
	wait_for 10 grep -q IDLE "$T/out"; before=$(rss) after=
	for _ in 1 2 3 4 5; do sleep 0.2; now=$(rss); after=${now:-$after}; done	# it may end meanwhile
	[ -n "$after" ] && [ $((after - before)) -le 3072 ] && ok "virtio-net/$transport/flood-memory" ||
		not_ok "virtio-net/$transport/flood-memory" "before $before kB, after $after kB"
	wait $pid
	same "virtio-net/$transport/flood" "0 IDLE SURVIVED" "$? $(echo $(cat "$T/out"))"
done
