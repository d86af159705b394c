# SPDX-License-Identifier: GPL-2.0-only
# podman as it is on a host with systemd, which makes the control groups of containers; run by tests/host/engines.
# The first process is systemd.

P="podman --events-backend file --runtime /usr/bin/lkvm-oci"
small_root
tar -C /rootfs -c . | podman --events-backend file import -q - bb >/dev/null
call systemd-manager 0 $P info -f '{{.Host.CgroupManager}}'
has engines/systemd-manager-output /tmp/out '^systemd$'
call systemd-run 7 $P run --rm --network none bb sh -c 'echo out; exit 7'
has engines/systemd-run-output /tmp/out '^out$'
call systemd-run-d 0 $P run -d --name c1 --network none -m 200m --memory-swap 300m --cpus 0.5 --cpuset-cpus 0 bb sh -c 'trap "exit 5" TERM; while :; do sleep .1; done'
id=$(bounded $P inspect -f '{{.Id}}' c1)
scope=libpod-$id.scope
call systemd-knows-it 0 systemctl show -p ActiveState -p AllowedCPUs -p Slice -p Delegate -p MemoryMax -p CPUQuotaPerSecUSec $scope
same engines/systemd-knows-its-limits "ActiveState=active AllowedCPUs=0 CPUQuotaPerSecUSec=500ms Delegate=yes MemoryMax=343932928 Slice=machine.slice" \
	"$(echo $(sort /tmp/out))"
g=/sys/fs/cgroup/machine.slice/$scope
for p in $(cat $g/cgroup.procs); do cat /proc/$p/comm; done >/tmp/out
same engines/systemd-has-all-of-its-processes "$(busybox ps | grep '[l]kvm-oci' | wc -l)" "$(grep -c . /tmp/out)"
systemctl daemon-reload
same engines/systemd-keeps-its-limits "343932928 50000 100000 0" "$(cat $g/memory.max) $(cat $g/cpu.max) $(cat $g/cpuset.cpus)"
call systemd-update 0 $P update --cpus 0.25 c1
systemctl daemon-reload
same engines/systemd-updates "25000 100000" "$(cat $g/cpu.max)"
call systemd-exec 5 $P exec c1 sh -c 'exit 5'
call systemd-stop 0 $P stop -t 10 c1
call systemd-stop-status 0 $P inspect -f '{{.State.ExitCode}}' c1
has engines/systemd-stop-status-output /tmp/out '^5$'
same engines/systemd-scope-is-gone "" "$(ls -d $g 2>/dev/null)"
call systemd-start 0 $P start c1
call systemd-rm-f 0 $P rm -f -t 0 c1
call systemd-pod-create 0 $P pod create --name pod1
call systemd-pod-run 6 $P run --rm --pod pod1 bb sh -c 'hostname; exit 6'
has engines/systemd-pod-run-output /tmp/out '^pod1$'
call systemd-pod-rm 0 $P pod rm -f -t 2 pod1
same engines/systemd-leaves-nothing "" "$(busybox ps | grep '[l]kvm-oci'; ls /run/lkvm-oci; systemctl list-units --plain --no-legend '*.scope' | grep libpod)"
