# SPDX-License-Identifier: GPL-2.0-only
# A stock kernel finds the same machine whoever unpacked it: its own stub, the host, or
# the host some time ago (the cache). With KASLR it is placed by chance all three ways.
mkdir one
# Packed, for the serial port: a byte of it takes up to a millisecond here, and a guest that prints for
# more than 20 s has complaints of its own.
cat >one/cmd <<'C'
{
echo "== iomem"; cat /proc/iomem
echo "== params"; od -An -v -tx1 -w16 /sys/kernel/boot_params/data
echo "== text"; grep -m 1 ' _text$' /proc/kallsyms
echo "== page_offset"; grep -m 1 'D page_offset_base$' /proc/kallsyms
echo "== flags"; grep -m 1 ^flags /proc/cpuinfo
echo "== dmesg"; dmesg | sed 's/^[^]]*] *//'
echo "== end"
} >/found
echo "== found"; gzip -9 </found | base64; echo "== packed"
C
(cd one && echo cmd | cpio -o -H newc 2>/dev/null | gzip >../one.gz)
part() {
	sed -n '/^== found$/,/^== packed$/p' /tmp/out | grep -v '^==' | base64 -d | gunzip |
		sed -n "/^== $1\$/,/^== /p" | grep -v '^=='
}
# way NAME KERNEL CPUS SOURCE ARGUMENTS...: boots it, and keeps what the guest has found.
way() {
	local name=$1 k=$2 cpus=$3 source=$4; shift 4
	run -v -c $cpus -m 512 -k /g/$k/bzImage -i /g/$k/initrd -i one.gz -p "quiet nokaslr do=poweroff" "$@"
	same "ways/$k-$cpus-$name" "0 $cpus" "$status $(seen cpus)"
	has "ways/$k-$cpus-$name-source" /tmp/err "^lkvm: $source"
	part iomem >iomem.$cpus.$name; part params >params.$cpus.$name; part flags >flags.$cpus.$name
	# Numbers differ with the time; the messages do not, but for complaints of a slow host.
	part dmesg | grep -v 'clocksource: .*watchdog\|hrtimer: interrupt took\|sched: DL replenish lagged' | sed 's/[0-9a-fx]*[0-9][0-9a-fx.]*/N/g' | sort -u >dmesg.$cpus.$name
	has "ways/$k-$cpus-$name-found" dmesg.$cpus.$name '^Linux version N'
}
alike() {
	for what in iomem params flags dmesg; do
		same "ways/$k-$1-$2-$what" "" "$(diff $what.$1.guest $what.$1.$2)"
	done
}
for k in $(choose "cloud generic cloud612 generic612" cloud); do
	cache="--kernel-cache /tmp/kc-$k"
	unpacked='kernel: (LZ4|XZ|Zstandard): '
	way guest $k 1 booting --unpack guest
	way host $k 1 "$unpacked" $cache
	# The guest may have ended too soon to store it; then it is stored this time.
	run -c 1 -m 512 -k /g/$k/bzImage -i /g/$k/initrd -p "quiet do=poweroff" $cache
	way warm $k 1 'kernel: from the cache: ' $cache
	alike 1 host
	alike 1 warm
	case $k$(choose '' -few) in cloud | generic612)
		way guest $k 4 booting --unpack guest
		way warm $k 4 'kernel: from the cache: ' $cache
		alike 4 warm
	esac
	# By chance, with the flag that says so.
	for from in warm $(choose "warm warm warm guest host host"); do
		case $from in guest) args="--unpack guest" ;; host) args="--kernel-cache off" ;; warm) args=$cache ;; esac
		run -m 512 -k /g/$k/bzImage -i /g/$k/initrd -i one.gz -p "quiet do=poweroff" $args
		flags=$(part params | sed -n 34p | awk '{print $2}')
		echo "$from $status phys=$(part iomem | sed -n 's/^ *\([0-9a-f]*\)-.*Kernel code/\1/p') text=$(part text | cut -d' ' -f1) flag=$((0x${flags:-0} & 2))"
		[ -n "$flags" ] || { head -c 1000 /tmp/out; tail -n 5 /tmp/err; }	# shown below
	done >places
	same "ways/$k-kaslr-status" "" "$(grep -v ' 0 phys=[0-9a-f]* text=[0-9a-f]* flag=2$' places)"
	for what in phys text; do
		n=$(grep ^warm places | sed "s/.*$what=\([^ ]*\).*/\1/" | sort -u | wc -l)
		# Of about 230 and 480 places: that two are the same happens; three are not.
		# Otherwise one has to be enough: guest/unpack has eight of a kernel of its own.
		[ $n -ge 2 ] || [ ! -e /full ] && ok "ways/$k-kaslr-$what" || not_ok "ways/$k-kaslr-$what" "$(cat places)"
		same "ways/$k-kaslr-$what-aligned" "" "$(sed "s/.*$what=\([^ ]*\).*/\1/" places | grep -v '[02468ace]00000$')"
	done
done
