# SPDX-License-Identifier: GPL-2.0-only
# Sourced by every test script. A test reports each property in one line:
# "ok NAME", "not ok NAME" (details follow as "# ...") or "skip NAME: reason".
# LKVM is the binary under test, T a fresh folder that is removed afterwards.
#
# Where they run, starting a program costs as much as a VM does: an emulated CPU. So what is done often
# (waiting, looking at a clock) starts none.

set -u
FULL=${FULL:-}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Running VMs are found in run, and no test finds another's.
T=$scratch/t XDG_RUNTIME_DIR=$scratch/run
export XDG_RUNTIME_DIR
chmod 711 "$scratch"; mkdir -m 700 "$T" "$XDG_RUNTIME_DIR"
mkfifo "$scratch/never"	# nothing ever comes from it
# Unpacked kernels are kept here, and no test finds another's.
export XDG_CACHE_HOME=$T/xdg-cache

ok() { echo "ok $1"; }
not_ok() { echo "not ok $1"; shift; printf '%s\n' "$@" | sed 's/^/# /'; }
skip() { echo "skip $1: $2"; }

# same NAME WANT GOT
same() {
	if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "wanted [$2]" "got    [$3]"; fi
}

# has NAME FILE PATTERN: a line of FILE matches the extended regular expression.
has() {
	if grep -qE -- "$3" "$2"; then ok "$1"; else not_ok "$1" "no line matches [$3] in:" "$(head -c 2000 "$2")"; fi
}

# An emulated CPU needs longer; of all of something its guests try every 13th, unless FULL=1.
patience=60 every=1
if grep -q "QEMU TCG" /proc/cpuinfo 2>/dev/null; then
	patience=240
	[ -n "$FULL" ] || every=13
fi

# run ARGUMENTS...: lkvm run with output in $T/out and $T/err, status in $status, whole
# seconds in $seconds.
# Every run has a time limit, so that a hang is a failure and not a wait.
run() {
	local start end
	clock_ms start
	timeout -k 12 "${LIMIT:-$patience}" "$LKVM" run "$@" >"$T/out" 2>"$T/err" </dev/null
	status=$?
	clock_ms end
	seconds=$(((end - start) / 1000))
}

# few_lines NAME PATTERN: a guest gets ten lines of a kind in each second, and one about the rest.
few_lines() {
	local lines
	lines=$(grep -cE "$2" "$T/err")
	[ "$lines" -le $((11 * (seconds + 2))) ] || not_ok "$1" "$lines lines in $seconds s" "$(head -n 5 "$T/err")"
}

# is_host_root: root, and not only of a user namespace.
is_host_root() { [ "$(id -u)" = 0 ] && mknod "$T/device" c 1 3 2>/dev/null && rm "$T/device"; }

# has_pid_namespaces: this user can make one here, if need be in a user namespace.
has_pid_namespaces() { unshare -p -f true 2>/dev/null || unshare -U -p -f true 2>/dev/null; }

# vm_of PID: the process that the VM runs in, of an lkvm that was started as PID: its child, if the
# sandbox has a PID namespace.
vm_of() { pgrep -P "$1" -x lkvm || echo "$1"; }

# clock_ms NAME: sets it to the milliseconds of a clock that only goes forward.
clock_ms() {
	local up idle
	read -r up idle </proc/uptime
	printf -v "$1" %d $((10#${up/./} * 10))
}
now_ms() { local now; clock_ms now; echo $now; }

# pause_for SECONDS
pause_for() { read -rt "$1" <>"$scratch/never" || true; }

# wait_for SECONDS COMMAND...: until it succeeds; fails if it never does.
wait_for() {
	local now end
	clock_ms now
	end=$((now + $1 * 1000)); shift
	until "$@" 2>/dev/null; do
		clock_ms now
		[ $now -lt $end ] || return 1
		pause_for 0.02
	done
}

# The attacks of a guest in tests/guest, those on all devices included.
attacks_of() { attacks_in "$1"; attacks_in tests/lib/virtio-attacks.h; }
attacks_in() { grep -o '\bATTACK([a-z_0-9]*)' "$1" | sed 's/ATTACK(\(.*\))/\1/' | grep -v '^name$'; }

# How many CPUs an attack takes.
cpus_of() { [ "${1#race}" = "$1" ] && echo 1 || echo 2; }

# over TRANSPORT NUMBER ATTACK: whether the attack that is NUMBER in its list is tried over it here. All are
# over both; in an emulated host each over one in turn, since most are on what comes after the transport. Those
# that every device has to survive are on what comes before it: there each is on two of the four devices, on one
# over PCI.
over() {
	local number=$2 device
	[ "$every" != 1 ] || return 0
	[ -n "$shared" ] || shared=" $(echo $(attacks_in tests/lib/virtio-attacks.h)) "
	case $shared in
	*" $3 "*)
		case ${GUESTS##*/} in virtio-blk) device=0 ;; virtio-console) device=1 ;; virtio-net) device=2 ;; *) device=3 ;; esac
		number=$(words ${shared%% $3 *})
		[ $(((number + device) % 2)) = 0 ] || return 1
		number=$((number / 2 + device / 2))
	esac
	case $3 in
	*msix* | *bars* | config_*) [ "$1" = pci ] ;;
	*) [ "$1" = "$([ $((number % 2)) = 1 ] && echo pci || echo mmio)" ] ;;
	esac
}
shared=
words() { echo $#; }
