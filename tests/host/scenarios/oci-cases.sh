# SPDX-License-Identifier: GPL-2.0-only
# A host of its own: it changes what namespaces do not keep apart, or was not seen to share one yet.
# What the validation suite of opencontainers/runtime-tools checks of a runtime, by the names of its cases (as of
# v0.9.0 and older): either it is so inside of the VM, or it is refused in words that name the field.
# Modules of its kernels are in /lib/modules; the guests are cloud.
# Only in check-all: unit/oci and unit/oci-config have the same of what is refused, host/oci lives of engines.
ln -sf lkvm /bin/lkvm-oci
mkdir -p /etc/lkvm /r/bin /r/etc /r/mnt /b /vol
{ echo "kernel = /g/cloud/bzImage"; echo "annotations = ignore"; } >/etc/lkvm/oci.conf
cp /bin/busybox /r/bin/
for l in sh cat cut echo grep head hostname id kill ls mkdir mknod mount pwd sed sleep stat touch true; do ln -s busybox /r/bin/$l; done
echo volume >/vol/file
[ -e /sys/fs/cgroup/cgroup.procs ] || mount -t cgroup2 none /sys/fs/cgroup

# config: /b/config.json, of what these say; more of an object begins with a comma.
plain() {
	version=1.0.2 args='["true"]' cwd=/ process= more_process= root=/r root_more= top= mounts_more= linux= resources= cgroup=/rt/c1
	namespaces='{"type":"pid"},{"type":"network"},{"type":"ipc"},{"type":"uts"},{"type":"mount"}'
}
config() {
	cat >/b/config.json <<-C
	{"ociVersion":"$version","process":{"args":$args,"cwd":"$cwd","env":["PATH=/bin","A=b c"]$process},
	"root":{"path":"$root"$root_more},
	"mounts":[{"destination":"/proc","type":"proc","source":"proc"},
	{"destination":"/dev","type":"tmpfs","source":"tmpfs","options":["nosuid","strictatime","mode=755","size=65536k"]},
	{"destination":"/dev/pts","type":"devpts","source":"devpts","options":["newinstance","ptmxmode=0666","mode=0620"]},
	{"destination":"/dev/shm","type":"tmpfs","source":"shm","options":["nosuid","noexec","nodev","mode=1777","size=65536k"]},
	{"destination":"/dev/mqueue","type":"mqueue","source":"mqueue"},
	{"destination":"/sys","type":"sysfs","source":"sysfs","options":["ro"]}$mounts_more],
	"linux":{"namespaces":[$namespaces],"cgroupsPath":"$cgroup","resources":{"pids":{"limit":100}$resources}$linux}$top}
	C
}
await() {
	i=0
	while ! grep -q "^$1 " /n 2>/dev/null && [ $i -lt 2400 ]; do sleep .1; i=$((i + 1)); done
	sed -n "s/^$1 //p" /n
}
create() {
	rm -f /n /p /log
	engine /n /p -- /bin/lkvm-oci --log /log --log-format json create --bundle /b --pid-file /p ${1:-c1} </dev/null >/tmp/out 2>/tmp/err &
	await created
}
oci() { env -i XDG_RUNTIME_DIR= /bin/lkvm-oci "$@"; }
state() { oci state ${1:-c1} 2>&1 | sed -n 's/.*"status":"\([a-z]*\)".*/\1/p'; }
# whole: a whole life; what it has said is in /tmp/out.
whole() {
	[ "$(create)" = 0 ] || return 1
	oci start c1; await ended >/tmp/ended; oci delete c1
}
# refused NAME WORDS: create says so, and nothing is there.
refused() {
	config
	same rt/$1 "1 " "$(create) $(state)"
	has rt/$1-is-named /tmp/err "$2"
}
# says NAME WANTED: the line that begins with NAME of what a container has written.
says() { same rt/$1 "$2" "$(sed -n "s/^$1: //p" /tmp/out)"; }

# Many in one container.
plain
# script LINES: its command, in a file of the root.
script() { cat >/r/case; chmod 755 /r/case; args='["/case","one","two words"]'; }
script <<'S'
#!/bin/sh
echo "hostname: $(hostname)"
echo "process: $(pwd) $# $2 $A $PATH"
echo "process_user: $(id -u) $(id -g) $(id -G) $(umask)"
echo "process_capabilities: $(grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | cut -f 2 | tr '\n' ' ')"
echo "linux_process: $(grep NoNewPrivs /proc/self/status | cut -f 2) $(cat /proc/1/comm)"
echo "process_rlimits: $(grep -E '^Max (open files|core)' /proc/self/limits | sed 's/  */ /g' | tr '\n' ' ')"
echo "linux_masked_paths: $(cat /masked-file | head -c 9) $(ls -A /masked-dir) $(ls /masked-dir/x 2>/dev/null)."
echo "linux_readonly_paths: $( (echo x >/readonly/x) 2>/dev/null || echo ro) $(cat /readonly/y)"
echo "linux_sysctl: $(cat /proc/sys/net/ipv4/ip_forward)"
echo "linux_devices: $(stat -c '%F %t:%T %a %u:%g' /dev/test1) $(stat -c '%F %a' /dev/test2)"
echo "linux_devices_default: $(for d in null zero full random urandom tty; do stat -c '%F' /dev/$d; done | grep -c character) $(for l in fd stdin ptmx; do readlink /dev/$l; done | tr '\n' ' ')"
echo "mounts: $(grep -cE ' (/t1 tmpfs .*size=1024k|/dev/shm tmpfs .*nosuid,nodev,noexec|/vol [a-z]* .*ro|/dev/mqueue mqueue) *' /proc/mounts) $(cat /vol/file) $(stat -c %a /t1)"
echo "linux_ns_nopath: $$ $(ls /sys/class/net | tr '\n' ' ')"
echo "linux_cgroups_pids: $(cat /sys/fs/cgroup/container/pids.max 2>/dev/null)"
echo "root_readonly_false: $(touch /x && echo written)"
echo "default: $(tr '\0' ' ' </proc/1/cmdline)"
S
ln -sf busybox /r/bin/tr; ln -sf busybox /r/bin/readlink; ln -sf busybox /r/bin/umask 2>/dev/null
mkdir -p /r/masked-dir /r/readonly /r/w; echo x >/r/masked-dir/x; echo secret >/r/masked-file; echo y >/r/readonly/y
cwd=/w
process=',"user":{"uid":10,"gid":20,"umask":23,"additionalGids":[30,40]},"noNewPrivileges":true,"oomScoreAdj":100,
"capabilities":{"bounding":["CAP_KILL","CAP_CHOWN"],"effective":["CAP_KILL"],"permitted":["CAP_KILL","CAP_CHOWN"],"inheritable":["CAP_KILL"],"ambient":["CAP_KILL"]},
"rlimits":[{"type":"RLIMIT_NOFILE","soft":1024,"hard":2048},{"type":"RLIMIT_CORE","soft":0,"hard":0}]'
top=',"hostname":"hostname-specific","annotations":{"org.example.any":"x"},"unknown":"unknown"'
linux=',"maskedPaths":["/masked-dir","/masked-file","/is-not-there"],"readonlyPaths":["/readonly","/is-not-there"],"sysctl":{"net.ipv4.ip_forward":"1"},
"devices":[{"path":"/dev/test1","type":"c","major":10,"minor":666,"fileMode":438,"uid":3,"gid":4},{"path":"/dev/test2","type":"p","fileMode":432}],
"rootfsPropagation":"private","mountLabel":"system_u:object_r:svirt_sandbox_file_t:s0:c715,c811"'
process="$process"',"apparmorProfile":"acme_secure_profile"'
mounts_more=',{"destination":"/t1","type":"tmpfs","source":"tmpfs","options":["nosuid","mode=700","size=1m"]},{"destination":"/vol","type":"bind","source":"/vol","options":["rbind","ro"]},
{"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup","options":["ro"]}'
resources=',"memory":{"limit":268435456,"reservation":134217728},"cpu":{"shares":1024,"quota":20000,"period":50000,"cpus":"0","mems":"0"},"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":10,"minor":229,"access":"rw"}]'
chmod 777 /r
config
same rt/create 0 "$(create)"
g=/sys/fs/cgroup/rt/c1
same rt/state "c1 created $(cat /p) /b" "$(oci state c1 | sed 's/.*"id":"\([^"]*\)","status":"\([a-z]*\)","pid":\([0-9]*\),"bundle":"\([^"]*\)".*/\1 \2 \3 \4/')"
same rt/state-of-none 1 "$(oci state none >/dev/null 2>&1; echo $?)"
same rt/pidfile "$(oci state c1 | sed 's/.*"pid":\([0-9]*\).*/\1/')" "$(cat /p)"
same rt/process_oom_score_adj 100 "$(cat /proc/$(cat /p)/oom_score_adj)"
same rt/linux_cgroups_memory "$((268435456 + 134217728)) 134217728" "$(cat $g/memory.max $g/memory.low | tr '\n' ' ' | sed 's/ $//')"
same rt/linux_cgroups_cpus "20000 50000 39 0 0" "$(cat $g/cpu.max $g/cpu.weight $g/cpuset.cpus $g/cpuset.mems | tr '\n' ' ' | sed 's/ $//')"
same rt/linux_cgroups_devices created "$(state)"	# the guest has none of the host's; the VM has /dev/kvm, which these rules forbid
has rt/linux_mount_label /log 'linux.mountLabel: is for processes of the host, passed over'
has rt/linux_process_apparmor_profile /log 'process.apparmorProfile: is for processes of the host, passed over'
has rt/misc_props-unknown /log 'unknown, passed over'
same rt/create-of-the-same-id 1 "$(engine /n2 /p2 -- /bin/lkvm-oci create --bundle /b --pid-file /p2 c1 2>/tmp/err2 </dev/null; sed -n 's/^created //p' /n2)"
same rt/delete-of-the-created 1 "$(oci delete c1 2>/dev/null; echo $?)"
# What is written into config.json from now on changes nothing.
echo '{"ociVersion":"1.0.0"}' >/b/config.json
same rt/config_updates_without_affect 0 "$(oci start c1; echo $?)"
same rt/start 0 "$(await ended)"
same rt/start-of-the-stopped 1 "$(oci start c1 2>/dev/null; echo $?)"
same rt/kill_no_effect "1 stopped" "$(oci kill c1 15 2>/dev/null; echo $?) $(state)"
same rt/delete "0 " "$(oci delete c1; echo $?) $(state)"
same rt/delete_resources "" "$(ls -d $g 2>/dev/null)"
same rt/delete-of-none 1 "$(oci delete c1 2>/dev/null; echo $?)"
says hostname hostname-specific
says process "/w 2 two words b c /bin"
says process_user "10 20 20 30 40 0027"
says process_capabilities "0000000000000020 0000000000000020 0000000000000020 0000000000000021 0000000000000020 "	# execve(2) takes CHOWN from a user
says linux_process "1 case"
says process_rlimits "Max core file size 0 0 bytes  Max open files 1024 2048 files  "
says linux_masked_paths "  ."
says linux_readonly_paths "ro y"
says linux_sysctl 1
says linux_devices "character special file a:29a 666 3:4 fifo 660"
says linux_devices_default "6 /proc/self/fd /proc/self/fd/0 pts/ptmx "
says mounts "4 volume 700"
says linux_ns_nopath "1 lo "
says linux_cgroups_pids 100
says root_readonly_false written
says default "/bin/sh /case one two words "
chmod 755 /r

# Others, each in its own.
plain; args='["sh","-c","touch /x 2>/dev/null || echo root_readonly_true: ro"]' root_more=',"readonly":true'; config; whole
says root_readonly_true ro
plain; root=rootfs; mkdir -p /b/rootfs/bin; cp /bin/busybox /b/rootfs/bin/true; args='["/bin/true"]'; config; whole
same rt/create-with-a-relative-root 0 "$(cat /tmp/ended)"
plain; args='["sh","-c","mkdir /d 2>/dev/null || echo linux_seccomp: $(mkdir /d 2>&1)"]'
linux=',"seccomp":{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64"],"syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}'; config; whole
says linux_seccomp "mkdir: can't create directory '/d': Operation not permitted"
for p in shared slave private unbindable; do
	plain; linux=",\"rootfsPropagation\":\"$p\""
	args='["/propagation"]'
	printf '#!/bin/sh\necho "p: $(grep " / / " /proc/self/mountinfo | grep -oE "shared|unbindable") $(mount --bind / /mnt 2>/dev/null && echo bound)"\n' >/r/propagation; chmod 755 /r/propagation
	process=',"capabilities":{"bounding":["CAP_SYS_ADMIN"],"effective":["CAP_SYS_ADMIN"],"permitted":["CAP_SYS_ADMIN"]}'
	config; whole
	case $p in shared) want="shared bound" ;; unbindable) want="unbindable " ;; *) want=" bound" ;; esac
	same rt/linux_rootfs_propagation-$p "$want" "$(sed -n 's/^p: //p' /tmp/out)"
done
# Signals by number and name, of one that runs.
plain; args='["/signals"]'
printf '#!/bin/sh\nfor s in HUP INT USR1 TERM; do trap "echo killsig: $s" $s; done\ntrap "exit 9" USR2\necho up\nwhile :; do sleep .1; done\n' >/r/signals; chmod 755 /r/signals
config; create >/dev/null
same rt/kill-none 1 "$(oci kill none 15 2>/dev/null; echo $?)"
oci start c1; i=0; while ! grep -q up /tmp/out && [ $i -lt 600 ]; do sleep .1; i=$((i + 1)); done
same rt/start-of-the-running 1 "$(oci start c1 2>/dev/null; echo $?)"
same rt/delete-of-the-running "1 running" "$(oci delete c1 2>/dev/null; echo $?) $(state)"
for s in 1 SIGINT USR1 TERM; do
	n=$(grep -c killsig /tmp/out); oci kill c1 $s
	i=0; while [ "$(grep -c killsig /tmp/out)" = $n ] && [ $i -lt 100 ]; do sleep .1; i=$((i + 1)); done
done
same rt/killsig "HUP INT USR1 TERM" "$(sed -n 's/^killsig: //p' /tmp/out | tr '\n' ' ' | sed 's/ $//')"
oci kill c1 USR2; same rt/kill 9 "$(await ended)"; oci delete c1
# Groups that are relative to the same place; what others have made stays.
plain; cgroup=rt/rel; resources=',"memory":{"limit":268435456},"cpu":{"quota":20000,"period":50000},"devices":[{"allow":false,"access":"rwm"}]'; config
mkdir -p /sys/fs/cgroup/rt/others
same rt/linux_cgroups_relative 0 "$(create)"
same rt/linux_cgroups_relative_memory $((268435456 + 134217728)) "$(cat /sys/fs/cgroup/rt/rel/memory.max)"
same rt/linux_cgroups_relative_cpus "20000 50000" "$(cat /sys/fs/cgroup/rt/rel/cpu.max)"
has rt/linux_cgroups_relative_pids /sys/fs/cgroup/rt/rel/cgroup.procs "^$(cat /p)$"	# the number of processes is limited in the guest
same rt/linux_cgroups_relative_devices created "$(state)"	# as linux_cgroups_devices
oci kill c1 9; await ended >/dev/null; oci delete c1
plain; cgroup=/rt/others; config; create >/dev/null; oci kill c1 9; await ended >/dev/null; oci delete c1
same rt/delete_only_create_resources /sys/fs/cgroup/rt/others "$(ls -d /sys/fs/cgroup/rt/others)"

# Refused, by name.
rm /b/config.json; same rt/create-without-config 1 "$(create)"
plain; version=invalid; refused misc_props-version 'ociVersion'
plain; process=',"rlimits":[{"type":"RLIMIT_TEST","soft":1,"hard":1}]'; refused process_rlimits_fail 'process.rlimits\[0\].type: is no limit'
plain; process=',"capabilities":{"bounding":["CAP_TEST"]}'; refused process_capabilities_fail '"CAP_TEST" is no capability'
for h in prestart poststart poststop createRuntime createContainer startContainer; do
	plain; top=",\"hooks\":{\"$h\":[{\"path\":\"/bin/true\"}]}"; refused hooks-$h 'hooks: lkvm cannot do this'
done
for h in prestart prestart_fail poststart poststart_fail poststop poststop_fail hooks hooks_stdin; do
	plain; top=",\"hooks\":{\"${h%_*}\":[{\"path\":\"/bin/false\",\"args\":[\"false\"]}]}"; refused $h 'hooks: lkvm cannot do this'
done
plain; linux=',"uidMappings":[{"containerID":0,"hostID":1000,"size":10}]'; refused linux_uid_mappings 'linux.uidMappings: lkvm cannot'
plain; linux=',"gidMappings":[{"containerID":0,"hostID":1000,"size":10}]'; refused linux_gid_mappings 'linux.gidMappings: lkvm cannot'
plain; resources=',"blockIO":{"weight":500}'; refused linux_cgroups_blkio 'linux.resources.blockIO: lkvm cannot'
plain; resources=',"hugepageLimits":[{"pageSize":"2MB","limit":56892210544640}]'; refused linux_cgroups_hugetlb 'linux.resources.hugepageLimits: lkvm cannot'
plain; resources=',"network":{"classID":255,"priorities":[{"name":"lo","priority":10}]}'; refused linux_cgroups_network 'linux.resources.network: lkvm cannot'
plain; resources=',"memory":{"limit":50593792,"kernel":50593792}'; refused linux_cgroups_memory-kernel 'linux.resources.memory.kernel: lkvm cannot'
plain; resources=',"memory":{"limit":50593792,"swappiness":50}'; refused linux_cgroups_memory-swappiness 'linux.resources.memory.swappiness: lkvm cannot'
for c in blkio:blockIO:'{"weight":500}' hugetlb:hugepageLimits:'[{"pageSize":"2MB","limit":1}]' network:network:'{"classID":255}'; do
	f=${c#*:}
	plain; cgroup=testdir/runtime-test; resources=",\"${f%%:*}\":${f#*:}"; refused linux_cgroups_relative_${c%%:*} "linux.resources.${f%%:*}: lkvm cannot"
done
for n in pid:processes network:network ipc:IPC uts:'host name'; do
	plain; namespaces=$(echo $namespaces | sed "s#{\"type\":\"${n%%:*}\"},##"); refused linux_ns_itype-${n%%:*} "linux.namespaces: a VM cannot share the host's ${n#*:}"
done
for n in pid:pid ipc:ipc uts:uts; do
	plain; namespaces=$(echo $namespaces | sed "s#\"type\":\"${n%%:*}\"#&,\"path\":\"/proc/1/ns/${n%%:*}\"#"); refused linux_ns_path-${n%%:*} "linux.namespaces: /proc/1/ns/${n%%:*}: sharing another"
	plain; namespaces=$(echo $namespaces | sed "s#\"type\":\"${n%%:*}\"#&,\"path\":\"/proc/1/ns/net\"#"); refused linux_ns_path_type-${n%%:*} "linux.namespaces: /proc/1/ns/net: sharing another"
done
plain; namespaces=$(echo $namespaces | sed 's#"type":"network"#&,"path":"/proc/1/ns/ipc"#'); refused linux_ns_path_type-network 'linux.namespaces: /proc/1/ns/ipc'
plain; namespaces=$(echo $namespaces | sed 's#"type":"network"#&,"path":"/proc/1/ns/net"#'); refused linux_ns_path-network 'linux.namespaces: /proc/1/ns/net'
plain; namespaces="$namespaces,{\"type\":\"user\"}"; refused linux_ns_nopath-user '"user": lkvm cannot do this'
plain; config; sed -i 's#"process":{.*}#"x":0#' /b/config.json
same rt/start-without-process 1 "$(create)"
has rt/start-without-process-is-named /tmp/err 'process: is missing'
same rt/leaves-nothing "" "$(ps | grep '[l]kvm-oci'; ls /run/lkvm-oci 2>/dev/null; ls /run/lkvm 2>/dev/null; ls /sys/fs/cgroup/rt | grep -E '^(c1|rel)$')"
