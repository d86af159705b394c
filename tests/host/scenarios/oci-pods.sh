# SPDX-License-Identifier: GPL-2.0-only
# A host of its own: it changes what namespaces do not keep apart, or was not seen to share one yet.
# Pods: containers that join a sandbox's VM, called as conmon and containerd's shim do, with bundles of theirs (/bundles).
# Modules of its kernels are in /lib/modules; the guests are cloud.
ln -sf lkvm /bin/lkvm-oci
mkdir -p /etc/lkvm /ud /run/netns /vol
{ echo "kernel = /g/cloud/bzImage"; echo "annotations = ignore x"; ${WARM:+echo "warm = $WARM"}; } >/etc/lkvm/oci.conf
# Three roots: the sandbox's, and those of two members.
for r in r a b; do
	mkdir -p /$r/bin /$r/etc /$r/tmp
	cp /bin/busybox /$r/bin/
	for l in sh cat id ls mount sleep hostname grep touch echo nc cut readlink kill ps head seq mv; do ln -s busybox /$r/bin/$l; done
	echo $r >/$r/name
done
echo volume >/vol/file
printf '#!/bin/sh\ntrap "exit 0" TERM\nwhile :; do sleep .1; done\n' >/r/catatonit; chmod 755 /r/catatonit; cp /r/catatonit /r/pause
mkdir -p /ud/shm
for f in hosts hostname resolv.conf .containerenv; do echo "127.0.0.1 localhost" >/ud/$f; done
mount -t tmpfs -o size=64000k shm /ud/shm
[ -e /sys/fs/cgroup/cgroup.procs ] || mount -t cgroup2 none /sys/fs/cgroup

# bundle ID FROM ROOT [ARGS]: /bundle/ID is one of the engines', on that root; members of the pod of $pod, whose holder is $holder.
bundle() {
	mkdir -p /bundle/$1
	sed -e "s#^\"root\":.*#\"root\":{\"path\":\"/$3\"},#" -e "${4:+s#^ \"args\":.*# \"args\":$4,#}" \
		-e 's#"source":"/[a-z.]*/[^"]*/\(shm\|hosts\|hostname\|resolv.conf\|.containerenv\)"#"source":"/ud/\1"#' \
		-e 's#,"path":"/[a-z/]*run/netns/[^"]*"##' -e "s#/proc/4242/#/proc/${holder:-4242}/#g" \
		-e "s#\"cgroupsPath\":\".*\",#\"cgroupsPath\":\"/pod/$1\",#" \
		-e "s#\"\([a-z.-]*\)\(sandbox-id\|SandboxID\)\":\"[0-9a-z]*\"#\"\1\2\":\"$pod\"#" \
		-e 's#"annotations":{#"annotations":{"lkvm.ignore":"linux.seccomp",'"$more"'#' /bundles/$2.config.json >/bundle/$1/config.json
}
# create ID: as conmon; what it becomes is in /n.ID. Streams: /tmp/out.ID, /tmp/err.ID.
create() {
	rm -f /n.$1 /p.$1
	engine /n.$1 /p.$1 -- /bin/lkvm-oci $G create --bundle /bundle/$1 --pid-file /p.$1 $1 </dev/null >/tmp/out.$1 2>/tmp/err.$1 &
	await $1 created
	sed "s/^/# $1: /" /tmp/err.$1 >&2
}
# await ID WORD: the number behind it in /n.ID.
await() {
	[ $2 = created ] || [ -e /p.$1 ] || return
	i=0
	while ! grep -q "^$2 " /n.$1 2>/dev/null && [ $i -lt 2400 ]; do sleep .1; i=$((i + 1)); done
	sed -n "s/^$2 //p" /n.$1
}
oci() { env -i XDG_RUNTIME_DIR= /bin/lkvm-oci $G "$@"; }
state() { oci state $1 2>&1 | sed -n 's/.*"status":"\([a-z]*\)".*/\1/p'; }
# up ID: it has said so.
up() { i=0; while ! grep -q up /tmp/out.$1 && [ $i -lt 600 ]; do sleep .1; i=$((i + 1)); done; }
# sandbox ID BUNDLE: it runs, and is what bundle() writes members for.
sandbox() {
	pod=$1; holder=
	bundle $1 $2 r
	create $1; oci start $1; holder=$(cat /p.$1)
}
nothing_left() {
	same pods/$1-leaves-nothing "" "$(ps | grep '[l]kvm-oci'; ls /run/lkvm-oci /run/containerd/runc/k8s.io 2>/dev/null | grep -v :; find /sys/fs/cgroup/pod -mindepth 1 -maxdepth 1 -type d 2>/dev/null)"
}

# podman's: two that talk over localhost, each with its own root and status.
more='"lkvm.max_containers":"2",'
same pods/sandbox 0 "$(sandbox 00000000c0ffee03 podman-kube-infra)"
pod=00000000c0ffee03 holder=$(cat /p.00000000c0ffee03) more=
same pods/sandbox-runs running "$(state $pod)"
bundle m1 podman-kube-a a '["/bin/sh","-c","echo up; hostname; cat /name; echo $$; echo shared >/dev/shm/x; echo page | nc -l -p 80; (echo x >/sys/x) 2>/dev/null || echo ro; echo err >\&2; exit 3"]'
same pods/join 0 "$(create m1)"
same pods/joined created "$(state m1)"
same pods/nothing-runs-yet "" "$(cat /tmp/out.m1 /tmp/err.m1)"
same pods/shares-the-network "$(readlink /proc/$holder/ns/net)" "$(readlink /proc/$(cat /p.m1)/ns/net)"
same pods/holder-has-no-files proc "$(ls -A /proc/$(cat /p.m1)/root/)"
same pods/holder-is-alone 1 "$(ls /proc/$(cat /p.m1)/root/proc | grep -c '^[0-9]')"
oci start m1; same pods/start 0 $?
up m1
bundle m2 podman-kube-a b '["/bin/sh","-c","i=0; while [ ! -s /tmp/got ] \&\& [ $i -lt 200 ]; do nc localhost 80 </dev/null >/tmp/got 2>/dev/null; i=$((i + 1)); sleep .1; done; cat /tmp/got /name /dev/shm/x; cat /proc/self/cgroup; cat /sys/fs/cgroup/container.m2/memory.max /sys/fs/cgroup/container.m2/cpu.max; ls -A /; exit 4"]'
same pods/join-second 0 "$(create m2)"
bundle m3 podman-kube-a a '["/bin/sh","-c","echo up; cat /name; sleep 1000"]'
same pods/too-many 1 "$(create m3)"
has pods/too-many-says-why /tmp/err.m3 'its VM has no disk for one more container'
oci start m2
same pods/status "3 4" "$(await m1 ended) $(await m2 ended)"
same pods/no-child-is-left "0 0" "$(await m1 left) $(await m2 left)"
same pods/first "up kp a 1 ro err" "$(cat /tmp/out.m1 /tmp/err.m1 | tr '\n' ' ' | sed 's/ $//')"
same pods/second "page b shared 0::/container.m2 67108864 50000 100000" "$(head -n 6 /tmp/out.m2 | tr '\n' ' ' | sed 's/ $//')"
same pods/root-is-its-own "bin dev etc name proc run sys tmp" "$(tail -n +7 /tmp/out.m2 | tr '\n' ' ' | sed 's/ $//')"
same pods/stopped stopped "$(state m1)"
# The disk of one that has gone is another's, which sees nothing of what was on it.
oci delete m1; same pods/delete 0 $?
bundle m3 podman-kube-a b '["/bin/sh","-c","echo up; cat /name; sleep 1000"]'
same pods/join-again 0 "$(create m3)"
oci start m3; up m3; i=0; while ! grep -q '^b$' /tmp/out.m3 && [ $i -lt 100 ]; do sleep .1; i=$((i + 1)); done
same pods/third "up b" "$(tr '\n' ' ' </tmp/out.m3 | sed 's/ $//')"
# exec goes into the right one.
tr -d '\n' </bundles/podman-exec.process.json | sed 's#"args": *\[[^]]*\]#"args":["sh","-c","cat /name; echo $$ $(ps | grep -c sleep); exit 6"]#' >/process
rm -f /n.x /p.x; engine /n.x /p.x -- /bin/lkvm-oci exec --pid-file /p.x --process /process --detach m3 </dev/null >/tmp/xout 2>/tmp/xerr &
same pods/exec "0 6" "$(await x created) $(await x ended)"
same pods/exec-in-the-right-one b "$(head -n 1 /tmp/xout)"
# One is paused: it counts no more, and its pod goes on.
bundle m4 podman-kube-a b '["/bin/sh","-c","i=0; while :; do i=$((i + 1)); echo $i >/dev/shm/new; mv /dev/shm/new /dev/shm/counted; [ $i != 1 ] || echo up; sleep .1; done"]'
oci delete m2
same pods/join-to-count 0 "$(create m4)"; oci start m4; up m4
# counted: how far it has, seen by another of its pod.
counted() {
	sed -i 's#"args": *\[[^]]*\]#"args":["cat","/dev/shm/counted"]#' /process
	rm -f /n.x /p.x; engine /n.x /p.x -- /bin/lkvm-oci exec --pid-file /p.x --process /process --detach m3 </dev/null >/tmp/xout 2>/tmp/xerr &
	await x created >/dev/null; await x ended >/dev/null; cat /tmp/xout
}
same pods/pause-of-one "0 paused running running" "$(oci pause m4; echo $?) $(state m4) $(state m3) $(state $pod)"
n=$(counted); sleep 1
same pods/paused-counts-no-more "${n:-some}" "$(counted)"
same pods/pause-again 1 "$(oci pause m4 2>/tmp/err; echo $?)"
oci resume m4; same pods/resume-of-one "0 running" "$? $(state m4)"
i=0; while [ "$(counted)" = "$n" ] && [ $i -lt 50 ]; do i=$((i + 1)); done
[ $i -lt 50 ] && ok pods/resumed-counts || not_ok pods/resumed-counts "$n"
# With the sandbox all are; one stays so, and is ended.
oci pause $pod; same pods/pause-of-the-pod "paused paused paused" "$(state $pod) $(state m3) $(state m4)"
same pods/pause-in-a-paused-pod 0 "$(oci pause m4; echo $?)"
oci resume $pod; same pods/resume-of-the-pod "running running paused" "$(state $pod) $(state m3) $(state m4)"
oci kill m4 9; same pods/kill-of-the-paused 137 "$(await m4 ended)"; oci delete m4
oci kill m3 9; same pods/kill 137 "$(await m3 ended)"
# Made again at once, while the guest is letting go of the one before.
oci delete m3; same pods/same-id-again "0 0" "$(create m3) $(oci start m3; echo $?)"
up m3; same pods/same-id-runs running "$(state m3)"
oci delete --force m3
# With the sandbox all end.
bundle m4 podman-kube-a a '["/bin/sh","-c","echo up; sleep 1000"]'
same pods/join-once-more 0 "$(create m4)"; oci start m4; up m4
oci kill $pod 15
same pods/all-end "0 137" "$(await $pod ended) $(await m4 ended)"
oci delete m4; same pods/delete-after-sandbox 0 $?
bundle m5 podman-kube-a a
same pods/join-of-the-ended 1 "$(create m5)"
has pods/join-of-the-ended-says-why /tmp/err.m5 'its sandbox .* does not run'
oci delete $pod
nothing_left podman

# containerd's.
G="--root /run/containerd/runc/k8s.io --log /tmp/log --log-format json"
same pods/cri-sandbox 0 "$(sandbox s1 cri-sandbox)"
pod=s1 holder=$(cat /p.s1)
# cache ID OPTION: it has the pod's emptyDir, as kubelet makes it.
kubelet="/var/lib/kubelet/pods/u/volumes/kubernetes.io~empty-dir"
mkdir -p $kubelet/cache; chmod 777 $kubelet/cache
cache() { sed -i "s#^\"mounts\":\[#&{\"destination\":\"/cache\",\"type\":\"bind\",\"source\":\"$kubelet/cache\",\"options\":[\"rbind\",\"rprivate\",\"$2\"]},#" /bundle/$1/config.json; }
bundle c1 cri-container-a a '["/bin/sh","-c","echo shared >/cache/x; trap \\"exit 5\\" TERM; echo up; while :; do echo page | nc -l -p 81; done"]'
bundle c2 cri-container-b b '["/bin/sh","-c","while ! nc 127.0.0.1 81 </dev/null | grep page; do sleep .1; done; cat /cache/x; (echo y >/cache/y) 2>/dev/null || echo ro; ls -A /.lkvm 2>/dev/null; hostname; exit 7"]'
cache c1 rw; cache c2 ro
same pods/cri-join "0 0" "$(create c1) $(create c2)"
oci start c1; up c1; oci start c2
same pods/cri-status 7 "$(await c2 ended)"
same pods/cri-output "page shared ro p1" "$(tr '\n' ' ' </tmp/out.c2 | sed 's/ $//')"
oci kill --all c1 15; same pods/cri-kill 5 "$(await c1 ended)"
oci delete c1; oci delete --force c2; same pods/cri-delete 0 $?
# A volume stays as long as its pod; nothing of it is on the host.
bundle c3 cri-container-a a '["/bin/sh","-c","cat /cache/x; ls -ld /cache | cut -c1-10; echo more >/cache/x; exit 8"]'; cache c3 rw
same pods/volume-join 0 "$(create c3)"; oci start c3; same pods/volume-status 8 "$(await c3 ended)"
same pods/volume-stays "shared drwxrwxrwx" "$(tr '\n' ' ' </tmp/out.c3 | sed 's/ $//')"; oci delete c3
same pods/volume-is-the-vms "" "$(ls -A $kubelet/cache)"
touch $kubelet/cache/old
bundle c3 cri-container-a a; cache c3 rw
same pods/volume-with-files 1 "$(create c3)"
has pods/volume-with-files-says-why /tmp/err.c3 'mounts: /cache: an emptyDir is in the VM.s memory, and this one has files on the host already'
rm $kubelet/cache/old
oci kill s1 9; same pods/cri-sandbox-ends 137 "$(await s1 ended)"; oci delete s1; oci delete --force s1
nothing_left containerd
