# SPDX-License-Identifier: GPL-2.0-only
# A VM with networks is saved while a stream of bytes goes through it, to which nothing happens; it goes on elsewhere with
# the network that the command line names, and what was connected by the same one is.
# Modules of its kernels are in /lib/modules.
ip() { /bin/ip "$@"; }	# not busybox's
mkdir -p /run
modprobe_tun
ip link set lo up
ip tuntap add dev t0 mode tap vnet_hdr; ip addr add 10.7.0.1/24 dev t0; ip link set t0 up
head -c 100000 /dev/urandom >/tmp/piece

# when SECONDS COMMAND...: as soon as it succeeds; fails if it never does.
when() { local n=$1; shift; while ! "$@" 2>/dev/null; do n=$((n - 1)); [ $n -gt 0 ] || return 1; sleep 1; done; }
answers() { [ "$(echo hello | timeout 10 socat -t 5 - TCP:10.7.0.2:8000 2>/tmp/socat)" = hello ]; }
said() { [ "$(tail -n 1 /tmp/back)" = "$1" ]; }
# serve KERNEL TRANSPORT MIB NETWORK...: VM "first", whose command sends back what it is sent.
serve() {
	local k=$1 t=$2 m=$3; shift 3
	timeout 600 lkvm run --name first -k /g/$k/bzImage -m $m --transport $t "$@" -- socat TCP-LISTEN:8000,fork,reuseaddr EXEC:cat \
		>/tmp/out 2>/tmp/err </dev/null & pid=$!
	when 120 answers || not_ok snapshot-net/$k-$t-starts "$(tail /tmp/out /tmp/err)"
}
# again ARGUMENTS...: VM "again", from the snapshot.
again() { timeout 600 lkvm run -v --name again --restore /tmp/s "$@" >/tmp/out 2>/tmp/err </dev/null 6>&- & pid=$!; }
refused() { run --restore /tmp/s "$@"; }

# tap KERNEL TRANSPORT MIB
tap() {
	local test=$1-$2 mac
	serve $1 $2 $3 -n mode=tap,tapif=t0,ip=10.7.0.2/24
	mac=$(ip neigh show 10.7.0.2 | grep -o '..:..:..:..:..:..')
	for i in $(seq 30); do cat /tmp/piece; done >/tmp/all
	(for i in $(seq 30); do cat /tmp/piece; sleep 0.2; done) | timeout 200 socat -t 30 - TCP:10.7.0.2:8000 2>/tmp/socat >/tmp/streamed & stream=$!
	for i in 1 2 3; do
		sleep 1
		lkvm snapshot first /tmp/s >/tmp/said 2>&1; same snapshot-net/$test-saved-$i "0 " "$? $(cat /tmp/said)"
	done
	wait $stream
	same snapshot-net/$test-stream "$(sha256sum </tmp/all)" "$(sha256sum </tmp/streamed)"
	# One that stays connected.
	rm -f /tmp/words; mkfifo /tmp/words; : >/tmp/back
	timeout 600 socat - TCP:10.7.0.2:8000 </tmp/words >/tmp/back 2>/tmp/socat & line=$!
	exec 6>/tmp/words
	echo before >&6; when 60 said before || not_ok snapshot-net/$test-connected "$(cat /tmp/socat)"
	lkvm snapshot first /tmp/s --stop >/tmp/said 2>&1; same snapshot-net/$test-stopped "0 " "$? $(cat /tmp/said)"
	wait $pid; same snapshot-net/$test-status 0 $?
	[ $test != cloud-pci ] || {
		refused; same snapshot-net/none 125 $status
		has snapshot-net/none-says /tmp/err '^lkvm: restore: /tmp/s: its machine has 1 networks, and the command line names 0$'
		refused -n mode=tap,tapif=t0 -n mode=tap,tapif=t0; same snapshot-net/two 125 $status
		has snapshot-net/two-says /tmp/err 'its machine has 1 networks, and the command line names 2$'
		# Its driver leaves checksums to a tap.
		refused -n mode=stream,path=/tmp/stream,server=on; same snapshot-net/other 125 $status
		same snapshot-net/other-says-no-more 2 "$(wc -l </tmp/err)"
		has snapshot-net/other-says /tmp/err '^lkvm: restore: virtio 1: its driver uses features that this one has not$'
	}
	again -n mode=tap,tapif=t0
	echo after >&6
	when 120 said after && ok snapshot-net/$test-still-connected || not_ok snapshot-net/$test-still-connected "$(tail /tmp/back /tmp/out /tmp/err)"
	exec 6>&-; wait $line
	when 60 answers && ok snapshot-net/$test-answers || not_ok snapshot-net/$test-answers "$(tail /tmp/out /tmp/err)"
	ip neigh flush dev t0; ping -c 3 -w 30 10.7.0.2 >/tmp/ping
	has snapshot-net/$test-ping /tmp/ping ' 0% packet loss'
	same snapshot-net/$test-address "$mac" "$(ip neigh show 10.7.0.2 | grep -o '..:..:..:..:..:..')"
	lkvm stop --force again; wait $pid
}
tap cloud pci 192

[ -e /full ] || return 0
tap cloud612 mmio 256
tap generic612 pci 320
