# SPDX-License-Identifier: GPL-2.0-only
# What the scripts of tests/host/engines share.

# small_root: /rootfs, a container's root; and small VMs.
small_root() {
	mkdir -p /rootfs/bin /rootfs/etc /rootfs/tmp /rootfs/root /vol
	cp /bin/busybox /rootfs/bin/
	for l in sh true cat echo ls id sleep mount hostname ps nc stty tty pwd touch head grep rm; do ln -sf busybox /rootfs/bin/$l; done
	echo root:x:0:0::/root:/bin/sh >/rootfs/etc/passwd
	echo "memory = 256M" >/etc/lkvm/oci.conf
	[ -z "$WARM" ] || echo "warm = $WARM" >>/etc/lkvm/oci.conf
}

# warm_starts LEAST: so many VMs went on from a snapshot.
warm_starts() {
	[ -n "$WARM" ] || return 0
	starts=$(cat /root/.cache/lkvm/*.uses | wc -c)
	[ "$starts" -ge $1 ] && ok engines/warm-starts-of-$1 || not_ok engines/warm-starts "$starts" "$(ls -l /root/.cache/lkvm)"
}

# bounded COMMAND...: it ends. What a signal does not end is killed: a test goes on without it.
bounded() { timeout -k 10 240 "$@"; }

# call NAME STATUS COMMAND...: what it says is in /tmp/out and /tmp/err.
call() {
	name=$1 wanted=$2; shift 2
	bounded "$@" </dev/null >/tmp/out 2>/tmp/err
	same engines/$name "$wanted" $?
}
