# SPDX-License-Identifier: GPL-2.0-only
# A host of its own: it changes what namespaces do not keep apart, or was not seen to share one yet.
# Two hundred containers after each other leave the host as it was: each life ends in one of four ways.
# Modules of its kernels are in /lib/modules; the guests are cloud.
# Only in check-all: host/oci has two.
# Takes an hour at most; SOAK=20 tests/run host/oci-many: 20 of them.
ln -sf lkvm /bin/lkvm-oci
mkdir -p /etc/lkvm /r/bin /r/etc /ud/shm /b
{ echo "kernel = /g/cloud/bzImage"; echo "annotations = ignore"; ${WARM:+echo "warm = $WARM"}; } >/etc/lkvm/oci.conf
cp /bin/busybox /r/bin/
for l in sh sleep; do ln -sf busybox /r/bin/$l; done
for f in hosts hostname resolv.conf .containerenv; do echo >/ud/$f; done
mount -t tmpfs -o size=64000k shm /ud/shm
[ -e /sys/fs/cgroup/cgroup.procs ] || mount -t cgroup2 none /sys/fs/cgroup

# bundle ARGS: /b is podman's with this command.
bundle() {
	sed -e "s#^\"root\":.*#\"root\":{\"path\":\"/r\"},#" -e "s#^ \"args\":.*# \"args\":$1,#" \
		-e 's#/[a-z]*[a-z/]*/containers/storage/overlay-containers/00000000c0ffee02/userdata#/ud#' \
		/bundles/podman-run.config.json >/b/config.json
}
await() {
	i=0
	while ! grep -q "^$1 " /n 2>/dev/null && [ $i -lt 2400 ]; do sleep .1; i=$((i + 1)); done
	sed -n "s/^$1 //p" /n
}
create() {
	rm -f /n /p
	engine /n /p -- /bin/lkvm-oci create --bundle /b --pid-file /p $1 </dev/null >/tmp/out 2>/tmp/err &
	await created
}
oci() { env -i XDG_RUNTIME_DIR= /bin/lkvm-oci "$@" 2>/dev/null; }
# life K: how it ends, as a status.
life() {
	create c$1 >/tmp/created
	[ "$(cat /tmp/created)" = 0 ] || return
	case $(($1 % 4)) in
	0) oci delete --force c$1 ;;				# never started
	1) oci start c$1; await ended >/tmp/ended; oci delete c$1 ;;	# by itself
	2) oci start c$1; oci kill c$1 9; await ended >/tmp/ended; oci delete c$1 ;;
	3) kill -9 $(cat /p); await ended >/tmp/ended; oci delete --force c$1 ;;	# its holder is killed
	esac || echo delete failed
	await ended; await left
}
wanted() {
	case $(($1 % 4)) in
	1) echo 3 0 ;;
	*) echo 137 0 ;;
	esac
}
bundle '["sh","-c","exit 3"]'
life 1 >/dev/null	# what the first one makes for all
before=$(footprint)
fds=$(cut -f 1 /proc/sys/fs/file-nr)
good=0 all=$(cat /soak 2>/dev/null || echo 200)
for k in $(seq $all); do
	case $((k % 4)) in
	1) bundle '["sh","-c","exit 3"]' ;;
	*) bundle '["sh","-c","sleep 1000"]' ;;
	esac
	got=$(echo $(life $k))
	if [ "$got" = "$(wanted $k)" ]; then good=$((good + 1)); else not_ok many/$k "wanted [$(wanted $k)]" "got    [$got]" "$(cat /tmp/err)"; fi
done
same many/all-end-as-they-should $all $good
same many/leave-nothing "$before" "$(footprint)"
# Open files of the whole host, which the kernel counts in lots.
now=$(cut -f 1 /proc/sys/fs/file-nr)
[ $now -lt $((fds + 300)) ] && ok many/leave-no-open-file || not_ok many/leave-no-open-file "before $fds" "now $now"
