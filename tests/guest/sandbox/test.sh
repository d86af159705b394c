# SPDX-License-Identifier: GPL-2.0-only
# The sandbox from inside (tests/lib/hook.c tries to break out) and from outside (what
# /proc says), and hosts that refuse a part of it.
flat=${GUESTS%/*}/idle/guest ends=${GUESTS%/*}/lifecycle/guest
[ -z "$VARIANT" ] || {
	# A build with sanitizers gives up capabilities, says that it is not strict, and no more.
	run --flat "$flat" --sandbox strict
	same sandbox/strict-with-sanitizers 125 $status
	return 0 2>/dev/null || exit 0
}
hooked() {
	SANDBOX_HOOK=$1 timeout 20 "$HOOKED" run -m 64 --rng off --flat "$ends" "${@:2}" >"$T/out" 2>"$T/err" </dev/null
	status=$?
}

walls=
unshare -U true 2>/dev/null && walls=yes

# ---- the walls around the process, without filters ----
socat ABSTRACT-LISTEN:lkvm-hook,fork /dev/null & listener=$!
truncate -s 1M "$T/disk"
all=openat,open,openat-up,openat-create,mkdir,unlink,chmod,connect,abstract,execve,unshare,mount,ptrace,signal,setuid,core,ring-open,teardown-open
export SANDBOX_VICTIM=$listener
wait_for 10 sh -c 'grep -q @lkvm-hook /proc/net/unix'
# Read-only: what the attempts do to the ring would leave its last flush without an answer.
hooked process:$all -d "$T/disk,format=raw,ro"
same sandbox/process-status 0 $status
for a in ${all//,/ }; do
	case $a in
	core) has sandbox/process-$a "$T/err" '^hook: core: got 0$' ;;
	openat-create | mkdir) has sandbox/process-$a "$T/err" "^hook: $a: refused: (EROFS|EACCES)$" ;;
	unshare) has sandbox/process-$a "$T/err" "^hook: $a: refused: (EPERM|ENOSPC)$" ;;
	setuid)
		# Without user namespaces root stays root, of what the filters leave.
		if [ -z "$walls" ]; then skip sandbox/process-$a "no user namespaces here"
		else has sandbox/process-$a "$T/err" "^hook: $a: refused: (EPERM|EINVAL)$"; fi ;;
	signal)
		if ! has_pid_namespaces; then skip sandbox/process-$a "no PID namespaces here"
		else has sandbox/process-$a "$T/err" "^hook: $a: refused: ESRCH$"; fi ;;
	mount | ptrace) has sandbox/process-$a "$T/err" "^hook: $a: refused: EPERM$" ;;
	connect) has sandbox/process-$a "$T/err" "^hook: $a: refused: ENETUNREACH$" ;;
	abstract) has sandbox/process-$a "$T/err" "^hook: $a: refused: (EPERM|ECONNREFUSED)$" ;;
	ring-open | teardown-open) has sandbox/process-$a "$T/err" "^hook: $a: refused: EACCES$" ;;
	*) has sandbox/process-$a "$T/err" "^hook: $a: refused: (ENOENT|EACCES)$" ;;
	esac
done
# Without the sandbox the same attempts get through: the ones above are refused by it.
hooked process:openat,open,connect,abstract,signal,ring-open,teardown-open --sandbox off -d "$T/disk,format=raw"
for a in openat open connect abstract signal; do has sandbox/off-$a "$T/err" "^hook: $a: got "; done
# The ring is restricted for ever, sandbox or not.
for a in ring teardown; do has sandbox/off-$a-open "$T/err" "^hook: $a-open: refused: EACCES\$"; done
kill $listener

# ---- the filter of each thread ----
# attempt ATTEMPT CALL: what is caught is the call.
forbidden="openat:openat open:open openat-up:openat openat-create:openat mkdir:mkdir unlink:unlink chmod:chmod socket:socket
	fork:fork clone3:clone3 execve:execve unshare:unshare mount:mount memfd_create:memfd_create mmap:mmap mprotect:mprotect
	setuid:setuid bpf:bpf io_uring_setup:io_uring_setup rt_sigaction:rt_sigaction prctl:prctl kill:kill tgkill:tgkill
	ioctl-tiocsti:ioctl ioctl-vm:ioctl ioctl-slot:ioctl ptrace:ptrace core:prlimit64"
try() {
	local place=$1 said=$2 skip=" $3 " want=$4 n=0; shift 4
	for a in $forbidden; do
		case $skip in *" ${a%:*} "*) continue ;; esac
		# In an emulated host those of the others every third: what a filter does not allow it refuses.
		n=$((n + 1))
		case $every:$place in 1:* | *:vcpu) ;; *) [ $((n % 3)) = 1 ] || continue ;; esac
		hooked "$place:${a%:*}" "$@"
		if [ "$status" = "$want" ] && grep -q "^lkvm: sandbox: $said: forbidden system call: ${a#*:} (" "$T/err" &&
			! grep -q '^hook:' "$T/err"; then
			ok "sandbox/$place-${a%:*}"
		else
			not_ok "sandbox/$place-${a%:*}" "status $status" "$(cat "$T/err")"
		fi
	done
}
try vcpu 'vcpu thread' '' 125
try loop 'loop thread' '' 125
# Disk threads are there where io_uring is not.
export NO_IO_URING=1
try disk 'disk thread' io_uring_setup 125 -d "$T/disk,format=raw"
unset NO_IO_URING
# This one may open files, and is not what a guest can reach; the VM goes on.
try broker 'broker process' "openat openat-up openat-create unlink" 0 --console-log "$T/log"
# It signals the VM's process, and cannot know its number before it is there.
if has_pid_namespaces; then try supervisor 'supervisor process' kill 125
else skip sandbox/supervisor "no PID namespaces here"; fi
# Of another architecture: the end without a word.
for place in vcpu loop; do
	hooked $place:int80
	same sandbox/$place-int80 159 $status
done

[ -n "$walls" ] || {
	skip sandbox/all-walls "no user namespaces here"
	return 0 2>/dev/null || exit 0
}

# ---- from outside ----
# start ARGUMENTS...: a VM that stays, as $pid; its own process is $vm.
start() {
	: >"$T/out"	# the one before said "up", too
	"$@" >"$T/out" 2>"$T/err" </dev/null & pid=$!
	wait_for 20 grep -q up "$T/out"
	vm=$(vm_of $pid)
}
finish() { kill $pid; wait $pid; same "$1" 143 $?; }
every() { awk -v key="$1:" '$1 == key { print $2 }' /proc/$vm/task/*/status | sort -u | xargs; }
walls() {
	same $1/filters 2 "$(every Seccomp)"
	same $1/no-new-privs 1 "$(every NoNewPrivs)"
	for set in CapPrm CapEff CapBnd CapAmb; do same $1/$set 0000000000000000 "$(every $set)"; done
	for ns in user pid mnt ipc net; do
		[ "$(readlink /proc/$vm/ns/$ns)" != "$(readlink /proc/self/ns/$ns)" ] && ok $1/$ns || not_ok $1/$ns
	done
	if ls -A /proc/$vm/root/ >"$T/root" 2>&1; then
		same $1/root "" "$(<"$T/root")"
	else
		skip $1/root "its user cannot look into a process that has confined itself"
	fi
	same $1/pid "$vm 1" "$(awk '$1 == "NSpid:" { print $2, $3 }' /proc/$vm/status)"
	same $1/core "0 0" "$(awk '/^Max core/ { print $5, $6 }' /proc/$vm/limits)"
	[ "$(awk '/^Max open files/ { print $5 }' /proc/$vm/limits)" -lt 5000 ] && ok $1/files || not_ok $1/files
	# Guest memory: not in dumps (dd), not in children (dc).
	if ! head -c 1 /proc/$vm/smaps >"$T/smaps" 2>&1; then
		skip $1/memory "its user cannot look into a process that has confined itself"
		return
	fi
	has $1/memory <(awk '/^[0-9a-f]+-/ { size = 0 } /^Size:/ { size = $2 } /^VmFlags:/ && size >= 65536 { print }' /proc/$vm/smaps) ' dc .*dd '
}
exec 9</etc/passwd
start "$LKVM" run -v -m 64 -c 2 -d "$T/disk,format=raw" --sandbox strict --flat "$flat" --port p=fd:8 8>"$T/port"
exec 9<&-
walls sandbox/strict
# What is open is what was named, the lock by which others find the VM, and what tells of its own memory; what the
# caller has open besides, the guest's image and the cache are not.
if is_host_root || ls /proc/$vm/fd >"$T/fds" 2>&1; then
	same sandbox/files "/dev/kvm /dev/null $T/disk $T/err $T/out $T/port own/pagemap own/statm" "$(find /proc/$vm/fd -lname '/*' -printf '%l\n' |
		grep -v "^$XDG_RUNTIME_DIR/lkvm/lkvm-$pid.lock\$" | sed -E 's|^/proc/[0-9]+/|own/|' | sort -u | xargs)"
else
	skip sandbox/files "its user cannot look into a process that has confined itself"
fi
same sandbox/strict-says-nothing "" "$(grep sandbox "$T/err")"
same sandbox/threads "$(printf '%s\n' lkvm vcpu0 vcpu1)" "$(sort /proc/$vm/task/*/comm | grep -v ^kvm-)"
# The one in front has its rights, files and system calls taken, too; it removes the VM's entry.
same sandbox/front "0000000000000000 1 2" "$(awk '/^(CapEff|NoNewPrivs|Seccomp:)/ { print $2 }' /proc/$pid/status | xargs)"
same sandbox/front-files "0 2 signalfd socket" "$(cd /proc/$pid/fd && for f in *; do
	[ $f -gt 2 ] || { echo $f; continue; }; readlink $f | grep -v "^/dev/\\|^$XDG_RUNTIME_DIR/lkvm" | sed 's/.*\(signalfd\|socket\).*/\1/'; done | sort | xargs)"
finish sandbox/strict-status
# As a user whose only right is /dev/kvm; the same walls.
if is_host_root; then
	d=$(mktemp -d /tmp/XXXXXX)
	cp "$LKVM" "$d/lkvm"; cp "$flat" "$d/guest"; cp "$T/disk" "$d/disk"; chmod -R a+rwX "$d"
	mknod -m 666 "$d/kvm" c 10 232
	start unshare -m sh -c "mount --bind $d/kvm /dev/kvm && exec \"\$@\"" sh setpriv --reuid 65534 --regid 65534 --clear-groups \
		"$d/lkvm" run -m 64 -d "$d/disk,format=raw" --sandbox strict --flat "$d/guest"
	walls sandbox/nobody
	finish sandbox/nobody-status
	rm -r "$d"
else
	skip sandbox/nobody "needs root"
fi

# ---- hosts that refuse ----
# refuse NAME LAYER REASON COMMAND...: runs without that layer, says so with -v, and not with strict.
refuse() {
	local name=$1 layer=$2 why=$3; shift 3
	timeout 20 "$@" "$LKVM" run -v -m 64 --flat "$ends" >"$T/out" 2>"$T/err" </dev/null
	same sandbox/$name 0 $?
	has sandbox/$name-said "$T/err" "^lkvm: sandbox: $layer: not used: $why$"
	timeout 20 "$@" "$LKVM" run -m 64 --flat "$ends" --sandbox strict >"$T/out" 2>"$T/err" </dev/null
	same sandbox/$name-strict 125 $?
	has sandbox/$name-strict-said "$T/err" "^lkvm: sandbox: ${first:-$layer: $why}$"
	same sandbox/$name-strict-no-guest "" "$(cat "$T/out")"
}
inject() { echo "strace -f -qq -o /dev/null -e trace=$1 -e inject=$1:error=$2${3:+:when=$3}"; }
refuse no-landlock Landlock 'Function not implemented' $(inject landlock_create_ruleset ENOSYS)
refuse landlock-not-booted Landlock 'Operation not supported' $(inject landlock_create_ruleset EOPNOTSUPP)
refuse no-filters 'system call filters' 'Invalid argument' $(inject seccomp EINVAL)
refuse no-pivot 'mount namespace' 'Operation not permitted' $(inject pivot_root EPERM)
if is_host_root; then
	# A container without user namespaces, as most are: with and without rights in it.
	no_user="unshare -r sh -c 'echo 0 >/proc/sys/user/max_user_namespaces; exec \"\$@\"' sh"
	eval "set -- $no_user"
	refuse container 'user namespace' 'No space left on device' "$@"
	eval "set -- $no_user setpriv --bounding-set=-all --inh-caps=-all --securebits +noroot,+noroot_locked"
	first='PID namespace: No space left on device'	# strict stops at the first
	refuse container-no-rights 'mount namespace' 'Operation not permitted' "$@"
else
	skip sandbox/container "needs root"
fi
# A filter that cannot be installed although the host has filters: nothing runs without it.
timeout 20 $(inject seccomp EINVAL 2+) "$LKVM" run -m 64 --flat "$flat" >"$T/out" 2>"$T/err" </dev/null
same sandbox/filter-fails "125 " "$? $(cat "$T/out")"
has sandbox/filter-fails-said "$T/err" '^lkvm: sandbox: filter of the '
