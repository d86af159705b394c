# SPDX-License-Identifier: GPL-2.0-only
# The host's system calls fail while the guest runs, on every kind of thread: the n-th of them
# once or from then on. lkvm goes on or ends, soon, with a message if it failed; the guest
# gets its answers or errors; nothing is left behind.
[ -z "$VARIANT" ] || {
	# Sanitizers wrap the same functions.
	run -k "${GUESTS%/*}/virtio-rng/elf64" -m 4096 -p attack=flood
	same host-faults/none "0 SURVIVED RECOVERED" "$status $(echo $(cat "$T/out"))"
	return 0 2>/dev/null || exit 0
}
EINTR=4 EIO=5 EAGAIN=11 ENOMEM=12 EFAULT=14 ENOSPC=28 ENOBUFS=105 ECONNRESET=104
truncate -s 16M "$T/img"
"$TOOLS/peer" frames echo "$T/echo" >/dev/null & peer=$!
trap 'kill $peer 2>/dev/null; rm -rf "$scratch"' EXIT
wait_for 10 test -S "$T/echo"
blk() { run -k "${GUESTS%/*}/virtio-blk/elf64" -m 256 -d "$T/img,format=raw,serial=SN1" -p attack=$attack; }
net() { run -k "${GUESTS%/*}/virtio-net/elf64" -m 512 --rng off -n "mode=stream,path=$T/echo" -p attack=no_features; }
console() {
	rm -f "$T/port"
	"$TOOLS/peer" bytes echo "$T/port" >/dev/null & local other=$!
	run -k "${GUESTS%/*}/virtio-console/elf64" -m 256 --rng off --port "p=unix:$T/port" -p attack=many_bytes
	kill $other 2>/dev/null; wait $other 2>/dev/null
}
rng() { run -k "${GUESTS%/*}/virtio-rng/elf64" -m 4096 -p attack=flood; }

# faulty WHAT CALL ERROR GOES_ON: GOES_ON=yes if the guest must not notice the failure of one call.
faults="1:1 4:1 4:1000000"
[ -z "$FULL" ] || faults="1:1 2:1 4:1 12:1 1:1000000 4:1000000"
# In an emulated host one of two: once if it must not be noticed, otherwise in turn.
turn=0
choose_fault() {
	[ "$every" != 1 ] || return 0
	faults=4:1
	[ $1 = yes ] || [ $((turn++ % 2)) = 0 ] || faults=4:1000000
}
faulty() {
	local what=$1 call=$2 error=$3 goes_on=$4 fault wrong=''
	choose_fault $goes_on
	for fault in $faults; do
		export LD_PRELOAD=$TOOLS/fault.so FAULT=$call:${!error}:$fault
		[ $goes_on = yes ] && [ ${fault#*:} = 1 ] && LIMIT=60 || LIMIT=2
		$what
		unset LD_PRELOAD FAULT
		case $status in
		# Where no write works, there are no words.
		0) grep -qE 'RECOVERED|FAILED' "$T/out" || grep -q '^lkvm: ' "$T/err" ||
			[ "$call ${fault#*:}" = "write 1000000" ] || wrong="$wrong $fault: silence;" ;;
		# A VM that cannot hear the process in front ends as one without it.
		137) [ $call = recvmsg ] && grep -q '^lkvm: the process in front cannot be heard' "$T/err" || wrong="$wrong $fault: $status;" ;;
		125 | 255) grep -q '^lkvm: ' "$T/err" ||
			[ "$call ${fault#*:}" = "write 1000000" ] || wrong="$wrong $fault: no message;" ;;
		# What the guest waits for never comes; lkvm still ends when it is asked to.
		124 | 143) ;;
		*) wrong="$wrong $fault: status $status $(head -n 1 "$T/err");" ;;
		esac
		[ $LIMIT = 2 ] || [ "$(echo $(cat "$T/out"))" = "SURVIVED RECOVERED" ] ||
			wrong="$wrong $fault: $(cat "$T/out" "$T/err" | head -n 2);"
	done
	same "host-faults/$what-$call-$error" "" "$wrong"
}
attack=reset_in_flight
export NO_IO_URING=1
for call in preadv2 pwritev2 fdatasync; do
	faulty blk $call EIO no
	faulty blk $call ENOSPC no
done
faulty blk preadv2 EINTR yes
faulty blk pwritev2 EINTR yes
attack=range_overflow
faulty blk fallocate ENOSPC no
unset NO_IO_URING
attack=reset_in_flight
faulty blk io_uring_submit EINTR yes
faulty blk io_uring_submit EAGAIN yes
faulty blk io_uring_submit ENOMEM no
faulty net recvmsg EINTR yes
faulty net sendmsg EINTR yes
faulty net recvmsg EIO no
faulty net sendmsg ECONNRESET no
faulty net sendmsg ENOBUFS no
faulty console read EIO no
faulty console write EIO no
faulty console recvmsg EIO no
faulty console sendmsg ECONNRESET no
faulty console sendmsg ENOBUFS no
faulty console recvmsg EINTR yes
faulty console sendmsg EINTR yes
faulty rng getrandom EINTR yes
faulty rng getrandom EAGAIN no
faulty rng epoll_ctl ENOMEM no
faulty rng epoll_wait EINTR yes
faulty rng epoll_wait ENOMEM no
faulty rng ioctl EINTR yes
faulty rng ioctl EAGAIN yes
faulty rng ioctl ENOMEM no
faulty rng ioctl EFAULT no
