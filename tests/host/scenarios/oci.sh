# SPDX-License-Identifier: GPL-2.0-only
# A host of its own: it changes what namespaces do not keep apart, or was not seen to share one yet.
# lkvm-oci, called as conmon and containerd's shim do, with bundles as they write them (/bundles).
# Modules of its kernels are in /lib/modules; the guests are cloud.
ln -sf lkvm /bin/lkvm-oci
mkdir -p /etc/lkvm /r/bin /r/etc /r/ro /r/run/db /ud/shm /vol
{ echo "kernel = /g/cloud/bzImage	# and nothing else"; echo "annotations = ignore x"; ${WARM:+echo "warm = $WARM"}; } >/etc/lkvm/oci.conf
cp /bin/busybox /r/bin/
for l in sh cat head id ls mount sleep hostname grep touch echo stty tty readlink cut nc; do ln -s busybox /r/bin/$l; done
echo not-executable >/r/etc/text
echo "127.0.0.1 of-the-engine" >/ud/hosts; echo h >/ud/hostname; echo >/ud/resolv.conf; echo >/ud/.containerenv
echo volume >/vol/file
mount -t tmpfs -o size=64000k shm /ud/shm
[ -e /sys/fs/cgroup/cgroup.procs ] || mount -t cgroup2 none /sys/fs/cgroup

# bundle FROM ARGS: /b is one of the engines' with this command, on /r.
bundle() {
	mkdir -p /b
	ignore='"lkvm.ignore":"linux.seccomp",'	# most lists are shortened: they allow nothing
	[ $1 != podman-run ] || ignore=
	sed -e "s#^\"root\":.*#\"root\":{\"path\":\"/r\"},#" -e "s#^ \"args\":.*# \"args\":$2,#" \
		-e 's#/[a-z]*[a-z/]*/containers/storage/overlay-containers/00000000c0ffee02/userdata#/ud#' \
		-e 's#"annotations":{#"annotations":{'"$ignore"'#' /bundles/$1.config.json >/b/config.json
	grep -q '"annotations"' /b/config.json || sed -i 's#^"root"#"annotations":{"lkvm.ignore":"linux.seccomp"},\n"root"#' /b/config.json
}
# create ID [FLAGS]: as conmon; what it becomes is in /n. Streams: /tmp/out, /tmp/err.
create() {
	rm -f /n /p
	id=$1; shift
	engine /n /p -- /bin/lkvm-oci "$@" create --bundle /b --pid-file /p $id </dev/null >/tmp/out 2>/tmp/err &
	await created
}
# await WORD: the number behind it in /n.
await() {
	i=0
	while ! grep -q "^$1 " ${n:-/n} 2>/dev/null && [ $i -lt 2400 ]; do sleep .1; i=$((i + 1)); done
	sed -n "s/^$1 //p" ${n:-/n}
}
# oci ARGUMENTS: another call, with what podman leaves of the environment.
oci() { env -i XDG_RUNTIME_DIR= /bin/lkvm-oci "$@"; }
# start ARGUMENTS ID: it has to; otherwise what the VMs are at is said.
start() {
	oci "$@" && return
	not_ok "oci/start-of-$(echo "$*" | tr -c 'a-z0-9\n' -)" "$(for vm in $(lkvm list -q); do lkvm debug $vm --regs; lkvm stat $vm; sleep 2; lkvm debug $vm --regs; done 2>&1)"
}
state() { oci state $1 2>&1 | sed -n 's/.*"status":"\([a-z]*\)".*/\1/p'; }
# process FROM ARGS: /process is one of the engines' for exec, with this command.
process() { tr -d '\n' </bundles/$1.process.json | sed "s#\"args\": *\[[^]]*\]#\"args\":$2#" >/process; }
# execute ID [FLAGS]: as conmon does; what it becomes is in /n3. Streams: /tmp/xout, /tmp/xerr.
execute() {
	rm -f /n3 /p3
	xid=$1; shift
	engine /n3 /p3 -- /bin/lkvm-oci "$@" exec --pid-file /p3 --process /process --detach $xid <${IN:-/dev/null} >/tmp/xout 2>/tmp/xerr &
	n=/n3 await created
}
# nothing_left NAME: no process, record, entry or group of any container.
nothing_left() {
	same oci/$1-leaves-nothing "" "$(ps | grep '[l]kvm-oci'; ls /run/lkvm-oci 2>/dev/null; ls /run/lkvm 2>/dev/null; find /sys/fs/cgroup -name '*c0ffee*')"
}

# A whole life, as podman has it.
bundle podman-run '["sh","-c","echo out; echo err >\&2; id -u; hostname; cat /etc/hosts; echo $TERM $container $$; grep CapEff /proc/self/status; grep -c . /proc/self/cgroup; echo $(ls /dev); echo $(ls -A /run); (echo x >/sys/x) 2>/dev/null || echo ro; cat /proc/kcore | head -c 1; cat /proc/sys/net/ipv4/ping_group_range; grep Seccomp: /proc/self/status; exit 7"]'
same oci/create 0 "$(create c1)"
same oci/created created "$(state c1)"
same oci/nothing-runs-yet "" "$(cat /tmp/out /tmp/err)"
same oci/create-again 1 "$(engine /n2 /p2 -- /bin/lkvm-oci create --bundle /b --pid-file /p2 c1 2>/tmp/err2 </dev/null; sed -n 's/^created //p' /n2)"
has oci/create-again-says-why /tmp/err2 'already exists'
pid=$(cat /p)
same oci/holder-has-no-files "proc" "$(ls -A /proc/$pid/root/)"
same oci/holder-is-alone 1 "$(ls /proc/$pid/root/proc | grep -c '^[0-9]')"
same oci/holder-is-in-the-group "/libpod_parent/libpod-00000000c0ffee02" "$(sed 's/^0:://' /proc/$pid/cgroup)"
same oci/all-are-in-the-group "" "$(for p in $(ps -o pid,args | awk '/[l]kvm-oci create/ && !/engine/ {print $1}'); do sed 's/^0:://' /proc/$p/cgroup; done | sort -u | grep -v c0ffee02)"
oci start c1; same oci/start 0 $?
same oci/status 7 "$(await ended)"
same oci/no-child-is-left 0 "$(await left)"
same oci/stopped stopped "$(state c1)"
same oci/stderr err "$(cat /tmp/err)"
has oci/stdout /tmp/out '^out$'
has oci/hostname /tmp/out '^0000c0ffee01$'
has oci/bound-file /tmp/out '^127.0.0.1 of-the-engine$'
has oci/environment /tmp/out '^xterm podman 1$'
has oci/capabilities /tmp/out '^CapEff:.00000000800405fb$'
has oci/devices /tmp/out '^fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero$'
has oci/read-only-sys /tmp/out '^ro$'
has oci/sysctl /tmp/out '^0.*0$'
has oci/run-is-the-images /tmp/out '^.containerenv db$'
has oci/seccomp /tmp/out '^Seccomp:.2$'
oci kill c1 15 2>/tmp/err; same oci/kill-of-the-ended 1 $?
has oci/kill-of-the-ended-says-why /tmp/err '^container not running$'
oci delete --force c1; same oci/delete 0 $?
oci delete --force c1; same oci/delete-again 0 $?
oci delete c1 2>/tmp/err; same oci/delete-of-none 1 $?
has oci/state-of-none /tmp/err 'does not exist'
nothing_left life

# What is not there is said before anything runs, by the words that engines know.
bundle podman-run '["nix"]'
same oci/no-program 1 "$(create c1)"
has oci/no-program-says-so /tmp/err '^executable file "nix" not found in \$PATH: No such file or directory$'
bundle podman-run '["/etc/text"]'
same oci/not-executable "1 1" "$(create c1 --log /tmp/log --log-format json) $(grep -c '"level":"error","msg":"executable file ...etc.text..: Permission denied"' /tmp/log)"
# Annotations choose no files of the host, which root would open.
bundle podman-run '["sh"]'
echo secret >/secret
sed -i 's#"annotations":{#"annotations":{"lkvm.network":"mode=stream,path=/s,server=on,pcap=/secret",#' /b/config.json
same oci/network-of-an-annotation 1 "$(create c1)"
has oci/network-of-an-annotation-is-refused /tmp/err 'annotations.lkvm.network: is not obeyed unless'
same oci/network-of-an-annotation-opens-nothing secret "$(cat /secret)"
nothing_left failures

# As containerd has it; a signal that has a handler.
bundle ctr-rootfs '["/bin/sh","-c","trap \\"echo got; exit 5\\" TERM; echo up; while :; do sleep .1; done"]'
G="--root /run/containerd/runc/default --log /tmp/log --log-format json"
same oci/shim-create 0 "$(create t1 $G)"
start $G start t1
i=0; while ! grep -q up /tmp/out && [ $i -lt 600 ]; do sleep .1; i=$((i + 1)); done
# More processes: in the container, which goes on.
process ctr-exec '["sh","-c","cat; echo err >\&2; readlink /proc/1/exe; exit 9"]'
mkfifo /tmp/in	# it is there as long as this has no end
{ echo in; i=0; while [ ! -e /tmp/looked ] && [ $i -lt 600 ]; do sleep .1; i=$((i + 1)); done; } >/tmp/in &
same oci/exec 0 "$(IN=/tmp/in execute t1 $G)"
same oci/exec-holder "proc" "$(ls -A /proc/$(cat /p3)/root/)"
touch /tmp/looked
same oci/exec-status "9 0" "$(n=/n3 await ended) $(n=/n3 await left)"
same oci/exec-streams "in /bin/busybox err" "$(tr '\n' ' ' </tmp/xout)$(cat /tmp/xerr)"
process ctr-exec '["nix"]'
same oci/exec-no-program 1 "$(execute t1 $G)"
has oci/exec-no-program-says-so /tmp/xerr 'executable file "nix" not found in .PATH.*No such file or directory'
oci $G kill t1 15; same oci/shim-status "5 got" "$(await ended) $(tail -n 1 /tmp/out)"
oci $G delete t1; same oci/shim-delete 0 $?
oci $G delete --force t1; same oci/shim-delete-again 0 $?
nothing_left shim

# With warm = yes the first one leaves a snapshot of its guest, and others go on from that, whatever they run. Its
# file ending in .uses has a byte for each start from it.
mkdir -p /root; cache=/root/.cache/lkvm; rm -rf $cache
uses() { cat $cache/*.uses 2>/dev/null | wc -c; }
entries() { ls $cache 2>/dev/null | grep -c '\.warm$'; }
echo "warm = yes" >>/etc/lkvm/oci.conf
bundle podman-run '["sh","-c","echo first; exit 7"]'
sed -i 's#"annotations":{#"annotations":{"lkvm.warm":"often",#' /b/config.json
same oci/warm-often "1 warm: it is yes, no or strict" "$(create c1) $(cat /tmp/err)"
sed -i 's#"lkvm.warm":"often"#"lkvm.warm":"strict"#' /b/config.json
same oci/warm-strict-without 1 "$(create c1)"
same oci/warm-strict-without-says-why "--warm=strict: there is no snapshot for it yet|  with --warm it boots, and leaves one." "$(tr '\n' '|' </tmp/err | sed 's/|$//')"
sed -i 's#"lkvm.warm":"strict",##' /b/config.json
same oci/warm-first "0 created 1 0" "$(create c1) $(state c1) $(entries) $(uses)"
start start c1
same oci/warm-first-status "7 0 first" "$(await ended) $(await left) $(cat /tmp/out)"
oci delete c1
# It is warm, with another name, command and mounts, and takes another process.
bundle podman-ro-volumes '["sh","-c","trap \\"echo got; exit 5\\" TERM; echo err >\&2; cat /ro/file; hostname; id -u; echo $container; echo up; while :; do sleep .1; done"]'
sed -i -e 's#"path":"/r"#"path":"/r","readonly":true#' -e 's#/srv/vol#/vol#' -e '/"destination":"\/rw"/d' -e '/"destination":"\/named"/d' \
	-e 's#"hostname":"[^"]*"#"hostname":"warm-one"#' -e 's#"annotations":{#"annotations":{"lkvm.memory":"512M",#' /b/config.json
same oci/warm-with-a-volume "0 2" "$(create c1) $(entries)"	# a directory is one more disk: another machine
oci delete --force c1; await left >/tmp/unused
sed -i 's#"annotations":{#"annotations":{"lkvm.warm":"strict",#' /b/config.json
same oci/warm "0 created 1" "$(create c1) $(state c1) $(uses)"
same oci/warm-nothing-runs-yet "" "$(cat /tmp/out /tmp/err)"
sleep 3		# a command that is held has all the time
start start c1
i=0; while ! grep -q up /tmp/out && [ $i -lt 600 ]; do sleep .1; i=$((i + 1)); done
same oci/warm-streams "volume warm-one 0 podman up err" "$(tr '\n' ' ' </tmp/out)$(cat /tmp/err)"
process podman-exec '["sh","-c","hostname; exit 9"]'
same oci/warm-exec "0 9 warm-one" "$(execute c1) $(n=/n3 await ended) $(cat /tmp/xout)"
oci kill c1 15; same oci/warm-kill "5 got" "$(await ended) $(tail -n 1 /tmp/out)"
oci delete c1; same oci/warm-delete 0 $?
# What KVM refuses of a snapshot is found late: it boots all the same, and the snapshot goes; one that must not boot fails.
bundle podman-run '["sh","-c","echo again; exit 3"]'
for e in $cache/*.warm; do spoil $e; done
same oci/warm-refused 0 "$(create c1)"
start start c1
same oci/warm-refused-boots "3 0 again 1" "$(await ended) $(await left) $(cat /tmp/out) $(entries)"
oci delete c1
bundle podman-ro-volumes '["sh","-c","exit 3"]'
sed -i -e 's#"path":"/r"#"path":"/r","readonly":true#' -e 's#/srv/vol#/vol#' -e '/"destination":"\/rw"/d' -e '/"destination":"\/named"/d' \
	-e 's#"annotations":{#"annotations":{"lkvm.warm":"strict","lkvm.memory":"512M",#' /b/config.json
same oci/warm-refused-strictly "1 0" "$(create c1) $(entries)"
sed -i '/^warm/d' /etc/lkvm/oci.conf
nothing_left warm

# Disks of the host: as they are named by number, with owner and mode; read-only where the rules say so.
insmod /lib/brd.ko rd_nr=3 rd_size=4096
echo on the disk >/dev/ram0; echo only read >/dev/ram1
# disks NUMBERS: /b has these, as /dev/disk.NUMBER, of which 1 is only read.
disks() {
	list= rules=
	for m in $1; do
		list="$list{\"path\":\"/dev/disk.$m\",\"type\":\"b\",\"major\":1,\"minor\":$m,\"fileMode\":432,\"uid\":5,\"gid\":6},"
		rules="$rules,{\"allow\":true,\"type\":\"b\",\"major\":1,\"minor\":$m,\"access\":\"$([ $m = 1 ] && echo r || echo rwm)\"}"
	done
	sed -i -e "s#{\"allow\":false,\"access\":\"rwm\"}#&$rules#" -e "s#^ \"sysctl\"#\"devices\":[${list%,}],&#" /b/config.json
}
bundle podman-run '["sh","-c","head -n 1 /dev/disk.0 /dev/disk.1; echo written >/dev/disk.0; (echo x >/dev/disk.1) 2>/dev/null || echo ro; set -- $(ls -ln /dev/disk.0); echo $1 $3 $4; echo done; read x"]'
disks "0 1"
mkfifo /tmp/disk.in; sleep 1000 >/tmp/disk.in & sleeper=$!
same oci/disks "0 0" "$(rm -f /n /p; engine /n /p -- /bin/lkvm-oci create --bundle /b --pid-file /p d1 </tmp/disk.in >/tmp/out 2>/tmp/err & await created) $(oci start d1; echo $?)"
i=0; while ! grep -q done /tmp/out && [ $i -lt 600 ]; do sleep .1; i=$((i + 1)); done
same oci/disks-are-there "==> /dev/disk.0 <== on the disk ==> /dev/disk.1 <== only read ro brw-rw---- 5 6 done" "$(echo $(cat /tmp/out))"
# Nor can the host take meanwhile what is written.
same oci/disk-is-not-the-hosts "refused" "$(mkdir -p /mnt; mount -t ext2 /dev/ram0 /mnt 2>/tmp/err && echo mounted || echo refused)"
has oci/disk-is-not-the-hosts-says-why /tmp/err 'busy'
sed -i 's#libpod-00000000c0ffee02"#libpod-c0ffeed2"#' /b/config.json
same oci/disk-of-another "1" "$(n=/n4; rm -f /n4; engine /n4 /p4 -- /bin/lkvm-oci create --bundle /b --pid-file /p4 d2 </dev/null >/tmp/out 2>/tmp/err; await created)"
has oci/disk-of-another-says-so /tmp/err 'linux.devices: /dev/disk.0: the disk 1:0 cannot be lent: it is in use .*another container'
kill $sleeper; oci kill d1 9; await ended >/dev/null; oci delete d1
same oci/disk-is-written "written only read" "$(head -qn 1 /dev/ram0 /dev/ram1 | tr '\n' ' ' | sed 's/ $//')"
mke2fs -q /dev/ram2 >/dev/null; mkdir -p /mnt; mount /dev/ram2 /mnt
bundle podman-run '["sh"]'; disks 2
same oci/disk-of-the-host 1 "$(create d3)"
has oci/disk-of-the-host-says-so /tmp/err 'linux.devices: /dev/disk.2: the disk 1:2 cannot be lent: it is in use'
umount /mnt
nothing_left disks

# Some after each other, with and without a start: the host is as it was. (oci-many.sh has two hundred.)
bundle podman-run '["sh","-c","exit 3"]'
before=$(footprint)
for k in 1 2; do
	create c$k >/dev/null
	[ $k = 2 ] || { oci start c$k; same oci/one-of-many 3 "$(await ended)"; }
	oci delete --force c$k; await left >/dev/null
done
same oci/some-leave-nothing "$before" "$(footprint)"

[ -e /full ] || return 0
${WARM:+echo "warm = $WARM"} >>/etc/lkvm/oci.conf
# The interface that an engine has made: its address is not the one in the snapshot.
for m in veth tap macvlan macvtap; do insmod /lib/$m.ko 2>/dev/null; done
mkdir -p /run/netns; /bin/ip netns add n1; /bin/ip link add h0 type veth peer name eth0 netns n1
/bin/ip addr add 10.9.0.1/24 dev h0; /bin/ip link set h0 up
for a in "addr add 10.9.0.2/24 dev eth0" "link set eth0 address 02:00:00:00:09:02" "link set eth0 up"; do /bin/ip -n n1 $a; done
for w in no yes strict; do
	bundle podman-bridge-publish '["sh","-c","nc 10.9.0.1 80 </dev/null; cat /sys/class/net/e*/address; exit 4"]'
	sed -i -e 's#"path":"/[a-z/]*run/netns/[^"]*"#"path":"/run/netns/n1"#' -e 's#"annotations":{#"annotations":{"lkvm.warm":"'$w'",#' /b/config.json
	echo page | nc -l -p 80 >/tmp/unused & server=$!
	same oci/network-$w 0 "$(create c1)"
	oci start c1
	same oci/network-$w-is-reached "4 page 02:00:00:00:09:02" "$(await ended) $(tr '\n' ' ' </tmp/out | sed 's/ $//')"
	oci delete --force c1; kill $server 2>/dev/null
done
nothing_left network
# sleeper ID: one that runs until it is ended.
sleeper() {
	bundle podman-run '["sh","-c","echo up; sleep 1000"]'
	create $1 >/dev/null; oci start $1
	i=0; while ! grep -q up /tmp/out && [ $i -lt 600 ]; do sleep .1; i=$((i + 1)); done
}
# vm ID: its VM's process in front.
vm() { sed -n 's/.*"vm":\([0-9]*\).*/\1/p' /run/lkvm-oci/$1/record; }
bundle podman-run '["sh","-c","exit 1"]'
create c1 >/dev/null; oci start c1; same oci/status-1 1 "$(await ended)"; oci delete c1
bundle podman-run '["sh","-c","exit 0"]'
create c1 >/dev/null; oci start c1; same oci/status-0 0 "$(await ended)"; oci delete c1
sleeper c1; oci delete c1 2>/tmp/err; same oci/delete-of-the-running 1 $?
oci pause c1; same oci/pause "0 paused" "$? $(state c1)"
oci resume c1; same oci/resume "0 running" "$? $(state c1)"
oci kill c1 9; same oci/kill-9 137 "$(await ended)"; oci delete c1; same oci/delete-killed 0 $?
bundle podman-run '["sh","-c","exit 0"]'
create c1 >/dev/null; oci kill c1 15; same oci/kill-before-start 143 "$(await ended)"; oci delete c1
sleeper c1; kill -9 $(vm c1); same oci/vm-is-killed 137 "$(await ended)"; oci delete --force c1
same oci/vm-is-killed-delete 0 $?
sleeper c1; kill -9 $(cat /p); same oci/holder-is-killed "137 0" "$(await ended) $(await left)"; oci delete --force c1
sleeper c1; oci delete --force c1; same oci/delete-force "0 137" "$? $(await ended)"
nothing_left kills
# Terminals: the engine has the master, and the window changes when it sees the word RESIZE.
bundle podman-tty '["sh","-c","stty size; tty; ls -l /dev/console | cut -c1; echo RESIZE; while [ \\"$(stty size)\\" != \\"50 120\\" ]; do sleep .1; done; read x; echo got $x; exit 3"]'
mkfifo /in; (sleep 1000 >/in & echo $! >/sleeper)
rm -f /n /p; engine -c /console /n /p -- /bin/lkvm-oci create --bundle /b --pid-file /p --console-socket /console c1 </in >/tmp/out 2>/tmp/err &
same oci/tty-create 0 "$(await created)"
oci start c1
i=0; while ! grep -q RESIZE /tmp/out && [ $i -lt 600 ]; do sleep .1; i=$((i + 1)); done
printf 'a\001b\n' >/in
same oci/tty-status 3 "$(await ended)"
same oci/tty "40 100 /dev/pts/0 c RESIZE a^Ab got a?b" "$(tr -d '\r' </tmp/out | tr '\001\n' '? ' | sed 's/ $//')"
oci delete c1
bundle podman-run '["sh","-c","echo up; sleep 1000"]'
create c1 >/dev/null; oci start c1
i=0; while ! grep -q up /tmp/out && [ $i -lt 600 ]; do sleep .1; i=$((i + 1)); done
process podman-exec-tty '["sh","-c","stty size; tty; echo RESIZE; while [ \\"$(stty size)\\" != \\"50 120\\" ]; do sleep .1; done; exit 4"]'
rm -f /n3 /p3; engine -c /console /n3 /p3 -- /bin/lkvm-oci exec --pid-file /p3 --process /process --detach --tty --console-socket /console c1 </in >/tmp/xout 2>/tmp/xerr &
same oci/exec-tty "0 4" "$(n=/n3 await created) $(n=/n3 await ended)"
same oci/exec-tty-output "40 100 /dev/pts/0 RESIZE" "$(tr -d '\r' </tmp/xout | tr '\n' ' ' | sed 's/ $//')"
kill $(cat /sleeper)
# What runs of it here, its limits, and signals by all their names.
process podman-exec '["sleep","1000"]'
execute c1 >/dev/null
same oci/ps "$(for f in /p /p3; do cat $f; echo; done | sort -n | tr '\n' ' ')" "$(oci ps --format json c1 | tr -d '[]\n' | tr ',' '\n' | sort -n | tr '\n' ' ')"
has oci/ps-table - '^ *[0-9]+ sleep 1000$' <<P
$(oci ps c1)
P
echo '{"cpu":{"shares":512,"quota":50000,"period":100000},"memory":{}}' >/u
oci update --resources /u c1; same oci/update "0 50000 100000" "$? $(cat /sys/fs/cgroup/libpod_parent/libpod-00000000c0ffee02/cpu.max)"
echo '{"memory":{"limit":300000000}}' | oci update --resources - c1 2>/tmp/err; same oci/update-memory 1 $?
has oci/update-memory-says-why /tmp/err 'memory.limit: a VM has it from its start'
same oci/state-annotations 1 "$(oci state c1 | grep -c '"io.container.manager":"libpod"')"
oci kill c1 SIGNIX 2>/dev/null; same oci/kill-no-signal 1 $?
for s in 0 65 -1 RTMIN+40 RTMIN-1; do oci kill c1 $s 2>/dev/null && not_ok oci/kill-$s; done
for s in WINCH sigwinch 28 SIGRTMIN+1; do oci kill c1 $s || not_ok oci/kill-$s; [ $s != SIGRTMIN+1 ] || break; done
oci kill --all c1 TERM; same oci/kill-all-ends-exec 143 "$(n=/n3 await ended)"
oci kill c1 KILL; await ended >/dev/null; oci ps c1 2>/dev/null; same oci/ps-of-the-ended 1 $?
oci delete c1
nothing_left terminals
# Limits, read-only roots, volumes, tmpfs with what is below.
bundle podman-ro-volumes '["sh","-c","cat /ro/file; (echo x >/ro/y) 2>/dev/null || echo ro1; (echo x >/y) 2>/dev/null || echo ro2; echo x >/etc/z 2>/dev/null || echo ro3; echo x >/tmp/t \&\& cat /tmp/t"]'
sed -i -e 's#{"path":"/r"}#{"path":"/r","readonly":true}#' -e 's#/srv/vol#/vol#' -e '/"destination":"\/rw"/d' -e '/"destination":"\/named"/d' /b/config.json
create c1 >/dev/null; oci start c1; await ended >/dev/null
same oci/read-only "volume ro1 ro2 ro3 x" "$(tr '\n' ' ' </tmp/out | sed 's/ $//')"; oci delete --force c1
same oci/volume-is-unchanged file "$(ls /vol)"
bundle podman-limits '["sh","-c","cat /proc/meminfo | head -n 1; cat /sys/fs/cgroup/container/pids.max"]'
sed -i 's/,"cpus":"0"//' /b/config.json
create c1 >/dev/null; oci start c1; await ended >/dev/null; has oci/pids /tmp/out '^100$'; oci delete --force c1
nothing_left limits
