# SPDX-License-Identifier: GPL-2.0-only
# Engines' own programs with lkvm-oci as their runtime; run by tests/host/engines in a Debian system.

P="podman --cgroup-manager cgroupfs --events-backend file --runtime /usr/bin/lkvm-oci"
small_root
echo volume >/vol/f
tar -C /rootfs -c . | podman --cgroup-manager cgroupfs --events-backend file import -q - bb >/dev/null

# ---- podman ----
call podman-run 7 $P run --rm --network none bb sh -c 'echo out; grep Seccomp: /proc/self/status; grep -c . /proc/version; exit 7'
same engines/podman-run-output "out Seccomp: 2 1" "$(echo $(cat /tmp/out))"
call podman-no-program 127 $P run --rm --network none bb nix
call podman-not-executable 126 $P run --rm --network none bb /etc/passwd
call podman-run-d 0 $P run -d --name c1 --network none bb sh -c 'trap "exit 5" TERM; echo log; while :; do sleep .1; done'
call podman-exec 5 $P exec c1 sh -c 'echo in; echo err >&2; exit 5'
same engines/podman-exec-output "in err" "$(echo $(cat /tmp/out /tmp/err | head -n 2))"
call podman-exec-t 0 $P exec -t c1 tty
has engines/podman-exec-t-output /tmp/out '^/dev/pts/0'
call podman-exec-no-program 127 $P exec c1 nix
call podman-logs 0 $P logs c1
has engines/podman-logs-output /tmp/out '^log$'
call podman-top 0 $P top c1
same engines/podman-top-alone 2 "$(grep -c . /tmp/out)"
call podman-inspect 0 $P inspect -f '{{.State.Status}}' c1
has engines/podman-inspect-output /tmp/out '^running$'
call podman-pause 0 $P pause c1
call podman-unpause 0 $P unpause c1
call podman-stop 0 $P stop -t 10 c1
call podman-stop-status 0 $P inspect -f '{{.State.ExitCode}}' c1
has engines/podman-stop-status-output /tmp/out '^5$'
call podman-start 0 $P start c1
call podman-rm-f 0 $P rm -f -t 0 c1
call podman-limits 3 $P run --rm --network none --read-only -v /vol:/v:ro -m 200m --cpus 1 -u 5:6 -w /tmp -e A=b bb \
	sh -c 'cat /v/f; pwd; id -u; id -g; echo $A; touch /x; touch /v/y; touch /tmp/z && echo z; exit 3'
same engines/podman-limits-output "volume /tmp 5 6 b z" "$(echo $(cat /tmp/out))"
same engines/podman-volume-is-unchanged f "$(ls /vol)"
call podman-writable-volume 126 $P run --rm --network none -v /vol:/v bb true
has engines/podman-writable-volume-says-why /tmp/err 'a directory of the host cannot be written from a VM'
call podman-host-network 126 $P run --rm --network host bb true
has engines/podman-host-network-says-why /tmp/err "a VM cannot share the host.s network"
call podman-run-t 0 $P run -t --rm --network none bb tty
has engines/podman-run-t-output /tmp/out '^/dev/pts/0'

# A person at a terminal, a check of health, and a container that is started again.
printf 'words\n' | bounded script -qec "$P run -it --rm --network none bb sh -c 'tty; read x; echo got \$x; exit 4'" /dev/null >/tmp/out 2>/tmp/err
same engines/podman-it 4 $?
# Before it there may be an echo: at the end of its input script types what the terminal's end-of-file key is by then.
has engines/podman-it-terminal /tmp/out '/dev/pts/0.?$'
has engines/podman-it-input /tmp/out '^got words'
call podman-health 0 $P run -d --name h1 --network none --health-cmd 'cat /tmp/well' --health-interval disable bb sh -c 'touch /tmp/well; while :; do sleep .1; done'
i=0; until bounded $P exec h1 cat /tmp/well >/dev/null 2>&1 || [ $i = 60 ]; do sleep 1; i=$((i + 1)); done
call podman-healthy 0 $P healthcheck run h1
call podman-sickens 0 $P exec h1 rm /tmp/well
call podman-sick 1 $P healthcheck run h1
call podman-health-rm 0 $P rm -f -t 0 h1
call podman-restart 0 $P run -d --name r1 --network none --restart on-failure:2 bb sh -c 'echo once; exit 1'
i=0; until [ "$(bounded $P logs r1 2>&1 | grep -c once)" = 3 ] || [ $i = 90 ]; do sleep 1; i=$((i + 1)); done
call podman-restarted 0 $P logs r1
same engines/podman-restarted-twice "once once once" "$(echo $(cat /tmp/out))"
i=0; until [ "$(bounded $P inspect -f '{{.State.Status}}' r1)" = exited ] || [ $i = 60 ]; do sleep 1; i=$((i + 1)); done
call podman-restart-gives-up 0 $P inspect -f '{{.RestartCount}} {{.State.ExitCode}}' r1
has engines/podman-restart-gives-up-output /tmp/out '^2 1$'
call podman-restart-rm 0 $P rm r1

# A disk of the host; one that is in use there is the host's.
modprobe brd rd_nr=1 rd_size=2048; echo on the disk >/dev/ram0
call podman-device 0 $P run --rm --network none --device /dev/ram0:/dev/data bb sh -c 'busybox head -n 1 /dev/data; echo written >/dev/data'
has engines/podman-device-output /tmp/out '^on the disk$'
same engines/podman-device-is-written written "$(head -n 1 /dev/ram0)"
call podman-device-read-only 1 $P run --rm --network none --device /dev/ram0:/dev/data:r bb sh -c 'echo x >/dev/data'
call podman-device-of-the-host 126 $P run --rm --network none --device /dev/vda bb true
has engines/podman-device-of-the-host-says-so /tmp/err 'linux.devices: /dev/vda: the disk .* cannot be lent: it is in use'

# A network: from the host, from another container, and by a server that speaks first.
call podman-web 0 $P run -d --name web -p 8080:80 bb sh -c 'while :; do echo page | nc -l -p 80; done & while :; do echo banner | nc -l -p 81; done'
ip=$(bounded $P inspect -f '{{.NetworkSettings.IPAddress}}' web)
# Each connection ends a server, and its successor takes a moment.
for to in "$ip 80" "127.0.0.1 8080"; do
	i=0; while ! busybox nc -w 5 $to </dev/null 2>/dev/null | grep -q page && [ $i -lt 60 ]; do sleep 1; i=$((i + 1)); done
	[ $i -lt 60 ]; same "engines/web-at-${to#* }" 0 $?
done
same engines/server-speaks-first banner "$(busybox nc -w 20 $ip 81 </dev/null | head -n 1)"
call podman-other-container 0 $P run --rm bb sh -c "echo | nc -w 20 $ip 81"
has engines/podman-other-container-output /tmp/out '^banner'
call podman-cp-never-the-hosts 125 $P cp web:/etc/debian_version /tmp/x
same engines/cp-left-nothing "" "$(ls /tmp/x 2>/dev/null)"
call podman-stats 0 $P stats --no-stream web
call podman-kill 0 $P kill -s KILL web
call podman-kill-status 0 $P wait web
has engines/podman-kill-status-output /tmp/out '^137$'
call podman-rm-web 0 $P rm -f web

# ---- podman's pods: one VM each, localhost between its containers ----
call podman-pod-create 0 $P pod create --name pod1 -p 8081:81
call podman-pod-run-d 0 $P run -d --pod pod1 --name s1 bb sh -c 'while :; do echo page | nc -l -p 80; done & while :; do echo out | nc -l -p 81; done'
call podman-pod-run 6 $P run --rm --pod pod1 bb sh -c 'until nc localhost 80 </dev/null | grep page; do sleep .2; done; hostname; grep -c . /proc/version; exit 6'
same engines/podman-pod-run-output "page pod1 1" "$(echo $(cat /tmp/out))"
i=0; while ! busybox nc -w 5 127.0.0.1 8081 </dev/null 2>/dev/null | grep -q out && [ $i -lt 60 ]; do sleep 1; i=$((i + 1)); done
[ $i -lt 60 ]; same engines/podman-pod-published 0 $?
call podman-pod-exec 3 $P exec s1 sh -c 'hostname; exit 3'
has engines/podman-pod-exec-output /tmp/out '^pod1$'
call podman-pod-cp-never-the-hosts 125 $P cp s1:/etc/debian_version /tmp/x
call podman-pod-inspect 0 $P pod inspect -f '{{.State}}' pod1
has engines/podman-pod-inspect-output /tmp/out '^Running$'
call podman-pod-pause 0 $P pod pause pod1
call podman-pod-paused 0 $P inspect -f '{{.State.Status}}' s1
has engines/podman-pod-paused-output /tmp/out '^paused$'
call podman-pod-unpause 0 $P pod unpause pod1
call podman-pause-of-one 0 $P pause s1
call podman-pod-runs-on 0 $P run --rm --pod pod1 bb true
call podman-unpause-of-one 0 $P unpause s1
call podman-pod-exec-again 3 $P exec s1 sh -c 'exit 3'
call podman-pod-stop-one 0 $P stop -t 1 s1
call podman-pod-start-again 0 $P start s1
call podman-pod-rm 0 $P pod rm -f -t 2 pod1
cat >/tmp/kube.yaml <<K
apiVersion: v1
kind: Pod
metadata: {name: kp}
spec:
  restartPolicy: Never
  containers:
  - {name: a, image: localhost/bb, imagePullPolicy: Never, command: [/bin/sh, -c, "while :; do echo kube | nc -l -p 80; done"]}
  - {name: b, image: localhost/bb, imagePullPolicy: Never, command: [/bin/sh, -c, "until nc 127.0.0.1 80 </dev/null | grep kube; do sleep .2; done; exit 5"]}
K
call podman-play-kube 0 $P play kube /tmp/kube.yaml
call podman-play-kube-wait 0 $P wait kp-b
has engines/podman-play-kube-status /tmp/out '^5$'
call podman-play-kube-logs 0 $P logs kp-b
has engines/podman-play-kube-talks /tmp/out '^kube$'
call podman-play-kube-down 0 $P play kube --down /tmp/kube.yaml
same engines/podman-pods-leave-nothing "" "$(busybox ps | grep '[l]kvm-oci'; ls /run/lkvm-oci)"

# ---- containerd ----
containerd >/tmp/containerd.log 2>&1 &
containerd=$!
i=0; while [ ! -S /run/containerd/containerd.sock ] && [ $i -lt 600 ]; do sleep .1; i=$((i + 1)); done
call ctr-run 4 ctr run --rm --runc-binary /usr/bin/lkvm-oci --rootfs /rootfs c1 /bin/sh -c 'echo out; exit 4'
has engines/ctr-run-output /tmp/out '^out$'
call ctr-no-program 1 ctr run --rm --runc-binary /usr/bin/lkvm-oci --rootfs /rootfs c1 /nix
has engines/ctr-no-program-says-why /tmp/err 'executable file "/nix" not found'
call ctr-run-d 0 ctr run -d --runc-binary /usr/bin/lkvm-oci --rootfs /rootfs c2 /bin/sleep 1000
call ctr-exec 5 ctr task exec --exec-id e1 c2 /bin/sh -c 'echo exec; exit 5'
has engines/ctr-exec-output /tmp/out '^exec$'
call ctr-pause 0 ctr task pause c2
call ctr-list 0 ctr task ls
has engines/ctr-list-output /tmp/out 'c2 .*PAUSED'
call ctr-resume 0 ctr task resume c2
call ctr-ps 0 ctr task ps c2
call ctr-metrics 0 ctr task metrics c2
has engines/ctr-metrics-output /tmp/out 'memory.usage_in_bytes|memory.usage|pids'
call ctr-kill 0 ctr task kill -s KILL c2
i=0; while ! bounded ctr task ls | grep -q 'c2 .*STOPPED' && [ $i -lt 60 ]; do sleep 1; i=$((i + 1)); done
bounded ctr task ls >/tmp/out
has engines/ctr-kill-ends /tmp/out 'c2 .*STOPPED'
call ctr-task-rm 0 ctr task rm c2
call ctr-rm 0 ctr container rm c2
kill $containerd

# ---- CRI, as a kubelet has it: crictl is not in Debian 12 ----
cp /usr/bin/catatonit /rootfs/pause
tar -C /rootfs -c . | podman --cgroup-manager cgroupfs --events-backend file import -q -c 'ENTRYPOINT ["/pause","-P"]' - pause >/dev/null
mkdir -p /etc/containerd /etc/cni/net.d
cat >/etc/containerd/config.toml <<K
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:latest"
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
  default_runtime_name = "lkvm"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.lkvm]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.lkvm.options]
  BinaryName = "/usr/bin/lkvm-oci"
K
cat >/etc/cni/net.d/10-pods.conflist <<K
{"cniVersion":"0.4.0","name":"pods","plugins":[{"type":"bridge","bridge":"cni0","isGateway":true,
"ipam":{"type":"host-local","subnet":"10.99.0.0/16","routes":[{"dst":"0.0.0.0/0"}]}}]}
K
rm -f /run/containerd/containerd.sock
containerd >/tmp/containerd.log 2>&1 &
containerd=$!
i=0; while [ ! -S /run/containerd/containerd.sock ] && [ $i -lt 600 ]; do sleep .1; i=$((i + 1)); done
for image in bb pause; do
	podman --cgroup-manager cgroupfs save -q localhost/$image -o /tmp/$image.tar
	ctr -n k8s.io images import /tmp/$image.tar >/dev/null
	rm /tmp/$image.tar
done
call cri 0 cri-client /run/containerd/containerd.sock lkvm localhost/bb:latest
same engines/cri-output "sandbox runs; b 7; exec p1 err 3; a True; c 1; c 137; removed;" "$(echo $(sed 's/$/;/' /tmp/out))"
has engines/cri-talks /tmp/cri-logs/b.log 'cri'
kill $containerd
same engines/nothing-left "" "$(busybox ps | grep '[l]kvm-oci'; ls /run/lkvm-oci /run/containerd/runc/default /run/containerd/runc/k8s.io 2>/dev/null | grep -v :)"
warm_starts 10	# of 13 that can be
