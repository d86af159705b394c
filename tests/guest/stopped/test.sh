# SPDX-License-Identifier: GPL-2.0-only
# Whoever reads what a VM writes stops for ever, the guest waits for it, and the VM can be
# ended all the same: by its time limit, by a signal.
guests=${GUESTS%/*}
# start NAME ARGUMENTS...: in the background, with output in $T/NAME.out.
start() {
	local name=$1; shift
	timeout -k 5 60 "$LKVM" run --rng off -m 256 "$@" >"$T/$name.out" 2>"$T/$name.err" </dev/null & vm=$!
}
frames=(-k "$guests/virtio-net/elf64" -p attack=tx_backpressure)
bytes=(-k "$guests/virtio-console/elf64" -p attack=slow_reader)
"$TOOLS/peer" frames stop "$T/wire" >"$T/stream.peer" & peers=$!
"$TOOLS/peer" bytes stop "$T/port" >"$T/port.peer" & peers="$peers $!"
mkfifo "$T/fifo"; sleep 1000 <>"$T/fifo" & peers="$peers $!"
trap 'kill $peers 2>/dev/null; rm -rf "$scratch"' EXIT
wait_for 10 test -S "$T/wire"

# ended NAME SECONDS WANT: what started at $began has this status, and took no longer.
ended() {
	wait $vm
	same "stopped/$1" "$3" "$? $(cat "$T/${1%-*}.out")"
	[ $((($(now_ms) - began) / 1000)) -le $2 ] || not_ok "stopped/$1-time" "it took more than $2 s"
}

start stream "${frames[@]}" -n "mode=stream,path=$T/wire"
wait_for 30 grep -q full "$T/stream.peer"
began=$(now_ms); kill -TERM $vm; ended stream-signal 10 "143 "
start port "${bytes[@]}" --port "p=unix:$T/port"
wait_for 30 grep -q full "$T/port.peer"
began=$(now_ms); kill -TERM $vm; ended port-signal 10 "143 "

kill $peers 2>/dev/null
"$TOOLS/peer" frames stop "$T/wire2" >"$T/stream.peer" & peers=$!
"$TOOLS/peer" bytes stop "$T/port2" >"$T/port.peer" & peers="$peers $!"
sleep 1000 <>"$T/fifo" & peers="$peers $!"
wait_for 10 test -S "$T/wire2"
began=$(now_ms)
start stream "${frames[@]}" -n "mode=stream,path=$T/wire2" --timeout 3; first=$vm
start port "${bytes[@]}" --port "p=unix:$T/port2" --timeout 3; second=$vm
start pipe "${bytes[@]}" --port p=fd:9 --timeout 3 9>"$T/fifo"; third=$vm
vm=$first; ended stream-timeout 13 "124 "
vm=$second; ended port-timeout 13 "124 "
vm=$third; ended pipe-timeout 13 "124 "
# A recording is a file: a pipe's reader could not be waited for.
start pcap "${frames[@]}" -n "mode=stream,path=$T/wire2,pcap=$T/fifo"
vm=$vm; ended pcap-refused 30 "125 "
has stopped/pcap-said "$T/pcap.err" 'pcap: .*/fifo: not a regular file'
