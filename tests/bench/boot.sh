# SPDX-License-Identifier: GPL-2.0-only
# Runs in the emulated host (busybox sh): one row for each VMM, kernel $k with $c CPUs.
hist=/sys/kernel/tracing/events/kvm/kvm_exit
echo 'hist:keys=exit_reason.hex' >$hist/trigger

# count [REASON]: hits of one exit reason (SVM's codes), or of all.
count() {
	awk -v want="$1" '/exit_reason:/ { n = $NF; if (want == "" || $0 ~ "exit_reason: *" want " ") s += n } END { print s + 0 }' $hist/hist
}

up() { cut -d' ' -f1 /proc/uptime; }

# row NAME COMMAND...: measures, and keeps what it finds in /tmp/rows.
row() {
	local name=$1 start end
	shift
	echo 'hist:keys=exit_reason.hex:clear' >>$hist/trigger
	start=$(up)
	"$@" >/tmp/out 2>/tmp/err </dev/null
	end=$(up)
	init=$(tr -d '\r' </tmp/out | sed -n 's/.*GUEST-INIT .*uptime=\([0-9.]*\) .*/\1/p')
	echo "$name:$(awk "BEGIN { printf \"%.2f\", $end - $start }"):${init:--}:$(count):$(count 400):$(count 7b)" >>/tmp/rows
}

# median NAME COLUMN
median() {
	awk -F: -v name="$1" -v column=$2 '$1 == name { print $column }' /tmp/rows | sort -n |
		awk '{ v[NR] = $0 } END { print v[int((NR + 1) / 2)] }'
}

g=/g/$k
p="quiet console=ttyS0 panic=-1"
rounds=1	# of the same, where the clock counts instructions
[ $c = 1 ] || rounds=5
boot="lkvm run -m 256 -k $g/bzImage -i $g/initrd -p quiet"
if [ $c = 1 ]; then
	row "lkvm, guest unpacks" $boot --unpack guest
	row "lkvm, no cache" $boot --kernel-cache off
	row "lkvm, cold cache" $boot --kernel-cache /tmp/kc
	# If the first found no time to store it, the second does.
	row "lkvm, cold, second run" $boot --kernel-cache /tmp/kc
else
	$boot --kernel-cache /tmp/kc >/dev/null 2>&1
	$boot --kernel-cache /tmp/kc >/dev/null 2>&1
fi
for round in $(seq $rounds); do
	row "lkvm, warm cache, $c CPU" $boot --kernel-cache /tmp/kc -c $c
	row "  same command line" lkvm run -m 256 -c $c -k $g/bzImage -i $g/initrd --kernel-cache /tmp/kc \
		--no-default-params -p "$p"
	row "QEMU pc, $c CPU" qemu-system-x86_64 -M pc -accel kvm -cpu host -m 256 -smp $c -L /fw -nodefaults \
		-display none -serial stdio -no-reboot -kernel $g/bzImage -initrd $g/initrd -append "$p"
	row "QEMU microvm, $c CPU" timeout 60 qemu-system-x86_64 -M microvm -accel kvm -cpu host -m 256 -smp $c -L /fw -nodefaults \
		-display none -serial stdio -no-reboot -kernel $g/bzImage -initrd $g/initrd -append "$p reboot=t"
	[ ! -x /bin/peer ] || row "PEER, $c CPU" peer run -m 256 -c $c -k $g/bzImage -i $g/initrd -p "$p"
done
cut -d: -f1 /tmp/rows | awk '!seen[$0]++' | while IFS= read -r name; do
	printf '%-12s %-28s %8s %6s %7s %7s %7s\n' $k "$name" $(for i in 2 3 4 5 6; do median "$name" $i; done)
done
