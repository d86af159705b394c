# SPDX-License-Identifier: GPL-2.0-only
# A stock kernel that is paused at random moments of its boot and of its command, 500 times in all, ends each time as
# one that is not.
# Only in check-all: guest/pauses has as many, at the exits of a guest that does the same each time.
# Modules of its kernels are in /lib/modules.
mkdir -p /run /tmp/r && cd /tmp/r
trap '' PIPE
cat >/work <<'C'
dmesg | grep -iE "lockup|stall|blocked for|hung|timed out"
echo "traces $(dmesg | grep -c "Call Trace")"	# an emulated CPU's start has one
sha256sum /g/cloud/initrd
exit 7
C
# begin CPUS: it runs, in $vm, and prints to out.
begin() { timeout 300 lkvm run --name r -c $1 -k /g/cloud/bzImage -- sh /work >out 2>err </dev/null & vm=$!; }
mkfifo requests answers
# Its socket, on descriptors 5 and 6, as soon as it answers.
talk() {
	local n=0
	until lkvm list | grep -q '^r .* running '; do n=$((n + 1)); [ $n -lt 1000 ] || return 1; usleep 10000; done
	socat - UNIX-CONNECT:/run/lkvm/r.sock <requests >answers 2>/dev/null &
	exec 5>requests 6<answers
}
# ask REQUEST: its answer is in $answer. False if it is gone.
ask() { echo "{\"v\":1,\"do\":\"$1\"}" >&5 && read -r answer <&6; } 2>/dev/null

begin 1
wait $vm; same pause-boot/without 7 $?
sum=$(cat out)
same pause-boot/says-nothing 2 "$(wc -l <out)"
pauses=0 boots=0
while [ $pauses -lt 500 ] && [ $boots -lt 50 ]; do
	boots=$((boots + 1)) before=$pauses
	begin $((1 + boots % 2))
	if talk; then
		while usleep $((RANDOM % 100 * 1000)); ask pause; do
			case $answer in
			*'"ok":true'*) pauses=$((pauses + 1)) ;;
			*'it is ending'*) break ;;
			*) not_ok pause-boot/pause "$answer"; break ;;
			esac
			ask resume || break
		done
		exec 5>&- 6<&-
	fi
	wait $vm; status=$?
	[ "$status $(cat out)" = "7 $sum" ] && [ $pauses -gt $before ] ||
		not_ok pause-boot/ends "boot $boots: $status, $((pauses - before)) pauses" "$(tail out err)"
done
[ $pauses -ge 500 ] && ok pause-boot/pauses || not_ok pause-boot/pauses "$pauses in $boots boots"
echo "# $pauses pauses in $boots boots"
