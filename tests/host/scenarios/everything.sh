# SPDX-License-Identifier: GPL-2.0-only
# Eight network cards, eight disks and eight ports at once; and the drivers that a guest
# lacks are named, once each and only for what the user asked for.
ip() { /bin/ip "$@"; }	# not busybox's
modprobe_tun
mkdir -p /tmp/e && cd /tmp/e
args= expect=
for i in 1 2 3 4 5 6 7 8; do
	ip tuntap add e$i mode tap; ip addr add 10.20.$i.1/24 dev e$i; ip link set e$i up
	truncate -s 1M d$i
	args="$args -n mode=tap,tapif=e$i -d d$i,format=raw --port p$i=file:o$i"
done
cat >cmd <<'C'
for i in 1 2 3 4 5 6 7 8; do
	n=$((i - 1)); d=$(echo abcdefgh | cut -c$i)
	ifconfig eth$n 10.20.$i.2 up
	ping -q -c 1 10.20.$i.1 >/dev/null && echo "NET eth$n"
	echo disk $i | dd of=/dev/vd$d conv=fsync 2>/dev/null && echo "NET vd$d"
	echo port $i >$(ls /dev/vport*p$i) && echo "NET port$i"
done
head -c 16 /dev/hwrng | wc -c | sed 's/^/NET rng/'
C
echo cmd | cpio -o -H newc 2>/dev/null | gzip >cmd.gz
want=$(for i in 1 2 3 4 5 6 7 8; do d=$(echo abcdefgh | cut -c$i); echo "eth$((i - 1)) vd$d port$i"; done; echo rng16)
for m in $(choose "cloud:pci:1 generic:mmio:2 generic612:pci:4" generic612:pci:1); do
	IFS=: read -r k t c <<M
$m
M
	rm -f o?
	run -c $c --transport $t -k /g/$k/bzImage -i /g/$k/initrd -i /g/$k/drivers -i cmd.gz $args -p "quiet do=poweroff"
	same "everything/$m" "0 $(echo $want)" "$status $(echo $(sed -n 's/^NET //p' /tmp/out))"
	same "everything/$m/ports" "port 1 port 2 port 3 port 4 port 5 port 6 port 7 port 8" "$(echo $(cat o?))"
	same "everything/$m/disks" "disk 1 disk 8" "$(echo $(head -c 6 d1) $(head -c 6 d8))"
	same "everything/$m/silent" 0 "$(grep -c 'did not use' /tmp/err)"
done

# No drivers at all: the transport's is named, once. (6.12 has those of PCI built in.)
for m in $(choose "cloud:pci cloud:mmio generic:pci" cloud:mmio); do
	k=${m%:*} t=${m#*:}
	run --transport $t -k /g/$k/bzImage -i /g/$k/initrd $args -p "quiet do=poweroff"
	same "everything/$m/no-transport" "0 1" "$status $(grep -c "^lkvm: virtio-$t: the guest did not look" /tmp/err)"
	same "everything/$m/no-transport-only" 0 "$(grep -c 'did not use' /tmp/err)"
done
# A kernel that knows nothing of PCI, or of ACPI: what helps is said, not what it has.
choose "pci pci=off --transport.mmio.--acpi.off
mmio acpi=off try.--acpi.off" "mmio acpi=off try.--acpi.off" >advice
while read -r m <&8; do
	set -- $m
	run --transport $1 -k /g/cloud/bzImage -i /g/cloud/initrd -i /g/cloud/drivers -d d1,format=raw -p "quiet do=poweroff $2"
	same "everything/$2-ends" 0 $status
	has "everything/$2-advice" /tmp/err "$3"
	same "everything/$2-only" "" "$(grep -o 'needs virtio_pci' /tmp/err)"
done 8<advice
# That of the transport, and no others: each kind once.
zcat /g/cloud/drivers | (mkdir -p x && cd x && cpio -id 2>/dev/null)
grep -E '^virtio(|_ring|_pci|_pci_modern_dev|_pci_legacy_dev).ko' x/mod/order >order; cp order x/mod/order
(cd x && find mod | cpio -o -H newc 2>/dev/null | gzip) >few.gz
run -k /g/cloud/bzImage -i /g/cloud/initrd -i few.gz $args --rng on -p "quiet do=poweroff"
same everything/missing "4 1 1 1 1" "$(grep -c 'did not use' /tmp/err) $(grep -c 'vda, .*, vdh: the guest' /tmp/err) $(
	grep -c 'net0, .*, net7: the guest' /tmp/err) $(grep -c 'console: the guest' /tmp/err) $(grep -c 'rng: the guest' /tmp/err)"
has everything/missing-advice /tmp/err 'virtio_net \(CONFIG_VIRTIO_NET\), built in or loaded by its initrd'
[ -e /full ] || { for i in 1 2 3 4 5 6 7 8; do ip link del e$i; done; return 0; }
# Nobody asked for random numbers.
run -k /g/cloud/bzImage -i /g/cloud/initrd -i few.gz -p "quiet do=poweroff"
same everything/not-asked 0 "$(grep -c 'did not' /tmp/err)"
for i in 1 2 3 4 5 6 7 8; do ip link del e$i; done
