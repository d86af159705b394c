# SPDX-License-Identifier: GPL-2.0-only
# Runs in the emulated host for tests/host/matrix.
mkdir one
cat >one/cmd <<'C'
echo "== iomem"; cat /proc/iomem
echo "== text"; grep -m 1 ' _text$' /proc/kallsyms
echo "== dmesg"; dmesg | sed 's/^[^]]*] *//'
echo "== end"
C
(cd one && echo cmd | cpio -o -H newc 2>/dev/null | gzip >../one.gz)
part() { sed -n "/^== $1\$/,/^== /p" /tmp/out | grep -v '^=='; }
# go NAME SOURCE FOLDER CPUS PARAMETERS ARGUMENTS...
go() {
	local name=$1 source=$2 k=$3 cpus=$4 p=$5; shift 5
	run -v -c $cpus -m 256 -k /matrix/$k/bzImage -i /g/cloud/initrd -i one.gz -p "quiet do=poweroff $p" "$@"
	same matrix/$name "0 $cpus" "$status $(seen cpus)"
	has matrix/$name-source /tmp/err "^lkvm: $source"
	part iomem >iomem.now; part text >text.now
	part dmesg | grep -v 'clocksource: .*watchdog\|hrtimer: interrupt took' | sed 's/[0-9a-fx]*[0-9][0-9a-fx.]*/N/g' | sort -u >dmesg.now
}
for f in GZIP:gzip BZIP2:bzip2 LZMA:LZMA XZ:XZ LZO:LZO LZ4:LZ4 ZSTD:Zstandard; do
	said="kernel: ${f#*:}: " f=${f%:*}
	for kind in fixed relocatable; do
		k=$kind-$f
		cache="--kernel-cache /tmp/kc"
		go $k-guest booting $k 1 nokaslr --unpack guest
		for what in iomem text dmesg; do mv $what.now $what.guest; done
		go $k-host "$said" $k 1 nokaslr $cache
		for what in iomem text dmesg; do same matrix/$k-host-$what "" "$(diff $what.guest $what.now)"; done
		# The guest may have ended too soon to store it; then it is stored this time.
		run -m 256 -k /matrix/$k/bzImage -i /g/cloud/initrd -p "quiet do=poweroff" $cache
		go $k-cache 'kernel: from the cache: ' $k 1 nokaslr $cache
		for what in iomem text dmesg; do same matrix/$k-cache-$what "" "$(diff $what.guest $what.now)"; done
		go $k-4-cpus 'kernel: from the cache: ' $k 4 nokaslr $cache
		[ $kind = relocatable ] || continue
		for cpus in 1 4; do
			go $k-kaslr-$cpus 'kernel: from the cache: ' $k $cpus "" $cache
			# One of about 500 places: that all three are the usual one is one in 10^8.
			cat text.now >>text.kaslr.$f
		done
		go $k-kaslr-host "$said" $k 1 "" --kernel-cache off
		cat text.now >>text.kaslr.$f
		n=$(sort -u text.kaslr.$f text.guest | wc -l)
		[ $n -ge 3 ] && ok matrix/$k-kaslr-places || not_ok matrix/$k-kaslr-places "$(cat text.kaslr.$f)"
	done
done
