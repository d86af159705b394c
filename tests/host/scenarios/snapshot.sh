# SPDX-License-Identifier: GPL-2.0-only
# Stock kernels at work are saved and go on elsewhere: nothing of their disk's is lost, and their kernels have
# nothing to say about it.

mkdir -p /run	# where VMs are found

# when SECONDS COMMAND...: as soon as it succeeds; fails if it never does.
when() { local n=$(($1 * 5)); shift; while ! "$@" 2>/dev/null; do n=$((n - 1)); [ $n -gt 0 ] || return 1; sleep 0.2; done; }

# The guest's work: each round writes one of sixteen pieces of its disk with a text of its own, and reads all
# that were written, behind caches. It ends after /rounds of them, and tells what its kernel had to say.
mkdir -p /tmp/c
cat >/tmp/c/cmd <<'C'
dmesg -c >/dev/null	# of an emulated CPU's start
echo 4 >/proc/sys/vm/drop_caches	# and without a word from now on
read -r rounds </rounds
n=0
while [ $n -lt $rounds ]; do
	yes "round $n of the work" | head -c 262144 >/piece
	dd if=/piece of=/dev/vda bs=64k seek=$((n % 16 * 4)) conv=fsync 2>/dev/null || echo "cannot write"
	sha256sum </piece >/sum$((n % 16))
	echo 3 >/proc/sys/vm/drop_caches
	for f in /sum*; do
		i=${f#/sum}
		dd if=/dev/vda bs=64k skip=$((i * 4)) count=4 2>/dev/null | sha256sum | cmp - $f || echo "piece $i has changed"
	done
	n=$((n + 1))
	echo "at $n $(date +%s)"
done
echo "forks $(dmesg | grep -c "virtual machine fork")"
dmesg | grep -iE "lockup|stall|unstable|blocked for|call trace|BUG|error|warn|backwards"
echo "done $n"
C
# pack ROUNDS: the initrd with that, /tmp/c.cpio.
pack() { echo $1 >/tmp/c/rounds; (cd /tmp/c && find . | cpio -o -H newc) >/tmp/c.cpio 2>/dev/null; }
# rounds FILE; reached FILE N.
rounds() { grep -c '^at ' $1; }
reached() { [ "$(rounds $1)" -ge $2 ]; }
# begin NAME ARGUMENTS...: lkvm run --name NAME in the background, its console in /tmp/NAME.
begin() {
	local name=$1; shift
	timeout 600 lkvm run --name $name "$@" >/tmp/$name 2>/tmp/$name.err </dev/null & pid=$!
}
# saved TEST NAME DIR ARGUMENTS...
saved() {
	local test=$1; shift
	lkvm snapshot "$@" >/tmp/said 2>&1; same snapshot/$test "0 " "$? $(cat /tmp/said)"
}
# finishes TEST ROUNDS FILE...: the first of $pids has ended, the work is done, told in these files one after the other, and nothing else.
finishes() {
	local test=$1 want=$2 rc; shift 2
	wait ${pids%% *}; rc=$?; pids=${pids#* }
	same snapshot/$test 0 $rc
	cat "$@" | tr -d '\r' >/tmp/all
	same snapshot/$test-rounds "$(seq $want) done $want" "$(sed -n 's/^at \([0-9]*\) .*/\1/p' /tmp/all) $(grep '^done' /tmp/all)"
	same snapshot/$test-says-nothing "" "$(sed '1,/^GUEST-INIT/d' /tmp/all | grep -vE '^(at |done|forks |GUEST-CMD status=0)')"
}

# Debian's cloud kernel 6.1 has no driver for the generation ID.
forks() { case $1 in cloud) echo "forks 0" ;; *) echo "forks 1" ;; esac; }
clones=$(choose "1 2 3" "1 2")
# goes_on KERNEL TRANSPORT CPUS ROUNDS: saved while it works, it goes on; then with --stop, and elsewhere, some
# times at once, with other disks of the same bytes under other names.
goes_on() {
	local k=$1 t=$2 c=$3 rounds=$4 test=$1-$2-$3 n= pids=
	pack $rounds
	rm -f /tmp/disk*; truncate -s 4M /tmp/disk
	begin first -k /g/$k/bzImage -i /g/$k/initrd -i /g/$k/drivers -i /tmp/c.cpio -d /tmp/disk,format=raw -c $c -m 192 \
		--transport $t -p "quiet do=poweroff"
	when 240 reached /tmp/first 2 || not_ok snapshot/$test-starts "$(tail /tmp/first /tmp/first.err)"
	saved $test-saved first /tmp/s
	n=$(rounds /tmp/first)
	when 100 reached /tmp/first $((n + 2)) || not_ok snapshot/$test-went-on "$(tail /tmp/first /tmp/first.err)"
	saved $test-stopped first /tmp/s --stop
	wait $pid; same snapshot/$test-status 0 $?
	sum=$(sha256sum </tmp/s/snapshot)
	for n in $clones; do
		cp /tmp/disk /tmp/disk$n
		begin clone$n --restore /tmp/s -d /tmp/disk$n,format=raw
		pids="$pids$pid "
	done
	rm /tmp/disk
	for n in $clones; do
		finishes $test-clone-$n $rounds /tmp/first /tmp/clone$n
		same snapshot/$test-clone-$n-knows "$(forks $k)" "$(tr -d '\r' </tmp/clone$n | grep '^forks')"
	done
	same snapshot/$test-untouched "$sum" "$(sha256sum </tmp/s/snapshot)"
}
goes_on cloud pci 1 14

[ -e /full ] || return 0
goes_on cloud mmio 4 20
goes_on cloud612 mmio 1 20
goes_on cloud612 pci 4 20
goes_on generic pci 4 20
goes_on generic612 mmio 4 20
