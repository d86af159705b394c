# SPDX-License-Identifier: GPL-2.0-only
# What the exit status says: ways to end x consoles x kernels. A crash is never 0, an orderly end
# never 255. Here each of them once (host/ending has a triple fault); with FULL=1 all with all, also on
# small kernels that never say anything (tests/host/small).
mkdir -p /tmp/s/r && cd /tmp/s
cat >r/end <<'I'
#!/bin/busybox sh
export PATH=/bin
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t debugfs debug /sys/kernel/debug 2>/dev/null
/bin/busybox --install -s /bin
[ -f /mod/order ] && while read -r m; do insmod "/mod/$m" 2>/dev/null; done </mod/order
read -r line </proc/cmdline
for w in $line; do case $w in do=*) end=${w#do=} ;; esac; done
case " $line " in *" cursor "*) printf "all tests passed" >/dev/console ;; esac
case $end in
panic) echo c >/proc/sysrq-trigger ;;
oops) [ ! -e /oops.ko ] || insmod /oops.ko; echo BUG >/sys/kernel/debug/provoke-crash/DIRECT ;;
exit) exit 0 ;;
poweroff) poweroff -f ;;
halt) halt -f ;;
*) reboot -f ;;
esac
sleep 1000
I
chmod 755 r/end
# ending KERNEL END CONSOLE CPUS: how it ends, and what the machine says about that.
ending() {
	local k=$1 end=$2 console=$3 cpus=$4 want=255 how=panic p=console=ttyS0 a=
	local i="-i /g/$k/initrd -i /g/$k/drivers -i /tmp/s/$k.gz"
	case $end in reboot) want=0 how=reset ;; poweroff|halt) want=0 how=poweroff ;; triple) how=triple-fault ;; esac
	case $end in
	triple) p="$p reboot=t" ;;
	oops) p="$p oops=panic" ;;
	noroot) i= p="$p root=/dev/nowhere" ;;
	esac
	case $console in
	hvc0) a="--console virtio" p="console=hvc0 ${p#* }" ;;
	both) a="--console virtio" p="console=hvc0 $p" ;;
	none) p="8250.nr_uarts=0 $p" ;;
	loglevel) p="$p loglevel=0" ;;
	cursor) p="$p cursor" ;;
	esac
	run -v -k /g/$k/bzImage $i -c $cpus -m 256 $a --no-default-params --json /tmp/json \
		-p "panic=-1 pci=noearly cryptomgr.notests rdinit=/end quiet $p do=$end"
	same "status/$k/$end/$console" "$want $how" "$status $(sed 's/.*"outcome":"\([^"]*\)".*/\1/' /tmp/json)"
	grep 'at its end' /tmp/err | sed "s/^/# $k $end $console: /"
}
# prepare KERNEL: its init, with a module whose loading is an oops.
prepare() {
	[ ! -e $1.gz ] || return
	[ -e /g/$1/initrd ] || cp /g/cloud/initrd /g/$1/initrd
	[ -e /g/$1/drivers ] || : >/g/$1/drivers
	rm -f r/oops.ko
	[ ! -e /g/$1/oops.ko ] || cp /g/$1/oops.ko r/
	(cd r && find . | cpio -o -H newc 2>/dev/null | gzip -1) >$1.gz
}
if [ -e /full ]; then
	n=0
	for k in $(ls /g); do
		for end in panic oops exit noroot triple reboot poweroff halt; do
			for console in serial hvc0 both none loglevel cursor; do
				prepare $k
				ending $k $end $console $((1 + n % 2))
				n=$((n + 1))
			done
		done
	done
	return
fi
for e in cloud:exit:cursor:2 cloud:oops:none:2 cloud:poweroff:hvc0:1 cloud612:reboot:none:1 \
	cloud612:noroot:loglevel:1 generic:panic:hvc0:1 i686:halt:both:1; do
	IFS=: read -r k end console cpus <<M
$e
M
	prepare $k
	ending $k $end $console $cpus
done
