# SPDX-License-Identifier: GPL-2.0-only
# Each system call that starting, running and ending a VM takes on the main thread fails once
# (strace injects it): lkvm ends or goes on, soon, with a message if it failed, without a crash, and
# leaves nothing behind. Some cannot fail with the arguments that they are given (futex, tgkill,
# timerfd_settime, epoll_wait), or never as a failure that leaves things as they were (close); the C
# library does not survive a brk that fails in the middle.
[ -z "$VARIANT" ] || {
	# Sanitizers make calls of their own, and do not work under strace.
	run --flat "${GUESTS%/*}/lifecycle/guest" --console-log /dev/full
	same faults/none 0 $status
	return 0 2>/dev/null || exit 0
}
truncate -s 1M "$T/disk"
# In one process, on a host that refuses PID namespaces, and then the process in front of another.
alone=(unshare -r sh -c 'echo 0 >/proc/sys/user/max_pid_namespaces; exec "$@"' sh)
unshare -r true 2>/dev/null || alone=()
vm() { "${before_it[@]}" "$@" "$LKVM" run -m 64 -d "$T/disk,format=raw" --flat "${GUESTS%/*}/lifecycle/guest" --json "$T/json" \
	--console-log "$T/log" --port a=unix:"$T/sock" >"$T/out" 2>"$T/err" </dev/null; }
# all_calls NAME: every call of the main thread.
all_calls() {
	vm strace -qq -o "$T/trace"
	same faults/$1/none 0 $?
	# Calls of main(), which begins with /dev/null: how many came before, how many are its own.
	awk '{ c = $1; sub(/\(.*/, "", c) } /openat.*"\/dev\/null"/ { main = 1 }
		c ~ /^[a-z]/ { if (main) after[c]++; else before[c]++ }
		END { for (c in after) print c, before[c] + 0, after[c] }' "$T/trace" | sort >"$T/calls"
	[ "$(wc -l <"$T/calls")" -ge 30 ] && ok faults/$1/calls || not_ok faults/$1/calls "$(cat "$T/calls")"
	while read -r call before n; do
		case $call in
		exit_group | rt_sigreturn | futex | tgkill | timerfd_settime | epoll_wait | close | brk) continue ;;
		mmap | clone* | mprotect | munmap) error=ENOMEM ;;
		openat | socket* | eventfd2 | dup | timerfd_create | epoll_create1 | signalfd4 | io_uring_setup) error=EMFILE ;;
		*) error=EIO ;;
		esac
		[ "$n" -le 40 ] || n=40
		# The first, the last and one between; with FULL=1 each.
		few="$((before + 1)) $((before + (n + 1) / 2)) $((before + n))"
		# In an emulated host the first for one process, the last for two.
		[ "$every" = 1 ] || few=$((before + $([ $1 = alone ] && echo 1 || echo $n)))
		[ -z "$FULL" ] || few=$(seq $((before + 1)) $((before + n)))
		wrong=
		for i in $(printf '%s\n' $few | sort -nu); do
			vm timeout -k 1 20 strace -qq -o /dev/null -e trace="$call" -e inject="$call:error=$error:when=$i"
			status=$?
			case $status in 0 | 125 | 255) ;; *) wrong="$wrong number $i: status $status $(head -n 1 "$T/err");" ;; esac
			[ $status = 0 ] || grep -q '^lkvm: ' "$T/err" || wrong="$wrong number $i: status $status, no message;"
			[ ! -e "$T/sock" ] || { wrong="$wrong number $i: the socket is left;"; rm -f "$T/sock"; }
		done
		same "faults/$1/$call" "" "$wrong"
	done <"$T/calls"
}
before_it=("${alone[@]}")
all_calls alone
if [ ${#alone[@]} != 0 ]; then
	before_it=()
	all_calls front
else
	skip faults/front "no user namespaces here"
fi
