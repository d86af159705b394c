# SPDX-License-Identifier: GPL-2.0-only
# Sourced by each scenario in the emulated host (busybox sh).

ok() { echo "ok $1"; }
not_ok() { echo "not ok $1"; shift; for l in "$@"; do echo "$l" | sed 's/^/# /'; done; }
same() {
	if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "wanted [$2]" "got    [$3]" "$(tail -n 15 /tmp/out /tmp/err 2>/dev/null)"; fi
}
has() {
	if grep -qE -- "$3" "$2"; then ok "$1"; else not_ok "$1" "no line matches [$3] in:" "$(tail -n 30 "$2")"; fi
}

# run ARGUMENTS: lkvm run; console in /tmp/out, messages in /tmp/err, $status.
run() {
	timeout 180 lkvm run "$@" >/tmp/out 2>/tmp/err </dev/null
	status=$?
	tr -d '\r' </tmp/out >/tmp/out2; mv /tmp/out2 /tmp/out
}

# seen KEY: what the guest's init has printed.
seen() { sed -n "s/^GUEST-INIT .*\b$1=\([^ ]*\).*/\1/p" /tmp/out; }

# RAM that the memory map of a guest with this many MiB announces.
announced() { echo $(($1 * 1048576 - 0x60400)); }

# boots NAME WANTED-STATUS CPUS MIB ARGUMENTS: the guest's init ran, saw these
# CPUs and this memory, and lkvm ended with that status.
boots() {
	local name=$1 want=$2 cpus=$3 mib=$4; shift 4
	run -c $cpus -m $mib "$@"
	same "$name" "status=$want cpus=$cpus ram=$(announced $mib)" \
		"status=$status cpus=$(seen cpus) ram=$(seen ram)"
}

# choose ALL FEW: every combination with FULL=1, otherwise few in which each pair of properties is
# there once.
choose() { if [ -e /full ]; then echo "$1"; else echo "$2"; fi; }

# The module for taps, once per emulated host.
modprobe_tun() { [ -e /dev/net/tun ] || insmod /lib/tun.ko; }

# footprint: what processes of lkvm, or files, sockets, mounts, groups and interfaces the host has.
footprint() {
	ps -o args | grep '[l]kvm'
	find /run /dev/shm -not -path '/run/netns/*'
	find /sys/fs/cgroup -type d
	wc -l </proc/net/unix
	cut -d ' ' -f 2- /proc/self/mounts
	ls /sys/class/net
}
