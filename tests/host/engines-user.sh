# SPDX-License-Identifier: GPL-2.0-only
# podman of an ordinary user, who has nothing but /dev/kvm and /dev/net/tun, with lkvm-oci; run by tests/host/engines.

P="podman --cgroup-manager cgroupfs --events-backend file --runtime /usr/bin/lkvm-oci"
useradd -m -u 1001 user
mkdir -p /run/user/1001
chown 1001:1001 /run/user/1001
chmod 700 /run/user/1001
chmod 666 /dev/kvm /dev/net/tun
mount --make-shared /
cat >/usr/bin/as_user <<S
#!/bin/sh
exec setpriv --reuid 1001 --regid 1001 --clear-groups env HOME=/home/user XDG_RUNTIME_DIR=/run/user/1001 "\$@"
S
chmod 755 /usr/bin/as_user
small_root
tar -C /rootfs -cf /tmp/bb.tar .
chmod 644 /tmp/bb.tar
cd /home/user
as_user podman --cgroup-manager cgroupfs --events-backend file import -q /tmp/bb.tar bb >/dev/null
call user-run 7 as_user $P run --rm --network none bb sh -c 'id -u; grep -c . /proc/version; exit 7'
same engines/user-run-output "0 1" "$(echo $(cat /tmp/out))"
call user-no-program 127 as_user $P run --rm --network none bb nix
call user-run-d 0 as_user $P run --network none -d --name c1 bb sh -c 'echo log; trap "exit 5" TERM; while :; do sleep .1; done'
call user-exec 5 as_user $P exec c1 sh -c 'echo in; exit 5'
has engines/user-exec-output /tmp/out '^in$'
call user-logs 0 as_user $P logs c1
has engines/user-logs-output /tmp/out '^log$'
call user-stop 0 as_user $P stop -t 10 c1
call user-stop-status 0 as_user $P inspect -f '{{.State.ExitCode}}' c1
has engines/user-stop-status-output /tmp/out '^5$'
call user-rm 0 as_user $P rm c1

# A network: passt in the one that slirp4netns makes. Ports that the container serves are said by an annotation.
call user-web 0 as_user $P run -d --name web -p 8080:8000 --annotation lkvm.publish=8000 bb \
	sh -c 'while :; do echo page | nc -l -p 8000; done'
i=0; while ! busybox nc -w 5 127.0.0.1 8080 </dev/null 2>/dev/null | grep -q page && [ $i -lt 60 ]; do sleep 1; i=$((i + 1)); done
[ $i -lt 60 ]; same engines/user-published 0 $?
call user-rm-web 0 as_user $P rm -f -t 1 web
# The host's own address, as slirp4netns shows it.
(while :; do echo banner | busybox nc -l -p 9000; done) & server=$!
call user-outwards 0 as_user $P run --rm --network slirp4netns:allow_host_loopback=true bb sh -c 'echo | nc -w 20 10.0.2.2 9000'
has engines/user-outwards-output /tmp/out '^banner'
kill $server
call user-bad-ports 126 as_user $P run --rm --annotation lkvm.publish=80x bb true
has engines/user-bad-ports-says-why /tmp/err 'annotations.lkvm.publish: it has ports'
call user-network-none-has-none 1 as_user $P run --rm --network none --annotation lkvm.publish=80 bb sh -c 'echo | nc -w 5 10.0.2.2 9000'
same engines/user-leaves-nothing "" "$(busybox ps | grep '[l]kvm-oci\|[p]asst'; ls /run/user/1001/lkvm-oci)"
