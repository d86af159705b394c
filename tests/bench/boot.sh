# SPDX-License-Identifier: GPL-2.0-only
# Runs in the emulated host (busybox sh): one row for each VMM, kernel $k with $c CPUs.
hist=/sys/kernel/tracing/events/kvm/kvm_exit
echo 'hist:keys=exit_reason.hex' >$hist/trigger

# count [REASON]: hits of one exit reason (SVM's codes), or of all.
count() {
	awk -v want="$1" '/exit_reason:/ { n = $NF; if (want == "" || $0 ~ "exit_reason: *" want " ") s += n } END { print s + 0 }' $hist/hist
}

up() { cut -d' ' -f1 /proc/uptime; }

# row KERNEL NAME COMMAND...
row() {
	local k=$1 name=$2 start end
	shift 2
	echo 'hist:keys=exit_reason.hex:clear' >>$hist/trigger
	start=$(up)
	"$@" >/tmp/out 2>/tmp/err </dev/null
	end=$(up)
	init=$(tr -d '\r' </tmp/out | sed -n 's/.*GUEST-INIT .*uptime=\([0-9.]*\) .*/\1/p')
	printf '%-12s %-28s %8s %6s %7s %7s %7s\n' $k "$name" \
		$(awk "BEGIN { printf \"%.2f\", $end - $start }") "${init:--}" $(count) $(count 400) $(count 7b)
}

g=/g/$k
p="quiet console=ttyS0 panic=-1"
boot="lkvm run -m 256 -k $g/bzImage -i $g/initrd -p quiet"
if [ $c = 1 ]; then
	row $k "lkvm, guest unpacks" $boot --unpack guest
	row $k "lkvm, no cache" $boot --kernel-cache off
	row $k "lkvm, cold cache" $boot --kernel-cache /tmp/kc
else
	$boot --kernel-cache /tmp/kc >/dev/null 2>&1
fi
$boot --kernel-cache /tmp/kc >/dev/null 2>&1	# the second time it is stored for certain
row $k "lkvm, warm cache, $c CPU" $boot --kernel-cache /tmp/kc -c $c
row $k "  same command line" lkvm run -m 256 -c $c -k $g/bzImage -i $g/initrd --kernel-cache /tmp/kc \
	--no-default-params -p "$p"
row $k "QEMU pc, $c CPU" qemu-system-x86_64 -M pc -accel kvm -cpu host -m 256 -smp $c -L /fw -nodefaults \
	-display none -serial stdio -no-reboot -kernel $g/bzImage -initrd $g/initrd -append "$p"
row $k "QEMU microvm, $c CPU" timeout 20 qemu-system-x86_64 -M microvm -accel kvm -cpu host -m 256 -smp $c -L /fw -nodefaults \
	-display none -serial stdio -no-reboot -kernel $g/bzImage -initrd $g/initrd -append "$p reboot=t"
[ ! -x /bin/peer ] || row $k "PEER, $c CPU" peer run -m 256 -c $c -k $g/bzImage -i $g/initrd -p "$p"
